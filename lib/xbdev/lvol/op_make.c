/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations that make a volume: create, clone, snapshot. Their caller's part is in op.h.
 *
 * Create, thick: the clusters are taken in memory and zeroed; only then the new blob gets them and
 * is written, extent pages first. Power that goes before its root is on disk leaves nothing of it.
 * Create, thin, and clone, of a snapshot or of a device outside: one root.
 *
 * Snapshot S of V, with V's I/O held from 0 to the end of 2:
 *   0. what V has not written of its metadata (an earlier write failed) is written
 *   1. S is written with V's map and the mark "being taken of V". Power: S goes, V has its map
 *   2. V is written, empty, with S as its parent. Power: S stays, its mark goes at the next load
 *   3. S without the mark, read-only
 * S has V's extent pages: no data and no extent page is copied, whatever V's size. When 1 fails V
 * is as it was; when 2 fails it stands on S, and both read the same.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/xbdev/lvol/op_private.h"

/* It is in memory and perhaps on disk, and is not shown: the next load decides. */
static void leave(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->made;

	blob->in_flight = XBDEV_LVS_REMOVE;
	xbdev__lvol_free(blob->volume);
	blob->volume = NULL;
}

static void register_made(struct xbdev_lvol_op *op)
{
	if (op->nr_news > 0) {
		xbdev__lvol_op_register(op, op->news[0].volume);
	}
}

static void on_made(struct xbdev_lvol_op *op, int status)
{
	if (status != 0) {
		leave(op);
	} else {
		xbdev__lvol_op_news(op, op->made->volume);
	}
	xbdev__lvol_op_end(op);
}

/* ---- create ---- */

/* The clusters that were taken become the new blob's, in order. */
static int fill(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->made;
	struct xbdev_lvs_map *map = &blob->map;
	int rc = 0;

	blob->invalid_flags &= ~XBDEV_LVS_F_THIN;
	for (uint32_t slot = 0; rc == 0 && slot < map->nr_slots; slot++) {
		struct xbdev_lvs_leaf *leaf = xbdev__lvs_map_leaf(map, slot);

		if (leaf == NULL) {
			return xu_error_set_errno(&op->err, -ENOMEM, "volume '%s'", op->name);
		}
		leaf->count = (uint16_t)xbdev__lvs_slot_count(map->nr_clusters, slot);
		rc = xbdev__lvs_leaf_touch(blob, slot, &op->err);
	}
	for (uint32_t i = 0; rc == 0 && i < op->clusters.count; i++) {
		xbdev__lvs_map_set(map, i, op->clusters.items[i]);
	}
	return rc;
}

/* Nothing of it was written. */
static void undo_create(struct xbdev_lvol_op *op)
{
	xbdev__lvs_blob_unmark(op->made);
	xbdev__lvol_op_unmake(op);
	xbdev__lvol_op_free_clusters(op);
	xbdev__lvol_op_end(op);
}

static void create_blob(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *blob;

	if (status == -ECANCELED) {
		xu_error_set(&op->err, status,
			"the making of volume '%s' was asked to stop; nothing is left of it",
			op->name);
	} else if (status != 0) {
		xu_error_set_errno(
			&op->err, status, "zeroing the clusters of volume '%s'", op->name);
	}
	blob = status == 0 ? xbdev__lvol_op_make_blob(op, op->nr_clusters) : NULL;
	if (blob == NULL) {
		xbdev__lvol_op_free_clusters(op);
		xbdev__lvol_op_end(op);
		return;
	}
	blob->md_ro_flags = op->clear;
	if ((!op->is_thin && fill(op) != 0) || xbdev__lvs_blob_touch(blob, &op->err) != 0) {
		undo_create(op);
		return;
	}
	op->clusters.count = 0;
	xbdev__lvol_op_commit(op, on_made);
}

static void on_zeroed(struct xbdev_lvol_op *op, int status)
{
	op->clear = op->volume_clear;
	create_blob(op, status);
}

