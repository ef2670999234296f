/* SPDX-License-Identifier: BSD-3-Clause */
/* The histogram against a sorted array of the same samples, and live copies from another thread. */
#include "lib/util/hist.h"
#include "lib/util/random.h"
#include "test/unit/util/test.h"

#include <pthread.h>
#include <stdatomic.h>

static void test_hist_bucket_and_its_edge_agree(void **state)
{
	uint64_t low = 0;
	uint32_t i;

	/* The buckets cover all numbers without gap or overlap, none wider than 1/32 of its start.
	 */
	for (i = 0; i < XU_HIST_BUCKETS; i++) {
		uint64_t high = xu_hist_bucket_max_ns(i);

		assert_true(high >= low);
		assert_int_equal(xu_hist_bucket(low), i);
		assert_int_equal(xu_hist_bucket(high), i);
		if (i < XU_HIST_BUCKETS - 1) {
			assert_true(high - low <= low / 32);
		}
		low = high + 1;
	}
	assert_int_equal(low, 0); /* past UINT64_MAX */
	assert_int_equal(xu_hist_bucket((1ull << 40) - 1), XU_HIST_BUCKETS - 1);
	assert_int_equal(xu_hist_bucket(1ull << 40), XU_HIST_BUCKETS - 1);
	assert_int_equal(xu_hist_bucket_max_ns(UINT32_MAX), UINT64_MAX);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void test_hist_percentile_against_sorted_samples(void **state)
{
	enum { SAMPLES = 10000 };
	static const double percents[] = {0, 0.01, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100};
	static uint64_t samples[SAMPLES];
	struct xu_hist hist;
	struct xu_random rnd;
	uint64_t sum = 0, answer, exact;
	size_t i, rank;

	xu_random_seed(&rnd, 11);
	xu_hist_reset(&hist);
	for (i = 0; i < SAMPLES; i++) {
		samples[i] = xu_random_u64(&rnd) >> (25 + xu_random_below(&rnd, 39));
		sum += samples[i];
		xu_hist_record(&hist, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(samples[0]), compare_u64);
	for (i = 0; i < ARRAY_SIZE(percents); i++) {
		rank = (size_t)(percents[i] * (SAMPLES / 100) + 0.5);
		exact = samples[rank == 0 ? 0 : rank - 1];
		answer = xu_hist_percentile_ns(&hist, percents[i]);
		assert_in_range(answer, exact, exact + exact / 32);
	}
	assert_int_equal(hist.count, SAMPLES);
	assert_int_equal(hist.sum_ns, sum);
	assert_int_equal(hist.min_ns, samples[0]);
	assert_int_equal(hist.max_ns, samples[SAMPLES - 1]);
	assert_int_equal(xu_hist_percentile_ns(&hist, 100), samples[SAMPLES - 1]);
	assert_int_equal(xu_hist_mean_ns(&hist), sum / SAMPLES);
}

/* Values below 32 have a bucket each, so the rank can be checked to the sample. */
static void test_hist_percentile_rounds_the_rank_up(void **state)
{
	struct xu_hist hist;
	uint64_t i;

	xu_hist_reset(&hist);
	for (i = 1; i <= 10; i++) {
		xu_hist_record(&hist, i);
	}
	assert_int_equal(xu_hist_percentile_ns(&hist, 0), 1);
	assert_int_equal(xu_hist_percentile_ns(&hist, 10), 1);
	assert_int_equal(xu_hist_percentile_ns(&hist, 10.1), 2);
	assert_int_equal(xu_hist_percentile_ns(&hist, 50), 5);
	assert_int_equal(xu_hist_percentile_ns(&hist, 50.1), 6);
	assert_int_equal(xu_hist_percentile_ns(&hist, 99.9), 10);
	assert_int_equal(xu_hist_percentile_ns(&hist, 100), 10);
	/* nonsense stays within the samples */
	assert_int_equal(xu_hist_percentile_ns(&hist, -5), 1);
	assert_int_equal(xu_hist_percentile_ns(&hist, 500), 10);
	assert_int_equal(xu_hist_percentile_ns(&hist, __builtin_nan("")), 1);
}

/* 99.9 has no exact binary form; of 1000 samples it is the 999th all the same. */
static void test_hist_percentile_has_no_rounding_noise(void **state)
{
	struct xu_hist hist;
	int i;

	xu_hist_reset(&hist);
	for (i = 0; i < 999; i++) {
		xu_hist_record(&hist, 3);
	}
	xu_hist_record(&hist, 1000);
	assert_int_equal(xu_hist_percentile_ns(&hist, 99.9), 3);
	assert_int_equal(xu_hist_percentile_ns(&hist, 99.91), 1000);
}

static void test_hist_empty_answers_zero(void **state)
{
	struct xu_hist hist;

	memset(&hist, 0x77, sizeof(hist));
	xu_hist_reset(&hist);
	assert_int_equal(xu_hist_percentile_ns(&hist, 50), 0);
	assert_int_equal(xu_hist_mean_ns(&hist), 0);
	assert_int_equal(hist.count, 0);
	assert_int_equal(hist.max_ns, 0);
	assert_int_equal(hist.min_ns, UINT64_MAX);
}

static void test_hist_counts_overlong_values_last(void **state)
{
	struct xu_hist hist;

	xu_hist_reset(&hist);
	xu_hist_record(&hist, 5ull << 40);
	xu_hist_record(&hist, 7);
	assert_int_equal(hist.buckets[XU_HIST_BUCKETS - 1], 1);
	assert_int_equal(hist.max_ns, 5ull << 40);
	assert_int_equal(xu_hist_percentile_ns(&hist, 50), 7);
	assert_int_equal(xu_hist_percentile_ns(&hist, 100), 5ull << 40);
}

static void test_hist_merge_is_like_recording_both(void **state)
{
	struct xu_hist a, b, both;
	struct xu_random rnd;
	int i;

	xu_random_seed(&rnd, 12);
	xu_hist_reset(&a);
	xu_hist_reset(&b);
	xu_hist_reset(&both);
	xu_hist_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof(a));
	for (i = 0; i < 2000; i++) {
		uint64_t value = xu_random_below(&rnd, 1 << 20);

		xu_hist_record(i % 3 == 0 ? &a : &b, value);
		xu_hist_record(&both, value);
	}
	xu_hist_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof(a));
}

