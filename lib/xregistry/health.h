/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How healthy a target is (spec/registry.md 5.1), as a number made of what is known of it, and what
 * is thought acceptable. docs/registry-health.md says what each part means. Pure arithmetic: any
 * thread, does not block.
 */
#ifndef LIB_XREGISTRY_HEALTH_H
#define LIB_XREGISTRY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/live.h"

struct xreg_target;
struct xu_error;

/* The keys of the document's "health_monitoring" and "failover"; below them what it does not say.
 * A limit of 0 is no limit. */
struct xreg_health_config {
	double availability_weight, performance_weight, reliability_weight, resource_weight;
	uint32_t max_acceptable_latency_us;
	double max_acceptable_error_rate;     /* 0 … 1 */
	uint32_t max_acceptable_load_pct;     /* 0 … 100 */
	uint64_t min_acceptable_iops;         /* lowers the score, is not a failure */
	uint32_t monitoring_interval_s;       /* from one check of a target to its next */
	uint32_t health_check_timeout_s;      /* of one probe */
	bool auto_failover_enabled;           /* false: failures are told, states are left alone */
	uint32_t failover_threshold_failures; /* bad checks in a row before a state gets worse */
	uint32_t failover_timeout_s; /* failed for so long without recovery: offline; 0: never */

	uint32_t recovery_threshold; /* good checks in a row before a state gets better */
	uint32_t flap_limit;         /* changes between good and bad … */
	uint32_t flap_window_s;      /* … within so long are flapping; a limit of 0: nothing is */
	uint32_t hold_down_s; /* a target that flaps stays down so long, twice that next time */
	uint32_t hold_down_max_s;
	uint32_t report_age_max_s; /* an older report is not judged any more */

	enum xreg_probe_level probe_level; /* how far probes go; XREG_PROBE_NONE: no probes */
	bool probe_discovery; /* ask the discovery subsystem instead of the target's own */
	uint32_t max_probes;  /* under way at a time */
	uint32_t max_acceptable_probe_us; /* a slower Keep Alive is a high latency */
	char host_nqn[256];               /* of the registry, when it probes: "probe_host_nqn" */

	/* So many of a hundred targets silent at once, at so many addresses or more, are this
	 * registry's own trouble: it does not judge. 0: it always does. */
	uint32_t blind_share_pct, blind_min_nodes;
	/* It judges all the same when others have been heard for so long, or nobody for so long; 0:
	 * that does not end it. */
	uint32_t blind_proof_s, blind_max_s;

	uint32_t recovery_backoff_s; /* between two attempts to recover, doubled each time … */
	uint32_t recovery_backoff_max_s; /* … up to this */
	uint32_t min_queue_depth;        /* advice goes no lower */
	uint32_t min_io_bytes;
};

#define XREG_BLIND_NODES_MAX 64u

#define XREG_PROBE_HOST_NQN "nqn.2026-11.io.xsan:registry"

/* The document's sample; host_nqn is XREG_PROBE_HOST_NQN. */
void xreg_health_config_default(struct xreg_health_config *ret_config);
/* -EINVAL with a sentence that begins with the key which cannot be. */
int xreg_health_config_check(const struct xreg_health_config *config, struct xu_error *err);

/* Scores are 0 … 100. A part that nothing is known of is 100, and does not count in `score`. */
struct xreg_health {
	uint32_t score;
	uint32_t availability;
	uint32_t performance; /* the mean of the next three */
	uint32_t latency_score, iops_score, bandwidth_score;
	uint32_t reliability;
	uint32_t resource_usage; /* 100: nothing is used */
	bool is_measured;        /* by a report: performance and resource_usage are known */
	bool is_rated;           /* by a report or checks: reliability is known */
};

/* `live` is a copy that xreg_live_get() has made. */
void xreg_health_score(const struct xreg_target *target, const struct xreg_live_state *live,
	const struct xreg_health_config *config, struct xreg_health *ret_health);

#endif
