/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: how a new member's sectors are divided (docs/raid.md, "Space on a
 * member"), the way mdadm divides them, so that tools which expect its places find them.
 */
#ifndef XBDEV_RAID_SPACE_H
#define XBDEV_RAID_SPACE_H

#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/super.h"

struct xbdev_md_space_opts {
	int32_t level;
	uint32_t chunk;              /* sectors; 0 for raid1 */
	uint64_t size;               /* sectors of each member to use; 0: all. Not raid0, linear */
	uint32_t bitmap_chunk_bytes; /* 0: no bitmap; UINT32_MAX: mdadm's choice for the size */
	bool has_ppl;
	uint64_t journal_sectors; /* sectors of headroom to keep for a journal of ours; 0: none */
};

struct xbdev_md_space {
	uint64_t data_offset;
	uint64_t size;         /* sectors used per member: of the smallest; 0: raid0, linear */
	int32_t bitmap_offset; /* sectors from the superblock; 0: none */
	uint32_t bitmap_chunk_bytes;
	uint32_t bitmap_sectors; /* of header and bits, up to whole 4 KiB */
	int16_t ppl_offset;
	uint16_t ppl_size;
	int32_t bblog_offset;
	uint16_t bblog_size;
	uint64_t journal_sector; /* of the device, 4 KiB aligned; 0: none */
	uint64_t data_sizes[XBDEV_MD_MAX_DISKS];
};

/*
 * dev_sectors: of every device by role, spares behind them, at most XBDEV_MD_MAX_DISKS; 0 for a
 * member that is missing. All get the same data_offset, mdadm's for the first; `size` is what the
 * smallest has room for. -ENOSPC with a sentence that names the smallest size; -EINVAL: the options
 * contradict each other, or the chunk of the bitmap is too small for its place.
 */
int xbdev__md_space_plan(const struct xbdev_md_space_opts *opts, const uint64_t *dev_sectors,
	uint32_t nr_members, uint32_t raid_disks, uint32_t layout, struct xbdev_md_space *ret_space,
	struct xu_error *err);

#endif
