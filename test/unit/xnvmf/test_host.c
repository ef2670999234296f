/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host against our own target, both in the simulator: what is written is what is read, in every
 * combination of digests, in-capsule data, queue sizes and numbers of queues; connections that
 * break or fall silent, nodes that lose power, namespaces that grow and go; and that nothing is
 * lost, done twice or left behind meanwhile.
 */
#include "test/unit/xnvmf/host_world.h"

#include "lib/xbdev/driver/error.h"
#include "lib/xnvmf/wire/nvme.h"
#include "test/sim/sim_disk.h"

/* ---- data ---- */

static void run_load(uint64_t seed, uint32_t nr_reactors, const char *more,
	void (*set)(struct xnvmf_target_opts *opts))
{
	struct host_world w;
	struct world_load load;

	world_start(&w, seed, nr_reactors);
	if (set != NULL) {
		set(&w.target_opts);
	}
	world_start_node(&w);
	world_attach(&w, more);
	world_load_start(&w, &load, nr_reactors, 1500, false);
	world_load_finish(&w, &load);
	assert_int_equal(world_info(&w, "resets"), 0);
	world_stop(&w);
}

static void no_capsule_data(struct xnvmf_target_opts *opts)
{
	opts->in_capsule_data_size = 0;
}

static void small_r2ts(struct xnvmf_target_opts *opts)
{
	opts->in_capsule_data_size = 0;
	opts->max_h2c_data = 4096;
}

static void small_transfers(struct xnvmf_target_opts *opts)
{
	opts->max_io_size = 8192;
	opts->in_capsule_data_size = 16384;
}

static void test_host_data(void **state)
{
	run_load(1, 1, "", NULL);
	run_load(2, 1, "", no_capsule_data);
	run_load(3, 1, "", small_r2ts);
	run_load(4, 1, "", small_transfers);
}

static void test_host_data_with_digests(void **state)
{
	run_load(5, 1, ", 'hdr_digest': true", NULL);
	run_load(6, 1, ", 'data_digest': true", small_r2ts);
	run_load(7, 1, ", 'hdgst': true, 'ddgst': true", NULL);
	run_load(8, 1, ", 'hdgst': true, 'ddgst': true", no_capsule_data);
}

static void test_host_data_with_small_queues(void **state)
{
	run_load(9, 1, ", 'queue_size': 2", NULL);
	run_load(10, 1, ", 'queue_size': 5", small_r2ts);
}

static void test_host_data_on_many_reactors(void **state)
{
	run_load(11, 4, "", NULL);
	run_load(12, 3, ", 'hdgst': true, 'ddgst': true", small_r2ts);
}

/* ---- few queues ---- */

static void one_queue(struct xnvmf_target_opts *opts)
{
	opts->max_queues = 1;
}

static void two_queues(struct xnvmf_target_opts *opts)
{
	opts->max_queues = 2;
}

static void test_host_forwards_when_queues_are_few(void **state)
{
	run_load(13, 4, "", one_queue);
	run_load(14, 5, "", two_queues);
	run_load(15, 4, ", 'nr_io_queues': 3", NULL);
}

static void test_host_forwards_over_resets(void **state)
{
	struct host_world w;
	struct world_load load;

	world_start(&w, 16, 4);
	two_queues(&w.target_opts);
	world_start_node(&w);
	world_attach(&w, ", 'quiesce_ms': 50");
	world_load_start(&w, &load, 4, 2000, false);
	while (!world_load_is_done(&load)) {
		world_run_for(&w, 30 * XU_NS_PER_MS);
		sim_net_cut(w.sim, w.node, w.machine);
		world_run_for(&w, 200 * XU_NS_PER_MS);
	}
	assert_true(world_info(&w, "forwarded") > 100);
	assert_true(world_info(&w, "losses") > 0);
	world_load_finish(&w, &load);
	world_stop(&w);
}

/* ---- connections that end ---- */

