/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subscriptions. One thread owns all subscribers; the server's threads (a new one, one that can
 * take another message, one that has gone) and the store's writer (there is more to tell) only put
 * marks under a mutex and wake it. A subscriber has one message on its way at most, and a place in
 * the store's events: who is slow falls behind there, and when the store forgets what it has not
 * been told it gets OUT_OF_RANGE instead, as soon as it takes something again.
 *
 * Who asks for it also gets what the health monitor tells (health_log.h), which has numbers and no
 * revisions: each message has both places, so who comes back with them misses nothing that is still
 * kept. What is not, and that the registry was started anew meanwhile, is a message of its own,
 * behind which it goes on with the first there is.
 *
 * A subscriber is freed when the server will not call for it any more (on_free).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/list.h"
#include "lib/xregistry/grpc/events.h"
#include "lib/xregistry/health_log.h"

#define NR_FETCHED           32u   /* events that a subscriber takes from the store at a time */
#define NR_LOOKED_AT         4096u /* before others have their turn */
#define PROGRESS_SECONDS_MAX 3600u
#define NR_IDS_MAX           1024u
#define NR_TYPES_MAX         64u
#define TICK_NS              1000000000u

struct subscriber {
	struct xreg__events *events;
	struct xrpc_grpc_call *call;
	const pb_event_subscription_request *request; /* the call's */
	struct xreg__pb_filter filter;

	/* Marks, under the mutex. */
	struct xu_list mail; /* on events->mail */
	bool is_new, is_ready, is_cancelled, is_over;

	/* The thread's. */
	struct xu_list link;
	bool is_idle;       /* a message may be sent */
	bool must_progress; /* the first message */
	uint64_t revision;  /* it knows all up to this */
	uint64_t told_ns;
	struct xreg_event fetched[NR_FETCHED];
	uint32_t nr_fetched, at;
	uint64_t health_number; /* it knows all up to this, when the request has `health` */
	bool is_health_lost;    /* to be told */
};

struct xreg__events {
	struct xreg_store *store;
	struct xreg_health_log *health_log; /* NULL: none */
	uint32_t nr_max;
	pthread_t thread;
	struct xreg_watcher watcher;
	struct xreg_health_watch health_watch;
	struct xu_list subscribers; /* the thread's */
	uint32_t nr_with_progress;  /* the thread's */

	pthread_mutex_t mutex;
	pthread_cond_t has_work;
	struct xu_list mail;
	uint32_t nr_subscribers;
	bool has_news, has_health_news, must_stop;
	bool is_gone; /* the thread */
};

static uint64_t now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

/* ---- marks ---- */

/* Sets one of its marks, unless it is over. False: nobody will look at it. */
static bool mark(struct subscriber *sub, bool *flag)
{
	struct xreg__events *events = sub->events;
	bool is_seen;

	pthread_mutex_lock(&events->mutex);
	is_seen = !events->is_gone;
	if (is_seen && !sub->is_over) {
		*flag = true;
		if (!xu_list_is_linked(&sub->mail)) {
			xu_list_add_tail(&events->mail, &sub->mail);
		}
		pthread_cond_signal(&events->has_work);
	}
	pthread_mutex_unlock(&events->mutex);
	return is_seen;
}

static void on_ready(struct xrpc_grpc_call *call, void *arg)
{
	struct subscriber *sub = arg;

	mark(sub, &sub->is_ready);
}

static void on_cancel(struct xrpc_grpc_call *call, void *arg)
{
	struct subscriber *sub = arg;

	mark(sub, &sub->is_cancelled);
}

static void on_free(void *arg)
{
	free(arg);
}

static void on_news(struct xreg_watcher *watcher, uint64_t revision)
{
	struct xreg__events *events = xu_container_of(watcher, struct xreg__events, watcher);

	pthread_mutex_lock(&events->mutex);
	events->has_news = true;
	pthread_cond_signal(&events->has_work);
	pthread_mutex_unlock(&events->mutex);
}

