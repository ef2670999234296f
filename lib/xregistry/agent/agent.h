/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a node does with the registry: it registers its targets, keeps them as they are now, reports
 * how they are doing, and says good-bye. On a thread of its own, over HTTP, so that a registry that
 * is slow or gone never holds up the node: what is to be there is told to the agent, which brings
 * the registry to that as soon as it can.
 */
#ifndef LIB_XREGISTRY_AGENT_H
#define LIB_XREGISTRY_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct xreg_agent;
struct xu_error;
struct xu_logger;

enum xreg_agent_leave {
	XREG_LEAVE_MAINTENANCE, /* the targets stay known, in maintenance */
	XREG_LEAVE_UNREGISTER,
	XREG_LEAVE_SILENTLY,
};

struct xreg_agent_opts {
	/* "http://127.0.0.1:8080"; several, with commas between, that share their data: when one
	 * does not answer, the next is asked. */
	const char *url;
	const char *node_id;   /* whose targets they are */
	const char *token;     /* NULL: none */
	const char *ca_path;   /* PEM, of https; NULL: the system's */
	const char *cert_path; /* PEM, to show; NULL: none */
	const char *key_path;
	uint32_t interval_s; /* between two reports */
	enum xreg_agent_leave leave;
	struct xu_logger *log; /* NULL: silent */
	/*
	 * What the registry says of one of the node's targets: somebody has set its state. On the
	 * agent's thread; must not wait. NULL: nobody listens.
	 */
	void (*on_state)(void *arg, const char *nqn, const char *status, const char *reason);
	/*
	 * What the registry wants of the target of `nqn` at `place`, "ADDRESS PORT" as it is
	 * registered ("desired" of GET …/config, borrowed; {}: nothing is set). Answered with
	 * xreg_agent_answer(). With `config` NULL the target is in the registry no more, so nothing
	 * is wanted of it, and nobody waits for an answer. On a thread of the agent's; must not
	 * wait. Needs on_state too. NULL: nobody listens.
	 */
	void (*on_config)(void *arg, const char *nqn, const char *place, uint64_t revision,
		const json_t *config);
	void *arg;
};

/* Copies the options. -EINVAL with a sentence; -ENOMEM, -EAGAIN: no thread. */
int xreg_agent_start(
	const struct xreg_agent_opts *opts, struct xreg_agent **ret_agent, struct xu_error *err);

/*
 * What is to be registered from now on: an array of bodies as POST /api/v1/targets takes them
 * (spec/registry.md 4.1.1), each of which may have "metrics" as PUT …/metrics takes them, and
 * "actual" as PUT …/config/report has it. Takes the reference, which must be the only one. Returns
 * at once. Any thread.
 */
void xreg_agent_set(struct xreg_agent *agent, json_t *targets);

/* What has become of what was wanted with `revision`: applied, or refused for a `problem`; and what
 * there is now (taken; NULL: that is not known). Any thread. */
void xreg_agent_answer(struct xreg_agent *agent, const char *nqn, const char *place,
	uint64_t revision, const char *problem, json_t *actual);

/* Says good-bye as the options say, within `timeout_ms`, and frees. NULL is fine. Blocks. */
void xreg_agent_stop(struct xreg_agent *agent, uint32_t timeout_ms);

/* How it stands: {"url", "node_id", "connected", "registered", "wanted", "problem"}. New reference.
 * Any thread. */
json_t *xreg_agent_status(struct xreg_agent *agent);

#endif
