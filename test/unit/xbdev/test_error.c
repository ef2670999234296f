/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/driver/error.c and filter.c: the filter passes everything but what a rule hits, and
 * each kind of rule does what error.h says; the filter lives and dies with its base.
 */
#include "lib/xbdev/driver/error.h"
#include "test/unit/xbdev/model.h"

#define KIB      1024u
#define MASK(op) (1u << XBDEV_OP_##op)

struct fixture {
	struct harness h;
	struct probe *base;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char buf[64 * KIB];
	char other[64 * KIB];
};

static void start_opts(
	struct fixture *f, const struct xbdev_ctx_opts *ctx_opts, const struct probe_opts *opts)
{
	struct probe_opts with_size = *opts;

	harness_start_opts(&f->h, ctx_opts, 1);
	with_size.name = "base";
	with_size.nr_blocks = 2048;
	f->base = probe_new(&f->h, &with_size);
	f->dev = harness_create(&f->h, "error", "{'name': 'e', 'base': 'base'}");
	f->desc = harness_open(&f->h, "e", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
	memset(f->buf, 0, sizeof(f->buf));
}

static void start(struct fixture *f, const struct probe_opts *opts)
{
	start_opts(f, &(struct xbdev_ctx_opts){0}, opts);
}

static void stop(struct fixture *f)
{
	assert_int_equal(xr_reactor_buffers(f->ch->reactor)->used_bytes, 0);
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
}

static void on_active(void *arg)
{
	*(bool *)arg = true;
}

static void inject(struct fixture *f, const struct xbdev_error_rule *rule)
{
	struct xu_error err = {0};
	bool is_active = false;

	if (xbdev_error_inject(f->dev, rule, on_active, &is_active, &err) != 0) {
		fail_msg("%s", err.text);
	}
	harness_wait(&f->h, is_active);
}

static void clear(struct fixture *f)
{
	bool is_active = false;

	assert_int_equal(xbdev_error_clear(f->dev, on_active, &is_active, NULL), 0);
	harness_wait(&f->h, is_active);
}

static void assert_counts(
	const struct fixture *f, uint64_t nr_failed, uint64_t nr_hung, uint64_t nr_corrupted)
{
	uint64_t counts[XBDEV_ERROR_NR_KINDS];

	assert_int_equal(xbdev_error_counts(f->dev, counts), 0);
	assert_int_equal(counts[XBDEV_ERROR_FAIL], nr_failed);
	assert_int_equal(counts[XBDEV_ERROR_HANG], nr_hung);
	assert_int_equal(counts[XBDEV_ERROR_CORRUPT], nr_corrupted);
}

static json_int_t nr_rules(const struct fixture *f)
{
	json_t *info = f->dev->ops->info(f->dev);
	json_int_t count = json_integer_value(json_object_get(info, "rules"));

	json_decref(info);
	return count;
}

static int do_op(struct fixture *f, enum xbdev_op op, uint64_t offset)
{
	bool is_flush = op == XBDEV_OP_FLUSH;

	return harness_io(&f->h, f->ch, op, is_flush ? 0 : offset, is_flush ? NULL : f->buf,
		is_flush ? 0 : 512, 0);
}

/* ---- passing on ---- */

static void test_filter_passes_everything_on(void **state)
{
	struct fixture f;

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		start(&f, &(struct probe_opts){.mode = PROBE_SHUFFLE,
				  .has_fua = i % 2 == 0,
				  .ops_mask = i < 2 ? 0
						    : MASK(DISCARD) | MASK(WRITE_ZEROES) |
							      MASK(COMPARE),
				  .limits = {.buf_align = i == 3 ? 512 : 1,
					  .queue_depth = 1 + 5 * i}});
		model_run(&f.h, &(struct model_opts){.ch = f.ch,
					.seed = i,
					.len = 1024 * KIB,
					.max_io_bytes = 200 * KIB,
					.nr_ios = 1000,
					.nr_slots = 32,
					.probe = f.base});
		assert_counts(&f, 0, 0, 0);
		stop(&f);
	}
}

