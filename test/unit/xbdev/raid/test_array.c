/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays as they run: those that Linux has made hold what Linux put in, and those that are made
 * here keep what is written to them while members fail, are replaced and come back.
 */
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/model.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MIB (1024ull * 1024)

struct made {
	bool is_done;
	struct xbdev_device *dev;
	struct xu_error err;
};

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct made *made = arg;

	made->dev = dev;
	if (dev == NULL) {
		made->err = *err;
	}
	made->is_done = true;
}

static struct xbdev_device *try_assemble(
	struct harness *h, const struct xbdev_md_assemble_opts *opts, struct xu_error *ret_err)
{
	struct made made = {0};

	xbdev__md_assemble(h->ctx, opts, on_made, &made);
	harness_wait(h, made.is_done);
	*ret_err = made.err;
	return made.dev;
}

/* ---- arrays of Linux ---- */

static uint32_t open_members(
	struct harness *h, const struct md_fixture *f, const char **names, char (*texts)[16])
{
	for (uint32_t i = 0; i < f->nr_members; i++) {
		snprintf(texts[i], sizeof(texts[i]), "m%u", i);
		harness_create(h, "file", "{'name':'%s','filename':'%s','block_size':512}",
			texts[i], f->members[i].path);
		names[i] = texts[i];
	}
	return f->nr_members;
}

static bool is_damaged(const struct md_fixture *f)
{
	return json_object_get(f->json, "damage") != NULL;
}

static void compare_content(struct harness *h, struct xbdev_channel *ch, const struct md_fixture *f)
{
	uint64_t size = md_fixture_array_bytes(f);
	char *got = malloc(MIB), *wanted = malloc(MIB);

	assert_true(xbdev_device_size_bytes(ch->dev) == size);
	for (uint64_t at = 0; at < size; at += MIB) {
		uint64_t len = size - at < MIB ? size - at : MIB;

		assert_int_equal(harness_io(h, ch, XBDEV_OP_READ, at, got, len, 0), 0);
		md_fixture_content(f, NULL, at, wanted, len);
		for (uint64_t i = 0; i < len; i += 512) {
			if (memcmp(got + i, wanted + i, 512) != 0 &&
				md_fixture_in_flight(f, at + i) == 0) {
				fail_msg("%s differs at %llu", f->name,
					(unsigned long long)(at + i));
			}
		}
	}
	free(got);
	free(wanted);
}

static void test_arrays_of_linux_hold_what_linux_wrote(void **state)
{
	uint32_t nr_read = 0;

	for (uint32_t i = 0; i < md_fixture_count(); i++) {
		struct harness h;
		struct md_fixture f;
		const char *names[MD_FIXTURE_MEMBERS];
		char texts[MD_FIXTURE_MEMBERS][16];
		struct xbdev_device *dev;
		struct xu_error err;
		struct xbdev_md_assemble_opts opts = {.name = "md0",
			.level = XBDEV_MD_LEVEL_ANY,
			.members = names,
			.run = true,
			.read_only = true};

		harness_start(&h, 1, 1);
		md_fixture_open(&f, md_fixture_name(i));
		opts.nr_members = open_members(&h, &f, names, texts);
		dev = try_assemble(&h, &opts, &err);
		printf("%-32s %s\n", f.name, dev != NULL ? "runs" : err.text);
		if (dev != NULL && !is_damaged(&f) &&
			strcmp(f.name, "state-raid1-splitbrain") != 0) {
			struct xbdev_desc *desc = harness_open(&h, "md0", false);
			struct xbdev_channel *ch = harness_channel(&h, desc, 0);

			compare_content(&h, ch, &f);
			harness_put(&h, ch);
			xbdev_desc_close(desc);
			nr_read++;
		}
		if (dev != NULL) {
			harness_remove(&h, dev);
		}
		harness_stop(&h);
		md_fixture_close(&f);
	}
	assert_true(nr_read >= 40);
}

