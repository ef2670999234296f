/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write-behind. The write-mostly member of a mirror does not end its writes for as long as a test
 * wants: what is acknowledged meanwhile, what is read, what is still marked, what waits; and what
 * the members hold in the end, when it has gone on, or has failed, or the other one has.
 */
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/raid/behind.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"

#define KIB    1024ull
#define BLOCK  (4 * KIB)
#define DISK   (48ull << 20)
#define MAX    4u /* writes behind */
#define NR_IOS 80u

struct world {
	struct harness h;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	bool is_done;
	struct xu_error err;
	struct harness_io ios[NR_IOS];
	char bufs[NR_IOS][BLOCK];
};

static const char *const names[] = {"e0", "e1", "e2"};

static struct xbdev_md_array *array_of(const struct world *w)
{
	return xu_container_of(w->dev, struct xbdev_md_array, dev);
}

/* ---- steps ---- */

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct world *w = arg;

	w->dev = dev;
	w->err = dev == NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static int try_create(struct world *w, const struct xbdev_md_create_opts *opts)
{
	w->is_done = false;
	xbdev__md_create(w->h.ctx, opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	return w->err.code;
}

static int try_assemble_of(struct world *w, const char *const *members)
{
	const struct xbdev_md_assemble_opts opts = {
		.name = "md0", .level = 1, .members = members, .nr_members = 2};

	w->is_done = false;
	xbdev__md_assemble(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	return w->err.code;
}

static int try_assemble(struct world *w)
{
	return try_assemble_of(w, names);
}

static void open_array(struct world *w)
{
	w->desc = harness_open(&w->h, "md0", true);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

static void disks(struct world *w)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, 1, 1);
	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		harness_create(
			&w->h, "malloc", "{'name':'m%u','size':%llu,'block_size':512}", i, DISK);
		harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
	}
}

/* A mirror of two; e0, the first copy, is the write-mostly one. */
static void world_start(struct world *w, uint32_t max)
{
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = 1,
		.members = names,
		.nr_members = 2,
		.bitmap_chunk_bytes = 64 * KIB,
		.assume_clean = true,
		.write_behind = max,
		.write_mostly = 1,
	};

	disks(w);
	assert_int_equal(try_create(w, &opts), 0);
	open_array(w);
}

static void close_array(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
}

static void world_stop(struct world *w)
{
	close_array(w);
	harness_remove(&w->h, w->dev);
	harness_stop(&w->h);
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct world *w = arg;

	w->err = err != NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static void manage(struct world *w, enum xbdev_md_command_kind kind, const char *device)
{
	const struct xbdev_md_command what = {.kind = kind, .device = device};

	w->is_done = false;
	xbdev__md_manage(w->dev, &what, on_managed, w);
	harness_wait(&w->h, w->is_done);
	assert_int_equal(w->err.code, 0);
}

/* A rule for a disk's data, and not for its metadata. */
static void rule(struct world *w, uint32_t disk, enum xbdev_error_kind kind, uint32_t op, int error)
{
	uint64_t offset = array_of(w)->super.data_offset * XBDEV_MD_SECTOR;
	const struct xbdev_error_rule rule = {.kind = kind,
		.ops_mask = 1u << op,
		.offset = offset,
		.len = DISK - offset,
		.error = error};

	assert_int_equal(xbdev_error_inject(
				 xbdev_device_find(w->h.ctx, names[disk]), &rule, NULL, NULL, NULL),
		0);
	harness_poll_times(&w->h, 3);
}

static void hang(struct world *w)
{
	rule(w, 0, XBDEV_ERROR_HANG, XBDEV_OP_WRITE, 0);
}

static void clear(struct world *w, uint32_t disk)
{
	assert_int_equal(
		xbdev_error_clear(xbdev_device_find(w->h.ctx, names[disk]), NULL, NULL, NULL), 0);
	harness_poll_times(&w->h, 3);
}

static void begin(
	struct world *w, uint32_t i, enum xbdev_op op, uint64_t offset, void *buf, uint64_t len)
{
	harness_io_set(&w->ios[i], w->ch, op, offset, buf, len);
	assert_int_equal(xbdev_io_submit(&w->ios[i].io), 0);
}

static void begin_write(struct world *w, uint32_t i, uint64_t block, uint64_t seed)
{
	harness_fill(w->bufs[i], BLOCK, seed);
	begin(w, i, XBDEV_OP_WRITE, block * BLOCK, w->bufs[i], BLOCK);
}

static void end(struct world *w, uint32_t i)
{
	harness_wait(&w->h, w->ios[i].nr_done == 1);
	assert_int_equal(w->ios[i].status, 0);
}

/* Acknowledged; the buffer is the writer's again, who uses it for something else. */
static void write_block(struct world *w, uint64_t block, uint64_t seed)
{
	begin_write(w, 0, block, seed);
	end(w, 0);
	memset(w->bufs[0], 0xee, BLOCK);
}

static void expect(struct world *w, uint64_t block, uint64_t seed)
{
	static char buf[BLOCK];

	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_READ, block * BLOCK, buf, BLOCK, 0), 0);
	assert_true(harness_is_filled(buf, BLOCK, seed));
}

