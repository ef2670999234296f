/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the NVMe/TCP host: everything that a target may send to it, from ICResp on. One simulated
 * world with the scripted target of the unit tests and a machine with the host's device. The input
 * is a header, how the target is, and then records of five bytes. Some change what the target sends
 * next: a field, a digest, data, a status, order, number, or its end. Others are what goes on
 * meanwhile: I/O, time, events, cuts. Before the first of those the device is made.
 *
 * Findings, besides what the sanitizers see: I/O or a device that never comes to an end once the
 * target is well again, a completion too many, bytes around a buffer that have changed, anything
 * left open.
 */
#include "test/fuzz/fuzz.h"
#include "test/unit/xnvmf/bad_target.h"
#include "test/unit/xnvmf/host_world.h"

#define HEADER_BYTES 4u
#define MAX_FLAWS    48u
#define MAX_RECORDS  64u
#define MAX_IOS      24u
#define MAX_IO_BYTES 65536u
#define GUARD_BYTES  64u
#define GUARD        0xa5
#define END_S        600u

enum record {
	RECORD_XOR,     /* a byte of the header */
	RECORD_SET,     /* four bytes of the header become a small number, or a large one */
	RECORD_PAYLOAD, /* a byte of the data, before its digest */
	RECORD_NOISE,   /* a byte on the wire, behind digests */
	RECORD_DIGEST,
	RECORD_STATUS,
	RECORD_DROP,
	RECORD_TWICE,
	RECORD_CUT,
	RECORD_LENGTH, /* less data than was to come */
	/* From here on: what is done, and not sent. */
	RECORD_IO,
	RECORD_TIME,
	RECORD_EVENT,
	RECORD_CUT_ALL,
	NR_RECORDS
};

struct flaw {
	uint8_t kind, wait, a, b, c; /* `wait` PDUs are sent before it */
};

struct fuzz_io {
	struct world_io io;
	char *memory; /* with a guard on both sides */
	uint32_t len;
};

struct run {
	struct host_world w;
	struct bad_target t;
	struct sim_bdev bdev;
	struct xbdev_device *dev;
	struct flaw flaws[MAX_FLAWS];
	uint32_t nr_flaws, next_flaw;
	struct fuzz_io ios[MAX_IOS];
	uint32_t nr_ios;
};

static struct run run;

/* ---- what the target sends ---- */

static uint32_t edge(const struct flaw *flaw)
{
	uint32_t number = flaw->b | (uint32_t)(flaw->c & 0x3fu) << 8;

	switch (flaw->c >> 6) {
	case 0:
		return number;
	case 1:
		return number << 9;
	case 2:
		return UINT32_MAX - number;
	default:
		return 1u << (flaw->b % 32);
	}
}

static void apply(const struct flaw *flaw, struct bad_pdu *pdu)
{
	uint32_t value = edge(flaw);

	fuzz_say("flaw %u (%u %u %u) in PDU %u of opcode %02x\n", flaw->kind, flaw->a, flaw->b,
		flaw->c, pdu->hdr.type, pdu->opc);
	switch ((enum record)flaw->kind) {
	case RECORD_XOR:
		pdu->head[flaw->a % pdu->head_len] ^= flaw->b;
		break;
	case RECORD_SET:
		memcpy(pdu->head + flaw->a % (pdu->head_len - 3), &value, sizeof(value));
		break;
	case RECORD_PAYLOAD:
		if (pdu->payload_len != 0) {
			pdu->payload[(flaw->a | (uint32_t)flaw->b << 8) % pdu->payload_len] ^=
				flaw->c;
		}
		break;
	case RECORD_NOISE:
		pdu->noise_at = flaw->a | (uint32_t)flaw->b << 8;
		pdu->noise = flaw->c;
		break;
	case RECORD_DIGEST:
		pdu->spoil_hdgst = flaw->a;
		pdu->spoil_ddgst = flaw->b;
		break;
	case RECORD_STATUS:
		if (pdu->hdr.type == NVME_TCP_RSP) {
			pdu->rsp.cqe.status = (uint16_t)(flaw->a | flaw->b << 8);
		}
		break;
	case RECORD_DROP:
		pdu->is_dropped = true;
		break;
	case RECORD_TWICE:
		pdu->nr_times = 2;
		break;
	case RECORD_CUT:
		pdu->is_cut = true;
		break;
	case RECORD_LENGTH:
		pdu->payload_len = pdu->payload_len != 0 ? value % pdu->payload_len : 0;
		break;
	default:
		break;
	}
}

static void hook(struct bad_target *t, struct bad_pdu *pdu)
{
	struct flaw *flaw = &run.flaws[run.next_flaw];

	(void)t;
	if (run.next_flaw == run.nr_flaws) {
		return;
	}
	if (flaw->wait != 0) {
		flaw->wait--;
		return;
	}
	run.next_flaw++;
	apply(flaw, pdu);
}

/* ---- what goes on meanwhile ---- */

static void attach(uint8_t how)
{
	struct xu_error err = {0};
	char params[512];

	snprintf(params, sizeof(params),
		"{'name': 'r', 'traddr': '%s', 'subnqn': '%s', 'hostnqn': '%s', "
		"'io_timeout_ms': 1000, 'ctrl_loss_timeout_s': 20, 'reconnect_delay_ms': 500, "
		"'quiesce_ms': 0, 'hdgst': %s, 'ddgst': %s}",
		sim_host_address(run.t.host), WORLD_NQN, WORLD_HOSTNQN,
		(how & 1u) != 0 ? "true" : "false", (how & 2u) != 0 ? "true" : "false");
	run.dev = sim_bdev_create(run.w.sim, run.w.ctx, "nvmf", params, &err);
	fuzz_say("attaching: %s\n", run.dev != NULL ? "done" : err.text);
	if (run.dev != NULL && sim_bdev_open(run.w.sim, run.w.ctx, "r", 0, &run.bdev, NULL) != 0) {
		run.dev = NULL; /* it goes already */
	}
}

