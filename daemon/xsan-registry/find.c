/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A start is a change from nothing: each method whose settings are others is made anew on the side,
 * which may fail, and then takes the place of the one before, which cannot. What a method has found
 * stays when it is switched off, as it does over a restart.
 */
#include "daemon/xsan-registry/find.h"

#include <errno.h>
#include <string.h>

#include "daemon/xsan-registry/central.h"
#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/mdns.h"
#include "daemon/xsan-registry/registry_private.h"
#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/ddc.h"
#include "lib/xregistry/find_dhcp.h"
#include "lib/xregistry/find_multicast.h"
#include "lib/xregistry/finder.h"
#include "lib/xregistry/pull.h"

/* Whether a member whose name begins so says something else than what is in use. */
static bool differs(
	const struct registry *registry, const struct config *config, const char *prefix)
{
	const char *name;
	json_t *value;

	json_object_foreach (config->effective, name, value) {
		if (strncmp(name, prefix, strlen(prefix)) == 0 &&
			!json_equal(value, json_object_get(registry->running, name))) {
			return true;
		}
	}
	return false;
}

/* ---- mDNS ---- */

/* What is in use of the discovery controller, whatever the file says now. */
static const char *central_text(const struct registry *registry, const char *name)
{
	return json_string_value(json_object_get(registry->running, name));
}

/* What only this machine reaches is announced to others when it is asked for, else not. */
static bool is_published(const struct registry *registry, const struct config *config)
{
	if (registry->central == NULL) {
		return false;
	}
	return config->is_publish_said ? config->publishes_mdns
				       : !xr_address_is_loopback(central_text(
						 registry, "discovery_controller.listen_address"));
}

/* It stays from when it is first wanted on, and is idle when it is not. */
static int prepare_mdns(
	struct registry *registry, const struct config *config, struct xu_error *err)
{
	const char *address = central_text(registry, "discovery_controller.listen_address");
	const char *advertise = central_text(registry, "discovery_controller.advertise_address");
	struct mdns_part_opts opts = {.ddcs = registry->ddcs,
		.finder = registry->finder,
		.address = advertise != NULL ? advertise : address,
		.is_local = xr_address_is_loopback(
			registry->central != NULL ? address : registry->address),
		.log = registry->log};
	int rc = mdns_part_check(config, err);

	if (rc != 0 || registry->mdns != NULL ||
		(!config->finds_mdns && !is_published(registry, config))) {
		return rc;
	}
	if (registry->central != NULL) {
		opts.nqn = central_nqn(registry->central);
		opts.port = central_port(registry->central);
	}
	return mdns_part_start(&opts, &registry->mdns, err);
}

/* ---- multicast and DHCP ---- */

static int prepare_multicast(struct registry *registry, const struct config *config,
	struct find_change *change, struct xu_error *err)
{
	int rc;

	change->has_multicast =
		config->has_multicast != registry->has_multicast ||
		(config->has_multicast && differs(registry, config, "discovery.multicast_"));
	if (!change->has_multicast || !config->has_multicast) {
		return 0;
	}
	rc = xreg_find_multicast_new(&config->multicast, registry->log, &change->multicast);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "preparing to find targets by multicast");
}

static int prepare_dhcp(struct registry *registry, const struct config *config,
	struct find_change *change, struct xu_error *err)
{
	const struct xreg_find_dhcp_opts opts = {.interface = config->dhcp_interface,
		.option = config->dhcp_option,
		.ddcs = registry->ddcs};
	int rc;

	change->has_dhcp = config->has_dhcp != registry->has_dhcp ||
			   (config->has_dhcp && differs(registry, config, "discovery.dhcp_"));
	if (!change->has_dhcp || !config->has_dhcp) {
		return 0;
	}
	rc = xreg_find_dhcp_new(&opts, &change->dhcp);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "preparing to find targets by DHCP");
}

int find_prepare(struct registry *registry, const struct config *config,
	struct find_change *ret_change, struct xu_error *err)
{
	struct find_change change = {.has_multicast = false};
	int rc = prepare_mdns(registry, config, err);

	rc = rc != 0 ? rc : prepare_multicast(registry, config, &change, err);
	rc = rc != 0 ? rc : prepare_dhcp(registry, config, &change, err);
	if (rc != 0) {
		find_discard(&change);
		return rc;
	}
	*ret_change = change;
	return 0;
}

