/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated network: streams that arrive whole and in any pieces, connections that begin, end,
 * break and hang as TCP's do, and hosts that fall silent. */
#include <errno.h>
#include <poll.h>

#include "lib/util/clock.h"
#include "test/sim/test_op.h"

#define PORT 4420

struct side {
	struct sim_host *host;
	struct xr_reactor *reactor;
	const struct xr_platform *platform;
	int fd;
};

struct fixture {
	struct sim *sim;
	struct side client, server;
	int listen_fd;
};

static void side_init(struct side *side, struct sim *sim, const char *name)
{
	side->host = sim_host_new(sim, name, NULL);
	side->reactor = test_reactor(side->host);
	side->platform = sim_host_platform(side->host);
	side->fd = -1;
}

static int do_listen(struct side *side, const char *address, uint16_t port, uint32_t backlog)
{
	struct xr_listen_opts opts = {.address = address, .port = port, .backlog = backlog};

	return side->platform->tcp_listen(side->platform, &opts, NULL);
}

static struct fixture fixture_new(uint64_t seed)
{
	struct fixture f = {.sim = sim_new(seed)};

	side_init(&f.client, f.sim, "client");
	side_init(&f.server, f.sim, "server");
	f.listen_fd = do_listen(&f.server, "10.0.0.2", PORT, 8);
	assert_true(f.listen_fd >= 0);
	return f;
}

static void side_close(struct side *side)
{
	if (side->fd >= 0) {
		side->platform->close(side->platform, side->fd);
		side->fd = -1;
	}
}

static void fixture_free(struct fixture *f)
{
	side_close(&f->client);
	side_close(&f->server);
	if (f->listen_fd >= 0) {
		f->server.platform->close(f->server.platform, f->listen_fd);
	}
	assert_int_equal(sim_host_nr_open(f->client.host), 0);
	assert_int_equal(sim_host_nr_open(f->server.host), 0);
	assert_int_equal(sim_net_nr_connections(f->sim), 0);
	xr_reactor_free(f->client.reactor);
	xr_reactor_free(f->server.reactor);
	sim_free(f->sim);
}

static void start_connect(struct fixture *f, struct side *side, struct test_op *top,
	const char *address, uint16_t port)
{
	if (side->fd < 0) {
		side->fd = side->platform->tcp_socket(side->platform, address);
		assert_true(side->fd >= 0);
	}
	top->op.addr = (struct sockaddr *)&top->addr;
	top->op.addr_len = (uint32_t)xr_address_parse(address, port, &top->addr);
	test_submit(f->sim, side->reactor, top, XR_OP_CONNECT, side->fd);
}

static int32_t do_connect(struct fixture *f, const char *address, uint16_t port)
{
	struct test_op top = {0};

	start_connect(f, &f->client, &top, address, port);
	return test_wait(&top);
}

static int32_t do_accept(struct fixture *f)
{
	struct test_op top = {0};

	test_submit(f->sim, f->server.reactor, &top, XR_OP_ACCEPT, f->listen_fd);
	return test_wait(&top);
}

static void establish(struct fixture *f)
{
	assert_int_equal(do_connect(f, "10.0.0.2", PORT), 0);
	f->server.fd = do_accept(f);
	assert_true(f->server.fd >= 0);
}

static int32_t do_send(struct fixture *f, struct side *side, const void *buf, size_t len)
{
	return test_do_rw(f->sim, side->reactor, XR_OP_SEND, 0, side->fd, 0, (void *)buf, len);
}

static int32_t do_recv(struct fixture *f, struct side *side, void *buf, size_t len)
{
	return test_do_rw(f->sim, side->reactor, XR_OP_RECV, 0, side->fd, 0, buf, len);
}

/* Receives exactly `len` bytes; returns in how many pieces they came. */
static uint32_t recv_all(struct fixture *f, struct side *side, char *buf, size_t len)
{
	uint32_t count = 0;

	while (len != 0) {
		int32_t got = do_recv(f, side, buf, len);

		assert_in_range(got, 1, len);
		buf += got;
		len -= (size_t)got;
		count++;
	}
	return count;
}

/* ---- streams ---- */

