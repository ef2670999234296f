/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc and methods: any method of the node, as it is. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* ---- rpc ---- */

static const struct cli_arg rpc_args[] = {
	{"METHOD", "the method's name; 'xsan methods' lists them", CLI_METHODS},
	{"PARAMS", "its parameters, a JSON object, or '-' to read them from stdin (default: none)",
		.is_optional = true},
	{0},
};

static enum cli_exit read_params(struct cli *cli, const char *text, json_t **ret_params)
{
	json_error_t error;
	bool is_stdin = strcmp(text, "-") == 0;
	json_t *params = is_stdin ? json_loadf(stdin, JSON_REJECT_DUPLICATES, &error)
				  : json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (params == NULL) {
		return cli_usage(cli, "PARAMS is not a JSON object: line %d, column %d: %s",
			error.line, error.column, error.text);
	}
	*ret_params = params;
	return CLI_OK;
}

static enum cli_exit run_rpc(struct cli *cli)
{
	const char *text = cli_word(cli, 1);
	json_t *params = NULL, *result;
	enum cli_exit rc = text != NULL ? read_params(cli, text, &params) : CLI_OK;

	if (rc != CLI_OK) {
		return rc;
	}
	rc = cli_call(cli, cli_word(cli, 0), params, &result);
	return cli_finish_json(rc, result);
}

const struct cli_command cli_rpc = {
	.name = "rpc",
	.help = "Calls a method of the node and prints its result as JSON.",
	.args = rpc_args,
	.run = run_rpc,
};

/* ---- methods ---- */

static enum cli_exit run_methods(struct cli *cli)
{
	json_t *result, *name;
	enum cli_exit rc = cli_call(cli, "rpc_get_methods", NULL, &result);
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	json_array_foreach (result, i, name) {
		cli_print("%s", json_is_string(name) ? json_string_value(name) : "");
	}
	json_decref(result);
	return CLI_OK;
}

const struct cli_command cli_methods = {
	.name = "methods",
	.help = "Lists the methods that the node knows.",
	.about = "docs/rpc.md describes them.",
	.run = run_methods,
};