/* What Linux left in the middle of writes is made to agree, and holds what it must; arrays with a
 * bitmap walk over what that marks only. */
static void test_arrays_that_linux_left_dirty_are_resynced(void **state)
{
	static const char *const names_dirty[] = {"state-raid1-bitmap-dirty", "state-raid5-dirty"};

	for (uint32_t i = 0; i < ARRAY_SIZE(names_dirty); i++) {
		struct harness h;
		struct md_fixture f;
		const char *names[MD_FIXTURE_MEMBERS];
		char texts[MD_FIXTURE_MEMBERS][16];
		struct xbdev_device *dev;
		struct xbdev_md_array *array;
		struct xbdev_desc *desc;
		struct xbdev_channel *ch;
		struct xu_error err;
		struct xbdev_md_assemble_opts opts = {
			.name = "md0", .level = XBDEV_MD_LEVEL_ANY, .members = names, .run = true};

		harness_start(&h, 1, 1);
		md_fixture_open(&f, names_dirty[i]);
		opts.nr_members = open_members(&h, &f, names, texts);
		dev = try_assemble(&h, &opts, &err);
		if (dev == NULL) {
			fail_msg("%s", err.text);
		}
		array = xu_container_of(dev, struct xbdev_md_array, dev);
		assert_true(array->in_sync_below != XBDEV_MD_NEVER);
		harness_wait(&h, array->in_sync_below == XBDEV_MD_NEVER);
		assert_int_equal(array->nr_degraded, 0);
		desc = harness_open(&h, "md0", true);
		ch = harness_channel(&h, desc, 0);
		compare_content(&h, ch, &f);
		assert_int_equal(xbdev__md_sync_scrub(array, XBDEV_MD_SYNC_CHECK), 0);
		harness_wait(&h, array->sync == NULL);
		assert_int_equal(array->mismatch_sectors, 0);
		harness_put(&h, ch);
		xbdev_desc_close(desc);
		harness_remove(&h, dev);
		/* It is clean now, and its bitmap says that all agree. */
		dev = try_assemble(&h, &opts, &err);
		assert_non_null(dev);
		array = xu_container_of(dev, struct xbdev_md_array, dev);
		assert_true(array->in_sync_below == XBDEV_MD_NEVER);
		if (array->bitmap != NULL) {
			assert_true(xbdev__md_bitmap_clean_run(array, 0) > 0);
			assert_int_equal(array->bitmap->header.events, array->super.events);
		}
		harness_remove(&h, dev);
		harness_stop(&h);
		md_fixture_close(&f);
	}
}

/* ---- arrays of ours ---- */

struct shape {
	int32_t level;
	uint32_t layout;
	uint32_t nr_members;
	uint64_t chunk_bytes;
	uint32_t nr_may_fail;
};

static const struct shape shapes[] = {
	{-1, 0, 3, 0, 0},
	{0, XBDEV_MD_LAYOUT_DEFAULT, 3, 65536, 0},
	{1, 0, 3, 0, 2},
	{4, 0, 4, 65536, 1},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 4, 65536, 1},
	{5, 0, 3, 4096, 1},
	{5, 1, 5, 16384, 1},
	{5, 3, 4, 524288, 1},
	{6, XBDEV_MD_LAYOUT_DEFAULT, 5, 65536, 2},
	{6, 0, 6, 8192, 2},
	{10, XBDEV_MD_LAYOUT_DEFAULT, 4, 65536, 1},
	{10, 0x102, 5, 16384, 1},
	{10, 0x201, 4, 16384, 1},
	{10, 0x10201, 3, 16384, 1},
};

struct world {
	struct harness h;
	const struct shape *shape;
	const char *names[16];
	char texts[16][16];
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
};

static struct xbdev_md_array *array_of(struct world *w)
{
	return xu_container_of(w->dev, struct xbdev_md_array, dev);
}

