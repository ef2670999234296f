/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way of an I/O: checks, the channel's depth, the driver, and back. This is the path that every
 * byte takes, so it is short: an I/O that the driver can take as it is costs a few comparisons, two
 * readings of the cycle counter and one entry in a histogram. What the driver cannot take (too
 * large, an unaligned buffer, an operation it does not have) goes to relay.c.
 *
 * A driver that only moves an I/O to another place of another device passes it on: the same
 * structure is then in flight on both channels, counts on both, and ends on the lower one first.
 */
#include <assert.h>
#include <errno.h>

#include "lib/util/clock.h"
#include "lib/xbdev/core/core_private.h"

const char *xbdev_op_name(enum xbdev_op op)
{
	static const char *const names[XBDEV_NR_OPS] = {
		[XBDEV_OP_READ] = "read",
		[XBDEV_OP_WRITE] = "write",
		[XBDEV_OP_FLUSH] = "flush",
		[XBDEV_OP_DISCARD] = "discard",
		[XBDEV_OP_WRITE_ZEROES] = "write_zeroes",
		[XBDEV_OP_COMPARE] = "compare",
	};

	return op < XBDEV_NR_OPS ? names[op] : "unknown";
}

uint64_t xbdev_iov_slice(const struct iovec *iov, uint32_t nr_iov, uint64_t skip, uint64_t len,
	struct iovec *ret_iov, uint32_t max, uint32_t *ret_nr)
{
	uint64_t done = 0;
	uint32_t nr = 0;

	for (; nr_iov > 0 && done < len && nr < max; iov++, nr_iov--) {
		uint64_t take;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		take = iov->iov_len - skip;
		take = take < len - done ? take : len - done;
		ret_iov[nr++] = (struct iovec){(char *)iov->iov_base + skip, take};
		done += take;
		skip = 0;
	}
	*ret_nr = nr;
	return done;
}

static bool has_op(const struct xbdev_device *dev, uint8_t op)
{
	return (dev->ops_mask & (1u << op)) != 0;
}

static inline __attribute__((always_inline)) int check(
	const struct xbdev_channel *ch, const struct xbdev_io *io)
{
	const struct xbdev_device *dev = ch->dev;
	uint64_t size = xbdev_device_size_bytes(dev);

	if (ch->is_removed) {
		return -ENODEV;
	}
	if (io->op >= XBDEV_NR_OPS || ((io->offset | io->len) & ch->block_mask) != 0 ||
		io->offset > size || io->len > size - io->offset ||
		(io->len == 0) != (io->op == XBDEV_OP_FLUSH)) {
		return -EINVAL;
	}
	if (!ch->is_writable && io->op != XBDEV_OP_READ && io->op != XBDEV_OP_COMPARE &&
		io->op != XBDEV_OP_FLUSH) {
		return -EROFS;
	}
	if (io->op == XBDEV_OP_DISCARD && !has_op(dev, XBDEV_OP_DISCARD)) {
		return -EOPNOTSUPP;
	}
	return 0;
}

/* A driver that asks for an alignment asks for segments of whole blocks too: direct I/O does. */
static bool is_aligned(const struct xbdev_channel *ch, const struct xbdev_io *io)
{
	uintptr_t bases = 0;
	uint64_t lens = 0;

	for (uint32_t i = 0; i < io->nr_iov; i++) {
		bases |= (uintptr_t)io->iov[i].iov_base;
		lens |= io->iov[i].iov_len;
	}
	return ((bases & (ch->dev->limits.buf_align - 1)) | (lens & ch->block_mask)) == 0;
}

/* True when the driver cannot take the I/O as it is. */
static inline __attribute__((always_inline)) bool needs_relay(
	const struct xbdev_channel *ch, const struct xbdev_io *io)
{
	const struct xbdev_device *dev = ch->dev;
	const struct xbdev_limits *limits = &dev->limits;

	if (!has_op(dev, io->op)) {
		return true;
	}
	switch ((enum xbdev_op)io->op) {
	case XBDEV_OP_READ:
	case XBDEV_OP_WRITE:
	case XBDEV_OP_COMPARE:
		return io->len > limits->max_transfer || io->nr_iov > limits->max_iov ||
		       (limits->buf_align > 1 && !is_aligned(ch, io)) ||
		       (io->op == XBDEV_OP_WRITE && (io->flags & XBDEV_IO_FUA) && !dev->has_fua);
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		return io->len > limits->max_zeroes || (io->flags & XBDEV_IO_FUA);
	default:
		return false;
	}
}

static void wait_in_line(struct xbdev_channel *ch, struct xbdev_io *io)
{
	io->is_started = false;
	io->next_io = NULL;
	*ch->waiting_end = io;
	ch->waiting_end = &io->next_io;
	ch->stats->nr_waited++;
}

static void put_back_in_line(struct xbdev_channel *ch, struct xbdev_io *io)
{
	io->next_io = ch->waiting_first;
	ch->waiting_first = io;
	if (io->next_io == NULL) {
		ch->waiting_end = &io->next_io;
	}
}

static void dispatch(struct xbdev_channel *ch, struct xbdev_io *io)
{
	io->is_started = true;
	if (!ch->is_forwarding && needs_relay(ch, io)) {
		if (!xbdev__relay_start(ch, io)) {
			io->is_started = false;
			ch->nr_inflight--;
			put_back_in_line(ch, io);
		}
		return;
	}
	ch->submit(ch, io);
}

void xbdev__io_enter(struct xbdev_channel *ch, struct xbdev_io *io)
{
	if (ch->nr_inflight >= ch->depth || ch->waiting_first != NULL) {
		wait_in_line(ch, io);
		return;
	}
	xbdev__io_count_inflight(ch);
	dispatch(ch, io);
}

