/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * P and Q against a slow GF(2^8) of the test's own, which multiplies bit by bit: for exponents in
 * any order and with gaps, buffers at any address, lengths from 512 bytes to 128 KiB; and
 * everything that may be missing comes back. Sources stay as they were, and nothing beyond a buffer
 * is written.
 */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/random.h"
#include "lib/xbdev/raid/parity.h"

#define LEN_MAX  (128u << 10)
#define MARGIN   64u /* on both sides of a buffer, to be left alone */
#define MARK     0xc3
#define NR_BUFS  40u
#define DATA_MAX XBDEV_MD_PARITY_MAX

static uint8_t *memory[NR_BUFS]; /* each of LEN_MAX and two margins */
static uint8_t *expected_p, *expected_q;
static struct xu_random rnd;

/* Buffers of one case, with what they held before. */
struct bufs {
	void *data[DATA_MAX];
	void *p, *q;
	uint8_t exponents[DATA_MAX];
	uint32_t nr_data;
	size_t len;
};

static uint8_t slow_mul(uint8_t a, uint8_t b)
{
	uint8_t sum = 0;

	for (; b != 0; b >>= 1) {
		sum ^= (b & 1) != 0 ? a : 0;
		a = (uint8_t)(a << 1 ^ ((a & 0x80) != 0 ? 0x1d : 0));
	}
	return sum;
}

static uint8_t slow_power(uint32_t exponent)
{
	uint8_t power = 1;

	while (exponent-- > 0) {
		power = slow_mul(power, 2);
	}
	return power;
}

/* Into expected_p and expected_q. */
static void slow_pq(const struct bufs *b)
{
	uint32_t i, j;
	size_t at;

	memset(expected_p, 0, b->len);
	memset(expected_q, 0, b->len);
	for (i = 0; i < b->nr_data; i++) {
		const uint8_t *from = b->data[i];
		uint8_t products[256];

		for (j = 0; j < 256; j++) {
			products[j] = slow_mul(slow_power(b->exponents[i]), (uint8_t)j);
		}
		for (at = 0; at < b->len; at++) {
			expected_p[at] ^= from[at];
			expected_q[at] ^= products[from[at]];
		}
	}
}

/* A buffer of this length at an address `shift` off an aligned one; the next of the memory. */
static uint8_t *take(uint32_t index, size_t len, uint32_t shift)
{
	uint8_t *buf = memory[index] + MARGIN + shift;

	assert_in_range(index, 0, NR_BUFS - 1);
	memset(memory[index], MARK, len + 2 * (size_t)MARGIN + shift);
	return buf;
}

static void check_margins(uint32_t index, const uint8_t *buf, size_t len)
{
	const uint8_t *byte;

	for (byte = memory[index]; byte < buf; byte++) {
		assert_int_equal(*byte, MARK);
	}
	for (byte = buf + len; byte < buf + len + MARGIN; byte++) {
		assert_int_equal(*byte, MARK);
	}
}

static void check_all_margins(const struct bufs *b)
{
	uint32_t i;

	for (i = 0; i < b->nr_data; i++) {
		check_margins(i, b->data[i], b->len);
	}
	check_margins(DATA_MAX, b->p, b->len);
	check_margins(DATA_MAX + 1, b->q, b->len);
}

/* Random data; exponents 0, 1, 2, ...; all buffers aligned, or each at any address. */
static void make(struct bufs *b, uint32_t nr_data, size_t len, bool is_aligned)
{
	uint32_t i;

	memset(b, 0, sizeof(*b));
	b->nr_data = nr_data;
	b->len = len;
	for (i = 0; i < nr_data; i++) {
		b->data[i] = take(i, len, is_aligned ? 0 : (uint32_t)xu_random_below(&rnd, MARGIN));
		xu_random_bytes(&rnd, b->data[i], len);
		b->exponents[i] = (uint8_t)i;
	}
	b->p = take(DATA_MAX, len, is_aligned ? 0 : (uint32_t)xu_random_below(&rnd, MARGIN));
	b->q = take(DATA_MAX + 1, len, is_aligned ? 0 : (uint32_t)xu_random_below(&rnd, MARGIN));
}

static void shuffle(uint8_t *exponents, uint32_t count)
{
	uint32_t i;

	for (i = count; i > 1; i--) {
		uint32_t j = (uint32_t)xu_random_below(&rnd, i);
		uint8_t kept = exponents[i - 1];

		exponents[i - 1] = exponents[j];
		exponents[j] = kept;
	}
}