/* Members are malloc devices under error devices e0, e1, …, which can be made to fail. */
static void make_members(struct world *w, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		harness_create(&w->h, "malloc", "{'name':'m%u','size':%llu,'block_size':512}", i,
			(unsigned long long)(8 * MIB + i * 65536));
		harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
		snprintf(w->texts[i], sizeof(w->texts[i]), "e%u", i);
		w->names[i] = w->texts[i];
	}
}

static void open_array(struct world *w)
{
	w->desc = harness_open(&w->h, "md0", true);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

static void close_array(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
}

static void create_array_with(
	struct world *w, const struct shape *shape, uint32_t nr_spares, uint32_t bitmap_chunk_bytes)
{
	struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = shape->level,
		.layout = shape->layout,
		.chunk_bytes = shape->chunk_bytes,
		.members = w->names,
		.nr_members = shape->nr_members,
		.nr_spares = nr_spares,
		.bitmap_chunk_bytes = bitmap_chunk_bytes,
	};
	struct made made = {0};

	memset(w, 0, sizeof(*w));
	w->shape = shape;
	harness_start(&w->h, 1, 1);
	make_members(w, 0, shape->nr_members + nr_spares);
	xbdev__md_create(w->h.ctx, &opts, on_made, &made);
	harness_wait(&w->h, made.is_done);
	if (made.dev == NULL) {
		fail_msg("%s", made.err.text);
	}
	w->dev = made.dev;
	open_array(w);
}

static void create_array(struct world *w, const struct shape *shape, uint32_t nr_spares)
{
	create_array_with(w, shape, nr_spares, 0);
}

static void assemble_array(struct world *w, uint32_t nr_members)
{
	struct xbdev_md_assemble_opts opts = {.name = "md0",
		.level = w->shape->level,
		.members = w->names,
		.nr_members = nr_members,
		.run = true};
	struct xu_error err;

	w->dev = try_assemble(&w->h, &opts, &err);
	if (w->dev == NULL) {
		fail_msg("%s", err.text);
	}
	open_array(w);
}

static void stop_array(struct world *w)
{
	close_array(w);
	harness_remove(&w->h, w->dev);
	w->dev = NULL;
}

static void run_model(struct world *w, uint64_t seed, uint32_t nr_ios)
{
	struct model_opts opts = {
		.ch = w->ch,
		.seed = seed,
		.len = 4 * MIB,
		.max_io_bytes = 600 * 1024,
		.nr_ios = nr_ios,
		.nr_slots = 16,
	};

	model_run(&w->h, &opts);
}

static void test_random_io_reads_back(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct world w;

		printf("level %d layout %x\n", shapes[i].level, shapes[i].layout);
		create_array(&w, &shapes[i], 0);
		run_model(&w, 7 + i, 3000);
		harness_wait(&w.h, array_of(&w)->sync == NULL);
		stop_array(&w);
		harness_stop(&w.h);
	}
}

static void write_pattern(struct world *w, uint64_t seed)
{
	uint64_t size = xbdev_device_size_bytes(w->dev);
	char *buf = malloc(MIB);

	for (uint64_t at = 0; at < size; at += MIB) {
		uint64_t len = size - at < MIB ? size - at : MIB;

		harness_fill(buf, len, seed + at);
		assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_WRITE, at, buf, len, 0), 0);
	}
	free(buf);
}

static void check_pattern(struct world *w, uint64_t seed)
{
	uint64_t size = xbdev_device_size_bytes(w->dev);
	char *buf = malloc(MIB);

	for (uint64_t at = 0; at < size; at += MIB) {
		uint64_t len = size - at < MIB ? size - at : MIB;

		assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_READ, at, buf, len, 0), 0);
		if (!harness_is_filled(buf, len, seed + at)) {
			fail_msg("level %d: differs in the MiB at %llu", w->shape->level,
				(unsigned long long)at);
		}
	}
	free(buf);
}

