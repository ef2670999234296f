/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who calls an HTTP server. A bearer token names its owner and role; a certificate that the
 * clients' CA has signed gives the role that the server was made with, and its subject is the name.
 * Where neither is asked for, everybody who can reach the server may do everything.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/reactor/address.h"
#include "lib/rpc/http_private.h"
#include "lib/rpc/private.h"
#include "lib/util/error.h"
#include "lib/util/hash.h"

const char *const xrpc_role_names[] = {"none", "read", "register", "operate", "admin", NULL};

/* The session's client has shown a certificate that the CA has signed and that is valid now. */
static bool has_certificate(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	unsigned status = ~0u;

	return info != NULL && info->tls_session != NULL &&
	       gnutls_certificate_verify_peers2(info->tls_session, &status) == 0 && status == 0;
}

static bool has_token(struct xrpc_http_call *call, const char *given)
{
	const struct xrpc_http_opts *opts = &call->http->opts;

	for (uint32_t i = 0; i < opts->nr_tokens; i++) {
		if (xrpc__token_is_same(opts->tokens[i].token, given, strlen(given))) {
			call->who = opts->tokens[i].name;
			call->role = opts->tokens[i].role;
			return true;
		}
	}
	return false;
}

void xrpc__http_identify(struct xrpc_http_call *call)
{
	const struct xrpc_http_opts *opts = &call->http->opts;
	const char *authorization = xrpc_http_header(call, "Authorization");

	call->who = "";
	call->role = XRPC_ROLE_NONE;
	if (opts->nr_tokens == 0 && opts->client_ca_path == NULL) {
		call->who = "anybody";
		call->role = XRPC_ROLE_ADMIN;
		return;
	}
	if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0 &&
		has_token(call, authorization + 7)) {
		return;
	}
	if (opts->client_ca_path != NULL && has_certificate(call->connection)) {
		call->who = "certificate";
		call->role = opts->client_role;
	}
}

bool xrpc__http_may_call(struct xrpc_http *http, const char *from)
{
	struct xrpc__bucket *bucket;
	struct timespec now;
	bool may;

	if (http->buckets == NULL) {
		return true;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	bucket = &http->buckets[xu_hash32(from, strlen(from)) % XRPC__HTTP_BUCKETS];
	pthread_mutex_lock(&http->rate_mutex);
	if (bucket->second != (uint64_t)now.tv_sec || strcmp(bucket->from, from) != 0) {
		bucket->second = (uint64_t)now.tv_sec;
		bucket->nr_calls = 0;
		snprintf(bucket->from, sizeof(bucket->from), "%s", from);
	}
	may = bucket->nr_calls++ < http->opts.rate_max;
	pthread_mutex_unlock(&http->rate_mutex);
	return may;
}

int xrpc__http_check_exposure(const struct xrpc_http_opts *opts, struct xu_error *err)
{
	if (opts->is_open || xr_address_is_loopback(opts->address)) {
		return 0;
	}
	if (opts->cert_path == NULL) {
		return xu_error_set(err, -EPERM,
			"%s is not a loopback address, and without TLS everybody on the way could "
			"read and change what is said; give a certificate, listen on 127.0.0.1, or "
			"say that it is to be open",
			opts->address);
	}
	if (opts->nr_tokens == 0 && opts->client_ca_path == NULL) {
		return xu_error_set(err, -EPERM,
			"%s is not a loopback address, and callers would have to show neither a "
			"token nor a certificate; give tokens or a CA for clients, listen on "
			"127.0.0.1, or say that it is to be open",
			opts->address);
	}
	return 0;
}
