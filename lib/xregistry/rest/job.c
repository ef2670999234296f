/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls about one target: finding it, and changes of it. A change becomes one of the store, which
 * is answered when it is durable, on the writer's thread, so what is done there is short. What it
 * refers to (the parsed body) lives in a block that goes with the answer.
 *
 * A PATCH is applied to what there is and submitted on the condition that it is still that; when
 * somebody else was faster it is applied once more, to what there is then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"

#define TRIES_MAX 16u

/* ---- answers that all share ---- */

unsigned rest_status_of(int rc)
{
	switch (rc) {
	case -EINVAL:
		return 422;
	case -EEXIST:
		return 409;
	case -ENOENT:
		return 404;
	case -ESTALE:
		return 412;
	case -EDQUOT:
	case -ENOSPC:
		return 507;
	case -EBUSY:
	case -ESHUTDOWN:
		return 503;
	case -ETIMEDOUT:
		return 504;
	default:
		return 500;
	}
}

void rest_answer_refused(struct xrpc_http_call *call, const struct xreg_change *change)
{
	json_t *more = NULL;

	if (change->result != NULL) {
		more = json_pack("{s:s, s:I}", "target_id", change->result->origin.id, "revision",
			(json_int_t)change->result->origin.revision);
	}
	xrpc_http_problem_with(call, rest_status_of(change->rc), NULL, more, change->err.text);
}

bool rest_if_match(struct xrpc_http_call *call, uint64_t *ret_revision)
{
	const char *text = xrpc_http_header(call, "If-Match");
	char *end = NULL;

	*ret_revision = 0;
	if (text == NULL || strcmp(text, "*") == 0) {
		return true;
	}
	if (text[0] == '"') {
		*ret_revision = strtoull(text + 1, &end, 10);
	}
	if (end == NULL || end == text + 1 || strcmp(end, "\"") != 0 || *ret_revision == 0) {
		xrpc_http_problem(call, 400, "If-Match",
			"If-Match is an ETag as it was answered, such as \"17\", not '%.64s'",
			text);
		return false;
	}
	return true;
}

void rest_add_etag(struct xrpc_http_call *call, uint64_t revision)
{
	char text[32];

	snprintf(text, sizeof(text), "\"%llu\"", (unsigned long long)revision);
	xrpc_http_add_header(call, "ETag", text);
}

void rest_add_index(struct xrpc_http_call *call, uint64_t revision)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)revision);
	xrpc_http_add_header(call, REST_INDEX_HEADER, text);
}

/* ---- a target ---- */

static const struct xreg_target *find(struct xreg_rest *rest, struct xrpc_http_call *call,
	bool tells_index, struct xreg_view **ret_view)
{
	struct xreg_view *view = xreg_store_view(rest->opts.store);
	const char *id = xrpc_http_segment(call, 0);
	const struct xreg_target *target = xreg_view_get(view, id);

	if (tells_index) {
		rest_add_index(call, xreg_view_revision(view));
	}
	if (target == NULL) {
		xreg_view_unref(view);
		xrpc_http_problem(call, 404, NULL, "there is no target '%.63s'", id);
		return NULL;
	}
	*ret_view = view;
	return target;
}

const struct xreg_target *rest_find(
	struct xreg_rest *rest, struct xrpc_http_call *call, struct xreg_view **ret_view)
{
	return find(rest, call, false, ret_view);
}

void rest_show(struct xreg_rest *rest, struct xrpc_http_call *call,
	json_t *(*show)(const struct xreg_rest *rest, const struct xreg_target *target))
{
	struct xreg_view *view;
	const struct xreg_target *target = find(rest, call, true, &view);

	if (target != NULL) {
		rest_add_etag(call, target->origin.revision);
		xrpc_http_answer(call, 200, show(rest, target));
		xreg_view_unref(view);
	}
}

bool rest_take_id(struct xrpc_http_call *call, char id[XREG_ID_SIZE], uint64_t *ret_revision)
{
	const char *text = xrpc_http_segment(call, 0);

	if (strlen(text) >= XREG_ID_SIZE) {
		xrpc_http_problem(call, 404, NULL, "there is no target '%.63s...'", text);
		return false;
	}
	strcpy(id, text);
	return rest_if_match(call, ret_revision);
}

/* ---- a change ---- */

static void free_job(struct rest_job *job)
{
	xreg_target_unref(job->change.result);
	xreg_config_unref(job->config);
	json_decref(job->body);
	json_decref(job->patch);
	free(job);
}

struct rest_job *rest_job_new(struct xreg_rest *rest, struct xrpc_http_call *call,
	enum xreg_change_op op, const struct rest_job_ops *ops, json_t *body)
{
	struct rest_job *job = body != NULL ? calloc(1, sizeof(*job)) : NULL;

