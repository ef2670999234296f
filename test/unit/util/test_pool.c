/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool of equal objects: shape, order, the bound, and memory that is not there. */
#include "lib/util/pool.h"
#include "test/unit/util/fail.h"
#include "test/unit/util/test.h"

#include <errno.h>

static void test_pool_init_refuses_nothing_to_hold(void **state)
{
	struct xu_pool pool;

	assert_int_equal(xu_pool_init(&pool, 0, 8), -EINVAL);
	assert_int_equal(xu_pool_init(&pool, 8, 0), -EINVAL);
}

static void test_pool_init_survives_no_memory(void **state)
{
	struct xu_pool pool;
	unsigned n;
	int rc;

	for (n = 1;; n++) {
		fail_arm(n);
		rc = xu_pool_init(&pool, 4, 8);
		if (!fail_disarm()) {
			break;
		}
		assert_int_equal(rc, -ENOMEM);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(n, 3); /* objects and free list */
	xu_pool_fini(&pool);
}

static void test_pool_init_survives_overflow(void **state)
{
	struct xu_pool pool;

	assert_int_equal(xu_pool_init(&pool, 2, SIZE_MAX), -ENOMEM);
	assert_int_equal(xu_pool_init(&pool, 2, SIZE_MAX - 64), -ENOMEM);
	assert_int_equal(xu_pool_init(&pool, UINT32_MAX, SIZE_MAX / UINT32_MAX + 1), -ENOMEM);
}

static void test_pool_objects_are_zeroed_aligned_and_apart(void **state)
{
	static const unsigned char zeroes[200];
	unsigned char *objects[5];
	struct xu_pool pool;
	uint32_t round, i, k;

	/* twice, so that the heap has something used to give */
	for (round = 0; round < 2; round++) {
		assert_int_equal(xu_pool_init(&pool, 5, 200), 0);
		assert_int_equal(pool.object_bytes, 256);
		for (i = 0; i < 5; i++) {
			objects[i] = xu_pool_get(&pool);
			assert_non_null(objects[i]);
			assert_int_equal((uintptr_t)objects[i] % 64, 0);
			assert_memory_equal(objects[i], zeroes, 200);
			memset(objects[i], (int)i + 1, 200);
		}
		for (i = 0; i < 5; i++) {
			for (k = 0; k < 200; k++) {
				assert_int_equal(objects[i][k], i + 1);
			}
			xu_pool_put(&pool, objects[i]);
		}
		xu_pool_fini(&pool);
	}
}

static void test_pool_get_ends_at_the_bound(void **state)
{
	struct xu_pool pool;
	void *a, *b;

	assert_int_equal(xu_pool_init(&pool, 2, 1), 0);
	a = xu_pool_get(&pool);
	b = xu_pool_get(&pool);
	assert_null(xu_pool_get(&pool));
	assert_int_equal(pool.nr_free, 0);
	xu_pool_put(&pool, a);
	assert_ptr_equal(xu_pool_get(&pool), a);
	assert_null(xu_pool_get(&pool));
	xu_pool_put(&pool, a);
	xu_pool_put(&pool, b);
	xu_pool_fini(&pool);
}

static void test_pool_get_gives_the_warmest_first(void **state)
{
	struct xu_pool pool;
	int *a, *b;

	assert_int_equal(xu_pool_init(&pool, 3, sizeof(int)), 0);
	a = xu_pool_get(&pool);
	b = xu_pool_get(&pool);
	assert_ptr_equal(a, xu_pool_object(&pool, 0));
	assert_ptr_equal(b, xu_pool_object(&pool, 1));
	*a = 7;
	xu_pool_put(&pool, b);
	xu_pool_put(&pool, a);
	assert_ptr_equal(xu_pool_get(&pool), a);
	assert_int_equal(*a, 7); /* with the content it was put back with */
	assert_ptr_equal(xu_pool_get(&pool), b);
	xu_pool_put(&pool, a);
	xu_pool_put(&pool, b);
	xu_pool_fini(&pool);
}

static void test_pool_index_and_object_agree(void **state)
{
	struct xu_pool pool;
	uint32_t i;

	assert_int_equal(xu_pool_init(&pool, 100, 72), 0);
	for (i = 0; i < 100; i++) {
		char *object = xu_pool_object(&pool, i);

		assert_int_equal(xu_pool_index(&pool, object), i);
		assert_ptr_equal(object, (char *)pool.memory + (size_t)i * 128);
	}
	xu_pool_fini(&pool);
}

static void fini_pool(void *arg)
{
	xu_pool_fini(arg);
}

static void test_pool_fini_wants_all_objects_back(void **state)
{
	struct xu_pool pool;
	void *object;

	assert_int_equal(xu_pool_init(&pool, 2, 8), 0);
	object = xu_pool_get(&pool);
	assert_true(test_aborts(fini_pool, &pool));
	xu_pool_put(&pool, object);
	xu_pool_fini(&pool);
	assert_null(xu_pool_get(&pool));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool_init_refuses_nothing_to_hold),
		cmocka_unit_test(test_pool_init_survives_no_memory),
		cmocka_unit_test(test_pool_init_survives_overflow),
		cmocka_unit_test(test_pool_objects_are_zeroed_aligned_and_apart),
		cmocka_unit_test(test_pool_get_ends_at_the_bound),
		cmocka_unit_test(test_pool_get_gives_the_warmest_first),
		cmocka_unit_test(test_pool_index_and_object_agree),
		cmocka_unit_test(test_pool_fini_wants_all_objects_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
