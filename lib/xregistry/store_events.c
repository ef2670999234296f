/* SPDX-License-Identifier: BSD-3-Clause */
/* The store's history: the last events, a ring by revision; who waits for more; and watchers. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "lib/xregistry/store_private.h"

/* ---- events ---- */

static void free_event(struct xreg_event *event)
{
	xreg_target_unref(event->before);
	xreg_target_unref(event->after);
	*event = (struct xreg_event){0};
}

struct xreg_event xreg__event_copy(const struct xreg_event *event)
{
	struct xreg_event copy = *event;

	copy.before = event->before != NULL ? xreg_target_ref(event->before) : NULL;
	copy.after = event->after != NULL ? xreg_target_ref(event->after) : NULL;
	return copy;
}

void xreg__store_keep(struct xreg_store *store, struct xreg_event event)
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

		ret_events[count++] =
			xreg__event_copy(&store->events[next % store->nr_events_kept]);
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

void xreg__store_tell(struct xreg_store *store, uint64_t revision)
{
	pthread_mutex_lock(&store->watch_mutex);
	for (struct xreg_watcher *watcher = store->watchers; watcher != NULL;) {
		struct xreg_watcher *next = watcher->next;

		watcher->fn(watcher, revision);
		watcher = next;
	}
	pthread_mutex_unlock(&store->watch_mutex);
}
