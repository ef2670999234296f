/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving. Bytes arrive in a buffer, where whole PDU headers are parsed in place; the data of a
 * large PDU is received straight into its command's buffer. Every field is checked before it is
 * used, in the order of the header, and what the specification calls fatal ends in a termination
 * request that names the first wrong field (NVMe/TCP 3.6.2.4, 3.7).
 *
 *   RX_HEADER -> RX_PAYLOAD (n bytes) -> RX_DIGEST (4 bytes, when data digests are on) -> RX_HEADER
 */
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/xnvmf/tcp/private.h"

#define DIRECT_MIN 4096u /* smaller remainders go through the buffer */

enum { FEI_TYPE = 0, FEI_FLAGS = 1, FEI_HLEN = 2, FEI_PDO = 3, FEI_PLEN = 4 };

struct pdu_rule {
	uint8_t hlen;
	uint8_t flags; /* that mean something */
	bool has_digest;
	bool has_data;
	bool exists;
};

/* What a host may send. */
static const struct pdu_rule rules[16] = {
	[NVME_TCP_ICREQ] = {sizeof(struct nvme_tcp_icreq), 0, false, false, true},
	[NVME_TCP_H2C_TERM] = {sizeof(struct nvme_tcp_term), 0, false, false, true},
	[NVME_TCP_CMD] = {sizeof(struct nvme_tcp_cmd), NVME_TCP_F_HDGST | NVME_TCP_F_DDGST, true,
		true, true},
	[NVME_TCP_H2C_DATA] = {sizeof(struct nvme_tcp_data),
		NVME_TCP_F_HDGST | NVME_TCP_F_DDGST | NVME_TCP_F_LAST, true, true, true},
	[NVME_TCP_KDREQ] = {sizeof(struct nvme_tcp_kdreq), 0, false, true, true},
};

static uint32_t avail(const struct tcp_conn *conn)
{
	return conn->rx_end - conn->rx_start;
}

static void consume(struct tcp_conn *conn, uint32_t len)
{
	conn->rx_start += len;
	if (conn->rx_start == conn->rx_end) {
		conn->rx_start = 0;
		conn->rx_end = 0;
	}
}

static void header_error(struct tcp_conn *conn, uint32_t fei, const char *why)
{
	tcp_conn_fatal(conn, NVME_TCP_FES_HEADER_FIELD, fei, why);
}

/* ---- connection set-up ---- */

static void on_icresp_sent(struct tcp_conn *conn, struct tcp_tx *tx)
{
	(void)conn;
	(void)tx;
}

static void handle_icreq(struct tcp_conn *conn, const struct nvme_tcp_icreq *req)
{
	struct nvme_tcp_icresp *resp = (struct nvme_tcp_icresp *)conn->own_pdu;

	if (req->pfv != 0) {
		tcp_conn_fatal(conn, NVME_TCP_FES_UNSUPPORTED, offsetof(struct nvme_tcp_icreq, pfv),
			"unknown PDU format version");
		return;
	}
	if (req->hpda > NVME_TCP_MAX_HPDA) {
		header_error(conn, offsetof(struct nvme_tcp_icreq, hpda), "HPDA above 31");
		return;
	}
	memset(resp, 0, sizeof(*resp));
	resp->hdr.type = NVME_TCP_ICRESP;
	resp->hdr.hlen = sizeof(*resp);
	resp->hdr.plen = sizeof(*resp);
	resp->dgst = req->dgst & (NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA);
	resp->maxh2cdata = conn->qpair.target->opts.max_h2c_data;
	conn->has_hdgst = (req->dgst & NVME_TCP_DGST_HEADER) != 0;
	conn->has_ddgst = (req->dgst & NVME_TCP_DGST_DATA) != 0;
	conn->c2h_align = (req->hpda + 1u) * 4;
	conn->state = tcp_is_kick(conn, req) ? TCP_CONN_KICK : TCP_CONN_OPEN;
	conn->own_tx.iov[0] = (struct iovec){resp, sizeof(*resp)};
	conn->own_tx.nr_iov = 1;
	conn->own_tx.sent = on_icresp_sent;
	tcp_tx_queue(conn, &conn->own_tx);
	consume(conn, sizeof(*req));
}

/* ---- payload ---- */

static void payload_begin(struct tcp_conn *conn, struct tcp_req *treq, void *to, uint32_t len)
{
	conn->rx_req = treq;
	conn->rx_to = to;
	conn->rx_left = len;
	conn->rx_crc = XU_CRC32C_INIT;
	conn->rx_has_digest = conn->has_ddgst;
	conn->rx_state = TCP_RX_PAYLOAD;
}

