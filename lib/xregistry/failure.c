/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is wrong with a target (spec/registry.md 5.2), by the last probe and the last report, and
 * how its failures are kept: since when, how often, how bad. A failure begins with the first check
 * that finds it and is over when it was not found for as many checks as a recovery takes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/xregistry/desired.h"
#include "lib/xregistry/monitor_private.h"
#include "lib/xregistry/target.h"

#define FAR_BEYOND    10 /* times a limit */
#define MEMORY_IS_OUT 0.95

static void __attribute__((format(printf, 4, 5))) find(struct xreg__verdict *v,
	enum xreg_failure_type type, enum xreg_severity severity, const char *fmt, ...)
{
	va_list args;

	if (v->failures[type].is_active && v->failures[type].severity >= severity) {
		return;
	}
	v->failures[type].is_active = true;
	v->failures[type].severity = severity;
	va_start(args, fmt);
	vsnprintf(v->failures[type].text, sizeof(v->failures[type].text), fmt, args);
	va_end(args);
}

static void worsen(struct xreg__verdict *v, enum xreg__level level)
{
	v->level = level > v->level ? level : v->level;
}

static void judge_latency(
	struct xreg__verdict *v, const char *whose, uint32_t latency_us, uint32_t max_us)
{
	if (max_us == 0 || latency_us <= max_us) {
		return;
	}
	find(v, XREG_FAILURE_HIGH_LATENCY,
		latency_us / FAR_BEYOND > max_us ? XREG_SEVERITY_HIGH : XREG_SEVERITY_MEDIUM,
		"%s is %u us, more than %u us", whose, latency_us, max_us);
	worsen(v, XREG__DEGRADED);
}

static void judge_errors(struct xreg__verdict *v, double rate, double max_rate)
{
	if (max_rate <= 0 || rate <= max_rate) {
		return;
	}
	if (rate >= max_rate * FAR_BEYOND) {
		find(v, XREG_FAILURE_HIGH_ERROR_RATE, XREG_SEVERITY_CRITICAL,
			"%g of all I/Os fail, far more than %g", rate, max_rate);
		worsen(v, XREG__DOWN);
	} else {
		find(v, XREG_FAILURE_HIGH_ERROR_RATE, XREG_SEVERITY_HIGH,
			"%g of all I/Os fail, more than %g", rate, max_rate);
		worsen(v, XREG__DEGRADED);
	}
}

static void judge_resources(struct xreg__verdict *v, const struct xreg_target *target,
	const struct xreg_metrics *metrics, const struct xreg_health_config *config)
{
	uint32_t max_pct = config->max_acceptable_load_pct;
	uint32_t max_connections = xreg_target_max_connections(target);

	if (max_pct > 0 && metrics->load_percentage > max_pct) {
		find(v, XREG_FAILURE_RESOURCE_EXHAUSTION, XREG_SEVERITY_MEDIUM,
			"the load is %u %%, more than %u %%", metrics->load_percentage, max_pct);
	} else if (metrics->memory_usage > MEMORY_IS_OUT) {
		find(v, XREG_FAILURE_RESOURCE_EXHAUSTION, XREG_SEVERITY_MEDIUM,
			"%.0f %% of its memory are used", metrics->memory_usage * 100);
	} else if (max_connections > 0 && metrics->active_connections >= max_connections) {
		find(v, XREG_FAILURE_RESOURCE_EXHAUSTION, XREG_SEVERITY_MEDIUM,
			"all of its %u connections are taken", max_connections);
	} else {
		return;
	}
	worsen(v, XREG__BUSY);
}

/* A target that turns this registry away answers: it is told, and says nothing against it. */
static void judge_probe(struct xreg__verdict *v, const struct xreg_probe *probe,
	const struct xreg_health_config *config)
{
	if (probe->at_ms == 0) {
		return;
	}
	if (probe->is_good) {
		judge_latency(v, "the round trip of a Keep Alive", probe->keep_alive_us,
			config->max_acceptable_probe_us);
		return;
	}
	switch (probe->failure) {
	case XREG_FAILURE_AUTHENTICATION:
		find(v, probe->failure, XREG_SEVERITY_LOW, "%s", probe->problem);
		break;
	case XREG_FAILURE_RESOURCE_EXHAUSTION:
		find(v, probe->failure, XREG_SEVERITY_HIGH, "%s", probe->problem);
		worsen(v, XREG__BUSY);
		break;
	case XREG_FAILURE_HARDWARE_ERROR:
		find(v, probe->failure, XREG_SEVERITY_CRITICAL, "%s", probe->problem);
		worsen(v, XREG__DOWN);
		break;
	default:
		find(v, probe->failure, XREG_SEVERITY_HIGH, "%s", probe->problem);
		worsen(v, XREG__DOWN);
		break;
	}
}

void xreg__judge(const struct xreg_target *target, const struct xreg_live_state *live,
	const struct xreg_health_config *config, bool is_expired, bool has_moved, uint64_t now_ms,
	struct xreg__verdict *ret_verdict)
{
	struct xreg__verdict *v = ret_verdict;
	bool is_fresh = live->has_metrics && !has_moved &&
			live->reported_ms + config->report_age_max_s * 1000ull >= now_ms;

	memset(v, 0, sizeof(*v));
	if (config->probe_level != XREG_PROBE_NONE) {
		judge_probe(v, &live->probe, config);
	}
	if (is_expired) {
		find(v, XREG_FAILURE_NETWORK_TIMEOUT, XREG_SEVERITY_CRITICAL, "no report for %u s",
			target->spec.ttl_s);
		worsen(v, XREG__DOWN);
	} else if (is_fresh) {
		judge_latency(v, "the latency", live->metrics.current_latency_us,
			config->max_acceptable_latency_us);
		judge_errors(v, live->metrics.error_rate, config->max_acceptable_error_rate);
		judge_resources(v, target, &live->metrics, config);
	}
}

/* ---- keeping them ---- */

static void keep(struct xreg_failure *failure, const struct xreg__verdict *v,
	enum xreg_failure_type type, uint64_t now_ms)
{
	if (!failure->is_active) {
		failure->detected_ms = now_ms;
		failure->auto_recovery_attempted = false;
	}
	failure->is_active = true;
	failure->last_ms = now_ms;
	failure->occurrence_count++;
	failure->severity = v->failures[type].severity;
	snprintf(failure->description, sizeof(failure->description), "%s", v->failures[type].text);
}

void xreg__failures_keep(struct xreg__entry *e, const struct xreg_health_config *config,
	const struct xreg__verdict *verdict, struct xreg_live_state *state, uint64_t now_ms,
	uint32_t *ret_begun, uint32_t *ret_cleared)
{
	*ret_begun = *ret_cleared = 0;
	for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
		struct xreg_failure *failure = &state->failures[i];

		if (verdict->failures[i].is_active) {
			*ret_begun |= (uint32_t)!failure->is_active << i;
			keep(failure, verdict, i, now_ms);
			e->nr_clear[i] = 0;
		} else if (failure->is_active) {
			e->nr_clear[i] += e->nr_clear[i] < UINT8_MAX;
			failure->is_active = e->nr_clear[i] < config->recovery_threshold;
			*ret_cleared |= (uint32_t)!failure->is_active << i;
		}
	}
}
