/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The protocol of a probe: one step after another, each a PDU that is sent and an answer that is
 * looked at field by field. Whatever else comes ends the probe with what was wrong with it. Nothing
 * is kept of Identify but the name; a peer cannot make it take memory, nor keep it longer than the
 * prober's time-out.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/xregistry/probe.h"

#define KATO_MS       120000u
#define PAUSE_US      20000u
#define SQ_SIZE       32u
#define HEAD_SIZE     ((uint32_t)sizeof(struct nvme_tcp_hdr))
#define SUBNQN_OFFSET ((uint32_t)offsetof(struct nvme_id_ctrl, subnqn))

#define STATUS_AUTH_REQUIRED NVME_STATUS(1u, 0x91u)
#define AUTHREQ(dw0)         ((dw0) >> 16) /* of Connect's completion (Base 6.3) */

static const char *const step_names[] = {
	[XREG__STEP_ICREQ] = "ICReq",
	[XREG__STEP_CONNECT] = "Connect",
	[XREG__STEP_CAP] = "Property Get of CAP",
	[XREG__STEP_ENABLE] = "Property Set of CC",
	[XREG__STEP_READY] = "Property Get of CSTS",
	[XREG__STEP_IDENTIFY] = "Identify",
	[XREG__STEP_KEEP_ALIVE] = "Keep Alive",
	[XREG__STEP_DONE] = "nothing",
	[XREG__STEP_BAD] = "nothing",
};

const char *xreg__probe_waits_for(const struct xreg__probe *probe)
{
	return step_names[probe->step];
}

void xreg__probe_fail(struct xreg__probe *probe, enum xreg_failure_type type, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(probe->problem, sizeof(probe->problem), fmt, args);
	va_end(args);
	probe->failure = type;
	probe->step = XREG__STEP_BAD;
	probe->pause_us = 0;
}

#define bad_protocol(probe, ...) xreg__probe_fail(probe, XREG_FAILURE_PROTOCOL_ERROR, __VA_ARGS__)

/* ---- what is sent ---- */

static void put_icreq(struct xreg__probe *probe)
{
	const struct nvme_tcp_icreq req = {
		.hdr = {.type = NVME_TCP_ICREQ, .hlen = sizeof(req), .plen = sizeof(req)}};

	memcpy(probe->out, &req, sizeof(req));
	probe->out_len = sizeof(req);
	probe->out_sent = 0;
}

static void put_command(struct xreg__probe *probe, struct nvme_cmd *cmd)
{
	struct nvme_tcp_cmd pdu = {
		.hdr = {.type = NVME_TCP_CMD, .hlen = sizeof(pdu), .plen = sizeof(pdu)}};

	cmd->flags = NVME_PSDT_SGL;
	cmd->cid = ++probe->cid;
	pdu.sqe = *cmd;
	memcpy(probe->out, &pdu, sizeof(pdu));
	probe->out_len = sizeof(pdu);
	probe->out_sent = 0;
}

/* With its data in the capsule, where the target wants it to begin. */
static void put_connect(struct xreg__probe *probe)
{
	uint32_t unit = (probe->cpda + 1u) * 4u;
	uint32_t at = (uint32_t)(sizeof(struct nvme_tcp_cmd) + unit - 1) / unit * unit;
	struct nvme_connect_data data = {.cntlid = 0xffff};
	struct nvme_connect_cmd cmd = {.opc = NVME_FABRICS,
		.flags = NVME_PSDT_SGL,
		.cid = ++probe->cid,
		.fctype = NVME_FCTYPE_CONNECT,
		.sgl = {.len = sizeof(data), .type = NVME_SGL_DATA_OFFSET},
		.sqsize = SQ_SIZE - 1,
		.kato = probe->opts.is_discovery ? 0 : KATO_MS};
	struct nvme_tcp_hdr hdr = {.type = NVME_TCP_CMD,
		.hlen = sizeof(struct nvme_tcp_cmd),
		.pdo = (uint8_t)at,
		.plen = at + (uint32_t)sizeof(data)};

	memcpy(data.hostid, probe->opts.hostid, sizeof(data.hostid));
	snprintf(data.subnqn, sizeof(data.subnqn), "%s", probe->opts.subnqn);
	snprintf(data.hostnqn, sizeof(data.hostnqn), "%s", probe->opts.hostnqn);
	memset(probe->out, 0, sizeof(probe->out));
	memcpy(probe->out, &hdr, sizeof(hdr));
	memcpy(probe->out + sizeof(hdr), &cmd, sizeof(cmd));
	memcpy(probe->out + at, &data, sizeof(data));
	probe->out_len = hdr.plen;
	probe->out_sent = 0;
}

