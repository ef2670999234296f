/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The desired configuration of a target: set, changed, taken back, shown beside what its node has,
 * and what the node's agent says of it. A change is durable when it is answered; that the node has
 * it comes later, and is told as an event. Answers of changes are made on the writer's thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xregistry/rest/private.h"

#define SILENT_MS 60000u /* of an agent that has said nothing of how long it may be silent */
#define TRIES_MAX 16u

/* ---- what is told ---- */

/* Whether somebody tells of the target's node. */
static const char *agent_of(
	const struct xreg_target *target, const struct xreg_config_report *report)
{
	uint64_t limit_ms = target->spec.ttl_s != 0 ? target->spec.ttl_s * 1000ull : SILENT_MS;
	uint64_t last_ms = report->at_ms;
	struct xreg_live_state state;

	if (report->at_ms == 0) {
		return "none";
	}
	xreg_live_get(target, &state);
	last_ms = state.reported_ms > last_ms ? state.reported_ms : last_ms;
	return target->status.state == XREG_OFFLINE || target->status.state == XREG_FAILED ||
			       rest_unix_ms() > last_ms + limit_ms
		       ? "unreachable"
		       : "connected";
}

static uint32_t parts_of(const struct xreg_config *config)
{
	return config != NULL ? config->set & XREG_CONFIG_OF_NODE : 0;
}

/* What has become of it. Without an agent, what only a node can do is done by nobody. */
static const char *state_of(const struct xreg_target *target, bool has_agent)
{
	const struct xreg_desired *desired = target->origin.desired;

	if (desired == NULL) {
		return "none";
	}
	if (!has_agent && desired->outcome == XREG_CONFIG_PENDING) {
		if (target->origin.source != XREG_REGISTERED && parts_of(desired->config) != 0) {
			return "not-enforced";
		}
		if (parts_of(desired->config) == 0 && parts_of(desired->fallback) == 0) {
			return xreg_outcome_name(XREG_CONFIG_APPLIED);
		}
	}
	return xreg_outcome_name(desired->outcome);
}

/* The parts in which what the node has is not what is desired. */
static uint32_t differences(
	const struct xreg_config *config, const json_t *desired, const json_t *actual)
{
	static const struct {
		uint32_t part;
		const char *section, *name;
	} parts[] = {
		{XREG_CONFIG_QUEUE_DEPTH, NULL, "queue_depth"},
		{XREG_CONFIG_CONNECTIONS, NULL, "max_connections"},
		{XREG_CONFIG_IOPS, NULL, "max_iops"},
		{XREG_CONFIG_BANDWIDTH, NULL, "max_bandwidth_mbps"},
		{XREG_CONFIG_HOSTS, "access", "any_host"},
		{XREG_CONFIG_HOSTS, "access", "hosts"},
		{XREG_CONFIG_READ_ONLY, "access", "read_only"},
	};
	uint32_t different = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const json_t *want = desired, *have = actual;
		/* When any host may, nobody looks at the list. */
		bool is_void = parts[i].part == XREG_CONFIG_HOSTS && config->any_host &&
			       strcmp(parts[i].name, "hosts") == 0;

		if (parts[i].section != NULL) {
			want = json_object_get(want, parts[i].section);
			have = json_object_get(have, parts[i].section);
		}
		if ((config->set & parts[i].part) && !is_void &&
			!json_equal(json_object_get(want, parts[i].name),
				json_object_get(have, parts[i].name))) {
			different |= parts[i].part;
		}
	}
	return different;
}

