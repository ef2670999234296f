/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Relays carry out what a driver cannot take as it is, by children that it can:
 *
 *   larger than the driver's limits    pieces, several at a time
 *   an unaligned buffer                a bounce buffer from the reactor's pool
 *   FUA that the driver has not        the write, then a flush
 *   WRITE ZEROES it has not            writes of a zero page
 *   COMPARE it has not                 reads into a bounce buffer, then memcmp
 *
 * A relay belongs to its channel and is one of a fixed number; an I/O that finds none waits in
 * line. Each child that runs takes a place in the channel's queue, the first one its parent's. When
 * the buffer pool is empty a relay waits for its own children, or makes do with less, or tries
 * again a millisecond later. The first error ends the I/O, after the children that run have come
 * back.
 */
#include <errno.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/core/core_private.h"

#define NR_RELAYS     16u
#define NR_CHILDREN   4u
#define CHILD_IOV     32u
#define BOUNCE_MAX    (256u << 10)
#define ZERO_BYTES    (64u << 10)
#define STARVED_RETRY XU_NS_PER_MS

struct cursor {
	uint32_t index; /* of the iov */
	size_t skip;    /* bytes of it that are done */
};

struct child {
	struct xbdev_io io;
	struct xbdev_relay *relay;
	void *bounce;
	struct cursor start; /* of this piece in the parent's buffers */
	struct iovec iov[CHILD_IOV];
};

struct xbdev_relay {
	struct xbdev_channel *ch;
	struct xbdev_io *parent;
	struct xbdev_relay *next_starved;
	uint64_t done_bytes; /* given to children so far */
	struct cursor cursor;
	uint32_t free_children; /* bits */
	uint32_t nr_running;
	int status;
	bool needs_flush;
	struct child children[NR_CHILDREN];
};

/* Source of zeroes; never written. */
static _Alignas(4096) char zeroes[ZERO_BYTES];

static void pump(struct xbdev_relay *relay);

/* ---- buffers ---- */

static void cursor_advance(struct cursor *cursor, const struct iovec *iov, size_t len)
{
	cursor->skip += len;
	while (cursor->skip != 0 && cursor->skip >= iov[cursor->index].iov_len) {
		cursor->skip -= iov[cursor->index].iov_len;
		cursor->index++;
	}
}

enum copy_kind { COPY_OUT_OF_IOV, COPY_INTO_IOV, COPY_COMPARE };

/* Walks `len` bytes of the buffers beside the flat memory `flat`; -EBADE when a compare differs. */
static int walk(
	const struct iovec *iov, struct cursor at, char *flat, size_t len, enum copy_kind kind)
{
	while (len != 0) {
		char *base = (char *)iov[at.index].iov_base + at.skip;
		size_t part = iov[at.index].iov_len - at.skip;

		if (part > len) {
			part = len;
		}
		if (kind == COPY_OUT_OF_IOV) {
			memcpy(flat, base, part);
		} else if (kind == COPY_INTO_IOV) {
			memcpy(base, flat, part);
		} else if (memcmp(base, flat, part) != 0) {
			return -EBADE;
		}
		flat += part;
		len -= part;
		at.index++;
		at.skip = 0;
	}
	return 0;
}

/*
 * Fills the child's iov with the longest piece from the cursor that the driver takes without a
 * copy; returns its length, 0 when there is none of at least one block.
 */
