/* SPDX-License-Identifier: BSD-3-Clause */
/* Byte counts from and to text. One table of units, all powers of 1024. */
#include "lib/util/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>

static const struct {
	char letter;
	unsigned shift;
} units[] = {
	{'K', 10},
	{'M', 20},
	{'G', 30},
	{'T', 40},
	{'P', 50},
};

#define NR_UNITS (sizeof(units) / sizeof(units[0]))

/* The power of two that a suffix stands for, or -EINVAL. */
static int parse_suffix(const char *text)
{
	size_t i;

	if (*text == '\0' || strcasecmp(text, "B") == 0) {
		return 0;
	}
	for (i = 0; i < NR_UNITS; i++) {
		if ((*text | 0x20) != (units[i].letter | 0x20)) {
			continue;
		}
		text++;
		if (*text == '\0' || strcasecmp(text, "B") == 0 || strcasecmp(text, "iB") == 0) {
			return (int)units[i].shift;
		}
		return -EINVAL;
	}
	return -EINVAL;
}

int xu_size_parse(const char *text, uint64_t *ret_bytes)
{
	uint64_t value = 0;
	bool is_over = false;
	int shift;

	if (*text < '0' || *text > '9') {
		return -EINVAL;
	}
	for (; *text >= '0' && *text <= '9'; text++) {
		is_over |= __builtin_mul_overflow(value, (uint64_t)10, &value);
		is_over |= __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value);
	}
	if (text[0] == ' ' && text[1] != '\0') {
		text++;
	}
	shift = parse_suffix(text);
	if (shift < 0) {
		return shift;
	}
	if (is_over || value > UINT64_MAX >> shift) {
		return -ERANGE;
	}
	*ret_bytes = value << shift;
	return 0;
}

void xu_size_format(uint64_t bytes, char *text, size_t text_size)
{
	size_t i = NR_UNITS;

	while (i-- > 0) {
		unsigned shift = units[i].shift;
		uint64_t unit = (uint64_t)1 << shift;
		unsigned hundredths;

		/* Two decimals of a power of two are quarters. */
		if (bytes < unit || bytes % (unit / 4) != 0) {
			continue;
		}
		hundredths = (unsigned)(bytes % unit / (unit / 4)) * 25;
		if (hundredths == 0) {
			snprintf(text, text_size, "%" PRIu64 " %ciB", bytes >> shift,
				units[i].letter);
		} else if (hundredths % 10 == 0) {
			snprintf(text, text_size, "%" PRIu64 ".%u %ciB", bytes >> shift,
				hundredths / 10, units[i].letter);
		} else {
			snprintf(text, text_size, "%" PRIu64 ".%02u %ciB", bytes >> shift,
				hundredths, units[i].letter);
		}
		return;
	}
	snprintf(text, text_size, "%" PRIu64 " B", bytes);
}
