/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of notes under one mutex. Each holds the target's record as it was; who reads takes a
 * reference and makes of it what is to be told, so the monitor waits for no formatting. */
#include "lib/xregistry/health_log.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"

struct xreg_health_log {
	uint64_t epoch;
	uint32_t nr_kept;
	pthread_mutex_t mutex; /* of what follows */
	uint64_t last;         /* number; the first is 1 */
	struct xreg_health_note *notes;
	struct xreg_health_watch *watches;
};

int xreg_health_log_new(uint32_t nr_kept, struct xreg_health_log **ret_log)
{
	struct xreg_health_log *log = calloc(1, sizeof(*log));

	if (log == NULL || (log->notes = calloc(nr_kept, sizeof(*log->notes))) == NULL) {
		free(log);
		return -ENOMEM;
	}
	log->nr_kept = nr_kept;
	log->epoch = xu_clock_system()->wall_ns(xu_clock_system()) / 1000;
	pthread_mutex_init(&log->mutex, NULL);
	*ret_log = log;
	return 0;
}

void xreg_health_log_free(struct xreg_health_log *log)
{
	if (log != NULL) {
		for (uint32_t i = 0; i < log->nr_kept; i++) {
			xreg_health_note_free(&log->notes[i]);
		}
		pthread_mutex_destroy(&log->mutex);
		free(log->notes);
		free(log);
	}
}

/* ---- one note ---- */

static void add_of_kind(json_t *body, const struct xreg_health_event *event)
{
	switch (event->kind) {
	case XREG_HEALTH_FAILURE:
	case XREG_HEALTH_CLEARED:
	case XREG_HEALTH_STEP:
		json_object_set_new(
			body, "failure", json_string(xreg_failure_name(event->failure)));
		json_object_set_new(
			body, "severity", json_string(xreg_severity_name(event->severity)));
		break;
	case XREG_HEALTH_STATE:
		json_object_set_new(
			body, "old_status", json_string(xreg_state_name(event->state_before)));
		json_object_set_new(body, "new_status", json_string(xreg_state_name(event->state)));
		json_object_set_new(body, "refused", json_boolean(event->rc != 0));
		break;
	case XREG_HEALTH_SCORE:
		json_object_set_new(
			body, "old_health_score", json_integer((json_int_t)event->score_before));
		json_object_set_new(body, "health_score", json_integer((json_int_t)event->score));
		break;
	case XREG_HEALTH_CONNECTIONS:
		json_object_set_new(body, "old_connections",
			json_integer((json_int_t)event->connections_before));
		json_object_set_new(
			body, "connections", json_integer((json_int_t)event->connections));
		break;
	default:
		break;
	}
}

char *xreg_health_note_json(const struct xreg_health_note *note)
{
	const struct xreg_health_event *event = &note->event;
	const struct xreg_target *target = event->target;
	json_t *body = json_pack("{s:s, s:I, s:I, s:s}", "type",
		xreg_health_event_name(event->kind), "number", (json_int_t)note->number, "at_ms",
		(json_int_t)event->at_ms, "text", event->text);
	char *text;

	if (body != NULL && target != NULL) {
		json_object_set_new(body, "target_id", json_string(target->origin.id));
		json_object_set_new(body, "node_id", json_string(target->spec.node_id));
		json_object_set_new(body, "nqn", json_string(target->spec.nqn));
	}
	if (body != NULL) {
		add_of_kind(body, event);
	}
	text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return text;
}

/* Another one with a reference and a text of its own. -ENOMEM. */
static int copy(
	uint64_t number, const struct xreg_health_event *event, struct xreg_health_note *ret_note)
{
	char *text = strdup(event->text);

	if (text == NULL) {
		return -ENOMEM;
	}
	*ret_note = (struct xreg_health_note){.number = number, .event = *event};
	ret_note->event.text = text;
	if (event->target != NULL) {
		ret_note->event.target = xreg_target_ref(event->target);
	}
	return 0;
}

void xreg_health_note_free(struct xreg_health_note *note)
{
	xreg_target_unref(note->event.target);
	free((char *)(uintptr_t)note->event.text);
	*note = (struct xreg_health_note){0};
}

/* ---- adding ---- */

void xreg_health_log_add(void *arg, const struct xreg_health_event *event)
{
	struct xreg_health_log *log = arg;
	struct xreg_health_note note;

	pthread_mutex_lock(&log->mutex);
	if (copy(log->last + 1, event, &note) == 0) {
		struct xreg_health_note *place = &log->notes[note.number % log->nr_kept];

		xreg_health_note_free(place);
		*place = note;
		log->last = note.number;
		for (struct xreg_health_watch *watch = log->watches; watch != NULL;
			watch = watch->next) {
			watch->fn(watch);
		}
	}
	pthread_mutex_unlock(&log->mutex);
}

/* ---- reading ---- */

uint64_t xreg_health_log_epoch(const struct xreg_health_log *log)
{
	return log->epoch;
}

uint64_t xreg_health_log_last(struct xreg_health_log *log)
{
	uint64_t last;

	pthread_mutex_lock(&log->mutex);
	last = log->last;
	pthread_mutex_unlock(&log->mutex);
	return last;
}

int xreg_health_log_next(
	struct xreg_health_log *log, uint64_t number, struct xreg_health_note *ret_note)
{
	int rc = -ENOENT;
	uint64_t first;

	pthread_mutex_lock(&log->mutex);
	first = log->last < log->nr_kept ? 1 : log->last - log->nr_kept + 1;
	if (number < log->last) {
		number = number + 1 > first ? number + 1 : first;
		rc = copy(number, &log->notes[number % log->nr_kept].event, ret_note);
	}
	pthread_mutex_unlock(&log->mutex);
	return rc;
}

bool xreg_health_log_resume(
	struct xreg_health_log *log, uint64_t epoch, uint64_t number, uint64_t *ret_number)
{
	const bool is_known = epoch == log->epoch && number <= xreg_health_log_last(log);

	*ret_number = is_known ? number : 0;
	return is_known;
}

void xreg_health_log_watch(struct xreg_health_log *log, struct xreg_health_watch *watch)
{
	pthread_mutex_lock(&log->mutex);
	watch->next = log->watches;
	watch->at = &log->watches;
	if (watch->next != NULL) {
		watch->next->at = &watch->next;
	}
	log->watches = watch;
	pthread_mutex_unlock(&log->mutex);
}

void xreg_health_log_unwatch(struct xreg_health_log *log, struct xreg_health_watch *watch)
{
	pthread_mutex_lock(&log->mutex);
	if (watch->at != NULL) {
		*watch->at = watch->next;
		if (watch->next != NULL) {
			watch->next->at = watch->at;
		}
		watch->at = NULL;
	}
	pthread_mutex_unlock(&log->mutex);
}
