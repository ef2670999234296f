/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O on an NVMe namespace as NVMe commands, past the kernel's block layer, through the reactor's
 * ring for commands (struct xr_cmd).
 *
 * Nothing below merges, splits or repeats: limits are those that the kernel keeps for itself, and a
 * command that met a reset of the controller, or that the controller asks to repeat, waits a moment
 * and is sent again, for ten seconds at most. All commands here may be repeated.
 *
 * DISCARD must leave zeroes, and Dataset Management promises none: the controller may pass over any
 * part of the range. So it is WRITE ZEROES with the wish to deallocate where that is understood;
 * else the range is deallocated as a hint and then zeroed. Without WRITE ZEROES there is no
 * DISCARD.
 */
#include "lib/xbdev/driver/nvme_passthru.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/util/clock.h"
#include "lib/xbdev/driver/driver.h"

#define RETRY_NS    (100 * XU_NS_PER_MS)
#define MAX_RETRIES 100u
#define PAGE_BYTES  4096u
/* The kernel refuses passthrough of larger transfers than this on some versions. */
#define MAX_TRANSFER (1u << 20)

/* The driver's part of an I/O. */
struct nvme_io {
	struct xr_cmd cmd;
	struct xbdev__nvme_pt *pt;
	struct xu_list link; /* among the channel's waiting */
	struct nvme_dsm_range range;
	uint32_t nr_retries;
	bool is_hint; /* the first of a DISCARD's two commands */
	bool is_waiting;
};

static struct xbdev_io *io_of(struct nvme_io *nio)
{
	return xbdev_io_of_driver(nio);
}

static struct xbdev__nvme_channel *channel_of(struct xbdev_channel *ch)
{
	return ch->driver;
}

/* ---- commands ---- */

static void set_range(
	struct nvme_uring_cmd *cmd, const struct nvme_io *nio, const struct xbdev_io *io)
{
	uint64_t slba = io->offset >> nio->pt->block_shift;

	cmd->cdw10 = (uint32_t)slba;
	cmd->cdw11 = (uint32_t)(slba >> 32);
	cmd->cdw12 = (uint32_t)(io->len >> nio->pt->block_shift) - 1;
	if (io->flags & XBDEV_IO_FUA) {
		cmd->cdw12 |= NVME_RW_FUA;
	}
}

static bool has_data(const struct xbdev_io *io)
{
	return io->op == XBDEV_OP_READ || io->op == XBDEV_OP_WRITE || io->op == XBDEV_OP_COMPARE;
}

static void set_data(struct nvme_uring_cmd *cmd, const struct xbdev_io *io)
{
	if (io->nr_iov == 1) {
		cmd->addr = (uintptr_t)io->iov[0].iov_base;
		cmd->data_len = (uint32_t)io->iov[0].iov_len;
	} else {
		cmd->addr = (uintptr_t)io->iov;
		cmd->data_len = io->nr_iov;
	}
}

static void set_hint(struct nvme_uring_cmd *cmd, struct nvme_io *nio, const struct xbdev_io *io)
{
	nio->range = (struct nvme_dsm_range){
		.nr_blocks = (uint32_t)(io->len >> nio->pt->block_shift),
		.slba = io->offset >> nio->pt->block_shift,
	};
	cmd->opcode = NVME_CMD_DSM;
	cmd->addr = (uintptr_t)&nio->range;
	cmd->data_len = sizeof(nio->range);
	cmd->cdw11 = NVME_DSM_AD;
}

static void fill(struct xr_cmd *xcmd, void *payload)
{
	struct nvme_io *nio = xu_container_of(xcmd, struct nvme_io, cmd);
	const struct xbdev_io *io = io_of(nio);
	struct nvme_uring_cmd *cmd = payload;

	_Static_assert(sizeof(*cmd) <= XR_CMD_BYTES, "payload");
	cmd->nsid = nio->pt->nsid;
	switch ((enum xbdev_op)io->op) {
	case XBDEV_OP_READ:
	case XBDEV_OP_WRITE:
	case XBDEV_OP_COMPARE:
		cmd->opcode = io->op == XBDEV_OP_READ    ? NVME_CMD_READ
			      : io->op == XBDEV_OP_WRITE ? NVME_CMD_WRITE
							 : NVME_CMD_COMPARE;
		set_range(cmd, nio, io);
		set_data(cmd, io);
		break;
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		if (nio->is_hint) {
			set_hint(cmd, nio, io);
			break;
		}
		cmd->opcode = NVME_CMD_WRITE_ZEROES;
		set_range(cmd, nio, io);
		if (nio->pt->features.has_deac &&
			(io->op == XBDEV_OP_DISCARD || (io->flags & XBDEV_IO_MAY_UNMAP))) {
			cmd->cdw12 |= NVME_ZEROES_DEAC;
		}
		break;
	default:
		cmd->opcode = NVME_CMD_FLUSH;
		break;
	}
}

