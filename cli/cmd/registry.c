/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry …: the registry of NVMe-oF targets: what it has, what has happened, the registry itself.
 * Changes, choosing, watching and copies are in files of their own beside this one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "cli/table.h"

const char *const registry_states[] = {
	"unknown", "available", "busy", "degraded", "maintenance", "failed", "offline", NULL};
const char *const registry_transports[] = {"tcp", "rdma", "fc", NULL};

const struct cli_arg registry_target_args[] = {
	{"TARGET", "the target's id, tgt-…", CLI_TARGETS},
	{0},
};

const struct cli_option registry_options[] = {REGISTRY_OPTIONS};

/* "192.0.2.1:4420", "[2001:db8::1]:4420"; one of Fibre Channel has no port. */
void registry_add_place(struct table *table, const json_t *target)
{
	const char *address = get_text(target, "address");
	uint64_t port = get_u64(target, "port");

	if (port == 0) {
		table_text(table, address);
	} else {
		table_format(table, strchr(address, ':') != NULL ? "[%s]:%" PRIu64 : "%s:%" PRIu64,
			address, port);
	}
}

/* ---- list ---- */

static const char *const sorts[] = {"target_id", "node_id", "nqn", "address", "status", "location",
	"port", "health_score", "load_percentage", "last_seen", "registered_at", "-target_id",
	"-node_id", "-nqn", "-address", "-status", "-location", "-port", "-health_score",
	"-load_percentage", "-last_seen", "-registered_at", NULL};

static const struct cli_option list_options[] = {{"node", 0, "NODE", "only those of a node"},
	{"nqn", 0, "NQN", "only those of a subsystem"},
	{"address", 0, "ADDRESS", "only those at an address"},
	{"port", 0, "PORT", "only those at a port"},
	{"location", 0, "PREFIX", "only those whose location begins with this"},
	{"tag", 0, "TAG", "only those that have a tag"},
	{"transport", 0, "TRANSPORT", "only those of a transport", .choices = registry_transports},
	{"source", 0, "SOURCE", "only those that were found in a way, such as registered"},
	{"status", 0, "STATE", "only those in a state", .choices = registry_states},
	{"min-health", 0, "SCORE", "only those with at least this health, 0 to 100"},
	{"max-load", 0, "PERCENT", "only those with at most this load, 0 to 100"},
	{"sort", 0, "FIELD", "the order; with a - in front the other way round", .choices = sorts},
	{"limit", 'n', "COUNT", "so many at most (default: all)"}, REGISTRY_OPTIONS};

json_t *registry_list_query(struct cli *cli)
{
	static const struct {
		const char *option, *name;
	} names[] = {{"node", "node_id"}, {"nqn", "nqn"}, {"address", "address"}, {"port", "port"},
		{"location", "location"}, {"tag", "tag"}, {"transport", "transport"},
		{"source", "source"}, {"status", "status"}, {"min-health", "min_health_score"},
		{"max-load", "max_load_percentage"}, {"sort", "sort"}};
	json_t *query = json_object();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		registry_add_option(cli, query, names[i].option, names[i].name);
	}
	return query;
}

static void print_list(const json_t *targets, const json_t *page)
{
	static const struct table_column columns[] = {{"TARGET"}, {"NODE"}, {"NQN"}, {"TRANSPORT"},
		{"ADDRESS"}, {"LOCATION"}, {"STATUS"}, {"HEALTH", true}, {"LOAD", true},
		{"LAST SEEN"}, {0}};
	struct table *table = table_new(columns);
	uint64_t total = get_u64(page, "total_count");
	json_t *target;
	size_t i;

	json_array_foreach (targets, i, target) {
		table_text(table, get_text(target, "target_id"));
		table_text(table, get_text(target, "node_id"));
		table_text(table, get_text(target, "nqn"));
		table_text(table, get_text(target, "transport"));
		registry_add_place(table, target);
		table_text(table, get_text(target, "location"));
		table_text(table, get_text(target, "status"));
		table_format(table, "%" PRIu64, get_u64(target, "health_score"));
		table_format(table, "%" PRIu64 " %%", get_u64(target, "load_percentage"));
		table_text(table, get_text(target, "last_seen"));
	}
	table_finish(table, "there are no such targets");
	if (json_array_size(targets) < total) {
		cli_print("%zu of %" PRIu64 " targets", json_array_size(targets), total);
	}
}

static enum cli_exit run_list(struct cli *cli)
{
	const char *text = cli_option(cli, "limit");
	json_t *targets, *page;
	uint64_t limit = UINT64_MAX;
	enum cli_exit rc;

