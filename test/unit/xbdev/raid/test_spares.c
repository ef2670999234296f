/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What several arrays have to do with each other, and with disks that come and go: spares of one
 * group, turns to rebuild, disks that come back and the spares that stood in for them.
 */
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"

#define KIB       1024ull
#define NR_DISKS  8u
#define NR_ARRAYS 3u

struct world {
	struct harness h;
	struct xbdev_device *devs[NR_ARRAYS];
	bool is_done;
	struct xu_error err;
};

static struct xbdev_md_array *array_of(const struct world *w, uint32_t i)
{
	return xu_container_of(w->devs[i], struct xbdev_md_array, dev);
}

/* ---- steps ---- */

static void make_disk(struct world *w, uint32_t i)
{
	harness_create(&w->h, "error", "{'name':'e%u','base':'m%u'}", i, i);
}

static void world_start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, 1, 1);
	for (uint32_t i = 0; i < NR_DISKS; i++) {
		harness_create(&w->h, "malloc", "{'name':'m%u','size':%llu,'block_size':512}", i,
			1536 * KIB);
		make_disk(w, i);
	}
}

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	if (dev == NULL) {
		fail_msg("%s", err->text);
	}
	*(struct xbdev_device **)arg = dev;
}

/* A mirror of two with spares, the disks in order from `first` on. */
static void make_array(struct world *w, uint32_t i, uint32_t first, uint32_t nr_spares, bool bitmap)
{
	static const char *const names[NR_DISKS] = {"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"};
	char name[8];
	const struct xbdev_md_create_opts opts = {
		.name = name,
		.level = 1,
		.members = names + first,
		.nr_members = 2,
		.nr_spares = nr_spares,
		.bitmap_chunk_bytes = bitmap ? 65536 : 0,
		.assume_clean = true,
	};

	snprintf(name, sizeof(name), "md%u", i);
	xbdev__md_create(w->h.ctx, &opts, on_made, &w->devs[i]);
	harness_wait(&w->h, w->devs[i] != NULL);
}

static void on_managed(void *arg, const struct xu_error *err)
{
	struct world *w = arg;

	w->err = err != NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static int command(struct world *w, uint32_t i, const struct xbdev_md_command *what)
{
	w->is_done = false;
	xbdev__md_manage(w->devs[i], what, on_managed, w);
	harness_wait(&w->h, w->is_done);
	return w->err.code;
}

static int manage(struct world *w, uint32_t i, enum xbdev_md_command_kind kind, const char *device)
{
	const struct xbdev_md_command what = {.kind = kind, .device = device};

	return command(w, i, &what);
}

static bool has_role(const struct world *w, uint32_t i, uint32_t role, const char *name)
{
	const struct xbdev_md_array *array = array_of(w, i);

	return array->sync == NULL && array->nr_degraded == 0 && array->roles[role] != NULL &&
	       array->replacements[role] == NULL && strcmp(array->roles[role]->name, name) == 0;
}

static bool has_spare(const struct world *w, uint32_t i, const char *name)
{
	const struct xbdev_md_array *array = array_of(w, i);

	for (uint32_t n = 0; n < array->nr_members; n++) {
		const struct xbdev_md_member *member = array->members[n];

		if (member != NULL && strcmp(member->name, name) == 0) {
			return member->state == XBDEV_MD_MEMBER_SPARE;
		}
	}
	return false;
}

static void on_removed(void *arg)
{
	*(bool *)arg = true;
}

static void remove_disk(struct world *w, const char *name)
{
	bool is_removed = false;

	assert_int_equal(
		xbdev_device_remove(xbdev_device_find(w->h.ctx, name), on_removed, &is_removed), 0);
	harness_wait(&w->h, is_removed);
}

static void write_all(struct world *w, uint32_t i, uint64_t seed)
{
	struct xbdev_desc *desc = harness_open(&w->h, w->devs[i]->name, true);
	struct xbdev_channel *ch = harness_channel(&w->h, desc, 0);
	static char buf[64 * KIB];

	harness_fill(buf, sizeof(buf), seed);
	assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_WRITE, 64 * KIB, buf, sizeof(buf), 0), 0);
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
}

static void check_all(struct world *w, uint32_t i, uint64_t seed)
{
	struct xbdev_desc *desc = harness_open(&w->h, w->devs[i]->name, false);
	struct xbdev_channel *ch = harness_channel(&w->h, desc, 0);
	static char buf[64 * KIB];

	assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_READ, 64 * KIB, buf, sizeof(buf), 0), 0);
	assert_true(harness_is_filled(buf, sizeof(buf), seed));
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
}

