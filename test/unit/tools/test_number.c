/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers as people write and read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/number.h"

static void test_sizes_are_read_with_their_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
		bool has_unit;
	} good[] = {
		{"0", 0, false},
		{"512", 512, false},
		{"512B", 512, true},
		{"4k", 4096, true},
		{"4KiB", 4096, true},
		{"4kb", 4096, true},
		{"3M", 3 << 20, true},
		{"2GiB", 2ull << 30, true},
		{"1T", 1ull << 40, true},
		{"8191P", 8191ull << 50, true},
		{"18446744073709551615", UINT64_MAX, false},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t bytes;
		bool has_unit;

		assert_true(tool_parse_size(good[i].text, &bytes, &has_unit));
		assert_true(bytes == good[i].bytes);
		assert_int_equal(has_unit, good[i].has_unit);
	}
}

static void test_what_is_no_size_is_refused(void **state)
{
	static const char *const bad[] = {"", "K", "-1", "+1", " 1", "1 ", "1.5G", "0x10", "1KiBs",
		"1Ki", "16384P", "18446744073709551616", "1BB", "1EiB"};
	uint64_t bytes = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(tool_parse_size(bad[i], &bytes, NULL));
		assert_int_equal(bytes, 7);
	}
}

static void test_numbers_keep_to_their_bounds(void **state)
{
	uint64_t number;

	assert_true(tool_parse_number("5", 1, 5, &number));
	assert_int_equal(number, 5);
	assert_false(tool_parse_number("6", 1, 5, &number));
	assert_false(tool_parse_number("0", 1, 5, &number));
	assert_false(tool_parse_number("5x", 1, 5, &number));
	assert_false(tool_parse_number("", 0, 5, &number));
}

static void test_times_are_read_with_their_units(void **state)
{
	static const char *const bad[] = {
		"", "s", "-1", "1d", "inf", "nan", "0x10", "1e3s", ".", "9999999999999h"};
	uint64_t ns;

	assert_true(tool_parse_time("10", &ns));
	assert_true(ns == 10000000000ull);
	assert_true(tool_parse_time("1.5s", &ns));
	assert_true(ns == 1500000000ull);
	assert_true(tool_parse_time("250ms", &ns));
	assert_true(ns == 250000000ull);
	assert_true(tool_parse_time("2m", &ns));
	assert_true(ns == 120000000000ull);
	assert_true(tool_parse_time("1h", &ns));
	assert_true(ns == 3600000000000ull);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(tool_parse_time(bad[i], &ns));
	}
}

static void test_cpus_are_read_as_a_list(void **state)
{
	static const char *const bad[] = {"", ",", "1,", "1-", "-1", "a", "1,,2", "65536", "0-64"};
	int cpus[64];

	assert_int_equal(tool_parse_cpus("0,2-4,1", cpus, 64), 5);
	assert_int_equal(cpus[0], 0);
	assert_int_equal(cpus[1], 2);
	assert_int_equal(cpus[3], 4);
	assert_int_equal(cpus[4], 1);
	assert_int_equal(tool_parse_cpus("0-63", cpus, 64), 64);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(tool_parse_cpus(bad[i], cpus, 64), 0);
	}
}

static void test_numbers_are_written_for_people(void **state)
{
	char text[TOOL_TEXT_SIZE];

	assert_string_equal(tool_format_size(0, text), "0 B");
	assert_string_equal(tool_format_size(1023, text), "1023 B");
	assert_string_equal(tool_format_size(1536, text), "1.50 KiB");
	assert_string_equal(tool_format_size(1ull << 40, text), "1.00 TiB");
	assert_string_equal(tool_format_count(0, text), "0");
	assert_string_equal(tool_format_count(999, text), "999");
	assert_string_equal(tool_format_count(1000, text), "1,000");
	assert_string_equal(tool_format_count(UINT64_MAX, text), "18,446,744,073,709,551,615");
	assert_string_equal(tool_format_time(1500, text), "1.5 us");
	assert_string_equal(tool_format_time(2500000, text), "2.50 ms");
	assert_string_equal(tool_format_time(3000000000ull, text), "3.00 s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_are_read_with_their_units),
		cmocka_unit_test(test_what_is_no_size_is_refused),
		cmocka_unit_test(test_numbers_keep_to_their_bounds),
		cmocka_unit_test(test_times_are_read_with_their_units),
		cmocka_unit_test(test_cpus_are_read_as_a_list),
		cmocka_unit_test(test_numbers_are_written_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
