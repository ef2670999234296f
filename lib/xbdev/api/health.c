/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of devices' health. A check asks for the device's statistics, has the disk below it read
 * on a worker thread, and puts both together:
 *
 *   waiting --turn--> statistics (the core's hop) --> SMART (worker) --> answered, events told
 *
 * One check runs at a time in the library, whoever asked for it, so a disk that does not answer
 * takes one worker and not all. A caller waits 10 s and is told -ETIMEDOUT then; its check goes on
 * without it. The device may be removed meanwhile: a check has names and no pointers, and looks for
 * the device again at its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/services.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/driver/nvme.h"

#define CALLER_WAIT_NS (10 * XU_NS_PER_S)

static struct {
	struct xu_list waiting; /* struct api_check::link, of callers */
	struct api_check *running;
	bool was_callers; /* the last one */
	struct api_call *drain;
	struct xr_timer drain_timer;
} health = {.waiting = {&health.waiting, &health.waiting}};

static void start_next(void);

/* ---- the end of a check ---- */

static void answer(struct api_check *check, int rc, const xbdev_health_info_t *info)
{
	struct api_health_call *caller = check->caller;

	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &check->timer);
	check->caller = NULL;
	if (caller == NULL) {
		return;
	}
	if (rc == 0) {
		caller->info = *info;
	}
	caller->call.err = check->err;
	api_call_done(&caller->call, rc);
}

static void check_free(struct api_check *check)
{
	answer(check, -ESHUTDOWN, NULL);
	free(check->path);
	free(check);
}

/* The device that was checked, if it is still there. */
static struct xbdev_device *device_of(const struct api_check *check)
{
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, check->name);

	return dev != NULL && xu_uuid_is_equal(&dev->uuid, &check->uuid) ? dev : NULL;
}

static void set_source(const struct api_check *check, xbdev_health_info_t *info)
{
	if (check->has_smart) {
		snprintf(info->source, sizeof(info->source), "%s", check->smart.source);
	} else if (!check->with_smart) {
		strcpy(info->source, "statistics of this library; SMART is switched off");
	} else if (check->path == NULL) {
		strcpy(info->source, "statistics of this library; it stands on no disk");
	} else {
		snprintf(info->source, sizeof(info->source),
			"statistics of this library; no SMART: %.120s", check->smart_err.text);
	}
}

static int64_t limited(uint64_t value)
{
	return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

static void fill_info(const struct api_check *check, xbdev_health_info_t *info)
{
	const struct xbdev_smart *s = &check->smart;
	const struct xu_clock *clock = xu_clock_system();

	/* What was not read is zero, and not told. */
	*info = (xbdev_health_info_t){
		.total_bytes_written = s->has_written ? s->bytes_written : check->bytes_written,
		.temperature =
			s->has_temperature ? s->temperature_c : XBDEV_HEALTH_UNKNOWN_TEMPERATURE,
		.wear_level = s->has_wear ? (int)s->wear_percent : -1,
		.spare_percentage = s->has_spare ? (int)s->spare_percent : -1,
		.power_on_hours = s->has_power_on ? limited(s->power_on_hours) : -1,
		.unsafe_shutdowns = s->has_unsafe_shutdowns ? limited(s->unsafe_shutdowns) : -1,
		.bad_sectors = s->has_bad_sectors ? limited(s->bad_sectors) : -1,
		.media_errors = s->media_errors,
		.io_errors = check->io_errors,
		.io_operations = check->io_operations,
		.time_ms = clock->wall_ns(clock) / XU_NS_PER_MS,
		.has_smart = check->has_smart,
	};
	set_source(check, info);
}

static void finish(struct api_check *check)
{
	struct xbdev_device *dev = device_of(check);
	struct api_call *drain = health.drain;
	xbdev_health_info_t info;

	health.running = NULL;
	if (dev == NULL && check->err.code == 0) {
		xu_error_set(&check->err, -ENODEV, "there is no device named '%s' any more",
			check->name);
	}
	if (check->err.code == 0) {
		fill_info(check, &info);
		api_monitor_judge(dev, check, &info);
		answer(check, 0, &info);
	} else {
		answer(check, check->err.code, NULL);
	}
	check_free(check);
	api_monitor_idle();
	if (drain != NULL) {
		health.drain = NULL;
		xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &health.drain_timer);
		api_call_done(drain, 0);
		return;
	}
	start_next();
}

