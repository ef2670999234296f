/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults of members, one after the other: each I/O of a member fails once while an array is made,
 * written, read, degraded, recovered, replaced, stopped and assembled; what cannot be had is
 * reported, all else is hidden by redundancy and the content stays. Then what two faults leave:
 * blocks that are lost read as errors, exactly these, until they are written. Members that refuse
 * their part of an array's log. And members that go while an array cannot write.
 *
 * XSAN_LONG=1 makes every single I/O fail, else one in a few.
 */
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/probe.h"

#define KIB      1024ull
#define LEN      (96 * KIB) /* that is written */
#define NR_DISKS 8u

struct shape {
	int32_t level;
	uint32_t layout;
	uint32_t nr_members;
	uint64_t chunk_bytes;
	enum xbdev_md_policy policy;
};

static const struct shape shapes[] = {
	{1, 0, 2, 0},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 3, 4096},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 3, 4096, XBDEV_MD_POLICY_PPL},
	{6, XBDEV_MD_LAYOUT_DEFAULT, 4, 8192},
	{4, 0, 3, 4096, XBDEV_MD_POLICY_JOURNAL},
	{6, XBDEV_MD_LAYOUT_DEFAULT, 4, 8192, XBDEV_MD_POLICY_JOURNAL},
	{10, 0x102, 3, 4096},
};

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

static const char *const names[NR_DISKS] = {"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"};

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

static void open_array(struct world *w)
{
	w->desc = harness_open(&w->h, "md0", !w->dev->is_read_only);
	w->ch = harness_channel(&w->h, w->desc, 0);
	/* Nobody is waited for; by itself a rebuild makes room for the test's own I/O. */
	array_of(w)->sync_speed_min = UINT32_MAX;
}

static void close_array(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
}

static int create(struct world *w, uint32_t nr_spares)
{
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = w->shape->level,
		.layout = w->shape->layout,
		.chunk_bytes = w->shape->chunk_bytes,
		.members = names,
		.nr_members = w->shape->nr_members,
		.nr_spares = nr_spares,
		.policy = w->shape->policy,
		/* It would begin without redundancy. */
		.assume_clean = w->shape->policy == XBDEV_MD_POLICY_PPL,
		.force = true,
	};

	w->is_done = false;
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	if (w->dev == NULL) {
		assert_true(w->err.text[0] != '\0');
		return w->err.code;
	}
	open_array(w);
	return 0;
}

static int assemble(struct world *w, uint32_t nr_disks, bool is_read_only)
{
	const struct xbdev_md_assemble_opts opts = {
		.name = "md0",
		.level = w->shape->level,
		.members = names,
		.nr_members = nr_disks,
		.run = true,
		.read_only = is_read_only,
	};

	w->is_done = false;
	xbdev__md_assemble(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	if (w->dev == NULL) {
		assert_true(w->err.text[0] != '\0');
		return w->err.code;
	}
	open_array(w);
	return 0;
}

static void stop(struct world *w)
{
	close_array(w);
	harness_remove(&w->h, w->dev);
	w->dev = NULL;
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct world *w = arg;

	w->err = err != NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static int manage(struct world *w, enum xbdev_md_command_kind kind, const char *device,
	const char *new_device)
{
	const struct xbdev_md_command what = {
		.kind = kind, .device = device, .new_device = new_device};

	w->is_done = false;
	xbdev__md_manage(w->dev, &what, on_managed, w);
	harness_wait(&w->h, w->is_done);
	return w->err.code;
}

/* Whether every I/O to members has come back: a fault that has hit one is known to the array. */
static bool is_told(const struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (member != NULL && (member->nr_children > 0 || member->nr_meta > 0)) {
			return false;
		}
	}
	return true;
}

static void settle(struct world *w)
{
	harness_wait(&w->h, array_of(w)->is_running && array_of(w)->sync == NULL &&
				    !array_of(w)->meta.is_writing && array_of(w)->nr_repairs == 0 &&
				    is_told(array_of(w)));
}

static void inject(struct world *w, uint32_t disk, const struct xbdev_error_rule *rule)
{
	struct xbdev_device *dev = xbdev_device_find(w->h.ctx, names[disk]);

	assert_int_equal(xbdev_error_inject(dev, rule, NULL, NULL, NULL), 0);
	harness_poll_times(&w->h, 3);
}

static void clear(struct world *w, uint32_t disk)
{
	struct xbdev_device *dev = xbdev_device_find(w->h.ctx, names[disk]);

	assert_int_equal(xbdev_error_clear(dev, NULL, NULL, NULL), 0);
	harness_poll_times(&w->h, 3);
}

static bool was_hit(struct world *w, uint32_t disk)
{
	uint64_t counts[XBDEV_ERROR_NR_KINDS];

	assert_int_equal(xbdev_error_counts(xbdev_device_find(w->h.ctx, names[disk]), counts), 0);
	return counts[XBDEV_ERROR_FAIL] > 0;
}

static void world_init(struct world *w, const struct shape *shape)
{
	memset(w, 0, sizeof(*w));
	w->shape = shape;
	harness_start(&w->h, 1, 1);
}

static unsigned long long disk_bytes(const struct shape *shape)
{
	return (shape->policy == XBDEV_MD_POLICY_RESYNC ? 1280 : 2304) * KIB;
}

/* Disks that have a cache, so that they are flushed. */
static void world_start_cached(struct world *w, const struct shape *shape, uint32_t nr_disks)
{
	world_init(w, shape);
	for (uint32_t i = 0; i < nr_disks; i++) {
		char name[16];
		const struct probe_opts opts = {
			.name = name,
			.nr_blocks = disk_bytes(shape) / 512,
			.limits = {.max_transfer = 1u << 20, .queue_depth = 128},
			.ops_mask = 1u << XBDEV_OP_WRITE_ZEROES | 1u << XBDEV_OP_DISCARD,
			.owner = xbdev_ctx_control(w->h.ctx),
		};

		snprintf(name, sizeof(name), "m%u", i);
		probe_new(&w->h, &opts)->dev.has_write_cache = true;
		harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
		assert_true(xbdev_device_find(w->h.ctx, names[i])->has_write_cache);
	}
}

static void world_start_disks(struct world *w, const struct shape *shape, uint32_t nr_disks)
{
	world_init(w, shape);
	for (uint32_t i = 0; i < nr_disks; i++) {
		harness_create(&w->h, "malloc", "{'name':'m%u','size':%llu,'block_size':512}", i,
			disk_bytes(shape));
		harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
	}
}

static void world_start(struct world *w, const struct shape *shape)
{
	world_start_disks(w, shape, NR_DISKS);
}

/* ---- content ---- */

static void write_some(struct world *w, uint64_t offset, uint64_t len, uint64_t seed)
{
	harness_fill(w->content + offset, len, seed);
	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_WRITE, offset, w->content + offset, len,
				 seed % 2 == 0 ? XBDEV_IO_FUA : 0),
		0);
}

