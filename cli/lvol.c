/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands on stores, volumes and snapshots share: finding, naming, describing. */
#include "cli/lvol.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/table.h"
#include "lib/util/size.h"

/* ---- finding ---- */

enum cli_exit lvol_get_all(struct cli *cli, const char *store, json_t **ret_list)
{
	return cli_call(
		cli, "bdev_lvol_get_lvols", json_pack("{s:s*}", "lvs_name", store), ret_list);
}

bool lvol_is_called(const json_t *lvol, const char *name)
{
	return !get_bool(lvol, "hidden") && (strcmp(get_text(lvol, "alias"), name) == 0 ||
						    strcmp(get_text(lvol, "uuid"), name) == 0);
}

enum cli_exit lvol_get(struct cli *cli, const char *name, json_t **ret_lvol)
{
	json_t *list, *lvol, *found = NULL;
	enum cli_exit rc = lvol_get_all(cli, NULL, &list);
	size_t i;

	json_array_foreach (list, i, lvol) {
		if (found == NULL && lvol_is_called(lvol, name)) {
			found = json_incref(lvol);
		}
	}
	json_decref(list);
	if (rc == CLI_OK && found == NULL) {
		cli_say(cli,
			"there is no volume '%s'; 'xsan volume list' lists them, as STORE/NAME",
			name);
		rc = CLI_REFUSED;
	}
	*ret_lvol = found;
	return rc;
}

void lvol_add_usage(struct cli *cli, const char *store, const char *volume, json_t *list)
{
	json_t *usages, *usage, *lvol, *by_uuid = json_object();
	size_t i;

	(void)cli_try(cli, "bdev_lvol_get_usage",
		json_pack("{s:s*, s:s*}", "lvs_name", store, "name", volume), &usages);
	json_array_foreach (usages, i, usage) {
		json_object_set(by_uuid, get_text(usage, "uuid"), usage);
	}
	json_array_foreach (list, i, lvol) {
		static const char *const keys[] = {"exclusive_bytes", "shared_bytes"};

		usage = json_object_get(by_uuid, get_text(lvol, "uuid"));
		for (size_t key = 0; key < sizeof(keys) / sizeof(keys[0]); key++) {
			json_t *value = json_object_get(usage, keys[key]);

			if (value != NULL) {
				json_object_set(lvol, keys[key], value);
			}
		}
	}
	json_decref(by_uuid);
	json_decref(usages);
}

/* ---- describing ---- */

void lvol_usage_cell(struct table *table, const json_t *lvol, const char *key)
{
	if (json_object_get(lvol, key) != NULL) {
		table_bytes(table, get_u64(lvol, key));
	} else {
		table_text(table, NULL);
	}
}

uint64_t lvol_own_bytes(const json_t *lvol)
{
	return get_u64(lvol, "num_allocated_clusters") * get_u64(lvol, "cluster_size");
}

void lvol_kind(const json_t *lvol, char text[LVOL_KIND_SIZE])
{
	snprintf(text, LVOL_KIND_SIZE, "%s%s%s",
		get_bool(lvol, "is_thin_provisioned") ? "thin" : "thick",
		get_bool(lvol, "read_only") ? ", read-only" : "",
		get_bool(lvol, "hidden") ? ", deleted" : "");
}

void lvol_state(const json_t *lvol, char text[LVOL_STATE_SIZE])
{
	const json_t *process = json_object_get(lvol, "process");
	const char *reason = get_text(lvol, "reason");

	text[0] = '\0';
	if (process != NULL) {
		snprintf(text, LVOL_STATE_SIZE, "being %s, %.1f %%", get_text(process, "type"),
			get_number(process, "percent"));
	} else if (reason[0] != '\0') {
		snprintf(text, LVOL_STATE_SIZE, "cannot be used: %s", reason);
	} else if (get_bool(lvol, "is_degraded") && !get_bool(lvol, "hidden")) {
		snprintf(text, LVOL_STATE_SIZE, "cannot be used: what it stands on cannot");
	}
}

/* ---- naming ---- */

enum cli_exit lvol_split(const struct cli *cli, const char *what, const char *text,
	char store[LVOL_NAME_SIZE], const char **ret_name)
{
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : 0;

	if (len == 0 || len >= LVOL_NAME_SIZE || slash[1] == '\0') {
		return cli_usage(cli, "%s: '%s' is not accepted; it takes STORE/NAME", what, text);
	}
	memcpy(store, text, len);
	store[len] = '\0';
	*ret_name = slash + 1;
	return CLI_OK;
}

enum cli_exit lvol_name_beside(const struct cli *cli, const char *what, const char *volume,
	const char *text, const char **ret_name)
{
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) + 1 : 0;

	if (strncmp(volume, text, len) != 0) {
		return cli_usage(cli,
			"%s: '%s' is not accepted; it takes a name in the same store as %s", what,
			text, volume);
	}
	*ret_name = text + len;
	return CLI_OK;
}

enum cli_exit lvol_set_size(
	const struct cli *cli, json_t *params, const char *key, const char *what, const char *text)
{
	uint64_t bytes;

	if (xu_size_parse(text, &bytes) != 0 || bytes == 0 || bytes > INT64_MAX) {
		return cli_usage(cli,
			"%s: '%s' is not accepted; it takes a size, such as 10GiB or 512M", what,
			text);
	}
	json_object_set_new(params, key, json_integer((json_int_t)bytes));
	return CLI_OK;
}

/* ---- doing ---- */

enum cli_exit lvol_do(struct cli *cli, const char *method, json_t *params, const char *volume,
	const char *fmt, ...)
{
	json_t *result;
	enum cli_exit rc = cli_call_long(cli, method, params, volume, &result);
	char text[1024];
	va_list args;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_print("%s", text);
	json_decref(result);
	return CLI_OK;
}
