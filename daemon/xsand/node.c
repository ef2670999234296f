/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a node.
 *
 *	STARTING --first change made--> READY --SIGTERM, SIGINT--> STOPPING --> over
 *	    |refused, or with --strict incomplete                     ^
 *	    +---------------------------------------------------------+
 *
 * Start: configuration, log, saved state, merge of the two, reactors, target, management socket,
 * then the first change (change.h) makes devices and subsystems. Stop: no new changes; the one that
 * has the turn is finished; the target ends its connections; devices are removed from the top down;
 * calls under way are answered; the reactors end. All of the stop has one bound, after which the
 * process ends by itself with EXIT_NOT_IN_TIME: what hosts were told is durable is so already.
 */
#include "daemon/xsand/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/xsand/central.h"
#include "daemon/xsand/change.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/config_check.h"
#include "daemon/xsand/merge.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/notify.h"
#include "daemon/xsand/plan.h"
#include "daemon/xsand/registry.h"
#include "daemon/xsand/state.h"
#include "lib/reactor/platform.h"
#include "lib/rpc/jsonrpc.h"
#include "lib/rpc/server.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/stores.h"

/* ---- the devices ---- */

/* A device that went by itself takes its namespaces along; so they have to be made again. A volume
 * has no entry. */
static void forget_device(struct node *node, const json_t *entry, const char *name)
{
	json_t *subsystem, *namespaces, *ns;
	const char *nqn, *nsid;
	void *tmp;

	json_object_foreach (model_subsystems(node->made), nqn, subsystem) {
		namespaces = json_object_get(subsystem, "namespaces");
		json_object_foreach_safe (namespaces, tmp, nsid, ns) {
			const char *device = json_string_value(json_object_get(ns, "device"));

			if (entry != NULL ? xbdev_config_is_called(entry, device)
					  : strcmp(device, name) == 0) {
				json_object_del(namespaces, nsid);
			}
		}
	}
}

static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	struct node *node = xu_container_of(listener, struct node, graph_listener);
	json_t *entry = json_object_get(model_devices(node->made), dev->name);

	if (event != XBDEV_GRAPH_REMOVED) {
		return;
	}
	forget_device(node, entry, dev->name);
	if (entry == NULL) {
		return;
	}
	json_object_del(model_devices(node->made), dev->name);
	if (!node->is_stopping && !node->has_turn) {
		xu_warn(node->log,
			"device %s has gone by itself; when it is back, reload the configuration",
			dev->name);
	}
}

/* ---- what is not as it should be ---- */

json_t *node_problems(struct node *node)
{
	json_t *problems = json_array(), *sentence, *why;
	struct plan plan;

	if (plan_make(&plan, node->ctx, node->made, node->wanted) != 0) {
		plan_fini(&plan);
		json_decref(problems);
		return NULL;
	}
	for (size_t i = 0; i < plan.nr_steps; i++) {
		sentence = plan_describe(&plan.steps[i]);
		why = json_object_get(node->failures, json_string_value(sentence));
		json_array_append_new(
			problems, json_sprintf("%s: %s", json_string_value(sentence),
					  why != NULL ? json_string_value(why) : "not done yet"));
		json_decref(sentence);
	}
	plan_fini(&plan);
	return problems;
}

