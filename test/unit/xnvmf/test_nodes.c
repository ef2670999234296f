/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ten storage nodes and their network in one process: the real target, devices and reactors on
 * simulated machines, a host that writes to all of them, and power failures. What a host was told
 * is durable (a flush, or a write with FUA) is there after the power comes back; what it was told
 * is written and nothing more may be old or new; and the same seed gives the same run.
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
#include "test/sim/sim_bdev.h"
#include "test/sim/sim_disk.h"
#include "test/sim/sim_net.h"
#include "test/unit/xnvmf/wire_host.h"

#define NR_NODES    10u
#define NR_REACTORS 2u
#define NR_SLOTS    8u
#define SLOT_BYTES  16384u
#define NQN         "nqn.2026-11.io.xsan:sim"
#define PORT        4420u

struct node {
	struct sim *sim;
	struct sim_host *host;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	bool is_stopped;
	struct wire_conn admin, io;
	/* Of each slot: what a read may find. */
	uint32_t durable[NR_SLOTS]; /* version that a flush or FUA has covered */
	uint32_t written[NR_SLOTS]; /* the last that was acknowledged */
};

struct world {
	struct sim *sim;
	struct sim_host *host;
	struct xr_reactor *reactor;
	struct node nodes[NR_NODES];
};

/* ---- nodes ---- */

static void make_target(void *arg)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {.nqn = NQN, .allow_any_host = true};
	const struct xnvmf_ns_opts ns = {.nsid = 1, .device = "disk"};
	struct xnvmf_subsystem *subsystem;
	struct xnvmf_target_opts target_opts;
	struct node *node = arg;
	struct xu_error err = {0};

	xnvmf_target_opts_default(&target_opts);
	target_opts.max_h2c_data = 8192; /* two R2Ts for a slot */
	assert_int_equal(xnvmf_target_new(node->ctx, &target_opts, &node->target, &err), 0);
	assert_int_equal(xnvmf_subsystem_add(node->target, &opts, &subsystem, &err), 0);
	assert_int_equal(xnvmf_ns_add(subsystem, &ns, NULL, NULL, NULL, &err), 0);
	assert_int_equal(xnvmf_listener_add(subsystem, &listener, &err), 0);
}

static void node_start(struct node *node)
{
	struct xu_error err = {0};

	node->ctx = sim_ctx_new(node->host, NR_REACTORS, NULL);
	assert_non_null(sim_bdev_create(node->sim, node->ctx, "file",
		"{'name': 'disk', 'filename': '/disk', 'size': '4MiB', 'block_size': 512}", &err));
	sim_call(node->sim, xbdev_ctx_control(node->ctx), make_target, node);
}

static void on_stopped(void *arg)
{
	((struct node *)arg)->is_stopped = true;
}

static void stop_target(void *arg)
{
	struct node *node = arg;

	node->is_stopped = false;
	xnvmf_target_stop(node->target, on_stopped, node);
}

static bool has_stopped(void *arg)
{
	return ((struct node *)arg)->is_stopped;
}

/* Stops a node, alive or buried, and frees all that it had. */
static void node_stop(struct node *node)
{
	sim_call(node->sim, xbdev_ctx_control(node->ctx), stop_target, node);
	assert_int_equal(sim_run(node->sim, has_stopped, node, 600 * XU_NS_PER_S), 0);
	xnvmf_target_free(node->target);
	sim_ctx_free(node->sim, node->ctx);
	node->ctx = NULL;
}

static void attach(struct world *w, struct node *node)
{
	const char *address = sim_host_address(node->host);
	struct wire_result result;

	assert_int_equal(wire_open(&node->admin, w->sim, w->host, w->reactor, address, PORT), 0);
	result = wire_connect(&node->admin, NQN, 0, 0xffff);
	assert_int_equal(result.error | result.status, 0);
	assert_int_equal(wire_enable(&node->admin).status, 0);
	assert_int_equal(wire_open(&node->io, w->sim, w->host, w->reactor, address, PORT), 0);
	result = wire_connect(&node->io, NQN, 1, (uint16_t)result.dw0);
	assert_int_equal(result.error | result.status, 0);
}

static void detach(struct node *node)
{
	wire_close(&node->admin);
	wire_close(&node->io);
}

/* ---- data ---- */

/* A slot's content tells node, slot and version in every 512-byte sector. */
static void fill(char *buf, uint32_t node, uint32_t slot, uint32_t version)
{
	for (uint32_t sector = 0; sector < SLOT_BYTES / 512; sector++) {
		uint32_t *words = (uint32_t *)(void *)(buf + sector * 512);

		for (uint32_t i = 0; i < 128; i += 4) {
			words[i] = node;
			words[i + 1] = slot;
			words[i + 2] = version;
			words[i + 3] = sector;
		}
	}
}

/* Every sector holds one version of this very place, between the last durable one and the last
 * that was sent; a version of 0 is zeroes. */
static void check_slot(const struct node *node, uint32_t index, uint32_t slot, const char *buf)
{
	char expected[SLOT_BYTES];

	for (uint32_t sector = 0; sector < SLOT_BYTES / 512; sector++) {
		uint32_t version = ((const uint32_t *)(const void *)(buf + sector * 512))[2];

		assert_in_range(version, node->durable[slot], node->written[slot]);
		if (version == 0) {
			memset(expected, 0, sizeof(expected));
		} else {
			fill(expected, index, slot, version);
		}
		assert_memory_equal(buf + sector * 512, expected + sector * 512, 512);
	}
}