json_t *rest_target_config(const struct xreg_target *target)
{
	const struct xreg_desired *desired = target->origin.desired;
	const struct xreg_config *config = desired != NULL ? desired->config : NULL;
	json_t *wanted = xreg_config_to_json(config), *actual = NULL, *body;
	uint32_t different = 0, unenforced = 0;
	struct xreg_config_report report;
	char text[REST_TIME_SIZE];

	xreg_live_get_config(target, &report);
	if (report.actual != NULL) {
		actual = json_loads(report.actual, 0, NULL);
		free(report.actual);
	}
	if (config != NULL && actual != NULL) {
		different = differences(config, wanted, actual);
	} else if (report.at_ms == 0) {
		unenforced = parts_of(config);
	}
	rest_time(report.at_ms, text);
	body = json_pack("{s:s, s:I, s:I, s:o, s:s, s:s, s:I, s:s, s:o?, s:I, s:o?, s:o, s:o, s:o}",
		"target_id", target->origin.id, "revision", (json_int_t)target->origin.revision,
		"config_revision", (json_int_t)(desired != NULL ? desired->revision : 0), "desired",
		wanted, "state", state_of(target, report.at_ms != 0), "reason",
		desired != NULL ? desired->reason : "", "refused_revision",
		(json_int_t)(desired != NULL ? desired->refused_revision : 0), "agent",
		agent_of(target, &report), "reported_at",
		report.at_ms != 0 ? json_string(text) : NULL, "reported_revision",
		(json_int_t)report.revision, "actual", actual, "differences",
		xreg_config_names(different), "not_enforced", xreg_config_names(unenforced),
		"fallback", xreg_config_to_json(desired != NULL ? desired->fallback : NULL));
	return body;
}

void rest_config_get(struct xrpc_http_call *call, void *arg)
{
	struct xreg_rest *rest = arg;
	struct xreg_view *view = xreg_store_view(rest->opts.store);
	const char *id = xrpc_http_segment(call, 0);
	const struct xreg_target *target = xreg_view_get(view, id);

	rest_add_index(call, xreg_view_revision(view));
	if (target == NULL) {
		xrpc_http_problem(call, 404, NULL, "there is no target '%.63s'", id);
	} else {
		rest_add_etag(call, target->origin.revision);
		xrpc_http_answer(call, 200, rest_target_config(target));
	}
	xreg_view_unref(view);
}

/* ---- changes ---- */

struct job {
	struct xreg_change change;
	struct xreg_rest *rest;
	struct xrpc_http_call *call;
	struct xreg_config *config; /* that is set */
	json_t *body;               /* a patch, or what a reason is borrowed from */
	char id[XREG_ID_SIZE];
	bool is_conditional; /* by If-Match */
	uint32_t nr_tries;
};

static void free_job(struct job *job)
{
	if (job != NULL) {
		xreg_target_unref(job->change.result);
		xreg_config_unref(job->config);
		json_decref(job->body);
		free(job);
	}
}

/* Takes the body. NULL: the call has been answered. */
static struct job *new_job(
	struct xreg_rest *rest, struct xrpc_http_call *call, enum xreg_change_op op, json_t *body)
{
	const char *id = xrpc_http_segment(call, 0);
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL) {
		json_decref(body);
		xrpc_http_problem(call, 500, NULL, "no memory");
		return NULL;
	}
	job->rest = rest;
	job->call = call;
	job->body = body;
	job->change.op = op;
	job->change.id = job->id;
	job->change.arg = job;
	if (strlen(id) >= sizeof(job->id)) {
		xrpc_http_problem(call, 404, NULL, "there is no target '%.63s...'", id);
	} else if (rest_if_match(call, &job->change.if_revision)) {
		strcpy(job->id, id);
		job->is_conditional = job->change.if_revision != 0;
		return job;
	}
	free_job(job);
	return NULL;
}

static void on_changed(struct xreg_change *change)
{
	struct job *job = change->arg;
	const struct xreg_desired *desired =
		change->rc == 0 ? change->result->origin.desired : NULL;

	if (change->op == XREG_JUDGE_CONFIG && desired != NULL &&
		desired->revision == change->revision) {
		xu_warn(job->rest->opts.log,
			"%s: its node refuses the configuration of revision %llu, which is rolled "
			"back to the last that was applied: %s",
			job->id, (unsigned long long)desired->refused_revision, desired->reason);
	}
	if (change->rc == 0) {
		rest_add_etag(job->call, change->result->origin.revision);
		rest_add_index(job->call, change->revision);
		xrpc_http_answer(job->call, 200, rest_target_config(change->result));
	} else {
		rest_answer_refused(job->call, change);
	}
	free_job(job);
}

static void submit(struct job *job, void (*done)(struct xreg_change *change))
{
	job->change.done = done;
	xreg_store_submit(job->rest->opts.store, &job->change);
}

/* Reads the configuration that is to be; false: the call has been answered. */
static bool parse(struct job *job, json_t *body)
{
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xu_error err;

	xreg_config_unref(job->config);
	job->config = NULL;
	if (xreg_config_parse(body, &job->config, path, &err) != 0) {
		xrpc_http_problem(job->call, rest_status_of(err.code),
			path[0] != '\0' ? path : NULL, "%s", err.text);
		return false;
	}
	job->change.config = job->config;
	return true;
}

