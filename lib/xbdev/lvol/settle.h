/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: what follows from a store's blobs once all have been read: who stands
 * on whom, what an interrupted operation comes to, which pages and clusters are in use. Pure work
 * on the model.
 */
#ifndef XBDEV_LVOL_SETTLE_H
#define XBDEV_LVOL_SETTLE_H

#include "lib/xbdev/lvol/store.h"

/*
 * `has_masks`: store->pages and ->clusters hold what the masks of a clean store say. Without, they
 * are filled here, and what cannot be read may have listed more: store->read_only_reason. -ENODEV,
 * -EINVAL: the store has no blob of its own, or that has no name; -ENOMEM.
 */
int xbdev__lvs_settle(struct xbdev_lvs *store, bool has_masks, struct xu_error *err);

/* Says that clusters in use may be unknown; the first reason stays. */
void xbdev__lvs_make_read_only(struct xbdev_lvs *store, const struct xu_error *why);

#endif
