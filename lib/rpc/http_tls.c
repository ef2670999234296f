/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The HTTP server's certificate, which may be exchanged while it runs. Each one that there has been
 * is kept as long as a connection uses it. libmicrohttpd tells of a connection before its handshake
 * begins: then the session gets the credentials of the day in the place of those that libmicrohttpd
 * has given it. Later only the judging of the client's certificate uses them, which is always to
 * know the CA of today, so a session gets the newest ones again at each call.
 */
#include <errno.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/rpc/http_private.h"
#include "lib/util/error.h"

struct xrpc__http_tls {
	_Atomic uint32_t nr_refs; /* the server's and each connection's */
	gnutls_certificate_credentials_t credentials;
	bool asks_clients;
	time_t valid_from, valid_until;
};

/* What libmicrohttpd keeps with a connection. */
struct connection {
	struct xrpc_http *http;
	struct xrpc__http_tls *tls;
};

static void unref(struct xrpc__http_tls *tls)
{
	if (tls != NULL && atomic_fetch_sub(&tls->nr_refs, 1) == 1) {
		gnutls_certificate_free_credentials(tls->credentials);
		free(tls);
	}
}

static struct xrpc__http_tls *current(struct xrpc_http *http)
{
	struct xrpc__http_tls *tls;

	pthread_mutex_lock(&http->tls_mutex);
	tls = http->tls;
	if (tls != NULL) {
		atomic_fetch_add(&tls->nr_refs, 1);
	}
	pthread_mutex_unlock(&http->tls_mutex);
	return tls;
}

/* ---- a certificate ---- */

static gnutls_datum_t datum(const char *text)
{
	return (gnutls_datum_t){(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)};
}

/* When it is valid, and whether a certificate of a server may be so weak and so on. */
static int read_times(struct xrpc__http_tls *tls, struct xu_error *err)
{
	gnutls_x509_crt_t *list;
	unsigned count;
	int rc = gnutls_certificate_get_x509_crt(tls->credentials, 0, &list, &count);

	if (rc != 0 || count == 0) {
		return xu_error_set(err, -EINVAL, "the TLS certificate cannot be read: %s",
			gnutls_strerror(rc));
	}
	tls->valid_from = gnutls_x509_crt_get_activation_time(list[0]);
	tls->valid_until = gnutls_x509_crt_get_expiration_time(list[0]);
	for (unsigned i = 0; i < count; i++) {
		gnutls_x509_crt_deinit(list[i]);
	}
	gnutls_free(list);
	return 0;
}

static int load(struct xrpc__http_tls *tls, const struct xrpc_pem *pem, struct xu_error *err)
{
	const gnutls_datum_t cert = datum(pem->cert), key = datum(pem->key);
	gnutls_datum_t ca;
	int rc = gnutls_certificate_set_x509_key_mem2(
		tls->credentials, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0);

	if (rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH) {
		return xu_error_set(err, -EINVAL, "the TLS certificate and the key are not a pair");
	}
	if (rc < 0) {
		return xu_error_set(
			err, -EINVAL, "the TLS certificate or its key: %s", gnutls_strerror(rc));
	}
	if (pem->client_ca != NULL) {
		ca = datum(pem->client_ca);
		rc = gnutls_certificate_set_x509_trust_mem(
			tls->credentials, &ca, GNUTLS_X509_FMT_PEM);
		if (rc <= 0) {
			return xu_error_set(err, -EINVAL, "the CA of clients: %s",
				rc < 0 ? gnutls_strerror(rc) : "there is no certificate in it");
		}
		tls->asks_clients = true;
	}
	return read_times(tls, err);
}

static int make(const struct xrpc_pem *pem, struct xrpc__http_tls **ret_tls, struct xu_error *err)
{
	struct xrpc__http_tls *tls = calloc(1, sizeof(*tls));
	int rc;

	if (tls == NULL || gnutls_certificate_allocate_credentials(&tls->credentials) != 0) {
		free(tls);
		return xu_error_set_errno(err, -ENOMEM, "reading the TLS certificate");
	}
	atomic_init(&tls->nr_refs, 1);
	rc = load(tls, pem, err);
	if (rc != 0) {
		unref(tls);
		return rc;
	}
	*ret_tls = tls;
	return 0;
}

