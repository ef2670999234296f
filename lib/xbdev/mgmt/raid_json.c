/* SPDX-License-Identifier: BSD-3-Clause */
/* Arrays and superblocks as JSON: SPDK's form of an array, and everything that mdadm shows. */
#include "lib/xbdev/mgmt/raid_json.h"

#include <string.h>

#include "lib/xbdev/raid/describe.h"

static const char *const disk_states[] = {
	[XBDEV_MD_DISK_IS_IN_SYNC] = "active",
	[XBDEV_MD_DISK_IS_RECOVERING] = "rebuilding",
	[XBDEV_MD_DISK_IS_SPARE] = "spare",
	[XBDEV_MD_DISK_IS_FAULTY] = "faulty",
	[XBDEV_MD_DISK_IS_MISSING] = "removed",
};

/* A name from a disk, which may hold any bytes. */
static const char *printable(const char *name, char buf[static XBDEV_MD_NAME_BYTES + 1])
{
	size_t i;

	for (i = 0; i < XBDEV_MD_NAME_BYTES && name[i] != '\0'; i++) {
		buf[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
	}
	buf[i] = '\0';
	return buf;
}

static uint32_t count_disks(const struct xbdev_md_info *info, enum xbdev_md_disk_state state)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < info->nr_disks; i++) {
		count += info->disks[i].state == state;
	}
	return count;
}

static bool is_syncing(const struct xbdev_md_info *info)
{
	return strcmp(info->sync_action, "idle") != 0;
}

static double percent(const struct xbdev_md_info *info)
{
	return info->sync_total != 0 ? 100.0 * (double)info->sync_done / (double)info->sync_total
				     : 100.0;
}

/* ---- SPDK's form ---- */

json_t *xbdev__mgmt_raid_bdev(const char *name, const struct xbdev_md_info *info)
{
	json_t *list = json_array(), *object;
	char level[24], uuid[XU_UUID_TEXT_SIZE];
	uint32_t nr_present = 0;

	for (uint32_t i = 0; i < info->raid_disks && i < info->nr_disks; i++) {
		const struct xbdev_md_disk *disk = &info->disks[i];
		bool is_there = disk->state != XBDEV_MD_DISK_IS_MISSING;

		nr_present += is_there;
		json_array_append_new(list,
			json_pack("{s:o, s:b, s:I}", "name",
				is_there ? json_string(disk->name) : json_null(), "is_configured",
				disk->state == XBDEV_MD_DISK_IS_IN_SYNC, "data_size",
				(json_int_t)disk->size_sectors * XBDEV_MD_SECTOR));
	}
	xu_uuid_format(&info->uuid, uuid);
	object = json_pack("{s:s, s:s, s:I, s:s, s:s, s:b, s:i, s:i, s:i, s:o}", "name", name,
		"uuid", uuid, "strip_size_kb", (json_int_t)(info->chunk_bytes >> 10), "state",
		info->state == XBDEV_MD_ARRAY_BROKEN ? "offline" : "online", "raid_level",
		xbdev__md_level_name(info->level, level), "superblock", 1, "num_base_bdevs",
		(int)info->raid_disks, "num_base_bdevs_discovered", (int)nr_present,
		"num_base_bdevs_operational", (int)(info->raid_disks - info->nr_degraded),
		"base_bdevs_list", list);
	if (is_syncing(info)) {
		json_object_set_new(object, "process",
			json_pack("{s:s, s:{s:I, s:I}}", "type", info->sync_action, "progress",
				"blocks", (json_int_t)info->sync_done, "percent",
				(json_int_t)percent(info)));
	}
	return object;
}

/* ---- everything ---- */

static json_t *disk_json(const struct xbdev_md_disk *disk)
{
	bool is_there = disk->state != XBDEV_MD_DISK_IS_MISSING;
	json_t *object = json_pack("{s:o, s:s, s:i}", "name",
		is_there ? json_string(disk->name) : json_null(), "state", disk_states[disk->state],
		"raid_disk", (int)disk->role);

	if (is_there) {
		json_object_set_new(object, "number", json_integer(disk->number));
		json_object_set_new(object, "size",
			json_integer((json_int_t)disk->size_sectors * XBDEV_MD_SECTOR));
		json_object_set_new(object, "recovered",
			json_integer((json_int_t)disk->recovered_sectors * XBDEV_MD_SECTOR));
		json_object_set_new(object, "is_replacement", json_boolean(disk->is_replacement));
		json_object_set_new(object, "is_write_mostly", json_boolean(disk->is_write_mostly));
		json_object_set_new(
			object, "corrected_sectors", json_integer(disk->nr_corrected_sectors));
		json_object_set_new(object, "bad_ranges", json_integer(disk->nr_bad_ranges));
	}
	return object;
}

