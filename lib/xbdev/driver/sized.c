/* SPDX-License-Identifier: BSD-3-Clause */
/* The common part of the devices that stand on nothing, see sized.h. */
#include "lib/xbdev/driver/sized.h"

void xbdev__sized_init(struct xbdev_device *dev, const struct xbdev__sized_opts *opts)
{
	xbdev__set_name(dev, opts->name);
	dev->uuid = opts->uuid;
	dev->limits.block_size = opts->block_size;
	dev->limits.buf_align = 1;
	dev->limits.max_iov = UINT32_MAX;
	dev->limits.discard_granularity = opts->block_size;
	dev->limits.queue_depth = XBDEV__QUEUE_DEPTH;
	dev->ops_mask = (1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) | (1u << XBDEV_OP_FLUSH) |
			(1u << XBDEV_OP_DISCARD) | (1u << XBDEV_OP_WRITE_ZEROES);
	dev->has_fua = true;
	dev->numa_node = -1;
	atomic_init(&dev->nr_blocks,
		opts->num_blocks != 0 ? opts->num_blocks : opts->size / opts->block_size);
}

json_t *xbdev__sized_config(const struct xbdev_device *dev)
{
	json_t *config = xbdev__config_common(dev);

	json_object_set_new(config, "size", json_integer((json_int_t)xbdev_device_size_bytes(dev)));
	json_object_set_new(config, "block_size", json_integer(dev->limits.block_size));
	return config;
}
