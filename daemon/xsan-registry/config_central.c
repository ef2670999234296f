/* SPDX-License-Identifier: BSD-3-Clause */
/* The section of the discovery controller. */
#include "daemon/xsan-registry/config_private.h"

#include <errno.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xnvmf/wire/nqn.h"

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

static int check_referrals(struct config_check *c, json_t *list)
{
	static const char path[] = "discovery_controller.referrals";
	int rc = config_check_list(c, path, list, XREG_REFERRALS_MAX);
	struct xreg_ddc ddc;
	json_t *object;
	size_t i;

	if (rc != 0) {
		return rc;
	}
	json_array_foreach (list, i, object) {
		struct xreg_referral *referral = &c->config->referrals[i];

		rc = config_check_place(c, path, i, object, &ddc, &referral->is_persistent);
		if (rc != 0) {
			return rc;
		}
		if (ddc.port == c->config->central_port &&
			strcmp(ddc.address, c->config->central_address) == 0) {
			return config_fail(c, path,
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

static void check_publishing(struct config_check *c, json_t *object, const struct central *central)
{
	struct config *config = c->config;

	config->is_publish_said = json_object_get(object, "publish_mdns") != NULL;
	config->publishes_mdns = central->is_published;
	if (!config->is_publish_said) {
		json_object_set_new(
			config->effective, "discovery_controller.publish_mdns", json_null());
	}
	if (central->is_published && !central->is_enabled) {
		config_note(c,
			"discovery_controller.publish_mdns: there is no discovery controller to "
			"announce");
	}
}

int config_check_central(struct config_check *c, json_t *object)
{
	struct central central = {.is_enabled = true,
		.takes_kick_starts = true,
		.address = "127.0.0.1",
		.port = 8009,
		.nr_connections = 20000};
	struct sockaddr_storage addr;
	int rc = config_section(c, "discovery_controller", central_params, &central, object);

	if (rc == 0 && xr_address_parse(central.address, 0, &addr) < 0) {
		return config_fail(c, "discovery_controller.listen_address",
			xu_error_set(
				c->err, -EINVAL, "'%.64s' is no numeric address", central.address));
	}
	if (rc == 0 && central.advertise != NULL &&
		(xr_address_parse(central.advertise, 0, &addr) < 0 ||
			xr_address_is_wildcard(central.advertise))) {
		return config_fail(c, "discovery_controller.advertise_address",
			xu_error_set(c->err, -EINVAL,
				"'%.64s' is no numeric address of one machine", central.advertise));
	}
	if (rc == 0 && central.nqn != NULL && xnvmf_nqn_check(central.nqn, c->err) != 0) {
		return config_fail(c, "discovery_controller.nqn", -EINVAL);
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
