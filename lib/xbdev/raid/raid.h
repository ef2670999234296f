/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RAID arrays for the rest of lib/xbdev: made, assembled, looked at and managed. On disk they are
 * Linux MD's, superblock 1.2. All calls are for the control reactor, and what they call back too.
 */
#ifndef XBDEV_RAID_RAID_H
#define XBDEV_RAID_RAID_H

#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/raid/super.h"

#define XBDEV_MD_LEVEL_ANY        INT32_MIN
#define XBDEV_MD_LAYOUT_DEFAULT   UINT32_MAX
#define XBDEV_MD_MAX_BEHIND       16383u
#define XBDEV_MD_BITMAP_CHUNK_MIN 4096u
#define XBDEV_MD_BITMAP_CHUNK_MAX (1u << 30)
#define XBDEV_MD_MISSING          "missing" /* as a member's name at creation: none yet */

/* How an array survives that a write of it is interrupted. */
enum xbdev_md_policy {
	XBDEV_MD_POLICY_RESYNC,  /* a resync makes copies or parity agree; of a bitmap's parts where
				  * there is one. What a missing parity member held may be lost. */
	XBDEV_MD_POLICY_PPL,     /* raid5: MD's partial parity log */
	XBDEV_MD_POLICY_JOURNAL, /* raid4, raid6: a journal of ours before the members' data */
};

struct xbdev_md_create_opts {
	const char *name; /* of the device */
	int32_t level;    /* MD's */
	uint32_t layout;
	uint64_t chunk_bytes;       /* 0: 512 KiB */
	const char *const *members; /* names, by role; then nr_spares more */
	uint32_t nr_members;
	uint32_t nr_spares;
	uint32_t bitmap_chunk_bytes; /* of a write-intent bitmap; 0: none; UINT32_MAX: as mdadm
				      * would choose */
	enum xbdev_md_policy policy;
	bool assume_clean;
	bool force;              /* also over members that carry an array's superblock */
	struct xu_uuid uuid;     /* null: a new one */
	const char *set_name;    /* what mdadm shows; NULL: the device's name */
	uint32_t nr_stripes;     /* of raid4, 5, 6 in memory; 0: the default */
	uint32_t write_behind;   /* raid1 with a bitmap: writes that write-mostly members may be
				  * behind; 0: none */
	uint64_t write_mostly;   /* raid1: a bit per name in `members` */
	const char *spare_group; /* NULL or "": none */
	uint32_t priority;       /* of its rebuilds, plus 1; 0: the default */
};

struct xbdev_md_assemble_opts {
	const char *name;
	int32_t level; /* must agree with the members */
	const char *const *members;
	uint32_t nr_members;
	struct xu_uuid uuid; /* not null: must agree */
	bool force;
	bool run;
	bool read_only;
	uint32_t nr_stripes; /* as above, */
	const char *spare_group;
	uint32_t priority;
};

/* Writes superblocks on the members and starts the array. Borrows opts during the call. */
void xbdev__md_create(struct xbdev_ctx *ctx, const struct xbdev_md_create_opts *opts,
	xbdev_created_fn done, void *arg);

/* Which of an array's members are named in another list, as a bit each; -EINVAL, with a sentence,
 * where one is not. */
int xbdev__md_find_mostly(const char *array, const char *const *members, uint32_t nr_members,
	const char *const *mostly, uint32_t nr_mostly, uint64_t *ret_bits, struct xu_error *err);

/* Starts an array from what its members say. Borrows opts during the call. */
void xbdev__md_assemble(struct xbdev_ctx *ctx, const struct xbdev_md_assemble_opts *opts,
	xbdev_created_fn done, void *arg);

/* ---- what an array is like ---- */

enum xbdev_md_array_state {
	XBDEV_MD_ARRAY_CLEAN,
	XBDEV_MD_ARRAY_ACTIVE, /* written to a moment ago: the disks say "not clean" */
	XBDEV_MD_ARRAY_BROKEN, /* too few members */
};

enum xbdev_md_disk_state {
	XBDEV_MD_DISK_IS_IN_SYNC,
	XBDEV_MD_DISK_IS_RECOVERING,
	XBDEV_MD_DISK_IS_SPARE,
	XBDEV_MD_DISK_IS_FAULTY,
	XBDEV_MD_DISK_IS_MISSING, /* a role that nobody has */
};

struct xbdev_md_disk {
	enum xbdev_md_disk_state state;
	uint32_t number; /* dev_number; UINT32_MAX: missing */
	int32_t role;    /* -1: none */
	bool is_replacement;
	bool is_write_mostly;
	char name[XBDEV_NAME_SIZE]; /* "" for one that is missing */
	uint64_t size_sectors;      /* usable */
	uint64_t recovered_sectors;
	uint32_t nr_corrected_sectors;
	uint32_t nr_bad_ranges;
};

