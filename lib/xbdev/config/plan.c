/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Planning. What there is now is written down as a document too, so both sides are lists of items
 * that know what they use; they meet by their names. Each pair is given to its section, then what
 * goes takes along what stands on it, then the jobs are put in order.
 */
#include "lib/xbdev/config/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/config/devices.h"

/* Something that is. */
struct present {
	const struct xbdev_item *item;
	const struct xbdev_origin *origin; /* NULL: the program made it by itself */
	struct target *target;             /* what it is to be; NULL: it is not in the document */
	bool goes;
	bool is_final;
};

/* Something that is to be. */
struct target {
	const struct xbdev_item *item;
	struct present *present; /* NULL: it is not there */
	enum xbdev_action action;
	json_t *to;
	json_t *chosen;
	char key[64]; /* why it is made anew */
	bool is_final;
	const struct xbdev_job *job; /* that makes it */
};

struct planner {
	struct xbdev_plan *plan;
	struct xbdev_ctx *ctx;
	enum xbdev_config_mode mode;
	const struct xbdev_document *wanted;
	struct xbdev_document *now;
	const struct xbdev_origins *origins;
	struct present *presents; /* as now->items */
	struct target *targets;   /* as wanted->items */
	char *path;
	struct xu_error *err;
};

static int out_of_memory(struct planner *p)
{
	return xu_error_set_errno(p->err, -ENOMEM, "planning the configuration");
}

static struct present *present_of(const struct planner *p, const struct xbdev_item *item)
{
	return item != NULL ? &p->presents[item - p->now->items] : NULL;
}

static bool is_ours(const struct present *present)
{
	return present->origin != NULL;
}

/* ---- pairs ---- */

static int begin(struct planner *p)
{
	int rc = xbdev_document_now(p->wanted->sections, p->ctx, &p->now, p->err);

	if (rc != 0) {
		return rc;
	}
	p->presents = calloc(p->now->nr_items + 1, sizeof(*p->presents));
	p->targets = calloc(p->wanted->nr_items + 1, sizeof(*p->targets));
	if (p->presents == NULL || p->targets == NULL) {
		return out_of_memory(p);
	}
	for (size_t i = 0; i < p->now->nr_items; i++) {
		p->presents[i].item = &p->now->items[i];
		p->presents[i].origin = xbdev_origins_find(p->origins, &p->now->items[i]);
	}
	for (size_t i = 0; i < p->wanted->nr_items; i++) {
		struct target *target = &p->targets[i];
		struct xbdev_item *found;

		target->item = &p->wanted->items[i];
		found = xbdev_document_find(
			p->now, target->item->section->space, target->item->name);
		if (found != NULL && strcmp(found->name, target->item->name) == 0) {
			target->present = present_of(p, found);
			target->present->target = target;
		}
	}
	return 0;
}

/* Gives a question to the section of one that is to be, and keeps the answer. */
static int put(struct planner *p, struct target *target, struct xbdev_planning *planning)
{
	int rc;

	planning->ctx = p->ctx;
	planning->mode = p->mode;
	planning->wanted = target->item;
	planning->err = p->err;
	rc = target->item->section->plan(planning);
	json_decref(target->chosen);
	target->chosen = planning->ret_chosen;
	if (rc != 0) {
		json_decref(planning->to);
		xbdev_item_path(
			target->item, planning->key[0] != '\0' ? planning->key : NULL, p->path);
		return rc;
	}
	target->action = planning->action;
	json_decref(target->to); /* of a question before */
	target->to = planning->to;
	target->is_final = planning->is_final;
	snprintf(target->key, sizeof(target->key), "%s",
		planning->key[0] != '\0' ? planning->key : "name");
	return 0;
}

/* Asks what is to be done about one that is to be. */
static int ask(struct planner *p, struct target *target)
{
	const struct present *present = target->present;
	struct xbdev_planning planning = {0};

	if (present != NULL &&
		!xbdev_section_is_kin(present->item->section, target->item->section)) {
		target->action = XBDEV_ACTION_REMAKE; /* another kind of thing of that name */
		snprintf(target->key, sizeof(target->key), "name");
		return 0;
	}
	planning.now = present != NULL ? present->item : NULL;
	if (present != NULL && is_ours(present)) {
		planning.was = present->origin->entry;
		planning.chosen = present->origin->chosen;
	}
	return put(p, target, &planning);
}

