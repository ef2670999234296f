/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET /openapi.json: the interface described by itself. Paths, methods, roles and summaries come
 * from the table of routes; what the tables here add are parameters, bodies and answers. A type is
 * written in a few letters (see type_of()). A test validates real answers against the description,
 * which knows no members but these, so a new member needs its line here.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"

#define STATES     "unknown|available|busy|maintenance|failed|offline|degraded"
#define TRANSPORTS "tcp|rdma|fc"
#define SOURCES    "registered|static|mdns|multicast|dhcp|dim|pulled"
#define VERDICTS   "pending|applied|refused|rolled-back"
#define TYPE_SIZE  256u

/* ---- what routes take and answer ---- */

/* A parameter behind the "?", or with an @ in front a header. */
struct param {
	const char *name, *type, *help;
};

struct description {
	void (*fn)(struct xrpc_http_call *call, void *arg);
	const struct param *params; /* until a name NULL; NULL: none */
	const char *request;        /* a schema; NULL: no body */
	const char *answer;         /* a schema, or with a '/' in it another type of content */
	unsigned status;            /* of a call that went well; 0: 200 */
	unsigned other;             /* the same with another status; 0: none */
	unsigned errors[6];         /* besides 400, 401, 403, 413, 429, 500, 503, 504 */
};

#define BLOCKING                                                                                   \
	{"index", "int:0..", "wait until the registry is newer than this revision"},               \
	{                                                                                          \
		"wait", "text", "wait at most so long: 30s, 500ms, 5m (the default), at most 10m"  \
	}
#define IF_MATCH                                                                                   \
	{                                                                                          \
		"@If-Match", "text", "only if it still has this ETag"                              \
	}

static const struct param update_params[] = {
	{"update", "bool", "change the target that is at the same place"}, {0}};
static const struct param match_params[] = {IF_MATCH, {0}};
static const struct param get_params[] = {BLOCKING, {0}};
static const struct param list_params[] = {{"node_id", "text", "only of this node"},
	{"nqn", "text", "only of this subsystem"}, {"address", "text", "only at this address"},
	{"location", "text", "only where the location begins with this"},
	{"tag", "text", "only with this tag"}, {"transport", TRANSPORTS, "only of this transport"},
	{"source", SOURCES, "only those that were found in this way"},
	{"status", STATES, "only in this state"}, {"port", "int:1..65535", "only at this port"},
	{"min_health_score", "int:0..100", "only with at least this health"},
	{"max_load_percentage", "int:0..100", "only with at most this load"},
	{"sort", "text", "a field of the list; with a - in front the other way round"},
	{"limit", "int:1..10000", "of one page (default 1000)"},
	{"cursor", "text", "the next_cursor of the page before"},
	{"full", "bool", "all that is known of each"}, BLOCKING, {0}};
static const struct param select_params[] = {{"min_iops", "int:0..", "that it can do"},
	{"min_bandwidth_mbps", "int:0..", "that it can do"},
	{"max_latency_us", "int:0..4294967295", "that is accepted"},
	{"min_capacity_bytes", "int:0..", "that it has"},
	{"transport", TRANSPORTS, "how it is reached"}, {"node_id", "text", "only of this node"},
	{"tags", "text", "only with all of these, with commas between"},
	{"preferred_location", "text", "the nearer the better"},
	{"location", "text", "only where the location begins with this"},
	{"exclude", "text", "not these ids, with commas between"},
	{"writable", "bool", "not those that are read-only"},
	{"count", "int:1..1024", "how many are wanted (default 10)"},
	{"spread", "bool", "no second one of a node while another node has one"},
	{"policy", "score|round_robin|least_connections|least_load|weighted|hash",
		"how they are put in order"},
	{"hash_key", "text", "of policy hash"}, {"health_weight", "number:0..1000", "in the score"},
	{"performance_weight", "number:0..1000", "in the score"},
	{"reliability_weight", "number:0..1000", "in the score"},
	{"location_weight", "number:0..1000", "in the score"},
	{"explain", "bool", "also say why others were left out"}, {0}};