static void test_stream_arrives_whole_in_any_pieces(void **state)
{
	static char out[300000], in[300000];
	uint32_t nr_pieces[3] = {0};

	for (uint64_t seed = 0; seed < 3; seed++) {
		struct fixture f = fixture_new(seed);
		struct test_op send = {0};

		sim_net_set(f.sim, &(struct sim_net_opts){.buffer_bytes = 10000});
		establish(&f);
		for (int direction = 0; direction < 2; direction++) {
			struct side *from = direction ? &f.server : &f.client;
			struct side *to = direction ? &f.client : &f.server;

			xu_random_bytes(sim_random(f.sim), out, sizeof(out));
			test_rw(f.sim, from->reactor, &send, XR_OP_SEND, from->fd, 0, out,
				sizeof(out));
			nr_pieces[seed] += recv_all(&f, to, in, sizeof(in));
			assert_memory_equal(in, out, sizeof(in));
			assert_int_equal(test_wait(&send), sizeof(out));
		}
		assert_in_range(nr_pieces[seed], 40, 50000);
		fixture_free(&f);
	}
	assert_true(nr_pieces[0] != nr_pieces[1] && nr_pieces[1] != nr_pieces[2]);
}

static void test_vectored_send_and_recv(void **state)
{
	struct fixture f = fixture_new(1);
	char out[3000], in[3000] = {0};
	struct iovec out_parts[3] = {{out, 1}, {out + 1, 1000}, {out + 1001, 1999}};
	struct test_op send = {0};
	uint32_t done = 0;

	establish(&f);
	xu_random_bytes(sim_random(f.sim), out, sizeof(out));
	send.op.iov = out_parts;
	send.op.nr_iov = 3;
	test_submit(f.sim, f.client.reactor, &send, XR_OP_SEND, f.client.fd);
	assert_int_equal(test_wait(&send), sizeof(out));
	while (done < sizeof(in)) {
		uint32_t left = (uint32_t)sizeof(in) - done, part = left / 2;
		struct iovec in_parts[2] = {{in + done, part}, {in + done + part, left - part}};
		struct test_op recv = {0};
		int32_t got;

		recv.op.iov = in_parts;
		recv.op.nr_iov = 2;
		test_submit(f.sim, f.server.reactor, &recv, XR_OP_RECV, f.server.fd);
		got = test_wait(&recv);
		assert_in_range(got, 1, left);
		done += (uint32_t)got;
	}
	assert_memory_equal(in, out, sizeof(in));
	fixture_free(&f);
}

static void test_buffers_are_bounded(void **state)
{
	struct fixture f = fixture_new(1);
	static char out[5000], in[5000];
	struct test_op send = {0};

	sim_net_set(f.sim, &(struct sim_net_opts){.buffer_bytes = 1000});
	establish(&f);
	memset(out, 1, sizeof(out));
	test_rw(f.sim, f.client.reactor, &send, XR_OP_SEND, f.client.fd, 0, out, sizeof(out));
	assert_int_equal(sim_run(f.sim, test_is_done, &send, XU_NS_PER_S), -EDEADLK);
	recv_all(&f, &f.server, in, 3999);
	assert_int_equal(sim_run(f.sim, test_is_done, &send, XU_NS_PER_S), -EDEADLK);
	recv_all(&f, &f.server, in, 1);
	assert_int_equal(test_wait(&send), sizeof(out));
	recv_all(&f, &f.server, in, 1000);
	fixture_free(&f);
}

/* Who has two sends on one socket gets them mixed, sooner or later. */
static void test_two_sends_at_once_mix(void **state)
{
	uint32_t nr_mixed = 0;

	for (uint64_t seed = 0; seed < 20; seed++) {
		struct fixture f = fixture_new(seed);
		static char a[2000], b[2000], in[4000];
		struct test_op sends[2] = {0};
		uint32_t nr_changes = 0, nr_a = 0;

		sim_net_set(f.sim, &(struct sim_net_opts){.buffer_bytes = 500});
		establish(&f);
		memset(a, 'a', sizeof(a));
		memset(b, 'b', sizeof(b));
		test_rw(f.sim, f.client.reactor, &sends[0], XR_OP_SEND, f.client.fd, 0, a, 2000);
		test_rw(f.sim, f.client.reactor, &sends[1], XR_OP_SEND, f.client.fd, 0, b, 2000);
		recv_all(&f, &f.server, in, sizeof(in));
		for (uint32_t i = 0; i < sizeof(in); i++) {
			nr_a += in[i] == 'a';
			nr_changes += i > 0 && in[i] != in[i - 1];
		}
		assert_int_equal(nr_a, 2000);
		nr_mixed += nr_changes > 1;
		test_wait(&sends[0]);
		test_wait(&sends[1]);
		fixture_free(&f);
	}
	assert_true(nr_mixed > 10);
}

