/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the SMART / Health Information log of an NVMe controller with an admin command through the
 * kernel. It blocks as long as the controller needs, and the kernel ends it after the timeout. */
#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xbdev/health/smart.h"

#define OPCODE_GET_LOG_PAGE 0x02
#define LOG_SMART           0x02u
#define NSID_ALL            0xffffffffu /* the controller's own log */
#define TIMEOUT_MS          5000u

int xbdev_smart_read_nvme(
	const struct xbdev_disk *disk, struct xbdev_smart *ret_smart, struct xu_error *err)
{
	uint8_t log[XBDEV_NVME_SMART_SIZE] = {0};
	struct nvme_admin_cmd cmd = {
		.opcode = OPCODE_GET_LOG_PAGE,
		.nsid = NSID_ALL,
		.addr = (uintptr_t)log,
		.data_len = sizeof(log),
		.cdw10 = LOG_SMART | (sizeof(log) / 4 - 1) << 16,
		.timeout_ms = TIMEOUT_MS,
	};
	int fd = xbdev_disk_open(disk, err), rc;

	if (fd < 0) {
		return fd;
	}
	/* A positive result is the status of the command, which then left no data. */
	rc = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &cmd);
	rc = rc < 0 ? -errno : rc;
	close(fd);
	if (rc < 0) {
		return xu_error_set_errno(err, rc, "reading the SMART log of /dev/%s", disk->name);
	}
	if (rc > 0) {
		return xu_error_set(err, -EOPNOTSUPP,
			"/dev/%s refuses to give its SMART log (NVMe status 0x%x)", disk->name, rc);
	}
	xbdev_smart_parse_nvme(log, ret_smart);
	snprintf(ret_smart->source, sizeof(ret_smart->source), "NVMe SMART log of /dev/%s",
		disk->name);
	return 0;
}
