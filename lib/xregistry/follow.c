/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the store's events behind a revision, some at a time; a walk over a view when they are not
 * all known. */
#include "lib/xregistry/follow.h"

#include <stddef.h>

#define NR_EVENTS 64u

struct walk {
	void (*fn)(void *arg, const struct xreg_target *target);
	void *arg;
};

static bool on_target(void *arg, const struct xreg_target *target)
{
	const struct walk *walk = arg;

	walk->fn(walk->arg, target);
	return true;
}

void xreg_follow(struct xreg_follow *follow,
	void (*fn)(void *arg, const struct xreg_target *target), void *arg)
{
	struct walk walk = {fn, arg};
	struct xreg_event events[NR_EVENTS];
	uint32_t count = NR_EVENTS;

	while (count == NR_EVENTS) {
		if (xreg_store_events(follow->store, follow->revision, events, NR_EVENTS, &count) !=
			0) {
			/* Changes that come meanwhile may be told twice. */
			struct xreg_view *view;

			follow->revision = xreg_store_wait(follow->store, 0, 0);
			view = xreg_store_view(follow->store);
			xreg_view_each(view, XREG_BY_ID, "", true, on_target, &walk);
			xreg_view_unref(view);
			return;
		}
		for (uint32_t i = 0; i < count; i++) {
			follow->revision = events[i].revision;
			if (events[i].after != NULL) {
				fn(arg, events[i].after);
			}
		}
		xreg_events_free(events, count);
	}
}
