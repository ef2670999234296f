/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections on the UNIX socket.
 *
 *   RECEIVING --a whole value--> CALLING --answer--> SENDING --sent--> (next value, or RECEIVING)
 *       |end of stream, garbage, too long|                |                        |
 *       +--------------------------------+----------------+----> closed, when nothing is pending
 *
 * At any time a connection has at most one of: a receive, a call, a send. It is freed only from the
 * end of that one thing, or at once when it has none. The server stops accepting while it has
 * XRPC_MAX_CONNECTIONS; those that come meanwhile wait in the kernel's backlog.
 */
#include "lib/rpc/server.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/rpc/frame.h"
#include "lib/rpc/jsonrpc.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define BACKLOG         64
#define BUFFER_MIN      4096u
#define ACCEPT_RETRY_NS (100 * XU_NS_PER_MS)
#define STOP_GRACE_NS   XU_NS_PER_S /* for clients that do not take their last answer */

struct xrpc_server {
	struct xr_reactor *reactor;
	struct xrpc_service *service;
	char *path;
	dev_t path_dev;
	ino_t path_ino;
	int fd;
	bool is_stopping;
	struct xr_op accept_op;
	struct xr_timer timer; /* until accepting is tried again, or until the end of the grace */
	struct xu_list connections;
	uint32_t nr_connections;
	struct xr_msg stopped_msg;
	void (*stopped_cb)(void *arg);
	void *stopped_arg;
};

struct connection {
	struct xrpc_server *server;
	struct xu_list link;
	int fd;
	bool is_in_call; /* xrpc_call() is on the stack */
	bool is_at_end;  /* the client sends no more */
	bool must_close; /* after the answer that is being sent */
	struct xr_op op;
	struct iovec iov;
	struct xrpc_frame frame;
	char *buffer;
	size_t len, size;
	char *answer;
};

static void pump(struct connection *conn);

static const struct xr_platform *platform_of(const struct xrpc_server *server)
{
	return xr_reactor_platform(server->reactor);
}

/* ---- the end ---- */

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
		platform_of(server)->close(platform_of(server), server->fd);
		server->fd = -1;
		server->stopped_msg.fn = on_stopped;
		xr_msg_defer(server->reactor, &server->stopped_msg);
	}
}

static void accept_next(struct xrpc_server *server);

static void connection_free(struct connection *conn)
{
	struct xrpc_server *server = conn->server;

	xu_list_del(&conn->link);
	server->nr_connections--;
	platform_of(server)->close(platform_of(server), conn->fd);
	free(conn->buffer);
	free(conn->answer);
	free(conn);
	accept_next(server);
	check_stopped(server);
}

/* ---- sending ---- */

static void on_sent(struct xr_op *op, int32_t result)
{
	struct connection *conn = xu_container_of(op, struct connection, op);

	free(conn->answer);
	conn->answer = NULL;
	if (result < 0 || conn->must_close) {
		connection_free(conn);
		return;
	}
	pump(conn);
}

static void send_answer(struct connection *conn)
{
	conn->iov = (struct iovec){.iov_base = conn->answer, .iov_len = strlen(conn->answer)};
	conn->op = (struct xr_op){.cb = on_sent,
		.opcode = XR_OP_SEND,
		.fd = conn->fd,
		.iov = &conn->iov,
		.nr_iov = 1};
	xr_op_submit(conn->server->reactor, &conn->op);
}

/* Answers what cannot be called, after which the stream is of no more use. */
static void refuse(struct connection *conn, int code, const char *message)
{
	conn->answer = xrpc_error_text(code, message);
	conn->must_close = true;
	if (conn->answer == NULL) {
		connection_free(conn);
		return;
	}
	send_answer(conn);
}

/* ---- calling ---- */

/* Comes from within xrpc_call() or later; pump() goes on in the first case. */
static void on_answer(void *arg, char *answer, bool is_broken)
{
	struct connection *conn = arg;
	bool is_later = !conn->is_in_call;

	conn->answer = answer;
	conn->is_in_call = false;
	conn->must_close |= is_broken;
	if (is_later) {
		pump(conn);
	}
}

static void drop_front(struct connection *conn, size_t count)
{
	if (count != 0) {
		conn->len -= count;
		memmove(conn->buffer, conn->buffer + count, conn->len);
	}
}

/* ---- receiving ---- */

static void on_received(struct xr_op *op, int32_t result)
{
	struct connection *conn = xu_container_of(op, struct connection, op);

	if (result < 0) {
		connection_free(conn);
		return;
	}
	conn->len += (size_t)result;
	conn->is_at_end = result == 0;
	pump(conn);
}

