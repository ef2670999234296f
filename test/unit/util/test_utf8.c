/* SPDX-License-Identifier: BSD-3-Clause */
/* Characters of UTF-8 and what is none. */
#include "lib/util/utf8.h"

#include <string.h>

#include "test/unit/util/test.h"

static void test_utf8_reads_characters(void **state)
{
	static const struct {
		const char *bytes;
		uint32_t code;
	} cases[] = {{"a", 'a'}, {"\x7f", 0x7f}, {"\xc2\x80", 0x80}, {"\xdf\xbf", 0x7ff},
		{"\xe0\xa0\x80", 0x800}, {"\xed\x9f\xbf", 0xd7ff}, {"\xee\x80\x80", 0xe000},
		{"\xf0\x90\x80\x80", 0x10000}, {"\xf4\x8f\xbf\xbf", 0x10ffff}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].bytes);
		uint32_t code = 0;

		assert_int_equal(xu_utf8_char(cases[i].bytes, len, &code), len);
		assert_int_equal(code, cases[i].code);
		/* Cut it is none. */
		for (size_t cut = 1; cut < len; cut++) {
			assert_int_equal(xu_utf8_char(cases[i].bytes, cut, &code), 0);
		}
	}
}

static void test_utf8_refuses_what_is_none(void **state)
{
	static const char *const cases[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80", "\xff", "\xc3(", "\xe2\x82(", "\xf0\x9f\x98("};
	uint32_t code;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(xu_utf8_char(cases[i], strlen(cases[i]), &code), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_reads_characters),
		cmocka_unit_test(test_utf8_refuses_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
