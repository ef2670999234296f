/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/core/relay.c: I/O that the driver cannot take as it is. The probe driver checks every
 * piece against its limits; here it is checked that the pieces are the right ones, and, by random
 * I/O over random limits, that they come to the same as the whole.
 */
#include "test/unit/xbdev/model.h"

#define KIB          1024u
#define DEVICE_BYTES (1024 * KIB)
#define MASK(op)     (1u << XBDEV_OP_##op)

struct fixture {
	struct harness h;
	struct probe *probe;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf, *other;
};

static void start_opts(
	struct fixture *f, const struct xbdev_ctx_opts *ctx_opts, const struct probe_opts *opts)
{
	struct probe_opts with_size = *opts;

	harness_start_opts(&f->h, ctx_opts, 1);
	with_size.nr_blocks = DEVICE_BYTES / (opts->limits.block_size == 4096 ? 4096 : 512);
	f->probe = probe_new(&f->h, &with_size);
	f->desc = harness_open(&f->h, "probe", true);
	f->ch = harness_channel(&f->h, f->desc, 0);
	f->buf = aligned_alloc(4096, DEVICE_BYTES + 4096);
	f->other = aligned_alloc(4096, DEVICE_BYTES + 4096);
	assert_true(f->buf != NULL && f->other != NULL);
}

static void start(struct fixture *f, const struct probe_opts *opts)
{
	start_opts(f, &(struct xbdev_ctx_opts){0}, opts);
}

static void stop(struct fixture *f)
{
	xbdev_channel_put(f->ch);
	xbdev_desc_close(f->desc);
	harness_stop(&f->h);
	free(f->buf);
	free(f->other);
}

static void assert_log(const struct probe *probe, uint32_t index, enum xbdev_op op, uint64_t offset,
	uint64_t len, uint8_t flags)
{
	const struct probe_entry *entry = &probe->log[index];

	assert_true(index < probe->nr_log);
	assert_int_equal(entry->op, op);
	assert_int_equal(entry->offset, offset);
	assert_int_equal(entry->len, len);
	assert_int_equal(entry->flags, flags);
}

/* ---- what goes through untouched ---- */

static void test_relay_passes_whole_what_the_driver_takes(void **state)
{
	struct fixture f;
	struct xbdev_stats stats;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.buf_align = 512},
			  .has_fua = true,
			  .ops_mask = MASK(WRITE_ZEROES) | MASK(DISCARD) | MASK(COMPARE)});
	harness_fill(f.buf, 64 * KIB, 1);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 512, f.buf, 64 * KIB, XBDEV_IO_FUA), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 512, f.other, 64 * KIB, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_COMPARE, 512, f.buf, 64 * KIB, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 128 * KIB,
				 XBDEV_IO_MAY_UNMAP),
		0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, 128 * KIB, 0), 0);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	assert_memory_equal(f.buf, f.other, 64 * KIB);
	assert_int_equal(f.probe->nr_log, 6);
	assert_log(f.probe, 0, XBDEV_OP_WRITE, 512, 64 * KIB, XBDEV_IO_FUA);
	assert_log(f.probe, 1, XBDEV_OP_READ, 512, 64 * KIB, 0);
	assert_log(f.probe, 2, XBDEV_OP_COMPARE, 512, 64 * KIB, 0);
	assert_log(f.probe, 3, XBDEV_OP_WRITE_ZEROES, 0, 128 * KIB, XBDEV_IO_MAY_UNMAP);
	assert_log(f.probe, 4, XBDEV_OP_DISCARD, 0, 128 * KIB, 0);
	assert_log(f.probe, 5, XBDEV_OP_FLUSH, 0, 0, 0);
	stats = harness_stats(&f.h, &f.probe->dev, false);
	assert_int_equal(stats.nr_bounced, 0);
	assert_int_equal(stats.nr_split, 0);
	stop(&f);
}

/* ---- split ---- */

