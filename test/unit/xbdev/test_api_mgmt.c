/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management server of the library: what its options must be, that calls from outside and from
 * inside see the same devices, and that it ends whatever its clients do. Who may connect and in
 * which pieces calls come is shown in test/unit/xsand/test_server_*.c; with other clients than this
 * one in test/integration/test-mgmt-server.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <xbdev/xbdev.h>

#define BLOCK      4096u
#define PATIENCE_S 60
#define TOKEN      "0123456789abcdef"

static int start(void **state)
{
	assert_int_equal(xbdev_init(), 0);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "mem"), 0);
	return 0;
}

static int stop(void **state)
{
	return xbdev_fini();
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- a client ---- */

static int connect_to(const struct sockaddr *addr, socklen_t len)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, addr, len) != 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int connect_tcp(int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return connect_to((struct sockaddr *)&addr, sizeof(addr));
}

static int connect_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(addr.sun_path, path);
	return connect_to((struct sockaddr *)&addr, sizeof(addr));
}

/* A port that nobody listens on and that stays this process's, also while nothing listens on it: as
 * test/ports.py reserves them for the tests that run beside this one. What the kernel picks it may
 * give to another as soon as it is free. */
static int reserve_port(void)
{
	for (int port = 10000 + getpid() % 10000, tries = 0; tries < 10000; tries++) {
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		int lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int len = snprintf(
			addr.sun_path + 1, sizeof(addr.sun_path) - 1, "xsan-test-port-%d", port);
		socklen_t size =
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)len;

		if (bind(lock, (const struct sockaddr *)&addr, size) == 0 &&
			connect_tcp(port) == -ECONNREFUSED) {
			return port; /* the lock ends with the process */
		}
		close(lock);
		port = port < 19999 ? port + 1 : 10000;
	}
	fail_msg("no port from 10000 to 19999 is free");
	return -1;
}

/* The kernel interrupts calls of the thread that started the library when it takes the rings of an
 * earlier round apart. */
static ssize_t receive_some(int fd, char *buf, size_t size)
{
	ssize_t got;

	do {
		got = recv(fd, buf, size, 0);
	} while (got < 0 && errno == EINTR);
	return got;
}

/* Receives up to the end of the answer, which is an object without brackets in its texts. */
static void receive(int fd, char *answer, size_t size)
{
	size_t len = 0;
	int depth = 0;

	do {
		ssize_t got = receive_some(fd, answer + len, 1);

		if (got != 1 || len + 1 == size) {
			fail_msg("after %zu bytes: %zd (%s)", len, got, strerror(errno));
		}
		depth += answer[len] == '{' || answer[len] == '[';
		depth -= answer[len] == '}' || answer[len] == ']';
		len++;
	} while (depth > 0);
	answer[len] = '\0';
}

/* Calls and returns the answer; the next call overwrites it. */
static const char *call(int fd, const char *method, const char *params)
{
	static _Thread_local char answer[65536];
	char text[1024];
	int len = snprintf(text, sizeof(text),
		"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"%s\", \"params\": %s}", method,
		params);

	assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
	receive(fd, answer, sizeof(answer));
	return answer;
}

static void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) {
		fail_msg("'%s' is not in '%s'", part, text);
	}
}

static bool has_device(const char *name)
{
	xbdev_info_t infos[16];
	int count = xbdev_list(infos, 16);
	bool is_there = false;

	for (int i = 0; i < count; i++) {
		is_there |= strcmp(infos[i].name, name) == 0;
	}
	return is_there;
}

/* ---- options ---- */

#define OPTIONS(...) ((xbdev_mgmt_options_t){.size = sizeof(xbdev_mgmt_options_t), __VA_ARGS__})

