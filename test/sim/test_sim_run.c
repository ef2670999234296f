/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated world's time and order: what sim_run() returns, whose turn it is, who is paused,
 * and that a seed decides all of it. */
#include "test/sim/test_op.h"

#include <errno.h>

#include "lib/util/clock.h"

struct alarm {
	struct xr_timer timer;
	struct sim *sim;
	uint64_t rang_ns;
	uint32_t nr_rings;
};

static void on_alarm(struct xr_timer *timer)
{
	struct alarm *alarm = xu_container_of(timer, struct alarm, timer);

	alarm->rang_ns = sim_now_ns(alarm->sim);
	alarm->nr_rings++;
}

static bool has_rung(void *arg)
{
	return ((struct alarm *)arg)->nr_rings != 0;
}

static bool never(void *arg)
{
	return false;
}

static void test_time_passes_only_when_waited_for(void **state)
{
	struct sim *sim = sim_new(1);
	struct sim_host *host = sim_host_new(sim, "a", NULL);
	struct xr_reactor *reactor = test_reactor(host);
	struct alarm early = {.timer.fn = on_alarm, .sim = sim}, late = early;

	xr_timer_start(reactor, &late.timer, 3600 * XU_NS_PER_S);
	xr_timer_start(reactor, &early.timer, 5 * XU_NS_PER_S);
	assert_int_equal(sim_run(sim, has_rung, &early, 5 * XU_NS_PER_S - 1), -ETIMEDOUT);
	assert_int_equal(sim_now_ns(sim), 5 * XU_NS_PER_S - 1);
	assert_int_equal(sim_run(sim, has_rung, &early, 1), 0);
	assert_int_equal(early.rang_ns, 5 * XU_NS_PER_S);
	assert_int_equal(sim_run(sim, has_rung, &late, UINT64_MAX), 0);
	assert_int_equal(late.rang_ns, 3600 * XU_NS_PER_S);
	assert_int_equal(early.nr_rings + late.nr_rings, 2);
	xr_reactor_free(reactor);
	sim_free(sim);
}

static void test_nothing_to_wait_for(void **state)
{
	struct sim *sim = sim_new(1);
	struct xr_reactor *reactor = test_reactor(sim_host_new(sim, "a", NULL));

	assert_int_equal(sim_run(sim, never, NULL, UINT64_MAX), -EDEADLK);
	assert_int_equal(sim_run(sim, NULL, NULL, UINT64_MAX), 0);
	assert_int_equal(sim_now_ns(sim), 0);
	assert_int_equal(sim_run_for(sim, 77), 0);
	assert_int_equal(sim_now_ns(sim), 77);
	xr_reactor_free(reactor);
	sim_free(sim);
}

static uint64_t always_busy(struct xr_poller *poller)
{
	return XR_BUSY;
}

static void test_a_world_that_never_sleeps_is_found_out(void **state)
{
	struct sim *sim = sim_new(1);
	struct xr_reactor *reactor = test_reactor(sim_host_new(sim, "a", NULL));
	struct xr_poller poller = {.fn = always_busy};

	xr_poller_add(reactor, &poller);
	assert_int_equal(sim_run(sim, never, NULL, XU_NS_PER_S), -ELOOP);
	xr_poller_del(reactor, &poller);
	assert_int_equal(sim_run(sim, never, NULL, XU_NS_PER_S), -EDEADLK);
	xr_reactor_free(reactor);
	sim_free(sim);
}

static void test_clocks_of_hosts_differ(void **state)
{
	struct sim *sim = sim_new(1);
	struct sim_host *a = sim_host_new(sim, "a", NULL), *b = sim_host_new(sim, "b", NULL);
	const struct xu_clock *clock_a = sim_host_platform(a)->clock;
	const struct xu_clock *clock_b = sim_host_platform(b)->clock;
	uint64_t a_ns = xu_clock_now_ns(clock_a), b_ns = xu_clock_now_ns(clock_b);

	assert_int_not_equal(a_ns, b_ns);
	assert_int_equal(clock_a->wall_ns(clock_a), clock_b->wall_ns(clock_b));
	sim_host_set_wall_skew(b, -500);
	assert_int_equal(clock_a->wall_ns(clock_a), clock_b->wall_ns(clock_b) + 500);
	assert_int_equal(sim_run_for(sim, 1000), 0);
	assert_int_equal(xu_clock_now_ns(clock_a), a_ns + 1000);
	assert_int_equal(xu_clock_now_ns(clock_b), b_ns + 1000);
	assert_string_equal(sim_host_address(b), "10.0.0.2");
	assert_string_equal(sim_host_name(b), "b");
	assert_ptr_equal(sim_platform(sim), sim_host_platform(a));
	sim_free(sim);
}

