/* SPDX-License-Identifier: BSD-3-Clause */
/* Who sees what by zones, where there are very many: a target that is in every zone is seen by the
 * host of each, and asking for it costs hardly more than for one that is in one zone. */
#include <stdio.h>
#include <time.h>

#include "lib/util/error.h"
#include "lib/util/random.h"
#include "lib/xregistry/zone.h"
#include "test/unit/xregistry/fixture.h"

#define NR_GROUPS 6u
#define NR_ZONES  (NR_GROUPS * XREG_ZONES_MAX)

static void host_name(uint32_t number, char text[64])
{
	snprintf(text, 64, "nqn.2026-11.io.xsan:host-%u", number);
}

static void own_name(uint32_t number, char text[64])
{
	snprintf(text, 64, "nqn.2026-11.io.xsan:own-%u", number);
}

/* Zone N has host N, target "own-N", and what all have. */
static void put_zones(struct xreg_zones *zones)
{
	char name[32], host[64], own[64];
	struct xu_error err;

	for (uint32_t group = 0; group < NR_GROUPS; group++) {
		json_t *list = json_array(), *body = json_pack("{s:o}", "zones", list);

		for (uint32_t i = 0; i < XREG_ZONES_MAX; i++) {
			uint32_t number = group * XREG_ZONES_MAX + i;

			host_name(number, host);
			own_name(number, own);
			snprintf(name, sizeof(name), "z%u", number);
			json_array_append_new(
				list, json_pack("{s:s, s:[s], s:[s, s]}", "name", name, "hosts",
					      host, "targets", own, "nqn.2026-11.io.xsan:shared"));
		}
		snprintf(name, sizeof(name), "g%u", group);
		assert_int_equal(xreg_zones_put_group(zones, name, body, 0, &err), 0);
		assert_int_equal(xreg_zones_activate(zones, name, true, 0, &err), 0);
		json_decref(body);
	}
}

static struct xreg_target *target_of(const char *nqn)
{
	struct xreg_spec spec = fixture_spec();
	const struct xreg_origin origin = {.id = "t"};
	const struct xreg_status status = {.reason = ""};
	struct xreg_target *target;

	spec.nqn = nqn;
	target = xreg_target_new(&origin, &status, &spec);
	assert_non_null(target);
	return target;
}