/* What a member holds, past the array. */
static bool holds(struct world *w, uint32_t disk, uint64_t block, uint64_t seed)
{
	static char buf[BLOCK];
	char name[8];
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;

	snprintf(name, sizeof(name), "m%u", disk);
	desc = harness_open(&w->h, name, false);
	ch = harness_channel(&w->h, desc, 0);
	assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_READ,
				 array_of(w)->super.data_offset * XBDEV_MD_SECTOR + block * BLOCK,
				 buf, BLOCK, 0),
		0);
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
	return harness_is_filled(buf, BLOCK, seed);
}

static bool is_marked(const struct world *w, uint64_t block)
{
	const struct xbdev_md_bitmap *bitmap = array_of(w)->bitmap;
	uint64_t bit = block * BLOCK / (64 * KIB);

	return (bitmap->written[XBDEV_MD_BITMAP_HEADER_BYTES + bit / 8] >> (bit % 8) & 1) != 0;
}

static void catch_up(struct world *w)
{
	harness_wait(&w->h, array_of(w)->behind.nr == 0);
}

/* ---- the tests ---- */

static void test_a_write_does_not_wait_for_a_write_mostly_member(void **state)
{
	static struct world w;
	uint64_t until_ns;

	world_start(&w, MAX);
	array_of(&w)->bitmap->header.daemon_sleep_s = 1;
	write_block(&w, 3, 1);
	catch_up(&w);
	assert_true(holds(&w, 0, 3, 1) && holds(&w, 1, 3, 1));
	hang(&w);
	write_block(&w, 3, 2);
	assert_int_equal(array_of(&w)->behind.nr, 1);
	assert_true(holds(&w, 0, 3, 1) && holds(&w, 1, 3, 2));
	/* It is the other's that is read, though it is the second one. */
	expect(&w, 3, 2);
	/* A flush has nothing to wait for. */
	assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_FLUSH, 0, NULL, 0, 0), 0);
	/* However long: not clean, and marked. */
	until_ns = xu_clock_now_ns(xu_clock_system()) + 3500 * XU_NS_PER_MS;
	while (xu_clock_now_ns(xu_clock_system()) < until_ns) {
		harness_poll(&w.h);
	}
	assert_true(array_of(&w)->is_active);
	assert_true(is_marked(&w, 3));
	clear(&w, 0);
	catch_up(&w);
	assert_true(holds(&w, 0, 3, 2));
	harness_wait(&w.h, !array_of(&w)->is_active && !is_marked(&w, 3));
	world_stop(&w);
}

static void test_so_many_writes_are_behind_and_no_more(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	hang(&w);
	for (uint32_t i = 0; i < MAX + 3; i++) {
		begin_write(&w, i, i * 2, i + 1);
	}
	for (uint32_t i = 0; i < MAX; i++) {
		end(&w, i);
	}
	harness_poll_times(&w.h, 200);
	for (uint32_t i = MAX; i < MAX + 3; i++) {
		assert_int_equal(w.ios[i].nr_done, 0);
	}
	assert_int_equal(array_of(&w)->behind.nr, MAX);
	clear(&w, 0);
	for (uint32_t i = MAX; i < MAX + 3; i++) {
		end(&w, i);
	}
	catch_up(&w);
	assert_true(array_of(&w)->behind.bytes == 0);
	for (uint32_t i = 0; i < MAX + 3; i++) {
		assert_true(holds(&w, 0, i * 2, i + 1) && holds(&w, 1, i * 2, i + 1));
	}
	world_stop(&w);
}