static void test_paused_host_catches_up(void **state)
{
	struct sim *sim = sim_new(1);
	struct sim_host *host = sim_host_new(sim, "a", NULL);
	struct xr_reactor *reactor = test_reactor(host);
	struct alarm alarm = {.timer.fn = on_alarm, .sim = sim};

	xr_timer_start(reactor, &alarm.timer, XU_NS_PER_S);
	sim_host_pause(host, true);
	assert_int_equal(sim_run_for(sim, 10 * XU_NS_PER_S), 0);
	assert_int_equal(alarm.nr_rings, 0);
	sim_host_pause(host, false);
	assert_int_equal(sim_run(sim, has_rung, &alarm, 0), 0);
	assert_int_equal(alarm.rang_ns, 10 * XU_NS_PER_S);
	xr_reactor_free(reactor);
	sim_free(sim);
}

/* Virtual time does not pass while one spins, so nobody may. Disk operations come fast enough here
 * for a reactor that would. */
static void test_nobody_spins(void **state)
{
	struct sim *sim = sim_new(1);
	struct sim_host *host = sim_host_new(sim, "a", NULL);
	struct xr_reactor_opts opts = {
		.platform = sim_host_platform(host), .cpu = -1, .spin_max_ns = 1000000};
	const struct sim_disk_opts fast = {
		.size_bytes = 512, .latency_min_ns = 10, .latency_max_ns = 20};
	struct xr_reactor_stats stats;
	struct xr_reactor *reactor;
	char byte;
	int fd;

	assert_int_equal(xr_reactor_new(&opts, &reactor, NULL), 0);
	sim_disk_new(host, "d", &fast);
	fd = test_open(host, "d", NULL);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(test_do_rw(sim, reactor, XR_OP_READ, 0, fd, 0, &byte, 1), 1);
	}
	xr_reactor_stats_get(reactor, &stats);
	assert_int_equal(stats.nr_spins, 0);
	assert_true(stats.nr_sleeps >= 100);
	test_close(host, fd);
	xr_reactor_free(reactor);
	sim_free(sim);
}

struct job {
	struct xr_work work;
	struct sim *sim;
	uint64_t worked_ns, done_ns;
	bool is_within_submit;
	struct xr_reactor *ran_on;
};

static void on_work(struct xr_work *work)
{
	struct job *job = xu_container_of(work, struct job, work);

	assert_false(job->is_within_submit);
	job->ran_on = xr_reactor_current();
	job->worked_ns = sim_now_ns(job->sim);
}

static void on_work_done(struct xr_work *work)
{
	struct job *job = xu_container_of(work, struct job, work);

	assert_ptr_equal(xr_reactor_current(), job->ran_on);
	job->done_ns = sim_now_ns(job->sim);
}

static bool is_job_done(void *arg)
{
	return ((struct job *)arg)->done_ns != 0;
}

static void test_work_runs_on_its_reactor_later(void **state)
{
	struct sim *sim = sim_new(3);
	struct xr_reactor *reactor = test_reactor(sim_host_new(sim, "a", NULL));
	struct job job = {.work = {.work = on_work, .done = on_work_done}, .sim = sim};

	job.is_within_submit = true;
	xr_work_submit(reactor, &job.work);
	job.is_within_submit = false;
	assert_int_equal(sim_run(sim, is_job_done, &job, XU_NS_PER_S), 0);
	assert_ptr_equal(job.ran_on, reactor);
	assert_true(job.worked_ns > 0);
	assert_true(job.done_ns >= job.worked_ns);
	xr_reactor_free(reactor);
	sim_free(sim);
}