/* One that is exchanged is for now: it has been good so far, and is not to become bad. */
static int make_valid(
	const struct xrpc_pem *pem, struct xrpc__http_tls **ret_tls, struct xu_error *err)
{
	int rc = make(pem, ret_tls, err);
	time_t now = time(NULL);

	if (rc == 0 && (now < (*ret_tls)->valid_from || now > (*ret_tls)->valid_until)) {
		rc = xu_error_set(err, -EINVAL, "the TLS certificate %s",
			now < (*ret_tls)->valid_from ? "is not valid yet" : "has expired");
		unref(*ret_tls);
	}
	return rc;
}

int xrpc_http_check_pem(const struct xrpc_pem *pem, struct xu_error *err)
{
	struct xrpc__http_tls *tls;
	int rc = make_valid(pem, &tls, err);

	if (rc == 0) {
		unref(tls);
	}
	return rc;
}

int xrpc_http_set_pem(struct xrpc_http *http, const struct xrpc_pem *pem, struct xu_error *err)
{
	struct xrpc__http_tls *next, *last;
	int rc = make_valid(pem, &next, err);

	if (rc != 0) {
		return rc;
	}
	pthread_mutex_lock(&http->tls_mutex);
	last = http->tls;
	http->tls = next;
	pthread_mutex_unlock(&http->tls_mutex);
	unref(last);
	return 0;
}

uint64_t xrpc_http_valid_until(struct xrpc_http *http)
{
	struct xrpc__http_tls *tls = current(http);
	uint64_t until = tls != NULL ? (uint64_t)tls->valid_until : 0;

	unref(tls);
	return until;
}

/* ---- life ---- */

int xrpc__http_tls_init(struct xrpc_http *http, const struct xrpc_pem *pem, struct xu_error *err)
{
	if (xrpc_pem_copy(pem, &http->pem) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "reading the TLS certificate");
	}
	return make(pem, &http->tls, err);
}

void xrpc__http_tls_fini(struct xrpc_http *http)
{
	unref(http->tls);
	xrpc_pem_clear(&http->pem);
}

/* ---- connections ---- */

static gnutls_session_t session_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	return info != NULL ? info->tls_session : NULL;
}

/* Gives the session the newest credentials. */
static void refresh(struct connection *conn, gnutls_session_t session)
{
	struct xrpc__http_tls *tls = current(conn->http);

	if (tls != conn->tls) {
		gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
		unref(conn->tls);
		conn->tls = tls;
	} else {
		unref(tls);
	}
}

void xrpc__http_on_connection(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code)
{
	struct xrpc_http *http = arg;
	struct connection *conn = *state;
	gnutls_session_t session;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (conn != NULL) {
			unref(conn->tls);
			free(conn);
			*state = NULL;
		}
		return;
	}
	session = session_of(connection);
	conn = session != NULL ? calloc(1, sizeof(*conn)) : NULL;
	/* Without memory it keeps the certificate that the server was started with, and its client
	 * is asked for none. */
	if (conn != NULL) {
		conn->http = http;
		refresh(conn, session);
		if (conn->tls->asks_clients) {
			gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
		}
		*state = conn;
	}
}

bool xrpc__http_certificate(
	const struct xrpc_http_call *call, const void **ret_data, size_t *ret_len)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *conn = info != NULL ? info->socket_context : NULL;
	gnutls_session_t session = session_of(call->connection);
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
	const gnutls_datum_t *list;
	unsigned status = ~0u, count = 0;

	if (conn == NULL || session == NULL) {
		return false;
	}
	refresh(conn, session);
	if (!conn->tls->asks_clients ||
		gnutls_certificate_verify_peers(session, &purpose, 1, &status) != 0 ||
		status != 0) {
		return false;
	}
	list = gnutls_certificate_get_peers(session, &count);
	if (list == NULL || count == 0) {
		return false;
	}
	*ret_data = list[0].data;
	*ret_len = list[0].size;
	return true;
}