/* ---- beginnings ---- */

static void test_names_of_both_ends(void **state)
{
	struct fixture f = fixture_new(1);
	char a[XR_ADDRESS_SIZE], b[XR_ADDRESS_SIZE];
	uint16_t port_a, port_b;

	establish(&f);
	assert_int_equal(
		f.client.platform->sock_name(f.client.platform, f.client.fd, true, a, &port_a), 0);
	assert_string_equal(a, "10.0.0.2");
	assert_int_equal(port_a, PORT);
	assert_int_equal(
		f.client.platform->sock_name(f.client.platform, f.client.fd, false, a, &port_a), 0);
	assert_int_equal(
		f.server.platform->sock_name(f.server.platform, f.server.fd, true, b, &port_b), 0);
	assert_string_equal(a, "10.0.0.1");
	assert_string_equal(b, a);
	assert_int_equal(port_b, port_a);
	assert_int_equal(
		f.server.platform->sock_name(f.server.platform, f.listen_fd, true, b, &port_b),
		-ENOTCONN);
	assert_int_equal(
		f.server.platform->sock_name(f.server.platform, 99, true, b, &port_b), -EBADF);
	fixture_free(&f);
}

static void test_listen_refusals(void **state)
{
	struct fixture f = fixture_new(1);
	char address[XR_ADDRESS_SIZE];
	uint16_t port;
	int fd;

	assert_int_equal(do_listen(&f.server, "10.0.0.2", PORT, 1), -EADDRINUSE);
	assert_int_equal(do_listen(&f.server, "0.0.0.0", PORT, 1), -EADDRINUSE);
	assert_int_equal(do_listen(&f.server, "10.0.0.9", 1, 1), -EADDRNOTAVAIL);
	assert_int_equal(do_listen(&f.server, "server", 1, 1), -EINVAL);
	fd = do_listen(&f.server, "::", 0, 1); /* any port */
	assert_true(fd >= 0);
	assert_int_equal(
		f.server.platform->sock_name(f.server.platform, fd, false, address, &port), 0);
	assert_string_equal(address, "::");
	assert_true(port >= 32768);
	test_close(f.server.host, fd);
	fixture_free(&f);
}

static void test_connect_refused(void **state)
{
	struct fixture f = fixture_new(1);

	assert_int_equal(do_connect(&f, "10.0.0.2", PORT + 1), -ECONNREFUSED);
	assert_true(sim_now_ns(f.sim) < XU_NS_PER_S);
	assert_int_equal(do_connect(&f, "10.0.0.2", PORT), 0); /* the socket can try again */
	assert_int_equal(do_connect(&f, "10.0.0.2", PORT), -EISCONN);
	fixture_free(&f);
}

static void test_connect_to_nobody_times_out(void **state)
{
	struct fixture f = fixture_new(1);

	assert_int_equal(do_connect(&f, "10.0.0.77", PORT), -ETIMEDOUT);
	assert_in_range(sim_now_ns(f.sim) / XU_NS_PER_S, 60, 130);
	fixture_free(&f);
}

static void test_loopback_and_wildcard(void **state)
{
	struct fixture f = fixture_new(1);
	int fd = do_listen(&f.client, "0.0.0.0", 5000, 1);

	assert_true(fd >= 0);
	assert_int_equal(do_connect(&f, "127.0.0.1", 5000), 0);
	side_close(&f.client);
	assert_int_equal(do_connect(&f, "10.0.0.1", 5000), 0);
	side_close(&f.client);
	assert_int_equal(do_connect(&f, "127.0.0.1", PORT), -ECONNREFUSED); /* the server's */
	test_close(f.client.host, fd);
	fixture_free(&f);
}

