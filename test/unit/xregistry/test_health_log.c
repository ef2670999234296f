/* SPDX-License-Identifier: BSD-3-Clause */
/* What the health monitor has told, as it is kept: numbers, what is forgotten, who watches. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "lib/xregistry/health_log.h"
#include "test/unit/xregistry/fixture.h"

#define KEPT 8u

static struct xreg_health_log *health_log;

static int setup(void **state)
{
	assert_int_equal(xreg_health_log_new(KEPT, &health_log), 0);
	return 0;
}

static int teardown(void **state)
{
	xreg_health_log_free(health_log);
	return 0;
}

static void add(uint32_t connections)
{
	xreg_health_log_add(health_log, &(struct xreg_health_event){.kind = XREG_HEALTH_CONNECTIONS,
						.at_ms = 5,
						.connections_before = connections,
						.connections = connections + 1,
						.text = "they \"went\" up"});
}

/* The number of the next one after `number`; 0: there is none. */
static uint64_t next(uint64_t number, json_int_t *ret_connections)
{
	struct xreg_health_note note;
	int rc = xreg_health_log_next(health_log, number, &note);
	json_t *body;
	char *text;

	if (rc != 0) {
		assert_int_equal(rc, -ENOENT);
		return 0;
	}
	text = xreg_health_note_json(&note);
	body = json_loads(text, 0, NULL);
	free(text);
	assert_int_equal(json_integer_value(json_object_get(body, "number")), note.number);
	assert_string_equal(json_string_value(json_object_get(body, "type")), "connection_changed");
	assert_string_equal(json_string_value(json_object_get(body, "text")), "they \"went\" up");
	*ret_connections = json_integer_value(json_object_get(body, "old_connections"));
	json_decref(body);
	number = note.number;
	xreg_health_note_free(&note);
	return number;
}

static void test_health_log_forgets_the_oldest(void **state)
{
	json_int_t connections;

	assert_int_equal(xreg_health_log_last(health_log), 0);
	assert_int_equal(next(0, &connections), 0);
	for (uint32_t i = 1; i <= 20; i++) {
		add(i);
		assert_int_equal(xreg_health_log_last(health_log), i);
	}
	/* Who was told up to the twelfth misses none; who knows less sees the gap. */
	for (uint64_t number = 12; number < 20; number++) {
		assert_int_equal(next(number, &connections), number + 1);
		assert_int_equal(connections, number + 1);
	}
	assert_int_equal(next(11, &connections), 13);
	assert_int_equal(next(0, &connections), 13);
	assert_int_equal(next(20, &connections), 0);
	assert_int_equal(next(1000, &connections), 0);
}

static uint32_t nr_told;

static void on_told(struct xreg_health_watch *watch)
{
	nr_told++;
}

static void test_health_log_tells_who_watches(void **state)
{
	struct xreg_health_watch one = {.fn = on_told}, two = {.fn = on_told};

	nr_told = 0;
	add(1);
	xreg_health_log_watch(health_log, &one);
	xreg_health_log_watch(health_log, &two);
	add(2);
	assert_int_equal(nr_told, 2);
	xreg_health_log_unwatch(health_log, &one);
	add(3);
	assert_int_equal(nr_told, 3);
	xreg_health_log_unwatch(health_log, &one);
	xreg_health_log_unwatch(health_log, &two);
	add(4);
	assert_int_equal(nr_told, 3);
}

/* Numbers of two starts cannot be taken for each other. */
static void test_health_log_has_an_epoch(void **state)
{
	uint64_t first = xreg_health_log_epoch(health_log);

	assert_int_not_equal(first, 0);
	xreg_health_log_free(health_log);
	assert_int_equal(xreg_health_log_new(KEPT, &health_log), 0);
	assert_true(xreg_health_log_epoch(health_log) > first);
}

static void test_health_log_resumes_what_it_knows(void **state)
{
	uint64_t epoch = xreg_health_log_epoch(health_log), number;

	add(1);
	add(2);
	for (uint64_t known = 0; known <= 2; known++) {
		assert_true(xreg_health_log_resume(health_log, epoch, known, &number));
		assert_int_equal(number, known);
	}
	assert_false(xreg_health_log_resume(health_log, epoch, 3, &number)); /* has not been */
	assert_int_equal(number, 0);
	assert_false(xreg_health_log_resume(health_log, epoch - 1, 1, &number));
	assert_int_equal(number, 0);
}

/* A note has the target's record as it was, also when the registry has let go of it. */
static void test_health_log_holds_the_record(void **state)
{
	const struct xreg_spec spec = fixture_spec();
	const struct xreg_origin origin = {.id = "tgt-1"};
	const struct xreg_status status = {.reason = ""};
	struct xreg_target *target = xreg_target_new(&origin, &status, &spec);
	struct xreg_health_note note;

	assert_non_null(target);
	xreg_health_log_add(health_log, &(struct xreg_health_event){.kind = XREG_HEALTH_FAILURE,
						.target = target,
						.text = "it does not answer"});
	xreg_target_unref(target);
	assert_int_equal(xreg_health_log_next(health_log, 0, &note), 0);
	for (uint32_t i = 0; i < KEPT; i++) { /* the log lets go of it too */
		add(i);
	}
	assert_string_equal(note.event.target->spec.nqn, spec.nqn);
	assert_string_equal(note.event.text, "it does not answer");
	xreg_health_note_free(&note);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_health_log_forgets_the_oldest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health_log_tells_who_watches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health_log_has_an_epoch, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_health_log_resumes_what_it_knows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health_log_holds_the_record, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
