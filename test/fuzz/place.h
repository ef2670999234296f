/* SPDX-License-Identifier: BSD-3-Clause */
/* What holds for the errors of every configuration text. */
#ifndef TEST_FUZZ_PLACE_H
#define TEST_FUZZ_PLACE_H

#include <jansson.h>

#include "lib/util/error.h"
#include "test/fuzz/fuzz.h"

/* "NAME:LINE:COLUMN: …", of one line, and the place is in the text. */
static inline void fuzz_check_place(
	const char *name, const char *text, size_t len, const struct xu_error *err)
{
	const char *line = text, *end = text + len, *next;
	unsigned long row, column;
	json_t *as_json = json_string(err->text);
	char *at;

	FUZZ_CHECK(err->code < 0 && err->text[0] != '\0', "code %d, '%s'", err->code, err->text);
	FUZZ_CHECK(as_json != NULL, "the sentence is not UTF-8: %s", err->text);
	json_decref(as_json);
	FUZZ_CHECK(strchr(err->text, '\n') == NULL, "more than a line: %s", err->text);
	FUZZ_CHECK(strncmp(err->text, name, strlen(name)) == 0 && err->text[strlen(name)] == ':',
		"%s", err->text);
	row = strtoul(err->text + strlen(name) + 1, &at, 10);
	FUZZ_CHECK(*at == ':' && row >= 1, "%s", err->text);
	column = strtoul(at + 1, &at, 10);
	FUZZ_CHECK(strncmp(at, ": ", 2) == 0 && at[2] != '\0', "%s", err->text);
	while (--row != 0) {
		line = memchr(line, '\n', (size_t)(end - line));
		FUZZ_CHECK(line != NULL, "there is no such line: %s", err->text);
		line++;
	}
	next = memchr(line, '\n', (size_t)(end - line));
	FUZZ_CHECK(column <= (size_t)((next != NULL ? next : end) - line) + 1,
		"there is no such column: %s", err->text);
}

#endif