static void test_filter_takes_over_what_its_base_can(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.has_fua = true,
			  .ops_mask = MASK(DISCARD) | MASK(COMPARE),
			  .limits = {.block_size = 4096,
				  .buf_align = 512,
				  .max_transfer = 8u << 20,
				  .max_iov = 7,
				  .max_zeroes = 1u << 20,
				  .optimal_io = 65536,
				  .queue_depth = 9}});
	assert_int_equal(f.dev->limits.block_size, 4096);
	assert_int_equal(f.dev->limits.buf_align, 512);
	/* No larger than a write can be copied. */
	assert_int_equal(f.dev->limits.max_transfer, 4u << 20);
	assert_int_equal(f.dev->limits.max_iov, 7);
	assert_int_equal(f.dev->limits.max_zeroes, 1u << 20);
	assert_int_equal(f.dev->limits.optimal_io, 65536);
	assert_int_equal(f.dev->limits.queue_depth, 9);
	assert_int_equal(f.dev->ops_mask, MASK(READ) | MASK(WRITE) | MASK(FLUSH) | MASK(DISCARD));
	assert_true(f.dev->has_fua);
	assert_false(f.dev->is_multi_reactor);
	assert_ptr_equal(f.dev->owner, f.base->dev.owner);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 2048 * 4096);
	stop(&f);
}

static void test_filter_tells_its_parameters(void **state)
{
	const char *uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
	struct xbdev_device *dev;
	struct harness h;
	json_t *config, *wanted;

	(void)state;
	harness_start(&h, 1, 1);
	harness_create(&h, "malloc", "{'name': 'm', 'size': '1MiB'}");
	dev = harness_create(&h, "error", "{'name': 'e', 'base': 'm', 'uuid': '%s'}", uuid);
	config = dev->ops->config(dev);
	wanted = json_pack(
		"{s:s, s:s, s:s, s:s}", "driver", "error", "name", "e", "base", "m", "uuid", uuid);
	assert_true(json_equal(config, wanted));
	json_decref(config);
	json_decref(wanted);
	harness_stop(&h);
}

/* ---- the base ---- */

static void test_filter_claims_its_base_and_gives_it_back(void **state)
{
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xu_error err = {0};
	struct harness h;

	(void)state;
	harness_start(&h, 1, 1);
	assert_null(harness_try_create(&h, "error", &err, "{'name': 'e', 'base': 'm'}"));
	assert_int_equal(err.code, -ENODEV);
	assert_non_null(strstr(err.text, "'m'"));
	harness_create(&h, "malloc", "{'name': 'm', 'size': '1MiB'}");
	assert_null(harness_try_create(&h, "error", &err, "{'name': 'm', 'base': 'm'}"));
	assert_int_equal(err.code, -EEXIST);
	/* The failure has left nothing: the base can be had. */
	desc = harness_open(&h, "m", true);
	assert_null(harness_try_create(&h, "error", &err, "{'name': 'e', 'base': 'm'}"));
	assert_int_equal(err.code, -EBUSY);
	xbdev_desc_close(desc);
	dev = harness_create(&h, "error", "{'name': 'e', 'base': 'm'}");
	assert_int_equal(xbdev_desc_open(h.ctx, "m", true, NULL, NULL, &desc, &err), -EBUSY);
	assert_non_null(strstr(err.text, "error injection"));
	assert_null(harness_try_create(&h, "delay", &err, "{'name': 'd', 'base': 'm'}"));
	assert_int_equal(err.code, -EBUSY);
	/* Filters stand on filters. */
	harness_create(&h, "delay", "{'name': 'd', 'base': 'e'}");
	harness_remove(&h, xbdev_device_find(h.ctx, "d"));
	harness_remove(&h, dev);
	desc = harness_open(&h, "m", true);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

static void test_filter_over_a_read_only_device_is_read_only(void **state)
{
	struct xbdev_device *dev;
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct harness h;
	char buf[512];

	(void)state;
	harness_start(&h, 1, 1);
	probe_new(&h, &(struct probe_opts){.name = "base", .nr_blocks = 8, .is_read_only = true});
	dev = harness_create(&h, "error", "{'name': 'e', 'base': 'base'}");
	assert_true(dev->is_read_only);
	assert_int_equal(xbdev_desc_open(h.ctx, "e", true, NULL, NULL, &desc, NULL), -EROFS);
	desc = harness_open(&h, "e", false);
	ch = harness_channel(&h, desc, 0);
	assert_int_equal(harness_io(&h, ch, XBDEV_OP_READ, 0, buf, 512, 0), 0);
	xbdev_channel_put(ch);
	xbdev_desc_close(desc);
	harness_stop(&h);
}

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	(void)desc;
	((uint32_t *)arg)[event]++;
}

