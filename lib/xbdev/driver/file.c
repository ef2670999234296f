/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file driver: a regular file or a block device through the reactor's io_uring. O_DIRECT where
 * the file system has it, so that what is acknowledged does not depend on our memory and the page
 * cache does not hold everything twice; the core bounces buffers that are not aligned for it.
 *
 * Durability. A WRITE is complete when the kernel has it, which for O_DIRECT means the drive's
 * cache at least. FLUSH is fdatasync: it covers every write that completed before on any channel,
 * and the metadata to find them (extents, size). FUA is RWF_DSYNC: the same for one write. So after
 * a power failure each block holds its last flushed or FUA content, or some later one that was
 * written but not flushed; a block in flight may be torn at the drive's sector size.
 *
 * The kernel tells once of writes that it has lost, to one fdatasync, and forgets them: the next
 * one succeeds. So when one has failed every later FLUSH does, until the device is made again.
 *
 * A discarded block reads as zeroes here. DISCARD punches holes, which do; a block device that
 * cannot is told to discard and then zeroed, because a discard alone is a hint; a file that cannot
 * has no DISCARD. WRITE ZEROES converts to unwritten extents, and where there are none zeroes are
 * written. What can be done is found out when the device is made, and the core does not even ask
 * for the rest; what turns out later not to work (-EOPNOTSUPP from a file system over a network, or
 * from the disk below) is remembered, told once, and done in the next best way.
 *
 * The file is locked, so that no second node and no second device writes it. A file that was made
 * for a device which could not be made is removed again.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"

#define PUNCH_MODE        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO_MODE         (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)
#define MAX_TRANSFER      (1u << 20)
#define MAX_IOV           256u
#define MAX_ZEROES        (1ull << 30)
#define MAX_SHORT_RETRIES 3u
#define ZEROES_BYTES      (1u << 20)

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
	struct xbdev_device dev;
	char *path;
	int fd;
	bool wants_direct;
	bool is_cached; /* writes go through the page cache */
	_Atomic bool can_punch, can_zero;
	_Atomic uint64_t nr_zeroed; /* I/Os for which zeroes were written here */
	_Atomic bool has_lost_writes;
	struct xr_file_info info;

	/* While it is made or resized. */
	struct xr_work work;
	struct xbdev_ctx *ctx;
	uint64_t size_bytes; /* asked for */
	struct xu_error err;
	struct xbdev_desc *resizer; /* keeps the device while it is resized */
	xbdev_created_fn created;
	void (*resized)(void *arg, const struct xu_error *err);
	void *arg;
};

struct file_io {
	struct xr_op op;
	union {
		struct xr_work work;
		struct iovec zeroes;
	};
	uint64_t zeroed_bytes;
	uint32_t nr_retries;
};

/* Source of zeroes; never written, so it costs no memory. */
static _Alignas(4096) char zeroes[ZEROES_BYTES];

static struct file_device *file_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct file_device, dev);
}

/* ---- I/O ---- */

/* The kernel has told that it could not make writes durable, and will not tell again. */
static void lose_writes(struct file_device *file, int error)
{
	if (!atomic_exchange(&file->has_lost_writes, true)) {
		xu_err(xbdev_ctx_log(file->ctx),
			"device %s: %s could not be flushed: %s; what was written before may be "
			"lost, so its flushes fail from now on",
			file->dev.name, file->path, strerror(-error));
	}
}

/* A short transfer is done again as a whole, which is harmless; one that stays short means that the
 * file has been cut off behind our back. */
static bool is_to_repeat(struct file_io *fio, int32_t result, uint64_t len)
{
	bool is_short = result >= 0 && (uint64_t)result != len;

	return (is_short || result == -EINTR || result == -EAGAIN) &&
	       !xbdev_io_of_driver(fio)->is_cancelled && fio->nr_retries++ < MAX_SHORT_RETRIES;
}

