/* SPDX-License-Identifier: BSD-3-Clause */
/* Where an array is used: zones that cover it whatever its size, counters that fade, what counts as
 * frequent use; and sets of regions. */
#include "lib/xbdev/raid/heat.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define KIB (1ull << 10)
#define TIB (1ull << 40)

static struct xbdev_md_heat heat;

static void test_heat_zones_cover_an_array_of_any_size(void **state)
{
	static const uint64_t sizes[] = {
		512, 64 * KIB, 64 * KIB + 512, 256 << 20, (256 << 20) + 512, TIB - 512, 9000 * TIB};

	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t last = sizes[i] - 512;

		xbdev__md_heat_init(&heat, sizes[i]);
		assert_in_range(heat.nr_zones, 1, XBDEV_MD_NR_REGIONS);
		assert_int_equal(last >> heat.shift, heat.nr_zones - 1);
		xbdev__md_heat_touch(&heat, last, 512, 0);
		assert_int_equal(xbdev__md_heat_of(&heat, last / 512, last / 512 + 1), 1);
	}
}

static void test_heat_is_where_it_is_used(void **state)
{
	xbdev__md_heat_init(&heat, 64 * 64 * KIB);
	for (uint32_t i = 0; i < 100; i++) {
		xbdev__md_heat_touch(&heat, 10 * 64 * KIB + i * 512, 512, 0);
	}
	/* One that lies in three zones. */
	xbdev__md_heat_touch(&heat, 20 * 64 * KIB - 512, 64 * KIB + 1024, 0);
	assert_int_equal(xbdev__md_heat_of(&heat, 10 * 128, 11 * 128), 100);
	assert_int_equal(xbdev__md_heat_of(&heat, 11 * 128, 12 * 128), 0);
	assert_int_equal(xbdev__md_heat_of(&heat, 9 * 128, 10 * 128), 0);
	assert_int_equal(xbdev__md_heat_of(&heat, 9 * 128, 10 * 128 + 1), 100);
	for (uint32_t zone = 19; zone <= 21; zone++) {
		assert_int_equal(xbdev__md_heat_of(&heat, zone * 128, zone * 128 + 128), 1);
	}
	assert_true(heat.total == 103);
	assert_true(xbdev__md_heat_enough(&heat) <= 100);
}

static void test_heat_of_an_even_load_is_not_enough(void **state)
{
	xbdev__md_heat_init(&heat, 64 * 64 * KIB);
	for (uint32_t i = 0; i < 64 * 50; i++) {
		xbdev__md_heat_touch(&heat, i % 64 * 64 * KIB, 512, 0);
	}
	for (uint32_t zone = 0; zone < 64; zone++) {
		assert_true(xbdev__md_heat_of(&heat, zone * 128, zone * 128 + 128) <
			    xbdev__md_heat_enough(&heat));
	}
	/* Half of it used, and the other half not: that is. */
	xbdev__md_heat_init(&heat, 64 * 64 * KIB);
	for (uint32_t i = 0; i < 32 * 50; i++) {
		xbdev__md_heat_touch(&heat, i % 32 * 64 * KIB, 512, 0);
	}
	assert_true(xbdev__md_heat_of(&heat, 0, 128) >= xbdev__md_heat_enough(&heat));
	/* A few I/Os are no load. */
	xbdev__md_heat_init(&heat, 64 * 64 * KIB);
	for (uint32_t i = 0; i < 7; i++) {
		xbdev__md_heat_touch(&heat, 0, 512, 0);
	}
	assert_true(xbdev__md_heat_of(&heat, 0, 128) < xbdev__md_heat_enough(&heat));
}

static void test_heat_fades(void **state)
{
	uint64_t now_ns = 0;

	xbdev__md_heat_init(&heat, 64 * 64 * KIB);
	for (uint32_t i = 0; i < 1000; i++) {
		xbdev__md_heat_touch(&heat, 0, 512, now_ns);
	}
	now_ns += XBDEV_MD_HEAT_HALF_NS - 1;
	xbdev__md_heat_touch(&heat, 64 * KIB, 512, now_ns);
	assert_int_equal(xbdev__md_heat_of(&heat, 0, 128), 1000);
	xbdev__md_heat_touch(&heat, 64 * KIB, 512, ++now_ns);
	assert_int_equal(xbdev__md_heat_of(&heat, 0, 128), 500);
	now_ns += 3 * XBDEV_MD_HEAT_HALF_NS;
	xbdev__md_heat_touch(&heat, 64 * KIB, 512, now_ns);
	assert_int_equal(xbdev__md_heat_of(&heat, 0, 128), 62);
	now_ns += 1000 * XBDEV_MD_HEAT_HALF_NS;
	xbdev__md_heat_touch(&heat, 64 * KIB, 512, now_ns);
	assert_int_equal(xbdev__md_heat_of(&heat, 0, 128), 0);
	assert_int_equal(heat.total, 1);
}

static void test_regions_are_a_set(void **state)
{
	struct xbdev_md_regions set = {0}, other = {0};

	assert_true(xbdev__md_regions_have(&set, 5, 5));
	assert_false(xbdev__md_regions_have(&set, 0, 1));
	assert_int_equal(xbdev__md_regions_sum(&set, 0, 10000), 0);
	xbdev__md_regions_set(&set, 100, 2);
	xbdev__md_regions_set(&set, 100, 3);
	xbdev__md_regions_set(&set, 100, XBDEV_MD_NR_REGIONS - 1);
	assert_true(xbdev__md_regions_have(&set, 200, 400));
	assert_true(xbdev__md_regions_have(&set, 250, 251));
	assert_false(xbdev__md_regions_have(&set, 199, 400));
	assert_false(xbdev__md_regions_have(&set, 399, 401));
	assert_int_equal(xbdev__md_regions_sum(&set, 0, 100 * XBDEV_MD_NR_REGIONS), 300);
	assert_int_equal(xbdev__md_regions_sum(&set, 250, 320), 70);
	assert_int_equal(xbdev__md_regions_sum(&set, 390, 500), 10);
	xbdev__md_regions_set(&other, 100, 3);
	xbdev__md_regions_set(&other, 100, 4);
	xbdev__md_regions_keep(&set, &other);
	assert_false(xbdev__md_regions_get(&set, 2));
	assert_true(xbdev__md_regions_get(&set, 3));
	assert_false(xbdev__md_regions_get(&set, 4));
	xbdev__md_regions_keep(&set, &(struct xbdev_md_regions){0});
	assert_false(xbdev__md_regions_get(&set, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heat_zones_cover_an_array_of_any_size),
		cmocka_unit_test(test_heat_is_where_it_is_used),
		cmocka_unit_test(test_heat_of_an_even_load_is_not_enough),
		cmocka_unit_test(test_heat_fades),
		cmocka_unit_test(test_regions_are_a_set),
	};

	return cmocka_run_group_tests_name("xbdev_raid_heat", tests, NULL, NULL);
}
