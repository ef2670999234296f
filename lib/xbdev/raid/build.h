/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: an array on its way into being. Both ways, creation and assembly, open
 * and claim the members and read their superblocks (build.c), then differ in what they make of
 * these (create.c, assemble.c), then set up the level and register the device.
 */
#ifndef XBDEV_RAID_BUILD_H
#define XBDEV_RAID_BUILD_H

#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/raid.h"

struct xbdev_md_journal_replay;
struct xbdev_md_ppl_replay;

struct xbdev_md_build {
	struct xbdev_md_array *array;
	struct xbdev_ctx *ctx;
	xbdev_created_fn done;
	void *arg;
	struct xu_error err; /* code != 0: it is being taken apart */
	struct xr_msg msg;
	uint32_t nr_pending;
	void (*then)(struct xbdev_md_build *build); /* when nr_pending falls to 0; on the owner */
	bool is_found[XBDEV_MD_MAX_MEMBERS]; /* by slot: it has a superblock, in member->super */
	/* What is made of the members; on the owner. Ends by _finish() or _fail(). */
	void (*judge)(struct xbdev_md_build *build);

	struct xbdev_md_ppl_replay *replay; /* NULL: none runs */
	struct xbdev_md_journal_replay *journal;
	bool is_lenient;           /* what cannot be read is left as it is in memory */
	bool is_on_trial;          /* dirty and degraded: only a journal can save it, */
	struct xu_error trial_err; /* else this is why not */
	void (*after_replay)(struct xbdev_md_build *build);
	uint8_t *bits; /* the bitmap's bytes, while they are read or written */
	size_t bits_bytes;

	/* create.c */
	bool is_new;
	uint32_t bitmap_chunk_bytes;
	uint32_t layout, chunk, raid_disks;
	int32_t level;
	bool assume_clean;
	enum xbdev_md_policy policy;
	uint32_t write_behind;
	uint64_t write_mostly; /* bit per slot */
	/* assemble.c */
	struct xu_uuid uuid;
	bool run;
	bool is_mixed; /* see select.h */
	/* both */
	char group[XBDEV_MD_GROUP_BYTES]; /* of spares */
	bool force;
};

/* What an array is told that is not on its members; -EINVAL with a sentence. */
int xbdev__md_build_set(struct xbdev_md_build *build, const char *group, uint32_t priority_and_1);

/* Starts: opens the named devices (XBDEV_MD_MISSING leaves its slot empty), goes to the owner,
 * reads, calls `judge`. Takes the build. */
void xbdev__md_build_start(
	struct xbdev_md_build *build, const char *const *names, uint32_t nr_names);

/* An empty build for an array of this name; NULL: out of memory, and done has been called. */
struct xbdev_md_build *xbdev__md_build_new(
	struct xbdev_ctx *ctx, const char *name, xbdev_created_fn done, void *arg);

/* Writes bytes on a member, for build->nr_pending; a failure is build->err. */
void xbdev__md_build_write(struct xbdev_md_build *build, struct xbdev_md_member *member,
	uint64_t sector, void *bytes, size_t count);
void xbdev__md_build_read(struct xbdev_md_build *build, struct xbdev_md_member *member,
	uint64_t sector, void *bytes, size_t count);
/* Calls `then` when all that was begun has ended. */
void xbdev__md_build_wait(struct xbdev_md_build *build, void (*then)(struct xbdev_md_build *build));

/* Geometry, members' states and array->super are set: reads the bad block logs, sets up the level,
 * registers. */
void xbdev__md_build_finish(struct xbdev_md_build *build, const struct xbdev_md_shape *shape);
/* Takes everything apart and tells the caller build->err. */
void xbdev__md_build_fail(struct xbdev_md_build *build);

#endif