int xbdev__lvol_op_take_clusters(struct xbdev_lvol_op *op, uint32_t count)
{
	struct xbdev_lvs *lvs = op->store->lvs;

	if (lvs->read_only_reason.code != 0) {
		return xu_error_set(&op->err, -EROFS, "the store '%s' cannot be changed: %s",
			lvs->name, lvs->read_only_reason.text);
	}
	if (count > xbdev__lvs_free_clusters(lvs)) {
		return xu_error_set(&op->err, -ENOSPC,
			"store '%s' has %llu free clusters, %u are needed; delete something, let "
			"it "
			"grow, or make the volume thin",
			lvs->name, (unsigned long long)xbdev__lvs_free_clusters(lvs), count);
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t cluster = xbdev__lvs_cluster_take(lvs);

		if (xbdev__lvs_numbers_add(&op->clusters, cluster) != 0) {
			xbdev__lvs_cluster_free(lvs, cluster);
			xbdev__lvol_op_free_clusters(op);
			return xu_error_set_errno(&op->err, -ENOMEM, "taking %u clusters", count);
		}
	}
	return 0;
}

static void create_begin(struct xbdev_lvol_op *op)
{
	if (op->is_thin) {
		create_blob(op, 0);
		return;
	}
	if (xbdev__lvs_blob_by_name(op->store->lvs, op->name) != NULL) { /* before the long part */
		xu_error_set(&op->err, -EEXIST, "store '%s' has a volume '%s' already",
			op->store->lvs->name, op->name);
	} else if (xbdev__lvol_op_take_clusters(op, op->nr_clusters) == 0) {
		op->volume_clear = op->clear;
		xbdev__lvol_op_clear(op, XBDEV_LVS_CLEAR_ZEROES, on_zeroed);
		return;
	}
	xbdev__lvol_op_end(op);
}

void xbdev__lvol_op_set_size(struct xbdev_lvol_op *op, uint64_t size)
{
	uint64_t cluster_size = op->store->lvs->super.cluster_size;
	uint64_t nr = size / cluster_size + (size % cluster_size != 0);

	if (op->err.code == 0 && nr > XBDEV_LVS_CLUSTERS_MAX) {
		xu_error_set(&op->err, -EINVAL,
			"%llu bytes are %llu clusters, more than a volume can have (%u); a store "
			"with larger clusters takes it",
			(unsigned long long)size, (unsigned long long)nr, XBDEV_LVS_CLUSTERS_MAX);
	}
	if (op->err.code == 0 && nr == 0) {
		xu_error_set(
			&op->err, -EINVAL, "a volume of no bytes cannot be used; give it a size");
	}
	op->nr_clusters = (uint32_t)nr;
}

void xbdev__lvol_create(struct xbdev_lvol_store *store, const struct xbdev_lvol_create_opts *opts,
	xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(store, NULL, "created", done, arg);

	if (op != NULL) {
		xbdev__lvol_op_set_name(op, opts->name, &opts->uuid);
		xbdev__lvol_op_set_size(op, opts->size);
		op->is_thin = opts->is_thin;
		op->clear = opts->clear;
		op->finish = register_made;
		op->is_making = op->err.code == 0;
		op->can_be_cancelled = true;
		xbdev__lvol_op_start(op, create_begin);
	}
}

/* ---- clone ---- */

static void clone_begin(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *snapshot = op->held->blob, *blob;

	blob = xbdev__lvol_op_make_blob(op, snapshot->map.nr_clusters);
	if (blob == NULL) {
		xbdev__lvol_op_end(op);
		return;
	}
	blob->encoding = snapshot->encoding;
	if (xbdev__lvs_xattr_set_id(blob, XBDEV_LVS_A_PARENT, snapshot->id) != 0 ||
		xbdev__lvs_blob_derive(blob, &op->err) != 0) {
		xbdev__lvol_op_fail(op, -ENOMEM, "there is no memory for a volume's attributes");
	} else {
		xbdev__lvs_blob_link(blob, snapshot);
		if (xbdev__lvs_blob_touch(blob, &op->err) == 0) {
			xbdev__lvol_op_commit(op, on_made);
			return;
		}
	}
	undo_create(op);
}

void xbdev__lvol_clone(struct xbdev_lvol *snapshot, const char *name, const struct xu_uuid *uuid,
	xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(snapshot->store, NULL, "cloned", done, arg);

	if (op == NULL) {
		return;
	}
	xbdev__lvol_op_hold(op, snapshot);
	xbdev__lvol_op_set_name(op, name, uuid);
	if (op->err.code == 0 && !snapshot->shown.is_read_only) {
		xu_error_set(&op->err, -EINVAL,
			"volume '%s' can be written; take a snapshot of it and clone that",
			snapshot->shown.name);
	}
	op->finish = register_made;
	xbdev__lvol_op_start(op, clone_begin);
}

