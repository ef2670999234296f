/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health monitor in simulated time: how failures are found and told, which state follows and
 * when, how it tries to recover, what it leaves alone, and how it spreads its work. The store and
 * the threads are real ones.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "test/unit/xregistry/fixture.h"
#include "test/unit/xregistry/sim_world.h"

#define S         1000000ull
#define NR_EVENTS 4096u

static struct xreg_store *store;
static struct sim_world *sim;
static struct xreg_monitor *monitor;
static struct xreg_health_config config;

/* What the monitor has told; read while it stands still. */
static struct {
	enum xreg_health_event_kind kind;
	enum xreg_failure_type failure;
	bool is_good;
	uint32_t state, attempt;
	uint64_t at_ms;
	char text[256];
} events[NR_EVENTS];
static uint32_t nr_events, nr_scores;
static char id[XREG_ID_SIZE]; /* of the target that was added last */

static void on_event(void *arg, const struct xreg_health_event *event)
{
	if (event->kind == XREG_HEALTH_SCORE) {
		assert_in_range(abs((int)event->score - (int)event->score_before), 5, 100);
		nr_scores++;
	} else if (nr_events < NR_EVENTS) {
		events[nr_events].kind = event->kind;
		events[nr_events].failure = event->failure;
		events[nr_events].is_good = event->is_good;
		events[nr_events].state = event->state;
		events[nr_events].attempt = event->attempt;
		events[nr_events].at_ms = event->at_ms;
		snprintf(events[nr_events].text, sizeof(events[0].text), "%s", event->text);
		nr_events++;
	}
}

static void run_s(uint64_t seconds)
{
	sim_world_run(sim, monitor, seconds * S);
}

