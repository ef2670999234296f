/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C by ISA-L, which picks the CPU's fastest way at run time. Cannot fail. */
#include "lib/util/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L counts in int, so longer buffers go in parts. */
#define PART_MAX ((size_t)1 << 30)

uint32_t xu_crc32c_update(uint32_t crc, const void *buf, size_t len)
{
	const unsigned char *pos = buf;

	while (len > 0) {
		size_t part = len < PART_MAX ? len : PART_MAX;

		/* The parameter lacks a const; the function only reads. */
		crc = crc32_iscsi((unsigned char *)(uintptr_t)pos, (int)part, crc);
		pos += part;
		len -= part;
	}
	return crc;
}
