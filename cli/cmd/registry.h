/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of `xsan registry` share. */
#ifndef XSAN_CMD_REGISTRY_H
#define XSAN_CMD_REGISTRY_H

#include <jansson.h>

#include "cli/cli.h"

struct table;

extern const struct cli_command registry_register_command, registry_update_command,
	registry_status_command, registry_report_command, registry_drain_command,
	registry_delete_command, registry_select_command, registry_watch_command,
	registry_export_command, registry_import_command, registry_backup_command,
	registry_restore_command, registry_hosts_command, registry_zones_command,
	registry_alerts_command, registry_config_command;

extern const char *const registry_states[];
extern const char *const registry_transports[];
extern const struct cli_arg registry_target_args[]; /* TARGET */
extern const struct cli_option registry_options[];  /* those of REGISTRY_OPTIONS alone */

/* The filters of `list`, from the options that the command has of them. New reference. */
json_t *registry_list_query(struct cli *cli);
/* Prints all of a target, whose failures are taken out. */
void registry_show(json_t *target);
/* Adds a cell with address and port. */
void registry_add_place(struct table *table, const json_t *target);

#define REGISTRY_WHAT_SIZE 400u
/* What an event says beyond its kind; "" of most. */
void registry_event_what(const json_t *event, char what[REGISTRY_WHAT_SIZE]);

/* The members of a report, and what can be desired of a target, for completion; end with NULL. */
extern const char *const registry_metrics[];
extern const char *const registry_settings[];

#endif
