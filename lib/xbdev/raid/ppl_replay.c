/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an array that was not stopped cleanly does with its partial parity logs when it starts
 * again: of each member the newest header counts, and for each of its entries
 *
 *   parity = the data that was being written, as it is now, XOR the entry's partial parity
 *
 * in pieces of at most 64 KiB, one after the other, durably. What is in a missing member, or where
 * a recovery has not been yet, cannot be read: such rows stay as they are. Who is about to replace
 * a member gets what the member has of these rows.
 *
 * A log of Linux without entries tells nothing, one of ours may: that it was kept, and that nothing
 * was being written. So when the power goes again before the first superblock tells of a replay.
 *
 * A log whose newest unit is damaged was being written when the power went: of that unit nothing
 * had begun. Still it is not taken as proof: a complete array is resynced then, as Linux does it.
 * Only a degraded one, for which there is nothing else, starts without; and blocks that are known
 * to be bad are recovered from the parity before the resync, and by it. The logs stay as they are
 * until the array's first round of metadata, so a replay that is interrupted happens again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/util/buf.h"
#include "lib/util/log.h"
#include "lib/xbdev/raid/build.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/ppl_format.h"

#define PIECE_SECTORS 128u
#define PIECE_BYTES   (PIECE_SECTORS * XBDEV_MD_SECTOR)
#define NOBODY        UINT32_MAX

struct area {
	uint8_t *bytes; /* NULL: nobody has the role */
	size_t count;
	size_t payload; /* where the partial parity of the entry begins */
	struct xbdev_md_ppl_header header;
};

struct xbdev_md_ppl_replay {
	struct xbdev_md_build *build;
	struct area areas[XBDEV_MD_MAX_DISKS];
	uint32_t role, entry, done; /* where it is; sectors of the entry's rows */
	uint32_t len;               /* of the piece, sectors */
	uint32_t nr_sources;
	uint32_t known;         /* bit per column of the entry: its data can be read */
	uint32_t rebuilt;       /* data column that is made from the others, or NOBODY */
	bool is_parity_written; /* to who is to replace its member: made, or as that has it */
	uint8_t *buf;           /* a piece for each member and one for the parity */
	uint64_t nr_replayed, nr_damaged;
	bool has_entries; /* some log tells of something, */
	bool is_marked;   /* or each that there is nothing to tell, though it was kept */
};

/* The rows of an entry, as they lie in the array. */
struct rows {
	uint64_t row;      /* of chunks */
	uint32_t first;    /* data column */
	uint32_t nr;       /* of columns */
	uint32_t in_chunk; /* sector */
	uint32_t count;    /* sectors of each column */
};

static void next_piece(struct xbdev_md_build *build);

void xbdev__md_ppl_replay_free(struct xbdev_md_build *build)
{
	struct xbdev_md_ppl_replay *replay = build->replay;

	if (replay == NULL) {
		return;
	}
	for (uint32_t i = 0; i < XBDEV_MD_MAX_DISKS; i++) {
		xu_buf_free(replay->areas[i].bytes, replay->areas[i].count);
	}
	xu_buf_free(replay->buf, (size_t)(XBDEV_MD_MAX_DISKS + 1) * PIECE_BYTES);
	free(replay);
	build->replay = NULL;
}

/* ---- an entry ---- */

static bool find_rows(const struct xbdev_md_geometry *geo, uint32_t role,
	const struct xbdev_md_ppl_entry *entry, struct rows *ret_rows)
{
	uint64_t row_sectors = (uint64_t)geo->chunk * geo->nr_data;
	uint64_t in_row = entry->data_sector % row_sectors;
	uint32_t data = entry->data_size / XBDEV_MD_SECTOR, pp = entry->pp_size / XBDEV_MD_SECTOR;
	struct xbdev_md_row who;
	struct rows rows = {
		.row = entry->data_sector / row_sectors,
		.first = (uint32_t)(in_row >> geo->chunk_shift),
		.in_chunk = (uint32_t)(in_row & (geo->chunk - 1)),
	};

	rows.count = pp != 0 ? pp : data / geo->nr_data;
	if (entry->data_sector >= geo->array_size || rows.count == 0 || data % rows.count != 0 ||
		rows.count > geo->chunk - rows.in_chunk) {
		return false;
	}
	rows.nr = data / rows.count;
	xbdev__md_row(geo, rows.row, &who);
	*ret_rows = rows;
	return rows.nr <= geo->nr_data - rows.first && entry->parity_disk == role && who.p == role;
}

