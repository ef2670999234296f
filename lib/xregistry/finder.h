/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding targets that do not register themselves (spec/registry.md 3): methods behind one
 * interface, each asked in turn by one thread, each with counters of its own, none able to stop
 * another. What a method finds is registered as "unknown" until the monitor has really reached it;
 * what it finds no longer goes offline, not away. A target that somebody else has registered is
 * left alone.
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
	void (*fini)(void *arg); /* NULL: nothing to free */
};

#define XREG_FIND_METHODS_MAX 8u

struct xreg_finder_opts {
	struct xreg_store *store;
	uint32_t interval_s, timeout_s;
	struct xu_logger *log;
};

/* Makes one without methods; then add them, then start. */
int xreg_finder_new(
	const struct xreg_finder_opts *opts, struct xreg_finder **ret_finder, struct xu_error *err);
/* `method` is borrowed until the end, `arg` given to it. -ENOSPC. */
int xreg_finder_add(struct xreg_finder *finder, const struct xreg_find_method *method, void *arg,
	struct xu_error *err);
int xreg_finder_start(struct xreg_finder *finder, struct xu_error *err);
/* Waits for the method that is being asked. NULL is fine. */
void xreg_finder_free(struct xreg_finder *finder);
/* Asks all methods now. Any thread. */
void xreg_finder_kick(struct xreg_finder *finder);

/* [{"method", "attempts", "successes", "failures", "found", "problem"}…]. New reference. Any
 * thread. */
json_t *xreg_finder_json(struct xreg_finder *finder);

/* ---- the methods ---- */

/* A list of bodies as they are registered (xreg_spec_parse()), checked already; copied. */
extern const struct xreg_find_method xreg_find_static;
int xreg_find_static_new(const json_t *list, void **ret_arg);

#endif
