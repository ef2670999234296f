/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a volume or snapshot. It is no device any more when this begins, and becomes one again
 * when it fails.
 *
 * Nothing stands on it:
 *   1. its root is erased, then its other pages. Power: the volume, or nothing
 *   2. its clusters are cleared as it says, and free. Power: they are free
 * One volume K stands on it, whose I/O is held from 1 to the end of 2:
 *   0. where K is larger than S and what S stands on is larger again, K gets clusters of zeroes:
 *      else that would show through. Power: K has more clusters of its own.
 *      Then memory and metadata pages for K's new map are taken: later nothing can fail but the
 * disk
 *   1. S with the mark "being deleted for K". Power: the mark goes, S stays
 *   2. K with all of S's clusters that it had not itself, on S's parent; extent pages of K that
 *      change go to new places, those that it had not are S's. Power: S goes, K has its new map
 *   3. S's root is erased; what S had and K had too is cleared, and free
 * Several stand on it: it gets a mark and a name that says so, which frees its own; it goes as
 * above when the last but one has gone (xbdev__lvol_reap()).
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/util/log.h"
#include "lib/xbdev/lvol/op_private.h"

#define HIDDEN_PREFIX "deleted-"

static void register_again(struct xbdev_lvol_op *op)
{
	struct xbdev_lvol *volume = op->volume;

	if (op->is_merged && volume != NULL) {
		/* What it had is the other's in memory, and the disk has the one or the other:
		 * until the next load it is as if it were gone. */
		struct xbdev_lvol_shown shown = volume->shown;

		shown.is_hidden = shown.is_locked = true;
		shown.is_servable = false;
		xbdev__lvol_show(volume, &shown);
	} else if (op->gone == NULL) {
		xbdev__lvol_op_register(op, volume);
	}
}

/* ---- the end of a blob ---- */

static void on_cleared(struct xbdev_lvol_op *op, int status)
{
	(void)status; /* a wish: who takes the clusters again zeroes them */
	xbdev__lvol_op_free_clusters(op);
	xbdev__lvol_op_end(op);
}

static void on_doomed(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	uint64_t clear = blob->md_ro_flags & XBDEV_LVS_CLEAR_MASK;

	if (status != 0) {
		xbdev__lvol_op_end(op);
		return;
	}
	xbdev__lvol_forget_places(op->volume);
	xbdev__lvs_blob_free(blob);
	op->volume->blob = NULL;
	op->gone = op->volume;
	op->volume = NULL;
	xbdev__lvol_op_clear(op, clear, on_cleared);
}

static void doom(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvs_blob *blob = op->volume->blob;

	if (xbdev__lvol_op_list(op, &blob->map) != 0 ||
		xbdev__lvs_blob_doom(op->volume->blob, &op->err) != 0) {
		op->clusters.count = 0;
		xbdev__lvol_op_end(op);
		return;
	}
	xbdev__lvol_op_commit(op, on_doomed);
}

/* ---- what stands on it takes over ---- */

static struct xbdev_lvs_leaf *leaf_of(const struct xbdev_lvs_map *map, uint32_t slot)
{
	return slot < map->nr_slots ? map->leaves[slot] : NULL;
}

/* Whether a leaf can go over as it is: nobody else has one there, and it is of the right length. */
static bool can_move(
	const struct xbdev_lvs_blob *child, const struct xbdev_lvs_blob *snapshot, uint32_t slot)
{
	return leaf_of(&child->map, slot) == NULL && child->encoding == snapshot->encoding &&
	       xbdev__lvs_slot_count(child->map.nr_clusters, slot) ==
		       xbdev__lvs_slot_count(snapshot->map.nr_clusters, slot);
}

/* Whether the child lacks anything that this leaf has. */
static bool lacks_any(const struct xbdev_lvs_blob *child, const struct xbdev_lvs_leaf *from)
{
	const struct xbdev_lvs_leaf *to = leaf_of(&child->map, from->slot);
	uint32_t count = xbdev__lvs_slot_count(child->map.nr_clusters, from->slot);

	for (uint32_t i = 0; i < count; i++) {
		if (from->clusters[i] != 0 && (to == NULL || to->clusters[i] == 0)) {
			return true;
		}
	}
	return false;
}

/* Takes the pages and makes the leaves that merging will need. */
static int prepare(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *snapshot = op->volume->blob, *child = op->other->blob;
	struct xbdev_lvs *lvs = op->store->lvs;

	for (uint32_t slot = 0; slot < snapshot->map.nr_slots; slot++) {
		const struct xbdev_lvs_leaf *from = snapshot->map.leaves[slot];
		uint32_t page;

		if (from == NULL || can_move(child, snapshot, slot) || !lacks_any(child, from)) {
			continue;
		}
		if (xbdev__lvs_map_leaf(&child->map, slot) == NULL) {
			return xu_error_set_errno(
				&op->err, -ENOMEM, "deleting '%s'", snapshot->name);
		}
		if (child->encoding == XBDEV_LVS_RLE) {
			continue;
		}
		page = xbdev__lvs_page_take(lvs);
		if (page == XBDEV_LVS_NO_PAGE) {
			return xbdev__lvs_no_pages(lvs, &op->err);
		}
		if (xbdev__lvs_numbers_add(&op->pages, page) != 0) {
			xbdev__lvs_bits_clear(&lvs->pages, page);
			return xu_error_set_errno(
				&op->err, -ENOMEM, "deleting '%s'", snapshot->name);
		}
	}
	return 0;
}

