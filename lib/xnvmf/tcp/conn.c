/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections: their memory, their end, and the transport's table.
 *
 * End of a connection: CLOSED shuts the socket down; when the kernel has given back the receive and
 * the send (they may still write to and read from our buffers), the commands that waited for data
 * or for sending are put back; when the device has given back the rest, the connection is GONE and
 * the control reactor frees it. A termination request is first sent, then the host has five seconds
 * to close.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/tcp/private.h"

#define TERM_WAIT_NS (5 * XU_NS_PER_S)
#define EXTRA_REQS   8u /* a host may send a little early */

/* ---- the end ---- */

static bool is_quiet(const struct tcp_conn *conn)
{
	return !conn->recv_op.is_pending && !conn->send_op.is_pending && !conn->is_flush_asked;
}

static void stop_timers(struct tcp_conn *conn)
{
	xr_timer_stop(conn->qpair.reactor, &conn->term_timer);
	xr_timer_stop(conn->qpair.reactor, &conn->data_timer);
	xr_timer_stop(conn->qpair.reactor, &conn->send_timer);
}

void tcp_conn_settle(struct tcp_conn *conn)
{
	if (conn->paused != NULL && conn->state == TCP_CONN_OPEN && is_quiet(conn) &&
		xu_list_is_empty(&conn->send_queue)) {
		void (*paused)(struct xnvmf_qpair * qpair) = conn->paused;

		conn->paused = NULL;
		stop_timers(conn);
		paused(&conn->qpair); /* it may be another reactor's from here on */
		return;
	}
	if (conn->state != TCP_CONN_CLOSED || !is_quiet(conn)) {
		return;
	}
	tcp_reqs_drop(conn);
	if (conn->qpair.nr_requests == 0) {
		conn->state = TCP_CONN_GONE;
		stop_timers(conn);
		xnvmf__qpair_gone(&conn->qpair);
	}
}

void tcp_conn_close(struct tcp_conn *conn, const char *why)
{
	const struct xr_platform *platform = xr_reactor_platform(conn->qpair.reactor);
	bool is_ending = conn->state >= TCP_CONN_TERMINATING;

	if (conn->state >= TCP_CONN_CLOSED) {
		return;
	}
	xu_debug(conn->qpair.target->log, "connection %llu: %s", (unsigned long long)conn->qpair.id,
		why);
	conn->state = TCP_CONN_CLOSED;
	conn->paused = NULL;
	platform->sock_shutdown(platform, conn->fd);
	xr_op_cancel(conn->qpair.reactor, &conn->recv_op);
	xr_op_cancel(conn->qpair.reactor, &conn->send_op);
	if (!is_ending) {
		xnvmf__qpair_ending(&conn->qpair);
	}
}

void tcp_conn_lose(struct tcp_conn *conn, const char *why)
{
	conn->qpair.is_lost |= conn->state < TCP_CONN_CLOSED;
	tcp_conn_close(conn, why);
}

static void on_term_timer(struct xr_timer *timer)
{
	struct tcp_conn *conn = xu_container_of(timer, struct tcp_conn, term_timer);

	tcp_conn_close(conn, "the host did not close after the last PDU");
	tcp_conn_settle(conn);
}

void tcp_conn_end_after_send(struct tcp_conn *conn)
{
	conn->state = TCP_CONN_TERMINATING;
	xnvmf__qpair_ending(&conn->qpair);
	tcp_reqs_drop_waiting(conn);
	conn->term_timer.fn = on_term_timer;
	xr_timer_start(conn->qpair.reactor, &conn->term_timer, TERM_WAIT_NS);
}

static void on_term_sent(struct tcp_conn *conn, struct tcp_tx *tx)
{
	(void)conn;
	(void)tx;
}

