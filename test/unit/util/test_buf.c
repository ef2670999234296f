/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Aligned memory and the buffer pool: shape, bound, reuse across sizes, a long random run against a
 * model, and memory that the system does not give.
 */
#include "lib/util/buf.h"
#include "lib/util/random.h"
#include "test/unit/util/fail.h"
#include "test/unit/util/test.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

static bool is_zero(const unsigned char *buf, size_t size)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, size - 1) == 0;
}

static void test_buf_alloc_is_zeroed_and_aligned(void **state)
{
	static const size_t sizes[] = {
		1, 511, 4 * KIB, 4 * KIB + 1, MIB, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB};
	size_t i;
	int round;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* twice, so that the heap has something used to give */
		for (round = 0; round < 2; round++) {
			unsigned char *buf = xu_buf_alloc(sizes[i]);

			assert_non_null(buf);
			assert_int_equal((uintptr_t)buf % XU_BUF_ALIGN, 0);
			assert_true(is_zero(buf, sizes[i]));
			memset(buf, 0xaa, sizes[i]);
			xu_buf_free(buf, sizes[i]);
		}
	}
}

static void test_buf_alloc_large_fits_huge_pages(void **state)
{
	unsigned char *buf = xu_buf_alloc(3 * MIB);

	assert_non_null(buf);
	assert_int_equal((uintptr_t)buf % (2 * MIB), 0);
	xu_buf_free(buf, 3 * MIB);
}

static void test_buf_alloc_survives_impossible_sizes(void **state)
{
	void *buf = xu_buf_alloc(0);

	assert_non_null(buf);
	xu_buf_free(buf, 0);
	assert_null(xu_buf_alloc(SIZE_MAX));
	assert_null(xu_buf_alloc(SIZE_MAX - 4 * MIB));
	assert_null(xu_buf_alloc((size_t)1 << 62));
	xu_buf_free(NULL, 123);
	xu_buf_free(NULL, 4 * MIB);
}

static void test_buf_alloc_survives_no_memory(void **state)
{
	static const size_t sizes[] = {64 * KIB, 4 * MIB};
	unsigned char *buf;
	unsigned n;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fail_arm_from(1);
		assert_null(xu_buf_alloc(sizes[i]));
		assert_true(fail_disarm());
	}
	/* Huge pages, addresses for ordinary ones, those: without huge pages each later one alone
	 * may fail too. */
	for (n = 2; n <= 3; n++) {
		fail_huge_pages();
		fail_arm(n);
		buf = xu_buf_alloc(4 * MIB);
		assert_true(fail_disarm());
		assert_null(buf);
	}
}

static void test_buf_alloc_falls_back_to_ordinary_pages(void **state)
{
	unsigned char *buf;

	fail_arm(1); /* the one with MAP_HUGETLB */
	buf = xu_buf_alloc(4 * MIB);
	assert_true(fail_disarm());
	assert_non_null(buf);
	assert_true(is_zero(buf, 4 * MIB));
	memset(buf, 1, 4 * MIB);
	xu_buf_free(buf, 4 * MIB);
}

static void test_buf_alloc_survives_huge_pages_that_cannot_be_had(void **state)
{
	unsigned char *buf;

	fail_huge_pages();
	buf = xu_buf_alloc(4 * MIB);
	assert_true(fail_disarm());
	assert_non_null(buf);
	assert_true(is_zero(buf, 4 * MIB));
	memset(buf, 1, 4 * MIB);
	xu_buf_free(buf, 4 * MIB);
}

