/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that change targets (job.c): registrations, one and many, other specifications and states,
 * what nodes report, and unregistering.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"

/* ---- POST /targets ---- */

static json_t *registered_json(const struct xreg_change *change)
{
	const struct xreg_target *target = change->result;
	bool is_new = target->origin.created_revision == change->revision;
	char text[REST_TIME_SIZE];

	rest_time(is_new ? target->origin.registered_ms : target->origin.updated_ms, text);
	return json_pack("{s:s, s:s, s:s, s:I}", "target_id", target->origin.id, "status",
		is_new ? "registered" : "updated", is_new ? "registered_at" : "updated_at", text,
		"revision", (json_int_t)change->revision);
}

static void answer_registered(struct rest_job *job)
{
	const struct xreg_target *target = job->change.result;
	bool is_new = target->origin.created_revision == job->change.revision;
	char place[XREG_ID_SIZE + 32];

	snprintf(place, sizeof(place), "/api/v1/targets/%s", target->origin.id);
	xrpc_http_add_header(job->call, "Location", place);
	xrpc_http_answer(job->call, is_new ? 201 : 200, registered_json(&job->change));
}

static bool read_spec(struct rest_job *job)
{
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xu_error err;

	if (xreg_spec_parse(job->body, &job->parsed, path, &err) != 0) {
		return rest_job_refuse(job, path, &err);
	}
	job->change.spec = &job->parsed.spec;
	return true;
}

void rest_targets_register(struct xrpc_http_call *call, void *arg)
{
	static const struct rest_job_ops ops = {.read = read_spec, .answer = answer_registered};
	static const char *const known[] = {"update", NULL};
	bool may_update = false;
	struct rest_job *job;

	if (!rest_query_check(call, known) || !rest_query_bool(call, "update", &may_update)) {
		return;
	}
	job = rest_job_new(arg, call, XREG_REGISTER, &ops, xrpc_http_json(call));
	if (job != NULL) {
		job->change.may_update = may_update;
		rest_job_run(job);
	}
}

/* ---- POST /targets/bulk ---- */

struct bulk_item {
	struct xreg_change change;
	struct xreg_parsed *parsed;
	struct bulk *bulk;
	char path[XU_PARAM_PATH_SIZE];
	bool is_refused; /* before it came to the store */
};

struct bulk {
	struct xrpc_http_call *call;
	json_t *body;
	pthread_mutex_t mutex;
	uint32_t nr_left;
	uint32_t count;
	struct bulk_item items[];
};

static json_t *bulk_result(const struct bulk_item *item)
{
	const struct xreg_change *change = &item->change;
	json_t *result;

	if (change->rc == 0) {
		result = registered_json(change);
		if (result != NULL) {
			json_object_set_new(result, "code",
				json_integer(
					change->result->origin.created_revision == change->revision
						? 201
						: 200));
		}
		return result;
	}
	result = json_pack("{s:s, s:i, s:s}", "status", "refused", "code",
		(int)rest_status_of(change->rc), "detail", change->err.text);
	if (result != NULL && item->path[0] != '\0') {
		json_object_set_new(result, "field", json_string(item->path));
	}
	if (result != NULL && change->result != NULL) {
		json_object_set_new(result, "target_id", json_string(change->result->origin.id));
	}
	return result;
}

static void answer_bulk(struct bulk *bulk)
{
	uint32_t nr_good = 0;
	json_t *results = json_array();

	for (uint32_t i = 0; i < bulk->count; i++) {
		nr_good += bulk->items[i].change.rc == 0;
		json_array_append_new(results, bulk_result(&bulk->items[i]));
		xreg_target_unref(bulk->items[i].change.result);
		free(bulk->items[i].parsed);
	}
	xrpc_http_answer(bulk->call, 200,
		json_pack("{s:o, s:i, s:i}", "results", results, "registered_count", (int)nr_good,
			"refused_count", (int)(bulk->count - nr_good)));
	json_decref(bulk->body);
	pthread_mutex_destroy(&bulk->mutex);
	free(bulk);
}

