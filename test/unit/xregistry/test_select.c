/* SPDX-License-Identifier: BSD-3-Clause */
/* Choosing targets: each criterion leaves out what it is to, the score is the document's, each
 * policy is what its name says, and threads can choose at the same time. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/xregistry/select.h"
#include "lib/xregistry/store.h"
#include "test/unit/util/fail.h"
#include "test/unit/xregistry/fixture.h"

#define NOW_MS 1000000u

static struct xreg_store *store;
static struct xreg_balancer *balancer;
static struct xreg_criteria criteria;
static struct xreg_health_config config;
static struct xreg_selection selection;

/* A target that is told apart by the letter at the end of its NQN. */
static void add_at(const char *node, const char *nqn, const char *location, double weight)
{
	const struct xreg_pair metadata[] = {{"location", location}};
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &spec,
		.status = {.state = XREG_AVAILABLE, .reason = ""}};

	spec.node_id = node;
	spec.nqn = nqn;
	spec.weight = weight;
	spec.is_read_only = false;
	spec.metadata = metadata;
	spec.nr_metadata = 1;
	if (xreg_store_change(store, &change) != 0) {
		fail_msg("%s", change.err.text);
	}
	xreg_target_unref(change.result);
}

static void add(const char *node, const char *nqn)
{
	add_at(node, nqn, "rack-1-slot-3", 1);
}

static void set_state(const char *nqn, enum xreg_state state)
{
	struct xreg_view *view = xreg_store_view(store);
	char id[XREG_ID_SIZE];
	struct xreg_change change = {
		.op = XREG_SET_STATUS, .id = id, .status = {.state = state, .reason = ""}};

	snprintf(id, sizeof(id), "%s", xreg_view_first(view, XREG_BY_NQN, nqn)->origin.id);
	xreg_view_unref(view);
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
}

static void report(const char *nqn, struct xreg_metrics metrics)
{
	struct xreg_view *view = xreg_store_view(store);

	xreg_live_report(xreg_view_first(view, XREG_BY_NQN, nqn), &metrics, NOW_MS);
	xreg_view_unref(view);
}

static int choose_at(uint64_t now_ms)
{
	struct xreg_view *view = xreg_store_view(store);
	int rc;

	xreg_selection_free(&selection);
	rc = xreg_select(balancer, view, &criteria, &config, now_ms, &selection);
	xreg_view_unref(view);
	return rc;
}

/* The NQNs that were chosen, one letter each. */
static const char *choose(void)
{
	static char names[XREG_SELECT_MAX + 1];

	assert_int_equal(choose_at(NOW_MS), 0);
	for (uint32_t i = 0; i < selection.nr_chosen; i++) {
		names[i] = strchr(selection.chosen[i].target->spec.nqn, ':')[1];
		assert_int_equal(selection.chosen[i].priority, i + 1);
	}
	names[selection.nr_chosen] = '\0';
	return names;
}

static void use_policy(enum xreg_policy policy, uint32_t interval_ms)
{
	xreg_balancer_free(balancer);
	assert_int_equal(xreg_balancer_new(&(struct xreg_balancer_opts){.policy = policy,
						   .rebalance_interval_ms = interval_ms},
				 &balancer),
		0);
}

static int setup(void **state)
{
	fixture_setup(state);
	store = fixture_open(NULL);
	xreg_criteria_default(&criteria);
	xreg_health_config_default(&config);
	balancer = NULL;
	use_policy(XREG_POLICY_DEFAULT, 0);
	return 0;
}

static int teardown(void **state)
{
	xreg_selection_free(&selection);
	xreg_balancer_free(balancer);
	xreg_store_close(store);
	return fixture_teardown(state);
}

/* ---- criteria ---- */

static void expect_rejected(enum xreg_reject reason)
{
	assert_string_equal(choose(), "");
	assert_int_equal(selection.status, XREG_SELECTION_NO_SUITABLE);
	assert_int_equal(selection.nr_rejected, 1);
	if (selection.rejected[0].reason != reason) {
		fail_msg("rejected because %s", xreg_reject_text(selection.rejected[0].reason));
	}
	xreg_criteria_default(&criteria);
	assert_string_equal(choose(), "a");
	assert_int_equal(selection.status, XREG_SELECTION_SUCCESS);
}

