/* SPDX-License-Identifier: BSD-3-Clause */
/* Positions in JSON texts: nested, with escapes, equal keys, missing parts, and cut off anywhere.
 */
#include "lib/util/jsonpos.h"
#include "test/unit/util/test.h"

#include <errno.h>

struct expectation {
	const char *path;
	int rc;
	uint32_t line;
	uint32_t column;
};

static void check(const char *text, const struct expectation *expected, size_t count)
{
	struct xu_jsonpos pos;
	size_t i;
	int rc;

	for (i = 0; i < count; i++) {
		pos.line = 0;
		pos.column = 0;
		rc = xu_jsonpos_find(text, strlen(text), expected[i].path, &pos);
		if (rc != expected[i].rc || pos.line != expected[i].line ||
			pos.column != expected[i].column) {
			fail_msg("\"%s\": %d at %u:%u, expected %d at %u:%u", expected[i].path, rc,
				pos.line, pos.column, expected[i].rc, expected[i].line,
				expected[i].column);
		}
	}
}

static const char config[] = "{\n"                                             /* 1 */
			     "  \"node\": \"n1\",\n"                           /* 2 */
			     "  \"devices\": [\n"                              /* 3 */
			     "    {\"name\": \"a\", \"block_size\": 512},\n"   /* 4 */
			     "    {\n"                                         /* 5 */
			     "      \"name\" : \"b]},{\",\n"                   /* 6 */
			     "\t\"block_size\"\n"                              /* 7 */
			     "         :\r\n"                                  /* 8 */
			     "  77\n"                                          /* 9 */
			     "    },\n"                                        /* 10 */
			     "    [ ], [1,[2,3] ,{}], -1.5e3, null, true ],\n" /* 11 */
			     "  \"last\": {\"x\":{\"y\":{\"z\":[0,\"q\"]}}}}\n";

static void test_jsonpos_find_walks_nested_values(void **state)
{
	static const struct expectation expected[] = {
		{"", 0, 1, 1},
		{"node", 0, 2, 11},
		{".node", 0, 2, 11},
		{"devices", 0, 3, 14},
		{"devices[0]", 0, 4, 5},
		{"devices[0].name", 0, 4, 14},
		{"devices[0].block_size", 0, 4, 33},
		{"devices[1]", 0, 5, 5},
		{"devices[1].name", 0, 6, 16},
		{"devices[1].block_size", 0, 9, 3},
		{"devices[2]", 0, 11, 5},
		{"devices[3]", 0, 11, 10},
		{"devices[3][0]", 0, 11, 11},
		{"devices[3][1]", 0, 11, 13},
		{"devices[3][1][1]", 0, 11, 16},
		{"devices[3][2]", 0, 11, 20},
		{"devices[4]", 0, 11, 25},
		{"devices[5]", 0, 11, 33},
		{"devices[6]", 0, 11, 39},
		{"last.x.y.z[1]", 0, 12, 29},
	};

	check(config, expected, ARRAY_SIZE(expected));
}

static void test_jsonpos_find_missing_gives_the_deepest_part(void **state)
{
	static const struct expectation expected[] = {
		{"nope", -ENOENT, 1, 1},
		{"[0]", -ENOENT, 1, 1},
		{"nod", -ENOENT, 1, 1},
		{"nodes", -ENOENT, 1, 1},
		{"node.x", -ENOENT, 2, 11},
		{"node[0]", -ENOENT, 2, 11},
		{"devices.name", -ENOENT, 3, 14},
		{"devices[7]", -ENOENT, 3, 14},
		{"devices[99999999999999999999999]", -ENOENT, 3, 14},
		{"devices[1].nope.deeper", -ENOENT, 5, 5},
		{"devices[2][0]", -ENOENT, 11, 5},
		{"devices[3][2].a", -ENOENT, 11, 20},
		{"devices[4][0]", -ENOENT, 11, 25},
		{"last.x.y.z[2]", -ENOENT, 12, 26},
	};

	check(config, expected, ARRAY_SIZE(expected));
}

static void test_jsonpos_find_refuses_bad_paths(void **state)
{
	static const struct expectation expected[] = {
		{".", -EINVAL, 1, 1},
		{"..node", -EINVAL, 1, 1},
		{"[", -EINVAL, 1, 1},
		{"[]", -EINVAL, 1, 1},
		{"devices[", -EINVAL, 3, 14},
		{"devices[x]", -EINVAL, 3, 14},
		{"devices[0", -EINVAL, 3, 14},
		{"devices[-1]", -EINVAL, 3, 14},
		{"devices.", -EINVAL, 3, 14},
		{"devices[0]name", -EINVAL, 4, 5},
		{"devices[0]..name", -EINVAL, 4, 5},
	};

	check(config, expected, ARRAY_SIZE(expected));
}

