/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending. What a round of the reactor produces is gathered and given to the kernel with one
 * operation; the next is sent when that one is done, so PDUs never interleave and order is kept.
 * A read's data, its digest and its completion go as one piece; when the host has turned flow
 * control off the completion is a flag in the data's header.
 */
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/xnvmf/tcp/private.h"

#define SEND_WAIT_NS (60 * XU_NS_PER_S)

/* ---- the queue ---- */

static void on_sent(struct xr_op *op, int32_t result)
{
	struct tcp_conn *conn = xu_container_of(op, struct tcp_conn, send_op);
	struct xu_list done, *node;

	xu_list_init(&done);
	xu_list_splice_tail(&done, &conn->sending);
	if (result < 0 || (uint64_t)result != conn->send_bytes) {
		tcp_conn_lose(conn, "sending failed");
	}
	while ((node = xu_list_pop(&done)) != NULL) {
		struct tcp_tx *tx = xu_list_entry(node, struct tcp_tx, link);

		tx->sent(conn, tx);
	}
	if (!xu_list_is_empty(&conn->send_queue) && !conn->is_flush_asked) {
		conn->is_flush_asked = true;
		xr_msg_before_submit(conn->qpair.reactor, &conn->flush_msg);
	}
	tcp_conn_settle(conn);
}

static void flush(struct xr_msg *msg)
{
	struct tcp_conn *conn = xu_container_of(msg, struct tcp_conn, flush_msg);
	struct xu_list *node;
	uint32_t nr_iov = 0;

	conn->is_flush_asked = false;
	if (conn->send_op.is_pending || conn->state >= TCP_CONN_CLOSED) {
		tcp_conn_settle(conn);
		return;
	}
	conn->send_bytes = 0;
	while ((node = xu_list_first(&conn->send_queue)) != NULL) {
		struct tcp_tx *tx = xu_list_entry(node, struct tcp_tx, link);

		if (nr_iov + tx->nr_iov > TCP_SEND_IOV) {
			break;
		}
		for (uint32_t i = 0; i < tx->nr_iov; i++) {
			conn->send_iov[nr_iov++] = tx->iov[i];
			conn->send_bytes += tx->iov[i].iov_len;
		}
		xu_list_del(&tx->link);
		xu_list_add_tail(&conn->sending, &tx->link);
	}
	if (nr_iov == 0) {
		return;
	}
	conn->send_op.nr_iov = nr_iov;
	conn->nr_sends++;
	if (!xr_timer_is_running(&conn->send_timer)) {
		conn->nr_sends_seen = conn->nr_sends;
		xr_timer_start(conn->qpair.reactor, &conn->send_timer, SEND_WAIT_NS);
	}
	xr_op_submit(conn->qpair.reactor, &conn->send_op);
}

/* A host that takes nothing for this long is gone, or holds our buffers on purpose. */
static void on_send_timer(struct xr_timer *timer)
{
	struct tcp_conn *conn = xu_container_of(timer, struct tcp_conn, send_timer);

	if (!conn->send_op.is_pending) {
		return;
	}
	if (conn->nr_sends == conn->nr_sends_seen) {
		tcp_conn_lose(conn, "the host does not read");
		tcp_conn_settle(conn);
		return;
	}
	conn->nr_sends_seen = conn->nr_sends;
	xr_timer_start(conn->qpair.reactor, &conn->send_timer, SEND_WAIT_NS);
}

void tcp_tx_queue(struct tcp_conn *conn, struct tcp_tx *tx)
{
	xu_list_add_tail(&conn->send_queue, &tx->link);
	if (!conn->send_op.is_pending && !conn->is_flush_asked) {
		conn->is_flush_asked = true;
		xr_msg_before_submit(conn->qpair.reactor, &conn->flush_msg);
	}
}

void tcp_tx_init(struct tcp_conn *conn)
{
	conn->send_op.cb = on_sent;
	conn->send_op.opcode = XR_OP_SEND;
	conn->send_op.fd = conn->fd;
	conn->send_op.iov = conn->send_iov;
	conn->send_op.msg = &conn->send_msg;
	conn->flush_msg.fn = flush;
	conn->send_timer.fn = on_send_timer;
	xu_list_init(&conn->send_queue);
	xu_list_init(&conn->sending);
}

void tcp_tx_drop(struct tcp_conn *conn)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&conn->send_queue)) != NULL) {
		struct tcp_tx *tx = xu_list_entry(node, struct tcp_tx, link);

		tx->sent(conn, tx);
	}
}

/* ---- PDUs ---- */

static void put_digest(uint8_t *at, uint32_t crc)
{
	memcpy(at, &crc, sizeof(crc));
}

/* Adds the header digest behind a complete header when digests are on; returns the length. */
static uint32_t seal_header(const struct tcp_conn *conn, void *pdu, uint32_t hlen)
{
	struct nvme_tcp_hdr *hdr = pdu;

	if (!conn->has_hdgst) {
		return hlen;
	}
	hdr->flags |= NVME_TCP_F_HDGST;
	put_digest((uint8_t *)pdu + hlen, xu_crc32c(pdu, hlen));
	return hlen + NVME_TCP_DIGEST_BYTES;
}

static uint32_t digest_bytes(bool on)
{
	return on ? NVME_TCP_DIGEST_BYTES : 0;
}

static void add_iov(struct tcp_tx *tx, void *base, size_t len)
{
	tx->iov[tx->nr_iov].iov_base = base;
	tx->iov[tx->nr_iov++].iov_len = len;
}

static void on_response_sent(struct tcp_conn *conn, struct tcp_tx *tx)
{
	struct tcp_req *treq = xu_container_of(tx, struct tcp_req, tx);

	(void)conn;
	treq->is_tx_busy = false;
	tcp_req_put(treq);
}

