/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One thread: asks a method, compares what it found with what the store has of that source, makes
 * the changes one after the other (each waits until it is durable, which bounds what finding
 * costs), goes on with the next method, sleeps. A method whose targets want to be looked for more
 * often than others is asked more often; which that is, the store's events tell. What was found
 * belongs to the thread; the methods and their counters are under the mutex. One that is exchanged
 * or removed while it is being asked is so by the thread, when it has come back; nobody waits for
 * that.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/list.h"
#include "lib/util/log.h"
#include "lib/xregistry/desired.h"
#include "lib/xregistry/finder.h"
#include "lib/xregistry/follow.h"

#define FOUND_MAX 100000u
#define REASON    "not found"

struct xreg_found {
	struct xreg_target **targets; /* records without an identity, for their specifications */
	uint32_t count, room;
};

struct method {
	const struct xreg_find_method *ops; /* NULL: none */
	void *arg;
};

struct asked {
	struct method now, next;
	bool is_busy;     /* the thread asks it */
	bool is_changing; /* `next` comes when it does no more */
	uint64_t nr_attempts, nr_successes, nr_failures;
	uint32_t nr_found;
	char problem[256];
	bool is_woken; /* it is to be asked before its time */
	bool was_asked;
	uint64_t asked_ns;
	uint32_t interval_s; /* the shortest that its targets ask for; 0: none does */
};

struct xreg_finder {
	struct xreg_finder_opts opts;
	struct asked methods[XREG_FIND_METHODS_MAX];
	pthread_t thread;
	bool has_thread;
	struct xreg_watcher watcher;
	struct xreg_follow follow; /* the thread's */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool must_stop, is_kicked, has_news;
	struct xreg_find_other other; /* `json` NULL: nobody */
};

/* ---- what was found ---- */

int xreg_found_add(struct xreg_found *found, const struct xreg_spec *spec, struct xu_error *err)
{
	const struct xreg_origin origin = {.id = ""};
	const struct xreg_status status = {.state = XREG_UNKNOWN, .reason = ""};
	struct xreg_target **more;

	if (found->count == FOUND_MAX) {
		return xu_error_set(err, -EDQUOT, "more than %u targets were found", FOUND_MAX);
	}
	if (found->count == found->room) {
		uint32_t room = found->room != 0 ? 2 * found->room : 16;

		more = realloc(found->targets, room * sizeof(*more));
		if (more == NULL) {
			return xu_error_set_errno(err, -ENOMEM, "keeping what was found");
		}
		found->targets = more;
		found->room = room;
	}
	found->targets[found->count] = xreg_target_new(&origin, &status, spec);
	if (found->targets[found->count] == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "keeping what was found");
	}
	found->count++;
	return 0;
}

static void free_found(struct xreg_found *found)
{
	for (uint32_t i = 0; i < found->count; i++) {
		xreg_target_unref(found->targets[i]);
	}
	free(found->targets);
}

