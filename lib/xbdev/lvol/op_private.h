/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: an operation on a volume (op.h), from the control reactor to the
 * store's owner and back.
 *
 *   control   _op_new(): may it be done now? It holds the volumes that it needs.
 *             _op_start(), or _op_start_alone() where nobody may use the volume meanwhile
 *   owner     op->begin: changes of the model, commits, clearing of clusters, one step calling the
 *             next; _op_end() when there is none
 *   control   what has changed is shown; op->finish; holds are given up; the caller is told
 *
 * Two operations never hold the same volume alone, and all that an operation changes it holds:
 * maps and parents of blobs. So owners' steps of several operations may mix freely.
 */
#ifndef XBDEV_LVOL_OP_PRIVATE_H
#define XBDEV_LVOL_OP_PRIVATE_H

#include "lib/xbdev/lvol/op.h"
#include "lib/xbdev/lvol/volume.h"

/* Attributes of ours; SPDK keeps what it does not know. */
#define XBDEV_LVOL_A_ORIGIN "xsan.origin" /* UUID of the volume that a snapshot was taken of */
#define XBDEV_LVOL_A_HIDDEN "xsan.hidden" /* deleted; goes when one volume or none is on it */

#define XBDEV_LVOL_OP_VOLUMES 3u

struct xbdev_lvol_filler;

struct xbdev_lvol_op {
	struct xu_list link; /* in store->ops */
	struct xbdev_lvol_store *store;
	const char *what;               /* is being done, for "volume 'x' is being ..." */
	struct xbdev_lvol *volume;      /* that it is about, held alone; NULL: there is none yet */
	struct xbdev_lvol *other;       /* a second one held alone; NULL: none */
	struct xbdev_lvol *held;        /* one that is held with others; NULL: none */
	struct xbdev_lvol *held_too;    /* a second of these */
	struct xbdev_lvol_esnap *esnap; /* a device outside that something is to stand on */
	struct xbdev_lvol_esnap *old_esnap;       /* that `volume` stood on when it began */
	void *own;                                /* of the kind of operation */
	void (*begin)(struct xbdev_lvol_op *op);  /* on the owner */
	void (*finish)(struct xbdev_lvol_op *op); /* on control, before it is let go; may be NULL */
	struct xu_error err;
	xbdev_lvol_done_fn done; /* NULL: nobody waits for it */
	void *arg;
	bool is_reaping;        /* nobody has asked for it; `done` is of one that is over, ... */
	struct xu_error result; /* ... which ended so */

	/* What it is to do, as it needs it. */
	char name[XBDEV_LVS_NAME_BYTES];
	struct xu_uuid uuid;
	uint64_t clear;        /* XBDEV_LVS_CLEAR_…: what clears now */
	uint64_t volume_clear; /* the volume's */
	uint32_t nr_clusters;
	bool is_thin;

	/* For people. */
	_Atomic uint32_t permille;
	_Atomic uint32_t nr_copied; /* clusters, to another device */
	_Atomic bool is_cancelled;
	bool can_be_cancelled; /* the control reactor's */
	bool is_look;          /* changes nothing */
	bool is_making;        /* a volume that people can see already */

	/* The owner's. */
	struct xbdev_lvs_blob *made;       /* a new blob */
	struct xbdev_lvs_map old_map;      /* that the volume had */
	struct xbdev_lvs_numbers clusters; /* being cleared, or taken and not used yet */
	struct xbdev_lvs_numbers indexes;  /* of the volume, that get these clusters */
	struct xbdev_lvs_numbers pages;    /* taken and not used yet */
	uint32_t cleared;                  /* of the clusters */
	uint32_t nr_tries;
	bool is_merged;                    /* a deleted snapshot's map is another's */
	struct xbdev_lvol_filler *fillers; /* op_fill.c's; freed with the operation */
	struct xbdev_lvol *above;          /* op_fill.c's: whose I/O is waited for */
	uint32_t nr_busy;                  /* of them */
	uint32_t at;                       /* cluster of the volume that comes next */
	enum xbdev_lvol_fill fill;
	bool is_scanning;  /* goes on to look for it in a moment */
	bool is_exclusive; /* of the volume's I/O, or the other's */
	void (*next)(struct xbdev_lvol_op *op, int status);
	void (*then)(struct xbdev_lvol_op *op, int status); /* after several of these */
	struct xbdev_lvol_exclusive exclusive;
	struct xbdev_lvs_waiter waiter;
	struct xr_timer timer;
	struct xr_msg msg;

	/* Brought home. */
	struct {
		struct xbdev_lvol *volume;
		struct xbdev_lvol_shown shown;
	} news[XBDEV_LVOL_OP_VOLUMES];
	uint32_t nr_news;
	struct xbdev_lvol *gone; /* its blob is no more */
};

/* ---- control ---- */

/*
 * An operation. When it may not be done it has op->err and is started all the same, which then only
 * tells the caller. NULL: there was no memory, and he has been told.
 */
