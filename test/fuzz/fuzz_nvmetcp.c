/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the NVMe/TCP target through its connections, from the first byte to the last object freed.
 * The input (record.h) says what a few hosts and the operator do: right and wrong PDUs, answers to
 * R2Ts, resets, blocked connections, time, namespaces that come and go. Findings, besides what the
 * sanitizers see: an answer that the initiator's judge does not allow, a command that is never
 * answered on a connection that did nothing wrong, a connection or an object that stays.
 */
#include "lib/util/clock.h"
#include "lib/xnvmf/target/target.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/initiator.h"
#include "test/fuzz/world.h"

#define ROUND_NS      1000u
#define SET_UP_ROUNDS 60u
#define DRAIN_ROUNDS  4000u /* of a millisecond; 256 ranges of a slow device take 2 s */
#define MAX_RECORDS   400u
#define CC_ENABLE     0x00460001u
#define QUEUE_SIZE    6u
#define FILL          0x3c
#define PSDT_SGL      0x40u /* in nvme_cmd.flags */

struct run {
	struct world world;
	struct initiator hosts[RECORD_NR_CONNS];
	uint16_t cntlids[4]; /* by subsystem, as CONNECT_SUBSYSTEM() numbers them */
};

static const struct flaw no_flaw;

/* ---- commands ---- */

static void fill_connect_data(
	struct nvme_connect_data *data, const struct run *run, uint8_t what, bool is_admin)
{
	static const char *const nqns[] = {
		WORLD_NQN, XNVMF_DISCOVERY_NQN, WORLD_NQN_CLOSED, "nqn.2026-11.io.xsan:nothing"};
	uint16_t known = run->cntlids[CONNECT_SUBSYSTEM(what)];
	const uint16_t cntlids[] = {
		is_admin ? 0xffffu : known, 0xffffu, (uint16_t)(known + 1u), 0xfffeu};

	memset(data, 0, sizeof(*data));
	memset(data->hostid, (what & CONNECT_OTHER_HOSTID) != 0 ? 0x22 : 0x11, 16);
	data->cntlid = cntlids[CONNECT_CNTLID(what)];
	strcpy(data->subnqn, nqns[CONNECT_SUBSYSTEM(what)]);
	strcpy(data->hostnqn,
		(what & CONNECT_OTHER_HOST) != 0 ? "nqn.2026-11.io.xsan:host" : WORLD_HOST_NQN);
}

static void send_connect(struct run *run, struct initiator *host, uint8_t what, uint8_t qid,
	uint16_t sqsize, uint8_t cattr, uint32_t kato_ms, struct flaw flaw)
{
	struct nvme_connect_data data;
	struct nvme_connect_cmd cmd = {
		.opc = NVME_FABRICS,
		.flags = PSDT_SGL,
		.cid = 0xfe,
		.fctype = NVME_FCTYPE_CONNECT,
		.recfmt = (what & CONNECT_OTHER_RECFMT) != 0,
		.qid = qid,
		.sqsize = sqsize,
		.cattr = cattr,
		.kato = kato_ms,
	};
	bool is_in_capsule = (what & CONNECT_BY_R2T) == 0;

	fill_connect_data(&data, run, what, qid == 0);
	cmd.sgl.len = sizeof(data);
	cmd.sgl.type = is_in_capsule ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT_DATA;
	initiator_send_cmd(
		host, (const struct nvme_cmd *)&cmd, &data, is_in_capsule ? sizeof(data) : 0, flaw);
}

static void send_enable(struct initiator *host)
{
	const struct nvme_cmd cmd = {
		.opc = NVME_FABRICS,
		.flags = PSDT_SGL,
		.cid = 0xfd,
		.nsid = NVME_FCTYPE_PROPERTY_SET,
		.cdw11 = NVME_PROP_CC,
		.cdw12 = CC_ENABLE,
	};

	initiator_send_cmd(host, &cmd, NULL, 0, no_flaw);
}

/* The data length that a command needs; `len` where none is prescribed. */
static uint32_t needed_bytes(const struct nvme_cmd *cmd, bool is_admin, uint32_t len)
{
	if (is_admin) {
		switch (cmd->opc) {
		case NVME_ADMIN_IDENTIFY:
			return NVME_IDENTIFY_BYTES;
		case NVME_ADMIN_GET_LOG_PAGE:
			return ((cmd->cdw10 >> 16 | cmd->cdw11 << 16) + 1) * 4;
		default:
			return len;
		}
	}
	switch (cmd->opc) {
	case NVME_IO_READ:
	case NVME_IO_WRITE:
	case NVME_IO_COMPARE:
		return ((cmd->cdw12 & 0xffffu) + 1) * world_block_bytes(cmd->nsid);
	case NVME_IO_DSM:
		return ((cmd->cdw10 & 0xffu) + 1) * (uint32_t)sizeof(struct nvme_dsm_range);
	default:
		return len;
	}
}

