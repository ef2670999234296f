/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry export and import: targets as text, one JSON object in a line, with their states. What
 * is imported is registered anew, many in a call; each is taken or refused by itself, and why is
 * told with its line. A state that is not the one of a new target is set in a call of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"

#define BATCH_TARGETS  1000u       /* in one call, the registry's limit */
#define BATCH_BYTES    (8u << 20)  /* half of what it takes */
#define LINE_BYTES_MAX (64u << 10) /* of one registration */

/* ---- export ---- */

static const struct cli_arg export_args[] = {
	{"FILE", "the file to write; -: standard output", CLI_FILES},
	{0},
};

static const struct cli_option export_options[] = {{"node", 0, "NODE", "only those of a node"},
	{"location", 0, "PREFIX", "only those whose location begins with this"},
	{"tag", 0, "TAG", "only those that have a tag"},
	{"status", 0, "STATE", "only those in a state", .choices = registry_states},
	REGISTRY_OPTIONS};

/* The members of a registration, out of all that is told of a target. */
static json_t *registration_of(const json_t *target)
{
	static const char *const members[] = {"node_id", "target_info", "storage",
		"performance_caps", "config", "metadata", "ttl_seconds", NULL};
	json_t *registration = json_object(), *value;

	for (size_t i = 0; members[i] != NULL; i++) {
		value = json_object_get(target, members[i]);
		if (value != NULL) {
			json_object_set(registration, members[i], value);
		}
	}
	return registration;
}

static int write_target(const json_t *target, FILE *out)
{
	static const char *const members[] = {
		"target_id", "status", "status_reason", "status_until", NULL};
	json_t *line = json_object();
	int rc;

	for (size_t i = 0; members[i] != NULL; i++) {
		json_object_set(line, members[i], json_object_get(target, members[i]));
	}
	json_object_set_new(line, "registration", registration_of(target));
	rc = json_dumpf(line, out, JSON_COMPACT);
	json_decref(line);
	return rc != 0 || putc('\n', out) == EOF ? -EIO : 0;
}

/* Writes beside the file and renames, so that a failure leaves an old export alone. */
static enum cli_exit write_targets(struct cli *cli, const json_t *targets, const char *path)
{
	bool is_stdout = strcmp(path, "-") == 0;
	char *part = NULL;
	FILE *out = stdout;
	json_t *target;
	int rc = 0;
	size_t i;

	if (!is_stdout) {
		out = asprintf(&part, "%s.part", path) >= 0 ? fopen(part, "we") : NULL;
		rc = out != NULL ? 0 : -errno;
	}
	json_array_foreach (targets, i, target) {
		if (rc == 0) {
			rc = write_target(target, out);
		}
	}
	if (!is_stdout && out != NULL) {
		if (rc == 0 && (fflush(out) != 0 || fsync(fileno(out)) != 0)) {
			rc = -errno;
		}
		if (fclose(out) != 0 && rc == 0) {
			rc = -errno;
		}
		if (rc == 0 && rename(part, path) != 0) {
			rc = -errno;
		}
		if (rc != 0) {
			unlink(part);
		}
	}
	if (rc != 0) {
		cli_say(cli, "%s cannot be written: %s", path, strerror(-rc));
	}
	free(part);
	return rc == 0 ? CLI_OK : CLI_REFUSED;
}

static enum cli_exit run_export(struct cli *cli)
{
	const char *path = cli_word(cli, 0);
	json_t *query, *targets, *page;
	enum cli_exit rc;

	if (strcmp(path, "-") != 0 && !registry_may_write(cli, path)) {
		return CLI_REFUSED;
	}
	query = registry_list_query(cli);
	json_object_set_new(query, "full", json_string("true"));
	rc = registry_list(cli, query, UINT64_MAX, &targets, &page);
	if (rc != CLI_OK) {
		return rc;
	}
	rc = write_targets(cli, targets, path);
	if (rc == CLI_OK && strcmp(path, "-") != 0) {
		if (cli->is_json) {
			json_t *result = json_pack(
				"{s:I}", "exported", (json_int_t)json_array_size(targets));

			cli_print_json(result);
			json_decref(result);
		} else {
			cli_print("%zu targets are in %s", json_array_size(targets), path);
		}
	}
	json_decref(targets);
	json_decref(page);
	return rc;
}

const struct cli_command registry_export_command = {
	.name = "export",
	.help = "Writes targets and their states to a file, one JSON object in a line.",
	.args = export_args,
	.options = export_options,
	.run = run_export,
};