static int merge_leaf(struct xbdev_lvol_op *op, const struct xbdev_lvs_leaf *from)
{
	struct xbdev_lvs_blob *snapshot = op->volume->blob, *child = op->other->blob;
	struct xbdev_lvs_leaf *to = leaf_of(&child->map, from->slot);
	uint32_t count = xbdev__lvs_slot_count(child->map.nr_clusters, from->slot);
	uint32_t first = from->slot * XBDEV_LVS_LEAF_CLUSTERS;

	for (uint32_t i = 0; i < count; i++) {
		if (from->clusters[i] != 0 && to->clusters[i] == 0) {
			xbdev__lvs_map_set(&child->map, first + i,
				xbdev__lvs_map_set(&snapshot->map, first + i, 0));
		}
	}
	to->count = (uint16_t)count;
	if (child->encoding == XBDEV_LVS_TABLE) {
		/* On a new page: what the old one says must not change before the root does. A page
		 * that finds no room in the list stays in use until the next load. */
		if (to->page != 0) {
			(void)xbdev__lvs_numbers_add(&child->write.garbage, to->page);
		}
		to->page = op->pages.items[--op->pages.count];
		to->is_on_disk = false;
	}
	return xbdev__lvs_leaf_touch(child, from->slot, &op->err);
}

static int merge(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *snapshot = op->volume->blob, *child = op->other->blob;
	int rc = 0;

	for (uint32_t slot = 0; rc == 0 && slot < snapshot->map.nr_slots; slot++) {
		struct xbdev_lvs_leaf *from = snapshot->map.leaves[slot];

		if (from == NULL) {
			continue;
		}
		if (can_move(child, snapshot, slot) && slot < child->map.nr_slots) {
			xbdev__lvs_map_move(&child->map, &snapshot->map, slot);
		} else if (lacks_any(child, from)) {
			rc = merge_leaf(op, from);
		}
	}
	return rc;
}

int xbdev__lvol_op_take_parent(
	struct xbdev_lvol_op *op, struct xbdev_lvs_blob *child, struct xbdev_lvs_blob *snapshot)
{
	const struct xbdev_lvs_xattr *esnap = snapshot->esnap;
	int rc = 0;

	if (esnap != NULL) {
		rc = xbdev__lvs_xattr_set(child, true, XBDEV_LVS_A_ESNAP,
			sizeof(XBDEV_LVS_A_ESNAP) - 1, xbdev__lvs_xattr_value(esnap),
			esnap->value_len);
		child->invalid_flags |= rc == 0 ? XBDEV_LVS_F_ESNAP : 0;
	}
	if (rc == 0 && snapshot->parent_id != 0) {
		rc = xbdev__lvs_xattr_set_id(child, XBDEV_LVS_A_PARENT, snapshot->parent_id);
	} else if (rc == 0) {
		xbdev__lvs_xattr_remove(child, true, XBDEV_LVS_A_PARENT);
	}
	if (rc != 0) {
		return xu_error_set_errno(&op->err, rc, "volume '%s'", child->name);
	}
	(void)xbdev__lvs_blob_derive(child, &op->err);
	xbdev__lvs_blob_link(child, snapshot->parent);
	return 0;
}

static void on_merged(struct xbdev_lvol_op *op, int status)
{
	xbdev__lvol_op_give(op, op->other);
	xbdev__lvol_op_news(op, op->other);
	if (status != 0) {
		xbdev__lvol_op_end(op);
		return;
	}
	doom(op);
}

static void on_marked(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *child = op->other->blob;
	int rc = status;

	if (rc == 0) {
		op->is_merged = true;
		rc = merge(op);
		if (rc == 0) {
			rc = xbdev__lvol_op_take_parent(op, child, op->volume->blob);
		}
		if (rc == 0) {
			rc = xbdev__lvs_blob_touch(child, &op->err);
		}
		if (rc == 0) {
			xbdev__lvol_op_commit(op, on_merged);
			return;
		}
		/* Half of it is in memory: nothing more may be written until the next load. */
		if (op->store->lvs->read_only_reason.code == 0) {
			xu_error_set_errno(&op->store->lvs->read_only_reason, rc,
				"deleting snapshot '%s' was not finished", op->volume->blob->name);
		}
		if (op->err.code == 0) {
			xu_error_set_errno(&op->err, rc, "deleting '%s'", op->volume->blob->name);
		}
	}
	xbdev__lvol_op_give(op, op->other);
	xbdev__lvol_op_end(op);
}