/* ---- groups ---- */

static void test_arrays_of_a_group_share_their_spares(void **state)
{
	static struct world w;

	world_start(&w);
	make_array(&w, 0, 0, 0, false);
	make_array(&w, 1, 2, 1, false);
	make_array(&w, 2, 5, 1, false); /* e7 is nobody else's */
	write_all(&w, 0, 1);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_SPARE_GROUP, "shelf"), 0);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_SPARE_GROUP, "shelf"), 0);
	assert_int_equal(manage(&w, 2, XBDEV_MD_COMMAND_SPARE_GROUP, "other"), 0);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e0"), 0);
	harness_wait(&w.h, has_role(&w, 0, 0, "e4"));
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e1"), 0);
	check_all(&w, 0, 1);
	assert_true(has_spare(&w, 2, "e7"));
	/* One that is added to any of them comes here; so does one whose array joins the group. */
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_REMOVE, "e0"), 0);
	harness_wait(&w.h, xbdev_device_find(w.h.ctx, "e0")->claim == NULL);
	assert_int_equal(manage(&w, 2, XBDEV_MD_COMMAND_SPARE_GROUP, "shelf"), 0);
	harness_wait(&w.h, has_role(&w, 0, 1, "e7"));
	check_all(&w, 0, 1);
	assert_int_equal(manage(&w, 2, XBDEV_MD_COMMAND_FAIL, "e5"), 0);
	harness_poll_times(&w.h, 200);
	assert_int_equal(array_of(&w, 2)->nr_degraded, 1);
	/* What e0 says of itself must go first, as with any device that was another array's. */
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_ADD, "e0"), -EEXIST);
	remove_disk(&w, "e0");
	harness_remove(&w.h, xbdev_device_find(w.h.ctx, "m0"));
	harness_create(&w.h, "malloc", "{'name':'m0','size':%llu,'block_size':512}", 1536 * KIB);
	make_disk(&w, 0);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_ADD, "e0"), 0);
	harness_wait(&w.h, has_role(&w, 2, 0, "e0"));
	for (uint32_t i = 0; i < NR_ARRAYS; i++) {
		harness_remove(&w.h, w.devs[i]);
	}
	harness_stop(&w.h);
}

/* A disk on its way is a spare of the one or of the other: its superblock is never erased. */
static void test_a_spare_on_its_way_keeps_a_superblock(void **state)
{
	static char block[4096];
	struct world w;
	uint64_t uuid;

	world_start(&w);
	make_array(&w, 0, 0, 1, false);
	make_array(&w, 1, 3, 0, false);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_SPARE_GROUP, "shelf"), 0);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_SPARE_GROUP, "shelf"), 0);
	assert_true(has_spare(&w, 0, "e2"));
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_FAIL, "e3"), 0);
	for (uint32_t n = 0; n < 100000 && !has_role(&w, 1, 0, "e2"); n++) {
		struct xbdev_desc *desc = harness_open(&w.h, "m2", false);
		struct xbdev_channel *ch = harness_channel(&w.h, desc, 0);

		assert_int_equal(
			harness_io(&w.h, ch, XBDEV_OP_READ, 4096, block, sizeof(block), 0), 0);
		harness_put(&w.h, ch);
		xbdev_desc_close(desc);
		/* The magic, and the set's UUID of either. */
		assert_memory_equal(block, "\xfc\x4e\x2b\xa9", 4);
		memcpy(&uuid, block + 16, sizeof(uuid));
		assert_true(memcmp(&uuid, &w.devs[0]->uuid, sizeof(uuid)) == 0 ||
			    memcmp(&uuid, &w.devs[1]->uuid, sizeof(uuid)) == 0);
	}
	assert_true(has_role(&w, 1, 0, "e2"));
	harness_stop(&w.h);
}

static void test_a_spare_that_its_array_needs_stays(void **state)
{
	char name[XBDEV_MD_GROUP_BYTES + 1];
	static struct world w;

	world_start(&w);
	make_array(&w, 0, 0, 0, false);
	make_array(&w, 1, 2, 1, false);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_SYNC_STOP, NULL), 0);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_FAIL, "e2"), 0);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e0"), 0);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_SPARE_GROUP, "g"), 0);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_SPARE_GROUP, "g"), 0);
	harness_poll_times(&w.h, 200);
	assert_true(has_spare(&w, 1, "e4"));
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_SYNC_START, NULL), 0);
	harness_wait(&w.h, has_role(&w, 1, 0, "e4"));
	memset(name, 'x', sizeof(name));
	name[XBDEV_MD_GROUP_BYTES] = '\0';
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_SPARE_GROUP, name), -EINVAL);
	for (uint32_t i = 0; i < 2; i++) {
		harness_remove(&w.h, w.devs[i]);
	}
	harness_stop(&w.h);
}

