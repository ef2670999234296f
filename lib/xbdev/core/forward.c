/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding: a channel on a reactor that does not own the device. The owner holds a twin channel;
 * each I/O travels there as a message inside itself, runs in the driver, and travels back the same
 * way. Messages from one reactor to another keep their order, so the twin is open before the first
 * I/O arrives and is closed after the last. While the twin could not be opened, every I/O fails
 * with the reason.
 *
 * Checks, depth and statistics are the channel's, on its own reactor. The twin counts only what
 * happens there (bounces, splits), which is added to the channel's when it closes.
 *
 * While an I/O is away, `ch` of it is the owner's, who may pass it on: home is `home`.
 */
#include <errno.h>

#include "lib/util/clock.h"
#include "lib/xbdev/core/core_private.h"

/* ---- back home ---- */

static void on_return(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, msg);

	if (io->is_cancel_sent) {
		io->has_come_home = true;
	} else {
		xbdev__forward_finish(io);
	}
}

void xbdev__forward_finish(struct xbdev_io *io)
{
	io->origin = XBDEV__FROM_CALLER;
	io->is_away = false;
	xbdev__io_finish(io->ch, io, io->status, xu_ticks());
}

static void send_home(struct xbdev_io *io, int status)
{
	io->status = status;
	io->is_at_owner = false;
	io->msg.fn = on_return;
	xr_msg_send(io->home->reactor, &io->msg);
}

/* ---- at the owner ---- */

static void on_twin_open(struct xr_msg *msg)
{
	struct xbdev_channel *ch = xu_container_of(msg, struct xbdev_channel, twin_msg);
	struct xbdev_device *dev = ch->dev;
	struct xbdev_channel *twin;
	int rc;

	rc = xbdev__channel_new(dev, dev->owner, ch->is_writable, &twin);
	if (rc == 0 && dev->ops->channel_open != NULL) {
		rc = dev->ops->channel_open(twin);
		if (rc != 0) {
			xbdev__channel_free(twin);
		}
	}
	if (rc != 0) {
		ch->twin_error = rc;
		return;
	}
	xu_list_add_tail(&dev->channels[xr_reactor_index(dev->owner)], &twin->link);
	twin->is_removed = atomic_load(&dev->state) == XBDEV_DEVICE_REMOVING;
	ch->twin = twin;
}

static void on_arrive(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, msg);
	struct xbdev_channel *home = io->home, *twin = home->twin;

	io->origin = XBDEV__FROM_FORWARDER;
	io->is_at_owner = true;
	if (twin == NULL) {
		send_home(io, home->twin_error);
		return;
	}
	if (twin->is_removed) {
		send_home(io, -ENODEV);
		return;
	}
	xbdev__io_enter(twin, io);
}

void xbdev__forward_complete(struct xbdev_io *io, int status)
{
	struct xbdev_channel *twin = io->home->twin;

	twin->nr_inflight--;
	if (twin->waiting_first != NULL) {
		xbdev__io_start_waiting(twin);
	}
	send_home(io, status);
}

/* ---- at home ---- */

void xbdev__forward_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	io->home = ch;
	io->is_away = true;
	io->is_at_owner = false;
	io->is_cancel_sent = false;
	io->has_come_home = false;
	io->msg.fn = on_arrive;
	xr_msg_send(ch->dev->owner, &io->msg);
}

void xbdev__forward_open(struct xbdev_channel *ch)
{
	ch->is_forwarding = true;
	ch->submit = xbdev__forward_submit;
	ch->twin_msg.fn = on_twin_open;
	xr_msg_send(ch->dev->owner, &ch->twin_msg);
}

/*
 * Closing goes by the message that ends every channel: an opening that has not been seen by the
 * owner yet still has its own under way.
 */
static void on_twin_closed(struct xr_msg *msg)
{
	struct xbdev_channel *ch = xu_container_of(msg, struct xbdev_channel, done_msg);

	if (ch->twin != NULL) {
		xbdev__stats_merge(ch->stats, ch->twin->stats);
		xbdev__channel_free(ch->twin);
	}
	xbdev__channel_forward_closed(ch);
}

static void on_twin_close(struct xr_msg *msg)
{
	struct xbdev_channel *ch = xu_container_of(msg, struct xbdev_channel, done_msg);
	struct xbdev_channel *twin = ch->twin;

	if (twin != NULL) {
		xr_timer_stop(twin->reactor, &twin->starved_timer);
		if (ch->dev->ops->channel_close != NULL) {
			ch->dev->ops->channel_close(twin);
		}
		xu_list_del(&twin->link);
	}
	msg->fn = on_twin_closed;
	xr_msg_send(ch->reactor, msg);
}

void xbdev__forward_close(struct xbdev_channel *ch)
{
	ch->done_msg.fn = on_twin_close;
	xr_msg_send(ch->dev->owner, &ch->done_msg);
}
