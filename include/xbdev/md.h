/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libxbdev: RAID arrays over block devices. On disk they are Linux MD's, superblock 1.2: what is
 * made here mdadm examines and the kernel assembles, and the other way round. See base.h for the
 * rules of all calls.
 *
 * An array is a device: xbdev_open() opens it, others stand on it. Its members are devices too,
 * which it has to itself. Levels, layouts and commands are the constants below; sizes in `_kb` and
 * speeds are KiB and KiB/s.
 *
 * An array that was written to when it stopped without notice is resynced, with a bitmap where it
 * was being written and else as a whole; one of raid4, raid5 or raid6 that also misses a member
 * then is not started unless it is forced. A consistency policy with a log (a partial parity log, a
 * journal) makes such an array whole when it is assembled, and a missing member no obstacle.
 */
#ifndef XBDEV_MD_H
#define XBDEV_MD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XBDEV_MD_LEVEL_LINEAR 0
#define XBDEV_MD_LEVEL_RAID0  1
#define XBDEV_MD_LEVEL_RAID1  2
#define XBDEV_MD_LEVEL_RAID4  4
#define XBDEV_MD_LEVEL_RAID5  5
#define XBDEV_MD_LEVEL_RAID6  6
#define XBDEV_MD_LEVEL_RAID10 10
#define XBDEV_MD_LEVEL_AUTO   (-1) /* xbdev_md_assemble(): what the members say */

/*
 * Layouts. 0 is the level's default (left-symmetric, near=2, raid0's original); others are MD's
 * number plus 1.
 */
/* raid5, raid6. */
#define XBDEV_MD_LAYOUT_LEFT_ASYMMETRIC  1
#define XBDEV_MD_LAYOUT_RIGHT_ASYMMETRIC 2
#define XBDEV_MD_LAYOUT_LEFT_SYMMETRIC   3
#define XBDEV_MD_LAYOUT_RIGHT_SYMMETRIC  4
#define XBDEV_MD_LAYOUT_PARITY_FIRST     5
#define XBDEV_MD_LAYOUT_PARITY_LAST      6
/* raid6. */
#define XBDEV_MD_LAYOUT_DDF_ZERO_RESTART   9
#define XBDEV_MD_LAYOUT_DDF_N_RESTART      10
#define XBDEV_MD_LAYOUT_DDF_N_CONTINUE     11
#define XBDEV_MD_LAYOUT_LEFT_ASYMMETRIC_6  17
#define XBDEV_MD_LAYOUT_RIGHT_ASYMMETRIC_6 18
#define XBDEV_MD_LAYOUT_LEFT_SYMMETRIC_6   19
#define XBDEV_MD_LAYOUT_RIGHT_SYMMETRIC_6  20
#define XBDEV_MD_LAYOUT_PARITY_FIRST_6     21
/* raid10: copies of each chunk, 2 or more. */
#define XBDEV_MD_LAYOUT_NEAR(copies)   ((0x00100 | (copies)) + 1)
#define XBDEV_MD_LAYOUT_FAR(copies)    ((0x00001 | (copies) << 8) + 1)
#define XBDEV_MD_LAYOUT_OFFSET(copies) ((0x10001 | (copies) << 8) + 1)
/* raid0 of members of several sizes. */
#define XBDEV_MD_LAYOUT_RAID0_ORIGINAL  2
#define XBDEV_MD_LAYOUT_RAID0_ALTERNATE 3

/* What keeps copies and parity right when writes are interrupted. */
#define XBDEV_MD_CONSISTENCY_DEFAULT 0 /* as config.consistency_policy says */
#define XBDEV_MD_CONSISTENCY_RESYNC  1 /* a resync of all; parity of a missing member is lost */
#define XBDEV_MD_CONSISTENCY_BITMAP  2 /* the same where it was written; of levels 1 to 10 */
#define XBDEV_MD_CONSISTENCY_PPL     3 /* MD's partial parity log; raid5, without a bitmap */
#define XBDEV_MD_CONSISTENCY_JOURNAL 4 /* a journal of ours; raid4, raid6 */

