/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods on the node itself: what it is and how it is, its log, reactors and configuration. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/xsand/change.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/registry.h"
#include "daemon/xsand/rpc_edit.h"
#include "lib/rpc/server.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xnvmf/target/target.h"

/* ---- status ---- */

static json_t *counts_json(struct node *node)
{
	json_int_t namespaces = 0, listeners = 0;
	json_t *subsystem;
	const char *nqn;

	json_object_foreach (model_subsystems(node->made), nqn, subsystem) {
		namespaces +=
			(json_int_t)json_object_size(json_object_get(subsystem, "namespaces"));
		listeners += (json_int_t)json_object_size(json_object_get(subsystem, "listeners"));
	}
	return json_pack("{s:I, s:I, s:I, s:I}", "devices",
		(json_int_t)json_object_size(model_devices(node->made)), "subsystems",
		(json_int_t)json_object_size(model_subsystems(node->made)), "namespaces",
		namespaces, "listeners", listeners);
}

static void get_status(struct xrpc_request *req, void *arg, const void *opts)
{
	struct node *node = arg;
	uint64_t uptime_ns = xu_clock_now_ns(xu_clock_system()) - node->start_ns;
	json_t *problems = node_problems(node), *status;

	(void)opts;
	status = json_pack("{s:s, s:s, s:i, s:f, s:s, s:s, s:s, s:I, s:o, s:I, s:o, s:o}", "state",
		node->is_stopping                ? "stopping"
		: json_array_size(problems) != 0 ? "degraded"
						 : "ok",
		"version", XSAN_VERSION, "pid", (int)getpid(), "uptime_s",
		(double)uptime_ns / XU_NS_PER_S, "config", node->opts.config_path, "state_dir",
		node->started->settings.state_dir, "socket", node->started->settings.socket,
		"reactors", (json_int_t)xbdev_ctx_nr_reactors(node->ctx), "counts",
		counts_json(node), "rpc_connections",
		(json_int_t)xrpc_server_nr_connections(node->server), "problems", problems,
		"needs_restart", node_needs_restart(node));
	if (status != NULL && node->target != NULL) {
		json_object_set_new(status, "nvmf", xnvmf_target_stats_json(node->target));
	}
	if (status != NULL && node->registry != NULL) {
		json_object_set_new(status, "registry", node_registry_status(node));
	}
	xrpc_result(req, status);
}

static const char *const signal_names[] = {
	"SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGKILL", NULL};
static const int signal_numbers[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGKILL};

struct kill_opts {
	uint32_t signal;
};

static const struct xu_param kill_params[] = {
	{"sig_name", XU_PARAM_ENUM, offsetof(struct kill_opts, signal), .is_required = true,
		.choices = signal_names, .help = "the signal"},
	{0},
};

static void kill_instance(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct kill_opts *opts = opts_ptr;

	(void)arg;
	kill(getpid(), signal_numbers[opts->signal]);
	xrpc_true(req);
}

/* ---- the log ---- */

/* SPDK's names first, then ours where they differ. */
static const char *const level_names[] = {
	"ERROR", "WARNING", "NOTICE", "INFO", "DEBUG", "FATAL", "WARN", "TRACE", NULL};
static const enum xu_log_level level_values[] = {XU_LOG_ERROR, XU_LOG_WARN, XU_LOG_INFO,
	XU_LOG_INFO, XU_LOG_DEBUG, XU_LOG_FATAL, XU_LOG_WARN, XU_LOG_TRACE};

struct level_opts {
	uint32_t level;
};

static const struct xu_param level_params[] = {
	{"level", XU_PARAM_ENUM, offsetof(struct level_opts, level), .is_required = true,
		.choices = level_names, .help = "the least important level that is logged"},
	{0},
};

static int edit_level(struct rpc_edit *edit, json_t *model, struct xu_error *err)
{
	const struct level_opts *opts = edit->opts;
	const char *name = xu_log_level_name(level_values[opts->level]);

	if (json_object_set_new(json_object_get(model, "log"), "level", json_string(name)) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "setting the log level");
	}
	return 0;
}

static void set_level(struct xrpc_request *req, void *arg, const void *opts)
{
	rpc_edit_start(arg, req, opts, edit_level);
}