/* Makes room for more; false when the call is too long or there is no memory. */
static bool grow(struct connection *conn)
{
	size_t size = conn->size == 0 ? BUFFER_MIN : 2 * conn->size;
	char *buffer;

	if (conn->len < conn->size) {
		return true;
	}
	if (conn->size > XRPC_MAX_REQUEST) {
		return false;
	}
	buffer = realloc(conn->buffer, size);
	if (buffer == NULL) {
		return false;
	}
	conn->buffer = buffer;
	conn->size = size;
	return true;
}

static void receive(struct connection *conn)
{
	if (conn->len > XRPC_MAX_REQUEST || !grow(conn)) {
		refuse(conn, XRPC_PARSE_ERROR, "a call has at most 1 MiB (1048576 bytes)");
		return;
	}
	conn->iov = (struct iovec){
		.iov_base = conn->buffer + conn->len, .iov_len = conn->size - conn->len};
	conn->op = (struct xr_op){.cb = on_received,
		.opcode = XR_OP_RECV,
		.fd = conn->fd,
		.iov = &conn->iov,
		.nr_iov = 1};
	xr_op_submit(conn->server->reactor, &conn->op);
}

/*
 * Does the next thing: sends the answer that is there, calls what is complete, or receives. Calls
 * that need no answer are done in the loop.
 */
static void pump(struct connection *conn)
{
	struct xrpc_server *server = conn->server;
	size_t start, end;
	int rc;

	for (;;) {
		if (conn->answer != NULL) {
			send_answer(conn);
			return;
		}
		if (conn->must_close || server->is_stopping) {
			connection_free(conn);
			return;
		}
		rc = xrpc_frame_next(&conn->frame, conn->buffer, conn->len, &start, &end);
		if (rc == 0) {
			break;
		}
		if (rc < 0 || end - start > XRPC_MAX_REQUEST) {
			refuse(conn, XRPC_PARSE_ERROR,
				rc == -EBADMSG ? "a call begins with { or ["
				: rc == -E2BIG ? "the call is nested too deeply"
					       : "a call has at most 1 MiB (1048576 bytes)");
			return;
		}
		/* While it is set, on_answer() leaves the rest to this loop. */
		conn->is_in_call = true;
		xrpc_call(server->service, conn->buffer + start, end - start, on_answer, conn);
		drop_front(conn, end);
		if (conn->is_in_call) {
			conn->is_in_call = false;
			return;
		}
	}
	/* Space before a call is not kept, so it neither counts nor is looked at again. */
	drop_front(conn, start);
	conn->frame.scanned -= start;
	if (!conn->is_at_end) {
		receive(conn);
	} else if (conn->frame.is_started) {
		refuse(conn, XRPC_PARSE_ERROR, "the stream ended in the middle of a call");
	} else {
		connection_free(conn);
	}
}

/* ---- accepting ---- */

static void on_retry(struct xr_timer *timer)
{
	accept_next(xu_container_of(timer, struct xrpc_server, timer));
}

static void on_accepted(struct xr_op *op, int32_t result)
{
	struct xrpc_server *server = xu_container_of(op, struct xrpc_server, accept_op);
	struct connection *conn;

	if (server->is_stopping) {
		if (result >= 0) {
			platform_of(server)->close(platform_of(server), result);
		}
		check_stopped(server);
		return;
	}
	conn = result >= 0 ? calloc(1, sizeof(*conn)) : NULL;
	if (conn == NULL) {
		xu_warn(xr_reactor_log(server->reactor), "no connection taken on %s: %s",
			server->path, strerror(result < 0 ? -result : ENOMEM));
		if (result >= 0) {
			platform_of(server)->close(platform_of(server), result);
		}
		xr_timer_start(server->reactor, &server->timer, ACCEPT_RETRY_NS);
		return;
	}
	conn->server = server;
	conn->fd = result;
	xu_list_add_tail(&server->connections, &conn->link);
	server->nr_connections++;
	pump(conn);
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

/* ---- the socket ---- */

/* A process that was killed leaves its sockets open for a moment, as long as the kernel takes its
 * io_uring apart: a connection is taken there, but nobody will ever answer. */
static bool is_dead(pid_t pid)
{
	char path[64], text[256], *end;
	size_t len;
	FILE *file;

	if (pid <= 0) {
		return false; /* of another PID namespace */
	}
	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "re");
	if (file == NULL) {
		return kill(pid, 0) != 0 && errno == ESRCH;
	}
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	end = strrchr(text, ')'); /* "PID (name) state" */
	return end != NULL && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X');
}

