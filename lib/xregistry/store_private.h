/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the store: between its writer, its history and what it shares with others. */
#ifndef LIB_XREGISTRY_STORE_PRIVATE_H
#define LIB_XREGISTRY_STORE_PRIVATE_H

#include <pthread.h>

#include "lib/util/random.h"
#include "lib/xregistry/view.h"

#define XREG__BATCH_MAX     1024u /* changes in one transaction */
#define XREG__DOCUMENTS_MAX 16u

struct xu_logger;

struct xreg__document {
	char name[32];
	char *text; /* JSON: a json_t is not to be shared by threads */
	uint64_t version;
};

/* A document that is to be put; its caller waits. */
struct xreg__put {
	const char *name;
	char *text;
	uint64_t if_version, version;
	int rc;
	struct xu_error *err;
	bool is_done;
	struct xreg__put *next;
};

struct xreg_store {
	const struct xreg_backend_ops *ops;
	void *backend;
	struct xu_logger *log;
	uint64_t (*now_ms)(void *arg);
	void *now_arg;
	uint32_t nr_targets_max;
	pthread_t writer;
	bool has_writer;

	pthread_mutex_t queue_mutex;
	pthread_cond_t has_work, has_room, is_put;
	struct xreg_change *first, **end;
	uint32_t nr_waiting;
	struct xreg_copy *copies;
	struct xreg__put *puts;
	bool must_follow; /* others have changed something */
	bool must_stop;

	/* The writer's. */
	struct xu_random random;
	struct xreg_view *draft;
	struct xreg_event batch[XREG__BATCH_MAX];
	uint32_t nr_batch;

	pthread_mutex_t view_mutex;
	struct xreg_view *view;

	pthread_mutex_t events_mutex;
	pthread_cond_t has_events; /* and the end of the store */
	struct xreg_event *events; /* a ring: revision modulo nr_events_kept */
	uint32_t nr_events_kept;
	uint64_t first_event, revision; /* first_event above revision: there is none */
	bool is_closing;

	pthread_mutex_t watch_mutex;
	struct xreg_watcher *watchers;
	struct xreg_document_watcher *document_watchers;

	pthread_mutex_t documents_mutex;
	struct xreg__document documents[XREG__DOCUMENTS_MAX];
	uint32_t nr_documents;
};

/* ---- store.c; the writer's ---- */

/* Shows the draft, keeps the events of the batch and calls the watchers. */
void xreg__store_show(struct xreg_store *store);
/* Throws the draft and the events of the batch away. */
void xreg__store_drop(struct xreg_store *store);

/* ---- store_load.c; the writer's, or before there is one ---- */

/* Loads everything into an empty view, which becomes the current one. */
int xreg__store_load(struct xreg_store *store, struct xu_error *err);
/* Takes over what other registries have done. */
int xreg__store_follow(struct xreg_store *store, struct xu_error *err);
void xreg__store_put(struct xreg_store *store, struct xreg__put *put);

/* ---- store_events.c ---- */

/* One with references of its own. */
struct xreg_event xreg__event_copy(const struct xreg_event *event);
/* Takes the event. Under events_mutex, or before there are other threads. */
void xreg__store_keep(struct xreg_store *store, struct xreg_event event);
/* Calls the watchers; the writer's. */
void xreg__store_tell(struct xreg_store *store, uint64_t revision);

#endif
