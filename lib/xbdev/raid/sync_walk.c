/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order in which a resync or recovery walks: from its start to its end, but regions that are
 * used much (heat.h) come before their turn.
 *
 *   start ──── done ──── next ───────────[ region: early.next ── early.end ]──────── end
 *              saved on disk             in memory only, as are those that are done
 *
 * A region before its turn is walked as a whole, then the next one of those that are used most;
 * when there is none the walk goes on at `next`, and leaves out what has been done. What a
 * superblock can say is one number, up to which all is good: `done` knows nothing of early regions
 * until the walk in order has come to them. What a member (or the array, in a resync) has beyond is
 * remembered in memory, and lasts as long as it serves; after a crash it is done once more, but for
 * bits of a bitmap that a resync has made clear.
 *
 * A log of the array's writes goes by what the disks say: a member that has a region early is one
 * that lacks it (ppl.c, journal.c). A resync of an array whose log is trusted only when a
 * superblock says that some of the parity agrees begins in order, so that this is soon.
 */
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/sync.h"

#define LOOK_EVERY_NS (100 * XU_NS_PER_MS)

/* ---- regions ---- */

/* Whole stripes, and whole chunks where chunks go to different members. */
static uint64_t region_sectors(const struct xbdev_md_sync *sync)
{
	const struct xbdev_md_geometry *geo = &sync->array->geo;
	uint64_t unit = geo->level == 1 || geo->chunk < XBDEV_MD_SYNC_SECTORS
				? XBDEV_MD_SYNC_SECTORS
				: geo->chunk;
	uint64_t size = (sync->end + XBDEV_MD_NR_REGIONS - 1) / XBDEV_MD_NR_REGIONS;

	if (geo->level != 1 && unit % geo->chunk != 0) {
		unit = geo->chunk;
	}
	return size <= unit ? unit : (size + unit - 1) / unit * unit;
}

/* A recovery goes on with what all its targets have already, a resync with what it has done. */
static void find_begun(struct xbdev_md_sync *sync)
{
	const struct xbdev_md_array *array = sync->array;

	if (sync->kind == XBDEV_MD_SYNC_RESYNC) {
		sync->begun = array->early;
		return;
	}
	for (uint32_t i = 0; i < array->nr_members && sync->target != NULL; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (member == sync->target) {
			sync->begun = member->early;
		}
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (member != NULL && xbdev__md_sync_is_target(sync, member)) {
			xbdev__md_regions_keep(&sync->begun, &member->early);
		}
	}
}

void xbdev__md_walk_init(struct xbdev_md_sync *sync)
{
	sync->region = region_sectors(sync);
	sync->may_jump = sync->kind == XBDEV_MD_SYNC_RESYNC || sync->kind == XBDEV_MD_SYNC_RECOVER;
	if (sync->may_jump) {
		find_begun(sync);
	}
}

static uint64_t end_of(const struct xbdev_md_sync *sync, uint64_t sector)
{
	uint64_t end = sector - sector % sync->region + sync->region;

	return end < sync->end ? end : sync->end;
}

static bool is_busy(const struct xbdev_md_sync *sync, uint64_t region)
{
	for (uint32_t i = 0; i < XBDEV_MD_SYNC_SLOTS; i++) {
		if (sync->slots[i].is_busy && sync->slots[i].sector / sync->region == region) {
			return true;
		}
	}
	return false;
}

void xbdev__md_walk_note(struct xbdev_md_sync *sync, uint64_t sector)
{
	struct xbdev_md_array *array = sync->array;
	uint64_t region = sector / sync->region;

	if (!xbdev__md_regions_get(&sync->begun, region) || is_busy(sync, region) ||
		sync->has_failed || sync->is_incomplete) {
		return;
	}
	if (sync->kind == XBDEV_MD_SYNC_RESYNC) {
		xbdev__md_regions_set(&array->early, sync->region, region);
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member != NULL && xbdev__md_sync_is_target(sync, member)) {
			xbdev__md_regions_set(&member->early, sync->region, region);
		}
	}
}

bool xbdev__md_sync_has_reached(
	const struct xbdev_md_array *array, const struct xbdev_md_member *member, uint64_t sector)
{
	const struct xbdev_md_sync *sync = array->sync;

	if (sector < member->recovery_offset) {
		return true;
	}
	if (sync == NULL || !xbdev__md_sync_is_target(sync, member)) {
		return xbdev__md_regions_have(&member->early, sector, sector + 1);
	}
	return sector < sync->next || xbdev__md_regions_have(&sync->begun, sector, sector + 1) ||
	       (sector < sync->early_next && sector >= sync->early_end - sync->region &&
		       sync->early_end != 0);
}

/* ---- which regions ---- */

/* How much a region is used. */
static uint32_t heat_of(const struct xbdev_md_sync *sync, uint64_t start, uint64_t end)
{
	const struct xbdev_md_array *array = sync->array;
	const struct xbdev_md_geometry *geo = &array->geo;
	uint64_t first = start, last = end - 1;

	if (array->stripes != NULL) {
		first *= geo->nr_data;
		last = end * geo->nr_data - 1;
	} else if (geo->level == 10 && sync->kind == XBDEV_MD_SYNC_RECOVER) {
		first = xbdev__md_raid10_sector(geo, sync->target->role, start);
		last = xbdev__md_raid10_sector(geo, sync->target->role, end - 1);
		if (first >= geo->array_size) {
			return 0;
		}
		/* It ends in other copies than it begins in. */
		last = last >= geo->array_size || last < first ? first : last;
	}
	return xbdev__md_heat_of(&array->heat, first, last + 1);
}

