/* SPDX-License-Identifier: BSD-3-Clause */
/* A hash for tables in memory: FNV-1a of 32 bits (Fowler, Noll and Vo). Not against those who
 * choose what is hashed, and not for what is kept on disk. */
#ifndef XU_HASH_H
#define XU_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t xu_hash32(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint32_t hash = 2166136261u;

	while (len-- > 0) {
		hash = (hash ^ *at++) * 16777619u;
	}
	return hash;
}

#endif