/* Of an operation that has not done what it should: a cancel may have interrupted it. */
static int error_of(const struct xbdev_io *io, int32_t result)
{
	if (io->is_cancelled && (result >= 0 || result == -EINTR || result == -EAGAIN)) {
		return -ECANCELED;
	}
	return result < 0 ? result : -EIO;
}

static void on_transferred(struct xr_op *op, int32_t result)
{
	struct file_io *fio = xu_container_of(op, struct file_io, op);
	struct xbdev_io *io = xbdev_io_of_driver(fio);

	if (result >= 0 && (uint64_t)result == io->len) {
		xbdev_io_complete(io, 0);
		return;
	}
	if (is_to_repeat(fio, result, io->len)) {
		xr_op_submit(xr_reactor_current(), op);
		return;
	}
	if ((op->flags & XR_OP_DSYNC) && result < 0 && file_of(io->ch->dev)->is_cached &&
		error_of(io, result) != -ECANCELED) {
		lose_writes(file_of(io->ch->dev), result);
	}
	xbdev_io_complete(io, error_of(io, result));
}

static void on_flushed(struct xr_op *op, int32_t result)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(op, struct file_io, op));
	struct file_device *file = file_of(io->ch->dev);

	if (result >= 0) {
		result = atomic_load(&file->has_lost_writes) ? -EIO : 0;
	} else if (result != -EINTR && result != -EAGAIN && result != -ECANCELED) {
		lose_writes(file, result);
	}
	xbdev_io_complete(io, result < 0 ? error_of(io, result) : 0);
}

/* ---- discard and zeroes ---- */

static void start_range(struct xbdev_io *io);

static void write_zeroes(struct xbdev_io *io)
{
	struct file_io *fio = xbdev_io_driver(io, struct file_io);
	uint64_t left = io->len - fio->zeroed_bytes;

	fio->zeroes.iov_base = zeroes;
	fio->zeroes.iov_len = left < ZEROES_BYTES ? left : ZEROES_BYTES;
	fio->op.opcode = XR_OP_WRITE;
	fio->op.iov = &fio->zeroes;
	fio->op.nr_iov = 1;
	fio->op.offset = io->offset + fio->zeroed_bytes;
	xr_op_submit(io->ch->reactor, &fio->op);
}

static void on_zeroes_written(struct xr_op *op, int32_t result)
{
	struct file_io *fio = xu_container_of(op, struct file_io, op);
	struct xbdev_io *io = xbdev_io_of_driver(fio);

	if (is_to_repeat(fio, result, fio->zeroes.iov_len)) {
		xr_op_submit(io->ch->reactor, op);
		return;
	}
	if (result < 0 || (size_t)result != fio->zeroes.iov_len) {
		xbdev_io_complete(io, error_of(io, result));
		return;
	}
	fio->zeroed_bytes += fio->zeroes.iov_len;
	fio->nr_retries = 0;
	if (fio->zeroed_bytes == io->len || io->ch->is_removed || io->is_cancelled) {
		xbdev_io_complete(io, fio->zeroed_bytes == io->len ? 0
				      : io->ch->is_removed         ? -ENODEV
								   : -ECANCELED);
		return;
	}
	write_zeroes(io);
}

/* One piece after the other; the range may be large, but this is the last resort. */
static void start_zeroes(struct xbdev_io *io)
{
	struct file_io *fio = xbdev_io_driver(io, struct file_io);

	atomic_fetch_add_explicit(&file_of(io->ch->dev)->nr_zeroed, 1, memory_order_relaxed);
	fio->zeroed_bytes = 0;
	fio->op.cb = on_zeroes_written;
	write_zeroes(io);
}

static void discard_and_zero(struct xr_work *work)
{
	struct file_io *fio = xu_container_of(work, struct file_io, work);
	struct xbdev_io *io = xbdev_io_of_driver(fio);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	int rc;

	/* The discard is a hint and may fail; the zeroes are what counts. */
	platform->file_discard(platform, fio->op.fd, io->offset, io->len, false);
	rc = platform->file_discard(platform, fio->op.fd, io->offset, io->len, true);
	io->status = rc;
}

