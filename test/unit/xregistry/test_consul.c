/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's data in Consul: the contract of shared backends, tokens, several endpoints,
 * answers that get lost and answers that are none, and connection strings. Against a real Consul
 * when there is one in the PATH, else against a stand-in (consul_server.h): then it shows what the
 * backend does with answers as Consul gives them, and not that Consul gives them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/consul/consul.h"
#include "test/unit/util/free_port.h"
#include "test/unit/xregistry/backend_contract.h"
#include "test/unit/xregistry/consul_server.h"
#include "test/unit/xregistry/fixture.h"

#define TOKEN "6e3e4a9a-5a0c-4f5e-9d0a-0e8a6a4d7c11"

static struct consul_server consul;

static void kill_consul(void)
{
	consul_server_kill(&consul);
}

static void revive_consul(void)
{
	consul_server_revive(&consul);
}

static void put(const char *key, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "/v1/kv/%s", key);
	consul_server_ask(&consul, "PUT", path, value);
}

static void del(const char *key, bool is_prefix)
{
	char path[96];

	snprintf(path, sizeof(path), "/v1/kv/%s%s", key, is_prefix ? "?recurse" : "");
	consul_server_ask(&consul, "DELETE", path, NULL);
}

static int open_at(const char *where, struct xreg_store **ret_store, struct xu_error *err)
{
	const struct xreg_store_opts opts = {.backend = &xreg_consul, .where = where};

	return xreg_store_open(&opts, ret_store, err);
}

/* ---- a connection that loses answers ---- */

/* Passes on what comes on each connection; it can lose the answer of a write. */
struct proxy {
	int listener;
	uint16_t port;
	pthread_t thread, *connections;
	_Atomic unsigned nr_connections;
	_Atomic bool must_stop, must_lose;
};

static struct proxy proxy;

#define PROXY_CONNECTIONS_MAX 64u

