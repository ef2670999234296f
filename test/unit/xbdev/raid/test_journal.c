/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Journals of raid4 and raid6. The format: every byte that counts is covered by a checksum, and
 * what makes no journal is refused. Arrays as a crash leaves them, which are copies of their
 * members made while they were being written to: the replay repeats what had not got to the
 * members, with as many of them missing as the level allows; and a journal is forgotten when
 * somebody else has written the array meanwhile, or when a member's is damaged. That no crash at
 * all leaves a hole is shown in test/sim/test_raid_power_fail.c.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/xbdev/raid/journal_format.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/raid.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MIB       (1024ull * 1024)
#define FILE_LEN  (4 * MIB)
#define CHUNK     16384u
#define LEN       (1 * MIB) /* that is written */
#define MAX_FILES 6u

/* ---- the format ---- */

static const struct xbdev_md_anchor good_anchor = {
	.set_uuid = {{1, 2, 3}},
	.device_uuid = {{4, 5, 6}},
	.epoch = 0x1122334455667788,
	.min_seq = 77,
	.events = 99,
	.resync_sector = XBDEV_MD_CLEAN,
	.super_crc = 0xabcdef01,
	.old_super_crc = 0x10fedcba,
	.slot_sectors = 1032,
	.nr_lanes = 6,
};

static const struct xbdev_md_unit good_unit = {
	.set_uuid = {{1, 2, 3}},
	.epoch = 0x1122334455667788,
	.seq = 78,
	.lane = 3,
	.payload_sectors = 24,
	.payload_crc = 0x12345678,
	.nr_entries = 3,
	.entries = {{4096, 8, 0, false}, {8192, 64, 5, true}, {4096, 16, 4, false}},
};

static void test_journal_format_keeps_every_field(void **state)
{
	struct xbdev_md_anchor anchor;
	static struct xbdev_md_unit unit;
	uint8_t bytes[4096];

	memset(&anchor, 0, sizeof(anchor));
	xbdev__md_anchor_format(&good_anchor, bytes);
	assert_int_equal(xbdev__md_anchor_parse(bytes, &anchor, NULL), 0);
	assert_memory_equal(&anchor, &good_anchor, sizeof(anchor));
	xbdev__md_unit_format(&good_unit, bytes);
	assert_int_equal(xbdev__md_unit_parse(bytes, &unit, NULL), 0);
	assert_memory_equal(&unit, &good_unit, sizeof(unit));
}

static void test_journal_format_covers_every_byte(void **state)
{
	struct xbdev_md_anchor anchor;
	static struct xbdev_md_unit unit;
	struct xu_error err;
	uint8_t bytes[4096];

	xbdev__md_anchor_format(&good_anchor, bytes);
	for (uint32_t i = 0; i < 512; i++) {
		int rc;

		bytes[i] ^= 0x20;
		rc = xbdev__md_anchor_parse(bytes, &anchor, &err);
		assert_int_equal(rc, i < 8 ? -ENOENT : -EILSEQ);
		assert_int_equal(err.code, rc);
		bytes[i] ^= 0x20;
	}
	xbdev__md_unit_format(&good_unit, bytes);
	for (uint32_t i = 0; i < 4096; i++) {
		bytes[i] ^= 0x20;
		assert_int_equal(
			xbdev__md_unit_parse(bytes, &unit, &err), i < 8 ? -ENOENT : -EILSEQ);
		bytes[i] ^= 0x20;
	}
}

static void test_journal_format_refuses_what_makes_none(void **state)
{
	static struct xbdev_md_unit unit;
	struct xbdev_md_anchor anchor;
	uint8_t bytes[4096];

	for (uint32_t i = 0; i < 5; i++) {
		static const uint32_t slots[] = {8, 1033, 8200, 1032, 1032};
		static const uint32_t lanes[] = {6, 6, 6, 0, 33};

		anchor = good_anchor;
		anchor.slot_sectors = slots[i];
		anchor.nr_lanes = lanes[i];
		xbdev__md_anchor_format(&anchor, bytes);
		assert_int_equal(xbdev__md_anchor_parse(bytes, &anchor, NULL), -EINVAL);
	}
	for (uint32_t i = 0; i < 3; i++) {
		unit = good_unit;
		unit.payload_sectors += i == 0;
		unit.entries[1].role += i == 1 ? XBDEV_MD_MAX_DISKS : 0;
		unit.entries[1].count = i == 2 ? 0 : 64;
		xbdev__md_unit_format(&unit, bytes);
		assert_int_equal(xbdev__md_unit_parse(bytes, &unit, NULL), -EINVAL);
	}
}

