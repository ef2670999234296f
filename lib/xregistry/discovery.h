/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry as a central discovery controller: what a target of lib/xnvmf (its discovery.h)
 * shows, taken from the store. Every call here is for the target's control reactor.
 *
 * Each host has a sight of the store: all targets, or those that a filter lets it see. Hosts with
 * the same sight share it, and a reader keeps the one that it began with. Targets that are offline,
 * failed or in maintenance stay in the log, because hosts disconnect from what is missing there;
 * those that are offline or failed are marked as not connected, so hosts are told when a node dies
 * and when it is back. Other discovery controllers are not told what was pulled from some
 * (pull.h).
 */
#ifndef LIB_XREGISTRY_DISCOVERY_H
#define LIB_XREGISTRY_DISCOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/reactor/platform.h"
#include "lib/xnvmf/target/discovery.h"
#include "lib/xnvmf/wire/nqn.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/zone.h"

struct xr_reactor;
struct xreg_discovery;
struct xu_clock;
struct xu_logger;

/* The keys of the metadata of a target that came by DIM: who may change it, and its PORTID. */
#define XREG_DIM_EID  "dim.eid"
#define XREG_DIM_HOST "dim.host"
#define XREG_DIM_PORT "dim.port"

struct xreg_discovery_opts {
	struct xreg_store *store;   /* borrowed */
	struct xr_reactor *reactor; /* the target's control reactor */
	struct xu_logger *log;      /* NULL: silent */
	const struct xu_clock
		*clock;        /* NULL: the system's; change counters begin at its wall clock */
	uint32_t nr_hosts_max; /* whose change counters are kept, those used last; and who may
				  be registered; 0: 20,000 */
	/* Readers may ask to see everything (ALLSUBE). With a filter only those that say that they
	 * are discovery controllers get it; nobody proves that, nor a host its name. */
	bool has_all;
	/* Whether a host may see a target. NULL: every host sees all. Asked for any pair at any
	 * time, so it must be quick; what it says may change, see xreg_discovery_filter_changed().
	 */
	bool (*may_see)(void *arg, const char *hostnqn, const struct xreg_target *target);
	/* The same of all targets at once, as xreg_zones_each_seen(). NULL: it is asked for each.
	 */
	enum xreg_sees (*each_seen)(void *arg, const char *hostnqn, const struct xreg_view *view,
		xreg_each_fn fn, void *fn_arg);
	/* A discovery controller asks to be read; see lib/xnvmf/target/discovery.h. NULL: such
	 * connections are not known. */
	enum xnvmf_kick_result (*kick_start)(void *arg, const struct xnvmf_kick_start *kick);
	void *arg; /* of all three */
	/* Other discovery controllers that hosts are referred to; copied. Discovery controllers
	 * that ask for everything (ALLSUBE) are not, they might come back here that way. */
	const struct xreg_referral {
		char address[XR_ADDRESS_SIZE]; /* numeric */
		uint16_t port;
		bool is_persistent;          /* it takes connections that stay */
		char nqn[XNVMF_NQN_MAX + 1]; /* "": the well-known one */
	} * referrals;
	uint32_t nr_referrals; /* at most XREG_REFERRALS_MAX */
};

#define XREG_REFERRALS_MAX 16u

int xreg_discovery_new(const struct xreg_discovery_opts *opts,
	struct xreg_discovery **ret_discovery, struct xu_error *err);
/* Makes it the discovery service of the target, under that name, before the target listens. */
int xreg_discovery_attach(struct xreg_discovery *discovery, struct xnvmf_target *target,
	const char *nqn, struct xu_error *err);
/* After the target has been stopped and freed; before the store is closed. Its last message may be
 * on its way: the reactor has to run once more. NULL is fine. */
void xreg_discovery_free(struct xreg_discovery *discovery);

/* What may_see() says has changed; hosts whose log it changes are told. */
void xreg_discovery_filter_changed(struct xreg_discovery *discovery);

/* ---- hosts that have registered themselves (DIM) ---- */

/* Borrowed during the call. Kept until it deregisters, or this ends: hosts register again. */
struct xreg_discovery_host {
	const char *nqn, *name, *version, *address;
	const uint8_t *hostid; /* 16 bytes */
	uint64_t at_ms;        /* Unix time of its last registration */
};

void xreg_discovery_each_registered(struct xreg_discovery *discovery,
	bool (*fn)(void *arg, const struct xreg_discovery_host *host), void *arg);

#endif
