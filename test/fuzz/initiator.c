/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building PDUs, and judging those that come back (NVMe/TCP Transport 1.0, section 3.6). What the
 * judge expects of the order of things holds only while what was sent is right (is_wrong).
 */
#include "test/fuzz/initiator.h"

#include "lib/util/crc32c.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/net.h"

#define PDU_MAX      (2u << 20) /* of the target: 1 MiB of data is its limit */
#define HEADER_MAX   (255u + 8u)
#define FILL         0x3c
#define TERM_PDU_MAX (sizeof(struct nvme_tcp_term) + NVME_TCP_TERM_DATA_MAX)

/* ---- sending ---- */

void initiator_send_raw(struct initiator *in, const void *data, size_t len)
{
	if (in->sock != NULL && len != 0) {
		in->is_wrong = true;
		net_send(in->sock, data, len);
	}
}

static uint32_t digest(const void *data, size_t len, bool is_wrong, uint8_t delta)
{
	return xu_crc32c(data, len) ^ (is_wrong ? delta | 1u : 0);
}

static void apply_flaw(struct nvme_tcp_hdr *hdr, struct flaw flaw)
{
	switch (flaw.kind) {
	case FLAW_FLAGS:
		hdr->flags ^= flaw.delta;
		break;
	case FLAW_HLEN:
		hdr->hlen = (uint8_t)(hdr->hlen + flaw.delta);
		break;
	case FLAW_PDO:
		hdr->pdo = (uint8_t)(hdr->pdo + flaw.delta);
		break;
	case FLAW_PLEN:
		hdr->plen += (flaw.delta & 1u) != 0 ? (uint32_t)flaw.delta << 24 : flaw.delta;
		break;
	default:
		break;
	}
}

void initiator_send_pdu(struct initiator *in, uint8_t type, uint8_t flags, const void *body,
	size_t body_len, const void *data, size_t data_len, struct flaw flaw)
{
	bool has_digests = type == NVME_TCP_CMD || type == NVME_TCP_H2C_DATA;
	bool has_hdgst = has_digests && (in->dgst & NVME_TCP_DGST_HEADER) != 0;
	bool has_ddgst = has_digests && data_len != 0 && (in->dgst & NVME_TCP_DGST_DATA) != 0;
	static uint8_t pdu[HEADER_MAX + INITIATOR_MAX_DATA + 2 * NVME_TCP_DIGEST_BYTES];
	struct nvme_tcp_hdr *hdr = (struct nvme_tcp_hdr *)pdu;
	size_t len = sizeof(*hdr) + body_len, digest_at = len, data_at;
	uint32_t crc;

	if (in->sock == NULL) {
		return;
	}
	FUZZ_CHECK(body_len <= 255 && data_len <= INITIATOR_MAX_DATA, "the fuzzer is wrong");
	memcpy(pdu + sizeof(*hdr), body, body_len);
	len += has_hdgst ? NVME_TCP_DIGEST_BYTES : 0;
	data_at = len;
	if (data_len != 0) {
		memcpy(pdu + data_at, data, data_len);
		len += data_len + (has_ddgst ? NVME_TCP_DIGEST_BYTES : 0);
	}
	*hdr = (struct nvme_tcp_hdr){
		.type = type,
		.flags = flags | (has_hdgst ? NVME_TCP_F_HDGST : 0) |
			 (has_ddgst ? NVME_TCP_F_DDGST : 0),
		.hlen = (uint8_t)(sizeof(*hdr) + body_len),
		.pdo = (uint8_t)(data_len != 0 ? data_at : 0),
		.plen = (uint32_t)len,
	};
	apply_flaw(hdr, flaw);
	if (has_hdgst) {
		crc = digest(pdu, digest_at, flaw.kind == FLAW_HEADER_DIGEST, flaw.delta);
		memcpy(pdu + digest_at, &crc, sizeof(crc));
	}
	if (has_ddgst) {
		crc = digest(data, data_len, flaw.kind == FLAW_DATA_DIGEST, flaw.delta);
		memcpy(pdu + len - sizeof(crc), &crc, sizeof(crc));
	}
	if (flaw.kind == FLAW_CUT && flaw.delta < len) {
		len = flaw.delta;
	}
	in->is_wrong |= flaw.kind != FLAW_NONE && flaw.kind != FLAW_DATA_DIGEST;
	fuzz_say("host %u sends type %02x flags %02x hlen %u pdo %u plen %u%s\n", in->index, type,
		hdr->flags, hdr->hlen, hdr->pdo, hdr->plen, in->is_wrong ? " (wrong)" : "");
	net_send(in->sock, pdu, len);
}

