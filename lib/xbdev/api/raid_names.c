/* SPDX-License-Identifier: BSD-3-Clause */
/* The other names for arrays (xbdev/raid.h), in terms of xbdev/md.h. */
#include <errno.h>
#include <string.h>
#include <xbdev/raid.h>

#include "lib/xbdev/api/private.h"

int xbdev_raid0_create(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t strip_size_kb)
{
	return xbdev_md_create_raid0(name, base_bdevs, num_base_bdevs, strip_size_kb);
}

int xbdev_raid1_create(const char *name, const char **base_bdevs, int num_base_bdevs)
{
	return xbdev_md_create_raid1(name, base_bdevs, num_base_bdevs);
}

int xbdev_raid5_create(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t strip_size_kb)
{
	return xbdev_md_create_raid5(name, base_bdevs, num_base_bdevs, strip_size_kb);
}

int xbdev_raid10_create(
	const char *name, const char **base_bdevs, int num_base_bdevs, uint64_t strip_size_kb)
{
	return xbdev_md_create_raid10(name, base_bdevs, num_base_bdevs, strip_size_kb);
}

static int update_spare(const char *name, int cmd, const xbdev_raid_spare_params_t *spare)
{
	if (spare->is_global) {
		return api_fail(-EOPNOTSUPP,
			"array '%s': this version has no spares for all arrays; add '%s' to the "
			"array that is to have it",
			name, spare->disk_name != NULL ? spare->disk_name : "");
	}
	return xbdev_md_manage(name,
		cmd == XBDEV_RAID_ADD_SPARE ? XBDEV_MD_ADD_SPARE : XBDEV_MD_REMOVE_SPARE,
		(void *)(uintptr_t)spare->disk_name);
}

static int update_replace(const char *name, const xbdev_raid_replace_params_t *params)
{
	xbdev_md_replace_t replace = {params->failed_disk_name, params->new_disk_name};
	int rc = params->auto_rebuild ? 0 : xbdev_md_manage(name, XBDEV_MD_STOP_REBUILD, NULL);

	return rc == 0 ? xbdev_md_manage(name, XBDEV_MD_REPLACE_DISK, &replace) : rc;
}

int xbdev_raid_update(const char *name, int cmd, const void *params)
{
	bool is_bare = cmd == XBDEV_RAID_START_REBUILD || cmd == XBDEV_RAID_STOP_REBUILD;

	if (name == NULL || (params == NULL && !is_bare)) {
		return api_fail(-EINVAL, "xbdev_raid_update: the %s is NULL",
			name == NULL ? "name" : "argument");
	}
	switch (cmd) {
	case XBDEV_RAID_ADD_SPARE:
	case XBDEV_RAID_REMOVE_SPARE:
		return update_spare(name, cmd, params);
	case XBDEV_RAID_REPLACE_DISK:
		return update_replace(name, params);
	case XBDEV_RAID_START_REBUILD:
		return xbdev_md_manage(name, XBDEV_MD_START_REBUILD, NULL);
	case XBDEV_RAID_STOP_REBUILD:
		return xbdev_md_manage(name, XBDEV_MD_STOP_REBUILD, NULL);
	default:
		return api_fail(-EINVAL,
			"array '%s': there is no command %d; those of xbdev/raid.h are 1 to 5",
			name, cmd);
	}
}

int xbdev_raid_get_status(const char *name, xbdev_raid_status_t *status)
{
	xbdev_md_detail_t detail;
	int rc, nr_rebuilding = 0;

	if (status == NULL) {
		return api_fail(-EINVAL, "xbdev_raid_get_status: an argument is NULL");
	}
	rc = xbdev_md_detail(name, &detail);
	if (rc != 0) {
		return rc;
	}
	for (int i = 0; i < detail.nr_disks && i < 32; i++) {
		nr_rebuilding += detail.disks[i].state == XBDEV_MD_DISK_SYNC;
	}
	*status = (xbdev_raid_status_t){
		.disk_count = detail.raid_disks,
		.spare_count = detail.spare_disks - nr_rebuilding,
		.failed_count = detail.failed_disks,
		.rebuild_active = strcmp(detail.resync_status, "resyncing") == 0,
		.rebuild_progress = detail.resync_progress / 100,
		.rebuild_speed = detail.resync_speed,
	};
	status->status = detail.state == XBDEV_MD_STATE_FAILED ? XBDEV_RAID_STATUS_FAILED
			 : status->rebuild_active              ? XBDEV_RAID_STATUS_REBUILDING
			 : detail.degraded                     ? XBDEV_RAID_STATUS_DEGRADED
							       : XBDEV_RAID_STATUS_OPTIMAL;
	return 0;
}

int xbdev_raid_remove(const char *name)
{
	return xbdev_md_stop(name);
}
