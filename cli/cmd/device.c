/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device …: the block devices of a node. What `device create` accepts comes from the drivers' own
 * tables, the same that the configuration file and the node read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "lib/util/size.h"
#include "lib/xbdev/driver/driver.h"

static const struct cli_arg device_args[] = {
	{"DEVICE", "name or UUID of the device", CLI_DEVICES},
	{0},
};

/* ---- list ---- */

static enum cli_exit run_list(struct cli *cli)
{
	static const struct table_column columns[] = {{"NAME"}, {"DRIVER"}, {"SIZE", true},
		{"BLOCK", true}, {"ACCESS"}, {"USED BY"}, {"UUID"}, {0}};
	json_t *devices, *device;
	struct table *table;
	enum cli_exit rc = cli_call(cli, "bdev_get_bdevs", NULL, &devices);
	size_t i;

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, devices);
	}
	table = table_new(columns);
	json_array_foreach (devices, i, device) {
		table_text(table, get_text(device, "name"));
		table_text(table, get_text(device, "driver"));
		table_bytes(table, get_u64(device, "num_blocks") * get_u64(device, "block_size"));
		table_format(table, "%" PRIu64, get_u64(device, "block_size"));
		table_text(table, get_bool(device, "read_only") ? "read-only" : "read-write");
		table_text(table, get_text(device, "claimed_by"));
		table_text(table, get_text(device, "uuid"));
	}
	table_finish(table, "there are no devices; 'xsan device create' makes one");
	json_decref(devices);
	return CLI_OK;
}

static const struct cli_command list_command = {
	.name = "list",
	.help = "Lists the devices.",
	.run = run_list,
};

/* ---- show ---- */

static void show_io_types(struct table *table, json_t *types)
{
	char text[256] = "";
	size_t len = 0;
	const char *name;
	json_t *value;

	json_object_foreach (types, name, value) {
		if (json_is_true(value) && len < sizeof(text)) {
			len += (size_t)snprintf(
				text + len, sizeof(text) - len, "%s%s", len > 0 ? ", " : "", name);
		}
	}
	table_pair(table, "operations", "%s", text);
}

/* What only the driver knows, one line for each member. */
static void show_specific(struct table *table, json_t *info)
{
	const char *name;
	json_t *value;

	json_object_foreach (info, name, value) {
		char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);

		table_pair(table, name, "%s",
			text != NULL            ? text
			: json_is_string(value) ? json_string_value(value)
						: "");
		free(text);
	}
}

static void show_device(json_t *device)
{
	const char *driver = get_text(device, "driver"), *claimed_by;
	uint64_t block_size = get_u64(device, "block_size");
	uint64_t bytes = get_u64(device, "num_blocks") * block_size;
	struct table *table = table_new(table_pairs);
	char size[FORMAT_SIZE];

	format_bytes(bytes, size);
	claimed_by = get_text(device, "claimed_by");
	table_pair(table, "name", "%s", get_text(device, "name"));
	table_pair(table, "driver", "%s", driver);
	table_pair(table, "product", "%s", get_text(device, "product_name"));
	table_pair(table, "uuid", "%s", get_text(device, "uuid"));
	table_pair(table, "size", "%s (%" PRIu64 " bytes)", size, bytes);
	table_pair(table, "blocks", "%" PRIu64 " of %" PRIu64 " bytes",
		get_u64(device, "num_blocks"), block_size);
	table_pair(
		table, "access", "%s", get_bool(device, "read_only") ? "read-only" : "read-write");
	table_pair(table, "write cache", "%s", get_bool(device, "write_cache") ? "yes" : "no");
	table_pair(table, "used by", "%s", claimed_by);
	table_pair(table, "reactor", "%" PRIu64, get_u64(device, "reactor"));
	show_io_types(table, json_object_get(device, "supported_io_types"));
	show_specific(table, json_object_get(json_object_get(device, "driver_specific"), driver));
	table_print_rows(table);
	table_free(table);
}

static enum cli_exit run_show(struct cli *cli)
{
	json_t *devices;
	enum cli_exit rc = cli_call(
		cli, "bdev_get_bdevs", json_pack("{s:s}", "name", cli_word(cli, 0)), &devices);

	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, devices);
	}
	show_device(json_array_get(devices, 0));
	json_decref(devices);
	return CLI_OK;
}

static const struct cli_command show_command = {
	.name = "show",
	.help = "Shows all of one device.",
	.args = device_args,
	.run = run_show,
};

/* ---- create ---- */

