/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of all commands. A command is one file and one entry here. */
#include <stddef.h>

#include "cli/cli.h"

static const struct cli_command *const commands[] = {
	&cli_status,
	&cli_device,
	&cli_md,
	&cli_lvs,
	&cli_volume,
	&cli_snapshot,
	&cli_subsystem,
	&cli_namespace,
	&cli_listener,
	&cli_connections,
	&cli_iostat,
	&cli_reactors,
	&cli_log,
	&cli_registry,
	&cli_config,
	&cli_rpc,
	&cli_methods,
	&cli_completion,
	&cli_complete,
	&cli_version,
	&cli_help,
	NULL,
};

const struct cli_command cli_root = {
	.name = "xsan",
	.help = "Shows and changes a running XSAN storage node, or a registry of targets.",
	.members = commands,
};