static void test_filter_follows_the_size_of_its_base(void **state)
{
	uint32_t nr_events[2] = {0};
	struct xbdev_desc *desc;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	assert_int_equal(xbdev_desc_open(f.h.ctx, "e", false, on_event, nr_events, &desc, NULL), 0);
	xbdev_device_set_size(&f.base->dev, 1000);
	assert_int_equal(nr_events[XBDEV_EVENT_RESIZE], 1);
	assert_int_equal(xbdev_device_size_bytes(f.dev), 1000 * 512);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 999 * 512), 0);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 1000 * 512), -EINVAL);
	xbdev_desc_close(desc);
	stop(&f);
}

static void test_filter_goes_with_its_base(void **state)
{
	uint32_t nr_events[2] = {0};
	struct harness_io hio[3];
	struct xbdev_desc *desc;
	struct fixture f;
	bool is_destroyed = false;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	f.base->ret_destroyed = &is_destroyed;
	assert_int_equal(xbdev_desc_open(f.h.ctx, "e", false, on_event, nr_events, &desc, NULL), 0);
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_HANG, .ops_mask = MASK(WRITE)});
	/* One is at the base, two hang. */
	for (uint32_t i = 0; i < 3; i++) {
		harness_io_set(
			&hio[i], f.ch, i == 0 ? XBDEV_OP_READ : XBDEV_OP_WRITE, 0, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	assert_int_equal(xbdev_device_remove(&f.base->dev, NULL, NULL), 0);
	harness_wait(&f.h, nr_events[XBDEV_EVENT_REMOVE] == 1);
	for (uint32_t i = 0; i < 3; i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, -ENODEV);
	}
	assert_false(is_destroyed);
	xbdev_desc_close(desc);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, is_destroyed);
	assert_null(xbdev_device_find(f.h.ctx, "e"));
	harness_stop(&f.h);
}

/* Base and filter are removed at the same time. */
static void test_filter_is_removed_once(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	assert_int_equal(xbdev_device_remove(f.dev, NULL, NULL), 0);
	assert_int_equal(xbdev_device_remove(&f.base->dev, NULL, NULL), 0);
	harness_wait(&f.h, xbdev_device_next(f.h.ctx, NULL) == NULL);
	harness_stop(&f.h);
}

/* ---- which I/O is hit ---- */

static void test_error_fails_with_the_error_asked_for(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL});
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -EIO);
	assert_int_equal(do_op(&f, XBDEV_OP_WRITE, 0), -EIO);
	assert_int_equal(do_op(&f, XBDEV_OP_FLUSH, 0), -EIO);
	assert_int_equal(f.base->nr_log, 0); /* it does not reach the base */
	clear(&f);
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .error = -ENOSPC});
	assert_int_equal(do_op(&f, XBDEV_OP_WRITE, 0), -ENOSPC);
	clear(&f);
	assert_int_equal(do_op(&f, XBDEV_OP_WRITE, 0), 0);
	assert_int_equal(f.base->nr_log, 1);
	assert_counts(&f, 4, 0, 0);
	stop(&f);
}

