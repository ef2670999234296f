/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the registry's data is kept. A backend is used by one thread at a time: the one that opens
 * the store, then the store's writer. What commit() has returned 0 for is there after any crash;
 * what it has refused is not there, all of it.
 *
 * Several registries may share the data of a backend that has follow(). Then each commits on what
 * it knows: when another was first, it is told so, hears what the other did, and makes its changes
 * anew on top of that. So revisions are the same for all of them, without gaps.
 */
#ifndef LIB_XREGISTRY_BACKEND_H
#define LIB_XREGISTRY_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
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
	XREG_EVENT_CONFIG = 5, /* what is desired of it, or what its node says of that */
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
	/* A small text (JSON) beside the targets, such as the zones; each has a version of its own.
	 */
	int (*document)(void *arg, const char *name, const char *text, size_t len, uint64_t version,
		struct xu_error *err);
	void *arg;
};

struct xreg_backend_ops {
	const char *name;
	uint32_t nr_events_max; /* in one commit; 0: as many as the store makes */
	/* `where` is the connection string. Waits for others no longer than a few seconds. */
	int (*open)(
		const char *where, struct xu_logger *log, void **ret_backend, struct xu_error *err);
	int (*load)(void *backend, const struct xreg_loader *loader, uint64_t *ret_revision,
		struct xu_error *err);
	/* All of the events or none; they are the next revisions. Events more than `nr_kept` older
	 * than the last are forgotten. Blocks until all is durable. Of those that are shared also:
	 * -EAGAIN: another registry was first, follow() tells what it did; -E2BIG: fewer at a time;
	 * -ETIMEDOUT: nobody knows yet whether they were made, follow() will tell. */
	int (*commit)(void *backend, const struct xreg_event *events, uint32_t nr_events,
		uint32_t nr_kept, struct xu_error *err);
	/* Makes `text` (JSON) the document of that name. -ESTALE: it has another version than
	 * `if_version` (0: there is none yet); -EAGAIN and -ETIMEDOUT as of commit(). */
	int (*put_document)(void *backend, const char *name, const char *text, uint64_t if_version,
		uint64_t *ret_version, struct xu_error *err);
	/* Optional, all three; a backend without them is one registry's alone. follow() hands over
	 * what was committed since the last load, commit or follow, by others or by a commit whose
	 * end was not known: events with what a target was before left out, and documents.
	 * -ESTALE: that is not known any more, load() again. `changed` is called on any thread
	 * when there may be something to follow, until close(). */
	int (*follow)(void *backend, const struct xreg_loader *loader, struct xu_error *err);
	int (*watch)(void *backend, void (*changed)(void *arg), void *arg, struct xu_error *err);
	bool (*is_up)(void *backend); /* any thread: whether the data can be reached now */
	/* Optional, all three; any thread, quick. Whether this registry is the one of those that
	 * share the data which judges and looks for targets; that a node has reported here; when it
	 * has last reported to any of them, as far as is known (0: not at all). */
	bool (*leads)(void *backend);
	void (*hear)(void *backend, const char *node_id, uint64_t unix_ms);
	uint64_t (*heard_ms)(void *backend, const char *node_id);
	/* Optional, both: makes a copy of all that is committed, a part at each call, with commits
	 * between them as they come. A NULL *copy begins; 1: call again; 0: it is whole, *ret_fd
	 * reads it from its beginning and is the caller's; -errno: it has failed. *copy is NULL
	 * again after the last two. copy_cancel() gives one up. */
	int (*copy)(void *backend, void **copy, int *ret_fd, struct xu_error *err);
	void (*copy_cancel)(void *backend, void *copy);
	void (*close)(void *backend);
};

extern const struct xreg_backend_ops xreg_sqlite;

/* ---- for backends: records as texts ---- */

/* A record as JSON text, NULL of none; to be freed. */
int xreg_backend_encode(const struct xreg_target *target, char **ret_text, struct xu_error *err);
/* A record of `len` bytes; a new reference. */
int xreg_backend_decode(
	const char *text, size_t len, struct xreg_target **ret_target, struct xu_error *err);

#endif
