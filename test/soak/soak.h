/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the soak share. Workers do I/O to devices that the controller closes, removes
 * and makes anew, breaks and slows down, together with the whole library. Each worker has blocks of
 * its own on every device and knows what may be in them.
 *
 * Descriptors are numbers that come again, so the controller opens nothing while a worker may still
 * use an old one: a worker's `visit` is odd while it is between reading a descriptor and the end of
 * the call that uses it.
 */
#ifndef TEST_SOAK_H
#define TEST_SOAK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <xbdev/xbdev.h>

#include "lib/util/random.h"

#define BLOCK         4096u
#define NR_WORKERS    9u
#define NR_DEVICES    5u
#define WORKER_BLOCKS 512u /* of a worker on one device */
#define DEVICE_BLOCKS (NR_WORKERS * WORKER_BLOCKS)
#define MAX_BLOCKS    320u /* of one I/O; above what a driver takes at once */
#define MAX_POSSIBLE  12u

/* For any thread; prints the seed with it. */
#define MUST(expr)                                                                                 \
	do {                                                                                       \
		if (!(expr)) {                                                                     \
			soak_fail(__FILE__, __LINE__, #expr);                                      \
		}                                                                                  \
	} while (0)
_Noreturn void soak_fail(const char *file, int line, const char *what);

uint64_t soak_now_ms(void);

/* ---- devices ---- */

struct device {
	const char *name;
	bool is_volatile; /* a new one is empty */
	bool may_fail;    /* errors are injected */
	_Atomic int fd;   /* -1: none just now */
	_Atomic uint32_t incarnation;
	_Atomic uint32_t trouble; /* odd while the controller does something to it */
};

extern struct device devices[NR_DEVICES];

/* ---- what is in the blocks: model.c ---- */

/* Versions of its content that a block may have; 0 is all zeroes. */
struct block {
	uint64_t possible[MAX_POSSIBLE];
	uint32_t nr_possible;
	uint32_t nr_readers; /* I/Os in flight */
	bool is_written;     /* by one in flight */
};

struct region {
	uint32_t incarnation;
	uint32_t nr_in_flight;
	struct block blocks[WORKER_BLOCKS];
};

struct worker {
	pthread_t thread;
	uint32_t index;
	void *(*run)(void *arg);
	struct xu_random random;
	int queue; /* a named one's number, or -1 */
	_Atomic uint32_t visit;
	_Atomic bool must_stop;
	pthread_mutex_t mutex; /* of all below: I/O may be completed by another worker */
	uint64_t next_version;
	uint32_t nr_in_flight;
	uint64_t nr_done, nr_failed, nr_cancelled, nr_late;
	struct region regions[NR_DEVICES];
};

/* One I/O of a worker. */
struct op {
	struct worker *worker;
	uint32_t device;
	int fd;
	int type; /* XBDEV_OP_… */
	uint32_t first, nr_blocks;
	uint64_t version; /* that it writes or compares with */
	uint64_t start_ms;
	uint64_t timeout_us;
	uint32_t trouble;  /* of the device when it was submitted */
	bool is_cancelled; /* by its worker */
	char *memory, *buf;
	xbdev_request_t *req;
	int index; /* in its batch */
};

#define OP_BYTES(op)  ((size_t)(op)->nr_blocks * BLOCK)
#define OP_OFFSET(op) (((uint64_t)(op)->worker->index * WORKER_BLOCKS + (op)->first) * BLOCK)

/* From reading a descriptor to the end of the call that uses it. */
static inline void visit_begin(struct worker *worker)
{
	atomic_fetch_add(&worker->visit, 1);
}
static inline void visit_end(struct worker *worker)
{
	atomic_fetch_add(&worker->visit, 1);
}

/* Chooses an I/O to a device that is there, during a visit; NULL: there is none just now. */
struct op *model_begin(struct worker *worker);
/* Checks the result (a count, 0 or -errno) and the data, and frees the op. Any thread. */
void model_end(struct op *op, int result);
/* The same for one that was refused with `error`, or never tried (0). */
void model_drop(struct op *op, int error);
/* Whether sectors read from anywhere on a device are of their block. */
void model_check_places(uint32_t device, uint64_t first_block, const char *buf, size_t bytes);
/* At the end, when nothing is in flight: reads everything. */
void model_verify(struct worker *worker);

/* ---- state.c ---- */

/* Says on stderr what all devices, reactors and rings have under way; for one who is about to give
 * up, once. Any thread. */
void tell_state(void);

/* ---- workers.c ---- */

/* NULL for the last: the controller is that itself, now and then. */
extern void *(*const worker_kinds[NR_WORKERS])(void *arg);
/* Some requests on the calling thread's queue, without waiting for all of them. */
void worker_burst(struct worker *worker, uint32_t nr_steps);
/* Takes what has completed; returns what is in flight. */
uint32_t worker_drain(struct worker *worker);

#endif
