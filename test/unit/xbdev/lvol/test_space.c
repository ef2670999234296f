/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store that is full: writers fail at once, or wait until clusters come; what waits keeps nobody
 * else, can be cancelled, and ends with its volume. Thresholds are told once. What is set stays
 * with the store.
 */
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/lvol/volume.h"
#include "lib/xbdev/lvol/write.h"
#include "test/unit/xbdev/lvol/disk.h"

#define MIB  (UINT64_C(1) << 20)
#define WAIT 60000u

struct test {
	struct harness h;
	struct lvol_disk *disk;
	struct xbdev_lvol_store *store;
	struct xbdev_note_listener listener;
	uint32_t nr_notes;
	struct xbdev_note note;
	struct xu_error err;
	uint32_t nr_done;
	uint8_t *bytes; /* 1 MiB, not zeroes */
};

static void on_done(void *arg, const struct xu_error *err)
{
	struct test *t = arg;

	t->err = err != NULL ? *err : (struct xu_error){0};
	t->nr_done++;
}

static int result(struct test *t, uint32_t nr)
{
	harness_wait(&t->h, t->nr_done > nr);
	return t->err.code;
}

static void on_note(struct xbdev_note_listener *listener, const struct xbdev_note *note)
{
	struct test *t = xu_container_of(listener, struct test, listener);

	t->nr_notes++;
	t->note = *note;
}

static void make_volume(struct test *t, const char *name, uint64_t size)
{
	const struct xbdev_lvol_create_opts opts = {.name = name, .size = size, .is_thin = true};
	uint32_t nr = t->nr_done;

	xbdev__lvol_create(t->store, &opts, on_done, t);
	assert_int_equal(result(t, nr), 0);
}

/* A store of ten clusters of 1 MiB with two thin volumes of 20. */
static void start(struct test *t)
{
	const struct xbdev_lvs_create_opts opts = {.name = "lvs", .cluster_size = 1 << 20};
	uint32_t nr;

	memset(t, 0, sizeof(*t));
	harness_start(&t->h, 1, 1);
	assert_int_equal(xbdev__lvol_stores_init(t->h.ctx), 0);
	t->disk = lvol_disk_new(&t->h, "disk", NULL, 11 * MIB, 4096);
	nr = t->nr_done;
	xbdev__lvol_store_create(t->h.ctx, "disk", &opts, on_done, t);
	assert_int_equal(result(t, nr), 0);
	t->store = xbdev__lvol_store_find(t->h.ctx, "lvs");
	t->listener.fn = on_note;
	xbdev_ctx_add_note_listener(t->h.ctx, &t->listener);
	make_volume(t, "a", 20 * MIB);
	make_volume(t, "b", 20 * MIB);
	t->bytes = malloc(MIB);
	assert_non_null(t->bytes);
	harness_fill(t->bytes, MIB, 7);
}

static void stop(struct test *t)
{
	xbdev_ctx_del_note_listener(&t->listener);
	harness_stop(&t->h);
	free(t->bytes);
}

static int set(struct test *t, uint32_t wait_ms, uint32_t low, uint32_t high)
{
	const struct xbdev_lvol_settings settings = {wait_ms, {low, high}};
	uint32_t nr = t->nr_done;

	xbdev__lvol_store_set(t->store, &settings, on_done, t);
	return result(t, nr);
}

static void set_wait(struct test *t, uint32_t wait_ms)
{
	assert_int_equal(set(t, wait_ms, 80, 95), 0);
}

static void assert_settings(const struct test *t, uint32_t wait_ms, uint32_t low, uint32_t high)
{
	struct xbdev_lvol_settings settings;

	xbdev__lvol_store_settings(t->store, &settings);
	assert_int_equal(settings.space_wait_ms, wait_ms);
	assert_int_equal(settings.percents[0], low);
	assert_int_equal(settings.percents[1], high);
}

/* Writes one cluster's worth, and waits. */
static int write_at(struct test *t, struct xbdev_channel *ch, uint64_t cluster)
{
	return harness_io(&t->h, ch, XBDEV_OP_WRITE, cluster * MIB, t->bytes, MIB, 0);
}

