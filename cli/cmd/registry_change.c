/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry register, update, status, report, drain, delete: what changes a target. What a target is
 * can be given as a file (the body of the REST call) and by options, which come before the file.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "lib/util/size.h"

/* ---- what a target is ---- */

enum kind { TEXT, NUMBER, REAL, SIZE, LIST };

/* An option and where in a registration it belongs: a section ("" for none) and a member. */
static const struct {
	const char *option, *section, *member;
	enum kind kind;
} fields[] = {
	{"node", "", "node_id", TEXT},
	{"nqn", "target_info", "nqn", TEXT},
	{"transport", "target_info", "transport", TEXT},
	{"address", "target_info", "address", TEXT},
	{"port", "target_info", "port", NUMBER},
	{"capacity", "target_info", "namespace_capacity", SIZE},
	{"max-iops", "performance_caps", "max_iops", NUMBER},
	{"max-bandwidth", "performance_caps", "max_bandwidth_mbps", NUMBER},
	{"latency", "performance_caps", "avg_latency_us", NUMBER},
	{"location", "metadata", "location", TEXT},
	{"tags", "config", "tags", LIST},
	{"weight", "config", "weight", REAL},
	{"ttl", "", "ttl_seconds", NUMBER},
};

#define TARGET_OPTIONS                                                                             \
	{"node", 0, "NODE", "the node that serves it"},                                            \
		{"nqn", 0, "NQN", "NVMe qualified name of the subsystem"},                         \
		{"transport", 0, "TRANSPORT", "how hosts reach it (default tcp)",                  \
			.choices = registry_transports},                                           \
		{"address", 0, "ADDRESS", "numeric address that hosts connect to"},                \
		{"port", 0, "PORT", "port, 1 to 65535"},                                           \
		{"capacity", 0, "SIZE", "of its namespace, such as 2TiB"},                         \
		{"max-iops", 0, "COUNT", "I/Os a second that it can do"},                          \
		{"max-bandwidth", 0, "MBPS", "megabytes a second that it can do"},                 \
		{"latency", 0, "MICROSECONDS", "its mean latency"},                                \
		{"location", 0, "PLACE", "where it is, such as rack-1-slot-3"},                    \
		{"tags", 0, "TAG,TAG...", "its tags; an empty text takes them away"},              \
		{"weight", 0, "WEIGHT", "its share of what is balanced, 0 to 1000 (default 1)"},   \
	{                                                                                          \
		"ttl", 0, "SECONDS", "it goes offline without a report for so long (0: never)"     \
	}

