/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores and volumes as JSON. SPDK's clients find all that they know; what is ours stands behind:
 * what a store has promised, what a volume stands on, what is being done with it, and why one
 * cannot be used.
 */
#include "lib/xbdev/mgmt/lvol_json.h"

#include <string.h>

/* Adds a text where there is one. */
static void set_text(json_t *object, const char *key, const char *text)
{
	if (text != NULL) {
		json_object_set_new(object, key, json_string(text));
	}
}

json_t *xbdev__mgmt_lvs_json(const struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_store_info info;
	struct xbdev_lvol_settings settings;
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *object;

	xbdev__lvol_store_info(store, &info);
	xbdev__lvol_store_settings(store, &settings);
	xu_uuid_format(&info.uuid, uuid);
	object = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "uuid", uuid, "name",
		info.name, "base_bdev", info.device, "total_data_clusters",
		(json_int_t)info.total_clusters, "free_clusters", (json_int_t)info.free_clusters,
		"block_size", (json_int_t)info.block_size, "cluster_size",
		(json_int_t)info.cluster_size, "promised_clusters",
		(json_int_t)info.promised_clusters, "num_lvols", (json_int_t)info.nr_volumes);
	json_object_update_new(object,
		json_pack("{s:I, s:I, s:I}", "space_wait_ms", (json_int_t)settings.space_wait_ms,
			"low_percent", (json_int_t)settings.percents[0], "high_percent",
			(json_int_t)settings.percents[1]));
	set_text(object, "read_only_reason", info.read_only_reason);
	return object;
}

/* The names of what stands on a volume. */
static json_t *clones_json(struct xbdev_lvol *volume, const struct xbdev_lvol_info *info)
{
	struct xbdev_lvol_store *store = xbdev__lvol_store_of(volume);
	struct xbdev_lvol *other = NULL;
	json_t *list = json_array();

	while (info->nr_clones > 0 && (other = xbdev__lvol_next(store, other)) != NULL) {
		struct xbdev_lvol_info child;

		xbdev__lvol_info(other, &child);
		if (child.parent != NULL && strcmp(child.parent, info->name) == 0) {
			json_array_append_new(list, json_string(child.name));
		}
	}
	return list;
}

static json_t *store_json(const struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_store_info info;
	char uuid[XU_UUID_TEXT_SIZE];

	xbdev__lvol_store_info(store, &info);
	xu_uuid_format(&info.uuid, uuid);
	return json_pack("{s:s, s:s}", "name", info.name, "uuid", uuid);
}

/* Takes the list of clones. */
static json_t *info_json(const struct xbdev_lvol_store *store, const struct xbdev_lvol_info *info,
	bool is_device, json_t *clones)
{
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *object;

	xu_uuid_format(&info->uuid, uuid);
	object = json_pack("{s:o, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:I, s:o}", "alias",
		json_sprintf("%s/%s", info->store, info->name), "uuid", uuid, "name", info->name,
		"is_thin_provisioned", (int)info->is_thin, "is_snapshot", info->nr_clones > 0,
		"is_clone", info->parent != NULL || info->esnap != NULL, "is_esnap_clone",
		info->esnap != NULL, "is_degraded", !is_device, "num_allocated_clusters",
		(json_int_t)info->nr_allocated, "lvs", store_json(store));
	json_object_update_new(object,
		json_pack("{s:I, s:I, s:b, s:b, s:o}", "size", (json_int_t)info->size,
			"cluster_size", (json_int_t)info->cluster_size, "read_only",
			(int)info->is_read_only, "hidden", (int)info->is_hidden, "clones", clones));
	set_text(object, "base_snapshot", info->parent);
	set_text(object, "external_snapshot_name",
		info->esnap_device != NULL ? info->esnap_device : info->esnap);
	set_text(object, "external_snapshot_id", info->esnap);
	set_text(object, "reason", info->reason);
	if (info->busy != NULL) {
		json_object_set_new(object, "process",
			json_pack("{s:s, s:f}", "type", info->busy, "percent",
				(double)info->busy_permille / 10));
	}
	return object;
}

json_t *xbdev__mgmt_lvol_json(struct xbdev_lvol *volume)
{
	struct xbdev_lvol_info info;

	xbdev__lvol_info(volume, &info);
	return info_json(xbdev__lvol_store_of(volume), &info, xbdev__lvol_device(volume) != NULL,
		clones_json(volume, &info));
}

json_t *xbdev__mgmt_making_json(
	const struct xbdev_lvol_store *store, const struct xbdev_lvol_op *making)
{
	struct xbdev_lvol_info info;

	xbdev__lvol_making_info(making, &info);
	return info_json(store, &info, false, json_array());
}
