/* SPDX-License-Identifier: BSD-3-Clause */
/* Which targets have changed since the last look, for who keeps something of all of them. */
#ifndef LIB_XREGISTRY_FOLLOW_H
#define LIB_XREGISTRY_FOLLOW_H

#include "lib/xregistry/store.h"

struct xreg_follow {
	struct xreg_store *store;
	uint64_t revision; /* all up to it have been told; 0: nothing has */
};

/* Tells each target that was changed since the last time, as it was after each of its changes; not
 * what it was before it was unregistered. When the changes are not all known any more, all targets
 * that there are. Any thread but the writer's. */
void xreg_follow(struct xreg_follow *follow,
	void (*fn)(void *arg, const struct xreg_target *target), void *arg);

#endif
