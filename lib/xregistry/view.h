/* SPDX-License-Identifier: BSD-3-Clause */
/* Views from the inside: how the writer makes the next one. */
#ifndef LIB_XREGISTRY_VIEW_H
#define LIB_XREGISTRY_VIEW_H

#include "lib/xregistry/store.h"
#include "lib/xregistry/tree.h"

struct xu_random;

struct xreg_view {
	_Atomic uint32_t nr_refs;
	uint64_t revision;
	struct xreg_node *roots[XREG_NR_INDEXES];
};

/* A view that only the caller has, like `base` (NULL: empty). NULL: no memory. */
struct xreg_view *xreg__view_new(struct xreg_view *base);

/* Puts `after` in the place of `before` in every index; either may be NULL. -ENOMEM: nothing has
 * changed. Only for a view that nobody else has. */
int xreg__view_replace(struct xreg_view *view, const struct xreg_target *before,
	struct xreg_target *after, struct xu_random *random);

#endif
