/* SPDX-License-Identifier: BSD-3-Clause */
/* See model.h. */
#include "test/unit/xbdev/model.h"

#define GAP_MAX 64u

static uint64_t below(struct model *m, uint64_t bound)
{
	return xu_random_below(&m->random, bound);
}

/* ---- ranges ---- */

static bool is_free(const struct model *m, uint64_t offset, uint64_t len)
{
	for (uint32_t i = 0; i < m->opts.nr_slots; i++) {
		const struct model_slot *slot = &m->slots[i];

		if (slot->is_busy && offset < slot->io.offset + slot->io.len &&
			slot->io.offset < offset + len) {
			return false;
		}
	}
	return true;
}

static bool choose_range(struct model *m, struct xbdev_io *io)
{
	uint64_t max_blocks = m->opts.max_io_bytes / m->block_size;
	uint64_t nr_blocks = m->opts.len / m->block_size;

	for (uint32_t i = 0; i < 20; i++) {
		/* Short ones are more frequent than long ones. */
		uint64_t count = 1 + below(m, 1 + below(m, max_blocks));
		uint64_t first = below(m, nr_blocks - count + 1);

		io->offset = m->opts.offset + first * m->block_size;
		io->len = count * m->block_size;
		if (is_free(m, io->offset, io->len)) {
			return true;
		}
	}
	return false;
}

static char *flat_at(const struct model *m, const struct xbdev_io *io)
{
	return m->flat + (io->offset - m->opts.offset);
}

static void mark(struct model *m, const struct xbdev_io *io, uint64_t *events)
{
	uint64_t first = (io->offset - m->opts.offset) / m->block_size;

	for (uint64_t i = 0; i < io->len / m->block_size; i++) {
		events[first + i] = m->nr_events;
	}
}

/* ---- buffers ---- */

/* Cuts the I/O's length into segments that lie in the arena with gaps between them. */
static void choose_segments(struct model *m, struct model_slot *slot)
{
	uint32_t max_iov = m->opts.is_aligned ? 1 : 1 + (uint32_t)below(m, MODEL_MAX_IOV);
	uint64_t unit = 1ull << below(m, 13), left = slot->io.len;
	char *at = slot->arena;
	uint32_t nr = 0;

	if (!m->opts.is_aligned && below(m, 3) != 0) {
		at += 1 + below(m, GAP_MAX);
	}
	while (left != 0) {
		uint64_t len = left;

		if (nr + 1 < max_iov) {
			len = below(m, 1 + 2 * left / max_iov) / unit * unit;
			len = len < left ? len : left;
		}
		slot->iov[nr].iov_base = at;
		slot->iov[nr++].iov_len = len;
		at += len;
		if (below(m, 2) == 0) {
			at += unit < GAP_MAX ? below(m, GAP_MAX) / unit * unit : 0;
		}
		left -= len;
	}
	slot->io.iov = slot->iov;
	slot->io.nr_iov = nr;
	MUST(at <= slot->arena + slot->arena_bytes);
}

static void copy_segments(const struct model_slot *slot, char *arena, const char *flat)
{
	for (uint32_t i = 0; i < slot->io.nr_iov; i++) {
		size_t at = (size_t)((char *)slot->iov[i].iov_base - slot->arena);

		memcpy(arena + at, flat, slot->iov[i].iov_len);
		flat += slot->iov[i].iov_len;
	}
}

/* Changes one byte of what is compared. */
static void spoil(struct model *m, struct model_slot *slot)
{
	uint64_t at = below(m, slot->io.len);

	for (uint32_t i = 0; i < slot->io.nr_iov; i++) {
		if (at < slot->iov[i].iov_len) {
			((char *)slot->iov[i].iov_base)[at] ^= (char)(1 + below(m, 255));
			return;
		}
		at -= slot->iov[i].iov_len;
	}
}

