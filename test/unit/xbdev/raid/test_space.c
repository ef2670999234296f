/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/raid/space.c: the places on a member are those that mdadm chose for every array of
 * test/data/md, and for devices of other sizes those that mdadm is known to choose; nothing
 * overlaps whatever is asked for; what does not fit is refused with the size that would.
 */
#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xbdev/raid/space.h"
#include "test/unit/xbdev/raid/fixture.h"

#define MIB ((uint64_t)2048) /* sectors */
#define GIB (1024 * MIB)

/* ---- what mdadm chose ---- */

/* The members in the order of their roles, then the others. */
static uint32_t order_sizes(const struct md_fixture *f, uint32_t raid_disks, uint64_t *sizes)
{
	uint32_t count = raid_disks;

	memset(sizes, 0, XBDEV_MD_MAX_DISKS * sizeof(*sizes));
	for (uint32_t i = 0; i < f->nr_members; i++) {
		uint64_t sectors = f->members[i].size_bytes / 512;

		if (f->members[i].role >= 0 && sizes[f->members[i].role] == 0) {
			sizes[f->members[i].role] = sectors;
		} else {
			sizes[count++] = sectors;
		}
	}
	return count;
}

static void check_members(const struct md_fixture *f, const struct xbdev_md_space *space)
{
	for (uint32_t i = 0; i < f->nr_members; i++) {
		json_t *sb = f->members[i].superblock;

		assert_int_equal(space->data_offset, md_fixture_u64(sb, "data_offset"));
		assert_int_equal(space->size, md_fixture_u64(sb, "size"));
		assert_int_equal(space->bblog_offset, md_fixture_u64(sb, "bblog_offset"));
		assert_int_equal(space->bblog_size, md_fixture_u64(sb, "bblog_size"));
		if (json_object_get(sb, "ppl_offset") != NULL) {
			assert_int_equal(space->ppl_offset, md_fixture_u64(sb, "ppl_offset"));
			assert_int_equal(space->ppl_size, md_fixture_u64(sb, "ppl_size"));
		} else {
			assert_int_equal(space->bitmap_offset, md_fixture_u64(sb, "bitmap_offset"));
			assert_int_equal(space->ppl_size, 0);
		}
		if (f->members[i].role >= 0) {
			assert_int_equal(space->data_sizes[f->members[i].role],
				md_fixture_u64(sb, "data_size"));
		}
	}
}

static void test_space_of_mdadm(void **state)
{
	uint64_t sizes[XBDEV_MD_MAX_DISKS];
	struct xbdev_md_space space;
	struct md_fixture f;

	(void)state;
	for (uint32_t i = 0; i < md_fixture_count(); i++) {
		struct xbdev_md_space_opts opts = {0};
		struct xu_error err = {0};
		json_t *sb, *bitmap;
		uint32_t raid_disks, count;

		md_fixture_describe(&f, md_fixture_name(i));
		sb = f.members[0].superblock;
		bitmap = json_object_get(f.members[0].json, "bitmap");
		opts.level = (int32_t)md_fixture_u64(sb, "level");
		opts.chunk = (uint32_t)md_fixture_u64(sb, "chunksize");
		opts.has_ppl = json_object_get(sb, "ppl_offset") != NULL;
		if (bitmap != NULL) {
			opts.bitmap_chunk_bytes = (uint32_t)md_fixture_u64(bitmap, "chunksize");
		}
		if (strstr(md_fixture_text(f.json, "created_with"), "--size=1024") != NULL) {
			opts.size = 1024 * 2;
		}
		raid_disks = (uint32_t)md_fixture_u64(sb, "raid_disks");
		count = order_sizes(&f, raid_disks, sizes);
		if (xbdev__md_space_plan(&opts, sizes, count, raid_disks,
			    (uint32_t)md_fixture_u64(sb, "layout"), &space, &err) != 0) {
			fail_msg("%s: %s", f.name, err.text);
		}
		check_members(&f, &space);
		assert_int_equal(space.journal_sector, 0);
	}
}

static const struct {
	uint64_t dev_sectors;
	/* Of a raid1, a raid5 with chunks of 512 KiB, one of 64 KiB with PPL. */
	uint64_t data_offsets[3];
	int32_t bblog_offset; /* of the first two */
} sizes_of_mdadm[] = {
	{8 * MIB, {2048, 4096, 4096}, 16},
	{128 * MIB, {2048, 4096, 4096}, 16},
	{1 * GIB, {4096, 4096, 6144}, 16},
	{2 * GIB - 1, {4096, 4096, 6144}, 16},
	{2 * GIB, {6144, 6144, 8192}, 16},
	{7 * GIB, {10240, 10240, 12288}, 16},
	{9 * GIB, {18432, 18432, 20480}, 136},
	{100 * GIB, {133120, 133120, 135168}, 136},
	{250 * GIB, {264192, 264192, 266240}, 264},
	{4096 * GIB, {264192, 264192, 266240}, 264},
};

