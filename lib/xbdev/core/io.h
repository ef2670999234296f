/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One I/O. The caller owns the structure (usually inside a larger one), fills the first part,
 * submits it on a channel and gets it back in `cb`; nothing is allocated on the way. Layers that
 * turn one I/O into several own their children in the same manner.
 *
 * Contract (docs/architecture.md): offsets and lengths are bytes and multiples of the block size;
 * 0 or -errno for the whole of it, never a part; submit returns 0 and `cb` runs exactly once,
 * later, on the channel's reactor; or -errno and it never runs. Any buffer alignment is accepted
 * (an unaligned one is bounced and counted). Buffers and iov are borrowed until `cb`.
 */
#ifndef XBDEV_CORE_IO_H
#define XBDEV_CORE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xbdev/types.h>

#include "lib/reactor/reactor.h"

struct xbdev_channel;
struct xbdev_relay;

/* Bytes that the driver of the channel may use in an I/O while it has it. */
#define XBDEV_IO_DRIVER_BYTES 128u

struct xbdev_io {
	/* Set by the caller. While it is passed on, `ch` and `offset` are those below. */
	struct xbdev_channel *ch;
	void (*cb)(struct xbdev_io *io, int status);
	void *cb_arg;
	const struct iovec *iov; /* for READ, WRITE, COMPARE: `len` bytes in all */
	uint32_t nr_iov;
	uint8_t op;    /* enum xbdev_op */
	uint8_t flags; /* XBDEV_IO_… */

	/* The core's from here on. */
	uint8_t origin;
	uint64_t offset; /* set by the caller */
	uint64_t len;    /* set by the caller; 0 for FLUSH */
	uint64_t ticks;  /* when it was submitted; in the callback, how long it took */
	int status;
	struct xbdev_relay *relay; /* that carries it out; NULL: the driver itself */
	struct xbdev_io *next_io;
	struct xr_msg msg;
	struct xr_msg cancel_msg;
	bool is_started;     /* left the line: the driver or a relay has it */
	bool is_cancelled;   /* its end has been asked for: drivers hold it back no more */
	bool is_away;        /* its channel's: forwarded, and not given back */
	bool is_at_owner;    /* the owner's: a forwarded I/O has arrived and not left */
	bool is_cancel_sent; /* cancel_msg is under way to the owner or back */
	bool has_come_home;  /* and waits for cancel_msg */
	struct xbdev_channel
		*home;        /* forwarded or passed on: the channel that it was submitted on */
	uint64_t shift;       /* passed on: what its offset has grown by */
	uint64_t below_ticks; /* passed on: when the device below got it */

	_Alignas(16) char driver[XBDEV_IO_DRIVER_BYTES];
};

/* The driver's part of an I/O as its own type, checked for size. */
#define xbdev_io_driver(io, type)                                                                  \
	({                                                                                         \
		_Static_assert(sizeof(type) <= XBDEV_IO_DRIVER_BYTES, "driver part too large");    \
		(type *)(void *)(io)->driver;                                                      \
	})
#define xbdev_io_of_driver(ptr) xu_container_of((char *)(ptr), struct xbdev_io, driver[0])

/*
 * Submits on the channel's reactor. -EINVAL: unaligned or out of range; -EROFS; -ENODEV: the
 * device has been removed; -EOPNOTSUPP: DISCARD where the device has none. Beyond the channel's
 * depth the I/O waits its turn.
 */
int xbdev_io_submit(struct xbdev_io *io);

/*
 * Asks for the end of an I/O that has been submitted and not come back, on the channel's reactor.
 * Its callback comes all the same, later: with -ECANCELED when it could be stopped (it may then
 * have been done in part), else with its own result, when the device gives it up. May be called
 * again.
 */
void xbdev_io_cancel(struct xbdev_io *io);

/*
 * For drivers, within submit(): gives the I/O itself, with its data at another offset, to the
 * device below instead of a child of its own. It counts there as any other, ends for its caller
 * with what it ends with there, and is the driver's no more: nothing of the driver's part is left,
 * and all that it hears is ops->passed(). False: it has to be a child, as it has been passed on
 * once already, is a piece of another I/O, would have to wait or to be cut there, or may not be
 * done there.
 */
bool xbdev_io_pass(struct xbdev_channel *ch, struct xbdev_io *io, struct xbdev_channel *below,
	uint64_t offset);

/* For drivers: ends an I/O that submit() was given, from an event (not within submit()). */
void xbdev_io_complete(struct xbdev_io *io, int status);
/* For drivers: the same for a list, linked by next_io, of I/Os of one channel with their status
 * set; they end at one time of the clock. */
void xbdev_io_complete_list(struct xbdev_io *first);
/* For drivers: the same from within submit() or channel_abort(); the callback runs in the reactor's
 * next round. */
void xbdev_io_complete_later(struct xbdev_io *io, int status);

/*
 * Cuts [skip, skip + len) bytes out of segments, into at most `max` of ret_iov; *ret_nr of them are
 * used. Returns how many bytes they have: less than len where `max` did not suffice, or the
 * segments end before.
 */
uint64_t xbdev_iov_slice(const struct iovec *iov, uint32_t nr_iov, uint64_t skip, uint64_t len,
	struct iovec *ret_iov, uint32_t max, uint32_t *ret_nr);

const char *xbdev_op_name(enum xbdev_op op);

#endif
