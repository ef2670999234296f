/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store that grows while it is used. What changes on disk is its super block, which says in one
 * write how large it is and how long its mask of clusters; the mask itself follows at unload.
 *
 *   1. a commit, after which the super block says that the store is not clean: from then on masks
 *      tell nothing
 *   2. the new super block, where the mask of pages is (super.h); flush
 *   3. the super block; flush
 *   4. the model
 * Power that fails in 3 may leave a super block whose two ends do not belong together, where blocks
 * are smaller than it; loading then takes the one of 2. No pass of write.c runs from 2 to 4.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/write_private.h"

struct xbdev_lvs_grow {
	struct xbdev_lvs *store;
	struct xbdev_lvs_waiter waiter;
	struct xbdev_lvs_super super, old;
	void *bytes; /* of the spare one */
	struct xu_error err;
	struct xr_msg msg;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;
};

static void end(struct xbdev_lvs_grow *grow)
{
	grow->done(grow->arg, &grow->err);
	xu_buf_free(grow->bytes, XBDEV_LVS_PAGE_BYTES);
	free(grow);
}

static void on_end(struct xr_msg *msg)
{
	end(xu_container_of(msg, struct xbdev_lvs_grow, msg));
}

/* Passes go on. */
static void finish(struct xbdev_lvs_write *write)
{
	struct xbdev_lvs_grow *grow = write->grow;

	if (write->status != 0 && grow->err.code == 0) {
		xu_error_set_errno(
			&grow->err, write->status, "growing store '%s'", write->store->name);
	}
	write->grow = NULL;
	write->is_running = false;
	if (!xu_list_is_empty(&write->waiters)) {
		xbdev__lvs_write_schedule(write);
	}
	end(grow);
}

static void on_grown(struct xbdev_lvs_write *write)
{
	struct xbdev_lvs *store = write->store;

	if (write->status != 0) {
		/* Whichever is on disk: the next one that is written says the old size again, and
		 * nothing lies behind it. */
		store->super = write->grow->old;
	} else {
		store->clusters.nr_bits = store->super.nr_clusters;
		if (store->space_changed != NULL) {
			store->space_changed(store);
		}
	}
	finish(write);
}

static void on_spare_flushed(struct xbdev_lvs_write *write)
{
	struct xbdev_lvs *store = write->store;

	if (write->status != 0) {
		finish(write);
		return;
	}
	write->grow->old = store->super;
	store->super = write->grow->super;
	xbdev__lvs_super_write(write, false, on_grown);
}

static void on_spare_written(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		finish(write);
	} else {
		xbdev__lvs_flush(write, on_spare_flushed);
	}
}

/* The store is not clean on disk, and no pass runs. */
static void on_begun(struct xbdev_lvs_waiter *waiter, int status)
{
	struct xbdev_lvs_grow *grow = xu_container_of(waiter, struct xbdev_lvs_grow, waiter);
	struct xbdev_lvs *store = grow->store;
	struct xbdev_lvs_write *write = store->write;
	uint64_t at, nr_bits = store->clusters.nr_bits;

	write->is_running = true;
	write->status = status;
	/* The memory now, the clusters when the super block has been written. */
	if (status == 0 && xbdev__lvs_bits_grow(&store->clusters, grow->super.nr_clusters) != 0) {
		write->status = -ENOMEM;
	}
	store->clusters.nr_bits = nr_bits;
	if (write->status != 0) {
		finish(write);
		return;
	}
	memcpy(grow->bytes, store->super_bytes, XBDEV_LVS_PAGE_BYTES);
	grow->super.is_clean = false;
	xbdev__lvs_super_format(&grow->super, grow->bytes);
	if (xbdev__lvs_super_spare_at(grow->bytes, &at) && store->super.page_mask_len > 0) {
		xbdev__lvs_bytes_write(write, at, grow->bytes, on_spare_written);
	} else {
		on_spare_flushed(write);
	}
}

static int prepare(struct xbdev_lvs_grow *grow)
{
	struct xbdev_lvs *store = grow->store;

	if (store->write->grow != NULL) {
		return xu_error_set(
			&grow->err, -EBUSY, "store '%s' is being grown already", store->name);
	}
	if (store->read_only_reason.code != 0) {
		return xu_error_set(&grow->err, -EROFS, "the store '%s' cannot be changed: %s",
			store->name, store->read_only_reason.text);
	}
	grow->bytes = xu_buf_alloc(XBDEV_LVS_PAGE_BYTES);
	if (grow->bytes == NULL) {
		return xu_error_set_errno(&grow->err, -ENOMEM, "growing store '%s'", store->name);
	}
	return xbdev__lvs_super_grow(
		&store->super, xbdev_device_size_bytes(store->ch->dev), &grow->super, &grow->err);
}

void xbdev__lvs_grow(
	struct xbdev_lvs *store, void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct xbdev_lvs_grow *grow = calloc(1, sizeof(*grow));
	struct xu_error err;

	if (grow == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "growing store '%s'", store->name);
		done(arg, &err);
		return;
	}
	grow->store = store;
	grow->done = done;
	grow->arg = arg;
	if (prepare(grow) != 0) {
		grow->msg.fn = on_end;
		xr_msg_defer(store->reactor, &grow->msg);
		return;
	}
	store->write->grow = grow;
	store->has_repairs = true; /* the commit begins even when nothing is marked */
	grow->waiter.fn = on_begun;
	xbdev__lvs_commit(store, &grow->waiter);
}
