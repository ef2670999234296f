/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The partial parity log while an array runs (docs/raid.md, "PPL"): the log's kind for raid5.
 *
 * A lane is a parity member; its units follow each other in that member's area, and in that of who
 * is to replace it, back at the start when the rest is too small. An entry of a unit says, of some
 * rows of sectors of a stripe, which data columns are written (neighbours only: MD's entry is one
 * range of the array) and the XOR of those that are not.
 *
 * A column whose member is missing is not named though it is written: its new content then is in
 * the XOR of the others, so the replay completes its write, and nothing is lost with it. Where that
 * would leave columns on both sides of it the write is done in two parts. So is one whose recovery
 * has been there if the superblocks do not say so yet: a crash goes back behind it, or not. The
 * unit has a mark of that member, and if it counts when the log is replayed it is made from the
 * others.
 *
 * Nor is a column named in rows where its blocks are bad: they may still be so after a crash, or
 * somebody else has its place then. The unit has the mark for it.
 *
 * An area is emptied in the round of metadata that first says that its member serves: what was in
 * it before is of writes that are long over.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/raid/log.h"
#include "lib/xbdev/raid/ppl_format.h"

#define UNIT_BYTES (XBDEV_MD_PPL_HEADER_BYTES + (128u << 10))
#define AREA_BYTES (1u << 20) /* that is used of a larger one */

/* ---- columns ---- */

/* What is written to it cannot be found there later. Where a recovery is, or has been though it is
 * not complete before it, the member counts: it may be believed before the write has ended. */
static bool is_absent(const struct xbdev_md_stripe *stripe, uint32_t index)
{
	const struct xbdev_md_array *array = stripe->array;
	const struct xbdev_md_member *member = array->roles[stripe->columns[index].role];

	return !xbdev__md_member_is_readable(
		       member, stripe->sector, stripe->sector + array->stripes->sectors) &&
	       (!xbdev__md_member_is_writable(member) ||
		       !xbdev__md_sync_has_reached(array, member, stripe->sector));
}

static uint32_t absent_columns(const struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_array *array = stripe->array;
	uint32_t columns = 0, unknown = 0;

	for (uint32_t i = 0; i < array->geo.nr_data; i++) {
		columns |= is_absent(stripe, i) ? 1u << i : 0;
		unknown |= xbdev__md_log_knows(array->log, array->roles[stripe->columns[i].role],
				   stripe->sector, stripe->sector + array->stripes->sectors)
				   ? 0
				   : 1u << i;
	}
	/* A recovery that has been here, but the disks do not say so: a crash goes back behind it.
	 */
	return columns == 0 && (unknown & (unknown - 1)) == 0 ? unknown : columns;
}

static uint32_t bad_columns(const struct xbdev_md_stripe *stripe, uint32_t sector, uint32_t count)
{
	const struct xbdev_md_array *array = stripe->array;
	uint32_t columns = 0;

	for (uint32_t i = 0; i < array->geo.nr_data; i++) {
		const struct xbdev_md_member *member = array->roles[stripe->columns[i].role];

		if (member != NULL &&
			xbdev__md_member_has_bad(member, stripe->sector + sector, count)) {
			columns |= 1u << i;
		}
	}
	return columns;
}

/* The column that is not named where its blocks are bad: they may still be so after a crash, though
 * they are being written. Where a member is missing, too, nothing is to be saved. */
static uint32_t doubtful_column(const struct xbdev_md_stripe *stripe)
{
	if (stripe->apart == stripe->absent || absent_columns(stripe) != 0) {
		return 0;
	}
	return stripe->apart & bad_columns(stripe, 0, stripe->array->stripes->sectors);
}

/* The columns that are written in a row of sectors. */
static uint32_t columns_of_row(const struct xbdev_md_stripe *stripe, uint32_t sector)
{
	uint32_t columns = 0;

	for (uint32_t i = 0; i < stripe->array->geo.nr_data; i++) {
		const struct xbdev_md_column *column = &stripe->columns[i];

		if (column->is_touched) {
			columns |= (uint32_t)(column->cover[sector / 64] >> (sector % 64) & 1) << i;
		}
	}
	return columns;
}