static void run_cuts(uint64_t seed, uint32_t nr_reactors, const char *more)
{
	struct host_world w;
	struct world_load load;
	uint32_t nr_cuts = 0;

	world_start(&w, seed, nr_reactors);
	world_start_node(&w);
	world_attach(&w, more);
	world_load_start(&w, &load, nr_reactors, 3000, false);
	while (!world_load_is_done(&load)) {
		uint64_t us = xu_random_below(sim_random(w.sim), 40000);

		world_run_for(&w, us * XU_NS_PER_US);
		nr_cuts += sim_net_cut(w.sim, w.node, w.machine);
	}
	assert_true(nr_cuts > 4);
	assert_true(world_info(&w, "losses") > 0);
	assert_true(world_info(&w, "resets") > 1);
	world_load_finish(&w, &load);
	world_stop(&w);
}

static void test_host_survives_cut_connections(void **state)
{
	const char *rounds = getenv("SIM_ROUNDS");
	uint32_t nr_rounds = rounds != NULL ? (uint32_t)atoi(rounds) : 1;

	for (uint32_t i = 0; i < nr_rounds; i++) {
		printf("seed %u\n", 100 + i);
		run_cuts(100 + i, 1 + i % 3, ", 'quiesce_ms': 100, 'ddgst': true");
	}
}

/* Nothing arrives any more, and nobody says so: keep-alive finds out. */
static void test_host_notices_silence(void **state)
{
	struct host_world w;
	struct world_load load;

	world_start(&w, 20, 2);
	world_start_node(&w);
	world_attach(&w, ", 'keep_alive_timeout_ms': 2000, 'quiesce_ms': 500");
	world_load_start(&w, &load, 2, 20000, false);
	world_run_for(&w, 100 * XU_NS_PER_MS);
	assert_false(world_load_is_done(&load));
	sim_net_partition(w.sim, w.node, w.machine, true);
	assert_true(world_wait_state(&w, "live", false, 6));
	world_run_for(&w, 20 * XU_NS_PER_S);
	sim_net_partition(w.sim, w.node, w.machine, false);
	assert_true(world_wait_state(&w, "live", true, 30));
	world_load_finish(&w, &load);
	world_stop(&w);
}

static void test_host_stays_connected_when_idle(void **state)
{
	struct host_world w;

	world_start(&w, 21, 1);
	world_start_node(&w);
	world_attach(&w, ", 'keep_alive_timeout_ms': 1000");
	world_run_for(&w, 600 * XU_NS_PER_S);
	assert_true(world_state_is(&w, "live"));
	assert_int_equal(world_info(&w, "resets"), 0);
	world_stop(&w);
}

/* The target stops and starts again: I/O waits and goes on. */
static void test_host_waits_for_a_restarted_target(void **state)
{
	struct host_world w;
	struct sim_bdev bdev;
	struct sim_disk_opts disk = {.size_bytes = 16u << 20};
	char out[8192], in[8192];

	world_start(&w, 22, 2);
	sim_disk_new(w.node, "/disk", &disk);
	w.driver = "file";
	w.device = "{'name': 'disk', 'filename': '/disk',"
		   " 'uuid': '0c7ff6a5-6f5e-4d0e-9d2c-1f5f0c1c4b10'}";
	world_start_node(&w);
	world_attach(&w, "");
	assert_int_equal(sim_bdev_open(w.sim, w.ctx, "r", 1, &bdev, NULL), 0);
	for (uint32_t i = 0; i < 5; i++) {
		harness_fill(out, sizeof(out), i);
		assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_WRITE, XBDEV_IO_FUA, i * 8192, out,
					 sizeof(out)),
			0);
		world_stop_node(&w);
		world_run_for(&w, i * XU_NS_PER_S);
		world_start_node(&w);
		assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_READ, 0, i * 8192, in, sizeof(in)), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
	assert_int_equal(world_info(&w, "resets"), 5);
	sim_bdev_close(&bdev);
	world_stop(&w);
}

