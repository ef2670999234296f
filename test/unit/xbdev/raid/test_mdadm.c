/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mdadm as the judge of what we write: superblocks, bitmaps and bad block logs of arrays that are
 * planned and formatted by lib/xbdev/raid lie in sparse files, and mdadm --examine tells of them
 * what was meant. Skipped (77) without mdadm.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/badblocks.h"
#include "lib/xbdev/raid/bitmap_format.h"
#include "lib/xbdev/raid/space.h"
#include "lib/xbdev/raid/super.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MDADM    "PATH=$PATH:/usr/sbin:/sbin mdadm"
#define GIB      ((uint64_t)1024 * 2048) /* sectors */
#define MAX_TEXT 16384u

static const struct xu_uuid set_uuid = {{0x38, 0x66, 0x62, 0x89, 0x83, 0xc4, 0x38, 0x77, 0xe2, 0x9c,
	0x48, 0x1d, 0x1d, 0x41, 0x57, 0xae}};
static const struct xu_uuid device_uuid = {{0xe2, 0x51, 0x7b, 0x81, 0xf0, 0x89, 0x4c, 0xf7, 0x0f,
	0x2b, 0x03, 0xb4, 0xaa, 0xcc, 0x85, 0x6f}};

struct made {
	char path[32];
	uint64_t dev_sectors;
	struct xbdev_md_space space;
	struct xbdev_md_super super;
	char text[MAX_TEXT]; /* what mdadm last said */
};

/* ---- one member in a file ---- */

static void put(const struct made *made, uint64_t sector, const void *bytes, size_t len)
{
	int fd = open(made->path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, (off_t)sector * 512), len);
	assert_int_equal(close(fd), 0);
}

static void put_super(const struct made *made)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];

	xbdev__md_super_format(&made->super, bytes);
	put(made, XBDEV_MD_SUPER_OFFSET, bytes, sizeof(bytes));
}

static void make(struct made *made, const struct xbdev_md_space_opts *opts, uint32_t layout,
	uint32_t raid_disks, uint64_t dev_sectors)
{
	uint64_t sizes[XBDEV_MD_MAX_DISKS];
	struct xu_error err = {0};
	int fd;

	memset(made, 0, sizeof(*made));
	snprintf(made->path, sizeof(made->path), "md-mdadm-XXXXXX");
	fd = mkstemp(made->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)dev_sectors * 512), 0);
	close(fd);
	made->dev_sectors = dev_sectors;
	for (uint32_t i = 0; i < raid_disks; i++) {
		sizes[i] = dev_sectors;
	}
	if (xbdev__md_space_plan(opts, sizes, raid_disks, raid_disks, layout, &made->space, &err) !=
		0) {
		fail_msg("%s", err.text);
	}
	made->super = (struct xbdev_md_super){
		.set_uuid = set_uuid,
		.device_uuid = device_uuid,
		.set_name = "host7:data",
		.ctime = 1700000000,
		.utime = 1700000001,
		.level = opts->level,
		.layout = layout,
		.size = made->space.size,
		.chunksize = opts->chunk,
		.raid_disks = raid_disks,
		.data_offset = made->space.data_offset,
		.data_size = made->space.data_sizes[0],
		.bitmap_offset = made->space.bitmap_offset,
		.ppl_offset = made->space.ppl_offset,
		.ppl_size = made->space.ppl_size,
		.bblog_offset = made->space.bblog_offset,
		.bblog_size = made->space.bblog_size,
		.events = 4711,
		.resync_offset = XBDEV_MD_CLEAN,
		.max_dev = 128,
	};
	made->super.feature_map = (made->space.bitmap_offset != 0 ? XBDEV_MD_F_BITMAP : 0) |
				  (made->space.ppl_offset != 0 ? XBDEV_MD_F_MULTIPLE_PPLS : 0) |
				  (opts->level == 0 ? XBDEV_MD_F_RAID0_LAYOUT : 0);
	for (uint32_t i = 0; i < XBDEV_MD_MAX_DEV_ROLES; i++) {
		made->super.dev_roles[i] =
			i < raid_disks ? (uint16_t)i : (uint16_t)XBDEV_MD_ROLE_SPARE;
	}
}