static uint32_t limit(struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry)
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	uint32_t absent = absent_columns(stripe), index;
	uint64_t middle;

	stripe->absent = stripe->apart = absent;
	if (absent == 0) {
		uint32_t bad = bad_columns(stripe, 0, stripe->array->stripes->sectors);

		stripe->apart = (bad & (bad - 1)) == 0 ? bad : 0;
	}
	if (stripe->apart == 0) {
		return entry->count;
	}
	index = (uint32_t)__builtin_ctz(stripe->apart);
	if (index == 0 || index == geo->nr_data - 1) {
		return entry->count;
	}
	/* Nothing of this stripe is before it, or nothing behind it, in this row. */
	middle = stripe->array_sector + (uint64_t)index * geo->chunk;
	if (entry->sector >= middle - geo->chunk + stripe->array->stripes->sectors ||
		entry->sector + entry->count <= middle + geo->chunk) {
		return entry->count;
	}
	return (uint32_t)(middle - entry->sector);
}

/* In no row of sectors may there be a gap between columns that are written and named. */
static bool has_no_gap(
	const struct xbdev_md_stripe *stripe, uint64_t (*covers)[2], uint32_t unnamed)
{
	uint64_t begun[2] = {0}, ended[2] = {0};

	for (uint32_t i = 0; i < stripe->array->geo.nr_data; i++) {
		for (uint32_t k = 0; k < 2; k++) {
			uint64_t cover = (unnamed >> i & 1) != 0 ? 0 : covers[i][k];

			ended[k] |= begun[k] & ~cover;
			if ((ended[k] & cover) != 0) {
				return false;
			}
			begun[k] |= cover;
		}
	}
	return true;
}

/* A column with bad blocks is named where it has none. */
static bool is_one(const struct xbdev_md_stripe *stripe, uint64_t (*covers)[2])
{
	return has_no_gap(stripe, covers, stripe->apart) &&
	       (stripe->apart == stripe->absent || has_no_gap(stripe, covers, stripe->absent));
}

/* ---- the lane ---- */

/* Also of a stripe whose parity is not written: if its member has failed, that must be known before
 * the data changes. */
static struct xbdev_md_lane *lane_of(struct xbdev_md_stripe *stripe)
{
	return &stripe->array->log->lanes[stripe->row.p];
}

/* Without the member there is no parity to be wrong. */
static bool is_ready(const struct xbdev_md_lane *lane)
{
	const struct xbdev_md_array *array = lane->log->array;
	const struct xbdev_md_member *member = array->roles[lane->index];
	const struct xbdev_md_member *twin = array->replacements[lane->index];

	return (!xbdev__md_member_is_writable(member) || member->is_log_ready) &&
	       (!xbdev__md_member_is_writable(twin) || twin->is_log_ready);
}

/* ---- a unit ---- */

/* What no entry of the stripe writes, or what is to be where a member is missing: the new parity
 * without the columns that are named. */
static void put_partial_parity(struct xbdev_md_stripe *stripe, char *to, struct xbdev_md_span rows,
	uint32_t first, uint32_t count)
{
	size_t at = (size_t)(rows.lo - stripe->span.lo) * XBDEV_MD_SECTOR;
	void *sources[XBDEV_MD_MAX_DISKS];
	uint32_t nr = 0;

	sources[nr++] = stripe->columns[stripe->array->geo.nr_data].data + at;
	for (uint32_t i = first; i < first + count; i++) {
		sources[nr++] = stripe->columns[i].data + at;
	}
	xbdev__md_xor(to, sources, nr, (size_t)(rows.hi - rows.lo) * XBDEV_MD_SECTOR);
}

static bool is_run(uint32_t columns)
{
	uint32_t from_0 = columns >> __builtin_ctz(columns);

	return (from_0 & (from_0 + 1)) == 0;
}

/* Those that are named: without those of members that were missing when it was chosen what to do,
 * or have gone since if that leaves no gap, or whose blocks are bad in these rows. */
static uint32_t named_columns(const struct xbdev_md_stripe *stripe, uint32_t columns, uint32_t bad)
{
	uint32_t present = columns & ~stripe->absent, left = present & ~absent_columns(stripe);

	if ((left & ~bad) != 0 && is_run(left & ~bad)) {
		return left & ~bad;
	}
	if (left != 0 && is_run(left)) {
		return left;
	}
	return present != 0 ? present : columns;
}