static void test_server_tells_what_is_wrong_with_its_options(void **state)
{
	const struct {
		xbdev_mgmt_options_t options;
		int rc;
		const char *sentence;
	} table[] = {
		{{.listen_addr = "127.0.0.1"}, -EINVAL, "size"},
		{OPTIONS(.port = 1), -EINVAL, "neither an address"},
		{OPTIONS(.socket_path = "/tmp/x", .token = TOKEN), -EINVAL, "for TCP"},
		{OPTIONS(.socket_path = "/tmp/x", .tls_cert = "c", .tls_key = "k"), -EINVAL,
			"for TCP"},
		{OPTIONS(.listen_addr = "127.0.0.1", .port = -1), -EINVAL, "port -1"},
		{OPTIONS(.listen_addr = "127.0.0.1", .port = 65536), -EINVAL, "port 65536"},
		{OPTIONS(.listen_addr = "localhost"), -EINVAL, "numeric"},
		{OPTIONS(.listen_addr = "0.0.0.0"), -EPERM, "not a loopback address"},
		{OPTIONS(.listen_addr = "::"), -EPERM, "not a loopback address"},
		{OPTIONS(.listen_addr = "127.0.0.1", .token = "short"), -EINVAL, "5 characters"},
		{OPTIONS(.listen_addr = "127.0.0.1", .socket_path = "/nonexistent/dir/s"), -ENOENT,
			"/nonexistent/dir/s"},
	};

	assert_int_equal(xbdev_mgmt_server_init_with(NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(xbdev_mgmt_server_init_with(&table[i].options), table[i].rc);
		assert_has(xbdev_last_error(), table[i].sentence);
		assert_int_equal(xbdev_mgmt_server_port(), -ENOENT);
	}
	assert_int_equal(xbdev_mgmt_server_init("0.0.0.0", 0), -EPERM);
	assert_int_equal(xbdev_mgmt_server_fini(), -ENOENT);
}

/* xbdev_mgmt_server_init() takes them from the environment, the other one does not. */
static void test_server_has_its_token_from_the_environment(void **state)
{
	const xbdev_mgmt_options_t options = OPTIONS(.listen_addr = "127.0.0.1");
	int fd;

	setenv("XBDEV_MGMT_TOKEN", TOKEN, 1);
	assert_int_equal(xbdev_mgmt_server_init(NULL, 0), 0);
	fd = connect_tcp(xbdev_mgmt_server_port());
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"code\":-13");
	close(fd);
	assert_int_equal(xbdev_mgmt_server_fini(), 0);
	assert_int_equal(xbdev_mgmt_server_init_with(&options), 0);
	fd = connect_tcp(xbdev_mgmt_server_port());
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"name\":\"mem\"");
	close(fd);
	assert_int_equal(xbdev_mgmt_server_fini(), 0);
	setenv("XBDEV_MGMT_TOKEN", "", 1);
	assert_int_equal(xbdev_mgmt_server_init(NULL, 0), -EINVAL);
	setenv("XBDEV_MGMT_TOKEN", TOKEN, 1);
	setenv("XBDEV_MGMT_TLS_CERT", "/nonexistent/cert", 1);
	setenv("XBDEV_MGMT_TLS_KEY", "/nonexistent/key", 1);
	assert_int_not_equal(xbdev_mgmt_server_init(NULL, 0), 0);
	unsetenv("XBDEV_MGMT_TLS_CERT");
	unsetenv("XBDEV_MGMT_TLS_KEY");
	unsetenv("XBDEV_MGMT_TOKEN");
}

static void test_server_says_that_tls_files_are_missing(void **state)
{
	const xbdev_mgmt_options_t options = OPTIONS(.listen_addr = "127.0.0.1",
		.tls_cert = "/nonexistent/cert", .tls_key = "/nonexistent/key");
	int rc = xbdev_mgmt_server_init_with(&options);

	assert_true(rc == -EINVAL || rc == -ENOSYS); /* the latter in a build without TLS */
	assert_has(xbdev_last_error(), rc == -EINVAL ? "/nonexistent/cert" : "no TLS");
	assert_int_equal(xbdev_mgmt_server_fini(), -ENOENT);
}