static void start_monitor(void)
{
	struct xu_error err = {0};

	if (xreg_monitor_start(&(struct xreg_monitor_opts){.store = store,
				       .config = &config,
				       .fn = on_event,
				       .world = sim_world_ops(sim)},
		    &monitor, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

static void stop_monitor(void)
{
	sim_world_release(sim);
	xreg_monitor_stop(monitor);
	monitor = NULL;
}

static void set_up(uint32_t nr_machines)
{
	sim = sim_world_new(nr_machines);
	store = fixture_open(&(struct xreg_store_opts){.now_ms = sim_unix_ms, .now_arg = sim});
	xreg_health_config_default(&config);
	config.monitoring_interval_s = 30;
	monitor = NULL;
	nr_events = nr_scores = 0;
}

static int setup(void **state)
{
	fixture_setup(state);
	set_up(20);
	return 0;
}

static int teardown(void **state)
{
	stop_monitor();
	xreg_store_close(store);
	sim_world_free(sim);
	return fixture_teardown(state);
}

/* ---- targets ---- */

static struct xreg_spec spec_of(uint32_t index, char address[32], char nqn[64])
{
	struct xreg_spec spec = fixture_spec();

	sim_address(index, address);
	snprintf(nqn, 64, "nqn.2026-11.io.xsan:%06u", index);
	spec.address = address;
	spec.nqn = nqn;
	spec.security = XREG_SECURITY_NONE;
	spec.ttl_s = 0;
	spec.discovery_interval_s = 0;
	return spec;
}

static void add(const struct xreg_spec *spec, enum xreg_state state)
{
	struct xreg_change change = {
		.op = XREG_REGISTER, .spec = spec, .status = {.state = state, .reason = ""}};

	if (xreg_store_change(store, &change) != 0) {
		fail_msg("%s", change.err.text);
	}
	snprintf(id, sizeof(id), "%s", change.result->origin.id);
	xreg_target_unref(change.result);
}

/* One target and a monitor. */
static void begin_with(enum sim_behaviour behaviour, uint32_t ttl_s, enum xreg_state state)
{
	char address[32], nqn[64];
	struct xreg_spec spec = spec_of(0, address, nqn);

	spec.ttl_s = ttl_s;
	sim_machine(sim, 0)->behaviour = behaviour;
	add(&spec, state);
	start_monitor();
}

static const struct xreg_target *find(struct xreg_view **ret_view)
{
	const struct xreg_target *target;

	*ret_view = xreg_store_view(store);
	target = xreg_view_get(*ret_view, id);
	assert_non_null(target);
	return target;
}

static enum xreg_state state_now(void)
{
	struct xreg_view *view;
	enum xreg_state state = find(&view)->status.state;

	xreg_view_unref(view);
	return state;
}

static void expect_state(enum xreg_state state, const char *reason)
{
	struct xreg_view *view;
	const struct xreg_target *target = find(&view);

	if (target->status.state != state || strstr(target->status.reason, reason) == NULL) {
		fail_msg("%s because of \"%s\", not %s", xreg_state_name(target->status.state),
			target->status.reason, xreg_state_name(state));
	}
	xreg_view_unref(view);
}

static struct xreg_live_state live_now(void)
{
	struct xreg_view *view;
	struct xreg_live_state live;

	xreg_live_get(find(&view), &live);
	xreg_view_unref(view);
	return live;
}

static void report(struct xreg_metrics metrics)
{
	struct xreg_view *view;

	xreg_live_report(find(&view), &metrics, sim_unix_ms(sim));
	xreg_view_unref(view);
}

static void set_state(enum xreg_state state, const char *reason)
{
	struct xreg_change change = {
		.op = XREG_SET_STATUS, .id = id, .status = {.state = state, .reason = reason}};

	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
}

static struct xreg_monitor_stats stats_now(void)
{
	struct xreg_monitor_stats stats;

	xreg_monitor_stats(monitor, &stats);
	return stats;
}

/* Seconds until a state comes, in steps of one; fails after `max_s`. */
static uint32_t run_until(enum xreg_state state, uint32_t max_s)
{
	uint32_t took_s = 0;

	while (state_now() != state) {
		if (took_s++ >= max_s) {
			fail_msg("not %s within %u s", xreg_state_name(state), max_s);
		}
		run_s(1);
	}
	return took_s;
}

static uint32_t count_events(enum xreg_health_event_kind kind)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < nr_events; i++) {
		count += events[i].kind == kind;
	}
	return count;
}

static void expect_event(
	uint32_t at, enum xreg_health_event_kind kind, bool is_good, const char *text)
{
	assert_true(at < nr_events);
	if (events[at].kind != kind || events[at].is_good != is_good ||
		strstr(events[at].text, text) == NULL) {
		fail_msg("event %u is %s (%d): %s", at, xreg_health_event_name(events[at].kind),
			events[at].is_good, events[at].text);
	}
}

/* ---- checks and hysteresis ---- */

static void test_monitor_checks_once_in_an_interval(void **state)
{
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_s(300);
	assert_int_equal(sim_machine(sim, 0)->nr_connections, 10);
	assert_int_equal(stats_now().nr_checks, 10);
	assert_int_equal(stats_now().nr_failed_checks, 0);
	assert_int_equal(stats_now().nr_targets, 1);
	assert_int_equal(live_now().nr_good, 10);
	assert_int_equal(live_now().nr_checks, 10);
	assert_true(live_now().probe.is_good);
	assert_int_equal(live_now().probe.reached, XREG_PROBE_IDENTIFY);
	assert_int_equal(nr_events, 0);
	assert_int_equal(xreg_store_wait(store, 0, 0), 1); /* nothing was written */
}

/* Checks of the target in so many seconds. */
static uint32_t checks_in(uint32_t seconds)
{
	uint32_t before = sim_machine(sim, 0)->nr_connections;

	run_s(seconds);
	return sim_machine(sim, 0)->nr_connections - before;
}

/* Whichever is shorter counts, at once, and what is desired before what the target says. */
static void test_monitor_looks_as_often_as_a_target_wants(void **state)
{
	char address[32], nqn[64];
	struct xreg_spec spec = spec_of(0, address, nqn);
	struct xreg_change change = {.op = XREG_UPDATE, .spec = &spec, .id = id};

	config.monitoring_interval_s = 3600;
	spec.discovery_interval_s = 10;
	add(&spec, XREG_AVAILABLE);
	start_monitor();
	assert_int_equal(checks_in(300), 30);
	fixture_set_config(
		store, id, "{\"discovery_interval\": 7200}"); /* nobody gets fewer than others */
	run_s(10);
	assert_int_equal(checks_in(2 * 3600), 2);
	fixture_set_config(store, id, "{\"discovery_interval\": 5}");
	assert_in_range(checks_in(300), 59, 60);
	spec.has_auto_discovery = false;
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
	run_s(10);
	assert_int_equal(checks_in(2 * 3600), 2);
}

static void test_monitor_measures_latency_by_keep_alive(void **state)
{
	sim_machine(sim, 0)->delay_us = 700;
	sim_machine(sim, 0)->not_ready = 3;
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	for (uint32_t i = 0; i < 31 && live_now().nr_checks == 0; i++) {
		run_s(1);
	}
	assert_int_equal(live_now().probe.keep_alive_us, 700);
	/* A connection, ICReq, Connect, CAP, CC, CSTS four times with pauses, Identify, Keep
	 * Alive. */
	assert_int_equal(live_now().probe.latency_us, 11 * 700 + 3 * 20000);
}

static void test_monitor_makes_unknown_targets_available(void **state)
{
	begin_with(SIM_ANSWERS, 0, XREG_UNKNOWN);
	run_s(30);
	assert_int_equal(state_now(), XREG_UNKNOWN);
	run_s(30);
	expect_state(XREG_AVAILABLE, "monitor: 2 checks in a row were good");
}

static void test_monitor_needs_bad_checks_in_a_row(void **state)
{
	begin_with(SIM_REFUSES, 0, XREG_AVAILABLE);
	run_s(60);
	assert_int_equal(live_now().nr_bad, 2);
	assert_true(live_now().failures[XREG_FAILURE_NETWORK_TIMEOUT].is_active);
	sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
	run_s(30);
	sim_machine(sim, 0)->behaviour = SIM_REFUSES;
	run_s(60);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(live_now().nr_checks, 5);
	assert_int_equal(live_now().nr_failed_checks, 4);
	run_until(XREG_FAILED, 30);
	expect_state(XREG_FAILED, "monitor: no connection to 10.0.0.1 port 4420");
}

/* ---- looks ---- */

static void look_and_run_ms(const char *node_id, enum xreg_look why, uint64_t ms)
{
	xreg_monitor_look(monitor, node_id, why);
	sim_world_run(sim, monitor, ms * 1000);
}

static uint32_t nr_connections(void)
{
	return sim_machine(sim, 0)->nr_connections;
}

/* A target that is well, and whose next check is 29 s away or more. */
static void begin_well(void)
{
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	while (nr_connections() < 2) {
		run_s(1);
	}
}

/* A node whose connection ends is found dead in a moment, with as many bad checks as ever. */
static void test_monitor_looks_at_a_node_that_is_lost(void **state)
{
	begin_well();
	sim_machine(sim, 0)->behaviour = SIM_REFUSES;
	look_and_run_ms("node-1", XREG_LOOK_GONE, 150);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(live_now().nr_bad, 2);
	sim_world_run(sim, monitor, 100000);
	expect_state(XREG_FAILED, "monitor: no connection to 10.0.0.1 port 4420");
	assert_int_equal(live_now().nr_bad, 3);
	assert_int_equal(stats_now().nr_lost, 1);
	/* From now on it is an attempt to recover as ever: not before its time. */
	assert_int_equal(live_now().nr_recovery_attempts, 0);
	run_until(XREG_OFFLINE, 10);
}

/* It may take connections for a moment yet. */
static void test_monitor_looks_again_at_a_node_that_dies_slowly(void **state)
{
	begin_well();
	look_and_run_ms("node-1", XREG_LOOK_GONE, 250);
	assert_int_equal(live_now().nr_bad, 0);
	sim_machine(sim, 0)->behaviour = SIM_CLOSES;
	sim_world_run(sim, monitor, 700000);
	assert_int_equal(state_now(), XREG_FAILED);
}

static void test_monitor_looks_at_a_machine_that_is_silent(void **state)
{
	begin_well();
	sim_machine(sim, 0)->behaviour = SIM_BLACK_HOLE;
	look_and_run_ms("node-1", XREG_LOOK_GONE, 1600);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	sim_world_run(sim, monitor, 200000);
	expect_state(XREG_FAILED, "monitor: no connection to 10.0.0.1 port 4420 within 500 ms");
}

/* Its probes have less time, but are as many as ever. */
static void test_monitor_looks_at_once_at_a_machine_that_was_silent(void **state)
{
	begin_well();
	sim_machine(sim, 0)->behaviour = SIM_BLACK_HOLE;
	look_and_run_ms("node-1", XREG_LOOK_SILENT, 400);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	sim_world_run(sim, monitor, 100000);
	expect_state(XREG_FAILED, "monitor: no connection to 10.0.0.1 port 4420 within 150 ms");
	assert_int_equal(live_now().nr_bad, 3);
}

/* It was only the way to it: nothing is judged by silence alone. */
static void test_monitor_finds_a_silent_machine_well(void **state)
{
	begin_well();
	sim_machine(sim, 0)->delay_us = 40000; /* in all more than there is to connect */
	look_and_run_ms("node-1", XREG_LOOK_SILENT, 5000);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(live_now().nr_bad, 0);
}

/* Also what fails at once is no proof within a moment. */
static void test_monitor_looks_at_a_silent_machine_that_is_refused(void **state)
{
	begin_well();
	sim_machine(sim, 0)->behaviour = SIM_REFUSES;
	look_and_run_ms("node-1", XREG_LOOK_SILENT, 250);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(live_now().nr_bad, 2);
	sim_world_run(sim, monitor, 100000);
	assert_int_equal(state_now(), XREG_FAILED);
}

/* It has as much time as others again. */
static void test_monitor_hears_a_silent_machine_again(void **state)
{
	begin_well();
	sim_machine(sim, 0)->behaviour = SIM_BLACK_HOLE;
	look_and_run_ms("node-1", XREG_LOOK_SILENT, 170);
	assert_int_equal(live_now().nr_bad, 1);
	look_and_run_ms("node-1", XREG_LOOK_COME, 600);
	assert_int_equal(live_now().nr_bad, 2);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	sim_world_run(sim, monitor, 300000);
	assert_int_equal(state_now(), XREG_FAILED);
}

/* A node that has only connected anew costs some checks, and then as many as ever. */
static void test_monitor_looks_a_few_times_only(void **state)
{
	uint32_t before;

	begin_well();
	before = nr_connections();
	look_and_run_ms("node-1", XREG_LOOK_GONE, 5000);
	assert_int_equal(nr_connections() - before, 4);
	run_s(30);
	assert_int_equal(nr_connections() - before, 5);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(nr_events, 0);
}

static void test_monitor_looks_at_a_node_that_is_back(void **state)
{
	config.recovery_backoff_s = 60;
	begin_with(SIM_REFUSES, 0, XREG_AVAILABLE);
	run_until(XREG_FAILED, 90);
	sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
	look_and_run_ms("node-1", XREG_LOOK_GONE, 5000);
	assert_int_equal(state_now(), XREG_FAILED);
	look_and_run_ms("node-1", XREG_LOOK_COME, 150);
	expect_state(XREG_AVAILABLE, "monitor: 2 checks in a row were good");
}

/* What another registry, which has heard of the node, has taken down. */
static void test_monitor_goes_on_with_what_another_has_done(void **state)
{
	config.flap_limit = 3;
	begin_well();
	set_state(XREG_FAILED, XREG_MONITOR_REASON "seen elsewhere");
	run_s(6);
	assert_int_equal(live_now().nr_recovery_attempts, 1);
	assert_int_equal(state_now(), XREG_FAILED);
	run_until(XREG_AVAILABLE, 10);
	expect_state(XREG_AVAILABLE, "monitor: 2 checks in a row were good");
	set_state(XREG_FAILED, XREG_MONITOR_REASON "seen elsewhere");
	run_s(1);
	assert_int_equal(stats_now().nr_held_down, 1);
}

static void test_monitor_looks_at_nothing_else(void **state)
{
	uint32_t before;

	begin_well();
	before = nr_connections();
	look_and_run_ms("node-", XREG_LOOK_GONE, 2000);
	look_and_run_ms("node-1", XREG_LOOK_COME, 2000);
	set_state(XREG_MAINTENANCE, "by hand");
	look_and_run_ms("node-1", XREG_LOOK_GONE, 2000);
	look_and_run_ms("node-1", XREG_LOOK_COME, 2000);
	set_state(XREG_FAILED, "by hand");
	look_and_run_ms("node-1", XREG_LOOK_COME, 2000);
	assert_int_equal(nr_connections(), before);
	assert_int_equal(state_now(), XREG_FAILED);
}

/* ---- recovery from being down ---- */

/* The document's steps: reachability, connection, offline; and back when it answers again. */
static void test_monitor_recovers_from_network_timeouts_step_by_step(void **state)
{
	begin_with(SIM_REFUSES, 0, XREG_AVAILABLE);
	run_until(XREG_FAILED, 90);
	run_s(6);
	expect_event(0, XREG_HEALTH_FAILURE, false, "network_timeout (high): no connection");
	expect_event(1, XREG_HEALTH_STATE, false, "no connection to 10.0.0.1 port 4420");
	expect_event(2, XREG_HEALTH_STEP, true, "step 1, reachability: the machine answers");
	expect_event(3, XREG_HEALTH_STEP, false, "step 2, NVMe connection: no connection");
	expect_event(4, XREG_HEALTH_STEP, false, "step 3, marked offline");
	expect_event(5, XREG_HEALTH_STATE, false, "its machine answers, but");
	assert_int_equal(nr_events, 6);
	assert_int_equal(state_now(), XREG_OFFLINE);
	assert_int_equal(live_now().nr_recovery_attempts, 1);
	assert_true(live_now().failures[XREG_FAILURE_NETWORK_TIMEOUT].auto_recovery_attempted);
	assert_int_equal(stats_now().nr_offline, 1);

	sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
	run_until(XREG_AVAILABLE, 30);
	expect_state(XREG_AVAILABLE, "monitor: 2 checks in a row were good");
	assert_int_equal(stats_now().nr_recoveries, 1);
	assert_int_equal(live_now().nr_recovery_attempts, 0);
	assert_false(live_now().failures[XREG_FAILURE_NETWORK_TIMEOUT].is_active);
	assert_int_equal(count_events(XREG_HEALTH_CLEARED), 1);
}

/* A machine that cannot be reached stays failed until the failover time-out; attempts get rare. */
static void test_monitor_backs_off_from_black_holes(void **state)
{
	uint32_t attempts[16], nr_attempts = 0;

	config.failover_timeout_s = 300;
	begin_with(SIM_BLACK_HOLE, 0, XREG_AVAILABLE);
	run_until(XREG_FAILED, 130);
	assert_in_range(run_until(XREG_OFFLINE, 420), 299, 421);
	expect_state(XREG_OFFLINE, "monitor: it has not recovered for 300 s");
	run_s(600);
	for (uint32_t i = 0; i < nr_events; i++) {
		if (events[i].kind == XREG_HEALTH_STEP) {
			assert_false(events[i].is_good);
			assert_non_null(strstr(events[i].text, "step 1, reachability: no conn"));
			assert_true(nr_attempts < 16);
			attempts[nr_attempts++] = (uint32_t)(events[i].at_ms / 1000);
		}
	}
	assert_in_range(nr_attempts, 7, 13);
	/* The time of a probe and what lies between: 10 + 10, 20, 40, 80, 120, 120 … */
	assert_int_equal(attempts[1] - attempts[0], 20);
	assert_int_equal(attempts[2] - attempts[1], 30);
	assert_int_equal(attempts[3] - attempts[2], 50);
	assert_int_equal(attempts[nr_attempts - 1] - attempts[nr_attempts - 2], 130);
}

static void test_monitor_holds_down_what_flaps(void **state)
{
	uint64_t held_s;

	config.hold_down_s = 300;
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_s(30);
	for (uint32_t i = 0; i < 3; i++) {
		sim_machine(sim, 0)->behaviour = SIM_REFUSES;
		run_until(XREG_FAILED, 91);
		sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
		if (i < 2) {
			run_until(XREG_AVAILABLE, 60);
		}
	}
	assert_int_equal(count_events(XREG_HEALTH_FLAPPING), 1);
	assert_int_equal(live_now().nr_flaps, 5);
	assert_int_equal(stats_now().nr_held_down, 1);
	held_s = (live_now().held_down_until_ms - sim_unix_ms(sim)) / 1000;
	assert_in_range(held_s, 295, 300);
	run_s(290);
	assert_int_not_equal(state_now(), XREG_AVAILABLE);
	run_until(XREG_AVAILABLE, 60);
	assert_int_equal(stats_now().nr_held_down, 0);
	/* Again at once: twice as long. */
	sim_machine(sim, 0)->behaviour = SIM_REFUSES;
	run_until(XREG_FAILED, 91);
	sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
	if (live_now().nr_flaps >= 4) {
		assert_in_range(
			(live_now().held_down_until_ms - sim_unix_ms(sim)) / 1000, 590, 600);
	}
}

/* ---- what each peer means ---- */

static void expect_after_checks(enum sim_behaviour behaviour, enum xreg_failure_type type,
	enum xreg_state state, const char *problem)
{
	struct xreg_live_state live;

	begin_with(behaviour, 0, XREG_AVAILABLE);
	run_s(40);
	live = live_now();
	assert_false(live.probe.is_good);
	if (live.probe.failure != type || strstr(live.probe.problem, problem) == NULL) {
		fail_msg("%s: %s", xreg_failure_name(live.probe.failure), live.probe.problem);
	}
	assert_true(live.failures[type].is_active);
	run_s(85);
	assert_int_equal(state_now(), state);
}

static void test_monitor_garbage_is_a_protocol_error(void **state)
{
	expect_after_checks(
		SIM_GARBAGE, XREG_FAILURE_PROTOCOL_ERROR, XREG_FAILED, "what came is not NVMe/TCP");
	run_s(400); /* the machine answers, so this is no way to be offline but by time */
	expect_state(XREG_OFFLINE, "it has not recovered for 300 s");
}

static void test_monitor_another_name_is_a_protocol_error(void **state)
{
	expect_after_checks(SIM_OTHER_NAME, XREG_FAILURE_PROTOCOL_ERROR, XREG_FAILED,
		"Identify names another subsystem");
}

static void test_monitor_silence_is_a_timeout(void **state)
{
	expect_after_checks(SIM_SILENT, XREG_FAILURE_NETWORK_TIMEOUT, XREG_OFFLINE,
		"has not answered ICReq within 10000 ms");
}

static void test_monitor_a_closed_connection_is_a_timeout(void **state)
{
	expect_after_checks(SIM_CLOSES, XREG_FAILURE_NETWORK_TIMEOUT, XREG_OFFLINE,
		"closed the connection before its answer to ICReq");
}

static void test_monitor_a_fatal_controller_is_a_hardware_error(void **state)
{
	expect_after_checks(SIM_IS_BROKEN, XREG_FAILURE_HARDWARE_ERROR, XREG_FAILED,
		"the controller has a fatal error");
}

/* Who turns the registry away is there. */
static void test_monitor_a_host_that_is_not_allowed_fails_nothing(void **state)
{
	expect_after_checks(SIM_FORBIDS, XREG_FAILURE_AUTHENTICATION, XREG_AVAILABLE,
		"status 1/84: this registry's host NQN is not allowed");
	assert_int_equal(live_now().nr_failed_checks, 0);
}

static void test_monitor_wanted_authentication_fails_nothing(void **state)
{
	expect_after_checks(SIM_WANTS_AUTH, XREG_FAILURE_AUTHENTICATION, XREG_AVAILABLE,
		"a wish for authentication");
}

static void test_monitor_a_full_target_is_busy(void **state)
{
	expect_after_checks(SIM_IS_FULL, XREG_FAILURE_RESOURCE_EXHAUSTION, XREG_BUSY,
		"it has no controller left");
	sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
	run_until(XREG_AVAILABLE, 61);
}

static void test_monitor_own_lack_of_descriptors_is_no_failure(void **state)
{
	begin_with(SIM_NO_ROOM, 0, XREG_AVAILABLE);
	run_s(200);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(stats_now().nr_checks, 0);
	sim_machine(sim, 0)->behaviour = SIM_ANSWERS;
	run_s(2);
	assert_int_equal(live_now().nr_good, 1);
}

/* Behind TLS only the connection itself can be tried; other transports not even that. */
static void test_monitor_probes_only_what_it_can(void **state)
{
	char address[32], nqn[64];
	struct xreg_spec spec = spec_of(0, address, nqn);

	sim_machine(sim, 0)->behaviour = SIM_GARBAGE;
	sim_machine(sim, 1)->behaviour = SIM_REFUSES;
	spec.security = XREG_SECURITY_TLS;
	add(&spec, XREG_AVAILABLE);
	start_monitor();
	run_s(31);
	assert_int_equal(live_now().probe.reached, XREG_PROBE_TCP);
	assert_true(live_now().probe.is_good);
	spec = spec_of(1, address, nqn);
	spec.transport = XREG_RDMA;
	add(&spec, XREG_AVAILABLE);
	run_s(300);
	assert_int_equal(sim_machine(sim, 1)->nr_connections, 0);
	assert_int_equal(live_now().nr_checks, 0);
	/* Of it nothing is known but reports, each of which counts once. */
	report((struct xreg_metrics){.current_latency_us = 5000});
	run_s(300);
	assert_int_equal(live_now().nr_checks, 1);
	assert_int_equal(live_now().nr_bad, 1);
}

/* ---- reports ---- */

static void test_monitor_without_reports_goes_offline(void **state)
{
	begin_with(SIM_ANSWERS, 90, XREG_AVAILABLE);
	run_s(60);
	report((struct xreg_metrics){.current_iops = 20000});
	run_s(89);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	run_s(2);
	expect_state(XREG_OFFLINE, "monitor: it has not reported for 90 s");
	assert_int_equal(stats_now().nr_expired, 1);
	assert_true(live_now().failures[XREG_FAILURE_NETWORK_TIMEOUT].is_active);
	assert_string_equal(live_now().failures[XREG_FAILURE_NETWORK_TIMEOUT].description,
		"no report for 90 s");
	run_s(200);
	assert_int_equal(state_now(), XREG_OFFLINE);
	report((struct xreg_metrics){.current_iops = 20000});
	run_until(XREG_AVAILABLE, 45);
}

static void test_monitor_a_report_in_time_keeps_it(void **state)
{
	begin_with(SIM_ANSWERS, 90, XREG_AVAILABLE);
	for (uint32_t i = 0; i < 10; i++) {
		run_s(80);
		report((struct xreg_metrics){.current_iops = 20000, .active_connections = i / 5});
	}
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(stats_now().nr_expired, 0);
	assert_int_equal(count_events(XREG_HEALTH_CONNECTIONS), 1);
}

/* Whichever way the clock is set, a target that reports in time stays, one that does not goes. */
static void test_monitor_bears_a_clock_that_is_set(void **state)
{
	static const int64_t by_s[] = {86400, -2 * 86400};

	begin_with(SIM_ANSWERS, 90, XREG_AVAILABLE);
	for (uint32_t i = 0; i < 2; i++) {
		run_s(60);
		report((struct xreg_metrics){.current_iops = 20000});
		run_s(30);
		sim_set_clock(sim, by_s[i]);
		run_s(85);
		assert_int_equal(state_now(), XREG_AVAILABLE);
		report((struct xreg_metrics){.current_iops = 20000});
	}
	assert_int_equal(stats_now().nr_expired, 0);
	sim_set_clock(sim, -86400);
	run_until(XREG_OFFLINE, 92);
}

static void run_reporting(uint32_t nr_times, struct xreg_metrics metrics)
{
	for (uint32_t i = 0; i < nr_times; i++) {
		report(metrics);
		run_s(30);
	}
}

/* The advice is halved down to what is least, and raised again. */
static void test_monitor_advises_less_while_latency_is_high(void **state)
{
	uint32_t before = 0;

	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_reporting(2, (struct xreg_metrics){.current_iops = 20000, .current_latency_us = 1500});
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(live_now().advice.queue_depth, 0);
	run_reporting(1, (struct xreg_metrics){.current_iops = 20000, .current_latency_us = 1500});
	expect_state(XREG_DEGRADED, "monitor: the latency is 1500 us, more than 1000 us");
	assert_int_equal(live_now().advice.queue_depth, 64);
	assert_int_equal(live_now().advice.max_io_bytes, 512 * 1024);
	assert_int_equal(
		live_now().failures[XREG_FAILURE_HIGH_LATENCY].severity, XREG_SEVERITY_MEDIUM);
	for (uint32_t i = 0; i < 40; i++) {
		run_reporting(1,
			(struct xreg_metrics){.current_iops = 20000, .current_latency_us = 1500});
		assert_true(i == 0 || live_now().advice.queue_depth <= before);
		before = live_now().advice.queue_depth;
	}
	assert_int_equal(nr_scores, 1); /* when it was degraded */
	assert_int_equal(live_now().advice.queue_depth, 8);
	assert_int_equal(live_now().advice.max_io_bytes, 4096);
	assert_int_equal(live_now().failures[XREG_FAILURE_HIGH_LATENCY].occurrence_count, 43);
	run_reporting(2, (struct xreg_metrics){.current_iops = 20000, .current_latency_us = 100});
	assert_int_equal(state_now(), XREG_AVAILABLE);
	run_reporting(40, (struct xreg_metrics){.current_iops = 20000, .current_latency_us = 100});
	assert_int_equal(live_now().advice.queue_depth, 0);
	assert_int_equal(live_now().advice.max_io_bytes, 0);
	assert_int_equal(live_now().advice.since_ms, 0);
	assert_in_range(count_events(XREG_HEALTH_STEP), 12, 20);
}

static void test_monitor_judges_errors_and_load(void **state)
{
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_reporting(3, (struct xreg_metrics){.load_percentage = 81});
	expect_state(XREG_BUSY, "monitor: the load is 81 %, more than 80 %");
	assert_int_equal(live_now().advice.queue_depth, 64);
	assert_int_equal(live_now().advice.max_io_bytes, 0);
	run_reporting(3, (struct xreg_metrics){.error_rate = 0.02});
	expect_state(XREG_DEGRADED, "monitor: 0.02 of all I/Os fail, more than 0.01");
	run_reporting(3, (struct xreg_metrics){.error_rate = 0.1});
	expect_state(XREG_FAILED, "monitor: 0.1 of all I/Os fail, far more than 0.01");
	run_s(20);
	expect_event(nr_events - 1, XREG_HEALTH_STEP, true, "step 2, NVMe connection: it works");
	assert_int_equal(events[nr_events - 1].failure, XREG_FAILURE_HIGH_ERROR_RATE);
	assert_int_equal(state_now(), XREG_FAILED);
	run_reporting(3, (struct xreg_metrics){.load_percentage = 100});
	expect_state(XREG_BUSY, "monitor: 2 checks in a row were better");
	run_reporting(3, (struct xreg_metrics){.memory_usage = 0.96});
	assert_int_equal(state_now(), XREG_BUSY);
	run_reporting(3, (struct xreg_metrics){.active_connections = 31});
	assert_int_equal(state_now(), XREG_AVAILABLE);
	run_reporting(3, (struct xreg_metrics){.active_connections = 32});
	expect_state(XREG_BUSY, "monitor: all of its 32 connections are taken");
}

static void test_monitor_old_reports_are_not_judged(void **state)
{
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_reporting(3, (struct xreg_metrics){.current_latency_us = 1500});
	assert_int_equal(state_now(), XREG_DEGRADED);
	run_s(400);
	assert_int_equal(state_now(), XREG_AVAILABLE);
}

/* ---- what belongs to others ---- */

static void test_monitor_leaves_maintenance_alone(void **state)
{
	begin_with(SIM_REFUSES, 60, XREG_MAINTENANCE);
	run_s(600);
	assert_int_equal(state_now(), XREG_MAINTENANCE);
	assert_int_equal(nr_events, 0);
	assert_int_equal(sim_machine(sim, 0)->nr_connections, 0);
	set_state(XREG_AVAILABLE, "done");
	run_until(XREG_OFFLINE, 31); /* nobody has reported all the while */
}

static void test_monitor_leaves_what_others_took_down(void **state)
{
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	set_state(XREG_OFFLINE, "the operator said so");
	run_s(300);
	expect_state(XREG_OFFLINE, "the operator said so");
	set_state(XREG_DEGRADED, "the operator said so");
	run_s(300);
	expect_state(XREG_DEGRADED, "the operator said so");
	assert_int_equal(stats_now().nr_state_changes, 0);
	sim_machine(sim, 0)->behaviour = SIM_REFUSES;
	run_until(XREG_FAILED, 91); /* worse it may get */
	set_state(XREG_AVAILABLE, "try again");
	run_s(29);
	assert_int_equal(state_now(), XREG_AVAILABLE); /* with as many checks as any */
	run_until(XREG_FAILED, 120);
}

static void test_monitor_without_failover_only_tells(void **state)
{
	config.auto_failover_enabled = false;
	begin_with(SIM_REFUSES, 0, XREG_AVAILABLE);
	run_s(600);
	assert_int_equal(state_now(), XREG_AVAILABLE);
	assert_int_equal(count_events(XREG_HEALTH_FAILURE), 1);
	assert_int_equal(count_events(XREG_HEALTH_STEP), 0);
	assert_int_equal(live_now().nr_bad, 20);
}

/* What the monitor before this one took down is this one's to bring back. */
static void test_monitor_goes_on_after_a_restart(void **state)
{
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	set_state(XREG_OFFLINE, XREG_MONITOR_REASON "it was down");
	run_until(XREG_AVAILABLE, 45);
}

/* ---- changes meanwhile ---- */

static void test_monitor_follows_targets_that_come_move_and_go(void **state)
{
	char address[32], nqn[64];
	struct xreg_spec spec = spec_of(1, address, nqn);
	struct xreg_change change = {.op = XREG_UPDATE, .spec = &spec};

	begin_with(SIM_BLACK_HOLE, 0, XREG_AVAILABLE);
	change.id = id;
	run_s(30);
	while (stats_now().nr_probes == 0) {
		run_s(1);
	}
	assert_int_equal(xreg_store_change(store, &change), 0); /* in the middle of a probe */
	xreg_target_unref(change.result);
	run_s(2);
	assert_int_equal(sim_machine(sim, 1)->nr_connections, 1);
	assert_int_equal(live_now().nr_good, 1);
	assert_int_equal(live_now().nr_bad, 0);

	spec = spec_of(2, address, nqn);
	sim_machine(sim, 2)->behaviour = SIM_BLACK_HOLE;
	add(&spec, XREG_AVAILABLE);
	run_s(31);
	assert_int_equal(stats_now().nr_targets, 2);
	while (stats_now().nr_probes == 0) {
		run_s(1);
	}
	change = (struct xreg_change){.op = XREG_UNREGISTER, .id = id};
	assert_int_equal(xreg_store_change(store, &change), 0);
	xreg_target_unref(change.result);
	run_s(60);
	assert_int_equal(stats_now().nr_targets, 1);
	assert_int_equal(stats_now().nr_probes, 0);
}

static void test_monitor_takes_another_configuration(void **state)
{
	struct xu_error err = {0};

	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_s(60);
	config.monitoring_interval_s = 5;
	config.probe_level = XREG_PROBE_TCP;
	assert_int_equal(xreg_monitor_configure(monitor, &config, &err), 0);
	run_s(50);
	assert_in_range(live_now().nr_checks, 11, 13);
	assert_int_equal(live_now().probe.reached, XREG_PROBE_TCP);
	config.monitoring_interval_s = 0;
	assert_int_equal(xreg_monitor_configure(monitor, &config, &err), -EINVAL);
	xreg_monitor_config(monitor, &config);
	assert_int_equal(config.monitoring_interval_s, 5);
}

/* ---- many ---- */

static void add_more(uint32_t first, uint32_t count)
{
	struct xreg_change *changes = calloc(count, sizeof(*changes));
	char(*texts)[96] = calloc(count, sizeof(*texts));
	struct xreg_spec *specs = calloc(count, sizeof(*specs));

	assert_true(changes != NULL && texts != NULL && specs != NULL);
	for (uint32_t i = 0; i < count; i++) {
		specs[i] = spec_of(first + i, texts[i], texts[i] + 32);
		changes[i] = (struct xreg_change){.op = XREG_REGISTER,
			.spec = &specs[i],
			.status = {.state = XREG_AVAILABLE, .reason = ""}};
	}
	fixture_change_all(store, changes, count);
	free(changes);
	free(texts);
	free(specs);
}

/* More changes at once than the store keeps events: everything is walked over. */
static void test_monitor_catches_up_without_events(void **state)
{
	xreg_store_close(store);
	store = fixture_open(&(struct xreg_store_opts){
		.now_ms = sim_unix_ms, .now_arg = sim, .nr_events_kept = 2});
	begin_with(SIM_ANSWERS, 0, XREG_AVAILABLE);
	run_s(1);
	add_more(1, 7);
	run_s(31);
	assert_int_equal(stats_now().nr_targets, 8);
	assert_in_range(stats_now().nr_checks, 8, 10);
}

/* No burst, neither at the start nor later, and not more probes at a time than allowed. */
static void test_monitor_spreads_ten_thousand_targets(void **state)
{
	struct xreg_monitor_stats stats;

	xreg_store_close(store);
	sim_world_free(sim);
	fixture_teardown(state);
	fixture_setup(state);
	set_up(10000);
	add_more(0, 10000);
	for (uint32_t i = 0; i < 10000; i++) {
		sim_machine(sim, i)->delay_us = 1000;
	}
	start_monitor();
	run_s(90);
	stats = stats_now();
	assert_int_equal(stats.nr_targets, 10000);
	assert_in_range(stats.nr_checks, 29900, 30000);
	assert_int_equal(stats.nr_failed_checks, 0);
	print_message("10,000 targets: at most %u probes at a time, %u begun within a second\n",
		sim_world_most_open(sim), sim_world_most_opened(sim));
	assert_in_range(sim_world_most_opened(sim), 300, 420);
	assert_in_range(sim_world_most_open(sim), 1, config.max_probes);
}

/* When all of them vanish, probes wait for a place; all are found out in the end. */
static void test_monitor_bounds_probes_when_all_vanish(void **state)
{
	struct xreg_monitor_stats stats;

	xreg_store_close(store);
	sim_world_free(sim);
	fixture_teardown(state);
	fixture_setup(state);
	set_up(600);
	config.max_probes = 64;
	config.health_check_timeout_s = 2;
	config.blind_share_pct = 0;
	add_more(0, 600);
	for (uint32_t i = 0; i < 600; i++) {
		sim_machine(sim, i)->behaviour = SIM_BLACK_HOLE;
	}
	start_monitor();
	run_s(150);
	stats = stats_now();
	assert_int_equal(stats.nr_failed, 600);
	assert_in_range(sim_world_most_open(sim), 30, 64);
	for (uint32_t i = 0; i < 600; i++) {
		sim_machine(sim, i)->behaviour = SIM_ANSWERS;
	}
	run_s(150);
	stats = stats_now();
	assert_int_equal(stats.nr_failed + stats.nr_offline, 0);
	assert_int_equal(stats.nr_recoveries, 600);
}

/* ---- blind ---- */

static void set_all(uint32_t from, uint32_t to, enum sim_behaviour behaviour)
{
	for (uint32_t i = from; i < to; i++) {
		sim_machine(sim, i)->behaviour = behaviour;
	}
}

static uint32_t count_told(enum xreg_health_event_kind kind)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < nr_events; i++) {
		count += events[i].kind == kind;
	}
	return count;
}

