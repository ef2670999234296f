/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another size of a volume, under I/O.
 *
 * Larger:
 *   1. clusters are taken in memory and zeroed: all of a thick volume; of a thin one those at which
 *      what it stands on would show through, as a volume that was smaller once may stand on a
 *      larger one, and what lay there was given up then
 *   2. extent pages, then the root with the new size. Power: the old size, more entries are cut
 *   3. its openers hear of it
 * Smaller:
 *   1. its openers hear of it; I/O that is on its way and lies beyond is refused
 *   2. with the volume for itself: the root, then the last extent page, which gets shorter. Power:
 *      the new size as soon as the root is on disk; what the page has more is cut
 *   3. the clusters are cleared as the volume says, and free
 *
 * SPDK shows the old parent's data again when a clone has been shrunk and grown; its format cannot
 * say that a parent ends early for a clone, so only clusters of zeroes can hide it. For the same
 * reason a clone that is larger than its parent needs some when that parent goes and the next one
 * is larger again (xbdev__lvol_op_cover()).
 */
#include <errno.h>

#include "lib/xbdev/lvol/op_private.h"

/* ---- entering clusters ---- */

/* The leaf of a slot, of the length that it is to have, marked. */
static int touch_leaf(struct xbdev_lvol_op *op, struct xbdev_lvs_blob *blob, uint32_t slot)
{
	struct xbdev_lvs_leaf *leaf = xbdev__lvs_map_leaf(&blob->map, slot);

	if (leaf == NULL) {
		return xu_error_set_errno(&op->err, -ENOMEM, "volume '%s'", blob->name);
	}
	leaf->count = (uint16_t)xbdev__lvs_slot_count(blob->map.nr_clusters, slot);
	return xbdev__lvs_leaf_touch(blob, slot, &op->err);
}

/* Gives the volume op->clusters at op->indexes; an error: none of them. */
static int enter(struct xbdev_lvol_op *op, struct xbdev_lvs_blob *blob)
{
	const uint32_t *indexes = op->indexes.items;
	uint32_t last = UINT32_MAX;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < op->indexes.count; i++) {
		uint32_t slot = indexes[i] / XBDEV_LVS_LEAF_CLUSTERS;

		if (slot != last) {
			rc = touch_leaf(op, blob, slot);
			last = slot;
		}
	}
	for (uint32_t i = 0; rc == 0 && i < op->indexes.count; i++) {
		xbdev__lvs_map_set(&blob->map, indexes[i], op->clusters.items[i]);
	}
	if (rc == 0) {
		op->clusters.count = op->indexes.count = 0;
	}
	return rc;
}

static int add_index(struct xbdev_lvol_op *op, uint32_t index)
{
	if (xbdev__lvs_numbers_add(&op->indexes, index) != 0) {
		return xu_error_set_errno(&op->err, -ENOMEM, "listing clusters");
	}
	return 0;
}

/* Takes clusters for op->indexes and zeroes them; `next` as of xbdev__lvol_op_clear(). */
static void take_zeroed(
	struct xbdev_lvol_op *op, void (*next)(struct xbdev_lvol_op *op, int status))
{
	if (op->indexes.count == 0) {
		next(op, 0);
	} else if (xbdev__lvol_op_take_clusters(op, op->indexes.count) != 0) {
		next(op, op->err.code);
	} else {
		xbdev__lvol_op_clear(op, XBDEV_LVS_CLEAR_ZEROES, next);
	}
}

/* ---- hiding what lies further down ---- */

static void on_covered(struct xbdev_lvol_op *op, int status)
{
	op->then(op, status);
}

static void cover(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *child = op->other->blob;

	if (status != 0) {
		if (op->err.code == 0) {
			xu_error_set_errno(
				&op->err, status, "zeroing clusters of '%s'", child->name);
		}
	} else {
		status = enter(op, child);
	}
	if (status != 0) {
		xbdev__lvol_op_free_clusters(op);
		op->then(op, status);
		return;
	}
	xbdev__lvol_op_commit(op, on_covered);
}

void xbdev__lvol_op_cover(
	struct xbdev_lvol_op *op, void (*next)(struct xbdev_lvol_op *op, int status))
{
	const struct xbdev_lvs_blob *snapshot = op->volume->blob, *child = op->other->blob;
	uint32_t end = xbdev__lvol_below_end(snapshot);
	int rc = 0;

