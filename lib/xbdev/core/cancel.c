/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cancelling: a request to end an I/O early. What waits in line ends at once; what a relay carries
 * out gets no further pieces; what a driver has is the driver's to give up, if it can. The callback
 * comes exactly once in any case and tells what became of it, so nobody's buffer is let go too
 * soon.
 *
 * An I/O that was passed on to the device below is that one's: `ch` says so.
 *
 * An I/O that runs on the device's owner is reached by a message inside itself. The I/O may end and
 * come home while that message is under way; it is given back when both are there.
 */
#include <errno.h>

#include "lib/xbdev/core/core_private.h"

static bool take_out_of_line(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_io **link = &ch->waiting_first;

	while (*link != NULL && *link != io) {
		link = &(*link)->next_io;
	}
	if (*link == NULL) {
		return false;
	}
	*link = io->next_io;
	if (*link == NULL) {
		ch->waiting_end = link;
	}
	return true;
}

/*
 * On the channel whose driver has the I/O, or will have it. What is not in line any more and was
 * not started either has been ended there (by a request before this one, or a removal) and only
 * waits for its callback; the driver has never heard of it.
 */
static void cancel_at(struct xbdev_channel *ch, struct xbdev_io *io)
{
	io->is_cancelled = true;
	if (!io->is_started) {
		if (take_out_of_line(ch, io)) {
			ch->nr_inflight++;
			xbdev_io_complete_later(io, -ECANCELED);
		}
	} else if (io->relay != NULL) {
		xbdev__relay_cancel(io->relay);
	} else if (ch->dev->ops->cancel != NULL) {
		ch->dev->ops->cancel(ch, io);
	}
}

static void on_back(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, cancel_msg);

	io->is_cancel_sent = false;
	if (io->has_come_home) {
		xbdev__forward_finish(io);
	}
}

static void on_owner(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, cancel_msg);

	if (io->is_at_owner) {
		cancel_at(io->origin == XBDEV__FROM_PASSER ? io->ch : io->home->twin, io);
	}
	msg->fn = on_back;
	xr_msg_send(io->home->reactor, msg);
}

void xbdev_io_cancel(struct xbdev_io *io)
{
	if (!io->is_away) {
		cancel_at(io->ch, io);
	} else if (!io->is_cancel_sent) {
		io->is_cancel_sent = true;
		io->cancel_msg.fn = on_owner;
		xr_msg_send(io->home->dev->owner, &io->cancel_msg);
	}
}
