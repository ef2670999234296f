/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A node that is found: answers the registry's queries by multicast (lib/xregistry/multicast.h)
 * with what the node exports. On a thread of its own; a network that is not there yet is waited
 * for. Nobody without the key gets an answer, no query gets two, and there are four answers a
 * second at most, so that the node floods nobody.
 */
#ifndef LIB_XREGISTRY_AGENT_RESPONDER_H
#define LIB_XREGISTRY_AGENT_RESPONDER_H

#include <jansson.h>

#include "lib/xregistry/multicast_net.h"

struct xreg_responder;
struct xu_error;
struct xu_logger;

struct xreg_responder_opts {
	struct xreg_mcast_opts net; /* xreg_mcast_check()ed */
	const char *node_id;
	struct xu_logger *log; /* NULL: silent */
};

/* Copies the options. -EINVAL: a name of a node that is none; -ENOMEM, -EAGAIN. */
int xreg_responder_start(const struct xreg_responder_opts *opts,
	struct xreg_responder **ret_responder, struct xu_error *err);

/* What is exported from now on: an array of bodies as xreg_agent_set() takes them, borrowed. Any
 * thread. */
void xreg_responder_set(struct xreg_responder *responder, const json_t *targets);

void xreg_responder_stop(struct xreg_responder *responder); /* NULL is fine */

/* How it stands: {"group", "port", "interfaces", "targets", "answered", "refused": {"foreign",
 * "late", "repeated", "limited"}, "problem"}. New reference. Any thread. */
json_t *xreg_responder_status(struct xreg_responder *responder);

#endif
