/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the monitor monitors: a table of the targets by id and a heap by when they are due. The
 * store's events keep it up to date; when they are not known any more, or when there was no memory
 * for a target, all targets are walked over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/hash.h"
#include "lib/util/log.h"
#include "lib/xregistry/desired.h"
#include "lib/xregistry/monitor_private.h"

#define NR_EVENTS     64u
#define WALK_AGAIN_US 1000000u

uint32_t xreg__entry_hash(const char *id)
{
	return xu_hash32(id, strlen(id));
}

/* ---- the heap ---- */

static void heap_put(struct xreg_monitor *m, uint32_t at, struct xreg__entry *e)
{
	m->heap[at] = e;
	e->heap_at = at;
}

static void heap_up(struct xreg_monitor *m, uint32_t at)
{
	struct xreg__entry *e = m->heap[at];

	for (; at > 0 && m->heap[(at - 1) / 2]->due_us > e->due_us; at = (at - 1) / 2) {
		heap_put(m, at, m->heap[(at - 1) / 2]);
	}
	heap_put(m, at, e);
}

static void heap_down(struct xreg_monitor *m, uint32_t at)
{
	struct xreg__entry *e = m->heap[at];

	for (;;) {
		uint32_t child = at * 2 + 1;

		if (child + 1 < m->nr_heap && m->heap[child + 1]->due_us < m->heap[child]->due_us) {
			child++;
		}
		if (child >= m->nr_heap || m->heap[child]->due_us >= e->due_us) {
			break;
		}
		heap_put(m, at, m->heap[child]);
		at = child;
	}
	heap_put(m, at, e);
}

static void heap_drop(struct xreg_monitor *m, struct xreg__entry *e)
{
	uint32_t at = e->heap_at;
	struct xreg__entry *last;

	if (at == XREG__NOT_IN) {
		return;
	}
	e->heap_at = XREG__NOT_IN;
	last = m->heap[--m->nr_heap];
	if (last != e) {
		heap_put(m, at, last);
		heap_up(m, at);
		heap_down(m, last->heap_at);
	}
}

void xreg__entry_plan(struct xreg_monitor *m, struct xreg__entry *e, uint64_t due_us)
{
	heap_drop(m, e);
	e->due_us = due_us;
	heap_put(m, m->nr_heap++, e); /* there is room for every entry */
	heap_up(m, e->heap_at);
}

struct xreg__entry *xreg__entry_take(struct xreg_monitor *m, uint64_t now_us, uint64_t *ret_due_us)
{
	struct xreg__entry *e = m->nr_heap > 0 ? m->heap[0] : NULL;

	*ret_due_us = e != NULL ? e->due_us : UINT64_MAX;
	if (e == NULL || e->due_us > now_us) {
		return NULL;
	}
	heap_drop(m, e);
	return e;
}

/* ---- the table ---- */

static struct xreg__entry **place_of(struct xreg_monitor *m, const char *id)
{
	struct xreg__entry **at = &m->buckets[xreg__entry_hash(id) & (m->nr_buckets - 1)];

	while (*at != NULL && strcmp((*at)->target->origin.id, id) != 0) {
		at = &(*at)->next;
	}
	return at;
}

struct xreg__entry *xreg__entry_find(struct xreg_monitor *m, const char *id)
{
	return m->nr_buckets > 0 ? *place_of(m, id) : NULL;
}