static void test_jsonpos_find_reads_keys_with_escapes(void **state)
{
	/* keys, one per line: a"b  c\d  e/f  é (escaped)  é (plain)  😀 (a surrogate pair)  tab  NUL
	 */
	static const char text[] = "{\"a\\\"b\":1,\n"
				   "\"c\\\\\":2,\n"
				   "\"e\\/f\":3,\n"
				   "\"\\u00e9\":4,\n"
				   "\"ü\":5,\n"
				   "\"\\uD83D\\ude00\":6,\n"
				   "\"t\\tb\\n\\r\\b\\f\":7,\n"
				   "\"z\\u0000\":8,\n"
				   "\"\\u20ac\":9,\n"
				   "\"\\ud83d\":10}";
	static const struct expectation expected[] = {
		{"a\"b", 0, 1, 9},
		{"c\\", 0, 2, 7},
		{"e/f", 0, 3, 8},
		{"é", 0, 4, 10},
		{"ü", 0, 5, 6}, /* columns are bytes: "ü" has two */
		{"😀", 0, 6, 16},
		{"t\tb\n\r\b\f", 0, 7, 16},
		{"z", -ENOENT, 1, 1},
		{"€", 0, 9, 10},
		{"\xed\xa0\xbd", 0, 10, 10}, /* half a pair, as it is */
		{"a\\\"b", -ENOENT, 1, 1},
		{"\\u00e9", -ENOENT, 1, 1},
	};

	check(text, expected, ARRAY_SIZE(expected));
}

static void test_jsonpos_find_skips_quotes_in_strings(void **state)
{
	static const char text[] =
		"{\"s\":\"x\\\",\\\"t\\\":[{\",\n \"\\\"u\\\":\":\"\\\\\",\n \"t\":2}";
	static const struct expectation expected[] = {
		{"s", 0, 1, 6},
		{"t", 0, 3, 6},
		{"u", -ENOENT, 1, 1},
		{"\"u\":", 0, 2, 11},
	};

	check(text, expected, ARRAY_SIZE(expected));
}

static void test_jsonpos_find_last_of_equal_keys_counts(void **state)
{
	static const char text[] = "{\"a\": {\"b\": 1},\n"
				   " \"\\u0061\": {\"c\": 2},\n"
				   " \"b\": 3}";
	static const struct expectation expected[] = {
		{"a", 0, 2, 12},
		{"a.c", 0, 2, 18},
		{"a.b", -ENOENT, 2, 12}, /* it was in the one that does not count */
		{"b", 0, 3, 7},
	};

	check(text, expected, ARRAY_SIZE(expected));
}

static void test_jsonpos_find_reads_scalars_and_space(void **state)
{
	static const struct expectation string[] = {{"", 0, 3, 3}, {"a", -ENOENT, 3, 3}};
	static const struct expectation empty[] = {{"", 0, 1, 1}, {"a", -ENOENT, 1, 1}};
	static const struct expectation tight[] = {{"[1].a", 0, 1, 9}, {"[2]", 0, 1, 12}};

	check("\n\r\n  \"x\"", string, ARRAY_SIZE(string));
	check("", empty, ARRAY_SIZE(empty));
	check("[0,{\"a\":1},2]", tight, ARRAY_SIZE(tight));
}

static void test_jsonpos_find_goes_any_depth(void **state)
{
	enum { DEPTH = 100000 };
	char *text = malloc(2 * DEPTH + 16), *path = malloc(3 * DEPTH + 1);
	struct xu_jsonpos pos;
	size_t i;

	assert_non_null(text);
	assert_non_null(path);
	memset(text, '[', DEPTH);
	memset(text + DEPTH, ']', DEPTH);
	memcpy(text + 2 * DEPTH, "", 1);
	for (i = 0; i < 500; i++) {
		memcpy(path + 3 * i, "[0]", 3);
	}
	path[3 * i] = '\0';
	assert_int_equal(xu_jsonpos_find(text, 2 * DEPTH, path, &pos), 0);
	assert_int_equal(pos.line, 1);
	assert_int_equal(pos.column, 501);
	assert_int_equal(xu_jsonpos_find(text, 2 * DEPTH, "[1]", &pos), -ENOENT);
	assert_int_equal(pos.column, 1);
	free(text);
	free(path);
}

/* The text ends anywhere, in memory of its own size: no answer is asked for but one inside of it.
 */
static void test_jsonpos_find_stays_inside_broken_texts(void **state)
{
	static const char text[] =
		"{\"\\u0061\\\"\": [1, \"\\ud83d\\ude00\\\\\"], \"b\": {\"c\": [{}, {\"d\" : 1}]}}";
	static const char *const paths[] = {"", "a\"[1]", "b.c[1].d", "b.c[0].x", "[0]"};
	struct xu_jsonpos pos;
	size_t len, i;

	for (len = 0; len < sizeof(text); len++) {
		char *copy = malloc(len == 0 ? 1 : len);

		assert_non_null(copy);
		memcpy(copy, text, len);
		for (i = 0; i < ARRAY_SIZE(paths); i++) {
			int rc = xu_jsonpos_find(copy, len, paths[i], &pos);

			assert_true(rc == 0 || rc == -ENOENT);
			assert_int_equal(pos.line, 1);
			assert_in_range(pos.column, 1, len + 1);
		}
		free(copy);
	}
	assert_int_equal(xu_jsonpos_find(text, strlen(text), "b.c[1].d", &pos), 0);
	assert_int_equal(text[pos.column - 1], '1');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jsonpos_find_walks_nested_values),
		cmocka_unit_test(test_jsonpos_find_missing_gives_the_deepest_part),
		cmocka_unit_test(test_jsonpos_find_refuses_bad_paths),
		cmocka_unit_test(test_jsonpos_find_reads_keys_with_escapes),
		cmocka_unit_test(test_jsonpos_find_skips_quotes_in_strings),
		cmocka_unit_test(test_jsonpos_find_last_of_equal_keys_counts),
		cmocka_unit_test(test_jsonpos_find_reads_scalars_and_space),
		cmocka_unit_test(test_jsonpos_find_goes_any_depth),
		cmocka_unit_test(test_jsonpos_find_stays_inside_broken_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
