/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread. It makes a client, which waits for avahi-daemon by itself; when the daemon or the bus
 * goes away the client cannot be used any more and another one is made. In callbacks nothing is
 * freed: they mark, and the thread's loop does. Calls of the daemon block, for 25 seconds when it
 * hangs, so nobody waits for this thread but for a short while.
 */
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
#include "lib/xregistry/mdns/mdns_private.h"

#define RETRY_MS 5000u /* when not even a client can be made: no bus */
#define STOP_S   5

uint64_t xreg__mdns_now_ms(void)
{
	return xu_clock_now_ns(xu_clock_system()) / XU_NS_PER_MS;
}

void xreg__mdns_say(struct xreg_mdns *mdns, enum xu_log_level level, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	pthread_mutex_lock(&mdns->out_mutex);
	if (!mdns->must_stop) {
		xu_log(mdns->opts.log, level, "%s", text);
	}
	pthread_mutex_unlock(&mdns->out_mutex);
}

static bool must_stop(struct xreg_mdns *mdns)
{
	bool is_over;

	pthread_mutex_lock(&mdns->out_mutex);
	is_over = mdns->must_stop;
	pthread_mutex_unlock(&mdns->out_mutex);
	return is_over;
}

static void set_phase(struct xreg_mdns *mdns, enum xreg__mdns_phase phase, const char *problem)
{
	struct xreg__mdns_shared *shared = &mdns->shared;

	pthread_mutex_lock(&shared->mutex);
	if (shared->phase != XREG__MDNS_STOPPED && shared->phase != XREG__MDNS_IDLE) {
		shared->phase = phase;
		snprintf(shared->problem, sizeof(shared->problem), "%s", problem);
		pthread_cond_broadcast(&shared->has_settled);
	}
	pthread_mutex_unlock(&shared->mutex);
}

/* ---- the client ---- */

/* There is no daemon: said once, until there is one. */
static void miss(struct xreg_mdns *mdns, const char *why)
{
	char text[200];

	snprintf(text, sizeof(text), "no avahi-daemon (%s); mDNS goes on when there is one", why);
	set_phase(mdns, XREG__MDNS_MISSING, text);
	if (!mdns->was_missed) {
		mdns->was_missed = true;
		xreg__mdns_say(mdns, XU_LOG_WARN, "mDNS: %s", text);
	}
}

void xreg__mdns_break(struct xreg_mdns *mdns, const char *what)
{
	const char *why =
		mdns->client != NULL ? avahi_strerror(avahi_client_errno(mdns->client)) : "";

	if (!mdns->is_broken) {
		xreg__mdns_say(mdns, XU_LOG_DEBUG, "mDNS: %s: %s", what, why);
		mdns->is_broken = true;
	}
}

static void on_client(AvahiClient *client, AvahiClientState state, void *arg)
{
	struct xreg_mdns *mdns = arg;

	/* It may be called before avahi_client_new() returns. */
	mdns->client = client;
	switch (state) {
	case AVAHI_CLIENT_FAILURE:
		miss(mdns, avahi_strerror(avahi_client_errno(client)));
		xreg__mdns_break(mdns, "the connection to avahi-daemon is lost");
		break;
	case AVAHI_CLIENT_CONNECTING:
		miss(mdns, "nobody has its name on the system bus");
		break;
	default:
		if (mdns->was_missed) {
			xreg__mdns_say(mdns, XU_LOG_INFO, "mDNS: avahi-daemon is there");
			mdns->was_missed = false;
		}
		xreg__mdns_browse_begin(mdns);
		xreg__mdns_publish_state(mdns, state);
	}
}

static void connect_client(struct xreg_mdns *mdns, uint64_t now_ms)
{
	int code = 0;
	AvahiClient *client = avahi_client_new(
		avahi_simple_poll_get(mdns->poll), AVAHI_CLIENT_NO_FAIL, on_client, mdns, &code);

	mdns->client = client;
	if (client == NULL) {
		miss(mdns, avahi_strerror(code));
		mdns->is_broken = false;
		mdns->connect_ms = now_ms + RETRY_MS;
	}
}

