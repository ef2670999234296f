/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server on TCP: where it may listen, who may call, and what strangers cannot do: guess
 * quickly, keep others out, hold on to anything for long. The reactor's clock jumps where time is
 * meant to pass.
 */
#include "test/unit/xsand/server_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define TOKEN "0123456789abcdef-a-token"
#define AUTHENTICATE(id, token)                                                                    \
	"{\"jsonrpc\":\"2.0\",\"method\":\"authenticate\",\"id\":" id                              \
	",\"params\":{\"token\":\"" token "\"}}"
#define DENIED(id, text)                                                                           \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":-13,\"message\":\"" text "\"}}"
#define WRONG(id) DENIED(id, "this is not the server's token")
#define FIRST(id)                                                                                  \
	DENIED(id, "the first call on this connection is the method authenticate with the "        \
		   "server's token")

static int set_up(void **state)
{
	return world_set_up(true);
}

static int tear_down(void **state)
{
	return world_tear_down();
}

static void start(const char *token)
{
	struct xrpc_tcp_opts opts = {.address = "127.0.0.1", .token = token};
	struct xu_error err = {0};

	if (xrpc_server_new_tcp(world.reactor, world.service, &opts, &world.server, &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_int_not_equal(xrpc_server_port(world.server), 0);
	xrpc_server_start(world.server);
}

/* A client that has sent the token. */
static int friend(void)
{
	int fd = world_client_tcp();

	assert_true(send_text(fd, AUTHENTICATE("7", TOKEN)));
	expect(fd, RESULT("7", "true"));
	return fd;
}

static void expect_service(int fd)
{
	assert_true(send_text(fd, CALL("echo", "5", "")));
	expect(fd, RESULT("5", "null"));
}

/* ---- where it listens ---- */

static void test_server_tcp_refuses_to_be_open_to_all(void **state)
{
	static const struct {
		const char *address, *token;
		int rc;
		const char *sentence; /* has this in it */
	} table[] = {
		{"127.0.0.1", NULL, 0, ""},
		{"::1", NULL, 0, ""},
		{"127.0.0.2", TOKEN, 0, ""},
		{"0.0.0.0", NULL, -EPERM, "0.0.0.0 is not a loopback address"},
		{"::", NULL, -EPERM, "listen on 127.0.0.1"},
		{"192.0.2.1", NULL, -EPERM, "192.0.2.1 is not a loopback address"},
		{"192.0.2.1", TOKEN, -EADDRNOTAVAIL, "192.0.2.1 port"}, /* only bind() objects */
		{"localhost", NULL, -EINVAL, "'localhost' is not a numeric IPv4 or IPv6 address"},
		{"127.0.0.1", "", -EINVAL, "has 0 characters"},
		{"127.0.0.1", "123456789012345", -EINVAL, "has 15 characters"},
		{"127.0.0.1", "1234567890 123456", -EINVAL, "at place 11"},
		{"127.0.0.1", "123456789012345\xff", -EINVAL, "at place 16"},
	};
	char longest[XRPC_TOKEN_MAX + 2];
	struct xrpc_tcp_opts opts = {.address = "127.0.0.1", .token = longest};
	struct xrpc_server *server;
	struct xu_error err;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct xrpc_tcp_opts one = {.address = table[i].address, .token = table[i].token};

		server = NULL;
		err = (struct xu_error){0};
		assert_int_equal(
			xrpc_server_new_tcp(world.reactor, world.service, &one, &server, &err),
			table[i].rc);
		assert_non_null(strstr(err.text, table[i].sentence));
		assert_true((server != NULL) == (table[i].rc == 0));
		xrpc_server_free(server);
	}
	memset(longest, 'x', sizeof(longest));
	longest[XRPC_TOKEN_MAX + 1] = '\0';
	assert_int_equal(
		xrpc_server_new_tcp(world.reactor, world.service, &opts, &server, &err), -EINVAL);
	longest[XRPC_TOKEN_MAX] = '\0';
	assert_int_equal(
		xrpc_server_new_tcp(world.reactor, world.service, &opts, &server, &err), 0);
	xrpc_server_free(server);
}

static void test_server_tcp_serves_this_machine_without_a_token(void **state)
{
	static const char calls[] =
		CALL("echo", "1", ",\"params\":{\"a\":1}") CALL("echo", "2", "");
	int fd;

	start(NULL);
	fd = world_client_tcp();
	for (size_t i = 0; i < strlen(calls); i++) {
		assert_true(send_all(fd, calls + i, 1));
	}
	expect(fd, RESULT("1", "{\"a\":1}") RESULT("2", "null"));
	close(fd);
}

/* A browser that is told to post to this port sends no call. */
static void test_server_tcp_takes_no_http(void **state)
{
	int fd;

	start(NULL);
	fd = world_client_tcp();
	assert_true(send_text(fd, "POST / HTTP/1.1\r\n\r\n" CALL("hold", "1", "")));
	expect(fd, ERROR("-32700", "a call begins with { or ["));
	world_jump(2 * XU_NS_PER_S);
	expect_end(fd);
	assert_null(world.held);
	close(fd);
}

/* ---- the token ---- */

static void test_server_tcp_takes_the_token(void **state)
{
	static const char calls[] = AUTHENTICATE("\"a\"", TOKEN) "\n" CALL("echo", "2", "");
	int fd;

	start(TOKEN);
	for (size_t split = 1; split < strlen(calls); split++) {
		fd = world_client_tcp();
		assert_true(send_all(fd, calls, split));
		assert_true(send_all(fd, calls + split, strlen(calls) - split));
		expect(fd, RESULT("\"a\"", "true") RESULT("2", "null"));
		close(fd);
	}
	/* Without an id nothing is answered, but it counts. */
	fd = world_client_tcp();
	assert_true(send_text(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"authenticate\",\"params\":"
				  "{\"token\":\"" TOKEN "\"}}" CALL("echo", "2", "")));
	expect(fd, RESULT("2", "null"));
	close(fd);
}

static void test_server_tcp_answers_a_wrong_token_late_and_three_times(void **state)
{
	int fd;

	start(TOKEN);
	fd = world_client_tcp();
	assert_true(send_text(fd, AUTHENTICATE("1", "0123456789abcdef-a-tokem")));
	for (int i = 0; i < 3; i++) {
		/* The next is not even looked at before the first has been answered. */
		assert_true(send_text(fd, AUTHENTICATE("1", TOKEN "x")));
		world_jump(999 * XU_NS_PER_MS);
		expect_nothing(fd);
		world_jump(XU_NS_PER_MS);
		expect(fd, WRONG("1"));
	}
	world_jump(2 * XU_NS_PER_S);
	expect_end(fd);
	close(fd);

	fd = world_client_tcp(); /* two wrong ones are forgiven */
	assert_true(send_text(fd, AUTHENTICATE("1", "") AUTHENTICATE("2", "0123456789abcdef")));
	world_jump(XU_NS_PER_S);
	expect(fd, WRONG("1"));
	world_jump(XU_NS_PER_S);
	expect(fd, WRONG("2"));
	assert_true(send_text(fd, AUTHENTICATE("3", TOKEN)));
	expect(fd, RESULT("3", "true"));
	expect_service(fd);
	close(fd);
}

/* Who does not wait for the answer to a wrong token cannot guess more quickly. */
static void test_server_tcp_counts_all_guesses_together(void **state)
{
	int fd, later;

	start(TOKEN);
	for (uint32_t i = 0; i < XRPC_MAX_GUESSES; i++) {
		fd = world_client_tcp();
		assert_true(send_text(fd, AUTHENTICATE("1", "0123456789abcdef")));
		world_poll(5);
		close(fd);
	}
	later = world_client_tcp();
	assert_true(send_text(later, AUTHENTICATE("1", TOKEN) CALL("echo", "2", "")));
	expect_nothing(later);
	world_jump(XU_NS_PER_S);
	expect(later, RESULT("1", "true") RESULT("2", "null"));
	fd = friend(); /* right ones do not count */
	close(fd);
	close(later);
}

static void test_server_tcp_does_nothing_for_strangers(void **state)
{
	static const struct {
		const char *call, *answer;
	} table[] = {
		{CALL("hold", "1", ""), FIRST("1")},
		{CALL("nothing", "\"x\"", ""), FIRST("\"x\"")},
		{"[" AUTHENTICATE("1", TOKEN) "]", FIRST("null")},
		{"{\"method\":\"authenticate\",\"id\":1,\"params\":{\"token\":\"" TOKEN "\"}}",
			FIRST("1")},
		{"{\"a\":tru}", FIRST("null")},
		{"{}", FIRST("null")},
		{"hello", ERROR("-32700", "a call begins with { or [")},
	};
	char *text = malloc(XRPC_MAX_FIRST + 1);

	start(TOKEN);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int fd = world_client_tcp();

		assert_true(send_text(fd, table[i].call));
		expect(fd, table[i].answer);
		assert_true(send_text(fd, AUTHENTICATE("1", TOKEN) CALL("hold", "1", "")));
		world_jump(2 * XU_NS_PER_S);
		expect_end(fd);
		close(fd);
	}
	assert_null(world.held);

	memset(text, ' ', XRPC_MAX_FIRST + 1);
	text[0] = '{';
	for (size_t rest = 0; rest < 2; rest++) {
		int fd = world_client_tcp();

		assert_true(send_all(fd, text, XRPC_MAX_FIRST + rest));
		if (rest == 0) {
			expect_nothing(fd);
		} else {
			expect(fd, ERROR("-32700",
					   "the call that authenticates has at most 4096 bytes"));
		}
		close(fd);
	}
	free(text);
}

