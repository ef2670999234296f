/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets on 127.0.0.1 through io_uring: connections from beginning to end, broken ones, and what
 * becomes of operations that wait. Much of this is also what the simulator (test/sim) claims about
 * TCP; here the kernel says whether that is true.
 */
#include "lib/reactor/address.h"
#include "test/unit/reactor/test.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

struct pair {
	struct xr_reactor *reactor;
	const struct xr_platform *platform;
	int listen_fd, client, server;
	uint16_t port;
};

static struct pair pair_listen(const char *address)
{
	struct pair p = {.reactor = test_reactor(), .platform = xr_platform_linux()};
	struct xr_listen_opts opts = {.address = address, .backlog = 4};
	char text[XR_ADDRESS_SIZE];

	p.client = -1;
	p.server = -1;
	p.listen_fd = p.platform->tcp_listen(p.platform, &opts, NULL);
	assert_true(p.listen_fd >= 0);
	assert_int_equal(p.platform->sock_name(p.platform, p.listen_fd, false, text, &p.port), 0);
	assert_string_equal(text, address);
	assert_int_not_equal(p.port, 0);
	return p;
}

struct connect_op {
	struct test_op top;
	struct sockaddr_storage addr;
};

static void start_connect(struct pair *p, struct connect_op *op, const char *address, uint16_t port)
{
	op->top.op.addr_len = (uint32_t)xr_address_parse(address, port, &op->addr);
	op->top.op.addr = (struct sockaddr *)&op->addr;
	p->client = p->platform->tcp_socket(p->platform, address);
	assert_true(p->client >= 0);
	test_submit(p->reactor, &op->top, XR_OP_CONNECT, p->client);
}

static void establish_to(struct pair *p, const char *address)
{
	struct connect_op connect = {0};
	struct test_op accept = {0};

	test_submit(p->reactor, &accept, XR_OP_ACCEPT, p->listen_fd);
	start_connect(p, &connect, address, p->port);
	assert_int_equal(test_finish(p->reactor, &connect.top), 0);
	p->server = test_finish(p->reactor, &accept);
	assert_true(p->server >= 0);
	p->platform->sock_tune(p->platform, p->server);
	p->platform->sock_tune(p->platform, p->client);
}

static struct pair pair_new(void)
{
	struct pair p = pair_listen("127.0.0.1");

	establish_to(&p, "127.0.0.1");
	return p;
}

static void pair_close(struct pair *p, int *fd)
{
	if (*fd >= 0) {
		p->platform->close(p->platform, *fd);
		*fd = -1;
	}
}

static void pair_free(struct pair *p)
{
	pair_close(p, &p->client);
	pair_close(p, &p->server);
	pair_close(p, &p->listen_fd);
	xr_reactor_free(p->reactor);
}

static int32_t do_recv(struct pair *p, int fd, void *buf, size_t len)
{
	return test_do_rw(p->reactor, XR_OP_RECV, 0, fd, 0, buf, len);
}

static int32_t do_send(struct pair *p, int fd, const void *buf, size_t len)
{
	return test_do_rw(p->reactor, XR_OP_SEND, 0, fd, 0, (void *)buf, len);
}

static void recv_all(struct pair *p, int fd, char *buf, size_t len)
{
	while (len != 0) {
		int32_t got = do_recv(p, fd, buf, len);

		assert_in_range(got, 1, len);
		buf += got;
		len -= (size_t)got;
	}
}

/* Lets the network, which is in the kernel, have its say. */
static void settle(struct pair *p)
{
	for (int i = 0; i < 5; i++) {
		xr_reactor_poll(p->reactor, 2 * XU_NS_PER_MS);
	}
}

/* Closing it will send a reset instead of the end of the stream. */
static void set_reset_on_close(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
}

/* ---- streams ---- */

static void test_socket_names(void **state)
{
	struct pair p = pair_new();
	char a[XR_ADDRESS_SIZE], b[XR_ADDRESS_SIZE];
	uint16_t port_a, port_b;

	assert_int_equal(p.platform->sock_name(p.platform, p.client, true, a, &port_a), 0);
	assert_string_equal(a, "127.0.0.1");
	assert_int_equal(port_a, p.port);
	assert_int_equal(p.platform->sock_name(p.platform, p.client, false, a, &port_a), 0);
	assert_int_equal(p.platform->sock_name(p.platform, p.server, true, b, &port_b), 0);
	assert_int_equal(port_a, port_b);
	assert_int_equal(
		p.platform->sock_name(p.platform, p.listen_fd, true, b, &port_b), -ENOTCONN);
	assert_int_equal(p.platform->sock_name(p.platform, -1, true, b, &port_b), -EBADF);
	pair_free(&p);
}