	if (job == NULL) {
		if (body != NULL) {
			json_decref(body);
			xrpc_http_problem(call, 500, NULL, "no memory");
		}
		return NULL;
	}
	job->rest = rest;
	job->call = call;
	job->ops = ops;
	job->body = body;
	job->change.op = op;
	job->change.arg = job;
	job->change.status = (struct xreg_status){.state = XREG_AVAILABLE, .reason = ""};
	job->change.source = XREG_REGISTERED;
	return job;
}

struct rest_job *rest_job_of_target(struct xreg_rest *rest, struct xrpc_http_call *call,
	enum xreg_change_op op, const struct rest_job_ops *ops, json_t *body)
{
	struct rest_job *job = rest_job_new(rest, call, op, ops, body);

	if (job != NULL && !rest_take_id(call, job->id, &job->change.if_revision)) {
		free_job(job);
		return NULL;
	}
	if (job != NULL) {
		job->change.id = job->id;
		job->is_conditional = job->change.if_revision != 0;
	}
	return job;
}

bool rest_job_refuse(struct rest_job *job, const char *path, const struct xu_error *err)
{
	xrpc_http_problem(job->call, rest_status_of(err->code), path[0] != '\0' ? path : NULL, "%s",
		err->text);
	return false;
}

void rest_job_drop_empty(struct rest_job *job, const char *name)
{
	const json_t *value = json_object_get(job->body, name);

	if (json_is_string(value) && json_string_length(value) == 0) {
		json_object_del(job->body, name);
	}
}

static void on_changed(struct xreg_change *change)
{
	struct rest_job *job = change->arg;

	if (change->rc == 0) {
		rest_add_etag(job->call, change->result->origin.revision);
		rest_add_index(job->call, change->revision);
		job->ops->answer(job);
	} else {
		rest_answer_refused(job->call, change);
	}
	free_job(job);
}

void rest_job_run(struct rest_job *job)
{
	if (!job->ops->read(job)) {
		free_job(job);
		return;
	}
	job->change.done = on_changed;
	xrpc_http_later(job->call);
	xreg_store_submit(job->rest->opts.store, &job->change);
}

/* ---- PATCH ---- */

/* RFC 7396: members replace members, null takes one away. NULL: no memory. */
static json_t *merge_patch(json_t *target, json_t *patch)
{
	json_t *value, *merged;
	const char *key;

	if (!json_is_object(patch)) {
		return json_incref(patch);
	}
	merged = json_is_object(target) ? json_copy(target) : json_object();
	json_object_foreach (patch, key, value) {
		if (merged == NULL) {
			break;
		}
		if (json_is_null(value)) {
			json_object_del(merged, key);
		} else {
			json_object_set_new(
				merged, key, merge_patch(json_object_get(merged, key), value));
		}
	}
	return merged;
}

/* The change that the patch makes of `target`; false: it has been answered, the job is gone. */
static bool apply_patch(struct rest_job *job, const struct xreg_target *target)
{
	json_t *before = job->ops->before(target);

	json_decref(job->body);
	job->body = before != NULL ? merge_patch(before, job->patch) : NULL;
	json_decref(before);
	if (job->body == NULL) {
		xrpc_http_problem(job->call, 500, NULL, "no memory");
		free_job(job);
		return false;
	}
	if (!job->ops->read(job)) {
		free_job(job);
		return false;
	}
	if (!job->is_conditional) {
		job->change.if_revision = target->origin.revision;
	}
	return true;
}

static void on_patched(struct xreg_change *change)
{
	struct rest_job *job = change->arg;
	struct xreg_rest *rest = job->rest;
	struct xreg_target *now;

	/* Somebody else was faster: once more, on what there is now. */
	if (change->rc == -ESTALE && !job->is_conditional && ++job->nr_tries < TRIES_MAX) {
		now = change->result;
		change->result = NULL;
		if (apply_patch(job, now)) {
			xreg_store_submit(rest->opts.store, change);
		}
		xreg_target_unref(now);
		return;
	}
	on_changed(change);
}

void rest_job_patch(struct rest_job *job)
{
	struct xreg_rest *rest = job->rest;
	struct xreg_view *view;
	const struct xreg_target *target = rest_find(rest, job->call, &view);

	if (target == NULL) {
		free_job(job);
		return;
	}
	job->patch = job->body;
	job->body = NULL;
	if (apply_patch(job, target)) {
		job->change.done = on_patched;
		xrpc_http_later(job->call);
		xreg_store_submit(rest->opts.store, &job->change);
	}
	xreg_view_unref(view);
}
