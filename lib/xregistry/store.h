/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's targets. One thread, the writer, makes all changes: it takes those that wait,
 * applies them in their order to a view of its own, makes them durable together, and only then
 * shows the new view and answers. Readers take the current view, which never changes, so they wait
 * neither for the writer nor for the disk and see all of a change or nothing.
 *
 * Every change has a revision, one more than the change before it, also over restarts. The last
 * changes are kept as events, so whoever watches can go on where it was, or is told that it cannot.
 */
#ifndef LIB_XREGISTRY_STORE_H
#define LIB_XREGISTRY_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/util/error.h"
#include "lib/xregistry/backend.h"
#include "lib/xregistry/desired.h"
#include "lib/xregistry/target.h"

struct xreg_store;
struct xreg_view;

#define XREG_EVENTS_KEPT 10000u

struct xreg_store_opts {
	const struct xreg_backend_ops *backend;
	const char *where;             /* its connection string */
	uint32_t nr_targets_max;       /* 0: 100,000 */
	uint32_t nr_events_kept;       /* 0: XREG_EVENTS_KEPT */
	struct xu_logger *log;         /* NULL: silent */
	uint64_t (*now_ms)(void *arg); /* Unix time; NULL: the system's */
	void *now_arg;
};

/* Opens the backend and loads everything; blocks. `opts` is borrowed during the call. */
int xreg_store_open(
	const struct xreg_store_opts *opts, struct xreg_store **ret_store, struct xu_error *err);
/* Makes what waits, then ends; views stay valid until they are given back. NULL is fine. */
void xreg_store_close(struct xreg_store *store);

/* ---- reading ---- */

/* The view that is current. Any thread, does not wait. Give it back with xreg_view_unref(). */
struct xreg_view *xreg_store_view(struct xreg_store *store);
struct xreg_view *xreg_view_ref(struct xreg_view *view);
void xreg_view_unref(struct xreg_view *view); /* NULL is fine */

uint64_t xreg_view_revision(const struct xreg_view *view);
uint32_t xreg_view_count(const struct xreg_view *view);

/* What targets can be found by; each is a text of the target. */
enum xreg_index {
	XREG_BY_ID,
	XREG_BY_PLACE,
	XREG_BY_NQN,
	XREG_BY_NODE,
	XREG_BY_ADDRESS,
	XREG_BY_LOCATION,
	XREG_BY_TAG,
	XREG_NR_INDEXES,
};

/* Borrowed while the view is held; NULL: there is none. */
const struct xreg_target *xreg_view_get(const struct xreg_view *view, const char *id);
const struct xreg_target *xreg_view_first(
	const struct xreg_view *view, enum xreg_index index, const char *key);

/* Calls `fn`, until it returns false, for the targets whose key is `key` or, with `is_prefix`,
 * begins with it, in the order of (key, id). `key` "" with `is_prefix` are all. */
typedef bool (*xreg_each_fn)(void *arg, const struct xreg_target *target);
void xreg_view_each(const struct xreg_view *view, enum xreg_index index, const char *key,
	bool is_prefix, xreg_each_fn fn, void *arg);

/* ---- changing ---- */

enum xreg_change_op {
	XREG_REGISTER,   /* a new target; with `may_update`, or the one that is at its place */
	XREG_UPDATE,     /* another specification */
	XREG_SET_STATUS, /* another state */
	XREG_UNREGISTER,
	XREG_SET_CONFIG,   /* another desired configuration */
	XREG_JUDGE_CONFIG, /* what the node says of it */
};

/*
 * A change that is asked for. It and all that it refers to are the store's until `done` is called,
 * on the writer's thread, where it must not wait. The answer:
 *   0         made, durable and visible; `result` is the target (of UNREGISTER: as it was)
 *   -EEXIST   another target is at that place; `result` is that one
 *   -ENOENT   there is no target with that id
 *   -ESTALE   it has another revision than `if_revision`, or what is desired has another than the
 *             node's verdict is of; `result` is what there is
 *   -EDQUOT   the registry is full
 *   -EBUSY    other registries, which share the data, were always first
 *   -ETIMEDOUT  it is not known whether it was made: the data cannot be reached at the moment
 *   -ENOSPC, -EIO and others: it could not be made durable, nothing has changed
 * `result` is a reference of the caller's, NULL where nothing is said of it.
 */
struct xreg_change {
	enum xreg_change_op op;
	const char *id;                   /* not for REGISTER */
	const struct xreg_spec *spec;     /* REGISTER, UPDATE */
	struct xreg_status status;        /* REGISTER, SET_STATUS */
	const struct xreg_config *config; /* SET_CONFIG */
	struct xreg_verdict verdict;      /* JUDGE_CONFIG; one that says nothing new is no change */
	uint32_t source;                  /* REGISTER: enum xreg_source */
	bool may_update;                  /* REGISTER */
	uint64_t if_revision;             /* 0: whatever it has */
	void (*done)(struct xreg_change *change);
	void *arg;