static void test_relay_splits_at_the_largest_transfer(void **state)
{
	const uint64_t len = 3 * 64 * KIB + 512;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	harness_fill(f.buf, len, 2);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 1024, f.buf, len, 0), 0);
	assert_memory_equal(f.probe->memory + 1024, f.buf, len);
	assert_int_equal(f.probe->nr_log, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_log(
			f.probe, i, XBDEV_OP_WRITE, 1024 + i * 64 * KIB, i < 3 ? 64 * KIB : 512, 0);
	}
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 1024, f.other, len, 0), 0);
	assert_memory_equal(f.buf, f.other, len);
	assert_int_equal(f.probe->nr_log, 8);
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, false).nr_split, 2);
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, false).nr_bounced, 0);
	stop(&f);
}

static void test_relay_splits_at_the_most_segments(void **state)
{
	struct iovec iov[64];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.max_iov = 5}});
	harness_fill(f.buf, 64 * 512, 3);
	for (uint32_t i = 0; i < 64; i++) {
		iov[i] = (struct iovec){.iov_base = f.buf + i * 512, .iov_len = 512};
	}
	assert_int_equal(harness_iov(&f.h, f.ch, XBDEV_OP_WRITE, 0, iov, 64, 64 * 512, 0), 0);
	assert_memory_equal(f.probe->memory, f.buf, 64 * 512);
	assert_int_equal(f.probe->nr_log, 13);
	assert_int_equal(f.probe->log[0].nr_iov, 5);
	assert_int_equal(f.probe->log[12].nr_iov, 4);
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, false).nr_bounced, 0);
	stop(&f);
}

/* Segments whose ends are not block ends: a piece of at most so many segments must still be whole
 * blocks, and where there is no such piece the data is copied. */
static void test_relay_makes_whole_blocks_of_odd_segments(void **state)
{
	static const uint32_t lens[] = {1, 510, 1, 513, 0, 511, 100, 300, 100, 12, 7, 4096 - 7};
	struct iovec iov[ARRAY_SIZE(lens)];
	struct fixture f;
	char *at;
	uint64_t total = 0;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.max_iov = 3}});
	at = f.buf;
	for (uint32_t i = 0; i < ARRAY_SIZE(lens); i++) {
		iov[i] = (struct iovec){.iov_base = at, .iov_len = lens[i]};
		harness_fill(at, lens[i], i);
		memcpy(f.other + total, at, lens[i]);
		at += lens[i] + 3;
		total += lens[i];
	}
	assert_int_equal(total % 512, 0);
	assert_int_equal(
		harness_iov(&f.h, f.ch, XBDEV_OP_WRITE, 0, iov, ARRAY_SIZE(lens), total, 0), 0);
	assert_memory_equal(f.probe->memory, f.other, total);
	memset(f.buf, 0, (size_t)(at - f.buf));
	assert_int_equal(
		harness_iov(&f.h, f.ch, XBDEV_OP_READ, 0, iov, ARRAY_SIZE(lens), total, 0), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(lens); i++) {
		if (lens[i] != 0) {
			assert_true(harness_is_filled(iov[i].iov_base, lens[i], i));
		}
		assert_true(harness_is_zero((char *)iov[i].iov_base + lens[i], 3));
	}
	stop(&f);
}

static void test_relay_splits_long_zeroing_and_discards(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = MASK(WRITE_ZEROES) | MASK(DISCARD)});
	memset(f.probe->memory, 1, DEVICE_BYTES);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 512, NULL, 300 * KIB,
				 XBDEV_IO_MAY_UNMAP),
		0);
	assert_int_equal(f.probe->nr_log, 3);
	assert_log(f.probe, 0, XBDEV_OP_WRITE_ZEROES, 512, 128 * KIB, XBDEV_IO_MAY_UNMAP);
	assert_log(
		f.probe, 2, XBDEV_OP_WRITE_ZEROES, 512 + 256 * KIB, 44 * KIB, XBDEV_IO_MAY_UNMAP);
	assert_true(harness_is_zero(f.probe->memory + 512, 300 * KIB));
	assert_int_equal(f.probe->memory[511], 1);
	assert_int_equal(f.probe->memory[512 + 300 * KIB], 1);
	probe_log_reset(f.probe);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_DISCARD, 0, NULL, DEVICE_BYTES, 0), 0);
	assert_int_equal(f.probe->nr_log, 8);
	assert_true(harness_is_zero(f.probe->memory, DEVICE_BYTES));
	/* Zeroing larger than a transfer but within max_zeroes is no split. */
	harness_stats(&f.h, &f.probe->dev, true);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 128 * KIB, XBDEV_IO_FUA), 0);
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, false).nr_split, 0);
	stop(&f);
}

