/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a store's use, and the beginning after a crash.
 *
 * Unloading: what is marked is committed; copies are erased, as pages that are free must hold
 * zeroes once the super block says clean; flush; the three masks; flush; the super block with clean
 * = 1; flush. An error anywhere leaves the store unclean, which is how it was.
 *
 * Recovery commits twice. First what loading has put right by itself: pages restored from copies,
 * resizes that were cut, clones that a deletion had begun to change. Then the marks of interrupted
 * operations: they must not go before what they explain has been put right, so that power failing
 * here finds the same again. A root that is to go is erased like that of a deleted volume; clusters
 * are free at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/mask.h"
#include "lib/xbdev/lvol/write_private.h"

#define PIECE_BYTES (1u << 20)

static void finish(struct xbdev_lvs_write *write)
{
	void (*done)(void *arg, const struct xu_error *err) = write->done;
	struct xu_error err = write->err;

	xu_buf_free(write->piece, PIECE_BYTES);
	write->piece = NULL;
	write->done = NULL;
	done(write->done_arg, &err);
}

static void fail(struct xbdev_lvs_write *write, int status, const char *what)
{
	xu_error_set_errno(&write->err, status, "store '%s': %s", write->store->name, what);
	finish(write);
}

/* ---- unloading ---- */

static void write_mask(struct xbdev_lvs_write *write);

static void on_clean(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		fail(write, write->status, "writing the super block");
	} else {
		finish(write);
	}
}

static void on_masks_flushed(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		fail(write, write->status, "making the masks durable");
	} else {
		xbdev__lvs_super_write(write, true, on_clean);
	}
}

/* Where a mask lies and what is in it; the blobs' one is made when it is written. */
struct place {
	uint32_t start, len;
	enum xbdev_lvs_mask type;
};

static struct place place_of(const struct xbdev_lvs_super *super, uint32_t stage)
{
	const struct place places[] = {
		{super->page_mask_start, super->page_mask_len, XBDEV_LVS_MASK_PAGES},
		{super->blobid_mask_start, super->blobid_mask_len, XBDEV_LVS_MASK_BLOBIDS},
		{super->cluster_mask_start, super->cluster_mask_len, XBDEV_LVS_MASK_CLUSTERS},
	};

	return places[stage];
}

static int format_piece(struct xbdev_lvs_write *write, const struct place *place, size_t len)
{
	struct xbdev_lvs *store = write->store;
	struct xbdev_lvs_bits roots;
	int rc = 0;

	if (place->type != XBDEV_LVS_MASK_BLOBIDS) {
		xbdev__lvs_mask_format(
			place->type == XBDEV_LVS_MASK_PAGES ? &store->pages : &store->clusters,
			place->type, write->at, len, write->piece);
		return 0;
	}
	rc = xbdev__lvs_bits_init(&roots, store->super.md_len);
	if (rc == 0) {
		for (uint32_t i = 0; i < store->nr_blobs; i++) {
			xbdev__lvs_bits_set(&roots, store->blobs[i]->root);
		}
		xbdev__lvs_mask_format(&roots, place->type, write->at, len, write->piece);
		xbdev__lvs_bits_fini(&roots);
	}
	return rc;
}

static void on_piece(struct xbdev_io *io, int status)
{
	struct xbdev_lvs_write *write = io->cb_arg;

	if (status != 0) {
		fail(write, status, "writing the masks");
		return;
	}
	write->at += io->len;
	write_mask(write);
}

static void write_mask(struct xbdev_lvs_write *write)
{
	const struct xbdev_lvs_super *super = &write->store->super;
	struct place place = place_of(super, write->stage);
	uint64_t size = (uint64_t)place.len * super->page_size, len;
	int rc;

	while (write->at == size) {
		write->at = 0;
		if (++write->stage == 3) {
			xbdev__lvs_flush(write, on_masks_flushed);
			return;
		}
		place = place_of(super, write->stage);
		size = (uint64_t)place.len * super->page_size;
	}
	len = size - write->at < PIECE_BYTES ? size - write->at : PIECE_BYTES;
	rc = format_piece(write, &place, len);
	if (rc == 0) {
		write->iov = (struct iovec){write->piece, len};
		write->io = (struct xbdev_io){
			.ch = write->store->ch,
			.cb = on_piece,
			.cb_arg = write,
			.iov = &write->iov,
			.nr_iov = 1,
			.op = XBDEV_OP_WRITE,
			.offset = (uint64_t)place.start * super->page_size + write->at,
			.len = len,
		};
		rc = xbdev_io_submit(&write->io);
	}
	if (rc != 0) {
		fail(write, rc, "writing the masks");
	}
}

