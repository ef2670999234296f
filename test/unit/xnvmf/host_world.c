/* SPDX-License-Identifier: BSD-3-Clause */
/* See host_world.h. */
#include "test/unit/xnvmf/host_world.h"

#include "lib/util/log.h"

#define PATIENCE_NS  (3600 * XU_NS_PER_S)
#define PART_BYTES   (2u << 20)
#define MODEL_MAX_IO (64u << 10)

/* ---- the node ---- */

struct node_call {
	struct host_world *w;
	void (*fn)(struct host_world *w);
};

static void run_call(void *arg)
{
	struct node_call *call = arg;

	call->fn(call->w);
}

void world_on_node(struct host_world *w, void (*fn)(struct host_world *w))
{
	struct node_call call = {w, fn};

	sim_call(w->sim, xbdev_ctx_control(w->node_ctx), run_call, &call);
}

static void make_target(struct host_world *w)
{
	const struct xnvmf_listener_opts listener = {
		.trtype = "tcp", .traddr = "0.0.0.0", .trsvcid = "4420"};
	const struct xnvmf_subsystem_opts opts = {.nqn = WORLD_NQN, .allow_any_host = true};
	const struct xnvmf_ns_opts ns = {.nsid = 1, .device = "disk"};
	struct xu_error err = {0};

	MUST(xnvmf_target_new(w->node_ctx, &w->target_opts, &w->target, &err) == 0);
	MUST(xnvmf_subsystem_add(w->target, &opts, &w->subsystem, &err) == 0);
	MUST(xnvmf_ns_add(w->subsystem, &ns, NULL, NULL, NULL, &err) == 0);
	MUST(xnvmf_listener_add(w->subsystem, &listener, &err) == 0);
}

void world_start_node(struct host_world *w)
{
	struct xu_error err = {0};

	w->node_ctx = sim_ctx_new(w->node, 2, w->log);
	if (sim_bdev_create(w->sim, w->node_ctx, w->driver, w->device, &err) == NULL) {
		fail_msg("%s", err.text);
	}
	world_on_node(w, make_target);
}

static void on_stopped(void *arg)
{
	((struct host_world *)arg)->is_stopped = true;
}

static void stop_target(struct host_world *w)
{
	w->is_stopped = false;
	xnvmf_target_stop(w->target, on_stopped, w);
}

static bool has_stopped(void *arg)
{
	return ((struct host_world *)arg)->is_stopped;
}

void world_stop_node(struct host_world *w)
{
	world_on_node(w, stop_target);
	assert_int_equal(sim_run(w->sim, has_stopped, w, PATIENCE_NS), 0);
	xnvmf_target_free(w->target);
	sim_ctx_free(w->sim, w->node_ctx);
	w->target = NULL;
	w->node_ctx = NULL;
}

/* ---- the world ---- */

void world_start(struct host_world *w, uint64_t seed, uint32_t nr_reactors)
{
	const struct xu_log_opts log_opts = {.level = XU_LOG_DEBUG, .ident = "world"};

	*w = (struct host_world){.driver = "malloc",
		.device = "{'name': 'disk', 'size': '16MiB', 'block_size': 512}"};
	if (getenv("WORLD_LOG") != NULL) {
		assert_int_equal(xu_logger_new(&log_opts, &w->log, NULL), 0);
	}
	assert_int_equal(xbdev_driver_add(&xnvmf_host_driver), 0);
	xnvmf_target_opts_default(&w->target_opts);
	w->sim = sim_new(seed);
	w->node = sim_host_new(w->sim, "node", NULL);
	w->machine = sim_host_new(w->sim, "machine", NULL);
	w->ctx = sim_ctx_new(w->machine, nr_reactors, w->log);
}

void world_stop(struct host_world *w)
{
	world_run_for(w, 5 * XU_NS_PER_S); /* for what is being removed already */
	sim_ctx_free(w->sim, w->ctx);
	assert_int_equal(sim_host_nr_open(w->machine), 0);
	if (w->node_ctx != NULL) {
		world_stop_node(w);
		assert_int_equal(sim_host_nr_open(w->node), 0);
	}
	sim_free(w->sim);
	xu_logger_free(w->log);
}

void world_run_for(struct host_world *w, uint64_t ns)
{
	assert_int_equal(sim_run_for(w->sim, ns), 0);
}

struct until {
	struct host_world *w;
	bool (*is_done)(struct host_world *w);
};

static bool check_until(void *arg)
{
	struct until *until = arg;

	return until->is_done(until->w);
}

