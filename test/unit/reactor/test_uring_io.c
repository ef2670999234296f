/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations through io_uring on a real file: what they do, how they fail, more of them than the
 * ring has entries, and how they are cancelled. Sockets are in test_uring_socket.c. */
#include "test/unit/reactor/test.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define BLOCK 4096u

/* An unlinked file of its own. */
static int make_file(size_t size)
{
	char path[] = "/tmp/xsan-test-uring-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void fill(char *buf, size_t len, uint64_t seed)
{
	struct xu_random random;

	xu_random_seed(&random, seed);
	xu_random_bytes(&random, buf, len);
}

/* ---- what they do ---- */

static void test_file_reads_what_was_written(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file(8 * BLOCK);
	char out[BLOCK], in[BLOCK] = {0};
	struct iovec parts[3] = {{in, 1}, {in + 1, 95}, {in + 96, BLOCK - 96}};
	struct test_op vectored = {.op = {.iov = parts, .nr_iov = 3, .offset = 5000}};

	fill(out, sizeof(out), 1);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, 0, fd, 5000, out, BLOCK), BLOCK);
	assert_int_equal(pread(fd, in, BLOCK, 5000), BLOCK);
	assert_memory_equal(in, out, BLOCK);
	memset(in, 0, BLOCK);
	test_submit(reactor, &vectored, XR_OP_READ, fd);
	assert_int_equal(test_finish(reactor, &vectored), BLOCK);
	assert_memory_equal(in, out, BLOCK);

	parts[0] = (struct iovec){out, 100};
	parts[1] = (struct iovec){out + 100, 400};
	vectored.op.nr_iov = 2;
	vectored.op.offset = 7;
	test_submit(reactor, &vectored, XR_OP_WRITE, fd);
	assert_int_equal(test_finish(reactor, &vectored), 500);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 7, in, 500), 500);
	assert_memory_equal(in, out, 500);
	close(fd);
	xr_reactor_free(reactor);
}

static void test_file_short_at_its_end(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file(1000);
	char buf[500];

	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 900, buf, 500), 100);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 1000, buf, 500), 0);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 1ull << 40, buf, 500), 0);
	close(fd);
	xr_reactor_free(reactor);
}

static void test_file_durable_writes_and_syncs(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file(BLOCK);
	struct test_op fsync = {0};
	char out[512], in[512];

	fill(out, sizeof(out), 2);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, XR_OP_DSYNC, fd, 512, out, 512), 512);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 512, in, 512), 512);
	assert_memory_equal(in, out, 512);
	test_submit(reactor, &fsync, XR_OP_FSYNC, fd);
	assert_int_equal(test_finish(reactor, &fsync), 0);
	fsync.op.flags = XR_OP_DATASYNC;
	test_submit(reactor, &fsync, XR_OP_FSYNC, fd);
	assert_int_equal(test_finish(reactor, &fsync), 0);
	close(fd);
	xr_reactor_free(reactor);
}

static void test_file_fallocate(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file(4 * BLOCK);
	struct test_op punch = {.op = {.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					.offset = BLOCK,
					.len = 2 * BLOCK}};
	char out[4 * BLOCK], in[4 * BLOCK];
	struct stat before, after;

	fill(out, sizeof(out), 3);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, 0, fd, 0, out, sizeof(out)), sizeof(out));
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(fstat(fd, &before), 0);
	test_submit(reactor, &punch, XR_OP_FALLOCATE, fd);
	assert_int_equal(test_finish(reactor, &punch), 0);
	memset(out + BLOCK, 0, 2 * BLOCK);
	assert_int_equal(pread(fd, in, sizeof(in), 0), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(fstat(fd, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	close(fd);
	xr_reactor_free(reactor);
}

static void test_file_failures(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC), closed = make_file(1);
	struct test_op top = {0};
	char byte = 0;

	assert_true(fd >= 0);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, 0, fd, 0, &byte, 1), -ENOSPC);
	/* The descriptor is looked at when the ring is run, not when the operation is submitted. */
	test_rw(reactor, &top, XR_OP_READ, closed, 0, &byte, 1);
	close(closed);
	assert_int_equal(test_finish(reactor, &top), -EBADF);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, -1, 0, &byte, 1), -EBADF);
	assert_int_equal(test_do_rw(reactor, XR_OP_RECV, 0, fd, 0, &byte, 1), -ENOTSOCK);
	close(fd);
	xr_reactor_free(reactor);
}

