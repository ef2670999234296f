/* SPDX-License-Identifier: BSD-3-Clause */
/* log level: shows or sets what a node logs. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char *const levels[] = {"fatal", "error", "warn", "info", "debug", "trace", NULL};

static const struct cli_arg level_args[] = {
	{"LEVEL", "the least important level that is logged (default: show it)", .choices = levels,
		.is_optional = true},
	{0},
};

/* The node answers with SPDK's names, "WARNING" where ours is "warn". */
static enum cli_exit show_level(struct cli *cli)
{
	json_t *result;
	enum cli_exit rc = cli_call(cli, "log_get_level", NULL, &result);
	char name[16] = "";

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	snprintf(name, sizeof(name), "%s", json_is_string(result) ? json_string_value(result) : "");
	json_decref(result);
	for (char *c = name; *c != '\0'; c++) {
		*c = (char)tolower((unsigned char)*c);
	}
	cli_print("%s", strcmp(name, "warning") == 0 ? "warn" : name);
	return CLI_OK;
}

static enum cli_exit run_level(struct cli *cli)
{
	const char *level = cli_word(cli, 0);
	char name[16];

	if (level == NULL) {
		return show_level(cli);
	}
	snprintf(name, sizeof(name), "%s", level);
	for (char *c = name; *c != '\0'; c++) {
		*c = (char)toupper((unsigned char)*c);
	}
	return cli_do(cli, "log_set_level", json_pack("{s:s}", "level", name),
		"the node logs from %s on", level);
}

static const struct cli_command level_command = {
	.name = "level",
	.help = "Shows or sets the log level.",
	.args = level_args,
	.run = run_level,
};

static const struct cli_command *const members[] = {&level_command, NULL};

const struct cli_command cli_log = {
	.name = "log",
	.help = "Shows and changes what the node logs.",
	.members = members,
};