static void test_bufpool_get_every_class(void **state)
{
	struct xu_bufpool pool;
	size_t shift, used = 0;
	unsigned char *bufs[64] = {0};

	xu_bufpool_init(&pool, 32 * MIB);
	assert_int_equal(pool.taken_bytes, 0); /* nothing before it is needed */
	for (shift = XU_BUF_CLASS_MIN; shift <= XU_BUF_CLASS_MAX; shift++) {
		size_t class_bytes = (size_t)1 << shift;

		bufs[shift] = xu_bufpool_get(&pool, class_bytes - 1);
		assert_non_null(bufs[shift]);
		assert_int_equal((uintptr_t)bufs[shift] % XU_BUF_ALIGN, 0);
		memset(bufs[shift], (int)shift, class_bytes - 1);
		used += class_bytes;
		assert_int_equal(pool.used_bytes, used);
		assert_true(pool.taken_bytes >= used && pool.taken_bytes <= 32 * MIB);
	}
	for (shift = XU_BUF_CLASS_MIN; shift <= XU_BUF_CLASS_MAX; shift++) {
		size_t class_bytes = (size_t)1 << shift;

		assert_int_equal(bufs[shift][0], shift);
		assert_memory_equal(bufs[shift], bufs[shift] + 1, class_bytes - 2);
		xu_bufpool_put(&pool, bufs[shift], class_bytes - 1);
	}
	assert_int_equal(pool.used_bytes, 0);
	assert_int_equal(pool.nr_failed, 0);
	xu_bufpool_fini(&pool);
}

static void test_bufpool_sizes_share_their_class(void **state)
{
	struct xu_bufpool pool;
	void *buf;

	xu_bufpool_init(&pool, 2 * MIB);
	buf = xu_bufpool_get(&pool, 4097);
	assert_int_equal(pool.used_bytes, 8 * KIB);
	xu_bufpool_put(&pool, buf, 4097);
	assert_ptr_equal(xu_bufpool_get(&pool, 8192), buf);
	xu_bufpool_put(&pool, buf, 8192);
	assert_ptr_equal(xu_bufpool_get(&pool, 5000), buf);
	xu_bufpool_put(&pool, buf, 5000);
	buf = xu_bufpool_get(&pool, 1);
	assert_int_equal(pool.used_bytes, 4 * KIB);
	xu_bufpool_put(&pool, buf, 4096);
	xu_bufpool_fini(&pool);
}

static void test_bufpool_reuses_the_warmest(void **state)
{
	struct xu_bufpool pool;
	void *a, *b;
	size_t taken;

	xu_bufpool_init(&pool, 64 * MIB);
	a = xu_bufpool_get(&pool, MIB);
	b = xu_bufpool_get(&pool, MIB);
	taken = pool.taken_bytes;
	xu_bufpool_put(&pool, b, MIB);
	xu_bufpool_put(&pool, a, MIB);
	assert_int_equal(pool.classes[20 - XU_BUF_CLASS_MIN].nr_free, 2);
	assert_ptr_equal(xu_bufpool_get(&pool, MIB), a);
	assert_ptr_equal(xu_bufpool_get(&pool, MIB), b);
	assert_int_equal(pool.taken_bytes, taken);
	xu_bufpool_put(&pool, a, MIB);
	xu_bufpool_put(&pool, b, MIB);
	xu_bufpool_fini(&pool);
}

/* Free buffers of another size are left alone while there is new memory to be had. */
static void test_bufpool_does_not_split_below_the_bound(void **state)
{
	struct xu_bufpool pool;
	void *large, *small[2 * 512];
	size_t i;

	xu_bufpool_init(&pool, 16 * MIB);
	large = xu_bufpool_get(&pool, 4 * MIB);
	xu_bufpool_put(&pool, large, 4 * MIB);
	for (i = 0; i < ARRAY_SIZE(small); i++) {
		small[i] = xu_bufpool_get(&pool, 4 * KIB);
		assert_non_null(small[i]);
	}
	assert_int_equal(pool.classes[XU_BUF_NR_CLASSES - 1].nr_free, 1);
	assert_int_equal(pool.taken_bytes, 8 * MIB);
	assert_ptr_equal(xu_bufpool_get(&pool, 4 * MIB), large);
	xu_bufpool_put(&pool, large, 4 * MIB);
	for (i = 0; i < ARRAY_SIZE(small); i++) {
		xu_bufpool_put(&pool, small[i], 4 * KIB);
	}
	xu_bufpool_fini(&pool);
}

