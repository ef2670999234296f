/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: a volume while it is a device. It lives on its store's reactor, and so
 * does everything here.
 *
 *   struct xbdev_lvol            one blob, and the device that it is
 *   struct xbdev_lvol_shown      what the control reactor knows of it
 *   struct xbdev_lvol_req        the driver's part of an I/O that it was given
 *   struct xbdev_lvol_child      one I/O to the device below, from the store's pool
 *   struct xbdev_lvol_change     a change of which clusters a range of the volume has
 *   struct xbdev_lvol_source     where a cluster's content lies
 *   struct xbdev_lvol_exclusive  somebody who wants the volume without any I/O in flight
 *   struct xbdev_lvol_store      what the volumes of a store share
 */
#ifndef XBDEV_LVOL_VOLUME_H
#define XBDEV_LVOL_VOLUME_H

#include "lib/util/pool.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/create.h"
#include "lib/xbdev/lvol/esnap.h"
#include "lib/xbdev/lvol/store.h"
#include "lib/xbdev/lvol/write.h"

#define XBDEV_LVOL_MAX_IOV     16u
#define XBDEV_LVOL_MAX_BYTES   (1u << 20) /* of one transfer */
#define XBDEV_LVOL_MAX_CHANGE  514u       /* clusters that one change is about */
#define XBDEV_LVOL_NR_CHILDREN 1024u
#define XBDEV_LVOL_NR_CHANGES  128u
#define XBDEV_LVOL_COPY_BYTES  (128u << 10) /* copied at a time */

#define XBDEV_LVOL_MAX_PLACES 16384u /* leaves of 2 KiB, of a store */

/* A request of the store's own, which gives a volume what it only reads from below. */
enum xbdev_lvol_fill {
	XBDEV_LVOL_NO_FILL,
	XBDEV_LVOL_FILL_ALL,    /* all that it has not itself */
	XBDEV_LVOL_FILL_PARENT, /* what it would not read so without its parent */
};

struct xbdev_lvol;
struct xbdev_lvol_change;
struct xbdev_lvol_op;

/* An I/O that a volume has. It ends when nr_pending falls to 0. */
struct xbdev_lvol_req {
	struct xbdev_lvol *volume;
	struct xu_list link; /* in a line: held, starved, or behind a change */
	struct xbdev_lvol_change *change;
	uint64_t next;       /* bytes that have been given to the device below */
	uint32_t nr_pending; /* what is under way, and 1 while it is being given out */
	int32_t status;
	bool is_in_submit; /* the core's call has not returned yet */
	bool is_freeing;   /* a DISCARD that has zeroed what stays, and gives clusters back now */
	uint8_t fill;      /* enum xbdev_lvol_fill; its I/O is no I/O of the core */
	uint32_t nr_freed; /* clusters that a DISCARD did not zero, as it gives them back */
	bool is_hungry;    /* it waits for clusters, or has */
	uint64_t until_ns; /* how long it does */
};

struct xbdev_lvol_child {
	struct xbdev_io io;
	struct iovec iov[XBDEV_LVOL_MAX_IOV];
	struct xbdev_lvol_store *store;
	void (*done)(struct xbdev_lvol_child *child, int status);
	void *arg;
};

/* Where the content of a cluster lies. */
struct xbdev_lvol_source {
	struct xbdev_channel *ch;
	uint64_t at;  /* byte of its device */
	uint64_t end; /* where that ends; behind it there are zeroes */
};

struct xbdev_lvol_exclusive {
	struct xu_list link;
	void (*fn)(struct xbdev_lvol_exclusive *exclusive);
};

/* A part of a new cluster that the I/O does not write: it gets what the volume had there. */
struct xbdev_lvol_edge {
	uint64_t at, len; /* bytes of the volume */
};

struct xbdev_lvol_change {
	struct xu_list link;   /* in volume->changes */
	struct xu_list behind; /* struct xbdev_lvol_req.link: I/Os of the same clusters */
	struct xbdev_lvol *volume;
	struct xbdev_lvol_req *req;
	uint32_t first, count; /* clusters of the volume that it keeps others from */
	struct xbdev_lvol_edge edges[2];
	uint32_t nr_edges, edge;
	uint32_t filled;       /* of a fill, whose clusters are edges one after the other */
	struct iovec copy;     /* on its way from the one place to the other */
	struct xr_timer retry; /* for memory for it */
	struct xbdev_lvs_waiter waiter;
	struct xbdev_lvol_exclusive exclusive;    /* of a discard */
	uint32_t clusters[XBDEV_LVOL_MAX_CHANGE]; /* by first + i: taken, or to be free; 0: as it is
						   */
};

