/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: an array while it runs.
 *
 * Everything here belongs to the array's owner reactor: its members' channels, its metadata, the
 * requests that it carries out. The control reactor has the descriptors of the members, and sends
 * messages. Sectors are 512 bytes; array sectors count from the start of the array, member sectors
 * from a member's data_offset.
 *
 *   struct xbdev_md_array    the device and what it knows of itself
 *   struct xbdev_md_member   a device below it, in a role, spare or failed
 *   struct xbdev_md_req      the driver's part of an I/O that the array was given
 *   struct xbdev_md_child    one I/O to a member, from the array's pool
 *   struct xbdev_md_window   a range that a resync works on, closed to writes meanwhile
 *   struct xbdev_md_level    what differs between levels
 */
#ifndef XBDEV_RAID_ARRAY_H
#define XBDEV_RAID_ARRAY_H

#include "lib/util/error.h"
#include "lib/util/pool.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/raid/badblocks.h"
#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/heat.h"
#include "lib/xbdev/raid/pulse.h"
#include "lib/xbdev/raid/select.h"
#include "lib/xbdev/raid/super.h"

#define XBDEV_MD_MAX_MEMBERS 96u /* roles, replacements and spares */
#define XBDEV_MD_MAX_IOV     16u
#define XBDEV_MD_NR_CHILDREN 1024u
#define XBDEV_MD_NEVER       UINT64_MAX
#define XBDEV_MD_NR_ZONES    256u

struct xbdev_md_array;
struct xbdev_md_behind;
struct xbdev_md_bitmap;
struct xbdev_md_log;
struct xbdev_md_member;
struct xbdev_md_narrow;
struct xbdev_md_stripes;
struct xbdev_md_sync;

/* ---- I/O ---- */

/* Something waits for a round of metadata. */
struct xbdev_md_waiter {
	struct xu_list link;
	uint64_t seq;
	void (*fn)(struct xbdev_md_waiter *waiter, int status);
};

/* An I/O that the array has. It ends when nr_pending falls to 0. */
struct xbdev_md_req {
	struct xbdev_md_array *array;
	struct xu_list link; /* among the array's writes, or in a line */
	uint64_t next;       /* bytes that have been given to members */
	uint32_t copy;       /* of the piece at `next`: how many of its copies have been */
	uint32_t nr_pending; /* what is under way, and 1 while it is being given out */
	int32_t status;
	bool is_write;
	bool is_tracked;                /* in the array's list of writes */
	bool is_counted;                /* in the bitmap */
	bool is_in_submit;              /* the core's call has not returned yet */
	bool is_lossy;                  /* a member has not taken all of it */
	bool is_timed;                  /* for the pulse: since when, and its mark */
	bool is_behind;                 /* write-mostly members get it from a copy, */
	uint32_t good_roles;            /* and these have it */
	struct xbdev_md_behind *behind; /* NULL: or they have got it */
	uint64_t start_ns, pulse_mark;
	struct xbdev_md_waiter waiter; /* for metadata; its link is for every line it waits in */
};

struct xbdev_md_child {
	struct xbdev_io io;
	struct iovec iov[XBDEV_MD_MAX_IOV];
	struct xbdev_md_member *member;
	struct xbdev_md_req *req; /* or NULL: the user's own */
	void (*done)(struct xbdev_md_child *child, int status);
	void *arg;
	uint64_t sector;        /* of the array, where the piece begins */
	uint64_t member_sector; /* parity levels: the same on its member, */
	uint64_t count;         /* and how much of it is still to be recovered */
	struct xu_list link;
	uint64_t at;    /* copies: sectors of `count` that have been read, where it goes by parts */
	uint32_t tried; /* bit per role that could not be read; parity levels: the role */
	bool is_gone;   /* parity levels: for its device is being removed */
	/* A write of which some blocks were refused and are in the member's log now, see narrow.c.
	 */
	bool is_narrowed, is_lossy;
	struct xbdev_md_narrow *narrow;
};

