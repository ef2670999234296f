/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host on real sockets and threads: a target and hosts in one process, three reactors each,
 * with random I/O on all of them; connections cut from below by the kernel, namespaces taken away,
 * devices removed under load. What it shows is that nothing is touched from two threads: run it
 * under ThreadSanitizer and AddressSanitizer.
 */
#include "lib/reactor/platform.h"
#include "lib/xnvmf/host/host.h"
#include "lib/xnvmf/target/target.h"
#include "test/unit/xbdev/model.h"

#include <sys/socket.h>

#define NQN         "nqn.2026-11.io.xsan:threads"
#define NR_REACTORS 3u
#define PART_BYTES  (2u << 20)
#define PATIENCE_NS (120 * XU_NS_PER_S)

struct fixture {
	struct harness node, machine;
	struct xnvmf_target *target;
	struct xnvmf_subsystem *subsystem;
	uint16_t port;
	uint32_t nr_events;
};

/* ---- the node ---- */

static void both(struct fixture *f)
{
	if (f->node.ctx != NULL) {
		harness_poll(&f->node);
	}
	if (f->machine.ctx != NULL) {
		harness_poll(&f->machine);
	}
}

static void on_event(void *arg)
{
	((struct fixture *)arg)->nr_events++;
}

static void on_added(void *arg, const struct xu_error *err)
{
	assert_int_equal(err->code, 0);
	on_event(arg);
}

static void wait_event(struct fixture *f)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;

	while (f->nr_events == 0) {
		both(f);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
	f->nr_events = 0;
}

static void node_start(struct fixture *f, uint32_t max_queues)
{
	const struct xnvmf_subsystem_opts opts = {.nqn = NQN, .allow_any_host = true};
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "127.0.0.1", .trsvcid = "0"};
	const struct xnvmf_ns_opts ns = {.nsid = 1, .device = "mem"};
	struct xnvmf_target_opts target_opts;
	struct xu_error err = {0};
	json_t *listeners;

	harness_start_opts(&f->node,
		&(struct xbdev_ctx_opts){
			.nr_reactors = NR_REACTORS, .spin_max_ns = XR_SPIN_MAX_NS_DEFAULT},
		1);
	xnvmf_target_opts_default(&target_opts);
	target_opts.max_queues = max_queues;
	assert_int_equal(xnvmf_target_new(f->node.ctx, &target_opts, &f->target, &err), 0);
	assert_int_equal(xnvmf_subsystem_add(f->target, &opts, &f->subsystem, &err), 0);
	harness_create(&f->node, "malloc", "{'name': 'mem', 'size': '16MiB'}");
	assert_int_equal(xnvmf_ns_add(f->subsystem, &ns, NULL, on_added, f, &err), 0);
	wait_event(f);
	assert_int_equal(xnvmf_listener_add(f->subsystem, &listener, &err), 0);
	listeners = xnvmf_subsystem_listeners_json(f->subsystem);
	f->port = (uint16_t)atoi(json_string_value(json_object_get(
		json_object_get(json_array_get(listeners, 0), "address"), "trsvcid")));
	json_decref(listeners);
}

static void node_stop(struct fixture *f)
{
	xnvmf_target_stop(f->target, on_event, f);
	wait_event(f);
	xnvmf_target_free(f->target);
	harness_stop(&f->node);
}

/* ---- the machine ---- */

struct creation {
	struct xbdev_device *dev;
	bool is_done;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct creation *creation = arg;

	if (dev == NULL) {
		fail_msg("%s", err->text);
	}
	creation->dev = dev;
	creation->is_done = true;
}

static struct xbdev_device *attach(struct fixture *f, const char *more)
{
	struct creation creation = {0};
	char text[512], path[XU_PARAM_PATH_SIZE];
	uint64_t end_ns;
	json_t *params;