/* ---- completion ---- */

/* The kernel's own answers are negative: what it has called back itself, for a reset or because the
 * command took too long, is -EINTR. */
static bool is_retryable(int32_t result)
{
	return result < 0 ? result == -EINTR || result == -EAGAIN || result == -ENOMEM
			  : xbdev__nvme_is_retryable((uint32_t)result);
}

static void on_retry_timer(struct xr_timer *timer)
{
	struct xbdev__nvme_channel *nch = xu_container_of(timer, struct xbdev__nvme_channel, timer);
	struct xu_list *node;

	while ((node = xu_list_pop(&nch->waiting)) != NULL) {
		struct nvme_io *nio = xu_list_entry(node, struct nvme_io, link);

		nio->is_waiting = false;
		xr_cmd_submit(io_of(nio)->ch->reactor, &nio->cmd);
	}
}

static void try_later(struct nvme_io *nio)
{
	struct xbdev_channel *ch = io_of(nio)->ch;
	struct xbdev__nvme_channel *nch = channel_of(ch);

	nio->nr_retries++;
	nio->is_waiting = true;
	xu_list_add_tail(&nch->waiting, &nio->link);
	if (!xr_timer_is_running(&nch->timer)) {
		xr_timer_start(ch->reactor, &nch->timer, RETRY_NS);
	}
}

static void on_done(struct xr_cmd *cmd, int32_t result, uint64_t extra)
{
	struct nvme_io *nio = xu_container_of(cmd, struct nvme_io, cmd);
	struct xbdev_io *io = io_of(nio);

	(void)extra;
	if (nio->is_hint) {
		nio->is_hint = false; /* whatever became of it */
		xr_cmd_submit(io->ch->reactor, &nio->cmd);
		return;
	}
	if (result != 0 && !io->ch->is_removed && is_retryable(result)) {
		if (io->is_cancelled) {
			xbdev_io_complete(io, -ECANCELED);
			return;
		}
		if (nio->nr_retries < MAX_RETRIES) {
			try_later(nio);
			return;
		}
	}
	if (result > 0) {
		result = xbdev__nvme_errno((uint32_t)result);
	} else if (result == -EINTR) {
		result = -EIO; /* not the caller's signal */
	}
	if (result != 0 && result != -EBADE) {
		nio->pt->on_error(nio->pt, result);
	}
	xbdev_io_complete(io, result);
}

/* ---- the device's operations ---- */

void xbdev__nvme_pt_submit(struct xbdev__nvme_pt *pt, struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct nvme_io *nio = xbdev_io_driver(io, struct nvme_io);

	if (io->op == XBDEV_OP_FLUSH && !pt->features.has_cache) {
		xbdev_io_complete_later(io, 0);
		return;
	}
	nio->pt = pt;
	nio->nr_retries = 0;
	nio->is_waiting = false;
	nio->is_hint = io->op == XBDEV_OP_DISCARD && !pt->features.has_deac && pt->features.has_dsm;
	nio->cmd = (struct xr_cmd){
		.fill = fill,
		.cb = on_done,
		.fd = pt->fd,
		.cmd_op =
			has_data(io) && io->nr_iov > 1 ? NVME_URING_CMD_IO_VEC : NVME_URING_CMD_IO,
	};
	xr_cmd_submit(ch->reactor, &nio->cmd);
}

/* What the controller has cannot be called back; what waits for another try can. */
void xbdev__nvme_pt_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct nvme_io *nio = xbdev_io_driver(io, struct nvme_io);

	(void)ch;
	if (nio->is_waiting) {
		nio->is_waiting = false;
		xu_list_del(&nio->link);
		xbdev_io_complete_later(io, -ECANCELED);
	}
}

int xbdev__nvme_pt_channel_open(struct xbdev_channel *ch)
{
	struct xbdev__nvme_channel *nch = channel_of(ch);

	xu_list_init(&nch->waiting);
	nch->timer.fn = on_retry_timer;
	return xr_cmd_prepare(ch->reactor);
}

void xbdev__nvme_pt_channel_close(struct xbdev_channel *ch)
{
	xr_timer_stop(ch->reactor, &channel_of(ch)->timer);
}