static void disconnect_client(struct xreg_mdns *mdns)
{
	if (mdns->client != NULL) {
		xreg__mdns_browse_end(mdns);
		xreg__mdns_publish_end(mdns);
		avahi_client_free(mdns->client);
		mdns->client = NULL;
	}
}

/* ---- the thread ---- */

static bool is_idle(const struct xreg_mdns *mdns)
{
	return mdns->task.look == 0 && !mdns->task.is_published;
}

/* Something else is to be looked for. */
static void look(struct xreg_mdns *mdns)
{
	xreg__mdns_browse_end(mdns);
	if (mdns->task.look == 0 || mdns->client == NULL || mdns->is_broken) {
		return;
	}
	if (avahi_client_get_state(mdns->client) == AVAHI_CLIENT_CONNECTING) {
		miss(mdns, "nobody has its name on the system bus");
	} else {
		xreg__mdns_browse_begin(mdns);
	}
}

/* Something else is to be announced. */
static void announce(struct xreg_mdns *mdns)
{
	if (!mdns->task.is_published) {
		xreg__mdns_publish_end(mdns);
	} else if (mdns->client != NULL && !mdns->is_broken) {
		xreg__mdns_publish_state(mdns, avahi_client_get_state(mdns->client));
	}
}

/* Does what is asked for now. */
static void follow(struct xreg_mdns *mdns)
{
	const struct xreg__mdns_task old = mdns->task;

	pthread_mutex_lock(&mdns->out_mutex);
	mdns->task = mdns->asked;
	pthread_mutex_unlock(&mdns->out_mutex);
	if (mdns->task.look != old.look) {
		look(mdns);
	}
	if (mdns->task.is_published != old.is_published) {
		announce(mdns);
	}
	if (is_idle(mdns)) {
		disconnect_client(mdns);
		mdns->was_missed = mdns->is_broken = false;
		mdns->connect_ms = 0;
	}
}

static void *mdns_main(void *arg)
{
	struct xreg_mdns *mdns = arg;
	uint64_t now_ms, next_ms, other_ms;

	while (!must_stop(mdns)) {
		follow(mdns);
		now_ms = xreg__mdns_now_ms();
		if (mdns->client == NULL && now_ms >= mdns->connect_ms && !is_idle(mdns)) {
			connect_client(mdns, now_ms);
		}
		next_ms = mdns->client == NULL && !is_idle(mdns) ? mdns->connect_ms
								 : now_ms + RETRY_MS;
		if (mdns->client != NULL && !mdns->is_broken) {
			other_ms = xreg__mdns_browse_turn(mdns, now_ms);
			next_ms = other_ms < next_ms ? other_ms : next_ms;
			other_ms = xreg__mdns_publish_turn(mdns, now_ms);
			next_ms = other_ms < next_ms ? other_ms : next_ms;
		}
		if (!mdns->is_broken &&
			avahi_simple_poll_iterate(
				mdns->poll, next_ms > now_ms ? (int)(next_ms - now_ms) : 0) != 0) {
			xreg__mdns_break(mdns, "waiting for avahi-daemon");
		}
		if (mdns->is_broken) {
			/* Not at once: what ends again and again is not to keep a core busy. */
			disconnect_client(mdns);
			mdns->is_broken = false;
			mdns->connect_ms = xreg__mdns_now_ms() + 200;
		}
	}
	disconnect_client(mdns);
	pthread_mutex_lock(&mdns->shared.mutex);
	mdns->shared.is_over = true;
	pthread_cond_broadcast(&mdns->shared.has_settled);
	pthread_mutex_unlock(&mdns->shared.mutex);
	return NULL;
}

/* ---- life ---- */

static void free_mdns(struct xreg_mdns *mdns)
{
	if (mdns->poll != NULL) {
		avahi_simple_poll_free(mdns->poll);
	}
	pthread_mutex_destroy(&mdns->out_mutex);
	pthread_mutex_destroy(&mdns->shared.mutex);
	pthread_cond_destroy(&mdns->shared.has_settled);
	free(mdns->shared.targets);
	free(mdns->services);
	free(mdns->items);
	free(mdns->ddcs);
	free(mdns);
}

static struct xreg_mdns *make_mdns(const struct xreg_mdns_opts *opts)
{
	struct xreg_mdns *mdns = calloc(1, sizeof(*mdns));
	pthread_condattr_t attr;

