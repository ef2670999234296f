/* SPDX-License-Identifier: BSD-3-Clause */
/* The world of the server's tests. */
#include "test/unit/xsand/server_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATIENCE_NS (60 * XU_NS_PER_S)

struct world world;

/* ---- methods ---- */

static void echo(struct xrpc_request *req, void *arg, const void *opts)
{
	json_t *params = xrpc_request_params(req);

	xrpc_result(req, params != NULL ? json_incref(params) : json_null());
}

static void hold(struct xrpc_request *req, void *arg, const void *opts)
{
	world.held = req;
}

static void big(struct xrpc_request *req, void *arg, const void *opts)
{
	enum { LEN = 8 << 20 };
	char *text = malloc(LEN);

	memset(text, 'b', LEN);
	xrpc_result(req, json_stringn(text, LEN));
	free(text);
}

static const struct xrpc_method methods[] = {
	{"echo", "Gives its parameters back.", .is_raw = true, .fn = echo},
	{"hold", "Is answered by the test.", .fn = hold},
	{"big", "Gives 8 MiB.", .fn = big},
	{0},
};

/* ---- the world ---- */

static uint64_t jumped_ns;

static uint64_t jumping_now_ns(const struct xu_clock *clock)
{
	return jumped_ns;
}

static const struct xu_clock jumping_clock = {.now_ns = jumping_now_ns};
static struct xr_platform jumping_platform;

int world_set_up(bool may_jump)
{
	struct xr_reactor_opts opts = {.cpu = -1};

	memset(&world, 0, sizeof(world));
	jumped_ns = XU_NS_PER_S;
	if (may_jump) {
		jumping_platform = *xr_platform_linux();
		jumping_platform.clock = &jumping_clock;
		opts.platform = &jumping_platform;
	}
	strcpy(world.dir, "/tmp/xsan-test-server-XXXXXX");
	assert_non_null(mkdtemp(world.dir));
	snprintf(world.path, sizeof(world.path), "%s/s", world.dir);
	assert_int_equal(xr_reactor_new(&opts, &world.reactor, NULL), 0);
	assert_int_equal(xrpc_service_new(&world.service), 0);
	assert_int_equal(xrpc_service_add(world.service, methods, NULL), 0);
	return 0;
}

void world_jump(uint64_t ns)
{
	world_poll(20); /* what is due before then */
	jumped_ns += ns;
	world_poll(20);
}

void world_poll(uint32_t nr_rounds)
{
	for (uint32_t i = 0; i < nr_rounds; i++) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
	}
}

void world_on_stopped(void *arg)
{
	world.is_stopped = true;
}

void world_stop(void)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;

	xrpc_server_stop(world.server, world_on_stopped, NULL);
	while (!world.is_stopped) {
		xr_reactor_poll(world.reactor, XU_NS_PER_MS);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
}

int world_tear_down(void)
{
	if (world.server != NULL && !world.is_stopped) {
		world_stop();
	}
	xrpc_server_free(world.server);
	xrpc_service_free(world.service);
	xr_reactor_free(world.reactor);
	unlink(world.path);
	rmdir(world.dir);
	return 0;
}

/* ---- a client ---- */

int world_client(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, world.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

int world_client_tcp(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons(xrpc_server_port(world.server)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* Sends all of it while the server runs; false when the server has closed. */
bool send_all(int fd, const char *text, size_t len)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;

	while (len > 0) {
		ssize_t done = send(fd, text, len, MSG_NOSIGNAL);

		if (done < 0 && errno != EAGAIN) {
			return false;
		}
		if (done > 0) {
			text += done;
			len -= (size_t)done;
		}
		xr_reactor_poll(world.reactor, done > 0 ? 0 : XU_NS_PER_MS);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
	return true;
}

/* Receives what comes until the server has closed, or `count` bytes are there. */
char *receive(int fd, size_t count, bool *ret_closed)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;
	size_t size = 1 << 16, len = 0;
	char *text = malloc(size + 1);

	*ret_closed = false;
	while (len < count) {
		ssize_t got;

		if (len == size) {
			size *= 2;
			text = realloc(text, size + 1);
		}
		got = recv(fd, text + len, size - len < count - len ? size - len : count - len, 0);
		if (got == 0 || (got < 0 && errno != EAGAIN)) {
			*ret_closed = true;
			break;
		}
		len += got > 0 ? (size_t)got : 0;
		xr_reactor_poll(world.reactor, got > 0 ? 0 : XU_NS_PER_MS);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
	text[len] = '\0';
	return text;
}

void expect(int fd, const char *expected)
{
	bool is_closed;
	char *text = receive(fd, strlen(expected), &is_closed);

	assert_string_equal(text, expected);
	free(text);
}

void expect_end(int fd)
{
	bool is_closed;
	char *text = receive(fd, 1, &is_closed);

	assert_true(is_closed);
	assert_string_equal(text, "");
	free(text);
}

bool send_text(int fd, const char *text)
{
	return send_all(fd, text, strlen(text));
}

void expect_nothing(int fd)
{
	char byte;

	world_poll(20);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}
