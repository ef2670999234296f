/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A subsystem is removed, or the target stops, while messages about what is in it are under way
 * between the reactors, or while the kernel has an accept. Each case is tried at every moment: the
 * world is let go on by one more round of a reactor each time.
 */
#include "lib/reactor/address.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "test/unit/xnvmf/sim_target.h"

#define NR_MOMENTS 60u

/* ---- what is under way ---- */

struct scene {
	struct sim_target t;
	struct sim_initiator h;
	bool has_host;
	struct wire_conn third; /* a connection whose Connect is under way */
	bool is_ns_removed;
	uint32_t nr_removed; /* subsystems; told once each */
};

/* How a scene begins: what is there, and what then comes under way. */
struct beginning {
	bool has_host, has_ns;
	void (*fn)(struct scene *s);
};

static void on_ns_removed(void *arg)
{
	((struct scene *)arg)->is_ns_removed = true;
}

static void remove_ns(void *arg)
{
	struct scene *s = arg;
	struct xu_error err = {0};

	assert_int_equal(xnvmf_ns_remove(s->t.subsystem, 1, on_ns_removed, s, &err), 0);
}

/* The namespace's closing visits the reactors. */
static void begin_ns_removal(struct scene *s)
{
	sim_target_call(&s->t, remove_ns, s);
}

/* Three connections end in one round of their reactors; the control reactor is told, and tells them
 * to end. */
static void begin_host_leaves(struct scene *s)
{
	sim_host_pause(s->t.node, true);
	assert_int_not_equal(sim_net_cut(s->t.sim, s->t.client, s->t.node), 0);
	sim_target_run(&s->t, XU_NS_PER_MS);
	sim_host_pause(s->t.node, false);
}

/* Errors of I/O queues are on their way to the controller's log. */
static void begin_errors(struct scene *s)
{
	for (uint32_t i = 0; i < 16; i++) {
		struct nvme_cmd cmd = wire_io_cmd(NVME_IO_READ, 1, 1ull << 40, 4096);

		assert_int_equal(wire_send_cmd(&s->h.io[i % 2], &cmd, NULL, 4096), 0);
	}
}

/* An I/O queue is being connected, and moves to another reactor. */
static void begin_connect(struct scene *s)
{
	struct wire_connect_opts opts = s->h.opts;
	struct nvme_connect_data data;
	struct nvme_cmd cmd;

	opts.qid = 3;
	opts.cntlid = s->h.cntlid;
	cmd = wire_connect_cmd(&opts, &data);
	assert_int_equal(wire_send_cmd(&s->third, &cmd, &data, sizeof(data)), 0);
	sim_target_run(&s->t, 20 * XU_NS_PER_US);
}

/* A namespace is being added; it is removed before it is there. */
static void add_ns(void *arg)
{
	const struct xnvmf_ns_opts opts = {.nsid = 2, .device = "b"};
	struct scene *s = arg;
	struct xu_error err = {0};

	assert_int_equal(xnvmf_ns_add(s->t.subsystem, &opts, NULL, NULL, NULL, &err), 0);
}

static void begin_ns_addition(struct scene *s)
{
	sim_target_call(&s->t, add_ns, s);
}

/* All of it. */
static void begin_everything(struct scene *s)
{
	begin_connect(s);
	begin_ns_addition(s);
	begin_ns_removal(s);
	begin_errors(s);
	begin_host_leaves(s);
}

/* ---- a subsystem is removed ---- */

static void on_removed(void *arg)
{
	((struct scene *)arg)->nr_removed++;
}

static void remove_subsystem(void *arg)
{
	struct scene *s = arg;

	xnvmf_subsystem_remove(s->t.subsystem, on_removed, s);
}

static bool is_removed(void *arg)
{
	return ((struct scene *)arg)->nr_removed != 0;
}

/* The same name can be used again, by a subsystem that works. */
static void add_again(void *arg)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {.nqn = SIM_TARGET_NQN, .allow_any_host = true};
	const struct xnvmf_ns_opts ns = {.nsid = 1, .device = "a"};
	struct scene *s = arg;
	struct xu_error err = {0};

	assert_int_equal(xnvmf_subsystem_add(s->t.target, &opts, &s->t.subsystem, &err), 0);
	assert_int_equal(xnvmf_ns_add(s->t.subsystem, &ns, NULL, NULL, NULL, &err), 0);
	assert_int_equal(xnvmf_listener_add(s->t.subsystem, &listener, &err), 0);
}

static void scene_start(struct scene *s, const struct beginning *beginning, uint32_t moment)
{
	*s = (struct scene){.has_host = beginning->has_host};
	sim_target_start(&s->t, &(struct sim_target_opts){.seed = moment + 1, .nr_reactors = 3});
	if (s->has_host) {
		sim_initiator_attach(&s->h, &s->t, 0, 2);
		sim_initiator_check(&s->h, 1);
		sim_target_open(&s->t, &s->third);
	}
	if (!beginning->has_ns) {
		sim_target_call(&s->t, remove_ns, s);
		sim_target_wait(&s->t, &s->is_ns_removed, XU_NS_PER_S);
	}
	beginning->fn(s);
	sim_target_step(&s->t, moment);
}

static void scene_stop(struct scene *s)
{
	if (s->has_host) {
		wire_close(&s->third);
		sim_initiator_detach(&s->h);
	}
	sim_target_stop(&s->t);
}

static void remove_at_every_moment(const struct beginning *beginning)
{
	for (uint32_t moment = 0; moment < NR_MOMENTS; moment++) {
		struct sim_initiator next = {0};
		static struct scene s;

		scene_start(&s, beginning, moment);
		sim_target_call(&s.t, remove_subsystem, &s);
		assert_int_equal(sim_run(s.t.sim, is_removed, &s, XU_NS_PER_S), 0);
		sim_target_call(&s.t, add_again, &s);
		sim_initiator_attach(&next, &s.t, 1, 2);
		sim_initiator_check(&next, 1);
		assert_int_equal(s.nr_removed, 1);
		sim_initiator_detach(&next);
		scene_stop(&s);
	}
}

