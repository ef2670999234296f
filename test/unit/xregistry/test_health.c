/* SPDX-License-Identifier: BSD-3-Clause */
/* Health scores: the document's formulas with its truncations, what it leaves open, what is not
 * known, and configurations that cannot be. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "lib/xregistry/health.h"
#include "test/unit/xregistry/fixture.h"

static struct xreg_health_config config;
static struct xreg_live_state live;

static struct xreg_health score_of(uint32_t state)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_target *target = xreg_target_new(&(struct xreg_origin){.id = "tgt-1"},
		&(struct xreg_status){.state = state, .reason = ""}, &spec);
	struct xreg_health health;

	assert_non_null(target);
	xreg_health_score(target, &live, &config, &health);
	xreg_target_unref(target);
	return health;
}

static int setup(void **state)
{
	xreg_health_config_default(&config);
	live = (struct xreg_live_state){.has_metrics = true,
		.metrics = {.current_iops = 45000,
			.current_bandwidth_mbps = 2800,
			.current_latency_us = 45,
			.load_percentage = 35,
			.error_rate = 0.001}};
	return 0;
}

/* The numbers of the document's own example of a report: everything within limits. */
static void test_health_is_the_documents_formula(void **state)
{
	struct xreg_health health = score_of(XREG_AVAILABLE);

	assert_int_equal(health.availability, 100);
	assert_int_equal(health.latency_score, 100);
	assert_int_equal(health.iops_score, 100);
	assert_int_equal(health.bandwidth_score, 100);
	assert_int_equal(health.performance, 100);
	assert_int_equal(health.reliability, 100);
	assert_int_equal(health.resource_usage, 65);
	assert_int_equal(health.score, 96); /* 30 + 40 + 20 + 6.5, cut off */
	assert_true(health.is_measured && health.is_rated);
}

static void test_health_lowers_each_part_as_written(void **state)
{
	struct xreg_health health;

	live.metrics.current_latency_us = 1499; /* 0.499 of the limit beyond: 100 - 24.95 */
	live.metrics.current_iops = 2499;       /* 24.99 */
	live.metrics.current_bandwidth_mbps = 4201;
	live.metrics.load_percentage = 100;
	health = score_of(XREG_BUSY);
	assert_int_equal(health.availability, 80);
	assert_int_equal(health.latency_score, 75);
	assert_int_equal(health.iops_score, 24);
	assert_int_equal(health.bandwidth_score, 85);
	assert_int_equal(health.performance, 61); /* 184 / 3 */
	assert_int_equal(health.resource_usage, 0);
	assert_int_equal(health.score, 68); /* 24 + 24.4 + 20 */

	live.metrics.current_bandwidth_mbps = 5401;
	assert_int_equal(score_of(XREG_BUSY).bandwidth_score, 70);
	live.metrics.current_bandwidth_mbps = 4200; /* 0.7 is not above 0.7 */
	assert_int_equal(score_of(XREG_BUSY).bandwidth_score, 100);
	live.metrics.current_latency_us = 3000; /* three times the limit: nothing is left */
	assert_int_equal(score_of(XREG_BUSY).latency_score, 0);
	live.metrics.current_latency_us = UINT32_MAX;
	assert_int_equal(score_of(XREG_BUSY).latency_score, 0);
}

