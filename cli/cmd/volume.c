/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * volume …: logical volumes of a node, as STORE/NAME: made, shown, changed, deleted. Snapshots are
 * volumes too; what is about them has commands of its own (snapshot.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/table.h"

static const struct cli_arg volume_args[] = {
	{"VOLUME", "the volume: STORE/NAME or UUID", CLI_VOLUMES},
	{0},
};

static json_t *name_params(const struct cli *cli)
{
	return json_pack("{s:s}", "name", cli_word(cli, 0));
}

/* ---- list, show ---- */

static const struct cli_arg list_args[] = {
	{"STORE", "the store (default: all)", CLI_STORES, .is_optional = true},
	{0},
};

static const char *stands_on(const json_t *lvol)
{
	const char *esnap = get_text(lvol, "external_snapshot_name");

	return esnap[0] != '\0' ? esnap : get_text(lvol, "base_snapshot");
}

static enum cli_exit run_list(struct cli *cli)
{
	static const struct table_column columns[] = {{"NAME"}, {"SIZE", true}, {"OWN", true},
		{"KIND"}, {"STANDS ON"}, {"CLONES", true}, {"STATE"}, {0}};
	json_t *list, *lvol;
	struct table *table;
	enum cli_exit rc = lvol_get_all(cli, cli_word(cli, 0), &list);
	char kind[LVOL_KIND_SIZE], state[LVOL_STATE_SIZE];
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, list);
	}
	table = table_new(columns);
	json_array_foreach (list, i, lvol) {
		lvol_kind(lvol, kind);
		lvol_state(lvol, state);
		table_text(table, get_text(lvol, "alias"));
		table_bytes(table, get_u64(lvol, "size"));
		table_bytes(table, lvol_own_bytes(lvol));
		table_text(table, kind);
		table_text(table, stands_on(lvol));
		table_format(table, "%zu", json_array_size(json_object_get(lvol, "clones")));
		table_text(table, state);
	}
	table_finish(table, "there are no volumes; 'xsan volume create' makes one");
	json_decref(list);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists volumes and snapshots.",
	.about = "OWN is the space that a volume itself takes, without what it stands on.",
	.args = list_args,
	.run = run_list,
};

static void show_clones(struct table *table, const json_t *lvol)
{
	json_t *name;
	size_t i;

	json_array_foreach (json_object_get(lvol, "clones"), i, name) {
		table_pair(table, i == 0 ? "clones" : "", "%s", json_string_value(name));
	}
}

static void show_usage(struct table *table, const json_t *lvol)
{
	char exclusive[FORMAT_SIZE], shared[FORMAT_SIZE];

	if (json_object_get(lvol, "shared_bytes") != NULL) {
		format_bytes(get_u64(lvol, "exclusive_bytes"), exclusive);
		format_bytes(get_u64(lvol, "shared_bytes"), shared);
		table_pair(table, "used space", "%s alone, %s together with others", exclusive,
			shared);
	}
}

static void show_volume(const json_t *lvol)
{
	struct table *table = table_new(table_pairs);
	uint64_t cluster = get_u64(lvol, "cluster_size");
	char size[FORMAT_SIZE], own[FORMAT_SIZE], text[LVOL_STATE_SIZE], kind[LVOL_KIND_SIZE];

	format_bytes(get_u64(lvol, "size"), size);
	format_bytes(lvol_own_bytes(lvol), own);
	lvol_kind(lvol, kind);
	lvol_state(lvol, text);
	table_pair(table, "name", "%s", get_text(lvol, "alias"));
	table_pair(table, "uuid", "%s", get_text(lvol, "uuid"));
	table_pair(table, "size", "%s (%" PRIu64 " bytes)", size, get_u64(lvol, "size"));
	table_pair(table, "own space", "%s (%" PRIu64 " of %" PRIu64 " clusters)", own,
		get_u64(lvol, "num_allocated_clusters"),
		cluster != 0 ? get_u64(lvol, "size") / cluster : 0);
	show_usage(table, lvol);
	table_pair(table, "kind", "%s", kind);
	table_pair(table, "stands on", "%s", stands_on(lvol));
	show_clones(table, lvol);
	table_pair(table, "state", "%s", text[0] != '\0' ? text : "in order");
	table_print_rows(table);
	table_free(table);
}

static enum cli_exit run_show(struct cli *cli)
{
	json_t *lvol, *list;
	enum cli_exit rc = lvol_get(cli, cli_word(cli, 0), &lvol);

	if (rc != CLI_OK) {
		return rc;
	}
	list = json_pack("[O]", lvol);
	lvol_add_usage(cli, NULL, get_text(lvol, "uuid"), list);
	json_decref(list);
	if (cli->is_json) {
		return cli_finish_json(rc, lvol);
	}
	show_volume(lvol);
	json_decref(lvol);
	return CLI_OK;
}

