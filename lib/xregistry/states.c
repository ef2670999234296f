/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which state follows from the checks of a target. It gets worse by `failover_threshold_failures`
 * checks in a row that found it so, and better by `recovery_threshold` in a row that did not, but
 * not while it is held down for flapping. Changes go through the store, on condition that nobody
 * else has changed the target meanwhile; what is refused is decided anew at the next check.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xregistry/monitor_private.h"

enum xreg__level xreg__level_of(uint32_t state)
{
	switch (state) {
	case XREG_BUSY:
		return XREG__BUSY;
	case XREG_DEGRADED:
		return XREG__DEGRADED;
	case XREG_FAILED:
	case XREG_OFFLINE:
		return XREG__DOWN;
	default:
		return XREG__GOOD;
	}
}

static uint32_t state_of(enum xreg__level level)
{
	static const uint32_t states[] = {XREG_AVAILABLE, XREG_BUSY, XREG_DEGRADED, XREG_FAILED};

	return states[level];
}

bool xreg__state_is_ours(const struct xreg_target *target)
{
	return strncmp(target->status.reason, XREG_MONITOR_REASON, strlen(XREG_MONITOR_REASON)) ==
	       0;
}

bool xreg__is_to_recover(const struct xreg_monitor *m, const struct xreg__entry *e)
{
	return m->config.auto_failover_enabled &&
	       xreg__level_of(e->target->status.state) == XREG__DOWN &&
	       xreg__state_is_ours(e->target);
}

/* ---- changing ---- */

static void on_done(struct xreg_change *change)
{
	struct xreg__state_job *job = change->arg;
	struct xreg_monitor *m = job->monitor;

	pthread_mutex_lock(&m->mutex);
	job->next = m->answered;
	m->answered = job;
	pthread_cond_signal(&m->no_changes);
	m->world.wake(m->world.arg); /* before the monitor can be gone */
	pthread_mutex_unlock(&m->mutex);
}

void xreg__states_change(
	struct xreg_monitor *m, struct xreg__entry *e, uint32_t state, const char *fmt, ...)
{
	struct xreg__state_job *job = calloc(1, sizeof(*job));
	size_t len;
	va_list args;

	/* Another registry decides; should it die, the next check does the same. But only this one
	 * has heard what it looks at. */
	if (!xreg_store_leads(m->store) && e->look_us == 0) {
		free(job);
		return;
	}
	if (job == NULL) {
		xu_warn(m->log, "there is no memory to change the state of target %s",
			e->target->origin.id);
		return; /* the next check decides the same */
	}
	len = (size_t)snprintf(job->reason, sizeof(job->reason), "%s", XREG_MONITOR_REASON);
	va_start(args, fmt);
	vsnprintf(job->reason + len, sizeof(job->reason) - len, fmt, args);
	va_end(args);
	snprintf(job->id, sizeof(job->id), "%s", e->target->origin.id);
	job->monitor = m;
	job->state_before = e->target->status.state;
	job->change = (struct xreg_change){.op = XREG_SET_STATUS,
		.id = job->id,
		.status = {.state = state, .reason = job->reason},
		.if_revision = e->target->origin.revision,
		.done = on_done,
		.arg = job};
	e->has_change = true;
	pthread_mutex_lock(&m->mutex);
	m->stats.nr_changes++;
	pthread_mutex_unlock(&m->mutex);
	xreg_store_submit(m->store, &job->change);
}

/* ---- deciding ---- */

/* The worst level that as many checks in a row as it takes have found; GOOD: none. */
static enum xreg__level worst_level(const struct xreg_monitor *m, const struct xreg__entry *e)
{
	for (enum xreg__level level = XREG__DOWN; level > XREG__GOOD; level--) {
		if (e->above[level] >= m->config.failover_threshold_failures) {
			return level;
		}
	}
	return XREG__GOOD;
}

/* The best level below `now` that no check of late was above; `now`: there is none. */
static enum xreg__level best_level(
	const struct xreg_monitor *m, const struct xreg__entry *e, enum xreg__level now)
{
	for (enum xreg__level level = XREG__GOOD; level < now; level++) {
		if (e->below[level + 1] >= m->config.recovery_threshold) {
			return level;
		}
	}
	return now;
}

