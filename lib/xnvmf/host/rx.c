/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving on a queue. Bytes arrive in a buffer, where headers are parsed in place; the data of a
 * large PDU is received straight into its command's segments. A target is not trusted: every field
 * is checked before it is used, in the order of the header. What it got wrong ends the connection
 * with a termination request that names the first wrong field (NVMe/TCP 3.5); a wrong data digest
 * ends only its command, later.
 *
 *   HEADER -> PAD (padding, and what is behind a header) -> PAYLOAD -> DIGEST -> HEADER
 *
 * Nothing is written but to the segments of a command that is out, at the place that the checks
 * have shown to be the next one of its data.
 */
#include <errno.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/xnvmf/host/queue.h"

#define DIRECT_MIN   8192u /* smaller remainders go through the buffer */
#define DIRECT_SLACK 1024u /* behind data received directly: the next headers */

enum { FEI_TYPE = 0, FEI_FLAGS = 1, FEI_HLEN = 2, FEI_PDO = 3, FEI_PLEN = 4 };

struct pdu_rule {
	uint8_t hlen;
	bool has_digest;
	bool has_data;
	bool exists;
};

/* What a target may send. */
static const struct pdu_rule rules[16] = {
	[NVME_TCP_ICRESP] = {sizeof(struct nvme_tcp_icresp), false, false, true},
	[NVME_TCP_C2H_TERM] = {sizeof(struct nvme_tcp_term), false, false, true},
	[NVME_TCP_RSP] = {sizeof(struct nvme_tcp_rsp), true, false, true},
	[NVME_TCP_C2H_DATA] = {sizeof(struct nvme_tcp_data), true, true, true},
	[NVME_TCP_R2T] = {sizeof(struct nvme_tcp_r2t), true, false, true},
};

static uint32_t avail(const struct host_queue *queue)
{
	return queue->rx_end - queue->rx_start;
}

static void consume(struct host_queue *queue, uint32_t len)
{
	queue->rx_start += len;
	if (queue->rx_start == queue->rx_end) {
		queue->rx_start = 0;
		queue->rx_end = 0;
	}
}

static void header_error(struct host_queue *queue, uint32_t fei, const char *why)
{
	host_queue_fatal(queue, NVME_TCP_FES_HEADER_FIELD, fei, why);
}

static bool is_receiving(const struct host_queue *queue)
{
	return queue->state >= HOST_QUEUE_IC && queue->state <= HOST_QUEUE_LIVE;
}

/* We have told the target of its fault. What it still sends must be read, or our end would be a
 * reset, which takes what we told with it. */
static bool is_draining(const struct host_queue *queue)
{
	return queue->state == HOST_QUEUE_LOST && queue->is_terminating;
}

/* ---- set-up ---- */

static void handle_icresp(struct host_queue *queue, const struct nvme_tcp_icresp *resp)
{
	const struct host_peer *peer = queue->opts.peer;
	uint8_t asked = (uint8_t)((peer->wants_hdgst ? NVME_TCP_DGST_HEADER : 0) |
				  (peer->wants_ddgst ? NVME_TCP_DGST_DATA : 0));
	uint8_t granted = resp->dgst & (NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA);

	if (resp->pfv != 0) {
		host_queue_fatal(queue, NVME_TCP_FES_UNSUPPORTED,
			offsetof(struct nvme_tcp_icresp, pfv), "unknown PDU format version");
		return;
	}
	if (resp->cpda > NVME_TCP_MAX_HPDA) {
		header_error(queue, offsetof(struct nvme_tcp_icresp, cpda), "CPDA above 31");
		return;
	}
	if ((granted & ~asked) != 0) {
		header_error(queue, offsetof(struct nvme_tcp_icresp, dgst),
			"digests that were not asked for");
		return;
	}
	if (resp->maxh2cdata < 4096 || resp->maxh2cdata % 4 != 0) {
		header_error(queue, offsetof(struct nvme_tcp_icresp, maxh2cdata),
			"MAXH2CDATA below 4096 or not a multiple of 4");
		return;
	}
	if (granted != asked) {
		host_queue_fail(queue, -EPROTONOSUPPORT,
			"the target does not do the digests that were asked for; turn hdr_digest "
			"and "
			"data_digest off, or on in the target");
		return;
	}
	queue->has_hdgst = (granted & NVME_TCP_DGST_HEADER) != 0;
	queue->has_ddgst = (granted & NVME_TCP_DGST_DATA) != 0;
	queue->h2c_align = (resp->cpda + 1u) * 4;
	queue->max_h2c = resp->maxh2cdata;
	consume(queue, sizeof(*resp));
	host_queue_initialized(queue);
}

