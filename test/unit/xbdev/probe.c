/* SPDX-License-Identifier: BSD-3-Clause */
/* See probe.h. What the core must not do aborts the program, since it may happen in any thread. */
#include "test/unit/xbdev/probe.h"

#define SHUFFLE_KEEP 6u
#define SHUFFLE_NS   (5 * XU_NS_PER_US)
#define GIVEN        0x67697665u
#define PAGE_BYTES   4096u

struct probe_channel {
	uint32_t nr_inflight;
	bool is_aborted;
};

struct probe_io {
	struct xbdev_channel *ch;
	struct xu_list link;
	uint64_t given; /* GIVEN while the driver has it */
};

static struct probe *probe_of(const struct xbdev_device *dev)
{
	return xu_container_of(dev, struct probe, dev);
}

static void check_data(const struct probe *probe, const struct xbdev_io *io)
{
	const struct xbdev_limits *l = &probe->dev.limits;
	uint64_t total = 0;

	MUST(io->len <= l->max_transfer);
	MUST(io->nr_iov >= 1 && io->nr_iov <= l->max_iov);
	for (uint32_t i = 0; i < io->nr_iov; i++) {
		MUST(((uintptr_t)io->iov[i].iov_base & (l->buf_align - 1)) == 0);
		total += io->iov[i].iov_len;
	}
	MUST(total == io->len);
}

/* The core's side of the contract. */
static void check(const struct probe *probe, struct xbdev_channel *ch, const struct xbdev_io *io)
{
	const struct xbdev_device *dev = &probe->dev;
	const struct probe_channel *pch = ch->driver;

	MUST(!pch->is_aborted);
	MUST(dev->is_multi_reactor || ch->reactor == dev->owner);
	MUST(io->op < XBDEV_NR_OPS && (dev->ops_mask & (1u << io->op)));
	MUST(io->offset % dev->limits.block_size == 0 && io->len % dev->limits.block_size == 0);
	MUST(io->offset + io->len <= probe->size_bytes);
	MUST(!(io->flags & XBDEV_IO_FUA) || (dev->has_fua && io->op == XBDEV_OP_WRITE));
	MUST(!(io->flags & XBDEV_IO_MAY_UNMAP) || io->op == XBDEV_OP_WRITE_ZEROES);
	MUST((io->len == 0) == (io->op == XBDEV_OP_FLUSH));
	switch (io->op) {
	case XBDEV_OP_READ:
	case XBDEV_OP_WRITE:
	case XBDEV_OP_COMPARE:
		check_data(probe, io);
		break;
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		MUST(io->len <= dev->limits.max_zeroes);
		break;
	default:
		break;
	}
}

/* ---- content ---- */

