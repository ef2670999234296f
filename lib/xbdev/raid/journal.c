/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal of raid4 and raid6 while an array runs (docs/raid.md, "Journal"): the log's kind for
 * them. A unit has all that is about to be written of its stripes, data and parity; to repeat these
 * writes is enough to make the stripes whole, whichever members are missing then. Of a stripe that
 * is written as a whole only that is noted: there is nothing in it that is not being written.
 *
 * Units lie in the slot of their lane, on one member more than the level can do without, each over
 * the one before it. A member's anchor is written in every round of metadata, before its
 * superblock: it says which superblock it belongs to, and from which number on units count.
 */
#include <errno.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/crc32c.h"
#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xbdev/raid/journal_format.h"
#include "lib/xbdev/raid/log.h"

#define SLOT_STRIPES 8u /* columns of a stripe that a unit has room for */

/* ---- what fits ---- */

static uint32_t room_sectors(const struct xbdev_md_stripe *stripe)
{
	return SLOT_STRIPES * stripe->array->stripes->sectors;
}

static bool has_absent(const struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_array *array = stripe->array;

	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		if (!xbdev__md_log_knows(array->log, array->roles[i], stripe->sector,
			    stripe->sector + array->stripes->sectors)) {
			return true;
		}
	}
	return false;
}

/* A whole stripe, or as many of its columns as there is room for beside the parity. */
static uint32_t limit(struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry)
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	uint64_t end = entry->sector + entry->count, first = 0, cut;
	uint64_t last = stripe->array_sector + (uint64_t)(geo->nr_data - 1) * geo->chunk +
			stripe->array->stripes->sectors;

	if (entry->sector <= stripe->array_sector && end >= last && !has_absent(stripe)) {
		return entry->count;
	}
	if (entry->sector > stripe->array_sector) {
		first = (entry->sector - stripe->array_sector) >> geo->chunk_shift;
	}
	cut = stripe->array_sector + (first + SLOT_STRIPES - geo->nr_parity) * geo->chunk;
	return first + SLOT_STRIPES - geo->nr_parity < geo->nr_data && end > cut
		       ? (uint32_t)(cut - entry->sector)
		       : entry->count;
}

static struct xbdev_md_span span_of(const uint64_t cover[2])
{
	struct xbdev_md_span span = {0, 0};

	if (cover[0] != 0 || cover[1] != 0) {
		span.lo = cover[0] != 0 ? (uint32_t)__builtin_ctzll(cover[0])
					: 64 + (uint32_t)__builtin_ctzll(cover[1]);
		span.hi = cover[1] != 0 ? 128 - (uint32_t)__builtin_clzll(cover[1])
					: 64 - (uint32_t)__builtin_clzll(cover[0]);
	}
	return span;
}

static bool is_one(const struct xbdev_md_stripe *stripe, uint64_t (*covers)[2])
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	struct xbdev_md_span all = {UINT32_MAX, 0};
	uint32_t sectors = 0, nr_covered = 0;

	for (uint32_t i = 0; i < geo->nr_data; i++) {
		struct xbdev_md_span span = span_of(covers[i]);

		if (span.lo == span.hi) {
			continue;
		}
		sectors += span.hi - span.lo;
		nr_covered += (uint32_t)(__builtin_popcountll(covers[i][0]) +
					 __builtin_popcountll(covers[i][1]));
		all.lo = span.lo < all.lo ? span.lo : all.lo;
		all.hi = span.hi > all.hi ? span.hi : all.hi;
	}
	return sectors + geo->nr_parity * (all.hi - all.lo) <= room_sectors(stripe) ||
	       (nr_covered == geo->nr_data * (all.hi - all.lo) && !has_absent(stripe));
}

/* ---- a unit ---- */

/* All go through their lane, and what is no longer there with them: an older unit of a stripe would
 * undo what was written past the journal. */
static struct xbdev_md_lane *lane_of(struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_log *log = stripe->array->log;

	return &log->lanes[stripe->key % log->nr_lanes];
}

static bool is_ready(const struct xbdev_md_lane *lane)
{
	const struct xbdev_md_array *array = lane->log->array;

	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		if (array->roles[i] != NULL && array->roles[i]->state == XBDEV_MD_MEMBER_IN_SYNC &&
			!array->roles[i]->is_log_ready) {
			return false;
		}
	}
	return true;
}

static bool is_logged(const struct xbdev_md_stripe *stripe, uint32_t index)
{
	const struct xbdev_md_column *column = &stripe->columns[index];

	return column->is_written && (column->is_touched || index >= stripe->array->geo.nr_data) &&
	       xbdev__md_member_is_writable(stripe->array->roles[column->role]);
}