/* ---- disks that come back ---- */

static void test_a_disk_that_comes_back_gets_its_place_again(void **state)
{
	static struct world w;

	for (uint32_t has_bitmap = 0; has_bitmap < 2; has_bitmap++) {
		world_start(&w);
		make_array(&w, 0, 0, 1, has_bitmap);
		write_all(&w, 0, 2);
		remove_disk(&w, "e0");
		harness_wait(&w.h, has_role(&w, 0, 0, "e2"));
		write_all(&w, 0, 3);
		/* It says who it is; nobody has to tell. */
		make_disk(&w, 0);
		harness_wait(&w.h, has_role(&w, 0, 0, "e0"));
		harness_wait(&w.h, has_spare(&w, 0, "e2"));
		/* And it has what was written meanwhile. */
		assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e1"), 0);
		check_all(&w, 0, 3);
		harness_wait(&w.h, has_role(&w, 0, 1, "e2"));
		/* Without a spare. */
		remove_disk(&w, "e0");
		harness_wait(&w.h, array_of(&w, 0)->nr_degraded == 1);
		write_all(&w, 0, 4);
		make_disk(&w, 0);
		harness_wait(&w.h, has_role(&w, 0, 0, "e0"));
		remove_disk(&w, "e2");
		check_all(&w, 0, 4);
		harness_remove(&w.h, w.devs[0]);
		harness_stop(&w.h);
	}
}

/* By command: the disk that failed, and another one in its place. */
static void test_a_spare_is_a_spare_again_when_the_disk_is_replaced(void **state)
{
	static struct world w;

	for (uint32_t is_new = 0; is_new < 2; is_new++) {
		world_start(&w);
		make_array(&w, 0, 0, 1, true);
		write_all(&w, 0, 5);
		assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e0"), 0);
		harness_wait(&w.h, has_role(&w, 0, 0, "e2"));
		assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_REMOVE, "e0"), 0);
		harness_wait(&w.h, xbdev_device_find(w.h.ctx, "e0")->claim == NULL);
		remove_disk(&w, "e0");
		if (is_new) {
			harness_remove(&w.h, xbdev_device_find(w.h.ctx, "m0"));
			harness_create(&w.h, "malloc", "{'name':'m0','size':%llu,'block_size':512}",
				1536 * KIB);
		}
		make_disk(&w, 0);
		/* It was removed by command: nothing happens by itself. */
		harness_poll_times(&w.h, 200);
		assert_null(xbdev_device_find(w.h.ctx, "e0")->claim);
		assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_ADD, "e0"), 0);
		harness_wait(&w.h, has_role(&w, 0, 0, "e0"));
		harness_wait(&w.h, has_spare(&w, 0, "e2"));
		check_all(&w, 0, 5);
		harness_remove(&w.h, w.devs[0]);
		harness_stop(&w.h);
	}
}

/* A spare, and a disk of another array, are none that were lost. */
static void on_changed(void *arg)
{
	*(bool *)arg = true;
}

/* Reads of this part of a disk hang, one of them; without `len` what hangs goes on. */
static void hang(struct world *w, const char *name, uint64_t offset, uint64_t len)
{
	const struct xbdev_error_rule rule = {
		.kind = XBDEV_ERROR_HANG,
		.ops_mask = 1u << XBDEV_OP_READ,
		.offset = offset,
		.len = len,
		.count = 1,
	};
	struct xbdev_device *dev = xbdev_device_find(w->h.ctx, name);
	bool is_changed = false;
	struct xu_error err;
	int rc = len > 0 ? xbdev_error_inject(dev, &rule, on_changed, &is_changed, &err)
			 : xbdev_error_clear(dev, on_changed, &is_changed, &err);

	assert_int_equal(rc, 0);
	harness_wait(&w->h, is_changed);
}

