/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations that change how much a volume has of its own: resize, inflate, decouple; what they
 * must not show again, under I/O, out of space, stopped, and with power failing at every moment.
 */
#include "test/unit/xbdev/lvol/forest.h"

#define C FOREST_CLUSTER

/* ---- operations, on the store and in the plan ---- */

static struct thing *add_volume(struct forest *f, const char *name, uint64_t size, bool is_thin)
{
	struct xbdev_lvol_create_opts opts = {.name = name, .size = size, .is_thin = is_thin};
	uint32_t nr = f->nr_done;

	xbdev__lvol_create(f->store, &opts, forest_done, f);
	assert_int_equal(forest_wait(f, nr), 0);
	return forest_add(&f->plan, name, NULL, size);
}

static void write_at(struct forest *f, struct thing *thing, uint64_t offset, uint64_t len)
{
	harness_fill(thing->bytes + offset, len, offset + f->nr_done + 1);
	assert_int_equal(
		forest_io(f, thing->name, XBDEV_OP_WRITE, offset, thing->bytes + offset, len), 0);
}

static void snapshot(struct forest *f, struct thing *thing, const char *name)
{
	struct thing *made;
	uint32_t nr = f->nr_done;

	xbdev__lvol_snapshot(forest_volume(f, thing->name), name, NULL, forest_done, f);
	assert_int_equal(forest_wait(f, nr), 0);
	made = forest_add(&f->plan, name, thing->bytes, thing->size);
	made->is_read_only = true;
}

static void model_resize(struct thing *thing, uint64_t size)
{
	thing->bytes = realloc(thing->bytes, size + 1);
	assert_non_null(thing->bytes);
	if (size > thing->size) {
		memset(thing->bytes + thing->size, 0, size - thing->size);
	}
	thing->size = size;
}

static int try_resize(struct forest *f, const char *name, uint64_t size)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_resize(forest_volume(f, name), size, forest_done, f);
	return forest_wait(f, nr);
}

static void resize(struct forest *f, struct thing *thing, uint64_t size)
{
	assert_int_equal(try_resize(f, thing->name, size), 0);
	model_resize(thing, size);
}

static void delete (struct forest *f, const char *name)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_delete(forest_volume(f, name), forest_done, f);
	assert_int_equal(forest_wait(f, nr), 0);
	forest_remove(&f->plan, forest_thing(&f->plan, name));
}

static void check(struct forest *f)
{
	char why[200] = "";

	for (int i = 0; i < 2; i++) {
		if (!forest_is(f, &f->plan, why)) {
			fail_msg("%s", why);
		}
		harness_poll_times(&f->h, 100);
		forest_check_clusters(f);
		if (i == 0) {
			forest_detach(f);
			assert_string_equal(f->err.text, "");
			forest_attach(f);
		}
	}
}

/* Whether power that fails anywhere in what was recorded leaves `before` or what is now. */
static void check_crashes(struct forest *f, struct plan *before)
{
	uint32_t step = 1 + f->disk->nr_log / 40;

	for (uint32_t at = 0; at <= f->disk->nr_log; at += step) {
		const uint8_t *content = lvol_disk_crash(f->disk, at, &f->random);
		char why[200] = "", why_after[200] = "";
		struct forest crashed;

		forest_open(&crashed, content, f->disk->size_bytes);
		if (!forest_is(&crashed, before, why) &&
			!forest_is(&crashed, &f->plan, why_after)) {
			fail_msg("record %u of %u: neither as before (%s) nor as after (%s)", at,
				f->disk->nr_log, why, why_after);
		}
		harness_poll_times(&crashed.h, 100);
		forest_check_clusters(&crashed);
		forest_stop(&crashed);
		lvol_disk_crash_free(content);
	}
	forest_free(before);
}

/* ---- resize ---- */