/* Sets what the body (taken) says. */
static void set_config(struct xreg_rest *rest, struct xrpc_http_call *call, json_t *body)
{
	struct job *job = body != NULL ? new_job(rest, call, XREG_SET_CONFIG, body) : NULL;

	if (job == NULL) {
		return;
	}
	if (!parse(job, job->body)) {
		free_job(job);
		return;
	}
	xrpc_http_later(call);
	submit(job, on_changed);
}

void rest_config_put(struct xrpc_http_call *call, void *arg)
{
	set_config(arg, call, xrpc_http_json(call));
}

void rest_config_delete(struct xrpc_http_call *call, void *arg)
{
	set_config(arg, call, json_object());
}

/* ---- PATCH ---- */

/* The change that the patch makes of what is desired of `target`; false: answered. */
static bool apply_patch(struct job *job, const struct xreg_target *target)
{
	const struct xreg_desired *desired = target->origin.desired;
	json_t *before = xreg_config_to_json(desired != NULL ? desired->config : NULL);
	json_t *body = before != NULL ? rest_merge_patch(before, job->body) : NULL;
	bool is_good = false;

	json_decref(before);
	if (body == NULL) {
		xrpc_http_problem(job->call, 500, NULL, "no memory");
	} else {
		is_good = parse(job, body);
	}
	json_decref(body);
	if (!job->is_conditional) {
		job->change.if_revision = target->origin.revision;
	}
	return is_good;
}

static void on_patched(struct xreg_change *change)
{
	struct job *job = change->arg;
	struct xreg_target *now;
	bool is_good;

	/* Somebody else was faster: once more, on what there is now. */
	if (change->rc == -ESTALE && !job->is_conditional && ++job->nr_tries < TRIES_MAX) {
		now = change->result;
		change->result = NULL;
		is_good = apply_patch(job, now);
		xreg_target_unref(now);
		if (is_good) {
			submit(job, on_patched);
		} else {
			free_job(job);
		}
		return;
	}
	on_changed(change);
}

void rest_config_patch(struct xrpc_http_call *call, void *arg)
{
	struct xreg_rest *rest = arg;
	json_t *patch = xrpc_http_json(call);
	struct job *job = patch != NULL ? new_job(rest, call, XREG_SET_CONFIG, patch) : NULL;
	const struct xreg_target *target;
	struct xreg_view *view;

	if (job == NULL) {
		return;
	}
	view = xreg_store_view(rest->opts.store);
	target = xreg_view_get(view, job->id);
	if (target == NULL) {
		xrpc_http_problem(call, 404, NULL, "there is no target '%.63s'", job->id);
		free_job(job);
	} else if (!apply_patch(job, target)) {
		free_job(job);
	} else {
		xrpc_http_later(call);
		submit(job, on_patched);
	}
	xreg_view_unref(view);
}

/* ---- what the node's agent says ---- */

struct report_opts {
	uint64_t revision;
	uint32_t verdict;
	const char *reason;
	json_t *actual;
};

static const char *const verdicts[] = {"applied", "refused", NULL};

static const struct xu_param report_params[] = {
	{"config_revision", XU_PARAM_U64, offsetof(struct report_opts, revision),
		.is_required = true, .max = INT64_MAX,
		.help = "of the configuration that it is about; 0: nothing was set"},
	{"state", XU_PARAM_ENUM, offsetof(struct report_opts, verdict), .is_required = true,
		.choices = verdicts, .help = "applied or refused"},
	{"reason", XU_PARAM_STRING, offsetof(struct report_opts, reason), .help = "why"},
	{"actual", XU_PARAM_JSON, offsetof(struct report_opts, actual),
		.help = "what the node has"},
	{0},
};

struct actual_opts {
	uint64_t queue_depth, max_connections, max_iops, max_bandwidth_mbps, nr_hosts;
	bool any_host, is_read_only;
	json_t *access, *hosts;
};