/* Chunk 0 is on roles 0 and 1, chunk 1 at the same place of roles 2 and 3. */
static void make_ten(struct world *w, const char *first, const char *second)
{
	static const char *const names[] = {"e0", "e1", "e2", "e3", "e4"};
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = 10,
		.layout = 0x102,
		.chunk_bytes = 16 * KIB,
		.members = names,
		.nr_members = 4,
		.nr_spares = 1,
		.assume_clean = true,
	};
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;

	xbdev__md_create(w->h.ctx, &opts, on_made, &w->devs[0]);
	harness_wait(&w->h, w->devs[0] != NULL);
	desc = harness_open(&w->h, "md0", true);
	ch = harness_channel(&w->h, desc, 0);
	assert_int_equal(harness_io(&w->h, ch, XBDEV_OP_WRITE, 0, (void *)first, 16 * KIB, 0), 0);
	assert_int_equal(
		harness_io(&w->h, ch, XBDEV_OP_WRITE, 16 * KIB, (void *)second, 16 * KIB, 0), 0);
	harness_put(&w->h, ch);
	xbdev_desc_close(desc);
}

/* A disk that has been replaced and is a spare again may still have a read to end: as a member of
 * another number it would hold other data there. */
static void test_a_spare_that_still_reads_is_not_taken(void **state)
{
	static char first[16 * KIB], second[16 * KIB], got[16 * KIB];
	const struct xbdev_md_command replace = {
		.kind = XBDEV_MD_COMMAND_REPLACE, .device = "e1", .new_device = "e4"};
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	struct harness_io hio;
	struct world w;

	world_start(&w);
	harness_fill(first, sizeof(first), 1);
	harness_fill(second, sizeof(second), 2);
	make_ten(&w, first, second);
	remove_disk(&w, "e0");
	harness_wait(&w.h, has_role(&w, 0, 0, "e4"));
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_SYNC_STOP, NULL), 0);

	/* A read of chunk 0 that is with e4, which stands in for e0. */
	hang(&w, "e4", array_of(&w, 0)->roles[0]->super.data_offset * 512, 16 * KIB);
	array_of(&w, 0)->roles[1]->super.devflags |= XBDEV_MD_DEV_WRITE_MOSTLY;
	desc = harness_open(&w.h, "md0", true);
	ch = harness_channel(&w.h, desc, 0);
	harness_io_set(&hio, ch, XBDEV_OP_READ, 0, got, sizeof(got));
	assert_int_equal(xbdev_io_submit(&hio.io), 0);
	harness_poll_times(&w.h, 20);
	assert_int_equal(hio.nr_done, 0);
	assert_int_equal(array_of(&w, 0)->roles[0]->nr_children, 1);

	/* e0 is back, e4 a spare; then it is wanted in another place. */
	make_disk(&w, 0);
	harness_wait(&w.h, has_spare(&w, 0, "e0"));
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_SYNC_START, NULL), 0);
	harness_wait(&w.h, has_role(&w, 0, 0, "e0"));
	assert_true(has_spare(&w, 0, "e4"));
	assert_int_equal(command(&w, 0, &replace), -EAGAIN);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e2"), 0);
	harness_poll_times(&w.h, 200);
	assert_true(has_spare(&w, 0, "e4"));

	hang(&w, "e4", 0, 0);
	harness_wait(&w.h, hio.nr_done > 0);
	assert_int_equal(hio.status, 0);
	assert_memory_equal(got, first, sizeof(first));
	harness_wait(&w.h, has_role(&w, 0, 2, "e4"));
	harness_put(&w.h, ch);
	xbdev_desc_close(desc);
	harness_remove(&w.h, w.devs[0]);
	harness_stop(&w.h);
}

static void test_other_disks_are_left_alone(void **state)
{
	static struct world w;

	world_start(&w);
	make_array(&w, 0, 0, 1, false);
	make_array(&w, 1, 3, 0, false);
	remove_disk(&w, "e2");
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e0"), 0);
	harness_remove(&w.h, w.devs[1]);
	remove_disk(&w, "e3");
	make_disk(&w, 2);
	make_disk(&w, 3);
	harness_poll_times(&w.h, 300);
	assert_null(xbdev_device_find(w.h.ctx, "e2")->claim);
	assert_null(xbdev_device_find(w.h.ctx, "e3")->claim);
	assert_int_equal(array_of(&w, 0)->nr_degraded, 1);
	harness_remove(&w.h, w.devs[0]);
	harness_stop(&w.h);
}

/* ---- turns ---- */

static uint32_t nr_syncing(const struct world *w)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < NR_ARRAYS; i++) {
		nr += array_of(w, i)->sync != NULL;
	}
	return nr;
}

static void set_speed(struct world *w, uint32_t i, uint64_t kib)
{
	const struct xbdev_md_command what = {
		.kind = XBDEV_MD_COMMAND_SPEED, .speed_min_kib = kib, .speed_max_kib = kib};

	assert_int_equal(command(w, i, &what), 0);
}