/* ---- bounce ---- */

static void test_relay_bounces_unaligned_buffers_and_counts_them(void **state)
{
	struct fixture f;
	char *odd;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.buf_align = 512}});
	odd = f.buf + 1;
	harness_fill(odd, 8 * KIB, 4);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, odd, 8 * KIB, 0), 0);
	assert_memory_equal(f.probe->memory, odd, 8 * KIB);
	assert_true(harness_is_filled(odd, 8 * KIB, 4));
	memset(f.other, 0x33, 9 * KIB);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.other + 3, 8 * KIB, 0), 0);
	assert_memory_equal(f.other + 3, odd, 8 * KIB);
	assert_int_equal(f.other[2], 0x33);
	assert_int_equal(f.other[3 + 8 * KIB], 0x33);
	assert_int_equal(harness_stats(&f.h, &f.probe->dev, false).nr_bounced, 2);
	stop(&f);
}

/* A failed read leaves no trace of the bounce buffer in the reader's. */
static void test_relay_hides_the_bounce_buffer_of_a_failed_read(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.limits = {.buf_align = 512}});
	f.probe->status[XBDEV_OP_READ] = -EIO;
	memset(f.buf, 0x44, 4 * KIB);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_READ, 0, f.buf + 1, 2 * KIB, 0), -EIO);
	for (uint32_t i = 0; i < 4 * KIB; i++) {
		assert_int_equal(f.buf[i], 0x44);
	}
	stop(&f);
}

/* ---- FUA ---- */

static void test_relay_makes_fua_of_a_write_and_a_flush(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){0});
	harness_fill(f.buf, 100 * KIB, 5);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 100 * KIB, XBDEV_IO_FUA), 0);
	assert_int_equal(f.probe->nr_log, 3);
	assert_log(f.probe, 0, XBDEV_OP_WRITE, 0, 64 * KIB, 0);
	assert_log(f.probe, 1, XBDEV_OP_WRITE, 64 * KIB, 36 * KIB, 0);
	assert_log(f.probe, 2, XBDEV_OP_FLUSH, 0, 0, 0);
	assert_memory_equal(f.probe->durable, f.buf, 100 * KIB);
	stop(&f);
}

static void test_relay_flushes_only_after_every_piece(void **state)
{
	struct harness_io hio;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	harness_io_set(&hio, f.ch, XBDEV_OP_WRITE, 0, f.buf, 192 * KIB);
	hio.io.flags = XBDEV_IO_FUA;
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_wait(&f.h, probe_nr_held(f.probe) == 3);
	assert_true(probe_end_one(f.probe, 2, 0));
	assert_true(probe_end_one(f.probe, 1, 0));
	harness_poll_times(&f.h, 3);
	assert_int_equal(f.probe->nr_ops[XBDEV_OP_FLUSH], 0);
	assert_true(probe_end_one(f.probe, 0, 0));
	harness_wait(&f.h, f.probe->nr_ops[XBDEV_OP_FLUSH] == 1);
	assert_int_equal(hio.nr_done, 0);
	probe_end_all(f.probe, 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, 0);
	stop(&f);
}

static void test_relay_reports_a_failed_flush_of_fua(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.ops_mask = MASK(WRITE_ZEROES)});
	f.probe->status[XBDEV_OP_FLUSH] = -EIO;
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 512, XBDEV_IO_FUA), -EIO);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512, XBDEV_IO_FUA), -EIO);
	/* After a failed write there is nothing to flush. */
	f.probe->status[XBDEV_OP_WRITE] = -ENOSPC;
	probe_log_reset(f.probe);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 512, XBDEV_IO_FUA), -ENOSPC);
	assert_int_equal(f.probe->nr_ops[XBDEV_OP_FLUSH], 0);
	stop(&f);
}

