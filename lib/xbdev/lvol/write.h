/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: changes of the model on their way to the disk. On the store's reactor.
 *
 * An operation changes the model, marks what it has changed, and commits; the commit's callback
 * says that all that was marked is durable, or that it may not be. Rules for whoever does so:
 *   - data first: the I/O that fills a cluster has ended when the cluster enters the map. (It need
 *     not be flushed: a commit flushes before it changes anything in place.)
 *   - what is taken off the map (clusters) is given back when the commit has succeeded, not before:
 *     until then the disk may still list it. After a failed commit nothing is given back; the marks
 *     stay, and the next commit tries again.
 *   - within one commit: new pages, then extent pages in place, then roots (is_root_first: roots
 *     before extent pages), each step durable before the next. Operations that need more order than
 *     that commit several times.
 *   - leaves and blobs are dropped only within a commit's callback: nothing is being written then.
 *   - between a mark and its commit there is no return to the reactor, so that a commit of somebody
 *     else does not take half of a change.
 */
#ifndef XBDEV_LVOL_WRITE_H
#define XBDEV_LVOL_WRITE_H

#include "lib/xbdev/lvol/store.h"

struct xbdev_lvs_waiter {
	struct xu_list link;
	uint64_t pass;
	void (*fn)(struct xbdev_lvs_waiter *waiter, int status);
};

/* Prepares a loaded store for changes; nothing is written. -ENOMEM. */
int xbdev__lvs_write_init(struct xbdev_lvs *store);
/* The end of it; nothing may be being written. A store that was never prepared is fine. */
void xbdev__lvs_write_fini(struct xbdev_lvs *store);

/* Marks a blob's chain: flags, attributes, extents. Takes pages for a longer chain. -EROFS: the
 * store or the blob may not be changed; -ENOSPC: no metadata page is free; -ENOMEM. */
int xbdev__lvs_blob_touch(struct xbdev_lvs_blob *blob, struct xu_error *err);
/* Marks the leaf of a slot, which exists, and the chain too when it has no page yet or the blob has
 * no table. As above. */
int xbdev__lvs_leaf_touch(struct xbdev_lvs_blob *blob, uint32_t slot, struct xu_error *err);
/* Marks the end of a blob: its root is erased, and when that is durable its other pages, which are
 * then free. Clusters, and the blob itself, are the caller's after the commit. -EROFS. */
int xbdev__lvs_blob_doom(struct xbdev_lvs_blob *blob, struct xu_error *err);

/* Whether anything of a blob waits to be written, or could not be. */
bool xbdev__lvs_blob_is_marked(const struct xbdev_lvs_blob *blob);
/* Takes the marks off a blob of which nothing is on disk or being written; what it had taken for
 * its chain and extent pages is free again. */
void xbdev__lvs_blob_unmark(struct xbdev_lvs_blob *blob);
/* Says that no metadata page is free: -ENOSPC. */
int xbdev__lvs_no_pages(const struct xbdev_lvs *store, struct xu_error *err);

/* Makes durable what is marked; waiter->fn runs once, later. Commits that come while others are
 * written go together in the next pass. */
void xbdev__lvs_commit(struct xbdev_lvs *store, struct xbdev_lvs_waiter *waiter);

/* A free metadata page, which is taken; XBDEV_LVS_NO_PAGE: there is none. */
uint32_t xbdev__lvs_page_take(struct xbdev_lvs *store);

/*
 * Gives the store what its device has grown by. `done` runs once, later; -EINVAL: it has not grown
 * by a cluster; -ENOSPC: there is no room for a larger mask of clusters; -EROFS; -EBUSY: it grows
 * already. Power that goes meanwhile leaves it as large as before or as it is to be.
 */
void xbdev__lvs_grow(
	struct xbdev_lvs *store, void (*done)(void *arg, const struct xu_error *err), void *arg);

/* Whether loading has left anything to be finished. */
bool xbdev__lvs_needs_recovery(const struct xbdev_lvs *store);
/*
 * Finishes or undoes what was interrupted: restores torn pages, cuts resizes, settles snapshots
 * that were being taken or deleted (their blobs are gone afterwards). Nothing of the store may be
 * in use. `done` runs once, later. A read-only store is left as it is, without an error.
 */
void xbdev__lvs_recover(
	struct xbdev_lvs *store, void (*done)(void *arg, const struct xu_error *err), void *arg);

/*
 * Closes the store: commits what is marked, erases copies, writes the masks, flushes, then says
 * clean in the super block. A clean store in which nothing has been changed is left as it is, and
 * so is one that is read-only or was to be recovered and was not. After an error it is unclean on
 * disk, as after a crash. `done` runs once, later; nothing may be changed from the call on.
 */
void xbdev__lvs_unload(
	struct xbdev_lvs *store, void (*done)(void *arg, const struct xu_error *err), void *arg);

#endif
