/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node: made on a simulated host by the calls that a daemon would make, on its control reactor.
 * Taking it down asserts what "stopped" promises: no connection, no descriptor and no buffer is
 * left (the reactors assert the last themselves).
 */
#include "test/unit/xnvmf/sim_target.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"

#define PORT        4420u
#define NR_FILES    2u
#define PATIENCE_NS (600 * XU_NS_PER_S)
#define CHECK_BYTES 16384u

/* ---- the world ---- */

struct making {
	struct sim_target *t;
	const struct sim_target_opts *opts;
};

static void make_target(void *arg)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {.nqn = SIM_TARGET_NQN, .allow_any_host = true};
	const struct xnvmf_ns_opts ns = {.nsid = 1, .device = "a"};
	struct making *making = arg;
	struct sim_target *t = making->t;
	struct xnvmf_target_opts target_opts;
	struct xu_error err = {0};

	xnvmf_target_opts_default(&target_opts);
	if (making->opts->target != NULL) {
		target_opts = *making->opts->target;
	}
	assert_int_equal(xnvmf_target_new(t->ctx, &target_opts, &t->target, &err), 0);
	assert_int_equal(xnvmf_subsystem_add(t->target, &opts, &t->subsystem, &err), 0);
	assert_int_equal(xnvmf_ns_add(t->subsystem, &ns, NULL, NULL, NULL, &err), 0);
	assert_int_equal(xnvmf_listener_add(t->subsystem, &listener, &err), 0);
}

void sim_target_start(struct sim_target *t, const struct sim_target_opts *opts)
{
	const struct sim_disk_opts plain = {.size_bytes = SIM_TARGET_DISK_BYTES};
	struct xr_reactor_opts reactor_opts = {0};
	struct xbdev_ctx_opts ctx_opts = {
		.nr_reactors = opts->nr_reactors, .buf_limit_bytes = opts->buf_limit_bytes};
	struct xu_error err = {0};

	*t = (struct sim_target){.sim = sim_new(opts->seed)};
	t->node = sim_host_new(t->sim, "node", NULL);
	t->client = sim_host_new(t->sim, "client", NULL);
	reactor_opts.platform = sim_host_platform(t->client);
	assert_int_equal(xr_reactor_new(&reactor_opts, &t->reactor, &err), 0);
	t->disk_a = sim_disk_new(t->node, "/a", opts->disk != NULL ? opts->disk : &plain);
	t->disk_b = sim_disk_new(t->node, "/b", &plain);
	ctx_opts.platform = sim_host_platform(t->node);
	assert_int_equal(xbdev_ctx_new(&ctx_opts, &t->ctx, &err), 0);
	assert_non_null(sim_bdev_create(t->sim, t->ctx, "file",
		"{'name': 'a', 'filename': '/a', 'block_size': 512}", &err));
	assert_non_null(sim_bdev_create(t->sim, t->ctx, "file",
		"{'name': 'b', 'filename': '/b', 'block_size': 512}", &err));
	sim_target_call(t, make_target, &(struct making){.t = t, .opts = opts});
}

static void on_stopped(void *arg)
{
	struct sim_target *t = arg;

	t->nr_open_at_stop = sim_host_nr_open(t->node);
	t->is_stopped = true;
}

static void stop_target(void *arg)
{
	struct sim_target *t = arg;

	xnvmf_target_stop(t->target, on_stopped, t);
}

void sim_target_begin_stop(struct sim_target *t)
{
	t->is_stopping = true;
	sim_target_call(t, stop_target, t);
}

void sim_target_stop(struct sim_target *t)
{
	if (!t->is_stopping) {
		sim_target_begin_stop(t);
	}
	sim_target_wait(t, &t->is_stopped, PATIENCE_NS);
	xnvmf_target_free(t->target);
	assert_int_equal(t->nr_open_at_stop, NR_FILES); /* no socket */
	sim_ctx_free(t->sim, t->ctx);
	assert_int_equal(sim_host_nr_open(t->node), 0);
	xr_reactor_free(t->reactor);
	sim_free(t->sim);
}

void sim_target_call(struct sim_target *t, void (*fn)(void *arg), void *arg)
{
	sim_call(t->sim, xbdev_ctx_control(t->ctx), fn, arg);
}

static bool is_set(void *arg)
{
	return *(const bool *)arg;
}

void sim_target_wait(struct sim_target *t, const bool *flag, uint64_t ns)
{
	assert_int_equal(sim_run(t->sim, is_set, (void *)flag, ns), 0);
}

void sim_target_run(struct sim_target *t, uint64_t ns)
{
	assert_int_equal(sim_run_for(t->sim, ns), 0);
}

static bool count_down(void *arg)
{
	uint32_t *left = arg;

	return *left == 0 || --*left == 0;
}

void sim_target_step(struct sim_target *t, uint32_t count)
{
	/* It is asked once before the first round. */
	uint32_t left = count + 1;

	sim_run(t->sim, count_down, &left, 5 * XU_NS_PER_MS);
}

uint64_t sim_target_used_buffers(const struct sim_target *t, uint32_t reactor)
{
	return xr_reactor_buffers(xbdev_ctx_reactor(t->ctx, reactor))->used_bytes;
}

/* ---- hosts ---- */

void sim_target_open(struct sim_target *t, struct wire_conn *conn)
{
	assert_int_equal(
		wire_open(conn, t->sim, t->client, t->reactor, sim_host_address(t->node), PORT), 0);
}

static void connect_queue(struct sim_initiator *in, struct wire_conn *conn, uint16_t qid)
{
	struct wire_result result;

	sim_target_open(in->t, conn);
	in->opts.qid = qid;
	in->opts.cntlid = in->cntlid;
	result = wire_connect_as(conn, &in->opts);
	assert_ok(result);
	in->cntlid = (uint16_t)result.dw0;
}

void sim_initiator_attach(
	struct sim_initiator *in, struct sim_target *t, uint8_t host, uint32_t nr_io)
{
	struct wire_connect_opts opts = in->opts;

	*in = (struct sim_initiator){.t = t, .opts = opts};
	in->opts.nqn = SIM_TARGET_NQN;
	in->opts.host = host;
	connect_queue(in, &in->admin, 0);
	assert_ok(wire_enable(&in->admin));
	while (in->nr_io < nr_io) {
		connect_queue(in, &in->io[in->nr_io], (uint16_t)(in->nr_io + 1));
		in->nr_io++;
	}
}

void sim_initiator_detach(struct sim_initiator *in)
{
	for (uint32_t i = 0; i < in->nr_io; i++) {
		wire_close(&in->io[i]);
	}
	wire_close(&in->admin);
}

struct wire_result sim_initiator_keep_alive(struct sim_initiator *in)
{
	struct nvme_cmd cmd = {.opc = NVME_ADMIN_KEEP_ALIVE};

	return wire_command(&in->admin, &cmd, NULL, 0, NULL, 0);
}

void sim_initiator_check(struct sim_initiator *in, uint32_t index)
{
	uint64_t slba =
		32768 + ((uint64_t)in->opts.host * SIM_TARGET_QUEUES + index) * (CHECK_BYTES / 512);
	static char out[CHECK_BYTES], back[CHECK_BYTES];

	xu_random_bytes(sim_random(in->t->sim), out, sizeof(out));
	assert_ok(wire_write(&in->io[index], slba, out, sizeof(out), false));
	assert_ok(wire_read(&in->io[index], slba, back, sizeof(back)));
	assert_memory_equal(back, out, sizeof(out));
}
