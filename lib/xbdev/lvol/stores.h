/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stores of logical volumes of a context. All calls are for the control reactor, and what they
 * call back too; `done` runs once, later, with code 0 or -errno and a sentence.
 *
 * A store is loaded by itself when its device appears (xbdev__lvol_stores_init()); one that is on
 * no device, or on one that was refused, is not in the list.
 */
#ifndef XBDEV_LVOL_STORES_H
#define XBDEV_LVOL_STORES_H

#include "lib/util/error.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/lvol/attach.h"
#include "lib/xbdev/lvol/create.h"
#include "lib/xbdev/lvol/op.h"

/* What there is to know without asking the store's reactor; pointers hold until the control reactor
 * goes on. */
struct xbdev_lvol_store_info {
	const char *name;
	struct xu_uuid uuid;
	const char *device;
	uint64_t cluster_size;   /* bytes */
	uint64_t total_clusters; /* of data */
	uint64_t free_clusters;
	uint64_t promised_clusters; /* what its volumes would take if all of them were full */
	uint32_t block_size;
	uint32_t nr_volumes;
	const char *read_only_reason; /* NULL: it can be changed */
};

/* Stores are found and loaded from now on; with the context's end they are given up. -ENOMEM. */
int xbdev__lvol_stores_init(struct xbdev_ctx *ctx);

/*
 * Waits until the search for stores has looked at a device (NULL: at all that there are) and at the
 * volumes that were found there; at most five seconds for a device that does not answer, and a
 * minute for a store that is being loaded. `done` runs once, later or at once.
 */
void xbdev__lvol_examined(
	struct xbdev_ctx *ctx, const char *device, void (*done)(void *arg), void *arg);

/* For who makes devices: what a driver's create() gives, passed on when the search for stores has
 * looked at the device. -ENODEV: it has gone meanwhile. */
void xbdev__lvol_made(struct xbdev_ctx *ctx, struct xbdev_device *dev, const struct xu_error *err,
	xbdev_created_fn done, void *arg);

/* Looks at a device now, a remote one too, and attaches its store. -ENOENT: there is none; -EBUSY:
 * the device is in use; what attaching gave. */
void xbdev__lvol_examine(
	struct xbdev_ctx *ctx, const char *device, xbdev_lvol_done_fn done, void *arg);

/* Between them no device is looked at by itself: it may be part of another that is being made. Each
 * hold is released once. */
void xbdev__lvol_hold(struct xbdev_ctx *ctx);
void xbdev__lvol_release(struct xbdev_ctx *ctx);

/* A store that was found and could not be attached; kept until its device goes, or has one that is.
 */
struct xbdev_lvol_refused {
	struct xu_list link;
	char device[XBDEV_NAME_SIZE];
	struct xu_error why;
};

/* NULL starts and ends. */
const struct xbdev_lvol_refused *xbdev__lvol_refused_next(
	struct xbdev_ctx *ctx, const struct xbdev_lvol_refused *refused);

/* NULL starts and ends. */
struct xbdev_lvol_store *xbdev__lvol_store_next(
	struct xbdev_ctx *ctx, struct xbdev_lvol_store *store);
/* By name or UUID; NULL: there is none. */
struct xbdev_lvol_store *xbdev__lvol_store_find(struct xbdev_ctx *ctx, const char *name_or_uuid);
void xbdev__lvol_store_info(
	const struct xbdev_lvol_store *store, struct xbdev_lvol_store_info *ret);

/* A new store on a blank device; md_ratio 0 is 100, as with SPDK, or 6 and 12 with clusters of 4
 * and 8 KiB. -EEXIST: the name is taken, or the device holds something (a store, an array, a file
 * system, a partition table: the sentence names it). */
void xbdev__lvol_store_create(struct xbdev_ctx *ctx, const char *device,
	const struct xbdev_lvs_create_opts *opts, xbdev_lvol_done_fn done, void *arg);
/* The end of a store and all its volumes, none of which may be in use. */
void xbdev__lvol_store_destroy(struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg);
/* Another name, for its volumes' devices too, none of which may be in use. */
void xbdev__lvol_store_rename(
	struct xbdev_lvol_store *store, const char *name, xbdev_lvol_done_fn done, void *arg);
/* Takes what the device has grown by. -EINVAL: it has not, by a cluster at least; -ENOSPC: no room
 * for a larger mask of clusters. */
void xbdev__lvol_store_grow(struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg);

#define XBDEV_LVOL_SPACE_WAIT_MAX_MS 86400000u

struct xbdev_lvol_settings {
	/* How long a write waits for free clusters before it fails with -ENOSPC; 0: it fails at
	 * once. Those that wait already do so as they have begun. */
	uint32_t space_wait_ms;
	/* Percentages of used clusters at which "lvs_threshold" is noted (core/note.h: device is
	 * the store, member its device), the first below the second; 0 and 0: none. */
	uint32_t percents[2];
};

#define XBDEV_LVOL_SETTINGS_DEFAULT                                                                \
	{                                                                                          \
		.percents = { 80, 95 }                                                             \
	}

/* Whether they can be; -EINVAL. */
int xbdev__lvol_settings_check(const struct xbdev_lvol_settings *settings, struct xu_error *err);
void xbdev__lvol_store_settings(
	const struct xbdev_lvol_store *store, struct xbdev_lvol_settings *ret);
/* They are noted in the store, and hold from then on wherever it is attached. */
void xbdev__lvol_store_set(struct xbdev_lvol_store *store,
	const struct xbdev_lvol_settings *settings, xbdev_lvol_done_fn done, void *arg);

#endif
