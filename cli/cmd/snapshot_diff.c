/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * snapshot diff: where two snapshots or volumes may differ, for those who copy only what has
 * changed. The list may be long, so the node is asked for a part of it at a time; with volumes that
 * are written meanwhile the parts are of different moments.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lvol.h"
#include "cli/table.h"

#define PART 10000 /* extents of one answer */

static const struct cli_arg diff_args[] = {
	{"A", "a snapshot or volume: STORE/NAME or UUID", CLI_VOLUMES},
	{"B", "the other one, of the same store", CLI_VOLUMES},
	{0},
};

/* The whole answer, with all extents; a new object. */
static enum cli_exit get_diff(struct cli *cli, json_t **ret_diff)
{
	json_t *diff = NULL, *part, *extents;
	uint64_t offset = 0;
	enum cli_exit rc;

	do {
		rc = cli_call(cli, "bdev_lvol_diff",
			json_pack("{s:s, s:s, s:I, s:i}", "name", cli_word(cli, 0), "other_name",
				cli_word(cli, 1), "offset", (json_int_t)offset, "max", PART),
			&part);
		if (rc != CLI_OK) {
			json_decref(diff);
			diff = NULL;
			break;
		}
		extents = json_incref(json_object_get(part, "extents"));
		if (diff == NULL) {
			diff = part;
		} else {
			json_array_extend(json_object_get(diff, "extents"), extents);
			json_decref(part);
		}
		part = json_array_get(extents, PART - 1); /* full: there may be more */
		offset = get_u64(part, "offset") + get_u64(part, "length");
		json_decref(extents);
	} while (part != NULL);
	*ret_diff = diff;
	return rc;
}

static enum cli_exit run_diff(struct cli *cli)
{
	static const struct table_column columns[] = {{"OFFSET", true}, {"LENGTH", true}, {0}};
	char bytes[FORMAT_SIZE];
	json_t *diff, *extent;
	struct table *table;
	enum cli_exit rc = get_diff(cli, &diff);
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, diff);
	}
	table = table_new(columns);
	json_array_foreach (json_object_get(diff, "extents"), i, extent) {
		table_format(table, "%" PRIu64, get_u64(extent, "offset"));
		table_format(table, "%" PRIu64, get_u64(extent, "length"));
	}
	table_finish(table, "they do not differ");
	if (i > 0) {
		format_bytes(get_u64(diff, "bytes"), bytes);
		cli_print("%zu %s, %s", i, i == 1 ? "extent" : "extents", bytes);
	}
	json_decref(diff);
	return CLI_OK;
}

const struct cli_command cli_snapshot_diff = {
	.name = "diff",
	.help = "Lists where two snapshots or volumes of a store may differ.",
	.about = "By whole clusters that they do not share; OFFSET and LENGTH are bytes. What was\n"
		 "written with what it had before is listed too.",
	.args = diff_args,
	.run = run_diff,
};
