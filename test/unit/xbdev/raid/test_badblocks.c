/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/xbdev/raid/badblocks.c: the log that Linux wrote; what is refused of a log; and the table
 * against a plain array of flags, one per sector, over random additions and removals.
 */
#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xbdev/raid/badblocks.h"
#include "lib/xbdev/raid/super.h"
#include "test/unit/xbdev/raid/fixture.h"

#define ALL UINT64_MAX

static void assert_same(const struct xbdev_md_bad_blocks *a, const struct xbdev_md_bad_blocks *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->shift, b->shift);
	for (uint32_t i = 0; i < a->count; i++) {
		assert_int_equal(a->ranges[i].sector, b->ranges[i].sector);
		assert_int_equal(a->ranges[i].count, b->ranges[i].count);
	}
}

/* ---- the log ---- */

static void read_log(const struct md_fixture *f, uint32_t member, struct xbdev_md_super *ret_super,
	uint8_t *ret_log)
{
	uint8_t bytes[XBDEV_MD_SUPER_BYTES];

	md_fixture_read(f, member, 4096, bytes, sizeof(bytes));
	assert_int_equal(
		xbdev__md_super_parse(bytes, f->members[member].size_bytes / 512, ret_super, NULL),
		0);
	md_fixture_read(f, member,
		(uint64_t)(XBDEV_MD_SUPER_OFFSET + ret_super->bblog_offset) * 512, ret_log,
		XBDEV_MD_BAD_BLOCKS_BYTES);
}

static void test_badblocks_of_linux(void **state)
{
	uint8_t log[XBDEV_MD_BAD_BLOCKS_BYTES], again[XBDEV_MD_BAD_BLOCKS_BYTES];
	struct xbdev_md_bad_blocks bad;
	struct xbdev_md_super super;
	struct md_fixture f;
	uint32_t nr_ranges = 0;

	(void)state;
	md_fixture_open_heads(&f, "state-raid5-badblocks", 65536);
	for (uint32_t i = 0; i < f.nr_members; i++) {
		json_t *expected = json_object_get(f.members[i].json, "bad_blocks"), *range;
		size_t j;

		read_log(&f, i, &super, log);
		assert_int_equal(xbdev__md_super_has(&super, XBDEV_MD_F_BAD_BLOCKS),
			json_array_size(expected) != 0);
		if (!xbdev__md_super_has(&super, XBDEV_MD_F_BAD_BLOCKS)) {
			continue;
		}
		assert_int_equal(xbdev__md_bad_blocks_parse(log, super.bblog_shift, &bad, NULL), 0);
		assert_int_equal(bad.count, json_array_size(expected));
		json_array_foreach (expected, j, range) {
			assert_int_equal(
				bad.ranges[j].sector, json_integer_value(json_array_get(range, 0)));
			assert_int_equal(
				bad.ranges[j].count, json_integer_value(json_array_get(range, 1)));
			nr_ranges++;
		}
		bad.is_changed = true;
		xbdev__md_bad_blocks_format(&bad, again);
		assert_false(bad.is_changed);
		assert_memory_equal(again, log, sizeof(log));
	}
	assert_int_equal(nr_ranges, 2);
	md_fixture_close(&f);
}

#define ENTRY(sector, len) ((uint64_t)(sector) << 10 | (len))

