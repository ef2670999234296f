/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev: superblocks of devices that are looked at or erased one by one, whether an
 * array has them or not. On the control reactor.
 */
#ifndef XBDEV_RAID_EXAMINE_H
#define XBDEV_RAID_EXAMINE_H

#include "lib/xbdev/core/device.h"
#include "lib/xbdev/raid/bitmap_format.h"
#include "lib/xbdev/raid/super.h"

struct xu_error;

struct xbdev_md_examined {
	struct xbdev_md_super super;
	uint64_t dev_sectors;
	uint32_t checksum;
	char by[64];     /* who has claimed the device: "a RAID array"; "": nobody */
	bool has_bitmap; /* one that can be read: */
	struct xbdev_md_bitmap_header bitmap;
	uint64_t nr_bits, nr_dirty; /* of its bits, and those that are set */
};

/*
 * Reads the superblock and the bitmap of a device (name or UUID), which may be in use: nothing is
 * claimed. `cb` runs once, later or at once, with what it borrows; NULL and an error: -ENODEV,
 * -ENOENT (no superblock), -EINVAL (a damaged one), or what reading gave.
 */
void xbdev__md_examine(struct xbdev_ctx *ctx, const char *name,
	void (*cb)(void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err),
	void *arg);

/*
 * Overwrites the superblock of a device with zeroes, durably; a damaged one too. `cb` as above,
 * with an error whose code is 0 when it is done. -EBUSY: it is in use; -ENOENT: there is none.
 */
void xbdev__md_erase(struct xbdev_ctx *ctx, const char *name,
	void (*cb)(void *arg, const struct xu_error *err), void *arg);

#endif
