/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shallow copy: the clusters that a read-only volume itself has go to the same places of another
 * device; what it only reads from below does not. A chain of snapshots copied one after the other,
 * the lowest first, gives the content of the highest.
 *
 *   control   opens and claims the device
 *   owner     pieces, several at a time: read here, written there; at the end a flush
 *   control   closes the device
 *
 * The volume is held alone, so its map stays. A device that goes, an error or a cancel end it; what
 * has been written there stays.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/op_private.h"

#define SIDE 4u /* pieces at a time */

struct copier {
	struct xbdev_io io;
	struct iovec iov;
	struct xbdev_lvol_op *op;
	void *buf;
	uint64_t to; /* byte of the device */
	bool is_busy;
};

struct copy {
	struct xbdev_desc *desc;
	struct xbdev_channel *ch; /* of the device, on the owner */
	struct copier copiers[SIDE];
	uint32_t within; /* bytes of the cluster op->at that have been given out */
	uint64_t copied; /* bytes that are there */
};

static void feed(struct xbdev_lvol_op *op);

/* ---- the end ---- */

static void end(struct xbdev_lvol_op *op)
{
	struct copy *copy = op->own;

	for (uint32_t i = 0; i < SIDE; i++) {
		xu_buf_free(copy->copiers[i].buf, XBDEV_LVOL_COPY_BYTES);
	}
	if (copy->ch != NULL) {
		xbdev_channel_put(copy->ch);
	}
	xbdev__lvol_op_end(op);
}

static void fail(struct xbdev_lvol_op *op, int status)
{
	const struct copy *copy = op->own;

	if (op->err.code == 0) {
		xu_error_set_errno(&op->err, status, "copying '%s' to '%s'", op->volume->blob->name,
			copy->desc->dev->name);
	}
}

static void on_flushed(struct xbdev_io *io, int status)
{
	struct xbdev_lvol_op *op = io->cb_arg;

	if (status != 0) {
		fail(op, status);
	}
	end(op);
}

static void on_all_copied(struct xbdev_lvol_op *op)
{
	struct copy *copy = op->own;
	struct xbdev_io *io = &copy->copiers[0].io;
	int rc;

	if (op->err.code == 0 && op->at < op->volume->blob->map.nr_clusters) {
		xu_error_set(&op->err, -ECANCELED,
			"the copy of '%s' was asked to stop before its end",
			op->volume->blob->name);
	}
	if (op->err.code != 0) {
		end(op);
		return;
	}
	*io = (struct xbdev_io){
		.ch = copy->ch, .cb = on_flushed, .cb_arg = op, .op = XBDEV_OP_FLUSH};
	rc = xbdev_io_submit(io);
	if (rc != 0) {
		fail(op, rc);
		end(op);
	}
}

/* ---- pieces ---- */

static void piece_over(struct copier *copier, int status)
{
	struct xbdev_lvol_op *op = copier->op;

	copier->is_busy = false;
	op->nr_busy--;
	if (status != 0) {
		fail(op, status);
	}
	feed(op);
}

/* Tells people how far it is. */
static void count(struct xbdev_lvol_op *op, uint64_t len)
{
	uint32_t nr_all = op->volume->blob->map.nr_allocated, nr;
	struct copy *copy = op->own;

	copy->copied += len;
	nr = (uint32_t)(copy->copied / xbdev__lvol_cluster_size(op->volume));
	atomic_store_explicit(&op->nr_copied, nr, memory_order_relaxed);
	atomic_store_explicit(
		&op->permille, (uint32_t)((uint64_t)nr * 1000 / nr_all), memory_order_relaxed);
}

static void on_written(struct xbdev_io *io, int status)
{
	struct copier *copier = xu_container_of(io, struct copier, io);

	if (status == 0) {
		count(copier->op, io->len);
	}
	piece_over(copier, status);
}

static void on_read(struct xbdev_io *io, int status)
{
	struct copier *copier = xu_container_of(io, struct copier, io);
	const struct copy *copy = copier->op->own;
	uint64_t len = io->len;

	if (status == 0) {
		*io = (struct xbdev_io){.ch = copy->ch,
			.cb = on_written,
			.iov = &copier->iov,
			.nr_iov = 1,
			.op = XBDEV_OP_WRITE,
			.offset = copier->to,
			.len = len};
		status = xbdev_io_submit(io);
	}
	if (status != 0) {
		piece_over(copier, status);
	}
}

