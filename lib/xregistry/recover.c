/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recovery (spec/registry.md 5.2). A target that is down by the monitor is tried again after a time
 * that doubles: first whether its machine answers at all, when that is what failed, then an NVMe
 * connection. A machine that answers without NVMe is offline; one that does not stays failed until
 * the failover time-out. A target that is slow, full or errs gets advice: hosts had better use half
 * the queue depth, and where it is slow half the I/O size; and twice that again when it is over.
 */
#include <stdio.h>

#include "lib/xregistry/monitor_private.h"

#define QUEUE_DEPTH_UNSTATED 128u
#define IO_BYTES_START       (1u << 20)

static uint64_t doubled(const struct xreg_monitor *m, uint64_t backoff_us)
{
	uint64_t max_us = m->config.recovery_backoff_max_s * 1000000ull;

	backoff_us = backoff_us == 0 ? m->config.recovery_backoff_s * 1000000ull : backoff_us * 2;
	return backoff_us < max_us ? backoff_us : max_us;
}

/* ---- from being down ---- */

struct attempt {
	bool has_begun;
	uint64_t due_ms;
	uint32_t nr_attempts;
	bool is_network;
};

static void keep_attempt(struct xreg_live_state *state, void *arg)
{
	struct attempt *attempt = arg;

	attempt->is_network = state->failures[XREG_FAILURE_NETWORK_TIMEOUT].is_active;
	state->recovery_at_ms = attempt->due_ms;
	state->nr_recovery_attempts += attempt->has_begun;
	for (uint32_t i = 0; attempt->has_begun && i < XREG_NR_FAILURES; i++) {
		struct xreg_failure *failure = &state->failures[i];

		failure->auto_recovery_attempted |= failure->is_active;
	}
	attempt->nr_attempts = state->nr_recovery_attempts;
}

uint64_t xreg__recover_due_us(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us)
{
	uint64_t wait_us;
	struct attempt attempt = {0};

	/* Without a report there is nothing to try; after a good check the next is soon. */
	if (e->is_expired) {
		wait_us = m->config.monitoring_interval_s * 1000000ull;
	} else if (e->below[XREG__DOWN] > 0 && e->backoff_us != 0) {
		wait_us = m->config.recovery_backoff_s * 1000000ull;
		e->backoff_us = wait_us;
	} else {
		wait_us = e->backoff_us = doubled(m, e->backoff_us);
	}
	/* Held down it would not come up, however good it is. */
	if (e->held_until_us > now_us + wait_us) {
		uint64_t interval_us = m->config.monitoring_interval_s * 1000000ull;
		uint64_t held_us = e->held_until_us - now_us;

		held_us = held_us < interval_us ? held_us : interval_us;
		wait_us = held_us > wait_us ? held_us : wait_us;
	}
	attempt.due_ms = m->world.unix_ms(m->world.arg) + wait_us / 1000;
	xreg_live_change(e->target, keep_attempt, &attempt);
	return now_us + wait_us;
}

/* What the attempt is for, for events: the type that took it down. */
static enum xreg_failure_type what_for(const struct xreg__entry *e)
{
	struct xreg_live_state live;
	enum xreg_failure_type type = XREG_FAILURE_UNKNOWN;

	xreg_live_get(e->target, &live);
	for (uint32_t i = XREG_NR_FAILURES; i-- > 0;) {
		if (live.failures[i].is_active) {
			type = i;
		}
	}
	return type;
}

static void tell_step(struct xreg_monitor *m, const struct xreg__entry *e,
	enum xreg_failure_type type, bool is_good, const char *text)
{
	struct xreg_live_state live;

	xreg_live_get(e->target, &live);
	xreg__tell(m, e,
		(struct xreg_health_event){.kind = XREG_HEALTH_STEP,
			.failure = type,
			.severity = live.failures[type].severity,
			.attempt = live.nr_recovery_attempts,
			.is_good = is_good},
		"%s", text);
}

bool xreg__recover_begin(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us)
{
	struct attempt attempt = {.has_begun = true};

	XREG__COUNT(m, nr_recovery_attempts);
	xreg_live_change(e->target, keep_attempt, &attempt);
	e->is_recovering = true;
	if (!attempt.is_network) {
		return true;
	}
	e->is_reaching = true;
	if (!xreg__check_probe(m, e, XREG_PROBE_TCP)) {
		e->is_reaching = e->is_recovering = false;
	}
	return false;
}

void xreg__recover_reached(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__probe_job *job, uint64_t now_us)
{
	bool is_good = job->probe.step == XREG__STEP_DONE || job->was_refused;
	char text[XREG_DESCRIPTION_SIZE + 64];

	snprintf(text, sizeof(text), "step 1, reachability: %s",
		is_good ? "the machine answers" : job->probe.problem);
	tell_step(m, e, XREG_FAILURE_NETWORK_TIMEOUT, is_good, text);
}

/* The end of an attempt. A machine that answers, and no NVMe on it, is what the document calls
 * offline. A connection that works may be no recovery: the last report can be what is bad. */