/* All data of a PDU is here, and its digest. */
static void payload_end(struct tcp_conn *conn)
{
	struct tcp_req *treq = conn->rx_req;

	conn->rx_req = NULL;
	conn->rx_state = TCP_RX_HEADER;
	if (treq->state == TCP_REQ_CAPSULE) {
		treq->state = TCP_REQ_RUNNING;
		xnvmf__req_start(&treq->req);
		return;
	}
	if (treq->is_draining) {
		if (treq->nr_fetched == treq->r2t_end) {
			tcp_req_drained(treq);
		}
		return;
	}
	if (treq->nr_fetched < treq->r2t_end) {
		return; /* more of this R2T comes */
	}
	if (treq->nr_fetched < treq->req.data_len) {
		tcp_send_r2t(treq);
		return;
	}
	treq->state = TCP_REQ_RUNNING;
	if (treq->req.has_bad_data) {
		xnvmf__req_complete(&treq->req, NVME_SC_TRANSPORT_TRANSIENT);
	} else {
		xnvmf__req_execute(&treq->req);
	}
}

/* Bytes that have come in are at rx_to already. */
static void payload_advance(struct tcp_conn *conn, uint32_t len)
{
	if (conn->rx_to != NULL) {
		if (conn->rx_has_digest) {
			conn->rx_crc = xu_crc32c_update(conn->rx_crc, conn->rx_to, len);
		}
		conn->rx_to += len;
	}
	if (conn->rx_req->state != TCP_REQ_CAPSULE) {
		conn->rx_req->nr_fetched += len;
	}
	conn->rx_left -= len;
	if (conn->rx_left != 0) {
		return;
	}
	if (conn->rx_has_digest) {
		conn->rx_state = TCP_RX_DIGEST;
	} else {
		payload_end(conn);
	}
}

static bool step_payload(struct tcp_conn *conn)
{
	uint32_t len = avail(conn) < conn->rx_left ? avail(conn) : conn->rx_left;

	if (len == 0) {
		return false;
	}
	if (conn->rx_to != NULL) {
		memcpy(conn->rx_to, conn->rx + conn->rx_start, len);
	}
	consume(conn, len);
	payload_advance(conn, len);
	return true;
}

static bool step_digest(struct tcp_conn *conn)
{
	uint32_t digest;

	if (avail(conn) < NVME_TCP_DIGEST_BYTES) {
		return false;
	}
	memcpy(&digest, conn->rx + conn->rx_start, sizeof(digest));
	consume(conn, NVME_TCP_DIGEST_BYTES);
	if (conn->rx_to != NULL && digest != xu_crc32c_final(conn->rx_crc)) {
		/* Not fatal: the command fails and the host may send it again (3.3.1.2). */
		conn->rx_req->req.has_bad_data = true;
	}
	payload_end(conn);
	return true;
}

/* ---- commands and data ---- */

static uint32_t data_bytes(const struct tcp_conn *conn, const struct nvme_tcp_hdr *hdr)
{
	return hdr->plen - hdr->pdo - (conn->has_ddgst ? NVME_TCP_DIGEST_BYTES : 0);
}

/* The largest capsule data of a command: Fabrics commands have the admin queue's limit anywhere. */
static uint32_t max_icd(const struct tcp_conn *conn, uint8_t opc)
{
	const struct tcp_slab *slab = &conn->slabs[conn->slabs[1].reqs != NULL];

	return opc == NVME_FABRICS ? NVME_TCP_ADMIN_ICD : slab->icd_bytes;
}

static uint32_t max_any_icd(const struct tcp_conn *conn)
{
	uint32_t max = max_icd(conn, 0);

	return max > NVME_TCP_ADMIN_ICD ? max : NVME_TCP_ADMIN_ICD;
}

/* Where capsule data goes. Data of a Fabrics command that does not fit can only be a second
 * Connect's, which is refused unseen: it goes where the first one's was. */
static void *capsule_buffer(const struct tcp_req *treq, uint32_t len)
{
	const struct tcp_conn *conn = treq->conn;

	if (len == 0) {
		return NULL;
	}
	return len <= max_icd(conn, 0) ? treq->icd_buf : conn->slabs[0].icd_memory;
}