/* A range of array sectors without writes. */
struct xbdev_md_window {
	struct xu_list link;
	uint64_t start, end;
	uint32_t nr_before; /* writes in flight that overlap it and came before it */
	void (*ready)(
		struct xbdev_md_window *window); /* called when there are none; maybe at once */
	struct xu_list waiting;                  /* struct xbdev_md_req.waiter */
};

/* ---- members ---- */

struct xbdev_md_meta_io {
	struct xbdev_io io;
	struct iovec iov;
	struct xbdev_md_member *member;
};

enum xbdev_md_member_state {
	XBDEV_MD_MEMBER_SPARE,      /* has no role */
	XBDEV_MD_MEMBER_RECOVERING, /* good below recovery_offset */
	XBDEV_MD_MEMBER_IN_SYNC,
	XBDEV_MD_MEMBER_FAULTY, /* nothing is read from it or written to it any more */
};

struct xbdev_md_member {
	struct xbdev_md_array *array;
	uint32_t slot;              /* its place in array->members */
	struct xbdev_desc *desc;    /* the control reactor's */
	struct xbdev_channel *ch;   /* NULL: given back */
	char name[XBDEV_NAME_SIZE]; /* of the device */
	enum xbdev_md_member_state state;
	bool is_replacement;
	bool is_returning; /* a spare whose role, home, somebody stands in for, who goes then */
	uint32_t home;
	bool is_worn;             /* has refused blocks: a spare replaces it if there is one */
	bool is_by_bitmap;        /* recovering: it lacks only what the bitmap marks */
	uint32_t role;            /* unless spare */
	uint64_t recovery_offset; /* member sectors that are good; XBDEV_MD_NEVER: all */
	uint64_t recovery_saved;  /* those that are durable: what the superblock says (NEVER: that
				   * it has all), */
	uint64_t recovery_known, next_known; /* said when the last round ended, and what this one
					      * says: a crash finds no less */
	struct xbdev_md_regions
		early; /* that are good beyond recovery_offset; known in memory only */
	uint64_t dev_sectors;
	uint64_t next_sector; /* where the last read ended: reading on is cheap */
	uint32_t nr_children; /* I/Os that it has */
	struct xbdev_md_super super;
	struct xbdev_md_bad_blocks *bad; /* NULL: no log */
	bool is_in_round;                /* of metadata: meta_buf holds what it is to get */
	bool is_log_due;                 /* and that is a log too */
	void *meta_buf;                  /* XBDEV_MD_META_BYTES, for its superblock and log */
	struct xbdev_md_meta_io meta_io, bits_io, log_io;
	uint32_t super_crc, next_super_crc; /* journal: of what is on disk, and what is to be */
	bool is_log_ready;           /* of the array's log: its part of it has been prepared */
	uint64_t log_offset;         /* bytes, PPL: where the next unit goes */
	struct xbdev_md_child flush; /* the sync engine's */
	struct xr_msg msg;           /* to the control reactor, when it leaves */
	struct xr_timer leave_timer; /* until its last I/O has come back */
	uint32_t nr_meta;            /* writes of metadata that it has */
	uint32_t nr_users;           /* pieces of the sync engine that refer to it */
	bool is_sync_target;         /* the recovery that runs is for it */
	bool is_gone;                /* its device is being removed, and it has no slot yet */
	bool is_leaving;
	bool is_told;           /* the control reactor's: gone_msg has been sent */
	_Atomic uint32_t shown; /* for the control reactor: its role plus 1, or 0, and flags */
	_Atomic bool is_gone_pending;
	struct xr_msg gone_msg; /* to the owner: the device is going */
};

#define XBDEV_MD_SHOWN_MOSTLY (1u << 31) /* write-mostly */

#define XBDEV_MD_META_BYTES (XBDEV_MD_SUPER_BYTES + XBDEV_MD_BAD_BLOCKS_BYTES)

/* ---- levels ---- */

