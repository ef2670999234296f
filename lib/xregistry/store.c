/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The store. What is whose:
 *
 *   queue     changes that wait: under `queue_mutex`; the writer takes all of them at once
 *   copies    those that are asked for: under `queue_mutex`; the first is the writer's
 *   puts      documents that are to be put: the same
 *   draft     the next view and the events of a batch: the writer's
 *   view      the current view: under `view_mutex`, which is held to copy a pointer and no longer
 *   events    the last changes, a ring: under `events_mutex`
 *   documents under `documents_mutex`
 *   watchers  under `watch_mutex`, held while they are called
 *
 * A batch is applied change by change, so each sees those before it. One that is refused changes
 * nothing and is answered with the rest. The backend gets the events of the batch as one
 * transaction; when it refuses, the draft is thrown away, all that changed something are answered
 * with its error, and readers go on with the view that they have.
 *
 * Where the backend is shared, another registry may have been first. Then what it did is taken over
 * (store_load.c) and the batch is made anew on top of that, as if it had come just now. When the
 * end of a commit is not known, those who asked are told so; should it have been made, it is taken
 * over later like a change of somebody else.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/log.h"
#include "lib/util/uuid.h"
#include "lib/xregistry/store_private.h"

#define NR_TARGETS_MAX 100000u
#define NR_WAITING_MAX 8192u
#define PATIENCE_MS    10000u /* for others who are always first */

static uint64_t system_now_ms(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
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
		origin.source = change->op == XREG_REGISTER ? change->source : origin.source;
	} else {
		uuid = xu_uuid_random(&store->random);
		xu_uuid_format(&uuid, text);
		snprintf(id, sizeof(id), "tgt-%s", text);
		origin.id = id;
	}
	origin.revision = revision;
	origin.updated_ms = now_ms;
	if (change->desired != NULL) {
		origin.desired = change->desired;
	}
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

/* Whether who registers takes a target over that was found in another way, as nobody's but his from
 * then on, also when whoever found it has lost it. What an operator has set stays. */
static bool is_taken_over(const struct xreg_change *change, const struct xreg_target *other)
{
	return other->origin.source != change->source &&
	       (other->status.state == XREG_UNKNOWN || other->status.state == XREG_OFFLINE);
}

static int do_register(struct xreg_store *store, struct xreg_change *change)
{
	const struct xreg_target *other = at_place(store, change->spec);

	if (other != NULL && !change->may_update) {
		return refuse_place(change, other);
	}
	if (other != NULL) {
		return draft_record(store, change, XREG_EVENT_UPDATED, other,
			is_taken_over(change, other) ? &change->status : &other->status,
			change->spec);
	}
	if (xreg_view_count(store->draft) >= store->nr_targets_max) {
		return xu_error_set(&change->err, -EDQUOT,
			"the registry holds %u targets, as many as it may; unregister some",
			store->nr_targets_max);
	}
	return draft_record(
		store, change, XREG_EVENT_REGISTERED, NULL, &change->status, change->spec);
}

/* What is desired of a target, or what became of that, see desired.h. */
static int do_config(
	struct xreg_store *store, struct xreg_change *change, const struct xreg_target *before)
{
	const struct xreg_desired *old = before->origin.desired;
	uint64_t revision = store->draft->revision + 1;
	int rc = 0;

	if (change->op == XREG_JUDGE_CONFIG) {
		rc = xreg_desired_judge(
			old, &change->verdict, revision, &change->desired, &change->err);
		if (rc == -ESTALE || (rc == 0 && change->desired == NULL)) {
			change->result = xreg_target_ref(before);
			change->revision = before->origin.revision;
			return rc;
		}
	} else {
		change->desired = xreg_desired_set(old, change->config, revision);
	}
	if (rc == 0 && change->desired == NULL) {
		rc = xu_error_set_errno(&change->err, -ENOMEM, "noting what is desired");
	}
	if (rc == 0) {
		rc = draft_record(
			store, change, XREG_EVENT_CONFIG, before, &before->status, &before->spec);
	}
	xreg_desired_unref(change->desired);
	change->desired = NULL;
	return rc;
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
	case XREG_SET_CONFIG:
	case XREG_JUDGE_CONFIG:
		return do_config(store, change, before);
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

/* As it was when it was asked for; it may be made more than once before it is durable. */
static void begin(struct xreg_change *change)
{
	xreg_target_unref(change->result);
	change->result = NULL;
	change->rc = 0;
	change->err = (struct xu_error){0};
	change->revision = 0;
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
		xreg__store_keep(store, store->batch[i]);
	}
	pthread_cond_broadcast(&store->has_events);
	pthread_mutex_unlock(&store->events_mutex);
	store->nr_batch = 0;
}

