/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without Avahi: who asks for mDNS by name is told so, and nobody else starts it. */
#include <errno.h>

#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/mdns.h"
#include "lib/util/error.h"

int mdns_part_check(const struct config *config, struct xu_error *err)
{
	if (!config->finds_mdns &&
		!(config->has_central && config->is_publish_said && config->publishes_mdns)) {
		return 0;
	}
	return xu_error_set(err, -ENOSYS,
		"%s: this xsan-registry was built without mDNS; leave it out, or build with "
		"libavahi-client",
		config->finds_mdns ? "discovery.enable_mdns" : "discovery_controller.publish_mdns");
}

int mdns_part_start(
	const struct mdns_part_opts *opts, struct mdns_part **ret_part, struct xu_error *err)
{
	*ret_part = NULL;
	return 0;
}

void mdns_part_set(struct mdns_part *part, bool is_looking, bool is_published)
{
}

void mdns_part_quiesce(struct mdns_part *part)
{
}

void mdns_part_stop(struct mdns_part *part)
{
}
