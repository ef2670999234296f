/* SPDX-License-Identifier: BSD-3-Clause */
/* registry hosts, registry zones …, registry alerts …: who is connected to the registry's discovery
 * controller, who sees what in its log, and what the registry warns of. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd/registry.h"
#include "cli/http.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "cli/table.h"

/* PREFIX/NAME/REST, with the name escaped. False: no memory, or too long; it has been said. */
static bool path_of(const struct cli *cli, const char *prefix, const char *name, const char *rest,
	char path[REGISTRY_PATH_SIZE])
{
	char *escaped = http_escape(name);
	int len = escaped != NULL
			  ? snprintf(path, REGISTRY_PATH_SIZE, "%s/%s%s", prefix, escaped, rest)
			  : -1;

	free(escaped);
	if (len < 0 || len >= (int)REGISTRY_PATH_SIZE) {
		cli_say(cli, "the name is too long");
		return false;
	}
	return true;
}

/* Calls the registry and says what is now; with --json what it answered. */
static enum cli_exit change(struct cli *cli, const char *method, const char *path, json_t *body,
	const char *what, const char *how)
{
	json_t *result;
	enum cli_exit rc = registry_call(cli, method, path, NULL, body, &result);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	cli_print("%s %s", what, how);
	json_decref(result);
	return CLI_OK;
}

/* ---- hosts ---- */

static void print_hosts(const json_t *hosts)
{
	static const struct table_column columns[] = {
		{"HOST"}, {"ADDRESS"}, {"SINCE"}, {"TOLD OF CHANGES"}, {"REGISTERED AS"}, {0}};
	struct table *table = table_new(columns);
	json_t *host;
	size_t i;

	json_array_foreach (json_object_get(hosts, "connected"), i, host) {
		table_text(table, get_text(host, "hostnqn"));
		table_text(table, get_text(host, "address"));
		table_format(table, "%" PRIu64 " s", get_u64(host, "connected_seconds"));
		table_bool(table, json_is_true(json_object_get(host, "persistent")));
		table_text(table, NULL);
	}
	json_array_foreach (json_object_get(hosts, "registered"), i, host) {
		table_text(table, get_text(host, "hostnqn"));
		table_text(table, get_text(host, "address"));
		table_text(table, NULL);
		table_text(table, NULL);
		table_text(table, get_text(host, "name"));
	}
	table_finish(table, "no host is connected");
}

static enum cli_exit run_hosts(struct cli *cli)
{
	json_t *hosts;
	enum cli_exit rc = registry_call(cli, "GET", "/hosts", NULL, NULL, &hosts);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, hosts);
	}
	print_hosts(hosts);
	json_decref(hosts);
	return CLI_OK;
}

const struct cli_command registry_hosts_command = {
	.name = "hosts",
	.help = "Shows the hosts that are connected to the discovery controller, or registered.",
	.options = registry_options,
	.run = run_hosts,
};

/* ---- zones ---- */

static const struct cli_arg group_args[] = {{"GROUP", "the zone group"}, {0}};

static bool is_active(const json_t *zones, const char *name)
{
	json_t *group;
	size_t i;

	json_array_foreach (json_object_get(zones, "active"), i, group) {
		if (strcmp(get_text(group, "name"), name) == 0) {
			return true;
		}
	}
	return false;
}

static void print_zones(const json_t *zones)
{
	static const struct table_column columns[] = {
		{"GROUP"}, {"ACTIVE"}, {"ZONE"}, {"HOSTS", true}, {"TARGETS", true}, {0}};
	struct table *table = table_new(columns);
	json_t *group, *zone;
	size_t i, j;

	json_array_foreach (json_object_get(zones, "groups"), i, group) {
		json_array_foreach (json_object_get(group, "zones"), j, zone) {
			table_text(table, get_text(group, "name"));
			table_bool(table, is_active(zones, get_text(group, "name")));
			table_text(table, get_text(zone, "name"));
			table_format(table, "%zu", json_array_size(json_object_get(zone, "hosts")));
			table_format(
				table, "%zu", json_array_size(json_object_get(zone, "targets")));
		}
	}
	table_finish(table, "there are no zones");
	cli_print("a host and a target in no zone: %s", get_text(zones, "default_policy"));
}

