/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a target is doing right now (spec/registry.md 2.1 performance and status, 4.2 HealthMetrics,
 * 5.2): what its node reports, what our probes find, which failures it has. That changes all the
 * time, is not durable and has no revisions. It hangs on the target's record: all versions of one
 * record share it, so who holds a view finds it without a search.
 *
 * A lock of its own guards each; it is held to copy and no longer. Any thread.
 */
#ifndef LIB_XREGISTRY_LIVE_H
#define LIB_XREGISTRY_LIVE_H

#include <stdbool.h>
#include <stdint.h>

struct xreg_live;
struct xreg_target;
struct xu_error;

#define XREG_DESCRIPTION_SIZE 256u

/* What a node reports of a target. */
struct xreg_metrics {
	uint64_t current_iops;
	uint64_t current_bandwidth_mbps; /* MB/s */
	uint32_t current_latency_us;
	uint32_t load_percentage;    /* 0 … 100 */
	double error_rate;           /* failed of all I/Os, 0 … 1 */
	double cpu_usage;            /* 0 … 1 */
	double memory_usage;         /* 0 … 1 */
	uint32_t active_connections; /* of hosts */
	uint64_t io_count, error_count;
	uint64_t uptime_s;
};

/* -EINVAL with a sentence: a report says what cannot be. */
int xreg_metrics_check(const struct xreg_metrics *metrics, struct xu_error *err);

/* How far a probe got; each level contains those before it. */
enum xreg_probe_level {
	XREG_PROBE_NONE = 0,
	XREG_PROBE_TCP,      /* a connection */
	XREG_PROBE_ICRESP,   /* it speaks NVMe/TCP */
	XREG_PROBE_IDENTIFY, /* its subsystem has let us in and told who it is */
};

enum xreg_failure_type {
	XREG_FAILURE_NETWORK_TIMEOUT,
	XREG_FAILURE_HIGH_LATENCY,
	XREG_FAILURE_HIGH_ERROR_RATE,
	XREG_FAILURE_RESOURCE_EXHAUSTION,
	XREG_FAILURE_AUTHENTICATION,
	XREG_FAILURE_PROTOCOL_ERROR,
	XREG_FAILURE_HARDWARE_ERROR,
	XREG_FAILURE_UNKNOWN,
	XREG_NR_FAILURES,
};

struct xreg_probe {
	uint64_t at_ms; /* Unix time of its end; 0: none yet */
	enum xreg_probe_level reached;
	bool is_good;        /* it came as far as it was to */
	uint32_t latency_us; /* of the whole probe */
	uint32_t
		keep_alive_us; /* round trip of a Keep Alive, when it came to that; 0: it did not */
	enum xreg_failure_type failure; /* when it is not good */
	char problem[XREG_DESCRIPTION_SIZE];
};

enum xreg_severity {
	XREG_SEVERITY_LOW,
	XREG_SEVERITY_MEDIUM,
	XREG_SEVERITY_HIGH,
	XREG_SEVERITY_CRITICAL,
};

struct xreg_failure {
	uint64_t detected_ms; /* first seen; 0: there is none of this type */
	uint64_t last_ms;
	uint32_t occurrence_count;
	enum xreg_severity severity;
	bool is_active;
	bool auto_recovery_attempted;
	char description[XREG_DESCRIPTION_SIZE];
};

/* How hosts had better use a target that is slow or full; 0: as they like. */
struct xreg_advice {
	uint32_t queue_depth;
	uint32_t max_io_bytes;
	uint64_t since_ms; /* Unix time of its last change; 0: there is none */
};

/* All of it. What belongs to whom: `metrics`, `reported_ms` and `has_metrics` to who reports, the
 * rest to the monitor. */
struct xreg_live_state {
	bool has_metrics;
	struct xreg_metrics metrics;
	uint64_t reported_ms; /* Unix time of the last report; 0: none */
	struct xreg_probe probe;
	uint64_t last_seen_ms; /* a report or a good probe; 0: neither */
	struct xreg_advice advice;
	uint32_t nr_good, nr_bad; /* checks in a row */
	uint32_t nr_flaps;        /* changes between good and bad of late */
	uint64_t held_down_until_ms;
	uint32_t nr_recovery_attempts;        /* since it has failed */
	uint64_t recovery_at_ms;              /* of the next attempt; 0: none is planned */
	uint32_t nr_checks, nr_failed_checks; /* of late: what reliability is made of */
	/* The last, since memory is taken only for those that a target has had. */
	struct xreg_failure failures[XREG_NR_FAILURES];
};

/* With one reference. NULL: no memory. */
struct xreg_live *xreg_live_new(void);
struct xreg_live *xreg_live_ref(struct xreg_live *live);
void xreg_live_unref(struct xreg_live *live); /* NULL is fine */

/* A copy of how it is. */
void xreg_live_get(const struct xreg_target *target, struct xreg_live_state *ret_state);
/* A node's report, which came at `now_ms`. */
void xreg_live_report(
	const struct xreg_target *target, const struct xreg_metrics *metrics, uint64_t now_ms);
/* Changes it under its lock. `fn` must be short and must not come back here. Without memory the
 * first failure of a type is not kept, all else is. */
void xreg_live_change(const struct xreg_target *target,
	void (*fn)(struct xreg_live_state *state, void *arg), void *arg);

/*
 * What the target's node says of the desired configuration (desired.h). Who registers has an agent
 * that knows of such things when there is one. What has become of it is in the record, and durable;
 * this is what the node has at the moment, as it was told.
 */
struct xreg_config_report {
	uint64_t at_ms;    /* Unix time; 0: there was none since the registry was started */
	uint64_t revision; /* of the configuration that it is about; 0: nothing was set */
	bool is_applied;
	char reason[XREG_DESCRIPTION_SIZE];
	char *actual; /* JSON, the holder's; NULL: nothing is known */
};

/* Keeps a copy. -ENOMEM: the one before stays. */
int xreg_live_set_config(const struct xreg_target *target, const struct xreg_config_report *report);
/* A copy, whose `actual` the caller frees; without memory for it, NULL. */
void xreg_live_get_config(const struct xreg_target *target, struct xreg_config_report *ret_report);

/* "network_timeout" and so on; "low" and so on. */
const char *xreg_failure_name(enum xreg_failure_type type);
const char *xreg_severity_name(enum xreg_severity severity);

#endif
