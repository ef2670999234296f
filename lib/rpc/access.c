/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Roles are a copy of what the owner said, behind a lock that callers share and an exchange takes
 * alone. Counts are in buckets by a hash of the address, each of one address and one second: two
 * addresses in a bucket take it from each other, which lets them call more often, never less.
 *
 * An address that has sent too many wrong tokens gets no answer to any token until the second is
 * over, so that a right one cannot be told from a wrong one by trying faster.
 */
#include "lib/rpc/access.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/reactor/address.h"
#include "lib/rpc/private.h"
#include "lib/util/error.h"
#include "lib/util/hash.h"

#define NR_BUCKETS 1024u
#define SANS_MAX   256u
#define SAN_SIZE   1024u

const char *const xrpc_role_names[] = {"none", "read", "register", "operate", "admin", NULL};

struct bucket {
	char from[XR_ADDRESS_SIZE];
	uint64_t second;
	uint32_t nr_calls, nr_wrong;
};

struct xrpc_access {
	pthread_rwlock_t lock; /* of `opts` and what it points to */
	struct xrpc_access_opts opts;
	pthread_mutex_t mutex; /* of the buckets */
	struct bucket buckets[NR_BUCKETS];
};

/* ---- the copy ---- */

static void clear_opts(struct xrpc_access_opts *opts)
{
	struct xrpc_certificate *certificates =
		(struct xrpc_certificate *)(uintptr_t)opts->certificates;
	struct xrpc_token *tokens = (struct xrpc_token *)(uintptr_t)opts->tokens;

	for (uint32_t i = 0; tokens != NULL && i < opts->nr_tokens; i++) {
		if (tokens[i].token != NULL) {
			explicit_bzero((char *)(uintptr_t)tokens[i].token, strlen(tokens[i].token));
		}
		free((char *)(uintptr_t)tokens[i].name);
		free((char *)(uintptr_t)tokens[i].token);
	}
	for (uint32_t i = 0; certificates != NULL && i < opts->nr_certificates; i++) {
		free((char *)(uintptr_t)certificates[i].subject);
		free((char *)(uintptr_t)certificates[i].san);
	}
	free(tokens);
	free(certificates);
}

/* A copy of a text that may be NULL; false: no memory. */
static bool copy_text(const char *text, const char **ret_copy)
{
	*ret_copy = text != NULL ? strdup(text) : NULL;
	return text == NULL || *ret_copy != NULL;
}

static int copy_opts(const struct xrpc_access_opts *opts, struct xrpc_access_opts *ret_copy)
{
	struct xrpc_access_opts copy = *opts;
	struct xrpc_certificate *certificates =
		calloc(opts->nr_certificates + 1u, sizeof(*certificates));
	struct xrpc_token *tokens = calloc(opts->nr_tokens + 1u, sizeof(*tokens));
	bool is_good = tokens != NULL && certificates != NULL;

	copy.tokens = tokens;
	copy.certificates = certificates;
	for (uint32_t i = 0; is_good && i < opts->nr_tokens; i++) {
		tokens[i].role = opts->tokens[i].role;
		is_good = copy_text(opts->tokens[i].name, &tokens[i].name) &&
			  copy_text(opts->tokens[i].token, &tokens[i].token);
	}
	for (uint32_t i = 0; is_good && i < opts->nr_certificates; i++) {
		certificates[i].role = opts->certificates[i].role;
		is_good = copy_text(opts->certificates[i].subject, &certificates[i].subject) &&
			  copy_text(opts->certificates[i].san, &certificates[i].san);
	}
	if (!is_good) {
		clear_opts(&copy);
		return -ENOMEM;
	}
	*ret_copy = copy;
	return 0;
}

/* ---- life ---- */

int xrpc_access_new(const struct xrpc_access_opts *opts, struct xrpc_access **ret_access)
{
	struct xrpc_access *access = calloc(1, sizeof(*access));

	if (access == NULL || copy_opts(opts, &access->opts) != 0) {
		free(access);
		return -ENOMEM;
	}
	pthread_rwlock_init(&access->lock, NULL);
	pthread_mutex_init(&access->mutex, NULL);
	*ret_access = access;
	return 0;
}

int xrpc_access_set(struct xrpc_access *access, const struct xrpc_access_opts *opts)
{
	struct xrpc_access_opts next, last;
	int rc = copy_opts(opts, &next);

	if (rc == 0) {
		pthread_rwlock_wrlock(&access->lock);
		last = access->opts;
		access->opts = next;
		pthread_rwlock_unlock(&access->lock);
		clear_opts(&last);
	}
	return rc;
}

void xrpc_access_free(struct xrpc_access *access)
{
	if (access != NULL) {
		clear_opts(&access->opts);
		pthread_rwlock_destroy(&access->lock);
		pthread_mutex_destroy(&access->mutex);
		free(access);
	}
}

/* ---- rates ---- */

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