static void test_socket_ipv6(void **state)
{
	struct pair p = pair_listen("::1");
	char byte = 7, got = 0;

	establish_to(&p, "::1");
	assert_int_equal(do_send(&p, p.client, &byte, 1), 1);
	recv_all(&p, p.server, &got, 1);
	assert_int_equal(got, 7);
	pair_free(&p);
}

static void test_socket_large_vectored_send(void **state)
{
	enum { SIZE = 8 << 20 };
	struct pair p = pair_new();
	char *out = malloc(SIZE), *in = malloc(SIZE);
	struct iovec parts[3];
	struct msghdr msg;
	struct test_op send = {.op = {.iov = parts, .nr_iov = 3, .msg = &msg}};
	struct xu_random random;

	assert_true(out != NULL && in != NULL);
	xu_random_seed(&random, 5);
	xu_random_bytes(&random, out, SIZE);
	parts[0] = (struct iovec){out, 1};
	parts[1] = (struct iovec){out + 1, SIZE / 2};
	parts[2] = (struct iovec){out + 1 + SIZE / 2, SIZE - 1 - SIZE / 2};
	test_submit(p.reactor, &send, XR_OP_SEND, p.client);
	recv_all(&p, p.server, in, SIZE);
	assert_int_equal(test_finish(p.reactor, &send), SIZE);
	assert_memory_equal(in, out, SIZE);
	free(out);
	free(in);
	pair_free(&p);
}

static void test_socket_vectored_recv_of_what_there_is(void **state)
{
	struct pair p = pair_new();
	char in[10] = {0};
	struct iovec parts[2] = {{in, 2}, {in + 2, 8}};
	struct msghdr msg;
	struct test_op recv = {.op = {.iov = parts, .nr_iov = 2, .msg = &msg}};

	test_submit(p.reactor, &recv, XR_OP_RECV, p.server);
	assert_int_equal(do_send(&p, p.client, "abcde", 5), 5);
	assert_int_equal(test_finish(p.reactor, &recv), 5); /* does not wait for more */
	assert_string_equal(in, "abcde");
	pair_free(&p);
}

/* ---- beginnings ---- */

static void test_socket_connect_refused(void **state)
{
	struct pair p = pair_listen("127.0.0.1");
	struct connect_op connect = {0};

	pair_close(&p, &p.listen_fd); /* now nobody has the port */
	start_connect(&p, &connect, "127.0.0.1", p.port);
	assert_int_equal(test_finish(p.reactor, &connect.top), -ECONNREFUSED);
	pair_free(&p);
}

static void test_socket_wrong_states(void **state)
{
	struct pair p = pair_listen("127.0.0.1");
	struct connect_op connect = {0};
	struct test_op accept = {0};
	char byte;

	p.client = p.platform->tcp_socket(p.platform, "127.0.0.1");
	assert_int_equal(do_recv(&p, p.client, &byte, 1), -ENOTCONN);
	assert_int_equal(do_send(&p, p.client, &byte, 1), -EPIPE);
	test_submit(p.reactor, &accept, XR_OP_ACCEPT, p.client);
	assert_int_equal(test_finish(p.reactor, &accept), -EINVAL);
	pair_close(&p, &p.client);
	establish_to(&p, "127.0.0.1");
	connect.top.op.addr_len = (uint32_t)xr_address_parse("127.0.0.1", p.port, &connect.addr);
	connect.top.op.addr = (struct sockaddr *)&connect.addr;
	test_submit(p.reactor, &connect.top, XR_OP_CONNECT, p.client);
	assert_int_equal(test_finish(p.reactor, &connect.top), -EISCONN);
	pair_free(&p);
}

/* ---- ends ---- */

static void test_socket_close_is_the_end_of_the_stream(void **state)
{
	struct pair p = pair_new();
	char buf[10] = {0};

	assert_int_equal(do_send(&p, p.client, "bye", 3), 3);
	pair_close(&p, &p.client);
	recv_all(&p, p.server, buf, 3);
	assert_string_equal(buf, "bye");
	assert_int_equal(do_recv(&p, p.server, buf, 1), 0);
	assert_int_equal(do_recv(&p, p.server, buf, 1), 0);
	assert_int_equal(do_send(&p, p.server, buf, 1), 1); /* the first one seems to work */
	settle(&p);
	assert_true(do_send(&p, p.server, buf, 1) < 0);
	assert_int_equal(do_send(&p, p.server, buf, 1), -EPIPE);
	pair_free(&p);
}

