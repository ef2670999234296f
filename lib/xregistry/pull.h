/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading other discovery controllers (pull): the log of each that is known (ddc.h) becomes targets
 * of the store, with the source "pulled" and, in their metadata, whose log they are from. A log
 * replaces what was taken from the same controller before, as a whole. New targets are "unknown"
 * until the monitor has reached them; those that are in the log no more go offline and, after a
 * time, away. A controller that cannot be read leaves its targets as they are.
 *
 * A place belongs to whoever registered it first. What would point at this registry itself is left
 * out, and what was pulled is never told to other discovery controllers (discovery_sight.c), so
 * registries that read each other do not keep alive what is gone.
 *
 * A log may also name other discovery controllers (referrals), which are read then as those that
 * are on the list by themselves (pull_refer.c).
 *
 * Where a controller allows it the connection stays and its events have the log read again at once;
 * all are read at the interval anyway. One thread with a reactor of its own does all of it, so one
 * that hangs holds up nobody.
 */
#ifndef LIB_XREGISTRY_PULL_H
#define LIB_XREGISTRY_PULL_H

#include <jansson.h>
#include <stdint.h>

#include "lib/xnvmf/target/discovery.h"

struct xreg_ddcs;
struct xreg_pull;
struct xreg_store;
struct xu_error;
struct xu_logger;

/* The keys of the metadata of a target that was pulled: "ADDRESS:PORT" of the controller in whose
 * log it is ([ADDRESS]:PORT of IPv6), and "kick-start" when that has asked to be read and nobody
 * else names it. */
#define XREG_PULL_DDC   "pull.ddc"
#define XREG_PULL_BY    "pull.by"
#define XREG_PULL_PORT  "pull.port" /* PORTID of its entry */
#define XREG_PULL_VIA   "pull.via"  /* the registry that has read it, where several share a store */
#define XREG_PULL_LABEL "pull.label" /* what its administrator has called it */

#define XREG_PULL_ENTRIES_MAX   65536u
#define XREG_REFERRAL_DEPTH_MAX 8u
#define XREG_REFERRED_MAX       512u

struct xreg_pull_opts {
	struct xreg_store *store; /* borrowed, like the next two */
	struct xreg_ddcs *ddcs;   /* whom to read */
	struct xu_logger *log;    /* NULL: silent */
	const char *nqn;          /* our name as a discovery controller; copied */
	uint32_t nr_targets_max;  /* of the store, for kick-starts; 0: 100,000 */
	struct xreg_pull_limits {
		uint32_t interval_s;     /* from one look to the next */
		uint32_t timeout_s;      /* of a look */
		uint32_t nr_entries_max; /* of a log; 0: 4096 */
		uint32_t forget_s;       /* what was in no log for so long goes away; 0: never */
		bool follows_referrals;  /* reads those that a log names, too */
		uint32_t referral_depth_max; /* so many steps from one that somebody else names */
		uint32_t nr_referrals_max;   /* so many that nobody else names */
	} limits;
};

/* Makes one, which can take kick-starts but reads nothing yet. */
int xreg_pull_new(
	const struct xreg_pull_opts *opts, struct xreg_pull **ret_pull, struct xu_error *err);
int xreg_pull_start(struct xreg_pull *pull, struct xu_error *err);
/* Ends all connections and waits for that. NULL is fine. */
void xreg_pull_free(struct xreg_pull *pull);

/* Other limits from now on. Any thread. */
void xreg_pull_set(struct xreg_pull *pull, const struct xreg_pull_limits *limits);
/* Reads all of them now. Any thread. */
void xreg_pull_kick(struct xreg_pull *pull);
/* A discovery controller asks to be read (lib/xnvmf/target/discovery.h): puts it on the list and
 * reads it at once, or says why not. Any thread. */
enum xnvmf_kick_result xreg_pull_kick_start(
	struct xreg_pull *pull, const struct xnvmf_kick_start *kick);

/* {"method": "pull", "attempts", "successes", "failures", "found", "problem", "controllers":
 * [{"address", "port", "nqn", "sources", "referred_by", "referral_depth", "state", "persistent",
 * "attempts", "successes", "failures", "found", "ignored", "problem", "read_ms"}…]}. New reference.
 * Any thread. */
json_t *xreg_pull_json(struct xreg_pull *pull);

#endif
