/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the registry's configuration. Each section is a table of parameters that fills a struct
 * which holds the defaults; then what belongs together is checked. Nothing is touched before all of
 * it is good. What the document has and this version cannot do is refused by name where leaving it
 * out would change what a user may rely on, and noted where it would not.
 */
#include "daemon/xsan-registry/config.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/util/param.h"
#include "lib/xbdev/config/text.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/backend.h"
#include "lib/xregistry/consul/consul.h"
#include "lib/xregistry/dhcp.h"
#include "lib/xregistry/etcd/etcd.h"
#include "lib/xregistry/pull.h"
#include "lib/xregistry/target.h"

#define TOKEN_MIN 16u
#define TOKEN_MAX 256u

const char config_default_text[] =
	"{\n"
	"  \"service\": {\"listen_address\": \"127.0.0.1\", \"listen_port\": 8080,\n"
	"              \"data_directory\": \"/var/lib/xsan/registry\"},\n"
	"  \"health_monitoring\": {\"monitoring_interval_sec\": 30, "
	"\"health_check_timeout_sec\": 10},\n"
	"  \"failover\": {\"auto_failover_enabled\": true, \"failover_threshold_failures\": 3},\n"
	"  \"logging\": {\"log_level\": \"INFO\"},\n"
	"  \"persistence\": {\"persistence_backend\": \"sqlite\"}\n"
	"}\n";

/* ---- sections ---- */

struct document {
	json_t *alerts, *central, *service, *discovery, *health, *failover, *integration, *security,
		*logging, *persistence, *load_balancer;
};

static const struct xu_param document_params[] = {
	{"service", XU_PARAM_JSON, offsetof(struct document, service)},
	{"discovery", XU_PARAM_JSON, offsetof(struct document, discovery)},
	{"alerts", XU_PARAM_JSON, offsetof(struct document, alerts)},
	{"discovery_controller", XU_PARAM_JSON, offsetof(struct document, central)},
	{"health_monitoring", XU_PARAM_JSON, offsetof(struct document, health)},
	{"failover", XU_PARAM_JSON, offsetof(struct document, failover)},
	{"load_balancer", XU_PARAM_JSON, offsetof(struct document, load_balancer)},
	{"integration", XU_PARAM_JSON, offsetof(struct document, integration)},
	{"security", XU_PARAM_JSON, offsetof(struct document, security)},
	{"logging", XU_PARAM_JSON, offsetof(struct document, logging)},
	{"persistence", XU_PARAM_JSON, offsetof(struct document, persistence)},
	{0},
};

struct service {
	const char *address, *data_dir;
	uint32_t port, grpc_port, nr_threads, nr_connections, nr_targets, nr_events;
	bool has_grpc;
};

static const struct xu_param service_params[] = {
	{"listen_address", XU_PARAM_STRING, offsetof(struct service, address)},
	{"listen_port", XU_PARAM_U32, offsetof(struct service, port), .max = UINT16_MAX},
	{"grpc_enabled", XU_PARAM_BOOL, offsetof(struct service, has_grpc)},
	{"grpc_port", XU_PARAM_U32, offsetof(struct service, grpc_port), .max = UINT16_MAX},
	{"data_directory", XU_PARAM_STRING, offsetof(struct service, data_dir)},
	{"threads", XU_PARAM_U32, offsetof(struct service, nr_threads), .min = 1, .max = 64},
	{"max_connections", XU_PARAM_U32, offsetof(struct service, nr_connections), .min = 16,
		.max = 65536},
	{"max_targets", XU_PARAM_U32, offsetof(struct service, nr_targets), .min = 1,
		.max = 1000000},
	{"events_kept", XU_PARAM_U32, offsetof(struct service, nr_events), .min = 1,
		.max = 1000000},
	{0},
};

struct discovery {
	bool is_enabled, has_mdns, has_multicast, has_dhcp;
	uint32_t interval_s, timeout_s, port, entries_max, forget_s, dhcp_option;
	const char *group, *interface, *key_path, *key_variable, *dhcp_interface;
	json_t *targets, *controllers;
};

static const struct xu_param discovery_params[] = {
	{"auto_discovery_enabled", XU_PARAM_BOOL, offsetof(struct discovery, is_enabled)},
	{"discovery_interval_sec", XU_PARAM_U32, offsetof(struct discovery, interval_s), .min = 1,
		.max = 86400},
	{"discovery_timeout_sec", XU_PARAM_U32, offsetof(struct discovery, timeout_s), .min = 1,
		.max = 3600},
	{"static_targets", XU_PARAM_JSON, offsetof(struct discovery, targets)},
	{"discovery_controllers", XU_PARAM_JSON, offsetof(struct discovery, controllers)},
	{"pulled_entries_max", XU_PARAM_U32, offsetof(struct discovery, entries_max), .min = 1,
		.max = XREG_PULL_ENTRIES_MAX},
	{"pulled_forget_sec", XU_PARAM_U32, offsetof(struct discovery, forget_s), .max = 2592000},
	{"enable_mdns", XU_PARAM_BOOL, offsetof(struct discovery, has_mdns)},
	{"enable_dhcp", XU_PARAM_BOOL, offsetof(struct discovery, has_dhcp)},
	{"dhcp_interface", XU_PARAM_STRING, offsetof(struct discovery, dhcp_interface)},
	{"dhcp_option", XU_PARAM_U32, offsetof(struct discovery, dhcp_option),
		.min = XREG_DHCP_OPTION_MIN, .max = XREG_DHCP_OPTION_MAX},
	{"enable_multicast", XU_PARAM_BOOL, offsetof(struct discovery, has_multicast)},
	{"multicast_group", XU_PARAM_STRING, offsetof(struct discovery, group)},
	{"multicast_port", XU_PARAM_U32, offsetof(struct discovery, port), .min = 1,
		.max = UINT16_MAX},
	{"multicast_interface", XU_PARAM_STRING, offsetof(struct discovery, interface)},
	{"multicast_key_file", XU_PARAM_STRING, offsetof(struct discovery, key_path)},
	{"multicast_key_env", XU_PARAM_STRING, offsetof(struct discovery, key_variable)},
	{0},
};