static void expect_told(enum xreg_health_event_kind kind, const char *text)
{
	for (uint32_t i = 0; i < nr_events; i++) {
		if (events[i].kind == kind && strstr(events[i].text, text) != NULL) {
			return;
		}
	}
	fail_msg("no %s tells of %s", xreg_health_event_name(kind), text);
}

/* One of them reports; of the first `left`, NULL: of all. */
static bool report_one(void *arg, const struct xreg_target *target)
{
	uint32_t *left = arg;

	if (left != NULL && (*left)-- == 0) {
		return false;
	}
	xreg_live_report(target, &(struct xreg_metrics){.current_iops = 50000}, sim_unix_ms(sim));
	return true;
}

/* Eight machines, and all are silent at once: it is the registry's network. */
static void test_monitor_loses_its_network(void **state)
{
	struct xreg_monitor_stats stats;

	config.failover_timeout_s = 60;
	add_more(0, 8);
	start_monitor();
	run_s(60);
	assert_false(stats_now().is_blind);
	set_all(0, 8, SIM_BLACK_HOLE);
	run_s(3600);
	stats = stats_now();
	assert_true(stats.is_blind);
	assert_int_equal(stats.nr_blind, 1);
	assert_int_equal(stats.nr_state_changes, 0);
	assert_int_equal(stats.nr_failed + stats.nr_offline, 0);
	assert_int_equal(count_told(XREG_HEALTH_BLIND), 1);
	/* What was found before it was known is all that was told. */
	assert_in_range(count_told(XREG_HEALTH_FAILURE), 1, 8);
	set_all(0, 8, SIM_ANSWERS);
	run_s(120);
	stats = stats_now();
	assert_false(stats.is_blind);
	assert_int_equal(stats.nr_state_changes, 0);
	assert_int_equal(count_told(XREG_HEALTH_SIGHTED), 1);
	assert_int_equal(count_told(XREG_HEALTH_CLEARED), count_told(XREG_HEALTH_FAILURE));
}

