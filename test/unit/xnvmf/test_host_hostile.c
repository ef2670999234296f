/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host against a scripted target that breaks one rule at a time: each field of each PDU, each
 * order of events, each number in Identify. A wrong PDU ends the connection, the target is told by
 * a termination request which field it was, and the I/O comes out right on the next connection;
 * nobody else's memory is touched and nothing hangs. Also here, because it needs a script: what
 * statuses lead to, and writes whose fate a lost connection took with it.
 */
#include "test/unit/xnvmf/bad_target.h"
#include "test/unit/xnvmf/host_world.h"

#define IO_BYTES 8192u

struct fixture {
	struct host_world w;
	struct bad_target t;
	struct sim_bdev bdev;
	struct xbdev_device *dev;
	char *buf; /* with a guard on both sides */
};

static struct xbdev_device *try_attach(struct fixture *f, const char *more, struct xu_error *err)
{
	char params[1024];

	snprintf(params, sizeof(params),
		"{'name': 'r', 'traddr': '%s', 'subnqn': '%s', 'hostnqn': '%s', 'io_timeout_ms': "
		"1000%s}",
		sim_host_address(f->t.host), WORLD_NQN, WORLD_HOSTNQN, more);
	return sim_bdev_create(f->w.sim, f->w.ctx, "nvmf", params, err);
}

static void prepare(struct fixture *f, const struct bad_opts *opts)
{
	world_start(&f->w, 5, 1);
	bad_start(&f->t, f->w.sim, opts);
	harness_fill(f->t.disk, BAD_BYTES, 77);
}

static void start(struct fixture *f, const struct bad_opts *opts, const char *more)
{
	struct xu_error err = {0};

	prepare(f, opts);
	f->dev = try_attach(f, more, &err);
	if (f->dev == NULL) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(sim_bdev_open(f->w.sim, f->w.ctx, "r", 0, &f->bdev, NULL), 0);
}

static void stop(struct fixture *f)
{
	if (f->dev != NULL) {
		sim_bdev_close(&f->bdev);
		sim_bdev_remove(f->w.sim, f->dev);
	}
	bad_stop(&f->t);
	world_stop(&f->w);
	memset(f, 0, sizeof(*f));
}

/* ---- one wrong PDU ---- */

struct flaw {
	const char *name;
	enum nvme_tcp_pdu_type pdu;
	uint8_t at, len; /* bytes of the header that get `value` */
	uint32_t value;
	void (*change)(struct bad_pdu *pdu); /* or something else */
	bool has_digests;
	bool is_quiet;         /* the connection goes on */
	enum xbdev_op op;      /* what the host does meanwhile */
	enum nvme_tcp_fes fes; /* of the termination request, 0: none comes */
	uint32_t fei;
};

static const struct flaw *flaw;

static void apply_flaw(struct bad_target *t, struct bad_pdu *pdu)
{
	if (pdu->conn->qid == 0 || pdu->opc == NVME_FABRICS || pdu->hdr.type != flaw->pdu ||
		t->nr_sent != 0) {
		return;
	}
	t->nr_sent++;
	if (flaw->change != NULL) {
		flaw->change(pdu);
	} else {
		memcpy(pdu->head + flaw->at, &flaw->value, flaw->len);
	}
}

static void twice(struct bad_pdu *pdu)
{
	pdu->nr_times = 2;
}

static void drop(struct bad_pdu *pdu)
{
	pdu->is_dropped = true;
}

static void cut(struct bad_pdu *pdu)
{
	pdu->is_cut = true;
}

static void spoil_header(struct bad_pdu *pdu)
{
	pdu->spoil_hdgst = 0x100;
}

static void spoil_data(struct bad_pdu *pdu)
{
	pdu->spoil_ddgst = 1;
}

/* An R2T becomes the completion of its command, with success. */
static void succeed_at_once(struct bad_pdu *pdu)
{
	uint16_t cid = pdu->r2t.cccid;

	pdu->head_len = sizeof(struct nvme_tcp_rsp);
	pdu->rsp = (struct nvme_tcp_rsp){
		.hdr = {NVME_TCP_RSP, 0, sizeof(pdu->rsp), 0, sizeof(pdu->rsp)}, .cqe.cid = cid};
}

/* The completion of a write becomes data for it. */
static uint8_t some_data[512];

static void send_data_for_a_write(struct bad_pdu *pdu)
{
	uint16_t cid = pdu->rsp.cqe.cid;

	pdu->data = (struct nvme_tcp_data){.hdr = {NVME_TCP_C2H_DATA, NVME_TCP_F_LAST, 24, 24, 536},
		.cccid = cid,
		.datal = 512};
	pdu->payload = some_data;
	pdu->payload_len = 512;
}