struct alerts {
	const char *rules, *smtp_url, *from, *user, *password_path, *slack_url;
	uint32_t interval_s;
};

static const struct xu_param alerts_params[] = {
	{"alert_rules_file", XU_PARAM_STRING, offsetof(struct alerts, rules)},
	{"evaluation_interval_sec", XU_PARAM_U32, offsetof(struct alerts, interval_s), .min = 1,
		.max = 3600},
	{"smtp_url", XU_PARAM_STRING, offsetof(struct alerts, smtp_url)},
	{"smtp_from", XU_PARAM_STRING, offsetof(struct alerts, from)},
	{"smtp_user", XU_PARAM_STRING, offsetof(struct alerts, user)},
	{"smtp_password_file", XU_PARAM_STRING, offsetof(struct alerts, password_path)},
	{"slack_webhook_url", XU_PARAM_STRING, offsetof(struct alerts, slack_url)},
	{0},
};

/* Another discovery controller. */
struct place {
	const char *address, *nqn;
	uint32_t port;
};

static const struct xu_param place_params[] = {
	{"address", XU_PARAM_STRING, offsetof(struct place, address), .is_required = true,
		.help = "the numeric address of a discovery controller"},
	{"port", XU_PARAM_U32, offsetof(struct place, port), .min = 1, .max = UINT16_MAX},
	{"nqn", XU_PARAM_STRING, offsetof(struct place, nqn)},
	{0},
};

struct central {
	bool is_enabled, takes_kick_starts, is_published;
	const char *address, *advertise, *nqn;
	uint32_t port, nr_connections;
	json_t *referrals;
};

static const struct xu_param central_params[] = {
	{"enabled", XU_PARAM_BOOL, offsetof(struct central, is_enabled)},
	{"listen_address", XU_PARAM_STRING, offsetof(struct central, address)},
	{"listen_port", XU_PARAM_U32, offsetof(struct central, port), .max = UINT16_MAX},
	{"advertise_address", XU_PARAM_STRING, offsetof(struct central, advertise)},
	{"nqn", XU_PARAM_STRING, offsetof(struct central, nqn)},
	{"max_connections", XU_PARAM_U32, offsetof(struct central, nr_connections), .min = 2,
		.max = 65536},
	{"accept_kick_start", XU_PARAM_BOOL, offsetof(struct central, takes_kick_starts)},
	{"referrals", XU_PARAM_JSON, offsetof(struct central, referrals)},
	{"publish_mdns", XU_PARAM_BOOL, offsetof(struct central, is_published)},
	{0},
};

static const char *const probe_levels[] = {"none", "tcp", "icresp", "identify", NULL};

#define HEALTH(member) offsetof(struct xreg_health_config, member)

static const struct xu_param health_params[] = {
	{"monitoring_interval_sec", XU_PARAM_U32, HEALTH(monitoring_interval_s)},
	{"health_check_timeout_sec", XU_PARAM_U32, HEALTH(health_check_timeout_s)},
	{"availability_weight", XU_PARAM_REAL, HEALTH(availability_weight)},
	{"performance_weight", XU_PARAM_REAL, HEALTH(performance_weight)},
	{"reliability_weight", XU_PARAM_REAL, HEALTH(reliability_weight)},
	{"resource_weight", XU_PARAM_REAL, HEALTH(resource_weight)},
	{"max_acceptable_latency_us", XU_PARAM_U32, HEALTH(max_acceptable_latency_us)},
	{"max_acceptable_error_rate", XU_PARAM_REAL, HEALTH(max_acceptable_error_rate)},
	{"max_acceptable_load_pct", XU_PARAM_U32, HEALTH(max_acceptable_load_pct)},
	{"min_acceptable_iops", XU_PARAM_U64, HEALTH(min_acceptable_iops)},
	{"recovery_threshold_checks", XU_PARAM_U32, HEALTH(recovery_threshold)},
	{"flap_limit", XU_PARAM_U32, HEALTH(flap_limit)},
	{"flap_window_sec", XU_PARAM_U32, HEALTH(flap_window_s)},
	{"hold_down_sec", XU_PARAM_U32, HEALTH(hold_down_s)},
	{"hold_down_max_sec", XU_PARAM_U32, HEALTH(hold_down_max_s)},
	{"report_age_max_sec", XU_PARAM_U32, HEALTH(report_age_max_s)},
	{"probe_level", XU_PARAM_ENUM, HEALTH(probe_level), .choices = probe_levels},
	{"probe_discovery", XU_PARAM_BOOL, HEALTH(probe_discovery)},
	{"max_probes", XU_PARAM_U32, HEALTH(max_probes)},
	{"max_acceptable_probe_us", XU_PARAM_U32, HEALTH(max_acceptable_probe_us)},
	{"blind_share_pct", XU_PARAM_U32, HEALTH(blind_share_pct)},
	{"blind_min_nodes", XU_PARAM_U32, HEALTH(blind_min_nodes)},
	{0},
};