static void test_select_rejects_for_each_criterion(void **state)
{
	static const char *const lacks[] = {"fast", "slow"};
	const char *id;

	add("node-1", "nqn.2026-11.io.xsan:a");
	assert_string_equal(choose(), "a");
	id = strdup(selection.chosen[0].target->origin.id);
	criteria.min_iops = 500001;
	expect_rejected(XREG_REJECT_IOPS);
	criteria.min_bandwidth_mbps = 6001;
	expect_rejected(XREG_REJECT_BANDWIDTH);
	criteria.max_latency_us = 49; /* it has stated 50 */
	expect_rejected(XREG_REJECT_LATENCY);
	criteria.min_capacity_bytes = 1073741824001;
	expect_rejected(XREG_REJECT_CAPACITY);
	criteria.transport = XREG_RDMA;
	expect_rejected(XREG_REJECT_TRANSPORT);
	criteria.node_id = "node-2";
	expect_rejected(XREG_REJECT_NODE);
	criteria.tags = lacks;
	criteria.nr_tags = 2;
	expect_rejected(XREG_REJECT_TAGS);
	criteria.location_prefix = "rack-2";
	expect_rejected(XREG_REJECT_LOCATION);
	criteria.exclude_ids = &id;
	criteria.nr_exclude_ids = 1;
	expect_rejected(XREG_REJECT_EXCLUDED);
	free((char *)id);
}

static void test_select_takes_what_meets_all(void **state)
{
	static const char *const tags[] = {"lab", "fast"};

	add("node-1", "nqn.2026-11.io.xsan:a");
	criteria = (struct xreg_criteria){.min_iops = 500000,
		.min_bandwidth_mbps = 6000,
		.max_latency_us = 50,
		.min_capacity_bytes = 1073741824000,
		.transport = XREG_TCP,
		.node_id = "node-1",
		.tags = tags,
		.nr_tags = 2,
		.location_prefix = "rack-1",
		.is_writable = true,
		.target_count = 2};
	assert_string_equal(choose(), "a");
	assert_int_equal(selection.status, XREG_SELECTION_PARTIAL);
	criteria.location_prefix = "rack-1-slot-3";
	assert_string_equal(choose(), "a");
	criteria.location_prefix = "rack-";
	assert_string_equal(choose(), "a");
	criteria.location_prefix = "rack-1-slot-33";
	assert_string_equal(choose(), "");
}

/* rack-1 is not where rack-10 is. */
static void test_select_location_prefix_ends_at_a_part(void **state)
{
	add_at("node-1", "nqn.2026-11.io.xsan:a", "rack-10-slot-1", 1);
	criteria.location_prefix = "rack-1";
	expect_rejected(XREG_REJECT_LOCATION);
	add_at("node-1", "nqn.2026-11.io.xsan:b", "rack-1-slot-1", 1);
	criteria.location_prefix = "rack-1";
	assert_string_equal(choose(), "b");
}

static void test_select_leaves_read_only_ones_to_readers(void **state)
{
	fixture_register(store, "node-1", 1); /* it is read-only */
	assert_int_equal(strlen(choose()), 1);
	criteria.is_writable = true;
	assert_string_equal(choose(), "");
	assert_int_equal(selection.rejected[0].reason, XREG_REJECT_READ_ONLY);
}

static void test_select_takes_available_and_degraded_only(void **state)
{
	static const enum xreg_state others[] = {
		XREG_UNKNOWN, XREG_BUSY, XREG_MAINTENANCE, XREG_FAILED, XREG_OFFLINE};

	add("node-1", "nqn.2026-11.io.xsan:a");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		set_state("nqn.2026-11.io.xsan:a", others[i]);
		assert_string_equal(choose(), "");
		assert_int_equal(selection.rejected[0].reason, XREG_REJECT_STATE);
	}
	add("node-2", "nqn.2026-11.io.xsan:b");
	set_state("nqn.2026-11.io.xsan:a", XREG_DEGRADED);
	report("nqn.2026-11.io.xsan:b", (struct xreg_metrics){.load_percentage = 100});
	criteria.target_count = 2;
	assert_string_equal(choose(), "ba"); /* however bad the other scores */
	assert_true(selection.chosen[0].total < selection.chosen[1].total);
	assert_true(selection.chosen[0].is_over_load && selection.chosen[1].is_degraded);
}

