/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making the node, changing it, and taking it down. The devices are of every kind that a connection
 * can tell apart: memory on every reactor, one that takes time, one that fails or hangs when told
 * to, one that is read-only by its namespace.
 */
#include "test/fuzz/world.h"

#include <errno.h>
#include <sys/prctl.h>

#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/driver/error.h"
#include "lib/xnvmf/target/target.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/initiator.h"

#define ROUND_NS       1000u
#define LONG_ROUND_NS  XU_NS_PER_MS
#define MAX_ROUNDS     30000u     /* of LONG_ROUND_NS: nothing that ends takes longer */
#define FEW_BUFFERS    (4u << 20) /* the least that a configuration can ask for */
#define MANY_BUFFERS   (16u << 20)
#define NR_NAMESPACES  4u
#define MAX_QUEUE_SIZE 16u

/* ---- devices ---- */

static const struct {
	const char *driver;
	const char *params;
} device_specs[] = {
	{"malloc", "{\"name\": \"m0\", \"size\": 32768}"},
	{"malloc", "{\"name\": \"m1\", \"size\": 65536, \"block_size\": 4096}"},
	{"delay", "{\"name\": \"d1\", \"base\": \"m1\", \"avg_read_latency_us\": 900,"
		  " \"p99_read_latency_us\": 9000, \"avg_write_latency_us\": 700,"
		  " \"p99_write_latency_us\": 7000}"},
	{"malloc", "{\"name\": \"m2\", \"size\": 16384}"},
	{"error", "{\"name\": \"e2\", \"base\": \"m2\"}"},
	{"malloc", "{\"name\": \"m3\", \"size\": 8192}"},
};

#define NR_DEVICES (sizeof(device_specs) / sizeof(device_specs[0]))

static json_t *device_params[NR_DEVICES];

/* Devices that namespaces can be on. */
static const char *const ns_devices[] = {"m0", "d1", "e2", "m3"};

uint32_t world_block_bytes(uint32_t nsid)
{
	return nsid == 2 ? 4096 : 512;
}

void world_prepare(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* so that a pool does not clear 2 MiB each time */
	json_object_seed(1);
	for (size_t i = 0; i < NR_DEVICES; i++) {
		device_params[i] = json_loads(device_specs[i].params, 0, NULL);
		FUZZ_CHECK(device_params[i] != NULL, "device %zu", i);
	}
}

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	FUZZ_CHECK(dev != NULL, "making a device: %s", err->text);
	++*(uint32_t *)arg;
}

static void make_devices(struct world *world)
{
	char path[XU_PARAM_PATH_SIZE];
	uint32_t nr_made = 0;

	for (size_t i = 0; i < NR_DEVICES; i++) {
		xbdev_device_create(world->ctx, xbdev_driver_find(device_specs[i].driver),
			device_params[i], path, on_created, &nr_made);
	}
	FUZZ_CHECK(nr_made == NR_DEVICES, "%u devices were made", nr_made);
}

/* ---- the target ---- */

static void add_ns(struct xnvmf_subsystem *subsystem, uint32_t nsid, const char *device,
	bool is_read_only, bool must_work)
{
	struct xnvmf_ns_opts opts = {.nsid = nsid, .device = device, .read_only = is_read_only};
	struct xu_error err = {0};
	int rc = xnvmf_ns_add(subsystem, &opts, NULL, NULL, NULL, &err);

	FUZZ_CHECK(rc == 0 || !must_work, "%s", err.text);
}

static int add_listener(struct xnvmf_subsystem *subsystem, struct xu_error *err)
{
	const struct xnvmf_listener_opts opts = {
		.trtype = "tcp",
		.traddr = "127.0.0.1",
		.trsvcid = "4420",
	};

	return xnvmf_listener_add(subsystem, &opts, err);
}

static struct xnvmf_subsystem *add_subsystem(
	struct world *world, const char *nqn, bool is_open, struct xu_error *err)
{
	const struct xnvmf_subsystem_opts opts = {
		.nqn = nqn,
		.allow_any_host = is_open,
		.max_namespaces = NR_NAMESPACES,
	};
	struct xnvmf_subsystem *subsystem;