static const struct param event_params[] = {
	{"since", "int:0..", "only what came after this revision"},
	{"limit", "int:1..1000", "of one page (default 100)"},
	{"node_id", "text", "only of this node"}, {"target_id", "text", "only of this target"},
	{"@Accept", "text", "text/event-stream: all that comes, as server-sent events"},
	{"health", "bool", "of a stream: also what the health monitor tells"},
	{"own", "bool",
		"of a stream: it is the node's own; when it ends, or its machine is silent, its "
		"targets are checked at once"},
	{"@Last-Event-ID", "text", "go on after this revision"}, BLOCKING, {0}};

static const struct description descriptions[] = {
	{rest_targets_register, update_params, "Registration", "Registered", 201, 200,
		{409, 422, 507}},
	{rest_targets_bulk, update_params, "Bulk", "BulkAnswer", .errors = {422}},
	{rest_targets_list, list_params, NULL, "Targets"},
	{rest_targets_select, select_params, NULL, "Selection", .errors = {422}},
	{rest_target_get, get_params, NULL, "Target", .errors = {404}},
	{rest_target_put, match_params, "Registration", "Target", .errors = {404, 409, 412, 422}},
	{rest_target_patch, match_params, "Patch", "Target", .errors = {404, 409, 412, 422}},
	{rest_target_delete, match_params, "Deletion", "Unregistered",
		.errors = {404, 412, 422, 503}},
	{rest_target_status, match_params, "StateChange", "Target", .errors = {404, 412, 422}},
	{rest_target_metrics, NULL, "Report", "ReportAnswer", .errors = {404, 422}},
	{rest_config_get, NULL, NULL, "TargetConfig", .errors = {404}},
	{rest_config_put, match_params, "DesiredConfig", "TargetConfig",
		.errors = {404, 412, 422, 507}},
	{rest_config_patch, match_params, "ConfigPatch", "TargetConfig",
		.errors = {404, 412, 422, 507}},
	{rest_config_delete, match_params, NULL, "TargetConfig", .errors = {404, 412, 507}},
	{rest_config_report, NULL, "ConfigReport", "TargetConfig", .errors = {404, 412, 422, 507}},
	{rest_events, event_params, NULL, "Events", .errors = {403, 410, 422}},
	{rest_zones_get, NULL, NULL, "Zones", .errors = {501}},
	{rest_zones_patch, match_params, "ZonePolicy", "Zones", .errors = {412, 422, 501}},
	{rest_zone_group_get, NULL, NULL, "ZoneGroup", .errors = {404, 501}},
	{rest_zone_group_put, match_params, "ZoneGroupBody", "Zones",
		.errors = {412, 422, 501, 507}},
	{rest_zone_group_delete, match_params, NULL, "Zones", .errors = {404, 409, 412, 501}},
	{rest_zone_group_activate, match_params, "Nothing", "Zones", .errors = {404, 412, 501}},
	{rest_zone_group_deactivate, match_params, "Nothing", "Zones", .errors = {404, 412, 501}},
	{rest_alerts_get, NULL, NULL, "Alerts", .errors = {501}},
	{rest_alert_test, NULL, "Nothing", "Alerts", .errors = {404, 501}},
	{rest_alert_silence, NULL, "Silence", "Alerts", .errors = {404, 422, 501, 507}},
	{rest_alert_unsilence, NULL, NULL, "Alerts", .errors = {404, 501, 507}},
	{rest_hosts, NULL, NULL, "Hosts", .errors = {501, 503}},
	{rest_reload, NULL, NULL, "Reloaded", .errors = {422, 501, 503}},
	{rest_status, NULL, NULL, "Status"},
	{rest_backup, NULL, NULL, "application/vnd.sqlite3", .errors = {501, 503, 507}},
	{rest_openapi, NULL, NULL, "Nothing"},
	{rest_prometheus, NULL, NULL, "text/plain"},
	{0},
};

/* ---- schemas ---- */

/* A member of a schema; those of one schema are together. A name "*" takes all members of another
 * one. A type that ends with '!' is needed. */
