/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the reader of discovery logs: everything that a discovery controller may say to it. One
 * simulated world with the scripted target of the unit tests as the controller and a machine that
 * reads it. The input is a header, how reader and controller are, and then records of six bytes:
 * a change of Identify, of the log's header, of an entry or its attributes; a flaw of a PDU to
 * come; or what goes on meanwhile: time, an event, reading again, a cut. Before the first of those
 * the reader is opened.
 *
 * Findings, besides what the sanitizers see: texts that are none, more entries than were asked for,
 * a reader that does not end or ends twice, anything left open.
 */
#include "lib/util/utf8.h"
#include "test/fuzz/fuzz.h"
#include "test/unit/xnvmf/bad_log.h"
#include "test/unit/xnvmf/host_world.h"

#define HEADER_BYTES 4u
#define MAX_FLAWS    32u
#define MAX_RECORDS  96u
#define MAX_ENTRIES  48u
#define END_S        300u

enum record {
	RECORD_IDENTIFY,
	RECORD_HEADER,
	RECORD_ENTRY,
	RECORD_XOR,    /* a byte of the header of a PDU */
	RECORD_STATUS, /* of a completion */
	RECORD_LENGTH, /* less data than was to come */
	RECORD_DROP,
	RECORD_TWICE,
	RECORD_CUT,
	/* From here on: what is done, and not sent. */
	RECORD_TIME,
	RECORD_EVENT,
	RECORD_AGAIN,
	RECORD_CUT_ALL,
	RECORD_EXTENSION, /* of the log, as the first ones */
	NR_RECORDS
};

struct flaw {
	uint8_t kind, wait, a, b; /* `wait` PDUs are sent before it */
	uint16_t c;
};

static struct {
	struct host_world w;
	struct bad_target t;
	struct bad_log log;
	struct xnvmf_host_reader *reader;
	uint32_t nr_ends;
	bool is_open;
	struct flaw flaws[MAX_FLAWS];
	uint32_t nr_flaws, next_flaw;
} run;

/* ---- the reader ---- */

static void check_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	FUZZ_CHECK(len < size, "a text without an end");
	for (size_t i = 0; i < len; i++) {
		FUZZ_CHECK(text[i] > ' ' && text[i] <= '~', "byte %zu is none of a text", i);
	}
}

static void check_label(const char *label, size_t size)
{
	size_t len = strnlen(label, size), bytes;
	uint32_t code;

	FUZZ_CHECK(len < size, "a label without an end");
	for (size_t i = 0; i < len; i += bytes) {
		bytes = xu_utf8_char(label + i, len - i, &code);
		FUZZ_CHECK(bytes != 0 && code >= 0x20 && (code < 0x7f || code >= 0xa0),
			"byte %zu is none of a label", i);
	}
}

static void on_log(void *arg, const struct xnvmf_host_log *log)
{
	FUZZ_CHECK(run.nr_ends == 0, "a log after the end");
	FUZZ_CHECK(log->nr_entries + log->nr_left_out <= MAX_ENTRIES, "too many entries");
	check_text(log->subnqn, 224);
	for (size_t i = 0; i < log->nr_entries; i++) {
		check_text(log->entries[i].trsvcid, sizeof(log->entries[i].trsvcid));
		check_text(log->entries[i].subnqn, sizeof(log->entries[i].subnqn));
		check_text(log->entries[i].traddr, sizeof(log->entries[i].traddr));
		check_label(log->entries[i].label, sizeof(log->entries[i].label));
	}
	fuzz_say("a log of %zu entries\n", log->nr_entries);
}

static void on_end(void *arg, const struct xu_error *err)
{
	fuzz_say("the end: %s\n", err->text);
	run.nr_ends++;
	run.reader = NULL;
}

static void do_open(void *arg)
{
	static const struct xnvmf_host_reader_ops ops = {.log = on_log, .end = on_end};

	run.reader = xnvmf_host_reader_open(run.w.ctx, arg, &ops, NULL);
	FUZZ_CHECK(run.reader != NULL, "no memory");
}

static void do_again(void *arg)
{
	xnvmf_host_reader_again(run.reader);
}

static void do_close(void *arg)
{
	xnvmf_host_reader_close(run.reader);
}

static void call(void (*fn)(void *arg), void *arg)
{
	sim_call(run.w.sim, xbdev_ctx_control(run.w.ctx), fn, arg);
}

static void open_reader(uint8_t how)
{
	struct xnvmf_host_discover_opts opts = {.traddr = sim_host_address(run.t.host),
		.port = 4420,
		.hostnqn = WORLD_HOSTNQN,
		.hdr_digest = (how & 1u) != 0,
		.data_digest = (how & 2u) != 0,
		.is_controller = (how & 4u) != 0,
		.kato_ms = (how & 8u) != 0 ? 2000 : 0,
		.options = how >> 4 & 7u,
		.timeout_ms = 2000,
		.nr_entries_max = MAX_ENTRIES};

	run.is_open = true;
	call(do_open, &opts);
}