static void test_a_shrunk_clone_does_not_show_its_parent_again(void **state)
{
	struct plan before = {0};
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 160, harness_seed(1));
	v = add_volume(&f, "v", 4 * C, true);
	write_at(&f, v, 0, 4 * C);
	snapshot(&f, v, "s");
	resize(&f, v, C);
	check(&f);
	forest_soil(&f);
	lvol_disk_begin(f.disk);
	forest_copy(&before, &f.plan);
	resize(&f, v, 6 * C);
	assert_int_equal(forest_volume(&f, "v")->blob->map.nr_allocated, 3);
	check_crashes(&f, &before);
	check(&f);
	forest_stop(&f);
}

static void test_a_short_parent_that_goes_leaves_zeroes(void **state)
{
	struct plan before = {0};
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 160, harness_seed(2));
	v = add_volume(&f, "v", 4 * C, true);
	write_at(&f, v, 0, 3 * C);
	snapshot(&f, v, "g");
	resize(&f, v, C);
	snapshot(&f, v, "p");
	resize(&f, v, 4 * C);
	assert_int_equal(forest_volume(&f, "v")->blob->map.nr_allocated, 0);
	check(&f);
	forest_soil(&f);
	lvol_disk_begin(f.disk);
	forest_copy(&before, &f.plan);
	delete (&f, "p");
	check_crashes(&f, &before);
	check(&f);
	forest_stop(&f);
}

static void test_resize_over_extent_pages(void **state)
{
	static const uint64_t sizes[] = {600, 1024, 1300, 512, 511, 1, 513};
	struct plan before = {0};
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 160, harness_seed(32)); /* one that tears the page that is cut */
	v = add_volume(&f, "v", 1300 * C, true);
	for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (uint64_t at = 0; at + C <= v->size; at += 255 * C) {
			write_at(&f, v, at + 512, 512);
		}
		write_at(&f, v, v->size - C, C);
		forest_soil(&f);
		lvol_disk_begin(f.disk);
		forest_copy(&before, &f.plan);
		resize(&f, v, sizes[i] * C);
		harness_poll_times(&f.h, 100);
		check_crashes(&f, &before);
	}
	check(&f);
	forest_stop(&f);
}

static void test_resize_of_a_thick_volume(void **state)
{
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 160, harness_seed(4));
	v = add_volume(&f, "v", 3 * C, false);
	write_at(&f, v, 0, 3 * C);
	forest_soil(&f);
	resize(&f, v, 9 * C);
	assert_int_equal(forest_volume(&f, "v")->blob->map.nr_allocated, 9);
	check(&f);
	assert_int_equal(try_resize(&f, "v", 1000 * C), -ENOSPC);
	assert_int_equal(try_resize(&f, "v", 0), -EINVAL);
	check(&f);
	resize(&f, v, 2 * C);
	assert_int_equal(forest_volume(&f, "v")->blob->map.nr_allocated, 2);
	check(&f);
	snapshot(&f, v, "s");
	assert_int_equal(try_resize(&f, "s", 5 * C), -EROFS);
	check(&f);
	forest_stop(&f);
}

static void test_growing_stops_when_it_is_asked_to(void **state)
{
	struct forest f;
	struct xu_error err;
	uint32_t nr;

	(void)state;
	forest_start(&f, 160, harness_seed(5));
	add_volume(&f, "v", 3 * C, false);
	nr = f.nr_done;
	xbdev__lvol_resize(forest_volume(&f, "v"), 50 * C, forest_done, &f);
	assert_int_equal(xbdev__lvol_cancel(forest_volume(&f, "v"), &err), 0);
	assert_int_equal(forest_wait(&f, nr), -ECANCELED);
	check(&f);
	assert_int_equal(xbdev__lvol_cancel(forest_volume(&f, "v"), &err), -ENOENT);
	forest_stop(&f);
}

/* ---- under I/O ---- */

#define SIDE 6u

struct load {
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct harness_io ios[SIDE];
	uint8_t bytes[SIDE][3 * C];
	bool is_busy[SIDE];
	uint32_t nr_events, nr_ended, nr_refused;
};

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct load *load = arg;

	(void)desc;
	load->nr_events += event == XBDEV_EVENT_RESIZE;
}