	int rc;
	struct xu_error err;
	struct xreg_target *result;
	uint64_t revision;            /* of the change */
	struct xreg_change *next;     /* the store's */
	struct xreg_desired *desired; /* the store's */
};

/* Any thread; blocks only while very many changes wait, and never in `done`. */
void xreg_store_submit(struct xreg_store *store, struct xreg_change *change);
/* Submits and waits. Returns change->rc. */
int xreg_store_change(struct xreg_store *store, struct xreg_change *change);

/* ---- copies ---- */

/*
 * A copy of all that is durable, made by the writer between its transactions. It is the store's
 * until `done` is called, on the writer's thread, where it must not wait: with `rc` 0, a file
 * descriptor that reads the copy and is the callee's; -ECANCELED: it was not wanted any more;
 * -ESHUTDOWN: the store is closing; and what the backend says, with `err`.
 */
struct xreg_copy {
	bool (*is_wanted)(struct xreg_copy *copy); /* asked every few milliseconds; may be NULL */
	void (*done)(struct xreg_copy *copy);
	void *arg;

	int rc, fd;
	struct xu_error err;
	void *state; /* the backend's */
	struct xreg_copy *next;
};

/* One at a time is made, in their order. -ENOTSUP: the backend has no copies, and `done` is not
 * called. Any thread. */
int xreg_store_copy(struct xreg_store *store, struct xreg_copy *copy);

/* ---- documents ---- */

/*
 * Small texts beside the targets, such as the zones, each a JSON object with a version of its own.
 * All registries that share the data have the same. Any thread.
 */

/* What it is now, the caller's alone; NULL with version 0: there is none, else no memory. */
json_t *xreg_store_document(struct xreg_store *store, const char *name, uint64_t *ret_version);
/* Durable when it returns 0. -ESTALE: its version is not `if_version` any more; others as of
 * changes. Blocks; not in a callback of the store. */
int xreg_store_put_document(struct xreg_store *store, const char *name, const json_t *document,
	uint64_t if_version, uint64_t *ret_version, struct xu_error *err);

/* Called on the writer's thread when another registry has changed a document; must not wait. */
struct xreg_document_watcher {
	const char *name;
	void (*fn)(struct xreg_document_watcher *watcher, const json_t *document, uint64_t version);
	struct xreg_document_watcher *next; /* the store's */
};
void xreg_store_watch_document(struct xreg_store *store, struct xreg_document_watcher *watcher);
void xreg_store_unwatch_document(struct xreg_store *store, struct xreg_document_watcher *watcher);

/* Whether changes can be made now, as far as the backend knows; one that is a file always says so.
 * Any thread. */
bool xreg_store_is_up(struct xreg_store *store);

/* ---- other registries ---- */

const char *xreg_store_backend(const struct xreg_store *store); /* its name */
/* Whether this registry judges targets and looks for new ones: of those that share the data one
 * does, and for some seconds after it died none. Any thread, quick; so are those below. */
bool xreg_store_leads(struct xreg_store *store);
/* A node has reported here; and when it last did to any registry (0: not known), which is told up
 * to XREG_HEARD_LATE_MS late. */
#define XREG_HEARD_LATE_MS 5000u
void xreg_store_hear(struct xreg_store *store, const char *node_id, uint64_t unix_ms);
uint64_t xreg_store_heard_ms(struct xreg_store *store, const char *node_id);

/* ---- watching ---- */

/*
 * The events after `revision`, oldest first, at most `max`; each holds references, see
 * xreg_events_free(). -ESTALE: they are not all known any more ("compacted"); start with a view.
 * Any thread.
 */
int xreg_store_events(struct xreg_store *store, uint64_t revision, struct xreg_event *ret_events,
	uint32_t max, uint32_t *ret_count);
void xreg_events_free(struct xreg_event *events, uint32_t count);
/* The revision of the oldest event that is known; one more than the current one: none is. */
uint64_t xreg_store_first_event(struct xreg_store *store);

/* Waits until there is a revision above `revision`, at most `timeout_ms`; returns the current one.
 * At once when the store is closing. Any thread but the writer's. */
uint64_t xreg_store_wait(struct xreg_store *store, uint64_t revision, uint32_t timeout_ms);

/* Called on the writer's thread after each new view; must not wait. Until it is removed; removal
 * waits for a call that is under way. */
struct xreg_watcher {
	void (*fn)(struct xreg_watcher *watcher, uint64_t revision);
	struct xreg_watcher *next; /* the store's */
};
void xreg_store_watch(struct xreg_store *store, struct xreg_watcher *watcher);
void xreg_store_unwatch(struct xreg_store *store, struct xreg_watcher *watcher);

#endif
