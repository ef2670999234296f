/* SPDX-License-Identifier: BSD-3-Clause */
/* All targets in a few numbers (spec/registry.md 7.2, registry_monitoring_metrics_t). */
#ifndef LIB_XREGISTRY_SUMMARY_H
#define LIB_XREGISTRY_SUMMARY_H

#include <stdint.h>

#include "lib/xregistry/target.h"

struct xreg_health_config;
struct xreg_view;

struct xreg_summary {
	uint32_t nr_targets;
	uint32_t by_state[XREG_DEGRADED + 1];
	uint64_t nr_connections;
	/* Of the available ones; the sums of latency and score are over all of them. */
	uint64_t iops, bandwidth_mbps, latency_us_sum, score_sum;
};

/* Looks at every target. Any thread. */
void xreg_summary_make(const struct xreg_view *view, const struct xreg_health_config *config,
	struct xreg_summary *ret_summary);

/* Means over the available targets; 0 when there is none. */
double xreg_summary_latency_us(const struct xreg_summary *summary);
double xreg_summary_score(const struct xreg_summary *summary);

#endif
