/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's mDNS: a method of its finder, and the announcement of its discovery controller;
 * mdns_none.c in builds without Avahi. Main thread. */
#ifndef XSAN_REGISTRY_MDNS_H
#define XSAN_REGISTRY_MDNS_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct mdns_part;
struct xreg_ddcs;
struct xreg_finder;
struct xu_error;
struct xu_logger;

/* Whether this build can do what a configuration asks for by name; -ENOSYS with a sentence. */
int mdns_part_check(const struct config *config, struct xu_error *err);

struct mdns_part_opts {
	struct xreg_ddcs *ddcs;     /* gets the discovery controllers that are found */
	struct xreg_finder *finder; /* gets the method */
	const char *nqn;            /* of the discovery controller; NULL: there is none */
	const char *address;        /* where it is reached */
	uint16_t port;
	bool is_local; /* only this machine asks the registry */
	struct xu_logger *log;
};

/* Begins without looking or announcing. *ret_part is NULL in a build without. */
int mdns_part_start(
	const struct mdns_part_opts *opts, struct mdns_part **ret_part, struct xu_error *err);
/* What is done from now on. */
void mdns_part_set(struct mdns_part *part, bool is_looking, bool is_published);
/* Withdraws the announcement; before the discovery controller ends. NULL is fine. */
void mdns_part_quiesce(struct mdns_part *part);
/* After the finder has ended. NULL is fine. */
void mdns_part_stop(struct mdns_part *part);

#endif