void initiator_send_icreq(
	struct initiator *in, uint16_t pfv, uint8_t hpda, uint8_t dgst, struct flaw flaw)
{
	struct nvme_tcp_icreq req = {.pfv = pfv, .hpda = hpda, .dgst = dgst};

	in->is_wrong |= in->has_icreq || pfv != 0 || hpda > NVME_TCP_MAX_HPDA;
	initiator_send_pdu(in, NVME_TCP_ICREQ, 0, (uint8_t *)&req + sizeof(req.hdr),
		sizeof(req) - sizeof(req.hdr), NULL, 0, flaw);
	if (!in->is_wrong) {
		in->has_icreq = true;
		in->dgst = dgst & (NVME_TCP_DGST_HEADER | NVME_TCP_DGST_DATA);
		in->hpda = hpda;
	}
}

void initiator_send_cmd(struct initiator *in, const struct nvme_cmd *cmd, const void *data,
	size_t data_len, struct flaw flaw)
{
	struct nvme_cmd own = *cmd;

	own.cid = (uint16_t)((own.cid & 0xffu) | (uint16_t)in->index << 8);
	fuzz_say("command %04x: opcode %02x nsid %x sgl %u/%02x dw %x %x %x\n", own.cid, own.opc,
		own.nsid, own.sgl.len, own.sgl.type, own.cdw10, own.cdw11, own.cdw12);
	in->is_wrong |= !in->has_icreq;
	initiator_send_pdu(in, NVME_TCP_CMD, 0, &own, sizeof(own), data, data_len, flaw);
	in->nr_commands[own.cid & 0xffu]++;
	in->nr_aers += own.opc == NVME_ADMIN_ASYNC_EVENT;
	if (own.opc == NVME_FABRICS && NVME_CMD_FCTYPE(&own) == NVME_FCTYPE_PROPERTY_SET) {
		in->may_reset |= (own.cdw12 & NVME_CC_EN) == 0;
	}
	if (own.opc == NVME_FABRICS && NVME_CMD_FCTYPE(&own) == NVME_FCTYPE_CONNECT) {
		in->connect_cid = (uint8_t)own.cid;
		in->may_be_admin |= ((const struct nvme_connect_cmd *)&own)->qid == 0;
		in->may_be_no_sqflow |= (((const struct nvme_connect_cmd *)&own)->cattr &
						NVME_CATTR_DISABLE_SQFLOW) != 0;
	}
}

void initiator_send_h2c(struct initiator *in, const struct nvme_tcp_data *fields, const void *data,
	struct flaw flaw)
{
	initiator_send_pdu(in, NVME_TCP_H2C_DATA, fields->hdr.flags,
		(const uint8_t *)fields + sizeof(fields->hdr),
		sizeof(*fields) - sizeof(fields->hdr), data, fields->datal, flaw);
}

bool initiator_answer(struct initiator *in, uint32_t max, struct flaw flaw)
{
	static uint8_t data[INITIATOR_MAX_DATA];
	struct initiator_r2t *r2t = &in->r2ts[0];
	struct nvme_tcp_data fields;
	uint32_t len;

	if (in->nr_r2ts == 0) {
		return false;
	}
	len = r2t->len - r2t->done < max ? r2t->len - r2t->done : max;
	memset(data, FILL, len);
	fields = (struct nvme_tcp_data){
		.cccid = r2t->cccid,
		.ttag = r2t->ttag,
		.datao = r2t->offset + r2t->done,
		.datal = len,
	};
	r2t->done += len;
	if (r2t->done == r2t->len) {
		fields.hdr.flags = NVME_TCP_F_LAST;
		in->nr_r2ts--;
		memmove(in->r2ts, in->r2ts + 1, in->nr_r2ts * sizeof(in->r2ts[0]));
	}
	initiator_send_h2c(in, &fields, data, flaw);
	return true;
}

