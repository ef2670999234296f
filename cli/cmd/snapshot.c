/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * snapshot …: snapshots of logical volumes: taken, shown, cloned, brought back, deleted. A snapshot
 * is a volume that can only be read; the command that deletes one refuses others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/table.h"

static const struct cli_arg snapshot_args[] = {
	{"SNAPSHOT", "the snapshot: STORE/NAME or UUID", CLI_SNAPSHOTS},
	{0},
};

/* ---- list ---- */

static const struct cli_arg list_args[] = {
	{"STORE", "the store (default: all)", CLI_STORES, .is_optional = true},
	{0},
};

static void keep_snapshots(json_t *list)
{
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *lvol = json_array_get(list, i);

		if (!get_bool(lvol, "read_only") || get_bool(lvol, "hidden")) {
			json_array_remove(list, i);
		}
	}
}

/* "a, b, c" of a list of names. */
static void join(const json_t *names, char *text, size_t size)
{
	json_t *name;
	size_t i, len = 0;

	text[0] = '\0';
	json_array_foreach (names, i, name) {
		if (len < size) {
			len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? ", " : "",
				json_string_value(name));
		}
	}
}

static enum cli_exit run_list(struct cli *cli)
{
	static const struct table_column columns[] = {
		{"NAME"}, {"SIZE", true}, {"OWN", true}, {"STANDS ON"}, {"ON IT STAND"}, {0}};
	json_t *list, *lvol;
	struct table *table;
	enum cli_exit rc = lvol_get_all(cli, cli_word(cli, 0), &list);
	char clones[256];
	size_t i;

	keep_snapshots(list);
	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, list);
	}
	table = table_new(columns);
	json_array_foreach (list, i, lvol) {
		join(json_object_get(lvol, "clones"), clones, sizeof(clones));
		table_text(table, get_text(lvol, "alias"));
		table_bytes(table, get_u64(lvol, "size"));
		table_bytes(table, lvol_own_bytes(lvol));
		table_text(table, get_text(lvol, "base_snapshot"));
		table_text(table, clones);
	}
	table_finish(table, "there are no snapshots; 'xsan snapshot create' takes one");
	json_decref(list);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists snapshots and other volumes that can only be read.",
	.args = list_args,
	.run = run_list,
};

/* ---- create, clone ---- */

static const struct cli_arg create_args[] = {
	{"VOLUME", "the volume: STORE/NAME or UUID", CLI_VOLUMES},
	{"SNAPSHOT", "name of the snapshot, in the same store"},
	{0},
};

static enum cli_exit run_create(struct cli *cli)
{
	const char *volume = cli_word(cli, 0), *name;

	if (lvol_name_beside(cli, "SNAPSHOT", volume, cli_word(cli, 1), &name) != CLI_OK) {
		return CLI_USAGE;
	}
	return cli_do(cli, "bdev_lvol_snapshot",
		json_pack("{s:s, s:s}", "lvol_name", volume, "snapshot_name", name),
		"snapshot %s of %s is taken", name, volume);
}

static const struct cli_command create_command = {
	.name = "create",
	.help = "Takes a snapshot of a volume, which may be in use.",
	.about = "All that was acknowledged to those who use the volume is in it.",
	.args = create_args,
	.run = run_create,
};

static const struct cli_arg clone_args[] = {
	{"SNAPSHOT", "the snapshot: STORE/NAME or UUID", CLI_SNAPSHOTS},
	{"CLONE", "name of the clone, in the same store"},
	{0},
};

static enum cli_exit run_clone(struct cli *cli)
{
	const char *snapshot = cli_word(cli, 0), *name;

	if (lvol_name_beside(cli, "CLONE", snapshot, cli_word(cli, 1), &name) != CLI_OK) {
		return CLI_USAGE;
	}
	return cli_do(cli, "bdev_lvol_clone",
		json_pack("{s:s, s:s}", "snapshot_name", snapshot, "clone_name", name),
		"clone %s of %s is there", name, snapshot);
}

static const struct cli_command clone_command = {
	.name = "clone",
	.help = "Makes a thin volume with the content of a snapshot.",
	.args = clone_args,
	.run = run_clone,
};

/* ---- restore, delete ---- */

static enum cli_exit run_restore(struct cli *cli)
{
	return lvol_do(cli, "bdev_lvol_restore", json_pack("{s:s}", "name", cli_word(cli, 0)),
		cli_word(cli, 0), "the volume has the content of %s again", cli_word(cli, 0));
}

static const struct cli_command restore_command = {
	.name = "restore",
	.help = "Gives a volume the content of a snapshot again; what it had is lost.",
	.about = "It is the volume that the snapshot was taken of, or, if that is not known, the\n"
		 "only one on it that can be written. Nobody may use it. Later snapshots stay.",
	.args = snapshot_args,
	.run = run_restore,
};

static enum cli_exit run_delete(struct cli *cli)
{
	const char *name = cli_word(cli, 0);
	json_t *lvol;
	enum cli_exit rc = lvol_get(cli, name, &lvol);
	bool is_snapshot = get_bool(lvol, "read_only");

	json_decref(lvol);
	if (rc != CLI_OK) {
		return rc;
	}
	if (!is_snapshot) {
		cli_say(cli,
			"%s is a volume that can be written, no snapshot; 'xsan volume delete' "
			"deletes it",
			name);
		return CLI_REFUSED;
	}
	return lvol_do(cli, "bdev_lvol_delete", json_pack("{s:s}", "name", name), name,
		"snapshot %s is deleted", name);
}

static const struct cli_command delete_command = {
	.name = "delete",
	.help = "Deletes a snapshot; what stands on it keeps its content.",
	.args = snapshot_args,
	.run = run_delete,
};

static const struct cli_command *const members[] = {&list_command, &cli_snapshot_tree,
	&cli_snapshot_diff, &create_command, &clone_command, &cli_snapshot_copy, &restore_command,
	&delete_command, NULL};

const struct cli_command cli_snapshot = {
	.name = "snapshot",
	.help = "Takes, shows, clones, copies, restores and deletes snapshots of volumes.",
	.members = members,
};