static const struct cli_command show_command = {
	.name = "show",
	.help = "Shows all of one volume or snapshot.",
	.args = volume_args,
	.run = run_show,
};

/* ---- create, delete ---- */

static const char *const clear_methods[] = {"default", "none", "unmap", "write_zeroes", NULL};

static const struct cli_arg create_args[] = {
	{"VOLUME", "STORE/NAME of the new volume", CLI_STORES},
	{"SIZE", "such as 10GiB; rounded up to whole clusters", .is_optional = true},
	{0},
};

static const struct cli_option create_options[] = {
	{"from-device", 0, "DEVICE", "begin with its content and size, and stand on it",
		.words = CLI_DEVICES},
	{"thin", 't', .help = "clusters are taken when they are written (default: all at once)"},
	{"clear", 0, "METHOD", "of what it gives back: unmap, write_zeroes or none",
		.choices = clear_methods},
	{"uuid", 0, "UUID", "identity (default: a new one)"},
	{0},
};

static enum cli_exit create_from_device(struct cli *cli, const char *store, const char *name)
{
	const char *device = cli_option(cli, "from-device");

	if (cli_word(cli, 1) != NULL || cli_option(cli, "clear") != NULL) {
		return cli_usage(cli,
			"SIZE and --clear do not go with --from-device; 'xsan volume resize' gives "
			"another size");
	}
	return cli_do(cli, "bdev_lvol_clone_bdev",
		json_pack("{s:s, s:s, s:s, s:s*}", "bdev", device, "lvs_name", store, "clone_name",
			name, "uuid", cli_option(cli, "uuid")),
		"volume %s is there, on %s", cli_word(cli, 0), device);
}

static enum cli_exit run_create(struct cli *cli)
{
	char store[LVOL_NAME_SIZE];
	const char *name;
	json_t *params;
	enum cli_exit rc = lvol_split(cli, "VOLUME", cli_word(cli, 0), store, &name);

	if (rc != CLI_OK) {
		return rc;
	}
	if (cli_option(cli, "from-device") != NULL) {
		return create_from_device(cli, store, name);
	}
	if (cli_word(cli, 1) == NULL) {
		return cli_usage(cli, "SIZE is missing; --from-device does without");
	}
	params = json_pack("{s:s, s:s, s:b, s:s*, s:s*}", "lvs_name", store, "lvol_name", name,
		"thin_provision", cli_option(cli, "thin") != NULL, "clear_method",
		cli_option(cli, "clear"), "lvol_uuid", cli_option(cli, "uuid"));
	rc = lvol_set_size(cli, params, "size", "SIZE", cli_word(cli, 1));
	if (rc != CLI_OK) {
		json_decref(params);
		return rc;
	}
	return lvol_do(cli, "bdev_lvol_create", params, cli_word(cli, 0), "volume %s is there",
		cli_word(cli, 0));
}

static const struct cli_command create_command = {
	.name = "create",
	.help = "Makes a volume, which reads zeroes.",
	.about = "It is a device, which 'xsan namespace add' exports. With --from-device it is\n"
		 "thin and reads what that device has, which nobody can write to then; when\n"
		 "the device goes the volume goes too, until it is back.",
	.args = create_args,
	.options = create_options,
	.run = run_create,
};

static enum cli_exit run_delete(struct cli *cli)
{
	return lvol_do(cli, "bdev_lvol_delete", name_params(cli), cli_word(cli, 0), "%s is deleted",
		cli_word(cli, 0));
}

static const struct cli_command delete_command = {
	.name = "delete",
	.help = "Deletes a volume that nobody uses, and its content.",
	.args = volume_args,
	.run = run_delete,
};

/* ---- changes ---- */

static const struct cli_arg rename_args[] = {
	{"VOLUME", "the volume: STORE/NAME or UUID", CLI_VOLUMES},
	{"NAME", "the name that it gets in its store"},
	{0},
};

static enum cli_exit run_rename(struct cli *cli)
{
	const char *volume = cli_word(cli, 0), *name;

	if (lvol_name_beside(cli, "NAME", volume, cli_word(cli, 1), &name) != CLI_OK) {
		return CLI_USAGE;
	}
	return cli_do(cli, "bdev_lvol_rename",
		json_pack("{s:s, s:s}", "old_name", volume, "new_name", name), "%s is called %s",
		volume, name);
}

static const struct cli_command rename_command = {
	.name = "rename",
	.help = "Gives a volume that nobody uses another name.",
	.args = rename_args,
	.run = run_rename,
};

static const struct cli_arg resize_args[] = {
	{"VOLUME", "the volume: STORE/NAME or UUID", CLI_VOLUMES},
	{"SIZE", "such as 20GiB; rounded up to whole clusters"},
	{0},
};

static const struct cli_option resize_options[] = {
	{"shrink", 0, .help = "also to a smaller size; what is beyond it is lost"},
	{0},
};