json_t *node_needs_restart(struct node *node)
{
	json_t *list = config_settings_diff(node->started, node->config);
	struct plan plan;
	int rc = plan_make(&plan, node->ctx, node->made, node->wanted);

	if (rc == 0) {
		rc = json_array_extend(list, plan.restart);
	}
	plan_fini(&plan);
	if (rc != 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

/* ---- the stop ---- */

static void on_stop_timeout(struct xr_timer *timer)
{
	struct node *node = xu_container_of(timer, struct node, stop_timer);
	struct xbdev_device *dev = NULL;

	while ((dev = xbdev_device_next(node->ctx, dev)) != NULL) {
		xu_err(node->log, "device %s is still in use", dev->name);
	}
	xu_err(node->log, "not stopped within %u s (stop_timeout_s): ending at once",
		node->config->settings.stop_timeout_s);
	_exit(EXIT_NOT_IN_TIME);
}

static void on_server_stopped(void *arg)
{
	struct node *node = arg;

	xr_timer_stop(xbdev_ctx_control(node->ctx), &node->stop_timer);
	node_signals_close(node);
}

/* Removes one device after the other, those that nobody stands on first. What has a device without
 * being one itself (a store of volumes) is asked to let it go. */
static void remove_next_device(void *arg)
{
	struct node *node = arg;
	struct xbdev_device *dev = NULL, *found = NULL;

	while ((dev = xbdev_device_next(node->ctx, dev)) != NULL) {
		if (found == NULL || (found->claim != NULL && dev->claim == NULL)) {
			found = dev;
		}
	}
	if (found == NULL) {
		xrpc_server_stop(node->server, on_server_stopped, node);
	} else if (found->claim != NULL) {
		/* All: the first is the member of an array that a store is on, say. */
		xbdev_device_remove_all(node->ctx);
		xr_timer_start(xbdev_ctx_control(node->ctx), &node->retry_timer, XU_NS_PER_MS);
	} else if (xbdev_device_remove(found, remove_next_device, node) != 0) {
		/* Its removal is under way already; look again when that is over. */
		xr_timer_start(xbdev_ctx_control(node->ctx), &node->retry_timer, XU_NS_PER_MS);
	}
}

static void on_retry(struct xr_timer *timer)
{
	remove_next_device(xu_container_of(timer, struct node, retry_timer));
}

/* The target waits for commands that a device holds on to; removing the devices ends them. */
static void on_half_time(struct xr_timer *timer)
{
	struct node *node = xu_container_of(timer, struct node, retry_timer);
	struct xbdev_device *dev = NULL;

	while ((dev = xbdev_device_next(node->ctx, dev)) != NULL) {
		xu_warn(node->log, "device %s is removed under the commands that it holds",
			dev->name);
		xbdev_device_remove(dev, NULL, NULL);
	}
}

static void on_target_stopped(void *arg)
{
	struct node *node = arg;

	xr_timer_stop(xbdev_ctx_control(node->ctx), &node->retry_timer);
	node->retry_timer.fn = on_retry;
	remove_next_device(node);
}

void node_stop_continue(struct node *node)
{
	if (!node->is_stopping || node->has_begun_stop || node->has_turn || node->nr_jobs != 0) {
		return;
	}
	node->has_begun_stop = true;
	node_watchdog_stop(node);
	node_registry_stop(node);
	if (node->target == NULL) {
		on_target_stopped(node);
		return;
	}
	node->retry_timer.fn = on_half_time;
	xr_timer_start(xbdev_ctx_control(node->ctx), &node->retry_timer,
		node->config->settings.stop_timeout_s * XU_NS_PER_S / 2);
	xnvmf_target_stop(node->target, on_target_stopped, node);
}

void node_stop(struct node *node, const char *why)
{
	uint64_t bound_s = node->config->settings.stop_timeout_s;

	if (node->is_stopping) {
		return;
	}
	xu_info(node->log, "stopping: %s", why);
	notify_send("STOPPING=1");
	node->is_stopping = true;
	node->stop_timer.fn = on_stop_timeout;
	xr_timer_start(xbdev_ctx_control(node->ctx), &node->stop_timer, bound_s * XU_NS_PER_S);
	node_stop_continue(node);
}

/* ---- the start ---- */

static void on_started(void *arg, json_t *report, const struct xu_error *err)
{
	struct node *node = arg;
	size_t nr_failed = json_array_size(json_object_get(report, "failed"));

	if (report == NULL) {
		xu_fatal(node->log, "cannot start: %s", err->text);
	}
	if (report != NULL && nr_failed != 0 && node->opts.is_strict) {
		xu_fatal(node->log,
			"cannot start: %zu steps failed and --strict is given; the lines above say "
			"which",
			nr_failed);
	}
	json_decref(report);
	if (report == NULL || (nr_failed != 0 && node->opts.is_strict)) {
		if (!node->is_stopping) {
			node->exit_code = EXIT_CANNOT_START;
			node_stop(node, "it cannot start");
		}
		return;
	}
	node->is_ready = true;
	node_registry_changed(node);
	xrpc_server_start(node->server);
	node_watchdog_start(node);
	xu_info(node->log, "ready: %zu devices, %zu subsystems, management socket %s",
		json_object_size(model_devices(node->made)),
		json_object_size(model_subsystems(node->made)), node->config->settings.socket);
	if (nr_failed != 0) {
		xu_warn(node->log, "%zu parts of the configuration are missing; see xsan status",
			nr_failed);
	}
	notify_send("READY=1\nSTATUS=%zu devices, %zu subsystems, %zu problems",
		json_object_size(model_devices(node->made)),
		json_object_size(model_subsystems(node->made)), nr_failed);
}

/* The state and what it makes of the configuration. */
static int load_state(struct node *node, struct xu_error *err)
{
	json_t *base = NULL, *current = NULL, *notes = json_array(), *note;
	size_t i;
	int rc;

	rc = state_open(node->config->settings.state_dir, &node->state, err);
	if (rc == 0) {
		rc = state_load(node->state, &base, &current, err);
	}
	if (rc == 0) {
		rc = merge_models(base, node->config->model, current, &node->wanted, notes, err);
	}
	json_array_foreach (notes, i, note) {
		xu_warn(node->log, "%s", json_string_value(note));
	}
	if (rc == 0) {
		central_forget(node);
	}
	json_decref(base);
	json_decref(current);
	json_decref(notes);
	return rc;
}

/* What is there before the first change: the log with its level, the target with its options. */
static int make_first(struct node *node, struct xu_error *err)
{
	json_t *level = json_object_get(json_object_get(node->wanted, "log"), "level");
	json_t *options = json_object_get(json_object_get(node->wanted, "nvmf"), "transport");
	enum xu_log_level parsed;
	struct config_transport transport;
	struct xnvmf_target_opts opts;
	struct check c = {.err = err};
	int rc;

	node->made = model_new();
	node->failures = json_object();
	if (node->made == NULL || node->failures == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting");
	}
	if (level != NULL) {
		json_object_set(json_object_get(node->made, "log"), "level", level);
		if (node->opts.log_level == NULL &&
			xu_log_level_parse(json_string_value(level), &parsed) == 0) {
			xu_logger_set_level(node->log, parsed);
		}
	}
	json_object_set(json_object_get(node->made, "nvmf"), "transport", options);
	rc = check_transport(&c, "nvmf.transport", options, &transport);
	if (rc != 0) {
		return rc;
	}
	config_transport_opts(&transport, &opts);
	return xnvmf_target_new(node->ctx, &opts, &node->target, err);
}

static int make_context(struct node *node, struct xu_error *err)
{
	const struct config_settings *settings = &node->config->settings;
	struct xbdev_ctx_opts opts = {
		.log = node->log,
		.nr_reactors = settings->nr_reactors,
		.cpus = settings->has_cpus ? settings->cpus : NULL,
		.spin_max_ns = settings->spin_max_ns,
		.buf_limit_bytes = settings->buffer_bytes,
	};
	int rc = xbdev_ctx_new(&opts, &node->ctx, err);

	if (rc == 0) {
		node->graph_listener.fn = on_graph;
		xbdev_ctx_add_listener(node->ctx, &node->graph_listener);
		rc = xbdev__lvol_stores_init(node->ctx);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "starting");
		}
	}
	return rc;
}

