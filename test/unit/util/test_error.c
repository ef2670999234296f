/* SPDX-License-Identifier: BSD-3-Clause */
/* The sentences of struct xu_error: what they say, how they are cut, what may be handed in. */
#include "lib/util/error.h"
#include "test/unit/util/test.h"

#include <errno.h>

static void test_error_set_writes_code_and_sentence(void **state)
{
	struct xu_error err;

	memset(&err, 0x55, sizeof(err));
	assert_int_equal(xu_error_set(&err, -EBUSY, "%s is claimed by %s", "disk0", "md0"), -EBUSY);
	assert_int_equal(err.code, -EBUSY);
	assert_string_equal(err.text, "disk0 is claimed by md0");
}

static void test_error_set_takes_null(void **state)
{
	assert_int_equal(xu_error_set(NULL, -EINVAL, "x"), -EINVAL);
	assert_int_equal(xu_error_set_errno(NULL, -ENOENT, "x"), -ENOENT);
	assert_int_equal(xu_error_prefix(NULL, "x"), 0);
}

static void test_error_set_zero_clears(void **state)
{
	struct xu_error err = {.code = -EIO, .text = "old"};

	assert_int_equal(xu_error_set(&err, 0, "not to be seen"), 0);
	assert_int_equal(err.code, 0);
	assert_string_equal(err.text, "");
	err.text[0] = 'x';
	assert_int_equal(xu_error_set_errno(&err, 0, "not to be seen"), 0);
	assert_string_equal(err.text, "");
}

static void test_error_set_may_quote_itself(void **state)
{
	struct xu_error err;

	xu_error_set(&err, -EIO, "inner");
	xu_error_set(&err, -EINVAL, "outer (%s)", err.text);
	assert_string_equal(err.text, "outer (inner)");
	xu_error_set_errno(&err, -EINVAL, "again (%s)", err.text);
	assert_string_equal(err.text, "again (outer (inner)): Invalid argument");
	xu_error_prefix(&err, "<%s>", err.text);
	assert_string_equal(err.text,
		"<again (outer (inner)): Invalid argument>: again (outer (inner)): "
		"Invalid argument");
}

static void test_error_set_errno_adds_the_systems_text(void **state)
{
	struct xu_error err;

	assert_int_equal(xu_error_set_errno(&err, -ENOENT, "cannot open %s", "/a"), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text, "cannot open /a: No such file or directory");
	xu_error_set_errno(&err, -4000, "x");
	assert_string_equal(err.text, "x: Unknown error 4000");
}

static void test_error_set_keeps_what_just_fits(void **state)
{
	struct xu_error err;
	char text[sizeof(err.text)];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	xu_error_set(&err, -EIO, "%s", text);
	assert_string_equal(err.text, text);
}

static void test_error_set_cuts_with_ellipsis(void **state)
{
	struct xu_error err;
	char text[2000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	xu_error_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(strspn(err.text, "a"), sizeof(err.text) - 4);
	assert_string_equal(err.text + sizeof(err.text) - 4, "…");
}

static void test_error_set_cuts_between_characters(void **state)
{
	struct xu_error err;
	char text[2000];
	size_t shift, i;

	/* "é" has two bytes; with one of the two shifts the cut falls inside of one. */
	for (shift = 0; shift < 2; shift++) {
		memset(text, 'a', shift);
		for (i = shift; i + 2 < sizeof(text); i += 2) {
			memcpy(text + i, "é", 2);
		}
		text[i] = '\0';
		xu_error_set(&err, -EIO, "%s", text);
		i = strlen(err.text) - strlen("…");
		assert_string_equal(err.text + i, "…");
		assert_memory_equal(err.text, text, i);
		assert_int_equal((i - shift) % 2, 0);
		assert_true(i >= sizeof(err.text) - 5);
	}
}

static void test_error_set_errno_never_loses_the_reason(void **state)
{
	struct xu_error err;
	char text[2000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	xu_error_set_errno(&err, -EACCES, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_non_null(strstr(err.text, "aaaa…: Permission denied"));
}

static void test_error_prefix_puts_text_in_front(void **state)
{
	struct xu_error err;

	xu_error_set(&err, -EINVAL, "block_size 77 is no power of two");
	assert_int_equal(xu_error_prefix(&err, "%s:%d", "node.json", 12), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, "node.json:12: block_size 77 is no power of two");
}

static void test_error_prefix_names_a_parameter_once(void **state)
{
	static const struct {
		const char *prefix, *text, *wanted;
	} cases[] = {
		{"block_size", "block_size: 77 is odd", "block_size: 77 is odd"},
		{"devices[0].size", "size: 77 is odd", "devices[0].size: 77 is odd"},
		{"a.json:3: devices[0].size", "size: odd", "a.json:3: devices[0].size: odd"},
		{"block_size", "size: 77 is odd", "block_size: size: 77 is odd"},
		{"size", "sizes: 77 is odd", "size: sizes: 77 is odd"},
		{"size", "size 77 is odd", "size: size 77 is odd"},
		{"devices[0]", "0: is odd", "devices[0]: 0: is odd"},
		{"", "size: odd", ": size: odd"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct xu_error err;

		xu_error_set(&err, -EINVAL, "%s", cases[i].text);
		assert_int_equal(xu_error_prefix(&err, "%s", cases[i].prefix), -EINVAL);
		assert_string_equal(err.text, cases[i].wanted);
	}
}

static void test_error_prefix_leaves_no_error_alone(void **state)
{
	struct xu_error err = {0};

	assert_int_equal(xu_error_prefix(&err, "x"), 0);
	assert_string_equal(err.text, "");
}

static void test_error_prefix_cuts_the_end(void **state)
{
	struct xu_error err;
	char text[400];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	xu_error_set(&err, -EINVAL, "%s", text);
	memset(text, 'b', sizeof(text) - 1);
	xu_error_prefix(&err, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(strspn(err.text, "b"), sizeof(text) - 1);
	assert_memory_equal(err.text + sizeof(text) - 1, ": aaa", 5);
	assert_string_equal(err.text + sizeof(err.text) - 5, "a…");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_set_writes_code_and_sentence),
		cmocka_unit_test(test_error_set_takes_null),
		cmocka_unit_test(test_error_set_zero_clears),
		cmocka_unit_test(test_error_set_may_quote_itself),
		cmocka_unit_test(test_error_set_errno_adds_the_systems_text),
		cmocka_unit_test(test_error_set_keeps_what_just_fits),
		cmocka_unit_test(test_error_set_cuts_with_ellipsis),
		cmocka_unit_test(test_error_set_cuts_between_characters),
		cmocka_unit_test(test_error_set_errno_never_loses_the_reason),
		cmocka_unit_test(test_error_prefix_puts_text_in_front),
		cmocka_unit_test(test_error_prefix_names_a_parameter_once),
		cmocka_unit_test(test_error_prefix_leaves_no_error_alone),
		cmocka_unit_test(test_error_prefix_cuts_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
