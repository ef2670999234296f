/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the discovery of lib/xregistry: its parts, all the control reactor's but where said.
 */
#ifndef LIB_XREGISTRY_DISCOVERY_PRIVATE_H
#define LIB_XREGISTRY_DISCOVERY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/list.h"
#include "lib/util/log.h"
#include "lib/xregistry/discovery.h"

#define XREG_DELTA_MAX    512u /* changes by which sights are brought up to date one by one */
#define XREG_HOST_BUCKETS 4096u

/* Targets that are seen together, in the order of their places. Never changes; counted by the hosts
 * that see it and by those who read. */
struct xreg_sight {
	uint32_t nr_refs;
	uint32_t nr_targets;
	uint64_t hash;          /* the sum of those of its targets */
	struct xreg_view *view; /* which holds them */
	struct xu_list link;    /* discovery->sights */
	const struct xreg_target *targets[];
};

/* What is kept of one host: what it saw last. */
struct xreg_host_sight {
	struct xu_list bucket_link, use_link;
	uint64_t genctr;
	uint64_t hash;     /* of the targets */
	uint64_t own_hash; /* of the entries of the service itself */
	uint64_t revision; /* of the store that it is true for */
	uint64_t filter;   /* and what the filter was */
	bool is_all;
	bool is_peer; /* a discovery controller: it is not told what was pulled from others */
	struct xreg_sight *sight; /* what it read last; NULL: nothing, or long ago */
	bool is_stale;            /* the sight: it has changed since */
	const char *own_address;
	char hostnqn[]; /* then own_address */
};

struct xreg_discovery {
	struct xreg_discovery_opts opts;
	struct xnvmf_discovery_ops ops;
	struct xnvmf_target *target;
	struct xreg_referral referrals[XREG_REFERRALS_MAX];
	const struct xu_clock *clock;
	uint64_t seed; /* of the hashes */

	/* The store as it is seen now, and the changes that led to it. */
	struct xreg_view *view;
	struct xreg_event delta[XREG_DELTA_MAX];
	uint32_t nr_delta;
	uint64_t delta_end;     /* revision of the last of them; that of `view`, or before it */
	struct xreg_sight *all; /* of `view`; NULL: not made yet */
	uint64_t *all_hashes;   /* of its targets, one by one */
	struct xu_list sights[XREG_HOST_BUCKETS]; /* by their hashes */
	uint64_t filter;                          /* counts its changes */
	const struct xreg_target **seen;          /* what the filter was asked for last */
	uint32_t nr_seen, seen_room;
	bool has_missed; /* there is more of it */

	struct xu_list buckets[XREG_HOST_BUCKETS]; /* of hosts */
	struct xu_list used;                       /* the last first */
	uint32_t nr_hosts;
	uint64_t last_genctr;

	/* Registration: see discovery_dim.c. */
	struct xu_list dims;       /* that wait for room in the store's queue */
	uint32_t nr_changes;       /* that are with the store */
	struct xu_list registered; /* see xreg__registered_record() */
	struct xu_list registered_buckets[XREG_HOST_BUCKETS];
	uint32_t nr_registered;
	struct xu_list readers; /* of the log of hosts; those used last first */
	uint32_t nr_readers;

	pthread_mutex_t send_mutex; /* held while the writer sends a request back */

	struct xreg_watcher watcher;
	struct xr_msg changed_msg;
	_Atomic bool is_changed_sent;
	bool is_freed;
};

/* ---- discovery_sight.c ---- */

/* Whether its entry says that it is not connected: nobody finds it, or who registered it has lost
 * it. */
bool xreg__is_disconnected(const struct xreg_target *target);
/* A change counter to begin with: above all that went before, also before a restart, or before its
 * host was forgotten. */
uint64_t xreg__next_genctr(struct xreg_discovery *d);
/* Brings discovery->view up to date. */
void xreg__discovery_refresh(struct xreg_discovery *d);
void xreg__discovery_forget(struct xreg_discovery *d);
/* The host as it sees the store now; NULL: no memory. */
struct xreg_host_sight *xreg__host_sight(
	struct xreg_discovery *d, const struct xnvmf_discovery_asker *asker);
/* Its targets; borrowed from it. NULL: no memory. */
struct xreg_sight *xreg__host_targets(struct xreg_discovery *d, struct xreg_host_sight *host);
void xreg__sight_unref(struct xreg_sight *sight);

/* PORTID of its entry, as text; NULL: it has none. */
const char *xreg__portid(const struct xreg_target *target);

/* ---- discovery_dim.c ---- */

/* The value of a key of the metadata; NULL: it has none. */
const char *xreg__metadata(const struct xreg_target *target, const char *key);

void xreg__dim(void *arg, struct xnvmf_dim *dim);
/* Of a node of d->registered; borrowed. */
struct xreg_host_record *xreg__registered_record(struct xu_list *node);
void xreg__registered_free(struct xreg_discovery *d);

/* ---- discovery_hosts.c ---- */

/* A host as it has registered itself. Never changes; counted by who has it. */
struct xreg_host_record {
	uint32_t nr_refs;
	char nqn[XNVMF_NQN_MAX + 1];
	char name[XREG_TEXT_MAX + 1], version[65], address[XR_ADDRESS_SIZE];
	uint8_t hostid[NVME_EXAT_HOSTID_BYTES];
	uint64_t at_ms;
};

struct xreg_host_record *xreg__host_record_ref(struct xreg_host_record *record);
void xreg__host_record_unref(struct xreg_host_record *record); /* NULL is fine */

extern const struct xnvmf_discovery_log_ops xreg__hosts_log;
void xreg__readers_free(struct xreg_discovery *d);

#endif
