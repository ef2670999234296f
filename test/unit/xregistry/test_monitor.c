/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health monitor with the system's clock and sockets, over loopback: against our NVMe/TCP
 * target, a port where nobody listens, one that takes connections and says nothing, and one that
 * talks HTTP. Run it under ThreadSanitizer too: target, store and monitor are threads of their own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/xnvmf/target/target.h"
#include "lib/xregistry/monitor.h"
#include "test/unit/xbdev/harness.h"
#include "test/unit/xregistry/fixture.h"

#define NQN        "nqn.2026-11.io.xsan:probed"
#define PATIENCE_S 60

static struct harness node;
static struct xnvmf_target *target;
static struct xnvmf_subsystem *subsystem;
static bool has_node, is_stopped;
static struct xreg_store *store;
static struct xreg_monitor *monitor;
static struct xreg_health_config config;
static atomic_uint nr_state_events;
static char id[XREG_ID_SIZE];

/* ---- the node ---- */

static uint16_t node_start(void)
{
	const struct xnvmf_subsystem_opts opts = {.nqn = NQN, .allow_any_host = true};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	struct xnvmf_target_opts target_opts;
	struct xu_error err = {0};
	json_t *listeners;
	uint16_t port;

	harness_start_opts(&node, &(struct xbdev_ctx_opts){.nr_reactors = 1}, 1);
	has_node = true;
	xnvmf_target_opts_default(&target_opts);
	assert_int_equal(xnvmf_target_new(node.ctx, &target_opts, &target, &err), 0);
	assert_int_equal(xnvmf_subsystem_add(target, &opts, &subsystem, &err), 0);
	assert_int_equal(xnvmf_listener_add(subsystem, &listener, &err), 0);
	listeners = xnvmf_subsystem_listeners_json(subsystem);
	port = (uint16_t)atoi(json_string_value(json_object_get(
		json_object_get(json_array_get(listeners, 0), "address"), "trsvcid")));
	json_decref(listeners);
	return port;
}

static void on_stopped(void *arg)
{
	is_stopped = true;
}

static void node_stop(void)
{
	is_stopped = false;
	assert_int_equal(xnvmf_target_stop(target, on_stopped, NULL), 0);
	for (uint32_t i = 0; i < 200000 && !is_stopped; i++) {
		harness_poll(&node);
	}
	assert_true(is_stopped);
	xnvmf_target_free(target);
	harness_stop(&node);
	has_node = false;
}

/* ---- the registry ---- */

static void on_event(void *arg, const struct xreg_health_event *event)
{
	if (event->kind == XREG_HEALTH_STATE && event->rc == 0) {
		atomic_fetch_add(&nr_state_events, 1);
	}
}

static int setup(void **state)
{
	fixture_setup(state);
	store = fixture_open(NULL);
	xreg_health_config_default(&config);
	config.monitoring_interval_s = 1;
	config.health_check_timeout_s = 20;
	config.recovery_backoff_s = 1;
	atomic_store(&nr_state_events, 0);
	monitor = NULL;
	return 0;
}

static int teardown(void **state)
{
	xreg_monitor_stop(monitor);
	xreg_store_close(store);
	if (has_node) {
		node_stop();
	}
	return fixture_teardown(state);
}

static void begin(uint16_t port, const char *nqn, enum xreg_state state)
{
	struct xreg_spec spec = fixture_spec();
	struct xreg_change change = {
		.op = XREG_REGISTER, .spec = &spec, .status = {.state = state, .reason = ""}};
	struct xu_error err = {0};

	spec.address = "127.0.0.1";
	spec.port = port;
	spec.nqn = nqn;
	spec.security = XREG_SECURITY_NONE;
	spec.ttl_s = 0;
	assert_int_equal(xreg_store_change(store, &change), 0);
	snprintf(id, sizeof(id), "%s", change.result->origin.id);
	xreg_target_unref(change.result);
	if (xreg_monitor_start(
		    &(struct xreg_monitor_opts){.store = store, .config = &config, .fn = on_event},
		    &monitor, &err) != 0) {
		fail_msg("%s", err.text);
	}
}

static enum xreg_state look(struct xreg_live_state *ret_live)
{
	struct xreg_view *view = xreg_store_view(store);
	const struct xreg_target *found = xreg_view_get(view, id);
	enum xreg_state state = found->status.state;

	xreg_live_get(found, ret_live);
	xreg_view_unref(view);
	return state;
}

/* Lets the node serve until the target has that state and `nr_checks`. */
static struct xreg_live_state wait_for(enum xreg_state state, uint32_t nr_checks)
{
	time_t end = time(NULL) + PATIENCE_S;
	struct xreg_live_state live;

