/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * P and Q by ISA-L (docs/raid.md, "RAID6 arithmetic"). Every result is a sum of buffers, each times
 * a constant of GF(2^8), so there are three ways: xor_gen() when the constants are 1, pq_gen() when
 * they are those of P and Q with the exponents 0 to n-1 in any order, ec_encode_data() otherwise.
 * The first two want aligned buffers; the other ways take any. Nothing here can fail.
 */
#include "lib/xbdev/raid/parity.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>

#define ALIGN    32u /* of buffers, for xor_gen() and pq_gen() */
#define TABLE    32u /* bytes that ISA-L wants per constant */
#define ROWS_MAX 2u

/* 2^0 to 2^31, modulo 11Dh. */
static const uint8_t powers[XBDEV_MD_PARITY_MAX] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80,
	0x1d, 0x3a, 0x74, 0xe8, 0xcd, 0x87, 0x13, 0x26, 0x4c, 0x98, 0x2d, 0x5a, 0xb4, 0x75, 0xea,
	0xc9, 0x8f, 0x03, 0x06, 0x0c, 0x18, 0x30, 0x60, 0xc0};

/* A register of any machine that there is, at any address; four of them are a line of the cache. */
typedef uint64_t word __attribute__((vector_size(16), aligned(1), may_alias));

static bool is_aligned(const void *buf)
{
	return ((uintptr_t)buf & (ALIGN - 1)) == 0;
}

static bool are_aligned(void *const *bufs, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (!is_aligned(bufs[i])) {
			return false;
		}
	}
	return true;
}

static void xor_unaligned(void *dst, void *const *sources, uint32_t nr_sources, size_t len_bytes)
{
	size_t at;
	uint32_t i;

	for (at = 0; at < len_bytes; at += 4 * sizeof(word)) {
		const word *from = (const word *)((const uint8_t *)sources[0] + at);
		word sum0 = from[0], sum1 = from[1], sum2 = from[2], sum3 = from[3];
		word *to = (word *)((uint8_t *)dst + at);

		for (i = 1; i < nr_sources; i++) {
			from = (const word *)((const uint8_t *)sources[i] + at);
			sum0 ^= from[0];
			sum1 ^= from[1];
			sum2 ^= from[2];
			sum3 ^= from[3];
		}
		to[0] = sum0;
		to[1] = sum1;
		to[2] = sum2;
		to[3] = sum3;
	}
}

void xbdev__md_xor(void *dst, void *const *sources, uint32_t nr_sources, size_t len_bytes)
{
	void *array[XBDEV_MD_PARITY_MAX + 2];
	int rc;

	assert(nr_sources >= 1 && nr_sources <= XBDEV_MD_PARITY_MAX + 1);
	assert(len_bytes % 512 == 0 && len_bytes <= INT_MAX);
	if (nr_sources == 1) {
		memmove(dst, sources[0], len_bytes);
		return;
	}
	if (!is_aligned(dst) || !are_aligned(sources, nr_sources)) {
		xor_unaligned(dst, sources, nr_sources, len_bytes);
		return;
	}
	memcpy(array, sources, nr_sources * sizeof(array[0]));
	array[nr_sources] = dst;
	rc = xor_gen((int)nr_sources + 1, (int)len_bytes, array);
	assert(rc == 0);
	(void)rc;
}

/*
 * dsts[r] = sum of factors[r][i] * sources[i]. A destination may not be a source.
 */
