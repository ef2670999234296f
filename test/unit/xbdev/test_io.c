/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/io.c and stats.c: the contract of an I/O (io.h) as its caller sees it, the bound
 * on the queue, and what is counted.
 */
#include "test/unit/xbdev/probe.h"

#define MASK(op) (1u << XBDEV_OP_##op)

struct fixture {
	struct harness h;
	struct probe *probe;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char buf[8 * 4096];
};

static void start_writable(struct fixture *f, const struct probe_opts *opts, bool is_writable)
{
	struct probe_opts with_size = *opts;

	with_size.nr_blocks = opts->nr_blocks != 0 ? opts->nr_blocks : 8;
	harness_start(&f->h, 1, 1);
	f->probe = probe_new(&f->h, &with_size);
	f->desc = harness_open(&f->h, "probe", is_writable);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

static void start(struct fixture *f, const struct probe_opts *opts)
{
	start_writable(f, opts, true);
}

static void stop(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
}

/* ---- what is refused ---- */

struct refusal {
	enum xbdev_op op;
	uint64_t offset, len; /* in halves of a block */
	int status;
};

/* Submits what must be refused, and sees that nothing comes of it. */
static void assert_refused(
	struct fixture *f, enum xbdev_op op, uint64_t offset, uint64_t len, int status)
{
	struct harness_io hio;
	uint32_t nr_log = f->probe->nr_log;

	harness_io_set(&hio, f->ch, op, offset, f->buf, len);
	assert_int_equal(xbdev_io_submit(&hio.io), status);
	harness_poll_times(&f->h, 5);
	assert_int_equal(hio.nr_done, 0);
	assert_int_equal(f->probe->nr_log, nr_log);
	assert_int_equal(f->ch->nr_inflight, 0);
}

static void refuse_bad_arguments(uint32_t block_size)
{
	static const struct refusal cases[] = {
		{XBDEV_OP_READ, 1, 2, -EINVAL}, /* half a block in */
		{XBDEV_OP_READ, 0, 1, -EINVAL}, /* half a block long */
		{XBDEV_OP_READ, 0, 3, -EINVAL},
		{XBDEV_OP_READ, 0, 0, -EINVAL}, /* nothing */
		{XBDEV_OP_WRITE, 2, 0, -EINVAL},
		{XBDEV_OP_COMPARE, 2, 0, -EINVAL},
		{XBDEV_OP_DISCARD, 2, 0, -EINVAL},
		{XBDEV_OP_WRITE_ZEROES, 2, 0, -EINVAL},
		{XBDEV_OP_READ, 16, 2, -EINVAL},  /* just beyond the end */
		{XBDEV_OP_WRITE, 14, 4, -EINVAL}, /* across the end */
		{XBDEV_OP_DISCARD, 0, 18, -EINVAL},
		{XBDEV_OP_FLUSH, 0, 2, -EINVAL}, /* a range where there is none */
		{XBDEV_NR_OPS, 0, 2, -EINVAL},
		{255, 0, 2, -EINVAL},
	};
	uint64_t last = UINT64_MAX - block_size + 1;
	struct fixture f;

	start(&f, &(struct probe_opts){.limits = {.block_size = block_size},
			  .ops_mask = MASK(DISCARD) | MASK(WRITE_ZEROES) | MASK(COMPARE)});
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_refused(&f, cases[i].op, cases[i].offset * block_size / 2,
			cases[i].len * block_size / 2, cases[i].status);
	}
	assert_refused(&f, XBDEV_OP_READ, 1, block_size, -EINVAL);
	assert_refused(&f, XBDEV_OP_READ, 0, block_size + 1, -EINVAL);
	/* The sum of offset and length goes around. */
	assert_refused(&f, XBDEV_OP_READ, last, block_size, -EINVAL);
	assert_refused(&f, XBDEV_OP_READ, block_size, last, -EINVAL);
	assert_refused(&f, XBDEV_OP_WRITE, last, 2 * (uint64_t)block_size, -EINVAL);
	/* The last block itself is fine. */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 7 * (uint64_t)block_size, f.buf,
				 block_size, 0),
		0);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 8 * (uint64_t)block_size, 0), 0);
	stop(&f);
}

