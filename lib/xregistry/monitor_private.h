/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health monitor from the inside. Everything here belongs to the monitor's thread but what is
 * said to be under `mutex`.
 *
 *   targets.c  what is monitored and when the next check of each is due
 *   check.c    one check, from its probe to what follows
 *   blind.c    silence of nearly all, which is this registry's own
 *   look.c     checks at once, because of something that was heard of a node
 *   failure.c  what is wrong with a target, and its failures
 *   states.c   which state follows, flapping, and changes through the store
 *   recover.c  attempts to recover, and advice to hosts
 */
#ifndef LIB_XREGISTRY_MONITOR_PRIVATE_H
#define LIB_XREGISTRY_MONITOR_PRIVATE_H

#include <pthread.h>

#include "lib/xregistry/monitor.h"
#include "lib/xregistry/probe.h"
#include "lib/xregistry/store.h"
#include "lib/xregistry/world.h"

/* How bad a check was; a higher level contains those below it. */
enum xreg__level {
	XREG__GOOD = 0,
	XREG__BUSY,
	XREG__DEGRADED,
	XREG__DOWN,
	XREG__NR_LEVELS,
};

#define XREG__FLAPS_MAX 32u
#define XREG__NOT_IN    UINT32_MAX

/* A target that is monitored. */
struct xreg__entry {
	struct xreg__entry *next;   /* in its bucket */
	struct xreg_target *target; /* the record as it is now; a reference */
	struct xreg__probe_job *job;
	uint64_t due_us;
	uint32_t heap_at;                   /* XREG__NOT_IN: a probe is under way */
	uint32_t mark;                      /* of the last walk over all targets */
	bool has_change;                    /* the store has yet to answer */
	bool is_expired;                    /* no report for too long */
	bool is_reaching;                   /* the first step of recovery is under way */
	bool is_recovering;                 /* the check is an attempt to recover */
	bool has_hint;                      /* score_told and connections_told say something */
	bool is_heard_of, is_silent;        /* counted in the monitor's; see blind.c */
	uint64_t judged_ms;                 /* the report that was judged last, here or elsewhere */
	uint32_t above[XREG__NR_LEVELS];    /* checks in a row at this level or worse */
	uint32_t below[XREG__NR_LEVELS];    /* … better than it */
	uint8_t nr_clear[XREG_NR_FAILURES]; /* checks in a row without it */
	uint32_t score_told, connections_told;
	uint64_t backoff_us;        /* of recovery from being down; 0: none has begun */
	uint64_t advice_backoff_us; /* of the others */
	uint64_t advice_due_us;
	uint32_t flaps_s[XREG__FLAPS_MAX]; /* when it changed between up and down; a ring */
	uint32_t nr_flaps, next_flap;
	uint32_t hold_s; /* of its last hold-down; 0: none of late */
	uint64_t held_until_us;
	uint64_t look_us;   /* to the next check of a look; 0: there is none */
	uint32_t nr_looks;  /* checks of it that are left at most */
	bool is_quick_look; /* its machine is silent */
};

/* A node that is to be looked at. */
struct xreg__look {
	struct xreg__look *next;
	enum xreg_look why;
	char node_id[XREG_NAME_MAX + 1];
};

/* A change of state that the store was asked for. */
struct xreg__state_job {
	struct xreg_change change;
	struct xreg_monitor *monitor;
	struct xreg__state_job *next;
	uint32_t state_before;
	char id[XREG_ID_SIZE];
	char reason[XREG_TEXT_MAX + 1];
};

struct xreg_monitor {
	struct xreg_store *store;
	struct xu_logger *log;
	xreg_health_fn fn;
	void *fn_arg;
	struct xreg_world world;
	bool owns_world;
	struct xreg_watcher watcher;
	pthread_t thread;

	struct xreg_health_config config; /* in use */
	bool led;                         /* this registry, in the last round */
	/* Times to live are counted from this Unix time at the earliest: the start, or the last
	 * time that somebody set the clock or that it began to lead. */
	uint64_t since_ms;
	uint64_t clocks_differ_ms; /* Unix time less the monotonic one */
	uint64_t revision;         /* of the store, that is known here */
	bool must_walk;            /* what is monitored may not be what there is */
	uint64_t walk_due_us;
	uint32_t mark;
	struct xreg__entry **buckets;
	uint32_t nr_buckets, nr_entries;
	struct xreg__entry **heap; /* by due_us */
	uint32_t nr_heap, heap_size;
	struct xreg__prober prober;
	uint64_t warned_us;
	uint32_t nr_heard_of, nr_silent; /* targets that should be heard of, and are not */
	bool is_blind;
	uint64_t blind_due_us; /* not looked for before */
	uint64_t blind_since_us;
	uint64_t sign_us,
		signs_since_us; /* the last from another machine, 0: none; the first of it */
	bool is_convinced;      /* that the silence is the targets' */

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t no_changes;
	bool must_stop;
	bool has_config;
	struct xreg_health_config next_config;
	struct xreg__state_job *answered;
	struct xreg__look *looks; /* the last first */
	struct xreg_monitor_stats stats;
};

/* ---- targets.c ---- */

