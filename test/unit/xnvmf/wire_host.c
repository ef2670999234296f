/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The small host: builds each PDU, sends it, and reads the answer byte for byte. It has one command
 * out at a time (more only step by step), no digests, and does not turn flow control off.
 */
#include "test/unit/xnvmf/wire_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"

#define WAIT_NS     (60 * XU_NS_PER_S)
#define BLOCK_SHIFT 9u

struct pending {
	struct xr_op op;
	struct xr_reactor *reactor;
	bool is_done;
	int32_t result;
};

static void on_done(struct xr_op *op, int32_t result)
{
	struct pending *pending = xu_container_of(op, struct pending, op);

	pending->is_done = true;
	pending->result = result;
}

static void submit(void *arg)
{
	struct pending *pending = arg;

	xr_op_submit(pending->reactor, &pending->op);
}

static void cancel(void *arg)
{
	struct pending *pending = arg;

	xr_op_cancel(pending->reactor, &pending->op);
}

static bool is_done(void *arg)
{
	return ((struct pending *)arg)->is_done;
}

static int32_t run(struct wire_conn *conn, const struct xr_op *op)
{
	struct pending pending = {.op = *op, .reactor = conn->reactor};

	pending.op.cb = on_done;
	pending.op.fd = conn->fd;
	sim_call(conn->sim, conn->reactor, submit, &pending);
	if (sim_run(conn->sim, is_done, &pending, conn->wait_ns != 0 ? conn->wait_ns : WAIT_NS) !=
		0) {
		sim_call(conn->sim, conn->reactor, cancel, &pending);
		sim_run(conn->sim, is_done, &pending, UINT64_MAX);
		return -ETIMEDOUT;
	}
	return pending.result;
}

/* Header and data in one piece, so that they may arrive together. */
static int send_both(
	struct wire_conn *conn, const void *hdr, size_t hdr_len, const void *buf, size_t len)
{
	struct iovec iov[2] = {{(void *)hdr, hdr_len}, {(void *)buf, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = len != 0 ? 2 : 1};
	int32_t result;

	len += hdr_len;
	if (conn->sim == NULL) {
		return sendmsg(conn->fd, &msg, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
	}
	result = run(conn,
		&(struct xr_op){
			.opcode = XR_OP_SEND, .iov = iov, .nr_iov = (uint32_t)msg.msg_iovlen});
	return result == (int32_t)len ? 0 : result < 0 ? result : -EPIPE;
}

int wire_send_raw(struct wire_conn *conn, const void *buf, size_t len)
{
	return send_both(conn, buf, len, NULL, 0);
}

static int recv_all(struct wire_conn *conn, void *buf, size_t len)
{
	if (conn->sim == NULL) {
		return recv(conn->fd, buf, len, MSG_WAITALL) == (ssize_t)len ? 0 : -ECONNRESET;
	}
	while (len != 0) {
		struct iovec iov = {buf, len};
		int32_t result =
			run(conn, &(struct xr_op){.opcode = XR_OP_RECV, .iov = &iov, .nr_iov = 1});

		if (result <= 0) {
			return result == 0 ? -ECONNRESET : result;
		}
		buf = (char *)buf + result;
		len -= (size_t)result;
	}
	return 0;
}

static int connect_to(struct wire_conn *conn, const struct sockaddr_storage *addr, int len)
{
	const struct timeval limit = {.tv_sec = WAIT_NS / XU_NS_PER_S};

	if (conn->sim != NULL) {
		return run(conn, &(struct xr_op){.opcode = XR_OP_CONNECT,
					 .addr = (const struct sockaddr *)addr,
					 .addr_len = (uint32_t)len});
	}
	setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	conn->platform->sock_tune(conn->platform, conn->fd);
	return connect(conn->fd, (const struct sockaddr *)addr, (socklen_t)len) == 0 ? 0 : -errno;
}

int wire_open_bare(struct wire_conn *conn, struct sim *sim, struct sim_host *host,
	struct xr_reactor *reactor, const char *address, uint16_t port)
{
	struct sockaddr_storage addr;
	int len = xr_address_parse(address, port, &addr), rc;