static void test_space_of_larger_devices(void **state)
{
	static const struct xbdev_md_space_opts opts[] = {
		{.level = 1},
		{.level = 5, .chunk = 1024},
		{.level = 5, .chunk = 128, .has_ppl = true},
	};
	struct xbdev_md_space space;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes_of_mdadm) / sizeof(sizes_of_mdadm[0]); i++) {
		for (uint32_t j = 0; j < 3; j++) {
			uint64_t sizes[3] = {sizes_of_mdadm[i].dev_sectors,
				sizes_of_mdadm[i].dev_sectors, sizes_of_mdadm[i].dev_sectors};

			assert_int_equal(
				xbdev__md_space_plan(&opts[j], sizes, 3, 3, 2, &space, NULL), 0);
			assert_int_equal(space.data_offset, sizes_of_mdadm[i].data_offsets[j]);
			assert_int_equal(
				space.bblog_offset, j == 2 ? 2056 : sizes_of_mdadm[i].bblog_offset);
		}
	}
}

/* ---- the bitmap ---- */

static const struct {
	uint64_t dev_sectors;
	uint32_t asked, chunk_bytes, bitmap_sectors;
	int32_t bblog_offset;
} bitmaps[] = {
	{8 * MIB, UINT32_MAX, 64u << 20, 8, 16},
	{100 * GIB, UINT32_MAX, 64u << 20, 8, 16},
	{250 * GIB, UINT32_MAX, 64u << 20, 8, 16},
	/* 128 KiB less 256 bytes are 1,046,528 bits; of 64 MiB they cover less than 64 TiB. */
	{63 * 1024 * GIB, UINT32_MAX, 64u << 20, 256, 264},
	{64 * 1024 * GIB, UINT32_MAX, 128u << 20, 136, 144},
	{1024 * 1024 * GIB, UINT32_MAX, 2u << 30, 136, 144},
	{8 * MIB, 4096, 4096, 8, 16},
	{1 * GIB, 65536, 65536, 8, 16},
	{100 * GIB, 1u << 20, 1u << 20, 32, 40},
};

static void test_space_of_bitmaps(void **state)
{
	struct xbdev_md_space space;

	(void)state;
	for (size_t i = 0; i < sizeof(bitmaps) / sizeof(bitmaps[0]); i++) {
		struct xbdev_md_space_opts opts = {
			.level = 1, .bitmap_chunk_bytes = bitmaps[i].asked};
		uint64_t sizes[2] = {bitmaps[i].dev_sectors, bitmaps[i].dev_sectors};

		assert_int_equal(xbdev__md_space_plan(&opts, sizes, 2, 2, 0, &space, NULL), 0);
		assert_int_equal(space.bitmap_offset, 8);
		assert_int_equal(space.bitmap_chunk_bytes, bitmaps[i].chunk_bytes);
		assert_int_equal(space.bitmap_sectors, bitmaps[i].bitmap_sectors);
		assert_int_equal(space.bblog_offset, bitmaps[i].bblog_offset);
	}
}

/* ---- what is refused ---- */