static void test_relay_keeps_fua_on_every_piece_where_the_driver_has_it(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.has_fua = true});
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf, 128 * KIB, XBDEV_IO_FUA), 0);
	assert_int_equal(f.probe->nr_log, 2);
	assert_log(f.probe, 0, XBDEV_OP_WRITE, 0, 64 * KIB, XBDEV_IO_FUA);
	assert_log(f.probe, 1, XBDEV_OP_WRITE, 64 * KIB, 64 * KIB, XBDEV_IO_FUA);
	/* Zeroes that are made of writes have it too, and those the driver makes a flush. */
	probe_log_reset(f.probe);
	assert_int_equal(
		harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 0, NULL, 512, XBDEV_IO_FUA), 0);
	assert_int_equal(f.probe->nr_log, 1);
	assert_log(f.probe, 0, XBDEV_OP_WRITE, 0, 512, XBDEV_IO_FUA);
	stop(&f);
}

/* ---- write zeroes ---- */

static void test_relay_makes_zeroes_of_writes(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){
			  .limits = {.max_transfer = 256 * KIB, .max_iov = 2, .buf_align = 4096}});
	memset(f.probe->memory, 1, DEVICE_BYTES);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE_ZEROES, 512, NULL, 300 * KIB, 0), 0);
	assert_true(harness_is_zero(f.probe->memory + 512, 300 * KIB));
	assert_int_equal(f.probe->memory[511], 1);
	assert_int_equal(f.probe->memory[512 + 300 * KIB], 1);
	assert_int_equal(f.probe->nr_ops[XBDEV_OP_WRITE], f.probe->nr_log);
	assert_true(f.probe->nr_log >= 2);
	stop(&f);
}

/* ---- compare ---- */

/* Classes of positions of a differing byte: the first and last of the I/O, of pieces, of blocks and
 * of buffer segments, with and without a driver that compares, aligned or not. */
static void compare_everywhere(uint32_t ops_mask, uint32_t buf_align, uint32_t buf_offset)
{
	static const uint64_t at[] = {0, 1, 510, 511, 512, 513, 65535, 65536, 65537, 99999, 100000,
		100001, 131071, 131072, 196607, 196608, 196609, 262143};
	const uint64_t len = 256 * KIB;
	struct fixture f;
	struct iovec iov[2];

	start(&f, &(struct probe_opts){.ops_mask = ops_mask, .limits = {.buf_align = buf_align}});
	harness_fill(f.probe->memory + 512, len, 6);
	memcpy(f.buf + buf_offset, f.probe->memory + 512, len);
	iov[0] = (struct iovec){.iov_base = f.buf + buf_offset, .iov_len = 100000};
	iov[1] = (struct iovec){.iov_base = f.buf + buf_offset + 100000, .iov_len = len - 100000};
	assert_int_equal(harness_iov(&f.h, f.ch, XBDEV_OP_COMPARE, 512, iov, 2, len, 0), 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(at); i++) {
		char *byte = f.buf + buf_offset + at[i];

		*byte ^= 0x10;
		assert_int_equal(
			harness_iov(&f.h, f.ch, XBDEV_OP_COMPARE, 512, iov, 2, len, 0), -EBADE);
		*byte ^= 0x10;
		/* A difference outside of what is compared does not matter. */
		f.probe->memory[511] ^= 1;
		f.probe->memory[512 + len] ^= 1;
		assert_int_equal(harness_iov(&f.h, f.ch, XBDEV_OP_COMPARE, 512, iov, 2, len, 0), 0);
	}
	assert_true(harness_is_filled(f.buf + buf_offset, len, 6));
	assert_true(harness_is_filled(f.probe->memory + 512, len, 6));
	assert_int_equal(f.probe->nr_ops[XBDEV_OP_WRITE], 0);
	stop(&f);
}

static void test_relay_compares_by_reading(void **state)
{
	(void)state;
	compare_everywhere(0, 1, 0);
	compare_everywhere(0, 512, 0);
	compare_everywhere(0, 512, 13);
}

static void test_relay_compares_by_the_driver_that_can(void **state)
{
	(void)state;
	compare_everywhere(MASK(COMPARE), 1, 0);
	compare_everywhere(MASK(COMPARE), 512, 0);
	compare_everywhere(MASK(COMPARE), 512, 13);
}

/* ---- errors ---- */