/* ---- making arrays ---- */

/* A member's name that means: there is none yet. The array begins degraded. */
#define XBDEV_MD_MISSING "missing"

typedef struct {
	uint64_t chunk_size_kb; /* a power of two, 4 to 65536; 0: 512. raid1, linear: ignored */
	bool assume_clean;   /* copies or parity agree already (the members are all zeroes, say): no
			      * resync. Wrong data after a failure if that is not so */
	int layout;          /* XBDEV_MD_LAYOUT_…; 0: the level's default */
	int bitmap_chunk_kb; /* of a write-intent bitmap, a power of two; 0: none */
	int write_behind; /* raid1 with a bitmap: so many writes, up to 16383, may be acknowledged
			   * before members that are write-mostly have them (see the options of
			   * xbdev_md_create_with()); 0: none */
	int stripe_cache_size;   /* raid4, 5, 6: stripes of up to 64 KiB per member that are worked
				  * on at a time, 16 to 32768; 0: 256 */
	bool consistency_policy; /* raid5: a partial parity log, raid4, raid6: a journal; others:
				  * -EINVAL. false: a resync after a crash */
} xbdev_md_config_t;

/*
 * Writes superblocks onto the members and starts the array, which is then being resynced unless
 * `assume_clean` is set; it can be used meanwhile. `config` may be NULL: all defaults. Nothing is
 * written before all has been checked. -EEXIST: a member carries a superblock already, or the name
 * is taken; -EBUSY: a member is in use; -ENOSPC: one is too small; -EINVAL, -ENODEV, -EOPNOTSUPP.
 */
int xbdev_md_create(const char *name, int level, const char **base_bdevs, int num_base_bdevs,
	xbdev_md_config_t *config);

/* Short forms; chunk_size_kb 0: 512. */
int xbdev_md_create_raid0(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t chunk_size_kb);
int xbdev_md_create_raid1(const char *name, const char **base_bdevs, int num_base_bdevs);
int xbdev_md_create_raid5(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t chunk_size_kb);
int xbdev_md_create_raid10(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t chunk_size_kb);
int xbdev_md_create_linear(const char *name, const char **base_bdevs, int num_base_bdevs);

/* Everything that can be said at creation. Zeroes mean the defaults; `size` is
 * sizeof(xbdev_md_create_options_t), so that later versions can add members. */
typedef struct xbdev_md_create_options {
	size_t size;
	int level;
	const char *const *base_bdevs; /* by role; XBDEV_MD_MISSING where there is none yet */
	int num_base_bdevs;
	const char *const *spares;
	int num_spares;
	xbdev_md_config_t config;
	const char *uuid;     /* 36 characters, or mdadm's spelling; NULL: a new one */
	const char *set_name; /* what mdadm shows, up to 31 bytes; NULL: the array's name, cut */
	bool force;           /* also over members that carry a superblock; not over those in use */
	int consistency;      /* XBDEV_MD_CONSISTENCY_… */
	/* raid1: members and spares, named as above, that are read only when no other can be, and
	 * may be behind with what was written. What was acknowledged, and flushed, survives a crash
	 * on the others. */
	const char *const *write_mostly;
	int num_write_mostly;
	const char *spare_group; /* as XBDEV_MD_SET_SPARE_GROUP; NULL: none */
	const int *priority;     /* as XBDEV_MD_SET_PRIORITY; NULL: XBDEV_MD_PRIORITY_DEFAULT */
} xbdev_md_create_options_t;

/* As xbdev_md_create(); options are borrowed during the call. */
int xbdev_md_create_with(const char *name, const xbdev_md_create_options_t *options);