static void put_property(struct xreg__probe *probe, uint32_t offset, bool is_64)
{
	put_command(probe, &(struct nvme_cmd){.opc = NVME_FABRICS,
				   .nsid = NVME_FCTYPE_PROPERTY_GET,
				   .cdw10 = is_64,
				   .cdw11 = offset});
}

static void put_enable(struct xreg__probe *probe)
{
	uint32_t cc = NVME_CC_ENTRY_SIZES | NVME_CAP_MPSMIN(probe->cap) << 7 | NVME_CC_EN;

	if (NVME_CAP_CSS(probe->cap) & NVME_CAP_CSS_IOCS) {
		cc |= NVME_CC_CSS_IOCS;
	}
	put_command(probe, &(struct nvme_cmd){.opc = NVME_FABRICS,
				   .nsid = NVME_FCTYPE_PROPERTY_SET,
				   .cdw11 = NVME_PROP_CC,
				   .cdw12 = cc});
}

static void put_identify(struct xreg__probe *probe)
{
	put_command(
		probe, &(struct nvme_cmd){.opc = NVME_ADMIN_IDENTIFY,
			       .sgl = {.len = NVME_IDENTIFY_BYTES, .type = NVME_SGL_TRANSPORT_DATA},
			       .cdw10 = NVME_CNS_CTRL});
}

static void take_step(struct xreg__probe *probe, enum xreg__probe_step step, uint64_t now_us)
{
	probe->step = step;
	probe->sent_us = now_us;
	switch (step) {
	case XREG__STEP_ICREQ:
		put_icreq(probe);
		break;
	case XREG__STEP_CONNECT:
		put_connect(probe);
		break;
	case XREG__STEP_CAP:
		put_property(probe, NVME_PROP_CAP, true);
		break;
	case XREG__STEP_ENABLE:
		put_enable(probe);
		break;
	case XREG__STEP_READY:
		put_property(probe, NVME_PROP_CSTS, false);
		break;
	case XREG__STEP_IDENTIFY:
		put_identify(probe);
		break;
	case XREG__STEP_KEEP_ALIVE:
		put_command(probe, &(struct nvme_cmd){.opc = NVME_ADMIN_KEEP_ALIVE});
		break;
	default:
		break;
	}
}

void xreg__probe_begin(
	struct xreg__probe *probe, const struct xreg__probe_opts *opts, uint64_t now_us)
{
	memset(probe, 0, sizeof(*probe));
	probe->opts = *opts;
	probe->head_want = HEAD_SIZE;
	take_step(probe, XREG__STEP_ICREQ, now_us);
}

void xreg__probe_resume(struct xreg__probe *probe, uint64_t now_us)
{
	if (probe->pause_us != 0) {
		probe->pause_us = 0;
		take_step(probe, XREG__STEP_READY, now_us);
	}
}

/* ---- what comes of a completion ---- */

static void refuse(struct xreg__probe *probe, uint16_t status)
{
	enum xreg_failure_type type = XREG_FAILURE_UNKNOWN;
	const char *why = "";
	uint16_t code = status & (uint16_t) ~(NVME_DNR | 0x7001u);

	switch (code) {
	case NVME_SC_CONNECT_HOST & ~NVME_DNR:
		type = XREG_FAILURE_AUTHENTICATION;
		why = ": this registry's host NQN is not allowed";
		break;
	case STATUS_AUTH_REQUIRED:
		type = XREG_FAILURE_AUTHENTICATION;
		why = ": it wants authentication";
		break;
	case NVME_SC_CONNECT_PARAM & ~NVME_DNR:
		why = ": there is no such subsystem, or it is not here";
		break;
	case NVME_SC_CONNECT_BUSY:
		type = XREG_FAILURE_RESOURCE_EXHAUSTION;
		why = ": it has no controller left";
		break;
	case NVME_SC_INTERNAL:
		type = XREG_FAILURE_HARDWARE_ERROR;
		why = ": an internal error";
		break;
	default:
		if (NVME_STATUS_SCT(status) == 2) {
			type = XREG_FAILURE_HARDWARE_ERROR;
		}
		break;
	}
	xreg__probe_fail(probe, type, "%s was refused with status %x/%02x%s",
		step_names[probe->step], NVME_STATUS_SCT(status), NVME_STATUS_SC(status), why);
}

static void on_connected(struct xreg__probe *probe, uint32_t dw0, uint64_t now_us)
{
	if (AUTHREQ(dw0) != 0) {
		xreg__probe_fail(probe, XREG_FAILURE_AUTHENTICATION,
			"Connect was answered with a wish for authentication (%x)", AUTHREQ(dw0));
		return;
	}
	take_step(probe, XREG__STEP_CAP, now_us);
}

