/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scripted target. It reads whole PDUs into a buffer, checks that the host's are as they must
 * be (a wrong one ends the program), and answers with PDUs that go through the hook. It has one
 * controller, one namespace, and as many connections as come.
 */
#include "test/unit/xnvmf/bad_target.h"

#include <stdlib.h>
#include <string.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/crc32c.h"
#include "test/unit/xbdev/harness.h"

/* The host is right. To a target that has told it nonsense it need only be harmless: then its
 * connection ends. */
#define JUDGE(conn, expr)                                                                          \
	do {                                                                                       \
		if (!(expr)) {                                                                     \
			MUST((conn)->target->opts.is_lenient &&#expr);                             \
			(conn)->is_terminated = true;                                              \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define DRIBBLE_NS (10 * XU_NS_PER_MS)

/* ---- sending ---- */

static void send_next(struct bad_conn *conn)
{
	if (conn->send_op.is_pending || conn->first == NULL || conn->is_ending ||
		xr_timer_is_running(&conn->dribble_timer)) {
		return;
	}
	conn->send_iov.iov_base = conn->first->data + conn->first->done;
	conn->send_iov.iov_len =
		conn->target->opts.dribbles ? 1 : conn->first->len - conn->first->done;
	xr_op_submit(conn->target->reactor, &conn->send_op);
}

static void on_dribble(struct xr_timer *timer)
{
	send_next(xu_container_of(timer, struct bad_conn, dribble_timer));
}

static void settle(struct bad_conn *conn);

static void on_sent(struct xr_op *op, int32_t result)
{
	struct bad_conn *conn = xu_container_of(op, struct bad_conn, send_op);
	struct bad_chunk *chunk = conn->first;

	if (result < 0 || conn->is_ending) {
		conn->is_ending = true;
		settle(conn);
		return;
	}
	chunk->done += (uint32_t)result;
	if (chunk->done == chunk->len) {
		conn->first = chunk->next;
		if (conn->first == NULL) {
			conn->end = &conn->first;
		}
		free(chunk);
	}
	if (conn->target->opts.dribbles) {
		xr_timer_start(conn->target->reactor, &conn->dribble_timer, DRIBBLE_NS);
		return;
	}
	send_next(conn);
}

static void queue_bytes(struct bad_conn *conn, const void *data, uint32_t len)
{
	struct bad_chunk *chunk = malloc(sizeof(*chunk) + len);

	MUST(chunk != NULL);
	*chunk = (struct bad_chunk){.len = len};
	memcpy(chunk->data, data, len);
	*conn->end = chunk;
	conn->end = &chunk->next;
	send_next(conn);
}

static void end_conn(struct bad_conn *conn)
{
	struct bad_target *t = conn->target;

	if (!conn->is_ending) {
		conn->is_ending = true;
		t->platform->sock_shutdown(t->platform, conn->fd);
		xr_op_cancel(t->reactor, &conn->recv_op);
		xr_op_cancel(t->reactor, &conn->send_op);
	}
	settle(conn);
}

/* Puts a PDU on the wire, as often and as spoilt as the hook wants it. */
static void send_pdu(struct bad_pdu *pdu)
{
	struct bad_conn *conn = pdu->conn;
	bool has_hdgst = conn->has_hdgst && pdu->hdr.type != NVME_TCP_ICRESP;
	bool has_ddgst = conn->has_ddgst && pdu->payload_len != 0;
	uint8_t bytes[BAD_HEAD_MAX + 4 + 65536 + 4];
	uint32_t len = pdu->head_len, crc;

	pdu->nr_times = 1;
	pdu->hdr.hlen = (uint8_t)pdu->head_len;
	pdu->hdr.flags |= has_hdgst ? NVME_TCP_F_HDGST : 0;
	pdu->hdr.flags |= has_ddgst ? NVME_TCP_F_DDGST : 0;
	pdu->hdr.plen =
		pdu->head_len + (has_hdgst ? 4 : 0) + pdu->payload_len + (has_ddgst ? 4 : 0);
	pdu->hdr.pdo = pdu->payload_len != 0 ? (uint8_t)(pdu->head_len + (has_hdgst ? 4 : 0)) : 0;
	if (conn->target->opts.hook != NULL) {
		conn->target->opts.hook(conn->target, pdu);
	}
	if (pdu->is_dropped || conn->is_silent) {
		return;
	}
	memcpy(bytes, pdu->head, pdu->head_len);
	if (has_hdgst) {
		crc = xu_crc32c(bytes, pdu->head_len) ^ pdu->spoil_hdgst;
		memcpy(bytes + len, &crc, 4);
		len += 4;
	}
	if (pdu->payload_len != 0) {
		JUDGE(conn, pdu->payload_len <= 65536);
		memcpy(bytes + len, pdu->payload, pdu->payload_len);
		len += pdu->payload_len;
	}
	if (has_ddgst) {
		crc = xu_crc32c(pdu->payload, pdu->payload_len) ^ pdu->spoil_ddgst;
		memcpy(bytes + len, &crc, 4);
		len += 4;
	}
	bytes[pdu->noise_at % len] ^= pdu->noise;
	for (uint32_t i = 0; i < pdu->nr_times; i++) {
		queue_bytes(conn, bytes, pdu->is_cut ? len / 2 : len);
	}
	conn->is_silent |= pdu->is_cut;
}

/* ---- answers ---- */

static void forget(struct bad_cmd *cmd)
{
	free(cmd->data);
	*cmd = (struct bad_cmd){0};
}

void bad_complete(struct bad_conn *conn, struct bad_cmd *cmd, uint16_t status, uint32_t dw0)
{
	struct bad_pdu pdu = {.conn = conn, .head_len = sizeof(struct nvme_tcp_rsp)};

	pdu.opc = cmd->sqe.opc;
	pdu.hdr.type = NVME_TCP_RSP;
	pdu.rsp.cqe = (struct nvme_cpl){.dw0 = dw0, .cid = cmd->sqe.cid, .status = status};
	if (cmd->sqe.opc == NVME_FABRICS && NVME_CMD_FCTYPE(&cmd->sqe) == NVME_FCTYPE_CONNECT) {
		pdu.rsp.cqe.sqhd = conn->is_sqflow_off ? UINT16_MAX : 1;
	}
	forget(cmd);
	send_pdu(&pdu);
}

static void complete_64(struct bad_conn *conn, struct bad_cmd *cmd, uint64_t value)
{
	struct bad_pdu pdu = {.conn = conn, .head_len = sizeof(struct nvme_tcp_rsp)};

	pdu.opc = cmd->sqe.opc;
	pdu.hdr.type = NVME_TCP_RSP;
	pdu.rsp.cqe = (struct nvme_cpl){
		.dw0 = (uint32_t)value, .dw1 = (uint32_t)(value >> 32), .cid = cmd->sqe.cid};
	forget(cmd);
	send_pdu(&pdu);
}

/* In two pieces where there is enough; success as a flag where that is allowed. */
void bad_send_data(struct bad_conn *conn, struct bad_cmd *cmd)
{
	uint32_t len = cmd->len, at = 0, first = len > 1024 ? len / 2 / 4 * 4 : len;
	bool has_flag = conn->is_sqflow_off && !conn->target->opts.holds_data_back;

	while (at < len) {
		uint32_t part = at == 0 ? first : len - at;
		struct bad_pdu pdu = {.conn = conn,
			.head_len = sizeof(struct nvme_tcp_data),
			.payload = cmd->data + at,
			.payload_len = part,
			.opc = cmd->sqe.opc};

		pdu.hdr.type = NVME_TCP_C2H_DATA;
		pdu.data.cccid = cmd->sqe.cid;
		pdu.data.datao = at;
		pdu.data.datal = part;
		at += part;
		if (at == len) {
			pdu.hdr.flags = NVME_TCP_F_LAST | (has_flag ? NVME_TCP_F_SUCCESS : 0);
		}
		send_pdu(&pdu);
	}
	if (has_flag) {
		forget(cmd);
	} else {
		bad_complete(conn, cmd, 0, 0);
	}
}

void bad_send_r2t(struct bad_conn *conn, struct bad_cmd *cmd)
{
	uint32_t max =
		conn->target->opts.r2t_bytes != 0 ? conn->target->opts.r2t_bytes : UINT32_MAX;
	uint32_t len = cmd->len - cmd->asked < max ? cmd->len - cmd->asked : max;
	struct bad_pdu pdu = {
		.conn = conn, .head_len = sizeof(struct nvme_tcp_r2t), .opc = cmd->sqe.opc};

	pdu.hdr.type = NVME_TCP_R2T;
	pdu.r2t.cccid = cmd->sqe.cid;
	pdu.r2t.ttag = (uint16_t)(cmd - conn->cmds);
	pdu.r2t.r2to = cmd->asked;
	pdu.r2t.r2tl = len;
	cmd->asked += len;
	send_pdu(&pdu);
}

void bad_event(struct bad_target *t, uint32_t dw0)
{
	for (uint32_t i = 0; i < t->nr_conns; i++) {
		struct bad_conn *conn = t->conns[i];

		if (conn != NULL && conn->is_open && conn->has_aer) {
			struct bad_cmd cmd = {.sqe = {.cid = conn->aer_cid, .opc = 0x0c}};

			conn->has_aer = false;
			bad_complete(conn, &cmd, 0, dw0);
		}
	}
}

/* ---- commands ---- */

static void identify(struct bad_conn *conn, struct bad_cmd *cmd)
{
	const struct bad_opts *opts = &conn->target->opts;
	struct nvme_id_ctrl *ctrl = (struct nvme_id_ctrl *)cmd->data;
	struct nvme_id_ns *ns = (struct nvme_id_ns *)cmd->data;

	JUDGE(conn, cmd->len == NVME_IDENTIFY_BYTES);
	switch (cmd->sqe.cdw10 & 0xffu) {
	case NVME_CNS_CTRL:
		memset(ctrl->sn, ' ', 68);
		ctrl->mdts = opts->mdts;
		ctrl->cntlid = 1;
		ctrl->ver = 0x00010400;
		ctrl->oaes = NVME_OAES_NS_ATTR;
		ctrl->cntrltype = NVME_CNTRLTYPE_IO;
		ctrl->crdt[0] = opts->crdt1;
		ctrl->kas = 10;
		ctrl->sqes = 0x66;
		ctrl->cqes = 0x44;
		ctrl->maxcmd = 128;
		ctrl->nn = 1;
		ctrl->oncs = NVME_ONCS_COMPARE | NVME_ONCS_WRITE_ZEROES;
		ctrl->vwc = opts->vwc;
		ctrl->sgls = 1;
		ctrl->ioccsz = 4 + opts->icd_bytes / 16;
		ctrl->iorcsz = 1;
		break;
	case NVME_CNS_ACTIVE_NS:
		*(uint32_t *)(void *)cmd->data = 1;
		break;
	case NVME_CNS_NS:
		ns->nsze = ns->ncap = ns->nuse = conn->target->nr_blocks;
		ns->dlfeat = 9;
		ns->nguid[0] = 0x42;
		ns->lbaf[0].lbads = 9;
		break;
	case NVME_CNS_NS_DESCS:
	case NVME_CNS_CSI_CTRL:
		break;
	default:
		JUDGE(conn, !"an Identify that nobody needs");
	}
	bad_send_data(conn, cmd);
}

static void fabrics(struct bad_conn *conn, struct bad_cmd *cmd)
{
	const struct nvme_connect_cmd *connect = (const struct nvme_connect_cmd *)&cmd->sqe;

	switch (NVME_CMD_FCTYPE(&cmd->sqe)) {
	case NVME_FCTYPE_CONNECT:
		JUDGE(conn, cmd->len == sizeof(struct nvme_connect_data) && cmd->got == cmd->len);
		conn->qid = connect->qid;
		conn->is_sqflow_off = (connect->cattr & NVME_CATTR_DISABLE_SQFLOW) != 0;
		bad_complete(conn, cmd, 0, 1);
		break;
	case NVME_FCTYPE_PROPERTY_GET:
		if (cmd->sqe.cdw11 == NVME_PROP_CAP) {
			complete_64(conn, cmd, 0x201e01007full);
		} else if (cmd->sqe.cdw11 == NVME_PROP_VS) {
			complete_64(conn, cmd, 0x00010400);
		} else {
			complete_64(conn, cmd, NVME_CSTS_RDY);
		}
		break;
	default:
		bad_complete(conn, cmd, 0, 0);
		break;
	}
}

static void admin(struct bad_conn *conn, struct bad_cmd *cmd)
{
	switch (cmd->sqe.opc) {
	case NVME_ADMIN_IDENTIFY:
		identify(conn, cmd);
		break;
	case NVME_ADMIN_GET_LOG_PAGE:
		bad_send_data(conn, cmd);
		break;
	case NVME_ADMIN_SET_FEATURES:
		bad_complete(conn, cmd, 0, 0); /* one queue */
		break;
	case NVME_ADMIN_ASYNC_EVENT:
		JUDGE(conn, !conn->has_aer);
		conn->has_aer = true;
		conn->aer_cid = cmd->sqe.cid;
		forget(cmd);
		break;
	case NVME_ADMIN_ABORT:
		conn->target->nr_aborts++;
		bad_complete(conn, cmd, 0, 1); /* not aborted */
		break;
	case NVME_ADMIN_KEEP_ALIVE:
		bad_complete(conn, cmd, 0, 0);
		break;
	default:
		JUDGE(conn, !"an admin command that nobody needs");
	}
}

static uint64_t slba_of(const struct bad_cmd *cmd)
{
	return (uint64_t)cmd->sqe.cdw11 << 32 | cmd->sqe.cdw10;
}

static void io(struct bad_conn *conn, struct bad_cmd *cmd)
{
	struct bad_target *t = conn->target;
	uint64_t slba = slba_of(cmd), nlb = (cmd->sqe.cdw12 & 0xffffu) + 1;

	JUDGE(conn, cmd->sqe.nsid == 1);
	JUDGE(conn, cmd->sqe.opc == NVME_IO_FLUSH ||
			    (slba <= BAD_BYTES && (slba + nlb) * 512 <= BAD_BYTES));
	switch (cmd->sqe.opc) {
	case NVME_IO_READ:
		JUDGE(conn, cmd->len == nlb * 512);
		t->nr_reads++;
		memcpy(cmd->data, t->disk + slba * 512, cmd->len);
		bad_send_data(conn, cmd);
		break;
	case NVME_IO_WRITE:
		memcpy(t->disk + slba * 512, cmd->data, cmd->len);
		bad_complete(conn, cmd, 0, 0);
		break;
	case NVME_IO_COMPARE:
		bad_complete(conn, cmd,
			memcmp(t->disk + slba * 512, cmd->data, cmd->len) == 0
				? 0
				: NVME_SC_COMPARE_FAILURE,
			0);
		break;
	case NVME_IO_WRITE_ZEROES:
		memset(t->disk + slba * 512, 0, nlb * 512);
		bad_complete(conn, cmd, 0, 0);
		break;
	case NVME_IO_FLUSH:
		t->nr_flushes++;
		bad_complete(conn, cmd, 0, 0);
		break;
	default:
		JUDGE(conn, !"an I/O command that nobody needs");
	}
}

static void execute(struct bad_conn *conn, struct bad_cmd *cmd)
{
	if (cmd->write != NULL && cmd->got >= sizeof(cmd->write->word)) {
		memcpy(&cmd->write->word, cmd->data, sizeof(cmd->write->word));
	}
	if (conn->target->opts.on_command != NULL && conn->target->opts.on_command(conn, cmd)) {
		return;
	}
	if (cmd->sqe.opc == NVME_FABRICS) {
		fabrics(conn, cmd);
	} else if (conn->qid == 0) {
		admin(conn, cmd);
	} else {
		io(conn, cmd);
	}
}

static bool takes_data(const struct bad_conn *conn, const struct nvme_cmd *sqe)
{
	if (sqe->opc == NVME_FABRICS) {
		return NVME_CMD_FCTYPE(sqe) == NVME_FCTYPE_CONNECT;
	}
	return conn->qid == 0 ? sqe->opc == NVME_ADMIN_SET_FEATURES
			      : sqe->opc == NVME_IO_WRITE || sqe->opc == NVME_IO_COMPARE;
}

static void note_write(struct bad_conn *conn, struct bad_cmd *cmd)
{
	struct bad_target *t = conn->target;

	if (conn->qid != 0 &&
		(cmd->sqe.opc == NVME_IO_WRITE || cmd->sqe.opc == NVME_IO_WRITE_ZEROES)) {
		JUDGE(conn, t->nr_writes < BAD_MAX_WRITES);
		cmd->write = &t->writes[t->nr_writes++];
		*cmd->write = (struct bad_write){.time_ns = sim_now_ns(t->sim),
			.slba = slba_of(cmd),
			.nlb = (cmd->sqe.cdw12 & 0xffffu) + 1,
			.nr_conn = (uint16_t)conn->number};
	}
}

static void take_cmd(
	struct bad_conn *conn, const struct nvme_tcp_cmd *pdu, const uint8_t *data, uint32_t len)
{
	struct bad_cmd *cmd = conn->cmds;

	while (cmd->is_used) {
		cmd++;
		JUDGE(conn, cmd < conn->cmds + BAD_MAX_CMDS);
	}
	JUDGE(conn, (pdu->sqe.flags & NVME_PSDT_MASK) == NVME_PSDT_SGL);
	JUDGE(conn, pdu->sqe.cid != UINT16_MAX);
	for (uint32_t i = 0; i < BAD_MAX_CMDS; i++) {
		JUDGE(conn, !conn->cmds[i].is_used || conn->cmds[i].sqe.cid != pdu->sqe.cid);
	}
	cmd->is_used = true;
	cmd->sqe = pdu->sqe;
	cmd->len = pdu->sqe.sgl.len;
	cmd->data = calloc(1, cmd->len != 0 ? cmd->len : 1);
	MUST(cmd->data != NULL);
	note_write(conn, cmd);
	if (len != 0) {
		JUDGE(conn, pdu->sqe.sgl.type == NVME_SGL_DATA_OFFSET && len == cmd->len);
		JUDGE(conn, conn->qid == 0 || len <= conn->target->opts.icd_bytes ||
				    pdu->sqe.opc == NVME_FABRICS);
		memcpy(cmd->data, data, len);
		cmd->got = len;
		execute(conn, cmd);
		return;
	}
	JUDGE(conn, pdu->sqe.sgl.type == NVME_SGL_TRANSPORT_DATA);
	if (!takes_data(conn, &pdu->sqe) || cmd->len == 0) {
		execute(conn, cmd);
		return;
	}
	for (uint32_t i = 0; i == 0 || i < conn->target->opts.nr_r2ts; i++) {
		if (cmd->is_used && cmd->asked < cmd->len) {
			bad_send_r2t(conn, cmd);
		}
	}
}

static void take_data(
	struct bad_conn *conn, const struct nvme_tcp_data *pdu, const uint8_t *data, uint32_t len)
{
	struct bad_target *t = conn->target;
	struct bad_cmd *cmd = &conn->cmds[pdu->ttag % BAD_MAX_CMDS];

	JUDGE(conn, pdu->ttag < BAD_MAX_CMDS && cmd->is_used && cmd->sqe.cid == pdu->cccid);
	JUDGE(conn, pdu->datal == len && len <= t->opts.maxh2cdata && pdu->datao == cmd->got);
	JUDGE(conn, pdu->datao + len <= cmd->asked);
	memcpy(cmd->data + pdu->datao, data, len);
	cmd->got += len;
	if (pdu->hdr.flags & NVME_TCP_F_LAST) {
		JUDGE(conn, t->opts.r2t_bytes != 0
				    ? cmd->got % t->opts.r2t_bytes == 0 || cmd->got == cmd->len
				    : cmd->got == cmd->len);
	}
	if (cmd->got == cmd->len) {
		JUDGE(conn, pdu->hdr.flags & NVME_TCP_F_LAST);
		execute(conn, cmd);
	} else if ((pdu->hdr.flags & NVME_TCP_F_LAST) && cmd->asked < cmd->len) {
		bad_send_r2t(conn, cmd);
	}
}

static void take_icreq(struct bad_conn *conn, const struct nvme_tcp_icreq *req)
{
	struct bad_pdu pdu = {.conn = conn, .head_len = sizeof(struct nvme_tcp_icresp)};

	JUDGE(conn,
		!conn->is_initialized && req->hdr.hlen == 128 && req->pfv == 0 && req->hpda == 0);
	conn->is_initialized = true;
	pdu.hdr.type = NVME_TCP_ICRESP;
	pdu.icresp.cpda = conn->target->opts.cpda;
	pdu.icresp.dgst = req->dgst;
	pdu.icresp.maxh2cdata = conn->target->opts.maxh2cdata;
	send_pdu(&pdu);
	conn->has_hdgst = (req->dgst & NVME_TCP_DGST_HEADER) != 0;
	conn->has_ddgst = (req->dgst & NVME_TCP_DGST_DATA) != 0;
}

/* ---- receiving: the host is right, or the test ends ---- */

static void take_pdu(struct bad_conn *conn, const uint8_t *at, const struct nvme_tcp_hdr *hdr)
{
	static const uint8_t hlens[] = {[NVME_TCP_ICREQ] = 128,
		[NVME_TCP_H2C_TERM] = 24,
		[NVME_TCP_CMD] = 72,
		[NVME_TCP_H2C_DATA] = 24};
	uint32_t align = (conn->target->opts.cpda + 1u) * 4, hdgst = 0, ddgst = 0, len = 0, crc;

	JUDGE(conn, hdr->type < sizeof(hlens) && hlens[hdr->type] == hdr->hlen);
	if (hdr->type == NVME_TCP_H2C_TERM) {
		const struct nvme_tcp_term *term = (const struct nvme_tcp_term *)at;

		conn->target->nr_terms++;
		conn->target->fes = term->fes;
		conn->target->fei = term->fei;
		conn->is_terminated = true;
		return;
	}
	if (hdr->type == NVME_TCP_ICREQ) {
		take_icreq(conn, (const struct nvme_tcp_icreq *)at);
		return;
	}
	JUDGE(conn, conn->is_initialized);
	JUDGE(conn, ((hdr->flags & NVME_TCP_F_HDGST) != 0) == conn->has_hdgst);
	if (conn->has_hdgst) {
		hdgst = 4;
		memcpy(&crc, at + hdr->hlen, 4);
		JUDGE(conn, crc == xu_crc32c(at, hdr->hlen));
	}
	if (hdr->pdo != 0) {
		JUDGE(conn, hdr->pdo == (hdr->hlen + hdgst + align - 1) / align * align);
		JUDGE(conn, ((hdr->flags & NVME_TCP_F_DDGST) != 0) == conn->has_ddgst);
		ddgst = conn->has_ddgst ? 4 : 0;
		len = hdr->plen - hdr->pdo - ddgst;
		JUDGE(conn, len != 0);
		if (ddgst != 0) {
			memcpy(&crc, at + hdr->pdo + len, 4);
			JUDGE(conn, crc == xu_crc32c(at + hdr->pdo, len));
		}
	} else {
		JUDGE(conn, hdr->plen == hdr->hlen + hdgst && (hdr->flags & NVME_TCP_F_DDGST) == 0);
	}
	if (hdr->type == NVME_TCP_CMD) {
		take_cmd(conn, (const struct nvme_tcp_cmd *)at, at + hdr->pdo, len);
	} else {
		take_data(conn, (const struct nvme_tcp_data *)at, at + hdr->pdo, len);
	}
}

static void on_received(struct xr_op *op, int32_t result)
{
	struct bad_conn *conn = xu_container_of(op, struct bad_conn, recv_op);
	uint32_t at = 0;

	if (result <= 0 || conn->is_ending) {
		end_conn(conn);
		return;
	}
	conn->rx_len += (uint32_t)result;
	while (conn->rx_len - at >= sizeof(struct nvme_tcp_hdr) && !conn->is_terminated) {
		const struct nvme_tcp_hdr *hdr = (const struct nvme_tcp_hdr *)(conn->rx + at);

		if (conn->target->opts.is_lenient &&
			(hdr->plen < sizeof(*hdr) || hdr->plen > BAD_RX_BYTES)) {
			conn->is_terminated = true;
			break;
		}
		MUST(hdr->plen >= sizeof(*hdr) && hdr->plen <= BAD_RX_BYTES);
		if (conn->rx_len - at < hdr->plen) {
			break;
		}
		take_pdu(conn, conn->rx + at, hdr);
		at += hdr->plen;
	}
	if (conn->is_terminated) {
		end_conn(conn);
		return;
	}
	memmove(conn->rx, conn->rx + at, conn->rx_len - at);
	conn->rx_len -= at;
	conn->recv_iov = (struct iovec){conn->rx + conn->rx_len, BAD_RX_BYTES - conn->rx_len};
	xr_op_submit(conn->target->reactor, &conn->recv_op);
}

/* ---- life ---- */

/* Frees the connection when the kernel has given everything back. */
static void settle(struct bad_conn *conn)
{
	struct bad_target *t = conn->target;

	if (!conn->is_ending || !conn->is_open || conn->recv_op.is_pending ||
		conn->send_op.is_pending) {
		return;
	}
	conn->is_open = false;
	xr_timer_stop(t->reactor, &conn->dribble_timer);
	t->platform->close(t->platform, conn->fd);
	while (conn->first != NULL) {
		struct bad_chunk *chunk = conn->first;

		conn->first = chunk->next;
		free(chunk);
	}
	for (uint32_t i = 0; i < BAD_MAX_CMDS; i++) {
		forget(&conn->cmds[i]);
	}
	free(conn->rx);
	conn->rx = NULL;
}

static void on_accepted(struct xr_op *op, int32_t result)
{
	struct bad_target *t = xu_container_of(op, struct bad_target, accept_op);
	struct bad_conn *conn;

	if (result < 0) {
		return;
	}
	if (t->opts.is_lenient && t->nr_conns == BAD_MAX_CONNS) {
		t->platform->close(t->platform, result);
		xr_op_submit(t->reactor, op);
		return;
	}
	MUST(t->nr_conns < BAD_MAX_CONNS);
	conn = calloc(1, sizeof(*conn));
	MUST(conn != NULL);
	t->conns[t->nr_conns] = conn;
	conn->number = t->nr_conns++;
	conn->target = t;
	conn->fd = result;
	conn->is_open = true;
	conn->rx = malloc(BAD_RX_BYTES);
	MUST(conn->rx != NULL);
	conn->end = &conn->first;
	conn->dribble_timer.fn = on_dribble;
	conn->recv_iov = (struct iovec){conn->rx, BAD_RX_BYTES};
	conn->recv_op = (struct xr_op){.cb = on_received,
		.opcode = XR_OP_RECV,
		.fd = result,
		.iov = &conn->recv_iov,
		.nr_iov = 1};
	conn->send_op = (struct xr_op){.cb = on_sent,
		.opcode = XR_OP_SEND,
		.fd = result,
		.iov = &conn->send_iov,
		.nr_iov = 1};
	xr_op_submit(t->reactor, &conn->recv_op);
	xr_op_submit(t->reactor, op);
}

static void do_start(void *arg)
{
	const struct xr_listen_opts opts = {.address = "0.0.0.0", .port = 4420, .backlog = 64};
	struct bad_target *t = arg;

	t->fd = t->platform->tcp_listen(t->platform, &opts, NULL);
	MUST(t->fd >= 0);
	t->accept_op = (struct xr_op){.cb = on_accepted, .opcode = XR_OP_ACCEPT, .fd = t->fd};
	xr_op_submit(t->reactor, &t->accept_op);
}

void bad_start(struct bad_target *t, struct sim *sim, const struct bad_opts *opts)
{
	struct xr_reactor_opts reactor_opts = {0};
	struct xu_error err = {0};

	*t = (struct bad_target){.sim = sim, .opts = *opts, .nr_blocks = BAD_BYTES / 512};
	t->opts.maxh2cdata = opts->maxh2cdata != 0 ? opts->maxh2cdata : 8192;
	t->host = sim_host_new(sim, "bad", NULL);
	t->platform = sim_host_platform(t->host);
	reactor_opts.platform = t->platform;
	t->disk = calloc(1, BAD_BYTES);
	MUST(t->disk != NULL && xr_reactor_new(&reactor_opts, &t->reactor, &err) == 0);
	sim_call(sim, t->reactor, do_start, t);
}

static void do_cut(void *arg)
{
	struct bad_target *t = arg;

	for (uint32_t i = 0; i < t->nr_conns; i++) {
		if (t->conns[i]->is_open) {
			end_conn(t->conns[i]);
		}
	}
}

void bad_cut(struct bad_target *t)
{
	sim_call(t->sim, t->reactor, do_cut, t);
}

static void do_stop(void *arg)
{
	struct bad_target *t = arg;

	t->platform->sock_shutdown(t->platform, t->fd);
	xr_op_cancel(t->reactor, &t->accept_op);
	do_cut(t);
}

void bad_stop(struct bad_target *t)
{
	sim_call(t->sim, t->reactor, do_stop, t);
	MUST(sim_run_for(t->sim, XU_NS_PER_S) == 0);
	t->platform->close(t->platform, t->fd);
	for (uint32_t i = 0; i < t->nr_conns; i++) {
		MUST(!t->conns[i]->is_open);
		free(t->conns[i]);
	}
	MUST(sim_host_nr_open(t->host) == 0);
	xr_reactor_free(t->reactor);
	free(t->disk);
}