static void test_io_refuses_what_is_unaligned_or_out_of_range(void **state)
{
	(void)state;
	refuse_bad_arguments(512);
	refuse_bad_arguments(4096);
}

static void test_io_refuses_to_change_what_is_open_for_reading(void **state)
{
	struct fixture f;

	(void)state;
	start_writable(
		&f, &(struct probe_opts){.ops_mask = MASK(DISCARD) | MASK(WRITE_ZEROES)}, false);
	assert_refused(&f, XBDEV_OP_WRITE, 0, 512, -EROFS);
	assert_refused(&f, XBDEV_OP_DISCARD, 0, 512, -EROFS);
	assert_refused(&f, XBDEV_OP_WRITE_ZEROES, 0, 512, -EROFS);
	memset(f.buf, 0, 512);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf, 512, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, 0, f.buf, 512, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	stop(&f);
}

static void test_io_refuses_discard_where_there_is_none(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	assert_refused(&f, XBDEV_OP_DISCARD, 0, 512, -EOPNOTSUPP);
	/* The others have a substitute. */
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512, 0), 0);
	memset(f.buf, 0, 512);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, 0, f.buf, 512, 0), 0);
	stop(&f);
}

static void test_io_refuses_a_device_that_is_gone(void **state)
{
	struct fixture f;
	bool is_destroyed = false;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = MASK(DISCARD)});
	f.probe->ret_destroyed = &is_destroyed;
	assert_int_equal(xbdev_device_remove(&f.probe->dev, NULL, NULL), 0);
	harness_wait(&f.h, f.ch->is_removed);
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		assert_refused(&f, op, 0, op == XBDEV_OP_FLUSH ? 0 : 512, -ENODEV);
	}
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, is_destroyed);
	harness_stop(&f.h);
}

static void test_io_follows_the_size_of_the_device(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.nr_blocks = 16});
	xbdev_device_set_size(&f.probe->dev, 8);
	assert_refused(&f, XBDEV_OP_READ, 8 * 512, 512, -EINVAL);
	xbdev_device_set_size(&f.probe->dev, 16);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 15 * 512, f.buf, 512, 0), 0);
	stop(&f);
}

/* ---- the callback ---- */

static void test_io_calls_back_once_and_never_from_submit(void **state)
{
	struct harness_io hio[XBDEV_NR_OPS];
	struct fixture f;

	(void)state;
	for (uint32_t is_all = 0; is_all < 2; is_all++) {
		start(&f, &(struct probe_opts){
				  .ops_mask = is_all ? (1u << XBDEV_NR_OPS) - 1 : MASK(DISCARD)});
		memset(f.buf, 0, sizeof(f.buf));
		for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
			bool is_flush = op == XBDEV_OP_FLUSH;

			harness_io_set(
				&hio[op], f.ch, op, 0, is_flush ? NULL : f.buf, is_flush ? 0 : 512);
			assert_int_equal(xbdev_io_submit(&hio[op].io), 0);
		}
		for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
			assert_int_equal(hio[op].nr_done, 0);
		}
		harness_poll_times(&f.h, 20);
		for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
			assert_int_equal(hio[op].nr_done, 1);
			assert_int_equal(hio[op].status, 0);
		}
		stop(&f);
	}
}

/* An I/O that is submitted again from its own callback, deeply: no recursion, no loss. */
struct chain {
	struct xbdev_io io;
	struct iovec iov;
	uint32_t nr_left;
	bool is_inside;
};

static void on_chain(struct xbdev_io *io, int status)
{
	struct chain *chain = xu_container_of(io, struct chain, io);

	assert_int_equal(status, 0);
	assert_false(chain->is_inside);
	if (chain->nr_left-- > 1) {
		chain->is_inside = true;
		assert_int_equal(xbdev_io_submit(io), 0);
		chain->is_inside = false;
	}
}

static void test_io_may_be_submitted_from_its_callback(void **state)
{
	struct chain chain = {.nr_left = 100000};
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	chain.iov = (struct iovec){.iov_base = f.buf, .iov_len = 512};
	chain.io.ch = f.ch;
	chain.io.cb = on_chain;
	chain.io.iov = &chain.iov;
	chain.io.nr_iov = 1;
	chain.io.op = XBDEV_OP_WRITE;
	chain.io.len = 512;
	assert_int_equal(xbdev_io_submit(&chain.io), 0);
	harness_wait(&f.h, chain.nr_left == 0);
	assert_int_equal(f.probe->nr_ops[XBDEV_OP_WRITE], 100000);
	stop(&f);
}

