/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics. Each channel counts for itself, without atomics; who wants to know sends a message
 * around the reactors, which takes what each channel has counted since the last time and brings it
 * home to the device's sum. So every I/O is counted in one place only, and a channel that closes
 * meanwhile, which brings home what it has left, is neither missed nor counted twice. The device is
 * kept from going by counting as one more channel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/xbdev/core/core_private.h"

/* Pages of a histogram in which nothing is counted are never touched, and so cost no memory. */
void xbdev__stats_init(struct xbdev_stats *stats)
{
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		xu_hist_init(&stats->ops[op].latency);
	}
}

void xbdev__stats_reset(struct xbdev_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	xbdev__stats_init(stats);
}

void xbdev__stats_merge(struct xbdev_stats *into, const struct xbdev_stats *from)
{
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		into->ops[op].bytes += from->ops[op].bytes;
		into->ops[op].errors += from->ops[op].errors;
		xu_hist_merge(&into->ops[op].latency, &from->ops[op].latency);
	}
	into->nr_bounced += from->nr_bounced;
	into->nr_split += from->nr_split;
	into->nr_waited += from->nr_waited;
	if (from->queue_depth_max > into->queue_depth_max) {
		into->queue_depth_max = from->queue_depth_max;
	}
}

struct collection {
	struct xbdev_hop hop;
	struct xbdev_device *dev;
	bool reset;
	void (*cb)(void *arg, const struct xbdev_stats *stats);
	void *arg;
	struct xbdev_stats sum;
};

static void collect_on_reactor(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct collection *c = xu_container_of(hop, struct collection, hop);
	struct xu_list *node;

	xu_list_for_each (node, &c->dev->channels[xr_reactor_index(reactor)]) {
		struct xbdev_channel *ch = xu_list_entry(node, struct xbdev_channel, link);

		if (ch->is_uncounted) {
			continue;
		}
		ch->stats->queue_depth_max = ch->nr_inflight_max;
		xbdev__stats_merge(&c->sum, ch->stats);
		xbdev__stats_reset(ch->stats);
		if (c->reset) {
			ch->nr_inflight_max = ch->nr_inflight;
		}
		if (ch->desc != NULL) { /* what is at a twin is counted where it came from */
			c->sum.queue_depth += ch->nr_inflight;
		}
	}
}

static void collected(struct xbdev_hop *hop)
{
	struct collection *c = xu_container_of(hop, struct collection, hop);
	struct xbdev_device *dev = c->dev;
	struct xbdev_stats *stats = dev->stats_home;

	xbdev__stats_merge(stats, &c->sum);
	stats->queue_depth = c->sum.queue_depth;
	c->cb(c->arg, stats);
	if (c->reset) {
		xbdev__stats_reset(stats);
		stats->since_ns = xu_clock_now_ns(xbdev_ctx_platform(dev->ctx)->clock);
	}
	free(c);
	atomic_fetch_sub(&dev->nr_channels, 1);
	xbdev__device_check(dev);
}

void xbdev_device_stats(struct xbdev_device *dev, bool reset,
	void (*cb)(void *arg, const struct xbdev_stats *stats), void *arg)
{
	struct collection *c = malloc(sizeof(*c));

	if (c == NULL) {
		cb(arg, NULL);
		return;
	}
	xbdev__stats_reset(&c->sum);
	c->dev = dev;
	c->reset = reset;
	c->cb = cb;
	c->arg = arg;
	c->hop.fn = collect_on_reactor;
	c->hop.done = collected;
	atomic_fetch_add(&dev->nr_channels, 1);
	xbdev_hop_start(&c->hop, dev->ctx);
}
