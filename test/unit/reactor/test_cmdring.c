/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands through the second ring, on what this machine's kernel has that takes any: a socket says
 * at once how many bytes wait in it (Linux 6.7), and a loop device discards later (6.12). Each case
 * that the kernel cannot run says so.
 */
#include "test/unit/reactor/test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define SOCKET_INQ    0u      /* SOCKET_URING_OP_SIOCINQ */
#define BLOCK_DISCARD 0x1200u /* BLOCK_URING_CMD_DISCARD: from 0, the length in the payload */
#define MIB           (1u << 20)

struct test_cmd {
	struct xr_cmd cmd;
	struct xr_reactor *reactor;
	uint64_t payload;
	uint32_t nr_fills;
	uint32_t nr_again; /* times the callback submits it again */
	int32_t result;
	_Atomic bool is_done;
};

static void fill(struct xr_cmd *cmd, void *payload)
{
	static const char zeroes[XR_CMD_BYTES];
	struct test_cmd *tcmd = xu_container_of(cmd, struct test_cmd, cmd);

	assert_memory_equal(payload, zeroes, XR_CMD_BYTES);
	memcpy(payload, &tcmd->payload, sizeof(tcmd->payload));
	tcmd->nr_fills++;
}

static void on_cmd(struct xr_cmd *cmd, int32_t result, uint64_t extra)
{
	struct test_cmd *tcmd = xu_container_of(cmd, struct test_cmd, cmd);

	assert_false(cmd->is_pending);
	assert_false(atomic_load(&tcmd->is_done)); /* exactly once */
	assert_int_equal(extra, 0);
	tcmd->result = result;
	if (tcmd->nr_again > 0) {
		tcmd->nr_again--;
		xr_cmd_submit(tcmd->reactor, cmd);
		assert_false(atomic_load(&tcmd->is_done));
		return;
	}
	atomic_store(&tcmd->is_done, true);
}

static void submit(struct xr_reactor *reactor, struct test_cmd *tcmd, int fd, uint32_t cmd_op)
{
	tcmd->cmd = (struct xr_cmd){.fill = fill, .cb = on_cmd, .fd = fd, .cmd_op = cmd_op};
	tcmd->reactor = reactor;
	tcmd->result = PENDING;
	atomic_store(&tcmd->is_done, false);
	xr_cmd_submit(reactor, &tcmd->cmd);
	assert_int_equal(tcmd->result, PENDING); /* never from within the submit */
}

static int32_t do_cmd(struct xr_reactor *reactor, int fd, uint32_t cmd_op, uint64_t payload)
{
	struct test_cmd tcmd = {.payload = payload};

	submit(reactor, &tcmd, fd, cmd_op);
	test_poll_until(reactor, &tcmd.is_done);
	return tcmd.result;
}

/* A datagram socket in which `len` bytes wait. */
static int socket_with(size_t len)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t addr_len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char bytes[512] = "";

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &addr_len), 0);
	assert_int_equal(sendto(fd, bytes, len, 0, (struct sockaddr *)&addr, addr_len), len);
	return fd;
}

/* A reactor that takes commands, and such a socket; false: this kernel has not both. */
static bool start(struct xr_reactor **ret_reactor, int *ret_fd)
{
	struct xr_reactor *reactor = test_reactor();
	int rc = xr_cmd_prepare(reactor), fd = socket_with(123);

	if (rc == 0) {
		rc = do_cmd(reactor, fd, SOCKET_INQ, 0);
	}
	if (rc == -EOPNOTSUPP) {
		print_message("skipped: this kernel takes no commands for sockets (6.7 does)\n");
		close(fd);
		xr_reactor_free(reactor);
		return false;
	}
	assert_int_equal(rc, 123);
	*ret_reactor = reactor;
	*ret_fd = fd;
	return true;
}

static void stop(struct xr_reactor *reactor, int fd)
{
	close(fd);
	xr_reactor_free(reactor);
}

/* ---- cases ---- */

static void test_cmd_fails_with_the_kernel_s_word(void **state)
{
	struct xr_reactor *reactor;
	int fd, pipes[2];

	if (!start(&reactor, &fd)) {
		skip();
	}
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(xr_cmd_prepare(reactor), 0); /* again is fine */
	assert_int_equal(do_cmd(reactor, 9999, SOCKET_INQ, 0), -EBADF);
	assert_int_equal(do_cmd(reactor, fd, 4711, 0), -EOPNOTSUPP);
	assert_int_equal(do_cmd(reactor, pipes[0], SOCKET_INQ, 0), -EOPNOTSUPP);
	close(pipes[0]);
	close(pipes[1]);
	stop(reactor, fd);
}

static void test_cmd_more_than_the_ring_has(void **state)
{
	enum { NR = 3000 };
	struct test_cmd *tcmds = calloc(NR, sizeof(*tcmds));
	struct xr_reactor_stats before, after;
	struct xr_reactor *reactor;
	int fd;

	assert_non_null(tcmds);
	if (!start(&reactor, &fd)) {
		free(tcmds);
		skip();
	}
	xr_reactor_stats_get(reactor, &before);
	for (uint32_t i = 0; i < NR; i++) {
		submit(reactor, &tcmds[i], fd, SOCKET_INQ);
	}
	for (uint32_t i = 0; i < NR; i++) {
		test_poll_until(reactor, &tcmds[i].is_done);
		assert_int_equal(tcmds[i].result, 123);
		assert_int_equal(tcmds[i].nr_fills, 1);
	}
	xr_reactor_stats_get(reactor, &after);
	assert_true(after.nr_ops - before.nr_ops >= NR);
	stop(reactor, fd);
	free(tcmds);
}

