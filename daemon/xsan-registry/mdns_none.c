/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without Avahi: who asks for mDNS by name is told so. */
#include <errno.h>
#include <stddef.h>

#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/mdns.h"
#include "lib/util/error.h"

int mdns_part_start(
	const struct mdns_part_opts *opts, struct mdns_part **ret_part, struct xu_error *err)
{
	const struct config *config = opts->config;

	*ret_part = NULL;
	if (!config->finds_mdns && !config->is_publish_asked) {
		return 0;
	}
	return xu_error_set(err, -ENOSYS,
		"%s: this xsan-registry was built without mDNS; leave it out, or build with "
		"libavahi-client",
		config->finds_mdns ? "discovery.enable_mdns" : "discovery_controller.publish_mdns");
}

void mdns_part_quiesce(struct mdns_part *part)
{
}

void mdns_part_stop(struct mdns_part *part)
{
}
