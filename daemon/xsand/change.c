/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Turns. A change waits in node->changes; turn_next() takes the first and runs it, and whoever ends
 * it frees the turn. What a change needs meanwhile is in its structure; node->wanted, node->config
 * and node->made belong to the change that has the turn.
 */
#include "daemon/xsand/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/apply.h"
#include "daemon/xsand/config.h"
#include "daemon/xsand/merge.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "daemon/xsand/plan.h"
#include "daemon/xsand/registry.h"
#include "daemon/xsand/state.h"
#include "lib/util/log.h"
#include "lib/xbdev/config/devices.h"

struct change {
	struct node *node;
	struct xu_list link;
	void (*run)(struct change *change);
	struct plan plan;
	json_t *to;      /* the model that is to be */
	json_t *dropped; /* the model whose objects the plan points into, until it is done */
	struct xu_error err;

	/* An edit. */
	int (*edit)(void *arg, json_t *model, struct xu_error *err);
	void (*edit_done)(void *arg, const struct xu_error *err);

	/* A reload. */
	bool is_dry;
	json_t *document;
	struct config *config;     /* the new one */
	struct config *old_config; /* what node->config was */
	json_t *report;
	void (*report_done)(void *arg, json_t *report, const struct xu_error *err);

	void *arg;
};

/* ---- turns ---- */

static void change_free(struct change *change)
{
	plan_fini(&change->plan);
	json_decref(change->to);
	json_decref(change->dropped);
	json_decref(change->document);
	json_decref(change->report);
	if (change->config != change->node->config) {
		config_free(change->config);
	}
	if (change->old_config != change->node->config &&
		change->old_config != change->node->started) {
		config_free(change->old_config);
	}
	free(change);
}

/* Tells the end and frees the change; not the turn. */
static void tell(struct change *change)
{
	json_t *report = change->report;

	if (change->edit_done != NULL) {
		change->edit_done(change->arg, &change->err);
	} else {
		change->report = NULL;
		change->report_done(change->arg, report, &change->err);
	}
	change_free(change);
}

static void on_turn(struct xr_msg *msg);

static void turn_next(struct node *node)
{
	if (!node->has_turn && !node->is_turn_sent && !xu_list_is_empty(&node->changes)) {
		node->is_turn_sent = true;
		node->turn_msg.fn = on_turn;
		xr_msg_defer(xbdev_ctx_control(node->ctx), &node->turn_msg);
	}
}

static void on_turn(struct xr_msg *msg)
{
	struct node *node = xu_container_of(msg, struct node, turn_msg);
	struct change *change = xu_list_entry(xu_list_pop(&node->changes), struct change, link);

	node->is_turn_sent = false;
	if (node->is_stopping) {
		xu_error_set(&change->err, -ESHUTDOWN, "the node is stopping");
		tell(change);
		turn_next(node);
		return;
	}
	node->has_turn = true;
	change->run(change);
}

/* The end of the change that has the turn. */
static void end_turn(struct change *change)
{
	struct node *node = change->node;

	tell(change);
	node->has_turn = false;
	node_registry_changed(node);
	node_stop_continue(node);
	turn_next(node);
}

static struct change *change_new(struct node *node, void (*run)(struct change *change), void *arg)
{
	struct change *change = calloc(1, sizeof(*change));

	if (change != NULL) {
		change->node = node;
		change->run = run;
		change->arg = arg;
		xu_list_init(&change->link);
	}
	return change;
}

static void queue(struct change *change)
{
	xu_list_add_tail(&change->node->changes, &change->link);
	turn_next(change->node);
}

/* ---- common parts ---- */

static void random_uuid(void *arg, char text[XU_UUID_TEXT_SIZE])
{
	struct node *node = arg;
	struct xu_uuid uuid = xu_uuid_random(xr_reactor_random(xbdev_ctx_control(node->ctx)));

	xu_uuid_format(&uuid, text);
}

static int out_of_memory(struct change *change)
{
	return xu_error_set_errno(&change->err, -ENOMEM, "changing the configuration");
}

/* Remembers why things are not made, and forgets what is not wanted any more or has been made. */
static void note_failures(struct node *node, json_t *failed)
{
	json_t *failures = json_object(), *sentence, *failure;
	struct plan plan;
	size_t i;

	json_array_foreach (failed, i, failure) {
		json_object_set(node->failures, json_string_value(json_object_get(failure, "step")),
			json_object_get(failure, "error"));
	}
	if (plan_make(&plan, node->ctx, node->made, node->wanted) == 0 && failures != NULL) {
		for (i = 0; i < plan.nr_steps; i++) {
			sentence = plan_describe(&plan.steps[i]);
			json_object_set(failures, json_string_value(sentence),
				json_object_get(node->failures, json_string_value(sentence)));
			json_decref(sentence);
		}
		json_decref(node->failures);
		node->failures = json_incref(failures);
	}
	plan_fini(&plan);
	json_decref(failures);
}

