/* SPDX-License-Identifier: BSD-3-Clause */
/* What is found and announced is for lib/xregistry/mdns; this says what the configuration wants. */
#include "daemon/xsan-registry/mdns.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/xsan-registry/central.h"
#include "daemon/xsan-registry/config.h"
#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "lib/xregistry/mdns/mdns.h"

struct mdns_part {
	struct xreg_mdns *mdns;
	struct xreg_finder *finder;
};

static void on_change(void *arg)
{
	struct mdns_part *part = arg;

	xreg_finder_wake(part->finder, part->mdns);
}

int mdns_part_start(
	const struct mdns_part_opts *opts, struct mdns_part **ret_part, struct xu_error *err)
{
	const struct config *config = opts->config;
	struct xreg_mdns_opts mdns = {.ddcs = config->finds_mdns ? opts->ddcs : NULL,
		.changed = on_change,
		.address = config->central_advertise != NULL ? config->central_advertise
							     : config->central_address,
		.is_local = xr_address_is_loopback(
			config->has_central ? config->central_address : config->http.address),
		.log = opts->log};
	struct mdns_part *part;
	int rc;

	*ret_part = NULL;
	if (opts->central != NULL) {
		mdns.nqn = central_nqn(opts->central);
		mdns.port = central_port(opts->central);
		mdns.is_published = config->publishes_mdns;
	}
	if (mdns.ddcs == NULL && !mdns.is_published) {
		return 0;
	}
	part = calloc(1, sizeof(*part));
	if (part == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting mDNS");
	}
	part->finder = opts->finder;
	mdns.arg = part;
	rc = xreg_mdns_new(&mdns, &part->mdns, err);
	if (rc == 0 && mdns.ddcs != NULL) {
		rc = xreg_finder_add(opts->finder, &xreg_find_mdns, part->mdns, err);
	}
	rc = rc == 0 ? xreg_mdns_start(part->mdns, err) : rc;
	*ret_part = part; /* also when it has failed: the finder may have the method */
	return rc;
}

void mdns_part_quiesce(struct mdns_part *part)
{
	if (part != NULL) {
		xreg_mdns_stop(part->mdns);
	}
}

void mdns_part_stop(struct mdns_part *part)
{
	if (part != NULL) {
		xreg_mdns_free(part->mdns);
		free(part);
	}
}