/* The node loses power in the middle of writes: what was acknowledged with FUA is there. */
static void test_host_keeps_what_was_acknowledged(void **state)
{
	struct host_world w;
	struct sim_bdev bdev;
	struct sim_disk_opts disk = {.size_bytes = 16u << 20};
	char out[4096], in[4096];

	world_start(&w, 23, 1);
	sim_disk_new(w.node, "/disk", &disk);
	w.driver = "file";
	w.device = "{'name': 'disk', 'filename': '/disk',"
		   " 'uuid': '0c7ff6a5-6f5e-4d0e-9d2c-1f5f0c1c4b10'}";
	world_start_node(&w);
	world_attach(&w, ", 'keep_alive_timeout_ms': 1000, 'quiesce_ms': 0");
	assert_int_equal(sim_bdev_open(w.sim, w.ctx, "r", 0, &bdev, NULL), 0);
	for (uint32_t i = 0; i < 20; i++) {
		struct sim_host *dead = w.node;

		for (uint32_t j = 0; j < 8; j++) {
			harness_fill(out, sizeof(out), i * 8 + j);
			assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_WRITE, XBDEV_IO_FUA, j * 4096,
						 out, sizeof(out)),
				0);
		}
		sim_host_power_fail(dead, NULL);
		sim_host_bury(dead);
		world_stop_node(&w);
		w.node = sim_host_reboot(dead);
		world_start_node(&w);
		for (uint32_t j = 0; j < 8; j++) {
			harness_fill(out, sizeof(out), i * 8 + j);
			assert_int_equal(
				sim_bdev_io(&bdev, XBDEV_OP_READ, 0, j * 4096, in, sizeof(in)), 0);
			assert_memory_equal(in, out, sizeof(in));
		}
	}
	assert_true(world_info(&w, "resets") >= 20);
	sim_bdev_close(&bdev);
	world_stop(&w);
}

/* ---- giving up ---- */

static bool is_removed(struct host_world *w)
{
	return w->is_removed;
}

static void test_host_removes_a_device_lost_for_too_long(void **state)
{
	struct host_world w;
	struct world_load load;
	struct xbdev_desc *desc;

	world_start(&w, 24, 2);
	world_start_node(&w);
	world_attach(&w, ", 'ctrl_loss_timeout_s': 30");
	desc = world_watch(&w, "r");
	world_load_start(&w, &load, 2, 20000, true);
	world_run_for(&w, 50 * XU_NS_PER_MS);
	world_stop_node(&w);
	world_run_for(&w, 25 * XU_NS_PER_S);
	assert_false(w.is_removed);
	assert_false(world_load_is_done(&load));
	assert_true(world_run_until(&w, is_removed, 10));
	world_load_finish(&w, &load);
	world_unwatch(&w, desc);
	world_run_for(&w, XU_NS_PER_S);
	assert_null(xbdev_device_find(w.ctx, "r"));
	world_stop(&w);
}

static void test_host_without_reconnecting(void **state)
{
	struct host_world w;
	struct xbdev_desc *desc;

	world_start(&w, 25, 1);
	world_start_node(&w);
	world_attach(&w, ", 'ctrl_loss_timeout_s': 0");
	desc = world_watch(&w, "r");
	sim_net_cut(w.sim, w.node, w.machine);
	assert_true(world_run_until(&w, is_removed, 1));
	world_unwatch(&w, desc);
	world_stop(&w);
}

static void test_host_fails_io_fast_when_told(void **state)
{
	struct host_world w;
	struct sim_bdev bdev;
	char buf[4096] = {1};
	uint64_t start_ns;

	world_start(&w, 26, 2);
	world_start_node(&w);
	world_attach(&w, ", 'fast_io_fail_timeout_s': 5, 'ctrl_loss_timeout_s': -1,"
			 " 'keep_alive_timeout_ms': 1000");
	assert_int_equal(sim_bdev_open(w.sim, w.ctx, "r", 1, &bdev, NULL), 0);
	assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_WRITE, 0, 0, buf, sizeof(buf)), 0);
	sim_net_partition(w.sim, w.node, w.machine, true);
	start_ns = sim_now_ns(w.sim);
	assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_WRITE, 0, 4096, buf, sizeof(buf)), -EIO);
	assert_in_range(sim_now_ns(w.sim) - start_ns, 5 * XU_NS_PER_S, 9 * XU_NS_PER_S);
	start_ns = sim_now_ns(w.sim);
	assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_READ, 0, 0, buf, sizeof(buf)), -EIO);
	assert_in_range(sim_now_ns(w.sim) - start_ns, 0, XU_NS_PER_MS);
	sim_net_partition(w.sim, w.node, w.machine, false);
	assert_true(world_wait_state(&w, "live", true, 60));
	assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_READ, 0, 0, buf, sizeof(buf)), 0);
	sim_bdev_close(&bdev);
	world_stop(&w);
}