static void on_erased_flushed(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		fail(write, write->status, "erasing free pages");
		return;
	}
	write->stage = 0;
	write->at = 0;
	write_mask(write);
}

static void on_slots_erased(struct xbdev_lvs_write *write)
{
	if (write->status != 0) {
		fail(write, write->status, "erasing free pages");
	} else {
		xbdev__lvs_flush(write, on_erased_flushed);
	}
}

/* Pages that were taken and not written, and copies: nobody's from here on. */
static int give_back(struct xbdev_lvs_write *write)
{
	struct xbdev_lvs *store = write->store;
	int rc = 0;

	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		struct xbdev_lvs_blob *blob = store->blobs[i];

		while (blob->write.next_chain.count > 0) {
			xbdev__lvs_bits_clear(&store->pages,
				blob->write.next_chain.items[--blob->write.next_chain.count]);
		}
	}
	for (uint32_t i = 0; rc == 0 && i < write->nr_slots; i++) {
		write->slots[i].target = XBDEV_LVS_NO_PAGE;
		rc = xbdev__lvs_numbers_add(&write->erase, write->slots[i].page);
	}
	write->nr_slots = 0;
	return rc;
}

/* Not a store in which nothing was changed, nor one that cannot be said to be whole. */
static bool must_close(const struct xbdev_lvs_write *write)
{
	const struct xbdev_lvs *store = write->store;

	return store->read_only_reason.code == 0 && !xbdev__lvs_needs_recovery(store) &&
	       (write->is_begun || !store->super.is_clean);
}

static void on_committed(struct xbdev_lvs_waiter *waiter, int status)
{
	struct xbdev_lvs_write *write = xu_container_of(waiter, struct xbdev_lvs_write, waiter);

	if (status != 0) {
		fail(write, status, "writing the last changes");
		return;
	}
	if (!must_close(write)) {
		finish(write);
		return;
	}
	write->piece = xu_buf_alloc(PIECE_BYTES);
	if (write->piece == NULL || give_back(write) != 0) {
		fail(write, -ENOMEM, "closing it");
		return;
	}
	xbdev__lvs_erase(write, on_slots_erased);
}

static void start(struct xbdev_lvs_write *write,
	void (*done)(void *arg, const struct xu_error *err), void *arg,
	void (*then)(struct xbdev_lvs_waiter *waiter, int status))
{
	write->done = done;
	write->done_arg = arg;
	write->err = (struct xu_error){0};
	write->waiter.fn = then;
	xbdev__lvs_commit(write->store, &write->waiter);
}

void xbdev__lvs_unload(
	struct xbdev_lvs *store, void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	start(store->write, done, arg, on_committed);
}

/* ---- recovery ---- */

bool xbdev__lvs_needs_recovery(const struct xbdev_lvs *store)
{
	if (store->read_only_reason.code != 0 || store->is_super_torn) {
		return store->read_only_reason.code == 0;
	}
	for (uint32_t i = 0; i < store->nr_blobs; i++) {
		const struct xbdev_lvs_blob *blob = store->blobs[i];

		if (blob->write.is_dirty || !xu_list_is_empty(&blob->write.leaves) ||
			blob->excess_clusters.count > 0 || blob->excess_pages.count > 0 ||
			blob->in_flight == XBDEV_LVS_KEEP || blob->in_flight == XBDEV_LVS_REMOVE) {
			return true;
		}
	}
	return false;
}

static void free_excess(struct xbdev_lvs_blob *blob)
{
	for (uint32_t i = 0; i < blob->excess_clusters.count; i++) {
		xbdev__lvs_cluster_free(blob->store, blob->excess_clusters.items[i]);
	}
	blob->excess_clusters.count = 0;
}

static int move_excess_pages(struct xbdev_lvs_blob *blob)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < blob->excess_pages.count; i++) {
		rc = xbdev__lvs_numbers_add(&blob->write.garbage, blob->excess_pages.items[i]);
	}
	blob->excess_pages.count = 0;
	return rc;
}