static void test_backlog_is_bounded(void **state)
{
	struct fixture f = fixture_new(1);
	struct side clients[4];
	struct test_op connects[4] = {0};
	uint32_t nr_connected = 0;
	int32_t fds[4];

	test_close(f.server.host, f.listen_fd);
	f.listen_fd = do_listen(&f.server, "10.0.0.2", PORT, 1);
	for (int i = 0; i < 4; i++) {
		clients[i] = f.client;
		start_connect(&f, &clients[i], &connects[i], "10.0.0.2", PORT);
	}
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_S / 2), 0);
	for (int i = 0; i < 4; i++) {
		nr_connected += connects[i].result == 0;
	}
	assert_int_equal(nr_connected, 2); /* as Linux: one more than the backlog */
	for (int i = 0; i < 4; i++) {
		fds[i] = do_accept(&f); /* the others try again and get in */
		assert_true(fds[i] >= 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(test_wait(&connects[i]), 0);
		side_close(&clients[i]);
		test_close(f.server.host, fds[i]);
	}
	fixture_free(&f);
}

/* ---- ends ---- */

static void test_close_is_the_end_of_the_stream(void **state)
{
	struct fixture f = fixture_new(1);
	char buf[100] = "last words";

	establish(&f);
	assert_int_equal(do_send(&f, &f.client, buf, 10), 10);
	side_close(&f.client);
	memset(buf, 0, sizeof(buf));
	recv_all(&f, &f.server, buf, 10);
	assert_string_equal(buf, "last words");
	assert_int_equal(do_recv(&f, &f.server, buf, 1), 0);
	assert_int_equal(do_recv(&f, &f.server, buf, 1), 0);
	/* The first send into the void seems to work, then the reset comes. */
	assert_int_equal(do_send(&f, &f.server, buf, 10), 10);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_S), 0);
	assert_int_equal(do_send(&f, &f.server, buf, 10), -ECONNRESET);
	assert_int_equal(do_send(&f, &f.server, buf, 10), -EPIPE);
	fixture_free(&f);
}

static void test_close_with_unread_data_resets(void **state)
{
	struct fixture f = fixture_new(1);
	char buf[10] = {0};

	establish(&f);
	assert_int_equal(do_send(&f, &f.client, buf, 10), 10);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_S), 0);
	side_close(&f.server);
	assert_int_equal(do_recv(&f, &f.client, buf, 1), -ECONNRESET);
	assert_int_equal(do_recv(&f, &f.client, buf, 1), 0); /* told once */
	assert_int_equal(do_send(&f, &f.client, buf, 1), -EPIPE);
	fixture_free(&f);
}

static void test_shutdown_wakes_both_sides(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op here = {0}, there = {0};
	char a, b;

	establish(&f);
	test_rw(f.sim, f.client.reactor, &here, XR_OP_RECV, f.client.fd, 0, &a, 1);
	test_rw(f.sim, f.server.reactor, &there, XR_OP_RECV, f.server.fd, 0, &b, 1);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_MS), 0);
	assert_true(here.result == PENDING && there.result == PENDING);
	f.client.platform->sock_shutdown(f.client.platform, f.client.fd);
	assert_int_equal(test_wait(&here), 0);
	assert_int_equal(test_wait(&there), 0);
	assert_int_equal(do_send(&f, &f.client, &a, 1), -EPIPE);
	fixture_free(&f);
}

static void test_shutdown_ends_listening(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op accept = {0};

	test_submit(f.sim, f.server.reactor, &accept, XR_OP_ACCEPT, f.listen_fd);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_MS), 0);
	f.server.platform->sock_shutdown(f.server.platform, f.listen_fd);
	assert_int_equal(test_wait(&accept), -EINVAL);
	assert_int_equal(do_connect(&f, "10.0.0.2", PORT), -ECONNREFUSED);
	fixture_free(&f);
}

