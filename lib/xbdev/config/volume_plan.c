/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is to be done about a store, or about a volume, snapshot or clone. All of them lie on their
 * device and are found there, so an entry may be of something that is there already: then it is
 * compared, by its plan or, when the device comes with the same document, by its job. A volume can
 * be made larger and read-only; nothing is done that would lose what is in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/lvol/volume.h"

/* Clusters below this share pages of metadata: a sixteenth of the device at most. */
#define RATIO_CLUSTER_BYTES 65536u

uint32_t xbdev__volume_md_ratio(uint64_t cluster_size)
{
	uint64_t ratio = cluster_size * 100 / RATIO_CLUSTER_BYTES;

	if (cluster_size == 0 || cluster_size >= RATIO_CLUSTER_BYTES) {
		return 0;
	}
	return ratio != 0 ? (uint32_t)ratio : 1;
}

/* ---- stores ---- */

struct xbdev_lvol_store *xbdev__store_on(struct xbdev_ctx *ctx, const struct xbdev_device *dev)
{
	struct xbdev_lvol_store *store = NULL;
	struct xbdev_lvol_store_info info;

	while ((store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		xbdev__lvol_store_info(store, &info);
		if (strcmp(info.device, dev->name) == 0) {
			return store;
		}
	}
	return NULL;
}

const struct xbdev_device *xbdev__store_in_use(
	struct xbdev_ctx *ctx, const struct xbdev_lvol_store *store)
{
	struct xbdev_device *dev = NULL;