static const struct xu_param actual_params[] = {
	{"queue_depth", XU_PARAM_U64, offsetof(struct actual_opts, queue_depth), .max = INT64_MAX},
	{"max_connections", XU_PARAM_U64, offsetof(struct actual_opts, max_connections),
		.max = INT64_MAX},
	{"max_iops", XU_PARAM_U64, offsetof(struct actual_opts, max_iops), .max = INT64_MAX},
	{"max_bandwidth_mbps", XU_PARAM_U64, offsetof(struct actual_opts, max_bandwidth_mbps),
		.max = INT64_MAX},
	{"access", XU_PARAM_JSON, offsetof(struct actual_opts, access)},
	{0},
};

static const struct xu_param actual_access_params[] = {
	{"any_host", XU_PARAM_BOOL, offsetof(struct actual_opts, any_host)},
	{"hosts", XU_PARAM_JSON, offsetof(struct actual_opts, hosts)},
	{"nr_hosts", XU_PARAM_U64, offsetof(struct actual_opts, nr_hosts), .max = INT64_MAX},
	{"read_only", XU_PARAM_BOOL, offsetof(struct actual_opts, is_read_only)},
	{0},
};

/* It is shown to others as it came, so it has the form that it is described to have. */
static int check_actual(json_t *actual, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	struct actual_opts opts = {0};
	json_t *host;
	size_t i;

	if (xu_params_parse(actual_params, &opts, actual, path, err) != 0 ||
		(opts.access != NULL && xu_params_parse(actual_access_params, &opts, opts.access,
						path, err) != 0)) {
		xu_error_prefix(err, "actual");
		return -EINVAL;
	}
	if (opts.hosts != NULL && (!json_is_array(opts.hosts) ||
					  json_array_size(opts.hosts) > XREG_ALLOWED_HOSTS_MAX)) {
		return xu_error_set(err, -EINVAL,
			"actual.access.hosts: a list of at most %u NQNs is needed; more are "
			"counted in nr_hosts",
			XREG_ALLOWED_HOSTS_MAX);
	}
	json_array_foreach (opts.hosts, i, host) {
		if (!json_is_string(host)) {
			return xu_error_set(
				err, -EINVAL, "actual.access.hosts: element %zu is no text", i);
		}
	}
	return 0;
}

static bool keep_report(struct job *job, const struct report_opts *opts)
{
	struct xreg_config_report report = {.at_ms = rest_unix_ms(),
		.revision = opts->revision,
		.is_applied = opts->verdict == 0,
		.actual = opts->actual != NULL ? json_dumps(opts->actual, JSON_COMPACT) : NULL};
	struct xreg_view *view = xreg_store_view(job->rest->opts.store);
	const struct xreg_target *target = xreg_view_get(view, job->id);
	bool is_kept = target != NULL;

	snprintf(report.reason, sizeof(report.reason), "%s", opts->reason);
	if (target == NULL) {
		xrpc_http_problem(job->call, 404, NULL, "there is no target '%.63s'", job->id);
	} else if (xreg_live_set_config(target, &report) != 0) {
		xrpc_http_problem(job->call, 500, NULL, "no memory");
		is_kept = false;
	}
	free(report.actual);
	xreg_view_unref(view);
	return is_kept;
}

void rest_config_report(struct xrpc_http_call *call, void *arg)
{
	struct report_opts opts = {.reason = ""};
	char path[XU_PARAM_PATH_SIZE] = "";
	json_t *body = xrpc_http_json(call);
	struct job *job = body != NULL ? new_job(arg, call, XREG_JUDGE_CONFIG, body) : NULL;
	struct xu_error err;
	int rc;

	if (job == NULL) {
		return;
	}
	if (json_string_length(json_object_get(body, "reason")) == 0) {
		json_object_del(body, "reason");
	}
	rc = xu_params_parse(report_params, &opts, body, path, &err);
	if (rc == 0 && opts.actual != NULL) {
		rc = check_actual(opts.actual, path, &err);
		if (rc != 0) {
			snprintf(path, sizeof(path), "actual");
		}
	}
	if (rc != 0) {
		xrpc_http_problem(call, 422, path[0] != '\0' ? path : NULL, "%s", err.text);
		free_job(job);
	} else if (keep_report(job, &opts)) {
		job->change.verdict =
			(struct xreg_verdict){opts.revision, opts.verdict == 0, opts.reason};
		xrpc_http_later(call);
		submit(job, on_changed);
	} else {
		free_job(job);
	}
}