static const struct {
	uint64_t entries[3]; /* the rest ends the list; 0 too, here */
	uint32_t shift;
	int rc;
	uint32_t count;
} logs[] = {
	{{ENTRY(4096, 8)}, 0, 0, 1},
	{{ENTRY(0, 1), ENTRY(1, 512)}, 0, 0, 2},
	{{ENTRY(0, 512), ENTRY(512, 512), ENTRY(1024, 1)}, 0, 0, 3},
	{{ENTRY(5, 1), ENTRY(7, 1)}, 3, 0, 2},
	{{UINT64_MAX, ENTRY(7, 0)}, 0, 0, 0}, /* behind the end there is nothing */
	{{ENTRY(4096, 0)}, 0, -EINVAL, 0},
	{{ENTRY(4096, 513)}, 0, -EINVAL, 0},
	{{ENTRY(4096, 1023)}, 0, -EINVAL, 0},
	{{ENTRY(10, 2), ENTRY(11, 1)}, 0, -EINVAL, 0},
	{{ENTRY(10, 2), ENTRY(9, 1)}, 0, -EINVAL, 0},
	{{ENTRY(10, 2), ENTRY(10, 2)}, 0, -EINVAL, 0},
	{{ENTRY((UINT64_C(1) << 54) - 1, 512)}, 0, 0, 1},
	{{ENTRY((UINT64_C(1) << 54) - 1, 1)}, 1, -EINVAL, 0},
	{{ENTRY((UINT64_C(1) << 50), 1)}, 14, -EINVAL, 0}, /* out of 64 bits */
	{{ENTRY(1, 1)}, 16, 0, 1},
	{{ENTRY(1, 1)}, 17, -EINVAL, 0},
	{{ENTRY(1, 1)}, 255, -EINVAL, 0},
};

static void put_entry(uint8_t *log, uint32_t index, uint64_t entry)
{
	for (uint32_t i = 0; i < 8; i++) {
		log[index * 8 + i] = (uint8_t)(entry >> 8 * i);
	}
}

static void test_badblocks_refuses_what_is_wrong(void **state)
{
	struct xbdev_md_bad_blocks bad, untouched;
	uint8_t log[XBDEV_MD_BAD_BLOCKS_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		struct xu_error err = {0};

		memset(log, 0xff, sizeof(log));
		memset(&bad, 0x5a, sizeof(bad));
		memset(&untouched, 0x5a, sizeof(untouched));
		for (uint32_t j = 0; j < 3; j++) {
			put_entry(
				log, j, logs[i].entries[j] != 0 ? logs[i].entries[j] : UINT64_MAX);
		}
		if (xbdev__md_bad_blocks_parse(log, logs[i].shift, &bad, &err) != logs[i].rc) {
			fail_msg("case %zu: '%s'", i, err.text);
		}
		if (logs[i].rc == 0) {
			assert_int_equal(bad.count, logs[i].count);
		} else {
			assert_true(err.text[0] != '\0');
			assert_memory_equal(&bad, &untouched, sizeof(bad));
		}
	}
}

static void test_badblocks_full_log_has_no_end(void **state)
{
	uint8_t log[XBDEV_MD_BAD_BLOCKS_BYTES], again[XBDEV_MD_BAD_BLOCKS_BYTES];
	struct xbdev_md_bad_blocks bad;
	uint64_t sector, count;

	(void)state;
	for (uint32_t i = 0; i < XBDEV_MD_BAD_BLOCKS; i++) {
		put_entry(log, i, ENTRY(i * 4, 2));
	}
	assert_int_equal(xbdev__md_bad_blocks_parse(log, 0, &bad, NULL), 0);
	assert_int_equal(bad.count, XBDEV_MD_BAD_BLOCKS);
	xbdev__md_bad_blocks_format(&bad, again);
	assert_memory_equal(again, log, sizeof(log));
	/* One more has no room, in a gap or behind; nothing is changed by that. */
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 4000, 1), -ENOSPC);
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 2046, 1), 0); /* grows the last */
	assert_int_equal(xbdev__md_bad_blocks_remove(&bad, 2045, 1), -ENOSPC);
	assert_int_equal(bad.count, XBDEV_MD_BAD_BLOCKS);
	assert_true(xbdev__md_bad_blocks_find(&bad, 2000, 3000, &sector, &count));
	assert_true(xbdev__md_bad_blocks_find(&bad, 2045, ALL, &sector, &count));
	assert_true(sector == 2045 && count == 2);
	/* Filling a gap makes one of two. */
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 2, 2), 0);
	assert_int_equal(bad.count, XBDEV_MD_BAD_BLOCKS - 1);
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 4000, 1), 0);
	/* What would need more than the whole table. */
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 0, 1u << 30), -ENOSPC);
}