static const struct member {
	const char *schema, *name, *type;
} members[] = {
	{"TargetInfo", "nqn", "text!"},
	{"TargetInfo", "transport", TRANSPORTS},
	{"TargetInfo", "address", "text!"},
	{"TargetInfo", "port", "int:0..65535"},
	{"TargetInfo", "interface", "text"},
	{"TargetInfo", "namespace_capacity", "int:0.."},
	{"TargetInfo", "security_type", "none|tls|ipsec"},
	{"Storage", "device_path", "text"},
	{"Storage", "block_size", "int:0..1048576"},
	{"Storage", "namespace_id", "int:0..4294967295"},
	{"Storage", "readonly", "bool"},
	{"Capabilities", "max_iops", "int:0.."},
	{"Capabilities", "max_bandwidth_mbps", "int:0.."},
	{"Capabilities", "avg_latency_us", "int:0..4294967295"},
	{"Capabilities", "max_queue_depth", "int:0..4294967295"},
	{"Capabilities", "max_connections", "int:0..4294967295"},
	{"Settings", "auto_discovery", "bool"},
	{"Settings", "discovery_interval", "int:1..86400"},
	{"Settings", "weight", "number:0..1000"},
	{"Settings", "tags", "[]text"},
	{"Registration", "node_id", "text!"},
	{"Registration", "target_info", "#TargetInfo!"},
	{"Registration", "storage", "#Storage"},
	{"Registration", "performance_caps", "#Capabilities"},
	{"Registration", "config", "#Settings"},
	{"Registration", "metadata", "{}text"},
	{"Registration", "ttl_seconds", "int:0..2592000"},
	{"Patch", "node_id", "text"},
	{"Patch", "target_info", "any"},
	{"Patch", "storage", "any"},
	{"Patch", "performance_caps", "any"},
	{"Patch", "config", "any"},
	{"Patch", "metadata", "any"},
	{"Patch", "ttl_seconds", "any"},
	{"Bulk", "targets", "[]#Registration!"},
	{"StateChange", "status", STATES "!"},
	{"StateChange", "reason", "text"},
	{"StateChange", "estimated_duration_minutes", "int:0..525600"},
	{"Report", "current_iops", "int:0.."},
	{"Report", "current_bandwidth_mbps", "int:0.."},
	{"Report", "avg_latency_us", "int:0..4294967295"},
	{"Report", "load_percentage", "int:0..100"},
	{"Report", "error_rate", "number:0..1"},
	{"Report", "cpu_usage", "number:0..1"},
	{"Report", "memory_usage", "number:0..1"},
	{"Report", "active_connections", "int:0..4294967295"},
	{"Report", "io_count", "int:0.."},
	{"Report", "error_count", "int:0.."},
	{"Report", "uptime_seconds", "int:0.."},
	{"Deletion", "force", "bool"},
	{"Deletion", "drain_timeout_seconds", "int:0..86400"},
	{"Access", "any_host", "bool"},
	{"Access", "hosts", "[]text"},
	{"Access", "read_only", "bool"},
	{"DesiredConfig", "queue_depth", "int:2..65536"},
	{"DesiredConfig", "max_connections", "int:1..65535"},
	{"DesiredConfig", "max_iops", "int:1.."},
	{"DesiredConfig", "max_bandwidth_mbps", "int:1.."},
	{"DesiredConfig", "access", "#Access"},
	{"DesiredConfig", "discovery_interval", "int:1..86400"},
	{"DesiredConfig", "weight", "number:0..1000"},
	{"ConfigPatch", "queue_depth", "any"},
	{"ConfigPatch", "max_connections", "any"},
	{"ConfigPatch", "max_iops", "any"},
	{"ConfigPatch", "max_bandwidth_mbps", "any"},
	{"ConfigPatch", "access", "any"},
	{"ConfigPatch", "discovery_interval", "any"},
	{"ConfigPatch", "weight", "any"},
	{"ActualAccess", "any_host", "bool"},
	{"ActualAccess", "hosts", "[]text"},
	{"ActualAccess", "nr_hosts", "int:0.."},
	{"ActualAccess", "read_only", "bool"},
	{"ActualConfig", "queue_depth", "int:0.."},
	{"ActualConfig", "max_connections", "int:0.."},
	{"ActualConfig", "max_iops", "int:0.."},
	{"ActualConfig", "max_bandwidth_mbps", "int:0.."},
	{"ActualConfig", "access", "#ActualAccess"},
	{"ConfigReport", "config_revision", "int:0..!"},
	{"ConfigReport", "state", "applied|refused!"},
	{"ConfigReport", "reason", "text"},
	{"ConfigReport", "actual", "#ActualConfig"},
	{"Nothing", NULL, NULL},

	{"Registered", "target_id", "text!"},
	{"Registered", "status", "registered|updated!"},
	{"Registered", "registered_at", "time"},
	{"Registered", "updated_at", "time"},
	{"Registered", "revision", "int:1..!"},
	{"BulkResult", "status", "registered|updated|refused!"},
	{"BulkResult", "code", "int:200..599!"},
	{"BulkResult", "target_id", "text"},
	{"BulkResult", "registered_at", "time"},
	{"BulkResult", "updated_at", "time"},
	{"BulkResult", "revision", "int:1.."},
	{"BulkResult", "detail", "text"},
	{"BulkResult", "field", "text"},
	{"BulkAnswer", "results", "[]#BulkResult!"},
	{"BulkAnswer", "registered_count", "int:0..!"},
	{"BulkAnswer", "refused_count", "int:0..!"},
	{"TargetLine", "target_id", "text!"},
	{"TargetLine", "node_id", "text!"},
	{"TargetLine", "nqn", "text!"},
	{"TargetLine", "transport", TRANSPORTS "!"},
	{"TargetLine", "address", "text!"},
	{"TargetLine", "port", "int:0..65535!"},
	{"TargetLine", "location", "text!"},
	{"TargetLine", "status", STATES "!"},
	{"TargetLine", "health_score", "int:0..100!"},
	{"TargetLine", "load_percentage", "int:0..100!"},
	{"TargetLine", "last_seen", "time?!"},
	{"TargetLine", "revision", "int:1..!"},
	{"Metrics", "*", "Report"},
	{"Metrics", "reported_at", "time?!"},
	{"PerformanceParts", "latency", "int:0..100!"},
	{"PerformanceParts", "iops", "int:0..100!"},
	{"PerformanceParts", "bandwidth", "int:0..100!"},
	{"Health", "health_score", "int:0..100!"},
	{"Health", "availability", "int:0..100!"},
	{"Health", "performance", "int:0..100!"},
	{"Health", "reliability", "int:0..100!"},
	{"Health", "resource_usage", "int:0..100!"},
	{"Health", "performance_parts", "#PerformanceParts!"},
	{"Probe", "at", "time?!"},
	{"Probe", "good", "bool!"},
	{"Probe", "reached", "none|tcp|icresp|identify!"},
	{"Probe", "latency_us", "int:0..!"},
	{"Probe", "problem", "text!"},
	{"Failure", "type",
		"network_timeout|high_latency|high_error_rate|resource_exhaustion|authentication|"
		"protocol_error|hardware_error|unknown!"},
	{"Failure", "severity", "low|medium|high|critical!"},
	{"Failure", "active", "bool!"},
	{"Failure", "description", "text!"},
	{"Failure", "detected_at", "time?!"},
	{"Failure", "last_seen", "time?!"},
	{"Failure", "occurrence_count", "int:0..!"},
	{"Failure", "auto_recovery_attempted", "bool!"},
	{"Advice", "queue_depth", "int:0..!"},
	{"Advice", "max_io_bytes", "int:0..!"},
	{"Advice", "since", "time?!"},
	{"TargetConfig", "target_id", "text!"},
	{"TargetConfig", "revision", "int:1..!"},
	{"TargetConfig", "config_revision", "int:0..!"},
	{"TargetConfig", "desired", "#DesiredConfig!"},
	{"TargetConfig", "state", "none|" VERDICTS "|not-enforced!"},
	{"TargetConfig", "reason", "text!"},
	{"TargetConfig", "refused_revision", "int:0..!"},
	{"TargetConfig", "agent", "connected|unreachable|none!"},
	{"TargetConfig", "reported_at", "time?!"},
	{"TargetConfig", "reported_revision", "int:0..!"},
	{"TargetConfig", "actual", "#ActualConfig?!"},
	{"TargetConfig", "differences", "[]text!"},
	{"TargetConfig", "not_enforced", "[]text!"},
	{"TargetConfig", "fallback", "#DesiredConfig!"},
	{"Target", "*", "TargetLine"},
	{"Target", "*", "Registration"},
	{"Target", "status_reason", "text!"},
	{"Target", "status_until", "time?!"},
	{"Target", "source", "text!"},
	{"Target", "registered_at", "time?!"},
	{"Target", "updated_at", "time?!"},
	{"Target", "created_revision", "int:1..!"},
	{"Target", "metrics", "#Metrics?!"},
	{"Target", "health", "#Health!"},
	{"Target", "probe", "#Probe?!"},
	{"Target", "failures", "[]#Failure!"},
	{"Target", "advice", "#Advice?!"},
	{"Target", "central_config", "#TargetConfig!"},
	{"Targets", "targets", "[]#TargetLine/#Target!"},
	{"Targets", "total_count", "int:0..!"},
	{"Targets", "healthy_count", "int:0..!"},
	{"Targets", "next_cursor", "text"},
	{"Scores", "health", "number!"},
	{"Scores", "performance", "number!"},
	{"Scores", "reliability", "number!"},
	{"Scores", "location", "number!"},
	{"Chosen", "*", "TargetLine"},
	{"Chosen", "priority", "int:1..!"},
	{"Chosen", "score", "number!"},
	{"Chosen", "scores", "#Scores!"},
	{"Chosen", "reason", "text!"},
	{"Rejected", "target_id", "text!"},
	{"Rejected", "reason", "text!"},
	{"Selection", "status", "success|partial|no_suitable_backend!"},
	{"Selection", "policy", "text!"},
	{"Selection", "targets", "[]#Chosen!"},
	{"Selection", "total_count", "int:0..!"},
	{"Selection", "candidate_count", "int:0..!"},
	{"Selection", "rejected_count", "int:0..!"},
	{"Selection", "rejected", "[]#Rejected"},
	{"ReportAnswer", "target_id", "text!"},
	{"ReportAnswer", "status", STATES "!"},
	{"ReportAnswer", "health_score", "int:0..100!"},
	{"ReportAnswer", "config_revision", "int:0..!"},
	{"ReportAnswer", "config_reported", "bool!"},
	{"ReportAnswer", "metrics", "#Metrics!"},
	{"Unregistered", "status", "unregistered!"},
	{"Unregistered", "drained_connections", "int:0..!"},
	{"Unregistered", "remaining_connections", "int:0..!"},
	{"Unregistered", "unregistered_at", "time!"},
	{"Event", "revision", "int:1..!"},
	{"Event", "type", "registered|unregistered|state_changed|config_changed|updated!"},
	{"Event", "at", "time?!"},
	{"Event", "target_id", "text!"},
	{"Event", "node_id", "text!"},
	{"Event", "target", "#TargetLine!"},
	{"Event", "old_status", STATES},
	{"Event", "config_revision", "int:1.."},
	{"Event", "config_state", VERDICTS},
	{"Event", "reason", "text"},
	{"Events", "events", "[]#Event!"},
	{"Events", "revision", "int:0..!"},
	{"TargetCounts", "unknown", "int:0..!"},
	{"TargetCounts", "available", "int:0..!"},
	{"TargetCounts", "busy", "int:0..!"},
	{"TargetCounts", "maintenance", "int:0..!"},
	{"TargetCounts", "failed", "int:0..!"},
	{"TargetCounts", "offline", "int:0..!"},
	{"TargetCounts", "degraded", "int:0..!"},
	{"Reloaded", "status", "text!"},
	{"Reloaded", "taken", "[]text!"},
	{"Reloaded", "needs_restart", "[]text!"},
	{"Reloaded", "new_certificate", "bool!"},
	{"Status", "status", "text!"},
	{"Status", "store", "#StoreStatus!"},
	{"StoreStatus", "backend", "text!"},
	{"StoreStatus", "reachable", "bool!"},
	{"StoreStatus", "leads", "bool!"},
	{"Status", "version", "text!"},
	{"Status", "started_at", "time!"},
	{"Status", "uptime_seconds", "int:0..!"},
	{"Status", "revision", "int:0..!"},
	{"Status", "first_event_revision", "int:0..!"},
	{"Status", "total_targets", "int:0..!"},
	{"Status", "healthy_targets", "int:0..!"},
	{"Status", "failed_targets", "int:0..!"},
	{"Status", "maintenance_targets", "int:0..!"},
	{"Status", "targets", "#TargetCounts!"},
	{"Status", "total_iops", "int:0..!"},
	{"Status", "total_bandwidth_mbps", "int:0..!"},
	{"Status", "avg_latency_us", "int:0..!"},
	{"Status", "overall_health_score", "number:0..100!"},
	{"Status", "discovery", "[]#DiscoveryMethod!"},
	{"Status", "monitor_blind", "bool!"},
	{"DiscoveryMethod", "method", "text!"},
	{"DiscoveryMethod", "attempts", "int:0..!"},
	{"DiscoveryMethod", "successes", "int:0..!"},
	{"DiscoveryMethod", "failures", "int:0..!"},
	{"DiscoveryMethod", "found", "int:0..!"},
	{"DiscoveryMethod", "problem", "text!"},
	{"DiscoveryMethod", "controllers", "[]#PulledController"},
	{"PulledController", "address", "text!"},
	{"PulledController", "port", "int:0..65535!"},
	{"PulledController", "nqn", "text!"},
	{"PulledController", "sources", "[]text!"},
	{"PulledController", "referred_by", "text!"},
	{"PulledController", "referral_depth", "int:0..8!"},
	{"PulledController", "state", "waiting|reading|connected|failing!"},
	{"PulledController", "persistent", "bool!"},
	{"PulledController", "attempts", "int:0..!"},
	{"PulledController", "successes", "int:0..!"},
	{"PulledController", "failures", "int:0..!"},
	{"PulledController", "found", "int:0..!"},
	{"PulledController", "ignored", "int:0..!"},
	{"PulledController", "problem", "text!"},
	{"PulledController", "read_ms", "int:0..!"},
	{"DiscoveryMethod", "details", "#DiscoveryDetails"},
	{"DiscoveryDetails", "daemon", "unknown|missing|running|stopped!"},
	{"DiscoveryDetails", "services", "int:0..!"},
	{"DiscoveryDetails", "ignored", "int:0..!"},
	{"DiscoveryDetails", "published", "text?!"},
	{"DiscoveryDetails", "discovery_controllers", "[]#FoundController!"},
	{"FoundController", "address", "text!"},
	{"FoundController", "port", "int:1..65535!"},
	{"FoundController", "nqn", "text!"},
	{"Silence", "duration_minutes", "int:1..525600!"},
	{"Silence", "comment", "text"},
	{"Rule", "rule_name", "text!"},
	{"Rule", "state", "inactive|pending|firing!"},
	{"Rule", "metric_type", "text!"},
	{"Rule", "operator", "greater_than|less_than|equals|not_equals!"},
	{"Rule", "threshold_value", "number!"},
	{"Rule", "value", "number!"},
	{"Rule", "severity", "low|medium|high|critical!"},
	{"Rule", "since_ms", "int:0..!"},
	{"Rule", "duration_sec", "int:0..!"},
	{"Rule", "enabled", "bool!"},
	{"Rule", "silenced_until_ms", "int:0..!"},
	{"Rule", "comment", "text!"},
	{"Notification", "at_ms", "int:0..!"},
	{"Notification", "target", "text!"},
	{"Notification", "subject", "text!"},
	{"Notification", "status", "waiting|sent|failed!"},
	{"Notification", "tries", "int:0..!"},
	{"Notification", "problem", "text!"},
	{"Alerts", "rules", "[]#Rule!"},
	{"Alerts", "notifications", "[]#Notification!"},
	{"Zone", "name", "text!"},
	{"Zone", "hosts", "[]text!"},
	{"Zone", "targets", "[]text!"},
	{"ZoneGroup", "name", "text!"},
	{"ZoneGroup", "zones", "[]#Zone!"},
	{"ZoneGroupBody", "name", "text"},
	{"ZoneGroupBody", "zones", "[]#Zone!"},
	{"ZonePolicy", "default_policy", "allow|deny!"},
	{"Zones", "revision", "int:0..!"},
	{"Zones", "default_policy", "allow|deny!"},
	{"Zones", "groups", "[]#ZoneGroup!"},
	{"Zones", "active", "[]#ZoneGroup!"},
	{"ConnectedHost", "hostnqn", "text!"},
	{"ConnectedHost", "hostid", "text!"},
	{"ConnectedHost", "address", "text!"},
	{"ConnectedHost", "port", "int:0..65535!"},
	{"ConnectedHost", "persistent", "bool!"},
	{"ConnectedHost", "discovery_controller", "bool!"},
	{"ConnectedHost", "connected_seconds", "int:0..!"},
	{"RegisteredHost", "hostnqn", "text!"},
	{"RegisteredHost", "hostid", "text!"},
	{"RegisteredHost", "name", "text!"},
	{"RegisteredHost", "version", "text!"},
	{"RegisteredHost", "address", "text!"},
	{"RegisteredHost", "registered_ms", "int:0..!"},
	{"Hosts", "connected", "[]#ConnectedHost!"},
	{"Hosts", "registered", "[]#RegisteredHost!"},
	{0},
};