static void mark(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *snapshot = op->volume->blob;
	int rc = status;

	if (rc == 0) {
		rc = xbdev__lvs_xattr_set_id(snapshot, XBDEV_LVS_A_DELETING, op->other->blob->id);
		if (rc != 0) {
			xu_error_set_errno(&op->err, rc, "deleting '%s'", snapshot->name);
		} else {
			rc = xbdev__lvs_blob_touch(snapshot, &op->err);
		}
		if (rc == 0) {
			xbdev__lvol_op_commit(op, on_marked);
			return;
		}
		xbdev__lvs_xattr_remove(snapshot, true, XBDEV_LVS_A_DELETING);
	}
	xbdev__lvol_op_give(op, op->other);
	xbdev__lvol_op_end(op);
}

static void on_covered(struct xbdev_lvol_op *op, int status)
{
	if (status != 0 || prepare(op) != 0) {
		xbdev__lvol_op_give(op, op->other);
		xbdev__lvol_op_end(op);
	} else if (xbdev__lvs_blob_is_marked(op->other->blob)) {
		xbdev__lvol_op_commit(op, mark); /* left by a write that failed */
	} else {
		mark(op, 0);
	}
}

static void on_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	xbdev__lvol_op_cover(op, on_covered);
}

/* ---- several stand on it ---- */

static void on_hidden(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	xbdev__lvol_op_news(op, op->volume);
	xbdev__lvol_op_end(op);
}

static void hide(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	char name[XBDEV_LVS_NAME_BYTES] = HIDDEN_PREFIX;
	int rc;

	xu_uuid_format(&blob->uuid, name + sizeof(HIDDEN_PREFIX) - 1);
	rc = xbdev__lvs_xattr_set(
		blob, false, XBDEV_LVOL_A_HIDDEN, sizeof(XBDEV_LVOL_A_HIDDEN) - 1, "1", 1);
	if (rc == 0) {
		rc = xbdev__lvs_blob_touch(blob, &op->err);
	}
	if (rc == 0) {
		rc = xbdev__lvs_blob_set_name(blob, name);
	}
	if (rc == 0) {
		rc = xbdev__lvs_blob_derive(blob, &op->err);
	}
	if (rc != 0) {
		if (op->err.code == 0) {
			xu_error_set_errno(&op->err, rc, "deleting '%s'", blob->name);
		}
		xbdev__lvs_xattr_remove(blob, false, XBDEV_LVOL_A_HIDDEN);
		xbdev__lvol_op_end(op);
		return;
	}
	xbdev__lvol_op_commit(op, on_hidden);
}

/* ---- control ---- */

static void take_over(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_take(op, op->other, on_quiet);
}

static struct xbdev_lvol *first_child(const struct xbdev_lvol *volume)
{
	struct xbdev_lvol *other = NULL;

	while ((other = xbdev__lvol_next(volume->store, other)) != NULL) {
		if (other->shown.parent == volume) {
			return other;
		}
	}
	return NULL;
}

/* A child that is larger must not show what a device outside has there, which may be larger too:
 * nobody knows while that is missing. */
static void check_reach(
	struct xbdev_lvol_op *op, const struct xbdev_lvol *volume, const struct xbdev_lvol *child)
{
	if (op->err.code == 0 && child->shown.nr_clusters > volume->shown.nr_clusters) {
		const struct xu_error *missing = xbdev__lvol_esnap_missing(volume);

		if (missing != NULL) {
			xu_error_set(&op->err, -ENODEV,
				"'%s' is larger than '%s', and what lies there is not known: %s",
				child->shown.name, volume->shown.name, missing->text);
		}
	}
}

static void begin_delete(struct xbdev_lvol_op *op, struct xbdev_lvol *volume)
{
	uint32_t nr_children = xbdev__lvol_nr_children(volume);

	op->finish = register_again;
	if (nr_children == 1) {
		check_reach(op, volume, first_child(volume));
		xbdev__lvol_op_hold_alone(op, first_child(volume));
	}
	xbdev__lvol_op_start_alone(op, nr_children == 0   ? doom
				       : nr_children == 1 ? take_over
							  : hide);
}

void xbdev__lvol_delete(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(volume->store, volume, "deleted", done, arg);

	if (op != NULL) {
		begin_delete(op, volume);
	}
}

static bool is_free(const struct xbdev_lvol *volume)
{
	return volume == NULL || (volume->op == NULL && volume->nr_holds == 0);
}

bool xbdev__lvol_reap(struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg,
	const struct xu_error *result)
{
	struct xbdev_lvol *volume = NULL;
	struct xbdev_lvol_op *op;

	if (store->is_detaching || store->is_read_only || store->nr_hidden == 0) {
		return false;
	}
	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		const struct xbdev_lvol_shown *shown = &volume->shown;

		if (!shown->is_hidden || shown->reason != NULL || shown->is_locked ||
			!is_free(volume) || xbdev__lvol_nr_children(volume) > 1 ||
			!is_free(first_child(volume))) {
			continue;
		}
		op = xbdev__lvol_op_new(store, volume, "deleted", NULL, NULL);
		if (op == NULL) {
			return false;
		}
		op->is_reaping = true;
		op->done = done;
		op->arg = arg;
		op->result = *result;
		begin_delete(op, volume);
		return true;
	}
	return false;
}