struct xbdev_md_level {
	int32_t level;
	bool has_redundancy;
	/* Sets up what the level needs once its members are known; on the owner. */
	int (*init)(struct xbdev_md_array *array, struct xu_error *err);
	void (*fini)(struct xbdev_md_array *array);
	/* The device's limits and abilities. */
	void (*limits)(struct xbdev_md_array *array);
	/* Carries out a READ, WRITE, WRITE_ZEROES or DISCARD; req->nr_pending is 1 and the level
	 * ends that one by xbdev__md_req_put(). Called again when a child is free. */
	void (*run)(struct xbdev_md_req *req, struct xbdev_io *io);
};

extern const struct xbdev_md_level xbdev__md_linear, xbdev__md_raid0, xbdev__md_raid1,
	xbdev__md_raid4, xbdev__md_raid5, xbdev__md_raid6, xbdev__md_raid10;
const struct xbdev_md_level *xbdev__md_level_find(int32_t level);

/* ---- the array ---- */

struct xbdev_md_meta {
	uint64_t wanted;  /* number of the newest state that is to be on disk */
	uint64_t writing; /* the one that is being written, while is_writing */
	uint64_t written; /* the one that is on every member that counts */
	uint64_t bits_wanted, bits_writing, bits_written; /* the same of the bitmap's bits */
	bool is_writing;
	bool has_supers;      /* this round writes superblocks */
	bool has_failed;      /* in this round: a member was lost, so it is written again */
	uint32_t part;        /* of the round: the next one */
	bool is_flush_wanted; /* the next round begins with one */
	uint8_t *bits;        /* of the bitmap, that this round writes; NULL: none */
	size_t bits_offset, bits_count;
	uint32_t nr_pending;
	struct xu_list waiters, bits_waiters; /* struct xbdev_md_waiter */
};

/* Who had a role and failed, as far as this is known. */
struct xbdev_md_lost {
	struct xu_uuid uuid; /* of the device, in its superblock; null: nobody */
	char name[XBDEV_NAME_SIZE];
	bool is_removed; /* by command: it comes back only by one */
};

struct xbdev_md_array {
	struct xbdev_device dev;
	const struct xbdev_md_level *level;
	struct xbdev_md_geometry geo;
	struct xr_reactor *reactor;
	struct xbdev_md_super super; /* what all members have in common; events, resync_offset */
	struct xbdev_md_member *members[XBDEV_MD_MAX_MEMBERS];    /* by slot; NULL: free */
	uint32_t nr_members;                                      /* slots in use, holes included */
	struct xbdev_md_member *roles[XBDEV_MD_MAX_DISKS];        /* NULL: missing */
	struct xbdev_md_member *replacements[XBDEV_MD_MAX_DISKS]; /* beside a member that serves */
	uint32_t nr_degraded; /* roles without a member in sync */
	bool is_read_only;
	bool is_sealed; /* assembled read-only: nothing is ever written, metadata neither */
	bool is_frozen; /* no recovery or resync is begun by itself */
	bool is_broken; /* too few members are left: writes and what cannot be read fail */

	struct xu_pool children;
	struct xu_list starved; /* struct xbdev_md_req.waiter: for children */
	struct xu_list writes;  /* struct xbdev_md_req.link: in flight */
	uint32_t nr_writes;
	uint32_t nr_reqs; /* in flight, of any kind */
	uint64_t nr_submitted;
	struct xu_list windows; /* struct xbdev_md_window */
	/* Mirrors: writes that overlap follow each other, or copies would keep different ones. */
	struct xu_list overlapping; /* struct xbdev_md_req.waiter: for one in flight */
	uint32_t nr_writes_at[XBDEV_MD_NR_ZONES]; /* in flight, by where they are */

	uint64_t in_sync_below; /* array sectors (raid4/5/6: of the members) whose copies or parity
				 * are known to agree; XBDEV_MD_NEVER: all */
	bool is_parity_sure;    /* a log has made good what a crash left: the resync that is due
				 * will find nothing, and bad blocks are recovered before it */
	struct xbdev_md_regions early; /* beyond it, that agree too; known in memory only */
	bool is_active;                /* the disk says (or is about to say): not clean */
	uint64_t active_seq;           /* the metadata that said so */
	uint64_t fail_seq;             /* the metadata that knows of the last failure */
	struct xr_timer safe_timer;
	struct xbdev_md_meta meta;

