/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels: one opener's way to a device on one reactor. A channel lives on its reactor's list in
 * the device, so removal and statistics find it by visiting the reactors in turn (struct
 * xbdev_hop); nobody else looks at it. A device is freed only when its last channel is gone, which
 * the last one tells the control reactor.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/core/core_private.h"

int xbdev__channel_new(struct xbdev_device *dev, struct xr_reactor *reactor, bool is_writable,
	struct xbdev_channel **ret_ch)
{
	struct xbdev_channel *ch = aligned_alloc(
		XU_CACHE_LINE, (sizeof(*ch) + XU_CACHE_LINE - 1) / XU_CACHE_LINE * XU_CACHE_LINE);
	int rc = -ENOMEM;

	if (ch == NULL) {
		return -ENOMEM;
	}
	memset(ch, 0, sizeof(*ch));
	ch->dev = dev;
	ch->reactor = reactor;
	ch->is_writable = is_writable;
	ch->block_mask = dev->limits.block_size - 1;
	ch->depth = dev->limits.queue_depth;
	ch->submit = dev->ops->submit;
	ch->waiting_end = &ch->waiting_first;
	ch->done_end = &ch->done_first;
	xu_list_init(&ch->link);
	ch->stats = calloc(1, sizeof(*ch->stats));
	if (ch->stats == NULL || xbdev__relays_init(ch) != 0) {
		goto fail;
	}
	xbdev__stats_init(ch->stats);
	if (dev->ops->channel_bytes != 0) {
		ch->driver = calloc(1, dev->ops->channel_bytes);
		if (ch->driver == NULL) {
			goto fail;
		}
	}
	*ret_ch = ch;
	return 0;
fail:
	if (ch->relays.memory != NULL) {
		xbdev__relays_fini(ch);
	}
	free(ch->stats);
	free(ch);
	return rc;
}

void xbdev__channel_free(struct xbdev_channel *ch)
{
	xbdev__relays_fini(ch);
	free(ch->driver);
	free(ch->stats);
	free(ch);
}

int xbdev_channel_get(
	struct xbdev_desc *desc, struct xr_reactor *reactor, struct xbdev_channel **ret_ch)
{
	struct xbdev_device *dev = desc->dev;
	struct xbdev_channel *ch;
	int rc;

	if (atomic_load(&dev->state) != XBDEV_DEVICE_READY) {
		return -ENODEV;
	}
	rc = xbdev__channel_new(dev, reactor, desc->is_writable && !dev->is_read_only, &ch);
	if (rc != 0) {
		return rc;
	}
	ch->desc = desc;
	if (!dev->is_multi_reactor && dev->owner != reactor) {
		xbdev__forward_open(ch);
	} else if (dev->ops->channel_open != NULL) {
		rc = dev->ops->channel_open(ch);
		if (rc != 0) {
			xbdev__channel_free(ch);
			return rc;
		}
	}
	xu_list_add_tail(&dev->channels[xr_reactor_index(reactor)], &ch->link);
	atomic_fetch_add(&dev->nr_channels, 1);
	atomic_fetch_add(&desc->nr_channels, 1);
	*ret_ch = ch;
	return 0;
}

/* The device's sum of statistics belongs to the control reactor, so a channel ends there. */
static void on_part(struct xr_msg *msg)
{
	struct xbdev_channel *ch = xu_container_of(msg, struct xbdev_channel, done_msg);
	struct xbdev_device *dev = ch->dev;

	ch->stats->queue_depth_max = ch->nr_inflight_max;
	if (!ch->is_uncounted) {
		xbdev__stats_merge(dev->stats_home, ch->stats);
	}
	xbdev__channel_free(ch);
	atomic_fetch_sub(&dev->nr_channels, 1);
	xbdev__device_check(dev);
}

static void part(struct xbdev_channel *ch)
{
	xu_list_del(&ch->link);
	ch->done_msg.fn = on_part;
	xr_msg_send(xbdev_ctx_control(ch->dev->ctx), &ch->done_msg);
}

void xbdev_channel_put(struct xbdev_channel *ch)
{
	assert(ch->nr_inflight == 0 && ch->waiting_first == NULL);
	atomic_fetch_sub(&ch->desc->nr_channels, 1);
	ch->desc = NULL;
	xr_timer_stop(ch->reactor, &ch->starved_timer);
	if (ch->is_forwarding) {
		/* Stays on the list until the owner has closed the other end. */
		xbdev__forward_close(ch);
		return;
	}
	if (ch->dev->ops->channel_close != NULL) {
		ch->dev->ops->channel_close(ch);
	}
	part(ch);
}

void xbdev__channel_forward_closed(struct xbdev_channel *ch)
{
	part(ch);
}

void xbdev__channel_removed(struct xbdev_channel *ch)
{
	struct xbdev_io *io = ch->waiting_first;

	ch->is_removed = true;
	ch->waiting_first = NULL;
	ch->waiting_end = &ch->waiting_first;
	while (io != NULL) {
		struct xbdev_io *next = io->next_io;

		ch->nr_inflight++;
		xbdev_io_complete_later(io, -ENODEV);
		io = next;
	}
	if (ch->dev->ops->channel_abort != NULL && !ch->is_forwarding) {
		ch->dev->ops->channel_abort(ch);
	}
}