/* Fills the pool with buffers of `size`, checks that they are all of the bound, and empties it. */
static void fill_and_empty(struct xu_bufpool *pool, size_t size)
{
	size_t count = pool->limit_bytes / size, i;
	unsigned char **bufs = calloc(count, sizeof(*bufs));
	uint64_t nr_failed = pool->nr_failed;

	assert_non_null(bufs);
	for (i = 0; i < count; i++) {
		bufs[i] = xu_bufpool_get(pool, size);
		assert_non_null(bufs[i]);
		memcpy(bufs[i], &i, sizeof(i));
		memcpy(bufs[i] + size - sizeof(i), &i, sizeof(i));
	}
	assert_int_equal(pool->used_bytes, pool->limit_bytes);
	assert_int_equal(pool->taken_bytes, pool->limit_bytes);
	assert_null(xu_bufpool_get(pool, size));
	assert_null(xu_bufpool_get(pool, 1));
	assert_int_equal(pool->nr_failed, nr_failed + 2);
	for (i = 0; i < XU_BUF_NR_CLASSES; i++) {
		assert_int_equal(pool->classes[i].nr_free, 0);
	}
	for (i = 0; i < count; i++) {
		assert_memory_equal(bufs[i], &i, sizeof(i));
		assert_memory_equal(bufs[i] + size - sizeof(i), &i, sizeof(i));
		xu_bufpool_put(pool, bufs[i], size);
	}
	assert_int_equal(pool->used_bytes, 0);
	free(bufs);
}

/* Memory that served small buffers serves large ones, and the other way round: all of it. */
static void test_bufpool_memory_moves_between_classes(void **state)
{
	struct xu_bufpool pool;

	xu_bufpool_init(&pool, 8 * MIB);
	fill_and_empty(&pool, 4 * KIB);
	fill_and_empty(&pool, 4 * MIB);
	fill_and_empty(&pool, 64 * KIB);
	fill_and_empty(&pool, 4 * KIB);
	fill_and_empty(&pool, 2 * MIB);
	fill_and_empty(&pool, 4 * MIB);
	xu_bufpool_fini(&pool);
}

/* A free buffer that holds what another size needs is found at the bound, next to used ones. */
static void test_bufpool_splits_and_joins_at_the_bound(void **state)
{
	struct xu_bufpool pool;
	void *small[256], *a, *b;
	size_t i;

	xu_bufpool_init(&pool, 2 * MIB);
	a = xu_bufpool_get(&pool, MIB);
	b = xu_bufpool_get(&pool, MIB);
	assert_null(xu_bufpool_get(&pool, 4 * KIB));
	xu_bufpool_put(&pool, b, MIB);
	for (i = 0; i < 256; i++) {
		small[i] = xu_bufpool_get(&pool, 4 * KIB);
		assert_non_null(small[i]);
		assert_true((char *)small[i] >= (char *)b && (char *)small[i] < (char *)b + MIB);
	}
	assert_null(xu_bufpool_get(&pool, 4 * KIB));
	for (i = 1; i < 256; i++) {
		xu_bufpool_put(&pool, small[i], 4 * KIB);
	}
	assert_null(xu_bufpool_get(&pool, MIB)); /* one small one is still in the way */
	xu_bufpool_put(&pool, small[0], 4 * KIB);
	assert_ptr_equal(xu_bufpool_get(&pool, MIB), b);
	xu_bufpool_put(&pool, a, MIB);
	xu_bufpool_put(&pool, b, MIB);
	assert_null(xu_bufpool_get(&pool, 4 * MIB));
	xu_bufpool_fini(&pool);
}

