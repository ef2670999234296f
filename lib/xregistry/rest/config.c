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

static json_t *show_config(const struct xreg_rest *rest, const struct xreg_target *target)
{
	return rest_target_config(target);
}

void rest_config_get(struct xrpc_http_call *call, void *arg)
{
	rest_show(arg, call, show_config);
}

/* ---- changes ---- */

static void answer_config(struct rest_job *job)
{
	xrpc_http_answer(job->call, 200, rest_target_config(job->change.result));
}

static bool read_config(struct rest_job *job)
{
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xu_error err;

	xreg_config_unref(job->config);
	job->config = NULL;
	if (xreg_config_parse(job->body, &job->config, path, &err) != 0) {
		return rest_job_refuse(job, path, &err);
	}
	job->change.config = job->config;
	return true;
}

static json_t *config_before(const struct xreg_target *target)
{
	const struct xreg_desired *desired = target->origin.desired;

	return xreg_config_to_json(desired != NULL ? desired->config : NULL);
}

static const struct rest_job_ops config_ops = {
	.before = config_before, .read = read_config, .answer = answer_config};

/* Sets what the body (taken) says. */
static void set_config(struct xreg_rest *rest, struct xrpc_http_call *call, json_t *body)
{
	struct rest_job *job = rest_job_of_target(rest, call, XREG_SET_CONFIG, &config_ops, body);

	if (job != NULL) {
		rest_job_run(job);
	}
}

void rest_config_put(struct xrpc_http_call *call, void *arg)
{
	set_config(arg, call, xrpc_http_json(call));
}

void rest_config_delete(struct xrpc_http_call *call, void *arg)
{
	json_t *body = json_object();

	if (body == NULL) {
		xrpc_http_problem(call, 500, NULL, "no memory");
	} else {
		set_config(arg, call, body);
	}
}

void rest_config_patch(struct xrpc_http_call *call, void *arg)
{
	struct rest_job *job =
		rest_job_of_target(arg, call, XREG_SET_CONFIG, &config_ops, xrpc_http_json(call));

	if (job != NULL) {
		rest_job_patch(job);
	}
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

static bool keep_report(struct rest_job *job, const struct report_opts *opts)
{
	struct xreg_config_report report = {.at_ms = rest_unix_ms(),
		.revision = opts->revision,
		.is_applied = opts->verdict == 0,
		.actual = opts->actual != NULL ? json_dumps(opts->actual, JSON_COMPACT) : NULL};
	struct xreg_view *view;
	const struct xreg_target *target = rest_find(job->rest, job->call, &view);
	bool is_kept = target != NULL;

	snprintf(report.reason, sizeof(report.reason), "%s", opts->reason);
	if (target != NULL) {
		is_kept = xreg_live_set_config(target, &report) == 0;
		if (!is_kept) {
			xrpc_http_problem(job->call, 500, NULL, "no memory");
		}
		xreg_view_unref(view);
	}
	free(report.actual);
	return is_kept;
}

static bool read_report(struct rest_job *job)
{
	struct report_opts opts = {.reason = ""};
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xu_error err;

	rest_job_drop_empty(job, "reason");
	if (xu_params_parse(report_params, &opts, job->body, path, &err) != 0) {
		return rest_job_refuse(job, path, &err);
	}
	if (opts.actual != NULL && check_actual(opts.actual, path, &err) != 0) {
		return rest_job_refuse(job, "actual", &err);
	}
	if (!keep_report(job, &opts)) {
		return false;
	}
	job->change.verdict = (struct xreg_verdict){opts.revision, opts.verdict == 0, opts.reason};
	return true;
}

static void answer_report(struct rest_job *job)
{
	const struct xreg_desired *desired = job->change.result->origin.desired;

	if (desired != NULL && desired->revision == job->change.revision) {
		xu_warn(job->rest->opts.log,
			"%s: its node refuses the configuration of revision %llu, which is rolled "
			"back to the last that was applied: %s",
			job->id, (unsigned long long)desired->refused_revision, desired->reason);
	}
	answer_config(job);
}

void rest_config_report(struct xrpc_http_call *call, void *arg)
{
	static const struct rest_job_ops ops = {.read = read_report, .answer = answer_report};
	struct rest_job *job =
		rest_job_of_target(arg, call, XREG_JUDGE_CONFIG, &ops, xrpc_http_json(call));

	if (job != NULL) {
		rest_job_run(job);
	}
}
