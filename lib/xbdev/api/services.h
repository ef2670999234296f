/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/api: what else runs in the library beside I/O (statistics, health,
 * notifications, the management server), and where starting and ending call it.
 */
#ifndef XBDEV_API_SERVICES_H
#define XBDEV_API_SERVICES_H

#include <xbdev/health.h>
#include <xbdev/mgmt.h>

#include "lib/xbdev/api/private.h"
#include "lib/xbdev/health/smart.h"

/* The device of a public call by name or UUID, in use or not; NULL with the call's sentence set:
 * there is none (-ENODEV), or it is being removed. On the control reactor. */
struct xbdev_device *api_device_find(struct api_call *call, const char *name);

/* How long the end of the library may still wait. */
uint64_t api_ending_wait_ns(void);

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

/* ---- notify.c ---- */

/* For a context that does not run yet. */
void api_notify_init(void);
/* The calling thread is the one that runs callbacks. */
bool api_notify_is_self(void);
/* Tells of a health event; on the control reactor. */
void api_notify_health(const xbdev_health_event_t *event);
/* The end, in order: nothing is told any more, and no callback runs (-EBUSY: one does at
 * `deadline_ns`); or all goes on; and, when no reactor runs, the thread ends: true when there is
 * one, to be joined without the library's mutex. */
int api_notify_hold(uint64_t deadline_ns);
void api_notify_release(void);
bool api_notify_end(pthread_t *ret_thread);

/* ---- health.c; on the control reactor ---- */

struct api_health_call {
	struct api_call call;
	const char *device;
	xbdev_health_info_t info;
};

/* A check of one device. */
struct api_check {
	struct xu_list link;
	char name[XBDEV_NAME_SIZE];
	struct xu_uuid uuid;
	bool is_monitors;
	bool with_smart;
	struct api_health_call *caller; /* NULL: the monitor's, or it waits no longer */
	struct xr_timer timer;          /* of the caller */
	struct xr_work work;
	char *path;          /* of what is read; NULL: nothing */
	struct xu_error err; /* why there is no result */
	uint64_t io_errors;
	uint64_t io_operations;
	uint64_t bytes_written;
	bool has_smart;
	struct xbdev_smart smart;  /* zeroes when it has not been read */
	struct xu_error smart_err; /* why */
};

/* Starts what waits or is due, if nothing runs. */
void api_health_go_on(void);
/* The check that runs is the monitor's. */
bool api_health_is_monitors(void);
/* Ends the waiting of all callers, with -ESHUTDOWN. */
void api_health_cancel(void);
/* For the end of the library: ends the call when no check runs any more, at the latest at the end's
 * deadline with -EBUSY. */
void api_health_drain(struct api_call *call);

/* ---- monitor.c; on the control reactor ---- */

/* For a context that does not run yet. */
void api_monitor_init(void);
/* Ends it, without waiting for its check. */
void api_monitor_off(void);
bool api_monitor_wants_smart(void);
/* The next device that it wants to have checked, once; NULL: none. */
struct xbdev_device *api_monitor_due(void);
/* Fills in what follows from the rest of `info`, and tells events if the check is the monitor's. */
void api_monitor_judge(
	const struct xbdev_device *dev, const struct api_check *check, xbdev_health_info_t *info);
/* No check runs at this moment. */
void api_monitor_idle(void);

/* ---- mgmt.c ---- */

/* For the end of the library: stops the server if one runs and ends the call, at the latest at the
 * end's deadline with -EBUSY. On the control reactor. */
void api_mgmt_stop(struct api_call *call);
/* A health event is one that clients of the server can ask for. On the control reactor. */
void api_mgmt_note_health(const xbdev_health_event_t *event);

#endif