static void on_discarded(struct xr_work *work)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(work, struct file_io, work));

	if (io->status == -EOPNOTSUPP) {
		start_zeroes(io);
	} else {
		xbdev_io_complete(io, io->status);
	}
}

static void start_discard_work(struct xbdev_io *io)
{
	struct file_io *fio = xbdev_io_driver(io, struct file_io);

	fio->work.work = discard_and_zero;
	fio->work.done = on_discarded;
	xr_work_submit(io->ch->reactor, &fio->work);
}

/* What the file was said to be able to do it cannot, and will not be asked for again. */
static void give_up_mode(struct file_device *file, int mode)
{
	_Atomic bool *ability = mode == PUNCH_MODE ? &file->can_punch : &file->can_zero;

	if (atomic_exchange(ability, false)) {
		xu_warn(xbdev_ctx_log(file->ctx), "device %s: %s does not %s after all; %s",
			file->dev.name, file->path,
			mode == PUNCH_MODE ? "punch holes" : "convert ranges to zeroes",
			mode == ZERO_MODE            ? "zeroes are written from now on"
			: file->info.is_block_device ? "what is discarded is zeroed from now on"
						     : "discards are refused from now on");
	}
}

static void on_fallocated(struct xr_op *op, int32_t result)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(op, struct file_io, op));

	if (result == -EOPNOTSUPP) {
		give_up_mode(file_of(io->ch->dev), op->mode);
		start_range(io);
		return;
	}
	xbdev_io_complete(io, result < 0 ? error_of(io, result) : 0);
}

static void start_fallocate(struct xbdev_io *io, int mode)
{
	struct file_io *fio = xbdev_io_driver(io, struct file_io);

	fio->op.opcode = XR_OP_FALLOCATE;
	fio->op.cb = on_fallocated;
	fio->op.offset = io->offset;
	fio->op.len = io->len;
	fio->op.mode = mode;
	xr_op_submit(io->ch->reactor, &fio->op);
}

/* DISCARD and WRITE ZEROES, in the best way that is left; again when that fails, with one way less
 * each time. */
static void start_range(struct xbdev_io *io)
{
	struct file_device *file = file_of(io->ch->dev);
	bool may_punch = io->op == XBDEV_OP_DISCARD || (io->flags & XBDEV_IO_MAY_UNMAP);

	if (may_punch && atomic_load(&file->can_punch)) {
		start_fallocate(io, PUNCH_MODE);
	} else if (io->op == XBDEV_OP_WRITE_ZEROES && atomic_load(&file->can_zero)) {
		start_fallocate(io, ZERO_MODE);
	} else if (io->op == XBDEV_OP_WRITE_ZEROES) {
		start_zeroes(io);
	} else if (file->info.is_block_device) {
		start_discard_work(io);
	} else {
		xbdev_io_complete_later(io, -EOPNOTSUPP);
	}
}

static void file_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct file_device *file = file_of(ch->dev);
	struct file_io *fio = xbdev_io_driver(io, struct file_io);
	struct xr_op *op = &fio->op;

	op->is_pending = 0;
	op->flags = 0;
	op->fd = file->fd;
	op->offset = io->offset;
	fio->nr_retries = 0;
	switch ((enum xbdev_op)io->op) {
	case XBDEV_OP_READ:
	case XBDEV_OP_WRITE:
		op->opcode = io->op == XBDEV_OP_READ ? XR_OP_READ : XR_OP_WRITE;
		op->flags = (io->flags & XBDEV_IO_FUA) ? XR_OP_DSYNC : 0;
		op->cb = on_transferred;
		op->iov = io->iov;
		op->nr_iov = io->nr_iov;
		break;
	case XBDEV_OP_FLUSH:
		op->cb = on_flushed;
		op->opcode = XR_OP_FSYNC;
		op->flags = XR_OP_DATASYNC;
		break;
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		start_range(io);
		return;
	default:
		xbdev_io_complete_later(io, -EOPNOTSUPP);
		return;
	}
	xr_op_submit(ch->reactor, op);
}

