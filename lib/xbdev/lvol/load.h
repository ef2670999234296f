/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: a store from what its device holds, cleanly unloaded or not. Nothing
 * is written: what an interrupted operation still needs is marked in the model for
 * xbdev__lvs_recover() (write.h).
 */
#ifndef XBDEV_LVOL_LOAD_H
#define XBDEV_LVOL_LOAD_H

#include "lib/xbdev/lvol/store.h"

/*
 * Loads the store of the device that the channel leads to, on the channel's reactor, where `done`
 * runs once, later: with the store, which the caller then owns and which borrows channel and device
 * name; or with NULL and a sentence. -ENOENT: there is no store; -EILSEQ, -ENXIO, -ENOSPC: not one
 * that can be used (super.h); -ENODEV: its own blob cannot be read; -EINVAL: that has no name or no
 * UUID; or what reading gave. A volume that is damaged is a blob with a `reason`, and if clusters
 * may be in use that are not known, the store has a read_only_reason.
 */
void xbdev__lvs_load(struct xbdev_channel *ch, const char *device,
	void (*done)(void *arg, struct xbdev_lvs *store, const struct xu_error *err), void *arg);

#endif