static json_t *tags_of(const char *text)
{
	json_t *tags = json_array();

	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		json_array_append_new(tags, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	return tags;
}

/* The JSON value of an option's text; NULL: it cannot be one, which has been said. */
static json_t *field_value(struct cli *cli, const char *option, enum kind kind, const char *text)
{
	uint64_t number = 0;
	char what[32], *end;
	double real;

	snprintf(what, sizeof(what), "--%s", option);
	switch (kind) {
	case NUMBER:
		return cli_parse_u64(cli, what, text, 0, INT64_MAX, &number) == CLI_OK
			       ? json_integer((json_int_t)number)
			       : NULL;
	case SIZE:
		if (xu_size_parse(text, &number) != 0 || number > INT64_MAX) {
			cli_usage(cli, "%s '%s' is not a size such as 2TiB", what, text);
			return NULL;
		}
		return json_integer((json_int_t)number);
	case REAL:
		real = strtod(text, &end);
		if (!isdigit((unsigned char)text[0]) || *end != '\0' || !(real <= 1000)) {
			cli_usage(cli, "%s '%s' is not a number from 0 to 1000", what, text);
			return NULL;
		}
		return json_real(real);
	case LIST:
		return tags_of(text);
	default:
		break;
	}
	return json_string(text);
}

static enum cli_exit set_field(struct cli *cli, size_t index, json_t *body)
{
	const char *text = cli_option(cli, fields[index].option);
	const char *section = fields[index].section;
	json_t *value, *object = body;

	if (text == NULL) {
		return CLI_OK;
	}
	value = field_value(cli, fields[index].option, fields[index].kind, text);
	if (value == NULL) {
		return CLI_USAGE;
	}
	if (section[0] != '\0') {
		object = json_object_get(body, section);
		if (!json_is_object(object)) {
			object = json_object();
			json_object_set_new(body, section, object);
		}
	}
	json_object_set_new(object, fields[index].member, value);
	return CLI_OK;
}

/* The file and the options together. */
static enum cli_exit read_target(struct cli *cli, const char *path, json_t **ret_body)
{
	json_t *body = path != NULL ? registry_read_json(cli, path) : json_object();
	enum cli_exit rc = body != NULL ? CLI_OK : CLI_REFUSED;

	for (size_t i = 0; rc == CLI_OK && i < sizeof(fields) / sizeof(fields[0]); i++) {
		rc = set_field(cli, i, body);
	}
	if (rc == CLI_OK && json_object_size(body) == 0) {
		rc = cli_usage(cli, "nothing is said of the target: give a file, or options");
	}
	if (rc != CLI_OK) {
		json_decref(body);
		return rc;
	}
	*ret_body = body;
	return CLI_OK;
}

/* Prints the result (taken), or, for people, `fmt` with the target's id in it. */
static enum cli_exit finish(
	const struct cli *cli, enum cli_exit rc, json_t *result, const char *id, const char *what)
{
	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	cli_print("target %s %s", id, what);
	json_decref(result);
	return CLI_OK;
}

/* "If-Match" for --if-revision; "" without it. */
static enum cli_exit read_condition(struct cli *cli, char header[64])
{
	const char *text = cli_option(cli, "if-revision");
	uint64_t revision;

	header[0] = '\0';
	if (text == NULL) {
		return CLI_OK;
	}
	if (cli_parse_u64(cli, "--if-revision", text, 1, INT64_MAX, &revision) != CLI_OK) {
		return CLI_USAGE;
	}
	snprintf(header, 64, "If-Match: \"%" PRIu64 "\"", revision);
	return CLI_OK;
}

/* ---- register ---- */

static const struct cli_arg register_args[] = {
	{"FILE", "a registration as JSON; -: from standard input", CLI_FILES, .is_optional = true},
	{0},
};

static const struct cli_option register_options[] = {
	{"update", 'u', .help = "change the target that is at the same place, if there is one"},
	TARGET_OPTIONS, REGISTRY_OPTIONS};

static enum cli_exit run_register(struct cli *cli)
{
	json_t *body, *result, *query = NULL;
	const char *id;
	enum cli_exit rc = read_target(cli, cli_word(cli, 0), &body);

	if (rc != CLI_OK) {
		return rc;
	}
	if (cli_option(cli, "update") != NULL) {
		query = json_pack("{s:s}", "update", "true");
	}
	rc = registry_call(cli, "POST", "/targets", query, body, &result);
	id = get_text(result, "target_id");
	return finish(cli, rc, result, id,
		strcmp(get_text(result, "status"), "updated") == 0 ? "is changed"
								   : "is registered");
}

const struct cli_command registry_register_command = {
	.name = "register",
	.help = "Registers a target.",
	.args = register_args,
	.options = register_options,
	.run = run_register,
};

/* ---- update ---- */

static const struct cli_arg update_args[] = {
	{"TARGET", "the target's id, tgt-…", CLI_TARGETS},
	{"FILE", "what changes as JSON, where null takes away; -: from standard input", CLI_FILES,
		.is_optional = true},
	{0},
};

static const struct cli_option update_options[] = {
	{"replace", 0,
		.help = "FILE is a whole registration, which takes the place of the old one"},
	{"if-revision", 0, "REVISION", "only if the target still has this revision"},
	TARGET_OPTIONS, REGISTRY_OPTIONS};

static enum cli_exit run_update(struct cli *cli)
{
	struct registry_request request = {.method = "PATCH"};
	const char *id = cli_word(cli, 0);
	char path[REGISTRY_PATH_SIZE], header[64];
	json_t *result;
	enum cli_exit rc = read_condition(cli, header);

	if (rc == CLI_OK && !registry_path(cli, id, "", path)) {
		rc = CLI_REFUSED;
	}
	if (rc == CLI_OK) {
		rc = read_target(cli, cli_word(cli, 1), &request.body);
	}
	if (rc != CLI_OK) {
		return rc;
	}
	if (cli_option(cli, "replace") != NULL) {
		request.method = "PUT";
	}
	request.path = path;
	request.header = header[0] != '\0' ? header : NULL;
	rc = registry_request(cli, &request, &result, NULL);
	return finish(cli, rc, result, id, "is changed");
}

const struct cli_command registry_update_command = {
	.name = "update",
	.help = "Changes what a target says of itself.",
	.args = update_args,
	.options = update_options,
	.run = run_update,
};

/* ---- status ---- */

static const struct cli_arg status_args[] = {
	{"TARGET", "the target's id, tgt-…", CLI_TARGETS},
	{"STATE", "its state from now on", .choices = registry_states},
	{0},
};

static const struct cli_option status_options[] = {{"reason", 'r', "TEXT", "why, for people"},
	{"minutes", 'm', "MINUTES", "how long it is going to last, 1 to 525600"},
	{"if-revision", 0, "REVISION", "only if the target still has this revision"},
	REGISTRY_OPTIONS};

static enum cli_exit run_status(struct cli *cli)
{
	const char *id = cli_word(cli, 0), *state = cli_word(cli, 1);
	const char *reason = cli_option(cli, "reason"), *minutes_text = cli_option(cli, "minutes");
	struct registry_request request = {.method = "PUT"};
	char path[REGISTRY_PATH_SIZE], header[64], what[64];
	uint64_t minutes = 0;
	json_t *result;
	enum cli_exit rc = read_condition(cli, header);

	if (rc == CLI_OK && minutes_text != NULL) {
		rc = cli_parse_u64(cli, "--minutes", minutes_text, 1, 525600, &minutes);
	}
	if (rc == CLI_OK && !registry_path(cli, id, "/status", path)) {
		rc = CLI_REFUSED;
	}
	if (rc != CLI_OK) {
		return rc;
	}
	request.path = path;
	request.header = header[0] != '\0' ? header : NULL;
	request.body = json_pack("{s:s}", "status", state);
	if (reason != NULL) {
		json_object_set_new(request.body, "reason", json_string(reason));
	}
	if (minutes != 0) {
		json_object_set_new(request.body, "estimated_duration_minutes",
			json_integer((json_int_t)minutes));
	}
	rc = registry_request(cli, &request, &result, NULL);
	snprintf(what, sizeof(what), "is %s", state);
	return finish(cli, rc, result, id, what);
}

const struct cli_command registry_status_command = {
	.name = "status",
	.help = "Sets the state of a target.",
	.about = "What is chosen and shown to hosts depends on it: targets that are available are\n"
		 "chosen first, then degraded ones, the others are not.",
	.args = status_args,
	.options = status_options,
	.run = run_status,
};

/* ---- report ---- */

const char *const registry_metrics[] = {"current_iops", "current_bandwidth_mbps", "avg_latency_us",
	"load_percentage", "active_connections", "io_count", "error_count", "uptime_seconds",
	"error_rate", "cpu_usage", "memory_usage", NULL};

static const struct cli_arg report_args[] = {
	{"TARGET", "the target's id, tgt-…", CLI_TARGETS},
	{"NAME=VALUE", "what is reported, see below", CLI_METRICS, .is_repeated = true},
	{0},
};

static void report_help(void)
{
	printf("What can be reported; what is left out stays as it was:\n");
	for (size_t i = 0; registry_metrics[i] != NULL; i++) {
		printf("  %s\n", registry_metrics[i]);
	}
	printf("error_rate, cpu_usage and memory_usage are 0 to 1, load_percentage 0 to 100.\n");
}

static enum cli_exit add_metric(struct cli *cli, const char *word, json_t *body)
{
	size_t len = strcspn(word, "="), i = 0;
	json_t *value;

	while (registry_metrics[i] != NULL &&
		(strlen(registry_metrics[i]) != len ||
			strncmp(registry_metrics[i], word, len) != 0)) {
		i++;
	}
	if (registry_metrics[i] == NULL || word[len] == '\0') {
		return cli_usage(cli, "'%s' is no NAME=VALUE of a report", word);
	}
	value = json_loads(word + len + 1, JSON_DECODE_ANY, NULL);
	if (!json_is_number(value)) {
		json_decref(value);
		return cli_usage(cli, "%s '%s' is no number", registry_metrics[i], word + len + 1);
	}
	json_object_set_new(body, registry_metrics[i], value);
	return CLI_OK;
}

static enum cli_exit run_report(struct cli *cli)
{
	const char *id = cli_word(cli, 0);
	char path[REGISTRY_PATH_SIZE], what[64];
	json_t *body = json_object(), *result;
	enum cli_exit rc = CLI_OK;

	for (size_t i = 1; rc == CLI_OK && i < cli->nr_words; i++) {
		rc = add_metric(cli, cli->words[i], body);
	}
	if (rc == CLI_OK && !registry_path(cli, id, "/metrics", path)) {
		rc = CLI_REFUSED;
	}
	if (rc != CLI_OK) {
		json_decref(body);
		return rc;
	}
	rc = registry_call(cli, "PUT", path, NULL, body, &result);
	snprintf(what, sizeof(what), "is %.16s, health %" PRIu64, get_text(result, "status"),
		get_u64(result, "health_score"));
	return finish(cli, rc, result, id, what);
}

const struct cli_command registry_report_command = {
	.name = "report",
	.help = "Reports how a target is doing.",
	.args = report_args,
	.options = registry_options,
	.more_help = report_help,
	.run = run_report,
};

/* ---- drain, delete ---- */

#define DRAIN_S      300u
#define DRAIN_MAX_S  86400u
#define DRAIN_MORE_S 30u /* for the registry to say that it is done */

static const struct cli_option drain_options[] = {
	{"wait", 'w', "SECONDS", "how long connections are waited for, 0 to 86400 (default 300)"},
	REGISTRY_OPTIONS};

static enum cli_exit run_drain(struct cli *cli)
{
	const char *id = cli_word(cli, 0), *text = cli_option(cli, "wait");
	struct registry_request request = {.method = "DELETE"};
	char path[REGISTRY_PATH_SIZE], what[128];
	uint64_t wait_s = DRAIN_S;
	json_t *result;
	enum cli_exit rc;

	if (text != NULL && cli_parse_u64(cli, "--wait", text, 0, DRAIN_MAX_S, &wait_s) != CLI_OK) {
		return CLI_USAGE;
	}
	if (!registry_path(cli, id, "", path)) {
		return CLI_REFUSED;
	}
	request.path = path;
	request.body = json_pack("{s:I}", "drain_timeout_seconds", (json_int_t)wait_s);
	if (cli->timeout_ms == CLI_DEFAULT_TIMEOUT_MS) {
		request.timeout_ms = (wait_s + DRAIN_MORE_S) * 1000;
	}
	rc = registry_request(cli, &request, &result, NULL);
	snprintf(what, sizeof(what),
		"is unregistered; %" PRIu64 " connections have ended, %" PRIu64 " were left",
		get_u64(result, "drained_connections"), get_u64(result, "remaining_connections"));
	return finish(cli, rc, result, id, what);
}

const struct cli_command registry_drain_command = {
	.name = "drain",
	.help = "Lets the connections of a target end, then unregisters it.",
	.about = "It is in maintenance meanwhile, and not chosen any more. Interrupting xsan does\n"
		 "not stop it.",
	.args = registry_target_args,
	.options = drain_options,
	.run = run_drain,
};

static const struct cli_option delete_options[] = {
	{"force", 'f', .help = "even if hosts are connected"}, REGISTRY_OPTIONS};

/* Refuses a target with connections; the revision that this was true of becomes the condition. */
static enum cli_exit check_unused(
	struct cli *cli, const char *id, const char *path, char header[64])
{
	uint64_t nr_connections;
	json_t *target;
	enum cli_exit rc = registry_call(cli, "GET", path, NULL, NULL, &target);

	if (rc != CLI_OK) {
		return rc;
	}
	nr_connections = get_u64(json_object_get(target, "metrics"), "active_connections");
	snprintf(header, 64, "If-Match: \"%" PRIu64 "\"", get_u64(target, "revision"));
	json_decref(target);
	if (nr_connections != 0) {
		cli_say(cli,
			"target %s has %" PRIu64 " connections; 'xsan registry drain' lets them "
			"end first, --force does not",
			id, nr_connections);
		return CLI_REFUSED;
	}
	return CLI_OK;
}

static enum cli_exit run_delete(struct cli *cli)
{
	const char *id = cli_word(cli, 0);
	struct registry_request request = {.method = "DELETE"};
	char path[REGISTRY_PATH_SIZE], header[64] = "";
	json_t *result;
	enum cli_exit rc = CLI_OK;

	if (!registry_path(cli, id, "", path)) {
		return CLI_REFUSED;
	}
	if (cli_option(cli, "force") == NULL) {
		rc = check_unused(cli, id, path, header);
	}
	if (rc != CLI_OK) {
		return rc;
	}
	request.path = path;
	request.header = header[0] != '\0' ? header : NULL;
	request.body = json_pack("{s:b}", "force", 1);
	rc = registry_request(cli, &request, &result, NULL);
	return finish(cli, rc, result, id, "is unregistered");
}

const struct cli_command registry_delete_command = {
	.name = "delete",
	.help = "Unregisters a target that no host is connected to.",
	.args = registry_target_args,
	.options = delete_options,
	.run = run_delete,
};
