/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to pulling: its parts, all of its thread but where said. */
#ifndef LIB_XREGISTRY_PULL_PRIVATE_H
#define LIB_XREGISTRY_PULL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/list.h"
#include "lib/util/log.h"
#include "lib/xnvmf/host/host.h"
#include "lib/xregistry/ddc.h"
#include "lib/xregistry/follow.h"
#include "lib/xregistry/pull.h"

#define PULL_NR_READING_MAX 16u        /* connecting or reading for the first time */
#define PULL_NR_STAYING_MAX 128u       /* connections that stay */
#define PULL_NR_FOUND_MAX   (1u << 18) /* entries of all that wait to be brought to the store */
#define PULL_NR_CHANGES     128u       /* of one controller with the store at a time */
#define PULL_NR_KICKS       64u        /* that wait for the thread */
#define PULL_KEY_SIZE       (XR_ADDRESS_SIZE + 9) /* "[ADDRESS]:PORT" */

struct pull_job;
struct pull_peer;

/* Why a target is offline: it is in no log any more. */
#define PULL_LOST "pull: not in the log of its discovery controller any more"

/* What is in a log, as records without an identity. */
struct pull_found {
	uint32_t count, nr_ignored;
	struct xreg_target *targets[]; /* in the order of their places, none twice */
};

enum pull_state { PULL_WAITING, PULL_READING, PULL_STAYING };

/* A discovery controller that is on the list, or was a short time ago. */
struct pull_peer {
	struct xu_list link;
	struct xreg_pull *pull;
	struct xreg_ddc ddc;
	char key[PULL_KEY_SIZE];
	enum pull_state state;
	struct xnvmf_host_reader *reader; /* NULL: none */
	struct pull_job *job;             /* what it said is being brought to the store */
	struct pull_found *next_found;    /* and what it has said since; NULL: nothing */
	bool is_listed, is_seen;
	bool is_remembered;         /* from before a restart */
	bool is_self;               /* it has turned out to be this registry */
	uint64_t gone_ns;           /* when it left the list */
	uint64_t next_ns;           /* when it is to be read */
	uint64_t delay_ns;          /* of the next attempt, after a failure */
	uint64_t down_ns;           /* since when it cannot be read; 0: it can */
	bool was_read;              /* on this connection */
	struct xreg_ddc *referrals; /* that its log names */
	uint32_t nr_referrals;
	uint32_t interval_s; /* the shortest that its targets ask for; 0: none does */

	/* Under the mutex: what the JSON shows. */
	uint64_t nr_attempts, nr_successes, nr_failures, read_ms;
	uint32_t nr_found, nr_ignored, nr_failures_in_row;
	bool is_persistent;
	char nqn[XNVMF_NQN_MAX + 1];
	char problem[256];
};

/* A discovery controller that another one names. */
struct pull_referral {
	struct xreg_ddc ddc;
	char from[PULL_KEY_SIZE]; /* the one that names it */
	uint32_t depth;           /* steps from one that somebody else names */
};

struct xreg_pull {
	struct xreg_pull_opts opts;
	char nqn[XNVMF_NQN_MAX + 1];
	struct xbdev_ctx *ctx;
	struct xr_reactor *reactor;
	pthread_t thread;
	bool has_thread;

	struct xu_list peers; /* changed under the mutex */
	uint32_t nr_peers, nr_reading, nr_staying, nr_jobs, nr_found;
	bool is_scheduling;
	struct xr_timer timer, sweep_timer;
	struct pull_job *sweep; /* that is under way; NULL: none */
	uint64_t ddcs_revision, start_ns;
	struct xreg_follow follow;
	bool has_too_many_referrals;
	bool is_stopping;

	/* From other threads. */
	struct xreg_watcher watcher;
	struct xr_msg msg;
	_Atomic bool is_msg_sent, must_read, must_stop;
	pthread_mutex_t send_mutex;     /* held while the store's writer sends a job back */
	pthread_mutex_t mutex;          /* of what the JSON shows, and of what follows */
	struct xreg_pull_limits limits; /* opts.limits is the thread's copy */
	struct xreg_ddc kicks[PULL_NR_KICKS];
	uint32_t nr_kicks;
	struct pull_referral *referrals; /* that are followed; changed by the thread */
	uint32_t nr_referrals;
	uint64_t old_attempts, old_successes, old_failures; /* of peers that have gone */
	bool is_ready; /* the context is there, or `rc` says why not */
	pthread_cond_t has_started;
	int rc;
	struct xu_error err;
};

/* ---- pull.c ---- */

/* The peer that has this key; NULL: none. */
struct pull_peer *pull__find(const struct xreg_pull *pull, const char *key);
/* Has the thread look at what has changed. Any thread. */
void pull__wake(struct xreg_pull *pull);
/* Nobody names it but itself. */
bool pull__is_stranger(const struct pull_peer *peer);
/* A job, or the sweep, has ended. */
void pull__settle(struct xreg_pull *pull);

/* A target of the peer may want it to be read more often. */
void pull__hasten(struct pull_peer *peer, const struct xreg_target *target);

/* ---- pull_log.c ---- */

void pull__key(const struct xreg_ddc *ddc, char key[PULL_KEY_SIZE]);
/* What a key says; -EINVAL: it is none. */
int pull__parse_key(const char *key, struct xreg_ddc *ret_ddc);
/* An address of an entry in the form that every registration of it should have, for addresses are
 * compared as texts. False: it is none that could be used. */
bool pull__take_address(
	const struct pull_peer *peer, const char *text, char address[XR_ADDRESS_SIZE]);
/* TRSVCID; false: it is no number of a port. */
bool pull__take_port(const char *text, uint32_t *ret_port);
/* The targets of a log. NULL: no memory. */
struct pull_found *pull__found_new(const struct pull_peer *peer, const struct xnvmf_host_log *log);
void pull__found_free(struct pull_found *found); /* NULL is fine */

/* ---- pull_refer.c ---- */

/* The referrals of a peer's log, which may be others than those of its last. */
void pull__refer_take(struct pull_peer *peer, const struct xnvmf_host_log *log);
/* Finds out which are to be followed, and has them on the list. */
void pull__refer(struct xreg_pull *pull);
/* How one became known; NULL: not as a referral. With the mutex, or the thread. */
const struct pull_referral *pull__referral(
	const struct xreg_pull *pull, const struct xreg_ddc *ddc);

/* ---- pull_apply.c ---- */

/* The value of a key of a target's metadata; "" when it has none. */
const char *pull__metadata(const struct xreg_spec *spec, const char *key);

/* Brings the store to what a peer said, now or when it is its turn; takes it. */
void pull__apply(struct pull_peer *peer, struct pull_found *found);
/* Those whose turn it is. */
void pull__start_jobs(struct xreg_pull *pull);
/* Has targets go offline whose controller is known no more, and away what was lost long ago. */
void pull__sweep(struct xreg_pull *pull);

#endif
