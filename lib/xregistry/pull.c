/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that reads other discovery controllers. Each that is on the list is a peer:
 *
 *   WAITING --its time, and a place--> READING --log--> STAYING --its time, an event--> log again
 *      ^                                  |                |
 *      +------- what goes wrong, or the end of a reader ---+
 *
 * A few are read at a time, so some wait for a place; those that can be stayed connected to keep
 * theirs. After a failure the next attempt comes soon, and then twice as late each time, up to the
 * interval. Who leaves the list is remembered for two intervals, in which it may come back. Whom
 * their logs refer to is on the list as well (pull_refer.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/core/context.h"
#include "lib/xregistry/desired.h"
#include "lib/xregistry/pull_private.h"

#define BUFFER_BYTES      (4u << 20)
#define KATO_MS           15000u
#define DELAY_MIN_NS      XU_NS_PER_S
#define NR_PEERS_MAX      (2 * XREG_DDCS_MAX)
#define NR_ENTRIES_MAX    4096u
#define NR_TARGETS_MAX    100000u
#define NR_STRANGER_TRIES 5u /* of one that has asked to be read and never could be */

static uint64_t interval_ns(const struct xreg_pull *pull)
{
	return pull->opts.limits.interval_s * XU_NS_PER_S;
}

/* Of one peer, which is read more often when one of its targets asks for it. */
static uint64_t peer_interval_ns(const struct pull_peer *peer)
{
	uint64_t own_ns = peer->interval_s * XU_NS_PER_S, all_ns = interval_ns(peer->pull);

	return own_ns != 0 && own_ns < all_ns ? own_ns : all_ns;
}

static uint64_t wall_ms(void)
{
	return xu_clock_system()->wall_ns(xu_clock_system()) / XU_NS_PER_MS;
}

static void schedule(struct xreg_pull *pull);

/* ---- what a reader says ---- */

static void set_state(struct pull_peer *peer, enum pull_state state)
{
	struct xreg_pull *pull = peer->pull;

	pull->nr_reading += (state == PULL_READING) - (peer->state == PULL_READING);
	pull->nr_staying += (state == PULL_STAYING) - (peer->state == PULL_STAYING);
	pthread_mutex_lock(&pull->mutex);
	peer->state = state;
	pthread_mutex_unlock(&pull->mutex);
}

static void count_success(struct pull_peer *peer, const struct xnvmf_host_log *log)
{
	struct xreg_pull *pull = peer->pull;

	if (peer->nr_failures_in_row != 0) {
		xu_info(pull->opts.log, "the discovery controller %s can be read again", peer->key);
	}
	pthread_mutex_lock(&pull->mutex);
	peer->nr_attempts += peer->was_read; /* one that nobody began */
	peer->nr_successes++;
	peer->nr_failures_in_row = 0;
	peer->read_ms = wall_ms();
	peer->is_persistent = log->is_persistent;
	snprintf(peer->nqn, sizeof(peer->nqn), "%s", log->subnqn);
	peer->problem[0] = '\0';
	pthread_mutex_unlock(&pull->mutex);
	peer->was_read = true;
	peer->down_ns = 0;
	peer->delay_ns = 0;
	peer->next_ns = xr_now_ns(pull->reactor) + peer_interval_ns(peer);
}

static void on_log(void *arg, const struct xnvmf_host_log *log)
{
	struct pull_peer *peer = arg;
	struct pull_found *found;

	if (strcmp(log->subnqn, peer->pull->nqn) == 0) {
		peer->is_self = true;
		xnvmf_host_reader_close(peer->reader);
		return;
	}
	if (log->is_persistent && peer->state != PULL_STAYING) {
		set_state(peer, PULL_STAYING);
	}
	count_success(peer, log);
	pull__refer_take(peer, log);
	found = pull__found_new(peer, log);
	if (found != NULL) {
		pull__apply(peer, found);
	}
	schedule(peer->pull);
}

/* Who it refers to, and who refers to it, says nothing of it. */
bool pull__is_stranger(const struct pull_peer *peer)
{
	return (peer->ddc.sources & ~(1u << XREG_DDC_REFERRAL)) == 1u << XREG_DDC_KICK;
}

/* One that has asked to be read, and that nobody else names, leaves the list when it is no more. */
static void judge_stranger(struct pull_peer *peer, uint64_t now_ns)
{
	const struct xreg_pull *pull = peer->pull;
	bool is_old = pull->opts.limits.forget_s != 0 &&
		      now_ns - peer->down_ns > pull->opts.limits.forget_s * XU_NS_PER_S;

	if (pull__is_stranger(peer) &&
		(is_old || (peer->nr_successes == 0 && !peer->is_remembered &&
				   peer->nr_failures_in_row >= NR_STRANGER_TRIES))) {
		xreg_ddcs_remove(pull->opts.ddcs, XREG_DDC_KICK, &peer->ddc);
	}
}

static void count_failure(struct pull_peer *peer, const char *why)
{
	struct xreg_pull *pull = peer->pull;
	uint64_t now_ns = xr_now_ns(pull->reactor), max_ns = peer_interval_ns(peer);

	if (peer->nr_failures_in_row == 0) {
		xu_warn(pull->opts.log, "the discovery controller %s cannot be read: %s", peer->key,
			why);
		peer->down_ns = now_ns;
	}
	pthread_mutex_lock(&pull->mutex);
	peer->nr_attempts += peer->was_read;
	peer->nr_failures++;
	peer->nr_failures_in_row++;
	snprintf(peer->problem, sizeof(peer->problem), "%.255s", why);
	pthread_mutex_unlock(&pull->mutex);
	peer->delay_ns = peer->delay_ns != 0 ? 2 * peer->delay_ns : DELAY_MIN_NS;
	if (peer->delay_ns > max_ns) {
		peer->delay_ns = max_ns;
	}
	peer->next_ns = now_ns + peer->delay_ns;
	judge_stranger(peer, now_ns);
}

static void on_end(void *arg, const struct xu_error *err)
{
	struct pull_peer *peer = arg;

	peer->reader = NULL;
	set_state(peer, PULL_WAITING);
	if (peer->is_self) {
		count_failure(peer, "this is the registry itself");
	} else if (err->code != 0) {
		count_failure(peer, err->text);
	}
	schedule(peer->pull);
}

static void open_reader(struct pull_peer *peer)
{
	static const struct xnvmf_host_reader_ops ops = {.log = on_log, .end = on_end};
	struct xreg_pull *pull = peer->pull;
	const struct xnvmf_host_discover_opts opts = {
		.traddr = peer->ddc.address,
		.port = peer->ddc.port,
		.subnqn = peer->ddc.nqn[0] != '\0' ? peer->ddc.nqn : NULL,
		.hostnqn = pull->nqn,
		.timeout_ms = pull->opts.limits.timeout_s * 1000,
		.nr_entries_max = pull->opts.limits.nr_entries_max,
		.is_controller = true,
		.options = XNVMF_HOST_EXTENDED | XNVMF_HOST_PORT_LOCAL | XNVMF_HOST_ALL,
		.kato_ms = pull->nr_staying < PULL_NR_STAYING_MAX ? KATO_MS : 0,
	};

	peer->was_read = false;
	peer->is_self = false;
	peer->next_ns = xr_now_ns(pull->reactor) + peer_interval_ns(peer);
	peer->reader = xnvmf_host_reader_open(pull->ctx, &opts, &ops, peer);
	if (peer->reader == NULL) {
		return; /* the next time there may be memory */
	}
	set_state(peer, PULL_READING);
	pthread_mutex_lock(&pull->mutex);
	peer->nr_attempts++;
	pthread_mutex_unlock(&pull->mutex);
}

/* ---- the list ---- */

struct pull_peer *pull__find(const struct xreg_pull *pull, const char *key)
{
	struct xu_list *node;

	xu_list_for_each (node, &pull->peers) {
		struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		if (strcmp(peer->key, key) == 0) {
			return peer;
		}
	}
	return NULL;
}

static struct pull_peer *add_peer(struct xreg_pull *pull, const char *key)
{
	struct pull_peer *peer = pull->nr_peers < NR_PEERS_MAX ? calloc(1, sizeof(*peer)) : NULL;

	if (peer != NULL) {
		peer->pull = pull;
		strcpy(peer->key, key);
		pthread_mutex_lock(&pull->mutex);
		xu_list_add_tail(&pull->peers, &peer->link);
		pthread_mutex_unlock(&pull->mutex);
		pull->nr_peers++;
	}
	return peer;
}

static void free_peer(struct pull_peer *peer)
{
	struct xreg_pull *pull = peer->pull;

	pthread_mutex_lock(&pull->mutex);
	xu_list_del(&peer->link);
	pull->old_attempts += peer->nr_attempts;
	pull->old_successes += peer->nr_successes;
	pull->old_failures += peer->nr_failures;
	pthread_mutex_unlock(&pull->mutex);
	pull->nr_peers--;
	free(peer->referrals);
	free(peer);
}

static void take_ddc(struct xreg_pull *pull, const struct xreg_ddc *ddc)
{
	char key[PULL_KEY_SIZE];
	struct pull_peer *peer;
	bool is_other;

	pull__key(ddc, key);
	peer = pull__find(pull, key);
	peer = peer != NULL ? peer : add_peer(pull, key);
	if (peer == NULL) {
		return;
	}
	is_other = !peer->is_listed || strcmp(peer->ddc.nqn, ddc->nqn) != 0;
	pthread_mutex_lock(&pull->mutex);
	peer->ddc = *ddc;
	pthread_mutex_unlock(&pull->mutex);
	peer->is_listed = true;
	peer->is_seen = true;
	if (is_other) {
		peer->next_ns = 0;
		if (peer->reader != NULL) {
			xnvmf_host_reader_close(peer->reader);
		}
	}
}

static void sync_list(struct xreg_pull *pull)
{
	struct xreg_ddc *list;
	struct xu_list *node;
	uint32_t count;

	if (xreg_ddcs_revision(pull->opts.ddcs) == pull->ddcs_revision ||
		xreg_ddcs_copy(pull->opts.ddcs, &list, &count, &pull->ddcs_revision) != 0) {
		return;
	}
	xu_list_for_each (node, &pull->peers) {
		xu_list_entry(node, struct pull_peer, link)->is_seen = false;
	}
	for (uint32_t i = 0; i < count; i++) {
		take_ddc(pull, &list[i]);
	}
	free(list);
	xu_list_for_each (node, &pull->peers) {
		struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		if (!peer->is_seen && peer->is_listed) {
			peer->is_listed = false;
			peer->gone_ns = xr_now_ns(pull->reactor);
			pthread_mutex_lock(&pull->mutex);
			peer->ddc.sources = 0;
			pthread_mutex_unlock(&pull->mutex);
			if (peer->reader != NULL) {
				xnvmf_host_reader_close(peer->reader);
			}
		}
	}
	pull__refer(pull);
}

/* Those that had asked to be read before we were started the last time are read on. */
static bool remember(void *arg, const struct xreg_target *target)
{
	struct xreg_pull *pull = arg;
	const char *key = NULL;
	bool was_kick = false;
	struct xreg_ddc ddc;

	for (uint32_t i = 0; i < target->spec.nr_metadata; i++) {
		const struct xreg_pair *pair = &target->spec.metadata[i];

		was_kick |= strcmp(pair->key, XREG_PULL_BY) == 0;
		key = strcmp(pair->key, XREG_PULL_DDC) == 0 ? pair->value : key;
	}
	if (target->origin.source == XREG_PULLED && was_kick && key != NULL &&
		pull__find(pull, key) == NULL && pull__parse_key(key, &ddc) == 0 &&
		xreg_ddcs_add(pull->opts.ddcs, XREG_DDC_KICK, &ddc, NULL) == 0) {
		struct pull_peer *peer = add_peer(pull, key);

		if (peer != NULL) {
			peer->is_remembered = true;
		}
	}
	return true;
}

/* ---- how often ---- */

void pull__hasten(struct pull_peer *peer, const struct xreg_target *target)
{
	uint32_t interval_s = xreg_target_interval_s(target);

	if (interval_s != 0 && (peer->interval_s == 0 || interval_s < peer->interval_s)) {
		peer->interval_s = interval_s;
	}
}

/* Nobody waits longer than its interval. */
static void shorten_wait(struct pull_peer *peer, uint64_t now_ns)
{
	uint64_t max_ns = now_ns + peer_interval_ns(peer);

	peer->next_ns = peer->next_ns < max_ns ? peer->next_ns : max_ns;
}

static void on_target_changed(void *arg, const struct xreg_target *target)
{
	struct xreg_pull *pull = arg;
	struct pull_peer *peer;

	if (target->origin.source != XREG_PULLED || xreg_target_interval_s(target) == 0) {
		return;
	}
	peer = pull__find(pull, pull__metadata(&target->spec, XREG_PULL_DDC));
	if (peer != NULL) {
		pull__hasten(peer, target);
		shorten_wait(peer, xr_now_ns(pull->reactor));
	}
}

/* ---- when ---- */

/* What is to be done with a peer now; returns when there is something next. */
static uint64_t look_at(struct pull_peer *peer, uint64_t now_ns)
{
	struct xreg_pull *pull = peer->pull;
	uint64_t end_ns = peer->gone_ns + 2 * interval_ns(pull);

	if (!peer->is_listed) {
		if (peer->reader != NULL || peer->job != NULL || peer->next_found != NULL) {
			return UINT64_MAX; /* their ends come back here */
		}
		if (now_ns >= end_ns) {
			free_peer(peer);
			return UINT64_MAX;
		}
		return end_ns;
	}
	if (peer->next_ns > now_ns) {
		return peer->next_ns;
	}
	if (peer->state == PULL_STAYING) {
		peer->next_ns = now_ns + peer_interval_ns(peer);
		xnvmf_host_reader_again(peer->reader);
		return peer->next_ns;
	}
	if (peer->reader == NULL && pull->nr_reading < PULL_NR_READING_MAX) {
		/* Behind all others, who are before it when there is no place. */
		pthread_mutex_lock(&pull->mutex);
		xu_list_del(&peer->link);
		xu_list_add_tail(&pull->peers, &peer->link);
		pthread_mutex_unlock(&pull->mutex);
		open_reader(peer);
		return peer->next_ns;
	}
	return UINT64_MAX; /* it waits for a place, or for its reader's end */
}

static void schedule(struct xreg_pull *pull)
{
	uint64_t now_ns = xr_now_ns(pull->reactor), next_ns = UINT64_MAX;
	uint32_t count = pull->nr_peers;
	struct xu_list *node, *after;

	if (pull->is_stopping || pull->is_scheduling) {
		return;
	}
	pull->is_scheduling = true;
	for (node = pull->peers.next; count > 0; node = after, count--) {
		uint64_t at_ns;

		after = node->next;
		at_ns = look_at(xu_list_entry(node, struct pull_peer, link), now_ns);
		next_ns = at_ns < next_ns ? at_ns : next_ns;
	}
	pull->is_scheduling = false;
	xr_timer_stop(pull->reactor, &pull->timer);
	if (next_ns != UINT64_MAX) {
		xr_timer_start(pull->reactor, &pull->timer,
			next_ns > now_ns ? next_ns - now_ns : XU_NS_PER_MS);
	}
}

void pull__settle(struct xreg_pull *pull)
{
	pull__start_jobs(pull);
	schedule(pull);
}

static void on_timer(struct xr_timer *timer)
{
	schedule(xu_container_of(timer, struct xreg_pull, timer));
}

static void on_sweep_timer(struct xr_timer *timer)
{
	struct xreg_pull *pull = xu_container_of(timer, struct xreg_pull, sweep_timer);

	pull__sweep(pull);
	xr_timer_start(pull->reactor, timer, interval_ns(pull));
}

/* ---- what others want of the thread ---- */

void pull__wake(struct xreg_pull *pull)
{
	if (!atomic_exchange(&pull->is_msg_sent, true)) {
		xr_msg_send(pull->reactor, &pull->msg);
	}
}

static void on_list_changed(void *arg)
{
	pull__wake(arg);
}

static void on_store_changed(struct xreg_watcher *watcher, uint64_t revision)
{
	pull__wake(xu_container_of(watcher, struct xreg_pull, watcher));
}

void xreg_pull_kick(struct xreg_pull *pull)
{
	atomic_store(&pull->must_read, true);
	pull__wake(pull);
}

static void set_limits(struct xreg_pull *pull, const struct xreg_pull_limits *limits)
{
	pthread_mutex_lock(&pull->mutex);
	pull->limits = *limits;
	if (limits->nr_entries_max == 0) {
		pull->limits.nr_entries_max = NR_ENTRIES_MAX;
	}
	pthread_mutex_unlock(&pull->mutex);
}

void xreg_pull_set(struct xreg_pull *pull, const struct xreg_pull_limits *limits)
{
	set_limits(pull, limits);
	pull__wake(pull);
}

static void take_kicks(struct xreg_pull *pull)
{
	struct xreg_ddc kicks[PULL_NR_KICKS];
	uint32_t count;

	pthread_mutex_lock(&pull->mutex);
	count = pull->nr_kicks;
	memcpy(kicks, pull->kicks, count * sizeof(kicks[0]));
	pull->nr_kicks = 0;
	pthread_mutex_unlock(&pull->mutex);
	for (uint32_t i = 0; i < count; i++) {
		char key[PULL_KEY_SIZE];
		struct pull_peer *peer;

		pull__key(&kicks[i], key);
		peer = pull__find(pull, key);
		if (peer != NULL) {
			peer->next_ns = 0;
		}
	}
}

static void begin_stop(struct xreg_pull *pull)
{
	struct xu_list *node;

	pull->is_stopping = true;
	xr_timer_stop(pull->reactor, &pull->timer);
	xr_timer_stop(pull->reactor, &pull->sweep_timer);
	xu_list_for_each (node, &pull->peers) {
		struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		if (peer->reader != NULL) {
			xnvmf_host_reader_close(peer->reader);
		}
	}
	pull__start_jobs(pull); /* drops what has not begun */
}

static void take_limits(struct xreg_pull *pull)
{
	uint64_t now_ns = xr_now_ns(pull->reactor);
	const struct xreg_pull_limits before = pull->opts.limits;
	const uint32_t interval_s = before.interval_s;
	struct xu_list *node;

	pthread_mutex_lock(&pull->mutex);
	pull->opts.limits = pull->limits;
	pthread_mutex_unlock(&pull->mutex);
	if (pull->opts.limits.follows_referrals != before.follows_referrals ||
		pull->opts.limits.referral_depth_max != before.referral_depth_max ||
		pull->opts.limits.nr_referrals_max != before.nr_referrals_max) {
		pull__refer(pull);
	}
	if (pull->opts.limits.interval_s == interval_s) {
		return;
	}
	xu_list_for_each (node, &pull->peers) {
		shorten_wait(xu_list_entry(node, struct pull_peer, link), now_ns);
	}
	xr_timer_stop(pull->reactor, &pull->sweep_timer);
	xr_timer_start(pull->reactor, &pull->sweep_timer, interval_ns(pull));
}

static void on_wake(struct xr_msg *msg)
{
	struct xreg_pull *pull = xu_container_of(msg, struct xreg_pull, msg);
	struct xu_list *node;

	atomic_store(&pull->is_msg_sent, false);
	if (pull->is_stopping) {
		return;
	}
	if (atomic_load(&pull->must_stop)) {
		begin_stop(pull);
		return;
	}
	take_limits(pull);
	sync_list(pull);
	take_kicks(pull);
	xreg_follow(&pull->follow, on_target_changed, pull);
	if (atomic_exchange(&pull->must_read, false)) {
		xu_list_for_each (node, &pull->peers) {
			xu_list_entry(node, struct pull_peer, link)->next_ns = 0;
		}
	}
	schedule(pull);
}

/* ---- the thread ---- */

static bool is_busy(const struct xreg_pull *pull)
{
	struct xu_list *node;

	xu_list_for_each (node, &pull->peers) {
		const struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		if (peer->reader != NULL || peer->job != NULL) {
			return true;
		}
	}
	return pull->sweep != NULL || !pull->is_stopping;
}

static void begin(struct xreg_pull *pull)
{
	struct xreg_view *view = xreg_store_view(pull->opts.store);

	pull->start_ns = xr_now_ns(pull->reactor);
	xreg_view_each(view, XREG_BY_ID, "", true, remember, pull);
	xreg_view_unref(view);
	xr_timer_start(pull->reactor, &pull->sweep_timer, interval_ns(pull));
	pull__wake(pull);
}

static void *pull_main(void *arg)
{
	const struct xbdev_ctx_opts opts = {.log = ((struct xreg_pull *)arg)->opts.log,
		.nr_reactors = 1,
		.buf_limit_bytes = BUFFER_BYTES};
	struct xreg_pull *pull = arg;
	int rc = xbdev_ctx_new(&opts, &pull->ctx, &pull->err);

	pthread_mutex_lock(&pull->mutex);
	pull->reactor = rc == 0 ? xbdev_ctx_control(pull->ctx) : NULL;
	pull->rc = rc;
	pull->is_ready = true;
	pthread_cond_signal(&pull->has_started);
	pthread_mutex_unlock(&pull->mutex);
	if (rc != 0) {
		return NULL;
	}
	begin(pull);
	while (is_busy(pull)) {
		xr_reactor_poll(pull->reactor, XR_IDLE);
	}
	return NULL;
}

/* ---- life ---- */

int xreg_pull_new(
	const struct xreg_pull_opts *opts, struct xreg_pull **ret_pull, struct xu_error *err)
{
	struct xreg_pull *pull = calloc(1, sizeof(*pull));

	if (pull == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing to read discovery controllers");
	}
	pull->opts = *opts;
	if (pull->opts.nr_targets_max == 0) {
		pull->opts.nr_targets_max = NR_TARGETS_MAX;
	}
	snprintf(pull->nqn, sizeof(pull->nqn), "%s", opts->nqn);
	pull->ddcs_revision = UINT64_MAX;
	pull->watcher.fn = on_store_changed;
	pull->follow = (struct xreg_follow){.store = opts->store};
	pull->is_msg_sent = true; /* nobody is to send it before the thread is there */
	pull->msg.fn = on_wake;
	pull->timer.fn = on_timer;
	pull->sweep_timer.fn = on_sweep_timer;
	xu_list_init(&pull->peers);
	pthread_mutex_init(&pull->mutex, NULL);
	pthread_mutex_init(&pull->send_mutex, NULL);
	pthread_cond_init(&pull->has_started, NULL);
	set_limits(pull, &opts->limits);
	pull->opts.limits = pull->limits;
	*ret_pull = pull;
	return 0;
}

int xreg_pull_start(struct xreg_pull *pull, struct xu_error *err)
{
	int rc = -pthread_create(&pull->thread, NULL, pull_main, pull);

	if (rc != 0) {
		return xu_error_set_errno(err, rc, "starting to read discovery controllers");
	}
	pull->has_thread = true;
	pthread_mutex_lock(&pull->mutex);
	while (!pull->is_ready) {
		pthread_cond_wait(&pull->has_started, &pull->mutex);
	}
	rc = pull->rc;
	pthread_mutex_unlock(&pull->mutex);
	if (rc != 0) {
		*err = pull->err;
		return rc;
	}
	/* From here on others may wake it; what they wanted before is seen then too. */
	atomic_store(&pull->is_msg_sent, false);
	rc = xreg_ddcs_watch(pull->opts.ddcs, on_list_changed, pull);
	if (rc != 0) {
		return xu_error_set_errno(err, rc, "watching the list of discovery controllers");
	}
	xreg_store_watch(pull->opts.store, &pull->watcher);
	pull__wake(pull);
	return 0;
}

static void stop_thread(struct xreg_pull *pull)
{
	if (pull->reactor != NULL) {
		xreg_store_unwatch(pull->opts.store, &pull->watcher);
		xreg_ddcs_unwatch(pull->opts.ddcs, on_list_changed, pull);
		atomic_store(&pull->must_stop, true);
		pull__wake(pull);
	}
	pthread_join(pull->thread, NULL);
	/* The store's writer is nowhere in here after this. */
	pthread_mutex_lock(&pull->send_mutex);
	pthread_mutex_unlock(&pull->send_mutex);
}

void xreg_pull_free(struct xreg_pull *pull)
{
	struct xu_list *node;

	if (pull == NULL) {
		return;
	}
	if (pull->has_thread) {
		stop_thread(pull);
	}
	while ((node = xu_list_pop(&pull->peers)) != NULL) {
		struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		pull__found_free(peer->next_found);
		free(peer->referrals);
		free(peer);
	}
	free(pull->referrals);
	xbdev_ctx_free(pull->ctx);
	pthread_mutex_destroy(&pull->mutex);
	pthread_mutex_destroy(&pull->send_mutex);
	pthread_cond_destroy(&pull->has_started);
	free(pull);
}

/* ---- what is shown ---- */

static const char *state_name(const struct pull_peer *peer)
{
	return peer->state == PULL_STAYING     ? "connected"
	       : peer->state == PULL_READING   ? "reading"
	       : peer->nr_failures_in_row != 0 ? "failing"
					       : "waiting";
}

static json_t *sources_json(uint32_t sources)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < XREG_DDC_NR_SOURCES; i++) {
		if ((sources & 1u << i) != 0) {
			json_array_append_new(list, json_string(xreg_ddc_source_name(i)));
		}
	}
	return list;
}