static void test_select_leaves_out_what_is_full_or_slow_now(void **state)
{
	add("node-1", "nqn.2026-11.io.xsan:a");
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.active_connections = 32});
	assert_string_equal(choose(), "");
	assert_int_equal(selection.rejected[0].reason, XREG_REJECT_CONNECTIONS);
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.current_latency_us = 101});
	criteria.max_latency_us = 100;
	assert_string_equal(choose(), "");
	/* Long after the report nothing is known but what was stated. */
	assert_int_equal(choose_at(NOW_MS + 301000), 0);
	assert_int_equal(selection.nr_chosen, 1);
}

/* ---- the score ---- */

static void expect_near(double value, double expected)
{
	if (fabs(value - expected) > 1e-6) {
		fail_msg("%.9f is not %.9f", value, expected);
	}
}

static void test_select_score_is_the_documents(void **state)
{
	add("node-1", "nqn.2026-11.io.xsan:a");
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.current_iops = 45000,
						.current_bandwidth_mbps = 2800,
						.current_latency_us = 45,
						.load_percentage = 35});
	criteria.min_iops = 400000;         /* 500000 / 400000 / 2 = 0.625 */
	criteria.min_bandwidth_mbps = 2000; /* 6000 / 2000 / 2: 1 */
	criteria.max_latency_us = 100;      /* 0.55 */
	criteria.preferred_location = "rack-1-slot-4";
	assert_string_equal(choose(), "a");
	assert_int_equal(selection.chosen[0].parts.resource_usage, 65);
	expect_near(selection.chosen[0].health, 96);
	expect_near(selection.chosen[0].performance, 100 * 0.625 * 0.55 * 0.65);
	expect_near(selection.chosen[0].reliability, 100);
	expect_near(selection.chosen[0].location, 50);
	expect_near(selection.chosen[0].total,
		96 * 0.3 + 100 * 0.625 * 0.55 * 0.65 * 0.4 + 100 * 0.2 + 50 * 0.1);
	assert_non_null(strstr(selection.chosen[0].reason, "score 62.7 (health 96"));

	criteria.preferred_location = NULL; /* then its weight is no part of it */
	criteria.performance_weight = 0;
	choose();
	expect_near(selection.chosen[0].total, (96 * 0.3 + 100 * 0.2) / 0.5);
	criteria.health_weight = criteria.reliability_weight = 0;
	choose();
	expect_near(selection.chosen[0].total, 0);
}

static void test_select_location_counts_parts_in_common(void **state)
{
	static const struct {
		const char *location, *preferred;
		double score;
	} cases[] = {{"rack-1-slot-3", "rack-1-slot-3", 100}, {"rack-1-slot-3", "rack-1", 100},
		{"rack-1-slot-4", "rack-1-slot-3", 50}, {"rack-1", "rack-1-slot-3", 50},
		{"rack-2-slot-3", "rack-1-slot-3", 0}, {"rack", "rack-1", 0},
		{"dc-east-rack-2", "dc-east-rack-1", 50}, {"dc-east", "dc-west", 50},
		{"rack/1/slot/3", "rack-1-slot-3", 100}, {"rack-10", "rack-1", 0},
		{"rack-1-slot-3", "-", 0}, {"row-1", "rack-1", 0}};
	char nqn[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%c", (char)('a' + i));
		add_at(nqn, nqn, cases[i].location, 1);
		criteria.node_id = nqn;
		criteria.preferred_location = cases[i].preferred;
		choose();
		assert_int_equal(selection.nr_chosen, 1);
		if (selection.chosen[0].location != cases[i].score) {
			fail_msg("%s for %s: %g", cases[i].location, cases[i].preferred,
				selection.chosen[0].location);
		}
	}
}

