/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A JSON-RPC service on a UNIX socket or on TCP, on one reactor. Requests come as SPDK's clients
 * send them: JSON values one after the other, with or without space between. Each connection's
 * calls run one after the other and are answered in order; the next is read when the last has been
 * sent, so a slow or greedy client holds up only itself.
 *
 * Who reaches a UNIX socket may call; its file's mode says who that is. On TCP a client first shows
 * a certificate (TLS), sends the token (the method `authenticate`), or both, as the server was
 * made; a server with neither listens on a loopback address only.
 */
#ifndef XRPC_SERVER_H
#define XRPC_SERVER_H

#include <stddef.h>
#include <stdint.h>

#define XRPC_MAX_CONNECTIONS 64u
#define XRPC_MAX_REQUEST     (1u << 20) /* bytes of one call */

/* On TCP. */
#define XRPC_MAX_UNREADY  32u   /* strangers' connections; one more ends the oldest */
#define XRPC_MAX_FIRST    4096u /* bytes of a stranger's call */
#define XRPC_MAX_FAILURES 3u    /* wrong tokens of one connection */
#define XRPC_MAX_GUESSES  32u   /* wrong tokens of all connections in a second; more tokens wait */
#define XRPC_TOKEN_MIN    16u   /* characters */
#define XRPC_TOKEN_MAX    256u

struct xr_reactor;
struct xrpc_server;
struct xrpc_service;
struct xrpc_tls;
struct xu_error;

/*
 * Makes the socket at `path`, mode 0600, so that it is ours from now on; connections wait until
 * xrpc_server_start(). A socket that nobody listens on is replaced. Borrows the service. Before the
 * reactor runs or on its thread. -EADDRINUSE: somebody answers there; -EEXIST: it is something else
 * than a socket; -ENAMETOOLONG and what bind(2) says, with a sentence.
 */
int xrpc_server_new(struct xr_reactor *reactor, struct xrpc_service *service, const char *path,
	struct xrpc_server **ret_server, struct xu_error *err);

struct xrpc_tcp_opts {
	const char *address;  /* numeric IPv4 or IPv6 */
	uint16_t port;        /* 0: any; see xrpc_server_port() */
	const char *token;    /* XRPC_TOKEN_MIN to _MAX printable ASCII characters; NULL: none */
	struct xrpc_tls *tls; /* borrowed until the server is freed (tls.h); NULL: clear text */
};

/*
 * The same on TCP; the options are copied. -EPERM: the address is not a loopback address and nobody
 * would have to authenticate; -EINVAL: address or token; and what bind(2) says, with a sentence.
 */
int xrpc_server_new_tcp(struct xr_reactor *reactor, struct xrpc_service *service,
	const struct xrpc_tcp_opts *opts, struct xrpc_server **ret_server, struct xu_error *err);

/* Begins to accept. On the reactor's thread, as all below. */
void xrpc_server_start(struct xrpc_server *server);

/* Takes no more calls and removes the socket; calls under way are finished and answered (who does
 * not take the answer within two seconds gets none), then all connections are closed and `cb` runs.
 */
void xrpc_server_stop(struct xrpc_server *server, void (*cb)(void *arg), void *arg);

/* Frees a server that was never started or has stopped. NULL is fine. */
void xrpc_server_free(struct xrpc_server *server);

uint32_t xrpc_server_nr_connections(const struct xrpc_server *server);

/* The TCP port it listens on. Any thread. */
uint16_t xrpc_server_port(const struct xrpc_server *server);

#endif