static const struct xu_param failover_params[] = {
	{"auto_failover_enabled", XU_PARAM_BOOL, HEALTH(auto_failover_enabled)},
	{"failover_threshold_failures", XU_PARAM_U32, HEALTH(failover_threshold_failures)},
	{"failover_timeout_sec", XU_PARAM_U32, HEALTH(failover_timeout_s)},
	{"recovery_backoff_sec", XU_PARAM_U32, HEALTH(recovery_backoff_s)},
	{"recovery_backoff_max_sec", XU_PARAM_U32, HEALTH(recovery_backoff_max_s)},
	{0},
};

static const char *const policies[] = {"round_robin", "least_connections", "least_load", "weighted",
	"hash", "score", NULL}; /* enum xreg_policy, from 1 */

struct balancer {
	uint32_t policy;
	double threshold;
	uint32_t interval_s;
};

static const struct xu_param balancer_params[] = {
	{"policy", XU_PARAM_ENUM, offsetof(struct balancer, policy), .choices = policies},
	{"load_threshold", XU_PARAM_REAL, offsetof(struct balancer, threshold), .max = 1},
	{"rebalance_interval_sec", XU_PARAM_U32, offsetof(struct balancer, interval_s), .min = 1,
		.max = 86400},
	{0},
};

struct integration {
	bool is_enabled;
	const char *endpoint;
};

static const struct xu_param integration_params[] = {
	{"backend_integration_enabled", XU_PARAM_BOOL, offsetof(struct integration, is_enabled)},
	{"backend_manager_endpoint", XU_PARAM_STRING, offsetof(struct integration, endpoint)},
	{0},
};

struct security {
	bool has_tls, is_open;
	const char *cert, *key, *ca;
	uint32_t client_role, rate_max, wrong_max;
	json_t *tokens, *certificates;
};

static const struct xu_param security_params[] = {
	{"tls_enabled", XU_PARAM_BOOL, offsetof(struct security, has_tls)},
	{"cert_file", XU_PARAM_STRING, offsetof(struct security, cert)},
	{"key_file", XU_PARAM_STRING, offsetof(struct security, key)},
	{"ca_file", XU_PARAM_STRING, offsetof(struct security, ca)},
	{"client_role", XU_PARAM_ENUM, offsetof(struct security, client_role),
		.choices = xrpc_role_names},
	{"client_certificates", XU_PARAM_JSON, offsetof(struct security, certificates)},
	{"tokens", XU_PARAM_JSON, offsetof(struct security, tokens)},
	{"allow_insecure", XU_PARAM_BOOL, offsetof(struct security, is_open)},
	{"rate_limit_per_sec", XU_PARAM_U32, offsetof(struct security, rate_max), .max = 1000000},
	{"wrong_tokens_per_sec", XU_PARAM_U32, offsetof(struct security, wrong_max),
		.max = 1000000},
	{0},
};

static const struct xu_param certificate_params[] = {
	{"subject", XU_PARAM_STRING, offsetof(struct xrpc_certificate, subject)},
	{"san", XU_PARAM_STRING, offsetof(struct xrpc_certificate, san)},
	{"role", XU_PARAM_ENUM, offsetof(struct xrpc_certificate, role), .choices = xrpc_role_names,
		.is_required = true, .help = "what it allows"},
	{0},
};

struct token {
	const char *name, *token, *file, *variable;
	uint32_t role;
};

static const struct xu_param token_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct token, name), .is_required = true,
		.help = "who has it, for the log"},
	{"token", XU_PARAM_STRING, offsetof(struct token, token)},
	{"token_file", XU_PARAM_STRING, offsetof(struct token, file)},
	{"token_env", XU_PARAM_STRING, offsetof(struct token, variable)},
	{"role", XU_PARAM_ENUM, offsetof(struct token, role), .choices = xrpc_role_names,
		.is_required = true, .help = "what it allows"},
	{0},
};

