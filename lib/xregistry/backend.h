/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the registry's data is kept. A backend is used by one thread at a time: the one that opens
 * the store, then the store's writer. What commit() has returned 0 for is there after any crash;
 * what it has refused is not there, all of it.
 */
#ifndef LIB_XREGISTRY_BACKEND_H
#define LIB_XREGISTRY_BACKEND_H

#include <stdint.h>

struct xreg_target;
struct xu_error;
struct xu_logger;

/* What happened to a target; the numbers are stored. */
enum xreg_event_kind {
	XREG_EVENT_REGISTERED = 1,
	XREG_EVENT_UNREGISTERED = 2,
	XREG_EVENT_UPDATED = 3, /* what it says of itself */
	XREG_EVENT_STATE = 4,
};

/* One change: what a target was before (NULL: it was not there) and is after (NULL: it went). */
struct xreg_event {
	uint64_t revision;
	uint64_t at_ms; /* Unix time */
	enum xreg_event_kind kind;
	struct xreg_target *before, *after;
};

/* What is called for what is loaded: targets in any order, events by rising revision. Each takes a
 * reference of its own to what it keeps. Other than 0 ends the loading with that. */
struct xreg_loader {
	int (*target)(void *arg, struct xreg_target *target, struct xu_error *err);
	int (*event)(void *arg, const struct xreg_event *event, struct xu_error *err);
	void *arg;
};

struct xreg_backend_ops {
	const char *name;
	/* `where` is the connection string. Waits for others no longer than a few seconds. */
	int (*open)(
		const char *where, struct xu_logger *log, void **ret_backend, struct xu_error *err);
	int (*load)(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
		struct xu_error *err);
	/* All of the events or none; they are the next revisions. Events more than `nr_kept` older
	 * than the last are forgotten. Blocks until all is durable. */
	int (*commit)(void *backend, const struct xreg_event *events, uint32_t nr_events,
		uint32_t nr_kept, struct xu_error *err);
	/* Optional, both: makes a copy of all that is committed, a part at each call, with commits
	 * between them as they come. A NULL *copy begins; 1: call again; 0: it is whole, *ret_fd
	 * reads it from its beginning and is the caller's; -errno: it has failed. *copy is NULL
	 * again after the last two. copy_cancel() gives one up. */
	int (*copy)(void *backend, void **copy, int *ret_fd, struct xu_error *err);
	void (*copy_cancel)(void *backend, void *copy);
	void (*close)(void *backend);
};

extern const struct xreg_backend_ops xreg_sqlite;

#endif
