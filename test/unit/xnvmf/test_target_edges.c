/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target's calls where two of them meet or one fails half-way: removals and stops that are
 * asked for twice, a namespace that one reactor cannot open, identities that are taken; and its
 * table of connections when it is full. The node is a simulated machine with two reactors.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xnvmf/target/target.h"
#include "test/sim/sim.h"
#include "test/sim/sim_bdev.h"
#include "test/unit/xnvmf/wire_host.h"

#define NR_REACTORS 2u
#define NQN         "nqn.2026-11.io.xsan:edges"
#define PORT        4420u
#define PATIENCE_NS (600 * XU_NS_PER_S)
#define NR_PLACES   4u /* connections of the small target */

struct world {
	struct sim *sim;
	struct sim_host *node;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xnvmf_subsystem *subsystem;
	uint32_t max_connections; /* 0: as usual */
	struct xu_logger *log;
	struct sim_host *peer; /* where hosts run */
	struct xr_reactor *peer_reactor;
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
	if (w->max_connections != 0) {
		target_opts.max_connections = w->max_connections;
	}
	assert_int_equal(xnvmf_target_new(w->ctx, &target_opts, &w->target, &w->err), 0);
	assert_int_equal(xnvmf_subsystem_add(w->target, &opts, &w->subsystem, &w->err), 0);
	assert_int_equal(xnvmf_ns_add(w->subsystem, &ns, NULL, NULL, NULL, &w->err), 0);
	assert_int_equal(xnvmf_listener_add(w->subsystem, &listener, &w->err), 0);
}

static void world_start_with(struct world *w, uint32_t max_connections, struct xu_logger *log)
{
	struct xr_reactor_opts opts = {0};

	*w = (struct world){.max_connections = max_connections, .log = log};
	w->sim = sim_new(1);
	w->node = sim_host_new(w->sim, "node", NULL);
	w->peer = sim_host_new(w->sim, "peer", NULL);
	opts.platform = sim_host_platform(w->peer);
	assert_int_equal(xr_reactor_new(&opts, &w->peer_reactor, &w->err), 0);
	w->ctx = sim_ctx_new(w->node, NR_REACTORS, log);
	assert_non_null(sim_bdev_create(
		w->sim, w->ctx, "malloc", "{'name': 'm0', 'size': '1MiB'}", &w->err));
	call(w, make_target);
}

static void world_start(struct world *w)
{
	world_start_with(w, 0, NULL);
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
	xr_reactor_free(w->peer_reactor);
	sim_free(w->sim);
}

static void world_stop(struct world *w)
{
	call(w, stop_target);
	assert_int_equal(w->rc, 0);
	wait_called(w);
	world_free(w);
}

/* A number of nvmf_get_stats. */
struct stat_query {
	struct world *w;
	const char *name;
	json_int_t value;
};

static void query(void *arg)
{
	struct stat_query *q = arg;
	json_t *stats = xnvmf_target_stats_json(q->w->target);

	q->value = json_integer_value(json_object_get(stats, q->name));
	json_decref(stats);
}