/* The data of a read becomes a wish for data. */
static void ask_data_of_a_read(struct bad_pdu *pdu)
{
	uint16_t cid = pdu->data.cccid;

	pdu->r2t = (struct nvme_tcp_r2t){
		.hdr = {NVME_TCP_R2T, 0, 24, 0, 24}, .cccid = cid, .r2tl = 512};
	pdu->payload_len = 0;
}

#define C2H      NVME_TCP_C2H_DATA
#define RSP      NVME_TCP_RSP
#define R2T      NVME_TCP_R2T
#define RD       .op = XBDEV_OP_READ
#define WR       .op = XBDEV_OP_WRITE
#define FIELD(n) .fes = NVME_TCP_FES_HEADER_FIELD, .fei = (n)

static const struct flaw flaws[] = {
	{"data: unknown type", C2H, 0, 1, 0x0b, RD, FIELD(0)},
	{"data: type above 15", C2H, 0, 1, 0x47, RD, FIELD(0)},
	{"data: a host's type", C2H, 0, 1, NVME_TCP_H2C_DATA, RD, FIELD(0)},
	{"data: a second ICResp", C2H, 0, 1, NVME_TCP_ICRESP, RD, .fes = NVME_TCP_FES_SEQUENCE},
	{"data: header digest flag", C2H, 1, 1, NVME_TCP_F_HDGST, RD, FIELD(1)},
	{"data: data digest flag", C2H, 1, 1, NVME_TCP_F_DDGST, RD, FIELD(1)},
	{"data: no header digest flag", C2H, 1, 1, NVME_TCP_F_DDGST, RD, .has_digests = true,
		FIELD(1)},
	{"data: no data digest flag", C2H, 1, 1, NVME_TCP_F_HDGST, RD, .has_digests = true,
		FIELD(1)},
	{"data: SUCCESS without LAST", C2H, 1, 1, NVME_TCP_F_SUCCESS, RD, FIELD(1)},
	{"data: LAST too early", C2H, 1, 1, NVME_TCP_F_LAST, RD, .fes = NVME_TCP_FES_SEQUENCE},
	{"data: success too early", C2H, 1, 1, NVME_TCP_F_LAST | NVME_TCP_F_SUCCESS, RD},
	{"data: short header", C2H, 2, 1, 23, RD, FIELD(2)},
	{"data: long header", C2H, 2, 1, 255, RD, FIELD(2)},
	{"data: no offset", C2H, 3, 1, 0, RD, FIELD(3)},
	{"data: offset in the header", C2H, 3, 1, 23, RD, FIELD(3)},
	{"data: offset that eats data", C2H, 3, 1, 28, RD, FIELD(4)},
	{"data: no length", C2H, 4, 4, 0, RD, FIELD(4)},
	{"data: length of a header", C2H, 4, 4, 24, RD, FIELD(4)},
	{"data: length too long", C2H, 4, 4, 24 + 4096 + 4, RD, FIELD(4)},
	{"data: length without end", C2H, 4, 4, UINT32_MAX, RD, FIELD(4)},
	{"data: unknown command", C2H, 8, 2, 0xfffe, RD, FIELD(8)},
	{"data: earlier use of the command", C2H, 8, 2, 0, RD, FIELD(8)},
	{"data: offset with a gap", C2H, 12, 4, 512, RD, .fes = NVME_TCP_FES_SEQUENCE},
	{"data: offset outside", C2H, 12, 4, IO_BYTES, RD, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"data: offset far outside", C2H, 12, 4, 0xfffff000, RD, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"data: nothing", C2H, 16, 4, 0, RD, FIELD(4)},
	{"data: less than there is", C2H, 16, 4, 512, RD, FIELD(4)},
	{"data: more than asked for", C2H, 16, 4, IO_BYTES + 4, RD,
		.fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"data: without end", C2H, 16, 4, UINT32_MAX, RD, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"data: twice", C2H, .change = twice, RD, .fes = NVME_TCP_FES_SEQUENCE},
	{"data: lost", C2H, .change = drop, RD, .fes = NVME_TCP_FES_SEQUENCE},
	{"data: cut off", C2H, .change = cut, RD},
	{"data: wrong header digest", C2H, .change = spoil_header, RD, .has_digests = true,
		.fes = NVME_TCP_FES_HDGST},
	{"data: wrong data digest", C2H, .change = spoil_data, RD, .has_digests = true,
		.is_quiet = true},
	{"data: for a write", RSP, .change = send_data_for_a_write, WR, FIELD(8)},
	{"data: termination", C2H, 0, 1, NVME_TCP_C2H_TERM, RD},

	{"completion: unknown command", RSP, 20, 2, 0xfffe, WR, FIELD(20)},
	{"completion: earlier use", RSP, 20, 2, 0, WR, FIELD(20)},
	{"completion: twice", RSP, .change = twice, WR, FIELD(20)},
	{"completion: lost", RSP, .change = drop, WR},
	{"completion: cut off", RSP, .change = cut, WR},
	{"completion: length", RSP, 4, 4, 28, WR, FIELD(4)},
	{"completion: short length", RSP, 4, 4, 8, WR, FIELD(4)},
	{"completion: short header", RSP, 2, 1, 8, WR, FIELD(2)},
	{"completion: wrong digest", RSP, .change = spoil_header, WR, .has_digests = true,
		.fes = NVME_TCP_FES_HDGST},

	{"R2T: unknown command", R2T, 8, 2, 0xfffe, WR, FIELD(8)},
	{"R2T: offset", R2T, 12, 4, 4, WR, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"R2T: offset outside", R2T, 12, 4, IO_BYTES + 4, WR, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"R2T: nothing", R2T, 16, 4, 0, WR, FIELD(16)},
	{"R2T: too much", R2T, 16, 4, IO_BYTES + 4, WR, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"R2T: without end", R2T, 16, 4, UINT32_MAX, WR, .fes = NVME_TCP_FES_OUT_OF_RANGE},
	{"R2T: twice", R2T, .change = twice, WR, .fes = NVME_TCP_FES_SEQUENCE},
	{"R2T: lost", R2T, .change = drop, WR},
	{"R2T: of a read", C2H, .change = ask_data_of_a_read, RD, FIELD(8)},
	{"R2T: success instead", R2T, .change = succeed_at_once, WR},
	{"R2T: wrong digest", R2T, .change = spoil_header, WR, .has_digests = true,
		.fes = NVME_TCP_FES_HDGST},
};

