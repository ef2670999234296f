/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One check of a target: a probe, as far as the target can be probed; then its failures, its score,
 * its state and its advice by what the probe and the last report say; then the plan of the next
 * check. A target in maintenance is left alone. When this machine has no descriptor or memory for a
 * probe, the check comes a little later: that is no fault of the target's.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xnvmf/target/target.h"
#include "lib/xregistry/monitor_private.h"

#define NO_ROOM_US      1000000u
#define WARN_EVERY_US   60000000u
#define CHECKS_KEPT     512u /* then both counts are halved: reliability is of late */
#define SCORE_TOLD_STEP 5u

static const char *const event_names[] = {
	[XREG_HEALTH_FAILURE] = "failure",
	[XREG_HEALTH_CLEARED] = "cleared",
	[XREG_HEALTH_STEP] = "recovery_step",
	[XREG_HEALTH_STATE] = "state_changed",
	[XREG_HEALTH_FLAPPING] = "flapping",
	[XREG_HEALTH_SCORE] = "health_changed",
	[XREG_HEALTH_CONNECTIONS] = "connection_changed",
	[XREG_HEALTH_BLIND] = "blind",
	[XREG_HEALTH_SIGHTED] = "sighted",
};

const char *xreg_health_event_name(enum xreg_health_event_kind kind)
{
	return event_names[kind];
}

void xreg__tell(struct xreg_monitor *m, const struct xreg__entry *e, struct xreg_health_event event,
	const char *fmt, ...)
{
	bool is_news = event.kind != XREG_HEALTH_SCORE && event.kind != XREG_HEALTH_CONNECTIONS;
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	event.at_ms = m->world.unix_ms(m->world.arg);
	event.target = e->target;
	event.text = text;
	xu_log(m->log, is_news ? XU_LOG_INFO : XU_LOG_DEBUG, "target %s (%s): %s: %s",
		e->target->origin.id, e->target->place, xreg_health_event_name(event.kind), text);
	if (m->fn != NULL) {
		m->fn(m->fn_arg, &event);
	}
}

/* ---- the probe ---- */

enum xreg_probe_level xreg__probe_level(
	const struct xreg_target *target, const struct xreg_health_config *config)
{
	if (target->spec.transport != XREG_TCP) {
		return XREG_PROBE_NONE;
	}
	/* What comes first on such a connection is TLS, which probes do not speak. */
	if (target->spec.security == XREG_SECURITY_TLS && config->probe_level > XREG_PROBE_TCP) {
		return XREG_PROBE_TCP;
	}
	return config->probe_level;
}

bool xreg__check_probe(struct xreg_monitor *m, struct xreg__entry *e, enum xreg_probe_level level)
{
	bool is_discovery = m->config.probe_discovery;
	struct xreg__probe_order order = {.owner = e,
		.address = e->target->spec.address,
		.port = e->target->spec.port,
		.subnqn = is_discovery ? XNVMF_DISCOVERY_NQN : e->target->spec.nqn,
		.hostnqn = m->config.host_nqn,
		.level = level,
		.is_discovery = is_discovery,
		.timeout_us = m->config.health_check_timeout_s * 1000000ull};
	uint64_t now_us = m->world.now_us(m->world.arg);
	int rc;

	if (e->look_us != 0) {
		xreg__look_order(e, &order);
	}
	rc = xreg__prober_start(&m->prober, &order, &e->job);
	if (rc == 0) {
		return true;
	}
	if (now_us - m->warned_us >= WARN_EVERY_US || m->warned_us == 0) {
		xu_warn(m->log, "a target cannot be probed for lack of room on this machine: %s",
			strerror(-rc));
		m->warned_us = now_us;
	}
	xreg__entry_plan(m, e, now_us + NO_ROOM_US);
	return false;
}

/* ---- what it finds ---- */

