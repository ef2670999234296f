/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new store, in this order: the super block of whatever was there is erased; the place of the
 * masks and of all metadata pages is zeroed, so that no old page is found in it later; data is
 * discarded or zeroed if that is wanted; the root of the store's own blob; flush; the super block;
 * flush. Power that fails before the last step leaves no store.
 */
#include "lib/xbdev/lvol/create.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/xbdev/lvol/chain.h"

#define PIECE_BYTES (UINT64_C(256) << 20)
#define PAGE        XBDEV_LVS_PAGE_BYTES
#define BLANK_BYTES (128u << 10) /* of both ends, as lib/xbdev/raid/blank.c looks at them */

struct create {
	struct xbdev_channel *ch;
	const char *device;
	struct xbdev_lvs *store; /* NULL: only erasing */
	enum xbdev_lvs_clear clear;
	void (*made)(void *arg, struct xbdev_lvs *store, const struct xu_error *err);
	void (*erased)(void *arg, const struct xu_error *err);
	void *arg;
	struct xu_error err;
	struct xr_msg msg;
	struct xbdev_io io;
	struct iovec iov;
	char *page;
	uint64_t at, end;
	uint8_t op;
	uint32_t step;
};

static void next_step(struct create *create);

static void end(struct create *create)
{
	if (create->err.code != 0) {
		xu_error_prefix(&create->err, "'%s'", create->device);
		xbdev__lvs_free(create->store);
		create->store = NULL;
	}
	xu_buf_free(create->page, PAGE);
	if (create->made != NULL) {
		create->made(create->arg, create->store, &create->err);
	} else {
		create->erased(create->arg, &create->err);
	}
	free(create);
}

/* ---- I/O ---- */

static void submit(struct create *create, uint8_t op, uint64_t offset, uint64_t len);

static void on_io(struct xbdev_io *io, int status)
{
	struct create *create = xu_container_of(io, struct create, io);

	/* To discard is a hint. */
	if (status != 0 && io->op != XBDEV_OP_DISCARD) {
		xu_error_set_errno(&create->err, status,
			"%s for a store of volumes, %" PRIu64 " bytes at %" PRIu64,
			io->op == XBDEV_OP_FLUSH ? "flushing" : "writing", io->len, io->offset);
		end(create);
		return;
	}
	create->at += io->len;
	if (create->at < create->end) {
		submit(create, io->op, create->at, create->end - create->at);
	} else {
		next_step(create);
	}
}

static void submit(struct create *create, uint8_t op, uint64_t offset, uint64_t len)
{
	bool has_data = op == XBDEV_OP_WRITE;
	int rc;

	create->iov = (struct iovec){create->page, len < PAGE ? len : PAGE};
	create->io = (struct xbdev_io){
		.ch = create->ch,
		.cb = on_io,
		.iov = has_data ? &create->iov : NULL,
		.nr_iov = has_data,
		.op = op,
		.offset = offset,
		.len = len < PIECE_BYTES ? len : PIECE_BYTES,
	};
	rc = xbdev_io_submit(&create->io);
	if (rc != 0) {
		xu_error_set_errno(&create->err, rc, "writing a store of volumes");
		end(create);
	}
}

/* A range, in pieces. */
static void do_range(struct create *create, uint8_t op, uint64_t first, uint64_t last)
{
	create->at = first;
	create->end = last;
	submit(create, op, first, last - first);
}

/* The 4096 bytes in create->page. */
static void write_page(struct create *create, uint64_t offset)
{
	do_range(create, XBDEV_OP_WRITE, offset, offset + PAGE);
}

static void flush(struct create *create)
{
	create->at = create->end = 0;
	submit(create, XBDEV_OP_FLUSH, 0, 0);
}

/* ---- the steps ---- */

static void clear_data(struct create *create, uint64_t first)
{
	const struct xbdev_device *dev = create->ch->dev;
	uint64_t last = create->store->super.size_bytes;
	bool can_discard = (dev->ops_mask & 1u << XBDEV_OP_DISCARD) != 0;

	last -= last % dev->limits.block_size;
	if (first >= last || create->clear == XBDEV_LVS_CLEAR_DEVICE_NONE ||
		(create->clear == XBDEV_LVS_CLEAR_DEVICE_UNMAP && !can_discard)) {
		next_step(create);
		return;
	}
	do_range(create,
		create->clear == XBDEV_LVS_CLEAR_DEVICE_ZEROES ? XBDEV_OP_WRITE_ZEROES
							       : XBDEV_OP_DISCARD,
		first, last);
}

/* The block with the signature goes alone and first: after it there is no store, and before it a
 * whole one. Then what would keep others from taking the device for a blank one. */