	while (look(&live) != state || live.nr_checks < nr_checks) {
		if (time(NULL) > end) {
			fail_msg("not %s after %u checks: %s", xreg_state_name(state),
				live.nr_checks, live.probe.problem);
		}
		if (has_node) {
			harness_poll(&node);
		} else {
			usleep(1000);
		}
	}
	return live;
}

/* ---- peers ---- */

static int listen_at(uint16_t *ret_port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(sock >= 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(sock, 16), 0);
	assert_int_equal(getsockname(sock, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return sock;
}

static void expect_down(uint16_t port, enum xreg_failure_type type, const char *problem)
{
	struct xreg_live_state live;

	begin(port, NQN, XREG_AVAILABLE);
	live = wait_for(XREG_OFFLINE, 3);
	assert_int_equal(live.probe.failure, type);
	if (strstr(live.probe.problem, problem) == NULL) {
		fail_msg("%s", live.probe.problem);
	}
	assert_true(live.failures[type].is_active);
	/* Failed, then offline; the last is told a moment after it can be seen. */
	for (uint32_t i = 0; i < PATIENCE_S * 1000 && atomic_load(&nr_state_events) < 2; i++) {
		usleep(1000);
	}
	assert_int_equal(atomic_load(&nr_state_events), 2);
}

/* ---- tests ---- */

static void test_monitor_identifies_a_real_target(void **state)
{
	struct xreg_live_state live;
	struct xreg_monitor_stats stats;

	begin(node_start(), NQN, XREG_UNKNOWN);
	live = wait_for(XREG_AVAILABLE, 3);
	assert_true(live.probe.is_good);
	assert_int_equal(live.probe.reached, XREG_PROBE_IDENTIFY);
	assert_in_range(live.probe.keep_alive_us, 1, 20000000);
	assert_true(live.probe.latency_us > live.probe.keep_alive_us);
	assert_string_equal(live.probe.problem, "");
	xreg_monitor_stats(monitor, &stats);
	assert_int_equal(stats.nr_failed_checks, 0);
	assert_int_equal(stats.nr_recoveries, 0);
	print_message("a probe takes %u us, a Keep Alive of it %u us\n", live.probe.latency_us,
		live.probe.keep_alive_us);
}

static void test_monitor_asks_a_real_discovery_subsystem(void **state)
{
	struct xreg_live_state live;

	config.probe_discovery = true;
	begin(node_start(), "nqn.2026-11.io.xsan:elsewhere", XREG_UNKNOWN);
	live = wait_for(XREG_AVAILABLE, 2);
	assert_int_equal(live.probe.reached, XREG_PROBE_IDENTIFY);
	assert_int_equal(live.probe.keep_alive_us, 0);
}

static void test_monitor_is_turned_away_by_a_real_target(void **state)
{
	uint16_t port = node_start();
	struct xreg_live_state live;

	xnvmf_subsystem_allow_any_host(subsystem, false);
	begin(port, NQN, XREG_AVAILABLE);
	live = wait_for(XREG_AVAILABLE, 4);
	assert_false(live.probe.is_good);
	assert_int_equal(live.probe.failure, XREG_FAILURE_AUTHENTICATION);
	assert_true(live.failures[XREG_FAILURE_AUTHENTICATION].is_active);
	assert_int_equal(live.nr_failed_checks, 0);
}

static void test_monitor_misses_a_subsystem_of_a_real_target(void **state)
{
	struct xreg_live_state live;

	begin(node_start(), "nqn.2026-11.io.xsan:elsewhere", XREG_AVAILABLE);
	live = wait_for(XREG_FAILED, 3);
	assert_int_equal(live.probe.reached, XREG_PROBE_ICRESP);
	assert_non_null(strstr(live.probe.problem, "there is no such subsystem"));
}

/* Failed when the node goes away, available when it comes back. */
static void test_monitor_sees_a_real_target_go_and_come_back(void **state)
{
	uint16_t port = node_start();
	struct xnvmf_listener_opts listener = {.trtype = "tcp", .traddr = "127.0.0.1"};
	struct xu_error err = {0};
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	listener.trsvcid = service;
	begin(port, NQN, XREG_AVAILABLE);
	wait_for(XREG_AVAILABLE, 1);
	assert_int_equal(xnvmf_listener_remove(subsystem, "127.0.0.1", service, &err), 0);
	wait_for(XREG_OFFLINE, 4);
	assert_int_equal(xnvmf_listener_add(subsystem, &listener, &err), 0);
	wait_for(XREG_AVAILABLE, 6);
}

static void test_monitor_finds_a_dead_port(void **state)
{
	uint16_t port;

	close(listen_at(&port));
	expect_down(port, XREG_FAILURE_NETWORK_TIMEOUT, "Connection refused");
}

static void test_monitor_gives_up_on_silence(void **state)
{
	uint16_t port;
	int sock = listen_at(&port);

	config.health_check_timeout_s = 1;
	expect_down(port, XREG_FAILURE_NETWORK_TIMEOUT, "has not answered ICReq within 1");
	close(sock);
}

static void test_monitor_hears_garbage(void **state)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	time_t end = time(NULL) + PATIENCE_S;
	struct xreg_live_state live;
	uint16_t port;
	int sock = listen_at(&port), peer;

	begin(port, NQN, XREG_AVAILABLE);
	while (look(&live) != XREG_FAILED) {
		assert_true(time(NULL) < end);
		peer = accept(sock, NULL, NULL);
		if (peer >= 0) {
			assert_int_equal(write(peer, text, sizeof(text)), sizeof(text));
			close(peer);
		}
		usleep(1000);
	}
	assert_int_equal(live.probe.failure, XREG_FAILURE_PROTOCOL_ERROR);
	assert_non_null(strstr(live.probe.problem, "what came is not NVMe/TCP"));
	close(sock);
}

/* More targets than probes may be under way, all of them good; the figures are for people. */
static void test_monitor_probes_a_thousand_real_targets(void **state)
{
	static struct xreg_change changes[1000];
	static struct xreg_spec specs[1000];
	static char nqns[1000][48];
	struct xreg_monitor_stats stats = {0};
	uint16_t port = node_start();
	struct timespec from, to;
	time_t end;

	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(nqns[i], sizeof(nqns[i]), "nqn.2026-11.io.xsan:%05u", i);
		specs[i] = fixture_spec();
		specs[i].nqn = nqns[i];
		specs[i].address = "127.0.0.1";
		specs[i].port = port;
		specs[i].security = XREG_SECURITY_NONE;
		specs[i].ttl_s = 0;
		changes[i] = (struct xreg_change){.op = XREG_REGISTER,
			.spec = &specs[i],
			.status = {.state = XREG_AVAILABLE, .reason = ""}};
	}
	fixture_change_all(store, changes, 1000);
	config.probe_discovery = true;
	config.max_probes = 16;
	begin(port, NQN, XREG_AVAILABLE);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (end = time(NULL) + PATIENCE_S; stats.nr_checks < 3000;) {
		harness_poll(&node);
		xreg_monitor_stats(monitor, &stats);
		assert_true(time(NULL) < end);
		assert_true(stats.nr_probes <= 16);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_int_equal(stats.nr_targets, 1001);
	assert_int_equal(stats.nr_failed_checks, 0);
	print_message("%llu probes in %.1f s\n", (unsigned long long)stats.nr_checks,
		(double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
}

/* Stopping does not wait for a probe that nobody answers, nor does it lose what is under way. */
static void test_monitor_stops_in_the_middle(void **state)
{
	struct xreg_monitor_stats stats = {0};
	time_t end = time(NULL) + PATIENCE_S;
	uint16_t port;
	int sock = listen_at(&port);

	config.health_check_timeout_s = 600;
	begin(port, NQN, XREG_AVAILABLE);
	while (stats.nr_probes == 0) {
		assert_true(time(NULL) < end);
		usleep(1000);
		xreg_monitor_stats(monitor, &stats);
	}
	xreg_monitor_stop(monitor);
	assert_true(time(NULL) < end);
	monitor = NULL;
	close(sock);
}

static void test_monitor_refuses_a_configuration_that_cannot_be(void **state)
{
	struct xu_error err = {0};

	config.max_probes = 0;
	assert_int_equal(
		xreg_monitor_start(&(struct xreg_monitor_opts){.store = store, .config = &config},
			&monitor, &err),
		-EINVAL);
	assert_null(monitor);
	assert_non_null(strstr(err.text, "max_probes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_monitor_identifies_a_real_target),
		T(test_monitor_asks_a_real_discovery_subsystem),
		T(test_monitor_is_turned_away_by_a_real_target),
		T(test_monitor_misses_a_subsystem_of_a_real_target),
		T(test_monitor_sees_a_real_target_go_and_come_back),
		T(test_monitor_finds_a_dead_port),
		T(test_monitor_gives_up_on_silence),
		T(test_monitor_hears_garbage),
		T(test_monitor_probes_a_thousand_real_targets),
		T(test_monitor_stops_in_the_middle),
		T(test_monitor_refuses_a_configuration_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