static const char *const log_levels[] = {"fatal", "error", "warn", "info", "debug", "trace", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

struct logging {
	uint32_t level, format, max_mb, keep;
	const char *file, *audit;
	bool is_rotated;
};

static const struct xu_param logging_params[] = {
	{"log_level", XU_PARAM_ENUM, offsetof(struct logging, level), .choices = log_levels},
	{"log_file", XU_PARAM_STRING, offsetof(struct logging, file)},
	{"log_format", XU_PARAM_ENUM, offsetof(struct logging, format), .choices = log_formats},
	{"log_rotation_enabled", XU_PARAM_BOOL, offsetof(struct logging, is_rotated)},
	{"max_log_file_size_mb", XU_PARAM_U32, offsetof(struct logging, max_mb), .min = 1,
		.max = 1048576},
	{"log_files_kept", XU_PARAM_U32, offsetof(struct logging, keep), .max = 1000},
	{"audit_log_file", XU_PARAM_STRING, offsetof(struct logging, audit)},
	{0},
};

static const char *const backends[] = {"sqlite", "etcd", "consul", NULL};

struct persistence {
	bool is_enabled;
	uint32_t backend, interval_s;
	const char *connection;
};

static const struct xu_param persistence_params[] = {
	{"persistence_enabled", XU_PARAM_BOOL, offsetof(struct persistence, is_enabled)},
	{"persistence_backend", XU_PARAM_ENUM, offsetof(struct persistence, backend),
		.choices = backends},
	{"connection_string", XU_PARAM_STRING, offsetof(struct persistence, connection)},
	{"sync_interval_sec", XU_PARAM_U32, offsetof(struct persistence, interval_s), .min = 1,
		.max = 86400},
	{0},
};

/* ---- checking ---- */

struct check {
	struct config *config;
	struct xu_error *err;
	char path[XBDEV_TEXT_PATH_SIZE]; /* of what is wrong */
	uint32_t nr_notes;
};

static int fail(struct check *c, const char *path, int rc)
{
	snprintf(c->path, sizeof(c->path), "%s", path);
	return rc;
}

static void note(struct check *c, const char *text)
{
	if (c->nr_notes + 1 < CONFIG_NOTES_MAX) {
		c->config->notes[c->nr_notes++] = text;
	}
}

static json_t *value_of(const struct xu_param *param, const void *opts)
{
	const char *at = (const char *)opts + param->offset;

	switch (param->type) {
	case XU_PARAM_STRING:
		return *(const char *const *)at != NULL ? json_string(*(const char *const *)at)
							: json_null();
	case XU_PARAM_BOOL:
		return json_boolean(*(const bool *)at);
	case XU_PARAM_U32:
	case XU_PARAM_ENUM:
		return json_integer(*(const uint32_t *)at);
	case XU_PARAM_U64:
		return json_integer((json_int_t) * (const uint64_t *)at);
	case XU_PARAM_REAL:
		return json_real(*(const double *)at);
	case XU_PARAM_JSON:
		return *(json_t *const *)at != NULL ? json_incref(*(json_t *const *)at)
						    : json_null();
	default:
		return json_null();
	}
}

/* Keeps what a section says now. */
static void keep(struct check *c, const char *path, const struct xu_param *params, const void *opts)
{
	char name[XU_PARAM_PATH_SIZE];

	for (; params->name != NULL; params++) {
		snprintf(name, sizeof(name), "%s.%s", path, params->name);
		json_object_set_new(c->config->effective, name, value_of(params, opts));
	}
}

static int section(struct check *c, const char *path, const struct xu_param *params, void *opts,
	json_t *object)
{
	char inner[XU_PARAM_PATH_SIZE];
	int rc = object != NULL ? xu_params_parse(params, opts, object, inner, c->err) : 0;

	if (rc == 0 && path[0] != '\0' && strchr(path, '[') == NULL) {
		keep(c, path, params, opts);
	}
	if (rc != 0) {
		snprintf(c->path, sizeof(c->path), "%s%s%s", path,
			path[0] != '\0' && inner[0] != '\0' ? "." : "", inner);
		xbdev_text_strip_name(c->err, inner);
	}
	return rc;
}

static int check_service(struct check *c, json_t *object, const char *data_dir)
{
	struct service service = {.address = "127.0.0.1",
		.port = 8080,
		.grpc_port = 8081,
		.has_grpc = true,
		.data_dir = "./var/registry",
		.nr_threads = 2,
		.nr_connections = 4096};
	int rc = section(c, "service", service_params, &service, object);

	c->config->data_dir = data_dir != NULL ? data_dir : service.data_dir;
	c->config->has_grpc = service.has_grpc;
	c->config->is_grpc_asked = service.has_grpc && json_object_get(object, "grpc_port") != NULL;
	c->config->grpc_port = (uint16_t)service.grpc_port;
	c->config->nr_targets_max = service.nr_targets;
	c->config->nr_events_kept = service.nr_events;
	c->config->http.address = service.address;
	c->config->http.port = (uint16_t)service.port;
	c->config->http.nr_threads = service.nr_threads;
	c->config->http.nr_connections_max = service.nr_connections;
	return rc;
}

/* Each target of the list, as it would be registered. */
static int check_static(struct check *c, json_t *list)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	json_t *body;
	size_t i;

	if (!json_is_array(list)) {
		return fail(c, "discovery.static_targets",
			xu_error_set(
				c->err, -EINVAL, "a list [ … ] of registrations is needed here"));
	}
	json_array_foreach (list, i, body) {
		path[0] = '\0';
		if (xreg_spec_parse(body, &parsed, path, c->err) != 0) {
			snprintf(c->path, sizeof(c->path), "discovery.static_targets[%zu]%s%.200s",
				i, path[0] != '\0' ? "." : "", path);
			return -EINVAL;
		}
	}
	return 0;
}

/* One of a list of discovery controllers. */
static int check_place(
	struct check *c, const char *list, size_t index, json_t *object, struct xreg_ddc *ret_ddc)
{
	struct place place = {.port = 8009};
	char path[96];
	int rc;

	snprintf(path, sizeof(path), "%s[%zu]", list, index);
	rc = section(c, path, place_params, &place, object);
	if (rc == 0) {
		rc = xreg_ddc_make(place.address, place.port, place.nqn, ret_ddc, c->err);
		if (rc != 0) {
			fail(c, path, rc);
		}
	}
	return rc;
}

static int check_list(struct check *c, const char *path, json_t *list, uint32_t max)
{
	if (!json_is_array(list)) {
		return fail(c, path,
			xu_error_set(c->err, -EINVAL,
				"a list [ … ] of discovery controllers is needed here"));
	}
	if (json_array_size(list) > max) {
		return fail(c, path,
			xu_error_set(
				c->err, -EINVAL, "there may be %u discovery controllers", max));
	}
	return 0;
}

