/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making, changing and removing devices. A job's state lives from apply() to undo(), so that
 * undoing needs no memory but what a device that is made again needs.
 *
 * A file: its entry's size makes it when it is missing, and makes it larger, but never when things
 * are only to be loaded. A file that was made here is deleted when it is undone, if it still holds
 * nothing; whoever else has it locked is left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/util/filelock.h"
#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"

#define REMOVE_WAIT_NS (10 * XU_NS_PER_S)

struct base_state {
	struct xbdev_job *job;
	json_t *flat;      /* of what is made */
	uint64_t size_min; /* when it is only loaded */
	struct xr_work work;
	bool is_new_file;        /* there was none when it was looked for */
	struct removal *removal; /* for undoing */
	struct xu_error err;
};

/* Outlives its job when the device takes too long. */
struct removal {
	struct base_state *state; /* NULL: it has given up */
	void (*done)(struct base_state *state);
	struct xr_reactor *reactor;
	struct xr_timer timer;
};

static void end(struct base_state *state)
{
	xbdev_job_done(state->job, &state->err);
}

static void fail(struct xbdev_job *job, int code, const char *text)
{
	struct xu_error err;

	xu_error_set(&err, code, "%s", text);
	xbdev_job_done(job, &err);
}

static void fail_memory(struct xbdev_job *job)
{
	fail(job, -ENOMEM, "out of memory");
}

/* ---- state ---- */

void xbdev__base_forget(struct xbdev_job *job)
{
	struct base_state *state = job->state;

	json_decref(state->flat);
	free(state->removal);
	free(state);
	job->state = NULL;
}

/* For a job that makes the device of `entry`, if any, or removes one. */
static struct base_state *state_new(struct xbdev_job *job, const json_t *entry)
{
	struct base_state *state = calloc(1, sizeof(*state));

	if (state == NULL) {
		return NULL;
	}
	job->state = state;
	state->job = job;
	state->flat = entry != NULL ? xbdev__base_flat(entry) : NULL;
	state->removal = calloc(1, sizeof(*state->removal));
	if (state->removal == NULL || (entry != NULL && state->flat == NULL)) {
		xbdev__base_forget(job);
		return NULL;
	}
	return state;
}

int xbdev__base_prepare(struct xbdev_job *job)
{
	return state_new(job, NULL) != NULL ? 0 : -ENOMEM;
}

/* ---- files ---- */

static void run_work(struct base_state *state, void (*work)(struct xr_work *work),
	void (*done)(struct xr_work *work))
{
	state->work.work = work;
	state->work.done = done;
	xr_work_submit(xbdev_ctx_control(state->job->ctx), &state->work);
}

static const char *path_of(const struct base_state *state)
{
	return json_string_value(json_object_get(state->flat, "filename"));
}

static void look_for_file(struct xr_work *work)
{
	struct base_state *state = xu_container_of(work, struct base_state, work);

	state->is_new_file = access(path_of(state), F_OK) != 0 && errno == ENOENT;
}

/* Deletes the file if it is one, holds nothing, and nobody has it. */
static void delete_new_file(struct xr_work *work)
{
	struct base_state *state = xu_container_of(work, struct base_state, work);
	const char *path = path_of(state);
	struct stat st;
	int fd;

	if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		return;
	}
	if (xu_file_lock(fd, false) == 0 && lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO) {
		unlink(path);
	}
	close(fd);
}

static void on_deleted(struct xr_work *work)
{
	end(xu_container_of(work, struct base_state, work));
}

/* The last step of a device that did not come to be, or has gone. */
static void clean_up(struct base_state *state)
{
	if (state->is_new_file) {
		run_work(state, delete_new_file, on_deleted);
	} else {
		end(state);
	}
}

/* ---- removing ---- */

static void on_removed(void *arg)
{
	struct removal *removal = arg;
	struct base_state *state = removal->state;
	void (*done)(struct base_state * state) = removal->done;

	xr_timer_stop(removal->reactor, &removal->timer);
	free(removal);
	if (state != NULL) {
		done(state);
	}
}

static void on_removal_timer(struct xr_timer *timer)
{
	struct removal *removal = xu_container_of(timer, struct removal, timer);
	struct base_state *state = removal->state;

	removal->state = NULL;
	xu_error_set(&state->err, -EBUSY,
		"the device does not give back I/O that it has; it goes when it does");
	end(state);
}

/* Removes the device and calls `done`; or ends the job with an error. */
static void remove_device(
	struct base_state *state, struct xbdev_device *dev, void (*done)(struct base_state *state))
{
	struct removal *removal = state->removal;

	if (xbdev_device_remove(dev, on_removed, removal) != 0) {
		xu_error_set(&state->err, -EBUSY, "it is being removed already");
		end(state);
		return;
	}
	state->removal = NULL;
	removal->state = state;
	removal->done = done;
	removal->reactor = xbdev_ctx_control(state->job->ctx);
	removal->timer.fn = on_removal_timer;
	xr_timer_start(removal->reactor, &removal->timer, REMOVE_WAIT_NS);
}

