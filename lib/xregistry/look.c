/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looks: checks of a node's targets at once, because of what was heard of the node. That is no
 * proof of anything, and judged is by checks alone; a look only makes them come now, and soon
 * again: in a tenth of a second while they contradict the state of the target, and in twice the
 * time each time that they agree with it, up to a second, since a process that has been killed may
 * still take connections for a moment. Then checks are as far apart as ever.
 *
 * From a machine that is silent for a while already not much is expected: there is less time to
 * connect to it, and probes follow each other at once, so that hosts are told within a second of
 * its end. When it is heard again, or a connection is there, it has as much time as others.
 *
 * Whoever has heard of a node leaves its name under the monitor's mutex; the rest is the monitor's
 * thread's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/util/log.h"
#include "lib/xregistry/monitor_private.h"

#define LOOK_US          100000u
#define LOOK_MAX_US      1000000u
#define TIMEOUT_US       500000u
#define QUICK_CONNECT_US 150000u
#define QUICK_PACE_US    150000u /* from probe to probe, also when they fail at once */
#define NR_MORE          8u      /* checks of a look beyond those that it takes to change a state */

void xreg_monitor_look(struct xreg_monitor *m, const char *node_id, enum xreg_look why)
{
	struct xreg__look *look = malloc(sizeof(*look));

	if (look == NULL) {
		return; /* the next check of each target finds the same */
	}
	snprintf(look->node_id, sizeof(look->node_id), "%s", node_id);
	look->why = why;
	pthread_mutex_lock(&m->mutex);
	look->next = m->looks;
	m->looks = look;
	m->stats.nr_lost += why == XREG_LOOK_GONE;
	pthread_mutex_unlock(&m->mutex);
	m->world.wake(m->world.arg);
}

void xreg__looks_free(struct xreg_monitor *m)
{
	struct xreg__look *look = m->looks, *next;

	for (; look != NULL; look = next) {
		next = look->next;
		free(look);
	}
}

static uint64_t earlier(uint64_t one, uint64_t two)
{
	return one < two ? one : two;
}

struct walk {
	struct xreg_monitor *m;
	const struct xreg__look *look;
	uint64_t now_us;
	uint32_t count;
};

static bool can_look(const struct xreg_monitor *m, const struct xreg__entry *e, bool has_come)
{
	if (e->target->status.state == XREG_MAINTENANCE ||
		xreg__probe_level(e->target, &m->config) == XREG_PROBE_NONE) {
		return false;
	}
	return has_come ? xreg__is_to_recover(m, e)
			: xreg__level_of(e->target->status.state) != XREG__DOWN;
}

void xreg__look_order(const struct xreg__entry *e, struct xreg__probe_order *order)
{
	order->timeout_us = earlier(order->timeout_us, TIMEOUT_US);
	order->connect_us = e->is_quick_look ? QUICK_CONNECT_US : 0;
}

/* A probe that is under way has no more time than one of the look. */
static void hurry(struct xreg__entry *e, uint64_t now_us)
{
	bool is_quick = e->is_quick_look && !e->job->is_connected;

	e->job->end_us = earlier(e->job->end_us, now_us + TIMEOUT_US);
	e->job->deadline_us =
		earlier(e->job->deadline_us, is_quick ? now_us + QUICK_CONNECT_US : e->job->end_us);
}

static bool on_target(void *arg, const struct xreg_target *target)
{
	struct walk *walk = arg;
	struct xreg_monitor *m = walk->m;
	struct xreg__entry *e = xreg__entry_find(m, target->origin.id);
	bool has_come = walk->look->why == XREG_LOOK_COME;

	if (e == NULL) {
		return true;
	}
	e->is_quick_look &= !has_come;
	if (!can_look(m, e, has_come)) {
		return true;
	}
	e->look_us = LOOK_US;
	e->is_quick_look = walk->look->why == XREG_LOOK_SILENT;
	e->nr_looks = NR_MORE + (has_come ? m->config.recovery_threshold
					  : m->config.failover_threshold_failures);
	if (e->heap_at != XREG__NOT_IN) {
		xreg__entry_plan(m, e, walk->now_us);
	} else if (e->job != NULL) {
		hurry(e, walk->now_us);
	}
	walk->count++;
	return true;
}

void xreg__looks_take(struct xreg_monitor *m, uint64_t now_us)
{
	static const char *const texts[] = {[XREG_LOOK_COME] = "has come back",
		[XREG_LOOK_GONE] = "has let its connection go",
		[XREG_LOOK_SILENT] = "is silent"};
	struct xreg__look *last, *look = NULL, *next;
	struct xreg_view *view;

	pthread_mutex_lock(&m->mutex);
	last = m->looks;
	m->looks = NULL;
	pthread_mutex_unlock(&m->mutex);
	if (last == NULL) {
		return;
	}
	for (; last != NULL; last = next) { /* the first first */
		next = last->next;
		last->next = look;
		look = last;
	}
	view = xreg_store_view(m->store);
	for (; look != NULL; look = next) {
		struct walk walk = {m, look, now_us, 0};

		next = look->next;
		xreg_view_each(view, XREG_BY_NODE, look->node_id, false, on_target, &walk);
		if (walk.count > 0) {
			xu_info(m->log, "node %s %s: looking at %u of its targets", look->node_id,
				texts[look->why], walk.count);
		}
		free(look);
	}
	xreg_view_unref(view);
}

void xreg__look_checked(const struct xreg_monitor *m, struct xreg__entry *e, bool is_down,
	uint64_t started_us, uint64_t now_us)
{
	bool was_down = xreg__level_of(e->target->status.state) == XREG__DOWN;
	uint64_t took_us = now_us - started_us;

	if (e->look_us == 0) {
		return;
	}
	if (is_down == was_down) {
		e->look_us *= 2;
	} else if (e->is_quick_look) {
		e->look_us = took_us < QUICK_PACE_US ? QUICK_PACE_US - took_us : 1;
	} else {
		e->look_us = LOOK_US;
	}
	e->nr_looks--;
	if (e->nr_looks == 0 || e->look_us > LOOK_MAX_US || e->held_until_us > now_us) {
		e->look_us = 0;
	}
}
