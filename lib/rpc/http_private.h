/* SPDX-License-Identifier: BSD-3-Clause */
/* The HTTP server from the inside; see http.c for who owns what. */
#ifndef XRPC_HTTP_PRIVATE_H
#define XRPC_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/reactor/platform.h"
#include "lib/rpc/http.h"
#include "lib/rpc/pem.h"

#define XRPC__HTTP_SEGMENTS 4u
#define XRPC__HTTP_HEADERS  6u

struct xrpc__http_tls;

struct xrpc_http {
	struct MHD_Daemon *daemon;
	struct xrpc_http_opts opts;
	struct xrpc_pem pem;        /* the first one, which libmicrohttpd wants to have */
	pthread_mutex_t tls_mutex;  /* of what follows */
	struct xrpc__http_tls *tls; /* for new connections; NULL: clear text */
	uint16_t port;
	int fd; /* of the listening socket, before it is MHD's; else -1 */
	_Atomic bool is_quiesced;
	uint64_t first_id;
	_Atomic uint64_t next_id;
	_Atomic uint64_t nr_calls, nr_errors, nr_refused, busy_us, nr_timed;
	pthread_mutex_t calls_mutex;
	struct xrpc_http_call *calls; /* all that there are */
	uint64_t last_watch_nr;
	pthread_t watcher; /* see http_watch.c */
	bool has_watcher;
	int watch_fd, watch_end_fd;
};

struct xrpc_http_call {
	struct xrpc_http *http;
	struct MHD_Connection *connection;
	const struct xrpc_http_route *route; /* NULL: there is none */
	const char *method;
	char *path;   /* as it was asked for */
	char *pieces; /* the same, cut at its slashes */
	const char *segments[XRPC__HTTP_SEGMENTS];
	char id[XRPC_HTTP_ID_SIZE];
	char from[XR_ADDRESS_SIZE];
	struct xrpc_caller who;
	char *body;
	size_t body_len, body_room;
	bool is_too_long, is_untimed;
	bool is_later; /* its function has left the answer to somebody else */
	uint64_t start_ns;

	struct {
		char *name, *value;
	} headers[XRPC__HTTP_HEADERS];
	uint32_t nr_headers;

	pthread_mutex_t mutex; /* for what follows */
	bool is_suspended;
	bool is_woken; /* while nobody slept */
	struct MHD_Response *response;
	unsigned status;

	struct xrpc_http_stream stream;
	uint64_t watch_nr;    /* of a stream: which of all that there ever were; else 0 */
	_Atomic bool is_gone; /* its client is */

	struct xrpc_http_call *next, **at; /* of http->calls */
};

/* ---- http_call.c ---- */

/* Resumes a call that sleeps, if it does. */
void xrpc__http_rouse(struct xrpc_http_call *call);

/* ---- http_watch.c ---- */

int xrpc__http_watch_init(struct xrpc_http *http, struct xu_error *err);
/* When no call is left. */
void xrpc__http_watch_fini(struct xrpc_http *http);
/* A call that has become a stream: ends it when its client is gone. */
void xrpc__http_watch(struct xrpc_http_call *call);
void xrpc__http_unwatch(struct xrpc_http_call *call);

/* ---- http_auth.c ---- */

/* Who calls and what they may: fills call->who. -EBUSY: its address has sent too many wrong tokens.
 */
int xrpc__http_identify(struct xrpc_http_call *call);

/* ---- http_tls.c ---- */

/* Makes http->tls. -EINVAL with a sentence. */
int xrpc__http_tls_init(struct xrpc_http *http, const struct xrpc_pem *pem, struct xu_error *err);
void xrpc__http_tls_fini(struct xrpc_http *http);
/* Of libmicrohttpd's, for each connection. */
void xrpc__http_on_connection(void *arg, struct MHD_Connection *connection, void **state,
	enum MHD_ConnectionNotificationCode code);
/* The certificate (DER) of the client, which the CA has signed and which is valid now; borrowed.
 * False: it has shown none that is. */
bool xrpc__http_certificate(
	const struct xrpc_http_call *call, const void **ret_data, size_t *ret_len);

#endif