static void apply_remove(struct xbdev_job *job)
{
	struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	struct base_state *state;

	if (dev == NULL) {
		xbdev_job_done(job, NULL);
		return;
	}
	if (xbdev__base_nr_others(dev) != 0) {
		fail(job, -EBUSY, "it has been opened meanwhile; close it first");
		return;
	}
	state = job->state != NULL ? job->state : state_new(job, NULL);
	if (state == NULL) {
		fail_memory(job);
		return;
	}
	remove_device(state, dev, end);
}

/* ---- making ---- */

/* A file that is smaller than it must be, and not to be changed. */
static void refuse_size(struct base_state *state, struct xbdev_device *dev)
{
	xu_error_set(&state->err, -EINVAL,
		"%s has %llu bytes and its entry says %llu; xbdev_parse_config() would make it "
		"larger",
		path_of(state), (unsigned long long)xbdev_device_size_bytes(dev),
		(unsigned long long)state->size_min);
	remove_device(state, dev, end);
}

/* Tells the plan the identity that the device has got. */
static int note_uuid(const struct base_state *state, const struct xbdev_device *dev)
{
	json_t *params = json_object_get(state->job->to, "params");
	char text[XU_UUID_TEXT_SIZE];

	if (params == NULL || !xbdev_config_has_uuid(state->flat)) {
		return 0;
	}
	xu_uuid_format(&dev->uuid, text);
	return json_object_set_new(params, "uuid", json_string(text));
}

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct base_state *state = arg;

	if (dev == NULL) {
		state->err = *err;
		clean_up(state);
	} else if (xbdev_device_size_bytes(dev) < state->size_min) {
		refuse_size(state, dev);
	} else if (note_uuid(state, dev) != 0) {
		xu_error_set(&state->err, -ENOMEM, "out of memory");
		remove_device(state, dev, clean_up);
	} else {
		end(state);
	}
}

static void create(struct base_state *state)
{
	xbdev_config_create(state->job->ctx, state->flat, on_created, state);
}

static void on_looked(struct xr_work *work)
{
	create(xu_container_of(work, struct base_state, work));
}

/* The device of an entry: everything, or only what is on the media. */
static void make(struct xbdev_job *job, const json_t *entry, bool only_load)
{
	struct base_state *state = state_new(job, entry);

	if (state == NULL) {
		fail_memory(job);
		return;
	}
	if (!xbdev__base_makes_files(state->flat)) {
		create(state);
		return;
	}
	if (only_load) {
		state->size_min =
			(uint64_t)json_integer_value(json_object_get(state->flat, "size"));
		json_object_del(state->flat, "size");
		create(state);
	} else if (xbdev_ctx_platform(job->ctx)->is_simulated) {
		create(state); /* its files are not to be found in this way */
	} else {
		run_work(state, look_for_file, on_looked);
	}
}

/* Takes a new device away again, whoever has opened it since. */
static void undo_make(struct xbdev_job *job)
{
	struct base_state *state = job->state;
	const char *text =
		json_string_value(json_object_get(json_object_get(job->to, "params"), "uuid"));
	struct xbdev_device *dev = xbdev_device_find(job->ctx, job->name);
	struct xu_uuid uuid;

	if (dev != NULL && text != NULL &&
		(xu_uuid_parse(text, &uuid) != 0 || !xu_uuid_is_equal(&uuid, &dev->uuid))) {
		dev = NULL; /* ours is gone, and this is another one */
	}
	if (dev != NULL) {
		remove_device(state, dev, clean_up);
	} else {
		clean_up(state);
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
	json_t *flat = xbdev__base_flat(entry);

	if (flat == NULL) {
		fail_memory(job);
	} else if (dev == NULL) {
		fail(job, -ENODEV, "it has been removed meanwhile");
	} else {
		xbdev_config_change(dev, flat, on_changed, job);
	}
	json_decref(flat);
}

/* ---- the table's ---- */

void xbdev__base_apply(struct xbdev_job *job)
{
	switch (job->action) {
	case XBDEV_ACTION_MAKE:
		make(job, job->to, job->mode == XBDEV_CONFIG_LOAD);
		break;
	case XBDEV_ACTION_REMOVE:
		apply_remove(job);
		break;
	default:
		change(job, job->to);
		break;
	}
}

void xbdev__base_undo(struct xbdev_job *job)
{
	switch (job->action) {
	case XBDEV_ACTION_MAKE:
		undo_make(job);
		break;
	case XBDEV_ACTION_REMOVE:
		if (job->state != NULL) {
			xbdev__base_forget(job);
		}
		make(job, job->from, true);
		break;
	default:
		change(job, job->from);
		break;
	}
}