/* ---- what the controller sends ---- */

static void hook(struct bad_target *t, struct bad_pdu *pdu)
{
	struct flaw *flaw = &run.flaws[run.next_flaw];

	if (run.next_flaw == run.nr_flaws) {
		return;
	}
	if (flaw->wait != 0) {
		flaw->wait--;
		return;
	}
	run.next_flaw++;
	switch ((enum record)flaw->kind) {
	case RECORD_XOR:
		pdu->head[flaw->a % pdu->head_len] ^= flaw->b;
		break;
	case RECORD_STATUS:
		if (pdu->hdr.type == NVME_TCP_RSP) {
			pdu->rsp.cqe.status = flaw->c;
		}
		break;
	case RECORD_LENGTH:
		pdu->payload_len = pdu->payload_len != 0 ? flaw->c % pdu->payload_len : 0;
		break;
	case RECORD_DROP:
		pdu->is_dropped = true;
		break;
	case RECORD_TWICE:
		pdu->nr_times = 2;
		break;
	default:
		pdu->is_cut = true;
		break;
	}
}

static void change_log(const struct flaw *record)
{
	size_t index = record->wait % BAD_LOG_ENTRIES;

	switch ((enum record)record->kind) {
	case RECORD_IDENTIFY:
		((uint8_t *)&run.log.id)[record->c % sizeof(run.log.id)] = record->a;
		break;
	case RECORD_EXTENSION:
		run.log.extensions[index][record->c % sizeof(run.log.extensions[0])] = record->a;
		break;
	case RECORD_HEADER:
		((uint8_t *)&run.log.header)[record->c % 32u] = record->a;
		break;
	default:
		memset((uint8_t *)&run.log.entries[index] + record->c % 1024u, record->a,
			(record->c % 1024u + record->b) < 1024u ? record->b : 1);
		break;
	}
}

static void do_record(const struct flaw *record)
{
	switch ((enum record)record->kind) {
	case RECORD_TIME:
		world_run_for(&run.w, (uint64_t)(record->b + 1) << (record->a % 20u) << 10);
		break;
	case RECORD_EVENT:
		run.log.header.genctr++;
		bad_event(&run.t, record->a & 1 ? NVME_AEN_DISCOVERY : record->c);
		break;
	case RECORD_AGAIN:
		if (run.reader != NULL) {
			call(do_again, NULL);
		}
		break;
	default:
		bad_cut(&run.t);
		break;
	}
}

static void run_records(struct fuzz_input *in, uint8_t how)
{
	for (uint32_t i = 0; i < MAX_RECORDS && in->left != 0; i++) {
		struct flaw flaw = {.kind = fuzz_u8(in) % NR_RECORDS};

		flaw.wait = fuzz_u8(in);
		flaw.a = fuzz_u8(in);
		flaw.b = fuzz_u8(in);
		flaw.c = fuzz_u16(in);
		if (flaw.kind <= RECORD_ENTRY || flaw.kind == RECORD_EXTENSION) {
			change_log(&flaw);
		} else if (flaw.kind < RECORD_TIME) {
			flaw.wait &= 0x3fu;
			if (run.nr_flaws < MAX_FLAWS) {
				run.flaws[run.nr_flaws++] = flaw;
			}
		} else {
			if (!run.is_open) {
				open_reader(how);
			}
			do_record(&flaw);
		}
	}
	if (!run.is_open) {
		open_reader(how);
		world_run_for(&run.w, XU_NS_PER_S);
	}
}

static bool has_ended(struct host_world *w)
{
	return run.nr_ends != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bad_opts opts = {.hook = hook,
		.on_command = bad_log_on_command,
		.arg = &run.log,
		.is_lenient = true};
	struct fuzz_input in = {data, size};
	uint8_t header[HEADER_BYTES];

	for (size_t i = 0; i < sizeof(header); i++) {
		header[i] = fuzz_u8(&in);
	}
	memset(&run, 0, sizeof(run));
	bad_log_init(&run.log, header[1] % 64u);
	run.log.refuses_options = (header[2] & 1u) != 0;
	run.log.refuses_kato = (header[2] & 2u) != 0;
	run.log.refuses_extended = (header[3] & 2u) != 0;
	if ((header[3] & 4u) == 0) {
		bad_log_extend(&run.log);
	}
	run.log.moves = (header[2] & 12u) == 12u;
	opts.cpda = header[2] >> 4;
	opts.holds_data_back = (header[3] & 1u) != 0;
	world_start(&run.w, header[3], 1);
	bad_start(&run.t, run.w.sim, &opts);
	run_records(&in, header[0]);
	if (run.reader != NULL) {
		call(do_close, NULL);
	}
	FUZZ_CHECK(world_run_until(&run.w, has_ended, END_S), "the reader does not end");
	world_run_for(&run.w, XU_NS_PER_S);
	FUZZ_CHECK(run.nr_ends == 1, "the reader has ended %u times", run.nr_ends);
	bad_stop(&run.t);
	world_stop(&run.w);
	return 0;
}
