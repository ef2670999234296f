/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copy. Chunk number N uses slot N modulo the depth, so chunks begin and are given back in
 * order; in between, what goes to devices is in flight together. Files and pipes are read and
 * written by this thread, while devices work.
 *
 *   FREE --read--> READING --> READ --write--> WRITING --> DONE --in its turn--> FREE
 *                      \--error--> FAILED <--error--/
 *
 * The first error ends the copy: nothing is started any more, what is in flight is waited for. How
 * far it came is counted in an unbroken row from the start, so the rest can be copied by skipping
 * that much.
 */
#include <errno.h>
#include <inttypes.h>
#include <isa-l/crc.h>
#include <stdlib.h>
#include <string.h>

#include "dd/dd.h"

#define LOOK_US  100000u
#define DRAIN_NS (10 * TOOL_NS_PER_S)
#define MAX_SAID 10u

static void fail(struct dd_copy *copy, struct dd_chunk *chunk)
{
	copy->has_failed = true;
	chunk->state = DD_FAILED;
}

static void say_io(const struct dd_copy *copy, const struct dd_end *end, const char *what,
	const struct dd_chunk *chunk, int error)
{
	if (!copy->has_failed) {
		tool_say("%s %s at %" PRIu64 ": %s", what, end->name, end->base + chunk->offset,
			end->kind == DD_DEVICE ? xbdev_strerror(error) : strerror(-error));
	}
}

/* ---- memory ---- */

bool dd_copy_init(struct dd_copy *copy)
{
	const struct dd_options *o = copy->options;

	copy->chunks = calloc(o->depth, sizeof(*copy->chunks));
	copy->memory = xbdev_dma_buffer_alloc((size_t)o->depth * o->bs);
	if (copy->chunks == NULL || copy->memory == NULL) {
		tool_say("no memory for %u chunks of %u bytes; lower iodepth or bs", o->depth,
			o->bs);
		return false;
	}
	for (uint32_t i = 0; i < o->depth; i++) {
		copy->chunks[i].buf = copy->memory + (size_t)i * o->bs;
		copy->chunks[i].copy = copy;
		copy->chunks[i].req = xbdev_request_alloc();
		if (copy->chunks[i].req == NULL) {
			tool_say("no memory for %u requests", o->depth);
			return false;
		}
	}
	return true;
}

void dd_copy_fini(struct dd_copy *copy)
{
	if (copy->is_stuck) {
		return; /* The library may still write there. */
	}
	for (uint32_t i = 0; copy->chunks != NULL && i < copy->options->depth; i++) {
		xbdev_request_free(copy->chunks[i].req);
	}
	free(copy->chunks);
	free(copy->crcs);
	xbdev_dma_buffer_free(copy->memory);
}

static struct dd_chunk *chunk_of(struct dd_copy *copy, uint64_t number)
{
	return &copy->chunks[number % copy->options->depth];
}

/* ---- I/O of devices ---- */

static void on_read(xbdev_request_t *req, int result, void *arg)
{
	struct dd_chunk *chunk = arg;
	struct dd_copy *copy = chunk->copy;

	copy->nr_in_flight--;
	if (result != (int)chunk->len) {
		say_io(copy, copy->from, "reading", chunk, result < 0 ? result : -EIO);
		fail(copy, chunk);
		return;
	}
	chunk->state = DD_READ;
}

static void submit(struct dd_chunk *chunk, int op, int fd, uint64_t offset, uint32_t len);

static void on_written(xbdev_request_t *req, int result, void *arg)
{
	struct dd_chunk *chunk = arg;
	struct dd_copy *copy = chunk->copy;

	copy->nr_in_flight--;
	if (result == -EOPNOTSUPP && req->op_type == XBDEV_OP_DISCARD) {
		submit(chunk, XBDEV_OP_WRITE_ZEROES, req->fd, req->offset, (uint32_t)req->count);
		return;
	}
	if (result < 0) {
		say_io(copy, copy->to, "writing", chunk, result);
		fail(copy, chunk);
		return;
	}
	chunk->state = DD_DONE;
}

static void submit(struct dd_chunk *chunk, int op, int fd, uint64_t offset, uint32_t len)
{
	struct dd_copy *copy = chunk->copy;
	bool is_read = op == XBDEV_OP_READ;
	xbdev_request_t *req = chunk->req;
	int rc;

	req->op_type = op;
	req->fd = fd;
	req->buf = chunk->buf;
	req->count = len;
	req->offset = offset;
	req->flags = op == XBDEV_OP_WRITE_ZEROES && copy->options->sparse == DD_SPARSE_DISCARD
			     ? XBDEV_IO_MAY_UNMAP
			     : 0;
	req->user_cb = is_read ? on_read : on_written;
	req->user_arg = chunk;
	chunk->state = is_read ? DD_READING : DD_WRITING;
	rc = xbdev_request_submit(req);
	if (rc == 0) {
		copy->nr_in_flight++;
		return;
	}
	say_io(copy, is_read ? copy->from : copy->to, is_read ? "reading" : "writing", chunk, rc);
	fail(copy, chunk);
}