/* ---- judging ---- */

/* The fuzzer must not learn the marker from this comparison, or it would write it itself. */
#if defined(__clang__)
__attribute__((no_sanitize("coverage")))
#endif
static bool
has_marker(const uint8_t *data, size_t len)
{
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		if (word == INITIATOR_MARKER) {
			return true;
		}
	}
	return false;
}

static void judge_completion(struct initiator *in, uint16_t cid)
{
	uint8_t low = (uint8_t)cid;

	if (in->is_wrong) {
		return;
	}
	FUZZ_CHECK(cid >> 8 == in->index, "a completion of command %04x on connection %u", cid,
		in->index);
	FUZZ_CHECK(in->nr_completions[low] < in->nr_commands[low],
		"command %04x was completed more often than it was sent", cid);
	in->nr_completions[low]++;
}

static void judge_icresp(struct initiator *in, const uint8_t *pdu)
{
	const struct nvme_tcp_icresp *resp = (const struct nvme_tcp_icresp *)pdu;

	FUZZ_CHECK(!in->has_icresp, "a second ICResp");
	FUZZ_CHECK(resp->hdr.hlen == sizeof(*resp) && resp->hdr.plen == sizeof(*resp) &&
			   resp->pfv == 0 && resp->cpda <= NVME_TCP_MAX_HPDA,
		"ICResp");
	FUZZ_CHECK(resp->maxh2cdata >= 4096 && resp->maxh2cdata % 4 == 0, "MAXH2CDATA %u",
		resp->maxh2cdata);
	FUZZ_CHECK(in->is_wrong || resp->dgst == in->dgst, "digests %u", resp->dgst);
	in->dgst = resp->dgst;
	in->has_icresp = true;
	in->max_h2c_data = resp->maxh2cdata;
}

static void judge_term(struct initiator *in, const uint8_t *pdu)
{
	const struct nvme_tcp_term *term = (const struct nvme_tcp_term *)pdu;

	FUZZ_CHECK(term->hdr.hlen == sizeof(*term) && term->hdr.plen >= sizeof(*term) &&
			   term->hdr.plen <= TERM_PDU_MAX,
		"C2HTermReq");
	FUZZ_CHECK(term->fes >= NVME_TCP_FES_HEADER_FIELD && term->fes <= NVME_TCP_FES_UNSUPPORTED,
		"fatal error status %u", term->fes);
	in->is_terminated = true;
}

static void judge_rsp(struct initiator *in, const uint8_t *pdu)
{
	const struct nvme_tcp_rsp *rsp = (const struct nvme_tcp_rsp *)pdu;
	uint32_t digest_bytes = (in->dgst & NVME_TCP_DGST_HEADER) ? NVME_TCP_DIGEST_BYTES : 0;

	FUZZ_CHECK(rsp->hdr.plen == sizeof(*rsp) + digest_bytes && rsp->hdr.pdo == 0,
		"PLEN %u of a completion", rsp->hdr.plen);
	fuzz_say("  completion of %04x: status %04x, DW0 %08x\n", rsp->cqe.cid, rsp->cqe.status,
		rsp->cqe.dw0);
	FUZZ_CHECK((rsp->cqe.status & 1u) == 0, "phase tag in a completion");
	judge_completion(in, rsp->cqe.cid);
	if ((rsp->cqe.cid & 0xffu) == in->connect_cid && rsp->cqe.status == 0 && in->cntlid == 0) {
		in->cntlid = (uint16_t)rsp->cqe.dw0;
	}
}