static int compare_places(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Where all of it is, sorted; the texts are its own. NULL: no memory. */
static const char **places_of(const struct xreg_found *found)
{
	const char **places = calloc(found->count + 1, sizeof(*places));

	for (uint32_t i = 0; places != NULL && i < found->count; i++) {
		places[i] = found->targets[i]->place;
	}
	if (places != NULL) {
		qsort(places, found->count, sizeof(*places), compare_places);
	}
	return places;
}

/* ---- bringing the store to it ---- */

static void make(struct xreg_finder *finder, struct xreg_change *change)
{
	if (xreg_store_change(finder->opts.store, change) != 0 && change->rc != -EEXIST &&
		change->rc != -ENOENT) {
		xu_err(finder->opts.log, "what was found is not registered: %s", change->err.text);
	}
	xreg_target_unref(change->result);
}

static bool is_lost(const struct xreg_target *target)
{
	return target->status.state == XREG_OFFLINE && strcmp(target->status.reason, REASON) == 0;
}

static bool is_same(const struct xreg_spec *a, const struct xreg_spec *b)
{
	json_t *one = xreg_spec_to_json(a), *two = xreg_spec_to_json(b);
	bool is_equal = one != NULL && two != NULL && json_equal(one, two);

	json_decref(one);
	json_decref(two);
	return is_equal;
}

/* One that was found: new, different, back, or as it was. */
static void take_one(struct xreg_finder *finder, const struct xreg_view *view, uint32_t source,
	const struct xreg_target *found)
{
	const struct xreg_target *known = xreg_view_first(view, XREG_BY_PLACE, found->place);
	struct xreg_change change = {.op = XREG_REGISTER,
		.spec = &found->spec,
		.status = {.state = XREG_UNKNOWN, .reason = ""},
		.source = source};

	if (known == NULL) {
		make(finder, &change);
		return;
	}
	if (known->origin.source != source || xreg_target_is_fixed(known)) {
		return;
	}
	change.id = known->origin.id;
	if (!is_same(&known->spec, &found->spec)) {
		change.op = XREG_UPDATE;
		make(finder, &change);
	}
	if (is_lost(known)) {
		change.op = XREG_SET_STATUS;
		change.result = NULL;
		make(finder, &change);
	}
}

struct lost {
	struct xreg_finder *finder;
	const char **places; /* of what was found */
	uint32_t nr_places;
	uint32_t source;
};

static bool is_found(const struct lost *lost, const char *place)
{
	return bsearch(&place, lost->places, lost->nr_places, sizeof(*lost->places),
		       compare_places) != NULL;
}

static bool lose_one(void *arg, const struct xreg_target *target)
{
	const struct lost *lost = arg;
	struct xreg_change change = {.op = XREG_SET_STATUS,
		.id = target->origin.id,
		.if_revision = target->origin.revision,
		.status = {.state = XREG_OFFLINE, .reason = REASON}};

	if (target->origin.source == lost->source && !xreg_target_is_fixed(target) &&
		target->status.state != XREG_MAINTENANCE && !is_lost(target) &&
		!is_found(lost, target->place)) {
		make(lost->finder, &change);
	}
	return true;
}

static int take_all(struct xreg_finder *finder, uint32_t source, const struct xreg_found *found,
	struct xu_error *err)
{
	struct lost lost = {finder, NULL, found->count, source};
	struct xreg_view *view;

	/* Of several registries on the same data one says what there is. */
	if (!xreg_store_leads(finder->opts.store)) {
		return 0;
	}
	lost.places = places_of(found);
	if (lost.places == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "looking for what is not found any more");
	}
	view = xreg_store_view(finder->opts.store);
	for (uint32_t i = 0; i < found->count; i++) {
		take_one(finder, view, source, found->targets[i]);
	}
	xreg_view_each(view, XREG_BY_ID, "", true, lose_one, &lost);
	xreg_view_unref(view);
	free(lost.places);
	return 0;
}

/* ---- methods that come and go ---- */

static void finish(const struct method *method)
{
	if (method->ops != NULL && method->ops->fini != NULL) {
		method->ops->fini(method->arg);
	}
}

/* With the mutex. Returns what was there before, for finish() without it. */
static struct method exchange(struct asked *asked, struct method next)
{
	struct method old = asked->now;

	if (old.ops != NULL && old.ops == next.ops && next.ops->inherit != NULL) {
		next.ops->inherit(next.arg, old.arg);
	}
	if (next.ops == NULL) {
		*asked = (struct asked){.is_woken = false};
		return old;
	}
	asked->now = next;
	asked->is_changing = false;
	asked->is_woken = true;
	asked->problem[0] = '\0';
	return old;
}

/* With the mutex; also returns what is left to finish(). */
static struct method change(struct asked *asked, struct method next)
{
	struct method left = {.ops = NULL};

