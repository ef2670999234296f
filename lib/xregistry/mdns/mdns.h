/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mDNS through Avahi: finds discovery controllers and targets that are announced as
 * _nvme-disc._tcp, and announces this registry's own discovery controller. One thread, one client
 * of avahi-daemon. That daemon may be missing, end and come back at any time: what was found stays
 * until it has been looked for again, and what is announced is announced again.
 */
#ifndef LIB_XREGISTRY_MDNS_MDNS_H
#define LIB_XREGISTRY_MDNS_MDNS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/finder.h"

struct xreg_ddcs;
struct xreg_mdns;

#define XREG_MDNS_SERVICES_MAX 512u /* that are followed; the rest is left alone */

struct xreg_mdns_opts {
	struct xreg_ddcs *ddcs; /* gets what is found, source mdns */
	/* Targets have come, changed or gone: the method wants to be asked. Called on its thread,
	 * not after xreg_mdns_stop(). */
	void (*changed)(void *arg);
	void *arg;
	/* What may be announced; copied. NULL: nothing. What has this name is not found either. */
	const char *nqn;
	/* Where it is reached: numeric, 0.0.0.0 or :: for all addresses of this machine. */
	const char *address;
	uint16_t port;
	bool is_local; /* only this machine asks the registry: its loopback addresses are fine */
	struct xu_logger *log;
};

/* Makes one that looks for nothing and announces nothing. -ENOMEM. */
int xreg_mdns_new(
	const struct xreg_mdns_opts *opts, struct xreg_mdns **ret_mdns, struct xu_error *err);
/* Whether there is an avahi-daemon does not matter. -EAGAIN. */
int xreg_mdns_start(struct xreg_mdns *mdns, struct xu_error *err);
/* Whether it looks, and whether it announces, from now on. When it does not look any more it knows
 * of nothing, names no discovery controllers, and its method says -ECANCELED. Any thread, one at a
 * time. */
void xreg_mdns_set(struct xreg_mdns *mdns, bool is_looking, bool is_published);
/* Nothing is announced or looked for any more, nobody is called. An avahi-daemon that hangs is
 * waited for a few seconds, then left behind with what belongs to it. NULL is fine, and so is one
 * that was not started. */
void xreg_mdns_stop(struct xreg_mdns *mdns);
/* After it, and after the finder has ended. NULL is fine. */
void xreg_mdns_free(struct xreg_mdns *mdns);

/* {"daemon": "running" or "missing"…, "services", "ignored", "published": name or null,
 * "discovery_controllers": [{"address", "port", "nqn"}…]}. New reference. Any thread. */
json_t *xreg_mdns_json(struct xreg_mdns *mdns);

/* The method; its argument is the struct xreg_mdns, which stays the caller's. */
extern const struct xreg_find_method xreg_find_mdns;

#endif
