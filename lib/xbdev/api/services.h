/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/api: what else runs in the library beside I/O (statistics, health,
 * notifications, the management server), and where starting and ending call it.
 */
#ifndef XBDEV_API_SERVICES_H
#define XBDEV_API_SERVICES_H

#include "lib/xbdev/api/private.h"

/* The device of a public call by name or UUID, in use or not; NULL with the call's sentence set:
 * there is none (-ENODEV), or it is being removed. On the control reactor. */
struct xbdev_device *api_device_find(struct api_call *call, const char *name);

/* ---- stats.c; on the control reactor ---- */

/* What happened between two answers, of all kinds of operations together. */
struct api_activity {
	uint64_t ns;
	uint64_t counts[XBDEV_NR_OPS];
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t errors;
	struct xu_hist latency;
};

/* `before` NULL, or from before the last reset: everything that `now` has. */
void api_stats_difference(struct api_activity *a, const struct xbdev_stats *now, uint64_t at_ns,
	const struct xbdev_stats *before, uint64_t before_ns);

/* What rates are taken over, and of. */
struct api_window {
	uint64_t ns;
	uint64_t count;
	uint64_t bytes;
	uint64_t mean_ns;
};

void api_stats_window(struct api_window *window, const struct api_activity *a);
uint64_t api_stats_now_ns(void);

/* ---- collect.c ---- */

/* For a context that does not run yet. Collections end with their devices. */
void api_collect_init(void);
/* The window of a collection on the device, whose counters are `stats` at `at_ns`; false: none
 * runs there. On the control reactor. */
bool api_collect_window(const struct xbdev_device *dev, const struct xbdev_stats *stats,
	uint64_t at_ns, struct api_window *ret_window);

#endif