/* Who is still silent when the others are back has failed, after as many checks as any. */
static void test_monitor_judges_again_when_it_sees(void **state)
{
	add_more(0, 8);
	start_monitor();
	run_s(60);
	set_all(0, 8, SIM_BLACK_HOLE);
	run_s(300);
	assert_true(stats_now().is_blind);
	set_all(0, 6, SIM_ANSWERS);
	run_s(60);
	assert_false(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed, 0);
	run_s(120);
	assert_int_equal(stats_now().nr_failed, 2);
	assert_int_equal(stats_now().nr_state_changes, 2);
}

/* A share of them, and machines that turn us away, are judged as always. */
static void test_monitor_is_not_blind_to_some_that_fail(void **state)
{
	add_more(0, 8);
	start_monitor();
	run_s(60);
	set_all(0, 6, SIM_BLACK_HOLE);
	run_s(150);
	assert_int_equal(stats_now().nr_failed, 6);
	set_all(6, 8, SIM_REFUSES);
	run_s(150);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 8);
	assert_int_equal(stats_now().nr_blind, 0);
}

/* One machine has all of the targets. */
static void test_monitor_is_not_blind_to_one_machine(void **state)
{
	char address[32], nqn[64];

	for (uint32_t i = 0; i < 8; i++) {
		struct xreg_spec spec = spec_of(i, address, nqn);

		sim_address(0, address);
		add(&spec, XREG_AVAILABLE);
	}
	sim_machine(sim, 0)->behaviour = SIM_BLACK_HOLE;
	start_monitor();
	run_s(150);
	assert_int_equal(stats_now().nr_failed, 8);
	assert_int_equal(stats_now().nr_blind, 0);
}

