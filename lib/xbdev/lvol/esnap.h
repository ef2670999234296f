/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: devices outside of a store that its volumes stand on (external
 * snapshots). A volume names one by its UUID, or by name where SPDK was told one. What it reads
 * below it is there when the device is: then it is opened for reading, once for a context, kept
 * from being written by a claim, and the store's reactor gets a channel to it.
 *
 *   absent ─▶ opening ─▶ ready ─▶ leaving ─▶ gone, or absent again
 *             control,            when nobody uses it: no device stands on it, no operation,
 *             then owner          and no volume names it, or it goes, or the store does
 *
 * All is the control reactor's unless it says otherwise.
 */
#ifndef XBDEV_LVOL_ESNAP_H
#define XBDEV_LVOL_ESNAP_H

#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"

#define XBDEV_LVOL_ESNAP_SIZE XBDEV_NAME_SIZE

struct xbdev_lvol;
struct xbdev_lvol_hold;
struct xbdev_lvol_op;
struct xbdev_lvol_source;
struct xbdev_lvol_store;
struct xbdev_lvol_stores;
struct xbdev_lvs_blob;

struct xbdev_lvol_esnap {
	struct xu_list link; /* in store->esnaps */
	struct xbdev_lvol_store *store;
	char id[XBDEV_LVOL_ESNAP_SIZE]; /* as volumes name it */
	struct xbdev_lvol_hold *hold;   /* NULL: it is absent */
	uint32_t nr_users;              /* volumes that are devices, and operations */
	bool is_opening, is_ready, is_leaving;
	bool is_going;           /* the device is; nobody else is to use it */
	bool is_removed;         /* at once */
	bool has_failed;         /* it could not be opened */
	struct xu_error why;     /* it is not ready */
	struct xu_list awaiting; /* struct xbdev_lvol_op.link */
	struct xr_msg msg;

	/* The owner's. */
	struct xu_list here;      /* in store->here, while there is a channel */
	struct xbdev_channel *ch; /* NULL: it could not be opened */
	int status;               /* and why not */
	uint64_t size;            /* bytes; set before the owner hears of it */
};

/* ---- control ---- */

/* Devices that appear are looked at from now on. */
void xbdev__lvol_esnaps_init(struct xbdev_lvol_stores *stores);
/* What the store's volumes stand on now is known, and opened where it is there. Before the store is
 * served, its end is waited for: store->nr_opening. */
void xbdev__lvol_esnaps_gather(struct xbdev_lvol_store *store);
/* Lets go of what nobody uses any more. */
void xbdev__lvol_esnaps_settle(struct xbdev_lvol_store *store);
/* Makes devices of volumes that have waited for what they stand on. */
void xbdev__lvol_esnaps_serve(struct xbdev_lvol_store *store);

/* One of the store's list, opened if it is not yet; NULL with a sentence. -EBUSY: somebody writes
 * to the device; -EINVAL: the next; -ENODEV, -ENOMEM. */
struct xbdev_lvol_esnap *xbdev__lvol_esnap_open(struct xbdev_lvol_store *store, const char *id,
	const struct xbdev_device *dev, struct xu_error *err);
/* The device's blocks must fit into the store's. */
int xbdev__lvol_esnap_check_blocks(
	const struct xbdev_lvol_store *store, const struct xbdev_device *dev, struct xu_error *err);

/* What a volume, or what it stands on, stands on outside; NULL: nothing, or nobody knows it. */
struct xbdev_lvol_esnap *xbdev__lvol_esnap_of(const struct xbdev_lvol *volume);
/* That device; NULL: it is not there. */
const struct xbdev_device *xbdev__lvol_esnap_device(const struct xbdev_lvol *volume);
/* Why a volume cannot be read for want of a device outside; NULL: that is not so. */
const struct xu_error *xbdev__lvol_esnap_missing(const struct xbdev_lvol *volume);
/* It is a device now, or stands on something else: the users are counted anew. */
void xbdev__lvol_esnap_follow(struct xbdev_lvol *volume);
/* It is no device any more. */
void xbdev__lvol_esnap_unfollow(struct xbdev_lvol *volume);

/* ---- operations: esnap_op.c ---- */

/* Whether a device lies on another one, with whatever else between them. */
bool xbdev__lvol_lies_on(const struct xbdev_device *dev, const struct xbdev_device *other);
/* For an operation that lets a volume stand on a device: opens it; op->err, and op->nr_clusters. */
void xbdev__lvol_esnap_take(struct xbdev_lvol_op *op, const char *device);
/* Until the operation ends, the device that its volume stands on now stays open. */
void xbdev__lvol_esnap_keep(struct xbdev_lvol_op *op);
void xbdev__lvol_esnap_let_go(struct xbdev_lvol_op *op);
/* Whether a device is just being given up that the operation was about: it is concluded then. */
bool xbdev__lvol_esnap_await(struct xbdev_lvol_op *op);

/* ---- owner ---- */

/* Where a cluster of a volume lies whose blob has an external device; false: beyond its end, or it
 * is not there. `ret` may be NULL. */
bool xbdev__lvol_esnap_source(
	const struct xbdev_lvs_blob *blob, uint32_t index, struct xbdev_lvol_source *ret);
/* Its size in bytes, and a channel; NULL: it is not there. */
struct xbdev_lvol_esnap *xbdev__lvol_esnap_here(const struct xbdev_lvs_blob *blob);
/* Lets the blob stand on this device and on no snapshot, in memory; the root is marked. */
int xbdev__lvol_esnap_set(struct xbdev_lvol_op *op, struct xbdev_lvs_blob *blob,
	const struct xbdev_lvol_esnap *esnap);

#endif