static void run_flaw(void)
{
	const struct bad_opts opts = {
		.hook = apply_flaw, .maxh2cdata = 65536, .holds_data_back = true};
	const uint32_t guard = 4096;
	struct fixture f;
	char *buf = malloc(IO_BYTES + 2 * guard), *expected = malloc(IO_BYTES);

	start(&f, &opts,
		flaw->has_digests ? ", 'hdgst': true, 'ddgst': true, 'quiesce_ms': 0"
				  : ", 'quiesce_ms': 0");
	memset(buf, 0x5a, IO_BYTES + 2 * guard);
	if (flaw->op == XBDEV_OP_WRITE) {
		harness_fill(buf + guard, IO_BYTES, 1);
	}
	assert_int_equal(sim_bdev_io(&f.bdev, flaw->op, 0, 16384, buf + guard, IO_BYTES), 0);
	assert_memory_equal(buf + guard, f.t.disk + 16384, IO_BYTES);
	if (flaw->op == XBDEV_OP_WRITE) {
		harness_fill(expected, IO_BYTES, 1);
		assert_memory_equal(f.t.disk + 16384, expected, IO_BYTES);
	}
	for (uint32_t i = 0; i < guard; i++) {
		assert_int_equal(buf[i], 0x5a);
		assert_int_equal(buf[guard + IO_BYTES + i], 0x5a);
	}
	world_run_for(&f.w, 5 * XU_NS_PER_S);
	assert_int_equal(f.t.nr_sent, 1);
	assert_int_equal(world_info(&f.w, "resets"), flaw->is_quiet ? 0 : 1);
	assert_int_equal(f.t.nr_terms, flaw->fes != 0 ? 1 : 0);
	assert_int_equal(f.t.fes, flaw->fes);
	if (flaw->fes != NVME_TCP_FES_HDGST) {
		assert_int_equal(f.t.fei, flaw->fei);
	}
	stop(&f);
	free(buf);
	free(expected);
}

static void test_hostile_pdus(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(flaws); i++) {
		flaw = &flaws[i];
		print_message("%s\n", flaw->name);
		run_flaw();
	}
}

/* ---- more R2Ts than allowed ---- */

#define NR_R2TS 32u

/* The first one brings the others with it; wherever the network cuts them, too many come at once.
 */
static void ask_too_often(struct bad_target *t, struct bad_pdu *pdu)
{
	static struct nvme_tcp_r2t more[NR_R2TS];

	(void)t;
	if (pdu->hdr.type != NVME_TCP_R2T) {
		return;
	}
	for (uint32_t i = 0; i < NR_R2TS; i++) {
		more[i] = pdu->r2t;
		more[i].r2to = (i + 1) * pdu->r2t.r2tl;
	}
	pdu->payload = (uint8_t *)more;
	pdu->payload_len = sizeof(more);
}