static void on_health_news(struct xreg_health_watch *watch)
{
	struct xreg__events *events = xu_container_of(watch, struct xreg__events, health_watch);

	pthread_mutex_lock(&events->mutex);
	events->has_health_news = true;
	pthread_cond_signal(&events->has_work);
	pthread_mutex_unlock(&events->mutex);
}

/* ---- the end of one ---- */

/* Nobody puts marks on it any more, and it is off the lists. */
static void leave(struct subscriber *sub)
{
	struct xreg__events *events = sub->events;

	pthread_mutex_lock(&events->mutex);
	sub->is_over = true;
	xu_list_del(&sub->mail);
	events->nr_subscribers--;
	pthread_mutex_unlock(&events->mutex);
	if (xu_list_is_linked(&sub->link)) {
		xu_list_del(&sub->link);
		events->nr_with_progress -= sub->request->progress_seconds != 0;
	}
	xreg_events_free(sub->fetched + sub->at, sub->nr_fetched - sub->at);
}

static void end_with(struct subscriber *sub, enum xrpc_grpc_code code, const char *sentence)
{
	struct xrpc_grpc_call *call = sub->call;

	leave(sub);
	xrpc_grpc_fail(call, code, "%s", sentence);
}

static void end_without_memory(struct subscriber *sub)
{
	end_with(sub, XRPC_GRPC_RESOURCE_EXHAUSTED, "no memory; subscribe again");
}

/* ---- telling ---- */

/* As the interface counts, in which 5 is the progress. */
static uint32_t type_of(enum xreg_event_kind kind)
{
	return kind == XREG_EVENT_CONFIG ? (uint32_t)PB_VALUE(TARGET_EVENT_TYPE__EVENT_CONFIG)
					 : (uint32_t)kind;
}

static bool is_type_wanted(const pb_event_subscription_request *request, uint32_t type)
{
	for (size_t i = 0; i < request->n_types; i++) {
		if ((uint32_t)request->types[i] == type) {
			return true;
		}
	}
	return request->n_types == 0;
}

static bool is_id_wanted(const pb_event_subscription_request *request, const char *id)
{
	for (size_t i = 0; i < request->n_target_ids; i++) {
		if (strcmp(request->target_ids[i], id) == 0) {
			return true;
		}
	}
	return request->n_target_ids == 0;
}

static bool is_health_type_wanted(const pb_health_subscription *health, uint32_t type)
{
	for (size_t i = 0; i < health->n_types; i++) {
		if ((uint32_t)health->types[i] == type) {
			return true;
		}
	}
	return health->n_types == 0;
}

/* What is of no target is of all. */
static bool is_health_wanted(const struct subscriber *sub, const struct xreg_health_event *event)
{
	return is_health_type_wanted(sub->request->health, event->kind) &&
	       (event->target == NULL || (is_id_wanted(sub->request, event->target->origin.id) &&
						 xreg__pb_matches(&sub->filter, event->target)));
}

/* What a target was counts too: who watches a rack wants to know what leaves it. */
static bool is_wanted(const struct subscriber *sub, const struct xreg_event *event)
{
	const struct xreg_target *target = event->after != NULL ? event->after : event->before;

	return is_type_wanted(sub->request, type_of(event->kind)) &&
	       is_id_wanted(sub->request, target->origin.id) &&
	       ((event->after != NULL && xreg__pb_matches(&sub->filter, event->after)) ||
		       (event->before != NULL && xreg__pb_matches(&sub->filter, event->before)));
}

static void send(struct subscriber *sub, pb_target_event *message)
{
	pb_health_place place = PB_INIT(HEALTH_PLACE);

	message->revision = sub->revision;
	if (sub->request->health != NULL) {
		place.epoch = xreg_health_log_epoch(sub->events->health_log);
		place.number = sub->health_number;
		message->health_place = &place;
	}
	sub->is_idle = false;
	sub->must_progress = false;
	sub->told_ns = now_ns();
	xrpc_grpc_send(sub->call, &message->base);
}