void tcp_conn_fatal(struct tcp_conn *conn, enum nvme_tcp_fes fes, uint32_t fei, const char *why)
{
	struct nvme_tcp_term *term = (struct nvme_tcp_term *)conn->own_pdu;
	const uint8_t *culprit = conn->rx + conn->rx_start;
	uint32_t len = conn->rx_end - conn->rx_start, hlen = culprit[2];

	xu_warn(conn->qpair.target->log,
		"connection %llu: fatal error %u (information %u): %s; the connection is ended",
		(unsigned long long)conn->qpair.id, fes, fei, why);
	if (conn->own_tx.link.next != NULL && xu_list_is_linked(&conn->own_tx.link)) {
		tcp_conn_lose(conn, why); /* the answer to ICReq is not out yet */
		return;
	}
	if (hlen < sizeof(struct nvme_tcp_hdr) || hlen > NVME_TCP_TERM_DATA_MAX) {
		hlen = sizeof(struct nvme_tcp_hdr);
	}
	len = len < hlen ? len : hlen;
	memset(term, 0, sizeof(*term));
	term->hdr.type = NVME_TCP_C2H_TERM;
	term->hdr.hlen = sizeof(*term);
	term->hdr.plen = (uint32_t)sizeof(*term) + len;
	term->fes = (uint16_t)fes;
	term->fei = fei;
	memcpy(conn->own_pdu + sizeof(*term), culprit, len);
	conn->qpair.is_lost = true;
	conn->own_tx.iov[0] = (struct iovec){term, term->hdr.plen};
	conn->own_tx.nr_iov = 1;
	conn->own_tx.sent = on_term_sent;
	tcp_conn_end_after_send(conn);
	tcp_tx_queue(conn, &conn->own_tx);
}

/* ---- life ---- */

static void conn_free(struct tcp_conn *conn)
{
	const struct xr_platform *platform = xbdev_ctx_platform(conn->qpair.target->ctx);

	platform->close(platform, conn->fd);
	tcp_slab_fini(&conn->slabs[0]);
	tcp_slab_fini(&conn->slabs[1]);
	tcp_kick_free(conn);
	free(conn->rx);
	free(conn);
}

struct tcp_conn *tcp_conn_new(struct xnvmf_port *port, int fd)
{
	const struct xr_platform *platform = xbdev_ctx_platform(port->target->ctx);
	struct tcp_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL) {
		return NULL;
	}
	conn->fd = fd;
	conn->rx = malloc(TCP_RX_BYTES);
	if (conn->rx == NULL || tcp_slab_init(conn, 0, 1, NVME_TCP_ADMIN_ICD) != 0) {
		free(conn->rx);
		free(conn);
		return NULL;
	}
	platform->sock_tune(platform, fd);
	xu_list_init(&conn->own_tx.link);
	xnvmf__qpair_init(&conn->qpair, port);
	tcp_tx_init(conn);
	tcp_rx_start(conn);
	return conn;
}

/* ---- the transport's table ---- */

static int tcp_set_depth(struct xnvmf_qpair *qpair, uint32_t depth, bool is_admin)
{
	struct tcp_conn *conn = xu_container_of(qpair, struct tcp_conn, qpair);
	uint32_t icd_bytes =
		is_admin ? NVME_TCP_ADMIN_ICD : qpair->target->opts.in_capsule_data_size;

	return tcp_slab_init(conn, 1, depth + EXTRA_REQS + TCP_DRAINING_MAX, icd_bytes);
}

static void tcp_pause(struct xnvmf_qpair *qpair, void (*paused)(struct xnvmf_qpair *qpair))
{
	/* Called while a PDU is being processed: settling comes when that has been left. */
	xu_container_of(qpair, struct tcp_conn, qpair)->paused = paused;
}

static void tcp_resume(struct xnvmf_qpair *qpair)
{
	tcp_rx_resume(xu_container_of(qpair, struct tcp_conn, qpair));
}

static void tcp_disconnect(struct xnvmf_qpair *qpair)
{
	struct tcp_conn *conn = xu_container_of(qpair, struct tcp_conn, qpair);

	tcp_conn_close(conn, "ended by the target");
	tcp_conn_settle(conn);
}

static void tcp_free(struct xnvmf_qpair *qpair)
{
	conn_free(xu_container_of(qpair, struct tcp_conn, qpair));
}

static int tcp_address(
	struct xnvmf_qpair *qpair, bool is_peer, char address[XR_ADDRESS_SIZE], uint16_t *ret_port)
{
	const struct xr_platform *platform = xbdev_ctx_platform(qpair->target->ctx);

	return platform->sock_name(platform, xu_container_of(qpair, struct tcp_conn, qpair)->fd,
		is_peer, address, ret_port);
}

/* ---- listening ---- */

#define ACCEPT_RETRY_NS (100 * XU_NS_PER_MS)
#define LISTEN_BACKLOG  256u