static json_t *ref_to(const char *name, size_t len)
{
	return json_pack("{s:s+%}", "$ref", "#/components/schemas/", name, len);
}

/* A range behind a ':', "min..max" where either may be missing. */
static void add_range(json_t *schema, const char *range)
{
	const char *dots = strstr(range, "..");

	if (dots == NULL) {
		return;
	}
	if (dots != range) {
		json_object_set_new(schema, "minimum", json_integer(strtoll(range, NULL, 10)));
	}
	if (dots[2] != '\0') {
		json_object_set_new(schema, "maximum", json_integer(strtoll(dots + 2, NULL, 10)));
	}
}

static json_t *choices_of(const char *text)
{
	json_t *list = json_array();

	while (*text != '\0') {
		size_t len = strcspn(text, "|");

		json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == '|');
	}
	return json_pack("{s:s, s:o}", "type", "string", "enum", list);
}

static json_t *type_of(const char *text);

static json_t *simple_type(const char *text)
{
	static const struct {
		const char *name, *type;
	} types[] = {
		{"text", "string"}, {"int", "integer"}, {"number", "number"}, {"bool", "boolean"}};
	size_t len = strcspn(text, ":");
	json_t *schema;

	if (strcmp(text, "any") == 0) {
		return json_object();
	}
	if (strcmp(text, "time") == 0) {
		return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strlen(types[i].name) == len && strncmp(types[i].name, text, len) == 0) {
			schema = json_pack("{s:s}", "type", types[i].type);
			add_range(schema, text + len + (text[len] == ':'));
			return schema;
		}
	}
	return choices_of(text);
}