/* Room for one more in the heap and, four to a bucket, in the table. */
static int make_room(struct xreg_monitor *m)
{
	uint32_t size = m->heap_size > 0 ? m->heap_size * 2 : 64;
	struct xreg__entry **heap, **buckets;

	if (m->nr_entries < m->heap_size) {
		return 0;
	}
	buckets = calloc(size / 4, sizeof(struct xreg__entry *));
	heap = realloc(m->heap, size * sizeof(struct xreg__entry *));
	m->heap = heap != NULL ? heap : m->heap;
	if (heap == NULL || buckets == NULL) {
		free(buckets);
		return -ENOMEM;
	}
	m->heap_size = size;
	for (uint32_t i = 0; i < m->nr_buckets; i++) {
		struct xreg__entry *e = m->buckets[i], *next;

		for (; e != NULL; e = next) {
			uint32_t to = xreg__entry_hash(e->target->origin.id) & (size / 4 - 1);

			next = e->next;
			e->next = buckets[to];
			buckets[to] = e;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->nr_buckets = size / 4;
	return 0;
}

uint64_t xreg__interval_us(const struct xreg_monitor *m, const struct xreg_target *target)
{
	uint32_t own_s = xreg_target_interval_s(target),
		 interval_s = m->config.monitoring_interval_s;

	return (own_s != 0 && own_s < interval_s ? own_s : interval_s) * 1000000ull;
}

/* Its place in the interval follows from its id, so targets that come together are not checked
 * together. */
static uint64_t first_due_us(
	const struct xreg_monitor *m, const struct xreg__entry *e, uint64_t now_us)
{
	uint64_t interval_us = xreg__interval_us(m, e->target);

	return now_us + interval_us * xreg__entry_hash(e->target->origin.id) / UINT32_MAX;
}

static int add(struct xreg_monitor *m, struct xreg_target *target, uint64_t now_us)
{
	struct xreg__entry *e = NULL, **bucket;

	if (make_room(m) != 0 || (e = calloc(1, sizeof(*e))) == NULL) {
		return -ENOMEM;
	}
	e->target = xreg_target_ref(target);
	e->heap_at = XREG__NOT_IN;
	e->mark = m->mark;
	bucket = &m->buckets[xreg__entry_hash(target->origin.id) & (m->nr_buckets - 1)];
	e->next = *bucket;
	*bucket = e;
	m->nr_entries++;
	xreg__entry_plan(m, e, first_due_us(m, e, now_us));
	return 0;
}

static void drop(struct xreg_monitor *m, struct xreg__entry **at)
{
	struct xreg__entry *e = *at;

	*at = e->next;
	heap_drop(m, e);
	xreg__blind_forget(m, e);
	if (e->job != NULL) {
		xreg__prober_cancel(&m->prober, e->job);
	}
	if (e->held_until_us != 0) {
		pthread_mutex_lock(&m->mutex);
		m->stats.nr_held_down--;
		pthread_mutex_unlock(&m->mutex);
	}
	xreg_target_unref(e->target);
	free(e);
	m->nr_entries--;
}

/* Another record of a target that is known. A probe of where it no longer is says nothing. */
static void replace(
	struct xreg_monitor *m, struct xreg__entry *e, struct xreg_target *target, uint64_t now_us)
{
	bool has_moved = strcmp(e->target->place, target->place) != 0;
	bool has_changed = e->target->status.state != target->status.state;
	bool is_ours = xreg__state_is_ours(target), was_to_recover = xreg__is_to_recover(m, e);
	bool was_down = xreg__level_of(e->target->status.state) == XREG__DOWN;
	bool is_down = xreg__level_of(target->status.state) == XREG__DOWN;
	uint64_t before_us = xreg__interval_us(m, e->target);
	uint64_t interval_us = xreg__interval_us(m, target);

	xreg_target_unref(e->target);
	e->target = xreg_target_ref(target);
	/* Who sets a state by hand, or in another registry, gets as many checks as anybody. */
	if (has_changed && (!is_ours || !e->has_change)) {
		memset(e->above, 0, sizeof(e->above));
		memset(e->below, 0, sizeof(e->below));
	}
	if (was_down != is_down && is_ours && !e->has_change) {
		xreg__states_flap(m, e, !is_down, now_us);
	}
	if (has_moved && e->job != NULL) {
		xreg__prober_cancel(&m->prober, e->job);
		e->job = NULL;
		e->is_reaching = e->is_recovering = false;
		xreg__entry_plan(m, e, now_us);
	} else if (!was_to_recover && xreg__is_to_recover(m, e) && !e->has_change &&
		   e->heap_at != XREG__NOT_IN) {
		/* Another registry has taken it down. */
		xreg__entry_plan(m, e, xreg__recover_due_us(m, e, now_us));
	} else if (interval_us < before_us && e->heap_at != XREG__NOT_IN &&
		   !xreg__is_to_recover(m, e) && e->due_us > now_us + interval_us) {
		xreg__entry_plan(m, e, now_us + interval_us);
	}
}

static int take(struct xreg_monitor *m, struct xreg_target *target, uint64_t now_us)
{
	struct xreg__entry *e = xreg__entry_find(m, target->origin.id);

	if (e == NULL) {
		return add(m, target, now_us);
	}
	e->mark = m->mark;
	if (target->origin.revision > e->target->origin.revision) {
		replace(m, e, target, now_us);
	}
	return 0;
}

/* ---- the store ---- */

struct walk {
	struct xreg_monitor *m;
	uint64_t now_us;
	int rc;
};

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct walk *walk = arg;

	walk->rc = take(walk->m, (struct xreg_target *)target, walk->now_us);
	return walk->rc == 0;
}

static void drop_unmarked(struct xreg_monitor *m)
{
	for (uint32_t i = 0; i < m->nr_buckets; i++) {
		struct xreg__entry **at = &m->buckets[i];

		while (*at != NULL) {
			if ((*at)->mark != m->mark) {
				drop(m, at);
			} else {
				at = &(*at)->next;
			}
		}
	}
}

static void walk_all(struct xreg_monitor *m, uint64_t now_us)
{
	struct xreg_view *view = xreg_store_view(m->store);
	struct walk walk = {m, now_us, 0};

	m->mark++;
	xreg_view_each(view, XREG_BY_ID, "", true, on_target, &walk);
	if (walk.rc == 0) {
		drop_unmarked(m);
		m->must_walk = false;
	} else {
		m->walk_due_us = now_us + WALK_AGAIN_US;
		xu_warn(m->log, "there is no memory to monitor all targets; trying again");
	}
	m->revision = xreg_view_revision(view);
	xreg_view_unref(view);
}

static void on_event(struct xreg_monitor *m, const struct xreg_event *event, uint64_t now_us)
{
	struct xreg__entry **at;

	if (event->after != NULL) {
		m->must_walk |= take(m, event->after, now_us) != 0;
	} else if (xreg__entry_find(m, event->before->origin.id) != NULL) {
		at = place_of(m, event->before->origin.id);
		drop(m, at);
	}
	m->revision = event->revision;
}

void xreg__targets_sync(struct xreg_monitor *m, uint64_t now_us)
{
	struct xreg_event events[NR_EVENTS];
	uint32_t count = 0;
	int rc;

	if (m->must_walk && m->walk_due_us <= now_us) {
		walk_all(m, now_us);
	}
	do {
		rc = xreg_store_events(m->store, m->revision, events, NR_EVENTS, &count);
		if (rc != 0) {
			m->must_walk = true;
			walk_all(m, now_us);
			break;
		}
		for (uint32_t i = 0; i < count; i++) {
			on_event(m, &events[i], now_us);
		}
		xreg_events_free(events, count);
	} while (count == NR_EVENTS);
}

void xreg__targets_spread(struct xreg_monitor *m, uint64_t now_us)
{
	for (uint32_t i = 0; i < m->nr_buckets; i++) {
		for (struct xreg__entry *e = m->buckets[i]; e != NULL; e = e->next) {
			if (e->job == NULL && e->look_us == 0) {
				xreg__entry_plan(m, e, first_due_us(m, e, now_us));
			}
		}
	}
}

void xreg__targets_begin_anew(struct xreg_monitor *m, uint64_t unix_ms)
{
	m->since_ms = unix_ms;
	for (uint32_t i = 0; i < m->nr_buckets; i++) {
		for (struct xreg__entry *e = m->buckets[i]; e != NULL; e = e->next) {
			memset(e->above, 0, sizeof(e->above));
		}
	}
}

void xreg__targets_free(struct xreg_monitor *m)
{
	for (uint32_t i = 0; i < m->nr_buckets; i++) {
		while (m->buckets[i] != NULL) {
			drop(m, &m->buckets[i]);
		}
	}
	free(m->buckets);
	free(m->heap);
}