static void test_error_hits_the_operations_asked_for(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = (1u << XBDEV_NR_OPS) - 1});
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		inject(&f,
			&(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .ops_mask = 1u << op});
		for (uint32_t other = 0; other < XBDEV_NR_OPS; other++) {
			/* A comparison is done by reading. */
			bool is_hit = other == op ||
				      (other == XBDEV_OP_COMPARE && op == XBDEV_OP_READ) ||
				      (other == XBDEV_OP_READ && op == XBDEV_OP_COMPARE);

			memset(f.buf, 0, 512);
			assert_int_equal(do_op(&f, other, 0), is_hit ? -EIO : 0);
		}
		clear(&f);
	}
	stop(&f);
}

static void test_error_hits_the_range_asked_for(void **state)
{
	static const struct {
		uint64_t offset, len;
		bool is_hit;
	} cases[] = {
		{0, 512, false},
		{1024, 512, false}, /* ends where the range begins */
		{1024, 1024, true},
		{1536, 512, true},
		{2048, 512, true},
		{2560, 512, false}, /* begins where the range ends */
		{2048, 4096, true},
		{0, 8192, true},
		{512 * 2047, 512, false},
	};
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	inject(&f,
		&(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .offset = 1536, .len = 1024});
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, cases[i].offset, f.buf,
					 cases[i].len, 0),
			cases[i].is_hit ? -EIO : 0);
	}
	assert_int_equal(do_op(&f, XBDEV_OP_FLUSH, 0), 0); /* it has no range */
	clear(&f);
	/* One byte is enough. */
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .offset = 1000, .len = 1});
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), 0);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 512), -EIO);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 1024), 0);
	stop(&f);
}

static void test_error_hits_the_nth_and_as_many_as_asked_for(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	inject(&f,
		&(struct xbdev_error_rule){
			.kind = XBDEV_ERROR_FAIL, .ops_mask = MASK(WRITE), .skip = 3, .count = 2});
	assert_int_equal(nr_rules(&f), 1);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), 0); /* not counted */
		assert_int_equal(do_op(&f, XBDEV_OP_WRITE, 0), i == 3 || i == 4 ? -EIO : 0);
	}
	assert_int_equal(nr_rules(&f), 0);
	assert_counts(&f, 2, 0, 0);
	stop(&f);
}

static void test_error_tries_rules_in_order(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	inject(&f,
		&(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .error = -ENOSPC, .count = 1});
	inject(&f, &(struct xbdev_error_rule){
			   .kind = XBDEV_ERROR_FAIL, .error = -ETIMEDOUT, .skip = 1, .count = 1});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .error = -EILSEQ});
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -ENOSPC);
	/* The second rule lets the first I/O that it sees through, to the third. */
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -EILSEQ);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -ETIMEDOUT);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -EILSEQ);
	stop(&f);
}

static void test_error_hits_by_chance(void **state)
{
	struct fixture f;
	uint32_t nr_failed = 0;

	(void)state;
	start(&f, &(struct probe_opts){0});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .probability_ppm = 250000});
	for (uint32_t i = 0; i < 4000; i++) {
		nr_failed += do_op(&f, XBDEV_OP_READ, 0) != 0;
	}
	/* 1000 on average, standard deviation 27; ten of those is one in 10^23. */
	assert_in_range(nr_failed, 1000 - 274, 1000 + 274);
	assert_counts(&f, nr_failed, 0, 0);
	clear(&f);
	inject(&f,
		&(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .probability_ppm = 1000000});
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -EIO);
	}
	stop(&f);
}

