/* SPDX-License-Identifier: BSD-3-Clause */
/* The section of finding targets: those that are named, other discovery controllers, the network.
 */
#include "daemon/xsan-registry/config_private.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/dhcp.h"
#include "lib/xregistry/pull.h"
#include "lib/xregistry/target.h"

struct discovery {
	bool is_enabled, has_mdns, has_multicast, has_dhcp;
	uint32_t interval_s, timeout_s, port, entries_max, forget_s, dhcp_option;
	bool follows_referrals;
	uint32_t referral_depth_max, referrals_max;
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
	{"follow_referrals", XU_PARAM_BOOL, offsetof(struct discovery, follows_referrals)},
	{"referral_depth_max", XU_PARAM_U32, offsetof(struct discovery, referral_depth_max),
		.min = 1, .max = XREG_REFERRAL_DEPTH_MAX},
	{"referrals_max", XU_PARAM_U32, offsetof(struct discovery, referrals_max), .min = 1,
		.max = XREG_REFERRED_MAX},
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

/* Another discovery controller. */
struct place {
	const char *address, *nqn;
	uint32_t port;
	bool is_persistent;
};

static const struct xu_param referral_params[] = {
	{"persistent", XU_PARAM_BOOL, offsetof(struct place, is_persistent)},
	{"address", XU_PARAM_STRING, offsetof(struct place, address), .is_required = true,
		.help = "the numeric address of a discovery controller"},
	{"port", XU_PARAM_U32, offsetof(struct place, port), .min = 1, .max = UINT16_MAX},
	{"nqn", XU_PARAM_STRING, offsetof(struct place, nqn)},
	{0},
};

/* Of controllers that are read: all but the first. */
static const struct xu_param *const place_params = &referral_params[1];

/* Each target of the list, as it would be registered. */
static int check_static(struct config_check *c, json_t *list)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xreg_parsed parsed;
	json_t *body;
	size_t i;

