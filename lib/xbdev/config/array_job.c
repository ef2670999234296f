/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making, changing and stopping arrays. Stopping leaves the members as they are, so that it is
 *taken back by assembling them again. An array that was made here, and into which nobody has
 *written, is erased from its members when its making is taken back; one that was written to is only
 *stopped.
 *
 *	undo of MAKE   look whether it has been written to ─▶ stop ─▶ erase one member after the
 *other
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/config/array.h"
#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/raid/driver.h"
#include "lib/xbdev/raid/examine.h"

#define STOP_WAIT_NS (10 * XU_NS_PER_S)

struct array_state {
	struct xbdev_job *job;
	bool is_new;     /* it was made, not assembled */
	bool is_erasing; /* when it has been stopped */
	size_t next;     /* member to erase */
	struct stop *stop;
	struct xu_error err;
};

/* Outlives its job when the array takes too long. */
struct stop {
	struct array_state *state; /* NULL: it has given up */
	struct xr_reactor *reactor;
	struct xr_timer timer;
};

static void end(struct array_state *state)
{
	xbdev_job_done(state->job, &state->err);
}

static void fail(struct xbdev_job *job, int code, const char *text)
{
	struct xu_error err;

	xu_error_set(&err, code, "%s", text);
	xbdev_job_done(job, &err);
}

void xbdev__array_forget(struct xbdev_job *job)
{
	struct array_state *state = job->state;

	free(state->stop);
	free(state);
	job->state = NULL;
}

/* What a job needs from its beginning to its being undone; NULL: it has failed. */
static struct array_state *state_of(struct xbdev_job *job)
{
	struct array_state *state = job->state;

	if (state == NULL) {
		state = calloc(1, sizeof(*state));
		job->state = state;
	}
	if (state != NULL && state->stop == NULL) {
		state->stop = calloc(1, sizeof(*state->stop));
	}
	if (state == NULL || state->stop == NULL) {
		fail(job, -ENOMEM, "out of memory");
		return NULL;
	}
	state->job = job;
	state->err = (struct xu_error){0};
	return state;
}

/* ---- erasing ---- */

static void erase_next(struct array_state *state);

static void on_erased(void *arg, const struct xu_error *err)
{
	struct array_state *state = arg;

	if (err->code != 0 && err->code != -ENOENT && state->err.code == 0) {
		state->err = *err;
	}
	erase_next(state);
}

static void erase_next(struct array_state *state)
{
	const json_t *params = json_object_get(state->job->to, "params");
	const char *name = json_string_value(
		json_array_get(json_object_get(params, "base_bdevs"), state->next));

	if (name == NULL) {
		end(state);
		return;
	}
	state->next++;
	xbdev__md_erase(state->job->ctx, name, on_erased, state);
}

/* ---- stopping ---- */

static void on_stopped(void *arg)
{
	struct stop *stop = arg;
	struct array_state *state = stop->state;

	xr_timer_stop(stop->reactor, &stop->timer);
	free(stop);
	if (state == NULL) {
		return;
	}
	if (state->is_erasing) {
		erase_next(state);
	} else {
		end(state);
	}
}

static void on_stop_timer(struct xr_timer *timer)
{
	struct stop *stop = xu_container_of(timer, struct stop, timer);
	struct array_state *state = stop->state;

	stop->state = NULL;
	xu_error_set(&state->err, -EBUSY,
		"the array does not give back I/O that it has; it goes when it does");
	end(state);
}

static void stop_array(struct array_state *state)
{
	struct xbdev_device *dev = xbdev_device_find(state->job->ctx, state->job->name);
	struct stop *stop = state->stop;

	if (dev == NULL) {
		end(state);
		return;
	}
	if (xbdev_device_remove(dev, on_stopped, stop) != 0) {
		xu_error_set(&state->err, -EBUSY, "it is being stopped already");
		end(state);
		return;
	}
	state->stop = NULL;
	stop->state = state;
	stop->reactor = xbdev_ctx_control(state->job->ctx);
	stop->timer.fn = on_stop_timer;
	xr_timer_start(stop->reactor, &stop->timer, STOP_WAIT_NS);
}