static void test_select_prefers_the_better_score(void **state)
{
	add("node-1", "nqn.2026-11.io.xsan:a");
	add("node-1", "nqn.2026-11.io.xsan:b");
	add("node-1", "nqn.2026-11.io.xsan:c");
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.load_percentage = 50});
	report("nqn.2026-11.io.xsan:b", (struct xreg_metrics){.load_percentage = 10});
	report("nqn.2026-11.io.xsan:c", (struct xreg_metrics){.load_percentage = 30});
	criteria.target_count = 3;
	assert_string_equal(choose(), "bca");
	report("nqn.2026-11.io.xsan:b", (struct xreg_metrics){.load_percentage = 81});
	assert_string_equal(choose(), "cab");
	assert_true(selection.chosen[2].is_over_load);
}

static void test_select_spreads_over_nodes(void **state)
{
	add("node-1", "nqn.2026-11.io.xsan:a");
	add("node-1", "nqn.2026-11.io.xsan:b");
	add("node-2", "nqn.2026-11.io.xsan:c");
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.load_percentage = 1});
	report("nqn.2026-11.io.xsan:b", (struct xreg_metrics){.load_percentage = 2});
	report("nqn.2026-11.io.xsan:c", (struct xreg_metrics){.load_percentage = 60});
	criteria.target_count = 3;
	assert_string_equal(choose(), "abc");
	criteria.spread_over_nodes = true;
	assert_string_equal(choose(), "acb");
	criteria.target_count = 2;
	set_state("nqn.2026-11.io.xsan:c", XREG_DEGRADED);
	assert_string_equal(choose(), "ac"); /* another node before another state */
}

/* ---- policies ---- */

static void test_select_round_robin_takes_turns(void **state)
{
	char first, second, third;

	add("node-1", "nqn.2026-11.io.xsan:a");
	add("node-1", "nqn.2026-11.io.xsan:b");
	add("node-1", "nqn.2026-11.io.xsan:c");
	use_policy(XREG_ROUND_ROBIN, 0);
	first = choose()[0];
	second = choose()[0];
	third = choose()[0];
	assert_int_equal('a' + 'b' + 'c', first + second + third);
	assert_true(first != second && second != third && first != third);
	assert_int_equal(choose()[0], first);
	set_state("nqn.2026-11.io.xsan:b", XREG_OFFLINE); /* turns go on without it */
	for (uint32_t i = 0; i < 4; i++) {
		char one = choose()[0], two = choose()[0];

		assert_int_equal('a' + 'c', one + two);
	}
	criteria.target_count = 2;
	assert_int_equal(strlen(choose()), 2);
}

static void test_select_least_connections_counts_what_it_gave(void **state)
{
	uint32_t count[3] = {0};

	add("node-1", "nqn.2026-11.io.xsan:a");
	add("node-1", "nqn.2026-11.io.xsan:b");
	add("node-1", "nqn.2026-11.io.xsan:c");
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.active_connections = 4});
	report("nqn.2026-11.io.xsan:b", (struct xreg_metrics){.active_connections = 0});
	report("nqn.2026-11.io.xsan:c", (struct xreg_metrics){.active_connections = 2});
	criteria.policy = XREG_LEAST_CONNECTIONS;
	for (uint32_t i = 0; i < 9; i++) {
		count[choose()[0] - 'a']++;
	}
	assert_int_equal(count[0], 1); /* 5, 5 and 5 */
	assert_int_equal(count[1], 5);
	assert_int_equal(count[2], 3);
	assert_int_equal(choose_at(NOW_MS + 30000), 0); /* rebalanced: reports alone count */
	assert_string_equal(selection.chosen[0].target->spec.nqn, "nqn.2026-11.io.xsan:b");
	assert_non_null(strstr(selection.chosen[0].reason, "chosen 0 times"));
}

static void test_select_least_load_goes_by_load(void **state)
{
	add("node-1", "nqn.2026-11.io.xsan:a");
	add("node-1", "nqn.2026-11.io.xsan:b");
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.load_percentage = 12});
	report("nqn.2026-11.io.xsan:b", (struct xreg_metrics){.load_percentage = 10});
	criteria.policy = XREG_LEAST_LOAD; /* one of 32 connections is 3.125 % */
	assert_string_equal(choose(), "b");
	assert_string_equal(choose(), "a");
	assert_string_equal(choose(), "b");
}

