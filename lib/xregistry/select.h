/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Choosing targets (spec/registry.md 6.2 and the load balancing of 2.2): those that do not meet the
 * criteria are left out with the reason, the others are put in an order, the first are chosen.
 * docs/registry-health.md says what each part of a score and each policy means.
 */
#ifndef LIB_XREGISTRY_SELECT_H
#define LIB_XREGISTRY_SELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/health.h"

struct xreg_view;
struct xreg_balancer;

/* How targets that meet the criteria are put in order. The document's numbers. */
enum xreg_policy {
	XREG_POLICY_DEFAULT = 0, /* the balancer's own */
	XREG_ROUND_ROBIN = 1,
	XREG_LEAST_CONNECTIONS,
	XREG_LEAST_LOAD,
	XREG_WEIGHTED,
	XREG_HASH,  /* the same for the same key for as long as it can be */
	XREG_SCORE, /* the best score of 6.2 */
	XREG_NR_POLICIES,
};

/* "round_robin", "least_connections", "least_load", "weighted", "hash", "score"; NULL for others.
 */
const char *xreg_policy_name(uint32_t policy);
int xreg_policy_parse(const char *name, enum xreg_policy *ret_policy); /* -EINVAL */

#define XREG_ANY_TRANSPORT UINT32_MAX
#define XREG_SELECT_MAX    1024u /* targets of one selection */

/* What is wanted. 0, NULL and "" ask for nothing. Everything is borrowed during the call. */
struct xreg_criteria {
	uint64_t min_iops;
	uint64_t min_bandwidth_mbps;
	uint32_t max_latency_us;
	uint64_t min_capacity_bytes;
	uint32_t transport; /* enum xreg_transport or XREG_ANY_TRANSPORT */
	const char *node_id;
	const char *const *tags; /* all of them */
	uint32_t nr_tags;
	const char *preferred_location; /* the nearer the better */
	const char *location_prefix;    /* only there */
	const char *const *exclude_ids;
	uint32_t nr_exclude_ids;
	bool is_writable; /* not those that are read-only */
	double health_weight, performance_weight, reliability_weight, location_weight;
	uint32_t target_count;  /* how many are wanted, up to XREG_SELECT_MAX */
	bool spread_over_nodes; /* no second target of a node while another node has one */
	enum xreg_policy policy;
	const char *hash_key; /* of XREG_HASH */
};

/* One target of any transport, the document's weights, the balancer's policy. */
void xreg_criteria_default(struct xreg_criteria *ret_criteria);

/* Why a target was left out. */
enum xreg_reject {
	XREG_REJECT_STATE = 1, /* neither available nor degraded */
	XREG_REJECT_EXCLUDED,
	XREG_REJECT_TRANSPORT,
	XREG_REJECT_NODE,
	XREG_REJECT_TAGS,
	XREG_REJECT_LOCATION,
	XREG_REJECT_READ_ONLY,
	XREG_REJECT_CAPACITY,
	XREG_REJECT_IOPS,
	XREG_REJECT_BANDWIDTH,
	XREG_REJECT_LATENCY,
	XREG_REJECT_CONNECTIONS, /* it has as many as it can */
};
const char *xreg_reject_text(enum xreg_reject reason); /* a sentence without its end */

struct xreg_chosen {
	const struct xreg_target *target; /* the selection's */
	uint32_t priority;                /* 1 is the first */
	double total;                     /* the four below, weighted; 0 … 100 */
	double health, performance, reliability, location;
	struct xreg_health parts; /* of health */
	bool is_degraded;
	bool is_over_load; /* above the balancer's threshold: behind those below */
	char reason[256];  /* why it is where it is, a sentence */
};

struct xreg_rejected {
	const struct xreg_target *target; /* the selection's */
	enum xreg_reject reason;
};

enum xreg_selection_status {
	XREG_SELECTION_SUCCESS,
	XREG_SELECTION_PARTIAL,     /* fewer than were wanted */
	XREG_SELECTION_NO_SUITABLE, /* none */
};
const char *xreg_selection_status_name(enum xreg_selection_status status);

struct xreg_selection {
	enum xreg_selection_status status;
	enum xreg_policy policy;    /* that was used */
	uint32_t nr_candidates;     /* met the criteria */
	struct xreg_chosen *chosen; /* best first */
	uint32_t nr_chosen;
	struct xreg_rejected *rejected; /* by id */
	uint32_t nr_rejected;
	struct xreg_view *view; /* what the targets belong to */
};

/*
 * Chooses from `view`. `now_ms` is Unix time, as reports have it. 0 also when nothing is suitable
 * (`status`), -EINVAL for criteria that cannot be (a policy, a weight or a count beyond its range,
 * XREG_HASH without a key), -ENOMEM; then *ret_selection is not written. Any thread.
 */
int xreg_select(struct xreg_balancer *balancer, const struct xreg_view *view,
	const struct xreg_criteria *criteria, const struct xreg_health_config *config,
	uint64_t now_ms, struct xreg_selection *ret_selection);
/* Gives back what a selection holds; one that is all zeroes is fine. */
void xreg_selection_free(struct xreg_selection *selection);

/* ---- the balancer: what selections remember of each other ---- */

struct xreg_balancer_opts {
	enum xreg_policy policy;        /* XREG_POLICY_DEFAULT: XREG_SCORE */
	double load_threshold;          /* 0 … 1; a target with more load comes last; 0: 0.8 */
	uint32_t rebalance_interval_ms; /* for so long what was chosen counts as load; 0: 30 s */
};

/* NULL opts: the defaults. -EINVAL, -ENOMEM. */
int xreg_balancer_new(const struct xreg_balancer_opts *opts, struct xreg_balancer **ret_balancer);
/* Others from now on. -EINVAL. Any thread. */
int xreg_balancer_set(struct xreg_balancer *balancer, const struct xreg_balancer_opts *opts);
void xreg_balancer_free(struct xreg_balancer *balancer); /* NULL is fine */

#endif