static void get_level(struct xrpc_request *req, void *arg, const void *opts)
{
	static const char *const shown[] = {
		[XU_LOG_FATAL] = "FATAL",
		[XU_LOG_ERROR] = "ERROR",
		[XU_LOG_WARN] = "WARNING",
		[XU_LOG_INFO] = "INFO",
		[XU_LOG_DEBUG] = "DEBUG",
		[XU_LOG_TRACE] = "TRACE",
	};
	struct node *node = arg;
	enum xu_log_level level = XU_LOG_TRACE;

	(void)opts;
	while (level > XU_LOG_FATAL && !xu_logger_wants(node->log, level)) {
		level--;
	}
	xrpc_result(req, json_string(shown[level]));
}

/* ---- reactors ---- */

struct visit {
	struct xbdev_hop hop;
	struct xrpc_request *req;
	bool as_threads; /* in the form of thread_get_stats */
	json_t *list;
	struct xr_reactor_stats stats[XBDEV_MAX_REACTORS];
	pid_t tids[XBDEV_MAX_REACTORS];
	uint64_t start_ns;
};

static void visit_reactor(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct visit *visit = xu_container_of(hop, struct visit, hop);
	uint32_t index = xr_reactor_index(reactor);

	xr_reactor_stats_get(reactor, &visit->stats[index]);
	visit->tids[index] = gettid();
}

static json_t *reactor_json(const struct visit *visit, uint32_t i, uint64_t up_ns)
{
	const struct xr_reactor_stats *s = &visit->stats[i];
	json_int_t idle = up_ns > s->busy_ns ? (json_int_t)(up_ns - s->busy_ns) : 0;
	json_t *name = json_sprintf("reactor_%u", i), *object;

	if (visit->as_threads) {
		return json_pack("{s:o, s:I, s:I, s:I}", "name", name, "id", (json_int_t)i + 1,
			"busy", (json_int_t)s->busy_ns, "idle", idle);
	}
	object = json_pack("{s:I, s:i, s:I, s:I, s:b, s:[{s:o, s:I, s:I}]}", "lcore", (json_int_t)i,
		"tid", (int)visit->tids[i], "busy", (json_int_t)s->busy_ns, "idle", idle,
		"in_interrupt", 1, "lw_threads", "name", name, "id", (json_int_t)i + 1, "elapsed",
		(json_int_t)up_ns);
	json_object_update_new(object,
		json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "stats",
			"rounds", (json_int_t)s->nr_rounds, "busy_rounds",
			(json_int_t)s->nr_busy_rounds, "sleeps", (json_int_t)s->nr_sleeps,
			"wakeups", (json_int_t)s->nr_wakeups, "spins", (json_int_t)s->nr_spins,
			"spin_hits", (json_int_t)s->nr_spin_hits, "spin_ns", (json_int_t)s->spin_ns,
			"spin_limit_ns", (json_int_t)s->spin_limit_ns, "ops", (json_int_t)s->nr_ops,
			"direct", (json_int_t)s->nr_direct, "messages",
			(json_int_t)s->nr_messages));
	return object;
}

static void visited(struct xbdev_hop *hop)
{
	struct visit *visit = xu_container_of(hop, struct visit, hop);
	uint64_t up_ns = xu_clock_now_ns(xu_clock_system()) - visit->start_ns;
	struct xrpc_request *req = visit->req;
	json_t *list = json_array(), *result;

	for (uint32_t i = 0; i < xbdev_ctx_nr_reactors(hop->ctx); i++) {
		json_array_append_new(list, reactor_json(visit, i, up_ns));
	}
	result = json_pack("{s:I, s:i, s:o}", "tick_rate", (json_int_t)XU_NS_PER_S, "pid",
		(int)getpid(), visit->as_threads ? "threads" : "reactors", list);
	free(visit);
	xrpc_result(req, result);
}