struct turn {
	struct xr_msg msg;
	char name;
	char *log;
};

static void on_turn(struct xr_msg *msg)
{
	struct turn *turn = xu_container_of(msg, struct turn, msg);

	turn->log[strlen(turn->log)] = turn->name;
}

/* Three reactors with a message each: over some seeds, each of the six orders is seen. */
static void test_order_of_reactors_is_random(void **state)
{
	static const char *const orders[] = {"abc", "acb", "bac", "bca", "cab", "cba"};
	uint32_t seen[ARRAY_SIZE(orders)] = {0};

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct sim *sim = sim_new(seed);
		struct sim_host *host = sim_host_new(sim, "a", NULL);
		struct xr_reactor *reactors[3];
		struct turn turns[3];
		char log[4] = "";

		for (int i = 0; i < 3; i++) {
			reactors[i] = test_reactor(host);
			turns[i] = (struct turn){
				.msg.fn = on_turn, .name = (char)('a' + i), .log = log};
			xr_msg_send(reactors[i], &turns[i].msg);
		}
		assert_int_equal(sim_run(sim, NULL, NULL, 0), 0);
		for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
			seen[i] += strcmp(log, orders[i]) == 0;
		}
		for (int i = 0; i < 3; i++) {
			xr_reactor_free(reactors[i]);
		}
		sim_free(sim);
	}
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		assert_in_range(seen[i], 4, 40);
	}
}

static struct sim *running;

static void run_again(struct xr_msg *msg)
{
	sim_run_for(running, 1);
}

static void run_from_a_callback(void *arg)
{
	struct xr_msg msg = {.fn = run_again};

	xr_msg_send(arg, &msg);
	sim_run_for(running, 1);
}

static void test_running_from_a_callback_is_a_mistake(void **state)
{
	struct xr_reactor *reactor;

	running = sim_new(1);
	reactor = test_reactor(sim_host_new(running, "a", NULL));
	assert_true(test_aborts(run_from_a_callback, reactor));
	xr_reactor_free(reactor);
	sim_free(running);
}

static void free_with_pending(void *arg)
{
	xr_reactor_free(arg);
}

static void test_free_with_a_pending_operation_is_a_mistake(void **state)
{
	struct sim *sim = sim_new(1);
	struct sim_host *host = sim_host_new(sim, "a", NULL);
	struct xr_reactor *reactor = test_reactor(host);
	struct test_op top = {0};
	char byte;

	sim_disk_new(host, "d", &(struct sim_disk_opts){.size_bytes = 512});
	test_rw(sim, reactor, &top, XR_OP_READ, test_open(host, "d", NULL), 0, &byte, 1);
	assert_true(test_aborts(free_with_pending, reactor));
	assert_int_equal(test_wait(&top), 1);
	xr_reactor_free(reactor);
	sim_free(sim);
}

/* ---- determinism ---- */

/* A world with a bit of everything: each of two hosts writes its disk and talks to the other. */
#define NR_TALKS 40

struct node {
	struct sim *sim;
	struct sim_host *host;
	struct xr_reactor *reactor;
	struct xr_timer timer;
	struct test_op io, talk;
	int file_fd, sock_fd;
	uint32_t nr_left;
	char block[512], byte;
};

static void on_tick(struct xr_timer *timer)
{
	struct node *node = xu_container_of(timer, struct node, timer);
	struct xu_random *random = xr_reactor_random(node->reactor);

	if (node->io.result != PENDING) {
		xu_random_bytes(random, node->block, sizeof(node->block));
		test_rw(node->sim, node->reactor, &node->io, XR_OP_WRITE, node->file_fd,
			xu_random_below(random, 8) * 512, node->block, sizeof(node->block));
	}
	if (node->talk.result != PENDING) {
		enum xr_opcode opcode = xu_random_below(random, 3) == 0 ? XR_OP_RECV : XR_OP_SEND;

		test_rw(node->sim, node->reactor, &node->talk, opcode, node->sock_fd, 0,
			node->block, 1 + xu_random_below(random, 512));
	}
	if (--node->nr_left != 0) {
		xr_timer_start(node->reactor, timer, xu_random_below(random, XU_NS_PER_MS));
	}
}