static struct load *load_start(struct forest *f, const char *name)
{
	struct load *load = calloc(1, sizeof(*load));
	char full[XBDEV_NAME_SIZE];
	struct xu_error err;

	assert_non_null(load);
	snprintf(full, sizeof(full), "pool/%s", name);
	assert_int_equal(
		xbdev_desc_open(f->h.ctx, full, true, on_event, load, &load->desc, &err), 0);
	load->ch = harness_channel(&f->h, load->desc, 0);
	return load;
}

static void load_stop(struct forest *f, struct load *load)
{
	harness_put(&f->h, load->ch);
	xbdev_desc_close(load->desc);
	free(load);
}

/* What has ended is entered into the model. Those that are refused have changed nothing. */
static void load_reap(struct load *load, struct thing *thing)
{
	for (uint32_t i = 0; i < SIDE; i++) {
		const struct xbdev_io *io = &load->ios[i].io;

		if (!load->is_busy[i] || load->ios[i].nr_done == 0) {
			continue;
		}
		load->is_busy[i] = false;
		load->nr_ended++;
		if (load->ios[i].status != 0) {
			load->nr_refused++;
		} else if (io->offset < thing->size) { /* the rest has been cut off since */
			uint64_t left = thing->size - io->offset;
			uint64_t len = io->len < left ? io->len : left;

			if (io->op == XBDEV_OP_WRITE) {
				memcpy(thing->bytes + io->offset, load->bytes[i], len);
			} else {
				memset(thing->bytes + io->offset, 0, len);
			}
		}
	}
}

/* Begins as many as there is room for, each in its share of `size`, below `end`. */
static void load_more(struct forest *f, struct load *load, uint64_t size, uint64_t end)
{
	static const enum xbdev_op ops[] = {
		XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE_ZEROES, XBDEV_OP_DISCARD};

	for (uint32_t i = 0; i < SIDE; i++) {
		uint64_t share = size / SIDE / 512, first, len;
		enum xbdev_op op = ops[xu_random_below(&f->random, ARRAY_SIZE(ops))];

		if (load->is_busy[i] || share == 0) {
			continue;
		}
		first = xu_random_below(&f->random, share);
		len = 1 + xu_random_below(&f->random, share - first);
		len = len < 3 * C / 512 ? len : 3 * C / 512;
		if ((i * share + first + len) * 512 > end) {
			continue;
		}
		harness_fill(load->bytes[i], len * 512, f->random.s[0]);
		harness_io_set(&load->ios[i], load->ch, op, (i * share + first) * 512,
			op == XBDEV_OP_WRITE ? load->bytes[i] : NULL, len * 512);
		load->is_busy[i] = xbdev_io_submit(&load->ios[i].io) == 0;
	}
}

static bool load_is_idle(const struct load *load)
{
	for (uint32_t i = 0; i < SIDE; i++) {
		if (load->is_busy[i] && load->ios[i].nr_done == 0) {
			return false;
		}
	}
	return true;
}

static void load_end(struct forest *f, struct load *load, struct thing *thing)
{
	harness_wait(&f->h, load_is_idle(load));
	load_reap(load, thing);
}

