/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collections: the statistics of a device at intervals, with their history.
 *
 * A collection is the control reactor's; at every interval it asks for the counters, takes the
 * difference to what it was told before and keeps that as a sample in a ring. When somebody has
 * reset the counters meanwhile, they are taken since that reset. A collection goes with its device:
 * the device cannot go while its statistics are under way, so it is enough to listen for its
 * removal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xbdev/stats.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/services.h"

#define INTERVAL_DEFAULT_MS 1000u
#define HISTORY_DEFAULT     60u
#define COPY_MAX            128u /* samples copied at a time on the control reactor */

struct collection {
	struct xu_list link;
	struct xbdev_device *dev;
	struct xr_timer timer;
	uint64_t interval_ns;
	uint64_t next_ns;
	bool is_asking;
	bool is_over; /* freed when the answer is there */
	struct api_call *starter;
	struct xbdev_stats before; /* what it was told last */
	uint64_t before_ns;
	xbdev_stats_sample_t *samples; /* ring; number n is in place n % capacity */
	uint32_t capacity;
	uint64_t nr_samples; /* ever taken */
};

static struct xu_list collections = {&collections, &collections};
static struct xbdev_graph_listener listener;

/* ---- samples ---- */

static void fill_sample(
	xbdev_stats_sample_t *sample, const struct api_activity *a, uint32_t queue_depth)
{
	const struct xu_clock *clock = xu_clock_system();

	*sample = (xbdev_stats_sample_t){
		.time_ms = clock->wall_ns(clock) / XU_NS_PER_MS,
		.interval_us = a->ns / XU_NS_PER_US,
		.nr_reads = a->counts[XBDEV_OP_READ],
		.nr_writes = a->counts[XBDEV_OP_WRITE],
		.nr_others =
			a->latency.count - a->counts[XBDEV_OP_READ] - a->counts[XBDEV_OP_WRITE],
		.bytes_read = a->bytes_read,
		.bytes_written = a->bytes_written,
		.errors = a->errors,
		.mean_ns = xu_hist_mean_ns(&a->latency),
		.p50_ns = xu_hist_percentile_ns(&a->latency, 50),
		.p95_ns = xu_hist_percentile_ns(&a->latency, 95),
		.p99_ns = xu_hist_percentile_ns(&a->latency, 99),
		.p999_ns = xu_hist_percentile_ns(&a->latency, 99.9),
		.max_ns = a->latency.max_ns,
		.queue_depth = queue_depth,
	};
}

/* ---- collections ---- */

static struct collection *find_collection(const struct xbdev_device *dev)
{
	struct xu_list *node;

	xu_list_for_each (node, &collections) {
		struct collection *c = xu_list_entry(node, struct collection, link);

		if (c->dev == dev) {
			return c;
		}
	}
	return NULL;
}

static void collection_free(struct collection *c)
{
	free(c->samples);
	free(c);
}

static void collection_end(struct collection *c)
{
	xu_list_del(&c->link);
	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &c->timer);
	c->is_over = true;
	if (!c->is_asking) {
		collection_free(c);
	}
}

static void on_graph(
	struct xbdev_graph_listener *self, enum xbdev_graph_event event, struct xbdev_device *dev)
{
	struct collection *c = event == XBDEV_GRAPH_REMOVED ? find_collection(dev) : NULL;

	if (c != NULL) {
		collection_end(c);
	}
}

void api_collect_init(void)
{
	listener.fn = on_graph;
	xbdev_ctx_add_listener(api_lib.ctx, &listener);
}

/* The next interval ends when it would have if none had been late. */
static void set_timer(struct collection *c)
{
	uint64_t at_ns = api_stats_now_ns();

	c->next_ns += c->interval_ns;
	if (c->next_ns <= at_ns) {
		c->next_ns = at_ns + c->interval_ns;
	}
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &c->timer, c->next_ns - at_ns);
}

static void keep(struct collection *c, const struct xbdev_stats *stats, uint64_t at_ns)
{
	c->before = *stats;
	c->before_ns = at_ns;
}