	if (text != NULL && cli_parse_u64(cli, "--limit", text, 1, INT64_MAX, &limit) != CLI_OK) {
		return CLI_USAGE;
	}
	rc = registry_list(cli, registry_list_query(cli), limit, &targets, &page);
	if (rc != CLI_OK) {
		return rc;
	}
	if (cli->is_json) {
		json_object_set(page, "targets", targets);
		json_object_del(page, "next_cursor");
		cli_print_json(page);
	} else {
		print_list(targets, page);
	}
	json_decref(targets);
	json_decref(page);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists targets.",
	.options = list_options,
	.run = run_list,
};

/* ---- get ---- */

static void show_failures(struct table *table, const json_t *failures)
{
	json_t *failure;
	size_t i;

	json_array_foreach (failures, i, failure) {
		table_pair(table, "failure", "%s, %s, %s: %s (%" PRIu64 " times since %s)",
			get_text(failure, "type"), get_text(failure, "severity"),
			get_bool(failure, "active") ? "lasts" : "is over",
			get_text(failure, "description"), get_u64(failure, "occurrence_count"),
			get_text(failure, "detected_at"));
	}
}

/* The members of an object, one line each; those that are objects too have lines of their own. */
static void show_members(struct table *table, const char *prefix, const json_t *object)
{
	const char *name;
	json_t *value;
	char label[160];

	json_object_foreach ((json_t *)object, name, value) {
		char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);

		snprintf(
			label, sizeof(label), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", name);
		if (json_is_object(value)) {
			show_members(table, label, value);
		} else if (!json_is_null(value)) {
			table_pair(
				table, label, "%s", text != NULL ? text : json_string_value(value));
		}
		free(text);
	}
}

void registry_show(json_t *target)
{
	struct table *table = table_new(table_pairs);
	json_t *failures = json_incref(json_object_get(target, "failures"));

	json_object_del(target, "failures");
	show_members(table, "", target);
	show_failures(table, failures);
	json_decref(failures);
	table_print_rows(table);
	table_free(table);
}

static enum cli_exit run_get(struct cli *cli)
{
	char path[REGISTRY_PATH_SIZE];
	json_t *target;
	enum cli_exit rc;

	if (!registry_path(cli, cli_word(cli, 0), "", path)) {
		return CLI_REFUSED;
	}
	rc = registry_call(cli, "GET", path, NULL, NULL, &target);
	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, target);
	}
	registry_show(target);
	json_decref(target);
	return CLI_OK;
}

static const struct cli_command get_command = {
	.name = "get",
	.help = "Shows all that is known of a target.",
	.args = registry_target_args,
	.options = registry_options,
	.run = run_get,
};

/* ---- events ---- */

#define EVENTS_PAGE 1000u

static const struct cli_option events_options[] = {
	{"since", 0, "REVISION", "only what came after it (default: all that is known)"},
	{"node", 0, "NODE", "only of targets of a node"},
	{"target", 0, "TARGET", "only of a target", CLI_TARGETS},
	{"limit", 'n', "COUNT", "so many at most (default: all)"}, REGISTRY_OPTIONS};

/* Adds the events of the next page to `events`; false: there are no more. */
static enum cli_exit next_events(struct cli *cli, uint64_t since, uint64_t count, json_t *events,
	uint64_t *ret_since, bool *ret_more)
{
	json_t *query = json_object(), *page, *list;
	char text[32];
	enum cli_exit rc;

	snprintf(text, sizeof(text), "%" PRIu64, since);
	json_object_set_new(query, "since", json_string(text));
	snprintf(text, sizeof(text), "%" PRIu64, count);
	json_object_set_new(query, "limit", json_string(text));
	registry_add_option(cli, query, "node", "node_id");
	registry_add_option(cli, query, "target", "target_id");
	rc = registry_call(cli, "GET", "/events", query, NULL, &page);
	if (rc == CLI_OK) {
		list = json_object_get(page, "events");
		*ret_more = json_array_size(list) >= count && get_u64(page, "revision") > since;
		*ret_since = get_u64(page, "revision");
		json_array_extend(events, list);
		json_decref(page);
	}
	return rc;
}

/* The oldest event that is still known is not at 0 when some were forgotten: without --since the
 * registry's answer is where to begin. */
static enum cli_exit first_revision(struct cli *cli, uint64_t *ret_since)
{
	json_t *status;
	enum cli_exit rc = registry_call(cli, "GET", "/status", NULL, NULL, &status);