struct fail_call {
	struct xbdev_md_array *array;
	uint32_t role;
	bool is_out;
};

static void fail_role(void *arg)
{
	struct fail_call *call = arg;

	call->is_out = xbdev__md_member_fail(call->array->roles[call->role], "is to fail", -EIO);
}

static void fail_member(struct world *w, uint32_t role)
{
	struct fail_call call = {array_of(w), role, false};

	harness_run_on(&w->h, 0, fail_role, &call);
	assert_true(call.is_out);
}

static void wait_for_sync(struct world *w)
{
	harness_wait(&w->h, array_of(w)->sync == NULL && array_of(w)->nr_degraded == 0 &&
				    array_of(w)->in_sync_below == XBDEV_MD_NEVER);
}

/* Fails every member in turn: what it held is recovered onto a spare, which then alone has it. */
static void test_spares_get_what_members_held(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *shape = &shapes[i];
		struct world w;

		if (shape->nr_may_fail == 0) {
			continue;
		}
		printf("level %d layout %x\n", shape->level, shape->layout);
		create_array(&w, shape, shape->nr_members);
		wait_for_sync(&w);
		write_pattern(&w, 1);
		for (uint32_t role = 0; role < shape->nr_members; role++) {
			fail_member(&w, role);
			check_pattern(&w, 1);
			wait_for_sync(&w);
		}
		check_pattern(&w, 1);
		write_pattern(&w, 2);
		check_pattern(&w, 2);
		stop_array(&w);
		assemble_array(&w, 2 * shape->nr_members);
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		check_pattern(&w, 2);
		stop_array(&w);
		harness_stop(&w.h);
	}
}

static void test_writes_to_degraded_arrays_are_kept(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *shape = &shapes[i];
		struct world w;

		if (shape->nr_may_fail == 0) {
			continue;
		}
		printf("level %d layout %x\n", shape->level, shape->layout);
		create_array(&w, shape, 0);
		wait_for_sync(&w);
		for (uint32_t n = 0; n < shape->nr_may_fail; n++) {
			fail_member(&w, n * 2 % shape->nr_members);
		}
		run_model(&w, 40 + i, 3000);
		write_pattern(&w, 3);
		check_pattern(&w, 3);
		stop_array(&w);
		/* The failed members are stale and are left out. */
		assemble_array(&w, shape->nr_members);
		assert_int_equal(array_of(&w)->nr_degraded, shape->nr_may_fail);
		check_pattern(&w, 3);
		stop_array(&w);
		harness_stop(&w.h);
	}
}

/* ---- replacing ---- */

struct manage_call {
	bool is_done;
	struct xu_error err;
};

static void on_managed(void *arg, const struct xu_error *err)
{
	struct manage_call *call = arg;

	if (err != NULL) {
		call->err = *err;
	}
	call->is_done = true;
}

static void manage(struct world *w, const struct xbdev_md_command *command)
{
	struct manage_call call = {0};

	xbdev__md_manage(w->dev, command, on_managed, &call);
	harness_wait(&w->h, call.is_done);
	if (call.err.code != 0) {
		fail_msg("%s", call.err.text);
	}
}

static void on_rule(void *arg)
{
	*(bool *)arg = true;
}