/* Reports that come say that the network is there, so probes that fail are the targets'. */
static void test_monitor_that_is_reported_to_is_not_blind(void **state)
{
	add_more(0, 8);
	start_monitor();
	set_all(0, 8, SIM_BLACK_HOLE);
	for (uint32_t i = 0; i < 15; i++) {
		struct xreg_view *view = xreg_store_view(store);

		xreg_view_each(view, XREG_BY_ID, "", true, report_one, NULL);
		xreg_view_unref(view);
		run_s(10);
	}
	assert_int_equal(stats_now().nr_failed, 8);
	assert_int_equal(stats_now().nr_blind, 0);
}

/* Twenty machines, of which these answer while all others are really dead. */
static void lose_all_but(uint32_t nr_left)
{
	add_more(0, 20);
	start_monitor();
	run_s(60);
	set_all(nr_left, 20, SIM_BLACK_HOLE);
	run_s(90);
	assert_true(stats_now().is_blind);
	assert_int_equal(stats_now().nr_state_changes, 0);
}

/* Two that answer on and on prove that there is a network, so the others have failed. */
static void test_monitor_believes_after_a_proof(void **state)
{
	config.blind_proof_s = 600;
	lose_all_but(2);
	run_s(480);
	assert_true(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 0);
	run_s(130 + 150); /* and as many checks as any */
	assert_false(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 18);
	assert_int_equal(stats_now().nr_blind, 1);
	expect_told(XREG_HEALTH_SIGHTED, "blind_proof_sec");
	/* They are judged as always now, and when they are back it can become blind anew. */
	set_all(0, 20, SIM_ANSWERS);
	run_s(300);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 0);
	set_all(0, 20, SIM_BLACK_HOLE);
	run_s(300);
	assert_int_equal(stats_now().nr_blind, 2);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 0);
}