static void test_copies_are_bounded(void **state)
{
	static char buf[4u << 20];
	static struct world w;
	uint32_t nr_done = 0;

	world_start(&w, XBDEV_MD_MAX_BEHIND);
	hang(&w);
	harness_fill(buf, sizeof(buf), 5);
	for (uint32_t i = 0; i < 11; i++) {
		begin(&w, i, XBDEV_OP_WRITE, i * sizeof(buf), buf, sizeof(buf));
	}
	for (uint32_t n = 0; n < 300; n++) {
		harness_poll(&w.h);
		assert_true(array_of(&w)->behind.bytes <= XBDEV_MD_BEHIND_BYTES);
	}
	for (uint32_t i = 0; i < 11; i++) {
		nr_done += w.ios[i].nr_done;
	}
	assert_in_range(nr_done, 1, XBDEV_MD_BEHIND_BYTES / sizeof(buf));
	clear(&w, 0);
	for (uint32_t i = 0; i < 11; i++) {
		end(&w, i);
	}
	catch_up(&w);
	world_stop(&w);
}

static void test_the_last_write_wins(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	hang(&w);
	/* The last one cannot be behind: it waits for those that are. */
	for (uint32_t i = 0; i < MAX; i++) {
		write_block(&w, 7, i + 1);
		expect(&w, 7, i + 1);
	}
	begin_write(&w, 1, 7, 100);
	begin_write(&w, 2, 9, 101);
	harness_poll_times(&w.h, 100);
	assert_int_equal(w.ios[1].nr_done, 0);
	expect(&w, 7, MAX);
	clear(&w, 0);
	end(&w, 1);
	end(&w, 2);
	catch_up(&w);
	assert_true(holds(&w, 0, 7, 100) && holds(&w, 1, 7, 100));
	/* The same of zeroes, which are never behind. */
	hang(&w);
	write_block(&w, 7, 102);
	begin(&w, 1, XBDEV_OP_WRITE_ZEROES, 7 * BLOCK, NULL, BLOCK);
	harness_poll_times(&w.h, 100);
	assert_int_equal(w.ios[1].nr_done, 0);
	clear(&w, 0);
	end(&w, 1);
	catch_up(&w);
	assert_false(holds(&w, 0, 7, 102) || holds(&w, 1, 7, 102));
	world_stop(&w);
}

/* Nobody else has it: who reads waits, and reads what was acknowledged. */
static void test_reads_wait_for_what_is_behind(void **state)
{
	for (uint32_t by_command = 0; by_command < 2; by_command++) {
		static struct world w;

		world_start(&w, MAX);
		write_block(&w, 3, 1);
		write_block(&w, 20, 2);
		catch_up(&w);
		hang(&w);
		write_block(&w, 3, 5);
		if (by_command != 0) {
			manage(&w, XBDEV_MD_COMMAND_FAIL, "e1");
		} else {
			rule(&w, 1, XBDEV_ERROR_FAIL, XBDEV_OP_READ, 0);
		}
		expect(&w, 20, 2);
		begin(&w, 1, XBDEV_OP_READ, 3 * BLOCK, w.bufs[1], BLOCK);
		harness_poll_times(&w.h, 200);
		assert_int_equal(w.ios[1].nr_done, 0);
		/* Without anybody else a write is not behind. */
		if (by_command != 0) {
			begin_write(&w, 2, 30, 6);
			harness_poll_times(&w.h, 200);
			assert_int_equal(w.ios[2].nr_done, 0);
		}
		clear(&w, 0);
		end(&w, 1);
		assert_true(harness_is_filled(w.bufs[1], BLOCK, 5));
		if (by_command != 0) {
			end(&w, 2);
		}
		catch_up(&w);
		assert_true(holds(&w, 0, 3, 5));
		world_stop(&w);
	}
}