	if (!asked->is_busy) {
		return exchange(asked, next);
	}
	if (asked->is_changing) {
		left = asked->next;
	} else if (asked->now.ops->cancel != NULL) {
		asked->now.ops->cancel(asked->now.arg);
	}
	asked->next = next;
	asked->is_changing = true;
	return left;
}

/* With the mutex. The one of that name, or else one that is free; NULL: there is none. */
static struct asked *find_asked(struct xreg_finder *finder, const char *name)
{
	struct asked *vacant = NULL;

	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		struct asked *asked = &finder->methods[i];

		if (asked->now.ops == NULL) {
			vacant = vacant != NULL ? vacant : asked;
		} else if (strcmp(asked->now.ops->name, name) == 0) {
			return asked;
		}
	}
	return vacant;
}

int xreg_finder_add(struct xreg_finder *finder, const struct xreg_find_method *method, void *arg,
	struct xu_error *err)
{
	struct method left = {.ops = NULL};
	struct asked *asked;

	pthread_mutex_lock(&finder->mutex);
	asked = find_asked(finder, method->name);
	if (asked != NULL) {
		left = change(asked, (struct method){method, arg});
		pthread_cond_signal(&finder->cond);
	}
	pthread_mutex_unlock(&finder->mutex);
	finish(&left);
	return asked != NULL ? 0
			     : xu_error_set(err, -ENOSPC, "there is no room for the method %s",
				       method->name);
}

void xreg_finder_remove(struct xreg_finder *finder, const char *name)
{
	struct method left = {.ops = NULL};
	struct asked *asked;

	pthread_mutex_lock(&finder->mutex);
	asked = find_asked(finder, name);
	if (asked != NULL && asked->now.ops != NULL) {
		left = change(asked, left);
	}
	pthread_mutex_unlock(&finder->mutex);
	finish(&left);
}

/* ---- how often ---- */

struct haste {
	uint32_t source;
	uint32_t interval_s; /* the shortest; 0: none */
};

/* A target that may want those of its source to be looked for more often. */
static void hasten(struct haste *haste, const struct xreg_target *target)
{
	uint32_t interval_s = xreg_target_interval_s(target);

	if (target->origin.source == haste->source && interval_s != 0 &&
		(haste->interval_s == 0 || interval_s < haste->interval_s)) {
		haste->interval_s = interval_s;
	}
}

static bool hasten_by_one(void *arg, const struct xreg_target *target)
{
	hasten(arg, target);
	return true;
}

/* What all targets of a source ask for, which may have let go of what they wanted before. */
static uint32_t interval_of(struct xreg_finder *finder, uint32_t source)
{
	struct xreg_view *view = xreg_store_view(finder->opts.store);
	struct haste haste = {.source = source};

	xreg_view_each(view, XREG_BY_ID, "", true, hasten_by_one, &haste);
	xreg_view_unref(view);
	return haste.interval_s;
}

static void hasten_all(void *arg, const struct xreg_target *target)
{
	struct xreg_finder *finder = arg;

	pthread_mutex_lock(&finder->mutex);
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		struct asked *asked = &finder->methods[i];

		if (asked->now.ops != NULL) {
			struct haste haste = {asked->now.ops->source, asked->interval_s};

			hasten(&haste, target);
			asked->interval_s = haste.interval_s;
		}
	}
	pthread_mutex_unlock(&finder->mutex);
}

static void on_store_changed(struct xreg_watcher *watcher, uint64_t revision)
{
	struct xreg_finder *finder = xu_container_of(watcher, struct xreg_finder, watcher);

	pthread_mutex_lock(&finder->mutex);
	finder->has_news = true;
	pthread_cond_signal(&finder->cond);
	pthread_mutex_unlock(&finder->mutex);
}

/* With the mutex. */
static uint64_t due_ns(const struct asked *asked, uint32_t interval_s)
{
	if (asked->interval_s != 0 && asked->interval_s < interval_s) {
		interval_s = asked->interval_s;
	}
	return asked->was_asked ? asked->asked_ns + interval_s * XU_NS_PER_S : 0;
}