static const char *why(const struct xreg__verdict *verdict)
{
	uint32_t worst = XREG_NR_FAILURES;

	for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
		if (verdict->failures[i].is_active &&
			(worst == XREG_NR_FAILURES || verdict->failures[i].severity >
							      verdict->failures[worst].severity)) {
			worst = i;
		}
	}
	return worst < XREG_NR_FAILURES ? verdict->failures[worst].text : "the checks were bad";
}

/* A report that does not come is no judgement of ours: it goes by what the target has asked for.
 * Who leads knows best what has come. */
static bool decide_expired(struct xreg_monitor *m, struct xreg__entry *e)
{
	const struct xreg_target *target = e->target;
	uint32_t state = target->status.state;

	if (!e->is_expired || !xreg_store_leads(m->store) || state == XREG_OFFLINE ||
		(state == XREG_FAILED && !xreg__state_is_ours(target))) {
		return false;
	}
	XREG__COUNT(m, nr_expired);
	xreg__states_change(m, e, XREG_OFFLINE, "it has not reported for %u s", target->spec.ttl_s);
	return true;
}

static bool has_timed_out(const struct xreg_monitor *m, const struct xreg_target *target)
{
	uint64_t now_ms = m->world.unix_ms(m->world.arg);

	return target->status.state == XREG_FAILED && m->config.failover_timeout_s > 0 &&
	       target->origin.updated_ms + m->config.failover_timeout_s * 1000ull <= now_ms;
}

static void set_held(struct xreg_monitor *m, struct xreg__entry *e, uint64_t until_us)
{
	pthread_mutex_lock(&m->mutex);
	m->stats.nr_held_down += (until_us != 0) - (e->held_until_us != 0);
	pthread_mutex_unlock(&m->mutex);
	e->held_until_us = until_us;
}

static void decide_better(
	struct xreg_monitor *m, struct xreg__entry *e, enum xreg__level now, uint64_t now_us)
{
	enum xreg__level best = best_level(m, e, now);

	if (now == XREG__DOWN && e->held_until_us > now_us) {
		return;
	}
	set_held(m, e, 0);
	if (best < now) {
		xreg__states_change(m, e, state_of(best), "%u checks in a row were %s",
			e->below[best + 1], best == XREG__GOOD ? "good" : "better");
	} else if (now == XREG__DOWN && has_timed_out(m, e->target)) {
		xreg__states_change(m, e, XREG_OFFLINE, "it has not recovered for %u s",
			m->config.failover_timeout_s);
	}
}

void xreg__states_decide(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__verdict *verdict, uint64_t now_us)
{
	uint32_t state = e->target->status.state;
	enum xreg__level now = xreg__level_of(state), worst = worst_level(m, e);
	bool is_ours = xreg__state_is_ours(e->target);

	if (e->has_change || state == XREG_MAINTENANCE || decide_expired(m, e)) {
		return;
	}
	if (!m->config.auto_failover_enabled) {
		/* What had not reported and does so again is back all the same. */
		if (state == XREG_OFFLINE && is_ours) {
			decide_better(m, e, now, now_us);
		}
		return;
	}
	if (worst > now) {
		xreg__states_change(m, e, state_of(worst), "%s", why(verdict));
	} else if (state == XREG_UNKNOWN) {
		if (e->below[XREG__BUSY] >= m->config.recovery_threshold) {
			xreg__states_change(m, e, XREG_AVAILABLE, "%u checks in a row were good",
				e->below[XREG__BUSY]);
		}
	} else if (now > XREG__GOOD && is_ours) {
		decide_better(m, e, now, now_us);
	}
}

/* ---- flapping ---- */

struct flapping {
	uint32_t nr_flaps;
	uint64_t held_down_until_ms;
	bool is_up;
};

static void keep_flaps(struct xreg_live_state *state, void *arg)
{
	const struct flapping *flapping = arg;

	state->nr_flaps = flapping->nr_flaps;
	state->held_down_until_ms = flapping->held_down_until_ms;
	if (flapping->is_up) {
		state->nr_recovery_attempts = 0;
		state->recovery_at_ms = 0;
	}
}