/* ---- the parts of a check ---- */

static void read_disk(struct xr_work *work)
{
	struct api_check *check = xu_container_of(work, struct api_check, work);

	check->has_smart = xbdev_smart_read(check->path, &check->smart, &check->smart_err) == 0;
}

static void on_read(struct xr_work *work)
{
	struct api_check *check = xu_container_of(work, struct api_check, work);

	if (!check->has_smart) {
		check->smart = (struct xbdev_smart){0};
	}
	finish(check);
}

/* The kernel's node of an NVMe device: its disk, or where there is none its controller. */
static char *nvme_path_of(const struct xbdev_device *dev)
{
	json_t *info = dev->ops->info(dev);
	const char *disk = json_string_value(json_object_get(info, "disk"));
	const char *controller = json_string_value(json_object_get(info, "controller"));
	char *path = NULL;

	if (disk == NULL || disk[0] == '\0') {
		disk = controller;
	}
	if (disk == NULL || asprintf(&path, "/dev/%s", disk) < 0) {
		path = NULL;
	}
	json_decref(info);
	return path;
}

/* The file or device node below a device, through the filters on it: a new string; NULL: there is
 * none, or no memory. */
static char *path_of(const struct xbdev_device *dev)
{
	char *path = NULL;

	for (uint32_t depth = 0; dev != NULL && path == NULL && depth < XBDEV_CONFIG_MAX_DEPTH;
		depth++) {
		json_t *entry = dev->ops->config != NULL ? dev->ops->config(dev) : NULL;
		const char *filename = json_string_value(json_object_get(entry, "filename"));
		const char *base = xbdev_config_base(entry);

		if (xbdev_device_is_nvme(dev)) {
			path = nvme_path_of(dev);
		} else {
			path = filename != NULL ? strdup(filename) : NULL;
		}
		dev = base != NULL ? xbdev_device_find(api_lib.ctx, base) : NULL;
		json_decref(entry);
	}
	return path;
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	struct api_check *check = arg;
	struct xbdev_device *dev = device_of(check);

	if (stats == NULL) {
		xu_error_set_errno(&check->err, -ENOMEM, "checking device '%s'", check->name);
	}
	for (uint32_t op = 0; op < XBDEV_NR_OPS && stats != NULL; op++) {
		if (op != XBDEV_OP_COMPARE) { /* whose errors are differences */
			check->io_errors += stats->ops[op].errors;
			check->io_operations += stats->ops[op].latency.count;
		}
	}
	check->bytes_written = stats != NULL ? stats->ops[XBDEV_OP_WRITE].bytes : 0;
	if (check->with_smart && dev != NULL && check->err.code == 0) {
		check->path = path_of(dev);
	}
	if (check->path == NULL) {
		finish(check);
		return;
	}
	check->work.work = read_disk;
	check->work.done = on_read;
	xr_work_submit(xbdev_ctx_control(api_lib.ctx), &check->work);
}

static void start(struct api_check *check)
{
	struct xbdev_device *dev = xbdev_device_find(api_lib.ctx, check->name);

	health.running = check;
	health.was_callers = check->caller != NULL;
	check->with_smart = api_monitor_wants_smart();
	if (dev == NULL) {
		xu_error_set(
			&check->err, -ENODEV, "there is no device named '%.128s'", check->name);
		finish(check);
		return;
	}
	memcpy(check->name, dev->name, sizeof(check->name));
	check->uuid = dev->uuid;
	xbdev_device_stats(dev, false, on_stats, check);
}

