/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/delay.c, with a clock that the test sets: what is delayed ends when its time has
 * come and not before, one in a hundred by the p99 time, and at once when the device goes.
 */
#include "lib/reactor/platform.h"
#include "lib/xbdev/driver/delay.h"
#include "test/unit/xbdev/model.h"

#define KIB      1024u
#define MASK(op) (1u << XBDEV_OP_##op)

static uint64_t fake_now_ns = 1000 * XU_NS_PER_S;

static uint64_t now_ns(const struct xu_clock *clock)
{
	(void)clock;
	return fake_now_ns;
}

static const struct xu_clock fake_clock = {.now_ns = now_ns, .wall_ns = now_ns};

struct fixture {
	struct xr_platform platform;
	struct harness h;
	struct probe *base;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char buf[4096];
};

static void start(struct fixture *f, const struct probe_opts *opts, const char *params)
{
	struct probe_opts with_size = *opts;

	f->platform = *xr_platform_linux();
	f->platform.clock = &fake_clock;
	harness_start_opts(&f->h, &(struct xbdev_ctx_opts){.platform = &f->platform}, 1);
	with_size.name = "base";
	with_size.nr_blocks = 2048;
	f->base = probe_new(&f->h, &with_size);
	f->dev = harness_create(&f->h, "delay", "{'name': 'd', 'base': 'base'%s}", params);
	f->desc = harness_open(&f->h, "d", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
}

static void stop(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
}

static void pass_time(struct fixture *f, uint64_t us)
{
	harness_poll_times(&f->h, 4);
	fake_now_ns += us * XU_NS_PER_US;
	harness_poll_times(&f->h, 4);
}

static void submit(struct fixture *f, struct harness_io *hio, enum xbdev_op op)
{
	bool is_flush = op == XBDEV_OP_FLUSH;

	harness_io_set(hio, f->ch, op, 0, is_flush ? NULL : f->buf, is_flush ? 0 : 512);
	assert_int_equal(xbdev_io_submit(&hio->io), 0);
}

static void test_delay_without_times_is_none(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_AT_ONCE}, "");
	model_run(&f.h, &(struct model_opts){.ch = f.ch,
				.seed = 1,
				.len = 1024 * KIB,
				.max_io_bytes = 100 * KIB,
				.nr_ios = 1000,
				.nr_slots = 16,
				.probe = f.base});
	stop(&f);
}

static void test_delay_is_added_after_the_base_has_done_it(void **state)
{
	struct harness_io read, write;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD},
		", 'avg_read_latency_us': 100, 'avg_write_latency_us': 300");
	submit(&f, &read, XBDEV_OP_READ);
	submit(&f, &write, XBDEV_OP_WRITE);
	pass_time(&f, 10000); /* it is with the base: time does not count yet */
	assert_int_equal(read.nr_done + write.nr_done, 0);
	f.base->status[XBDEV_OP_WRITE] = -ENOSPC;
	probe_end_all(f.base, 0);
	pass_time(&f, 99);
	assert_int_equal(read.nr_done, 0);
	pass_time(&f, 1);
	assert_int_equal(read.nr_done, 1);
	assert_int_equal(read.status, 0);
	pass_time(&f, 199);
	assert_int_equal(write.nr_done, 0);
	pass_time(&f, 1);
	assert_int_equal(write.nr_done, 1);
	assert_int_equal(write.status, -ENOSPC); /* an error is not faster */
	stop(&f);
}

static void test_delay_of_all_but_reads_is_that_of_writes(void **state)
{
	static const enum xbdev_op ops[] = {
		XBDEV_OP_WRITE, XBDEV_OP_FLUSH, XBDEV_OP_DISCARD, XBDEV_OP_WRITE_ZEROES};
	struct harness_io hio[ARRAY_SIZE(ops)], read, compare;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = (1u << XBDEV_NR_OPS) - 1},
		", 'avg_read_latency_us': 100, 'avg_write_latency_us': 300");
	memset(f.buf, 0, sizeof(f.buf));
	submit(&f, &read, XBDEV_OP_READ);
	submit(&f, &compare, XBDEV_OP_COMPARE);
	for (uint32_t i = 0; i < ARRAY_SIZE(ops); i++) {
		submit(&f, &hio[i], ops[i]);
	}
	pass_time(&f, 100);
	assert_int_equal(read.nr_done, 1);
	assert_int_equal(compare.nr_done, 1);
	pass_time(&f, 199);
	for (uint32_t i = 0; i < ARRAY_SIZE(ops); i++) {
		assert_int_equal(hio[i].nr_done, 0);
	}
	pass_time(&f, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(ops); i++) {
		assert_int_equal(hio[i].nr_done, 1);
		assert_int_equal(hio[i].status, 0);
	}
	stop(&f);
}