/* ---- arrays ---- */

struct shape {
	int32_t level;
	uint32_t nr_members, nr_may_miss;
};

static const struct shape shapes[] = {{4, 4, 1}, {6, 6, 2}};

struct world {
	struct harness h;
	const struct shape *shape;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	bool is_done;
	struct xu_error err;
	struct xbdev_md_info info;
	char content[LEN];
};

static struct xbdev_md_array *array_of(const struct world *w)
{
	return xu_container_of(w->dev, struct xbdev_md_array, dev);
}

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct world *w = arg;

	w->dev = dev;
	w->err = dev == NULL ? *err : (struct xu_error){0};
	w->is_done = true;
}

static void path_of(char kind, uint32_t member, char ret_path[static 256])
{
	snprintf(ret_path, 256, "%s/%c%u", harness_dir(), kind, member);
}

static int open_file(char kind, uint32_t member)
{
	char path[256];
	int fd;

	path_of(kind, member, path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_LEN), 0);
	return fd;
}

static void open_devices(struct world *w, char kind)
{
	char path[256];

	for (uint32_t i = 0; i < w->shape->nr_members; i++) {
		close(open_file(kind, i));
		path_of(kind, i, path);
		harness_create(&w->h, "file", "{'name':'%c%u','filename':'%s','block_size':512}",
			kind, i, path);
	}
}

static void open_array(struct world *w)
{
	w->desc = harness_open(&w->h, w->dev->name, true);
	w->ch = harness_channel(&w->h, w->desc, 0);
}

static void stop(struct world *w)
{
	harness_put(&w->h, w->ch);
	xbdev_desc_close(w->desc);
	harness_remove(&w->h, w->dev);
	w->dev = NULL;
}