static void test_resize_under_io(void **state)
{
	uint64_t seed = harness_seed(6);
	struct load *load;
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 300, seed);
	v = add_volume(&f, "v", 60 * C, true);
	write_at(&f, v, 0, 60 * C);
	snapshot(&f, v, "s");
	load = load_start(&f, "v");
	for (uint32_t i = 0; i < 30; i++) {
		uint64_t size = (12 + xu_random_below(&f.random, 80)) * C, old = v->size;
		uint32_t nr = f.nr_done, nr_events = load->nr_events;

		load_more(&f, load, old, old);
		xbdev__lvol_resize(forest_volume(&f, "v"), size, forest_done, &f);
		if (size < old) { /* it counts from the call on */
			assert_int_equal(xbdev_device_size_bytes(load->ch->dev), size);
			model_resize(v, size);
		}
		while (f.nr_done == nr) {
			load_reap(load, v);
			load_more(&f, load, old, v->size);
			harness_poll(&f.h);
		}
		assert_int_equal(f.err.code, 0);
		assert_int_equal(load->nr_events, nr_events + (size != old));
		if (size > old) {
			model_resize(v, size);
		}
		load_end(&f, load, v);
	}
	assert_true(load->nr_ended > 60);
	load_stop(&f, load);
	check(&f);
	forest_stop(&f);
}

/* ---- inflate and decouple ---- */

typedef void (*fill_fn)(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg);

static int try_fill(struct forest *f, const char *name, fill_fn fill)
{
	uint32_t nr = f->nr_done;

	fill(forest_volume(f, name), forest_done, f);
	return forest_wait(f, nr);
}

/* v on p on g, each with some of the clusters. */
static struct thing *make_chain(struct forest *f, uint64_t nr_clusters)
{
	struct thing *v = add_volume(f, "v", nr_clusters * C, true);

	for (uint64_t i = 0; i < nr_clusters; i += 3) {
		write_at(f, v, i * C, C);
	}
	snapshot(f, v, "g");
	for (uint64_t i = 1; i < nr_clusters; i += 4) {
		write_at(f, v, i * C + 512, C / 2);
	}
	snapshot(f, v, "p");
	for (uint64_t i = 0; i < nr_clusters; i += 5) {
		write_at(f, v, i * C, 1024);
	}
	return v;
}

static const struct xbdev_lvs_blob *blob_of(struct forest *f, const char *name)
{
	return forest_volume(f, name)->blob;
}

static void check_inflated(struct forest *f, const char *name)
{
	const struct xbdev_lvs_blob *blob = blob_of(f, name);
	struct xbdev_lvol_info info;

	assert_int_equal(blob->map.nr_allocated, blob->map.nr_clusters);
	assert_false(xbdev__lvs_blob_is_thin(blob));
	assert_null(blob->parent);
	xbdev__lvol_info(forest_volume(f, name), &info);
	assert_null(info.parent);
	assert_false(info.is_thin);
	assert_null(info.busy);
	assert_int_equal(info.nr_allocated, blob->map.nr_clusters);
}

/* Fills "v" while it is used. */
static void fill_under_io(struct forest *f, struct thing *v, fill_fn fill)
{
	struct load *load = load_start(f, "v");
	uint32_t nr = f->nr_done;

	load_more(f, load, v->size, v->size);
	fill(forest_volume(f, "v"), forest_done, f);
	while (f->nr_done == nr) {
		load_reap(load, v);
		load_more(f, load, v->size, v->size);
		harness_poll(&f->h);
	}
	assert_int_equal(f->err.code, 0);
	load_end(f, load, v);
	assert_int_equal(load->nr_refused, 0);
	assert_true(load->nr_ended > 10);
	load_stop(f, load);
}

static void test_inflate_under_io(void **state)
{
	uint64_t seed = harness_seed(7);

	(void)state;
	for (uint32_t i = 0; i < 10; i++) {
		struct forest f;
		struct thing *v;

		forest_start(&f, 500, seed + i);
		v = make_chain(&f, 150);
		forest_soil(&f);
		fill_under_io(&f, v, xbdev__lvol_inflate);
		check_inflated(&f, "v");
		check(&f);
		check_inflated(&f, "v");
		assert_int_equal(try_fill(&f, "v", xbdev__lvol_inflate), 0);
		assert_int_equal(try_fill(&f, "v", xbdev__lvol_decouple), -EINVAL);
		delete (&f, "p");
		delete (&f, "g");
		check(&f);
		forest_stop(&f);
	}
}