struct xbdev_lvol_store {
	struct xbdev_lvs *lvs;
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor;
	struct xbdev_channel *ch; /* of the device below */
	uint32_t cluster_shift;   /* 0: the size of a cluster is no power of two */
	struct xu_pool children, changes;
	struct xu_list starved; /* struct xbdev_lvol_req.link */
	struct {
		struct xu_list line; /* struct xbdev_lvol_req.link: until clusters are free */
		struct xr_timer timer;
		struct xr_msg msg;
		bool is_sent;                 /* msg is under way */
		uint32_t nr_reached;          /* of the thresholds */
		_Atomic uint32_t wait_ms;     /* 0: nobody waits */
		_Atomic uint32_t percents[2]; /* used, which is told; 0: not */
	} space;
	struct xu_list here; /* struct xbdev_lvol_esnap.here */
	uint64_t epoch;      /* grows with each step of each operation; not 0 */
	uint32_t nr_places;  /* leaves of all volumes' places */

	/* attach.c's; the control reactor's. */
	struct xbdev_desc *desc;
	struct xu_list volumes; /* struct xbdev_lvol.link: all, those that are no devices too */
	struct xu_list ops;     /* struct xbdev_lvol_op.link: what is being done */
	uint32_t nr_registered; /* of the volumes */
	uint32_t nr_hidden;     /* those that are, by what is shown of them */
	uint32_t nr_external;   /* those that stand on something outside themselves */
	uint32_t nr_waiting;    /* those that wait for it */
	bool is_read_only;      /* nothing is to be written */
	bool is_serving;        /* its volumes have been registered */
	bool is_detaching;
	bool is_unloading;
	bool is_base_gone;
	struct xu_error err;
	struct xr_msg msg;
	void (*attached)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err);
	void (*detached)(void *arg, const struct xu_error *err);
	void *arg;
	bool is_ending;   /* all devices of the context go, each in its turn */
	bool is_unwanted; /* it is to be detached as soon as it has been attached */
	bool is_dropping; /* the store itself is to go */

	/* esnap.c's; the control reactor's. */
	struct xu_list esnaps; /* struct xbdev_lvol_esnap.link */
	uint32_t nr_opening;   /* of them */

	/* stores.c's; the control reactor's. */
	struct xu_list link; /* in the context's list, once it has a name */
	char name[XBDEV_LVS_NAME_BYTES];
	struct xu_uuid uuid;
	char claim_text[XBDEV_LVS_NAME_BYTES + 64];
	uint64_t cluster_size, total_clusters; /* of data */
	uint64_t nr_md_clusters;
	uint32_t block_size;
	bool is_changing;                   /* its name or its size */
	struct xbdev_lvs_create_opts *opts; /* NULL: it is on the device already */
	/* Why it cannot be changed; the owner publishes it. */
	const char *_Atomic read_only_text;
};

/* A copy of what the blob says, made by the owner whenever that changes. */
struct xbdev_lvol_shown {
	char name[XBDEV_LVS_NAME_BYTES];
	struct xu_uuid uuid;
	struct xu_uuid origin;             /* of the volume that it was taken of; null: not known */
	struct xbdev_lvol *parent;         /* NULL: none in the store */
	char esnap[XBDEV_LVOL_ESNAP_SIZE]; /* what is below from outside; "": nothing */
	uint32_t nr_clusters;
	bool is_thin;
	bool is_read_only;             /* by its flags */
	bool is_hidden;                /* deleted, but needed by what stands on it */
	bool is_servable;              /* all of the store that its content consists of is usable */
	bool is_locked;                /* nothing may be written */
	const struct xu_error *reason; /* why it cannot be used; NULL: it can. Holds as it does */
};

struct xbdev_lvol {
	struct xbdev_device dev;
	struct xbdev_lvol_store *store;
	struct xbdev_lvs_blob *blob;   /* the owner's */
	_Atomic uint64_t nr_allocated; /* clusters; the owner's, read by all */

	/* The control reactor's. */
	struct xu_list link;            /* in store->volumes */
	struct xbdev_lvol_shown shown;  /* changed by xbdev__lvol_show() */
	uint32_t nr_children;           /* whose shown.parent it is */
	struct xbdev_lvol_op *op;       /* that has it for itself; NULL: none */
	uint32_t nr_holds;              /* operations that need it as it is */
	struct xbdev_lvol_esnap *esnap; /* that it is a user of, as a device */
	bool is_waiting;                /* it is to be a device when what it stands on is there */
	bool is_registered;             /* it is a device, or is just going */
	bool may_have_store;            /* nobody else can have written to it: it is looked at */