static void test_server_tcp_wrong_parameters_are_wrong_tokens(void **state)
{
	static const char *const params[] = {"{}", "null", "[\"" TOKEN "\"]", "{\"token\":1}",
		"{\"token\":null}", "{\"token\":\"" TOKEN "\\u0000\"}", "\"" TOKEN "\""};

	start(TOKEN);
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		char text[256];
		int fd = world_client_tcp();

		snprintf(
			text, sizeof(text), CALL("authenticate", "1", ",\"params\":%s"), params[i]);
		assert_true(send_text(fd, text));
		world_jump(XU_NS_PER_S);
		if (strstr(params[i], "u0000") != NULL) {
			/* The parser takes no zero characters, so this is no call at all. */
			expect(fd, FIRST("null"));
		} else {
			expect(fd, WRONG("1"));
		}
		close(fd);
	}
}

/* ---- time ---- */

static void test_server_tcp_strangers_have_ten_seconds(void **state)
{
	int silent, half, fd;

	start(TOKEN);
	silent = world_client_tcp();
	half = world_client_tcp();
	fd = friend();
	world_jump(9999 * XU_NS_PER_MS);
	expect_nothing(silent);
	assert_true(send_text(half, "{\"jsonrpc\":"));
	world_jump(XU_NS_PER_MS);
	expect_end(silent);
	expect_end(half);
	expect_service(fd);
	assert_int_equal(xrpc_server_nr_connections(world.server), 1);
	close(silent);
	close(half);
	close(fd);
}

