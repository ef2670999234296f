/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notifications: what happens on the control reactor is told to callbacks of the application, on
 * one thread that is started with the first callback.
 *
 *   control reactor --copy--> queue of 256 (full: counted) --> thread --one by one--> callbacks
 *
 * The mutex guards the queue and the callbacks and is never held while a callback runs. A struct
 * notifier lives from the first callback to the library's end. Ending has two steps, so that it can
 * still be given up after the first: no more deliveries and no callback running (bounded), and,
 * when the reactors are gone, the end of the thread. The thread is joined only after the library's
 * mutex has been given back, which a thread takes for a moment when it first calls and when it
 * ends.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/services.h"
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/lvol/stores.h"

#define MAX_CALLBACKS 16u
#define QUEUE_LEN     256u
#define WAIT_NS       (10 * XU_NS_PER_S)

struct callback {
	xbdev_notification_cb fn; /* of all notifications, or */
	xbdev_health_event_cb health_fn;
	void *arg;
};

struct item {
	xbdev_notification_t notification;
	union { /* what the type goes with */
		xbdev_health_event_t health;
		xbdev_lvs_threshold_t lvs;
	};
};

struct notifier {
	pthread_t thread;
	bool is_ending;
	struct item items[QUEUE_LEN]; /* ring */
	uint32_t first, count;
	uint64_t nr_lost; /* since the last that found a place */
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;    /* an item, an end, a callback that has returned */
	struct notifier *notifier; /* NULL: no callback yet */
	struct callback callbacks[MAX_CALLBACKS]; /* both functions NULL: free */
	struct callback running;
	bool is_held; /* the library ends: nothing is told */
} notify = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct xbdev_graph_listener listener;
static struct xbdev_note_listener note_listener;
static _Thread_local bool is_notifier;

static void make_condition(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&notify.changed, &attr);
	pthread_condattr_destroy(&attr);
}

bool api_notify_is_self(void)
{
	return is_notifier;
}

/* ---- the thread ---- */

static bool is_free(const struct callback *cb)
{
	return cb->fn == NULL && cb->health_fn == NULL;
}

static bool is_same(const struct callback *a, const struct callback *b)
{
	return a->fn == b->fn && a->health_fn == b->health_fn && a->arg == b->arg;
}

static bool wants(const struct callback *cb, const struct item *item)
{
	return cb->fn != NULL ||
	       (cb->health_fn != NULL && item->notification.type == XBDEV_NOTIFICATION_HEALTH);
}

/* With the mutex held, which is given back while the callback runs. */
static void run_callback(const struct callback *cb, const struct item *item)
{
	struct callback running = *cb;

	notify.running = running;
	pthread_mutex_unlock(&notify.mutex);
	if (running.fn != NULL) {
		running.fn(&item->notification, running.arg);
	} else {
		running.health_fn(&item->health, running.arg);
	}
	pthread_mutex_lock(&notify.mutex);
	notify.running = (struct callback){0};
	pthread_cond_broadcast(&notify.changed);
}

/* With the mutex held. */
static void deliver(struct notifier *notifier, struct item *item)
{
	*item = notifier->items[notifier->first];
	notifier->first = (notifier->first + 1) % QUEUE_LEN;
	notifier->count--;
	if (item->notification.type == XBDEV_NOTIFICATION_HEALTH) {
		item->notification.health = &item->health;
	} else if (item->notification.type == XBDEV_NOTIFICATION_LVS_THRESHOLD) {
		item->notification.lvs = &item->lvs;
	}
	for (uint32_t i = 0; i < MAX_CALLBACKS && !notify.is_held; i++) {
		if (wants(&notify.callbacks[i], item)) {
			run_callback(&notify.callbacks[i], item);
		}
	}
}

static void *notifier_main(void *arg)
{
	struct notifier *notifier = arg;
	struct item item;

	pthread_setname_np(pthread_self(), "xbdev-notify");
	is_notifier = true;
	api_thread(); /* now, while no callback is waited for; see the top */
	pthread_mutex_lock(&notify.mutex);
	while (!notifier->is_ending) {
		if (notifier->count == 0 || notify.is_held) {
			pthread_cond_wait(&notify.changed, &notify.mutex);
		} else {
			deliver(notifier, &item);
		}
	}
	pthread_mutex_unlock(&notify.mutex);
	free(notifier);
	return NULL;
}

/* With the mutex held. */
static int start_thread(void)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));
	int rc;

	if (notifier == NULL) {
		return api_fail(-ENOMEM, "registering a callback: out of memory");
	}
	rc = pthread_create(&notifier->thread, NULL, notifier_main, notifier);
	if (rc != 0) {
		free(notifier);
		return api_fail(-rc, "starting the thread for notifications: %s", strerror(rc));
	}
	notify.notifier = notifier;
	return 0;
}

