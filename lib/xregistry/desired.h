/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the registry wants of a target (spec/registry.md 1.1 and 2.1: central configuration). It is
 * no part of what the target says of itself, so a registration made again leaves it alone. It hangs
 * on the target's record, is durable with it, and is pushed to the target's node by the node's
 * agent, which says what became of it:
 *
 *	set ──▶ pending ──"applied"──▶ applied ──"refused"──▶ refused: the node was changed
 *meanwhile └──"refused"──▶ rolled-back: the last that was applied, pushed in its turn, once; a
 *second refusal leaves it "refused"
 *
 * Both structures are immutable and shared by counted references, like records.
 */
#ifndef LIB_XREGISTRY_DESIRED_H
#define LIB_XREGISTRY_DESIRED_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/util/param.h"

struct xreg_target;
struct xu_error;

#define XREG_ALLOWED_HOSTS_MAX 256u
#define XREG_REASON_SIZE       256u

/* What is set; only that is pushed. */
enum xreg_config_part {
	XREG_CONFIG_QUEUE_DEPTH = 1u << 0,
	XREG_CONFIG_CONNECTIONS = 1u << 1,
	XREG_CONFIG_IOPS = 1u << 2,
	XREG_CONFIG_BANDWIDTH = 1u << 3,
	XREG_CONFIG_HOSTS = 1u << 4, /* any_host and hosts */
	XREG_CONFIG_READ_ONLY = 1u << 5,
	XREG_CONFIG_INTERVAL = 1u << 6,
	XREG_CONFIG_WEIGHT = 1u << 7,
};
/* What only the target's node can do; the rest is the registry's own. */
#define XREG_CONFIG_OF_NODE                                                                        \
	(XREG_CONFIG_QUEUE_DEPTH | XREG_CONFIG_CONNECTIONS | XREG_CONFIG_IOPS |                    \
		XREG_CONFIG_BANDWIDTH | XREG_CONFIG_HOSTS | XREG_CONFIG_READ_ONLY)

struct xreg_config {
	_Atomic uint32_t nr_refs;
	uint32_t set;             /* of enum xreg_config_part */
	uint32_t queue_depth;     /* entries of an I/O queue */
	uint32_t max_connections; /* associations of hosts at a time */
	uint64_t max_iops;
	uint64_t max_bandwidth_mbps; /* MB/s */
	bool any_host;
	bool is_read_only;
	uint32_t nr_hosts;
	const char *const *hosts; /* NQNs, sorted, none twice */
	uint32_t discovery_interval_s;
	double weight;
};

/* Reads and checks one as JSON. -EINVAL with a sentence and the path of the culprit; -ENOMEM. */
int xreg_config_parse(json_t *body, struct xreg_config **ret_config, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err);
/* What is set, as it is parsed; NULL is one that sets nothing. New reference; NULL: no memory. */
json_t *xreg_config_to_json(const struct xreg_config *config);
struct xreg_config *xreg_config_ref(const struct xreg_config *config); /* NULL is fine */
void xreg_config_unref(const struct xreg_config *config);              /* the same */
/* The names of the parts, such as "access.read_only", as an array. New reference. */
json_t *xreg_config_names(uint32_t parts);

/* The numbers are stored. */
enum xreg_outcome {
	XREG_CONFIG_PENDING = 0, /* the node has not said anything yet */
	XREG_CONFIG_APPLIED = 1,
	XREG_CONFIG_REFUSED = 2,
	XREG_CONFIG_ROLLED_BACK = 3, /* to the last that was applied */
};
/* "pending", "applied", "refused", "rolled-back". */
const char *xreg_outcome_name(uint32_t outcome);

struct xreg_desired {
	_Atomic uint32_t nr_refs;
	uint64_t revision; /* at which it was set or rolled back */
	uint32_t outcome;  /* enum xreg_outcome */
	bool is_confirmed; /* the node has applied it, after a rollback too */
	uint64_t refused_revision;
	char reason[XREG_REASON_SIZE]; /* of the last refusal; "" */
	struct xreg_config *config;    /* never NULL */
	struct xreg_config *fallback;  /* the last that was applied before it; NULL: nothing set */
};

struct xreg_desired *xreg_desired_ref(const struct xreg_desired *desired); /* NULL is fine */
void xreg_desired_unref(const struct xreg_desired *desired);               /* the same */

/* `config` set at `revision`, after `before` (NULL: nothing was). NULL: no memory. */
struct xreg_desired *xreg_desired_set(
	const struct xreg_desired *before, const struct xreg_config *config, uint64_t revision);

/* What a node says of the desired configuration of one revision. */
struct xreg_verdict {
	uint64_t revision; /* 0: that nothing is set */
	bool is_applied;   /* false: refused */
	const char *reason;
};

/* What becomes of `before` by that; the change would have `revision`. NULL in *ret_desired: nothing
 * does. -ESTALE: something else is desired by now; -ENOMEM; with a sentence. */
int xreg_desired_judge(const struct xreg_desired *before, const struct xreg_verdict *verdict,
	uint64_t revision, struct xreg_desired **ret_desired, struct xu_error *err);

/* As they are stored, and back. */
json_t *xreg_desired_to_json(const struct xreg_desired *desired);
int xreg_desired_from_json(json_t *object, struct xreg_desired **ret_desired, struct xu_error *err);

/* What counts for the registry itself: what is desired, else what the target says of itself. */
double xreg_target_weight(const struct xreg_target *target);
/* How often it is to be looked for, at least, in seconds; 0: as often as others. */
uint32_t xreg_target_interval_s(const struct xreg_target *target);
/* Whether what the registry finds by itself leaves it as it is. A static list is no finding. */
bool xreg_target_is_fixed(const struct xreg_target *target);
uint32_t xreg_target_max_connections(const struct xreg_target *target);
bool xreg_target_is_read_only(const struct xreg_target *target);

#endif
