/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry watch: what happens to targets, as it happens, over server-sent events (HTML 9.2). A
 * connection that is lost, or silent for longer than the registry ever is, is made again, and the
 * registry told what the last event was, so none is missed and none is shown twice. What the
 * registry has forgotten meanwhile it says itself ("compacted"), and so do we.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"

#define LINE_MAX_BYTES (4u << 20) /* an event has a few KiB */
#define QUIET_S        45u        /* three of the registry's signs of life */
#define RETRY_MS       1000u
#define RETRY_MAX_MS   10000u

static const struct cli_option watch_options[] = {
	{"since", 0, "REVISION", "begin with what came after it (default: from now on)"},
	{"node", 0, "NODE", "only targets of a node"},
	{"target", 0, "TARGET", "only a target", CLI_TARGETS},
	{"count", 'n', "COUNT", "end after so many events"},
	{"give-up", 0, "SECONDS", "end when no registry has answered for so long (default: never)"},
	REGISTRY_OPTIONS};

struct watch {
	struct cli *cli;
	uint64_t last; /* revision that was seen last */
	uint64_t nr_left, retry_ms, give_up_ms;
	bool is_over, has_answered;

	char *line; /* being collected */
	size_t len, size;
	char *data, kind[32];
	uint64_t id;
	bool has_id;
};

/* ---- events ---- */

static void print_event(const struct watch *watch, json_t *event)
{
	const json_t *target = json_object_get(event, "target");
	char what[REGISTRY_WHAT_SIZE];

	if (watch->cli->is_json) {
		json_object_set_new(event, "type", json_string(watch->kind));
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (strcmp(watch->kind, "compacted") == 0) {
		cli_print("compacted: what happened up to revision %" PRIu64
			  " is not all known any more; 'xsan registry list' shows what there is",
			watch->id);
	} else {
		registry_event_what(event, what);
		cli_print("%s  %" PRIu64 "  %s  %s  %s  %s%s%s", get_text(event, "at"), watch->id,
			watch->kind, get_text(event, "target_id"), get_text(event, "node_id"),
			get_text(target, "nqn"), what[0] != '\0' ? "  " : "", what);
	}
	fflush(stdout);
}

/* An empty line: the event is whole. False: enough has been seen. */
static bool end_event(struct watch *watch)
{
	json_t *event = watch->data != NULL ? json_loads(watch->data, 0, NULL) : NULL;

	if (json_is_object(event) && watch->has_id && watch->kind[0] != '\0') {
		watch->last = watch->id;
		print_event(watch, event);
		watch->is_over = --watch->nr_left == 0 || ferror(stdout) != 0;
	}
	json_decref(event);
	free(watch->data);
	watch->data = NULL;
	watch->kind[0] = '\0';
	watch->has_id = false;
	return !watch->is_over;
}

static void set_field(struct watch *watch, const char *name, const char *value)
{
	char *end;
	unsigned long long number = strtoull(value, &end, 10);
	bool is_number = value[0] >= '0' && value[0] <= '9' && *end == '\0';

	if (strcmp(name, "data") == 0) {
		free(watch->data);
		watch->data = strdup(value);
	} else if (strcmp(name, "event") == 0) {
		snprintf(watch->kind, sizeof(watch->kind), "%s", value);
	} else if (strcmp(name, "id") == 0 && is_number) {
		watch->id = number;
		watch->has_id = true;
	} else if (strcmp(name, "retry") == 0 && is_number) {
		watch->retry_ms = number < RETRY_MAX_MS ? number : RETRY_MAX_MS;
	}
}

static bool take_line(struct watch *watch)
{
	char *colon, *value = "";

	watch->has_answered = true;
	if (watch->len > 0 && watch->line[watch->len - 1] == '\r') {
		watch->len--;
	}
	watch->line[watch->len] = '\0';
	if (watch->len == 0) {
		return end_event(watch);
	}
	colon = strchr(watch->line, ':');
	if (colon != NULL) {
		*colon = '\0';
		value = colon + 1 + (colon[1] == ' ');
	}
	set_field(watch, watch->line, value);
	return true;
}

static bool on_data(void *arg, const char *data, size_t len)
{
	struct watch *watch = arg;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			bool is_wanted = take_line(watch);

			watch->len = 0;
			if (!is_wanted) {
				return false;
			}
			continue;
		}
		if (watch->len + 1 >= watch->size) {
			size_t size = watch->size != 0 ? 2 * watch->size : 4096;
			char *more = size <= LINE_MAX_BYTES ? realloc(watch->line, size) : NULL;

			if (more == NULL) {
				return false; /* it is no event: another connection */
			}
			watch->line = more;
			watch->size = size;
		}
		watch->line[watch->len++] = data[i];
	}
	return true;
}

