/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reader of discovery logs: with our own target, that it stays connected and is told of
 * changes; with a scripted one, what it asks for, what it does where a controller cannot do that,
 * and that nothing a controller says makes it hang, read too much, or end more than once.
 */
#include "test/unit/xnvmf/bad_log.h"
#include "test/unit/xnvmf/host_world.h"

#define HOSTNQN "nqn.2026-11.io.xsan:reader"

struct reading {
	struct host_world w;
	struct bad_target t;
	struct bad_log bad;
	struct xnvmf_host_discover_opts opts;
	struct xnvmf_host_reader *reader;
	uint32_t nr_logs, nr_ends;
	struct xnvmf_host_log last; /* without its entries */
	struct xnvmf_host_entry first, end;
	struct xu_error err;
	uint32_t want; /* logs */
};

static struct reading r;

static void on_log(void *arg, const struct xnvmf_host_log *log)
{
	struct reading *reading = arg;

	assert_int_equal(reading->nr_ends, 0);
	reading->nr_logs++;
	reading->last = *log;
	if (log->nr_entries != 0) {
		reading->first = log->entries[0];
		reading->end = log->entries[log->nr_entries - 1];
	}
}

static void on_end(void *arg, const struct xu_error *err)
{
	struct reading *reading = arg;

	reading->nr_ends++;
	reading->err = *err;
	reading->reader = NULL;
}

static void do_open(void *arg)
{
	static const struct xnvmf_host_reader_ops ops = {.log = on_log, .end = on_end};
	struct reading *reading = arg;

	reading->reader = xnvmf_host_reader_open(reading->w.ctx, &reading->opts, &ops, reading);
	assert_non_null(reading->reader);
}

static void do_again(void *arg)
{
	xnvmf_host_reader_again(((struct reading *)arg)->reader);
}

static void do_close(void *arg)
{
	xnvmf_host_reader_close(((struct reading *)arg)->reader);
}

static void call(void (*fn)(void *arg))
{
	sim_call(r.w.sim, xbdev_ctx_control(r.w.ctx), fn, &r);
}

static bool has_logs(struct host_world *w)
{
	return r.nr_logs >= r.want;
}

static bool has_ended(struct host_world *w)
{
	return r.nr_ends != 0;
}

static void wait_logs(uint32_t count)
{
	r.want = count;
	assert_true(world_run_until(&r.w, has_logs, 20));
	assert_int_equal(r.nr_logs, count);
}

static void wait_end(int code)
{
	assert_true(world_run_until(&r.w, has_ended, 60));
	assert_int_equal(r.err.code, code);
	world_run_for(&r.w, XU_NS_PER_S);
	assert_int_equal(r.nr_ends, 1);
}

/* ---- our own target ---- */

static void start_own(uint64_t seed)
{
	memset(&r, 0, sizeof(r));
	world_start(&r.w, seed, 1);
	world_start_node(&r.w);
	r.opts = (struct xnvmf_host_discover_opts){.traddr = sim_host_address(r.w.node),
		.port = 4420,
		.hostnqn = HOSTNQN,
		.kato_ms = 5000};
}

static void add_subsystem(struct host_world *w)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {
		.nqn = "nqn.2026-11.io.xsan:more", .allow_any_host = true};
	struct xnvmf_subsystem *subsystem;

	MUST(xnvmf_subsystem_add(w->target, &opts, &subsystem, NULL) == 0);
	MUST(xnvmf_listener_add(subsystem, &listener, NULL) == 0);
}

static void test_reader_is_told_of_changes(void **state)
{
	start_own(70);
	call(do_open);
	wait_logs(1);
	assert_true(r.last.is_persistent);
	assert_int_equal(r.last.nr_entries, 2);
	world_run_for(&r.w, 60 * XU_NS_PER_S); /* kept alive, and silent */
	assert_int_equal(r.nr_logs, 1);
	world_on_node(&r.w, add_subsystem);
	wait_logs(2);
	assert_int_equal(r.last.nr_entries, 3);
	call(do_again);
	wait_logs(3);
	call(do_close);
	wait_end(0);
	world_stop(&r.w);
}

static void test_reader_tells_the_end_of_the_controller(void **state)
{
	start_own(71);
	call(do_open);
	wait_logs(1);
	world_stop_node(&r.w);
	assert_true(world_run_until(&r.w, has_ended, 60));
	assert_int_not_equal(r.err.code, 0);
	world_stop(&r.w);

	/* One that is silent. */
	start_own(72);
	call(do_open);
	wait_logs(1);
	sim_net_partition(r.w.sim, r.w.node, r.w.machine, true);
	wait_end(-ETIMEDOUT);
	world_stop(&r.w);
}

static void test_reader_can_be_closed_at_any_time(void **state)
{
	for (uint32_t i = 0; i < 24; i++) {
		start_own(80 + i);
		call(do_open);
		world_run_for(&r.w, i * 50 * XU_NS_PER_US);
		if (r.reader != NULL) {
			call(do_close);
			call(do_close);
		}
		wait_end(0);
		world_stop(&r.w);
	}
}

