/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/reactor: operations through io_uring. */
#ifndef XR_URING_H
#define XR_URING_H

#include <stdint.h>

#include "lib/reactor/platform.h"

int xr__uring_new(const struct xr_platform *platform, struct xr_reactor *reactor, uint32_t entries,
	const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err);

/* linux.c: when it returns, no worker thread touches a reactor any more whose work is all done.
 * Before the reactor is freed. */
void xr__workers_settle(void);

#endif