/* What is being copied to a replacement when the old member fails reaches it all the same. */
static void test_a_member_that_fails_while_it_is_replaced_leaves_no_hole(void **state)
{
	const struct xbdev_error_rule rule = {
		.kind = XBDEV_ERROR_HANG, .ops_mask = 1u << XBDEV_OP_READ};
	static const struct shape kinds[] = {{1, 0, 2, 0, 1}, {4, 0, 3, 65536, 1},
		{5, XBDEV_MD_LAYOUT_DEFAULT, 4, 65536, 1},
		{6, XBDEV_MD_LAYOUT_DEFAULT, 5, 16384, 2}, {10, 0x102, 4, 65536, 1}};

	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct xbdev_md_command command = {
			.kind = XBDEV_MD_COMMAND_REPLACE, .device = "e0"};
		struct xbdev_device *slow;
		bool is_set = false, is_clear = false;
		char name[16];
		struct world w;

		printf("level %d\n", kinds[i].level);
		create_array(&w, &kinds[i], 0);
		make_members(&w, kinds[i].nr_members, 1);
		wait_for_sync(&w);
		write_pattern(&w, 9);
		slow = xbdev_device_find(w.h.ctx, kinds[i].level == 1 ? "e0" : "e1");
		assert_int_equal(xbdev_error_inject(slow, &rule, on_rule, &is_set, NULL), 0);
		harness_wait(&w.h, is_set);
		snprintf(name, sizeof(name), "e%u", kinds[i].nr_members);
		command.new_device = name;
		manage(&w, &command);
		harness_poll_times(&w.h, 100);
		assert_non_null(array_of(&w)->sync);
		fail_member(&w, 0);
		assert_int_equal(xbdev_error_clear(slow, on_rule, &is_clear, NULL), 0);
		wait_for_sync(&w);
		assert_string_equal(array_of(&w)->roles[0]->name, name);
		if (kinds[i].level == 1) {
			fail_member(&w, 1);
		}
		check_pattern(&w, 9);
		stop_array(&w);
		harness_stop(&w.h);
	}
}

static void refuse(
	struct world *w, const struct xbdev_md_command *command, int code, const char *sentence)
{
	struct manage_call call = {0};

	xbdev__md_manage(w->dev, command, on_managed, &call);
	harness_wait(&w->h, call.is_done);
	assert_int_equal(call.err.code, code);
	if (strstr(call.err.text, sentence) == NULL) {
		fail_msg("%s", call.err.text);
	}
}

/* What would break a promise of the array, or somebody's data, is not taken. */
static void test_a_member_that_does_not_fit_is_refused(void **state)
{
	static const struct shape mirror = {1, 0, 2, 0, 1};
	struct xbdev_md_command command = {.kind = XBDEV_MD_COMMAND_ADD, .device = "cached"};
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char buf[4096];
	struct world w;

	create_array(&w, &mirror, 0);
	wait_for_sync(&w);
	snprintf(buf, sizeof(buf), "%s/cached", harness_dir());
	harness_create(&w.h, "file",
		"{'name':'cached','filename':'%s','size':'16MiB','block_size':512}", buf);
	refuse(&w, &command, -EINVAL, "write cache");
	make_members(&w, 2, 1);
	command.device = "e2";
	desc = harness_open(&w.h, "e0", false);
	ch = harness_channel(&w.h, desc, 0);
	assert_int_equal(harness_io(&w.h, ch, XBDEV_OP_READ, 4096, buf, sizeof(buf), 0), 0);
	harness_put(&w.h, ch);
	xbdev_desc_close(desc);
	buf[100] ^= 1; /* a superblock whose checksum is wrong */
	desc = harness_open(&w.h, "e2", true);
	ch = harness_channel(&w.h, desc, 0);
	assert_int_equal(harness_io(&w.h, ch, XBDEV_OP_WRITE, 4096, buf, sizeof(buf), 0), 0);
	harness_put(&w.h, ch);
	xbdev_desc_close(desc);
	refuse(&w, &command, -EEXIST, "damaged");
	/* Both have been given back. */
	harness_wait(&w.h, xbdev_device_find(w.h.ctx, "cached")->claim == NULL &&
				   xbdev_device_find(w.h.ctx, "e2")->claim == NULL);
	stop_array(&w);
	harness_stop(&w.h);
}

/* ---- the bitmap ---- */

static const struct shape bitmap_shapes[] = {
	{1, 0, 2, 0, 1},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 4, 65536, 1},
	{6, XBDEV_MD_LAYOUT_DEFAULT, 5, 65536, 2},
};

