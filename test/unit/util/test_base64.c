/* SPDX-License-Identifier: BSD-3-Clause */
/* Base64: the examples of RFC 4648, every byte, and what is refused. */
#include "lib/util/base64.h"
#include "test/unit/util/test.h"

static void test_base64_rfc_examples(void **state)
{
	static const struct {
		const char *text, *bytes;
	} cases[] = {
		{"", ""},
		{"Zg==", "f"},
		{"Zm8=", "fo"},
		{"Zm9v", "foo"},
		{"Zm9vYg==", "foob"},
		{"Zm9vYmE=", "fooba"},
		{"Zm9vYmFy", "foobar"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = 99;
		char *text;
		uint8_t *bytes = xu_base64_decode(cases[i].text, &len);

		assert_non_null(bytes);
		assert_int_equal(len, strlen(cases[i].bytes));
		assert_memory_equal(bytes, cases[i].bytes, len);
		free(bytes);
		text = xu_base64_encode(cases[i].bytes, strlen(cases[i].bytes));
		assert_string_equal(text, cases[i].text);
		free(text);
	}
}

/* Every value of every byte of a group, against digits that are computed another way. */
static void test_base64_decode_every_byte(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (uint32_t place = 0; place < 3; place++) {
		for (uint32_t value = 0; value < 256; value++) {
			uint32_t group = value << (8 * place);
			const char text[] = {digits[group >> 18], digits[group >> 12 & 63],
				digits[group >> 6 & 63], digits[group & 63], '\0'};
			size_t len;
			char *again;
			uint8_t *bytes = xu_base64_decode(text, &len);

			assert_non_null(bytes);
			assert_int_equal(len, 3);
			assert_int_equal(bytes[2 - place], value);
			assert_int_equal(bytes[0] + bytes[1] + bytes[2], value);
			again = xu_base64_encode(bytes, len);
			assert_string_equal(again, text);
			free(again);
			free(bytes);
		}
	}
}

static void test_base64_decode_refuses(void **state)
{
	static const char *const texts[] = {"Z", "Zg", "Zg=", "Zm9vY", "Zm9 ", "Zm9\n", "Zm-_",
		"====", "Z===", "=Zm9", "Zg==Zg==", "Zm8=Zm8=", "\xff\xff\xff\xff"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		size_t len = 99;

		if (xu_base64_decode(texts[i], &len) != NULL) {
			fail_msg("\"%s\" should be refused", texts[i]);
		}
		assert_int_equal(len, 99);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_rfc_examples),
		cmocka_unit_test(test_base64_decode_every_byte),
		cmocka_unit_test(test_base64_decode_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
