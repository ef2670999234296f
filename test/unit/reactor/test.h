/* SPDX-License-Identifier: BSD-3-Clause */
/* What every unit test of lib/reactor includes: cmocka, reactors on the Linux platform, operations
 * with their answer, and clocks of the real world. */
#ifndef TEST_REACTOR_TEST_H
#define TEST_REACTOR_TEST_H

#include "test/unit/util/test.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"

#define PENDING     INT32_MIN
#define PATIENCE_NS (60 * XU_NS_PER_S) /* what takes longer has failed */

static inline uint64_t test_now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

/* CPU time of the calling thread. */
static inline uint64_t test_cpu_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * XU_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline void test_sleep_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

static inline struct xr_reactor *test_reactor_with(const struct xr_reactor_opts *opts)
{
	struct xr_reactor *reactor = NULL;

	assert_int_equal(xr_reactor_new(opts, &reactor, NULL), 0);
	return reactor;
}

static inline struct xr_reactor *test_reactor(void)
{
	const struct xr_reactor_opts opts = {.cpu = -1};

	return test_reactor_with(&opts);
}

/* Polls until the flag is set by somebody; it may be set in another thread. */
static inline void test_poll_until(struct xr_reactor *reactor, const _Atomic bool *flag)
{
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	while (!atomic_load(flag)) {
		xr_reactor_poll(reactor, 10 * XU_NS_PER_MS);
		assert_true(test_now_ns() < end_ns);
	}
}

/* Waits for another thread to set the flag. */
static inline void test_wait_for(const _Atomic bool *flag)
{
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	while (!atomic_load(flag)) {
		test_sleep_ms(1);
		assert_true(test_now_ns() < end_ns);
	}
}

struct test_op {
	struct xr_op op;
	struct iovec iov;
	int32_t result; /* PENDING before its callback */
	_Atomic bool is_done;
};

static inline void test_op_cb(struct xr_op *op, int32_t result)
{
	struct test_op *top = xu_container_of(op, struct test_op, op);

	assert_int_equal(top->result, PENDING); /* exactly once */
	assert_false(op->is_pending);
	top->result = result;
	atomic_store(&top->is_done, true);
}

static inline void test_submit(
	struct xr_reactor *reactor, struct test_op *top, enum xr_opcode opcode, int fd)
{
	top->result = PENDING;
	atomic_store(&top->is_done, false);
	top->op.cb = test_op_cb;
	top->op.opcode = (uint8_t)opcode;
	top->op.fd = fd;
	xr_op_submit(reactor, &top->op);
}

static inline void test_rw(struct xr_reactor *reactor, struct test_op *top, enum xr_opcode opcode,
	int fd, uint64_t offset, void *buf, size_t len)
{
	top->iov = (struct iovec){.iov_base = buf, .iov_len = len};
	top->op.iov = &top->iov;
	top->op.nr_iov = 1;
	top->op.offset = offset;
	test_submit(reactor, top, opcode, fd);
}

static inline int32_t test_finish(struct xr_reactor *reactor, struct test_op *top)
{
	test_poll_until(reactor, &top->is_done);
	return top->result;
}

static inline int32_t test_do_rw(struct xr_reactor *reactor, enum xr_opcode opcode, uint8_t flags,
	int fd, uint64_t offset, void *buf, size_t len)
{
	struct test_op top = {.op.flags = flags};

	test_rw(reactor, &top, opcode, fd, offset, buf, len);
	return test_finish(reactor, &top);
}

#endif