/* A write that the disk has already cannot be called back; the kernel says which it was. What is
 * done in several steps looks at is_cancelled between them. */
static void file_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	xr_op_cancel(ch->reactor, &xbdev_io_driver(io, struct file_io)->op);
}

/* ---- life ---- */

static void file_free(struct file_device *file)
{
	const struct xr_platform *platform = xbdev_ctx_platform(file->ctx);

	if (file->fd >= 0) {
		platform->close(platform, file->fd);
	}
	free(file->path);
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

	json_object_set_new(config, "filename", json_string(file->path));
	if (!file->info.is_block_device) {
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

	return json_pack("{s:s, s:b, s:b, s:b, s:b, s:I}", "filename", file->path, "direct",
		file->info.is_direct, "block_device", file->info.is_block_device, "punch_hole",
		atomic_load(&file->can_punch), "zero_range", atomic_load(&file->can_zero),
		"zeroes_written", (json_int_t)atomic_load(&file->nr_zeroed));
}

static void resize_work(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	int rc = 0;

	if (file->size_bytes != 0 && !file->info.is_block_device) {
		rc = platform->file_resize(platform, file->fd, file->size_bytes);
	}
	if (rc == 0 && file->size_bytes != 0) {
		rc = platform->file_sync(platform, file->fd);
		if (rc != 0) {
			lose_writes(file, rc);
		}
	}
	if (rc == 0) {
		rc = platform->file_info(platform, file->fd, &file->info);
	}
	if (rc != 0) {
		xu_error_set_errno(&file->err, rc, "resizing %s", file->path);
	}
}

static void resize_done(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	struct xbdev_desc *resizer = file->resizer;

	file->resizer = NULL;
	if (file->err.code == 0) {
		xbdev_device_set_size(
			&file->dev, file->info.size_bytes / file->dev.limits.block_size);
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
	} else if (size_bytes != 0 && (file->info.is_block_device || dev->is_read_only)) {
		xu_error_set(&err, -EINVAL, "%s is %s; it cannot be resized from here", file->path,
			dev->is_read_only ? "read-only" : "a block device");
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
	xr_work_submit(xbdev_ctx_control(dev->ctx), &file->work);
}

static const struct xbdev_device_ops file_ops = {
	.submit = file_submit,
	.cancel = file_cancel,
	.resize = file_resize,
	.destroy = file_destroy,
	.config = file_config,
	.info = file_info,
};

/* ---- making one ---- */

static int open_file(struct file_device *file, const struct xr_platform *platform, bool direct)
{
	struct xr_file_opts opts = {
		.is_read_only = file->dev.is_read_only,
		.create = file->size_bytes != 0,
		.direct = direct,
		.exclusive = true,
		.size_bytes = file->size_bytes,
	};

	file->fd = platform->file_open(platform, file->path, &opts, &file->info, &file->err);
	return file->fd < 0 ? file->fd : 0;
}

/* Gives up the file, and takes it back if it has been made for this device: a device that cannot be
 * made leaves nothing behind. */
static void drop_file(struct file_device *file, const struct xr_platform *platform)
{
	if (file->fd < 0) {
		return;
	}
	if (file->info.is_new && platform->file_unmake != NULL) {
		platform->file_unmake(platform, file->path, file->fd);
	}
	platform->close(platform, file->fd);
	file->fd = -1;
}

/* Opens the file; without O_DIRECT when that asks for larger blocks than the device is to have. */
static void create_work(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	const struct xr_platform *platform = xr_reactor_platform(work->reactor);
	uint32_t block_size = file->dev.limits.block_size;

	if (open_file(file, platform, file->wants_direct) != 0) {
		return;
	}
	if (file->info.is_direct && block_size != 0 && file->info.io_align > block_size) {
		drop_file(file, platform);
		if (open_file(file, platform, false) != 0) {
			return;
		}
	}
	if (file->info.is_block_device && block_size != 0 && block_size < file->info.block_size) {
		xu_error_set(&file->err, -EINVAL,
			"%s has blocks of %u bytes; block_size %u is too "
			"small",
			file->path, file->info.block_size, block_size);
	}
	/* A later FUA write is durable in a file whose size is not only when the size is first. */
	if (file->size_bytes != 0 && !file->dev.is_read_only) {
		int rc = platform->file_sync(platform, file->fd);

		if (rc != 0) {
			xu_error_set_errno(&file->err, rc, "writing the size of %s", file->path);
		}
	}
	file->can_punch = platform->file_can(platform, file->fd, PUNCH_MODE);
	file->can_zero = platform->file_can(platform, file->fd, ZERO_MODE);
}

static void fill_device(struct file_device *file)
{
	struct xbdev_device *dev = &file->dev;
	const struct xr_file_info *info = &file->info;

	if (dev->limits.block_size == 0) {
		uint32_t need = info->is_direct ? info->io_align : 512;

		if (info->is_block_device && info->block_size > need) {
			need = info->block_size;
		}
		dev->limits.block_size = need <= 512 ? 512 : 4096;
	}
	dev->product = info->is_block_device ? "block device" : "file";
	dev->limits.buf_align = info->is_direct ? info->mem_align : 1;
	dev->limits.max_transfer = MAX_TRANSFER;
	dev->limits.max_iov = MAX_IOV;
	dev->limits.max_zeroes = MAX_ZEROES;
	dev->limits.discard_granularity = 4096;
	dev->limits.queue_depth = XBDEV__QUEUE_DEPTH;
	dev->ops_mask = (1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) | (1u << XBDEV_OP_FLUSH);
	if (file->can_punch || info->is_block_device) {
		dev->ops_mask |= 1u << XBDEV_OP_DISCARD;
	}
	if (file->can_zero) { /* a hole would read as zeroes but not stay allocated */
		dev->ops_mask |= 1u << XBDEV_OP_WRITE_ZEROES;
	}
	file->is_cached = !info->is_direct;
	dev->has_fua = true;
	dev->has_write_cache = info->has_write_cache;
	dev->is_rotational = info->is_rotational;
	dev->numa_node = info->numa_node;
	atomic_store(&dev->nr_blocks, info->size_bytes / dev->limits.block_size);
}

static void create_done(struct xr_work *work)
{
	struct file_device *file = xu_container_of(work, struct file_device, work);
	xbdev_created_fn created = file->created;
	void *arg = file->arg;
	struct xu_error err;

	if (file->err.code == 0) {
		fill_device(file);
		if (xbdev_device_register(file->ctx, &file->dev, &file->err) == 0 &&
			file->wants_direct && !file->info.is_direct) {
			xu_warn(xbdev_ctx_log(file->ctx),
				"device %s: %s takes no direct I/O in blocks of %u bytes; the page "
				"cache is used",
				file->dev.name, file->path, file->dev.limits.block_size);
		}
	}
	err = file->err;
	if (err.code != 0) {
		drop_file(file, xbdev_ctx_platform(file->ctx));
		file_free(file);
		file = NULL;
	}
	created(arg, file != NULL ? &file->dev : NULL, &err);
}

static void file_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct file_opts *opts = opts_ptr;
	struct file_device *file = calloc(1, sizeof(*file));
	struct xu_error err = {0};

	if (file != NULL) {
		file->path = strdup(opts->filename);
	}
	if (file == NULL || file->path == NULL) {
		free(file);
		xu_error_set_errno(&err, -ENOMEM, "making file device '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	file->fd = -1;
	file->ctx = ctx;
	file->wants_direct = opts->direct;
	file->size_bytes = opts->size;
	file->created = done;
	file->arg = arg;
	file->dev.driver = "file";
	file->dev.ops = &file_ops;
	file->dev.uuid = opts->uuid;
	file->dev.is_read_only = opts->read_only;
	file->dev.is_multi_reactor = true;
	file->dev.limits.block_size = opts->block_size;
	xbdev__set_name(&file->dev, opts->name);
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
