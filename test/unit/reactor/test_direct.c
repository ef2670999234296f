/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets without the ring: what is tried, what is handed over to the kernel and when, and that no
 * byte is lost, doubled or out of place on the way from one to the other. Most of it drives a ring
 * by itself, where every step is known; the last runs two reactors that talk, sleep and spin.
 */
#include "test/unit/reactor/test.h"

#include <fcntl.h>
#include <sys/socket.h>

struct rig {
	struct xr_reactor *reactor; /* to whom the ring thinks it belongs */
	const struct xr_ring_ops *ops;
	void *ring;
	int fds[2];
	bool is_off;
};

static struct rig rig_new(void)
{
	const struct xr_platform *platform = xr_platform_linux();
	const char *mask = getenv("XSAN_URING_MASK");
	struct rig rig = {.reactor = test_reactor()};

	rig.is_off = mask != NULL && strstr(mask, "direct") != NULL;
	assert_int_equal(
		platform->ring_new(platform, rig.reactor, 64, &rig.ops, &rig.ring, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rig.fds), 0);
	rig.ops->run(rig.ring, 0);
	return rig;
}

static void rig_free(struct rig *rig)
{
	rig->ops->free(rig->ring);
	xr_reactor_free(rig->reactor);
	close(rig->fds[0]);
	close(rig->fds[1]);
}

static void rig_submit(
	struct rig *rig, struct test_op *top, enum xr_opcode opcode, void *buf, size_t len)
{
	top->iov = (struct iovec){buf, len};
	top->op.iov = &top->iov;
	top->op.nr_iov = 1;
	top->op.cb = test_op_cb;
	top->op.opcode = (uint8_t)opcode;
	top->op.fd = rig->fds[0];
	top->op.is_pending = 1;
	top->result = PENDING;
	atomic_store(&top->is_done, false);
	rig->ops->submit(rig->ring, &top->op);
}

static int32_t rig_finish(struct rig *rig, struct test_op *top)
{
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	while (!top->is_done) {
		rig->ops->run(rig->ring, XU_NS_PER_MS);
		assert_true(test_now_ns() < end_ns);
	}
	return top->result;
}

static void peer_says(struct rig *rig, const char *what)
{
	assert_int_equal(write(rig->fds[1], what, strlen(what)), strlen(what));
}

static uint64_t nr_direct(struct rig *rig)
{
	return rig->ops->nr_direct(rig->ring);
}

/* ---- receiving ---- */

