/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a node: edits by RPC, reloads of the configuration file, the start itself. They take
 * turns; each runs to its end, the saving of the state included, before the next one begins:
 *
 *	wanted model --> plan --> steps --> save --> answer
 *
 * An edit is saved after its steps, for a step that fails undoes it. A reload is saved before them,
 * because what it wants stays wanted, and because no host may see an identity that a crash would
 * change.
 */
#ifndef XSAND_CHANGE_H
#define XSAND_CHANGE_H

#include <jansson.h>
#include <stdbool.h>

struct node;
struct xu_error;

/*
 * Changes what is wanted. On its turn `edit` is given a copy of the model to change; when it fails,
 * or the model is not possible then, or a step fails, nothing of it stays and `done` is told.
 * -ESHUTDOWN when the node is stopping. `done` comes once, later or at once.
 */
void change_edit(struct node *node, int (*edit)(void *arg, json_t *model, struct xu_error *err),
	void (*done)(void *arg, const struct xu_error *err), void *arg);

/*
 * Reads the configuration file again and makes the difference. `done` is given a report, which it
 * takes: { "done": [sentence…], "failed": [{"step", "error"}…], "restart": [what…], "notes":
 * [sentence…] }; NULL with an error: nothing was changed. With `is_dry`, "done" says what would be
 * done and nothing is changed.
 */
void change_reload(struct node *node, bool is_dry,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg);

/* The same with a document (borrowed) in place of the file, as a change made at run time. */
void change_load(struct node *node, json_t *document,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg);

/* The first change: makes node->wanted, which has been merged already. */
void change_start(struct node *node,
	void (*done)(void *arg, json_t *report, const struct xu_error *err), void *arg);

#endif