static json_t *sync_json(const struct xbdev_md_info *info)
{
	json_t *object = json_pack("{s:s, s:b, s:b, s:I, s:I, s:I}", "action", info->sync_action,
		"frozen", info->is_frozen, "resync_due", info->is_resync_due, "mismatch_sectors",
		(json_int_t)info->mismatch_sectors, "speed_min", (json_int_t)info->speed_min_kib,
		"speed_max", (json_int_t)info->speed_max_kib);

	if (is_syncing(info)) {
		json_object_set_new(
			object, "done_sectors", json_integer((json_int_t)info->sync_done));
		json_object_set_new(
			object, "total_sectors", json_integer((json_int_t)info->sync_total));
		json_object_set_new(object, "percent", json_real(percent(info)));
		json_object_set_new(
			object, "speed", json_integer((json_int_t)info->sync_speed_kib));
	}
	return object;
}

json_t *xbdev__mgmt_raid_detail(const char *name, const struct xbdev_md_info *info)
{
	static const char *const states[] = {
		[XBDEV_MD_ARRAY_CLEAN] = "clean",
		[XBDEV_MD_ARRAY_ACTIVE] = "active",
		[XBDEV_MD_ARRAY_BROKEN] = "failed",
	};
	json_t *disks = json_array(), *object;
	char level[24], uuid[XU_UUID_TEXT_SIZE], set_name[XBDEV_MD_NAME_BYTES + 1];

	for (uint32_t i = 0; i < info->nr_disks; i++) {
		json_array_append_new(disks, disk_json(&info->disks[i]));
	}
	xu_uuid_format(&info->uuid, uuid);
	object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:s, s:b, s:b}", "name",
		name, "uuid", uuid, "set_name", printable(info->set_name, set_name), "raid_level",
		xbdev__md_level_name(info->level, level), "layout", info->layout_name, "chunk_size",
		(json_int_t)info->chunk_bytes, "size",
		(json_int_t)info->array_sectors * XBDEV_MD_SECTOR, "member_size",
		(json_int_t)info->member_sectors * XBDEV_MD_SECTOR, "raid_disks",
		(int)info->raid_disks, "state", states[info->state], "degraded",
		info->nr_degraded != 0, "read_only", info->is_read_only);
	json_object_update_new(object,
		json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I}", "active_disks",
			(int)count_disks(info, XBDEV_MD_DISK_IS_IN_SYNC), "rebuilding_disks",
			(int)count_disks(info, XBDEV_MD_DISK_IS_RECOVERING), "spare_disks",
			(int)count_disks(info, XBDEV_MD_DISK_IS_SPARE), "failed_disks",
			(int)count_disks(info, XBDEV_MD_DISK_IS_FAULTY), "created",
			(json_int_t)info->ctime_s, "updated", (json_int_t)info->utime_s, "events",
			(json_int_t)info->events));
	json_object_set_new(object, "consistency_policy", json_string(info->consistency));
	json_object_set_new(object, "spare_group", json_string(info->spare_group));
	json_object_set_new(object, "priority", json_integer(info->priority));
	json_object_set_new(object, "write_behind", json_integer(info->write_behind));
	json_object_set_new(object, "writes_behind", json_integer(info->nr_behind));
	json_object_set_new(object, "sync", sync_json(info));
	json_object_set_new(object, "disks", disks);
	return object;
}

/* ---- superblocks ---- */

/* Where things lie, in bytes; "bitmap_offset" and "bad_block_log_offset" from the superblock on. */
static json_t *places_json(const struct xbdev_md_super *super)
{
	uint64_t before, after;
	json_t *object;

	xbdev__md_super_unused(super, &before, &after);
	object = json_pack("{s:I, s:I, s:I, s:b}", "super_offset",
		(json_int_t)XBDEV_MD_SUPER_OFFSET * XBDEV_MD_SECTOR, "unused_before",
		(json_int_t)before * XBDEV_MD_SECTOR, "unused_after",
		(json_int_t)after * XBDEV_MD_SECTOR, "bad_blocks",
		xbdev__md_super_has(super, XBDEV_MD_F_BAD_BLOCKS));
	if (xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)) {
		json_object_set_new(object, "bitmap_offset",
			json_integer(
				(json_int_t)super->bitmap_offset * (json_int_t)XBDEV_MD_SECTOR));
	}
	if (super->bblog_offset != 0) {
		json_object_set_new(object, "bad_block_log_offset",
			json_integer(
				(json_int_t)super->bblog_offset * (json_int_t)XBDEV_MD_SECTOR));
		json_object_set_new(object, "bad_block_log_size",
			json_integer((json_int_t)super->bblog_size * XBDEV_MD_SECTOR));
	}
	return object;
}

