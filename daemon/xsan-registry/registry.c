/* SPDX-License-Identifier: BSD-3-Clause */
/* Start and end of the registry; see registry.h for the order and why. */
#include "daemon/xsan-registry/registry_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/xsan-registry/alerts.h"
#include "daemon/xsan-registry/central.h"
#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/find.h"
#include "daemon/xsan-registry/grpc.h"
#include "daemon/xsan-registry/mdns.h"
#include "lib/util/log.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/ddc.h"
#include "lib/xregistry/drain.h"
#include "lib/xregistry/finder.h"
#include "lib/xregistry/health_log.h"
#include "lib/xregistry/monitor.h"
#include "lib/xregistry/pull.h"
#include "lib/xregistry/rest/rest.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/wait.h"
#include "lib/xregistry/zone.h"

#define HEALTH_KEPT 4096u /* what the health monitor has told */

/* Makes a directory and those above it. */
static int make_dirs(const char *path, struct xu_error *err)
{
	char *copy = strdup(path);
	int rc = copy == NULL ? -ENOMEM : 0;

	for (char *at = copy; rc == 0 && at != NULL;) {
		at = strchr(at + 1, '/');
		if (at != NULL) {
			*at = '\0';
		}
		if (mkdir(copy, 0750) != 0 && errno != EEXIST) {
			rc = -errno;
		}
		if (at != NULL) {
			*at = '/';
		}
	}
	free(copy);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "making the data directory %s", path);
}

static int start_logs(struct registry *registry, const struct config *config, struct xu_error *err)
{
	struct xu_log_opts audit = config->log;
	int rc = xu_logger_new(&config->log, &registry->log, err);

	if (rc == 0 && config->audit_path != NULL) {
		audit.target = XU_LOG_TO_FILE;
		audit.path = config->audit_path;
		audit.level = XU_LOG_INFO;
		rc = xu_logger_new(&audit, &registry->audit, err);
	}
	if (rc != 0) {
		return rc;
	}
	/* Before anything is served: who gets an answer finds them in the log. */
	for (const char *const *note = config->notes; *note != NULL; note++) {
		xu_warn(registry->log, "%s", *note);
	}
	return 0;
}

static void on_zones_changed(void *arg)
{
	struct registry *registry = arg;

	if (registry->central != NULL) {
		central_zones_changed(registry->central);
	}
}

static int start_core(struct registry *registry, const struct config *config, struct xu_error *err)
{
	const struct xreg_store_opts opts = {.backend = config->backend,
		.where = config->connection,
		.nr_targets_max = config->nr_targets_max,
		.nr_events_kept = config->nr_events_kept,
		.log = registry->log};
	int rc = make_dirs(config->data_dir, err);

	if (rc == 0) {
		rc = xreg_store_open(&opts, &registry->store, err);
	}
	if (rc == 0) {
		rc = xreg_zones_open(registry->store, config->data_dir, on_zones_changed, registry,
			&registry->zones, err);
	}
	if (rc == 0) {
		rc = xreg_waits_start(registry->store, &registry->waits, err);
	}
	if (rc == 0) {
		rc = xreg_drains_new(registry->store, registry->waits, &registry->drains, err);
	}
	if (rc == 0) {
		rc = xreg_balancer_new(&config->balancer, &registry->balancer);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "preparing to choose targets");
		}
	}
	return rc;
}

/* Takes kick-starts, but reads nobody before the discovery controller's own place is known. */
static int make_pull(struct registry *registry, const struct config *config, struct xu_error *err)
{
	struct xreg_pull_opts opts = {.store = registry->store,
		.log = registry->log,
		.nqn = registry->nqn,
		.nr_targets_max = config->nr_targets_max,
		.limits = config_pull_limits(config)};
	int rc = central_name(config->central_nqn, config->data_dir, registry->nqn, err);

	if (rc == 0) {
		rc = xreg_ddcs_new(&registry->ddcs);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "listing discovery controllers");
		}
	}
	opts.ddcs = registry->ddcs;
	return rc == 0 ? xreg_pull_new(&opts, &registry->pull, err) : rc;
}

