/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The soak's workers, one for each manner of doing I/O: synchronous calls; requests on the thread's
 * queue with callbacks, timeouts and cancels, by polling or an eventfd; libaio's manner, in threads
 * that last for a few rounds; batches; and two on one named queue, each of which runs the other's
 * callbacks. A worker that is refused because the library or the device is not there tries again.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "test/soak/soak.h"

#define NR_SLOTS   48u
#define NR_STAGED  16u
#define AIO_ROUNDS 20
#define NR_BATCH   24u
#define NR_SHARED  24u

static _Thread_local struct worker *self;

static uint64_t below(uint64_t bound)
{
	return xu_random_below(&self->random, bound);
}

static void rest_us(uint64_t us)
{
	const struct timespec ts = {.tv_nsec = (long)(us * 1000)};

	nanosleep(&ts, NULL);
}

static uint32_t nr_in_flight(struct worker *worker)
{
	uint32_t count;

	pthread_mutex_lock(&worker->mutex);
	count = worker->nr_in_flight;
	pthread_mutex_unlock(&worker->mutex);
	return count;
}

static bool is_stopped(void)
{
	return atomic_load(&self->must_stop);
}

/* ---- synchronous calls ---- */

static int transfer(const struct op *op)
{
	size_t bytes = OP_BYTES(op), half = bytes / 2;
	struct iovec iov[2] = {{op->buf, half}, {op->buf + half, bytes - half}};
	bool is_vector = below(4) == 0;
	uint32_t flags = below(4) == 0 ? XBDEV_IO_FUA : 0;

	if (op->type == XBDEV_OP_READ) {
		return (int)(is_vector ? xbdev_readv(op->fd, iov, 2, OP_OFFSET(op))
				       : xbdev_read(op->fd, op->buf, bytes, OP_OFFSET(op)));
	}
	return (int)(is_vector ? xbdev_writev(op->fd, iov, 2, OP_OFFSET(op))
			       : xbdev_write_with(op->fd, op->buf, bytes, OP_OFFSET(op), flags));
}

static int call(const struct op *op)
{
	switch (op->type) {
	case XBDEV_OP_READ:
	case XBDEV_OP_WRITE:
		return transfer(op);
	case XBDEV_OP_COMPARE:
		return xbdev_compare(op->fd, op->buf, OP_BYTES(op), OP_OFFSET(op));
	case XBDEV_OP_DISCARD:
		return xbdev_discard(op->fd, OP_OFFSET(op), OP_BYTES(op));
	case XBDEV_OP_WRITE_ZEROES:
		return xbdev_write_zeroes(op->fd, OP_OFFSET(op), OP_BYTES(op),
			below(2) == 0 ? XBDEV_IO_MAY_UNMAP : XBDEV_IO_FUA);
	default:
		return xbdev_flush(op->fd);
	}
}

/* Reads what others may be writing: whatever it is, it is of that place. */
static void look_around(void)
{
	uint32_t device = (uint32_t)below(NR_DEVICES);
	uint64_t first = below(DEVICE_BLOCKS - 16);
	static _Thread_local char buf[16 * BLOCK];
	int fd;

	visit_begin(self);
	fd = atomic_load(&devices[device].fd);
	if (fd >= 0 && xbdev_read(fd, buf, sizeof(buf), first * BLOCK) == (ssize_t)sizeof(buf)) {
		model_check_places(device, first, buf, sizeof(buf));
	}
	visit_end(self);
}

static void *run_sync(void *arg)
{
	self = arg;
	while (!is_stopped()) {
		struct op *op;
		int result = 0;

		visit_begin(self);
		op = model_begin(self);
		if (op != NULL) {
			result = call(op);
		}
		visit_end(self);
		if (op != NULL) {
			model_end(op, result);
		} else {
			rest_us(50);
		}
		if (below(64) == 0) {
			look_around();
		}
	}
	return NULL;
}

/* ---- requests ---- */

/* In flight on this thread's queue. */
static _Thread_local struct op *slots[NR_SLOTS];
static _Thread_local uint32_t nr_slots;

static void submit(int queue);

static void forget(const struct op *op)
{
	for (uint32_t i = 0; i < nr_slots; i++) {
		if (slots[i] == op) {
			slots[i] = slots[--nr_slots];
			return;
		}
	}
}

static void on_request(xbdev_request_t *req, int result, void *arg)
{
	struct op *op = arg;
	int queue = op->worker->queue;

	MUST(req == op->req && req->result == result);
	if (queue < 0) {
		forget(op);
	}
	model_end(op, result);
	if (below(4) == 0) {
		submit(queue); /* its own queue: not refused */
	}
}

