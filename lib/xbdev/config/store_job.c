/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking stores from their devices, making and giving them up.
 *
 *	MAKE    its device has come with it: the library may be looking at that, or have found it
 *	        is it there? ─▶ compare
 *	        else take it from the device; when that has none: make it, if it may be made
 *	        what the entry says of its settings is noted in it
 *	CHANGE  its settings
 *	undo    its settings as they were; made here and nothing in it: destroyed; else given up
 *	REMOVE  given up, as its device goes; taken from there again when that is undone
 *
 * A device that the library itself is looking at is waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"

#define WAIT_NS  (10 * XU_NS_PER_S) /* for the library to have looked at the device */
#define PAUSE_NS (2 * XU_NS_PER_MS)

struct store_state {
	struct xbdev_job *job;
	bool is_new; /* it was made */
	bool is_own; /* it was taken from its device here */
	bool is_set; /* its settings were others before: */
	struct xbdev_lvol_settings old;
	uint64_t deadline_ns;
	struct xr_timer timer;
	struct xu_error err;
};

static void end(struct store_state *state)
{
	xbdev_job_done(state->job, &state->err);
}

static void on_done(void *arg, const struct xu_error *err)
{
	struct store_state *state = arg;

	if (err != NULL && err->code != 0 && state->err.code == 0) {
		state->err = *err;
	}
	end(state);
}

void xbdev__store_forget(struct xbdev_job *job)
{
	free(job->state);
	job->state = NULL;
}

static struct store_state *state_of(struct xbdev_job *job)
{
	struct store_state *state = job->state;
	struct xu_error err;

	if (state == NULL) {
		state = calloc(1, sizeof(*state));
		job->state = state;
	}
	if (state == NULL) {
		xu_error_set(&err, -ENOMEM, "out of memory");
		xbdev_job_done(job, &err);
		return NULL;
	}
	state->job = job;
	state->err = (struct xu_error){0};
	state->deadline_ns = xr_now_ns(xbdev_ctx_control(job->ctx)) + WAIT_NS;
	return state;
}

/* ---- making ---- */

/* What it is has been compared, and set; gives it back when it is another. */
static void accept_or_give_back(struct store_state *state, struct xbdev_lvol_store *store)
{
	if (state->err.code == 0 || store == NULL) {
		end(state);
	} else if (state->is_new) {
		xbdev__lvol_store_destroy(store, on_done, state);
	} else if (state->is_own) {
		xbdev__lvol_detach(store, on_done, state);
	} else {
		end(state);
	}
}

static void on_set(void *arg, const struct xu_error *err)
{
	struct store_state *state = arg;
	const char *uuid = json_string_value(json_object_get(state->job->to, "uuid"));

	state->is_set = err->code == 0;
	state->err = *err;
	accept_or_give_back(
		state, uuid != NULL ? xbdev__lvol_store_find(state->job->ctx, uuid) : NULL);
}

/* It is there again, or for the first time: then it is what the entry says, or not. */
static void found(struct store_state *state, struct xbdev_lvol_store *store)
{
	struct xbdev_job *job = state->job;
	struct xbdev_lvol_store_info info;
	struct xbdev_lvol_settings settings;
	char text[XU_UUID_TEXT_SIZE];
	const char *key;

	if (job->action == XBDEV_ACTION_REMOVE) {
		end(state);
		return;
	}
	xbdev__lvol_store_info(store, &info);
	if (job->mode == XBDEV_CONFIG_CREATE && !state->is_new) {
		xu_error_set(&state->err, -EEXIST,
			"'%.128s' holds the store '%.64s' already, and this call makes new ones "
			"only",
			info.device, info.name);
	} else if (xbdev__store_compare(job->to, store, &key, &state->err) == 0) {
		xu_uuid_format(&info.uuid, text);
		if (json_object_set_new(job->to, "uuid", json_string(text)) != 0) {
			xu_error_set(&state->err, -ENOMEM, "out of memory");
		}
	}
	if (state->err.code == 0 && job->mode != XBDEV_CONFIG_LOAD &&
		xbdev__store_differs(job->to, NULL, store, &settings)) {
		xbdev__lvol_store_settings(store, &state->old);
		xbdev__lvol_store_set(store, &settings, on_set, state);
	} else {
		accept_or_give_back(state, store);
	}
}

static void look(struct store_state *state);

static void on_timer(struct xr_timer *timer)
{
	look(xu_container_of(timer, struct store_state, timer));
}

/* Somebody has the device: looks again if that is the library, which will have done with it. */
static void wait_for_device(struct store_state *state, const struct xu_error *err)
{
	struct xr_reactor *reactor = xbdev_ctx_control(state->job->ctx);

	if (xr_now_ns(reactor) >= state->deadline_ns) {
		on_done(state, err);
		return;
	}
	state->timer.fn = on_timer;
	xr_timer_start(reactor, &state->timer, PAUSE_NS);
}

static const struct xbdev_device *base_of(const struct store_state *state)
{
	const json_t *entry = state->job->to != NULL ? state->job->to : state->job->from;

	return xbdev_device_find(
		state->job->ctx, json_string_value(json_object_get(entry, "base_bdev")));
}

/* What was asked for has ended, and the device has its store; or why not. */
static void look_at_result(struct store_state *state, const struct xu_error *err)
{
	const struct xbdev_device *base = base_of(state);
	struct xbdev_lvol_store *store =
		base != NULL ? xbdev__store_on(state->job->ctx, base) : NULL;
	struct xu_error gone;

	if (err != NULL && err->code == -EBUSY) {
		wait_for_device(state, err);
	} else if (err != NULL && err->code != 0) {
		on_done(state, err);
	} else if (store == NULL) {
		xu_error_set(&gone, -ENODEV, "its device has gone meanwhile");
		on_done(state, &gone);
	} else {
		found(state, store);
	}
}

