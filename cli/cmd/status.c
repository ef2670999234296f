/* SPDX-License-Identifier: BSD-3-Clause */
/* status: how a node is, on one page; what is wrong comes last, where it is seen. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"

static void add_counts(struct table *table, json_t *status)
{
	json_t *counts = json_object_get(status, "counts"), *nvmf = json_object_get(status, "nvmf");

	table_pair(table, "devices", "%" PRIu64, get_u64(counts, "devices"));
	table_pair(table, "subsystems", "%" PRIu64, get_u64(counts, "subsystems"));
	table_pair(table, "namespaces", "%" PRIu64, get_u64(counts, "namespaces"));
	table_pair(table, "listeners", "%" PRIu64, get_u64(counts, "listeners"));
	table_pair(table, "queues",
		"%" PRIu64 " connected, %" PRIu64 " since the start, %" PRIu64 " refused",
		get_u64(nvmf, "connections"), get_u64(nvmf, "connections_total"),
		get_u64(nvmf, "refused_total"));
}

static void print_sentences(const char *title, json_t *list, bool is_bad)
{
	const char *on = is_bad && table_has_colours() ? "\033[31m" : "";
	const char *off = on[0] != '\0' ? "\033[0m" : "";
	json_t *sentence;
	size_t i;

	if (json_array_size(list) == 0) {
		return;
	}
	printf("\n%s%s%s:\n", on, title, off);
	json_array_foreach (list, i, sentence) {
		cli_print("  %s", json_is_string(sentence) ? json_string_value(sentence) : "");
	}
}

static void print_status(json_t *status)
{
	struct table *table = table_new(table_pairs);
	char uptime[FORMAT_SIZE];

	format_ns(get_seconds_ns(status, "uptime_s"), uptime);
	table_pair(table, "state", "%s", get_text(status, "state"));
	table_pair(table, "version", "%s", get_text(status, "version"));
	table_pair(table, "running for", "%s, as process %" PRIu64, uptime, get_u64(status, "pid"));
	table_pair(table, "configuration", "%s", get_text(status, "config"));
	table_pair(table, "saved state", "%s", get_text(status, "state_dir"));
	table_pair(table, "socket", "%s", get_text(status, "socket"));
	table_pair(table, "reactors", "%" PRIu64, get_u64(status, "reactors"));
	add_counts(table, status);
	table_print_rows(table);
	table_free(table);
	print_sentences("Not as it should be", json_object_get(status, "problems"), true);
	print_sentences(
		"Changed only by a restart", json_object_get(status, "needs_restart"), false);
}

/* Arrays that lack members; a node without the method has none. */
static void print_arrays(struct cli *cli)
{
	json_t *arrays, *array, *lacking = json_array();
	size_t i;

	if (cli_try(cli, "bdev_raid_get_bdevs", NULL, &arrays) != CLI_OK) {
		json_decref(lacking);
		return;
	}
	json_array_foreach (arrays, i, array) {
		uint64_t nr_members = get_u64(array, "num_base_bdevs");
		uint64_t nr_serving = get_u64(array, "num_base_bdevs_operational");

		if (nr_serving < nr_members) {
			json_array_append_new(lacking,
				json_sprintf("array %s: %d of its %d members serve%s",
					get_text(array, "name"), (int)nr_serving, (int)nr_members,
					strcmp(get_text(array, "state"), "offline") == 0
						? ", which is not enough"
						: ""));
		}
	}
	print_sentences("Without redundancy, or with less of it", lacking, true);
	json_decref(lacking);
	json_decref(arrays);
}

static enum cli_exit run(struct cli *cli)
{
	json_t *status;
	enum cli_exit rc = cli_call(cli, "xsan_status", NULL, &status);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, status);
	}
	print_status(status);
	print_arrays(cli);
	json_decref(status);
	return CLI_OK;
}

const struct cli_command cli_status = {
	.name = "status",
	.help = "Shows how the node is, and what is not as it should be.",
	.about = "The state is ok, degraded (not all of the configuration could be made) or\n"
		 "stopping. Arrays that lack members are named too.",
	.run = run,
};