static void fill(struct test *t, struct xbdev_channel *ch)
{
	for (uint64_t i = 0; i < 10; i++) {
		assert_int_equal(write_at(t, ch, i), 0);
	}
}

static void begin_write(struct test *t, struct harness_io *hio, struct xbdev_channel *ch,
	uint64_t cluster, uint64_t len)
{
	harness_io_set(hio, ch, XBDEV_OP_WRITE, cluster * MIB, t->bytes, len);
	assert_int_equal(xbdev_io_submit(&hio->io), 0);
}

static void test_a_full_store_refuses_at_once_and_loses_nothing(void **state)
{
	struct xbdev_lvol_store_info info;
	struct xbdev_channel *ch;
	struct xbdev_desc *desc;
	uint8_t *read = malloc(MIB);
	struct test t;

	(void)state;
	assert_non_null(read);
	start(&t);
	desc = harness_open(&t.h, "lvs/a", true);
	ch = harness_channel(&t.h, desc, 0);
	fill(&t, ch);
	xbdev__lvol_store_info(t.store, &info);
	assert_int_equal(info.total_clusters, 10);
	assert_int_equal(info.free_clusters, 0);
	assert_int_equal(info.promised_clusters, 40);
	assert_int_equal(write_at(&t, ch, 10), -ENOSPC);
	assert_int_equal(write_at(&t, ch, 3), 0);
	for (uint64_t i = 0; i < 11; i++) {
		assert_int_equal(harness_io(&t.h, ch, XBDEV_OP_READ, i * MIB, read, MIB, 0), 0);
		assert_true(i < 10 ? harness_is_filled(read, MIB, 7) : harness_is_zero(read, MIB));
	}
	harness_put(&t.h, ch);
	xbdev_desc_close(desc);
	stop(&t);
	free(read);
}

static void test_a_write_waits_until_clusters_are_free(void **state)
{
	struct xbdev_channel *a, *b;
	struct xbdev_desc *desc_a, *desc_b;
	struct harness_io one, two;
	struct test t;
	uint32_t nr;

	(void)state;
	start(&t);
	desc_a = harness_open(&t.h, "lvs/a", true);
	a = harness_channel(&t.h, desc_a, 0);
	desc_b = harness_open(&t.h, "lvs/b", true);
	b = harness_channel(&t.h, desc_b, 0);
	fill(&t, a);
	set_wait(&t, WAIT);
	begin_write(&t, &one, b, 0, MIB);
	begin_write(&t, &two, b, 5, MIB);
	harness_poll_times(&t.h, 20);
	assert_int_equal(one.nr_done + two.nr_done, 0);
	/* Others go on, a snapshot of the volume whose write waits too. */
	assert_int_equal(write_at(&t, a, 4), 0);
	assert_int_equal(harness_io(&t.h, b, XBDEV_OP_READ, 0, t.bytes, MIB, 0), 0);
	harness_fill(t.bytes, MIB, 7);
	nr = t.nr_done;
	xbdev__lvol_snapshot(xbdev__lvol_find(t.h.ctx, "lvs/b"), "snap", NULL, on_done, &t);
	assert_int_equal(result(&t, nr), 0);
	assert_int_equal(harness_io(&t.h, a, XBDEV_OP_DISCARD, 2 * MIB, NULL, MIB, 0), 0);
	harness_wait(&t.h, one.nr_done == 1);
	assert_int_equal(one.status, 0);
	assert_int_equal(two.nr_done, 0);
	assert_int_equal(harness_io(&t.h, a, XBDEV_OP_DISCARD, 0, NULL, MIB, 0), 0);
	harness_wait(&t.h, two.nr_done == 1);
	assert_int_equal(two.status, 0);
	harness_put(&t.h, a);
	harness_put(&t.h, b);
	xbdev_desc_close(desc_a);
	xbdev_desc_close(desc_b);
	stop(&t);
}