static void compare(struct world *w)
{
	static char got[LEN];

	for (uint64_t at = 0; at < LEN; at += 32 * KIB) {
		assert_int_equal(
			harness_io(&w->h, w->ch, XBDEV_OP_READ, at, got + at, 32 * KIB, 0), 0);
	}
	assert_memory_equal(got, w->content, LEN);
}

/* ---- one fault anywhere ---- */

/* A life with everything in it. What fails for the one fault is tried again. */
static void live(struct world *w, uint32_t disk)
{
	uint32_t nr = w->shape->nr_members;

	if (create(w, 1) != 0) {
		assert_true(was_hit(w, disk));
		assert_int_equal(create(w, 1), 0);
	}
	write_some(w, 0, LEN, 1);
	for (uint32_t i = 0; i < 6; i++) {
		write_some(w, i * 13824, 512 + i * 3072, 2 + i);
	}
	compare(w);
	settle(w);
	if (manage(w, XBDEV_MD_COMMAND_REPLACE, "e1", names[nr + 1]) == 0) {
		write_some(w, 5120, 20480, 9);
		settle(w);
	}
	/* Two at a time would be more than some of these arrays can take. */
	if (was_hit(w, disk) && array_of(w)->nr_degraded == 0) {
		manage(w, XBDEV_MD_COMMAND_FAIL, "e0", NULL);
	}
	write_some(w, 8192, 30720, 10);
	compare(w);
	settle(w);
	manage(w, XBDEV_MD_COMMAND_CHECK, NULL, NULL);
	settle(w);
	assert_int_equal(array_of(w)->mismatch_sectors, 0);
	compare(w);
	stop(w);
	if (assemble(w, nr + 2, false) != 0) {
		bool is_blank = disk == nr + 1 && w->err.code == -EINVAL;

		/* The last one may have failed before it had a superblock. */
		assert_true(was_hit(w, disk));
		assert_int_equal(assemble(w, is_blank ? nr + 1 : nr + 2, false), 0);
	}
	settle(w);
	compare(w);
	write_some(w, 1024, 60416, 11);
	compare(w);
	stop(w);
}

