/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inflate and decouple: a volume gets clusters of its own for what it reads from below, under I/O,
 * and then stands on nothing, or on what its parent stands on.
 *
 *   1. with the volume for itself for a moment: no discard gives clusters back from now on
 *   2. fills, several at a time, each of about a MiB: requests of our own that go through the
 *      volume like a write that covers nothing of its clusters (change.c), so they are in order
 *      with its other I/O, and what is written meanwhile is not filled
 *   3. with the volume for itself: its root without the parent (inflate: thick)
 *   4. each volume that stands on it, one after the other, is quiet for a moment: what it was
 *      reading from below at 3 has been read then, and what was below may go
 * Power before 3 is on disk, an error, a lack of space, a cancel: it stands on what it did, with
 * more clusters of its own, and reads the same.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/xbdev/lvol/op_private.h"

#define SIDE       4u         /* fills at a time */
#define FILL_BYTES (1u << 20) /* of one, but a cluster at least */
#define SCAN_MAX   (1u << 16) /* clusters looked at before others have their turn */

struct xbdev_lvol_filler {
	struct xbdev_io io; /* its driver's part is the request */
	struct xbdev_lvol_op *op;
	bool is_busy;
};

static void feed(struct xbdev_lvol_op *op);

/* ---- the end ---- */

static void give_up(struct xbdev_lvol_op *op)
{
	op->volume->is_filling = false;
	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvol_op_end(op);
}

/* Whether a blob stands on the one that was filled, directly or not. */
static bool stands_on(const struct xbdev_lvs_blob *blob, const struct xbdev_lvs_blob *below)
{
	while (blob != NULL && blob != below) {
		blob = blob->parent;
	}
	return blob != NULL;
}

/* The next volume, by its root, that stands on the one that was filled; NULL: there is none. */
static struct xbdev_lvol *next_above(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvs *lvs = op->store->lvs;

	for (uint32_t i = 0; i < lvs->nr_blobs; i++) {
		const struct xbdev_lvs_blob *blob = lvs->blobs[i];

		if (blob->root >= op->at && blob->volume != NULL && blob != op->volume->blob &&
			stands_on(blob, op->volume->blob)) {
			op->at = blob->root + 1;
			return blob->volume;
		}
	}
	return NULL;
}

static void on_wait(struct xr_msg *msg);

static void on_above_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	xbdev__lvol_op_give(op, op->above);
	op->msg.fn = on_wait;
	xr_msg_defer(op->store->reactor, &op->msg);
}

/* What the volumes above were reading when the parent changed may be the old parent's, which stays
 * until this operation ends: waits for each of them to be quiet for a moment. */
static void on_wait(struct xr_msg *msg)
{
	struct xbdev_lvol_op *op = xu_container_of(msg, struct xbdev_lvol_op, msg);

	op->above = next_above(op);
	if (op->above == NULL) {
		xbdev__lvol_op_end(op);
	} else {
		xbdev__lvol_op_take(op, op->above, on_above_quiet);
	}
}

static void on_switched(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	xbdev__lvol_op_news(op, op->volume);
	op->volume->is_filling = false;
	xbdev__lvol_op_give(op, op->volume);
	op->at = 0;
	on_wait(&op->msg);
}

static void stand_on_nothing(struct xbdev_lvs_blob *blob)
{
	struct xu_error err;

	xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_PARENT);
	xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_ESNAP);
	blob->invalid_flags &= ~XBDEV_LVS_F_ESNAP;
	(void)xbdev__lvs_blob_derive(blob, &err); /* it had nothing wrong before */
	xbdev__lvs_blob_link(blob, NULL);
}

