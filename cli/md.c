/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands on arrays share: details, progress, mdadm's spelling of UUIDs. */
#include "cli/md.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"

enum cli_exit md_get_detail(struct cli *cli, const char *name, json_t **ret_detail)
{
	return cli_call(cli, "bdev_raid_get_detail", json_pack("{s:s}", "name", name), ret_detail);
}

bool md_is_syncing(const json_t *detail)
{
	const char *action = get_text(json_object_get(detail, "sync"), "action");

	return action[0] != '\0' && strcmp(action, "idle") != 0;
}

void md_bar(double percent, char text[MD_BAR_SIZE])
{
	int done = percent < 0 ? 0 : percent > 100 ? 20 : (int)(percent / 5);

	text[0] = '[';
	for (int i = 0; i < 21; i++) {
		text[1 + i] = i < done ? '=' : i == done ? '>' : '.';
	}
	text[22] = ']';
	text[23] = '\0';
}

double md_minutes_left(const json_t *sync)
{
	uint64_t total = get_u64(sync, "total_sectors"), done = get_u64(sync, "done_sectors");
	uint64_t speed = get_u64(sync, "speed");

	if (speed == 0 || done > total) {
		return -1;
	}
	return (double)(total - done) / 2 / (double)speed / 60;
}

json_t *md_uuid_json(const char *text)
{
	char digits[MD_UUID_SIZE];
	size_t len = 0;

	for (const char *c = text; *c != '\0' && len < sizeof(digits) - 1; c++) {
		if (isxdigit((unsigned char)*c)) {
			digits[len++] = *c;
		}
	}
	if (strchr(text, ':') == NULL || len != 32) {
		return json_string(text);
	}
	return json_sprintf("%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12,
		digits + 16, digits + 20);
}

void md_uuid_text(const char *uuid, char text[MD_UUID_SIZE])
{
	size_t nr_digits = 0, len = 0;

	for (; *uuid != '\0' && nr_digits < 32; uuid++) {
		if (!isxdigit((unsigned char)*uuid)) {
			continue;
		}
		if (nr_digits > 0 && nr_digits % 8 == 0) {
			text[len++] = ':';
		}
		text[len++] = *uuid;
		nr_digits++;
	}
	text[len] = '\0';
}