void xreg__recover_checked(
	struct xreg_monitor *m, struct xreg__entry *e, const struct xreg__verdict *verdict)
{
	bool was_network = verdict->failures[XREG_FAILURE_NETWORK_TIMEOUT].is_active;
	char text[XREG_DESCRIPTION_SIZE];
	struct xreg_live_state live;

	xreg_live_get(e->target, &live);
	snprintf(text, sizeof(text), "step 2, NVMe connection: %.180s",
		live.probe.is_good ? "it works" : live.probe.problem);
	tell_step(m, e, was_network ? XREG_FAILURE_NETWORK_TIMEOUT : what_for(e),
		live.probe.is_good, text);
	if (!live.probe.is_good && was_network && e->target->status.state == XREG_FAILED &&
		!e->has_change) {
		xreg__states_change(
			m, e, XREG_OFFLINE, "its machine answers, but there is no NVMe connection");
		tell_step(m, e, XREG_FAILURE_NETWORK_TIMEOUT, false, "step 3, marked offline");
	}
}

/* ---- advice ---- */

struct advising {
	const struct xreg_health_config *config;
	uint32_t queue_depth; /* without advice */
	bool is_for_depth, is_for_size;
	bool is_less;
	uint64_t now_ms;
	struct xreg_advice after;
	bool has_changed;
};

static uint32_t halved(uint32_t advised, uint32_t start, uint32_t min)
{
	uint32_t now = advised != 0 ? advised : start;

	if (now <= min) {
		return now;
	}
	return now / 2 > min ? now / 2 : min;
}

static uint32_t raised(uint32_t advised, uint32_t start)
{
	return advised == 0 || advised >= start / 2 ? 0 : advised * 2;
}

static void change_advice(struct xreg_live_state *state, void *arg)
{
	struct advising *a = arg;
	struct xreg_advice *advice = &state->advice, before = *advice;

	if (!a->is_less) {
		advice->queue_depth = raised(advice->queue_depth, a->queue_depth);
		advice->max_io_bytes = raised(advice->max_io_bytes, IO_BYTES_START);
	} else {
		if (a->is_for_depth) {
			advice->queue_depth = halved(
				advice->queue_depth, a->queue_depth, a->config->min_queue_depth);
		}
		if (a->is_for_size) {
			advice->max_io_bytes = halved(
				advice->max_io_bytes, IO_BYTES_START, a->config->min_io_bytes);
		}
	}
	a->has_changed = advice->queue_depth != before.queue_depth ||
			 advice->max_io_bytes != before.max_io_bytes;
	if (a->has_changed) {
		advice->since_ms =
			advice->queue_depth != 0 || advice->max_io_bytes != 0 ? a->now_ms : 0;
	}
	for (uint32_t i = XREG_FAILURE_HIGH_LATENCY; i <= XREG_FAILURE_RESOURCE_EXHAUSTION; i++) {
		state->failures[i].auto_recovery_attempted |=
			a->is_less && state->failures[i].is_active;
	}
	a->after = *advice;
}

void xreg__recover_advise(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__verdict *verdict, uint64_t now_us)
{
	bool is_slow = verdict->failures[XREG_FAILURE_HIGH_LATENCY].is_active;
	bool is_full = verdict->failures[XREG_FAILURE_RESOURCE_EXHAUSTION].is_active;
	bool errs = verdict->failures[XREG_FAILURE_HIGH_ERROR_RATE].is_active;
	enum xreg_failure_type type = is_slow   ? XREG_FAILURE_HIGH_LATENCY
				      : is_full ? XREG_FAILURE_RESOURCE_EXHAUSTION
						: XREG_FAILURE_HIGH_ERROR_RATE;
	uint32_t stated = e->target->spec.queue_depth;
	struct advising a = {.config = &m->config,
		.queue_depth = stated != 0 ? stated : QUEUE_DEPTH_UNSTATED,
		.is_for_depth = true,
		.is_for_size = is_slow,
		.is_less = is_slow || is_full || errs,
		.now_ms = m->world.unix_ms(m->world.arg)};
	char text[128];

	if (!m->config.auto_failover_enabled || e->advice_due_us > now_us ||
		(a.is_less && e->above[XREG__BUSY] < m->config.failover_threshold_failures) ||
		(!a.is_less && e->below[XREG__BUSY] < m->config.recovery_threshold)) {
		return;
	}
	xreg_live_change(e->target, change_advice, &a);
	if (!a.has_changed) {
		e->advice_backoff_us = 0;
		return;
	}
	e->advice_backoff_us = doubled(m, e->advice_backoff_us);
	e->advice_due_us = now_us + e->advice_backoff_us;
	snprintf(text, sizeof(text),
		"advice to hosts: queue depth %u, I/O size %u (0: as they like)",
		a.after.queue_depth, a.after.max_io_bytes);
	tell_step(m, e, type, !a.is_less, text);
}
