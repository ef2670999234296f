/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file driver: a regular file or a block device through the reactor's io_uring (file_io.c says
 * what that promises). O_DIRECT where the file system has it, so that what is acknowledged does not
 * depend on our memory and the page cache does not hold everything twice; the core bounces buffers
 * that are not aligned for it.
 *
 * The file is locked, so that no second node and no second device writes it. A file that was made
 * for a device which could not be made is removed again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/driver/file_io.h"

struct file_opts {
	const char *name;
	const char *filename;
	uint64_t size;
	uint32_t block_size; /* 0: the smallest that direct I/O allows */
	bool read_only;
	bool direct;
	struct xu_uuid uuid;
};

struct file_device {
	struct xbdev__file io;
	bool wants_direct;

	/* While it is made or resized. */
	struct xr_work work;
	uint64_t size_bytes; /* asked for */
	struct xu_error err;
	struct xbdev_desc *resizer; /* keeps the device while it is resized */
	struct xr_file_info resized_info;
	xbdev_created_fn created;
	void (*resized)(void *arg, const struct xu_error *err);
	void *arg;
};

static struct file_device *file_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct file_device, io.dev);
}

/* ---- life ---- */

static void file_free(struct file_device *file)
{
	const struct xr_platform *platform = xbdev_ctx_platform(file->io.ctx);

	if (file->io.fd >= 0) {
		platform->close(platform, file->io.fd);
	}
	free(file->io.path);
	free(file);
}

static void file_destroy(struct xbdev_device *dev)
{
	file_free(file_of(dev));
}

static json_t *file_config(const struct xbdev_device *dev)
{
	const struct file_device *file = file_of(dev);
	json_t *config = xbdev__config_common(dev);

	json_object_set_new(config, "filename", json_string(file->io.path));
	if (!file->io.info.is_block_device) {
		json_object_set_new(
			config, "size", json_integer((json_int_t)xbdev_device_size_bytes(dev)));
	}
	json_object_set_new(config, "block_size", json_integer(dev->limits.block_size));
	json_object_set_new(config, "read_only", json_boolean(dev->is_read_only));
	json_object_set_new(config, "direct", json_boolean(file->wants_direct));
	return config;
}

static json_t *file_info(const struct xbdev_device *dev)
{
	const struct file_device *file = file_of(dev);

	return json_pack("{s:s, s:b, s:b, s:b, s:b, s:I}", "filename", file->io.path, "direct",
		file->io.info.is_direct, "block_device", file->io.info.is_block_device,
		"punch_hole", atomic_load(&file->io.can_punch), "zero_range",
		atomic_load(&file->io.can_zero), "zeroes_written",
		(json_int_t)atomic_load(&file->io.nr_zeroed));
}

static void resize_work(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	int rc = 0;

	if (file->size_bytes != 0 && !file->io.info.is_block_device) {
		rc = platform->file_resize(platform, file->io.fd, file->size_bytes);
	}
	if (rc == 0 && file->size_bytes != 0) {
		rc = platform->file_sync(platform, file->io.fd);
		if (rc != 0) {
			xbdev__file_lose_writes(&file->io, rc);
		}
	}
	if (rc == 0) {
		rc = platform->file_info(platform, file->io.fd, &file->resized_info);
	}
	if (rc != 0) {
		xu_error_set_errno(&file->err, rc, "resizing %s", file->io.path);
	}
}

static void resize_done(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	struct xbdev_desc *resizer = file->resizer;

	file->resizer = NULL;
	xbdev__file_sync_end(&file->io);
	if (file->err.code == 0) {
		xbdev_device_set_size(&file->io.dev,
			file->resized_info.size_bytes / file->io.dev.limits.block_size);
	}
	file->resized(file->arg, &file->err);
	xbdev_desc_close(resizer);
}

