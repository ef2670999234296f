/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server on its socket: mode and stale files, requests in any pieces, clients that are slow,
 * greedy, rude or gone. The reactor is polled by the test, which is the client too.
 */
#include "test/unit/xsand/server_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/rpc/frame.h"

static int set_up(void **state)
{
	return world_set_up(false);
}

static int tear_down(void **state)
{
	return world_tear_down();
}

static void start(void)
{
	struct xu_error err = {0};

	if (xrpc_server_new(world.reactor, world.service, world.path, &world.server, &err) != 0) {
		fail_msg("%s", err.text);
	}
	xrpc_server_start(world.server);
}

static int client(void)
{
	return world_client();
}

/* ---- the socket ---- */

static void test_server_socket_is_its_owners_only(void **state)
{
	mode_t old = umask(0);
	struct stat st;

	start();
	assert_int_equal(lstat(world.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	umask(old);
	world_stop();
	assert_int_equal(lstat(world.path, &st), -1);
}

static void test_server_replaces_a_stale_socket_only(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct xrpc_server *second = NULL;
	char expected[256], longer[200];
	struct xu_error err = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, world.path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	start(); /* the socket of a dead process is in its way */

	assert_int_equal(xrpc_server_new(world.reactor, world.service, world.path, &second, &err),
		-EADDRINUSE);
	snprintf(expected, sizeof(expected),
		"process %ld answers on %s already; stop it or choose another path", (long)getpid(),
		world.path);
	assert_string_equal(err.text, expected);
	world_stop();

	close(open(world.path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(
		xrpc_server_new(world.reactor, world.service, world.path, &second, &err), -EEXIST);
	assert_int_equal(access(world.path, F_OK), 0);
	unlink(world.path);

	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(xrpc_server_new(world.reactor, world.service, longer, &second, &err),
		-ENAMETOOLONG);
	assert_int_equal(
		xrpc_server_new(world.reactor, world.service, "/no/such/dir/s", &second, &err),
		-ENOENT);
	assert_null(second);
}

/* One that was put in its place by somebody else is left alone. */
static void test_server_removes_its_own_socket_only(void **state)
{
	start();
	unlink(world.path);
	close(open(world.path, O_CREAT | O_WRONLY, 0600));
	world_stop();
	assert_int_equal(access(world.path, F_OK), 0);
}

/* ---- framing ---- */

static void test_server_takes_calls_at_every_split(void **state)
{
	static const char calls[] = CALL("echo", "1", ",\"params\":{\"a\":\"}\\\"{\"}")
		CALL("echo", "2", "") "\n [" CALL("echo", "3", "") "]";
	static const char answers[] =
		RESULT("1", "{\"a\":\"}\\\"{\"}") RESULT("2", "null") "[" RESULT("3", "null") "]";
	size_t len = strlen(calls);

	start();
	for (size_t split = 1; split < len; split++) {
		int fd = client();

		assert_true(send_all(fd, calls, split));
		xr_reactor_poll(world.reactor, 0);
		assert_true(send_all(fd, calls + split, len - split));
		expect(fd, answers);
		close(fd);
	}
}

static void test_server_takes_calls_byte_by_byte(void **state)
{
	static const char calls[] = CALL("echo", "1", "") "  " CALL("echo", "2", "");
	int fd;

	start();
	fd = client();
	for (size_t i = 0; i < strlen(calls); i++) {
		assert_true(send_all(fd, calls + i, 1));
	}
	expect(fd, RESULT("1", "null") RESULT("2", "null"));
	close(fd);
}

static void test_server_answers_after_the_client_ended_its_half(void **state)
{
	int fd;

	start();
	fd = client();
	assert_true(send_text(fd, CALL("echo", "1", "") CALL("echo", "2", "") "\n"));
	shutdown(fd, SHUT_WR);
	expect(fd, RESULT("1", "null") RESULT("2", "null"));
	expect_end(fd);
	close(fd);

	fd = client();
	assert_true(send_text(fd, CALL("echo", "1", "") "{\"jsonrpc\":"));
	shutdown(fd, SHUT_WR);
	expect(fd, RESULT("1", "null") ERROR("-32700", "the stream ended in the middle of a call"));
	expect_end(fd);
	close(fd);
}

static void test_server_answers_in_order(void **state)
{
	int fd;

	start();
	fd = client();
	assert_true(send_text(fd, CALL("hold", "1", "") CALL("echo", "2", "")));
	while (world.held == NULL) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
	for (int i = 0; i < 20; i++) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
	assert_int_equal(recv(fd, &(char){0}, 1, 0), -1); /* the second waits for the first */
	xrpc_true(world.held);
	expect(fd, RESULT("1", "true") RESULT("2", "null"));
	close(fd);
}

/* ---- bad clients ---- */

static void test_server_ends_streams_that_lost_their_step(void **state)
{
	static const struct {
		const char *text, *answer;
	} table[] = {
		{"hello", ERROR("-32700", "a call begins with { or [")},
		{"{\"a\":tru}", ERROR("-32700", "line 1, column 8: invalid token near 'tru'")},
		{"[\"\xff\"]", ERROR("-32700", "line 1, column 2: unable to decode byte 0xff near "
					       "'\\\"'")},
		{"[{\"a\":]", NULL}, /* never complete */
	};

	start();
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int fd = client();

		assert_true(send_text(fd, table[i].text));
		if (table[i].answer != NULL) {
			expect(fd, table[i].answer);
			expect_end(fd);
		}
		close(fd);
	}
}

static void test_server_bounds_depth_and_length(void **state)
{
	enum { LEN = XRPC_MAX_REQUEST + 4096 };
	char *text = malloc(LEN);
	int fd;

	start();
	memset(text, '[', XRPC_MAX_DEPTH + 1);
	fd = client();
	assert_true(send_all(fd, text, XRPC_MAX_DEPTH + 1));
	expect(fd, ERROR("-32700", "the call is nested too deeply"));
	expect_end(fd);
	close(fd);

	memset(text, ' ', LEN);
	text[0] = '[';
	fd = client();
	send_all(fd, text, LEN); /* it may be cut off */
	expect(fd, ERROR("-32700", "a call has at most 1 MiB (1048576 bytes)"));
	expect_end(fd);
	close(fd);
	free(text);
}

static void test_server_takes_the_longest_call(void **state)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,\"x\":\"";
	char *text = malloc(XRPC_MAX_REQUEST);
	int fd;

	start();
	memset(text, 'y', XRPC_MAX_REQUEST);
	memcpy(text, head, strlen(head));
	memcpy(text + XRPC_MAX_REQUEST - 2, "\"}", 2);
	fd = client();
	assert_true(send_all(fd, text, XRPC_MAX_REQUEST));
	expect(fd, RESULT("1", "null"));
	assert_true(send_text(fd, CALL("echo", "2", ""))); /* and goes on */
	expect(fd, RESULT("2", "null"));
	close(fd);
	free(text);
}

/* Space is free: it is neither kept nor counted. */
static void test_server_drops_space_between_calls(void **state)
{
	enum { LEN = 3 << 20 };
	char *text = malloc(LEN);
	int fd;

	start();
	memset(text, '\n', LEN);
	fd = client();
	assert_true(send_all(fd, text, LEN));
	assert_true(send_text(fd, CALL("echo", "1", "")));
	expect(fd, RESULT("1", "null"));
	close(fd);
	free(text);
}

/* While a client does not take its answer, it is not served and others are. */
static void test_server_a_slow_client_holds_up_itself_only(void **state)
{
	char *answer;
	bool is_closed;
	int slow, quick;

	start();
	slow = client();
	assert_true(
		send_text(slow, CALL("big", "1", "") CALL("big", "2", "") CALL("echo", "3", "")));
	quick = client();
	for (int i = 0; i < 50; i++) {
		assert_true(send_text(quick, CALL("echo", "9", "")));
		expect(quick, RESULT("9", "null"));
	}
	answer = receive(slow, 2 * (strlen(RESULT("1", "\"\"")) + (8 << 20)), &is_closed);
	assert_false(is_closed);
	assert_memory_equal(answer, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"bbbb", 38);
	free(answer);
	expect(slow, RESULT("3", "null"));
	close(slow);
	close(quick);
}

static void test_server_survives_clients_that_go(void **state)
{
	int fd;

	start();
	fd = client(); /* gone before it says anything */
	close(fd);
	fd = client(); /* gone in the middle of a call */
	assert_true(send_text(fd, "{\"jsonrpc\""));
	close(fd);
	fd = client(); /* gone while its answer is sent */
	assert_true(send_text(fd, CALL("big", "1", "")));
	close(fd);
	fd = client(); /* gone before its answer */
	assert_true(send_text(fd, CALL("hold", "1", "")));
	while (world.held == NULL) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
	close(fd);
	xrpc_true(world.held);
	fd = client();
	assert_true(send_text(fd, CALL("echo", "1", "")));
	expect(fd, RESULT("1", "null"));
	close(fd);
	for (int i = 0; i < 1000 && xrpc_server_nr_connections(world.server) != 0; i++) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
	assert_int_equal(xrpc_server_nr_connections(world.server), 0);
}

static void test_server_makes_clients_wait_when_it_is_full(void **state)
{
	int fds[XRPC_MAX_CONNECTIONS + 1];

	start();
	for (size_t i = 0; i <= XRPC_MAX_CONNECTIONS; i++) {
		fds[i] = client();
		assert_true(send_text(fds[i], CALL("echo", "1", "")));
	}
	for (size_t i = 0; i < XRPC_MAX_CONNECTIONS; i++) {
		expect(fds[i], RESULT("1", "null"));
	}
	assert_int_equal(xrpc_server_nr_connections(world.server), XRPC_MAX_CONNECTIONS);
	assert_int_equal(recv(fds[XRPC_MAX_CONNECTIONS], &(char){0}, 1, 0), -1);
	close(fds[0]);
	expect(fds[XRPC_MAX_CONNECTIONS], RESULT("1", "null"));
	for (size_t i = 1; i <= XRPC_MAX_CONNECTIONS; i++) {
		close(fds[i]);
	}
}

/* ---- the end ---- */

static void test_server_stop_answers_what_is_under_way(void **state)
{
	int busy, idle, slow, late;

	start();
	busy = client();
	idle = client();
	slow = client();
	assert_true(send_text(busy, CALL("hold", "1", "") CALL("echo", "2", "")));
	assert_true(send_text(slow, CALL("big", "1", "")));
	while (world.held == NULL) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
	late = client();
	xrpc_server_stop(world.server, world_on_stopped, NULL);
	expect_end(idle);
	assert_false(world.is_stopped);
	xrpc_true(world.held);
	expect(busy, RESULT("1", "true"));
	expect_end(busy);           /* what it sent after that is not called any more */
	while (!world.is_stopped) { /* the slow one is given up after its grace */
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
	close(busy);
	close(idle);
	close(slow);
	close(late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_socket_is_its_owners_only),
		cmocka_unit_test(test_server_replaces_a_stale_socket_only),
		cmocka_unit_test(test_server_removes_its_own_socket_only),
		cmocka_unit_test(test_server_takes_calls_at_every_split),
		cmocka_unit_test(test_server_takes_calls_byte_by_byte),
		cmocka_unit_test(test_server_answers_after_the_client_ended_its_half),
		cmocka_unit_test(test_server_answers_in_order),
		cmocka_unit_test(test_server_ends_streams_that_lost_their_step),
		cmocka_unit_test(test_server_bounds_depth_and_length),
		cmocka_unit_test(test_server_takes_the_longest_call),
		cmocka_unit_test(test_server_drops_space_between_calls),
		cmocka_unit_test(test_server_a_slow_client_holds_up_itself_only),
		cmocka_unit_test(test_server_survives_clients_that_go),
		cmocka_unit_test(test_server_makes_clients_wait_when_it_is_full),
		cmocka_unit_test(test_server_stop_answers_what_is_under_way),
	};
	struct CMUnitTest with_world[ARRAY_SIZE(tests)];

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		with_world[i] = tests[i];
		with_world[i].setup_func = set_up;
		with_world[i].teardown_func = tear_down;
	}
	return cmocka_run_group_tests(with_world, NULL, NULL);
}
