/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a ring says of itself without a system call: completions that are there, and the kernel's
 * hint that it would make some if it were entered.
 *
 * The hint can be left over. The kernel takes it back when it runs the work, but sets it after it
 * has queued the work: who enters in between finds work without hint, and then has the hint without
 * work, until the next. So a hint that has led to nothing does not count as an event, or an idle
 * reactor would look at it for ever; a sleep in the kernel ends by the work itself. A round that
 * does not sleep still enters for it: it cannot tell.
 */
#ifndef LIB_REACTOR_HINT_H
#define LIB_REACTOR_HINT_H

#include <liburing.h>
#include <stdbool.h>

struct xr_hint {
	bool is_stale; /* it was there when nothing else was */
};

static inline uint32_t xr__hint_flags(const struct io_uring *ring)
{
	return __atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) &
	       (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/* Whether there is something to take, or likely to be. */
static inline bool xr__hint_has_events(const struct xr_hint *hint, const struct io_uring *ring)
{
	return io_uring_cq_ready(ring) != 0 || (!hint->is_stale && xr__hint_flags(ring) != 0);
}

/* After the kernel has been entered for what there is. */
static inline void xr__hint_note(struct xr_hint *hint, const struct io_uring *ring)
{
	hint->is_stale = io_uring_cq_ready(ring) == 0 && xr__hint_flags(ring) != 0;
}

/* Has the kernel make what completions it can, unless there are some. */
static inline void xr__hint_get_events(struct xr_hint *hint, struct io_uring *ring)
{
	hint->is_stale = false;
	if (io_uring_cq_ready(ring) == 0 && xr__hint_flags(ring) != 0) {
		io_uring_get_events(ring);
		xr__hint_note(hint, ring);
	}
}

#endif