static void next_erasing(struct create *create)
{
	uint64_t size = xbdev_device_size_bytes(create->ch->dev);
	uint64_t len = size < BLANK_BYTES ? size : BLANK_BYTES;

	switch (create->step) {
	case 1:
		do_range(create, XBDEV_OP_WRITE, 0, create->ch->dev->limits.block_size);
		break;
	case 2:
	case 5:
		flush(create);
		break;
	case 3:
		do_range(create, XBDEV_OP_WRITE_ZEROES, 0, len);
		break;
	case 4:
		do_range(create, XBDEV_OP_WRITE_ZEROES, size - len, size);
		break;
	default:
		end(create);
		break;
	}
}

static void next_step(struct create *create)
{
	struct xbdev_lvs *store = create->store;
	uint64_t md_end;

	create->step++;
	if (store == NULL) {
		next_erasing(create);
		return;
	}
	md_end = xbdev__lvs_page_at(&store->super, store->super.md_len);
	switch (create->step) {
	case 1:
		write_page(create, 0);
		break;
	case 2:
	case 5:
	case 7:
		flush(create);
		break;
	case 3:
		do_range(create, XBDEV_OP_WRITE_ZEROES, 0, md_end);
		break;
	case 4:
		clear_data(create, md_end);
		break;
	case 6:
		xbdev__lvs_chain_format(store->super_blob, NULL, create->page);
		write_page(create, xbdev__lvs_page_at(&store->super, store->super_blob->root));
		break;
	case 8:
		xbdev__lvs_super_format(&store->super, store->super_bytes);
		memcpy(create->page, store->super_bytes, PAGE);
		write_page(create, 0);
		break;
	case 9:
		flush(create);
		break;
	default:
		end(create);
		break;
	}
}

static void on_start(struct xr_msg *msg)
{
	struct create *create = xu_container_of(msg, struct create, msg);

	if (create->err.code != 0) {
		end(create);
	} else {
		next_step(create);
	}
}

/* ---- the model ---- */

static int make_blob(
	struct xbdev_lvs *store, const struct xbdev_lvs_create_opts *opts, struct xu_error *err)
{
	struct xbdev_lvs_blob *blob = xbdev__lvs_blob_new(store, 0);
	int rc = -ENOMEM;

	if (blob != NULL) {
		store->super_blob = blob;
		rc = xbdev__lvs_blob_set_uuid(blob, &opts->uuid);
	}
	if (rc == 0) {
		rc = xbdev__lvs_blob_set_name(blob, opts->name);
	}
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "making a store");
	}
	xbdev__lvs_bits_set(&store->pages, 0);
	store->super.super_blob = blob->id;
	rc = xbdev__lvs_blob_derive(blob, err);
	memcpy(store->name, blob->name, sizeof(store->name));
	store->uuid = blob->uuid;
	return rc;
}

static int make_store(struct create *create, const struct xbdev_lvs_create_opts *opts)
{
	const struct xbdev_device *dev = create->ch->dev;
	const struct xbdev_lvs_super_opts super_opts = {
		.dev_bytes = xbdev_device_size_bytes(dev),
		.block_size = dev->limits.block_size,
		.cluster_size = opts->cluster_size,
		.md_ratio = opts->md_ratio,
		.page_size = opts->page_size,
	};
	struct xbdev_lvs_super super;
	int rc = xbdev__lvs_check_name(opts->name, &create->err);

	if (rc == 0) {
		rc = xbdev__lvs_super_plan(&super_opts, &super, &create->err);
	}
	if (rc != 0) {
		return rc;
	}
	create->store = xbdev__lvs_new(&super);
	if (create->store == NULL) {
		return xu_error_set_errno(&create->err, -ENOMEM, "making a store");
	}
	create->store->ch = create->ch;
	create->store->reactor = create->ch->reactor;
	create->store->ctx = dev->ctx;
	create->store->device = create->device;
	return make_blob(create->store, opts, &create->err);
}

static struct create *create_new(struct xbdev_channel *ch, const char *device)
{
	struct create *create = calloc(1, sizeof(*create));

	if (create != NULL) {
		create->page = xu_buf_alloc(PAGE);
		if (create->page == NULL) {
			free(create);
			return NULL;
		}
		create->ch = ch;
		create->device = device;
		create->msg.fn = on_start;
	}
	return create;
}

void xbdev__lvs_create(struct xbdev_channel *ch, const char *device,
	const struct xbdev_lvs_create_opts *opts,
	void (*done)(void *arg, struct xbdev_lvs *store, const struct xu_error *err), void *arg)
{
	struct create *create = create_new(ch, device);
	struct xu_error err;

	if (create == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making a store on '%s'", device);
		done(arg, NULL, &err);
		return;
	}
	create->made = done;
	create->arg = arg;
	create->clear = opts->clear;
	make_store(create, opts);
	xr_msg_defer(ch->reactor, &create->msg);
}

void xbdev__lvs_erase_super(struct xbdev_channel *ch, const char *device,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct create *create = create_new(ch, device);
	struct xu_error err;

	if (create == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "erasing the store on '%s'", device);
		done(arg, &err);
		return;
	}
	create->erased = done;
	create->arg = arg;
	xr_msg_defer(ch->reactor, &create->msg);
}