static void combine(void *const *dsts, uint32_t nr_rows,
	const uint8_t factors[ROWS_MAX][XBDEV_MD_PARITY_MAX], void *const *sources,
	uint32_t nr_sources, size_t len_bytes)
{
	uint8_t matrix[ROWS_MAX * XBDEV_MD_PARITY_MAX];
	uint8_t tables[TABLE * ROWS_MAX * XBDEV_MD_PARITY_MAX];
	unsigned char *from[XBDEV_MD_PARITY_MAX], *to[ROWS_MAX];
	uint32_t i;

	assert(nr_sources >= 1 && nr_sources <= XBDEV_MD_PARITY_MAX);
	assert(len_bytes % 512 == 0 && len_bytes <= INT_MAX);
	for (i = 0; i < nr_rows; i++) {
		memcpy(matrix + i * nr_sources, factors[i], nr_sources);
		to[i] = dsts[i];
	}
	for (i = 0; i < nr_sources; i++) {
		from[i] = sources[i];
	}
	ec_init_tables((int)nr_sources, (int)nr_rows, matrix, tables);
	ec_encode_data((int)len_bytes, (int)nr_sources, (int)nr_rows, tables, from, to);
}

/*
 * Brings the buffers into the order of their exponents, which are distinct; false when those are
 * not 0 to nr_data-1.
 */
static bool sort_by_exponent(
	void *const *data, const uint8_t *exponents, uint32_t nr_data, void **ret_sorted)
{
	uint32_t i;

	for (i = 0; i < nr_data; i++) {
		if (exponents[i] >= nr_data) {
			return false;
		}
		ret_sorted[exponents[i]] = data[i];
	}
	return true;
}

/* Both by pq_gen(), which wants two buffers or more; false: not possible. */
static bool pq_fast(void *p, void *q, void *const *data, const uint8_t *exponents, uint32_t nr_data,
	size_t len_bytes)
{
	void *array[XBDEV_MD_PARITY_MAX + 2];
	int rc;

	if (nr_data < 2 || !is_aligned(p) || !is_aligned(q) || !are_aligned(data, nr_data) ||
		!sort_by_exponent(data, exponents, nr_data, array)) {
		return false;
	}
	array[nr_data] = p;
	array[nr_data + 1] = q;
	rc = pq_gen((int)nr_data + 2, (int)len_bytes, array);
	assert(rc == 0);
	(void)rc;
	return true;
}

void xbdev__md_pq(void *p, void *q, void *const *data, const uint8_t *exponents, uint32_t nr_data,
	size_t len_bytes)
{
	uint8_t factors[ROWS_MAX][XBDEV_MD_PARITY_MAX];
	void *dsts[ROWS_MAX];
	uint32_t nr_rows = 0;
	uint32_t i;

	assert(nr_data >= 1 && nr_data <= XBDEV_MD_PARITY_MAX);
	assert(len_bytes % 512 == 0 && len_bytes <= INT_MAX);
	if (q == NULL) {
		xbdev__md_xor(p, data, nr_data, len_bytes);
		return;
	}
	if (p != NULL && pq_fast(p, q, data, exponents, nr_data, len_bytes)) {
		return;
	}
	if (p != NULL) {
		memset(factors[nr_rows], 1, nr_data);
		dsts[nr_rows++] = p;
	}
	for (i = 0; i < nr_data; i++) {
		assert(exponents[i] < XBDEV_MD_PARITY_MAX);
		factors[nr_rows][i] = powers[exponents[i]];
	}
	dsts[nr_rows++] = q;
	combine(dsts, nr_rows, factors, data, nr_data, len_bytes);
}

void xbdev__md_q_add(void *dst, const void *src, uint8_t exponent, size_t len_bytes)
{
	uint8_t table[TABLE];

	assert(exponent < XBDEV_MD_PARITY_MAX);
	assert(len_bytes % 512 == 0 && len_bytes <= INT_MAX);
	gf_vect_mul_init(powers[exponent], table);
	/* The parameter lacks a const; the function only reads. */
	gf_vect_mad((int)len_bytes, 1, 0, table, (unsigned char *)(uintptr_t)src, dst);
}

/* The data that is there, behind the parities; returns how many buffers. */
static uint32_t gather(const void *p, const void *q, void *const *data, uint32_t nr_data,
	uint32_t missing, void *ret_sources[XBDEV_MD_PARITY_MAX + 1])
{
	uint32_t count = 0;
	uint32_t i;

	/* Only read, as all sources. */
	if (p != NULL) {
		ret_sources[count++] = (void *)(uintptr_t)p;
	}
	if (q != NULL) {
		ret_sources[count++] = (void *)(uintptr_t)q;
	}
	for (i = 0; i < nr_data; i++) {
		if ((missing >> i & 1) == 0) {
			ret_sources[count++] = data[i];
		}
	}
	return count;
}

