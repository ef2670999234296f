/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * md detail, md examine: what an array and a superblock say, in the fields, order and words of
 * mdadm --detail and --examine, so that people and scripts that know those find their way. Devices
 * have names here and no major and minor numbers.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/json.h"
#include "cli/md.h"

#define KIB 1024u

static const struct cli_arg array_args[] = {
	{"ARRAY", "name or UUID of an array", CLI_ARRAYS, .is_repeated = true},
	{0},
};

static const struct cli_arg device_args[] = {
	{"DEVICE", "name or UUID of a device", CLI_DEVICES, .is_repeated = true},
	{0},
};

/* ---- lines ---- */

static void line(int width, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void line(int width, const char *name, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_print("%*s : %s", width, name, text);
}

/* "(7.00 MiB 7.34 MB)"; from 2 GiB on in the larger units. */
static void human(uint64_t bytes, char *text, size_t size)
{
	double mib = (double)bytes / KIB / KIB, mb = (double)bytes / 1e6;
	bool is_large = bytes >= 2ull << 30;

	snprintf(text, size, "(%.2f %s %.2f %s)", is_large ? mib / KIB : mib,
		is_large ? "GiB" : "MiB", is_large ? mb / 1e3 : mb, is_large ? "GB" : "MB");
}

static void time_line(int width, const char *name, uint64_t seconds)
{
	time_t when = (time_t)seconds;
	char text[64] = "";
	struct tm tm;

	if (localtime_r(&when, &tm) != NULL) {
		strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm);
	}
	line(width, name, "%s", text);
}

static void chunk_line(int width, const char *name, uint64_t bytes)
{
	if (bytes != 0) {
		line(width, name, "%" PRIu64 "K", bytes / KIB);
	}
}

/* mdadm words some lines of these in another way. */
static bool is_linear(const json_t *super)
{
	return strcmp(get_text(super, "raid_level"), "linear") == 0;
}

/* ---- detail ---- */

#define WIDTH 18 /* of the names */

static void state_line(const json_t *detail)
{
	const json_t *sync = json_object_get(detail, "sync");
	const char *action = get_text(sync, "action");
	bool is_recovery = strcmp(action, "recovery") == 0;

	line(WIDTH, "State", "%s%s%s%s%s%s", get_text(detail, "state"),
		get_bool(detail, "degraded") ? ", degraded" : "",
		strcmp(action, "resync") == 0 ? ", resyncing"
		: is_recovery                 ? ", recovering"
					      : "",
		strcmp(action, "check") == 0    ? ", checking"
		: strcmp(action, "repair") == 0 ? ", repairing"
						: "",
		get_bool(detail, "read_only") ? ", readonly" : "",
		get_bool(sync, "frozen") ? ", FROZEN" : "");
}

static void sizes(const json_t *detail)
{
	uint64_t size = get_u64(detail, "size"), member = get_u64(detail, "member_size");
	char text[64];

	human(size, text, sizeof(text));
	line(WIDTH, "Array Size", "%" PRIu64 " %s", size / KIB, text);
	if (member != 0) {
		human(member, text, sizeof(text));
		line(WIDTH, "Used Dev Size", "%" PRIu64 " %s", member / KIB, text);
	}
}

static void counts(const json_t *detail)
{
	uint64_t active = get_u64(detail, "active_disks"), spare = get_u64(detail, "spare_disks");
	uint64_t rebuilding = get_u64(detail, "rebuilding_disks");

	line(WIDTH, "Active Devices", "%" PRIu64, active);
	line(WIDTH, "Working Devices", "%" PRIu64, active + spare + rebuilding);
	line(WIDTH, "Failed Devices", "%" PRIu64, get_u64(detail, "failed_disks"));
	line(WIDTH, "Spare Devices", "%" PRIu64, spare + rebuilding);
}

static void progress(const json_t *detail)
{
	static const struct {
		const char *action, *name;
	} names[] = {{"recovery", "Rebuild Status"}, {"resync", "Resync Status"},
		{"check", "Check Status"}, {"repair", "Repair Status"}};
	const json_t *sync = json_object_get(detail, "sync");
	double percent = get_number(sync, "percent"), minutes = md_minutes_left(sync);
	char bar[MD_BAR_SIZE], left[48] = "";

	if (!md_is_syncing(detail)) {
		return;
	}
	md_bar(percent, bar);
	if (minutes >= 0) {
		snprintf(left, sizeof(left), ", %.1f min left", minutes);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(get_text(sync, "action"), names[i].action) == 0) {
			line(WIDTH, names[i].name, "%d%% complete", (int)percent);
			line(WIDTH, "Progress", "%s %" PRIu64 "K/sec%s", bar,
				get_u64(sync, "speed"), left);
			cli_print("%s", "");
		}
	}
}

