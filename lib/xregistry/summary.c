/* SPDX-License-Identifier: BSD-3-Clause */
/* One walk over a view. */
#include "lib/xregistry/summary.h"

#include "lib/xregistry/health.h"
#include "lib/xregistry/store.h"

struct walk {
	struct xreg_summary *summary;
	const struct xreg_health_config *config;
};

static bool add_target(void *arg, const struct xreg_target *target)
{
	const struct walk *walk = arg;
	struct xreg_summary *summary = walk->summary;
	struct xreg_live_state state;
	struct xreg_health health;

	xreg_live_get(target, &state);
	summary->nr_targets++;
	summary->by_state[target->status.state]++;
	summary->nr_connections += state.metrics.active_connections;
	if (target->status.state == XREG_AVAILABLE) {
		xreg_health_score(target, &state, walk->config, &health);
		summary->iops += state.metrics.current_iops;
		summary->bandwidth_mbps += state.metrics.current_bandwidth_mbps;
		summary->latency_us_sum += state.metrics.current_latency_us;
		summary->score_sum += health.score;
	}
	return true;
}

void xreg_summary_make(const struct xreg_view *view, const struct xreg_health_config *config,
	struct xreg_summary *ret_summary)
{
	struct walk walk = {ret_summary, config};

	*ret_summary = (struct xreg_summary){0};
	xreg_view_each(view, XREG_BY_ID, "", true, add_target, &walk);
}

static double mean(uint64_t sum, uint32_t count)
{
	return count != 0 ? (double)sum / count : 0;
}

double xreg_summary_latency_us(const struct xreg_summary *summary)
{
	return mean(summary->latency_us_sum, summary->by_state[XREG_AVAILABLE]);
}

double xreg_summary_score(const struct xreg_summary *summary)
{
	return mean(summary->score_sum, summary->by_state[XREG_AVAILABLE]);
}