static int check_controllers(struct check *c, json_t *list)
{
	static const char path[] = "discovery.discovery_controllers";
	int rc = check_list(c, path, list, XREG_DDCS_MAX);
	json_t *object;
	size_t i;

	if (rc != 0) {
		return rc;
	}
	c->config->controllers = calloc(json_array_size(list) + 1, sizeof(struct xreg_ddc));
	if (c->config->controllers == NULL) {
		return xu_error_set_errno(c->err, -ENOMEM, "reading the configuration");
	}
	json_array_foreach (list, i, object) {
		rc = rc != 0 ? rc : check_place(c, path, i, object, &c->config->controllers[i]);
	}
	c->config->nr_controllers = (uint32_t)json_array_size(list);
	return rc;
}

static int check_multicast(struct check *c, const struct discovery *discovery)
{
	struct config *config = c->config;
	const char *member = "multicast_key_file";
	char path[64];
	int rc = 0;

	if (discovery->key_path != NULL && discovery->key_variable != NULL) {
		return fail(c, "discovery.multicast_key_env",
			xu_error_set(c->err, -EINVAL,
				"multicast_key_file is given too, and one key is enough"));
	}
	if (discovery->key_path != NULL || discovery->key_variable != NULL) {
		member = discovery->key_path != NULL ? member : "multicast_key_env";
		rc = xreg_mcast_key_read(discovery->key_path, discovery->key_variable,
			&config->multicast_key, c->err);
	}
	config->multicast = (struct xreg_mcast_opts){.group = discovery->group,
		.port = (uint16_t)discovery->port,
		.interface = discovery->interface,
		.key = config->multicast_key};
	rc = rc != 0 ? rc : xreg_mcast_check(&config->multicast, &member, c->err);
	snprintf(path, sizeof(path), "discovery.%s", member);
	return rc != 0 ? fail(c, path, rc) : 0;
}

static int check_dhcp(struct check *c, const struct discovery *discovery)
{
	const char *interface = discovery->dhcp_interface;

	if (interface == NULL || interface[0] == '\0' || strlen(interface) >= IF_NAMESIZE) {
		return fail(c, "discovery.dhcp_interface",
			xu_error_set(c->err, -EINVAL,
				"the name of the interface is needed here by which the DHCP "
				"servers are asked, such as \"eth0\""));
	}
	c->config->dhcp_interface = interface;
	c->config->dhcp_option = (uint8_t)discovery->dhcp_option;
	return 0;
}

/* The ways of looking for targets in the network. */
static int check_search(struct check *c, json_t *object, const struct discovery *discovery)
{
	bool has_any = discovery->has_mdns || discovery->has_multicast || discovery->has_dhcp;
	int rc = discovery->has_multicast ? check_multicast(c, discovery) : 0;

	rc = rc == 0 && discovery->has_dhcp ? check_dhcp(c, discovery) : rc;
	c->config->finds_mdns = discovery->is_enabled && discovery->has_mdns;
	c->config->has_multicast = discovery->is_enabled && discovery->has_multicast;
	c->config->has_dhcp = discovery->is_enabled && discovery->has_dhcp;
	if (!has_any && json_is_true(json_object_get(object, "auto_discovery_enabled"))) {
		note(c, "discovery.auto_discovery_enabled: no way of searching the network is "
			"enabled; targets register themselves, or are in static_targets");
	}
	if (has_any && !discovery->is_enabled) {
		note(c, "discovery.auto_discovery_enabled is false: the network is not searched, "
			"whatever else is enabled");
	}
	return rc;
}

static int check_discovery(struct check *c, json_t *object)
{
	struct discovery discovery = {.is_enabled = true,
		.interval_s = 60,
		.timeout_s = 5,
		.entries_max = 4096,
		.forget_s = 86400,
		.group = XREG_MCAST_GROUP,
		.port = XREG_MCAST_PORT,
		.dhcp_option = XREG_DHCP_OPTION};
	int rc = section(c, "discovery", discovery_params, &discovery, object);

	if (rc == 0 && discovery.targets != NULL) {
		rc = check_static(c, discovery.targets);
	}
	if (rc == 0 && discovery.controllers != NULL) {
		rc = check_controllers(c, discovery.controllers);
	}
	c->config->pull_entries_max = discovery.entries_max;
	c->config->pull_forget_s = discovery.forget_s;
	c->config->find_interval_s = discovery.interval_s;
	c->config->find_timeout_s = discovery.timeout_s;
	c->config->static_targets = discovery.targets;
	return rc == 0 ? check_search(c, object, &discovery) : rc;
}

static int check_referrals(struct check *c, json_t *list)
{
	static const char path[] = "discovery_controller.referrals";
	int rc = check_list(c, path, list, XREG_REFERRALS_MAX);
	struct xreg_ddc ddc;
	json_t *object;
	size_t i;

	if (rc != 0) {
		return rc;
	}
	json_array_foreach (list, i, object) {
		struct xreg_referral *referral = &c->config->referrals[i];

		rc = check_place(c, path, i, object, &ddc);
		if (rc != 0) {
			return rc;
		}
		if (ddc.port == c->config->central_port &&
			strcmp(ddc.address, c->config->central_address) == 0) {
			return fail(c, path,
				xu_error_set(c->err, -EINVAL,
					"%s port %u is this registry itself; hosts that are "
					"referred to where they are would never end",
					ddc.address, ddc.port));
		}
		memcpy(referral->address, ddc.address, sizeof(referral->address));
		memcpy(referral->nqn, ddc.nqn, sizeof(referral->nqn));
		referral->port = ddc.port;
		c->config->nr_referrals++;
	}
	return 0;
}