static const struct {
	struct xbdev_md_space_opts opts;
	uint64_t dev_sectors[3];
	uint32_t nr_members, raid_disks, layout;
	int rc;
	const char *text;
} wrongs[] = {
	{{.level = 1}, {2176, 2176}, 2, 2, 0, 0, ""},
	{{.level = 1}, {2175, 2176}, 2, 2, 0, -ENOSPC, "device 0 has 2175 sectors"},
	{{.level = 1}, {4096, 2175}, 2, 2, 0, -ENOSPC, "needs 2176 at least"},
	{{.level = 5, .chunk = 1024}, {5120, 5119, 5120}, 3, 3, 2, -ENOSPC, "needs 5120 at least"},
	{{.level = -1}, {2064, 2063}, 2, 2, 0, -ENOSPC, "needs 2064 at least"},
	{{.level = 1, .size = 4096}, {6143, 6144}, 2, 2, 0, -ENOSPC, "needs 6144 at least"},
	{{.level = 1, .size = 4096}, {6144, 6144}, 2, 2, 0, 0, ""},
	{{.level = 1}, {0, 0}, 2, 2, 0, -EINVAL, "without any device"},
	{{.level = 1}, {4096}, 1, 2, 0, -EINVAL, "2 members and 1 devices"},
	{{.level = 1}, {4096}, 33, 2, 0, -EINVAL, "2 members and 33 devices"},
	{{.level = 1}, {4096}, 1, 0, 0, -EINVAL, "0 members"},
	{{.level = 5}, {4096}, 3, 3, 0, -EINVAL, "chunk size"},
	{{.level = 0}, {4096}, 3, 3, 0, -EINVAL, "chunk size"},
	{{.level = 10, .chunk = 128}, {4096}, 2, 2, 0x103, -EINVAL, "3 x 1 copies on 2"},
	{{.level = 10, .chunk = 128}, {4096}, 2, 2, 0x100, -EINVAL, "0 x 1 copies on 2"},
	{{.level = 6, .chunk = 128, .has_ppl = true}, {9999}, 3, 3, 0, -EINVAL, "is for raid5"},
	{{.level = 5, .chunk = 128, .has_ppl = true, .bitmap_chunk_bytes = 4096}, {9999}, 3, 3, 0,
		-EINVAL, "is for raid5"},
	{{.level = 0, .chunk = 128, .bitmap_chunk_bytes = 4096}, {9999}, 3, 3, 1, -EINVAL,
		"neither a bitmap"},
	{{.level = -1, .size = 4096}, {9999}, 3, 3, 1, -EINVAL, "neither a bitmap"},
	{{.level = 1, .bitmap_chunk_bytes = 2048}, {9999, 9999}, 2, 2, 0, -EINVAL,
		"a power of two, 4096"},
	{{.level = 1, .bitmap_chunk_bytes = 12288}, {9999, 9999}, 2, 2, 0, -EINVAL,
		"a power of two, 4096"},
	/* 4 KiB less 256 bytes are 30,720 bits. */
	{{.level = 1, .bitmap_chunk_bytes = 65536}, {GIB * 4, GIB * 4}, 2, 2, 0, -EINVAL,
		"a power of two, 262144"},
	{{.level = 1, .size = UINT64_MAX}, {9999, 9999}, 2, 2, 0, -EINVAL, "no device of that"},
	{{.level = 1, .journal_sectors = UINT64_MAX}, {9999, 9999}, 2, 2, 0, -EINVAL,
		"no device of that"},
};

static void test_space_refuses_what_does_not_fit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct xbdev_md_space space = {.size = 77};
		struct xu_error err = {0};
		int rc = xbdev__md_space_plan(&wrongs[i].opts, wrongs[i].dev_sectors,
			wrongs[i].nr_members, wrongs[i].raid_disks, wrongs[i].layout, &space, &err);

		if (rc != wrongs[i].rc || strstr(err.text, wrongs[i].text) == NULL) {
			fail_msg("case %zu: %d '%s'", i, rc, err.text);
		}
		assert_int_equal(space.size == 77, rc != 0);
	}
}

/* ---- the rest ---- */

static void test_space_of_the_smallest(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 5, .chunk = 128};
	uint64_t sizes[] = {20000, 0, 17000, 18000};
	struct xbdev_md_space space;

	(void)state;
	assert_int_equal(xbdev__md_space_plan(&opts, sizes, 4, 3, 2, &space, NULL), 0);
	assert_int_equal(space.data_offset, 2048);
	assert_int_equal(space.size, (17000 - 2048) / 128 * 128);
	assert_int_equal(space.data_sizes[0], 20000 - 2048);
	assert_int_equal(space.data_sizes[1], 0); /* missing */
	assert_int_equal(space.data_sizes[3], 18000 - 2048);
	opts.level = 0;
	assert_int_equal(xbdev__md_space_plan(&opts, sizes, 4, 4, 2, &space, NULL), 0);
	assert_int_equal(space.size, 0);
}

static void test_space_of_a_journal(void **state)
{
	struct xbdev_md_space_opts opts = {.level = 5, .chunk = 128, .journal_sectors = 1001};
	uint64_t sizes[] = {GIB, GIB, GIB};
	struct xbdev_md_space space;

	(void)state;
	/* It fits the headroom: the data stays where mdadm would put it. */
	assert_int_equal(xbdev__md_space_plan(&opts, sizes, 3, 3, 2, &space, NULL), 0);
	assert_int_equal(space.data_offset, 4096);
	assert_int_equal(space.journal_sector, 32); /* behind the bad block log */
	opts.journal_sectors = 4096 - 32;
	assert_int_equal(xbdev__md_space_plan(&opts, sizes, 3, 3, 2, &space, NULL), 0);
	assert_int_equal(space.data_offset, 4096);
	/* It does not: the data moves. */
	opts.journal_sectors = 4096 - 31;
	assert_int_equal(xbdev__md_space_plan(&opts, sizes, 3, 3, 2, &space, NULL), 0);
	assert_int_equal(space.data_offset, 6144);
	assert_int_equal(space.data_sizes[2], GIB - 6144);
	opts.journal_sectors = 64 * MIB;
	opts.has_ppl = true;
	assert_int_equal(xbdev__md_space_plan(&opts, sizes, 3, 3, 2, &space, NULL), 0);
	assert_int_equal(space.journal_sector, 8 + 2056 + 8);
	assert_int_equal(space.data_offset, 65 * MIB + 2048);
}

