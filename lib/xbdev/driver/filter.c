/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The common part of the filter drivers, see filter.h. An I/O that a filter is given goes to the
 * base as a child from its channel's pool; the pool is as large as the queue depth that the core
 * keeps to, so it is never empty. What the base answers is what the I/O ends with, -ENODEV when the
 * base has been removed; the filter's own removal follows by the event that its descriptor gets.
 */
#include "lib/xbdev/driver/filter.h"

#include <assert.h>
#include <errno.h>

#include "lib/util/log.h"

/* A corrupted write is copied into one buffer of the reactor's pool. */
#define MAX_TRANSFER (1u << XU_BUF_CLASS_MAX)

static struct xbdev__filter_io *part_of(struct xbdev_io *io)
{
	return xbdev_io_driver(io, struct xbdev__filter_io);
}

/* ---- the device ---- */

static void on_base_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct xbdev__filter *filter = arg;

	switch (event) {
	case XBDEV_EVENT_REMOVE:
		xu_info(xbdev_ctx_log(filter->dev.ctx), "device %s goes with %s below it",
			filter->dev.name, desc->dev->name);
		/* -EBUSY: it is going already. */
		xbdev_device_remove(&filter->dev, NULL, NULL);
		break;
	case XBDEV_EVENT_RESIZE:
		xbdev_device_set_size(&filter->dev, atomic_load(&desc->dev->nr_blocks));
		break;
	case XBDEV_EVENT_END:
		break;
	}
}

static void inherit(struct xbdev_device *dev, const struct xbdev_device *base)
{
	dev->limits = base->limits;
	if (dev->limits.max_transfer > MAX_TRANSFER) {
		dev->limits.max_transfer = MAX_TRANSFER;
	}
	/* The core makes reads of a COMPARE, so a filter sees all data that is compared. */
	dev->ops_mask = base->ops_mask & ~(1u << XBDEV_OP_COMPARE);
	dev->has_fua = base->has_fua;
	dev->has_write_cache = base->has_write_cache;
	dev->is_read_only = base->is_read_only;
	dev->is_rotational = base->is_rotational;
	dev->is_remote = base->is_remote;
	dev->numa_node = base->numa_node;
	dev->owner = base->is_multi_reactor ? NULL : base->owner;
	atomic_store(&dev->nr_blocks, atomic_load(&base->nr_blocks));
}

int xbdev__filter_register(struct xbdev__filter *filter, struct xbdev_ctx *ctx,
	const struct xbdev__filter_opts *opts, struct xu_error *err)
{
	const struct xbdev_device *base = xbdev_device_find(ctx, opts->base);
	int rc;

	xu_list_init(&filter->channels);
	rc = xbdev_desc_open(ctx, opts->base, base != NULL && !base->is_read_only, on_base_event,
		filter, &filter->base, err);
	if (rc != 0) {
		return rc;
	}
	rc = xbdev_desc_claim(filter->base, filter->dev.product, err);
	if (rc == 0) {
		inherit(&filter->dev, filter->base->dev);
		filter->dev.uuid = opts->uuid;
		xbdev__set_name(&filter->dev, opts->name);
		rc = xbdev_device_register(ctx, &filter->dev, err);
	}
	if (rc != 0) {
		xbdev_desc_close(filter->base);
	}
	return rc;
}

void xbdev__filter_fini(struct xbdev__filter *filter)
{
	xbdev_desc_close(filter->base);
}

json_t *xbdev__filter_config(const struct xbdev_device *dev)
{
	json_t *config = xbdev__config_common(dev);

	json_object_set_new(config, "base", json_string(xbdev__filter_of(dev)->base->dev->name));
	return config;
}

/* ---- channels ---- */