static void test_select_weighted_gives_each_its_share(void **state)
{
	uint32_t count[4] = {0};

	add_at("node-1", "nqn.2026-11.io.xsan:a", "", 1);
	add_at("node-1", "nqn.2026-11.io.xsan:b", "", 3);
	add_at("node-1", "nqn.2026-11.io.xsan:c", "", 0);
	add_at("node-1", "nqn.2026-11.io.xsan:d", "", 1);
	criteria.policy = XREG_WEIGHTED;
	for (uint32_t i = 0; i < 100; i++) {
		count[choose()[0] - 'a']++;
	}
	assert_int_equal(count[0], 20);
	assert_int_equal(count[1], 60);
	assert_int_equal(count[2], 0); /* not while another can be had */
	assert_int_equal(count[3], 20);
	criteria.target_count = 4;
	assert_int_equal(choose()[3], 'c');
}

/* The same key goes to the same target, and when a target goes only its keys move. */
static void test_select_hash_moves_no_more_than_it_must(void **state)
{
	char before[200], key[16], nqn[64];
	uint32_t count[5] = {0};

	for (char name = 'a'; name <= 'e'; name++) {
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%c", name);
		add(nqn, nqn);
	}
	criteria.policy = XREG_HASH;
	criteria.hash_key = key;
	for (uint32_t i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "host-%u", i);
		before[i] = choose()[0];
		count[before[i] - 'a']++;
		assert_int_equal(choose()[0], before[i]);
	}
	for (uint32_t i = 0; i < 5; i++) {
		assert_in_range(count[i], 15, 70);
	}
	set_state("nqn.2026-11.io.xsan:c", XREG_FAILED);
	report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.load_percentage = 99});
	for (uint32_t i = 0; i < 200; i++) {
		char now;

		snprintf(key, sizeof(key), "host-%u", i);
		now = choose()[0];
		assert_int_not_equal(now, 'c');
		assert_true(before[i] == 'c' || now == before[i]);
	}
}

/* ---- what cannot be, memory, many, threads ---- */

static void test_select_refuses_criteria_that_cannot_be(void **state)
{
	struct xreg_balancer *none = NULL;
	enum xreg_policy policy;

	criteria.target_count = 0;
	assert_int_equal(choose_at(NOW_MS), -EINVAL);
	criteria.target_count = XREG_SELECT_MAX + 1;
	assert_int_equal(choose_at(NOW_MS), -EINVAL);
	criteria.target_count = 1;
	criteria.policy = XREG_HASH;
	assert_int_equal(choose_at(NOW_MS), -EINVAL);
	criteria.policy = XREG_NR_POLICIES;
	assert_int_equal(choose_at(NOW_MS), -EINVAL);
	criteria.policy = XREG_SCORE;
	criteria.location_weight = -1;
	assert_int_equal(choose_at(NOW_MS), -EINVAL);
	criteria.location_weight = NAN;
	assert_int_equal(choose_at(NOW_MS), -EINVAL);
	criteria.location_weight = 0;
	assert_string_equal(choose(), "");
	assert_int_equal(
		xreg_balancer_new(&(struct xreg_balancer_opts){.load_threshold = 1.1}, &none),
		-EINVAL);
	for (uint32_t i = XREG_ROUND_ROBIN; i < XREG_NR_POLICIES; i++) {
		assert_int_equal(xreg_policy_parse(xreg_policy_name(i), &policy), 0);
		assert_int_equal(policy, i);
	}
	assert_int_equal(xreg_policy_parse("random", &policy), -EINVAL);
}

static void test_select_without_memory_changes_nothing(void **state)
{
	static const enum xreg_policy policies[] = {XREG_SCORE, XREG_WEIGHTED, XREG_LEAST_LOAD};
	char nqn[64];

	for (char name = 'a'; name <= 'z'; name++) {
		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:%c", name);
		add(nqn, nqn);
	}
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		struct xreg_view *view = xreg_store_view(store);
		int rc;

		criteria.policy = policies[i];
		use_policy(policies[i], 0);
		for (unsigned n = 1;; n++) {
			xreg_selection_free(&selection);
			fail_arm(n);
			rc = xreg_select(balancer, view, &criteria, &config, NOW_MS, &selection);
			if (!fail_disarm()) {
				break;
			}
			assert_int_equal(rc, -ENOMEM);
			assert_null(selection.view);
		}
		assert_int_equal(rc, 0);
		assert_int_equal(selection.nr_chosen, 1);
		xreg_view_unref(view);
	}
}