	if (mdns == NULL) {
		return NULL;
	}
	mdns->opts = *opts;
	snprintf(mdns->nqn, sizeof(mdns->nqn), "%s", opts->nqn != NULL ? opts->nqn : "");
	snprintf(mdns->address, sizeof(mdns->address), "%s",
		opts->address != NULL ? opts->address : "");
	pthread_mutex_init(&mdns->out_mutex, NULL);
	pthread_mutex_init(&mdns->shared.mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&mdns->shared.has_settled, &attr);
	pthread_condattr_destroy(&attr);
	mdns->poll = avahi_simple_poll_new();
	mdns->items = calloc(XREG_MDNS_SERVICES_MAX, sizeof(*mdns->items));
	mdns->services = calloc(XREG_MDNS_SERVICES_MAX, sizeof(*mdns->services));
	mdns->ddcs = calloc(XREG_MDNS_SERVICES_MAX, sizeof(*mdns->ddcs));
	mdns->shared.targets = calloc(XREG_MDNS_SERVICES_MAX, sizeof(*mdns->shared.targets));
	if (mdns->poll == NULL || mdns->items == NULL || mdns->services == NULL ||
		mdns->ddcs == NULL || mdns->shared.targets == NULL) {
		free_mdns(mdns);
		return NULL;
	}
	return mdns;
}

int xreg_mdns_new(
	const struct xreg_mdns_opts *opts, struct xreg_mdns **ret_mdns, struct xu_error *err)
{
	struct xreg_mdns *mdns = make_mdns(opts);

	if (mdns == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing mDNS");
	}
	*ret_mdns = mdns;
	return 0;
}

void xreg_mdns_set(struct xreg_mdns *mdns, bool is_looking, bool is_published)
{
	struct xreg__mdns_shared *shared = &mdns->shared;

	pthread_mutex_lock(&mdns->out_mutex);
	if (is_looking && mdns->asked.look == 0) {
		mdns->asked.look = ++mdns->nr_looks;
	} else if (!is_looking && mdns->asked.look != 0) {
		mdns->asked.look = 0;
		xreg_ddcs_replace(mdns->opts.ddcs, XREG_DDC_MDNS, NULL, 0);
	}
	mdns->asked.is_published = is_published && mdns->nqn[0] != '\0';
	pthread_mutex_unlock(&mdns->out_mutex);
	pthread_mutex_lock(&shared->mutex);
	if (is_looking && shared->phase == XREG__MDNS_IDLE) {
		shared->phase = XREG__MDNS_STARTING;
	} else if (!is_looking && shared->phase != XREG__MDNS_STOPPED) {
		shared->phase = XREG__MDNS_IDLE;
		shared->nr_targets = shared->nr_services = shared->nr_ignored = 0;
		pthread_cond_broadcast(&shared->has_settled);
	}
	pthread_mutex_unlock(&shared->mutex);
	avahi_simple_poll_wakeup(mdns->poll);
}

int xreg_mdns_start(struct xreg_mdns *mdns, struct xu_error *err)
{
	int rc = -pthread_create(&mdns->thread, NULL, mdns_main, mdns);

	mdns->has_thread = rc == 0;
	return rc == 0 ? 0 : xu_error_set_errno(err, rc, "starting mDNS");
}

/* Whether the thread has come to its end, after a while at most. */
static bool wait_over(struct xreg__mdns_shared *shared)
{
	struct timespec until;
	bool is_over;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_S;
	pthread_mutex_lock(&shared->mutex);
	while (!shared->is_over && rc == 0) {
		rc = pthread_cond_timedwait(&shared->has_settled, &shared->mutex, &until);
	}
	is_over = shared->is_over;
	pthread_mutex_unlock(&shared->mutex);
	return is_over;
}