/* Whatever is planned, a superblock that says so is one that is taken. */
static void check_superblock(const struct xbdev_md_space_opts *opts,
	const struct xbdev_md_space *space, uint64_t dev_sectors)
{
	struct xbdev_md_super super = {
		.level = opts->level,
		.data_offset = space->data_offset,
		.data_size = dev_sectors - space->data_offset,
		.bitmap_offset = space->bitmap_offset,
		.ppl_offset = space->ppl_offset,
		.ppl_size = space->ppl_size,
		.bblog_offset = space->bblog_offset,
		.bblog_size = space->bblog_size,
		.max_dev = 128,
	};
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];
	struct xbdev_md_super again;
	struct xu_error err = {0};

	super.feature_map = (space->bitmap_offset != 0 ? XBDEV_MD_F_BITMAP : 0) |
			    (space->ppl_offset != 0 ? XBDEV_MD_F_MULTIPLE_PPLS : 0);
	xbdev__md_super_format(&super, bytes);
	if (xbdev__md_super_parse(bytes, dev_sectors, &again, &err) != 0) {
		fail_msg("%s", err.text);
	}
	if (space->bitmap_offset != 0) {
		assert_true(
			xbdev__md_super_bitmap_room(&again, dev_sectors) >= space->bitmap_sectors);
	}
	if (opts->journal_sectors != 0) {
		assert_int_equal(space->journal_sector % 8, 0);
		assert_true(space->journal_sector >=
			    8u + (uint32_t)space->bblog_offset + space->bblog_size);
		assert_true(space->journal_sector + opts->journal_sectors <= space->data_offset);
	}
	assert_int_equal(space->data_offset % 2048, 0);
	assert_true(space->size <= super.data_size);
}

static void test_space_never_overlaps(void **state)
{
	static const int32_t levels[] = {-1, 0, 1, 4, 5, 6, 10};
	uint64_t sizes[XBDEV_MD_MAX_DISKS];
	struct xbdev_md_space space;
	struct xu_random rnd;
	uint32_t nr_planned = 0;

	(void)state;
	xu_random_seed(&rnd, 7);
	for (uint32_t i = 0; i < 100000; i++) {
		struct xbdev_md_space_opts opts = {.level = levels[xu_random_below(&rnd, 7)]};
		uint64_t dev = xu_random_below(&rnd, UINT64_C(1) << xu_random_below(&rnd, 40));
		uint32_t count = 2 + (uint32_t)xu_random_below(&rnd, 5);

		opts.chunk = opts.level != 1 ? 8u << xu_random_below(&rnd, 12) : 0;
		opts.has_ppl = opts.level == 5 && xu_random_below(&rnd, 2) != 0;
		if (opts.level > 0 && !opts.has_ppl && xu_random_below(&rnd, 2) != 0) {
			opts.bitmap_chunk_bytes = xu_random_below(&rnd, 2) != 0
							  ? UINT32_MAX
							  : 4096u << xu_random_below(&rnd, 15);
		}
		if (xu_random_below(&rnd, 3) == 0) {
			opts.journal_sectors = xu_random_below(&rnd, 100000);
		}
		for (uint32_t j = 0; j < count; j++) {
			sizes[j] = dev + xu_random_below(&rnd, 5000);
		}
		if (xbdev__md_space_plan(&opts, sizes, count, count, 0x102, &space, NULL) == 0) {
			for (uint32_t j = 0; j < count; j++) {
				check_superblock(&opts, &space, sizes[j]);
			}
			nr_planned++;
		}
	}
	assert_true(nr_planned > 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_space_of_mdadm),
		cmocka_unit_test(test_space_of_larger_devices),
		cmocka_unit_test(test_space_of_bitmaps),
		cmocka_unit_test(test_space_refuses_what_does_not_fit),
		cmocka_unit_test(test_space_of_the_smallest),
		cmocka_unit_test(test_space_of_a_journal),
		cmocka_unit_test(test_space_never_overlaps),
	};

	return cmocka_run_group_tests_name("xbdev_raid_space", tests, NULL, NULL);
}
