/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * snapshot tree: what stands on what in each store, and the space that each uses. The lines
 * of a tree are drawn in the characters of every terminal.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/table.h"

#define MAX_DEPTH 64u /* that is drawn; what is deeper stands at this depth */

static const struct cli_arg tree_args[] = {
	{"STORE", "the store (default: all)", CLI_STORES, .is_optional = true},
	{0},
};

struct drawing {
	struct table *table;
	const json_t *list; /* of one store */
	char indent[3 * MAX_DEPTH + 1];
};

/* Whether it stands on the volume of this name; "" is nothing. One whose parent is in no list
 * stands on nothing that can be drawn. */
static bool is_child(const json_t *lvol, const char *parent)
{
	return strcmp(get_text(lvol, "base_snapshot"), parent) == 0;
}

static size_t count_children(const struct drawing *drawing, const char *parent)
{
	json_t *lvol;
	size_t i, nr = 0;

	json_array_foreach (drawing->list, i, lvol) {
		nr += is_child(lvol, parent);
	}
	return nr;
}

static void draw_row(struct drawing *drawing, const json_t *lvol, const char *branch)
{
	char kind[LVOL_KIND_SIZE], state[LVOL_STATE_SIZE];

	lvol_kind(lvol, kind);
	lvol_state(lvol, state);
	table_format(drawing->table, "%s%s%s", drawing->indent, branch, get_text(lvol, "name"));
	table_bytes(drawing->table, get_u64(lvol, "size"));
	lvol_usage_cell(drawing->table, lvol, "exclusive_bytes");
	lvol_usage_cell(drawing->table, lvol, "shared_bytes");
	table_text(drawing->table, kind);
	table_text(drawing->table, state);
}

/* The children of a volume, and theirs. */
static void draw_children(struct drawing *drawing, const char *parent, size_t depth)
{
	size_t left = count_children(drawing, parent), len = strlen(drawing->indent), i;
	json_t *lvol;

	json_array_foreach (drawing->list, i, lvol) {
		if (!is_child(lvol, parent)) {
			continue;
		}
		left--;
		draw_row(drawing, lvol, depth == 0 ? "" : left == 0 ? "`- " : "|- ");
		if (depth < MAX_DEPTH && depth > 0) {
			strcat(drawing->indent, left == 0 ? "   " : "|  ");
		}
		if (depth < MAX_DEPTH) {
			draw_children(drawing, get_text(lvol, "name"), depth + 1);
		}
		drawing->indent[len] = '\0';
	}
}

static enum cli_exit draw_store(struct cli *cli, const json_t *store)
{
	static const struct table_column columns[] = {{"NAME"}, {"SIZE", true}, {"EXCLUSIVE", true},
		{"SHARED", true}, {"KIND"}, {"STATE"}, {0}};
	uint64_t cluster = get_u64(store, "cluster_size");
	char size[FORMAT_SIZE], free_size[FORMAT_SIZE];
	struct drawing drawing = {0};
	json_t *list;
	enum cli_exit rc = lvol_get_all(cli, get_text(store, "name"), &list);

	if (rc != CLI_OK) {
		return rc;
	}
	format_bytes(get_u64(store, "total_data_clusters") * cluster, size);
	format_bytes(get_u64(store, "free_clusters") * cluster, free_size);
	cli_print("%s on %s: %s, %s free", get_text(store, "name"), get_text(store, "base_bdev"),
		size, free_size);
	lvol_add_usage(cli, get_text(store, "name"), NULL, list);
	drawing.list = list;
	drawing.table = table_new(columns);
	draw_children(&drawing, "", 0);
	table_finish(drawing.table, "it has no volumes");
	json_decref(list);
	return CLI_OK;
}

static enum cli_exit run_tree(struct cli *cli)
{
	const char *name = cli_word(cli, 0);
	json_t *stores, *store;
	enum cli_exit rc;
	size_t i;

	if (cli->is_json) {
		rc = lvol_get_all(cli, name, &stores);
		lvol_add_usage(cli, name, NULL, stores);
		return cli_finish_json(rc, stores);
	}
	rc = cli_call(
		cli, "bdev_lvol_get_lvstores", json_pack("{s:s*}", "lvs_name", name), &stores);
	json_array_foreach (stores, i, store) {
		if (rc == CLI_OK && i > 0) {
			cli_print("%s", "");
		}
		if (rc == CLI_OK) {
			rc = draw_store(cli, store);
		}
	}
	if (rc == CLI_OK && json_array_size(stores) == 0) {
		cli_print("there are no stores; 'xsan lvs create' makes one");
	}
	json_decref(stores);
	return rc;
}

const struct cli_command cli_snapshot_tree = {
	.name = "tree",
	.help = "Shows what stands on what, and the space that it takes.",
	.about = "EXCLUSIVE is the space that only this one uses, which is free when it is "
		 "deleted;\n"
		 "SHARED is what it uses together with others.",
	.args = tree_args,
	.run = run_tree,
};
