/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev: an array that a configuration describes, whether it is on its members
 * already or is to be made on them. On the control reactor.
 */
#ifndef XBDEV_RAID_BRING_H
#define XBDEV_RAID_BRING_H

#include "lib/xbdev/raid/raid.h"

enum xbdev_md_bring_mode {
	XBDEV_MD_BRING,          /* assembled, or else made on members that are all blank */
	XBDEV_MD_BRING_CREATE,   /* only made */
	XBDEV_MD_BRING_ASSEMBLE, /* only assembled: nothing is written anew */
};

struct xbdev_md_bring_opts {
	/* What it is to be. level XBDEV_MD_LEVEL_ANY, layout XBDEV_MD_LAYOUT_DEFAULT, chunk_bytes 0
	 * and a null uuid take what is there; `force` and nr_spares are not looked at. */
	struct xbdev_md_create_opts like;
	uint32_t raid_disks; /* 0: as many as there are names; of more, the others are spares */
	enum xbdev_md_bring_mode mode;
	/* It has been there before: blank members are an error, unless all are of memory. */
	bool is_old;
};

/* `is_new`: it was made. dev is NULL when err says why. */
typedef void (*xbdev_md_brought_fn)(
	void *arg, struct xbdev_device *dev, bool is_new, const struct xu_error *err);

/*
 * Looks at each member's superblock, then assembles or makes the array. With a UUID, members that
 * are not there, damaged, blank or of another array are left out with a warning, as long as the
 * others are enough; without one, such a member is an error, since nobody has said which array is
 * meant. Foreign superblocks, and whatever else there is at the ends of a device, are never written
 * over: -EEXIST. -ENOENT: nothing to assemble; -ENODEV: a device that is needed is not there.
 * Borrows opts during the call; `done` runs once, later or at once.
 */
void xbdev__md_bring(struct xbdev_ctx *ctx, const struct xbdev_md_bring_opts *opts,
	xbdev_md_brought_fn done, void *arg);

#endif
