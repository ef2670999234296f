/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target's calls where two of them meet or one fails half-way: removals and stops that are
 * asked for twice, a namespace that one reactor cannot open, identities that are taken. Everything
 * runs on one simulated machine with two reactors.
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

/* ---- half a namespace ---- */

/* A device whose channels can be opened on some reactors only. */
struct picky_device {
	struct xbdev_device dev;
	uint32_t bad_reactor;
	int error;
	uint32_t nr_open; /* channels */
};

static int picky_open(struct xbdev_channel *ch)
{
	struct picky_device *picky = xu_container_of(ch->dev, struct picky_device, dev);

	if (picky->error != 0 && xr_reactor_index(ch->reactor) == picky->bad_reactor) {
		return picky->error;
	}
	picky->nr_open++;
	return 0;
}

static void picky_close(struct xbdev_channel *ch)
{
	xu_container_of(ch->dev, struct picky_device, dev)->nr_open--;
}

static void picky_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	(void)ch;
	xbdev_io_complete_later(io, 0);
}

static void picky_destroy(struct xbdev_device *dev)
{
	(void)dev; /* it is on the test's stack */
}

static const struct xbdev_device_ops picky_ops = {
	.channel_open = picky_open,
	.channel_close = picky_close,
	.submit = picky_submit,
	.destroy = picky_destroy,
};

struct picky_world {
	struct world w;
	struct picky_device picky;
	struct xu_error added;
	bool must_remove; /* while it is being added */
	bool is_removed;
};

static void register_picky(void *arg)
{
	struct picky_world *p = arg;

	p->picky.dev = (struct xbdev_device){
		.name = "picky",
		.driver = "picky",
		.product = "picky",
		.ops = &picky_ops,
		.limits = {.block_size = 512,
			.buf_align = 1,
			.max_transfer = 1u << 20,
			.max_iov = 1,
			.max_zeroes = 1u << 20,
			.queue_depth = 8},
		.nr_blocks = 8,
		.ops_mask = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH,
		.is_multi_reactor = true,
		.numa_node = -1,
	};
	assert_int_equal(xbdev_device_register(p->w.ctx, &p->picky.dev, &p->w.err), 0);
}

static void on_added(void *arg, const struct xu_error *err)
{
	struct picky_world *p = arg;

	p->added = *err;
	/* Told when all is undone, not before. */
	assert_int_equal(p->picky.nr_open, err->code != 0 ? 0 : NR_REACTORS);
	on_called(&p->w);
}

static void on_removed(void *arg)
{
	((struct picky_world *)arg)->is_removed = true;
}

static void add_picky(void *arg)
{
	const struct xnvmf_ns_opts opts = {.nsid = 2, .device = "picky"};
	struct picky_world *p = arg;
	int rc = xnvmf_ns_add(p->w.subsystem, &opts, NULL, on_added, p, &p->w.err);

	assert_int_equal(rc, 0);
	if (p->must_remove) {
		rc = xnvmf_ns_remove(p->w.subsystem, 2, on_removed, p, &p->w.err);
		assert_int_equal(rc, 0);
	}
}

static void check_not_there(void *arg)
{
	struct picky_world *p = arg;
	json_t *config = xnvmf_target_config_json(p->w.target);
	json_t *namespaces = json_object_get(json_array_get(config, 0), "namespaces");

	assert_int_equal(json_array_size(namespaces), 1);
	json_decref(config);
	assert_null(p->picky.dev.claim);
	assert_true(xu_list_is_empty(&p->picky.dev.descs));
}

/* Whichever reactor it is, the addition fails as a whole, with the reason, and can be done again;
 * also when the namespace is to go before it is there. */
static void test_edges_ns_without_a_channel(void **state)
{
	for (uint32_t i = 0; i < 2 * NR_REACTORS; i++) {
		struct picky_world p = {.must_remove = i >= NR_REACTORS};

		world_start(&p.w);
		p.picky.bad_reactor = i % NR_REACTORS;
		sim_call(p.w.sim, xbdev_ctx_control(p.w.ctx), register_picky, &p);
		p.picky.error = -ENOMEM;
		sim_call(p.w.sim, xbdev_ctx_control(p.w.ctx), add_picky, &p);
		wait_called(&p.w);
		assert_int_equal(p.added.code, -ENOMEM);
		assert_non_null(strstr(p.added.text, "namespace 2 was not added"));
		assert_non_null(strstr(p.added.text, "picky"));
		assert_int_equal(sim_run_for(p.w.sim, XU_NS_PER_S), 0);
		assert_int_equal(p.is_removed, p.must_remove);
		sim_call(p.w.sim, xbdev_ctx_control(p.w.ctx), check_not_there, &p);
		p.picky.error = 0;
		p.must_remove = false;
		sim_call(p.w.sim, xbdev_ctx_control(p.w.ctx), add_picky, &p);
		wait_called(&p.w);
		assert_int_equal(p.added.code, 0);
		world_stop(&p.w);
		assert_int_equal(p.picky.nr_open, 0);
	}
}

