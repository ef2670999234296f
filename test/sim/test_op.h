/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations of the simulator's own tests: a reactor, what it is asked for, and its answer. */
#ifndef TEST_SIM_TEST_OP_H
#define TEST_SIM_TEST_OP_H

#include <fcntl.h>
#include <linux/falloc.h>

#include "lib/reactor/address.h"
#include "lib/reactor/reactor.h"
#include "test/sim/sim.h"
#include "test/sim/sim_disk.h"
#include "test/sim/sim_net.h"
#include "test/unit/util/test.h"

#define PUNCH_MODE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO_MODE  (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)
#define PENDING    INT32_MIN

struct test_op {
	struct xr_op op;
	struct iovec iov;
	struct sockaddr_storage addr;
	int32_t result; /* PENDING before its callback */
	uint64_t done_ns;
	uint32_t order; /* of its callback */
	struct sim *sim;
};

static uint32_t test_op_order;

static inline void test_op_cb(struct xr_op *op, int32_t result)
{
	struct test_op *top = xu_container_of(op, struct test_op, op);

	assert_int_equal(top->result, PENDING); /* exactly once */
	assert_int_not_equal(result, PENDING);
	top->result = result;
	top->done_ns = sim_now_ns(top->sim);
	top->order = test_op_order++;
}

static inline struct xr_reactor *test_reactor(struct sim_host *host)
{
	struct xr_reactor_opts opts = {.platform = sim_host_platform(host), .cpu = -1};
	struct xr_reactor *reactor;

	assert_int_equal(xr_reactor_new(&opts, &reactor, NULL), 0);
	return reactor;
}

/* Fills the common part and submits. The operation must stay in place until it is done. */
static inline void test_submit(struct sim *sim, struct xr_reactor *reactor, struct test_op *top,
	enum xr_opcode opcode, int fd)
{
	top->sim = sim;
	top->result = PENDING;
	top->op.cb = test_op_cb;
	top->op.opcode = (uint8_t)opcode;
	top->op.fd = fd;
	xr_op_submit(reactor, &top->op);
}

static inline void test_rw(struct sim *sim, struct xr_reactor *reactor, struct test_op *top,
	enum xr_opcode opcode, int fd, uint64_t offset, void *buf, size_t len)
{
	top->iov = (struct iovec){.iov_base = buf, .iov_len = len};
	top->op.iov = &top->iov;
	top->op.nr_iov = 1;
	top->op.offset = offset;
	test_submit(sim, reactor, top, opcode, fd);
}

static inline bool test_is_done(void *arg)
{
	return ((struct test_op *)arg)->result != PENDING;
}

static inline int32_t test_wait(struct test_op *top)
{
	assert_int_equal(sim_run(top->sim, test_is_done, top, 10000 * XU_NS_PER_S), 0);
	return top->result;
}

/* One operation from beginning to end. */
static inline int32_t test_do_rw(struct sim *sim, struct xr_reactor *reactor, enum xr_opcode opcode,
	uint8_t flags, int fd, uint64_t offset, void *buf, size_t len)
{
	struct test_op top = {.op.flags = flags};

	test_rw(sim, reactor, &top, opcode, fd, offset, buf, len);
	return test_wait(&top);
}

static inline int32_t test_do_fsync(struct sim *sim, struct xr_reactor *reactor, int fd)
{
	struct test_op top = {.op.flags = XR_OP_DATASYNC};

	test_submit(sim, reactor, &top, XR_OP_FSYNC, fd);
	return test_wait(&top);
}

static inline int32_t test_do_fallocate(struct sim *sim, struct xr_reactor *reactor, int fd,
	int mode, uint64_t offset, uint64_t len)
{
	struct test_op top = {0};

	top.op.mode = mode;
	top.op.offset = offset;
	top.op.len = len;
	test_submit(sim, reactor, &top, XR_OP_FALLOCATE, fd);
	return test_wait(&top);
}

static inline int test_open(
	struct sim_host *host, const char *path, const struct xr_file_opts *opts)
{
	static const struct xr_file_opts plain = {0};
	const struct xr_platform *platform = sim_host_platform(host);
	struct xr_file_info info;

	return platform->file_open(platform, path, opts != NULL ? opts : &plain, &info, NULL);
}

static inline void test_close(struct sim_host *host, int fd)
{
	const struct xr_platform *platform = sim_host_platform(host);

	platform->close(platform, fd);
}

#endif