/* A look finds what has come; the callback waits for the run. */
static void test_direct_look_receives(void **state)
{
	struct rig rig = rig_new();
	struct test_op recv = {0};
	char buf[8] = {0};

	rig_submit(&rig, &recv, XR_OP_RECV, buf, sizeof(buf));
	assert_int_equal(rig.ops->run(rig.ring, 0), 0);
	assert_false(rig.ops->has_events(rig.ring));
	peer_says(&rig, "abc");
	assert_int_equal(rig.ops->has_events(rig.ring) || rig.is_off, true);
	assert_false(recv.is_done);
	assert_int_equal(rig_finish(&rig, &recv), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(nr_direct(&rig), !rig.is_off);
	rig_free(&rig);
}

/* Going to sleep hands it over, and the kernel wakes the ring. */
static void test_direct_sleep_hands_over(void **state)
{
	struct rig rig = rig_new();
	struct test_op recv = {0};
	char buf[8] = {0};

	rig_submit(&rig, &recv, XR_OP_RECV, buf, sizeof(buf));
	assert_int_equal(rig.ops->run(rig.ring, XU_NS_PER_MS), 0);
	peer_says(&rig, "abc");
	assert_int_equal(rig_finish(&rig, &recv), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(nr_direct(&rig), 0);
	rig_free(&rig);
}

/* What is tried too often is the kernel's, and so are the next ones, until one is tried again. */
static void test_direct_gives_up_a_slow_peer(void **state)
{
	struct rig rig = rig_new();
	struct test_op recv = {0};
	uint32_t nr_in_vain = 0;
	char buf[8];

	for (uint32_t i = 0; i < 200; i++) {
		uint64_t before = nr_direct(&rig);

		rig_submit(&rig, &recv, XR_OP_RECV, buf, sizeof(buf));
		for (uint32_t k = 0; k < 20; k++) {
			assert_int_equal(rig.ops->run(rig.ring, 0), 0);
		}
		peer_says(&rig, "a");
		assert_int_equal(rig_finish(&rig, &recv), 1);
		nr_in_vain += nr_direct(&rig) == before;
	}
	assert_int_equal(nr_in_vain, 200); /* by then the kernel always has it */
	/* A peer that answers at once is believed again, after a while. */
	for (uint32_t i = 0; i < 100; i++) {
		rig_submit(&rig, &recv, XR_OP_RECV, buf, sizeof(buf));
		peer_says(&rig, "b");
		while (!recv.is_done) {
			rig.ops->run(rig.ring, 0);
		}
	}
	assert_true(rig.is_off || nr_direct(&rig) >= 30);
	rig_free(&rig);
}

static void test_direct_end_and_errors(void **state)
{
	struct rig rig = rig_new();
	struct test_op recv = {0}, send = {0};
	char buf[8];

	rig_submit(&rig, &recv, XR_OP_RECV, buf, sizeof(buf));
	rig.ops->run(rig.ring, 0);
	assert_int_equal(shutdown(rig.fds[1], SHUT_RDWR), 0);
	assert_int_equal(rig_finish(&rig, &recv), 0);
	rig_submit(&rig, &send, XR_OP_SEND, buf, sizeof(buf));
	assert_false(send.is_done); /* also an error waits for the run */
	assert_int_equal(rig_finish(&rig, &send), -EPIPE);
	rig_free(&rig);
}

/* More receives than are kept, cancelled at every stage of their way. */
static void test_direct_cancel(void **state)
{
	struct rig rig = rig_new();
	struct test_op recvs[8];
	char bytes[8];

	for (uint32_t stage = 0; stage < 3; stage++) {
		for (uint32_t i = 0; i < ARRAY_SIZE(recvs); i++) {
			recvs[i] = (struct test_op){0};
			rig_submit(&rig, &recvs[i], XR_OP_RECV, &bytes[i], 1);
		}
		if (stage != 0) {
			rig.ops->run(rig.ring, stage == 1 ? 0 : XU_NS_PER_MS);
		}
		for (uint32_t i = 0; i < ARRAY_SIZE(recvs); i++) {
			rig.ops->cancel(rig.ring, &recvs[i * 3 % 8].op);
		}
		for (uint32_t i = 0; i < ARRAY_SIZE(recvs); i++) {
			assert_int_equal(rig_finish(&rig, &recvs[i]), -ECANCELED);
		}
	}
	/* What a look has received is not lost by a cancellation that comes too late. */
	rig_submit(&rig, &recvs[0], XR_OP_RECV, bytes, 1);
	peer_says(&rig, "x");
	if (rig.ops->has_events(rig.ring)) {
		rig.ops->cancel(rig.ring, &recvs[0].op);
	}
	assert_int_equal(rig_finish(&rig, &recvs[0]), 1);
	assert_int_equal(bytes[0], 'x');
	rig_free(&rig);
}

/* ---- sending ---- */

static void test_direct_send_goes_with_its_submission(void **state)
{
	struct rig rig = rig_new();
	struct test_op send = {0};
	char buf[8] = "hello", in[8] = {0};

	rig_submit(&rig, &send, XR_OP_SEND, buf, 5);
	assert_false(send.is_done);
	if (!rig.is_off) {
		assert_int_equal(recv(rig.fds[1], in, sizeof(in), MSG_DONTWAIT), 5);
		assert_string_equal(in, "hello");
	}
	assert_int_equal(rig_finish(&rig, &send), 5);
	assert_int_equal(nr_direct(&rig), !rig.is_off);
	rig_free(&rig);
}

/* Fills the socket, sends a piece too much in three buffers, and reads all of it: in order, and the
 * result is the whole. With `how` 1 it is cancelled, with 2 the connection is ended. */
static void send_to_a_full_socket(uint32_t how)
{
	enum { PIECE = 6000, SIZE = 64 * PIECE };
	static char out[SIZE], in[SIZE];
	struct rig rig = rig_new();
	struct test_op sends[64] = {0};
	uint32_t nr_sent = 0, got = 0;

	for (uint32_t i = 0; i < SIZE; i++) {
		out[i] = (char)(i * 2654435761u >> 24);
	}
	assert_int_equal(
		setsockopt(rig.fds[0], SOL_SOCKET, SO_SNDBUF, &(int){20000}, sizeof(int)), 0);
	for (bool is_full = false; !is_full && nr_sent < 64; nr_sent++) {
		struct test_op *send = &sends[nr_sent];
		char *at = out + (size_t)nr_sent * PIECE;
		struct iovec parts[3] = {{at, 1}, {at + 1, 4000}, {at + 4001, PIECE - 4001}};
		struct msghdr msg;

		send->op = (struct xr_op){.cb = test_op_cb,
			.opcode = XR_OP_SEND,
			.fd = rig.fds[0],
			.is_pending = 1,
			.iov = parts,
			.nr_iov = 3,
			.msg = &msg};
		send->result = PENDING;
		rig.ops->submit(rig.ring, &send->op);
		rig.ops->run(rig.ring, 0);
		is_full = !send->is_done;
		if (!is_full) {
			continue;
		}
		if (how == 1) {
			rig.ops->cancel(rig.ring, &send->op);
		} else if (how == 2) {
			shutdown(rig.fds[0], SHUT_RDWR);
		}
		while (how == 0 && got < (nr_sent + 1) * PIECE) {
			ssize_t len = recv(rig.fds[1], in + got, SIZE - got, MSG_DONTWAIT);

			got += len > 0 ? (uint32_t)len : 0;
			rig.ops->run(rig.ring, 0);
		}
		if (how == 0) {
			assert_int_equal(rig_finish(&rig, send), PIECE);
		} else {
			assert_true(rig_finish(&rig, send) < 0);
		}
	}
	assert_in_range(nr_sent, 2, 63);
	if (how == 0) {
		assert_int_equal(got, nr_sent * PIECE);
		assert_memory_equal(in, out, got);
	}
	rig_free(&rig);
}

static void test_direct_send_to_a_full_socket(void **state)
{
	send_to_a_full_socket(0);
}

static void test_direct_send_of_which_a_part_has_gone_fails(void **state)
{
	send_to_a_full_socket(1);
	send_to_a_full_socket(2);
}

/* ---- two reactors ---- */

#define NR_BYTES (8u << 20)

/* One end: sends a stream in pieces of any size and checks the one that comes, both at once, and
 * rests now and then, so that its reactor and the other one's sleep, wake and spin in turns. */
struct talker {
	struct xr_reactor *reactor;
	struct xr_msg msg;
	struct xr_timer timer;
	struct xr_op send_op, recv_op;
	struct iovec send_iov[2], recv_iov[2];
	struct msghdr send_msg, recv_msg;
	char out[20000], in[20000];
	struct xu_random random, sizes;
	struct xu_random expected;
	uint32_t nr_sent, nr_received;
	bool is_wrong;
	_Atomic bool is_done;
	struct talker *peer;
};

static void say(struct talker *t)
{
	uint32_t most = xu_random_below(&t->sizes, 4) == 0 ? sizeof(t->out) : 500;
	uint32_t len = 2 + (uint32_t)xu_random_below(&t->sizes, most - 2), first;

	if (t->nr_sent == NR_BYTES) {
		return;
	}
	if (xu_random_below(&t->sizes, 200) == 0) {
		xr_timer_start(
			t->reactor, &t->timer, xu_random_below(&t->sizes, 300 * XU_NS_PER_US));
		return;
	}
	len = len < NR_BYTES - t->nr_sent ? len : NR_BYTES - t->nr_sent;
	for (uint32_t i = 0; i < len; i++) {
		t->out[i] = (char)xu_random_u64(&t->random);
	}
	first = len / 2;
	t->send_iov[0] = (struct iovec){t->out, first};
	t->send_iov[1] = (struct iovec){t->out + first, len - first};
	t->nr_sent += len;
	xr_op_submit(t->reactor, &t->send_op);
}

static void settle(struct talker *t)
{
	if (t->is_wrong || (t->nr_sent == NR_BYTES && t->nr_received == NR_BYTES &&
				   !t->send_op.is_pending && !t->recv_op.is_pending)) {
		atomic_store(&t->is_done, true);
	}
}

static void on_said(struct xr_op *op, int32_t result)
{
	struct talker *t = xu_container_of(op, struct talker, send_op);

	t->is_wrong |= result != (int32_t)(t->send_iov[0].iov_len + t->send_iov[1].iov_len);
	say(t);
	settle(t);
}

static void on_rested(struct xr_timer *timer)
{
	say(xu_container_of(timer, struct talker, timer));
}

static void listen_on(struct talker *t)
{
	uint32_t first = 1 + (uint32_t)xu_random_below(&t->sizes, sizeof(t->in) - 1);

	t->recv_iov[0] = (struct iovec){t->in, first};
	t->recv_iov[1] = (struct iovec){t->in + first, sizeof(t->in) - first};
	t->recv_op.nr_iov = first == sizeof(t->in) ? 1 : 2;
	xr_op_submit(t->reactor, &t->recv_op);
}

static void on_heard(struct xr_op *op, int32_t result)
{
	struct talker *t = xu_container_of(op, struct talker, recv_op);

	t->is_wrong |= result <= 0;
	for (int32_t i = 0; i < result; i++) {
		t->is_wrong |= t->in[i] != (char)xu_random_u64(&t->expected);
	}
	t->nr_received += result > 0 ? (uint32_t)result : 0;
	if (!t->is_wrong && t->nr_received < NR_BYTES) {
		listen_on(t);
	}
	settle(t);
}

static void on_begin(struct xr_msg *msg)
{
	struct talker *t = xu_container_of(msg, struct talker, msg);

	listen_on(t);
	say(t);
}

static void talker_init(struct talker *t, uint64_t seed, uint64_t peer_seed, int fd)
{
	const struct xr_reactor_opts opts = {.cpu = -1, .spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};

	t->reactor = test_reactor_with(&opts);
	t->msg.fn = on_begin;
	t->timer.fn = on_rested;
	xu_random_seed(&t->random, seed);
	xu_random_seed(&t->sizes, seed + 100);
	xu_random_seed(&t->expected, peer_seed);
	t->send_op = (struct xr_op){.cb = on_said,
		.opcode = XR_OP_SEND,
		.fd = fd,
		.iov = t->send_iov,
		.nr_iov = 2,
		.msg = &t->send_msg};
	t->recv_op = (struct xr_op){.cb = on_heard,
		.opcode = XR_OP_RECV,
		.fd = fd,
		.iov = t->recv_iov,
		.msg = &t->recv_msg};
	assert_int_equal(xr_reactor_start(t->reactor, NULL), 0);
}

static void test_direct_streams_both_ways(void **state)
{
	static struct talker talkers[2];
	struct xr_reactor_stats stats;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (uint32_t i = 0; i < 2; i++) {
		talker_init(&talkers[i], 7 + i, 8 - i, fds[i]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		xr_msg_send(talkers[i].reactor, &talkers[i].msg);
	}
	for (uint32_t i = 0; i < 2; i++) {
		test_wait_for(&talkers[i].is_done);
	}
	for (uint32_t i = 0; i < 2; i++) {
		xr_reactor_stop(talkers[i].reactor);
		assert_false(talkers[i].is_wrong);
		xr_reactor_stats_get(talkers[i].reactor, &stats);
		/* Both ways were gone. */
		assert_true(stats.nr_sleeps > 10);
		assert_true(stats.nr_direct > 100 || getenv("XSAN_URING_MASK") != NULL);
		assert_true(stats.nr_direct < stats.nr_ops);
		xr_reactor_free(talkers[i].reactor);
		close(fds[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_direct_look_receives),
		cmocka_unit_test(test_direct_sleep_hands_over),
		cmocka_unit_test(test_direct_gives_up_a_slow_peer),
		cmocka_unit_test(test_direct_end_and_errors),
		cmocka_unit_test(test_direct_cancel),
		cmocka_unit_test(test_direct_send_goes_with_its_submission),
		cmocka_unit_test(test_direct_send_to_a_full_socket),
		cmocka_unit_test(test_direct_send_of_which_a_part_has_gone_fails),
		cmocka_unit_test(test_direct_streams_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
