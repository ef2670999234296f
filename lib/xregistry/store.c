/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store. What is whose:
 *
 *   queue     changes that wait: under `queue_mutex`; the writer takes all of them at once
 *   copies    those that are asked for: under `queue_mutex`; the first is the writer's
 *   draft     the next view and the events of a batch: the writer's
 *   view      the current view: under `view_mutex`, which is held to copy a pointer and no longer
 *   events    the last changes, a ring: under `events_mutex`
 *   watchers  under `watch_mutex`, held while they are called
 *
 * A batch is applied change by change, so each sees those before it. One that is refused changes
 * nothing and is answered with the rest. The backend gets the events of the batch as one
 * transaction; when it refuses, the draft is thrown away, all that changed something are answered
 * with its error, and readers go on with the view that they have.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/log.h"
#include "lib/util/random.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/view.h"

#define NR_TARGETS_MAX 100000u
#define NR_WAITING_MAX 8192u
#define BATCH_MAX      1024u /* changes in one transaction */

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
	pthread_cond_t has_work, has_room;
	struct xreg_change *first, **end;
	uint32_t nr_waiting;
	struct xreg_copy *copies;
	bool must_stop;

	/* The writer's. */
	struct xu_random random;
	struct xreg_view *draft;
	struct xreg_event batch[BATCH_MAX];
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
};

static uint64_t system_now_ms(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- events ---- */

static void free_event(struct xreg_event *event)
{
	xreg_target_unref(event->before);
	xreg_target_unref(event->after);
	*event = (struct xreg_event){0};
}

static struct xreg_event copy_event(const struct xreg_event *event)
{
	struct xreg_event copy = *event;

	copy.before = event->before != NULL ? xreg_target_ref(event->before) : NULL;
	copy.after = event->after != NULL ? xreg_target_ref(event->after) : NULL;
	return copy;
}

/* Takes the event. Under events_mutex, or before there are other threads. */
static void keep_event(struct xreg_store *store, struct xreg_event event)
{
	struct xreg_event *slot = &store->events[event.revision % store->nr_events_kept];

	free_event(slot);
	*slot = event;
	if (store->first_event > store->revision || event.revision != store->revision + 1) {
		store->first_event = event.revision;
	}
	store->revision = event.revision;
	if (store->revision - store->first_event >= store->nr_events_kept) {
		store->first_event = store->revision - store->nr_events_kept + 1;
	}
}

int xreg_store_events(struct xreg_store *store, uint64_t revision, struct xreg_event *ret_events,
	uint32_t max, uint32_t *ret_count)
{
	uint32_t count = 0;
	int rc = 0;

	pthread_mutex_lock(&store->events_mutex);
	/* One that is yet to come was told by another registry, or by this one before its data was
	 * replaced. */
	if (revision > store->revision ||
		(revision < store->revision && revision + 1 < store->first_event)) {
		rc = -ESTALE;
	}
	while (rc == 0 && count < max && revision + count < store->revision) {
		uint64_t next = revision + count + 1;

		ret_events[count++] = copy_event(&store->events[next % store->nr_events_kept]);
	}
	pthread_mutex_unlock(&store->events_mutex);
	*ret_count = count;
	return rc;
}

uint64_t xreg_store_first_event(struct xreg_store *store)
{
	uint64_t revision;

	pthread_mutex_lock(&store->events_mutex);
	revision = store->first_event;
	pthread_mutex_unlock(&store->events_mutex);
	return revision;
}

void xreg_events_free(struct xreg_event *events, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		free_event(&events[i]);
	}
}

uint64_t xreg_store_wait(struct xreg_store *store, uint64_t revision, uint32_t timeout_ms)
{
	struct timespec end;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	pthread_mutex_lock(&store->events_mutex);
	while (store->revision <= revision && !store->is_closing &&
		pthread_cond_timedwait(&store->has_events, &store->events_mutex, &end) == 0) {
	}
	now = store->revision;
	pthread_mutex_unlock(&store->events_mutex);
	return now;
}

/* ---- views ---- */

struct xreg_view *xreg_store_view(struct xreg_store *store)
{
	struct xreg_view *view;

	pthread_mutex_lock(&store->view_mutex);
	view = xreg_view_ref(store->view);
	pthread_mutex_unlock(&store->view_mutex);
	return view;
}

