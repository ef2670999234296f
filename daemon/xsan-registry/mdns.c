/* SPDX-License-Identifier: BSD-3-Clause */
/* What is found and announced is for lib/xregistry/mdns; this is its place in the registry. */
#include "daemon/xsan-registry/mdns.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/xsan-registry/config.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/mdns/mdns.h"

struct mdns_part {
	struct xreg_mdns *mdns;
	struct xreg_finder *finder;
	struct xu_logger *log;
	bool is_looking;
};

static void on_change(void *arg)
{
	struct mdns_part *part = arg;

	xreg_finder_wake(part->finder, part->mdns);
}

int mdns_part_check(const struct config *config, struct xu_error *err)
{
	return 0;
}

int mdns_part_start(
	const struct mdns_part_opts *opts, struct mdns_part **ret_part, struct xu_error *err)
{
	struct xreg_mdns_opts mdns = {.ddcs = opts->ddcs,
		.changed = on_change,
		.nqn = opts->nqn,
		.address = opts->address,
		.port = opts->port,
		.is_local = opts->is_local,
		.log = opts->log};
	struct mdns_part *part = calloc(1, sizeof(*part));
	int rc;

	if (part == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting mDNS");
	}
	part->finder = opts->finder;
	part->log = opts->log;
	mdns.arg = part;
	rc = xreg_mdns_new(&mdns, &part->mdns, err);
	rc = rc == 0 ? xreg_mdns_start(part->mdns, err) : rc;
	if (rc != 0) {
		mdns_part_stop(part);
		return rc;
	}
	*ret_part = part;
	return 0;
}

void mdns_part_set(struct mdns_part *part, bool is_looking, bool is_published)
{
	struct xu_error err;

	xreg_mdns_set(part->mdns, is_looking, is_published);
	if (is_looking && !part->is_looking &&
		xreg_finder_add(part->finder, &xreg_find_mdns, part->mdns, &err) != 0) {
		xu_err(part->log, "%s", err.text);
	}
	if (!is_looking && part->is_looking) {
		xreg_finder_remove(part->finder, xreg_find_mdns.name);
	}
	part->is_looking = is_looking;
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
