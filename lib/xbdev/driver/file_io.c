/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O on a file or a block device through the reactor's io_uring; what file.c and the block engine
 * of nvme.c have in common.
 *
 * Durability. A WRITE is complete when the kernel has it, which for O_DIRECT means the drive's
 * cache at least. FLUSH is fdatasync: it covers every write that completed before on any channel,
 * and the metadata to find them (extents, size). FUA is RWF_DSYNC: the same for one write. So after
 * a power failure each block holds its last flushed or FUA content, or some later one that was
 * written but not flushed; a block in flight may be torn at the drive's sector size.
 *
 * The kernel tells once of writes that it has lost, to one fdatasync, and forgets them: the next
 * one succeeds. So when one has failed every later FLUSH does, until the device is made again.
 * Of two fdatasyncs at a time on one descriptor, too, only one is told of pages that could not be
 * written back. So through the page cache there is one at a time, on the control reactor; the
 * FLUSHes that come meanwhile share the next one. And a FUA write is there a write and such a
 * FLUSH, for RWF_DSYNC hears, and forgets, like fdatasync.
 *
 * A discarded block reads as zeroes here. DISCARD punches holes, which do; a block device that
 * cannot is told to discard and then zeroed, because a discard alone is a hint; a file that cannot
 * has no DISCARD. WRITE ZEROES converts to unwritten extents, and where there are none zeroes are
 * written. What can be done is found out when the device is made, and the core does not even ask
 * for the rest; what turns out later not to work (-EOPNOTSUPP from a file system over a network, or
 * from the disk below) is remembered, told once, and done in the next best way.
 */
#include "lib/xbdev/driver/file_io.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"

#define PUNCH_MODE        (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO_MODE         (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)
#define MAX_TRANSFER      (1u << 20)
#define MAX_IOV           256u
#define MAX_ZEROES        (1ull << 30)
#define MAX_SHORT_RETRIES 3u
#define ZEROES_BYTES      (1u << 20)

/* The driver's part of an I/O. */
struct file_io {
	struct xr_op op;
	union {
		struct xr_work work;
		struct iovec zeroes;
		struct xr_msg msg;
	};
	uint64_t zeroed_bytes;
	uint32_t nr_retries;
};

/* Source of zeroes; never written, so it costs no memory. */
static _Alignas(4096) char zeroes[ZEROES_BYTES];

static struct xbdev__file *file_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct xbdev__file, dev);
}

/* Ends an I/O, from an event. */
static void end_io(struct xbdev_io *io, int status)
{
	struct xbdev__file *file = file_of(io->ch->dev);

	if (status < 0 && status != -ECANCELED && file->on_error != NULL) {
		file->on_error(file, status);
	}
	xbdev_io_complete(io, status);
}

void xbdev__file_lose_writes(struct xbdev__file *file, int error)
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
		end_io(io, 0);
		return;
	}
	if (is_to_repeat(fio, result, io->len)) {
		xr_op_submit(xr_reactor_current(), op);
		return;
	}
	end_io(io, error_of(io, result));
}

/* ---- flush ---- */

/* What an fdatasync that ended like this says of what was written before it: 0 or -errno. */
static int flush_status(struct xbdev__file *file, int32_t result)
{
	if (result >= 0) {
		return atomic_load(&file->has_lost_writes) ? -EIO : 0;
	}
	if (result != -EINTR && result != -EAGAIN && result != -ECANCELED) {
		xbdev__file_lose_writes(file, result);
	}
	return result;
}

static void end_flush(struct xbdev_io *io, int status)
{
	end_io(io, status < 0 ? error_of(io, status) : 0);
}

static void on_flushed(struct xr_op *op, int32_t result)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(op, struct file_io, op));

	end_flush(io, flush_status(file_of(io->ch->dev), result));
}

static void start_op(
	struct xr_reactor *reactor, struct xr_op *op, void (*cb)(struct xr_op *op, int32_t result))
{
	op->cb = cb;
	op->opcode = XR_OP_FSYNC;
	op->flags = XR_OP_DATASYNC;
	xr_op_submit(reactor, op);
}

/* ---- flush through the page cache, on the control reactor ---- */

static void on_group_flushed(struct xr_op *op, int32_t result);

static void start_group(struct xbdev__file *file)
{
	if (file->flushing != NULL || file->is_syncing || file->flush_waiting == NULL) {
		return;
	}
	file->flushing = file->flush_waiting;
	file->flush_waiting = NULL;
	start_op(xbdev_ctx_control(file->ctx), &xbdev_io_driver(file->flushing, struct file_io)->op,
		on_group_flushed);
}