/* One that has nothing but its type and the places. */
static void tell_plain(struct subscriber *sub, pb_target_event_type type)
{
	pb_target_event message = PB_INIT(TARGET_EVENT);

	message.type = type;
	message.timestamp_ms = (int64_t)(xu_clock_system()->wall_ns(xu_clock_system()) / 1000000);
	send(sub, &message);
}

/* False: there was no memory, and it is over. */
static bool tell_event(struct subscriber *sub, const struct xreg_event *event)
{
	const struct xreg_target *target = event->after != NULL ? event->after : event->before;
	pb_target_event message = PB_INIT(TARGET_EVENT);

	message.target = xreg__pb_target(target, NULL);
	if (message.target == NULL) {
		end_without_memory(sub);
		return false;
	}
	message.type = (pb_target_event_type)type_of(event->kind);
	message.timestamp_ms = (int64_t)event->at_ms;
	message.target_id = xreg__pb_text(target->origin.id);
	message.old_status = event->before != NULL ? (pb_target_status)event->before->status.state
						   : PB_VALUE(TARGET_STATUS__UNKNOWN);
	message.new_status = event->after != NULL ? (pb_target_status)event->after->status.state
						  : PB_VALUE(TARGET_STATUS__UNKNOWN);
	send(sub, &message);
	free(message.target);
	return true;
}

static void tell_progress(struct subscriber *sub)
{
	tell_plain(sub, PB_VALUE(TARGET_EVENT_TYPE__EVENT_PROGRESS));
}

static void tell_health(struct subscriber *sub, const struct xreg_health_event *event)
{
	pb_target_event message = PB_INIT(TARGET_EVENT);
	pb_health_event health;

	xreg__pb_health_event(event, &health);
	message.type = PB_VALUE(TARGET_EVENT_TYPE__EVENT_HEALTH);
	message.timestamp_ms = (int64_t)event->at_ms;
	message.health = &health;
	if (event->target != NULL) {
		message.target_id = xreg__pb_text(event->target->origin.id);
	}
	message.old_status = (pb_target_status)event->state_before;
	message.new_status = (pb_target_status)event->state;
	send(sub, &message);
}

static void tell_health_lost(struct subscriber *sub)
{
	sub->is_health_lost = false;
	tell_plain(sub, PB_VALUE(TARGET_EVENT_TYPE__EVENT_HEALTH_LOST));
}

/* The next events from the store, unless it has some. False: it is over. */
static bool fetch(struct subscriber *sub)
{
	struct xreg_store *store = sub->events->store;
	struct xreg_view *view;
	uint64_t shown;
	int rc;

	if (sub->at != sub->nr_fetched) {
		return true;
	}
	sub->at = 0;
	rc = xreg_store_events(store, sub->revision, sub->fetched, NR_FETCHED, &sub->nr_fetched);
	if (rc != -ESTALE) {
		return true;
	}
	/* A view is shown a moment before its events are known. */
	view = xreg_store_view(store);
	shown = xreg_view_revision(view);
	xreg_view_unref(view);
	if (sub->revision <= shown && sub->revision > xreg_store_wait(store, 0, 0)) {
		return true;
	}
	end_with(sub, XRPC_GRPC_OUT_OF_RANGE,
		sub->revision > shown
			? "the revision is yet to come, so it was told by other data; list the "
			  "targets and subscribe from there"
			: "the events since the revision are not all known any more: the "
			  "subscriber was too slow, or away for too long; list the targets and "
			  "subscribe from there");
	return false;
}

/* Takes the next event of those that were fetched. False: it is over. */
static bool take_event(struct subscriber *sub)
{
	struct xreg_event event = sub->fetched[sub->at++];
	bool goes_on;

	sub->revision = event.revision;
	goes_on = !is_wanted(sub, &event) || tell_event(sub, &event);
	xreg_events_free(&event, 1);
	return goes_on;
}

