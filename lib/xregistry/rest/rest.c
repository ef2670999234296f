/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of all routes, and what is asked of the registry as a whole. The description of the
 * interface that is served is made from the table (openapi.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/util/memory.h"
#include "lib/xregistry/finder.h"
#include "lib/xregistry/monitor.h"
#include "lib/xregistry/rest/own.h"
#include "lib/xregistry/rest/private.h"
#include "lib/xregistry/summary.h"

const struct xrpc_http_route rest_routes[] = {
	{"POST", "/api/v1/targets", rest_targets_register, XRPC_ROLE_REGISTER, REST_BODY_MAX,
		"Register a target; ?update=true changes the one that is at its place"},
	{"POST", "/api/v1/targets/bulk", rest_targets_bulk, XRPC_ROLE_REGISTER, REST_BULK_MAX,
		"Register many targets, each by itself"},
	{"GET", "/api/v1/targets", rest_targets_list, XRPC_ROLE_READ, 0,
		"List targets: filters, sorting, pages, waiting for changes"},
	{"GET", "/api/v1/targets/select", rest_targets_select, XRPC_ROLE_READ, 0,
		"Choose the best targets for what is wanted"},
	{"GET", "/api/v1/targets/{target_id}", rest_target_get, XRPC_ROLE_READ, 0,
		"All that is known of a target"},
	{"PUT", "/api/v1/targets/{target_id}", rest_target_put, XRPC_ROLE_REGISTER, REST_BODY_MAX,
		"Replace what a target says of itself"},
	{"PATCH", "/api/v1/targets/{target_id}", rest_target_patch, XRPC_ROLE_REGISTER,
		REST_BODY_MAX, "Change parts of it (JSON merge patch)"},
	{"DELETE", "/api/v1/targets/{target_id}", rest_target_delete, XRPC_ROLE_OPERATE,
		REST_BODY_MAX, "Drain and unregister a target"},
	{"PUT", "/api/v1/targets/{target_id}/status", rest_target_status, XRPC_ROLE_OPERATE,
		REST_BODY_MAX, "Set the state of a target"},
	{"PUT", "/api/v1/targets/{target_id}/metrics", rest_target_metrics, XRPC_ROLE_REGISTER,
		REST_BODY_MAX, "Report how a target is doing"},
	{"GET", "/api/v1/targets/{target_id}/config", rest_config_get, XRPC_ROLE_READ, 0,
		"What is desired of a target, beside what its node has"},
	{"PUT", "/api/v1/targets/{target_id}/config", rest_config_put, XRPC_ROLE_OPERATE,
		REST_BODY_MAX, "Replace what is desired of a target"},
	{"PATCH", "/api/v1/targets/{target_id}/config", rest_config_patch, XRPC_ROLE_OPERATE,
		REST_BODY_MAX, "Change parts of it (JSON merge patch)"},
	{"DELETE", "/api/v1/targets/{target_id}/config", rest_config_delete, XRPC_ROLE_OPERATE, 0,
		"Desire nothing any more; the node goes back to its own"},
	{"PUT", "/api/v1/targets/{target_id}/config/report", rest_config_report, XRPC_ROLE_REGISTER,
		REST_BODY_MAX, "Report whether a node has what is desired"},
	{"GET", "/api/v1/events", rest_events, XRPC_ROLE_READ, 0,
		"What has happened, as a page or as server-sent events"},
	{"GET", "/api/v1/zones", rest_zones_get, XRPC_ROLE_READ, 0,
		"Zone groups, configured and active, and the default policy"},
	{"PATCH", "/api/v1/zones", rest_zones_patch, XRPC_ROLE_ADMIN, REST_BODY_MAX,
		"Set the default policy"},
	{"GET", "/api/v1/zones/{group}", rest_zone_group_get, XRPC_ROLE_READ, 0,
		"A configured zone group"},
	{"PUT", "/api/v1/zones/{group}", rest_zone_group_put, XRPC_ROLE_ADMIN, REST_ZONES_MAX,
		"Make or replace a configured zone group; hosts see it when it is activated"},
	{"DELETE", "/api/v1/zones/{group}", rest_zone_group_delete, XRPC_ROLE_ADMIN, 0,
		"Remove a zone group that is not active"},
	{"POST", "/api/v1/zones/{group}/activate", rest_zone_group_activate, XRPC_ROLE_ADMIN,
		REST_BODY_MAX, "Make a zone group what hosts see"},
	{"POST", "/api/v1/zones/{group}/deactivate", rest_zone_group_deactivate, XRPC_ROLE_ADMIN,
		REST_BODY_MAX, "Take a zone group out of what hosts see"},
	{"GET", "/api/v1/alerts", rest_alerts_get, XRPC_ROLE_READ, 0,
		"Rules of alerts, how they stand, and who was told"},
	{"POST", "/api/v1/alerts/{rule}/test", rest_alert_test, XRPC_ROLE_OPERATE, REST_BODY_MAX,
		"Send a test notification to those of a rule"},
	{"PUT", "/api/v1/alerts/{rule}/silence", rest_alert_silence, XRPC_ROLE_OPERATE,
		REST_BODY_MAX, "Tell nobody of a rule for a while"},
	{"DELETE", "/api/v1/alerts/{rule}/silence", rest_alert_unsilence, XRPC_ROLE_OPERATE, 0,
		"End a silence"},
	{"GET", "/api/v1/hosts", rest_hosts, XRPC_ROLE_READ, 0,
		"Hosts that are connected to the discovery controller, or registered with it"},
	{"POST", "/api/v1/reload", rest_reload, XRPC_ROLE_ADMIN, 0,
		"Read the configuration again, as SIGHUP does"},
	{"GET", "/api/v1/status", rest_status, XRPC_ROLE_READ, 0, "The registry itself"},
	{"GET", "/api/v1/backup", rest_backup, XRPC_ROLE_ADMIN, 0,
		"A copy of all the data, a file for xsan registry restore"},
	{"GET", "/api/v1/openapi.json", rest_openapi, XRPC_ROLE_NONE, 0, "This interface"},
	{"GET", "/metrics", rest_prometheus, XRPC_ROLE_READ, 0, "Metrics for Prometheus"},
	{0},
};

/* ---- the registry as a whole ---- */

void rest_health_config(const struct xreg_rest *rest, struct xreg_health_config *ret_config)
{
	rest->opts.health(rest->opts.health_arg, ret_config);
}

static uint64_t sum_up(const struct xreg_rest *rest, struct xreg_summary *summary)
{
	struct xreg_view *view = xreg_store_view(rest->opts.store);
	uint64_t revision = xreg_view_revision(view);
	struct xreg_health_config health;

	rest_health_config(rest, &health);
	xreg_summary_make(view, &health, summary);
	xreg_view_unref(view);
	return revision;
}

static bool is_blind(const struct xreg_rest *rest)
{
	struct xreg_monitor_stats stats = {0};

	if (rest->opts.monitor != NULL) {
		xreg_monitor_stats(rest->opts.monitor, &stats);
	}
	return stats.is_blind;
}

void rest_status(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xreg_summary totals;
	uint64_t revision = sum_up(rest, &totals);
	uint32_t healthy = totals.by_state[XREG_AVAILABLE];
	json_t *states = json_object();
	struct xreg_store *store = rest->opts.store;
	bool is_up = xreg_store_is_up(store);
	char text[REST_TIME_SIZE];

	for (uint32_t i = 0; i <= XREG_DEGRADED; i++) {
		json_object_set_new(states, xreg_state_name(i), json_integer(totals.by_state[i]));
	}
	rest_time(rest->start_ms, text);
	rest_add_index(call, revision);
	xrpc_http_answer(call, 200,
		json_pack("{s:s, s:{s:s, s:b, s:b}, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:i, s:i, "
			  "s:o, s:I, s:I, s:I, s:f, s:o, s:b}",
			"status", is_up ? "ok" : "read-only", "store", "backend",
			xreg_store_backend(store), "reachable", (int)is_up, "leads",
			(int)xreg_store_leads(store), "version", XSAN_VERSION, "started_at", text,
			"uptime_seconds", (json_int_t)((rest_unix_ms() - rest->start_ms) / 1000),
			"revision", (json_int_t)revision, "first_event_revision",
			(json_int_t)xreg_store_first_event(store), "total_targets",
			(int)totals.nr_targets, "healthy_targets", (int)healthy, "failed_targets",
			(int)(totals.by_state[XREG_FAILED] + totals.by_state[XREG_OFFLINE]),
			"maintenance_targets", (int)totals.by_state[XREG_MAINTENANCE], "targets",
			states, "total_iops", (json_int_t)totals.iops, "total_bandwidth_mbps",
			(json_int_t)totals.bandwidth_mbps, "avg_latency_us",
			(json_int_t)xreg_summary_latency_us(&totals), "overall_health_score",
			xreg_summary_score(&totals), "discovery",
			rest->opts.finder != NULL ? xreg_finder_json(rest->opts.finder)
						  : json_array(),
			"monitor_blind", (int)is_blind(rest)));
}

/* ---- hosts ---- */

static void on_hosts(void *arg, json_t *hosts)
{
	struct xrpc_http_call *call = arg;

	if (hosts == NULL) {
		xrpc_http_problem(call, 503, NULL, "the discovery controller ends");
	} else {
		xrpc_http_answer(call, 200, hosts);
	}
}

void rest_hosts(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;

	if (rest->opts.hosts == NULL) {
		xrpc_http_problem(call, 501, NULL,
			"this registry has no discovery controller (discovery_controller.enabled)");
		return;
	}
	xrpc_http_later(call);
	if (rest->opts.hosts(rest->opts.hosts_arg, on_hosts, call) != 0) {
		xrpc_http_problem(call, 500, NULL, "no memory");
	}
}

/* ---- reloading ---- */

static void on_reloaded(void *arg, json_t *taken, const struct xu_error *err)
{
	struct xrpc_http_call *call = arg;

	if (taken != NULL) {
		xrpc_http_answer(call, 200, taken);
	} else {
		xrpc_http_problem(call, err->code == -ESHUTDOWN ? 503 : 422, NULL,
			"not reloaded, nothing was changed: %s", err->text);
	}
}

void rest_reload(struct xrpc_http_call *call, void *arg)
{
	static const char *const known[] = {NULL};
	const struct xreg_rest *rest = arg;
	int rc;

	if (!rest_query_check(call, known)) {
		return;
	}
	if (rest->opts.reload == NULL) {
		xrpc_http_problem(call, 501, NULL, "this registry has no configuration to read");
		return;
	}
	xrpc_http_later(call);
	rc = rest->opts.reload(rest->opts.reload_arg, on_reloaded, call);
	if (rc != 0) {
		xrpc_http_problem(call, rc == -ESHUTDOWN ? 503 : 500, NULL, "%s",
			rc == -ESHUTDOWN ? "the registry stops" : "no memory");
	}
}

/* ---- Prometheus ---- */

static void one(FILE *out, const char *name, const char *type, const char *help, double value)
{
	fprintf(out,
		"# HELP xsan_registry_%s %s\n# TYPE xsan_registry_%s %s\nxsan_registry_%s %.17g\n",
		name, help, name, type, name, value);
}

static void monitor_metrics(FILE *out, struct xreg_monitor *monitor)
{
	struct xreg_monitor_stats stats;

	xreg_monitor_stats(monitor, &stats);
	one(out, "health_checks_total", "counter", "Checks of targets.", (double)stats.nr_checks);
	one(out, "health_checks_failed_total", "counter", "Checks that were bad.",
		(double)stats.nr_failed_checks);
	one(out, "failures_total", "counter", "Failures that began.", (double)stats.nr_failures);
	one(out, "recoveries_total", "counter", "Targets that became available again.",
		(double)stats.nr_recoveries);
	one(out, "recovery_attempts_total", "counter", "Steps of recovery.",
		(double)stats.nr_recovery_attempts);
	one(out, "expired_total", "counter", "Targets that went offline for want of a report.",
		(double)stats.nr_expired);
	one(out, "nodes_lost_total", "counter", "Nodes whose connection ended.",
		(double)stats.nr_lost);
	one(out, "probes", "gauge", "Probes under way.", stats.nr_probes);
	one(out, "monitor_blind", "gauge",
		"1: nearly all targets are silent, and states do not get worse.", stats.is_blind);
	one(out, "monitor_blind_total", "counter", "How often it became blind.",
		(double)stats.nr_blind);
	one(out, "held_down", "gauge", "Targets that are held down because they flap.",
		stats.nr_held_down);
}

void rest_prometheus(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xrpc_http_stats stats;
	struct xreg_summary totals;
	uint64_t revision = sum_up(rest, &totals);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL) {
		xrpc_http_problem(call, 500, NULL, "no memory");
		return;
	}
	xrpc_http_get_stats(rest->http, &stats);
	fprintf(out, "# HELP xsan_registry_targets Targets by state.\n"
		     "# TYPE xsan_registry_targets gauge\n");
	for (uint32_t i = 0; i <= XREG_DEGRADED; i++) {
		fprintf(out, "xsan_registry_targets{state=\"%s\"} %u\n", xreg_state_name(i),
			totals.by_state[i]);
	}
	one(out, "revision", "gauge", "The revision of the data.", (double)revision);
	one(out, "changes_total", "counter", "Changes of targets, ever.", (double)revision);
	one(out, "store_up", "gauge",
		"Whether the data can be reached, so that changes can be made.",
		xreg_store_is_up(rest->opts.store));
	one(out, "leads", "gauge", "Whether this registry judges, of those that share the data.",
		xreg_store_leads(rest->opts.store));
	one(out, "iops", "gauge", "I/Os per second of all available targets.", (double)totals.iops);
	one(out, "bandwidth_bytes_per_second", "gauge", "Bandwidth of all available targets.",
		(double)totals.bandwidth_mbps * 1e6);
	one(out, "latency_seconds", "gauge", "Mean latency of the available targets.",
		xreg_summary_latency_us(&totals) / 1e6);
	one(out, "health_score", "gauge", "Mean health of the available targets, 0 to 100.",
		xreg_summary_score(&totals));
	one(out, "connections", "gauge", "Hosts' connections to all targets.",
		(double)totals.nr_connections);
	one(out, "http_requests_total", "counter", "Calls that were answered.",
		(double)stats.nr_calls);
	one(out, "http_errors_total", "counter", "Calls that were answered with 5xx.",
		(double)stats.nr_errors);
	one(out, "http_refused_total", "counter", "Calls without credentials, or too many.",
		(double)stats.nr_refused);
	one(out, "http_request_seconds_total", "counter",
		"Time between a call and its answer, summed up.", (double)stats.busy_us / 1e6);
	one(out, "http_request_timed_total", "counter", "Calls that that time is of.",
		(double)stats.nr_timed);
	one(out, "http_connections", "gauge", "Connections of clients.",
		(double)stats.nr_connections);
	if (rest->opts.monitor != NULL) {
		monitor_metrics(out, rest->opts.monitor);
	}
	one(out, "certificate_expiry_timestamp_seconds", "gauge",
		"When the certificate of REST expires; 0: there is none.",
		(double)xrpc_http_valid_until(rest->http));
	one(out, "resident_memory_bytes", "gauge", "Memory of the process.",
		(double)xu_memory_resident());
	if (fclose(out) != 0) {
		free(text);
		text = NULL;
	}
	xrpc_http_answer_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", text);
}

