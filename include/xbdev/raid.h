/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libxbdev: other names for what md.h has, as some programs spell them. Arrays made here are those
 * of md.h; errors are the same.
 */
#ifndef XBDEV_RAID_H
#define XBDEV_RAID_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int xbdev_raid0_create(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t strip_size_kb);
int xbdev_raid1_create(const char *name, const char **base_bdevs, int num_base_bdevs);
int xbdev_raid5_create(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t strip_size_kb);
int xbdev_raid10_create(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t strip_size_kb);

#define XBDEV_RAID_ADD_SPARE     1 /* xbdev_raid_spare_params_t */
#define XBDEV_RAID_REMOVE_SPARE  2 /* xbdev_raid_spare_params_t */
#define XBDEV_RAID_REPLACE_DISK  3 /* xbdev_raid_replace_params_t */
#define XBDEV_RAID_START_REBUILD 4 /* NULL */
#define XBDEV_RAID_STOP_REBUILD  5 /* NULL */

typedef struct {
	const char *disk_name;
	bool is_global; /* for all arrays: -EOPNOTSUPP in this version */
} xbdev_raid_spare_params_t;

typedef struct {
	const char *failed_disk_name;
	const char *new_disk_name;
	bool auto_rebuild; /* false: it begins with XBDEV_RAID_START_REBUILD, until which no other
			    * does either */
} xbdev_raid_replace_params_t;

/* xbdev_md_manage() */
int xbdev_raid_update(const char *name, int cmd, const void *params);

#define XBDEV_RAID_STATUS_OPTIMAL    0
#define XBDEV_RAID_STATUS_DEGRADED   1
#define XBDEV_RAID_STATUS_REBUILDING 2 /* or being resynced */
#define XBDEV_RAID_STATUS_FAILED     3

typedef struct {
	int status;
	int disk_count;  /* that the array is made of */
	int spare_count; /* without those that are being rebuilt */
	int failed_count;
	bool rebuild_active;
	float rebuild_progress; /* 0 to 1 */
	int rebuild_speed;      /* KiB/s */
} xbdev_raid_status_t;

/* xbdev_md_detail() */
int xbdev_raid_get_status(const char *name, xbdev_raid_status_t *status);

/* xbdev_md_stop(): the members keep the array. */
int xbdev_raid_remove(const char *name);

#ifdef __cplusplus
}
#endif

#endif
