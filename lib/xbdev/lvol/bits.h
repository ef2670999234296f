/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: a set of numbers 0 .. nr_bits-1 as bits, with a count of those in it,
 * that gives away the lowest one which is not: md pages and clusters in use.
 */
#ifndef XBDEV_LVOL_BITS_H
#define XBDEV_LVOL_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct xbdev_lvs_bits {
	uint64_t *words;
	uint64_t nr_bits;
	_Atomic uint64_t nr_set; /* changed by one thread; others may read it */
	uint64_t lowest;         /* nothing below is free */
};

/* All clear. -ENOMEM. */
int xbdev__lvs_bits_init(struct xbdev_lvs_bits *bits, uint64_t nr_bits);
void xbdev__lvs_bits_fini(struct xbdev_lvs_bits *bits);
/* More bits, the new ones clear. -ENOMEM: nothing has changed. */
int xbdev__lvs_bits_grow(struct xbdev_lvs_bits *bits, uint64_t nr_bits);

static inline bool xbdev__lvs_bits_test(const struct xbdev_lvs_bits *bits, uint64_t bit)
{
	return (bits->words[bit / 64] >> (bit % 64) & 1) != 0;
}

/* Whether it was not set before. */
bool xbdev__lvs_bits_set(struct xbdev_lvs_bits *bits, uint64_t bit);
void xbdev__lvs_bits_clear(struct xbdev_lvs_bits *bits, uint64_t bit);

/* Sets the lowest bit that is clear; UINT64_MAX: there is none. */
uint64_t xbdev__lvs_bits_take(struct xbdev_lvs_bits *bits);
/* The first bit at or behind `from` that is set; nr_bits: none is. */
uint64_t xbdev__lvs_bits_next(const struct xbdev_lvs_bits *bits, uint64_t from);

static inline uint64_t xbdev__lvs_bits_free(const struct xbdev_lvs_bits *bits)
{
	return bits->nr_bits - atomic_load_explicit(&bits->nr_set, memory_order_relaxed);
}

#endif
