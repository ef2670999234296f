/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What arrays and superblocks say, in the public structures. They are filled on the control reactor
 * while their owner waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/api/private.h"
#include "lib/xbdev/raid/describe.h"
#include "lib/xbdev/raid/examine.h"
#include "lib/xbdev/raid/raid.h"

#define NR_DISKS     32u
#define KIB(sectors) ((sectors) / 2)

/* Copies a text as far as there is room. */
#define COPY(to, from) snprintf(to, sizeof(to), "%.*s", (int)sizeof(to) - 1, from)

/* ---- arrays ---- */

static int state_of(const struct xbdev_md_info *info)
{
	if (info->state == XBDEV_MD_ARRAY_BROKEN) {
		return XBDEV_MD_STATE_FAILED;
	}
	if (strcmp(info->sync_action, "recovery") == 0) {
		return XBDEV_MD_STATE_RECOVERING;
	}
	if (strcmp(info->sync_action, "resync") == 0) {
		return XBDEV_MD_STATE_RESYNCING;
	}
	return info->nr_degraded != 0                 ? XBDEV_MD_STATE_DEGRADED
	       : info->is_read_only                   ? XBDEV_MD_STATE_READONLY
	       : info->state == XBDEV_MD_ARRAY_ACTIVE ? XBDEV_MD_STATE_ACTIVE
						      : XBDEV_MD_STATE_CLEAN;
}

/* Sets disk and its line of `more`. */
static void fill_disk(xbdev_md_detail_t *detail, uint32_t i, const struct xbdev_md_disk *disk)
{
	static const struct {
		int state;
		const char *role;
	} states[] = {
		[XBDEV_MD_DISK_IS_IN_SYNC] = {XBDEV_MD_DISK_ACTIVE, "active"},
		[XBDEV_MD_DISK_IS_RECOVERING] = {XBDEV_MD_DISK_SYNC, "rebuilding"},
		[XBDEV_MD_DISK_IS_SPARE] = {XBDEV_MD_DISK_SPARE, "spare"},
		[XBDEV_MD_DISK_IS_FAULTY] = {XBDEV_MD_DISK_FAULTY, "faulty"},
		[XBDEV_MD_DISK_IS_MISSING] = {XBDEV_MD_DISK_REMOVED, "removed"},
	};
	bool is_missing = disk->state == XBDEV_MD_DISK_IS_MISSING;
	bool is_replacement = disk->is_replacement && disk->state == XBDEV_MD_DISK_IS_RECOVERING;

	detail->disks[i].number = is_missing ? -1 : (int)disk->number;
	COPY(detail->disks[i].name, disk->name);
	detail->disks[i].state = states[disk->state].state;
	detail->disks[i].size = KIB(disk->size_sectors);
	COPY(detail->disks[i].role, is_replacement ? "replacement" : states[disk->state].role);
	detail->more[i].raid_disk = disk->role;
	detail->more[i].is_replacement = disk->is_replacement;
	detail->more[i].is_write_mostly = disk->is_write_mostly;
	detail->more[i].recovered = KIB(disk->recovered_sectors);
	detail->more[i].nr_corrected = disk->nr_corrected_sectors;
	detail->more[i].nr_bad_ranges = disk->nr_bad_ranges;
}

static void fill_disks(xbdev_md_detail_t *detail, const struct xbdev_md_info *info)
{
	detail->nr_disks = (int)info->nr_disks;
	for (uint32_t i = 0; i < info->nr_disks; i++) {
		const struct xbdev_md_disk *disk = &info->disks[i];
		bool is_missing = disk->state == XBDEV_MD_DISK_IS_MISSING;

		if (i < NR_DISKS) {
			fill_disk(detail, i, disk);
		}
		detail->active_disks += disk->state == XBDEV_MD_DISK_IS_IN_SYNC;
		detail->failed_disks += disk->state == XBDEV_MD_DISK_IS_FAULTY;
		detail->working_disks += !is_missing && disk->state != XBDEV_MD_DISK_IS_FAULTY;
		detail->spare_disks += disk->state == XBDEV_MD_DISK_IS_SPARE ||
				       disk->state == XBDEV_MD_DISK_IS_RECOVERING;
	}
}

