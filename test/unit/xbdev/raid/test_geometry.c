/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping as arithmetic: no two sectors of an array share a place, every place is inside its
 * member, the inverse of raid10 is one, rows are those of the layouts' formulas for any number of
 * members, and shapes that are no array are refused. Arrays made by Linux: test_geometry_arrays.c.
 */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xbdev/raid/geometry.h"

#define MEMBER_MAX 4096u /* sectors of a member in the small shapes */
#define OFFSET     0x10000u

/* Which array sector owns a place; 0: none, else sector + 1. */
static uint32_t owners[XBDEV_MD_MAX_DISKS][MEMBER_MAX];

static void make(struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape)
{
	struct xu_error err = {0};

	if (xbdev__md_geometry_init(geo, shape, &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(geo->level, shape->level);
	assert_int_equal(geo->raid_disks, shape->raid_disks);
}

/* How many sectors of a member there are to be used. */
static uint64_t limit_of(
	const struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape, uint32_t role)
{
	return geo->level <= 0 ? shape->data_sizes[role] : geo->member_size;
}

static void own(const struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape,
	uint32_t role, uint64_t sector, uint64_t array_sector)
{
	assert_in_range(role, 0, geo->raid_disks - 1);
	assert_true(sector < limit_of(geo, shape, role));
	if (geo->level > 0) {
		assert_true(geo->member_size <= shape->size);
	}
	assert_int_equal(owners[role][sector], 0);
	owners[role][sector] = (uint32_t)array_sector + 1;
}

/* Walks the array run by run, and every run sector by sector. */
static void own_copies(const struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape)
{
	struct xbdev_md_place run[XBDEV_MD_MAX_DISKS], places[XBDEV_MD_MAX_DISKS];
	uint64_t sector, len, rest, i;
	uint32_t nr_places, j;

	for (sector = 0; sector < geo->array_size; sector += len) {
		nr_places = xbdev__md_copies(geo, sector, run, &len);
		assert_in_range(len, 1, geo->array_size - sector);
		for (i = 0; i < len; i++) {
			assert_int_equal(
				xbdev__md_copies(geo, sector + i, places, &rest), nr_places);
			assert_int_equal(rest, len - i);
			for (j = 0; j < nr_places; j++) {
				assert_int_equal(places[j].role, run[j].role);
				assert_int_equal(places[j].sector, run[j].sector + i);
				own(geo, shape, places[j].role, places[j].sector, sector + i);
			}
		}
		/* Members are distinct. */
		for (j = 0; j < nr_places * nr_places; j++) {
			if (j / nr_places != j % nr_places) {
				assert_int_not_equal(
					run[j / nr_places].role, run[j % nr_places].role);
			}
		}
	}
}

static void own_rows(const struct xbdev_md_geometry *geo, const struct xbdev_md_shape *shape)
{
	uint64_t row, i;
	uint32_t j;

	for (row = 0; row < geo->member_size / geo->chunk; row++) {
		struct xbdev_md_row map;

		xbdev__md_row(geo, row, &map);
		for (i = row * geo->chunk; i < (row + 1) * geo->chunk; i++) {
			own(geo, shape, map.p, i, UINT32_MAX - 1);
			if (geo->nr_parity == 2) {
				own(geo, shape, map.q, i, UINT32_MAX - 1);
			}
			for (j = 0; j < geo->nr_data; j++) {
				own(geo, shape, map.data[j], i,
					(row * geo->nr_data + j) * geo->chunk + i % geo->chunk);
			}
		}
	}
	assert_int_equal(geo->array_size, row * geo->nr_data * geo->chunk);
}

/* Every place of the members, inside and outside, against xbdev__md_raid10_sector(). */
static void check_inverse(const struct xbdev_md_geometry *geo, uint64_t size)
{
	uint64_t sector;
	uint32_t role;

	for (role = 0; role < geo->raid_disks; role++) {
		for (sector = 0; sector < size + geo->chunk; sector++) {
			uint64_t found = xbdev__md_raid10_sector(geo, role, sector);

			if (sector < MEMBER_MAX && owners[role][sector] != 0) {
				assert_int_equal(found, owners[role][sector] - 1);
			} else {
				assert_true(found == UINT64_MAX);
			}
		}
	}
}

static void check_shape(const struct xbdev_md_shape *shape)
{
	struct xbdev_md_geometry geo;

	make(&geo, shape);
	memset(owners, 0, sizeof(owners));
	if (geo.nr_parity > 0) {
		own_rows(&geo, shape);
	} else {
		own_copies(&geo, shape);
	}
	if (geo.level == 10) {
		check_inverse(&geo, shape->size);
	}
}

/* Linux puts two chunks on one place there. */
static int is_refused(uint32_t nr_disks, uint32_t near, uint32_t far, uint32_t offset)
{
	return offset != 0 && far > 1 && nr_disks % near != 0;
}

/* One shape of raid10; the last row of `far` rows may be partial, and so may the last chunk. */
static uint32_t check_raid10(uint32_t nr_disks, uint32_t near, uint32_t far, uint32_t offset)
{
	struct xbdev_md_shape shape = {.level = 10, .raid_disks = nr_disks, .chunk = 8};
	struct xbdev_md_geometry geo;
	uint32_t rows;

	shape.layout = near | far << 8 | offset;
	for (rows = 1; rows <= 9; rows++) {
		shape.size = rows * 8 + rows % 3;
		if (is_refused(nr_disks, near, far, offset) || rows < far) {
			assert_int_not_equal(xbdev__md_geometry_init(&geo, &shape, NULL), 0);
		} else {
			check_shape(&shape);
		}
	}
	return 1;
}

static void test_geometry_raid10_inverse_of_all_small_shapes(void **state)
{
	uint32_t n, near, far, count = 0;

	(void)state;
	for (n = 2; n <= 7; n++) {
		for (near = 1; near <= n; near++) {
			for (far = 1; near * far <= n; far++) {
				if (near * far >= 2) {
					count += check_raid10(n, near, far, 0);
					count += check_raid10(n, near, far, OFFSET);
				}
			}
		}
	}
	assert_true(count > 80);
}

/* The sizes of arrays whose last rows are not full, counted by hand. */
static void test_geometry_raid10_partial_rows(void **state)
{
	static const struct {
		uint32_t nr_disks, layout;
		uint64_t size, member_size, array_size;
	} shapes[] = {
		/* 3 members, 5 rows: 15 places hold 7 chunks twice, one place is left. */
		{3, 0x102, 5 * 8 + 7, 5 * 8, 7 * 8},
		/* 5 members, 3 copies, 4 rows: 20 places hold 6 chunks. */
		{5, 0x103, 4 * 8, 4 * 8, 6 * 8},
		/* 4 members, far=2: of 5 rows 4 are used, 2 for each copy. */
		{4, 0x201, 5 * 8, 4 * 8, 8 * 8},
		{3, 0x301 | OFFSET, 8 * 8, 6 * 8, 6 * 8},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct xbdev_md_shape shape = {.level = 10,
			.layout = shapes[i].layout,
			.raid_disks = shapes[i].nr_disks,
			.chunk = 8,
			.size = shapes[i].size};
		struct xbdev_md_geometry geo;

		make(&geo, &shape);
		assert_int_equal(geo.member_size, shapes[i].member_size);
		assert_int_equal(geo.array_size, shapes[i].array_size);
	}
}

/* Past 32 bits of sectors, where only some sectors can be tried. */
static void test_geometry_raid10_inverse_of_huge_shapes(void **state)
{
	static const uint32_t layouts[] = {
		0x102, 0x103, 0x201, 0x301, 0x201 | OFFSET, 0x301 | OFFSET, 0x202};
	struct xu_random random;
	uint32_t i, j, k;

	(void)state;
	xu_random_seed(&random, 11);
	for (i = 0; i < 1000; i++) {
		struct xbdev_md_shape shape = {.level = 10,
			.layout = layouts[i % 7],
			.raid_disks = 4 + (uint32_t)xu_random_below(&random, 29),
			.chunk = 8u << xu_random_below(&random, 12),
			.size = ((uint64_t)1 << 40) + xu_random_below(&random, (uint64_t)1 << 48)};
		struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
		struct xbdev_md_geometry geo;
		uint64_t len;

		make(&geo, &shape);
		for (j = 0; j < 20; j++) {
			uint64_t sector = j == 0 ? geo.array_size - 1
						 : xu_random_below(&random, geo.array_size);
			uint32_t nr_places = xbdev__md_copies(&geo, sector, places, &len);

			assert_int_equal(nr_places, geo.near * geo.far);
			for (k = 0; k < nr_places; k++) {
				assert_true(places[k].sector < geo.member_size);
				assert_true(xbdev__md_raid10_sector(&geo, places[k].role,
						    places[k].sector) == sector);
			}
		}
	}
}

static struct xbdev_md_shape random_shape(struct xu_random *random)
{
	static const int32_t levels[] = {-1, 0, 1, 4, 5, 6, 10};
	static const uint32_t raid6[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20};
	static const uint32_t raid10[] = {
		0x102, 0x103, 0x201, 0x301, 0x201 | OFFSET, 0x301 | OFFSET};
	struct xbdev_md_shape shape = {.level = levels[xu_random_below(random, 7)],
		.raid_disks = 4 + (uint32_t)xu_random_below(random, 29),
		.chunk = 8u << xu_random_below(random, 4),
		.size = 64 + xu_random_below(random, MEMBER_MAX / 4),
		.has_raid0_layout = true};
	uint32_t i;

	if (shape.level == 0) {
		shape.layout = 1 + (uint32_t)xu_random_below(random, 2);
	} else if (shape.level == 5) {
		shape.layout = (uint32_t)xu_random_below(random, 6);
	} else if (shape.level == 6) {
		shape.layout = raid6[xu_random_below(random, 14)];
	} else if (shape.level == 10) {
		shape.layout = raid10[xu_random_below(random, 6)];
		shape.size += 256; /* enough for three rows */
	} else if (shape.level < 0 && xu_random_below(random, 2) == 0) {
		shape.chunk = (uint32_t)xu_random_below(random, 50);
	}
	for (i = 0; i < shape.raid_disks; i++) {
		/* Some equal, some not. */
		shape.data_sizes[i] = xu_random_below(random, 2) == 0
					      ? 512
					      : 64 + xu_random_below(random, MEMBER_MAX - 64);
	}
	return shape;
}

static void test_geometry_no_two_sectors_share_a_place(void **state)
{
	struct xu_random random;
	uint32_t i;

	(void)state;
	xu_random_seed(&random, 12);
	for (i = 0; i < 500; i++) {
		struct xbdev_md_shape shape = random_shape(&random);

		check_shape(&shape);
	}
}

/* Nothing that a member has for data is left unused, but for what is less than a chunk. */
static void test_geometry_sizes_of_unequal_members(void **state)
{
	struct xbdev_md_shape shape = {.level = 0,
		.layout = XBDEV_MD_RAID0_ALTERNATE,
		.has_raid0_layout = true,
		.raid_disks = 3,
		.chunk = 8,
		.data_sizes = {100, 50, 75}};
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	struct xbdev_md_geometry geo;
	uint64_t len;

	(void)state;
	make(&geo, &shape);
	assert_int_equal(geo.array_size, 96 + 48 + 72);
	assert_int_equal(geo.nr_zones, 3);
	assert_int_equal(geo.zones[1].array_start, 3 * 48);
	assert_int_equal(geo.zones[1].nr_members, 2);
	assert_int_equal(geo.zones[1].members[1], 2);
	shape.level = -1;
	make(&geo, &shape);
	assert_int_equal(geo.array_size, 96 + 48 + 72);
	shape.chunk = 0;
	make(&geo, &shape);
	assert_int_equal(geo.array_size, 225);
	/* All that is left of a member is one run. */
	xbdev__md_copies(&geo, 110, places, &len);
	assert_int_equal(places[0].role, 1);
	assert_int_equal(places[0].sector, 10);
	assert_int_equal(len, 40);
}

/* Members of two sizes: who is alone at the end needs no layout; two do. */
static void test_geometry_raid0_layout_is_needed(void **state)
{
	struct xbdev_md_shape shape = {
		.level = 0, .raid_disks = 3, .chunk = 8, .data_sizes = {64, 64, 128}};
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	struct xbdev_md_geometry geo;
	struct xu_error err = {0};
	uint64_t len;

	(void)state;
	make(&geo, &shape);
	assert_int_equal(xbdev__md_copies(&geo, 3 * 64, places, &len), 1);
	assert_int_equal(places[0].role, 2);
	assert_int_equal(places[0].sector, 64);
	assert_int_equal(len, 64);
	shape.data_sizes[1] = 128;
	assert_int_equal(xbdev__md_geometry_init(&geo, &shape, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "two ways"));
	/* The zone begins with chunk 24 of the array, an even one: members[0] by both layouts. */
	shape.has_raid0_layout = true;
	shape.layout = XBDEV_MD_RAID0_ORIGINAL;
	make(&geo, &shape);
	xbdev__md_copies(&geo, 3 * 64, places, &len);
	assert_int_equal(places[0].role, 1);
	/* With one chunk more in the first zone they differ. */
	shape.data_sizes[0] = 72;
	make(&geo, &shape);
	xbdev__md_copies(&geo, 3 * 72, places, &len);
	assert_int_equal(places[0].role, 2);
	shape.layout = XBDEV_MD_RAID0_ALTERNATE;
	make(&geo, &shape);
	xbdev__md_copies(&geo, 3 * 72, places, &len);
	assert_int_equal(places[0].role, 1);
}

/* ---- rows ---- */

struct expected {
	uint32_t p, q, first; /* role of data 0; the others follow, round or ascending */
	int is_round;
	uint32_t width; /* members that take part in the round */
};

/* The formulas of docs/raid.md, for row s of n members. */
static struct expected raid6_row(uint32_t layout, uint64_t s, uint32_t n)
{
	uint32_t w = n - 1; /* of the layouts where the last member holds Q */
	uint32_t left = n - 1 - (uint32_t)(s % n), right = (uint32_t)(s % n);
	uint32_t left6 = w - 1 - (uint32_t)(s % w), right6 = (uint32_t)(s % w);
	uint32_t next = n - 1 - (uint32_t)((s + 1) % n);

	switch (layout) {
	case 0:
		return (struct expected){left, (left + 1) % n, 0, 0, n};
	case 1:
	case 8:
		return (struct expected){right, (right + 1) % n, 0, 0, n};
	case 2:
		return (struct expected){left, (left + 1) % n, (left + 2) % n, 1, n};
	case 3:
		return (struct expected){right, (right + 1) % n, (right + 2) % n, 1, n};
	case 4:
		return (struct expected){0, 1, 2, 0, n};
	case 5:
		return (struct expected){n - 2, n - 1, 0, 0, n};
	case 9:
		return (struct expected){next, (next + 1) % n, 0, 0, n};
	case 10:
		return (struct expected){left, (left + n - 1) % n, (left + 1) % n, 1, n};
	case 16:
		return (struct expected){left6, n - 1, 0, 0, n};
	case 17:
		return (struct expected){right6, n - 1, 0, 0, n};
	case 18:
		return (struct expected){left6, n - 1, (left6 + 1) % w, 1, w};
	case 19:
		return (struct expected){right6, n - 1, (right6 + 1) % w, 1, w};
	default:
		assert_int_equal(layout, 20);
		return (struct expected){0, n - 1, 1, 0, n};
	}
}

static struct expected raid5_row(uint32_t layout, uint64_t s, uint32_t n)
{
	uint32_t left = n - 1 - (uint32_t)(s % n), right = (uint32_t)(s % n);

	switch (layout) {
	case 0:
		return (struct expected){left, n, 0, 0, n};
	case 1:
		return (struct expected){right, n, 0, 0, n};
	case 2:
		return (struct expected){left, n, (left + 1) % n, 1, n};
	case 3:
		return (struct expected){right, n, (right + 1) % n, 1, n};
	case 4:
		return (struct expected){0, n, 1, 0, n};
	default:
		return (struct expected){n - 1, n, 0, 0, n};
	}
}

static void check_exponents(
	const struct xbdev_md_geometry *geo, const struct xbdev_md_row *row, int is_ddf)
{
	uint32_t seen = 0;
	uint32_t i, role, rank;

	for (i = 0; i < geo->nr_data; i++) {
		/* How many data members there are from behind Q to this one. */
		rank = 0;
		for (role = (row->q + 1) % geo->raid_disks; role != row->data[i];
			role = (role + 1) % geo->raid_disks) {
			rank += role != row->p;
		}
		assert_int_equal(row->exponent[i], is_ddf ? row->data[i] : rank);
		assert_int_equal(seen >> row->exponent[i] & 1, 0);
		seen |= (uint32_t)1 << row->exponent[i];
	}
}

static void check_row(const struct xbdev_md_geometry *geo, uint64_t s)
{
	uint32_t n = geo->raid_disks;
	struct expected e = geo->level == 6   ? raid6_row(geo->layout, s, n)
			    : geo->level == 5 ? raid5_row(geo->layout, s, n)
					      : raid5_row(5, s, n);
	struct xbdev_md_row row;
	uint32_t role = e.first;
	uint32_t i;

	xbdev__md_row(geo, s, &row);
	assert_int_equal(row.p, e.p);
	if (geo->nr_parity == 2) {
		assert_int_equal(row.q, e.q);
	}
	for (i = 0; i < geo->nr_data; i++) {
		while (!e.is_round && (role == e.p || role == e.q)) {
			role++;
		}
		assert_int_equal(row.data[i], role);
		role = e.is_round ? (role + 1) % e.width : role + 1;
	}
	if (geo->nr_parity == 2) {
		check_exponents(geo, &row, geo->layout >= 8 && geo->layout <= 10);
	}
}

static void test_geometry_rows_of_any_number_of_members(void **state)
{
	static const int32_t levels[] = {4, 5, 6};
	struct xbdev_md_shape shape = {.chunk = 128, .size = (uint64_t)1 << 45};
	struct xbdev_md_geometry geo;
	uint64_t s;
	uint32_t i, nr_layouts = 0;

	(void)state;
	for (i = 0; i < 3; i++) {
		shape.level = levels[i];
		for (shape.layout = 0; shape.layout < 32; shape.layout++) {
			shape.raid_disks = 4;
			if (xbdev__md_geometry_init(&geo, &shape, NULL) != 0) {
				continue;
			}
			nr_layouts++;
			shape.raid_disks = shape.level == 6 ? 4 : 2;
			for (; shape.raid_disks <= XBDEV_MD_MAX_DISKS; shape.raid_disks++) {
				make(&geo, &shape);
				for (s = 0; s < 70; s++) {
					check_row(&geo, s);
					check_row(&geo, s * 0x12345678 % (geo.member_size / 128));
				}
			}
		}
	}
	/* raid4 by either number, six of raid5, fourteen of raid6. */
	assert_int_equal(nr_layouts, 2 + 6 + 14);
}

/* ---- what is refused ---- */

static void test_geometry_refuses(void **state)
{
	static const struct {
		int32_t level;
		uint32_t layout, raid_disks, chunk;
		uint64_t size;
		int code;
		const char *text;
	} refused[] = {
		{2, 0, 4, 8, 100, -EOPNOTSUPP, "level 2"},
		{-4, 0, 4, 8, 100, -EOPNOTSUPP, "level -4"},
		{5, 2, 1, 8, 100, -EINVAL, "raid5 has 2 to 32 members here, not 1"},
		{6, 2, 3, 8, 100, -EINVAL, "raid6 has 4 to 32"},
		{1, 0, 33, 0, 100, -EINVAL, "not 33"},
		{1, 0, 0, 0, 100, -EINVAL, "not 0"},
		{5, 2, 4, 4, 100, -EINVAL, "a chunk of 2048 bytes"},
		{5, 2, 4, 24, 100, -EINVAL, "a chunk of 12288 bytes"},
		{0, 1, 4, 0, 100, -EINVAL, "a chunk of 0 bytes"},
		{10, 0x102, 4, UINT32_MAX, 100, -EINVAL, "a chunk of"},
		{5, 6, 4, 8, 100, -EOPNOTSUPP, "layout 6 of raid5"},
		{4, 1, 4, 8, 100, -EOPNOTSUPP, "layout 1 of raid4"},
		{6, 7, 4, 8, 100, -EOPNOTSUPP, "layout 7 of raid6"},
		{6, 21, 4, 8, 100, -EOPNOTSUPP, "layout 21 of raid6"},
		{0, 3, 4, 8, 100, -EOPNOTSUPP, "raid0 layout 3"},
		{5, 2, 4, 8, 0, -EINVAL, "0 sectors"},
		{5, 2, 4, 8, 7, -EINVAL, "an array of 0 sectors"},
		{0, 1, 4, 8, 7, -EINVAL, "less than a chunk"},
		{-1, 0, 4, 101, 100, -EINVAL, "an array of 0 sectors"},
		{1, 0, 2, 0, UINT64_MAX, -EINVAL, "are possible"},
		{5, 2, 32, 8, (uint64_t)1 << 54, -EINVAL, "an array of"},
		{-1, 0, 32, 0, (uint64_t)1 << 54, -EINVAL, "an array of"},
		{10, 0x102, 1, 8, 100, -EINVAL, "raid10 has 2 to 32"},
		{10, 0x101, 4, 8, 100, -EINVAL, "layout 0x101"},
		{10, 0x105, 4, 8, 100, -EINVAL, "layout 0x105"},
		{10, 0x303, 8, 8, 100, -EINVAL, "layout 0x303"},
		{10, 0x002, 4, 8, 100, -EINVAL, "layout 0x2"},
		{10, 0x200, 4, 8, 100, -EINVAL, "layout 0x200"},
		{10, 0x80102, 4, 8, 100, -EINVAL, "layout 0x80102"},
		{10, 0x40201, 4, 8, 100, -EOPNOTSUPP, "sets of members"},
		{10, 0x20201, 4, 8, 100, -EOPNOTSUPP, "sets of members"},
		{10, 0x10202, 5, 8, 100, -EOPNOTSUPP, "divisible by 2, not 5"},
		{10, 0x201, 4, 8, 15, -EINVAL, "an array of 0 sectors"},
	};
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct xbdev_md_shape shape = {.level = refused[i].level,
			.layout = refused[i].layout,
			.has_raid0_layout = true,
			.raid_disks = refused[i].raid_disks,
			.chunk = refused[i].chunk,
			.size = refused[i].size};
		struct xbdev_md_geometry geo;
		struct xu_error err = {0};

		for (j = 0; j < XBDEV_MD_MAX_DISKS; j++) {
			shape.data_sizes[j] = refused[i].size;
		}
		assert_int_equal(xbdev__md_geometry_init(&geo, &shape, &err), refused[i].code);
		if (strstr(err.text, refused[i].text) == NULL) {
			fail_msg("\"%s\" does not say \"%s\"", err.text, refused[i].text);
		}
	}
}

/* Any 32 or 64 bits, small numbers and powers of two more often than others. */
static uint64_t wild(struct xu_random *random)
{
	switch (xu_random_below(random, 4)) {
	case 0:
		return xu_random_below(random, 40);
	case 1:
		return (uint64_t)1 << xu_random_below(random, 64);
	case 2:
		return ((uint64_t)1 << xu_random_below(random, 64)) - 1;
	default:
		return xu_random_u64(random) >> xu_random_below(random, 64);
	}
}

static struct xbdev_md_shape wild_shape(struct xu_random *random)
{
	struct xbdev_md_shape shape = {.level = (int32_t)xu_random_below(random, 13) - 2,
		.layout = (uint32_t)wild(random),
		.has_raid0_layout = xu_random_below(random, 2) == 0,
		.raid_disks = (uint32_t)wild(random),
		.chunk = (uint32_t)wild(random),
		.size = wild(random)};
	uint32_t i;

	if (shape.level == 10) {
		shape.layout =
			(uint32_t)(xu_random_below(random, 6) | xu_random_below(random, 6) << 8 |
				   xu_random_below(random, 2) << 16);
	}
	for (i = 0; i < XBDEV_MD_MAX_DISKS; i++) {
		shape.data_sizes[i] = wild(random) | 64;
	}
	return shape;
}

/* Whatever a superblock says, it is refused or its first and last sectors are inside the members.
 */
static void test_geometry_wild_shapes(void **state)
{
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	uint32_t i, j, k, nr_taken = 0;
	struct xu_random random;
	uint64_t len;

	(void)state;
	xu_random_seed(&random, 13);
	for (i = 0; i < 200000; i++) {
		struct xbdev_md_shape shape = wild_shape(&random);
		struct xbdev_md_geometry geo;

		if (xbdev__md_geometry_init(&geo, &shape, NULL) != 0) {
			continue;
		}
		nr_taken++;
		for (j = 0; j < 2 && geo.nr_parity == 0; j++) {
			uint64_t sector = j == 0 ? 0 : geo.array_size - 1;
			uint32_t nr_places = xbdev__md_copies(&geo, sector, places, &len);

			assert_in_range(nr_places, 1, XBDEV_MD_MAX_DISKS);
			assert_true(len >= 1 && len <= geo.array_size - sector);
			for (k = 0; k < nr_places; k++) {
				assert_true(places[k].role < geo.raid_disks);
				assert_true(
					places[k].sector < limit_of(&geo, &shape, places[k].role));
			}
		}
		if (geo.nr_parity > 0) {
			check_row(&geo, 0);
			check_row(&geo, geo.member_size / geo.chunk - 1);
			assert_true(geo.array_size == geo.member_size * geo.nr_data);
		}
	}
	assert_true(nr_taken > 1000);
}

/* ---- names ---- */

static void test_geometry_layout_names(void **state)
{
	static const struct {
		int32_t level;
		uint32_t layout;
		const char *name, *alias;
	} names[] = {
		{0, 1, "original", "default"},
		{0, 2, "alternate", NULL},
		{5, 0, "left-asymmetric", "la"},
		{5, 1, "right-asymmetric", "ra"},
		{5, 2, "left-symmetric", "ls"},
		{5, 3, "right-symmetric", "rs"},
		{5, 2, "left-symmetric", "default"},
		{5, 0, "left-asymmetric", "ddf-N-restart"},
		{5, 1, "right-asymmetric", "ddf-zero-restart"},
		{5, 2, "left-symmetric", "ddf-N-continue"},
		{5, 4, "parity-first", NULL},
		{5, 5, "parity-last", NULL},
		{6, 0, "left-asymmetric", "la"},
		{6, 1, "right-asymmetric", "ra"},
		{6, 2, "left-symmetric", "ls"},
		{6, 2, "left-symmetric", "default"},
		{6, 3, "right-symmetric", "rs"},
		{6, 4, "parity-first", NULL},
		{6, 5, "parity-last", NULL},
		{6, 8, "ddf-zero-restart", NULL},
		{6, 9, "ddf-N-restart", NULL},
		{6, 10, "ddf-N-continue", NULL},
		{6, 16, "left-asymmetric-6", NULL},
		{6, 17, "right-asymmetric-6", NULL},
		{6, 18, "left-symmetric-6", NULL},
		{6, 19, "right-symmetric-6", NULL},
		{6, 20, "parity-first-6", NULL},
		{10, 0x102, "near=2", "n2"},
		{10, 0x102, "near=2", "default"},
		{10, 0x104, "near=4", "n4"},
		{10, 0x201, "far=2", "f2"},
		{10, 0x10301, "offset=3", "o3"},
		{10, 0x202, "near=2, far=2", "n2,f2"},
		{10, 0x10202, "near=2, offset=2", "n2, o2"},
	};
	char buf[32];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct xbdev_md_shape shape = {.level = names[i].level,
			.layout = names[i].layout,
			.has_raid0_layout = true,
			.raid_disks = 4,
			.chunk = 8,
			.size = 100,
			.data_sizes = {100, 100, 100, 100}};
		struct xbdev_md_geometry geo;
		uint32_t layout = 999;

		make(&geo, &shape);
		assert_string_equal(xbdev__md_layout_name(&geo, buf), names[i].name);
		assert_int_equal(
			xbdev__md_layout_parse(names[i].level, names[i].name, &layout, NULL), 0);
		assert_int_equal(layout, names[i].layout);
		if (names[i].alias != NULL) {
			layout = 999;
			assert_int_equal(xbdev__md_layout_parse(
						 names[i].level, names[i].alias, &layout, NULL),
				0);
			assert_int_equal(layout, names[i].layout);
		}
	}
}

