/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests, and I/O in the manner of libaio, on the calling thread's queue.
 *
 *   IDLE --submit--> IN_FLIGHT --reaped by its queue--> IDLE
 *
 * A request belongs to the application; while it is in flight the reactor knows it as a cookie that
 * it hands back and never looks into. Only the thread that reaps it changes it; who asks from
 * another thread is told -EINVAL by the queue that does not match. When its queue has gone before
 * it, with the thread, nobody reaps it: then the reactor says in it that it has completed, without
 * the callback, so that it can be freed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define THREADS_QUEUE "this thread's queue"

struct api_request {
	xbdev_request_t pub;
	_Atomic(struct api_queue *) queue; /* while it is in flight; else NULL */
	struct api_link *link;
	bool *watched; /* a waiter's, set when it completes; or NULL */
	bool has_completed;
};

static struct api_request *request_of(xbdev_request_t *req)
{
	return xu_container_of(req, struct api_request, pub);
}

/* Acquire: the result of one that a reactor has completed. */
static struct api_queue *queue_of(const struct api_request *req)
{
	return atomic_load_explicit(&req->queue, memory_order_acquire);
}

/* ---- threads' queues ---- */

/* The thread's queue is as it was asked for, or is in use: by I/O, or by the call that runs this
 * callback. */
static bool may_keep_queue(const struct api_thread *thread, uint32_t setting)
{
	const struct api_queue *queue = thread->queue;

	return queue != NULL &&
	       (thread->queue_setting == setting || queue->nr_out != 0 || thread->is_in_callback);
}

static int replace_queue(struct api_thread *thread)
{
	struct api_queue *queue;
	int rc = api_queue_new(atomic_load(&api_lib.queue_depth), 0, &queue);

	if (rc == 0) {
		api_queue_move_eventfd(thread->queue, queue);
		api_queue_free(thread->queue);
		thread->queue = queue;
	}
	return rc;
}

static int make_queue(struct api_thread *thread)
{
	int rc;

	if (atomic_fetch_add(&api_lib.nr_queues, 1) >= atomic_load(&api_lib.nr_queues_max)) {
		atomic_fetch_sub(&api_lib.nr_queues, 1);
		return api_fail(-ENOSPC,
			"%u threads have queues already; allow for more with "
			"xbdev_queue_init()",
			atomic_load(&api_lib.nr_queues_max));
	}
	rc = api_queue_new(atomic_load(&api_lib.queue_depth), 0, &thread->queue);
	if (rc != 0) {
		atomic_fetch_sub(&api_lib.nr_queues, 1);
	}
	return rc;
}

int api_thread_queue(struct api_thread *thread, struct api_queue **ret_queue)
{
	uint32_t setting = atomic_load_explicit(&api_lib.queue_setting, memory_order_relaxed);
	int rc = 0;

	if (!may_keep_queue(thread, setting)) {
		rc = thread->queue != NULL ? replace_queue(thread) : make_queue(thread);
		if (rc == -ENOMEM) {
			api_fail(rc, "making this thread's queue: out of memory");
		}
		thread->queue_setting = rc == 0 ? setting : thread->queue_setting;
	}
	*ret_queue = thread->queue;
	return rc;
}

void api_thread_queue_free(struct api_thread *thread)
{
	if (thread->queue != NULL) {
		api_queue_free(thread->queue);
		thread->queue = NULL;
		atomic_fetch_sub(&api_lib.nr_queues, 1);
	}
}

static int set_queues(uint32_t depth, uint32_t count)
{
	struct api_thread *thread = api_thread();

	if (thread == NULL) {
		return -ENOMEM;
	}
	if (thread->queue != NULL && thread->queue->nr_out != thread->queue->nr_events) {
		return api_fail(-EBUSY, "this thread has I/O in flight; complete it first");
	}
	atomic_store(&api_lib.queue_depth, depth);
	atomic_store(&api_lib.nr_queues_max, count);
	atomic_fetch_add(&api_lib.queue_setting, 1);
	return 0;
}

int xbdev_queue_init(uint32_t queue_size, uint32_t num_queues)
{
	if (queue_size < 1 || queue_size > API_DEPTH_MAX || num_queues < 1 ||
		num_queues > API_QUEUES_MAX) {
		return api_fail(-EINVAL,
			"%u queues of %u I/Os asked for; 1 to %u of 1 to %u are possible",
			num_queues, queue_size, API_QUEUES_MAX, API_DEPTH_MAX);
	}
	return set_queues(queue_size, num_queues);
}

