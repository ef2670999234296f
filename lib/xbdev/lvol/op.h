/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on logical volumes for the rest of lib/xbdev. All calls are for the control reactor,
 * and what they call back too. A volume is the device "store/volume".
 *
 * `done` runs once, later; err->code is 0 or -errno with a sentence. What it says is durable. An
 * operation that power or an error has cut off is either done or has not begun when the store is
 * loaded again. After a metadata write that failed for good the store is read-only until then.
 *
 * Errors that all have: -EROFS: the store or the volume may not be changed; -EBUSY: another
 * operation has the volume, or somebody uses it where nobody may; -ENODEV: the store is being given
 * up; -ENOSPC: no free cluster or metadata page; -ECANCELED; -ENOMEM; -EIO.
 */
#ifndef XBDEV_LVOL_OP_H
#define XBDEV_LVOL_OP_H

#include "lib/xbdev/core/device.h"

struct xbdev_lvol;
struct xbdev_lvol_store;

typedef void (*xbdev_lvol_done_fn)(void *arg, const struct xu_error *err);

struct xbdev_lvol_create_opts {
	const char *name;    /* 1 to 63 bytes, of no other volume of the store */
	struct xu_uuid uuid; /* null: a new one is made */
	uint64_t size;       /* bytes; rounded up to whole clusters */
	bool is_thin;        /* else all clusters are taken, and zeroed */
	uint64_t clear;      /* XBDEV_LVS_CLEAR_…: what is done with clusters given back */
};

/* What there is to know without asking the store's reactor. */
struct xbdev_lvol_info {
	const char *name; /* in its store */
	const char *store;
	struct xu_uuid uuid;
	uint64_t size;         /* bytes */
	uint64_t cluster_size; /* bytes */
	uint64_t nr_allocated; /* clusters of its own */
	bool is_thin;
	bool is_read_only;  /* by its flags, or because clones stand on it */
	bool is_hidden;     /* a snapshot that was deleted while several stood on it; no device */
	uint32_t nr_clones; /* volumes and snapshots directly on it */
	const char *parent; /* the snapshot it stands on; NULL: none */
	const char *esnap;  /* the device outside the store that it stands on, as it is noted in
			     * the store: its UUID, or a name; NULL: none */
	const char *esnap_device; /* that device's name; NULL: it is not there */
	const char *busy;         /* what is being done with it; NULL: nothing */
	uint32_t busy_permille;   /* of that has been done */
	uint64_t nr_copied;       /* clusters, of a shallow copy under way */
	const char *reason;       /* why it cannot be used, or not now; NULL: it can */
};

/* NULL: there is no such volume (device name or UUID, or it is no logical volume). */
struct xbdev_lvol *xbdev__lvol_find(struct xbdev_ctx *ctx, const char *name_or_uuid);
/* All of a store, also those that are no device; NULL starts and ends. */
struct xbdev_lvol *xbdev__lvol_next(struct xbdev_lvol_store *store, struct xbdev_lvol *volume);
/* The pointers hold until the control reactor goes on. */
void xbdev__lvol_info(const struct xbdev_lvol *volume, struct xbdev_lvol_info *ret);
/* NULL: it is no device. */
struct xbdev_device *xbdev__lvol_device(struct xbdev_lvol *volume);
struct xbdev_lvol_store *xbdev__lvol_store_of(const struct xbdev_lvol *volume);

/*
 * A volume that is being made: it is none yet and its name is not taken, but it can be seen how far
 * it is, and stopped. NULL starts and ends; the name is STORE/NAME or the UUID, NULL: there is
 * none. Its info has no allocated clusters.
 */
struct xbdev_lvol_op;
struct xbdev_lvol_op *xbdev__lvol_making_next(
	struct xbdev_lvol_store *store, struct xbdev_lvol_op *making);
struct xbdev_lvol_op *xbdev__lvol_making_find(struct xbdev_ctx *ctx, const char *name_or_uuid);
void xbdev__lvol_making_info(const struct xbdev_lvol_op *making, struct xbdev_lvol_info *ret);
/* It ends with -ECANCELED, or is done. */
void xbdev__lvol_making_cancel(struct xbdev_lvol_op *making);

/* A new volume. -EEXIST: the name or the UUID is taken. */
void xbdev__lvol_create(struct xbdev_lvol_store *store, const struct xbdev_lvol_create_opts *opts,
	xbdev_lvol_done_fn done, void *arg);

/*
 * The volume's content of a moment between the call and `done` under a new name, read-only. All
 * that was acknowledged before the call is in it; writes wait for some metadata writes meanwhile.
 * `uuid` may be NULL.
 */
void xbdev__lvol_snapshot(struct xbdev_lvol *volume, const char *name, const struct xu_uuid *uuid,
	xbdev_lvol_done_fn done, void *arg);