static uint64_t nr_pages(const struct probe *probe)
{
	return (probe->size_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
}

static void note_change(struct probe *probe, const struct xbdev_io *io)
{
	for (uint64_t page = io->offset / PAGE_BYTES;
		io->len > 0 && page <= (io->offset + io->len - 1) / PAGE_BYTES; page++) {
		probe->changed[page / 64] |= UINT64_C(1) << page % 64;
	}
}

/* Makes all of it durable. A whole copy for each flush would be most of what tests do. */
static void keep(struct probe *probe)
{
	for (uint64_t word = 0; word <= nr_pages(probe) / 64; word++) {
		for (uint64_t bits = probe->changed[word]; bits != 0; bits &= bits - 1) {
			uint64_t at = (word * 64 + (uint32_t)__builtin_ctzll(bits)) * PAGE_BYTES;
			uint64_t left = probe->size_bytes - at;

			memcpy(probe->durable + at, probe->memory + at,
				left < PAGE_BYTES ? left : PAGE_BYTES);
		}
		probe->changed[word] = 0;
	}
}

static int transfer(struct probe *probe, const struct xbdev_io *io)
{
	char *at = probe->memory + io->offset;
	int status = 0;

	if (io->op == XBDEV_OP_WRITE) {
		note_change(probe, io);
	}
	for (uint32_t i = 0; i < io->nr_iov; i++) {
		const struct iovec *iov = &io->iov[i];

		if (io->op == XBDEV_OP_READ) {
			memcpy(iov->iov_base, at, iov->iov_len);
		} else if (io->op == XBDEV_OP_WRITE) {
			memcpy(at, iov->iov_base, iov->iov_len);
		} else if (memcmp(at, iov->iov_base, iov->iov_len) != 0) {
			status = -EBADE;
		}
		at += iov->iov_len;
	}
	if (io->flags & XBDEV_IO_FUA) {
		memcpy(probe->durable + io->offset, probe->memory + io->offset, io->len);
	}
	return status;
}

static int carry_out(struct probe *probe, const struct xbdev_io *io)
{
	if (probe->status[io->op] != 0) {
		return probe->status[io->op];
	}
	switch (io->op) {
	case XBDEV_OP_FLUSH:
		return 0;
	case XBDEV_OP_DISCARD:
	case XBDEV_OP_WRITE_ZEROES:
		note_change(probe, io);
		memset(probe->memory + io->offset, 0, io->len);
		return 0;
	default:
		return transfer(probe, io);
	}
}

static struct xbdev_io *take(struct probe *probe, struct probe_io *pio)
{
	struct probe_channel *pch = pio->ch->driver;

	xu_list_del(&pio->link);
	pch->nr_inflight--;
	probe->nr_inflight--;
	return xbdev_io_of_driver(pio);
}

uint32_t probe_nr_held(const struct probe *probe)
{
	const struct xu_list *node;
	uint32_t count = 0;

	xu_list_for_each (node, &probe->held) {
		count++;
	}
	return count;
}

bool probe_end_one(struct probe *probe, uint32_t index, int status)
{
	struct xu_list *node;

	xu_list_for_each (node, &probe->held) {
		if (index-- == 0) {
			struct probe_io *pio = xu_list_entry(node, struct probe_io, link);
			struct xbdev_io *io = take(probe, pio);

			pio->given = 0;
			xbdev_io_complete(io, status != 0 ? status : carry_out(probe, io));
			return true;
		}
	}
	return false;
}

void probe_end_all(struct probe *probe, int status)
{
	while (probe_end_one(probe, 0, status)) {
	}
}

static void on_timer(struct xr_timer *timer)
{
	struct probe *probe = xu_container_of(timer, struct probe, timer);
	uint32_t nr_held = probe_nr_held(probe);

	if (nr_held != 0) {
		probe_end_one(probe, (uint32_t)xu_random_below(&probe->random, nr_held), 0);
	}
	if (!xu_list_is_empty(&probe->held) && !xr_timer_is_running(timer)) {
		xr_timer_start(probe->dev.owner, timer, SHUFFLE_NS);
	}
}

static void shuffle(struct probe *probe)
{
	if (!xr_timer_is_running(&probe->timer)) {
		probe->timer.fn = on_timer;
		xr_timer_start(probe->dev.owner, &probe->timer,
			probe_nr_held(probe) > SHUFFLE_KEEP ? 1 : SHUFFLE_NS);
	}
}

static void probe_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct probe *probe = probe_of(ch->dev);
	struct probe_channel *pch = ch->driver;
	struct probe_io *pio = xbdev_io_driver(io, struct probe_io);

	check(probe, ch, io);
	if (probe->nr_log < PROBE_LOG_SIZE) {
		probe->log[probe->nr_log++] = (struct probe_entry){
			.op = io->op,
			.flags = io->flags,
			.offset = io->offset,
			.len = io->len,
			.nr_iov = io->nr_iov,
		};
	}
	probe->nr_ops[io->op]++;
	if (io->op == XBDEV_OP_FLUSH) {
		/* What has been completed before the flush came is what it is for. */
		keep(probe);
	}
	pio->ch = ch;
	pio->given = GIVEN;
	xu_list_init(&pio->link);
	if (probe->mode == PROBE_AT_ONCE) {
		xbdev_io_complete_later(io, carry_out(probe, io));
		return;
	}
	probe->nr_inflight++;
	pch->nr_inflight++;
	if (pch->nr_inflight > probe->nr_inflight_max) {
		probe->nr_inflight_max = pch->nr_inflight;
	}
	MUST(pch->nr_inflight <= probe->dev.limits.queue_depth);
	xu_list_add_tail(&probe->held, &pio->link);
	if (probe->mode == PROBE_SHUFFLE) {
		shuffle(probe);
	}
}

static int probe_channel_open(struct xbdev_channel *ch)
{
	struct probe *probe = probe_of(ch->dev);

	if (probe->open_error != 0) {
		return probe->open_error;
	}
	probe->nr_open++;
	return 0;
}

static void probe_channel_close(struct xbdev_channel *ch)
{
	struct probe_channel *pch = ch->driver;

	MUST(pch->nr_inflight == 0);
	probe_of(ch->dev)->nr_open--;
}