static int create(struct world *w, int32_t level)
{
	static const char *const names[MAX_FILES] = {"m0", "m1", "m2", "m3", "m4", "m5"};
	const struct xbdev_md_create_opts opts = {
		.name = "md0",
		.level = level,
		.layout = XBDEV_MD_LAYOUT_DEFAULT,
		.chunk_bytes = CHUNK,
		.members = names,
		.nr_members = w->shape->nr_members,
		.policy = XBDEV_MD_POLICY_JOURNAL,
		.force = true,
	};

	w->is_done = false;
	xbdev__md_create(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	return w->dev != NULL ? 0 : w->err.code;
}

static int assemble(struct world *w, uint32_t missing)
{
	static const char *const all[MAX_FILES] = {"c0", "c1", "c2", "c3", "c4", "c5"};
	const char *names[MAX_FILES];
	struct xbdev_md_assemble_opts opts = {
		.name = "md1", .level = w->shape->level, .members = names, .run = true};

	for (uint32_t i = 0; i < w->shape->nr_members; i++) {
		if ((missing >> i & 1) == 0) {
			names[opts.nr_members++] = all[i];
		}
	}
	w->is_done = false;
	xbdev__md_assemble(w->h.ctx, &opts, on_made, w);
	harness_wait(&w->h, w->is_done);
	if (w->dev == NULL) {
		return w->err.code;
	}
	open_array(w);
	return 0;
}

static void write_at(struct world *w, uint64_t offset, uint64_t len, uint64_t seed)
{
	harness_fill(w->content + offset, len, seed);
	assert_int_equal(
		harness_io(&w->h, w->ch, XBDEV_OP_WRITE, offset, w->content + offset, len, 0), 0);
}

static void compare(struct world *w)
{
	static char got[LEN];

	assert_int_equal(harness_io(&w->h, w->ch, XBDEV_OP_READ, 0, got, LEN, 0), 0);
	assert_memory_equal(got, w->content, LEN);
}

static void check_parity(struct world *w)
{
	struct xbdev_md_array *array = array_of(w);

	harness_wait(&w->h, array->is_running && array->sync == NULL && !array->meta.is_writing);
	assert_int_equal(xbdev__md_sync_scrub(array, XBDEV_MD_SYNC_CHECK), 0);
	harness_wait(&w->h, array->sync == NULL);
	assert_int_equal(array->mismatch_sectors, 0);
}

/* ---- crashes ---- */

static void copy_files(const struct world *w)
{
	static char buf[FILE_LEN];

	for (uint32_t i = 0; i < w->shape->nr_members; i++) {
		int from = open_file('m', i), to = open_file('c', i);

		assert_int_equal(pread(from, buf, FILE_LEN, 0), FILE_LEN);
		assert_int_equal(pwrite(to, buf, FILE_LEN, 0), FILE_LEN);
		close(from);
		close(to);
	}
}

/* Where the array's byte lies on its member, and on which. */
static uint64_t place_of(const struct world *w, uint64_t offset, uint32_t *ret_role)
{
	const struct xbdev_md_array *array = array_of(w);
	uint64_t row_bytes = (uint64_t)CHUNK * array->geo.nr_data;
	struct xbdev_md_row who;

	xbdev__md_row(&array->geo, offset / row_bytes, &who);
	*ret_role = who.data[offset % row_bytes / CHUNK];
	return array->roles[0]->super.data_offset * 512 + offset / row_bytes * CHUNK +
	       offset % CHUNK;
}

static void garble(uint32_t member, uint64_t offset, size_t len)
{
	char junk[4096];
	int fd = open_file('c', member);

	harness_fill(junk, sizeof(junk), 12345);
	assert_int_equal(pwrite(fd, junk, len, (off_t)offset), len);
	close(fd);
}

/* Copies of an array amid its writes. Of the last one, 4 KiB, neither data nor parity have got to
 * the members: there is something else. */
static void crash(struct world *w, const struct shape *shape)
{
	struct xbdev_md_row who;
	uint64_t at;
	uint32_t role;

	memset(w, 0, sizeof(*w));
	w->shape = shape;
	harness_start(&w->h, 1, 1);
	open_devices(w, 'm');
	assert_int_equal(create(w, shape->level), 0);
	open_array(w);
	harness_wait(&w->h, array_of(w)->in_sync_below == XBDEV_MD_NEVER &&
				    array_of(w)->sync == NULL && !array_of(w)->meta.is_writing);
	write_at(w, 0, LEN, 1);
	write_at(w, 3 * CHUNK - 512, 2048, 2);
	write_at(w, 2 * CHUNK + 4096, 4096, 3);
	copy_files(w);
	at = place_of(w, 2 * CHUNK + 4096, &role);
	xbdev__md_row(&array_of(w)->geo, 0, &who);
	garble(role, at, 4096);
	garble(who.p, at, 4096);
	if (shape->level == 6) {
		garble(who.q, at, 2048);
	}
	stop(w);
	open_devices(w, 'c');
}

static void test_journal_repeats_what_was_being_written(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		static struct world w;

		crash(&w, &shapes[i]);
		assert_int_equal(assemble(&w, 0), 0);
		assert_true(array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
		assert_true(array_of(&w)->has_journal);
		compare(&w);
		check_parity(&w);
		write_at(&w, 1000 * 512, 12 * 512, 4);
		stop(&w);
		/* It is found again when the array is clean. */
		assert_int_equal(assemble(&w, 0), 0);
		assert_true(array_of(&w)->has_journal);
		compare(&w);
		stop(&w);
		harness_stop(&w.h);
	}
}

static void test_journal_repeats_without_any_members(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (uint32_t missing = 1; missing < 1u << shapes[i].nr_members; missing++) {
			static struct world w;

			if ((uint32_t)__builtin_popcount(missing) != shapes[i].nr_may_miss) {
				continue;
			}
			crash(&w, &shapes[i]);
			assert_int_equal(assemble(&w, missing), 0);
			assert_int_equal(array_of(&w)->nr_degraded, shapes[i].nr_may_miss);
			compare(&w);
			stop(&w);
			harness_stop(&w.h);
		}
	}
}

/* As Linux leaves it when it has had the array: more events, and all else the same. */
static void write_super(uint32_t member)
{
	uint8_t bytes[4096];
	int fd = open_file('c', member);

	assert_int_equal(pread(fd, bytes, sizeof(bytes), 4096), sizeof(bytes));
	bytes[200]++; /* events */
	md_fixture_fix_checksum(bytes);
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 4096), sizeof(bytes));
	close(fd);
}

static void test_journal_is_forgotten_when_others_have_written(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		static struct world w;

		crash(&w, &shapes[i]);
		for (uint32_t k = 0; k < shapes[i].nr_members; k++) {
			write_super(k);
		}
		assert_int_equal(assemble(&w, 1), -EUCLEAN);
		assert_non_null(strstr(w.err.text, "was not stopped cleanly"));
		assert_int_equal(assemble(&w, 0), 0);
		assert_true(array_of(&w)->in_sync_below != XBDEV_MD_NEVER);
		harness_wait(&w.h, array_of(&w)->in_sync_below == XBDEV_MD_NEVER);
		check_parity(&w);
		/* The journal goes on, bound to the superblocks as they are now. */
		assert_true(array_of(&w)->has_journal);
		stop(&w);
		harness_stop(&w.h);
	}
}