/* The request of an op, with the callback that ends it. */
static void make_request(struct op *op)
{
	op->req = xbdev_request_alloc();
	MUST(op->req != NULL);
	op->timeout_us = below(8) == 0 ? 1 + below(5000) : 0;
	*op->req = (xbdev_request_t){.op_type = op->type,
		.fd = op->fd,
		.buf = op->buf,
		.count = OP_BYTES(op),
		.offset = op->type == XBDEV_OP_FLUSH ? 0 : OP_OFFSET(op),
		.user_cb = on_request,
		.user_arg = op,
		.timeout_us = op->timeout_us,
		.flags = op->type == XBDEV_OP_WRITE && below(8) == 0 ? XBDEV_IO_FUA : 0};
}

/* One more request, to this thread's queue or a named one, if there is room. */
static void submit(int queue)
{
	struct op *op;
	int rc;

	if (is_stopped() || nr_slots == NR_SLOTS ||
		(queue >= 0 && nr_in_flight(self) >= NR_SHARED)) {
		return;
	}
	visit_begin(self);
	op = model_begin(self);
	if (op != NULL) {
		make_request(op);
		if (queue < 0) {
			slots[nr_slots++] = op;
			rc = xbdev_request_submit(op->req);
		} else {
			rc = xbdev_io_queue_submit_request(queue, op->req);
		}
		if (rc != 0) {
			forget(op);
			model_drop(op, rc);
		}
	}
	visit_end(self);
}

static void cancel_one(void)
{
	struct op *op = nr_slots != 0 ? slots[below(nr_slots)] : NULL;
	int rc;

	if (op != NULL) {
		op->is_cancelled = true;
		rc = xbdev_request_cancel(op->req); /* then the op is gone */
		MUST(rc == 0 || rc == -EBUSY || rc == -ESHUTDOWN);
	}
}

static void wait_for_one(void)
{
	if (nr_slots != 0) {
		int rc = xbdev_request_wait(slots[below(nr_slots)]->req, below(3000));

		MUST(rc == 0 || rc == -ETIMEDOUT || rc == -ESHUTDOWN);
	}
}

static void take_completions(void)
{
	int rc = xbdev_poll_completions(1 + (uint32_t)below(64), below(2) * below(2000));

	MUST(rc >= 0 || rc == -ESHUTDOWN);
	if (rc < 0) {
		rest_us(100);
	}
}

/* As an event loop does. */
static void wait_for_eventfd(void)
{
	struct pollfd pfd = {.fd = xbdev_queue_eventfd(), .events = POLLIN};
	int rc;

	if (pfd.fd < 0) {
		MUST(pfd.fd == -ESHUTDOWN);
		return;
	}
	poll(&pfd, 1, (int)below(20));
	do {
		rc = xbdev_poll_completions(8, 0);
	} while (rc > 0);
	MUST(rc == 0 || rc == -ESHUTDOWN);
	if (nr_slots != 0 && rc == 0 && below(4) == 0) {
		/* Armed now: the next completion must make it readable, or nothing is in flight. */
		MUST(poll(&pfd, 1, 30000) == 1);
	}
}

static void do_one_step(void)
{
	switch (below(10)) {
	case 0:
		cancel_one();
		break;
	case 1:
		wait_for_one();
		break;
	case 2:
	case 3:
	case 4:
		take_completions();
		break;
	default:
		submit(-1);
		break;
	}
}

static void *run_requests(void *arg)
{
	self = arg;
	while (!is_stopped()) {
		do_one_step();
		if (self->index % 2 == 0 && below(10) == 0) {
			wait_for_eventfd();
		} else if (below(500) == 0) {
			xbdev_queue_init(64 + (uint32_t)below(200), 64);
		}
	}
	while (nr_slots != 0) {
		take_completions();
	}
	return NULL;
}

void worker_burst(struct worker *worker, uint32_t nr_steps)
{
	self = worker;
	while (nr_steps-- > 0) {
		do_one_step();
	}
}

uint32_t worker_drain(struct worker *worker)
{
	self = worker;
	take_completions();
	return nr_slots;
}

/* ---- libaio's manner ---- */

static uint32_t stage(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < NR_STAGED; i++) {
		struct op *op;
		int rc;

		visit_begin(self);
		op = model_begin(self);
		if (op == NULL) {
			visit_end(self);
			continue;
		}
		rc = op->type == XBDEV_OP_READ
			     ? xbdev_aio_read(op->fd, op->buf, OP_BYTES(op), OP_OFFSET(op), op)
		     : op->type == XBDEV_OP_WRITE
			     ? xbdev_aio_write(op->fd, op->buf, OP_BYTES(op), OP_OFFSET(op), op)
			     : 1;
		visit_end(self);
		if (rc == 0) {
			count++;
		} else {
			model_drop(op, rc < 0 ? rc : 0); /* it has only these two */
		}
	}
	return count;
}