static void test_host_is_removed_under_load(void **state)
{
	for (uint32_t i = 0; i < 8; i++) {
		struct host_world w;
		struct world_load load;
		struct xbdev_device *dev;

		world_start(&w, 30 + i, 3);
		if (i % 2 != 0) {
			one_queue(&w.target_opts);
		}
		world_start_node(&w);
		dev = world_attach(&w, "");
		world_load_start(&w, &load, 3, 20000, true);
		world_run_for(&w, (1 + i * 7) * XU_NS_PER_MS);
		if (i >= 4) {
			world_stop_node(&w);
			world_run_for(&w, i * 40 * XU_NS_PER_MS);
		}
		world_remove(&w, dev);
		world_load_finish(&w, &load);
		world_stop(&w);
	}
}

/* ---- namespaces that change ---- */

static void grow(struct host_world *w)
{
	xbdev_device_set_size(xbdev_device_find(w->node_ctx, "disk"), (8u << 20) / 512);
}

static bool is_resized(struct host_world *w)
{
	return w->is_resized;
}

static void test_host_hears_of_a_new_size(void **state)
{
	struct host_world w;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;

	world_start(&w, 40, 2);
	world_start_node(&w);
	dev = world_attach(&w, "");
	assert_int_equal(xbdev_device_size_bytes(dev), 16u << 20);
	desc = world_watch(&w, "r");
	world_on_node(&w, grow);
	assert_true(world_run_until(&w, is_resized, 5));
	assert_int_equal(xbdev_device_size_bytes(dev), 8u << 20);
	world_unwatch(&w, desc);
	world_stop(&w);
}

/* While it is not connected; it sees when it comes back. */
static void test_host_sees_a_new_size_after_reconnecting(void **state)
{
	struct host_world w;
	struct xbdev_device *dev;
	struct xbdev_desc *desc;

	world_start(&w, 41, 1);
	world_start_node(&w);
	dev = world_attach(&w, "");
	desc = world_watch(&w, "r");
	sim_net_partition(w.sim, w.node, w.machine, true);
	world_run_for(&w, 20 * XU_NS_PER_S);
	world_on_node(&w, grow);
	sim_net_partition(w.sim, w.node, w.machine, false);
	assert_true(world_run_until(&w, is_resized, 60));
	assert_int_equal(xbdev_device_size_bytes(dev), 8u << 20);
	world_unwatch(&w, desc);
	world_stop(&w);
}

static void remove_ns(struct host_world *w)
{
	MUST(xnvmf_ns_remove(w->subsystem, 1, NULL, NULL, NULL) == 0);
}

static void test_host_removes_the_device_of_a_removed_namespace(void **state)
{
	struct host_world w;
	struct world_load load;
	struct xbdev_desc *desc;

	world_start(&w, 42, 1);
	world_start_node(&w);
	world_attach(&w, "");
	desc = world_watch(&w, "r");
	world_load_start(&w, &load, 1, 20000, true);
	world_on_node(&w, remove_ns);
	assert_true(world_run_until(&w, is_removed, 5));
	world_load_finish(&w, &load);
	world_unwatch(&w, desc);
	world_stop(&w);
}

