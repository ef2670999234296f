/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A latency histogram in the manner of HdrHistogram: 32 linear sub-buckets per power of two, so a
 * percentile is right to 1/32 (3.2 %) from 1 ns to 2^40 ns (18 minutes); longer values count in the
 * last bucket. One writer; readers in other threads copy a live histogram by xu_hist_merge() into
 * an empty one and see each counter whole but not all at the same instant.
 */
#ifndef XU_HIST_H
#define XU_HIST_H

#include <stdint.h>

#define XU_HIST_SUB_BITS 5
#define XU_HIST_MAX_BITS 40
#define XU_HIST_BUCKETS  ((XU_HIST_MAX_BITS - XU_HIST_SUB_BITS + 1) << XU_HIST_SUB_BITS)

struct xu_hist {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t max_ns;
	uint64_t min_ns; /* UINT64_MAX while empty */
	uint64_t buckets[XU_HIST_BUCKETS];
};

void xu_hist_reset(struct xu_hist *hist);
/* The same for memory that is zeroed: nothing else of it is touched. */
void xu_hist_init(struct xu_hist *hist);
/* Adds `from`, which may be live in another thread, to `into`. */
void xu_hist_merge(struct xu_hist *into, const struct xu_hist *from);

/* The value below or at which `percent` (0 … 100) of the samples lie, as the upper edge of its
 * bucket, never above max_ns; 0 for an empty histogram. */
uint64_t xu_hist_percentile_ns(const struct xu_hist *hist, double percent);
uint64_t xu_hist_mean_ns(const struct xu_hist *hist);

/* The bucket that holds `value_ns`, and the largest value that falls in bucket `index`. */
static inline uint32_t xu_hist_bucket(uint64_t value_ns)
{
	uint32_t exponent;

	if (value_ns < (1u << XU_HIST_SUB_BITS)) {
		return (uint32_t)value_ns;
	}
	exponent = 63u - (uint32_t)__builtin_clzll(value_ns);
	if (exponent >= XU_HIST_MAX_BITS) {
		return XU_HIST_BUCKETS - 1;
	}
	return ((exponent - XU_HIST_SUB_BITS + 1) << XU_HIST_SUB_BITS) +
	       (uint32_t)(value_ns >> (exponent - XU_HIST_SUB_BITS)) - (1u << XU_HIST_SUB_BITS);
}

uint64_t xu_hist_bucket_max_ns(uint32_t index);

/* One writer needs no atomic addition, only stores that a reader cannot see half done. */
static inline void xu_hist_store(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline void xu_hist_record(struct xu_hist *hist, uint64_t value_ns)
{
	uint64_t *bucket = &hist->buckets[xu_hist_bucket(value_ns)];

	xu_hist_store(&hist->count, hist->count + 1);
	xu_hist_store(&hist->sum_ns, hist->sum_ns + value_ns);
	if (value_ns > hist->max_ns) {
		xu_hist_store(&hist->max_ns, value_ns);
	}
	if (value_ns < hist->min_ns) {
		xu_hist_store(&hist->min_ns, value_ns);
	}
	xu_hist_store(bucket, *bucket + 1);
}

#endif