/*
 * The schema of a type: text, int, number, bool, time, any; a|b|c are choices; :min..max is a
 * range; #Name is another schema, A/B one of two; []T a list, {}T an object of them; T? also null.
 */
static json_t *type_of(const char *text)
{
	size_t len = strlen(text);
	char inner[TYPE_SIZE];
	const char *slash;

	if (len > 0 && text[len - 1] == '?') {
		memcpy(inner, text, len - 1);
		inner[len - 1] = '\0';
		return json_pack("{s:[o, {s:s}]}", "anyOf", type_of(inner), "type", "null");
	}
	if (strncmp(text, "[]", 2) == 0) {
		return json_pack("{s:s, s:o}", "type", "array", "items", type_of(text + 2));
	}
	if (strncmp(text, "{}", 2) == 0) {
		return json_pack(
			"{s:s, s:o}", "type", "object", "additionalProperties", type_of(text + 2));
	}
	slash = strchr(text, '/');
	if (slash != NULL) {
		memcpy(inner, text, (size_t)(slash - text));
		inner[slash - text] = '\0';
		return json_pack("{s:[o, o]}", "anyOf", type_of(inner), type_of(slash + 1));
	}
	return text[0] == '#' ? ref_to(text + 1, len - 1) : simple_type(text);
}