int xbdev_io_submit(struct xbdev_io *io)
{
	struct xbdev_channel *ch = io->ch;
	int rc = check(ch, io);

	if (rc != 0) {
		return rc;
	}
	io->origin = XBDEV__FROM_CALLER;
	io->relay = NULL;
	io->is_cancelled = false;
	io->is_away = false;
	io->ticks = xu_ticks();
	xbdev__io_enter(ch, io);
	return 0;
}

void xbdev__io_start_waiting(struct xbdev_channel *ch)
{
	while (ch->waiting_first != NULL && ch->nr_inflight < ch->depth) {
		struct xbdev_io *io = ch->waiting_first;

		ch->waiting_first = io->next_io;
		if (ch->waiting_first == NULL) {
			ch->waiting_end = &ch->waiting_first;
		}
		xbdev__io_count_inflight(ch);
		dispatch(ch, io);
		if (ch->waiting_first == io) {
			return; /* no relay was free: it goes on when one is */
		}
	}
}

/* It leaves the channel, after so many ticks; the status that it has now. */
static inline int leave(
	struct xbdev_channel *ch, const struct xbdev_io *io, int status, uint64_t ticks)
{
	struct xbdev_op_stats *stats = &ch->stats->ops[io->op];

	ch->nr_inflight--;
	xu_hist_record(&stats->latency, xu_ticks_to_ns(ticks));
	if (ch->is_removed) {
		status = -ENODEV;
	}
	if (status == 0) {
		stats->bytes += io->len;
	} else {
		stats->errors++;
	}
	if (ch->waiting_first != NULL) {
		xbdev__io_start_waiting(ch);
	}
	return status;
}

void xbdev__io_finish(struct xbdev_channel *ch, struct xbdev_io *io, int status, uint64_t now_ticks)
{
	io->ticks = now_ticks - io->ticks;
	status = leave(ch, io, status, io->ticks);
	io->cb(io, status);
}

/* ---- on another device ---- */

bool xbdev_io_pass(
	struct xbdev_channel *ch, struct xbdev_io *io, struct xbdev_channel *below, uint64_t offset)
{
	uint64_t was = io->offset;

	if (io->origin == XBDEV__FROM_RELAY || io->origin == XBDEV__FROM_PASSER ||
		below->is_forwarding || below->waiting_first != NULL ||
		below->nr_inflight >= below->depth || needs_relay(below, io)) {
		return false;
	}
	io->offset = offset;
	if (check(below, io) != 0) {
		io->offset = was;
		return false;
	}
	io->shift = offset - was;
	io->below_ticks = io->ticks;
	if (io->origin == XBDEV__FROM_FORWARDER) {
		io->below_ticks =
			xu_ticks(); /* its own are its channel's at home, the way included */
	} else {
		io->home = ch;
	}
	io->origin = XBDEV__FROM_PASSER;
	io->ch = below;
	xbdev__io_count_inflight(below);
	below->submit(below, io);
	return true;
}

/* The device below has ended it. */
static void come_back(struct xbdev_io *io, int status, uint64_t now_ticks)
{
	struct xbdev_channel *ch = io->is_away ? io->home->twin : io->home;

	status = leave(io->ch, io, status, now_ticks - io->below_ticks);
	io->ch = io->home;
	io->offset -= io->shift;
	ch->dev->ops->passed(ch);
	if (io->is_away) {
		io->origin = XBDEV__FROM_FORWARDER;
		xbdev__forward_complete(io, status);
	} else {
		io->origin = XBDEV__FROM_CALLER;
		xbdev__io_finish(ch, io, status, now_ticks);
	}
}

/* ---- the end ---- */

void xbdev_io_complete(struct xbdev_io *io, int status)
{
	switch ((enum xbdev__origin)io->origin) {
	case XBDEV__FROM_CALLER:
		xbdev__io_finish(io->ch, io, status, xu_ticks());
		break;
	case XBDEV__FROM_RELAY:
		io->cb(io, status);
		break;
	case XBDEV__FROM_FORWARDER:
		xbdev__forward_complete(io, status);
		break;
	case XBDEV__FROM_PASSER:
		come_back(io, status, xu_ticks());
		break;
	}
}

void xbdev_io_complete_list(struct xbdev_io *io)
{
	uint64_t now_ticks = xu_ticks();

	while (io != NULL) {
		struct xbdev_io *next = io->next_io;

		if (io->origin == XBDEV__FROM_CALLER) {
			xbdev__io_finish(io->ch, io, io->status, now_ticks);
		} else if (io->origin == XBDEV__FROM_PASSER) {
			come_back(io, io->status, now_ticks);
		} else {
			xbdev_io_complete(io, io->status);
		}
		io = next;
	}
}

/* Ends what was completed from within submit(): one deferred call for all of a round. */
static void on_done(struct xr_msg *msg)
{
	struct xbdev_channel *ch = xu_container_of(msg, struct xbdev_channel, done_msg);
	struct xbdev_io *first = ch->done_first;

	ch->done_first = NULL;
	ch->done_end = &ch->done_first;
	xbdev_io_complete_list(first);
}

void xbdev_io_complete_later(struct xbdev_io *io, int status)
{
	struct xbdev_channel *ch = io->ch;

	if (io->origin == XBDEV__FROM_FORWARDER) {
		ch = io->home->twin;
	}
	io->status = status;
	io->next_io = NULL;
	if (ch->done_first == NULL) {
		ch->done_msg.fn = on_done;
		xr_msg_defer(ch->reactor, &ch->done_msg);
	}
	*ch->done_end = io;
	ch->done_end = &io->next_io;
}
