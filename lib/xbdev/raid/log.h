/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: the log that closes the write hole of a parity array, see log.c.
 *
 * A log has lanes. Every stripe belongs to one lane for ever, so a lane's newest unit is the only
 * one that can know of stripes which are being written. What a unit looks like and where it lies is
 * the kind's: a partial parity log in MD's format (ppl.c), or a journal of ours (journal.c).
 */
#ifndef XBDEV_RAID_LOG_H
#define XBDEV_RAID_LOG_H

#include "lib/xbdev/raid/stripe.h"

#define XBDEV_MD_LOG_COPIES 3u /* of a unit, at most */

struct xbdev_md_build;
struct xbdev_md_log;

enum xbdev_md_lane_state {
	XBDEV_MD_LANE_IDLE,
	XBDEV_MD_LANE_LOGGING, /* its unit is being written */
	XBDEV_MD_LANE_SERVING, /* its unit is on disk, and the stripes are being written */
	XBDEV_MD_LANE_FLUSHING,
};

struct xbdev_md_lane {
	struct xbdev_md_log *log;
	uint32_t index;
	enum xbdev_md_lane_state state;
	struct xu_list waiting; /* struct xbdev_md_stripe.log_link: for a unit */
	struct xu_list unit;    /* the same: while their unit is being written */
	struct xu_list flush_link;
	uint32_t nr_pending; /* copies of the unit, then stripes, that have not ended */
	bool is_incomplete;  /* somebody has not taken the unit, or is out since */
	bool is_start_sent;
	struct xr_msg start_msg;
	bool is_recording; /* it waits for the metadata, */
	struct xbdev_md_waiter waiter;
	struct xbdev_md_child copies[XBDEV_MD_LOG_COPIES];
	char *buf;           /* log->unit_bytes: the unit that is put together */
	size_t used;         /* of it */
	uint64_t seq;        /* of the last unit */
	uint32_t copy_roles; /* journal: bit per role that has it */
	void *header;        /* the kind's, of the unit that is put together */
};

struct xbdev_md_log_kind {
	const char *name;
	bool needs_mark; /* where a resync has come to must be in the superblocks */
	/* The lane of a stripe whose new data and parity are at hand. */
	struct xbdev_md_lane *(*lane_of)(struct xbdev_md_stripe *stripe);
	/* False: the metadata has yet to prepare who would have the unit. */
	bool (*is_ready)(const struct xbdev_md_lane *lane);
	/* Adds a stripe to the unit; false: there is no room left. One fits always. */
	bool (*add)(struct xbdev_md_lane *lane, struct xbdev_md_stripe *stripe);
	/* The unit is complete: who gets it, and at which sector of the device. */
	uint32_t (*seal)(struct xbdev_md_lane *lane,
		struct xbdev_md_member *ret_members[XBDEV_MD_LOG_COPIES],
		uint64_t ret_sectors[XBDEV_MD_LOG_COPIES]);
	/* How many sectors of the first entry of a stripe can be done at once. */
	uint32_t (*limit)(struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry);
	/* May this be done at once? A bit for each sector of each data column. */
	bool (*is_one)(const struct xbdev_md_stripe *stripe, uint64_t (*covers)[2]);
	/* What a round of metadata writes to the member's log, before its superblock. NULL:
	 * nothing. */
	void *(*meta)(struct xbdev_md_member *member, size_t *ret_bytes, uint64_t *ret_sector);
};

struct xbdev_md_log {
	struct xbdev_md_array *array;
	const struct xbdev_md_log_kind *kind;
	size_t unit_bytes;
	size_t area_bytes; /* that units may lie in */
	void *memory; /* PPL: what an area holds before the first unit; journal: anchors by slot */
	size_t memory_bytes;
	struct xu_list to_flush, flushing; /* struct xbdev_md_lane.flush_link */
	uint32_t nr_flushes;
	struct xbdev_md_child flushes[XBDEV_MD_MAX_MEMBERS]; /* by slot */
	uint64_t epoch;                                      /* journal: of this run, */
	uint64_t seq;                                        /* and its last unit */
	bool is_off;                                         /* tests: writes are not logged */
	bool is_rash;    /* tests: what a recovery has done counts before the disks say so */
	bool is_trusted; /* PPL: parity agrees where the log says nothing; not before a resync has
			  * got somewhere and the disks say so. Until then nothing is logged, so
			  * that entries tell of an array that agrees. */
	bool will_be_trusted; /* when the round of metadata that runs has ended */
	uint32_t nr_lanes;
	struct xbdev_md_lane lanes[];
};

/* A log with raid_disks lanes, each with room for a unit and a header of the kind's. */
int xbdev__md_log_new(struct xbdev_md_array *array, const struct xbdev_md_log_kind *kind,
	size_t unit_bytes, size_t header_bytes, struct xu_error *err);
void xbdev__md_log_free(struct xbdev_md_array *array);

/* True: the stripe is logged, and xbdev__md_stripe_write() called when it has been. False: that is
 * not needed. */
bool xbdev__md_log_stripe(struct xbdev_md_stripe *stripe);
/* What was logged of the stripe has been written, or will not be. */
void xbdev__md_log_leave(struct xbdev_md_stripe *stripe);
/* A member's log has been prepared: lanes that waited for it go on. */
void xbdev__md_log_kick(struct xbdev_md_array *array);

/* What is chosen to be done to a stripe at once: cuts its first entry where it has to be, and says
 * whether another one can join. `covers` is the caller's, one for each data column. */
void xbdev__md_log_choose(
	struct xbdev_md_stripe *stripe, struct xbdev_md_entry *entry, uint64_t (*covers)[2]);
bool xbdev__md_log_joins(const struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry,
	uint64_t (*covers)[2]);

/* Will these sectors of a member be believed after a crash? Those of a recovery only as far as the
 * superblocks say, whatever is known in memory. */
static inline bool xbdev__md_log_knows(const struct xbdev_md_log *log,
	const struct xbdev_md_member *member, uint64_t sector, uint64_t end)
{
	return log->is_rash ? xbdev__md_member_is_readable(member, sector, end)
			    : xbdev__md_member_is_readable(member, 0, end) &&
				      end <= member->recovery_known;
}

/* ---- ppl.c ---- */

int xbdev__md_ppl_init(struct xbdev_md_array *array, struct xu_error *err);

/* ---- journal.c ---- */

int xbdev__md_journal_init(struct xbdev_md_array *array, struct xu_error *err);
/* Of a lane's slot, in an array of this chunk. */
uint32_t xbdev__md_journal_slot_sectors(uint32_t chunk);

/* ---- journal_replay.c ---- */

/* Looks whether the array has a journal (array->has_journal), and replays it if it is not clean;
 * ends by build->after_replay() or _fail(). What is due for whole stripes follows when the array
 * has stripes. */
void xbdev__md_journal_replay(struct xbdev_md_build *build);
void xbdev__md_journal_sync_wholes(
	struct xbdev_md_build *build, void (*after)(struct xbdev_md_build *build));
void xbdev__md_journal_replay_free(struct xbdev_md_build *build);

/* ---- ppl_replay.c ---- */

/* Makes the parity of the logs' stripes whole; ends by build->after_replay() or _fail(). */
void xbdev__md_ppl_replay(struct xbdev_md_build *build);
void xbdev__md_ppl_replay_free(struct xbdev_md_build *build);

#endif