static void unmake(struct made *made)
{
	unlink(made->path);
}

/* ---- what mdadm says ---- */

static void ask_of(struct made *made, const char *option, const char *path)
{
	char command[256];
	FILE *pipe;
	size_t len;

	snprintf(command, sizeof(command), MDADM " %s %s 2>&1", option, path);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	len = fread(made->text, 1, sizeof(made->text) - 1, pipe);
	made->text[len] = '\0';
	if (pclose(pipe) != 0) {
		fail_msg("%s: %s", command, made->text);
	}
}

static void ask(struct made *made, const char *option)
{
	ask_of(made, option, made->path);
}

/* Of a device mdadm reads the bitmap behind the superblock, of a file the file. */
static void ask_of_bitmap(struct made *made, const void *bytes, size_t len)
{
	char path[] = "md-bitmap-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	ask_of(made, "--examine-bitmap", path);
	unlink(path);
}

/* "Name : value", where the value begins with what is expected. */
static void expect(const struct made *made, const char *name, const char *value)
{
	char wanted[128];

	snprintf(wanted, sizeof(wanted), "%s : %s", name, value);
	if (strstr(made->text, wanted) == NULL) {
		fail_msg("'%s' is not in:\n%s", wanted, made->text);
	}
}

static void expect_number(
	const struct made *made, const char *name, const char *fmt, uint64_t number)
{
	char value[64];

	/* The formats are this file's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(value, sizeof(value), fmt, (unsigned long long)number);
#pragma GCC diagnostic pop
	expect(made, name, value);
}

/* What every member has. */
static void expect_common(struct made *made, const char *level, uint64_t array_kib)
{
	ask(made, "--examine");
	expect(made, "Magic", "a92b4efc\n");
	expect(made, "Version", "1.2\n");
	expect_number(made, "Feature Map", "0x%llx\n", made->super.feature_map);
	expect(made, "Array UUID", "38666289:83c43877:e29c481d:1d4157ae\n");
	expect(made, "Device UUID", "e2517b81:f0894cf7:0f2b03b4:aacc856f\n");
	expect(made, "Name", "host7:data");
	expect(made, "Raid Level", level);
	expect_number(made, "Raid Devices", "%llu\n", made->super.raid_disks);
	expect_number(made, "Avail Dev Size", "%llu sectors", made->super.data_size);
	expect_number(made, "Data Offset", "%llu sectors\n", made->super.data_offset);
	expect(made, "Super Offset", "8 sectors\n");
	expect_number(made, "Events", "%llu\n", made->super.events);
	expect_number(made, "Bad Block Log", "512 entries available at offset %llu sectors",
		(uint64_t)made->super.bblog_offset);
	if (array_kib != 0) {
		expect_number(made, "Array Size", "%llu KiB", array_kib);
	}
	if (made->super.size != 0 && made->super.size != made->super.data_size) {
		expect_number(made, "Used Dev Size", "%llu sectors", made->super.size);
	}
	if (strstr(made->text, " - correct\n") == NULL) {
		fail_msg("the checksum is wrong:\n%s", made->text);
	}
}

static void test_mdadm_of_raid1_with_a_bitmap(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 1, .bitmap_chunk_bytes = UINT32_MAX};
	uint8_t bytes[8192];
	struct made made;

	(void)state;
	make(&made, &opts, 0, 2, 250 * GIB);
	made.super.devflags = XBDEV_MD_DEV_WRITE_MOSTLY | XBDEV_MD_DEV_FAILFAST;
	put_super(&made);
	memset(bytes, 0, sizeof(bytes));
	xbdev__md_bitmap_format(
		&(struct xbdev_md_bitmap_header){
			.version = 4,
			.uuid = set_uuid,
			.events = 4711,
			.events_cleared = 4700,
			.sync_size = made.space.size,
			.chunksize = made.space.bitmap_chunk_bytes,
			.daemon_sleep_s = 5,
			.write_behind = 256,
		},
		bytes);
	bytes[XBDEV_MD_BITMAP_HEADER_BYTES] = 0x07; /* the first three chunks */
	put(&made, 16, bytes, sizeof(bytes));
	expect_common(&made, "raid1\n", made.space.size / 2);
	expect(&made, "Internal Bitmap", "8 sectors from superblock\n");
	expect(&made, "State", "clean\n");
	expect(&made, "Flags", "write-mostly failfast\n");
	expect(&made, "Device Role", "Active device 0\n");
	expect(&made, "Array State", "AA ('A'");
	ask_of_bitmap(&made, bytes, sizeof(bytes));
	expect(&made, "Magic", "6d746962\n");
	expect(&made, "Version", "4\n");
	expect(&made, "UUID", "38666289:83c43877:e29c481d:1d4157ae\n");
	expect(&made, "Events", "4711\n");
	expect(&made, "Events Cleared", "4700\n");
	expect(&made, "State", "OK\n");
	expect(&made, "Chunksize", "64 MB\n");
	expect(&made, "Daemon", "5s flush period\n");
	expect(&made, "Write Mode", "Allow write behind, max 256\n");
	expect_number(&made, "Sync Size", "%llu", made.space.size / 2);
	expect_number(&made, "Bitmap", "%llu bits (chunks), 3 dirty",
		(made.space.size + (128 << 10) - 1) / (128 << 10));
	unmake(&made);
}

