/* SPDX-License-Identifier: BSD-3-Clause */
/* The finder and methods that know of a change: such a method is asked at once, and no other; what
 * it says more of itself is shown. Methods come, are exchanged and go while it runs, also one that
 * is being asked, and another interval counts at once. Of very many targets those that are found no
 * more are lost, and what that costs grows as their number does. */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/finder.h"
#include "test/unit/xregistry/fixture.h"

struct place {
	_Atomic uint32_t nr_asked;
	_Atomic uint32_t port;       /* of the target that it finds; 0: none */
	_Atomic uint32_t interval_s; /* that it asks for */
	_Atomic bool is_broken;
};

static int find_place(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct place *place = arg;
	struct xreg_spec spec = fixture_spec();
	int rc = 0;

	spec.port = place->port;
	spec.discovery_interval_s = place->interval_s;
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
	for (uint32_t i = 0; i < 60000 && *number < least; i++) {
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

	for (uint32_t i = 0; i < 60000 && seen != state; i++) {
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

/* ---- methods that come and go ---- */

/* One that is asked until it is cancelled. */
struct slow {
	_Atomic uint32_t nr_asked, nr_cancelled, nr_ended;
	_Atomic uint32_t learnt; /* what it has got from another */
	sem_t end;
};

static int find_slowly(
	void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct slow *slow = arg;

	slow->nr_asked++;
	sem_wait(&slow->end);
	return xu_error_set(err, -ECANCELED, "it is over");
}

static void cancel_slow(void *arg)
{
	struct slow *slow = arg;

	slow->nr_cancelled++;
	sem_post(&slow->end);
}

static void inherit_slow(void *arg, void *old)
{
	((struct slow *)arg)->learnt = ((struct slow *)old)->learnt + 1;
}

static void fini_slow(void *arg)
{
	((struct slow *)arg)->nr_ended++;
}

static const struct xreg_find_method slow_one = {.name = "slow",
	.source = XREG_MULTICAST,
	.find = find_slowly,
	.cancel = cancel_slow,
	.inherit = inherit_slow,
	.fini = fini_slow};

static struct slow *make_slow(void)
{
	struct slow *slow = calloc(1, sizeof(*slow));

	assert_non_null(slow);
	sem_init(&slow->end, 0, 0);
	return slow;
}

static void free_slow(struct slow *slow)
{
	sem_destroy(&slow->end);
	free(slow);
}

static uint32_t count_methods(struct xreg_finder *finder)
{
	json_t *list = xreg_finder_json(finder);
	uint32_t count = (uint32_t)json_array_size(list);

	json_decref(list);
	return count;
}

static void test_finder_exchanges_a_method_that_is_asked(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {0}, second = {0};
	struct xreg_finder *finder = start(store, &first, &second);
	struct slow *slow[3] = {make_slow(), make_slow(), make_slow()};
	struct xu_error err;

	slow[0]->learnt = 7;
	assert_int_equal(xreg_finder_add(finder, &slow_one, slow[0], &err), 0);
	assert_int_equal(count_methods(finder), 3);
	wait_for(&slow[0]->nr_asked, 1); /* without a kick */
	assert_int_equal(xreg_finder_add(finder, &slow_one, slow[1], &err), 0);
	assert_int_equal(slow[0]->nr_cancelled, 1);
	wait_for(&slow[1]->nr_asked, 1);
	assert_int_equal(slow[0]->nr_ended, 1);
	assert_int_equal(slow[1]->learnt, 8);
	/* It goes: it is not shown any more, even before it has come back. */
	xreg_finder_remove(finder, "slow");
	assert_int_equal(count_methods(finder), 2);
	wait_for(&slow[1]->nr_ended, 1);
	assert_int_equal(slow[1]->nr_cancelled, 1);
	xreg_finder_remove(finder, "slow");
	xreg_finder_remove(finder, "nobody");
	/* Of the others nobody was asked for that, and they go on. */
	assert_int_equal(first.nr_asked, 1);
	xreg_finder_kick(finder);
	wait_for(&second.nr_asked, 2);
	/* The end comes while it is asked. */
	assert_int_equal(xreg_finder_add(finder, &slow_one, slow[2], &err), 0);
	wait_for(&slow[2]->nr_asked, 1);
	assert_int_equal(slow[2]->learnt, 0);
	xreg_finder_free(finder);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(slow[i]->nr_cancelled, 1);
		assert_int_equal(slow[i]->nr_ended, 1);
		free_slow(slow[i]);
	}
	xreg_store_close(store);
}

/* Once the thread waits for somebody else: what comes and goes meanwhile is never asked. */
static void test_finder_forgets_what_was_never_asked(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {0}, second = {0};
	struct xreg_finder *finder = start(store, &first, &second);
	struct slow *slow[3] = {make_slow(), make_slow(), make_slow()};
	static const struct xreg_find_method other = {.name = "other",
		.source = XREG_MULTICAST,
		.find = find_slowly,
		.cancel = cancel_slow,
		.fini = fini_slow};
	struct xu_error err;

	assert_int_equal(xreg_finder_add(finder, &slow_one, slow[0], &err), 0);
	wait_for(&slow[0]->nr_asked, 1);
	assert_int_equal(xreg_finder_add(finder, &other, slow[1], &err), 0);
	assert_int_equal(xreg_finder_add(finder, &other, slow[2], &err), 0);
	assert_int_equal(slow[1]->nr_ended, 1);
	xreg_finder_remove(finder, "other");
	assert_int_equal(slow[2]->nr_ended, 1);
	assert_int_equal(slow[1]->nr_asked + slow[2]->nr_asked, 0);
	assert_int_equal(slow[1]->nr_cancelled + slow[2]->nr_cancelled, 0);
	xreg_finder_free(finder);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(slow[i]->nr_ended, 1);
		free_slow(slow[i]);
	}
	xreg_store_close(store);
}

static void test_finder_has_room_for_a_few(void **state)
{
	static const char *const names[XREG_FIND_METHODS_MAX] = {
		"1", "2", "3", "4", "5", "6", "7", "8"};
	struct xreg_find_method methods[XREG_FIND_METHODS_MAX];
	struct xreg_store *store = fixture_open(NULL);
	const struct xreg_finder_opts opts = {.store = store, .interval_s = 3600, .timeout_s = 1};
	struct xreg_finder *finder;
	struct place place = {0};
	struct xu_error err;

	assert_int_equal(xreg_finder_new(&opts, &finder, &err), 0);
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		methods[i] = two;
		methods[i].name = names[i];
		assert_int_equal(xreg_finder_add(finder, &methods[i], &place, &err), 0);
	}
	assert_int_equal(xreg_finder_add(finder, &one, &place, &err), -ENOSPC);
	xreg_finder_remove(finder, "3");
	assert_int_equal(xreg_finder_add(finder, &one, &place, &err), 0);
	assert_int_equal(count_methods(finder), XREG_FIND_METHODS_MAX);
	xreg_finder_free(finder);
	xreg_store_close(store);
}

