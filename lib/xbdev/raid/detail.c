/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an array tells of itself: the parameters that would assemble it again, and its state. The
 * state is the owner's, so it is looked at there and carried to the control reactor as a copy.
 */
#include "lib/xbdev/raid/raid.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/behind.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/sync.h"

/* ---- a look ---- */

struct look {
	struct xbdev_md_array *array;
	struct xbdev_desc *hold;
	struct xr_msg msg;
	struct xbdev_md_info info;
	void (*cb)(void *arg, const struct xbdev_md_info *info);
	void *arg;
};

static void fill_disk(struct xbdev_md_info *info, const struct xbdev_md_member *member)
{
	struct xbdev_md_disk *disk = &info->disks[info->nr_disks++];

	memset(disk, 0, sizeof(*disk));
	disk->number = member->super.dev_number;
	disk->role = member->state == XBDEV_MD_MEMBER_RECOVERING ||
				     member->state == XBDEV_MD_MEMBER_IN_SYNC
			     ? (int32_t)member->role
			     : -1;
	disk->state = member->state == XBDEV_MD_MEMBER_IN_SYNC      ? XBDEV_MD_DISK_IS_IN_SYNC
		      : member->state == XBDEV_MD_MEMBER_RECOVERING ? XBDEV_MD_DISK_IS_RECOVERING
		      : member->state == XBDEV_MD_MEMBER_SPARE      ? XBDEV_MD_DISK_IS_SPARE
								    : XBDEV_MD_DISK_IS_FAULTY;
	disk->is_replacement = member->is_replacement;
	disk->is_write_mostly = (member->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0;
	memcpy(disk->name, member->name, sizeof(disk->name));
	disk->size_sectors = member->super.data_size;
	disk->recovered_sectors = member->recovery_offset == XBDEV_MD_NEVER
					  ? member->array->geo.member_size
					  : member->recovery_offset;
	disk->nr_corrected_sectors = member->super.cnt_corrected_read;
	disk->nr_bad_ranges = member->bad != NULL ? member->bad->count : 0;
}

static void fill_disks(const struct xbdev_md_array *array, struct xbdev_md_info *info)
{
	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		if (array->roles[role] != NULL) {
			fill_disk(info, array->roles[role]);
			continue;
		}
		info->disks[info->nr_disks++] = (struct xbdev_md_disk){
			.state = XBDEV_MD_DISK_IS_MISSING,
			.number = UINT32_MAX,
			.role = (int32_t)role,
		};
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];
		bool is_shown = member != NULL && member->state != XBDEV_MD_MEMBER_SPARE &&
				array->roles[member->role] == member;

		if (member != NULL && !is_shown && info->nr_disks < XBDEV_MD_MAX_DISKS_INFO) {
			fill_disk(info, member);
		}
	}
}

static void fill_sync(const struct xbdev_md_array *array, struct xbdev_md_info *info)
{
	enum xbdev_md_sync_kind kind = XBDEV_MD_SYNC_IDLE;

	xbdev__md_sync_progress(
		array, &kind, &info->sync_done, &info->sync_total, &info->sync_speed_kib);
	info->sync_action = xbdev__md_sync_name(kind);
	info->mismatch_sectors = array->mismatch_sectors;
	info->speed_min_kib = array->sync_speed_min;
	info->speed_max_kib = array->sync_speed_max;
	info->priority = array->priority;
	info->is_waiting = array->is_waiting;
}

/* mdadm's words. */
static const char *consistency_of(const struct xbdev_md_super *super)
{
	return xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)                           ? "bitmap"
	       : xbdev__md_super_has(super, XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS) ? "ppl"
	       : xbdev__md_super_has(super, XBDEV_MD_F_JOURNAL)                        ? "journal"
	       : super->level > 0                                                      ? "resync"
										       : "none";
}