static void test_io_ends_with_what_the_driver_says(void **state)
{
	static const int errors[] = {-EIO, -ENOSPC, -ETIMEDOUT, -EILSEQ, -ESTALE, -ENOMEM};
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = (1u << XBDEV_NR_OPS) - 1});
	for (uint32_t i = 0; i < ARRAY_SIZE(errors); i++) {
		for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
			bool is_flush = op == XBDEV_OP_FLUSH;

			f.probe->status[op] = errors[i];
			assert_int_equal(harness_io(&f.h, f.ch, op, 0, is_flush ? NULL : f.buf,
						 is_flush ? 0 : 512, 0),
				errors[i]);
		}
	}
	stop(&f);
}

/* ---- the queue ---- */

static void test_io_keeps_to_the_depth_and_the_order(void **state)
{
	enum { NR = 20, DEPTH = 4 };
	struct harness_io hio[NR];
	struct xbdev_stats stats;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){
			  .nr_blocks = NR, .mode = PROBE_HOLD, .limits = {.queue_depth = DEPTH}});
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 512, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	assert_int_equal(probe_nr_held(f.probe), DEPTH);
	stats = harness_stats(&f.h, &f.probe->dev, false);
	assert_int_equal(stats.queue_depth, DEPTH);
	assert_int_equal(stats.queue_depth_max, DEPTH);
	assert_int_equal(stats.nr_waited, NR - DEPTH);
	for (uint32_t i = 0; i < NR; i++) {
		/* The one that ends makes place for exactly one, the first in line, before its
		 * callback, so the device does not run dry meanwhile. */
		assert_true(probe_end_one(f.probe, 0, 0));
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(f.probe->nr_log, i + 1 + DEPTH < NR ? i + 1 + DEPTH : NR);
	}
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(f.probe->log[i].offset, i * 512);
		assert_int_equal(hio[i].nr_done, 1);
	}
	stop(&f);
}

/* Who comes later does not pass who waits, even when there is a place. */
static void test_io_lets_nobody_pass_the_line(void **state)
{
	struct harness_io hio[4];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = 1}});
	for (uint32_t i = 0; i < 3; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 512, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	probe_end_one(f.probe, 0, 0);
	harness_io_set(&hio[3], f.ch, XBDEV_OP_WRITE, 3 * 512, f.buf, 512);
	assert_int_equal(xbdev_io_submit(&hio[3].io), 0);
	for (uint32_t i = 1; i < 4; i++) {
		assert_int_equal(f.probe->log[i].offset, i * 512);
		probe_end_one(f.probe, 0, 0);
	}
	assert_int_equal(hio[3].nr_done, 1);
	stop(&f);
}

static void put_channel(void *arg)
{
	xbdev_channel_put(arg);
}

static void test_io_in_flight_keeps_its_channel(void **state)
{
	struct harness_io hio;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	harness_io_set(&hio, f.ch, XBDEV_OP_WRITE, 0, f.buf, 512);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	assert_true(harness_aborts(put_channel, f.ch));
	probe_end_all(f.probe, 0);
	assert_false(harness_aborts(put_channel, f.ch));
	stop(&f);
}

/* ---- statistics ---- */

