/* SPDX-License-Identifier: BSD-3-Clause */
/* reactors: the threads of a node and how busy they have been. */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"

static void add_reactor(struct table *table, json_t *reactor)
{
	json_t *stats = json_object_get(reactor, "stats");
	uint64_t busy = get_u64(reactor, "busy"), all = busy + get_u64(reactor, "idle");
	static const char *const counters[] = {"ops", "messages", "sleeps", "wakeups", NULL};

	table_format(table, "%" PRIu64, get_u64(reactor, "lcore"));
	table_format(table, "%" PRIu64, get_u64(reactor, "tid"));
	table_format(table, "%.2f %%", all != 0 ? 100.0 * (double)busy / (double)all : 0);
	for (size_t i = 0; counters[i] != NULL; i++) {
		table_format(table, "%" PRIu64, get_u64(stats, counters[i]));
	}
	table_ns(table, get_u64(stats, "spin_ns"));
	table_ns(table, get_u64(stats, "spin_limit_ns"));
}

static enum cli_exit run(struct cli *cli)
{
	static const struct table_column columns[] = {{"REACTOR", true}, {"THREAD", true},
		{"BUSY", true}, {"OPERATIONS", true}, {"MESSAGES", true}, {"SLEEPS", true},
		{"WAKE-UPS", true}, {"SPUN", true}, {"SPIN LIMIT", true}, {0}};
	json_t *result, *reactor;
	enum cli_exit rc = cli_call(cli, "framework_get_reactors", NULL, &result);
	struct table *table;
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	table = table_new(columns);
	json_array_foreach (json_object_get(result, "reactors"), i, reactor) {
		add_reactor(table, reactor);
	}
	table_finish(table, "there are no reactors");
	json_decref(result);
	return CLI_OK;
}

const struct cli_command cli_reactors = {
	.name = "reactors",
	.help = "Shows the threads of the node and how busy they have been.",
	.run = run,
};
