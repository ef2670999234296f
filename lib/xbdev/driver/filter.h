/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/driver: what the drivers share that stand over one other device and pass
 * its I/O on (error, delay). A filter opens and claims its base, takes over its limits and
 * abilities, follows its size, and removes itself when the base goes.
 *
 * A filter has one owner reactor; all its channels are there, for other reactors the core forwards.
 * Each channel has one on the base, and as many child I/Os as the core may give it at a time.
 */
#ifndef XBDEV_FILTER_H
#define XBDEV_FILTER_H

#include "lib/xbdev/driver/driver.h"

struct xbdev__filter {
	struct xbdev_device dev;
	struct xbdev_desc *base;
	struct xu_list channels; /* struct xbdev__filter_channel; the owner's */
};

struct xbdev__filter_opts {
	const char *name;
	const char *base;
	struct xu_uuid uuid;
};

/* A channel's driver part. */
struct xbdev__filter_channel {
	struct xbdev_channel *base;
	struct xu_pool children; /* struct xbdev_io */
	struct xu_list held;     /* struct xbdev__filter_io */
	struct xu_list link;
};

/* How a filter's part of an I/O begins; good from xbdev__filter_start() on. */
struct xbdev__filter_io {
	struct xbdev_channel *ch; /* the owner's, where it runs */
	void (*done)(struct xbdev_io *io, int status);
	struct xbdev_io *child; /* at the base; NULL: none */
	struct xr_timer timer;
	struct xu_list link; /* among what the channel holds back */
	int status;
};

/*
 * Opens and claims the base and registers the filter over it; dev.driver, dev.product and dev.ops
 * are set already. On failure nothing is left open.
 */
int xbdev__filter_register(struct xbdev__filter *filter, struct xbdev_ctx *ctx,
	const struct xbdev__filter_opts *opts, struct xu_error *err);

/* Gives the base back; from ops->destroy. */
void xbdev__filter_fini(struct xbdev__filter *filter);

/* For the table of operations; abort ends with -ENODEV all that is held back. */
int xbdev__filter_channel_open(struct xbdev_channel *ch);
void xbdev__filter_channel_close(struct xbdev_channel *ch);
void xbdev__filter_channel_abort(struct xbdev_channel *ch);
void xbdev__filter_cancel(struct xbdev_channel *ch, struct xbdev_io *io);
json_t *xbdev__filter_config(const struct xbdev_device *dev);

/* The first thing that a filter's submit does. */
void xbdev__filter_start(struct xbdev_channel *ch, struct xbdev_io *io);

/*
 * Gives the I/O to the base, with one other buffer unless `iov` is NULL. When the base has done it
 * `done` runs, from an event; when that is NULL the I/O ends. -errno when the base refuses it: then
 * `done` never runs and the caller ends the I/O.
 */
int xbdev__filter_pass(struct xbdev_io *io, const struct iovec *iov,
	void (*done)(struct xbdev_io *io, int status));

/* Holds the I/O back until it is released or its channel aborted; `fn` unless NULL is called on
 * its timer after delay_ns if it still is. */
void xbdev__filter_hold(struct xbdev_io *io, void (*fn)(struct xr_timer *timer), uint64_t delay_ns);
void xbdev__filter_release(struct xbdev_io *io);

static inline struct xbdev__filter *xbdev__filter_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct xbdev__filter, dev);
}

static inline struct xbdev_io *xbdev__filter_io_of_timer(struct xr_timer *timer)
{
	return xbdev_io_of_driver(xu_container_of(timer, struct xbdev__filter_io, timer));
}

/* How many I/Os of the channel are at the base. */
static inline uint32_t xbdev__filter_nr_passed(const struct xbdev_channel *ch)
{
	const struct xbdev__filter_channel *fch = ch->driver;

	return fch->children.count - fch->children.nr_free;
}

#endif