/* Makes the last part of the directory that the socket is to be in, as systemd would. */
static void make_socket_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash != NULL && slash != path ? strndup(path, (size_t)(slash - path)) : NULL;

	if (dir != NULL) {
		mkdir(dir, 0755); /* when it fails, bind(2) says what is wrong */
		free(dir);
	}
}

static int make_server(struct node *node, struct xu_error *err)
{
	const char *path = node->config->settings.socket;

	node_mgmt_init(node);
	if (xrpc_service_new(&node->service) != 0 ||
		xbdev_mgmt_notes_new(node->ctx, &node->notes) != 0 ||
		xrpc_service_add(node->service, xrpc_service_methods, node->service) != 0 ||
		xrpc_service_add(node->service, node_methods, node) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_notify_methods, node->notes) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_stats_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_fault_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_nvme_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_raid_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_raid_look_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_raid_manage_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_lvs_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_lvol_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_lvol_look_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, xbdev_mgmt_lvol_copy_methods, &node->mgmt) != 0 ||
		xrpc_service_add(node->service, transport_methods, node) != 0 ||
		xrpc_service_add(node->service, nvmf_methods, node) != 0 ||
		xrpc_service_add(node->service, spdk_config_methods, node) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "making the management socket");
	}
	make_socket_dir(path);
	return xrpc_server_new(
		xbdev_ctx_control(node->ctx), node->service, path, &node->server, err);
}