/* The write-mostly member fails what is behind: it is out, and nothing is lost. */
static void test_a_member_fails_while_it_is_behind(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	rule(&w, 0, XBDEV_ERROR_FAIL, XBDEV_OP_WRITE, -ENXIO);
	for (uint32_t i = 0; i < 2 * MAX; i++) {
		write_block(&w, 4, i + 1);
	}
	harness_wait(&w.h, array_of(&w)->nr_degraded == 1);
	catch_up(&w);
	expect(&w, 4, 2 * MAX);
	assert_true(array_of(&w)->roles[1] != NULL && array_of(&w)->roles[0] == NULL);
	/* A recovery from the other one, which is not in its way. */
	clear(&w, 0);
	manage(&w, XBDEV_MD_COMMAND_REMOVE, "e0");
	manage(&w, XBDEV_MD_COMMAND_ADD, "e0");
	harness_wait(&w.h, array_of(&w)->nr_degraded == 0 && array_of(&w)->sync == NULL);
	assert_true(holds(&w, 0, 4, 2 * MAX));
	world_stop(&w);
}

/* Blocks that it does not take are in its log, as with any other write. */
static void test_blocks_that_are_refused_behind_are_known(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	write_block(&w, 4, 1);
	catch_up(&w);
	rule(&w, 0, XBDEV_ERROR_FAIL, XBDEV_OP_WRITE, 0);
	write_block(&w, 4, 2);
	catch_up(&w);
	assert_int_equal(array_of(&w)->nr_degraded, 0);
	assert_int_equal(array_of(&w)->roles[0]->bad->count, 1);
	/* The other one is read where it matters. */
	rule(&w, 1, XBDEV_ERROR_FAIL, XBDEV_OP_READ, 0);
	assert_int_equal(
		harness_io(&w.h, w.ch, XBDEV_OP_READ, 4 * BLOCK, w.bufs[1], BLOCK, 0), -EIO);
	clear(&w, 0);
	clear(&w, 1);
	expect(&w, 4, 2);
	world_stop(&w);
}

/* The one that was to have it first refuses: the write waits for the other one. */
static void test_a_write_that_only_a_write_mostly_member_takes(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	hang(&w);
	rule(&w, 1, XBDEV_ERROR_FAIL, XBDEV_OP_WRITE, -ENXIO);
	begin_write(&w, 1, 4, 9);
	harness_wait(&w.h, array_of(&w)->nr_degraded == 1);
	harness_poll_times(&w.h, 100);
	assert_int_equal(w.ios[1].nr_done, 0);
	clear(&w, 0);
	end(&w, 1);
	expect(&w, 4, 9);
	assert_true(holds(&w, 0, 4, 9));
	world_stop(&w);
}

/* A check and a resync look at blocks when nothing is behind there. */
static void test_a_check_waits_for_what_is_behind(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	hang(&w);
	write_block(&w, 4, 9);
	manage(&w, XBDEV_MD_COMMAND_CHECK, NULL);
	harness_poll_times(&w.h, 300);
	assert_true(array_of(&w)->sync != NULL);
	assert_int_equal(array_of(&w)->mismatch_sectors, 0);
	clear(&w, 0);
	harness_wait(&w.h, array_of(&w)->sync == NULL);
	assert_int_equal(array_of(&w)->mismatch_sectors, 0);
	world_stop(&w);
}