/* What only this machine reaches is announced to others when it is asked for, else not. */
static void check_publishing(struct check *c, json_t *object, const struct central *central)
{
	struct config *config = c->config;
	bool is_said = json_object_get(object, "publish_mdns") != NULL;

	config->publishes_mdns =
		central->is_enabled &&
		(is_said ? central->is_published : !xr_address_is_loopback(central->address));
	config->is_publish_asked = is_said && config->publishes_mdns;
	if (is_said && central->is_published && !central->is_enabled) {
		note(c, "discovery_controller.publish_mdns: there is no discovery controller to "
			"announce");
	}
}

static int check_central(struct check *c, json_t *object)
{
	struct central central = {.is_enabled = true,
		.takes_kick_starts = true,
		.address = "127.0.0.1",
		.port = 8009,
		.nr_connections = 20000};
	struct sockaddr_storage addr;
	int rc = section(c, "discovery_controller", central_params, &central, object);

	if (rc == 0 && xr_address_parse(central.address, 0, &addr) < 0) {
		return fail(c, "discovery_controller.listen_address",
			xu_error_set(
				c->err, -EINVAL, "'%.64s' is no numeric address", central.address));
	}
	if (rc == 0 && central.advertise != NULL &&
		(xr_address_parse(central.advertise, 0, &addr) < 0 ||
			xr_address_is_wildcard(central.advertise))) {
		return fail(c, "discovery_controller.advertise_address",
			xu_error_set(c->err, -EINVAL,
				"'%.64s' is no numeric address of one machine", central.advertise));
	}
	if (rc == 0 && central.nqn != NULL && xnvmf_nqn_check(central.nqn, c->err) != 0) {
		return fail(c, "discovery_controller.nqn", -EINVAL);
	}
	check_publishing(c, object, &central);
	c->config->has_central = central.is_enabled;
	c->config->central_address = central.address;
	c->config->central_advertise = central.advertise;
	c->config->central_nqn = central.nqn;
	c->config->central_port = (uint16_t)central.port;
	c->config->central_connections_max = central.nr_connections;
	c->config->takes_kick_starts = central.takes_kick_starts;
	if (rc == 0 && central.referrals != NULL) {
		rc = check_referrals(c, central.referrals);
	}
	return rc;
}

static int check_health(struct check *c, json_t *health, json_t *failover)
{
	struct xreg_health_config *config = &c->config->health;
	int rc;

	xreg_health_config_default(config);
	rc = section(c, "health_monitoring", health_params, config, health);
	if (rc == 0) {
		rc = section(c, "failover", failover_params, config, failover);
	}
	if (rc == 0) {
		rc = xreg_health_config_check(config, c->err);
		if (rc != 0) {
			fail(c, "health_monitoring", rc);
		}
	}
	return rc;
}

static int check_balancer(struct check *c, json_t *object)
{
	struct balancer balancer = {.policy = XREG_SCORE - 1, .threshold = 0.8, .interval_s = 30};
	int rc = section(c, "load_balancer", balancer_params, &balancer, object);

	c->config->balancer =
		(struct xreg_balancer_opts){.policy = (enum xreg_policy)(balancer.policy + 1),
			.load_threshold = balancer.threshold,
			.rebalance_interval_ms = balancer.interval_s * 1000};
	return rc;
}

static int check_integration(struct check *c, json_t *object)
{
	struct integration integration = {0};
	int rc = section(c, "integration", integration_params, &integration, object);

	if (rc == 0 && integration.is_enabled) {
		note(c, "integration.backend_integration_enabled: there is no manager of backends "
			"in "
			"this version");
	}
	return rc;
}

/* The first line of a file. */
static int read_secret(const char *path, char **ret_text, struct xu_error *err)
{
	char text[TOKEN_MAX + 2];
	ssize_t len;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		return xu_error_set_errno(err, -errno, "reading %s", path);
	}
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0) {
		len = -errno;
	}
	close(fd);
	if (len < 0) {
		return xu_error_set_errno(err, (int)len, "reading %s", path);
	}
	text[len] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	*ret_text = strdup(text);
	return *ret_text != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "reading %s", path);
}

static int check_alerts(struct check *c, json_t *object)
{
	struct alerts alerts = {.interval_s = 60};
	int rc = section(c, "alerts", alerts_params, &alerts, object);

	if (rc == 0 && (alerts.user == NULL) != (alerts.password_path == NULL)) {
		return fail(c, "alerts",
			xu_error_set(c->err, -EINVAL,
				"smtp_user and smtp_password_file are given together or not at "
				"all"));
	}
	if (rc == 0 && alerts.password_path != NULL) {
		rc = read_secret(alerts.password_path, &c->config->smtp_password, c->err);
		if (rc != 0) {
			return fail(c, "alerts.smtp_password_file", rc);
		}
		json_object_set_new(c->config->effective, "alerts.smtp_password_file",
			json_string(c->config->smtp_password));
	}
	c->config->rules_path = alerts.rules;
	c->config->smtp_url = alerts.smtp_url;
	c->config->smtp_from = alerts.from;
	c->config->smtp_user = alerts.user;
	c->config->slack_url = alerts.slack_url;
	c->config->alert_interval_ms = alerts.interval_s * 1000;
	return rc;
}