static const struct cli_arg create_args[] = {
	{"DRIVER", "what kind of device, see below", CLI_DRIVERS},
	{"NAME=VALUE", "a parameter of the driver, see below", CLI_PARAMETERS, .is_repeated = true},
	{0},
};

static void create_help(void)
{
	char help[256];

	for (size_t i = 0; xbdev_drivers[i] != NULL; i++) {
		const struct xbdev_driver *driver = xbdev_drivers[i];

		printf("%sDriver %s: %s\n", i > 0 ? "\n" : "", driver->name, driver->help);
		for (const struct xu_param *p = driver->params; p->name != NULL; p++) {
			snprintf(help, sizeof(help), "%s%s", p->help,
				p->is_required ? " (needed)" : "");
			printf("  %-22s  ", p->name);
			format_wrapped(help, 26, 80, stdout);
		}
	}
	printf("\nSizes are bytes, or numbers with K, M, G, T: 512MiB, 2G. Example:\n"
	       "  xsan device create file name=disk1 filename=/srv/disk1.img size=20GiB\n");
}

static const struct xu_param *find_param(
	const struct xbdev_driver *driver, const char *name, size_t len)
{
	for (const struct xu_param *p = driver->params; p->name != NULL; p++) {
		if (strlen(p->name) == len && strncmp(p->name, name, len) == 0) {
			return p;
		}
	}
	return NULL;
}

/* The JSON value of a text, by the type of its parameter; NULL when it cannot be one. Limits are
 * the node's matter. */
static json_t *param_value(const struct xu_param *param, const char *text)
{
	json_t *value;

	switch (param->type) {
	case XU_PARAM_BOOL:
	case XU_PARAM_U32:
	case XU_PARAM_U64:
		value = json_loads(text, JSON_DECODE_ANY, NULL);
		if (param->type == XU_PARAM_BOOL ? json_is_boolean(value)
						 : json_is_integer(value)) {
			return value;
		}
		json_decref(value);
		return NULL;
	case XU_PARAM_JSON:
		return json_loads(text, JSON_DECODE_ANY, NULL);
	default:
		return json_string(text);
	}
}

static enum cli_exit refuse_param(
	const struct cli *cli, const struct xbdev_driver *driver, const char *word)
{
	char names[512];
	size_t len = 0;

	for (const struct xu_param *p = driver->params; p->name != NULL && len < sizeof(names);
		p++) {
		len += (size_t)snprintf(
			names + len, sizeof(names) - len, "%s%s", len > 0 ? ", " : "", p->name);
	}
	return cli_usage(cli, "'%s' is no NAME=VALUE with a parameter of driver %s: %s", word,
		driver->name, names);
}

static enum cli_exit add_param(
	const struct cli *cli, const struct xbdev_driver *driver, const char *word, json_t *entry)
{
	size_t len = strcspn(word, "=");
	const struct xu_param *param = find_param(driver, word, len);
	const char *text = word + len + 1;
	json_t *value;

	if (word[len] == '\0' || param == NULL) {
		return refuse_param(cli, driver, word);
	}
	value = param_value(param, text);
	if (value == NULL) {
		return cli_usage(cli, "%s '%s' is not a %s", param->name, text,
			param->type == XU_PARAM_BOOL ? "truth value: true or false" : "number");
	}
	if (json_object_get(entry, param->name) != NULL) {
		json_decref(value);
		return cli_usage(cli, "%s is given twice", param->name);
	}
	json_object_set_new(entry, param->name, value);
	return CLI_OK;
}

static enum cli_exit run_create(struct cli *cli)
{
	const struct xbdev_driver *driver = xbdev_driver_find(cli_word(cli, 0));
	enum cli_exit rc = CLI_OK;
	json_t *entry, *name;

	if (driver == NULL) {
		return cli_usage(cli, "there is no driver '%s'", cli_word(cli, 0));
	}
	entry = json_pack("{s:s}", "driver", driver->name);
	for (size_t i = 1; i < cli->nr_words && rc == CLI_OK; i++) {
		rc = add_param(cli, driver, cli->words[i], entry);
	}
	name = json_incref(json_object_get(entry, "name"));
	if (rc == CLI_OK && name == NULL) {
		rc = cli_usage(cli, "name=NAME is missing: how the device is to be called");
	}
	if (rc == CLI_OK) {
		rc = cli_do(cli, "bdev_create", json_incref(entry), "device %s is there",
			json_string_value(name));
	}
	json_decref(name);
	json_decref(entry);
	return rc;
}

