/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * md stat: all arrays in a few lines each, as /proc/mdstat has them. md monitor: what happens in
 * arrays, as it happens: the node's events are asked for again and again, by their numbers, so none
 * is shown twice, and how many have been missed is known.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/json.h"
#include "cli/md.h"

#define LINE_SIZE 1024u

static void sleep_ms(uint64_t ms)
{
	struct timespec left = {
		.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left) != 0 && errno == EINTR) {
	}
}

/* Appends to a line, as far as there is room. */
static void append(char line[LINE_SIZE], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void append(char line[LINE_SIZE], const char *fmt, ...)
{
	size_t len = strlen(line);
	va_list args;

	va_start(args, fmt);
	vsnprintf(line + len, LINE_SIZE - len, fmt, args);
	va_end(args);
}

/* ---- stat ---- */

static void show_devices(const json_t *detail, char line[LINE_SIZE])
{
	json_t *disk, *all = json_object_get(detail, "disks");

	for (size_t i = json_array_size(all); i-- > 0;) {
		const char *state;

		disk = json_array_get(all, i);
		state = get_text(disk, "state");
		if (strcmp(state, "removed") == 0) {
			continue;
		}
		append(line, " %s[%" PRIu64 "]%s%s%s%s", get_text(disk, "name"),
			get_u64(disk, "number"), get_bool(disk, "is_write_mostly") ? "(W)" : "",
			strcmp(state, "faulty") == 0 ? "(F)" : "",
			strcmp(state, "spare") == 0 ? "(S)" : "",
			get_bool(disk, "is_replacement") ? "(R)" : "");
	}
}

/* "level 5, 512k chunk, algorithm 2", "2 near-copies", "64k chunks". */
static void show_shape(const json_t *detail, char line[LINE_SIZE])
{
	static const char *const algorithms[] = {"left-asymmetric", "right-asymmetric",
		"left-symmetric", "right-symmetric", "parity-first", "parity-last"};
	const char *level = get_text(detail, "raid_level"), *layout = get_text(detail, "layout");
	uint64_t chunk = get_u64(detail, "chunk_size") / 1024;
	char kind[16];
	int copies;

	if (strcmp(level, "raid4") != 0 && strcmp(level, "raid5") != 0 &&
		strcmp(level, "raid6") != 0) {
		if (chunk != 0) {
			append(line, " %" PRIu64 "K chunks", chunk);
		}
		if (sscanf(layout, "%15[a-z]=%d", kind, &copies) == 2) {
			append(line, " %d %s-copies", copies, kind);
		}
		return;
	}
	append(line, " level %s, %" PRIu64 "k chunk, algorithm", level + strlen("raid"), chunk);
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		if (strcmp(layout, algorithms[i]) == 0) {
			append(line, " %zu", i);
			return;
		}
	}
	append(line, " %s", layout);
}

/* "[3/2] [UU_]": members in sync, by role. */
static void show_roles(const json_t *detail, char line[LINE_SIZE])
{
	uint64_t nr_roles = get_u64(detail, "raid_disks"), nr_active = 0;
	char letters[33] = "";
	json_t *disk;
	size_t i;

	nr_roles = nr_roles < sizeof(letters) ? nr_roles : sizeof(letters) - 1;
	memset(letters, '_', nr_roles);
	json_array_foreach (json_object_get(detail, "disks"), i, disk) {
		json_int_t role = json_integer_value(json_object_get(disk, "raid_disk"));

		if (strcmp(get_text(disk, "state"), "active") == 0 && role >= 0 &&
			(uint64_t)role < nr_roles && letters[role] == '_') {
			letters[role] = 'U';
			nr_active++;
		}
	}
	append(line, " [%" PRIu64 "/%" PRIu64 "] [%s]", nr_roles, nr_active, letters);
}

static void show_progress(const json_t *detail)
{
	const json_t *sync = json_object_get(detail, "sync");
	double percent = get_number(sync, "percent"), minutes = md_minutes_left(sync);
	char bar[MD_BAR_SIZE], finish[32] = "unknown";

	if (!md_is_syncing(detail)) {
		if (get_bool(sync, "resync_due")) {
			cli_print("      \tresync=%s",
				get_bool(sync, "frozen") ? "DELAYED" : "PENDING");
		}
		return;
	}
	if (minutes >= 0) {
		snprintf(finish, sizeof(finish), "%.1fmin", minutes);
	}
	md_bar(percent, bar);
	cli_print("      %s  %s = %.1f%% (%" PRIu64 "/%" PRIu64 ") finish=%s speed=%" PRIu64
		  "K/sec",
		bar, get_text(sync, "action"), percent, get_u64(sync, "done_sectors") / 2,
		get_u64(sync, "total_sectors") / 2, finish, get_u64(sync, "speed"));
}

