/* SPDX-License-Identifier: BSD-3-Clause */
/* Percentiles of latencies against those of the sorted samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/hist.h"

#define NR_SAMPLES 10000u

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b ? 1 : 0;
}

static void test_percentiles_are_right_to_a_64th(void **state)
{
	static const double percents[] = {1, 50, 90, 99, 99.9, 99.99, 100};
	static struct tool_hist hist;
	static uint64_t samples[NR_SAMPLES];
	uint64_t sum = 0;

	srandom(1);
	for (uint32_t i = 0; i < NR_SAMPLES; i++) {
		/* From a few ns to some minutes, every power of two as often. */
		samples[i] = (uint64_t)random() >> random() % 31 << random() % 8;
		tool_hist_add(&hist, samples[i]);
		sum += samples[i];
	}
	qsort(samples, NR_SAMPLES, sizeof(samples[0]), compare);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		uint32_t rank = (uint32_t)(NR_SAMPLES * percents[i] / 100 + 0.999);
		uint64_t want = samples[rank - 1];
		uint64_t got = tool_hist_percentile(&hist, percents[i]);

		assert_true(got >= want);
		assert_true(got <= want + want / 64);
	}
	assert_true(hist.min_ns == samples[0]);
	assert_true(hist.max_ns == samples[NR_SAMPLES - 1]);
	assert_true(tool_hist_mean(&hist) == sum / NR_SAMPLES);
}

static void test_merging_is_adding_all_samples(void **state)
{
	static struct tool_hist one, two, both, empty;

	for (uint64_t i = 0; i < 1000; i++) {
		tool_hist_add(i % 3 == 0 ? &one : &two, i * i * 1000 + 5);
		tool_hist_add(&both, i * i * 1000 + 5);
	}
	tool_hist_merge(&one, &two);
	tool_hist_merge(&one, &empty);
	assert_memory_equal(&one, &both, sizeof(both));
}

static void test_the_ends_of_the_range(void **state)
{
	static struct tool_hist hist;

	assert_int_equal(tool_hist_percentile(&hist, 50), 0);
	assert_int_equal(tool_hist_mean(&hist), 0);
	tool_hist_add(&hist, 0);
	assert_int_equal(tool_hist_percentile(&hist, 100), 0);
	tool_hist_add(&hist, UINT64_MAX / 2);
	assert_true(tool_hist_percentile(&hist, 100) == UINT64_MAX / 2);
	assert_int_equal(tool_hist_percentile(&hist, 50), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentiles_are_right_to_a_64th),
		cmocka_unit_test(test_merging_is_adding_all_samples),
		cmocka_unit_test(test_the_ends_of_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
