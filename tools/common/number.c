/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers as people write and read them. Parsers take the whole text or nothing of it. */
#include "common/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The digits at the start of `text`, which has no sign and no blank in front. */
static bool parse_digits(const char *text, uint64_t *ret_number, const char **ret_end)
{
	unsigned long long number;
	char *end;

	if (text[0] < '0' || text[0] > '9') {
		return false;
	}
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0) {
		return false;
	}
	*ret_number = number;
	*ret_end = end;
	return true;
}

bool tool_parse_size(const char *text, uint64_t *ret_bytes, bool *ret_has_unit)
{
	static const char letters[] = {'K', 'M', 'G', 'T', 'P'};
	uint64_t number;
	const char *end, *letter;
	uint32_t shift = 0;
	bool has_unit;

	if (!parse_digits(text, &number, &end)) {
		return false;
	}
	has_unit = *end != '\0';
	letter = has_unit ? memchr(letters, *end & ~0x20, sizeof(letters)) : NULL;
	if (letter != NULL) {
		shift = 10 * (uint32_t)(letter - letters + 1);
		end++;
		end += strcasecmp(end, "iB") == 0 ? 2 : strcasecmp(end, "B") == 0 ? 1 : 0;
	} else if (strcasecmp(end, "B") == 0) {
		end++;
	}
	if (*end != '\0' || number > UINT64_MAX >> shift) {
		return false;
	}
	*ret_bytes = number << shift;
	if (ret_has_unit != NULL) {
		*ret_has_unit = has_unit;
	}
	return true;
}

bool tool_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number)
{
	uint64_t number;
	const char *end;

	if (!parse_digits(text, &number, &end) || *end != '\0' || number < min || number > max) {
		return false;
	}
	*ret_number = number;
	return true;
}

bool tool_parse_time(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"", 1e9}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
	double number;
	char *end;

	/* strtod() alone would take signs, exponents, "inf" and hexadecimal numbers. */
	number = strtod(text, &end);
	if (end == text || (size_t)(end - text) != strspn(text, "0123456789.")) {
		return false;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0 && number * units[i].ns < (double)INT64_MAX) {
			*ret_ns = (uint64_t)(number * units[i].ns);
			return true;
		}
	}
	return false;
}

uint32_t tool_parse_cpus(const char *text, int *ret_cpus, uint32_t max)
{
	const uint64_t cpu_max = 65535;
	uint32_t count = 0;
	uint64_t first, last;

	for (;;) {
		if (!parse_digits(text, &first, &text) || first > cpu_max) {
			return 0;
		}
		last = first;
		if (*text == '-' && (!parse_digits(text + 1, &last, &text) || last > cpu_max)) {
			return 0;
		}
		for (; first <= last; first++) {
			if (count == max) {
				return 0;
			}
			ret_cpus[count++] = (int)first;
		}
		if (*text == '\0') {
			return count;
		}
		if (*text++ != ',') {
			return 0;
		}
	}
}

char *tool_format_size(double bytes, char text[TOOL_TEXT_SIZE])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t i = 0;

	while (bytes >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		i++;
	}
	snprintf(text, TOOL_TEXT_SIZE, i == 0 ? "%.0f %s" : "%.2f %s", bytes, units[i]);
	return text;
}

char *tool_format_count(uint64_t count, char text[TOOL_TEXT_SIZE])
{
	char digits[TOOL_TEXT_SIZE];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
	int at = 0;

	for (int i = 0; i < len; i++) {
		if (i != 0 && (len - i) % 3 == 0) {
			text[at++] = ',';
		}
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

char *tool_format_time(uint64_t ns, char text[TOOL_TEXT_SIZE])
{
	if (ns < 1000000) {
		snprintf(text, TOOL_TEXT_SIZE, "%.1f us", (double)ns / 1e3);
	} else if (ns < 1000000000ull) {
		snprintf(text, TOOL_TEXT_SIZE, "%.2f ms", (double)ns / 1e6);
	} else {
		snprintf(text, TOOL_TEXT_SIZE, "%.2f s", (double)ns / 1e9);
	}
	return text;
}