static void test_bufpool_uses_an_uneven_bound(void **state)
{
	/* 5 MiB + 12 KiB, and some bytes that make no page */
	const size_t limit = 5 * MIB + 12 * KIB + 123;
	struct xu_bufpool pool;
	void *bufs[6], *pages[3];
	size_t i;

	xu_bufpool_init(&pool, limit);
	for (i = 0; i < 5; i++) {
		bufs[i] = xu_bufpool_get(&pool, MIB);
		assert_non_null(bufs[i]);
	}
	assert_null(xu_bufpool_get(&pool, MIB));
	for (i = 0; i < 3; i++) {
		pages[i] = xu_bufpool_get(&pool, 4 * KIB);
		assert_non_null(pages[i]);
		memset(pages[i], 0x11, 4 * KIB);
	}
	assert_null(xu_bufpool_get(&pool, 4 * KIB));
	assert_int_equal(pool.taken_bytes, 5 * MIB + 12 * KIB);
	for (i = 0; i < 5; i++) {
		xu_bufpool_put(&pool, bufs[i], MIB);
	}
	for (i = 0; i < 3; i++) {
		xu_bufpool_put(&pool, pages[i], 4 * KIB);
	}
	bufs[5] = xu_bufpool_get(&pool, 4 * MIB);
	assert_non_null(bufs[5]);
	xu_bufpool_put(&pool, bufs[5], 4 * MIB);
	xu_bufpool_fini(&pool);
}

static void test_bufpool_bound_below_the_size(void **state)
{
	struct xu_bufpool pool;
	void *buf;

	xu_bufpool_init(&pool, 0);
	assert_null(xu_bufpool_get(&pool, 1));
	assert_int_equal(pool.nr_failed, 1);
	xu_bufpool_fini(&pool);
	xu_bufpool_init(&pool, 64 * KIB);
	assert_null(xu_bufpool_get(&pool, 65 * KIB));
	buf = xu_bufpool_get(&pool, 64 * KIB);
	assert_non_null(buf);
	assert_null(xu_bufpool_get(&pool, 1));
	xu_bufpool_put(&pool, buf, 64 * KIB);
	xu_bufpool_fini(&pool);
}

/* One buffer of the model below. */
struct held {
	unsigned char *buf;
	size_t size;
	unsigned char fill;
};

static size_t class_bytes_of(size_t size)
{
	size_t bytes = 4 * KIB;

	while (bytes < size) {
		bytes *= 2;
	}
	return bytes;
}

static void put_checked(struct xu_bufpool *pool, struct held *held)
{
	assert_int_equal(held->buf[0], held->fill);
	assert_memory_equal(held->buf, held->buf + 1, held->size - 1);
	xu_bufpool_put(pool, held->buf, held->size);
}

/* Random gets and puts under pressure: no two buffers share a byte, the sums are right, the bound
 * holds; at the end everything can be had as the largest buffers again. */
static void test_bufpool_random_run_against_model(void **state)
{
	enum { STEPS = 4000, HELD_MAX = 300 };
	static struct held held[HELD_MAX];
	size_t nr_held = 0, used = 0, i, taken_before;
	struct xu_bufpool pool;
	struct xu_random rnd;
	int step;

	xu_random_seed(&rnd, 21);
	xu_bufpool_init(&pool, 12 * MIB);
	for (step = 0; step < STEPS; step++) {
		if (nr_held < HELD_MAX && xu_random_below(&rnd, 100) < 55) {
			struct held *new = &held[nr_held];

			new->size = 1 + xu_random_below(
						&rnd, (size_t)1 << (5 + xu_random_below(&rnd, 18)));
			new->fill = (unsigned char)step;
			taken_before = pool.taken_bytes;
			new->buf = xu_bufpool_get(&pool, new->size);
			assert_true(pool.taken_bytes >= taken_before);
			if (new->buf != NULL) {
				memset(new->buf, new->fill, new->size);
				used += class_bytes_of(new->size);
				nr_held++;
			} else {
				assert_int_equal(pool.taken_bytes, pool.limit_bytes);
			}
		} else if (nr_held > 0) {
			i = xu_random_below(&rnd, nr_held);
			put_checked(&pool, &held[i]);
			used -= class_bytes_of(held[i].size);
			held[i] = held[--nr_held];
		}
		assert_int_equal(pool.used_bytes, used);
		assert_true(pool.taken_bytes <= pool.limit_bytes);
	}
	assert_true(pool.nr_failed > 0); /* or the bound was never tried */
	while (nr_held > 0) {
		put_checked(&pool, &held[--nr_held]);
	}
	fill_and_empty(&pool, 4 * MIB);
	xu_bufpool_fini(&pool);
}

