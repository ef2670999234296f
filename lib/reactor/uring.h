/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/reactor: operations through io_uring. */
#ifndef XR_URING_H
#define XR_URING_H

#include <stdint.h>

#include "lib/reactor/platform.h"

int xr__uring_new(const struct xr_platform *platform, struct xr_reactor *reactor, uint32_t entries,
	const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err);

struct io_uring;

/* Sets up a ring as this kernel does best, with `flags` besides; XSAN_URING_MASK takes features
 * out. `may_defer`: its completions may wait until they are asked for. -errno. */
int xr__uring_setup(struct io_uring *ring, uint32_t entries, uint32_t flags, bool may_defer);

/* cmdring.c */
extern const struct xr_cmd_ring_ops xr__cmd_ring_ops;

/* linux.c: when it returns, no worker thread touches a reactor any more whose work is all done.
 * Before the reactor is freed. */
void xr__workers_settle(void);

#endif
