/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client.
 *
 *   RECEIVING --a whole value--> CALLING --answer--> SENDING --sent--> (next value, or RECEIVING)
 *       |end of stream, garbage, too long|                |                        |
 *       +--------------------------------+----------------+----> closed, when nothing is pending
 *
 * At any time a connection has at most one of: a receive, a call, a send, or (after wrong
 * tokens) a pause. It is freed only from the end of that one thing, or at once when it has none.
 *
 * With TLS, what is received goes through the session, which gives plain text for the buffer and
 * may have bytes of its own to send; those go first, so neither side's memory grows.
 *
 * On TCP everything has a time: 10 s to be ready to call, 30 s for the rest of a call that has
 * begun, 60 s to take (a piece of) an answer, 10 minutes to say anything at all. Then the socket is
 * shut down, which ends what is pending. A connection that is closed by us reads on for a moment,
 * because a TCP socket that is closed with something unread takes the last answer with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/private.h"
#include "lib/rpc/tls.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"

#define BUFFER_MIN 4096u

#define READY_NS   (10 * XU_NS_PER_S)
#define IDLE_NS    (600 * XU_NS_PER_S)
#define REQUEST_NS (30 * XU_NS_PER_S)
#define SEND_NS    (60 * XU_NS_PER_S)
#define LINGER_NS  XU_NS_PER_S
#define PUNISH_NS  XU_NS_PER_S
#define GUESSES_NS XU_NS_PER_S

static void pump(struct xrpc_conn *conn);

/* It waits for a moment to pass and has nothing pending. */
static bool is_pausing(const struct xrpc_conn *conn)
{
	return conn->timing == XRPC__TIMING_PUNISH || conn->timing == XRPC__TIMING_HOLD;
}

/* ---- the end ---- */

static void conn_free(struct xrpc_conn *conn)
{
	struct xrpc_server *server = conn->server;

	xr_timer_stop(server->reactor, &conn->timer);
	xr_timer_stop(server->reactor, &conn->deadline);
	xu_list_del(&conn->link);
	server->nr_connections--;
	server->nr_unready -= !conn->is_ready;
	xrpc__platform(server)->close(xrpc__platform(server), conn->fd);
	xrpc_tls_session_free(conn->tls);
	free(conn->buffer);
	free(conn->answer);
	free(conn);
	xrpc__server_conn_ended(server);
}

static void shut_down(struct xrpc_conn *conn)
{
	xrpc__platform(conn->server)->sock_shutdown(xrpc__platform(conn->server), conn->fd);
}

void xrpc__conn_stop(struct xrpc_conn *conn, enum xr_opcode opcode)
{
	if (conn->op.is_pending && conn->op.opcode == opcode) {
		shut_down(conn);
	} else if (is_pausing(conn)) {
		conn_free(conn);
	}
}

void xrpc__conn_hurry(struct xrpc_conn *conn)
{
	bool is_sending = conn->op.is_pending && conn->op.opcode == XR_OP_SEND;

	if (is_sending && !conn->was_sending) {
		conn->was_sending = true; /* perhaps since a moment ago */
		return;
	}
	xrpc__conn_stop(conn, XR_OP_SEND);
}

void xrpc__conn_drop(struct xrpc_conn *conn)
{
	xu_info(xr_reactor_log(conn->server->reactor),
		"management on %s: %s has to make room, it has not authenticated",
		conn->server->name, conn->peer);
	conn->is_dropped = true;
	xrpc__conn_stop(conn, conn->op.opcode);
}

/* ---- time ---- */

static void on_timeout(struct xr_timer *timer)
{
	struct xrpc_conn *conn = xu_container_of(timer, struct xrpc_conn, timer);

	if (is_pausing(conn)) {
		conn->timing = XRPC__TIMING_NONE;
		pump(conn);
		return;
	}
	shut_down(conn);
}

static void on_deadline(struct xr_timer *timer)
{
	struct xrpc_conn *conn = xu_container_of(timer, struct xrpc_conn, deadline);

	xu_info(xr_reactor_log(conn->server->reactor),
		"management on %s: %s has not authenticated in time", conn->server->name,
		conn->peer);
	shut_down(conn);
}