static void test_bufpool_get_survives_no_memory(void **state)
{
	struct xu_bufpool pool;
	unsigned n;
	void *buf;

	for (n = 1;; n++) {
		xu_bufpool_init(&pool, 8 * MIB);
		fail_arm_from(n);
		buf = xu_bufpool_get(&pool, 64 * KIB);
		if (!fail_disarm()) {
			break;
		}
		assert_null(buf);
		assert_int_equal(pool.nr_failed, 1);
		assert_int_equal(pool.used_bytes, 0);
		assert_int_equal(pool.taken_bytes, 0);
		/* and once there is memory again, the same pool works */
		buf = xu_bufpool_get(&pool, 64 * KIB);
		assert_non_null(buf);
		memset(buf, 0x33, 64 * KIB);
		xu_bufpool_put(&pool, buf, 64 * KIB);
		xu_bufpool_fini(&pool);
	}
	assert_non_null(buf);
	assert_true(n >= 4); /* its own records, addresses, memory in one or two tries */
	xu_bufpool_put(&pool, buf, 64 * KIB);
	xu_bufpool_fini(&pool);
}

/* The system gives no more before the bound is met: free buffers of other sizes help out. */
static void test_bufpool_joins_when_the_system_is_full(void **state)
{
	struct xu_bufpool pool;
	void *small, *large;

	xu_bufpool_init(&pool, 64 * MIB);
	small = xu_bufpool_get(&pool, 4 * KIB);
	xu_bufpool_put(&pool, small, 4 * KIB);
	fail_arm_from(1);
	large = xu_bufpool_get(&pool, 2 * MIB);
	assert_true(fail_disarm());
	assert_ptr_equal(large, small);
	assert_int_equal(pool.taken_bytes, 2 * MIB);
	xu_bufpool_put(&pool, large, 2 * MIB);
	xu_bufpool_fini(&pool);
}

/* Pages of address space that this process uses. */
static long address_space_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld", &pages), 1);
	fclose(file);
	return pages;
}

static void test_bufpool_fini_leaves_no_addresses(void **state)
{
	long before = address_space_pages();
	int i;

	for (i = 0; i < 200; i++) {
		struct xu_bufpool pool;
		void *buf;

		xu_bufpool_init(&pool, 3 * MIB + (size_t)i * 4 * KIB);
		buf = xu_bufpool_get(&pool, 4 * KIB);
		assert_non_null(buf);
		xu_bufpool_put(&pool, buf, 4 * KIB);
		xu_bufpool_fini(&pool);
		xu_buf_free(xu_buf_alloc(3 * MIB), 3 * MIB);
	}
	/* a part of 4 MiB lost each time would be far more */
	assert_true((address_space_pages() - before) * sysconf(_SC_PAGESIZE) < (long)(64 * MIB));
}

static void test_bufpool_bound_beyond_the_address_space(void **state)
{
	struct xu_bufpool pool;

	xu_bufpool_init(&pool, SIZE_MAX);
	assert_null(xu_bufpool_get(&pool, 4 * KIB));
	assert_int_equal(pool.nr_failed, 1);
	xu_bufpool_fini(&pool);
}

static void fini_bufpool(void *arg)
{
	xu_bufpool_fini(arg);
}