static int connect_to(uint16_t port)
{
	const struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Passes on what `from` has; false: the end. */
static bool pass_on(int from, int to, bool is_request, bool *is_losing)
{
	static const char write[] = "PUT /v1/txn HTTP";
	char buf[16384];
	ssize_t len = read(from, buf, sizeof(buf));

	if (len <= 0) {
		return false;
	}
	if (is_request && (size_t)len > sizeof(write) &&
		memcmp(buf, write, sizeof(write) - 1) == 0) {
		*is_losing = atomic_exchange(&proxy.must_lose, false);
	}
	return (!is_request && *is_losing) ? false
					   : send(to, buf, (size_t)len, MSG_NOSIGNAL) == len;
}

static void *serve_connection(void *arg)
{
	struct pollfd fds[2] = {{.fd = (int)(intptr_t)arg, .events = POLLIN},
		{.fd = connect_to(consul.port), .events = POLLIN}};
	bool is_losing = false, goes_on = fds[1].fd >= 0;

	while (goes_on && !atomic_load(&proxy.must_stop)) {
		if (poll(fds, 2, 100) <= 0) {
			continue;
		}
		for (int i = 0; i < 2 && goes_on; i++) {
			if (fds[i].revents != 0) {
				goes_on = pass_on(fds[i].fd, fds[1 - i].fd, i == 0, &is_losing);
			}
		}
	}
	close(fds[0].fd);
	close(fds[1].fd);
	return NULL;
}

static void *proxy_main(void *arg)
{
	struct pollfd listener = {.fd = proxy.listener, .events = POLLIN};

	while (!atomic_load(&proxy.must_stop) && proxy.nr_connections < PROXY_CONNECTIONS_MAX) {
		if (poll(&listener, 1, 100) == 1) {
			int fd = accept(proxy.listener, NULL, NULL);

			assert_int_equal(pthread_create(&proxy.connections[proxy.nr_connections++],
						 NULL, serve_connection, (void *)(intptr_t)fd),
				0);
		}
	}
	return NULL;
}

static void start_proxy(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);

	proxy = (struct proxy){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		.connections = calloc(PROXY_CONNECTIONS_MAX, sizeof(pthread_t))};
	assert_int_equal(bind(proxy.listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(proxy.listener, 16), 0);
	assert_int_equal(getsockname(proxy.listener, (struct sockaddr *)&addr, &len), 0);
	proxy.port = ntohs(addr.sin_port);
	assert_int_equal(pthread_create(&proxy.thread, NULL, proxy_main, NULL), 0);
}

static void stop_proxy(void)
{
	atomic_store(&proxy.must_stop, true);
	pthread_join(proxy.thread, NULL);
	for (unsigned i = 0; i < proxy.nr_connections; i++) {
		pthread_join(proxy.connections[i], NULL);
	}
	close(proxy.listener);
	free(proxy.connections);
}

/* What was made, and not answered, is made once, and is a success. */
static void test_consul_answer_lost(void **state)
{
	struct xreg_store *store, *other;
	char where[128];
	uint64_t version, again;
	struct xu_error err;
	json_t *document = json_pack("{s:i}", "a", 1), *now;
	struct xreg_view *view;

	start_proxy();
	snprintf(where, sizeof(where), "http://127.0.0.1:%u/lost", proxy.port);
	assert_int_equal(open_at(where, &store, &err), 0);
	fixture_register(store, "n1", 1);
	atomic_store(&proxy.must_lose, true);
	fixture_register(store, "n2", 2);
	assert_false(atomic_load(&proxy.must_lose));
	atomic_store(&proxy.must_lose, true);
	assert_int_equal(xreg_store_put_document(store, "zones", document, 0, &version, &err), 0);
	assert_false(atomic_load(&proxy.must_lose));
	fixture_register(store, "n3", 3);
	snprintf(where, sizeof(where), "%s/lost", consul.endpoint);
	assert_int_equal(open_at(where, &other, &err), 0);
	view = xreg_store_view(other);
	assert_int_equal(xreg_view_count(view), 3);
	assert_int_equal(xreg_view_revision(view), 3);
	xreg_view_unref(view);
	now = xreg_store_document(other, "zones", &again);
	assert_true(json_equal(now, document));
	assert_int_equal(again, version);
	json_decref(now);
	json_decref(document);
	xreg_store_close(other);
	xreg_store_close(store);
	stop_proxy();
}

/* ---- answers that are none ---- */

static const char *const bad_answers[] = {"", "nonsense\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
	"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"Results\":[{}]}",
	"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"Results\":[[0]]}",
	("HTTP/1.1 200 OK\r\nContent-Length: 47\r\n\r\n"
	 "{\"Results\":[{\"KV\":{\"Key\":\"x/meta\",\"Value\":\"!\"}}]}"),
	"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"Results\":[",
	"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 409 Conflict\r\nContent-Length: 12\r\n\r\n{\"Errors\":[]}",
	"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n\x01\x02",
	"HTTP/1.1 500 Error\r\nContent-Length: 17\r\n\r\nNo cluster leader"};

struct bad_server {
	int listener;
	const char *answer;
	_Atomic bool must_stop;
};

static void *serve_badly(void *arg)
{
	struct bad_server *server = arg;
	struct pollfd listener = {.fd = server->listener, .events = POLLIN};
	char buf[4096];

	while (!atomic_load(&server->must_stop)) {
		if (poll(&listener, 1, 50) == 1) {
			int fd = accept(server->listener, NULL, NULL);

			assert_true(read(fd, buf, sizeof(buf)) >= 0);
			(void)!send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
			close(fd);
		}
	}
	return NULL;
}

static void test_consul_answers_that_are_none(void **state)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	struct bad_server server = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	struct xreg_store *store;
	struct xu_error err;
	pthread_t thread;
	char where[64];

	assert_int_equal(bind(server.listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(server.listener, 16), 0);
	assert_int_equal(getsockname(server.listener, (struct sockaddr *)&addr, &len), 0);
	snprintf(where, sizeof(where), "127.0.0.1:%u/x", ntohs(addr.sin_port));
	for (size_t i = 0; i < sizeof(bad_answers) / sizeof(bad_answers[0]); i++) {
		server.answer = bad_answers[i];
		atomic_store(&server.must_stop, false);
		assert_int_equal(pthread_create(&thread, NULL, serve_badly, &server), 0);
		assert_true(open_at(where, &store, &err) < 0);
		assert_non_null(strstr(err.text, "Consul"));
		atomic_store(&server.must_stop, true);
		pthread_join(thread, NULL);
	}
	close(server.listener);
}

/* ---- endpoints ---- */

static void test_consul_one_of_several_endpoints(void **state)
{
	struct xreg_store *store;
	struct xu_error err;
	char where[160];

	snprintf(where, sizeof(where), "http://127.0.0.1:%u,%s/several", free_port(),
		consul.endpoint);
	assert_int_equal(open_at(where, &store, &err), 0);
	fixture_register(store, "n1", 1);
	for (int i = 0; i < 6000 && !xreg_store_is_up(store); i++) {
		usleep(10000);
	}
	assert_true(xreg_store_is_up(store));
	xreg_store_close(store);
	snprintf(where, sizeof(where), "http://127.0.0.1:%u/several", free_port());
	assert_int_equal(open_at(where, &store, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "127.0.0.1"));
}

/* ---- loading while others write ---- */

struct busy {
	struct xreg_store *store;
	_Atomic bool must_stop;
};

static void *write_busily(void *arg)
{
	struct busy *busy = arg;

	for (unsigned i = 0; i < 100000 && !atomic_load(&busy->must_stop); i++) {
		struct xreg_change change = {
			.op = XREG_UNREGISTER, .id = fixture_register(busy->store, "b", i)};

		if (i % 3 != 0) {
			assert_int_equal(xreg_store_change(busy->store, &change), 0);
			xreg_target_unref(change.result);
		}
	}
	return NULL;
}

static bool collect(void *arg, const struct xreg_target *target)
{
	json_object_set_new(arg, target->origin.id, xreg_target_to_json(target));
	return true;
}

static json_t *all_of(struct xreg_store *store, uint64_t *ret_revision)
{
	struct xreg_view *view = xreg_store_view(store);
	json_t *all = json_object();

	*ret_revision = xreg_view_revision(view);
	xreg_view_each(view, XREG_BY_ID, "", true, collect, all);
	xreg_view_unref(view);
	return all;
}

#define NR_LOADS 8u

static void test_consul_loads_while_others_write(void **state)
{
	struct busy busy = {0};
	struct xreg_store *stores[NR_LOADS];
	char where[128];
	struct xu_error err;
	pthread_t thread;
	uint64_t revision, other_revision;
	json_t *all, *other;

	snprintf(where, sizeof(where), "%s/busy", consul.endpoint);
	assert_int_equal(open_at(where, &busy.store, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_busily, &busy), 0);
	for (unsigned i = 0; i < NR_LOADS; i++) {
		usleep(150000);
		assert_int_equal(open_at(where, &stores[i], &err), 0);
	}
	/* Of three that it makes one stays, in five revisions. */
	assert_true(xreg_store_wait(busy.store, 10 * NR_LOADS, 60000) > 10 * NR_LOADS);
	atomic_store(&busy.must_stop, true);
	pthread_join(thread, NULL);
	all = all_of(busy.store, &revision);
	assert_true(json_object_size(all) > NR_LOADS);
	for (unsigned i = 0; i < NR_LOADS; i++) {
		assert_true(xreg_store_wait(stores[i], revision - 1, 60000) >= revision);
		other = all_of(stores[i], &other_revision);
		assert_int_equal(other_revision, revision);
		assert_true(json_equal(all, other));
		json_decref(other);
		xreg_store_close(stores[i]);
	}
	json_decref(all);
	xreg_store_close(busy.store);
}

/* ---- several registries ---- */

/* Waits until one and only one of them leads; its number. */
static unsigned wait_for_leader(struct xreg_store *stores[], unsigned count)
{
	for (int i = 0; i < 6000; i++) {
		unsigned leader = 0, nr_leaders = 0;

		for (unsigned k = 0; k < count; k++) {
			if (xreg_store_leads(stores[k])) {
				leader = k;
				nr_leaders++;
			}
		}
		assert_true(nr_leaders <= 1);
		if (nr_leaders == 1) {
			return leader;
		}
		usleep(10000);
	}
	fail_msg("nobody leads");
	return 0;
}

static void test_consul_has_one_leader(void **state)
{
	struct xreg_store *stores[3];
	char where[128];
	struct xu_error err;
	unsigned leader;

	snprintf(where, sizeof(where), "%s/leader", consul.endpoint);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(open_at(where, &stores[i], &err), 0);
	}
	leader = wait_for_leader(stores, 3);
	xreg_store_close(stores[leader]);
	stores[leader] = stores[2];
	leader = wait_for_leader(stores, 2);
	/* What has reported to one is known to the other. */
	xreg_store_hear(stores[leader], "n1", 1);
	xreg_store_hear(stores[leader], "n2", UINT64_C(4000000000000));
	for (int i = 0; i < 6000 && xreg_store_heard_ms(stores[1 - leader], "n2") == 0; i++) {
		usleep(10000);
	}
	assert_int_equal(xreg_store_heard_ms(stores[1 - leader], "n2"), UINT64_C(4000000000000));
	assert_int_equal(xreg_store_heard_ms(stores[1 - leader], "n1"), 0); /* too old */
	/* One that dies without a word. */
	del("leader/leader", false);
	put("leader/leader", "somebody 1");
	for (int i = 0; i < 6000 && xreg_store_leads(stores[leader]); i++) {
		usleep(10000);
	}
	assert_false(xreg_store_leads(stores[leader]));
	wait_for_leader(stores, 2);
	xreg_store_close(stores[0]);
	xreg_store_close(stores[1]);
}