static void test_finder_takes_another_interval_at_once(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {0}, second = {0};
	struct xreg_finder *finder = start(store, &first, &second);

	/* It sleeps for an hour. */
	xreg_finder_set(finder, 1, 1);
	wait_for(&second.nr_asked, 3);
	xreg_finder_free(finder);
	xreg_store_close(store);
}

/* ---- many ---- */

struct crowd {
	uint32_t count, step; /* finds every `step`th of so many */
	_Atomic uint32_t nr_asked;
	uint64_t start_ns; /* of the thread's CPU, when it had found them; the finder's thread */
};

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct xreg_spec crowd_spec(uint32_t number, char nqn[64])
{
	struct xreg_spec spec = fixture_spec();

	/* Not in the order of their places. */
	snprintf(nqn, 64, "nqn.2026-11.io.xsan:%08x", number * 2654435761u);
	spec.nqn = nqn;
	return spec;
}

static int find_crowd(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct crowd *crowd = arg;
	char nqn[64];
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < crowd->count; i += crowd->step) {
		struct xreg_spec spec = crowd_spec(i, nqn);

		rc = xreg_found_add(found, &spec, err);
	}
	crowd->start_ns = thread_ns();
	return rc;
}

/* Is asked behind it, on the same thread. */
static int find_end(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct crowd *crowd = arg;

	crowd->start_ns = thread_ns() - crowd->start_ns;
	crowd->nr_asked++;
	return 0;
}