/* Makes change->to what is wanted; the old model stays as long as a plan points into it. */
static void set_wanted(struct change *change)
{
	json_decref(change->dropped);
	change->dropped = change->node->wanted;
	change->node->wanted = change->to;
	change->to = NULL;
}

static void save(struct change *change, void (*done)(void *arg, const struct xu_error *err))
{
	struct node *node = change->node;

	state_save(node->state, xbdev_ctx_control(node->ctx), node->config->model, node->wanted,
		done, change);
}

/* ---- edits ---- */

static void on_edit_saved(void *arg, const struct xu_error *err)
{
	struct change *change = arg;

	if (err->code != 0) {
		change->err = *err;
		xu_error_prefix(&change->err, "it is done, but lost with the next restart");
		xu_err(change->node->log, "%s", change->err.text);
	}
	end_turn(change);
}

static void on_edit_applied(void *arg, json_t *steps, json_t *failed, const struct xu_error *first)
{
	struct change *change = arg;

	(void)steps;
	(void)failed;
	if (first->code != 0) {
		change->err = *first;
		end_turn(change);
		return;
	}
	set_wanted(change);
	note_failures(change->node, NULL);
	save(change, on_edit_saved);
}

/* The edit and its plan; -errno in change->err. */
static int prepare_edit(struct change *change)
{
	struct node *node = change->node;
	int rc;

	change->to = xbdev_config_copy(node->wanted);
	if (change->to == NULL) {
		return out_of_memory(change);
	}
	rc = change->edit(change->arg, change->to, &change->err);
	if (rc == 0) {
		rc = model_check(change->to, &change->err);
	}
	if (rc != 0) {
		return rc;
	}
	if (model_make_uuids(change->to, random_uuid, node) != 0 ||
		plan_make(&change->plan, node->ctx, node->wanted, change->to) != 0) {
		return out_of_memory(change);
	}
	if (json_array_size(change->plan.restart) != 0) {
		return xu_error_set(&change->err, -EBUSY,
			"%s cannot be changed while the node runs; set it in the configuration "
			"file and restart",
			json_string_value(json_array_get(change->plan.restart, 0)));
	}
	return 0;
}

static void run_edit(struct change *change)
{
	if (prepare_edit(change) != 0) {
		end_turn(change);
		return;
	}
	if (apply_start(change->node, &change->plan, on_edit_applied, change) != 0) {
		out_of_memory(change);
		end_turn(change);
	}
}

void change_edit(struct node *node, int (*edit)(void *arg, json_t *model, struct xu_error *err),
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct change *change = change_new(node, run_edit, arg);
	struct xu_error err;

	if (change == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "changing the configuration");
		done(arg, &err);
		return;
	}
	change->edit = edit;
	change->edit_done = done;
	queue(change);
}

/* ---- reloads ---- */

static void on_reload_saved_again(void *arg, const struct xu_error *err)
{
	struct change *change = arg;
	struct node *node = change->node;

	if (err->code != 0) {
		/* The identities were saved before; what is missing is what drivers chose. */
		xu_warn(node->log, "%s", err->text);
		json_array_append_new(
			json_object_get(change->report, "notes"), json_string(err->text));
	}
	end_turn(change);
}

static void on_reload_applied(
	void *arg, json_t *steps, json_t *failed, const struct xu_error *first)
{
	struct change *change = arg;

	(void)first;
	json_object_set(change->report, "done", steps);
	json_object_set(change->report, "failed", failed);
	note_failures(change->node, failed);
	save(change, on_reload_saved_again);
}

static void on_reload_saved(void *arg, const struct xu_error *err)
{
	struct change *change = arg;

	if (err->code != 0) {
		/* Back to what was; nothing has been done yet. */
		json_decref(change->node->wanted);
		change->node->wanted = change->dropped;
		change->dropped = NULL;
		if (change->old_config != NULL) {
			change->node->config = change->old_config;
		}
		change->err = *err;
		json_decref(change->report);
		change->report = NULL;
		end_turn(change);
		return;
	}
	if (apply_start(change->node, &change->plan, on_reload_applied, change) != 0) {
		out_of_memory(change);
		end_turn(change);
	}
}

/* What a dry run would do. */
static void describe(struct change *change)
{
	json_t *steps = json_object_get(change->report, "done");

	for (size_t i = 0; i < change->plan.nr_steps; i++) {
		json_array_append_new(steps, plan_describe(&change->plan.steps[i]));
	}
}

