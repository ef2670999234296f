/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an array does with its journal when it is assembled:
 *
 *   anchors of all members ──▶ none: the array has no journal
 *     ──▶ clean, or never to be written: nothing to do
 *     ──▶ a superblock is not one that its anchor knows: somebody else has written the array; what
 *         the journal holds is old and is forgotten
 *     ──▶ anchors of two runs: the newer one had replayed all and written nothing yet
 *     ──▶ headers of all slots; per lane the newest unit that is whole: its writes are repeated,
 *         durably; what it says of whole stripes is kept for when the array has stripes, to make
 *         their parity
 *
 * What of a journal cannot be read counts as not there: a unit lies on more members than may be
 * missing. The journal itself is left alone until the first round of metadata writes new anchors,
 * so a replay that is interrupted happens again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/crc32c.h"
#include "lib/util/log.h"
#include "lib/xbdev/raid/build.h"
#include "lib/xbdev/raid/journal_format.h"
#include "lib/xbdev/raid/log.h"

#define HEADER_SECTORS (XBDEV_MD_UNIT_HEADER_BYTES / XBDEV_MD_SECTOR)

struct xbdev_md_journal_replay {
	struct xbdev_md_build *build;
	char *anchor_bytes; /* a page for each role */
	size_t anchor_bytes_len;
	struct xbdev_md_anchor anchors[XBDEV_MD_MAX_DISKS];
	bool has_anchor[XBDEV_MD_MAX_DISKS];
	uint32_t slot_sectors, nr_lanes;
	uint64_t epoch, min_seq, resync_sector;
	char *headers; /* a page for each lane of each role; wiped when it has been found wanting */
	size_t headers_len;
	char *payload;
	size_t payload_len;
	uint32_t lane, role; /* whose unit is being looked at */
	struct xbdev_md_unit unit;
	uint64_t nr_replayed;
	/* What is to be made of whole stripes. */
	uint64_t *wholes; /* member sectors */
	uint32_t nr_wholes, next_whole;
	struct xbdev_md_entry entry;
	void (*after)(struct xbdev_md_build *build);
};

static void next_lane(struct xbdev_md_build *build);

void xbdev__md_journal_replay_free(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;

	if (replay == NULL) {
		return;
	}
	xu_buf_free(replay->anchor_bytes, replay->anchor_bytes_len);
	xu_buf_free(replay->headers, replay->headers_len);
	xu_buf_free(replay->payload, replay->payload_len);
	free(replay->wholes);
	free(replay);
	build->journal = NULL;
}

static struct xu_logger *log_of(const struct xbdev_md_build *build)
{
	return xbdev_ctx_log(build->ctx);
}

/* ---- the end ---- */

static void go_on(struct xbdev_md_build *build)
{
	build->is_lenient = false;
	build->after_replay(build);
}

/* There is no journal that could be trusted: what that means is the caller's earlier refusal. */
static void forget(struct xbdev_md_build *build)
{
	if (build->is_on_trial) {
		build->err = build->trial_err;
		xbdev__md_build_fail(build);
		return;
	}
	go_on(build);
}

static void end(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;
	struct xbdev_md_array *array = build->array;

	xu_info(log_of(build),
		"array %s: %" PRIu64 " units of its journal have been replayed, %" PRIu32
		" whole stripes are due",
		array->dev.name, replay->nr_replayed, replay->nr_wholes);
	array->super.resync_offset = replay->resync_sector;
	array->in_sync_below = replay->resync_sector;
	go_on(build);
}

/* ---- units ---- */

static char *header_of(struct xbdev_md_journal_replay *replay, uint32_t role, uint32_t lane)
{
	return replay->headers +
	       ((size_t)role * replay->nr_lanes + lane) * XBDEV_MD_UNIT_HEADER_BYTES;
}

