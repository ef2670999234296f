/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a server: its socket (listen.c), accepting, its connections (conn.c), the end.
 *
 * It stops accepting while it has XRPC_MAX_CONNECTIONS; those that come meanwhile wait in the
 * kernel's backlog. On TCP, connections that have not authenticated are fewer than that, and one
 * that comes when there are as many as may be ends the oldest of them: so strangers that say
 * nothing cannot keep those out who may come in.
 */
#include "lib/rpc/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/private.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define ACCEPT_RETRY_NS (100 * XU_NS_PER_MS)
#define STOP_GRACE_NS   XU_NS_PER_S /* for clients that do not take their last answer */

static void on_stopped(struct xr_msg *msg)
{
	struct xrpc_server *server = xu_container_of(msg, struct xrpc_server, stopped_msg);

	server->stopped_cb(server->stopped_arg);
}

static void check_stopped(struct xrpc_server *server)
{
	if (server->is_stopping && server->nr_connections == 0 && !server->accept_op.is_pending &&
		server->fd >= 0) {
		xr_timer_stop(server->reactor, &server->timer);
		xrpc__platform(server)->close(xrpc__platform(server), server->fd);
		server->fd = -1;
		server->stopped_msg.fn = on_stopped;
		xr_msg_defer(server->reactor, &server->stopped_msg);
	}
}

/* ---- accepting ---- */

static void accept_next(struct xrpc_server *server);

void xrpc__server_conn_ended(struct xrpc_server *server)
{
	accept_next(server);
	check_stopped(server);
}

static void on_retry(struct xr_timer *timer)
{
	accept_next(xu_container_of(timer, struct xrpc_server, timer));
}

/* Makes room for one more that has not authenticated. */
static void drop_oldest_unready(struct xrpc_server *server)
{
	struct xu_list *node;

	if (server->nr_unready < XRPC_MAX_UNREADY) {
		return;
	}
	xu_list_for_each (node, &server->connections) {
		struct xrpc_conn *conn = xu_list_entry(node, struct xrpc_conn, link);

		if (!conn->is_ready && !conn->is_dropped) {
			xrpc__conn_drop(conn);
			return;
		}
	}
}

static void on_accepted(struct xr_op *op, int32_t result)
{
	struct xrpc_server *server = xu_container_of(op, struct xrpc_server, accept_op);
	int rc = result;

	if (server->is_stopping) {
		if (result >= 0) {
			xrpc__platform(server)->close(xrpc__platform(server), result);
		}
		check_stopped(server);
		return;
	}
	if (result >= 0) {
		drop_oldest_unready(server);
		rc = xrpc__conn_start(server, result);
		if (rc != 0) {
			xrpc__platform(server)->close(xrpc__platform(server), result);
		}
	}
	if (rc < 0) {
		xu_warn(xr_reactor_log(server->reactor), "no connection taken on %s: %s",
			server->name, strerror(-rc));
		xr_timer_start(server->reactor, &server->timer, ACCEPT_RETRY_NS);
		return;
	}
	accept_next(server);
}

static void accept_next(struct xrpc_server *server)
{
	if (server->is_stopping || server->accept_op.is_pending || server->accept_op.cb == NULL ||
		xr_timer_is_running(&server->timer) ||
		server->nr_connections >= XRPC_MAX_CONNECTIONS) {
		return;
	}
	server->accept_op.opcode = XR_OP_ACCEPT;
	server->accept_op.fd = server->fd;
	xr_op_submit(server->reactor, &server->accept_op);
}

/* ---- life ---- */

static struct xrpc_server *server_new(struct xr_reactor *reactor, struct xrpc_service *service)
{
	struct xrpc_server *server = calloc(1, sizeof(*server));

	if (server != NULL) {
		server->fd = -1;
		server->reactor = reactor;
		server->service = service;
		xu_list_init(&server->connections);
	}
	return server;
}

int xrpc_server_new(struct xr_reactor *reactor, struct xrpc_service *service, const char *path,
	struct xrpc_server **ret_server, struct xu_error *err)
{
	struct xrpc_server *server = server_new(reactor, service);
	int rc;

	if (server == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making the management socket %s", path);
	}
	rc = xrpc__listen_unix(server, path, err);
	if (rc != 0) {
		xrpc_server_free(server);
		return rc;
	}
	*ret_server = server;
	return 0;
}

int xrpc_server_new_tcp(struct xr_reactor *reactor, struct xrpc_service *service,
	const struct xrpc_tcp_opts *opts, struct xrpc_server **ret_server, struct xu_error *err)
{
	struct xrpc_server *server = server_new(reactor, service);
	int rc;

	if (server == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "listening on %s", opts->address);
	}
	rc = xrpc__listen_tcp(server, opts, err);
	if (rc != 0) {
		xrpc_server_free(server);
		return rc;
	}
	*ret_server = server;
	return 0;
}

void xrpc_server_start(struct xrpc_server *server)
{
	server->accept_op.cb = on_accepted;
	server->timer.fn = on_retry;
	accept_next(server);
}

static void on_grace_over(struct xr_timer *timer)
{
	struct xrpc_server *server = xu_container_of(timer, struct xrpc_server, timer);
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &server->connections) {
		xrpc__conn_hurry(xu_list_entry(node, struct xrpc_conn, link));
	}
	xr_timer_start(server->reactor, timer, STOP_GRACE_NS);
}

void xrpc_server_stop(struct xrpc_server *server, void (*cb)(void *arg), void *arg)
{
	struct xu_list *node, *next;

	assert(!server->is_stopping);
	server->is_stopping = true;
	server->stopped_cb = cb;
	server->stopped_arg = arg;
	xrpc__listen_unlink(server);
	server->timer.fn = on_grace_over;
	xr_timer_start(server->reactor, &server->timer, STOP_GRACE_NS);
	xr_op_cancel(server->reactor, &server->accept_op);
	xu_list_for_each_safe (node, next, &server->connections) {
		xrpc__conn_stop(xu_list_entry(node, struct xrpc_conn, link), XR_OP_RECV);
	}
	check_stopped(server);
}

void xrpc_server_free(struct xrpc_server *server)
{
	if (server == NULL) {
		return;
	}
	assert(server->nr_connections == 0 && !server->accept_op.is_pending);
	if (server->fd >= 0) {
		xrpc__listen_unlink(server);
		xrpc__platform(server)->close(xrpc__platform(server), server->fd);
	}
	if (server->token != NULL) {
		explicit_bzero(server->token, strlen(server->token));
	}
	free(server->token);
	free(server->path);
	free(server);
}

uint32_t xrpc_server_nr_connections(const struct xrpc_server *server)
{
	return server->nr_connections;
}

uint16_t xrpc_server_port(const struct xrpc_server *server)
{
	return server->port;
}