static void prepare_data(struct model *m, struct model_slot *slot)
{
	char *flat = flat_at(m, &slot->io);

	choose_segments(m, slot);
	memset(slot->arena, 0x5a, slot->arena_bytes);
	switch (slot->io.op) {
	case XBDEV_OP_WRITE:
		for (uint64_t i = 0; i < slot->io.len; i += sizeof(uint64_t)) {
			uint64_t word = xu_random_u64(&m->random);

			memcpy(flat + i, &word, sizeof(word));
		}
		copy_segments(slot, slot->arena, flat);
		break;
	case XBDEV_OP_COMPARE:
		copy_segments(slot, slot->arena, flat);
		slot->must_differ = below(m, 2) == 0;
		if (slot->must_differ) {
			spoil(m, slot);
		}
		break;
	default:
		break;
	}
	memcpy(slot->wanted, slot->arena, slot->arena_bytes);
	if (slot->io.op == XBDEV_OP_READ) {
		copy_segments(slot, slot->wanted, flat);
	}
}

/* ---- the end of an I/O ---- */

static void check_durable(const struct model *m, const struct xbdev_io *io)
{
	if (m->opts.probe != NULL && (io->flags & XBDEV_IO_FUA)) {
		MUST(memcmp(m->opts.probe->durable + io->offset, flat_at(m, io), io->len) == 0);
	}
}

/* Every block that was written before the flush began, and not again since, is durable. */
static void check_flushed(const struct model *m, const struct model_slot *slot)
{
	if (m->opts.probe == NULL) {
		return;
	}
	for (uint64_t i = 0; i < m->opts.len / m->block_size; i++) {
		if (m->block_start[i] <= m->block_done[i] && m->block_done[i] < slot->start_event) {
			uint64_t at = i * m->block_size;

			MUST(memcmp(m->opts.probe->durable + m->opts.offset + at, m->flat + at,
				     m->block_size) == 0);
		}
	}
}

static void submit_more(struct model *m);

static void on_io(struct xbdev_io *io, int status)
{
	struct model_slot *slot = xu_container_of(io, struct model_slot, io);
	struct model *m = slot->model;
	bool is_data =
		io->op == XBDEV_OP_READ || io->op == XBDEV_OP_WRITE || io->op == XBDEV_OP_COMPARE;

	MUST(slot->is_busy);
	MUST(xr_reactor_current() == io->ch->reactor);
	slot->is_busy = false;
	m->nr_inflight--;
	m->nr_events++;
	if (status == -ENODEV && m->opts.may_be_removed) {
		m->is_gone = true;
	} else {
		MUST(status == (slot->must_differ ? -EBADE : 0));
		MUST(!is_data || memcmp(slot->arena, slot->wanted, slot->arena_bytes) == 0);
		if (io->op == XBDEV_OP_FLUSH) {
			check_flushed(m, slot);
		} else if (io->op != XBDEV_OP_READ && io->op != XBDEV_OP_COMPARE) {
			mark(m, io, m->block_done);
			check_durable(m, io);
		}
	}
	submit_more(m);
}

/* ---- the beginning ---- */

static enum xbdev_op choose_op(struct model *m)
{
	static const enum xbdev_op ops[] = {XBDEV_OP_READ, XBDEV_OP_READ, XBDEV_OP_READ,
		XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_WRITE, XBDEV_OP_COMPARE,
		XBDEV_OP_COMPARE, XBDEV_OP_WRITE_ZEROES, XBDEV_OP_DISCARD, XBDEV_OP_FLUSH};
	enum xbdev_op op = ops[below(m, ARRAY_SIZE(ops))];

	if (op == XBDEV_OP_DISCARD && !(m->opts.ch->dev->ops_mask & (1u << XBDEV_OP_DISCARD))) {
		return XBDEV_OP_WRITE_ZEROES;
	}
	return op;
}

static bool prepare(struct model *m, struct model_slot *slot)
{
	struct xbdev_io *io = &slot->io;

	slot->must_differ = false;
	memset(io, 0xa5, sizeof(*io));
	io->ch = m->opts.ch;
	io->cb = on_io;
	io->op = (uint8_t)choose_op(m);
	io->flags = 0;
	io->nr_iov = 0;
	io->offset = 0;
	io->len = 0;
	if (io->op == XBDEV_OP_FLUSH) {
		return true;
	}
	if (!choose_range(m, io)) {
		return false;
	}
	if (io->op == XBDEV_OP_WRITE || io->op == XBDEV_OP_WRITE_ZEROES) {
		io->flags = below(m, 4) == 0 ? XBDEV_IO_FUA : 0;
	}
	if (io->op == XBDEV_OP_WRITE_ZEROES || io->op == XBDEV_OP_DISCARD) {
		io->flags |= io->op == XBDEV_OP_WRITE_ZEROES && below(m, 2) == 0
				     ? XBDEV_IO_MAY_UNMAP
				     : 0;
		memset(flat_at(m, io), 0, io->len);
	} else {
		prepare_data(m, slot);
	}
	return true;
}