static bool is_ours(const struct xbdev_md_journal_replay *replay, const struct xbdev_md_unit *unit)
{
	const struct xbdev_md_geometry *geo = &replay->build->array->geo;

	if (!xu_uuid_is_equal(&unit->set_uuid, &replay->build->array->super.set_uuid) ||
		unit->epoch != replay->epoch || unit->seq < replay->min_seq ||
		unit->lane != replay->lane ||
		unit->payload_sectors > replay->slot_sectors - HEADER_SECTORS) {
		return false;
	}
	for (uint32_t i = 0; i < unit->nr_entries; i++) {
		const struct xbdev_md_unit_entry *entry = &unit->entries[i];

		if (entry->role >= geo->raid_disks || entry->sector >= geo->member_size ||
			entry->count > geo->member_size - entry->sector) {
			return false;
		}
	}
	return true;
}

/* The newest unit of the lane that any member has. */
static bool find_unit(struct xbdev_md_journal_replay *replay)
{
	struct xbdev_md_unit unit;
	bool has_one = false;

	for (uint32_t i = 0; i < replay->build->array->geo.raid_disks; i++) {
		if (replay->has_anchor[i] &&
			xbdev__md_unit_parse(header_of(replay, i, replay->lane), &unit, NULL) ==
				0 &&
			is_ours(replay, &unit) && (!has_one || unit.seq > replay->unit.seq)) {
			has_one = true;
			replay->unit = unit;
			replay->role = i;
		}
	}
	return has_one;
}

static void on_written(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;

	build->is_lenient = true;
	replay->nr_replayed++;
	replay->lane++;
	next_lane(build);
}

static void repeat(
	struct xbdev_md_build *build, const struct xbdev_md_unit_entry *entry, char *from)
{
	struct xbdev_md_array *array = build->array;
	struct xbdev_md_member *members[] = {
		array->roles[entry->role], array->replacements[entry->role]};

	for (uint32_t i = 0; i < 2; i++) {
		if (xbdev__md_member_is_writable(members[i])) {
			xbdev__md_build_write(build, members[i],
				members[i]->super.data_offset + entry->sector, from,
				(size_t)entry->count * XBDEV_MD_SECTOR);
		}
	}
}

static void on_payload_read(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;
	const struct xbdev_md_unit *unit = &replay->unit;
	char *from = replay->payload;

	if (xu_crc32c(from, (size_t)unit->payload_sectors * XBDEV_MD_SECTOR) != unit->payload_crc) {
		/* It was being written: nothing of it had begun, unless another has all of it. */
		memset(header_of(replay, replay->role, replay->lane), 0,
			XBDEV_MD_UNIT_HEADER_BYTES);
		next_lane(build);
		return;
	}
	build->is_lenient = false;
	for (uint32_t i = 0; i < unit->nr_entries; i++) {
		const struct xbdev_md_unit_entry *entry = &unit->entries[i];

		if (entry->is_whole) {
			replay->wholes[replay->nr_wholes++] = entry->sector;
			continue;
		}
		repeat(build, entry, from);
		from += (size_t)entry->count * XBDEV_MD_SECTOR;
	}
	xbdev__md_build_wait(build, on_written);
}

static uint64_t slot_of(const struct xbdev_md_journal_replay *replay, uint32_t role, uint32_t lane)
{
	return xbdev__md_journal_place(&replay->build->array->roles[role]->super) +
	       XBDEV_MD_ANCHOR_BYTES / XBDEV_MD_SECTOR + (uint64_t)lane * replay->slot_sectors;
}

static void next_lane(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;

	while (replay->lane < replay->nr_lanes && !find_unit(replay)) {
		replay->lane++;
	}
	if (replay->lane == replay->nr_lanes) {
		end(build);
		return;
	}
	if (replay->unit.payload_sectors > 0) {
		xbdev__md_build_read(build, build->array->roles[replay->role],
			slot_of(replay, replay->role, replay->lane) + HEADER_SECTORS,
			replay->payload, (size_t)replay->unit.payload_sectors * XBDEV_MD_SECTOR);
	}
	xbdev__md_build_wait(build, on_payload_read);
}

/* ---- headers ---- */