/* As in Linux, closing a descriptor ends nothing while an operation still uses the socket. */
static void test_pending_operation_keeps_the_connection(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op recv = {0}, peer = {0};
	char a = 0, b = 0;

	establish(&f);
	test_rw(f.sim, f.client.reactor, &recv, XR_OP_RECV, f.client.fd, 0, &a, 1);
	assert_int_equal(sim_run_for(f.sim, 0), 0);
	side_close(&f.client);
	test_rw(f.sim, f.server.reactor, &peer, XR_OP_RECV, f.server.fd, 0, &b, 1);
	assert_int_equal(sim_run(f.sim, test_is_done, &peer, XU_NS_PER_S), -EDEADLK);
	xr_op_cancel(f.client.reactor, &recv.op);
	assert_int_equal(test_wait(&recv), -ECANCELED);
	assert_int_equal(test_wait(&peer), 0); /* now it has ended */
	fixture_free(&f);
}

static void test_cancel(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op accept = {0}, connect = {0}, recv = {0}, polled = {0};
	char byte = 1;

	test_submit(f.sim, f.server.reactor, &accept, XR_OP_ACCEPT, f.listen_fd);
	start_connect(&f, &f.client, &connect, "10.0.0.77", PORT);
	assert_int_equal(sim_run_for(f.sim, 2 * XU_NS_PER_S), 0);
	xr_op_cancel(f.server.reactor, &accept.op);
	xr_op_cancel(f.client.reactor, &connect.op);
	assert_int_equal(test_wait(&accept), -ECANCELED);
	assert_int_equal(test_wait(&connect), -ECANCELED);
	establish(&f);
	test_rw(f.sim, f.server.reactor, &recv, XR_OP_RECV, f.server.fd, 0, &byte, 1);
	polled.op.poll_events = POLLIN;
	test_submit(f.sim, f.server.reactor, &polled, XR_OP_POLL, f.server.fd);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_S), 0);
	xr_op_cancel(f.server.reactor, &recv.op);
	xr_op_cancel(f.server.reactor, &polled.op);
	assert_int_equal(test_wait(&recv), -ECANCELED);
	assert_int_equal(test_wait(&polled), -ECANCELED);
	assert_int_equal(do_send(&f, &f.client, &byte, 1), 1);
	recv_all(&f, &f.server, &byte, 1);
	fixture_free(&f);
}

static void test_poll(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op readable = {0}, writable = {0}, acceptable = {0};
	char byte = 1;

	acceptable.op.poll_events = POLLIN;
	test_submit(f.sim, f.server.reactor, &acceptable, XR_OP_POLL, f.listen_fd);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_S), 0);
	assert_int_equal(acceptable.result, PENDING);
	establish(&f);
	assert_int_equal(test_wait(&acceptable), POLLIN);
	writable.op.poll_events = POLLOUT;
	test_submit(f.sim, f.server.reactor, &writable, XR_OP_POLL, f.server.fd);
	assert_int_equal(test_wait(&writable), POLLOUT);
	readable.op.poll_events = POLLIN;
	test_submit(f.sim, f.server.reactor, &readable, XR_OP_POLL, f.server.fd);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_S), 0);
	assert_int_equal(readable.result, PENDING);
	assert_int_equal(do_send(&f, &f.client, &byte, 1), 1);
	assert_int_equal(test_wait(&readable), POLLIN);
	recv_all(&f, &f.server, &byte, 1);
	fixture_free(&f);
}

static void test_wrong_operations(void **state)
{
	struct fixture f = fixture_new(1);
	char byte;

	f.client.fd = f.client.platform->tcp_socket(f.client.platform, "10.0.0.2");
	assert_int_equal(do_recv(&f, &f.client, &byte, 1), -ENOTCONN);
	assert_int_equal(do_send(&f, &f.client, &byte, 1), -EPIPE);
	assert_int_equal(
		test_do_rw(f.sim, f.client.reactor, XR_OP_READ, 0, f.client.fd, 0, &byte, 1),
		-EINVAL);
	sim_disk_new(f.client.host, "d", &(struct sim_disk_opts){.size_bytes = 512});
	side_close(&f.client);
	f.client.fd = test_open(f.client.host, "d", NULL);
	assert_int_equal(do_recv(&f, &f.client, &byte, 1), -ENOTSOCK);
	fixture_free(&f);
}

