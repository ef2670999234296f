/* SPDX-License-Identifier: BSD-3-Clause */
/* How a target is doing: shared by all versions of its record, kept whole, small until there is
 * something to keep, and without memory it loses no more than a first failure. */
#include <malloc.h>
#include <stdio.h>

#include "lib/xregistry/live.h"
#include "test/unit/util/fail.h"
#include "test/unit/xregistry/fixture.h"

static struct xreg_target *new_target(struct xreg_live *live)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_target *target =
		xreg_target_new(&(struct xreg_origin){.id = "tgt-1", .live = live},
			&(struct xreg_status){.state = XREG_AVAILABLE, .reason = ""}, &spec);

	assert_non_null(target);
	return target;
}

static void fill(struct xreg_live_state *state, void *arg)
{
	const enum xreg_failure_type *type = arg;
	struct xreg_failure *failure = &state->failures[*type];

	state->probe = (struct xreg_probe){.at_ms = 7, .reached = XREG_PROBE_TCP};
	snprintf(state->probe.problem, sizeof(state->probe.problem), "no answer");
	state->advice = (struct xreg_advice){64, 65536, 9};
	state->nr_bad++;
	*failure = (struct xreg_failure){.detected_ms = 5,
		.last_ms = 6,
		.occurrence_count = failure->occurrence_count + 1,
		.severity = XREG_SEVERITY_HIGH,
		.is_active = true};
	snprintf(failure->description, sizeof(failure->description), "it hurts");
}

static void test_live_keeps_what_was_changed(void **state)
{
	struct xreg_target *one = new_target(NULL), *two = new_target(one->origin.live);
	enum xreg_failure_type type = XREG_FAILURE_PROTOCOL_ERROR;
	struct xreg_live_state live;

	xreg_live_change(one, fill, &type);
	xreg_live_report(one, &(struct xreg_metrics){.current_iops = 12, .error_rate = 0.5}, 99);
	xreg_live_change(two, fill, &type);
	xreg_target_unref(one);
	xreg_live_get(two, &live);
	assert_true(live.has_metrics);
	assert_int_equal(live.metrics.current_iops, 12);
	assert_int_equal(live.reported_ms, 99);
	assert_int_equal(live.last_seen_ms, 99);
	assert_string_equal(live.probe.problem, "no answer");
	assert_int_equal(live.advice.queue_depth, 64);
	assert_int_equal(live.nr_bad, 2);
	for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
		assert_int_equal(live.failures[i].occurrence_count, i == type ? 2 : 0);
		assert_int_equal(live.failures[i].is_active, i == type);
	}
	assert_string_equal(live.failures[type].description, "it hurts");
	xreg_target_unref(two);
}

static void test_live_without_memory_loses_a_first_failure_only(void **state)
{
	struct xreg_target *target = new_target(NULL);
	enum xreg_failure_type known = XREG_FAILURE_UNKNOWN, fresh = XREG_FAILURE_HIGH_LATENCY;
	struct xreg_live_state live;

	xreg_live_change(target, fill, &known);
	fail_arm_from(1);
	xreg_live_change(target, fill, &known);
	xreg_live_change(target, fill, &fresh);
	assert_true(fail_disarm());
	xreg_live_get(target, &live);
	assert_int_equal(live.failures[known].occurrence_count, 2);
	assert_int_equal(live.failures[fresh].detected_ms, 0);
	assert_int_equal(live.nr_bad, 3);
	xreg_live_change(target, fill, &fresh);
	xreg_live_get(target, &live);
	assert_int_equal(live.failures[fresh].occurrence_count, 1);
	xreg_target_unref(target);
}

/* 10,000 targets that never failed are not to cost more than what is always there. */
static void test_live_is_small_without_failures(void **state)
{
	struct xreg_live *live = xreg_live_new();

	assert_non_null(live);
	assert_true(malloc_usable_size(live) < sizeof(struct xreg_live_state) / 3);
	xreg_live_unref(live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live_keeps_what_was_changed),
		cmocka_unit_test(test_live_without_memory_loses_a_first_failure_only),
		cmocka_unit_test(test_live_is_small_without_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
