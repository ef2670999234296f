/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device looks like, for the sentence that refuses it: the places at which stores, arrays,
 * partition tables, volume managers, ciphers and file systems have their signatures. A device in
 * whose first and last 128 KiB there are only zeroes is blank (lib/xbdev/raid/blank.h); only of one
 * that is not the first 128 KiB are read once more and compared with the table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/error.h"
#include "lib/xbdev/lvol/stores_private.h"
#include "lib/xbdev/raid/blank.h"
#include "lib/xbdev/raid/examine.h"

#define LOOK_BYTES (128u << 10)

static const struct {
	const char *what;
	uint32_t at;
	uint32_t len;
	const char *bytes;
} signs[] = {
	{"a store of logical volumes", 0, 8, "SPDKBLOB"},
	{"a GUID partition table", 512, 8, "EFI PART"},
	{"a GUID partition table", 4096, 8, "EFI PART"},
	{"an LVM physical volume", 512, 8, "LABELONE"},
	{"an LVM physical volume", 0, 8, "LABELONE"},
	{"a LUKS volume", 0, 6, "LUKS\xba\xbe"},
	{"an XFS file system", 0, 4, "XFSB"},
	{"an ext2, ext3 or ext4 file system", 1080, 2, "\x53\xef"},
	{"a btrfs file system", 65600, 8, "_BHRfS_M"},
	{"an NTFS file system", 3, 8, "NTFS    "},
	{"an exFAT file system", 3, 8, "EXFAT   "},
	{"a FAT file system", 82, 5, "FAT32"},
	{"a FAT file system", 54, 4, "FAT1"},
	{"swap space", 4086, 10, "SWAPSPACE2"},
	{"a master boot record with partitions", 510, 2, "\x55\xaa"},
};

struct look {
	struct xbdev_ctx *ctx;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
	char *buf;
	struct xbdev_io io;
	struct iovec iov;
	struct xu_error err; /* what is to be said when nothing more is found out */
	void (*cb)(void *arg, const struct xu_error *err);
	void *arg;
	char device[XBDEV_NAME_SIZE];
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
	xu_buf_free(look->buf, LOOK_BYTES);
	free(look);
}

static void refuse(struct look *look, const char *what, const char *name)
{
	xu_error_set(&look->err, -EEXIST,
		"'%s' is not blank: it holds %s%s%s%s; erase it if nobody needs it", look->device,
		what, *name != '\0' ? " '" : "", name, *name != '\0' ? "'" : "");
}

static void on_read(struct xbdev_io *io, int status)
{
	struct look *look = xu_container_of(io, struct look, io);

	for (size_t i = 0; status == 0 && i < sizeof(signs) / sizeof(signs[0]); i++) {
		if (signs[i].at + signs[i].len <= io->len &&
			memcmp(look->buf + signs[i].at, signs[i].bytes, signs[i].len) == 0) {
			refuse(look, signs[i].what, "");
			break;
		}
	}
	end(look);
}

/* Whatever goes wrong here, the device is refused all the same. */
static int read_front(struct look *look)
{
	uint64_t size;
	int rc;

	look->buf = xu_buf_alloc(LOOK_BYTES);
	if (look->buf == NULL) {
		return -ENOMEM;
	}
	rc = xbdev_desc_open(look->ctx, look->device, false, NULL, NULL, &look->desc, NULL);
	if (rc == 0) {
		rc = xbdev_channel_get(look->desc, xbdev_ctx_control(look->ctx), &look->ch);
	}
	if (rc != 0) {
		return rc;
	}
	size = xbdev_device_size_bytes(look->desc->dev);
	look->iov = (struct iovec){look->buf, size < LOOK_BYTES ? size : LOOK_BYTES};
	look->io = (struct xbdev_io){
		.ch = look->ch,
		.cb = on_read,
		.iov = &look->iov,
		.nr_iov = 1,
		.op = XBDEV_OP_READ,
		.len = look->iov.iov_len,
	};
	return xbdev_io_submit(&look->io);
}

static void on_array(
	void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err)
{
	struct look *look = arg;

	if (examined != NULL) {
		refuse(look, "a member of the RAID array", examined->super.set_name);
		end(look);
	} else if (read_front(look) != 0) {
		end(look);
	}
}

static void on_blank(void *arg, const struct xu_error *err)
{
	struct look *look = arg;

	look->err = *err;
	if (err->code == -EEXIST) {
		xbdev__md_examine(look->ctx, look->device, on_array, look);
	} else {
		end(look);
	}
}

void xbdev__lvol_look_blank(struct xbdev_ctx *ctx, const char *device,
	void (*cb)(void *arg, const struct xu_error *err), void *arg)
{
	struct look *look = calloc(1, sizeof(*look));
	struct xu_error err;

	if (look == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "looking at '%s'", device);
		cb(arg, &err);
		return;
	}
	look->ctx = ctx;
	look->cb = cb;
	look->arg = arg;
	snprintf(look->device, sizeof(look->device), "%s", device);
	xbdev__md_look_blank(ctx, device, on_blank, look);
}
