/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: P and Q over buffers (docs/raid.md, "RAID6 arithmetic"): GF(2^8) with
 * the polynomial 11Dh and generator 2, P = XOR of the data, Q = XOR of 2^exponent * data. ISA-L
 * does the work; where its kernels want more sources or other alignment than there is, this file
 * falls back to its general dot product. Buffers are any address; lengths are multiples of 512
 * bytes. Sources are borrowed; no memory is allocated.
 */
#ifndef XBDEV_RAID_PARITY_H
#define XBDEV_RAID_PARITY_H

#include <stddef.h>
#include <stdint.h>

#define XBDEV_MD_PARITY_MAX 32u

/* dst = XOR of nr_sources (>= 1) buffers; dst may be one of them. */
void xbdev__md_xor(void *dst, void *const *sources, uint32_t nr_sources, size_t len_bytes);

/* P and Q of nr_data buffers, Q with an exponent (below 32, no two equal) per buffer; either of P
 * and Q may be NULL. */
void xbdev__md_pq(void *p, void *q, void *const *data, const uint8_t *exponents, uint32_t nr_data,
	size_t len_bytes);

/* dst ^= 2^exponent * src: one buffer's part of Q (old ^ new for a change of it). */
void xbdev__md_q_add(void *dst, const void *src, uint8_t exponent, size_t len_bytes);

/*
 * The data buffers that are missing, from the rest and the parities at hand: one from P (q NULL),
 * one from Q (p NULL), or two from both. missing[] are indices into data[], whose buffers are
 * written; p and q are only read. nr_missing is 1 or 2.
 */
void xbdev__md_recover(const void *p, const void *q, void *const *data, const uint8_t *exponents,
	uint32_t nr_data, const uint32_t *missing, uint32_t nr_missing, size_t len_bytes);

#endif
