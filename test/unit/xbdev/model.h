/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random I/O against a flat array. Ranges in flight never overlap, so every read, compare and flush
 * has one right answer, which is checked, with the bytes around the buffers' segments. It runs on
 * the channel's reactor by its own completions; whatever is wrong aborts the program.
 */
#ifndef TEST_XBDEV_MODEL_H
#define TEST_XBDEV_MODEL_H

#include "lib/util/random.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xbdev/probe.h"

#define MODEL_MAX_SLOTS 48u
#define MODEL_MAX_IOV   40u

struct model_opts {
	struct xbdev_channel *ch;
	uint64_t seed;
	uint64_t offset; /* of the region that is this model's, zeroes at first */
	uint64_t len;
	uint64_t max_io_bytes;
	uint32_t nr_ios;
	uint32_t nr_slots;         /* I/Os in flight */
	const struct probe *probe; /* the device, to look at what is durable; or NULL */
	bool is_aligned;           /* buffers of 4 KiB alignment in one segment only */
	bool may_be_removed;       /* -ENODEV ends the run well */
};

struct model_slot {
	struct xbdev_io io;
	struct model *model;
	bool is_busy;
	bool must_differ; /* a COMPARE that is to fail */
	uint64_t start_event;
	char *arena;  /* the segments lie in it at random, with gaps */
	char *wanted; /* what the arena must hold at the end */
	size_t arena_bytes;
	struct iovec iov[MODEL_MAX_IOV];
};

struct model {
	struct model_opts opts;
	struct xu_random random;
	uint32_t block_size;
	char *flat;
	uint64_t *block_start; /* event of the last write's submission, by block */
	uint64_t *block_done;  /* and of its end */
	uint64_t nr_events;
	uint32_t nr_submitted, nr_inflight;
	uint32_t nr_ops[XBDEV_NR_OPS];
	bool is_gone;
	struct xr_msg msg;
	_Atomic bool is_done;
	struct model_slot slots[MODEL_MAX_SLOTS];
};

/* Prepares a run; model_start() sends it to the channel's reactor, from any thread. When is_done,
 * nothing is in flight. */
struct model *model_new(const struct model_opts *opts);
void model_start(struct model *model);
void model_free(struct model *model);

/* All of it, on a polled reactor; and reads the whole region at the end. */
void model_run(struct harness *h, const struct model_opts *opts);

#endif