void xreg__store_show(struct xreg_store *store)
{
	uint64_t revision = store->draft->revision;

	show(store, store->draft);
	store->draft = NULL;
	keep_batch(store);
	xreg__store_tell(store, revision);
}

void xreg__store_drop(struct xreg_store *store)
{
	xreg_events_free(store->batch, store->nr_batch);
	store->nr_batch = 0;
	xreg_view_unref(store->draft);
	store->draft = NULL;
}

/* Makes the changes of the list durable and visible. When it fails with `err` none is; those that
 * were refused for themselves say so each, and are no failure. */
static int make_changes(struct xreg_store *store, struct xreg_change *first, struct xu_error *err)
{
	int rc = 0;

	*err = (struct xu_error){0};
	store->draft = xreg__view_new(store->view); /* nobody else changes store->view */
	if (store->draft == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making the next view");
	}
	for (struct xreg_change *change = first; change != NULL; change = change->next) {
		begin(change);
		apply(store, change);
	}
	if (store->nr_batch != 0) {
		rc = store->ops->commit(
			store->backend, store->batch, store->nr_batch, store->nr_events_kept, err);
	}
	if (rc != 0 || store->nr_batch == 0) {
		xreg__store_drop(store);
	} else {
		xreg__store_show(store);
	}
	return rc;
}

/* Ends the list behind its `count`th change and returns the rest. */
static struct xreg_change *cut(struct xreg_change *first, uint32_t count)
{
	struct xreg_change *rest;

	while (--count != 0 && first->next != NULL) {
		first = first->next;
	}
	rest = first->next;
	first->next = NULL;
	return rest;
}

static void join(struct xreg_change *first, struct xreg_change *rest)
{
	while (first->next != NULL) {
		first = first->next;
	}
	first->next = rest;
}

/* Whether the same is worth another try, after what others did was taken over. */
static bool follow_and_retry(struct xreg_store *store, uint64_t until_ms, struct xu_error *err)
{
	if (store->now_ms(store->now_arg) >= until_ms) {
		err->code = -EBUSY;
		xu_error_prefix(err, "other registries were always first");
		return false;
	}
	*err = (struct xu_error){0};
	return xreg__store_follow(store, err) == 0;
}

/* Makes the changes of the list, as many at a time as the backend takes, and answers them. */
static void run_batch(struct xreg_store *store, struct xreg_change *first)
{
	uint32_t limit =
		store->ops->nr_events_max != 0 ? store->ops->nr_events_max : XREG__BATCH_MAX;
	uint64_t until_ms = store->now_ms(store->now_arg) + PATIENCE_MS;

	while (first != NULL) {
		struct xreg_change *rest = cut(first, limit);
		struct xu_error err;
		int rc = make_changes(store, first, &err);

		if (rc == -E2BIG && first->next != NULL) {
			limit = (limit + 1) / 2;
			join(first, rest);
			continue;
		}
		if (rc == -EAGAIN && follow_and_retry(store, until_ms, &err)) {
			join(first, rest);
			continue;
		}
		if (rc != 0) {
			xu_err(store->log, "changes were not made: %s", err.text);
		}
		answer(first, &err);
		first = rest;
	}
}

/* What the writer is to do next. */
struct work {
	struct xreg_change *changes; /* at most XREG__BATCH_MAX */
	struct xreg_copy *copy;
	struct xreg__put *put;
	bool must_follow;
};