/* What has stopped is no proof, nor is what is on the registry's own machine. */
static void test_monitor_needs_a_lasting_proof(void **state)
{
	config.blind_proof_s = 300;
	config.blind_max_s = 0;
	sim_machine(sim, 0)->is_here = true;
	lose_all_but(2);
	for (uint32_t i = 0; i < 20; i++) {
		run_s(200);
		set_all(1, 2, SIM_BLACK_HOLE);
		run_s(300);
		set_all(1, 2, SIM_ANSWERS);
	}
	assert_true(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 0);
	/* One that turns us away is there as well. */
	set_all(1, 2, SIM_REFUSES);
	run_s(300 + 300 + 150);
	assert_false(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 19);
}

/* Reports prove it too, of those whose targets cannot be reached. */
static void test_monitor_believes_reports(void **state)
{
	config.blind_proof_s = 300;
	config.blind_max_s = 0;
	lose_all_but(0);
	run_s(3600);
	assert_true(stats_now().is_blind);
	for (uint32_t i = 0; i < 16; i++) {
		struct xreg_view *view = xreg_store_view(store);
		uint32_t left = 1;

		xreg_view_each(view, XREG_BY_ID, "", true, report_one, &left);
		xreg_view_unref(view);
		run_s(30);
	}
	assert_false(stats_now().is_blind);
	run_s(120);
	assert_true(stats_now().nr_failed + stats_now().nr_offline >= 19);
}

