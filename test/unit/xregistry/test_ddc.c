/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of known discovery controllers: only addresses that others reach get in, each source
 * has its own part, this registry itself stays out, and who watches hears of each change once. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xregistry/ddc.h"
#include "test/unit/xregistry/fixture.h"

#define WELL_KNOWN "nqn.2014-08.org.nvmexpress.discovery"
#define NQN_A      "nqn.2024-01.com.example:discovery:a"
#define NQN_B      "nqn.2024-01.com.example:discovery:b"

static struct xreg_ddc make(const char *address, uint32_t port, const char *nqn)
{
	struct xreg_ddc ddc;
	struct xu_error err;

	assert_int_equal(xreg_ddc_make(address, port, nqn, &ddc, &err), 0);
	return ddc;
}

/* The only entry of the list. */
static struct xreg_ddc only(struct xreg_ddcs *ddcs)
{
	struct xreg_ddc *list, one;
	uint64_t revision;
	uint32_t count;

	assert_int_equal(xreg_ddcs_copy(ddcs, &list, &count, &revision), 0);
	assert_int_equal(count, 1);
	one = list[0];
	free(list);
	return one;
}

static uint32_t count_of(struct xreg_ddcs *ddcs)
{
	struct xreg_ddc *list;
	uint64_t revision;
	uint32_t count;

	assert_int_equal(xreg_ddcs_copy(ddcs, &list, &count, &revision), 0);
	assert_int_equal(revision, xreg_ddcs_revision(ddcs));
	free(list);
	return count;
}

static struct xreg_ddcs *new_list(void)
{
	struct xreg_ddcs *ddcs;

	assert_int_equal(xreg_ddcs_new(&ddcs), 0);
	return ddcs;
}

static void test_ddc_make_refuses_what_others_cannot_reach(void **state)
{
	static const struct {
		const char *address;
		uint32_t port;
		const char *nqn, *says;
	} bad[] = {
		{"", 8009, NULL, "no numeric"},
		{"localhost", 8009, NULL, "no numeric"},
		{"0.0.0.0", 8009, NULL, "stands for every address"},
		{"0.1.2.3", 8009, NULL, "stands for every address"},
		{"::", 8009, NULL, "stands for every address"},
		{"::ffff:0.0.0.0", 8009, NULL, "stands for every address"},
		{"224.0.0.251", 8009, NULL, "many machines"},
		{"255.255.255.255", 8009, NULL, "many machines"},
		{"ff02::fb", 8009, NULL, "many machines"},
		{"169.254.3.4", 8009, NULL, "link-local"},
		{"fe80::1", 8009, NULL, "link-local"},
		{"fe80::1%eth0", 8009, NULL, "no numeric"},
		{"192.0.2.1", 0, NULL, "port: 0"},
		{"192.0.2.1", 65536, NULL, "port: 65536"},
		{"192.0.2.1", 8009, "no name", "no name"},
	};
	struct xreg_ddc ddc = {.port = 77};
	struct xu_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(xreg_ddc_make(bad[i].address, bad[i].port, bad[i].nqn, &ddc, &err),
			-EINVAL);
		assert_non_null(strstr(err.text, bad[i].says));
		assert_int_equal(ddc.port, 77);
	}
}

static void test_ddc_make_writes_one_form(void **state)
{
	struct xreg_ddc ddc = make("2001:DB8:0:0::0001", 8009, WELL_KNOWN);

	assert_string_equal(ddc.address, "2001:db8::1");
	assert_string_equal(ddc.nqn, "");
	assert_int_equal(ddc.sources, 0);
	ddc = make("::ffff:192.0.2.7", 1, NQN_A);
	assert_string_equal(ddc.address, "192.0.2.7");
	assert_string_equal(ddc.nqn, NQN_A);
	assert_string_equal(make("192.0.2.7", 65535, "").nqn, "");
}

static void test_ddcs_entry_leaves_with_its_last_source(void **state)
{
	const struct xreg_ddc by_mdns = make("192.0.2.1", 8009, NQN_A),
			      by_kick = make("192.0.2.1", 8009, NQN_B);
	struct xreg_ddcs *ddcs = new_list();
	struct xu_error err;

	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_KICK, &by_kick, &err), 0);
	assert_string_equal(only(ddcs).nqn, NQN_B);
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_MDNS, &by_mdns, &err), 0);
	assert_string_equal(only(ddcs).nqn, NQN_A);
	assert_int_equal(only(ddcs).sources, 1u << XREG_DDC_MDNS | 1u << XREG_DDC_KICK);
	assert_int_equal(xreg_ddcs_remove(ddcs, XREG_DDC_STATIC, &by_mdns), -ENOENT);
	assert_int_equal(xreg_ddcs_remove(ddcs, XREG_DDC_MDNS, &by_mdns), 0);
	assert_string_equal(only(ddcs).nqn, NQN_B);
	assert_int_equal(xreg_ddcs_remove(ddcs, XREG_DDC_MDNS, &by_mdns), -ENOENT);
	assert_int_equal(xreg_ddcs_remove(ddcs, XREG_DDC_KICK, &by_mdns), 0);
	assert_int_equal(count_of(ddcs), 0);
	xreg_ddcs_free(ddcs);
}

