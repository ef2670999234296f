/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and texts for people: each unit and the edges between them, and texts that would steer a
 * terminal. */
#include "cli/format.h"
#include "test/unit/util/test.h"

static void test_format_bytes_picks_the_unit(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1, "1 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{1025, "1 KiB"},
		{1536, "1.5 KiB"},
		{1280, "1.25 KiB"},
		{102400, "100 KiB"},
		{1048571, "1 MiB"}, /* not "1024 KiB" */
		{1048560, "1023.98 KiB"},
		{1536ull << 20, "1.5 GiB"},
		{1ull << 40, "1 TiB"},
		{7ull << 50, "7 PiB"},
		{1ull << 63, "8 EiB"},
		{UINT64_MAX, "16 EiB"},
	};
	char text[FORMAT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		format_bytes(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_format_ns_keeps_three_digits(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0"},
		{1, "1 ns"},
		{999, "999 ns"},
		{1000, "1.00 us"},
		{9994, "9.99 us"},
		{9996, "10.0 us"},
		{12345, "12.3 us"},
		{99960, "100 us"},
		{999499, "999 us"},
		{999500, "1.00 ms"},
		{1000000000, "1.00 s"},
		{99999999999, "100 s"},
		{100000000000, "1 min 40 s"},
		{3599000000000, "59 min 59 s"},
		{3600000000000, "1 h 0 min"},
		{86399000000000, "23 h 59 min"},
		{86400000000000, "1 d 0 h"},
		{UINT64_MAX, "213503 d 23 h"},
	};
	char text[FORMAT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		format_ns(cases[i].ns, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_format_rate_drops_decimals(void **state)
{
	static const struct {
		double rate;
		const char *text;
	} cases[] = {
		{0, "0"},
		{0.004, "0.00"},
		{1, "1.00"},
		{9.994, "9.99"},
		{9.996, "10.0"},
		{99.94, "99.9"},
		{99.96, "100"},
		{123456.7, "123457"},
	};
	char text[FORMAT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		format_rate(cases[i].rate, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_format_clean_lets_nothing_steer(void **state)
{
	static const struct {
		const char *text, *clean;
		size_t columns;
	} cases[] = {
		{"", "", 0},
		{"plain ~", "plain ~", 7},
		{"a\033[31mb", "a?[31mb", 7},
		{"\a\b\t\n\r\177", "??????", 6},
		{"\xc3\xbc", "\xc3\xbc", 1},                 /* u with two dots */
		{"\xe2\x82\xac", "\xe2\x82\xac", 1},         /* euro */
		{"\xf0\x9f\x92\xbe", "\xf0\x9f\x92\xbe", 1}, /* a disk */
		{"\xc2\x9b"
		 "0m",
			"??0m", 4},              /* U+009B is ESC [ */
		{"\xc2\xa0", "\xc2\xa0", 1},     /* the first after these */
		{"\x9b", "?", 1},                /* no UTF-8 */
		{"\xc0\x9b", "??", 2},           /* ESC in two bytes */
		{"\xe0\x80\x9b", "???", 3},      /* in three */
		{"\xf0\x80\x80\x9b", "????", 4}, /* in four */
		{"\xc3", "?", 1},                /* ends too early */
		{"\xe2\x82", "??", 2},
		{"\xe2\x82x", "??x", 3},
		{"\xf4\x90\x80\x80", "????", 4}, /* above U+10FFFF */
		{"\xff\xfe", "??", 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[64] = "";
		FILE *out = fmemopen(text, sizeof(text), "w");

		assert_non_null(out);
		assert_int_equal(format_clean(cases[i].text, out), cases[i].columns);
		fclose(out);
		assert_string_equal(text, cases[i].clean);
	}
}

static void test_format_wrapped_breaks_at_spaces(void **state)
{
	static const struct {
		const char *text;
		size_t indent, width;
		const char *wrapped;
	} cases[] = {
		{"", 2, 10, "\n"},
		{"one", 2, 10, "one\n"},
		{"one two three", 0, 20, "one two three\n"},
		{"one two three", 0, 13, "one two three\n"},
		{"one two three", 0, 12, "one two\nthree\n"},
		{"one two three", 4, 11, "one two\n    three\n"},
		{"one two three", 4, 10, "one\n    two\n    three\n"},
		{"longer-than-the-line b", 4, 10, "longer-than-the-line\n    b\n"},
		{"a   b", 0, 10, "a b\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[128] = "";
		FILE *out = fmemopen(text, sizeof(text), "w");

		assert_non_null(out);
		format_wrapped(cases[i].text, cases[i].indent, cases[i].width, out);
		fclose(out);
		assert_string_equal(text, cases[i].wrapped);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_bytes_picks_the_unit),
		cmocka_unit_test(test_format_ns_keeps_three_digits),
		cmocka_unit_test(test_format_rate_drops_decimals),
		cmocka_unit_test(test_format_clean_lets_nothing_steer),
		cmocka_unit_test(test_format_wrapped_breaks_at_spaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