	*conn = (struct wire_conn){.sim = sim,
		.platform = sim != NULL ? sim_host_platform(host) : xr_platform_linux(),
		.reactor = reactor};
	conn->fd = conn->platform->tcp_socket(conn->platform, address);
	if (len < 0 || conn->fd < 0) {
		return -EINVAL;
	}
	rc = connect_to(conn, &addr, len);
	if (rc != 0) {
		wire_close(conn);
	}
	return rc;
}

int wire_begin(struct wire_conn *conn, uint8_t flags)
{
	struct nvme_tcp_icreq req = {.hdr = {NVME_TCP_ICREQ, flags, sizeof(req), 0, sizeof(req)}};
	struct nvme_tcp_icresp resp;
	int rc = wire_send_raw(conn, &req, sizeof(req));

	if (rc == 0) {
		rc = recv_all(conn, &resp, sizeof(resp));
	}
	if (rc == 0 && (resp.hdr.type != NVME_TCP_ICRESP || resp.cpda != 0 || resp.dgst != 0)) {
		rc = -EPROTO;
	}
	if (rc != 0) {
		wire_close(conn);
	}
	return rc;
}

int wire_open(struct wire_conn *conn, struct sim *sim, struct sim_host *host,
	struct xr_reactor *reactor, const char *address, uint16_t port)
{
	int rc = wire_open_bare(conn, sim, host, reactor, address, port);

	return rc == 0 ? wire_begin(conn, 0) : rc;
}

void wire_close(struct wire_conn *conn)
{
	if (conn->fd >= 0) {
		conn->platform->close(conn->platform, conn->fd);
		conn->fd = -1;
	}
}

/* ---- commands ---- */

int wire_recv_pdu(struct wire_conn *conn, union wire_pdu *ret_pdu)
{
	return recv_all(conn, ret_pdu, sizeof(*ret_pdu));
}

int wire_recv_data(struct wire_conn *conn, void *buf, uint32_t len)
{
	return recv_all(conn, buf, len);
}

int wire_send_data(
	struct wire_conn *conn, const struct nvme_tcp_r2t *r2t, const void *out, uint32_t len)
{
	struct nvme_tcp_data data = {.hdr = {NVME_TCP_H2C_DATA, NVME_TCP_F_LAST, sizeof(data),
					     sizeof(data), (uint32_t)sizeof(data) + r2t->r2tl},
		.cccid = r2t->cccid,
		.ttag = r2t->ttag,
		.datao = r2t->r2to,
		.datal = r2t->r2tl};

	return send_both(conn, &data, sizeof(data), (const char *)out + r2t->r2to, len);
}

static struct wire_result failed(int error)
{
	return (struct wire_result){.error = error};
}

struct wire_result wire_finish(
	struct wire_conn *conn, uint16_t cid, const void *out, void *in, uint32_t in_len)
{
	uint32_t got = 0;