static uint32_t slice(struct xbdev_relay *relay, struct child *child, uint64_t want)
{
	const struct xbdev_limits *limits = &relay->ch->dev->limits;
	uint32_t max_iov = limits->max_iov < CHILD_IOV ? limits->max_iov : CHILD_IOV;
	struct cursor at = relay->cursor;
	uint64_t total = 0, excess;
	uint32_t nr = 0;

	while (total < want && nr < max_iov) {
		const struct iovec *seg = &relay->parent->iov[at.index];
		uint64_t part = seg->iov_len - at.skip;
		char *base = (char *)seg->iov_base + at.skip;

		if (part > want - total) {
			part = want - total;
		}
		if (limits->buf_align > 1 && (((uintptr_t)base & (limits->buf_align - 1)) |
						     (part & relay->ch->block_mask)) != 0) {
			break;
		}
		child->iov[nr].iov_base = base;
		child->iov[nr++].iov_len = part;
		total += part;
		at.index++;
		at.skip = 0;
	}
	excess = total & relay->ch->block_mask;
	total -= excess;
	while (excess != 0) {
		struct iovec *last = &child->iov[nr - 1];

		if (last->iov_len > excess) {
			last->iov_len -= excess;
			break;
		}
		excess -= last->iov_len;
		nr--;
	}
	child->io.nr_iov = nr;
	return (uint32_t)total;
}

/* ---- pieces ---- */

/* Each prepares the child's I/O from the relay's position and returns its length in bytes; 0 when
 * there is no memory now. */

static uint32_t prepare_bounced(struct xbdev_relay *relay, struct child *child, uint64_t want)
{
	struct xbdev_io *parent = relay->parent;
	struct xu_bufpool *pool = xr_reactor_buffers(relay->ch->reactor);
	uint32_t len = want < BOUNCE_MAX ? (uint32_t)want : BOUNCE_MAX;
	uint32_t block_size = relay->ch->dev->limits.block_size;

	child->bounce = xu_bufpool_get(pool, len);
	while (child->bounce == NULL && relay->nr_running == 0 && len > block_size) {
		len = len / 2 & ~(block_size - 1);
		child->bounce = xu_bufpool_get(pool, len);
	}
	if (child->bounce == NULL) {
		return 0;
	}
	if (parent->op == XBDEV_OP_WRITE) {
		walk(parent->iov, relay->cursor, child->bounce, len, COPY_OUT_OF_IOV);
	} else {
		child->io.op = XBDEV_OP_READ; /* a COMPARE too: its data stays with the parent */
	}
	child->iov[0].iov_base = child->bounce;
	child->iov[0].iov_len = len;
	child->io.nr_iov = 1;
	relay->ch->stats->nr_bounced++;
	return len;
}

static uint32_t prepare_transfer(struct xbdev_relay *relay, struct child *child)
{
	struct xbdev_io *parent = relay->parent;
	struct xbdev_device *dev = relay->ch->dev;
	uint64_t want = parent->len - relay->done_bytes;
	bool has_op = (dev->ops_mask & (1u << parent->op)) != 0;
	uint32_t len = 0;

	if (want > dev->limits.max_transfer) {
		want = dev->limits.max_transfer;
	}
	child->io.op = parent->op;
	if (has_op) {
		len = slice(relay, child, want);
	}
	if (len == 0) {
		len = prepare_bounced(relay, child, want);
	}
	if (parent->op == XBDEV_OP_WRITE && (parent->flags & XBDEV_IO_FUA)) {
		child->io.flags = dev->has_fua ? XBDEV_IO_FUA : 0;
		relay->needs_flush = !dev->has_fua;
	}
	return len;
}

static uint32_t prepare_zero_writes(struct xbdev_relay *relay, struct child *child)
{
	struct xbdev_device *dev = relay->ch->dev;
	uint64_t want = relay->parent->len - relay->done_bytes, total = 0;
	uint32_t max_iov = dev->limits.max_iov < CHILD_IOV ? dev->limits.max_iov : CHILD_IOV;
	uint32_t nr = 0;

	if (want > dev->limits.max_transfer) {
		want = dev->limits.max_transfer;
	}
	while (total < want && nr < max_iov) {
		uint64_t part = want - total < ZERO_BYTES ? want - total : ZERO_BYTES;

		child->iov[nr].iov_base = zeroes;
		child->iov[nr++].iov_len = part;
		total += part;
	}
	child->io.op = XBDEV_OP_WRITE;
	child->io.nr_iov = nr;
	if (relay->parent->flags & XBDEV_IO_FUA) {
		child->io.flags = dev->has_fua ? XBDEV_IO_FUA : 0;
		relay->needs_flush = !dev->has_fua;
	}
	return (uint32_t)total;
}