/* ---- data ---- */

/* All data of a PDU is here, and its digest. */
static void payload_end(struct host_queue *queue)
{
	struct host_req *req = queue->rx_req;

	queue->rx_req = NULL;
	queue->rx_state = HOST_RX_HEADER;
	if (queue->rx_flags & NVME_TCP_F_LAST) {
		req->is_last_seen = true;
	}
	if (queue->rx_flags & NVME_TCP_F_SUCCESS) {
		host_req_complete(req, NVME_SC_SUCCESS);
	}
}

/* Bytes that have come in are in the command's segments already. */
static void payload_advance(struct host_queue *queue, uint32_t len)
{
	struct host_req *req = queue->rx_req;

	if (queue->has_ddgst) {
		struct host_cursor at = req->cursor;

		for (uint32_t left = len; left != 0;) {
			const struct iovec *seg = &req->iov[at.index];
			size_t part = seg->iov_len - at.skip < left ? seg->iov_len - at.skip : left;

			queue->rx_crc = xu_crc32c_update(
				queue->rx_crc, (const char *)seg->iov_base + at.skip, part);
			left -= (uint32_t)part;
			at.index++;
			at.skip = 0;
		}
	}
	host_cursor_advance(&req->cursor, req->iov, len);
	req->moved += len;
	queue->rx_left -= len;
	if (queue->rx_left != 0) {
		return;
	}
	if (queue->has_ddgst) {
		queue->rx_state = HOST_RX_DIGEST;
	} else {
		payload_end(queue);
	}
}

static bool step_pad(struct host_queue *queue)
{
	uint32_t len = avail(queue) < queue->rx_pad ? avail(queue) : queue->rx_pad;

	consume(queue, len);
	queue->rx_pad -= len;
	if (queue->rx_pad != 0) {
		return false;
	}
	queue->rx_state = HOST_RX_PAYLOAD;
	return true;
}

static bool step_payload(struct host_queue *queue)
{
	const struct host_req *req = queue->rx_req;
	uint32_t len = avail(queue) < queue->rx_left ? avail(queue) : queue->rx_left;
	const uint8_t *from = queue->rx + queue->rx_start;
	struct host_cursor at = req->cursor;

	if (len == 0) {
		return false;
	}
	for (uint32_t left = len; left != 0;) {
		const struct iovec *seg = &req->iov[at.index];
		size_t part = seg->iov_len - at.skip < left ? seg->iov_len - at.skip : left;

		memcpy((char *)seg->iov_base + at.skip, from, part);
		from += part;
		left -= (uint32_t)part;
		at.index++;
		at.skip = 0;
	}
	consume(queue, len);
	payload_advance(queue, len);
	return true;
}

static bool step_digest(struct host_queue *queue)
{
	uint32_t digest;

	if (avail(queue) < NVME_TCP_DIGEST_BYTES) {
		return false;
	}
	memcpy(&digest, queue->rx + queue->rx_start, sizeof(digest));
	consume(queue, NVME_TCP_DIGEST_BYTES);
	if (digest != xu_crc32c_final(queue->rx_crc)) {
		xu_warn(xr_reactor_log(queue->reactor),
			"%s: queue %u: data arrived with a wrong digest; its command is tried "
			"again",
			queue->name, queue->opts.qid);
		queue->rx_req->has_bad_data = true;
	}
	payload_end(queue);
	return true;
}

static void handle_c2h_data(
	struct host_queue *queue, const struct nvme_tcp_data *pdu, uint32_t header_bytes)
{
	struct host_req *req = host_req_find(queue, pdu->cccid);
	uint32_t digest = queue->has_ddgst ? NVME_TCP_DIGEST_BYTES : 0;