static void bulk_done(struct bulk *bulk)
{
	bool is_last;

	pthread_mutex_lock(&bulk->mutex);
	is_last = --bulk->nr_left == 0;
	pthread_mutex_unlock(&bulk->mutex);
	if (is_last) {
		answer_bulk(bulk);
	}
}

static void on_bulk_changed(struct xreg_change *change)
{
	bulk_done(((struct bulk_item *)change)->bulk);
}

static void bulk_parse(struct bulk *bulk, struct bulk_item *item, json_t *body, bool may_update)
{
	item->bulk = bulk;
	item->change = (struct xreg_change){.op = XREG_REGISTER,
		.status = {.state = XREG_AVAILABLE, .reason = ""},
		.source = XREG_REGISTERED,
		.may_update = may_update,
		.done = on_bulk_changed};
	item->parsed = calloc(1, sizeof(*item->parsed));
	if (item->parsed == NULL) {
		item->change.rc = xu_error_set_errno(&item->change.err, -ENOMEM, "reading it");
	} else {
		item->change.rc =
			xreg_spec_parse(body, item->parsed, item->path, &item->change.err);
		item->change.spec = &item->parsed->spec;
	}
	item->is_refused = item->change.rc != 0;
}

void rest_targets_bulk(struct xrpc_http_call *call, void *arg)
{
	struct xreg_rest *rest = arg;
	json_t *body = xrpc_http_json(call), *targets;
	bool may_update = false;
	struct bulk *bulk;
	size_t count;

	if (body == NULL) {
		return;
	}
	targets = json_object_get(body, "targets");
	count = json_array_size(targets);
	if (!rest_query_bool(call, "update", &may_update)) {
		json_decref(body);
		return;
	}
	if (!json_is_array(targets) || count == 0 || count > REST_BULK_TARGETS) {
		json_decref(body);
		xrpc_http_problem(call, 422, "targets",
			"targets is a list of 1 to %u registrations", REST_BULK_TARGETS);
		return;
	}
	bulk = calloc(1, sizeof(*bulk) + count * sizeof(bulk->items[0]));
	if (bulk == NULL) {
		json_decref(body);
		xrpc_http_problem(call, 500, NULL, "no memory");
		return;
	}
	bulk->call = call;
	bulk->body = body;
	pthread_mutex_init(&bulk->mutex, NULL);
	bulk->count = (uint32_t)count;
	bulk->nr_left = (uint32_t)count + 1; /* and this function */
	for (uint32_t i = 0; i < count; i++) {
		bulk_parse(bulk, &bulk->items[i], json_array_get(targets, i), may_update);
	}
	xrpc_http_later(call);
	for (uint32_t i = 0; i < count; i++) {
		if (bulk->items[i].is_refused) {
			bulk_done(bulk);
		} else {
			xreg_store_submit(rest->opts.store, &bulk->items[i].change);
		}
	}
	bulk_done(bulk);
}

/* ---- PUT and PATCH /targets/{id} ---- */

static void answer_full(struct rest_job *job)
{
	xrpc_http_answer(job->call, 200, rest_target_full(job->rest, job->change.result));
}

static json_t *spec_before(const struct xreg_target *target)
{
	return xreg_spec_to_json(&target->spec);
}

static const struct rest_job_ops spec_ops = {
	.before = spec_before, .read = read_spec, .answer = answer_full};

void rest_target_put(struct xrpc_http_call *call, void *arg)
{
	struct rest_job *job =
		rest_job_of_target(arg, call, XREG_UPDATE, &spec_ops, xrpc_http_json(call));

	if (job != NULL) {
		rest_job_run(job);
	}
}