/* Takes the view and shows it. */
static void show(struct xreg_store *store, struct xreg_view *view)
{
	struct xreg_view *old;

	pthread_mutex_lock(&store->view_mutex);
	old = store->view;
	store->view = view;
	pthread_mutex_unlock(&store->view_mutex);
	xreg_view_unref(old);
}

/* ---- one change ---- */

/* Puts `after` (taken) in the place of `before` in the draft, as the batch's next event. */
static int draft(struct xreg_store *store, struct xreg_change *change, enum xreg_event_kind kind,
	const struct xreg_target *before, struct xreg_target *after)
{
	int rc = xreg__view_replace(store->draft, before, after, &store->random);

	if (rc != 0) {
		xreg_target_unref(after);
		return xu_error_set_errno(&change->err, rc, "changing a target");
	}
	store->draft->revision++;
	store->batch[store->nr_batch++] = (struct xreg_event){.revision = store->draft->revision,
		.at_ms = after != NULL ? after->origin.updated_ms : store->now_ms(store->now_arg),
		.kind = kind,
		.before = before != NULL ? xreg_target_ref(before) : NULL,
		.after = after};
	change->revision = store->draft->revision;
	change->result = xreg_target_ref(after != NULL ? after : before);
	return 0;
}

/* A record that replaces `before`, or begins one. */
static int draft_record(struct xreg_store *store, struct xreg_change *change,
	enum xreg_event_kind kind, const struct xreg_target *before,
	const struct xreg_status *status, const struct xreg_spec *spec)
{
	uint64_t now_ms = store->now_ms(store->now_arg), revision = store->draft->revision + 1;
	struct xreg_origin origin = {
		.source = change->source, .created_revision = revision, .registered_ms = now_ms};
	char id[XREG_ID_SIZE], text[XU_UUID_TEXT_SIZE];
	struct xreg_target *after;
	struct xu_uuid uuid;

	if (before != NULL) {
		origin = before->origin;
	} else {
		uuid = xu_uuid_random(&store->random);
		xu_uuid_format(&uuid, text);
		snprintf(id, sizeof(id), "tgt-%s", text);
		origin.id = id;
	}
	origin.revision = revision;
	origin.updated_ms = now_ms;
	after = xreg_target_new(&origin, status, spec);
	if (after == NULL) {
		return xu_error_set_errno(&change->err, -ENOMEM, "making the record of a target");
	}
	return draft(store, change, kind, before, after);
}

static int refuse_place(struct xreg_change *change, const struct xreg_target *other)
{
	change->result = xreg_target_ref(other);
	return xu_error_set(&change->err, -EEXIST, "'%s' at %s port %u is registered as %s",
		other->spec.nqn, other->spec.address, other->spec.port, other->origin.id);
}

/* The target that a place belongs to in the draft; NULL: nobody's. */
static const struct xreg_target *at_place(struct xreg_store *store, const struct xreg_spec *spec)
{
	char place[XREG_PLACE_SIZE];

	xreg_spec_place(spec, place);
	return xreg_view_first(store->draft, XREG_BY_PLACE, place);
}

static int do_register(struct xreg_store *store, struct xreg_change *change)
{
	const struct xreg_target *other = at_place(store, change->spec);

	if (other != NULL && !change->may_update) {
		return refuse_place(change, other);
	}
	if (other != NULL) {
		return draft_record(
			store, change, XREG_EVENT_UPDATED, other, &other->status, change->spec);
	}
	if (xreg_view_count(store->draft) >= store->nr_targets_max) {
		return xu_error_set(&change->err, -EDQUOT,
			"the registry holds %u targets, as many as it may; unregister some",
			store->nr_targets_max);
	}
	return draft_record(
		store, change, XREG_EVENT_REGISTERED, NULL, &change->status, change->spec);
}

/* Those that change a target which is there. */
static int do_existing(struct xreg_store *store, struct xreg_change *change)
{
	const struct xreg_target *before = xreg_view_get(store->draft, change->id), *other;

	if (before == NULL) {
		return xu_error_set(
			&change->err, -ENOENT, "there is no target '%.63s'", change->id);
	}
	if (change->if_revision != 0 && change->if_revision != before->origin.revision) {
		change->result = xreg_target_ref(before);
		return xu_error_set(&change->err, -ESTALE,
			"target %s has revision %llu, not %llu; read it again", change->id,
			(unsigned long long)before->origin.revision,
			(unsigned long long)change->if_revision);
	}
	switch (change->op) {
	case XREG_UNREGISTER:
		return draft(store, change, XREG_EVENT_UNREGISTERED, before, NULL);
	case XREG_SET_STATUS:
		return draft_record(
			store, change, XREG_EVENT_STATE, before, &change->status, &before->spec);
	default:
		other = at_place(store, change->spec);
		if (other != NULL && other != before) {
			return refuse_place(change, other);
		}
		return draft_record(
			store, change, XREG_EVENT_UPDATED, before, &before->status, change->spec);
	}
}

