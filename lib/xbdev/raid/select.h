/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: which of the devices at hand make the array, and whether they are
 * enough (docs/raid.md, "Assembly"). A pure function of superblocks: it reads and writes nothing.
 */
#ifndef XBDEV_RAID_SELECT_H
#define XBDEV_RAID_SELECT_H

#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/super.h"

/* What became of one device. */
enum xbdev_md_verdict {
	XBDEV_MD_IN_SYNC,    /* holds its role */
	XBDEV_MD_RECOVERING, /* holds it up to recovery_offset */
	XBDEV_MD_REPLACING,  /* a replacement of an in-sync member, up to recovery_offset; all of it
			      * without the bit for that */
	XBDEV_MD_SPARE,
	XBDEV_MD_STALE,    /* left out: too old; `reason` says by how much */
	XBDEV_MD_LEFT_OUT, /* left out: reported failed by the others, or disowning them */
};

struct xbdev_md_candidate {
	/* Set by the caller. */
	const char *name; /* of the device, for sentences; borrowed */
	struct xbdev_md_super *super;
	/* Outputs. */
	enum xbdev_md_verdict verdict;
	uint32_t role; /* for the first three */
	char reason[160];
};

struct xbdev_md_selection {
	uint32_t freshest;                   /* index of the candidate with the newest view */
	int32_t members[XBDEV_MD_MAX_DISKS]; /* per role: a candidate's index, or -1 */
	int32_t replacements[XBDEV_MD_MAX_DISKS];
	uint32_t nr_in_sync;
	uint32_t nr_missing; /* roles without a member that is in sync */
	bool is_clean;       /* nothing to resync */
	bool is_complete;    /* every role that the newest superblock counts as active is at hand */
	bool has_ppl;
	/* By force: members of different age, and more than the level needs. What is redundant may
	 * say two things, so a resync is due, whatever the superblocks say. */
	bool is_mixed;
};

struct xbdev_md_select_opts {
	bool force;   /* take stale members until there are enough; start dirty degraded arrays */
	bool run;     /* start though a member that was active is missing */
	bool has_log; /* a log that is replayed makes the parity good: start dirty degraded arrays
		       */
};

/*
 * Judges the candidates; all outputs above. 0; -EINVAL: a device is of another array or does not
 * agree with the others, two hold one role with equal events, or the array is of a kind that is not
 * assembled here (reshaping, clustered, journal, unknown layout); -ENODEV: not enough members;
 * -EUCLEAN: dirty and degraded; -EAGAIN: would start degraded and `run` is not set. The sentence
 * says which device and what to do. The verdicts are set then too, except with -EINVAL; the
 * selection only on success.
 *
 * `force` takes what is STALE or LEFT_OUT, newest first, only until there are enough members, and
 * changes events and, for a dirty degraded array, resync_offset in the superblocks given. (mdadm
 * takes every half of a split mirror then, and may mix them.) What the tables of roles say of such
 * a member, and a dev_number that was given to another meanwhile, are the caller's to put right; a
 * spare's dev_number may be taken, too.
 */
int xbdev__md_select(struct xbdev_md_candidate *candidates, uint32_t nr_candidates,
	const struct xbdev_md_select_opts *opts, struct xbdev_md_selection *ret_selection,
	struct xu_error *err);

/* Can the array serve, when it is clean, with these roles present (bit i: role i is in sync)? Looks
 * at level, raid_disks and, of raid10, near and far. */
bool xbdev__md_is_enough(const struct xbdev_md_geometry *geo, uint32_t roles_in_sync);

#endif