static void fill_sync(xbdev_md_detail_t *detail, const struct xbdev_md_info *info)
{
	const char *action = info->sync_action;
	bool is_syncing = strcmp(action, "resync") == 0 || strcmp(action, "recovery") == 0;
	bool is_idle = strcmp(action, "idle") == 0;

	COPY(detail->sync_action, action);
	COPY(detail->consistency, info->consistency);
	COPY(detail->resync_status, is_syncing                      ? "resyncing"
				    : strcmp(action, "check") == 0  ? "checking"
				    : strcmp(action, "repair") == 0 ? "repairing"
				    : info->is_waiting              ? "waiting"
				    : info->is_frozen               ? "frozen"
								    : "idle");
	detail->resync_speed =
		info->sync_speed_kib > INT32_MAX ? INT32_MAX : (int)info->sync_speed_kib;
	if (is_idle) {
		bool is_due = info->is_resync_due || info->nr_degraded != 0;

		detail->resync_progress = is_due ? 0 : 100;
		return;
	}
	detail->resync_progress =
		info->sync_total != 0
			? (float)(100.0 * (double)info->sync_done / (double)info->sync_total)
			: 100;
	detail->sync_left_s = info->sync_speed_kib != 0 ? KIB(info->sync_total - info->sync_done) /
								  info->sync_speed_kib
							: UINT64_MAX;
}

static void fill_detail(xbdev_md_detail_t *detail, const struct xbdev_md_info *info)
{
	*detail = (xbdev_md_detail_t){
		.level = api_md_level(info->level),
		.raid_disks = (int)info->raid_disks,
		.size = KIB(info->array_sectors),
		.chunk_size = info->chunk_bytes >> 10,
		.state = state_of(info),
		.degraded = info->nr_degraded != 0,
		.layout = (int)info->layout + 1,
		.member_size = KIB(info->member_sectors),
		.created_s = info->ctime_s,
		.updated_s = info->utime_s,
		.events = info->events,
		.is_read_only = info->is_read_only,
		.is_frozen = info->is_frozen,
		.priority = (int)info->priority,
		.is_waiting = info->is_waiting,
		.mismatches = info->mismatch_sectors,
		.speed_min = info->speed_min_kib,
		.speed_max = info->speed_max_kib,
		.write_behind = info->write_behind,
		.nr_behind = info->nr_behind,
	};
	xu_uuid_format(&info->uuid, detail->uuid);
	COPY(detail->layout_name, info->layout_name);
	COPY(detail->set_name, info->set_name);
	COPY(detail->spare_group, info->spare_group);
	fill_disks(detail, info);
	fill_sync(detail, info);
}

struct detail_call {
	struct api_call call;
	const char *name;
	xbdev_md_detail_t *detail;
};

static void on_looked(void *arg, const struct xbdev_md_info *info)
{
	struct detail_call *look = arg;

	if (info != NULL) {
		fill_detail(look->detail, info);
	}
	api_call_done(&look->call, info != NULL ? 0 : -ENOMEM);
}

static void on_detail(struct api_call *call)
{
	struct detail_call *look = xu_container_of(call, struct detail_call, call);
	struct xbdev_device *dev = api_md_find(call, look->name);

	if (dev != NULL) {
		xbdev__md_info_get(dev, on_looked, look);
	}
}

int xbdev_md_detail(const char *md_name, xbdev_md_detail_t *detail)
{
	struct detail_call look = {.name = md_name, .detail = detail};
	struct api_thread *thread;
	int rc;

	if (md_name == NULL || detail == NULL) {
		return api_fail(-EINVAL, "xbdev_md_detail: an argument is NULL");
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &look.call, on_detail);
		api_leave(thread);
	}
	return rc;
}

/* ---- superblocks ---- */

static void fill_role(xbdev_md_info_t *info, const struct xbdev_md_super *super)
{
	uint16_t role = xbdev__md_super_role(super);

	xbdev__md_super_roles_text(super, info->array_state, sizeof(info->array_state));
	xbdev__md_super_role_text(super, info->role, sizeof(info->role));
	info->raid_disk = role < XBDEV_MD_ROLE_MAX        ? (int)role
			  : role == XBDEV_MD_ROLE_JOURNAL ? -3
			  : role == XBDEV_MD_ROLE_FAULTY  ? -2
							  : -1;
}