static void test_decouple_under_io(void **state)
{
	uint64_t seed = harness_seed(8);

	(void)state;
	for (uint32_t i = 0; i < 10; i++) {
		struct forest f;
		struct thing *v;

		forest_start(&f, 500, seed + i);
		v = make_chain(&f, 150);
		forest_soil(&f);
		fill_under_io(&f, v, xbdev__lvol_decouple);
		assert_ptr_equal(blob_of(&f, "v")->parent, blob_of(&f, "g"));
		assert_true(xbdev__lvs_blob_is_thin(blob_of(&f, "v")));
		check(&f);
		assert_ptr_equal(blob_of(&f, "v")->parent, blob_of(&f, "g"));
		delete (&f, "p");
		assert_int_equal(try_fill(&f, "v", xbdev__lvol_decouple), 0);
		assert_null(blob_of(&f, "v")->parent);
		check(&f);
		forest_stop(&f);
	}
}

/* A snapshot is filled while a volume on it is used, and what it stood on goes at once: what that
 * volume was reading there must have been read by then. */
static void test_a_snapshot_is_filled_below_a_volume_under_io(void **state)
{
	static const fill_fn fills[] = {xbdev__lvol_inflate, xbdev__lvol_decouple};
	uint64_t seed = harness_seed(9);

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		struct forest f;
		struct thing *v;
		struct load *load;
		uint32_t nr;

		forest_start(&f, 700, seed + i);
		v = make_chain(&f, 150);
		nr = f.nr_done;
		xbdev__lvol_clone(forest_volume(&f, "p"), "c", NULL, forest_done, &f);
		assert_int_equal(forest_wait(&f, nr), 0);
		forest_add(&f.plan, "c", forest_thing(&f.plan, "p")->bytes, v->size);
		forest_soil(&f);
		load = load_start(&f, "v");
		load_more(&f, load, v->size, v->size);
		nr = f.nr_done;
		fills[i % 2](forest_volume(&f, "p"), forest_done, &f);
		while (f.nr_done == nr) {
			load_reap(load, v);
			load_more(&f, load, v->size, v->size);
			harness_poll(&f.h);
		}
		assert_int_equal(f.err.code, 0);
		delete (&f, "g");
		load_end(&f, load, v);
		assert_int_equal(load->nr_refused, 0);
		load_stop(&f, load);
		assert_null(blob_of(&f, "p")->parent);
		assert_ptr_equal(blob_of(&f, "v")->parent, blob_of(&f, "p"));
		assert_ptr_equal(blob_of(&f, "c")->parent, blob_of(&f, "p"));
		assert_int_equal(xbdev__lvs_blob_is_thin(blob_of(&f, "p")), i % 2 != 0);
		check(&f);
		forest_stop(&f);
	}
}

static void on_quiet(struct xbdev_lvol_exclusive *exclusive)
{
	(void)exclusive;
}

/* While a volume above cannot be seen to be quiet, what it may be reading from stays. */
static void test_a_snapshot_is_filled_when_those_above_have_been_quiet(void **state)
{
	struct xbdev_lvol_exclusive exclusive = {.fn = on_quiet};
	struct xbdev_lvol *volume;
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 700, harness_seed(10));
	snapshot(&f, make_chain(&f, 150), "q");
	volume = forest_volume(&f, "v"); /* which stands on q, and that on p */
	xbdev__lvol_exclusive_take(volume, &exclusive);
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "p"), forest_done, &f);
	harness_wait(&f.h, blob_of(&f, "p")->parent == NULL);
	harness_poll_times(&f.h, 1000);
	assert_int_equal(f.nr_done, nr);
	xbdev__lvol_delete(forest_volume(&f, "g"), forest_done, &f);
	assert_int_equal(forest_wait(&f, nr), -EBUSY);
	xbdev__lvol_exclusive_give(volume, &exclusive);
	assert_int_equal(forest_wait(&f, nr + 1), 0);
	delete (&f, "g");
	check(&f);
	forest_stop(&f);
}