struct chain {
	struct test_op top;
	struct xr_reactor *reactor;
	bool is_submitting;
	uint32_t nr_left;
	char byte;
	_Atomic bool is_done;
};

static void on_chain(struct xr_op *op, int32_t result)
{
	struct chain *chain = xu_container_of(op, struct chain, top.op);

	assert_false(chain->is_submitting); /* never before xr_op_submit() has returned */
	assert_int_equal(result, 1);
	if (--chain->nr_left == 0) {
		atomic_store(&chain->is_done, true);
		return;
	}
	chain->is_submitting = true;
	xr_op_submit(chain->reactor, op);
	chain->is_submitting = false;
}

/* A callback that submits its operation again does not keep the round. */
static void test_callbacks_submit_again(void **state)
{
	static struct chain chains[8];
	struct xr_reactor *reactor = test_reactor();
	struct xr_reactor_stats stats;
	int fd = make_file(BLOCK);
	uint32_t most = 0;

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		struct chain *chain = &chains[i];

		*chain = (struct chain){.reactor = reactor, .nr_left = 500};
		chain->top.iov = (struct iovec){&chain->byte, 1};
		chain->top.op = (struct xr_op){.cb = on_chain,
			.opcode = XR_OP_READ,
			.fd = fd,
			.iov = &chain->top.iov,
			.nr_iov = 1};
		xr_op_submit(reactor, &chain->top.op);
	}
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		while (!atomic_load(&chains[i].is_done)) {
			uint32_t count = xr_reactor_poll(reactor, PATIENCE_NS);

			most = count > most ? count : most;
		}
	}
	assert_in_range(most, 1, 2 * ARRAY_SIZE(chains));
	xr_reactor_stats_get(reactor, &stats);
	assert_int_equal(stats.nr_ops, 500 * ARRAY_SIZE(chains));
	close(fd);
	xr_reactor_free(reactor);
}

/* ---- more than the ring holds ---- */

#define NR_MANY 3000u

static void test_more_operations_than_entries(void **state)
{
	static struct test_op tops[NR_MANY];
	static uint32_t out[NR_MANY], in[NR_MANY];
	const struct xr_reactor_opts opts = {.cpu = -1, .ring_entries = 4};
	struct xr_reactor *reactor = test_reactor_with(&opts);
	int fd = make_file(sizeof(out));

	/* The first of them before the ring has ever run. */
	for (uint32_t i = 0; i < NR_MANY; i++) {
		out[i] = i * 2654435761u;
		tops[i] = (struct test_op){0};
		test_rw(reactor, &tops[i], XR_OP_WRITE, fd, i * sizeof(out[0]), &out[i],
			sizeof(out[0]));
	}
	for (uint32_t i = 0; i < NR_MANY; i++) {
		assert_int_equal(test_finish(reactor, &tops[i]), sizeof(out[0]));
	}
	for (uint32_t i = 0; i < NR_MANY; i++) {
		test_rw(reactor, &tops[i], XR_OP_READ, fd, i * sizeof(in[0]), &in[i],
			sizeof(in[0]));
	}
	for (uint32_t i = 0; i < NR_MANY; i++) {
		assert_int_equal(test_finish(reactor, &tops[i]), sizeof(in[0]));
	}
	assert_memory_equal(in, out, sizeof(in));
	close(fd);
	xr_reactor_free(reactor);
}

/* ---- cancelling ---- */

/* Two connected sockets on which nothing arrives by itself. */
static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void test_cancel_ends_what_waits(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct test_op recv = {0}, polled = {.op.poll_events = POLLIN};
	int fds[2];
	char byte;

	make_pair(fds);
	xr_op_cancel(reactor, &recv.op); /* not pending: left alone */
	test_rw(reactor, &recv, XR_OP_RECV, fds[0], 0, &byte, 1);
	test_submit(reactor, &polled, XR_OP_POLL, fds[0]);
	for (int i = 0; i < 3; i++) {
		xr_reactor_poll(reactor, XU_NS_PER_MS);
	}
	assert_false(recv.is_done || polled.is_done);
	xr_op_cancel(reactor, &recv.op);
	xr_op_cancel(reactor, &recv.op);
	assert_int_equal(test_finish(reactor, &recv), -ECANCELED);
	xr_op_cancel(reactor, &polled.op);
	assert_int_equal(test_finish(reactor, &polled), -ECANCELED);

	/* Cancelled before the kernel has even seen it. */
	test_rw(reactor, &recv, XR_OP_RECV, fds[0], 0, &byte, 1);
	xr_op_cancel(reactor, &recv.op);
	assert_int_equal(test_finish(reactor, &recv), -ECANCELED);
	close(fds[0]);
	close(fds[1]);
	xr_reactor_free(reactor);
}

