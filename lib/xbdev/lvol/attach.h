/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores of logical volumes for the rest of lib/xbdev: found on a device, served, given up. All
 * calls are for the control reactor, and what they call back too.
 */
#ifndef XBDEV_LVOL_ATTACH_H
#define XBDEV_LVOL_ATTACH_H

#include "lib/xbdev/core/device.h"

struct xbdev_lvol_store;

/*
 * Loads the store that a device holds, finishes what a crash has interrupted, and makes a device
 * "store/volume" of every volume that can be used. `done` runs once, later; NULL and a sentence:
 * -ENOENT: there is no store on the device; -EBUSY: somebody else has it; what loading gave.
 */
void xbdev__lvol_attach(struct xbdev_ctx *ctx, const char *device, bool is_read_only,
	void (*done)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err),
	void *arg);

/*
 * Takes the volumes away from whoever uses them, writes what a clean store has on disk, and gives
 * the device up. `done` runs once, later; an error says why the store stays unclean (the next load
 * recovers it). A store whose device goes does the same by itself.
 */
void xbdev__lvol_detach(struct xbdev_lvol_store *store,
	void (*done)(void *arg, const struct xu_error *err), void *arg);

/* Whether the device has the claim of a store on it. */
bool xbdev__lvol_is_base(const struct xbdev_device *dev);

#endif