static enum cli_exit run_zones_show(struct cli *cli)
{
	json_t *zones;
	enum cli_exit rc = registry_call(cli, "GET", "/zones", NULL, NULL, &zones);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, zones);
	}
	print_zones(zones);
	json_decref(zones);
	return CLI_OK;
}

static const struct cli_command zones_show_command = {
	.name = "show",
	.help = "Shows the zones.",
	.options = registry_options,
	.run = run_zones_show,
};

static const struct cli_arg zones_set_args[] = {{"GROUP", "the zone group"},
	{"FILE", "its zones as JSON; -: from standard input", CLI_FILES}, {0}};

static enum cli_exit run_zones_set(struct cli *cli)
{
	json_t *body = registry_read_json(cli, cli_word(cli, 1));
	char path[REGISTRY_PATH_SIZE];

	if (body == NULL || !path_of(cli, "/zones", cli_word(cli, 0), "", path)) {
		json_decref(body);
		return CLI_USAGE;
	}
	return change(cli, "PUT", path, body, cli_word(cli, 0),
		"is configured; hosts see it when it is activated");
}

static const struct cli_command zones_set_command = {
	.name = "set",
	.help = "Makes or replaces a configured zone group.",
	.args = zones_set_args,
	.options = registry_options,
	.run = run_zones_set,
};

static enum cli_exit change_group(
	struct cli *cli, const char *method, const char *rest, const char *how)
{
	char path[REGISTRY_PATH_SIZE];

	if (!path_of(cli, "/zones", cli_word(cli, 0), rest, path)) {
		return CLI_USAGE;
	}
	return change(cli, method, path, NULL, cli_word(cli, 0), how);
}

static enum cli_exit run_zones_activate(struct cli *cli)
{
	return change_group(cli, "POST", "/activate", "is active");
}

static enum cli_exit run_zones_deactivate(struct cli *cli)
{
	return change_group(cli, "POST", "/deactivate", "is no longer active");
}

static enum cli_exit run_zones_delete(struct cli *cli)
{
	return change_group(cli, "DELETE", "", "is deleted");
}

static const struct cli_command zones_activate_command = {
	.name = "activate",
	.help = "Makes a configured zone group, as it is now, what hosts see.",
	.args = group_args,
	.options = registry_options,
	.run = run_zones_activate,
};

static const struct cli_command zones_deactivate_command = {
	.name = "deactivate",
	.help = "Takes a zone group out of what hosts see.",
	.args = group_args,
	.options = registry_options,
	.run = run_zones_deactivate,
};

static const struct cli_command zones_delete_command = {
	.name = "delete",
	.help = "Deletes a zone group that is not active.",
	.args = group_args,
	.options = registry_options,
	.run = run_zones_delete,
};

static const char *const zone_policies[] = {"allow", "deny", NULL};

static const struct cli_arg policy_args[] = {
	{"POLICY", "what holds for a host and a target in no zone", .choices = zone_policies}, {0}};

static enum cli_exit run_zones_policy(struct cli *cli)
{
	return change(cli, "PATCH", "/zones",
		json_pack("{s:s}", "default_policy", cli_word(cli, 0)),
		"a host and a target in no zone:", cli_word(cli, 0));
}

static const struct cli_command zones_policy_command = {
	.name = "policy",
	.help = "Sets whether a host and a target that are in no zone see each other.",
	.args = policy_args,
	.options = registry_options,
	.run = run_zones_policy,
};

static const struct cli_command *const zones_members[] = {&zones_show_command, &zones_set_command,
	&zones_activate_command, &zones_deactivate_command, &zones_delete_command,
	&zones_policy_command, NULL};

const struct cli_command registry_zones_command = {
	.name = "zones",
	.help = "Shows and changes which hosts see which targets in the discovery log.",
	.members = zones_members,
};

/* ---- alerts ---- */

