/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/reactor: the timers of one reactor, ordered by deadline. */
#ifndef XR_TIMER_H
#define XR_TIMER_H

#include "lib/reactor/reactor.h"

struct xr_timer_heap {
	struct xr_timer *root;
};

void xr__timer_insert(struct xr_timer_heap *heap, struct xr_timer *timer);
void xr__timer_remove(struct xr_timer_heap *heap, struct xr_timer *timer);

/* Takes out the first timer if its deadline is not after now_ns; NULL otherwise. */
struct xr_timer *xr__timer_take_due(struct xr_timer_heap *heap, uint64_t now_ns);

#endif