int xbdev_queue_fini(void)
{
	return set_queues(API_DEPTH_DEFAULT, API_QUEUES_DEFAULT);
}

/* Enters, and finds the thread's queue. */
static int enter_queue(struct api_thread **ret_thread, struct api_queue **ret_queue, bool may_wait)
{
	int rc = api_enter(ret_thread, may_wait);

	if (rc == 0) {
		rc = api_thread_queue(*ret_thread, ret_queue);
		if (rc != 0) {
			api_leave(*ret_thread);
		}
	}
	return rc;
}

/* ---- requests ---- */

xbdev_request_t *xbdev_request_alloc(void)
{
	struct api_request *req = calloc(1, sizeof(*req));

	return req != NULL ? &req->pub : NULL;
}

int xbdev_request_free(xbdev_request_t *req)
{
	if (req == NULL) {
		return 0;
	}
	if (queue_of(request_of(req)) != NULL) {
		return api_fail(-EBUSY, "the request is in flight; complete it first");
	}
	free(request_of(req));
	return 0;
}

int api_request_fill(const xbdev_request_t *pub, struct api_sqe *sqe)
{
	bool has_data = pub->op_type == XBDEV_OP_READ || pub->op_type == XBDEV_OP_WRITE ||
			pub->op_type == XBDEV_OP_COMPARE;
	uint64_t len = 0;

	if (pub->op_type < 0 || pub->op_type >= XBDEV_NR_OPS) {
		return api_fail(-EINVAL, "op_type %d is no operation", pub->op_type);
	}
	if (pub->flags & ~(XBDEV_IO_FUA | XBDEV_IO_MAY_UNMAP)) {
		return api_fail(-EINVAL, "unknown flags 0x%x", pub->flags);
	}
	if (has_data && pub->count > API_MAX_COUNT) {
		return api_fail(-EINVAL, "%zu bytes asked for, at most %u go in one request",
			pub->count, API_MAX_COUNT);
	}
	sqe->len = pub->op_type == XBDEV_OP_FLUSH ? 0 : pub->count;
	sqe->offset = pub->op_type == XBDEV_OP_FLUSH ? 0 : pub->offset;
	sqe->buf = pub->buf;
	sqe->nr_iov = 0;
	if (!has_data || pub->iov == NULL) {
		return 0;
	}
	if (pub->iovcnt < 1 || pub->iovcnt > API_MAX_IOV) {
		return api_fail(
			-EINVAL, "iovcnt is %d, 1 to %d are possible", pub->iovcnt, API_MAX_IOV);
	}
	for (int i = 0; i < pub->iovcnt && len <= pub->count; i++) {
		len = pub->iov[i].iov_len > pub->count ? UINT64_MAX : len + pub->iov[i].iov_len;
	}
	if (len != pub->count) {
		return api_fail(-EINVAL, "the %d buffers of iov do not have %zu bytes in all",
			pub->iovcnt, pub->count);
	}
	sqe->buf = (void *)(uintptr_t)pub->iov;
	sqe->nr_iov = (uint32_t)pub->iovcnt;
	return 0;
}

static int explain(int rc, int fd)
{
	switch (rc) {
	case -EAGAIN:
		return api_fail(rc, "the queue is full; complete some of its I/O first");
	case -EBADF:
		return api_fail(rc, "descriptor %d is not open", fd);
	default:
		return rc;
	}
}

int api_request_submit_to(struct api_queue *queue, struct api_thread *thread, xbdev_request_t *pub,
	uint32_t *ret_generation)
{
	struct api_request *req = request_of(pub);
	struct api_sqe sqe = {
		.cookie = req,
		.timeout_us = pub->timeout_us,
		.fd = pub->fd,
		.op = (uint8_t)pub->op_type,
		.flags = (uint8_t)pub->flags,
		.kind = API_KIND_REQUEST,
	};
	int rc;

	if (queue_of(req) != NULL) {
		return api_fail(-EBUSY, "the request is in flight already");
	}
	rc = api_request_fill(pub, &sqe);
	if (rc != 0) {
		return rc;
	}
	rc = api_queue_stage(queue, thread, &sqe, &req->link);
	if (rc != 0) {
		return explain(rc, pub->fd);
	}
	*ret_generation = sqe.generation;
	atomic_store_explicit(&req->queue, queue, memory_order_relaxed);
	req->has_completed = false;
	pub->result = -EINPROGRESS;
	if (!queue->is_reaping) {
		api_queue_ring(queue);
	}
	return 0;
}