/* What the array looks like from this member. */
static json_t *view_json(const struct xbdev_md_super *super)
{
	char layout[32], state[XBDEV_MD_MAX_DEV_ROLES + 1];

	xbdev__md_super_roles_text(super, state, sizeof(state));
	return json_pack("{s:I, s:s, s:s, s:i, s:b}", "array_size",
		(json_int_t)xbdev__md_super_array_size(super) * XBDEV_MD_SECTOR, "layout_name",
		xbdev__md_super_layout_name(super, layout), "array_state", state, "number",
		(int)super->dev_number, "is_write_mostly",
		(super->devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0);
}

/* Sizes are bytes, as elsewhere. */
static json_t *bitmap_json(const struct xbdev_md_examined *examined)
{
	const struct xbdev_md_bitmap_header *header = &examined->bitmap;
	char uuid[XU_UUID_TEXT_SIZE];

	xu_uuid_format(&header->uuid, uuid);
	return json_pack("{s:i, s:s, s:I, s:I, s:b, s:I, s:i, s:i, s:I, s:I, s:I}", "version",
		(int)header->version, "uuid", uuid, "events", (json_int_t)header->events,
		"events_cleared", (json_int_t)header->events_cleared, "out_of_date",
		(header->state & XBDEV_MD_BITMAP_STALE) != 0, "chunk_size",
		(json_int_t)header->chunksize, "flush_period", (int)header->daemon_sleep_s,
		"write_behind", (int)header->write_behind, "sync_size",
		(json_int_t)header->sync_size * XBDEV_MD_SECTOR, "bits",
		(json_int_t)examined->nr_bits, "dirty", (json_int_t)examined->nr_dirty);
}

json_t *xbdev__mgmt_raid_examined(const char *name, const struct xbdev_md_examined *examined)
{
	const struct xbdev_md_super *super = &examined->super;
	char level[24], uuid[XU_UUID_TEXT_SIZE], device_uuid[XU_UUID_TEXT_SIZE], role[32];
	char set_name[XBDEV_MD_NAME_BYTES + 1];
	bool is_clean = super->resync_offset == XBDEV_MD_CLEAN;
	json_t *object;

	xu_uuid_format(&super->set_uuid, uuid);
	xu_uuid_format(&super->device_uuid, device_uuid);
	xbdev__md_super_role_text(super, role, sizeof(role));
	object = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:I}", "name", name,
		"version", "1.2", "feature_map", (json_int_t)super->feature_map, "uuid", uuid,
		"set_name", printable(super->set_name, set_name), "device_uuid", device_uuid,
		"raid_level", xbdev__md_level_name(super->level, level), "layout",
		(json_int_t)super->layout, "raid_disks", (int)super->raid_disks, "chunk_size",
		(json_int_t)super->chunksize * XBDEV_MD_SECTOR, "member_size",
		(json_int_t)super->size * XBDEV_MD_SECTOR);
	json_object_update_new(object,
		json_pack("{s:I, s:I, s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:s}", "device_size",
			(json_int_t)examined->dev_sectors * XBDEV_MD_SECTOR, "data_offset",
			(json_int_t)super->data_offset * XBDEV_MD_SECTOR, "available_size",
			(json_int_t)super->data_size * XBDEV_MD_SECTOR, "role", role, "clean",
			is_clean, "events", (json_int_t)super->events, "created",
			(json_int_t)(super->ctime & ((1ull << 40) - 1)), "updated",
			(json_int_t)super->utime, "checksum", (json_int_t)examined->checksum,
			"used_by", examined->by));
	json_object_update_new(object, view_json(super));
	json_object_update_new(object, places_json(super));
	if (!is_clean) {
		json_object_set_new(object, "resync_offset",
			json_integer((json_int_t)super->resync_offset * XBDEV_MD_SECTOR));
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET)) {
		json_object_set_new(object, "recovery_offset",
			json_integer((json_int_t)super->recovery_offset * XBDEV_MD_SECTOR));
	}
	if (examined->has_bitmap) {
		json_object_set_new(object, "bitmap", bitmap_json(examined));
	}
	return object;
}