static void test_any_io_of_a_member_may_fail(void **state)
{
	static const uint8_t ops[] = {XBDEV_OP_READ, XBDEV_OP_WRITE, XBDEV_OP_FLUSH};
	uint32_t stride = getenv("XSAN_LONG") != NULL ? 1 : 17;

	for (uint32_t i = 0; i < ARRAY_SIZE(shapes) * ARRAY_SIZE(ops); i++) {
		const struct shape *shape = &shapes[i / ARRAY_SIZE(ops)];
		uint8_t op = ops[i % ARRAY_SIZE(ops)];
		uint32_t nr_hits = 0;

		for (uint32_t disk = 0; disk < shape->nr_members + 2; disk++) {
			struct xbdev_error_rule rule = {
				.kind = XBDEV_ERROR_FAIL,
				.ops_mask = 1u << op,
				.skip = disk,
				.count = 1,
			};
			bool is_hit = true;

			for (; is_hit; rule.skip += rule.skip < 6 ? 1 : stride) {
				static struct world w;

				if (op == XBDEV_OP_FLUSH) {
					world_start_cached(&w, shape, shape->nr_members + 2);
				} else {
					world_start_disks(&w, shape, shape->nr_members + 2);
				}
				inject(&w, disk, &rule);
				live(&w, disk);
				is_hit = was_hit(&w, disk);
				nr_hits += is_hit;
				harness_stop(&w.h);
			}
		}
		assert_true(nr_hits > shape->nr_members); /* no pass is without faults */
	}
}

/* ---- two faults ---- */

static uint64_t data_offset(const struct world *w)
{
	return array_of(w)->roles[1]->super.data_offset * XBDEV_MD_SECTOR;
}

/* Which 4 KiB of the content can be read; compares those. */
static uint32_t lost_blocks(struct world *w)
{
	static char got[4096];
	uint32_t lost = 0;

	for (uint32_t i = 0; i < LEN / 4096; i++) {
		int rc = harness_io(&w->h, w->ch, XBDEV_OP_READ, i * 4096, got, 4096, 0);

		if (rc == -EIO) {
			lost |= 1u << i;
			continue;
		}
		assert_int_equal(rc, 0);
		assert_memory_equal(got, w->content + i * 4096, 4096);
	}
	return lost;
}

/* A member fails, and one that its spare is recovered from has a block that cannot be read. */
static void test_lost_blocks_are_known_and_come_back_by_writing(void **state)
{
	static const struct shape lossy[] = {
		{1, 0, 2, 0},
		{5, 0, 3, 4096},
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(lossy); i++) {
		struct xbdev_error_rule rule = {
			.kind = XBDEV_ERROR_FAIL, .ops_mask = 1u << XBDEV_OP_READ, .len = 512};
		static struct world w;
		uint32_t lost;

		world_start(&w, &lossy[i]);
		assert_int_equal(create(&w, 1), 0);
		settle(&w);
		write_some(&w, 0, LEN, 20);
		rule.offset = data_offset(&w);
		inject(&w, 1, &rule);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
		settle(&w);
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		lost = lost_blocks(&w);
		/* raid1: the block. raid5: also the one of the same row that was to be recovered.
		 */
		assert_int_equal(lost, i == 0 ? 1 : 3);
		stop(&w);

		/* It is written down. */
		assert_int_equal(assemble(&w, w.shape->nr_members + 1, false), 0);
		assert_int_equal(lost_blocks(&w), lost);
		assert_int_equal(array_of(&w)->roles[0]->bad->count, 1);
		write_some(&w, 0, LEN, 21);
		assert_int_equal(array_of(&w)->roles[0]->bad->count, 0);
		clear(&w, 1);
		assert_int_equal(lost_blocks(&w), 0);
		stop(&w);
		assert_int_equal(assemble(&w, w.shape->nr_members + 1, false), 0);
		assert_int_equal(lost_blocks(&w), 0);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* ---- block by block ---- */

/* 64 KiB of each member are worked on at a time. */
static const struct shape wide[] = {
	{1, 0, 2, 0},
	{5, XBDEV_MD_LAYOUT_DEFAULT, 3, 65536},
	{6, XBDEV_MD_LAYOUT_DEFAULT, 4, 65536},
	{10, 0x102, 3, 65536},
};

static void inject_sector(struct world *w, uint32_t disk, enum xbdev_op op, uint32_t sector)
{
	const struct xbdev_error_rule rule = {
		.kind = XBDEV_ERROR_FAIL,
		.ops_mask = 1u << op,
		.offset = data_offset(w) + sector * XBDEV_MD_SECTOR,
		.len = XBDEV_MD_SECTOR,
	};

	inject(w, disk, &rule);
}

/* How many sectors of the content cannot be read; the others are as they should be. */
static uint32_t nr_lost_sectors(struct world *w)
{
	static char got[XBDEV_MD_SECTOR];
	uint32_t nr_lost = 0;

	for (uint32_t at = 0; at < LEN; at += XBDEV_MD_SECTOR) {
		int rc = harness_io(&w->h, w->ch, XBDEV_OP_READ, at, got, sizeof(got), 0);

		nr_lost += rc == -EIO;
		if (rc == 0) {
			assert_memory_equal(got, w->content + at, sizeof(got));
		}
	}
	return nr_lost;
}

/* All members have bad sectors, each in another place: all that is held can be read in one go, and
 * has been written anew then. */
static void test_sectors_that_are_bad_on_all_members_are_recovered(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(wide); i++) {
		static char got[LEN];
		static struct world w;

		printf("level %d\n", wide[i].level);
		world_start(&w, &wide[i]);
		assert_int_equal(create(&w, 0), 0);
		settle(&w);
		write_some(&w, 0, LEN, 80);
		for (uint32_t disk = 0; disk < wide[i].nr_members; disk++) {
			inject_sector(&w, disk, XBDEV_OP_READ, 3 + disk * 20);
			inject_sector(&w, disk, XBDEV_OP_READ, 127 - disk);
		}
		assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_READ, 0, got, LEN, 0), 0);
		assert_memory_equal(got, w.content, LEN);
		settle(&w);
		/* Where the first two chunks are. */
		for (uint32_t n = 0, disk = wide[i].level == 6; n < 2; n++, disk++) {
			assert_true(was_hit(&w, disk));
			assert_true(array_of(&w)->roles[disk]->super.cnt_corrected_read > 0);
		}
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		/* A write of a part reads what it does not write. */
		write_some(&w, 1024, 512, 81);
		write_some(&w, 66048, 9 * 512, 82);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
		settle(&w);
		assert_int_equal(array_of(&w)->mismatch_sectors, 0);
		for (uint32_t disk = 0; disk < wide[i].nr_members; disk++) {
			clear(&w, disk);
		}
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
		settle(&w);
		assert_int_equal(array_of(&w)->mismatch_sectors, 0);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
		assert_int_equal(nr_lost_sectors(&w), 0);
		stop(&w);
		harness_stop(&w.h);
	}
}