static json_int_t stat_of(struct world *w, const char *name)
{
	struct stat_query q = {.w = w, .name = name};

	sim_call(w->sim, xbdev_ctx_control(w->ctx), query, &q);
	return q.value;
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

/* ---- room for connections ---- */

static int open_conn(struct world *w, struct wire_conn *conn)
{
	return wire_open(conn, w->sim, w->peer, w->peer_reactor, sim_host_address(w->node), PORT);
}

/* A connection with an enabled controller of that subsystem. */
static int open_ctrl(struct world *w, struct wire_conn *conn, const char *nqn)
{
	struct wire_result result;
	int rc = open_conn(w, conn);

	if (rc != 0) {
		return rc;
	}
	result = wire_connect(conn, nqn, 0, 0xffff);
	if ((result.error | result.status) != 0) {
		wire_close(conn);
		return -EIO;
	}
	return wire_enable(conn).error;
}

struct pending {
	struct xr_op op;
	struct xr_reactor *reactor;
	bool is_done;
	int32_t result;
};

static void on_op_done(struct xr_op *op, int32_t result)
{
	struct pending *pending = xu_container_of(op, struct pending, op);

	pending->is_done = true;
	pending->result = result;
}

static void submit_op(void *arg)
{
	struct pending *pending = arg;

	xr_op_submit(pending->reactor, &pending->op);
}

static bool is_op_done(void *arg)
{
	return ((struct pending *)arg)->is_done;
}

/* Sends or receives `len` bytes, however they come; false when the connection ends before. */
static bool transfer(struct wire_conn *conn, enum xr_opcode opcode, void *buf, size_t len)
{
	struct iovec iov = {buf, len};
	struct pending pending = {
		.op = {.cb = on_op_done, .opcode = (uint8_t)opcode, .fd = conn->fd, .iov = &iov},
		.reactor = conn->reactor,
	};

	pending.op.nr_iov = 1;
	while (iov.iov_len != 0) {
		pending.is_done = false;
		sim_call(conn->sim, conn->reactor, submit_op, &pending);
		assert_int_equal(sim_run(conn->sim, is_op_done, &pending, PATIENCE_NS), 0);
		if (pending.result <= 0) {
			return false;
		}
		iov.iov_base = (char *)iov.iov_base + pending.result;
		iov.iov_len -= (size_t)pending.result;
	}
	return true;
}

/* Set Features: the keep-alive time of a controller. 0, or what the command came back with. */
static int set_keep_alive(struct wire_conn *conn, uint32_t kato_ms)
{
	struct nvme_tcp_cmd pdu = {.hdr = {NVME_TCP_CMD, 0, sizeof(pdu), 0, sizeof(pdu)},
		.sqe = {.opc = NVME_ADMIN_SET_FEATURES,
			.flags = 0x40,
			.cid = conn->next_cid++,
			.sgl = {.type = NVME_SGL_TRANSPORT_DATA},
			.cdw10 = NVME_FEAT_KEEP_ALIVE,
			.cdw11 = kato_ms}};
	struct nvme_tcp_rsp rsp;

	if (!transfer(conn, XR_OP_SEND, &pdu, sizeof(pdu)) ||
		!transfer(conn, XR_OP_RECV, &rsp, sizeof(rsp)) || rsp.hdr.type != NVME_TCP_RSP) {
		return -EIO;
	}
	return rsp.cqe.status;
}

/* The controller answers, and so has not been dropped. */
static bool is_alive(struct wire_conn *conn)
{
	return wire_enable(conn).error == 0;
}

static void close_all(struct wire_conn *conns, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		wire_close(&conns[i]);
	}
}

/* Ends a world whose hosts have closed their connections: nothing is left of them. */
static void leave(struct world *w)
{
	assert_int_equal(sim_run_for(w->sim, XU_NS_PER_S), 0);
	assert_int_equal(stat_of(w, "connections"), 0);
	world_stop(w);
}

/* The quietest discovery controller makes room, one that has just been used does not. */
static void test_edges_full_of_discovery(void **state)
{
	struct wire_conn conns[NR_PLACES], late[2];
	struct world w;

	world_start_with(&w, NR_PLACES, NULL);
	for (uint32_t i = 0; i < NR_PLACES; i++) {
		assert_int_equal(open_ctrl(&w, &conns[i], XNVMF_DISCOVERY_NQN), 0);
	}
	assert_int_not_equal(open_ctrl(&w, &late[0], NQN), 0); /* all of them are at work */
	assert_int_equal(stat_of(&w, "refused_total"), 1);
	assert_int_equal(sim_run_for(w.sim, 3 * XU_NS_PER_S), 0);
	assert_true(is_alive(&conns[0])); /* now number 1 is the quietest, then 2 */
	assert_int_equal(open_ctrl(&w, &late[0], NQN), 0);
	assert_int_equal(open_ctrl(&w, &late[1], NQN), 0);
	assert_true(is_alive(&conns[0]));
	assert_false(is_alive(&conns[1]));
	assert_false(is_alive(&conns[2]));
	assert_true(is_alive(&conns[3]));
	assert_true(is_alive(&late[0]));
	assert_int_equal(stat_of(&w, "connections"), NR_PLACES);
	assert_int_equal(stat_of(&w, "dropped_total"), 2);
	close_all(conns, NR_PLACES);
	close_all(late, 2);
	leave(&w);
}