/* Whether the entry is whole; a damaged one is counted. */
static bool check_entry(struct xbdev_md_ppl_replay *replay, struct rows *ret_rows)
{
	const struct area *area = &replay->areas[replay->role];
	const struct xbdev_md_ppl_entry *entry = &area->header.entries[replay->entry];

	if (entry->pp_size > area->count - area->payload ||
		xbdev__md_ppl_checksum(area->bytes + area->payload, entry->pp_size) !=
			entry->checksum ||
		!find_rows(&replay->build->array->geo, replay->role, entry, ret_rows)) {
		replay->nr_damaged++;
		return false;
	}
	return true;
}

static void next_entry(struct xbdev_md_ppl_replay *replay)
{
	struct area *area = &replay->areas[replay->role];
	const uint32_t pp_size = area->header.entries[replay->entry].pp_size;

	area->payload +=
		pp_size < area->count - area->payload ? pp_size : area->count - area->payload;
	replay->entry++;
	replay->done = 0;
}

/* ---- a piece of it ---- */

static uint8_t *piece_buf(struct xbdev_md_ppl_replay *replay, uint32_t index)
{
	return replay->buf + (size_t)index * PIECE_BYTES;
}

static void on_written(struct xbdev_md_build *build)
{
	struct xbdev_md_ppl_replay *replay = build->replay;

	replay->done += replay->len;
	next_piece(build);
}

static bool is_whole(const struct xbdev_md_ppl_replay *replay)
{
	return replay->known == (1ull << replay->nr_sources) - 1;
}

static struct xbdev_md_member *twin_of(const struct xbdev_md_array *array, uint32_t role)
{
	struct xbdev_md_member *twin = array->replacements[role];

	return xbdev__md_member_is_writable(twin) ? twin : NULL;
}

static uint64_t sector_of(const struct xbdev_md_ppl_replay *replay, const struct rows *rows)
{
	return rows->row * replay->build->array->geo.chunk + rows->in_chunk + replay->done;
}

static void write_piece(struct xbdev_md_ppl_replay *replay, struct xbdev_md_member *member,
	uint64_t sector, uint32_t buf)
{
	if (xbdev__md_member_is_writable(member)) {
		xbdev__md_build_write(replay->build, member, member->super.data_offset + sector,
			piece_buf(replay, buf), (size_t)replay->len * XBDEV_MD_SECTOR);
	}
}

/* Buffers are those of the data columns; the last one is the parity's. */
static void make_parity(struct xbdev_md_ppl_replay *replay, uint32_t first)
{
	const struct area *area = &replay->areas[replay->role];
	void *sources[XBDEV_MD_MAX_DISKS + 1];
	uint32_t nr = 0;

	for (; nr < replay->nr_sources; nr++) {
		sources[nr] = piece_buf(replay, first + nr);
	}
	if (area->header.entries[replay->entry].pp_size > 0) {
		sources[nr++] =
			area->bytes + area->payload + (size_t)replay->done * XBDEV_MD_SECTOR;
	}
	xbdev__md_xor(piece_buf(replay, XBDEV_MD_MAX_DISKS), sources, nr,
		(size_t)replay->len * XBDEV_MD_SECTOR);
}

static void make_column(struct xbdev_md_ppl_replay *replay, uint32_t nr_data)
{
	void *sources[XBDEV_MD_MAX_DISKS + 1] = {piece_buf(replay, XBDEV_MD_MAX_DISKS)};
	uint32_t nr = 1;

	for (uint32_t i = 0; i < nr_data; i++) {
		if (i != replay->rebuilt) {
			sources[nr++] = piece_buf(replay, i);
		}
	}
	xbdev__md_xor(piece_buf(replay, replay->rebuilt), sources, nr,
		(size_t)replay->len * XBDEV_MD_SECTOR);
}

/* What was being written may be on a member and not on who is to replace it, or the other way
 * round. The member's word counts, for its parity is made from that. */
static void on_read(struct xbdev_md_build *build)
{
	struct xbdev_md_ppl_replay *replay = build->replay;
	struct xbdev_md_array *array = build->array;
	struct xbdev_md_row who;
	struct rows rows;
	uint64_t sector;

	find_rows(&array->geo, replay->role,
		&replay->areas[replay->role].header.entries[replay->entry], &rows);
	xbdev__md_row(&array->geo, rows.row, &who);
	sector = sector_of(replay, &rows);
	for (uint32_t i = 0; i < rows.nr; i++) {
		if ((replay->known >> i & 1) != 0) {
			write_piece(replay, twin_of(array, who.data[rows.first + i]), sector,
				rows.first + i);
		}
	}
	if (is_whole(replay)) {
		make_parity(replay, rows.first);
		write_piece(replay, array->roles[replay->role], sector, XBDEV_MD_MAX_DISKS);
	}
	if (replay->rebuilt != NOBODY) {
		make_column(replay, array->geo.nr_data);
		write_piece(
			replay, array->roles[who.data[replay->rebuilt]], sector, replay->rebuilt);
		write_piece(
			replay, twin_of(array, who.data[replay->rebuilt]), sector, replay->rebuilt);
	}
	if (replay->is_parity_written) {
		write_piece(replay, twin_of(array, replay->role), sector, XBDEV_MD_MAX_DISKS);
	}
	xbdev__md_build_wait(build, on_written);
}

