/* SPDX-License-Identifier: BSD-3-Clause */
/* Latencies. A value's bucket is its leading bits; the bucket stands for its largest value. */
#include "common/hist.h"

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t exponent;

	if (ns < 1u << TOOL_HIST_SUB_BITS) {
		return (uint32_t)ns;
	}
	exponent = 63u - (uint32_t)__builtin_clzll(ns);
	if (exponent >= TOOL_HIST_MAX_BITS) {
		return TOOL_HIST_BUCKETS - 1;
	}
	return ((exponent - TOOL_HIST_SUB_BITS) << TOOL_HIST_SUB_BITS) +
	       (uint32_t)(ns >> (exponent - TOOL_HIST_SUB_BITS));
}

static uint64_t bucket_max(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < 2u << TOOL_HIST_SUB_BITS) {
		return bucket;
	}
	shift = (bucket >> TOOL_HIST_SUB_BITS) - 1;
	return ((uint64_t)(bucket - (shift << TOOL_HIST_SUB_BITS) + 1) << shift) - 1;
}

void tool_hist_add(struct tool_hist *hist, uint64_t ns)
{
	if (hist->count == 0 || ns < hist->min_ns) {
		hist->min_ns = ns;
	}
	if (ns > hist->max_ns) {
		hist->max_ns = ns;
	}
	hist->count++;
	hist->sum_ns += ns;
	hist->buckets[bucket_of(ns)]++;
}

void tool_hist_merge(struct tool_hist *into, const struct tool_hist *from)
{
	if (from->count == 0) {
		return;
	}
	if (into->count == 0 || from->min_ns < into->min_ns) {
		into->min_ns = from->min_ns;
	}
	if (from->max_ns > into->max_ns) {
		into->max_ns = from->max_ns;
	}
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	for (uint32_t i = 0; i < TOOL_HIST_BUCKETS; i++) {
		into->buckets[i] += from->buckets[i];
	}
}

uint64_t tool_hist_percentile(const struct tool_hist *hist, double percent)
{
	uint64_t wanted = (uint64_t)((double)hist->count * percent / 100), seen = 0;

	if ((double)wanted < (double)hist->count * percent / 100) {
		wanted++;
	}
	for (uint32_t i = 0; i < TOOL_HIST_BUCKETS && hist->count != 0; i++) {
		seen += hist->buckets[i];
		if (seen >= wanted && seen != 0) {
			return i == TOOL_HIST_BUCKETS - 1 || bucket_max(i) > hist->max_ns
				       ? hist->max_ns
				       : bucket_max(i);
		}
	}
	return hist->max_ns;
}

uint64_t tool_hist_mean(const struct tool_hist *hist)
{
	return hist->count != 0 ? hist->sum_ns / hist->count : 0;
}