/* Fills "restart": what the plan cannot do, and settings that differ from those at the start. */
static int note_restart(struct change *change)
{
	struct node *node = change->node;
	json_t *restart = json_object_get(change->report, "restart"), *settings;
	int rc;

	if (change->config == NULL) {
		return json_array_extend(restart, change->plan.restart);
	}
	settings = config_settings_diff(node->started, change->config);
	rc = settings != NULL ? json_array_extend(restart, settings) |
					json_array_extend(restart, change->plan.restart)
			      : -1;
	json_decref(settings);
	return rc;
}

/* The model that is to be, from the file or the document; the report with its notes. */
static int make_target_model(struct change *change)
{
	struct node *node = change->node;
	json_t *notes = json_object_get(change->report, "notes");
	const char *name;
	json_t *entry;
	int rc;

	if (change->document == NULL) {
		rc = config_read(node->opts.config_path, &change->config, &change->err);
		return rc != 0 ? rc
			       : merge_models(node->config->model, change->config->model,
					 node->wanted, &change->to, notes, &change->err);
	}
	change->to = model_from_config(change->document);
	if (change->to == NULL) {
		return out_of_memory(change);
	}
	json_object_foreach (model_devices(change->to), name, entry) {
		json_t *older = json_object_get(model_devices(node->wanted), name);

		if (older != NULL && xbdev_config_keep(entry, older) != 0) {
			return out_of_memory(change);
		}
	}
	return 0;
}

/* A device that was to go and could not, and that the file has again, is still the one it was,
 * unless another has got its identity. */
static int keep_identities(struct change *change)
{
	const char *name, *uuid;
	json_t *entry, *older;

	json_object_foreach (model_devices(change->to), name, entry) {
		older = json_object_get(model_devices(change->node->made), name);
		uuid = json_string_value(json_object_get(older, "uuid"));
		if (uuid != NULL && model_find_device(change->to, uuid) == NULL &&
			xbdev_config_keep(entry, older) != 0) {
			return out_of_memory(change);
		}
	}
	return 0;
}

static int prepare_reload(struct change *change)
{
	struct node *node = change->node;
	int rc;

	change->report =
		json_pack("{s:[], s:[], s:[], s:[]}", "done", "failed", "restart", "notes");
	if (change->report == NULL) {
		return out_of_memory(change);
	}
	rc = make_target_model(change);
	if (rc == 0) {
		rc = keep_identities(change);
	}
	if (rc != 0) {
		return rc;
	}
	if (model_make_uuids(change->to, random_uuid, node) != 0 ||
		plan_make(&change->plan, node->ctx, node->made, change->to) != 0 ||
		note_restart(change) != 0) {
		return out_of_memory(change);
	}
	return 0;
}

static void run_reload(struct change *change)
{
	struct node *node = change->node;

	if (prepare_reload(change) != 0) {
		json_decref(change->report);
		change->report = NULL;
		end_turn(change);
		return;
	}
	if (change->is_dry) {
		describe(change);
		end_turn(change);
		return;
	}
	set_wanted(change);
	if (change->config != NULL) {
		change->old_config = node->config;
		node->config = change->config;
	}
	save(change, on_reload_saved);
}

static void reload(struct change *change,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg)
{
	struct xu_error err;

	if (change == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "changing the configuration");
		done(arg, NULL, &err);
		return;
	}
	change->report_done = done;
	queue(change);
}

void change_reload(struct node *node, bool is_dry,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg)
{
	struct change *change = change_new(node, run_reload, arg);

	if (change != NULL) {
		change->is_dry = is_dry;
	}
	reload(change, done, arg);
}

void change_load(struct node *node, json_t *document,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg)
{
	struct change *change = change_new(node, run_reload, arg);

	if (change != NULL) {
		change->document = json_incref(document);
	}
	reload(change, done, arg);
}

/* ---- the start ---- */

static void run_start(struct change *change)
{
	struct node *node = change->node;

	change->report =
		json_pack("{s:[], s:[], s:[], s:[]}", "done", "failed", "restart", "notes");
	change->to = json_incref(node->wanted);
	if (change->report == NULL || model_make_uuids(change->to, random_uuid, node) != 0 ||
		plan_make(&change->plan, node->ctx, node->made, change->to) != 0) {
		out_of_memory(change);
		end_turn(change);
		return;
	}
	set_wanted(change);
	save(change, on_reload_saved);
}

void change_start(struct node *node,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg)
{
	reload(change_new(node, run_start, arg), done, arg);
}