	if (!json_is_array(list)) {
		return config_fail(c, "discovery.static_targets",
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
int config_check_place(struct config_check *c, const char *list, size_t index, json_t *object,
	struct xreg_ddc *ret_ddc, bool *ret_is_persistent)
{
	struct place place = {.port = 8009, .is_persistent = true};
	char path[96];
	int rc;

	snprintf(path, sizeof(path), "%s[%zu]", list, index);
	rc = config_section(c, path, ret_is_persistent != NULL ? referral_params : place_params,
		&place, object);
	if (rc == 0) {
		rc = xreg_ddc_make(place.address, place.port, place.nqn, ret_ddc, c->err);
		if (rc != 0) {
			config_fail(c, path, rc);
		}
	}
	if (ret_is_persistent != NULL) {
		*ret_is_persistent = place.is_persistent;
	}
	return rc;
}

int config_check_list(struct config_check *c, const char *path, json_t *list, uint32_t max)
{
	if (!json_is_array(list)) {
		return config_fail(c, path,
			xu_error_set(c->err, -EINVAL,
				"a list [ … ] of discovery controllers is needed here"));
	}
	if (json_array_size(list) > max) {
		return config_fail(c, path,
			xu_error_set(
				c->err, -EINVAL, "there may be %u discovery controllers", max));
	}
	return 0;
}

static int check_controllers(struct config_check *c, json_t *list)
{
	static const char path[] = "discovery.discovery_controllers";
	int rc = config_check_list(c, path, list, XREG_DDCS_MAX);
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
		rc = rc != 0 ? rc
			     : config_check_place(
				       c, path, i, object, &c->config->controllers[i], NULL);
	}
	c->config->nr_controllers = (uint32_t)json_array_size(list);
	return rc;
}

static int check_multicast(struct config_check *c, const struct discovery *discovery)
{
	struct config *config = c->config;
	const char *member = "multicast_key_file";
	char path[64];
	int rc = 0;

	if (discovery->key_path != NULL && discovery->key_variable != NULL) {
		return config_fail(c, "discovery.multicast_key_env",
			xu_error_set(c->err, -EINVAL,
				"multicast_key_file is given too, and one key is enough"));
	}
	if (discovery->key_path != NULL || discovery->key_variable != NULL) {
		member = discovery->key_path != NULL ? member : "multicast_key_env";
		rc = xreg_mcast_key_read(discovery->key_path, discovery->key_variable,
			&config->multicast_key, c->err);
	}
	if (config->multicast_key != NULL) {
		snprintf(path, sizeof(path), "discovery.%s", member);
		json_object_set_new(config->effective, path, json_string(config->multicast_key));
	}
	config->multicast = (struct xreg_mcast_opts){.group = discovery->group,
		.port = (uint16_t)discovery->port,
		.interface = discovery->interface,
		.key = config->multicast_key};
	rc = rc != 0 ? rc : xreg_mcast_check(&config->multicast, &member, c->err);
	snprintf(path, sizeof(path), "discovery.%s", member);
	return rc != 0 ? config_fail(c, path, rc) : 0;
}

static int check_dhcp(struct config_check *c, const struct discovery *discovery)
{
	const char *interface = discovery->dhcp_interface;

	if (interface == NULL || interface[0] == '\0' || strlen(interface) >= IF_NAMESIZE) {
		return config_fail(c, "discovery.dhcp_interface",
			xu_error_set(c->err, -EINVAL,
				"the name of the interface is needed here by which the DHCP "
				"servers are asked, such as \"eth0\""));
	}
	c->config->dhcp_interface = interface;
	c->config->dhcp_option = (uint8_t)discovery->dhcp_option;
	return 0;
}

/* The ways of looking for targets in the network. */
static int check_search(struct config_check *c, json_t *object, const struct discovery *discovery)
{
	bool has_any = discovery->has_mdns || discovery->has_multicast || discovery->has_dhcp;
	int rc = discovery->has_multicast ? check_multicast(c, discovery) : 0;

	rc = rc == 0 && discovery->has_dhcp ? check_dhcp(c, discovery) : rc;
	c->config->finds_mdns = discovery->is_enabled && discovery->has_mdns;
	c->config->has_multicast = discovery->is_enabled && discovery->has_multicast;
	c->config->has_dhcp = discovery->is_enabled && discovery->has_dhcp;
	if (!has_any && json_is_true(json_object_get(object, "auto_discovery_enabled"))) {
		config_note(c,
			"discovery.auto_discovery_enabled: no way of searching the network is "
			"enabled; targets register themselves, or are in static_targets");
	}
	if (has_any && !discovery->is_enabled) {
		config_note(c,
			"discovery.auto_discovery_enabled is false: the network is not searched, "
			"whatever else is enabled");
	}
	return rc;
}

int config_check_discovery(struct config_check *c, json_t *object)
{
	struct discovery discovery = {.is_enabled = true,
		.interval_s = 60,
		.timeout_s = 5,
		.entries_max = 4096,
		.forget_s = 86400,
		.follows_referrals = true,
		.referral_depth_max = 4,
		.referrals_max = 64,
		.group = XREG_MCAST_GROUP,
		.port = XREG_MCAST_PORT,
		.dhcp_option = XREG_DHCP_OPTION};
	int rc = config_section(c, "discovery", discovery_params, &discovery, object);

	if (rc == 0 && discovery.targets != NULL) {
		rc = check_static(c, discovery.targets);
	}
	if (rc == 0 && discovery.controllers != NULL) {
		rc = check_controllers(c, discovery.controllers);
	}
	c->config->pull_entries_max = discovery.entries_max;
	c->config->pull_forget_s = discovery.forget_s;
	c->config->follows_referrals = discovery.follows_referrals && discovery.is_enabled;
	c->config->referral_depth_max = discovery.referral_depth_max;
	c->config->referrals_max = discovery.referrals_max;
	c->config->find_interval_s = discovery.interval_s;
	c->config->find_timeout_s = discovery.timeout_s;
	c->config->static_targets = discovery.targets;
	return rc == 0 ? check_search(c, object, &discovery) : rc;
}
