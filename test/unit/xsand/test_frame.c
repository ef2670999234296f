/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a JSON value in a stream: at every split point, with strings that look like brackets.
 */
#include "lib/rpc/frame.h"
#include "test/unit/util/test.h"

#include <errno.h>

/* Feeds `text` in two parts, split at `split`, as a connection does: what is found is taken out. */
static size_t count_values(const char *text, size_t len, size_t split, const char **values)
{
	struct xrpc_frame frame = {0};
	char *buffer = malloc(len + 1);
	size_t have = 0, count = 0, parts[] = {split, len - split}, start, end, given = 0;

	for (size_t i = 0; i < 2; i++) {
		memcpy(buffer + have, text + given, parts[i]);
		given += parts[i];
		have += parts[i];
		while (xrpc_frame_next(&frame, buffer, have, &start, &end) == 1) {
			assert_int_equal(end - start, strlen(values[count]));
			assert_memory_equal(buffer + start, values[count], end - start);
			count++;
			have -= end;
			memmove(buffer, buffer + end, have);
		}
		have -= start;
		memmove(buffer, buffer + start, have);
		frame.scanned -= start;
	}
	assert_int_equal(have, 0);
	free(buffer);
	return count;
}

static void test_frame_finds_values_at_every_split(void **state)
{
	static const char *const values[] = {"{}", "[]", "{\"a\": [1, {\"b\": \"}\"}]}",
		"[\"]\\\"]\", \"\\\\\"]", "{\"\\u007b\": \"{[\"}"};
	char text[256] = " \r\n\t";
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		strcat(text, values[i]);
		strcat(text, i % 2 == 0 ? "" : " \n");
	}
	strcat(text, "  ");
	len = strlen(text);
	for (size_t split = 0; split <= len; split++) {
		assert_int_equal(
			count_values(text, len, split, (const char **)values), ARRAY_SIZE(values));
	}
}

static void test_frame_waits_for_the_end(void **state)
{
	static const char *const texts[] = {
		"", "   ", "{", "[1, 2", "{\"a\": \"}", "{\"a\": \"\\\"}", "[[[]]", "{\"a\": {}"};
	size_t start, end;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct xrpc_frame frame = {0};

		assert_int_equal(
			xrpc_frame_next(&frame, texts[i], strlen(texts[i]), &start, &end), 0);
	}
}

static void test_frame_refuses_what_is_no_call(void **state)
{
	static const char *const texts[] = {
		"1", " true", "\"{}\"", "}", "]", "nul", "\x01", "GET /"};
	size_t start, end;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct xrpc_frame frame = {0};

		assert_int_equal(xrpc_frame_next(&frame, texts[i], strlen(texts[i]), &start, &end),
			-EBADMSG);
	}
}

static void test_frame_bounds_the_depth(void **state)
{
	char text[2 * XRPC_MAX_DEPTH + 2];
	struct xrpc_frame frame = {0};
	size_t start, end;

	memset(text, '[', XRPC_MAX_DEPTH);
	memset(text + XRPC_MAX_DEPTH, ']', XRPC_MAX_DEPTH);
	assert_int_equal(xrpc_frame_next(&frame, text, 2 * XRPC_MAX_DEPTH, &start, &end), 1);
	assert_int_equal(end, 2 * XRPC_MAX_DEPTH);
	memset(text, '[', XRPC_MAX_DEPTH + 1);
	assert_int_equal(xrpc_frame_next(&frame, text, XRPC_MAX_DEPTH + 1, &start, &end), -E2BIG);
}

/* Each byte is looked at once, however it arrives. */
static void test_frame_goes_on_where_it_stopped(void **state)
{
	enum { LEN = 1 << 20 };
	char *text = malloc(LEN);
	struct xrpc_frame frame = {0};
	size_t start, end;

	memset(text, 'x', LEN);
	memcpy(text, "[\"", 2);
	memcpy(text + LEN - 2, "\"]", 2);
	for (size_t len = 1; len < LEN; len++) {
		assert_int_equal(xrpc_frame_next(&frame, text, len, &start, &end), 0);
		assert_int_equal(frame.scanned, len);
	}
	assert_int_equal(xrpc_frame_next(&frame, text, LEN, &start, &end), 1);
	assert_int_equal(end, LEN);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_finds_values_at_every_split),
		cmocka_unit_test(test_frame_waits_for_the_end),
		cmocka_unit_test(test_frame_refuses_what_is_no_call),
		cmocka_unit_test(test_frame_bounds_the_depth),
		cmocka_unit_test(test_frame_goes_on_where_it_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