static const struct xreg_find_method many = {.name = "many",
					     .source = XREG_MDNS,
					     .find = find_crowd},
				     end = {.name = "end", .source = XREG_DHCP, .find = find_end};

/* All of the crowd, as if it had been found before. */
static void fill(struct xreg_store *store, uint32_t count)
{
	struct xreg_change *changes = calloc(count, sizeof(*changes));
	struct xreg_spec *specs = calloc(count, sizeof(*specs));
	char(*nqns)[64] = calloc(count, sizeof(*nqns));

	for (uint32_t i = 0; i < count; i++) {
		specs[i] = crowd_spec(i, nqns[i]);
		changes[i] = (struct xreg_change){.op = XREG_REGISTER,
			.spec = &specs[i],
			.status = {.state = XREG_UNKNOWN, .reason = ""},
			.source = XREG_MDNS};
	}
	fixture_change_all(store, changes, count);
	free(changes);
	free(specs);
	free(nqns);
}

/* A round with so many targets that were found before; the CPU's nanoseconds, the least of some. */
static uint64_t round_ns(struct xreg_store *store, struct crowd *crowd, uint32_t nr_rounds)
{
	const struct xreg_finder_opts opts = {.store = store, .interval_s = 3600, .timeout_s = 1};
	struct xreg_finder *finder;
	uint64_t least = UINT64_MAX;
	struct xu_error err;

	assert_int_equal(xreg_finder_new(&opts, &finder, &err), 0);
	assert_int_equal(xreg_finder_add(finder, &many, crowd, &err), 0);
	assert_int_equal(xreg_finder_add(finder, &end, crowd, &err), 0);
	assert_int_equal(xreg_finder_start(finder, &err), 0);
	for (uint32_t i = 1; i <= nr_rounds; i++) {
		while (crowd->nr_asked < i) { /* the test's own time limit ends it */
			usleep(1000);
		}
		least = crowd->start_ns < least ? crowd->start_ns : least;
		xreg_finder_kick(finder);
	}
	xreg_finder_free(finder);
	return least;
}

static uint64_t measure(uint32_t count)
{
	struct crowd crowd = {.count = count, .step = 1};
	struct xreg_store *store;
	uint64_t revision, ns;
	struct xreg_view *view;

	assert_int_equal(fixture_setup(NULL), 0);
	store = fixture_open(NULL);
	fill(store, count);
	ns = round_ns(store, &crowd, 3);
	view = xreg_store_view(store);
	revision = xreg_view_revision(view);
	xreg_view_unref(view);
	assert_int_equal(revision, count); /* nothing had changed */
	xreg_store_close(store);
	assert_int_equal(fixture_teardown(NULL), 0);
	return ns;
}

/* Sixteen times as many cost sixteen times as much and something, not 256 times. */
static void test_finder_takes_many(void **state)
{
	uint64_t few = measure(1000), much = measure(16000);

	print_message("1,000 targets: %.1f ms, 16,000: %.1f ms, ratio %.1f\n", (double)few / 1e6,
		(double)much / 1e6, (double)much / (double)few);
	assert_true(much < 40 * few);
}

static bool count_lost(void *arg, const struct xreg_target *target)
{
	*(uint32_t *)arg += target->status.state == XREG_OFFLINE;
	return true;
}

static void test_finder_loses_whom_it_does_not_find(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct crowd crowd = {.count = 100, .step = 3};
	struct xreg_view *view;
	uint32_t nr_lost = 0;

	fill(store, 100);
	round_ns(store, &crowd, 1);
	view = xreg_store_view(store);
	xreg_view_each(view, XREG_BY_ID, "", true, count_lost, &nr_lost);
	assert_int_equal(nr_lost, 66);
	for (uint32_t i = 0; i < 100; i++) {
		char nqn[64], place[XREG_PLACE_SIZE];
		struct xreg_spec spec = crowd_spec(i, nqn);
		const struct xreg_target *target;

		xreg_spec_place(&spec, place);
		target = xreg_view_first(view, XREG_BY_PLACE, place);
		assert_non_null(target);
		assert_int_equal(target->status.state, i % 3 == 0 ? XREG_UNKNOWN : XREG_OFFLINE);
	}
	xreg_view_unref(view);
	xreg_store_close(store);
}