bool world_run_until(struct host_world *w, bool (*is_done)(struct host_world *w), uint32_t seconds)
{
	struct until until = {w, is_done};

	return sim_run(w->sim, check_until, &until, seconds * XU_NS_PER_S) == 0;
}

/* ---- devices ---- */

struct xbdev_device *world_try_attach(struct host_world *w, const char *more, struct xu_error *err)
{
	char params[1024];

	snprintf(params, sizeof(params),
		"{'name': 'r', 'traddr': '%s', 'subnqn': '%s', 'hostnqn': '%s'%s}",
		sim_host_address(w->node), WORLD_NQN, WORLD_HOSTNQN, more);
	return sim_bdev_create(w->sim, w->ctx, "nvmf", params, err);
}

struct xbdev_device *world_attach(struct host_world *w, const char *more)
{
	struct xu_error err = {0};
	struct xbdev_device *dev = world_try_attach(w, more, &err);

	if (dev == NULL) {
		fail_msg("%s", err.text);
	}
	return dev;
}

struct watching {
	struct host_world *w;
	const char *name;
	struct xbdev_desc *desc;
};

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct host_world *w = arg;

	(void)desc;
	w->is_removed |= event == XBDEV_EVENT_REMOVE;
	w->is_resized |= event == XBDEV_EVENT_RESIZE;
}

static void do_watch(void *arg)
{
	struct watching *watching = arg;
	struct host_world *w = watching->w;

	MUST(xbdev_desc_open(w->ctx, watching->name, false, on_event, w, &watching->desc, NULL) ==
		0);
}

static void do_unwatch(void *arg)
{
	xbdev_desc_close(((struct watching *)arg)->desc);
}

struct xbdev_desc *world_watch(struct host_world *w, const char *name)
{
	struct watching watching = {.w = w, .name = name};

	w->is_removed = false;
	w->is_resized = false;
	sim_call(w->sim, xbdev_ctx_control(w->ctx), do_watch, &watching);
	return watching.desc;
}

void world_unwatch(struct host_world *w, struct xbdev_desc *desc)
{
	struct watching watching = {.desc = desc};

	sim_call(w->sim, xbdev_ctx_control(w->ctx), do_unwatch, &watching);
}

struct asking {
	struct host_world *w;
	json_t *info;
};

static void do_ask(void *arg)
{
	struct asking *asking = arg;
	struct xbdev_device *dev = xbdev_device_find(asking->w->ctx, "r");

	asking->info = dev != NULL ? dev->ops->info(dev) : NULL;
}

static json_t *ask(struct host_world *w)
{
	struct asking asking = {.w = w};

	sim_call(w->sim, xbdev_ctx_control(w->ctx), do_ask, &asking);
	return asking.info;
}

int64_t world_info(struct host_world *w, const char *key)
{
	json_t *info = ask(w), *queue;
	int64_t number = 0;
	size_t index;

	assert_non_null(info);
	if (json_is_integer(json_object_get(info, key))) {
		number = json_integer_value(json_object_get(info, key));
	} else { /* of all queues together */
		json_array_foreach (json_object_get(info, "queues"), index, queue) {
			number += json_integer_value(json_object_get(queue, key));
		}
	}
	json_decref(info);
	return number;
}

bool world_state_is(struct host_world *w, const char *state)
{
	json_t *info = ask(w);
	bool is_so = info != NULL &&
		     strcmp(json_string_value(json_object_get(info, "state")), state) == 0;

	json_decref(info);
	return is_so;
}

bool world_wait_state(struct host_world *w, const char *state, bool is_wanted, uint32_t seconds)
{
	uint64_t end_ns = sim_now_ns(w->sim) + seconds * XU_NS_PER_S;

	while (world_state_is(w, state) != is_wanted) {
		if (sim_now_ns(w->sim) > end_ns) {
			return false;
		}
		world_run_for(w, 10 * XU_NS_PER_MS);
	}
	return true;
}

static void do_remove(void *arg)
{
	MUST(xbdev_device_remove(arg, NULL, NULL) == 0);
}

void world_remove(struct host_world *w, struct xbdev_device *dev)
{
	sim_call(w->sim, xbdev_ctx_control(w->ctx), do_remove, dev);
}

/* ---- discovery ---- */

struct discovering {
	struct host_world *w;
	const struct xnvmf_host_discover_opts *opts;
	struct world_discovery *discovery;
};

