/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS sessions. Received bytes are written to one memory BIO, what OpenSSL wants to send is read
 * from another, so it never blocks and never knows a socket.
 *
 * What is bounded: input is given to OpenSSL 16 KiB at a time and only when it has used up the last
 * piece; output is sent before more is read or written. Renegotiation is not in TLS 1.3, and there
 * are no tickets and no resumption, so every connection shows its certificate anew.
 */
#include "lib/rpc/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/pem.h"
#include "lib/util/error.h"

#define INPUT_SIZE  16384u
#define WRITE_MAX   65536u /* plain text encrypted at a time */
#define PROBLEM_LEN 256u

struct xrpc_tls {
	SSL_CTX *ctx;
	bool verifies_clients;
};

struct xrpc_tls_session {
	SSL *ssl;
	BIO *in, *out; /* the SSL's */
	char problem[PROBLEM_LEN];
	char input[INPUT_SIZE];
};

/* ---- the context ---- */

/* OpenSSL's first reason, from which the others follow; takes all of the thread's errors away. */
static void take_reason(char *text, size_t size)
{
	unsigned long code = ERR_peek_error();

	if (code == 0) {
		snprintf(text, size, "no reason given");
	} else if (ERR_SYSTEM_ERROR(code)) {
		snprintf(text, size, "%s", strerror(ERR_GET_REASON(code)));
	} else {
		snprintf(text, size, "%s", ERR_reason_error_string(code));
	}
	ERR_clear_error();
}

static int fail(struct xu_error *err, const char *what, const char *path)
{
	char reason[PROBLEM_LEN];

	take_reason(reason, sizeof(reason));
	return xu_error_set(err, -EINVAL, "%s%s%s: %s", what, path != NULL ? " " : "",
		path != NULL ? path : "", reason);
}

/* Nobody is there to be asked for a pass phrase. */
static int no_passphrase(char *buf, int size, int is_writing, void *arg)
{
	return -1;
}

/* The first certificate of a text is the server's, the others are its chain. */
static bool use_chain(SSL_CTX *ctx, const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *cert = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL) : NULL;
	bool is_good = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;

	X509_free(cert);
	while (is_good && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL) {
		is_good = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
		if (!is_good) {
			X509_free(cert);
		}
	}
	if (is_good) { /* the end of the text */
		ERR_clear_error();
	}
	BIO_free(bio);
	return is_good;
}

static bool use_key(SSL_CTX *ctx, const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key =
		bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	bool is_good = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		       SSL_CTX_check_private_key(ctx) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return is_good;
}

/* All certificates of a text may sign clients', and their names are told to clients. */
static bool use_client_ca(SSL_CTX *ctx, const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	uint32_t count = 0;
	bool is_good = bio != NULL;
	X509 *cert;

	while (is_good && (cert = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL)) != NULL) {
		is_good = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1 &&
			  SSL_CTX_add_client_CA(ctx, cert) == 1;
		X509_free(cert);
		count++;
	}
	is_good = is_good && count != 0;
	if (is_good) {
		ERR_clear_error();
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	BIO_free(bio);
	return is_good;
}

/* `opts` has the names of the files, for people. */
static int use(SSL_CTX *ctx, const struct xrpc_pem *pem, const struct xrpc_tls_opts *opts,
	struct xu_error *err)
{
	ERR_clear_error();
	if (!use_chain(ctx, pem->cert)) {
		return fail(err, "the TLS certificate", opts->cert_path);
	}
	if (!use_key(ctx, pem->key)) {
		return fail(err, "the TLS key", opts->key_path);
	}
	if (pem->client_ca != NULL && !use_client_ca(ctx, pem->client_ca)) {
		return fail(err, "the CA of clients", opts->client_ca_path);
	}
	return 0;
}

static int load(SSL_CTX *ctx, const struct xrpc_tls_opts *opts, struct xu_error *err)
{
	struct xrpc_pem pem;
	int rc = xrpc_pem_read(opts->cert_path, opts->key_path, opts->client_ca_path, &pem, err);

	if (rc == 0) {
		rc = use(ctx, &pem, opts, err);
		xrpc_pem_clear(&pem);
	}
	return rc;
}