/* A capsule's data: what the input gives, then a pattern. */
static const uint8_t *capsule_data(struct fuzz_input *in, size_t count)
{
	static uint8_t data[INITIATOR_MAX_DATA];
	size_t len;
	const uint8_t *given = fuzz_take(in, count, &len);

	memset(data, FILL, sizeof(data));
	if (len != 0) {
		memcpy(data, given, len);
	}
	return data;
}

static struct flaw read_flaw(struct fuzz_input *in)
{
	struct flaw flaw = {.kind = fuzz_u8(in) % NR_FLAWS};

	flaw.delta = fuzz_u8(in);
	return flaw;
}

/* ---- records ---- */

static void do_raw(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *data = fuzz_take(in, fuzz_u8(in), &len);

	(void)run;
	initiator_send_raw(host, data, len);
}

static void do_pdu(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	uint8_t type = fuzz_u8(in), flags = fuzz_u8(in);
	uint16_t data_len = fuzz_u16(in);
	struct flaw flaw = read_flaw(in);
	size_t len;
	const uint8_t *body = fuzz_take(in, fuzz_u8(in), &len);
	struct fuzz_input nothing = {0};

	(void)run;
	host->is_wrong = true;
	initiator_send_pdu(host, type, flags, body, len, capsule_data(&nothing, 0), data_len, flaw);
}

static void do_icreq(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	uint8_t hpda = fuzz_u8(in), dgst = fuzz_u8(in), pfv = fuzz_u8(in);

	(void)run;
	initiator_send_icreq(host, pfv, hpda, dgst, read_flaw(in));
}

static void do_connect(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), qid = fuzz_u8(in), sqsize = fuzz_u8(in), cattr = fuzz_u8(in);
	uint32_t kato_ms = fuzz_u16(in) * 100u;

	send_connect(run, host, what, qid, sqsize, cattr, kato_ms, read_flaw(in));
}

static void do_command(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	struct nvme_cmd cmd = {.opc = fuzz_u8(in)};
	const uint8_t *data;
	struct flaw flaw;
	uint32_t len;
	uint8_t how;

	cmd.cid = fuzz_u8(in);
	cmd.nsid = fuzz_u8(in);
	cmd.nsid = cmd.nsid == 0xff ? NVME_NSID_ALL : cmd.nsid;
	how = fuzz_u8(in);
	cmd.cdw10 = fuzz_u32(in);
	cmd.cdw11 = fuzz_u32(in);
	cmd.cdw12 = fuzz_u32(in);
	cmd.cdw13 = fuzz_u16(in);
	cmd.cdw14 = (uint32_t)fuzz_u8(in) << 16;
	len = fuzz_u32(in);
	flaw = read_flaw(in);
	data = capsule_data(in, fuzz_u8(in));
	if ((how & COMMAND_OWN_LEN) == 0) {
		/* Which kind of queue it is, is known only to the target; a guess is enough. */
		len = needed_bytes(&cmd, (host->index & 1u) == 0, len);
	}
	cmd.flags = (uint8_t)COMMAND_FLAGS(how);
	cmd.sgl.len = len;
	cmd.sgl.type =
		(how & COMMAND_IN_CAPSULE) != 0 ? NVME_SGL_DATA_OFFSET : NVME_SGL_TRANSPORT_DATA;
	if ((how & COMMAND_OWN_SGL) != 0) {
		cmd.sgl.type = flaw.delta;
		flaw = no_flaw;
	}
	if ((how & COMMAND_IN_CAPSULE) == 0 || len > INITIATOR_MAX_DATA) {
		len = 0;
	}
	(void)run;
	initiator_send_cmd(host, &cmd, data, len, flaw);
}

static void do_sqe(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	uint16_t data_len = fuzz_u16(in);
	struct flaw flaw = read_flaw(in);
	size_t count = fuzz_u8(in), len;
	struct nvme_cmd cmd = {0};
	const uint8_t *entry = fuzz_take(in, count < sizeof(cmd) ? count : sizeof(cmd), &len);
	const uint8_t *data;

	(void)run;
	if (len != 0) {
		memcpy(&cmd, entry, len);
	}
	data = capsule_data(in, count - len);
	initiator_send_cmd(host, &cmd, data, data_len, flaw);
}

