/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's data in a real etcd: the contract of shared backends, and connection strings. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xregistry/etcd/etcd.h"
#include "test/unit/etcd/server.h"
#include "test/unit/xregistry/backend_contract.h"
#include "test/unit/xregistry/fixture.h"

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1"; /* the core's threads and its atomics */
}

static struct etcd_server etcd;

static void kill_etcd(void)
{
	etcd_server_kill(&etcd, 0);
}

static void revive_etcd(void)
{
	etcd_server_revive(&etcd, 0);
}

static void put(const char *key, const char *value)
{
	etcd_server_ctl(&etcd, "put /%s '%s'", key, value);
}

static void del(const char *key, bool is_prefix)
{
	etcd_server_ctl(&etcd, "del %s /%s", is_prefix ? "--prefix" : "", key);
}

/* ---- connection strings ---- */

static void test_where(void **state)
{
	static const char *const bad[] = {"", "/prefix", "a:1?x=1", "a:1?user",
		"a:1?user=", "a:1?user=a&user=b", "a:1?password_env=XSAN_NO_SUCH_VARIABLE",
		"a:1?password_file=/nowhere/at/all"};
	struct xreg_etcd_where parsed;
	struct xu_error err;

	assert_int_equal(xreg_etcd_where_parse("http://a:1,https://b:2", &parsed, &err), 0);
	assert_string_equal(parsed.endpoints, "http://a:1,https://b:2");
	assert_string_equal(parsed.prefix, "/xsan-registry");
	assert_null(parsed.user);
	xreg_etcd_where_free(&parsed);
	setenv("XSAN_TEST_PASSWORD", "secret", 1);
	assert_int_equal(
		xreg_etcd_where_parse(
			"a:1/x/y/?ca=/c&cert=/d&key=/e&user=u&password_env=XSAN_TEST_PASSWORD",
			&parsed, &err),
		0);
	assert_string_equal(parsed.endpoints, "a:1");
	assert_string_equal(parsed.prefix, "/x/y");
	assert_string_equal(parsed.ca, "/c");
	assert_string_equal(parsed.key, "/e");
	assert_string_equal(parsed.password, "secret");
	xreg_etcd_where_free(&parsed);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(xreg_etcd_where_parse(bad[i], &parsed, &err) < 0);
		assert_true(err.text[0] != '\0');
	}
}

int main(void)
{
	struct contract_server server = {
		"etcd", &xreg_etcd, etcd.endpoints, "", kill_etcd, revive_etcd, put, del};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where),
	};
	int nr_failed;

	if (!etcd_server_start(&etcd, 1)) {
		puts("SKIP: etcd is not installed");
		return 77;
	}
	nr_failed = contract_run(&server) + cmocka_run_group_tests(tests, NULL, NULL);
	etcd_server_stop(&etcd);
	return nr_failed != 0;
}