static void start_io(const struct flaw *record)
{
	static const uint8_t ops[] = {XBDEV_OP_READ, XBDEV_OP_WRITE, XBDEV_OP_READ, XBDEV_OP_FLUSH,
		XBDEV_OP_WRITE_ZEROES, XBDEV_OP_DISCARD, XBDEV_OP_COMPARE, XBDEV_OP_WRITE};
	uint8_t op = ops[record->a % sizeof(ops)];
	uint32_t block = run.dev->limits.block_size;
	uint64_t offset = (uint64_t)record->b * block;
	uint32_t len = (record->c % 128u + 1) * block;
	struct fuzz_io *io;

	if (len > MAX_IO_BYTES) {
		len = MAX_IO_BYTES / block * block;
	}
	if (run.nr_ios == MAX_IOS || len == 0 || offset + len > xbdev_device_size_bytes(run.dev)) {
		return;
	}
	io = &run.ios[run.nr_ios++];
	io->len = len;
	io->memory = malloc(io->len + 2 * GUARD_BYTES);
	FUZZ_CHECK(io->memory != NULL, "no memory");
	memset(io->memory, GUARD, io->len + 2 * GUARD_BYTES);
	if (op == XBDEV_OP_FLUSH) {
		world_io_start(&run.bdev, &io->io, op, 0, NULL, 0);
	} else {
		world_io_start(&run.bdev, &io->io, op, offset, io->memory + GUARD_BYTES, io->len);
	}
}

static void do_record(const struct flaw *record)
{
	switch ((enum record)record->kind) {
	case RECORD_IO:
		start_io(record);
		break;
	case RECORD_TIME:
		world_run_for(&run.w, (uint64_t)(record->b + 1) << (record->a % 20u) << 10);
		break;
	case RECORD_EVENT:
		bad_event(&run.t, record->a | (uint32_t)record->b << 8 | (uint32_t)record->c << 16);
		break;
	default:
		bad_cut(&run.t);
		break;
	}
	run.t.nr_writes = 0; /* nobody looks at them */
}

static void run_records(struct fuzz_input *in, uint8_t how)
{
	bool has_tried = false;

	for (uint32_t i = 0; i < MAX_RECORDS && in->left != 0; i++) {
		struct flaw flaw = {.kind = fuzz_u8(in) % NR_RECORDS};

		flaw.wait = fuzz_u8(in);
		flaw.a = fuzz_u8(in);
		flaw.b = fuzz_u8(in);
		flaw.c = fuzz_u8(in);
		if (flaw.kind < RECORD_IO) {
			if (run.nr_flaws < MAX_FLAWS) {
				run.flaws[run.nr_flaws++] = flaw;
			}
			continue;
		}
		if (!has_tried) {
			attach(how);
			has_tried = true;
		}
		if (run.dev != NULL) {
			do_record(&flaw);
		}
	}
	if (!has_tried) {
		attach(how);
	}
}

/* ---- the end ---- */

static bool are_done(struct host_world *w)
{
	(void)w;
	run.t.nr_writes = 0;
	for (uint32_t i = 0; i < run.nr_ios; i++) {
		if (!run.ios[i].io.is_done) {
			return false;
		}
	}
	return true;
}

static void check_guards(const struct fuzz_io *io)
{
	for (uint32_t i = 0; i < GUARD_BYTES; i++) {
		FUZZ_CHECK((uint8_t)io->memory[i] == GUARD &&
				   (uint8_t)io->memory[GUARD_BYTES + io->len + i] == GUARD,
			"bytes beside a buffer have changed");
	}
}

static void finish(void)
{
	run.nr_flaws = run.next_flaw; /* from now on the target is right */
	FUZZ_CHECK(world_run_until(&run.w, are_done, END_S), "I/O does not end");
	for (uint32_t i = 0; i < run.nr_ios; i++) {
		check_guards(&run.ios[i]);
	}
	if (run.dev != NULL) {
		sim_bdev_close(&run.bdev);
	}
	bad_stop(&run.t);
	world_stop(&run.w);
	for (uint32_t i = 0; i < run.nr_ios; i++) {
		free(run.ios[i].memory);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t icds[] = {0, 512, 4096, 8192};
	static const uint32_t pieces[] = {0, 1024, 4096, 12288};
	struct fuzz_input in = {data, size};
	uint8_t header[HEADER_BYTES];
	struct bad_opts opts = {.hook = hook, .is_lenient = true};

	for (size_t i = 0; i < sizeof(header); i++) {
		header[i] = fuzz_u8(&in);
	}
	memset(&run, 0, sizeof(run));
	opts.cpda = header[1] & 0x1fu;
	opts.mdts = header[1] >> 5;
	opts.icd_bytes = icds[header[2] & 0x3u];
	opts.r2t_bytes = pieces[header[2] >> 2 & 0x3u];
	opts.nr_r2ts = header[2] >> 4 & 0x3u;
	opts.maxh2cdata = (header[2] & 0x40u) != 0 ? 4096 : 0;
	opts.vwc = header[2] >> 7;
	opts.holds_data_back = (header[0] & 4u) != 0;
	world_start(&run.w, header[3], 1);
	bad_start(&run.t, run.w.sim, &opts);
	run_records(&in, header[0]);
	finish();
	return 0;
}
