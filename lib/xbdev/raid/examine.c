/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A look at one device's superblock, and its end. Both open the device, read the 4 KiB at sector 8
 * and close it; erasing claims it first, so nobody can begin to use it meanwhile, and writes zeroes
 * in between.
 */
#include "lib/xbdev/raid/examine.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/error.h"

#define CHECKSUM_AT 216u

struct look {
	struct xbdev_ctx *ctx;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
	struct xbdev_io io;
	struct iovec iov;
	bool is_erasing;
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
	xu_buf_free(look->buf, XBDEV_MD_SUPER_BYTES);
	free(look);
}

static void fail_io(struct look *look, int status)
{
	xu_error_set_errno(&look->err, status, "%s the superblock of '%s'",
		look->io.op == XBDEV_OP_READ ? "reading" : "erasing", look->desc->dev->name);
	end(look);
}

static void submit(struct look *look, enum xbdev_op op, void (*cb)(struct xbdev_io *io, int status))
{
	int rc;

	look->iov = (struct iovec){look->buf, XBDEV_MD_SUPER_BYTES};
	look->io = (struct xbdev_io){
		.ch = look->ch,
		.cb = cb,
		.iov = &look->iov,
		.nr_iov = 1,
		.op = (uint8_t)op,
		.flags = op == XBDEV_OP_WRITE ? XBDEV_IO_FUA : 0,
		.offset = XBDEV_MD_SUPER_OFFSET * XBDEV_MD_SECTOR,
		.len = XBDEV_MD_SUPER_BYTES,
	};
	rc = xbdev_io_submit(&look->io);
	if (rc != 0) {
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
		submit(look, XBDEV_OP_WRITE, on_erased);
		return;
	} else if (rc != 0) {
		xu_error_prefix(&look->err, "'%s'", name);
	}
	memcpy(&checksum, look->buf + CHECKSUM_AT, sizeof(checksum));
	look->examined.checksum = le32toh(checksum);
	end(look);
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
	look->buf = xu_buf_alloc(XBDEV_MD_SUPER_BYTES);
	if (look->buf == NULL) {
		xu_error_set_errno(&look->err, -ENOMEM, "looking at '%s'", name);
		end(look);
	} else if (open_device(look, name) != 0) {
		end(look);
	} else {
		submit(look, XBDEV_OP_READ, on_read);
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