/* ---- the table ---- */

static void test_badblocks_runs_take_no_more_ranges_than_they_must(void **state)
{
	struct xbdev_md_bad_blocks up = {0}, down = {0};

	(void)state;
	for (uint32_t i = 0; i < 1300; i++) {
		assert_int_equal(xbdev__md_bad_blocks_add(&up, 5000 + i, 1), 0);
		assert_int_equal(xbdev__md_bad_blocks_add(&down, 6299 - i, 1), 0);
		assert_int_equal(up.count, i / 512 + 1);
		assert_int_equal(down.count, i / 512 + 1);
	}
	assert_int_equal(up.ranges[2].sector, 6024);
	assert_int_equal(up.ranges[2].count, 276);
	assert_same(&up, &down);
}

static void test_badblocks_whole_units(void **state)
{
	struct xbdev_md_bad_blocks bad = {.shift = 3};
	uint64_t sector, count;

	(void)state;
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 15, 2), 0);
	assert_true(bad.is_changed);
	assert_true(xbdev__md_bad_blocks_find(&bad, 0, ALL, &sector, &count));
	assert_true(sector == 8 && count == 16);
	bad.is_changed = false;
	assert_int_equal(xbdev__md_bad_blocks_remove(&bad, 9, 14), 0); /* no whole unit */
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 9, 12), 0);    /* nothing new */
	assert_int_equal(xbdev__md_bad_blocks_add(&bad, 100, 0), 0);
	assert_false(bad.is_changed);
	assert_int_equal(xbdev__md_bad_blocks_remove(&bad, 9, 15), 0);
	assert_true(bad.is_changed);
	assert_true(xbdev__md_bad_blocks_find(&bad, 0, ALL, &sector, &count));
	assert_true(sector == 8 && count == 8);
	assert_false(xbdev__md_bad_blocks_find(&bad, 16, ALL, &sector, &count));
	assert_false(xbdev__md_bad_blocks_find(&bad, 0, 8, &sector, &count));
	assert_false(xbdev__md_bad_blocks_find(&bad, 9, 0, &sector, &count));
	assert_true(xbdev__md_bad_blocks_find(&bad, 9, 3, &sector, &count));
	assert_true(sector == 9 && count == 3);
}

#define NR_SECTORS 8192u

static void check_table(const struct xbdev_md_bad_blocks *bad, const uint8_t *flags)
{
	uint64_t end = 0;
	uint32_t nr_bad = 0, nr_flags = 0;

	for (uint32_t i = 0; i < bad->count; i++) {
		const struct xbdev_md_bad_range *range = &bad->ranges[i];

		assert_true(range->sector >= end && range->count > 0);
		assert_true(range->count >> bad->shift <= 512);
		assert_int_equal((range->sector | range->count) & ((1u << bad->shift) - 1), 0);
		end = range->sector + range->count;
		assert_true(end <= NR_SECTORS);
		for (uint64_t sector = range->sector; sector < end; sector++) {
			assert_int_equal(flags[sector], 1);
		}
		nr_bad += range->count;
	}
	for (uint32_t i = 0; i < NR_SECTORS; i++) {
		nr_flags += flags[i];
	}
	assert_int_equal(nr_bad, nr_flags);
}

static void check_find(
	const struct xbdev_md_bad_blocks *bad, const uint8_t *flags, struct xu_random *rnd)
{
	uint64_t from = xu_random_below(rnd, NR_SECTORS);
	uint64_t len = xu_random_below(rnd, NR_SECTORS - from), first = from, end;
	uint64_t sector = ALL, count = ALL;

	while (first < from + len && flags[first] == 0) {
		first++;
	}
	for (end = first; end < from + len && flags[end] != 0; end++) {
	}
	if (first == from + len) {
		assert_false(xbdev__md_bad_blocks_find(bad, from, len, &sector, &count));
		assert_true(sector == ALL && count == ALL);
	} else {
		assert_true(xbdev__md_bad_blocks_find(bad, from, len, &sector, &count));
		assert_int_equal(sector, first);
		assert_int_equal(count, end - first);
	}
}