static void fill(const struct xbdev_md_array *array, struct xbdev_md_info *info)
{
	char buf[32];
	const char *layout = xbdev__md_layout_name(&array->geo, buf);

	info->level = array->geo.level;
	info->layout = array->geo.layout;
	strncpy(info->layout_name, layout != NULL ? layout : "", sizeof(info->layout_name) - 1);
	info->raid_disks = array->geo.raid_disks;
	info->chunk_bytes = (uint64_t)array->geo.chunk * XBDEV_MD_SECTOR;
	info->array_sectors = array->geo.array_size;
	info->member_sectors = array->geo.member_size;
	info->policy = (enum xbdev_md_policy)array->made.policy;
	info->state = array->is_broken   ? XBDEV_MD_ARRAY_BROKEN
		      : array->is_active ? XBDEV_MD_ARRAY_ACTIVE
					 : XBDEV_MD_ARRAY_CLEAN;
	info->is_read_only = array->is_read_only;
	info->is_frozen = array->is_frozen;
	info->is_resync_due = array->in_sync_below != XBDEV_MD_NEVER;
	info->nr_degraded = array->nr_degraded;
	info->uuid = array->super.set_uuid;
	memcpy(info->set_name, array->super.set_name, sizeof(info->set_name));
	info->ctime_s = array->super.ctime & ((1ull << 40) - 1);
	info->utime_s = array->super.utime;
	info->events = array->super.events;
	info->consistency = array->has_journal ? "journal" : consistency_of(&array->super);
	info->nr_stripes = array->nr_stripes;
	info->write_behind = xbdev__md_behind_max(array);
	info->nr_behind = array->behind.nr;
	fill_sync(array, info);
	fill_disks(array, info);
}

static void on_looked(struct xr_msg *msg)
{
	struct look *look = xu_container_of(msg, struct look, msg);

	snprintf(look->info.spare_group, sizeof(look->info.spare_group), "%s",
		xbdev__md_keep_group(look->array));
	xbdev_desc_close(look->hold);
	look->cb(look->arg, &look->info);
	free(look);
}

static void on_look(struct xr_msg *msg)
{
	struct look *look = xu_container_of(msg, struct look, msg);

	fill(look->array, &look->info);
	look->msg.fn = on_looked;
	xr_msg_send(xbdev_ctx_control(look->array->dev.ctx), &look->msg);
}

void xbdev__md_info_get(struct xbdev_device *dev,
	void (*cb)(void *arg, const struct xbdev_md_info *info), void *arg)
{
	struct look *look = calloc(1, sizeof(*look));

	if (look == NULL ||
		xbdev_desc_open(dev->ctx, dev->name, false, NULL, NULL, &look->hold, NULL) != 0) {
		free(look);
		cb(arg, NULL);
		return;
	}
	look->array = xbdev__md_array_of(dev);
	look->cb = cb;
	look->arg = arg;
	look->msg.fn = on_look;
	xr_msg_send(look->array->reactor, &look->msg);
}

/* ---- the device's own ---- */

bool xbdev__md_is_array(const struct xbdev_device *dev)
{
	return dev->ops == &xbdev__md_device_ops;
}

struct xbdev_device *xbdev__md_array_that_has(const struct xbdev_device *base)
{
	struct xbdev_device *dev = NULL;

	while (base->claim != NULL && (dev = xbdev_device_next(base->ctx, dev)) != NULL) {
		if (xbdev__md_is_array(dev) &&
			xbdev__md_is_member_desc(base->claim, xbdev__md_array_of(dev))) {
			return dev;
		}
	}
	return NULL;
}

static enum xbdev_md_policy policy_of(const struct xbdev_md_array *array)
{
	return xbdev__md_super_has(&array->super, XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS)
		       ? XBDEV_MD_POLICY_PPL
	       : array->has_journal ? XBDEV_MD_POLICY_JOURNAL
				    : XBDEV_MD_POLICY_RESYNC;
}

void xbdev__md_note_made(struct xbdev_md_array *array)
{
	array->made.policy = policy_of(array);
	if (array->bitmap != NULL) {
		array->made.bitmap_chunk_bytes = array->bitmap->header.chunksize;
		array->made.write_behind = xbdev__md_behind_max(array);
	}
}

void xbdev__md_show(struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];
		uint32_t shown;

		if (member == NULL) {
			continue;
		}
		shown = array->roles[member->role] == member ? member->role + 1 : 0;
		if ((member->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0) {
			shown |= XBDEV_MD_SHOWN_MOSTLY;
		}
		atomic_store(&member->shown, shown);
	}
}

/* What an entry says of the members; NULL in `roles`: nobody has it. */
struct listing {
	const char *roles[XBDEV_MD_MAX_DISKS];
	json_t *members, *mostly;
	int rc;
};

static void list_member(
	struct listing *listing, const char *name, const struct xbdev_md_member *member)
{
	listing->rc |= json_array_append_new(
		listing->members, json_string(name != NULL ? name : XBDEV_MD_MISSING));
	if (name != NULL && (atomic_load(&member->shown) & XBDEV_MD_SHOWN_MOSTLY) != 0) {
		listing->rc |= json_array_append_new(listing->mostly, json_string(name));
	}
}

/* Those with a role by that, then the others. They are asked for by the control reactor, through
 * those that it has opened: the claims. */
