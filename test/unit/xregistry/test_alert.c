/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of several registries that share their data, and its alerts: what it tells when it leads and
 * when it does not, what others told before it, what it cannot save. The data is an SQLite file
 * whose backend says who leads; what other registries do is done to its documents here. Nobody
 * listens where notifications go, so each has ended, as given up, after one try.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/alert/kept.h"
#include "lib/xregistry/alert/notify.h"
#include "test/unit/xregistry/fixture.h"

#define ROUND_MS   20u
#define PATIENCE_S 60
#define TOLD       "alerts"

static struct xreg_backend_ops ops;
static atomic_bool leads, is_full, is_bad;
static atomic_uint nr_rounds;

static struct xreg_store *store;
static struct xreg_notifier *notifier;
static struct xreg_alerts *alerts;
static char rules_path[80];

static bool fake_leads(void *backend)
{
	return leads;
}

static int fake_put(void *backend, const char *name, const char *text, uint64_t if_version,
	uint64_t *ret_version, struct xu_error *err)
{
	return is_full ? xu_error_set(err, -ENOSPC, "saving '%s': it is full", name)
		       : xreg_sqlite.put_document(
				 backend, name, text, if_version, ret_version, err);
}

static void measure(void *arg, double values[XREG_NR_METRICS])
{
	values[XREG_METRIC_HEALTHY_TARGET_RATIO] = is_bad ? 0 : 1;
	nr_rounds++;
}

static void start(void)
{
	const struct xreg_notifier_opts notify = {.nr_tries = 1};
	struct xreg_alerts_opts opts = {.rules_path = rules_path,
		.data_dir = "/nowhere",
		.interval_ms = ROUND_MS,
		.measure = measure};
	struct xu_error err = {0};

	assert_int_equal(xreg_notifier_start(&notify, &notifier, &err), 0);
	opts.store = store;
	opts.notifier = notifier;
	assert_int_equal(xreg_alerts_start(&opts, &alerts, &err), 0);
}

static void stop(void)
{
	xreg_alerts_stop(alerts);
	xreg_notifier_stop(notifier);
}

static int setup(void **state)
{
	static const char rules[] =
		"[{\"rule_name\": \"r\", \"metric_type\": \"healthy_target_ratio\", \"operator\": "
		"\"<\", \"threshold_value\": 0.5, \"notification_targets\": "
		"\"webhook:http://127.0.0.1:1/\"}]";
	FILE *file;

	fixture_setup(state);
	snprintf(rules_path, sizeof(rules_path), "%s.rules", fixture_path);
	file = fopen(rules_path, "we");
	assert_non_null(file);
	fputs(rules, file);
	assert_int_equal(fclose(file), 0);
	ops = xreg_sqlite;
	ops.leads = fake_leads;
	ops.put_document = fake_put;
	leads = is_full = is_bad = false;
	store = fixture_open(&(const struct xreg_store_opts){.backend = &ops});
	return 0;
}

static int teardown(void **state)
{
	xreg_store_close(store);
	unlink(rules_path);
	return fixture_teardown(state);
}

static void sleep_ms(unsigned ms)
{
	const struct timespec pause = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&pause, NULL);
}

/* Until so many more rounds have begun, the last but one of which has ended. */
static void wait_rounds(unsigned count)
{
	unsigned end = nr_rounds + count + 1;
	time_t limit = time(NULL) + PATIENCE_S;

	while (nr_rounds < end) {
		assert_true(time(NULL) < limit);
		sleep_ms(5);
	}
}

/* What has been told, "F" for firing and "R" for resolved, the oldest first. */
static const char *told(void)
{
	static char text[64];
	json_t *list = xreg_notifier_json(notifier);
	size_t count = json_array_size(list);

	assert_true(count < sizeof(text));
	for (size_t i = 0; i < count; i++) {
		const char *subject = json_string_value(
			json_object_get(json_array_get(list, count - 1 - i), "subject"));

		text[i] = strstr(subject, "r is firing") != NULL     ? 'F'
			  : strstr(subject, "r is resolved") != NULL ? 'R'
								     : '?';
	}
	text[count] = '\0';
	json_decref(list);
	return text;
}

/* This has been told, and no more in some rounds. */
static void assert_told(const char *expected)
{
	time_t limit = time(NULL) + PATIENCE_S;

	while (strlen(told()) < strlen(expected) && time(NULL) < limit) {
		sleep_ms(5);
	}
	wait_rounds(4);
	assert_string_equal(told(), expected);
}

static const char *state(void)
{
	static char text[16];
	json_t *all = xreg_alerts_json(alerts);

	snprintf(text, sizeof(text), "%s",
		json_string_value(json_object_get(
			json_array_get(json_object_get(all, "rules"), 0), "state")));
	json_decref(all);
	return text;
}