static void test_server_needs_the_library(void **state)
{
	assert_int_equal(xbdev_mgmt_server_init(NULL, 0), -ESHUTDOWN);
	assert_int_equal(xbdev_mgmt_server_port(), -ESHUTDOWN);
	assert_int_equal(xbdev_mgmt_server_fini(), -ESHUTDOWN);
}

static void test_server_runs_once(void **state)
{
	xbdev_mgmt_options_t options = OPTIONS(.listen_addr = "127.0.0.1");
	int port;

	assert_int_equal(xbdev_mgmt_server_init(NULL, 0), 0);
	assert_int_equal(xbdev_mgmt_server_init(NULL, 0), -EALREADY);
	port = xbdev_mgmt_server_port();
	assert_in_range(port, 1, 65535);
	assert_int_equal(xbdev_mgmt_server_fini(), 0);
	assert_int_equal(xbdev_mgmt_server_fini(), -ENOENT);
	options.port = reserve_port();
	for (int i = 0; i < 2; i++) { /* and at once again */
		assert_int_equal(xbdev_mgmt_server_init_with(&options), 0);
		assert_int_equal(xbdev_mgmt_server_port(), options.port);
		close(connect_tcp(options.port));
		assert_int_equal(xbdev_mgmt_server_fini(), 0);
		assert_int_equal(connect_tcp(options.port), -ECONNREFUSED);
	}
}

/* ---- devices ---- */

/* The last notification of each type. */
static struct {
	_Atomic uint32_t count;
	char device[64];
	uint64_t size;
} told[8];

static void on_notification(const xbdev_notification_t *notification, void *arg)
{
	int type = notification->type;

	snprintf(told[type].device, sizeof(told[type].device), "%.60s", notification->device);
	told[type].size = notification->size_bytes;
	atomic_fetch_add(&told[type].count, 1);
}

static void wait_told(int type, const char *device, uint64_t size)
{
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;

	while (atomic_load(&told[type].count) == 0) {
		const struct timespec pause = {.tv_nsec = 1000000};

		assert_true(now_ms() < end_ms);
		nanosleep(&pause, NULL);
	}
	assert_int_equal(atomic_load(&told[type].count), 1);
	assert_string_equal(told[type].device, device);
	assert_int_equal(told[type].size, size);
}

static void test_calls_make_change_and_remove_devices(void **state)
{
	int fd;

	memset(told, 0, sizeof(told));
	assert_int_equal(xbdev_mgmt_register_notification_callback(on_notification, NULL), 0);
	assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
	fd = connect_tcp(xbdev_mgmt_server_port());

	assert_has(call(fd, "spdk_get_version", "{}"), "XSAN ");
	assert_has(call(fd, "rpc_get_methods", "{}"), "\"bdev_get_iostat\"");
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"name\":\"mem\"");
	assert_has(call(fd, "bdev_null_create",
			   "{\"name\": \"n\", \"num_blocks\": 2048, \"block_size\": 512}"),
		"\"result\":\"n\"");
	wait_told(XBDEV_NOTIFICATION_DEVICE_ADDED, "n", 1 << 20);
	assert_true(has_device("n"));
	assert_has(call(fd, "bdev_null_create",
			   "{\"name\": \"n\", \"num_blocks\": 2048, \"block_size\": 512}"),
		"\"code\":-17");
	assert_has(call(fd, "bdev_null_resize", "{\"name\": \"n\", \"new_size\": 3}"),
		"\"result\":true");
	wait_told(XBDEV_NOTIFICATION_DEVICE_RESIZED, "n", 3 << 20);
	assert_has(call(fd, "bdev_resize", "{\"name\": \"mem\", \"size\": \"2MiB\"}"),
		"cannot be changed while it runs");
	assert_has(
		call(fd, "bdev_resize", "{\"name\": \"nobody\", \"size\": 512}"), "\"code\":-19");
	assert_has(call(fd, "bdev_delete", "{\"name\": \"n\"}"), "\"result\":true");
	wait_told(XBDEV_NOTIFICATION_DEVICE_REMOVED, "n", 3 << 20);
	assert_false(has_device("n"));
	assert_has(call(fd, "bdev_delete", "{\"name\": \"n\"}"), "\"code\":-19");
	close(fd);
}

