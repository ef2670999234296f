/* SPDX-License-Identifier: BSD-3-Clause */
/* The encoding of RFC 3629, of which nothing is stored. */
#include "lib/util/utf8.h"

size_t xu_utf8_char(const void *bytes, size_t len, uint32_t *ret_code)
{
	const unsigned char *text = bytes;
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t size, i;

	if (text[0] < 0x80) {
		*ret_code = text[0];
		return 1;
	} else if (text[0] >= 0xc0 && text[0] < 0xe0) {
		size = 2;
		code = text[0] & 0x1f;
	} else if (text[0] >= 0xe0 && text[0] < 0xf0) {
		size = 3;
		code = text[0] & 0x0f;
	} else if (text[0] >= 0xf0 && text[0] < 0xf8) {
		size = 4;
		code = text[0] & 0x07;
	} else {
		return 0;
	}
	if (size > len) {
		return 0;
	}
	for (i = 1; i < size; i++) {
		if ((text[i] & 0xc0) != 0x80) {
			return 0;
		}
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < smallest[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
		return 0;
	}
	*ret_code = code;
	return size;
}