/* Waits for work; false: the end. */
static bool take_work(struct xreg_store *store, struct work *ret_work)
{
	struct xreg_change **end = &store->first;
	uint32_t count = 0;

	pthread_mutex_lock(&store->queue_mutex);
	while (store->first == NULL && store->copies == NULL && store->puts == NULL &&
		!store->must_follow && !store->must_stop) {
		pthread_cond_wait(&store->has_work, &store->queue_mutex);
	}
	*ret_work = (struct work){
		store->first, store->copies, store->puts, store->must_follow && !store->must_stop};
	store->must_follow = false;
	while (*end != NULL && count < XREG__BATCH_MAX) {
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
	return ret_work->changes != NULL || ret_work->copy != NULL || ret_work->put != NULL ||
	       ret_work->must_follow;
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

/* Takes over what others did; what cannot be reached now is told again when it can be. */
static void run_follow(struct xreg_store *store)
{
	struct xu_error err = {0};

	if (xreg__store_follow(store, &err) != 0) {
		xu_warn(store->log, "what other registries do is not known now: %s", err.text);
	}
}

/* Puts the first document of the list. */
static void run_put(struct xreg_store *store, struct xreg__put *put)
{
	uint64_t until_ms = store->now_ms(store->now_arg) + PATIENCE_MS;

	do {
		xreg__store_put(store, put);
	} while (put->rc == -EAGAIN && follow_and_retry(store, until_ms, put->err));
	put->rc = put->err->code;
	pthread_mutex_lock(&store->queue_mutex);
	store->puts = put->next;
	put->is_done = true;
	pthread_cond_broadcast(&store->is_put);
	pthread_mutex_unlock(&store->queue_mutex);
}

static void *writer_main(void *arg)
{
	struct xreg_store *store = arg;
	struct work work;

	while (take_work(store, &work)) {
		if (work.must_follow) {
			run_follow(store);
		}
		if (work.changes != NULL) {
			run_batch(store, work.changes);
		}
		if (work.put != NULL) {
			run_put(store, work.put);
		}
		if (work.copy != NULL) {
			run_copy(store, work.copy);
		}
	}
	return NULL;
}

int xreg_store_put_document(struct xreg_store *store, const char *name, const json_t *document,
	uint64_t if_version, uint64_t *ret_version, struct xu_error *err)
{
	struct xreg__put put = {.name = name,
		.text = json_dumps(document, JSON_COMPACT),
		.if_version = if_version,
		.err = err};
	struct xreg__put **at = &store->puts;

	*err = (struct xu_error){0};
	if (put.text == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "saving '%s'", name);
	}
	pthread_mutex_lock(&store->queue_mutex);
	while (*at != NULL) {
		at = &(*at)->next;
	}
	*at = &put;
	pthread_cond_signal(&store->has_work);
	while (!put.is_done) {
		pthread_cond_wait(&store->is_put, &store->queue_mutex);
	}
	pthread_mutex_unlock(&store->queue_mutex);
	free(put.text);
	*ret_version = put.version;
	return put.rc;
}

void xreg_store_submit(struct xreg_store *store, struct xreg_change *change)
{
	change->result = NULL;
	change->desired = NULL;
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

/* ---- life ---- */

static void init_locks(struct xreg_store *store)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&store->queue_mutex, NULL);
	pthread_mutex_init(&store->view_mutex, NULL);
	pthread_mutex_init(&store->events_mutex, NULL);
	pthread_mutex_init(&store->watch_mutex, NULL);
	pthread_mutex_init(&store->documents_mutex, NULL);
	pthread_cond_init(&store->has_work, NULL);
	pthread_cond_init(&store->has_room, NULL);
	pthread_cond_init(&store->is_put, NULL);
	pthread_cond_init(&store->has_events, &attr);
	pthread_condattr_destroy(&attr);
}

static void on_changed(void *arg)
{
	struct xreg_store *store = arg;

	pthread_mutex_lock(&store->queue_mutex);
	store->must_follow = true;
	pthread_cond_signal(&store->has_work);
	pthread_mutex_unlock(&store->queue_mutex);
}

/* Loads, and starts what goes on from there. */
static int start(struct xreg_store *store, struct xu_error *err)
{
	int rc = xreg__store_load(store, err);

	if (rc == 0 && store->ops->watch != NULL) {
		rc = store->ops->watch(store->backend, on_changed, store, err);
	}
	if (rc != 0) {
		return rc;
	}
	rc = -pthread_create(&store->writer, NULL, writer_main, store);
	store->has_writer = rc == 0;
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "starting the registry's writer");
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
		rc = start(store, err);
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
	for (uint32_t i = 0; i < store->nr_documents; i++) {
		free(store->documents[i].text);
	}
	xreg_view_unref(store->view);
	pthread_mutex_destroy(&store->queue_mutex);
	pthread_mutex_destroy(&store->view_mutex);
	pthread_mutex_destroy(&store->events_mutex);
	pthread_mutex_destroy(&store->watch_mutex);
	pthread_mutex_destroy(&store->documents_mutex);
	pthread_cond_destroy(&store->has_work);
	pthread_cond_destroy(&store->has_room);
	pthread_cond_destroy(&store->is_put);
	pthread_cond_destroy(&store->has_events);
	free(store);
}
