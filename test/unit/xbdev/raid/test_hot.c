/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions in frequent use are rebuilt first. An array is read much in some places; then it loses a
 * member and a new one is recovered, slowly. When the first few pieces are done, those that were
 * read much survive the next failure and others do not. The same of a resync: their parity is right
 * before its turn. What a superblock says stays the truth meanwhile. So it is with a log, too: what
 * that holds of writes to such a region is in test/sim.
 */
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/raid.h"
#include "lib/xbdev/raid/sync.h"
#include "test/unit/xbdev/harness.h"

#define KIB         1024ull
#define PIECE       (64 * KIB)
#define NR_DISKS    6u
#define DISK        (6 * 1024 * KIB)
#define LEN         (24 * PIECE) /* that is looked at: from the array's start */
#define NR_HOT      2u
#define HOT_SECTORS (NR_HOT * PIECE / 512) /* of a member */

struct shape {
	const char *name;
	int32_t level;
	uint32_t layout;
	uint32_t nr_members;
	uint32_t lost;        /* bit per role: the first failure, */
	uint32_t refuses;     /* and the second one */
	uint64_t hot[NR_HOT]; /* pieces of the array that are used, far from its start, and of
			       * which the lost member has some */
	enum xbdev_md_policy policy;
};

static const struct shape shapes[] = {
	{"raid1", 1, 0, 2, 1 << 1, 1 << 0, {13, 22}},
	{"raid5", 5, 2, 3, 1 << 1, 1 << 0, {13, 22}},
	{"raid6", 6, 2, 4, 1 << 0 | 1 << 1, 1 << 2 | 1 << 3, {13, 22}},
	{"raid10 near", 10, 0x102, 4, 1 << 1, 1 << 0, {14, 22}},
	{"raid10 far", 10, 0x201, 4, 1 << 1, 1 << 0 | 1 << 2, {17, 21}},
	{"raid5, PPL", 5, 2, 3, 1 << 1, 1 << 0, {13, 22}, XBDEV_MD_POLICY_PPL},
	{"raid4, journal", 4, 0, 3, 1 << 1, 1 << 0, {13, 23}, XBDEV_MD_POLICY_JOURNAL},
	{"raid6, journal", 6, 2, 4, 1 << 0 | 1 << 1, 1 << 2 | 1 << 3, {13, 22},
		XBDEV_MD_POLICY_JOURNAL},
};

enum { RAID5 = 1, RAID5_PPL = 5, RAID6_JOURNAL = 7 };

struct world {
	struct harness h;
	const struct shape *shape;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	bool is_done;
	struct xu_error err;
	char content[LEN];
};

static const char *const names[NR_DISKS] = {"e0", "e1", "e2", "e3", "e4", "e5"};

static struct xbdev_md_array *array_of(const struct world *w)
{
	return xu_container_of(w->dev, struct xbdev_md_array, dev);
}

static uint64_t done_sectors(const struct world *w)
{
	enum xbdev_md_sync_kind kind;
	uint64_t done = 0, total, speed;

	xbdev__md_sync_progress(array_of(w), &kind, &done, &total, &speed);
	return done;
}

/* ---- steps ---- */

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct world *w = arg;

	if (dev == NULL) {
		fail_msg("%s", err->text);
	}
	w->dev = dev;
	/* Before anything can begin. */
	array_of(w)->is_frozen = true;
	if (array_of(w)->bitmap != NULL) {
		array_of(w)->bitmap->header.daemon_sleep_s = 1;
	}
}

static void create(struct world *w, bool assume_clean, bool has_bitmap)
{
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = w->shape->level,
		.layout = w->shape->layout,
		.chunk_bytes = PIECE,
		.members = names,
		.nr_members = w->shape->nr_members,
		.assume_clean = assume_clean,
		.bitmap_chunk_bytes = has_bitmap ? PIECE : 0,
		.policy = w->shape->policy,
	};

	w->dev = NULL;
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->dev != NULL);
	w->desc = harness_open(&w->h, "md0", true);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct world *w = arg;

	w->err = err != NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static void command(struct world *w, const struct xbdev_md_command *what)
{
	w->is_done = false;
	xbdev__md_manage(w->dev, what, on_managed, w);
	harness_wait(&w->h, w->is_done);
	if (w->err.code != 0) {
		fail_msg("%s", w->err.text);
	}
}