	if (req == NULL || req->dir != HOST_DIR_IN) {
		header_error(queue, offsetof(struct nvme_tcp_data, cccid),
			req == NULL ? "data for a command that is not out"
				    : "data for a command that reads none");
		return;
	}
	if (pdu->datao > req->data_len || pdu->datal > req->data_len - pdu->datao) {
		host_queue_fatal(queue, NVME_TCP_FES_OUT_OF_RANGE, 0,
			"data outside of its command's buffer");
		return;
	}
	if (pdu->datao != req->moved || req->is_last_seen) {
		host_queue_fatal(queue, NVME_TCP_FES_SEQUENCE, 0,
			req->is_last_seen ? "data after the last" : "data out of order");
		return;
	}
	if (pdu->datal == 0 || (uint64_t)pdu->hdr.pdo + pdu->datal + digest != pdu->hdr.plen) {
		header_error(queue, FEI_PLEN, "PLEN does not fit DATAL");
		return;
	}
	if ((pdu->hdr.flags & NVME_TCP_F_SUCCESS) && !(pdu->hdr.flags & NVME_TCP_F_LAST)) {
		header_error(queue, FEI_FLAGS, "SUCCESS without LAST");
		return;
	}
	queue->rx_req = req;
	queue->rx_flags = pdu->hdr.flags;
	queue->rx_left = pdu->datal;
	queue->rx_crc = XU_CRC32C_INIT;
	queue->rx_pad = pdu->hdr.pdo - header_bytes;
	queue->rx_state = HOST_RX_PAD;
	consume(queue, header_bytes);
}

/* ---- the other PDUs ---- */

static void handle_rsp(
	struct host_queue *queue, const struct nvme_tcp_rsp *pdu, uint32_t header_bytes)
{
	struct host_req *req = host_req_find(queue, pdu->cqe.cid);
	uint16_t status = pdu->cqe.status & 0xfffeu;

	if (req == NULL) {
		header_error(queue, offsetof(struct nvme_tcp_rsp, cqe.cid),
			"a completion for a command that is not out");
		return;
	}
	req->dw0 = pdu->cqe.dw0;
	req->dw1 = pdu->cqe.dw1;
	if (queue->state == HOST_QUEUE_CONNECT) {
		queue->is_sqflow_off = pdu->cqe.sqhd == UINT16_MAX;
	}
	consume(queue, header_bytes);
	host_req_complete(req, status);
}

static void handle_r2t(
	struct host_queue *queue, const struct nvme_tcp_r2t *pdu, uint32_t header_bytes)
{
	struct host_req *req = host_req_find(queue, pdu->cccid);
	struct host_r2t *r2t;

	if (req == NULL || req->dir != HOST_DIR_OUT || req->is_in_capsule) {
		header_error(queue, offsetof(struct nvme_tcp_r2t, cccid),
			req == NULL ? "an R2T for a command that is not out"
				    : "an R2T for a command that has nothing to send");
		return;
	}
	if (pdu->r2tl == 0) {
		header_error(queue, offsetof(struct nvme_tcp_r2t, r2tl), "an R2T for nothing");
		return;
	}
	if (pdu->r2to > req->data_len || pdu->r2tl > req->data_len - pdu->r2to) {
		host_queue_fatal(
			queue, NVME_TCP_FES_OUT_OF_RANGE, 0, "an R2T beyond its command's data");
		return;
	}
	if (pdu->r2to != req->asked) {
		host_queue_fatal(queue, NVME_TCP_FES_SEQUENCE, 0, "R2Ts out of order");
		return;
	}
	if (req->nr_r2t == HOST_MAX_R2T) {
		host_queue_fatal(queue, NVME_TCP_FES_LIMIT, 0, "more R2Ts than MAXR2T allows");
		return;
	}
	r2t = &req->r2t[(req->r2t_first + req->nr_r2t++) % HOST_MAX_R2T];
	*r2t = (struct host_r2t){.ttag = pdu->ttag, .offset = pdu->r2to, .len = pdu->r2tl};
	req->asked += pdu->r2tl;
	consume(queue, header_bytes);
	host_tx_r2t(req);
}

static void handle_term(struct host_queue *queue, const struct nvme_tcp_term *pdu)
{
	host_queue_fail(queue, -EPROTO,
		"the target ended the connection: fatal error status %u, information %u", pdu->fes,
		pdu->fei);
}