static void test_decouple_from_a_short_parent(void **state)
{
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 160, harness_seed(9));
	v = add_volume(&f, "v", 4 * C, true);
	write_at(&f, v, 0, 3 * C);
	snapshot(&f, v, "g");
	resize(&f, v, C);
	snapshot(&f, v, "p");
	resize(&f, v, 4 * C);
	forest_soil(&f);
	assert_int_equal(try_fill(&f, "v", xbdev__lvol_decouple), 0);
	assert_ptr_equal(blob_of(&f, "v")->parent, blob_of(&f, "g"));
	assert_int_equal(blob_of(&f, "v")->map.nr_allocated, 2);
	check(&f);
	forest_stop(&f);
}

static void test_filling_stops_when_it_is_asked_to(void **state)
{
	struct forest f;
	struct xu_error err;
	uint64_t nr_before;
	uint32_t nr;

	(void)state;
	forest_start(&f, 3600, harness_seed(10));
	make_chain(&f, 700);
	nr_before = blob_of(&f, "v")->map.nr_allocated;
	nr = f.nr_done;
	xbdev__lvol_inflate(forest_volume(&f, "v"), forest_done, &f);
	harness_wait(&f.h, blob_of(&f, "v")->map.nr_allocated > nr_before);
	assert_int_equal(xbdev__lvol_cancel(forest_volume(&f, "v"), &err), 0);
	assert_int_equal(forest_wait(&f, nr), -ECANCELED);
	assert_true(blob_of(&f, "v")->map.nr_allocated < 700);
	assert_ptr_equal(blob_of(&f, "v")->parent, blob_of(&f, "p"));
	check(&f);
	assert_int_equal(try_fill(&f, "v", xbdev__lvol_inflate), 0);
	check_inflated(&f, "v");
	check(&f);
	forest_stop(&f);
}

static void test_inflate_without_space(void **state)
{
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 400, harness_seed(11));
	v = make_chain(&f, 120);
	add_volume(&f, "thick", 40 * C, false);
	assert_int_equal(try_fill(&f, "v", xbdev__lvol_inflate), -ENOSPC);
	assert_ptr_equal(blob_of(&f, "v")->parent, blob_of(&f, "p"));
	check(&f);
	delete (&f, "thick");
	assert_int_equal(try_fill(&f, "v", xbdev__lvol_inflate), 0);
	check_inflated(&f, "v");
	write_at(&f, v, 0, 3 * C);
	check(&f);
	forest_stop(&f);
}

static void test_power_fails_while_filling(void **state)
{
	static const fill_fn fills[] = {xbdev__lvol_inflate, xbdev__lvol_decouple};
	uint64_t seed = harness_seed(12);

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(fills); i++) {
		struct plan before = {0};
		struct forest f;

		forest_start(&f, 400, seed + i);
		make_chain(&f, 60);
		forest_soil(&f);
		lvol_disk_begin(f.disk);
		forest_copy(&before, &f.plan);
		assert_int_equal(try_fill(&f, "v", fills[i]), 0);
		check_crashes(&f, &before);
		check(&f);
		forest_stop(&f);
	}
}

static void test_a_disk_that_fails_while_filling(void **state)
{
	uint64_t seed = harness_seed(13);

	(void)state;
	for (uint32_t i = 0; i < 24; i++) {
		struct forest f;
		char why[200] = "";
		int rc;

		forest_start(&f, 400, seed + i);
		make_chain(&f, 20);
		f.disk->fail_at = f.disk->nr_writes + 1 + i * 3;
		f.disk->is_sick = i % 2 == 0;
		rc = try_fill(&f, "v", i % 3 == 0 ? xbdev__lvol_decouple : xbdev__lvol_inflate);
		assert_true(rc == 0 || rc == -EIO || rc == -EROFS);
		f.disk->fail_at = 0;
		if (!forest_is(&f, &f.plan, why)) {
			fail_msg("write %u: %s", i, why);
		}
		forest_detach(&f);
		forest_attach(&f);
		if (!forest_is(&f, &f.plan, why)) {
			fail_msg("write %u, loaded again: %s", i, why);
		}
		forest_check_clusters(&f);
		forest_stop(&f);
	}
}