static void probe_channel_abort(struct xbdev_channel *ch)
{
	struct probe *probe = probe_of(ch->dev);
	struct probe_channel *pch = ch->driver;
	struct xu_list *node, *next;

	probe->nr_aborts++;
	pch->is_aborted = true;
	if (probe->holds_aborted) {
		return;
	}
	xu_list_for_each_safe (node, next, &probe->held) {
		struct probe_io *pio = xu_list_entry(node, struct probe_io, link);

		if (pio->ch == ch) {
			xbdev_io_complete_later(take(probe, pio), -ENODEV);
		}
	}
	if (xu_list_is_empty(&probe->held)) {
		xr_timer_stop(probe->dev.owner, &probe->timer);
	}
}

/* Only of what it was given and has not taken into the hand to complete it. */
static void probe_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct probe *probe = probe_of(ch->dev);
	struct probe_io *pio = xbdev_io_driver(io, struct probe_io);

	probe->nr_cancels++;
	MUST(pio->given == GIVEN && pio->ch == ch);
	if (probe->gives_up && xu_list_is_linked(&pio->link)) {
		xbdev_io_complete_later(take(probe, pio), -ECANCELED);
	}
}

static void probe_free(struct probe *probe)
{
	free(probe->memory);
	free(probe->durable);
	free(probe->changed);
	free(probe);
}

static void probe_destroy(struct xbdev_device *dev)
{
	struct probe *probe = probe_of(dev);

	MUST(probe->nr_open == 0 && probe->nr_inflight == 0);
	MUST(!xr_timer_is_running(&probe->timer));
	if (probe->ret_destroyed != NULL) {
		*probe->ret_destroyed = true;
	}
	probe_free(probe);
}

static const struct xbdev_device_ops probe_ops = {
	.channel_bytes = sizeof(struct probe_channel),
	.channel_open = probe_channel_open,
	.channel_close = probe_channel_close,
	.channel_abort = probe_channel_abort,
	.cancel = probe_cancel,
	.submit = probe_submit,
	.destroy = probe_destroy,
};

static void set_limits(struct xbdev_limits *l, const struct xbdev_limits *from)
{
	*l = *from;
	l->block_size = l->block_size != 0 ? l->block_size : 512;
	l->buf_align = l->buf_align != 0 ? l->buf_align : 1;
	l->max_transfer = l->max_transfer != 0 ? l->max_transfer : 64u << 10;
	l->max_iov = l->max_iov != 0 ? l->max_iov : 16;
	l->max_zeroes = l->max_zeroes != 0 ? l->max_zeroes : 128u << 10;
	l->discard_granularity = l->block_size;
	l->queue_depth = l->queue_depth != 0 ? l->queue_depth : 8;
}

struct probe *probe_try_new(
	struct harness *h, const struct probe_opts *opts, struct xu_error *ret_err)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	assert_non_null(probe);
	set_limits(&probe->dev.limits, &opts->limits);
	probe->mode = opts->mode;
	probe->holds_aborted = opts->holds_aborted;
	probe->gives_up = opts->gives_up;
	probe->size_bytes = opts->nr_blocks * probe->dev.limits.block_size;
	probe->memory = calloc(1, probe->size_bytes + 1);
	probe->durable = calloc(1, probe->size_bytes + 1);
	probe->changed = calloc(nr_pages(probe) / 64 + 1, sizeof(probe->changed[0]));
	assert_true(probe->memory != NULL && probe->durable != NULL && probe->changed != NULL);
	xu_list_init(&probe->held);
	xu_random_seed(&probe->random, 1);
	snprintf(probe->dev.name, sizeof(probe->dev.name), "%s",
		opts->name != NULL ? opts->name : "probe");
	probe->dev.driver = "probe";
	probe->dev.product = "probe";
	probe->dev.ops = &probe_ops;
	probe->dev.ops_mask = opts->ops_mask | (1u << XBDEV_OP_READ) | (1u << XBDEV_OP_WRITE) |
			      (1u << XBDEV_OP_FLUSH);
	probe->dev.has_fua = opts->has_fua;
	probe->dev.is_multi_reactor = opts->is_multi_reactor;
	probe->dev.is_read_only = opts->is_read_only;
	probe->dev.owner = opts->owner;
	probe->dev.numa_node = -1;
	atomic_init(&probe->dev.nr_blocks, opts->nr_blocks);
	*ret_err = (struct xu_error){0};
	if (xbdev_device_register(h->ctx, &probe->dev, ret_err) != 0) {
		probe_free(probe);
		return NULL;
	}
	return probe;
}

struct probe *probe_new(struct harness *h, const struct probe_opts *opts)
{
	struct xu_error err;
	struct probe *probe = probe_try_new(h, opts, &err);

	if (probe == NULL) {
		fail_msg("%s", err.text);
	}
	return probe;
}

void probe_log_reset(struct probe *probe)
{
	probe->nr_log = 0;
	memset(probe->nr_ops, 0, sizeof(probe->nr_ops));
}
