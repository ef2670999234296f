/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health monitor's thread. Each round it takes what has changed (a configuration, targets,
 * answers of the store, what was heard of nodes), begins the checks that are due as long as probes
 * may be begun, and waits for sockets until the next thing is due. It ends when the store has
 * answered everything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/monitor_private.h"

#define NR_TOKENS     64u
#define WAIT_US_MAX   1000000u
#define CLOCK_SET_MS  1000u /* less is what clocks drift */
#define BEGIN_AT_ONCE 128u  /* checks that begin between two looks at the sockets */

static void on_store_changed(struct xreg_watcher *watcher, uint64_t revision)
{
	struct xreg_monitor *m = xu_container_of(watcher, struct xreg_monitor, watcher);

	m->world.wake(m->world.arg);
}

/* False: it is to end. */
static bool take_orders(struct xreg_monitor *m, uint64_t now_us)
{
	bool has_config, must_stop;

	pthread_mutex_lock(&m->mutex);
	must_stop = m->must_stop;
	has_config = m->has_config;
	m->has_config = false;
	if (has_config) {
		m->config = m->next_config;
	}
	m->stats.nr_targets = m->nr_entries;
	m->stats.nr_probes = m->prober.nr_jobs;
	pthread_mutex_unlock(&m->mutex);
	if (has_config) {
		xreg__targets_spread(m, now_us);
	}
	return !must_stop;
}

/* A clock that was set says nothing of the targets: all of them get their whole time to live. So
 * they do when this registry begins to lead, and their checks in a row: what others have heard is
 * told with a delay, and not at all when they die. */
static void watch_clock(struct xreg_monitor *m)
{
	bool leads = xreg_store_leads(m->store);
	uint64_t unix_ms = m->world.unix_ms(m->world.arg);
	uint64_t differ_ms = unix_ms - m->world.now_us(m->world.arg) / 1000;

	if (m->since_ms == 0 || differ_ms - m->clocks_differ_ms + CLOCK_SET_MS > 2 * CLOCK_SET_MS) {
		if (m->since_ms != 0) {
			xu_warn(m->log, "the system's clock was set; no target is taken for silent "
					"before its time to live is over once more");
		}
		m->since_ms = unix_ms;
	}
	if (leads && !m->led) {
		xreg__targets_begin_anew(m, unix_ms);
	}
	m->led = leads;
	m->clocks_differ_ms = differ_ms;
}

/* Begins what is due; returns when the next is, as far as that can begin then. */
static uint64_t begin_checks(struct xreg_monitor *m)
{
	uint64_t due_us = UINT64_MAX;

	for (uint32_t i = 0; i < BEGIN_AT_ONCE; i++) {
		uint64_t now_us = m->world.now_us(m->world.arg);
		struct xreg__entry *e;

		if (m->prober.nr_jobs >= m->config.max_probes) {
			return UINT64_MAX; /* the end of one wakes us */
		}
		e = xreg__entry_take(m, now_us, &due_us);
		if (e == NULL) {
			return due_us;
		}
		xreg__check_begin(m, e, now_us);
	}
	return 0;
}

static void wait_for_more(struct xreg_monitor *m, uint64_t until_us)
{
	uint64_t now_us = m->world.now_us(m->world.arg), tokens[NR_TOKENS];
	uint64_t wait_us = until_us > now_us ? until_us - now_us : 0;
	uint32_t count;

	wait_us = wait_us < WAIT_US_MAX ? wait_us : WAIT_US_MAX;
	count = m->world.wait(m->world.arg, tokens, NR_TOKENS, wait_us);
	for (uint32_t i = 0; i < count; i++) {
		xreg__prober_event(&m->prober, tokens[i]);
	}
}

static void run(struct xreg_monitor *m)
{
	uint64_t now_us = m->world.now_us(m->world.arg), due_us, probe_us;

	while (take_orders(m, now_us)) {
		watch_clock(m);
		xreg__targets_sync(m, now_us);
		xreg__states_answered(m, now_us);
		xreg__looks_take(m, now_us);
		due_us = begin_checks(m);
		probe_us = xreg__prober_turn(&m->prober); /* those that have begun, too */
		wait_for_more(m, due_us < probe_us ? due_us : probe_us);
		now_us = m->world.now_us(m->world.arg);
	}
}