/* The array stops when all is where it belongs; what the disks say of it is as it was. */
static void test_an_array_stops_with_nothing_behind(void **state)
{
	const struct xbdev_md_assemble_opts opts = {
		.name = "md0", .level = 1, .members = names, .nr_members = 2};
	static struct world w;

	world_start(&w, MAX);
	write_block(&w, 4, 1);
	write_block(&w, 4, 2);
	close_array(&w);
	harness_remove(&w.h, w.dev);
	w.is_done = false;
	xbdev__md_assemble(w.h.ctx, &opts, on_made, &w);
	harness_wait(&w.h, w.is_done);
	assert_int_equal(w.err.code, 0);
	open_array(&w);
	assert_true(array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
	assert_int_equal(xbdev__md_behind_max(array_of(&w)), MAX);
	assert_true((array_of(&w)->roles[0]->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0);
	assert_true((array_of(&w)->roles[1]->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) == 0);
	assert_true(holds(&w, 0, 4, 2));
	hang(&w);
	write_block(&w, 4, 3);
	clear(&w, 0);
	world_stop(&w);
}

static void test_what_cannot_be_is_refused(void **state)
{
	struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = 1,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.members = names,
		.nr_members = 2,
		.write_behind = 1,
		.write_mostly = 1,
	};
	static struct world w;

	disks(&w);
	assert_int_equal(try_create(&w, &opts), -EINVAL);
	assert_non_null(strstr(w.err.text, "bitmap"));
	opts.bitmap_chunk_bytes = 65536;
	opts.write_behind = XBDEV_MD_MAX_BEHIND + 1;
	assert_int_equal(try_create(&w, &opts), -EINVAL);
	assert_non_null(strstr(w.err.text, "16383"));
	opts.level = 10;
	opts.write_behind = 1;
	assert_int_equal(try_create(&w, &opts), -EINVAL);
	assert_non_null(strstr(w.err.text, "raid1"));
	harness_stop(&w.h);
}

static bool says_mostly(struct world *w, uint32_t disk)
{
	return (array_of(w)->members[disk]->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0;
}

/* A command that is not done yet. */
static void begin_command(struct world *w, enum xbdev_md_command_kind kind, const char *device)
{
	const struct xbdev_md_command what = {.kind = kind, .device = device};

	w->is_done = false;
	xbdev__md_manage(w->dev, &what, on_managed, w);
	harness_poll_times(&w->h, 20);
}

static void test_a_member_is_as_any_other_when_it_has_all(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	write_block(&w, 3, 1);
	catch_up(&w);
	hang(&w);
	write_block(&w, 3, 2);
	begin_command(&w, XBDEV_MD_COMMAND_NOT_MOSTLY, names[0]);
	assert_false(w.is_done);
	assert_true(says_mostly(&w, 0));
	/* It lacks what was written, so it is not read; and nothing more is behind. */
	expect(&w, 3, 2);
	begin_write(&w, 1, 5, 7);
	harness_poll_times(&w.h, 50);
	assert_int_equal(w.ios[1].nr_done, 0);
	clear(&w, 0);
	end(&w, 1);
	harness_wait(&w.h, w.is_done);
	assert_int_equal(w.err.code, 0);
	assert_false(says_mostly(&w, 0));
	assert_true(holds(&w, 0, 3, 2) && holds(&w, 0, 5, 7));
	/* And from here on writes wait for it. */
	hang(&w);
	begin_write(&w, 1, 6, 8);
	harness_poll_times(&w.h, 50);
	assert_int_equal(w.ios[1].nr_done, 0);
	clear(&w, 0);
	end(&w, 1);
	/* The other one instead, also after a restart. */
	manage(&w, XBDEV_MD_COMMAND_MOSTLY, names[1]);
	manage(&w, XBDEV_MD_COMMAND_MOSTLY, names[1]);
	close_array(&w);
	harness_remove(&w.h, w.dev);
	assert_int_equal(try_assemble(&w), 0);
	open_array(&w);
	assert_true(says_mostly(&w, 1));
	assert_false(says_mostly(&w, 0));
	expect(&w, 6, 8);
	rule(&w, 1, XBDEV_ERROR_HANG, XBDEV_OP_WRITE, 0);
	write_block(&w, 6, 9);
	assert_int_equal(array_of(&w)->behind.nr, 1);
	expect(&w, 6, 9);
	clear(&w, 1);
	catch_up(&w);
	world_stop(&w);
}

static int add_mostly(struct world *w, const char *device)
{
	const struct xbdev_md_command what = {
		.kind = XBDEV_MD_COMMAND_ADD, .device = device, .is_mostly = true};

	w->is_done = false;
	xbdev__md_manage(w->dev, &what, on_managed, w);
	harness_wait(&w->h, w->is_done);
	return w->err.code;
}

/* It takes the place of one that has failed: from the first write on it may be behind; and one that
 * comes back to where a bitmap knows what it has missed. */
static void test_a_device_is_added_as_write_mostly(void **state)
{
	static struct world w;

	world_start(&w, MAX);
	manage(&w, XBDEV_MD_COMMAND_FAIL, names[0]);
	manage(&w, XBDEV_MD_COMMAND_REMOVE, names[0]);
	write_block(&w, 3, 1);
	assert_int_equal(add_mostly(&w, names[2]), 0);
	harness_wait(&w.h, array_of(&w)->nr_degraded == 0 && array_of(&w)->sync == NULL);
	assert_string_equal(array_of(&w)->roles[0]->name, names[2]);
	rule(&w, 2, XBDEV_ERROR_HANG, XBDEV_OP_WRITE, 0);
	write_block(&w, 4, 2);
	assert_int_equal(array_of(&w)->behind.nr, 1);
	expect(&w, 3, 1);
	expect(&w, 4, 2);
	clear(&w, 2);
	catch_up(&w);
	close_array(&w);
	harness_remove(&w.h, w.dev);
	assert_int_equal(try_assemble_of(&w, names + 1), 0);
	open_array(&w);
	assert_true((array_of(&w)->roles[0]->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0);
	assert_false((array_of(&w)->roles[1]->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0);

	manage(&w, XBDEV_MD_COMMAND_FAIL, names[1]);
	manage(&w, XBDEV_MD_COMMAND_REMOVE, names[1]);
	write_block(&w, 5, 3);
	assert_int_equal(add_mostly(&w, names[1]), 0);
	assert_true(array_of(&w)->roles[1]->is_by_bitmap || array_of(&w)->nr_degraded == 0);
	assert_true((array_of(&w)->roles[1]->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0);
	harness_wait(&w.h, array_of(&w)->nr_degraded == 0 && array_of(&w)->sync == NULL);
	expect(&w, 5, 3);
	world_stop(&w);
}

static void test_a_device_of_a_raid5_is_not_added_as_write_mostly(void **state)
{
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = 5,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.members = names,
		.nr_members = 2,
		.assume_clean = true,
	};
	static struct world w;

	disks(&w);
	assert_int_equal(try_create(&w, &opts), 0);
	open_array(&w);
	assert_int_equal(add_mostly(&w, names[2]), -EINVAL);
	assert_non_null(strstr(w.err.text, "raid1"));
	world_stop(&w);
}

static void test_write_mostly_is_of_mirrors_and_of_members(void **state)
{
	static struct world w;
	const struct xbdev_md_command what = {.kind = XBDEV_MD_COMMAND_MOSTLY, .device = "nobody"};

	world_start(&w, MAX);
	w.is_done = false;
	xbdev__md_manage(w.dev, &what, on_managed, &w);
	harness_wait(&w.h, w.is_done);
	assert_int_equal(w.err.code, -ENOENT);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_write_does_not_wait_for_a_write_mostly_member),
		cmocka_unit_test(test_so_many_writes_are_behind_and_no_more),
		cmocka_unit_test(test_copies_are_bounded),
		cmocka_unit_test(test_the_last_write_wins),
		cmocka_unit_test(test_reads_wait_for_what_is_behind),
		cmocka_unit_test(test_a_member_fails_while_it_is_behind),
		cmocka_unit_test(test_blocks_that_are_refused_behind_are_known),
		cmocka_unit_test(test_a_write_that_only_a_write_mostly_member_takes),
		cmocka_unit_test(test_a_check_waits_for_what_is_behind),
		cmocka_unit_test(test_an_array_stops_with_nothing_behind),
		cmocka_unit_test(test_what_cannot_be_is_refused),
		cmocka_unit_test(test_a_member_is_as_any_other_when_it_has_all),
		cmocka_unit_test(test_a_device_is_added_as_write_mostly),
		cmocka_unit_test(test_a_device_of_a_raid5_is_not_added_as_write_mostly),
		cmocka_unit_test(test_write_mostly_is_of_mirrors_and_of_members),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("xbdev_raid_behind", tests, NULL, NULL);
}
