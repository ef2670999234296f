/* SPDX-License-Identifier: BSD-3-Clause */
/* volume usage: how much space volumes and snapshots take, alone and together with others. */
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/table.h"
#include "lib/util/uuid.h"

static const struct cli_arg usage_args[] = {
	{"NAME", "a store, or a volume: STORE/NAME or UUID (default: all)", CLI_VOLUMES,
		.is_optional = true},
	{0},
};

/* A store has one part in its name; a UUID is a volume's. */
static bool is_store(const char *name)
{
	struct xu_uuid uuid;

	return strchr(name, '/') == NULL && xu_uuid_parse(name, &uuid) != 0;
}

static void show_rows(struct table *table, const json_t *list)
{
	json_t *usage;
	size_t i;

	json_array_foreach (list, i, usage) {
		table_text(table, get_text(usage, "alias"));
		table_bytes(table, get_u64(usage, "size"));
		lvol_usage_cell(table, usage, "exclusive_bytes");
		lvol_usage_cell(table, usage, "shared_bytes");
		table_text(table, get_text(usage, "reason"));
	}
}

static enum cli_exit run_usage(struct cli *cli)
{
	static const struct table_column columns[] = {{"NAME"}, {"SIZE", true}, {"EXCLUSIVE", true},
		{"SHARED", true}, {"NOT KNOWN AS"}, {0}};
	const char *name = cli_word(cli, 0);
	struct table *table;
	json_t *list;
	enum cli_exit rc = cli_call(cli, "bdev_lvol_get_usage",
		name == NULL ? NULL
			     : json_pack("{s:s}", is_store(name) ? "lvs_name" : "name", name),
		&list);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, list);
	}
	table = table_new(columns);
	show_rows(table, list);
	table_finish(table, "there are no volumes; 'xsan volume create' makes one");
	json_decref(list);
	return CLI_OK;
}

const struct cli_command cli_volume_usage = {
	.name = "usage",
	.help = "Shows how much space volumes and snapshots take.",
	.about = "EXCLUSIVE is the space that only this one uses, which is free when it is "
		 "deleted;\n"
		 "SHARED is what it uses together with others.",
	.args = usage_args,
	.run = run_usage,
};