int xbdev__filter_channel_open(struct xbdev_channel *ch)
{
	struct xbdev__filter *filter = xbdev__filter_of(ch->dev);
	struct xbdev__filter_channel *fch = ch->driver;
	int rc = xu_pool_init(&fch->children, ch->dev->limits.queue_depth, sizeof(struct xbdev_io));

	if (rc != 0) {
		return rc;
	}
	rc = xbdev_channel_get(filter->base, ch->reactor, &fch->base);
	if (rc != 0) {
		xu_pool_fini(&fch->children);
		return rc;
	}
	xu_list_init(&fch->held);
	xu_list_add_tail(&filter->channels, &fch->link);
	return 0;
}

void xbdev__filter_channel_close(struct xbdev_channel *ch)
{
	struct xbdev__filter_channel *fch = ch->driver;

	assert(xu_list_is_empty(&fch->held));
	xu_list_del(&fch->link);
	xbdev_channel_put(fch->base);
	xu_pool_fini(&fch->children);
}

void xbdev__filter_channel_abort(struct xbdev_channel *ch)
{
	struct xbdev__filter_channel *fch = ch->driver;
	struct xu_list *node;

	while ((node = xu_list_first(&fch->held)) != NULL) {
		struct xbdev_io *io =
			xbdev_io_of_driver(xu_list_entry(node, struct xbdev__filter_io, link));

		xbdev__filter_release(io);
		xbdev_io_complete_later(io, -ENODEV);
	}
}

void xbdev__filter_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev__filter_io *fio = part_of(io);

	if (fio->child != NULL) {
		xbdev_io_cancel(fio->child);
	} else if (xu_list_is_linked(&fio->link)) {
		xbdev__filter_release(io);
		xbdev_io_complete_later(io, -ECANCELED);
	}
}

/* ---- I/O ---- */

void xbdev__filter_start(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev__filter_io *fio = part_of(io);

	fio->ch = ch;
	fio->child = NULL;
	fio->timer.prev_next = NULL;
	xu_list_init(&fio->link);
}

static void child_done(struct xbdev_io *child, int status)
{
	struct xbdev_io *io = child->cb_arg;
	struct xbdev__filter_io *fio = part_of(io);
	struct xbdev__filter_channel *fch = fio->ch->driver;

	xu_pool_put(&fch->children, child);
	fio->child = NULL;
	if (fio->done != NULL) {
		fio->done(io, status);
	} else {
		xbdev_io_complete(io, status);
	}
}

int xbdev__filter_pass(
	struct xbdev_io *io, const struct iovec *iov, void (*done)(struct xbdev_io *io, int status))
{
	struct xbdev__filter_io *fio = part_of(io);
	struct xbdev__filter_channel *fch = fio->ch->driver;
	struct xbdev_io *child = xu_pool_get(&fch->children);
	int rc;

	assert(child != NULL);
	fio->done = done;
	child->ch = fch->base;
	child->cb = child_done;
	child->cb_arg = io;
	child->iov = iov != NULL ? iov : io->iov;
	child->nr_iov = iov != NULL ? 1 : io->nr_iov;
	child->op = io->op;
	child->flags = io->flags;
	child->offset = io->offset;
	child->len = io->len;
	rc = xbdev_io_submit(child);
	if (rc != 0) {
		xu_pool_put(&fch->children, child);
	} else {
		fio->child = child;
	}
	return rc;
}

void xbdev__filter_hold(struct xbdev_io *io, void (*fn)(struct xr_timer *timer), uint64_t delay_ns)
{
	struct xbdev__filter_io *fio = part_of(io);
	struct xbdev__filter_channel *fch = fio->ch->driver;

	xu_list_add_tail(&fch->held, &fio->link);
	if (fn != NULL) {
		fio->timer.fn = fn;
		xr_timer_start(fio->ch->reactor, &fio->timer, delay_ns);
	}
}

void xbdev__filter_release(struct xbdev_io *io)
{
	struct xbdev__filter_io *fio = part_of(io);

	xr_timer_stop(fio->ch->reactor, &fio->timer);
	xu_list_del(&fio->link);
}