/* Then the oldest connection without Connect; what serves I/O is never dropped. */
static void test_edges_full_of_silence(void **state)
{
	struct wire_conn silent[NR_PLACES], hosts[NR_PLACES + 1];
	struct world w;

	world_start_with(&w, NR_PLACES, NULL);
	for (uint32_t i = 0; i < NR_PLACES; i++) {
		assert_int_equal(open_conn(&w, &silent[i]), 0);
	}
	assert_int_not_equal(open_ctrl(&w, &hosts[0], NQN), 0);
	assert_int_equal(sim_run_for(w.sim, 3 * XU_NS_PER_S), 0);
	for (uint32_t i = 0; i < NR_PLACES; i++) {
		assert_int_equal(open_ctrl(&w, &hosts[i], NQN), 0);
	}
	assert_int_equal(sim_run_for(w.sim, 20 * XU_NS_PER_S), 0);
	assert_int_not_equal(open_ctrl(&w, &hosts[NR_PLACES], NQN), 0);
	for (uint32_t i = 0; i < NR_PLACES; i++) {
		assert_false(is_alive(&silent[i]));
		assert_true(is_alive(&hosts[i]));
	}
	assert_int_equal(stat_of(&w, "connections"), NR_PLACES);
	close_all(hosts, NR_PLACES);
	close_all(silent, NR_PLACES);
	leave(&w);
}

/* Without keep-alive nobody asks whether the host is still there, so two quiet minutes are the
 * end; one that works stays. */
static void test_edges_idle_discovery(void **state)
{
	struct wire_conn idle, busy;
	struct world w;

	world_start(&w);
	assert_int_equal(open_ctrl(&w, &idle, XNVMF_DISCOVERY_NQN), 0);
	assert_int_equal(open_ctrl(&w, &busy, XNVMF_DISCOVERY_NQN), 0);
	assert_int_equal(set_keep_alive(&idle, 0), 0);
	assert_int_equal(set_keep_alive(&busy, 0), 0);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(stat_of(&w, "connections"), i < 3 ? 2 : 1);
		assert_int_equal(sim_run_for(w.sim, 50 * XU_NS_PER_S), 0);
		assert_int_equal(set_keep_alive(&busy, 0), 0);
	}
	assert_false(is_alive(&idle));
	wire_close(&busy);
	wire_close(&idle);
	leave(&w);
}

/* A flood of refusals is a line now and then, which tells how many there were. */
static void test_edges_refusals_are_not_a_flood(void **state)
{
	char path[] = "/tmp/test-target-edges.XXXXXX", text[8192];
	const struct xu_log_opts log_opts = {
		.level = XU_LOG_WARN, .target = XU_LOG_TO_FILE, .path = path};
	struct wire_conn hosts[NR_PLACES], late;
	int fd = mkstemp(path), nr_lines = 0;
	struct xu_logger *log;
	struct xu_error err;
	struct world w;
	ssize_t len;

	assert_true(fd >= 0);
	assert_int_equal(xu_logger_new(&log_opts, &log, &err), 0);
	world_start_with(&w, NR_PLACES, log);
	for (uint32_t i = 0; i < NR_PLACES; i++) {
		assert_int_equal(open_ctrl(&w, &hosts[i], NQN), 0);
	}
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_not_equal(open_conn(&w, &late), 0);
	}
	assert_int_equal(sim_run_for(w.sim, 11 * XU_NS_PER_S), 0);
	assert_int_not_equal(open_conn(&w, &late), 0);
	assert_int_equal(stat_of(&w, "refused_total"), 51);
	close_all(hosts, NR_PLACES);
	leave(&w);
	xu_logger_free(log);
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	unlink(path);
	assert_true(len > 0);
	text[len] = '\0';
	assert_non_null(strstr(text, "(0 more were refused"));
	assert_non_null(strstr(text, "(49 more were refused"));
	for (const char *at = text; (at = strstr(at, "a connection was refused")) != NULL; at++) {
		nr_lines++;
	}
	assert_int_equal(nr_lines, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges_subsystem_removed_twice),
		cmocka_unit_test(test_edges_target_stopped_twice),
		cmocka_unit_test(test_edges_ns_without_a_channel),
		cmocka_unit_test(test_edges_identity_names_one_namespace),
		cmocka_unit_test(test_edges_full_of_discovery),
		cmocka_unit_test(test_edges_full_of_silence),
		cmocka_unit_test(test_edges_idle_discovery),
		cmocka_unit_test(test_edges_refusals_are_not_a_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