static bool is_left(const struct xbdev_md_sync *sync, uint64_t region)
{
	return region * sync->region >= sync->next && region * sync->region < sync->end &&
	       !xbdev__md_regions_get(&sync->begun, region);
}

/* Puts a region where it belongs among those that are used most. */
static void rank(struct xbdev_md_sync *sync, uint32_t region, uint32_t heat)
{
	uint32_t at = sync->nr_hot < XBDEV_MD_SYNC_HOT ? sync->nr_hot++ : XBDEV_MD_SYNC_HOT;

	while (at > 0 && sync->hot[at - 1].heat < heat) {
		if (at < XBDEV_MD_SYNC_HOT) {
			sync->hot[at] = sync->hot[at - 1];
		}
		at--;
	}
	if (at < XBDEV_MD_SYNC_HOT) {
		sync->hot[at] = (struct xbdev_md_hot){region, heat};
	}
}

static void look_around(struct xbdev_md_sync *sync, uint64_t now_ns)
{
	uint32_t enough = xbdev__md_heat_enough(&sync->array->heat);

	sync->nr_hot = sync->next_hot = 0;
	sync->looked_ns = now_ns;
	for (uint64_t start = sync->next - sync->next % sync->region;
		start < sync->end && sync->array->heat.total >= enough; start += sync->region) {
		uint64_t region = start / sync->region;
		uint32_t heat =
			is_left(sync, region) ? heat_of(sync, start, end_of(sync, start)) : 0;

		if (heat >= enough) {
			rank(sync, (uint32_t)region, heat);
		}
	}
}

static bool can_jump(const struct xbdev_md_sync *sync)
{
	const struct xbdev_md_log *log = sync->array->log;

	return sync->may_jump &&
	       (sync->kind == XBDEV_MD_SYNC_RECOVER || log == NULL || log->is_trusted);
}

/* Begins a region before its turn, if there is one. */
static bool jump(struct xbdev_md_sync *sync)
{
	uint64_t now_ns = xr_now_ns(sync->array->reactor);
	bool is_stale = sync->looked_ns == 0 || now_ns - sync->looked_ns >= LOOK_EVERY_NS;
	bool has_seen_all = sync->next_hot == sync->nr_hot && sync->nr_hot < XBDEV_MD_SYNC_HOT;

	if (!can_jump(sync)) {
		return false;
	}
	if (is_stale || (sync->next_hot == sync->nr_hot && !has_seen_all)) {
		look_around(sync, now_ns);
	}
	while (sync->next_hot < sync->nr_hot) {
		uint64_t region = sync->hot[sync->next_hot++].region;

		if (is_left(sync, region)) {
			sync->early_next = region * sync->region;
			sync->early_end = sync->early_next + sync->region;
			return true;
		}
	}
	return false;
}

/* ---- the walk ---- */

/* With a bitmap only what it marks is walked: the next such place before `end`. */
static uint64_t skip_clean(const struct xbdev_md_sync *sync, uint64_t sector, uint64_t end)
{
	while (sync->is_by_bitmap && sector < end) {
		uint64_t run = xbdev__md_bitmap_clean_run(sync->array, sector);
		uint64_t step = xbdev__md_sync_step(sync, sector);

		if (run < step) {
			break;
		}
		run -= run % step;
		sector += run < end - sector ? run : end - sector;
	}
	return sector;
}

/* The region before its turn has something left to begin. */
static bool seek_early(struct xbdev_md_sync *sync)
{
	uint64_t end = sync->early_end < sync->end ? sync->early_end : sync->end;
	uint64_t last = sync->early_end - sync->region;

	if (sync->early_end == 0) {
		return false;
	}
	sync->early_next = skip_clean(sync, sync->early_next, end);
	if (sync->early_next < end) {
		return true;
	}
	sync->early_end = 0;
	xbdev__md_regions_set(&sync->begun, sync->region, last / sync->region);
	xbdev__md_walk_note(sync, last);
	return false;
}

static bool seek_in_order(struct xbdev_md_sync *sync)
{
	while (sync->next < sync->end) {
		uint64_t end = end_of(sync, sync->next);

		if (xbdev__md_regions_get(&sync->begun, sync->next / sync->region)) {
			sync->next = end;
			continue;
		}
		sync->next = skip_clean(sync, sync->next, end);
		if (sync->next < end) {
			return true;
		}
	}
	return false;
}

bool xbdev__md_walk_seek(struct xbdev_md_sync *sync)
{
	do {
		if (seek_early(sync)) {
			return true;
		}
	} while (jump(sync));
	return seek_in_order(sync);
}

uint64_t xbdev__md_walk_take(struct xbdev_md_sync *sync, uint64_t *ret_count)
{
	uint64_t *next = sync->early_end != 0 ? &sync->early_next : &sync->next;
	uint64_t sector = *next, count = xbdev__md_sync_step(sync, sector);
	uint64_t left = end_of(sync, sector) - sector;

	*ret_count = count < left ? count : left;
	*next += *ret_count;
	sync->walked += *ret_count;
	return sector;
}
