/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target on three reactors in threads, on real sockets, with hosts in threads of their own that
 * connect, write, read back, and leave, politely or not, while namespaces and devices come and go
 * under them. What it shows is that nothing is lost, mixed up or touched from two threads: run it
 * under ThreadSanitizer and AddressSanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xnvmf/target/target.h"
#include "test/unit/xnvmf/wire_host.h"

#define NR_REACTORS 3u
#define NR_HOSTS    4u
#define NR_VISITS   12u
#define NR_IOS      40u
#define NR_ROUNDS   4u /* of what else happens, at least */
#define PATIENCE_NS (120 * XU_NS_PER_S)
#define NQN         "nqn.2026-11.io.xsan:threads"

struct fixture {
	struct xbdev_ctx *ctx;
	struct xr_reactor *control;
	struct xnvmf_target *target;
	struct xnvmf_subsystem *subsystem;
	uint16_t port;
	uint32_t nr_events;          /* callbacks that have come */
	_Atomic uint32_t nr_running; /* hosts */
	_Atomic bool must_stay;      /* they visit on */
	_Atomic uint32_t nr_verified;
};

struct host {
	struct fixture *f;
	uint32_t index;
	pthread_t thread;
	struct xu_random random;
	const char *failure;
};

/* ---- the node, polled by the test's thread ---- */

static void on_event(void *arg)
{
	((struct fixture *)arg)->nr_events++;
}

static void on_added(void *arg, const struct xu_error *err)
{
	assert_int_equal(err->code, 0);
	on_event(arg);
}

static void wait_event(struct fixture *f, uint32_t nr_events)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;

	while (f->nr_events < nr_events) {
		xr_reactor_poll(f->control, XU_NS_PER_MS);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
}

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	assert_non_null(dev);
	(void)err;
	on_event(arg);
}

static void create(struct fixture *f, const char *driver, const char *json)
{
	json_t *params = json_loads(json, 0, NULL);
	char path[XU_PARAM_PATH_SIZE];

	assert_non_null(params);
	xbdev_device_create(f->ctx, xbdev_driver_find(driver), params, path, on_created, f);
	wait_event(f, f->nr_events + (f->nr_events == 0));
	json_decref(params);
}

static void add_ns(struct fixture *f, uint32_t nsid, const char *device)
{
	const struct xnvmf_ns_opts opts = {.nsid = nsid, .device = device};
	struct xu_error err = {0};

	assert_int_equal(xnvmf_ns_add(f->subsystem, &opts, NULL, on_added, f, &err), 0);
	wait_event(f, f->nr_events + 1);
}

static void fixture_start(struct fixture *f)
{
	const struct xbdev_ctx_opts ctx_opts = {
		.nr_reactors = NR_REACTORS, .spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};
	const struct xnvmf_subsystem_opts opts = {.nqn = NQN, .allow_any_host = true};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	struct xnvmf_target_opts target_opts;
	struct xu_error err = {0};
	json_t *listeners;

	memset(f, 0, sizeof(*f));
	assert_int_equal(xbdev_ctx_new(&ctx_opts, &f->ctx, &err), 0);
	f->control = xbdev_ctx_control(f->ctx);
	assert_int_equal(xbdev_ctx_start(f->ctx, 1, &err), 0);
	xnvmf_target_opts_default(&target_opts);
	target_opts.max_h2c_data = 4096;
	assert_int_equal(xnvmf_target_new(f->ctx, &target_opts, &f->target, &err), 0);
	assert_int_equal(xnvmf_subsystem_add(f->target, &opts, &f->subsystem, &err), 0);
	create(f, "malloc", "{\"name\": \"mem\", \"size\": \"8MiB\"}");
	add_ns(f, 1, "mem");
	assert_int_equal(xnvmf_listener_add(f->subsystem, &listener, &err), 0);
	listeners = xnvmf_subsystem_listeners_json(f->subsystem);
	f->port = (uint16_t)atoi(json_string_value(json_object_get(
		json_object_get(json_array_get(listeners, 0), "address"), "trsvcid")));
	json_decref(listeners);
}

static void fixture_stop(struct fixture *f)
{
	struct xbdev_device *dev;

	f->nr_events = 0;
	xnvmf_target_stop(f->target, on_event, f);
	wait_event(f, 1);
	xnvmf_target_free(f->target);
	while ((dev = xbdev_device_next(f->ctx, NULL)) != NULL) {
		f->nr_events = 0;
		assert_int_equal(xbdev_device_remove(dev, on_event, f), 0);
		wait_event(f, 1);
	}
	xbdev_ctx_stop(f->ctx);
	xbdev_ctx_free(f->ctx);
}

/* ---- hosts: no assertions in their threads ---- */

static bool attach(struct host *h, struct wire_conn *admin, struct wire_conn *io)
{
	struct wire_result result;

	if (wire_open(admin, NULL, NULL, NULL, "127.0.0.1", h->f->port) != 0) {
		return false;
	}
	result = wire_connect(admin, NQN, 0, 0xffff);
	if ((result.error | result.status) == 0 && wire_enable(admin).status == 0 &&
		wire_open(io, NULL, NULL, NULL, "127.0.0.1", h->f->port) == 0) {
		result = wire_connect(io, NQN, 1, (uint16_t)result.dw0);
		if ((result.error | result.status) == 0) {
			return true;
		}
		wire_close(io);
	}
	wire_close(admin);
	return false;
}