/* What has completed keeps its result, and the operation can be used again at once: the old
 * cancellation does not hit the new one. */
static void test_cancel_too_late(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct test_op recv = {0};
	int fds[2];
	char byte;

	make_pair(fds);
	for (int i = 0; i < 50; i++) {
		int32_t result;

		test_rw(reactor, &recv, XR_OP_RECV, fds[0], 0, &byte, 1);
		xr_reactor_poll(reactor, 0);
		assert_int_equal(write(fds[1], "x", 1), 1);
		xr_op_cancel(reactor, &recv.op);
		result = test_finish(reactor, &recv);
		if (result == -ECANCELED) {
			assert_int_equal(read(fds[0], &byte, 1), 1); /* nothing was taken */
		} else {
			assert_int_equal(result, 1);
		}
		test_rw(reactor, &recv, XR_OP_RECV, fds[0], 0, &byte, 1);
		xr_reactor_poll(reactor, 0);
		xr_reactor_poll(reactor, XU_NS_PER_MS);
		assert_false(recv.is_done);
		assert_int_equal(write(fds[1], "y", 1), 1);
		assert_int_equal(test_finish(reactor, &recv), 1);
	}
	close(fds[0]);
	close(fds[1]);
	xr_reactor_free(reactor);
}

/* Many wait, more than the ring has entries; all are cancelled, in any order, those too that the
 * kernel has not been given yet. With `is_running` the ring has run before. */
static void cancel_many(bool is_running)
{
	static struct test_op tops[300];
	static char bytes[300];
	const struct xr_reactor_opts opts = {.cpu = -1, .ring_entries = 4};
	struct xr_reactor *reactor = test_reactor_with(&opts);
	uint32_t count = ARRAY_SIZE(tops);
	int fds[2];

	make_pair(fds);
	if (is_running) {
		xr_reactor_poll(reactor, 0);
	}
	for (uint32_t i = 0; i < count; i++) {
		tops[i] = (struct test_op){0};
		test_rw(reactor, &tops[i], XR_OP_RECV, fds[0], 0, &bytes[i], 1);
	}
	for (uint32_t i = 0; i < count; i++) {
		xr_op_cancel(reactor, &tops[i * 7 % count].op);
		if (i == 100) {
			xr_reactor_poll(reactor, 0);
		}
	}
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(test_finish(reactor, &tops[i]), -ECANCELED);
	}
	close(fds[0]);
	close(fds[1]);
	xr_reactor_free(reactor);
}

static void test_cancel_more_than_entries(void **state)
{
	cancel_many(true);
}

static void test_cancel_before_the_ring_has_run(void **state)
{
	cancel_many(false);
}

/* An operation is cancelled from the callback of another in the same round. */
struct killer {
	struct test_op top, *victim;
	struct xr_reactor *reactor;
	char byte;
};

static void on_killer(struct xr_op *op, int32_t result)
{
	struct killer *killer = xu_container_of(op, struct killer, top.op);

	assert_int_equal(result, 1);
	xr_op_cancel(killer->reactor, &killer->victim->op);
	atomic_store(&killer->top.is_done, true);
}

static void test_cancel_from_a_callback(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct test_op victim = {0};
	struct killer killer = {.victim = &victim, .reactor = reactor};
	int fds[2], file = make_file(BLOCK);
	char byte;

	make_pair(fds);
	test_rw(reactor, &victim, XR_OP_RECV, fds[0], 0, &byte, 1);
	test_rw(reactor, &killer.top, XR_OP_READ, file, 0, &killer.byte, 1);
	killer.top.op.cb = on_killer;
	assert_int_equal(test_finish(reactor, &victim), -ECANCELED);
	close(file);
	close(fds[0]);
	close(fds[1]);
	xr_reactor_free(reactor);
}

