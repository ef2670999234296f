/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lvs …: stores of logical volumes of a node: made, shown, renamed, given up, destroyed. What is
 * decided here is only that a store with volumes is not destroyed without --force.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/table.h"

static const struct cli_arg store_args[] = {
	{"STORE", "name of the store", CLI_STORES},
	{0},
};

/* ---- list ---- */

static void list_row(struct table *table, const json_t *store)
{
	uint64_t cluster = get_u64(store, "cluster_size");
	uint64_t total = get_u64(store, "total_data_clusters");
	uint64_t nr_free = get_u64(store, "free_clusters");
	uint64_t promised = get_u64(store, "promised_clusters");
	const char *reason = get_text(store, "read_only_reason");

	table_text(table, get_text(store, "name"));
	table_text(table, get_text(store, "base_bdev"));
	table_bytes(table, total * cluster);
	table_bytes(table, nr_free * cluster);
	table_format(table, "%.0f %%",
		total != 0 ? 100.0 * (double)(total - nr_free) / (double)total : 0.0);
	table_format(table, "%.0f %%", total != 0 ? 100.0 * (double)promised / (double)total : 0.0);
	table_bytes(table, cluster);
	table_format(table, "%" PRIu64, get_u64(store, "num_lvols"));
	table_format(table, "%s%s", reason[0] != '\0' ? "read-only: " : "read-write", reason);
}

/* Stores that are on a device and could not be attached. */
static void list_refused(struct cli *cli)
{
	json_t *list, *refused;
	size_t i;

	if (cli_try(cli, "bdev_lvol_get_refused_lvstores", NULL, &list) != CLI_OK) {
		return;
	}
	json_array_foreach (list, i, refused) {
		cli_print("the store on %s cannot be attached: %s", get_text(refused, "base_bdev"),
			get_text(refused, "reason"));
	}
	json_decref(list);
}

static enum cli_exit run_list(struct cli *cli)
{
	static const struct table_column columns[] = {{"NAME"}, {"DEVICE"}, {"SIZE", true},
		{"FREE", true}, {"USED", true}, {"PROMISED", true}, {"CLUSTER", true},
		{"VOLUMES", true}, {"ACCESS"}, {0}};
	json_t *stores, *store;
	struct table *table;
	enum cli_exit rc = cli_call(cli, "bdev_lvol_get_lvstores", NULL, &stores);
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, stores);
	}
	table = table_new(columns);
	json_array_foreach (stores, i, store) {
		list_row(table, store);
	}
	table_finish(table, "there are no stores; 'xsan lvs create' makes one");
	json_decref(stores);
	list_refused(cli);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists the stores and those that could not be attached.",
	.about = "PROMISED is what the volumes would take if all of them were full; more than\n"
		 "100 % means that the store can run out of space before they are.",
	.run = run_list,
};

/* ---- create ---- */

static const char *const clear_methods[] = {"unmap", "write_zeroes", "none", NULL};

static const struct cli_arg create_args[] = {
	{"STORE", "name of the new store"},
	{"DEVICE", "the device, which is blank", CLI_DEVICES},
	{0},
};

static const struct cli_option create_options[] = {
	{"cluster-size", 'c', "SIZE", "a power of two from 4KiB (default 4MiB)"},
	{"metadata-ratio", 'm', "PAGES", "pages of metadata for 100 clusters (default 100)"},
	{"clear", 0, "METHOD", "of the device: unmap, write_zeroes or none (default unmap)",
		.choices = clear_methods},
	{"uuid", 0, "UUID", "identity (default: a new one)"},
	{0},
};

static enum cli_exit run_create(struct cli *cli)
{
	const char *size = cli_option(cli, "cluster-size");
	const char *ratio = cli_option(cli, "metadata-ratio");
	json_t *params = json_pack("{s:s, s:s, s:s*, s:s*}", "lvs_name", cli_word(cli, 0),
		"bdev_name", cli_word(cli, 1), "clear_method", cli_option(cli, "clear"), "uuid",
		cli_option(cli, "uuid"));
	enum cli_exit rc = CLI_OK;
	uint64_t value;

	if (size != NULL) {
		rc = lvol_set_size(cli, params, "cluster_sz", "--cluster-size", size);
	}
	if (rc == CLI_OK && ratio != NULL) {
		rc = cli_parse_u64(cli, "--metadata-ratio", ratio, 1, UINT32_MAX, &value);
		if (rc == CLI_OK) {
			json_object_set_new(params, "num_md_pages_per_cluster_ratio",
				json_integer((json_int_t)value));
		}
	}
	if (rc != CLI_OK) {
		json_decref(params);
		return rc;
	}
	return cli_do(cli, "bdev_lvol_create_lvstore", params, "store %s is on %s",
		cli_word(cli, 0), cli_word(cli, 1));
}

static const struct cli_command create_command = {
	.name = "create",
	.help = "Makes a store of logical volumes on a blank device.",
	.about = "A device that holds anything is refused; what it holds is named.",
	.args = create_args,
	.options = create_options,
	.run = run_create,
};

/* ---- destroy, rename, attach, detach ---- */

static const struct cli_option destroy_options[] = {
	{"force", 'f', .help = "also with volumes, which are lost"},
	{0},
};

static enum cli_exit run_destroy(struct cli *cli)
{
	const char *name = cli_word(cli, 0);
	json_t *lvols;
	enum cli_exit rc = lvol_get_all(cli, name, &lvols);
	size_t nr = json_array_size(lvols);