	if (rc == CLI_OK) {
		*ret_since = get_u64(status, "first_event_revision");
		*ret_since -= *ret_since != 0;
		json_decref(status);
	}
	return rc;
}

static void print_events(const json_t *events)
{
	static const struct table_column columns[] = {{"REVISION", true}, {"AT"}, {"EVENT"},
		{"TARGET"}, {"NODE"}, {"NQN"}, {"WHAT"}, {0}};
	struct table *table = table_new(columns);
	char what[REGISTRY_WHAT_SIZE];
	json_t *event;
	size_t i;

	json_array_foreach (events, i, event) {
		registry_event_what(event, what);
		table_format(table, "%" PRIu64, get_u64(event, "revision"));
		table_text(table, get_text(event, "at"));
		table_text(table, get_text(event, "type"));
		table_text(table, get_text(event, "target_id"));
		table_text(table, get_text(event, "node_id"));
		table_text(table, get_text(json_object_get(event, "target"), "nqn"));
		table_text(table, what);
	}
	table_finish(table, "nothing has happened");
}

void registry_event_what(const json_t *event, char what[REGISTRY_WHAT_SIZE])
{
	const json_t *target = json_object_get(event, "target");
	const char *reason = get_text(event, "reason");

	what[0] = '\0';
	if (strcmp(get_text(event, "type"), "state_changed") == 0) {
		snprintf(what, REGISTRY_WHAT_SIZE, "%.32s -> %.32s%s%.255s",
			get_text(event, "old_status"), get_text(target, "status"),
			reason[0] != '\0' ? ": " : "", reason);
	} else if (strcmp(get_text(event, "type"), "config_changed") == 0) {
		snprintf(what, REGISTRY_WHAT_SIZE, "%.32s%s%.255s", get_text(event, "config_state"),
			reason[0] != '\0' ? ": " : "", reason);
	}
}

static enum cli_exit run_events(struct cli *cli)
{
	const char *text = cli_option(cli, "limit"), *since_text = cli_option(cli, "since");
	uint64_t limit = UINT64_MAX, since = 0, left;
	json_t *events = NULL;
	bool has_more = true;
	enum cli_exit rc = CLI_OK;

	if (text != NULL) {
		rc = cli_parse_u64(cli, "--limit", text, 1, INT64_MAX, &limit);
	}
	if (rc == CLI_OK) {
		rc = since_text != NULL
			     ? cli_parse_u64(cli, "--since", since_text, 0, INT64_MAX, &since)
			     : first_revision(cli, &since);
	}
	events = json_array();
	while (rc == CLI_OK && has_more && json_array_size(events) < limit) {
		left = limit - json_array_size(events);
		rc = next_events(cli, since, left < EVENTS_PAGE ? left : EVENTS_PAGE, events,
			&since, &has_more);
	}
	if (rc == CLI_OK && cli->is_json) {
		cli_print_json(events);
	} else if (rc == CLI_OK) {
		print_events(events);
	}
	json_decref(events);
	return rc;
}

static const struct cli_command events_command = {
	.name = "events",
	.help = "Shows what has happened to targets, the oldest first.",
	.options = events_options,
	.run = run_events,
};

/* ---- info ---- */

static enum cli_exit run_info(struct cli *cli)
{
	json_t *status;
	struct table *table;
	enum cli_exit rc = registry_call(cli, "GET", "/status", NULL, NULL, &status);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, status);
	}
	table = table_new(table_pairs);
	table_pair(table, "registry", "%s", registry_url(cli));
	show_members(table, "", status);
	table_print_rows(table);
	table_free(table);
	json_decref(status);
	return CLI_OK;
}

static const struct cli_command info_command = {
	.name = "info",
	.help = "Shows the registry itself.",
	.options = registry_options,
	.run = run_info,
};

static const struct cli_command *const members[] = {&list_command, &get_command,
	&registry_register_command, &registry_update_command, &registry_status_command,
	&registry_config_command, &registry_report_command, &registry_drain_command,
	&registry_delete_command, &registry_select_command, &registry_watch_command,
	&events_command, &info_command, &registry_hosts_command, &registry_zones_command,
	&registry_alerts_command, &registry_export_command, &registry_import_command,
	&registry_backup_command, &registry_restore_command, NULL};

const struct cli_command cli_registry = {
	.name = "registry",
	.help = "Shows and changes a registry of NVMe-oF targets (xsan-registry).",
	.members = members,
};