/* How often it changed within the window, this change included. */
static uint32_t count_flaps(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us)
{
	uint32_t now_s = (uint32_t)(now_us / 1000000), count = 0;

	e->flaps_s[e->next_flap] = now_s;
	e->next_flap = (e->next_flap + 1) % XREG__FLAPS_MAX;
	e->nr_flaps += e->nr_flaps < XREG__FLAPS_MAX;
	for (uint32_t i = 1; i <= e->nr_flaps; i++) {
		uint32_t at = (e->next_flap + XREG__FLAPS_MAX - i) % XREG__FLAPS_MAX;

		count += now_s - e->flaps_s[at] < m->config.flap_window_s;
	}
	return count;
}

static void hold_down(struct xreg_monitor *m, struct xreg__entry *e, uint32_t nr_flaps,
	uint64_t now_us, struct flapping *ret_flapping)
{
	uint32_t max_s = m->config.hold_down_max_s;

	e->hold_s = e->hold_s == 0 ? m->config.hold_down_s : e->hold_s * 2;
	e->hold_s = e->hold_s < max_s ? e->hold_s : max_s;
	set_held(m, e, now_us + e->hold_s * 1000000ull);
	ret_flapping->held_down_until_ms = m->world.unix_ms(m->world.arg) + e->hold_s * 1000ull;
	xreg__tell(m, e, (struct xreg_health_event){.kind = XREG_HEALTH_FLAPPING},
		"it changed %u times between good and bad within %u s and stays down for %u s",
		nr_flaps, m->config.flap_window_s, e->hold_s);
}

/* It went from up to down or back. */
void xreg__states_flap(struct xreg_monitor *m, struct xreg__entry *e, bool is_up, uint64_t now_us)
{
	struct flapping flapping = {.nr_flaps = count_flaps(m, e, now_us), .is_up = is_up};
	bool is_flapping = m->config.flap_limit > 0 && flapping.nr_flaps >= m->config.flap_limit;

	e->look_us = 0;
	if (is_up) {
		set_held(m, e, 0);
		e->backoff_us = 0;
		XREG__COUNT(m, nr_recoveries);
	} else if (is_flapping) {
		hold_down(m, e, flapping.nr_flaps, now_us, &flapping);
	} else {
		e->hold_s = 0;
	}
	xreg_live_change(e->target, keep_flaps, &flapping);
}

/* ---- answers ---- */

static void on_answer(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__state_job *job, uint64_t now_us)
{
	uint32_t after = job->change.status.state;
	bool was_down = xreg__level_of(job->state_before) == XREG__DOWN;
	bool is_down = xreg__level_of(after) == XREG__DOWN;

	if (job->change.rc == 0) {
		XREG__COUNT(m, nr_state_changes);
		if (was_down != is_down) {
			xreg__states_flap(m, e, !is_down, now_us);
		}
		if (e->job == NULL && !was_down && xreg__is_to_recover(m, e)) {
			xreg__entry_plan(m, e, xreg__recover_due_us(m, e, now_us));
		}
	}
	xreg__tell(m, e,
		(struct xreg_health_event){.kind = XREG_HEALTH_STATE,
			.state_before = job->state_before,
			.state = after,
			.is_good = after == XREG_AVAILABLE,
			.rc = job->change.rc},
		"%s", job->change.rc == 0 ? job->reason : job->change.err.text);
}

/* In the order in which they came. */
static struct xreg__state_job *take_answers(struct xreg_monitor *m)
{
	struct xreg__state_job *from, *to = NULL, *next;

	pthread_mutex_lock(&m->mutex);
	from = m->answered;
	m->answered = NULL;
	pthread_mutex_unlock(&m->mutex);
	for (; from != NULL; from = next) {
		next = from->next;
		from->next = to;
		to = from;
	}
	return to;
}

void xreg__states_answered(struct xreg_monitor *m, uint64_t now_us)
{
	struct xreg__state_job *job = take_answers(m), *next;

	if (job != NULL) {
		xreg__targets_sync(m, now_us); /* so that the records are those of after it */
	}
	for (; job != NULL; job = next) {
		struct xreg__entry *e = xreg__entry_find(m, job->id);

		next = job->next;
		if (e != NULL) {
			e->has_change = false;
			on_answer(m, e, job, now_us);
		}
		xreg_target_unref(job->change.result);
		free(job);
		pthread_mutex_lock(&m->mutex);
		m->stats.nr_changes--;
		pthread_cond_signal(&m->no_changes);
		pthread_mutex_unlock(&m->mutex);
	}
}
