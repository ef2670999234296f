/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list of those who wait, under a mutex, and a thread that walks it when the store has a new
 * revision or a deadline has come. The store's writer only notes the revision, so it never waits
 * for a walk.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "lib/xregistry/store.h"
#include "lib/xregistry/wait.h"

struct xreg_waits {
	struct xreg_store *store;
	struct xreg_watcher watcher;
	pthread_t thread;

	pthread_mutex_t list_mutex;
	struct xreg_wait *first;

	pthread_mutex_t work_mutex; /* for what follows; inside of list_mutex */
	pthread_cond_t has_work_cond;
	uint64_t revision;
	bool has_work, must_stop;
	uint64_t nr_walks;
	pthread_cond_t has_walked;
	_Atomic bool has_ended;
};

uint64_t xreg_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void give_work(struct xreg_waits *waits, uint64_t revision)
{
	pthread_mutex_lock(&waits->work_mutex);
	if (revision > waits->revision) {
		waits->revision = revision;
	}
	waits->has_work = true;
	pthread_cond_signal(&waits->has_work_cond);
	pthread_mutex_unlock(&waits->work_mutex);
}

static void on_revision(struct xreg_watcher *watcher, uint64_t revision)
{
	give_work((struct xreg_waits *)((char *)watcher - offsetof(struct xreg_waits, watcher)),
		revision);
}

static void unlink_wait(struct xreg_wait *wait)
{
	*wait->at = wait->next;
	if (wait->next != NULL) {
		wait->next->at = wait->at;
	}
	wait->at = NULL;
}

/* Calls those that last and collects the others; returns the next deadline. */
static uint64_t walk(struct xreg_waits *waits, uint64_t revision, struct xreg_wait **ret_due)
{
	uint64_t now_ns = xreg_clock_ns(), next_ns = UINT64_MAX;
	struct xreg_wait *wait, *next;
	bool has_ended = waits->has_ended;

	*ret_due = NULL;
	pthread_mutex_lock(&waits->list_mutex);
	for (wait = waits->first; wait != NULL; wait = next) {
		bool is_due = has_ended || revision > wait->revision || now_ns >= wait->deadline_ns;

		next = wait->next;
		if (is_due && wait->is_lasting) {
			wait->fn(wait, revision);
		} else if (is_due) {
			unlink_wait(wait);
			wait->next = *ret_due;
			*ret_due = wait;
			continue;
		}
		if (wait->deadline_ns < next_ns) {
			next_ns = wait->deadline_ns;
		}
	}
	pthread_mutex_unlock(&waits->list_mutex);
	return has_ended ? UINT64_MAX : next_ns;
}

/* Sleeps until there is work or it is time; false: the end. */
static bool sleep_until(struct xreg_waits *waits, uint64_t until_ns, uint64_t *ret_revision)
{
	struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
	bool must_stop;

	pthread_mutex_lock(&waits->work_mutex);
	while (!waits->has_work && !waits->must_stop) {
		int rc = until_ns == UINT64_MAX
				 ? pthread_cond_wait(&waits->has_work_cond, &waits->work_mutex)
				 : pthread_cond_timedwait(
					   &waits->has_work_cond, &waits->work_mutex, &until);

		if (rc == ETIMEDOUT) {
			break;
		}
	}
	must_stop = waits->must_stop && !waits->has_work;
	waits->has_work = false;
	*ret_revision = waits->revision;
	pthread_mutex_unlock(&waits->work_mutex);
	return !must_stop;
}

static void *waits_main(void *arg)
{
	struct xreg_waits *waits = arg;
	uint64_t revision, next_ns = UINT64_MAX;
	struct xreg_wait *due;

	while (sleep_until(waits, next_ns, &revision)) {
		next_ns = walk(waits, revision, &due);
		while (due != NULL) {
			struct xreg_wait *wait = due;

			due = wait->next;
			wait->fn(wait, revision);
		}
		pthread_mutex_lock(&waits->work_mutex);
		waits->nr_walks++;
		pthread_cond_broadcast(&waits->has_walked);
		pthread_mutex_unlock(&waits->work_mutex);
	}
	return NULL;
}

int xreg_waits_start(struct xreg_store *store, struct xreg_waits **ret_waits, struct xu_error *err)
{
	struct xreg_waits *waits = calloc(1, sizeof(*waits));
	struct xreg_view *view;
	pthread_condattr_t attr;
	int rc;

	if (waits == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "waiting for the registry's store");
	}
	waits->store = store;
	waits->watcher.fn = on_revision;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&waits->list_mutex, NULL);
	pthread_mutex_init(&waits->work_mutex, NULL);
	pthread_cond_init(&waits->has_work_cond, &attr);
	pthread_cond_init(&waits->has_walked, &attr);
	pthread_condattr_destroy(&attr);
	xreg_store_watch(store, &waits->watcher);
	view = xreg_store_view(store);
	give_work(waits, xreg_view_revision(view));
	xreg_view_unref(view);
	rc = -pthread_create(&waits->thread, NULL, waits_main, waits);
	if (rc != 0) {
		xreg_store_unwatch(store, &waits->watcher);
		free(waits);
		return xu_error_set_errno(err, rc, "waiting for the registry's store");
	}
	*ret_waits = waits;
	return 0;
}

void xreg_waits_end(struct xreg_waits *waits)
{
	uint64_t end;

	waits->has_ended = true;
	give_work(waits, 0);
	pthread_mutex_lock(&waits->work_mutex);
	/* One walk may be under way that began before. */
	end = waits->nr_walks + 2;
	while (waits->nr_walks < end) {
		waits->has_work = true;
		pthread_cond_signal(&waits->has_work_cond);
		pthread_cond_wait(&waits->has_walked, &waits->work_mutex);
	}
	pthread_mutex_unlock(&waits->work_mutex);
}

bool xreg_waits_has_ended(const struct xreg_waits *waits)
{
	return waits->has_ended;
}

void xreg_waits_stop(struct xreg_waits *waits)
{
	if (waits == NULL) {
		return;
	}
	xreg_store_unwatch(waits->store, &waits->watcher);
	xreg_waits_end(waits);
	pthread_mutex_lock(&waits->work_mutex);
	waits->must_stop = true;
	pthread_cond_signal(&waits->has_work_cond);
	pthread_mutex_unlock(&waits->work_mutex);
	pthread_join(waits->thread, NULL);
	pthread_mutex_destroy(&waits->list_mutex);
	pthread_mutex_destroy(&waits->work_mutex);
	pthread_cond_destroy(&waits->has_work_cond);
	pthread_cond_destroy(&waits->has_walked);
	free(waits);
}

void xreg_waits_add(struct xreg_waits *waits, struct xreg_wait *wait)
{
	pthread_mutex_lock(&waits->list_mutex);
	wait->next = waits->first;
	wait->at = &waits->first;
	if (wait->next != NULL) {
		wait->next->at = &wait->next;
	}
	waits->first = wait;
	give_work(waits, 0);
	pthread_mutex_unlock(&waits->list_mutex);
}

bool xreg_waits_remove(struct xreg_waits *waits, struct xreg_wait *wait)
{
	bool was_waiting;

	pthread_mutex_lock(&waits->list_mutex);
	was_waiting = wait->at != NULL;
	if (was_waiting) {
		unlink_wait(wait);
	}
	pthread_mutex_unlock(&waits->list_mutex);
	return was_waiting;
}