static void test_hostile_r2ts(void **state)
{
	struct bad_opts opts = {.r2t_bytes = 128, .maxh2cdata = 4096, .hook = ask_too_often};
	struct fixture f;
	char buf[IO_BYTES];

	harness_fill(buf, sizeof(buf), 3);
	start(&f, &opts, "");
	/* Every attempt ends like this: the I/O fails in the end, and the device stays. */
	assert_int_equal(sim_bdev_io(&f.bdev, XBDEV_OP_WRITE, 0, 0, buf, sizeof(buf)), -EIO);
	assert_int_equal(f.t.fes, NVME_TCP_FES_LIMIT);
	assert_int_equal(f.t.fei, 0);
	assert_int_equal(f.t.nr_terms, 17);
	f.t.opts.hook = NULL;
	assert_int_equal(sim_bdev_io(&f.bdev, XBDEV_OP_WRITE, 0, 0, buf, sizeof(buf)), 0);
	assert_memory_equal(f.t.disk, buf, sizeof(buf));
	stop(&f);
}

/* ---- while connecting ---- */

static const struct {
	const char *name;
	uint8_t at, len;
	uint32_t value;
	enum nvme_tcp_fes fes;
	uint32_t fei;
	const char *more, *words;
} icresp_flaws[] = {
	{"type", 0, 1, NVME_TCP_RSP, NVME_TCP_FES_SEQUENCE, 0, "", "no ICResp first"},
	{"unknown type", 0, 1, 8, NVME_TCP_FES_HEADER_FIELD, 0, "", "type"},
	{"hlen", 2, 1, 24, NVME_TCP_FES_HEADER_FIELD, 2, "", "header length"},
	{"plen", 4, 4, 132, NVME_TCP_FES_HEADER_FIELD, 4, "", "PDU length"},
	{"plen without end", 4, 4, UINT32_MAX, NVME_TCP_FES_HEADER_FIELD, 4, "", "PDU length"},
	{"pfv", 8, 2, 1, NVME_TCP_FES_UNSUPPORTED, 8, "", "version"},
	{"cpda", 10, 1, 32, NVME_TCP_FES_HEADER_FIELD, 10, "", "CPDA"},
	{"digests not asked for", 11, 1, 3, NVME_TCP_FES_HEADER_FIELD, 11, "", "not asked"},
	{"digests not granted", 11, 1, 0, 0, 0, ", 'hdgst': true", "turn hdr_digest"},
	{"maxh2cdata", 12, 4, 4095, NVME_TCP_FES_HEADER_FIELD, 12, "", "MAXH2CDATA"},
	{"maxh2cdata odd", 12, 4, 4097, NVME_TCP_FES_HEADER_FIELD, 12, "", "MAXH2CDATA"},
	{"no maxh2cdata", 12, 4, 0, NVME_TCP_FES_HEADER_FIELD, 12, "", "MAXH2CDATA"},
};

static size_t icresp_index;

static void spoil_icresp(struct bad_target *t, struct bad_pdu *pdu)
{
	if (pdu->hdr.type == NVME_TCP_ICRESP) {
		memcpy(pdu->head + icresp_flaws[icresp_index].at, &icresp_flaws[icresp_index].value,
			icresp_flaws[icresp_index].len);
	}
}

static void test_hostile_icresp(void **state)
{
	const struct bad_opts opts = {.hook = spoil_icresp};

	for (icresp_index = 0; icresp_index < ARRAY_SIZE(icresp_flaws); icresp_index++) {
		struct xu_error err = {0};
		struct fixture f = {0};

		print_message("%s\n", icresp_flaws[icresp_index].name);
		prepare(&f, &opts);
		assert_null(try_attach(&f, icresp_flaws[icresp_index].more, &err));
		world_run_for(&f.w, 2 * XU_NS_PER_S);
		if (strstr(err.text, icresp_flaws[icresp_index].words) == NULL) {
			fail_msg("%s", err.text);
		}
		assert_int_equal(f.t.fes, icresp_flaws[icresp_index].fes);
		assert_int_equal(f.t.fei, icresp_flaws[icresp_index].fei);
		stop(&f);
	}
}

