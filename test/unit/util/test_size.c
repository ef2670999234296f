/* SPDX-License-Identifier: BSD-3-Clause */
/* Byte counts: every suffix, the edges of 64 bits, and what is refused. */
#include "lib/util/size.h"
#include "test/unit/util/test.h"

#include <errno.h>

static void test_size_parse_accepts(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{"0", 0},
		{"1", 1},
		{"512", 512},
		{"000512", 512},
		{"7B", 7},
		{"7b", 7},
		{"0P", 0},
		{"4K", 4096},
		{"4k", 4096},
		{"4KB", 4096},
		{"4KiB", 4096},
		{"4kib", 4096},
		{"4KIB", 4096},
		{"3M", 3ull << 20},
		{"256MiB", 256ull << 20},
		{"256 MiB", 256ull << 20},
		{"2G", 2ull << 30},
		{"2gb", 2ull << 30},
		{"5T", 5ull << 40},
		{"5TiB", 5ull << 40},
		{"6P", 6ull << 50},
		{"16383PiB", 16383ull << 50},
		{"18446744073709551615", UINT64_MAX},
		{"18014398509481983K", 18014398509481983ull << 10},
	};
	uint64_t bytes;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bytes = 99;
		assert_int_equal(xu_size_parse(cases[i].text, &bytes), 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void assert_refused(const char *const *texts, size_t count, int code)
{
	uint64_t bytes = 99;
	size_t i;

	for (i = 0; i < count; i++) {
		if (xu_size_parse(texts[i], &bytes) != code) {
			fail_msg("\"%s\" should give %d", texts[i], code);
		}
		assert_int_equal(bytes, 99);
	}
}

static void test_size_parse_refuses(void **state)
{
	static const char *const texts[] = {"", " ", "K", "KiB", "-1", "+1", " 1", "1 ", "1  K",
		"1 1", "1.5G", "0x10", "1KK", "1Ki", "1KiBx", "1BB", "1iB", "1E", "1X", "1,000",
		"1e3", "1\n", "99999999999999999999999X", "1\xc3\xa9"};

	assert_refused(texts, ARRAY_SIZE(texts), -EINVAL);
}

static void test_size_parse_says_out_of_range(void **state)
{
	static const char *const texts[] = {"18446744073709551616", "18446744073709551615K",
		"18014398509481984K", "16384P", "99999999999999999999", "36893488147419103232",
		"184467440737095516150", "99999999999999999999999B"};

	assert_refused(texts, ARRAY_SIZE(texts), -ERANGE);
}

static void test_size_format_picks_the_unit(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1, "1 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{1025, "1025 B"},
		{1280, "1.25 KiB"},
		{1536, "1.5 KiB"},
		{1792, "1.75 KiB"},
		{1664, "1664 B"}, /* 1.625 KiB needs three decimals */
		{256ull << 20, "256 MiB"},
		{1023ull << 20, "1023 MiB"},
		{(1ull << 30) + 1, "1073741825 B"},
		{(1ull << 30) + 1024, "1048577 KiB"},
		{5ull << 28, "1.25 GiB"},
		{3ull << 40, "3 TiB"},
		{7ull << 50, "7 PiB"},
		{1ull << 63, "8192 PiB"},
		{UINT64_MAX, "18446744073709551615 B"},
	};
	char text[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		xu_size_format(cases[i].bytes, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
	}
}

static void test_size_format_stays_in_its_buffer(void **state)
{
	char text[8];

	memset(text, 'x', sizeof(text));
	xu_size_format(UINT64_MAX, text, 5);
	assert_memory_equal(text, "1844\0xxx", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_parse_accepts),
		cmocka_unit_test(test_size_parse_refuses),
		cmocka_unit_test(test_size_parse_says_out_of_range),
		cmocka_unit_test(test_size_format_picks_the_unit),
		cmocka_unit_test(test_size_format_stays_in_its_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