static void test_socket_close_with_unread_data_resets(void **state)
{
	struct pair p = pair_new();
	char byte = 1;

	assert_int_equal(do_send(&p, p.client, &byte, 1), 1);
	settle(&p);
	pair_close(&p, &p.server);
	settle(&p);
	assert_int_equal(do_recv(&p, p.client, &byte, 1), -ECONNRESET);
	assert_int_equal(do_recv(&p, p.client, &byte, 1), 0); /* told once */
	assert_int_equal(do_send(&p, p.client, &byte, 1), -EPIPE);
	pair_free(&p);
}

static void test_socket_shutdown_wakes_both_sides(void **state)
{
	struct pair p = pair_new();
	struct test_op here = {0}, there = {0};
	char a, b;

	test_rw(p.reactor, &here, XR_OP_RECV, p.client, 0, &a, 1);
	test_rw(p.reactor, &there, XR_OP_RECV, p.server, 0, &b, 1);
	settle(&p);
	p.platform->sock_shutdown(p.platform, p.client);
	assert_int_equal(test_finish(p.reactor, &here), 0);
	assert_int_equal(test_finish(p.reactor, &there), 0);
	assert_int_equal(do_send(&p, p.client, &a, 1), -EPIPE);
	pair_free(&p);
}

static void test_socket_shutdown_ends_listening(void **state)
{
	struct pair p = pair_listen("127.0.0.1");
	struct connect_op connect = {0};
	struct test_op accept = {0};

	test_submit(p.reactor, &accept, XR_OP_ACCEPT, p.listen_fd);
	settle(&p);
	p.platform->sock_shutdown(p.platform, p.listen_fd);
	assert_int_equal(test_finish(p.reactor, &accept), -EINVAL);
	start_connect(&p, &connect, "127.0.0.1", p.port);
	assert_int_equal(test_finish(p.reactor, &connect.top), -ECONNREFUSED);
	pair_free(&p);
}

/* Who only closes a socket on which something waits ends nothing. */
static void test_socket_pending_operation_keeps_the_connection(void **state)
{
	struct pair p = pair_new();
	struct test_op recv = {0}, peer = {0};
	char a, b;

	test_rw(p.reactor, &recv, XR_OP_RECV, p.client, 0, &a, 1);
	settle(&p);
	pair_close(&p, &p.client);
	test_rw(p.reactor, &peer, XR_OP_RECV, p.server, 0, &b, 1);
	settle(&p);
	assert_false(peer.is_done || recv.is_done);
	xr_op_cancel(p.reactor, &recv.op);
	assert_int_equal(test_finish(p.reactor, &recv), -ECANCELED);
	assert_int_equal(test_finish(p.reactor, &peer), 0);
	pair_free(&p);
}

static void test_socket_reset_ends_what_waits(void **state)
{
	struct pair p = pair_new();
	struct test_op recv = {0};
	char byte;

	test_rw(p.reactor, &recv, XR_OP_RECV, p.server, 0, &byte, 1);
	settle(&p);
	set_reset_on_close(p.client);
	pair_close(&p, &p.client);
	assert_int_equal(test_finish(p.reactor, &recv), -ECONNRESET);
	pair_free(&p);
}

/* A send that cannot be finished fails, however much of it has gone. */
static void test_socket_send_is_all_or_an_error(void **state)
{
	enum { SIZE = 16 << 20 };
	static const char *const how[] = {"reset", "shutdown", "cancel"};

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		for (uint32_t nr_iov = 1; nr_iov <= 2; nr_iov++) {
			struct pair p = pair_new();
			char *out = calloc(1, SIZE), in[1000];
			struct iovec parts[2] = {
				{out, nr_iov == 1 ? SIZE : SIZE / 2}, {out + SIZE / 2, SIZE / 2}};
			struct msghdr msg;
			struct test_op send = {.op = {.iov = parts, .nr_iov = nr_iov, .msg = &msg}};
			int32_t result;

			assert_non_null(out);
			test_submit(p.reactor, &send, XR_OP_SEND, p.client);
			recv_all(&p, p.server, in, sizeof(in));
			settle(&p);
			assert_false(send.is_done);
			if (i == 0) {
				set_reset_on_close(p.server);
				pair_close(&p, &p.server);
			} else if (i == 1) {
				p.platform->sock_shutdown(p.platform, p.client);
			} else {
				xr_op_cancel(p.reactor, &send.op);
			}
			result = test_finish(p.reactor, &send);
			if (result >= 0) {
				fail_msg("%s, %u buffers: %d", how[i], nr_iov, result);
			}
			free(out);
			pair_free(&p);
		}
	}
}