/* ---- tokens ---- */

static void test_consul_tokens(void **state)
{
	struct consul_server strict;
	struct xreg_store *store;
	struct xu_error err;
	char where[160], path[64];
	FILE *file;

	consul_server_start(&strict, TOKEN);
	snprintf(where, sizeof(where), "%s/tokens", strict.endpoint);
	assert_int_equal(open_at(where, &store, &err), -EACCES);
	assert_non_null(strstr(err.text, "token"));
	setenv("XSAN_TEST_TOKEN", "0c3e4a9a-5a0c-4f5e-9d0a-0e8a6a4d7c12", 1);
	snprintf(where, sizeof(where), "%s/tokens?token_env=XSAN_TEST_TOKEN", strict.endpoint);
	assert_int_equal(open_at(where, &store, &err), -EACCES);
	assert_null(strstr(err.text, "0c3e4a9a"));
	setenv("XSAN_TEST_TOKEN", TOKEN, 1);
	assert_int_equal(open_at(where, &store, &err), 0);
	fixture_register(store, "n1", 1);
	xreg_store_close(store);
	snprintf(path, sizeof(path), "%s/token", strict.dir);
	file = fopen(path, "w");
	assert_true(file != NULL && fputs(TOKEN "\n", file) >= 0 && fclose(file) == 0);
	snprintf(where, sizeof(where), "%s/tokens?token_file=%s", strict.endpoint, path);
	assert_int_equal(open_at(where, &store, &err), 0);
	fixture_register(store, "n2", 2);
	for (int i = 0; i < 6000 && !xreg_store_is_up(store); i++) {
		usleep(10000);
	}
	assert_true(xreg_store_is_up(store));
	xreg_store_close(store);
	consul_server_stop(&strict);
}

