/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named I/O queues and batches of libxbdev. A queue belongs to nobody: any thread may use it, one
 * at a time; a second one waits for the first, a poll within its timeout. Callbacks run in the
 * thread that polls or waits. One that submits to another queue than its own does not wait for
 * that: -EAGAIN while another thread uses it.
 */
#ifndef XBDEV_QUEUE_H
#define XBDEV_QUEUE_H

#include <stdint.h>
#include <sys/types.h>

#include <xbdev/aio.h>
#include <xbdev/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XBDEV_QUEUE_POLLING 0x1 /* waiting spins and never sleeps */
#define XBDEV_QUEUE_EVENTFD 0x2 /* xbdev_io_queue_eventfd() will be used */

/* Makes a queue for up to `depth` I/Os (1 … 65536); returns its number >= 0. -EEXIST: the name is
 * taken; -EMFILE: 1024 exist. */
int xbdev_io_queue_create(const char *name, int depth, int flags);
/* Waits up to 5 s for what is in flight, and for another thread that uses the queue. -EBUSY then;
 * it may be called again. */
int xbdev_io_queue_destroy(int queue_id);

/* As xbdev_request_submit(), xbdev_poll_completions(), xbdev_queue_eventfd(), on this queue. */
int xbdev_io_queue_submit_request(int queue_id, xbdev_request_t *req);
int xbdev_io_queue_poll(int queue_id, uint32_t max_completions, uint64_t timeout_us);
int xbdev_io_queue_eventfd(int queue_id);

/* As xbdev_request_wait() and xbdev_request_cancel(), for a request that is in flight on this
 * queue; what completes on it meanwhile is called back too. -ETIMEDOUT, for a cancellation -EBUSY,
 * also when another thread has the queue for so long. */
int xbdev_io_queue_wait_request(int queue_id, xbdev_request_t *req, uint64_t timeout_us);
int xbdev_io_queue_cancel_request(int queue_id, xbdev_request_t *req);

/* Waits until nothing is in flight. 0, or the first error (-errno) of an I/O of a batch since the
 * last wait. */
int xbdev_io_queue_wait(int queue_id);
/* Waits as above, then makes durable what was written through this queue. What could not be made
 * durable is tried again the next time. -EBADF, once, for what was written to a descriptor that has
 * been closed since. */
int xbdev_io_queue_flush(int queue_id);

/* ---- batches ---- */

typedef struct xbdev_io_batch xbdev_io_batch_t;

/* A batch for up to `max_ios` I/Os (1 … 65536); NULL: out of memory or out of range. */
xbdev_io_batch_t *xbdev_io_batch_create(int max_ios);
/* -EBUSY while any of it is in flight. NULL is fine. */
int xbdev_io_batch_free(xbdev_io_batch_t *batch);
/* Adds an I/O; `op_type` is XBDEV_OP_…, `buf` is borrowed until the batch has completed. Returns
 * its index, or -ENOSPC, -EBUSY, -EINVAL. */
int xbdev_io_batch_add(
	xbdev_io_batch_t *batch, int fd, void *buf, size_t count, uint64_t offset, int op_type);
/* Takes everything out, to be filled anew. -EBUSY. */
int xbdev_io_batch_reset(xbdev_io_batch_t *batch);
/* What became of an I/O: the full count, -errno, or -EINPROGRESS. */
int xbdev_io_batch_result(const xbdev_io_batch_t *batch, int index);

/* Submits all of it or nothing; an I/O whose descriptor is not open has -EBADF as its result. 0;
 * -EAGAIN: the queue has not enough places now; -EINVAL: it never has; -EBUSY: the batch is in
 * flight. */
int xbdev_io_queue_submit(int queue_id, xbdev_io_batch_t *batch);

#ifdef __cplusplus
}
#endif

#endif