static void on_created(void *arg, const struct xu_error *err)
{
	struct store_state *state = arg;

	state->is_new = err == NULL || err->code == 0;
	look_at_result(state, err);
}

static void create(struct store_state *state)
{
	const json_t *entry = state->job->to;
	struct xbdev_lvs_create_opts opts = {
		.name = json_string_value(json_object_get(entry, "name")),
		.cluster_size =
			(uint32_t)json_integer_value(json_object_get(entry, "cluster_size")),
	};
	const char *uuid = json_string_value(json_object_get(entry, "uuid"));

	if (uuid != NULL) {
		(void)xu_uuid_parse(uuid, &opts.uuid); /* it has been checked */
	}
	opts.md_ratio = xbdev__volume_md_ratio(opts.cluster_size);
	xbdev__lvol_store_create(state->job->ctx, base_of(state)->name, &opts, on_created, state);
}

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct store_state *state = arg;
	enum xbdev_config_mode mode = state->job->mode;

	state->is_own = store != NULL;
	if (store == NULL && err->code == -ENOENT && mode == XBDEV_CONFIG_APPLY &&
		state->job->action == XBDEV_ACTION_MAKE && base_of(state) != NULL) {
		create(state);
	} else {
		look_at_result(state, store == NULL ? err : NULL);
	}
}

static void look(struct store_state *state)
{
	struct xbdev_job *job = state->job;
	const struct xbdev_device *base = base_of(state);
	struct xbdev_lvol_store *store = base != NULL ? xbdev__store_on(job->ctx, base) : NULL;
	struct xu_error err;

	if (base == NULL) {
		xu_error_set(&err, -ENODEV, "its device has gone meanwhile");
		on_done(state, &err);
	} else if (store != NULL) {
		found(state, store);
	} else if (job->mode == XBDEV_CONFIG_CREATE && job->action == XBDEV_ACTION_MAKE) {
		create(state);
	} else {
		xbdev__lvol_attach(job->ctx, base->name, false, on_attached, state);
	}
}

static void make(struct xbdev_job *job)
{
	struct store_state *state = state_of(job);

	if (state != NULL) {
		look(state);
	}
}

/* ---- giving up ---- */

static void give_up(struct store_state *state, struct xbdev_lvol_store *store)
{
	const struct xbdev_device *used = xbdev__store_in_use(state->job->ctx, store);
	struct xu_error err;

	if (used != NULL) {
		xu_error_set(&err, -EBUSY, "'%.256s' has been opened meanwhile; close it first",
			used->name);
		on_done(state, &err);
	} else {
		xbdev__lvol_detach(store, on_done, state);
	}
}

static void apply_remove(struct xbdev_job *job)
{
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(job->ctx, job->name);
	struct store_state *state = store != NULL ? state_of(job) : NULL;

	if (store == NULL) {
		xbdev_job_done(job, NULL);
	} else if (state != NULL) {
		give_up(state, store);
	}
}

/* ---- settings ---- */

/* A store that has gone meanwhile needs nothing. */
static void apply_change(struct xbdev_job *job)
{
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(job->ctx, job->name);
	struct store_state *state = store != NULL ? state_of(job) : NULL;
	struct xbdev_lvol_settings settings;

	if (store == NULL) {
		xbdev_job_done(job, NULL);
	} else if (state != NULL) {
		(void)xbdev__store_differs(job->to, NULL, store, &settings);
		xbdev__lvol_store_settings(store, &state->old);
		state->is_set = true;
		xbdev__lvol_store_set(store, &settings, on_done, state);
	}
}

static void undo_change(struct xbdev_job *job)
{
	struct store_state *state = job->state;
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(job->ctx, job->name);

	if (store == NULL || state == NULL || !state->is_set) {
		xbdev_job_done(job, NULL);
		return;
	}
	state->err = (struct xu_error){0};
	xbdev__lvol_store_set(store, &state->old, on_done, state);
}

/* ---- taking back ---- */

static void give_up_found(void *arg, const struct xu_error *err)
{
	struct store_state *state = arg;
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(
		state->job->ctx, json_string_value(json_object_get(state->job->to, "uuid")));

	state->err = *err;
	if (store == NULL) {
		end(state);
	} else {
		give_up(state, store);
	}
}

static void undo_make(struct xbdev_job *job)
{
	struct store_state *state = job->state;
	const char *uuid = json_string_value(json_object_get(job->to, "uuid"));
	struct xbdev_lvol_store *store =
		uuid != NULL ? xbdev__lvol_store_find(job->ctx, uuid) : NULL;
	struct xbdev_lvol_store_info info;

	if (store == NULL) {
		xbdev_job_done(job, NULL); /* ours is gone */
		return;
	}
	state->err = (struct xu_error){0};
	xbdev__lvol_store_info(store, &info);
	if (state->is_new && info.nr_volumes == 0) {
		xbdev__lvol_store_destroy(store, on_done, state);
	} else if (state->is_set) {
		xbdev__lvol_store_set(store, &state->old, give_up_found, state);
	} else {
		give_up(state, store);
	}
}

/* ---- the table's ---- */

void xbdev__store_apply(struct xbdev_job *job)
{
	if (job->action == XBDEV_ACTION_REMOVE) {
		apply_remove(job);
	} else if (job->action == XBDEV_ACTION_CHANGE) {
		apply_change(job);
	} else {
		make(job);
	}
}

void xbdev__store_undo(struct xbdev_job *job)
{
	if (job->action == XBDEV_ACTION_REMOVE) {
		make(job); /* takes it from its device again */
	} else if (job->action == XBDEV_ACTION_CHANGE) {
		undo_change(job);
	} else {
		undo_make(job);
	}
}