static void test_relay_ends_with_the_first_error_after_all_pieces(void **state)
{
	struct harness_io hio;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	harness_io_set(&hio, f.ch, XBDEV_OP_WRITE, 0, f.buf, 640 * KIB);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_wait(&f.h, probe_nr_held(f.probe) == 4);
	probe_end_one(f.probe, 1, -ENOSPC);
	probe_end_one(f.probe, 0, -EIO);
	harness_poll_times(&f.h, 3);
	assert_int_equal(probe_nr_held(f.probe), 2); /* no further piece is started */
	assert_int_equal(hio.nr_done, 0);
	probe_end_all(f.probe, 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ENOSPC);
	assert_int_equal(f.probe->nr_log, 4);
	stop(&f);
}

static void test_relay_ends_with_enodev_when_the_device_goes(void **state)
{
	struct harness_io hio;
	struct fixture f;
	bool is_removed = false;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD});
	harness_io_set(&hio, f.ch, XBDEV_OP_WRITE, 0, f.buf, 640 * KIB);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_wait(&f.h, probe_nr_held(f.probe) == 4);
	f.probe->ret_destroyed = &is_removed;
	assert_int_equal(xbdev_device_remove(&f.probe->dev, NULL, NULL), 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ENODEV);
	assert_false(is_removed);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, is_removed);
	harness_stop(&f.h);
	free(f.buf);
	free(f.other);
}

/* ---- bounds ---- */

/* The driver is never given more at a time than it said, pieces counted (the probe checks). */
static void test_relay_keeps_to_the_queue_depth(void **state)
{
	static const uint32_t depths[] = {1, 2, 3, 5, 17};

	(void)state;
	for (uint32_t d = 0; d < ARRAY_SIZE(depths); d++) {
		struct harness_io hio[20];
		struct fixture f;

		start(&f, &(struct probe_opts){
				  .mode = PROBE_HOLD, .limits = {.queue_depth = depths[d]}});
		for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
			harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 32 * KIB, f.buf,
				i % 2 == 0 ? 256 * KIB : 512);
			assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
		}
		for (uint32_t nr_done = 0; nr_done < ARRAY_SIZE(hio);) {
			probe_end_one(f.probe, 0, 0);
			harness_poll(&f.h);
			nr_done = 0;
			for (uint32_t i = 0; i < ARRAY_SIZE(hio); i++) {
				nr_done += hio[i].nr_done;
			}
		}
		assert_int_equal(f.probe->nr_inflight_max, depths[d]);
		assert_int_equal(f.ch->nr_inflight, 0);
		stop(&f);
	}
}

/* A place that a piece leaves goes to who waits for one, before the next piece. */
static void test_relay_lets_others_in_between_its_pieces(void **state)
{
	struct harness_io large, small;
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){.mode = PROBE_HOLD, .limits = {.queue_depth = 3}});
	harness_io_set(&large, f.ch, XBDEV_OP_READ, 0, f.buf, 640 * KIB);
	assert_int_equal(xbdev_io_submit(&large.io), 0);
	harness_io_set(&small, f.ch, XBDEV_OP_READ, 0, f.other, 512);
	assert_int_equal(xbdev_io_submit(&small.io), 0);
	assert_int_equal(f.probe->nr_log, 3);
	probe_end_one(f.probe, 0, 0);
	assert_int_equal(f.probe->nr_log, 4);
	assert_int_equal(f.probe->log[3].len, 512);
	while (large.nr_done == 0) {
		assert_true(probe_end_one(f.probe, 0, 0));
	}
	assert_int_equal(small.nr_done, 1);
	assert_int_equal(f.probe->nr_log, 11);
	stop(&f);
}

/* More I/Os that need a relay than there are relays: they wait in line and none is lost. */
static void test_relay_lets_wait_in_order_what_finds_no_relay(void **state)
{
	enum { NR = 60 };
	struct harness_io hio[NR];
	struct fixture f;

	(void)state;
	start(&f, &(struct probe_opts){
			  .mode = PROBE_HOLD, .limits = {.buf_align = 512, .queue_depth = 100}});
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 512, f.buf + 1, 512);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	assert_true(probe_nr_held(f.probe) < NR);
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(f.probe->log[i].offset, i * 512);
		assert_true(probe_end_one(f.probe, 0, 0));
		assert_int_equal(hio[i].nr_done, 1);
	}
	assert_int_equal(probe_nr_held(f.probe), 0);
	stop(&f);
}

