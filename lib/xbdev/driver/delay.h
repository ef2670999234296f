/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slowness made on purpose, on devices of the driver "delay". Every I/O ends so much later than at
 * the base: 99 of 100 by the usual time, one by the p99 time. Flush, discard and write zeroes count
 * as writes. For the control reactor; -EINVAL when the device is not of this driver.
 */
#ifndef XBDEV_DRIVER_DELAY_H
#define XBDEV_DRIVER_DELAY_H

#include <stdint.h>

struct xbdev_device;
struct xu_error;

#define XBDEV_DELAY_MAX_US 3600000000ull /* an hour */

struct xbdev_delay_latency {
	uint64_t avg_read_us;
	uint64_t p99_read_us; /* 0: as the usual one, else not below it */
	uint64_t avg_write_us;
	uint64_t p99_write_us; /* the same */
};

/* For I/Os that the base completes from now on. -EINVAL. */
int xbdev_delay_set(
	struct xbdev_device *dev, const struct xbdev_delay_latency *latency, struct xu_error *err);

int xbdev_delay_get(const struct xbdev_device *dev, struct xbdev_delay_latency *ret_latency);

#endif