static void test_socket_poll(void **state)
{
	struct pair p = pair_listen("127.0.0.1");
	struct test_op acceptable = {.op.poll_events = POLLIN};
	struct test_op readable = {.op.poll_events = POLLIN};
	struct test_op writable = {.op.poll_events = POLLOUT};

	test_submit(p.reactor, &acceptable, XR_OP_POLL, p.listen_fd);
	settle(&p);
	assert_false(acceptable.is_done);
	establish_to(&p, "127.0.0.1");
	assert_int_equal(test_finish(p.reactor, &acceptable), POLLIN);
	test_submit(p.reactor, &writable, XR_OP_POLL, p.server);
	assert_int_equal(test_finish(p.reactor, &writable), POLLOUT);
	test_submit(p.reactor, &readable, XR_OP_POLL, p.server);
	settle(&p);
	assert_false(readable.is_done);
	assert_int_equal(do_send(&p, p.client, "x", 1), 1);
	assert_int_equal(test_finish(p.reactor, &readable), POLLIN);
	pair_free(&p);
}

static void test_socket_accept_and_connect_cancelled(void **state)
{
	struct pair p = pair_listen("127.0.0.1");
	struct connect_op connects[8] = {0};
	int fds[8];
	struct test_op accept = {0};
	uint32_t nr_waiting = 0;

	test_submit(p.reactor, &accept, XR_OP_ACCEPT, p.listen_fd);
	settle(&p);
	xr_op_cancel(p.reactor, &accept.op);
	assert_int_equal(test_finish(p.reactor, &accept), -ECANCELED);
	/* Five fit into the backlog of four; the others wait. */
	for (int i = 0; i < 8; i++) {
		start_connect(&p, &connects[i], "127.0.0.1", p.port);
		fds[i] = p.client;
	}
	for (int i = 0; i < 5; i++) {
		assert_int_equal(test_finish(p.reactor, &connects[i].top), 0);
	}
	settle(&p);
	for (int i = 0; i < 8; i++) {
		nr_waiting += !connects[i].top.is_done;
		xr_op_cancel(p.reactor, &connects[i].top.op);
	}
	assert_int_equal(nr_waiting, 3);
	for (int i = 0; i < 8; i++) {
		int32_t result = test_finish(p.reactor, &connects[i].top);

		nr_waiting -= result == -ECANCELED;
		close(fds[i]);
	}
	assert_int_equal(nr_waiting, 0);
	p.client = -1;
	pair_free(&p);
}

static int option_of(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = 0;

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* Without a word of it a peer that has vanished is found out within two minutes, whether or not it
 * owes an acknowledgement. */
static void test_socket_ends_without_its_peer(void **state)
{
	struct pair p = pair_new();

	(void)state;
	assert_int_equal(option_of(p.server, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_in_range(option_of(p.server, IPPROTO_TCP, TCP_KEEPIDLE) +
				option_of(p.server, IPPROTO_TCP, TCP_KEEPINTVL) *
					option_of(p.server, IPPROTO_TCP, TCP_KEEPCNT),
		30, 120);
	assert_in_range(option_of(p.server, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000, 120000);
	pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_socket_names),
		cmocka_unit_test(test_socket_ipv6),
		cmocka_unit_test(test_socket_large_vectored_send),
		cmocka_unit_test(test_socket_vectored_recv_of_what_there_is),
		cmocka_unit_test(test_socket_connect_refused),
		cmocka_unit_test(test_socket_wrong_states),
		cmocka_unit_test(test_socket_close_is_the_end_of_the_stream),
		cmocka_unit_test(test_socket_close_with_unread_data_resets),
		cmocka_unit_test(test_socket_shutdown_wakes_both_sides),
		cmocka_unit_test(test_socket_shutdown_ends_listening),
		cmocka_unit_test(test_socket_pending_operation_keeps_the_connection),
		cmocka_unit_test(test_socket_reset_ends_what_waits),
		cmocka_unit_test(test_socket_send_is_all_or_an_error),
		cmocka_unit_test(test_socket_poll),
		cmocka_unit_test(test_socket_ends_without_its_peer),
		cmocka_unit_test(test_socket_accept_and_connect_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