void xreg_mdns_stop(struct xreg_mdns *mdns)
{
	if (mdns == NULL || !mdns->has_thread) {
		return;
	}
	pthread_mutex_lock(&mdns->out_mutex);
	mdns->must_stop = true;
	pthread_mutex_unlock(&mdns->out_mutex);
	pthread_mutex_lock(&mdns->shared.mutex);
	mdns->shared.phase = XREG__MDNS_STOPPED;
	pthread_cond_broadcast(&mdns->shared.has_settled);
	pthread_mutex_unlock(&mdns->shared.mutex);
	avahi_simple_poll_wakeup(mdns->poll);
	mdns->has_thread = false;
	if (wait_over(&mdns->shared)) {
		pthread_join(mdns->thread, NULL);
		return;
	}
	mdns->is_left = true;
	pthread_detach(mdns->thread);
	xu_warn(mdns->opts.log, "mDNS: avahi-daemon does not answer; its thread is left behind");
}

void xreg_mdns_free(struct xreg_mdns *mdns)
{
	if (mdns != NULL && !mdns->is_left) {
		free_mdns(mdns);
	}
}

/* ---- what it says ---- */

/* Those of the list that mDNS has named; what is this registry itself is not among them. */
static json_t *found_json(struct xreg_ddcs *ddcs)
{
	json_t *found = json_array();
	struct xreg_ddc *list;
	uint64_t revision;
	uint32_t count;

	if (xreg_ddcs_copy(ddcs, &list, &count, &revision) != 0) {
		return found;
	}
	for (uint32_t i = 0; i < count; i++) {
		if ((list[i].sources & 1u << XREG_DDC_MDNS) != 0) {
			json_array_append_new(
				found, json_pack("{s:s, s:i, s:s}", "address", list[i].address,
					       "port", (int)list[i].port, "nqn", list[i].nqn));
		}
	}
	free(list);
	return found;
}

json_t *xreg_mdns_json(struct xreg_mdns *mdns)
{
	static const char *const phases[] = {
		"unknown", "unknown", "missing", "running", "running", "stopped"};
	struct xreg__mdns_shared *shared = &mdns->shared;
	json_t *found = found_json(mdns->opts.ddcs), *json;

	pthread_mutex_lock(&shared->mutex);
	json = json_pack("{s:s, s:i, s:i, s:s?, s:o}", "daemon", phases[shared->phase], "services",
		(int)shared->nr_services, "ignored", (int)shared->nr_ignored, "published",
		shared->is_published ? shared->published : NULL, "discovery_controllers", found);
	pthread_mutex_unlock(&shared->mutex);
	return json;
}

static json_t *describe(void *arg)
{
	return xreg_mdns_json(arg);
}

/* ---- the method ---- */

/* Waits until what there is has been seen as a whole; with the mutex. */
static int wait_settled(struct xreg__mdns_shared *shared, uint32_t timeout_s, struct xu_error *err)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_s;
	while (rc == 0 &&
		(shared->phase == XREG__MDNS_STARTING || shared->phase == XREG__MDNS_LOOKING)) {
		rc = pthread_cond_timedwait(&shared->has_settled, &shared->mutex, &until);
	}
	if (rc != 0) {
		return xu_error_set(err, -EAGAIN,
			"avahi-daemon has not said within %u s what there is", timeout_s);
	}
	if (shared->phase == XREG__MDNS_IDLE || shared->phase == XREG__MDNS_STOPPED) {
		return xu_error_set(err, -ECANCELED, "mDNS has been stopped");
	}
	return shared->phase == XREG__MDNS_SETTLED
		       ? 0
		       : xu_error_set(err, -ENOTCONN, "%s", shared->problem);
}

static int find_mdns(void *arg, uint32_t timeout_s, struct xreg_found *found, struct xu_error *err)
{
	struct xreg_mdns *mdns = arg;
	struct xreg__mdns_shared *shared = &mdns->shared;
	struct xreg_parsed parsed;
	int rc;

	pthread_mutex_lock(&shared->mutex);
	rc = wait_settled(shared, timeout_s, err);
	for (uint32_t i = 0; rc == 0 && i < shared->nr_targets; i++) {
		rc = xreg__mdns_spec(&shared->targets[i], &parsed, err);
		rc = rc != 0 ? rc : xreg_found_add(found, &parsed.spec, err);
	}
	pthread_mutex_unlock(&shared->mutex);
	return rc;
}

const struct xreg_find_method xreg_find_mdns = {
	.name = "mdns", .source = XREG_MDNS, .find = find_mdns, .describe = describe};