	for (;;) {
		union wire_pdu pdu;
		int rc = wire_recv_pdu(conn, &pdu);

		if (rc != 0) {
			return failed(rc);
		}
		if (pdu.hdr.type == NVME_TCP_RSP) {
			const struct nvme_cpl *cpl = &pdu.rsp.cqe;

			if (cpl->cid != cid || (cpl->status == 0 && got != in_len)) {
				return failed(-EPROTO);
			}
			return (struct wire_result){.status = cpl->status, .dw0 = cpl->dw0};
		}
		if (pdu.hdr.type == NVME_TCP_C2H_DATA) {
			if (pdu.data.datao != got || pdu.data.datal > in_len - got) {
				return failed(-EPROTO);
			}
			rc = wire_recv_data(conn, (char *)in + got, pdu.data.datal);
			got += pdu.data.datal;
		} else if (pdu.hdr.type == NVME_TCP_R2T && out != NULL && pdu.r2t.cccid == cid) {
			rc = wire_send_data(conn, &pdu.r2t, out, pdu.r2t.r2tl);
		} else {
			rc = -EPROTO;
		}
		if (rc != 0) {
			return failed(rc);
		}
	}
}

int wire_send_cmd(struct wire_conn *conn, struct nvme_cmd *cmd, const void *icd, uint32_t len)
{
	uint32_t icd_len = icd != NULL ? len : 0;
	struct nvme_tcp_cmd pdu = {
		.hdr = {NVME_TCP_CMD, 0, sizeof(pdu), icd_len != 0 ? sizeof(pdu) : 0,
			(uint32_t)sizeof(pdu) + icd_len}};

	cmd->cid = conn->next_cid++;
	cmd->flags = 0x40;
	cmd->sgl.type = icd_len != 0 ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT_DATA;
	cmd->sgl.len = len;
	pdu.sqe = *cmd;
	return send_both(conn, &pdu, sizeof(pdu), icd, icd_len);
}

struct wire_result wire_command(struct wire_conn *conn, struct nvme_cmd *cmd, const void *out,
	uint32_t out_len, void *in, uint32_t in_len)
{
	const void *icd = out_len <= NVME_TCP_ADMIN_ICD ? out : NULL;
	int rc = wire_send_cmd(conn, cmd, icd, out_len != 0 ? out_len : in_len);

	return rc != 0 ? failed(rc) : wire_finish(conn, cmd->cid, out, in, in_len);
}

struct nvme_cmd wire_connect_cmd(
	const struct wire_connect_opts *opts, struct nvme_connect_data *ret_data)
{
	union {
		struct nvme_connect_cmd connect;
		struct nvme_cmd cmd;
	} u = {.connect = {.opc = NVME_FABRICS,
		       .fctype = NVME_FCTYPE_CONNECT,
		       .qid = opts->qid,
		       .sqsize = 31}};

	if (opts->qid == 0) {
		u.connect.kato = opts->kato_ms != 0 ? opts->kato_ms : 30000;
		u.connect.cattr = (opts->has_queue_deletion ? NVME_CATTR_QUEUE_DELETION : 0) |
				  (opts->is_discovery ? NVME_CATTR_DISCOVERY : 0);
	}
	*ret_data = (struct nvme_connect_data){
		.hostid = {1, (uint8_t)opts->host, (uint8_t)(opts->host >> 8)},
		.cntlid = opts->qid != 0 ? opts->cntlid : 0xffff};
	strcpy(ret_data->subnqn, opts->nqn);
	snprintf(ret_data->hostnqn, sizeof(ret_data->hostnqn),
		"nqn.2014-08.org.nvmexpress:uuid:11111111-1111-1111-1111-11111111%04x",
		(opts->host + 0x1111u) & 0xffffu);
	return u.cmd;
}

struct wire_result wire_connect_as(struct wire_conn *conn, const struct wire_connect_opts *opts)
{
	struct nvme_connect_data data;
	struct nvme_cmd cmd = wire_connect_cmd(opts, &data);

	return wire_command(conn, &cmd, &data, sizeof(data), NULL, 0);
}

struct wire_result wire_connect(
	struct wire_conn *conn, const char *nqn, uint16_t qid, uint16_t cntlid)
{
	return wire_connect_as(
		conn, &(struct wire_connect_opts){.nqn = nqn, .qid = qid, .cntlid = cntlid});
}

struct wire_result wire_enable(struct wire_conn *conn)
{
	struct nvme_cmd cmd = {.opc = NVME_FABRICS,
		.nsid = NVME_FCTYPE_PROPERTY_SET,
		.cdw11 = NVME_PROP_CC,
		.cdw12 = 0x00460001};

	return wire_command(conn, &cmd, NULL, 0, NULL, 0);
}

struct nvme_cmd wire_io_cmd(uint8_t opc, uint32_t nsid, uint64_t slba, uint32_t len)
{
	return (struct nvme_cmd){.opc = opc,
		.nsid = nsid,
		.cdw10 = (uint32_t)slba,
		.cdw11 = (uint32_t)(slba >> 32),
		.cdw12 = (len >> BLOCK_SHIFT) - 1};
}

struct wire_result wire_write(
	struct wire_conn *conn, uint64_t slba, const void *buf, uint32_t len, bool fua)
{
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_WRITE, 1, slba, len);

	cmd.cdw12 |= fua ? NVME_RW_FUA : 0;
	return wire_command(conn, &cmd, buf, len, NULL, 0);
}

struct wire_result wire_read(struct wire_conn *conn, uint64_t slba, void *buf, uint32_t len)
{
	struct nvme_cmd cmd = wire_io_cmd(NVME_IO_READ, 1, slba, len);

	return wire_command(conn, &cmd, NULL, 0, buf, len);
}

struct wire_result wire_flush(struct wire_conn *conn)
{
	struct nvme_cmd cmd = {.opc = NVME_IO_FLUSH, .nsid = 1};

	return wire_command(conn, &cmd, NULL, 0, NULL, 0);
}