	end = child->map.nr_clusters < end ? child->map.nr_clusters : end;
	op->then = next;
	for (uint32_t i = snapshot->map.nr_clusters; rc == 0 && i < end; i++) {
		if (xbdev__lvs_map_get(&child->map, i) == 0 &&
			xbdev__lvol_below(snapshot, i, NULL)) {
			rc = add_index(op, i);
		}
	}
	if (rc != 0 || op->indexes.count == 0) {
		next(op, rc);
	} else {
		take_zeroed(op, cover);
	}
}

/* ---- larger ---- */

/* Leaves that were made for the part that is not to be after all; none of them has been written. */
static void drop_leaves(struct xbdev_lvs_blob *blob)
{
	for (uint32_t slot = xbdev__lvs_slots_of(blob->map.nr_clusters); slot < blob->map.nr_slots;
		slot++) {
		struct xbdev_lvs_leaf *leaf = blob->map.leaves[slot];

		if (leaf != NULL) {
			if (leaf->page != 0) {
				xbdev__lvs_bits_clear(&blob->store->pages, leaf->page);
			}
			xu_list_del(&leaf->dirty);
			xbdev__lvs_map_drop(&blob->map, slot);
		}
	}
}

static struct xbdev_lvs_leaf *last_leaf(const struct xbdev_lvs_map *map, uint32_t nr_clusters)
{
	return nr_clusters > 0 ? map->leaves[(nr_clusters - 1) / XBDEV_LVS_LEAF_CLUSTERS] : NULL;
}

static int enlarge(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	struct xbdev_lvs_map *map = &blob->map;
	struct xbdev_lvs_leaf *leaf;
	uint32_t old = map->nr_clusters;
	int rc = xbdev__lvs_map_reserve(map, op->nr_clusters);

	if (rc != 0) {
		return xu_error_set_errno(&op->err, rc, "volume '%s'", blob->name);
	}
	leaf = last_leaf(map, old);
	map->nr_clusters = op->nr_clusters;
	if (leaf != NULL) {
		rc = touch_leaf(op, blob, leaf->slot);
	}
	if (rc == 0) {
		rc = xbdev__lvs_blob_touch(blob, &op->err);
	}
	if (rc == 0) {
		rc = enter(op, blob);
	}
	if (rc != 0) {
		map->nr_clusters = old;
		drop_leaves(blob);
		if (leaf != NULL) {
			leaf->count = (uint16_t)xbdev__lvs_slot_count(old, leaf->slot);
		}
	}
	return rc;
}

static void on_grown(struct xbdev_lvol_op *op, int status)
{
	if (status == 0) {
		xbdev__lvol_op_news(op, op->volume);
	}
	xbdev__lvol_op_end(op);
}

static void grow(struct xbdev_lvol_op *op, int status)
{
	const char *name = op->volume->blob->name;

	if (status == -ECANCELED) {
		xu_error_set(
			&op->err, status, "'%s' was not made larger: it was asked to stop", name);
	} else if (status != 0 && op->err.code == 0) {
		xu_error_set_errno(&op->err, status, "zeroing new clusters of '%s'", name);
	}
	if (status == 0 && enlarge(op) == 0) {
		xbdev__lvol_op_commit(op, on_grown);
		return;
	}
	xbdev__lvol_op_free_clusters(op);
	xbdev__lvol_op_end(op);
}

static void grow_begin(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvs_blob *blob = op->volume->blob;
	bool is_thin = xbdev__lvs_blob_is_thin(blob);
	uint32_t end = op->nr_clusters, below_end = xbdev__lvol_below_end(blob);
	int rc = 0;

	if (is_thin && below_end < end) {
		end = below_end;
	}
	for (uint32_t i = blob->map.nr_clusters; rc == 0 && i < end; i++) {
		if (!is_thin || xbdev__lvol_below(blob, i, NULL)) {
			rc = add_index(op, i);
		}
	}
	if (rc != 0) {
		xbdev__lvol_op_end(op);
	} else {
		take_zeroed(op, grow);
	}
}

/* ---- smaller ---- */

static void on_shrunk_clear(struct xbdev_lvol_op *op, int status)
{
	(void)status; /* a wish: who takes the clusters again zeroes them */
	xbdev__lvol_op_free_clusters(op);
	xbdev__lvol_op_end(op);
}

static void on_shrunk(struct xbdev_lvol_op *op, int status)
{
	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvol_op_news(op, op->volume);
	if (status != 0) {
		xbdev__lvol_op_end(op); /* the disk may list the clusters: they stay in use */
		return;
	}
	xbdev__lvol_op_clear(
		op, op->volume->blob->md_ro_flags & XBDEV_LVS_CLEAR_MASK, on_shrunk_clear);
}