/* The bucket of an address, of this second. Under the mutex. */
static struct bucket *bucket_of(struct xrpc_access *access, const char *from)
{
	struct bucket *bucket = &access->buckets[xu_hash32(from, strlen(from)) % NR_BUCKETS];
	uint64_t second = now_s();

	if (bucket->second != second || strcmp(bucket->from, from) != 0) {
		*bucket = (struct bucket){.second = second};
		snprintf(bucket->from, sizeof(bucket->from), "%s", from);
	}
	return bucket;
}

uint32_t xrpc_access_rate_max(struct xrpc_access *access)
{
	uint32_t rate_max;

	pthread_rwlock_rdlock(&access->lock);
	rate_max = access->opts.rate_max;
	pthread_rwlock_unlock(&access->lock);
	return rate_max;
}

bool xrpc_access_may_call(struct xrpc_access *access, const char *from)
{
	uint32_t rate_max = xrpc_access_rate_max(access);
	bool may = true;

	if (rate_max != 0) {
		pthread_mutex_lock(&access->mutex);
		may = bucket_of(access, from)->nr_calls++ < rate_max;
		pthread_mutex_unlock(&access->mutex);
	}
	return may;
}

/* Whether a token from there is looked at; and one more that was wrong. */
static bool may_guess(struct xrpc_access *access, const char *from, uint32_t max, bool was_wrong)
{
	struct bucket *bucket;
	bool may;

	if (max == 0) {
		return true;
	}
	pthread_mutex_lock(&access->mutex);
	bucket = bucket_of(access, from);
	bucket->nr_wrong += was_wrong;
	may = bucket->nr_wrong < max;
	pthread_mutex_unlock(&access->mutex);
	return may;
}

/* ---- tokens ---- */

bool xrpc_access_is_open(const struct xrpc_access *access)
{
	pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&access->lock;
	bool is_open;

	pthread_rwlock_rdlock(lock);
	is_open = access->opts.nr_tokens == 0 && !access->opts.has_client_ca;
	pthread_rwlock_unlock(lock);
	return is_open;
}

int xrpc_access_by_token(struct xrpc_access *access, const char *from, const char *token,
	size_t len, struct xrpc_caller *ret_caller)
{
	const struct xrpc_access_opts *opts = &access->opts;
	int rc = -EACCES;

	pthread_rwlock_rdlock(&access->lock);
	if (!may_guess(access, from, opts->wrong_tokens_max, false)) {
		rc = -EBUSY;
	}
	for (uint32_t i = 0; rc == -EACCES && i < opts->nr_tokens; i++) {
		if (xrpc__token_is_same(opts->tokens[i].token, token, len)) {
			ret_caller->role = opts->tokens[i].role;
			snprintf(ret_caller->name, sizeof(ret_caller->name), "%s",
				opts->tokens[i].name);
			rc = 0;
		}
	}
	if (rc == -EACCES) {
		may_guess(access, from, opts->wrong_tokens_max, true);
	}
	pthread_rwlock_unlock(&access->lock);
	return rc;
}

/* ---- certificates ---- */

static const struct {
	const char *prefix;
	unsigned type;
} san_types[] = {
	{"DNS:", GNUTLS_SAN_DNSNAME},
	{"IP:", GNUTLS_SAN_IPADDRESS},
	{"URI:", GNUTLS_SAN_URI},
	{"email:", GNUTLS_SAN_RFC822NAME},
};
#define NR_SAN_TYPES (sizeof(san_types) / sizeof(san_types[0]))

int xrpc_certificate_check(const struct xrpc_certificate *certificate, struct xu_error *err)
{
	const char *san = certificate->san;
	struct sockaddr_storage addr;
	size_t i = 0;

	if ((certificate->subject != NULL) == (san != NULL)) {
		return xu_error_set(err, -EINVAL, "either subject or san is needed, not both");
	}
	if (san == NULL) {
		return strchr(certificate->subject, '=') != NULL
			       ? 0
			       : xu_error_set(err, -EINVAL,
					 "'%.64s' is no whole subject, such as CN=node-1,O=example",
					 certificate->subject);
	}
	while (i < NR_SAN_TYPES &&
		strncmp(san, san_types[i].prefix, strlen(san_types[i].prefix)) != 0) {
		i++;
	}
	if (i == NR_SAN_TYPES || san[strlen(san_types[i].prefix)] == '\0') {
		return xu_error_set(err, -EINVAL,
			"'%.64s' is no alternative name: DNS:…, IP:…, URI: or email:… is", san);
	}
	if (san_types[i].type == GNUTLS_SAN_IPADDRESS && xr_address_parse(san + 3, 0, &addr) < 0) {
		return xu_error_set(err, -EINVAL, "'%.64s' is no numeric address", san + 3);
	}
	return 0;
}