/* What Identify must not say: bytes at an offset of the page, by CNS. */
static const struct {
	uint8_t cns;
	uint16_t at;
	uint8_t len;
	uint64_t value;
	const char *words;
} identify_flaws[] = {
	{NVME_CNS_CTRL, 78, 2, 2, "Connect gave us controller 1"},
	{NVME_CNS_CTRL, 111, 1, NVME_CNTRLTYPE_DISCOVERY, "type 2"},
	{NVME_CNS_CTRL, 320, 2, 0, "keep-alive"},
	{NVME_CNS_CTRL, 536, 4, 0, "SGLS"},
	{NVME_CNS_CTRL, 1792, 4, 3, "IOCCSZ"},
	{NVME_CNS_CTRL, 1796, 4, 0, "IORCSZ"},
	{NVME_CNS_CTRL, 1800, 2, 1, "ICDOFF"},
	{NVME_CNS_ACTIVE_NS, 0, 4, 0, "no namespace"},
	{NVME_CNS_ACTIVE_NS, 0, 4, UINT32_MAX, "no namespace"},
	{NVME_CNS_NS, 0, 8, 0, "no namespace 1"},
	{NVME_CNS_NS, 8, 8, 0, "no namespace 1"},
	{NVME_CNS_NS, 0, 8, UINT64_MAX, "claims"},
	{NVME_CNS_NS, 0, 8, 1ull << 55, "claims"},
	{NVME_CNS_NS, 26, 1, 5, "2^0 bytes"},
	{NVME_CNS_NS, 128, 2, 8, "8 bytes of metadata"},
	{NVME_CNS_NS, 130, 1, 10, "2^10 bytes"},
	{NVME_CNS_NS, 130, 1, 255, "2^255 bytes"},
	/* These are taken: */
	{NVME_CNS_CTRL, 77, 1, 255, NULL},
	{NVME_CNS_CTRL, 514, 2, 1, NULL},
	{NVME_CNS_CTRL, 1792, 4, UINT32_MAX, NULL},
	{NVME_CNS_CTRL, 4, 8, UINT64_MAX, NULL},
	{NVME_CNS_NS_DESCS, 0, 2, 0xff03, NULL},
	{NVME_CNS_NS_DESCS, 0, 2, 0x0001, NULL},
	{NVME_CNS_CSI_CTRL, 1, 1, 255, NULL},
	{NVME_CNS_CSI_CTRL, 1, 1, 1, NULL},
	{NVME_CNS_NS, 33, 1, 255, NULL},
	{NVME_CNS_NS, 25, 1, 255, NULL},
};

static size_t identify_index;

static bool spoil_identify(struct bad_conn *conn, struct bad_cmd *cmd)
{
	(void)conn;
	if (conn->qid == 0 && cmd->sqe.opc == NVME_ADMIN_IDENTIFY) {
		conn->target->nr_sent =
			(cmd->sqe.cdw10 & 0xff) == identify_flaws[identify_index].cns;
	}
	return false;
}

static void spoil_page(struct bad_target *t, struct bad_pdu *pdu)
{
	uint64_t value = identify_flaws[identify_index].value;

	if (pdu->hdr.type != NVME_TCP_C2H_DATA || pdu->conn->qid != 0 || t->nr_sent == 0) {
		return;
	}
	for (uint32_t i = 0; i < identify_flaws[identify_index].len; i++) {
		uint32_t at = identify_flaws[identify_index].at + i;

		if (at >= pdu->data.datao && at < pdu->data.datao + pdu->payload_len) {
			pdu->payload[at - pdu->data.datao] = (uint8_t)(value >> (8 * i));
		}
	}
}

static void test_hostile_identify(void **state)
{
	const struct bad_opts opts = {.hook = spoil_page, .on_command = spoil_identify};

	for (identify_index = 0; identify_index < ARRAY_SIZE(identify_flaws); identify_index++) {
		const char *words = identify_flaws[identify_index].words;
		struct xu_error err = {0};
		struct fixture f = {0};

		prepare(&f, &opts);
		f.dev = try_attach(&f, "", &err);
		if ((words == NULL) != (f.dev != NULL) ||
			(words != NULL && strstr(err.text, words) == NULL)) {
			fail_msg("flaw %zu: %s", identify_index, err.text);
		}
		if (f.dev != NULL) {
			char buf[4096];

			assert_int_equal(sim_bdev_open(f.w.sim, f.w.ctx, "r", 0, &f.bdev, NULL), 0);
			assert_int_equal(
				sim_bdev_io(&f.bdev, XBDEV_OP_READ, 0, 0, buf, sizeof(buf)), 0);
			assert_memory_equal(buf, f.t.disk, sizeof(buf));
			assert_int_equal(
				sim_bdev_io(&f.bdev, XBDEV_OP_WRITE_ZEROES, 0, 0, NULL, BAD_BYTES),
				0);
			assert_true(harness_is_zero(f.t.disk, BAD_BYTES));
		}
		stop(&f);
	}
}

/* ---- silence, and almost ---- */

static void be_silent(struct bad_target *t, struct bad_pdu *pdu)
{
	pdu->is_dropped = pdu->conn->number >= t->nr_sent; /* from this connection on */
}

static void test_hostile_silence_while_connecting(void **state)
{
	const struct bad_opts opts = {.hook = be_silent};
	struct xu_error err = {0};
	struct fixture f = {0};
	uint64_t start_ns;

	prepare(&f, &opts);
	start_ns = sim_now_ns(f.w.sim);
	assert_null(try_attach(&f, "", &err));
	assert_int_equal(err.code, -ETIMEDOUT);
	assert_in_range(sim_now_ns(f.w.sim) - start_ns, 9 * XU_NS_PER_S, 12 * XU_NS_PER_S);
	stop(&f);
}