static const char *disk_state(const json_t *disk)
{
	static const struct {
		const char *state, *text;
	} states[] = {{"active", "active sync"}, {"rebuilding", "spare rebuilding"},
		{"spare", "spare"}, {"faulty", "faulty"}, {"removed", "removed"}};
	const char *state = get_text(disk, "state");

	if (get_bool(disk, "is_replacement") && strcmp(state, "rebuilding") == 0) {
		return "replacement rebuilding";
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(state, states[i].state) == 0) {
			return states[i].text;
		}
	}
	return state;
}

static void disks(const json_t *detail)
{
	json_t *disk;
	size_t i;

	cli_print("%s", "");
	cli_print("    Number   RaidDevice State");
	json_array_foreach (json_object_get(detail, "disks"), i, disk) {
		const json_t *number = json_object_get(disk, "number");
		json_int_t role = json_integer_value(json_object_get(disk, "raid_disk"));
		char number_text[16] = "-", role_text[16] = "-";

		if (json_is_integer(number)) {
			snprintf(number_text, sizeof(number_text), "%d",
				(int)json_integer_value(number));
		}
		if (role >= 0) {
			snprintf(role_text, sizeof(role_text), "%d", (int)role);
		}
		cli_print("%8s %10s      %s%s   %s", number_text, role_text, disk_state(disk),
			get_bool(disk, "is_write_mostly") ? " writemostly" : "",
			get_text(disk, "name"));
	}
}

static uint64_t count_there(const json_t *detail)
{
	json_t *disk;
	uint64_t count = 0;
	size_t i;

	json_array_foreach (json_object_get(detail, "disks"), i, disk) {
		count += strcmp(get_text(disk, "state"), "removed") != 0;
	}
	return count;
}

static void show_detail(const json_t *detail)
{
	uint64_t mismatches = get_u64(json_object_get(detail, "sync"), "mismatch_sectors");
	const char *policy = get_text(detail, "consistency_policy");
	char uuid[MD_UUID_SIZE];

	cli_print("%s:", get_text(detail, "name"));
	line(WIDTH, "Version", "1.2");
	time_line(WIDTH, "Creation Time", get_u64(detail, "created"));
	line(WIDTH, "Raid Level", "%s", get_text(detail, "raid_level"));
	sizes(detail);
	line(WIDTH, "Raid Devices", "%" PRIu64, get_u64(detail, "raid_disks"));
	line(WIDTH, "Total Devices", "%" PRIu64, count_there(detail));
	line(WIDTH, "Persistence", "Superblock is persistent");
	cli_print("%s", "");
	if (strcmp(policy, "bitmap") == 0) {
		line(WIDTH, "Intent Bitmap", "Internal");
		cli_print("%s", "");
	}
	time_line(WIDTH, "Update Time", get_u64(detail, "updated"));
	state_line(detail);
	counts(detail);
	cli_print("%s", "");
	if (get_text(detail, "layout")[0] != '\0') {
		line(WIDTH, "Layout", "%s", get_text(detail, "layout"));
	}
	chunk_line(WIDTH, is_linear(detail) ? "Rounding" : "Chunk Size",
		get_u64(detail, "chunk_size"));
	if (policy[0] != '\0') {
		cli_print("%s", "");
		line(WIDTH, "Consistency Policy", "%s", policy);
	}
	if (get_text(detail, "spare_group")[0] != '\0') {
		line(WIDTH, "Spare Group", "%s", get_text(detail, "spare_group"));
	}
	if (get_u64(detail, "write_behind") != 0) {
		line(WIDTH, "Write Behind", "%" PRIu64 " (now %" PRIu64 ")",
			get_u64(detail, "write_behind"), get_u64(detail, "writes_behind"));
	}
	cli_print("%s", "");
	progress(detail);
	if (mismatches != 0) {
		line(WIDTH, "Mismatch Count", "%" PRIu64, mismatches);
	}
	md_uuid_text(get_text(detail, "uuid"), uuid);
	line(WIDTH, "Name", "%s", get_text(detail, "set_name"));
	line(WIDTH, "UUID", "%s", uuid);
	line(WIDTH, "Events", "%" PRIu64, get_u64(detail, "events"));
	disks(detail);
}

