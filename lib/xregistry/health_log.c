/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring of notes under one mutex. Each is a text from the start, since the target's record may be
 * another one when it is read. */
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
			free(log->notes[i].text);
		}
		pthread_mutex_destroy(&log->mutex);
		free(log->notes);
		free(log);
	}
}

/* ---- adding ---- */

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

/* free() it; NULL: no memory. */
static char *text_of(const struct xreg_health_event *event, uint64_t number)
{
	const struct xreg_target *target = event->target;
	json_t *body = json_pack("{s:s, s:I, s:I, s:s}", "type",
		xreg_health_event_name(event->kind), "number", (json_int_t)number, "at_ms",
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

void xreg_health_log_add(void *arg, const struct xreg_health_event *event)
{
	const struct xreg_target *target = event->target;
	struct xreg_health_log *log = arg;
	struct xreg_health_note note = {0};

	snprintf(note.target_id, sizeof(note.target_id), "%s",
		target != NULL ? target->origin.id : "");
	snprintf(note.node_id, sizeof(note.node_id), "%s",
		target != NULL ? target->spec.node_id : "");
	pthread_mutex_lock(&log->mutex);
	note.number = log->last + 1;
	note.text = text_of(event, note.number);
	if (note.text != NULL) {
		struct xreg_health_note *place = &log->notes[note.number % log->nr_kept];

		free(place->text);
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
		*ret_note = log->notes[number % log->nr_kept];
		ret_note->text = strdup(ret_note->text);
		rc = ret_note->text != NULL ? 0 : -ENOMEM;
	}
	pthread_mutex_unlock(&log->mutex);
	return rc;
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