static void do_answer(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	static const uint32_t parts[] = {INITIATOR_MAX_DATA, 4096, 4, 512};
	uint8_t how = fuzz_u8(in);

	(void)run;
	initiator_answer(host, parts[how & 0x3u], read_flaw(in));
}

static void do_h2c_data(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	struct nvme_tcp_data fields = {0};
	struct fuzz_input nothing = {0};

	(void)run;
	fields.cccid = (uint16_t)(fuzz_u8(in) | (uint16_t)host->index << 8);
	fields.ttag = fuzz_u16(in);
	fields.datao = fuzz_u32(in);
	fields.datal = fuzz_u16(in);
	fields.hdr.flags = fuzz_u8(in);
	host->is_wrong = true;
	initiator_send_h2c(host, &fields, capsule_data(&nothing, 0), read_flaw(in));
}

static void do_open(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	(void)in;
	if (host->sock == NULL) {
		initiator_open(host, run->world.net, WORLD_PORT, (uint8_t)(host - run->hosts));
	}
}

static void do_end(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	(void)run;
	initiator_close(host, (fuzz_u8(in) & 1u) != 0);
}

static void do_block(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	bool is_blocked = (fuzz_u8(in) & 1u) != 0;

	(void)run;
	if (host->sock != NULL) {
		net_block(host->sock, is_blocked);
	}
}

static void do_time(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	static const uint64_t times_ms[] = {1, 10, 101, 1001, 5001, 10001, 60001, 121001};

	(void)host;
	world_round(&run->world, times_ms[fuzz_u8(in) & 0x7u] * XU_NS_PER_MS);
}

static void do_manage(struct run *run, struct initiator *host, struct fuzz_input *in)
{
	enum manage_action action = fuzz_u8(in) % NR_MANAGE_ACTIONS;

	uint8_t arg = fuzz_u8(in);

	(void)host;
	if (run->world.nr_manage < WORLD_MAX_MANAGE - 2) { /* the end has changes too */
		world_manage(&run->world, action, arg);
	}
}

static void (*const doers[NR_RECORD_KINDS])(
	struct run *run, struct initiator *host, struct fuzz_input *in) = {
	[RECORD_RAW] = do_raw,
	[RECORD_PDU] = do_pdu,
	[RECORD_ICREQ] = do_icreq,
	[RECORD_CONNECT] = do_connect,
	[RECORD_COMMAND] = do_command,
	[RECORD_SQE] = do_sqe,
	[RECORD_ANSWER] = do_answer,
	[RECORD_H2C_DATA] = do_h2c_data,
	[RECORD_OPEN] = do_open,
	[RECORD_END] = do_end,
	[RECORD_BLOCK] = do_block,
	[RECORD_TIME] = do_time,
	[RECORD_MANAGE] = do_manage,
};

/* ---- a run ---- */

static void run_rounds(struct run *run, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		world_round(&run->world, ROUND_NS);
	}
	for (uint32_t i = 0; i < RECORD_NR_CONNS; i++) {
		const struct initiator *host = &run->hosts[i];

		/* Even connections have the admin queues, by the preamble: 0 of a subsystem, 2 of
		 * discovery. What a record connects elsewhere is learnt too. */
		if (host->cntlid != 0) {
			run->cntlids[i / 2] = host->cntlid;
			run->cntlids[2] = host->cntlid;
		}
	}
}

static void set_up_queue(
	struct run *run, uint32_t index, const uint8_t *header, uint8_t what, uint8_t qid)
{
	static const uint8_t hpdas[] = {0, 1, 15, 31};
	struct initiator *host = &run->hosts[index];
	uint8_t cattr = RECORD_NO_SQFLOW(header) ? NVME_CATTR_DISABLE_SQFLOW : 0;

	if (!initiator_open(host, run->world.net, WORLD_PORT, (uint8_t)index)) {
		return;
	}
	initiator_send_icreq(
		host, 0, hpdas[RECORD_HPDA(header)], (uint8_t)RECORD_DIGESTS(header), no_flaw);
	run_rounds(run, SET_UP_ROUNDS / 4);
	if (RECORD_PREAMBLE(header) == PREAMBLE_ICREQ) {
		return;
	}
	if (RECORD_NO_ICD(header) && qid != 0) {
		what |= CONNECT_BY_R2T;
	}
	send_connect(run, host, what, qid, QUEUE_SIZE - 1, cattr, 30000, no_flaw);
	run_rounds(run, SET_UP_ROUNDS);
	while (initiator_answer(host, INITIATOR_MAX_DATA, no_flaw)) {
		run_rounds(run, SET_UP_ROUNDS);
	}
	if (qid == 0) {
		send_enable(host);
		run_rounds(run, SET_UP_ROUNDS / 2);
	}
}

