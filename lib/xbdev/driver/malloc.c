/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The malloc driver: a device in memory, from huge pages when there are any. What a round of the
 * reactor submits is copied in the next one, back to back, so that the memory of the next block is
 * on its way while this one is copied; between the copies nothing else runs. The owner reactor does
 * all copying, so that two I/Os which overlap never mix within a block, without a lock. Its content
 * ends with the process.
 *
 * Pages come when they are written first, so a device costs what is in it. But it promises all of
 * its size, and a promise that cannot be kept ends the process one day: what is larger than all
 * memory, together with the other memory devices of this node, is refused. Less than that may be
 * more than is free at the moment, which is said in the log.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/log.h"
#include "lib/util/memory.h"
#include "lib/xbdev/driver/sized.h"

/* One piece of a large discard, so that it does not hold up the reactor (about 20 us). */
#define ZERO_PIECE_BYTES (256u << 10)
#define PREFETCH_LINES   16u

struct malloc_device {
	struct xbdev_device dev;
	char *memory;
	uint64_t size_bytes;
	bool has_huge_pages; /* set aside for it: they count neither here nor in a group's limit */
};

/* What was submitted in this round, in order. */
struct malloc_channel {
	struct xbdev_io *first, **end;
	struct xr_msg msg;
};

static char *place_of(const struct xbdev_io *io)
{
	return xu_container_of(io->ch->dev, struct malloc_device, dev)->memory + io->offset;
}

static void copy(const struct xbdev_io *io)
{
	char *at = place_of(io);

	switch ((enum xbdev_op)io->op) {
	case XBDEV_OP_READ:
		for (uint32_t i = 0; i < io->nr_iov; i++) {
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
			at += io->iov[i].iov_len;
		}
		break;
	case XBDEV_OP_WRITE:
		for (uint32_t i = 0; i < io->nr_iov; i++) {
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
			at += io->iov[i].iov_len;
		}
		break;
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		memset(at, 0, io->len);
		break;
	default:
		break; /* FLUSH: memory is as stable as it gets */
	}
}

/* Brings the start of the next copy into the cache while this one runs; the hardware follows. */
static void prefetch(const struct xbdev_io *io)
{
	const char *at = place_of(io);

	for (uint32_t i = 0; i < PREFETCH_LINES; i++) {
		__builtin_prefetch(at + i * XU_CACHE_LINE, 0, 3);
	}
}

static void run_batch(struct xr_msg *msg)
{
	struct malloc_channel *mch = xu_container_of(msg, struct malloc_channel, msg);
	struct xbdev_io *first = mch->first;

	mch->first = NULL;
	mch->end = &mch->first;
	for (struct xbdev_io *io = first; io != NULL; io = io->next_io) {
		if (io->next_io != NULL && io->next_io->op <= XBDEV_OP_WRITE) {
			prefetch(io->next_io);
		}
		copy(io);
		io->status = 0;
	}
	xbdev_io_complete_list(first);
}

static void malloc_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct malloc_channel *mch = ch->driver;

	io->next_io = NULL;
	if (mch->first == NULL) {
		xr_msg_defer(ch->reactor, &mch->msg);
	}
	*mch->end = io;
	mch->end = &io->next_io;
}

static int malloc_channel_open(struct xbdev_channel *ch)
{
	struct malloc_channel *mch = ch->driver;

	mch->end = &mch->first;
	mch->msg.fn = run_batch;
	return 0;
}

static void malloc_destroy(struct xbdev_device *dev)
{
	struct malloc_device *mem = xu_container_of(dev, struct malloc_device, dev);

	xu_buf_free(mem->memory, mem->size_bytes);
	free(mem);
}

static const struct xbdev_device_ops malloc_ops = {
	.channel_bytes = sizeof(struct malloc_channel),
	.channel_open = malloc_channel_open,
	.submit = malloc_submit,
	.destroy = malloc_destroy,
	.config = xbdev__sized_config,
};

/* What the memory devices of this node have been promised of ordinary memory. */
static uint64_t promised_bytes(struct xbdev_ctx *ctx)
{
	struct xbdev_device *dev = NULL;
	uint64_t total = 0;

	while ((dev = xbdev_device_next(ctx, dev)) != NULL) {
		if (dev->ops == &malloc_ops) {
			const struct malloc_device *mem =
				xu_container_of(dev, struct malloc_device, dev);

			total += mem->has_huge_pages ? 0 : mem->size_bytes;
		}
	}
	return total;
}