static void on_recovered(struct xbdev_lvs_waiter *waiter, int status)
{
	struct xbdev_lvs_write *write = xu_container_of(waiter, struct xbdev_lvs_write, waiter);
	struct xbdev_lvs *store = write->store;

	if (status != 0) {
		fail(write, status, "finishing what was interrupted");
		return;
	}
	for (uint32_t i = store->nr_blobs; i-- > 0;) {
		struct xbdev_lvs_blob *blob = store->blobs[i];

		if (blob->in_flight == XBDEV_LVS_REMOVE && blob->write.is_doomed) {
			free_excess(blob);
			xbdev__lvs_blob_free(blob);
		} else if (blob->in_flight == XBDEV_LVS_KEEP) {
			blob->in_flight = XBDEV_LVS_SETTLED;
		}
	}
	finish(write);
}

static int settle_blob(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	int rc = 0;

	if (blob->is_locked) {
		return 0;
	}
	if (blob->in_flight == XBDEV_LVS_KEEP) {
		xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_TAKING);
		xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_DELETING);
		rc = xbdev__lvs_blob_derive(blob, err);
		if (rc == 0) {
			rc = xbdev__lvs_blob_touch(blob, err);
		}
	} else if (blob->in_flight == XBDEV_LVS_REMOVE) {
		/* Its map is another's; what it has alone is in the excess lists. */
		while (!xu_list_is_empty(&blob->write.leaves)) {
			xu_list_pop(&blob->write.leaves);
		}
		xbdev__lvs_map_fini(&blob->map);
		rc = move_excess_pages(blob);
		if (rc == 0) {
			rc = xbdev__lvs_blob_doom(blob, err);
		}
	}
	return rc;
}

static void on_repaired(struct xbdev_lvs_waiter *waiter, int status)
{
	struct xbdev_lvs_write *write = xu_container_of(waiter, struct xbdev_lvs_write, waiter);
	struct xbdev_lvs *store = write->store;
	int rc = 0;

	if (status != 0) {
		fail(write, status, "restoring what was interrupted");
		return;
	}
	for (uint32_t i = 0; rc == 0 && i < store->nr_blobs; i++) {
		if (store->blobs[i]->in_flight != XBDEV_LVS_REMOVE) {
			free_excess(store->blobs[i]);
		}
		rc = settle_blob(store->blobs[i], &write->err);
	}
	if (rc != 0) {
		finish(write);
		return;
	}
	write->waiter.fn = on_recovered;
	xbdev__lvs_commit(store, &write->waiter);
}

/* What loading has marked by itself. */
static int touch_repaired(struct xbdev_lvs_blob *blob, struct xu_error *err)
{
	struct xu_list *node, *next;
	int rc = 0;

	if (blob->in_flight == XBDEV_LVS_REMOVE || blob->is_locked || blob->reason != NULL) {
		return 0;
	}
	rc = move_excess_pages(blob);
	if (rc == 0 && blob->write.is_dirty) {
		blob->write.is_root_first = blob->excess_clusters.count > 0;
		rc = xbdev__lvs_blob_touch(blob, err);
	}
	if (rc != 0) {
		return rc;
	}
	xu_list_for_each_safe (node, next, &blob->write.leaves) {
		struct xbdev_lvs_leaf *leaf = xu_list_entry(node, struct xbdev_lvs_leaf, dirty);

		rc = xbdev__lvs_leaf_touch(blob, leaf->slot, err);
	}
	return rc;
}

static void do_nothing(struct xbdev_lvs_waiter *waiter, int status)
{
	finish(xu_container_of(waiter, struct xbdev_lvs_write, waiter));
}

void xbdev__lvs_recover(
	struct xbdev_lvs *store, void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct xbdev_lvs_write *write = store->write;
	int rc = 0;

	if (!xbdev__lvs_needs_recovery(store)) {
		start(write, done, arg, do_nothing);
		return;
	}
	write->err = (struct xu_error){0};
	for (uint32_t i = 0; rc == 0 && i < store->nr_blobs; i++) {
		rc = touch_repaired(store->blobs[i], &write->err);
	}
	if (rc != 0) {
		/* Later, as always. */
		struct xu_error err = write->err;

		start(write, done, arg, do_nothing);
		write->err = err;
		return;
	}
	start(write, done, arg, on_repaired);
}
