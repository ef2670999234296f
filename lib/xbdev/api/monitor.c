/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health monitor: when devices are checked, what is remembered of each between two checks, and
 * which conditions have come or gone. All of it is the control reactor's.
 *
 *   timer --> all devices are due --> health.c takes one after the other --> judged, events told
 *
 * What is remembered goes with the device. It is what a single look cannot tell: which conditions
 * have been told, how many errors there were before, and how much had been written a week ago.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/services.h"
#include "lib/xbdev/health/estimate.h"

#define INTERVAL_DEFAULT_S  60u
#define TEMPERATURE_DEFAULT 70
#define WEAR_DEFAULT        90u
#define TEMPERATURE_MIN     (-100)
#define TEMPERATURE_MAX     250
#define WEAR_MAX            255u
#define HYSTERESIS_C        3
#define OBSERVED_NS         (7 * 86400 * XU_NS_PER_S)

/* When so much had been written to the disk; since_ns 0: not known. */
struct anchor {
	uint64_t since_ns;
	uint64_t bytes;
};

struct memory {
	struct xu_list link;
	const struct xbdev_device *dev;
	bool is_due;
	bool has_io_errors, has_media_errors; /* of an earlier check */
	uint64_t io_errors, media_errors;
	uint32_t warnings;         /* that have been told */
	struct anchor old, recent; /* the first is one to two weeks old, when it can be */
};

static const xbdev_health_config_t defaults = {.interval_s = INTERVAL_DEFAULT_S,
	.smart_monitoring = true,
	.temperature_threshold = TEMPERATURE_DEFAULT,
	.wear_level_threshold = WEAR_DEFAULT};

static struct {
	bool is_on;
	xbdev_health_config_t config; /* without zeroes */
	struct xr_timer timer;
	struct xu_list memories;
	struct api_call *stopper; /* waits for the monitor's check under way */
	struct xr_timer stop_timer;
} monitor = {.memories = {&monitor.memories, &monitor.memories}};

static struct xbdev_graph_listener listener;

/* ---- what is remembered ---- */

static struct memory *find_memory(const struct xbdev_device *dev)
{
	struct xu_list *node;

	xu_list_for_each (node, &monitor.memories) {
		struct memory *memory = xu_list_entry(node, struct memory, link);

		if (memory->dev == dev) {
			return memory;
		}
	}
	return NULL;
}

static void on_graph(
	struct xbdev_graph_listener *self, enum xbdev_graph_event event, struct xbdev_device *dev)
{
	struct memory *memory = event == XBDEV_GRAPH_REMOVED ? find_memory(dev) : NULL;

	if (memory != NULL) {
		xu_list_del(&memory->link);
		free(memory);
	}
}

static void remember_written(
	struct memory *memory, const struct xbdev_smart *smart, uint64_t now_ns)
{
	const struct anchor now = {.since_ns = now_ns, .bytes = smart->bytes_written};

	if (!smart->has_written || smart->bytes_written == UINT64_MAX) {
		return;
	}
	if (memory->old.since_ns == 0 || now.bytes < memory->recent.bytes) {
		memory->old = memory->recent = now; /* the first look, or another disk */
	} else if (now_ns - memory->recent.since_ns >= OBSERVED_NS) {
		memory->old = memory->recent;
		memory->recent = now;
	}
}

/* ---- judging ---- */

static bool is_hot(const xbdev_health_info_t *info, const struct xbdev_smart *smart, bool was_hot)
{
	int threshold = monitor.config.temperature_threshold - (was_hot ? HYSTERESIS_C - 1 : 0);

	return (smart->warnings & XBDEV_SMART_HOT) != 0 ||
	       (info->temperature != XBDEV_HEALTH_UNKNOWN_TEMPERATURE &&
		       info->temperature >= threshold);
}