static void test_mdadm_of_raid5_degraded_and_dirty(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 5, .chunk = 1024};
	struct made made;

	(void)state;
	make(&made, &opts, 2, 4, 9 * GIB + 77);
	made.super.dev_number = 4;
	made.super.dev_roles[1] = XBDEV_MD_ROLE_FAULTY;
	made.super.dev_roles[3] = XBDEV_MD_ROLE_SPARE;
	made.super.dev_roles[4] = 3;
	made.super.resync_offset = 0;
	put_super(&made);
	expect_common(&made, "raid5\n", made.space.size / 2 * 3);
	expect(&made, "State", "active\n");
	expect(&made, "Layout", "left-symmetric\n");
	expect(&made, "Chunk Size", "512K\n");
	expect(&made, "Device Role", "Active device 3\n");
	expect(&made, "Array State", "A.AA ('A'");
	unmake(&made);
}

static void test_mdadm_of_raid5_with_ppl_and_a_replacement(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 5, .chunk = 128, .has_ppl = true};
	struct made made;

	(void)state;
	make(&made, &opts, 2, 3, GIB);
	made.super.feature_map |= XBDEV_MD_F_REPLACEMENT | XBDEV_MD_F_RECOVERY_OFFSET;
	made.super.recovery_offset = 4096;
	made.super.dev_number = 5;
	made.super.dev_roles[5] = 1;
	put_super(&made);
	expect_common(&made, "raid5\n", made.space.size / 2 * 2);
	expect(&made, "PPL", "2048 sectors at offset 8 sectors from superblock\n");
	expect(&made, "Recovery Offset", "4096 sectors\n");
	expect(&made, "Device Role", "Replacement device 1\n");
	expect(&made, "Array State", "ARA ('A'");
	unmake(&made);
}

