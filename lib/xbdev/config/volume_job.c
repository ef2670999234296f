/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making volumes, snapshots and clones. What is in the store already is compared and stays; what is
 * missing is made, if it may be made. A document that lacks something takes nothing away: it lies
 * in its store, comes and goes with that. Only what was made here, and into which nobody has
 * written, is deleted when its making is taken back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"

struct volume_state {
	struct xbdev_job *job;
	bool is_new; /* it was made */
	struct xu_error err;
};

static void end(struct volume_state *state)
{
	xbdev_job_done(state->job, &state->err);
}

static void on_done(void *arg, const struct xu_error *err)
{
	struct volume_state *state = arg;

	if (err != NULL && err->code != 0 && state->err.code == 0) {
		state->err = *err;
	}
	end(state);
}

static void fail(struct volume_state *state, int code, const char *text)
{
	xu_error_set(&state->err, code, "%s", text);
	end(state);
}

void xbdev__volume_forget(struct xbdev_job *job)
{
	free(job->state);
	job->state = NULL;
}

static struct volume_state *state_of(struct xbdev_job *job)
{
	struct volume_state *state = job->state;
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
	return state;
}

static const char *text_of(const struct volume_state *state, const char *key)
{
	return json_string_value(json_object_get(state->job->to, key));
}

static struct xbdev_lvol *find(const struct volume_state *state)
{
	return xbdev__lvol_find(state->job->ctx, state->job->name);
}

/* ---- changing ---- */

/* Makes it read-only, if that is wanted; the last step of all. */
static void protect(struct volume_state *state)
{
	struct xbdev_lvol *volume = find(state);
	struct xbdev_lvol_info info;

	if (!json_is_true(json_object_get(state->job->to, "read_only"))) {
		end(state);
		return;
	}
	if (volume == NULL) {
		fail(state, -ENODEV, "it has gone meanwhile");
		return;
	}
	xbdev__lvol_info(volume, &info);
	if (info.is_read_only) {
		end(state);
	} else {
		xbdev__lvol_set_read_only(volume, on_done, state);
	}
}

static void on_resized(void *arg, const struct xu_error *err)
{
	struct volume_state *state = arg;

	if (err != NULL && err->code != 0) {
		on_done(state, err);
	} else {
		protect(state);
	}
}

/* Makes it as large as the entry says, if it says so, and if it is smaller. */
static void change(struct volume_state *state)
{
	struct xbdev_lvol *volume = find(state);
	uint64_t size = xbdev__volume_size(state->job->to);
	struct xbdev_lvol_info info;

	if (volume == NULL) {
		fail(state, -ENODEV, "it has gone meanwhile");
		return;
	}
	xbdev__lvol_info(volume, &info);
	if (size > info.size) {
		xbdev__lvol_resize(volume, size, on_resized, state);
	} else {
		protect(state);
	}
}

/* ---- making ---- */

/* Tells the plan the identity that it has; false: the job has failed. */
static bool note_uuid(struct volume_state *state, struct xbdev_lvol *volume)
{
	struct xbdev_lvol_info info;
	char text[XU_UUID_TEXT_SIZE];

	xbdev__lvol_info(volume, &info);
	xu_uuid_format(&info.uuid, text);
	if (json_object_set_new(state->job->to, "uuid", json_string(text)) == 0) {
		return true;
	}
	xu_error_set(&state->err, -ENOMEM, "out of memory");
	return false;
}

/* It is in the store already. */
static void found(struct volume_state *state, struct xbdev_lvol *volume)
{
	struct xbdev_job *job = state->job;
	const char *key;
	int rc;

	if (job->mode == XBDEV_CONFIG_CREATE) {
		fail(state, -EEXIST,
			"it is in its store already, and this call makes new ones only");
		return;
	}
	rc = xbdev__volume_compare(job->section, job->to, NULL, volume, &key, &state->err);
	if (rc > 0 && job->mode == XBDEV_CONFIG_LOAD) {
		xu_error_set(&state->err, -EINVAL,
			"it is different in \"%s\"; xbdev_parse_config() would change it", key);
	}
	if (state->err.code != 0 || !note_uuid(state, volume)) {
		end(state);
	} else {
		change(state);
	}
}

static void on_made(void *arg, const struct xu_error *err)
{
	struct volume_state *state = arg;
	struct xbdev_lvol *volume = find(state);

	if (err != NULL && err->code != 0) {
		on_done(state, err);
	} else if (volume == NULL) {
		fail(state, -ENODEV, "it has gone meanwhile");
	} else if (!note_uuid(state, volume)) {
		xbdev__lvol_delete(volume, on_done, state);
	} else {
		state->is_new = true;
		protect(state);
	}
}

static void make_volume(struct volume_state *state, const struct xu_uuid *uuid)
{
	const struct xbdev_lvol_create_opts opts = {
		.name = text_of(state, "name"),
		.uuid = *uuid,
		.size = xbdev__volume_size(state->job->to),
		.is_thin = json_is_true(json_object_get(state->job->to, "thin_provision")),
	};
	struct xbdev_lvol_store *store =
		xbdev__lvol_store_find(state->job->ctx, text_of(state, "lvs_name"));

	if (store == NULL) {
		fail(state, -ENODEV, "its store has gone meanwhile");
	} else {
		xbdev__lvol_create(store, &opts, on_made, state);
	}
}