static void test_calls_change_filters_and_keep_what_is_in_use(void **state)
{
	xbdev_stats_t stats;
	char buf[BLOCK];
	int fd, dev;

	assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
	fd = connect_tcp(xbdev_mgmt_server_port());
	assert_has(call(fd, "bdev_delay_create",
			   "{\"base_bdev_name\": \"mem\", \"name\": \"slow\", "
			   "\"avg_read_latency\": 1, \"p99_read_latency\": 0, "
			   "\"avg_write_latency\": 1, \"p99_write_latency\": 0}"),
		"\"result\":\"slow\"");
	assert_has(call(fd, "bdev_delay_update_latency",
			   "{\"delay_bdev_name\": \"slow\", \"latency_type\": \"avg_read\", "
			   "\"latency_us\": 5000}"),
		"\"result\":true");
	dev = xbdev_open("slow");
	assert_int_equal(xbdev_read(dev, buf, BLOCK, 0), BLOCK);
	assert_int_equal(xbdev_stats_get("slow", &stats), 0);
	assert_true(stats.ops[XBDEV_OP_READ].max_ns >= 5000000);
	assert_has(call(fd, "bdev_get_iostat", "{\"name\": \"slow\"}"), "\"num_read_ops\":1");
	assert_has(call(fd, "bdev_delete", "{\"name\": \"mem\"}"), "\"code\":-16");
	assert_has(call(fd, "bdev_delete", "{\"name\": \"slow\"}"), "\"result\":true");
	assert_int_equal(xbdev_read(dev, buf, BLOCK, 0), -ENODEV);
	assert_int_equal(xbdev_close(dev), 0);
	assert_has(call(fd, "bdev_delete", "{\"name\": \"mem\"}"), "\"result\":true");
	close(fd);
}

static void test_clients_can_ask_for_events(void **state)
{
	static const char device[] = "{\"name\": \"n\", \"num_blocks\": 8, \"block_size\": 512}";
	int fd;

	assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
	fd = connect_tcp(xbdev_mgmt_server_port());
	assert_has(call(fd, "notify_get_types", "{}"), "\"bdev_register\"");
	assert_has(call(fd, "notify_get_notifications", "{}"), "\"result\":[]");
	call(fd, "bdev_null_create", device);
	call(fd, "bdev_null_resize", "{\"name\": \"n\", \"new_size\": 3}");
	call(fd, "bdev_delete", "{\"name\": \"n\"}");
	assert_has(call(fd, "notify_get_notifications", "{}"),
		"\"result\":[{\"type\":\"bdev_register\",\"ctx\":\"n\",\"id\":0},"
		"{\"type\":\"bdev_resize\",\"ctx\":\"n\",\"id\":1},"
		"{\"type\":\"bdev_unregister\",\"ctx\":\"n\",\"id\":2}]");
	assert_has(call(fd, "notify_get_notifications", "{\"id\": 1, \"max\": 1}"),
		"\"result\":[{\"type\":\"bdev_resize\",\"ctx\":\"n\",\"id\":1}]");
	assert_has(call(fd, "notify_get_notifications", "{\"id\": 3}"), "\"result\":[]");
	/* Of 303 events the last 256 are kept. */
	for (int i = 0; i < 150; i++) {
		assert_has(call(fd, "bdev_null_create", device), "result");
		assert_has(call(fd, "bdev_delete", "{\"name\": \"n\"}"), "result");
	}
	assert_has(call(fd, "notify_get_notifications", "{\"max\": 1}"),
		"\"result\":[{\"type\":\"bdev_register\",\"ctx\":\"n\",\"id\":47}]");
	assert_has(call(fd, "notify_get_notifications", "{\"id\": 301}"), "\"id\":302}]");
	close(fd);
}