int xbdev_request_submit(xbdev_request_t *req)
{
	struct api_thread *thread;
	struct api_queue *queue;
	uint32_t generation;
	int rc = enter_queue(&thread, &queue, false);

	if (rc != 0) {
		return rc;
	}
	rc = api_request_submit_to(queue, thread, req, &generation);
	api_leave(thread);
	return rc;
}

void api_request_complete(void *cookie, int result)
{
	struct api_request *req = cookie;

	atomic_store_explicit(&req->queue, NULL, memory_order_relaxed);
	req->has_completed = true;
	req->pub.result = result;
	if (req->watched != NULL) {
		*req->watched = true;
		req->watched = NULL;
	}
	if (req->pub.user_cb != NULL) {
		/* The callback may free the request. */
		req->pub.user_cb(&req->pub, result, req->pub.user_arg);
	}
}

void api_request_forget(void *cookie, int result)
{
	struct api_request *req = cookie;

	req->has_completed = true;
	req->pub.result = result;
	atomic_store_explicit(&req->queue, NULL, memory_order_release);
}

/*
 * Polls until the request is no longer in flight. A callback may free it, or submit it anew; so
 * what is watched is a flag of the waiter's, which the completion sets before the callback.
 */
static int wait_for(struct api_request *req, struct api_queue *queue, struct api_thread *thread,
	uint64_t deadline_ns)
{
	bool has_completed = false;

	req->watched = &has_completed;
	while (api_queue_poll(queue, thread, 1, deadline_ns) != 0 && !has_completed &&
		!api_is_past(deadline_ns)) {
		/* Others have completed: not what was asked for. */
	}
	if (!has_completed) {
		req->watched = NULL;
		return -ETIMEDOUT;
	}
	return 0;
}

/* What is said of a request that is not in flight on the queue. */
static int why_not_here(const struct api_request *req, const char *queue)
{
	if (queue_of(req) == NULL && req->has_completed) {
		return 0;
	}
	return api_fail(-EINVAL, "the request is not in flight on %s", queue);
}

int api_request_wait_on(struct api_queue *queue, const char *name, struct api_thread *thread,
	xbdev_request_t *pub, uint64_t deadline_ns)
{
	struct api_request *req = request_of(pub);
	int rc;

	if (queue_of(req) != queue) {
		return why_not_here(req, name);
	}
	rc = wait_for(req, queue, thread, deadline_ns);
	return rc == 0 ? 0 : api_fail(rc, "the request has not completed in time");
}

