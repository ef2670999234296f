/* SPDX-License-Identifier: BSD-3-Clause */
/* A look at both ends of one device, one read after the other; see blank.h. */
#include "lib/xbdev/raid/blank.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"

#define END_BYTES (128u << 10)

struct look {
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
	struct xbdev_io io;
	struct iovec iov;
	uint64_t places[2];
	uint32_t next, nr_places;
	struct xu_error err;
	void (*cb)(void *arg, const struct xu_error *err);
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
	look->cb(look->arg, &look->err);
	xu_buf_free(look->buf, END_BYTES);
	free(look);
}

static void read_next(struct look *look);

static void on_read(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);
	const char *name = look->desc->dev->name;
	size_t i = 0;

	if (status != 0) {
		xu_error_set_errno(&look->err, status, "reading '%s'", name);
		end(look);
		return;
	}
	while (i < io->len && look->buf[i] == 0) {
		i++;
	}
	if (i < io->len) {
		xu_error_set(&look->err, -EEXIST,
			"'%s' is not blank: there is something at byte %llu; erase it if nobody "
			"needs it",
			name, (unsigned long long)(io->offset + i));
		end(look);
		return;
	}
	read_next(look);
}

static void read_next(struct look *look)
{
	int rc;

	if (look->next == look->nr_places) {
		end(look);
		return;
	}
	look->io.offset = look->places[look->next++];
	rc = xbdev_io_submit(&look->io);
	if (rc != 0) {
		xu_error_set_errno(&look->err, rc, "reading '%s'", look->desc->dev->name);
		end(look);
	}
}

static int start(struct look *look, struct xbdev_ctx *ctx, const char *name)
{
	uint64_t size, len;
	int rc;

	look->buf = xu_buf_alloc(END_BYTES);
	if (look->buf == NULL) {
		return xu_error_set_errno(&look->err, -ENOMEM, "looking at '%s'", name);
	}
	rc = xbdev_desc_open(ctx, name, false, NULL, NULL, &look->desc, &look->err);
	if (rc != 0) {
		return rc;
	}
	rc = xbdev_channel_get(look->desc, xbdev_ctx_control(ctx), &look->ch);
	if (rc != 0) {
		return xu_error_set_errno(&look->err, rc, "using '%s'", name);
	}
	size = xbdev_device_size_bytes(look->desc->dev);
	len = size < END_BYTES ? size : END_BYTES;
	look->places[1] = size - len;
	look->nr_places = size > len ? 2 : 1;
	look->iov = (struct iovec){look->buf, len};
	look->io = (struct xbdev_io){
		.ch = look->ch,
		.cb = on_read,
		.iov = &look->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.len = len,
	};
	return 0;
}

void xbdev__md_look_blank(struct xbdev_ctx *ctx, const char *name,
	void (*cb)(void *arg, const struct xu_error *err), void *arg)
{
	struct look *look = calloc(1, sizeof(*look));
	struct xu_error err;

	if (look == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "looking at '%s'", name);
		cb(arg, &err);
		return;
	}
	look->cb = cb;
	look->arg = arg;
	if (start(look, ctx, name) != 0) {
		end(look);
	} else {
		read_next(look);
	}
}