static void apply(struct xreg_store *store, struct xreg_change *change)
{
	change->rc = change->op == XREG_REGISTER ? do_register(store, change)
						 : do_existing(store, change);
}

/* ---- a batch ---- */

/* Also what was refused for what the others of its batch would have changed. */
static void refuse(struct xreg_change *change, const struct xu_error *err)
{
	xreg_target_unref(change->result);
	change->result = NULL;
	change->revision = 0;
	change->err = *err;
	change->rc = err->code;
}

static void answer(struct xreg_change *first, const struct xu_error *err)
{
	while (first != NULL) {
		struct xreg_change *next = first->next;

		if (err->code != 0) {
			refuse(first, err);
		}
		first->done(first);
		first = next;
	}
}

static void keep_batch(struct xreg_store *store)
{
	pthread_mutex_lock(&store->events_mutex);
	for (uint32_t i = 0; i < store->nr_batch; i++) {
		keep_event(store, store->batch[i]);
	}
	pthread_cond_broadcast(&store->has_events);
	pthread_mutex_unlock(&store->events_mutex);
}

static void call_watchers(struct xreg_store *store, uint64_t revision)
{
	pthread_mutex_lock(&store->watch_mutex);
	for (struct xreg_watcher *watcher = store->watchers; watcher != NULL;) {
		struct xreg_watcher *next = watcher->next;

		watcher->fn(watcher, revision);
		watcher = next;
	}
	pthread_mutex_unlock(&store->watch_mutex);
}

/* Makes the changes of the list durable and visible, and answers them. */
static void run_batch(struct xreg_store *store, struct xreg_change *first)
{
	struct xu_error err = {0};
	uint64_t revision;

	store->nr_batch = 0;
	store->draft = xreg__view_new(store->view); /* nobody else changes store->view */
	if (store->draft == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making the next view");
		answer(first, &err);
		return;
	}
	for (struct xreg_change *change = first; change != NULL; change = change->next) {
		apply(store, change);
	}
	if (store->nr_batch != 0) {
		store->ops->commit(
			store->backend, store->batch, store->nr_batch, store->nr_events_kept, &err);
	}
	if (err.code != 0 || store->nr_batch == 0) {
		if (err.code != 0) {
			xu_err(store->log, "changes were not made: %s", err.text);
		}
		xreg_events_free(store->batch, store->nr_batch);
		xreg_view_unref(store->draft);
		answer(first, &err);
		return;
	}
	revision = store->draft->revision;
	show(store, store->draft);
	keep_batch(store);
	call_watchers(store, revision);
	answer(first, &err);
}

/* Takes up to BATCH_MAX changes off the queue; NULL: there are none. *ret_copy is the copy that is
 * to be made, if any; both NULL: the end. */
static struct xreg_change *take_batch(struct xreg_store *store, struct xreg_copy **ret_copy)
{
	struct xreg_change *first, **end;
	uint32_t count = 0;

	pthread_mutex_lock(&store->queue_mutex);
	while (store->first == NULL && store->copies == NULL && !store->must_stop) {
		pthread_cond_wait(&store->has_work, &store->queue_mutex);
	}
	*ret_copy = store->copies;
	first = store->first;
	end = &store->first;
	while (*end != NULL && count < BATCH_MAX) {
		end = &(*end)->next;
		count++;
	}
	store->first = *end;
	if (store->first == NULL) {
		store->end = &store->first;
	}
	if (count != 0) {
		*end = NULL;
	}
	store->nr_waiting -= count;
	pthread_cond_broadcast(&store->has_room);
	pthread_mutex_unlock(&store->queue_mutex);
	return first;
}

/* ---- copies ---- */

