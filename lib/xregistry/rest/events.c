/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: a page of the history as JSON, or, for whoever accepts text/event-stream, all that is and
 * comes as server-sent events (HTML 9.2). Each has its revision as its id, so a client that comes
 * back (Last-Event-ID, or ?since=) goes on where it was. What has been forgotten meanwhile is told:
 * 410 for the page, an event "compacted" in a stream, after which it goes on with what comes.
 *
 * A stream belongs to its connection's thread; its wait, which wakes it, is under the waits' lock.
 * With ?health= a stream also has what the health monitor tells (health_log.h), which has numbers
 * and no revisions: then the id of each event is both, "revision.number.epoch". A client that comes
 * back with it misses nothing that is still kept; what is not, and that the registry was started
 * anew meanwhile, is told as an event "health_lost", behind which it goes on with the first there
 * is.
 *
 * A node's agent says that a stream is the node's own (?own=true; own.h).
 *
 * The registry is never held up by a slow client: events are read from the store's history when the
 * connection can take them.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/list.h"
#include "lib/xregistry/health_log.h"
#include "lib/xregistry/rest/own.h"
#include "lib/xregistry/rest/private.h"

#define EVENTS_LIMIT     100u
#define EVENTS_LIMIT_MAX 1000u
#define CHUNK            32u /* events read at a time */
#define QUIET_NS         (15ull * 1000000000u)
#define RETRY_MS         1000u

struct filter {
	char node_id[XREG_NAME_MAX + 1];
	char target_id[XREG_ID_SIZE];
};

struct stream {
	struct xreg_wait wait;
	struct xreg_rest *rest;
	struct xrpc_http_call *call;
	struct filter filter;
	uint64_t revision; /* the last that was looked at */
	char *text;        /* being sent, from `sent` on */
	size_t len, sent;
	struct rest_own own;            /* its is_tick: say that we are still here */
	bool is_own;                    /* the node's */
	struct xreg_health_log *health; /* NULL: it was not asked for */
	struct xreg_health_watch watch;
	uint64_t number;     /* of the last of those */
	bool is_health_lost; /* to be told */
};

static bool passes(const struct filter *filter, const struct xreg_target *target)
{
	return (filter->node_id[0] == '\0' || strcmp(filter->node_id, target->spec.node_id) == 0) &&
	       (filter->target_id[0] == '\0' || strcmp(filter->target_id, target->origin.id) == 0);
}

static bool is_wanted(const struct filter *filter, const struct xreg_event *event)
{
	return passes(filter, event->after != NULL ? event->after : event->before);
}

static bool read_filter(struct xrpc_http_call *call, struct filter *filter)
{
	const char *node_id = xrpc_http_query(call, "node_id");
	const char *target_id = xrpc_http_query(call, "target_id");

	if ((node_id != NULL && strlen(node_id) >= sizeof(filter->node_id)) ||
		(target_id != NULL && strlen(target_id) >= sizeof(filter->target_id))) {
		xrpc_http_problem(call, 400, NULL, "no node and no target has so long a name");
		return false;
	}
	snprintf(filter->node_id, sizeof(filter->node_id), "%s", node_id != NULL ? node_id : "");
	snprintf(filter->target_id, sizeof(filter->target_id), "%s",
		target_id != NULL ? target_id : "");
	return true;
}

static uint64_t current_revision(const struct xreg_rest *rest)
{
	struct xreg_view *view = xreg_store_view(rest->opts.store);
	uint64_t revision = xreg_view_revision(view);

	xreg_view_unref(view);
	return revision;
}

/* ---- the page ---- */

static void answer_page(struct xreg_rest *rest, struct xrpc_http_call *call)
{
	uint64_t since = 0, limit = EVENTS_LIMIT, last;
	struct xreg_event events[CHUNK];
	struct filter filter;
	uint32_t count = 1;
	json_t *list;
	int rc = 0;

	if (!rest_query_number(call, "since", 0, UINT64_MAX - 1, &since) ||
		!rest_query_number(call, "index", 0, UINT64_MAX - 1, &since) ||
		!rest_query_number(call, "limit", 1, EVENTS_LIMIT_MAX, &limit) ||
		!read_filter(call, &filter)) {
		return;
	}
	list = json_array();
	for (last = since; rc == 0 && count != 0 && json_array_size(list) < limit;) {
		rc = xreg_store_events(rest->opts.store, last, events, CHUNK, &count);
		for (uint32_t i = 0; i < count && json_array_size(list) < limit; i++) {
			last = events[i].revision;
			if (is_wanted(&filter, &events[i])) {
				json_array_append_new(list, rest_event(rest, &events[i]));
			}
		}
		xreg_events_free(events, count);
	}
	if (rc != 0) {
		json_decref(list);
		xrpc_http_problem_with(call, 410, "since",
			json_pack("{s:I}", "revision", (json_int_t)current_revision(rest)),
			"compacted: what happened after that revision is not all known any more; "
			"read the targets again and go on from the index of that answer");
		return;
	}
	rest_add_index(call, last);
	xrpc_http_answer(
		call, 200, json_pack("{s:o, s:I}", "events", list, "revision", (json_int_t)last));
}