/* ---- import ---- */

static const struct cli_arg import_args[] = {
	{"FILE", "a file of 'export', or with a registration in each line; -: standard input",
		CLI_FILES},
	{0},
};

static const struct cli_option import_options[] = {
	{"update", 'u', .help = "change targets that are at the same place; else they are refused"},
	REGISTRY_OPTIONS};

/* A line that waits for its call. */
struct entry {
	size_t line;
	json_t *state; /* the line; NULL: it says nothing of a state */
};

struct import {
	struct cli *cli;
	const char *name; /* of the file */
	json_t *batch;
	struct entry entries[BATCH_TARGETS];
	size_t count, bytes;
	uint64_t nr_registered, nr_updated, nr_refused, nr_states;
};

static void refuse_line(struct import *import, size_t line, const char *why, const char *field)
{
	import->nr_refused++;
	cli_say(import->cli, "%s:%zu: %s%s%s%s", import->name, line, why,
		field[0] != '\0' ? " (" : "", field, field[0] != '\0' ? ")" : "");
}

/* Minutes from now until a time as the registry writes it; 0: it is over, or there is none. */
static json_int_t minutes_until(const char *text)
{
	struct tm tm = {0};
	time_t end;

	if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL) {
		return 0;
	}
	end = timegm(&tm);
	return end > time(NULL) ? (json_int_t)((end - time(NULL) + 59) / 60) : 0;
}

/* Whether the target has that state; one that is new is available. */
static enum cli_exit has_state(struct import *import, const char *path, bool is_new,
	const char *status, const char *reason, bool *ret_has)
{
	json_t *target;
	enum cli_exit rc;

	if (is_new) {
		*ret_has = strcmp(status, "available") == 0 && reason[0] == '\0';
		return CLI_OK;
	}
	rc = registry_call(import->cli, "GET", path, NULL, NULL, &target);
	*ret_has = rc == CLI_OK && strcmp(get_text(target, "status"), status) == 0 &&
		   strcmp(get_text(target, "status_reason"), reason) == 0;
	json_decref(target);
	return rc;
}

static enum cli_exit set_state(
	struct import *import, const struct entry *entry, const char *id, bool is_new)
{
	const char *status = get_text(entry->state, "status");
	const char *reason = get_text(entry->state, "status_reason");
	json_int_t minutes = minutes_until(get_text(entry->state, "status_until"));
	struct registry_request request = {.method = "PUT", .is_tried = true};
	char path[REGISTRY_PATH_SIZE];
	struct registry_failure failure;
	bool is_there = false;
	json_t *result;
	enum cli_exit rc;

	if (status[0] == '\0' || !registry_path(import->cli, id, "", path)) {
		return CLI_OK;
	}
	/* A registry would go on with a drain that has this reason, and end with unregistering. */
	if (strcmp(reason, "draining") == 0) {
		reason = "was draining";
		minutes = 0;
	}
	rc = has_state(import, path, is_new, status, reason, &is_there);
	if (rc != CLI_OK || is_there || !registry_path(import->cli, id, "/status", path)) {
		return rc;
	}
	request.path = path;
	request.body = json_pack("{s:s, s:s, s:I}", "status", status, "reason", reason,
		"estimated_duration_minutes", minutes);
	rc = registry_request(import->cli, &request, &result, &failure);
	if (rc == CLI_OK) {
		import->nr_states++;
		json_decref(result);
	} else if (rc == CLI_REFUSED) {
		refuse_line(import, entry->line, failure.text, "");
		rc = failure.status >= 400 ? CLI_OK : rc;
	} else {
		cli_say(import->cli, "%s", failure.text);
	}
	return rc;
}

static enum cli_exit take_result(
	struct import *import, const struct entry *entry, const json_t *result)
{
	uint64_t code = get_u64(result, "code");
	bool is_new = code == 201;

	if (code != 200 && code != 201) {
		refuse_line(
			import, entry->line, get_text(result, "detail"), get_text(result, "field"));
		return CLI_OK;
	}
	import->nr_registered += is_new;
	import->nr_updated += !is_new;
	return entry->state == NULL
		       ? CLI_OK
		       : set_state(import, entry, get_text(result, "target_id"), is_new);
}

/* Registers what waits. */
static enum cli_exit flush_batch(struct import *import)
{
	json_t *query = json_object(), *result, *results;
	enum cli_exit rc;