/* ---- breaks ---- */

static void test_cut_resets_both(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op recv = {0};
	char byte = 1;

	establish(&f);
	test_rw(f.sim, f.server.reactor, &recv, XR_OP_RECV, f.server.fd, 0, &byte, 1);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_MS), 0);
	assert_int_equal(sim_net_cut(f.sim, f.server.host, f.server.host), 0);
	assert_int_equal(sim_net_cut(f.sim, f.server.host, f.client.host), 1);
	assert_int_equal(test_wait(&recv), -ECONNRESET);
	assert_int_equal(sim_run_for(f.sim, XU_NS_PER_MS), 0);
	assert_int_equal(do_send(&f, &f.client, &byte, 1), -ECONNRESET);
	fixture_free(&f);
}

static void test_partition_delays_and_heals(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op recv = {0};
	char out = 5, in = 0;

	establish(&f);
	sim_net_partition(f.sim, f.client.host, f.server.host, true);
	test_rw(f.sim, f.server.reactor, &recv, XR_OP_RECV, f.server.fd, 0, &in, 1);
	assert_int_equal(do_send(&f, &f.client, &out, 1), 1);
	assert_int_equal(sim_run_for(f.sim, 100 * XU_NS_PER_S), 0);
	assert_int_equal(recv.result, PENDING);
	sim_net_partition(f.sim, f.client.host, f.server.host, false);
	assert_int_equal(test_wait(&recv), 1);
	assert_int_equal(in, 5);
	fixture_free(&f);
}

static void test_partition_that_stays_breaks(void **state)
{
	struct fixture f = fixture_new(1);
	struct test_op recv = {0}, connect = {0};
	struct side other;
	char byte = 5;

	establish(&f);
	sim_net_block(f.sim, f.client.host, f.server.host, true); /* one way only */
	test_rw(f.sim, f.client.reactor, &recv, XR_OP_RECV, f.client.fd, 0, &byte, 1);
	assert_int_equal(do_send(&f, &f.client, &byte, 1), 1);
	assert_int_equal(test_wait(&recv), -ETIMEDOUT);
	assert_in_range(sim_now_ns(f.sim) / XU_NS_PER_S, 600, 1200);
	/* The other side knows nothing of it: its answer gets through and is not wanted. */
	assert_int_equal(do_send(&f, &f.server, &byte, 1), 1);
	other = f.client;
	other.fd = -1;
	start_connect(&f, &other, &connect, "10.0.0.2", PORT);
	assert_int_equal(test_wait(&connect), -ETIMEDOUT);
	side_close(&other);
	fixture_free(&f);
}

static void test_power_failure_is_silent(void **state)
{
	struct fixture f = fixture_new(1);
	struct sim_host *dead = f.server.host;
	struct test_op recv = {0}, accept = {0}, server_recv = {0};
	struct xr_reactor *reactor = f.server.reactor;
	int old_fd;
	char byte = 5;

	establish(&f);
	test_submit(f.sim, reactor, &accept, XR_OP_ACCEPT, f.listen_fd);
	test_rw(f.sim, reactor, &server_recv, XR_OP_RECV, f.server.fd, 0, &byte, 1);
	test_rw(f.sim, f.client.reactor, &recv, XR_OP_RECV, f.client.fd, 0, &byte, 1);
	assert_int_equal(sim_run_for(f.sim, 0), 0);
	sim_host_power_fail(dead, NULL);
	assert_int_equal(sim_run(f.sim, test_is_done, &recv, XU_NS_PER_S), -EDEADLK);
	assert_int_equal(do_send(&f, &f.client, &byte, 1), 1);
	assert_int_equal(sim_run(f.sim, test_is_done, &recv, 20 * XU_NS_PER_S), -ETIMEDOUT);

	/* The machine comes back and has never heard of the connection. */
	f.server.host = sim_host_reboot(dead);
	f.server.platform = sim_host_platform(f.server.host);
	f.server.reactor = test_reactor(f.server.host);
	assert_int_equal(test_wait(&recv), -ECONNRESET);

	sim_host_bury(dead);
	assert_int_equal(test_wait(&accept), -EIO);
	assert_int_equal(test_wait(&server_recv), -EIO);
	old_fd = f.server.fd;
	f.server.fd = -1;
	test_close(dead, old_fd);
	test_close(dead, f.listen_fd);
	xr_reactor_free(reactor);
	assert_int_equal(sim_host_nr_open(dead), 0);
	side_close(&f.client);
	f.listen_fd = do_listen(&f.server, "10.0.0.2", PORT, 1);
	establish(&f); /* and it serves again */
	fixture_free(&f);
}