static void test_error_waits_for_the_queue_depth(void **state)
{
	struct harness_io hio[5];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .queue_depth = 3});
	for (uint32_t i = 0; i < 5; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_READ, 0, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	harness_poll_times(&f.h, 3);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(hio[i].nr_done, i < 3 ? 0 : 1);
	}
	assert_int_equal(hio[3].status, -EIO);
	probe_end_all(f.base, 0);
	harness_poll_times(&f.h, 3);
	assert_int_equal(hio[2].status, 0);
	stop(&f);
}

/* ---- hang ---- */

static void test_error_hangs_until_cleared(void **state)
{
	struct harness_io hio[2];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_HANG, .count = 2});
	harness_fill(f.buf, 1024, 1);
	for (uint32_t i = 0; i < 2; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 512, f.buf + i * 512, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 8192), 0); /* the third passes */
	harness_poll_times(&f.h, 20);
	assert_int_equal(hio[0].nr_done + hio[1].nr_done, 0);
	assert_counts(&f, 0, 2, 0);
	assert_true(harness_is_zero(f.base->memory, 1024));
	/* They go on to the base, even though the rule itself is spent already. */
	assert_int_equal(nr_rules(&f), 0);
	harness_fill(f.buf, 1024, 2);
	clear(&f);
	for (uint32_t i = 0; i < 2; i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, 0);
	}
	assert_memory_equal(f.base->memory, f.buf, 1024);
	stop(&f);
}

static void test_error_hangs_until_the_device_is_removed(void **state)
{
	struct harness_io hio[12];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.queue_depth = 4}});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_HANG});
	for (uint32_t i = 0; i < 12; i++) {
		/* Large ones hang in pieces. */
		harness_io_set(
			&hio[i], f.ch, XBDEV_OP_WRITE, 0, f.buf, i == 0 ? sizeof(f.buf) : 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	harness_poll_times(&f.h, 5);
	assert_int_equal(xbdev_device_remove(f.dev, NULL, NULL), 0);
	for (uint32_t i = 0; i < 12; i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, -ENODEV);
	}
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "e") == NULL);
	harness_stop(&f.h);
}

/* ---- corrupt ---- */

static void test_error_corrupts_what_is_read(void **state)
{
	static const uint32_t lens[] = {100, 412, 1, 511, 1024};
	struct iovec iov[ARRAY_SIZE(lens)];
	struct fixture f;
	char *at;

	(void)state;
	start(&f, &(struct probe_opts){0});
	harness_fill(f.base->memory, 64 * KIB, 1);
	at = f.buf;
	for (uint32_t i = 0; i < ARRAY_SIZE(lens); i++) {
		iov[i] = (struct iovec){.iov_base = at, .iov_len = lens[i]};
		at += lens[i];
	}
	for (uint32_t byte = 0; byte < 2048; byte += byte < 520 ? 1 : 97) {
		inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT,
				   .corrupt_offset = byte,
				   .corrupt_mask = 0x41,
				   .count = 1});
		assert_int_equal(
			harness_iov(&f.h, f.ch, XBDEV_OP_READ, 512, iov, ARRAY_SIZE(lens), 2048, 0),
			0);
		f.buf[byte] ^= 0x41;
		assert_memory_equal(f.buf, f.base->memory + 512, 2048);
	}
	assert_true(harness_is_filled(f.base->memory, 64 * KIB, 1));
	/* What fails anyhow is not corrupted. */
	clear(&f);
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT});
	f.base->status[XBDEV_OP_READ] = -ENOSPC;
	memset(f.buf, 0, 512);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -ENOSPC);
	assert_true(harness_is_zero(f.buf, 512));
	stop(&f);
}

static void test_error_corrupts_what_is_compared(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = MASK(COMPARE)});
	assert_int_equal(do_op(&f, XBDEV_OP_COMPARE, 0), 0);
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT, .count = 1});
	assert_int_equal(do_op(&f, XBDEV_OP_COMPARE, 0), -EBADE);
	assert_int_equal(do_op(&f, XBDEV_OP_COMPARE, 0), 0);
	assert_counts(&f, 0, 0, 1);
	stop(&f);
}