static void test_hostile_bytes_come_one_by_one(void **state)
{
	const struct bad_opts opts = {.dribbles = true};
	struct xu_error err = {0};
	struct fixture f = {0};
	uint64_t start_ns;

	prepare(&f, &opts);
	start_ns = sim_now_ns(f.w.sim);
	assert_null(try_attach(&f, "", &err));
	assert_int_equal(err.code, -ETIMEDOUT);
	assert_in_range(sim_now_ns(f.w.sim) - start_ns, XU_NS_PER_S, 62 * XU_NS_PER_S);
	stop(&f);
}

/* A command that is never answered: its Abort is tried, then another connection. */
static void test_hostile_silence_to_a_command(void **state)
{
	static const struct flaw silence = {"", NVME_TCP_RSP, .change = drop};
	const struct bad_opts opts = {.hook = apply_flaw, .icd_bytes = 8192};
	struct fixture f;
	char buf[4096];
	uint64_t start_ns;

	flaw = &silence;
	start(&f, &opts, "");
	harness_fill(buf, sizeof(buf), 9);
	start_ns = sim_now_ns(f.w.sim);
	assert_int_equal(sim_bdev_io(&f.bdev, XBDEV_OP_WRITE, 0, 0, buf, sizeof(buf)), 0);
	assert_in_range(sim_now_ns(f.w.sim) - start_ns, 2 * XU_NS_PER_S, 4 * XU_NS_PER_S);
	assert_int_equal(f.t.nr_aborts, 1);
	assert_int_equal(world_info(&f.w, "resets"), 1);
	stop(&f);
}

static void never_answer(struct bad_target *t, struct bad_pdu *pdu)
{
	pdu->is_dropped = pdu->conn->qid != 0 && pdu->opc == NVME_IO_READ;
}

static void test_hostile_silence_to_every_command(void **state)
{
	const struct bad_opts opts = {.hook = never_answer};
	struct fixture f;
	char buf[4096];
	uint64_t start_ns;

	start(&f, &opts, "");
	start_ns = sim_now_ns(f.w.sim);
	assert_int_equal(sim_bdev_io(&f.bdev, XBDEV_OP_READ, 0, 0, buf, sizeof(buf)), -ETIMEDOUT);
	assert_in_range(sim_now_ns(f.w.sim) - start_ns, 6 * XU_NS_PER_S, 15 * XU_NS_PER_S);
	stop(&f);
}

/* An event for every request: they are answered at a pace of ours. */
static bool storm(struct bad_conn *conn, struct bad_cmd *cmd)
{
	static const uint32_t events[] = {0x00040002, 0x00020001, 0x00ff0707, 0x000c0302};

	if (conn->qid != 0 || cmd->sqe.opc != NVME_ADMIN_ASYNC_EVENT) {
		return false;
	}
	bad_complete(conn, cmd, 0, events[conn->target->nr_sent++ % ARRAY_SIZE(events)]);
	return true;
}

static void test_hostile_storm_of_events(void **state)
{
	const struct bad_opts opts = {.on_command = storm};
	struct fixture f;
	char buf[4096];

	start(&f, &opts, "");
	world_run_for(&f.w, 10 * XU_NS_PER_S);
	assert_in_range(f.t.nr_sent, 100, 520);
	assert_int_equal(sim_bdev_io(&f.bdev, XBDEV_OP_READ, 0, 0, buf, sizeof(buf)), 0);
	assert_int_equal(world_info(&f.w, "resets"), 0);
	stop(&f);
}

/* ---- right, in every possible way ---- */

static void run_model(struct fixture *f, uint32_t nr_ios, uint64_t seed)
{
	struct model_opts opts = {.ch = f->bdev.ch,
		.seed = seed,
		.len = BAD_BYTES,
		.max_io_bytes = 65536,
		.nr_ios = nr_ios,
		.nr_slots = 24};
	struct model *m;

	memset(f->t.disk, 0, BAD_BYTES);
	m = model_new(&opts);
	model_start(m);
	while (!atomic_load(&m->is_done)) {
		world_run_for(&f->w, XU_NS_PER_MS);
		f->t.nr_writes = 0; /* nobody looks at them */
	}
	assert_memory_equal(m->flat, f->t.disk, BAD_BYTES);
	model_free(m);
}

