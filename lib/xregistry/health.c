/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The document's formulas (spec/registry.md 5.1), with its truncations, and two things it leaves
 * open: how reliability is found, and what becomes of a target of which not all is known. The
 * latter's score is made of the parts that are known, with their weights standing for all.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/target.h"

#define ROUNDING 1e-9 /* so that a whole number is not cut to the one below */
#define PENALTY  50.0 /* points for each time that a limit is passed by itself */

void xreg_health_config_default(struct xreg_health_config *ret_config)
{
	*ret_config = (struct xreg_health_config){
		.availability_weight = 0.3,
		.performance_weight = 0.4,
		.reliability_weight = 0.2,
		.resource_weight = 0.1,
		.max_acceptable_latency_us = 1000,
		.max_acceptable_error_rate = 0.01,
		.max_acceptable_load_pct = 80,
		.min_acceptable_iops = 10000,
		.monitoring_interval_s = 30,
		.health_check_timeout_s = 10,
		.auto_failover_enabled = true,
		.failover_threshold_failures = 3,
		.failover_timeout_s = 300,
		.recovery_threshold = 2,
		.flap_limit = 4,
		.flap_window_s = 600,
		.hold_down_s = 60,
		.hold_down_max_s = 1800,
		.report_age_max_s = 300,
		.probe_level = XREG_PROBE_IDENTIFY,
		.max_probes = 256,
		.max_acceptable_probe_us = 1000000,
		.blind_share_pct = 90,
		.blind_min_nodes = 3,
		.blind_proof_s = 600,
		.blind_max_s = 14400,
		.recovery_backoff_s = 5,
		.recovery_backoff_max_s = 120,
		.min_queue_depth = 8,
		.min_io_bytes = 4096,
	};
	snprintf(ret_config->host_nqn, sizeof(ret_config->host_nqn), XREG_PROBE_HOST_NQN);
}

/* ---- what can be ---- */

static int check_share(const char *key, double value, struct xu_error *err)
{
	if (!(value >= 0 && value <= 1)) {
		return xu_error_set(err, -EINVAL, "%s: a number from 0 to 1 is needed", key);
	}
	return 0;
}

static int check_range(
	const char *key, uint64_t value, uint64_t min, uint64_t max, struct xu_error *err)
{
	if (value < min || value > max) {
		return xu_error_set(err, -EINVAL, "%s: %llu is not within %llu to %llu", key,
			(unsigned long long)value, (unsigned long long)min,
			(unsigned long long)max);
	}
	return 0;
}

static int check_shares(const struct xreg_health_config *config, struct xu_error *err)
{
	const struct {
		const char *key;
		double value;
	} shares[] = {
		{"availability_weight", config->availability_weight},
		{"performance_weight", config->performance_weight},
		{"reliability_weight", config->reliability_weight},
		{"resource_weight", config->resource_weight},
		{"max_acceptable_error_rate", config->max_acceptable_error_rate},
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(shares) / sizeof(shares[0]); i++) {
		rc = check_share(shares[i].key, shares[i].value, err);
	}
	return rc;
}

#define DAY_S 86400u

int xreg_health_config_check(const struct xreg_health_config *config, struct xu_error *err)
{
	const struct {
		const char *key;
		uint64_t value, min, max;
	} ranges[] = {
		{"max_acceptable_load_pct", config->max_acceptable_load_pct, 0, 100},
		{"monitoring_interval_sec", config->monitoring_interval_s, 1, DAY_S},
		{"health_check_timeout_sec", config->health_check_timeout_s, 1, 600},
		{"failover_threshold_failures", config->failover_threshold_failures, 1, 1000},
		{"failover_timeout_sec", config->failover_timeout_s, 0, 30 * DAY_S},
		{"recovery_threshold_checks", config->recovery_threshold, 1, 100},
		{"flap_limit", config->flap_limit, 0, 32},
		{"flap_window_sec", config->flap_window_s, 1, DAY_S},
		{"hold_down_sec", config->hold_down_s, 1, DAY_S},
		{"hold_down_max_sec", config->hold_down_max_s, config->hold_down_s, 30 * DAY_S},
		{"report_age_max_sec", config->report_age_max_s, 1, 30 * DAY_S},
		{"probe_level", config->probe_level, XREG_PROBE_NONE, XREG_PROBE_IDENTIFY},
		{"max_probes", config->max_probes, 1, 4096},
		{"blind_share_pct", config->blind_share_pct, 0, 100},
		{"blind_min_nodes", config->blind_min_nodes, 1, XREG_BLIND_NODES_MAX},
		{"blind_proof_sec", config->blind_proof_s, 0, DAY_S},
		{"blind_max_sec", config->blind_max_s, 0, 30 * DAY_S},
		{"recovery_backoff_sec", config->recovery_backoff_s, 1, DAY_S},
		{"recovery_backoff_max_sec", config->recovery_backoff_max_s,
			config->recovery_backoff_s, 30 * DAY_S},
		{"min_queue_depth", config->min_queue_depth, 1, 65535},
		{"min_io_bytes", config->min_io_bytes, 512, 1u << 30},
	};
	int rc = check_shares(config, err);

	for (size_t i = 0; rc == 0 && i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		rc = check_range(ranges[i].key, ranges[i].value, ranges[i].min, ranges[i].max, err);
	}
	if (rc == 0 && xnvmf_nqn_check(config->host_nqn, err) != 0) {
		rc = xu_error_prefix(err, "probe_host_nqn");
	}
	return rc;
}