static int check_token(struct check *c, json_t *object, uint32_t index)
{
	struct config *config = c->config;
	char path[64], **own = &config->token_texts[index];
	struct token token = {0};
	const char *text;
	int rc;

	snprintf(path, sizeof(path), "security.tokens[%u]", index);
	rc = section(c, path, token_params, &token, object);
	if (rc != 0) {
		return rc;
	}
	fail(c, path, 0);
	if ((token.token != NULL) + (token.file != NULL) + (token.variable != NULL) != 1) {
		return xu_error_set(c->err, -EINVAL,
			"one of token, token_file and token_env is needed, and no more");
	}
	text = token.token;
	if (token.file != NULL) {
		rc = read_secret(token.file, own, c->err);
		text = *own;
	} else if (token.variable != NULL) {
		text = getenv(token.variable);
		if (text == NULL) {
			return xu_error_set(c->err, -ENOENT, "the environment has no variable '%s'",
				token.variable);
		}
	}
	if (rc != 0) {
		return rc;
	}
	if (strlen(text) < TOKEN_MIN || strlen(text) > TOKEN_MAX) {
		return xu_error_set(c->err, -EINVAL,
			"the token has %zu characters; it needs %u to %u", strlen(text), TOKEN_MIN,
			TOKEN_MAX);
	}
	config->tokens[index] = (struct xrpc_token){token.name, text, (enum xrpc_role)token.role};
	config->access.nr_tokens = index + 1;
	json_array_append_new(json_object_get(config->effective, "security.tokens"),
		json_pack("[s, s, i]", token.name, text, (int)token.role));
	return 0;
}

static int check_tokens(struct check *c, json_t *tokens)
{
	int rc = 0;

	if (tokens != NULL && !json_is_array(tokens)) {
		return fail(c, "security.tokens",
			xu_error_set(c->err, -EINVAL, "a list [ … ] of tokens is needed here"));
	}
	if (json_array_size(tokens) > CONFIG_TOKENS_MAX) {
		return fail(c, "security.tokens",
			xu_error_set(c->err, -EINVAL, "there may be %u tokens", CONFIG_TOKENS_MAX));
	}
	json_object_set_new(c->config->effective, "security.tokens", json_array());
	for (uint32_t i = 0; rc == 0 && i < json_array_size(tokens); i++) {
		rc = check_token(c, json_array_get(tokens, i), i);
	}
	return rc;
}

static int check_certificates(struct check *c, const struct security *security)
{
	static const char name[] = "security.client_certificates";
	json_t *list = security->certificates;
	char path[64];
	int rc = 0;

	if (list != NULL && (!security->has_tls || security->ca == NULL)) {
		return fail(c, name,
			xu_error_set(c->err, -EINVAL,
				"clients show certificates only with tls_enabled and ca_file"));
	}
	if (list != NULL &&
		(!json_is_array(list) || json_array_size(list) > CONFIG_CERTIFICATES_MAX)) {
		return fail(c, name,
			xu_error_set(c->err, -EINVAL,
				"a list [ … ] of up to %u certificates is needed here",
				CONFIG_CERTIFICATES_MAX));
	}
	for (uint32_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		struct xrpc_certificate *one = &c->config->certificates[i];

		snprintf(path, sizeof(path), "%s[%u]", name, i);
		rc = section(c, path, certificate_params, one, json_array_get(list, i));
		if (rc == 0 && xrpc_certificate_check(one, c->err) != 0) {
			rc = fail(c, path, -EINVAL);
		}
	}
	c->config->access.certificates = c->config->certificates;
	c->config->access.nr_certificates = (uint32_t)json_array_size(list);
	return rc;
}

static int check_security(struct check *c, json_t *object)
{
	struct security security = {.client_role = XRPC_ROLE_ADMIN, .wrong_max = 16};
	struct config *config = c->config;
	int rc = section(c, "security", security_params, &security, object);

	if (rc == 0 && security.has_tls && (security.cert == NULL || security.key == NULL)) {
		return fail(c, "security",
			xu_error_set(c->err, -EINVAL, "TLS needs cert_file and key_file"));
	}
	rc = rc != 0 ? rc : check_tokens(c, security.tokens);
	rc = rc != 0 ? rc : check_certificates(c, &security);
	if (security.has_tls) {
		config->cert_path = security.cert;
		config->key_path = security.key;
		config->client_ca_path = security.ca;
	}
	config->access.tokens = config->tokens;
	config->access.has_client_ca = config->client_ca_path != NULL;
	config->access.certificate_role = (enum xrpc_role)security.client_role;
	config->access.rate_max = security.rate_max;
	config->access.wrong_tokens_max = security.wrong_max;
	config->http.is_open = security.is_open;
	return rc;
}

static int check_logging(struct check *c, json_t *object)
{
	struct logging logging = {
		.level = XU_LOG_INFO, .max_mb = 100, .keep = 4, .is_rotated = true};
	int rc = section(c, "logging", logging_params, &logging, object);

	c->config->log = (struct xu_log_opts){
		.level = (enum xu_log_level)logging.level,
		.target = logging.file != NULL ? XU_LOG_TO_FILE : XU_LOG_TO_STDERR,
		.format = (enum xu_log_format)logging.format,
		.path = logging.file,
		.rotate_bytes = logging.is_rotated ? (uint64_t)logging.max_mb << 20 : 0,
		.rotate_keep = logging.keep,
		.ident = "xsan-registry",
	};
	c->config->audit_path = logging.audit;
	return rc;
}