	return xnvmf_subsystem_add(world->target, &opts, &subsystem, err) == 0 ? subsystem : NULL;
}

static void make_target(struct world *world, bool has_no_icd)
{
	struct xnvmf_subsystem *open_one, *closed_one;
	struct xnvmf_target_opts opts;
	struct xu_error err = {0};

	xnvmf_target_opts_default(&opts);
	opts.in_capsule_data_size = has_no_icd ? 0 : 4096;
	opts.max_io_size = INITIATOR_MAX_DATA;
	opts.max_queue_depth = MAX_QUEUE_SIZE;
	opts.max_queues = 4;
	opts.max_connections = RECORD_NR_CONNS + 1;
	FUZZ_CHECK(xnvmf_target_new(world->ctx, &opts, &world->target, &err) == 0, "%s", err.text);
	open_one = add_subsystem(world, WORLD_NQN, true, &err);
	closed_one = add_subsystem(world, WORLD_NQN_CLOSED, false, &err);
	FUZZ_CHECK(open_one != NULL && closed_one != NULL, "%s", err.text);
	FUZZ_CHECK(xnvmf_subsystem_add_host(closed_one, WORLD_HOST_NQN, &err) == 0 &&
			   add_listener(open_one, &err) == 0 && add_listener(closed_one, &err) == 0,
		"%s", err.text);
	for (uint32_t i = 0; i < 3; i++) {
		add_ns(open_one, i + 1, ns_devices[i], false, true);
	}
	add_ns(closed_one, 1, ns_devices[3], true, true);
}

/* Fills the buffers that the usual sizes of requests get first. */
static void mark_buffers(struct xu_bufpool *pool)
{
	static const size_t sizes[] = {4096, 8192, 16384};
	static uint64_t pattern[16384 / sizeof(uint64_t)];
	void *bufs[sizeof(sizes) / sizeof(sizes[0])];

	for (size_t i = 0; pattern[0] == 0 && i < sizeof(pattern) / sizeof(pattern[0]); i++) {
		pattern[sizeof(pattern) / sizeof(pattern[0]) - 1 - i] = INITIATOR_MARKER;
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bufs[i] = xu_bufpool_get(pool, sizes[i]);
		FUZZ_CHECK(bufs[i] != NULL, "no buffer of %zu bytes", sizes[i]);
		memcpy(bufs[i], pattern, sizes[i]);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		xu_bufpool_put(pool, bufs[i], sizes[i]);
	}
}

/* ---- changes ---- */

static const char *subsystem_nqn(uint8_t arg)
{
	return (arg & 0x80u) != 0 ? WORLD_NQN_CLOSED : WORLD_NQN;
}

static void inject(struct world *world, enum xbdev_error_kind kind, uint8_t arg)
{
	static const int errors[] = {0, -ENOSPC, -EIO, -ENODEV, -EROFS, -EINVAL, -EILSEQ, -ENOMEM};
	const struct xbdev_error_rule rule = {
		.kind = kind,
		.count = 1u + (arg & 0x3u),
		.skip = arg >> 5,
		.error = errors[arg >> 2 & 0x7u],
	};
	struct xbdev_device *dev = xbdev_device_find(world->ctx, "e2");

	if (dev != NULL) {
		xbdev_error_inject(dev, &rule, NULL, NULL, NULL);
	}
}

static void clear_errors(struct world *world)
{
	struct xbdev_device *dev = xbdev_device_find(world->ctx, "e2");

	if (dev != NULL) {
		xbdev_error_clear(dev, NULL, NULL, NULL);
	}
}

/* Twice the size would be more memory than there is; half of it and all of it are possible. */
static void resize(struct world *world, uint8_t arg)
{
	static const uint64_t nr_blocks[] = {32768 / 512, 65536 / 4096, 16384 / 512, 8192 / 512};
	static const char *const bases[] = {"m0", "m1", "m2", "m3"};
	struct xbdev_device *dev = xbdev_device_find(world->ctx, bases[arg & 0x3u]);

	if (dev != NULL) {
		xbdev_device_set_size(dev, nr_blocks[arg & 0x3u] >> (arg >> 2 & 0x3u));
	}
}