/* Of a volume that is in the store and no device: why it is none. NULL: there is no such volume. */
static const char *why_unusable(struct xbdev_lvol_store *store, const char *name)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		struct xbdev_lvol_info info;

		xbdev__lvol_info(volume, &info);
		if (!info.is_hidden && info.reason != NULL && strcmp(info.name, name) == 0) {
			return info.reason;
		}
	}
	return NULL;
}

/* A clone of a device. */
static void make_external(struct volume_state *state, const struct xu_uuid *uuid)
{
	struct xbdev_lvol_store *store =
		xbdev__lvol_store_find(state->job->ctx, text_of(state, "lvs_name"));
	const char *why = store != NULL ? why_unusable(store, text_of(state, "name")) : NULL;

	if (store == NULL) {
		fail(state, -ENODEV, "its store has gone meanwhile");
	} else if (why != NULL) {
		xu_error_set(&state->err, -ENODEV,
			"it is in its store already and cannot be used: %s", why);
		end(state);
	} else {
		xbdev__lvol_clone_external(store, text_of(state, "source_bdev"),
			text_of(state, "name"), uuid, on_made, state);
	}
}

/* A snapshot or a clone. */
static void make_derived(struct volume_state *state, const struct xu_uuid *uuid)
{
	const char *snapshot = text_of(state, "source_snap");
	const char *of = snapshot != NULL ? snapshot : text_of(state, "source_vol");
	struct xbdev_lvol *source = xbdev__lvol_find(state->job->ctx, of);

	uuid = xu_uuid_is_null(uuid) ? NULL : uuid;
	if (source == NULL) {
		xu_error_set(
			&state->err, -ENODEV, "'%.256s' is no logical volume, or has gone", of);
		end(state);
	} else if (snapshot != NULL) {
		xbdev__lvol_clone(source, text_of(state, "name"), uuid, on_made, state);
	} else {
		xbdev__lvol_snapshot(source, text_of(state, "name"), uuid, on_made, state);
	}
}

static void make(struct xbdev_job *job)
{
	struct volume_state *state = state_of(job);
	struct xbdev_lvol *volume;
	struct xu_uuid uuid = {0};

	if (state == NULL) {
		return;
	}
	volume = find(state);
	if (text_of(state, "uuid") != NULL) {
		(void)xu_uuid_parse(text_of(state, "uuid"), &uuid); /* it has been checked */
	}
	if (volume != NULL) {
		found(state, volume);
	} else if (job->mode == XBDEV_CONFIG_LOAD) {
		fail(state, -ENOENT, "it is not in its store, and not to be made");
	} else if (job->section == &xbdev__section_lvol_volumes) {
		make_volume(state, &uuid);
	} else if (text_of(state, "source_bdev") != NULL) {
		make_external(state, &uuid);
	} else {
		make_derived(state, &uuid);
	}
}

/* ---- taking back ---- */

/* It is ours only as long as nobody has put anything into it. */
static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	static const enum xbdev_op ops[] = {
		XBDEV_OP_WRITE, XBDEV_OP_DISCARD, XBDEV_OP_WRITE_ZEROES};
	struct volume_state *state = arg;
	struct xbdev_lvol *volume = find(state);
	bool is_blank = stats != NULL;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]) && stats != NULL; i++) {
		is_blank &= stats->ops[ops[i]].latency.count == 0;
	}
	if (is_blank && volume != NULL) {
		xbdev__lvol_delete(volume, on_done, state);
	} else {
		end(state);
	}
}

static void undo_make(struct xbdev_job *job)
{
	struct volume_state *state = job->state;
	const char *uuid = json_string_value(json_object_get(job->to, "uuid"));
	struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	struct xu_uuid ours;

	state->err = (struct xu_error){0};
	if (!state->is_new || dev == NULL || uuid == NULL || xu_uuid_parse(uuid, &ours) != 0 ||
		!xu_uuid_is_equal(&ours, &dev->uuid)) {
		end(state);
	} else {
		xbdev_device_stats(dev, false, on_stats, state);
	}
}

/* ---- the table's ---- */

/* Nothing is done; but it may be that its store is to go, which somebody uses by now. */
static void apply_remove(struct xbdev_job *job)
{
	const struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	struct xu_error err = {0};

	if (dev != NULL && xbdev__base_nr_others(dev) != 0) {
		xu_error_set(&err, -EBUSY, "it has been opened meanwhile; close it first");
	}
	xbdev_job_done(job, &err);
}

static void apply_change(struct xbdev_job *job)
{
	struct volume_state *state = state_of(job);

	if (state != NULL) {
		change(state);
	}
}

void xbdev__volume_apply(struct xbdev_job *job)
{
	switch (job->action) {
	case XBDEV_ACTION_MAKE:
		make(job);
		break;
	case XBDEV_ACTION_REMOVE:
		apply_remove(job);
		break;
	default:
		apply_change(job);
		break;
	}
}

void xbdev__volume_undo(struct xbdev_job *job)
{
	struct xu_error err;

	switch (job->action) {
	case XBDEV_ACTION_MAKE:
		undo_make(job);
		break;
	case XBDEV_ACTION_REMOVE:
		xbdev_job_done(job, NULL);
		break;
	default:
		xu_error_set(&err, -EOPNOTSUPP, "what it has become stays, for it may be in use");
		xbdev_job_done(job, &err);
		break;
	}
}