struct xbdev_lvol_op *xbdev__lvol_op_new(struct xbdev_lvol_store *store, struct xbdev_lvol *volume,
	const char *what, xbdev_lvol_done_fn done, void *arg);
/* One that changes nothing; _op_hold() is for what it looks at. */
struct xbdev_lvol_op *xbdev__lvol_op_new_look(
	struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg);
/* Holds a second volume alone; its error is the operation's. */
void xbdev__lvol_op_hold_alone(struct xbdev_lvol_op *op, struct xbdev_lvol *volume);
/* Holds a volume with others, so that it stays as it is; two at most. */
void xbdev__lvol_op_hold(struct xbdev_lvol_op *op, struct xbdev_lvol *volume);
/* Takes the name of what is to be made. */
void xbdev__lvol_op_set_name(
	struct xbdev_lvol_op *op, const char *name, const struct xu_uuid *uuid);
/* Takes the size of what is made or changed; bytes. */
void xbdev__lvol_op_set_size(struct xbdev_lvol_op *op, uint64_t size);
/* The volume may be written and resized: not read-only, nobody stands on it, all is at hand. */
void xbdev__lvol_op_check_writable(struct xbdev_lvol_op *op);
void xbdev__lvol_op_start(struct xbdev_lvol_op *op, void (*begin)(struct xbdev_lvol_op *op));
/* The volume is no device while it is done; -EBUSY when somebody has it open. */
void xbdev__lvol_op_start_alone(struct xbdev_lvol_op *op, void (*begin)(struct xbdev_lvol_op *op));
/* All that is left when it has been shown and let go: the caller is told. */
void xbdev__lvol_op_conclude(struct xbdev_lvol_op *op);
/* For op->finish: makes a device of a volume again, or for the first time. */
void xbdev__lvol_op_register(struct xbdev_lvol_op *op, struct xbdev_lvol *volume);

/* ---- owner ---- */

/* Sets the error if there is none yet; the code. */
int xbdev__lvol_op_fail(struct xbdev_lvol_op *op, int code, const char *sentence);
/* Makes durable what is marked, then calls `next`. A write that fails is tried again; at last the
 * store is read-only, with the reason, and `next` gets the error, which is the operation's too. */
void xbdev__lvol_op_commit(
	struct xbdev_lvol_op *op, void (*next)(struct xbdev_lvol_op *op, int status));
/* Waits until none of the volume's I/O is in flight and holds new ones until _give(). */
void xbdev__lvol_op_take(struct xbdev_lvol_op *op, struct xbdev_lvol *volume,
	void (*next)(struct xbdev_lvol_op *op, int status));
void xbdev__lvol_op_give(struct xbdev_lvol_op *op, struct xbdev_lvol *volume);
/* Clears op->clusters in this manner (XBDEV_LVS_CLEAR_…), with progress; `next` gets the first
 * error, or -ECANCELED. */
void xbdev__lvol_op_clear(
	struct xbdev_lvol_op *op, uint64_t how, void (*next)(struct xbdev_lvol_op *op, int status));
/* Gives op->clusters back, and those who wait for space hear of it. */
void xbdev__lvol_op_free_clusters(struct xbdev_lvol_op *op);
/* The volume has changed: what control is to know. */
void xbdev__lvol_op_news(struct xbdev_lvol_op *op, struct xbdev_lvol *volume);
void xbdev__lvol_op_end(struct xbdev_lvol_op *op);

/* A new blob with op's name and UUID, in memory only; NULL: op has the error. */
struct xbdev_lvs_blob *xbdev__lvol_op_make_blob(struct xbdev_lvol_op *op, uint32_t nr_clusters);
/* Forgets one of which nothing is on disk. */
void xbdev__lvol_op_unmake(struct xbdev_lvol_op *op);
/* So many clusters, into op->clusters; all or none. */
int xbdev__lvol_op_take_clusters(struct xbdev_lvol_op *op, uint32_t count);
/* All clusters of a map, into op->clusters. */
int xbdev__lvol_op_list(struct xbdev_lvol_op *op, const struct xbdev_lvs_map *map);

/*
 * Before op->other, which stands on op->volume, stands on what that stands on: where it is larger
 * than op->volume and reads as zeroes for that reason, it gets clusters of zeroes. It has been
 * taken (_op_take()).
 */
void xbdev__lvol_op_cover(
	struct xbdev_lvol_op *op, void (*next)(struct xbdev_lvol_op *op, int status));

/* What `snapshot` stands on, `child` stands on, in memory; an error: nothing has changed. */
int xbdev__lvol_op_take_parent(
	struct xbdev_lvol_op *op, struct xbdev_lvs_blob *child, struct xbdev_lvs_blob *snapshot);

/* Deletes what is hidden and can go, on control. True: it has begun with one, whose end will tell
 * `done` (may be NULL) of this result. */
bool xbdev__lvol_reap(struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg,
	const struct xu_error *result);

#endif
