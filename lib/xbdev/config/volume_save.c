/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores and what is in them as a document says it. The disk knows who stands on whom:
 *
 *	vol ──▶ snap2 ──▶ snap1 ◀── copy          snap1, snap2: snapshots of vol; copy: a clone
 *
 * and, of snapshots that were taken here, what of. One of those that stand on a snapshot goes on
 * with its line, that volume if it is known, and the others begin lines of their own. The end of a
 * line is what its snapshots are of: a clone of what the line stands on, or a volume. Snapshots are
 * told oldest first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/lvol/volume.h"

#define NONE SIZE_MAX
#define MIB  (UINT64_C(1) << 20)
/* Clones of clones, each of which is two levels of a document; those above are told as volumes. */
#define GENERATIONS_MAX 8u

struct node {
	const struct xbdev_lvol *volume;
	struct xbdev_lvol_info info;
	size_t parent; /* NONE: it stands on nothing that is told here */
	size_t next;   /* in its line, away from the parent; NONE: it ends here */
};

struct tree {
	struct node *nodes;
	size_t nr_nodes;
	json_t *names; /* indexes by the devices' names and UUIDs */
};

/* ---- which there are ---- */

struct xbdev_device *xbdev__volume_next(struct xbdev_ctx *ctx, struct xbdev_device *dev)
{
	do {
		dev = xbdev_device_next(ctx, dev);
	} while (dev != NULL && (strcmp(dev->driver, "lvol") != 0 ||
					atomic_load(&dev->state) != XBDEV_DEVICE_READY));
	return dev;
}

struct xbdev_lvol *xbdev__volume_of(struct xbdev_device *dev)
{
	return xbdev__lvol_of(dev);
}

/* ---- the tree ---- */

static void tree_fini(struct tree *tree)
{
	free(tree->nodes);
	json_decref(tree->names);
}

/* NONE: it is not told. */
static size_t find_node(const struct tree *tree, const char *name_or_uuid)
{
	const json_t *index = json_object_get(tree->names, name_or_uuid);

	return index != NULL ? (size_t)json_integer_value(index) : NONE;
}

static const char *name_of(const struct tree *tree, size_t i)
{
	return tree->nodes[i].volume->dev.name;
}

/* Those whose names a document can say. */
static int collect(struct tree *tree, struct xbdev_ctx *ctx)
{
	struct xbdev_device *dev = NULL;
	size_t count = 0;

	while ((dev = xbdev__volume_next(ctx, dev)) != NULL) {
		count++;
	}
	tree->nodes = calloc(count + 1, sizeof(*tree->nodes));
	tree->names = json_object();
	if (tree->nodes == NULL || tree->names == NULL) {
		return -ENOMEM;
	}
	while ((dev = xbdev__volume_next(ctx, dev)) != NULL) {
		struct node *node = &tree->nodes[tree->nr_nodes];
		json_int_t index = (json_int_t)tree->nr_nodes;
		char uuid[XU_UUID_TEXT_SIZE];

		node->volume = xbdev__volume_of(dev);
		xbdev__lvol_info(node->volume, &node->info);
		xu_uuid_format(&node->info.uuid, uuid);
		node->parent = NONE;
		node->next = NONE;
		if (xbdev__volume_check_name(node->info.name, NULL) != 0 ||
			xbdev__volume_check_name(node->info.store, NULL) != 0) {
			continue;
		}
		if (json_object_set_new(tree->names, dev->name, json_integer(index)) != 0 ||
			json_object_set_new(tree->names, uuid, json_integer(index)) != 0) {
			return -ENOMEM;
		}
		tree->nr_nodes++;
	}
	return 0;
}