static void add_rows(struct xbdev_md_lane *lane, struct xbdev_md_stripe *stripe,
	struct xbdev_md_span rows, uint32_t columns)
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	struct xbdev_md_ppl_header *header = lane->header;
	struct xbdev_md_ppl_entry *entry = &header->entries[header->nr_entries++];
	uint32_t first = (uint32_t)__builtin_ctz(columns);
	uint32_t count = (uint32_t)__builtin_popcount(columns);
	uint32_t len = (rows.hi - rows.lo) * XBDEV_MD_SECTOR;

	assert(is_run(columns));
	*entry = (struct xbdev_md_ppl_entry){
		.data_sector = stripe->array_sector + (uint64_t)first * geo->chunk + rows.lo,
		.pp_size = count < geo->nr_data ? len : 0,
		.data_size = count * len,
		.parity_disk = lane->index,
	};
	if (entry->pp_size > 0) {
		put_partial_parity(stripe, lane->buf + lane->used, rows, first, count);
	}
	entry->checksum = xbdev__md_ppl_checksum(lane->buf + lane->used, entry->pp_size);
	lane->used += entry->pp_size;
}

static uint32_t bad_in_row(const struct xbdev_md_stripe *stripe, uint32_t doubtful, uint32_t sector)
{
	return doubtful != 0 ? doubtful & bad_columns(stripe, sector, 1) : 0;
}

/* Calls add_rows() for each run of rows that has the same columns, and the same of them are bad;
 * without a lane it only counts them. */
static uint32_t walk_rows(struct xbdev_md_lane *lane, struct xbdev_md_stripe *stripe)
{
	uint32_t doubtful = doubtful_column(stripe);
	struct xbdev_md_span rows = {stripe->span.lo, stripe->span.lo};
	uint32_t nr = 0;

	while (rows.lo < stripe->span.hi) {
		uint32_t columns = columns_of_row(stripe, rows.lo);
		uint32_t bad = bad_in_row(stripe, doubtful, rows.lo);

		do {
			rows.hi++;
		} while (rows.hi < stripe->span.hi && columns_of_row(stripe, rows.hi) == columns &&
			 bad_in_row(stripe, doubtful, rows.hi) == bad);
		nr += columns != 0;
		if (lane != NULL && columns != 0) {
			add_rows(lane, stripe, rows, named_columns(stripe, columns, bad));
		}
		rows.lo = rows.hi;
	}
	return nr;
}

/* What it holds when the log is replayed, if it counts by then, is made from what the log says. */
static void note_absent(
	struct xbdev_md_ppl_header *header, const struct xbdev_md_stripe *stripe, uint32_t columns)
{
	if (columns != 0) {
		header->absent_role = stripe->columns[__builtin_ctz(columns)].role;
	}
}

/* A unit has one such mark: with that of another stripe a column that is as it was would be made
 * from one that is not. */
static bool has_no_other_absent(
	const struct xbdev_md_ppl_header *header, const struct xbdev_md_stripe *stripe)
{
	uint32_t columns;

	if (header->absent_role == XBDEV_MD_PPL_NOBODY) {
		return true;
	}
	columns = stripe->absent | absent_columns(stripe) | doubtful_column(stripe);
	for (; columns != 0; columns &= columns - 1) {
		if (stripe->columns[__builtin_ctz(columns)].role != header->absent_role) {
			return false;
		}
	}
	return true;
}

static bool add(struct xbdev_md_lane *lane, struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_ppl_header *header = lane->header;
	uint32_t len = (stripe->span.hi - stripe->span.lo) * XBDEV_MD_SECTOR;

	if (lane->used == 0) {
		lane->used = XBDEV_MD_PPL_HEADER_BYTES;
		header->nr_entries = 0;
		header->absent_role = XBDEV_MD_PPL_NOBODY;
	}
	if (lane->used + len > lane->log->unit_bytes ||
		header->nr_entries + walk_rows(NULL, stripe) > XBDEV_MD_PPL_ENTRIES ||
		!has_no_other_absent(header, stripe)) {
		return false;
	}
	if (stripe->columns[stripe->array->geo.nr_data].is_written) {
		note_absent(header, stripe, stripe->absent);
		note_absent(header, stripe, absent_columns(stripe));
		note_absent(header, stripe, doubtful_column(stripe));
		walk_rows(lane, stripe);
	}
	return true;
}

/* Where the member's next unit goes, as a sector of the device. */
static uint64_t take_place(const struct xbdev_md_lane *lane, struct xbdev_md_member *member)
{
	uint64_t offset;

	if (member->log_offset + lane->used > lane->log->area_bytes) {
		member->log_offset = 0;
	}
	offset = member->log_offset;
	member->log_offset += lane->used;
	return xbdev__md_super_place(member->super.ppl_offset) + offset / XBDEV_MD_SECTOR;
}

/* Who is to replace the member has it too: power may fail and take the member away, or come back
 * when the other one has its place. */
