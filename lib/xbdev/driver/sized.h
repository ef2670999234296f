/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/driver: what the drivers share whose devices stand on nothing and are as
 * large as their parameters say (null, malloc).
 */
#ifndef XBDEV_SIZED_H
#define XBDEV_SIZED_H

#include "lib/xbdev/driver/driver.h"

struct xbdev__sized_opts {
	const char *name;
	uint64_t size;       /* bytes; 0: num_blocks says it */
	uint64_t num_blocks; /* 0: size says it */
	uint32_t block_size;
	struct xu_uuid uuid;
};

/*
 * Fills in a device of zeroes: identity, size, limits, and that it does everything but COMPARE by
 * itself, durable at once. What is the driver's own (driver, product, ops, max_transfer,
 * max_zeroes, is_multi_reactor) is set already. -EINVAL for a size that is no whole number of
 * blocks, and for two sizes that differ; other values that no device can have are the core's to
 * refuse.
 */
int xbdev__sized_init(
	struct xbdev_device *dev, const struct xbdev__sized_opts *opts, struct xu_error *err);

/* For the table of operations, or as the beginning of what the driver tells. */
json_t *xbdev__sized_config(const struct xbdev_device *dev);

#endif