/* Takes all memory of the reactor's pool, in pieces of `size`. */
static uint32_t exhaust(struct xu_bufpool *pool, void **bufs, uint32_t max, size_t size)
{
	uint32_t nr = 0;

	while (nr < max && (bufs[nr] = xu_bufpool_get(pool, size)) != NULL) {
		nr++;
	}
	return nr;
}

static void test_relay_waits_for_memory(void **state)
{
	enum { NR = 24, MAX_BUFS = 4096 };
	static void *bufs[MAX_BUFS];
	struct harness_io hio[NR];
	struct xu_bufpool *pool;
	struct fixture f;
	uint32_t nr_bufs;

	(void)state;
	start_opts(&f, &(struct xbdev_ctx_opts){.buf_limit_bytes = 4u << 20},
		&(struct probe_opts){.limits = {.buf_align = 512, .queue_depth = 64}});
	pool = xr_reactor_buffers(xbdev_ctx_control(f.h.ctx));
	nr_bufs = exhaust(pool, bufs, MAX_BUFS, 4096);
	assert_in_range(nr_bufs, 1, MAX_BUFS - 1);
	harness_fill(f.buf, DEVICE_BYTES, 7);
	for (uint32_t i = 0; i < NR; i++) {
		harness_io_set(&hio[i], f.ch, XBDEV_OP_WRITE, i * 32 * KIB,
			f.buf + i * 32 * KIB + 1, 32 * KIB);
		assert_int_equal(xbdev_io_submit(&hio[i].io), 0);
	}
	harness_poll_times(&f.h, 100);
	assert_int_equal(f.probe->nr_log, 0);
	while (nr_bufs != 0) {
		xu_bufpool_put(pool, bufs[--nr_bufs], 4096);
	}
	for (uint32_t i = 0; i < NR; i++) {
		harness_wait(&f.h, hio[i].nr_done == 1);
		assert_int_equal(hio[i].status, 0);
		assert_memory_equal(
			f.probe->memory + i * 32 * KIB, f.buf + i * 32 * KIB + 1, 32 * KIB);
	}
	assert_int_equal(pool->used_bytes, 0);
	stop(&f);
}

/* A pool smaller than the largest bounce buffer does not stop an I/O for good. */
static void test_relay_makes_do_with_small_buffers(void **state)
{
	struct fixture f;

	(void)state;
	start_opts(&f, &(struct xbdev_ctx_opts){.buf_limit_bytes = 64u << 10},
		&(struct probe_opts){.limits = {.buf_align = 512, .max_transfer = 512u << 10}});
	harness_fill(f.buf + 1, 400 * KIB, 8);
	assert_int_equal(harness_io(&f.h, f.ch, XBDEV_OP_WRITE, 0, f.buf + 1, 400 * KIB, 0), 0);
	assert_memory_equal(f.probe->memory, f.buf + 1, 400 * KIB);
	stop(&f);
}

static void test_relay_starved_of_memory_ends_when_the_device_goes(void **state)
{
	enum { MAX_BUFS = 4096 };
	static void *bufs[MAX_BUFS];
	struct harness_io hio;
	struct xu_bufpool *pool;
	struct fixture f;
	bool is_removed = false;
	uint32_t nr_bufs;

	(void)state;
	start_opts(&f, &(struct xbdev_ctx_opts){.buf_limit_bytes = 4u << 20},
		&(struct probe_opts){.limits = {.buf_align = 512}});
	pool = xr_reactor_buffers(xbdev_ctx_control(f.h.ctx));
	nr_bufs = exhaust(pool, bufs, MAX_BUFS, 4096);
	harness_io_set(&hio, f.ch, XBDEV_OP_READ, 0, f.buf + 1, 512);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_poll_times(&f.h, 10);
	f.probe->ret_destroyed = &is_removed;
	assert_int_equal(xbdev_device_remove(&f.probe->dev, NULL, NULL), 0);
	harness_wait(&f.h, hio.nr_done == 1);
	assert_int_equal(hio.status, -ENODEV);
	xbdev_channel_put(f.ch);
	xbdev_desc_close(f.desc);
	harness_wait(&f.h, is_removed);
	while (nr_bufs != 0) {
		xu_bufpool_put(pool, bufs[--nr_bufs], 4096);
	}
	harness_stop(&f.h);
	free(f.buf);
	free(f.other);
}