/* ---- what the maps tell ---- */

struct answer {
	struct forest *f;
	struct xbdev_lvol_usage usage;
	struct xbdev_lvol_extent extents[32];
	uint32_t nr_extents, nr_done;
	int code;
};

static void on_usage(void *arg, const struct xbdev_lvol_usage *usage, const struct xu_error *err)
{
	struct answer *answer = arg;

	assert_int_equal(usage == NULL, err != NULL);
	answer->code = err != NULL ? err->code : 0;
	if (usage != NULL) {
		answer->usage = *usage;
	}
	answer->nr_done++;
}

static void on_diff(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
	const struct xu_error *err)
{
	struct answer *answer = arg;

	assert_int_equal(extents == NULL, err != NULL);
	answer->code = err != NULL ? err->code : 0;
	answer->nr_extents = nr_extents;
	assert_true(nr_extents <= ARRAY_SIZE(answer->extents));
	for (uint32_t i = 0; i < nr_extents; i++) {
		answer->extents[i] = extents[i];
	}
	answer->nr_done++;
}

static void check_usage(struct forest *f, const char *name, uint64_t exclusive, uint64_t shared)
{
	struct answer answer = {0};

	xbdev__lvol_usage(forest_volume(f, name), on_usage, &answer);
	harness_wait(&f->h, answer.nr_done == 1);
	assert_int_equal(answer.code, 0);
	assert_int_equal(answer.usage.exclusive, exclusive * C);
	assert_int_equal(answer.usage.shared, shared * C);
}

static struct answer diff(struct forest *f, const char *a, const char *b)
{
	struct answer answer = {0};

	xbdev__lvol_diff(forest_volume(f, a), forest_volume(f, b), on_diff, &answer);
	harness_wait(&f->h, answer.nr_done == 1);
	return answer;
}

static void test_what_maps_tell(void **state)
{
	struct answer answer;
	struct thing *v;
	struct forest f;

	(void)state;
	forest_start(&f, 160, harness_seed(14));
	v = add_volume(&f, "v", 10 * C, true);
	write_at(&f, v, 0, 4 * C);
	check_usage(&f, "v", 4, 0);
	snapshot(&f, v, "g");
	check_usage(&f, "v", 0, 4);
	check_usage(&f, "g", 0, 4);
	answer = diff(&f, "g", "v");
	assert_int_equal(answer.code, 0);
	assert_int_equal(answer.nr_extents, 0);
	write_at(&f, v, 1 * C, 512);
	write_at(&f, v, 5 * C + 512, 2 * C);
	check_usage(&f, "v", 4, 3);
	check_usage(&f, "g", 1, 3);
	snapshot(&f, v, "p");
	answer = diff(&f, "p", "g");
	assert_int_equal(answer.nr_extents, 2);
	assert_int_equal(answer.extents[0].offset, C);
	assert_int_equal(answer.extents[0].len, C);
	assert_int_equal(answer.extents[1].offset, 5 * C);
	assert_int_equal(answer.extents[1].len, 3 * C);
	resize(&f, v, 6 * C);
	answer = diff(&f, "p", "v");
	assert_int_equal(answer.nr_extents, 1);
	assert_int_equal(answer.extents[0].offset, 6 * C);
	assert_int_equal(answer.extents[0].len, 2 * C);
	check_usage(&f, "p", 2, 5);
	check(&f);
	forest_stop(&f);
}

/* ---- shallow copy ---- */

static int try_copy(struct forest *f, const char *name, const char *device)
{
	uint32_t nr = f->nr_done;

	xbdev__lvol_shallow_copy(forest_volume(f, name), device, forest_done, f);
	return forest_wait(f, nr);
}

