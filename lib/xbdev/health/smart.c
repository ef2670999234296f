/* SPDX-License-Identifier: BSD-3-Clause */
/* SMART data of what is below a path: of all its disks the least healthy one, since what is spread
 * over several disks is as good as the worst of them. */
#include <errno.h>

#include "lib/util/error.h"
#include "lib/xbdev/health/estimate.h"
#include "lib/xbdev/health/smart.h"

static int read_disk(
	const struct xbdev_disk *disk, struct xbdev_smart *ret_smart, struct xu_error *err)
{
	switch (disk->kind) {
	case XBDEV_DISK_NVME:
		return xbdev_smart_read_nvme(disk, ret_smart, err);
	case XBDEV_DISK_ATA:
		return xbdev_smart_read_ata(disk, ret_smart, err);
	default:
		return xu_error_set(
			err, -EOPNOTSUPP, "/dev/%s is neither an NVMe nor an ATA disk", disk->name);
	}
}

int xbdev_smart_read(const char *path, struct xbdev_smart *ret_smart, struct xu_error *err)
{
	struct xbdev_disk disks[XBDEV_MAX_DISKS];
	struct xbdev_smart smart;
	int count = xbdev_disks_find(path, NULL, disks, err), worst = 101, rc = -ENODEV;

	if (count < 0) {
		return count;
	}
	for (int i = 0; i < count; i++) {
		int error = read_disk(&disks[i], &smart, err), percentage;

		if (error != 0) {
			rc = worst > 100 ? error : rc;
			continue;
		}
		percentage = xbdev_health_smart_percentage(&smart);
		if (percentage < worst) {
			worst = percentage;
			*ret_smart = smart;
		}
		rc = 0;
	}
	return rc;
}
