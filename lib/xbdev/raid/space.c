/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The places on a new member, by mdadm's rules (docs/raid.md, "Space on a member"): superblock at
 * sector 8, bitmap or PPL at 16, the bad block log, headroom, data. What is ours, a journal, lies
 * in the headroom right behind the bad block log: mdadm takes headroom from its other end.
 */
#include "lib/xbdev/raid/space.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/badblocks.h"
#include "lib/xbdev/raid/bitmap_format.h"

#define KIB           2u /* sectors */
#define MIB           (1024u * KIB)
#define GIB           ((uint64_t)1024 * MIB)
#define BEFORE_LOGS   (12u * KIB) /* what mdadm counts for all that lies before the bitmap */
#define LOGS_OFFSET   8           /* sectors from the superblock */
#define BBLOG_SECTORS (XBDEV_MD_BAD_BLOCKS_BYTES / XBDEV_MD_SECTOR)
#define PPL_SECTORS   (1u * MIB)
#define HEADROOM_MAX  (128u * MIB)
#define ALIGN_DATA    (1u * MIB)
#define ALIGN_4K      8u
#define RAID1_UNIT    (64u * KIB)
#define MIN_CHUNK     4096u /* bytes of a chunk of the bitmap */
#define DEFAULT_CHUNK (64u << 20)
#define MAX_CHUNK     (1u << 31)
#define MIN_DATA      16u
#define MAX_SECTORS   (UINT64_C(1) << 55) /* 2^64 bytes */

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static bool is_striped_only(int32_t level)
{
	return level == 0 || level == -1;
}

/* What is kept free for a bitmap, there be one or not. */
static uint32_t bitmap_space(uint64_t dev_sectors)
{
	if (dev_sectors < 64 * KIB) {
		return 0;
	}
	if (dev_sectors - 64 * KIB >= 200 * GIB) {
		return 128 * KIB;
	}
	return dev_sectors - 4 * KIB > 8 * GIB ? 64 * KIB : 4 * KIB;
}

static uint64_t data_offset(const struct xbdev_md_space_opts *opts, uint64_t dev_sectors)
{
	uint64_t headroom = HEADROOM_MAX;
	uint32_t logs = opts->has_ppl ? PPL_SECTORS : bitmap_space(dev_sectors);

	/* A thousandth of the device, but four chunks at least, for a reshape. */
	while (headroom * 1024 > dev_sectors &&
		(opts->chunk == 0 || headroom / 2 >= (uint64_t)opts->chunk / KIB * 4)) {
		headroom /= 2;
	}
	return round_up(BEFORE_LOGS + logs + headroom, ALIGN_DATA);
}

static int check_opts(const struct xbdev_md_space_opts *opts, uint32_t nr_members,
	uint32_t raid_disks, uint32_t layout, struct xu_error *err)
{
	uint32_t near = layout & 0xff, far = layout >> 8 & 0xff;

	if (raid_disks == 0 || nr_members < raid_disks || nr_members > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL,
			"an array of %" PRIu32 " members and %" PRIu32
			" devices for them; there may be 1 to %u",
			raid_disks, nr_members, XBDEV_MD_MAX_DISKS);
	}
	if (opts->size > MAX_SECTORS || opts->journal_sectors > MAX_SECTORS) {
		return xu_error_set(err, -EINVAL,
			"%" PRIu64 " sectors per member and a journal of %" PRIu64
			": there is no device of that size",
			opts->size, opts->journal_sectors);
	}
	if (opts->chunk == 0 && opts->level != 1 && opts->level != -1) {
		return xu_error_set(err, -EINVAL, "an array of this level needs a chunk size");
	}
	if (opts->level == 10 && (near * far == 0 || near * far > raid_disks)) {
		return xu_error_set(err, -EINVAL,
			"raid10 with %" PRIu32 " x %" PRIu32 " copies on %" PRIu32
			" members; there may be as many copies as members",
			near, far, raid_disks);
	}
	if (opts->has_ppl && (opts->level != 5 || opts->bitmap_chunk_bytes != 0)) {
		return xu_error_set(
			err, -EINVAL, "a partial parity log is for raid5, and instead of a bitmap");
	}
	if (is_striped_only(opts->level) && (opts->bitmap_chunk_bytes != 0 || opts->size != 0)) {
		return xu_error_set(err, -EINVAL,
			"raid0 and linear have neither a bitmap nor one size for all members; "
			"leave both out");
	}
	return 0;
}

/* raid10: what of `size` the copies can use, as Linux writes it: whole chunks of a whole number of
 * array chunks. */
static uint64_t raid10_size(
	uint64_t size, uint32_t chunk, uint32_t raid_disks, uint32_t layout, uint64_t *ret_array)
{
	uint64_t near = layout & 0xff, far = layout >> 8 & 0xff;
	uint64_t chunks = size / chunk / far * raid_disks / near;
	uint64_t used = (chunks * near * far + raid_disks - 1) / raid_disks;

	*ret_array = used / far * raid_disks / near * chunk;
	return used * chunk;
}

/* The smallest chunk with which `sectors` fit the bitmap's place. */
static uint64_t smallest_chunk(uint64_t sectors, uint32_t space)
{
	uint64_t nr_bits = ((uint64_t)space * XBDEV_MD_SECTOR - XBDEV_MD_BITMAP_HEADER_BYTES) * 8;
	uint64_t chunk = MIN_CHUNK;

	while (chunk <= MAX_CHUNK &&
		(sectors + chunk / XBDEV_MD_SECTOR - 1) / (chunk / XBDEV_MD_SECTOR) > nr_bits) {
		chunk *= 2;
	}
	return chunk;
}

