/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * xoshiro256** (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators"), seeded
 * through SplitMix64 as its authors advise, so that near seeds give unrelated sequences. Cannot
 * fail: without getrandom() the entropy seed falls back on clocks and addresses, which is enough
 * for what this generator is for.
 */
#include "lib/util/random.h"

#include "lib/util/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

__extension__ typedef unsigned __int128 u128;

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t value = *state += 0x9e3779b97f4a7c15ull;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ value >> 27) * 0x94d049bb133111ebull;
	return value ^ value >> 31;
}

void xu_random_seed(struct xu_random *rnd, uint64_t seed)
{
	int i;

	for (i = 0; i < 4; i++) {
		rnd->s[i] = splitmix64(&seed);
	}
}

void xu_random_seed_entropy(struct xu_random *rnd)
{
	const struct xu_clock *clock = xu_clock_system();
	ssize_t got;

	do {
		got = getrandom(rnd->s, sizeof(rnd->s), 0);
	} while (got < 0 && errno == EINTR);
	/* The state must not be all zero; the kernel may also be too old, or a sandbox forbid. */
	if (got != (ssize_t)sizeof(rnd->s) ||
		(rnd->s[0] | rnd->s[1] | rnd->s[2] | rnd->s[3]) == 0) {
		xu_random_seed(rnd, xu_ticks() ^ rotate_left(clock->wall_ns(clock), 20) ^
					    (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)rnd);
	}
}

uint64_t xu_random_u64(struct xu_random *rnd)
{
	uint64_t *s = rnd->s;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t shifted = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= shifted;
	s[3] = rotate_left(s[3], 45);
	return result;
}

/* Lemire, "Fast Random Integer Generation in an Interval": the high half of a 128-bit product is
 * the answer; the few low halves that would make some answers likelier are drawn again. */
uint64_t xu_random_below(struct xu_random *rnd, uint64_t bound)
{
	uint64_t refused;
	u128 product;

	assert(bound > 0);
	product = (u128)xu_random_u64(rnd) * bound;
	if ((uint64_t)product < bound) {
		refused = -bound % bound;
		while ((uint64_t)product < refused) {
			product = (u128)xu_random_u64(rnd) * bound;
		}
	}
	return (uint64_t)(product >> 64);
}

void xu_random_bytes(struct xu_random *rnd, void *buf, size_t len_bytes)
{
	unsigned char *out = buf;
	uint64_t value;

	/* A copy whose length is known is a store, and not a call. */
	for (; len_bytes >= sizeof(value); out += sizeof(value), len_bytes -= sizeof(value)) {
		value = xu_random_u64(rnd);
		memcpy(out, &value, sizeof(value));
	}
	if (len_bytes > 0) {
		value = xu_random_u64(rnd);
		memcpy(out, &value, len_bytes);
	}
}