/* ---- the stream ---- */

/* Takes the text, which is to be sent next. */
static void send_text(struct stream *stream, char *text)
{
	free(stream->text);
	stream->text = text;
	stream->len = text != NULL ? strlen(text) : 0;
	stream->sent = 0;
}

/* An event with the stream's place as its id. */
static char *text_with(const struct stream *stream, const char *kind, const char *json)
{
	char id[80], *text = NULL;

	if (stream->health != NULL) {
		snprintf(id, sizeof(id), "%llu.%llu.%llu", (unsigned long long)stream->revision,
			(unsigned long long)stream->number,
			(unsigned long long)xreg_health_log_epoch(stream->health));
	} else {
		snprintf(id, sizeof(id), "%llu", (unsigned long long)stream->revision);
	}
	return asprintf(&text, "id: %s\nevent: %s\ndata: %s\n\n", id, kind, json) < 0 ? NULL : text;
}

static char *text_of(const struct stream *stream, const char *kind, json_t *data)
{
	char *json = data != NULL ? json_dumps(data, JSON_COMPACT) : NULL;
	char *text = json != NULL ? text_with(stream, kind, json) : NULL;

	json_decref(data);
	free(json);
	return text;
}

/* The events are gone: says so, and goes on with the next that come. */
static void send_compacted(struct stream *stream)
{
	stream->revision = current_revision(stream->rest);
	send_text(stream, text_of(stream, "compacted",
				  json_pack("{s:I}", "revision", (json_int_t)stream->revision)));
}

static void send_health(struct stream *stream, const struct xreg_health_note *note)
{
	char *json = xreg_health_note_json(note);

	send_text(stream, json != NULL ? text_with(stream, "health", json) : NULL);
	free(json);
}

static void send_health_lost(struct stream *stream)
{
	stream->is_health_lost = false;
	send_text(stream, text_of(stream, "health_lost",
				  json_pack("{s:I}", "number", (json_int_t)stream->number)));
}

/* The next of what the monitor has told; false: there is none now. */
static bool next_health(struct stream *stream)
{
	struct xreg_health_note note;
	bool has_text = false;

	if (stream->is_health_lost) {
		send_health_lost(stream);
		return true;
	}
	while (!has_text && stream->health != NULL &&
		xreg_health_log_next(stream->health, stream->number, &note) == 0) {
		if (note.number != stream->number + 1) {
			stream->number = note.number - 1;
			send_health_lost(stream);
			has_text = true;
		} else {
			stream->number = note.number;
			has_text = note.event.target == NULL ||
				   passes(&stream->filter, note.event.target);
			if (has_text) {
				send_health(stream, &note);
			}
		}
		xreg_health_note_free(&note);
	}
	return has_text;
}

/* The next event of the store; false: there is none now. */
static bool next_event(struct stream *stream)
{
	struct xreg_event events[CHUNK];
	bool has_text = false;
	uint32_t count = 1, used = 0;

	while (!has_text && count != 0) {
		if (xreg_store_events(stream->rest->opts.store, stream->revision, events, CHUNK,
			    &count) != 0) {
			send_compacted(stream);
			return true;
		}
		for (used = 0; used < count && !has_text; used++) {
			stream->revision = events[used].revision;
			if (is_wanted(&stream->filter, &events[used])) {
				json_t *body = rest_event(stream->rest, &events[used]);
				const char *kind = json_string_value(json_object_get(body, "type"));

				json_incref(body);
				send_text(stream,
					text_of(stream, kind != NULL ? kind : "updated", body));
				json_decref(body);
				has_text = true;
			}
		}
		xreg_events_free(events, count);
	}
	return has_text;
}

static bool next_text(struct stream *stream)
{
	return next_event(stream) || next_health(stream);
}

static ssize_t on_read(void *arg, char *buf, size_t size)
{
	struct stream *stream = arg;
	size_t part;

	if (xreg_waits_has_ended(stream->rest->opts.waits)) {
		return -1;
	}
	if (stream->sent == stream->len && !next_text(stream)) {
		if (!atomic_exchange(&stream->own.is_tick, false)) {
			return 0;
		}
		send_text(stream, strdup(":\n\n"));
	}
	part = stream->len - stream->sent < size ? stream->len - stream->sent : size;
	if (part == 0) {
		return -1; /* no memory: the client comes back */
	}
	memcpy(buf, stream->text + stream->sent, part);
	stream->sent += part;
	return (ssize_t)part;
}

