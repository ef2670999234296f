/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks a JSON text (RFC 8259) along a path. One step at a time: the steps go into an object or
 * array, everything beside the path is skipped by counting brackets, so there is no recursion and
 * any depth is fine. The text should be valid; with one that is not the answer may be useless, but
 * nothing is read outside it. A path that cannot be read (an empty name, a bracket without its
 * number) is -EINVAL.
 */
#include "lib/util/jsonpos.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What is left of the text. */
struct cursor {
	const char *pos;
	const char *end;
};

/* One step of a path: a name, or an index when `name` is NULL. */
struct step {
	const char *name;
	size_t name_len;
	uint64_t index;
};

/* The byte at the cursor, 0 at the end (a NUL is not valid in JSON). */
static char look(const struct cursor *cur)
{
	return cur->pos < cur->end ? *cur->pos : '\0';
}

static void skip_space(struct cursor *cur)
{
	while (cur->pos < cur->end && memchr(" \t\r\n", *cur->pos, 4) != NULL) {
		cur->pos++;
	}
}

/* Goes past a string; the cursor is on its opening quote. */
static void skip_string(struct cursor *cur)
{
	cur->pos++;
	while (cur->pos < cur->end && *cur->pos != '"') {
		cur->pos += *cur->pos == '\\' && cur->end - cur->pos > 1 ? 2 : 1;
	}
	if (cur->pos < cur->end) {
		cur->pos++;
	}
}

/* Goes past a value of any kind, to the comma or bracket after it. */
static void skip_value(struct cursor *cur)
{
	size_t depth = 0;

	while (cur->pos < cur->end) {
		switch (*cur->pos) {
		case '"':
			skip_string(cur);
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (depth == 0) {
				return;
			}
			depth--;
			break;
		case ',':
			if (depth == 0) {
				return;
			}
			break;
		}
		cur->pos++;
	}
}

static uint32_t hex4(const char *text)
{
	uint32_t value = 0;
	int i;

	for (i = 0; i < 4; i++) {
		char c = text[i];

		value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/* Reads \uXXXX, or the two of a surrogate pair, from after the backslash. */
static uint32_t read_u_escape(struct cursor *cur)
{
	uint32_t code, low;

	if (cur->end - cur->pos < 5) {
		cur->pos = cur->end;
		return 0;
	}
	code = hex4(cur->pos + 1);
	cur->pos += 5;
	if (code >= 0xd800 && code < 0xdc00 && cur->end - cur->pos >= 6 && cur->pos[0] == '\\' &&
		cur->pos[1] == 'u') {
		low = hex4(cur->pos + 2);
		if (low >= 0xdc00 && low < 0xe000) {
			cur->pos += 6;
			code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	return code;
}

static size_t put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | (code >> 18 & 0x07));
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* Reads one character of a string, escapes resolved, as one to four bytes. */
static size_t read_char(struct cursor *cur, char out[4])
{
	static const char escapes[] = "b\bf\fn\nr\rt\t";
	const char *known;

	out[0] = *cur->pos++;
	if (out[0] != '\\' || cur->pos >= cur->end) {
		return 1;
	}
	if (*cur->pos == 'u') {
		return put_utf8(out, read_u_escape(cur));
	}
	known = strchr(escapes, *cur->pos);
	out[0] = known != NULL && *known != '\0' ? known[1] : *cur->pos;
	cur->pos++;
	return 1;
}

/* Goes past the key at the cursor and tells whether it is the step's name. */
static bool read_key(struct cursor *cur, const struct step *step)
{
	const char *name = step->name;
	size_t left = step->name_len, len;
	bool is_same = true;
	char chars[4];

	cur->pos++;
	while (cur->pos < cur->end && *cur->pos != '"') {
		len = read_char(cur, chars);
		if (!is_same || len > left || memcmp(name, chars, len) != 0) {
			is_same = false;
			continue;
		}
		name += len;
		left -= len;
	}
	if (cur->pos < cur->end) {
		cur->pos++;
	}
	return is_same && left == 0;
}

/* The start of the last member with the step's name; NULL when the object has none. */
static const char *find_member(struct cursor cur, const struct step *step)
{
	const char *found = NULL;
	bool is_it;

	do {
		cur.pos++; /* the brace, then the commas */
		skip_space(&cur);
		if (look(&cur) != '"') {
			break;
		}
		is_it = read_key(&cur, step);
		skip_space(&cur);
		if (look(&cur) != ':') {
			break;
		}
		cur.pos++;
		skip_space(&cur);
		if (is_it) {
			found = cur.pos;
		}
		skip_value(&cur);
	} while (look(&cur) == ',');
	return found;
}

/* The start of the array's element with the step's index; NULL when it has fewer. */
static const char *find_element(struct cursor cur, const struct step *step)
{
	uint64_t index = 0;

	do {
		cur.pos++;
		skip_space(&cur);
		if (look(&cur) == ']' || look(&cur) == '\0') {
			break;
		}
		if (index++ == step->index) {
			return cur.pos;
		}
		skip_value(&cur);
	} while (look(&cur) == ',');
	return NULL;
}

/* Takes the next step off the path; -EINVAL when there is none to be read. */
static int next_step(const char **path, bool is_first, struct step *ret_step)
{
	const char *pos = *path;
	struct step step = {0};

	if (*pos == '[') {
		pos++;
		if (*pos < '0' || *pos > '9') {
			return -EINVAL;
		}
		for (; *pos >= '0' && *pos <= '9'; pos++) {
			if (__builtin_mul_overflow(step.index, (uint64_t)10, &step.index) ||
				__builtin_add_overflow(
					step.index, (uint64_t)(*pos - '0'), &step.index)) {
				step.index = UINT64_MAX; /* no array is that long */
			}
		}
		if (*pos++ != ']') {
			return -EINVAL;
		}
	} else {
		if (*pos == '.') {
			pos++;
		} else if (!is_first) {
			return -EINVAL;
		}
		step.name = pos;
		step.name_len = strcspn(pos, ".[");
		if (step.name_len == 0) {
			return -EINVAL;
		}
		pos += step.name_len;
	}
	*path = pos;
	*ret_step = step;
	return 0;
}

static struct xu_jsonpos position_of(const char *text, const char *place)
{
	struct xu_jsonpos pos = {.line = 1, .column = 1};

	for (; text < place; text++) {
		if (*text == '\n') {
			pos.line++;
			pos.column = 1;
		} else {
			pos.column++;
		}
	}
	return pos;
}

int xu_jsonpos_find(const char *text, size_t len, const char *path, struct xu_jsonpos *ret_pos)
{
	struct cursor cur = {.pos = text, .end = text + len};
	bool is_first = true;
	const char *found;
	struct step step;
	int rc = 0;

	skip_space(&cur);
	while (*path != '\0') {
		rc = next_step(&path, is_first, &step);
		if (rc != 0) {
			break;
		}
		is_first = false;
		found = NULL;
		if (step.name != NULL && look(&cur) == '{') {
			found = find_member(cur, &step);
		} else if (step.name == NULL && look(&cur) == '[') {
			found = find_element(cur, &step);
		}
		if (found == NULL) {
			rc = -ENOENT;
			break;
		}
		cur.pos = found;
	}
	*ret_pos = position_of(text, cur.pos);
	return rc;
}