static void test_server_tcp_a_call_comes_in_half_a_minute(void **state)
{
	int fd;

	start(TOKEN);
	fd = friend();
	assert_true(send_text(fd, "{\"jsonrpc\":\"2.0\""));
	for (int i = 0; i < 5; i++) { /* a drop now and then does not help */
		world_jump(5999 * XU_NS_PER_MS);
		assert_true(send_text(fd, " "));
		expect_nothing(fd);
	}
	world_jump(XU_NS_PER_S);
	expect_end(fd);
	close(fd);
}

static void test_server_tcp_idle_connections_end(void **state)
{
	int idle, active;

	start(TOKEN);
	idle = friend();
	active = friend();
	for (int i = 0; i < 2; i++) {
		world_jump(299 * XU_NS_PER_S);
		expect_service(active);
		expect_nothing(idle);
	}
	world_jump(2 * XU_NS_PER_S);
	expect_end(idle);
	expect_service(active);
	close(idle);
	close(active);
}

/* How long a call takes is the method's affair. */
static void test_server_tcp_waits_for_methods(void **state)
{
	int fd;

	start(TOKEN);
	fd = friend();
	assert_true(send_text(fd, CALL("hold", "1", "")));
	world_jump(3600 * XU_NS_PER_S);
	assert_non_null(world.held);
	xrpc_true(world.held);
	expect(fd, RESULT("1", "true"));
	expect_service(fd);
	close(fd);
}

static void test_server_tcp_answers_are_taken_in_a_minute(void **state)
{
	char *answer;
	bool is_closed;
	int fd;

	start(TOKEN);
	fd = friend();
	assert_true(send_text(fd, CALL("big", "1", "")));
	world_jump(59 * XU_NS_PER_S);
	assert_int_equal(xrpc_server_nr_connections(world.server), 1);
	world_jump(XU_NS_PER_S);
	for (int i = 0; i < 1000 && xrpc_server_nr_connections(world.server) != 0; i++) {
		world_poll(1);
	}
	assert_int_equal(xrpc_server_nr_connections(world.server), 0);
	answer = receive(fd, 9 << 20, &is_closed);
	assert_true(is_closed);
	assert_true(strlen(answer) < 8 << 20);
	free(answer);
	close(fd);
}

/* ---- room ---- */