struct watcher {
	struct xbdev_note_listener listener;
	uint32_t nr_lost, nr_ended;
};

static void on_note(struct xbdev_note_listener *listener, const struct xbdev_note *note)
{
	struct watcher *watcher = xu_container_of(listener, struct watcher, listener);

	watcher->nr_lost += strcmp(note->event, "blocks-lost") == 0;
	watcher->nr_ended += strcmp(note->event, "sync-ended") == 0;
}

/* A member has failed, and others have bad sectors: the rebuild loses these sectors and tells. */
static void test_a_rebuild_loses_single_sectors(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(wide); i++) {
		const struct xbdev_md_bad_blocks *bad;
		struct watcher lost = {.listener.fn = on_note};
		uint32_t nr_bad = 0;
		static struct world w;

		printf("level %d\n", wide[i].level);
		world_start(&w, &wide[i]);
		assert_int_equal(create(&w, 1), 0);
		settle(&w);
		write_some(&w, 0, LEN, 83);
		xbdev_ctx_add_note_listener(w.h.ctx, &lost.listener);
		/* Sector 5 on as many as cannot be done without; 9 and 77 on one of them only. */
		for (uint32_t disk = 1; disk < (wide[i].level == 6 ? 3 : 2); disk++) {
			inject_sector(&w, disk, XBDEV_OP_READ, 5);
		}
		if (wide[i].level == 6) {
			inject_sector(&w, 1, XBDEV_OP_READ, 9);
			inject_sector(&w, 2, XBDEV_OP_READ, 77);
		}
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
		settle(&w);
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		bad = array_of(&w)->roles[0]->bad;
		for (uint32_t n = 0; n < bad->count; n++) {
			nr_bad += bad->ranges[n].count;
		}
		assert_int_equal(nr_bad, 1);
		harness_wait(&w.h, lost.nr_lost > 0);
		assert_int_equal(lost.nr_lost, 1);
		assert_in_range(nr_lost_sectors(&w), 1, 2);
		xbdev_ctx_del_note_listener(&lost.listener);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* A member that does not take some sectors keeps its place and says which; they are read from
 * elsewhere, also after a restart, until they are taken. */
static void test_sectors_that_are_refused_become_known_as_bad(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(wide); i++) {
		const struct xbdev_md_member *member;
		static struct world w;

		printf("level %d\n", wide[i].level);
		world_start(&w, &wide[i]);
		assert_int_equal(create(&w, 0), 0);
		settle(&w);
		write_some(&w, 0, LEN, 84);
		inject_sector(&w, 1, XBDEV_OP_WRITE, 7);
		inject_sector(&w, 1, XBDEV_OP_WRITE, 50);
		write_some(&w, 0, LEN, 85);
		member = array_of(&w)->roles[1];
		assert_non_null(member);
		assert_int_equal(member->state, XBDEV_MD_MEMBER_IN_SYNC);
		assert_int_equal(member->bad->count, 2);
		assert_int_equal(member->bad->ranges[0].count, 1);
		assert_int_equal(member->bad->ranges[1].count, 1);
		assert_int_equal(nr_lost_sectors(&w), 0);
		stop(&w);
		assert_int_equal(assemble(&w, wide[i].nr_members, false), 0);
		assert_int_equal(array_of(&w)->roles[1]->bad->count, 2);
		assert_int_equal(nr_lost_sectors(&w), 0);
		clear(&w, 1);
		write_some(&w, 0, LEN, 86);
		assert_int_equal(array_of(&w)->roles[1]->bad->count, 0);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
		assert_int_equal(nr_lost_sectors(&w), 0);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* What more members refuse than the array can do without is not acknowledged. */
static void test_a_sector_that_all_refuse_is_an_error(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(wide); i++) {
		static char bytes[LEN];
		static struct world w;

		printf("level %d\n", wide[i].level);
		world_start(&w, &wide[i]);
		assert_int_equal(create(&w, 0), 0);
		settle(&w);
		write_some(&w, 0, LEN, 87);
		for (uint32_t disk = 0; disk < wide[i].nr_members; disk++) {
			inject_sector(&w, disk, XBDEV_OP_WRITE, 30);
		}
		harness_fill(bytes, LEN, 88);
		assert_int_equal(harness_io(&w.h, w.ch, XBDEV_OP_WRITE, 0, bytes, LEN, 0), -EIO);
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		for (uint32_t disk = 0; disk < wide[i].nr_members; disk++) {
			clear(&w, disk);
		}
		write_some(&w, 0, LEN, 89);
		compare(&w);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* A copy that says of blocks that they are bad is never the one that others are made equal to. */
static void test_a_repair_does_not_believe_bad_blocks(void **state)
{
	static struct world w;
	static char junk[4096];
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	uint64_t at;

	world_start(&w, &shapes[0]);
	assert_int_equal(create(&w, 0), 0);
	settle(&w);
	write_some(&w, 0, LEN, 30);
	at = data_offset(&w);
	assert_int_equal(
		xbdev__md_bad_blocks_add(array_of(&w)->roles[0]->bad, at / XBDEV_MD_SECTOR + 8, 8),
		0);
	stop(&w);
	desc = harness_open(&w.h, "e0", true);
	ch = harness_channel(&w.h, desc, 0);
	memset(junk, 7, sizeof(junk));
	assert_int_equal(harness_io(&w.h, ch, XBDEV_OP_WRITE, at + 4096, junk, sizeof(junk), 0), 0);
	harness_put(&w.h, ch);
	xbdev_desc_close(desc);
	assert_int_equal(assemble(&w, 2, false), 0);
	compare(&w);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_REPAIR, NULL, NULL), 0);
	settle(&w);
	compare(&w);
	assert_int_equal(array_of(&w)->roles[0]->bad->count, 0);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e1", NULL), 0);
	compare(&w);
	stop(&w);
	harness_stop(&w.h);
}

/* raid6 without one data member, P with a bad block: a write beside the bad block keeps P right. */
static void test_parity_that_is_bad_in_part_is_kept(void **state)
{
	const struct shape shape = {6, 5, 5, 16384}; /* parity-last: roles 3 and 4 */
	static struct world w;

	world_start(&w, &shape);
	assert_int_equal(create(&w, 0), 0);
	settle(&w);
	write_some(&w, 0, LEN, 40);
	assert_int_equal(xbdev__md_bad_blocks_add(
				 array_of(&w)->roles[3]->bad, data_offset(&w) / XBDEV_MD_SECTOR, 1),
		0);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
	write_some(&w, 16384, 4096, 41);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e4", NULL), 0);
	compare(&w);
	stop(&w);
	harness_stop(&w.h);
}

/* ---- a crash while a member is being replaced ---- */

/* Turns 4 KiB of a disk's data into something else, behind the array's back. */
static void spoil(struct world *w, uint32_t disk, uint64_t at)
{
	struct xbdev_desc *desc = harness_open(&w->h, names[disk], true);
	struct xbdev_channel *ch = harness_channel(&w->h, desc, 0);
	static char bytes[4096];

	assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_READ, at, bytes, sizeof(bytes), 0), 0);
	for (uint32_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (char)~bytes[i];
	}
	assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_WRITE, at, bytes, sizeof(bytes), 0), 0);
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
}