static void check_log(const struct xbdev_md_bad_blocks *bad)
{
	uint8_t log[XBDEV_MD_BAD_BLOCKS_BYTES];
	struct xbdev_md_bad_blocks copy = *bad, again;

	xbdev__md_bad_blocks_format(&copy, log);
	assert_int_equal(xbdev__md_bad_blocks_parse(log, bad->shift, &again, NULL), 0);
	assert_same(&again, bad);
}

/* One random change of both. */
static void change(struct xbdev_md_bad_blocks *bad, uint8_t *flags, struct xu_random *rnd)
{
	uint64_t unit = UINT64_C(1) << bad->shift;
	uint64_t most = xu_random_below(rnd, 8) == 0 ? 1500 : 40;
	uint64_t sector = xu_random_below(rnd, NR_SECTORS - 1600);
	uint64_t count = xu_random_below(rnd, most), from, to;
	struct xbdev_md_bad_blocks before = *bad;
	bool is_add = xu_random_below(rnd, 5) < 3;
	int rc = is_add ? xbdev__md_bad_blocks_add(bad, sector, count)
			: xbdev__md_bad_blocks_remove(bad, sector, count);

	if (rc != 0) {
		assert_int_equal(rc, -ENOSPC);
		assert_same(bad, &before);
		return;
	}
	from = is_add ? sector / unit * unit : (sector + unit - 1) / unit * unit;
	to = is_add ? (sector + count + unit - 1) / unit * unit : (sector + count) / unit * unit;
	if (count != 0 && from < to) {
		memset(flags + from, is_add, to - from);
	}
}

static void test_badblocks_against_flags(void **state)
{
	static uint8_t flags[NR_SECTORS];
	struct xbdev_md_bad_blocks bad;
	struct xu_random rnd;

	(void)state;
	for (uint32_t round = 0; round < 24; round++) {
		xu_random_seed(&rnd, round);
		memset(&bad, 0, sizeof(bad));
		memset(flags, 0, sizeof(flags));
		bad.shift = round % 4;
		for (uint32_t i = 0; i < 2000; i++) {
			change(&bad, flags, &rnd);
			check_find(&bad, flags, &rnd);
			if (i % 16 == 0) {
				check_table(&bad, flags);
				check_log(&bad);
			}
		}
	}
}

/* The same with single sectors far apart, until there is no room. */
static void test_badblocks_against_flags_when_full(void **state)
{
	static uint8_t flags[NR_SECTORS];
	struct xbdev_md_bad_blocks bad = {0};
	struct xu_random rnd;
	uint32_t nr_full = 0;

	(void)state;
	xu_random_seed(&rnd, 99);
	memset(flags, 0, sizeof(flags));
	for (uint32_t i = 0; i < 20000; i++) {
		uint64_t sector = xu_random_below(&rnd, NR_SECTORS);
		bool is_add = xu_random_below(&rnd, 20) != 0;
		int rc = is_add ? xbdev__md_bad_blocks_add(&bad, sector, 1)
				: xbdev__md_bad_blocks_remove(&bad, sector, 1);

		if (rc == 0) {
			flags[sector] = is_add;
		}
		nr_full += rc != 0;
		if (i % 64 == 0) {
			check_table(&bad, flags);
			check_log(&bad);
		}
		check_find(&bad, flags, &rnd);
	}
	assert_true(nr_full > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_badblocks_of_linux),
		cmocka_unit_test(test_badblocks_refuses_what_is_wrong),
		cmocka_unit_test(test_badblocks_full_log_has_no_end),
		cmocka_unit_test(test_badblocks_runs_take_no_more_ranges_than_they_must),
		cmocka_unit_test(test_badblocks_whole_units),
		cmocka_unit_test(test_badblocks_against_flags),
		cmocka_unit_test(test_badblocks_against_flags_when_full),
	};

	return cmocka_run_group_tests_name("xbdev_raid_badblocks", tests, NULL, NULL);
}
