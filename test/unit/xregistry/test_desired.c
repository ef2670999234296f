/* SPDX-License-Identifier: BSD-3-Clause */
/* Desired configurations: what is accepted and what is not, that nothing is lost on the way to JSON
 * and back, what becomes of one, and what counts for the registry itself. */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xregistry/live.h"
#include "test/unit/xregistry/fixture.h"

static const char full[] = "{\"queue_depth\": 64, \"max_connections\": 4, \"max_iops\": 5000, "
			   "\"max_bandwidth_mbps\": 200, \"access\": {\"any_host\": false, "
			   "\"hosts\": [\"nqn.2014-08.org.b\", \"nqn.2014-08.org.a\", "
			   "\"nqn.2014-08.org.b\"], \"read_only\": true}, "
			   "\"discovery_interval\": 30, \"weight\": 2.5}";

static struct xreg_config *parsed(const char *text)
{
	struct xreg_config *config = NULL;
	char path[XU_PARAM_PATH_SIZE];
	json_t *body = json_loads(text, 0, NULL);
	struct xu_error err = {0};

	assert_non_null(body);
	if (xreg_config_parse(body, &config, path, &err) != 0) {
		fail_msg("%s: %s", path, err.text);
	}
	json_decref(body);
	return config;
}

static void assert_written(const struct xreg_config *config, const char *text)
{
	json_t *is = xreg_config_to_json(config), *want = json_loads(text, 0, NULL);

	assert_non_null(is);
	if (!json_equal(is, want)) {
		fail_msg("%s", json_dumps(is, JSON_COMPACT));
	}
	json_decref(is);
	json_decref(want);
}

static void test_config_reads_and_writes(void **state)
{
	struct xreg_config *config = parsed(full);

	assert_int_equal(config->set, 0xff);
	assert_int_equal(config->queue_depth, 64);
	assert_int_equal(config->nr_hosts, 2);
	assert_string_equal(config->hosts[0], "nqn.2014-08.org.a");
	assert_true(config->is_read_only && !config->any_host && config->weight == 2.5);
	assert_written(config,
		"{\"queue_depth\": 64, \"max_connections\": 4, \"max_iops\": 5000, "
		"\"max_bandwidth_mbps\": 200, \"access\": {\"any_host\": false, "
		"\"hosts\": [\"nqn.2014-08.org.a\", \"nqn.2014-08.org.b\"], \"read_only\": true}, "
		"\"discovery_interval\": 30, \"weight\": 2.5}");
	xreg_config_unref(config);

	config = parsed("{}");
	assert_int_equal(config->set, 0);
	assert_written(config, "{}");
	assert_written(NULL, "{}");
	xreg_config_unref(config);

	/* Whose hosts it says nothing of is another thing than one that lets nobody in. */
	config = parsed("{\"access\": {\"read_only\": false}}");
	assert_int_equal(config->set, XREG_CONFIG_READ_ONLY);
	assert_written(config, "{\"access\": {\"read_only\": false}}");
	xreg_config_unref(config);
	config = parsed("{\"access\": {\"hosts\": []}}");
	assert_int_equal(config->set, XREG_CONFIG_HOSTS);
	assert_written(config, "{\"access\": {\"any_host\": false, \"hosts\": []}}");
	xreg_config_unref(config);
}