static const struct cli_command create_command = {
	.name = "create",
	.help = "Makes a device, which a restart gives back.",
	.args = create_args,
	.more_help = create_help,
	.run = run_create,
};

/* ---- delete, resize ---- */

static enum cli_exit run_delete(struct cli *cli)
{
	const char *name = cli_word(cli, 0);

	return cli_do(
		cli, "bdev_delete", json_pack("{s:s}", "name", name), "device %s is gone", name);
}

static const struct cli_command delete_command = {
	.name = "delete",
	.help = "Removes a device, its namespaces and what stands on it; a file stays.",
	.args = device_args,
	.run = run_delete,
};

static const struct cli_arg resize_args[] = {
	{"DEVICE", "name or UUID of the device", CLI_DEVICES},
	{"SIZE", "the new size, such as 20GiB"},
	{0},
};

static enum cli_exit run_resize(struct cli *cli)
{
	const char *name = cli_word(cli, 0);
	char text[FORMAT_SIZE];
	uint64_t bytes;

	if (xu_size_parse(cli_word(cli, 1), &bytes) != 0 || bytes > INT64_MAX) {
		return cli_usage(cli, "SIZE '%s' is not a size such as 20GiB", cli_word(cli, 1));
	}
	format_bytes(bytes, text);
	return cli_do(cli, "bdev_resize",
		json_pack("{s:s, s:I}", "name", name, "size", (json_int_t)bytes),
		"device %s has %s", name, text);
}

static const struct cli_command resize_command = {
	.name = "resize",
	.help = "Changes the size of a device; hosts see it.",
	.args = resize_args,
	.run = run_resize,
};

/* ---- inject, clear ---- */

static const char *const io_types[] = {
	"all", "read", "write", "unmap", "flush", "write_zeroes", "compare", NULL};
static const char *const error_types[] = {"failure", "pending", "corrupt_data", "nomem", NULL};

static const struct cli_arg inject_args[] = {
	{"DEVICE", "name or UUID of a device of driver error", CLI_DEVICES},
	{"OPERATION", "what is hit", .choices = io_types},
	{"FAULT", "what becomes of it", .choices = error_types},
	{0},
};

static const struct cli_option inject_options[] = {
	{"count", 'n', "COUNT", "how many operations are hit (default 1)"},
	{"skip", 0, "COUNT", "how many are let through first (default 0)"},
	{"offset", 0, "SIZE", "only operations that touch the range from this byte"},
	{"length", 0, "SIZE", "length of that range"},
	{"chance", 0, "PPM", "hit each with this chance in a million (default: all)"},
	{"queue-depth", 0, "COUNT", "only while so many others are in flight"},
	{"corrupt-offset", 0, "BYTE", "which byte of a transfer is corrupted (default 0)"},
	{"corrupt-value", 0, "BITS", "which bits of it are flipped, 1 to 255 (default 255)"},
	{0},
};

/* Adds the options as parameters; those that are sizes go as they are. */
static enum cli_exit add_inject_options(const struct cli *cli, json_t *params)
{
	static const struct {
		const char *option, *param;
		bool is_size;
		uint64_t max;
	} options[] = {
		{"count", "num", false, UINT32_MAX},
		{"skip", "skip", false, INT64_MAX},
		{"offset", "offset", true},
		{"length", "length", true},
		{"chance", "probability_ppm", false, 1000000},
		{"queue-depth", "queue_depth", false, UINT32_MAX},
		{"corrupt-offset", "corrupt_offset", false, INT64_MAX},
		{"corrupt-value", "corrupt_value", false, 255},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const char *text = cli_option(cli, options[i].option);
		json_t *value;
		char what[32];
		uint64_t number;

		if (text == NULL) {
			continue;
		}
		snprintf(what, sizeof(what), "--%s", options[i].option);
		if (options[i].is_size) {
			value = json_string(text);
		} else if (cli_parse_u64(cli, what, text, 0, options[i].max, &number) == CLI_OK) {
			value = json_integer((json_int_t)number);
		} else {
			return CLI_USAGE;
		}
		json_object_set_new(params, options[i].param, value);
	}
	return CLI_OK;
}

static enum cli_exit run_inject(struct cli *cli)
{
	const char *name = cli_word(cli, 0), *io_type = cli_word(cli, 1);
	const char *error_type = cli_word(cli, 2);
	json_t *params = json_pack(
		"{s:s, s:s, s:s}", "name", name, "io_type", io_type, "error_type", error_type);
	enum cli_exit rc = add_inject_options(cli, params);