/* After a restart the namespace is another volume: its data must not be taken for the old one's. */
static void test_host_refuses_another_volume(void **state)
{
	struct host_world w;
	struct sim_bdev bdev;
	char buf[512] = {0};

	world_start(&w, 43, 1);
	w.device = "{'name': 'disk', 'size': '1MiB',"
		   " 'uuid': '0c7ff6a5-6f5e-4d0e-9d2c-1f5f0c1c4b10'}";
	world_start_node(&w);
	world_attach(&w, ", 'fast_io_fail_timeout_s': 10");
	assert_int_equal(sim_bdev_open(w.sim, w.ctx, "r", 0, &bdev, NULL), 0);
	world_stop_node(&w);
	w.device = "{'name': 'disk', 'size': '1MiB',"
		   " 'uuid': '11111111-6f5e-4d0e-9d2c-1f5f0c1c4b10'}";
	world_start_node(&w);
	assert_int_equal(sim_bdev_io(&bdev, XBDEV_OP_READ, 0, 0, buf, sizeof(buf)), -EIO);
	sim_bdev_close(&bdev);
	world_stop(&w);
}

/* ---- commands that take too long ---- */

static void hang(struct host_world *w)
{
	const struct xbdev_error_rule rule = {.kind = XBDEV_ERROR_HANG, .count = 1};

	xbdev_error_inject(xbdev_device_find(w->node_ctx, "slow"), &rule, NULL, NULL, NULL);
}

static void unhang(struct host_world *w)
{
	xbdev_error_clear(xbdev_device_find(w->node_ctx, "slow"), NULL, NULL, NULL);
}

static void use_slow(struct host_world *w)
{
	const struct xnvmf_ns_opts ns = {.nsid = 2, .device = "slow"};
	struct xu_error err = {0};

	MUST(xnvmf_ns_add(w->subsystem, &ns, NULL, NULL, NULL, &err) == 0);
}

/* Our target cannot take a command back from its device, so the connection is ended and the command
 * sent again on the next one. */
static void test_host_does_not_wait_for_ever(void **state)
{
	struct host_world w;
	struct sim_bdev bdev;
	struct world_io io;
	char buf[4096] = {0};
	uint64_t start_ns;

	world_start(&w, 44, 1);
	world_start_node(&w);
	assert_non_null(sim_bdev_create(
		w.sim, w.node_ctx, "malloc", "{'name': 'm', 'size': '1MiB'}", NULL));
	assert_non_null(
		sim_bdev_create(w.sim, w.node_ctx, "error", "{'name': 'slow', 'base': 'm'}", NULL));
	world_on_node(&w, use_slow);
	world_attach(&w, ", 'nsid': 2, 'io_timeout_ms': 1000, 'quiesce_ms': 0");
	assert_int_equal(sim_bdev_open(w.sim, w.ctx, "r", 0, &bdev, NULL), 0);
	world_on_node(&w, hang);
	start_ns = sim_now_ns(w.sim);
	world_io_start(&bdev, &io, XBDEV_OP_READ, 0, buf, sizeof(buf));
	world_run_for(&w, 4 * XU_NS_PER_S);
	assert_int_equal(world_info(&w, "overdue"), 1);
	assert_true(world_info(&w, "resets") >= 1);
	world_on_node(&w, unhang); /* the old association can end now */
	assert_int_equal(world_io_finish(&w, &io), 0);
	assert_in_range(sim_now_ns(w.sim) - start_ns, 2 * XU_NS_PER_S, 30 * XU_NS_PER_S);
	sim_bdev_close(&bdev);
	world_stop(&w);
}

/* ---- what cannot be made ---- */

static void check_refused(struct host_world *w, const char *more, int code, const char *words)
{
	struct xu_error err = {0};

	assert_null(world_try_attach(w, more, &err));
	if (err.code != code || strstr(err.text, words) == NULL) {
		fail_msg("%s: %d, %s", more, err.code, err.text);
	}
	assert_int_equal(sim_host_nr_open(w->machine), 0);
}

