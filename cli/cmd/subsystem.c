/* SPDX-License-Identifier: BSD-3-Clause */
/* subsystem …: the NVMe subsystems that a node exports, and which hosts may connect to them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/nvmf.h"
#include "cli/table.h"

static const struct cli_arg nqn_args[] = {
	{"NQN", "name of the subsystem", CLI_SUBSYSTEMS},
	{0},
};

/* ---- list ---- */

static void add_subsystem(struct table *table, json_t *subsystem)
{
	json_t *listeners = json_object_get(subsystem, "listen_addresses"), *address;
	char text[1024] = "-", one[NVMF_ADDRESS_SIZE];
	size_t len = 0, i;

	json_array_foreach (listeners, i, address) {
		nvmf_address_text(address, one);
		if (len < sizeof(text)) {
			len += (size_t)snprintf(
				text + len, sizeof(text) - len, "%s%s", i > 0 ? ", " : "", one);
		}
	}
	table_text(table, get_text(subsystem, "nqn"));
	table_text(table, get_text(subsystem, "serial_number"));
	table_format(table, "%zu", json_array_size(json_object_get(subsystem, "namespaces")));
	if (get_bool(subsystem, "allow_any_host")) {
		table_text(table, "any");
	} else {
		table_format(table, "%zu", json_array_size(json_object_get(subsystem, "hosts")));
	}
	table_text(table, text);
}

static enum cli_exit run_list(struct cli *cli)
{
	static const struct table_column columns[] = {
		{"NQN"}, {"SERIAL"}, {"NAMESPACES", true}, {"HOSTS", true}, {"LISTENERS"}, {0}};
	json_t *subsystems, *subsystem;
	enum cli_exit rc = nvmf_get_subsystems(cli, NULL, &subsystems);
	struct table *table;
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, subsystems);
	}
	table = table_new(columns);
	json_array_foreach (subsystems, i, subsystem) {
		add_subsystem(table, subsystem);
	}
	table_finish(table, "there are no subsystems; 'xsan subsystem create' makes one");
	json_decref(subsystems);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists the subsystems.",
	.run = run_list,
};

/* ---- show ---- */

static void show_hosts(struct table *table, json_t *subsystem)
{
	json_t *host;
	size_t i;

	table_pair(table, "any host", "%s",
		get_bool(subsystem, "allow_any_host") ? "may connect" : "no, only those listed");
	json_array_foreach (json_object_get(subsystem, "hosts"), i, host) {
		table_pair(table, "host", "%s", get_text(host, "nqn"));
	}
}

static void show_listeners(struct table *table, json_t *subsystem)
{
	char text[NVMF_ADDRESS_SIZE];
	json_t *address;
	size_t i;

	json_array_foreach (json_object_get(subsystem, "listen_addresses"), i, address) {
		nvmf_address_text(address, text);
		table_pair(table, "listener", "%s %s", get_text(address, "trtype"), text);
	}
}

static void show_subsystem(json_t *subsystem)
{
	struct table *table = table_new(table_pairs);
	json_t *ns;
	size_t i;

	table_pair(table, "nqn", "%s", get_text(subsystem, "nqn"));
	table_pair(table, "serial number", "%s", get_text(subsystem, "serial_number"));
	table_pair(table, "model number", "%s", get_text(subsystem, "model_number"));
	table_pair(table, "highest nsid", "%" PRIu64, get_u64(subsystem, "max_namespaces"));
	show_hosts(table, subsystem);
	show_listeners(table, subsystem);
	json_array_foreach (json_object_get(subsystem, "namespaces"), i, ns) {
		table_pair(table, "namespace", "%" PRIu64 ": %s, uuid %s", get_u64(ns, "nsid"),
			get_text(ns, "bdev_name"), get_text(ns, "uuid"));
	}
	table_print_rows(table);
	table_free(table);
}

static enum cli_exit run_show(struct cli *cli)
{
	json_t *subsystems;
	enum cli_exit rc = nvmf_get_subsystems(cli, cli_word(cli, 0), &subsystems);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, subsystems);
	}
	show_subsystem(json_array_get(subsystems, 0));
	json_decref(subsystems);
	return CLI_OK;
}

static const struct cli_command show_command = {
	.name = "show",
	.help = "Shows all of one subsystem.",
	.args = nqn_args,
	.run = run_show,
};

/* ---- create, delete ---- */