/* Those that the disk's own data decides. */
static uint32_t disk_conditions(
	uint32_t told, const struct xbdev_smart *smart, const xbdev_health_info_t *info)
{
	uint32_t now = 0;

	if (is_hot(info, smart, (told & XBDEV_HEALTH_WARN_TEMPERATURE) != 0)) {
		now |= XBDEV_HEALTH_WARN_TEMPERATURE;
	}
	if (!smart->has_wear) {
		now |= told & XBDEV_HEALTH_WARN_WEAR; /* not told this time */
	} else if (smart->wear_percent >= monitor.config.wear_level_threshold) {
		now |= XBDEV_HEALTH_WARN_WEAR;
	}
	if (smart->warnings & XBDEV_SMART_SPARE_LOW) {
		now |= XBDEV_HEALTH_WARN_SPARE;
	}
	if (smart->warnings & (XBDEV_SMART_FAILING | XBDEV_SMART_READ_ONLY)) {
		now |= XBDEV_HEALTH_WARN_FAILING;
	}
	return now;
}

static bool has_new_errors(
	const struct memory *memory, const struct api_check *check, const xbdev_health_info_t *info)
{
	return (memory->has_io_errors && info->io_errors > memory->io_errors) ||
	       (memory->has_media_errors && check->has_smart &&
		       info->media_errors > memory->media_errors);
}

/* What was not read has not changed: a disk that does not answer has not become better. */
static uint32_t conditions(
	const struct memory *memory, const struct api_check *check, const xbdev_health_info_t *info)
{
	uint32_t told = memory != NULL ? memory->warnings : 0;
	uint32_t now = check->has_smart ? disk_conditions(told, &check->smart, info)
					: told & ~XBDEV_HEALTH_WARN_ERRORS;

	if (memory != NULL && has_new_errors(memory, check, info)) {
		now |= XBDEV_HEALTH_WARN_ERRORS;
	}
	return now;
}

static void remember(struct memory *memory, const struct api_check *check,
	const xbdev_health_info_t *info, uint64_t now_ns)
{
	memory->warnings = info->warnings;
	memory->has_io_errors = true;
	memory->io_errors = info->io_errors;
	if (check->has_smart) {
		memory->has_media_errors = true;
		memory->media_errors = info->media_errors;
		remember_written(memory, &check->smart, now_ns);
	}
}

/* ---- events ---- */

static void describe_temperature(xbdev_health_event_t *event)
{
	int limit = monitor.config.temperature_threshold, now = event->health.temperature;
	const char *what = event->is_over ? "is no longer too hot" : "says that it is too hot";
	char *text = event->text;
	const size_t size = sizeof(event->text);

	if (now == XBDEV_HEALTH_UNKNOWN_TEMPERATURE) {
		snprintf(text, size, "the disk %s", what);
	} else if (event->is_over || now < limit) {
		snprintf(text, size, "the disk %s%s it has %d °C", what, event->is_over ? ":" : ";",
			now);
	} else {
		snprintf(text, size, "the disk is too hot: it has %d °C, the limit is %d", now,
			limit);
	}
}

static void describe_wear(xbdev_health_event_t *event)
{
	const xbdev_health_info_t *info = &event->health;

	if (event->is_over) {
		snprintf(event->text, sizeof(event->text),
			"the disk is no longer worn: %d %% of its endurance are used",
			info->wear_level);
	} else {
		snprintf(event->text, sizeof(event->text),
			"the disk is worn: %d %% of its endurance are used, the limit is %u",
			info->wear_level, monitor.config.wear_level_threshold);
	}
}