/* Makes a part of the copy, which is the first of the list. */
static void run_copy(struct xreg_store *store, struct xreg_copy *copy)
{
	bool is_stopping;

	pthread_mutex_lock(&store->queue_mutex);
	is_stopping = store->must_stop;
	pthread_mutex_unlock(&store->queue_mutex);
	if (is_stopping || (copy->is_wanted != NULL && !copy->is_wanted(copy))) {
		copy->rc = is_stopping ? -ESHUTDOWN : -ECANCELED;
		xu_error_set(&copy->err, copy->rc, "the copy was given up");
		if (copy->state != NULL) {
			store->ops->copy_cancel(store->backend, copy->state);
		}
	} else {
		copy->rc = store->ops->copy(store->backend, &copy->state, &copy->fd, &copy->err);
		if (copy->rc == 1) {
			return;
		}
	}
	pthread_mutex_lock(&store->queue_mutex);
	store->copies = copy->next;
	pthread_mutex_unlock(&store->queue_mutex);
	copy->done(copy);
}

int xreg_store_copy(struct xreg_store *store, struct xreg_copy *copy)
{
	struct xreg_copy **at = &store->copies;

	if (store->ops->copy == NULL) {
		return -ENOTSUP;
	}
	copy->rc = 0;
	copy->fd = -1;
	copy->err = (struct xu_error){0};
	copy->state = NULL;
	copy->next = NULL;
	pthread_mutex_lock(&store->queue_mutex);
	while (*at != NULL) {
		at = &(*at)->next;
	}
	*at = copy;
	pthread_cond_signal(&store->has_work);
	pthread_mutex_unlock(&store->queue_mutex);
	return 0;
}

static void *writer_main(void *arg)
{
	struct xreg_store *store = arg;
	struct xreg_change *first;
	struct xreg_copy *copy;

	for (;;) {
		first = take_batch(store, &copy);
		if (first == NULL && copy == NULL) {
			return NULL;
		}
		if (first != NULL) {
			run_batch(store, first);
		}
		if (copy != NULL) {
			run_copy(store, copy);
		}
	}
}

void xreg_store_submit(struct xreg_store *store, struct xreg_change *change)
{
	change->rc = 0;
	change->err = (struct xu_error){0};
	change->result = NULL;
	change->revision = 0;
	change->next = NULL;
	pthread_mutex_lock(&store->queue_mutex);
	/* The writer itself, which makes room, never waits for it. */
	while (store->nr_waiting >= NR_WAITING_MAX &&
		!pthread_equal(pthread_self(), store->writer)) {
		pthread_cond_wait(&store->has_room, &store->queue_mutex);
	}
	*store->end = change;
	store->end = &change->next;
	store->nr_waiting++;
	pthread_cond_signal(&store->has_work);
	pthread_mutex_unlock(&store->queue_mutex);
}

/* ---- waiting for one ---- */

struct waiting {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool is_done;
};

static void on_done(struct xreg_change *change)
{
	struct waiting *waiting = change->arg;

	pthread_mutex_lock(&waiting->mutex);
	waiting->is_done = true;
	pthread_cond_signal(&waiting->cond);
	pthread_mutex_unlock(&waiting->mutex);
}

int xreg_store_change(struct xreg_store *store, struct xreg_change *change)
{
	struct waiting waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

	change->done = on_done;
	change->arg = &waiting;
	xreg_store_submit(store, change);
	pthread_mutex_lock(&waiting.mutex);
	while (!waiting.is_done) {
		pthread_cond_wait(&waiting.cond, &waiting.mutex);
	}
	pthread_mutex_unlock(&waiting.mutex);
	return change->rc;
}

/* ---- watchers ---- */

void xreg_store_watch(struct xreg_store *store, struct xreg_watcher *watcher)
{
	pthread_mutex_lock(&store->watch_mutex);
	watcher->next = store->watchers;
	store->watchers = watcher;
	pthread_mutex_unlock(&store->watch_mutex);
}

void xreg_store_unwatch(struct xreg_store *store, struct xreg_watcher *watcher)
{
	pthread_mutex_lock(&store->watch_mutex);
	for (struct xreg_watcher **at = &store->watchers; *at != NULL; at = &(*at)->next) {
		if (*at == watcher) {
			*at = watcher->next;
			break;
		}
	}
	pthread_mutex_unlock(&store->watch_mutex);
}

/* ---- life ---- */