/* ---- life ---- */

static void audit(void *arg, const struct xrpc_http_call *call, unsigned status)
{
	const struct xreg_rest *rest = arg;

	xu_info(rest->opts.audit_log, "%s %s by %s from %s: %u (request %s)",
		xrpc_http_method(call), xrpc_http_path(call), xrpc_http_who(call),
		xrpc_http_from(call), status, xrpc_http_id(call));
}

int xreg_rest_start(
	const struct xreg_rest_opts *opts, struct xreg_rest **ret_rest, struct xu_error *err)
{
	struct xreg_rest *rest = calloc(1, sizeof(*rest));
	struct xrpc_http_opts http = *opts->http;
	int rc;

	if (rest == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the REST interface");
	}
	rest->opts = *opts;
	rest->start_ms = rest_unix_ms();
	http.routes = rest_routes;
	http.arg = rest;
	http.audit = opts->audit_log != NULL ? audit : NULL;
	rc = opts->monitor != NULL ? rest_owns_start(opts->waits, opts->monitor, &rest->owns, err)
				   : 0;
	if (rc == 0) {
		rc = xrpc_http_start(&http, &rest->http, err);
	}
	if (rc != 0) {
		rest_owns_stop(rest->owns);
		free(rest);
		return rc;
	}
	*ret_rest = rest;
	return 0;
}

int xreg_rest_set_pem(struct xreg_rest *rest, const struct xrpc_pem *pem, struct xu_error *err)
{
	return xrpc_http_set_pem(rest->http, pem, err);
}

void xreg_rest_quiesce(struct xreg_rest *rest)
{
	xrpc_http_quiesce(rest->http);
}

void xreg_rest_stop(struct xreg_rest *rest)
{
	if (rest != NULL) {
		xrpc_http_stop(rest->http);
		rest_owns_stop(rest->owns);
		free(rest);
	}
}

void xreg_rest_get_stats(const struct xreg_rest *rest, struct xrpc_http_stats *ret_stats)
{
	xrpc_http_get_stats(rest->http, ret_stats);
}

uint16_t xreg_rest_port(const struct xreg_rest *rest)
{
	return xrpc_http_port(rest->http);
}