static void test_stats_count_operations_bytes_and_errors(void **state)
{
	struct xbdev_stats stats;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = (1u << XBDEV_NR_OPS) - 1});
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		bool is_flush = op == XBDEV_OP_FLUSH;

		memset(f.buf, 0, sizeof(f.buf));
		for (uint32_t i = 0; i < 10 + op; i++) {
			harness_io(&f.h, f.ch, op, 0, is_flush ? NULL : f.buf,
				is_flush ? 0 : 512 * (1 + op), 0);
		}
		f.probe->status[op] = -EIO;
		for (uint32_t i = 0; i < 1 + op; i++) {
			harness_io(
				&f.h, f.ch, op, 0, is_flush ? NULL : f.buf, is_flush ? 0 : 512, 0);
		}
	}
	stats = harness_stats(&f.h, &f.probe->dev, true);
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		const struct xbdev_op_stats *s = &stats.ops[op];
		uint64_t bytes = (10 + op) * 512 * (1 + op);

		assert_int_equal(s->latency.count, 11 + 2 * op);
		assert_int_equal(s->errors, 1 + op);
		assert_int_equal(s->bytes, op == XBDEV_OP_FLUSH ? 0 : bytes);
		assert_true(s->latency.min_ns <= s->latency.max_ns);
		assert_true(s->latency.sum_ns >= s->latency.max_ns);
	}
	assert_int_equal(stats.queue_depth, 0);
	assert_int_equal(stats.queue_depth_max, 1);
	/* The reset has left nothing. */
	stats = harness_stats(&f.h, &f.probe->dev, false);
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		assert_int_equal(stats.ops[op].latency.count, 0);
		assert_int_equal(stats.ops[op].latency.sum_ns, 0);
		assert_int_equal(stats.ops[op].errors, 0);
		assert_int_equal(stats.ops[op].bytes, 0);
	}
	assert_int_equal(stats.queue_depth_max, 0);
	stop(&f);
}

/* What is refused at submit is no operation of the device. */
static void test_stats_do_not_count_what_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	assert_refused(&f, XBDEV_OP_READ, 1, 512, -EINVAL);
	assert_refused(&f, XBDEV_OP_DISCARD, 0, 512, -EOPNOTSUPP);
	assert_int_equal(
		harness_stats(&f.h, &f.probe->dev, false).ops[XBDEV_OP_READ].latency.count, 0);
	stop(&f);
}

static void test_stats_measure_the_time_in_line_too(void **state)
{
	struct harness_io hio[2];
	struct xbdev_stats stats;
	struct fixture f;
	uint64_t start_ns;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = 1}});
	start_ns = xu_clock_now_ns(xu_clock_system());
	for (uint32_t i = 0; i < 2; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, 0, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	while (xu_clock_now_ns(xu_clock_system()) - start_ns < 5 * XU_NS_PER_MS) {
		harness_poll(&f.h);
	}
	probe_end_all(f.probe, 0);
	stats = harness_stats(&f.h, &f.probe->dev, false);
	assert_int_equal(stats.ops[XBDEV_OP_WRITE].latency.count, 2);
	/* The second one's own time in the device was next to nothing. */
	assert_true(stats.ops[XBDEV_OP_WRITE].latency.min_ns >= 4 * XU_NS_PER_MS);
	stop(&f);
}

/* Bytes and counts of channels that are gone stay; the depth at which one was once seen does not.
 */
static void test_stats_keep_what_closed_channels_did(void **state)
{
	struct harness_io hio[3];
	struct xbdev_stats stats;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	for (uint32_t i = 0; i < 3; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, 0, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, false).queue_depth, 3);
	probe_end_all(f.probe, 0);
	xbdev_channel_put(f.ch);
	harness_poll_times(&f.h, 3);
	for (uint32_t i = 0; i < 2; i++) {
		stats = harness_stats(&f.h, &f.probe->dev, false);
		assert_int_equal(stats.ops[XBDEV_OP_WRITE].latency.count, 3);
		assert_int_equal(stats.ops[XBDEV_OP_WRITE].bytes, 3 * 512);
		assert_int_equal(stats.queue_depth, 0);
		assert_int_equal(stats.queue_depth_max, 3);
	}
	f.ch = harness_channel(&f.h, f.desc, 0);
	stop(&f);
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	*(uint64_t *)arg = stats->ops[XBDEV_OP_READ].latency.count;
}

/* A channel that closes while the question goes around is counted once. */
static void test_stats_count_a_channel_that_closes_meanwhile_once(void **state)
{
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct probe *probe;
	struct harness h;
	uint64_t count;
	char buf[512];

	(void)state;
	/* Closed before the question comes to its reactor, and after it. */
	for (uint32_t is_after = 0; is_after < 2; is_after++) {
		count = UINT64_MAX;
		harness_start(&h, 3, 3);
		probe = probe_new(
			&h, &(struct probe_opts){.nr_blocks = 8, .is_multi_reactor = true});
		desc = harness_open(&h, "probe", true);
		ch = harness_channel(&h, desc, 1);
		for (uint32_t i = 0; i < 7; i++) {
			assert_int_equal(harness_io(&h, ch, XBDEV_OP_READ, 0, buf, 512, 0), 0);
		}
		xbdev_device_stats(&probe->dev, false, on_stats, &count);
		xr_reactor_poll(xbdev_ctx_reactor(h.ctx, 0), 0);
		if (is_after) {
			xr_reactor_poll(xbdev_ctx_reactor(h.ctx, 1), 0);
		}
		xbdev_channel_put(ch);
		xr_reactor_poll(xbdev_ctx_reactor(h.ctx, 0), 0);
		harness_wait(&h, count != UINT64_MAX);
		assert_int_equal(count, 7);
		xbdev_desc_close(desc);
		harness_stop(&h);
	}
}