	if (import->count == 0) {
		json_decref(query);
		return CLI_OK;
	}
	registry_add_option(import->cli, query, "update", "update");
	rc = registry_call(import->cli, "POST", "/targets/bulk", query,
		json_pack("{s:O}", "targets", import->batch), &result);
	results = json_object_get(result, "results");
	if (rc == CLI_OK && json_array_size(results) != import->count) {
		cli_say(import->cli,
			"what answers at %.256s is no registry: it says nothing of "
			"what was sent",
			registry_url(import->cli));
		rc = CLI_UNREACHABLE;
	}
	for (size_t i = 0; i < import->count; i++) {
		if (rc == CLI_OK) {
			rc = take_result(import, &import->entries[i], json_array_get(results, i));
		}
		json_decref(import->entries[i].state);
	}
	json_decref(result);
	json_array_clear(import->batch);
	import->count = 0;
	import->bytes = 0;
	return rc;
}

static enum cli_exit take_line(struct import *import, size_t number, const char *text, size_t len)
{
	json_error_t where = {0};
	json_t *line, *registration;
	enum cli_exit rc = CLI_OK;

	if (text[strspn(text, " \t\r\n")] == '\0' && strlen(text) == len) {
		return CLI_OK;
	}
	if (len > LINE_BYTES_MAX) {
		refuse_line(import, number, "the line is longer than any registration", "");
		return CLI_OK;
	}
	line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(line)) {
		refuse_line(
			import, number, line == NULL ? where.text : "a JSON object is needed", "");
		json_decref(line);
		return CLI_OK;
	}
	registration = json_object_get(line, "registration");
	json_array_append(import->batch, registration != NULL ? registration : line);
	import->entries[import->count++] =
		(struct entry){number, registration != NULL ? json_incref(line) : NULL};
	import->bytes += len;
	json_decref(line);
	if (import->count == BATCH_TARGETS || import->bytes >= BATCH_BYTES) {
		rc = flush_batch(import);
	}
	return rc;
}

static enum cli_exit take_lines(struct import *import, FILE *file)
{
	char *text = NULL;
	size_t size = 0, number = 0;
	ssize_t len;
	enum cli_exit rc = CLI_OK;

	while (rc == CLI_OK && (len = getline(&text, &size, file)) >= 0) {
		rc = take_line(import, ++number, text, (size_t)len);
	}
	if (rc == CLI_OK && ferror(file) != 0) {
		cli_say(import->cli, "%s cannot be read: %s", import->name, strerror(errno));
		rc = CLI_REFUSED;
	}
	free(text);
	return rc;
}

static void print_import(const struct import *import)
{
	json_t *result;

	if (!import->cli->is_json) {
		cli_print("%" PRIu64 " registered, %" PRIu64 " changed, %" PRIu64
			  " refused, %" PRIu64 " states set",
			import->nr_registered, import->nr_updated, import->nr_refused,
			import->nr_states);
		return;
	}
	result = json_pack("{s:I, s:I, s:I, s:I}", "registered", (json_int_t)import->nr_registered,
		"updated", (json_int_t)import->nr_updated, "refused",
		(json_int_t)import->nr_refused, "states", (json_int_t)import->nr_states);
	cli_print_json(result);
	json_decref(result);
}

static enum cli_exit run_import(struct cli *cli)
{
	const char *path = cli_word(cli, 0);
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	struct import *import;
	enum cli_exit rc;

	if (file == NULL) {
		cli_say(cli, "%s cannot be read: %s", path, strerror(errno));
		return CLI_REFUSED;
	}
	import = calloc(1, sizeof(*import));
	if (import == NULL) {
		cli_say(cli, "out of memory");
		rc = CLI_REFUSED;
	} else {
		import->cli = cli;
		import->name = path;
		import->batch = json_array();
		rc = take_lines(import, file);
		if (rc == CLI_OK) {
			rc = flush_batch(import);
		}
		print_import(import);
		rc = rc == CLI_OK && import->nr_refused != 0 ? CLI_REFUSED : rc;
		for (size_t i = 0; i < import->count; i++) {
			json_decref(import->entries[i].state);
		}
		json_decref(import->batch);
		free(import);
	}
	if (!is_stdin) {
		fclose(file);
	}
	return rc;
}

const struct cli_command registry_import_command = {
	.name = "import",
	.help = "Registers the targets of a file, each by itself, and sets their states.",
	.about = "What is refused is told with its line, and the others are registered all the "
		 "same.",
	.args = import_args,
	.options = import_options,
	.run = run_import,
};