/* ---- a scripted one ---- */

static void start_bad(uint32_t nr_entries)
{
	const struct bad_opts opts = {.on_command = bad_log_on_command, .arg = &r.bad};

	memset(&r, 0, sizeof(r));
	world_start(&r.w, 5, 1);
	bad_start(&r.t, r.w.sim, &opts);
	bad_log_init(&r.bad, nr_entries);
	r.opts = (struct xnvmf_host_discover_opts){.traddr = sim_host_address(r.t.host),
		.port = 4420,
		.hostnqn = HOSTNQN,
		.is_controller = true,
		.options = XNVMF_HOST_PORT_LOCAL | XNVMF_HOST_ALL,
		.kato_ms = 5000,
		.timeout_ms = 3000};
}

static void stop_bad(void)
{
	if (r.reader != NULL) {
		call(do_close);
		assert_true(world_run_until(&r.w, has_ended, 60));
	}
	assert_int_equal(r.nr_ends, 1);
	bad_stop(&r.t);
	world_stop(&r.w);
}

static void test_reader_says_who_it_is(void **state)
{
	start_bad(3);
	call(do_open);
	wait_logs(1);
	assert_int_equal(r.bad.cattr & NVME_CATTR_DISCOVERY, NVME_CATTR_DISCOVERY);
	assert_int_equal(r.bad.options, 6);
	assert_int_equal(r.bad.kato_ms, 5000);
	assert_string_equal(r.last.subnqn, "nqn.2026-11.io.xsan:bad-log");
	assert_false(r.last.is_central);
	assert_int_equal(r.last.nr_entries, 3);
	assert_string_equal(r.first.subnqn, "nqn.2026-11.io.xsan:log-0");
	assert_string_equal(r.first.trsvcid, "4420");
	stop_bad();

	/* A central one is asked for everything, not for what is behind one of its ports. */
	start_bad(3);
	r.bad.id.dctype = NVME_DCTYPE_CENTRAL;
	call(do_open);
	wait_logs(1);
	assert_true(r.last.is_central);
	assert_int_equal(r.bad.options, 4);
	stop_bad();
}

static void test_reader_takes_less(void **state)
{
	/* No options. */
	start_bad(3);
	r.bad.refuses_options = true;
	call(do_open);
	wait_logs(1);
	assert_int_equal(r.bad.options, 0);
	assert_int_equal(r.last.nr_entries, 3);
	stop_bad();

	/* No keep-alive: it is told once, and ends. */
	start_bad(3);
	r.bad.refuses_kato = true;
	call(do_open);
	wait_end(0);
	assert_int_equal(r.nr_logs, 1);
	assert_false(r.last.is_persistent);
	assert_int_equal(r.bad.kato_ms, 0);
	assert_int_equal(r.bad.nr_connects, 2);
	stop_bad();

	/* No events. */
	start_bad(3);
	r.bad.id.oaes = 0;
	call(do_open);
	wait_end(0);
	assert_int_equal(r.nr_logs, 1);
	stop_bad();
}

static void test_reader_refuses(void **state)
{
	start_bad(3);
	r.opts.nr_entries_max = 2;
	call(do_open);
	wait_end(-E2BIG);
	stop_bad();

	start_bad(3);
	r.bad.header.numrec = UINT64_MAX;
	call(do_open);
	wait_end(-E2BIG);
	stop_bad();

	start_bad(3);
	r.bad.header.recfmt = 1;
	call(do_open);
	wait_end(-EPROTONOSUPPORT);
	stop_bad();

	start_bad(3);
	r.bad.moves = true;
	call(do_open);
	wait_end(-EAGAIN);
	assert_int_equal(r.bad.nr_headers, 12);
	assert_int_equal(r.nr_logs, 0);
	stop_bad();

	start_bad(3);
	r.bad.id.cntrltype = NVME_CNTRLTYPE_IO;
	call(do_open);
	wait_end(-EPROTONOSUPPORT);
	stop_bad();

	start_bad(3);
	memset(r.bad.id.subnqn, 'x', sizeof(r.bad.id.subnqn));
	call(do_open);
	wait_end(-EPROTO);
	stop_bad();
}

static void test_reader_leaves_out_what_is_too_long(void **state)
{
	start_bad(3);
	memset(r.bad.entries[0].subnqn, 'x', sizeof(r.bad.entries[0].subnqn));
	r.bad.entries[1].subnqn[3] = '\n';
	call(do_open);
	wait_logs(1);
	assert_int_equal(r.last.nr_entries, 2);
	assert_int_equal(r.last.nr_left_out, 1);
	assert_string_equal(r.first.subnqn, "nqn?2026-11.io.xsan:log-1");
	stop_bad();
}