static bool is_whole(const struct xbdev_md_stripe *stripe)
{
	for (uint32_t i = 0; i < stripe->array->geo.nr_data; i++) {
		if (!stripe->columns[i].is_full) {
			return false;
		}
	}
	return true;
}

static uint32_t payload_sectors(const struct xbdev_md_stripe *stripe)
{
	uint32_t sectors = 0;

	for (uint32_t i = 0; i < stripe->array->geo.raid_disks; i++) {
		const struct xbdev_md_column *column = &stripe->columns[i];

		sectors += is_logged(stripe, i) ? column->span.hi - column->span.lo : 0;
	}
	return sectors;
}

static void add_whole(struct xbdev_md_unit *unit, const struct xbdev_md_stripe *stripe)
{
	unit->entries[unit->nr_entries++] = (struct xbdev_md_unit_entry){
		.sector = stripe->sector + stripe->span.lo,
		.count = stripe->span.hi - stripe->span.lo,
		.role = stripe->row.p,
		.is_whole = true,
	};
}

static void add_column(struct xbdev_md_lane *lane, const struct xbdev_md_column *column)
{
	const struct xbdev_md_stripe *stripe = column->stripe;
	struct xbdev_md_unit *unit = lane->header;
	size_t len = (size_t)(column->span.hi - column->span.lo) * XBDEV_MD_SECTOR;

	unit->entries[unit->nr_entries++] = (struct xbdev_md_unit_entry){
		.sector = stripe->sector + column->span.lo,
		.count = column->span.hi - column->span.lo,
		.role = column->role,
	};
	memcpy(lane->buf + lane->used,
		column->data + (size_t)(column->span.lo - stripe->span.lo) * XBDEV_MD_SECTOR, len);
	lane->used += len;
	unit->payload_sectors += column->span.hi - column->span.lo;
}

static bool add(struct xbdev_md_lane *lane, struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_unit *unit = lane->header;
	size_t bytes = (size_t)payload_sectors(stripe) * XBDEV_MD_SECTOR;
	bool is_first = lane->used == 0, is_marked = is_whole(stripe) && !has_absent(stripe);

	if (is_first) {
		lane->used = XBDEV_MD_UNIT_HEADER_BYTES;
		unit->nr_entries = 0;
		unit->payload_sectors = 0;
	}
	/* A member may have gone since it was decided that a whole stripe needs no room. */
	is_marked |= is_first && lane->used + bytes > lane->log->unit_bytes;
	if (unit->nr_entries + stripe->array->geo.raid_disks > XBDEV_MD_UNIT_ENTRIES ||
		(!is_marked && lane->used + bytes > lane->log->unit_bytes)) {
		return false;
	}
	if (is_marked) {
		add_whole(unit, stripe);
		return true;
	}
	for (uint32_t i = 0; i < stripe->array->geo.raid_disks; i++) {
		if (is_logged(stripe, i)) {
			add_column(lane, &stripe->columns[i]);
		}
	}
	return true;
}

static uint32_t slot_sectors(const struct xbdev_md_log *log)
{
	return (uint32_t)(log->unit_bytes / XBDEV_MD_SECTOR);
}

/*
 * One more than may be lost, of those in sync; the first from the lane's own role on. But who had
 * the last unit has the next one too as long as it serves: an old unit that stayed on somebody
 * would be taken for the newest when the power goes while the newest is written.
 */
static uint32_t choose_roles(struct xbdev_md_lane *lane)
{
	const struct xbdev_md_array *array = lane->log->array;
	uint32_t roles = 0, nr = 0, nr_roles = array->geo.raid_disks;

	for (uint32_t i = 0; i < 2 * nr_roles && nr < array->geo.nr_parity + 1; i++) {
		uint32_t role = (lane->index + i) % nr_roles;
		const struct xbdev_md_member *member = array->roles[role];
		bool is_wanted = i >= nr_roles || (lane->copy_roles >> role & 1) != 0;

		if (is_wanted && (roles >> role & 1) == 0 && member != NULL &&
			member->state == XBDEV_MD_MEMBER_IN_SYNC) {
			roles |= 1u << role;
			nr++;
		}
	}
	lane->copy_roles = roles;
	return roles;
}