static void apply_remove(struct xbdev_job *job)
{
	struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	struct array_state *state;

	if (dev != NULL && xbdev__base_nr_others(dev) != 0) {
		fail(job, -EBUSY, "it has been opened meanwhile; close it first");
		return;
	}
	state = state_of(job);
	if (state != NULL) {
		stop_array(state);
	}
}

/* ---- making ---- */

static void on_brought(void *arg, struct xbdev_device *dev, bool is_new, const struct xu_error *err)
{
	struct array_state *state = arg;
	json_t *params = json_object_get(state->job->to, "params");
	char text[XU_UUID_TEXT_SIZE];

	if (dev == NULL) {
		state->err = *err;
		end(state);
		return;
	}
	state->is_new = is_new;
	xu_uuid_format(&dev->uuid, text);
	/* An array that is started again (params NULL) has its identity already. */
	if (params != NULL && json_object_set_new(params, "uuid", json_string(text)) != 0) {
		xu_error_set(&state->err, -ENOMEM, "out of memory");
		state->is_erasing = is_new;
		stop_array(state);
		return;
	}
	end(state);
}

static void make(struct xbdev_job *job, const json_t *entry, enum xbdev_md_bring_mode mode)
{
	struct array_state *state = state_of(job);
	json_t *flat = xbdev__array_flat(entry);

	if (state != NULL && flat == NULL) {
		fail(job, -ENOMEM, "out of memory");
	} else if (state != NULL) {
		xbdev__md_bring_entry(job->ctx, flat, mode, on_brought, state);
	}
	json_decref(flat);
}

/* It is ours only as long as nobody has put anything into it. */
static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	static const enum xbdev_op ops[] = {
		XBDEV_OP_WRITE, XBDEV_OP_DISCARD, XBDEV_OP_WRITE_ZEROES};
	struct array_state *state = arg;

	state->is_erasing = stats != NULL;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]) && stats != NULL; i++) {
		state->is_erasing &= stats->ops[ops[i]].latency.count == 0;
	}
	stop_array(state);
}

static void undo_make(struct xbdev_job *job)
{
	struct array_state *state = state_of(job);
	struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	const char *text =
		json_string_value(json_object_get(json_object_get(job->to, "params"), "uuid"));
	struct xu_uuid uuid;

	if (state == NULL) {
		return;
	}
	if (dev == NULL || text == NULL || xu_uuid_parse(text, &uuid) != 0 ||
		!xu_uuid_is_equal(&uuid, &dev->uuid)) {
		end(state); /* ours is gone */
	} else if (state->is_new) {
		xbdev_device_stats(dev, false, on_stats, state);
	} else {
		stop_array(state);
	}
}

/* ---- changing ---- */

static void on_changed(void *arg, const struct xu_error *err)
{
	xbdev_job_done(arg, err);
}

static void change(struct xbdev_job *job, const json_t *entry)
{
	struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	json_t *flat = xbdev__array_flat(entry);

	if (dev == NULL || !xbdev__md_is_array(dev)) {
		fail(job, -ENODEV, "it has been stopped meanwhile");
	} else if (flat == NULL) {
		fail(job, -ENOMEM, "out of memory");
	} else {
		xbdev__md_set_entry(dev, flat, on_changed, job);
	}
	json_decref(flat);
}

/* ---- the table's ---- */

void xbdev__array_apply(struct xbdev_job *job)
{
	static const enum xbdev_md_bring_mode modes[] = {
		[XBDEV_CONFIG_APPLY] = XBDEV_MD_BRING,
		[XBDEV_CONFIG_CREATE] = XBDEV_MD_BRING_CREATE,
		[XBDEV_CONFIG_LOAD] = XBDEV_MD_BRING_ASSEMBLE,
	};

	switch (job->action) {
	case XBDEV_ACTION_MAKE:
		make(job, job->to, modes[job->mode]);
		break;
	case XBDEV_ACTION_REMOVE:
		apply_remove(job);
		break;
	default:
		change(job, job->to);
		break;
	}
}

void xbdev__array_undo(struct xbdev_job *job)
{
	switch (job->action) {
	case XBDEV_ACTION_MAKE:
		undo_make(job);
		break;
	case XBDEV_ACTION_REMOVE:
		make(job, job->from, XBDEV_MD_BRING_ASSEMBLE);
		break;
	default:
		change(job, job->from);
		break;
	}
}
