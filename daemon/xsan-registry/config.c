/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the registry's configuration. Each section is a table of parameters that fills a struct
 * which holds the defaults; then what belongs together is checked. Nothing is touched before all of
 * it is good. What the document has and this version cannot do is refused by name where leaving it
 * out would change what a user may rely on, and noted where it would not.
 *
 * This file has the document and what all sections need; each section is in a file of its own.
 */
#include "daemon/xsan-registry/config_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/util/error.h"
#include "lib/xbdev/config/text.h"

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

int config_fail(struct config_check *c, const char *path, int rc)
{
	snprintf(c->path, sizeof(c->path), "%s", path);
	return rc;
}

void config_note(struct config_check *c, const char *text)
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
static void keep(
	struct config_check *c, const char *path, const struct xu_param *params, const void *opts)
{
	char name[XU_PARAM_PATH_SIZE];

	for (; params->name != NULL; params++) {
		snprintf(name, sizeof(name), "%s.%s", path, params->name);
		json_object_set_new(c->config->effective, name, value_of(params, opts));
	}
}

int config_section(struct config_check *c, const char *path, const struct xu_param *params,
	void *opts, json_t *object)
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

/* The first line of a file. */
int config_read_secret(const char *path, char **ret_text, struct xu_error *err)
{
	char text[CONFIG_SECRET_MAX + 2];
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

static int check_document(struct config_check *c, const char *data_dir)
{
	struct document doc = {0};
	int rc = config_section(c, "", document_params, &doc, c->config->root);

	rc = rc != 0 ? rc : config_check_service(c, doc.service, data_dir);
	rc = rc != 0 ? rc : config_check_discovery(c, doc.discovery);
	rc = rc != 0 ? rc : config_check_alerts(c, doc.alerts);
	rc = rc != 0 ? rc : config_check_central(c, doc.central);
	rc = rc != 0 ? rc : config_check_health(c, doc.health, doc.failover);
	rc = rc != 0 ? rc : config_check_balancer(c, doc.load_balancer);
	rc = rc != 0 ? rc : config_check_integration(c, doc.integration);
	rc = rc != 0 ? rc : config_check_security(c, doc.security);
	rc = rc != 0 ? rc : config_check_logging(c, doc.logging);
	return rc != 0 ? rc : config_check_persistence(c, doc.persistence);
}

int config_read(
	const char *path, const char *data_dir, struct config **ret_config, struct xu_error *err)
{
	struct config *config = calloc(1, sizeof(*config));
	struct config_check c = {.config = config, .err = err};
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
		.forget_s = config->pull_forget_s,
		.follows_referrals = config->follows_referrals,
		.referral_depth_max = config->referral_depth_max,
		.nr_referrals_max = config->referrals_max};
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