/* Takes the next of what the health monitor has told. False: there is none now, or it is over. */
static bool take_health(struct subscriber *sub)
{
	struct xreg_health_note note;
	int rc;

	if (sub->request->health == NULL) {
		return false;
	}
	if (sub->is_health_lost) {
		tell_health_lost(sub);
		return true;
	}
	rc = xreg_health_log_next(sub->events->health_log, sub->health_number, &note);
	if (rc == -ENOMEM) {
		end_without_memory(sub);
	}
	if (rc != 0) {
		return false;
	}
	if (note.number != sub->health_number + 1) {
		sub->health_number = note.number - 1;
		tell_health_lost(sub);
	} else {
		sub->health_number = note.number;
		if (is_health_wanted(sub, &note.event)) {
			tell_health(sub, &note.event);
		}
	}
	xreg_health_note_free(&note);
	return true;
}

/* Tells it the next thing that it wants to know, if there is one and it can take it. */
static void pump(struct subscriber *sub)
{
	for (uint32_t i = 0; sub->is_idle && i < NR_LOOKED_AT; i++) {
		if (!fetch(sub)) {
			return;
		}
		if (sub->must_progress) { /* the first message, before what it is to be told */
			tell_progress(sub);
			return;
		}
		if (sub->at != sub->nr_fetched ? !take_event(sub) : !take_health(sub)) {
			return;
		}
	}
	if (sub->is_idle) {
		mark(sub, &sub->is_ready); /* its turn comes again */
	}
}

/* ---- the thread ---- */

static void take_mail(struct subscriber *sub, bool is_new, bool is_ready, bool is_cancelled)
{
	struct xreg__events *events = sub->events;

	if (is_new) {
		xu_list_add_tail(&events->subscribers, &sub->link);
		events->nr_with_progress += sub->request->progress_seconds != 0;
	}
	sub->is_idle |= is_ready || is_new;
	if (is_cancelled) {
		end_with(sub, XRPC_GRPC_CANCELLED, "cancelled");
	} else {
		pump(sub);
	}
}

/* Takes one subscriber with marks. NULL: none; when it stops, there will be none any more. */
static struct subscriber *next_mail(
	struct xreg__events *events, bool *ret_is_new, bool *ret_is_ready, bool *ret_is_cancelled)
{
	struct xu_list *node;
	struct subscriber *sub = NULL;

	pthread_mutex_lock(&events->mutex);
	node = xu_list_pop(&events->mail);
	events->is_gone = node == NULL && events->must_stop;
	if (node != NULL) {
		sub = xu_list_entry(node, struct subscriber, mail);
		*ret_is_new = sub->is_new;
		*ret_is_ready = sub->is_ready;
		*ret_is_cancelled = sub->is_cancelled;
		sub->is_new = sub->is_ready = sub->is_cancelled = false;
	}
	pthread_mutex_unlock(&events->mutex);
	return sub;
}

/* What a thread is woken for, beside marks. */
struct news {
	bool is_of_store, is_of_health, is_end;
};

/* Waits for marks, news, the end, or the next tick. */
static struct news wait_for_work(struct xreg__events *events)
{
	struct timespec end;
	struct news news;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec++;
	pthread_mutex_lock(&events->mutex);
	while (rc == 0 && xu_list_is_empty(&events->mail) && !events->has_news &&
		!events->has_health_news && !events->must_stop) {
		rc = events->nr_with_progress != 0
			     ? pthread_cond_timedwait(&events->has_work, &events->mutex, &end)
			     : pthread_cond_wait(&events->has_work, &events->mutex);
	}
	news = (struct news){events->has_news, events->has_health_news, events->must_stop};
	events->has_news = events->has_health_news = false;
	pthread_mutex_unlock(&events->mutex);
	return news;
}

