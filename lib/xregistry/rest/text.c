/* SPDX-License-Identifier: BSD-3-Clause */
/* What is told of a target: its record, how it is doing, and how healthy that makes it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/xregistry/rest/private.h"

uint64_t rest_unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void rest_time(uint64_t unix_ms, char text[REST_TIME_SIZE])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, REST_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + strlen(text), REST_TIME_SIZE - strlen(text), ".%03uZ",
		(unsigned)(unix_ms % 1000));
}

/* A time, or null for one that has not been. */
static json_t *time_or_null(uint64_t unix_ms)
{
	char text[REST_TIME_SIZE];

	if (unix_ms == 0) {
		return json_null();
	}
	rest_time(unix_ms, text);
	return json_string(text);
}

/* ---- parts ---- */

json_t *rest_metrics(const struct xreg_metrics *m, uint64_t reported_ms)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:o}",
		"current_iops", (json_int_t)m->current_iops, "current_bandwidth_mbps",
		(json_int_t)m->current_bandwidth_mbps, "avg_latency_us",
		(json_int_t)m->current_latency_us, "load_percentage",
		(json_int_t)m->load_percentage, "error_rate", m->error_rate, "cpu_usage",
		m->cpu_usage, "memory_usage", m->memory_usage, "active_connections",
		(json_int_t)m->active_connections, "io_count", (json_int_t)m->io_count,
		"error_count", (json_int_t)m->error_count, "uptime_seconds",
		(json_int_t)m->uptime_s, "reported_at", time_or_null(reported_ms));
}

json_t *rest_health(const struct xreg_health *h)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:{s:i, s:i, s:i}}", "health_score",
		(int)h->score, "availability", (int)h->availability, "performance",
		(int)h->performance, "reliability", (int)h->reliability, "resource_usage",
		(int)h->resource_usage, "performance_parts", "latency", (int)h->latency_score,
		"iops", (int)h->iops_score, "bandwidth", (int)h->bandwidth_score);
}

static json_t *probe_of(const struct xreg_probe *probe)
{
	static const char *const levels[] = {"none", "tcp", "icresp", "identify"};

	if (probe->at_ms == 0) {
		return json_null();
	}
	return json_pack("{s:o, s:b, s:s, s:I, s:s}", "at", time_or_null(probe->at_ms), "good",
		(int)probe->is_good, "reached", levels[probe->reached], "latency_us",
		(json_int_t)probe->latency_us, "problem", probe->problem);
}

static json_t *failures_of(const struct xreg_live_state *state)
{
	json_t *list = json_array();

	for (uint32_t i = 0; list != NULL && i < XREG_NR_FAILURES; i++) {
		const struct xreg_failure *failure = &state->failures[i];

		if (failure->detected_ms != 0) {
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:b, s:s, s:o, s:o, s:I, s:b}", "type",
					      xreg_failure_name(i), "severity",
					      xreg_severity_name(failure->severity), "active",
					      (int)failure->is_active, "description",
					      failure->description, "detected_at",
					      time_or_null(failure->detected_ms), "last_seen",
					      time_or_null(failure->last_ms), "occurrence_count",
					      (json_int_t)failure->occurrence_count,
					      "auto_recovery_attempted",
					      (int)failure->auto_recovery_attempted));
		}
	}
	return list;
}

static json_t *advice_of(const struct xreg_advice *advice)
{
	if (advice->since_ms == 0) {
		return json_null();
	}
	return json_pack("{s:I, s:I, s:o}", "queue_depth", (json_int_t)advice->queue_depth,
		"max_io_bytes", (json_int_t)advice->max_io_bytes, "since",
		time_or_null(advice->since_ms));
}

/* ---- targets ---- */