static void set_bad(bool bad)
{
	is_bad = bad;
	wait_rounds(2);
	assert_string_equal(state(), bad ? "firing" : "inactive");
}

static uint64_t unix_ms(void)
{
	return (uint64_t)time(NULL) * 1000;
}

/* Another registry has told of the rule. */
static void tell_elsewhere(const char *rule, uint64_t at_ms)
{
	json_t *changes = json_pack("{s:I}", rule, (json_int_t)at_ms);
	struct xu_error err;

	assert_int_equal(xreg__told_put(store, changes, &err), 0);
	json_decref(changes);
}

static uint64_t kept(const char *rule)
{
	json_t *document = xreg__told(store);
	uint64_t at_ms = xreg__told_ms(document, rule);

	json_decref(document);
	return at_ms;
}

static void wait_kept(bool is_kept)
{
	time_t limit = time(NULL) + PATIENCE_S;

	while ((kept("r") != 0) != is_kept) {
		assert_true(time(NULL) < limit);
		sleep_ms(5);
	}
}

/* ---- */

static void test_alerts_are_told_by_who_leads(void **unused)
{
	start();
	set_bad(true);
	assert_told("");
	leads = true;
	assert_told("F");
	wait_kept(true);
	leads = false;
	set_bad(false);
	assert_told("F");
	leads = true;
	assert_told("FR");
	wait_kept(false);
	stop();
}

static void test_alerts_are_not_told_twice_by_two(void **unused)
{
	tell_elsewhere("r", unix_ms());
	is_bad = true;
	start();
	wait_rounds(4);
	leads = true;
	assert_told("");
	set_bad(false);
	assert_told("R");
	wait_kept(false);
	stop();
}

static void test_alerts_that_begin_anew_are_told(void **unused)
{
	start();
	set_bad(true);
	tell_elsewhere("r", unix_ms());
	wait_rounds(2);
	/* It is over, and the other dies before it can say that it told so. */
	set_bad(false);
	set_bad(true);
	leads = true;
	assert_told("F");
	stop();
}

static void test_alerts_are_over_after_a_restart(void **unused)
{
	tell_elsewhere("r", unix_ms());
	leads = true;
	start();
	assert_told("R");
	stop();
	/* And what fires on after one is not told again. */
	tell_elsewhere("r", unix_ms());
	is_bad = true;
	start();
	assert_told("");
	stop();
}

static void test_alerts_are_repeated_whatever_the_clocks_say(void **unused)
{
	tell_elsewhere("r", unix_ms() + 60000); /* by a clock that is a minute ahead */
	is_bad = leads = true;
	start();
	assert_told("");
	tell_elsewhere("r", unix_ms() + 30ull * 86400 * 1000);
	assert_told("F");
	wait_kept(true);
	tell_elsewhere("r", unix_ms() - 5 * 3600 * 1000);
	assert_told("FF");
	stop();
}

static void test_alerts_that_cannot_be_saved_are_told_once(void **unused)
{
	leads = is_full = true;
	start();
	set_bad(true);
	assert_told("F");
	assert_int_equal(kept("r"), 0);
	is_full = false;
	wait_kept(true);
	assert_told("F");
	is_full = true;
	set_bad(false);
	assert_told("FR");
	assert_int_not_equal(kept("r"), 0);
	is_full = false;
	wait_kept(false);
	assert_told("FR");
	stop();
}

static void test_alerts_of_rules_that_are_no_more_are_forgotten(void **unused)
{
	tell_elsewhere("gone", unix_ms());
	start();
	wait_rounds(4);
	assert_int_not_equal(kept("gone"), 0); /* the other may have it yet */
	leads = true;
	for (time_t limit = time(NULL) + PATIENCE_S; kept("gone") != 0; sleep_ms(5)) {
		assert_true(time(NULL) < limit);
	}
	assert_told("");
	stop();
}

static void test_alerts_are_silenced_by_others(void **unused)
{
	struct xu_error err;

	leads = true;
	start();
	assert_int_equal(xreg__silence(store, "r", unix_ms() + 3600000, "elsewhere", &err), 0);
	set_bad(true);
	assert_told("");
	is_full = true;
	assert_int_equal(xreg_alerts_silence(alerts, "r", 0, "", &err), -ENOSPC);
	assert_told("");
	is_full = false;
	assert_int_equal(xreg_alerts_silence(alerts, "none", 0, "", &err), -ENOENT);
	assert_int_equal(xreg_alerts_silence(alerts, "r", 0, "", &err), 0);
	assert_told("F");
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alerts_are_told_by_who_leads, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_are_not_told_twice_by_two, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_that_begin_anew_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_are_over_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_are_repeated_whatever_the_clocks_say, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_that_cannot_be_saved_are_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_of_rules_that_are_no_more_are_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_alerts_are_silenced_by_others, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