/* ---- connection strings ---- */

static void test_where(void **state)
{
	static const char *const bad[] = {"", "/prefix", "a:1?x=1", "a:1?token_file",
		"a:1?token_file=", "a:1?ca=a&ca=b", "a:1?token_env=XSAN_NO_SUCH_VARIABLE",
		"a:1?token_file=/nowhere/at/all", "ftp://a:1", "a:1,", "a:1,,b:1", "a:x",
		"http://u:p@a:1", "a:1/a b", "a:1/../x", "a:1/x?datacenter=a&b=c",
		"a:1/x?datacenter=a%26b", "a:1/x?cert=/c", "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"};
	struct xreg_consul_where parsed;
	struct xu_error err;

	assert_int_equal(xreg_consul_where_parse("a,https://b,http://[::1]:7/", &parsed, &err), 0);
	assert_int_equal(parsed.nr_endpoints, 3);
	assert_string_equal(parsed.endpoints[0], "http://a:8500");
	assert_string_equal(parsed.endpoints[1], "https://b:8501");
	assert_string_equal(parsed.endpoints[2], "http://[::1]:7");
	assert_string_equal(parsed.prefix, "xsan-registry");
	assert_null(parsed.token);
	xreg_consul_where_free(&parsed);
	setenv("XSAN_TEST_TOKEN", TOKEN, 1);
	assert_int_equal(
		xreg_consul_where_parse("https://a:1/x/y/?ca=/c&cert=/d&key=/e&datacenter=dc-"
					"2&token_env=XSAN_TEST_TOKEN",
			&parsed, &err),
		0);
	assert_string_equal(parsed.endpoints[0], "https://a:1");
	assert_string_equal(parsed.prefix, "x/y");
	assert_string_equal(parsed.ca, "/c");
	assert_string_equal(parsed.cert, "/d");
	assert_string_equal(parsed.key, "/e");
	assert_string_equal(parsed.datacenter, "dc-2");
	assert_string_equal(parsed.token, TOKEN);
	xreg_consul_where_free(&parsed);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (xreg_consul_where_parse(bad[i], &parsed, &err) == 0) {
			fail_msg("'%s' should be refused", bad[i]);
		}
		assert_true(err.text[0] != '\0');
	}
}

int main(void)
{
	const struct contract_server server = {
		"Consul", &xreg_consul, consul.endpoint, "", kill_consul, revive_consul, put, del};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consul_answer_lost),
		cmocka_unit_test(test_consul_answers_that_are_none),
		cmocka_unit_test(test_consul_one_of_several_endpoints),
		cmocka_unit_test(test_consul_loads_while_others_write),
		cmocka_unit_test(test_consul_has_one_leader),
		cmocka_unit_test(test_consul_tokens),
		cmocka_unit_test(test_where),
	};
	int nr_failed;

	consul_server_start(&consul, NULL);
	printf("against %s\n", consul.is_real ? "a real Consul" : "the stand-in, not Consul");
	nr_failed = contract_run(&server) + cmocka_run_group_tests(tests, NULL, NULL);
	consul_server_stop(&consul);
	return nr_failed != 0;
}