/* ---- what is told ---- */

/* On the control reactor. One of the others or none; the others are NULL. */
static void post(const xbdev_notification_t *notification, const xbdev_health_event_t *health,
	const xbdev_lvs_threshold_t *lvs)
{
	struct notifier *notifier;
	struct item *item;

	pthread_mutex_lock(&notify.mutex);
	notifier = notify.notifier;
	if (notifier != NULL && notifier->count == QUEUE_LEN) {
		notifier->nr_lost++;
	} else if (notifier != NULL && !notify.is_held) {
		item = &notifier->items[(notifier->first + notifier->count++) % QUEUE_LEN];
		item->notification = *notification;
		item->notification.time_ms =
			xu_clock_system()->wall_ns(xu_clock_system()) / XU_NS_PER_MS;
		item->notification.nr_lost = notifier->nr_lost;
		notifier->nr_lost = 0;
		if (health != NULL) {
			item->health = *health;
		} else if (lvs != NULL) {
			item->lvs = *lvs;
		}
		pthread_cond_broadcast(&notify.changed);
	}
	pthread_mutex_unlock(&notify.mutex);
}

static void on_graph(
	struct xbdev_graph_listener *self, enum xbdev_graph_event event, struct xbdev_device *dev)
{
	static const int types[] = {[XBDEV_GRAPH_ADDED] = XBDEV_NOTIFICATION_DEVICE_ADDED,
		[XBDEV_GRAPH_REMOVED] = XBDEV_NOTIFICATION_DEVICE_REMOVED,
		[XBDEV_GRAPH_RESIZED] = XBDEV_NOTIFICATION_DEVICE_RESIZED};
	xbdev_notification_t notification = {
		.type = types[event], .size_bytes = xbdev_device_size_bytes(dev)};

	memcpy(notification.device, dev->name, sizeof(notification.device));
	xu_uuid_format(&dev->uuid, notification.uuid);
	post(&notification, NULL, NULL);
}

void api_notify_health(const xbdev_health_event_t *event)
{
	xbdev_notification_t notification = {.type = XBDEV_NOTIFICATION_HEALTH};

	memcpy(notification.device, event->device, sizeof(notification.device));
	post(&notification, event, NULL);
	api_mgmt_note_health(event);
}

/* The numbers are those of now, which may be a moment later than the note. */
static void on_note(struct xbdev_note_listener *self, const struct xbdev_note *note)
{
	xbdev_notification_t notification = {.type = XBDEV_NOTIFICATION_LVS_THRESHOLD};
	const struct xbdev_lvol_store *store;
	struct xbdev_lvol_store_info info;
	struct xbdev_lvol_settings settings;
	xbdev_lvs_threshold_t lvs = {0};

	(void)self;
	if (strcmp(note->event, "lvs_threshold") != 0) {
		return; /* arrays have callbacks of their own: md_monitor.c */
	}
	store = xbdev__lvol_store_find(api_lib.ctx, note->device);
	if (store != NULL) {
		xbdev__lvol_store_info(store, &info);
		xbdev__lvol_store_settings(store, &settings);
		lvs.used_clusters = info.total_clusters - info.free_clusters;
		lvs.total_clusters = info.total_clusters;
		lvs.promised_clusters = info.promised_clusters;
		for (uint32_t i = 0; i < 2; i++) {
			if (lvs.used_clusters * 100 >= lvs.total_clusters * settings.percents[i]) {
				lvs.percent = settings.percents[i];
			}
		}
	}
	snprintf(lvs.lvs_name, sizeof(lvs.lvs_name), "%.71s", note->device);
	snprintf(lvs.bdev_name, sizeof(lvs.bdev_name), "%s", note->member);
	snprintf(lvs.text, sizeof(lvs.text), "%s", note->text);
	snprintf(notification.device, sizeof(notification.device), "%s", note->member);
	post(&notification, NULL, &lvs);
}

/* ---- callbacks ---- */

/* With the mutex held: waits for a change until `deadline_ns`; false: it has passed. */
static bool wait_for_change(uint64_t deadline_ns)
{
	const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / XU_NS_PER_S),
		.tv_nsec = (long)(deadline_ns % XU_NS_PER_S)};

	return pthread_cond_timedwait(&notify.changed, &notify.mutex, &deadline) != ETIMEDOUT;
}