static void manage(struct world *w, enum xbdev_md_command_kind kind, const char *device)
{
	const struct xbdev_md_command what = {.kind = kind, .device = device};

	command(w, &what);
}

/* 0: as fast as it goes; else so slow that a piece takes a tenth of a second. */
static void set_speed(struct world *w, uint64_t kib)
{
	const struct xbdev_md_command what = {.kind = XBDEV_MD_COMMAND_SPEED,
		.speed_min_kib = kib == 0 ? UINT32_MAX : kib,
		.speed_max_kib = kib};

	command(w, &what);
}

static void settle(struct world *w)
{
	harness_wait(&w->h, array_of(w)->is_running && array_of(w)->sync == NULL &&
				    !array_of(w)->meta.is_writing && array_of(w)->nr_repairs == 0);
}

static void refuse_reads(struct world *w, uint32_t disks)
{
	const struct xbdev_error_rule rule = {.ops_mask = 1u << XBDEV_OP_READ};

	for (uint32_t i = 0; i < NR_DISKS; i++) {
		struct xbdev_device *dev = xbdev_device_find(w->h.ctx, names[i]);

		if ((disks >> i & 1) != 0) {
			assert_int_equal(xbdev_error_inject(dev, &rule, NULL, NULL, NULL), 0);
		} else {
			assert_int_equal(xbdev_error_clear(dev, NULL, NULL, NULL), 0);
		}
	}
	harness_poll_times(&w->h, 3);
}

static void fill_disk(struct world *w, const char *name, uint64_t seed)
{
	static char buf[PIECE];
	struct xbdev_desc *desc = harness_open(&w->h, name, true);
	struct xbdev_channel *ch = harness_channel(&w->h, desc, 0);

	for (uint64_t at = 0; at < DISK; at += PIECE) {
		harness_fill(buf, PIECE, seed + at);
		assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_WRITE, at, buf, PIECE, 0), 0);
	}
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
}

/* Disks are full of garbage: what has not been made good shows. */
static void world_start(struct world *w, const struct shape *shape)
{
	memset(w, 0, sizeof(*w));
	w->shape = shape;
	harness_start(&w->h, 1, 1);
	for (uint32_t i = 0; i < NR_DISKS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "m%u", i);
		harness_create(
			&w->h, "malloc", "{'name':'%s','size':%llu,'block_size':512}", name, DISK);
		fill_disk(w, name, 1000 * (i + 1));
		harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
	}
}

static void world_stop(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
	harness_remove(&w->h, w->dev);
	harness_stop(&w->h);
}

/* ---- content ---- */

static int read_piece(struct world *w, uint64_t piece, char *buf)
{
	return harness_io(&w->h, w->ch, XBDEV_OP_READ, piece * PIECE, buf, PIECE, 0);
}

static bool is_right(struct world *w, uint64_t piece)
{
	static char buf[PIECE];

	return read_piece(w, piece, buf) == 0 &&
	       memcmp(buf, w->content + piece * PIECE, PIECE) == 0;
}

static uint32_t nr_right(struct world *w)
{
	uint32_t nr = 0;

	for (uint64_t piece = 0; piece < LEN / PIECE; piece++) {
		nr += is_right(w, piece);
	}
	return nr;
}

static void look_at_content(struct world *w)
{
	for (uint64_t piece = 0; piece < LEN / PIECE; piece++) {
		assert_int_equal(read_piece(w, piece, w->content + piece * PIECE), 0);
	}
}

static void use(struct world *w)
{
	for (uint32_t n = 0; n < 60; n++) {
		for (uint32_t i = 0; i < NR_HOT; i++) {
			assert_true(is_right(w, w->shape->hot[i]));
		}
	}
}