static int start_central(
	struct registry *registry, const struct config *config, struct xu_error *err)
{
	const struct central_opts opts = {.address = config->central_address,
		.port = config->central_port,
		.advertise = config->central_advertise,
		.nqn = registry->nqn,
		.nr_connections_max = config->central_connections_max,
		.referrals = config->referrals,
		.nr_referrals = config->nr_referrals,
		.pull = config->takes_kick_starts ? registry->pull : NULL,
		.store = registry->store,
		.zones = registry->zones,
		.log = registry->log};
	int rc = config->has_central ? central_start(&opts, &registry->central, err) : 0;

	if (rc == 0 && config->has_central) {
		xu_info(registry->log, "discovery controller %s on %s port %u",
			central_nqn(registry->central), config->central_address,
			central_port(registry->central));
	}
	return rc;
}

static int start_monitor(
	struct registry *registry, const struct config *config, struct xu_error *err)
{
	struct xreg_monitor_opts opts = {.store = registry->store,
		.config = &config->health,
		.log = registry->log,
		.fn = xreg_health_log_add};

	if (xreg_health_log_new(HEALTH_KEPT, &registry->health_log) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "starting the health monitor");
	}
	opts.arg = registry->health_log;
	return xreg_monitor_start(&opts, &registry->monitor, err);
}

static int start_alerts(
	struct registry *registry, const struct config *config, struct xu_error *err)
{
	const struct alerts_part_opts opts = {.config = config,
		.store = registry->store,
		.monitor = registry->monitor,
		.log = registry->log};

	return alerts_part_start(&opts, &registry->alerts, err);
}

static int start_grpc(struct registry *registry, const struct config *config, struct xu_error *err)
{
	const struct grpc_part_opts opts = {.config = config,
		.store = registry->store,
		.drains = registry->drains,
		.balancer = registry->balancer,
		.monitor = registry->monitor,
		.health_log = registry->health_log,
		.access = registry->access,
		.log = registry->log,
		.audit_log = registry->audit};
	int rc = grpc_part_start(&opts, &registry->grpc, err);

	if (rc == 0 && registry->grpc != NULL) {
		xu_info(registry->log, "gRPC on %s port %u", config->http.address,
			grpc_part_port(registry->grpc));
	}
	return rc;
}

static int ask_hosts(void *arg, void (*done)(void *done_arg, json_t *hosts), void *done_arg)
{
	return central_hosts(arg, done, done_arg);
}

static void judge(void *arg, struct xreg_health_config *ret_config)
{
	xreg_monitor_config(((const struct registry *)arg)->monitor, ret_config);
}

void registry_look_at_lead(struct registry *registry)
{
	bool leads = xreg_store_leads(registry->store);
	uint32_t nr_resumed = 0;

	if (leads && !registry->has_led) {
		nr_resumed = xreg_drains_resume(registry->drains);
	}
	if (nr_resumed != 0) {
		xu_info(registry->log, "%u targets are drained on", nr_resumed);
	}
	registry->has_led = leads;
}

static int start_services(
	struct registry *registry, const struct config *config, struct xu_error *err)
{
	struct xrpc_http_opts http = config->http;
	struct xreg_rest_opts rest = {.store = registry->store,
		.waits = registry->waits,
		.drains = registry->drains,
		.balancer = registry->balancer,
		.zones = registry->zones,
		.health = judge,
		.health_arg = registry,
		.reload = reload_ask,
		.reload_arg = registry,
		.http = &http,
		.log = registry->log,
		.audit_log = registry->audit};
	int rc = make_pull(registry, config, err);

