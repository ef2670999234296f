/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending on a queue. What a round of the reactor produces is gathered and given to the kernel with
 * one operation; the next is sent when that one is done, so PDUs never interleave. Headers are
 * built side by side in one piece of memory (the stage), so that sixty-four reads are one segment;
 * data goes from where it is.
 *
 * A command's R2Ts are answered in their order, in pieces of at most MAXH2CDATA, one piece of a
 * command at a time; other commands' PDUs go in between.
 */
#include <errno.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/xnvmf/host/queue.h"

#define MAX_HEADER 128u /* with digest and padding: PDO is a multiple of at most 128 */
#define MAX_STAGED (MAX_HEADER + NVME_TCP_DIGEST_BYTES)
_Static_assert(HOST_STAGE_BYTES > MAX_STAGED + sizeof(((struct host_queue *)0)->own_pdu), "stage");
_Static_assert(HOST_SEND_IOV > HOST_MAX_IOV + 2, "one command fits");

static bool is_sending(const struct host_queue *queue)
{
	return queue->state >= HOST_QUEUE_IC && queue->state <= HOST_QUEUE_LOST;
}

/* ---- building ---- */

static void add_iov(struct host_queue *queue, void *base, size_t len)
{
	queue->send_iov[queue->nr_send_iov].iov_base = base;
	queue->send_iov[queue->nr_send_iov++].iov_len = len;
	queue->send_bytes += len;
}

/* Adds `len` bytes at the end of the stage to what is sent. */
static void add_staged(struct host_queue *queue, uint32_t len)
{
	uint8_t *at = queue->stage + queue->stage_used;

	if (queue->nr_send_iov != 0) {
		struct iovec *last = &queue->send_iov[queue->nr_send_iov - 1];

		if ((uint8_t *)last->iov_base + last->iov_len == at) {
			last->iov_len += len;
			queue->send_bytes += len;
			queue->stage_used += len;
			return;
		}
	}
	add_iov(queue, at, len);
	queue->stage_used += len;
}

/* Adds `len` bytes of a request's data from its cursor on, and their digest. */
static void add_data(struct host_queue *queue, struct host_req *req, uint32_t len)
{
	uint32_t crc = XU_CRC32C_INIT, left = len;
	struct host_cursor at = req->cursor;

	while (left != 0) {
		const struct iovec *seg = &req->iov[at.index];
		size_t part = seg->iov_len - at.skip < left ? seg->iov_len - at.skip : left;
		char *base = (char *)seg->iov_base + at.skip;

		if (queue->has_ddgst) {
			crc = xu_crc32c_update(crc, base, part);
		}
		add_iov(queue, base, part);
		left -= (uint32_t)part;
		at.index++;
		at.skip = 0;
	}
	host_cursor_advance(&req->cursor, req->iov, len);
	req->moved += len;
	if (queue->has_ddgst) {
		crc = xu_crc32c_final(crc);
		memcpy(queue->stage + queue->stage_used, &crc, sizeof(crc));
		add_staged(queue, NVME_TCP_DIGEST_BYTES);
	}
}

/* Finishes the header at the end of the stage, whose type, flags and own fields are set, with
 * `data_len` bytes of data to follow; returns the length of all before the data. */
static uint32_t seal(
	struct host_queue *queue, struct nvme_tcp_hdr *hdr, uint8_t hlen, uint32_t data_len)
{
	uint32_t len = hlen + (queue->has_hdgst ? NVME_TCP_DIGEST_BYTES : 0), end = len, crc;

	hdr->hlen = hlen;
	hdr->pdo = 0;
	if (data_len != 0) {
		end = (len + queue->h2c_align - 1) / queue->h2c_align * queue->h2c_align;
		memset((uint8_t *)hdr + len, 0, end - len);
		hdr->pdo = (uint8_t)end;
		hdr->flags |= queue->has_ddgst ? NVME_TCP_F_DDGST : 0;
	}
	hdr->plen = end + data_len;
	if (data_len != 0 && queue->has_ddgst) {
		hdr->plen += NVME_TCP_DIGEST_BYTES;
	}
	if (queue->has_hdgst) {
		hdr->flags |= NVME_TCP_F_HDGST;
		crc = xu_crc32c(hdr, hlen);
		memcpy((uint8_t *)hdr + hlen, &crc, sizeof(crc));
	}
	return end;
}

static void emit_cmd(struct host_queue *queue, struct host_req *req)
{
	struct nvme_tcp_cmd *pdu = (struct nvme_tcp_cmd *)(queue->stage + queue->stage_used);
	uint32_t data_len = req->is_in_capsule ? req->data_len : 0;

	pdu->hdr.type = NVME_TCP_CMD;
	pdu->hdr.flags = 0;
	pdu->sqe = req->cmd;
	add_staged(queue, seal(queue, &pdu->hdr, sizeof(*pdu), data_len));
	if (data_len != 0) {
		add_data(queue, req, data_len);
	}
}

