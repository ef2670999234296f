/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking a target away in good order (spec/registry.md 4.1.4): it is no longer chosen, its node is
 * told to take no new connections (both by its state, "maintenance" with the reason "draining",
 * which is durable), its connections are waited for, then it is unregistered.
 */
#ifndef LIB_XREGISTRY_DRAIN_H
#define LIB_XREGISTRY_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/util/error.h"

struct xreg_drains;
struct xreg_store;
struct xreg_target;
struct xreg_waits;

#define XREG_DRAINING            "draining" /* the reason of the state of such a target */
#define XREG_DRAIN_TIMEOUT_S     300u
#define XREG_DRAIN_TIMEOUT_MAX_S 86400u

struct xreg_drain_opts {
	const char *id;
	uint64_t if_revision; /* 0: whatever it has */
	bool force;           /* does not wait */
	uint32_t timeout_s;
};

struct xreg_drained {
	int rc; /* as of XREG_UNREGISTER; -ESHUTDOWN: the registry ends and will go on with it when
		   it is started again */
	const struct xu_error *err;
	const struct xreg_target *target; /* as it was last; NULL: nothing is known of it */
	uint32_t nr_drained;              /* connections that have gone meanwhile */
	uint32_t nr_left;
	uint64_t at_ms; /* Unix time */
};

int xreg_drains_new(struct xreg_store *store, struct xreg_waits *waits,
	struct xreg_drains **ret_drains, struct xu_error *err);
/* After xreg_waits_end(): waits until all are over. NULL is fine. */
void xreg_drains_free(struct xreg_drains *drains);

/* Goes on with those that were under way when the registry ended. Returns how many. */
uint32_t xreg_drains_resume(struct xreg_drains *drains);

/*
 * Begins; `done` (NULL: nobody asks) comes once, later, on a thread of the registry's where it must
 * not wait. The connections are what the target's node reports; a target of which nothing has been
 * reported is not waited for. -ENOMEM: it does not begin. Any thread.
 */
int xreg_drain_start(struct xreg_drains *drains, const struct xreg_drain_opts *opts,
	void (*done)(void *arg, const struct xreg_drained *drained), void *arg);

#endif