static int plan_bitmap(const struct xbdev_md_space_opts *opts, uint64_t sync_sectors,
	uint32_t space, struct xbdev_md_space *plan, struct xu_error *err)
{
	uint64_t chunk = opts->bitmap_chunk_bytes, min = smallest_chunk(sync_sectors, space);
	struct xbdev_md_bitmap_header header = {.sync_size = sync_sectors};
	uint64_t bytes;

	if (chunk == UINT32_MAX) {
		chunk = min > DEFAULT_CHUNK ? min : DEFAULT_CHUNK;
	}
	if (chunk < min || chunk > MAX_CHUNK || (chunk & (chunk - 1)) != 0) {
		return xu_error_set(err, -EINVAL,
			"a bitmap chunk of %" PRIu64 " bytes: it must be a power of two, %" PRIu64
			" to %u for an array of this size",
			chunk, min, MAX_CHUNK);
	}
	header.chunksize = (uint32_t)chunk;
	bytes = XBDEV_MD_BITMAP_HEADER_BYTES + (xbdev__md_bitmap_nr_bits(&header) + 7) / 8;
	plan->bitmap_chunk_bytes = header.chunksize;
	plan->bitmap_offset = LOGS_OFFSET;
	plan->bitmap_sectors =
		(uint32_t)round_up((bytes + XBDEV_MD_SECTOR - 1) / XBDEV_MD_SECTOR, ALIGN_4K);
	return 0;
}

/* What each device has behind data_offset, and the unit that has to fit there. */
static int plan_data(const struct xbdev_md_space_opts *opts, const uint64_t *dev_sectors,
	uint32_t nr_members, struct xbdev_md_space *plan, struct xu_error *err)
{
	uint64_t unit = opts->level == 1 ? RAID1_UNIT : opts->chunk, least = UINT64_MAX, needed;

	unit = unit < MIN_DATA ? MIN_DATA : unit;
	needed = plan->data_offset + (opts->size > unit ? opts->size : unit);
	for (uint32_t i = 0; i < nr_members; i++) {
		if (dev_sectors[i] == 0) {
			continue;
		}
		if (dev_sectors[i] < needed) {
			return xu_error_set(err, -ENOSPC,
				"device %" PRIu32 " has %" PRIu64
				" sectors; a member of this array needs %" PRIu64 " at least",
				i, dev_sectors[i], needed);
		}
		plan->data_sizes[i] = dev_sectors[i] - plan->data_offset;
		least = plan->data_sizes[i] < least ? plan->data_sizes[i] : least;
	}
	if (least == UINT64_MAX) {
		return xu_error_set(err, -EINVAL, "an array without any device");
	}
	if (!is_striped_only(opts->level)) {
		plan->size = (opts->size != 0 ? opts->size : least) / unit * unit;
	}
	return 0;
}

/* Behind the bad block log; the data moves when the headroom is too small for it. */
static void plan_journal(const struct xbdev_md_space_opts *opts, struct xbdev_md_space *plan)
{
	uint64_t first = round_up(
		XBDEV_MD_SUPER_OFFSET + (uint64_t)plan->bblog_offset + plan->bblog_size, ALIGN_4K);
	uint64_t end = first + round_up(opts->journal_sectors, ALIGN_4K);

	plan->journal_sector = first;
	if (end > plan->data_offset) {
		plan->data_offset = round_up(end, ALIGN_DATA);
	}
}

int xbdev__md_space_plan(const struct xbdev_md_space_opts *opts, const uint64_t *dev_sectors,
	uint32_t nr_members, uint32_t raid_disks, uint32_t layout, struct xbdev_md_space *ret_space,
	struct xu_error *err)
{
	struct xbdev_md_space plan = {.bblog_size = BBLOG_SECTORS};
	uint64_t first = 0, sync_sectors;
	uint32_t space;
	int rc = check_opts(opts, nr_members, raid_disks, layout, err);

	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; i < nr_members && first == 0; i++) {
		first = dev_sectors[i];
	}
	space = opts->has_ppl ? PPL_SECTORS : bitmap_space(first);
	plan.data_offset = data_offset(opts, first);
	if (opts->has_ppl) {
		plan.ppl_offset = LOGS_OFFSET;
		plan.ppl_size = PPL_SECTORS;
	}
	plan.bblog_offset = LOGS_OFFSET + (is_striped_only(opts->level) ? 0 : (int32_t)space);
	if (opts->journal_sectors != 0) {
		plan_journal(opts, &plan);
	}
	rc = plan_data(opts, dev_sectors, nr_members, &plan, err);
	sync_sectors = plan.size;
	if (rc == 0 && opts->level == 10) {
		plan.size = raid10_size(plan.size, opts->chunk, raid_disks, layout, &sync_sectors);
	}
	if (rc == 0 && opts->bitmap_chunk_bytes != 0) {
		rc = plan_bitmap(opts, sync_sectors, space, &plan, err);
		plan.bblog_offset = LOGS_OFFSET + (int32_t)plan.bitmap_sectors;
	}
	if (rc == 0) {
		*ret_space = plan;
	}
	return rc;
}