/* ---- the tests ---- */

static void lose_members(struct world *w)
{
	const struct shape *shape = w->shape;
	uint32_t spare = shape->nr_members;

	/* Only when all places are free: they are recovered together. */
	manage(w, XBDEV_MD_COMMAND_SYNC_STOP, NULL);
	for (uint32_t i = 0; i < shape->nr_members; i++) {
		if ((shape->lost >> i & 1) != 0) {
			manage(w, XBDEV_MD_COMMAND_FAIL, names[i]);
			manage(w, XBDEV_MD_COMMAND_REMOVE, names[i]);
			manage(w, XBDEV_MD_COMMAND_ADD, names[spare++]);
		}
	}
	manage(w, XBDEV_MD_COMMAND_SYNC_START, NULL);
}

static const struct xbdev_md_member *target_of(const struct world *w)
{
	return array_of(w)->roles[w->shape->lost == 2 ? 1 : 0];
}

static void check_hot(struct world *w)
{
	const struct shape *shape = w->shape;

	refuse_reads(w, shape->refuses);
	for (uint32_t i = 0; i < NR_HOT; i++) {
		assert_true(is_right(w, w->shape->hot[i]));
	}
	assert_in_range(nr_right(w), NR_HOT, LEN / PIECE - 1);
	refuse_reads(w, 0);
}

static void test_a_recovery_begins_with_what_is_used(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		static struct world w;
		const struct xbdev_md_member *target;

		printf("%s\n", shapes[i].name);
		world_start(&w, &shapes[i]);
		create(&w, true, false);
		/* Parity that is right, and content that is known. */
		for (uint64_t piece = 0; piece < LEN / PIECE; piece++) {
			harness_fill(w.content + piece * PIECE, PIECE, piece + 1);
			assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_WRITE, piece * PIECE,
						 w.content + piece * PIECE, PIECE, 0),
				0);
		}
		use(&w);
		set_speed(&w, 1);
		lose_members(&w);
		harness_wait(&w.h, done_sectors(&w) >= HOT_SECTORS + 128);
		target = target_of(&w);
		/* What the disks say is no more than what is good from the start on. */
		assert_true(target->state == XBDEV_MD_MEMBER_RECOVERING);
		assert_true(target->recovery_offset < done_sectors(&w));
		assert_true(target->recovery_saved <= target->recovery_offset);
		/* One that is interrupted knows what it has done; were it not, a step that finds
		 * reads refused would count its blocks as lost. */
		manage(&w, XBDEV_MD_COMMAND_SYNC_STOP, NULL);
		settle(&w);
		check_hot(&w);
		/* Writes go to both. */
		harness_fill(w.content + w.shape->hot[0] * PIECE, PIECE, 77);
		assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_WRITE, w.shape->hot[0] * PIECE,
					 w.content + w.shape->hot[0] * PIECE, PIECE, 0),
			0);
		check_hot(&w);
		manage(&w, XBDEV_MD_COMMAND_SYNC_START, NULL);
		assert_true(done_sectors(&w) >= HOT_SECTORS);
		set_speed(&w, 0);
		harness_wait(&w.h, array_of(&w)->nr_degraded == 0);
		settle(&w);
		assert_true(target->early.size == 0);
		refuse_reads(&w, shapes[i].refuses);
		assert_int_equal(nr_right(&w), LEN / PIECE);
		refuse_reads(&w, 0);
		world_stop(&w);
	}
}

static bool is_marked(const struct world *w, uint64_t member_sector)
{
	const struct xbdev_md_bitmap *bitmap = array_of(w)->bitmap;
	uint64_t bit = member_sector / bitmap->chunk_sectors;

	return (bitmap->written[XBDEV_MD_BITMAP_HEADER_BYTES + bit / 8] >> (bit % 8) & 1) != 0;
}