/* What the connection waits for now; waiting on for the same does not begin anew. */
static void set_timing(struct xrpc_conn *conn, enum xrpc__timing timing)
{
	static const uint64_t limits_ns[] = {
		[XRPC__TIMING_IDLE] = IDLE_NS,
		[XRPC__TIMING_REQUEST] = REQUEST_NS,
		[XRPC__TIMING_SEND] = SEND_NS,
		[XRPC__TIMING_LINGER] = LINGER_NS,
		[XRPC__TIMING_PUNISH] = PUNISH_NS,
		[XRPC__TIMING_HOLD] = GUESSES_NS,
	};

	if (!conn->server->is_tcp || timing == conn->timing) {
		return;
	}
	conn->timing = timing;
	if (timing == XRPC__TIMING_NONE) {
		xr_timer_stop(conn->server->reactor, &conn->timer);
	} else {
		xr_timer_start(conn->server->reactor, &conn->timer, limits_ns[timing]);
	}
}

static void become_ready(struct xrpc_conn *conn)
{
	conn->is_ready = true;
	conn->server->nr_unready--;
	xr_timer_stop(conn->server->reactor, &conn->deadline);
	xu_info(xr_reactor_log(conn->server->reactor), "management on %s: %s has authenticated",
		conn->server->name, conn->peer);
}

/* ---- sending ---- */

static void set_answer(struct xrpc_conn *conn, char *answer)
{
	conn->answer = answer;
	conn->answer_len = answer != NULL ? strlen(answer) : 0;
	conn->answer_at = 0;
}

static void answer_sent(struct xrpc_conn *conn)
{
	free(conn->answer);
	conn->answer = NULL;
}

static void on_sent(struct xr_op *op, int32_t result)
{
	struct xrpc_conn *conn = xu_container_of(op, struct xrpc_conn, op);

	set_timing(conn, XRPC__TIMING_NONE);
	if (result < 0) {
		conn_free(conn);
		return;
	}
	if (conn->tls == NULL) {
		answer_sent(conn);
	} else {
		xrpc_tls_sent(conn->tls);
	}
	pump(conn);
}

static void submit(
	struct xrpc_conn *conn, enum xr_opcode opcode, void (*cb)(struct xr_op *op, int32_t result))
{
	conn->op = (struct xr_op){.cb = cb,
		.opcode = (uint8_t)opcode,
		.fd = conn->fd,
		.iov = &conn->iov,
		.nr_iov = 1};
	xr_op_submit(conn->server->reactor, &conn->op);
}

/* Has a piece of the answer encrypted. */
static void encrypt(struct xrpc_conn *conn)
{
	ssize_t count = xrpc_tls_write(
		conn->tls, conn->answer + conn->answer_at, conn->answer_len - conn->answer_at);

	if (count < 0) {
		conn->is_broken = true;
		conn->must_close = true;
		answer_sent(conn);
		return;
	}
	conn->answer_at += (size_t)count;
	if (conn->answer_at == conn->answer_len) {
		answer_sent(conn);
	}
}

/* Sends what there is to be sent; false: nothing. */
static bool send_next(struct xrpc_conn *conn)
{
	if (conn->tls == NULL) {
		conn->iov = (struct iovec){.iov_base = conn->answer, .iov_len = conn->answer_len};
		if (conn->answer == NULL) {
			return false;
		}
	} else if (!xrpc_tls_output(conn->tls, &conn->iov)) {
		if (conn->answer == NULL) {
			return false;
		}
		encrypt(conn);
		if (!xrpc_tls_output(conn->tls, &conn->iov)) {
			return false;
		}
	}
	set_timing(conn, XRPC__TIMING_SEND);
	submit(conn, XR_OP_SEND, on_sent);
	return true;
}

/* Answers what cannot be called, after which the stream is of no more use. */
static void refuse(struct xrpc_conn *conn, int code, const char *message)
{
	set_answer(conn, xrpc_error_text(code, message));
	conn->must_close = true;
}

/* ---- closing ---- */

static void on_lingered(struct xr_op *op, int32_t result)
{
	struct xrpc_conn *conn = xu_container_of(op, struct xrpc_conn, op);

	if (result <= 0 || conn->server->is_stopping) {
		conn_free(conn);
		return;
	}
	submit(conn, XR_OP_RECV, on_lingered);
}

/* Everything has been sent. */
static void close_conn(struct xrpc_conn *conn)
{
	if (conn->tls != NULL && !conn->is_broken && !conn->is_end_told) {
		conn->is_end_told = true;
		xrpc_tls_end(conn->tls);
		if (send_next(conn)) {
			return;
		}
	}
	if (!conn->server->is_tcp || conn->server->is_stopping || conn->is_at_end ||
		conn->is_dropped || conn->size == 0) {
		conn_free(conn);
		return;
	}
	set_timing(conn, XRPC__TIMING_LINGER);
	conn->iov = (struct iovec){.iov_base = conn->buffer, .iov_len = conn->size};
	submit(conn, XR_OP_RECV, on_lingered);
}

