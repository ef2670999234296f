/* SPDX-License-Identifier: BSD-3-Clause */
/* Management of libxbdev: notifications of what changes. */
#ifndef XBDEV_MGMT_API_H
#define XBDEV_MGMT_API_H

#include <stddef.h>
#include <stdint.h>

#include <xbdev/health.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- notifications ---- */

enum xbdev_notification_type {
	XBDEV_NOTIFICATION_DEVICE_ADDED = 1,
	XBDEV_NOTIFICATION_DEVICE_REMOVED = 2, /* it has gone; not told of the library's own end */
	XBDEV_NOTIFICATION_DEVICE_RESIZED = 3,
	XBDEV_NOTIFICATION_HEALTH = 4,
};

typedef struct xbdev_notification {
	int type; /* enum xbdev_notification_type */
	char device[256];
	char uuid[37];       /* "" for HEALTH */
	uint64_t size_bytes; /* of the device; for HEALTH 0 */
	uint64_t time_ms;    /* since 1970-01-01 UTC */
	uint64_t nr_lost;    /* notifications lost just before this one, because 256 waited */
	const xbdev_health_event_t *health; /* for HEALTH; else NULL */
} xbdev_notification_t;

/* Runs as an xbdev_health_event_cb does (health.h). */
typedef void (*xbdev_notification_cb)(const xbdev_notification_t *notification, void *cb_arg);

/* From now on `cb` is told of all notifications. As xbdev_register_health_callback(). */
int xbdev_mgmt_register_notification_callback(xbdev_notification_cb cb, void *cb_arg);
/* As xbdev_unregister_health_callback(). */
int xbdev_mgmt_unregister_notification_callback(xbdev_notification_cb cb, void *cb_arg);

#ifdef __cplusplus
}
#endif

#endif