static int refuse(const struct malloc_device *mem, const struct xu_memory *memory,
	uint64_t others_bytes, struct xu_error *err)
{
	char who[XU_MEMORY_GROUP_SIZE + 32] = "this machine", others[64] = "";

	if (memory->group[0] != '\0') {
		snprintf(who, sizeof(who), "control group %s", memory->group);
	}
	if (others_bytes != 0) {
		snprintf(others, sizeof(others), ", other memory devices have %llu of them",
			(unsigned long long)others_bytes);
	}
	return xu_error_set(err, -ENOMEM,
		"device '%.64s' of %llu bytes is larger than memory: %s has %llu bytes%s (%llu are "
		"free now); make it smaller or use a file",
		mem->dev.name, (unsigned long long)mem->size_bytes, who,
		(unsigned long long)memory->limit_bytes, others,
		(unsigned long long)memory->free_bytes);
}

static int check_memory(struct malloc_device *mem, struct xbdev_ctx *ctx, struct xu_error *err)
{
	struct xu_memory memory;
	uint64_t others_bytes;

	if (xu_memory_read("", &memory) != 0) {
		return 0; /* not known here; what there is not, the kernel refuses */
	}
	mem->has_huge_pages = mem->size_bytes <= memory.huge_free_bytes;
	if (mem->has_huge_pages) {
		return 0;
	}
	others_bytes = promised_bytes(ctx);
	if (mem->size_bytes > memory.limit_bytes ||
		others_bytes > memory.limit_bytes - mem->size_bytes) {
		return refuse(mem, &memory, others_bytes, err);
	}
	if (mem->size_bytes > memory.free_bytes) {
		xu_warn(xbdev_ctx_log(ctx),
			"device %s: of its %llu bytes only %llu are free memory now; if it is "
			"filled, other programs or this one run out of memory",
			mem->dev.name, (unsigned long long)mem->size_bytes,
			(unsigned long long)memory.free_bytes);
	}
	return 0;
}

static int malloc_init(struct malloc_device *mem, struct xbdev_ctx *ctx,
	const struct xbdev__sized_opts *opts, struct xu_error *err)
{
	int rc;

	mem->dev.driver = "malloc";
	mem->dev.product = "memory device";
	mem->dev.ops = &malloc_ops;
	mem->dev.limits.max_transfer = 1u << 20;
	mem->dev.limits.max_zeroes = ZERO_PIECE_BYTES;
	rc = xbdev__sized_init(&mem->dev, opts, err);
	mem->size_bytes = rc == 0 ? xbdev_device_size_bytes(&mem->dev) : 0;
	if (mem->size_bytes == 0) {
		return rc; /* 0: registration says why not */
	}
	rc = check_memory(mem, ctx, err);
	if (rc != 0) {
		return rc;
	}
	mem->memory = xu_buf_alloc(mem->size_bytes);
	if (mem->memory == NULL) {
		return xu_error_set(err, -ENOMEM,
			"there are no %llu bytes of memory for device '%s'",
			(unsigned long long)mem->size_bytes, opts->name);
	}
	return 0;
}

static void malloc_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct xbdev__sized_opts *opts = opts_ptr;
	struct malloc_device *mem = calloc(1, sizeof(*mem));
	struct xu_error err = {0};

	if (mem == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making malloc device '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	if (malloc_init(mem, ctx, opts, &err) != 0 ||
		xbdev_device_register(ctx, &mem->dev, &err) != 0) {
		malloc_destroy(&mem->dev);
		mem = NULL;
	}
	done(arg, mem != NULL ? &mem->dev : NULL, &err);
}

static const struct xu_param malloc_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct xbdev__sized_opts, name), .is_required = true,
		.help = "name of the device"},
	{"size", XU_PARAM_SIZE, offsetof(struct xbdev__sized_opts, size), .max = 1ull << 46,
		.help = "size in bytes, or text such as \"64MiB\""},
	{"num_blocks", XU_PARAM_U64, offsetof(struct xbdev__sized_opts, num_blocks),
		.max = 1ull << 34, .help = "size in blocks, instead of size"},
	{"block_size", XU_PARAM_U32, offsetof(struct xbdev__sized_opts, block_size), .min = 512,
		.max = 4096, .help = "512 or 4096 (default 512)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct xbdev__sized_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static const struct xbdev__sized_opts malloc_defaults = {.block_size = 512};

const struct xbdev_driver xbdev__driver_malloc = {
	.name = "malloc",
	.help = "a device in memory; its content ends with the process",
	.params = malloc_params,
	.opts_bytes = sizeof(struct xbdev__sized_opts),
	.defaults = &malloc_defaults,
	.create = malloc_create,
};
