/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for the store without a thread for each who waits: one thread, woken by new revisions and
 * by the nearest deadline, calls those whose time has come.
 */
#ifndef LIB_XREGISTRY_WAIT_H
#define LIB_XREGISTRY_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct xreg_store;
struct xreg_waits;
struct xu_error;

struct xreg_wait {
	uint64_t revision;    /* called when the store has a revision above it, */
	uint64_t deadline_ns; /* or at this time of CLOCK_MONOTONIC, or when waiting ends */
	/*
	 * Once: it has been taken off, and the call may take as long as it must not hold up others.
	 * Lasting: it stays and is called again; the call is made under the lock that
	 * xreg_waits_remove() takes, is short, and sets `revision` and `deadline_ns` anew.
	 */
	bool is_lasting;
	void (*fn)(struct xreg_wait *wait, uint64_t revision);

	struct xreg_wait *next, **at; /* at NULL: not waiting */
};

int xreg_waits_start(struct xreg_store *store, struct xreg_waits **ret_waits, struct xu_error *err);
/* Calls everyone a last time and returns when that is done; who is added from now on is called at
 * once. The thread goes on. */
void xreg_waits_end(struct xreg_waits *waits);
bool xreg_waits_has_ended(const struct xreg_waits *waits);
/* Ends, and frees; nobody may be left that lasts. NULL is fine. */
void xreg_waits_stop(struct xreg_waits *waits);

/* Any thread. */
void xreg_waits_add(struct xreg_waits *waits, struct xreg_wait *wait);
/* When it returns the wait's call is not under way and will not come. False: it was not waiting. A
 * wait that does not last may have been called already, or be just now. */
bool xreg_waits_remove(struct xreg_waits *waits, struct xreg_wait *wait);

/* The clock of the deadlines. */
uint64_t xreg_clock_ns(void);

#endif