/* The next piece of the request's first R2T. */
static void emit_data(struct host_queue *queue, struct host_req *req)
{
	struct nvme_tcp_data *pdu = (struct nvme_tcp_data *)(queue->stage + queue->stage_used);
	struct host_r2t *r2t = &req->r2t[req->r2t_first];
	uint32_t len = r2t->len < queue->max_h2c ? r2t->len : queue->max_h2c;

	*pdu = (struct nvme_tcp_data){
		.hdr.type = NVME_TCP_H2C_DATA,
		.hdr.flags = len == r2t->len ? NVME_TCP_F_LAST : 0,
		.cccid = req->cmd.cid,
		.ttag = r2t->ttag,
		.datao = r2t->offset,
		.datal = len,
	};
	r2t->offset += len;
	r2t->len -= len;
	if (r2t->len == 0) {
		req->r2t_first = (req->r2t_first + 1) % HOST_MAX_R2T;
		req->nr_r2t--;
	}
	add_staged(queue, seal(queue, &pdu->hdr, sizeof(*pdu), len));
	add_data(queue, req, len);
}

/* ---- the queue ---- */

static void ask_flush(struct host_queue *queue)
{
	if (!queue->send_op.is_pending && !queue->is_flush_asked) {
		queue->is_flush_asked = true;
		xr_msg_before_submit(queue->reactor, &queue->flush_msg);
	}
}

static bool has_room(const struct host_queue *queue, const struct host_req *req)
{
	return queue->nr_send_iov + req->nr_iov + 2 <= HOST_SEND_IOV &&
	       queue->stage_used + MAX_STAGED <= HOST_STAGE_BYTES;
}

static void gather(struct host_queue *queue)
{
	struct xu_list *node;

	if (queue->own_len != 0) {
		memcpy(queue->stage, queue->own_pdu, queue->own_len);
		add_staged(queue, queue->own_len);
		queue->own_len = 0;
		queue->is_own_sending = true;
	}
	if (queue->state == HOST_QUEUE_LOST) {
		return; /* nothing follows a termination request */
	}
	while ((node = xu_list_first(&queue->send_queue)) != NULL) {
		struct host_req *req = xu_list_entry(node, struct host_req, link);

		if (!has_room(queue, req)) {
			break;
		}
		if (req->tx == HOST_TX_CMD) {
			emit_cmd(queue, req);
		} else {
			emit_data(queue, req);
		}
		xu_list_del(&req->link);
		req->is_sending = true;
		xu_list_add_tail(&queue->sending, &req->link);
	}
}

static void flush(struct xr_msg *msg)
{
	struct host_queue *queue = xu_container_of(msg, struct host_queue, flush_msg);

	queue->is_flush_asked = false;
	if (queue->send_op.is_pending || !is_sending(queue)) {
		host_queue_settle(queue);
		return;
	}
	queue->nr_send_iov = 0;
	queue->stage_used = 0;
	queue->send_bytes = 0;
	gather(queue);
	if (queue->nr_send_iov == 0) {
		return;
	}
	queue->send_op.nr_iov = queue->nr_send_iov;
	xr_op_submit(queue->reactor, &queue->send_op);
}

/* What it has given to the kernel is there; it may want to send more, or have ended meanwhile. */
static void request_sent(struct host_req *req)
{
	req->is_sending = false;
	if (req->state == HOST_REQ_ENDED) {
		req->state = HOST_REQ_OUT;
		host_req_complete(req, req->status);
	} else if (req->nr_r2t != 0) {
		host_tx_queue(req->queue, req, HOST_TX_DATA);
	}
}

static void on_sent(struct xr_op *op, int32_t result)
{
	struct host_queue *queue = xu_container_of(op, struct host_queue, send_op);
	struct xu_list done, *node;

	queue->is_own_sending = false;
	if (queue->state == HOST_QUEUE_CLOSING) {
		host_queue_settle(queue); /* the commands end with the queue */
		return;
	}
	if (result < 0 || (uint64_t)result != queue->send_bytes) {
		queue->is_terminating = false;
		host_queue_fail(queue, result < 0 ? result : -ECONNRESET, "sending failed: %s",
			strerror(result < 0 ? -result : ECONNRESET));
		host_queue_settle(queue);
		return;
	}
	xu_list_init(&done);
	xu_list_splice_tail(&done, &queue->sending);
	while ((node = xu_list_pop(&done)) != NULL) {
		request_sent(xu_list_entry(node, struct host_req, link));
	}
	if (!xu_list_is_empty(&queue->send_queue) || queue->own_len != 0) {
		ask_flush(queue);
	}
	host_queue_settle(queue);
}

void host_tx_queue(struct host_queue *queue, struct host_req *req, enum host_tx tx)
{
	req->tx = (uint8_t)tx;
	xu_list_add_tail(&queue->send_queue, &req->link);
	ask_flush(queue);
}

void host_tx_own(struct host_queue *queue)
{
	if (queue->own_len != 0) {
		ask_flush(queue);
	}
}

void host_tx_r2t(struct host_req *req)
{
	if (!xu_list_is_linked(&req->link)) { /* else it goes on when that has been sent */
		host_tx_queue(req->queue, req, HOST_TX_DATA);
	}
}

void host_tx_init(struct host_queue *queue)
{
	xu_list_init(&queue->send_queue);
	xu_list_init(&queue->sending);
	queue->own_len = 0;
	queue->is_own_sending = false;
	queue->is_flush_asked = false;
	queue->flush_msg.fn = flush;
	queue->send_op.cb = on_sent;
	queue->send_op.opcode = XR_OP_SEND;
	queue->send_op.fd = queue->fd;
	queue->send_op.iov = queue->send_iov;
	queue->send_op.msg = &queue->send_msg;
}
