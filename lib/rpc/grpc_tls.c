/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS of a gRPC server: its certificate, which the core fetches anew with each connection when
 * there is another one, and who a client is by what the connection and the call have shown.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <grpc/grpc_security_constants.h>
#include <grpc/support/alloc.h>

#include "lib/rpc/grpc_private.h"
#include "lib/rpc/tls.h"

/* ---- the certificate ---- */

/* On the core's threads, before each handshake, and when it begins to listen. */
static grpc_ssl_certificate_config_reload_status fetch(
	void *arg, grpc_ssl_server_certificate_config **ret_config)
{
	struct xrpc_grpc *server = arg;
	grpc_ssl_certificate_config_reload_status status =
		GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;

	pthread_mutex_lock(&server->pem_mutex);
	if (server->is_pem_new) {
		const grpc_ssl_pem_key_cert_pair pair = {server->pem.key, server->pem.cert};

		/* The core ends the process when there is no CA, also where clients are not asked
		 * for certificates; then it is told of one that nobody is judged by. */
		*ret_config = grpc_ssl_server_certificate_config_create(
			server->pem.client_ca != NULL ? server->pem.client_ca : server->pem.cert,
			&pair, 1);
		status = *ret_config != NULL ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
					     : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
		server->is_pem_new = *ret_config == NULL;
	}
	pthread_mutex_unlock(&server->pem_mutex);
	return status;
}

/* OpenSSL says what is wrong with the files in more words than the core. */
static int check_files(const struct xrpc_grpc_opts *opts, struct xu_error *err)
{
	const struct xrpc_tls_opts tls_opts = {
		opts->cert_path, opts->key_path, opts->client_ca_path};
	struct xrpc_tls *tls;
	int rc = xrpc_tls_new(&tls_opts, &tls, err);

	if (rc == 0) {
		xrpc_tls_free(tls);
	}
	return rc;
}

grpc_server_credentials *xrpc__grpc_credentials(
	struct xrpc_grpc *server, const struct xrpc_grpc_opts *opts, struct xu_error *err)
{
	grpc_server_credentials *credentials;

	if (opts->cert_path == NULL) {
		return grpc_insecure_server_credentials_create();
	}
	if (check_files(opts, err) != 0 || xrpc_pem_read(opts->cert_path, opts->key_path,
						   opts->client_ca_path, &server->pem, err) != 0) {
		return NULL;
	}
	server->is_pem_new = true;
	credentials = grpc_ssl_server_credentials_create_with_options(
		grpc_ssl_server_credentials_create_options_using_config_fetcher(
			server->pem.client_ca != NULL
				? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
				: GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
			fetch, server));
	if (credentials == NULL) {
		xu_error_set(err, -EINVAL, "gRPC does not take the certificate '%.200s'",
			opts->cert_path);
	}
	return credentials;
}

int xrpc_grpc_set_pem(struct xrpc_grpc *server, const struct xrpc_pem *pem, struct xu_error *err)
{
	struct xrpc_pem next;
	int rc = xrpc_tls_check(pem, err);

	if (rc == 0 && xrpc_pem_copy(pem, &next) != 0) {
		rc = xu_error_set_errno(err, -ENOMEM, "gRPC: taking a certificate");
	}
	if (rc != 0) {
		return rc;
	}
	pthread_mutex_lock(&server->pem_mutex);
	if (server->pem.cert == NULL ||
		(server->pem.client_ca == NULL) != (pem->client_ca == NULL)) {
		rc = xu_error_set(err, -EINVAL,
			"gRPC: whether there is TLS and a CA for clients is said at the start");
	} else {
		struct xrpc_pem last = server->pem;

		server->pem = next;
		server->is_pem_new = true;
		next = last;
	}
	pthread_mutex_unlock(&server->pem_mutex);
	xrpc_pem_clear(&next);
	return rc;
}

/* ---- who calls ---- */

/* The address of "ipv4:192.0.2.1:1234", "ipv6:[2001:db8::1]:1234" or, escaped, "ipv6:%5B…%5D:1234".
 */
static void name_address(const char *uri, char from[XR_ADDRESS_SIZE])
{
	const char *begin = strchr(uri, ':');
	size_t len;

	begin = begin != NULL ? begin + 1 : uri;
	begin += *begin == '[' ? 1 : strncmp(begin, "%5B", 3) == 0 ? 3 : 0;
	len = strncmp(uri, "ipv6:", 5) == 0 ? strcspn(begin, "]%") : strcspn(begin, ":");
	snprintf(from, XR_ADDRESS_SIZE, "%.*s", (int)(len < XR_ADDRESS_SIZE ? len : 0), begin);
}

void xrpc__grpc_peer(
	struct xrpc_grpc_call *call, struct xrpc_grpc_peer *peer, grpc_auth_context **ret_context)
{
	grpc_auth_context *context = grpc_call_auth_context(call->core);
	const grpc_auth_property *property = NULL;
	char *uri = grpc_call_get_peer(call->core);

	if (uri != NULL) {
		name_address(uri, call->from);
		gpr_free(uri);
	}
	peer->from = call->from;
	if (context != NULL && grpc_auth_context_peer_is_authenticated(context)) {
		grpc_auth_property_iterator at = grpc_auth_context_find_properties_by_name(
			context, GRPC_X509_PEM_CERT_PROPERTY_NAME);

		property = grpc_auth_property_iterator_next(&at);
	}
	if (property != NULL) {
		peer->certificate = property->value;
		peer->certificate_len = property->value_length;
	}
	*ret_context = context;
}