static void test_clients_can_ask_for_health_events(void **state)
{
	const xbdev_health_config_t config = {.interval_s = 1};
	uint64_t end_ms = now_ms() + PATIENCE_S * 1000;
	char buf[BLOCK];
	const char *answer;
	int fd, dev;

	assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
	fd = connect_tcp(xbdev_mgmt_server_port());
	assert_has(call(fd, "bdev_error_create", "{\"base_name\": \"mem\", \"name\": \"bad\"}"),
		"result");
	assert_int_equal(xbdev_health_monitor_start(&config), 0);
	dev = xbdev_open("bad");
	do {
		/* Until a check has seen that there are more errors than before. */
		assert_has(call(fd, "bdev_error_inject_error",
				   "{\"name\": \"bad\", \"io_type\": \"read\", "
				   "\"error_type\": \"failure\", \"num\": 1}"),
			"\"result\":true");
		assert_int_equal(xbdev_read(dev, buf, BLOCK, 0), -EIO);
		usleep(100000);
		answer = call(fd, "notify_get_notifications", "{}");
		assert_true(now_ms() < end_ms);
	} while (strstr(answer, "bdev_health") == NULL);
	assert_has(answer, "\"type\":\"bdev_health\",\"ctx\":\"bad\",\"id\":1,\"text\":\"");
	assert_has(answer, "operations have failed");
	assert_int_equal(xbdev_close(dev), 0);
	close(fd);
}

static void test_server_may_have_a_token_and_a_socket_beside_it(void **state)
{
	char path[64] = "/tmp/xsan-test-mgmt-XXXXXX", answer[256];
	xbdev_mgmt_options_t options =
		OPTIONS(.listen_addr = "127.0.0.1", .token = TOKEN, .socket_path = path);
	int fd;

	assert_non_null(mkdtemp(path));
	strcat(path, "/s");
	assert_int_equal(xbdev_mgmt_server_init_with(&options), 0);
	fd = connect_unix(path);
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"name\":\"mem\"");
	close(fd);
	fd = connect_tcp(xbdev_mgmt_server_port());
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"code\":-13");
	close(fd);
	fd = connect_tcp(xbdev_mgmt_server_port());
	strcpy(answer, call(fd, "authenticate", "{\"token\": \"" TOKEN "\"}"));
	assert_string_equal(answer, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}");
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"name\":\"mem\"");
	close(fd);
	assert_int_equal(xbdev_mgmt_server_fini(), 0);
	assert_int_equal(access(path, F_OK), -1);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	/* Without TCP it has no port. */
	strcat(path, "-s");
	options = OPTIONS(.socket_path = path);
	assert_int_equal(xbdev_mgmt_server_init_with(&options), 0);
	assert_int_equal(xbdev_mgmt_server_port(), -ENOENT);
	fd = connect_unix(path);
	assert_has(call(fd, "bdev_get_bdevs", "{}"), "\"name\":\"mem\"");
	close(fd);
}

/* ---- the end ---- */

static void test_library_ends_with_its_server(void **state)
{
	char byte;
	int fds[3], port = reserve_port();

	for (int round = 0; round < 5; round++) {
		assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", port), 0);
		for (int i = 0; i < 3; i++) {
			fds[i] = connect_tcp(port);
		}
		assert_has(call(fds[1], "bdev_get_bdevs", "{}"), "mem");
		assert_int_equal(send(fds[2], "{\"json", 6, MSG_NOSIGNAL), 6);
		assert_int_equal(xbdev_fini(), 0);
		for (int i = 0; i < 3; i++) {
			ssize_t got = receive_some(fds[i], &byte, 1);

			assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
			close(fds[i]);
		}
		assert_int_equal(connect_tcp(port), -ECONNREFUSED);
		assert_int_equal(start(NULL), 0);
	}
}

/* ---- threads ---- */