/* The piece ends where a recovery has come to: before it the member counts, behind it not; and
 * where blocks that are known to be bad begin or end. */
static void cut_piece(struct xbdev_md_ppl_replay *replay, uint64_t sector)
{
	const struct xbdev_md_array *array = replay->build->array;

	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		const struct xbdev_md_member *member = array->roles[i];
		uint64_t bad, count, at;

		if (member == NULL) {
			continue;
		}
		if (member->state == XBDEV_MD_MEMBER_RECOVERING &&
			member->recovery_offset > sector &&
			member->recovery_offset < sector + replay->len) {
			replay->len = (uint32_t)(member->recovery_offset - sector);
		}
		at = member->super.data_offset + sector;
		if (member->bad != NULL &&
			xbdev__md_bad_blocks_find(member->bad, at, replay->len, &bad, &count)) {
			replay->len = (uint32_t)(bad > at ? bad - at : count);
		}
	}
}

static bool is_known(const struct xbdev_md_ppl_replay *replay, const struct xbdev_md_member *member,
	uint64_t sector)
{
	return xbdev__md_member_is_readable(member, sector, sector + replay->len) &&
	       !xbdev__md_member_has_bad(member, sector, replay->len);
}

static void read_member(struct xbdev_md_ppl_replay *replay, struct xbdev_md_member *member,
	uint64_t sector, uint32_t buf)
{
	xbdev__md_build_read(replay->build, member, member->super.data_offset + sector,
		piece_buf(replay, buf), (size_t)replay->len * XBDEV_MD_SECTOR);
}

static bool is_named(const struct rows *rows, uint32_t column)
{
	return column >= rows->first && column < rows->first + rows->nr;
}

/* The column of a member that was not counted on when the unit was written, and is now. */
static void find_rebuilt(struct xbdev_md_ppl_replay *replay, const struct rows *rows,
	const struct xbdev_md_row *who, uint64_t sector)
{
	const struct xbdev_md_array *array = replay->build->array;

	replay->rebuilt = NOBODY;
	for (uint32_t i = 0; i < array->geo.nr_data && is_whole(replay); i++) {
		const struct xbdev_md_member *member = array->roles[who->data[i]];

		if (!is_known(replay, member, sector)) {
			replay->rebuilt = NOBODY;
			return;
		}
		if (who->data[i] == replay->areas[replay->role].header.absent_role &&
			!is_named(rows, i)) {
			replay->rebuilt = i;
		}
	}
}

/* False: some of its data is missing, and its parity stays as it is; nor is anybody about to be
 * replaced by one who should have the same. */
static bool read_piece(struct xbdev_md_build *build, const struct rows *rows)
{
	struct xbdev_md_ppl_replay *replay = build->replay;
	struct xbdev_md_array *array = build->array;
	uint64_t sector = sector_of(replay, rows);
	bool has_twin = twin_of(array, replay->role) != NULL;
	struct xbdev_md_row who;

	replay->len = rows->count - replay->done;
	replay->len = replay->len < PIECE_SECTORS ? replay->len : PIECE_SECTORS;
	cut_piece(replay, sector);
	replay->nr_sources = rows->nr;
	replay->known = 0;
	xbdev__md_row(&array->geo, rows->row, &who);
	for (uint32_t i = 0; i < rows->nr; i++) {
		uint32_t role = who.data[rows->first + i];

		if (is_known(replay, array->roles[role], sector)) {
			replay->known |= 1u << i;
			has_twin |= twin_of(array, role) != NULL;
		}
	}
	if (!is_whole(replay) && !has_twin) {
		return false;
	}
	for (uint32_t i = 0; i < rows->nr; i++) {
		if ((replay->known >> i & 1) != 0) {
			read_member(replay, array->roles[who.data[rows->first + i]], sector,
				rows->first + i);
		}
	}
	find_rebuilt(replay, rows, &who, sector);
	for (uint32_t i = 0; i < array->geo.nr_data && replay->rebuilt != NOBODY; i++) {
		if (i != replay->rebuilt && !is_named(rows, i)) {
			read_member(replay, array->roles[who.data[i]], sector, i);
		}
	}
	replay->is_parity_written =
		is_whole(replay) || (twin_of(array, replay->role) != NULL &&
					    is_known(replay, array->roles[replay->role], sector));
	if (!is_whole(replay) && replay->is_parity_written) {
		read_member(replay, array->roles[replay->role], sector, XBDEV_MD_MAX_DISKS);
	}
	xbdev__md_build_wait(build, on_read);
	return true;
}