/* Of an interval; NULL stats: no memory to ask, so this one goes into the next. */
static void on_interval_stats(void *arg, const struct xbdev_stats *stats)
{
	struct collection *c = arg;
	uint64_t at_ns = api_stats_now_ns();
	struct api_activity a;

	c->is_asking = false;
	if (c->is_over) {
		collection_free(c);
		return;
	}
	if (stats != NULL) {
		api_stats_difference(&a, stats, at_ns, &c->before, c->before_ns);
		fill_sample(&c->samples[c->nr_samples++ % c->capacity], &a, stats->queue_depth);
		keep(c, stats, at_ns);
	}
	set_timer(c);
}

static void on_interval(struct xr_timer *timer)
{
	struct collection *c = xu_container_of(timer, struct collection, timer);

	c->is_asking = true;
	xbdev_device_stats(c->dev, false, on_interval_stats, c);
}

bool api_collect_window(const struct xbdev_device *dev, const struct xbdev_stats *stats,
	uint64_t at_ns, struct api_window *ret_window)
{
	const struct collection *c = find_collection(dev);
	const xbdev_stats_sample_t *s;
	struct api_activity a;

	if (c == NULL || c->starter != NULL) {
		return false;
	}
	if (c->nr_samples == 0) {
		api_stats_difference(&a, stats, at_ns, &c->before, c->before_ns);
		api_stats_window(ret_window, &a);
		return true;
	}
	s = &c->samples[(c->nr_samples - 1) % c->capacity];
	*ret_window = (struct api_window){
		.ns = s->interval_us * XU_NS_PER_US,
		.count = s->nr_reads + s->nr_writes + s->nr_others,
		.bytes = s->bytes_read + s->bytes_written,
		.mean_ns = s->mean_ns,
	};
	return true;
}

/* ---- starting and stopping them ---- */

struct collect_call {
	struct api_call call;
	const char *device;
	struct collection *collection; /* made by the caller, taken when it succeeds */
};

static void on_first_stats(void *arg, const struct xbdev_stats *stats)
{
	struct collection *c = arg;
	struct api_call *starter = c->starter;

	c->is_asking = false;
	c->starter = NULL;
	if (stats == NULL) {
		xu_list_del(&c->link);
		api_call_done(starter, -ENOMEM);
		return;
	}
	keep(c, stats, api_stats_now_ns());
	c->next_ns = c->before_ns;
	set_timer(c);
	xu_container_of(starter, struct collect_call, call)->collection = NULL;
	api_call_done(starter, 0);
}

static void on_collect_start(struct api_call *call)
{
	struct collect_call *start = xu_container_of(call, struct collect_call, call);
	struct collection *c = start->collection;
	struct xbdev_device *dev = api_device_find(call, start->device);

	if (dev == NULL) {
		api_call_done(call, call->err.code);
		return;
	}
	if (find_collection(dev) != NULL) {
		xu_error_set(&call->err, -EALREADY,
			"statistics of device '%s' are being collected already; stop that first",
			dev->name);
		api_call_done(call, -EALREADY);
		return;
	}
	c->dev = dev;
	c->starter = call;
	c->is_asking = true;
	c->timer.fn = on_interval;
	xu_list_add_tail(&collections, &c->link);
	xbdev_device_stats(dev, false, on_first_stats, c);
}

static int check_config(const xbdev_stats_config_t *config, uint32_t interval_ms, uint32_t history)
{
	if (interval_ms < XBDEV_STATS_INTERVAL_MIN_MS ||
		interval_ms > XBDEV_STATS_INTERVAL_MAX_MS) {
		return api_fail(-EINVAL, "an interval of %u ms is not possible; %u to %u are",
			interval_ms, XBDEV_STATS_INTERVAL_MIN_MS, XBDEV_STATS_INTERVAL_MAX_MS);
	}
	if (history > XBDEV_STATS_HISTORY_MAX) {
		return api_fail(-EINVAL, "a history of %u samples is not possible; %u are", history,
			XBDEV_STATS_HISTORY_MAX);
	}
	return 0;
}