	/* The owner's. */
	struct xbdev_lvs_map places; /* where clusters of those below lie: places.c */
	uint64_t places_epoch;
	uint32_t nr_places;
	const struct xbdev_lvs_blob *places_esnap; /* of its chain */
	struct xbdev_lvol_esnap *here;             /* the device of its own blob, in this epoch */
	uint64_t here_epoch;
	uint32_t nr_reqs;          /* that have begun and not ended */
	struct xu_list changes;    /* struct xbdev_lvol_change */
	struct xu_list exclusives; /* the first has it, or is about to */
	bool is_exclusive;
	bool is_filling;     /* no cluster may be given back */
	struct xu_list held; /* struct xbdev_lvol_req.link: until it is nobody's again */
};

static inline struct xbdev_lvol *xbdev__lvol_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct xbdev_lvol, dev);
}

static inline struct xbdev_lvol_req *xbdev__lvol_req_of(struct xbdev_io *io)
{
	return xbdev_io_driver(io, struct xbdev_lvol_req);
}

static inline struct xbdev_io *xbdev__lvol_io_of(struct xbdev_lvol_req *req)
{
	return xbdev_io_of_driver(req);
}

static inline uint32_t xbdev__lvol_cluster_size(const struct xbdev_lvol *volume)
{
	return volume->store->lvs->super.cluster_size;
}

/* ---- volume.c ---- */

/* On the owner: a volume for a blob that has none. It is in no list. NULL: out of memory. */
struct xbdev_lvol *xbdev__lvol_new(struct xbdev_lvol_store *store, struct xbdev_lvs_blob *blob);
/* When its blob has gone, and nobody else knows it. NULL is fine. */
void xbdev__lvol_free(struct xbdev_lvol *volume);
/* On the owner: what the blob says now. */
void xbdev__lvol_look(const struct xbdev_lvol *volume, struct xbdev_lvol_shown *ret);
/* On the owner: how many clusters it has now, for those who ask elsewhere. */
static inline void xbdev__lvol_count(struct xbdev_lvol *volume)
{
	atomic_store_explicit(
		&volume->nr_allocated, volume->blob->map.nr_allocated, memory_order_relaxed);
}

/* On the control reactor, as all below: makes a device of it, if it can be one. An error is a
 * matter of names. */
int xbdev__lvol_register(struct xbdev_lvol *volume, struct xu_error *err);
/* The copy is this from now on; before the store is handed over the owner does it. */
void xbdev__lvol_show(struct xbdev_lvol *volume, const struct xbdev_lvol_shown *shown);
/* It is to be a device when what it stands on is there, or is not. */
void xbdev__lvol_set_waiting(struct xbdev_lvol *volume, bool is_waiting);
/* Whether all that its content consists of is at hand; an error: why it is not. */
int xbdev__lvol_check_servable(const struct xbdev_lvol *volume, struct xu_error *err);
/* Volumes and snapshots directly on it. */
static inline uint32_t xbdev__lvol_nr_children(const struct xbdev_lvol *volume)
{
	return volume->nr_children;
}
/* The end of the store's volumes, none of which is a device. */
void xbdev__lvol_free_all(struct xbdev_lvol_store *store);

/* ---- places.c ---- */

/* The cluster below that has the content of one which the volume does not have itself; 0: it is
 * zeroes, or of the external device of *ret_esnap. */
uint32_t xbdev__lvol_place_below(
	struct xbdev_lvol *volume, uint32_t index, const struct xbdev_lvs_blob **ret_esnap);
void xbdev__lvol_forget_places(struct xbdev_lvol *volume);

/* ---- attach.c ---- */

/* On the control reactor: a volume is no device any more, or an operation is over. */
void xbdev__lvol_store_settle(struct xbdev_lvol_store *store);

/* On the control reactor: what its volumes stand on outside has been opened where it is there. */
void xbdev__lvol_store_serve(struct xbdev_lvol_store *store);

/* On the owner: the store has become read-only; everybody can see why. */
static inline void xbdev__lvol_store_publish(struct xbdev_lvol_store *store)
{
	if (store->lvs->read_only_reason.code != 0) {
		atomic_store(&store->read_only_text, store->lvs->read_only_reason.text);
	}
}

/* ---- io.c ---- */

int xbdev__lvol_io_init(struct xbdev_lvol_store *store);
void xbdev__lvol_io_fini(struct xbdev_lvol_store *store);

/* What the device can do, from the one below. */
void xbdev__lvol_io_setup(struct xbdev_lvol *volume, const struct xbdev_device *below);
void xbdev__lvol_submit(struct xbdev_channel *ch, struct xbdev_io *io);
/* One that was passed on to the device below has come back. */
void xbdev__lvol_passed(struct xbdev_channel *ch);

