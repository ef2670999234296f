/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See mask.h. A mask is a header of five bytes and then the bits, the lowest of each byte first, so
 * byte n of the mask holds bits 8 * (n - 5) and on; what lies behind the last bit is zero.
 */
#include "lib/xbdev/lvol/mask.h"

#include <endian.h>
#include <string.h>

#include "lib/xbdev/lvol/ondisk.h"

#define HEADER sizeof(struct bs_mask)

void xbdev__lvs_mask_parse(
	struct xbdev_lvs_bits *bits, const void *bytes, uint64_t offset, size_t len)
{
	const uint8_t *from = bytes;

	for (size_t i = 0; i < len; i++) {
		uint64_t at = offset + i, first = (at - HEADER) * 8;
		uint32_t left = at >= HEADER && first < bits->nr_bits ? from[i] : 0;

		while (left != 0) {
			uint64_t bit = first + (uint64_t)__builtin_ctz(left);

			if (bit < bits->nr_bits) {
				xbdev__lvs_bits_set(bits, bit);
			}
			left &= left - 1;
		}
	}
}

void xbdev__lvs_mask_format(const struct xbdev_lvs_bits *bits, enum xbdev_lvs_mask type,
	uint64_t offset, size_t len, void *ret_bytes)
{
	struct bs_mask header = {.type = (uint8_t)type, .length = htole32((uint32_t)bits->nr_bits)};
	uint8_t *to = ret_bytes;

	for (size_t i = 0; i < len; i++) {
		uint64_t at = offset + i, first = (at - HEADER) * 8;

		if (at < HEADER) {
			memcpy(to + i, (const uint8_t *)&header + at, 1);
		} else if (first < bits->nr_bits) {
			to[i] = (uint8_t)(bits->words[first / 64] >> (first % 64));
		} else {
			to[i] = 0;
		}
	}
}