/* Attributes are asked for, and their labels are told; what does not fit what is read at a time is
 * read the next time. */
static void test_reader_takes_labels(void **state)
{
	start_bad(40);
	bad_log_extend(&r.bad);
	r.opts.options = XNVMF_HOST_EXTENDED | XNVMF_HOST_ALL;
	call(do_open);
	wait_logs(1);
	assert_int_equal(r.bad.options, 5);
	assert_int_equal(r.last.nr_entries, 40);
	assert_int_equal(r.last.nr_left_out, 0);
	assert_string_equal(r.first.subnqn, "nqn.2026-11.io.xsan:log-0");
	assert_string_equal(r.first.label, "label 0");
	assert_string_equal(r.end.subnqn, "nqn.2026-11.io.xsan:log-39");
	assert_string_equal(r.end.label, "label 39");
	stop_bad();

	/* Who does not ask gets none. */
	start_bad(40);
	bad_log_extend(&r.bad);
	call(do_open);
	wait_logs(1);
	assert_int_equal(r.last.nr_entries, 40);
	assert_string_equal(r.end.label, "");
	stop_bad();
}

/* Whatever a controller says of its attributes, its entries are read. */
static void test_reader_can_do_without_labels(void **state)
{
	static const struct {
		uint32_t offset; /* in the extension of the second entry */
		uint8_t value;
		bool is_plain; /* it is read without attributes */
	} cases[] = {
		{0, 0, true},      /* a length of 1280 that the next entry does not begin at */
		{1, 4, true},      /* shorter than an entry */
		{3, 0x7f, true},   /* beyond the log */
		{0, 0x21, true},   /* no multiple of 4 */
		{10, 3, false},    /* an attribute whose length is no multiple of 4 */
		{11, 0xff, false}, /* one that is longer than the entry */
		{4, 0xff, false},  /* more attributes than there are */
		{32, 0xff, false}, /* no UTF-8 */
		{33, 0x07, false}, /* a control character */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start_bad(3);
		bad_log_extend(&r.bad);
		r.opts.options = XNVMF_HOST_EXTENDED;
		r.bad.extensions[1][cases[i].offset] = cases[i].value;
		call(do_open);
		wait_logs(1);
		assert_int_equal(r.last.nr_entries, 3);
		assert_string_equal(r.end.subnqn, "nqn.2026-11.io.xsan:log-2");
		assert_string_equal(r.end.label, cases[i].is_plain ? "" : "label 2");
		assert_string_equal(r.first.label, cases[i].is_plain ? "" : "label 0");
		stop_bad();
	}
	/* A log that is too short for its entries, one whose entry is too long to be read, and a
	 * controller that does not want to hear of it. */
	for (uint32_t i = 0; i < 3; i++) {
		start_bad(3);
		bad_log_extend(&r.bad);
		r.opts.options = XNVMF_HOST_EXTENDED | XNVMF_HOST_ALL;
		if (i == 0) {
			r.bad.header.tdlpl = 1024 + 2 * 1032;
		} else if (i == 1) {
			r.bad.header.tdlpl = 1u << 20;
			r.bad.extensions[0][1] = 0x80; /* 32 KiB */
		} else {
			r.bad.refuses_extended = true;
		}
		call(do_open);
		wait_logs(1);
		assert_int_equal(r.last.nr_entries, 3);
		assert_string_equal(r.end.label, "");
		assert_int_equal(r.bad.options, XNVMF_HOST_ALL);
		stop_bad();
	}
}

/* An event for every request has it read ten times a second, no more. */
static void test_reader_is_not_kept_busy(void **state)
{
	start_bad(1);
	call(do_open);
	wait_logs(1);
	for (uint32_t i = 0; i < 2000; i++) {
		bad_event(&r.t, NVME_AEN_DISCOVERY);
		world_run_for(&r.w, XU_NS_PER_MS);
	}
	assert_in_range(r.nr_logs, 10, 22);
	/* Other events are none of its business. */
	world_run_for(&r.w, XU_NS_PER_S);
	r.nr_logs = 0;
	bad_event(&r.t, NVME_AEN_NS_ATTR);
	world_run_for(&r.w, XU_NS_PER_S);
	assert_int_equal(r.nr_logs, 0);
	bad_event(&r.t, NVME_AEN_DISCOVERY);
	wait_logs(1);
	stop_bad();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reader_is_told_of_changes),
		cmocka_unit_test(test_reader_tells_the_end_of_the_controller),
		cmocka_unit_test(test_reader_can_be_closed_at_any_time),
		cmocka_unit_test(test_reader_says_who_it_is),
		cmocka_unit_test(test_reader_takes_less),
		cmocka_unit_test(test_reader_refuses),
		cmocka_unit_test(test_reader_leaves_out_what_is_too_long),
		cmocka_unit_test(test_reader_takes_labels),
		cmocka_unit_test(test_reader_can_do_without_labels),
		cmocka_unit_test(test_reader_is_not_kept_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