#define XBDEV_MD_MAX_DISKS_INFO 128u
#define XBDEV_MD_GROUP_BYTES    32u    /* of a spare group's name, with its NUL */
#define XBDEV_MD_NO_GROUP       "none" /* the name that no group has; "" means it too */

struct xbdev_md_info {
	int32_t level;
	uint32_t layout;
	char layout_name[32];
	uint32_t raid_disks;
	uint64_t chunk_bytes;
	uint64_t array_sectors;
	uint64_t member_sectors; /* used of each; 0: raid0, linear */
	enum xbdev_md_policy policy;
	enum xbdev_md_array_state state;
	bool is_read_only;
	bool is_frozen;
	bool is_resync_due; /* copies or parity are not known to agree everywhere */
	uint32_t nr_degraded;
	struct xu_uuid uuid;
	char set_name[XBDEV_MD_NAME_BYTES + 1];
	uint64_t ctime_s, utime_s, events;
	const char *consistency; /* after a crash: "bitmap", "ppl", "journal", "resync", "none" */
	const char *sync_action; /* "idle", "resync", "recovery", "check", "repair" */
	uint64_t sync_done, sync_total, sync_speed_kib; /* sectors */
	uint64_t mismatch_sectors;
	uint64_t speed_min_kib, speed_max_kib;
	uint32_t nr_stripes; /* it may work on at a time; 0: the default */
	uint32_t priority;
	bool is_waiting; /* to rebuild: too many others do */
	char spare_group[XBDEV_MD_GROUP_BYTES];
	uint32_t write_behind, nr_behind; /* at most, and now */
	uint32_t nr_disks; /* roles in order first, then replacements, spares, failed ones */
	struct xbdev_md_disk disks[XBDEV_MD_MAX_DISKS_INFO];
};

bool xbdev__md_is_array(const struct xbdev_device *dev);

/* The array that has claimed a device; NULL: none has. On the control reactor. */
struct xbdev_device *xbdev__md_array_that_has(const struct xbdev_device *base);

/* Looks at the array on its owner; `cb` runs later with what it borrows. NULL: out of memory. */
void xbdev__md_info_get(struct xbdev_device *dev,
	void (*cb)(void *arg, const struct xbdev_md_info *info), void *arg);

/* ---- management ---- */

enum xbdev_md_command_kind {
	XBDEV_MD_COMMAND_ADD,     /* device: becomes a spare, and is used if one is needed */
	XBDEV_MD_COMMAND_REMOVE,  /* device: a spare or a failed member */
	XBDEV_MD_COMMAND_FAIL,    /* device: is taken out of service */
	XBDEV_MD_COMMAND_REPLACE, /* device by new_device (a spare already, or not a member yet);
				   * the old one serves until the new one is in sync */
	XBDEV_MD_COMMAND_READ_ONLY,
	XBDEV_MD_COMMAND_READ_WRITE,
	XBDEV_MD_COMMAND_SYNC_STOP,  /* recovery and resync stop, and do not begin */
	XBDEV_MD_COMMAND_SYNC_START, /* they may again */
	XBDEV_MD_COMMAND_SPEED,      /* speed_min_kib, speed_max_kib */
	XBDEV_MD_COMMAND_CHECK,
	XBDEV_MD_COMMAND_REPAIR,
	XBDEV_MD_COMMAND_PRIORITY,    /* priority: of its rebuilds, see context.h */
	XBDEV_MD_COMMAND_SPARE_GROUP, /* device: the name of a group of arrays; "": none */
	XBDEV_MD_COMMAND_RETURN,      /* device: added if it had a role and failed or went */
	XBDEV_MD_COMMAND_MOSTLY,      /* device, of a raid1: is read only when no other can be, */
	XBDEV_MD_COMMAND_NOT_MOSTLY,  /* or as any other */
};

struct xbdev_md_command {
	enum xbdev_md_command_kind kind;
	const char *device;
	const char *new_device;
	uint64_t speed_min_kib, speed_max_kib; /* KiB/s at least, 0: 1024, and at most, 0: no
						* limit */
	uint32_t priority;
	bool is_mostly;      /* ADD, to a raid1: it is write-mostly from the beginning */
	struct xu_uuid from; /* ADD: not null: the device may be a spare of this array still, which
			      * has let it go */
};

/*
 * Carries out a command; borrows it during the call. `done` runs once, later: 0 or -errno with a
 * sentence. It has then begun (recovery, check) and is on disk.
 */
void xbdev__md_manage(struct xbdev_device *dev, const struct xbdev_md_command *command,
	void (*done)(void *arg, const struct xu_error *err), void *arg);

#endif