/*
 * Starts an array from what its members say; they may be in any order, and spares among them.
 * `level` must agree with them or be XBDEV_MD_LEVEL_AUTO. A member that was left out, or that the
 * others have reported failed, is named in the log and left alone. -EAGAIN: a member that served
 * when the array was last used is missing (xbdev_md_assemble_with() can start it all the same);
 * -EUCLEAN: written to when it stopped, and not complete; -ENODEV: not enough members; -EINVAL: no
 * member, or of another array or level; -EOPNOTSUPP: of a kind that is not served.
 */
int xbdev_md_assemble(const char *name, int level, const char **base_bdevs, int num_base_bdevs);

typedef struct xbdev_md_assemble_options {
	size_t size; /* sizeof(xbdev_md_assemble_options_t) */
	int level;
	const char *const *base_bdevs;
	int num_base_bdevs;
	const char *uuid; /* NULL, or what the members must say */
	bool run;         /* also when a member that served is missing */
	bool force; /* also with members that are out of date, or dirty and degraded: data that
		     * was written last may be lost */
	bool is_read_only;
	int stripe_cache_size;
	const char *spare_group; /* neither is on disk; as above */
	const int *priority;
} xbdev_md_assemble_options_t;

int xbdev_md_assemble_with(const char *name, const xbdev_md_assemble_options_t *options);

/*
 * Stops an array: its superblocks say that it is clean, its members are free again. -EBUSY: it is
 * open, something stands on it, or its members do not give back I/O within 10 s; -ENODEV; -EINVAL:
 * no array.
 */
int xbdev_md_stop(const char *name);

/*
 * Has an array run for reading and writing: one that is read-only becomes writable, and one that
 * xbdev_md_stop() has stopped since the library began is assembled again from the members that it
 * had (the last 64 arrays are remembered), though one of them may have gone. One that runs is left
 * alone. -ENODEV: there is no such array and none was stopped; else as assembly.
 */
int xbdev_md_run(const char *name);

/* ---- looking ---- */

#define XBDEV_MD_STATE_CLEAN      0
#define XBDEV_MD_STATE_ACTIVE     1 /* written to a moment ago */
#define XBDEV_MD_STATE_DEGRADED   2
#define XBDEV_MD_STATE_RESYNCING  3
#define XBDEV_MD_STATE_RECOVERING 4
#define XBDEV_MD_STATE_READONLY   5
#define XBDEV_MD_STATE_FAILED     6 /* too few members are left */

#define XBDEV_MD_DISK_ACTIVE  0
#define XBDEV_MD_DISK_FAULTY  1
#define XBDEV_MD_DISK_SPARE   2
#define XBDEV_MD_DISK_SYNC    3 /* gets its content */
#define XBDEV_MD_DISK_REMOVED 4 /* a place that no disk has */

typedef struct {
	int level;
	int raid_disks;
	int active_disks;  /* in sync */
	int working_disks; /* all but failed ones */
	int failed_disks;
	int spare_disks;     /* those that get their content included */
	uint64_t size;       /* of the array, KiB */
	uint64_t chunk_size; /* KiB */
	int state; /* XBDEV_MD_STATE_…, of those that hold the one that matters most: failed,
		    * recovering, resyncing, degraded, read-only, active, clean */
	char uuid[37];
	bool degraded;
	char resync_status[32]; /* "resyncing" (resync and recovery), "checking", "repairing",
				 * "frozen", "waiting", "idle" */
	float resync_progress;  /* of what runs, 0 to 100; 100 when nothing is to be done */
	int resync_speed;       /* KiB/s of each member */
	struct {
		int number;    /* of the disk in the superblocks; -1: none */
		char name[64]; /* cut; "" where there is none */
		int state;
		uint64_t size; /* usable, KiB */
		char role[16]; /* "active", "rebuilding", "replacement", "spare", "faulty",
				* "removed" */
	} disks[32];           /* roles in order, then replacements, spares and failed ones */

	/* What the document does not have. */
	int nr_disks; /* that there are; the first 32 are above and below */
	struct {
		int raid_disk; /* -1: no role */
		bool is_replacement;
		bool is_write_mostly;
		uint64_t recovered;    /* KiB that are good */
		uint32_t nr_corrected; /* sectors, of read errors */
		uint32_t nr_bad_ranges;
	} more[32];
	int layout;
	char layout_name[32]; /* mdadm's; "" where the level has one only */
	uint64_t member_size; /* used of each, KiB; 0: linear, raid0 */
	char set_name[33];
	uint64_t created_s, updated_s; /* since 1970 */
	uint64_t events;
	bool is_read_only;
	bool is_frozen;                /* no rebuild begins */
	char sync_action[16];          /* MD's: "idle", "resync", "recovery", "check", "repair" */
	uint64_t sync_left_s;          /* at the present speed; UINT64_MAX: unknown */
	uint64_t mismatches;           /* sectors that the last check, repair or resync found */
	uint64_t speed_min, speed_max; /* KiB/s; max 0: no limit */
	char spare_group[32];          /* "": none */
	int priority;
	bool is_waiting;       /* to rebuild: as many others do as may */
	char consistency[16];  /* "resync", "bitmap", "ppl", "journal"; "none": linear, raid0 */
	uint32_t write_behind; /* raid1: writes that write-mostly members may be behind with, */
	uint32_t nr_behind;    /* and are now */
	uint64_t reserved[8];
} xbdev_md_detail_t;

