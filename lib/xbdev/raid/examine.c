/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A look at one device's superblock, and its end. Both open the device, read the 4 KiB at sector 8
 * and close it; looking reads the bitmap before that, where there is one; erasing claims the device
 * first, so nobody can begin to use it meanwhile, and writes zeroes. A bitmap that is damaged, or
 * cannot be read, is none: the superblock can be told of all the same.
 */
#include "lib/xbdev/raid/examine.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/error.h"
#include "lib/xbdev/raid/bitmap.h"

#define CHECKSUM_AT 216u

struct look {
	struct xbdev_ctx *ctx;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
	size_t count; /* bytes of it */
	struct xbdev_io io;
	struct iovec iov;
	bool is_erasing, is_bitmap;
	struct xu_error err;
	struct xbdev_md_examined examined;
	void (*looked)(
		void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err);
	void (*erased)(void *arg, const struct xu_error *err);
	void *arg;
};

static void end(struct look *look)
{
	if (look->ch != NULL) {
		xbdev_channel_put(look->ch);
	}
	if (look->desc != NULL) {
		xbdev_desc_close(look->desc);
	}
	if (look->is_erasing) {
		look->erased(look->arg, &look->err);
	} else {
		look->looked(look->arg, look->err.code == 0 ? &look->examined : NULL, &look->err);
	}
	xu_buf_free(look->buf, look->count);
	free(look);
}

static void fail_io(struct look *look, int status)
{
	xu_error_set_errno(&look->err, status, "%s the superblock of '%s'",
		look->io.op == XBDEV_OP_READ ? "reading" : "erasing", look->desc->dev->name);
	end(look);
}

static void submit(struct look *look, enum xbdev_op op, uint64_t sector,
	void (*cb)(struct xbdev_io *io, int status))
{
	int rc;

	look->iov = (struct iovec){look->buf, look->count};
	look->io = (struct xbdev_io){
		.ch = look->ch,
		.cb = cb,
		.iov = &look->iov,
		.nr_iov = 1,
		.op = (uint8_t)op,
		.flags = op == XBDEV_OP_WRITE ? XBDEV_IO_FUA : 0,
		.offset = sector * XBDEV_MD_SECTOR,
		.len = look->count,
	};
	rc = xbdev_io_submit(&look->io);
	if (rc != 0 && look->is_bitmap) {
		end(look);
	} else if (rc != 0) {
		fail_io(look, rc);
	}
}

static void on_erased(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);

	if (status != 0) {
		fail_io(look, status);
	} else {
		end(look);
	}
}

static void on_bitmap_read(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);
	struct xbdev_md_examined *examined = &look->examined;
	const uint8_t *bits = (const uint8_t *)look->buf + XBDEV_MD_BITMAP_HEADER_BYTES;

	if (status == 0 && xbdev__md_bitmap_parse(look->buf, &examined->bitmap, NULL) == 0) {
		examined->nr_bits = xbdev__md_bitmap_nr_bits(&examined->bitmap);
		examined->has_bitmap =
			examined->nr_bits <= (look->count - XBDEV_MD_BITMAP_HEADER_BYTES) * 8;
	}
	for (uint64_t i = 0; i < examined->nr_bits && examined->has_bitmap; i++) {
		examined->nr_dirty += bits[i / 8] >> (i % 8) & 1;
	}
	end(look);
}

/* False: there is none, or no memory for it. */
static bool read_bitmap(struct look *look)
{
	const struct xbdev_md_super *super = &look->examined.super;
	size_t count = xbdev__md_bitmap_bytes(super, look->examined.dev_sectors);
	char *buf = count != 0 ? xu_buf_alloc(count) : NULL;

	if (buf == NULL) {
		return false;
	}
	xu_buf_free(look->buf, look->count);
	look->buf = buf;
	look->count = count;
	look->is_bitmap = true;
	submit(look, XBDEV_OP_READ, xbdev__md_super_place(super->bitmap_offset), on_bitmap_read);
	return true;
}

static void on_read(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);
	const char *name = look->desc->dev->name;
	uint32_t checksum;
	int rc;

	if (status != 0) {
		fail_io(look, status);
		return;
	}
	rc = xbdev__md_super_parse(
		look->buf, look->examined.dev_sectors, &look->examined.super, &look->err);
	if (rc == -ENOENT) {
		xu_error_set(&look->err, rc, "'%s' has no RAID superblock", name);
	} else if (look->is_erasing) {
		look->err = (struct xu_error){0};
		memset(look->buf, 0, XBDEV_MD_SUPER_BYTES);
		submit(look, XBDEV_OP_WRITE, XBDEV_MD_SUPER_OFFSET, on_erased);
		return;
	} else if (rc != 0) {
		xu_error_prefix(&look->err, "'%s'", name);
	}
	memcpy(&checksum, look->buf + CHECKSUM_AT, sizeof(checksum));
	look->examined.checksum = le32toh(checksum);
	if (look->err.code != 0 || !read_bitmap(look)) {
		end(look);
	}
}

static int open_device(struct look *look, const char *name)
{
	struct xbdev_device *dev;
	int rc = xbdev_desc_open(
		look->ctx, name, look->is_erasing, NULL, NULL, &look->desc, &look->err);

	if (rc == 0 && look->is_erasing) {
		rc = xbdev_desc_claim(look->desc, "the erasing of a superblock", &look->err);
	}
	if (rc != 0) {
		return rc;
	}
	dev = look->desc->dev;
	look->examined.dev_sectors = xbdev_device_size_bytes(dev) / XBDEV_MD_SECTOR;
	snprintf(look->examined.by, sizeof(look->examined.by), "%s",
		dev->claim != NULL ? dev->claim_by : "");
	if (look->examined.dev_sectors < XBDEV_MD_SUPER_OFFSET + XBDEV_MD_SUPER_BYTES / 512) {
		return xu_error_set(&look->err, -ENOENT,
			"'%s' has no RAID superblock: it is too small for one", dev->name);
	}
	rc = xbdev_channel_get(look->desc, xbdev_ctx_control(look->ctx), &look->ch);
	return rc == 0 ? 0 : xu_error_set_errno(&look->err, rc, "using '%s'", dev->name);
}

static void start(struct look *look, struct xbdev_ctx *ctx, const char *name)
{
	look->ctx = ctx;
	look->count = XBDEV_MD_SUPER_BYTES;
	look->buf = xu_buf_alloc(look->count);
	if (look->buf == NULL) {
		xu_error_set_errno(&look->err, -ENOMEM, "looking at '%s'", name);
		end(look);
	} else if (open_device(look, name) != 0) {
		end(look);
	} else {
		submit(look, XBDEV_OP_READ, XBDEV_MD_SUPER_OFFSET, on_read);
	}
}

void xbdev__md_examine(struct xbdev_ctx *ctx, const char *name,
	void (*cb)(void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err),
	void *arg)
{
	struct look *look = calloc(1, sizeof(*look));
	struct xu_error err;

	if (look == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "looking at '%s'", name);
		cb(arg, NULL, &err);
		return;
	}
	look->looked = cb;
	look->arg = arg;
	start(look, ctx, name);
}

void xbdev__md_erase(struct xbdev_ctx *ctx, const char *name,
	void (*cb)(void *arg, const struct xu_error *err), void *arg)
{
	struct look *look = calloc(1, sizeof(*look));
	struct xu_error err;

	if (look == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "erasing the superblock of '%s'", name);
		cb(arg, &err);
		return;
	}
	look->is_erasing = true;
	look->erased = cb;
	look->arg = arg;
	start(look, ctx, name);
}
