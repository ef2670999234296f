/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread of the rounds; a failure is told once, and once when it is over. */
#include "lib/xregistry/rounds.h"

#include <time.h>

#include "lib/util/error.h"
#include "lib/util/log.h"

#define ROUND_S 1

/* Waits for the next round; false: it is to stop. */
static bool wait_round(struct xreg_rounds *rounds)
{
	struct timespec until;
	bool goes_on;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ROUND_S;
	pthread_mutex_lock(&rounds->mutex);
	while (!rounds->must_stop &&
		pthread_cond_timedwait(&rounds->changed, &rounds->mutex, &until) == 0) {
	}
	goes_on = !rounds->must_stop;
	pthread_mutex_unlock(&rounds->mutex);
	return goes_on;
}

static void *rounds_main(void *arg)
{
	struct xreg_rounds *rounds = arg;
	bool was_good = true;

	do {
		struct xu_error err = {0};
		bool is_good = rounds->run(rounds->arg, &err) == 0;

		if (!is_good && was_good) {
			xu_warn(rounds->log, "the other registries are not heard: %s", err.text);
		} else if (is_good && !was_good) {
			xu_info(rounds->log, "the other registries are heard again");
		}
		was_good = is_good;
	} while (wait_round(rounds));
	return NULL;
}

static void fini(struct xreg_rounds *rounds)
{
	pthread_mutex_destroy(&rounds->mutex);
	pthread_cond_destroy(&rounds->changed);
}

int xreg_rounds_start(struct xreg_rounds *rounds)
{
	pthread_condattr_t attr;
	int rc;

	rounds->must_stop = false;
	pthread_mutex_init(&rounds->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rounds->changed, &attr);
	pthread_condattr_destroy(&attr);
	rc = -pthread_create(&rounds->thread, NULL, rounds_main, rounds);
	if (rc != 0) {
		fini(rounds);
	}
	return rc;
}

void xreg_rounds_stop(struct xreg_rounds *rounds)
{
	pthread_mutex_lock(&rounds->mutex);
	rounds->must_stop = true;
	pthread_cond_signal(&rounds->changed);
	pthread_mutex_unlock(&rounds->mutex);
	pthread_join(rounds->thread, NULL);
	fini(rounds);
}
