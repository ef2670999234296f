/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous I/O of libxbdev. Every thread has a queue of its own, made when it first submits and
 * gone when the thread ends; what it submits there completes there: callbacks run in that thread,
 * inside xbdev_poll_completions() or xbdev_request_wait(), never inside a submission. A callback
 * may submit, allocate and free requests; it may not wait (-EDEADLK).
 *
 * A queue takes up to its depth of I/Os; one more is refused with -EAGAIN until completions have
 * been reaped. Memory of an I/O (request, buffer, iov) must stay until it has completed. A thread
 * reaps its I/O before it ends: what it leaves in flight is done, but nobody hears of it, and its
 * memory must stay until xbdev_fini().
 */
#ifndef XBDEV_AIO_H
#define XBDEV_AIO_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <xbdev/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Sets how deep threads' queues are from now on (1 … 65536; default 256) and how many threads may
 * have one (1 … 4096; default 256). Another thread's queue changes when it is idle. -EBUSY while
 * the calling thread has I/O in flight.
 */
int xbdev_queue_init(uint32_t queue_size, uint32_t num_queues);
/* Back to the defaults. -EBUSY as above. */
int xbdev_queue_fini(void);

/* ---- requests ---- */

typedef struct xbdev_request xbdev_request_t;

/* `result` is the full count of READ and WRITE, 0 of the others, or -errno. */
typedef void (*xbdev_request_cb)(xbdev_request_t *req, int result, void *user_arg);

struct xbdev_request {
	int op_type; /* XBDEV_OP_… */
	int fd;
	void *buf;                /* of READ, WRITE, COMPARE, unless iov is used */
	size_t count;             /* bytes, at most 1 GiB for what has data */
	uint64_t offset;          /* bytes */
	xbdev_request_cb user_cb; /* may be NULL */
	void *user_arg;
	int result;              /* when it has completed; -EINPROGRESS before */
	uint32_t flags;          /* XBDEV_IO_… */
	const struct iovec *iov; /* instead of buf: iovcnt buffers of `count` bytes in all */
	int iovcnt;
	uint64_t timeout_us; /* 0: none. Past it the I/O is cancelled, and ends with -ETIMEDOUT if
			      * the device could give it up */
};

/* A zeroed request; NULL: out of memory. Any thread. */
xbdev_request_t *xbdev_request_alloc(void);
/* Frees it; NULL is fine. -EBUSY while it is in flight. May be called from callbacks. When the
 * thread that has submitted it has ended, it completes without its callback, and any thread may
 * free it. */
int xbdev_request_free(xbdev_request_t *req);

/*
 * Submits to the calling thread's queue. 0: it completes exactly once, later. -errno: it never
 * does; -EAGAIN: the queue is full; -EBADF, -EINVAL, -EBUSY: it is in flight; -ENOSPC: too many
 * threads have queues; -ESHUTDOWN, -ENOMEM. Errors that only the device knows (a range past its
 * end, reading only) come as the result. May be called from callbacks.
 */
int xbdev_request_submit(xbdev_request_t *req);

/*
 * Waits until the request has completed, running the callbacks of what completes meanwhile; its
 * result is then in req->result. -ETIMEDOUT after `timeout_us` (UINT64_MAX: never); it stays in
 * flight then. -EINVAL: it is not in flight on a queue of this thread and has not completed.
 */
int xbdev_request_wait(xbdev_request_t *req, uint64_t timeout_us);

/*
 * Asks for the early end of a request and waits up to 1 s for it; its callback runs as always.
 * 0: it has completed, with -ECANCELED or its own result. -EBUSY: the device does not give it up;
 * it is still in flight. -EINVAL as above: for a request of a named queue there is
 * xbdev_io_queue_cancel_request().
 */
int xbdev_request_cancel(xbdev_request_t *req);

/*
 * Completes up to `max_completions` I/Os of the calling thread (callbacks run, requests get their
 * result, events of xbdev_aio_… become ready), waiting up to `timeout_us` for the first; 0 does not
 * wait. Returns their number.
 */
int xbdev_poll_completions(uint32_t max_completions, uint64_t timeout_us);

/*
 * A descriptor that is readable when this thread's queue has completions, for poll() and epoll:
 * call xbdev_poll_completions() until it returns 0, then wait again. The queue's own; not to be
 * read or closed.
 */
int xbdev_queue_eventfd(void);

/* ---- in the manner of libaio ---- */

/* Stage a read or write on the thread's queue; it starts with xbdev_aio_submit(), and the buffer
 * may be filled until then. 0 or -errno. */
int xbdev_aio_read(int fd, void *buf, size_t count, uint64_t offset, void *cb_arg);
int xbdev_aio_write(int fd, const void *buf, size_t count, uint64_t offset, void *cb_arg);
/* Starts what is staged; returns how many. What cannot start any more, since its descriptor has
 * been closed, ends with -EBADF. */
int xbdev_aio_submit(void);

typedef struct xbdev_aio_event {
	void *cb_arg; /* as given */
	int result;   /* the full count, or -errno */
} xbdev_aio_event_t;

/* Takes up to `max` completed events of the thread's queue, waiting up to `timeout_us` for the
 * first. Returns their number. Callbacks of requests that complete meanwhile run. */
int xbdev_aio_get_events(xbdev_aio_event_t *ret_events, uint32_t max, uint64_t timeout_us);

#ifdef __cplusplus
}
#endif

#endif
