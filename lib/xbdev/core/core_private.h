/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/core: between the files that carry an I/O. */
#ifndef XBDEV_CORE_PRIVATE_H
#define XBDEV_CORE_PRIVATE_H

#include "lib/xbdev/core/device.h"

/* Where an I/O came from, and so where its completion goes. */
enum xbdev__origin {
	XBDEV__FROM_CALLER,    /* counted, then to its callback */
	XBDEV__FROM_RELAY,     /* a child: straight to its callback, not counted */
	XBDEV__FROM_FORWARDER, /* at the owner: goes home by message */
	XBDEV__FROM_PASSER,    /* counted below, then as it would end above */
};

/* Gives an I/O a place in the channel's queue and hands it to the driver, through a relay where the
 * driver cannot take it as it is; or lets it wait for its turn. */
void xbdev__io_enter(struct xbdev_channel *ch, struct xbdev_io *io);

static inline void xbdev__io_count_inflight(struct xbdev_channel *ch)
{
	ch->nr_inflight++;
	if (ch->nr_inflight > ch->nr_inflight_max) {
		ch->nr_inflight_max = ch->nr_inflight;
	}
}

/* Ends an I/O on its own channel: accounts for it, calls back, starts one that waited. */
void xbdev__io_finish(
	struct xbdev_channel *ch, struct xbdev_io *io, int status, uint64_t now_ticks);

/* Starts what waits in line, as far as the depth and the relays allow. */
void xbdev__io_start_waiting(struct xbdev_channel *ch);

/* relay.c: carries out an I/O by children. */
int xbdev__relays_init(struct xbdev_channel *ch);
void xbdev__relays_fini(struct xbdev_channel *ch);
/* False when all relays are out: the I/O must wait. */
bool xbdev__relay_start(struct xbdev_channel *ch, struct xbdev_io *io);
/* No further pieces; the I/O ends with -ECANCELED when those that run have come back. */
void xbdev__relay_cancel(struct xbdev_relay *relay);

/* forward.c: a channel whose I/O runs on the device's owner. */
void xbdev__forward_open(struct xbdev_channel *ch);
void xbdev__forward_submit(struct xbdev_channel *ch, struct xbdev_io *io);
void xbdev__forward_close(struct xbdev_channel *ch);
void xbdev__forward_complete(struct xbdev_io *io, int status);
/* At home, when the I/O and its cancel message are both back. */
void xbdev__forward_finish(struct xbdev_io *io);

/* channel.c */
int xbdev__channel_new(struct xbdev_device *dev, struct xr_reactor *reactor, bool is_writable,
	struct xbdev_channel **ret_ch);
void xbdev__channel_free(struct xbdev_channel *ch);
void xbdev__channel_removed(struct xbdev_channel *ch);
/* The owner has closed the other end of a forwarding channel that was put. */
void xbdev__channel_forward_closed(struct xbdev_channel *ch);

/* device.c: lets the control reactor see whether a device that is going can go now. Any thread. */
void xbdev__device_check(struct xbdev_device *dev);

/* names.c: once in the graph a device is found by its name and its UUID. */
void xbdev__name_add(struct xbdev_device *dev);
void xbdev__name_del(struct xbdev_device *dev);
void xbdev__uuid_add(struct xbdev_device *dev);
void xbdev__uuid_del(struct xbdev_device *dev);

/* stats.c; _init() is for zeroed memory. */
void xbdev__stats_init(struct xbdev_stats *stats);
void xbdev__stats_merge(struct xbdev_stats *into, const struct xbdev_stats *from);
void xbdev__stats_reset(struct xbdev_stats *stats);

#endif
