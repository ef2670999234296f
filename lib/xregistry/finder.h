/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding targets that do not register themselves (spec/registry.md 3): methods behind one
 * interface, each asked in turn by one thread, each with counters of its own, none able to stop
 * another. What a method finds is registered as "unknown" until the monitor has really reached it;
 * what it finds no longer goes offline, not away. A target that somebody else has registered is
 * left alone, and so is one without `auto_discovery`.
 */
#ifndef LIB_XREGISTRY_FINDER_H
#define LIB_XREGISTRY_FINDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/target.h"

struct xreg_finder;
struct xreg_store;
struct xu_error;
struct xu_logger;

/* What has been found in a round. */
struct xreg_found;

/* Adds a target (borrowed during the call). -EINVAL with a sentence: it is none; -ENOMEM, -EDQUOT.
 */
int xreg_found_add(struct xreg_found *found, const struct xreg_spec *spec, struct xu_error *err);

struct xreg_find_method {
	const char *name;
	uint32_t source; /* enum xreg_source of what it finds */
	/* Finds what there is now; may block for `timeout_s`. Other than 0: the round counts as
	 * failed, and what it found before stays as it is. */
	int (*find)(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err);
	/* It is the end: find() is to return at once, now and from now on. Called once, by another
	 * thread, and has to be quick. NULL: it never blocks. */
	void (*cancel)(void *arg);
	/* Takes over what `old`, whose place it gets, has learnt; neither is being asked. Has to be
	 * quick. NULL: nothing. */
	void (*inherit)(void *arg, void *old);
	void (*fini)(void *arg); /* NULL: nothing to free */
	/* More that is to be shown of it: an object, new reference; any thread. NULL: nothing. */
	json_t *(*describe)(void *arg);
};

#define XREG_FIND_METHODS_MAX 8u

struct xreg_finder_opts {
	struct xreg_store *store;
	uint32_t interval_s, timeout_s; /* targets may ask for a shorter interval */
	struct xu_logger *log;
};

/* Makes one without methods. */
int xreg_finder_new(
	const struct xreg_finder_opts *opts, struct xreg_finder **ret_finder, struct xu_error *err);
/*
 * Adds a method, instead of the one of its name when there is one, which is cancelled; it is asked
 * at once. `method` is borrowed until the end, `arg` given to it. -ENOSPC: `arg` stays the
 * caller's. Before the start and after it; one thread at a time.
 */
int xreg_finder_add(struct xreg_finder *finder, const struct xreg_find_method *method, void *arg,
	struct xu_error *err);
/* Asks the method of that name no more; what it has found stays as it is. If it is being asked it
 * is cancelled, and ends when that is over. Nothing when there is none. As xreg_finder_add(). */
void xreg_finder_remove(struct xreg_finder *finder, const char *name);
int xreg_finder_start(struct xreg_finder *finder, struct xu_error *err);
/* Cancels the method that is being asked, and waits for it. NULL is fine. */
void xreg_finder_free(struct xreg_finder *finder);
/* How often methods are asked, from the last round on, and how long each may take, when it is asked
 * the next time. Any thread. */
void xreg_finder_set(struct xreg_finder *finder, uint32_t interval_s, uint32_t timeout_s);
/* Asks all methods now. Any thread. */
void xreg_finder_kick(struct xreg_finder *finder);
/* Asks the method with that argument now, and no other: it knows of a change. Any thread. */
void xreg_finder_wake(struct xreg_finder *finder, const void *arg);

/* What finds targets at its own pace is shown and kicked with the methods. `json` gives a new
 * reference; any thread. Until it is set anew (NULL: nobody). */
struct xreg_find_other {
	json_t *(*json)(void *arg);
	void (*kick)(void *arg);
	void *arg;
};
void xreg_finder_set_other(struct xreg_finder *finder, const struct xreg_find_other *other);

/* [{"method", "attempts", "successes", "failures", "found", "problem", and "details" where it has
 * any}…]. New reference. Any thread. */
json_t *xreg_finder_json(struct xreg_finder *finder);

/* ---- the methods ---- */

/* A list of bodies as they are registered (xreg_spec_parse()), checked already; copied. */
extern const struct xreg_find_method xreg_find_static;
int xreg_find_static_new(const json_t *bodies, void **ret_arg);
/* Another list, from the next round on; NULL: nothing is. -ENOMEM. Any thread. */
int xreg_find_static_set(void *arg, const json_t *bodies);

#endif