/* What was in flight may have reached the replacement and not the others, or the other way round,
 * where its recovery has been already: it must not bring that back when it takes over. */
static void test_a_replacement_is_resynced_before_it_takes_over(void **state)
{
	static const struct shape kinds[] = {
		{1, 0, 2, 0}, {5, 0, 3, 4096}, {6, 0, 4, 4096}, {10, 0x102, 3, 4096}};

	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct xbdev_md_member *next;
		static struct world w;
		uint64_t at;

		world_start(&w, &kinds[i]);
		assert_int_equal(create(&w, 0), 0);
		settle(&w);
		write_some(&w, 0, LEN, 70);
		printf("level %d\n", kinds[i].level);
		array_of(&w)->sync_speed_min = array_of(&w)->sync_speed_max = 128;
		assert_int_equal(
			manage(&w, XBDEV_MD_COMMAND_REPLACE, "e0", names[w.shape->nr_members]), 0);
		next = array_of(&w)->replacements[0];
		assert_non_null(next);
		harness_wait(&w.h, next->recovery_offset > 0);
		at = data_offset(&w);
		array_of(&w)->super.resync_offset = 0; /* as after a crash */
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_SYNC_STOP, NULL, NULL), 0);
		settle(&w);
		assert_true(next->recovery_saved >= 8 && next->recovery_saved < 512);
		stop(&w);
		spoil(&w, w.shape->nr_members, at);
		assert_int_equal(assemble(&w, w.shape->nr_members + 1, false), 0);
		harness_wait(&w.h, array_of(&w)->replacements[0] == NULL);
		settle(&w);
		assert_string_equal(array_of(&w)->roles[0]->name, names[w.shape->nr_members]);
		compare(&w);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* ---- a device that does not become a member ---- */