/* ---- connections ---- */

static void forget_line(struct watch *watch)
{
	free(watch->data);
	watch->data = NULL;
	watch->kind[0] = '\0';
	watch->has_id = false;
	watch->len = 0;
	watch->has_answered = false;
}

static enum cli_exit connect_once(struct watch *watch, struct registry_failure *failure)
{
	struct registry_request request = {.method = "GET",
		.path = "/events",
		.header = "Accept: text/event-stream",
		.type = "text/event-stream",
		.on_data = on_data,
		.arg = watch,
		.quiet_s = QUIET_S,
		.is_tried = true};
	json_t *none;
	char since[32];

	forget_line(watch);
	request.query = json_object();
	snprintf(since, sizeof(since), "%" PRIu64, watch->last);
	json_object_set_new(request.query, "since", json_string(since));
	registry_add_option(watch->cli, request.query, "node", "node_id");
	registry_add_option(watch->cli, request.query, "target", "target_id");
	return registry_request(watch->cli, &request, &none, failure);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms)
{
	struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left) != 0 && errno == EINTR) {
	}
}

/* Connects until enough was seen; each outage is told once, and its end. */
static enum cli_exit watch_on(struct watch *watch)
{
	uint64_t lost_ms = 0, delay_ms = 0;
	bool is_lost = false;

	for (;;) {
		struct registry_failure failure;
		enum cli_exit rc = connect_once(watch, &failure);

		if (watch->is_over) {
			return CLI_OK;
		}
		if (rc != CLI_OK && failure.is_final) {
			cli_say(watch->cli, "%s", failure.text);
			return rc;
		}
		if (watch->has_answered || !is_lost) {
			is_lost = true;
			lost_ms = now_ms();
			delay_ms = watch->retry_ms;
			cli_say(watch->cli,
				"the connection to %.256s is lost (%.512s); going on behind "
				"revision %" PRIu64 " when there is one again",
				registry_url(watch->cli),
				rc == CLI_OK ? "the registry has ended it" : failure.text,
				watch->last);
		}
		if (watch->give_up_ms != 0 && now_ms() - lost_ms >= watch->give_up_ms) {
			cli_say(watch->cli, "no registry has answered for %g s: giving up",
				(double)watch->give_up_ms / 1000);
			return CLI_UNREACHABLE;
		}
		sleep_ms(delay_ms);
		delay_ms = 2 * delay_ms < RETRY_MAX_MS ? 2 * delay_ms : RETRY_MAX_MS;
	}
}

/* From now on is from a revision on, so that nothing is missed when the first connection is lost
 * before its first event. A registry that cannot be reached now is not waited for. */
static enum cli_exit begin(struct watch *watch)
{
	const char *text = cli_option(watch->cli, "since");
	json_t *status;
	enum cli_exit rc;

	if (text != NULL) {
		rc = cli_parse_u64(watch->cli, "--since", text, 0, INT64_MAX, &watch->last);
		if (rc != CLI_OK) {
			return rc;
		}
	}
	rc = registry_call(watch->cli, "GET", "/status", NULL, NULL, &status);
	if (rc == CLI_OK && text == NULL) {
		watch->last = get_u64(status, "revision");
	}
	json_decref(status);
	return rc;
}

static enum cli_exit run_watch(struct cli *cli)
{
	const char *count = cli_option(cli, "count"), *give_up = cli_option(cli, "give-up");
	struct watch watch = {.cli = cli, .nr_left = UINT64_MAX, .retry_ms = RETRY_MS};
	enum cli_exit rc = CLI_OK;

	if (count != NULL) {
		rc = cli_parse_u64(cli, "--count", count, 1, INT64_MAX, &watch.nr_left);
	}
	if (rc == CLI_OK && give_up != NULL) {
		rc = cli_parse_seconds(
			cli, "--give-up", give_up, 100, 24 * 3600 * 1000, &watch.give_up_ms);
	}
	if (rc == CLI_OK) {
		rc = begin(&watch);
	}
	if (rc == CLI_OK) {
		rc = watch_on(&watch);
	}
	free(watch.line);
	free(watch.data);
	return rc;
}

const struct cli_command registry_watch_command = {
	.name = "watch",
	.help = "Shows what happens to targets, as it happens.",
	.about =
		"A connection that is lost is made again, and nothing is missed or shown twice.\n"
		"What the registry has forgotten meanwhile is told: \"compacted\". With --json an\n"
		"event is one line.",
	.options = watch_options,
	.run = run_watch,
};