static void write_slot(struct world *w, uint32_t index)
{
	struct node *node = &w->nodes[index];
	uint32_t slot = (uint32_t)xu_random_below(sim_random(w->sim), NR_SLOTS);
	bool fua = xu_random_below(sim_random(w->sim), 4) == 0;
	uint32_t version = ++node->written[slot];
	struct wire_result result;
	char buf[SLOT_BYTES];

	fill(buf, index, slot, version);
	result = wire_write(&node->io, slot * (SLOT_BYTES / 512), buf, SLOT_BYTES, fua);
	assert_int_equal(result.error | result.status, 0);
	if (fua) {
		node->durable[slot] = version;
	}
	if (xu_random_below(sim_random(w->sim), 5) == 0) {
		result = wire_flush(&node->io);
		assert_int_equal(result.error | result.status, 0);
		memcpy(node->durable, node->written, sizeof(node->durable));
	}
}

static void read_all(struct node *node, uint32_t index, bool is_exact)
{
	for (uint32_t slot = 0; slot < NR_SLOTS; slot++) {
		char buf[SLOT_BYTES];
		struct wire_result result =
			wire_read(&node->io, slot * (SLOT_BYTES / 512), buf, SLOT_BYTES);

		assert_int_equal(result.error | result.status, 0);
		if (is_exact) {
			uint32_t durable = node->durable[slot];

			node->durable[slot] = node->written[slot];
			check_slot(node, index, slot, buf);
			node->durable[slot] = durable;
		} else {
			check_slot(node, index, slot, buf);
		}
	}
}

/* ---- the runs ---- */

static void world_start(struct world *w, uint64_t seed)
{
	struct xr_reactor_opts opts = {0};
	struct xu_error err = {0};

	memset(w, 0, sizeof(*w));
	w->sim = sim_new(seed);
	w->host = sim_host_new(w->sim, "host", NULL);
	opts.platform = sim_host_platform(w->host);
	assert_int_equal(xr_reactor_new(&opts, &w->reactor, &err), 0);
	for (uint32_t i = 0; i < NR_NODES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "node%u", i);
		w->nodes[i].sim = w->sim;
		w->nodes[i].host = sim_host_new(w->sim, name, NULL);
		node_start(&w->nodes[i]);
		attach(w, &w->nodes[i]);
	}
}

static uint64_t world_stop(struct world *w)
{
	uint64_t hash;

	for (uint32_t i = 0; i < NR_NODES; i++) {
		detach(&w->nodes[i]);
		node_stop(&w->nodes[i]);
		assert_int_equal(sim_host_nr_open(w->nodes[i].host), 0);
	}
	hash = sim_trace_hash(w->sim);
	xr_reactor_free(w->reactor);
	sim_free(w->sim);
	return hash;
}

/* The power of one node fails and comes back. */
static void lose_power(struct world *w, uint32_t index)
{
	struct node *node = &w->nodes[index];
	struct sim_host *dead = node->host;

	sim_host_power_fail(dead, NULL);
	sim_host_bury(dead);
	detach(node);
	node_stop(node);
	node->host = sim_host_reboot(dead);
	node_start(node);
	attach(w, node);
	read_all(node, index, false);
	/* What the disk has now it will keep: from here on it is the base. */
	for (uint32_t slot = 0; slot < NR_SLOTS; slot++) {
		char buf[SLOT_BYTES];

		fill(buf, index, slot, ++node->written[slot]);
		assert_int_equal(
			wire_write(&node->io, slot * (SLOT_BYTES / 512), buf, SLOT_BYTES, true)
				.status,
			0);
		node->durable[slot] = node->written[slot];
	}
}

static uint64_t run_world(uint64_t seed, uint32_t nr_steps)
{
	static struct world w;

	world_start(&w, seed);
	for (uint32_t step = 0; step < nr_steps; step++) {
		uint32_t index = (uint32_t)xu_random_below(sim_random(w.sim), NR_NODES);

		write_slot(&w, index);
		if (xu_random_below(sim_random(w.sim), 25) == 0) {
			lose_power(&w, (uint32_t)xu_random_below(sim_random(w.sim), NR_NODES));
		}
	}
	for (uint32_t i = 0; i < NR_NODES; i++) {
		read_all(&w.nodes[i], i, true);
	}
	return world_stop(&w);
}

static void test_nodes_keep_what_they_acknowledged(void **state)
{
	const char *rounds = getenv("SIM_ROUNDS");
	uint32_t nr_rounds = rounds != NULL ? (uint32_t)atoi(rounds) : 1;

	for (uint32_t i = 0; i < nr_rounds; i++) {
		printf("seed %u\n", 1000 + i);
		run_world(1000 + i, 300);
	}
}

static void test_nodes_same_seed_same_run(void **state)
{
	uint64_t first = run_world(7, 60);

	assert_int_equal(run_world(7, 60), first);
	assert_int_not_equal(run_world(8, 60), first);
}

/* A cut connection is noticed on both sides and leaves nothing behind. */
static void test_nodes_cut_connections(void **state)
{
	static struct world w;

	world_start(&w, 3);
	for (uint32_t i = 0; i < 50; i++) {
		uint32_t index = (uint32_t)xu_random_below(sim_random(w.sim), NR_NODES);
		struct node *node = &w.nodes[index];

		write_slot(&w, index);
		sim_net_cut(w.sim, w.host, node->host);
		detach(node);
		attach(&w, node);
		read_all(node, index, true);
	}
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_keep_what_they_acknowledged),
		cmocka_unit_test(test_nodes_same_seed_same_run),
		cmocka_unit_test(test_nodes_cut_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