#define ENOUGH_CALLS 10u

static _Atomic bool must_end;
static _Atomic int port_now;

static void *be_client(void *arg)
{
	const char *name = arg;
	char params[128], answer[8];
	uintptr_t nr_calls = 0;

	while (!atomic_load(&must_end) || nr_calls <= ENOUGH_CALLS) {
		int fd = connect_tcp(atomic_load(&port_now));

		if (fd < 0) {
			continue;
		}
		snprintf(params, sizeof(params),
			"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"%s\", \"params\": "
			"{\"name\": \"%s\"%s}}",
			nr_calls % 2 == 0 ? "bdev_null_create" : "bdev_delete", name,
			nr_calls % 2 == 0 ? ", \"num_blocks\": 8, \"block_size\": 512" : "");
		/* The server may just be going. */
		if (send(fd, params, strlen(params), MSG_NOSIGNAL) > 0 &&
			recv(fd, answer, sizeof(answer), 0) > 0) {
			nr_calls++;
		}
		close(fd);
	}
	return (void *)nr_calls;
}

static void test_server_starts_and_stops_under_its_clients(void **state)
{
	static char names[3][8] = {"a", "b", "c"};
	pthread_t threads[3];
	void *nr_calls;

	atomic_store(&must_end, false);
	assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
	atomic_store(&port_now, xbdev_mgmt_server_port());
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, be_client, names[i]), 0);
	}
	for (int i = 0; i < 20; i++) {
		const struct timespec pause = {.tv_nsec = 20000000};

		nanosleep(&pause, NULL);
		assert_int_equal(xbdev_mgmt_server_fini(), 0);
		assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
		atomic_store(&port_now, xbdev_mgmt_server_port());
	}
	atomic_store(&must_end, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &nr_calls);
		assert_true((uintptr_t)nr_calls > ENOUGH_CALLS);
	}
}

/* ---- embedded ---- */

static void *call_once(void *arg)
{
	int fd = connect_tcp(atomic_load(&port_now));
	bool is_good = fd >= 0 && strstr(call(fd, "bdev_get_bdevs", "{}"), "mem") != NULL;

	close(fd);
	atomic_store(&must_end, true);
	return is_good ? arg : NULL;
}

static void test_server_answers_while_the_embedded_library_is_polled(void **state)
{
	xbdev_init_options_t options = {.size = sizeof(options), .is_embedded = true};
	pthread_t thread;
	void *result;

	assert_int_equal(xbdev_init_with(&options), 0);
	assert_int_equal(xbdev_config_malloc(1, BLOCK, "mem"), 0);
	assert_int_equal(xbdev_mgmt_server_init("127.0.0.1", 0), 0);
	atomic_store(&port_now, xbdev_mgmt_server_port());
	atomic_store(&must_end, false);
	assert_int_equal(pthread_create(&thread, NULL, call_once, &options), 0);
	while (!atomic_load(&must_end)) {
		assert_true(xbdev_poll(1000) >= 0);
	}
	pthread_join(thread, &result);
	assert_ptr_equal(result, &options);
	assert_int_equal(xbdev_mgmt_server_fini(), 0);
	assert_int_equal(xbdev_fini(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_needs_the_library),
		TEST(test_server_tells_what_is_wrong_with_its_options),
		TEST(test_server_says_that_tls_files_are_missing),
		TEST(test_server_has_its_token_from_the_environment),
		TEST(test_server_runs_once),
		TEST(test_calls_make_change_and_remove_devices),
		TEST(test_calls_change_filters_and_keep_what_is_in_use),
		TEST(test_clients_can_ask_for_events),
		TEST(test_clients_can_ask_for_health_events),
		TEST(test_server_may_have_a_token_and_a_socket_beside_it),
		TEST(test_library_ends_with_its_server),
		TEST(test_server_starts_and_stops_under_its_clients),
		cmocka_unit_test(test_server_answers_while_the_embedded_library_is_polled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