struct finding {
	struct xreg_monitor *m;
	struct xreg__entry *e;
	const struct xreg__probe_job *job; /* NULL: there was no probe */
	uint64_t now_us, now_ms;
	uint64_t expires_ms; /* UINT64_MAX: never */
	uint64_t heard_ms;   /* when its node has last reported to any registry; 0: not known */
	struct xreg__verdict verdict;
	struct xreg_live_state live; /* after it */
	uint32_t begun, cleared;
	bool has_evidence;
	bool is_silent;
	bool is_heard; /* its machine has answered, or it has reported, since the check before */
};

static void keep_probe(struct xreg_live_state *state, const struct finding *f)
{
	const struct xreg__probe *probe = &f->job->probe;
	struct xreg_probe *kept = &state->probe;

	*kept = (struct xreg_probe){.at_ms = f->now_ms,
		.reached = probe->reached,
		.is_good = probe->step == XREG__STEP_DONE,
		.failure = probe->failure,
		.latency_us = (uint32_t)(f->now_us - f->job->started_us),
		.keep_alive_us = probe->keep_alive_us};
	snprintf(kept->problem, sizeof(kept->problem), "%s", probe->problem);
	if (kept->is_good || kept->failure == XREG_FAILURE_AUTHENTICATION) {
		state->last_seen_ms = f->now_ms;
	}
}

static void count_check(struct xreg_live_state *state, const struct finding *f)
{
	bool is_down = f->verdict.level == XREG__DOWN;

	state->nr_good = f->verdict.level == XREG__GOOD ? state->nr_good + 1 : 0;
	state->nr_bad = f->verdict.level == XREG__GOOD ? 0 : state->nr_bad + 1;
	if (state->nr_checks >= CHECKS_KEPT) {
		state->nr_checks /= 2;
		state->nr_failed_checks /= 2;
	}
	state->nr_checks++;
	state->nr_failed_checks += is_down;
}

/* Its node reports to another registry now, and what it reports is known there only. */
static bool has_moved(const struct xreg_live_state *state, const struct finding *f)
{
	return f->heard_ms > state->reported_ms + XREG_HEARD_LATE_MS;
}

/* Here; what another registry has heard tells nothing of this one's network. */
static bool is_heard(const struct xreg_live_state *state, const struct finding *f, bool is_news,
	bool is_elsewhere)
{
	return (is_news && !is_elsewhere) ||
	       (f->job != NULL && (state->probe.is_good || f->job->was_refused ||
					  state->probe.failure != XREG_FAILURE_NETWORK_TIMEOUT));
}

/* Nothing was heard of it, neither by a probe nor by a report. */
static bool is_silent(const struct xreg_live_state *state, const struct finding *f, bool is_news)
{
	const uint64_t ttl_ms = f->e->target->spec.ttl_s * 1000ull;

	if (f->job == NULL) {
		return f->expires_ms != UINT64_MAX && f->expires_ms - ttl_ms / 3 <= f->now_ms;
	}
	return !is_news && !state->probe.is_good &&
	       state->probe.failure == XREG_FAILURE_NETWORK_TIMEOUT && !f->job->was_refused;
}

static void keep(struct xreg_live_state *state, void *arg)
{
	struct finding *f = arg;
	const bool is_elsewhere = has_moved(state, f);
	const uint64_t word_ms = is_elsewhere ? f->heard_ms : state->reported_ms;
	const bool is_news = word_ms != f->e->judged_ms;

	if (f->job != NULL) {
		keep_probe(state, f);
	}
	f->e->judged_ms = word_ms;
	f->is_silent = is_silent(state, f, is_news);
	f->is_heard = is_heard(state, f, is_news, is_elsewhere);
	f->has_evidence = !(f->is_silent && f->m->is_blind) &&
			  (f->job != NULL || f->e->is_expired || is_news);
	xreg__judge(f->e->target, state, &f->m->config, f->e->is_expired, is_elsewhere, f->now_ms,
		&f->verdict);
	if (f->has_evidence) {
		count_check(state, f);
		xreg__failures_keep(
			f->e, &f->m->config, &f->verdict, state, f->now_ms, &f->begun, &f->cleared);
	}
	f->live = *state;
}