static void test_config_names_the_culprit(void **state)
{
	static const struct {
		const char *body, *path, *word;
	} cases[] = {
		{"[]", "", "object"},
		{"{\"queue_dept\": 5}", "queue_dept", "not known"},
		{"{\"queue_depth\": 1}", "queue_depth", "2"},
		{"{\"queue_depth\": \"8\"}", "queue_depth", "whole number"},
		{"{\"max_connections\": 0}", "max_connections", "1"},
		{"{\"max_iops\": -1}", "max_iops", "whole number"},
		{"{\"discovery_interval\": 90000}", "discovery_interval", "86400"},
		{"{\"weight\": 1001}", "weight", "0 to 1000"},
		{"{\"weight\": \"much\"}", "weight", "0 to 1000"},
		{"{\"access\": true}", "access", "object"},
		{"{\"access\": {\"host\": []}}", "access.host", "not known"},
		{"{\"access\": {\"hosts\": [\"tom\"]}}", "access.hosts", "not an NQN"},
		{"{\"access\": {\"hosts\": [5]}}", "access.hosts", "no text"},
		{"{\"access\": {\"hosts\": {}}}", "access.hosts", "list"},
		{"{\"access\": {\"any_host\": true, \"hosts\": [\"nqn.2014-08.org.a\"]}}",
			"access.hosts", "any_host"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *body = json_loads(cases[i].body, 0, NULL);
		struct xreg_config *config = NULL;
		char path[XU_PARAM_PATH_SIZE] = "";
		struct xu_error err;

		assert_int_equal(xreg_config_parse(body, &config, path, &err), -EINVAL);
		assert_null(config);
		assert_string_equal(path, cases[i].path);
		if (strstr(err.text, cases[i].word) == NULL) {
			fail_msg("%s: %s", cases[i].body, err.text);
		}
		json_decref(body);
	}
}

static void test_config_takes_so_many_hosts(void **state)
{
	json_t *hosts = json_array(), *body = json_pack("{s:{s:O}}", "access", "hosts", hosts);
	struct xreg_config *config = NULL;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err;

	for (uint32_t i = 0; i < XREG_ALLOWED_HOSTS_MAX; i++) {
		json_array_append_new(hosts, json_sprintf("nqn.2014-08.org.h:%u", i));
	}
	assert_int_equal(xreg_config_parse(body, &config, path, &err), 0);
	assert_int_equal(config->nr_hosts, XREG_ALLOWED_HOSTS_MAX);
	xreg_config_unref(config);
	json_array_append_new(hosts, json_string("nqn.2014-08.org.one:more"));
	assert_int_equal(xreg_config_parse(body, &config, path, &err), -EINVAL);
	json_decref(hosts);
	json_decref(body);
}

/* ---- what becomes of one ---- */

static struct xreg_desired *set(struct xreg_desired *before, const char *text, uint64_t revision)
{
	struct xreg_config *config = parsed(text);
	struct xreg_desired *desired = xreg_desired_set(before, config, revision);

	assert_non_null(desired);
	xreg_config_unref(config);
	xreg_desired_unref(before);
	return desired;
}

/* The next one; `before` when nothing changes. */
static struct xreg_desired *judge(
	struct xreg_desired *before, const char *reason, uint64_t revision)
{
	const struct xreg_verdict verdict = {
		before->revision, reason == NULL, reason != NULL ? reason : ""};
	struct xreg_desired *desired = NULL;
	struct xu_error err;

	assert_int_equal(xreg_desired_judge(before, &verdict, revision, &desired, &err), 0);
	if (desired == NULL) {
		return before;
	}
	xreg_desired_unref(before);
	return desired;
}

static void assert_is(
	const struct xreg_desired *desired, uint32_t outcome, uint64_t revision, const char *config)
{
	assert_string_equal(xreg_outcome_name(desired->outcome), xreg_outcome_name(outcome));
	assert_int_equal(desired->revision, revision);
	assert_written(desired->config, config);
}

static void test_desired_is_applied(void **state)
{
	struct xreg_desired *desired = set(NULL, "{\"queue_depth\": 32}", 5), *same;

	assert_is(desired, XREG_CONFIG_PENDING, 5, "{\"queue_depth\": 32}");
	desired = judge(desired, NULL, 6);
	assert_is(desired, XREG_CONFIG_APPLIED, 5, "{\"queue_depth\": 32}");
	same = judge(desired, NULL, 7);
	assert_ptr_equal(same, desired);
	xreg_desired_unref(desired);
}

static void test_desired_is_rolled_back_once(void **state)
{
	struct xreg_desired *desired = judge(set(NULL, "{\"queue_depth\": 32}", 5), NULL, 6), *same;

	desired = set(desired, "{\"queue_depth\": 4000}", 7);
	/* One that nobody has judged is nothing to go back to. */
	desired = set(desired, "{\"max_iops\": 1}", 8);
	desired = judge(desired, "this node cannot limit I/Os", 9);
	assert_is(desired, XREG_CONFIG_ROLLED_BACK, 9, "{\"queue_depth\": 32}");
	assert_int_equal(desired->refused_revision, 8);
	assert_string_equal(desired->reason, "this node cannot limit I/Os");
	assert_false(desired->is_confirmed);

	desired = judge(desired, "not that either", 10);
	assert_is(desired, XREG_CONFIG_REFUSED, 9, "{\"queue_depth\": 32}");
	same = judge(desired, "not that either", 11);
	assert_ptr_equal(same, desired);
	/* The node can again. */
	desired = judge(desired, NULL, 11);
	assert_is(desired, XREG_CONFIG_APPLIED, 9, "{\"queue_depth\": 32}");
	assert_string_equal(desired->reason, "");
	xreg_desired_unref(desired);
}

static void test_desired_is_rolled_back_to_nothing(void **state)
{
	struct xreg_desired *desired = judge(set(NULL, "{\"max_iops\": 1}", 3), "no", 4);

	assert_is(desired, XREG_CONFIG_ROLLED_BACK, 4, "{}");
	desired = judge(desired, NULL, 5);
	assert_is(desired, XREG_CONFIG_ROLLED_BACK, 4, "{}");
	assert_true(desired->is_confirmed);
	assert_string_equal(desired->reason, "no");
	xreg_desired_unref(desired);
}

/* What was applied and is refused later, by a node that was changed, stays what is wanted. */
static void test_desired_that_was_applied_is_not_rolled_back(void **state)
{
	struct xreg_desired *desired = judge(set(NULL, "{\"queue_depth\": 32}", 5), NULL, 6);

	desired = judge(desired, "at most 16", 7);
	assert_is(desired, XREG_CONFIG_REFUSED, 5, "{\"queue_depth\": 32}");
	xreg_desired_unref(desired);
}

static void test_desired_refuses_an_old_verdict(void **state)
{
	struct xreg_desired *desired = set(NULL, "{}", 5), *next = NULL;
	struct xu_error err;

	assert_int_equal(
		xreg_desired_judge(desired, &(struct xreg_verdict){4, true, ""}, 6, &next, &err),
		-ESTALE);
	assert_int_equal(
		xreg_desired_judge(NULL, &(struct xreg_verdict){4, true, ""}, 6, &next, &err),
		-ESTALE);
	assert_int_equal(
		xreg_desired_judge(NULL, &(struct xreg_verdict){0, true, ""}, 6, &next, &err), 0);
	assert_null(next);
	xreg_desired_unref(desired);
}

static void test_desired_survives_json(void **state)
{
	struct xreg_desired *desired = judge(set(NULL, full, 5), NULL, 6), *back = NULL;
	struct xu_error err = {0};
	json_t *object;

	desired = judge(set(desired, "{\"max_iops\": 1}", 7), "no", 8);
	object = xreg_desired_to_json(desired);
	if (xreg_desired_from_json(object, &back, &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_int_equal(back->revision, 8);
	assert_int_equal(back->outcome, XREG_CONFIG_ROLLED_BACK);
	assert_int_equal(back->refused_revision, 7);
	assert_string_equal(back->reason, "no");
	assert_int_equal(back->config->set, 0xff);
	assert_int_equal(back->fallback->nr_hosts, 2);
	json_object_set_new(object, "config", json_integer(1));
	xreg_desired_unref(back);
	assert_int_equal(xreg_desired_from_json(object, &back, &err), -EINVAL);
	json_decref(object);
	xreg_desired_unref(desired);
}

/* ---- what counts ---- */

static void test_desired_counts_before_the_registration(void **state)
{
	struct xreg_desired *desired = set(NULL, full, 5);
	struct xreg_spec spec = fixture_spec();
	struct xreg_target *with, *without;

	spec.is_read_only = false;
	with = xreg_target_new(&(struct xreg_origin){.id = "tgt-1", .desired = desired},
		&(struct xreg_status){.reason = ""}, &spec);
	without = xreg_target_new(
		&(struct xreg_origin){.id = "tgt-2"}, &(struct xreg_status){.reason = ""}, &spec);
	xreg_desired_unref(desired);
	assert_true(xreg_target_weight(with) == 2.5);
	assert_true(xreg_target_weight(without) == spec.weight);
	assert_int_equal(xreg_target_interval_s(with), 30);
	assert_int_equal(xreg_target_interval_s(without), spec.discovery_interval_s);
	assert_false(xreg_target_is_fixed(with));
	assert_int_equal(xreg_target_max_connections(with), 4);
	assert_int_equal(xreg_target_max_connections(without), spec.max_connections);
	assert_true(xreg_target_is_read_only(with));
	assert_false(xreg_target_is_read_only(without));
	xreg_target_unref(with);
	xreg_target_unref(without);
}

/* Without automatic discovery no interval counts, and what is found changes nothing, unless it is a
 * list that is written by hand. */
static void test_targets_that_are_not_looked_for(void **state)
{
	struct xreg_desired *desired = set(NULL, full, 5);
	struct xreg_spec spec = fixture_spec();
	struct xreg_origin origin = {.id = "tgt-1", .desired = desired, .source = XREG_PULLED};
	struct xreg_target *target;

	spec.has_auto_discovery = false;
	target = xreg_target_new(&origin, &(struct xreg_status){.reason = ""}, &spec);
	assert_int_equal(xreg_target_interval_s(target), 0);
	assert_true(xreg_target_is_fixed(target));
	xreg_target_unref(target);
	origin.source = XREG_STATIC;
	target = xreg_target_new(&origin, &(struct xreg_status){.reason = ""}, &spec);
	assert_false(xreg_target_is_fixed(target));
	xreg_target_unref(target);
	xreg_desired_unref(desired);
}

static void test_report_of_a_node_is_kept(void **state)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_target *target = xreg_target_new(
		&(struct xreg_origin){.id = "tgt-1"}, &(struct xreg_status){.reason = ""}, &spec);
	struct xreg_config_report report, back;
	char actual[] = "{\"queue_depth\":128}";

	xreg_live_get_config(target, &back);
	assert_int_equal(back.at_ms, 0);
	assert_null(back.actual);
	report = (struct xreg_config_report){
		.at_ms = 9, .revision = 3, .reason = "no", .actual = actual};
	assert_int_equal(xreg_live_set_config(target, &report), 0);
	assert_int_equal(xreg_live_set_config(target, &report), 0);
	xreg_live_get_config(target, &back);
	assert_int_equal(back.revision, 3);
	assert_string_equal(back.reason, "no");
	assert_string_equal(back.actual, actual);
	free(back.actual);
	xreg_target_unref(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_reads_and_writes),
		cmocka_unit_test(test_config_names_the_culprit),
		cmocka_unit_test(test_config_takes_so_many_hosts),
		cmocka_unit_test(test_desired_is_applied),
		cmocka_unit_test(test_desired_is_rolled_back_once),
		cmocka_unit_test(test_desired_is_rolled_back_to_nothing),
		cmocka_unit_test(test_desired_that_was_applied_is_not_rolled_back),
		cmocka_unit_test(test_desired_refuses_an_old_verdict),
		cmocka_unit_test(test_desired_survives_json),
		cmocka_unit_test(test_desired_counts_before_the_registration),
		cmocka_unit_test(test_targets_that_are_not_looked_for),
		cmocka_unit_test(test_report_of_a_node_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
