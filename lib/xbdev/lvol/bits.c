/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See bits.h. Words of 64; those past the end of the last word are always clear, and the search for
 * a free one begins where the last one was found, so a store that fills up is not searched from its
 * start each time.
 */
#include "lib/xbdev/lvol/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t nr_words(uint64_t nr_bits)
{
	return (nr_bits + 63) / 64;
}

int xbdev__lvs_bits_init(struct xbdev_lvs_bits *bits, uint64_t nr_bits)
{
	*bits = (struct xbdev_lvs_bits){
		.words = calloc(nr_words(nr_bits) + 1, sizeof(uint64_t)),
		.nr_bits = nr_bits,
	};
	return bits->words != NULL ? 0 : -ENOMEM;
}

void xbdev__lvs_bits_fini(struct xbdev_lvs_bits *bits)
{
	free(bits->words);
	*bits = (struct xbdev_lvs_bits){0};
}

int xbdev__lvs_bits_grow(struct xbdev_lvs_bits *bits, uint64_t nr_bits)
{
	uint64_t old = nr_words(bits->nr_bits) + 1, new = nr_words(nr_bits) + 1;
	uint64_t *words;

	assert(nr_bits >= bits->nr_bits);
	words = realloc(bits->words, new * sizeof(uint64_t));
	if (words == NULL) {
		return -ENOMEM;
	}
	memset(words + old, 0, (new - old) * sizeof(uint64_t));
	bits->words = words;
	bits->nr_bits = nr_bits;
	return 0;
}

/* There is one writer, so no read-modify-write is needed. */
static void count(struct xbdev_lvs_bits *bits, uint64_t more)
{
	uint64_t nr_set = atomic_load_explicit(&bits->nr_set, memory_order_relaxed);

	atomic_store_explicit(&bits->nr_set, nr_set + more, memory_order_relaxed);
}

bool xbdev__lvs_bits_set(struct xbdev_lvs_bits *bits, uint64_t bit)
{
	assert(bit < bits->nr_bits);
	if (xbdev__lvs_bits_test(bits, bit)) {
		return false;
	}
	bits->words[bit / 64] |= UINT64_C(1) << (bit % 64);
	count(bits, 1);
	return true;
}

void xbdev__lvs_bits_clear(struct xbdev_lvs_bits *bits, uint64_t bit)
{
	assert(bit < bits->nr_bits && xbdev__lvs_bits_test(bits, bit));
	bits->words[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
	count(bits, UINT64_MAX);
	if (bit < bits->lowest) {
		bits->lowest = bit;
	}
}

uint64_t xbdev__lvs_bits_take(struct xbdev_lvs_bits *bits)
{
	for (uint64_t word = bits->lowest / 64; word < nr_words(bits->nr_bits); word++) {
		uint64_t bit;

		if (bits->words[word] == UINT64_MAX) {
			continue;
		}
		bit = word * 64 + (uint64_t)__builtin_ctzll(~bits->words[word]);
		if (bit >= bits->nr_bits) {
			break;
		}
		xbdev__lvs_bits_set(bits, bit);
		bits->lowest = bit + 1;
		return bit;
	}
	bits->lowest = bits->nr_bits;
	return UINT64_MAX;
}

uint64_t xbdev__lvs_bits_next(const struct xbdev_lvs_bits *bits, uint64_t from)
{
	uint64_t word = from / 64;
	uint64_t left;

	if (from >= bits->nr_bits) {
		return bits->nr_bits;
	}
	left = bits->words[word] & UINT64_MAX << (from % 64);
	while (left == 0) {
		if (++word >= nr_words(bits->nr_bits)) {
			return bits->nr_bits;
		}
		left = bits->words[word];
	}
	return word * 64 + (uint64_t)__builtin_ctzll(left);
}
