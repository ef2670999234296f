/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What alerts look at is measured here, on their thread. Rates come from counters that only grow:
 * "per hour" is the difference to the oldest of sixty samples, one a minute; the others are
 * differences to the round before.
 */
#include "daemon/xsan-registry/alerts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/xsan-registry/config.h"
#include "lib/util/error.h"
#include "lib/util/memory.h"
#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/alert/notify.h"
#include "lib/xregistry/monitor.h"
#include "lib/xregistry/rest/rest.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/summary.h"

#define SAMPLES 61u

struct hourly {
	uint64_t samples[SAMPLES]; /* by minute */
	uint64_t first_minute, last_minute;
};

struct alerts_part {
	struct alerts_part_opts opts;
	struct xreg_notifier *notifier;
	struct xreg_alerts *alerts;
	pthread_mutex_t rest_mutex;
	struct xreg_rest *rest; /* NULL: not yet, or no more */
	struct hourly failures, recoveries;
	uint64_t last_ns, cpu_ns; /* of the round before */
	struct xrpc_http_stats http;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* How much a counter has grown in the last hour, or since the first look. */
static double grown(struct hourly *hourly, uint64_t counter, uint64_t now_ns)
{
	uint64_t minute = now_ns / 60000000000u, oldest;

	if (hourly->last_minute == 0) {
		hourly->first_minute = hourly->last_minute = minute;
		hourly->samples[minute % SAMPLES] = counter;
	}
	while (hourly->last_minute < minute) {
		hourly->samples[++hourly->last_minute % SAMPLES] = counter;
	}
	oldest = minute - hourly->first_minute < SAMPLES ? hourly->first_minute
							 : minute - SAMPLES + 1;
	return (double)(counter - hourly->samples[oldest % SAMPLES]);
}

/* ---- what the process uses ---- */

static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static double disk_percent(const char *dir)
{
	struct statvfs st;

	if (statvfs(dir, &st) != 0 || st.f_blocks == 0) {
		return 0;
	}
	return 100.0 - 100.0 * (double)st.f_bavail / (double)st.f_blocks;
}

/* ---- measuring ---- */

struct recent {
	uint64_t since_ms;
	uint32_t count;
};

static bool count_recent(void *arg, const struct xreg_target *target)
{
	struct recent *recent = arg;

	recent->count += target->origin.registered_ms >= recent->since_ms;
	return true;
}

static void measure_targets(struct alerts_part *part, double values[XREG_NR_METRICS])
{
	struct recent recent = {clock_ns(CLOCK_REALTIME) / 1000000 - 3600000, 0};
	struct xreg_view *view = xreg_store_view(part->opts.store);
	struct xreg_health_config health;
	struct xreg_summary summary;

	xreg_monitor_config(part->opts.monitor, &health);
	xreg_summary_make(view, &health, &summary);
	xreg_view_each(view, XREG_BY_ID, "", true, count_recent, &recent);
	xreg_view_unref(view);
	values[XREG_METRIC_HEALTHY_TARGET_RATIO] =
		summary.nr_targets != 0
			? (double)summary.by_state[XREG_AVAILABLE] / summary.nr_targets
			: 1;
	values[XREG_METRIC_AVERAGE_HEALTH_SCORE] = xreg_summary_score(&summary);
	values[XREG_METRIC_REGISTRATIONS_PER_HOUR] = recent.count;
}

static void measure_calls(
	struct alerts_part *part, uint64_t elapsed_ns, double values[XREG_NR_METRICS])
{
	struct xrpc_http_stats now = part->http;

	pthread_mutex_lock(&part->rest_mutex);
	if (part->rest != NULL) {
		xreg_rest_get_stats(part->rest, &now);
	}
	pthread_mutex_unlock(&part->rest_mutex);
	if (now.nr_timed > part->http.nr_timed) {
		values[XREG_METRIC_API_RESPONSE_TIME] =
			(double)(now.busy_us - part->http.busy_us) /
			(double)(now.nr_timed - part->http.nr_timed) / 1000;
	}
	if (elapsed_ns != 0) {
		values[XREG_METRIC_API_REQUESTS_PER_MINUTE] =
			(double)(now.nr_calls - part->http.nr_calls) * 60e9 / (double)elapsed_ns;
	}
	part->http = now;
}

static void measure(void *arg, double values[XREG_NR_METRICS])
{
	struct alerts_part *part = arg;
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), used_ns = cpu_ns();
	uint64_t elapsed_ns = part->last_ns != 0 ? now_ns - part->last_ns : 0;
	struct xreg_monitor_stats stats;

	measure_targets(part, values);
	measure_calls(part, elapsed_ns, values);
	xreg_monitor_stats(part->opts.monitor, &stats);
	values[XREG_METRIC_FAILURE_RATE] = grown(&part->failures, stats.nr_failures, now_ns);
	values[XREG_METRIC_RECOVERIES_PER_HOUR] =
		grown(&part->recoveries, stats.nr_recoveries, now_ns);
	values[XREG_METRIC_MEMORY_USAGE] = (double)xu_memory_resident() / (1 << 20);
	values[XREG_METRIC_DISK_USAGE] = disk_percent(part->opts.config->data_dir);
	if (elapsed_ns != 0) {
		values[XREG_METRIC_CPU_USAGE] =
			100.0 * (double)(used_ns - part->cpu_ns) / (double)elapsed_ns;
	}
	part->last_ns = now_ns;
	part->cpu_ns = used_ns;
}

/* ---- life ---- */

int alerts_part_start(
	const struct alerts_part_opts *opts, struct alerts_part **ret_part, struct xu_error *err)
{
	const struct config *config = opts->config;
	const struct xreg_notifier_opts notifier = {.smtp_url = config->smtp_url,
		.smtp_from = config->smtp_from,
		.smtp_user = config->smtp_user,
		.smtp_password = config->smtp_password,
		.smtp_ca_path = config->smtp_ca_path,
		.slack_url = config->slack_url,
		.log = opts->log};
	struct xreg_alerts_opts alerts = {.rules_path = config->rules_path,
		.data_dir = config->data_dir,
		.store = opts->store,
		.interval_ms = config->alert_interval_ms,
		.log = opts->log,
		.measure = measure};
	struct alerts_part *part = calloc(1, sizeof(*part));
	int rc;

	if (part == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "preparing alerts");
	}
	part->opts = *opts;
	pthread_mutex_init(&part->rest_mutex, NULL);
	rc = xreg_notifier_start(&notifier, &part->notifier, err);
	if (rc == 0) {
		alerts.notifier = part->notifier;
		alerts.arg = part;
		rc = xreg_alerts_start(&alerts, &part->alerts, err);
	}
	if (rc != 0) {
		alerts_part_stop(part);
		return rc;
	}
	*ret_part = part;
	return 0;
}

void alerts_part_set_rest(struct alerts_part *part, struct xreg_rest *rest)
{
	pthread_mutex_lock(&part->rest_mutex);
	part->rest = rest;
	pthread_mutex_unlock(&part->rest_mutex);
}

struct xreg_alerts *alerts_part_alerts(struct alerts_part *part)
{
	return part->alerts;
}

void alerts_part_stop(struct alerts_part *part)
{
	if (part != NULL) {
		xreg_alerts_stop(part->alerts);
		xreg_notifier_stop(part->notifier);
		pthread_mutex_destroy(&part->rest_mutex);
		free(part);
	}
}