static void test_error_corrupts_what_is_written_but_not_the_writers_buffer(void **state)
{
	struct iovec iov[3];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.buf_align = 4}});
	for (uint32_t byte = 0; byte < 2048; byte += 93) {
		harness_fill(f.buf, 2048, byte);
		iov[0] = (struct iovec){.iov_base = f.buf, .iov_len = 4};
		iov[1] = (struct iovec){.iov_base = f.buf + 4, .iov_len = 1020};
		iov[2] = (struct iovec){.iov_base = f.buf + 1024, .iov_len = 1024};
		inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT,
				   .ops_mask = MASK(WRITE),
				   .corrupt_offset = byte,
				   .count = 1});
		assert_int_equal(harness_iov(&f.h, f.ch, XBDEV_OP_WRITE, 512, iov, 3, 2048, 0), 0);
		assert_true(harness_is_filled(f.buf, 2048, byte));
		f.base->memory[512 + byte] ^= (char)0xff;
		assert_memory_equal(f.buf, f.base->memory + 512, 2048);
	}
	/* One that fails gives its copy back (stop() looks). */
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT});
	f.base->status[XBDEV_OP_WRITE] = -ENOSPC;
	assert_int_equal(do_op(&f, XBDEV_OP_WRITE, 0), -ENOSPC);
	stop(&f);
}

/* Only bytes in the rule's range, though the I/O is larger; and only data. */
static void test_error_corrupts_within_the_range_only(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = MASK(DISCARD) | MASK(WRITE_ZEROES)});
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT,
			   .offset = 1000,
			   .len = 3,
			   .corrupt_offset = 4, /* goes around */
			   .corrupt_mask = 1});
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 512, f.buf, 4096, 0), 0);
	assert_int_equal(f.base->memory[1001], 1);
	f.base->memory[1001] = 0;
	assert_true(harness_is_zero(f.base->memory, 8192));
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 1024, f.buf, 4096, 0), 0);
	assert_true(harness_is_zero(f.base->memory, 8192));
	assert_int_equal(do_op(&f, XBDEV_OP_FLUSH, 0), 0);
	assert_int_equal(do_op(&f, XBDEV_OP_DISCARD, 512), 0);
	assert_int_equal(do_op(&f, XBDEV_OP_WRITE_ZEROES, 512), 0);
	assert_counts(&f, 0, 0, 1);
	/* A range that begins in one block and ends in the next. */
	clear(&f);
	inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT,
			   .offset = 1020,
			   .len = 8,
			   .corrupt_offset = 5});
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 512), 0);
	assert_int_equal((uint8_t)f.buf[509], 0xff); /* 5 modulo the 4 bytes of this block */
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 1024), 0);
	assert_int_equal((uint8_t)f.buf[1], 0xff);
	stop(&f);
}

static void test_error_waits_for_memory_to_corrupt_a_write(void **state)
{
	enum { MAX_BUFS = 4096 };
	static void *bufs[MAX_BUFS];
	struct harness_io hio[3];
	struct xu_bufpool *pool;
	struct fixture f;
	uint32_t nr_bufs = 0;

	(void)state;
	start_opts(
		&f, &(struct xbdev_ctx_opts){.buf_limit_bytes = 4u << 20}, &(struct probe_opts){0});
	pool = xr_reactor_buffers(f.ch->reactor);
	while (nr_bufs < MAX_BUFS && (bufs[nr_bufs] = xu_bufpool_get(pool, 4096)) != NULL) {
		nr_bufs++;
	}
	inject(&f,
		&(struct xbdev_error_rule){.kind = XBDEV_ERROR_CORRUPT, .ops_mask = MASK(WRITE)});
	for (uint32_t i = 0; i < 3; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 512, f.buf, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	harness_poll_times(&f.h, 100);
	assert_int_equal(f.base->nr_log, 0);
	assert_counts(&f, 0, 0, 0);
	while (nr_bufs != 0) {
		xu_bufpool_put(pool, bufs[--nr_bufs], 4096);
	}
	for (uint32_t i = 0; i < 3; i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, 0);
		assert_int_equal((uint8_t)f.base->memory[i * 512], 0xff);
	}
	assert_counts(&f, 0, 0, 3);
	stop(&f);
}