static const struct cli_arg create_args[] = {
	{"NQN", "name of the new subsystem, such as nqn.2026-11.io.xsan:disk1"},
	{0},
};

static const struct cli_option create_options[] = {
	{"serial", 0, "TEXT", "serial number, at most 20 characters (default: from the NQN)"},
	{"model", 0, "TEXT", "model number, at most 40 characters (default: XSAN)"},
	{"max-namespaces", 0, "COUNT", "the highest namespace identifier (default 32)"},
	{"allow-any", 0, .help = "any host may connect (default: those of 'add-host')"},
	{0},
};

static enum cli_exit run_create(struct cli *cli)
{
	const char *nqn = cli_word(cli, 0), *max = cli_option(cli, "max-namespaces");
	json_t *params = json_pack("{s:s, s:s*, s:s*, s:b}", "nqn", nqn, "serial_number",
		cli_option(cli, "serial"), "model_number", cli_option(cli, "model"),
		"allow_any_host", cli_option(cli, "allow-any") != NULL);
	uint64_t value;

	if (max != NULL) {
		if (cli_parse_u64(cli, "--max-namespaces", max, 1, UINT32_MAX, &value) != CLI_OK) {
			json_decref(params);
			return CLI_USAGE;
		}
		json_object_set_new(params, "max_namespaces", json_integer((json_int_t)value));
	}
	return cli_do(cli, "nvmf_create_subsystem", params, "subsystem %s is there", nqn);
}

static const struct cli_command create_command = {
	.name = "create",
	.help = "Makes a subsystem, still without namespaces and listeners.",
	.args = create_args,
	.options = create_options,
	.run = run_create,
};

static enum cli_exit run_delete(struct cli *cli)
{
	const char *nqn = cli_word(cli, 0);

	return cli_do(cli, "nvmf_delete_subsystem", json_pack("{s:s}", "nqn", nqn),
		"subsystem %s is gone", nqn);
}

static const struct cli_command delete_command = {
	.name = "delete",
	.help = "Removes a subsystem and ends its connections; its devices stay.",
	.args = nqn_args,
	.run = run_delete,
};

/* ---- hosts ---- */

static const struct cli_arg host_args[] = {
	{"NQN", "name of the subsystem", CLI_SUBSYSTEMS},
	{"HOST", "NQN of the host, on Linux in /etc/nvme/hostnqn"},
	{0},
};

static json_t *host_params(const struct cli *cli)
{
	return json_pack("{s:s, s:s}", "nqn", cli_word(cli, 0), "host", cli_word(cli, 1));
}

static enum cli_exit run_add_host(struct cli *cli)
{
	return cli_do(cli, "nvmf_subsystem_add_host", host_params(cli), "%s may connect to %s",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command add_host_command = {
	.name = "add-host",
	.help = "Lets a host connect.",
	.args = host_args,
	.run = run_add_host,
};

static enum cli_exit run_remove_host(struct cli *cli)
{
	return cli_do(cli, "nvmf_subsystem_remove_host", host_params(cli),
		"%s is no longer in the list of %s", cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command remove_host_command = {
	.name = "remove-host",
	.help = "Takes that right away and ends the host's connections.",
	.args = host_args,
	.run = run_remove_host,
};

static const char *const on_off[] = {"on", "off", NULL};

static const struct cli_arg allow_args[] = {
	{"NQN", "name of the subsystem", CLI_SUBSYSTEMS},
	{"STATE", "whether any host may connect", .choices = on_off},
	{0},
};

static enum cli_exit run_allow_any(struct cli *cli)
{
	const char *nqn = cli_word(cli, 0);
	bool is_on = strcmp(cli_word(cli, 1), "on") == 0;

	return cli_do(cli, "nvmf_subsystem_allow_any_host",
		json_pack("{s:s, s:b}", "nqn", nqn, "allow_any_host", is_on),
		is_on ? "any host may connect to %s" : "only listed hosts may connect to %s", nqn);
}

static const struct cli_command allow_any_command = {
	.name = "allow-any",
	.help = "Lets any host connect, or only those of the list.",
	.args = allow_args,
	.run = run_allow_any,
};

static const struct cli_command *const members[] = {&list_command, &show_command, &create_command,
	&delete_command, &add_host_command, &remove_host_command, &allow_any_command, NULL};

const struct cli_command cli_subsystem = {
	.name = "subsystem",
	.help = "Lists, makes and changes NVMe subsystems and who may connect to them.",
	.members = members,
};