/* The store's answers point at us. */
static void wait_for_answers(struct xreg_monitor *m)
{
	pthread_mutex_lock(&m->mutex);
	while (m->stats.nr_changes > 0) {
		if (m->answered != NULL) {
			pthread_mutex_unlock(&m->mutex);
			xreg__states_answered(m, m->world.now_us(m->world.arg));
			pthread_mutex_lock(&m->mutex);
		} else {
			pthread_cond_wait(&m->no_changes, &m->mutex);
		}
	}
	pthread_mutex_unlock(&m->mutex);
}

static void *monitor_main(void *arg)
{
	struct xreg_monitor *m = arg;

	run(m);
	wait_for_answers(m);
	return NULL;
}

/* ---- life ---- */

static void free_monitor(struct xreg_monitor *m)
{
	xreg__targets_free(m);
	xreg__looks_free(m);
	if (m->owns_world) {
		xreg__world_close(&m->world);
	}
	pthread_mutex_destroy(&m->mutex);
	pthread_cond_destroy(&m->no_changes);
	free(m);
}

static int open_world(struct xreg_monitor *m, const struct xreg_world *world, struct xu_error *err)
{
	int rc = 0;

	if (world != NULL) {
		m->world = *world;
	} else {
		rc = xreg__world_open(&m->world, err);
		m->owns_world = rc == 0;
	}
	return rc;
}

int xreg_monitor_start(const struct xreg_monitor_opts *opts, struct xreg_monitor **ret_monitor,
	struct xu_error *err)
{
	struct xreg_monitor *m;
	int rc = xreg_health_config_check(opts->config, err);

	if (rc != 0) {
		return rc;
	}
	m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the health monitor");
	}
	m->store = opts->store;
	m->log = opts->log;
	m->fn = opts->fn;
	m->fn_arg = opts->arg;
	m->config = m->next_config = *opts->config;
	m->must_walk = true;
	m->watcher.fn = on_store_changed;
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->no_changes, NULL);
	rc = open_world(m, opts->world, err);
	if (rc == 0) {
		watch_clock(m);
		xreg__prober_init(&m->prober, &m->world, xreg__check_probed, m);
		rc = -pthread_create(&m->thread, NULL, monitor_main, m);
		if (rc != 0) {
			xu_error_set_errno(err, rc, "starting the health monitor's thread");
		}
	}
	if (rc != 0) {
		free_monitor(m);
		return rc;
	}
	xreg_store_watch(m->store, &m->watcher);
	*ret_monitor = m;
	return 0;
}

void xreg_monitor_stop(struct xreg_monitor *m)
{
	if (m == NULL) {
		return;
	}
	xreg_store_unwatch(m->store, &m->watcher);
	pthread_mutex_lock(&m->mutex);
	m->must_stop = true;
	pthread_mutex_unlock(&m->mutex);
	m->world.wake(m->world.arg);
	pthread_join(m->thread, NULL);
	free_monitor(m);
}

int xreg_monitor_configure(
	struct xreg_monitor *m, const struct xreg_health_config *config, struct xu_error *err)
{
	int rc = xreg_health_config_check(config, err);

	if (rc == 0) {
		pthread_mutex_lock(&m->mutex);
		m->next_config = *config;
		m->has_config = true;
		pthread_mutex_unlock(&m->mutex);
		m->world.wake(m->world.arg);
	}
	return rc;
}

void xreg_monitor_config(struct xreg_monitor *m, struct xreg_health_config *ret_config)
{
	pthread_mutex_lock(&m->mutex);
	*ret_config = m->next_config;
	pthread_mutex_unlock(&m->mutex);
}

static bool count_state(void *arg, const struct xreg_target *target)
{
	struct xreg_monitor_stats *stats = arg;
	const uint32_t state = target->status.state;

	stats->nr_offline += state == XREG_OFFLINE;
	stats->nr_failed += state == XREG_FAILED;
	stats->nr_degraded += state == XREG_DEGRADED;
	stats->nr_busy += state == XREG_BUSY;
	stats->nr_maintenance += state == XREG_MAINTENANCE;
	return true;
}

void xreg_monitor_stats(struct xreg_monitor *m, struct xreg_monitor_stats *ret_stats)
{
	struct xreg_view *view = xreg_store_view(m->store);

	pthread_mutex_lock(&m->mutex);
	*ret_stats = m->stats;
	pthread_mutex_unlock(&m->mutex);
	xreg_view_each(view, XREG_BY_ID, "", true, count_state, ret_stats);
	xreg_view_unref(view);
}