static void test_host_create_says_why_not(void **state)
{
	struct host_world w;

	world_start(&w, 50, 2);
	check_refused(&w, "", -ECONNREFUSED, "connecting failed");
	world_start_node(&w);
	check_refused(&w, ", 'port': 9", -ECONNREFUSED, "connecting failed");
	check_refused(&w, ", 'nqn': 'nqn.2026-11.io.xsan:other'", -ECONNREFUSED, "1/82h");
	check_refused(&w, ", 'nsid': 7", -ENODEV, "no namespace 7");
	check_refused(&w, ", 'traddr': 'localhost'", -EINVAL, "numeric");
	check_refused(&w, ", 'trsvcid': 'x'", -EINVAL, "trsvcid");
	check_refused(&w, ", 'hostnqn': 'a b'", -EINVAL, "printable");
	check_refused(&w, ", 'hostid': '12'", -EINVAL, "UUID");
	check_refused(&w, ", 'ctrl_loss_timeout_s': -2", -EINVAL, "from -1");
	check_refused(
		&w, ", 'ctrl_loss_timeout_s': 5, 'fast_io_fail_timeout_s': 6", -EINVAL, "longer");
	check_refused(&w, ", 'queue_size': 1", -EINVAL, "queue_size");
	check_refused(&w, ", 'trtype': 'rdma'", -EINVAL, "trtype");
	check_refused(
		&w, ", 'nqn': 'nqn.2014-08.org.nvmexpress.discovery'", -EPROTONOSUPPORT, "type 2");
	world_stop(&w);
}

static void test_host_create_under_a_name_that_is_taken(void **state)
{
	struct host_world w;
	struct xu_error err = {0};

	world_start(&w, 51, 2);
	world_start_node(&w);
	world_attach(&w, "");
	assert_null(world_try_attach(&w, "", &err));
	assert_int_equal(err.code, -EEXIST);
	assert_true(world_state_is(&w, "live"));
	world_stop(&w);
}

/* The parameters that config() gives make the same device again. */
static void test_host_config_comes_back(void **state)
{
	struct host_world w;
	struct xbdev_device *dev;
	json_t *config, *again;
	char *text;

	world_start(&w, 52, 2);
	world_start_node(&w);
	dev = world_attach(&w, ", 'hdgst': true, 'ctrlr_loss_timeout_sec': -1,"
			       " 'reconnect_delay_sec': 2, 'quiesce_ms': 7, 'queue_size': 77,"
			       " 'trtype': 'TCP', 'adrfam': 'ipv4', 'multipath': 'disable'");
	config = dev->ops->config(dev);
	sim_bdev_remove(w.sim, dev);
	assert_string_equal(json_string_value(json_object_get(config, "driver")), "nvmf");
	json_object_del(config, "driver");
	text = json_dumps(config, 0);
	dev = sim_bdev_create(w.sim, w.ctx, "nvmf", text, NULL);
	assert_non_null(dev);
	again = dev->ops->config(dev);
	json_object_del(again, "driver");
	assert_true(json_equal(config, again));
	assert_int_equal(json_integer_value(json_object_get(again, "reconnect_delay_ms")), 2000);
	json_decref(config);
	json_decref(again);
	free(text);
	world_stop(&w);
}

/* ---- discovery ---- */

static const struct xnvmf_host_entry *find_entry(
	const struct world_discovery *discovery, const char *nqn)
{
	for (size_t i = 0; i < discovery->nr_entries; i++) {
		if (strcmp(discovery->entries[i].subnqn, nqn) == 0) {
			return &discovery->entries[i];
		}
	}
	return NULL;
}

static void add_subsystems(struct host_world *w)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};

	for (uint32_t i = 0; i < 20; i++) {
		struct xnvmf_subsystem *subsystem;
		char nqn[64];
		const struct xnvmf_subsystem_opts opts = {.nqn = nqn, .allow_any_host = true};

		snprintf(nqn, sizeof(nqn), "nqn.2026-11.io.xsan:more-%u", i);
		MUST(xnvmf_subsystem_add(w->target, &opts, &subsystem, NULL) == 0);
		MUST(xnvmf_listener_add(subsystem, &listener, NULL) == 0);
	}
}

