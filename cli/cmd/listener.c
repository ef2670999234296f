/* SPDX-License-Identifier: BSD-3-Clause */
/* listener …: the addresses at which hosts reach a subsystem. */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/nvmf.h"
#include "cli/table.h"

#define DEFAULT_PORT "4420"

/* ---- add, remove ---- */

static const struct cli_arg args[] = {
	{"NQN", "name of the subsystem", CLI_SUBSYSTEMS},
	{"ADDRESS", "numeric address of this machine, or 0.0.0.0 or :: for all"},
	{"PORT", "TCP port (default " DEFAULT_PORT ")", .is_optional = true},
	{0},
};

static const char *const transports[] = {"tcp", NULL};

static const struct cli_option add_options[] = {
	{"advertise", 'a', "ADDRESS", "address that hosts are told (default: ADDRESS)"},
	{"transport", 0, "NAME", "the transport", .choices = transports},
	{0},
};

static const struct cli_option remove_options[] = {
	{"transport", 0, "NAME", "the transport", .choices = transports},
	{0},
};

static const char *port_of(const struct cli *cli)
{
	return cli_word(cli, 2) != NULL ? cli_word(cli, 2) : DEFAULT_PORT;
}

static json_t *address_of(const struct cli *cli)
{
	const char *transport = cli_option(cli, "transport");

	return json_pack("{s:s, s:s, s:s, s:s*}", "trtype",
		transport != NULL ? transport : transports[0], "traddr", cli_word(cli, 1),
		"trsvcid", port_of(cli), "advertise", cli_option(cli, "advertise"));
}

static enum cli_exit change(struct cli *cli, const char *method, const char *fmt)
{
	json_t *address = address_of(cli);
	char text[NVMF_ADDRESS_SIZE];
	const char *nqn = cli_word(cli, 0);
	uint64_t port;

	if (cli_parse_u64(cli, "PORT", port_of(cli), 1, 65535, &port) != CLI_OK) {
		json_decref(address);
		return CLI_USAGE;
	}
	nvmf_address_text(address, text);
	return cli_do(cli, method, json_pack("{s:s, s:o}", "nqn", nqn, "listen_address", address),
		fmt, nqn, text);
}

static enum cli_exit run_add(struct cli *cli)
{
	return change(cli, "nvmf_subsystem_add_listener", "%s is reached at %s");
}

static const struct cli_command add_command = {
	.name = "add",
	.help = "Lets hosts reach a subsystem at an address.",
	.about = "The address also answers as a discovery controller.",
	.args = args,
	.options = add_options,
	.run = run_add,
};

static enum cli_exit run_remove(struct cli *cli)
{
	return change(cli, "nvmf_subsystem_remove_listener", "%s is no longer reached at %s");
}

static const struct cli_command remove_command = {
	.name = "remove",
	.help = "Ends that, and the connections made there.",
	.args = args,
	.options = remove_options,
	.run = run_remove,
};

/* ---- list ---- */

static const struct cli_arg list_args[] = {
	{"NQN", "name of one subsystem (default: all)", CLI_SUBSYSTEMS, .is_optional = true},
	{0},
};

/* Adds the listeners of a subsystem, each with its NQN, to `all`. */
static enum cli_exit collect(struct cli *cli, const char *nqn, json_t *all)
{
	json_t *listeners, *listener;
	enum cli_exit rc = cli_call(
		cli, "nvmf_subsystem_get_listeners", json_pack("{s:s}", "nqn", nqn), &listeners);
	size_t i;

	json_array_foreach (listeners, i, listener) {
		json_object_set_new(listener, "nqn", json_string(nqn));
		json_array_append(all, listener);
	}
	json_decref(listeners);
	return rc;
}

static void print_listeners(json_t *all)
{
	static const struct table_column columns[] = {
		{"SUBSYSTEM"}, {"TRANSPORT"}, {"ADDRESS"}, {"ADVERTISED"}, {0}};
	struct table *table = table_new(columns);
	char text[NVMF_ADDRESS_SIZE];
	json_t *listener;
	size_t i;

	json_array_foreach (all, i, listener) {
		json_t *address = json_object_get(listener, "address");

		nvmf_address_text(address, text);
		table_text(table, get_text(listener, "nqn"));
		table_text(table, get_text(address, "trtype"));
		table_text(table, text);
		table_text(table, get_text(listener, "advertise"));
	}
	table_finish(table, "there are no listeners; 'xsan listener add' makes one");
}

static enum cli_exit run_list(struct cli *cli)
{
	json_t *subsystems, *subsystem, *all = json_array();
	enum cli_exit rc = nvmf_get_subsystems(cli, cli_word(cli, 0), &subsystems);
	size_t i;

	json_array_foreach (subsystems, i, subsystem) {
		rc = rc == CLI_OK ? collect(cli, get_text(subsystem, "nqn"), all) : rc;
	}
	json_decref(subsystems);
	if (rc == CLI_OK && cli->is_json) {
		cli_print_json(all);
	} else if (rc == CLI_OK) {
		print_listeners(all);
	}
	json_decref(all);
	return rc;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists listeners.",
	.args = list_args,
	.run = run_list,
};

static const struct cli_command *const members[] = {
	&add_command, &remove_command, &list_command, NULL};

const struct cli_command cli_listener = {
	.name = "listener",
	.help = "Lets hosts reach a subsystem at an address, or ends that.",
	.members = members,
};
