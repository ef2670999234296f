/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Carrying out a plan, all of it or nothing:
 *
 *	RUNNING --last job done--> DONE
 *	RUNNING --a job fails--> UNDOING --first job taken back--> FAILED
 *
 * Jobs run one after the other. When one fails, those before it are taken back, the last first.
 * What loses its content when it goes is taken down at the very end, all together, after a look
 * whether all of it still can go. Devices are searched for stores of volumes when all have been
 * made, as the lowest of those that stand on each other is not the one that has it.
 */
#ifndef XBDEV_CONFIG_APPLY_H
#define XBDEV_CONFIG_APPLY_H

#include "lib/util/error.h"
#include "lib/xbdev/config/plan.h"

struct xbdev_text;

struct xbdev_apply {
	struct xbdev_ctx *ctx;
	struct xbdev_plan *plan;
	const struct xbdev_text *text;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;

	size_t next;       /* job, or the one after that which is taken back */
	size_t nr_pending; /* of the removals at the end */
	bool is_undoing;
	bool is_running; /* the loop is on the stack */
	bool is_job_over;
	bool is_over; /* nothing can be taken back any more */
	struct xu_error err;
};

/*
 * Does the plan's jobs; plan and text (for the places in errors; may be NULL) are borrowed until
 * `done`, which comes once, maybe before this returns. Nothing is allocated here, so it cannot fail
 * to begin. With an error of code 0, plan->origins is what holds from now on. With another,
 * everything is as it was before, but for what the sentence says; only when that begins with "it is
 * done, but" the plan has been carried out. On the control reactor.
 */
void xbdev_apply_start(struct xbdev_apply *apply, struct xbdev_ctx *ctx, struct xbdev_plan *plan,
	const struct xbdev_text *text, void (*done)(void *arg, const struct xu_error *err),
	void *arg);

/* Whether the plan was carried out, error or not; in and after `done`. */
static inline bool xbdev_apply_is_over(const struct xbdev_apply *apply)
{
	return apply->is_over;
}

#endif