static void test_mdadm_of_raid6_with_bad_blocks(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 6, .chunk = 128};
	struct xbdev_md_bad_blocks bad = {0};
	uint8_t bytes[XBDEV_MD_BAD_BLOCKS_BYTES];
	struct made made;

	(void)state;
	make(&made, &opts, 16, 5, GIB);
	made.super.feature_map |= XBDEV_MD_F_BAD_BLOCKS;
	made.super.dev_number = 127; /* a spare */
	put_super(&made);
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 10240, 24), 0);
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 4096, 600), 0);
	xbdev__md_bad_blocks_format(&bad, bytes);
	put(&made, 8 + (uint64_t)made.super.bblog_offset, bytes, sizeof(bytes));
	expect_common(&made, "raid6\n", made.space.size / 2 * 3);
	expect(&made, "Layout", "left-asymmetric-6\n");
	expect(&made, "Device Role", "spare\n");
	assert_non_null(strstr(made.text, "bad blocks present"));
	ask(&made, "--examine-badblocks");
	assert_non_null(strstr(made.text, "4096 for 512 sectors\n"));
	assert_non_null(strstr(made.text, "4608 for 88 sectors\n"));
	assert_non_null(strstr(made.text, "10240 for 24 sectors\n"));
	unmake(&made);
}

static void test_mdadm_of_the_other_levels(void **state)
{
	static const struct {
		struct xbdev_md_space_opts opts;
		uint32_t layout, raid_disks;
		const char *level, *layout_name;
		uint32_t data_disks, of; /* array size: size * data_disks / of */
	} levels[] = {
		{{.level = 10, .chunk = 128}, 0x102, 4, "raid10\n", "near=2\n", 4, 2},
		{{.level = 10, .chunk = 128}, 0x201, 4, "raid10\n", "far=2\n", 4, 2},
		{{.level = 10, .chunk = 8}, 0x10301, 3, "raid10\n", "offset=3\n", 3, 3},
		{{.level = 4, .chunk = 128}, 0, 3, "raid4\n", NULL, 2, 1},
		{{.level = 0, .chunk = 128}, 1, 3, "raid0\n", "original\n", 0, 1},
		{{.level = 0, .chunk = 128}, 2, 3, "raid0\n", "alternate\n", 0, 1},
		{{.level = -1}, 0, 3, "linear\n", NULL, 0, 1},
	};
	struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		make(&made, &levels[i].opts, levels[i].layout, levels[i].raid_disks, GIB);
		put_super(&made);
		expect_common(&made, levels[i].level,
			made.space.size / 2 * levels[i].data_disks / levels[i].of);
		if (levels[i].layout_name != NULL) {
			expect(&made, "Layout", levels[i].layout_name);
		}
		unmake(&made);
	}
}

static void test_mdadm_sees_a_wrong_checksum(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 1};
	struct made made;

	(void)state;
	make(&made, &opts, 0, 2, GIB);
	put_super(&made);
	ask(&made, "--examine");
	assert_non_null(strstr(made.text, " - correct\n"));
	put(&made, XBDEV_MD_SUPER_OFFSET + 1, "", 1); /* after the roles: nothing is covered */
	put(&made, XBDEV_MD_SUPER_OFFSET, "\xfc\x4e\x2b\xa9\x01\0\0\0\x08", 9);
	ask(&made, "--examine");
	assert_null(strstr(made.text, " - correct\n"));
	unmake(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mdadm_of_raid1_with_a_bitmap),
		cmocka_unit_test(test_mdadm_of_raid5_degraded_and_dirty),
		cmocka_unit_test(test_mdadm_of_raid5_with_ppl_and_a_replacement),
		cmocka_unit_test(test_mdadm_of_raid6_with_bad_blocks),
		cmocka_unit_test(test_mdadm_of_the_other_levels),
		cmocka_unit_test(test_mdadm_sees_a_wrong_checksum),
	};

	if (system(MDADM " --version >/dev/null 2>&1") != 0) {
		printf("mdadm is not installed (scripts/bootstrap.sh test)\n");
		return 77;
	}
	return cmocka_run_group_tests_name("xbdev_raid_mdadm", tests, NULL, NULL);
}