/* ---- the end ---- */

static void end(struct xbdev_md_build *build)
{
	struct xbdev_md_ppl_replay *replay = build->replay;
	struct xbdev_md_array *array = build->array;
	bool is_sure =
		(replay->has_entries || replay->is_marked) && array->super.resync_offset == 0;
	bool is_made_whole = is_sure && replay->nr_damaged == 0;

	xu_info(xbdev_ctx_log(build->ctx),
		"array %s: of its partial parity log %" PRIu64 " entries have been replayed, "
		"%" PRIu64 " were damaged",
		array->dev.name, replay->nr_replayed, replay->nr_damaged);
	array->is_parity_sure = is_sure;
	if (is_made_whole || array->nr_degraded > 0) {
		array->super.resync_offset = XBDEV_MD_CLEAN;
		array->in_sync_below = XBDEV_MD_NEVER;
	}
	xbdev__md_ppl_replay_free(build);
	build->after_replay(build);
}

static void next_piece(struct xbdev_md_build *build)
{
	struct xbdev_md_ppl_replay *replay = build->replay;

	for (; replay->role < build->array->geo.raid_disks; replay->role++, replay->entry = 0) {
		while (replay->areas[replay->role].bytes != NULL &&
			replay->entry < replay->areas[replay->role].header.nr_entries) {
			struct rows rows;

			if (replay->done == 0 && !check_entry(replay, &rows)) {
				next_entry(replay);
				continue;
			}
			find_rows(&build->array->geo, replay->role,
				&replay->areas[replay->role].header.entries[replay->entry], &rows);
			if (replay->done >= rows.count) {
				replay->nr_replayed++;
				next_entry(replay);
				continue;
			}
			if (read_piece(build, &rows)) {
				return;
			}
			replay->done += replay->len;
		}
	}
	end(build);
}

static void on_areas_read(struct xbdev_md_build *build)
{
	struct xbdev_md_ppl_replay *replay = build->replay;
	uint32_t signature = xbdev__md_ppl_signature(&build->array->super.set_uuid);

	replay->is_marked = true;
	for (uint32_t i = 0; i < build->array->geo.raid_disks; i++) {
		struct area *area = &replay->areas[i];

		if (area->bytes != NULL && xbdev__md_ppl_newest(area->bytes, area->count, signature,
						   &area->header, &area->payload) != 0) {
			xu_warn(xbdev_ctx_log(build->ctx),
				"array %s: the partial parity log of %s has no valid header",
				build->array->dev.name, build->array->roles[i]->name);
			replay->nr_damaged++;
		}
		replay->has_entries |= area->header.nr_entries > 0;
		replay->is_marked &=
			area->bytes == NULL || area->header.generation >= XBDEV_MD_PPL_AGREES;
	}
	next_piece(build);
}

static void read_area(
	struct xbdev_md_build *build, struct xbdev_md_member *member, struct area *area)
{
	area->count = (size_t)member->super.ppl_size * XBDEV_MD_SECTOR;
	area->bytes = xu_buf_alloc(area->count);
	if (area->bytes == NULL) {
		xu_error_set_errno(&build->err, -ENOMEM, "array '%s'", build->array->dev.name);
		return;
	}
	xbdev__md_build_read(build, member, xbdev__md_super_place(member->super.ppl_offset),
		area->bytes, area->count);
}

void xbdev__md_ppl_replay(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	struct xbdev_md_ppl_replay *replay = calloc(1, sizeof(*replay));

	build->replay = replay;
	if (replay != NULL) {
		replay->build = build;
		replay->buf = xu_buf_alloc((size_t)(XBDEV_MD_MAX_DISKS + 1) * PIECE_BYTES);
	}
	if (replay == NULL || replay->buf == NULL) {
		xu_error_set_errno(&build->err, -ENOMEM, "array '%s'", array->dev.name);
	}
	for (uint32_t i = 0; build->err.code == 0 && i < array->geo.raid_disks; i++) {
		struct xbdev_md_member *member = array->roles[i];

		if (member != NULL) {
			read_area(build, member, &replay->areas[i]);
		}
	}
	xbdev__md_build_wait(build, on_areas_read);
}
