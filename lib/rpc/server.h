/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A JSON-RPC service on a UNIX socket, on one reactor. Requests come as SPDK's clients send them:
 * JSON values one after the other, with or without space between. Each connection's calls run one
 * after the other and are answered in order; the next is read when the last has been sent, so a
 * slow or greedy client holds up only itself.
 */
#ifndef XRPC_SERVER_H
#define XRPC_SERVER_H

#include <stddef.h>
#include <stdint.h>

#define XRPC_MAX_CONNECTIONS 64u
#define XRPC_MAX_REQUEST     (1u << 20) /* bytes of one call */

struct xr_reactor;
struct xrpc_server;
struct xrpc_service;
struct xu_error;

/*
 * Makes the socket at `path`, mode 0600, so that it is ours from now on; connections wait until
 * xrpc_server_start(). A socket that nobody listens on is replaced. Borrows the service. Before the
 * reactor runs or on its thread. -EADDRINUSE: somebody answers there; -EEXIST: it is something else
 * than a socket; -ENAMETOOLONG and what bind(2) says, with a sentence.
 */
int xrpc_server_new(struct xr_reactor *reactor, struct xrpc_service *service, const char *path,
	struct xrpc_server **ret_server, struct xu_error *err);

/* Begins to accept. On the reactor's thread, as all below. */
void xrpc_server_start(struct xrpc_server *server);

/* Takes no more calls and removes the socket; calls under way are finished and answered (who does
 * not take the answer within a second gets none), then all connections are closed and `cb` runs. */
void xrpc_server_stop(struct xrpc_server *server, void (*cb)(void *arg), void *arg);

/* Frees a server that was never started or has stopped. NULL is fine. */
void xrpc_server_free(struct xrpc_server *server);

uint32_t xrpc_server_nr_connections(const struct xrpc_server *server);

#endif