static void test_a_device_that_refuses_its_superblock_is_no_member(void **state)
{
	static const enum xbdev_md_command_kind kinds[] = {
		XBDEV_MD_COMMAND_ADD, XBDEV_MD_COMMAND_REPLACE};
	const struct xbdev_error_rule rule = {
		.kind = XBDEV_ERROR_FAIL, .ops_mask = 1u << XBDEV_OP_WRITE};

	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool is_add = kinds[i] == XBDEV_MD_COMMAND_ADD;
		static struct world w;

		world_start(&w, &shapes[0]);
		assert_int_equal(create(&w, 0), 0);
		settle(&w);
		inject(&w, 5, &rule);
		assert_int_equal(manage(&w, kinds[i], is_add ? "e5" : "e0", "e5"), -EIO);
		assert_non_null(strstr(w.err.text, "'e5'"));
		harness_wait(&w.h, xbdev_device_find(w.h.ctx, "e5")->claim == NULL);
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		clear(&w, 5);
		assert_int_equal(manage(&w, kinds[i], is_add ? "e5" : "e0", "e5"), 0);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* ---- numbers ---- */

/* A spare that was removed still says that it has the number which another device got then. */
static void test_a_member_keeps_its_number(void **state)
{
	static struct world w;
	const struct xbdev_md_member *spare;

	world_start(&w, &shapes[0]);
	/* The disks' order is that of their names: the spare comes first at assembly. */
	assert_int_equal(create(&w, 0), 0);
	settle(&w);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_ADD, "e2", NULL), 0);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_REMOVE, "e2", NULL), 0);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_ADD, "e3", NULL), 0);
	assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
	settle(&w);
	assert_string_equal(array_of(&w)->roles[0]->name, "e3");
	assert_int_equal(array_of(&w)->roles[0]->super.dev_number, 2);
	stop(&w);
	assert_int_equal(assemble(&w, 4, false), 0);
	assert_string_equal(array_of(&w)->roles[0]->name, "e3");
	assert_int_equal(array_of(&w)->roles[0]->super.dev_number, 2);
	spare = array_of(&w)->members[2];
	assert_non_null(spare);
	assert_string_equal(spare->name, "e2");
	assert_int_equal(spare->state, XBDEV_MD_MEMBER_SPARE);
	assert_int_not_equal(spare->super.dev_number, 2);
	assert_int_not_equal(spare->super.dev_number, array_of(&w)->roles[1]->super.dev_number);
	stop(&w);
	harness_stop(&w.h);
}

/* ---- spares ---- */