static void report(struct world *world, struct xnvmf_subsystem *subsystem)
{
	json_t *values[] = {
		xnvmf_target_subsystems_json(world->target),
		xnvmf_target_config_json(world->target),
		xnvmf_target_stats_json(world->target),
		subsystem != NULL ? xnvmf_subsystem_controllers_json(subsystem) : json_null(),
		subsystem != NULL ? xnvmf_subsystem_qpairs_json(subsystem) : json_null(),
		subsystem != NULL ? xnvmf_subsystem_listeners_json(subsystem) : json_null(),
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		FUZZ_CHECK(values[i] != NULL, "report %zu", i);
		json_decref(values[i]);
	}
}

static void on_stopped(void *arg)
{
	((struct world *)arg)->is_stopped = true;
}

static void stop(struct world *world)
{
	if (!world->is_stopping) {
		world->is_stopping = true;
		xnvmf_target_stop(world->target, on_stopped, world);
	}
}

static void change_subsystem(
	struct xnvmf_subsystem *subsystem, enum manage_action action, uint8_t arg)
{
	switch (action) {
	case MANAGE_NS_ADD:
		add_ns(subsystem, arg & 0x7u, ns_devices[arg >> 3 & 0x3u], (arg & 0x20u) != 0,
			false);
		break;
	case MANAGE_NS_REMOVE:
		xnvmf_ns_remove(subsystem, arg & 0x7u, NULL, NULL, NULL);
		break;
	case MANAGE_HOST_ALLOW:
		if (arg & 1u) {
			xnvmf_subsystem_allow_any_host(subsystem, true);
		} else {
			xnvmf_subsystem_add_host(subsystem, WORLD_HOST_NQN, NULL);
		}
		break;
	case MANAGE_HOST_REFUSE:
		if (arg & 1u) {
			xnvmf_subsystem_allow_any_host(subsystem, false);
		} else {
			xnvmf_subsystem_remove_host(subsystem, WORLD_HOST_NQN, NULL);
		}
		break;
	case MANAGE_LISTENER_ADD:
		add_listener(subsystem, NULL);
		break;
	case MANAGE_LISTENER_REMOVE:
		xnvmf_listener_remove(subsystem, "127.0.0.1", "4420", NULL);
		break;
	case MANAGE_SUBSYSTEM_REMOVE:
		xnvmf_subsystem_remove(subsystem, NULL, NULL);
		break;
	default:
		break;
	}
}

static void change(struct world *world, enum manage_action action, uint8_t arg)
{
	struct xnvmf_subsystem *subsystem = xnvmf_subsystem_find(world->target, subsystem_nqn(arg));
	struct xbdev_device *dev;

	switch (action) {
	case MANAGE_SUBSYSTEM_ADD:
		add_subsystem(world, subsystem_nqn(arg), (arg & 1u) != 0, NULL);
		break;
	case MANAGE_NS_RESIZE:
		resize(world, arg);
		break;
	case MANAGE_DEVICE_REMOVE:
		dev = xbdev_device_find(world->ctx, ns_devices[arg & 0x3u]);
		if (dev != NULL) {
			xbdev_device_remove(dev, NULL, NULL);
		}
		break;
	case MANAGE_ERROR_FAIL:
		inject(world, XBDEV_ERROR_FAIL, arg);
		break;
	case MANAGE_ERROR_HANG:
		inject(world, XBDEV_ERROR_HANG, arg);
		break;
	case MANAGE_ERROR_CLEAR:
		clear_errors(world);
		break;
	case MANAGE_REPORT:
		report(world, subsystem);
		break;
	case MANAGE_STOP:
		stop(world);
		break;
	default:
		if (subsystem != NULL) {
			change_subsystem(subsystem, action, arg);
		}
		break;
	}
}

