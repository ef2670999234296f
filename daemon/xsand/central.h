/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the registry wants of the node's targets (lib/xregistry/desired.h): checked against what
 * this node can do, made a part of the model ("registry" of a subsystem, config_central.h), so that
 * it is carried out and saved like every change, and answered. On the control reactor.
 */
#ifndef XSAND_CENTRAL_H
#define XSAND_CENTRAL_H

#include <jansson.h>
#include <stdint.h>

#define CENTRAL_PLACE_SIZE 128u

struct node;
struct xu_error;

/*
 * Makes `config` (taken) what holds for the target of `nqn` at `place` ("ADDRESS PORT"), as one
 * change: `done` is told once, with an error of code 0 or why nothing of it holds. NULL: the target
 * is in no registry any more, nothing is set of it; `done` may be NULL then.
 */
void central_set(struct node *node, const char *nqn, const char *place, json_t *config,
	void (*done)(void *arg, const struct xu_error *err), void *arg);

/* What a subsystem has, as the registry is told; NULL: there is none. New reference. */
json_t *central_actual(struct node *node, const char *nqn);

/* Before the node's first change: takes out what no registry will say anything of any more. */
void central_forget(struct node *node);

#endif
