/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bad blocks of a member. Ranges that touch are one run; a run is kept as ranges of at most 512
 * units, as the format has them, which may touch. Adding takes the whole run that it touches out
 * and puts the larger run in, so that a run never takes more ranges than it must.
 */
#include "lib/xbdev/raid/badblocks.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/raid/ondisk.h"

#define MAX_SHIFT   16u /* units of 32 MiB */
#define MAX_SECTORS (UINT64_C(1) << (64 - MD_BB_LEN_BITS))

_Static_assert(XBDEV_MD_BAD_BLOCKS * sizeof(uint64_t) == XBDEV_MD_BAD_BLOCKS_BYTES, "one page");

static uint64_t end_of(const struct xbdev_md_bad_range *range)
{
	return range->sector + range->count;
}

/* ---- the log ---- */

static int parse_entry(uint64_t entry, struct xbdev_md_bad_blocks *bad, struct xu_error *err)
{
	uint64_t unit = entry >> MD_BB_LEN_BITS, sector = unit << bad->shift;
	uint32_t len = entry & ((1u << MD_BB_LEN_BITS) - 1);
	uint64_t previous = bad->count > 0 ? end_of(&bad->ranges[bad->count - 1]) : 0;

	if (len == 0 || len > MD_BB_LEN_MAX || sector >> bad->shift != unit ||
		sector >= MAX_SECTORS || sector < previous) {
		return xu_error_set(err, -EINVAL,
			"entry %" PRIu32 " of the bad block log is %" PRIu32
			" blocks from block %" PRIu64
			" on; 1 to %u were expected, after those of the entry before",
			bad->count, len, unit, MD_BB_LEN_MAX);
	}
	bad->ranges[bad->count].sector = sector;
	bad->ranges[bad->count].count = len << bad->shift;
	bad->count++;
	return 0;
}

int xbdev__md_bad_blocks_parse(const void *bytes, uint32_t shift,
	struct xbdev_md_bad_blocks *ret_bad, struct xu_error *err)
{
	struct xbdev_md_bad_blocks bad;
	uint64_t entry;
	int rc = 0;

	if (shift > MAX_SHIFT) {
		return xu_error_set(err, -EINVAL,
			"the bad block log counts in units of 2^%" PRIu32
			" sectors; 2^%u are the most",
			shift, MAX_SHIFT);
	}
	memset(&bad, 0, sizeof(bad));
	bad.shift = shift;
	for (uint32_t i = 0; i < XBDEV_MD_BAD_BLOCKS && rc == 0; i++) {
		memcpy(&entry, (const uint8_t *)bytes + i * sizeof(entry), sizeof(entry));
		entry = le64toh(entry);
		if (entry == MD_BB_END) {
			break;
		}
		rc = parse_entry(entry, &bad, err);
	}
	if (rc == 0) {
		*ret_bad = bad;
	}
	return rc;
}

void xbdev__md_bad_blocks_format(struct xbdev_md_bad_blocks *bad, void *ret_bytes)
{
	uint64_t entry;

	memset(ret_bytes, 0xff, XBDEV_MD_BAD_BLOCKS_BYTES);
	for (uint32_t i = 0; i < bad->count; i++) {
		entry = htole64(bad->ranges[i].sector >> bad->shift << MD_BB_LEN_BITS |
				bad->ranges[i].count >> bad->shift);
		memcpy((uint8_t *)ret_bytes + i * sizeof(entry), &entry, sizeof(entry));
	}
	bad->is_changed = false;
}

/* ---- the table ---- */

/* The first range that ends behind `sector`; `count` when none does. */
static uint32_t first_behind(const struct xbdev_md_bad_blocks *bad, uint64_t sector)
{
	uint32_t low = 0, high = bad->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (end_of(&bad->ranges[middle]) > sector) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return low;
}

bool xbdev__md_bad_blocks_find(const struct xbdev_md_bad_blocks *bad, uint64_t sector,
	uint64_t count, uint64_t *ret_sector, uint64_t *ret_count)
{
	uint32_t i = first_behind(bad, sector);
	uint64_t first, end;

	/* Differences, so that a count of UINT64_MAX means all. */
	if (i == bad->count || count == 0 ||
		(bad->ranges[i].sector > sector && bad->ranges[i].sector - sector >= count)) {
		return false;
	}
	first = bad->ranges[i].sector > sector ? bad->ranges[i].sector : sector;
	end = end_of(&bad->ranges[i]);
	while (++i < bad->count && bad->ranges[i].sector == end) {
		end = end_of(&bad->ranges[i]);
	}
	*ret_sector = first;
	*ret_count = end - first;
	if (*ret_count > count - (first - sector)) {
		*ret_count = count - (first - sector);
	}
	return true;
}