/* ---- the thread ---- */

/* Counts a round, and tells of a problem once, and once when it is over. With the mutex. */
static void note(struct xreg_finder *finder, struct asked *asked, int rc, uint32_t nr_found,
	const char *problem)
{
	const char *name = asked->now.ops->name;

	if (rc != 0 && rc != -ECANCELED &&
		strncmp(asked->problem, problem, sizeof(asked->problem) - 1) != 0) {
		xu_warn(finder->opts.log, "finding targets by %s: %s", name, problem);
	}
	if (rc == 0 && asked->problem[0] != '\0') {
		xu_info(finder->opts.log, "finding targets by %s works again", name);
	}
	asked->nr_attempts++;
	asked->nr_successes += rc == 0;
	asked->nr_failures += rc != 0;
	asked->nr_found = rc == 0 ? nr_found : asked->nr_found;
	snprintf(asked->problem, sizeof(asked->problem), "%.255s", problem);
}

/* Whose turn it is now, if it is; it is busy then. `is_kicked`: it is everybody's. */
static struct method begin(
	struct xreg_finder *finder, struct asked *asked, bool is_kicked, uint32_t *ret_timeout_s)
{
	uint64_t now_ns = xu_clock_now_ns(xu_clock_system());
	struct method method = {.ops = NULL};

	pthread_mutex_lock(&finder->mutex);
	if (asked->now.ops != NULL && !finder->must_stop &&
		(is_kicked || asked->is_woken ||
			due_ns(asked, finder->opts.interval_s) <= now_ns)) {
		method = asked->now;
		asked->is_busy = true;
		asked->is_woken = false;
		*ret_timeout_s = finder->opts.timeout_s;
	}
	pthread_mutex_unlock(&finder->mutex);
	return method;
}

/* It is not busy any more; what was to come instead does. A round that was broken off for that does
 * not count. */
static void end(struct xreg_finder *finder, struct asked *asked, int rc, uint32_t nr_found,
	const char *problem)
{
	uint32_t interval_s = interval_of(finder, asked->now.ops->source);
	struct method left = {.ops = NULL};

	pthread_mutex_lock(&finder->mutex);
	asked->is_busy = false;
	if (asked->is_changing) {
		left = exchange(asked, asked->next);
	} else {
		note(finder, asked, rc, nr_found, problem);
		asked->interval_s = interval_s;
		asked->was_asked = true;
		asked->asked_ns = xu_clock_now_ns(xu_clock_system());
	}
	pthread_mutex_unlock(&finder->mutex);
	finish(&left);
}

static void ask(struct xreg_finder *finder, struct asked *asked, bool is_kicked)
{
	struct xreg_found found = {0};
	struct xu_error err = {0};
	uint32_t timeout_s;
	struct method method = begin(finder, asked, is_kicked, &timeout_s);
	int rc;

	if (method.ops == NULL) {
		return;
	}
	rc = method.ops->find(method.arg, timeout_s, &found, &err);
	if (rc == 0) {
		rc = take_all(finder, method.ops->source, &found, &err);
	}
	end(finder, asked, rc, found.count, rc == 0 ? "" : err.text);
	free_found(&found);
}

/* With the mutex. */
static bool is_any_woken(const struct xreg_finder *finder)
{
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		if (finder->methods[i].is_woken) {
			return true;
		}
	}
	return false;
}

/* When the next one is to be asked. With the mutex. */
static struct timespec next_due(const struct xreg_finder *finder)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		const struct asked *asked = &finder->methods[i];
		uint64_t at_ns = asked->now.ops != NULL ? due_ns(asked, finder->opts.interval_s)
							: UINT64_MAX;

		next_ns = at_ns < next_ns ? at_ns : next_ns;
	}
	return (struct timespec){.tv_sec = (time_t)(next_ns / XU_NS_PER_S),
		.tv_nsec = (long)(next_ns % XU_NS_PER_S)};
}

