/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Health of devices: what the disk below a device says of itself (NVMe and ATA SMART, read through
 * the kernel), what this library has seen go wrong, and what follows from both.
 *
 * A device that stands on a file is as healthy as the disk that the file is on, where the kernel
 * tells which that is; one that stands on another device (a filter) is as healthy as that. RAID
 * arrays, volumes and network devices tell what this library has seen. Reading SMART data needs
 * CAP_SYS_ADMIN (NVMe) or CAP_SYS_RAWIO (ATA); without, only the latter is known and
 * xbdev_health_info_t.source says so.
 */
#ifndef XBDEV_HEALTH_H
#define XBDEV_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what is known of a device ---- */

#define XBDEV_HEALTH_UNKNOWN_TEMPERATURE (-300) /* below absolute zero */

/* Conditions, in xbdev_health_info_t.warnings and in events. */
#define XBDEV_HEALTH_WARN_TEMPERATURE 0x01u /* at or above the threshold, or the disk's own */
#define XBDEV_HEALTH_WARN_WEAR        0x02u /* at or above the threshold */
#define XBDEV_HEALTH_WARN_SPARE       0x04u /* the disk has fewer spare blocks than it should */
#define XBDEV_HEALTH_WARN_FAILING     0x08u /* the disk expects to fail, or has become read-only */
#define XBDEV_HEALTH_WARN_ERRORS      0x10u /* I/O failed, or the disk lost data, lately */

typedef struct xbdev_health_info {
	int health_percentage;                  /* 0 … 100; `reason` says what it comes from */
	int estimated_lifetime_days;            /* -1: unknown; `estimate_method` says how */
	unsigned long long total_bytes_written; /* to the disk in its life; without SMART: through
						 * this library since the device was made or its
						 * statistics were reset */
	int temperature;                        /* °C, or XBDEV_HEALTH_UNKNOWN_TEMPERATURE */
	int wear_level;         /* % of the disk's endurance that is used, 0 … 255; -1: unknown */
	int spare_percentage;   /* spare blocks left; -1: unknown */
	uint32_t warnings;      /* XBDEV_HEALTH_WARN_…, by the monitor's thresholds */
	int64_t power_on_hours; /* -1: unknown */
	int64_t unsafe_shutdowns; /* -1: unknown */
	int64_t bad_sectors;      /* reallocated, or waiting for it; -1: unknown */
	uint64_t media_errors;    /* times that the disk could not read data back, in its life */
	uint64_t io_errors;       /* operations of this library that failed or were cancelled, */
	uint64_t io_operations;   /* of so many, without compares */
	uint64_t time_ms;         /* of the check, since 1970-01-01 UTC */
	bool has_smart;           /* the disk's own data is in here */
	char source[160];         /* where it comes from: "NVMe SMART log of /dev/nvme0" */
	char reason[160];         /* why the percentage is not 100; "" when it is */
	char estimate_method[160];
} xbdev_health_info_t;

/*
 * Checks the device (a name or UUID) now and tells what is known of it. Checks are made one after
 * the other; each takes some milliseconds, with a disk that does not answer up to 10 s. SMART data
 * is read unless a monitor runs without it. -ENODEV; -ENOMEM; -ETIMEDOUT: checks take too long.
 */
int xbdev_health_status_get(const char *device, xbdev_health_info_t *ret_health);

/* ---- the monitor ---- */

#define XBDEV_HEALTH_INTERVAL_MAX_S 86400u

/* Zeroes mean the defaults. */
typedef struct xbdev_health_config {
	uint32_t interval_s;           /* 1 … XBDEV_HEALTH_INTERVAL_MAX_S; 0: 60 */
	bool smart_monitoring;         /* read SMART data */
	int32_t temperature_threshold; /* °C; 0: 70 */
	uint32_t wear_level_threshold; /* % used; 0: 90 */
} xbdev_health_config_t;

/*
 * Begins to check all devices, at once and then at every interval. `config` is borrowed; NULL means
 * the defaults with SMART data. A disk is not checked again while a check of it is under way.
 * -EALREADY: a monitor runs; -EINVAL.
 */
int xbdev_health_monitor_start(const xbdev_health_config_t *config);
/* Waits for the check under way. Thresholds are the defaults again. -ENOENT: none runs; -EBUSY: a
 * disk does not answer; the monitor has ended, and the check ends when the disk does. */
int xbdev_health_monitor_stop(void);

/* ---- events ---- */

/*
 * A condition has come or has gone. Each is told once when it comes and once when it goes, however
 * many checks find it; a temperature has gone when it is 3 °C below its threshold.
 */
typedef struct xbdev_health_event {
	char device[256];
	uint32_t condition;         /* one XBDEV_HEALTH_WARN_… */
	bool is_over;               /* it has gone */
	char text[256];             /* a sentence */
	xbdev_health_info_t health; /* the check that found it */
} xbdev_health_event_t;

/*
 * Runs on the library's notification thread, one at a time with all notifications (mgmt.h). `event`
 * is valid during the call. It may call this library, but neither start nor end it (-EDEADLK); in
 * embedded mode its calls wait until the library is polled. A callback that takes long delays the
 * others; up to 256 events wait for it, later ones are lost and counted
 * (xbdev_notification_t.nr_lost).
 */
typedef void (*xbdev_health_event_cb)(const xbdev_health_event_t *event, void *user_ctx);

/*
 * From now on `event_cb` is told of events, until it is taken away or the library ends. Events come
 * while a monitor runs. -EEXIST: it is there with this context; -ENOSPC: 16 callbacks are
 * registered; -EAGAIN: no thread can be started.
 */
int xbdev_register_health_callback(xbdev_health_event_cb event_cb, void *user_ctx);

/* When it returns 0 the callback does not run and will not any more. From the callback itself it
 * returns at once. -ENOENT: it is not registered; -EBUSY: it still runs after 10 s, for the last
 * time. */
int xbdev_unregister_health_callback(xbdev_health_event_cb event_cb, void *user_ctx);

#ifdef __cplusplus
}
#endif

#endif