static void fill_places(xbdev_md_info_t *info, const struct xbdev_md_super *super)
{
	info->data_offset = super->data_offset;
	info->super_offset = XBDEV_MD_SUPER_OFFSET;
	if (xbdev__md_super_has(super, XBDEV_MD_F_BITMAP)) {
		info->bitmap_offset = super->bitmap_offset;
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS)) {
		info->ppl_offset = super->ppl_offset;
		info->ppl_size = super->ppl_size;
	}
	info->bad_blocks_offset = super->bblog_offset;
	info->bad_blocks_size = super->bblog_size;
	info->has_bad_blocks = xbdev__md_super_has(super, XBDEV_MD_F_BAD_BLOCKS);
	xbdev__md_super_unused(super, &info->unused_before, &info->unused_after);
}

static void fill_info(xbdev_md_info_t *info, const struct xbdev_md_examined *examined)
{
	const struct xbdev_md_super *super = &examined->super;
	char level[24], layout[32];

	*info = (xbdev_md_info_t){
		.level = api_md_level(super->level),
		.md_level = super->level,
		.version_major = 1,
		.version_minor = 2,
		.feature_map = super->feature_map,
		.created_s = super->ctime & ((1ull << 40) - 1),
		.updated_s = super->utime,
		.events = super->events,
		.raid_disks = super->raid_disks,
		.chunk_size = KIB((uint64_t)super->chunksize),
		.array_size = KIB(xbdev__md_super_array_size(super)),
		.member_size = KIB(super->size),
		.device_size = KIB(examined->dev_sectors),
		.available_size = KIB(super->data_size),
		.is_clean = super->resync_offset == XBDEV_MD_CLEAN,
		.resync_offset = super->resync_offset,
		.recovery_offset = xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET)
					   ? super->recovery_offset
					   : UINT64_MAX,
		.has_journal = xbdev__md_super_has(super, XBDEV_MD_F_JOURNAL),
		.is_reshaping = xbdev__md_super_has(super, XBDEV_MD_F_RESHAPE),
		.is_replacement = xbdev__md_super_has(super, XBDEV_MD_F_REPLACEMENT),
		.is_write_mostly = (super->devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0,
		.checksum = examined->checksum,
		.dev_number = super->dev_number,
	};
	COPY(info->level_name, xbdev__md_level_name(super->level, level));
	xu_uuid_format(&super->set_uuid, info->uuid);
	xu_uuid_format(&super->device_uuid, info->device_uuid);
	COPY(info->set_name, super->set_name);
	COPY(info->used_by, examined->by);
	info->layout = (int)super->layout + 1;
	COPY(info->layout_name, xbdev__md_super_layout_name(super, layout));
	fill_role(info, super);
	fill_places(info, super);
}

static void fill_bitmap(xbdev_md_info_t *info, const struct xbdev_md_examined *examined)
{
	const struct xbdev_md_bitmap_header *header = &examined->bitmap;

	if (examined->has_bitmap) {
		info->bitmap.version = header->version;
		info->bitmap.state = header->state;
		info->bitmap.events = header->events;
		info->bitmap.events_cleared = header->events_cleared;
		info->bitmap.chunk_size = header->chunksize;
		info->bitmap.sync_size = KIB(header->sync_size);
		info->bitmap.bits = examined->nr_bits;
		info->bitmap.dirty = examined->nr_dirty;
		info->bitmap.flush_period = header->daemon_sleep_s;
		info->bitmap.write_behind = header->write_behind;
	}
}

struct examine_call {
	struct api_call call;
	const char *name;
	xbdev_md_info_t *info;
};

static void on_examined(
	void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err)
{
	struct examine_call *examine = arg;

	if (examined != NULL) {
		fill_info(examine->info, examined);
		fill_bitmap(examine->info, examined);
	} else {
		examine->call.err = *err;
	}
	api_call_done(&examine->call, examined != NULL ? 0 : err->code);
}

static void on_examine(struct api_call *call)
{
	struct examine_call *examine = xu_container_of(call, struct examine_call, call);

	xbdev__md_examine(api_lib.ctx, examine->name, on_examined, examine);
}

int xbdev_md_examine(const char *bdev_name, xbdev_md_info_t *info)
{
	struct examine_call examine = {.name = bdev_name, .info = info};
	struct api_thread *thread;
	int rc;

	if (bdev_name == NULL || info == NULL) {
		return api_fail(-EINVAL, "xbdev_md_examine: an argument is NULL");
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &examine.call, on_examine);
		api_leave(thread);
	}
	return rc;
}