/* A thin volume on a read-only one. -EINVAL: that is not read-only. */
void xbdev__lvol_clone(struct xbdev_lvol *snapshot, const char *name, const struct xu_uuid *uuid,
	xbdev_lvol_done_fn done, void *arg);

/*
 * A thin volume that stands on a device outside of the store, which is kept from being written
 * while it does, and need not be there always: without it the volume is no device. It is found
 * again by its UUID. -EINVAL: the device's size is no whole clusters, its blocks are larger than
 * the store's, or it is a volume of this store; -ENODEV: it is not there; -EBUSY: somebody writes
 * to it.
 */
void xbdev__lvol_clone_external(struct xbdev_lvol_store *store, const char *device,
	const char *name, const struct xu_uuid *uuid, xbdev_lvol_done_fn done, void *arg);

/* Whether a device is kept from being written for volumes that stand on it. */
bool xbdev__lvol_is_esnap(const struct xbdev_device *dev);

/*
 * The end of a volume or snapshot that nobody has open. What stands on a snapshot keeps its
 * content: with one volume on it that takes over its clusters; with several it is hidden, its name
 * is free, and it goes when one is left.
 */
void xbdev__lvol_delete(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg);

/* Another name in the store; nobody may have it open. */
void xbdev__lvol_rename(
	struct xbdev_lvol *volume, const char *name, xbdev_lvol_done_fn done, void *arg);

/* Read-only for good; nobody may have it open to be written. */
void xbdev__lvol_set_read_only(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg);

/* Another size, rounded up to clusters; bytes beyond a smaller one are gone, new ones are zeroes.
 */
void xbdev__lvol_resize(
	struct xbdev_lvol *volume, uint64_t size, xbdev_lvol_done_fn done, void *arg);

/* All clusters become its own: it stands on nothing and is thick. Under I/O, that of the volumes
 * that stand on it too: a snapshot can be filled as any other. */
void xbdev__lvol_inflate(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg);
/* The clusters that its parent itself has become its own; it stands on the parent's parent. */
void xbdev__lvol_decouple(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg);

/* Lets a thin volume stand on another snapshot of the same size; its own clusters win. */
void xbdev__lvol_set_parent(
	struct xbdev_lvol *volume, struct xbdev_lvol *snapshot, xbdev_lvol_done_fn done, void *arg);

/* The same with a device outside of the store, of any size of whole clusters; as above. */
void xbdev__lvol_set_parent_external(
	struct xbdev_lvol *volume, const char *device, xbdev_lvol_done_fn done, void *arg);

/*
 * The volume that the snapshot was taken of, or its only writable child if that is not known, has
 * the snapshot's content and size again; nobody may have it open. Later snapshots stay. -EINVAL
 * names the candidates when there are several.
 */
void xbdev__lvol_restore(struct xbdev_lvol *snapshot, xbdev_lvol_done_fn done, void *arg);

struct xbdev_lvol_usage {
	uint64_t exclusive; /* bytes in clusters of its own that no other volume reads */
	uint64_t shared;    /* bytes in clusters that it reads, or has, and others read or have */
};

/* How much a volume takes. `fn` runs once, later; NULL and a sentence: -EBUSY, -ENODEV, -ENOMEM. */
void xbdev__lvol_usage(struct xbdev_lvol *volume,
	void (*fn)(void *arg, const struct xbdev_lvol_usage *usage, const struct xu_error *err),
	void *arg);

struct xbdev_lvol_extent {
	uint64_t offset, len; /* bytes; whole clusters */
};

/*
 * Where two volumes of a store may differ: the clusters that they do not read from the same place,
 * as extents in order, neighbours in one. What lies beyond the end of one of them is zeroes there.
 * `fn` runs once, later, and borrows the list; NULL and a sentence as above, and -EINVAL: they are
 * of two stores.
 */
void xbdev__lvol_diff(struct xbdev_lvol *a, struct xbdev_lvol *b,
	void (*fn)(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
		const struct xu_error *err),
	void *arg);

/*
 * Copies the clusters that a read-only volume itself has to the same places of a device, which is
 * claimed meanwhile; those that it only reads from below are left out. Info tells how far it is.
 * -EINVAL: the volume can be written, or the device is smaller; -EBUSY: somebody uses the device.
 */
void xbdev__lvol_shallow_copy(
	struct xbdev_lvol *snapshot, const char *device, xbdev_lvol_done_fn done, void *arg);

/* Asks what is being done with the volume to stop: it ends with -ECANCELED, or is done. -ENOENT:
 * nothing that can be stopped. */
int xbdev__lvol_cancel(struct xbdev_lvol *volume, struct xu_error *err);

#endif