static void on_manage(struct xr_msg *msg)
{
	struct world_manage *manage = xu_container_of(msg, struct world_manage, msg);
	struct world *world = manage->world;

	fuzz_say("change %u, argument %02x\n", manage->action, manage->arg);
	/* A target that stops takes no more changes. */
	if (!world->is_stopping || manage->action == MANAGE_ERROR_CLEAR) {
		change(world, manage->action, manage->arg);
	}
}

void world_manage(struct world *world, enum manage_action action, uint8_t arg)
{
	struct world_manage *manage = &world->manage[world->nr_manage];

	if (world->nr_manage == WORLD_MAX_MANAGE) {
		return;
	}
	world->nr_manage++;
	*manage = (struct world_manage){.world = world, .action = action, .arg = arg};
	manage->msg.fn = on_manage;
	xr_msg_send(xbdev_ctx_control(world->ctx), &manage->msg);
}

/* ---- rounds ---- */

void world_round(struct world *world, uint64_t ns)
{
	net_tick(world->net, ns);
	for (uint32_t i = 0; i < world->nr_reactors; i++) {
		xr_reactor_poll(xbdev_ctx_reactor(world->ctx, i), 0);
	}
}

bool world_run_until(struct world *world, bool (*is_done)(struct world *world), uint32_t nr_rounds)
{
	for (uint32_t i = 0; i < nr_rounds; i++) {
		if (is_done(world)) {
			return true;
		}
		world_round(world, LONG_ROUND_NS);
	}
	return is_done(world);
}

bool world_is_quiet(struct world *world)
{
	return net_nr_open(world->net) == net_nr_listeners(world->net);
}

bool world_is_stopped(struct world *world)
{
	return world->is_stopped;
}

/* ---- life ---- */

void world_init(struct world *world, const struct world_opts *opts)
{
	struct xbdev_ctx_opts ctx_opts = {
		.nr_reactors = opts->nr_reactors,
		.buf_limit_bytes = opts->has_few_buffers ? FEW_BUFFERS : MANY_BUFFERS,
	};
	const struct xu_log_opts log_opts = {.level = XU_LOG_TRACE, .ident = "target"};
	struct xu_error err = {0};

	memset(world, 0, sizeof(*world));
	if (fuzz_is_verbose()) {
		xu_logger_new(&log_opts, &world->log, NULL);
		ctx_opts.log = world->log;
	}
	world->net = net_new(&opts->net);
	world->nr_reactors = opts->nr_reactors;
	ctx_opts.platform = net_platform(world->net);
	FUZZ_CHECK(xbdev_ctx_new(&ctx_opts, &world->ctx, &err) == 0, "%s", err.text);
	for (uint32_t i = 0; i < world->nr_reactors; i++) {
		mark_buffers(xr_reactor_buffers(xbdev_ctx_reactor(world->ctx, i)));
	}
	make_devices(world);
	make_target(world, opts->has_no_icd);
	for (uint32_t i = 0; i < 10; i++) {
		world_round(world, ROUND_NS);
	}
}

static bool has_no_device(struct world *world)
{
	return xbdev_device_next(world->ctx, NULL) == NULL;
}

static bool has_no_descriptor(struct world *world)
{
	return net_nr_open(world->net) == 0;
}

void world_fini(struct world *world)
{
	struct xbdev_device *dev;

	FUZZ_CHECK(world_run_until(world, world_is_quiet, MAX_ROUNDS),
		"connections that their hosts have closed do not end");
	stop(world);
	FUZZ_CHECK(
		world_run_until(world, world_is_stopped, MAX_ROUNDS), "the target does not stop");
	xnvmf_target_free(world->target);
	FUZZ_CHECK(world_run_until(world, has_no_descriptor, MAX_ROUNDS),
		"a stopped target leaves descriptors open");
	for (dev = NULL; (dev = xbdev_device_next(world->ctx, dev)) != NULL;) {
		xbdev_device_remove(dev, NULL, NULL);
	}
	FUZZ_CHECK(world_run_until(world, has_no_device, MAX_ROUNDS), "devices do not go");
	for (uint32_t i = 0; i < 10; i++) {
		world_round(world, ROUND_NS);
	}
	xbdev_ctx_free(world->ctx);
	net_free(world->net);
	xu_logger_free(world->log);
}
