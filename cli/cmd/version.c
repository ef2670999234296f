/* SPDX-License-Identifier: BSD-3-Clause */
/* version: of xsan, and of the node when one answers. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"

static enum cli_exit run(struct cli *cli)
{
	json_t *result;
	enum cli_exit rc;

	if (!cli->is_json) {
		printf("xsan %s\n", XSAN_VERSION);
	}
	rc = cli_call(cli, "spdk_get_version", NULL, &result);
	if (rc != CLI_OK) {
		return rc;
	}
	if (cli->is_json) {
		cli_finish_json(
			CLI_OK, json_pack("{s:s, s:O}", "xsan", XSAN_VERSION, "node", result));
	} else {
		cli_print("node %s", get_text(result, "version"));
	}
	json_decref(result);
	return CLI_OK;
}

const struct cli_command cli_version = {
	.name = "version",
	.help = "Prints the versions of xsan and of the node.",
	.about = "Without a node, see 'xsan --version'.",
	.run = run,
};