static void handle_cmd(struct tcp_conn *conn, const struct nvme_tcp_cmd *pdu, uint32_t header_bytes)
{
	uint32_t len = pdu->hdr.plen == header_bytes ? 0 : data_bytes(conn, &pdu->hdr);
	struct tcp_req *treq;

	if (len > max_icd(conn, pdu->sqe.opc)) {
		header_error(conn, FEI_PLEN, "more data than a capsule may have");
		return;
	}
	treq = tcp_req_get(conn);
	if (treq == NULL) {
		tcp_conn_fatal(conn, NVME_TCP_FES_SEQUENCE, 0, "more commands than the queue has");
		return;
	}
	treq->req.cmd = pdu->sqe;
	treq->req.icd_len = len;
	treq->req.has_bad_data = false;
	treq->req.buf = capsule_buffer(treq, len);
	consume(conn, header_bytes);
	if (len != 0) {
		treq->state = TCP_REQ_CAPSULE;
		payload_begin(conn, treq, treq->req.buf, len);
		return;
	}
	treq->state = TCP_REQ_RUNNING;
	xnvmf__req_start(&treq->req);
}

static void handle_h2c_data(
	struct tcp_conn *conn, const struct nvme_tcp_data *pdu, uint32_t header_bytes)
{
	struct tcp_req *treq = tcp_req_find(conn, pdu->ttag);
	uint32_t left;

	if (treq == NULL || (treq->state != TCP_REQ_FETCHING && !treq->is_draining)) {
		header_error(conn, offsetof(struct nvme_tcp_data, ttag), "unknown TTAG");
		return;
	}
	if (treq->req.cmd.cid != pdu->cccid) {
		header_error(
			conn, offsetof(struct nvme_tcp_data, cccid), "CCCID of another command");
		return;
	}
	left = treq->r2t_end - treq->nr_fetched;
	if (pdu->datal > conn->qpair.target->opts.max_h2c_data) {
		tcp_conn_fatal(conn, NVME_TCP_FES_LIMIT, 0, "H2CData above MAXH2CDATA");
		return;
	}
	if (pdu->datao < treq->r2t_start || pdu->datao > treq->r2t_end ||
		pdu->datal > treq->r2t_end - pdu->datao) {
		tcp_conn_fatal(conn, NVME_TCP_FES_OUT_OF_RANGE, 0, "H2CData outside of its R2T");
		return;
	}
	if (pdu->datao != treq->nr_fetched) {
		tcp_conn_fatal(conn, NVME_TCP_FES_SEQUENCE, 0, "H2CData out of order");
		return;
	}
	if (pdu->datal == 0 || pdu->datal != data_bytes(conn, &pdu->hdr)) {
		header_error(conn, FEI_PLEN, "PLEN does not fit DATAL");
		return;
	}
	if (((pdu->hdr.flags & NVME_TCP_F_LAST) != 0) != (pdu->datal == left)) {
		header_error(conn, FEI_FLAGS, "LAST flag in the wrong place");
		return;
	}
	payload_begin(conn, treq,
		treq->is_draining ? NULL : (uint8_t *)treq->req.buf + treq->nr_fetched, pdu->datal);
	consume(conn, header_bytes);
}

/* All of it is here: it is small, and parsed where it is. */
static void handle_kdreq(struct tcp_conn *conn, const struct nvme_tcp_kdreq *pdu)
{
	if (pdu->hdr.plen != tcp_kick_bytes(pdu)) {
		header_error(conn, offsetof(struct nvme_tcp_kdreq, numkr),
			"the number of records does not fit the length");
		return;
	}
	tcp_kick(conn, pdu);
}

static void handle_term(struct tcp_conn *conn, const struct nvme_tcp_term *pdu)
{
	xu_info(conn->qpair.target->log,
		"connection %llu: the host ends it: fatal error status %u, information %u",
		(unsigned long long)conn->qpair.id, pdu->fes, pdu->fei);
	tcp_conn_lose(conn, "terminated by the host");
}

/* ---- headers ---- */

/* Whether a PDU of this type may come now; false when the connection has been ended. */
static bool check_order(struct tcp_conn *conn, uint8_t type)
{
	bool is_kick = conn->state == TCP_CONN_KICK;

	/* Where none is expected, it is a type as unknown as ever. */
	if (type > 0xf || !rules[type].exists || (type == NVME_TCP_KDREQ && !is_kick)) {
		header_error(conn, FEI_TYPE, "unknown PDU type");
		return false;
	}
	if ((conn->state == TCP_CONN_IC) != (type == NVME_TCP_ICREQ)) {
		tcp_conn_fatal(conn, NVME_TCP_FES_SEQUENCE, 0,
			conn->state == TCP_CONN_IC ? "no ICReq first" : "a second ICReq");
		return false;
	}
	if (is_kick && type != NVME_TCP_KDREQ) {
		tcp_conn_fatal(conn, NVME_TCP_FES_SEQUENCE, 0, "no KDReq on a kick-start");
		return false;
	}
	return true;
}