/* Whether somebody answers at the address; then *ret_pid says who. */
static bool is_alive(const struct sockaddr_un *addr, pid_t *ret_pid)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	bool is_alive_there = true; /* in doubt it is somebody's */

	if (fd < 0) {
		return true;
	}
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0) {
		is_alive_there = errno != ECONNREFUSED && errno != ENOENT;
	} else {
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
		is_alive_there = !is_dead(cred.pid);
	}
	close(fd);
	*ret_pid = cred.pid;
	return is_alive_there;
}

/* Takes a socket out of the way that a dead process left. */
static int remove_stale(const struct sockaddr_un *addr, struct xu_error *err)
{
	struct stat st;
	pid_t pid = 0;

	if (lstat(addr->sun_path, &st) != 0) {
		return 0;
	}
	if (!S_ISSOCK(st.st_mode)) {
		return xu_error_set(err, -EEXIST,
			"%s is there and is no socket; choose another path or move it away",
			addr->sun_path);
	}
	if (is_alive(addr, &pid)) {
		return xu_error_set(err, -EADDRINUSE,
			"process %ld answers on %s already; stop it or choose another path",
			(long)pid, addr->sun_path);
	}
	unlink(addr->sun_path);
	return 0;
}

/* The mode of an unbound socket's inode is what bind(2) gives the file, so it is never open to
 * others, not even for a moment. */
static int listen_at(
	struct xrpc_server *server, const struct sockaddr_un *addr, struct xu_error *err)
{
	struct stat st;

	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->fd < 0 || fchmod(server->fd, 0600) != 0 ||
		bind(server->fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0 ||
		listen(server->fd, BACKLOG) != 0 || lstat(addr->sun_path, &st) != 0) {
		return xu_error_set_errno(
			err, -errno, "making the management socket %s", addr->sun_path);
	}
	server->path_dev = st.st_dev;
	server->path_ino = st.st_ino;
	return 0;
}

int xrpc_server_new(struct xr_reactor *reactor, struct xrpc_service *service, const char *path,
	struct xrpc_server **ret_server, struct xu_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct xrpc_server *server;
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		return xu_error_set(err, -ENAMETOOLONG,
			"the path of the management socket has %zu characters, at most %zu are "
			"possible: %s",
			strlen(path), sizeof(addr.sun_path) - 1, path);
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	server = calloc(1, sizeof(*server));
	if (server == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making the management socket %s", path);
	}
	server->fd = -1;
	server->reactor = reactor;
	server->service = service;
	xu_list_init(&server->connections);
	server->path = strdup(path);
	rc = server->path == NULL
		     ? xu_error_set_errno(err, -ENOMEM, "making the management socket %s", path)
		     : remove_stale(&addr, err);
	if (rc == 0) {
		rc = listen_at(server, &addr, err);
	}
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

/* Removes the socket's file, unless somebody has put another in its place. */
static void unlink_path(const struct xrpc_server *server)
{
	struct stat st;

	if (server->path_ino != 0 && lstat(server->path, &st) == 0 &&
		st.st_dev == server->path_dev && st.st_ino == server->path_ino) {
		unlink(server->path);
	}
}

/* Shuts the connections down that wait for their client; their operations end. */
static void shut_down(struct xrpc_server *server, enum xr_opcode opcode)
{
	struct xu_list *node;

	xu_list_for_each (node, &server->connections) {
		struct connection *conn = xu_list_entry(node, struct connection, link);

		if (conn->op.is_pending && conn->op.opcode == opcode) {
			platform_of(server)->sock_shutdown(platform_of(server), conn->fd);
		}
	}
}

static void on_grace_over(struct xr_timer *timer)
{
	struct xrpc_server *server = xu_container_of(timer, struct xrpc_server, timer);

	shut_down(server, XR_OP_SEND);
	xr_timer_start(server->reactor, timer, STOP_GRACE_NS);
}

void xrpc_server_stop(struct xrpc_server *server, void (*cb)(void *arg), void *arg)
{
	assert(!server->is_stopping);
	server->is_stopping = true;
	server->stopped_cb = cb;
	server->stopped_arg = arg;
	unlink_path(server);
	server->timer.fn = on_grace_over;
	xr_timer_start(server->reactor, &server->timer, STOP_GRACE_NS);
	xr_op_cancel(server->reactor, &server->accept_op);
	shut_down(server, XR_OP_RECV);
	check_stopped(server);
}

void xrpc_server_free(struct xrpc_server *server)
{
	if (server == NULL) {
		return;
	}
	assert(server->nr_connections == 0 && !server->accept_op.is_pending);
	if (server->fd >= 0) {
		unlink_path(server);
		close(server->fd);
	}
	free(server->path);
	free(server);
}

uint32_t xrpc_server_nr_connections(const struct xrpc_server *server)
{
	return server->nr_connections;
}