static enum cli_exit run_resize(struct cli *cli)
{
	const char *name = cli_word(cli, 0);
	json_t *params = name_params(cli), *lvol;
	enum cli_exit rc = lvol_set_size(cli, params, "size", "SIZE", cli_word(cli, 1));
	bool is_smaller;

	if (rc == CLI_OK) {
		rc = lvol_get(cli, name, &lvol);
	}
	if (rc != CLI_OK) {
		json_decref(params);
		return rc;
	}
	is_smaller = get_u64(params, "size") < get_u64(lvol, "size");
	json_decref(lvol);
	if (is_smaller && cli_option(cli, "shrink") == NULL) {
		cli_say(cli,
			"%s is larger than that; --shrink makes it smaller, and what is "
			"beyond the new size is lost",
			name);
		json_decref(params);
		return CLI_REFUSED;
	}
	return lvol_do(cli, "bdev_lvol_resize", params, name, "%s has its new size", name);
}

static const struct cli_command resize_command = {
	.name = "resize",
	.help = "Makes a volume larger or, with --shrink, smaller, while it is used.",
	.args = resize_args,
	.options = resize_options,
	.run = run_resize,
};

static enum cli_exit run_inflate(struct cli *cli)
{
	return lvol_do(cli, "bdev_lvol_inflate", name_params(cli), cli_word(cli, 0),
		"%s has all of its space itself and stands on nothing", cli_word(cli, 0));
}

static const struct cli_command inflate_command = {
	.name = "inflate",
	.help = "Gives a volume all of its space itself, while it is used.",
	.about = "It stands on no snapshot and is not thin then.",
	.args = volume_args,
	.run = run_inflate,
};

static enum cli_exit run_decouple(struct cli *cli)
{
	return lvol_do(cli, "bdev_lvol_decouple_parent", name_params(cli), cli_word(cli, 0),
		"%s does not stand on the snapshot any more", cli_word(cli, 0));
}

static const struct cli_command decouple_command = {
	.name = "decouple",
	.help = "Gives a volume itself what it has of the snapshot below, while it is used.",
	.about = "It stands on what that stands on then, and is as thin as before.",
	.args = volume_args,
	.run = run_decouple,
};

static const struct cli_arg parent_args[] = {
	{"VOLUME", "the volume, a thin one: STORE/NAME or UUID", CLI_VOLUMES},
	{"SNAPSHOT", "what it is to stand on, of the same size and store", CLI_SNAPSHOTS,
		.is_optional = true},
	{0},
};

static const struct cli_option parent_options[] = {
	{"device", 0, "DEVICE", "stand on a device outside of the store instead",
		.words = CLI_DEVICES},
	{0},
};

static enum cli_exit run_set_parent(struct cli *cli)
{
	const char *snapshot = cli_word(cli, 1), *device = cli_option(cli, "device");
	const char *parent = device != NULL ? device : snapshot;

	if ((snapshot == NULL) == (device == NULL)) {
		return cli_usage(cli, "on what? Either SNAPSHOT or --device is needed");
	}
	return cli_do(cli, device != NULL ? "bdev_lvol_set_parent_bdev" : "bdev_lvol_set_parent",
		json_pack("{s:s, s:s}", "lvol_name", cli_word(cli, 0), "parent_name", parent),
		"%s stands on %s", cli_word(cli, 0), parent);
}

static const struct cli_command set_parent_command = {
	.name = "set-parent",
	.help = "Lets a thin volume stand on another snapshot or device; what it has stays.",
	.about = "What it has not written itself reads as the other snapshot then.",
	.args = parent_args,
	.options = parent_options,
	.run = run_set_parent,
};

static enum cli_exit run_read_only(struct cli *cli)
{
	return cli_do(cli, "bdev_lvol_set_read_only", name_params(cli),
		"%s can be read, and cloned, only", cli_word(cli, 0));
}

static const struct cli_command read_only_command = {
	.name = "read-only",
	.help = "Lets nobody write to a volume any more, for good.",
	.args = volume_args,
	.run = run_read_only,
};

static enum cli_exit run_cancel(struct cli *cli)
{
	json_t *result;
	enum cli_exit rc = cli_call(cli, "bdev_lvol_cancel", name_params(cli), &result);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	cli_print(json_is_true(result) ? "what is being done with %s is to stop"
				       : "nothing is being done with %s that could be stopped",
		cli_word(cli, 0));
	json_decref(result);
	return CLI_OK;
}

static const struct cli_command cancel_command = {
	.name = "cancel",
	.help = "Stops what is being done with a volume.",
	.args = volume_args,
	.run = run_cancel,
};

static const struct cli_command *const members[] = {&list_command, &show_command, &cli_volume_usage,
	&create_command, &delete_command, &resize_command, &rename_command, &inflate_command,
	&decouple_command, &set_parent_command, &read_only_command, &cancel_command, NULL};

const struct cli_command cli_volume = {
	.name = "volume",
	.help = "Makes, shows and changes logical volumes.",
	.members = members,
};
