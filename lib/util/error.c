/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the sentences of struct xu_error. Everything is put together in a buffer of its own first,
 * so an argument may point into the very error that is written. What does not fit is cut at a whole
 * UTF-8 character and marked with an ellipsis; nothing here fails.
 */
#include "lib/util/error.h"

#include "lib/util/utf8.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char ellipsis[] = "\xe2\x80\xa6"; /* U+2026 */

/* Cuts `text`, which is longer than it may be, to fewer than `size` bytes with the mark. */
static void cut(char *text, size_t size)
{
	size_t end = size - sizeof(ellipsis);

	while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80) {
		end--;
	}
	memcpy(text + end, ellipsis, sizeof(ellipsis));
}

void xu_text_mend(char *text)
{
	while (*text != '\0') {
		uint32_t code;
		size_t len = xu_utf8_char(text, strnlen(text, 4), &code);

		if (len == 0) {
			*text = '?';
			len = 1;
		}
		text += len;
	}
}

/* As vsnprintf(), but the text always ends well and is UTF-8. */
static void format(char *text, size_t size, const char *fmt, va_list args)
{
	int len = vsnprintf(text, size, fmt, args);

	if (len < 0) {
		snprintf(text, size, "%s", fmt);
	} else if ((size_t)len >= size) {
		cut(text, size);
	}
	xu_text_mend(text);
}

/* The system's text for -errno, in `buf` or static. */
static const char *describe(int code, char *buf, size_t size)
{
	return strerror_r(-code, buf, size);
}

int xu_error_set(struct xu_error *err, int code, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	va_list args;

	assert(code <= 0);
	if (err == NULL) {
		return code;
	}
	err->code = code;
	if (code == 0) {
		err->text[0] = '\0';
		return 0;
	}
	va_start(args, fmt);
	format(text, sizeof(text), fmt, args);
	va_end(args);
	memcpy(err->text, text, strlen(text) + 1);
	return code;
}

int xu_error_set_errno(struct xu_error *err, int code, const char *fmt, ...)
{
	char text[sizeof(err->text)], buf[64];
	const char *reason;
	va_list args;
	size_t len, reason_len;

	assert(code <= 0);
	if (err == NULL) {
		return code;
	}
	err->code = code;
	if (code == 0) {
		err->text[0] = '\0';
		return 0;
	}
	/* The reason is the part that must not be lost, so the sentence is cut before it. */
	reason = describe(code, buf, sizeof(buf));
	reason_len = strlen(reason);
	va_start(args, fmt);
	format(text, sizeof(text) - reason_len - 2, fmt, args);
	va_end(args);
	len = strlen(text);
	memcpy(err->text, text, len);
	memcpy(err->text + len, ": ", 2);
	memcpy(err->text + len + 2, reason, reason_len + 1);
	return code;
}

/* How much of the sentence's beginning is the last name of the prefix once more: a parameter says
 * "size: it is …", and who knows where it stands puts "devices[0].size" in front. */
static size_t repeated(const char *prefix, const char *text)
{
	const char *end = prefix + strlen(prefix), *name = end;

	while (name > prefix && (isalnum((unsigned char)name[-1]) || name[-1] == '_')) {
		name--;
	}
	if (name == end || strncmp(text, name, (size_t)(end - name)) != 0 ||
		strncmp(text + (end - name), ": ", 2) != 0) {
		return 0;
	}
	return (size_t)(end - name) + 2;
}

int xu_error_prefix(struct xu_error *err, const char *fmt, ...)
{
	char prefix[sizeof(err->text)], text[2 * sizeof(err->text)];
	va_list args;

	if (err == NULL || err->code == 0) {
		return 0;
	}
	va_start(args, fmt);
	format(prefix, sizeof(prefix), fmt, args);
	va_end(args);
	if ((size_t)snprintf(text, sizeof(text), "%s: %s", prefix,
		    err->text + repeated(prefix, err->text)) >= sizeof(err->text)) {
		cut(text, sizeof(err->text));
	}
	memcpy(err->text, text, strlen(text) + 1);
	return err->code;
}
