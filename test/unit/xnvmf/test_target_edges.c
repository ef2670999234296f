/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target's calls where two of them meet or one fails half-way: removals and stops that are
 * asked for twice. Everything runs on one simulated machine with two reactors.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xnvmf/target/target.h"
#include "test/sim/sim.h"
#include "test/sim/sim_bdev.h"

#define NR_REACTORS 2u
#define NQN         "nqn.2026-11.io.xsan:edges"
#define PATIENCE_NS (600 * XU_NS_PER_S)

struct world {
	struct sim *sim;
	struct sim_host *node;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xnvmf_subsystem *subsystem;
	uint32_t nr_called; /* callbacks that have come */
	int rc;             /* of the call that do_… made */
	struct xu_error err;
};

/* ---- the world ---- */

static void on_called(void *arg)
{
	((struct world *)arg)->nr_called++;
}

static void must_not_come(void *arg)
{
	(void)arg;
	fail_msg("a callback came to a call that was refused");
}

static void call(struct world *w, void (*fn)(void *arg))
{
	sim_call(w->sim, xbdev_ctx_control(w->ctx), fn, w);
}

static bool has_been_called(void *arg)
{
	return ((struct world *)arg)->nr_called != 0;
}

/* Waits for the one callback. */
static void wait_called(struct world *w)
{
	assert_int_equal(sim_run(w->sim, has_been_called, w, PATIENCE_NS), 0);
	assert_int_equal(w->nr_called, 1);
	w->nr_called = 0;
}

static void make_target(void *arg)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {.nqn = NQN, .allow_any_host = true};
	const struct xnvmf_ns_opts ns = {.nsid = 1, .device = "m0"};
	struct xnvmf_target_opts target_opts;
	struct world *w = arg;

	xnvmf_target_opts_default(&target_opts);
	assert_int_equal(xnvmf_target_new(w->ctx, &target_opts, &w->target, &w->err), 0);
	assert_int_equal(xnvmf_subsystem_add(w->target, &opts, &w->subsystem, &w->err), 0);
	assert_int_equal(xnvmf_ns_add(w->subsystem, &ns, NULL, NULL, NULL, &w->err), 0);
	assert_int_equal(xnvmf_listener_add(w->subsystem, &listener, &w->err), 0);
}

static void world_start(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->sim = sim_new(1);
	w->node = sim_host_new(w->sim, "node", NULL);
	w->ctx = sim_ctx_new(w->node, NR_REACTORS, NULL);
	assert_non_null(sim_bdev_create(
		w->sim, w->ctx, "malloc", "{'name': 'm0', 'size': '1MiB'}", &w->err));
	call(w, make_target);
}

static void stop_target(void *arg)
{
	struct world *w = arg;

	w->rc = xnvmf_target_stop(w->target, on_called, w);
}

static void world_free(struct world *w)
{
	xnvmf_target_free(w->target);
	sim_ctx_free(w->sim, w->ctx);
	assert_int_equal(sim_host_nr_open(w->node), 0);
	sim_free(w->sim);
}

static void world_stop(struct world *w)
{
	call(w, stop_target);
	assert_int_equal(w->rc, 0);
	wait_called(w);
	world_free(w);
}

/* ---- twice ---- */

static void remove_twice(void *arg)
{
	struct world *w = arg;

	assert_int_equal(xnvmf_subsystem_remove(w->subsystem, on_called, w), 0);
	assert_int_equal(xnvmf_subsystem_remove(w->subsystem, must_not_come, w), -EBUSY);
}

/* The second caller hears that somebody else is at it, and does not wait for ever. */
static void test_edges_subsystem_removed_twice(void **state)
{
	struct world w;

	world_start(&w);
	call(&w, remove_twice);
	wait_called(&w);
	assert_null(xnvmf_subsystem_find(w.target, NQN));
	world_stop(&w);
}

static void stop_twice(void *arg)
{
	struct world *w = arg;

	stop_target(w);
	assert_int_equal(w->rc, 0);
	assert_int_equal(xnvmf_target_stop(w->target, must_not_come, w), -EBUSY);
}

static void stop_once_more(void *arg)
{
	struct world *w = arg;

	assert_int_equal(xnvmf_target_stop(w->target, must_not_come, w), -EBUSY);
}

static void test_edges_target_stopped_twice(void **state)
{
	struct world w;

	world_start(&w);
	call(&w, stop_twice);
	wait_called(&w);
	call(&w, stop_once_more);
	assert_int_equal(sim_run_for(w.sim, XU_NS_PER_S), 0);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges_subsystem_removed_twice),
		cmocka_unit_test(test_edges_target_stopped_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
