/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Alerts (spec/registry.md 7.2): rules over the registry's own metrics. A rule whose condition
 * holds is pending; when it has held for its duration it is firing, and those it names are told;
 * told again at every repeat interval, and when it is resolved. Transitions of one round that go to
 * the same place are one notification. A silenced rule changes its state and tells nobody.
 *
 * Of several registries on the same data each judges its rules, and the one that leads tells.
 * Silences and what has been told are in the store, so they outlive a registry. Each notification
 * is sent at least once: when a registry dies, what it was about to tell, or had told so shortly
 * before that it was not saved, is told by the next, or by itself when it is back.
 *
 * One thread evaluates; all calls are for any thread.
 */
#ifndef LIB_XREGISTRY_ALERT_H
#define LIB_XREGISTRY_ALERT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct xreg_alerts;
struct xreg_notifier;
struct xreg_store;
struct xu_error;
struct xu_logger;

/* The document's metric_type_t. */
enum xreg_metric {
	XREG_METRIC_HEALTHY_TARGET_RATIO, /* available of all targets, 0 … 1; 1 when there is none
					   */
	XREG_METRIC_AVERAGE_HEALTH_SCORE, /* of the available ones, 0 … 100 */
	XREG_METRIC_FAILURE_RATE,         /* failures that began in the last hour */
	XREG_METRIC_API_RESPONSE_TIME,    /* ms, mean since the last round */
	XREG_METRIC_MEMORY_USAGE,         /* MiB of the process */
	XREG_METRIC_CPU_USAGE,            /* % of one core since the last round */
	XREG_METRIC_DISK_USAGE,           /* % of the data's file system */
	XREG_METRIC_REGISTRATIONS_PER_HOUR,
	XREG_METRIC_RECOVERIES_PER_HOUR,
	XREG_METRIC_API_REQUESTS_PER_MINUTE,
	XREG_NR_METRICS,
};

/* "healthy_target_ratio" and so on, NULL at the end. */
extern const char *const xreg_metric_names[];

struct xreg_alerts_opts {
	const char *rules_path; /* a file of rules; NULL: none */
	const char *data_dir;   /* where earlier versions kept silences */
	struct xreg_store *store;
	uint32_t interval_ms; /* between two rounds */
	struct xreg_notifier *notifier;
	struct xu_logger *log;
	/* Fills in the metrics; on the alerts' thread. */
	void (*measure)(void *arg, double values[XREG_NR_METRICS]);
	void *arg;
};

/* Reads the rules. -EINVAL with FILE:LINE:COLUMN. All is borrowed until the end. */
int xreg_alerts_start(
	const struct xreg_alerts_opts *opts, struct xreg_alerts **ret_alerts, struct xu_error *err);
void xreg_alerts_stop(struct xreg_alerts *alerts); /* NULL is fine */

/* Reads the rules again; rules of the same name keep their state. Nothing changes on an error. */
int xreg_alerts_reload(struct xreg_alerts *alerts, struct xu_error *err);

/* {"rules": [{"rule_name", "metric_type", "operator", "threshold_value", "duration_sec",
 * "severity", "enabled", "state", "value", "since_ms", "silenced_until_ms", "comment"}…],
 * "notifications": […]}. New reference. */
json_t *xreg_alerts_json(struct xreg_alerts *alerts);

/* Nobody is told of the rule before `until_ms` (Unix time), by any registry; 0 ends it. Durable
 * when it returns 0; blocks. -ENOENT, -EBUSY: other registries were always first, and those of
 * xreg_store_put_document(). */
int xreg_alerts_silence(struct xreg_alerts *alerts, const char *rule, uint64_t until_ms,
	const char *comment, struct xu_error *err);
/* Tells those of the rule that this is a test. -ENOENT. */
int xreg_alerts_test(struct xreg_alerts *alerts, const char *rule, struct xu_error *err);

#endif
