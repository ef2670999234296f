/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node and the registry: what the node exports is registered there, and how it is doing is
 * reported. On the control reactor; the talking itself is the agent's (lib/xregistry/agent), on
 * threads of its own. Without a "registry" in the configuration all of these do nothing.
 */
#ifndef XSAND_REGISTRY_H
#define XSAND_REGISTRY_H

#include <jansson.h>

struct node;
struct xu_error;

/* -errno with a sentence: a token that cannot be read. */
int node_registry_start(struct node *node, struct xu_error *err);
/* What is exported may have changed. */
void node_registry_changed(struct node *node);
/* Says good-bye; blocks for two seconds at most, when the registry does not answer. */
void node_registry_stop(struct node *node);
/* The address that a listener is registered with; NULL: none, it is not. Borrowed. */
const char *node_registry_address(struct node *node, const json_t *listener);
/* How the registration stands; NULL: there is no registry. New reference. */
json_t *node_registry_status(struct node *node);

#endif