static void *choose_often(void *arg)
{
	struct xreg_criteria mine = criteria;
	uint32_t *ret_count = arg;

	for (uint32_t i = 0; i < 500; i++) {
		struct xreg_view *view = xreg_store_view(store);
		struct xreg_selection its = {0};

		mine.policy = XREG_ROUND_ROBIN + i % (XREG_NR_POLICIES - 1);
		mine.hash_key = "host";
		if (xreg_select(balancer, view, &mine, &config, NOW_MS + i * 100, &its) == 0) {
			*ret_count += its.nr_chosen;
		}
		xreg_view_unref(view);
		xreg_selection_free(&its);
	}
	return NULL;
}

static void test_select_is_for_many_threads(void **state)
{
	pthread_t threads[4];
	uint32_t counts[4] = {0};

	add("node-1", "nqn.2026-11.io.xsan:a");
	add("node-2", "nqn.2026-11.io.xsan:b");
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, choose_often, &counts[i]), 0);
	}
	for (uint32_t i = 0; i < 200; i++) {
		report("nqn.2026-11.io.xsan:a", (struct xreg_metrics){.load_percentage = i % 100});
	}
	for (uint32_t i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(counts[i], 500);
	}
}

/* Every policy over as many targets as the registry is made for. */
static void test_select_from_ten_thousand(void **state)
{
	static struct xreg_change changes[10000];
	static struct xreg_spec specs[10000];
	static char nqns[10000][48];
	struct timespec from, to;

	for (uint32_t i = 0; i < 10000; i++) {
		snprintf(nqns[i], sizeof(nqns[i]), "nqn.2026-11.io.xsan:%05u", i);
		specs[i] = fixture_spec();
		specs[i].nqn = nqns[i];
		specs[i].node_id = nqns[i / 100];
		changes[i] = (struct xreg_change){.op = XREG_REGISTER,
			.spec = &specs[i],
			.status = {.state = XREG_AVAILABLE, .reason = ""}};
	}
	fixture_change_all(store, changes, 10000);
	criteria.target_count = 100;
	criteria.spread_over_nodes = true;
	criteria.hash_key = "host";
	for (uint32_t i = XREG_ROUND_ROBIN; i < XREG_NR_POLICIES; i++) {
		criteria.policy = i;
		clock_gettime(CLOCK_MONOTONIC, &from);
		assert_int_equal(choose_at(NOW_MS), 0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		assert_int_equal(selection.nr_chosen, 100);
		assert_int_equal(selection.nr_candidates, 10000);
		for (uint32_t at = 1; at < 100; at++) { /* 100 nodes, one of each */
			assert_string_not_equal(selection.chosen[at].target->spec.node_id,
				selection.chosen[at - 1].target->spec.node_id);
		}
		print_message("100 of 10,000 by %s: %.1f ms\n", xreg_policy_name(i),
			(double)(to.tv_sec - from.tv_sec) * 1e3 +
				(double)(to.tv_nsec - from.tv_nsec) / 1e6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_select_rejects_for_each_criterion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_select_takes_what_meets_all, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_location_prefix_ends_at_a_part, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_leaves_read_only_ones_to_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_takes_available_and_degraded_only, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_leaves_out_what_is_full_or_slow_now, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_score_is_the_documents, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_location_counts_parts_in_common, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_prefers_the_better_score, setup, teardown),
		cmocka_unit_test_setup_teardown(test_select_spreads_over_nodes, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_round_robin_takes_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_least_connections_counts_what_it_gave, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_least_load_goes_by_load, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_weighted_gives_each_its_share, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_hash_moves_no_more_than_it_must, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_refuses_criteria_that_cannot_be, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_select_without_memory_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_select_from_ten_thousand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_select_is_for_many_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