/* Everything that takes memory. */
static int prepare_cut(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	struct xbdev_lvs_map *map = &blob->map;
	int rc = xbdev__lvs_map_reserve(&op->old_map, map->nr_clusters);

	for (uint32_t i = op->nr_clusters; rc == 0 && i < map->nr_clusters; i++) {
		i = xbdev__lvs_map_next(map, i);
		if (i < map->nr_clusters) {
			rc = xbdev__lvs_numbers_add(&op->clusters, xbdev__lvs_map_get(map, i));
		}
	}
	for (uint32_t slot = xbdev__lvs_slots_of(op->nr_clusters); rc == 0 && slot < map->nr_slots;
		slot++) {
		if (map->leaves[slot] != NULL && map->leaves[slot]->page != 0) {
			rc = xbdev__lvs_numbers_add(&blob->write.garbage, map->leaves[slot]->page);
		}
	}
	return rc == 0 ? 0 : xu_error_set_errno(&op->err, rc, "volume '%s'", blob->name);
}

/* The leaves behind the new end leave the map; they live until the operation ends. */
static void cut(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_map *map = &op->volume->blob->map;
	struct xbdev_lvs_leaf *leaf = last_leaf(map, op->nr_clusters);
	uint32_t kept = xbdev__lvs_slots_of(op->nr_clusters);

	for (uint32_t slot = kept; slot < map->nr_slots; slot++) {
		if (map->leaves[slot] != NULL) {
			xbdev__lvs_map_move(&op->old_map, map, slot);
		}
	}
	if (leaf != NULL) {
		uint32_t first = leaf->slot * XBDEV_LVS_LEAF_CLUSTERS;

		for (uint32_t i = op->nr_clusters - first; i < XBDEV_LVS_LEAF_CLUSTERS; i++) {
			xbdev__lvs_map_set(map, first + i, 0);
		}
		leaf->count = (uint16_t)xbdev__lvs_slot_count(op->nr_clusters, leaf->slot);
	}
	map->nr_clusters = op->nr_clusters;
}

static void shrink(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	const struct xbdev_lvs_leaf *leaf = last_leaf(&blob->map, op->nr_clusters);
	uint32_t nr_garbage = blob->write.garbage.count;
	int rc = status;

	if (rc == 0) {
		rc = prepare_cut(op);
	}
	if (rc == 0) {
		rc = xbdev__lvs_blob_touch(blob, &op->err);
	}
	if (rc == 0 && leaf != NULL) {
		rc = xbdev__lvs_leaf_touch(blob, leaf->slot, &op->err);
	}
	if (rc != 0) {
		blob->write.garbage.count = nr_garbage;
		op->clusters.count = 0;
		xbdev__lvol_op_give(op, op->volume);
		xbdev__lvol_op_end(op);
		return;
	}
	cut(op);
	blob->write.is_root_first = true;
	xbdev__lvol_op_commit(op, on_shrunk);
}

static void shrink_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	if (xbdev__lvs_blob_is_marked(op->volume->blob)) {
		xbdev__lvol_op_commit(op, shrink); /* left by a write that failed */
	} else {
		shrink(op, 0);
	}
}

static void shrink_begin(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_take(op, op->volume, shrink_quiet);
}

/* ---- control ---- */

static void announce(struct xbdev_lvol *volume, uint32_t nr_clusters)
{
	if (volume->is_registered) {
		xbdev_device_set_size(&volume->dev, (uint64_t)nr_clusters *
							    xbdev__lvol_cluster_size(volume) /
							    volume->dev.limits.block_size);
	}
}

/* The size that it has now, or still has. */
static void announce_result(struct xbdev_lvol_op *op)
{
	announce(op->volume, op->volume->shown.nr_clusters);
}

static void resize_nothing(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_end(op);
}

void xbdev__lvol_resize(
	struct xbdev_lvol *volume, uint64_t size, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(volume->store, volume, "resized", done, arg);
	uint32_t old = volume->shown.nr_clusters;

	if (op == NULL) {
		return;
	}
	xbdev__lvol_op_set_size(op, size);
	xbdev__lvol_op_check_writable(op);
	if (op->err.code == 0 && op->nr_clusters < old) {
		announce(volume, op->nr_clusters);
	}
	op->finish = announce_result;
	op->can_be_cancelled = op->nr_clusters > old;
	xbdev__lvol_op_start(op, op->nr_clusters > old   ? grow_begin
				 : op->nr_clusters < old ? shrink_begin
							 : resize_nothing);
}
