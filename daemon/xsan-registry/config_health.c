/* SPDX-License-Identifier: BSD-3-Clause */
/* The sections that judge targets and tell of it: health_monitoring, failover, load_balancer,
 * alerts, integration. */
#include "daemon/xsan-registry/config_private.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/util/error.h"

/* ---- health, failover ---- */

static const char *const probe_levels[] = {"none", "tcp", "icresp", "identify", NULL};

struct health {
	struct xreg_health_config config;
	const char *probe_host_nqn;
};

#define HEALTH(member) offsetof(struct health, config.member)

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
	{"probe_host_nqn", XU_PARAM_STRING, offsetof(struct health, probe_host_nqn)},
	{"max_probes", XU_PARAM_U32, HEALTH(max_probes)},
	{"max_acceptable_probe_us", XU_PARAM_U32, HEALTH(max_acceptable_probe_us)},
	{"blind_share_pct", XU_PARAM_U32, HEALTH(blind_share_pct)},
	{"blind_min_nodes", XU_PARAM_U32, HEALTH(blind_min_nodes)},
	{"blind_proof_sec", XU_PARAM_U32, HEALTH(blind_proof_s)},
	{"blind_max_sec", XU_PARAM_U32, HEALTH(blind_max_s)},
	{"min_queue_depth", XU_PARAM_U32, HEALTH(min_queue_depth)},
	{"min_io_bytes", XU_PARAM_U32, HEALTH(min_io_bytes)},
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

int config_check_health(struct config_check *c, json_t *health, json_t *failover)
{
	struct xreg_health_config *config = &c->config->health;
	struct health read;
	int rc;

	xreg_health_config_default(config);
	read = (struct health){.config = *config, .probe_host_nqn = config->host_nqn};
	rc = config_section(c, "health_monitoring", health_params, &read, health);
	rc = rc != 0 ? rc : config_section(c, "failover", failover_params, &read, failover);
	if (rc != 0) {
		return rc;
	}
	/* One that is too long is cut here, and too long all the same. */
	snprintf(read.config.host_nqn, sizeof(read.config.host_nqn), "%s", read.probe_host_nqn);
	*config = read.config;
	rc = xreg_health_config_check(config, c->err);
	return rc != 0 ? config_fail(c, "health_monitoring", rc) : 0;
}

/* ---- load balancer ---- */

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

int config_check_balancer(struct config_check *c, json_t *object)
{
	struct balancer balancer = {.policy = XREG_SCORE - 1, .threshold = 0.8, .interval_s = 30};
	int rc = config_section(c, "load_balancer", balancer_params, &balancer, object);

	c->config->balancer =
		(struct xreg_balancer_opts){.policy = (enum xreg_policy)(balancer.policy + 1),
			.load_threshold = balancer.threshold,
			.rebalance_interval_ms = balancer.interval_s * 1000};
	return rc;
}

/* ---- alerts ---- */

struct alerts {
	const char *rules, *smtp_url, *from, *user, *password_path, *ca_path, *slack_url;
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
	{"smtp_ca_file", XU_PARAM_STRING, offsetof(struct alerts, ca_path)},
	{"slack_webhook_url", XU_PARAM_STRING, offsetof(struct alerts, slack_url)},
	{0},
};

int config_check_alerts(struct config_check *c, json_t *object)
{
	struct alerts alerts = {.interval_s = 60};
	int rc = config_section(c, "alerts", alerts_params, &alerts, object);

	if (rc == 0 && (alerts.user == NULL) != (alerts.password_path == NULL)) {
		return config_fail(c, "alerts",
			xu_error_set(c->err, -EINVAL,
				"smtp_user and smtp_password_file are given together or not at "
				"all"));
	}
	if (rc == 0 && alerts.password_path != NULL) {
		rc = config_read_secret(alerts.password_path, &c->config->smtp_password, c->err);
		if (rc != 0) {
			return config_fail(c, "alerts.smtp_password_file", rc);
		}
		json_object_set_new(c->config->effective, "alerts.smtp_password_file",
			json_string(c->config->smtp_password));
	}
	if (rc == 0 && alerts.ca_path != NULL && access(alerts.ca_path, R_OK) != 0) {
		return config_fail(c, "alerts.smtp_ca_file",
			xu_error_set_errno(c->err, -errno, "reading %s", alerts.ca_path));
	}
	c->config->rules_path = alerts.rules;
	c->config->smtp_url = alerts.smtp_url;
	c->config->smtp_from = alerts.from;
	c->config->smtp_user = alerts.user;
	c->config->smtp_ca_path = alerts.ca_path;
	c->config->slack_url = alerts.slack_url;
	c->config->alert_interval_ms = alerts.interval_s * 1000;
	return rc;
}

/* ---- integration ---- */

struct integration {
	bool is_enabled;
	const char *endpoint;
};

static const struct xu_param integration_params[] = {
	{"backend_integration_enabled", XU_PARAM_BOOL, offsetof(struct integration, is_enabled)},
	{"backend_manager_endpoint", XU_PARAM_STRING, offsetof(struct integration, endpoint)},
	{0},
};

int config_check_integration(struct config_check *c, json_t *object)
{
	struct integration integration = {0};
	int rc = config_section(c, "integration", integration_params, &integration, object);

	if (rc == 0 && integration.is_enabled) {
		config_note(c,
			"integration.backend_integration_enabled: there is no manager of backends "
			"in "
			"this version");
	}
	return rc;
}