/* ---- for each word ---- */

/* Asks about each word and shows the answers, or all of them as one list for programs. */
static enum cli_exit show_all(
	struct cli *cli, const char *method, void (*show)(const json_t *answer))
{
	json_t *list = json_array(), *answer;
	enum cli_exit rc = CLI_OK;

	for (size_t i = 0; i < cli->nr_words && rc == CLI_OK; i++) {
		rc = cli_call(cli, method, json_pack("{s:s}", "name", cli_word(cli, i)), &answer);
		if (rc != CLI_OK) {
			break;
		}
		if (!cli->is_json) {
			if (i > 0) {
				cli_print("%s", "");
			}
			show(answer);
		}
		json_array_append_new(list, answer);
	}
	if (rc == CLI_OK && cli->is_json) {
		cli_print_json(list);
	}
	json_decref(list);
	return rc;
}

static enum cli_exit run_detail(struct cli *cli)
{
	return show_all(cli, "bdev_raid_get_detail", show_detail);
}

const struct cli_command cli_md_detail = {
	.name = "detail",
	.help = "Shows everything about arrays, as mdadm --detail does.",
	.args = array_args,
	.run = run_detail,
};

/* ---- examine ---- */

#define NARROW 15 /* of the names of a superblock */

static void sectors_line(const char *name, uint64_t bytes)
{
	char text[64];

	human(bytes, text, sizeof(text));
	line(NARROW, name, "%" PRIu64 " sectors %s", bytes / 512, text);
}

static void examined_sizes(const json_t *super)
{
	uint64_t array = get_u64(super, "array_size"), member = get_u64(super, "member_size");
	uint64_t available = get_u64(super, "available_size");
	char text[64];

	sectors_line("Avail Dev Size", available);
	if (array != 0) {
		human(array, text, sizeof(text));
		line(NARROW, "Array Size", "%" PRIu64 " KiB %s", array / KIB, text);
	}
	if (member != 0 && member != available) {
		sectors_line("Used Dev Size", member);
	} else if (is_linear(super)) {
		line(NARROW, "Used Dev Size", "0 sectors");
	}
	line(NARROW, "Data Offset", "%" PRIu64 " sectors", get_u64(super, "data_offset") / 512);
	line(NARROW, "Super Offset", "%" PRIu64 " sectors", get_u64(super, "super_offset") / 512);
	line(NARROW, "Unused Space", "before=%" PRIu64 " sectors, after=%" PRIu64 " sectors",
		get_u64(super, "unused_before") / 512, get_u64(super, "unused_after") / 512);
	if (json_object_get(super, "recovery_offset") != NULL) {
		line(NARROW, "Recovery Offset", "%" PRIu64 " sectors",
			get_u64(super, "recovery_offset") / 512);
	}
}

static void examined_logs(const json_t *super)
{
	const json_t *bitmap = json_object_get(super, "bitmap_offset");

	cli_print("%s", "");
	if (bitmap != NULL) {
		line(NARROW, "Internal Bitmap", "%d sectors from superblock",
			(int)(json_integer_value(bitmap) / 512));
	}
	if (get_bool(super, "is_write_mostly")) {
		line(NARROW, "Flags", "write-mostly");
	}
	time_line(NARROW, "Update Time", get_u64(super, "updated"));
	/* mdadm counts entries: eight bytes each. */
	if (json_object_get(super, "bad_block_log_offset") != NULL) {
		line(NARROW, "Bad Block Log",
			"%" PRIu64 " entries available at offset %d sectors%s",
			get_u64(super, "bad_block_log_size") / 8,
			(int)(json_integer_value(json_object_get(super, "bad_block_log_offset")) /
				512),
			get_bool(super, "bad_blocks") ? " - bad blocks present." : "");
	}
	line(NARROW, "Checksum", "%" PRIx64 " - correct", get_u64(super, "checksum"));
	line(NARROW, "Events", "%" PRIu64, get_u64(super, "events"));
}