/* -ENODEV, -EINVAL: no array. */
int xbdev_md_detail(const char *md_name, xbdev_md_detail_t *detail);

/* A superblock. Sectors are 512 bytes. */
typedef struct {
	int level;    /* XBDEV_MD_LEVEL_…; -1: one that is not served */
	int md_level; /* MD's number */
	char level_name[24];
	int layout; /* XBDEV_MD_LAYOUT_…; 0: none */
	char layout_name[32];
	char uuid[37];        /* of the array */
	char device_uuid[37]; /* of this member */
	char set_name[33];
	uint32_t version_major, version_minor; /* 1, 2 */
	uint32_t feature_map;
	uint64_t created_s, updated_s; /* since 1970 */
	uint64_t events;
	uint32_t raid_disks;
	uint64_t chunk_size;     /* KiB; 0: none */
	uint64_t array_size;     /* KiB; 0: linear and raid0, which depend on all members */
	uint64_t member_size;    /* used of each, KiB; 0: linear and raid0 */
	uint64_t device_size;    /* of this device, KiB */
	uint64_t available_size; /* behind data_offset, KiB */
	uint64_t data_offset;    /* sectors */
	uint64_t super_offset;   /* sectors: 8 */
	uint64_t unused_before, unused_after; /* sectors around the data */
	bool is_clean;                        /* nothing to resync */
	uint64_t resync_offset;               /* sectors; UINT64_MAX: clean */
	uint64_t recovery_offset; /* sectors of this member that are good; UINT64_MAX: all */
	int32_t bitmap_offset;    /* sectors from the superblock; 0: none */
	int32_t ppl_offset;
	uint32_t ppl_size;
	int32_t bad_blocks_offset;
	uint32_t bad_blocks_size;
	bool has_bad_blocks;
	bool has_journal;
	bool is_reshaping;
	bool is_replacement;
	bool is_write_mostly;
	uint32_t checksum; /* right, or it would not be here */
	uint32_t dev_number;
	int raid_disk;         /* the member's role; -1: spare, -2: faulty, -3: journal */
	char role[32];         /* mdadm's: "Active device 0", "spare" */
	char array_state[385]; /* a letter per role: 'A' active, '.' missing, 'R' replacing */
	char used_by[64];      /* who has the device now; "": nobody */
	/* The write-intent bitmap, where there is one that can be read: chunk_size is not 0. */
	struct {
		uint32_t version; /* 4, or 3 */
		uint32_t state;   /* 2: out of date */
		uint64_t events, events_cleared;
		uint64_t chunk_size;   /* bytes */
		uint64_t sync_size;    /* that it covers, KiB */
		uint64_t bits, dirty;  /* that there are; that are set */
		uint32_t flush_period; /* seconds */
		uint32_t write_behind; /* writes; 0: none */
	} bitmap;
	uint64_t reserved[8];
} xbdev_md_info_t;