static int keep_connection(struct check *c, const char *text)
{
	c->config->connection = text != NULL ? strdup(text) : NULL;
	if (text == NULL &&
		asprintf(&c->config->connection, "%s/targets.db", c->config->data_dir) < 0) {
		c->config->connection = NULL;
	}
	return c->config->connection != NULL
		       ? 0
		       : xu_error_set_errno(c->err, -ENOMEM, "reading the configuration");
}

static int check_etcd(struct check *c, const char *text)
{
	struct xreg_etcd_where where;
	int rc;

	if (!xreg_etcd_is_there()) {
		return fail(c, "persistence.persistence_backend",
			xu_error_set(c->err, -ENOTSUP,
				"this program was built without gRPC, which etcd is reached "
				"through"));
	}
	if (text == NULL) {
		return fail(c, "persistence.connection_string",
			xu_error_set(c->err, -EINVAL,
				"etcd's endpoints are needed here, such as "
				"\"http://127.0.0.1:2379\""));
	}
	rc = xreg_etcd_where_parse(text, &where, c->err);
	if (rc != 0) {
		return fail(c, "persistence.connection_string", rc);
	}
	xreg_etcd_where_free(&where);
	return 0;
}

static int check_consul(struct check *c, const char *text)
{
	struct xreg_consul_where where;
	int rc;

	if (text == NULL) {
		return fail(c, "persistence.connection_string",
			xu_error_set(c->err, -EINVAL,
				"Consul's address is needed here, such as "
				"\"http://127.0.0.1:8500\""));
	}
	rc = xreg_consul_where_parse(text, &where, c->err);
	if (rc != 0) {
		return fail(c, "persistence.connection_string", rc);
	}
	xreg_consul_where_free(&where);
	return 0;
}

static int choose_backend(struct check *c, const struct persistence *persistence)
{
	int rc = 0;

	switch (persistence->backend) {
	case 0:
		c->config->backend = &xreg_sqlite;
		break;
	case 1:
		c->config->backend = &xreg_etcd;
		rc = check_etcd(c, persistence->connection);
		break;
	default:
		c->config->backend = &xreg_consul;
		rc = check_consul(c, persistence->connection);
		break;
	}
	return rc == 0 ? keep_connection(c, persistence->connection) : rc;
}

static int check_persistence(struct check *c, json_t *object)
{
	struct persistence persistence = {.is_enabled = true, .interval_s = 60};
	int rc = section(c, "persistence", persistence_params, &persistence, object);

	if (rc != 0) {
		return rc;
	}
	if (!persistence.is_enabled) {
		return fail(c, "persistence.persistence_enabled",
			xu_error_set(c->err, -EINVAL,
				"false is not accepted: a registry that forgets its targets would "
				"show "
				"hosts an empty log after a restart, and they would disconnect"));
	}
	return choose_backend(c, &persistence);
}

static int check_document(struct check *c, const char *data_dir)
{
	struct document doc = {0};
	int rc = section(c, "", document_params, &doc, c->config->root);

	rc = rc != 0 ? rc : check_service(c, doc.service, data_dir);
	rc = rc != 0 ? rc : check_discovery(c, doc.discovery);
	rc = rc != 0 ? rc : check_alerts(c, doc.alerts);
	rc = rc != 0 ? rc : check_central(c, doc.central);
	rc = rc != 0 ? rc : check_health(c, doc.health, doc.failover);
	rc = rc != 0 ? rc : check_balancer(c, doc.load_balancer);
	rc = rc != 0 ? rc : check_integration(c, doc.integration);
	rc = rc != 0 ? rc : check_security(c, doc.security);
	rc = rc != 0 ? rc : check_logging(c, doc.logging);
	return rc != 0 ? rc : check_persistence(c, doc.persistence);
}

/* ---- life ---- */

int config_read(
	const char *path, const char *data_dir, struct config **ret_config, struct xu_error *err)
{
	struct config *config = calloc(1, sizeof(*config));
	struct check c = {.config = config, .err = err};
	int rc = 0;

	if (config == NULL || (config->effective = json_object()) == NULL) {
		free(config);
		return xu_error_set_errno(err, -ENOMEM, "reading the configuration");
	}
	if (path != NULL) {
		rc = xbdev_text_read(path, "configuration", &config->text, err);
		config->root = rc == 0 ? config->text->root : NULL;
	}
	if (rc == 0) {
		rc = check_document(&c, data_dir);
		if (rc != 0) {
			xbdev_text_fail(config->text, c.path, err);
		}
	}
	if (rc != 0) {
		config_free(config);
		return rc;
	}
	*ret_config = config;
	return 0;
}

struct xreg_pull_limits config_pull_limits(const struct config *config)
{
	return (struct xreg_pull_limits){.interval_s = config->find_interval_s,
		.timeout_s = config->find_timeout_s,
		.nr_entries_max = config->pull_entries_max,
		.forget_s = config->pull_forget_s};
}

void config_free(struct config *config)
{
	if (config == NULL) {
		return;
	}
	for (uint32_t i = 0; i < CONFIG_TOKENS_MAX; i++) {
		free(config->token_texts[i]);
	}
	free(config->connection);
	free(config->smtp_password);
	free(config->controllers);
	json_decref(config->effective);
	free(config->multicast_key);
	xbdev_text_free(config->text);
	free(config);
}