static void switch_parent(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	int rc = status;

	if (rc == 0) {
		rc = xbdev__lvs_blob_touch(blob, &op->err);
	}
	if (rc == 0 && op->fill == XBDEV_LVOL_FILL_PARENT && blob->parent != NULL) {
		rc = xbdev__lvol_op_take_parent(op, blob, blob->parent);
	} else if (rc == 0) {
		stand_on_nothing(blob);
	}
	if (rc != 0) {
		give_up(op);
		return;
	}
	if (op->fill == XBDEV_LVOL_FILL_ALL) {
		assert(blob->map.nr_allocated == blob->map.nr_clusters);
		blob->invalid_flags &= ~XBDEV_LVS_F_THIN;
	}
	xbdev__lvol_op_commit(op, on_switched);
}

static void on_filled_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	if (xbdev__lvs_blob_is_marked(op->volume->blob)) {
		xbdev__lvol_op_commit(op, switch_parent); /* left by a write that failed */
	} else {
		switch_parent(op, 0);
	}
}

/* ---- filling ---- */

static void on_filled(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, msg);
	struct xbdev_lvol_filler *filler = xu_container_of(io, struct xbdev_lvol_filler, io);
	struct xbdev_lvol_op *op = filler->op;
	const struct xbdev_lvs *lvs = op->store->lvs;

	filler->is_busy = false;
	op->nr_busy--;
	if (io->status == -ENOSPC && op->err.code == 0) {
		xu_error_set(&op->err, -ENOSPC,
			"volume '%s' was not %s to the end: store '%s' has no space left; what has "
			"been done stays, delete something and try again",
			op->volume->blob->name, op->what, lvs->name);
	} else if (io->status != 0 && op->err.code == 0) {
		xu_error_set_errno(
			&op->err, io->status, "copying clusters of '%s'", op->volume->blob->name);
	}
	feed(op);
}

static bool is_needed(const struct xbdev_lvol_op *op, uint32_t index)
{
	const struct xbdev_lvs_blob *blob = op->volume->blob;

	return xbdev__lvs_map_get(&blob->map, index) == 0 &&
	       (op->fill == XBDEV_LVOL_FILL_ALL || xbdev__lvol_parent_has(blob, index));
}

static void fill(struct xbdev_lvol_op *op, struct xbdev_lvol_filler *filler)
{
	uint32_t size = xbdev__lvol_cluster_size(op->volume), count = FILL_BYTES / size;
	uint32_t left = op->volume->blob->map.nr_clusters - op->at;
	struct xbdev_io *io = &filler->io;
	struct xbdev_lvol_req *req = xbdev__lvol_req_of(io);

	count = count < 1 ? 1 : count;
	count = count < left ? count : left;
	io->op = XBDEV_OP_WRITE;
	io->offset = (uint64_t)op->at * size;
	io->len = (uint64_t)count * size;
	io->nr_iov = 0;
	io->msg.fn = on_filled;
	*req = (struct xbdev_lvol_req){
		.volume = op->volume, .nr_pending = 1, .next = io->len, .fill = (uint8_t)op->fill};
	xu_list_init(&req->link);
	filler->is_busy = true;
	op->nr_busy++;
	op->at += count;
	xbdev__lvol_admit(req);
}

static void on_feed(struct xr_msg *msg)
{
	struct xbdev_lvol_op *op = xu_container_of(msg, struct xbdev_lvol_op, msg);

	op->is_scanning = false;
	op->nr_busy--;
	feed(op);
}

/* The next cluster that is to be filled; false: it was not found yet, and is looked for later. */
static bool find_next(struct xbdev_lvol_op *op)
{
	uint32_t nr_clusters = op->volume->blob->map.nr_clusters, nr = 0;

	while (op->at < nr_clusters && !is_needed(op, op->at)) {
		op->at++;
		if (++nr == SCAN_MAX) {
			return false;
		}
	}
	return true;
}

static struct xbdev_lvol_filler *idle_filler(struct xbdev_lvol_op *op)
{
	for (uint32_t i = 0; i < SIDE; i++) {
		if (!op->fillers[i].is_busy) {
			return &op->fillers[i];
		}
	}
	return NULL;
}

