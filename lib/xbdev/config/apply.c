/* SPDX-License-Identifier: BSD-3-Clause */
/* Carrying out a plan; see apply.h. A job may end before it has returned or much later, so a loop
 * goes on as long as they end at once, and whoever ends one later enters it again. */
#include "lib/xbdev/config/apply.h"

#include <errno.h>
#include <stdio.h>

#include "lib/util/log.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/lvol/stores.h"

static void run(struct xbdev_apply *apply);

static const char *verb_of(const struct xbdev_job *job)
{
	return job->action == XBDEV_ACTION_MAKE     ? "making"
	       : job->action == XBDEV_ACTION_REMOVE ? "removing"
						    : "changing";
}

/* The first error, with the place of the entry. */
static void note_error(
	struct xbdev_apply *apply, const struct xbdev_job *job, const struct xu_error *err)
{
	if (apply->err.code != 0) {
		return;
	}
	apply->err = *err;
	xu_error_prefix(&apply->err, "%s %s '%.128s'", verb_of(job), job->section->one, job->name);
	xbdev_text_fail(apply->text, job->path, &apply->err);
}

/* What could not be taken back is told behind the error, and its reason in the log. */
static void note_left(
	struct xbdev_apply *apply, const struct xbdev_job *job, const struct xu_error *err)
{
	struct xu_error whole;

	xu_err(xbdev_ctx_log(job->ctx), "undoing: %s %s '%s': %s", verb_of(job), job->section->one,
		job->name, err->text);
	xu_error_set(&whole, apply->err.code, "%.300s; and %s '%.64s' cannot be undone: %.120s",
		apply->err.text, verb_of(job), job->name, err->text);
	apply->err = whole;
}

static void on_examined(void *arg)
{
	struct xbdev_apply *apply = arg;

	apply->done(apply->arg, &apply->err);
}

/* All devices that stand on others have been made: stores are on those that are left. */
static void finish(struct xbdev_apply *apply)
{
	if (apply->is_over) {
		xbdev_origins_settle(&apply->plan->origins);
	}
	xbdev__lvol_release(apply->ctx);
	xbdev__lvol_examined(apply->ctx, NULL, on_examined, apply);
}

/* ---- the end of a job ---- */

static void begin_undoing(struct xbdev_apply *apply)
{
	apply->is_undoing = true;
	apply->next--; /* that which failed has left nothing */
}

static void final_done(
	struct xbdev_apply *apply, const struct xbdev_job *job, const struct xu_error *err)
{
	if (err != NULL && err->code != 0) {
		note_error(apply, job, err);
	}
	if (--apply->nr_pending == 0) {
		if (apply->err.code != 0) {
			xu_error_prefix(&apply->err, "it is done, but");
		}
		finish(apply);
	}
}

void xbdev_job_done(struct xbdev_job *job, const struct xu_error *err)
{
	struct xbdev_apply *apply = job->apply;
	bool is_good = err == NULL || err->code == 0;

	if (apply->nr_pending != 0) {
		final_done(apply, job, err);
		return;
	}
	if (!is_good && apply->is_undoing) {
		note_left(apply, job, err);
	} else if (!is_good) {
		note_error(apply, job, err);
		begin_undoing(apply);
	} else if (!apply->is_undoing) {
		xu_info(xbdev_ctx_log(job->ctx), "configuration: %s %s '%s'", verb_of(job),
			job->section->one, job->name);
	}
	apply->is_job_over = true;
	if (!apply->is_running) {
		run(apply);
	}
}

/* ---- running ---- */

static int can_go(struct xbdev_job *job, struct xu_error *err)
{
	const struct xbdev_item now = {
		.section = job->section, .name = job->name, .entry = job->from};
	struct xbdev_planning planning = {
		.ctx = job->ctx, .mode = job->mode, .now = &now, .err = err};
	int rc = job->section->plan(&planning);

	if (rc == 0 && job->section->prepare != NULL && job->state == NULL &&
		job->section->prepare(job) != 0) {
		rc = xu_error_set(err, -ENOMEM, "out of memory");
	}
	return rc;
}

/* Whether all that is to go last still can; on the way there, and at the end: nothing can be opened
 * between that and its removal. */
static bool can_all_go(struct xbdev_apply *apply)
{
	struct xbdev_plan *plan = apply->plan;

	for (size_t i = plan->nr_jobs - plan->nr_final_removals; i < plan->nr_jobs; i++) {
		struct xu_error err = {0};

		if (can_go(&plan->jobs[i], &err) != 0) {
			note_error(apply, &plan->jobs[i], &err);
			return false;
		}
	}
	return true;
}

static void remove_the_last(struct xbdev_apply *apply)
{
	struct xbdev_plan *plan = apply->plan;

	apply->is_over = true;
	apply->nr_pending = plan->nr_final_removals + 1; /* one for this loop */
	for (; apply->next < plan->nr_jobs; apply->next++) {
		plan->jobs[apply->next].apply = apply;
		plan->jobs[apply->next].section->apply(&plan->jobs[apply->next]);
	}
	final_done(apply, NULL, NULL);
}

static void take_back(struct xbdev_apply *apply)
{
	struct xbdev_job *job = &apply->plan->jobs[--apply->next];

	job->section->undo(job);
}

static void do_next(struct xbdev_apply *apply)
{
	struct xbdev_job *job = &apply->plan->jobs[apply->next++];

	job->apply = apply;
	job->section->apply(job);
}

static void run(struct xbdev_apply *apply)
{
	size_t end = apply->plan->nr_jobs - apply->plan->nr_final_removals;

	apply->is_running = true;
	for (;;) {
		bool is_end = apply->next == end;

		if (!apply->is_undoing && (is_end || apply->plan->jobs[apply->next].is_final)) {
			apply->is_undoing = !can_all_go(apply);
		}
		if (!apply->is_undoing && is_end) {
			remove_the_last(apply);
			return;
		}
		if (apply->is_undoing && apply->next == 0) {
			finish(apply);
			return;
		}
		apply->is_job_over = false;
		if (apply->is_undoing) {
			take_back(apply);
		} else {
			do_next(apply);
		}
		if (!apply->is_job_over) {
			apply->is_running = false;
			return;
		}
	}
}

void xbdev_apply_start(struct xbdev_apply *apply, struct xbdev_ctx *ctx, struct xbdev_plan *plan,
	const struct xbdev_text *text, void (*done)(void *arg, const struct xu_error *err),
	void *arg)
{
	*apply = (struct xbdev_apply){
		.ctx = ctx, .plan = plan, .text = text, .done = done, .arg = arg};
	xbdev__lvol_hold(ctx);
	run(apply);
}
