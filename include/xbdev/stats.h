/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics of libxbdev. Every device counts its I/O all the time, whoever does it; that costs
 * nothing to switch on and cannot be switched off. A collection looks at the counters at intervals
 * and keeps a history of what happened in each.
 */
#ifndef XBDEV_STATS_H
#define XBDEV_STATS_H

#include <stdint.h>

#include <xbdev/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one kind of operation did. Latencies are from submission to completion, waiting in the
 * library included; percentiles are right to 3.2 %. 0 where there was none. */
typedef struct xbdev_op_stats_info {
	uint64_t count; /* completed, well or not */
	uint64_t bytes; /* of those that succeeded */
	uint64_t errors;
	uint64_t mean_ns;
	uint64_t p50_ns;
	uint64_t p95_ns;
	uint64_t p99_ns;
	uint64_t p999_ns;
	uint64_t max_ns;
} xbdev_op_stats_t;

/*
 * The first three are taken over `window_ms`, which is
 * - the last whole interval, while a collection runs on the device;
 * - the time since the collection began, as long as it has no whole interval;
 * - the time since the device was made or since the last reset, when no collection runs.
 * All others count since the device was made or since the last reset (`since_ms` ago).
 */
typedef struct xbdev_stats_info {
	uint32_t iops;           /* operations of all kinds in a second */
	uint32_t bandwidth_mbps; /* MiB read and written in a second */
	uint32_t avg_latency_us; /* of operations of all kinds */
	uint64_t window_ms;
	uint64_t bytes_per_s; /* bandwidth_mbps to the byte */
	uint64_t since_ms;

	xbdev_op_stats_t all; /* of all kinds together; its bytes are those read and written */
	xbdev_op_stats_t ops[XBDEV_NR_OPS]; /* by XBDEV_OP_… */

	uint32_t queue_depth; /* in flight now */
	uint32_t queue_depth_max;
	uint64_t nr_bounced; /* transfers that had to be copied because of their buffer's alignment
			      */
	uint64_t nr_split;   /* I/Os larger than the device takes at a time */
	uint64_t nr_waited;  /* I/Os that waited for a place in the device's queue */
} xbdev_stats_t;

/*
 * What is known of the device `device` (a name or UUID) now. -ENODEV; -ENOMEM.
 */
int xbdev_stats_get(const char *device, xbdev_stats_t *ret_stats);

/* Begins to count anew, for all users of the device. A collection goes on. -ENODEV. */
int xbdev_stats_reset(const char *device);

/* ---- history ---- */

#define XBDEV_STATS_INTERVAL_MIN_MS 10u
#define XBDEV_STATS_INTERVAL_MAX_MS 3600000u
#define XBDEV_STATS_HISTORY_MAX     86400u

/* Zeroes mean the defaults. */
typedef struct xbdev_stats_config {
	uint32_t interval_ms; /* XBDEV_STATS_INTERVAL_MIN_MS … MAX_MS; 0: 1000 */
	uint32_t history;     /* samples kept, 1 … XBDEV_STATS_HISTORY_MAX; 0: 60 */
} xbdev_stats_config_t;

/* What happened in one interval. */
typedef struct xbdev_stats_sample {
	uint64_t time_ms;     /* its end, since 1970-01-01 UTC */
	uint64_t interval_us; /* its true length */
	uint64_t nr_reads;
	uint64_t nr_writes;
	uint64_t nr_others; /* flushes, discards, zeroes, compares */
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t errors;
	uint64_t mean_ns; /* latencies, of all kinds */
	uint64_t p50_ns;
	uint64_t p95_ns;
	uint64_t p99_ns;
	uint64_t p999_ns;
	uint64_t max_ns;      /* the largest of the interval, to 3.2 % */
	uint32_t queue_depth; /* at its end */
} xbdev_stats_sample_t;

/*
 * Begins a collection on a device; `config` is borrowed, NULL means the defaults. It ends with
 * xbdev_stats_collect_stop(), when the device is removed, and with the library. In embedded mode
 * intervals end only while the library is polled. -ENODEV; -EALREADY: one runs there; -EINVAL: a
 * value is out of range; -ENOMEM (60 KB, and 120 bytes for each sample).
 */
int xbdev_stats_collect_start(const char *device, const xbdev_stats_config_t *config);

/* Ends it and forgets its history. -ENODEV; -ENOENT: none runs there. */
int xbdev_stats_collect_stop(const char *device);

/*
 * Copies up to `max` samples of the collection, the newest ones, oldest first, and returns how
 * many. -ENODEV; -ENOENT: no collection runs there; -EINVAL.
 */
int xbdev_stats_history_get(const char *device, xbdev_stats_sample_t *ret_samples, int max);

#ifdef __cplusplus
}
#endif

#endif
