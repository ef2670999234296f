/* SPDX-License-Identifier: BSD-3-Clause */
/* The common part of the devices that stand on nothing, see sized.h. */
#include "lib/xbdev/driver/sized.h"

#include <errno.h>

/* Nothing is rounded and neither size wins: who gives 1000 bytes, or two sizes, has made a mistake
 * somewhere, and would find out when it is too late. */
static int check_size(const struct xbdev__sized_opts *opts, struct xu_error *err)
{
	uint64_t blocks_bytes = opts->num_blocks * opts->block_size;
	uint64_t excess = opts->size % opts->block_size;

	if (opts->block_size != 512 && opts->block_size != 4096) {
		return 0; /* the core says what is wrong with that */
	}
	if (opts->size != 0 && opts->num_blocks != 0 && opts->size != blocks_bytes) {
		return xu_error_set(err, -EINVAL,
			"device '%s': size %llu and num_blocks %llu disagree, so many blocks of %u "
			"bytes are %llu bytes; give one of the two",
			opts->name, (unsigned long long)opts->size,
			(unsigned long long)opts->num_blocks, opts->block_size,
			(unsigned long long)blocks_bytes);
	}
	if (excess != 0) {
		return xu_error_set(err, -EINVAL,
			"device '%s': size %llu is not a multiple of the block size %u; the next "
			"is %llu",
			opts->name, (unsigned long long)opts->size, opts->block_size,
			(unsigned long long)(opts->size - excess + opts->block_size));
	}
	return 0;
}

int xbdev__sized_init(
	struct xbdev_device *dev, const struct xbdev__sized_opts *opts, struct xu_error *err)
{
	int rc = check_size(opts, err);

	if (rc != 0) {
		return rc;
	}
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
	return 0;
}

json_t *xbdev__sized_config(const struct xbdev_device *dev)
{
	json_t *config = xbdev__config_common(dev);

	json_object_set_new(config, "size", json_integer((json_int_t)xbdev_device_size_bytes(dev)));
	json_object_set_new(config, "block_size", json_integer(dev->limits.block_size));
	return config;
}
