/* SPDX-License-Identifier: BSD-3-Clause */
/* What registries that share their data do about each other, once a second on a thread of its own.
 */
#ifndef LIB_XREGISTRY_ROUNDS_H
#define LIB_XREGISTRY_ROUNDS_H

#include <pthread.h>
#include <stdbool.h>

struct xu_error;
struct xu_logger;

/* Its owner's memory. */
struct xreg_rounds {
	int (*run)(void *arg, struct xu_error *err);
	void *arg;
	struct xu_logger *log; /* hears when rounds fail, and when they do not any more */
	pthread_t thread;
	pthread_mutex_t mutex; /* for what follows */
	pthread_cond_t changed;
	bool must_stop;
};

/* Calls `run` now and a second after each end; `run`, `arg` and `log` have been set. -errno. */
int xreg_rounds_start(struct xreg_rounds *rounds);
/* Waits for a round that is under way. After a start that has succeeded. */
void xreg_rounds_stop(struct xreg_rounds *rounds);

#endif