void find_discard(struct find_change *change)
{
	if (change->multicast != NULL) {
		xreg_find_multicast.fini(change->multicast);
	}
	if (change->dhcp != NULL) {
		xreg_find_dhcp.fini(change->dhcp);
	}
	*change = (struct find_change){.has_multicast = false};
}

/* ---- taking it ---- */

/* Takes `arg`, which is NULL when the method is to go. */
static void put(struct registry *registry, const struct xreg_find_method *method, void *arg)
{
	struct xu_error err;

	if (arg == NULL) {
		xreg_finder_remove(registry->finder, method->name);
	} else if (xreg_finder_add(registry->finder, method, arg, &err) != 0) {
		xu_err(registry->log, "%s", err.text);
		method->fini(arg);
	}
}

/* None of it can fail. */
static void take_methods(
	struct registry *registry, const struct config *config, struct find_change *change)
{
	if (registry->mdns != NULL) {
		mdns_part_set(registry->mdns, config->finds_mdns, is_published(registry, config));
	}
	if (change->has_multicast) {
		put(registry, &xreg_find_multicast, change->multicast);
		registry->has_multicast = config->has_multicast;
	}
	if (change->has_dhcp) {
		put(registry, &xreg_find_dhcp, change->dhcp);
		registry->has_dhcp = config->has_dhcp;
	}
	if (change->has_dhcp && !config->has_dhcp) {
		xreg_ddcs_replace(registry->ddcs, XREG_DDC_DHCP, NULL, 0);
	}
	*change = (struct find_change){.has_multicast = false};
}

static void list_controllers(struct registry *registry, const struct config *config)
{
	uint32_t count = xreg_ddcs_replace(
		registry->ddcs, XREG_DDC_STATIC, config->controllers, config->nr_controllers);

	if (count < config->nr_controllers) {
		xu_warn(registry->log,
			"%u of discovery.discovery_controllers are this registry itself, or there "
			"twice, and are not read",
			config->nr_controllers - count);
	}
}

void find_take(struct registry *registry, const struct config *config, struct find_change *change)
{
	const struct xreg_pull_limits limits = config_pull_limits(config);

	take_methods(registry, config, change);
	xreg_finder_set(registry->finder, config->find_interval_s, config->find_timeout_s);
	xreg_pull_set(registry->pull, &limits);
	list_controllers(registry, config);
	if (differs(registry, config, "discovery.static_targets")) {
		if (xreg_find_static_set(registry->static_targets, config->static_targets) != 0) {
			xu_err(registry->log, "discovery.static_targets: no memory");
		}
		xreg_finder_kick(registry->finder);
	}
}

/* ---- the start ---- */

static json_t *pull_json(void *arg)
{
	return xreg_pull_json(arg);
}

static void kick_pull(void *arg)
{
	xreg_pull_kick(arg);
}

static int add_static(struct registry *registry, const struct config *config, struct xu_error *err)
{
	/* Also when it is empty: a reload may fill it. */
	if (xreg_find_static_new(config->static_targets, &registry->static_targets) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "preparing to find targets");
	}
	return xreg_finder_add(registry->finder, &xreg_find_static, registry->static_targets, err);
}

static int start_pull(struct registry *registry, const struct config *config, struct xu_error *err)
{
	xreg_ddcs_set_own(registry->ddcs, registry->nqn, config->central_address,
		registry->central != NULL ? central_port(registry->central) : 0);
	list_controllers(registry, config);
	return xreg_pull_start(registry->pull, err);
}

static int start_finder(
	struct registry *registry, const struct config *config, struct xu_error *err)
{
	const struct xreg_finder_opts opts = {.store = registry->store,
		.interval_s = config->find_interval_s,
		.timeout_s = config->find_timeout_s,
		.log = registry->log};
	const struct xreg_find_other pull = {
		.json = pull_json, .kick = kick_pull, .arg = registry->pull};
	struct find_change change;
	int rc = xreg_finder_new(&opts, &registry->finder, err);

	if (rc == 0) {
		xreg_finder_set_other(registry->finder, &pull);
		rc = add_static(registry, config, err);
	}
	rc = rc == 0 ? find_prepare(registry, config, &change, err) : rc;
	if (rc == 0) {
		take_methods(registry, config, &change);
		rc = xreg_finder_start(registry->finder, err);
	}
	return rc;
}

int find_start(struct registry *registry, const struct config *config, struct xu_error *err)
{
	int rc = start_pull(registry, config, err);

	return rc == 0 ? start_finder(registry, config, err) : rc;
}