static uint32_t seal(struct xbdev_md_lane *lane,
	struct xbdev_md_member *ret_members[XBDEV_MD_LOG_COPIES],
	uint64_t ret_sectors[XBDEV_MD_LOG_COPIES])
{
	struct xbdev_md_array *array = lane->log->array;
	struct xbdev_md_member *both[] = {
		array->roles[lane->index], array->replacements[lane->index]};
	struct xbdev_md_ppl_header *header = lane->header;
	uint32_t nr = 0;

	header->signature = xbdev__md_ppl_signature(&array->super.set_uuid);
	header->generation = ++lane->seq;
	xbdev__md_ppl_format(header, lane->buf);
	for (uint32_t i = 0; i < 2; i++) {
		if (xbdev__md_member_is_writable(both[i])) {
			ret_members[nr] = both[i];
			ret_sectors[nr++] = take_place(lane, both[i]);
		}
	}
	return nr;
}

/* ---- the area ---- */

static void *meta(struct xbdev_md_member *member, size_t *ret_bytes, uint64_t *ret_sector)
{
	struct xbdev_md_log *log = member->array->log;

	if (member->is_log_ready || member->state == XBDEV_MD_MEMBER_SPARE) {
		return NULL;
	}
	/* Behind the empty header: a first unit that is torn leaves that one. */
	member->log_offset = XBDEV_MD_PPL_HEADER_BYTES;
	*ret_bytes = log->memory_bytes;
	*ret_sector = xbdev__md_super_place(member->super.ppl_offset);
	return log->memory;
}

static const struct xbdev_md_log_kind ppl_kind = {
	.name = "partial parity log",
	.needs_mark = true,
	.lane_of = lane_of,
	.is_ready = is_ready,
	.add = add,
	.seal = seal,
	.limit = limit,
	.is_one = is_one,
	.meta = meta,
};

/* An array that is whole when it starts has parity that agrees, and from then on the log is kept:
 * the empty header says so, for power may go before there are entries, or superblocks. */
static int make_empty(struct xbdev_md_log *log)
{
	const struct xbdev_md_array *array = log->array;
	bool agrees = array->super.resync_offset == XBDEV_MD_CLEAN && array->nr_degraded == 0;
	const struct xbdev_md_ppl_header header = {
		.absent_role = XBDEV_MD_PPL_NOBODY,
		.signature = xbdev__md_ppl_signature(&array->super.set_uuid),
		.generation = agrees ? XBDEV_MD_PPL_AGREES : 0,
	};

	log->memory = xu_buf_alloc(log->memory_bytes);
	if (log->memory == NULL) {
		return -ENOMEM;
	}
	xbdev__md_ppl_format(&header, log->memory);
	return 0;
}

/* Of the smallest area, that of a spare too. A member without one has 0. */
static size_t smallest_area(const struct xbdev_md_array *array)
{
	size_t least = SIZE_MAX;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		size_t size = array->members[i] != NULL
				      ? (size_t)array->members[i]->super.ppl_size * XBDEV_MD_SECTOR
				      : SIZE_MAX;

		least = size < least ? size : least;
	}
	return least;
}

int xbdev__md_ppl_init(struct xbdev_md_array *array, struct xu_error *err)
{
	size_t stripe_bytes = (size_t)array->stripes->sectors * XBDEV_MD_SECTOR;
	size_t smallest = smallest_area(array);
	size_t area = smallest > AREA_BYTES ? AREA_BYTES : smallest;
	size_t unit = UNIT_BYTES < area ? UNIT_BYTES : area;
	struct xbdev_md_log *log;
	int rc;

	if (unit < XBDEV_MD_PPL_HEADER_BYTES + stripe_bytes) {
		return xu_error_set(err, -EOPNOTSUPP,
			"array '%s' has a partial parity log of %zu bytes on a member; %zu are "
			"needed to write to it; assemble it read-only",
			array->dev.name, smallest, XBDEV_MD_PPL_HEADER_BYTES + stripe_bytes);
	}
	rc = xbdev__md_log_new(array, &ppl_kind, unit, sizeof(struct xbdev_md_ppl_header), err);
	if (rc != 0) {
		return rc;
	}
	log = array->log;
	log->memory_bytes = area;
	/* What follows the newest unit is looked at as if it were a header, and must be none. */
	log->area_bytes = smallest > area ? area - XBDEV_MD_PPL_HEADER_BYTES : area;
	if (make_empty(log) != 0) {
		xbdev__md_log_free(array);
		return xu_error_set_errno(
			err, -ENOMEM, "array '%s': its %s", array->dev.name, ppl_kind.name);
	}
	return 0;
}