static uint64_t nr_set(const struct world *w)
{
	const struct xbdev_md_bitmap *bitmap =
		xu_container_of(w->dev, struct xbdev_md_array, dev)->bitmap;
	uint64_t count = 0;

	for (uint64_t bit = 0; bit < bitmap->nr_bits; bit++) {
		count +=
			xbdev__md_bitmap_clean_run(bitmap->array, bit * bitmap->chunk_sectors) == 0;
	}
	return count;
}

/* A member that was away gets what was written meanwhile and nothing else: a mark that is put into
 * a place where nothing was written stays. */
static void test_a_member_that_comes_back_gets_what_it_missed(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(bitmap_shapes); i++) {
		const struct shape *shape = &bitmap_shapes[i];
		struct xbdev_md_command command = {.kind = XBDEV_MD_COMMAND_REMOVE, .device = "e1"};
		struct xbdev_desc *desc;
		struct xbdev_channel *ch;
		uint64_t data_offset;
		char buf[65536], mark[4096];
		struct world w;

		printf("level %d\n", shape->level);
		create_array_with(&w, shape, 0, 65536);
		wait_for_sync(&w);
		write_pattern(&w, 5);
		/* All at rest: the bits go with the next sweeps, or when it stops. */
		stop_array(&w);
		assemble_array(&w, shape->nr_members);
		assert_int_equal(nr_set(&w), 0);
		data_offset = array_of(&w)->roles[1]->super.data_offset * 512;
		fail_member(&w, 1);
		manage(&w, &command);
		harness_fill(buf, sizeof(buf), 77);
		assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_WRITE, 0, buf, sizeof(buf), 0), 0);
		assert_true(nr_set(&w) > 0 && nr_set(&w) < array_of(&w)->bitmap->nr_bits / 2);
		harness_wait(&w.h, xbdev_device_find(w.h.ctx, "e1")->claim == NULL);
		/* The mark, far behind what was written. */
		memset(mark, 0xa5, sizeof(mark));
		desc = harness_open(&w.h, "e1", true);
		ch = harness_channel(&w.h, desc, 0);
		assert_int_equal(harness_io(&w.h, ch, XBDEV_OP_WRITE, data_offset + 3 * MIB, mark,
					 sizeof(mark), 0),
			0);
		harness_put(&w.h, ch);
		xbdev_desc_close(desc);
		command.kind = XBDEV_MD_COMMAND_ADD;
		manage(&w, &command);
		wait_for_sync(&w);
		desc = harness_open(&w.h, "e1", false);
		ch = harness_channel(&w.h, desc, 0);
		assert_int_equal(harness_io(&w.h, ch, XBDEV_OP_READ, data_offset + 3 * MIB, buf,
					 sizeof(mark), 0),
			0);
		assert_memory_equal(buf, mark, sizeof(mark));
		harness_put(&w.h, ch);
		xbdev_desc_close(desc);
		/* What was written is there without any other member that had it. */
		for (uint32_t role = 0, n = 0; role < shape->nr_members && n < shape->nr_may_fail;
			role++) {
			if (role != 1) {
				fail_member(&w, role);
				n++;
			}
		}
		assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, buf, sizeof(buf), 0), 0);
		assert_true(harness_is_filled(buf, sizeof(buf), 77));
		stop_array(&w);
		harness_stop(&w.h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arrays_of_linux_hold_what_linux_wrote),
		cmocka_unit_test(test_arrays_that_linux_left_dirty_are_resynced),
		cmocka_unit_test(test_random_io_reads_back),
		cmocka_unit_test(test_spares_get_what_members_held),
		cmocka_unit_test(test_writes_to_degraded_arrays_are_kept),
		cmocka_unit_test(test_a_member_that_fails_while_it_is_replaced_leaves_no_hole),
		cmocka_unit_test(test_a_member_that_does_not_fit_is_refused),
		cmocka_unit_test(test_a_member_that_comes_back_gets_what_it_missed),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