/* To `size_bytes` (a regular file), or, with 0, to what the file or device has become. */
static void file_resize(struct xbdev_device *dev, uint64_t size_bytes,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct file_device *file = file_of(dev);
	struct xu_error err = {0};

	if (file->resizer != NULL) {
		xu_error_set(&err, -EBUSY, "device '%s' is being resized already", dev->name);
	} else if (size_bytes % dev->limits.block_size != 0) {
		xu_error_set(&err, -EINVAL, "size %llu is not a multiple of the block size %u",
			(unsigned long long)size_bytes, dev->limits.block_size);
	} else if (size_bytes != 0 && size_bytes < xbdev_device_size_bytes(dev)) {
		xu_error_set(&err, -EINVAL,
			"device '%s' has %llu bytes; shrinking it to %llu would lose data",
			dev->name, (unsigned long long)xbdev_device_size_bytes(dev),
			(unsigned long long)size_bytes);
	} else if (size_bytes != 0 && (file->io.info.is_block_device || dev->is_read_only)) {
		xu_error_set(&err, -EINVAL, "%s is %s; it cannot be resized from here",
			file->io.path, dev->is_read_only ? "read-only" : "a block device");
	} else {
		xbdev_desc_open(dev->ctx, dev->name, false, NULL, NULL, &file->resizer, &err);
	}
	if (err.code != 0) {
		done(arg, &err);
		return;
	}
	file->size_bytes = size_bytes;
	file->resized = done;
	file->arg = arg;
	file->err = (struct xu_error){0};
	file->work.work = resize_work;
	file->work.done = resize_done;
	xbdev__file_sync_begin(&file->io);
	xr_work_submit(xbdev_ctx_control(dev->ctx), &file->work);
}

static const struct xbdev_device_ops file_ops = {
	.submit = xbdev__file_submit,
	.cancel = xbdev__file_cancel,
	.resize = file_resize,
	.destroy = file_destroy,
	.config = file_config,
	.info = file_info,
};

/* ---- making one ---- */

static int open_file(struct file_device *file, const struct xr_platform *platform, bool direct)
{
	struct xr_file_opts opts = {
		.is_read_only = file->io.dev.is_read_only,
		.create = file->size_bytes != 0,
		.direct = direct,
		.exclusive = true,
		.size_bytes = file->size_bytes,
	};

	file->io.fd =
		platform->file_open(platform, file->io.path, &opts, &file->io.info, &file->err);
	return file->io.fd < 0 ? file->io.fd : 0;
}

/* Gives up the file, and takes it back if it has been made for this device: a device that cannot be
 * made leaves nothing behind. */
static void drop_file(struct file_device *file, const struct xr_platform *platform)
{
	if (file->io.fd < 0) {
		return;
	}
	if (file->io.info.is_new && platform->file_unmake != NULL) {
		platform->file_unmake(platform, file->io.path, file->io.fd);
	}
	platform->close(platform, file->io.fd);
	file->io.fd = -1;
}

/* A size that was asked for is whole blocks, of the size that the device will have. */
static void check_size(struct file_device *file)
{
	uint32_t block_size = xbdev__file_block_size(&file->io);

	if (file->err.code == 0 && file->size_bytes % block_size != 0) {
		xu_error_set(&file->err, -EINVAL,
			"device '%s': size %llu is not a multiple of the block size %u",
			file->io.dev.name, (unsigned long long)file->size_bytes, block_size);
	}
}