struct tcp_listener {
	struct xnvmf_target *target;
	struct xnvmf_port *port; /* NULL: no longer listening */
	int fd;
	struct xr_op accept_op;
	struct xr_timer retry_timer; /* when the process has no descriptors left */
};

static void listener_free(struct tcp_listener *listener)
{
	struct xnvmf_target *target = listener->target;
	const struct xr_platform *platform = xbdev_ctx_platform(target->ctx);

	platform->close(platform, listener->fd);
	free(listener);
	target->nr_listening--;
	xnvmf__target_check(target);
}

static void on_accepted(struct xr_op *op, int32_t result)
{
	struct tcp_listener *listener = xu_container_of(op, struct tcp_listener, accept_op);
	struct xnvmf_target *target = listener->target;
	const struct xr_platform *platform = xbdev_ctx_platform(target->ctx);

	if (result >= 0 &&
		(listener->port == NULL || target->is_stopping || !xnvmf__room_for_one(target) ||
			tcp_conn_new(listener->port, result) == NULL)) {
		platform->close(platform, result);
	}
	if (listener->port == NULL) {
		listener_free(listener);
	} else if (result < 0 && result != -ECONNABORTED && result != -EINTR) {
		if (result == -EMFILE || result == -ENFILE) {
			xnvmf__room_drop_one(target); /* one descriptor for the retry */
		}
		xr_timer_start(xnvmf__control(target), &listener->retry_timer, ACCEPT_RETRY_NS);
	} else {
		xr_op_submit(xnvmf__control(target), op);
	}
}

static void on_retry_timer(struct xr_timer *timer)
{
	struct tcp_listener *listener = xu_container_of(timer, struct tcp_listener, retry_timer);

	xr_op_submit(xnvmf__control(listener->target), &listener->accept_op);
}

static int tcp_listen(struct xnvmf_port *port, struct xu_error *err)
{
	const struct xr_platform *platform = xbdev_ctx_platform(port->target->ctx);
	struct xr_listen_opts opts = {
		.address = port->address,
		.port = (uint16_t)strtoul(port->service, NULL, 10),
		.backlog = LISTEN_BACKLOG,
	};
	struct tcp_listener *listener = calloc(1, sizeof(*listener));
	char address[XR_ADDRESS_SIZE];
	uint16_t number;

	if (listener == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "listening on %s", port->address);
	}
	listener->target = port->target;
	listener->port = port;
	listener->fd = platform->tcp_listen(platform, &opts, err);
	if (listener->fd < 0) {
		int rc = listener->fd;

		free(listener);
		return rc;
	}
	if (platform->sock_name(platform, listener->fd, false, address, &number) == 0) {
		snprintf(port->service, sizeof(port->service), "%u", number);
	}
	listener->retry_timer.fn = on_retry_timer;
	listener->accept_op.cb = on_accepted;
	listener->accept_op.opcode = XR_OP_ACCEPT;
	listener->accept_op.fd = listener->fd;
	port->listener = listener;
	port->target->nr_listening++;
	xr_op_submit(xnvmf__control(port->target), &listener->accept_op);
	return 0;
}

static void tcp_unlisten(struct xnvmf_port *port)
{
	struct tcp_listener *listener = port->listener;
	const struct xr_platform *platform = xbdev_ctx_platform(listener->target->ctx);

	listener->port = NULL;
	if (!listener->accept_op.is_pending) {
		xr_timer_stop(xnvmf__control(listener->target), &listener->retry_timer);
		listener_free(listener);
		return;
	}
	/* Ends the listening at once; the pending accept then comes back. */
	platform->sock_shutdown(platform, listener->fd);
	xr_op_cancel(xnvmf__control(listener->target), &listener->accept_op);
}

const struct xnvmf_transport_ops xnvmf__transport_tcp = {
	.name = "tcp",
	.trtype = NVME_TRTYPE_TCP,
	.listen = tcp_listen,
	.unlisten = tcp_unlisten,
	.set_depth = tcp_set_depth,
	.pause = tcp_pause,
	.resume = tcp_resume,
	.fetch = tcp_fetch,
	.respond = tcp_respond,
	.drop = tcp_drop,
	.abort = tcp_abort,
	.disconnect = tcp_disconnect,
	.free = tcp_free,
	.address = tcp_address,
};