void xbdev__nvme_pt_channel_abort(struct xbdev_channel *ch)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&channel_of(ch)->waiting)) != NULL) {
		struct nvme_io *nio = xu_list_entry(node, struct nvme_io, link);

		nio->is_waiting = false;
		xbdev_io_complete_later(io_of(nio), -ENODEV);
	}
}

/* ---- what the device can ---- */

/* The largest transfer that the kernel takes whatever the buffers: each page of it may be a segment
 * of its own, and each buffer may touch a page more than its length needs. */
static uint32_t max_transfer(const struct xbdev__nvme_disk *disk, uint32_t max_iov)
{
	uint64_t bytes = disk->max_segments > 2 * max_iov
				 ? (uint64_t)(disk->max_segments - max_iov) * PAGE_BYTES
				 : PAGE_BYTES;

	bytes = bytes < disk->max_transfer ? bytes : disk->max_transfer;
	bytes = bytes < MAX_TRANSFER ? bytes : MAX_TRANSFER;
	bytes = bytes > PAGE_BYTES ? bytes : PAGE_BYTES;
	while ((bytes & (bytes - 1)) != 0) {
		bytes &= bytes - 1; /* down to a power of two */
	}
	return (uint32_t)bytes;
}

void xbdev__nvme_pt_fill(const struct xbdev__nvme_pt *pt, const struct xbdev__nvme_disk *disk,
	struct xbdev_device *dev)
{
	const struct xbdev__nvme_features *features = &pt->features;
	uint64_t max_zeroes = (uint64_t)NVME_MAX_BLOCKS << pt->block_shift;

	if (disk->max_write_zeroes >= features->block_size && disk->max_write_zeroes < max_zeroes) {
		max_zeroes = disk->max_write_zeroes & ~(uint64_t)(features->block_size - 1);
	}
	dev->limits = (struct xbdev_limits){
		.block_size = features->block_size,
		.buf_align = 4, /* dwords */
		.max_iov = disk->max_segments >= 64 ? disk->max_segments / 4 : 1,
		.max_zeroes = max_zeroes,
		.optimal_io = disk->optimal_io,
		.discard_granularity = disk->discard_granularity > features->block_size
					       ? disk->discard_granularity
					       : features->block_size,
		.queue_depth = disk->nr_requests,
	};
	dev->limits.max_transfer = max_transfer(disk, dev->limits.max_iov);
	dev->ops_mask = (1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) | (1u << XBDEV_OP_FLUSH);
	if (features->has_compare) {
		dev->ops_mask |= 1u << XBDEV_OP_COMPARE;
	}
	if (features->has_zeroes) {
		dev->ops_mask |= (1u << XBDEV_OP_DISCARD) | (1u << XBDEV_OP_WRITE_ZEROES);
	}
	dev->has_fua = true;
	dev->has_write_cache = features->has_cache;
}

/* ---- the probe ---- */

static void fill_probe(struct xr_cmd *xcmd, void *payload)
{
	struct xbdev__nvme_probe *probe = xu_container_of(xcmd, struct xbdev__nvme_probe, cmd);
	struct nvme_uring_cmd *cmd = payload;

	cmd->opcode = NVME_CMD_READ;
	cmd->nsid = probe->pt->nsid;
	cmd->addr = (uintptr_t)probe->buf;
	cmd->data_len = probe->pt->features.block_size;
}

static void on_probed(struct xr_cmd *cmd, int32_t result, uint64_t extra)
{
	struct xbdev__nvme_probe *probe = xu_container_of(cmd, struct xbdev__nvme_probe, cmd);

	(void)extra;
	free(probe->buf);
	/* A bad first block is no reason against the way. */
	probe->done(probe, result < 0 ? result
			   : result == 0 || NVME_STATUS_CODE(result) == 0x281
				   ? 0
				   : xbdev__nvme_errno((uint32_t)result));
}

int xbdev__nvme_probe(struct xr_reactor *reactor, struct xbdev__nvme_probe *probe)
{
	int rc = xr_cmd_prepare(reactor);

	if (rc != 0) {
		return rc;
	}
	probe->buf = aligned_alloc(PAGE_BYTES, probe->pt->features.block_size > PAGE_BYTES
						       ? probe->pt->features.block_size
						       : PAGE_BYTES);
	if (probe->buf == NULL) {
		return -ENOMEM;
	}
	probe->cmd = (struct xr_cmd){
		.fill = fill_probe,
		.cb = on_probed,
		.fd = probe->pt->fd,
		.cmd_op = NVME_URING_CMD_IO,
	};
	xr_cmd_submit(reactor, &probe->cmd);
	return 0;
}