static void test_journal_without_an_anchor_is_none(void **state)
{
	static struct world w;
	struct xbdev_md_super super;

	crash(&w, &shapes[1]);
	assert_int_equal(assemble(&w, 0), 0);
	super = array_of(&w)->roles[0]->super;
	stop(&w);
	harness_stop(&w.h);
	crash(&w, &shapes[1]);
	garble(2, xbdev__md_journal_place(&super) * 512, 512);
	/* Another member may be missing, but one that is there and says nothing is not believed. */
	assert_int_equal(assemble(&w, 1), -EUCLEAN);
	assert_int_equal(assemble(&w, 4), 0);
	compare(&w);
	stop(&w);
	harness_stop(&w.h);
}

/* The newest unit of the lane as a power failure leaves it that comes amid the next one. */
static void tear_units(const struct world *w, uint32_t index)
{
	const struct xbdev_md_array *array = array_of(w);
	const struct xbdev_md_lane *lane = &array->log->lanes[index];

	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		if ((lane->copy_roles >> role & 1) != 0) {
			garble(role,
				xbdev__md_journal_place(&array->roles[role]->super) * 512 +
					XBDEV_MD_ANCHOR_BYTES + index * array->log->unit_bytes,
				512);
		}
	}
}

/* A member comes in sync between two units of a lane: the older one must not stay anywhere by
 * itself, or it is replayed over what was acknowledged since. */
static void test_journal_keeps_no_older_unit_when_members_come_in_sync(void **state)
{
	static struct world w;
	struct xbdev_md_array *array;
	uint32_t before;

	memset(&w, 0, sizeof(w));
	w.shape = &shapes[1];
	harness_start(&w.h, 1, 1);
	open_devices(&w, 'm');
	assert_int_equal(create(&w, 6), 0);
	open_array(&w);
	array = array_of(&w);
	harness_wait(&w.h, array->in_sync_below == XBDEV_MD_NEVER && array->sync == NULL &&
				   !array->meta.is_writing);
	write_at(&w, 0, LEN, 1);
	array->roles[0]->state = XBDEV_MD_MEMBER_RECOVERING; /* of which all is good */
	write_at(&w, 0, 4096, 2);
	before = array->log->lanes[0].copy_roles;
	assert_int_equal(before & 1, 0);
	/* No superblock says anything of it before the power goes. */
	array->roles[0]->state = XBDEV_MD_MEMBER_IN_SYNC;
	xr_timer_stop(array->reactor, &array->safe_timer);
	write_at(&w, 0, 4096, 3);
	assert_true(array->is_active);
	copy_files(&w);
	tear_units(&w, 0);
	stop(&w);
	open_devices(&w, 'c');
	assert_int_equal(assemble(&w, 0), 0);
	compare(&w);
	stop(&w);
	harness_stop(&w.h);
}

static void on_info(void *arg, const struct xbdev_md_info *info)
{
	struct world *w = arg;

	MUST(info != NULL);
	w->info = *info;
	w->is_done = true;
}

static void test_journal_is_for_raid4_and_raid6(void **state)
{
	static const int32_t others[] = {-1, 0, 1, 5, 10};
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.shape = &shapes[1];
	harness_start(&w.h, 1, 1);
	open_devices(&w, 'm');
	for (uint32_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(create(&w, others[i]), -EINVAL);
		assert_non_null(strstr(w.err.text, "a journal is for raid4 and raid6"));
	}
	assert_int_equal(create(&w, 6), 0);
	open_array(&w);
	w.is_done = false;
	xbdev__md_info_get(w.dev, on_info, &w);
	harness_wait(&w.h, w.is_done);
	assert_int_equal(w.info.policy, XBDEV_MD_POLICY_JOURNAL);
	stop(&w);
	harness_stop(&w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_journal_format_keeps_every_field),
		cmocka_unit_test(test_journal_format_covers_every_byte),
		cmocka_unit_test(test_journal_format_refuses_what_makes_none),
		cmocka_unit_test(test_journal_repeats_what_was_being_written),
		cmocka_unit_test(test_journal_repeats_without_any_members),
		cmocka_unit_test(test_journal_is_forgotten_when_others_have_written),
		cmocka_unit_test(test_journal_without_an_anchor_is_none),
		cmocka_unit_test(test_journal_keeps_no_older_unit_when_members_come_in_sync),
		cmocka_unit_test(test_journal_is_for_raid4_and_raid6),
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests_name("xbdev_raid_journal", tests, NULL, NULL);
}