static void test_ddcs_replace_leaves_other_sources_alone(void **state)
{
	const struct xreg_ddc fixed = make("192.0.2.1", 8009, NULL),
			      first[] = {make("192.0.2.2", 8009, NULL),
				      make("192.0.2.3", 8009, NULL), make("192.0.2.3", 8009, NULL),
				      fixed},
			      second[] = {make("192.0.2.3", 8009, NULL)};
	struct xreg_ddcs *ddcs = new_list();
	struct xu_error err;
	uint64_t revision;

	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_STATIC, &fixed, &err), 0);
	assert_int_equal(xreg_ddcs_replace(ddcs, XREG_DDC_MDNS, first, 4), 3);
	assert_int_equal(count_of(ddcs), 3);
	assert_int_equal(xreg_ddcs_replace(ddcs, XREG_DDC_MDNS, second, 1), 1);
	assert_int_equal(count_of(ddcs), 2);
	revision = xreg_ddcs_revision(ddcs);
	assert_int_equal(xreg_ddcs_replace(ddcs, XREG_DDC_MDNS, second, 1), 1);
	assert_int_equal(xreg_ddcs_revision(ddcs), revision);
	assert_int_equal(xreg_ddcs_replace(ddcs, XREG_DDC_MDNS, NULL, 0), 0);
	assert_string_equal(only(ddcs).address, "192.0.2.1");
	assert_int_equal(only(ddcs).sources, 1u << XREG_DDC_STATIC);
	xreg_ddcs_free(ddcs);
}

static void test_ddcs_never_has_this_registry(void **state)
{
	const struct xreg_ddc by_name = make("192.0.2.9", 8009, NQN_A),
			      by_place = make("127.0.0.2", 8010, NULL),
			      other_port = make("127.0.0.2", 8011, NULL),
			      list[] = {by_name, by_place, other_port};
	struct xreg_ddcs *ddcs = new_list();
	struct xu_error err;

	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_KICK, &by_name, &err), 0);
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_KICK, &other_port, &err), 0);
	xreg_ddcs_set_own(ddcs, NQN_A, "0.0.0.0", 8010);
	assert_int_equal(only(ddcs).port, 8011);
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_MDNS, &by_name, &err), -ELOOP);
	assert_non_null(strstr(err.text, "192.0.2.9 port 8009 is this registry itself"));
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_MDNS, &by_place, &err), -ELOOP);
	assert_int_equal(xreg_ddcs_replace(ddcs, XREG_DDC_MDNS, list, 3), 1);
	assert_int_equal(count_of(ddcs), 1);
	/* Another one on the same machine, at an address where this one does not listen. */
	xreg_ddcs_set_own(ddcs, NQN_A, "127.0.0.1", 8010);
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_MDNS, &by_place, &err), 0);
	assert_int_equal(count_of(ddcs), 2);
	xreg_ddcs_free(ddcs);
}

static void test_ddcs_is_bounded(void **state)
{
	struct xreg_ddcs *ddcs = new_list();
	struct xreg_ddc ddc;
	struct xu_error err;

	for (uint32_t i = 0; i < XREG_DDCS_MAX; i++) {
		ddc = make("192.0.2.1", 1 + i, NULL);
		assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_KICK, &ddc, &err), 0);
	}
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_MDNS, &ddc, &err), 0);
	ddc = make("192.0.2.2", 1, NULL);
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_MDNS, &ddc, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "more than the 1024"));
	assert_int_equal(xreg_ddcs_replace(ddcs, XREG_DDC_MDNS, &ddc, 1), 0);
	assert_int_equal(count_of(ddcs), XREG_DDCS_MAX);
	xreg_ddcs_free(ddcs);
}

struct watch {
	struct xreg_ddcs *ddcs;
	uint32_t nr_calls, count;
};

static void on_change(void *arg)
{
	struct watch *watch = arg;

	watch->nr_calls++;
	watch->count = count_of(watch->ddcs);
}