/* Adds the members of a schema to its properties, and the names of those that are needed. */
static void add_members(json_t *properties, json_t *required, const char *schema)
{
	char type[TYPE_SIZE];

	for (const struct member *member = members; member->schema != NULL; member++) {
		size_t len;

		if (strcmp(member->schema, schema) != 0 || member->name == NULL) {
			continue;
		}
		if (strcmp(member->name, "*") == 0) {
			add_members(properties, required, member->type);
			continue;
		}
		if (json_object_get(properties, member->name) != NULL) {
			continue;
		}
		len = strlen(member->type);
		strcpy(type, member->type);
		if (type[len - 1] == '!') {
			type[len - 1] = '\0';
			json_array_append_new(required, json_string(member->name));
		}
		json_object_set_new(properties, member->name, type_of(type));
	}
}

/* Members that a problem has besides, such as the id of the target that is in the way, are many. */
static json_t *problem_schema(void)
{
	return json_pack("{s:s, s:[s, s, s], s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, "
			 "s:{s:s}, s:{s:s}}}",
		"type", "object", "required", "title", "status", "detail", "properties", "type",
		"type", "string", "title", "type", "string", "status", "type", "integer", "detail",
		"type", "string", "instance", "type", "string", "request_id", "type", "string",
		"field", "type", "string");
}

