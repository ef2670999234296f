/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's mDNS as the configuration says: a method of its finder, and the announcement of
 * its discovery controller; mdns_none.c in builds without Avahi. */
#ifndef XSAN_REGISTRY_MDNS_H
#define XSAN_REGISTRY_MDNS_H

#include <stdint.h>

struct central;
struct config;
struct mdns_part;
struct xreg_ddcs;
struct xreg_finder;
struct xu_error;
struct xu_logger;

struct mdns_part_opts {
	const struct config *config;
	struct xreg_ddcs *ddcs;        /* gets the discovery controllers that are found */
	struct xreg_finder *finder;    /* gets the method; not started yet */
	const struct central *central; /* what is announced: it listens; NULL: there is none */
	struct xu_logger *log;
};

/* *ret_part is NULL where the configuration does not ask for it. */
int mdns_part_start(
	const struct mdns_part_opts *opts, struct mdns_part **ret_part, struct xu_error *err);
/* Withdraws the announcement; before the discovery controller ends. NULL is fine. */
void mdns_part_quiesce(struct mdns_part *part);
/* After the finder has ended. NULL is fine. */
void mdns_part_stop(struct mdns_part *part);

#endif
