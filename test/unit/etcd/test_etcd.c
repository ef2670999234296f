/* SPDX-License-Identifier: BSD-3-Clause */
/* The client of etcd against etcd itself, with etcdctl as the other side: reading, transactions,
 * leases, watches, members that die and stop, compaction, users, and what etcd refuses. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/etcd/etcd.h"
#include "lib/util/error.h"
#include "test/unit/etcd/server.h"

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1"; /* the core's threads and its atomics */
}

static struct etcd_server one, three;

static struct xetcd *open_client(const char *endpoints, uint32_t patience_ms)
{
	struct xetcd *client;
	struct xu_error err;

	if (xetcd_open(
		    &(const struct xetcd_opts){.endpoints = endpoints, .patience_ms = patience_ms},
		    &client, &err) != 0) {
		fail_msg("%s", err.text);
	}
	return client;
}

static int put(struct xetcd *client, const char *key, const char *value, struct xu_error *err)
{
	const struct xetcd_op op = {
		.what = XETCD_PUT, .key = key, .value = value, .len = strlen(value)};
	struct xetcd_reply reply;
	int rc = xetcd_txn(
		client, &(const struct xetcd_txn){.then = &op, .nr_then = 1}, &reply, err);

	xetcd_reply_free(&reply);
	return rc;
}