static json_t *all_schemas(void)
{
	json_t *schemas = json_object();

	for (const struct member *member = members; member->schema != NULL; member++) {
		json_t *properties, *required;

		if (json_object_get(schemas, member->schema) != NULL) {
			continue;
		}
		properties = json_object();
		required = json_array();
		add_members(properties, required, member->schema);
		json_object_set_new(schemas, member->schema,
			json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties",
				properties, "required", required, "additionalProperties", 0));
	}
	json_object_set_new(schemas, "Problem", problem_schema());
	return schemas;
}

/* ---- operations ---- */

static json_t *params_of(const char *path, const struct param *param)
{
	json_t *list = json_array();

	for (const char *at = strchr(path, '{'); at != NULL; at = strchr(at + 1, '{')) {
		json_array_append_new(list,
			json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", at + 1, strcspn(at + 1, "}"),
				"in", "path", "required", 1, "schema", "type", "string"));
	}
	for (; param != NULL && param->name != NULL; param++) {
		bool is_header = param->name[0] == '@';

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:o}", "name", param->name + is_header,
				      "in", is_header ? "header" : "query", "description",
				      param->help, "schema", type_of(param->type)));
	}
	return list;
}

static void add_answer(
	json_t *answers, unsigned status, const char *text, const char *type, json_t *schema)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", status);
	json_object_set_new(answers, name,
		json_pack("{s:s, s:{s:{s:o}}}", "description", text, "content", type, "schema",
			schema));
}