/* Gives what is left of the request to the device below, as the map and its change say. */
void xbdev__lvol_run(struct xbdev_lvol_req *req);
/* One part has ended; the last one ends the request, or goes on with its change. */
void xbdev__lvol_req_put(struct xbdev_lvol_req *req, int status);
/* All of its data is where it belongs, or it has failed: ends it, or a DISCARD goes on. */
void xbdev__lvol_finish(struct xbdev_lvol_req *req, int status);
/* It is over: told to whoever gave it, and no longer in flight. */
void xbdev__lvol_end(struct xbdev_lvol_req *req, int status);
void xbdev__lvol_complete(struct xbdev_lvol_req *req, int status);
void xbdev__lvol_uncount(struct xbdev_lvol *volume);
/* It may begin, or has to wait. */
void xbdev__lvol_admit(struct xbdev_lvol_req *req);
/* Something is free again: calls those in the line until one has to wait once more. */
void xbdev__lvol_wake(struct xbdev_lvol_store *store);
/* It waits in the line and is run again from there. */
void xbdev__lvol_starve(struct xbdev_lvol_req *req);

/* Where what a volume stands on has a cluster of it, whatever the volume itself has there; false:
 * nowhere, it reads as zeroes. `ret` may be NULL. */
bool xbdev__lvol_below(
	const struct xbdev_lvs_blob *blob, uint32_t index, struct xbdev_lvol_source *ret);
/* Clusters from this one on are not below it. */
uint32_t xbdev__lvol_below_end(const struct xbdev_lvs_blob *blob);

/* A child, or NULL. */
struct xbdev_lvol_child *xbdev__lvol_child_get(struct xbdev_lvol_store *store);
void xbdev__lvol_child_put(struct xbdev_lvol_child *child);
/* Sends it: op, flags, iov, nr_iov, io.len are set, `at` is a byte of the device below (or of that
 * of child->io.ch, where that has been set). `done` runs
 * later, exactly once, also when that refuses it. */
void xbdev__lvol_child_send(struct xbdev_lvol_child *child, uint64_t at,
	void (*done)(struct xbdev_lvol_child *child, int status), void *arg);

/*
 * Calls exclusive->fn when no I/O of the volume is in flight, maybe at once; new ones are held
 * until it is given up. Those who want it get it one after the other.
 */
void xbdev__lvol_exclusive_take(struct xbdev_lvol *volume, struct xbdev_lvol_exclusive *exclusive);
void xbdev__lvol_exclusive_give(struct xbdev_lvol *volume, struct xbdev_lvol_exclusive *exclusive);

/* ---- space.c ---- */

void xbdev__lvol_space_init(struct xbdev_lvol_store *store);
void xbdev__lvol_space_fini(struct xbdev_lvol_store *store);
struct xbdev_lvol_settings;
void xbdev__lvol_space_set(
	struct xbdev_lvol_store *store, const struct xbdev_lvol_settings *settings);
/* settings.c: as they are noted in the store's own blob, or the defaults. */
void xbdev__lvol_settings_load(
	const struct xbdev_lvs_blob *super_blob, struct xbdev_lvol_settings *ret);
/* The request needs more clusters than there are: false: it is to fail with -ENOSPC; true: it is in
 * line, not in flight any more, and is admitted again or ended from there. */
bool xbdev__lvol_space_wait(struct xbdev_lvol_req *req);
/* Ends the request if it waits; later. */
void xbdev__lvol_space_cancel(struct xbdev_channel *ch, struct xbdev_io *io);
/* The volume goes: ends all of its that wait. */
void xbdev__lvol_space_abort(struct xbdev_channel *ch);

/* ---- change.c ---- */

/* Whether the request needs clusters that the volume does not have. */
bool xbdev__lvol_needs_change(const struct xbdev_lvol_req *req);
/* Begins to take them; false: too much is under way, ask again. */
bool xbdev__lvol_change_begin(struct xbdev_lvol_req *req);
/* Goes on where it had no child. */
void xbdev__lvol_change_go_on(struct xbdev_lvol_change *change);
/* Nothing is left to be copied: the request's own data is next. */
static inline bool xbdev__lvol_change_is_ready(const struct xbdev_lvol_change *change)
{
	return change->edge == change->nr_edges;
}
/* The request's own data is where it is to be, or not. */
void xbdev__lvol_change_data_done(struct xbdev_lvol_req *req);
/* The change in flight that one of the request's clusters is in; NULL: none. */
struct xbdev_lvol_change *xbdev__lvol_change_over(const struct xbdev_lvol_req *req);

/* Whether the volume, which does not have this cluster itself, would read something else there
 * without its parent. */
bool xbdev__lvol_parent_has(const struct xbdev_lvs_blob *blob, uint32_t index);
/* How many clusters a DISCARD gives back. */
uint32_t xbdev__lvol_nr_freed(const struct xbdev_lvol_req *req);
/* Whether a DISCARD gives this cluster of the volume back. */
bool xbdev__lvol_is_freed(const struct xbdev_lvol_req *req, uint32_t index);
/* Begins to give back what a DISCARD gives back, or ends it; false as above. */
bool xbdev__lvol_free_begin(struct xbdev_lvol_req *req);

#endif