/* Lets the line go on to the volume that the snapshot was taken of, if that stands on it. */
static void follow_origin(struct tree *tree, size_t i)
{
	const struct xu_uuid *origin = &tree->nodes[i].volume->shown.origin;
	char uuid[XU_UUID_TEXT_SIZE];
	size_t at;

	if (xu_uuid_is_null(origin)) {
		return;
	}
	xu_uuid_format(origin, uuid);
	at = find_node(tree, uuid);
	while (at != NONE && tree->nodes[at].parent != i) {
		at = tree->nodes[at].parent;
	}
	if (at != NONE) {
		tree->nodes[i].next = at;
	}
}

static int tree_init(struct tree *tree, struct xbdev_ctx *ctx)
{
	int rc;

	*tree = (struct tree){0};
	rc = collect(tree, ctx);
	for (size_t i = 0; i < tree->nr_nodes && rc == 0; i++) {
		const struct xbdev_lvol *parent = tree->nodes[i].volume->shown.parent;

		if (parent != NULL && parent->is_registered) {
			tree->nodes[i].parent = find_node(tree, parent->dev.name);
		}
	}
	for (size_t i = 0; i < tree->nr_nodes && rc == 0; i++) {
		size_t parent = tree->nodes[i].parent;

		if (parent != NONE && tree->nodes[parent].next == NONE) {
			tree->nodes[parent].next = i;
		}
	}
	for (size_t i = 0; i < tree->nr_nodes && rc == 0; i++) {
		follow_origin(tree, i);
	}
	return rc;
}

/* What a snapshot is of. */
static size_t end_of_line(const struct tree *tree, size_t i)
{
	while (tree->nodes[i].next != NONE) {
		i = tree->nodes[i].next;
	}
	return i;
}

/* The snapshot that a line stands on; NONE: on nothing. */
static size_t below_line(const struct tree *tree, size_t end)
{
	size_t i = end;

	while (tree->nodes[i].parent != NONE && tree->nodes[tree->nodes[i].parent].next == i) {
		i = tree->nodes[i].parent;
	}
	return tree->nodes[i].parent;
}

/* The snapshot that the end of a line is told to be a clone of; NONE: it is told as a volume. */
static size_t cloned_from(const struct tree *tree, size_t end)
{
	size_t below = below_line(tree, end), at = below;

	for (uint32_t count = 0; at != NONE; count++) {
		if (count == GENERATIONS_MAX) {
			return NONE;
		}
		at = below_line(tree, end_of_line(tree, at));
	}
	return below;
}

/* The device outside of its store that the line of a volume ends on, as a document says it; NULL:
 * none. */
static const char *device_of(const struct tree *tree, size_t end)
{
	const struct xbdev_device *dev = xbdev__lvol_esnap_device(tree->nodes[end].volume);

	return dev != NULL && below_line(tree, end) == NONE ? dev->name : NULL;
}

/* ---- entries ---- */

/* Takes the entry, which is NULL when there was no memory for it. */
static int add(json_t *list, json_t *entry, const struct xu_uuid *uuid)
{
	char text[XU_UUID_TEXT_SIZE];

	xu_uuid_format(uuid, text);
	if (entry == NULL || json_object_set_new(entry, "uuid", json_string(text)) != 0) {
		json_decref(entry);
		return -ENOMEM;
	}
	return json_array_append_new(list, entry) == 0 ? 0 : -ENOMEM;
}

static json_t *describe_volume(const struct xbdev_lvol_info *info)
{
	json_t *entry = json_pack("{s:s, s:s}", "name", info->name, "lvs_name", info->store);
	bool is_whole = info->size % MIB == 0;
	int rc = json_object_set_new(entry, is_whole ? "size_mb" : "size",
		json_integer((json_int_t)(is_whole ? info->size / MIB : info->size)));

	if (info->is_thin) {
		rc |= json_object_set_new(entry, "thin_provision", json_true());
	}
	if (info->is_read_only) {
		rc |= json_object_set_new(entry, "read_only", json_true());
	}
	if (rc != 0) {
		json_decref(entry);
		return NULL;
	}
	return entry;
}