/* As DDF's: the numbers of the roles, with two left out. */
static void leave_out_two(struct bufs *b)
{
	uint32_t first = (uint32_t)xu_random_below(&rnd, b->nr_data + 1);
	uint32_t second = first + 1 + (uint32_t)xu_random_below(&rnd, b->nr_data + 1 - first);
	uint32_t i, role = 0;

	for (i = 0; i < b->nr_data; i++, role++) {
		while (role == first || role == second) {
			role++;
		}
		b->exponents[i] = (uint8_t)role;
	}
	shuffle(b->exponents, b->nr_data);
}

static void check_pq(struct bufs *b)
{
	slow_pq(b);
	xbdev__md_pq(b->p, b->q, b->data, b->exponents, b->nr_data, b->len);
	assert_memory_equal(b->p, expected_p, b->len);
	assert_memory_equal(b->q, expected_q, b->len);
	memset(b->p, 0, b->len);
	memset(b->q, 0, b->len);
	xbdev__md_pq(b->p, NULL, b->data, b->exponents, b->nr_data, b->len);
	assert_memory_equal(b->p, expected_p, b->len);
	xbdev__md_pq(NULL, b->q, b->data, b->exponents, b->nr_data, b->len);
	assert_memory_equal(b->q, expected_q, b->len);
	check_all_margins(b);
	/* The data has not changed. */
	slow_pq(b);
	assert_memory_equal(b->p, expected_p, b->len);
	assert_memory_equal(b->q, expected_q, b->len);
}

static size_t random_len(void)
{
	size_t len = 512 * (1 + xu_random_below(&rnd, 16));

	return xu_random_below(&rnd, 8) == 0 ? LEN_MAX - len + 512 : len;
}

static void test_parity_of_any_number_of_buffers(void **state)
{
	struct bufs b;
	uint32_t n, i;

	(void)state;
	for (n = 1; n <= DATA_MAX; n++) {
		for (i = 0; i < 4; i++) {
			bool is_aligned = i % 2 == 0;

			make(&b, n, random_len(), is_aligned);
			check_pq(&b);
			shuffle(b.exponents, n);
			check_pq(&b);
			if (n <= DATA_MAX - 2) {
				leave_out_two(&b);
				check_pq(&b);
			}
		}
	}
}

static void test_parity_of_any_length(void **state)
{
	struct bufs b;
	size_t len;

	(void)state;
	for (len = 512; len <= 16384; len += 512) {
		make(&b, 3, len, true);
		check_pq(&b);
		make(&b, 3, len, false);
		check_pq(&b);
	}
	make(&b, 3, LEN_MAX, true);
	check_pq(&b);
	make(&b, 3, LEN_MAX, false);
	check_pq(&b);
}

/* Every order of four exponents. */
static void test_parity_of_any_order(void **state)
{
	struct bufs b;
	uint32_t i, count = 0;

	(void)state;
	make(&b, 4, 512, true);
	for (i = 0; i < 256; i++) {
		uint32_t seen = 0, j;

		for (j = 0; j < 4; j++) {
			b.exponents[j] = (uint8_t)(i >> 2 * j & 3);
			seen |= 1u << b.exponents[j];
		}
		if (seen == 15) {
			check_pq(&b);
			count++;
		}
	}
	assert_int_equal(count, 24);
}

static void test_parity_xor(void **state)
{
	struct bufs b;
	uint32_t n, into;

	(void)state;
	for (n = 1; n <= DATA_MAX; n++) {
		make(&b, n, random_len(), n % 2 == 0);
		slow_pq(&b);
		xbdev__md_xor(b.p, b.data, n, b.len);
		assert_memory_equal(b.p, expected_p, b.len);
		/* The sum may take the place of a source. */
		into = (uint32_t)xu_random_below(&rnd, n);
		xbdev__md_xor(b.data[into], b.data, n, b.len);
		assert_memory_equal(b.data[into], expected_p, b.len);
		check_all_margins(&b);
	}
}

