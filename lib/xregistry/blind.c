/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When nearly everything is silent at once it is this registry that has lost its network, not the
 * targets that have failed. Then the monitor is blind: it judges no silence, states stay as they
 * are, and it goes on looking until enough answers again.
 *
 * What counts are targets that should be there (available, busy or degraded) and that can be heard
 * at all, by probes or by reports that they have promised. One is silent when its last probe got no
 * answer and no report came since the check before; where there are no probes, when two thirds of
 * its time to live have passed without a report. Silence of less than so many addresses proves
 * nothing: a machine that fails takes all of its targets along.
 *
 * That may be wrong: nearly all may have failed. So it ends also when others, on other machines,
 * have been heard for some time, which proves a network, or after a longer time without any proof.
 * The silence is believed then, until it is over: it makes the monitor blind once only.
 */
#include <stdio.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xregistry/monitor_private.h"

#define LOOK_EVERY_US 100000u
#define LEAVE_PCT     10u /* so much less than what made it blind */
/* Others are heard on when it is within so many checks, also of those that are down. */
#define SIGN_CHECKS   3u
#define SIGN_ATTEMPTS 2u

static bool is_to_be_there(const struct xreg_monitor *m, const struct xreg__entry *e)
{
	switch (e->target->status.state) {
	case XREG_AVAILABLE:
	case XREG_BUSY:
	case XREG_DEGRADED:
		return e->target->spec.ttl_s != 0 ||
		       xreg__probe_level(e->target, &m->config) != XREG_PROBE_NONE;
	default:
		return false;
	}
}

void xreg__blind_forget(struct xreg_monitor *m, struct xreg__entry *e)
{
	m->nr_heard_of -= e->is_heard_of;
	m->nr_silent -= e->is_silent;
	e->is_heard_of = e->is_silent = false;
}

/* Whether those that are silent are at as many addresses as it takes. */
static bool are_many(const struct xreg_monitor *m)
{
	const char *seen[XREG_BLIND_NODES_MAX];
	uint32_t count = 0;

	for (uint32_t i = 0; i < m->nr_buckets; i++) {
		for (const struct xreg__entry *e = m->buckets[i]; e != NULL; e = e->next) {
			uint32_t at = 0;

			if (!e->is_silent) {
				continue;
			}
			while (at < count && strcmp(seen[at], e->target->spec.address) != 0) {
				at++;
			}
			if (at == count) {
				seen[count++] = e->target->spec.address;
			}
			if (count >= m->config.blind_min_nodes) {
				return true;
			}
		}
	}
	return false;
}

static void tell(struct xreg_monitor *m, enum xreg_health_event_kind kind, const char *text)
{
	const struct xreg_health_event event = {.kind = kind,
		.at_ms = m->world.unix_ms(m->world.arg),
		.is_good = kind == XREG_HEALTH_SIGHTED,
		.text = text};

	xu_warn(m->log, "%s", text);
	if (m->fn != NULL) {
		m->fn(m->fn_arg, &event);
	}
}

static void set_blind(struct xreg_monitor *m, bool is_blind)
{
	m->is_blind = is_blind;
	pthread_mutex_lock(&m->mutex);
	m->stats.is_blind = is_blind;
	m->stats.nr_blind += is_blind;
	pthread_mutex_unlock(&m->mutex);
}

static void become_blind(struct xreg_monitor *m, uint64_t now_us)
{
	char text[256];

	set_blind(m, true);
	m->blind_since_us = now_us;
	m->sign_us = 0;
	snprintf(text, sizeof(text),
		"blind: %u of %u targets are silent at once, which looks like this registry's own "
		"network; no state gets worse until more of them answer",
		m->nr_silent, m->nr_heard_of);
	tell(m, XREG_HEALTH_BLIND, text);
}

/* All get as many checks and as much time as anybody. */
static void become_sighted(struct xreg_monitor *m, const char *why)
{
	char text[256];

	set_blind(m, false);
	xreg__targets_begin_anew(m, m->world.unix_ms(m->world.arg));
	snprintf(text, sizeof(text),
		"not blind any more%s: %u of %u targets are silent, which is judged as always", why,
		m->nr_silent, m->nr_heard_of);
	tell(m, XREG_HEALTH_SIGHTED, text);
}

/* Somebody was heard on another machine. */
static void note_sign(struct xreg_monitor *m, const struct xreg__entry *e, uint64_t now_us)
{
	const uint64_t checks_us = SIGN_CHECKS * m->config.monitoring_interval_s * 1000000ull;
	const uint64_t attempts_us = SIGN_ATTEMPTS * m->config.recovery_backoff_max_s * 1000000ull;
	const uint64_t gap_us = checks_us > attempts_us ? checks_us : attempts_us;

	if (m->world.is_here(m->world.arg, e->target->spec.address)) {
		return;
	}
	if (m->sign_us == 0 || now_us - m->sign_us > gap_us) {
		m->signs_since_us = now_us;
	}
	m->sign_us = now_us;
}

/* Why all that silence is believed; NULL: it is not. */
static const char *convinced_by(const struct xreg_monitor *m, uint64_t now_us)
{
	const uint64_t proof_us = m->config.blind_proof_s * 1000000ull;
	const uint64_t max_us = m->config.blind_max_s * 1000000ull;

	if (proof_us != 0 && m->sign_us == now_us && now_us - m->signs_since_us >= proof_us) {
		return ", since others have been heard for blind_proof_sec";
	}
	if (max_us != 0 && now_us - m->blind_since_us >= max_us) {
		return ", since blind_max_sec are over";
	}
	return NULL;
}

static void decide(struct xreg_monitor *m, uint64_t now_us)
{
	const uint32_t share_pct = m->config.blind_share_pct;
	const uint32_t leave_pct = share_pct > LEAVE_PCT ? share_pct - LEAVE_PCT : 0;
	const uint64_t silent = m->nr_silent * 100ull, all = m->nr_heard_of;
	const bool is_over = share_pct == 0 || all == 0 || silent <= all * leave_pct;
	const char *why;

	m->is_convinced &= !is_over;
	if (m->is_blind) {
		why = is_over ? "" : convinced_by(m, now_us);
		if (why != NULL) {
			m->is_convinced = !is_over;
			become_sighted(m, why);
		}
	} else if (!is_over && !m->is_convinced && silent >= all * share_pct &&
		   now_us >= m->blind_due_us) {
		m->blind_due_us = now_us + LOOK_EVERY_US; /* the walk is not for every check */
		if (are_many(m)) {
			become_blind(m, now_us);
		}
	}
}

bool xreg__blind_note(struct xreg_monitor *m, struct xreg__entry *e, bool is_silent, bool is_heard,
	uint64_t now_us)
{
	xreg__blind_forget(m, e);
	e->is_heard_of = is_to_be_there(m, e);
	e->is_silent = e->is_heard_of && is_silent;
	m->nr_heard_of += e->is_heard_of;
	m->nr_silent += e->is_silent;
	if (m->is_blind && is_heard) {
		note_sign(m, e, now_us);
	}
	decide(m, now_us);
	return m->is_blind && is_silent;
}