/* Puts the `count` ranges of `with` where ranges[at] … ranges[at + nr_out - 1] are. */
static int replace(struct xbdev_md_bad_blocks *bad, uint32_t at, uint32_t nr_out,
	const struct xbdev_md_bad_range *with, uint32_t nr_in)
{
	if (bad->count - nr_out + nr_in > XBDEV_MD_BAD_BLOCKS) {
		return -ENOSPC;
	}
	memmove(&bad->ranges[at + nr_in], &bad->ranges[at + nr_out],
		(bad->count - at - nr_out) * sizeof(*with));
	memcpy(&bad->ranges[at], with, nr_in * sizeof(*with));
	bad->count = bad->count - nr_out + nr_in;
	bad->is_changed = true;
	return 0;
}

int xbdev__md_bad_blocks_add(struct xbdev_md_bad_blocks *bad, uint64_t sector, uint64_t count)
{
	struct xbdev_md_bad_range pieces[XBDEV_MD_BAD_BLOCKS];
	uint64_t unit = UINT64_C(1) << bad->shift, piece = (uint64_t)MD_BB_LEN_MAX << bad->shift;
	uint64_t first = sector & ~(unit - 1), end = (sector + count + unit - 1) & ~(unit - 1);
	uint64_t known, nr_known;
	uint32_t at, nr_out = 0, nr_in = 0;

	assert(count <= MAX_SECTORS && sector <= MAX_SECTORS - count);
	if (count == 0 || (xbdev__md_bad_blocks_find(bad, first, end - first, &known, &nr_known) &&
				  known == first && nr_known == end - first)) {
		return 0;
	}
	/* The run that it touches at either end becomes a part of it. */
	at = first_behind(bad, first);
	while (at > 0 && end_of(&bad->ranges[at - 1]) == first) {
		at--;
		first = bad->ranges[at].sector;
		nr_out++;
	}
	while (at + nr_out < bad->count && bad->ranges[at + nr_out].sector <= end) {
		const struct xbdev_md_bad_range *range = &bad->ranges[at + nr_out];

		first = range->sector < first ? range->sector : first;
		end = end_of(range) > end ? end_of(range) : end;
		nr_out++;
		/* What the first of them adds in front may touch another. */
		while (at > 0 && end_of(&bad->ranges[at - 1]) == first) {
			at--;
			first = bad->ranges[at].sector;
			nr_out++;
		}
	}
	if ((end - first + piece - 1) / piece > XBDEV_MD_BAD_BLOCKS) {
		return -ENOSPC;
	}
	for (; first < end; first += pieces[nr_in++].count) {
		pieces[nr_in].sector = first;
		pieces[nr_in].count = (uint32_t)(end - first < piece ? end - first : piece);
	}
	return replace(bad, at, nr_out, pieces, nr_in);
}

int xbdev__md_bad_blocks_remove(struct xbdev_md_bad_blocks *bad, uint64_t sector, uint64_t count)
{
	struct xbdev_md_bad_range pieces[2];
	uint64_t unit = UINT64_C(1) << bad->shift;
	uint64_t first = (sector + unit - 1) & ~(unit - 1), end = (sector + count) & ~(unit - 1);
	uint32_t at = first_behind(bad, first), nr_out = 0, nr_in = 0;

	assert(count <= MAX_SECTORS && sector <= MAX_SECTORS - count);
	for (; at + nr_out < bad->count && bad->ranges[at + nr_out].sector < end; nr_out++) {
		const struct xbdev_md_bad_range *range = &bad->ranges[at + nr_out];

		if (range->sector < first) {
			pieces[nr_in].sector = range->sector;
			pieces[nr_in++].count = (uint32_t)(first - range->sector);
		}
		if (end_of(range) > end) {
			pieces[nr_in].sector = end;
			pieces[nr_in++].count = (uint32_t)(end_of(range) - end);
		}
	}
	return first < end && nr_out > 0 ? replace(bad, at, nr_out, pieces, nr_in) : 0;
}