	if (rc != CLI_OK) {
		json_decref(params);
		return rc;
	}
	return cli_do(cli, "bdev_error_inject_error", params, "device %s injects %s into %s", name,
		error_type, io_type);
}

static const struct cli_command inject_command = {
	.name = "inject",
	.help = "Lets I/O fail on purpose, on a device of driver error.",
	.about = "failure ends the operation with an I/O error, nomem with no memory, pending\n"
		 "holds it until 'device clear', corrupt_data flips bits. A restart forgets it.",
	.args = inject_args,
	.options = inject_options,
	.run = run_inject,
};

static enum cli_exit run_clear(struct cli *cli)
{
	const char *name = cli_word(cli, 0);

	return cli_do(cli, "bdev_error_inject_error",
		json_pack("{s:s, s:s}", "name", name, "io_type", "clear"),
		"device %s makes no errors any more", name);
}

static const struct cli_command clear_command = {
	.name = "clear",
	.help = "Takes all injected errors away and lets go what they held.",
	.args = device_args,
	.run = run_clear,
};

/* ---- stats ---- */

static const struct cli_arg stats_args[] = {
	{"DEVICE", "name or UUID of one device (default: all)", CLI_DEVICES, .is_optional = true},
	{0},
};

static const struct cli_option stats_options[] = {
	{"reset", 'r', .help = "set them to zero after showing them"},
	{0},
};

/* The bytes that belong to an operation, where they are counted. */
static void add_op_bytes(struct table *table, json_t *stats, const char *op)
{
	static const struct {
		const char *op, *key;
	} keys[] = {{"read", "bytes_read"}, {"write", "bytes_written"}, {"unmap", "bytes_unmapped"},
		{"discard", "bytes_unmapped"}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(op, keys[i].op) == 0) {
			table_bytes(table, get_u64(stats, keys[i].key));
			return;
		}
	}
	table_text(table, NULL);
}

static void add_op(struct table *table, json_t *stats, const char *op, json_t *latency)
{
	static const char *const keys[] = {
		"mean_ns", "p50_ns", "p99_ns", "p99_9_ns", "max_ns", NULL};
	json_t *errors = json_object_get(stats, "io_error");

	table_text(table, get_text(stats, "name"));
	table_text(table, op);
	table_format(table, "%" PRIu64, get_u64(latency, "count"));
	add_op_bytes(table, stats, op);
	table_format(table, "%" PRIu64, get_u64(errors, op));
	for (size_t i = 0; keys[i] != NULL; i++) {
		table_ns(table, get_u64(latency, keys[i]));
	}
}

static enum cli_exit run_stats(struct cli *cli)
{
	static const struct table_column columns[] = {{"DEVICE"}, {"OPERATION"}, {"COUNT", true},
		{"BYTES", true}, {"ERRORS", true}, {"MEAN", true}, {"P50", true}, {"P99", true},
		{"P99.9", true}, {"MAX", true}, {0}};
	json_t *params = json_object(), *result, *stats, *latency;
	struct table *table;
	enum cli_exit rc;
	const char *op;
	size_t i;

	if (cli_word(cli, 0) != NULL) {
		json_object_set_new(params, "name", json_string(cli_word(cli, 0)));
	}
	if (cli_option(cli, "reset") != NULL) {
		json_object_set_new(params, "reset_mode", json_string("all"));
	}
	rc = cli_call(cli, "bdev_get_iostat", params, &result);
	if (rc != CLI_OK || cli->is_json) {
		return cli_finish_json(rc, result);
	}
	table = table_new(columns);
	json_array_foreach (json_object_get(result, "bdevs"), i, stats) {
		json_object_foreach (json_object_get(stats, "latency"), op, latency) {
			if (get_u64(latency, "count") != 0) {
				add_op(table, stats, op, latency);
			}
		}
	}
	table_finish(table, "no I/O yet");
	json_decref(result);
	return CLI_OK;
}

static const struct cli_command stats_command = {
	.name = "stats",
	.help = "Shows what devices have done since they were made or reset.",
	.args = stats_args,
	.options = stats_options,
	.run = run_stats,
};

static const struct cli_command *const members[] = {&list_command, &show_command, &create_command,
	&delete_command, &resize_command, &inject_command, &clear_command, &stats_command, NULL};

const struct cli_command cli_device = {
	.name = "device",
	.help = "Lists, makes, changes and measures block devices.",
	.members = members,
};
