/* SPDX-License-Identifier: BSD-3-Clause */
/* registry select: which targets are best for what is wanted, with the parts of each score and the
 * reason; and with --explain, why the others were left out. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cmd/registry.h"
#include "cli/json.h"
#include "cli/registry.h"
#include "cli/table.h"

static const char *const policies[] = {
	"score", "round_robin", "least_connections", "least_load", "weighted", "hash", NULL};

static const struct cli_option select_options[] = {
	{"count", 'n', "COUNT", "how many are wanted, 1 to 1024 (default 10)"},
	{"min-iops", 0, "COUNT", "I/Os a second that one must be able to do"},
	{"min-bandwidth", 0, "MBPS", "megabytes a second that one must be able to do"},
	{"max-latency", 0, "MICROSECONDS", "the largest latency that is accepted"},
	{"min-capacity", 0, "BYTES", "how large one must be"},
	{"transport", 0, "TRANSPORT", "how it is reached", .choices = registry_transports},
	{"node", 0, "NODE", "only those of a node"},
	{"tags", 0, "TAG,TAG...", "only those that have all of them"},
	{"near", 0, "PLACE", "the nearer to this location the better"},
	{"location", 0, "PREFIX", "only those whose location begins with this"},
	{"exclude", 0, "TARGET,TARGET...", "not these"},
	{"writable", 0, .help = "not those that are read-only"},
	{"spread", 0, .help = "no second target of a node while another node has one"},
	{"policy", 0, "POLICY", "how they are put in order (default: the registry's)",
		.choices = policies},
	{"hash-key", 0, "TEXT", "of policy hash: the same targets for the same text"},
	{"health-weight", 0, "WEIGHT", "of health in the score, 0 to 1000"},
	{"performance-weight", 0, "WEIGHT", "of performance in the score"},
	{"reliability-weight", 0, "WEIGHT", "of reliability in the score"},
	{"location-weight", 0, "WEIGHT", "of nearness in the score"},
	{"explain", 'e', .help = "also say why the others were left out"}, REGISTRY_OPTIONS};

static json_t *query_of(struct cli *cli)
{
	static const struct {
		const char *option, *name;
	} names[] = {{"count", "count"}, {"min-iops", "min_iops"},
		{"min-bandwidth", "min_bandwidth_mbps"}, {"max-latency", "max_latency_us"},
		{"min-capacity", "min_capacity_bytes"}, {"transport", "transport"},
		{"node", "node_id"}, {"tags", "tags"}, {"near", "preferred_location"},
		{"location", "location"}, {"exclude", "exclude"}, {"writable", "writable"},
		{"spread", "spread"}, {"policy", "policy"}, {"hash-key", "hash_key"},
		{"health-weight", "health_weight"}, {"performance-weight", "performance_weight"},
		{"reliability-weight", "reliability_weight"},
		{"location-weight", "location_weight"}, {"explain", "explain"}};
	json_t *query = json_object();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		registry_add_option(cli, query, names[i].option, names[i].name);
	}
	return query;
}

static void print_chosen(const json_t *targets)
{
	static const struct table_column columns[] = {{"#", true}, {"TARGET"}, {"NODE"},
		{"ADDRESS"}, {"STATUS"}, {"SCORE", true}, {"HEALTH", true}, {"PERFORMANCE", true},
		{"RELIABILITY", true}, {"LOCATION", true}, {"REASON"}, {0}};
	static const char *const parts[] = {
		"health", "performance", "reliability", "location", NULL};
	struct table *table = table_new(columns);
	json_t *target;
	size_t i;

	json_array_foreach (targets, i, target) {
		json_t *scores = json_object_get(target, "scores");

		table_format(table, "%" PRIu64, get_u64(target, "priority"));
		table_text(table, get_text(target, "target_id"));
		table_text(table, get_text(target, "node_id"));
		registry_add_place(table, target);
		table_text(table, get_text(target, "status"));
		table_format(table, "%.1f", get_number(target, "score"));
		for (size_t k = 0; parts[k] != NULL; k++) {
			table_format(table, "%.1f", get_number(scores, parts[k]));
		}
		table_text(table, get_text(target, "reason"));
	}
	table_finish(table, "no target is suitable; --explain says why");
}

static void print_rejected(const json_t *rejected)
{
	static const struct table_column columns[] = {{"LEFT OUT"}, {"REASON"}, {0}};
	struct table *table = table_new(columns);
	json_t *target;
	size_t i;

	json_array_foreach (rejected, i, target) {
		table_text(table, get_text(target, "target_id"));
		table_text(table, get_text(target, "reason"));
	}
	putchar('\n');
	table_finish(table, "no target was left out");
}

static enum cli_exit run_select(struct cli *cli)
{
	json_t *result;
	enum cli_exit rc =
		registry_call(cli, "GET", "/targets/select", query_of(cli), NULL, &result);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	print_chosen(json_object_get(result, "targets"));
	cli_print("%s: %" PRIu64 " of %" PRIu64 " candidates by %s, %" PRIu64 " left out",
		get_text(result, "status"), get_u64(result, "total_count"),
		get_u64(result, "candidate_count"), get_text(result, "policy"),
		get_u64(result, "rejected_count"));
	if (cli_option(cli, "explain") != NULL) {
		print_rejected(json_object_get(result, "rejected"));
	}
	json_decref(result);
	return CLI_OK;
}

const struct cli_command registry_select_command = {
	.name = "select",
	.help = "Chooses the best targets for what is wanted.",
	.about = "A score is made of health, performance, reliability and location, each 0 to 100.",
	.options = select_options,
	.run = run_select,
};