int xbdev_request_wait(xbdev_request_t *pub, uint64_t timeout_us)
{
	struct api_thread *thread;
	struct api_queue *queue;
	int rc = enter_queue(&thread, &queue, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_request_wait_on(queue, THREADS_QUEUE, thread, pub, api_deadline_ns(timeout_us));
	api_leave(thread);
	return rc;
}

/* ---- cancelling ---- */

struct cancel_call {
	struct xr_msg msg;
	struct api_link *link;
	const void *cookie;
	struct api_event event;
};

static void on_cancel(struct xr_msg *msg)
{
	struct cancel_call *cancel = xu_container_of(msg, struct cancel_call, msg);

	api_link_cancel(cancel->link, cancel->cookie);
	api_event_set(&cancel->event);
}

static void ask_to_cancel(struct api_request *req, struct api_thread *thread)
{
	struct cancel_call cancel = {.msg.fn = on_cancel, .link = req->link, .cookie = req};

	/* What is left of an ended round of the library has completed, and its reactor is gone. */
	if (api_link_is_current(req->link)) {
		api_event_init(&cancel.event);
		xr_msg_send(req->link->shard->reactor, &cancel.msg);
		api_event_wait(&cancel.event, thread, 0);
	}
}

int api_request_cancel_on(struct api_queue *queue, const char *name, struct api_thread *thread,
	xbdev_request_t *pub, uint64_t deadline_ns)
{
	struct api_request *req = request_of(pub);
	int rc;

	if (queue_of(req) != queue) {
		return why_not_here(req, name);
	}
	ask_to_cancel(req, thread);
	rc = wait_for(req, queue, thread, deadline_ns);
	return rc == 0 ? 0
		       : api_fail(-EBUSY,
				 "the device does not give the request up; it is still in flight");
}

int xbdev_request_cancel(xbdev_request_t *pub)
{
	struct api_thread *thread;
	struct api_queue *queue;
	int rc = enter_queue(&thread, &queue, true);

	if (rc != 0) {
		return rc;
	}
	rc = api_request_cancel_on(
		queue, THREADS_QUEUE, thread, pub, api_deadline_ns(API_CANCEL_WAIT_US));
	api_leave(thread);
	return rc;
}

/* ---- completions ---- */

int xbdev_poll_completions(uint32_t max_completions, uint64_t timeout_us)
{
	struct api_thread *thread;
	struct api_queue *queue;
	uint32_t count, max = max_completions < INT32_MAX ? max_completions : INT32_MAX;
	int rc = enter_queue(&thread, &queue, true);

	if (rc != 0) {
		return rc;
	}
	count = api_queue_poll(
		queue, thread, max, timeout_us == 0 ? 0 : api_deadline_ns(timeout_us));
	api_leave(thread);
	return (int)count;
}

int xbdev_queue_eventfd(void)
{
	struct api_thread *thread;
	struct api_queue *queue;
	int rc = enter_queue(&thread, &queue, false);

	if (rc != 0) {
		return rc;
	}
	rc = api_queue_eventfd(queue);
	api_leave(thread);
	return rc;
}

/* ---- in the manner of libaio ---- */

static int stage(int fd, enum xbdev_op op, void *buf, size_t count, uint64_t offset, void *cb_arg)
{
	struct api_sqe sqe = {
		.cookie = cb_arg,
		.buf = buf,
		.len = count,
		.offset = offset,
		.fd = fd,
		.op = (uint8_t)op,
		.kind = API_KIND_AIO,
	};
	struct api_thread *thread;
	struct api_queue *queue;
	int rc;

	if (count > API_MAX_COUNT) {
		return api_fail(-EINVAL, "%zu bytes asked for, at most %u go in one I/O", count,
			API_MAX_COUNT);
	}
	rc = enter_queue(&thread, &queue, false);
	if (rc != 0) {
		return rc;
	}
	rc = api_queue_keep(queue, thread, &sqe);
	api_leave(thread);
	return rc == 0 ? 0 : explain(rc, fd);
}

int xbdev_aio_read(int fd, void *buf, size_t count, uint64_t offset, void *cb_arg)
{
	return stage(fd, XBDEV_OP_READ, buf, count, offset, cb_arg);
}

int xbdev_aio_write(int fd, const void *buf, size_t count, uint64_t offset, void *cb_arg)
{
	return stage(fd, XBDEV_OP_WRITE, (void *)(uintptr_t)buf, count, offset, cb_arg);
}

int xbdev_aio_submit(void)
{
	struct api_thread *thread;
	struct api_queue *queue;
	int rc = enter_queue(&thread, &queue, false);

	if (rc != 0) {
		return rc;
	}
	rc = (int)api_queue_start_kept(queue, thread);
	api_leave(thread);
	return rc;
}

int xbdev_aio_get_events(xbdev_aio_event_t *ret_events, uint32_t max, uint64_t timeout_us)
{
	struct api_thread *thread;
	struct api_queue *queue;
	uint64_t deadline_ns = timeout_us == 0 ? 0 : api_deadline_ns(timeout_us);
	uint32_t count = 0;
	int rc = enter_queue(&thread, &queue, true);

	if (rc != 0) {
		return rc;
	}
	while (queue->nr_events == 0 && max != 0 &&
		api_queue_poll(queue, thread, UINT32_MAX, deadline_ns) != 0 &&
		!api_is_past(deadline_ns)) {
		/* Requests have completed: not what was asked for. */
	}
	while (count < max && queue->nr_events != 0) {
		ret_events[count++] = queue->events[queue->first_event];
		queue->first_event = (queue->first_event + 1) % queue->depth;
		queue->nr_events--;
		queue->nr_out--;
	}
	api_leave(thread);
	return (int)count;
}
