/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: the bad blocks of one member: a sorted table of at most 512 ranges of
 * sectors of the device, as its log on disk holds them. Bounded: a range that does not fit in is
 * an error, and the caller fails the member.
 */
#ifndef XBDEV_RAID_BADBLOCKS_H
#define XBDEV_RAID_BADBLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct xu_error;

#define XBDEV_MD_BAD_BLOCKS       512u
#define XBDEV_MD_BAD_BLOCKS_BYTES 4096u

struct xbdev_md_bad_range {
	uint64_t sector; /* of the device, data_offset included */
	uint32_t count;
};

struct xbdev_md_bad_blocks {
	uint32_t count;
	uint32_t shift;  /* ranges are multiples of 1 << shift sectors */
	bool is_changed; /* since it was last formatted */
	struct xbdev_md_bad_range ranges[XBDEV_MD_BAD_BLOCKS]; /* sorted, disjoint, <= 512 each */
};

/* -EINVAL: unsorted, overlapping or zero length. `shift` is the superblock's. */
int xbdev__md_bad_blocks_parse(const void *bytes, uint32_t shift,
	struct xbdev_md_bad_blocks *ret_bad, struct xu_error *err);
/* All 4096 bytes. */
void xbdev__md_bad_blocks_format(struct xbdev_md_bad_blocks *bad, void *ret_bytes);

/* The first bad sector in [sector, sector + count), and how many follow it in that range; false:
 * none. */
bool xbdev__md_bad_blocks_find(const struct xbdev_md_bad_blocks *bad, uint64_t sector,
	uint64_t count, uint64_t *ret_sector, uint64_t *ret_count);
/* -ENOSPC: the table is full, nothing was changed. Grows to whole units of the shift. */
int xbdev__md_bad_blocks_add(struct xbdev_md_bad_blocks *bad, uint64_t sector, uint64_t count);
/* Takes [sector, sector + count) out, whole units only; -ENOSPC when that would need one more range
 * than there is room for (nothing was changed). */
int xbdev__md_bad_blocks_remove(struct xbdev_md_bad_blocks *bad, uint64_t sector, uint64_t count);

#endif