/* Whether a stream may be, and is, the node's own; false: it has been answered. */
static bool read_own(struct xrpc_http_call *call, bool *ret_is_own)
{
	const char *node_id = xrpc_http_query(call, "node_id");

	*ret_is_own = false;
	if (!rest_query_bool(call, "own", ret_is_own)) {
		return false;
	}
	if (*ret_is_own && (node_id == NULL || node_id[0] == '\0')) {
		xrpc_http_problem(call, 422, "own", "a stream is a node's own with its node_id");
		return false;
	}
	if (*ret_is_own && xrpc_http_role(call) < XRPC_ROLE_REGISTER) {
		xrpc_http_problem(call, 403, "own", "a node's own stream needs the role '%s'",
			xrpc_role_names[XRPC_ROLE_REGISTER]);
		return false;
	}
	return true;
}

static void on_gone(void *arg)
{
	struct stream *stream = arg;

	if (stream->is_own) {
		rest_own_end(stream->rest->owns, &stream->own);
	}
	xreg_waits_remove(stream->rest->opts.waits, &stream->wait);
	if (stream->health != NULL) {
		xreg_health_log_unwatch(stream->health, &stream->watch);
	}
	free(stream->text);
	free(stream);
}

static void on_due(struct xreg_wait *wait, uint64_t revision)
{
	struct stream *stream = (struct stream *)wait;

	if (revision <= wait->revision) {
		stream->own.is_tick = true;
	}
	wait->revision = revision;
	wait->deadline_ns = xreg_clock_ns() + QUIET_NS;
	xrpc_http_wake(stream->call);
}

static void on_health(struct xreg_health_watch *watch)
{
	xrpc_http_wake(xu_container_of(watch, struct stream, watch)->call);
}

/* Where a client goes on that gives the last id it has seen. */
static void go_on_from(struct stream *stream, const char *id)
{
	char *end;
	uint64_t revision = strtoull(id, &end, 10), number = 0, epoch = 0;

	if (end == id) {
		return;
	}
	if (*end == '.' && stream->health != NULL) {
		number = strtoull(end + 1, &end, 10);
		epoch = *end == '.' ? strtoull(end + 1, &end, 10) : 0;
		stream->is_health_lost =
			!xreg_health_log_resume(stream->health, epoch, number, &stream->number);
	} else if (*end != '\0' && *end != '.') {
		return;
	}
	stream->revision = revision;
}

static void start_stream(struct xreg_rest *rest, struct xrpc_http_call *call)
{
	const char *last = xrpc_http_header(call, "Last-Event-ID");
	uint64_t since = current_revision(rest);
	bool has_health = false, is_own;
	struct stream *stream;
	char hello[64];

	if (!rest_query_number(call, "since", 0, UINT64_MAX - 1, &since) ||
		!rest_query_bool(call, "health", &has_health) || !read_own(call, &is_own)) {
		return;
	}
	stream = calloc(1, sizeof(*stream));
	if (stream == NULL) {
		xrpc_http_problem(call, 500, NULL, "no memory");
		return;
	}
	if (!read_filter(call, &stream->filter)) {
		free(stream);
		return;
	}
	stream->rest = rest;
	stream->call = call;
	stream->revision = since;
	stream->is_own = is_own && rest->owns != NULL;
	stream->own = (struct rest_own){.call = call, .node_id = stream->filter.node_id};
	if (has_health && rest->opts.health_log != NULL) {
		stream->health = rest->opts.health_log;
		stream->watch.fn = on_health;
		stream->number = xreg_health_log_last(stream->health);
	}
	if (last != NULL) {
		go_on_from(stream, last);
	}
	stream->wait = (struct xreg_wait){.revision = stream->revision,
		.deadline_ns = xreg_clock_ns() + QUIET_NS,
		.is_lasting = true,
		.fn = on_due};
	snprintf(hello, sizeof(hello), "retry: %u\n\n", RETRY_MS);
	send_text(stream, strdup(hello));
	xrpc_http_answer_stream(call, "text/event-stream",
		&(struct xrpc_http_stream){
			on_read, on_gone, stream, stream->is_own ? REST_OWN_SILENCE_MS : 0});
	xreg_waits_add(rest->opts.waits, &stream->wait);
	if (stream->is_own) {
		rest_own_begin(rest->owns, &stream->own);
	}
	if (stream->health != NULL) {
		xreg_health_log_watch(stream->health, &stream->watch);
		xrpc_http_wake(call); /* what came before it watched */
	}
}

void rest_events(struct xrpc_http_call *call, void *arg)
{
	static const char *const known[] = {
		"since", "limit", "node_id", "target_id", "index", "wait", "health", "own", NULL};
	const char *accept = xrpc_http_header(call, "Accept");
	const bool is_stream = accept != NULL && strstr(accept, "text/event-stream") != NULL;

	if (!rest_query_check(call, known)) {
		return;
	}
	if (is_stream) {
		start_stream(arg, call);
	} else if (xrpc_http_query(call, "health") != NULL) {
		xrpc_http_problem(call, 422, "health",
			"what the health monitor tells is in streams only: Accept: "
			"text/event-stream");
	} else if (xrpc_http_query(call, "own") != NULL) {
		xrpc_http_problem(call, 422, "own",
			"only a stream can be a node's own: Accept: text/event-stream");
	} else {
		rest_when_newer(arg, call, answer_page);
	}
}