static json_t *peer_json(const struct pull_peer *peer)
{
	const struct pull_referral *referral = pull__referral(peer->pull, &peer->ddc);

	return json_pack(
		"{s:s, s:i, s:s, s:o, s:s, s:i, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:s, s:I}",
		"address", peer->ddc.address, "port", (int)peer->ddc.port, "nqn", peer->nqn,
		"sources", sources_json(peer->ddc.sources), "referred_by",
		referral != NULL ? referral->from : "", "referral_depth",
		referral != NULL ? (int)referral->depth : 0, "state", state_name(peer),
		"persistent", (int)peer->is_persistent, "attempts", (json_int_t)peer->nr_attempts,
		"successes", (json_int_t)peer->nr_successes, "failures",
		(json_int_t)peer->nr_failures, "found", (json_int_t)peer->nr_found, "ignored",
		(json_int_t)peer->nr_ignored, "problem", peer->problem, "read_ms",
		(json_int_t)peer->read_ms);
}

json_t *xreg_pull_json(struct xreg_pull *pull)
{
	json_int_t attempts, successes, failures, found = 0;
	json_t *controllers = json_array();
	char problem[512] = "";
	struct xu_list *node;

	pthread_mutex_lock(&pull->mutex);
	attempts = (json_int_t)pull->old_attempts;
	successes = (json_int_t)pull->old_successes;
	failures = (json_int_t)pull->old_failures;
	xu_list_for_each (node, &pull->peers) {
		const struct pull_peer *peer = xu_list_entry(node, struct pull_peer, link);

		attempts += (json_int_t)peer->nr_attempts;
		successes += (json_int_t)peer->nr_successes;
		failures += (json_int_t)peer->nr_failures;
		found += peer->nr_found;
		if (peer->problem[0] != '\0' && problem[0] == '\0' && peer->ddc.sources != 0) {
			snprintf(problem, sizeof(problem), "%s: %s", peer->key, peer->problem);
		}
		json_array_append_new(controllers, peer_json(peer));
	}
	pthread_mutex_unlock(&pull->mutex);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:o}", "method", "pull", "attempts",
		attempts, "successes", successes, "failures", failures, "found", found, "problem",
		problem, "controllers", controllers);
}