/* ---- the model ---- */

static void run_random_device(uint64_t seed, uint32_t nr_ios)
{
	static const uint32_t aligns[] = {1, 4, 512, 4096};
	struct xu_random random;
	struct probe_opts opts = {.mode = PROBE_SHUFFLE};
	struct xbdev_limits *l = &opts.limits;
	struct fixture f;

	xu_random_seed(&random, seed);
	l->block_size = xu_random_below(&random, 3) == 0 ? 4096 : 512;
	l->buf_align = aligns[xu_random_below(&random, ARRAY_SIZE(aligns))];
	l->max_transfer = l->block_size << xu_random_below(&random, 8);
	if (xu_random_below(&random, 2) == 0) {
		l->max_transfer += l->block_size;
	}
	l->max_iov = 1 + (uint32_t)xu_random_below(&random, 40);
	l->max_zeroes = (uint64_t)l->block_size << xu_random_below(&random, 10);
	l->queue_depth = 1 + (uint32_t)xu_random_below(&random, 40);
	opts.ops_mask = (uint32_t)xu_random_below(&random, 1u << XBDEV_NR_OPS);
	opts.has_fua = xu_random_below(&random, 2) == 0;
	opts.mode = xu_random_below(&random, 4) == 0 ? PROBE_AT_ONCE : PROBE_SHUFFLE;
	start(&f, &opts);
	model_run(&f.h, &(struct model_opts){
				.ch = f.ch,
				.seed = seed,
				.offset = 0,
				.len = DEVICE_BYTES,
				.max_io_bytes = 160 * KIB,
				.nr_ios = nr_ios,
				.nr_slots = 1 + (uint32_t)xu_random_below(&random, MODEL_MAX_SLOTS),
				.probe = f.probe,
			});
	assert_int_equal(xr_reactor_buffers(xbdev_ctx_control(f.h.ctx))->used_bytes, 0);
	stop(&f);
}

static void test_relay_comes_to_the_same_as_a_flat_array(void **state)
{
	uint64_t seed = harness_seed(20261120);

	(void)state;
	for (uint32_t i = 0; i < 60; i++) {
		run_random_device(seed + i, 400);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay_passes_whole_what_the_driver_takes),
		cmocka_unit_test(test_relay_splits_at_the_largest_transfer),
		cmocka_unit_test(test_relay_splits_at_the_most_segments),
		cmocka_unit_test(test_relay_makes_whole_blocks_of_odd_segments),
		cmocka_unit_test(test_relay_splits_long_zeroing_and_discards),
		cmocka_unit_test(test_relay_bounces_unaligned_buffers_and_counts_them),
		cmocka_unit_test(test_relay_hides_the_bounce_buffer_of_a_failed_read),
		cmocka_unit_test(test_relay_makes_fua_of_a_write_and_a_flush),
		cmocka_unit_test(test_relay_flushes_only_after_every_piece),
		cmocka_unit_test(test_relay_reports_a_failed_flush_of_fua),
		cmocka_unit_test(test_relay_keeps_fua_on_every_piece_where_the_driver_has_it),
		cmocka_unit_test(test_relay_makes_zeroes_of_writes),
		cmocka_unit_test(test_relay_compares_by_reading),
		cmocka_unit_test(test_relay_compares_by_the_driver_that_can),
		cmocka_unit_test(test_relay_ends_with_the_first_error_after_all_pieces),
		cmocka_unit_test(test_relay_ends_with_enodev_when_the_device_goes),
		cmocka_unit_test(test_relay_keeps_to_the_queue_depth),
		cmocka_unit_test(test_relay_lets_others_in_between_its_pieces),
		cmocka_unit_test(test_relay_lets_wait_in_order_what_finds_no_relay),
		cmocka_unit_test(test_relay_waits_for_memory),
		cmocka_unit_test(test_relay_makes_do_with_small_buffers),
		cmocka_unit_test(test_relay_starved_of_memory_ends_when_the_device_goes),
		cmocka_unit_test(test_relay_comes_to_the_same_as_a_flat_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