static void must_put(struct xetcd *client, const char *key, const char *value)
{
	struct xu_error err;

	if (put(client, key, value, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

static void assert_value(struct xetcd *client, const char *key, const char *value)
{
	struct xetcd_reply reply;
	struct xu_error err;

	assert_int_equal(xetcd_get(client, key, NULL, 0, 0, &reply, &err), 0);
	assert_int_equal(reply.nr_kvs, value != NULL ? 1 : 0);
	if (value != NULL) {
		assert_int_equal(reply.kvs[0].len, strlen(value));
		assert_memory_equal(reply.kvs[0].value, value, strlen(value));
	}
	xetcd_reply_free(&reply);
}

static void wait_for(_Atomic uint64_t *number, uint64_t above)
{
	for (int i = 0; i < 6000 && atomic_load(number) <= above; i++) {
		usleep(10000);
	}
	assert_true(atomic_load(number) > above);
}

/* ---- reading and writing ---- */

static void test_get_what_etcdctl_has_put(void **state)
{
	struct xetcd *client = open_client(one.endpoints, 0);
	struct xetcd_reply reply, old;
	struct xu_error err;

	etcd_server_ctl(&one, "put a/1 first");
	etcd_server_ctl(&one, "put a/2 second");
	etcd_server_ctl(&one, "put b/1 other");
	assert_int_equal(xetcd_get(client, "a/", "a0", 0, 0, &reply, &err), 0);
	assert_int_equal(reply.nr_kvs, 2);
	assert_false(reply.more);
	assert_memory_equal(reply.kvs[1].key, "a/2", 3);
	assert_memory_equal(reply.kvs[1].value, "second", 6);
	assert_true(reply.kvs[1].mod_revision > reply.kvs[0].mod_revision);
	etcd_server_ctl(&one, "put a/1 changed");
	/* As it was, and a part of it. */
	assert_int_equal(xetcd_get(client, "a/", "a0", 1, reply.revision, &old, &err), 0);
	assert_int_equal(old.nr_kvs, 1);
	assert_true(old.more);
	assert_memory_equal(old.kvs[0].value, "first", 5);
	xetcd_reply_free(&old);
	xetcd_reply_free(&reply);
	assert_value(client, "nothing", NULL);
	xetcd_close(client);
}

static void test_txn_holds_or_not(void **state)
{
	struct xetcd *client = open_client(one.endpoints, 0);
	const struct xetcd_compare is_new = {XETCD_CREATE_REVISION_IS, "t/x", 0};
	const struct xetcd_op then[] = {
		{.what = XETCD_PUT, .key = "t/x", .value = "1", .len = 1},
		{.what = XETCD_PUT, .key = "t/y", .value = "2", .len = 1},
		{.what = XETCD_DELETE, .key = "t/z", .end = "t0"},
		{.what = XETCD_GET, .key = "t/", .end = "t0"},
	};
	const struct xetcd_op otherwise = {.what = XETCD_GET, .key = "t/x"};
	const struct xetcd_txn txn = {.compares = &is_new,
		.nr_compares = 1,
		.then = then,
		.nr_then = 4,
		.otherwise = &otherwise,
		.nr_otherwise = 1};
	struct xetcd_compare is_same = {XETCD_MOD_REVISION_IS, "t/x", 0};
	struct xetcd_reply reply;
	struct xu_error err;

	must_put(client, "t/z", "old");
	assert_int_equal(xetcd_txn(client, &txn, &reply, &err), 0);
	assert_true(reply.succeeded);
	assert_int_equal(reply.nr_kvs, 2);
	xetcd_reply_free(&reply);
	assert_value(client, "t/z", NULL);
	assert_int_equal(xetcd_txn(client, &txn, &reply, &err), 0);
	assert_false(reply.succeeded);
	assert_int_equal(reply.nr_kvs, 1);
	is_same.revision = reply.kvs[0].mod_revision;
	xetcd_reply_free(&reply);
	assert_int_equal(
		xetcd_txn(client, &(const struct xetcd_txn){.compares = &is_same, .nr_compares = 1},
			&reply, &err),
		0);
	assert_true(reply.succeeded);
	xetcd_reply_free(&reply);
	xetcd_close(client);
}

static void test_what_etcd_refuses(void **state)
{
	struct xetcd *client = open_client(one.endpoints, 0);
	struct xetcd_reply reply;
	struct xu_error err;
	char *large = malloc(3u << 20);

	memset(large, 'x', (3u << 20) - 1);
	large[(3u << 20) - 1] = '\0';
	assert_int_equal(put(client, "large", large, &err), -E2BIG);
	free(large);
	/* A revision that is yet to come, and one that is compacted. */
	assert_int_equal(xetcd_get(client, "a", NULL, 0, 1 << 30, &reply, &err), -ESTALE);
	must_put(client, "c", "1");
	must_put(client, "c", "2");
	assert_int_equal(xetcd_get(client, "c", NULL, 0, 0, &reply, &err), 0);
	etcd_server_ctl(&one, "compact %lld", (long long)reply.revision);
	xetcd_reply_free(&reply);
	assert_int_equal(xetcd_get(client, "c", NULL, 0, 1, &reply, &err), -ESTALE);
	assert_non_null(strstr(err.text, "compacted"));
	xetcd_close(client);
}

static void test_leases(void **state)
{
	struct xetcd *client = open_client(one.endpoints, 0);
	struct xetcd_reply reply;
	struct xu_error err;
	int64_t lease, short_lease;
	struct xetcd_op op = {.what = XETCD_PUT, .key = "l/1", .value = "v", .len = 1};

	assert_int_equal(xetcd_lease_grant(client, 60, &lease, &err), 0);
	op.lease = lease;
	assert_int_equal(xetcd_txn(client, &(const struct xetcd_txn){.then = &op, .nr_then = 1},
				 &reply, &err),
		0);
	xetcd_reply_free(&reply);
	assert_int_equal(xetcd_lease_keep(client, lease, &err), 0);
	assert_value(client, "l/1", "v");
	assert_int_equal(xetcd_lease_revoke(client, lease, &err), 0);
	assert_value(client, "l/1", NULL);
	assert_int_equal(xetcd_lease_keep(client, lease, &err), -ENOENT);
	assert_int_equal(xetcd_lease_grant(client, 1, &short_lease, &err), 0);
	for (int i = 0; i < 100 && xetcd_lease_keep(client, short_lease, &err) == 0; i++) {
		sleep(3);
	}
	assert_int_equal(err.code, -ENOENT);
	xetcd_close(client);
}

static void test_bad_endpoints(void **state)
{
	static const char *const bad[] = {"", "host", "host:", ":1", "http://", "http://a:1/x",
		"a:1,", "a:1,,b:2", "ftp://a:1", "a:b"};
	struct xetcd_opts opts = {0};
	struct xetcd *client;
	struct xu_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		opts.endpoints = bad[i];
		assert_int_equal(xetcd_open(&opts, &client, &err), -EINVAL);
		assert_non_null(strstr(err.text, "endpoint"));
	}
	opts.endpoints = "https://a:1";
	opts.ca_file = "/nowhere/ca.pem";
	assert_int_equal(xetcd_open(&opts, &client, &err), -EINVAL);
	assert_non_null(strstr(err.text, opts.ca_file));
	/* Nobody is there. */
	client = open_client("http://127.0.0.1:1", 500);
	assert_int_equal(put(client, "a", "b", &err), -ETIMEDOUT);
	xetcd_close(client);
}

/* ---- watching ---- */

struct seen {
	_Atomic uint64_t count, revision;
};

static void on_change(void *arg, int64_t revision)
{
	struct seen *seen = arg;

	atomic_store(&seen->revision, (uint64_t)revision);
	atomic_fetch_add(&seen->count, 1);
}

static void test_watch_hears_others(void **state)
{
	struct xetcd *client = open_client(one.endpoints, 0);
	struct xetcd_watch *watch;
	struct xetcd_reply reply;
	struct seen seen = {0};
	struct xu_error err;
	uint64_t count;

	assert_int_equal(xetcd_watch(client, "w/", "w0", on_change, &seen, &watch, &err), 0);
	wait_for(&seen.count, 0); /* it is there */
	assert_true(xetcd_watch_is_up(watch));
	count = atomic_load(&seen.count);
	must_put(client, "v/1", "not ours");
	etcd_server_ctl(&one, "put w/1 x");
	wait_for(&seen.count, count);
	assert_int_equal(xetcd_get(client, "w/1", NULL, 0, 0, &reply, &err), 0);
	assert_int_equal(atomic_load(&seen.revision), reply.kvs[0].mod_revision);
	xetcd_reply_free(&reply);
	count = atomic_load(&seen.count);
	etcd_server_ctl(&one, "del w/1");
	wait_for(&seen.count, count);
	/* The server dies, and what happened before the watch was there again is told. */
	etcd_server_kill(&one, 0);
	for (int i = 0; i < 6000 && xetcd_watch_is_up(watch); i++) {
		usleep(10000);
	}
	assert_false(xetcd_watch_is_up(watch));
	count = atomic_load(&seen.count);
	etcd_server_revive(&one, 0);
	wait_for(&seen.count, count);
	count = atomic_load(&seen.count);
	etcd_server_ctl(&one, "put w/2 y");
	wait_for(&seen.count, count);
	xetcd_unwatch(watch);
	xetcd_close(client);
}

static void test_watch_ends_at_any_time(void **state)
{
	struct xetcd *client = open_client(one.endpoints, 0);
	struct xetcd_watch *watch;
	struct seen seen = {0};
	struct xu_error err;

	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(
			xetcd_watch(client, "w/", "w0", on_change, &seen, &watch, &err), 0);
		usleep(i * 1000);
		xetcd_unwatch(watch);
	}
	xetcd_close(client);
}

/* ---- members ---- */

static void test_a_member_dies_and_nobody_notices(void **state)
{
	struct xetcd *client = open_client(three.endpoints, 30000);
	struct xetcd_watch *watch;
	struct seen seen = {0};
	struct xu_error err;
	char value[16];
	uint64_t count;

	assert_int_equal(xetcd_watch(client, "m/", "m0", on_change, &seen, &watch, &err), 0);
	wait_for(&seen.count, 0);
	for (uint32_t round = 0; round < 3; round++) {
		etcd_server_kill(&three, round);
		snprintf(value, sizeof(value), "%u", round);
		must_put(client, "m/1", value);
		assert_value(client, "m/1", value);
		etcd_server_revive(&three, round);
		etcd_server_ctl(&three, "endpoint health");
		/* Perhaps the watch was lost with the member: it is there again, and hears. */
		for (int i = 0; i < 6000 && !xetcd_watch_is_up(watch); i++) {
			usleep(10000);
		}
		count = atomic_load(&seen.count);
		must_put(client, "m/2", value);
		wait_for(&seen.count, count);
	}
	xetcd_unwatch(watch);
	xetcd_close(client);
}

static void test_a_member_that_hangs_is_passed_by(void **state)
{
	struct xetcd *client = open_client(three.endpoints, 20000);
	struct timespec begin, end;

	must_put(client, "h/1", "before");
	for (uint32_t i = 0; i < 3; i++) {
		etcd_server_signal(&three, i, SIGSTOP);
		clock_gettime(CLOCK_MONOTONIC, &begin);
		must_put(client, "h/1", "meanwhile");
		clock_gettime(CLOCK_MONOTONIC, &end);
		assert_true(end.tv_sec - begin.tv_sec <= 20);
		etcd_server_signal(&three, i, SIGCONT);
		etcd_server_ctl(&three, "endpoint health");
	}
	xetcd_close(client);
}

static void test_no_majority_is_an_error_in_time(void **state)
{
	struct xetcd *client = open_client(three.endpoints, 2000);
	struct xu_error err;

	etcd_server_kill(&three, 0);
	etcd_server_kill(&three, 1);
	assert_int_equal(put(client, "n/1", "x", &err), -ETIMEDOUT);
	etcd_server_revive(&three, 0);
	etcd_server_revive(&three, 1);
	for (int i = 0; i < 30 && put(client, "n/1", "x", &err) != 0; i++) {
	}
	assert_value(client, "n/1", "x");
	xetcd_close(client);
}

/* ---- users ---- */

static void test_users_and_tokens(void **state)
{
	struct xetcd_opts opts = {.user = "root", .password = "wrong"};
	struct etcd_server server;
	struct xetcd *client;
	struct xu_error err;

	assert_true(etcd_server_start(&server, 1));
	opts.endpoints = server.endpoints;
	etcd_server_ctl(&server, "user add root:secret");
	etcd_server_ctl(&server, "user grant-role root root");
	etcd_server_ctl(&server, "auth enable");
	client = open_client(server.endpoints, 0);
	assert_int_equal(put(client, "u", "1", &err), -EINVAL); /* "user name is empty" */
	xetcd_close(client);
	assert_int_equal(xetcd_open(&opts, &client, &err), 0);
	assert_int_equal(put(client, "u", "1", &err), -EACCES);
	assert_non_null(strstr(err.text, "wrong user or password"));
	xetcd_close(client);
	opts.password = "secret";
	assert_int_equal(xetcd_open(&opts, &client, &err), 0);
	must_put(client, "u", "1");
	/* Its tokens are gone with the server, and so is ours. */
	etcd_server_kill(&server, 0);
	etcd_server_revive(&server, 0);
	must_put(client, "u", "2");
	assert_value(client, "u", "2");
	xetcd_close(client);
	etcd_server_stop(&server);
}

static int setup(void **state)
{
	return etcd_server_start(&one, 1) && etcd_server_start(&three, 3) ? 0 : -1;
}

static int teardown(void **state)
{
	etcd_server_stop(&one);
	etcd_server_stop(&three);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get_what_etcdctl_has_put),
		cmocka_unit_test(test_txn_holds_or_not),
		cmocka_unit_test(test_what_etcd_refuses),
		cmocka_unit_test(test_leases),
		cmocka_unit_test(test_bad_endpoints),
		cmocka_unit_test(test_watch_hears_others),
		cmocka_unit_test(test_watch_ends_at_any_time),
		cmocka_unit_test(test_a_member_dies_and_nobody_notices),
		cmocka_unit_test(test_a_member_that_hangs_is_passed_by),
		cmocka_unit_test(test_no_majority_is_an_error_in_time),
		cmocka_unit_test(test_users_and_tokens),
	};

	if (system("command -v etcd >/dev/null && command -v etcdctl >/dev/null") != 0) {
		puts("SKIP: etcd is not installed");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