/* Writes and reads back blocks that only this host uses. */
static bool visit(struct host *h)
{
	const uint32_t bytes = 16384, blocks = bytes / 512, base = h->index * 2048;
	struct wire_conn admin, io;
	static _Thread_local char out[16384], in[16384];
	bool is_right = true;

	if (!attach(h, &admin, &io)) {
		return false;
	}
	for (uint32_t i = 0; i < NR_IOS && is_right; i++) {
		uint64_t slba = base + xu_random_below(&h->random, 64) * blocks;
		uint32_t len = 512u << xu_random_below(&h->random, 6);

		xu_random_bytes(&h->random, out, len);
		is_right = wire_write(&io, slba, out, len, i % 3 == 0).status == 0 &&
			   wire_read(&io, slba, in, len).status == 0 && memcmp(in, out, len) == 0;
		atomic_fetch_add(&h->f->nr_verified, is_right);
	}
	if (xu_random_below(&h->random, 2) == 0) {
		wire_close(&admin); /* the target ends the other one */
		wire_close(&io);
	} else {
		wire_close(&io);
		wire_close(&admin);
	}
	return is_right;
}

static void *host_main(void *arg)
{
	struct host *h = arg;

	for (uint32_t i = 0; (i < NR_VISITS || atomic_load(&h->f->must_stay)) && h->failure == NULL;
		i++) {
		if (!visit(h)) {
			h->failure = "a host could not attach, or read something else";
		}
	}
	atomic_fetch_sub(&h->f->nr_running, 1);
	return NULL;
}

static void start_hosts(struct fixture *f, struct host *hosts)
{
	atomic_store(&f->nr_running, NR_HOSTS);
	for (uint32_t i = 0; i < NR_HOSTS; i++) {
		hosts[i] = (struct host){.f = f, .index = i};
		xu_random_seed(&hosts[i].random, 100 + i);
		assert_int_equal(pthread_create(&hosts[i].thread, NULL, host_main, &hosts[i]), 0);
	}
}

static void join_hosts(struct host *hosts)
{
	for (uint32_t i = 0; i < NR_HOSTS; i++) {
		pthread_join(hosts[i].thread, NULL);
		if (hosts[i].failure != NULL) {
			fail_msg("host %u: %s", i, hosts[i].failure);
		}
	}
}

/* ---- the tests ---- */

static void test_threads_hosts_come_and_go(void **state)
{
	static struct fixture f;
	struct host hosts[NR_HOSTS];

	fixture_start(&f);
	start_hosts(&f, hosts);
	while (atomic_load(&f.nr_running) != 0) {
		xr_reactor_poll(f.control, XU_NS_PER_MS);
	}
	join_hosts(hosts);
	assert_int_equal(atomic_load(&f.nr_verified), NR_HOSTS * NR_VISITS * NR_IOS);
	fixture_stop(&f);
}

/* Another namespace is added and taken away, and its device removed from under it, meanwhile. */
static void test_threads_namespaces_come_and_go(void **state)
{
	static struct fixture f;
	struct host hosts[NR_HOSTS];
	struct xu_error err = {0};
	uint32_t rounds = 0;

	fixture_start(&f);
	atomic_store(&f.must_stay, true);
	start_hosts(&f, hosts);
	while (atomic_load(&f.nr_running) != 0) {
		create(&f, "null", "{\"name\": \"n\", \"size\": \"1GiB\"}");
		add_ns(&f, 2, "n");
		f.nr_events = 0;
		if (rounds % 2 == 0) {
			assert_int_equal(xnvmf_ns_remove(f.subsystem, 2, on_event, &f, &err), 0);
			wait_event(&f, 1);
		}
		f.nr_events = 0;
		assert_int_equal(
			xbdev_device_remove(xbdev_device_find(f.ctx, "n"), on_event, &f), 0);
		wait_event(&f, 1);
		if (++rounds == NR_ROUNDS) {
			atomic_store(&f.must_stay, false);
		}
	}
	join_hosts(hosts);
	assert_true(rounds >= NR_ROUNDS);
	fixture_stop(&f);
}

/* The target stops while hosts work: they get errors, and everything ends. */
static void test_threads_stop_under_load(void **state)
{
	for (uint32_t round = 0; round < 5; round++) {
		static struct fixture f;
		struct host hosts[NR_HOSTS];

		fixture_start(&f);
		start_hosts(&f, hosts);
		for (uint32_t i = 0; i < 20 * (round + 1); i++) {
			xr_reactor_poll(f.control, XU_NS_PER_MS);
		}
		fixture_stop(&f);
		for (uint32_t i = 0; i < NR_HOSTS; i++) {
			pthread_join(hosts[i].thread, NULL);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_hosts_come_and_go),
		cmocka_unit_test(test_threads_namespaces_come_and_go),
		cmocka_unit_test(test_threads_stop_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