static void test_waiting_ends_by_time_cancel_and_removal(void **state)
{
	struct harness_io timed, cancelled, removed;
	struct xbdev_channel *a, *b;
	struct xbdev_desc *desc_a, *desc_b;
	struct test t;

	(void)state;
	start(&t);
	desc_a = harness_open(&t.h, "lvs/a", true);
	a = harness_channel(&t.h, desc_a, 0);
	desc_b = harness_open(&t.h, "lvs/b", true);
	b = harness_channel(&t.h, desc_b, 0);
	fill(&t, a);
	set_wait(&t, 20);
	begin_write(&t, &timed, b, 0, MIB);
	harness_wait(&t.h, timed.nr_done == 1);
	assert_int_equal(timed.status, -ENOSPC);
	set_wait(&t, WAIT);
	begin_write(&t, &cancelled, b, 0, 4096);
	begin_write(&t, &removed, b, 1, 4096);
	harness_poll_times(&t.h, 20);
	xbdev_io_cancel(&cancelled.io);
	harness_wait(&t.h, cancelled.nr_done == 1);
	assert_int_equal(cancelled.status, -ECANCELED);
	assert_int_equal(removed.nr_done, 0);
	xbdev_device_remove(desc_b->dev, NULL, NULL);
	harness_wait(&t.h, removed.nr_done == 1);
	assert_int_equal(removed.status, -ENODEV);
	harness_put(&t.h, a);
	harness_put(&t.h, b);
	xbdev_desc_close(desc_a);
	xbdev_desc_close(desc_b);
	harness_wait(&t.h, xbdev_device_find(t.h.ctx, "lvs/b") == NULL);
	stop(&t);
}

static void test_thresholds_are_told_once(void **state)
{
	struct xbdev_channel *a;
	struct xbdev_desc *desc;
	struct test t;

	(void)state;
	start(&t);
	desc = harness_open(&t.h, "lvs/a", true);
	a = harness_channel(&t.h, desc, 0);
	for (uint64_t i = 0; i < 7; i++) {
		assert_int_equal(write_at(&t, a, i), 0);
	}
	harness_poll_times(&t.h, 5);
	assert_int_equal(t.nr_notes, 0);
	assert_int_equal(write_at(&t, a, 7), 0);
	harness_wait(&t.h, t.nr_notes == 1);
	assert_string_equal(t.note.event, "lvs_threshold");
	assert_string_equal(t.note.device, "lvs");
	assert_string_equal(t.note.member, "disk");
	assert_string_equal(
		t.note.text, "80 percent of the store are used: 8 of 10 clusters, 40 promised");
	assert_int_equal(write_at(&t, a, 8), 0);
	harness_poll_times(&t.h, 5);
	assert_int_equal(t.nr_notes, 1);
	assert_int_equal(write_at(&t, a, 9), 0);
	harness_wait(&t.h, t.nr_notes == 2);
	assert_non_null(strstr(t.note.text, "95 percent"));
	assert_int_equal(harness_io(&t.h, a, XBDEV_OP_DISCARD, 0, NULL, 3 * MIB, 0), 0);
	harness_poll_times(&t.h, 5);
	assert_int_equal(write_at(&t, a, 0), 0);
	harness_wait(&t.h, t.nr_notes == 3);
	assert_non_null(strstr(t.note.text, "80 percent"));
	harness_put(&t.h, a);
	xbdev_desc_close(desc);
	stop(&t);
}

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct test *t = arg;

	t->store = store;
	on_done(t, store == NULL ? err : NULL);
}

static void attach_again(struct test *t, bool is_read_only)
{
	uint32_t nr = t->nr_done;

	xbdev__lvol_detach(t->store, on_done, t);
	assert_int_equal(result(t, nr), 0);
	nr = t->nr_done;
	xbdev__lvol_attach(t->h.ctx, "disk", is_read_only, on_attached, t);
	assert_int_equal(result(t, nr), 0);
}