/* The CPU's nanoseconds that asking for a target of each of some hosts takes; all see it. */
static uint64_t ask_ns(struct xreg_zones *zones, const char *nqn)
{
	struct timespec start, end;
	char host[64], own[64];

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
	for (uint32_t i = 0; i < NR_ZONES; i += 7) {
		struct xreg_target *target;

		host_name(i, host);
		own_name(i, own);
		target = target_of(nqn != NULL ? nqn : own);
		assert_true(xreg_zones_may_see(zones, host, target));
		xreg_target_unref(target);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	return (uint64_t)(end.tv_sec - start.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec -
	       (uint64_t)start.tv_nsec;
}

static void test_zones_with_a_target_that_all_share(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	uint64_t own_ns = UINT64_MAX, shared_ns = UINT64_MAX;
	struct xreg_target *own, *shared = target_of("nqn.2026-11.io.xsan:shared");
	struct xreg_zones *zones;
	struct xu_error err;
	char name[64];

	assert_int_equal(xreg_zones_open(store, "nowhere", NULL, NULL, &zones, &err), 0);
	put_zones(zones);
	own_name(5000, name);
	own = target_of(name);
	host_name(4999, name);
	assert_false(xreg_zones_may_see(zones, name, own));
	host_name(NR_ZONES, name); /* in no zone */
	assert_false(xreg_zones_may_see(zones, name, shared));
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t ns = ask_ns(zones, NULL);

		own_ns = ns < own_ns ? ns : own_ns;
		ns = ask_ns(zones, "nqn.2026-11.io.xsan:shared");
		shared_ns = ns < shared_ns ? ns : shared_ns;
	}
	print_message("in one zone %.2f ms, in %u zones %.2f ms\n", (double)own_ns / 1e6, NR_ZONES,
		(double)shared_ns / 1e6);
	assert_true(shared_ns < 10 * own_ns);
	xreg_target_unref(own);
	xreg_target_unref(shared);
	xreg_zones_close(zones);
	xreg_store_close(store);
}

/* ---- all targets at once ---- */

struct seen {
	struct xreg_zones *zones;
	const char *host;
	bool has[64]; /* by the number in the name */
	uint32_t count;
};

static bool on_seen(void *arg, const struct xreg_target *target)
{
	struct seen *seen = arg;
	unsigned number;

	assert_int_equal(sscanf(target->spec.nqn, "nqn.2026-11.io.xsan:%u", &number), 1);
	seen->has[number] = true;
	seen->count++;
	return true;
}

static bool compare_one(void *arg, const struct xreg_target *target)
{
	struct seen *seen = arg;
	unsigned number;

	assert_int_equal(sscanf(target->spec.nqn, "nqn.2026-11.io.xsan:%u", &number), 1);
	assert_int_equal(seen->has[number], xreg_zones_may_see(seen->zones, seen->host, target));
	return true;
}

/* Some of: a target, all of a node, all with a tag, and one that there is not. */
static json_t *any_targets(struct xu_random *random)
{
	json_t *list = json_array();
	char name[64];

	while (xu_random_below(random, 3) != 0) {
		unsigned number = (unsigned)xu_random_below(random, 50);

		switch (xu_random_below(random, 4)) {
		case 0:
			snprintf(name, sizeof(name), "node:node-%u", number % 8);
			break;
		case 1:
			snprintf(name, sizeof(name), "tag:%s", number % 8 == 0 ? "fast" : "none");
			break;
		default:
			snprintf(name, sizeof(name), "nqn.2026-11.io.xsan:%06u", number);
		}
		json_array_append_new(list, json_string(name));
	}
	return list;
}

static void put_any_zones(struct xreg_zones *zones, struct xu_random *random)
{
	json_t *list = json_array(), *body = json_pack("{s:o}", "zones", list);
	bool is_active = xu_random_below(random, 8) != 0;
	struct xu_error err;
	char name[32], host[64];

	for (unsigned i = 0; i < 6; i++) {
		json_t *hosts = json_array();

		while (xu_random_below(random, 3) != 0) {
			host_name((uint32_t)xu_random_below(random, 5), host);
			json_array_append_new(hosts, json_string(host));
		}
		snprintf(name, sizeof(name), "z%u", i);
		json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "name", name, "hosts",
						    hosts, "targets", any_targets(random)));
	}
	if (xreg_zones_put_group(zones, "g", body, 0, &err) != 0) {
		fail_msg("%s", err.text);
	}
	json_decref(body);
	assert_int_equal(xreg_zones_activate(zones, "g", is_active, 0, &err), 0);
	assert_int_equal(xreg_zones_set_policy(zones,
				 xu_random_below(random, 2) == 0 ? "allow" : "deny", 0, &err),
		0);
}

static void compare_host(struct xreg_zones *zones, const struct xreg_view *view, const char *host,
	uint32_t counts[3])
{
	struct seen seen = {.zones = zones, .host = host};
	enum xreg_sees sees = xreg_zones_each_seen(zones, host, view, on_seen, &seen);

	counts[sees]++;
	if (sees == XREG_SEES_SOME) {
		assert_int_equal(seen.count, 0);
		return;
	}
	for (unsigned i = 0; sees == XREG_SEES_ALL && i < 64; i++) {
		seen.has[i] = true;
	}
	xreg_view_each(view, XREG_BY_ID, "", true, compare_one, &seen);
}

/* It is the same as asking for each, whatever the zones. */
static void test_zones_of_all_targets_at_once(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	uint32_t counts[3] = {0};
	struct xu_random random;
	struct xreg_zones *zones;
	struct xreg_view *view;
	struct xu_error err;
	char name[64];

	xu_random_seed(&random, 7);
	assert_int_equal(xreg_zones_open(store, "nowhere", NULL, NULL, &zones, &err), 0);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "node-%u", i % 6);
		fixture_register(store, name, i);
	}
	view = xreg_store_view(store);
	for (unsigned round = 0; round < 100; round++) {
		put_any_zones(zones, &random);
		for (uint32_t host = 0; host < 6; host++) { /* the last is in no zone */
			host_name(host, name);
			compare_host(zones, view, name, counts);
		}
	}
	assert_true(counts[XREG_SEES_ALL] > 0 && counts[XREG_SEES_SOME] > 0);
	assert_true(counts[XREG_SEES_LISTED] > 200);
	xreg_view_unref(view);
	xreg_zones_close(zones);
	xreg_store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_zones_of_all_targets_at_once, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_zones_with_a_target_that_all_share, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