	snprintf(text, sizeof(text),
		"{\"name\": \"r\", \"traddr\": \"127.0.0.1\", \"port\": %u, \"subnqn\": \"%s\"%s}",
		f->port, NQN, more);
	params = json_loads(text, 0, NULL);
	assert_non_null(params);
	xbdev_device_create(
		f->machine.ctx, &xnvmf_host_driver, params, path, on_created, &creation);
	json_decref(params);
	end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;
	while (!creation.is_done) {
		both(f);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
	assert_non_null(creation.dev);
	return creation.dev;
}

static void fixture_start(struct fixture *f, uint32_t max_queues)
{
	memset(f, 0, sizeof(*f));
	node_start(f, max_queues);
	harness_start_opts(&f->machine,
		&(struct xbdev_ctx_opts){
			.nr_reactors = NR_REACTORS, .spin_max_ns = XR_SPIN_MAX_NS_DEFAULT},
		1);
}

struct load {
	struct xbdev_desc *desc;
	struct xbdev_channel *chs[NR_REACTORS];
	struct model *models[NR_REACTORS];
};

static void load_start(struct fixture *f, struct load *load, uint32_t nr_ios, bool may_be_removed)
{
	load->desc = harness_open(&f->machine, "r", true);
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		struct model_opts opts = {.seed = 7 + i,
			.offset = (uint64_t)i * PART_BYTES,
			.len = PART_BYTES,
			.max_io_bytes = 256u << 10,
			.nr_ios = nr_ios,
			.nr_slots = 32,
			.may_be_removed = may_be_removed};

		load->chs[i] = opts.ch = harness_channel(&f->machine, load->desc, i);
		load->models[i] = model_new(&opts);
		model_start(load->models[i]);
	}
}

static bool load_is_done(const struct load *load)
{
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		if (!atomic_load(&load->models[i]->is_done)) {
			return false;
		}
	}
	return true;
}

static void load_finish(struct fixture *f, struct load *load)
{
	uint64_t end_ns = xu_clock_now_ns(xu_clock_system()) + PATIENCE_NS;

	while (!load_is_done(load)) {
		both(f);
		assert_true(xu_clock_now_ns(xu_clock_system()) < end_ns);
	}
	for (uint32_t i = 0; i < NR_REACTORS; i++) {
		harness_put(&f->machine, load->chs[i]);
		model_free(load->models[i]);
	}
	xbdev_desc_close(load->desc);
}

static void remove_device(struct fixture *f, struct xbdev_device *dev)
{
	assert_int_equal(xbdev_device_remove(dev, on_event, f), 0);
}

/* ---- the tests ---- */

static void run_load(uint32_t max_queues, const char *more)
{
	struct fixture f;
	struct load load;
	struct xbdev_device *dev;

	fixture_start(&f, max_queues);
	dev = attach(&f, more);
	load_start(&f, &load, 1500, false);
	load_finish(&f, &load);
	remove_device(&f, dev);
	wait_event(&f);
	harness_stop(&f.machine);
	node_stop(&f);
}

static void test_host_threads_data(void **state)
{
	run_load(64, "");
	run_load(64, ", \"hdgst\": true, \"ddgst\": true");
	run_load(1, "");
	run_load(2, ", \"queue_size\": 8");
}

/* Shuts every connected socket of this process down, as a broken network would. */
static void cut_connections(void)
{
	for (int fd = 3; fd < 512; fd++) {
		struct sockaddr_storage addr;
		socklen_t len = sizeof(addr);

		if (getpeername(fd, (struct sockaddr *)&addr, &len) == 0 &&
			(addr.ss_family == AF_INET || addr.ss_family == AF_INET6)) {
			shutdown(fd, SHUT_RDWR);
		}
	}
}

static void test_host_threads_cut_connections(void **state)
{
	struct fixture f;
	struct load load;
	struct xbdev_device *dev;
	uint64_t cut_ns = 0;
	uint32_t nr_cuts = 0;

	fixture_start(&f, 2);
	dev = attach(&f, ", \"quiesce_ms\": 20, \"reconnect_delay_ms\": 5");
	load_start(&f, &load, 6000, false);
	while (!load_is_done(&load)) {
		uint64_t now_ns = xu_clock_now_ns(xu_clock_system());

		if (now_ns > cut_ns && nr_cuts++ < 10) {
			cut_connections();
			cut_ns = now_ns + 150 * XU_NS_PER_MS;
		}
		both(&f);
	}
	load_finish(&f, &load);
	remove_device(&f, dev);
	wait_event(&f);
	harness_stop(&f.machine);
	node_stop(&f);
}

static void test_host_threads_removal_under_load(void **state)
{
	for (uint32_t i = 0; i < 6; i++) {
		struct fixture f;
		struct load load;
		struct xbdev_device *dev;

		fixture_start(&f, i % 2 != 0 ? 1 : 64);
		dev = attach(&f, "");
		load_start(&f, &load, 100000, true);
		for (uint32_t j = 0; j < 20 + 100 * i; j++) {
			both(&f);
		}
		if (i >= 3) {
			cut_connections();
		}
		remove_device(&f, dev);
		load_finish(&f, &load);
		wait_event(&f);
		harness_stop(&f.machine);
		node_stop(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_threads_data),
		cmocka_unit_test(test_host_threads_cut_connections),
		cmocka_unit_test(test_host_threads_removal_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