static void on_ready(struct xreg__probe *probe, uint32_t csts, uint64_t now_us)
{
	if (csts & NVME_CSTS_CFS) {
		xreg__probe_fail(probe, XREG_FAILURE_HARDWARE_ERROR,
			"the controller has a fatal error (CSTS %x)", csts);
	} else if (csts & NVME_CSTS_RDY) {
		take_step(probe, XREG__STEP_IDENTIFY, now_us);
	} else {
		probe->pause_us = now_us + PAUSE_US;
	}
}

static void on_identified(struct xreg__probe *probe, uint64_t now_us)
{
	if (probe->identify_len != NVME_IDENTIFY_BYTES) {
		bad_protocol(probe, "Identify came with %u of %u bytes", probe->identify_len,
			NVME_IDENTIFY_BYTES);
		return;
	}
	probe->subnqn[NVME_NQN_FIELD - 1] = '\0';
	if (!probe->opts.is_discovery && strcmp(probe->subnqn, probe->opts.subnqn) != 0) {
		bad_protocol(probe, "Identify names another subsystem than was asked for");
		return;
	}
	probe->reached = XREG_PROBE_IDENTIFY;
	take_step(
		probe, probe->opts.is_discovery ? XREG__STEP_DONE : XREG__STEP_KEEP_ALIVE, now_us);
}

static void on_completed(struct xreg__probe *probe, const struct nvme_cpl *cqe, uint64_t now_us)
{
	uint64_t took_us = now_us - probe->sent_us;

	switch (probe->step) {
	case XREG__STEP_CONNECT:
		on_connected(probe, cqe->dw0, now_us);
		break;
	case XREG__STEP_CAP:
		probe->cap = (uint64_t)cqe->dw1 << 32 | cqe->dw0;
		take_step(probe, XREG__STEP_ENABLE, now_us);
		break;
	case XREG__STEP_ENABLE:
		take_step(probe, XREG__STEP_READY, now_us);
		break;
	case XREG__STEP_READY:
		on_ready(probe, cqe->dw0, now_us);
		break;
	case XREG__STEP_IDENTIFY:
		on_identified(probe, now_us);
		break;
	default: /* Keep Alive */
		probe->keep_alive_us = took_us == 0 ? 1 : (uint32_t)took_us;
		probe->step = XREG__STEP_DONE;
		break;
	}
}

static void on_response(struct xreg__probe *probe, uint64_t now_us)
{
	struct nvme_tcp_rsp rsp;
	uint16_t status;

	memcpy(&rsp, probe->head, sizeof(rsp));
	status = rsp.cqe.status & (uint16_t)~1u;
	if (probe->step == XREG__STEP_ICREQ || probe->pause_us != 0 || rsp.cqe.cid != probe->cid ||
		probe->out_sent < probe->out_len) {
		bad_protocol(probe, "a completion came that nothing had asked for");
	} else if (probe->step == XREG__STEP_KEEP_ALIVE && status != 0 &&
		   NVME_STATUS_SCT(status) == 0 && NVME_STATUS_SC(status) == 1) {
		probe->step = XREG__STEP_DONE; /* it does without Keep Alive */
	} else if (NVME_STATUS_SCT(status) != 0 || NVME_STATUS_SC(status) != 0) {
		refuse(probe, status);
	} else {
		on_completed(probe, &rsp.cqe, now_us);
	}
}

/* ---- what comes ---- */

static void on_icresp(struct xreg__probe *probe, uint64_t now_us)
{
	struct nvme_tcp_icresp resp;

	memcpy(&resp, probe->head, sizeof(resp));
	if (probe->step != XREG__STEP_ICREQ) {
		bad_protocol(probe, "a second ICResp came");
	} else if (resp.pfv != 0 || resp.dgst != 0 || resp.cpda > NVME_TCP_MAX_HPDA) {
		bad_protocol(probe, "ICResp has version %u, digests %x and alignment %u", resp.pfv,
			resp.dgst, resp.cpda);
	} else {
		probe->reached = XREG_PROBE_ICRESP;
		probe->cpda = resp.cpda;
		take_step(probe,
			probe->opts.level > XREG_PROBE_ICRESP ? XREG__STEP_CONNECT
							      : XREG__STEP_DONE,
			now_us);
	}
}

static void on_terminated(struct xreg__probe *probe)
{
	struct nvme_tcp_term term;

	memcpy(&term, probe->head, sizeof(term));
	bad_protocol(
		probe, "%s ended the connection with error %u", step_names[probe->step], term.fes);
}

