/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/raid: stripes of raid4, raid5 and raid6.
 *
 * A stripe is the same range of all members, at most 64 KiB of each and within one chunk: what a
 * parity calculation is done over. While something is done to it, it is an object with a column per
 * member; whatever else wants it waits in its line, so updates of its parity never cross. Writes
 * that wait together are done together: that makes whole stripes out of parts.
 *
 * stripe.c has the objects, their lines, and the cutting of requests; stripe_op.c what is done;
 * stripe_part.c how it is done where blocks are bad.
 */
#ifndef XBDEV_RAID_STRIPE_H
#define XBDEV_RAID_STRIPE_H

#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/parity.h"

#define XBDEV_MD_STRIPE_SECTORS 128u /* of a member, at most */
#define XBDEV_MD_NR_STRIPES     256u
#define XBDEV_MD_NR_ENTRIES     2048u

struct xbdev_md_lane;

enum xbdev_md_stripe_kind {
	XBDEV_MD_STRIPE_WRITE,
	XBDEV_MD_STRIPE_READ, /* of data that must be recovered */
	XBDEV_MD_STRIPE_SYNC,
};

/* What a request, or the sync engine, wants of one stripe. */
struct xbdev_md_entry {
	struct xu_list link;
	enum xbdev_md_stripe_kind kind;
	struct xbdev_md_req *req; /* NULL: the sync engine */
	/* READ, WRITE: the sectors of the array. */
	uint64_t sector;
	uint32_t count;
	uint32_t rest;     /* WRITE: sectors behind them that are done next */
	uint32_t bad_role; /* READ: a member that could not be read, or UINT32_MAX */
	bool is_gone;      /* READ: for its device is being removed */
	/* SYNC. */
	bool is_check; /* look only */
	void (*synced)(void *arg, int status, uint64_t mismatch_sectors);
	/* Before that, maybe several times: what cannot be known, in sectors of the members;
	 * is_noted: their logs of bad blocks say so. */
	void (*lost)(void *arg, uint64_t sector, uint64_t count, bool is_noted);
	void *arg;
	int status; /* of a block of its own that is lost */
};

/* A range of sectors within a stripe. */
struct xbdev_md_span {
	uint32_t lo, hi;
};

struct xbdev_md_column {
	struct xbdev_md_child child; /* one I/O at a time */
	struct xbdev_md_child twin;  /* what is written to the member's replacement */
	struct xbdev_md_stripe *stripe;
	uint32_t role;
	uint32_t index;            /* of the data, or nr_data for P, nr_data + 1 for Q */
	bool is_bad;               /* could not be read this time */
	bool is_gone;              /* for its device is being removed: it is about to be out */
	bool is_read;              /* is to be read, and then has been */
	bool is_written;           /* is to be written */
	bool is_copied;            /* its replacement gets it, whether it is written or not */
	bool is_touched;           /* entries write to it */
	bool is_full;              /* they write all of the span */
	struct xbdev_md_span span; /* what is written to it */
	uint64_t cover[2];         /* bit per sector that entries write */
	char *old;                 /* what was read, or room for it: the stripe's span */
	char *data;                /* the stripe's span as it is to be; the user's own memory where
				    * that is possible, then only column->span of it */
};

struct xbdev_md_stripe {
	struct xbdev_md_array *array;
	uint64_t key;          /* member sector / sectors of a stripe */
	uint64_t sector;       /* of the members, where it begins */
	uint64_t array_sector; /* of the array, where its first data column begins */
	struct xu_list hash_link;
	struct xu_list hungry_link; /* waits for buffers */
	struct xu_list log_link;    /* waits for its log */
	struct xbdev_md_lane *lane; /* it is in the log; NULL: it is not */
	uint32_t absent;            /* the log's: data columns that count as missing, */
	uint32_t apart;             /* or else the one with bad blocks */
	struct xu_list waiting;     /* struct xbdev_md_entry */
	struct xu_list running;
	struct xbdev_md_row row;
	bool is_running;
	bool is_start_sent; /* start_msg is under way */
	struct xr_msg start_msg;
	enum xbdev_md_stripe_kind kind;
	bool is_check;
	/* Blocks are bad one by one: what cannot be done as a whole is done in smaller parts. */
	struct xbdev_md_span whole; /* what the entries want */
	struct xbdev_md_span limit; /* nothing but what lies in it is looked at now */
	uint32_t part;              /* sectors of the present part */
	bool is_lossy;              /* a member has not taken all that was written to it */
	struct xbdev_md_span span;  /* of all columns */
	uint32_t mode;              /* stripe_op.c's: how the parity is made */
	uint32_t nr_pending;
	int status;
	uint8_t io_flags; /* FUA if any entry asks for it */
	uint64_t mismatch_sectors;
	char *buf;
	size_t buf_bytes;
	struct xbdev_md_column columns[]; /* geo.raid_disks: data, then P, then Q */
};

#define XBDEV_MD_STRIPE_BUCKETS 512u

struct xbdev_md_stripes {
	struct xbdev_md_array *array;
	uint32_t sectors; /* of a stripe */
	struct xu_pool pool;
	struct xu_pool entries;
	struct xu_list buckets[XBDEV_MD_STRIPE_BUCKETS];
	struct xu_list hungry; /* stripes without buffers */
	struct xr_timer hungry_timer;
	struct xu_list starved; /* struct xbdev_md_req.waiter: for a stripe */
	struct xu_list failed;  /* struct xbdev_md_child: reads that wait for a stripe */
	struct xu_list blocked; /* struct xbdev_md_entry of the sync engine: for a stripe */
};

/* Does what the entries in stripe->running want; ends by xbdev__md_stripe_done(). */
void xbdev__md_stripe_run(struct xbdev_md_stripe *stripe);
/* Goes on with a write that has been logged, or ends it with the error of that. */
void xbdev__md_stripe_write(struct xbdev_md_stripe *stripe, int status);
void xbdev__md_stripe_done(struct xbdev_md_stripe *stripe);

/* stripe_op.c for stripe_part.c: what the entries want within stripe->limit; how to do that, and
 * the beginning of it; the end of all. */
void xbdev__md_stripe_collect(struct xbdev_md_stripe *stripe);
void xbdev__md_stripe_plan(struct xbdev_md_stripe *stripe);
void xbdev__md_stripe_finish(struct xbdev_md_stripe *stripe, int status);
/* The whole of the stripe's span? */
bool xbdev__md_column_is_readable(const struct xbdev_md_column *column);

/* stripe_part.c: the present part cannot be done, or it has been. */
void xbdev__md_stripe_give_up(struct xbdev_md_stripe *stripe);
void xbdev__md_stripe_part_done(struct xbdev_md_stripe *stripe);

/* The sectors of a stripe's present part that a request's entry covers in data column `index`:
 * empty where lo == hi. *ret_skip: bytes of the request before them. */
struct xbdev_md_span xbdev__md_entry_span(const struct xbdev_md_stripe *stripe,
	const struct xbdev_md_entry *entry, uint32_t index, uint64_t *ret_skip);

/* Has one stripe of members checked or made good: calls entry->synced later. The entry is the
 * caller's. */
void xbdev__md_stripe_sync(
	struct xbdev_md_array *array, struct xbdev_md_entry *entry, uint64_t member_sector);

#endif