/* Of a counter that somebody may have reset. */
static uint64_t increase(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void describe_errors(xbdev_health_event_t *event, const struct memory *memory)
{
	const xbdev_health_info_t *info = &event->health;
	uint64_t media_errors = info->has_smart && memory->has_media_errors
					? increase(info->media_errors, memory->media_errors)
					: 0;

	if (event->is_over) {
		strcpy(event->text, "no operation has failed since the last check");
		return;
	}
	snprintf(event->text, sizeof(event->text),
		"%llu operations have failed and %llu times the disk lost data since the last "
		"check",
		(unsigned long long)increase(info->io_errors, memory->io_errors),
		(unsigned long long)media_errors);
}

static void describe(xbdev_health_event_t *event, const struct memory *memory)
{
	const char *says = event->is_over ? "no longer says" : "says";

	switch (event->condition) {
	case XBDEV_HEALTH_WARN_TEMPERATURE:
		describe_temperature(event);
		break;
	case XBDEV_HEALTH_WARN_WEAR:
		describe_wear(event);
		break;
	case XBDEV_HEALTH_WARN_SPARE:
		snprintf(event->text, sizeof(event->text),
			"the disk %s that it has too few spare blocks", says);
		break;
	case XBDEV_HEALTH_WARN_FAILING:
		snprintf(event->text, sizeof(event->text), "the disk %s that it is failing%s", says,
			event->is_over ? "" : "; replace it before data is lost");
		break;
	default:
		describe_errors(event, memory);
		break;
	}
}

static void tell(const struct xbdev_device *dev, const struct memory *memory,
	const xbdev_health_info_t *info)
{
	uint32_t changed = memory->warnings ^ info->warnings;
	xbdev_health_event_t event = {.health = *info};

	memcpy(event.device, dev->name, sizeof(event.device));
	for (uint32_t bit = XBDEV_HEALTH_WARN_TEMPERATURE; bit <= XBDEV_HEALTH_WARN_ERRORS;
		bit <<= 1) {
		if (changed & bit) {
			event.condition = bit;
			event.is_over = (info->warnings & bit) == 0;
			describe(&event, memory);
			api_notify_health(&event);
		}
	}
}

void api_monitor_judge(
	const struct xbdev_device *dev, const struct api_check *check, xbdev_health_info_t *info)
{
	struct memory *memory = find_memory(dev);
	uint64_t now_ns = api_stats_now_ns();
	struct xbdev_health_facts facts = {.smart = check->has_smart ? &check->smart : NULL,
		.io_errors = info->io_errors,
		.io_operations = info->io_operations};
	struct xbdev_health_verdict verdict;

	_Static_assert(sizeof(verdict.reason) == sizeof(info->reason) &&
			       sizeof(verdict.method) == sizeof(info->estimate_method),
		"whole sentences");
	if (memory != NULL && memory->old.since_ns != 0 &&
		check->smart.bytes_written > memory->old.bytes) {
		facts.observed_s = (now_ns - memory->old.since_ns) / XU_NS_PER_S;
		facts.observed_bytes = check->smart.bytes_written - memory->old.bytes;
	}
	xbdev_health_judge(&facts, &verdict);
	info->health_percentage = verdict.percentage;
	info->estimated_lifetime_days = verdict.days_left;
	memcpy(info->reason, verdict.reason, sizeof(info->reason));
	memcpy(info->estimate_method, verdict.method, sizeof(info->estimate_method));
	info->warnings = conditions(memory, check, info);
	if (!check->is_monitors || !monitor.is_on || memory == NULL) {
		return;
	}
	tell(dev, memory, info);
	remember(memory, check, info, now_ns);
}

/* ---- turns ---- */

static void on_interval(struct xr_timer *timer)
{
	struct xbdev_device *dev = NULL;

	xr_timer_start(
		xbdev_ctx_control(api_lib.ctx), timer, monitor.config.interval_s * XU_NS_PER_S);
	while ((dev = xbdev_device_next(api_lib.ctx, dev)) != NULL) {
		struct memory *memory = find_memory(dev);

		if (memory == NULL) {
			memory = calloc(1, sizeof(*memory));
			if (memory == NULL) {
				break; /* it is checked at a later interval */
			}
			memory->dev = dev;
			xu_list_add_tail(&monitor.memories, &memory->link);
		}
		memory->is_due = true;
	}
	api_health_go_on();
}

struct xbdev_device *api_monitor_due(void)
{
	struct xbdev_device *dev = NULL;

	while (monitor.is_on && (dev = xbdev_device_next(api_lib.ctx, dev)) != NULL) {
		struct memory *memory = find_memory(dev);

		if (memory != NULL && memory->is_due) {
			memory->is_due = false;
			return dev;
		}
	}
	return NULL;
}

bool api_monitor_wants_smart(void)
{
	return !monitor.is_on || monitor.config.smart_monitoring;
}

void api_monitor_idle(void)
{
	struct api_call *stopper = monitor.stopper;

	if (stopper != NULL) {
		monitor.stopper = NULL;
		xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &monitor.stop_timer);
		api_call_done(stopper, 0);
	}
}