static int add_volume(const struct tree *tree, size_t i, json_t *list)
{
	const struct xbdev_lvol_info *info = &tree->nodes[i].info;

	return tree->nodes[i].next == NONE && cloned_from(tree, i) == NONE &&
			       device_of(tree, i) == NULL
		       ? add(list, describe_volume(info), &info->uuid)
		       : 0;
}

static int add_clone(const struct tree *tree, size_t i, json_t *list)
{
	const struct node *node = &tree->nodes[i];
	size_t below = node->next == NONE ? cloned_from(tree, i) : NONE;
	const char *device = node->next == NONE ? device_of(tree, i) : NULL;

	if (device != NULL) {
		return add(list,
			json_pack("{s:s, s:s, s:s}", "name", node->info.name, "lvs_name",
				node->info.store, "source_bdev", device),
			&node->info.uuid);
	}
	return below == NONE ? 0
			     : add(list,
				       json_pack("{s:s, s:s}", "name", node->info.name,
					       "source_snap", name_of(tree, below)),
				       &node->info.uuid);
}

/* The snapshots of one line. */
static int add_snapshots(const struct tree *tree, size_t i, json_t *list)
{
	const char *of = name_of(tree, i);
	size_t below, at = i;
	int rc = 0;

	if (tree->nodes[i].next != NONE) {
		return 0;
	}
	below = below_line(tree, i);
	while (tree->nodes[at].parent != below) {
		at = tree->nodes[at].parent;
	}
	for (; at != i && rc == 0; at = tree->nodes[at].next) {
		const struct xbdev_lvol_info *info = &tree->nodes[at].info;

		rc = add(list, json_pack("{s:s, s:s}", "name", info->name, "source_vol", of),
			&info->uuid);
	}
	return rc;
}

static int save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err,
	int (*add_one)(const struct tree *tree, size_t i, json_t *list))
{
	struct tree tree;
	int rc = tree_init(&tree, ctx);

	for (size_t i = 0; i < tree.nr_nodes && rc == 0; i++) {
		rc = add_one(&tree, i, list);
	}
	tree_fini(&tree);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "describing the logical volumes");
}

int xbdev__volume_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	return save(ctx, list, err, add_volume);
}

int xbdev__snapshot_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	return save(ctx, list, err, add_snapshots);
}

int xbdev__clone_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	return save(ctx, list, err, add_clone);
}

/* With the settings that are not the defaults. */
static json_t *store_entry(
	const struct xbdev_lvol_store *store, const struct xbdev_lvol_store_info *info)
{
	static const struct xbdev_lvol_settings defaults = XBDEV_LVOL_SETTINGS_DEFAULT;
	struct xbdev_lvol_settings settings;
	json_t *entry = json_pack("{s:s, s:s, s:I}", "name", info->name, "base_bdev", info->device,
		"cluster_size", (json_int_t)info->cluster_size);
	int rc = 0;

	xbdev__lvol_store_settings(store, &settings);
	if (settings.space_wait_ms != defaults.space_wait_ms) {
		rc |= json_object_set_new(
			entry, "space_wait_ms", json_integer(settings.space_wait_ms));
	}
	if (memcmp(settings.percents, defaults.percents, sizeof(defaults.percents)) != 0) {
		rc |= json_object_set_new(entry, "low_percent", json_integer(settings.percents[0]));
		rc |= json_object_set_new(
			entry, "high_percent", json_integer(settings.percents[1]));
	}
	if (rc != 0) {
		json_decref(entry);
		return NULL;
	}
	return entry;
}

int xbdev__store_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	struct xbdev_lvol_store *store = NULL;
	int rc = 0;

	while (rc == 0 && (store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		struct xbdev_lvol_store_info info;

		xbdev__lvol_store_info(store, &info);
		if (xbdev__volume_check_name(info.name, NULL) == 0) {
			rc = add(list, store_entry(store, &info), &info.uuid);
		}
	}
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "describing the stores");
}