static void judge_data(struct initiator *in, const uint8_t *pdu)
{
	const struct nvme_tcp_data *data = (const struct nvme_tcp_data *)pdu;
	uint32_t digest_bytes = (in->dgst & NVME_TCP_DGST_DATA) ? NVME_TCP_DIGEST_BYTES : 0;
	uint32_t header_bytes =
		(in->dgst & NVME_TCP_DGST_HEADER) ? data->hdr.hlen + 4u : data->hdr.hlen;
	uint32_t crc;

	FUZZ_CHECK(data->hdr.pdo >= header_bytes && data->datal != 0 &&
			   data->hdr.plen == data->hdr.pdo + data->datal + digest_bytes,
		"C2HData: PDO %u, PLEN %u, DATAL %u", data->hdr.pdo, data->hdr.plen, data->datal);
	FUZZ_CHECK(in->is_wrong || data->hdr.pdo % ((in->hpda + 1u) * 4) == 0, "PDO %u, HPDA %u",
		data->hdr.pdo, in->hpda);
	FUZZ_CHECK((data->hdr.flags & NVME_TCP_F_LAST) != 0 && data->datao == 0,
		"C2HData in pieces, which this target does not send");
	FUZZ_CHECK(((data->hdr.flags & NVME_TCP_F_DDGST) != 0) == (digest_bytes != 0),
		"data digest flag");
	if (digest_bytes != 0) {
		memcpy(&crc, pdu + data->hdr.plen - sizeof(crc), sizeof(crc));
		FUZZ_CHECK(crc == xu_crc32c(pdu + data->hdr.pdo, data->datal), "data digest");
	}
	FUZZ_CHECK(!has_marker(pdu + data->hdr.pdo, data->datal),
		"memory that was never filled, in the data of command %04x", data->cccid);
	if (data->hdr.flags & NVME_TCP_F_SUCCESS) {
		FUZZ_CHECK(in->is_wrong || in->may_be_no_sqflow,
			"SUCCESS without having asked for no flow control");
		judge_completion(in, data->cccid);
	}
}

static void judge_r2t(struct initiator *in, const uint8_t *pdu)
{
	const struct nvme_tcp_r2t *r2t = (const struct nvme_tcp_r2t *)pdu;

	fuzz_say("  R2T for %04x: tag %04x, %u at %u\n", r2t->cccid, r2t->ttag, r2t->r2tl,
		r2t->r2to);
	FUZZ_CHECK(r2t->r2tl != 0 && r2t->r2tl <= in->max_h2c_data, "R2TL %u", r2t->r2tl);
	for (uint32_t i = 0; i < in->nr_r2ts && !in->is_wrong; i++) {
		FUZZ_CHECK(in->r2ts[i].ttag != r2t->ttag, "a second R2T of tag %04x", r2t->ttag);
	}
	if (in->nr_r2ts == INITIATOR_MAX_R2TS) {
		in->is_wrong = true; /* it will never be answered */
		return;
	}
	in->r2ts[in->nr_r2ts++] = (struct initiator_r2t){
		.cccid = r2t->cccid,
		.ttag = r2t->ttag,
		.offset = r2t->r2to,
		.len = r2t->r2tl,
	};
}

struct pdu_judge {
	void (*judge)(struct initiator *in, const uint8_t *pdu);
	uint8_t hlen;
	bool has_digest;
	bool is_first; /* of the connection */
};

static const struct pdu_judge judges[16] = {
	[NVME_TCP_ICRESP] = {judge_icresp, sizeof(struct nvme_tcp_icresp), false, true},
	[NVME_TCP_C2H_TERM] = {judge_term, sizeof(struct nvme_tcp_term), false, false},
	[NVME_TCP_RSP] = {judge_rsp, sizeof(struct nvme_tcp_rsp), true, false},
	[NVME_TCP_C2H_DATA] = {judge_data, sizeof(struct nvme_tcp_data), true, false},
	[NVME_TCP_R2T] = {judge_r2t, sizeof(struct nvme_tcp_r2t), true, false},
};

