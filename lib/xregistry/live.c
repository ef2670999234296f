/* SPDX-License-Identifier: BSD-3-Clause */
/* The state behind live.h: a counted block with a mutex. Most targets never fail, so what is kept
 * of a type of failure has memory only from the first one on, and what a bad probe says only while
 * it is the last. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/live.h"
#include "lib/xregistry/target.h"

/* The state but its failures and the text in its midst. */
#define PROBLEM_AT   offsetof(struct xreg_live_state, probe.problem)
#define REST_AT      (PROBLEM_AT + XREG_DESCRIPTION_SIZE)
#define REST_BYTES   (offsetof(struct xreg_live_state, failures) - REST_AT)
#define FOLDED_BYTES (PROBLEM_AT + REST_BYTES)

struct xreg_live {
	_Atomic uint32_t nr_refs;
	pthread_mutex_t mutex;
	struct xreg_failure *failures[XREG_NR_FAILURES]; /* NULL: never seen */
	char *problem;                                   /* of the last probe; NULL: none */
	char folded[FOLDED_BYTES];
	struct xreg_config_report *config; /* NULL: none yet */
};

static void unfold(const struct xreg_live *live, struct xreg_live_state *ret_state)
{
	memcpy(ret_state, live->folded, PROBLEM_AT);
	memcpy((char *)ret_state + REST_AT, live->folded + PROBLEM_AT, REST_BYTES);
	snprintf(ret_state->probe.problem, sizeof(ret_state->probe.problem), "%s",
		live->problem != NULL ? live->problem : "");
	for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
		if (live->failures[i] != NULL) {
			ret_state->failures[i] = *live->failures[i];
		} else {
			memset(&ret_state->failures[i], 0, sizeof(ret_state->failures[i]));
		}
	}
}

/* Without memory for a problem it is not kept. */
static void fold_problem(struct xreg_live *live, const char *problem)
{
	if (live->problem != NULL && strcmp(live->problem, problem) == 0) {
		return;
	}
	free(live->problem);
	live->problem = problem[0] != '\0' ? strdup(problem) : NULL;
}

static void fold(struct xreg_live *live, const struct xreg_live_state *state)
{
	memcpy(live->folded, state, PROBLEM_AT);
	memcpy(live->folded + PROBLEM_AT, (const char *)state + REST_AT, REST_BYTES);
	fold_problem(live, state->probe.problem);
	for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
		if (live->failures[i] == NULL && state->failures[i].detected_ms != 0) {
			live->failures[i] = malloc(sizeof(*live->failures[i]));
		}
		if (live->failures[i] != NULL) {
			*live->failures[i] = state->failures[i];
		}
	}
}

struct xreg_live *xreg_live_new(void)
{
	struct xreg_live *live = calloc(1, sizeof(*live));

	if (live != NULL) {
		atomic_init(&live->nr_refs, 1);
		pthread_mutex_init(&live->mutex, NULL);
	}
	return live;
}

struct xreg_live *xreg_live_ref(struct xreg_live *live)
{
	atomic_fetch_add_explicit(&live->nr_refs, 1, memory_order_relaxed);
	return live;
}

static void free_config(struct xreg_config_report *report)
{
	if (report != NULL) {
		free(report->actual);
		free(report);
	}
}

void xreg_live_unref(struct xreg_live *live)
{
	if (live != NULL &&
		atomic_fetch_sub_explicit(&live->nr_refs, 1, memory_order_acq_rel) == 1) {
		for (uint32_t i = 0; i < XREG_NR_FAILURES; i++) {
			free(live->failures[i]);
		}
		free_config(live->config);
		free(live->problem);
		pthread_mutex_destroy(&live->mutex);
		free(live);
	}
}

void xreg_live_get(const struct xreg_target *target, struct xreg_live_state *ret_state)
{
	struct xreg_live *live = target->origin.live;

	pthread_mutex_lock(&live->mutex);
	unfold(live, ret_state);
	pthread_mutex_unlock(&live->mutex);
}

struct report {
	const struct xreg_metrics *metrics;
	uint64_t now_ms;
};

static void take_report(struct xreg_live_state *state, void *arg)
{
	const struct report *report = arg;

	state->has_metrics = true;
	state->metrics = *report->metrics;
	state->reported_ms = report->now_ms;
	state->last_seen_ms = report->now_ms;
}

void xreg_live_report(
	const struct xreg_target *target, const struct xreg_metrics *metrics, uint64_t now_ms)
{
	xreg_live_change(target, take_report, &(struct report){metrics, now_ms});
}

void xreg_live_change(const struct xreg_target *target,
	void (*fn)(struct xreg_live_state *state, void *arg), void *arg)
{
	struct xreg_live *live = target->origin.live;
	struct xreg_live_state state;

	pthread_mutex_lock(&live->mutex);
	unfold(live, &state);
	fn(&state, arg);
	fold(live, &state);
	pthread_mutex_unlock(&live->mutex);
}

int xreg_live_set_config(const struct xreg_target *target, const struct xreg_config_report *report)
{
	struct xreg_live *live = target->origin.live;
	struct xreg_config_report *copy = malloc(sizeof(*copy)), *old;

	if (copy == NULL) {
		return -ENOMEM;
	}
	*copy = *report;
	copy->actual = report->actual != NULL ? strdup(report->actual) : NULL;
	if (report->actual != NULL && copy->actual == NULL) {
		free(copy);
		return -ENOMEM;
	}
	pthread_mutex_lock(&live->mutex);
	old = live->config;
	live->config = copy;
	pthread_mutex_unlock(&live->mutex);
	free_config(old);
	return 0;
}

void xreg_live_get_config(const struct xreg_target *target, struct xreg_config_report *ret_report)
{
	struct xreg_live *live = target->origin.live;

	*ret_report = (struct xreg_config_report){0};
	pthread_mutex_lock(&live->mutex);
	if (live->config != NULL) {
		*ret_report = *live->config;
		ret_report->actual =
			live->config->actual != NULL ? strdup(live->config->actual) : NULL;
	}
	pthread_mutex_unlock(&live->mutex);
}

const char *xreg_failure_name(enum xreg_failure_type type)
{
	static const char *const names[XREG_NR_FAILURES] = {
		[XREG_FAILURE_NETWORK_TIMEOUT] = "network_timeout",
		[XREG_FAILURE_HIGH_LATENCY] = "high_latency",
		[XREG_FAILURE_HIGH_ERROR_RATE] = "high_error_rate",
		[XREG_FAILURE_RESOURCE_EXHAUSTION] = "resource_exhaustion",
		[XREG_FAILURE_AUTHENTICATION] = "authentication",
		[XREG_FAILURE_PROTOCOL_ERROR] = "protocol_error",
		[XREG_FAILURE_HARDWARE_ERROR] = "hardware_error",
		[XREG_FAILURE_UNKNOWN] = "unknown",
	};

	return names[type];
}

const char *xreg_severity_name(enum xreg_severity severity)
{
	static const char *const names[] = {"low", "medium", "high", "critical"};

	return names[severity];
}