static void on_discovered(void *arg, const struct xnvmf_host_entry *entries, size_t nr_entries,
	uint64_t genctr, const struct xu_error *err)
{
	struct world_discovery *discovery = arg;

	MUST(!discovery->is_done && (err->code == 0 || nr_entries == 0));
	*discovery = (struct world_discovery){
		.entries = calloc(nr_entries + 1, sizeof(*entries)),
		.nr_entries = nr_entries,
		.genctr = genctr,
		.err = *err,
		.is_done = true,
	};
	MUST(discovery->entries != NULL);
	if (nr_entries != 0) {
		memcpy(discovery->entries, entries, nr_entries * sizeof(*entries));
	}
}

static void do_discover(void *arg)
{
	struct discovering *discovering = arg;

	xnvmf_host_discover(
		discovering->w->ctx, discovering->opts, on_discovered, discovering->discovery);
}

static bool is_discovered(void *arg)
{
	return ((struct world_discovery *)arg)->is_done;
}

void world_discover(struct host_world *w, const struct xnvmf_host_discover_opts *opts,
	struct world_discovery *ret_discovery)
{
	struct discovering discovering = {w, opts, ret_discovery};

	*ret_discovery = (struct world_discovery){0};
	sim_call(w->sim, xbdev_ctx_control(w->ctx), do_discover, &discovering);
	assert_int_equal(sim_run(w->sim, is_discovered, ret_discovery, PATIENCE_NS), 0);
	assert_int_equal(sim_host_nr_open(w->machine), 0);
}

void world_discovery_free(struct world_discovery *discovery)
{
	free(discovery->entries);
}

/* ---- single I/Os ---- */

static void on_io(struct xbdev_io *io, int status)
{
	struct world_io *wio = xu_container_of(io, struct world_io, io);

	MUST(!wio->is_done);
	wio->is_done = true;
	wio->status = status;
}

static void do_submit(void *arg)
{
	struct world_io *wio = arg;
	int rc = xbdev_io_submit(&wio->io);

	if (rc != 0) {
		on_io(&wio->io, rc);
	}
}

void world_io_start(struct sim_bdev *bdev, struct world_io *io, uint8_t op, uint64_t offset,
	void *buf, uint64_t len)
{
	*io = (struct world_io){.iov = {buf, len}};
	io->io = (struct xbdev_io){.ch = bdev->ch,
		.cb = on_io,
		.iov = &io->iov,
		.nr_iov = buf != NULL,
		.op = op,
		.offset = offset,
		.len = len};
	sim_call(bdev->sim, bdev->ch->reactor, do_submit, io);
}

static bool is_io_done(void *arg)
{
	return ((struct world_io *)arg)->is_done;
}

int world_io_finish(struct host_world *w, struct world_io *io)
{
	return sim_run(w->sim, is_io_done, io, PATIENCE_NS) == 0 ? io->status : -ETIMEDOUT;
}

/* ---- load ---- */

void world_load_start(struct host_world *w, struct world_load *load, uint32_t nr_models,
	uint32_t nr_ios, bool may_be_removed)
{
	struct xu_error err = {0};

	*load = (struct world_load){.nr_models = nr_models};
	for (uint32_t i = 0; i < nr_models; i++) {
		struct model_opts opts = {
			.seed = sim_seed(w->sim) + i,
			.offset = (uint64_t)i * PART_BYTES,
			.len = PART_BYTES,
			.max_io_bytes = MODEL_MAX_IO,
			.nr_ios = nr_ios,
			.nr_slots = 24,
			.may_be_removed = may_be_removed,
		};

		assert_int_equal(sim_bdev_open(w->sim, w->ctx, "r",
					 i % xbdev_ctx_nr_reactors(w->ctx), &load->bdevs[i], &err),
			0);
		opts.ch = load->bdevs[i].ch;
		load->models[i] = model_new(&opts);
		model_start(load->models[i]);
	}
}

bool world_load_is_done(const struct world_load *load)
{
	for (uint32_t i = 0; i < load->nr_models; i++) {
		if (!atomic_load(&load->models[i]->is_done)) {
			return false;
		}
	}
	return true;
}

static bool check_done(void *arg)
{
	return world_load_is_done(arg);
}

void world_load_finish(struct host_world *w, struct world_load *load)
{
	char *all = malloc(PART_BYTES);

	assert_non_null(all);
	assert_int_equal(sim_run(w->sim, check_done, load, PATIENCE_NS), 0);
	for (uint32_t i = 0; i < load->nr_models; i++) {
		struct model *m = load->models[i];

		if (!m->is_gone) {
			assert_int_equal(sim_bdev_io(&load->bdevs[i], XBDEV_OP_READ, 0,
						 m->opts.offset, all, PART_BYTES),
				0);
			assert_memory_equal(all, m->flat, PART_BYTES);
		}
		sim_bdev_close(&load->bdevs[i]);
		model_free(m);
	}
	free(all);
}