static const char *id_of(struct xreg_store *store, const char *place, char id[XREG_ID_SIZE])
{
	struct xreg_view *view = xreg_store_view(store);

	snprintf(id, XREG_ID_SIZE, "%s", xreg_view_first(view, XREG_BY_PLACE, place)->origin.id);
	xreg_view_unref(view);
	return id;
}

/* A target that is to be looked for more often has its method asked more often, and no other. */
static void test_finder_asks_as_often_as_a_target_wants(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {.port = 4421}, second = {.port = 4422};
	struct xreg_finder *finder = start(store, &first, &second);
	struct xreg_spec spec = fixture_spec();
	char place[XREG_PLACE_SIZE], id[XREG_ID_SIZE];
	struct xreg_change change = {.op = XREG_UPDATE, .id = id, .spec = &spec};
	uint32_t asked;

	spec.port = 4421;
	xreg_spec_place(&spec, place);
	wait_state(store, place, XREG_UNKNOWN);
	assert_int_equal(first.nr_asked, 1);
	/* By what is desired of it… */
	fixture_set_config(store, id_of(store, place, id), "{\"discovery_interval\": 1}");
	wait_for(&first.nr_asked, 4);
	assert_int_equal(second.nr_asked, 1);
	/* … which no longer counts when it is not to be looked for. */
	spec.has_auto_discovery = false;
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
	asked = first.nr_asked;
	sleep(3); /* one may be under way, and one due */
	assert_in_range(first.nr_asked, asked, asked + 2);
	xreg_finder_free(finder);
	xreg_store_close(store);
}

/* Nothing that is found changes a target that is not to be looked for, nor that it is not found. */
static void test_finder_leaves_fixed_targets_alone(void **state)
{
	struct xreg_store *store = fixture_open(NULL);
	struct place first = {.port = 4421}, second = {.port = 4422};
	struct xreg_finder *finder = start(store, &first, &second);
	struct xreg_spec spec = fixture_spec();
	char place[XREG_PLACE_SIZE], other[XREG_PLACE_SIZE], id[XREG_ID_SIZE];
	struct xreg_change change = {.op = XREG_UPDATE, .spec = &spec};
	struct xreg_view *view;

	spec.port = 4422;
	xreg_spec_place(&spec, other);
	spec.port = 4421;
	xreg_spec_place(&spec, place);
	wait_state(store, place, XREG_UNKNOWN);
	wait_state(store, other, XREG_UNKNOWN);
	spec.has_auto_discovery = false;
	spec.weight = 7;
	change.id = id_of(store, place, id);
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
	xreg_finder_kick(finder);
	wait_for(&second.nr_asked, 2);
	first.port = second.port = 0;
	xreg_finder_kick(finder);
	wait_state(store, other, XREG_OFFLINE); /* and the first was asked before it */
	view = xreg_store_view(store);
	assert_int_equal(xreg_view_get(view, id)->status.state, XREG_UNKNOWN);
	assert_true(xreg_view_get(view, id)->spec.weight == 7);
	xreg_view_unref(view);
	xreg_finder_free(finder);
	xreg_store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_finder_exchanges_a_method_that_is_asked,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_finder_forgets_what_was_never_asked, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_finder_has_room_for_a_few, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_finder_takes_another_interval_at_once,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_finder_asks_who_knows_of_a_change, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_finder_shows_what_a_method_says_of_itself,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_finder_loses_whom_it_does_not_find, fixture_setup, fixture_teardown),
		cmocka_unit_test(test_finder_takes_many),
		cmocka_unit_test_setup_teardown(test_finder_asks_as_often_as_a_target_wants,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			test_finder_leaves_fixed_targets_alone, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
