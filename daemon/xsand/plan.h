/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps that lead from one model to another, in an order in which each can be done: first what
 * goes (users before what they use), then what comes (what is used before its users), listeners
 * last, so a host that connects finds everything. What cannot be changed while the node runs is no
 * step; it is named in `restart`. Why this order always exists is in plan.c.
 */
#ifndef XSAND_PLAN_H
#define XSAND_PLAN_H

#include <jansson.h>
#include <stddef.h>

struct xbdev_ctx;

enum step_kind {
	STEP_LOG_LEVEL,
	STEP_LISTENER_REMOVE,
	STEP_NS_REMOVE,
	STEP_SUBSYSTEM_REMOVE,
	STEP_MEMBER_REMOVE, /* of an array that stays */
	STEP_DEVICE_REMOVE,
	STEP_TRANSPORT,
	STEP_DEVICE_ADD,
	STEP_DEVICE_CHANGE, /* the last of devices: their stores are found after these */
	STEP_STORE_MAKE,
	STEP_VOLUME_MAKE,
	STEP_SUBSYSTEM_ADD,
	STEP_POLICY, /* what a registry has set of a subsystem */
	STEP_HOST_ADD,
	STEP_ALLOW_ANY_HOST,
	STEP_HOST_REMOVE,
	STEP_NS_ADD,
	STEP_LISTENER_ADD,
	STEP_NR_KINDS
};

/* The texts and values are the plan's, or borrowed from the model it leads to, which must stay as
 * it is. */
struct step {
	enum step_kind kind;
	const char *nqn; /* of the subsystem, or the array's name; NULL: not in one */
	const char *key; /* the object's name in the model */
	json_t *value;   /* what it is to be (of a member that goes, the array); NULL where
			  * something goes */
};

struct plan {
	struct step *steps;
	size_t nr_steps, size;
	json_t *restart; /* array of sentences */
	json_t *own;     /* array of what the steps point into */
};

/* `ctx`, for what its devices can do, may be NULL. -ENOMEM. plan_fini() afterwards in any case. */
int plan_make(struct plan *plan, struct xbdev_ctx *ctx, const json_t *from, const json_t *to);
void plan_fini(struct plan *plan);

/* What the step does, for people: "add namespace 1 (disk0) to nqn…". A new string, NULL: no memory.
 */
json_t *plan_describe(const struct step *step);

#endif