static void put_wrong_size(void *arg)
{
	struct xu_bufpool *pool = arg;
	char *buf = xu_bufpool_get(pool, 4 * KIB);

	if ((uintptr_t)buf % (8 * KIB) == 0) {
		buf = xu_bufpool_get(pool, 4 * KIB);
	}
	xu_bufpool_put(pool, buf, 8 * KIB);
}

static void put_foreign(void *arg)
{
	static char foreign[64];

	xu_bufpool_put(arg, foreign, 1);
}

static void get_too_much(void *arg)
{
	xu_bufpool_get(arg, 4 * MIB + 1);
}

static void get_nothing(void *arg)
{
	xu_bufpool_get(arg, 0);
}

static void test_bufpool_misuse_is_caught(void **state)
{
	struct xu_bufpool pool;
	void *buf;

	xu_bufpool_init(&pool, 2 * MIB);
	buf = xu_bufpool_get(&pool, 1);
	assert_true(test_aborts(fini_bufpool, &pool));
	assert_true(test_aborts(put_wrong_size, &pool));
	assert_true(test_aborts(put_foreign, &pool));
	assert_true(test_aborts(get_too_much, &pool));
	assert_true(test_aborts(get_nothing, &pool));
	xu_bufpool_put(&pool, buf, 1);
	xu_bufpool_fini(&pool);
}

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>

static void test_bufpool_free_buffers_are_poisoned(void **state)
{
	struct xu_bufpool pool;
	char *buf;

	xu_bufpool_init(&pool, 2 * MIB);
	buf = xu_bufpool_get(&pool, 64 * KIB);
	assert_null(__asan_region_is_poisoned(buf, 64 * KIB));
	xu_bufpool_put(&pool, buf, 64 * KIB);
	assert_ptr_equal(__asan_region_is_poisoned(buf, 64 * KIB), buf + 16);
	assert_true(__asan_address_is_poisoned(buf + 64 * KIB - 1));
	assert_ptr_equal(xu_bufpool_get(&pool, 64 * KIB), buf);
	assert_null(__asan_region_is_poisoned(buf, 64 * KIB));
	xu_bufpool_put(&pool, buf, 64 * KIB);
	xu_bufpool_fini(&pool);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_alloc_is_zeroed_and_aligned),
		cmocka_unit_test(test_buf_alloc_large_fits_huge_pages),
		cmocka_unit_test(test_buf_alloc_survives_impossible_sizes),
		cmocka_unit_test(test_buf_alloc_survives_no_memory),
		cmocka_unit_test(test_buf_alloc_falls_back_to_ordinary_pages),
		cmocka_unit_test(test_buf_alloc_survives_huge_pages_that_cannot_be_had),
		cmocka_unit_test(test_bufpool_get_every_class),
		cmocka_unit_test(test_bufpool_sizes_share_their_class),
		cmocka_unit_test(test_bufpool_reuses_the_warmest),
		cmocka_unit_test(test_bufpool_does_not_split_below_the_bound),
		cmocka_unit_test(test_bufpool_memory_moves_between_classes),
		cmocka_unit_test(test_bufpool_splits_and_joins_at_the_bound),
		cmocka_unit_test(test_bufpool_uses_an_uneven_bound),
		cmocka_unit_test(test_bufpool_bound_below_the_size),
		cmocka_unit_test(test_bufpool_random_run_against_model),
		cmocka_unit_test(test_bufpool_get_survives_no_memory),
		cmocka_unit_test(test_bufpool_joins_when_the_system_is_full),
		cmocka_unit_test(test_bufpool_fini_leaves_no_addresses),
		cmocka_unit_test(test_bufpool_bound_beyond_the_address_space),
		cmocka_unit_test(test_bufpool_misuse_is_caught),
#if defined(__SANITIZE_ADDRESS__)
		cmocka_unit_test(test_bufpool_free_buffers_are_poisoned),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
