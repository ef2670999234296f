/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/driver: devices that are a descriptor, and their I/O through the reactor's
 * ring. */
#ifndef XBDEV_DRIVER_FILE_IO_H
#define XBDEV_DRIVER_FILE_IO_H

#include "lib/reactor/platform.h"
#include "lib/xbdev/core/device.h"

struct xbdev__file {
	struct xbdev_device dev;
	/* The driver's. */
	struct xbdev_ctx *ctx;
	char *path;
	int fd;
	struct xr_file_info info;
	/* Told of every I/O that has failed, on its reactor; NULL: nobody. */
	void (*on_error)(struct xbdev__file *file, int error);

	_Atomic bool can_punch, can_zero;
	_Atomic uint64_t nr_zeroed; /* I/Os for which zeroes were written here */
	_Atomic bool has_lost_writes;

	/* FLUSH through the page cache: the control reactor's, but for the first. */
	bool is_cached;  /* its I/O goes there; set by xbdev__file_fill() */
	bool is_syncing; /* somebody else syncs the file meanwhile */
	bool is_flushed; /* the fdatasync is over, with flush_result */
	int32_t flush_result;
	struct xbdev_io *flushing;      /* share the fdatasync that runs, by next_io */
	struct xbdev_io *flush_waiting; /* will share the next one */
};

/* Finds out what fallocate() can do there; may block. */
void xbdev__file_probe(struct xbdev__file *file, const struct xr_platform *platform);

/* The block size that is set, or that the descriptor asks for. */
uint32_t xbdev__file_block_size(const struct xbdev__file *file);

/* Fills in what the descriptor says of the device: limits (the block size, when it is not set yet),
 * operations, size. */
void xbdev__file_fill(struct xbdev__file *file);

/* As in struct xbdev_device_ops. */
void xbdev__file_submit(struct xbdev_channel *ch, struct xbdev_io *io);
void xbdev__file_cancel(struct xbdev_channel *ch, struct xbdev_io *io);

/* Around a sync of the file by other means, on the control reactor: a FLUSH ends only after it. */
void xbdev__file_sync_begin(struct xbdev__file *file);
void xbdev__file_sync_end(struct xbdev__file *file);

/* The kernel has told that it could not make writes durable, and will not tell again. Any thread.
 */
void xbdev__file_lose_writes(struct xbdev__file *file, int error);

#endif