int xrpc_tls_check(const struct xrpc_pem *pem, struct xu_error *err)
{
	const struct xrpc_tls_opts unnamed = {0};
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int rc;

	if (ctx == NULL) {
		return fail(err, "starting TLS", NULL);
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	rc = use(ctx, pem, &unnamed, err);
	SSL_CTX_free(ctx);
	return rc;
}

int xrpc_tls_new(const struct xrpc_tls_opts *opts, struct xrpc_tls **ret_tls, struct xu_error *err)
{
	struct xrpc_tls *tls;
	int rc;

	if (opts->cert_path == NULL || opts->key_path == NULL) {
		return xu_error_set(err, -EINVAL,
			"TLS needs both a certificate and its key; one of the two is not given");
	}
	tls = calloc(1, sizeof(*tls));
	if (tls == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting TLS");
	}
	tls->verifies_clients = opts->client_ca_path != NULL;
	tls->ctx = SSL_CTX_new(TLS_server_method());
	if (tls->ctx == NULL) {
		xrpc_tls_free(tls);
		return fail(err, "starting TLS with", opts->cert_path);
	}
	SSL_CTX_set_min_proto_version(tls->ctx, TLS1_3_VERSION);
	SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(tls->ctx, 0);
	SSL_CTX_set_default_passwd_cb(tls->ctx, no_passphrase);
	SSL_CTX_set_mode(tls->ctx, SSL_MODE_RELEASE_BUFFERS);
	rc = load(tls->ctx, opts, err);
	if (rc != 0) {
		xrpc_tls_free(tls);
		return rc;
	}
	*ret_tls = tls;
	return 0;
}

int xrpc_tls_check_time(const struct xrpc_tls *tls, struct xu_error *err)
{
	const X509 *cert = SSL_CTX_get0_certificate(tls->ctx);
	bool is_begun = X509_cmp_current_time(X509_get0_notBefore(cert)) < 0,
	     is_over = X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0;

	if (!is_begun || is_over) {
		return xu_error_set(err, -EINVAL, "the TLS certificate %s",
			is_over ? "has expired" : "is not valid yet");
	}
	return 0;
}

/* A session keeps the context that it began with. */
void xrpc_tls_replace(struct xrpc_tls *tls, struct xrpc_tls *next)
{
	SSL_CTX *ctx = tls->ctx;

	assert(tls->verifies_clients == next->verifies_clients);
	tls->ctx = next->ctx;
	next->ctx = ctx;
	xrpc_tls_free(next);
}

void xrpc_tls_free(struct xrpc_tls *tls)
{
	if (tls != NULL) {
		SSL_CTX_free(tls->ctx);
		free(tls);
	}
}

bool xrpc_tls_verifies_clients(const struct xrpc_tls *tls)
{
	return tls->verifies_clients;
}

/* ---- sessions ---- */

int xrpc_tls_session_new(struct xrpc_tls *tls, struct xrpc_tls_session **ret_session)
{
	struct xrpc_tls_session *session = calloc(1, sizeof(*session));
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	if (session != NULL) {
		session->ssl = SSL_new(tls->ctx);
	}
	if (session == NULL || session->ssl == NULL || in == NULL || out == NULL) {
		BIO_free(in);
		BIO_free(out);
		xrpc_tls_session_free(session);
		ERR_clear_error();
		return -ENOMEM;
	}
	session->in = in;
	session->out = out;
	SSL_set_bio(session->ssl, in, out);
	SSL_set_accept_state(session->ssl);
	*ret_session = session;
	return 0;
}

void xrpc_tls_session_free(struct xrpc_tls_session *session)
{
	if (session != NULL) {
		SSL_free(session->ssl);
		explicit_bzero(session, sizeof(*session));
		free(session);
	}
}

struct iovec xrpc_tls_input(struct xrpc_tls_session *session)
{
	return (struct iovec){.iov_base = session->input, .iov_len = sizeof(session->input)};
}

int xrpc_tls_received(struct xrpc_tls_session *session, size_t len)
{
	if (len != 0 && BIO_write(session->in, session->input, (int)len) != (int)len) {
		ERR_clear_error();
		return -ENOMEM;
	}
	return 0;
}

bool xrpc_tls_has_output(const struct xrpc_tls_session *session)
{
	return BIO_ctrl_pending(session->out) != 0;
}

bool xrpc_tls_output(struct xrpc_tls_session *session, struct iovec *ret_iov)
{
	char *data = NULL;
	long len = BIO_get_mem_data(session->out, &data);

	if (len <= 0) {
		return false;
	}
	*ret_iov = (struct iovec){.iov_base = data, .iov_len = (size_t)len};
	return true;
}

void xrpc_tls_sent(struct xrpc_tls_session *session)
{
	(void)BIO_reset(session->out);
}

/* What became of an SSL_read() or SSL_write() that gave `rc`. */
static ssize_t judge(struct xrpc_tls_session *session, int rc)
{
	long verdict;

	switch (SSL_get_error(session->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -EPIPE;
	default:
		break;
	}
	take_reason(session->problem, sizeof(session->problem));
	verdict = SSL_get_verify_result(session->ssl);
	if (verdict != X509_V_OK) {
		snprintf(session->problem, sizeof(session->problem),
			"the client's certificate is not accepted: %s",
			X509_verify_cert_error_string(verdict));
	}
	return -EPROTO;
}

ssize_t xrpc_tls_read(struct xrpc_tls_session *session, void *buf, size_t len)
{
	int rc;

	ERR_clear_error();
	rc = SSL_read(session->ssl, buf, len > INT_MAX ? INT_MAX : (int)len);
	return rc > 0 ? rc : judge(session, rc);
}

ssize_t xrpc_tls_write(struct xrpc_tls_session *session, const void *buf, size_t len)
{
	ssize_t result;
	int rc;

	ERR_clear_error();
	rc = SSL_write(session->ssl, buf, len > WRITE_MAX ? (int)WRITE_MAX : (int)len);
	if (rc > 0) {
		return rc;
	}
	/* Memory takes everything, so a session that is ready never asks to be called again. */
	result = judge(session, rc);
	return result < 0 ? result : -EPROTO;
}

void xrpc_tls_end(struct xrpc_tls_session *session)
{
	ERR_clear_error();
	if (SSL_is_init_finished(session->ssl)) {
		SSL_shutdown(session->ssl);
		ERR_clear_error();
	}
}

bool xrpc_tls_is_ready(const struct xrpc_tls_session *session)
{
	return SSL_is_init_finished(session->ssl) == 1;
}

const char *xrpc_tls_problem(const struct xrpc_tls_session *session)
{
	return session->problem;
}