/* ---- headers ---- */

/* What is wrong with the length, and the place of the data; NULL: nothing. */
static const char *check_lengths(struct host_queue *queue, const struct nvme_tcp_hdr *hdr,
	uint32_t header_bytes, uint32_t *ret_fei)
{
	*ret_fei = FEI_PLEN;
	if (!rules[hdr->type].has_data) {
		return hdr->plen == header_bytes ? NULL : "wrong PDU length";
	}
	if (hdr->plen <= header_bytes) {
		return "wrong PDU length";
	}
	*ret_fei = FEI_PDO;
	return hdr->pdo >= header_bytes && hdr->pdo < hdr->plen ? NULL : "wrong data offset";
}

/* Checks the common header; false when the connection has been ended. */
static bool check_header(
	struct host_queue *queue, const struct nvme_tcp_hdr *hdr, uint32_t *ret_header_bytes)
{
	const struct pdu_rule *rule = &rules[hdr->type & 0xfu];
	bool has_digest = rule->has_digest && queue->has_hdgst;
	bool has_data_digest = rule->has_data && queue->has_ddgst;
	const char *why;
	uint32_t fei;

	if (hdr->type > 0xf || !rule->exists) {
		header_error(queue, FEI_TYPE, "unknown PDU type");
		return false;
	}
	*ret_header_bytes = rule->hlen + (has_digest ? NVME_TCP_DIGEST_BYTES : 0);
	if (hdr->type == NVME_TCP_C2H_TERM) {
		return true; /* whatever else it says, it is not answered with another one */
	}
	if ((queue->state == HOST_QUEUE_IC) != (hdr->type == NVME_TCP_ICRESP)) {
		host_queue_fatal(queue, NVME_TCP_FES_SEQUENCE, 0,
			queue->state == HOST_QUEUE_IC ? "no ICResp first" : "a second ICResp");
		return false;
	}
	/* Reserved flags are ignored. */
	if (rule->has_digest && ((hdr->flags & NVME_TCP_F_HDGST) != 0) != has_digest) {
		header_error(queue, FEI_FLAGS, "header digest flag is not as agreed");
		return false;
	}
	if (rule->has_data && ((hdr->flags & NVME_TCP_F_DDGST) != 0) != has_data_digest) {
		header_error(queue, FEI_FLAGS, "data digest flag is not as agreed");
		return false;
	}
	if (hdr->hlen != rule->hlen) {
		header_error(queue, FEI_HLEN, "wrong header length");
		return false;
	}
	why = check_lengths(queue, hdr, *ret_header_bytes, &fei);
	if (why != NULL) {
		header_error(queue, fei, why);
		return false;
	}
	return true;
}

static bool check_header_digest(struct host_queue *queue, const struct nvme_tcp_hdr *hdr)
{
	uint32_t digest;

	memcpy(&digest, (const uint8_t *)hdr + hdr->hlen, sizeof(digest));
	if (digest != xu_crc32c(hdr, hdr->hlen)) {
		host_queue_fatal(queue, NVME_TCP_FES_HDGST, digest, "header digest error");
		return false;
	}
	return true;
}

static bool step_header(struct host_queue *queue)
{
	const uint8_t *at = queue->rx + queue->rx_start;
	const struct nvme_tcp_hdr *hdr = (const struct nvme_tcp_hdr *)at;
	uint32_t need;

	if (avail(queue) < sizeof(*hdr) || !check_header(queue, hdr, &need) ||
		avail(queue) < need) {
		return false;
	}
	if (rules[hdr->type].has_digest && queue->has_hdgst && !check_header_digest(queue, hdr)) {
		return false;
	}
	switch ((enum nvme_tcp_pdu_type)hdr->type) {
	case NVME_TCP_ICRESP:
		handle_icresp(queue, (const struct nvme_tcp_icresp *)at);
		break;
	case NVME_TCP_RSP:
		handle_rsp(queue, (const struct nvme_tcp_rsp *)at, need);
		break;
	case NVME_TCP_C2H_DATA:
		handle_c2h_data(queue, (const struct nvme_tcp_data *)at, need);
		break;
	case NVME_TCP_R2T:
		handle_r2t(queue, (const struct nvme_tcp_r2t *)at, need);
		break;
	default:
		handle_term(queue, (const struct nvme_tcp_term *)at);
		break;
	}
	return true;
}