static void test_stats_hold_a_device_that_is_removed(void **state)
{
	struct probe *probe;
	struct harness h;
	bool is_destroyed = false;
	uint64_t count = UINT64_MAX;

	(void)state;
	harness_start(&h, 2, 2);
	probe = probe_new(&h, &(struct probe_opts){.nr_blocks = 8});
	probe->ret_destroyed = &is_destroyed;
	xbdev_device_stats(&probe->dev, false, on_stats, &count);
	assert_int_equal(xbdev_device_remove(&probe->dev, NULL, NULL), 0);
	harness_wait(&h, count != UINT64_MAX);
	assert_int_equal(count, 0);
	harness_wait(&h, is_destroyed);
	harness_stop(&h);
}

static void test_stats_tell_since_when_they_count(void **state)
{
	const struct xu_clock *clock = xu_clock_system();
	uint64_t before_ns = xu_clock_now_ns(clock), made_ns, reset_ns;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	made_ns = harness_stats(&f.h, &f.probe->dev, false).since_ns;
	assert_in_range(made_ns, before_ns, xu_clock_now_ns(clock));
	before_ns = xu_clock_now_ns(clock);
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, true).since_ns, made_ns);
	reset_ns = harness_stats(&f.h, &f.probe->dev, false).since_ns;
	assert_in_range(reset_ns, before_ns, xu_clock_now_ns(clock));
	stop(&f);
}

static void test_op_names_are_told(void **state)
{
	(void)state;
	assert_string_equal(xbdev_op_name(XBDEV_OP_READ), "read");
	assert_string_equal(xbdev_op_name(XBDEV_OP_WRITE), "write");
	assert_string_equal(xbdev_op_name(XBDEV_OP_FLUSH), "flush");
	assert_string_equal(xbdev_op_name(XBDEV_OP_DISCARD), "discard");
	assert_string_equal(xbdev_op_name(XBDEV_OP_WRITE_ZEROES), "write_zeroes");
	assert_string_equal(xbdev_op_name(XBDEV_OP_COMPARE), "compare");
	assert_string_equal(xbdev_op_name(XBDEV_NR_OPS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_io_refuses_what_is_unaligned_or_out_of_range),
		cmocka_unit_test(test_io_refuses_to_change_what_is_open_for_reading),
		cmocka_unit_test(test_io_refuses_discard_where_there_is_none),
		cmocka_unit_test(test_io_refuses_a_device_that_is_gone),
		cmocka_unit_test(test_io_follows_the_size_of_the_device),
		cmocka_unit_test(test_io_calls_back_once_and_never_from_submit),
		cmocka_unit_test(test_io_may_be_submitted_from_its_callback),
		cmocka_unit_test(test_io_ends_with_what_the_driver_says),
		cmocka_unit_test(test_io_keeps_to_the_depth_and_the_order),
		cmocka_unit_test(test_io_lets_nobody_pass_the_line),
		cmocka_unit_test(test_io_in_flight_keeps_its_channel),
		cmocka_unit_test(test_stats_count_operations_bytes_and_errors),
		cmocka_unit_test(test_stats_do_not_count_what_is_refused),
		cmocka_unit_test(test_stats_measure_the_time_in_line_too),
		cmocka_unit_test(test_stats_keep_what_closed_channels_did),
		cmocka_unit_test(test_stats_count_a_channel_that_closes_meanwhile_once),
		cmocka_unit_test(test_stats_hold_a_device_that_is_removed),
		cmocka_unit_test(test_stats_tell_since_when_they_count),
		cmocka_unit_test(test_op_names_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
