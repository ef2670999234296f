/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/raid: writes that write-mostly members of a raid1 get later, see behind.c.
 * All on the owner. */
#ifndef XBDEV_RAID_BEHIND_H
#define XBDEV_RAID_BEHIND_H

#include "lib/xbdev/raid/array.h"

#define XBDEV_MD_BEHIND_BYTES (32u << 20) /* of copies that an array has at most */

/* What write-mostly members are to get of one write. */
struct xbdev_md_behind {
	struct xu_list link; /* array->behind.list, the oldest first */
	struct xbdev_md_array *array;
	struct xbdev_md_req *req; /* that has not ended; NULL: it goes by itself */
	uint64_t offset, len;     /* bytes of the array */
	char *buf;
	uint8_t flags;
	bool is_started; /* no older one overlaps it */
	bool is_waited;  /* the request waits for it */
	bool is_counted; /* in the bitmap, for the request that has ended */
	uint32_t next_slot, nr_pending;
	int status;
	struct xbdev_md_waiter waiter;
};

/* Somebody who wants no write to be behind. */
struct xbdev_md_hold {
	struct xu_list link; /* array->behind.holds */
	struct xr_msg msg;
	struct xbdev_md_array *array; /* NULL: it holds nothing */
	bool is_told;
	void (*fn)(struct xbdev_md_hold *hold);
};

/* From here on writes wait for all of their members; fn is called, later, when none is behind. */
void xbdev__md_behind_hold(struct xbdev_md_array *array, struct xbdev_md_hold *hold,
	void (*fn)(struct xbdev_md_hold *hold));
/* They may be behind again. After fn; nothing where there was no hold. */
void xbdev__md_behind_unhold(struct xbdev_md_hold *hold);

/* When the bitmap is known; -ENOMEM. */
int xbdev__md_behind_init(struct xbdev_md_array *array);
void xbdev__md_behind_fini(struct xbdev_md_array *array);

/* How many there may be at a time; 0: the array does not write behind. */
uint32_t xbdev__md_behind_max(const struct xbdev_md_array *array);

/*
 * Has the write's write-mostly members get it later: a copy of its data is kept, and they are left
 * out by copies.c. False: they are written with the others.
 */
bool xbdev__md_behind_take(struct xbdev_md_req *req);

/* The others have been dealt with, the request is about to end. True: it may; what is behind is
 * accounted for by itself now. False: it must wait, and xbdev__md_req_behind_done() is called. */
bool xbdev__md_behind_let_go(struct xbdev_md_req *req);

/* Has any of these bytes of the array a write behind? */
bool xbdev__md_behind_has(const struct xbdev_md_array *array, uint64_t offset, uint64_t len);

/* How many; a window waits for as many calls of xbdev__md_leave_windows(). */
uint32_t xbdev__md_behind_count(const struct xbdev_md_array *array, uint64_t offset, uint64_t len);

#endif