void rest_target_patch(struct xrpc_http_call *call, void *arg)
{
	struct rest_job *job =
		rest_job_of_target(arg, call, XREG_UPDATE, &spec_ops, xrpc_http_json(call));

	if (job != NULL) {
		rest_job_patch(job);
	}
}

/* ---- PUT /targets/{id}/status ---- */

struct status_opts {
	const char *status, *reason;
	uint32_t minutes;
};

static const struct xu_param status_params[] = {
	{.name = "status",
		.type = XU_PARAM_STRING,
		.offset = offsetof(struct status_opts, status),
		.is_required = true,
		.help = "The target's state"},
	{.name = "reason",
		.type = XU_PARAM_STRING,
		.offset = offsetof(struct status_opts, reason),
		.help = "Why, for people"},
	{.name = "estimated_duration_minutes",
		.type = XU_PARAM_U32,
		.offset = offsetof(struct status_opts, minutes),
		.max = 525600,
		.help = "How long it is going to last"},
	{0},
};

static bool read_status(struct rest_job *job)
{
	struct status_opts opts = {.reason = ""};
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xu_error err;
	uint32_t state = 0;

	rest_job_drop_empty(job, "reason");
	if (xu_params_parse(status_params, &opts, job->body, path, &err) != 0) {
		return rest_job_refuse(job, path, &err);
	}
	if (xreg_state_parse(opts.status, &state) != 0) {
		xrpc_http_problem(job->call, 422, "status",
			"'%.32s' is no state; there are unknown, available, busy, degraded, "
			"maintenance, failed and offline",
			opts.status);
		return false;
	}
	job->change.status = (struct xreg_status){.state = state,
		.reason = opts.reason,
		.until_ms = opts.minutes != 0 ? rest_unix_ms() + opts.minutes * 60000ull : 0};
	return xreg_status_check(&job->change.status, &err) == 0 ||
	       rest_job_refuse(job, "reason", &err);
}

void rest_target_status(struct xrpc_http_call *call, void *arg)
{
	static const struct rest_job_ops ops = {.read = read_status, .answer = answer_full};
	struct rest_job *job =
		rest_job_of_target(arg, call, XREG_SET_STATUS, &ops, xrpc_http_json(call));

	if (job != NULL) {
		rest_job_run(job);
	}
}

/* ---- PUT /targets/{id}/metrics ---- */

static const struct xu_param metrics_params[] = {
	{"current_iops", XU_PARAM_U64, offsetof(struct xreg_metrics, current_iops)},
	{"current_bandwidth_mbps", XU_PARAM_U64,
		offsetof(struct xreg_metrics, current_bandwidth_mbps)},
	{"avg_latency_us", XU_PARAM_U32, offsetof(struct xreg_metrics, current_latency_us)},
	{"load_percentage", XU_PARAM_U32, offsetof(struct xreg_metrics, load_percentage),
		.max = 100},
	{"active_connections", XU_PARAM_U32, offsetof(struct xreg_metrics, active_connections)},
	{"io_count", XU_PARAM_U64, offsetof(struct xreg_metrics, io_count)},
	{"error_count", XU_PARAM_U64, offsetof(struct xreg_metrics, error_count)},
	{"uptime_seconds", XU_PARAM_U64, offsetof(struct xreg_metrics, uptime_s)},
	{"error_rate", XU_PARAM_REAL, offsetof(struct xreg_metrics, error_rate), .max = 1},
	{"cpu_usage", XU_PARAM_REAL, offsetof(struct xreg_metrics, cpu_usage), .max = 1},
	{"memory_usage", XU_PARAM_REAL, offsetof(struct xreg_metrics, memory_usage), .max = 1},
	{0},
};