int xbdev_stats_collect_start(const char *device, const xbdev_stats_config_t *config)
{
	uint32_t interval_ms = config != NULL && config->interval_ms != 0 ? config->interval_ms
									  : INTERVAL_DEFAULT_MS;
	uint32_t history =
		config != NULL && config->history != 0 ? config->history : HISTORY_DEFAULT;
	struct collect_call start = {.device = device};
	struct api_thread *thread;
	struct collection *c;
	int rc;

	if (device == NULL) {
		return api_fail(-EINVAL, "xbdev_stats_collect_start: the device's name is NULL");
	}
	rc = check_config(config, interval_ms, history);
	if (rc != 0) {
		return rc;
	}
	c = calloc(1, sizeof(*c));
	if (c != NULL) {
		c->samples = calloc(history, sizeof(*c->samples));
	}
	if (c == NULL || c->samples == NULL) {
		free(c);
		return api_fail(-ENOMEM, "collecting statistics of '%s': out of memory", device);
	}
	c->capacity = history;
	c->interval_ns = interval_ms * XU_NS_PER_MS;
	start.collection = c;
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &start.call, on_collect_start);
		api_leave(thread);
	}
	if (start.collection != NULL) {
		collection_free(start.collection);
	}
	return rc;
}

/* The collection of a call's device; NULL with the call's sentence set. */
static struct collection *need_collection(struct api_call *call, const char *device)
{
	struct xbdev_device *dev = api_device_find(call, device);
	struct collection *c = dev != NULL ? find_collection(dev) : NULL;

	if (dev != NULL && (c == NULL || c->starter != NULL)) {
		xu_error_set(&call->err, -ENOENT,
			"statistics of device '%s' are not being collected; start that first",
			dev->name);
		return NULL;
	}
	return c;
}

static void on_collect_stop(struct api_call *call)
{
	struct collect_call *stop = xu_container_of(call, struct collect_call, call);
	struct collection *c = need_collection(call, stop->device);

	if (c != NULL) {
		collection_end(c);
	}
	api_call_done(call, call->err.code);
}

int xbdev_stats_collect_stop(const char *device)
{
	struct collect_call stop = {.device = device};
	struct api_thread *thread;
	int rc;

	if (device == NULL) {
		return api_fail(-EINVAL, "xbdev_stats_collect_stop: the device's name is NULL");
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &stop.call, on_collect_stop);
		api_leave(thread);
	}
	return rc;
}

/* ---- the history ---- */

struct history_call {
	struct api_call call;
	const char *device;
	xbdev_stats_sample_t *samples; /* where the next ones go */
	uint64_t nr_left;
	uint64_t next, end; /* numbers of samples; both 0 at first */
	bool is_begun;
};

/* Copies a part, so that a long history does not hold up the reactor's I/O. Returns its length. */
static void on_history(struct api_call *call)
{
	struct history_call *h = xu_container_of(call, struct history_call, call);
	struct collection *c = need_collection(call, h->device);
	uint64_t oldest;
	int count = 0;

	if (c == NULL) {
		api_call_done(call, call->err.code);
		return;
	}
	oldest = c->nr_samples > c->capacity ? c->nr_samples - c->capacity : 0;
	if (!h->is_begun) {
		h->is_begun = true;
		h->end = c->nr_samples;
		h->next = h->end > h->nr_left ? h->end - h->nr_left : 0;
	}
	h->next = h->next < oldest ? oldest : h->next;
	while (h->next < h->end && count < (int)COPY_MAX) {
		h->samples[count++] = c->samples[h->next++ % c->capacity];
	}
	api_call_done(call, count);
}

int xbdev_stats_history_get(const char *device, xbdev_stats_sample_t *ret_samples, int max)
{
	struct history_call h = {
		.device = device, .samples = ret_samples, .nr_left = (uint64_t)max};
	struct api_thread *thread;
	int rc, count = 0;

	if (device == NULL || max < 0 || (ret_samples == NULL && max != 0)) {
		return api_fail(-EINVAL, "xbdev_stats_history_get: %s",
			device == NULL ? "the device's name is NULL"
			: max < 0      ? "max is negative"
				       : "there is no place for samples");
	}
	rc = api_enter(&thread, true);
	if (rc != 0) {
		return rc;
	}
	do {
		rc = api_call_run(thread, &h.call, on_history);
		count += rc > 0 ? rc : 0;
		h.samples = ret_samples + count;
	} while (rc > 0 && h.next < h.end);
	api_leave(thread);
	return rc < 0 ? rc : count;
}