static uint64_t prepare_range(struct xbdev_relay *relay, struct child *child)
{
	uint64_t want = relay->parent->len - relay->done_bytes;
	uint64_t max = relay->ch->dev->limits.max_zeroes;

	child->io.op = relay->parent->op;
	child->io.flags = relay->parent->flags & XBDEV_IO_MAY_UNMAP;
	child->io.nr_iov = 0;
	relay->needs_flush = (relay->parent->flags & XBDEV_IO_FUA) != 0;
	return want < max ? want : max;
}

static uint64_t prepare(struct xbdev_relay *relay, struct child *child)
{
	uint8_t op = relay->parent->op;

	child->io.flags = 0;
	if (op == XBDEV_OP_WRITE_ZEROES && !(relay->ch->dev->ops_mask & (1u << op))) {
		return prepare_zero_writes(relay, child);
	}
	if (op == XBDEV_OP_WRITE_ZEROES || op == XBDEV_OP_DISCARD) {
		return prepare_range(relay, child);
	}
	return prepare_transfer(relay, child);
}

/* ---- running ---- */

static void finish(struct xbdev_relay *relay)
{
	struct xbdev_io *parent = relay->parent;
	int status = relay->status;

	xu_pool_put(&relay->ch->relays, relay);
	parent->relay = NULL;
	xbdev_io_complete(parent, status);
}

/* A child has ended that was not its relay's only one: its place goes to who waits for one. */
static void leave_queue(struct xbdev_channel *ch)
{
	ch->nr_inflight--;
	if (ch->waiting_first != NULL) {
		xbdev__io_start_waiting(ch);
	}
}

static void child_done(struct xbdev_io *io, int status)
{
	struct child *child = xu_container_of(io, struct child, io);
	struct xbdev_relay *relay = child->relay;
	struct xbdev_io *parent = relay->parent;

	if (child->bounce != NULL) {
		if (status == 0 && parent->op != XBDEV_OP_WRITE) {
			status = walk(parent->iov, child->start, child->bounce, io->len,
				parent->op == XBDEV_OP_COMPARE ? COPY_COMPARE : COPY_INTO_IOV);
		}
		xu_bufpool_put(xr_reactor_buffers(relay->ch->reactor), child->bounce, io->len);
		child->bounce = NULL;
	}
	relay->nr_running--;
	relay->free_children |= 1u << (child - relay->children);
	if (status != 0 && relay->status == 0) {
		relay->status = status;
	}
	if (relay->nr_running != 0) {
		leave_queue(relay->ch);
	}
	pump(relay);
}

static void launch(struct xbdev_relay *relay, struct child *child)
{
	relay->free_children &= ~(1u << (child - relay->children));
	if (relay->nr_running++ != 0) {
		xbdev__io_count_inflight(relay->ch);
	}
	child->io.ch = relay->ch;
	child->io.cb = child_done;
	child->io.origin = XBDEV__FROM_RELAY;
	child->io.is_cancelled = false;
	child->io.iov = child->iov;
	relay->ch->dev->ops->submit(relay->ch, &child->io);
}

static void on_starved_timer(struct xr_timer *timer)
{
	struct xbdev_channel *ch = xu_container_of(timer, struct xbdev_channel, starved_timer);
	struct xbdev_relay *relay = ch->starved;

	ch->starved = NULL;
	while (relay != NULL) {
		struct xbdev_relay *next = relay->next_starved;

		pump(relay);
		relay = next;
	}
}

static void starve(struct xbdev_relay *relay)
{
	struct xbdev_channel *ch = relay->ch;

	relay->next_starved = ch->starved;
	ch->starved = relay;
	ch->starved_timer.fn = on_starved_timer;
	if (!xr_timer_is_running(&ch->starved_timer)) {
		xr_timer_start(ch->reactor, &ch->starved_timer, STARVED_RETRY);
	}
}