static void read_headers(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;
	uint32_t nr_roles = build->array->geo.raid_disks;

	replay->headers_len = (size_t)nr_roles * replay->nr_lanes * XBDEV_MD_UNIT_HEADER_BYTES;
	replay->headers = xu_buf_alloc(replay->headers_len);
	replay->payload_len = (size_t)replay->slot_sectors * XBDEV_MD_SECTOR;
	replay->payload = xu_buf_alloc(replay->payload_len);
	replay->wholes =
		calloc((size_t)replay->nr_lanes * XBDEV_MD_UNIT_ENTRIES, sizeof(replay->wholes[0]));
	if (replay->headers == NULL || replay->payload == NULL || replay->wholes == NULL) {
		xu_error_set_errno(
			&build->err, -ENOMEM, "array '%s': its journal", build->array->dev.name);
		xbdev__md_build_fail(build);
		return;
	}
	for (uint32_t i = 0; i < nr_roles * replay->nr_lanes; i++) {
		uint32_t role = i / replay->nr_lanes, lane = i % replay->nr_lanes;

		if (replay->has_anchor[role]) {
			xbdev__md_build_read(build, build->array->roles[role],
				slot_of(replay, role, lane), header_of(replay, role, lane),
				XBDEV_MD_UNIT_HEADER_BYTES);
		}
	}
	xbdev__md_build_wait(build, next_lane);
}

/* ---- anchors ---- */

/* Those of the members in sync must know the superblocks as they are. */
static bool is_bound(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;

	for (uint32_t i = 0; i < build->array->geo.raid_disks; i++) {
		const struct xbdev_md_member *member = build->array->roles[i];
		const struct xbdev_md_anchor *anchor = &replay->anchors[i];

		if (member == NULL || member->state != XBDEV_MD_MEMBER_IN_SYNC) {
			replay->has_anchor[i] = false;
			continue;
		}
		if (!replay->has_anchor[i] || (anchor->super_crc != member->super_crc &&
						      anchor->old_super_crc != member->super_crc)) {
			xu_warn(log_of(build),
				"array %s: %s has been written by somebody else since: the journal "
				"is forgotten",
				build->array->dev.name, member->name);
			return false;
		}
	}
	return true;
}

/* True: all are of one run. */
static bool sum_up(struct xbdev_md_journal_replay *replay)
{
	bool is_first = true, is_one_run = true;

	replay->resync_sector = XBDEV_MD_CLEAN;
	for (uint32_t i = 0; i < replay->build->array->geo.raid_disks; i++) {
		const struct xbdev_md_anchor *anchor = &replay->anchors[i];

		if (!replay->has_anchor[i]) {
			continue;
		}
		is_one_run &= is_first || anchor->epoch == replay->epoch;
		is_first = false;
		replay->epoch = anchor->epoch;
		replay->min_seq =
			anchor->min_seq > replay->min_seq ? anchor->min_seq : replay->min_seq;
		replay->resync_sector = anchor->resync_sector < replay->resync_sector
						? anchor->resync_sector
						: replay->resync_sector;
	}
	return is_one_run;
}

static void replay_or_not(struct xbdev_md_build *build)
{
	bool is_one_run = sum_up(build->journal);

	if (build->is_on_trial && build->journal->resync_sector != XBDEV_MD_CLEAN) {
		forget(build); /* a resync had not come to all of the parity */
	} else if (is_one_run) {
		read_headers(build);
	} else {
		end(build);
	}
}

static bool has_shape(const struct xbdev_md_build *build, const struct xbdev_md_anchor *anchor)
{
	const struct xbdev_md_geometry *geo = &build->array->geo;

	return xu_uuid_is_equal(&anchor->set_uuid, &build->array->super.set_uuid) &&
	       anchor->nr_lanes == geo->raid_disks &&
	       anchor->slot_sectors == xbdev__md_journal_slot_sectors(geo->chunk);
}