static uint32_t count_not_done(const struct harness_io *hio, uint32_t nr)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < nr; i++) {
		count += hio[i].nr_done == 0;
	}
	return count;
}

static void test_delay_is_the_long_one_for_one_in_a_hundred(void **state)
{
	enum { NR = 500, ROUNDS = 40 };
	static struct harness_io hio[NR];
	struct fixture f;
	uint32_t nr_late, nr_late_all = 0;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.queue_depth = NR}},
		", 'avg_read_latency_us': 100, 'p99_read_latency_us': 5000");
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < NR; i++) {
			submit(&f, &hio[i], XBDEV_OP_READ);
		}
		pass_time(&f, 99);
		assert_int_equal(count_not_done(hio, NR), NR);
		pass_time(&f, 1);
		nr_late = count_not_done(hio, NR);
		nr_late_all += nr_late;
		pass_time(&f, 4899);
		assert_int_equal(count_not_done(hio, NR), nr_late);
		pass_time(&f, 1);
		assert_int_equal(count_not_done(hio, NR), 0);
	}
	/* 200 of 20000 on average, standard deviation 14. */
	assert_in_range(nr_late_all, 200 - 140, 200 + 140);
	stop(&f);
}

static void test_delay_can_be_changed(void **state)
{
	struct xbdev_delay_latency latency;
	struct harness_io hio;
	struct xu_error err = {0};
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0}, ", 'avg_read_latency_us': 7, 'p99_write_latency_us': 9");
	assert_int_equal(xbdev_delay_get(f.dev, &latency), 0);
	assert_int_equal(latency.avg_read_us, 7);
	assert_int_equal(latency.p99_read_us, 0);
	assert_int_equal(latency.avg_write_us, 0);
	assert_int_equal(latency.p99_write_us, 9);
	latency = (struct xbdev_delay_latency){
		.avg_read_us = 500, .p99_read_us = 500, .avg_write_us = 1, .p99_write_us = 2};
	assert_int_equal(xbdev_delay_set(f.dev, &latency, &err), 0);
	submit(&f, &hio, XBDEV_OP_READ);
	pass_time(&f, 499);
	assert_int_equal(hio.nr_done, 0);
	/* It holds for what the base completes from now on, not for what is held. */
	latency.avg_read_us = latency.p99_read_us = 0;
	assert_int_equal(xbdev_delay_set(f.dev, &latency, &err), 0);
	harness_poll_times(&f.h, 5);
	assert_int_equal(hio.nr_done, 0);
	pass_time(&f, 1);
	assert_int_equal(hio.nr_done, 1);
	submit(&f, &hio, XBDEV_OP_READ);
	harness_poll_times(&f.h, 5);
	assert_int_equal(hio.nr_done, 1);
	stop(&f);
}