static void test_ddcs_tells_who_watches(void **state)
{
	const struct xreg_ddc ddc = make("192.0.2.1", 8009, NULL);
	struct watch watch = {.ddcs = new_list()}, more[XREG_DDC_WATCHERS] = {0};
	struct xu_error err;

	assert_int_equal(xreg_ddcs_watch(watch.ddcs, on_change, &watch), 0);
	assert_int_equal(xreg_ddcs_add(watch.ddcs, XREG_DDC_KICK, &ddc, &err), 0);
	assert_int_equal(watch.nr_calls, 1);
	assert_int_equal(watch.count, 1);
	assert_int_equal(xreg_ddcs_add(watch.ddcs, XREG_DDC_KICK, &ddc, &err), 0);
	assert_int_equal(watch.nr_calls, 1);
	assert_int_equal(xreg_ddcs_remove(watch.ddcs, XREG_DDC_KICK, &ddc), 0);
	assert_int_equal(watch.nr_calls, 2);
	assert_int_equal(watch.count, 0);
	xreg_ddcs_unwatch(watch.ddcs, on_change, &watch);
	assert_int_equal(xreg_ddcs_add(watch.ddcs, XREG_DDC_KICK, &ddc, &err), 0);
	assert_int_equal(watch.nr_calls, 2);
	for (uint32_t i = 0; i < XREG_DDC_WATCHERS; i++) {
		assert_int_equal(xreg_ddcs_watch(watch.ddcs, on_change, &more[i]), 0);
	}
	assert_int_equal(xreg_ddcs_watch(watch.ddcs, on_change, &watch), -ENOSPC);
	xreg_ddcs_free(watch.ddcs);
}

static void test_ddcs_json_shows_who_names_it(void **state)
{
	const struct xreg_ddc ddc = make("2001:db8::1", 8009, NQN_A);
	struct xreg_ddcs *ddcs = new_list();
	json_t *all, *wanted;
	struct xu_error err;

	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_KICK, &ddc, &err), 0);
	assert_int_equal(xreg_ddcs_add(ddcs, XREG_DDC_STATIC, &ddc, &err), 0);
	all = xreg_ddcs_json(ddcs);
	wanted = json_pack("[{s:s, s:i, s:s, s:[s, s]}]", "address", "2001:db8::1", "port", 8009,
		"nqn", NQN_A, "sources", "static", "kick-start");
	assert_true(json_equal(all, wanted));
	assert_null(xreg_ddc_source_name(XREG_DDC_NR_SOURCES));
	json_decref(all);
	json_decref(wanted);
	xreg_ddcs_free(ddcs);
}

/* Calls of the other thread, where nothing may be asserted. */
static void on_change_elsewhere(void *arg)
{
	struct watch *watch = arg;

	watch->nr_calls++;
	xreg_ddcs_revision(watch->ddcs);
}

static void *change_often(void *arg)
{
	struct watch *watch = arg;
	struct xreg_ddc ddc;
	struct xu_error err;

	xreg_ddc_make("192.0.2.1", 8009, NULL, &ddc, &err);

	for (uint32_t i = 0; i < 500; i++) {
		xreg_ddcs_add(watch->ddcs, XREG_DDC_MDNS, &ddc, &err);
		xreg_ddcs_remove(watch->ddcs, XREG_DDC_MDNS, &ddc);
	}
	return NULL;
}

/* After unwatching nobody is called any more, whatever other threads do. */
static void test_ddcs_unwatch_waits_for_a_call(void **state)
{
	struct watch watch = {.ddcs = new_list()};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, change_often, &watch), 0);
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(xreg_ddcs_watch(watch.ddcs, on_change_elsewhere, &watch), 0);
		xreg_ddcs_revision(watch.ddcs);
		xreg_ddcs_unwatch(watch.ddcs, on_change_elsewhere, &watch);
		watch.nr_calls = 0; /* a race, for the sanitizer, if anybody still counted */
	}
	pthread_join(thread, NULL);
	assert_int_equal(watch.nr_calls, 0);
	assert_int_equal(count_of(watch.ddcs), 0);
	xreg_ddcs_free(watch.ddcs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ddc_make_refuses_what_others_cannot_reach),
		cmocka_unit_test(test_ddc_make_writes_one_form),
		cmocka_unit_test(test_ddcs_entry_leaves_with_its_last_source),
		cmocka_unit_test(test_ddcs_replace_leaves_other_sources_alone),
		cmocka_unit_test(test_ddcs_never_has_this_registry),
		cmocka_unit_test(test_ddcs_is_bounded),
		cmocka_unit_test(test_ddcs_tells_who_watches),
		cmocka_unit_test(test_ddcs_json_shows_who_names_it),
		cmocka_unit_test(test_ddcs_unwatch_waits_for_a_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