/* How many of the blocks of the file begin with this byte. */
static uint32_t count_written(int fd, char byte)
{
	uint32_t count = 0;
	struct stat st;
	char at;

	assert_int_equal(fstat(fd, &st), 0);
	for (off_t offset = 0; offset < st.st_size; offset += BLOCK) {
		assert_int_equal(pread(fd, &at, 1, offset), 1);
		count += at == byte;
	}
	return count;
}

static void wait_until_written(int fd, char byte, uint32_t count)
{
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	while (count_written(fd, byte) < count) {
		test_sleep_ms(1);
		assert_true(test_now_ns() < end_ns);
	}
}

/* A disk is not kept waiting for the end of a long round, but a transfer that is alone waits for
 * it; and nothing calls back before its time. */
static void test_file_transfers_beside_others_go_at_once(void **state)
{
	enum { NR_OPS = 8 };
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file((size_t)NR_OPS * BLOCK);
	struct test_op ops[NR_OPS] = {0};
	char block[BLOCK];

	memset(block, 'x', sizeof(block));
	/* Before its first round the ring takes nothing. */
	for (uint32_t i = 0; i < NR_OPS; i++) {
		test_rw(reactor, &ops[i], XR_OP_WRITE, fd, (uint64_t)i * BLOCK, block, BLOCK);
	}
	test_sleep_ms(20);
	assert_int_equal(count_written(fd, 'x'), 0);
	for (uint32_t i = 0; i < NR_OPS; i++) {
		assert_int_equal(test_finish(reactor, &ops[i]), BLOCK);
	}
	memset(block, 'y', sizeof(block));
	test_rw(reactor, &ops[0], XR_OP_WRITE, fd, 0, block, BLOCK);
	test_sleep_ms(20);
	assert_int_equal(count_written(fd, 'y'), 0);
	for (uint32_t i = 1; i < NR_OPS; i++) {
		test_rw(reactor, &ops[i], XR_OP_WRITE, fd, (uint64_t)i * BLOCK, block, BLOCK);
		wait_until_written(fd, 'y', i + 1);
	}
	for (uint32_t i = 0; i < NR_OPS; i++) {
		assert_false(atomic_load(&ops[i].is_done));
	}
	for (uint32_t i = 0; i < NR_OPS; i++) {
		assert_int_equal(test_finish(reactor, &ops[i]), BLOCK);
	}
	close(fd);
	xr_reactor_free(reactor);
}

/* The kernel makes completions of some twenty things in one call (Linux 6.13): who only looks in
 * and never sleeps gets the others too. */
static void test_io_many_that_end_at_once_for_who_never_sleeps(void **state)
{
	enum { NR = 100 };
	struct test_op ops[NR] = {0};
	struct xr_reactor *reactor = test_reactor();
	const uint64_t one = 1;
	uint64_t end_ns;
	uint32_t nr_done = 0;
	int fds[NR];

	for (int i = 0; i < NR; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		assert_true(fds[i] >= 0);
		ops[i].op.poll_events = POLLIN;
		test_submit(reactor, &ops[i], XR_OP_POLL, fds[i]);
	}
	xr_reactor_poll(reactor, 0);
	for (int i = 0; i < NR; i++) {
		assert_int_equal(write(fds[i], &one, sizeof(one)), sizeof(one));
	}
	end_ns = test_now_ns() + PATIENCE_NS;
	while (nr_done < NR && test_now_ns() < end_ns) {
		nr_done += xr_reactor_poll(reactor, 0);
	}
	assert_int_equal(nr_done, NR);
	for (int i = 0; i < NR; i++) {
		assert_int_equal(ops[i].result, POLLIN);
		close(fds[i]);
	}
	xr_reactor_free(reactor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_reads_what_was_written),
		cmocka_unit_test(test_file_short_at_its_end),
		cmocka_unit_test(test_file_durable_writes_and_syncs),
		cmocka_unit_test(test_file_fallocate),
		cmocka_unit_test(test_file_failures),
		cmocka_unit_test(test_callbacks_submit_again),
		cmocka_unit_test(test_more_operations_than_entries),
		cmocka_unit_test(test_cancel_ends_what_waits),
		cmocka_unit_test(test_cancel_too_late),
		cmocka_unit_test(test_cancel_more_than_entries),
		cmocka_unit_test(test_cancel_before_the_ring_has_run),
		cmocka_unit_test(test_cancel_from_a_callback),
		cmocka_unit_test(test_file_transfers_beside_others_go_at_once),
		cmocka_unit_test(test_io_many_that_end_at_once_for_who_never_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