	while ((dev = xbdev__volume_next(ctx, dev)) != NULL) {
		if (xbdev__lvol_store_of(xbdev__volume_of(dev)) == store &&
			xbdev__base_nr_openers(dev) != 0) {
			return dev;
		}
	}
	return NULL;
}

/* Whether the entry says another UUID than this. */
static bool is_other_uuid(const json_t *entry, const struct xu_uuid *uuid)
{
	const char *text = json_string_value(json_object_get(entry, "uuid"));
	struct xu_uuid said;

	return text != NULL && (xu_uuid_parse(text, &said) != 0 || !xu_uuid_is_equal(&said, uuid));
}

int xbdev__store_compare(const json_t *entry, const struct xbdev_lvol_store *store,
	const char **ret_key, struct xu_error *err)
{
	const char *name = json_string_value(json_object_get(entry, "name"));
	const json_t *size = json_object_get(entry, "cluster_size");
	struct xbdev_lvol_store_info info;
	char text[XU_UUID_TEXT_SIZE];

	xbdev__lvol_store_info(store, &info);
	xu_uuid_format(&info.uuid, text);
	if (strcmp(name, info.name) != 0) {
		*ret_key = "name";
		return xu_error_set(err, -EEXIST, "'%.128s' holds the store '%.64s' (%s)",
			info.device, info.name, text);
	}
	if (is_other_uuid(entry, &info.uuid)) {
		*ret_key = "uuid";
		return xu_error_set(err, -EEXIST, "it is on '%.128s' already, with the UUID %s",
			info.device, text);
	}
	if (size != NULL && (uint64_t)json_integer_value(size) != info.cluster_size) {
		*ret_key = "cluster_size";
		return xu_error_set(err, -EEXIST,
			"it is on '%.128s' already, with clusters of %" PRIu64 " bytes",
			info.device, info.cluster_size);
	}
	return 0;
}

/* Whether an older entry said the same of a member. */
static bool was_said(const json_t *entry, const json_t *was, const char *key)
{
	const json_t *value = json_object_get(entry, key);
	const json_t *older = json_object_get(was, key);

	return was != NULL && (value == older || json_equal(value, older));
}

static const char *const setting_keys[] = {"space_wait_ms", "low_percent", "high_percent"};

bool xbdev__store_differs(const json_t *entry, const json_t *was,
	const struct xbdev_lvol_store *store, struct xbdev_lvol_settings *ret)
{
	struct xbdev_lvol_settings now;
	uint32_t *const values[] = {&ret->space_wait_ms, &ret->percents[0], &ret->percents[1]};

	xbdev__lvol_store_settings(store, &now);
	*ret = now;
	for (size_t i = 0; i < 3; i++) {
		const json_t *value = json_object_get(entry, setting_keys[i]);

		if (value != NULL && !was_said(entry, was, setting_keys[i])) {
			*values[i] = (uint32_t)json_integer_value(value);
		}
	}
	return memcmp(&now, ret, sizeof(now)) != 0;
}

/* The entry with those settings only that are new. */
static json_t *entry_of_settings(const json_t *wanted, const json_t *was)
{
	json_t *to = xbdev_config_copy(wanted);

	for (size_t i = 0; to != NULL && i < 3; i++) {
		if (was_said(wanted, was, setting_keys[i])) {
			json_object_del(to, setting_keys[i]);
		}
	}
	return to;
}

static int plan_settings(struct xbdev_planning *planning, const struct xbdev_lvol_store *store)
{
	const json_t *wanted = planning->wanted->entry;
	struct xbdev_lvol_settings settings;

	if (planning->mode == XBDEV_CONFIG_LOAD ||
		!xbdev__store_differs(wanted, planning->was, store, &settings)) {
		return 0;
	}
	planning->action = XBDEV_ACTION_CHANGE;
	planning->to = entry_of_settings(wanted, planning->was);
	snprintf(planning->key, sizeof(planning->key), "%s",
		json_object_get(planning->to, "space_wait_ms") != NULL ? "space_wait_ms"
								       : "low_percent");
	return planning->to != NULL ? 0 : -ENOMEM;
}

static int plan_store_to_go(struct xbdev_planning *planning)
{
	planning->action = XBDEV_ACTION_REMOVE;
	return 0; /* what keeps it is open volumes, which go with it and are asked themselves */
}

static int plan_store_to_change(struct xbdev_planning *planning)
{
	const json_t *wanted = planning->wanted->entry;
	const struct xbdev_lvol_store *store =
		xbdev__lvol_store_find(planning->ctx, planning->now->name);
	const struct xbdev_device *base = xbdev_device_find(
		planning->ctx, json_string_value(json_object_get(wanted, "base_bdev")));
	struct xbdev_lvol_store_info info;
	const char *key = "base_bdev";
	int rc;

	planning->action = XBDEV_ACTION_NONE;
	if (store == NULL || json_equal(wanted, planning->was)) {
		return 0;
	}
	xbdev__lvol_store_info(store, &info);
	if (base == NULL || strcmp(base->name, info.device) != 0) {
		planning->action = XBDEV_ACTION_REMAKE; /* another store of that name */
		rc = 0;
	} else {
		rc = xbdev__store_compare(wanted, store, &key, planning->err);
		if (rc == 0) {
			return plan_settings(planning, store);
		}
	}
	snprintf(planning->key, sizeof(planning->key), "%s", key);
	return rc;
}

/* As something new. */
static int plan_to_make(struct xbdev_planning *planning)
{
	planning->action = XBDEV_ACTION_MAKE;
	planning->to = xbdev_config_copy(planning->wanted->entry);
	return planning->to != NULL ? 0 : -ENOMEM;
}

int xbdev__store_plan(struct xbdev_planning *planning)
{
	int rc;

	if (planning->wanted == NULL) {
		return plan_store_to_go(planning);
	}
	rc = planning->now != NULL ? plan_store_to_change(planning) : plan_to_make(planning);
	return rc != -ENOMEM ? rc : xu_error_set_errno(planning->err, rc, "planning a store");
}

/* ---- what is in a store ---- */

static bool is_snapshots(const struct xbdev_section *section)
{
	return section == &xbdev__section_snapshots;
}

/* Whether the volume stands on the snapshot, directly or with others between them. */
static bool stands_on(const struct xbdev_lvol *volume, const char *snapshot)
{
	for (volume = volume->shown.parent; volume != NULL; volume = volume->shown.parent) {
		if (volume->is_registered && strcmp(volume->dev.name, snapshot) == 0) {
			return true;
		}
	}
	return false;
}

/* What a clone stands on: the snapshot or the device that it is said to be of, or nothing any more.
 */
static int compare_source(const json_t *entry, const struct xbdev_lvol *volume,
	const struct xbdev_lvol_info *info, const char **ret_key, struct xu_error *err)
{
	const char *snapshot = json_string_value(json_object_get(entry, "source_snap"));
	const char *device = json_string_value(json_object_get(entry, "source_bdev"));
	const struct xbdev_device *below = xbdev__lvol_esnap_device(volume);
	const char *other = info->parent != NULL ? info->parent : info->esnap;

	*ret_key = device != NULL ? "source_bdev" : "source_snap";
	if ((snapshot == NULL && device == NULL) || other == NULL ||
		(snapshot != NULL && stands_on(volume, snapshot)) ||
		(device != NULL && below != NULL &&
			below == xbdev_device_find(volume->store->ctx, device))) {
		return 0;
	}
	return xu_error_set(err, -EEXIST, "it is there already, and stands on '%.64s'", other);
}

/* What kind of thing it is. */
static int compare_kind(const struct xbdev_section *section, const json_t *entry,
	struct xbdev_lvol *volume, const struct xbdev_lvol_info *info, const char **ret_key,
	struct xu_error *err)
{
	*ret_key = "name";
	if (is_snapshots(section)) {
		return info->is_read_only ? 0
					  : xu_error_set(err, -EEXIST,
						    "it is there already, and no snapshot: it can "
						    "be written");
	}
	if (info->nr_clones != 0) {
		return xu_error_set(
			err, -EEXIST, "it is there already, and a snapshot: others stand on it");
	}
	return compare_source(entry, volume, info, ret_key, err);
}

/* Thick: nothing of it is missing. What stands on something always says that it is thin. */
static int compare_thin(
	const json_t *entry, const struct xbdev_lvol_info *info, struct xu_error *err)
{
	bool is_thin = json_is_true(json_object_get(entry, "thin_provision"));
	bool has_all = info->nr_allocated * info->cluster_size >= info->size;

	if (info->parent != NULL || info->esnap != NULL || info->is_thin == is_thin ||
		(info->is_thin && has_all)) {
		return 0;
	}
	return xu_error_set(err, -EOPNOTSUPP,
		info->is_thin ? "it is there already, and thin; xbdev_lvol_inflate() gives it all "
				"of its space"
			      : "it is there already, and has all of its space");
}

static int compare_size(
	const json_t *entry, const struct xbdev_lvol_info *info, struct xu_error *err)
{
	uint64_t cluster = info->cluster_size;
	uint64_t size = (xbdev__volume_size(entry) + cluster - 1) / cluster * cluster;

	if (size >= info->size) {
		return size > info->size ? XBDEV_VOLUME_GROW : XBDEV_VOLUME_SAME;
	}
	return xu_error_set(err, -EOPNOTSUPP,
		"it is there already, with %" PRIu64
		" bytes; a document makes no volume smaller, xbdev_lvol_resize() does",
		info->size);
}

static int compare_shape(const json_t *entry, const json_t *was, const struct xbdev_lvol_info *info,
	const char **ret_key, struct xu_error *err)
{
	int change = 0, rc;

	*ret_key = "thin_provision";
	if (!was_said(entry, was, *ret_key)) {
		rc = compare_thin(entry, info, err);
		if (rc != 0) {
			return rc;
		}
	}
	*ret_key = json_object_get(entry, "size") != NULL ? "size" : "size_mb";
	if (!was_said(entry, was, *ret_key)) {
		rc = compare_size(entry, info, err);
		if (rc < 0) {
			return rc;
		}
		change |= rc;
	}
	if (!was_said(entry, was, "read_only") && !info->is_read_only &&
		json_is_true(json_object_get(entry, "read_only"))) {
		change |= XBDEV_VOLUME_PROTECT;
		*ret_key = "read_only";
	}
	return change;
}

int xbdev__volume_compare(const struct xbdev_section *section, const json_t *entry,
	const json_t *was, struct xbdev_lvol *volume, const char **ret_key, struct xu_error *err)
{
	struct xbdev_lvol_info info;
	char text[XU_UUID_TEXT_SIZE];
	int rc;

	xbdev__lvol_info(volume, &info);
	*ret_key = "uuid";
	if (is_other_uuid(entry, &info.uuid)) {
		xu_uuid_format(&info.uuid, text);
		return xu_error_set(err, -EEXIST, "it is there already, with the UUID %s", text);
	}
	rc = compare_kind(section, entry, volume, &info, ret_key, err);
	if (rc == 0 && section == &xbdev__section_lvol_volumes) {
		rc = compare_shape(entry, was, &info, ret_key, err);
	}
	return rc;
}

static int plan_volume_to_go(struct xbdev_planning *planning)
{
	const struct xbdev_device *dev = xbdev_device_find(planning->ctx, planning->now->name);

	planning->action = XBDEV_ACTION_REMOVE;
	return dev == NULL || xbdev__base_nr_others(dev) <= planning->nr_users
		       ? 0
		       : xu_error_set(planning->err, -EBUSY, "it is open; close it first");
}

/* The entry with what is to be changed, and nothing else that could be. */
static json_t *entry_of_change(const json_t *wanted, int change)
{
	json_t *to = xbdev_config_copy(wanted);

	if (to != NULL && (change & XBDEV_VOLUME_GROW) == 0) {
		json_object_del(to, "size");
		json_object_del(to, "size_mb");
	}
	if (to != NULL && (change & XBDEV_VOLUME_PROTECT) == 0) {
		json_object_del(to, "read_only");
	}
	return to;
}

static int plan_volume_to_change(struct xbdev_planning *planning)
{
	const json_t *wanted = planning->wanted->entry;
	struct xbdev_lvol *volume = xbdev__lvol_find(planning->ctx, planning->now->name);
	const char *key = "name";
	int rc = 0;

	planning->action = XBDEV_ACTION_NONE;
	if (volume != NULL && !json_equal(wanted, planning->was)) {
		rc = xbdev__volume_compare(planning->wanted->section, wanted, planning->was, volume,
			&key, planning->err);
	}
	snprintf(planning->key, sizeof(planning->key), "%s", key);
	if (rc <= 0) {
		return rc;
	}
	planning->action = XBDEV_ACTION_CHANGE;
	planning->is_final = true; /* what has been written to the new part must not be lost */
	planning->to = entry_of_change(wanted, rc);
	return planning->to != NULL ? 0 : -ENOMEM;
}

int xbdev__volume_plan(struct xbdev_planning *planning)
{
	int rc;

	if (planning->wanted == NULL) {
		return plan_volume_to_go(planning);
	}
	rc = planning->now != NULL ? plan_volume_to_change(planning) : plan_to_make(planning);
	return rc != -ENOMEM ? rc
			     : xu_error_set_errno(planning->err, rc, "planning a logical volume");
}