/* What a report leaves out stays as it was reported before. */
void rest_target_metrics(struct xrpc_http_call *call, void *arg)
{
	struct xreg_rest *rest = arg;
	char path[XU_PARAM_PATH_SIZE] = "";
	const struct xreg_target *target;
	struct xreg_config_report report;
	struct xreg_live_state state;
	struct xreg_health_config config;
	struct xreg_health health;
	struct xreg_view *view;
	struct xu_error err;
	uint64_t desired;
	json_t *body = xrpc_http_json(call);

	if (body == NULL) {
		return;
	}
	target = rest_find(rest, call, &view);
	if (target == NULL) {
		json_decref(body);
		return;
	}
	xreg_live_get(target, &state);
	if (xu_params_parse(metrics_params, &state.metrics, body, path, &err) != 0) {
		xrpc_http_problem(call, 422, path, "%s", err.text);
		goto out;
	}
	xreg_live_report(target, &state.metrics, rest_unix_ms());
	xreg_store_hear(rest->opts.store, target->spec.node_id, rest_unix_ms());
	xreg_live_get(target, &state);
	xreg_live_get_config(target, &report);
	free(report.actual);
	desired = target->origin.desired != NULL ? target->origin.desired->revision : 0;
	rest_health_config(rest, &config);
	xreg_health_score(target, &state, &config, &health);
	xrpc_http_answer(call, 200,
		json_pack("{s:s, s:s, s:i, s:I, s:b, s:o}", "target_id", target->origin.id,
			"status", xreg_state_name(target->status.state), "health_score",
			(int)health.score, "config_revision", (json_int_t)desired,
			"config_reported", (int)(report.at_ms != 0 && report.revision == desired),
			"metrics", rest_metrics(&state.metrics, state.reported_ms)));
out:
	xreg_view_unref(view);
	json_decref(body);
}

/* ---- DELETE /targets/{id} ---- */

struct delete_opts {
	bool force;
	uint32_t timeout_s;
};

static const struct xu_param delete_params[] = {
	{.name = "force",
		.type = XU_PARAM_BOOL,
		.offset = offsetof(struct delete_opts, force),
		.help = "Does not wait for connections"},
	{.name = "drain_timeout_seconds",
		.type = XU_PARAM_U32,
		.offset = offsetof(struct delete_opts, timeout_s),
		.max = XREG_DRAIN_TIMEOUT_MAX_S,
		.help = "How long connections are waited for; 300 when left out"},
	{0},
};

static void on_drained(void *arg, const struct xreg_drained *drained)
{
	struct xrpc_http_call *call = arg;
	char text[REST_TIME_SIZE];

	if (drained->rc != 0) {
		xrpc_http_problem(
			call, rest_status_of(drained->rc), NULL, "%s", drained->err->text);
		return;
	}
	rest_time(drained->at_ms, text);
	xrpc_http_answer(call, 200,
		json_pack("{s:s, s:i, s:i, s:s}", "status", "unregistered", "drained_connections",
			(int)drained->nr_drained, "remaining_connections", (int)drained->nr_left,
			"unregistered_at", text));
}

void rest_target_delete(struct xrpc_http_call *call, void *arg)
{
	struct delete_opts opts = {.timeout_s = XREG_DRAIN_TIMEOUT_S};
	struct xreg_rest *rest = arg;
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xreg_drain_opts drain;
	char id[XREG_ID_SIZE];
	json_t *body = xrpc_http_json(call);
	struct xu_error err;
	int rc;

	if (body == NULL) {
		return;
	}
	rc = xu_params_parse(delete_params, &opts, body, path, &err);
	json_decref(body);
	if (rc != 0) {
		xrpc_http_problem(call, 422, path, "%s", err.text);
		return;
	}
	drain = (struct xreg_drain_opts){
		.id = id, .force = opts.force, .timeout_s = opts.timeout_s};
	if (!rest_take_id(call, id, &drain.if_revision)) {
		return;
	}
	xrpc_http_untimed(call);
	xrpc_http_later(call);
	if (xreg_drain_start(rest->opts.drains, &drain, on_drained, call) != 0) {
		xrpc_http_problem(call, 500, NULL, "no memory");
	}
}