/* A callback that submits at once keeps neither the round nor the other commands. */
static void test_cmd_submits_again_from_its_callback(void **state)
{
	struct test_cmd again = {.nr_again = 500}, once = {0};
	struct xr_reactor *reactor;
	int fd;

	if (!start(&reactor, &fd)) {
		skip();
	}
	submit(reactor, &again, fd, SOCKET_INQ);
	submit(reactor, &once, fd, SOCKET_INQ);
	xr_reactor_poll(reactor, 0);
	assert_true(atomic_load(&once.is_done));
	assert_false(atomic_load(&again.is_done));
	test_poll_until(reactor, &again.is_done);
	assert_int_equal(again.nr_fills, 501);
	assert_int_equal(again.result, 123);
	stop(reactor, fd);
}

/* ---- later completions ---- */

static char loop_path[64];
static int loop_fd = -1;

/* A loop device of 64 MiB over a file that is gone by name; false, having said why. */
static bool make_loop(int *ret_backing)
{
	char backing[] = "cmdring-loop-XXXXXX", command[256];
	FILE *output;

	*ret_backing = mkstemp(backing);
	assert_true(*ret_backing >= 0);
	assert_int_equal(ftruncate(*ret_backing, 64 * MIB), 0);
	snprintf(command, sizeof(command), "losetup --show -f %s 2>&1", backing);
	output = popen(command, "r");
	assert_non_null(output);
	if (fgets(loop_path, sizeof(loop_path), output) == NULL) {
		loop_path[0] = '\0';
	}
	loop_path[strcspn(loop_path, "\n")] = '\0';
	unlink(backing);
	if (pclose(output) != 0) {
		print_message("skipped: %s: %s\n", command, loop_path);
		close(*ret_backing);
		return false;
	}
	loop_fd = open(loop_path, O_RDWR | O_CLOEXEC);
	assert_true(loop_fd >= 0);
	/* The kernel gives it up at its last close, so it does not stay when the test dies. */
	snprintf(command, sizeof(command), "losetup -d %s", loop_path);
	assert_int_equal(system(command), 0);
	return true;
}

/*
 * While commands are out the reactor sleeps in the main ring and is woken for each. A busy machine
 * may well run the kernel's worker before us, so that there is no need to sleep: on until there was
 * one.
 */
static void test_cmd_wakes_a_sleeping_reactor(void **state)
{
	enum { ROUNDS = 50, EACH = 8 };
	struct xr_reactor *reactor = test_reactor();
	struct xr_reactor_stats before, after;
	uint64_t start_ns;
	struct stat st;
	int backing = -1;

	if (xr_cmd_prepare(reactor) != 0 || !make_loop(&backing)) {
		xr_reactor_free(reactor);
		skip();
	}
	if (do_cmd(reactor, loop_fd, BLOCK_DISCARD, 4096) == -EOPNOTSUPP) {
		print_message("skipped: this kernel takes no discards as commands (6.12 does)\n");
		goto out;
	}
	assert_int_equal(do_cmd(reactor, loop_fd, BLOCK_DISCARD, 4095), -EINVAL);
	xr_reactor_stats_get(reactor, &before);
	start_ns = test_now_ns();
	after = before;
	for (uint32_t i = 0; i < ROUNDS || after.nr_sleeps == before.nr_sleeps; i++) {
		struct test_cmd tcmds[EACH] = {0};

		assert_int_equal(pwrite(backing, "data", 4, 100), 4);
		for (uint32_t j = 0; j < EACH; j++) {
			tcmds[j].payload = 4096;
			submit(reactor, &tcmds[j], loop_fd, BLOCK_DISCARD);
		}
		for (uint32_t j = 0; j < EACH; j++) {
			while (!atomic_load(&tcmds[j].is_done)) {
				/* No deadline: only the completion ends the sleep. */
				xr_reactor_poll(reactor, XR_IDLE);
			}
			assert_int_equal(tcmds[j].result, 0);
		}
		assert_true(test_now_ns() - start_ns < PATIENCE_NS);
		xr_reactor_stats_get(reactor, &after);
	}
	assert_int_equal(fstat(backing, &st), 0);
	assert_int_equal(st.st_blocks, 0); /* they were done */
	/* With none out nothing is armed that could end a sleep. */
	xr_reactor_poll(reactor, 0);
	start_ns = test_now_ns();
	assert_int_equal(xr_reactor_poll(reactor, 30 * XU_NS_PER_MS), 0);
	assert_true(test_now_ns() - start_ns >= 25 * XU_NS_PER_MS);
out:
	close(loop_fd);
	close(backing);
	xr_reactor_free(reactor);
}

static void test_cmd_can_be_masked(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	const char *mask = getenv("XSAN_URING_MASK");
	char *old = strdup(mask != NULL ? mask : "");

	setenv("XSAN_URING_MASK", "cmd", 1);
	assert_int_equal(xr_cmd_prepare(reactor), -EOPNOTSUPP);
	setenv("XSAN_URING_MASK", old, 1);
	free(old);
	xr_reactor_free(reactor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmd_fails_with_the_kernel_s_word),
		cmocka_unit_test(test_cmd_more_than_the_ring_has),
		cmocka_unit_test(test_cmd_submits_again_from_its_callback),
		cmocka_unit_test(test_cmd_wakes_a_sleeping_reactor),
		cmocka_unit_test(test_cmd_can_be_masked),
	};

	return cmocka_run_group_tests_name("reactor/cmdring", tests, NULL, NULL);
}