static void *run_aio_rounds(void *arg)
{
	xbdev_aio_event_t events[NR_STAGED];

	self = arg;
	for (int round = 0; round < AIO_ROUNDS && !is_stopped(); round++) {
		uint32_t left = stage();

		while (left != 0 && xbdev_aio_submit() == -ESHUTDOWN) {
			rest_us(100);
		}
		while (left != 0) {
			int rc = xbdev_aio_get_events(events, NR_STAGED, below(10000));

			MUST(rc >= 0 || rc == -ESHUTDOWN);
			for (int i = 0; i < rc; i++, left--) {
				model_end(events[i].cb_arg, events[i].result);
			}
			if (rc < 0) {
				rest_us(100);
			}
		}
	}
	return NULL;
}

static void *run_aio(void *arg)
{
	self = arg;
	while (!is_stopped()) {
		pthread_t thread;

		MUST(pthread_create(&thread, NULL, run_aio_rounds, arg) == 0);
		pthread_join(thread, NULL);
	}
	return NULL;
}

/* ---- batches ---- */

static uint32_t fill_batch(xbdev_io_batch_t *batch, struct op **ops)
{
	uint32_t count = 0, want = 1 + (uint32_t)below(NR_BATCH);

	for (uint32_t i = 0; i < want; i++) {
		struct op *op = model_begin(self);

		if (op == NULL) {
			continue;
		}
		op->index = xbdev_io_batch_add(batch, op->fd, op->buf, OP_BYTES(op),
			op->type == XBDEV_OP_FLUSH ? 0 : OP_OFFSET(op), op->type);
		MUST(op->index == (int)count);
		ops[count++] = op;
	}
	return count;
}

static void finish_batch(xbdev_io_batch_t *batch, struct op **ops, uint32_t count)
{
	while (count != 0 && xbdev_io_batch_result(batch, 0) == -EINPROGRESS) {
		int rc = below(2) == 0 ? xbdev_io_queue_wait(self->queue)
				       : xbdev_io_queue_poll(self->queue, 8, below(5000));

		if (rc == -ESHUTDOWN) {
			rest_us(100);
		}
	}
	for (uint32_t i = 0; i < count; i++) {
		model_end(ops[i], xbdev_io_batch_result(batch, ops[i]->index));
	}
}

static void flush_queue(void)
{
	int rc = xbdev_io_queue_flush(self->queue);

	MUST(rc == 0 || rc == -EIO || rc == -EBADF || rc == -ENODEV || rc == -ECANCELED ||
		rc == -EBADE || rc == -EOPNOTSUPP || rc == -ESHUTDOWN);
}

static void *run_batches(void *arg)
{
	xbdev_io_batch_t *batch = xbdev_io_batch_create(NR_BATCH);
	struct op *ops[NR_BATCH];

	self = arg;
	MUST(batch != NULL);
	while (!is_stopped()) {
		uint32_t count;
		int rc;

		MUST(xbdev_io_batch_reset(batch) == 0);
		visit_begin(self);
		count = fill_batch(batch, ops);
		rc = xbdev_io_queue_submit(self->queue, batch);
		visit_end(self);
		MUST(rc == 0 || rc == -ESHUTDOWN);
		for (uint32_t i = 0; i < count && rc != 0; i++) {
			model_drop(ops[i], rc);
		}
		finish_batch(batch, ops, rc == 0 ? count : 0);
		if (below(16) == 0) {
			flush_queue();
		}
		if (count == 0) {
			rest_us(100);
		}
	}
	MUST(xbdev_io_batch_free(batch) == 0);
	return NULL;
}

/* ---- a queue for two ---- */

static void poll_shared(void)
{
	int rc = below(100) == 0 ? xbdev_io_queue_wait(self->queue)
				 : xbdev_io_queue_poll(self->queue, 1 + (uint32_t)below(16),
					   below(2) * below(3000));

	MUST(rc >= 0 || rc == -ESHUTDOWN);
	if (rc < 0) {
		rest_us(100);
	}
}

static void *run_shared(void *arg)
{
	self = arg;
	while (!is_stopped()) {
		if (below(3) == 0) {
			poll_shared();
		} else {
			submit(self->queue);
		}
	}
	while (nr_in_flight(self) != 0) {
		poll_shared();
	}
	return NULL;
}

void *(*const worker_kinds[NR_WORKERS])(void *arg) = {run_sync, run_sync, run_requests,
	run_requests, run_aio, run_batches, run_shared, run_shared, NULL};