/* ---- the calls ---- */

static void assert_bad_rule(
	struct fixture *f, const struct xbdev_error_rule *rule, int code, const char *text)
{
	struct xu_error err = {0};
	bool is_active = false;

	assert_int_equal(xbdev_error_inject(f->dev, rule, on_active, &is_active, &err), code);
	assert_int_equal(err.code, code);
	if (strstr(err.text, text) == NULL) {
		fail_msg("'%s' is not in '%s'", text, err.text);
	}
	harness_poll_times(&f->h, 5);
	assert_false(is_active);
}

static void test_error_refuses_rules_that_make_no_sense(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	assert_bad_rule(
		&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_NR_KINDS}, -EINVAL, "number 3");
	assert_bad_rule(&f, &(struct xbdev_error_rule){.error = EIO}, -EINVAL, "error number");
	assert_bad_rule(&f, &(struct xbdev_error_rule){.error = -5000}, -EINVAL, "error number");
	assert_bad_rule(&f, &(struct xbdev_error_rule){.ops_mask = 0x40}, -EINVAL, "0x40");
	assert_bad_rule(&f,
		&(struct xbdev_error_rule){
			.kind = XBDEV_ERROR_CORRUPT, .ops_mask = MASK(FLUSH) | MASK(DISCARD)},
		-EINVAL, "reads and writes");
	assert_bad_rule(
		&f, &(struct xbdev_error_rule){.probability_ppm = 1000001}, -EINVAL, "1000001");
	assert_bad_rule(
		&f, &(struct xbdev_error_rule){.offset = UINT64_MAX, .len = 2}, -EINVAL, "no end");
	assert_int_equal(nr_rules(&f), 0);
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), 0);
	stop(&f);
}

static void test_error_takes_a_bounded_number_of_rules(void **state)
{
	const struct xbdev_error_rule rule = {.kind = XBDEV_ERROR_FAIL, .count = 1};
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	/* Those that are still on their way count too. */
	for (uint32_t i = 0; i < XBDEV_ERROR_MAX_RULES; i++) {
		assert_int_equal(xbdev_error_inject(f.dev, &rule, NULL, NULL, NULL), 0);
	}
	assert_bad_rule(&f, &rule, -ENOSPC, "64 rules");
	/* One that is spent makes place. */
	assert_int_equal(do_op(&f, XBDEV_OP_READ, 0), -EIO);
	inject(&f, &rule);
	assert_bad_rule(&f, &rule, -ENOSPC, "64 rules");
	clear(&f);
	assert_int_equal(nr_rules(&f), 0);
	inject(&f, &rule);
	stop(&f);
}

static void test_error_calls_want_a_device_of_the_driver(void **state)
{
	const struct xbdev_error_rule rule = {.kind = XBDEV_ERROR_FAIL};
	uint64_t counts[XBDEV_ERROR_NR_KINDS];
	struct xu_error err = {0};
	struct fixture f;
	bool is_active = false;

	(void)state;
	start(&f, &(struct probe_opts){0});
	assert_int_equal(xbdev_error_inject(&f.base->dev, &rule, NULL, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "driver probe"));
	assert_int_equal(xbdev_error_clear(&f.base->dev, NULL, NULL, &err), -EINVAL);
	assert_int_equal(xbdev_error_counts(&f.base->dev, counts), -EINVAL);
	/* A change that is on its way keeps the device; afterwards there is none to change. */
	assert_int_equal(xbdev_error_inject(f.dev, &rule, on_active, &is_active, NULL), 0);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	assert_int_equal(xbdev_device_remove(f.dev, NULL, NULL), 0);
	assert_int_equal(xbdev_error_inject(f.dev, &rule, NULL, NULL, &err), -ENODEV);
	assert_int_equal(xbdev_error_clear(f.dev, NULL, NULL, &err), -ENODEV);
	harness_wait(&f.h, is_active);
	harness_wait(&f.h, xbdev_device_find(f.h.ctx, "e") == NULL);
	harness_stop(&f.h);
}