static void show_array(const json_t *detail)
{
	const char *level = get_text(detail, "raid_level");
	char line[LINE_SIZE] = "";

	append(line, "%s : %s%s %s", get_text(detail, "name"),
		strcmp(get_text(detail, "state"), "failed") == 0 ? "failed" : "active",
		get_bool(detail, "read_only") ? " (read-only)" : "", level);
	show_devices(detail, line);
	cli_print("%s", line);
	line[0] = '\0';
	append(line, "      %" PRIu64 " blocks super 1.2", get_u64(detail, "size") / 1024);
	show_shape(detail, line);
	if (strcmp(level, "linear") != 0 && strcmp(level, "raid0") != 0) {
		show_roles(detail, line);
	}
	cli_print("%s", line);
	show_progress(detail);
	if (strcmp(get_text(detail, "consistency_policy"), "bitmap") == 0) {
		cli_print("      bitmap: internal");
	}
	cli_print("%s", "");
}

/* The details of all arrays, as a new list. An array that goes meanwhile is left out. */
static enum cli_exit get_all(struct cli *cli, json_t **ret_details)
{
	json_t *arrays, *array, *detail, *details = json_array();
	enum cli_exit rc = cli_call(cli, "bdev_raid_get_bdevs", NULL, &arrays);
	size_t i;

	json_array_foreach (arrays, i, array) {
		if (rc == CLI_OK && cli_try(cli, "bdev_raid_get_detail",
					    json_pack("{s:s}", "name", get_text(array, "name")),
					    &detail) == CLI_OK) {
			json_array_append_new(details, detail);
		}
	}
	json_decref(arrays);
	if (rc != CLI_OK) {
		json_decref(details);
		details = NULL;
	}
	*ret_details = details;
	return rc;
}

static enum cli_exit stat_once(struct cli *cli)
{
	json_t *details, *detail;
	enum cli_exit rc = get_all(cli, &details);
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, details);
	}
	cli_print("Personalities : [linear] [raid0] [raid1] [raid10] [raid6] [raid5] [raid4]");
	json_array_foreach (details, i, detail) {
		show_array(detail);
	}
	if (json_array_size(details) == 0) {
		cli_print("there are no arrays; 'xsan md create' makes one");
	}
	json_decref(details);
	return CLI_OK;
}

static const struct cli_option repeat_options[] = {
	{"interval", 'i', "SECONDS", "show it again and again with this time between"},
	{"count", 'n', "COUNT", "so often (default: once, with --interval until interrupted)"},
	{0},
};

static enum cli_exit run_stat(struct cli *cli)
{
	const char *interval = cli_option(cli, "interval"), *count_text = cli_option(cli, "count");
	uint64_t interval_ms = 1000, count = interval == NULL;
	enum cli_exit rc = CLI_OK;

	if (interval != NULL) {
		rc = cli_parse_seconds(cli, "--interval", interval, 100, 86400000, &interval_ms);
	}
	if (rc == CLI_OK && count_text != NULL) {
		rc = cli_parse_u64(cli, "--count", count_text, 1, UINT32_MAX, &count);
	}
	for (uint64_t i = 0; rc == CLI_OK && (count == 0 || i < count) && !ferror(stdout); i++) {
		if (i > 0) {
			sleep_ms(interval_ms);
		}
		rc = stat_once(cli);
		fflush(stdout);
	}
	return rc;
}

const struct cli_command cli_md_stat = {
	.name = "stat",
	.help = "Shows all arrays and what they are doing, as /proc/mdstat does.",
	.about =
		"(F) is a member that has failed, (S) a spare, (R) a replacement, (W) one that is\n"
		"read only when it must be. [3/2] [UU_]: two of three members are in sync.",
	.options = repeat_options,
	.run = run_stat,
};

/* ---- monitor ---- */

struct monitor {
	struct cli *cli;
	json_t *arrays;   /* names of those that there are, as far as events have told */
	uint64_t next_id; /* of the event that has not been seen yet */
	uint64_t nr_shown;
	uint64_t count; /* so many are to be shown; 0: all */
};

/* Keeps the names of all arrays, or `only` this one if it is an array: of the others the events
 * that told of them may be still to come. */
static enum cli_exit look_for_arrays(struct monitor *monitor, const char *only)
{
	json_t *list, *array;
	enum cli_exit rc = cli_call(monitor->cli, "bdev_raid_get_bdevs", NULL, &list);
	size_t i;

	if (rc != CLI_OK) {
		return rc;
	}
	json_array_foreach (list, i, array) {
		const char *name = get_text(array, "name");

		if (only == NULL || strcmp(name, only) == 0) {
			json_object_set_new(monitor->arrays, name, json_true());
		}
	}
	json_decref(list);
	return CLI_OK;
}

static bool is_wanted(const struct monitor *monitor, const char *array)
{
	if (monitor->cli->nr_words == 0) {
		return true;
	}
	for (size_t i = 0; i < monitor->cli->nr_words; i++) {
		if (strcmp(cli_word(monitor->cli, i), array) == 0) {
			return true;
		}
	}
	return false;
}