static void launch_flush(struct xbdev_relay *relay)
{
	struct child *child = &relay->children[0];

	relay->needs_flush = false;
	child->io.op = XBDEV_OP_FLUSH;
	child->io.flags = 0;
	child->io.nr_iov = 0;
	child->io.offset = 0;
	child->io.len = 0;
	launch(relay, child);
}

static bool can_launch(const struct xbdev_relay *relay)
{
	return relay->status == 0 && relay->done_bytes < relay->parent->len &&
	       relay->free_children != 0 &&
	       (relay->nr_running == 0 || relay->ch->nr_inflight < relay->ch->depth);
}

/* Starts as many pieces as there are children and places for; ends the I/O when all is done. */
static void pump(struct xbdev_relay *relay)
{
	struct xbdev_io *parent = relay->parent;
	bool has_iov = parent->op <= XBDEV_OP_WRITE || parent->op == XBDEV_OP_COMPARE;

	if (relay->ch->is_removed && relay->status == 0) {
		relay->status = -ENODEV;
	}
	while (can_launch(relay)) {
		struct child *child = &relay->children[__builtin_ctz(relay->free_children)];
		uint64_t len = prepare(relay, child);

		if (len == 0) {
			if (relay->nr_running == 0) {
				starve(relay);
			}
			return;
		}
		child->start = relay->cursor;
		child->io.offset = parent->offset + relay->done_bytes;
		child->io.len = len;
		relay->done_bytes += len;
		if (has_iov) {
			cursor_advance(&relay->cursor, parent->iov, len);
		}
		launch(relay, child);
	}
	if (relay->nr_running != 0) {
		return;
	}
	if (relay->status == 0 && relay->needs_flush) {
		launch_flush(relay);
		return;
	}
	finish(relay);
}

/* What the driver takes at a time of an operation. */
static uint64_t max_piece(const struct xbdev_device *dev, uint8_t op)
{
	bool is_range = op == XBDEV_OP_DISCARD || op == XBDEV_OP_WRITE_ZEROES;

	return is_range && (dev->ops_mask & (1u << op)) ? dev->limits.max_zeroes
							: dev->limits.max_transfer;
}

bool xbdev__relay_start(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_relay *relay = xu_pool_get(&ch->relays);

	if (relay == NULL) {
		return false;
	}
	relay->ch = ch;
	relay->parent = io;
	io->relay = relay;
	relay->done_bytes = 0;
	relay->cursor = (struct cursor){0};
	relay->free_children = (1u << NR_CHILDREN) - 1;
	relay->nr_running = 0;
	relay->status = 0;
	relay->needs_flush = false;
	for (uint32_t i = 0; i < NR_CHILDREN; i++) {
		relay->children[i].relay = relay;
		relay->children[i].bounce = NULL;
	}
	if (io->len > max_piece(ch->dev, io->op)) {
		ch->stats->nr_split++;
	}
	pump(relay);
	return true;
}

void xbdev__relay_cancel(struct xbdev_relay *relay)
{
	struct xbdev_channel *ch = relay->ch;

	if (relay->status == 0) {
		relay->status = -ECANCELED;
	}
	for (uint32_t i = 0; i < NR_CHILDREN && ch->dev->ops->cancel != NULL; i++) {
		if ((relay->free_children & (1u << i)) == 0) {
			relay->children[i].io.is_cancelled = true;
			ch->dev->ops->cancel(ch, &relay->children[i].io);
		}
	}
}

int xbdev__relays_init(struct xbdev_channel *ch)
{
	return xu_pool_init(&ch->relays, NR_RELAYS, sizeof(struct xbdev_relay));
}

void xbdev__relays_fini(struct xbdev_channel *ch)
{
	xu_pool_fini(&ch->relays);
}