/* Until somebody is to be asked, or targets have changed. False: the end. */
static bool sleep_on(struct xreg_finder *finder, bool *ret_is_kicked)
{
	bool must_stop;
	int rc = 0;

	pthread_mutex_lock(&finder->mutex);
	while (!finder->must_stop && !finder->is_kicked && !finder->has_news &&
		!is_any_woken(finder) && rc == 0) {
		const struct timespec until = next_due(finder);

		rc = pthread_cond_timedwait(&finder->cond, &finder->mutex, &until);
	}
	*ret_is_kicked = finder->is_kicked;
	finder->is_kicked = finder->has_news = false;
	must_stop = finder->must_stop;
	pthread_mutex_unlock(&finder->mutex);
	return !must_stop;
}

static void *finder_main(void *arg)
{
	struct xreg_finder *finder = arg;
	bool is_kicked = true;

	do {
		for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
			ask(finder, &finder->methods[i], is_kicked);
		}
		xreg_follow(&finder->follow, hasten_all, finder);
	} while (sleep_on(finder, &is_kicked));
	return NULL;
}

/* ---- life ---- */

int xreg_finder_new(
	const struct xreg_finder_opts *opts, struct xreg_finder **ret_finder, struct xu_error *err)
{
	struct xreg_finder *finder = calloc(1, sizeof(*finder));
	pthread_condattr_t attr;

	if (finder == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing to find targets");
	}
	finder->opts = *opts;
	finder->watcher.fn = on_store_changed;
	finder->follow = (struct xreg_follow){.store = opts->store};
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&finder->mutex, NULL);
	pthread_cond_init(&finder->cond, &attr);
	pthread_condattr_destroy(&attr);
	*ret_finder = finder;
	return 0;
}

int xreg_finder_start(struct xreg_finder *finder, struct xu_error *err)
{
	int rc;

	xreg_store_watch(finder->opts.store, &finder->watcher);
	rc = -pthread_create(&finder->thread, NULL, finder_main, finder);
	finder->has_thread = rc == 0;
	if (rc != 0) {
		xreg_store_unwatch(finder->opts.store, &finder->watcher);
	}
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "starting to find targets");
}

void xreg_finder_set(struct xreg_finder *finder, uint32_t interval_s, uint32_t timeout_s)
{
	pthread_mutex_lock(&finder->mutex);
	finder->opts.interval_s = interval_s;
	finder->opts.timeout_s = timeout_s;
	pthread_cond_signal(&finder->cond);
	pthread_mutex_unlock(&finder->mutex);
}

void xreg_finder_kick(struct xreg_finder *finder)
{
	pthread_mutex_lock(&finder->mutex);
	finder->is_kicked = true;
	pthread_cond_signal(&finder->cond);
	if (finder->other.kick != NULL) {
		finder->other.kick(finder->other.arg);
	}
	pthread_mutex_unlock(&finder->mutex);
}

void xreg_finder_set_other(struct xreg_finder *finder, const struct xreg_find_other *other)
{
	pthread_mutex_lock(&finder->mutex);
	finder->other = other != NULL ? *other : (struct xreg_find_other){0};
	pthread_mutex_unlock(&finder->mutex);
}

void xreg_finder_wake(struct xreg_finder *finder, const void *arg)
{
	pthread_mutex_lock(&finder->mutex);
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		struct asked *asked = &finder->methods[i];

		asked->is_woken |= asked->now.ops != NULL && asked->now.arg == arg;
	}
	pthread_cond_signal(&finder->cond);
	pthread_mutex_unlock(&finder->mutex);
}

