/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes and durations as people write them. */
#ifndef XU_SIZE_H
#define XU_SIZE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Parses a byte count: digits with an optional suffix K, M, G, T or P, each also as KiB or KB …
 * (all are powers of 1024, either case), or B, with one space before it or none. -EINVAL for
 * anything else, -ERANGE past 2^64-1; *ret_bytes is untouched then.
 */
int xu_size_parse(const char *text, uint64_t *ret_bytes);

/* Writes the count with the largest binary unit that needs at most two decimals: "256 MiB". */
void xu_size_format(uint64_t bytes, char *text, size_t text_size);

#endif