/* Reads a device's superblock; the device may be in use, nothing is claimed or written. -ENOENT:
 * there is none; -EINVAL: it is damaged, with what is wrong. */
int xbdev_md_examine(const char *bdev_name, xbdev_md_info_t *info);

/* Erases a device's superblock: it is a member of nothing then, and what it held can be found with
 * much work only. -EBUSY: it is in use; -ENOENT. */
int xbdev_md_zero_superblock(const char *bdev_name);

/* ---- managing ---- */

#define XBDEV_MD_ADD_DISK        1 /* const char *: becomes a spare, used at once if one is needed */
#define XBDEV_MD_REMOVE_DISK     2  /* const char *: a spare or a failed disk */
#define XBDEV_MD_ADD_SPARE       3  /* as ADD_DISK */
#define XBDEV_MD_REMOVE_SPARE    4  /* const char *: a spare */
#define XBDEV_MD_REPLACE_DISK    5  /* const xbdev_md_replace_t * */
#define XBDEV_MD_SET_FAULTY      6  /* const char * */
#define XBDEV_MD_SET_READONLY    7  /* NULL; -EBUSY while it is open for writing */
#define XBDEV_MD_SET_READWRITE   8  /* NULL */
#define XBDEV_MD_START_REBUILD   9  /* NULL: what is due begins, and may from now on */
#define XBDEV_MD_STOP_REBUILD    10 /* NULL: what runs ends, its progress is kept, nothing begins */
#define XBDEV_MD_SET_SYNC_SPEED  11 /* const xbdev_md_sync_speed_t * */
#define XBDEV_MD_CHECK           12 /* NULL: compares copies or parity and counts what differs */
#define XBDEV_MD_REPAIR          13 /* NULL: and makes them agree */
#define XBDEV_MD_SET_SPARE_GROUP 14 /* const char *: see below; NULL, "" or "none": none */
#define XBDEV_MD_SET_PRIORITY    15 /* const int *: XBDEV_MD_PRIORITY_MIN to _MAX, see below */
#define XBDEV_MD_SET_WRITE_MOSTLY                                                                  \
	16 /* const char *: a disk of a raid1 is read only when no other can be, see above; */
#define XBDEV_MD_CLEAR_WRITE_MOSTLY 17 /* or as any other, when it has all that was behind */
#define XBDEV_MD_ADD_WRITE_MOSTLY   18 /* const char *: ADD_DISK to a raid1, write-mostly at once */

#define XBDEV_MD_PRIORITY_MIN     0
#define XBDEV_MD_PRIORITY_DEFAULT 4
#define XBDEV_MD_PRIORITY_MAX     7

/*
 * The new disk gets what the old one has, which serves until then and is "faulty" afterwards. One
 * that has failed is rebuilt onto the new one. The new disk is a spare of the array or no member
 * yet; naming the one that has been taken for the old disk already succeeds.
 */
typedef struct xbdev_md_replace {
	const char *old_disk;
	const char *new_disk;
} xbdev_md_replace_t;

/*
 * Spare groups, as mdadm has them: arrays of the same group (a name of up to 31 bytes) share their
 * spares. A spare is added to one of them; when another one lacks a member and has no spare, it is
 * moved there at once, unless its own array needs it. A group is not on disk: it is said again when
 * an array is assembled.
 *
 * A disk that was in an array and failed or went gets its place again when it has come back: one
 * whose superblock says that it is this very disk by itself, as soon as a device with it appears;
 * one that XBDEV_MD_REMOVE_DISK has taken away, or another one of its name, by
 * XBDEV_MD_ADD_DISK. The spare that stood in for it serves until it is rebuilt, and is a spare
 * again then. This too is known until the array is stopped.
 */