struct live {
	struct xu_hist hist;
	atomic_bool is_done;
};

static void *record_many(void *arg)
{
	struct live *live = arg;
	int i;

	for (i = 0; i < 300000; i++) {
		xu_hist_record(&live->hist, (uint64_t)(i % 5000));
	}
	atomic_store(&live->is_done, true);
	return NULL;
}

static void test_hist_merge_copies_a_live_one(void **state)
{
	static struct live live;
	struct xu_hist copy;
	uint64_t last_count = 0;
	pthread_t thread;
	bool is_done;

	xu_hist_reset(&live.hist);
	assert_int_equal(pthread_create(&thread, NULL, record_many, &live), 0);
	do {
		is_done = atomic_load(&live.is_done);
		xu_hist_reset(&copy);
		xu_hist_merge(&copy, &live.hist);
		assert_true(copy.count >= last_count && copy.count <= 300000);
		assert_true(xu_hist_percentile_ns(&copy, 99) < 5000);
		last_count = copy.count;
	} while (!is_done);
	pthread_join(thread, NULL);
	assert_int_equal(last_count, 300000);
	assert_memory_equal(&copy, &live.hist, sizeof(copy));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hist_bucket_and_its_edge_agree),
		cmocka_unit_test(test_hist_percentile_against_sorted_samples),
		cmocka_unit_test(test_hist_percentile_rounds_the_rank_up),
		cmocka_unit_test(test_hist_percentile_has_no_rounding_noise),
		cmocka_unit_test(test_hist_empty_answers_zero),
		cmocka_unit_test(test_hist_counts_overlong_values_last),
		cmocka_unit_test(test_hist_merge_is_like_recording_both),
		cmocka_unit_test(test_hist_merge_copies_a_live_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