/* Opens the file; without O_DIRECT when that asks for larger blocks than the device is to have. */
static void create_work(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	uint32_t block_size = file->io.dev.limits.block_size;

	if (block_size != 0) {
		check_size(file); /* before the file grows */
	}
	if (file->err.code != 0 || open_file(file, platform, file->wants_direct) != 0) {
		return;
	}
	if (file->io.info.is_direct && block_size != 0 && file->io.info.io_align > block_size) {
		drop_file(file, platform);
		if (open_file(file, platform, false) != 0) {
			return;
		}
	}
	if (file->io.info.is_block_device && block_size != 0 &&
		block_size < file->io.info.block_size) {
		xu_error_set(&file->err, -EINVAL,
			"%s has blocks of %u bytes; block_size %u is too "
			"small",
			file->io.path, file->io.info.block_size, block_size);
	}
	check_size(file);
	/* A later FUA write is durable in a file whose size is not only when the size is first. */
	if (file->err.code == 0 && file->size_bytes != 0 && !file->io.dev.is_read_only) {
		int rc = platform->file_sync(platform, file->io.fd);

		if (rc != 0) {
			xu_error_set_errno(&file->err, rc, "writing the size of %s", file->io.path);
		}
	}
	xbdev__file_probe(&file->io, platform);
}

static void create_done(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	xbdev_created_fn created = file->created;
	void *arg = file->arg;
	struct xu_error err;

	if (file->err.code == 0) {
		xbdev__file_fill(&file->io);
		if (xbdev_device_register(file->io.ctx, &file->io.dev, &file->err) == 0 &&
			file->wants_direct && !file->io.info.is_direct) {
			xu_warn(xbdev_ctx_log(file->io.ctx),
				"device %s: %s takes no direct I/O in blocks of %u bytes; the page "
				"cache is used",
				file->io.dev.name, file->io.path, file->io.dev.limits.block_size);
		}
	}
	err = file->err;
	if (err.code != 0) {
		drop_file(file, xbdev_ctx_platform(file->io.ctx));
		file_free(file);
		file = NULL;
	}
	created(arg, file != NULL ? &file->io.dev : NULL, &err);
}

static void file_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct file_opts *opts = opts_ptr;
	struct file_device *file = calloc(1, sizeof(*file));
	struct xu_error err = {0};

	if (file != NULL) {
		file->io.path = strdup(opts->filename);
	}
	if (file == NULL || file->io.path == NULL) {
		free(file);
		xu_error_set_errno(&err, -ENOMEM, "making file device '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	file->io.fd = -1;
	file->io.ctx = ctx;
	file->wants_direct = opts->direct;
	file->size_bytes = opts->size;
	file->created = done;
	file->arg = arg;
	file->io.dev.driver = "file";
	file->io.dev.ops = &file_ops;
	file->io.dev.uuid = opts->uuid;
	file->io.dev.is_read_only = opts->read_only;
	file->io.dev.is_multi_reactor = true;
	file->io.dev.limits.block_size = opts->block_size;
	xbdev__set_name(&file->io.dev, opts->name);
	file->work.work = create_work;
	file->work.done = create_done;
	xr_work_submit(xbdev_ctx_control(ctx), &file->work);
}

static const struct xu_param file_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct file_opts, name), .is_required = true,
		.help = "name of the device"},
	{"filename", XU_PARAM_STRING, offsetof(struct file_opts, filename), .is_required = true,
		.help = "path of a regular file or a block device"},
	{"size", XU_PARAM_SIZE, offsetof(struct file_opts, size), .max = 1ull << 62,
		.help = "make the file if it is missing and grow it to this size, sparse "
			"(default: it must exist)"},
	{"block_size", XU_PARAM_U32, offsetof(struct file_opts, block_size), .min = 512,
		.max = 4096, .help = "512 or 4096 (default: the smallest for direct I/O)"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct file_opts, read_only),
		.help = "refuse writes (default false)"},
	{"direct", XU_PARAM_BOOL, offsetof(struct file_opts, direct),
		.help = "go past the page cache where possible (default true)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct file_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static const struct file_opts file_defaults = {.direct = true};

const struct xbdev_driver xbdev__driver_file = {
	.name = "file",
	.alias = "aio",
	.help = "a regular file or a block device, through io_uring",
	.params = file_params,
	.opts_bytes = sizeof(struct file_opts),
	.defaults = &file_defaults,
	.create = file_create,
};