/* ---- the score ---- */

/* Degraded and what is not listed are not in the document's formula; a target that is degraded
 * serves, if badly. */
static uint32_t availability(uint32_t state)
{
	switch (state) {
	case XREG_AVAILABLE:
		return 100;
	case XREG_BUSY:
		return 80;
	case XREG_DEGRADED:
		return 50;
	case XREG_MAINTENANCE:
		return 20;
	default:
		return 0;
	}
}

static uint32_t latency_score(uint32_t latency_us, uint32_t max_us)
{
	double penalty;

	if (max_us == 0 || latency_us <= max_us) {
		return 100;
	}
	penalty = (double)(latency_us - max_us) / max_us;
	return (uint32_t)fmax(0, 100 - penalty * PENALTY);
}

static uint32_t iops_score(uint64_t iops, uint64_t min_iops)
{
	return iops < min_iops ? (uint32_t)((double)iops / (double)min_iops * 100) : 100;
}

static uint32_t bandwidth_score(uint64_t mbps, uint64_t max_mbps)
{
	double utilization = max_mbps > 0 ? (double)mbps / (double)max_mbps : 0;

	if (utilization > 0.9) {
		return 70;
	}
	return utilization > 0.7 ? 85 : 100;
}

/* The share of good checks, lowered by errors beyond the limit as latency is. */
static uint32_t reliability(
	const struct xreg_live_state *live, const struct xreg_health_config *config)
{
	double rate = live->has_metrics ? live->metrics.error_rate : 0;
	double max_rate = config->max_acceptable_error_rate;
	double score = 100;

	if (live->nr_checks > 0) {
		score = 100.0 * (live->nr_checks - live->nr_failed_checks) / live->nr_checks;
	}
	if (max_rate > 0 && rate > max_rate) {
		score *= fmax(0, 1 - (rate - max_rate) / max_rate * PENALTY / 100);
	}
	return (uint32_t)score;
}

/* Adds a part that is known to the sum of those. */
static void add(double *sum, double *known, double score, double weight)
{
	*sum += score * weight;
	*known += weight;
}

static uint32_t weigh(const struct xreg_health *health, const struct xreg_health_config *config)
{
	double all = config->availability_weight + config->performance_weight +
		     config->reliability_weight + config->resource_weight;
	double sum = 0, known = 0;

	add(&sum, &known, health->availability, config->availability_weight);
	if (health->is_measured) {
		add(&sum, &known, health->performance, config->performance_weight);
	}
	if (health->is_rated) {
		add(&sum, &known, health->reliability, config->reliability_weight);
	}
	if (health->is_measured) {
		add(&sum, &known, health->resource_usage, config->resource_weight);
	}
	if (!(health->is_measured && health->is_rated) && known > 0) {
		sum = sum / known * all + ROUNDING;
	}
	return (uint32_t)fmin(100.0, fmax(0.0, sum));
}

void xreg_health_score(const struct xreg_target *target, const struct xreg_live_state *live,
	const struct xreg_health_config *config, struct xreg_health *ret_health)
{
	const struct xreg_metrics *metrics = &live->metrics;
	struct xreg_health health = {.availability = availability(target->status.state),
		.latency_score = 100,
		.iops_score = 100,
		.bandwidth_score = 100,
		.resource_usage = 100,
		.is_measured = live->has_metrics,
		.is_rated = live->has_metrics || live->nr_checks > 0};

	if (health.is_measured) {
		health.latency_score = latency_score(
			metrics->current_latency_us, config->max_acceptable_latency_us);
		health.iops_score = iops_score(metrics->current_iops, config->min_acceptable_iops);
		health.bandwidth_score = bandwidth_score(
			metrics->current_bandwidth_mbps, target->spec.max_bandwidth_mbps);
		health.resource_usage =
			metrics->load_percentage < 100 ? 100 - metrics->load_percentage : 0;
	}
	health.performance =
		(health.latency_score + health.iops_score + health.bandwidth_score) / 3;
	health.reliability = reliability(live, config);
	health.score = weigh(&health, config);
	*ret_health = health;
}