static void clone_external_begin(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = xbdev__lvol_op_make_blob(op, op->nr_clusters);

	if (blob == NULL) {
		xbdev__lvol_op_end(op);
	} else if (xbdev__lvol_esnap_set(op, blob, op->esnap) != 0) {
		undo_create(op);
	} else {
		xbdev__lvol_op_commit(op, on_made);
	}
}

void xbdev__lvol_clone_external(struct xbdev_lvol_store *store, const char *device,
	const char *name, const struct xu_uuid *uuid, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(store, NULL, "cloned", done, arg);

	if (op != NULL) {
		xbdev__lvol_op_set_name(op, name, uuid);
		xbdev__lvol_esnap_take(op, device);
		op->finish = register_made;
		xbdev__lvol_op_start(op, clone_external_begin);
	}
}

/* ---- snapshot ---- */

static struct xbdev_lvs_blob *origin_of(const struct xbdev_lvol_op *op)
{
	return op->volume->blob;
}

static void on_unmarked(struct xbdev_lvol_op *op, int status)
{
	/* Also after an error: both are on disk, and the next load takes the mark off. */
	(void)status;
	xbdev__lvol_op_news(op, op->made->volume);
	xbdev__lvol_op_news(op, op->volume);
	xbdev__lvol_op_end(op);
}

static void on_switched(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *snapshot = op->made;

	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvs_xattr_remove(snapshot, true, XBDEV_LVS_A_TAKING);
	snapshot->data_ro_flags |= XBDEV_LVS_RO_DATA;
	if (status != 0 || xbdev__lvs_blob_derive(snapshot, &op->err) != 0 ||
		xbdev__lvs_blob_touch(snapshot, &op->err) != 0) {
		on_unmarked(op, status);
		return;
	}
	xbdev__lvol_op_commit(op, on_unmarked);
}

/* What the snapshot stands on from outside was the volume's until now. */
static void drop_esnap(struct xbdev_lvs_blob *blob)
{
	xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_ESNAP);
	blob->invalid_flags &= ~XBDEV_LVS_F_ESNAP;
}

/* The volume has its map again; the snapshot, whose root is on disk, goes. */
static void on_taken_back(struct xbdev_lvol_op *op, int status)
{
	if (status != 0) {
		leave(op);
	} else {
		xbdev__lvol_free(op->made->volume);
		xbdev__lvs_blob_free(op->made);
	}
	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvol_op_end(op);
}

static void take_back(struct xbdev_lvol_op *op)
{
	struct xu_error err;

	op->made->map = (struct xbdev_lvs_map){0};
	if (xbdev__lvs_blob_doom(op->made, &err) != 0) {
		on_taken_back(op, err.code);
		return;
	}
	xbdev__lvol_op_commit(op, on_taken_back);
}

static void on_copied(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *origin = origin_of(op), *snapshot = op->made;
	struct xbdev_lvs_map map = origin->map;
	uint64_t flags = origin->invalid_flags;

	if (status != 0) {
		snapshot->map = (struct xbdev_lvs_map){0}; /* it stays the volume's */
		on_taken_back(op, status);
		return;
	}
	origin->map = op->old_map; /* which is the empty one */
	origin->invalid_flags |= XBDEV_LVS_F_THIN;
	if (xbdev__lvs_xattr_set_id(origin, XBDEV_LVS_A_PARENT, snapshot->id) != 0 ||
		xbdev__lvs_blob_touch(origin, &op->err) != 0) {
		xbdev__lvol_op_fail(op, -ENOMEM, "there is no memory for a volume's attributes");
		origin->map = map;
		origin->invalid_flags = flags;
		if (origin->parent_id != 0) { /* there was one, so this takes no memory's place */
			(void)xbdev__lvs_xattr_set_id(
				origin, XBDEV_LVS_A_PARENT, origin->parent_id);
		} else {
			xbdev__lvs_xattr_remove(origin, true, XBDEV_LVS_A_PARENT);
		}
		take_back(op);
		return;
	}
	op->old_map = (struct xbdev_lvs_map){0};
	drop_esnap(origin);
	(void)xbdev__lvs_blob_derive(origin, &op->err);
	xbdev__lvs_blob_link(snapshot, origin->parent);
	xbdev__lvs_blob_link(origin, snapshot);
	xbdev__lvol_op_commit(op, on_switched);
}

