/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in memory for the tests of lib/xbdev/lvol: it has a volatile cache, writes down what is
 * written and flushed, can fail its n-th I/O, and gives the content that a loss of power at any
 * moment may leave.
 */
#ifndef TEST_XBDEV_LVOL_DISK_H
#define TEST_XBDEV_LVOL_DISK_H

#include "lib/util/random.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/lvol/image.h"

struct lvol_record {
	uint64_t offset;
	uint32_t len; /* 0: a flush that has ended */
	uint8_t *bytes;
};

struct lvol_disk {
	struct xbdev_device dev;
	struct lvol_image *image;
	const uint8_t *memory; /* its bytes */
	uint64_t size_bytes;
	struct lvol_image *begin; /* the content when recording began */
	struct lvol_record *log;
	uint32_t nr_log, room_log;
	uint32_t nr_writes; /* I/Os but for reads, since the disk was made */
	uint32_t fail_at;   /* that one of them fails with -EIO; 0: none */
	bool is_sick;       /* and all that follow */
	bool is_tearing;    /* and its first block is written all the same */
};

/* Makes and registers a disk, with a copy of this content (see lvol_image_new()) or zeroes. */
struct lvol_disk *lvol_disk_new(struct harness *h, const char *name, const void *content,
	uint64_t size_bytes, uint32_t block_size);
/* Forgets what was recorded; what is on the disk now is durable. */
void lvol_disk_begin(struct lvol_disk *disk);
/*
 * What may be on the disk when power fails after the first nr_records: all that a flush among them
 * has made durable, and of the rest what chance gives, whole or in pieces of the block size.
 * `random` NULL: all of it. Only to be read; lvol_disk_crash_free() when it is no longer wanted.
 */
const uint8_t *lvol_disk_crash(
	const struct lvol_disk *disk, uint32_t nr_records, struct xu_random *random);
void lvol_disk_crash_free(const uint8_t *content);

/* Sets bytes behind the back of everybody. */
void lvol_disk_fill(struct lvol_disk *disk, uint64_t offset, uint8_t byte, uint64_t len);

#endif