static void list_members(struct listing *listing, const struct xbdev_md_array *array)
{
	const struct xbdev_md_member *roles[XBDEV_MD_MAX_DISKS] = {NULL}, *member;
	struct xbdev_device *base = NULL;

	while ((base = xbdev_device_next(array->dev.ctx, base)) != NULL) {
		member = xbdev__md_member_at(base, array);
		if (member != NULL) {
			uint32_t role = atomic_load(&member->shown) & ~XBDEV_MD_SHOWN_MOSTLY;

			if (role != 0 && roles[role - 1] == NULL) {
				roles[role - 1] = member;
				listing->roles[role - 1] = base->name;
			}
		}
	}
	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		list_member(listing, listing->roles[role], roles[role]);
	}
	while ((base = xbdev_device_next(array->dev.ctx, base)) != NULL) {
		bool has_role = false;

		member = xbdev__md_member_at(base, array);
		for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
			has_role |= roles[role] == member;
		}
		if (member != NULL && !has_role) {
			list_member(listing, base->name, member);
		}
	}
}

static int add_number(json_t *config, const char *key, uint64_t value, uint64_t otherwise)
{
	return value == otherwise
		       ? 0
		       : json_object_set_new(config, key, json_integer((json_int_t)value));
}

/* What never changes, left out where it is what an entry without it says. */
static int add_shape(json_t *config, const struct xbdev_md_array *array, size_t nr_members)
{
	static const char *const policies[] = {
		[XBDEV_MD_POLICY_PPL] = "ppl", [XBDEV_MD_POLICY_JOURNAL] = "journal"};
	const struct xbdev_md_geometry *geo = &array->geo;
	uint32_t bitmap_chunk = array->made.bitmap_chunk_bytes;
	char buf[32];
	const char *layout = xbdev__md_layout_name(geo, buf);
	int rc = add_number(config, "raid_disks", geo->raid_disks, nr_members);

	rc |= add_number(config, "chunk_size", (uint64_t)geo->chunk * XBDEV_MD_SECTOR, 0);
	if (layout != NULL && geo->layout != xbdev__md_layout_default(geo->level)) {
		rc |= json_object_set_new(config, "layout", json_string(layout));
	}
	if (policies[array->made.policy] != NULL) {
		rc |= json_object_set_new(
			config, "consistency_policy", json_string(policies[array->made.policy]));
	}
	/* Linux makes smaller and larger ones, too, which an entry cannot ask for. */
	if (bitmap_chunk >= XBDEV_MD_BITMAP_CHUNK_MIN &&
		bitmap_chunk <= XBDEV_MD_BITMAP_CHUNK_MAX) {
		rc |= add_number(config, "bitmap_chunk", bitmap_chunk, 0);
		rc |= add_number(config, "write_behind", array->made.write_behind, 0);
	}
	return rc;
}

/* What is not on the members, where it is not the default. */
static int add_rest(json_t *config, const struct xbdev_md_array *array)
{
	const char *group = xbdev__md_keep_group(array);
	int rc = add_number(
		config, "priority", xbdev__md_keep_priority(array), XBDEV_REBUILD_PRIORITY_DEFAULT);

	if (*group != '\0') {
		rc |= json_object_set_new(config, "spare_group", json_string(group));
	}
	return rc | add_number(config, "stripe_cache_size", array->nr_stripes, 0);
}

json_t *xbdev__md_config(const struct xbdev_device *dev)
{
	const struct xbdev_md_array *array = xbdev__md_array_of(dev);
	json_t *config = xbdev__config_common(dev);
	struct listing listing = {.members = json_array(), .mostly = json_array()};
	char level[24];
	int rc = json_object_set_new(
		config, "level", json_string(xbdev__md_level_name(array->geo.level, level)));

	list_members(&listing, array);
	rc |= listing.rc | add_shape(config, array, json_array_size(listing.members));
	rc |= json_object_set_new(config, "members", listing.members);
	if (json_array_size(listing.mostly) != 0) {
		rc |= json_object_set(config, "write_mostly", listing.mostly);
	}
	json_decref(listing.mostly);
	rc |= add_rest(config, array);
	if (rc != 0) {
		json_decref(config);
		return NULL;
	}
	return config;
}

json_t *xbdev__md_info(const struct xbdev_device *dev)
{
	const struct xbdev_md_array *array = xbdev__md_array_of(dev);
	char level[24];

	/* Of the owner's only what never changes; the rest is xbdev__md_info_get()'s. */
	return json_pack("{s:s, s:i, s:I}", "level", xbdev__md_level_name(array->geo.level, level),
		"raid_disks", (int)array->geo.raid_disks, "chunk_size",
		(json_int_t)array->geo.chunk * XBDEV_MD_SECTOR);
}