static json_t *line(const struct xreg_rest *rest, const struct xreg_target *target,
	const struct xreg_live_state *state)
{
	uint64_t seen_ms =
		state->last_seen_ms != 0 ? state->last_seen_ms : target->origin.updated_ms;
	struct xreg_health_config config;
	struct xreg_health health;

	rest_health_config(rest, &config);
	xreg_health_score(target, state, &config, &health);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:i, s:o, s:I}",
		"target_id", target->origin.id, "node_id", target->spec.node_id, "nqn",
		target->spec.nqn, "transport", xreg_transport_names[target->spec.transport],
		"address", target->spec.address, "port", (int)target->spec.port, "location",
		target->location, "status", xreg_state_name(target->status.state), "health_score",
		(int)health.score, "load_percentage", (int)state->metrics.load_percentage,
		"last_seen", time_or_null(seen_ms), "revision",
		(json_int_t)target->origin.revision);
}

json_t *rest_target_line(const struct xreg_rest *rest, const struct xreg_target *target)
{
	struct xreg_live_state state;

	xreg_live_get(target, &state);
	return line(rest, target, &state);
}

json_t *rest_target_full(const struct xreg_rest *rest, const struct xreg_target *target)
{
	struct xreg_live_state state;
	struct xreg_health_config config;
	struct xreg_health health;
	json_t *full, *spec, *more;

	xreg_live_get(target, &state);
	rest_health_config(rest, &config);
	xreg_health_score(target, &state, &config, &health);
	full = line(rest, target, &state);
	spec = xreg_spec_to_json(&target->spec);
	more = json_pack("{s:s, s:o, s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}",
		"status_reason", target->status.reason, "status_until",
		time_or_null(target->status.until_ms), "source",
		xreg_source_name(target->origin.source), "registered_at",
		time_or_null(target->origin.registered_ms), "updated_at",
		time_or_null(target->origin.updated_ms), "created_revision",
		(json_int_t)target->origin.created_revision, "metrics",
		state.has_metrics ? rest_metrics(&state.metrics, state.reported_ms) : json_null(),
		"health", rest_health(&health), "probe", probe_of(&state.probe), "failures",
		failures_of(&state), "advice", advice_of(&state.advice), "central_config",
		rest_target_config(target));
	if (full == NULL || spec == NULL || more == NULL ||
		json_object_update_missing(full, spec) != 0 ||
		json_object_update_missing(full, more) != 0) {
		json_decref(full);
		full = NULL;
	}
	json_decref(spec);
	json_decref(more);
	return full;
}

/* ---- events ---- */

static const char *event_name(enum xreg_event_kind kind)
{
	switch (kind) {
	case XREG_EVENT_REGISTERED:
		return "registered";
	case XREG_EVENT_UNREGISTERED:
		return "unregistered";
	case XREG_EVENT_STATE:
		return "state_changed";
	case XREG_EVENT_CONFIG:
		return "config_changed";
	default:
		return "updated";
	}
}

json_t *rest_event(const struct xreg_rest *rest, const struct xreg_event *event)
{
	const struct xreg_target *target = event->after != NULL ? event->after : event->before;
	json_t *body = json_pack("{s:I, s:s, s:o, s:s, s:s, s:o}", "revision",
		(json_int_t)event->revision, "type", event_name(event->kind), "at",
		time_or_null(event->at_ms), "target_id", target->origin.id, "node_id",
		target->spec.node_id, "target", rest_target_line(rest, target));

	if (body != NULL && event->kind == XREG_EVENT_STATE) {
		json_object_set_new(body, "old_status",
			json_string(xreg_state_name(event->before->status.state)));
		json_object_set_new(body, "reason", json_string(target->status.reason));
	}
	if (body != NULL && event->kind == XREG_EVENT_CONFIG && target->origin.desired != NULL) {
		const struct xreg_desired *desired = target->origin.desired;

		json_object_set_new(
			body, "config_revision", json_integer((json_int_t)desired->revision));
		json_object_set_new(
			body, "config_state", json_string(xreg_outcome_name(desired->outcome)));
		json_object_set_new(body, "reason", json_string(desired->reason));
	}
	return body;
}