/* ---- the stream ---- */

static void process(struct host_queue *queue)
{
	bool goes_on = true;

	while (goes_on && is_receiving(queue)) {
		switch (queue->rx_state) {
		case HOST_RX_HEADER:
			goes_on = step_header(queue);
			break;
		case HOST_RX_PAD:
			goes_on = step_pad(queue);
			break;
		case HOST_RX_PAYLOAD:
			goes_on = step_payload(queue);
			break;
		case HOST_RX_DIGEST:
			goes_on = step_digest(queue);
			break;
		}
	}
}

/* The segments of the data that comes next. */
static uint32_t add_direct(struct host_queue *queue)
{
	const struct host_req *req = queue->rx_req;
	struct host_cursor at = req->cursor;
	uint32_t nr_iov = 0;

	for (uint32_t left = queue->rx_left; left != 0;) {
		const struct iovec *seg = &req->iov[at.index];
		size_t part = seg->iov_len - at.skip < left ? seg->iov_len - at.skip : left;

		queue->recv_iov[nr_iov++] = (struct iovec){(char *)seg->iov_base + at.skip, part};
		left -= (uint32_t)part;
		at.index++;
		at.skip = 0;
	}
	queue->rx_direct = queue->rx_left;
	return nr_iov;
}

/* Asks the kernel for more: into the command's segments where that saves a copy, and then only a
 * little behind them, so that the next command's data is not copied either. */
void host_rx_arm(struct host_queue *queue)
{
	uint32_t nr_iov = 0, room;

	if (queue->recv_op.is_pending || (!is_receiving(queue) && !is_draining(queue))) {
		return;
	}
	if (is_draining(queue)) {
		queue->rx_start = queue->rx_end = 0;
		queue->rx_state = HOST_RX_HEADER;
	}
	if (queue->rx_start != 0) {
		memmove(queue->rx, queue->rx + queue->rx_start, avail(queue));
		queue->rx_end -= queue->rx_start;
		queue->rx_start = 0;
	}
	queue->rx_direct = 0;
	room = queue->rx_bytes - queue->rx_end;
	if (queue->rx_state == HOST_RX_PAYLOAD && queue->rx_left >= DIRECT_MIN) {
		nr_iov = add_direct(queue);
		room = DIRECT_SLACK;
	}
	queue->recv_iov[nr_iov++] = (struct iovec){queue->rx + queue->rx_end, room};
	queue->recv_op.nr_iov = nr_iov;
	xr_op_submit(queue->reactor, &queue->recv_op);
}

static void on_received(struct xr_op *op, int32_t result)
{
	struct host_queue *queue = xu_container_of(op, struct host_queue, recv_op);
	uint32_t len = result > 0 ? (uint32_t)result : 0;

	if (!is_receiving(queue)) {
		queue->is_terminating &= result > 0;
		host_rx_arm(queue);
		host_queue_settle(queue);
		return;
	}
	if (result <= 0) {
		host_queue_fail(queue, result < 0 ? result : -ECONNRESET, "the connection %s%s",
			result == 0 ? "was closed by the target" : "broke: ",
			result == 0 ? "" : strerror(-result));
		host_queue_settle(queue);
		return;
	}
	if (queue->rx_direct != 0) {
		uint32_t direct = len < queue->rx_direct ? len : queue->rx_direct;

		queue->rx_end += len - direct;
		payload_advance(queue, direct);
	} else {
		queue->rx_end += len;
	}
	process(queue);
	host_rx_arm(queue);
	host_queue_settle(queue);
}

void host_rx_init(struct host_queue *queue)
{
	queue->rx_state = HOST_RX_HEADER;
	queue->rx_start = 0;
	queue->rx_end = 0;
	queue->rx_direct = 0;
	queue->rx_req = NULL;
	queue->recv_op.cb = on_received;
	queue->recv_op.opcode = XR_OP_RECV;
	queue->recv_op.fd = queue->fd;
	queue->recv_op.iov = queue->recv_iov;
	queue->recv_op.msg = &queue->recv_msg;
}