	struct xbdev_md_bitmap *bitmap; /* NULL: none */
	struct xbdev_md_log *log;       /* closes the write hole; NULL: none */
	bool has_journal;               /* raid4, raid6: and it is a journal of ours */
	struct {
		struct xu_pool pool;    /* struct xbdev_md_behind */
		struct xu_list list;    /* of those whose data is not everywhere yet */
		uint32_t nr;            /* of all */
		uint64_t bytes;         /* that their copies take */
		struct xu_list readers; /* struct xbdev_md_req.waiter: of such blocks */
		struct xu_list failed;  /* struct xbdev_md_child: reads of such blocks that did */
		struct xu_list holds;   /* struct xbdev_md_hold: none more may be behind */
		struct xr_timer timer;
	} behind;
	struct xbdev_md_stripes *stripes; /* raid4, raid5, raid6 */
	uint32_t nr_stripes;              /* it may have at a time; 0: the default */
	struct xbdev_md_sync *sync;       /* NULL: none runs */
	struct xbdev_md_pulse pulse;      /* what a rebuild makes of those who use the array */
	struct xbdev_md_heat heat;        /* where they use it */
	uint32_t nr_repairs;              /* small ones, beside it */
	uint32_t priority, waiting_as;    /* for a turn to rebuild; the higher the sooner */
	bool is_waiting, has_turn;        /* for a turn, or for memory; it has one */
	struct xr_timer turn_timer;
	uint64_t sync_speed_min, sync_speed_max; /* KiB/s; max 0: no limit */
	uint64_t mismatch_sectors;               /* of the last check, repair or resync */

	struct xbdev_md_lost lost[XBDEV_MD_MAX_DISKS]; /* by role */
	_Atomic bool has_lost;     /* one that may come back; the control reactor looks at it too */
	struct xr_msg want_msg;    /* to the control reactor: no spare is left for a role */
	_Atomic bool is_want_sent; /* and is under way */
	struct xbdev_md_keep *keep; /* the control reactor's, see keeper.c */
	struct {                    /* what it was made with: never changes, so both look */
		uint32_t policy;    /* enum xbdev_md_policy */
		uint32_t bitmap_chunk_bytes, write_behind;
	} made;

	/* Life. */
	struct xr_msg begin_msg, msg;
	struct xr_timer life_timer;
	bool is_running; /* registered, begun */
	bool is_retiring, is_settled;
	uint32_t nr_leaving; /* members that have not been put yet */
	void (*closed)(struct xbdev_md_array *array, void *arg);
	void *closed_arg;
};

static inline struct xbdev_md_array *xbdev__md_array_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct xbdev_md_array, dev);
}

/* Tells the log, and those who watch, what happens to the array: a word that is static, and a
 * sentence. `member` may be NULL. */