static int make_log(struct node *node, struct xu_error *err)
{
	struct xu_log_opts opts = node->config->settings.log;

	if (node->opts.log_level != NULL) {
		xu_log_level_parse(node->opts.log_level, &opts.level);
	}
	return xu_logger_new(&opts, &node->log, err);
}

static int start(struct node *node, struct xu_error *err)
{
	int rc = node_signals_open(node, err);

	if (rc == 0) {
		rc = load_state(node, err);
	}
	if (rc == 0) {
		rc = make_context(node, err);
	}
	if (rc == 0) {
		rc = make_first(node, err);
	}
	if (rc == 0) {
		rc = make_server(node, err);
	}
	if (rc == 0) {
		rc = xbdev_ctx_start(node->ctx, 1, err);
	}
	if (rc == 0) {
		rc = node_registry_start(node, err);
	}
	if (rc == 0) {
		node_signals_start(node);
		change_start(node, on_started, node);
	}
	return rc;
}

/* Frees what there is; nothing runs any more. */
static void clean_up(struct node *node)
{
	xrpc_server_free(node->server);
	xrpc_service_free(node->service);
	xbdev_mgmt_notes_free(node->notes);
	xbdev_mgmt_copies_free(node->mgmt.copies);
	xnvmf_target_free(node->target);
	if (node->ctx != NULL) {
		xbdev_ctx_stop(node->ctx);
		xbdev_ctx_free(node->ctx);
	}
	state_close(node->state);
	json_decref(node->wanted);
	json_decref(node->made);
	json_decref(node->failures);
	if (node->config != node->started) {
		config_free(node->config);
	}
	config_free(node->started);
	if (node->signal_fd >= 0) {
		close(node->signal_fd);
	}
	xu_logger_free(node->log);
}

enum exit_code node_run(const struct node_opts *opts)
{
	struct node node = {.opts = *opts, .signal_fd = -1};
	struct xu_error err = {0};

	xu_list_init(&node.changes);
	node.start_ns = xu_clock_now_ns(xu_clock_system());
	if (config_read(opts->config_path, &node.started, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_BAD_CONFIG;
	}
	node.config = node.started;
	if (make_log(&node, &err) != 0) {
		fprintf(stderr, "xsand: cannot start: %s\n", err.text);
		clean_up(&node);
		return EXIT_CANNOT_START;
	}
	xu_info(node.log, "xsand %s starts with %s", XSAN_VERSION, opts->config_path);
	if (start(&node, &err) != 0) {
		xu_fatal(node.log, "cannot start: %s", err.text);
		clean_up(&node);
		return EXIT_CANNOT_START;
	}
	while (!node.is_over) {
		xr_reactor_poll(xbdev_ctx_control(node.ctx), XR_IDLE);
	}
	xu_info(node.log, "stopped");
	clean_up(&node);
	return node.exit_code;
}
