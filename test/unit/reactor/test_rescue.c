/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on files while the kernel's workers are gone: all of them held up for good by a FIFO
 * that nobody writes to, which stands for those that Linux 6.18 has lost; and none to be had, since
 * the process may make no more threads.
 */
#include "test/unit/reactor/test.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BLOCK 4096u

static char block[BLOCK];

static int make_file(void)
{
	char path[] = "/tmp/xsan-test-rescue-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	return fd;
}

static int32_t do_op(struct xr_reactor *reactor, enum xr_opcode opcode, int fd)
{
	struct test_op top = {.op.len = BLOCK};

	test_submit(reactor, &top, opcode, fd);
	return test_finish(reactor, &top);
}

/* Without waiting there is only a part of it. */
static void read_what_is_cached_in_part(struct xr_reactor *reactor, int fd)
{
	static char big[256 * BLOCK];

	assert_int_equal(pwrite(fd, big, sizeof(big), 0), sizeof(big));
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	assert_int_equal(pread(fd, big, BLOCK, 0), BLOCK);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 0, big, sizeof(big)), sizeof(big));
}

/* Of this thread, whose only one opens the FIFO; the workers are a thread's, whatever ring it uses.
 */
static void hold_up_workers(struct io_uring *ring, const char *fifo)
{
	unsigned max[2] = {1, 0};
	struct io_uring_sqe *sqe;

	assert_int_equal(io_uring_queue_init(4, ring, 0), 0);
	assert_int_equal(io_uring_register_iowq_max_workers(ring, max), 0);
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_openat(sqe, AT_FDCWD, fifo, O_RDONLY, 0);
	sqe->flags |= IOSQE_ASYNC;
	assert_int_equal(io_uring_submit(ring), 1);
	test_sleep_ms(100);
}

static void test_rescue_of_what_is_never_begun(void **state)
{
	char dir[] = "/tmp/xsan-test-rescue-XXXXXX", fifo[64];
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file(), other;
	struct test_op cancelled = {.op.len = BLOCK}, punch = {.op.len = BLOCK};
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	uint64_t start_ns;

	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, 0, fd, 0, block, BLOCK), BLOCK);
	hold_up_workers(&ring, fifo);

	/* What its owner does not want any more stays cancelled; the other one is done, late,
	 * however much else goes on. */
	test_submit(reactor, &cancelled, XR_OP_FSYNC, fd);
	test_submit(reactor, &punch, XR_OP_FALLOCATE, fd);
	xr_reactor_poll(reactor, 0);
	assert_false(cancelled.is_done || punch.is_done);
	xr_op_cancel(reactor, &cancelled.op);
	start_ns = test_now_ns();
	assert_int_equal(test_finish(reactor, &cancelled), -ECANCELED);
	assert_true(test_now_ns() - start_ns < 9 * XU_NS_PER_S);
	while (!punch.is_done) {
		assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 0, block, BLOCK), BLOCK);
		test_sleep_ms(10);
		assert_true(test_now_ns() - start_ns < 60 * XU_NS_PER_S);
	}
	assert_int_equal(punch.result, 0);
	assert_true(test_now_ns() - start_ns > 9 * XU_NS_PER_S);

	/* From now on nothing waits for the kernel's. */
	start_ns = test_now_ns();
	assert_int_equal(do_op(reactor, XR_OP_FSYNC, fd), 0);
	assert_int_equal(do_op(reactor, XR_OP_FALLOCATE, fd), 0);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, 0, fd, 64 * BLOCK, block, BLOCK), BLOCK);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, XR_OP_DSYNC, fd, 0, block, BLOCK), BLOCK);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 64 * BLOCK, block, BLOCK), BLOCK);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, fd, 65 * BLOCK, block, BLOCK), 0);
	assert_int_equal(test_do_rw(reactor, XR_OP_READ, 0, -1, 0, block, BLOCK), -EBADF);
	read_what_is_cached_in_part(reactor, fd);
	assert_true(test_now_ns() - start_ns < 9 * XU_NS_PER_S);

	other = open(fifo, O_WRONLY); /* lets the worker go */
	assert_true(other >= 0);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	close(cqe->res);
	close(other);
	io_uring_queue_exit(&ring);
	unlink(fifo);
	rmdir(dir);
	close(fd);
	xr_reactor_free(reactor);
}

/* ---- no threads ---- */

struct job {
	struct xr_work work;
	_Atomic bool is_done;
};

static void do_nothing(struct xr_work *work)
{
}

static void job_done(struct xr_work *work)
{
	atomic_store(&xu_container_of(work, struct job, work)->is_done, true);
}

/* In a process of its own, as nobody in particular: root has no limit. The thread of the pool,
 * which it will need, is there before the limit. */
static void without_threads(void)
{
	const struct rlimit none = {0, 0};
	struct job job = {.work = {.work = do_nothing, .done = job_done}};
	struct xr_reactor *reactor = test_reactor();
	int fd = make_file();

	xr_work_submit(reactor, &job.work);
	test_poll_until(reactor, &job.is_done);
	assert_true(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
	assert_int_equal(setrlimit(RLIMIT_NPROC, &none), 0);
	assert_int_equal(test_do_rw(reactor, XR_OP_WRITE, 0, fd, 0, block, BLOCK), BLOCK);
	assert_int_equal(do_op(reactor, XR_OP_FSYNC, fd), 0);
	assert_int_equal(do_op(reactor, XR_OP_FALLOCATE, fd), 0);
	xr_reactor_free(reactor);
}

static void test_rescue_without_threads(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		without_threads();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rescue_without_threads),
		cmocka_unit_test(test_rescue_of_what_is_never_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
