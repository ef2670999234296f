/* SPDX-License-Identifier: BSD-3-Clause */
/* What NVMe devices can besides I/O. For the control reactor. */
#ifndef XBDEV_DRIVER_NVME_H
#define XBDEV_DRIVER_NVME_H

#include <stdbool.h>

#include <xbdev/nvme.h>

struct xbdev_device;
struct xu_error;

bool xbdev_device_is_nvme(const struct xbdev_device *dev);

/* Reads the SMART log of an NVMe device's controller. `done` runs once, later, with the log or,
 * when err->code is not 0, NULL; both are borrowed. */
void xbdev_nvme_read_smart(struct xbdev_device *dev,
	void (*done)(void *arg, const xbdev_nvme_smart_t *smart, const struct xu_error *err),
	void *arg);

#endif
