/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The null driver: forgets what is written and reads zeroes. With zero_reads off it leaves the
 * reader's buffer as it is, which measures the path above it and nothing else; such a device must
 * not be exported, because a buffer may hold another reader's data.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/driver/sized.h"

struct null_opts {
	struct xbdev__sized_opts sized;
	bool zero_reads;
};

struct null_device {
	struct xbdev_device dev;
	bool zero_reads;
};

static void null_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct null_device *null = xu_container_of(ch->dev, struct null_device, dev);

	if (io->op == XBDEV_OP_READ && null->zero_reads) {
		for (uint32_t i = 0; i < io->nr_iov; i++) {
			memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
		}
	}
	xbdev_io_complete_later(io, 0);
}

static void null_resize(struct xbdev_device *dev, uint64_t size_bytes,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct xu_error err = {0};

	if (size_bytes < dev->limits.block_size || size_bytes % dev->limits.block_size != 0) {
		xu_error_set(&err, -EINVAL, "size %llu is not a multiple of the block size %u",
			(unsigned long long)size_bytes, dev->limits.block_size);
	} else {
		xbdev_device_set_size(dev, size_bytes / dev->limits.block_size);
	}
	done(arg, &err);
}

static void null_destroy(struct xbdev_device *dev)
{
	free(xu_container_of(dev, struct null_device, dev));
}

static json_t *null_config(const struct xbdev_device *dev)
{
	const struct null_device *null = xu_container_of(dev, struct null_device, dev);
	json_t *config = xbdev__sized_config(dev);

	json_object_set_new(config, "zero_reads", json_boolean(null->zero_reads));
	return config;
}

static const struct xbdev_device_ops null_ops = {
	.submit = null_submit,
	.resize = null_resize,
	.destroy = null_destroy,
	.config = null_config,
};

static void null_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct null_opts *opts = opts_ptr;
	struct null_device *null = calloc(1, sizeof(*null));
	struct xu_error err = {0};

	if (null == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making null device '%s'", opts->sized.name);
		done(arg, NULL, &err);
		return;
	}
	null->zero_reads = opts->zero_reads;
	null->dev.driver = "null";
	null->dev.product = "null device";
	null->dev.ops = &null_ops;
	null->dev.limits.max_transfer = 4u << 20;
	null->dev.limits.max_zeroes = 1ull << 40;
	null->dev.is_multi_reactor = true;
	if (xbdev__sized_init(&null->dev, &opts->sized, &err) != 0 ||
		xbdev_device_register(ctx, &null->dev, &err) != 0) {
		free(null);
		null = NULL;
	}
	done(arg, null != NULL ? &null->dev : NULL, &err);
}

static const struct xu_param null_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct null_opts, sized.name), .is_required = true,
		.help = "name of the device"},
	{"size", XU_PARAM_SIZE, offsetof(struct null_opts, sized.size), .max = 1ull << 62,
		.help = "size in bytes, or text such as \"1TiB\""},
	{"num_blocks", XU_PARAM_U64, offsetof(struct null_opts, sized.num_blocks),
		.max = 1ull << 50, .help = "size in blocks, instead of size"},
	{"block_size", XU_PARAM_U32, offsetof(struct null_opts, sized.block_size), .min = 512,
		.max = 4096, .help = "512 or 4096 (default 512)"},
	{"zero_reads", XU_PARAM_BOOL, offsetof(struct null_opts, zero_reads),
		.help = "reads give zeroes (default true); false leaves buffers untouched, for "
			"benchmarks only"},
	{"uuid", XU_PARAM_UUID, offsetof(struct null_opts, sized.uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static const struct null_opts null_defaults = {.sized.block_size = 512, .zero_reads = true};

const struct xbdev_driver xbdev__driver_null = {
	.name = "null",
	.help = "forgets writes and reads zeroes, for measurements",
	.params = null_params,
	.opts_bytes = sizeof(struct null_opts),
	.defaults = &null_defaults,
	.create = null_create,
};