static void test_a_check_does_not_keep_a_spare_waiting(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(wide); i++) {
		struct watcher watcher = {.listener.fn = on_note};
		static struct world w;

		world_start(&w, &wide[i]);
		assert_int_equal(create(&w, 1), 0);
		settle(&w);
		write_some(&w, 0, LEN, 90);
		xbdev_ctx_add_note_listener(w.h.ctx, &watcher.listener);
		/* A step each 100 ms. */
		array_of(&w)->sync_speed_min = array_of(&w)->sync_speed_max = 1;
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
		assert_non_null(array_of(&w)->sync);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e0", NULL), 0);
		array_of(&w)->sync_speed_min = array_of(&w)->sync_speed_max = 0;
		settle(&w);
		harness_wait(&w.h, array_of(&w)->nr_degraded == 0);
		compare(&w);
		/* One that is added, and one that replaces. */
		for (uint32_t n = 0; n < 2; n++) {
			const char *next = names[wide[i].nr_members + 1 + n];

			array_of(&w)->sync_speed_min = array_of(&w)->sync_speed_max = 1;
			assert_int_equal(manage(&w, XBDEV_MD_COMMAND_CHECK, NULL, NULL), 0);
			if (n == 0) {
				assert_int_equal(manage(&w, XBDEV_MD_COMMAND_FAIL, "e1", NULL), 0);
				assert_int_equal(manage(&w, XBDEV_MD_COMMAND_ADD, next, NULL), 0);
			} else {
				assert_int_equal(manage(&w, XBDEV_MD_COMMAND_REPLACE,
							 array_of(&w)->roles[0]->name, next),
					0);
			}
			array_of(&w)->sync_speed_min = array_of(&w)->sync_speed_max = 0;
			harness_wait(
				&w.h, array_of(&w)->roles[1 - n] != NULL &&
					      strcmp(array_of(&w)->roles[1 - n]->name, next) == 0);
			settle(&w);
			compare(&w);
		}
		/* None of the checks came to its end. */
		harness_wait(&w.h, watcher.nr_ended >= 3);
		xbdev_ctx_del_note_listener(&watcher.listener);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* ---- members that refuse their log ---- */

/* What the disks hold of the first row of chunks. */
static void read_row(const struct world *w, uint32_t nr_disks, char (*row)[8 * KIB])
{
	for (uint32_t i = 0; i < nr_disks; i++) {
		char name[16];
		const struct probe *probe;

		snprintf(name, sizeof(name), "m%u", i);
		probe = xu_container_of(xbdev_device_find(w->h.ctx, name), const struct probe, dev);
		memcpy(row[i], probe->memory + data_offset(w), w->shape->chunk_bytes);
	}
}

static bool has_hung(const struct world *w, uint32_t disk)
{
	uint64_t counts[XBDEV_ERROR_NR_KINDS];

	assert_int_equal(xbdev_error_counts(xbdev_device_find(w->h.ctx, names[disk]), counts), 0);
	return counts[XBDEV_ERROR_HANG] > 0;
}

/* Who refuses a unit of the log is out, but as long as the others' superblocks do not say so it is
 * believed after a crash: nothing that the unit was for is written before they do. A spare is there
 * or not. */
static void refuse_log(const struct shape *shape, bool has_spare)
{
	static struct world w;
	static char before[NR_DISKS][8 * KIB], now[NR_DISKS][8 * KIB];
	const struct xbdev_error_rule hang = {.kind = XBDEV_ERROR_HANG,
		.ops_mask = 1u << XBDEV_OP_WRITE,
		.offset = 4096,
		.len = 4096};
	struct xbdev_error_rule fail = {
		.kind = XBDEV_ERROR_FAIL, .ops_mask = 1u << XBDEV_OP_WRITE, .offset = 8192};
	uint32_t nr = shape->nr_members + has_spare, victim;
	struct xbdev_md_row who;
	struct harness_io hio;

	world_start_cached(&w, shape, NR_DISKS);
	assert_int_equal(create(&w, has_spare), 0);
	settle(&w);
	write_some(&w, 0, LEN, 70);
	/* It does not become clean meanwhile: the next superblocks are those that are held back. */
	xr_timer_stop(array_of(&w)->reactor, &array_of(&w)->safe_timer);
	assert_true(array_of(&w)->is_active);
	xbdev__md_row(&array_of(&w)->geo, 0, &who);
	victim = shape->policy == XBDEV_MD_POLICY_PPL ? who.p : 0; /* of a journal: the first */
	fail.len = data_offset(&w) - fail.offset;
	inject(&w, victim, &fail);
	for (uint32_t i = 0; i < nr; i++) {
		if (i != victim) {
			inject(&w, i, &hang);
		}
	}
	read_row(&w, nr, before);
	harness_fill(w.content + 512, 1024, 71);
	harness_io_set(&hio, w.ch, XBDEV_OP_WRITE, 512, w.content + 512, 1024);
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	for (uint32_t i = 0; i < nr; i++) {
		harness_wait(&w.h, i == victim || has_hung(&w, i));
	}
	assert_true(was_hit(&w, victim));
	harness_poll_times(&w.h, 200);
	read_row(&w, nr, now);
	assert_memory_equal(now, before, sizeof(now));
	assert_int_equal(hio.nr_done, 0);

	for (uint32_t i = 0; i < nr; i++) {
		clear(&w, i);
	}
	harness_wait(&w.h, hio.nr_done > 0);
	assert_int_equal(hio.status, 0);
	compare(&w);
	settle(&w);
	assert_int_equal(array_of(&w)->nr_degraded, has_spare ? 0 : 1);
	compare(&w);
	manage(&w, XBDEV_MD_COMMAND_CHECK, NULL, NULL);
	settle(&w);
	assert_int_equal(array_of(&w)->mismatch_sectors, 0);
	stop(&w);
	harness_stop(&w.h);
}

static void test_nothing_is_written_past_a_log_that_was_refused(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		if (shapes[i].policy != XBDEV_MD_POLICY_RESYNC) {
			refuse_log(&shapes[i], false);
			refuse_log(&shapes[i], true);
		}
	}
}

