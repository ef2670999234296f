/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random numbers for decisions that a simulator must be able to replay: a seeded generator
 * (xoshiro256**, Blackman and Vigna, 2018). Not for secrets.
 */
#ifndef XU_RANDOM_H
#define XU_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct xu_random {
	uint64_t s[4];
};

/* Seeds the generator; the same seed gives the same sequence. */
void xu_random_seed(struct xu_random *rnd, uint64_t seed);

/* Seeds the generator from the kernel's entropy. */
void xu_random_seed_entropy(struct xu_random *rnd);

uint64_t xu_random_u64(struct xu_random *rnd);

/* A number in 0 … bound-1 without bias; bound > 0. */
uint64_t xu_random_below(struct xu_random *rnd, uint64_t bound);

void xu_random_bytes(struct xu_random *rnd, void *buf, size_t len_bytes);

#endif