/* Writes the completion capsule at `at`; returns its length. */
static uint32_t put_completion(
	const struct tcp_conn *conn, const struct xnvmf_req *req, uint8_t *at)
{
	struct nvme_tcp_rsp *rsp = (struct nvme_tcp_rsp *)at;

	memset(rsp, 0, sizeof(*rsp));
	rsp->hdr.type = NVME_TCP_RSP;
	rsp->hdr.hlen = sizeof(*rsp);
	rsp->hdr.plen = (uint32_t)sizeof(*rsp) + digest_bytes(conn->has_hdgst);
	rsp->cqe = req->cpl;
	return seal_header(conn, rsp, sizeof(*rsp));
}

/* Data to the host: header, the buffer, and its digest and completion behind it. */
static void build_data(struct tcp_req *treq)
{
	struct tcp_conn *conn = treq->conn;
	struct xnvmf_req *req = &treq->req;
	struct nvme_tcp_data *data = (struct nvme_tcp_data *)treq->head;
	uint32_t pdo = (uint32_t)sizeof(*data) + digest_bytes(conn->has_hdgst), tail = 0;
	bool is_success = conn->qpair.is_sqflow_off && req->cpl.dw0 == 0 && req->cpl.dw1 == 0;

	pdo = (pdo + conn->c2h_align - 1) / conn->c2h_align * conn->c2h_align;
	memset(treq->head, 0, pdo);
	data->hdr.type = NVME_TCP_C2H_DATA;
	data->hdr.flags = NVME_TCP_F_LAST;
	data->hdr.hlen = sizeof(*data);
	data->hdr.pdo = (uint8_t)pdo;
	data->hdr.plen = pdo + req->data_len + digest_bytes(conn->has_ddgst);
	data->cccid = req->cmd.cid;
	data->datal = req->data_len;
	if (is_success) {
		data->hdr.flags |= NVME_TCP_F_SUCCESS;
	}
	if (conn->has_ddgst) {
		data->hdr.flags |= NVME_TCP_F_DDGST;
		put_digest(treq->tail, xu_crc32c(req->buf, req->data_len));
		tail = NVME_TCP_DIGEST_BYTES;
	}
	seal_header(conn, data, sizeof(*data));
	if (!is_success) {
		tail += put_completion(conn, req, treq->tail + tail);
	}
	add_iov(&treq->tx, treq->head, pdo);
	add_iov(&treq->tx, req->buf, req->data_len);
	if (tail != 0) {
		add_iov(&treq->tx, treq->tail, tail);
	}
}

void tcp_respond(struct xnvmf_req *req)
{
	struct tcp_req *treq = xu_container_of(req, struct tcp_req, req);
	struct tcp_conn *conn = treq->conn;

	if (treq->is_tx_busy) {
		treq->is_response_due = true; /* its R2T is still being sent */
		return;
	}
	treq->state = TCP_REQ_SENDING;
	if (conn->state >= TCP_CONN_TERMINATING) {
		tcp_req_put(treq);
		tcp_conn_settle(conn);
		return;
	}
	treq->tx.nr_iov = 0;
	treq->tx.sent = on_response_sent;
	if (req->cpl.status == 0 && req->dir == XNVMF_DATA_TO_HOST && req->data_len != 0) {
		build_data(treq);
	} else {
		add_iov(&treq->tx, treq->head, put_completion(conn, req, treq->head));
	}
	treq->is_tx_busy = true;
	tcp_tx_queue(conn, &treq->tx);
}

static void on_r2t_sent(struct tcp_conn *conn, struct tcp_tx *tx)
{
	struct tcp_req *treq = xu_container_of(tx, struct tcp_req, tx);

	treq->is_tx_busy = false;
	if (treq->r2t_start == 0) {
		treq->fetch_ns = xr_now_ns(conn->qpair.reactor);
	}
	/* The host may have answered before we heard that it was sent. */
	if (treq->is_response_due) {
		treq->is_response_due = false;
		if (conn->state >= TCP_CONN_TERMINATING) {
			tcp_req_put(treq); /* our caller settles the connection */
		} else {
			tcp_respond(&treq->req);
		}
	} else if (treq->is_r2t_due && conn->state == TCP_CONN_OPEN) {
		tcp_send_r2t(treq);
	}
}

void tcp_send_r2t(struct tcp_req *treq)
{
	struct tcp_conn *conn = treq->conn;
	struct nvme_tcp_r2t *r2t = (struct nvme_tcp_r2t *)treq->head;
	uint32_t left = treq->req.data_len - treq->nr_fetched;
	uint32_t max = conn->qpair.target->opts.max_h2c_data;

	if (conn->state != TCP_CONN_OPEN) {
		return; /* nothing follows a termination request */
	}
	treq->is_r2t_due = treq->is_tx_busy;
	if (treq->is_tx_busy) {
		return;
	}
	if (left > max) {
		left = max;
	}
	treq->r2t_start = treq->nr_fetched;
	treq->r2t_end = treq->nr_fetched + left;
	memset(r2t, 0, sizeof(*r2t));
	r2t->hdr.type = NVME_TCP_R2T;
	r2t->hdr.hlen = sizeof(*r2t);
	r2t->hdr.plen = (uint32_t)sizeof(*r2t) + digest_bytes(conn->has_hdgst);
	r2t->cccid = treq->req.cmd.cid;
	r2t->ttag = treq->ttag;
	r2t->r2to = treq->nr_fetched;
	r2t->r2tl = left;
	treq->tx.nr_iov = 0;
	treq->tx.sent = on_r2t_sent;
	add_iov(&treq->tx, treq->head, seal_header(conn, r2t, sizeof(*r2t)));
	treq->is_tx_busy = true;
	tcp_tx_queue(conn, &treq->tx);
}