static void test_health_knows_every_state(void **state)
{
	static const struct {
		enum xreg_state state;
		uint32_t availability;
	} cases[] = {{XREG_AVAILABLE, 100}, {XREG_BUSY, 80}, {XREG_DEGRADED, 50},
		{XREG_MAINTENANCE, 20}, {XREG_FAILED, 0}, {XREG_OFFLINE, 0}, {XREG_UNKNOWN, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(score_of(cases[i].state).availability, cases[i].availability);
	}
}

/* Good checks of all, then errors beyond the limit: twice the limit takes half. */
static void test_health_reliability_is_checks_and_errors(void **state)
{
	live.nr_checks = 8;
	live.nr_failed_checks = 2;
	assert_int_equal(score_of(XREG_AVAILABLE).reliability, 75);
	live.metrics.error_rate = 0.02;
	assert_int_equal(score_of(XREG_AVAILABLE).reliability, 37);
	live.metrics.error_rate = 0.03;
	assert_int_equal(score_of(XREG_AVAILABLE).reliability, 0);
	live.metrics.error_rate = 1;
	assert_int_equal(score_of(XREG_AVAILABLE).reliability, 0);
	config.max_acceptable_error_rate = 0; /* no limit */
	assert_int_equal(score_of(XREG_AVAILABLE).reliability, 75);
}

/* What nobody has measured neither helps nor hurts. */
static void test_health_does_not_punish_the_unknown(void **state)
{
	struct xreg_health health;

	live = (struct xreg_live_state){0};
	health = score_of(XREG_AVAILABLE);
	assert_int_equal(health.score, 100);
	assert_false(health.is_measured);
	assert_false(health.is_rated);
	assert_int_equal(score_of(XREG_FAILED).score, 0);
	assert_int_equal(score_of(XREG_DEGRADED).score, 50);

	live.nr_checks = 4; /* availability 100 by .3, reliability 50 by .2 */
	live.nr_failed_checks = 2;
	health = score_of(XREG_AVAILABLE);
	assert_true(health.is_rated);
	assert_int_equal(health.score, 80);
}

static void test_health_score_stays_within_100(void **state)
{
	config.availability_weight = config.performance_weight = 1;
	config.reliability_weight = config.resource_weight = 1;
	assert_int_equal(score_of(XREG_AVAILABLE).score, 100);
	config = (struct xreg_health_config){0};
	live = (struct xreg_live_state){0};
	assert_int_equal(score_of(XREG_AVAILABLE).score, 0);
}

static void expect_refused(const char *key)
{
	struct xu_error err = {0};

	assert_int_equal(xreg_health_config_check(&config, &err), -EINVAL);
	if (strncmp(err.text, key, strlen(key)) != 0) {
		fail_msg("\"%s\" does not begin with %s", err.text, key);
	}
	xreg_health_config_default(&config);
}

static void test_health_config_names_what_cannot_be(void **state)
{
	struct xu_error err = {0};

	assert_int_equal(xreg_health_config_check(&config, &err), 0);
	config.reliability_weight = 1.5;
	expect_refused("reliability_weight");
	config.performance_weight = NAN;
	expect_refused("performance_weight");
	config.max_acceptable_error_rate = -0.1;
	expect_refused("max_acceptable_error_rate");
	config.monitoring_interval_s = 0;
	expect_refused("monitoring_interval_sec");
	config.recovery_backoff_max_s = 1;
	expect_refused("recovery_backoff_max_sec");
	config.max_probes = 0;
	expect_refused("max_probes");
	snprintf(config.host_nqn, sizeof(config.host_nqn), "registry");
	expect_refused("probe_host_nqn");
	memset(config.host_nqn, 'x', sizeof(config.host_nqn) - 1);
	memcpy(config.host_nqn, "nqn.2026-11.io:", 15);
	expect_refused("probe_host_nqn");
	config.min_queue_depth = 0;
	expect_refused("min_queue_depth");
	config.min_io_bytes = 511;
	expect_refused("min_io_bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_health_is_the_documents_formula, setup),
		cmocka_unit_test_setup(test_health_lowers_each_part_as_written, setup),
		cmocka_unit_test_setup(test_health_knows_every_state, setup),
		cmocka_unit_test_setup(test_health_reliability_is_checks_and_errors, setup),
		cmocka_unit_test_setup(test_health_does_not_punish_the_unknown, setup),
		cmocka_unit_test_setup(test_health_score_stays_within_100, setup),
		cmocka_unit_test_setup(test_health_config_names_what_cannot_be, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