static void show_event(struct monitor *monitor, const char *array, const char *event,
	const char *member, const char *text, time_t when)
{
	char time_text[32] = "";
	struct tm tm;

	if (!is_wanted(monitor, array)) {
		return;
	}
	monitor->nr_shown++;
	if (monitor->cli->is_json) {
		json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:I}", "array", array, "event",
			event, "device", member, "text", text, "time", (json_int_t)when);

		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(object);
	} else {
		if (localtime_r(&when, &tm) != NULL) {
			strftime(time_text, sizeof(time_text), "%F %T", &tm);
		}
		cli_print("%s  %-12s  %-12s  %s", time_text, array, event, text);
	}
}

/* Arrays that come and go are told of as devices. */
static enum cli_exit take_device(struct monitor *monitor, const json_t *event)
{
	const char *type = get_text(event, "type"), *name = get_text(event, "ctx");
	bool was_there = json_object_get(monitor->arrays, name) != NULL;
	enum cli_exit rc = CLI_OK;

	if (strcmp(type, "bdev_register") == 0 && !was_there) {
		rc = look_for_arrays(monitor, name);
		if (rc == CLI_OK && json_object_get(monitor->arrays, name) != NULL) {
			show_event(monitor, name, "array-added", "", "the array runs", time(NULL));
		}
	} else if (strcmp(type, "bdev_unregister") == 0 && was_there) {
		json_object_del(monitor->arrays, name);
		show_event(monitor, name, "array-removed", "", "the array has been stopped",
			time(NULL));
	}
	return rc;
}

static enum cli_exit take_event(struct monitor *monitor, const json_t *event)
{
	uint64_t id = get_u64(event, "id");
	uint64_t nr_missed = id > monitor->next_id ? id - monitor->next_id : 0;

	nr_missed += get_u64(event, "lost");
	if (nr_missed != 0) {
		cli_say(monitor->cli, "%" PRIu64 " events have been missed", nr_missed);
	}
	monitor->next_id = id + 1;
	if (strcmp(get_text(event, "type"), "bdev_raid") != 0) {
		return take_device(monitor, event);
	}
	show_event(monitor, get_text(event, "ctx"), get_text(event, "event"),
		get_text(event, "base_bdev"), get_text(event, "text"),
		(time_t)get_u64(event, "time"));
	return CLI_OK;
}

/* What has happened before is passed over. */
static enum cli_exit skip_old(struct monitor *monitor)
{
	json_t *events, *last;
	enum cli_exit rc = cli_call(monitor->cli, "notify_get_notifications", NULL, &events);

	if (rc == CLI_OK && json_array_size(events) != 0) {
		last = json_array_get(events, json_array_size(events) - 1);
		monitor->next_id = get_u64(last, "id") + 1;
	}
	json_decref(events);
	return rc;
}

static enum cli_exit look_once(struct monitor *monitor)
{
	json_t *events, *event;
	enum cli_exit rc = cli_call(monitor->cli, "notify_get_notifications",
		json_pack("{s:I}", "id", (json_int_t)monitor->next_id), &events);
	size_t i;

	json_array_foreach (events, i, event) {
		if (rc == CLI_OK && (monitor->count == 0 || monitor->nr_shown < monitor->count)) {
			rc = take_event(monitor, event);
		}
	}
	json_decref(events);
	fflush(stdout);
	return rc;
}

static const struct cli_arg monitor_args[] = {
	{"ARRAY", "name of an array (default: all)", CLI_ARRAYS, .is_optional = true,
		.is_repeated = true},
	{0},
};

static const struct cli_option monitor_options[] = {
	{"interval", 'i', "SECONDS", "time between looks (default 0.5)"},
	{"count", 'n', "COUNT", "end after so many events (default: until interrupted)"},
	{"past", 0, .help = "begin with the events that the node still knows"},
	{0},
};

static enum cli_exit run_monitor(struct cli *cli)
{
	const char *interval = cli_option(cli, "interval"), *count_text = cli_option(cli, "count");
	struct monitor monitor = {.cli = cli, .arrays = json_object()};
	uint64_t interval_ms = 500;
	enum cli_exit rc = CLI_OK;

	if (interval != NULL) {
		rc = cli_parse_seconds(cli, "--interval", interval, 50, 86400000, &interval_ms);
	}
	if (rc == CLI_OK && count_text != NULL) {
		rc = cli_parse_u64(cli, "--count", count_text, 1, UINT32_MAX, &monitor.count);
	}
	if (rc == CLI_OK && cli_option(cli, "past") == NULL) {
		rc = look_for_arrays(&monitor, NULL);
		rc = rc == CLI_OK ? skip_old(&monitor) : rc;
	}
	while (rc == CLI_OK && !ferror(stdout)) {
		rc = look_once(&monitor);
		if (rc == CLI_OK && monitor.count != 0 && monitor.nr_shown >= monitor.count) {
			break;
		}
		sleep_ms(rc == CLI_OK ? interval_ms : 0);
	}
	json_decref(monitor.arrays);
	return rc;
}

const struct cli_command cli_md_monitor = {
	.name = "monitor",
	.help = "Shows what happens in arrays, as it happens.",
	.about = "With --json each event is one line. A node keeps its last 256 events; how many "
		 "have\n"
		 "been missed is said on standard error.",
	.args = monitor_args,
	.options = monitor_options,
	.run = run_monitor,
};