	if (rc == 0) {
		rc = start_central(registry, config, err);
	}
	if (rc == 0) {
		rc = start_monitor(registry, config, err);
	}
	if (rc == 0) {
		rc = start_alerts(registry, config, err);
	}
	if (rc == 0) {
		rc = find_start(registry, config, err);
	}
	if (rc == 0) {
		rc = start_grpc(registry, config, err);
	}

	if (rc != 0) {
		return rc;
	}
	if (registry->central != NULL) {
		rest.hosts = ask_hosts;
		rest.hosts_arg = registry->central;
	}
	rest.monitor = registry->monitor;
	rest.health_log = registry->health_log;
	rest.finder = registry->finder;
	rest.alerts = alerts_part_alerts(registry->alerts);
	http.log = registry->log;
	http.access = registry->access;
	http.pem = registry->pem.cert != NULL ? &registry->pem : NULL;
	registry_look_at_lead(registry);
	rc = xreg_rest_start(&rest, &registry->rest, err);
	if (rc == 0) {
		alerts_part_set_rest(registry->alerts, registry->rest);
		xreg_zones_follow(registry->zones);
	}
	return rc;
}

int registry_start(
	const struct config *config, struct registry **ret_registry, struct xu_error *err)
{
	struct registry *registry = calloc(1, sizeof(*registry));
	struct xreg_view *view;
	int rc;

	if (registry == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the registry");
	}
	registry->reload_fd = -1;
	pthread_mutex_init(&registry->mutex, NULL);
	rc = start_logs(registry, config, err);
	if (rc == 0) {
		rc = reload_init(registry, config, err);
	}
	if (rc == 0) {
		rc = start_core(registry, config, err);
	}
	if (rc == 0) {
		rc = start_services(registry, config, err);
	}
	if (rc != 0) {
		registry_stop(registry);
		return rc;
	}
	view = xreg_store_view(registry->store);
	xu_info(registry->log,
		"registry of %u targets at revision %llu, data in %s, REST on %s://%s:%u",
		xreg_view_count(view), (unsigned long long)xreg_view_revision(view),
		config->connection, config->cert_path != NULL ? "https" : "http",
		config->http.address, xreg_rest_port(registry->rest));
	xreg_view_unref(view);
	*ret_registry = registry;
	return 0;
}

void registry_stop(struct registry *registry)
{
	if (registry == NULL) {
		return;
	}
	if (registry->rest != NULL) {
		xreg_rest_quiesce(registry->rest);
		registry_answer_reloads(registry, NULL,
			&(struct xu_error){.code = -ESHUTDOWN, .text = "the registry stops"});
	}
	grpc_part_quiesce(registry->grpc);
	if (registry->waits != NULL) {
		xreg_waits_end(registry->waits);
	}
	xreg_drains_free(registry->drains);
	if (registry->zones != NULL) {
		xreg_zones_unfollow(registry->zones);
	}
	mdns_part_quiesce(registry->mdns);
	central_stop(registry->central);
	registry->central = NULL;
	grpc_part_stop(registry->grpc);
	if (registry->alerts != NULL) {
		alerts_part_set_rest(registry->alerts, NULL);
	}
	xreg_rest_stop(registry->rest);
	alerts_part_stop(registry->alerts);
	xreg_monitor_stop(registry->monitor);
	xreg_finder_free(registry->finder);
	mdns_part_stop(registry->mdns);
	xreg_pull_free(registry->pull);
	xreg_ddcs_free(registry->ddcs);
	xreg_waits_stop(registry->waits);
	xreg_zones_close(registry->zones);
	xreg_store_close(registry->store);
	xreg_balancer_free(registry->balancer);
	xreg_health_log_free(registry->health_log);
	reload_fini(registry);
	xu_logger_free(registry->audit);
	xu_logger_free(registry->log);
	pthread_mutex_destroy(&registry->mutex);
	free(registry);
}

struct xu_logger *registry_log(struct registry *registry)
{
	return registry->log;
}

uint16_t registry_port(const struct registry *registry)
{
	return xreg_rest_port(registry->rest);
}
