/* SPDX-License-Identifier: BSD-3-Clause */
/* connections: which hosts are connected (controllers) and through which queues. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/nvmf.h"
#include "cli/table.h"

static const struct cli_arg args[] = {
	{"NQN", "name of one subsystem (default: all)", CLI_SUBSYSTEMS, .is_optional = true},
	{0},
};

static const struct cli_option options[] = {
	{"queues", 'q', .help = "list the queues too"},
	{0},
};

/* Adds what a method lists of a subsystem to `all`, each with the NQN. */
static enum cli_exit collect(struct cli *cli, const char *method, const char *nqn, json_t *all)
{
	json_t *list, *object;
	enum cli_exit rc = cli_call(cli, method, json_pack("{s:s}", "nqn", nqn), &list);
	size_t i;

	json_array_foreach (list, i, object) {
		json_object_set_new(object, "nqn", json_string(nqn));
		json_array_append(all, object);
	}
	json_decref(list);
	return rc;
}

/* The address of the host, as its admin queue sees it. */
static void peer_of(json_t *qpairs, json_t *controller, char text[NVMF_ADDRESS_SIZE])
{
	uint64_t cntlid = get_u64(controller, "cntlid");
	json_t *nqn = json_object_get(controller, "nqn"), *qpair;
	size_t i;

	text[0] = '\0';
	json_array_foreach (qpairs, i, qpair) {
		if (get_u64(qpair, "cntlid") == cntlid && get_u64(qpair, "qid") == 0 &&
			json_equal(json_object_get(qpair, "nqn"), nqn)) {
			nvmf_address_text(json_object_get(qpair, "peer_address"), text);
		}
	}
}

static void print_controllers(json_t *controllers, json_t *qpairs)
{
	static const struct table_column columns[] = {{"SUBSYSTEM"}, {"CONTROLLER", true}, {"HOST"},
		{"FROM"}, {"IO QUEUES", true}, {"KEEP-ALIVE", true}, {"READY"}, {0}};
	struct table *table = table_new(columns);
	char peer[NVMF_ADDRESS_SIZE];
	json_t *controller;
	size_t i;

	json_array_foreach (controllers, i, controller) {
		peer_of(qpairs, controller, peer);
		table_text(table, get_text(controller, "nqn"));
		table_format(table, "%" PRIu64, get_u64(controller, "cntlid"));
		table_text(table, get_text(controller, "hostnqn"));
		table_text(table, peer);
		table_format(table, "%" PRIu64, get_u64(controller, "num_io_qpairs"));
		table_format(table, "%g s", (double)get_u64(controller, "kato_ms") / 1000);
		table_bool(table, get_bool(controller, "ready"));
	}
	table_finish(table, "no host is connected");
}

static void print_qpairs(json_t *qpairs)
{
	static const struct table_column columns[] = {{"SUBSYSTEM"}, {"CONTROLLER", true},
		{"QUEUE", true}, {"REACTOR", true}, {"FROM"}, {"AT"}, {"STATE"}, {0}};
	struct table *table = table_new(columns);
	char text[NVMF_ADDRESS_SIZE];
	json_t *qpair;
	size_t i;

	json_array_foreach (qpairs, i, qpair) {
		table_text(table, get_text(qpair, "nqn"));
		table_format(table, "%" PRIu64, get_u64(qpair, "cntlid"));
		table_format(table, "%" PRIu64, get_u64(qpair, "qid"));
		table_format(table, "%" PRIu64, get_u64(qpair, "reactor"));
		nvmf_address_text(json_object_get(qpair, "peer_address"), text);
		table_text(table, text);
		nvmf_address_text(json_object_get(qpair, "listen_address"), text);
		table_text(table, text);
		table_text(table, get_text(qpair, "state"));
	}
	printf("\n");
	table_finish(table, "there are no queues");
}

static enum cli_exit run(struct cli *cli)
{
	json_t *controllers = json_array(), *qpairs = json_array(), *subsystems, *subsystem;
	enum cli_exit rc = nvmf_get_subsystems(cli, cli_word(cli, 0), &subsystems);
	size_t i;

	json_array_foreach (subsystems, i, subsystem) {
		const char *nqn = get_text(subsystem, "nqn");

		rc = rc == CLI_OK ? collect(cli, "nvmf_subsystem_get_controllers", nqn, controllers)
				  : rc;
		rc = rc == CLI_OK ? collect(cli, "nvmf_subsystem_get_qpairs", nqn, qpairs) : rc;
	}
	json_decref(subsystems);
	if (rc == CLI_OK && cli->is_json) {
		json_t *both =
			json_pack("{s:O, s:O}", "controllers", controllers, "qpairs", qpairs);

		rc = cli_finish_json(rc, both);
	} else if (rc == CLI_OK) {
		print_controllers(controllers, qpairs);
		if (cli_option(cli, "queues") != NULL) {
			print_qpairs(qpairs);
		}
	}
	json_decref(controllers);
	json_decref(qpairs);
	return rc;
}

const struct cli_command cli_connections = {
	.name = "connections",
	.help = "Lists the hosts that are connected.",
	.args = args,
	.options = options,
	.run = run,
};