static void test_geometry_layout_names_refused(void **state)
{
	static const struct {
		int32_t level;
		const char *text, *says;
	} refused[] = {
		{0, "left-symmetric", "original and alternate"},
		{1, "near=2", "only raid0, raid5, raid6 and raid10"},
		{4, "parity-last", "only raid0"},
		{5, "parity-first-6", "left-asymmetric, right-asymmetric, left-symmetric"},
		{5, "", "parity-last"},
		{6, "lr", "right-symmetric-6, parity-first-6"},
		{10, "ls", "nN, fN, oN"},
		{10, "n", "near=N"},
		{10, "n0", "near=N"},
		{10, "n1", "near=N"},
		{10, "n2x", "near=N"},
		{10, "n2,", "near=N"},
		{10, "f2,n2", "near=N"},
		{10, "n33", "2 to 32"},
		{10, "n99999999999999999999", "2 to 32"},
		{10, "n8,f8", "2 to 32"},
		{10, "far=-2", "near=N"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct xu_error err = {0};
		uint32_t layout = 999;

		assert_int_equal(
			xbdev__md_layout_parse(refused[i].level, refused[i].text, &layout, &err),
			-EINVAL);
		assert_int_equal(layout, 999);
		if (strstr(err.text, refused[i].says) == NULL) {
			fail_msg("\"%s\" does not say \"%s\"", err.text, refused[i].says);
		}
	}
}

static void test_geometry_levels_without_layouts_have_no_name(void **state)
{
	static const int32_t levels[] = {-1, 1, 4};
	struct xbdev_md_shape shape = {
		.raid_disks = 2, .chunk = 8, .size = 100, .data_sizes = {100, 100}};
	struct xbdev_md_geometry geo;
	char buf[32];
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		shape.level = levels[i];
		make(&geo, &shape);
		assert_null(xbdev__md_layout_name(&geo, buf));
		assert_int_equal(xbdev__md_layout_default(levels[i]), 0);
	}
	/* Not recorded, and not needed with one zone. */
	shape.level = 0;
	shape.layout = 1;
	make(&geo, &shape);
	assert_null(xbdev__md_layout_name(&geo, buf));
	assert_int_equal(xbdev__md_layout_default(0), 1);
	assert_int_equal(xbdev__md_layout_default(5), 2);
	assert_int_equal(xbdev__md_layout_default(6), 2);
	assert_int_equal(xbdev__md_layout_default(10), 0x102);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geometry_raid10_inverse_of_all_small_shapes),
		cmocka_unit_test(test_geometry_raid10_partial_rows),
		cmocka_unit_test(test_geometry_raid10_inverse_of_huge_shapes),
		cmocka_unit_test(test_geometry_no_two_sectors_share_a_place),
		cmocka_unit_test(test_geometry_sizes_of_unequal_members),
		cmocka_unit_test(test_geometry_raid0_layout_is_needed),
		cmocka_unit_test(test_geometry_rows_of_any_number_of_members),
		cmocka_unit_test(test_geometry_refuses),
		cmocka_unit_test(test_geometry_wild_shapes),
		cmocka_unit_test(test_geometry_layout_names),
		cmocka_unit_test(test_geometry_layout_names_refused),
		cmocka_unit_test(test_geometry_levels_without_layouts_have_no_name),
	};

	return cmocka_run_group_tests_name("xbdev_raid_geometry", tests, NULL, NULL);
}