static void on_anchors_read(struct xbdev_md_build *build)
{
	struct xbdev_md_journal_replay *replay = build->journal;
	struct xbdev_md_array *array = build->array;

	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		struct xbdev_md_anchor *anchor = &replay->anchors[i];

		if (array->roles[i] == NULL ||
			xbdev__md_anchor_parse(
				replay->anchor_bytes + (size_t)i * XBDEV_MD_ANCHOR_BYTES, anchor,
				NULL) != 0 ||
			!has_shape(build, anchor) ||
			!xu_uuid_is_equal(
				&anchor->device_uuid, &array->roles[i]->super.device_uuid)) {
			continue;
		}
		replay->has_anchor[i] = array->has_journal = true;
		replay->slot_sectors = anchor->slot_sectors;
		replay->nr_lanes = anchor->nr_lanes;
	}
	if (array->is_sealed || array->super.resync_offset == XBDEV_MD_CLEAN) {
		go_on(build);
	} else if (!array->has_journal || !is_bound(build)) {
		forget(build);
	} else {
		replay_or_not(build);
	}
}

void xbdev__md_journal_replay(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	struct xbdev_md_journal_replay *replay = calloc(1, sizeof(*replay));

	build->journal = replay;
	if (replay != NULL) {
		replay->build = build;
		replay->anchor_bytes_len = (size_t)array->geo.raid_disks * XBDEV_MD_ANCHOR_BYTES;
		replay->anchor_bytes = xu_buf_alloc(replay->anchor_bytes_len);
	}
	if (replay == NULL || replay->anchor_bytes == NULL) {
		xu_error_set_errno(
			&build->err, -ENOMEM, "array '%s': its journal", array->dev.name);
		xbdev__md_build_fail(build);
		return;
	}
	build->is_lenient = true;
	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		struct xbdev_md_member *member = array->roles[i];

		if (member != NULL &&
			xbdev__md_journal_fits(&member->super,
				xbdev__md_journal_sectors(array->geo.raid_disks,
					xbdev__md_journal_slot_sectors(array->geo.chunk)))) {
			xbdev__md_build_read(build, member, xbdev__md_journal_place(&member->super),
				replay->anchor_bytes + (size_t)i * XBDEV_MD_ANCHOR_BYTES,
				XBDEV_MD_ANCHOR_BYTES);
		}
	}
	xbdev__md_build_wait(build, on_anchors_read);
}

/* ---- whole stripes ---- */

/* Its blocks are in the logs of bad blocks, or else the members cannot be trusted to agree there.
 */
static void on_lost(void *arg, uint64_t sector, uint64_t count, bool is_noted)
{
	struct xbdev_md_journal_replay *replay = arg;

	xu_err(log_of(replay->build),
		"array %s: %" PRIu64 " sectors from %" PRIu64
		" of each member were being written and cannot be read%s",
		replay->build->array->dev.name, count, sector,
		is_noted ? "" : ", nor can that be noted");
}

static void on_synced(void *arg, int status, uint64_t mismatch_sectors)
{
	struct xbdev_md_journal_replay *replay = arg;

	if (status != 0) {
		xu_error_set_errno(&replay->build->err, status,
			"array '%s': parity of the stripe at sector %llu, which was being written",
			replay->build->array->dev.name,
			(unsigned long long)replay->wholes[replay->next_whole - 1]);
		xbdev__md_build_fail(replay->build);
		return;
	}
	xbdev__md_journal_sync_wholes(replay->build, replay->after);
}

void xbdev__md_journal_sync_wholes(
	struct xbdev_md_build *build, void (*after)(struct xbdev_md_build *build))
{
	struct xbdev_md_journal_replay *replay = build->journal;

	if (replay == NULL || replay->next_whole == replay->nr_wholes) {
		xbdev__md_journal_replay_free(build);
		after(build);
		return;
	}
	replay->after = after;
	replay->entry =
		(struct xbdev_md_entry){.synced = on_synced, .lost = on_lost, .arg = replay};
	xu_list_init(&replay->entry.link);
	xbdev__md_stripe_sync(build->array, &replay->entry, replay->wholes[replay->next_whole++]);
}