/* The next piece; false: there is none. */
static bool copy_next(struct xbdev_lvol_op *op, struct copier *copier)
{
	const struct xbdev_lvs_map *map = &op->volume->blob->map;
	uint64_t size = xbdev__lvol_cluster_size(op->volume), len;
	struct copy *copy = op->own;
	int rc;

	op->at = xbdev__lvs_map_next(map, op->at);
	if (op->at >= map->nr_clusters) {
		return false;
	}
	len = size - copy->within < XBDEV_LVOL_COPY_BYTES ? size - copy->within
							  : XBDEV_LVOL_COPY_BYTES;
	copier->to = op->at * size + copy->within;
	copier->iov = (struct iovec){copier->buf, len};
	copier->io = (struct xbdev_io){.ch = op->store->ch,
		.cb = on_read,
		.iov = &copier->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.offset = xbdev__lvs_cluster_at(op->store->lvs, xbdev__lvs_map_get(map, op->at)) +
			  copy->within,
		.len = len};
	copy->within += (uint32_t)len;
	if (copy->within == size) {
		copy->within = 0;
		op->at++;
	}
	rc = xbdev_io_submit(&copier->io);
	if (rc != 0) {
		fail(op, rc);
		return false;
	}
	copier->is_busy = true;
	op->nr_busy++;
	return true;
}

static void feed(struct xbdev_lvol_op *op)
{
	struct copy *copy = op->own;

	for (uint32_t i = 0; i < SIDE; i++) {
		if (op->err.code != 0 ||
			atomic_load_explicit(&op->is_cancelled, memory_order_relaxed)) {
			break;
		}
		if (!copy->copiers[i].is_busy && !copy_next(op, &copy->copiers[i])) {
			break;
		}
	}
	if (op->nr_busy == 0) {
		on_all_copied(op);
	}
}

static void copy_begin(struct xbdev_lvol_op *op)
{
	struct copy *copy = op->own;
	int rc = xbdev_channel_get(copy->desc, op->store->reactor, &copy->ch);

	for (uint32_t i = 0; rc == 0 && i < SIDE; i++) {
		copy->copiers[i].op = op;
		copy->copiers[i].buf = xu_buf_alloc(XBDEV_LVOL_COPY_BYTES);
		rc = copy->copiers[i].buf != NULL ? 0 : -ENOMEM;
	}
	if (rc != 0) {
		fail(op, rc);
		end(op);
	} else {
		feed(op);
	}
}

/* ---- control ---- */

static void copy_finish(struct xbdev_lvol_op *op)
{
	struct copy *copy = op->own;

	xbdev_desc_close(copy->desc);
	free(copy);
}

static int open_target(struct xbdev_lvol_op *op, struct copy *copy, const char *device)
{
	uint64_t size =
		(uint64_t)op->volume->shown.nr_clusters * xbdev__lvol_cluster_size(op->volume);
	int rc = xbdev_desc_open(op->store->ctx, device, true, NULL, NULL, &copy->desc, &op->err);

	if (rc != 0) {
		return rc;
	}
	rc = xbdev_desc_claim(copy->desc, "a copy of a logical volume", &op->err);
	if (rc == 0 && xbdev_device_size_bytes(copy->desc->dev) < size) {
		rc = xu_error_set(&op->err, -EINVAL,
			"device '%s' has %llu bytes, volume '%s' %llu; choose a larger one", device,
			(unsigned long long)xbdev_device_size_bytes(copy->desc->dev),
			op->volume->shown.name, (unsigned long long)size);
	}
	if (rc != 0) {
		xbdev_desc_close(copy->desc);
	}
	return rc;
}

static void prepare(struct xbdev_lvol_op *op, const char *device)
{
	struct copy *copy;

	if (op->volume->shown.reason != NULL) {
		op->err = *op->volume->shown.reason;
		return;
	}
	if (!op->volume->shown.is_read_only) {
		xu_error_set(&op->err, -EINVAL,
			"volume '%s' can be written; take a snapshot of it and copy that",
			op->volume->shown.name);
		return;
	}
	copy = calloc(1, sizeof(*copy));
	if (copy == NULL) {
		xu_error_set_errno(&op->err, -ENOMEM, "copying '%s'", op->volume->shown.name);
	} else if (open_target(op, copy, device) != 0) {
		free(copy);
	} else {
		op->own = copy;
		op->finish = copy_finish;
	}
}

void xbdev__lvol_shallow_copy(
	struct xbdev_lvol *snapshot, const char *device, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op =
		xbdev__lvol_op_new(snapshot->store, snapshot, "copied", done, arg);

	if (op == NULL) {
		return;
	}
	if (op->err.code == 0) {
		prepare(op, device);
	}
	op->can_be_cancelled = true;
	xbdev__lvol_op_start(op, copy_begin);
}
