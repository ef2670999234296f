/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Synchronous I/O of libxbdev: the call returns when the I/O has ended. From any thread, except
 * from a completion callback (-EDEADLK). Errors: -EBADF, -EINVAL (not whole blocks, or past the
 * end), -EROFS, -ENODEV (the device has been removed), -ECANCELED (the descriptor has been closed
 * meanwhile), -EIO, -ENOSPC, -ESHUTDOWN (the library does not run).
 */
#ifndef XBDEV_IO_H
#define XBDEV_IO_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <xbdev/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Read or write `count` bytes at byte `offset`; return `count` or -errno. */
ssize_t xbdev_read(int fd, void *buf, size_t count, uint64_t offset);
ssize_t xbdev_write(int fd, const void *buf, size_t count, uint64_t offset);

/* The same with 1 … 1024 buffers. */
ssize_t xbdev_readv(int fd, const struct iovec *iov, int iovcnt, uint64_t offset);
ssize_t xbdev_writev(int fd, const struct iovec *iov, int iovcnt, uint64_t offset);

/* As xbdev_write() with XBDEV_IO_… flags: XBDEV_IO_FUA makes this one write durable. */
ssize_t xbdev_write_with(int fd, const void *buf, size_t count, uint64_t offset, uint32_t flags);

/* Makes all writes durable that completed before, whoever wrote them. 0 or -errno. */
int xbdev_flush(int fd);
/* Frees the space of a range, which reads as zeroes afterwards. -EOPNOTSUPP. */
int xbdev_discard(int fd, uint64_t offset, uint64_t count);
/* Makes a range read as zeroes; flags XBDEV_IO_FUA, XBDEV_IO_MAY_UNMAP. */
int xbdev_write_zeroes(int fd, uint64_t offset, uint64_t count, uint32_t flags);
/* 0 when the device holds these bytes, -EBADE when not. */
int xbdev_compare(int fd, const void *buf, size_t count, uint64_t offset);

#ifdef __cplusplus
}
#endif

#endif