/* ---- reading ---- */

static bool may_read(struct dd_copy *copy)
{
	return !copy->is_at_end && !copy->has_failed && !tool_must_stop() &&
	       chunk_of(copy, copy->next_read)->state == DD_FREE;
}

static void read_file(struct dd_copy *copy, struct dd_chunk *chunk)
{
	int64_t got;

	if (copy->to != NULL && copy->options->sparse != DD_SPARSE_NO &&
		copy->from->kind == DD_FILE && chunk->offset + chunk->len <= copy->from->size &&
		dd_file_is_hole(copy->from, chunk->len, chunk->offset)) {
		chunk->is_zero = true;
		chunk->state = DD_READ;
		return;
	}
	got = dd_file_read(copy->from, chunk->buf, chunk->len, chunk->offset);
	if (got < 0) {
		say_io(copy, copy->from, "reading", chunk, (int)got);
		fail(copy, chunk);
		return;
	}
	if (got < (int64_t)chunk->len && tool_must_stop()) {
		/* The signal came in between: what has come is kept as far as it fills blocks. */
		got -= got % (copy->to != NULL ? copy->to->block_size : 1);
	} else {
		copy->is_at_end |= got < (int64_t)chunk->len;
	}
	chunk->len = (uint32_t)got;
	chunk->state = DD_READ;
}

static void start_read(struct dd_copy *copy)
{
	struct dd_chunk *chunk = chunk_of(copy, copy->next_read);
	uint64_t left;

	chunk->offset = copy->next_read * copy->options->bs;
	left = copy->total != DD_UNKNOWN ? copy->total - chunk->offset : DD_UNKNOWN;
	chunk->len = left < copy->options->bs ? (uint32_t)left : copy->options->bs;
	chunk->is_zero = false;
	copy->is_at_end = left <= copy->options->bs;
	if (chunk->len == 0) {
		return;
	}
	if (copy->from->kind == DD_DEVICE) {
		submit(chunk, XBDEV_OP_READ, copy->from->fd, copy->from->base + chunk->offset,
			chunk->len);
	} else {
		read_file(copy, chunk);
	}
	if (chunk->len == 0) {
		chunk->state = DD_FREE; /* The file has ended just before it. */
		return;
	}
	copy->next_read++;
}

/* ---- checksums ---- */

static bool is_zeroes(const char *buf, uint32_t len)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

static uint32_t crc_of(char *buf, uint32_t len)
{
	return crc32_iscsi((unsigned char *)buf, (int)len, UINT32_MAX);
}

/* Notes what the target will hold. False: out of memory, it was said. */
static bool note_crc(struct dd_copy *copy, struct dd_chunk *chunk)
{
	if (copy->nr_crcs == copy->max_crcs) {
		uint64_t max = copy->max_crcs != 0 ? copy->max_crcs * 2 : 1024;
		uint32_t *crcs = realloc(copy->crcs, max * sizeof(*crcs));

		if (crcs == NULL) {
			tool_say("no memory for the checksums of %" PRIu64
				 " chunks; a larger bs needs fewer",
				max);
			return false;
		}
		copy->crcs = crcs;
		copy->max_crcs = max;
	}
	if (chunk->is_zero) {
		memset(chunk->buf, 0, chunk->out);
	}
	copy->crcs[copy->nr_crcs++] = crc_of(chunk->buf, chunk->out);
	return true;
}

/* What has been read back. */
static void compare(struct dd_copy *copy, struct dd_chunk *chunk, uint64_t number)
{
	chunk->state = DD_DONE;
	if (crc_of(chunk->buf, chunk->len) == copy->crcs[number]) {
		return;
	}
	if (copy->nr_differ++ < MAX_SAID) {
		tool_say("%s: the %u bytes at %" PRIu64 " are not what was written",
			copy->from->name, chunk->len, copy->from->base + chunk->offset);
	}
}

/* ---- writing ---- */

/* A last part that fills no block. False: it was said why not. */
static bool fill_tail(struct dd_copy *copy, struct dd_chunk *chunk)
{
	uint32_t block_size = copy->to->block_size, rest = chunk->len % block_size;
	char block[4096];
	ssize_t rc;

	chunk->out = chunk->len + block_size - rest;
	memset(chunk->buf + chunk->len, 0, block_size - rest);
	if (copy->options->tail == DD_TAIL_KEEP) {
		rc = xbdev_read(copy->to->fd, block, block_size,
			copy->to->base + chunk->offset + chunk->len - rest);
		if (rc < 0) {
			tool_say("reading the last block of %s: %s", copy->to->name,
				xbdev_last_error());
			return false;
		}
		memcpy(chunk->buf + chunk->len, block + rest, block_size - rest);
	}
	if (copy->options->tail == DD_TAIL_REFUSE) {
		/* Whole blocks of it are copied. */
		tool_say(
			"%s ends with %u bytes that fill no block of %u bytes of %s; say tail=zero "
			"or tail=keep to copy them",
			copy->from->name, rest, block_size, copy->to->name);
		copy->has_failed = true;
		chunk->len -= rest;
		chunk->out = chunk->len;
	}
	return true;
}