static void test_settings_stay_with_the_store(void **state)
{
	struct test t;

	(void)state;
	start(&t);
	assert_settings(&t, 0, 80, 95);
	assert_int_equal(set(&t, 0, 90, 80), -EINVAL);
	assert_int_equal(set(&t, 0, 50, 101), -EINVAL);
	assert_int_equal(set(&t, 0, 50, 0), -EINVAL);
	assert_int_equal(set(&t, XBDEV_LVOL_SPACE_WAIT_MAX_MS + 1, 0, 0), -EINVAL);
	assert_settings(&t, 0, 80, 95);
	assert_int_equal(set(&t, XBDEV_LVOL_SPACE_WAIT_MAX_MS, 0, 100), 0);
	assert_settings(&t, XBDEV_LVOL_SPACE_WAIT_MAX_MS, 0, 100);
	attach_again(&t, false);
	assert_settings(&t, XBDEV_LVOL_SPACE_WAIT_MAX_MS, 0, 100);
	attach_again(&t, true);
	assert_settings(&t, XBDEV_LVOL_SPACE_WAIT_MAX_MS, 0, 100);
	assert_int_equal(set(&t, 0, 80, 95), -EROFS);
	attach_again(&t, false);
	assert_int_equal(set(&t, 7, 0, 0), 0);
	assert_int_equal(set(&t, 7, 0, 0), 0);
	attach_again(&t, false);
	assert_settings(&t, 7, 0, 0);
	/* The defaults leave nothing behind. */
	assert_int_equal(set(&t, 0, 80, 95), 0);
	assert_null(xbdev__lvs_xattr_get(t.store->lvs->super_blob, false, "xsan.space"));
	attach_again(&t, false);
	assert_settings(&t, 0, 80, 95);
	stop(&t);
}

/* What the store says is foreign: all that cannot be understood is as nothing. */
static void test_settings_that_make_no_sense_are_left(void **state)
{
	static const char *const values[] = {
		"", "x", "1 2", "1 90 80", "1 2 101", "99999999 80 95", "-1 80 95", "1 -2 95"};
	struct xu_error err;
	struct test t;
	uint32_t nr;

	(void)state;
	start(&t);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct xbdev_lvs_blob *blob = t.store->lvs->super_blob;

		assert_int_equal(xbdev__lvs_xattr_set(blob, false, "xsan.space", 10, values[i],
					 (uint16_t)strlen(values[i]) + 1),
			0);
		assert_int_equal(xbdev__lvs_blob_derive(blob, &err), 0);
		assert_int_equal(xbdev__lvs_blob_touch(blob, &err), 0);
		nr = t.nr_done; /* whose commit writes it too */
		xbdev__lvol_store_rename(t.store, i % 2 == 0 ? "other" : "lvs", on_done, &t);
		assert_int_equal(result(&t, nr), 0);
		attach_again(&t, false);
		assert_settings(&t, 0, 80, 95);
		assert_non_null(
			xbdev__lvs_xattr_get(t.store->lvs->super_blob, false, "xsan.space"));
	}
	stop(&t);
}

/* When they cannot be noted they do not hold. */
static void test_settings_that_cannot_be_written(void **state)
{
	struct test t;

	(void)state;
	start(&t);
	t.disk->fail_at = t.disk->nr_writes + 1;
	assert_int_equal(set(&t, 5, 10, 20), -EIO);
	assert_settings(&t, 0, 80, 95);
	assert_null(xbdev__lvs_xattr_get(t.store->lvs->super_blob, false, "xsan.space"));
	assert_int_equal(set(&t, 5, 10, 20), 0);
	attach_again(&t, false);
	assert_settings(&t, 5, 10, 20);
	stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_store_refuses_at_once_and_loses_nothing),
		cmocka_unit_test(test_a_write_waits_until_clusters_are_free),
		cmocka_unit_test(test_waiting_ends_by_time_cancel_and_removal),
		cmocka_unit_test(test_thresholds_are_told_once),
		cmocka_unit_test(test_settings_stay_with_the_store),
		cmocka_unit_test(test_settings_that_make_no_sense_are_left),
		cmocka_unit_test(test_settings_that_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