static json_t *answers_of(const struct description *about)
{
	static const unsigned errors[] = {400, 401, 403, 413, 429, 500, 503, 504};
	bool is_json = strchr(about->answer, '/') == NULL;
	unsigned good[] = {about->status != 0 ? about->status : 200, about->other};
	json_t *answers = json_object();

	for (size_t i = 0; i < 2 && good[i] != 0; i++) {
		/* The description of the interface is not described. */
		add_answer(answers, good[i], "done", is_json ? "application/json" : about->answer,
			is_json && strcmp(about->answer, "Nothing") != 0
				? ref_to(about->answer, strlen(about->answer))
				: json_object());
	}
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		add_answer(answers, errors[i], "refused", "application/problem+json",
			ref_to("Problem", 7));
	}
	for (size_t i = 0; i < sizeof(about->errors) / sizeof(about->errors[0]); i++) {
		if (about->errors[i] != 0) {
			add_answer(answers, about->errors[i], "refused", "application/problem+json",
				ref_to("Problem", 7));
		}
	}
	return answers;
}

static json_t *operation_of(const struct xrpc_http_route *route)
{
	const struct description *about = descriptions;
	json_t *operation;

	while (about->fn != NULL && about->fn != route->fn) {
		about++;
	}
	if (about->fn == NULL) {
		return NULL; /* a test finds it */
	}
	operation = json_pack("{s:s, s:s, s:o, s:o}", "summary", route->summary, "x-role",
		xrpc_role_names[route->role], "parameters", params_of(route->path, about->params),
		"responses", answers_of(about));
	if (about->request != NULL) {
		json_object_set_new(operation, "requestBody",
			json_pack("{s:b, s:{s:{s:o}}}", "required",
				(int)(strcmp(about->request, "Deletion") != 0 &&
					strcmp(about->request, "Nothing") != 0),
				"content", "application/json", "schema",
				ref_to(about->request, strlen(about->request))));
	}
	return operation;
}

void rest_openapi(struct xrpc_http_call *call, void *arg)
{
	json_t *paths = json_object(), *at;
	char method[16];

	for (const struct xrpc_http_route *route = rest_routes; route->method != NULL; route++) {
		size_t i = 0;

		for (; route->method[i] != '\0' && i + 1 < sizeof(method); i++) {
			method[i] = (char)tolower(route->method[i]);
		}
		method[i] = '\0';
		at = json_object_get(paths, route->path);
		if (at == NULL) {
			json_object_set_new(paths, route->path, json_object());
			at = json_object_get(paths, route->path);
		}
		json_object_set_new(at, method, operation_of(route));
	}
	xrpc_http_answer(call, 200,
		json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o}}", "openapi", "3.1.0", "info", "title",
			"XSAN registry", "version", XSAN_VERSION, "paths", paths, "components",
			"schemas", all_schemas()));
}