static void test_hostile_target_that_is_right(void **state)
{
	static const struct {
		struct bad_opts opts;
		const char *more;
	} ways[] = {
		{{.mdts = 4, .cpda = 31, .icd_bytes = 4096}, ""},
		{{.mdts = 4, .cpda = 7, .icd_bytes = 4096}, ", 'hdgst': true, 'ddgst': true"},
		{{.mdts = 4, .r2t_bytes = 1024, .nr_r2ts = 4, .maxh2cdata = 4096}, ""},
		{{.mdts = 4, .r2t_bytes = 12288, .nr_r2ts = 3, .maxh2cdata = 4096},
			", 'ddgst': true"},
		{{.mdts = 1, .icd_bytes = 512, .holds_data_back = true}, ", 'hdgst': true"},
		{{.mdts = 4, .vwc = 1, .icd_bytes = 65536 - 512}, ", 'queue_size': 16"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct fixture f;

		start(&f, &ways[i].opts, ways[i].more);
		run_model(&f, 1000, i);
		assert_int_equal(world_info(&f.w, "resets"), 0);
		assert_int_equal(f.t.nr_terms, 0);
		assert_int_equal(f.t.nr_flushes != 0, ways[i].opts.vwc != 0);
		stop(&f);
	}
}

/* Bits fall over on the way. With digests nothing wrong ever gets through. */
static void make_noise(struct bad_target *t, struct bad_pdu *pdu)
{
	struct xu_random *random = sim_random(t->sim);

	if (pdu->hdr.type != NVME_TCP_ICRESP && pdu->conn->qid != 0 &&
		xu_random_below(random, 100) == 0) {
		pdu->noise_at = (uint32_t)xu_random_u64(random);
		pdu->noise = (uint8_t)(1u << xu_random_below(random, 8));
		t->nr_sent++;
	}
}

static void test_hostile_noise(void **state)
{
	const struct bad_opts opts = {.hook = make_noise, .mdts = 4, .icd_bytes = 4096};
	struct fixture f;

	start(&f, &opts, ", 'hdgst': true, 'ddgst': true, 'quiesce_ms': 0");
	run_model(&f, 2000, 1);
	assert_true(f.t.nr_sent > 5);
	assert_true(world_info(&f.w, "resets") > 0);
	stop(&f);
}

/* ---- statuses ---- */

static const struct {
	uint16_t status;   /* without Do Not Retry */
	uint32_t nr_times; /* that the target says so */
	int result;
	uint32_t nr_tries;
	uint32_t min_ms, max_ms;
} statuses[] = {
	{NVME_STATUS(0u, 0x06u), 1, 0, 2, 100, 110},
	{NVME_STATUS(0u, 0x06u), 3, 0, 4, 700, 720},
	{NVME_STATUS(0u, 0x06u), 99, -EIO, 6, 3100, 3150},
	{NVME_STATUS(0u, 0x82u), 10, 0, 11, 13000, 14000},
	{NVME_STATUS(3u, 0x02u), 99, -EIO, 17, 25000, 30000},
	{NVME_STATUS(0u, 0x21u) | 1u << 12, 2, 0, 3, 14000, 14100},
	{NVME_STATUS(0u, 0x21u) | 3u << 12, 1, 0, 2, 100, 110}, /* no CRDT3: as always */
	{NVME_STATUS(0u, 0x06u) | NVME_DNR, 1, -EIO, 1, 0, 10},
	{NVME_STATUS(3u, 0x00u) | NVME_DNR, 1, -EIO, 1, 0, 10},
	{NVME_STATUS(0u, 0x01u), 1, -EOPNOTSUPP, 1, 0, 10},
	{NVME_STATUS(0u, 0x02u), 1, -EINVAL, 1, 0, 10},
	{NVME_STATUS(0u, 0x0bu), 1, -ENODEV, 1, 0, 10},
	{NVME_STATUS(0u, 0x20u), 1, -EROFS, 1, 0, 10},
	{NVME_STATUS(0u, 0x80u), 1, -EINVAL, 1, 0, 10},
	{NVME_STATUS(0u, 0x81u), 1, -ENOSPC, 1, 0, 10},
	{NVME_STATUS(0u, 0x83u), 1, -EBUSY, 1, 0, 10},
	{NVME_STATUS(2u, 0x80u), 1, -EIO, 1, 0, 10},
	{NVME_STATUS(2u, 0x81u), 1, -EIO, 1, 0, 10},
	{NVME_STATUS(2u, 0x82u), 1, -EILSEQ, 1, 0, 10},
	{NVME_STATUS(2u, 0x85u), 1, -EBADE, 1, 0, 10},
	{NVME_STATUS(7u, 0xffu), 1, -EIO, 1, 0, 10},
};

static size_t status_index;

static bool answer_status(struct bad_conn *conn, struct bad_cmd *cmd)
{
	if (conn->qid == 0 || cmd->sqe.opc == NVME_FABRICS ||
		conn->target->nr_sent++ >= statuses[status_index].nr_times) {
		return false;
	}
	bad_complete(conn, cmd, statuses[status_index].status, 0);
	return true;
}

static void test_hostile_statuses(void **state)
{
	const struct bad_opts opts = {.on_command = answer_status, .icd_bytes = 4096, .crdt1 = 70};

	for (status_index = 0; status_index < ARRAY_SIZE(statuses); status_index++) {
		struct fixture f;
		char buf[4096] = {1};
		uint64_t start_ns, ms;

		start(&f, &opts, "");
		start_ns = sim_now_ns(f.w.sim);
		assert_int_equal(sim_bdev_io(&f.bdev, XBDEV_OP_WRITE, 0, 0, buf, sizeof(buf)),
			statuses[status_index].result);
		ms = (sim_now_ns(f.w.sim) - start_ns) / XU_NS_PER_MS;
		assert_int_equal(f.t.nr_sent, statuses[status_index].nr_tries);
		assert_in_range(ms, statuses[status_index].min_ms, statuses[status_index].max_ms);
		assert_int_equal(world_info(&f.w, "resets"), 0);
		stop(&f);
	}
}

/* ---- writes in doubt ---- */

/* The first write is taken and its connection ends before it is answered. */
static bool swallow(struct bad_conn *conn, struct bad_cmd *cmd)
{
	if (conn->qid == 0 || cmd->sqe.opc != NVME_IO_WRITE || conn->target->nr_sent != 0) {
		return false;
	}
	conn->target->nr_sent++;
	return true;
}

static const struct bad_write *find_write(
	const struct bad_target *t, uint64_t slba, uint32_t word, uint32_t skip)
{
	for (uint32_t i = 0; i < t->nr_writes; i++) {
		const struct bad_write *write = &t->writes[i];

		if (write->slba == slba && write->word == word && skip-- == 0) {
			return write;
		}
	}
	return NULL;
}

static void run_doubt(const char *more, uint64_t min_ns, uint64_t max_ns)
{
	const struct bad_opts opts = {.on_command = swallow, .icd_bytes = 8192};
	struct fixture f;
	struct world_io first, second, aside, read;
	uint32_t one[2048] = {1}, two[2048] = {2}, three[1024] = {3}, in[1024];
	uint64_t cut_ns;

	start(&f, &opts, more);
	world_io_start(&f.bdev, &first, XBDEV_OP_WRITE, 8192, one, 8192);
	world_run_for(&f.w, 10 * XU_NS_PER_MS);
	assert_non_null(find_write(&f.t, 16, 1, 0));
	bad_cut(&f.t);
	cut_ns = sim_now_ns(f.w.sim);
	/* The write itself is sent again at once, and can be read. */
	assert_int_equal(world_io_finish(&f.w, &first), 0);
	assert_in_range(sim_now_ns(f.w.sim) - cut_ns, 0, XU_NS_PER_S);
	assert_non_null(find_write(&f.t, 16, 1, 1));
	world_io_start(&f.bdev, &read, XBDEV_OP_READ, 8192, in, sizeof(in));
	world_io_start(&f.bdev, &second, XBDEV_OP_WRITE, 12288, two, 8192); /* half of it */
	world_io_start(&f.bdev, &aside, XBDEV_OP_WRITE, 16384 + 8192, three, 4096);
	assert_int_equal(world_io_finish(&f.w, &read), 0);
	assert_int_equal(world_io_finish(&f.w, &aside), 0);
	assert_in_range(sim_now_ns(f.w.sim) - cut_ns, 0, 2 * XU_NS_PER_S);
	/* Another write there waits until the lost one can no longer come. */
	assert_int_equal(world_io_finish(&f.w, &second), 0);
	assert_in_range(find_write(&f.t, 24, 2, 0)->time_ns - cut_ns, min_ns, max_ns);
	assert_int_equal(world_info(&f.w, "doubts"), max_ns > XU_NS_PER_S);
	stop(&f);
}

static void test_hostile_write_in_doubt(void **state)
{
	/* 2 KATO and 10 s for a target that does not say how long it takes. */
	run_doubt("", 20 * XU_NS_PER_S, 21 * XU_NS_PER_S);
	run_doubt(", 'keep_alive_timeout_ms': 1000", 12 * XU_NS_PER_S, 13 * XU_NS_PER_S);
	run_doubt(", 'quiesce_ms': 3000", 3 * XU_NS_PER_S, 4 * XU_NS_PER_S);
	run_doubt(", 'quiesce_ms': 0", 0, XU_NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_target_that_is_right),
		cmocka_unit_test(test_hostile_pdus),
		cmocka_unit_test(test_hostile_r2ts),
		cmocka_unit_test(test_hostile_icresp),
		cmocka_unit_test(test_hostile_identify),
		cmocka_unit_test(test_hostile_silence_while_connecting),
		cmocka_unit_test(test_hostile_bytes_come_one_by_one),
		cmocka_unit_test(test_hostile_silence_to_a_command),
		cmocka_unit_test(test_hostile_silence_to_every_command),
		cmocka_unit_test(test_hostile_storm_of_events),
		cmocka_unit_test(test_hostile_noise),
		cmocka_unit_test(test_hostile_statuses),
		cmocka_unit_test(test_hostile_write_in_doubt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