static void show_examined(const json_t *super)
{
	const char *used_by = get_text(super, "used_by"), *layout = get_text(super, "layout_name");
	char uuid[MD_UUID_SIZE];

	cli_print("%s:", get_text(super, "name"));
	line(NARROW, "Magic", "a92b4efc");
	line(NARROW, "Version", "%s", get_text(super, "version"));
	line(NARROW, "Feature Map", "0x%" PRIx64, get_u64(super, "feature_map"));
	md_uuid_text(get_text(super, "uuid"), uuid);
	line(NARROW, "Array UUID", "%s", uuid);
	line(NARROW, "Name", "%s", get_text(super, "set_name"));
	time_line(NARROW, "Creation Time", get_u64(super, "created"));
	line(NARROW, "Raid Level", "%s", get_text(super, "raid_level"));
	line(NARROW, "Raid Devices", "%" PRIu64, get_u64(super, "raid_disks"));
	cli_print("%s", "");
	examined_sizes(super);
	line(NARROW, "State", "%s", get_bool(super, "clean") ? "clean" : "active");
	md_uuid_text(get_text(super, "device_uuid"), uuid);
	line(NARROW, "Device UUID", "%s", uuid);
	examined_logs(super);
	cli_print("%s", "");
	if (layout[0] != '\0') {
		line(NARROW, "Layout", "%s", layout);
	}
	chunk_line(
		NARROW, is_linear(super) ? "Rounding" : "Chunk Size", get_u64(super, "chunk_size"));
	cli_print("%s", "");
	line(NARROW - 1, "Device Role", "%s", get_text(super, "role"));
	line(NARROW - 1, "Array State", "%s ('A' == active, '.' == missing, 'R' == replacing)",
		get_text(super, "array_state"));
	if (used_by[0] != '\0') {
		line(NARROW - 1, "Used By", "%s", used_by);
	}
}

/* ---- examine --bitmap ---- */

#define BITMAP_WIDTH 16

static void chunk_text(uint64_t bytes, char *text, size_t size)
{
	bool is_large = bytes >= 1u << 20;

	snprintf(text, size, "%" PRIu64 " %s", is_large ? bytes >> 20 : bytes >> 10,
		is_large ? "MB" : "KB");
}

static void show_bitmap(const json_t *super)
{
	const json_t *bitmap = json_object_get(super, "bitmap");
	uint64_t bits = get_u64(bitmap, "bits"), dirty = get_u64(bitmap, "dirty");
	uint64_t behind = get_u64(bitmap, "write_behind"), size = get_u64(bitmap, "sync_size");
	char text[64], uuid[MD_UUID_SIZE];

	line(BITMAP_WIDTH, "Filename", "%s", get_text(super, "name"));
	if (bitmap == NULL) {
		line(BITMAP_WIDTH, "Magic", "none: there is no bitmap that can be read");
		return;
	}
	line(BITMAP_WIDTH, "Magic", "6d746962");
	line(BITMAP_WIDTH, "Version", "%" PRIu64, get_u64(bitmap, "version"));
	md_uuid_text(get_text(bitmap, "uuid"), uuid);
	line(BITMAP_WIDTH, "UUID", "%s", uuid);
	line(BITMAP_WIDTH, "Events", "%" PRIu64, get_u64(bitmap, "events"));
	line(BITMAP_WIDTH, "Events Cleared", "%" PRIu64, get_u64(bitmap, "events_cleared"));
	line(BITMAP_WIDTH, "State", "%s", get_bool(bitmap, "out_of_date") ? "Out of date" : "OK");
	chunk_text(get_u64(bitmap, "chunk_size"), text, sizeof(text));
	line(BITMAP_WIDTH, "Chunksize", "%s", text);
	line(BITMAP_WIDTH, "Daemon", "%" PRIu64 "s flush period", get_u64(bitmap, "flush_period"));
	if (behind != 0) {
		line(BITMAP_WIDTH, "Write Mode", "Allow write behind, max %" PRIu64, behind);
	} else {
		line(BITMAP_WIDTH, "Write Mode", "Normal");
	}
	human(size, text, sizeof(text));
	line(BITMAP_WIDTH, "Sync Size", "%" PRIu64 " %s", size / KIB, text);
	line(BITMAP_WIDTH, "Bitmap", "%" PRIu64 " bits (chunks), %" PRIu64 " dirty (%.1f%%)", bits,
		dirty, bits != 0 ? 100.0 * (double)dirty / (double)bits : 0.0);
}

static const struct cli_option examine_options[] = {
	{"bitmap", 'X', .help = "of the write-intent bitmap, as mdadm --examine-bitmap"},
	{0},
};

static enum cli_exit run_examine(struct cli *cli)
{
	return show_all(cli, "bdev_raid_examine",
		cli_option(cli, "bitmap") != NULL ? show_bitmap : show_examined);
}

const struct cli_command cli_md_examine = {
	.name = "examine",
	.help = "Shows what the superblocks of devices say, as mdadm --examine does.",
	.args = device_args,
	.options = examine_options,
	.run = run_examine,
};