static void on_data_head(struct xreg__probe *probe)
{
	struct nvme_tcp_data data;

	memcpy(&data, probe->head, sizeof(data));
	if (probe->step != XREG__STEP_IDENTIFY || data.cccid != probe->cid ||
		probe->is_identify_done) {
		bad_protocol(probe, "data came that nothing had asked for");
	} else if (data.datal == 0 || data.datao != probe->identify_len ||
		   data.datal > NVME_IDENTIFY_BYTES - probe->identify_len ||
		   data.hdr.pdo < sizeof(data) || data.hdr.plen != data.hdr.pdo + data.datal) {
		bad_protocol(probe, "data of %u bytes came for byte %u, in a PDU of %u", data.datal,
			data.datao, data.hdr.plen);
	} else {
		probe->pad_left = (uint32_t)(data.hdr.pdo - sizeof(data));
		probe->data_left = data.datal;
		probe->is_identify_done = (data.hdr.flags & NVME_TCP_F_SUCCESS) != 0;
	}
}

static void on_head(struct xreg__probe *probe, uint64_t now_us)
{
	switch (probe->head[0]) {
	case NVME_TCP_ICRESP:
		on_icresp(probe, now_us);
		break;
	case NVME_TCP_RSP:
		on_response(probe, now_us);
		break;
	case NVME_TCP_C2H_DATA:
		on_data_head(probe);
		break;
	default:
		on_terminated(probe);
		break;
	}
}

/* The length of each header that may come; 0: none such. */
static uint32_t head_size(uint8_t type)
{
	switch (type) {
	case NVME_TCP_ICRESP:
		return sizeof(struct nvme_tcp_icresp);
	case NVME_TCP_C2H_TERM:
		return sizeof(struct nvme_tcp_term);
	case NVME_TCP_RSP:
		return sizeof(struct nvme_tcp_rsp);
	case NVME_TCP_C2H_DATA:
		return sizeof(struct nvme_tcp_data);
	default:
		return 0;
	}
}

static void on_common_head(struct xreg__probe *probe)
{
	struct nvme_tcp_hdr hdr;
	uint32_t size;

	memcpy(&hdr, probe->head, sizeof(hdr));
	size = head_size(hdr.type);
	if (size == 0 || hdr.hlen != size || hdr.plen < size) {
		bad_protocol(probe,
			"what came is not NVMe/TCP, or not what a target says: type %02x, header "
			"of %u bytes, length %u",
			hdr.type, hdr.hlen, hdr.plen);
	} else if (hdr.type != NVME_TCP_C2H_DATA && hdr.type != NVME_TCP_C2H_TERM &&
		   hdr.plen != size) {
		bad_protocol(probe, "a PDU of type %02x has %u bytes", hdr.type, hdr.plen);
	} else {
		probe->head_want = size;
	}
}

/* Of Identify nothing is kept but the bytes of SUBNQN. */
static void take_data(struct xreg__probe *probe, const uint8_t *data, uint32_t len)
{
	uint32_t at = probe->identify_len;

	for (uint32_t i = 0; i < len; i++, at++) {
		if (at >= SUBNQN_OFFSET && at < SUBNQN_OFFSET + NVME_NQN_FIELD) {
			probe->subnqn[at - SUBNQN_OFFSET] = (char)data[i];
		}
	}
	probe->identify_len = at;
}

static uint32_t smaller(uint32_t a, size_t b)
{
	return a < b ? a : (uint32_t)b;
}

/* Takes the next piece; returns how much of it. */
static uint32_t take_piece(
	struct xreg__probe *probe, const uint8_t *data, size_t len, uint64_t now_us)
{
	uint32_t count;

	if (probe->pad_left > 0) {
		count = smaller(probe->pad_left, len);
		probe->pad_left -= count;
		return count;
	}
	if (probe->data_left > 0) {
		count = smaller(probe->data_left, len);
		take_data(probe, data, count);
		probe->data_left -= count;
		if (probe->data_left == 0 && probe->is_identify_done) {
			on_identified(probe, now_us);
		}
		return count;
	}
	count = smaller(probe->head_want - probe->head_len, len);
	memcpy(probe->head + probe->head_len, data, count);
	probe->head_len += count;
	if (probe->head_len == HEAD_SIZE && probe->head_want == HEAD_SIZE) {
		on_common_head(probe);
	} else if (probe->head_len == probe->head_want) {
		probe->head_len = 0;
		probe->head_want = HEAD_SIZE;
		on_head(probe, now_us);
	}
	return count;
}

void xreg__probe_input(struct xreg__probe *probe, const uint8_t *data, size_t len, uint64_t now_us)
{
	while (len > 0 && !xreg__probe_is_over(probe)) {
		uint32_t count = take_piece(probe, data, len, now_us);

		data += count;
		len -= count;
	}
}