/* x from Q: Q has 2^e(x) * x in it, so all of it is divided by that. */
static void recover_from_q(const void *q, void *const *data, const uint8_t *exponents,
	uint32_t nr_data, uint32_t x, size_t len_bytes)
{
	uint8_t factors[ROWS_MAX][XBDEV_MD_PARITY_MAX];
	void *sources[XBDEV_MD_PARITY_MAX + 1];
	uint8_t divisor = gf_inv(powers[exponents[x]]);
	uint32_t nr_sources = gather(NULL, q, data, nr_data, (uint32_t)1 << x, sources);
	uint32_t count = 0;
	uint32_t i;

	factors[0][count++] = divisor;
	for (i = 0; i < nr_data; i++) {
		if (i != x) {
			factors[0][count++] = gf_mul(divisor, powers[exponents[i]]);
		}
	}
	combine(&data[x], 1, factors, sources, nr_sources, len_bytes);
}

/*
 * x and y from both. With Pxy = x + y and Qxy = 2^e(x) x + 2^e(y) y, what is left of P and Q
 * without the data that is there: x = (2^e(y) Pxy + Qxy) / (2^e(x) + 2^e(y)), y = x + Pxy. Resolved
 * for every source, that is one pass over all of them.
 */
static void recover_two(const void *p, const void *q, void *const *data, const uint8_t *exponents,
	uint32_t nr_data, uint32_t x, uint32_t y, size_t len_bytes)
{
	uint8_t factors[ROWS_MAX][XBDEV_MD_PARITY_MAX];
	void *sources[XBDEV_MD_PARITY_MAX + 1], *dsts[ROWS_MAX] = {data[x], data[y]};
	uint32_t missing = (uint32_t)1 << x | (uint32_t)1 << y;
	uint32_t nr_sources = gather(p, q, data, nr_data, missing, sources);
	uint8_t of_q = gf_inv(powers[exponents[x]] ^ powers[exponents[y]]);
	uint8_t of_p = gf_mul(powers[exponents[y]], of_q);
	uint32_t count = 0;
	uint32_t i;

	factors[0][count++] = of_p;
	factors[0][count++] = of_q;
	for (i = 0; i < nr_data; i++) {
		if (i != x && i != y) {
			factors[0][count++] = of_p ^ gf_mul(of_q, powers[exponents[i]]);
		}
	}
	/* Pxy has everything once, but no Q. */
	for (i = 0; i < nr_sources; i++) {
		factors[1][i] = factors[0][i] ^ (i != 1);
	}
	combine(dsts, 2, factors, sources, nr_sources, len_bytes);
}

void xbdev__md_recover(const void *p, const void *q, void *const *data, const uint8_t *exponents,
	uint32_t nr_data, const uint32_t *missing, uint32_t nr_missing, size_t len_bytes)
{
	void *sources[XBDEV_MD_PARITY_MAX + 1];
	uint32_t nr_sources;

	assert(nr_data >= 1 && nr_data <= XBDEV_MD_PARITY_MAX && missing[0] < nr_data);
	if (nr_missing == 2) {
		assert(p != NULL && q != NULL && missing[1] < nr_data && missing[0] != missing[1]);
		recover_two(p, q, data, exponents, nr_data, missing[0], missing[1], len_bytes);
		return;
	}
	assert(nr_missing == 1);
	if (p == NULL) {
		assert(q != NULL);
		recover_from_q(q, data, exponents, nr_data, missing[0], len_bytes);
		return;
	}
	nr_sources = gather(p, NULL, data, nr_data, (uint32_t)1 << missing[0], sources);
	xbdev__md_xor(data[missing[0]], sources, nr_sources, len_bytes);
}