static void write_device(struct dd_copy *copy, struct dd_chunk *chunk)
{
	uint64_t offset = copy->to->base + chunk->offset;
	uint32_t granularity = copy->to->info.discard_granularity;
	int op = XBDEV_OP_WRITE;

	if (chunk->offset + chunk->out > copy->to->size) {
		tool_say("%s is full: it has %" PRIu64 " bytes behind seek, and %s gives more",
			copy->to->name, copy->to->size, copy->from->name);
		fail(copy, chunk);
		return;
	}
	if (chunk->is_zero) {
		op = copy->options->sparse == DD_SPARSE_DISCARD && granularity != 0 &&
				     offset % granularity == 0 && chunk->out % granularity == 0
			     ? XBDEV_OP_DISCARD
			     : XBDEV_OP_WRITE_ZEROES;
	}
	submit(chunk, op, copy->to->fd, offset, chunk->out);
}

static void write_file(struct dd_copy *copy, struct dd_chunk *chunk)
{
	int rc = chunk->is_zero ? dd_file_zero(copy->to, chunk->out, chunk->offset,
					  copy->options->sparse == DD_SPARSE_DISCARD)
				: dd_file_write(copy->to, chunk->buf, chunk->out, chunk->offset);

	if (rc != 0) {
		say_io(copy, copy->to, "writing", chunk, rc);
		fail(copy, chunk);
		return;
	}
	chunk->state = DD_DONE;
}

static void start_write(struct dd_copy *copy)
{
	uint64_t number = copy->next_write++;
	struct dd_chunk *chunk = chunk_of(copy, number);

	if (copy->to == NULL) {
		compare(copy, chunk, number);
		return;
	}
	chunk->out = chunk->len;
	if (!chunk->is_zero && copy->options->sparse != DD_SPARSE_NO) {
		chunk->is_zero = is_zeroes(chunk->buf, chunk->len);
	}
	if (chunk->len % copy->to->block_size != 0) {
		if (chunk->is_zero) {
			memset(chunk->buf, 0, chunk->len);
			chunk->is_zero = false;
		}
		if (!fill_tail(copy, chunk)) {
			fail(copy, chunk);
			return;
		}
	}
	if (chunk->out == 0) {
		chunk->state = DD_FAILED; /* A tail that was refused. */
	} else if (copy->options->must_verify && !note_crc(copy, chunk)) {
		fail(copy, chunk);
	} else if (copy->to->kind == DD_DEVICE) {
		write_device(copy, chunk);
	} else {
		write_file(copy, chunk);
	}
}

/* ---- the loop ---- */

static bool retire(struct dd_copy *copy)
{
	struct dd_chunk *chunk = chunk_of(copy, copy->next_done);

	if (copy->next_done == copy->next_write || chunk->state != DD_DONE) {
		return false;
	}
	chunk->state = DD_FREE;
	copy->bytes_in += chunk->len;
	copy->bytes_out += chunk->out;
	copy->bytes_zero += chunk->is_zero ? chunk->out : 0;
	copy->next_done++;
	return true;
}

/* Does all that can be done without waiting; returns whether there was anything. */
static bool advance(struct dd_copy *copy)
{
	bool has_advanced = false;

	while (retire(copy)) {
		has_advanced = true;
	}
	while (copy->next_write < copy->next_read && !copy->has_failed &&
		chunk_of(copy, copy->next_write)->state == DD_READ) {
		start_write(copy);
		has_advanced = true;
	}
	if (may_read(copy)) {
		uint64_t before = copy->next_read;

		start_read(copy);
		has_advanced |= copy->next_read != before;
	}
	return has_advanced;
}

void dd_copy_run(struct dd_copy *copy)
{
	uint64_t over_ns = 0;

	copy->start_ns = tool_now_ns();
	for (;;) {
		bool has_advanced = advance(copy);

		if (copy->nr_in_flight != 0) {
			/* Waiting only when there is nothing else to do. */
			xbdev_poll_completions(copy->options->depth, has_advanced ? 0 : LOOK_US);
		} else if (!has_advanced) {
			return;
		}
		dd_tell_progress(copy);
		if (!tool_must_stop() && !copy->has_failed) {
			continue;
		}
		over_ns = over_ns == 0 ? tool_now_ns() : over_ns;
		if (copy->nr_in_flight != 0 && tool_now_ns() - over_ns > DRAIN_NS) {
			tool_say("%u I/Os do not come back", copy->nr_in_flight);
			copy->is_stuck = true;
			return;
		}
	}
}