uint32_t xreg__entry_hash(const char *id);
struct xreg__entry *xreg__entry_find(struct xreg_monitor *m, const char *id);
/* Brings what is monitored to what the store has. */
void xreg__targets_sync(struct xreg_monitor *m, uint64_t now_us);
void xreg__targets_free(struct xreg_monitor *m);
/* Each gets as many checks and as much time as anybody, before it is found to be worse. */
void xreg__targets_begin_anew(struct xreg_monitor *m, uint64_t unix_ms);
/* A place in the interval of its own for every target, so that they never come together. */
void xreg__targets_spread(struct xreg_monitor *m, uint64_t now_us);
/* Plans its next check. */
void xreg__entry_plan(struct xreg_monitor *m, struct xreg__entry *e, uint64_t due_us);
/* Takes the one that is due first, if it is; *ret_due_us is when the next will be. */
struct xreg__entry *xreg__entry_take(struct xreg_monitor *m, uint64_t now_us, uint64_t *ret_due_us);

/* From one check of a target to its next: as configured, or as often as the target asks for. */
uint64_t xreg__interval_us(const struct xreg_monitor *m, const struct xreg_target *target);

/* ---- check.c ---- */

void xreg__check_begin(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us);
void xreg__check_probed(void *monitor, struct xreg__probe_job *job, uint64_t now_us);
/* How far a target can be probed at all. */
enum xreg_probe_level xreg__probe_level(
	const struct xreg_target *target, const struct xreg_health_config *config);
/* Starts a probe; the check goes on when it is over. False: this machine has no room for it. */
bool xreg__check_probe(struct xreg_monitor *m, struct xreg__entry *e, enum xreg_probe_level level);

/* Tells whoever listens and the log; `event` has all but its time and its target. */
void xreg__tell(struct xreg_monitor *m, const struct xreg__entry *e, struct xreg_health_event event,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#define XREG__COUNT(m, field)                                                                      \
	do {                                                                                       \
		pthread_mutex_lock(&(m)->mutex);                                                   \
		(m)->stats.field++;                                                                \
		pthread_mutex_unlock(&(m)->mutex);                                                 \
	} while (0)

/* ---- blind.c ---- */

/* After a check of the target: whether it was silent, and whether it was heard just now. True: that
 * is not to be judged. */
bool xreg__blind_note(struct xreg_monitor *m, struct xreg__entry *e, bool is_silent, bool is_heard,
	uint64_t now_us);
/* A target that is not monitored any more. */
void xreg__blind_forget(struct xreg_monitor *m, struct xreg__entry *e);

/* ---- look.c ---- */

/* Takes what has been heard of nodes. */
void xreg__looks_take(struct xreg_monitor *m, uint64_t now_us);
void xreg__looks_free(struct xreg_monitor *m);
/* What a probe of a look has less of than others. */
void xreg__look_order(const struct xreg__entry *e, struct xreg__probe_order *order);
/* After a check, begun at `started_us`, that was a part of a look: goes on with that, or ends it.
 */
void xreg__look_checked(const struct xreg_monitor *m, struct xreg__entry *e, bool is_down,
	uint64_t started_us, uint64_t now_us);

/* ---- failure.c ---- */

struct xreg__verdict {
	enum xreg__level level;
	struct {
		bool is_active;
		enum xreg_severity severity;
		char text[128];
	} failures[XREG_NR_FAILURES];
};

/* What is wrong, by the last probe and the last report; `has_moved`: there are newer ones
 * elsewhere.
 */
void xreg__judge(const struct xreg_target *target, const struct xreg_live_state *live,
	const struct xreg_health_config *config, bool is_expired, bool has_moved, uint64_t now_ms,
	struct xreg__verdict *ret_verdict);
/* Keeps the failures of a verdict with the target; bits of those that have begun and are over. */
void xreg__failures_keep(struct xreg__entry *e, const struct xreg_health_config *config,
	const struct xreg__verdict *verdict, struct xreg_live_state *state, uint64_t now_ms,
	uint32_t *ret_begun, uint32_t *ret_cleared);

/* ---- states.c ---- */

enum xreg__level xreg__level_of(uint32_t state);
/* Whether the state is the monitor's, so that it may get better by it. */
bool xreg__state_is_ours(const struct xreg_target *target);
/* Down, and by the monitor, and it may do something about it. */
bool xreg__is_to_recover(const struct xreg_monitor *m, const struct xreg__entry *e);
void xreg__states_decide(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__verdict *verdict, uint64_t now_us);
void xreg__states_change(struct xreg_monitor *m, struct xreg__entry *e, uint32_t state,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* It went from up to down or back, by a monitor: this one's or another registry's. */
void xreg__states_flap(struct xreg_monitor *m, struct xreg__entry *e, bool is_up, uint64_t now_us);
/* What the store has answered. */
void xreg__states_answered(struct xreg_monitor *m, uint64_t now_us);

/* ---- recover.c ---- */

/* Begins an attempt to recover: true when the check is to go on as usual. */
bool xreg__recover_begin(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us);
/* Whether the machine answers; the second step, or the end of the attempt. */
void xreg__recover_reached(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__probe_job *job, uint64_t now_us);
/* After the check that was an attempt. */
void xreg__recover_checked(
	struct xreg_monitor *m, struct xreg__entry *e, const struct xreg__verdict *verdict);
/* When the next attempt is due. */
uint64_t xreg__recover_due_us(struct xreg_monitor *m, struct xreg__entry *e, uint64_t now_us);
/* Advice for targets that are slow, full or err. */
void xreg__recover_advise(struct xreg_monitor *m, struct xreg__entry *e,
	const struct xreg__verdict *verdict, uint64_t now_us);

#endif
