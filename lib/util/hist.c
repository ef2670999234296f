/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is asked of a histogram now and then: merging, percentiles, means. A copy of a live
 * histogram may have a `count` that is not the sum of its buckets, so percentiles go by the buckets
 * alone. Cannot fail.
 */
#include "lib/util/hist.h"

#include <string.h>

void xu_hist_reset(struct xu_hist *hist)
{
	memset(hist, 0, sizeof(*hist));
	xu_hist_init(hist);
}

void xu_hist_init(struct xu_hist *hist)
{
	hist->min_ns = UINT64_MAX;
}

void xu_hist_merge(struct xu_hist *into, const struct xu_hist *from)
{
	uint64_t max_ns = __atomic_load_n(&from->max_ns, __ATOMIC_RELAXED);
	uint64_t min_ns = __atomic_load_n(&from->min_ns, __ATOMIC_RELAXED);
	uint32_t i;

	into->count += __atomic_load_n(&from->count, __ATOMIC_RELAXED);
	into->sum_ns += __atomic_load_n(&from->sum_ns, __ATOMIC_RELAXED);
	if (max_ns > into->max_ns) {
		into->max_ns = max_ns;
	}
	if (min_ns < into->min_ns) {
		into->min_ns = min_ns;
	}
	for (i = 0; i < XU_HIST_BUCKETS; i++) {
		into->buckets[i] += __atomic_load_n(&from->buckets[i], __ATOMIC_RELAXED);
	}
}

uint64_t xu_hist_bucket_max_ns(uint32_t index)
{
	uint32_t shift;

	if (index >= XU_HIST_BUCKETS - 1) {
		return UINT64_MAX;
	}
	if (index < (1u << XU_HIST_SUB_BITS)) {
		return index;
	}
	shift = (index >> XU_HIST_SUB_BITS) - 1;
	index = (index & ((1u << XU_HIST_SUB_BITS) - 1)) + (1u << XU_HIST_SUB_BITS);
	return ((uint64_t)(index + 1) << shift) - 1;
}

/* How many of `total` samples `percent` of them are: at least one, rounded up. */
static uint64_t rank_of(double percent, uint64_t total)
{
	double exact = percent * (double)total / 100;
	uint64_t rank;

	if (!(exact > 1)) {
		return 1;
	}
	if (exact >= (double)total) {
		return total;
	}
	rank = (uint64_t)exact;
	return (double)rank < exact ? rank + 1 : rank;
}

uint64_t xu_hist_percentile_ns(const struct xu_hist *hist, double percent)
{
	uint64_t total = 0, seen = 0, rank, edge_ns;
	uint32_t i;

	for (i = 0; i < XU_HIST_BUCKETS; i++) {
		total += hist->buckets[i];
	}
	if (total == 0) {
		return 0;
	}
	rank = rank_of(percent, total);
	for (i = 0; i < XU_HIST_BUCKETS - 1; i++) {
		seen += hist->buckets[i];
		if (seen >= rank) {
			break;
		}
	}
	edge_ns = xu_hist_bucket_max_ns(i);
	return edge_ns < hist->max_ns ? edge_ns : hist->max_ns;
}

uint64_t xu_hist_mean_ns(const struct xu_hist *hist)
{
	return hist->count == 0 ? 0 : hist->sum_ns / hist->count;
}