static void test_arrays_rebuild_in_turns(void **state)
{
	struct xbdev_md_command priority = {.kind = XBDEV_MD_COMMAND_PRIORITY, .priority = 7};
	static struct world w;

	world_start(&w);
	for (uint32_t i = 0; i < NR_ARRAYS; i++) {
		make_array(&w, i, 2 * i, 0, false);
		set_speed(&w, i, 64);
	}
	atomic_store(&xbdev_ctx_rebuilds(w.h.ctx)->max, 1);
	assert_int_equal(command(&w, 2, &priority), 0);
	priority.priority = XBDEV_REBUILD_PRIORITIES;
	assert_int_equal(command(&w, 2, &priority), -EINVAL);
	/* All want to, the most important one last. */
	for (uint32_t i = 0; i < NR_ARRAYS; i++) {
		const char *const lost[] = {"e0", "e2", "e4"};

		assert_int_equal(manage(&w, i, XBDEV_MD_COMMAND_FAIL, lost[i]), 0);
		assert_int_equal(manage(&w, i, XBDEV_MD_COMMAND_REMOVE, lost[i]), 0);
		harness_wait(&w.h, xbdev_device_find(w.h.ctx, lost[i])->claim == NULL);
		assert_int_equal(manage(&w, i, XBDEV_MD_COMMAND_ADD, lost[i]), 0);
		harness_wait(&w.h, array_of(&w, i)->sync != NULL || array_of(&w, i)->is_waiting);
		assert_int_equal(nr_syncing(&w), 1);
	}
	assert_non_null(array_of(&w, 0)->sync);
	set_speed(&w, 0, 0);
	harness_wait(&w.h, array_of(&w, 2)->sync != NULL);
	assert_int_equal(nr_syncing(&w), 1);
	assert_true(has_role(&w, 0, 0, "e0"));
	assert_true(array_of(&w, 1)->is_waiting);
	/* More may run now. */
	atomic_store(&xbdev_ctx_rebuilds(w.h.ctx)->max, 2);
	harness_wait(&w.h, nr_syncing(&w) == 2);
	set_speed(&w, 1, 0);
	set_speed(&w, 2, 0);
	harness_wait(&w.h, has_role(&w, 1, 0, "e2") && has_role(&w, 2, 0, "e4"));
	assert_int_equal(atomic_load(&xbdev_ctx_rebuilds(w.h.ctx)->nr_running), 0);
	for (uint32_t i = 0; i < NR_ARRAYS; i++) {
		harness_remove(&w.h, w.devs[i]);
	}
	harness_stop(&w.h);
}

/* Who waits is counted no more when the array goes. */
static void test_an_array_that_waits_for_its_turn_can_go(void **state)
{
	static struct world w;

	world_start(&w);
	for (uint32_t i = 0; i < 2; i++) {
		make_array(&w, i, i * 3, 1, false);
		set_speed(&w, i, 64);
	}
	atomic_store(&xbdev_ctx_rebuilds(w.h.ctx)->max, 1);
	assert_int_equal(manage(&w, 0, XBDEV_MD_COMMAND_FAIL, "e0"), 0);
	assert_int_equal(manage(&w, 1, XBDEV_MD_COMMAND_FAIL, "e3"), 0);
	harness_wait(&w.h, array_of(&w, 1)->is_waiting);
	harness_remove(&w.h, w.devs[1]);
	harness_remove(&w.h, w.devs[0]);
	for (uint32_t i = 0; i < XBDEV_REBUILD_PRIORITIES; i++) {
		assert_int_equal(atomic_load(&xbdev_ctx_rebuilds(w.h.ctx)->nr_waiting[i]), 0);
	}
	assert_int_equal(atomic_load(&xbdev_ctx_rebuilds(w.h.ctx)->nr_running), 0);
	harness_stop(&w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arrays_of_a_group_share_their_spares),
		cmocka_unit_test(test_a_spare_on_its_way_keeps_a_superblock),
		cmocka_unit_test(test_a_spare_that_its_array_needs_stays),
		cmocka_unit_test(test_a_disk_that_comes_back_gets_its_place_again),
		cmocka_unit_test(test_a_spare_is_a_spare_again_when_the_disk_is_replaced),
		cmocka_unit_test(test_a_spare_that_still_reads_is_not_taken),
		cmocka_unit_test(test_other_disks_are_left_alone),
		cmocka_unit_test(test_arrays_rebuild_in_turns),
		cmocka_unit_test(test_an_array_that_waits_for_its_turn_can_go),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
