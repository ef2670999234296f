/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics of devices as they are now. The counters are the core's: asking for them is a message
 * around the reactors. What is counted since when, and rates of it, are put together here, the
 * percentiles in the caller's thread so that they hold up no reactor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xbdev/stats.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/xbdev/api/services.h"

struct xbdev_device *api_device_find(struct api_call *call, const char *name)
{
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, name);

	if (dev == NULL || atomic_load(&dev->state) != XBDEV_DEVICE_READY) {
		xu_error_set(&call->err, -ENODEV, "there is no device named '%.128s'%s", name,
			dev == NULL ? "" : " any more, it is being removed");
		return NULL;
	}
	return dev;
}

/* ---- differences ---- */

uint64_t api_stats_now_ns(void)
{
	return xu_clock_now_ns(xbdev_ctx_platform(api_lib.ctx)->clock);
}

static void add_difference(
	struct xu_hist *sum, const struct xu_hist *now, const struct xu_hist *before)
{
	sum->count += now->count - before->count;
	sum->sum_ns += now->sum_ns - before->sum_ns;
	for (uint32_t i = 0; i < XU_HIST_BUCKETS; i++) {
		uint64_t count = now->buckets[i] - before->buckets[i], edge_ns;

		sum->buckets[i] += count;
		if (count != 0) {
			/* The true maximum of the difference is not known, its bucket is. */
			edge_ns = xu_hist_bucket_max_ns(i);
			edge_ns = edge_ns < now->max_ns ? edge_ns : now->max_ns;
			sum->max_ns = sum->max_ns > edge_ns ? sum->max_ns : edge_ns;
		}
	}
}

void api_stats_difference(struct api_activity *a, const struct xbdev_stats *now, uint64_t at_ns,
	const struct xbdev_stats *before, uint64_t before_ns)
{
	static const struct xbdev_stats nothing;

	if (before == NULL || before->since_ns != now->since_ns) {
		before = &nothing;
		before_ns = now->since_ns;
	}
	memset(a, 0, sizeof(*a));
	a->ns = at_ns > before_ns ? at_ns - before_ns : 0;
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		a->counts[op] = now->ops[op].latency.count - before->ops[op].latency.count;
		a->errors += now->ops[op].errors - before->ops[op].errors;
		add_difference(&a->latency, &now->ops[op].latency, &before->ops[op].latency);
	}
	a->bytes_read = now->ops[XBDEV_OP_READ].bytes - before->ops[XBDEV_OP_READ].bytes;
	a->bytes_written = now->ops[XBDEV_OP_WRITE].bytes - before->ops[XBDEV_OP_WRITE].bytes;
}

/* ---- now ---- */

struct stats_call {
	struct api_call call;
	const char *device;
	struct xbdev_device *dev;
	bool reset;
	struct xbdev_stats *stats; /* the caller's memory */
	uint64_t at_ns;
	struct api_window window;
};

void api_stats_window(struct api_window *window, const struct api_activity *a)
{
	*window = (struct api_window){
		.ns = a->ns,
		.count = a->latency.count,
		.bytes = a->bytes_read + a->bytes_written,
		.mean_ns = xu_hist_mean_ns(&a->latency),
	};
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	struct stats_call *get = arg;
	struct api_activity a;

	if (stats == NULL || get->reset) {
		api_call_done(&get->call, stats == NULL ? -ENOMEM : 0);
		return;
	}
	*get->stats = *stats;
	get->at_ns = api_stats_now_ns();
	if (!api_collect_window(get->dev, stats, get->at_ns, &get->window)) {
		api_stats_difference(&a, stats, get->at_ns, NULL, 0);
		api_stats_window(&get->window, &a);
	}
	api_call_done(&get->call, 0);
}

static void on_stats_get(struct api_call *call)
{
	struct stats_call *get = xu_container_of(call, struct stats_call, call);

	get->dev = api_device_find(call, get->device);
	if (get->dev == NULL) {
		api_call_done(call, call->err.code);
		return;
	}
	xbdev_device_stats(get->dev, get->reset, on_stats, get);
}

static uint32_t cap(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/* So many in a second, rounded. */
static uint64_t rate(uint64_t amount, uint64_t window_ns)
{
	unsigned __int128 exact = (unsigned __int128)amount * XU_NS_PER_S;

	return window_ns == 0 ? 0 : (uint64_t)((exact + window_ns / 2) / window_ns);
}

static void fill_op(xbdev_op_stats_t *op, const struct xu_hist *latency)
{
	op->count = latency->count;
	op->mean_ns = xu_hist_mean_ns(latency);
	op->p50_ns = xu_hist_percentile_ns(latency, 50);
	op->p95_ns = xu_hist_percentile_ns(latency, 95);
	op->p99_ns = xu_hist_percentile_ns(latency, 99);
	op->p999_ns = xu_hist_percentile_ns(latency, 99.9);
	op->max_ns = latency->max_ns;
}

/* In the caller's thread: percentiles need not hold up a reactor. */
static void fill_stats(xbdev_stats_t *stats, const struct stats_call *get)
{
	const struct xbdev_stats *from = get->stats;
	struct xu_hist all;

	xu_hist_reset(&all);
	memset(stats, 0, sizeof(*stats));
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		fill_op(&stats->ops[op], &from->ops[op].latency);
		stats->ops[op].bytes = from->ops[op].bytes;
		stats->ops[op].errors = from->ops[op].errors;
		stats->all.errors += from->ops[op].errors;
		xu_hist_merge(&all, &from->ops[op].latency);
	}
	fill_op(&stats->all, &all);
	stats->all.bytes = from->ops[XBDEV_OP_READ].bytes + from->ops[XBDEV_OP_WRITE].bytes;
	stats->bytes_per_s = rate(get->window.bytes, get->window.ns);
	stats->iops = cap(rate(get->window.count, get->window.ns));
	stats->bandwidth_mbps = cap((stats->bytes_per_s + (1u << 19)) >> 20);
	stats->avg_latency_us = cap((get->window.mean_ns + XU_NS_PER_US / 2) / XU_NS_PER_US);
	stats->window_ms = get->window.ns / XU_NS_PER_MS;
	stats->since_ms = (get->at_ns - from->since_ns) / XU_NS_PER_MS;
	stats->queue_depth = from->queue_depth;
	stats->queue_depth_max = from->queue_depth_max;
	stats->nr_bounced = from->nr_bounced;
	stats->nr_split = from->nr_split;
	stats->nr_waited = from->nr_waited;
}

static int ask(struct stats_call *get)
{
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, &get->call, on_stats_get);
		api_leave(thread);
	}
	return rc;
}

int xbdev_stats_get(const char *device, xbdev_stats_t *ret_stats)
{
	struct stats_call get = {.device = device};
	int rc;

	if (device == NULL || ret_stats == NULL) {
		return api_fail(-EINVAL, "xbdev_stats_get: %s",
			device == NULL ? "the device's name is NULL"
				       : "there is no place for statistics");
	}
	get.stats = malloc(sizeof(*get.stats));
	if (get.stats == NULL) {
		return api_fail(-ENOMEM, "statistics of '%s': out of memory", device);
	}
	rc = ask(&get);
	if (rc == 0) {
		fill_stats(ret_stats, &get);
	}
	free(get.stats);
	return rc;
}

int xbdev_stats_reset(const char *device)
{
	struct stats_call get = {.device = device, .reset = true};

	if (device == NULL) {
		return api_fail(-EINVAL, "xbdev_stats_reset: the device's name is NULL");
	}
	return ask(&get);
}