/* Nothing but a namespace is left, and it is going already: its end and the subsystem's own message
 * to itself arrive together. */
static void test_removal_while_the_last_namespace_goes(void **state)
{
	remove_at_every_moment(&(struct beginning){.has_ns = true, .fn = begin_ns_removal});
}

/* The same with the last controller. */
static void test_removal_while_the_last_controller_goes(void **state)
{
	remove_at_every_moment(&(struct beginning){.has_host = true, .fn = begin_host_leaves});
}

static void test_removal_while_a_namespace_goes(void **state)
{
	remove_at_every_moment(&(struct beginning){true, true, begin_ns_removal});
}

static void test_removal_while_a_namespace_comes(void **state)
{
	remove_at_every_moment(&(struct beginning){true, true, begin_ns_addition});
}

static void test_removal_while_a_host_leaves(void **state)
{
	remove_at_every_moment(&(struct beginning){true, true, begin_host_leaves});
}

static void test_removal_while_errors_are_told(void **state)
{
	remove_at_every_moment(&(struct beginning){true, true, begin_errors});
}

static void test_removal_while_a_queue_moves(void **state)
{
	remove_at_every_moment(&(struct beginning){true, true, begin_connect});
}

static void test_removal_in_the_middle_of_everything(void **state)
{
	remove_at_every_moment(&(struct beginning){true, true, begin_everything});
}

/* ---- the target stops ---- */

static void test_stop_in_the_middle_of_everything(void **state)
{
	const struct beginning beginning = {true, true, begin_everything};

	for (uint32_t moment = 0; moment < NR_MOMENTS; moment++) {
		static struct scene s;

		scene_start(&s, &beginning, moment);
		sim_target_begin_stop(&s.t);
		scene_stop(&s);
	}
}

/* A connection that a host makes, without anybody waiting for it. */
struct call {
	struct xr_op op;
	struct sim_target *t;
	struct sockaddr_storage addr;
	int fd;
	bool is_done;
};

static void on_called(struct xr_op *op, int32_t result)
{
	xu_container_of(op, struct call, op)->is_done = true;
}

static void submit_call(void *arg)
{
	struct call *call = arg;

	xr_op_submit(call->t->reactor, &call->op);
}

static void call_node(struct call *call, struct sim_target *t)
{
	const struct xr_platform *platform = sim_host_platform(t->client);
	int len;

	*call = (struct call){.t = t};
	len = xr_address_parse(sim_host_address(t->node), 4420, &call->addr);
	assert_true(len > 0);
	call->fd = platform->tcp_socket(platform, sim_host_address(t->node));
	call->op.cb = on_called;
	call->op.opcode = XR_OP_CONNECT;
	call->op.fd = call->fd;
	call->op.addr = (const struct sockaddr *)&call->addr;
	call->op.addr_len = (uint32_t)len;
	sim_call(t->sim, t->reactor, submit_call, call);
}

static void end_call(struct call *call)
{
	const struct xr_platform *platform = sim_host_platform(call->t->client);

	sim_target_wait(call->t, &call->is_done, 600 * XU_NS_PER_S);
	platform->close(platform, call->fd);
}

/* More addresses to listen on, and no namespace whose closing would take longer than the accepts'
 * coming back. */
static void add_listeners(void *arg)
{
	struct xnvmf_listener_opts listener = {.trtype = "tcp", .traddr = "0.0.0.0"};
	static const char *const ports[] = {"4421", "4422", "4423"};
	struct scene *s = arg;
	struct xu_error err = {0};

	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		listener.trsvcid = ports[i];
		assert_int_equal(xnvmf_listener_add(s->t.subsystem, &listener, &err), 0);
	}
}

static void begin_listening(struct scene *s)
{
	sim_target_call(&s->t, add_listeners, s);
}

/* Hosts connect at the moment at which the target stops: an accept has nobody, or somebody, or is
 * being cancelled. Stopped means that the kernel has given all of them back, which sim_target
 * checks. */
static void test_stop_while_the_kernel_has_accepts(void **state)
{
	const struct beginning beginning = {.fn = begin_listening};

	for (uint32_t moment = 0; moment < 2 * NR_MOMENTS; moment++) {
		uint32_t nr_calls = moment % 4;
		struct call calls[3];
		static struct scene s;

		scene_start(&s, &beginning, moment);
		for (uint32_t i = 0; i < nr_calls; i++) {
			call_node(&calls[i], &s.t);
		}
		sim_target_step(&s.t, moment / 4);
		sim_target_begin_stop(&s.t);
		sim_target_wait(&s.t, &s.t.is_stopped, XU_NS_PER_S);
		for (uint32_t i = 0; i < nr_calls; i++) {
			end_call(&calls[i]);
		}
		scene_stop(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_removal_while_the_last_namespace_goes),
		cmocka_unit_test(test_removal_while_the_last_controller_goes),
		cmocka_unit_test(test_removal_while_a_namespace_goes),
		cmocka_unit_test(test_removal_while_a_namespace_comes),
		cmocka_unit_test(test_removal_while_a_host_leaves),
		cmocka_unit_test(test_removal_while_errors_are_told),
		cmocka_unit_test(test_removal_while_a_queue_moves),
		cmocka_unit_test(test_removal_in_the_middle_of_everything),
		cmocka_unit_test(test_stop_in_the_middle_of_everything),
		cmocka_unit_test(test_stop_while_the_kernel_has_accepts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