/* What is there already is in the way of a document that only creates, or only loads. */
static int check_mode(struct planner *p, const struct target *target)
{
	const struct xbdev_item *item = target->item;

	if (target->present == NULL) {
		return 0;
	}
	if (p->mode == XBDEV_CONFIG_CREATE) {
		xbdev_item_path(item, "name", p->path);
		return xu_error_set(p->err, -EEXIST,
			"\"%.128s\" is there already, and this call creates only; remove it from "
			"the document or from the library",
			item->name);
	}
	if (p->mode == XBDEV_CONFIG_LOAD && target->action != XBDEV_ACTION_NONE) {
		xbdev_item_path(item, target->key, p->path);
		return xu_error_set(p->err, -EEXIST,
			"'%.128s' is there already and is different in this; "
			"xbdev_parse_config() changes what is there",
			item->name);
	}
	if (target->action == XBDEV_ACTION_REMAKE && !is_ours(target->present)) {
		xbdev_item_path(item, target->key, p->path);
		return xu_error_set(p->err, -EEXIST,
			"'%.128s' is there already and is different in this; the program made it, "
			"so it is not replaced: remove it first, or use another name",
			item->name);
	}
	return 0;
}

static int decide(struct planner *p)
{
	for (size_t i = 0; i < p->wanted->nr_items; i++) {
		int rc = ask(p, &p->targets[i]);

		if (rc == 0) {
			rc = check_mode(p, &p->targets[i]);
		}
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- what goes ---- */

/* The path of what makes this one go. */
static void path_of_reason(struct planner *p, const struct present *present)
{
	if (present->target != NULL) {
		xbdev_item_path(present->target->item, present->target->key, p->path);
	} else {
		p->path[0] = '\0';
	}
}

/* It goes with what it stands on. */
static int take_along(struct planner *p, struct present *present, const struct xbdev_use *use)
{
	const struct present *below = present_of(p, use->provider);

	if (!is_ours(present) && !present->item->section->is_found) {
		path_of_reason(p, below);
		return xu_error_set(p->err, -EBUSY,
			"'%.128s' %s, but '%.128s' stands on it, which the program made; remove "
			"that first",
			below->item->name,
			below->target != NULL ? "cannot be changed in this while it is there"
					      : "is to go, for it is not in the document any more",
			present->item->name);
	}
	present->goes = true;
	if (present->target != NULL) {
		json_decref(present->target->to);
		present->target->to = NULL;
		present->target->action = XBDEV_ACTION_REMAKE;
		snprintf(present->target->key, sizeof(present->target->key), "%s", use->key);
	}
	return 0;
}

static int spread(struct planner *p, struct present *present)
{
	for (size_t u = 0; u < present->item->nr_uses && !present->goes; u++) {
		const struct xbdev_use *use = &present->item->uses[u];
		int rc;

		if (use->provider != NULL && present_of(p, use->provider)->goes) {
			rc = take_along(p, present, use);
			if (rc != 0) {
				return rc;
			}
		}
	}
	return 0;
}

/* Asks the section whether it can go. */
static int ask_to_go(struct planner *p, struct present *present)
{
	struct xbdev_planning planning = {
		.ctx = p->ctx, .mode = p->mode, .now = present->item, .err = p->err};
	int rc;

	for (size_t i = 0; i < p->now->nr_items; i++) {
		const struct xbdev_item *item = &p->now->items[i];

		for (size_t u = 0; u < item->nr_uses; u++) {
			planning.nr_users += item->uses[u].is_exclusive &&
					     item->uses[u].provider == present->item;
		}
	}
	rc = present->item->section->plan(&planning);
	present->is_final = planning.is_final;
	if (rc == 0 && present->is_final && present->target != NULL) {
		rc = xu_error_set(p->err, -EBUSY,
			"'%.128s' cannot be changed in this while it is there, and its content "
			"would be lost if it were made again; remove it first, or use another name",
			present->item->name);
	} else if (rc != 0) {
		xu_error_prefix(p->err, "'%.128s' %s", present->item->name,
			present->target != NULL ? "cannot be changed in this while it is in use"
						: "is not in the document any more and cannot go");
	}
	if (rc != 0) {
		path_of_reason(p, present);
	}
	return rc;
}

static int find_going(struct planner *p)
{
	int rc = 0;

	for (size_t i = 0; i < p->now->nr_items; i++) {
		struct present *present = &p->presents[i];

		present->goes = present->target != NULL
					? present->target->action == XBDEV_ACTION_REMAKE
					: is_ours(present) && p->mode == XBDEV_CONFIG_APPLY &&
						  !present->item->section->is_found;
	}
	for (uint32_t level = 0; level < p->now->nr_levels; level++) {
		for (size_t i = 0; i < p->now->nr_items && rc == 0; i++) {
			if (p->presents[i].item->level == level) {
				rc = spread(p, &p->presents[i]);
			}
		}
	}
	for (size_t i = 0; i < p->now->nr_items && rc == 0; i++) {
		if (p->presents[i].goes) {
			rc = ask_to_go(p, &p->presents[i]);
		}
	}
	return rc;
}

/* What is to be made again is asked for as something new. */
static int ask_again(struct planner *p)
{
	for (size_t i = 0; i < p->wanted->nr_items; i++) {
		struct target *target = &p->targets[i];
		struct xbdev_planning planning = {0};
		int rc;

		if (target->action != XBDEV_ACTION_REMAKE) {
			continue;
		}
		if (xbdev_section_is_kin(target->present->item->section, target->item->section)) {
			planning.older = target->present->item;
		}
		rc = put(p, target, &planning);
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- what is used of what there is ---- */

/* What a use means: what is to be, or else what there is and stays. */
static int check_outside(
	struct planner *p, const struct xbdev_item *item, const struct xbdev_use *use)
{
	const char *name = xbdev_use_name(item, use);
	struct present *present = present_of(p, xbdev_document_find(p->now, use->space, name));

	if (use->provider == NULL && (present == NULL || present->goes)) {
		xbdev_use_path(item, use, p->path);
		return xu_error_set(p->err, -EINVAL,
			"\"%.128s\" is not accepted: there is no such %s, in the document or made "
			"by the program; it takes one that there is",
			name, use->space == XBDEV_SPACE_STORE ? "store" : "device");
	}
	if (present != NULL && use->is_exclusive && !present->goes) {
		const struct present *user = present_of(p, present->item->user);

		if (user != NULL && !user->goes && strcmp(user->item->name, item->name) != 0) {
			xbdev_use_path(item, use, p->path);
			return xu_error_set(p->err, -EBUSY,
				"\"%.128s\" is not accepted: '%.128s' uses it already; it takes "
				"one that nothing else uses",
				name, user->item->name);
		}
	}
	return 0;
}

/* Nothing that stays has the UUID that an entry asks for. */
static int check_uuid(struct planner *p, const struct target *target)
{
	const char *uuid =
		json_string_value(json_object_get(xbdev_item_members(target->item), "uuid"));
	const struct present *other =
		uuid != NULL ? present_of(p, xbdev_document_find(
						     p->now, target->item->section->space, uuid))
			     : NULL;

	if (other == NULL || other == target->present || (other->goes && !other->is_final)) {
		return 0;
	}
	xbdev_item_path(target->item, "uuid", p->path);
	return xu_error_set(p->err, -EEXIST,
		"\"%s\" is not accepted: '%.128s' has it, which %s; it takes one of its own", uuid,
		other->item->name, other->goes ? "goes last" : "is there");
}

static int check_targets(struct planner *p)
{
	int rc = 0;

	for (size_t i = 0; i < p->wanted->nr_items && rc == 0; i++) {
		const struct target *target = &p->targets[i];

		for (size_t u = 0; u < target->item->nr_uses && rc == 0; u++) {
			rc = check_outside(p, target->item, &target->item->uses[u]);
		}
		if (rc == 0) {
			rc = check_uuid(p, target);
		}
	}
	return rc;
}

/* ---- jobs ---- */

static struct xbdev_job *add_job(struct planner *p, enum xbdev_action action,
	const struct xbdev_item *item, json_t *from, json_t *to)
{
	struct xbdev_job *job = &p->plan->jobs[p->plan->nr_jobs++];
	char path[XBDEV_TEXT_PATH_SIZE] = "";

	if (action != XBDEV_ACTION_REMOVE) {
		xbdev_item_path(item, NULL, path);
	}
	job->ctx = p->ctx;
	job->section = item->section;
	job->mode = p->mode;
	job->action = action;
	job->name = strdup(item->name);
	job->path = strdup(path);
	job->from = from != NULL ? xbdev_config_copy(from) : NULL;
	job->to = to != NULL ? xbdev_config_copy(to) : NULL;
	if (job->name == NULL || job->path == NULL || (from != NULL && job->from == NULL) ||
		(to != NULL && job->to == NULL)) {
		out_of_memory(p);
	}
	return job;
}

static void add_removals(struct planner *p, bool is_final)
{
	for (uint32_t level = p->now->nr_levels; level-- > 0;) {
		for (size_t i = p->now->nr_items; i-- > 0;) {
			const struct present *present = &p->presents[i];

			if (present->goes && present->is_final == is_final &&
				present->item->level == level) {
				add_job(p, XBDEV_ACTION_REMOVE, present->item, present->item->entry,
					NULL)
					->is_final = is_final;
				p->plan->nr_final_removals += is_final;
			}
		}
	}
}

static void add_makes(struct planner *p)
{
	for (uint32_t level = 0; level < p->wanted->nr_levels; level++) {
		for (size_t i = 0; i < p->wanted->nr_items; i++) {
			struct target *target = &p->targets[i];

			if (target->action == XBDEV_ACTION_MAKE && target->item->level == level) {
				target->job = add_job(
					p, XBDEV_ACTION_MAKE, target->item, NULL, target->to);
			}
		}
	}
}

static void add_changes(struct planner *p, bool is_final)
{
	for (size_t i = 0; i < p->wanted->nr_items; i++) {
		const struct target *target = &p->targets[i];

		if (target->action == XBDEV_ACTION_CHANGE && target->is_final == is_final) {
			add_job(p, XBDEV_ACTION_CHANGE, target->item, target->present->item->entry,
				target->to)
				->is_final = is_final;
		}
	}
}

static int make_jobs(struct planner *p)
{
	/* At most one for each side of each pair. */
	p->plan->jobs = calloc(p->now->nr_items + p->wanted->nr_items + 1, sizeof(*p->plan->jobs));
	if (p->plan->jobs == NULL) {
		return out_of_memory(p);
	}
	add_removals(p, false);
	add_makes(p);
	add_changes(p, false);
	add_changes(p, true);
	add_removals(p, true);
	return p->err->code;
}

/* ---- origins ---- */

static const char *uuid_of(const struct xbdev_item *item)
{
	return json_string_value(json_object_get(xbdev_item_members(item), "uuid"));
}

static int add_origin(struct planner *p, const struct target *target)
{
	const struct present *present = target->present;
	const struct xbdev_origin origin = {.section = target->item->section,
		.name = target->item->name,
		.entry = target->item->entry,
		.chosen = target->chosen,
		.made_by = target->job};

	if (target->job == NULL && (present == NULL || !is_ours(present))) {
		return 0;
	}
	return xbdev_origins_add(
		&p->plan->origins, &origin, target->job == NULL ? uuid_of(present->item) : NULL);
}

/* What will have been made by documents: what this one makes, and what stays of others. */
static int make_origins(struct planner *p)
{
	int rc = xbdev_origins_init(&p->plan->origins, p->now->nr_items + p->wanted->nr_items);

	for (size_t i = 0; i < p->wanted->nr_items && rc == 0; i++) {
		rc = add_origin(p, &p->targets[i]);
	}
	for (size_t i = 0; i < p->now->nr_items && rc == 0; i++) {
		const struct present *present = &p->presents[i];

		if (is_ours(present) && present->target == NULL && !present->goes) {
			rc = xbdev_origins_add(
				&p->plan->origins, present->origin, uuid_of(present->item));
		}
	}
	return rc == 0 ? 0 : out_of_memory(p);
}

/* ---- all ---- */

int xbdev_plan_make(struct xbdev_plan *plan, struct xbdev_ctx *ctx, enum xbdev_config_mode mode,
	const struct xbdev_document *wanted, const struct xbdev_origins *origins,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	static int (*const passes[])(struct planner * p) = {
		begin, decide, find_going, ask_again, check_targets, make_jobs, make_origins};
	struct planner p = {.plan = plan,
		.ctx = ctx,
		.mode = mode,
		.wanted = wanted,
		.origins = origins,
		.path = path,
		.err = err};
	int rc = 0;

	*plan = (struct xbdev_plan){0};
	*err = (struct xu_error){0};
	path[0] = '\0';
	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && rc == 0; i++) {
		rc = passes[i](&p);
	}
	for (size_t i = 0; i < wanted->nr_items && p.targets != NULL; i++) {
		json_decref(p.targets[i].to);
		json_decref(p.targets[i].chosen);
	}
	free(p.targets);
	free(p.presents);
	xbdev_document_free(p.now);
	return rc;
}

void xbdev_plan_fini(struct xbdev_plan *plan)
{
	for (size_t i = 0; i < plan->nr_jobs; i++) {
		struct xbdev_job *job = &plan->jobs[i];

		if (job->state != NULL && job->section->forget != NULL) {
			job->section->forget(job);
		}
		free(job->name);
		free(job->path);
		json_decref(job->from);
		json_decref(job->to);
	}
	free(plan->jobs);
	xbdev_origins_fini(&plan->origins);
	*plan = (struct xbdev_plan){0};
}
