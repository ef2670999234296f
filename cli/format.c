/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and texts as people read them; nothing here fails. */
#include "cli/format.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define NS_PER_S 1000000000u

/* Takes the zeroes, and the point, from the end of a decimal fraction. */
static void trim_zeroes(char *text)
{
	char *end = text + strlen(text);

	if (strchr(text, '.') == NULL) {
		return;
	}
	while (end[-1] == '0') {
		end--;
	}
	if (end[-1] == '.') {
		end--;
	}
	*end = '\0';
}

void format_bytes(uint64_t bytes, char text[FORMAT_SIZE])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;
	char number[FORMAT_SIZE - 5];

	/* 1023.996 KiB would be written as 1024 KiB. */
	while (value >= 1023.995 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(number, sizeof(number), "%.2f", value);
	trim_zeroes(number);
	snprintf(text, FORMAT_SIZE, "%s %s", number, units[unit]);
}

static void format_long(uint64_t seconds, char text[FORMAT_SIZE])
{
	static const struct {
		const char *name, *rest_name;
		uint64_t seconds, rest_seconds;
	} units[] = {
		{"d", "h", 86400, 3600},
		{"h", "min", 3600, 60},
		{"min", "s", 60, 1},
	};
	size_t i = 0;

	while (seconds < units[i].seconds) {
		i++;
	}
	snprintf(text, FORMAT_SIZE, "%" PRIu64 " %s %" PRIu64 " %s", seconds / units[i].seconds,
		units[i].name, seconds % units[i].seconds / units[i].rest_seconds,
		units[i].rest_name);
}

void format_ns(uint64_t ns, char text[FORMAT_SIZE])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	size_t unit = 0;

	if (ns == 0) {
		snprintf(text, FORMAT_SIZE, "0");
		return;
	}
	if (ns >= 100ull * NS_PER_S) {
		format_long(ns / NS_PER_S, text);
		return;
	}
	while (value >= 999.5 && unit < 3) {
		value /= 1000;
		unit++;
	}
	snprintf(text, FORMAT_SIZE, "%.*f %s",
		unit == 0 || value >= 99.95 ? 0
		: value >= 9.995            ? 1
					    : 2,
		value, units[unit]);
}

void format_rate(double per_second, char text[FORMAT_SIZE])
{
	snprintf(text, FORMAT_SIZE, "%.*f",
		per_second == 0 || per_second >= 99.95 ? 0
		: per_second >= 9.995                  ? 1
						       : 2,
		per_second);
}

/* How many bytes the UTF-8 character at `text` has if it may be shown, else 0. */
static size_t printable(const unsigned char *text)
{
	static const struct {
		unsigned char mask, lead;
		size_t len;
		uint32_t min;
	} forms[] = {
		{0x80, 0x00, 1, 0x20},
		{0xe0, 0xc0, 2, 0xa0}, /* above the control characters U+0080 to U+009F */
		{0xf0, 0xe0, 3, 0x800},
		{0xf8, 0xf0, 4, 0x10000},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		uint32_t code = text[0] & (uint32_t)~forms[i].mask & 0xff;

		if ((text[0] & forms[i].mask) != forms[i].lead) {
			continue;
		}
		for (size_t k = 1; k < forms[i].len; k++) {
			if ((text[k] & 0xc0) != 0x80) {
				return 0;
			}
			code = code << 6 | (text[k] & 0x3f);
		}
		return code >= forms[i].min && code != 0x7f && code <= 0x10ffff ? forms[i].len : 0;
	}
	return 0;
}

size_t format_clean(const char *text, FILE *out)
{
	size_t columns = 0;

	while (*text != '\0') {
		size_t len = printable((const unsigned char *)text);

		if (len == 0) {
			fputc('?', out);
			text++;
		} else {
			fwrite(text, 1, len, out);
			text += len;
		}
		columns++;
	}
	return columns;
}

void format_wrapped(const char *text, size_t indent, size_t width, FILE *out)
{
	size_t column = indent;
	bool is_first = true;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (!is_first && column + 1 + len > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!is_first) {
			fputc(' ', out);
			column++;
		}
		fwrite(text, 1, len, out);
		column += len;
		is_first = false;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}