void xbdev__md_note(const struct xbdev_md_array *array, const char *event,
	const struct xbdev_md_member *member, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static inline struct xbdev_md_req *xbdev__md_req_of(struct xbdev_io *io)
{
	return xbdev_io_driver(io, struct xbdev_md_req);
}

static inline struct xbdev_io *xbdev__md_io_of(struct xbdev_md_req *req)
{
	return xbdev_io_of_driver(req);
}

/* ---- request.c ---- */

extern const struct xbdev_device_ops xbdev__md_device_ops;

int xbdev__md_requests_init(struct xbdev_md_array *array);
void xbdev__md_requests_fini(struct xbdev_md_array *array);

/* One part of the request has ended, with this status; the last one ends it. */
void xbdev__md_req_put(struct xbdev_md_req *req, int status);

/* The request stands in a line (array->starved: for a child) and is called again from there. */
void xbdev__md_starve(struct xu_list *line, struct xbdev_md_req *req);
/* Something is free again: calls those in the line until one has to wait once more. */
void xbdev__md_wake(struct xu_list *line);

/* A child, or NULL: then the request (may be NULL) is called again when there is one. */
struct xbdev_md_child *xbdev__md_child_get(struct xbdev_md_array *array, struct xbdev_md_req *req);
void xbdev__md_child_put(struct xbdev_md_array *array, struct xbdev_md_child *child);

/*
 * Sends a child to a member: op, flags, iov, nr_iov, io.len are set, member_sector is where. `done`
 * runs later, exactly once, also when the member refuses it.
 */
void xbdev__md_child_send(
	struct xbdev_md_child *child, struct xbdev_md_member *member, uint64_t member_sector);

/* xbdev_iov_slice() of an I/O's segments, into those of a child. */
static inline uint64_t xbdev__md_slice(const struct xbdev_io *io, uint64_t skip, uint64_t len,
	struct iovec ret_iov[XBDEV_MD_MAX_IOV], uint32_t *ret_nr)
{
	return xbdev_iov_slice(io->iov, io->nr_iov, skip, len, ret_iov, XBDEV_MD_MAX_IOV, ret_nr);
}

/* Closes a range to writes; calls window->ready when those in flight have ended. */
void xbdev__md_window_open(struct xbdev_md_array *array, struct xbdev_md_window *window);
void xbdev__md_window_close(struct xbdev_md_array *array, struct xbdev_md_window *window);

/* What was being written to these bytes is: the windows that waited for it wait for one less. */
void xbdev__md_leave_windows(struct xbdev_md_array *array, uint64_t offset, uint64_t len);
/* Writes that were in the way of others are fewer now. */
void xbdev__md_readmit(struct xbdev_md_array *array);
/* What a request's write-mostly members were to get they have; is_waited: it waits for that. */
void xbdev__md_req_behind_done(struct xbdev_md_req *req, int status, bool is_waited);

/* ---- life.c ---- */

/* Opens and claims a device as a member that has no slot yet; on the control reactor. */
int xbdev__md_member_open(struct xbdev_md_array *array, const char *name, bool is_writable,
	struct xbdev_md_member **ret_member, struct xu_error *err);

/* Whether a claim is that of one of the array's members; on the control reactor. */
bool xbdev__md_is_member_desc(const struct xbdev_desc *desc, const struct xbdev_md_array *array);
/* The member that has claimed a device; NULL: none of this array's has. On the control reactor,
 * which may look at its name and at what is shown of it. */
const struct xbdev_md_member *xbdev__md_member_at(
	const struct xbdev_device *base, const struct xbdev_md_array *array);

/* Gives a member that serves no more (or has no slot) back: its channel, then on the control
 * reactor its descriptor, then its memory. On the owner; its slot is free at once. Waits for I/O
 * that it still has. */
void xbdev__md_member_release(struct xbdev_md_member *member);

/* The array has been registered: begins what is due (resync, recovery). On the owner. */
void xbdev__md_array_begin(struct xbdev_md_array *array);

/*
 * Gives back all members and what the level has; no request may be left. From either reactor; calls
 * `closed` on the control reactor. The array itself stays.
 */
void xbdev__md_array_close(struct xbdev_md_array *array,
	void (*closed)(struct xbdev_md_array *array, void *arg), void *arg);

void xbdev__md_retire(struct xbdev_device *dev);
void xbdev__md_destroy(struct xbdev_device *dev);

/* ---- narrow.c ---- */

/*
 * A write that a member has refused is tried again in parts, and what it does not take even by
 * itself becomes known as bad. True: child->done is called again later, with 0 when all that was
 * not taken is in the log (child->is_lossy: there is some); its I/O is empty then. False: it is no
 * error of blocks, or the member keeps no log of them.
 */
bool xbdev__md_narrow(struct xbdev_md_child *child, int status);

/* ---- detail.c ---- */

json_t *xbdev__md_config(const struct xbdev_device *dev);
/* On the owner, when all is set up: what the array was made with. */
void xbdev__md_note_made(struct xbdev_md_array *array);
/* On the owner: what has changed of its members is what the control reactor sees of them. */
void xbdev__md_show(struct xbdev_md_array *array);
json_t *xbdev__md_info(const struct xbdev_device *dev);

/* ---- copies.c ---- */

/*
 * The copy to read of `len` sectors from `sector` on, or of the first of them; `tried` are the
 * roles that have failed. With is_exact it is all of them or nothing. member NULL: none.
 */
struct xbdev_md_choice {
	struct xbdev_md_member *member;
	uint64_t sector; /* of the member */
	uint64_t len;
	uint64_t cost;
};
struct xbdev_md_choice xbdev__md_choose(
	struct xbdev_md_array *array, uint64_t sector, uint64_t len, uint32_t tried, bool is_exact);

/* Reads that could not be done because of a write behind are tried again. */
void xbdev__md_copies_wake(struct xbdev_md_array *array);

/* Can all of a range be read from one copy or another, as far as is known? */
bool xbdev__md_has_all(struct xbdev_md_array *array, uint64_t sector, uint64_t count);

/* ---- member.c ---- */

/* Its sectors up to `end` have what they are to have, or these have. */
static inline bool xbdev__md_member_is_recovered(
	const struct xbdev_md_member *member, uint64_t sector, uint64_t end)
{
	uint64_t first = sector > member->recovery_offset ? sector : member->recovery_offset;

	return end <= member->recovery_offset ||
	       (member->early.size != 0 && xbdev__md_regions_have(&member->early, first, end));
}

/* May these of its sectors be read? */
static inline bool xbdev__md_member_is_readable(
	const struct xbdev_md_member *member, uint64_t sector, uint64_t end)
{
	return member != NULL && member->state != XBDEV_MD_MEMBER_FAULTY &&
	       (member->state == XBDEV_MD_MEMBER_IN_SYNC ||
		       xbdev__md_member_is_recovered(member, sector, end));
}

/* It begins to get what its role has. */
void xbdev__md_member_start_over(struct xbdev_md_member *member);

/* Are copies or parity known to agree there? The sectors are those of in_sync_below. */
static inline bool xbdev__md_is_agreed(
	const struct xbdev_md_array *array, uint64_t sector, uint64_t end)
{
	uint64_t first = sector > array->in_sync_below ? sector : array->in_sync_below;

	return end <= array->in_sync_below ||
	       (array->early.size != 0 && xbdev__md_regions_have(&array->early, first, end));
}

static inline bool xbdev__md_member_is_writable(const struct xbdev_md_member *member)
{
	return member != NULL && member->state != XBDEV_MD_MEMBER_FAULTY;
}

/* A spare that nothing is left of what it had to do before: with an I/O of its last role still
 * under way it would be read from, or written to, as what it is no more. */
static inline bool xbdev__md_member_is_free(const struct xbdev_md_member *member)
{
	return member->state == XBDEV_MD_MEMBER_SPARE && member->nr_children == 0 &&
	       member->nr_users == 0;
}

/*
 * Takes a member out of service after an error, unless the array could not go on without it: then
 * the array is broken (raid1, raid10: the error is the I/O's alone). The new metadata is asked for;
 * array->fail_seq is what to wait for. True: it is out.
 */
bool xbdev__md_member_fail(struct xbdev_md_member *member, const char *why, int error);

/* This has been written: what was bad there no longer is. */
void xbdev__md_member_clear_bad(struct xbdev_md_member *member, const struct xbdev_io *io);

/* Puts sectors into its log of bad blocks. False: it has none, or no room in it. A member that is
 * not there, or has failed, has nothing to say. The superblocks are the caller's. */
bool xbdev__md_member_add_bad(struct xbdev_md_member *member, uint64_t sector, uint64_t count);

/* Is any of these sectors known to be bad? */
bool xbdev__md_member_has_bad(
	const struct xbdev_md_member *member, uint64_t sector, uint64_t count);

/* Could the array serve all its data without this one? */
bool xbdev__md_member_can_go(const struct xbdev_md_member *member);

/* Counts roles anew, from the members' states. */
void xbdev__md_count_degraded(struct xbdev_md_array *array);

/* ---- meta.c ---- */

void xbdev__md_meta_init(struct xbdev_md_array *array);

/* Has the array's state written to all members; returns the number to wait for. */
uint64_t xbdev__md_meta_update(struct xbdev_md_array *array);
/* Calls waiter->fn when state `waiter->seq` is on disk; maybe at once. -EIO: no member is left. */
void xbdev__md_meta_wait(struct xbdev_md_array *array, struct xbdev_md_waiter *waiter);

/* The same for bits of the bitmap, of which some may have been cleared; waits for all that are
 * wanted now. */
void xbdev__md_meta_update_bits(struct xbdev_md_array *array, bool has_cleared);
void xbdev__md_meta_wait_bits(struct xbdev_md_array *array, struct xbdev_md_waiter *waiter);

/* May data be written now? Else the dirty mark is on its way: wait for array->active_seq. */
bool xbdev__md_meta_begin_write(struct xbdev_md_array *array);
/* The last write has ended: the array is clean after a while. */
void xbdev__md_meta_end_writes(struct xbdev_md_array *array);

/* ---- sync.c ---- */

enum xbdev_md_sync_kind {
	XBDEV_MD_SYNC_IDLE,
	XBDEV_MD_SYNC_RESYNC,  /* copies or parity are made to agree */
	XBDEV_MD_SYNC_RECOVER, /* members get their content */
	XBDEV_MD_SYNC_CHECK,   /* what does not agree is counted, */
	XBDEV_MD_SYNC_REPAIR,  /* and made to agree */
};

const char *xbdev__md_sync_name(enum xbdev_md_sync_kind kind);

/* Begins what is due and does not run yet: recovery of members, then resync. */
void xbdev__md_sync_kick(struct xbdev_md_array *array);
/* Ends what runs, soon; its progress is kept. array->sync is NULL when it has. */
void xbdev__md_sync_stop(struct xbdev_md_array *array);

/* How far it is: false when none runs. Sectors; speed in KiB/s over the last seconds. */
bool xbdev__md_sync_progress(const struct xbdev_md_array *array, enum xbdev_md_sync_kind *ret_kind,
	uint64_t *ret_done, uint64_t *ret_total, uint64_t *ret_speed_kib);
/* Has a recovery of this member been at the sector, or is it there now? */
bool xbdev__md_sync_has_reached(
	const struct xbdev_md_array *array, const struct xbdev_md_member *member, uint64_t sector);
/* Begins a check or a repair; -EBUSY when something runs, -EINVAL where there is nothing to
 * compare. */
int xbdev__md_sync_scrub(struct xbdev_md_array *array, enum xbdev_md_sync_kind kind);

/* ---- turn.c ---- */

/* May the array begin to rebuild? Else xbdev__md_sync_kick() is called again in a moment. */
bool xbdev__md_turn_take(struct xbdev_md_array *array);
/* It waits no more. */
void xbdev__md_turn_give_up(struct xbdev_md_array *array);
/* It could not begin after all, for there was no memory: it is tried again in a second. */
void xbdev__md_turn_put_off(struct xbdev_md_array *array);
/* It has ended. */
void xbdev__md_turn_end(struct xbdev_md_array *array);

/* ---- keeper.c ---- */

struct xbdev_md_keep;

/* On the control reactor, when the array is registered and when it is about to be freed. Without
 * memory for it an array has no spares but its own. */
void xbdev__md_keep_start(struct xbdev_md_array *array, const char *group);
void xbdev__md_keep_stop(struct xbdev_md_array *array);
/* On the owner: a role is missing, and there is no spare for it. */
void xbdev__md_keep_want(struct xbdev_md_array *array);
/* On the control reactor: the group whose spares it shares; "": none. */
void xbdev__md_keep_set_group(struct xbdev_md_array *array, const char *group);
const char *xbdev__md_keep_group(const struct xbdev_md_array *array);
/* On the control reactor: what it knows of the priority, which is the owner's. */
void xbdev__md_keep_set_priority(struct xbdev_md_array *array, uint32_t priority);
uint32_t xbdev__md_keep_priority(const struct xbdev_md_array *array);
/* A spare was added: others of its group may want it. */
void xbdev__md_keep_look_around(struct xbdev_md_array *array);

/* A copy or a parity member could not be read here but the data is known: rewrites it, later. */
void xbdev__md_repair(struct xbdev_md_array *array, uint64_t sector, uint64_t count);

#endif
