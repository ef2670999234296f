/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations that change what a volume is called, may or stands on, in its store or outside. Each
 * is one write of its root: power leaves the one or the other.
 *
 * Restore: the volume's map is dropped, it stands on the snapshot and has its size. Its clusters
 * are cleared and free when the root is on disk, not before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/lvol/op_private.h"

/* Tells of an error that has no sentence yet; true: there is one. */
static bool has_failed(struct xbdev_lvol_op *op, int rc)
{
	if (rc != 0 && op->err.code == 0) {
		xu_error_set_errno(&op->err, rc, "volume '%s'", op->volume->blob->name);
	}
	return rc != 0;
}

static void on_changed(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvol_op_news(op, op->volume);
	xbdev__lvol_op_end(op);
}

static void give_up(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_give(op, op->volume);
	xbdev__lvol_op_end(op);
}

static void register_again(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_register(op, op->volume);
}

/* ---- another name ---- */

static void rename_begin(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	char old[XBDEV_LVS_NAME_BYTES];
	int rc;

	if (xbdev__lvs_blob_by_name(op->store->lvs, op->name) != NULL) {
		xu_error_set(&op->err, -EEXIST, "store '%s' has a volume '%s' already",
			op->store->lvs->name, op->name);
		xbdev__lvol_op_end(op);
		return;
	}
	memcpy(old, blob->name, sizeof(old));
	rc = xbdev__lvs_blob_touch(blob, &op->err);
	if (rc == 0) {
		rc = xbdev__lvs_blob_set_name(blob, op->name);
	}
	if (has_failed(op, rc)) {
		xbdev__lvol_op_end(op);
		return;
	}
	(void)xbdev__lvs_blob_derive(blob, &op->err);
	blob->is_name_taken = false;
	xbdev__lvol_op_commit(op, on_changed);
}

void xbdev__lvol_rename(
	struct xbdev_lvol *volume, const char *name, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = xbdev__lvol_op_new(volume->store, volume, "renamed", done, arg);

	if (op != NULL) {
		xbdev__lvol_op_set_name(op, name, NULL);
		op->finish = register_again;
		xbdev__lvol_op_start_alone(op, rename_begin);
	}
}

/* ---- read-only ---- */

static void read_only_begin(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;

	if (xbdev__lvs_blob_touch(blob, &op->err) != 0) {
		xbdev__lvol_op_end(op);
		return;
	}
	blob->data_ro_flags |= XBDEV_LVS_RO_DATA;
	xbdev__lvol_op_commit(op, on_changed);
}

static void read_only_end(struct xbdev_lvol_op *op)
{
	if (op->nr_news == 0) {
		op->volume->dev.is_read_only = false;
	}
}

void xbdev__lvol_set_read_only(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op =
		xbdev__lvol_op_new(volume->store, volume, "made read-only", done, arg);

	if (op == NULL) {
		return;
	}
	if (op->err.code == 0 && volume->is_registered && volume->dev.nr_writers > 0) {
		xu_error_set(&op->err, -EBUSY, "volume '%s' is open to be written; close it first",
			volume->dev.name);
	}
	if (op->err.code == 0 && !volume->dev.is_read_only) {
		volume->dev.is_read_only = true; /* nobody opens it to write from now on */
		op->finish = read_only_end;
	}
	xbdev__lvol_op_start(op, read_only_begin);
}

/* ---- another parent, in the store or outside ---- */

static bool stands_on(const struct xbdev_lvs_blob *blob, const struct xbdev_lvs_blob *other)
{
	while (blob != NULL && blob != other) {
		blob = blob->parent;
	}
	return blob != NULL;
}

static void check_parent(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvs_blob *blob = op->volume->blob, *parent = op->held->blob;

	if (!xbdev__lvs_blob_is_thin(blob)) {
		xu_error_set(&op->err, -EINVAL, "volume '%s' is thick: it stands on nothing",
			blob->name);
	} else if (!xbdev__lvs_blob_is_read_only(parent)) {
		xu_error_set(&op->err, -EINVAL,
			"volume '%s' can be written; nothing can stand on it", parent->name);
	} else if (blob->map.nr_clusters != parent->map.nr_clusters) {
		xu_error_set(&op->err, -EINVAL,
			"'%s' has %u clusters, '%s' has %u; they must agree", blob->name,
			blob->map.nr_clusters, parent->name, parent->map.nr_clusters);
	} else if (blob->encoding != parent->encoding) {
		xu_error_set(&op->err, -EINVAL,
			"one of '%s' and '%s' is of an old format without extent tables",
			blob->name, parent->name);
	} else if (stands_on(parent, blob)) {
		xu_error_set(
			&op->err, -EINVAL, "'%s' stands on '%s' itself", parent->name, blob->name);
	}
}