/* The length by what is allowed; by the number of records when that is here. */
static bool check_kdreq(struct tcp_conn *conn, const struct nvme_tcp_hdr *hdr)
{
	const uint32_t record = sizeof(struct nvme_tcp_kdrecord);
	uint32_t len = hdr->plen - (uint32_t)sizeof(struct nvme_tcp_kdreq);

	if (hdr->pdo != sizeof(struct nvme_tcp_kdreq)) {
		header_error(conn, FEI_PDO, "wrong data offset");
		return false;
	}
	if (hdr->plen <= sizeof(struct nvme_tcp_kdreq) || len % record != 0 ||
		len / record > NVME_TCP_KDRECORDS_MAX) {
		header_error(conn, FEI_PLEN, "wrong PDU length");
		return false;
	}
	return true;
}

/* Checks the common header; false when the connection has been ended. */
static bool check_header(struct tcp_conn *conn, const struct nvme_tcp_hdr *hdr)
{
	const struct pdu_rule *rule = &rules[hdr->type & 0xfu];
	uint32_t header_bytes, digests;

	if (hdr->type == NVME_TCP_H2C_TERM) {
		return true; /* whatever else it says, it is not answered with another one */
	}
	if (!check_order(conn, hdr->type)) {
		return false;
	}
	header_bytes = rule->hlen;
	digests = 0;
	if (rule->has_digest && conn->has_hdgst) {
		header_bytes += NVME_TCP_DIGEST_BYTES;
		digests |= NVME_TCP_F_HDGST;
	}
	/* Reserved flags are ignored. */
	if ((hdr->flags & NVME_TCP_F_HDGST & rule->flags) != digests) {
		header_error(conn, FEI_FLAGS, "header digest flag is not as agreed");
		return false;
	}
	if (hdr->hlen != rule->hlen) {
		header_error(conn, FEI_HLEN, "wrong header length");
		return false;
	}
	if (hdr->type == NVME_TCP_KDREQ) {
		return check_kdreq(conn, hdr);
	}
	if (!rule->has_data || hdr->type == NVME_TCP_H2C_TERM) {
		bool fits = hdr->type == NVME_TCP_H2C_TERM
				    ? hdr->plen >= hdr->hlen &&
					      hdr->plen <= hdr->hlen + NVME_TCP_TERM_DATA_MAX
				    : hdr->plen == header_bytes;

		if (!fits) {
			header_error(conn, FEI_PLEN, "wrong PDU length");
		}
		return fits;
	}
	if (hdr->type == NVME_TCP_CMD && hdr->plen == header_bytes) {
		if (hdr->flags & NVME_TCP_F_DDGST) {
			header_error(conn, FEI_FLAGS, "a data digest without data");
			return false;
		}
		if (hdr->pdo != 0 && hdr->pdo != header_bytes) {
			header_error(conn, FEI_PDO, "a data offset without data");
			return false;
		}
		return true;
	}
	if (((hdr->flags & NVME_TCP_F_DDGST) != 0) != conn->has_ddgst) {
		header_error(conn, FEI_FLAGS, "data digest flag is not as agreed");
		return false;
	}
	if (hdr->plen < header_bytes) {
		header_error(conn, FEI_PLEN, "wrong PDU length");
		return false;
	}
	if (hdr->pdo != header_bytes) {
		header_error(conn, FEI_PDO, "wrong data offset");
		return false;
	}
	digests = conn->has_ddgst ? NVME_TCP_DIGEST_BYTES : 0;
	if (hdr->plen <= header_bytes + digests ||
		(hdr->type == NVME_TCP_CMD &&
			hdr->plen - header_bytes - digests > max_any_icd(conn))) {
		header_error(conn, FEI_PLEN, "wrong PDU length");
		return false;
	}
	return true;
}

static bool check_header_digest(struct tcp_conn *conn, const struct nvme_tcp_hdr *hdr)
{
	uint32_t digest;

	memcpy(&digest, (const uint8_t *)hdr + hdr->hlen, sizeof(digest));
	if (digest != xu_crc32c(hdr, hdr->hlen)) {
		tcp_conn_fatal(conn, NVME_TCP_FES_HDGST, digest, "header digest error");
		return false;
	}
	return true;
}