static void submit(struct model *m, struct model_slot *slot)
{
	int rc;

	m->nr_events++;
	slot->start_event = m->nr_events;
	if (slot->io.op != XBDEV_OP_FLUSH && slot->io.op != XBDEV_OP_READ &&
		slot->io.op != XBDEV_OP_COMPARE) {
		mark(m, &slot->io, m->block_start);
	}
	slot->is_busy = true;
	m->nr_inflight++;
	m->nr_submitted++;
	m->nr_ops[slot->io.op]++;
	rc = xbdev_io_submit(&slot->io);
	MUST(slot->is_busy); /* never called back from within submit */
	if (rc != 0) {
		MUST(rc == -ENODEV && m->opts.may_be_removed);
		slot->is_busy = false;
		m->nr_inflight--;
		m->is_gone = true;
	}
}

static void submit_more(struct model *m)
{
	for (uint32_t i = 0; i < m->opts.nr_slots; i++) {
		struct model_slot *slot = &m->slots[i];

		if (m->is_gone || m->nr_submitted == m->opts.nr_ios) {
			break;
		}
		/* Now and then the queue runs low. */
		if (!slot->is_busy && (m->nr_inflight == 0 || below(m, 8) != 0) &&
			prepare(m, slot)) {
			submit(m, slot);
		}
	}
	if (m->nr_inflight == 0 && (m->is_gone || m->nr_submitted == m->opts.nr_ios)) {
		atomic_store(&m->is_done, true);
	}
}

static void on_start(struct xr_msg *msg)
{
	submit_more(xu_container_of(msg, struct model, msg));
}

void model_start(struct model *m)
{
	m->msg.fn = on_start;
	xr_msg_send(m->opts.ch->reactor, &m->msg);
}

struct model *model_new(const struct model_opts *opts)
{
	struct model *m = calloc(1, sizeof(*m));

	MUST(m != NULL && opts->nr_slots <= MODEL_MAX_SLOTS);
	m->opts = *opts;
	m->block_size = opts->ch->dev->limits.block_size;
	m->flat = calloc(1, opts->len);
	m->block_start = calloc(opts->len / m->block_size, sizeof(*m->block_start));
	m->block_done = calloc(opts->len / m->block_size, sizeof(*m->block_done));
	MUST(m->flat != NULL && m->block_start != NULL && m->block_done != NULL);
	xu_random_seed(&m->random, opts->seed);
	for (uint32_t i = 0; i < opts->nr_slots; i++) {
		struct model_slot *slot = &m->slots[i];

		slot->model = m;
		slot->arena_bytes = opts->max_io_bytes + (MODEL_MAX_IOV + 2) * GAP_MAX;
		slot->arena_bytes = (slot->arena_bytes + 4095) / 4096 * 4096;
		slot->arena = aligned_alloc(4096, slot->arena_bytes);
		slot->wanted = malloc(slot->arena_bytes);
		MUST(slot->arena != NULL && slot->wanted != NULL);
	}
	return m;
}

void model_free(struct model *m)
{
	for (uint32_t i = 0; i < m->opts.nr_slots; i++) {
		free(m->slots[i].arena);
		free(m->slots[i].wanted);
	}
	free(m->flat);
	free(m->block_start);
	free(m->block_done);
	free(m);
}

void model_run(struct harness *h, const struct model_opts *opts)
{
	struct model *m = model_new(opts);
	char *all = malloc(opts->len);

	assert_non_null(all);
	model_start(m);
	harness_wait(h, atomic_load(&m->is_done));
	for (uint64_t at = 0; at < opts->len; at += opts->max_io_bytes) {
		uint64_t len =
			opts->len - at < opts->max_io_bytes ? opts->len - at : opts->max_io_bytes;

		assert_int_equal(
			harness_io(h, opts->ch, XBDEV_OP_READ, opts->offset + at, all + at, len, 0),
			0);
	}
	assert_memory_equal(all, m->flat, opts->len);
	free(all);
	model_free(m);
}
