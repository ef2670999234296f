/* SPDX-License-Identifier: BSD-3-Clause */
/* The agent from the inside, see agent.c. */
#ifndef LIB_XREGISTRY_AGENT_PRIVATE_H
#define LIB_XREGISTRY_AGENT_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/xregistry/agent/agent.h"
#include "lib/xregistry/agent/http.h"

#define AGENT_KEY_SIZE 512u

struct xreg_agent {
	struct xreg_agent_opts opts;
	char *texts[6]; /* the options' own */
	pthread_t worker, follower;
	struct agent_http *http, *stream;
	_Atomic bool must_end, must_end_stream;

	pthread_mutex_t mutex; /* for what follows */
	pthread_cond_t cond;
	json_t *wanted;     /* NULL: as before */
	uint64_t nr_wishes; /* how often something was wanted */
	json_t *removed;    /* ids that somebody has taken off the registry; NULL: none */
	json_t *looks;      /* ids of targets of which something else is desired: {ID: true} */
	json_t *answers;    /* of the node, see config.c */
	bool has_answer;    /* that has not been looked at */
	bool is_stopping;
	bool is_connected, was_connected;
	size_t nr_wanted, nr_registered;
	char problem[256];

	/* The worker's. */
	json_t *targets;             /* what is wanted, as it was taken over */
	uint64_t wish;               /* which of them that is */
	json_t *known;               /* KEY: {"id", "body"}, and what config.c keeps there */
	_Atomic uint64_t stop_at_ms; /* 0: it goes on */
};

/* "NQN ADDRESS PORT" of a body of a registration. */
void agent_key_of(const json_t *body, char key[AGENT_KEY_SIZE]);
/* Makes a call; its status, 0: the registry is not there. The answer's body is the caller's. */
long agent_call(struct xreg_agent *agent, const char *method, const char *path, json_t *body,
	struct agent_answer *answer);

/* ---- config.c ---- */

/* The registry's answer to a report of metrics: whether something else is desired. The worker's. */
void agent_config_noticed(json_t *entry, const json_t *answer);
/* An event says so. Any thread; under the mutex. */
void agent_config_event(struct xreg_agent *agent, const char *id);
/* Tells the node what is desired, and the registry what the node says. The worker's; false: the
 * registry is not there. */
bool agent_config_sync(struct xreg_agent *agent);
/* A target is in the registry no more. */
void agent_config_gone(struct xreg_agent *agent, const char *key);

#endif