/* The snapshot as it is to be, but for its map. */
static int describe(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvs_blob *origin = origin_of(op);
	const struct xbdev_lvs_xattr *esnap = xbdev__lvs_xattr_get(origin, true, XBDEV_LVS_A_ESNAP);
	struct xbdev_lvs_blob *snapshot = op->made;
	char uuid[XU_UUID_TEXT_SIZE];
	int rc = xbdev__lvs_xattr_set_id(snapshot, XBDEV_LVS_A_TAKING, origin->id);

	snapshot->invalid_flags = origin->invalid_flags;
	snapshot->md_ro_flags = origin->md_ro_flags;
	snapshot->encoding = origin->encoding;
	if (rc == 0 && origin->parent_id != 0) {
		rc = xbdev__lvs_xattr_set_id(snapshot, XBDEV_LVS_A_PARENT, origin->parent_id);
	}
	if (rc == 0 && origin->esnap != NULL) {
		rc = xbdev__lvs_xattr_set(snapshot, true, XBDEV_LVS_A_ESNAP,
			sizeof(XBDEV_LVS_A_ESNAP) - 1, xbdev__lvs_xattr_value(esnap),
			esnap->value_len);
	}
	xu_uuid_format(&origin->uuid, uuid);
	if (rc == 0 && !xu_uuid_is_null(&origin->uuid)) {
		rc = xbdev__lvs_xattr_set(snapshot, false, XBDEV_LVOL_A_ORIGIN,
			sizeof(XBDEV_LVOL_A_ORIGIN) - 1, uuid, sizeof(uuid));
	}
	if (rc == 0) {
		rc = xbdev__lvs_map_reserve(&op->old_map, origin->map.nr_clusters);
		op->old_map.nr_clusters = origin->map.nr_clusters;
	}
	return rc;
}

static void copy_metadata(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *origin = origin_of(op), *snapshot = NULL;
	int rc = status;

	if (rc == 0) {
		snapshot = xbdev__lvol_op_make_blob(op, 0);
		rc = snapshot == NULL ? op->err.code : describe(op);
	}
	if (rc == 0) {
		xbdev__lvs_map_fini(&snapshot->map);
		snapshot->map = origin->map; /* of both, until one has been written */
		rc = xbdev__lvs_blob_derive(snapshot, &op->err);
		if (rc == 0) {
			rc = xbdev__lvs_blob_touch(snapshot, &op->err);
		}
	}
	if (rc == 0) {
		xbdev__lvol_op_commit(op, on_copied);
		return;
	}
	if (op->err.code == 0) {
		xu_error_set_errno(&op->err, rc, "taking a snapshot of '%s'", origin->name);
	}
	if (snapshot != NULL) {
		if (snapshot->map.leaves == origin->map.leaves) {
			snapshot->map = (struct xbdev_lvs_map){0};
		}
		xbdev__lvol_op_unmake(op);
	}
	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvol_op_end(op);
}

static void on_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	if (xbdev__lvs_blob_is_marked(origin_of(op))) {
		xbdev__lvol_op_commit(op, copy_metadata);
	} else {
		copy_metadata(op, 0);
	}
}

static void snapshot_begin(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_take(op, op->volume, on_quiet);
}

void xbdev__lvol_snapshot(struct xbdev_lvol *volume, const char *name, const struct xu_uuid *uuid,
	xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op =
		xbdev__lvol_op_new(volume->store, volume, "snapshotted", done, arg);

	if (op == NULL) {
		return;
	}
	xbdev__lvol_op_set_name(op, name, uuid);
	if (op->err.code == 0 &&
		(volume->shown.is_read_only || xbdev__lvol_nr_children(volume) > 0)) {
		xu_error_set(&op->err, -EINVAL,
			"volume '%s' is read-only: a clone of it says the same",
			volume->shown.name);
	}
	op->finish = register_made;
	xbdev__lvol_op_start(op, snapshot_begin);
}