static void count_levels(struct xreg__entry *e, enum xreg__level level)
{
	for (uint32_t i = 0; i < XREG__NR_LEVELS; i++) {
		e->above[i] = level >= i ? e->above[i] + 1 : 0;
		e->below[i] = level < i ? e->below[i] + 1 : 0;
	}
}

static void count_in_stats(struct finding *f)
{
	struct xreg_monitor_stats *stats = &f->m->stats;

	pthread_mutex_lock(&f->m->mutex);
	stats->nr_checks++;
	stats->nr_failed_checks += f->verdict.level == XREG__DOWN;
	stats->nr_failures += (uint32_t)__builtin_popcount(f->begun);
	pthread_mutex_unlock(&f->m->mutex);
}

static void tell_failures(struct finding *f)
{
	for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
		const struct xreg_failure *failure = &f->live.failures[i];

		if (f->begun & 1u << i) {
			xreg__tell(f->m, f->e,
				(struct xreg_health_event){.kind = XREG_HEALTH_FAILURE,
					.failure = i,
					.severity = failure->severity},
				"%s (%s): %s", xreg_failure_name(i),
				xreg_severity_name(failure->severity), failure->description);
		} else if (f->cleared & 1u << i) {
			xreg__tell(f->m, f->e,
				(struct xreg_health_event){.kind = XREG_HEALTH_CLEARED,
					.failure = i,
					.severity = failure->severity,
					.is_good = true},
				"%s is over; it was: %s", xreg_failure_name(i),
				failure->description);
		}
	}
}

static void tell_score(struct finding *f)
{
	struct xreg__entry *e = f->e;
	uint32_t connections = f->live.metrics.active_connections, before = e->score_told;
	struct xreg_health health;

	xreg_health_score(e->target, &f->live, &f->m->config, &health);
	if (!e->has_hint) {
		e->has_hint = true;
		e->score_told = health.score;
		e->connections_told = connections;
		return;
	}
	if (health.score + SCORE_TOLD_STEP <= before || health.score >= before + SCORE_TOLD_STEP) {
		e->score_told = health.score;
		xreg__tell(f->m, e,
			(struct xreg_health_event){.kind = XREG_HEALTH_SCORE,
				.score_before = before,
				.score = health.score},
			"the score went from %u to %u", before, health.score);
	}
	if (connections != e->connections_told) {
		before = e->connections_told;
		e->connections_told = connections;
		xreg__tell(f->m, e,
			(struct xreg_health_event){.kind = XREG_HEALTH_CONNECTIONS,
				.connections_before = before,
				.connections = connections},
			"the connections went from %u to %u", before, connections);
	}
}

/* ---- one check ---- */

/* The later of two Unix times, as far as it is not yet to come. */
static uint64_t later_ms(uint64_t a_ms, uint64_t b_ms, uint64_t now_ms)
{
	return b_ms > a_ms && b_ms <= now_ms ? b_ms : a_ms;
}

/* When its time to live is over, in Unix milliseconds; UINT64_MAX: never. Reports from before this
 * monitor was started are not known to it. */
static uint64_t expires_ms(const struct xreg_monitor *m, const struct xreg__entry *e)
{
	const struct xreg_target *target = e->target;
	uint64_t base_ms = m->since_ms, now_ms = m->world.unix_ms(m->world.arg), heard_ms;
	struct xreg_live_state live;

	if (target->spec.ttl_s == 0) {
		return UINT64_MAX;
	}
	xreg_live_get(target, &live);
	base_ms = later_ms(base_ms, target->origin.registered_ms, now_ms);
	base_ms = later_ms(base_ms, live.reported_ms, now_ms);
	heard_ms = xreg_store_heard_ms(m->store, target->spec.node_id);
	if (later_ms(base_ms, heard_ms, now_ms) != base_ms) {
		base_ms = heard_ms + XREG_HEARD_LATE_MS;
	}
	return base_ms + target->spec.ttl_s * 1000ull;
}

