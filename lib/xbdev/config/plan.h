/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From what there is to what a document says: the jobs, in an order in which each can be done and,
 * as long as something may fail, be taken back.
 *
 *	what goes, users before what they use      REMOVE
 *	what comes, what is used before its users  MAKE
 *	what changes                               CHANGE
 *	changes that cannot be taken back          CHANGE, is_final: a file that grows
 *	what loses its content when it goes        REMOVE, is_final: a device in memory
 *
 * What cannot be changed as it is goes and comes again, with all that stands on it, if nobody has
 * any of it open. What the program made by itself neither goes nor is made anew.
 */
#ifndef XBDEV_CONFIG_PLAN_H
#define XBDEV_CONFIG_PLAN_H

#include "lib/xbdev/config/document.h"
#include "lib/xbdev/config/origin.h"

struct xbdev_plan {
	struct xbdev_job *jobs;
	size_t nr_jobs, nr_final_removals; /* those are the last */
	struct xbdev_origins origins;      /* as they are when the jobs are done */
};

/*
 * Plans; touches nothing. Errors have a sentence and the path of the culprit in the document, ""
 * when it is not in it: -EBUSY what must go is in use; -EEXIST something else has the name; -EINVAL
 * a use of what there is not; -ENOMEM. xbdev_plan_fini() afterwards in any case. On the control
 * reactor.
 */
int xbdev_plan_make(struct xbdev_plan *plan, struct xbdev_ctx *ctx, enum xbdev_config_mode mode,
	const struct xbdev_document *wanted, const struct xbdev_origins *origins,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err);
void xbdev_plan_fini(struct xbdev_plan *plan);

#endif