static void test_a_resync_begins_with_what_is_used(void **state)
{
	for (uint32_t i = 0; i < 3; i++) {
		bool has_bitmap = i == 1;
		static struct world w;
		uint32_t nr;

		world_start(&w, &shapes[i == 2 ? RAID6_JOURNAL : RAID5]);
		create(&w, false, has_bitmap);
		set_speed(&w, 1);
		settle(&w);
		look_at_content(&w);
		use(&w);
		manage(&w, XBDEV_MD_COMMAND_SYNC_START, NULL);
		harness_wait(&w.h, xbdev__md_regions_sum(&array_of(&w)->early, 0,
					   array_of(&w)->geo.member_size) >= HOT_SECTORS);
		assert_true(array_of(&w)->in_sync_below <= w.shape->hot[0] / 2 * PIECE / 512);
		manage(&w, XBDEV_MD_COMMAND_SYNC_STOP, NULL);
		settle(&w);
		/* Each member in turn is the one that is missing: what is read is made of parity.
		 */
		nr = 0;
		for (uint32_t disk = 0; disk < 3; disk++) {
			refuse_reads(&w, 1u << disk);
			for (uint32_t n = 0; n < NR_HOT; n++) {
				assert_true(is_right(&w, w.shape->hot[n]));
			}
			nr += nr_right(&w);
			refuse_reads(&w, 0);
		}
		assert_true(nr < 3 * LEN / PIECE);
		/* Two data members: a piece of the array is half a stripe. A bit that is clear is
		 * on disk, and what a resync after a crash need not do. */
		if (has_bitmap) {
			harness_wait(
				&w.h, !is_marked(&w, w.shape->hot[0] / 2 * PIECE / 512) &&
					      !is_marked(&w, w.shape->hot[1] / 2 * PIECE / 512));
			assert_true(is_marked(&w, array_of(&w)->geo.member_size - 1));
		}
		manage(&w, XBDEV_MD_COMMAND_SYNC_START, NULL);
		set_speed(&w, 0);
		harness_wait(&w.h, array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
		settle(&w);
		assert_true(array_of(&w)->early.size == 0);
		manage(&w, XBDEV_MD_COMMAND_CHECK, NULL);
		settle(&w);
		assert_int_equal(array_of(&w)->mismatch_sectors, 0);
		world_stop(&w);
	}
}

static bool has_jumped(const struct xbdev_md_array *array, bool *was_too_early)
{
	bool is_early = array->sync->early_end != 0;

	*was_too_early |= is_early && !array->log->is_trusted;
	return is_early && array->early.size != 0;
}

/* Until a superblock says that some parity agrees nothing is logged: that comes first. */
static void test_a_resync_with_a_ppl_begins_in_order(void **state)
{
	static struct world w;
	struct xbdev_md_array *array;
	bool was_too_early = false;

	world_start(&w, &shapes[RAID5_PPL]);
	create(&w, true, false);
	array = array_of(&w);
	settle(&w);
	look_at_content(&w);
	use(&w);
	array->in_sync_below = array->super.resync_offset = 0; /* as after a crash */
	xbdev__md_meta_update(array);
	settle(&w);
	assert_false(array->log->is_trusted);
	set_speed(&w, 1);
	manage(&w, XBDEV_MD_COMMAND_SYNC_START, NULL);
	harness_wait(&w.h, has_jumped(array, &was_too_early));
	assert_false(was_too_early);
	assert_true(array->super.resync_offset > 0);
	assert_true(array->super.resync_offset <= array->in_sync_below);
	set_speed(&w, 0);
	harness_wait(&w.h, array->in_sync_below == XBDEV_MD_NEVER);
	settle(&w);
	manage(&w, XBDEV_MD_COMMAND_CHECK, NULL);
	settle(&w);
	assert_int_equal(array->mismatch_sectors, 0);
	assert_int_equal(nr_right(&w), LEN / PIECE);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_recovery_begins_with_what_is_used),
		cmocka_unit_test(test_a_resync_begins_with_what_is_used),
		cmocka_unit_test(test_a_resync_with_a_ppl_begins_in_order),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("xbdev_raid_hot", tests, NULL, NULL);
}