static void test_delay_refuses_times_that_make_no_sense(void **state)
{
	static const char *const bad[] = {
		"'avg_read_latency_us': 10, 'p99_read_latency_us': 9",
		"'avg_write_latency_us': 10, 'p99_write_latency_us': 9",
		"'avg_write_latency_us': 3600000001",
		"'p99_read_latency_us': 3600000001",
		"'avg_read_latency_us': -1",
		"'avg_read_latency_us': '10'",
	};
	struct xbdev_delay_latency latency = {.avg_read_us = 10, .p99_read_us = 9};
	struct xu_error err = {0};
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0}, "");
	assert_int_equal(xbdev_delay_set(f.dev, &latency, &err), -EINVAL);
	assert_non_null(strstr(err.text, "p99_read_latency_us 9"));
	latency = (struct xbdev_delay_latency){.p99_write_us = XBDEV_DELAY_MAX_US + 1};
	assert_int_equal(xbdev_delay_set(f.dev, &latency, &err), -EINVAL);
	assert_non_null(strstr(err.text, "hour"));
	assert_int_equal(xbdev_delay_get(f.dev, &latency), 0);
	assert_int_equal(latency.p99_write_us, 0);
	assert_int_equal(xbdev_delay_set(&f.base->dev, &latency, &err), -EINVAL);
	assert_non_null(strstr(err.text, "driver probe"));
	assert_int_equal(xbdev_delay_get(&f.base->dev, &latency), -EINVAL);
	harness_create(&f.h, "null", "{'name': 'n', 'size': '1MiB'}");
	for (uint32_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(harness_try_create(
			&f.h, "delay", &err, "{'name': 'x', 'base': 'n', %s}", bad[i]));
		assert_int_equal(err.code, -EINVAL);
	}
	/* A refusal has not left the base claimed. */
	harness_create(&f.h, "delay", "{'name': 'x', 'base': 'n'}");
	stop(&f);
}

static void test_delay_tells_its_parameters(void **state)
{
	struct fixture f;
	json_t *config, *wanted;

	(void)state;
	start(&f, &(struct probe_opts){0},
		", 'avg_read_latency_us': 1, 'p99_read_latency_us': 2, 'avg_write_latency_us': 3,"
		" 'p99_write_latency_us': 4, 'uuid': '6ba7b810-9dad-11d1-80b4-00c04fd430c8'");
	config = f.dev->ops->config(f.dev);
	wanted = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i}", "driver", "delay", "name",
		"d", "base", "base", "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		"avg_read_latency_us", 1, "p99_read_latency_us", 2, "avg_write_latency_us", 3,
		"p99_write_latency_us", 4);
	assert_true(json_equal(config, wanted));
	json_decref(config);
	json_decref(wanted);
	stop(&f);
}

static void test_delay_ends_at_once_when_the_device_goes(void **state)
{
	struct harness_io held, late;
	struct fixture f;

	(void)state;
	for (uint32_t is_base = 0; is_base < 2; is_base++) {
		start(&f, &(struct probe_opts){.mode = PROBE_HOLD, .holds_aborted = true},
			", 'avg_read_latency_us': 3600000000");
		submit(&f, &held, XBDEV_OP_READ);
		submit(&f, &late, XBDEV_OP_READ);
		probe_end_one(f.base, 0, 0);
		harness_poll_times(&f.h, 5);
		assert_int_equal(held.nr_done, 0);
		assert_int_equal(
			xbdev_device_remove(is_base ? &f.base->dev : f.dev, NULL, NULL), 0);
		harness_wait(&f.h, held.nr_done == 1);
		assert_int_equal(held.status, -ENODEV);
		/* What the base has only now done does not begin to wait. */
		assert_int_equal(late.nr_done, 0);
		probe_end_one(f.base, 0, 0);
		harness_poll_times(&f.h, 3);
		assert_int_equal(late.nr_done, 1);
		assert_int_equal(late.status, -ENODEV);
		xbdev_channel_put(f.ch);
		xbdev_desc_close(f.desc);
		harness_wait(&f.h, xbdev_device_find(f.h.ctx, "d") == NULL);
		harness_wait(&f.h, !is_base || xbdev_device_find(f.h.ctx, "base") == NULL);
		harness_stop(&f.h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delay_without_times_is_none),
		cmocka_unit_test(test_delay_is_added_after_the_base_has_done_it),
		cmocka_unit_test(test_delay_of_all_but_reads_is_that_of_writes),
		cmocka_unit_test(test_delay_is_the_long_one_for_one_in_a_hundred),
		cmocka_unit_test(test_delay_can_be_changed),
		cmocka_unit_test(test_delay_refuses_times_that_make_no_sense),
		cmocka_unit_test(test_delay_tells_its_parameters),
		cmocka_unit_test(test_delay_ends_at_once_when_the_device_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