/* Without any sign of others it ends at last, or never. */
static void test_monitor_is_not_blind_for_ever(void **state)
{
	config.blind_max_s = 7200;
	lose_all_but(0);
	run_s(7000);
	assert_true(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 0);
	run_s(400);
	assert_false(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 20);
	assert_int_equal(stats_now().nr_blind, 1);
	expect_told(XREG_HEALTH_SIGHTED, "blind_max_sec");
}

static void test_monitor_can_be_blind_for_ever(void **state)
{
	config.blind_max_s = config.blind_proof_s = 0;
	lose_all_but(2);
	run_s(100000);
	assert_true(stats_now().is_blind);
	assert_int_equal(stats_now().nr_failed + stats_now().nr_offline, 0);
}

/* Nothing is probed: then it is reports that are missing, and no time to live runs out. */
static void test_monitor_is_blind_without_reports(void **state)
{
	char address[32], nqn[64];

	config.probe_level = XREG_PROBE_NONE;
	config.monitoring_interval_s = 10;
	for (uint32_t i = 0; i < 8; i++) {
		struct xreg_spec spec = spec_of(i, address, nqn);

		spec.ttl_s = 60;
		add(&spec, XREG_AVAILABLE);
	}
	start_monitor();
	run_s(600);
	assert_true(stats_now().is_blind);
	assert_int_equal(stats_now().nr_expired, 0);
	assert_int_equal(stats_now().nr_offline, 0);
	/* They are back, and one is not. */
	for (uint32_t i = 0; i < 30; i++) {
		struct xreg_view *view = xreg_store_view(store);
		uint32_t left = 7;

		xreg_view_each(view, XREG_BY_ID, "", true, report_one, &left);
		xreg_view_unref(view);
		run_s(10);
	}
	assert_false(stats_now().is_blind);
	assert_int_equal(stats_now().nr_offline, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_monitor_checks_once_in_an_interval),
		T(test_monitor_looks_as_often_as_a_target_wants),
		T(test_monitor_measures_latency_by_keep_alive),
		T(test_monitor_makes_unknown_targets_available),
		T(test_monitor_needs_bad_checks_in_a_row),
		T(test_monitor_looks_at_a_node_that_is_lost),
		T(test_monitor_looks_again_at_a_node_that_dies_slowly),
		T(test_monitor_looks_at_a_machine_that_is_silent),
		T(test_monitor_looks_at_once_at_a_machine_that_was_silent),
		T(test_monitor_finds_a_silent_machine_well),
		T(test_monitor_looks_at_a_silent_machine_that_is_refused),
		T(test_monitor_hears_a_silent_machine_again),
		T(test_monitor_looks_a_few_times_only),
		T(test_monitor_looks_at_a_node_that_is_back),
		T(test_monitor_looks_at_nothing_else),
		T(test_monitor_goes_on_with_what_another_has_done),
		T(test_monitor_recovers_from_network_timeouts_step_by_step),
		T(test_monitor_backs_off_from_black_holes),
		T(test_monitor_holds_down_what_flaps),
		T(test_monitor_garbage_is_a_protocol_error),
		T(test_monitor_another_name_is_a_protocol_error),
		T(test_monitor_silence_is_a_timeout),
		T(test_monitor_a_closed_connection_is_a_timeout),
		T(test_monitor_a_fatal_controller_is_a_hardware_error),
		T(test_monitor_a_host_that_is_not_allowed_fails_nothing),
		T(test_monitor_wanted_authentication_fails_nothing),
		T(test_monitor_a_full_target_is_busy),
		T(test_monitor_own_lack_of_descriptors_is_no_failure),
		T(test_monitor_probes_only_what_it_can),
		T(test_monitor_without_reports_goes_offline),
		T(test_monitor_a_report_in_time_keeps_it),
		T(test_monitor_bears_a_clock_that_is_set),
		T(test_monitor_advises_less_while_latency_is_high),
		T(test_monitor_judges_errors_and_load),
		T(test_monitor_old_reports_are_not_judged),
		T(test_monitor_leaves_maintenance_alone),
		T(test_monitor_leaves_what_others_took_down),
		T(test_monitor_without_failover_only_tells),
		T(test_monitor_goes_on_after_a_restart),
		T(test_monitor_follows_targets_that_come_move_and_go),
		T(test_monitor_takes_another_configuration),
		T(test_monitor_catches_up_without_events),
		T(test_monitor_spreads_ten_thousand_targets),
		T(test_monitor_bounds_probes_when_all_vanish),
		T(test_monitor_loses_its_network),
		T(test_monitor_judges_again_when_it_sees),
		T(test_monitor_is_not_blind_to_some_that_fail),
		T(test_monitor_is_not_blind_to_one_machine),
		T(test_monitor_that_is_reported_to_is_not_blind),
		T(test_monitor_believes_after_a_proof),
		T(test_monitor_needs_a_lasting_proof),
		T(test_monitor_believes_reports),
		T(test_monitor_is_not_blind_for_ever),
		T(test_monitor_can_be_blind_for_ever),
		T(test_monitor_is_blind_without_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
