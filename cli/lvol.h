/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands on stores, volumes and snapshots share. */
#ifndef XSAN_LVOL_H
#define XSAN_LVOL_H

#include "cli/cli.h"

struct table;

/* lvs_check.c: member of the group of stores. snapshot_tree.c: of that of snapshots. */
extern const struct cli_command cli_lvs_check, cli_snapshot_tree;
/* volume_usage.c; snapshot_diff.c; snapshot_copy.c. */
extern const struct cli_command cli_volume_usage, cli_snapshot_diff, cli_snapshot_copy;

#define LVOL_NAME_SIZE 64u /* of a store or of a volume in it, with the NUL */

/* All volumes and snapshots, of one store if `store` is not NULL; a new list. */
enum cli_exit lvol_get_all(struct cli *cli, const char *store, json_t **ret_list);
/* What the node says of the one that is called so, STORE/NAME or UUID; a new object. */
enum cli_exit lvol_get(struct cli *cli, const char *name, json_t **ret_lvol);
/* Adds "exclusive_bytes" and "shared_bytes" to those volumes of a list of which the node knows them
 * now; all volumes are of `store` if that is not NULL, or there is one, called `volume`. */
void lvol_add_usage(struct cli *cli, const char *store, const char *volume, json_t *list);
/* Adds a cell with one of these members, or "-". */
void lvol_usage_cell(struct table *table, const json_t *lvol, const char *key);
/* Whether a volume of a list is called so. */
bool lvol_is_called(const json_t *lvol, const char *name);

/* Bytes that the volume itself has on the device. */
uint64_t lvol_own_bytes(const json_t *lvol);
/* "thin, read-only": what it is. */
#define LVOL_KIND_SIZE 64u
void lvol_kind(const json_t *lvol, char text[LVOL_KIND_SIZE]);
/* What is being done with it, or why it cannot be used; "" when there is nothing to say. */
#define LVOL_STATE_SIZE 320u
void lvol_state(const json_t *lvol, char text[LVOL_STATE_SIZE]);

/* Splits STORE/NAME, or says that it is none. */
enum cli_exit lvol_split(const struct cli *cli, const char *what, const char *text,
	char store[LVOL_NAME_SIZE], const char **ret_name);
/* The name of what is made in the store of `volume`: NAME, or STORE/NAME of the same store. */
enum cli_exit lvol_name_beside(const struct cli *cli, const char *what, const char *volume,
	const char *text, const char **ret_name);

/* Adds an option that is a size, as its number of bytes. */
enum cli_exit lvol_set_size(
	const struct cli *cli, json_t *params, const char *key, const char *what, const char *text);

/*
 * Does what may take long with one volume: no time limit but a --timeout that is given, and a bar
 * on a terminal. The node goes on with it when xsan is interrupted.
 */
enum cli_exit lvol_do(struct cli *cli, const char *method, json_t *params, const char *volume,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