static void test_copies_of_a_chain_make_its_content(void **state)
{
	struct lvol_disk *target, *small;
	struct xu_error err;
	struct thing *v;
	struct forest f;
	uint32_t nr;

	(void)state;
	forest_start(&f, 300, harness_seed(15));
	v = make_chain(&f, 40);
	snapshot(&f, v, "s");
	target = lvol_disk_new(&f.h, "target", NULL, 50 * C, FOREST_BLOCK);
	small = lvol_disk_new(&f.h, "small", NULL, 39 * C, FOREST_BLOCK);
	assert_int_equal(try_copy(&f, "g", "small"), -EINVAL);
	assert_int_equal(try_copy(&f, "v", "target"), -EINVAL);
	assert_int_equal(try_copy(&f, "g", "disk"), -EBUSY);
	assert_int_equal(try_copy(&f, "g", "none"), -ENODEV);
	assert_int_equal(try_copy(&f, "g", "target"), 0);
	assert_memory_equal(target->memory, forest_thing(&f.plan, "g")->bytes, 40 * C);
	for (uint64_t i = 1; i < 40; i++) { /* only what it has itself is overwritten */
		if (i % 4 != 1) {
			lvol_disk_fill(target, i * C, 0x77, C);
		}
	}
	assert_int_equal(try_copy(&f, "p", "target"), 0);
	for (uint64_t i = 1; i < 40; i++) {
		if (i % 4 == 1) {
			assert_memory_equal(target->memory + i * C,
				forest_thing(&f.plan, "p")->bytes + i * C, C);
		} else {
			assert_int_equal(target->memory[i * C], 0x77);
			assert_int_equal(target->memory[i * C + C - 1], 0x77);
		}
	}
	lvol_disk_fill(target, 0, 0, target->size_bytes);
	assert_int_equal(try_copy(&f, "g", "target"), 0);
	assert_int_equal(try_copy(&f, "p", "target"), 0);
	assert_int_equal(try_copy(&f, "s", "target"), 0);
	assert_memory_equal(target->memory, v->bytes, 40 * C);

	nr = f.nr_done;
	xbdev__lvol_shallow_copy(forest_volume(&f, "g"), "target", forest_done, &f);
	assert_int_equal(xbdev__lvol_cancel(forest_volume(&f, "g"), &err), 0);
	assert_int_equal(forest_wait(&f, nr), -ECANCELED);
	target->fail_at = target->nr_writes + 5;
	assert_int_equal(try_copy(&f, "g", "target"), -EIO);
	harness_remove(&f.h, &small->dev);
	harness_remove(&f.h, &target->dev); /* nobody has it open any more */
	check(&f);
	forest_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_shrunk_clone_does_not_show_its_parent_again),
		cmocka_unit_test(test_a_short_parent_that_goes_leaves_zeroes),
		cmocka_unit_test(test_resize_over_extent_pages),
		cmocka_unit_test(test_resize_of_a_thick_volume),
		cmocka_unit_test(test_growing_stops_when_it_is_asked_to),
		cmocka_unit_test(test_resize_under_io),
		cmocka_unit_test(test_inflate_under_io),
		cmocka_unit_test(test_decouple_under_io),
		cmocka_unit_test(test_a_snapshot_is_filled_below_a_volume_under_io),
		cmocka_unit_test(test_a_snapshot_is_filled_when_those_above_have_been_quiet),
		cmocka_unit_test(test_decouple_from_a_short_parent),
		cmocka_unit_test(test_filling_stops_when_it_is_asked_to),
		cmocka_unit_test(test_inflate_without_space),
		cmocka_unit_test(test_power_fails_while_filling),
		cmocka_unit_test(test_a_disk_that_fails_while_filling),
		cmocka_unit_test(test_what_maps_tell),
		cmocka_unit_test(test_copies_of_a_chain_make_its_content),
	};

	return cmocka_run_group_tests_name("xbdev/lvol/fill", tests, NULL, NULL);
}