/* The queues of a host before the records begin. */
static void set_up(struct run *run, const uint8_t *header)
{
	switch (RECORD_PREAMBLE(header)) {
	case PREAMBLE_ICREQ:
		set_up_queue(run, 0, header, 0, 0);
		break;
	case PREAMBLE_QUEUES:
		set_up_queue(run, 0, header, 0, 0);
		set_up_queue(run, 1, header, 0, 1);
		break;
	case PREAMBLE_DISCOVERY:
		set_up_queue(run, 0, header, 0, 0);
		set_up_queue(run, 1, header, 0, 1);
		set_up_queue(run, 2, header, 1, 0);
		set_up_queue(run, 3, header, 0, 2);
		break;
	default:
		break;
	}
}

static void run_records(struct run *run, struct fuzz_input *in)
{
	static const uint32_t nr_rounds[] = {0, 1, 4, 20};

	for (uint32_t i = 0; i < MAX_RECORDS && in->left != 0; i++) {
		uint8_t op = fuzz_u8(in);

		fuzz_say(
			"record %u: kind %u, connection %u\n", i, RECORD_KIND(op), RECORD_CONN(op));
		doers[RECORD_KIND(op)](run, &run->hosts[RECORD_CONN(op)], in);
		run_rounds(run, nr_rounds[RECORD_ROUNDS(op)]);
	}
}

/* ---- the end ---- */

/* No connection keeps what others wait for. */
static bool is_blameless(const struct run *run)
{
	for (uint32_t i = 0; i < RECORD_NR_CONNS; i++) {
		const struct initiator *host = &run->hosts[i];

		if (host->sock != NULL && net_is_alive(host->sock) && !initiator_is_fine(host)) {
			return false;
		}
	}
	return true;
}

static uint32_t nr_lost(const struct run *run)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < RECORD_NR_CONNS; i++) {
		if (initiator_is_fine(&run->hosts[i])) {
			count += initiator_nr_lost(&run->hosts[i]);
		}
	}
	return count;
}

/* Answers everything; then every command of hosts that did nothing wrong must have an end. */
static void drain(struct run *run)
{
	bool must_end;

	world_manage(&run->world, MANAGE_ERROR_CLEAR, 0);
	net_join(run->world.net);
	for (uint32_t i = 0; i < RECORD_NR_CONNS; i++) {
		if (run->hosts[i].sock != NULL) {
			net_block(run->hosts[i].sock, false);
		}
	}
	fuzz_say("draining\n");
	/* A host that is wrong may keep buffers for which others wait. */
	must_end = is_blameless(run);
	for (uint32_t i = 0; i < DRAIN_ROUNDS && (i < 4 || nr_lost(run) != 0); i++) {
		for (uint32_t c = 0; c < RECORD_NR_CONNS; c++) {
			if (initiator_is_fine(&run->hosts[c])) {
				initiator_answer(&run->hosts[c], INITIATOR_MAX_DATA, no_flaw);
			}
		}
		world_round(&run->world, XU_NS_PER_MS);
		if (!must_end && i == 16) {
			break;
		}
	}
	FUZZ_CHECK(!must_end || nr_lost(run) == 0, "%u commands are never answered", nr_lost(run));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_prepare();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	static struct run run;
	uint8_t header[RECORD_HEADER_BYTES];
	struct world_opts opts;

	for (size_t i = 0; i < sizeof(header); i++) {
		header[i] = fuzz_u8(&in);
	}
	opts = (struct world_opts){
		.net.seed = (uint64_t)header[2] | (uint64_t)header[3] << 8,
		.net.cut = (enum net_cut)RECORD_CUT(header),
		.net.has_slow_sends = RECORD_SLOW_SENDS(header),
		.net.has_slow_cancels = RECORD_SLOW_CANCELS(header),
		.nr_reactors = RECORD_REACTORS(header),
		.has_few_buffers = RECORD_FEW_BUFFERS(header),
		.has_no_icd = RECORD_NO_ICD(header),
	};
	memset(run.cntlids, 0, sizeof(run.cntlids));
	world_init(&run.world, &opts);
	set_up(&run, header);
	run_records(&run, &in);
	drain(&run);
	if (RECORD_STOP_FIRST(header)) {
		world_manage(&run.world, MANAGE_STOP, 0);
		FUZZ_CHECK(world_run_until(&run.world, world_is_stopped, DRAIN_ROUNDS),
			"the target does not stop while hosts are connected");
	}
	for (uint32_t i = 0; i < RECORD_NR_CONNS; i++) {
		initiator_close(&run.hosts[i], RECORD_RESET(header));
	}
	world_fini(&run.world);
	return 0;
}