static void test_host_reads_the_discovery_log(void **state)
{
	struct host_world w;
	struct xnvmf_host_discover_opts opts = {.port = 4420, .hostnqn = WORLD_HOSTNQN};
	struct world_discovery discovery;
	const struct xnvmf_host_entry *entry;
	uint64_t genctr;

	world_start(&w, 60, 1);
	world_start_node(&w);
	opts.traddr = sim_host_address(w.node);
	world_discover(&w, &opts, &discovery);
	assert_int_equal(discovery.err.code, 0);
	entry = find_entry(&discovery, WORLD_NQN);
	assert_non_null(entry);
	assert_string_equal(entry->traddr, sim_host_address(w.node));
	assert_string_equal(entry->trsvcid, "4420");
	assert_int_equal(entry->subtype, NVME_SUBTYPE_NVM);
	genctr = discovery.genctr;
	world_discovery_free(&discovery);

	world_on_node(&w, add_subsystems);
	world_run_for(&w, XU_NS_PER_S);
	opts.hdr_digest = opts.data_digest = true;
	world_discover(&w, &opts, &discovery);
	assert_int_equal(discovery.err.code, 0);
	assert_non_null(find_entry(&discovery, "nqn.2026-11.io.xsan:more-19"));
	assert_true(discovery.nr_entries >= 21);
	assert_true(discovery.genctr != genctr);
	world_discovery_free(&discovery);
	world_stop(&w);
}

static void check_no_discovery(
	struct host_world *w, const struct xnvmf_host_discover_opts *opts, int code)
{
	struct world_discovery discovery;

	world_discover(w, opts, &discovery);
	assert_int_equal(discovery.err.code, code);
	assert_int_not_equal(strlen(discovery.err.text), 0);
	world_discovery_free(&discovery);
}

static void test_host_says_why_it_cannot_discover(void **state)
{
	struct host_world w;
	struct xnvmf_host_discover_opts opts = {.traddr = "here"};

	world_start(&w, 61, 1);
	world_start_node(&w);
	check_no_discovery(&w, &opts, -EINVAL);
	opts.traddr = sim_host_address(w.node);
	check_no_discovery(&w, &opts, -ECONNREFUSED); /* nothing on port 8009 */
	opts.port = 4420;
	opts.subnqn = "nqn.2026-11.io.xsan:none";
	check_no_discovery(&w, &opts, -ECONNREFUSED);
	opts.subnqn = WORLD_NQN;
	check_no_discovery(&w, &opts, -EIO); /* no such log there */
	opts.subnqn = NULL;
	opts.hostnqn = "a b";
	check_no_discovery(&w, &opts, -EINVAL);
	opts.hostnqn = NULL;
	opts.timeout_ms = 2000;
	sim_net_partition(w.sim, w.node, w.machine, true);
	check_no_discovery(&w, &opts, -ETIMEDOUT);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_data),
		cmocka_unit_test(test_host_data_with_digests),
		cmocka_unit_test(test_host_data_with_small_queues),
		cmocka_unit_test(test_host_data_on_many_reactors),
		cmocka_unit_test(test_host_forwards_when_queues_are_few),
		cmocka_unit_test(test_host_forwards_over_resets),
		cmocka_unit_test(test_host_survives_cut_connections),
		cmocka_unit_test(test_host_notices_silence),
		cmocka_unit_test(test_host_stays_connected_when_idle),
		cmocka_unit_test(test_host_waits_for_a_restarted_target),
		cmocka_unit_test(test_host_keeps_what_was_acknowledged),
		cmocka_unit_test(test_host_removes_a_device_lost_for_too_long),
		cmocka_unit_test(test_host_without_reconnecting),
		cmocka_unit_test(test_host_fails_io_fast_when_told),
		cmocka_unit_test(test_host_is_removed_under_load),
		cmocka_unit_test(test_host_hears_of_a_new_size),
		cmocka_unit_test(test_host_sees_a_new_size_after_reconnecting),
		cmocka_unit_test(test_host_removes_the_device_of_a_removed_namespace),
		cmocka_unit_test(test_host_refuses_another_volume),
		cmocka_unit_test(test_host_does_not_wait_for_ever),
		cmocka_unit_test(test_host_create_says_why_not),
		cmocka_unit_test(test_host_create_under_a_name_that_is_taken),
		cmocka_unit_test(test_host_config_comes_back),
		cmocka_unit_test(test_host_reads_the_discovery_log),
		cmocka_unit_test(test_host_says_why_it_cannot_discover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