static void visit_reactors(struct xrpc_request *req, struct node *node, bool as_threads)
{
	struct visit *visit = calloc(1, sizeof(*visit));

	if (visit == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	visit->req = req;
	visit->as_threads = as_threads;
	visit->start_ns = node->start_ns;
	visit->hop.fn = visit_reactor;
	visit->hop.done = visited;
	xbdev_hop_start(&visit->hop, node->ctx);
}

static void get_reactors(struct xrpc_request *req, void *arg, const void *opts)
{
	(void)opts;
	visit_reactors(req, arg, false);
}

static void get_threads(struct xrpc_request *req, void *arg, const void *opts)
{
	(void)opts;
	visit_reactors(req, arg, true);
}

/* ---- the configuration ---- */

static void on_report(void *arg, json_t *report, const struct xu_error *err)
{
	struct xrpc_request *req = arg;

	if (report == NULL) {
		xrpc_fail(req, err, NULL);
	} else {
		xrpc_result(req, report);
	}
}

struct reload_opts {
	bool dry_run;
};

static const struct xu_param reload_params[] = {
	{"dry_run", XU_PARAM_BOOL, offsetof(struct reload_opts, dry_run),
		.help = "only tell what would be done (default false)"},
	{0},
};

static void config_reload(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct reload_opts *opts = opts_ptr;

	change_reload(arg, opts->dry_run, on_report, req);
}

/* The parts of the file that are not in the model, from the start of the node. */
static void save_config(struct xrpc_request *req, void *arg, const void *opts)
{
	static const char *const kept[] = {
		"reactors", "rpc", "registry", "state_dir", "stop_timeout_s"};
	struct node *node = arg;
	json_t *model = model_to_config(node->wanted), *root = json_object(), *log;
	int rc = model == NULL || root == NULL ? -1 : 0;

	(void)opts;
	log = json_object_get(node->started->root, "log");
	log = log != NULL ? xbdev_config_copy(log) : json_object();
	rc |= json_object_update(log, json_object_get(model, "log"));
	rc |= json_object_set_new(root, "log", log);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		json_t *value = json_object_get(node->started->root, kept[i]);

		rc |= value != NULL ? json_object_set(root, kept[i], value) : 0;
	}
	rc |= json_object_update_missing(root, model);
	json_decref(model);
	if (rc != 0) {
		json_decref(root);
		root = NULL;
	}
	xrpc_result(req, root);
}

struct load_opts {
	json_t *config;
};

static const struct xu_param load_params[] = {
	{"config", XU_PARAM_JSON, offsetof(struct load_opts, config), .is_required = true,
		.help = "a configuration document"},
	{0},
};

static void load_config(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct load_opts *opts = opts_ptr;
	char path[CONFIG_PATH_SIZE];
	struct xu_error err = {0};

	if (config_check(opts->config, NULL, path, &err) != 0) {
		xu_error_prefix(&err, "config%s%s", path[0] != '\0' ? "." : "", path);
		xrpc_fail(req, &err, NULL);
		return;
	}
	change_load(arg, opts->config, on_report, req);
}

/* SPDK's clients wait so before they begin; what answers here has been set up. */
static void wait_init(struct xrpc_request *req, void *arg, const void *opts)
{
	(void)arg;
	(void)opts;
	xrpc_true(req);
}

const struct xrpc_method node_methods[] = {
	{"xsan_status", "Tells how the node is, and what is not as it should be.",
		.fn = get_status},
	{"spdk_kill_instance", "Sends the node a signal.", kill_params, sizeof(struct kill_opts),
		.fn = kill_instance},
	{"log_set_level", "Sets the log level.", level_params, sizeof(struct level_opts),
		.fn = set_level},
	{"log_get_level", "Tells the log level.", .fn = get_level},
	{"framework_wait_init", "Waits until the node has been set up.", .fn = wait_init},
	{"framework_get_reactors", "Shows the reactors and their statistics.", .fn = get_reactors},
	{"thread_get_stats", "Shows the reactors in the form of SPDK's threads.",
		.fn = get_threads},
	{"config_reload", "Reads the configuration file again and makes the difference.",
		reload_params, sizeof(struct reload_opts), .fn = config_reload},
	{"save_config", "Gives the configuration with all changes, as a configuration file.",
		.fn = save_config},
	{"load_config", "Makes what a configuration document says, as a run-time change.",
		load_params, sizeof(struct load_opts), .fn = load_config},
	{0},
};
