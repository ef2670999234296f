/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry as a central discovery controller: a target of lib/xnvmf with a thread of its own,
 * on which everything of it happens. All calls here are for other threads.
 */
#ifndef XSAN_REGISTRY_CENTRAL_H
#define XSAN_REGISTRY_CENTRAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/discovery.h"

struct central;
struct xreg_pull;
struct xreg_store;
struct xu_error;
struct xreg_zones;
struct xu_logger;

struct central_opts {
	const char *address;   /* numeric */
	uint16_t port;         /* 0: any */
	const char *advertise; /* address that hosts are told; NULL: that which they came by */
	const char *nqn;       /* see central_name() */
	uint32_t nr_connections_max;
	const struct xreg_referral *referrals;
	uint32_t nr_referrals;
	struct xreg_pull *pull;   /* takes kick-starts; must live longer; NULL: nobody does */
	struct xreg_store *store; /* must live longer */
	struct xreg_zones *zones; /* who sees what; must live longer */
	struct xu_logger *log;
};

/* The name of the registry as a discovery controller, which is the same after a restart: `given`,
 * or one that is made once and kept in `data_dir` when that is NULL. -errno with a sentence. */
int central_name(const char *given, const char *data_dir, char name[XNVMF_NQN_MAX + 1],
	struct xu_error *err);

/* Listens from now on. -EADDRINUSE and others with a sentence. */
int central_start(
	const struct central_opts *opts, struct central **ret_central, struct xu_error *err);
/* Ends all connections. NULL is fine. */
void central_stop(struct central *central);

const char *central_nqn(const struct central *central);
uint16_t central_port(const struct central *central);

/* What xreg_zones_may_see() says has changed. */
void central_zones_changed(struct central *central);

/* Who is connected and who has registered itself: {"connected": [...], "registered": [...]}. Later,
 * on the central's thread, which gives the reference away. NULL: it ends. -ENOMEM. */
int central_hosts(struct central *central, void (*done)(void *arg, json_t *hosts), void *arg);

#endif
