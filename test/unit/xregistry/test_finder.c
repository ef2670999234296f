/* SPDX-License-Identifier: BSD-3-Clause */
/* The finder and methods that know of a change: such a method is asked at once, and no other; what
 * it says more of itself is shown. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/finder.h"
#include "test/unit/xregistry/fixture.h"

struct place {
	_Atomic uint32_t nr_asked;
	_Atomic uint32_t port; /* of the target that it finds; 0: none */
	_Atomic bool is_broken;
};

static int find_place(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct place *place = arg;
	struct xreg_spec spec = fixture_spec();
	int rc = 0;

	spec.port = place->port;
	if (place->is_broken) {
		rc = xu_error_set(err, -ENOTCONN, "nobody answers");
	} else if (spec.port != 0) {
		rc = xreg_found_add(found, &spec, err);
	}
	place->nr_asked++;
	return rc;
}

static json_t *describe_place(void *arg)
{
	struct place *place = arg;

	return json_pack("{s:i}", "port", (int)place->port);
}

static const struct xreg_find_method one = {.name = "one",
					     .source = XREG_MDNS,
					     .find = find_place,
					     .describe = describe_place},
				     two = {.name = "two", .source = XREG_DHCP, .find = find_place};

static void wait_for(const _Atomic uint32_t *number, uint32_t least)
{
	for (uint32_t i = 0; i < 10000 && *number < least; i++) {
		usleep(1000);
	}
	assert_true(*number >= least);
}

static struct xreg_finder *start(
	struct xreg_store *store, struct place *first, struct place *second)
{
	const struct xreg_finder_opts opts = {.store = store, .interval_s = 3600, .timeout_s = 1};
	struct xreg_finder *finder;
	struct xu_error err;

	assert_int_equal(xreg_finder_new(&opts, &finder, &err), 0);
	assert_int_equal(xreg_finder_add(finder, &one, first, &err), 0);
	assert_int_equal(xreg_finder_add(finder, &two, second, &err), 0);
	assert_int_equal(xreg_finder_start(finder, &err), 0);
	wait_for(&second->nr_asked, 1);
	return finder;
}

/* The state of the only target. */
static void wait_state(struct xreg_store *store, const char *place, uint32_t state)
{
	uint32_t seen = UINT32_MAX;

	for (uint32_t i = 0; i < 10000 && seen != state; i++) {
		struct xreg_view *view = xreg_store_view(store);
		const struct xreg_target *target = xreg_view_first(view, XREG_BY_PLACE, place);

		seen = target != NULL ? target->status.state : UINT32_MAX;
		xreg_view_unref(view);
		usleep(1000);
	}
	assert_int_equal(seen, state);
}

static void test_finder_asks_who_knows_of_a_change(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {0}, second = {0};
	struct xreg_finder *finder = start(store, &first, &second);
	struct xreg_spec spec = fixture_spec();
	char place[XREG_PLACE_SIZE];

	spec.port = 4421;
	xreg_spec_place(&spec, place);
	first.port = 4421;
	xreg_finder_wake(finder, &first);
	wait_state(store, place, XREG_UNKNOWN);
	/* What cannot be asked has not lost anything. */
	first.port = 0;
	first.is_broken = true;
	xreg_finder_wake(finder, &first);
	wait_for(&first.nr_asked, 3);
	wait_state(store, place, XREG_UNKNOWN);
	first.is_broken = false;
	xreg_finder_wake(finder, &first);
	wait_state(store, place, XREG_OFFLINE);
	assert_int_equal(first.nr_asked, 4);
	assert_int_equal(second.nr_asked, 1);
	/* A kick is for everybody, and nobody has that argument. */
	xreg_finder_wake(finder, finder);
	xreg_finder_kick(finder);
	wait_for(&second.nr_asked, 2);
	assert_int_equal(first.nr_asked, 5);
	xreg_finder_free(finder);
	assert_int_equal(second.nr_asked, 2);
	xreg_store_close(store);
}

static void test_finder_shows_what_a_method_says_of_itself(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {.is_broken = true}, second = {0};
	struct xreg_finder *finder = start(store, &first, &second);
	json_t *list, *method;

	first.port = 7;
	for (uint32_t i = 0; i < 2; i++) {
		xreg_finder_kick(finder);
		wait_for(&second.nr_asked, 2 + i);
	}
	list = xreg_finder_json(finder);
	assert_int_equal(json_array_size(list), 2);
	method = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(method, "method")), "one");
	assert_string_equal(
		json_string_value(json_object_get(method, "problem")), "nobody answers");
	assert_true(json_integer_value(json_object_get(method, "failures")) >= 2);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(method, "details"), "port")), 7);
	assert_null(json_object_get(json_array_get(list, 1), "details"));
	json_decref(list);
	xreg_finder_free(finder);
	xreg_store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_finder_asks_who_knows_of_a_change, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_finder_shows_what_a_method_says_of_itself,
			fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
