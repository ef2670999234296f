/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing the steps of a plan, one after the other. A step that fails is noted and the next one is
 * tried; node->made follows what has really been made. A step has STEP_TIMEOUT_S; after that it
 * counts as failed, though it may still succeed later, which then is noted in node->made too.
 */
#ifndef XSAND_APPLY_H
#define XSAND_APPLY_H

#include <jansson.h>

#include "daemon/xsand/plan.h"
#include "lib/util/error.h"

struct node;

#define STEP_TIMEOUT_S 60u

struct apply;

/*
 * Runs the plan, which must live until `done`, as must the models it was made from. Identities of
 * new devices are written into the steps' values. `done` comes once, perhaps at once: `steps` and
 * `failed` are arrays, of the sentences of the steps that were done and of { "step", "error" };
 * `first` is the first error (code 0: none). All are borrowed. -ENOMEM: nothing happens.
 */
int apply_start(struct node *node, struct plan *plan,
	void (*done)(void *arg, json_t *steps, json_t *failed, const struct xu_error *first),
	void *arg);

#endif