/* A check for the monitor, when one is due; NULL: none, or no memory (then it is late). */
static struct api_check *take_monitors(void)
{
	struct xbdev_device *dev = api_monitor_due();
	struct api_check *check = dev != NULL ? calloc(1, sizeof(*check)) : NULL;

	if (check != NULL) {
		memcpy(check->name, dev->name, sizeof(check->name));
		check->is_monitors = true;
	}
	return check;
}

static void start_next(void)
{
	struct api_check *check = NULL;

	if (health.running != NULL || health.drain != NULL) {
		return;
	}
	/* Callers and the monitor take turns when both want something. */
	if (health.was_callers || xu_list_is_empty(&health.waiting)) {
		check = take_monitors();
	}
	if (check == NULL && !xu_list_is_empty(&health.waiting)) {
		check = xu_list_entry(xu_list_pop(&health.waiting), struct api_check, link);
	}
	if (check != NULL) {
		start(check);
	}
}

void api_health_go_on(void)
{
	start_next();
}

bool api_health_is_monitors(void)
{
	return health.running != NULL && health.running->is_monitors;
}

/* ---- callers ---- */

static void on_caller_timer(struct xr_timer *timer)
{
	struct api_check *check = xu_container_of(timer, struct api_check, timer);
	struct api_health_call *caller = check->caller;

	check->caller = NULL;
	xu_error_set(&caller->call.err, -ETIMEDOUT,
		"the health of '%.128s' is not known in 10 s: a disk does not answer", check->name);
	api_call_done(&caller->call, -ETIMEDOUT);
	if (check != health.running) {
		xu_list_del(&check->link);
		check_free(check);
	}
}

static void on_status_get(struct api_call *call)
{
	struct api_health_call *get = xu_container_of(call, struct api_health_call, call);
	struct xbdev_device *dev = api_device_find(call, get->device);
	struct api_check *check = dev != NULL ? calloc(1, sizeof(*check)) : NULL;

	if (check == NULL) {
		api_call_done(call, dev == NULL ? call->err.code : -ENOMEM);
		return;
	}
	memcpy(check->name, dev->name, sizeof(check->name));
	check->caller = get;
	check->timer.fn = on_caller_timer;
	xu_list_add_tail(&health.waiting, &check->link);
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &check->timer, CALLER_WAIT_NS);
	start_next();
}

int xbdev_health_status_get(const char *device, xbdev_health_info_t *ret_health)
{
	struct api_health_call get = {.device = device};
	struct api_thread *thread;
	int rc;

	if (device == NULL || ret_health == NULL) {
		return api_fail(-EINVAL, "xbdev_health_status_get: %s",
			device == NULL ? "the device's name is NULL"
				       : "there is no place for the health");
	}
	rc = api_enter(&thread, true);
	if (rc != 0) {
		return rc;
	}
	rc = api_call_run(thread, &get.call, on_status_get);
	api_leave(thread);
	if (rc == 0) {
		*ret_health = get.info;
	}
	return rc;
}

/* ---- the end ---- */

void api_health_cancel(void)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&health.waiting)) != NULL) {
		check_free(xu_list_entry(node, struct api_check, link));
	}
	if (health.running != NULL) {
		answer(health.running, -ESHUTDOWN, NULL);
	}
}

static void on_drain_timer(struct xr_timer *timer)
{
	struct api_call *drain = health.drain;

	health.drain = NULL;
	xu_error_set(&drain->err, -EBUSY,
		"the library cannot end: a disk does not answer to the check of '%s'; call "
		"xbdev_fini() again",
		health.running->name);
	api_call_done(drain, -EBUSY);
}

void api_health_drain(struct api_call *call)
{
	if (health.running == NULL) {
		api_call_done(call, 0);
		return;
	}
	health.drain = call;
	health.drain_timer.fn = on_drain_timer;
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &health.drain_timer, api_ending_wait_ns());
}
