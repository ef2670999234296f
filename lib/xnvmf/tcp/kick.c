/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kick-start connections: a discovery controller that wants its log to be read says where it is.
 *
 *   ICReq with KDCONN -> ICResp -> KDReq -> KDResp -> the peer closes
 *
 * There is no queue in them and no Connect. The request comes as one PDU of a bounded number of
 * records; they are checked for being text and handed on, and whatever the answer is, the
 * connection then has a few seconds to close, like after a termination.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/tcp/private.h"

struct tcp_kick {
	struct tcp_tx tx;
	struct nvme_tcp_kdresp resp;
};

bool tcp_is_kick(const struct tcp_conn *conn, const struct nvme_tcp_icreq *req)
{
	return (req->hdr.flags & NVME_TCP_F_KDCONN) != 0 &&
	       conn->qpair.target->discovery_ops->kick_start != NULL;
}

uint32_t tcp_kick_bytes(const struct nvme_tcp_kdreq *req)
{
	return (uint32_t)sizeof(*req) + req->numkr * (uint32_t)sizeof(struct nvme_tcp_kdrecord);
}

static bool take_text(char *to, size_t size, const char *field, size_t field_bytes)
{
	size_t len = strnlen(field, field_bytes);

	while (len != 0 && field[len - 1] == ' ') {
		len--;
	}
	for (size_t i = 0; i < len; i++) {
		if (field[i] <= ' ' || field[i] > '~') {
			return false;
		}
	}
	memcpy(to, field, len < size ? len : size - 1);
	to[len < size ? len : size - 1] = '\0';
	return len != 0;
}

/* Hands the records on; those that are no text make the whole of it be refused. */
static enum xnvmf_kick_result ask(struct tcp_conn *conn, const struct nvme_tcp_kdreq *req)
{
	const struct nvme_tcp_kdrecord *wire = (const struct nvme_tcp_kdrecord *)(req + 1);
	struct xnvmf_target *target = conn->qpair.target;
	struct xnvmf_kick_record *records = calloc(req->numkr, sizeof(*records));
	char address[XR_ADDRESS_SIZE] = "";
	struct xnvmf_kick_start kick = {.address = address,
		.nr_entries = req->numdie,
		.nr_records = req->numkr,
		.records = records};
	enum xnvmf_kick_result result;
	bool is_text = records != NULL;
	uint16_t port;

	conn->qpair.transport->address(&conn->qpair, true, address, &port);
	for (uint32_t i = 0; is_text && i < req->numkr; i++) {
		records[i].trtype = wire[i].trtype;
		records[i].adrfam = wire[i].adrfam;
		is_text = take_text(records[i].trsvcid, sizeof(records[i].trsvcid), wire[i].trsvcid,
				  sizeof(wire[i].trsvcid)) &&
			  take_text(records[i].address, sizeof(records[i].address), wire[i].traddr,
				  sizeof(wire[i].traddr));
	}
	result = records == NULL ? XNVMF_KICK_FULL
		 : is_text       ? target->discovery_ops->kick_start(target->discovery_arg, &kick)
				 : XNVMF_KICK_NO_INFORMATION;
	free(records);
	return result;
}

static void on_kdresp_sent(struct tcp_conn *conn, struct tcp_tx *tx)
{
	(void)conn;
	(void)tx;
}

void tcp_kick(struct tcp_conn *conn, const struct nvme_tcp_kdreq *req)
{
	const struct xnvmf_target *target = conn->qpair.target;
	enum xnvmf_kick_result result;
	struct tcp_kick *kick;

	/* Of a target that stops the discovery service may be gone already. */
	kick = target->is_stopping ? NULL : calloc(1, sizeof(*kick));
	if (kick == NULL) {
		tcp_conn_close(conn, "no memory for a kick-start, or the target stops");
		return;
	}
	conn->kick = kick;
	result = ask(conn, req);
	kick->resp.hdr.type = NVME_TCP_KDRESP;
	kick->resp.hdr.hlen = NVME_TCP_KDRESP_HLEN;
	kick->resp.hdr.plen = sizeof(kick->resp);
	kick->resp.ksstat = result != XNVMF_KICK_TAKEN;
	kick->resp.failrsn = (uint8_t)result;
	strcpy(kick->resp.cdcnqn, target->discovery->nqn);
	kick->tx.iov[0] = (struct iovec){&kick->resp, sizeof(kick->resp)};
	kick->tx.nr_iov = 1;
	kick->tx.sent = on_kdresp_sent;
	tcp_tx_queue(conn, &kick->tx);
	tcp_conn_end_after_send(conn);
}

void tcp_kick_free(struct tcp_conn *conn)
{
	free(conn->kick);
}