static uint32_t seal(struct xbdev_md_lane *lane,
	struct xbdev_md_member *ret_members[XBDEV_MD_LOG_COPIES],
	uint64_t ret_sectors[XBDEV_MD_LOG_COPIES])
{
	struct xbdev_md_log *log = lane->log;
	const struct xbdev_md_geometry *geo = &log->array->geo;
	struct xbdev_md_unit *unit = lane->header;
	uint32_t nr = 0, roles = choose_roles(lane);

	lane->seq = ++log->seq;
	unit->set_uuid = log->array->super.set_uuid;
	unit->epoch = log->epoch;
	unit->seq = lane->seq;
	unit->lane = lane->index;
	unit->payload_crc = xu_crc32c(
		lane->buf + XBDEV_MD_UNIT_HEADER_BYTES, lane->used - XBDEV_MD_UNIT_HEADER_BYTES);
	xbdev__md_unit_format(unit, lane->buf);
	for (uint32_t i = 0; i < geo->raid_disks; i++) {
		struct xbdev_md_member *member = log->array->roles[i];

		if ((roles >> i & 1) != 0) {
			ret_members[nr] = member;
			ret_sectors[nr++] = xbdev__md_journal_place(&member->super) +
					    XBDEV_MD_ANCHOR_BYTES / XBDEV_MD_SECTOR +
					    (uint64_t)lane->index * slot_sectors(log);
		}
	}
	return nr;
}

/* ---- the anchor ---- */

/* Units below are over: their stripes are durable. */
static uint64_t min_seq(const struct xbdev_md_log *log)
{
	uint64_t least = log->seq + 1;

	for (uint32_t i = 0; i < log->nr_lanes; i++) {
		const struct xbdev_md_lane *lane = &log->lanes[i];

		if (lane->state != XBDEV_MD_LANE_IDLE && lane->seq < least) {
			least = lane->seq;
		}
	}
	return least;
}

static void *meta(struct xbdev_md_member *member, size_t *ret_bytes, uint64_t *ret_sector)
{
	struct xbdev_md_array *array = member->array;
	struct xbdev_md_log *log = array->log;
	char *bytes = (char *)log->memory + (size_t)member->slot * XBDEV_MD_ANCHOR_BYTES;
	struct xbdev_md_anchor anchor = {
		.set_uuid = array->super.set_uuid,
		.device_uuid = member->super.device_uuid,
		.epoch = log->epoch,
		.min_seq = min_seq(log),
		.events = array->super.events,
		.resync_sector = array->super.resync_offset,
		.old_super_crc = member->super_crc,
		.slot_sectors = slot_sectors(log),
		.nr_lanes = log->nr_lanes,
	};

	if (!array->meta.has_supers) {
		return NULL;
	}
	member->next_super_crc = xu_crc32c(member->meta_buf, XBDEV_MD_SUPER_BYTES);
	if (member->state == XBDEV_MD_MEMBER_SPARE) {
		return NULL;
	}
	anchor.super_crc = member->next_super_crc;
	xbdev__md_anchor_format(&anchor, bytes);
	*ret_bytes = XBDEV_MD_ANCHOR_BYTES;
	*ret_sector = xbdev__md_journal_place(&member->super);
	return bytes;
}

static const struct xbdev_md_log_kind journal_kind = {
	.name = "journal",
	.lane_of = lane_of,
	.is_ready = is_ready,
	.add = add,
	.seal = seal,
	.limit = limit,
	.is_one = is_one,
	.meta = meta,
};

uint32_t xbdev__md_journal_slot_sectors(uint32_t chunk)
{
	uint32_t stripe = chunk < XBDEV_MD_STRIPE_SECTORS ? chunk : XBDEV_MD_STRIPE_SECTORS;

	return XBDEV_MD_UNIT_HEADER_BYTES / XBDEV_MD_SECTOR + SLOT_STRIPES * stripe;
}

int xbdev__md_journal_init(struct xbdev_md_array *array, struct xu_error *err)
{
	uint32_t slot = xbdev__md_journal_slot_sectors(array->geo.chunk);
	uint64_t sectors = xbdev__md_journal_sectors(array->geo.raid_disks, slot);
	struct xbdev_md_log *log;
	int rc;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL &&
			!xbdev__md_journal_fits(&array->members[i]->super, sectors)) {
			return xu_error_set(err, -ENOSPC,
				"array '%s': '%s' has no room for the array's journal of %llu "
				"sectors before its data",
				array->dev.name, array->members[i]->name,
				(unsigned long long)sectors);
		}
	}
	rc = xbdev__md_log_new(array, &journal_kind, (size_t)slot * XBDEV_MD_SECTOR,
		sizeof(struct xbdev_md_unit), err);
	if (rc != 0) {
		return rc;
	}
	log = array->log;
	log->epoch = xu_random_u64(xr_reactor_random(array->reactor));
	log->memory_bytes = (size_t)XBDEV_MD_MAX_MEMBERS * XBDEV_MD_ANCHOR_BYTES;
	log->memory = xu_buf_alloc(log->memory_bytes);
	if (log->memory == NULL) {
		xbdev__md_log_free(array);
		return xu_error_set_errno(
			err, -ENOMEM, "array '%s': its %s", array->dev.name, journal_kind.name);
	}
	return 0;
}