/* Lets the volume stand on the parent, in memory; the root is marked. */
static int set_parent(struct xbdev_lvol_op *op, struct xbdev_lvs_blob *parent)
{
	struct xbdev_lvs_blob *blob = op->volume->blob;
	int rc = xbdev__lvs_blob_touch(blob, &op->err);

	if (rc == 0) {
		rc = xbdev__lvs_xattr_set_id(blob, XBDEV_LVS_A_PARENT, parent->id);
	}
	if (rc == 0) {
		xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_ESNAP);
		blob->invalid_flags &= ~XBDEV_LVS_F_ESNAP;
		(void)xbdev__lvs_blob_derive(blob, &op->err);
		xbdev__lvs_blob_link(blob, parent);
	}
	return rc;
}

static void parent_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	if (has_failed(op, set_parent(op, op->held->blob))) {
		give_up(op);
	} else {
		xbdev__lvol_op_commit(op, on_changed);
	}
}

static void parent_begin(struct xbdev_lvol_op *op)
{
	check_parent(op);
	if (op->err.code != 0) {
		xbdev__lvol_op_end(op);
	} else {
		xbdev__lvol_op_take(op, op->volume, parent_quiet);
	}
}

/* Nobody may read through it what is to be something else. */
static void check_child(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvol *volume = op->volume;

	if (op->err.code == 0 &&
		(xbdev__lvol_nr_children(volume) > 0 ||
			(volume->is_registered && xbdev__lvol_is_esnap(&volume->dev)))) {
		xu_error_set(&op->err, -EINVAL, "volumes stand on '%s': their content would change",
			volume->shown.name);
	}
}

void xbdev__lvol_set_parent(
	struct xbdev_lvol *volume, struct xbdev_lvol *snapshot, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op =
		xbdev__lvol_op_new(volume->store, volume, "put on another parent", done, arg);

	if (op == NULL) {
		return;
	}
	if (op->err.code == 0 && (volume == snapshot || volume->store != snapshot->store)) {
		xu_error_set(&op->err, -EINVAL, "a volume stands on another of its own store");
	}
	check_child(op);
	xbdev__lvol_op_hold(op, snapshot);
	xbdev__lvol_op_start(op, parent_begin);
}

static void external_quiet(struct xbdev_lvol_op *op, int status)
{
	(void)status;
	if (xbdev__lvol_esnap_set(op, op->volume->blob, op->esnap) != 0) {
		give_up(op);
	} else {
		xbdev__lvol_op_commit(op, on_changed);
	}
}

static void external_begin(struct xbdev_lvol_op *op)
{
	xbdev__lvol_op_take(op, op->volume, external_quiet);
}

void xbdev__lvol_set_parent_external(
	struct xbdev_lvol *volume, const char *device, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op =
		xbdev__lvol_op_new(volume->store, volume, "put on another parent", done, arg);

	if (op == NULL) {
		return;
	}
	check_child(op);
	if (op->err.code == 0 && !volume->shown.is_thin) {
		xu_error_set(&op->err, -EINVAL, "volume '%s' is thick: it stands on nothing",
			volume->shown.name);
	}
	xbdev__lvol_esnap_take(op, device);
	xbdev__lvol_op_start(op, external_begin);
}

/* ---- back to a snapshot ---- */

static void on_restored_clear(struct xbdev_lvol_op *op, int status)
{
	(void)status; /* a wish: who takes the clusters again zeroes them */
	xbdev__lvol_op_free_clusters(op);
	xbdev__lvol_op_end(op);
}

static void on_restored(struct xbdev_lvol_op *op, int status)
{
	xbdev__lvol_op_news(op, op->volume);
	if (status != 0) {
		xbdev__lvol_op_end(op);
		return;
	}
	xbdev__lvol_op_clear(
		op, op->volume->blob->md_ro_flags & XBDEV_LVS_CLEAR_MASK, on_restored_clear);
}