/* The rules of a device whose owner is another reactor. */
static void test_error_rules_reach_the_owner(void **state)
{
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	struct fixture f;
	char buf[512];

	(void)state;
	harness_start(&f.h, 3, 2); /* the third has a thread */
	f.base = probe_new(&f.h,
		&(struct probe_opts){
			.name = "base", .nr_blocks = 8, .owner = xbdev_ctx_reactor(f.h.ctx, 2)});
	f.dev = harness_create(&f.h, "error", "{'name': 'e', 'base': 'base'}");
	assert_ptr_equal(f.dev->owner, f.base->dev.owner);
	desc = harness_open(&f.h, "e", true);
	ch = harness_channel(&f.h, desc, 1);
	for (uint32_t i = 0; i < 100; i++) {
		inject(&f, &(struct xbdev_error_rule){.kind = XBDEV_ERROR_FAIL, .count = 1});
		assert_int_equal(harness_io(&f.h, ch, XBDEV_OP_READ, 0, buf, 512, 0), -EIO);
		assert_int_equal(harness_io(&f.h, ch, XBDEV_OP_READ, 0, buf, 512, 0), 0);
	}
	assert_counts(&f, 100, 0, 0);
	harness_put(&f.h, ch);
	xbdev_desc_close(desc);
	harness_stop(&f.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter_passes_everything_on),
		cmocka_unit_test(test_filter_takes_over_what_its_base_can),
		cmocka_unit_test(test_filter_tells_its_parameters),
		cmocka_unit_test(test_filter_claims_its_base_and_gives_it_back),
		cmocka_unit_test(test_filter_over_a_read_only_device_is_read_only),
		cmocka_unit_test(test_filter_follows_the_size_of_its_base),
		cmocka_unit_test(test_filter_goes_with_its_base),
		cmocka_unit_test(test_filter_is_removed_once),
		cmocka_unit_test(test_error_fails_with_the_error_asked_for),
		cmocka_unit_test(test_error_hits_the_operations_asked_for),
		cmocka_unit_test(test_error_hits_the_range_asked_for),
		cmocka_unit_test(test_error_hits_the_nth_and_as_many_as_asked_for),
		cmocka_unit_test(test_error_tries_rules_in_order),
		cmocka_unit_test(test_error_hits_by_chance),
		cmocka_unit_test(test_error_waits_for_the_queue_depth),
		cmocka_unit_test(test_error_hangs_until_cleared),
		cmocka_unit_test(test_error_hangs_until_the_device_is_removed),
		cmocka_unit_test(test_error_corrupts_what_is_read),
		cmocka_unit_test(test_error_corrupts_what_is_compared),
		cmocka_unit_test(test_error_corrupts_what_is_written_but_not_the_writers_buffer),
		cmocka_unit_test(test_error_corrupts_within_the_range_only),
		cmocka_unit_test(test_error_waits_for_memory_to_corrupt_a_write),
		cmocka_unit_test(test_error_refuses_rules_that_make_no_sense),
		cmocka_unit_test(test_error_takes_a_bounded_number_of_rules),
		cmocka_unit_test(test_error_calls_want_a_device_of_the_driver),
		cmocka_unit_test(test_error_rules_reach_the_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