/* The end of all that is being asked. */
static void cancel_all(struct xreg_finder *finder)
{
	pthread_mutex_lock(&finder->mutex);
	finder->must_stop = true;
	pthread_cond_signal(&finder->cond);
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		struct asked *asked = &finder->methods[i];

		if (asked->is_busy && !asked->is_changing && asked->now.ops->cancel != NULL) {
			asked->now.ops->cancel(asked->now.arg);
		}
	}
	pthread_mutex_unlock(&finder->mutex);
}

void xreg_finder_free(struct xreg_finder *finder)
{
	if (finder == NULL) {
		return;
	}
	if (finder->has_thread) {
		xreg_store_unwatch(finder->opts.store, &finder->watcher);
		cancel_all(finder);
		pthread_join(finder->thread, NULL);
	}
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		finish(&finder->methods[i].now);
	}
	pthread_mutex_destroy(&finder->mutex);
	pthread_cond_destroy(&finder->cond);
	free(finder);
}

static json_t *method_json(const struct asked *asked)
{
	const struct method *method = &asked->now;
	json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "method", method->ops->name,
		"attempts", (json_int_t)asked->nr_attempts, "successes",
		(json_int_t)asked->nr_successes, "failures", (json_int_t)asked->nr_failures,
		"found", (json_int_t)asked->nr_found, "problem", asked->problem);

	if (method->ops->describe != NULL) {
		json_object_set_new(json, "details", method->ops->describe(method->arg));
	}
	return json;
}

/* With the mutex. One that is about to go is not shown any more. */
static bool is_shown(const struct asked *asked)
{
	return asked->now.ops != NULL && (!asked->is_changing || asked->next.ops != NULL);
}

json_t *xreg_finder_json(struct xreg_finder *finder)
{
	json_t *list = json_array();

	pthread_mutex_lock(&finder->mutex);
	for (uint32_t i = 0; i < XREG_FIND_METHODS_MAX; i++) {
		if (is_shown(&finder->methods[i])) {
			json_array_append_new(list, method_json(&finder->methods[i]));
		}
	}
	if (finder->other.json != NULL) {
		json_array_append_new(list, finder->other.json(finder->other.arg));
	}
	pthread_mutex_unlock(&finder->mutex);
	return list;
}

/* ---- static ---- */

struct static_list {
	pthread_mutex_t mutex;
	json_t *bodies; /* NULL: nothing is found */
};

static int find_static(
	void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct static_list *list = arg;
	struct xreg_parsed parsed;
	char path[XU_PARAM_PATH_SIZE];
	json_t *body;
	size_t i;
	int rc = 0;

	pthread_mutex_lock(&list->mutex);
	json_array_foreach (list->bodies, i, body) {
		rc = rc != 0 ? rc : xreg_spec_parse(body, &parsed, path, err);
		rc = rc != 0 ? rc : xreg_found_add(found, &parsed.spec, err);
	}
	pthread_mutex_unlock(&list->mutex);
	return rc;
}

static void fini_static(void *arg)
{
	struct static_list *list = arg;

	json_decref(list->bodies);
	pthread_mutex_destroy(&list->mutex);
	free(list);
}

const struct xreg_find_method xreg_find_static = {
	.name = "static", .source = XREG_STATIC, .find = find_static, .fini = fini_static};

int xreg_find_static_set(void *arg, const json_t *bodies)
{
	json_t *copy = bodies != NULL ? json_deep_copy(bodies) : NULL, *last;
	struct static_list *list = arg;

	if (bodies != NULL && copy == NULL) {
		return -ENOMEM;
	}
	pthread_mutex_lock(&list->mutex);
	last = list->bodies;
	list->bodies = copy;
	pthread_mutex_unlock(&list->mutex);
	json_decref(last);
	return 0;
}

int xreg_find_static_new(const json_t *bodies, void **ret_arg)
{
	struct static_list *list = calloc(1, sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	pthread_mutex_init(&list->mutex, NULL);
	if (xreg_find_static_set(list, bodies) != 0) {
		fini_static(list);
		return -ENOMEM;
	}
	*ret_arg = list;
	return 0;
}