/* ---- calling ---- */

/* Comes from within xrpc_call() or later; pump() goes on in the first case. */
static void on_answer(void *arg, char *answer, bool is_broken)
{
	struct xrpc_conn *conn = arg;
	bool is_later = !conn->is_in_call;

	set_answer(conn, answer);
	conn->is_in_call = false;
	conn->must_close |= is_broken;
	if (is_later) {
		pump(conn);
	}
}

/* Whether another token may be looked at now. The answer to a wrong one comes late, but that to a
 * right one at once, so many short connections could guess quickly if they were not counted
 * together. */
static bool may_judge(struct xrpc_server *server)
{
	uint64_t now_ns = xr_now_ns(server->reactor);

	if (now_ns - server->guesses_since_ns >= GUESSES_NS) {
		server->guesses_since_ns = now_ns;
		server->nr_guesses = 0;
	}
	return server->nr_guesses < XRPC_MAX_GUESSES;
}

/* Judges a first call; false: its answer has to wait. */
static bool authenticate(struct xrpc_conn *conn, const char *text, size_t len)
{
	struct xu_logger *log = xr_reactor_log(conn->server->reactor);
	char *answer = NULL;

	switch (xrpc__auth_check(conn->server->token, text, len, &answer)) {
	case XRPC__AUTH_RIGHT:
		become_ready(conn);
		break;
	case XRPC__AUTH_WRONG:
		xu_warn(log, "management on %s: %s has sent a wrong token", conn->server->name,
			conn->peer);
		set_answer(conn, answer);
		conn->server->nr_guesses++;
		conn->must_close = ++conn->nr_failures == XRPC_MAX_FAILURES;
		set_timing(conn, XRPC__TIMING_PUNISH);
		return false;
	case XRPC__AUTH_OTHER:
		xu_warn(log, "management on %s: %s calls without having authenticated",
			conn->server->name, conn->peer);
		conn->must_close = true;
		break;
	}
	set_answer(conn, answer);
	return true;
}

static void drop_front(struct xrpc_conn *conn, size_t count)
{
	if (count != 0) {
		conn->len -= count;
		memmove(conn->buffer, conn->buffer + count, conn->len);
	}
}

/* Does the call text[start … end) of the buffer; false: its answer comes later. */
static bool call(struct xrpc_conn *conn, size_t start, size_t end)
{
	const char *text = conn->buffer + start;
	bool goes_on;

	set_timing(conn, XRPC__TIMING_NONE);
	if (!conn->is_ready && !may_judge(conn->server)) {
		set_timing(conn, XRPC__TIMING_HOLD); /* then it is taken from the buffer again */
		return false;
	}
	if (!conn->is_ready) {
		goes_on = authenticate(conn, text, end - start);
		drop_front(conn, end);
		return goes_on;
	}
	/* While it is set, on_answer() leaves the rest to pump(). */
	conn->is_in_call = true;
	xrpc_call(conn->server->service, text, end - start, on_answer, conn);
	drop_front(conn, end);
	goes_on = !conn->is_in_call;
	conn->is_in_call = false;
	return goes_on;
}

/* ---- receiving ---- */

static size_t max_len(const struct xrpc_conn *conn)
{
	return conn->is_ready ? XRPC_MAX_REQUEST : XRPC_MAX_FIRST;
}

static void refuse_length(struct xrpc_conn *conn)
{
	_Static_assert(XRPC_MAX_REQUEST == 1048576 && XRPC_MAX_FIRST == 4096, "the sentences");
	refuse(conn, XRPC_PARSE_ERROR,
		conn->is_ready ? "a call has at most 1 MiB (1048576 bytes)"
			       : "the call that authenticates has at most 4096 bytes");
}

static void on_received(struct xr_op *op, int32_t result)
{
	struct xrpc_conn *conn = xu_container_of(op, struct xrpc_conn, op);

	if (result < 0) {
		conn_free(conn);
		return;
	}
	conn->is_at_end = result == 0;
	if (conn->tls == NULL) {
		conn->len += (size_t)result;
	} else if (xrpc_tls_received(conn->tls, (size_t)result) != 0) {
		conn_free(conn);
		return;
	}
	pump(conn);
}

