/* SPDX-License-Identifier: BSD-3-Clause */
/* namespace …: which devices a subsystem shows to its hosts, and as which number. */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/nvmf.h"
#include "cli/table.h"

#define NSID_MAX 0xfffffffeu

/* ---- add ---- */

static const struct cli_arg add_args[] = {
	{"NQN", "name of the subsystem", CLI_SUBSYSTEMS},
	{"DEVICE", "name or UUID of the device", CLI_DEVICES},
	{0},
};

static const struct cli_option add_options[] = {
	{"nsid", 'n', "NSID", "namespace identifier (default: the lowest free one)"},
	{"uuid", 0, "UUID", "identity (default: the device's)"},
	{"nguid", 0, "HEX", "identity of 32 hexadecimal digits (default: from the UUID)"},
	{"eui64", 0, "HEX", "identity of 16 hexadecimal digits (default: none)"},
	{"read-only", 'r', .help = "refuse writes"},
	{0},
};

static enum cli_exit run_add(struct cli *cli)
{
	const char *nqn = cli_word(cli, 0), *device = cli_word(cli, 1);
	const char *nsid_text = cli_option(cli, "nsid");
	json_t *ns, *result;
	uint64_t nsid = 0;
	enum cli_exit rc;

	if (nsid_text != NULL &&
		cli_parse_u64(cli, "--nsid", nsid_text, 1, NSID_MAX, &nsid) != CLI_OK) {
		return CLI_USAGE;
	}
	ns = json_pack("{s:s, s:s*, s:s*, s:s*}", "bdev_name", device, "uuid",
		cli_option(cli, "uuid"), "nguid", cli_option(cli, "nguid"), "eui64",
		cli_option(cli, "eui64"));
	if (nsid != 0) {
		json_object_set_new(ns, "nsid", json_integer((json_int_t)nsid));
	}
	if (cli_option(cli, "read-only") != NULL) {
		json_object_set_new(ns, "read_only", json_true());
	}
	rc = cli_call(cli, "nvmf_subsystem_add_ns",
		json_pack("{s:s, s:o}", "nqn", nqn, "namespace", ns), &result);
	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	cli_print("%s shows %s as namespace %" PRIu64, nqn, device,
		(uint64_t)json_integer_value(result));
	json_decref(result);
	return CLI_OK;
}

static const struct cli_command add_command = {
	.name = "add",
	.help = "Shows a device to the hosts of a subsystem, as a namespace.",
	.args = add_args,
	.options = add_options,
	.run = run_add,
};

/* ---- remove ---- */

static const struct cli_arg remove_args[] = {
	{"NQN", "name of the subsystem", CLI_SUBSYSTEMS},
	{"NSID", "namespace identifier"},
	{0},
};

static enum cli_exit run_remove(struct cli *cli)
{
	const char *nqn = cli_word(cli, 0);
	uint64_t nsid;

	if (cli_parse_u64(cli, "NSID", cli_word(cli, 1), 1, NSID_MAX, &nsid) != CLI_OK) {
		return CLI_USAGE;
	}
	return cli_do(cli, "nvmf_subsystem_remove_ns",
		json_pack("{s:s, s:I}", "nqn", nqn, "nsid", (json_int_t)nsid),
		"%s has no namespace %" PRIu64 " any more", nqn, nsid);
}

static const struct cli_command remove_command = {
	.name = "remove",
	.help = "Takes a namespace away from the hosts; the device stays.",
	.args = remove_args,
	.run = run_remove,
};

/* ---- list ---- */

static const struct cli_arg list_args[] = {
	{"NQN", "name of one subsystem (default: all)", CLI_SUBSYSTEMS, .is_optional = true},
	{0},
};

static void add_ns(struct table *table, const char *nqn, json_t *ns)
{
	table_text(table, nqn);
	table_format(table, "%" PRIu64, get_u64(ns, "nsid"));
	table_text(table, get_text(ns, "bdev_name"));
	table_text(table, get_text(ns, "uuid"));
	table_text(table, get_text(ns, "nguid"));
}

/* All namespaces in one list, each with the NQN of its subsystem. */
static json_t *collect(json_t *subsystems)
{
	json_t *all = json_array(), *subsystem, *ns;
	size_t i, k;

	json_array_foreach (subsystems, i, subsystem) {
		json_array_foreach (json_object_get(subsystem, "namespaces"), k, ns) {
			json_object_set(ns, "nqn", json_object_get(subsystem, "nqn"));
			json_array_append(all, ns);
		}
	}
	return all;
}

static enum cli_exit run_list(struct cli *cli)
{
	static const struct table_column columns[] = {
		{"SUBSYSTEM"}, {"NSID", true}, {"DEVICE"}, {"UUID"}, {"NGUID"}, {0}};
	json_t *subsystems, *all, *ns;
	enum cli_exit rc = nvmf_get_subsystems(cli, cli_word(cli, 0), &subsystems);
	struct table *table;
	size_t i;

	if (rc != CLI_OK) {
		return rc;
	}
	all = collect(subsystems);
	json_decref(subsystems);
	if (cli->is_json) {
		return cli_finish_json(CLI_OK, all);
	}
	table = table_new(columns);
	json_array_foreach (all, i, ns) {
		add_ns(table, get_text(ns, "nqn"), ns);
	}
	table_finish(table, "there are no namespaces; 'xsan namespace add' makes one");
	json_decref(all);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists namespaces.",
	.args = list_args,
	.run = run_list,
};

static const struct cli_command *const members[] = {
	&add_command, &remove_command, &list_command, NULL};

const struct cli_command cli_namespace = {
	.name = "namespace",
	.help = "Shows devices to hosts, or takes them away.",
	.members = members,
};