static void node_init(struct node *node, struct sim *sim, const char *name)
{
	*node = (struct node){.sim = sim, .nr_left = NR_TALKS, .timer.fn = on_tick};
	node->host = sim_host_new(sim, name, NULL);
	node->reactor = test_reactor(node->host);
	sim_disk_new(node->host, "d", &(struct sim_disk_opts){.size_bytes = 4096});
	node->file_fd = test_open(node->host, "d", NULL);
}

static void nodes_connect(struct node *from, struct node *to)
{
	const struct xr_platform *client = sim_host_platform(from->host);
	const struct xr_platform *server = sim_host_platform(to->host);
	struct xr_listen_opts opts = {.address = "0.0.0.0", .port = 4420, .backlog = 1};
	struct test_op connect = {0}, accept = {0};
	int fd = server->tcp_listen(server, &opts, NULL);

	assert_true(fd > 0);
	test_submit(from->sim, to->reactor, &accept, XR_OP_ACCEPT, fd);
	from->sock_fd = client->tcp_socket(client, "10.0.0.2");
	connect.op.addr = (struct sockaddr *)&connect.addr;
	connect.op.addr_len = (uint32_t)xr_address_parse("10.0.0.2", 4420, &connect.addr);
	test_submit(from->sim, from->reactor, &connect, XR_OP_CONNECT, from->sock_fd);
	assert_int_equal(test_wait(&connect), 0);
	to->sock_fd = test_wait(&accept);
	assert_true(to->sock_fd > 0);
	server->close(server, fd);
}

static uint64_t trace_of_a_world(uint64_t seed)
{
	struct sim *sim = sim_new(seed);
	struct node nodes[2];
	uint64_t hash;

	node_init(&nodes[0], sim, "a");
	node_init(&nodes[1], sim, "b");
	nodes_connect(&nodes[0], &nodes[1]);
	for (int i = 0; i < 2; i++) {
		xr_timer_start(nodes[i].reactor, &nodes[i].timer, 1);
	}
	assert_int_equal(sim_run(sim, NULL, NULL, 10 * XU_NS_PER_S), 0);
	assert_int_equal(nodes[0].nr_left + nodes[1].nr_left, 0);
	sim_host_power_fail(nodes[0].host, NULL);
	hash = sim_trace_hash(sim);
	sim_host_bury(nodes[0].host);
	sim_net_cut(sim, NULL, NULL);
	test_close(nodes[1].host, nodes[1].file_fd);
	for (int i = 0; i < 2; i++) {
		if (nodes[i].talk.op.is_pending) {
			xr_op_cancel(nodes[i].reactor, &nodes[i].talk.op);
			test_wait(&nodes[i].talk);
		}
		assert_false(nodes[i].io.op.is_pending);
		xr_reactor_free(nodes[i].reactor);
	}
	sim_free(sim);
	return hash;
}

static void test_seed_decides_everything(void **state)
{
	uint64_t first = trace_of_a_world(11);
	void *shift;

	for (int i = 0; i < 5; i++) {
		shift = malloc(1 + 777 * (size_t)i); /* other addresses, the same world */
		assert_int_equal(trace_of_a_world(11), first);
		free(shift);
	}
	for (uint64_t seed = 12; seed < 40; seed++) {
		assert_int_not_equal(trace_of_a_world(seed), first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time_passes_only_when_waited_for),
		cmocka_unit_test(test_nothing_to_wait_for),
		cmocka_unit_test(test_a_world_that_never_sleeps_is_found_out),
		cmocka_unit_test(test_clocks_of_hosts_differ),
		cmocka_unit_test(test_paused_host_catches_up),
		cmocka_unit_test(test_nobody_spins),
		cmocka_unit_test(test_work_runs_on_its_reactor_later),
		cmocka_unit_test(test_order_of_reactors_is_random),
		cmocka_unit_test(test_running_from_a_callback_is_a_mistake),
		cmocka_unit_test(test_free_with_a_pending_operation_is_a_mistake),
		cmocka_unit_test(test_seed_decides_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