/* Q after one buffer has changed, without the others. */
static void test_parity_q_add(void **state)
{
	struct bufs b;
	uint32_t exponent;

	(void)state;
	for (exponent = 0; exponent < 2 * DATA_MAX; exponent++) {
		void *change = take(DATA_MAX + 2, LEN_MAX, exponent % 32);
		void *pair[2];

		make(&b, DATA_MAX, random_len(), exponent % 2 == 0);
		shuffle(b.exponents, DATA_MAX);
		b.exponents[1] = (uint8_t)(exponent % DATA_MAX);
		slow_pq(&b);
		memcpy(b.q, expected_q, b.len);
		xu_random_bytes(&rnd, change, b.len);
		xbdev__md_q_add(b.q, change, b.exponents[1], b.len);
		pair[0] = b.data[1];
		pair[1] = change;
		xbdev__md_xor(b.data[1], pair, 2, b.len);
		slow_pq(&b);
		assert_memory_equal(b.q, expected_q, b.len);
		check_all_margins(&b);
	}
}

/* Loses data x and y (y == x: only that) and gets it back from the parities given. */
static void lose(struct bufs *b, bool has_p, bool has_q, uint32_t x, uint32_t y)
{
	uint32_t missing[2] = {x, y}, nr_missing = x == y ? 1 : 2;
	uint32_t i;

	slow_pq(b);
	memcpy(b->p, expected_p, b->len);
	memcpy(b->q, expected_q, b->len);
	for (i = 0; i < nr_missing; i++) {
		memcpy(memory[DATA_MAX + 3 + i], b->data[missing[i]], b->len);
		memset(b->data[missing[i]], 0xee, b->len);
	}
	xbdev__md_recover(has_p ? b->p : NULL, has_q ? b->q : NULL, b->data, b->exponents,
		b->nr_data, missing, nr_missing, b->len);
	for (i = 0; i < nr_missing; i++) {
		assert_memory_equal(b->data[missing[i]], memory[DATA_MAX + 3 + i], b->len);
	}
	assert_memory_equal(b->p, expected_p, b->len);
	assert_memory_equal(b->q, expected_q, b->len);
	check_all_margins(b);
}

/* All pairs of few buffers, some pairs of many; alone from P, from Q, and with both at hand. */
static void lose_all(struct bufs *b)
{
	uint32_t n = b->nr_data;
	uint32_t x, y;

	for (x = 0; x < n; x++) {
		if (n > 8 && xu_random_below(&rnd, 4) != 0) {
			continue;
		}
		lose(b, true, false, x, x);
		lose(b, false, true, x, x);
		lose(b, true, true, x, x);
		for (y = 0; y < n; y++) {
			if (y != x && (n <= 8 || xu_random_below(&rnd, 8) == 0)) {
				lose(b, true, true, x, y);
			}
		}
	}
}

static void test_parity_recovers_what_is_lost(void **state)
{
	struct bufs b;
	uint32_t n;

	(void)state;
	/* Arrays of 3 to 32 members, of raid5 or raid6. */
	for (n = 1; n <= 31; n++) {
		make(&b, n, 512 * (1 + xu_random_below(&rnd, 8)), n % 2 == 0);
		lose_all(&b);
		make(&b, n, 512 * (1 + xu_random_below(&rnd, 8)), n % 2 != 0);
		if (n <= DATA_MAX - 2 && n % 3 != 0) {
			leave_out_two(&b);
		} else {
			shuffle(b.exponents, n);
		}
		lose_all(&b);
	}
	make(&b, 4, LEN_MAX, true);
	lose_all(&b);
	make(&b, DATA_MAX, 512, false);
	lose_all(&b);
}

static int setup(void **state)
{
	uint32_t i;

	(void)state;
	xu_random_seed(&rnd, 21);
	expected_p = malloc(LEN_MAX);
	expected_q = malloc(LEN_MAX);
	for (i = 0; i < NR_BUFS; i++) {
		memory[i] = aligned_alloc(64, LEN_MAX + 3 * MARGIN);
		if (memory[i] == NULL) {
			return -1;
		}
	}
	return expected_p != NULL && expected_q != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	uint32_t i;

	(void)state;
	free(expected_p);
	free(expected_q);
	for (i = 0; i < NR_BUFS; i++) {
		free(memory[i]);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parity_of_any_number_of_buffers),
		cmocka_unit_test(test_parity_of_any_length),
		cmocka_unit_test(test_parity_of_any_order),
		cmocka_unit_test(test_parity_xor),
		cmocka_unit_test(test_parity_q_add),
		cmocka_unit_test(test_parity_recovers_what_is_lost),
	};

	return cmocka_run_group_tests_name("xbdev_raid_parity", tests, setup, teardown);
}
