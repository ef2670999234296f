/* SPDX-License-Identifier: BSD-3-Clause */
/* Base64: four characters give three bytes; the last four may end in one or two '='. */
#include "lib/util/base64.h"

#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *xu_base64_encode(const void *bytes, size_t len)
{
	const uint8_t *in = bytes;
	char *text = malloc((len + 2) / 3 * 4 + 1), *out = text;

	for (size_t i = 0; i < len && text != NULL; i += 3) {
		uint32_t group = (uint32_t)in[i] << 16;

		group |= i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0;
		group |= i + 2 < len ? in[i + 2] : 0;
		*out++ = digits[group >> 18];
		*out++ = digits[group >> 12 & 63];
		*out++ = i + 1 < len ? digits[group >> 6 & 63] : '=';
		*out++ = i + 2 < len ? digits[group & 63] : '=';
	}
	if (text != NULL) {
		*out = '\0';
	}
	return text;
}

/* The six bits of a character, or -1. */
static int digit(char c)
{
	const char *found = c != '\0' ? strchr(digits, c) : NULL;

	return found != NULL ? (int)(found - digits) : -1;
}

uint8_t *xu_base64_decode(const char *text, size_t *ret_len)
{
	size_t len = strlen(text), padding = 0, at = 0;
	uint8_t *bytes;

	if (len % 4 != 0) {
		return NULL;
	}
	while (padding < 2 && padding < len && text[len - padding - 1] == '=') {
		padding++;
	}
	bytes = malloc(len / 4 * 3 + 1);
	for (size_t i = 0; i < len && bytes != NULL; i += 4) {
		uint32_t group = 0;

		for (size_t k = 0; k < 4; k++) {
			int value = i + k < len - padding ? digit(text[i + k]) : 0;

			if (value < 0) {
				free(bytes);
				return NULL;
			}
			group = group << 6 | (uint32_t)value;
		}
		bytes[at++] = (uint8_t)(group >> 16);
		bytes[at++] = (uint8_t)(group >> 8);
		bytes[at++] = (uint8_t)group;
	}
	*ret_len = at - padding;
	return bytes;
}
