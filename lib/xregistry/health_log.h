/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last things that the health monitor has told (monitor.h), for who watches: they have no
 * revision and are not durable, but a number of their own, so that who comes back in time misses
 * nothing. Numbers begin anew with each start of the registry, which the epoch tells.
 */
#ifndef LIB_XREGISTRY_HEALTH_LOG_H
#define LIB_XREGISTRY_HEALTH_LOG_H

#include <stdint.h>

#include "lib/xregistry/monitor.h"
#include "lib/xregistry/target.h"

struct xreg_health_log;

/* Keeps the last `nr_kept`. -ENOMEM. */
int xreg_health_log_new(uint32_t nr_kept, struct xreg_health_log **ret_log);
/* Nobody may watch any more. NULL is fine. */
void xreg_health_log_free(struct xreg_health_log *log);

/* A xreg_health_fn; `log` is its argument. What there is no memory for is left out. */
void xreg_health_log_add(void *log, const struct xreg_health_event *event);

/* One of them. The target's record is that of then, and the text is the note's, as long as it is.
 */
struct xreg_health_note {
	uint64_t number;
	struct xreg_health_event event;
};
void xreg_health_note_free(struct xreg_health_note *note);
/* As JSON; free() it. NULL: no memory. */
char *xreg_health_note_json(const struct xreg_health_note *note);

uint64_t xreg_health_log_epoch(const struct xreg_health_log *log);
uint64_t xreg_health_log_last(struct xreg_health_log *log);
/* The first one after `number`, which the caller frees. -ENOENT: there is none; -ENOMEM. Who finds
 * a greater number than the next has missed what was between. Any thread, as all below. */
int xreg_health_log_next(
	struct xreg_health_log *log, uint64_t number, struct xreg_health_note *ret_note);
/* Where who was told up to `number` in `epoch` goes on. False: that was another start, or a number
 * that has not been; it goes on with the first of this start, and may have missed some before. */
bool xreg_health_log_resume(
	struct xreg_health_log *log, uint64_t epoch, uint64_t number, uint64_t *ret_number);

struct xreg_health_watch {
	/* There is another one. Under the log's lock, so it is short and calls nothing of this. */
	void (*fn)(struct xreg_health_watch *watch);
	struct xreg_health_watch *next, **at; /* at NULL: it does not watch */
};
void xreg_health_log_watch(struct xreg_health_log *log, struct xreg_health_watch *watch);
/* When it returns the watch's call is not under way and will not come. */
void xreg_health_log_unwatch(struct xreg_health_log *log, struct xreg_health_watch *watch);

#endif
