/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands on arrays share. */
#ifndef XSAN_MD_H
#define XSAN_MD_H

#include "cli/cli.h"

/* md_show.c, md_stat.c: members of the group. */
extern const struct cli_command cli_md_detail, cli_md_examine, cli_md_stat, cli_md_monitor;

/* Gets everything about one array. */
enum cli_exit md_get_detail(struct cli *cli, const char *name, json_t **ret_detail);

/* "[=====>..............]" */
#define MD_BAR_SIZE 24u
void md_bar(double percent, char text[MD_BAR_SIZE]);
/* Minutes until what runs is done at its present speed; negative: nobody knows. */
double md_minutes_left(const json_t *sync);
/* Whether a resync, recovery, check or repair runs. */
bool md_is_syncing(const json_t *detail);

/* A UUID as mdadm writes it, of one with dashes. */
#define MD_UUID_SIZE 40u
void md_uuid_text(const char *uuid, char text[MD_UUID_SIZE]);
/* The other way round; what is no UUID in mdadm's spelling stays as it is. A new JSON string. */
json_t *md_uuid_json(const char *text);

#endif
