/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Latencies: 64 linear buckets per power of two, so a percentile is right to 1/64 from 1 ns to some
 * 18 minutes; longer ones count in the last bucket. The least, the largest and the mean are exact.
 */
#ifndef TOOL_HIST_H
#define TOOL_HIST_H

#include <stdint.h>

#define TOOL_HIST_SUB_BITS 6
#define TOOL_HIST_MAX_BITS 40
#define TOOL_HIST_BUCKETS  ((TOOL_HIST_MAX_BITS - TOOL_HIST_SUB_BITS + 1) << TOOL_HIST_SUB_BITS)

struct tool_hist {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t min_ns; /* of an empty one: 0 */
	uint64_t max_ns;
	uint64_t buckets[TOOL_HIST_BUCKETS];
};

void tool_hist_add(struct tool_hist *hist, uint64_t ns);
void tool_hist_merge(struct tool_hist *into, const struct tool_hist *from);
/* What `percent` (0 … 100) of the samples do not exceed; 0 for an empty one. */
uint64_t tool_hist_percentile(const struct tool_hist *hist, double percent);
uint64_t tool_hist_mean(const struct tool_hist *hist);

#endif
