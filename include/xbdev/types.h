/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations and flags of an I/O; part of libxbdev's public interface.
 *
 * The I/O contract, for every call of the library: offsets and lengths are bytes and multiples of
 * the device's block size. An I/O ends with 0 or the full count, or with -errno for the whole of
 * it, never with a part. Any buffer alignment is accepted; memory of xbdev_dma_buffer_alloc() is
 * never copied.
 */
#ifndef XBDEV_TYPES_H
#define XBDEV_TYPES_H

#ifdef __cplusplus
extern "C" {
#endif

enum xbdev_op {
	XBDEV_OP_READ = 0,
	XBDEV_OP_WRITE = 1,
	XBDEV_OP_FLUSH = 2,        /* no range: all writes completed before, of every opener */
	XBDEV_OP_DISCARD = 3,      /* frees space; the range reads as zeroes afterwards */
	XBDEV_OP_WRITE_ZEROES = 4, /* the range reads as zeroes and stays allocated */
	XBDEV_OP_COMPARE = 5,      /* -EBADE when the device holds something else */
	XBDEV_NR_OPS
};

/* For WRITE and WRITE_ZEROES: on stable media before completion. */
#define XBDEV_IO_FUA 0x01u
/* For WRITE_ZEROES: the space may be freed. */
#define XBDEV_IO_MAY_UNMAP 0x02u

#ifdef __cplusplus
}
#endif

#endif