static int on_loaded_target(void *arg, struct xreg_target *target, struct xu_error *err)
{
	struct xreg_store *store = arg;
	const struct xreg_target *other =
		xreg_view_first(store->view, XREG_BY_PLACE, target->place);
	int rc;

	if (other != NULL) {
		return xu_error_set(err, -EILSEQ, "the data has '%s' twice, as %s and %s",
			target->place, other->origin.id, target->origin.id);
	}
	rc = xreg__view_replace(store->view, NULL, target, &store->random);
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "loading a target");
}

static int on_loaded_event(void *arg, const struct xreg_event *event, struct xu_error *err)
{
	keep_event(arg, copy_event(event));
	return 0;
}

static void init_locks(struct xreg_store *store)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&store->queue_mutex, NULL);
	pthread_mutex_init(&store->view_mutex, NULL);
	pthread_mutex_init(&store->events_mutex, NULL);
	pthread_mutex_init(&store->watch_mutex, NULL);
	pthread_cond_init(&store->has_work, NULL);
	pthread_cond_init(&store->has_room, NULL);
	pthread_cond_init(&store->has_events, &attr);
	pthread_condattr_destroy(&attr);
}

static int load(struct xreg_store *store, struct xu_error *err)
{
	const struct xreg_loader loader = {on_loaded_target, on_loaded_event, store};
	uint64_t revision;
	int rc = store->ops->load(store->backend, &loader, &revision, err);

	if (rc != 0) {
		return rc;
	}
	/* Without the events up to it nobody can go on before it. */
	if (store->revision != revision) {
		store->first_event = revision + 1;
		store->revision = revision;
	}
	store->view->revision = revision;
	return 0;
}

int xreg_store_open(
	const struct xreg_store_opts *opts, struct xreg_store **ret_store, struct xu_error *err)
{
	struct xreg_store *store = calloc(1, sizeof(*store));
	int rc;

	if (store == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "opening the registry's store");
	}
	store->ops = opts->backend;
	store->log = opts->log;
	store->now_ms = opts->now_ms != NULL ? opts->now_ms : system_now_ms;
	store->now_arg = opts->now_arg;
	store->nr_targets_max = opts->nr_targets_max != 0 ? opts->nr_targets_max : NR_TARGETS_MAX;
	store->nr_events_kept = opts->nr_events_kept != 0 ? opts->nr_events_kept : XREG_EVENTS_KEPT;
	store->end = &store->first;
	store->first_event = 1;
	init_locks(store);
	xu_random_seed_entropy(&store->random);
	store->view = xreg__view_new(NULL);
	store->events = calloc(store->nr_events_kept, sizeof(*store->events));
	rc = store->view == NULL || store->events == NULL
		     ? xu_error_set_errno(err, -ENOMEM, "opening the registry's store")
		     : store->ops->open(opts->where, opts->log, &store->backend, err);
	if (rc == 0) {
		rc = load(store, err);
	}
	if (rc == 0) {
		rc = -pthread_create(&store->writer, NULL, writer_main, store);
		store->has_writer = rc == 0;
		if (rc != 0) {
			xu_error_set_errno(err, rc, "starting the registry's writer");
		}
	}
	if (rc != 0) {
		xreg_store_close(store);
		return rc;
	}
	*ret_store = store;
	return 0;
}

static void stop_writer(struct xreg_store *store)
{
	pthread_mutex_lock(&store->events_mutex);
	store->is_closing = true;
	pthread_cond_broadcast(&store->has_events);
	pthread_mutex_unlock(&store->events_mutex);
	pthread_mutex_lock(&store->queue_mutex);
	store->must_stop = true;
	pthread_cond_signal(&store->has_work);
	pthread_mutex_unlock(&store->queue_mutex);
	pthread_join(store->writer, NULL);
}

void xreg_store_close(struct xreg_store *store)
{
	if (store == NULL) {
		return;
	}
	if (store->has_writer) {
		stop_writer(store);
	}
	if (store->backend != NULL) {
		store->ops->close(store->backend);
	}
	if (store->events != NULL) {
		xreg_events_free(store->events, store->nr_events_kept);
		free(store->events);
	}
	xreg_view_unref(store->view);
	pthread_mutex_destroy(&store->queue_mutex);
	pthread_mutex_destroy(&store->view_mutex);
	pthread_mutex_destroy(&store->events_mutex);
	pthread_mutex_destroy(&store->watch_mutex);
	pthread_cond_destroy(&store->has_work);
	pthread_cond_destroy(&store->has_room);
	pthread_cond_destroy(&store->has_events);
	free(store);
}