/* Extent pages that the root will not name any more. */
static int drop_pages(struct xbdev_lvs_blob *blob, const struct xbdev_lvs_map *map)
{
	int rc = 0;

	for (uint32_t slot = 0; rc == 0 && slot < map->nr_slots; slot++) {
		if (map->leaves[slot] != NULL && map->leaves[slot]->page != 0) {
			rc = xbdev__lvs_numbers_add(&blob->write.garbage, map->leaves[slot]->page);
		}
	}
	return rc;
}

static void switch_map(struct xbdev_lvol_op *op, int status)
{
	struct xbdev_lvs_blob *blob = op->volume->blob, *snapshot = op->held->blob;
	struct xbdev_lvs_map empty = {0};
	uint32_t nr_garbage = blob->write.garbage.count;
	int rc = status;

	if (rc == 0) {
		rc = xbdev__lvs_map_reserve(&empty, snapshot->map.nr_clusters);
		empty.nr_clusters = snapshot->map.nr_clusters;
	}
	if (rc == 0) {
		rc = xbdev__lvol_op_list(op, &blob->map);
	}
	if (rc == 0) {
		rc = drop_pages(blob, &blob->map);
	}
	if (rc == 0) {
		rc = set_parent(op, snapshot);
	}
	if (has_failed(op, rc)) {
		blob->write.garbage.count = nr_garbage;
		op->clusters.count = 0;
		xbdev__lvs_map_fini(&empty);
		xbdev__lvol_op_end(op);
		return;
	}
	op->old_map = blob->map;
	blob->map = empty;
	blob->encoding = snapshot->encoding;
	blob->invalid_flags |= XBDEV_LVS_F_THIN;
	(void)xbdev__lvs_blob_derive(blob, &op->err);
	xbdev__lvol_op_commit(op, on_restored);
}

static void restore_begin(struct xbdev_lvol_op *op)
{
	if (xbdev__lvs_blob_is_marked(op->volume->blob)) {
		xbdev__lvol_op_commit(op, switch_map); /* left by a write that failed */
	} else {
		switch_map(op, 0);
	}
}

/* The volume to go back: the one it was taken of, else the only one that stands on it and can be
 * written. NULL with a sentence. */
static struct xbdev_lvol *find_target(const struct xbdev_lvol *snapshot, struct xu_error *err)
{
	struct xbdev_lvol *other = NULL, *child = NULL;
	char names[200] = "";
	uint32_t nr = 0;

	while ((other = xbdev__lvol_next(snapshot->store, other)) != NULL) {
		size_t len = strlen(names);

		if (!xu_uuid_is_null(&snapshot->shown.origin) &&
			xu_uuid_is_equal(&other->shown.uuid, &snapshot->shown.origin)) {
			return other;
		}
		if (other->shown.parent == snapshot && !other->shown.is_read_only) {
			child = other;
			nr++;
			snprintf(names + len, sizeof(names) - len, "%s'%s'", nr > 1 ? ", " : "",
				other->shown.name);
		}
	}
	if (nr == 0) {
		xu_error_set(err, -EINVAL,
			"it is not known of which volume '%s' was taken, and none that can be "
			"written "
			"stands on it; make a clone of it",
			snapshot->shown.name);
	} else if (nr > 1) {
		xu_error_set(err, -EINVAL,
			"it is not known of which volume '%s' was taken: %s stand on it; delete "
			"the one "
			"that is meant and make a clone with its name",
			snapshot->shown.name, names);
	}
	if (nr != 1) {
		return NULL;
	}
	return child;
}

void xbdev__lvol_restore(struct xbdev_lvol *snapshot, xbdev_lvol_done_fn done, void *arg)
{
	struct xu_error err = {0};
	struct xbdev_lvol *target = find_target(snapshot, &err);
	struct xbdev_lvol_op *op =
		xbdev__lvol_op_new(snapshot->store, target, "restored", done, arg);

	if (op == NULL) {
		return;
	}
	if (target == NULL && op->err.code == 0) {
		op->err = err;
	} else if (op->err.code == 0 && !snapshot->shown.is_read_only) {
		xu_error_set(&op->err, -EINVAL, "volume '%s' is no snapshot", snapshot->shown.name);
	} else if (op->err.code == 0 &&
		   (target->shown.is_read_only || xbdev__lvol_nr_children(target) > 0)) {
		xu_error_set(&op->err, -EROFS, "volume '%s', of which '%s' was taken, is read-only",
			target->shown.name, snapshot->shown.name);
	}
	xbdev__lvol_op_hold(op, snapshot);
	op->finish = register_again;
	xbdev__lvol_op_start_alone(op, restore_begin);
}