/* Makes room for more; false when the call is too long or there is no memory. */
static bool grow(struct xrpc_conn *conn)
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

/* Takes what the session has decrypted; false: nothing came, so more is needed from the socket. */
static bool decrypt(struct xrpc_conn *conn)
{
	ssize_t count = xrpc_tls_read(conn->tls, conn->buffer + conn->len, conn->size - conn->len);

	if (count < 0 && count != -EPIPE) {
		xu_warn(xr_reactor_log(conn->server->reactor), "management on %s: %s: %s",
			conn->server->name, conn->peer, xrpc_tls_problem(conn->tls));
		conn->is_broken = true;
		conn->must_close = true;
		return true;
	}
	if (!conn->is_ready && conn->server->token == NULL && xrpc_tls_is_ready(conn->tls)) {
		become_ready(conn);
	}
	conn->is_at_end |= count == -EPIPE;
	conn->len += count > 0 ? (size_t)count : 0;
	return count > 0 || xrpc_tls_has_output(conn->tls);
}

/* Gets more for a value that is not complete; false: it comes later. */
static bool fetch(struct xrpc_conn *conn)
{
	if (conn->len > max_len(conn) || !grow(conn)) {
		refuse_length(conn);
		return true;
	}
	if (conn->tls != NULL && decrypt(conn)) {
		return true;
	}
	if (conn->is_at_end) {
		conn->must_close = true;
		if (conn->frame.is_started) {
			refuse(conn, XRPC_PARSE_ERROR, "the stream ended in the middle of a call");
		}
		return true;
	}
	set_timing(conn, conn->frame.is_started ? XRPC__TIMING_REQUEST : XRPC__TIMING_IDLE);
	if (conn->tls != NULL) {
		conn->iov = xrpc_tls_input(conn->tls);
	} else {
		conn->iov = (struct iovec){
			.iov_base = conn->buffer + conn->len, .iov_len = conn->size - conn->len};
	}
	submit(conn, XR_OP_RECV, on_received);
	return false;
}

/*
 * Does the next thing: sends what is there, calls what is complete, or receives. Calls that need no
 * answer are done in the loop.
 */
static void pump(struct xrpc_conn *conn)
{
	size_t start, end;
	int rc;

	for (;;) {
		if (send_next(conn)) {
			return;
		}
		if (conn->must_close || conn->server->is_stopping) {
			close_conn(conn);
			return;
		}
		rc = xrpc_frame_next(&conn->frame, conn->buffer, conn->len, &start, &end);
		if (rc == 0) {
			/* Space before a call is not kept, so it neither counts nor is looked at
			 * again. */
			drop_front(conn, start);
			conn->frame.scanned -= start;
			if (!fetch(conn)) {
				return;
			}
		} else if (rc < 0) {
			refuse(conn, XRPC_PARSE_ERROR,
				rc == -EBADMSG ? "a call begins with { or ["
					       : "the call is nested too deeply");
		} else if (end - start > max_len(conn)) {
			refuse_length(conn);
		} else if (!call(conn, start, end)) {
			return;
		}
	}
}

/* ---- the beginning ---- */

static void name_peer(struct xrpc_conn *conn)
{
	const struct xr_platform *platform = xrpc__platform(conn->server);
	char text[XR_ADDRESS_SIZE];
	uint16_t port;

	if (!conn->server->is_tcp ||
		platform->sock_name(platform, conn->fd, true, text, &port) != 0) {
		strcpy(conn->peer, "a client");
		return;
	}
	snprintf(conn->peer, sizeof(conn->peer), "%s port %u", text, port);
}

int xrpc__conn_start(struct xrpc_server *server, int fd)
{
	struct xrpc_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL ||
		(server->tls != NULL && xrpc_tls_session_new(server->tls, &conn->tls) != 0)) {
		free(conn);
		return -ENOMEM;
	}
	conn->server = server;
	conn->fd = fd;
	conn->timer.fn = on_timeout;
	conn->deadline.fn = on_deadline;
	conn->is_ready = server->token == NULL && server->tls == NULL;
	name_peer(conn);
	xu_list_add_tail(&server->connections, &conn->link);
	server->nr_connections++;
	server->nr_unready += !conn->is_ready;
	if (server->is_tcp) {
		xrpc__platform(server)->sock_tune(xrpc__platform(server), fd);
	}
	if (!conn->is_ready) {
		xr_timer_start(server->reactor, &conn->deadline, READY_NS);
	}
	pump(conn);
	return 0;
}
