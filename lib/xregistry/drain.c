/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A drain is a chain of three: a change of the state (the writer's thread), looks at the reported
 * connections (the waiting thread, five times a second), a change that unregisters. What has to be
 * known after a crash is in the target's state: its reason, and when the drain ends at the latest.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/xregistry/drain.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/wait.h"

#define LOOK_NS (200u * 1000000u)

struct xreg_drains {
	struct xreg_store *store;
	struct xreg_waits *waits;
	pthread_mutex_t mutex;
	pthread_cond_t is_empty;
	uint32_t count;
};

struct drain {
	struct xreg_drains *drains;
	char id[XREG_ID_SIZE];
	uint64_t end_ms; /* Unix time */
	bool force;
	bool is_resumed; /* reports from before are not known */
	struct xreg_change change;
	struct xreg_wait wait;
	struct xreg_target *target; /* whose connections are looked at */
	uint32_t nr_first, nr_left;
	void (*done)(void *arg, const struct xreg_drained *drained);
	void *arg;
};

static uint64_t unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void finish(struct drain *drain, int rc, const struct xu_error *err)
{
	struct xreg_drains *drains = drain->drains;
	const struct xreg_drained drained = {.rc = rc,
		.err = err,
		.target = drain->change.result,
		.nr_drained = drain->nr_first - drain->nr_left,
		.nr_left = drain->nr_left,
		.at_ms = unix_ms()};

	if (drain->done != NULL) {
		drain->done(drain->arg, &drained);
	}
	xreg_target_unref(drain->change.result);
	xreg_target_unref(drain->target);
	free(drain);
	pthread_mutex_lock(&drains->mutex);
	drains->count--;
	pthread_cond_broadcast(&drains->is_empty);
	pthread_mutex_unlock(&drains->mutex);
}

static void on_unregistered(struct xreg_change *change)
{
	struct drain *drain = change->arg;

	finish(drain, change->rc, &change->err);
}

static void submit(struct drain *drain, enum xreg_change_op op, uint64_t if_revision,
	void (*done)(struct xreg_change *change))
{
	xreg_target_unref(drain->change.result);
	drain->change = (struct xreg_change){.op = op,
		.id = drain->id,
		.if_revision = if_revision,
		.status = {.state = XREG_MAINTENANCE,
			.reason = XREG_DRAINING,
			.until_ms = drain->end_ms},
		.done = done,
		.arg = drain};
	xreg_store_submit(drain->drains->store, &drain->change);
}

/* False: its node has not reported them. */
static bool get_connections(const struct xreg_target *target, uint32_t *ret_count)
{
	struct xreg_live_state state;

	xreg_live_get(target, &state);
	*ret_count = state.has_metrics ? state.metrics.active_connections : 0;
	return state.has_metrics;
}

/* Whether there are none, as far as can be known: a node that reports is waited for. */
static bool has_none(const struct drain *drain, bool is_reported)
{
	return drain->nr_left == 0 &&
	       (is_reported || !drain->is_resumed || drain->target->spec.ttl_s == 0);
}

/* Waits on, or unregisters. */
static void look(struct drain *drain)
{
	struct xreg_drains *drains = drain->drains;
	bool is_reported = get_connections(drain->target, &drain->nr_left);
	struct xu_error err;

	if (drain->nr_left > drain->nr_first) {
		drain->nr_first = drain->nr_left;
	}
	if (has_none(drain, is_reported) || unix_ms() >= drain->end_ms) {
		submit(drain, XREG_UNREGISTER, 0, on_unregistered);
	} else if (xreg_waits_has_ended(drains->waits)) {
		xu_error_set(&err, -ESHUTDOWN,
			"the registry ends; target %s stays in maintenance and is drained on when "
			"it "
			"is started again",
			drain->id);
		finish(drain, err.code, &err);
	} else {
		drain->wait.deadline_ns = xreg_clock_ns() + LOOK_NS;
		xreg_waits_add(drains->waits, &drain->wait);
	}
}

static void on_look(struct xreg_wait *wait, uint64_t revision)
{
	look((struct drain *)((char *)wait - offsetof(struct drain, wait)));
}

static void on_draining(struct xreg_change *change)
{
	struct drain *drain = change->arg;

	if (change->rc != 0) {
		finish(drain, change->rc, &change->err);
		return;
	}
	drain->target = xreg_target_ref(change->result);
	look(drain);
}

static struct drain *new_drain(struct xreg_drains *drains, const char *id, uint64_t end_ms)
{
	struct drain *drain = calloc(1, sizeof(*drain));

	if (drain == NULL) {
		return NULL;
	}
	drain->drains = drains;
	strncpy(drain->id, id, sizeof(drain->id) - 1);
	drain->end_ms = end_ms;
	drain->wait.fn = on_look;
	drain->wait.revision = UINT64_MAX;
	pthread_mutex_lock(&drains->mutex);
	drains->count++;
	pthread_mutex_unlock(&drains->mutex);
	return drain;
}

/* What the node has reported by now: by the time that the state is durable it may be less. */
static void count_connections(struct drain *drain)
{
	struct xreg_view *view = xreg_store_view(drain->drains->store);
	const struct xreg_target *target = xreg_view_get(view, drain->id);

	if (target != NULL) {
		get_connections(target, &drain->nr_left);
		drain->nr_first = drain->nr_left;
	}
	xreg_view_unref(view);
}

int xreg_drain_start(struct xreg_drains *drains, const struct xreg_drain_opts *opts,
	void (*done)(void *arg, const struct xreg_drained *drained), void *arg)
{
	struct drain *drain = new_drain(drains, opts->id, unix_ms() + opts->timeout_s * 1000ull);

	if (drain == NULL) {
		return -ENOMEM;
	}
	drain->done = done;
	drain->arg = arg;
	count_connections(drain);
	if (opts->force) {
		submit(drain, XREG_UNREGISTER, opts->if_revision, on_unregistered);
	} else {
		submit(drain, XREG_SET_STATUS, opts->if_revision, on_draining);
	}
	return 0;
}

/* ---- life ---- */

int xreg_drains_new(struct xreg_store *store, struct xreg_waits *waits,
	struct xreg_drains **ret_drains, struct xu_error *err)
{
	struct xreg_drains *drains = calloc(1, sizeof(*drains));

	if (drains == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing to drain targets");
	}
	drains->store = store;
	drains->waits = waits;
	pthread_mutex_init(&drains->mutex, NULL);
	pthread_cond_init(&drains->is_empty, NULL);
	*ret_drains = drains;
	return 0;
}

struct resume {
	struct xreg_drains *drains;
	uint32_t count;
};

static bool resume_one(void *arg, const struct xreg_target *target)
{
	struct resume *resume = arg;
	struct drain *drain;

	if (target->status.state == XREG_MAINTENANCE &&
		strcmp(target->status.reason, XREG_DRAINING) == 0) {
		drain = new_drain(resume->drains, target->origin.id, target->status.until_ms);
		if (drain != NULL) {
			drain->target = xreg_target_ref(target);
			drain->is_resumed = true;
			resume->count++;
			drain->wait.deadline_ns = xreg_clock_ns();
			xreg_waits_add(resume->drains->waits, &drain->wait);
		}
	}
	return true;
}

uint32_t xreg_drains_resume(struct xreg_drains *drains)
{
	struct xreg_view *view = xreg_store_view(drains->store);
	struct resume resume = {drains, 0};

	xreg_view_each(view, XREG_BY_ID, "", true, resume_one, &resume);
	xreg_view_unref(view);
	return resume.count;
}

void xreg_drains_free(struct xreg_drains *drains)
{
	if (drains == NULL) {
		return;
	}
	pthread_mutex_lock(&drains->mutex);
	while (drains->count != 0) {
		pthread_cond_wait(&drains->is_empty, &drains->mutex);
	}
	pthread_mutex_unlock(&drains->mutex);
	pthread_mutex_destroy(&drains->mutex);
	pthread_cond_destroy(&drains->is_empty);
	free(drains);
}