/* Those who wait for such news and may take them. */
static void tell_news(struct xreg__events *events, const struct news *news)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &events->subscribers) {
		struct subscriber *sub = xu_list_entry(node, struct subscriber, link);

		if (news->is_of_store || (news->is_of_health && sub->request->health != NULL)) {
			pump(sub);
		}
	}
}

static void tell_all_progress(struct xreg__events *events)
{
	struct xu_list *node;
	uint64_t now = now_ns();

	xu_list_for_each (node, &events->subscribers) {
		struct subscriber *sub = xu_list_entry(node, struct subscriber, link);
		uint64_t every_ns = (uint64_t)sub->request->progress_seconds * TICK_NS;

		if (every_ns != 0 && sub->is_idle && now - sub->told_ns >= every_ns) {
			tell_progress(sub);
		}
	}
}

static void end_all(struct xreg__events *events)
{
	bool is_new, is_ready, is_cancelled;
	struct subscriber *sub;
	struct xu_list *node;

	while ((node = xu_list_first(&events->subscribers)) != NULL) {
		end_with(xu_list_entry(node, struct subscriber, link), XRPC_GRPC_UNAVAILABLE,
			"the registry stops");
	}
	/* Those who are left in the mail are new. */
	while ((sub = next_mail(events, &is_new, &is_ready, &is_cancelled)) != NULL) {
		end_with(sub, XRPC_GRPC_UNAVAILABLE, "the registry stops");
	}
}

static void *thread_main(void *arg)
{
	struct xreg__events *events = arg;
	bool is_new, is_ready, is_cancelled;
	uint64_t ticked_ns = now_ns();

	for (;;) {
		const struct news news = wait_for_work(events);
		struct subscriber *sub;
		uint32_t count = 0;

		if (news.is_end) {
			end_all(events);
			return NULL;
		}
		/* Not for ever: each may come again at once. */
		while (count++ < NR_LOOKED_AT &&
			(sub = next_mail(events, &is_new, &is_ready, &is_cancelled)) != NULL) {
			take_mail(sub, is_new, is_ready, is_cancelled);
		}
		if (news.is_of_store || news.is_of_health) {
			tell_news(events, &news);
		}
		if (now_ns() - ticked_ns >= TICK_NS) {
			tell_all_progress(events);
			ticked_ns = now_ns();
		}
	}
}

/* ---- the beginning of one ---- */

/* NULL: there are too many, no memory, or it stops. */
static struct subscriber *reserve(struct xreg__events *events)
{
	struct subscriber *sub = calloc(1, sizeof(*sub));
	bool has_place;

	if (sub == NULL) {
		return NULL;
	}
	pthread_mutex_lock(&events->mutex);
	has_place = events->nr_subscribers < events->nr_max && !events->must_stop;
	events->nr_subscribers += has_place;
	pthread_mutex_unlock(&events->mutex);
	if (!has_place) {
		free(sub);
		return NULL;
	}
	sub->events = events;
	xu_list_init(&sub->mail);
	xu_list_init(&sub->link);
	return sub;
}

/* NULL: it can be. */
static const char *problem_of(
	const struct xreg__events *events, const pb_event_subscription_request *request)
{
	const bool is_named = request->n_types != 0 &&
			      is_type_wanted(request, PB_VALUE(TARGET_EVENT_TYPE__EVENT_HEALTH));

	if (request->progress_seconds > PROGRESS_SECONDS_MAX) {
		return "progress_seconds is at most 3600";
	}
	if (request->n_target_ids > NR_IDS_MAX || request->n_types > NR_TYPES_MAX ||
		(request->health != NULL && request->health->n_types > NR_TYPES_MAX)) {
		return "there are at most 1024 target_ids and 64 types";
	}
	if (is_named && request->health == NULL) {
		return "types has EVENT_HEALTH, for which there must be a health";
	}
	if (request->health != NULL && request->n_types != 0 && !is_named) {
		return "there is a health, but types has no EVENT_HEALTH";
	}
	if (request->health != NULL && events->health_log == NULL) {
		return "there is no health monitor here, so there can be no health";
	}
	return NULL;
}