/* ---- identities ---- */

#define UUID_A                                                                                     \
	{                                                                                          \
		{                                                                                  \
			0x6b, 0xa7, 0xb8, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12              \
		}                                                                                  \
	}
#define UUID_B                                                                                     \
	{                                                                                          \
		{                                                                                  \
			0x6b, 0xa7, 0xb8, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13              \
		}                                                                                  \
	}
#define EUI64                                                                                      \
	{                                                                                          \
		0, 1, 2, 3, 4, 5, 6, 7                                                             \
	}

/* Asks for a namespace 1 on "m2" with that identity; the sentence when it is refused. */
static int try_identity(struct world *w, struct xnvmf_subsystem *subsystem,
	const struct xnvmf_ns_opts *identity, const char **ret_text)
{
	struct xnvmf_ns_opts opts = *identity;
	int rc;

	opts.nsid = 1;
	opts.device = "m2";
	rc = xnvmf_ns_add(subsystem, &opts, NULL, NULL, NULL, &w->err);
	*ret_text = w->err.text;
	return rc;
}

/* No identifier of one namespace is taken for another, not even its device's own. */
static void add_same_identities(void *arg)
{
	const struct xnvmf_subsystem_opts other = {.nqn = NQN ":2"};
	const struct xnvmf_ns_opts first = {
		.nsid = 2, .device = "m1", .uuid = UUID_A, .eui64 = EUI64};
	struct xnvmf_ns_opts same_nguid = {.uuid = UUID_B};
	const struct xnvmf_ns_opts same_uuid = {.uuid = UUID_A, .nguid = {1}};
	const struct xnvmf_ns_opts same_eui64 = {.uuid = UUID_B, .eui64 = EUI64};
	const struct xnvmf_ns_opts unlike = {.uuid = UUID_B, .eui64 = {1}};
	struct xnvmf_ns_opts of_device = {.nguid = {1}};
	struct xnvmf_subsystem *subsystem;
	struct world *w = arg;
	const char *text;

	assert_int_equal(xnvmf_subsystem_add(w->target, &other, &subsystem, &w->err), 0);
	assert_int_equal(xnvmf_ns_add(w->subsystem, &first, NULL, NULL, NULL, &w->err), 0);
	assert_int_equal(try_identity(w, subsystem, &same_uuid, &text), -EEXIST);
	assert_non_null(strstr(text, "the UUID of namespace 2 of " NQN));
	memcpy(same_nguid.nguid, first.uuid.bytes, sizeof(same_nguid.nguid));
	assert_int_equal(try_identity(w, subsystem, &same_nguid, &text), -EEXIST);
	assert_non_null(strstr(text, "the NGUID of namespace 2 of " NQN));
	assert_int_equal(try_identity(w, subsystem, &same_eui64, &text), -EEXIST);
	assert_non_null(strstr(text, "the EUI64 of namespace 2 of " NQN));
	of_device.uuid = xbdev_device_find(w->ctx, "m0")->uuid; /* namespace 1 has it by default */
	assert_int_equal(try_identity(w, subsystem, &of_device, &text), -EEXIST);
	assert_non_null(strstr(text, "the UUID of namespace 1 of " NQN));
	/* The device was let go each time. */
	assert_int_equal(try_identity(w, subsystem, &unlike, &text), 0);
}

static void remove_first(void *arg)
{
	struct world *w = arg;

	assert_int_equal(xnvmf_ns_remove(w->subsystem, 2, on_called, w, &w->err), 0);
}

static void add_after_removal(void *arg)
{
	const struct xnvmf_ns_opts opts = {
		.nsid = 3, .device = "m1", .uuid = UUID_A, .eui64 = EUI64};
	struct world *w = arg;

	assert_int_equal(xnvmf_ns_add(w->subsystem, &opts, NULL, NULL, NULL, &w->err), 0);
}

static void test_edges_identity_names_one_namespace(void **state)
{
	struct world w;

	world_start(&w);
	assert_non_null(
		sim_bdev_create(w.sim, w.ctx, "malloc", "{'name': 'm1', 'size': '1MiB'}", &w.err));
	assert_non_null(
		sim_bdev_create(w.sim, w.ctx, "malloc", "{'name': 'm2', 'size': '1MiB'}", &w.err));
	call(&w, add_same_identities);
	call(&w, remove_first);
	wait_called(&w);
	call(&w, add_after_removal); /* it may move, with its identity */
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges_subsystem_removed_twice),
		cmocka_unit_test(test_edges_target_stopped_twice),
		cmocka_unit_test(test_edges_ns_without_a_channel),
		cmocka_unit_test(test_edges_identity_names_one_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