static int add(const struct callback *cb)
{
	struct callback *place = NULL;

	for (uint32_t i = 0; i < MAX_CALLBACKS; i++) {
		if (is_same(&notify.callbacks[i], cb)) {
			return api_fail(-EEXIST, "the callback is registered already");
		}
		if (place == NULL && is_free(&notify.callbacks[i])) {
			place = &notify.callbacks[i];
		}
	}
	if (place == NULL) {
		return api_fail(-ENOSPC, "%u callbacks are registered already; take one away",
			MAX_CALLBACKS);
	}
	if (notify.notifier == NULL) {
		int rc = start_thread();

		if (rc != 0) {
			return rc;
		}
	}
	*place = *cb;
	return 0;
}

static int add_callback(const struct callback *cb)
{
	struct api_thread *thread;
	int rc;

	if (is_free(cb)) {
		return api_fail(-EINVAL, "the callback is NULL");
	}
	pthread_once(&once, make_condition);
	rc = api_enter(&thread, false);
	if (rc != 0) {
		return rc;
	}
	pthread_mutex_lock(&notify.mutex);
	rc = add(cb);
	pthread_mutex_unlock(&notify.mutex);
	api_leave(thread);
	return rc;
}

static int del_callback(const struct callback *cb)
{
	uint64_t deadline_ns = api_now_ns() + WAIT_NS;
	int rc = -ENOENT;

	if (is_free(cb)) {
		return api_fail(-EINVAL, "the callback is NULL");
	}
	pthread_once(&once, make_condition);
	pthread_mutex_lock(&notify.mutex);
	for (uint32_t i = 0; i < MAX_CALLBACKS; i++) {
		if (is_same(&notify.callbacks[i], cb)) {
			notify.callbacks[i] = (struct callback){0};
			rc = 0;
		}
	}
	while (rc == 0 && !is_notifier && is_same(&notify.running, cb)) {
		rc = wait_for_change(deadline_ns) ? 0 : -EBUSY;
	}
	pthread_mutex_unlock(&notify.mutex);
	return rc == 0 ? 0
		       : api_fail(rc, rc == -ENOENT ? "the callback is not registered"
						    : "the callback does not return");
}

int xbdev_register_health_callback(xbdev_health_event_cb event_cb, void *user_ctx)
{
	return add_callback(&(struct callback){.health_fn = event_cb, .arg = user_ctx});
}

int xbdev_unregister_health_callback(xbdev_health_event_cb event_cb, void *user_ctx)
{
	return del_callback(&(struct callback){.health_fn = event_cb, .arg = user_ctx});
}

int xbdev_mgmt_register_notification_callback(xbdev_notification_cb cb, void *cb_arg)
{
	return add_callback(&(struct callback){.fn = cb, .arg = cb_arg});
}

int xbdev_mgmt_unregister_notification_callback(xbdev_notification_cb cb, void *cb_arg)
{
	return del_callback(&(struct callback){.fn = cb, .arg = cb_arg});
}

/* ---- the library's beginning and end ---- */

void api_notify_init(void)
{
	pthread_once(&once, make_condition);
	notify.is_held = false;
	listener.fn = on_graph;
	xbdev_ctx_add_listener(api_lib.ctx, &listener);
	note_listener.fn = on_note;
	xbdev_ctx_add_note_listener(api_lib.ctx, &note_listener);
}

int api_notify_hold(uint64_t deadline_ns)
{
	int rc = 0;

	pthread_mutex_lock(&notify.mutex);
	notify.is_held = true;
	while (rc == 0 && !is_free(&notify.running)) {
		rc = wait_for_change(deadline_ns) ? 0 : -EBUSY;
	}
	pthread_mutex_unlock(&notify.mutex);
	return rc == 0 ? 0
		       : api_fail(rc, "the library cannot end: a notification callback does not "
				      "return; let it, and call xbdev_fini() again");
}

void api_notify_release(void)
{
	pthread_mutex_lock(&notify.mutex);
	notify.is_held = false;
	pthread_cond_broadcast(&notify.changed);
	pthread_mutex_unlock(&notify.mutex);
}

bool api_notify_end(pthread_t *ret_thread)
{
	struct notifier *notifier;

	pthread_mutex_lock(&notify.mutex);
	notifier = notify.notifier;
	memset(notify.callbacks, 0, sizeof(notify.callbacks));
	notify.notifier = NULL;
	if (notifier != NULL) {
		*ret_thread = notifier->thread;
		notifier->is_ending = true; /* it frees itself */
		pthread_cond_broadcast(&notify.changed);
	}
	pthread_mutex_unlock(&notify.mutex);
	return notifier != NULL;
}