static void test_killed_process_closes_its_connections(void **state)
{
	struct fixture f = fixture_new(1);
	struct sim_host *dead = f.server.host;
	char byte;

	establish(&f);
	sim_host_kill(dead);
	assert_int_equal(do_recv(&f, &f.client, &byte, 1), 0);
	assert_true(sim_now_ns(f.sim) < XU_NS_PER_S);
	sim_host_bury(dead);
	side_close(&f.server);
	test_close(dead, f.listen_fd);
	f.listen_fd = -1;
	fixture_free(&f);
}

/* Chaos for the sanitizers: two hosts do anything with a few sockets; nothing may be left. */
static void test_anything_goes(void **state)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct fixture f = fixture_new(seed);
		struct xu_random *random = sim_random(f.sim);
		static struct test_op tops[200];
		static char bufs[200][300];

		memset(tops, 0, sizeof(tops));
		establish(&f);
		for (uint32_t i = 0; i < 200; i++) {
			struct side *side = xu_random_below(random, 2) ? &f.client : &f.server;
			struct test_op *other = &tops[xu_random_below(random, i + 1)];

			switch (xu_random_below(random, 12)) {
			case 0:
				if (other->op.is_pending) {
					xr_op_cancel(other->op.offset ? f.client.reactor
								      : f.server.reactor,
						&other->op);
				}
				break;
			case 1:
				sim_net_partition(f.sim, f.client.host, f.server.host,
					xu_random_below(random, 3) == 0);
				break;
			case 2:
				if (xu_random_below(random, 20) == 0) {
					sim_net_cut(f.sim, NULL, NULL);
				}
				break;
			default:
				test_rw(f.sim, side->reactor, &tops[i],
					xu_random_below(random, 2) ? XR_OP_SEND : XR_OP_RECV,
					side->fd, side == &f.client, bufs[i],
					1 + xu_random_below(random, sizeof(bufs[i])));
				break;
			}
			assert_int_equal(
				sim_run_for(f.sim, xu_random_below(random, XU_NS_PER_MS)), 0);
		}
		f.client.platform->sock_shutdown(f.client.platform, f.client.fd);
		f.server.platform->sock_shutdown(f.server.platform, f.server.fd);
		for (uint32_t i = 0; i < 200; i++) {
			if (tops[i].sim != NULL) {
				test_wait(&tops[i]);
			}
		}
		fixture_free(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_arrives_whole_in_any_pieces),
		cmocka_unit_test(test_vectored_send_and_recv),
		cmocka_unit_test(test_buffers_are_bounded),
		cmocka_unit_test(test_two_sends_at_once_mix),
		cmocka_unit_test(test_names_of_both_ends),
		cmocka_unit_test(test_listen_refusals),
		cmocka_unit_test(test_connect_refused),
		cmocka_unit_test(test_connect_to_nobody_times_out),
		cmocka_unit_test(test_loopback_and_wildcard),
		cmocka_unit_test(test_backlog_is_bounded),
		cmocka_unit_test(test_close_is_the_end_of_the_stream),
		cmocka_unit_test(test_close_with_unread_data_resets),
		cmocka_unit_test(test_shutdown_wakes_both_sides),
		cmocka_unit_test(test_shutdown_ends_listening),
		cmocka_unit_test(test_pending_operation_keeps_the_connection),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_poll),
		cmocka_unit_test(test_wrong_operations),
		cmocka_unit_test(test_cut_resets_both),
		cmocka_unit_test(test_partition_delays_and_heals),
		cmocka_unit_test(test_partition_that_stays_breaks),
		cmocka_unit_test(test_power_failure_is_silent),
		cmocka_unit_test(test_killed_process_closes_its_connections),
		cmocka_unit_test(test_anything_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
