/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device whose driver is the test: its limits and abilities are chosen, every I/O that the core
 * gives it is checked against them and logged, and ends when the test says. Its content is in
 * memory; a second copy holds only what has been made durable by a flush or by FUA.
 */
#ifndef TEST_XBDEV_PROBE_H
#define TEST_XBDEV_PROBE_H

#include "lib/util/random.h"
#include "test/unit/xbdev/harness.h"

#define PROBE_LOG_SIZE 4096u

enum probe_mode {
	PROBE_AT_ONCE, /* ends every I/O at once */
	PROBE_HOLD,    /* keeps it until probe_end_one() */
	PROBE_SHUFFLE, /* keeps a few and ends one of them at random, by a timer */
};

struct probe_opts {
	const char *name; /* NULL: "probe" */
	uint64_t nr_blocks;
	struct xbdev_limits limits; /* zeroes: 512-byte blocks, no alignment, 64 KiB transfers,
				       16 segments, 128 KiB of zeroes, depth 8 */
	uint32_t ops_mask;          /* READ, WRITE and FLUSH are added */
	bool has_fua;
	bool is_multi_reactor;
	bool is_read_only;
	struct xr_reactor *owner;
	enum probe_mode mode;
	bool holds_aborted; /* channel_abort does nothing, like a kernel that keeps an I/O */
	bool gives_up;      /* an I/O that is held ends with -ECANCELED when that is asked for */
};

struct probe_entry {
	uint64_t offset;
	uint64_t len;
	uint32_t nr_iov;
	uint8_t op;
	uint8_t flags;
};

struct probe {
	struct xbdev_device dev;
	enum probe_mode mode;
	char *memory;
	char *durable;
	uint64_t *changed; /* a bit for each page that may differ in the two */
	uint64_t size_bytes;
	bool holds_aborted;
	bool gives_up;
	uint32_t nr_cancels;                    /* asked for */
	int open_error;                         /* what channel_open fails with */
	int status[XBDEV_NR_OPS];               /* what I/Os end with */
	uint32_t nr_open, nr_aborts;            /* channels */
	uint32_t nr_inflight;                   /* of all channels */
	uint32_t nr_inflight_max;               /* of one channel */
	uint64_t nr_ops[XBDEV_NR_OPS];          /* submitted */
	struct probe_entry log[PROBE_LOG_SIZE]; /* the first so many of them */
	uint32_t nr_log;
	struct xu_list held;
	struct xr_timer timer;
	struct xu_random random;
	bool *ret_destroyed; /* set when the device is freed, unless NULL */
};

/* Makes and registers the device; NULL with *ret_err filled when the core refuses it. */
struct probe *probe_try_new(
	struct harness *h, const struct probe_opts *opts, struct xu_error *ret_err);
struct probe *probe_new(struct harness *h, const struct probe_opts *opts);

/* Ends the I/O held longest (or the n-th of those that are held); false when there is none. */
bool probe_end_one(struct probe *probe, uint32_t index, int status);
uint32_t probe_nr_held(const struct probe *probe);
void probe_end_all(struct probe *probe, int status);
void probe_log_reset(struct probe *probe);

#endif