static void on_all_filled(struct xbdev_lvol_op *op)
{
	if (op->err.code == 0 && op->at < op->volume->blob->map.nr_clusters) {
		xu_error_set(&op->err, -ECANCELED,
			"volume '%s' was not %s to the end: it was asked to stop; what has been "
			"done stays",
			op->volume->blob->name, op->what);
	}
	if (op->err.code != 0) {
		give_up(op);
	} else {
		xbdev__lvol_op_take(op, op->volume, on_filled_quiet);
	}
}

static void feed(struct xbdev_lvol_op *op)
{
	uint32_t nr_clusters = op->volume->blob->map.nr_clusters;
	struct xbdev_lvol_filler *filler;

	if (op->is_scanning) {
		return;
	}
	while (op->err.code == 0 && (filler = idle_filler(op)) != NULL &&
		!atomic_load_explicit(&op->is_cancelled, memory_order_relaxed)) {
		if (!find_next(op)) {
			op->is_scanning = true;
			op->nr_busy++; /* the message is */
			op->msg.fn = on_feed;
			xr_msg_defer(op->store->reactor, &op->msg);
			return;
		}
		if (op->at == nr_clusters) {
			break;
		}
		fill(op, filler);
	}
	atomic_store_explicit(&op->permille,
		nr_clusters > 0 ? (uint32_t)((uint64_t)op->at * 1000 / nr_clusters) : 1000,
		memory_order_relaxed);
	if (op->nr_busy == 0) {
		on_all_filled(op);
	}
}

static void on_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	op->volume->is_filling = true;
	xbdev__lvol_op_give(op, op->volume);
	feed(op);
}

static void fill_begin(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvs_blob *blob = op->volume->blob;

	if (op->fill == XBDEV_LVOL_FILL_ALL && !xbdev__lvs_blob_is_thin(blob)) {
		xbdev__lvol_op_end(op); /* it is so already */
	} else {
		xbdev__lvol_op_take(op, op->volume, on_quiet);
	}
}

/* ---- control ---- */

/* Those above may have stood on a device outside of the store by way of the one that was filled. */
static void follow_all(struct xbdev_lvol_op *op)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(op->store, volume)) != NULL) {
		xbdev__lvol_esnap_follow(volume);
	}
}

static void start(struct xbdev_lvol *volume, enum xbdev_lvol_fill kind, const char *what,
	xbdev_lvol_done_fn done, void *arg)
{
	const struct xbdev_lvol_shown *shown = &volume->shown;
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(volume->store, volume, what, done, arg);

	if (op == NULL) {
		return;
	}
	op->fill = kind;
	op->fillers = calloc(SIDE, sizeof(op->fillers[0]));
	for (uint32_t i = 0; op->fillers != NULL && i < SIDE; i++) {
		op->fillers[i].op = op;
	}
	if (op->err.code != 0) {
		/* that is it */
	} else if (op->fillers == NULL) {
		xu_error_set_errno(&op->err, -ENOMEM, "volume '%s'", shown->name);
	} else if (shown->is_locked) {
		xu_error_set(&op->err, -EROFS, "volume '%s' may not be changed", shown->name);
	} else if (xbdev__lvol_check_servable(volume, &op->err) != 0) {
		/* that is it */
	} else if (kind == XBDEV_LVOL_FILL_PARENT && shown->parent == NULL &&
		   shown->esnap[0] == '\0') {
		xu_error_set(&op->err, -EINVAL, "volume '%s' stands on nothing", shown->name);
	}
	if (op->err.code == 0 && shown->parent != NULL) {
		xbdev__lvol_op_hold(op, shown->parent); /* it is to stay as it is */
	}
	op->can_be_cancelled = true;
	op->finish = follow_all;
	xbdev__lvol_op_start(op, fill_begin);
}

void xbdev__lvol_inflate(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg)
{
	start(volume, XBDEV_LVOL_FILL_ALL, "inflated", done, arg);
}

void xbdev__lvol_decouple(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg)
{
	start(volume, XBDEV_LVOL_FILL_PARENT, "decoupled", done, arg);
}