static void test_server_tcp_strangers_keep_nobody_out(void **state)
{
	int friends[3], strangers[XRPC_MAX_UNREADY + 3];

	start(TOKEN);
	friends[0] = friend();
	for (size_t i = 0; i < XRPC_MAX_UNREADY; i++) {
		strangers[i] = world_client_tcp();
	}
	world_poll(40);
	expect_nothing(strangers[0]);
	friends[1] = friend(); /* takes the place of the oldest */
	expect_end(strangers[0]);
	expect_nothing(strangers[1]);
	for (size_t i = 0; i < 3; i++) {
		strangers[XRPC_MAX_UNREADY + i] = world_client_tcp();
		world_poll(20);
	}
	/* One place was free again. */
	expect_end(strangers[1]);
	expect_end(strangers[2]);
	expect_nothing(strangers[3]);
	friends[2] = friend();
	expect_end(strangers[3]);
	for (size_t i = 0; i < 3; i++) {
		expect_service(friends[i]);
		close(friends[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++) {
		close(strangers[i]);
	}
}

/* One that waits for the answer to a wrong token can be the oldest. */
static void test_server_tcp_drops_who_is_being_punished(void **state)
{
	int punished, strangers[XRPC_MAX_UNREADY];

	start(TOKEN);
	punished = world_client_tcp();
	assert_true(send_text(punished, AUTHENTICATE("1", "no")));
	world_poll(20);
	for (size_t i = 0; i < XRPC_MAX_UNREADY; i++) {
		strangers[i] = world_client_tcp();
		world_poll(5);
	}
	expect_end(punished);
	for (size_t i = 0; i < XRPC_MAX_UNREADY; i++) {
		expect_nothing(strangers[i]);
		close(strangers[i]);
	}
	close(punished);
}

/* ---- the end ---- */

/* What a client still sends does not take the last answer away from it. */
static void test_server_tcp_last_answers_arrive(void **state)
{
	enum { LEN = XRPC_MAX_REQUEST + (1 << 20) };
	char *text = malloc(LEN);
	int fd;

	start(NULL);
	memset(text, ' ', LEN);
	text[0] = '[';
	fd = world_client_tcp();
	assert_true(send_all(fd, text, LEN));
	expect(fd, ERROR("-32700", "a call has at most 1 MiB (1048576 bytes)"));
	assert_int_equal(xrpc_server_nr_connections(world.server), 1);
	world_jump(1100 * XU_NS_PER_MS);
	expect_end(fd);
	close(fd);
	free(text);
}

static void test_server_tcp_stop_ends_all(void **state)
{
	int idle, silent, punished, lingering, busy;

	start(TOKEN);
	idle = friend();
	busy = friend();
	silent = world_client_tcp();
	punished = world_client_tcp();
	lingering = world_client_tcp();
	assert_true(send_text(punished, AUTHENTICATE("1", "no")));
	assert_true(send_text(lingering, CALL("echo", "1", "")));
	assert_true(send_text(busy, CALL("hold", "1", "")));
	expect(lingering, FIRST("1"));
	world_poll(20);
	xrpc_server_stop(world.server, world_on_stopped, NULL);
	expect_end(idle);
	expect_end(silent);
	expect_end(punished);
	expect_end(lingering);
	assert_false(world.is_stopped);
	xrpc_true(world.held);
	expect(busy, RESULT("1", "true"));
	expect_end(busy);
	world_poll(20);
	assert_true(world.is_stopped);
	close(idle);
	close(busy);
	close(silent);
	close(punished);
	close(lingering);
}

static void answer_held(struct xr_timer *timer)
{
	xrpc_true(world.held);
}

/* The server looks every second who does not take an answer. One that has only just begun is not
 * meant. */
static void test_server_tcp_stop_sends_what_is_answered_late(void **state)
{
	struct xr_timer timer = {.fn = answer_held};
	int busy;

	start(TOKEN);
	busy = friend();
	assert_true(send_text(busy, CALL("hold", "1", "")));
	world_poll(20);
	xr_timer_start(
		world.reactor, &timer, XU_NS_PER_S); /* before the server's, and due with it */
	xrpc_server_stop(world.server, world_on_stopped, NULL);
	world_jump(XU_NS_PER_S);
	expect(busy, RESULT("1", "true"));
	expect_end(busy);
	assert_true(world.is_stopped);
	close(busy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_server_tcp_refuses_to_be_open_to_all),
		TEST(test_server_tcp_serves_this_machine_without_a_token),
		TEST(test_server_tcp_takes_no_http),
		TEST(test_server_tcp_takes_the_token),
		TEST(test_server_tcp_answers_a_wrong_token_late_and_three_times),
		TEST(test_server_tcp_counts_all_guesses_together),
		TEST(test_server_tcp_does_nothing_for_strangers),
		TEST(test_server_tcp_wrong_parameters_are_wrong_tokens),
		TEST(test_server_tcp_strangers_have_ten_seconds),
		TEST(test_server_tcp_a_call_comes_in_half_a_minute),
		TEST(test_server_tcp_idle_connections_end),
		TEST(test_server_tcp_waits_for_methods),
		TEST(test_server_tcp_answers_are_taken_in_a_minute),
		TEST(test_server_tcp_strangers_keep_nobody_out),
		TEST(test_server_tcp_drops_who_is_being_punished),
		TEST(test_server_tcp_last_answers_arrive),
		TEST(test_server_tcp_stop_ends_all),
		TEST(test_server_tcp_stop_sends_what_is_answered_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