static void on_home(struct xr_msg *msg)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(msg, struct file_io, msg));

	end_flush(io, io->status);
}

/* Sends the group home. With its last I/O the device may go, so the next group starts before. */
static void end_group(struct xbdev__file *file)
{
	struct xbdev_io *io = file->flushing;
	int status;

	if (!file->is_flushed || file->is_syncing) {
		return;
	}
	status = flush_status(file, file->flush_result);
	file->is_flushed = false;
	file->flushing = NULL;
	start_group(file);
	while (io != NULL) {
		struct xbdev_io *next = io->next_io;
		struct file_io *fio = xbdev_io_driver(io, struct file_io);

		io->status = status;
		fio->msg.fn = on_home;
		xr_msg_send(io->ch->reactor, &fio->msg);
		io = next;
	}
}

static void on_group_flushed(struct xr_op *op, int32_t result)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(op, struct file_io, op));
	struct xbdev__file *file = file_of(io->ch->dev);

	file->is_flushed = true;
	file->flush_result = result;
	end_group(file);
}

static void on_join(struct xr_msg *msg)
{
	struct xbdev_io *io = xbdev_io_of_driver(xu_container_of(msg, struct file_io, msg));
	struct xbdev__file *file = file_of(io->ch->dev);

	io->next_io = file->flush_waiting;
	file->flush_waiting = io;
	start_group(file);
}

static void join_group(struct xbdev__file *file, struct xbdev_io *io)
{
	struct file_io *fio = xbdev_io_driver(io, struct file_io);

	fio->msg.fn = on_join;
	xr_msg_send(xbdev_ctx_control(file->ctx), &fio->msg);
}

void xbdev__file_sync_begin(struct xbdev__file *file)
{
	file->is_syncing = true;
}

void xbdev__file_sync_end(struct xbdev__file *file)
{
	file->is_syncing = false;
	end_group(file);
	start_group(file);
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
		end_io(io, error_of(io, result));
		return;
	}
	fio->zeroed_bytes += fio->zeroes.iov_len;
	fio->nr_retries = 0;
	if (fio->zeroed_bytes == io->len || io->ch->is_removed || io->is_cancelled) {
		end_io(io, fio->zeroed_bytes == io->len ? 0
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
		end_io(io, io->status);
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
static void give_up_mode(struct xbdev__file *file, int mode)
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
	end_io(io, result < 0 ? error_of(io, result) : 0);
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
	struct xbdev__file *file = file_of(io->ch->dev);
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

void xbdev__file_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev__file *file = file_of(ch->dev);
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
		if (file->is_cached) {
			join_group(file, io);
		} else {
			start_op(ch->reactor, op, on_flushed);
		}
		return;
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
 * done in several steps looks at is_cancelled between them. An fdatasync that is shared runs on. */
void xbdev__file_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	if (io->op == XBDEV_OP_FLUSH && file_of(ch->dev)->is_cached) {
		return;
	}
	xr_op_cancel(ch->reactor, &xbdev_io_driver(io, struct file_io)->op);
}

/* ---- what the device is ---- */

void xbdev__file_probe(struct xbdev__file *file, const struct xr_platform *platform)
{
	file->can_punch = platform->file_can(platform, file->fd, PUNCH_MODE);
	file->can_zero = platform->file_can(platform, file->fd, ZERO_MODE);
}

uint32_t xbdev__file_block_size(const struct xbdev__file *file)
{
	const struct xr_file_info *info = &file->info;
	uint32_t need = info->is_direct ? info->io_align : 512;

	if (file->dev.limits.block_size != 0) {
		return file->dev.limits.block_size;
	}
	if (info->is_block_device && info->block_size > need) {
		need = info->block_size;
	}
	return need <= 512 ? 512 : 4096;
}

void xbdev__file_fill(struct xbdev__file *file)
{
	struct xbdev_device *dev = &file->dev;
	const struct xr_file_info *info = &file->info;

	dev->limits.block_size = xbdev__file_block_size(file);
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
	dev->has_fua = info->is_direct;
	dev->has_write_cache = info->has_write_cache;
	dev->is_rotational = info->is_rotational;
	dev->numa_node = info->numa_node;
	atomic_store(&dev->nr_blocks, info->size_bytes / dev->limits.block_size);
}