static const struct cli_arg rule_args[] = {{"RULE", "the rule's name"}, {0}};

static void print_alerts(const json_t *alerts)
{
	static const struct table_column columns[] = {{"RULE"}, {"STATE"}, {"SEVERITY"}, {"METRIC"},
		{"VALUE", true}, {"OPERATOR"}, {"THRESHOLD", true}, {"COMMENT"}, {0}};
	struct table *table = table_new(columns);
	json_t *rule;
	size_t i;

	json_array_foreach (json_object_get(alerts, "rules"), i, rule) {
		table_text(table, get_text(rule, "rule_name"));
		table_text(table, get_text(rule, "state"));
		table_text(table, get_text(rule, "severity"));
		table_text(table, get_text(rule, "metric_type"));
		table_format(table, "%.2f", get_number(rule, "value"));
		table_text(table, get_text(rule, "operator"));
		table_format(table, "%.2f", get_number(rule, "threshold_value"));
		table_text(table, get_text(rule, "comment"));
	}
	table_finish(table, "there are no rules");
}

static enum cli_exit run_alerts_show(struct cli *cli)
{
	json_t *alerts;
	enum cli_exit rc = registry_call(cli, "GET", "/alerts", NULL, NULL, &alerts);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, alerts);
	}
	print_alerts(alerts);
	json_decref(alerts);
	return CLI_OK;
}

static const struct cli_command alerts_show_command = {
	.name = "show",
	.help = "Shows the rules and how they stand; with --json also who was told.",
	.options = registry_options,
	.run = run_alerts_show,
};

static enum cli_exit change_rule(
	struct cli *cli, const char *method, const char *rest, json_t *body, const char *how)
{
	char path[REGISTRY_PATH_SIZE];

	if (!path_of(cli, "/alerts", cli_word(cli, 0), rest, path)) {
		json_decref(body);
		return CLI_USAGE;
	}
	return change(cli, method, path, body, cli_word(cli, 0), how);
}

static enum cli_exit run_alerts_test(struct cli *cli)
{
	return change_rule(cli, "POST", "/test", NULL, "is tested: its notification is on its way");
}

static const struct cli_command alerts_test_command = {
	.name = "test",
	.help = "Sends a test notification to those of a rule.",
	.args = rule_args,
	.options = registry_options,
	.run = run_alerts_test,
};

static const struct cli_arg silence_args[] = {
	{"RULE", "the rule's name"}, {"MINUTES", "how long"}, {0}};

static const struct cli_option silence_options[] = {
	{"comment", 0, "TEXT", "why, for others"}, REGISTRY_OPTIONS};

static enum cli_exit run_alerts_silence(struct cli *cli)
{
	const char *comment = cli_option(cli, "comment");
	uint64_t minutes;
	enum cli_exit rc = cli_parse_u64(cli, "MINUTES", cli_word(cli, 1), 1, 525600, &minutes);

	if (rc != CLI_OK) {
		return rc;
	}
	return change_rule(cli, "PUT", "/silence",
		json_pack(
			"{s:I, s:s*}", "duration_minutes", (json_int_t)minutes, "comment", comment),
		"is silenced");
}

static const struct cli_command alerts_silence_command = {
	.name = "silence",
	.help = "Tells nobody of a rule for a while.",
	.args = silence_args,
	.options = silence_options,
	.run = run_alerts_silence,
};

static enum cli_exit run_alerts_unsilence(struct cli *cli)
{
	return change_rule(cli, "DELETE", "/silence", NULL, "is told of again");
}

static const struct cli_command alerts_unsilence_command = {
	.name = "unsilence",
	.help = "Ends a silence.",
	.args = rule_args,
	.options = registry_options,
	.run = run_alerts_unsilence,
};

static const struct cli_command *const alerts_members[] = {&alerts_show_command,
	&alerts_test_command, &alerts_silence_command, &alerts_unsilence_command, NULL};

const struct cli_command registry_alerts_command = {
	.name = "alerts",
	.help = "Shows what the registry warns of, and who is told.",
	.members = alerts_members,
};