void api_monitor_init(void)
{
	monitor.is_on = false;
	monitor.config = defaults;
	listener.fn = on_graph;
	xbdev_ctx_add_listener(api_lib.ctx, &listener);
}

void api_monitor_off(void)
{
	struct xu_list *node;

	monitor.is_on = false;
	monitor.config = defaults;
	xr_timer_stop(xbdev_ctx_control(api_lib.ctx), &monitor.timer);
	xu_list_for_each (node, &monitor.memories) {
		struct memory *memory = xu_list_entry(node, struct memory, link);

		/* Another monitor tells anew. */
		memory->is_due = false;
		memory->warnings = 0;
		memory->has_io_errors = memory->has_media_errors = false;
	}
}

/* ---- the public calls ---- */

struct monitor_call {
	struct api_call call;
	xbdev_health_config_t config;
};

static void on_start(struct api_call *call)
{
	struct monitor_call *start = xu_container_of(call, struct monitor_call, call);

	if (monitor.is_on) {
		xu_error_set(&call->err, -EALREADY, "a health monitor runs already; stop it first");
		api_call_done(call, -EALREADY);
		return;
	}
	monitor.is_on = true;
	monitor.config = start->config;
	monitor.timer.fn = on_interval;
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &monitor.timer, 0);
	api_call_done(call, 0);
}

static int check_config(const xbdev_health_config_t *config)
{
	if (config->interval_s > XBDEV_HEALTH_INTERVAL_MAX_S) {
		return api_fail(-EINVAL, "a check every %u s is not possible; 1 to %u s are",
			config->interval_s, XBDEV_HEALTH_INTERVAL_MAX_S);
	}
	if (config->temperature_threshold < TEMPERATURE_MIN ||
		config->temperature_threshold > TEMPERATURE_MAX) {
		return api_fail(-EINVAL, "a temperature threshold of %d °C; %d to %d are possible",
			config->temperature_threshold, TEMPERATURE_MIN, TEMPERATURE_MAX);
	}
	if (config->wear_level_threshold > WEAR_MAX) {
		return api_fail(-EINVAL, "a wear threshold of %u %%; 1 to %u are possible",
			config->wear_level_threshold, WEAR_MAX);
	}
	return 0;
}

int xbdev_health_monitor_start(const xbdev_health_config_t *config)
{
	struct monitor_call start = {.config = config != NULL ? *config : defaults};
	struct api_thread *thread;
	int rc = check_config(&start.config);

	if (rc != 0) {
		return rc;
	}
	if (start.config.interval_s == 0) {
		start.config.interval_s = INTERVAL_DEFAULT_S;
	}
	if (start.config.temperature_threshold == 0) {
		start.config.temperature_threshold = TEMPERATURE_DEFAULT;
	}
	if (start.config.wear_level_threshold == 0) {
		start.config.wear_level_threshold = WEAR_DEFAULT;
	}
	rc = api_enter(&thread, true);
	if (rc == 0) {
		rc = api_call_run(thread, &start.call, on_start);
		api_leave(thread);
	}
	return rc;
}

static void on_stop_timer(struct xr_timer *timer)
{
	struct api_call *stopper = monitor.stopper;

	monitor.stopper = NULL;
	xu_error_set(&stopper->err, -EBUSY,
		"the monitor has ended, but a disk does not answer to its last check");
	api_call_done(stopper, -EBUSY);
}

static void on_stop(struct api_call *call)
{
	if (!monitor.is_on) {
		xu_error_set(&call->err, -ENOENT, "no health monitor runs");
		api_call_done(call, -ENOENT);
		return;
	}
	api_monitor_off();
	if (!api_health_is_monitors()) {
		api_call_done(call, 0);
		return;
	}
	monitor.stopper = call;
	monitor.stop_timer.fn = on_stop_timer;
	xr_timer_start(xbdev_ctx_control(api_lib.ctx), &monitor.stop_timer, API_FINI_WAIT_NS);
}

int xbdev_health_monitor_stop(void)
{
	struct monitor_call stop;
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, &stop.call, on_stop);
		api_leave(thread);
	}
	return rc;
}