	json_decref(lvols);
	if (rc != CLI_OK) {
		return rc;
	}
	if (nr > 0 && cli_option(cli, "force") == NULL) {
		cli_say(cli,
			"store %s has %zu volume%s; --force destroys %s too ('xsan volume list %s' "
			"lists them)",
			name, nr, nr == 1 ? "" : "s", nr == 1 ? "it" : "them", name);
		return CLI_REFUSED;
	}
	return cli_do(cli, "bdev_lvol_delete_lvstore", json_pack("{s:s}", "lvs_name", name),
		"store %s is destroyed", name);
}

static const struct cli_command destroy_command = {
	.name = "destroy",
	.help = "Destroys a store and, with --force, its volumes, none of which may be in use.",
	.args = store_args,
	.options = destroy_options,
	.run = run_destroy,
};

static const struct cli_arg rename_args[] = {
	{"STORE", "name of the store", CLI_STORES},
	{"NAME", "the name that it gets"},
	{0},
};

static enum cli_exit run_rename(struct cli *cli)
{
	return cli_do(cli, "bdev_lvol_rename_lvstore",
		json_pack("{s:s, s:s}", "old_name", cli_word(cli, 0), "new_name", cli_word(cli, 1)),
		"store %s is called %s", cli_word(cli, 0), cli_word(cli, 1));
}

static const struct cli_command rename_command = {
	.name = "rename",
	.help = "Gives a store another name; none of its volumes may be in use.",
	.args = rename_args,
	.run = run_rename,
};

static enum cli_exit run_grow(struct cli *cli)
{
	const char *name = cli_word(cli, 0);

	return cli_do(cli, "bdev_lvol_grow_lvstore", json_pack("{s:s}", "lvs_name", name),
		"store %s has the space that its device has", name);
}

static const struct cli_command grow_command = {
	.name = "grow",
	.help = "Lets a store take what its device has grown by, while it is used.",
	.args = store_args,
	.run = run_grow,
};

static const struct cli_option set_options[] = {
	{"space-wait", 'w', "SECONDS", "how long a write waits for space (0: it fails at once)"},
	{"low", 0, "PERCENT", "used space at which it is told that it becomes scarce"},
	{"high", 0, "PERCENT", "the second one; both 0: none"},
	{0},
};

static enum cli_exit set_percent(
	const struct cli *cli, json_t *params, const char *option, const char *key)
{
	const char *text = cli_option(cli, option);
	char name[16];
	uint64_t value;

	if (text == NULL) {
		return CLI_OK;
	}
	snprintf(name, sizeof(name), "--%s", option);
	if (cli_parse_u64(cli, name, text, 0, 100, &value) != CLI_OK) {
		return CLI_USAGE;
	}
	json_object_set_new(params, key, json_integer((json_int_t)value));
	return CLI_OK;
}

static enum cli_exit run_set(struct cli *cli)
{
	const char *name = cli_word(cli, 0), *wait = cli_option(cli, "space-wait");
	json_t *params = json_pack("{s:s}", "lvs_name", name);
	enum cli_exit rc = set_percent(cli, params, "low", "low_percent");
	uint64_t wait_ms;

	if (rc == CLI_OK) {
		rc = set_percent(cli, params, "high", "high_percent");
	}
	if (rc == CLI_OK && wait != NULL) {
		rc = cli_parse_seconds(cli, "--space-wait", wait, 0, 86400000, &wait_ms);
		if (rc == CLI_OK) {
			json_object_set_new(
				params, "space_wait_ms", json_integer((json_int_t)wait_ms));
		}
	}
	if (rc != CLI_OK) {
		json_decref(params);
		return rc;
	}
	return cli_do(
		cli, "bdev_lvol_set_lvstore_options", params, "it is set; store %s keeps it", name);
}

static const struct cli_command set_command = {
	.name = "set",
	.help = "Sets what happens when a store runs out of space.",
	.about = "The store keeps it on its device.",
	.args = store_args,
	.options = set_options,
	.run = run_set,
};

static const struct cli_arg attach_args[] = {
	{"DEVICE", "name or UUID of the device", CLI_DEVICES},
	{0},
};

static enum cli_exit run_attach(struct cli *cli)
{
	return cli_do(cli, "bdev_examine", json_pack("{s:s}", "name", cli_word(cli, 0)),
		"the store on %s is attached", cli_word(cli, 0));
}

static const struct cli_command attach_command = {
	.name = "attach",
	.help = "Attaches the store of a device that was detached or is of another machine.",
	.about = "Stores of this machine's devices are attached when these appear.",
	.args = attach_args,
	.run = run_attach,
};

static enum cli_exit run_detach(struct cli *cli)
{
	const char *name = cli_word(cli, 0);

	return cli_do(cli, "bdev_lvol_detach_lvstore", json_pack("{s:s}", "lvs_name", name),
		"store %s is detached; its device keeps it", name);
}

static const struct cli_command detach_command = {
	.name = "detach",
	.help = "Gives up a store, of which nothing may be in use; its device keeps it.",
	.args = store_args,
	.run = run_detach,
};

static const struct cli_command *const members[] = {&list_command, &create_command,
	&destroy_command, &rename_command, &grow_command, &set_command, &attach_command,
	&detach_command, &cli_lvs_check, NULL};

const struct cli_command cli_lvs = {
	.name = "lvs",
	.help = "Makes, shows and changes stores of logical volumes, which are SPDK's on disk.",
	.members = members,
};