static bool step_header(struct tcp_conn *conn)
{
	const uint8_t *at = conn->rx + conn->rx_start;
	const struct nvme_tcp_hdr *hdr = (const struct nvme_tcp_hdr *)at;
	bool has_digest;
	uint32_t need;

	if (avail(conn) < sizeof(*hdr) || !check_header(conn, hdr)) {
		return false;
	}
	has_digest = rules[hdr->type].has_digest && conn->has_hdgst;
	need = hdr->type == NVME_TCP_KDREQ ? hdr->plen : rules[hdr->type].hlen;
	need += has_digest ? NVME_TCP_DIGEST_BYTES : 0;
	if (avail(conn) < need || (has_digest && !check_header_digest(conn, hdr))) {
		return false;
	}
	switch ((enum nvme_tcp_pdu_type)hdr->type) {
	case NVME_TCP_ICREQ:
		handle_icreq(conn, (const struct nvme_tcp_icreq *)at);
		break;
	case NVME_TCP_H2C_TERM:
		handle_term(conn, (const struct nvme_tcp_term *)at);
		break;
	case NVME_TCP_KDREQ:
		handle_kdreq(conn, (const struct nvme_tcp_kdreq *)at);
		break;
	case NVME_TCP_CMD:
		handle_cmd(conn, (const struct nvme_tcp_cmd *)at, need);
		break;
	case NVME_TCP_H2C_DATA:
		handle_h2c_data(conn, (const struct nvme_tcp_data *)at, need);
		break;
	default:
		return false;
	}
	return true;
}

/* ---- the stream ---- */

static bool is_receiving(const struct tcp_conn *conn)
{
	return conn->paused == NULL && conn->state <= TCP_CONN_OPEN;
}

static void process(struct tcp_conn *conn)
{
	bool goes_on = true;

	while (goes_on && is_receiving(conn)) {
		switch (conn->rx_state) {
		case TCP_RX_HEADER:
			goes_on = step_header(conn);
			break;
		case TCP_RX_PAYLOAD:
			goes_on = step_payload(conn);
			break;
		case TCP_RX_DIGEST:
			goes_on = step_digest(conn);
			break;
		}
	}
}

/* Asks the kernel for more: into the command's buffer first where that saves a copy. */
static void arm(struct tcp_conn *conn)
{
	uint32_t nr_iov = 0;

	if (conn->recv_op.is_pending || conn->paused != NULL || conn->state >= TCP_CONN_CLOSED) {
		return;
	}
	if (conn->state == TCP_CONN_TERMINATING) {
		conn->rx_start = 0; /* thrown away */
		conn->rx_end = 0;
	}
	if (conn->rx_start != 0) {
		memmove(conn->rx, conn->rx + conn->rx_start, avail(conn));
		conn->rx_end -= conn->rx_start;
		conn->rx_start = 0;
	}
	conn->rx_direct = 0;
	if (conn->rx_state == TCP_RX_PAYLOAD && conn->rx_left >= DIRECT_MIN &&
		conn->rx_to != NULL && conn->state == TCP_CONN_OPEN) {
		conn->rx_direct = conn->rx_left;
		conn->recv_iov[nr_iov++] = (struct iovec){conn->rx_to, conn->rx_left};
	}
	conn->recv_iov[nr_iov++] =
		(struct iovec){conn->rx + conn->rx_end, TCP_RX_BYTES - conn->rx_end};
	conn->recv_op.nr_iov = nr_iov;
	xr_op_submit(conn->qpair.reactor, &conn->recv_op);
}

static void on_received(struct xr_op *op, int32_t result)
{
	struct tcp_conn *conn = xu_container_of(op, struct tcp_conn, recv_op);
	uint32_t len = result > 0 ? (uint32_t)result : 0;

	if (result <= 0) {
		if (result < 0) {
			tcp_conn_lose(conn, "connection lost");
		} else {
			tcp_conn_close(conn, "closed by the host");
		}
		tcp_conn_settle(conn);
		return;
	}
	if (conn->rx_direct != 0 && is_receiving(conn)) {
		uint32_t direct = len < conn->rx_direct ? len : conn->rx_direct;

		conn->rx_end += len - direct;
		payload_advance(conn, direct);
	} else if (conn->rx_direct == 0) {
		conn->rx_end += len;
	}
	process(conn);
	arm(conn);
	tcp_conn_settle(conn);
}

void tcp_rx_start(struct tcp_conn *conn)
{
	conn->recv_op.cb = on_received;
	conn->recv_op.opcode = XR_OP_RECV;
	conn->recv_op.fd = conn->fd;
	conn->recv_op.iov = conn->recv_iov;
	conn->recv_op.msg = &conn->recv_msg;
	arm(conn);
}

void tcp_rx_resume(struct tcp_conn *conn)
{
	process(conn);
	arm(conn);
}