/* KiB/s of each member: what a resync takes at least while the array is used, whatever that costs
 * its users (`min`; 0, the default: 1024), and at most (`max`; 0, the default: no limit). Between
 * them it takes as much as leaves the p99 of those who use the array below twice what it is while
 * nothing is rebuilt. */
typedef struct xbdev_md_sync_speed {
	uint64_t min;
	uint64_t max;
} xbdev_md_sync_speed_t;

/*
 * Carries out a command, whose argument is named above. It returns when what was asked for has
 * begun and the members' superblocks know of it, not when a rebuild is done. A disk that is added
 * must be blank or an old member of this array. -ENODEV: no such array or disk; -ENOENT: no such
 * member; -EBUSY: the state of the disk or the array does not allow it; -EEXIST: the disk belongs
 * to another array; -ENOSPC: it is too small, or there are enough; -EROFS; -EINVAL.
 */
int xbdev_md_manage(const char *md_name, int cmd, void *arg);

/*
 * At most so many arrays are rebuilt or resynced at a time; 0, the default: any number. Those with
 * a higher priority go first, and what runs is not stopped for another. Checks and repairs do not
 * count. Others wait: resync_status is "waiting".
 */
int xbdev_md_set_rebuild_limit(unsigned int max);

/* ---- events ---- */

enum xbdev_md_event_kind {
	XBDEV_MD_EVENT_OTHER = 0, /* one that this header does not know yet; see its name */
	XBDEV_MD_EVENT_ARRAY_ADDED,
	XBDEV_MD_EVENT_ARRAY_REMOVED,
	XBDEV_MD_EVENT_ARRAY_STOPPED, /* too few members are left */
	XBDEV_MD_EVENT_DISK_ADDED,
	XBDEV_MD_EVENT_DISK_REMOVED,
	XBDEV_MD_EVENT_DISK_FAILED,
	XBDEV_MD_EVENT_DISK_IN_SYNC,
	XBDEV_MD_EVENT_DISK_REPLACED,
	XBDEV_MD_EVENT_SPARE_TAKEN,
	XBDEV_MD_EVENT_SYNC_BEGUN,
	XBDEV_MD_EVENT_SYNC_DONE,
	XBDEV_MD_EVENT_SYNC_ENDED, /* before it was done */
	XBDEV_MD_EVENT_READ_ONLY,
	XBDEV_MD_EVENT_READ_WRITE,
	XBDEV_MD_EVENT_DISK_ERROR,  /* of a disk that cannot be done without */
	XBDEV_MD_EVENT_BAD_BLOCKS,  /* a disk did not take some, and its log has them now */
	XBDEV_MD_EVENT_BLOCKS_LOST, /* a rebuild found blocks that no disk could give */
	XBDEV_MD_EVENT_SPARE_MOVED, /* to this array, from another one of its spare group */
	XBDEV_MD_EVENT_RETURNING,   /* a disk is back and gets its place again */
};

typedef struct xbdev_md_event {
	int kind;         /* enum xbdev_md_event_kind */
	const char *name; /* the kind as a word: "failed" */
	const char *md_name;
	const char *disk; /* "": it is of the whole array */
	const char *text; /* a sentence */
	uint64_t time_ns; /* since 1970 */
	uint32_t nr_lost; /* events before this one for which there was no room */
} xbdev_md_event_t;

/* Borrows the event. Runs on a thread of the library (in embedded mode the one that polls) and may
 * call nothing of it but xbdev_strerror() and xbdev_last_error(): the rest answers -EDEADLK. */
typedef void (*xbdev_md_event_cb)(void *cb_ctx, const xbdev_md_event_t *event);

/*
 * Has event_cb called for every event of every array from now on. Up to 64 callbacks (-ENOSPC); the
 * same one with the same cb_ctx again is -EEXIST. A NULL event_cb ends those with this cb_ctx: none
 * of them runs when this has returned. All end with the library.
 */
int xbdev_md_monitor(xbdev_md_event_cb event_cb, void *cb_ctx);

#ifdef __cplusplus
}
#endif

#endif
