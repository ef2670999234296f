/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/raid: a resync, recovery, check or repair while it runs, see sync.c. */
#ifndef XBDEV_RAID_SYNC_H
#define XBDEV_RAID_SYNC_H

#include "lib/xbdev/raid/stripe.h"

#define XBDEV_MD_SYNC_SLOTS   16u
#define XBDEV_MD_SYNC_SECTORS 128u /* of each member, for a slot */
#define XBDEV_MD_SYNC_HOT     16u  /* regions that are looked for at a time */

/* One copy of a mirror's piece. */
struct xbdev_md_slot_copy {
	struct xbdev_md_member *member; /* NULL: none */
	uint64_t sector;                /* of the member */
	char *buf;
	bool is_read;
	bool has_failed;
	bool is_written;
};

struct xbdev_md_slot {
	struct xbdev_md_array *array;
	struct xbdev_md_sync *sync; /* NULL: a repair by itself, which frees itself */
	bool is_busy;
	uint64_t sector; /* where the walk is: raid10 in RESYNC, CHECK, REPAIR: of the array, else
			  * of the members */
	uint64_t count;
	uint64_t lost, nr_lost;      /* sectors of it, of which nobody has been told yet */
	struct xbdev_md_entry entry; /* parity levels */
	/* Mirrors. */
	struct xbdev_md_window window;
	struct xbdev_md_slot_copy copies[2 * XBDEV_MD_MAX_DISKS]; /* replacements last */
	uint32_t nr_copies;
	uint32_t tried; /* recovery: bit per role that could not be read */
	char *buf;      /* nr_copies * XBDEV_MD_SYNC_SECTORS */
	size_t buf_bytes;
	uint32_t nr_pending;
	int status;
	uint64_t mismatch_sectors;
	void (*pump)(struct xbdev_md_slot *slot);
	char *content;    /* what all copies are to be */
	uint64_t at, len; /* the part of it that is worked on: all, unless blocks are bad */
	struct xr_timer timer;
};

/* A region that is used much, and how much. */
struct xbdev_md_hot {
	uint32_t region, heat;
};

struct xbdev_md_sync {
	struct xbdev_md_array *array;
	enum xbdev_md_sync_kind kind;
	struct xbdev_md_member *target; /* RECOVER of a mirror: the one; it stays as long as this */
	uint64_t start, next, done, end;
	/* Regions before their turn, see sync_walk.c. */
	bool may_jump;
	uint64_t region;                /* sectors of each */
	uint64_t early_next, early_end; /* the one that is walked; early_end 0: none */
	struct xbdev_md_regions begun;  /* all of them has been given to slots, or need not be */
	struct xbdev_md_hot hot[XBDEV_MD_SYNC_HOT];
	uint32_t nr_hot, next_hot;
	uint64_t looked_ns;
	struct xbdev_md_slot slots[XBDEV_MD_SYNC_SLOTS];
	uint32_t nr_busy;
	bool is_stopping;
	bool is_yielding;   /* CHECK, REPAIR: it stops because a member can be recovered */
	bool has_failed;    /* a target misses something */
	bool is_incomplete; /* RESYNC: some blocks could not be made to agree */
	bool is_by_bitmap;  /* only what the bitmap marks */
	uint64_t mismatch_sectors;
	/* Saving. */
	bool is_saving, is_ending;
	uint32_t nr_flushes;
	uint64_t saving, last_saved, saved_ns;
	struct xbdev_md_waiter waiter; /* at the end: until the disks say that all is there */
	/* Pace. */
	struct xr_timer timer;
	uint64_t walked; /* sectors that slots were given */
	uint64_t pace_ns, pace_walked, nr_submitted_seen, speed_kib;
	void *memory;
	size_t memory_bytes;
};

/* sync_plan.c: what is walked, and for whom. */
void xbdev__md_sync_range(struct xbdev_md_sync *sync);
uint64_t xbdev__md_sync_step(const struct xbdev_md_sync *sync, uint64_t sector);
bool xbdev__md_sync_is_target(
	const struct xbdev_md_sync *sync, const struct xbdev_md_member *member);
/* Something to do it for: always, but in a recovery only while a target serves. */
bool xbdev__md_sync_has_target(const struct xbdev_md_sync *sync);
void xbdev__md_sync_forget_targets(struct xbdev_md_sync *sync);
/* Is it enough to walk what the bitmap marks? */
bool xbdev__md_sync_can_skip(const struct xbdev_md_sync *sync);
uint32_t xbdev__md_nr_copies(const struct xbdev_md_array *array);
/* Is a role missing that a spare could take? */
bool xbdev__md_has_use_for_spare(const struct xbdev_md_array *array);
/* Gives missing roles to spares. */
void xbdev__md_take_spares(struct xbdev_md_array *array);
/* Members that can be recovered now. */
bool xbdev__md_has_recovering(const struct xbdev_md_array *array);
/* A spare begins to get what a member in sync has. */
void xbdev__md_put_beside(struct xbdev_md_member *member, struct xbdev_md_member *old);
/* A member in sync that was a replacement takes over; the old one is out, or a spare if it only
 * stood in for the other. */
void xbdev__md_member_promote(struct xbdev_md_member *member);

/* sync_walk.c: in which order. */
void xbdev__md_walk_init(struct xbdev_md_sync *sync);
/* Finds the next piece; false: all has been begun. */
bool xbdev__md_walk_seek(struct xbdev_md_sync *sync);
/* Takes it: where it is, and how long. */
uint64_t xbdev__md_walk_take(struct xbdev_md_sync *sync, uint64_t *ret_count);
/* A slot there has ended: its region may be done with that. */
void xbdev__md_walk_note(struct xbdev_md_sync *sync, uint64_t sector);

/* mirror_sync.c: one slot of raid1 or raid10; ends by xbdev__md_slot_done(). */
void xbdev__md_mirror_sync(struct xbdev_md_slot *slot);

/* Some of it is known to nobody; is_noted: and the logs of bad blocks of all say so already.
 * Several times, before it is done. */
void xbdev__md_slot_lost(
	struct xbdev_md_slot *slot, uint64_t sector, uint64_t count, bool is_noted);
void xbdev__md_slot_done(struct xbdev_md_slot *slot, int status, uint64_t mismatch_sectors);

#endif