/* Checks stay on the grid of their own that began with the first; one that is late by more than an
 * interval, or whose interval is another now, begins a new one. */
static uint64_t next_us(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us)
{
	uint64_t interval_us = xreg__interval_us(m, e->target);
	uint64_t due_us = e->due_us + interval_us, expiry_ms = expires_ms(m, e);
	uint64_t now_ms = m->world.unix_ms(m->world.arg);

	if (e->look_us != 0) {
		return now_us + e->look_us;
	}
	if (xreg__is_to_recover(m, e)) {
		due_us = xreg__recover_due_us(m, e, now_us);
	} else if (due_us <= now_us) {
		due_us = now_us + interval_us;
	}
	if (expiry_ms != UINT64_MAX && expiry_ms > now_ms &&
		(expiry_ms - now_ms) * 1000 < due_us - now_us) {
		due_us = now_us + (expiry_ms - now_ms) * 1000;
	}
	return due_us;
}

static void check_end(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__probe_job *job, uint64_t now_us)
{
	bool was_recovering = e->is_recovering;
	struct finding f = {.m = m,
		.e = e,
		.job = job,
		.now_us = now_us,
		.now_ms = m->world.unix_ms(m->world.arg),
		.expires_ms = expires_ms(m, e)};
	bool is_ignored;

	e->is_recovering = false;
	f.heard_ms = later_ms(0, xreg_store_heard_ms(m->store, e->target->spec.node_id), f.now_ms);
	xreg_live_change(e->target, keep, &f);
	is_ignored = xreg__blind_note(m, e, f.is_silent, f.is_heard, now_us);
	if (f.has_evidence) {
		count_levels(e, f.verdict.level);
		count_in_stats(&f);
		tell_failures(&f);
	}
	tell_score(&f);
	if (was_recovering && job != NULL && xreg__is_to_recover(m, e)) {
		xreg__recover_checked(m, e, &f.verdict);
	}
	if (!is_ignored) {
		xreg__states_decide(m, e, &f.verdict, now_us);
	}
	if (f.has_evidence) {
		xreg__recover_advise(m, e, &f.verdict, now_us);
	}
	xreg__look_checked(m, e, f.verdict.level == XREG__DOWN,
		job != NULL ? job->started_us : now_us, now_us);
	xreg__entry_plan(m, e, next_us(m, e, now_us));
}

void xreg__check_begin(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us)
{
	enum xreg_probe_level level = xreg__probe_level(e->target, &m->config);

	pthread_mutex_lock(&m->mutex);
	m->stats.late_us = now_us - e->due_us;
	pthread_mutex_unlock(&m->mutex);
	if (e->target->status.state == XREG_MAINTENANCE) {
		e->look_us = 0;
		xreg__entry_plan(m, e, now_us + xreg__interval_us(m, e->target));
		return;
	}
	/* While it is blind nobody's time passes. */
	e->is_expired = !m->is_blind && expires_ms(m, e) <= m->world.unix_ms(m->world.arg);
	if (e->is_expired || level == XREG_PROBE_NONE) {
		check_end(m, e, NULL, now_us);
	} else if (!xreg__is_to_recover(m, e) || xreg__recover_begin(m, e, now_us)) {
		xreg__check_probe(m, e, level);
	}
}

void xreg__check_probed(void *monitor, struct xreg__probe_job *job, uint64_t now_us)
{
	struct xreg_monitor *m = monitor;
	struct xreg__entry *e = job->owner;
	enum xreg_probe_level level = xreg__probe_level(e->target, &m->config);
	bool can_go_on = job->probe.step == XREG__STEP_DONE || job->was_refused;

	e->job = NULL;
	if (!e->is_reaching) {
		check_end(m, e, job, now_us);
		return;
	}
	e->is_reaching = false;
	xreg__recover_reached(m, e, job, now_us);
	if (can_go_on && level != XREG_PROBE_NONE) {
		xreg__check_probe(m, e, level);
	} else {
		e->is_recovering = false; /* there was no second step */
		check_end(m, e, job, now_us);
	}
}
