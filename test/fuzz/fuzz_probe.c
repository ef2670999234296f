/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes what the registry's health probe makes of a peer's answers. The input chooses the probe,
 * then pieces one after another: bytes as they are, the right answer to what was asked, or that
 * with one byte changed. Two probes hear the same, one of them byte by byte, and must agree; a
 * probe goes forward, asks for no more than it has room for, is good only when it came as far as it
 * was to, and says why when it is bad.
 */
#include "lib/xregistry/probe.h"
#include "test/fuzz/fuzz.h"

#define NQN        "nqn.2026-11.io.xsan:one"
#define NR_PIECES  64u
#define ANSWER_MAX 8192u

static uint32_t complete(const struct xreg__probe *probe, uint8_t *answer, uint64_t value)
{
	const struct nvme_tcp_rsp rsp = {
		.hdr = {.type = NVME_TCP_RSP, .hlen = sizeof(rsp), .plen = sizeof(rsp)},
		.cqe = {.dw0 = (uint32_t)value, .dw1 = (uint32_t)(value >> 32), .cid = probe->cid}};

	memcpy(answer, &rsp, sizeof(rsp));
	return sizeof(rsp);
}

static uint32_t identify(const struct xreg__probe *probe, uint8_t *answer)
{
	const struct nvme_tcp_data data = {.hdr = {.type = NVME_TCP_C2H_DATA,
						   .flags = NVME_TCP_F_LAST | NVME_TCP_F_SUCCESS,
						   .hlen = sizeof(data),
						   .pdo = sizeof(data),
						   .plen = sizeof(data) + NVME_IDENTIFY_BYTES},
		.cccid = probe->cid,
		.datal = NVME_IDENTIFY_BYTES};

	memset(answer, 0, sizeof(data) + NVME_IDENTIFY_BYTES);
	memcpy(answer, &data, sizeof(data));
	memcpy(answer + sizeof(data) + offsetof(struct nvme_id_ctrl, subnqn), NQN, sizeof(NQN));
	return sizeof(data) + NVME_IDENTIFY_BYTES;
}

/* What a target would say to the step. */
static uint32_t right_answer(const struct xreg__probe *probe, uint8_t *answer)
{
	const struct nvme_tcp_icresp resp = {
		.hdr = {.type = NVME_TCP_ICRESP, .hlen = sizeof(resp), .plen = sizeof(resp)},
		.cpda = 3};

	switch (probe->step) {
	case XREG__STEP_ICREQ:
		memcpy(answer, &resp, sizeof(resp));
		return sizeof(resp);
	case XREG__STEP_CAP:
		return complete(probe, answer, 1ull << 37);
	case XREG__STEP_READY:
		return complete(probe, answer, NVME_CSTS_RDY);
	case XREG__STEP_IDENTIFY:
		return identify(probe, answer);
	default:
		return complete(probe, answer, 0);
	}
}

static void check(const struct xreg__probe *probe, enum xreg__probe_step before)
{
	bool is_bad = probe->step == XREG__STEP_BAD;

	FUZZ_CHECK(probe->step >= before, "from %u to %u", before, probe->step);
	FUZZ_CHECK(memchr(probe->problem, '\0', sizeof(probe->problem)) != NULL, "no end");
	FUZZ_CHECK((probe->problem[0] != '\0') == is_bad, "'%s'", probe->problem);
	FUZZ_CHECK(probe->failure < XREG_NR_FAILURES, "%u", probe->failure);
	FUZZ_CHECK(probe->out_len <= sizeof(probe->out), "%u", probe->out_len);
	FUZZ_CHECK(probe->head_len < probe->head_want || is_bad, "%u of %u", probe->head_len,
		probe->head_want);
	FUZZ_CHECK(probe->head_want <= sizeof(probe->head), "%u", probe->head_want);
	FUZZ_CHECK(probe->identify_len <= NVME_IDENTIFY_BYTES, "%u", probe->identify_len);
	FUZZ_CHECK(probe->step != XREG__STEP_DONE || probe->reached >= probe->opts.level,
		"good at %u of %u", probe->reached, probe->opts.level);
	FUZZ_CHECK(probe->keep_alive_us == 0 || probe->step == XREG__STEP_DONE, "too early");
}

static void compare(const struct xreg__probe *one, const struct xreg__probe *two)
{
	FUZZ_CHECK(one->step == two->step && one->reached == two->reached &&
			   one->failure == two->failure &&
			   strcmp(one->problem, two->problem) == 0 &&
			   one->out_len == two->out_len &&
			   memcmp(one->out, two->out, one->out_len) == 0,
		"'%s' and byte by byte '%s'", one->problem, two->problem);
}

static void hear(struct xreg__probe *one, struct xreg__probe *two, const uint8_t *bytes,
	uint32_t len, uint64_t now_us)
{
	enum xreg__probe_step before = one->step;
	uint8_t *copy = malloc(len != 0 ? len : 1); /* nothing behind it */

	FUZZ_CHECK(copy != NULL, "out of memory");
	memcpy(copy, bytes, len);
	xreg__probe_input(one, copy, len, now_us);
	for (uint32_t i = 0; i < len; i++) {
		xreg__probe_input(two, copy + i, 1, now_us);
	}
	free(copy);
	fuzz_say("%u bytes: step %u, %s\n", len, one->step, one->problem);
	check(one, before);
	compare(one, two);
}

static void sent(struct xreg__probe *probe, uint64_t now_us)
{
	probe->out_sent = probe->out_len;
	if (probe->pause_us != 0 && probe->pause_us <= now_us) {
		xreg__probe_resume(probe, now_us);
		probe->out_sent = probe->out_len;
	}
}

static void piece(
	struct fuzz_input *in, struct xreg__probe *one, struct xreg__probe *two, uint64_t now_us)
{
	uint8_t answer[ANSWER_MAX], kind = fuzz_u8(in);
	const uint8_t *bytes = answer;
	size_t len;

	if (kind % 3 == 0) {
		bytes = fuzz_take(in, fuzz_u8(in), &len);
	} else {
		len = right_answer(one, answer);
		if (kind % 3 == 1) {
			uint16_t at = fuzz_u16(in);

			answer[at % len] ^= fuzz_u8(in);
		}
	}
	hear(one, two, bytes, (uint32_t)len, now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	uint8_t kind = fuzz_u8(&in);
	const struct xreg__probe_opts opts = {.level = XREG_PROBE_ICRESP + kind % 2,
		.subnqn = NQN,
		.hostnqn = NQN,
		.is_discovery = (kind & 2) != 0};
	struct xreg__probe one, two;
	uint64_t now_us = 1000000;

	xreg__probe_begin(&one, &opts, now_us);
	xreg__probe_begin(&two, &opts, now_us);
	for (uint32_t i = 0; i < NR_PIECES && in.left > 0 && !xreg__probe_is_over(&one); i++) {
		now_us += 30000;
		sent(&one, now_us);
		sent(&two, now_us);
		piece(&in, &one, &two, now_us);
	}
	if (!xreg__probe_is_over(&one)) {
		xreg__probe_fail(&one, XREG_FAILURE_NETWORK_TIMEOUT, "no answer to %s",
			xreg__probe_waits_for(&one));
		check(&one, one.step);
	}
	return 0;
}