static bool is_same_ip(const void *data, size_t size, const char *text)
{
	struct sockaddr_storage addr = {0};

	if (xr_address_parse(text, 0, &addr) < 0) {
		return false;
	}
	return addr.ss_family == AF_INET
		       ? size == 4 && memcmp(data, &((struct sockaddr_in *)&addr)->sin_addr, 4) == 0
		       : size == 16 &&
				 memcmp(data, &((struct sockaddr_in6 *)&addr)->sin6_addr, 16) == 0;
}

/* Whether an alternative name of the certificate is the one that is written as `san`. */
static bool is_same_san(int type, const char *name, size_t size, const char *san)
{
	for (size_t i = 0; i < NR_SAN_TYPES; i++) {
		const size_t prefix_len = strlen(san_types[i].prefix);
		const char *wanted = san + prefix_len;

		if ((unsigned)type != san_types[i].type ||
			strncmp(san, san_types[i].prefix, prefix_len) != 0) {
			continue;
		}
		if (type == GNUTLS_SAN_IPADDRESS) {
			return is_same_ip(name, size, wanted);
		}
		return size == strlen(wanted) &&
		       (type == GNUTLS_SAN_DNSNAME ? strncasecmp(name, wanted, size) == 0
						   : memcmp(name, wanted, size) == 0);
	}
	return false;
}

static bool has_san(gnutls_x509_crt_t crt, const char *san)
{
	char name[SAN_SIZE];
	int type = 0;

	for (unsigned at = 0; at < SANS_MAX && type != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
		at++) {
		size_t size = sizeof(name);

		/* One that is too long for the room is none of ours. */
		type = gnutls_x509_crt_get_subject_alt_name(crt, at, name, &size, NULL);
		if (type >= 0 && is_same_san(type, name, size, san)) {
			return true;
		}
	}
	return false;
}

static bool fits(gnutls_x509_crt_t crt, const gnutls_datum_t *subject,
	const struct xrpc_certificate *certificate)
{
	if (certificate->san != NULL) {
		return has_san(crt, certificate->san);
	}
	return subject->size == strlen(certificate->subject) &&
	       memcmp(subject->data, certificate->subject, subject->size) == 0;
}

/* A name for the log; what is no text is not put there. */
static void name_caller(struct xrpc_caller *caller, const gnutls_datum_t *subject)
{
	snprintf(caller->name, sizeof(caller->name), "certificate %.*s", (int)subject->size,
		subject->data != NULL ? (const char *)subject->data : "");
	for (char *at = caller->name; *at != '\0'; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f) {
			*at = '?';
		}
	}
}

int xrpc_access_by_certificate(struct xrpc_access *access, const void *certificate, size_t len,
	bool is_pem, struct xrpc_caller *ret_caller)
{
	const gnutls_datum_t data = {(unsigned char *)(uintptr_t)certificate, (unsigned)len};
	const struct xrpc_access_opts *opts = &access->opts;
	gnutls_datum_t subject = {0};
	gnutls_x509_crt_t crt;
	bool is_found = false;
	int rc;

	if (gnutls_x509_crt_init(&crt) != 0) {
		return -EACCES;
	}
	rc = gnutls_x509_crt_import(crt, &data, is_pem ? GNUTLS_X509_FMT_PEM : GNUTLS_X509_FMT_DER);
	if (rc == 0) {
		rc = gnutls_x509_crt_get_dn3(crt, &subject, 0);
		rc = rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE ? 0 : rc; /* it has none */
	}
	pthread_rwlock_rdlock(&access->lock);
	if (rc == 0 && opts->has_client_ca) {
		name_caller(ret_caller, &subject);
		ret_caller->role = opts->certificate_role;
		for (uint32_t i = 0; !is_found && i < opts->nr_certificates; i++) {
			is_found = fits(crt, &subject, &opts->certificates[i]);
			if (is_found) {
				ret_caller->role = opts->certificates[i].role;
			}
		}
	}
	rc = rc == 0 && opts->has_client_ca ? 0 : -EACCES;
	pthread_rwlock_unlock(&access->lock);
	gnutls_free(subject.data);
	gnutls_x509_crt_deinit(crt);
	return rc;
}

/* ---- who may listen where ---- */

int xrpc_access_check_exposure(
	const char *address, bool has_tls, bool has_credentials, struct xu_error *err)
{
	if (xr_address_is_loopback(address) || (has_tls && has_credentials)) {
		return 0;
	}
	if (!has_tls) {
		return xu_error_set(err, -EPERM,
			"%s is not a loopback address, and without TLS everybody on the way could "
			"read and change what is said; give a certificate, listen on 127.0.0.1, or "
			"say that it is to be open",
			address);
	}
	return xu_error_set(err, -EPERM,
		"%s is not a loopback address, and callers would have to show neither a "
		"token nor a certificate; give tokens or a CA for clients, listen on "
		"127.0.0.1, or say that it is to be open",
		address);
}