/* ---- members that go ---- */

static void on_removed(void *arg)
{
	*(bool *)arg = true;
}

static void remove_disk(struct world *w, uint32_t disk)
{
	bool is_removed = false;

	assert_int_equal(xbdev_device_remove(
				 xbdev_device_find(w->h.ctx, names[disk]), on_removed, &is_removed),
		0);
	harness_wait(&w->h, is_removed);
}

/* Nothing is written to the members of an array that was assembled read-only, whatever happens. */
static void test_a_read_only_array_loses_a_member(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		static struct world w;

		world_start(&w, &shapes[i]);
		assert_int_equal(create(&w, 0), 0);
		write_some(&w, 0, LEN, 50);
		settle(&w);
		stop(&w);
		assert_int_equal(assemble(&w, w.shape->nr_members, true), 0);
		compare(&w);
		remove_disk(&w, 0);
		compare(&w);
		assert_false(array_of(&w)->is_broken);
		assert_int_equal(array_of(&w)->nr_degraded, 1);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_READ_WRITE, NULL, NULL), -EROFS);
		assert_int_equal(manage(&w, XBDEV_MD_COMMAND_ADD, "e7", NULL), -EROFS);
		compare(&w);
		stop(&w);
		harness_create(&w.h, "error", "{'name':'e0','base':'m0'}");
		assert_int_equal(assemble(&w, w.shape->nr_members, false), 0);
		assert_int_equal(array_of(&w)->nr_degraded, 0);
		compare(&w);
		stop(&w);
		harness_stop(&w.h);
	}
}

/* A device that goes while an array is put together of it. */
static void test_a_member_goes_during_assembly(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (uint32_t nr_polls = 0; nr_polls < 12; nr_polls++) {
			static struct world w;
			struct xbdev_md_assemble_opts opts = {.name = "md0",
				.level = XBDEV_MD_LEVEL_ANY,
				.members = names,
				.run = true};
			bool is_removed = false;

			world_start(&w, &shapes[i]);
			opts.nr_members = w.shape->nr_members;
			assert_int_equal(create(&w, 0), 0);
			write_some(&w, 0, LEN, 60);
			settle(&w);
			stop(&w);
			w.is_done = false;
			xbdev__md_assemble(w.h.ctx, &opts, on_made, &w);
			harness_poll_times(&w.h, nr_polls);
			assert_int_equal(xbdev_device_remove(xbdev_device_find(w.h.ctx, "e0"),
						 on_removed, &is_removed),
				0);
			harness_wait(&w.h, w.is_done && is_removed);
			if (w.dev != NULL) {
				open_array(&w);
				compare(&w);
				assert_int_equal(array_of(&w)->nr_degraded, 1);
				stop(&w);
			} else {
				assert_int_equal(w.err.code, -ENODEV);
			}
			harness_stop(&w.h);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_io_of_a_member_may_fail),
		cmocka_unit_test(test_lost_blocks_are_known_and_come_back_by_writing),
		cmocka_unit_test(test_sectors_that_are_bad_on_all_members_are_recovered),
		cmocka_unit_test(test_a_rebuild_loses_single_sectors),
		cmocka_unit_test(test_sectors_that_are_refused_become_known_as_bad),
		cmocka_unit_test(test_a_sector_that_all_refuse_is_an_error),
		cmocka_unit_test(test_a_repair_does_not_believe_bad_blocks),
		cmocka_unit_test(test_parity_that_is_bad_in_part_is_kept),
		cmocka_unit_test(test_a_replacement_is_resynced_before_it_takes_over),
		cmocka_unit_test(test_a_device_that_refuses_its_superblock_is_no_member),
		cmocka_unit_test(test_a_member_keeps_its_number),
		cmocka_unit_test(test_a_check_does_not_keep_a_spare_waiting),
		cmocka_unit_test(test_nothing_is_written_past_a_log_that_was_refused),
		cmocka_unit_test(test_a_read_only_array_loses_a_member),
		cmocka_unit_test(test_a_member_goes_during_assembly),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
