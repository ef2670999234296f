/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health monitor (spec/registry.md 5.2): one thread that probes every target once in an
 * interval, judges that and what nodes report, keeps the failures of each target (live.h), changes
 * states through the store, and tries to recover what has failed. docs/registry-health.md says what
 * leads to which state.
 *
 * Between two checks it is told when a node comes or may have died, and looks at once.
 *
 * It changes a state only from what others have not set on purpose: maintenance is never touched,
 * and what is failed, offline, busy or degraded gets better by it only when it was made so by it,
 * which a reason that begins with XREG_MONITOR_REASON says.
 */
#ifndef LIB_XREGISTRY_MONITOR_H
#define LIB_XREGISTRY_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/health.h"

struct xreg_monitor;
struct xreg_store;
struct xreg_world;
struct xu_logger;

#define XREG_MONITOR_REASON "monitor: "

/* What the monitor tells of what it sees and does. States that it changes are events of the store
 * as well. */
enum xreg_health_event_kind {
	XREG_HEALTH_FAILURE = 1, /* `failure` has begun */
	XREG_HEALTH_CLEARED,     /* `failure` is over */
	XREG_HEALTH_STEP,        /* a step of recovery from `failure`: `is_good`, `attempt` */
	XREG_HEALTH_STATE,       /* from `state_before` to `state`; -errno in `rc` when refused */
	XREG_HEALTH_FLAPPING,    /* held down for now */
	XREG_HEALTH_SCORE,       /* from `score_before` to `score`, by 5 points or more */
	XREG_HEALTH_CONNECTIONS, /* from `connections_before` to `connections` */
	XREG_HEALTH_BLIND,       /* nearly all are silent; no target's */
	XREG_HEALTH_SIGHTED,     /* that is over */
};
const char *xreg_health_event_name(enum xreg_health_event_kind kind);

struct xreg_health_event {
	enum xreg_health_event_kind kind;
	uint64_t at_ms;                   /* Unix time */
	const struct xreg_target *target; /* borrowed during the call; NULL: of all */
	enum xreg_failure_type failure;
	enum xreg_severity severity;
	uint32_t attempt;
	bool is_good;
	uint32_t state_before, state;
	int rc;
	uint32_t score_before, score;
	uint32_t connections_before, connections;
	const char *text; /* a sentence */
};

/* Called on the monitor's thread; must not wait, and must not stop the monitor. */
typedef void (*xreg_health_fn)(void *arg, const struct xreg_health_event *event);

struct xreg_monitor_opts {
	struct xreg_store *store;                /* must live longer than the monitor */
	const struct xreg_health_config *config; /* copied */
	struct xu_logger *log;                   /* NULL: silent */
	xreg_health_fn fn;                       /* NULL: nobody listens */
	void *arg;
	const struct xreg_world *world; /* clocks and sockets; NULL: the system's */
};

/* Starts the thread. -EINVAL for a configuration that cannot be, -errno. */
int xreg_monitor_start(const struct xreg_monitor_opts *opts, struct xreg_monitor **ret_monitor,
	struct xu_error *err);
/* Ends what is under way and waits for it: probes at once, changes of states when the store has
 * answered. NULL is fine. Not from its own thread. */
void xreg_monitor_stop(struct xreg_monitor *monitor);

/* Another configuration, from the next check of each target on. -EINVAL. Any thread. */
int xreg_monitor_configure(struct xreg_monitor *monitor, const struct xreg_health_config *config,
	struct xu_error *err);
void xreg_monitor_config(struct xreg_monitor *monitor, struct xreg_health_config *ret_config);

/* What was heard of a node, by the connection on which it hears of events. */
enum xreg_look {
	XREG_LOOK_COME,   /* it has begun, or its machine is heard again */
	XREG_LOOK_GONE,   /* it has ended */
	XREG_LOOK_SILENT, /* its machine acknowledges nothing any more */
};

/*
 * A node's targets that are down by the monitor (it has come), or those that are up, are checked at
 * once, and again soon until the checks agree with the states. So a node that was killed is found
 * in a moment, with as many bad checks in a row as ever. Any thread.
 */
void xreg_monitor_look(struct xreg_monitor *monitor, const char *node_id, enum xreg_look why);

struct xreg_monitor_stats {
	uint64_t nr_checks;        /* ever */
	uint64_t nr_failed_checks; /* the probe was bad, or nothing came in time */
	uint64_t nr_failures;      /* that have begun */
	uint64_t nr_recoveries;    /* targets that became available again */
	uint64_t nr_recovery_attempts;
	uint64_t nr_state_changes;
	uint64_t nr_expired; /* targets that went offline for want of a report */
	uint64_t late_us;    /* how late the last check began, of what was planned */
	uint64_t nr_lost;    /* nodes whose connection has ended */
	uint64_t nr_blind;   /* how often it became blind */
	bool is_blind;       /* now, and so are those below */
	uint32_t nr_targets;
	uint32_t nr_probes; /* under way */
	uint32_t nr_offline, nr_failed, nr_degraded, nr_busy, nr_maintenance;
	uint32_t nr_held_down;
	uint32_t nr_changes; /* the store has yet to answer */
};
/* Any thread. */
void xreg_monitor_stats(struct xreg_monitor *monitor, struct xreg_monitor_stats *ret_stats);

#endif