/* What holds for every PDU. */
static void judge(struct initiator *in, const uint8_t *pdu)
{
	const struct nvme_tcp_hdr *hdr = (const struct nvme_tcp_hdr *)pdu;
	const struct pdu_judge *j = &judges[hdr->type & 0xfu];
	bool has_digest = j->has_digest && (in->dgst & NVME_TCP_DGST_HEADER) != 0;
	uint32_t crc;

	fuzz_say("host %u gets type %02x flags %02x plen %u\n", in->index, hdr->type, hdr->flags,
		hdr->plen);
	FUZZ_CHECK(!in->is_terminated, "a PDU of type %u behind the termination", hdr->type);
	FUZZ_CHECK(hdr->hlen == j->hlen && hdr->plen >= hdr->hlen + (has_digest ? 4u : 0),
		"PDU type %u: HLEN %u, PLEN %u", hdr->type, hdr->hlen, hdr->plen);
	FUZZ_CHECK(in->has_icresp != j->is_first || hdr->type == NVME_TCP_C2H_TERM,
		"PDU type %u out of order", hdr->type);
	FUZZ_CHECK(((hdr->flags & NVME_TCP_F_HDGST) != 0) == has_digest, "header digest flag");
	if (has_digest) {
		memcpy(&crc, pdu + hdr->hlen, sizeof(crc));
		FUZZ_CHECK(crc == xu_crc32c(pdu, hdr->hlen), "header digest");
	}
	j->judge(in, pdu);
}

/* The length of the PDU that begins here; 0 when that is not known yet. */
static size_t pdu_bytes(const uint8_t *data, size_t len)
{
	const struct nvme_tcp_hdr *hdr = (const struct nvme_tcp_hdr *)data;

	if (len < sizeof(*hdr)) {
		return 0;
	}
	FUZZ_CHECK(hdr->type < 16 && judges[hdr->type].judge != NULL, "PDU type %u", hdr->type);
	FUZZ_CHECK(
		hdr->plen >= judges[hdr->type].hlen && hdr->plen <= PDU_MAX, "PLEN %u", hdr->plen);
	return hdr->plen;
}

static void output(void *arg, const uint8_t *data, size_t len)
{
	struct initiator *in = arg;
	size_t need;

	in->nr_bytes += len;
	if (in->rx_len + len > in->rx_room) {
		in->rx_room = 2 * (in->rx_len + len);
		in->rx = realloc(in->rx, in->rx_room);
		FUZZ_CHECK(in->rx != NULL, "out of memory");
	}
	memcpy(in->rx + in->rx_len, data, len);
	in->rx_len += len;
	while ((need = pdu_bytes(in->rx, in->rx_len)) != 0 && need <= in->rx_len) {
		judge(in, in->rx);
		in->rx_len -= need;
		memmove(in->rx, in->rx + need, in->rx_len);
	}
}

uint32_t initiator_nr_lost(const struct initiator *in)
{
	uint32_t count = 0, kept = 0;

	if (in->may_be_admin) {
		/* A reset of the controller forgets those that it has kept. */
		kept = in->nr_aers < INITIATOR_MAX_AERS || in->may_reset ? in->nr_aers
									 : INITIATOR_MAX_AERS;
	}
	for (uint32_t i = 0; i < 256; i++) {
		count += in->nr_commands[i] - in->nr_completions[i];
	}
	return count > kept ? count - kept : 0;
}

bool initiator_is_fine(const struct initiator *in)
{
	return in->sock != NULL && !in->is_wrong && !in->is_terminated && net_is_alive(in->sock);
}

/* ---- life ---- */

bool initiator_open(struct initiator *in, struct net *net, uint16_t port, uint8_t index)
{
	memset(in, 0, sizeof(*in));
	in->index = index;
	in->sock = net_connect(net, port, output, in);
	return in->sock != NULL;
}

void initiator_close(struct initiator *in, bool is_reset)
{
	if (in->sock != NULL) {
		net_end(in->sock, is_reset);
		net_release(in->sock);
	}
	free(in->rx);
	memset(in, 0, sizeof(*in));
}