/* Where it begins in what the health monitor tells. */
static void place_health(struct subscriber *sub)
{
	const pb_health_place *since = sub->request->health->since;
	struct xreg_health_log *log = sub->events->health_log;

	if (since != NULL) {
		sub->is_health_lost = !xreg_health_log_resume(
			log, since->epoch, since->number, &sub->health_number);
	} else {
		sub->health_number = xreg_health_log_last(log);
	}
}

void xreg__events_subscribe(struct xreg__events *events, struct xrpc_grpc_call *call,
	const pb_event_subscription_request *request)
{
	static const struct xrpc_grpc_stream_ops ops = {on_ready, on_cancel, on_free};
	const char *problem = problem_of(events, request);
	struct subscriber *sub;

	if (problem != NULL) {
		xrpc_grpc_fail(call, XRPC_GRPC_INVALID_ARGUMENT, "%s", problem);
		return;
	}
	sub = reserve(events);
	if (sub == NULL) {
		xrpc_grpc_fail(call, XRPC_GRPC_RESOURCE_EXHAUSTED,
			"there are %u subscribers already, as many as the registry takes",
			events->nr_max);
		return;
	}
	sub->call = call;
	sub->request = request;
	sub->filter = (struct xreg__pb_filter){.node_id = request->node_id,
		.nqn = request->nqn,
		.address = "",
		.location = request->location,
		.tag = request->tag};
	sub->must_progress = true;
	sub->revision = request->since_case != 0 ? request->since_revision
						 : xreg_store_wait(events->store, 0, 0);
	if (request->health != NULL) {
		place_health(sub);
	}
	xrpc_grpc_stream(call, &ops, sub);
	if (!mark(sub, &sub->is_new)) {
		end_with(sub, XRPC_GRPC_UNAVAILABLE, "the registry stops");
	}
}

/* ---- life ---- */

int xreg__events_start(struct xreg_store *store, struct xreg_health_log *health_log,
	uint32_t nr_max, struct xreg__events **ret_events, struct xu_error *err)
{
	struct xreg__events *events = calloc(1, sizeof(*events));
	pthread_condattr_t attr;
	int rc;

	if (events == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting subscriptions");
	}
	events->store = store;
	events->health_log = health_log;
	events->nr_max = nr_max;
	events->watcher.fn = on_news;
	events->health_watch.fn = on_health_news;
	xu_list_init(&events->subscribers);
	xu_list_init(&events->mail);
	pthread_mutex_init(&events->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&events->has_work, &attr);
	pthread_condattr_destroy(&attr);
	rc = -pthread_create(&events->thread, NULL, thread_main, events);
	if (rc != 0) {
		xreg__events_free(events);
		return xu_error_set_errno(err, rc, "starting the thread of subscriptions");
	}
	xreg_store_watch(store, &events->watcher);
	if (health_log != NULL) {
		xreg_health_log_watch(health_log, &events->health_watch);
	}
	*ret_events = events;
	return 0;
}

void xreg__events_stop(struct xreg__events *events)
{
	if (events->must_stop) {
		return;
	}
	xreg_store_unwatch(events->store, &events->watcher);
	if (events->health_log != NULL) {
		xreg_health_log_unwatch(events->health_log, &events->health_watch);
	}
	pthread_mutex_lock(&events->mutex);
	events->must_stop = true;
	pthread_cond_signal(&events->has_work);
	pthread_mutex_unlock(&events->mutex);
	pthread_join(events->thread, NULL);
}

void xreg__events_free(struct xreg__events *events)
{
	pthread_cond_destroy(&events->has_work);
	pthread_mutex_destroy(&events->mutex);
	free(events);
}
