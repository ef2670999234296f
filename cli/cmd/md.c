/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * md …: RAID arrays of a node, by the words of mdadm: made, assembled, stopped, their members
 * changed, checked. What is decided here is only what a person means by a word: which devices carry
 * an array that is named, and that a member which serves is failed before it is removed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/md.h"

static const struct cli_arg array_args[] = {
	{"ARRAY", "name or UUID of the array", CLI_ARRAYS},
	{0},
};

static const struct cli_arg member_args[] = {
	{"ARRAY", "name or UUID of the array", CLI_ARRAYS},
	{"DEVICE", "name or UUID of the device", CLI_DEVICES},
	{0},
};

/* The words from `first` on, as a new list. */
static json_t *words_from(const struct cli *cli, size_t first)
{
	json_t *list = json_array();

	for (size_t i = first; i < cli->nr_words; i++) {
		json_array_append_new(list, json_string(cli_word(cli, i)));
	}
	return list;
}

static void set_flag(const struct cli *cli, json_t *params, const char *option, const char *key)
{
	if (cli_option(cli, option) != NULL) {
		json_object_set_new(params, key, json_true());
	}
}

/* Reads an option that is a number into the parameters. */
static enum cli_exit set_number(const struct cli *cli, json_t *params, const char *option,
	const char *key, uint64_t min, uint64_t max)
{
	const char *text = cli_option(cli, option);
	char name[48];
	uint64_t value;

	if (text == NULL) {
		return CLI_OK;
	}
	snprintf(name, sizeof(name), "--%s", option);
	if (cli_parse_u64(cli, name, text, min, max, &value) != CLI_OK) {
		return CLI_USAGE;
	}
	json_object_set_new(params, key, json_integer((json_int_t)value));
	return CLI_OK;
}

/* ---- create ---- */

static const char *const levels[] = {
	"linear", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10", NULL};

static const char *const policies[] = {"resync", "ppl", "journal", NULL};

static const struct cli_arg create_args[] = {
	{"ARRAY", "name of the new array"},
	{"DEVICE", "its members, by role, then its spares; missing: none yet", CLI_DEVICES,
		.is_repeated = true},
	{0},
};

static const struct cli_option create_options[] = {
	{"level", 'l', "LEVEL", "linear, raid0, raid1, raid4, raid5, raid6 or raid10; needed",
		.choices = levels},
	{"chunk", 'c', "KIB", "chunk size, a power of two (default 512)"},
	{"layout", 'p', "LAYOUT", "such as left-symmetric or far=2 (default: the level's)"},
	{"spare-devices", 'x', "COUNT", "so many of the devices, the last, are spares"},
	{"bitmap-chunk", 'b', "KIB", "with a write-intent bitmap, of a bit for so much"},
	{"consistency-policy", 'k', "POLICY", "resync, ppl (raid5) or journal (raid4, raid6)",
		.choices = policies},
	{"write-mostly", 'W', "DEVICES",
		"raid1: those of them, with commas between, that are read only if no other can be"},
	{"write-behind", 0, "COUNT",
		"raid1 with a bitmap: so many writes may be behind on write-mostly devices"},
	{"uuid", 0, "UUID", "identity (default: a new one)"},
	{"name", 'N', "TEXT", "the name that mdadm shows (default: the array's)"},
	{"assume-clean", 0, .help = "the members agree already: no resync"},
	{"force", 0, .help = "also over members that carry an array's superblock"},
	{0},
};

static enum cli_exit create_numbers(struct cli *cli, json_t *params, uint64_t *ret_nr_spares)
{
	const char *spares = cli_option(cli, "spare-devices");
	enum cli_exit rc = set_number(cli, params, "chunk", "strip_size_kb", 4, 65536);

	if (rc == CLI_OK) {
		rc = set_number(cli, params, "bitmap-chunk", "bitmap_chunk_kb", 4, 1u << 20);
	}
	if (rc == CLI_OK) {
		rc = set_number(cli, params, "write-behind", "write_behind", 0, 16383);
	}
	if (rc == CLI_OK && spares != NULL) {
		rc = cli_parse_u64(cli, "--spare-devices", spares, 0,
			cli->nr_words > 2 ? cli->nr_words - 2 : 0, ret_nr_spares);
	}
	return rc;
}

/* The words between commas. */
static void set_list(const struct cli *cli, json_t *params, const char *option, const char *key)
{
	const char *text = cli_option(cli, option);
	json_t *list = json_array();

	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, len));
		text += len + (text[len] == ',');
	}
	if (json_array_size(list) != 0) {
		json_object_set(params, key, list);
	}
	json_decref(list);
}

static enum cli_exit run_create(struct cli *cli)
{
	const char *name = cli_word(cli, 0), *level = cli_option(cli, "level");
	const char *uuid = cli_option(cli, "uuid");
	json_t *params, *members, *spares = json_array();
	uint64_t nr_spares = 0;

	if (level == NULL) {
		json_decref(spares);
		return cli_usage(cli, "--level is needed: linear, raid0, raid1, raid4, raid5, "
				      "raid6 or raid10");
	}
	params = json_pack("{s:s, s:s, s:s*, s:s*, s:s*}", "name", name, "raid_level", level,
		"consistency_policy", cli_option(cli, "consistency-policy"), "layout",
		cli_option(cli, "layout"), "set_name", cli_option(cli, "name"));
	if (uuid != NULL) {
		json_object_set_new(params, "uuid", md_uuid_json(uuid));
	}
	if (create_numbers(cli, params, &nr_spares) != CLI_OK) {
		json_decref(params);
		json_decref(spares);
		return CLI_USAGE;
	}
	members = words_from(cli, 1);
	while (nr_spares-- > 0) {
		size_t last = json_array_size(members) - 1;

		json_array_insert(spares, 0, json_array_get(members, last));
		json_array_remove(members, last);
	}
	json_object_set_new(params, "base_bdevs", members);
	json_object_set_new(params, "spares", spares);
	set_list(cli, params, "write-mostly", "write_mostly");
	set_flag(cli, params, "assume-clean", "assume_clean");
	set_flag(cli, params, "force", "force");
	return cli_do(cli, "bdev_raid_create", params, "array %s runs", name);
}

static const struct cli_command create_command = {
	.name = "create",
	.help = "Makes an array on devices that belong to nobody.",
	.about = "What is on the devices is lost. One that carries the superblock of an array is\n"
		 "refused without --force.",
	.args = create_args,
	.options = create_options,
	.run = run_create,
};

/* ---- assemble, run, stop ---- */

/* Whether a superblock is of the array that is called so. */
static bool is_of(const json_t *super, const char *uuid, const char *set_name)
{
	char text[MD_UUID_SIZE], wanted[MD_UUID_SIZE];

	if (uuid != NULL) {
		md_uuid_text(get_text(super, "uuid"), text);
		md_uuid_text(uuid, wanted);
		return strcmp(text, wanted) == 0;
	}
	return strcmp(get_text(super, "set_name"), set_name) == 0;
}

/* All devices that nobody uses and that carry the array, as a new list. Names are not unique as
 * UUIDs are: two arrays of one name are an error. */
static enum cli_exit scan(
	struct cli *cli, const char *uuid, const char *set_name, json_t **ret_members)
{
	json_t *devices, *device, *super, *members = json_array();
	enum cli_exit rc = cli_call(cli, "bdev_get_bdevs", NULL, &devices);
	char found[MD_UUID_SIZE] = "", other[MD_UUID_SIZE];
	size_t i;

	json_array_foreach (devices, i, device) {
		const char *name = get_text(device, "name");

		if (rc != CLI_OK || get_bool(device, "claimed") ||
			cli_try(cli, "bdev_raid_examine", json_pack("{s:s}", "name", name),
				&super) != CLI_OK) {
			continue;
		}
		md_uuid_text(get_text(super, "uuid"), other);
		if (is_of(super, uuid, set_name)) {
			if (found[0] != '\0' && strcmp(found, other) != 0) {
				cli_say(cli,
					"there are two arrays named '%s', %s and %s; say which by "
					"--uuid",
					set_name, found, other);
				rc = CLI_REFUSED;
			}
			memcpy(found, other, sizeof(found));
			json_array_append_new(members, json_string(name));
		}
		json_decref(super);
	}
	json_decref(devices);
	if (rc == CLI_OK && json_array_size(members) == 0) {
		cli_say(cli,
			"no device that is free carries the array '%s'; 'xsan md examine' "
			"shows what devices carry",
			uuid != NULL ? uuid : set_name);
		rc = CLI_REFUSED;
	}
	if (rc != CLI_OK) {
		json_decref(members);
		return rc;
	}
	*ret_members = members;
	return CLI_OK;
}

static const struct cli_arg assemble_args[] = {
	{"ARRAY", "name that the array gets"},
	{"DEVICE", "its members and spares (default: all that carry it)", CLI_DEVICES,
		.is_optional = true, .is_repeated = true},
	{0},
};

static const struct cli_option assemble_options[] = {
	{"uuid", 'u', "UUID", "the array's UUID (default: what the devices say)"},
	{"level", 'l', "LEVEL", "what the devices must say", .choices = levels},
	{"run", 'R', .help = "also when a member that served is missing"},
	{"force", 'f', .help = "also with members that are out of date: some writes may be lost"},
	{"readonly", 'o', .help = "write nothing to the members"},
	{0},
};

static enum cli_exit assemble(struct cli *cli, json_t *members, json_t *params)
{
	const char *name = cli_word(cli, 0);
	size_t nr = json_array_size(members);

	json_object_set_new(params, "name", json_string(name));
	json_object_set_new(params, "base_bdevs", members);
	return cli_do(cli, "bdev_raid_assemble", params, "array %s runs, of %zu device%s", name, nr,
		nr == 1 ? "" : "s");
}

static enum cli_exit run_assemble(struct cli *cli)
{
	const char *uuid = cli_option(cli, "uuid");
	json_t *members = NULL, *params;
	enum cli_exit rc = CLI_OK;

	if (cli->nr_words > 1) {
		members = words_from(cli, 1);
	} else {
		rc = scan(cli, uuid, cli_word(cli, 0), &members);
	}
	if (rc != CLI_OK) {
		return rc;
	}
	params = json_pack("{s:s*}", "raid_level", cli_option(cli, "level"));
	if (uuid != NULL) {
		json_object_set_new(params, "uuid", md_uuid_json(uuid));
	}
	set_flag(cli, params, "run", "run");
	set_flag(cli, params, "force", "force");
	set_flag(cli, params, "readonly", "read_only");
	return assemble(cli, members, params);
}

static const struct cli_command assemble_command = {
	.name = "assemble",
	.help = "Starts an array from what its members say.",
	.about = "Without devices, those are taken that nobody uses and that carry the array: by\n"
		 "--uuid, or by ARRAY as its name.",
	.args = assemble_args,
	.options = assemble_options,
	.run = run_assemble,
};

static enum cli_exit run_run(struct cli *cli)
{
	json_t *members;
	enum cli_exit rc = scan(cli, NULL, cli_word(cli, 0), &members);

	return rc == CLI_OK ? assemble(cli, members, json_pack("{s:b}", "run", 1)) : rc;
}

static const struct cli_arg run_args[] = {
	{"ARRAY", "name of the array, on its members and from now on"},
	{0},
};

static const struct cli_command run_command = {
	.name = "run",
	.help = "Starts an array from all devices that carry its name, even without a member.",
	.args = run_args,
	.run = run_run,
};

static enum cli_exit run_stop(struct cli *cli)
{
	const char *name = cli_word(cli, 0);

	return cli_do(cli, "bdev_raid_delete", json_pack("{s:s}", "name", name),
		"array %s is stopped; its members keep it", name);
}

static const struct cli_command stop_command = {
	.name = "stop",
	.help = "Stops an array, which nothing may use; its members keep it.",
	.args = array_args,
	.run = run_stop,
};

/* ---- members ---- */

/* The parameters for a member of an array. */
static json_t *member_params(const struct cli *cli)
{
	return json_pack(
		"{s:s, s:s}", "raid_bdev", cli_word(cli, 0), "base_bdev", cli_word(cli, 1));
}

/* What the array says of a device, as a new object; NULL: it is not one of its own. */
static enum cli_exit get_member(struct cli *cli, json_t **ret_disk)
{
	json_t *device, *detail = NULL, *disk;
	enum cli_exit rc = cli_call(
		cli, "bdev_get_bdevs", json_pack("{s:s}", "name", cli_word(cli, 1)), &device);
	const char *name = get_text(json_array_get(device, 0), "name");
	size_t i;

	*ret_disk = NULL;
	if (rc == CLI_OK) {
		rc = md_get_detail(cli, cli_word(cli, 0), &detail);
	}
	json_array_foreach (json_object_get(detail, "disks"), i, disk) {
		if (rc == CLI_OK && strcmp(get_text(disk, "name"), name) == 0) {
			*ret_disk = json_incref(disk);
		}
	}
	json_decref(detail);
	json_decref(device);
	return rc;
}

static const struct cli_option add_options[] = {
	{"write-mostly", 'W', .help = "of a raid1: it is read only if no other can be"},
	{0},
};

static enum cli_exit run_add(struct cli *cli)
{
	json_t *params = member_params(cli);

	if (cli_option(cli, "write-mostly") != NULL) {
		json_object_set_new(params, "write_mostly", json_true());
	}
	return cli_do(cli, "bdev_raid_add_base_bdev", params, "%s is added to array %s",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command add_command = {
	.name = "add",
	.help = "Adds a device, which becomes a spare and is used at once if one is needed.",
	.about = "One that was a member before and has a bitmap to go by gets only what has "
		 "changed.",
	.args = member_args,
	.options = add_options,
	.run = run_add,
};

static enum cli_exit run_spare(struct cli *cli)
{
	json_t *detail;
	enum cli_exit rc = md_get_detail(cli, cli_word(cli, 0), &detail);
	bool is_degraded = get_bool(detail, "degraded");

	json_decref(detail);
	if (rc != CLI_OK) {
		return rc;
	}
	return cli_do(cli, "bdev_raid_add_base_bdev", member_params(cli),
		is_degraded ? "%s takes the place of a member of array %s that is missing"
			    : "%s is a spare of array %s",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command spare_command = {
	.name = "spare",
	.help = "Adds a spare; an array that lacks a member takes it at once.",
	.args = member_args,
	.run = run_spare,
};

static enum cli_exit run_re_add(struct cli *cli)
{
	json_t *super, *detail;
	enum cli_exit rc = md_get_detail(cli, cli_word(cli, 0), &detail);
	bool is_its;

	if (rc != CLI_OK) {
		return rc;
	}
	rc = cli_call(
		cli, "bdev_raid_examine", json_pack("{s:s}", "name", cli_word(cli, 1)), &super);
	is_its = strcmp(get_text(super, "uuid"), get_text(detail, "uuid")) == 0;
	json_decref(super);
	json_decref(detail);
	if (rc != CLI_OK) {
		return rc;
	}
	if (!is_its) {
		cli_say(cli, "%s was no member of array %s; 'xsan md add' adds it as a new one",
			cli_word(cli, 1), cli_word(cli, 0));
		return CLI_REFUSED;
	}
	return cli_do(cli, "bdev_raid_add_base_bdev", member_params(cli), "%s is back in array %s",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command re_add_command = {
	.name = "re-add",
	.help = "Takes back a device that was a member before.",
	.about = "With a bitmap only what has changed since is written to it.",
	.args = member_args,
	.run = run_re_add,
};

static const struct cli_option remove_options[] = {
	{"fail", 'f', .help = "one that serves is failed first"},
	{0},
};

static enum cli_exit run_remove(struct cli *cli)
{
	json_t *disk;
	enum cli_exit rc = get_member(cli, &disk);
	const char *state = get_text(disk, "state");
	bool serves = strcmp(state, "active") == 0 || strcmp(state, "rebuilding") == 0;

	if (rc == CLI_OK && disk == NULL) {
		cli_say(cli, "%s is no member of array %s", cli_word(cli, 1), cli_word(cli, 0));
		rc = CLI_REFUSED;
	} else if (rc == CLI_OK && serves && cli_option(cli, "fail") == NULL) {
		cli_say(cli,
			"%s serves array %s; fail it first ('xsan md fail', or --fail here), "
			"or have it replaced ('xsan md replace')",
			cli_word(cli, 1), cli_word(cli, 0));
		rc = CLI_REFUSED;
	}
	json_decref(disk);
	if (rc != CLI_OK) {
		return rc;
	}
	return cli_do(cli, "bdev_raid_remove_base_bdev",
		json_pack("{s:s}", "name", cli_word(cli, 1)), "%s is a member of array %s no more",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command remove_command = {
	.name = "remove",
	.help = "Takes out a spare or a member that has failed.",
	.args = member_args,
	.options = remove_options,
	.run = run_remove,
};

static enum cli_exit run_fail(struct cli *cli)
{
	return cli_do(cli, "bdev_raid_fail", member_params(cli), "%s serves array %s no more",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command fail_command = {
	.name = "fail",
	.help = "Takes a member out of service; a spare takes its place.",
	.args = member_args,
	.run = run_fail,
};

static const struct cli_option mostly_options[] = {
	{"clear", 'c', .help = "it is read as any other again (mdadm's --readwrite)"},
	{0},
};

static enum cli_exit run_mostly(struct cli *cli)
{
	bool is_clear = cli_option(cli, "clear") != NULL;
	json_t *params = member_params(cli);

	json_object_set_new(params, "write_mostly", json_boolean(!is_clear));
	return cli_do(cli, "bdev_raid_set_member", params,
		is_clear ? "%s of array %s is read as any other"
			 : "%s of array %s is read only if no other can be",
		cli_word(cli, 1), cli_word(cli, 0));
}

static const struct cli_command mostly_command = {
	.name = "write-mostly",
	.help = "Has a member of a raid1 be read only if no other can be, or as any other.",
	.about = "With write-behind it may be behind with what is written.",
	.args = member_args,
	.options = mostly_options,
	.run = run_mostly,
};

static const struct cli_arg replace_args[] = {
	{"ARRAY", "name or UUID of the array", CLI_ARRAYS},
	{"DEVICE", "the member that is to go", CLI_DEVICES},
	{"NEW", "a spare of the array, or a device that may become one", CLI_DEVICES},
	{0},
};

static enum cli_exit run_replace(struct cli *cli)
{
	json_t *params = member_params(cli);

	json_object_set_new(params, "new_bdev", json_string(cli_word(cli, 2)));
	return cli_do(cli, "bdev_raid_replace", params,
		"%s takes the place of %s, which serves until then", cli_word(cli, 2),
		cli_word(cli, 1));
}

static const struct cli_command replace_command = {
	.name = "replace",
	.help = "Has a device take the place of a member, which serves until that is done.",
	.args = replace_args,
	.run = run_replace,
};

static const struct cli_arg zero_args[] = {
	{"DEVICE", "name or UUID of the device", CLI_DEVICES},
	{0},
};

static enum cli_exit run_zero(struct cli *cli)
{
	return cli_do(cli, "bdev_raid_zero_superblock",
		json_pack("{s:s}", "name", cli_word(cli, 0)), "%s carries no array any more",
		cli_word(cli, 0));
}

static const struct cli_command zero_command = {
	.name = "zero",
	.help = "Erases the superblock of a device that is not in use.",
	.args = zero_args,
	.run = run_zero,
};

/* ---- the array ---- */

static const struct cli_option scrub_options[] = {
	{"repair", 'r', .help = "make what differs agree (default: count it)"},
	{0},
};

static enum cli_exit run_scrub(struct cli *cli)
{
	bool is_repair = cli_option(cli, "repair") != NULL;

	return cli_do(cli, "bdev_raid_check",
		json_pack("{s:s, s:b}", "name", cli_word(cli, 0), "repair", is_repair),
		is_repair ? "array %s is being repaired; 'xsan md stat' shows how far it is"
			  : "array %s is being checked; 'xsan md stat' shows how far it is",
		cli_word(cli, 0));
}

static const struct cli_command scrub_command = {
	.name = "scrub",
	.help = "Compares copies or parity of an array, and makes them agree if asked.",
	.about = "'xsan md detail' shows how many sectors did not agree.",
	.args = array_args,
	.options = scrub_options,
	.run = run_scrub,
};

static enum cli_exit set_access(struct cli *cli, const char *access)
{
	return cli_do(cli, "bdev_raid_set_options",
		json_pack("{s:s, s:s}", "name", cli_word(cli, 0), "access", access),
		"array %s is %s", cli_word(cli, 0), access);
}

static enum cli_exit run_readonly(struct cli *cli)
{
	return set_access(cli, "read-only");
}

static const struct cli_command readonly_command = {
	.name = "readonly",
	.help = "Lets nobody write to an array.",
	.args = array_args,
	.run = run_readonly,
};

static enum cli_exit run_readwrite(struct cli *cli)
{
	return set_access(cli, "read-write");
}

static const struct cli_command readwrite_command = {
	.name = "readwrite",
	.help = "Lets others write to an array again.",
	.args = array_args,
	.run = run_readwrite,
};

static const struct cli_arg group_args[] = {
	{"ARRAY", "name or UUID of the array", CLI_ARRAYS},
	{"GROUP", "up to 31 bytes; none: it shares its spares with nobody", .is_optional = true},
	{0},
};

static const struct cli_option group_options[] = {
	{"priority", 'P', "0-7", "of its rebuilds where not all may run at a time; high is soon"},
	{0},
};

static enum cli_exit show_group(struct cli *cli)
{
	json_t *detail;
	enum cli_exit rc = md_get_detail(cli, cli_word(cli, 0), &detail);
	const char *group = get_text(detail, "spare_group");

	if (rc == CLI_OK && cli->is_json) {
		json_t *object = json_pack("{s:s, s:I, s:I}", "spare_group", group, "priority",
			(json_int_t)get_u64(detail, "priority"), "spares",
			(json_int_t)get_u64(detail, "spare_disks"));

		cli_print_json(object);
		json_decref(object);
	} else if (rc == CLI_OK) {
		cli_print("spare group %s, %" PRIu64 " spares, priority %" PRIu64,
			*group != '\0' ? group : "none", get_u64(detail, "spare_disks"),
			get_u64(detail, "priority"));
	}
	json_decref(detail);
	return rc;
}

static enum cli_exit run_group(struct cli *cli)
{
	json_t *params;

	if (cli->nr_words == 1 && cli_option(cli, "priority") == NULL) {
		return show_group(cli);
	}
	params = json_pack("{s:s}", "name", cli_word(cli, 0));
	if (cli->nr_words > 1) {
		json_object_set_new(params, "spare_group", json_string(cli_word(cli, 1)));
	}
	if (set_number(cli, params, "priority", "priority", 0, 7) != CLI_OK) {
		json_decref(params);
		return CLI_USAGE;
	}
	return cli_do(cli, "bdev_raid_set_options", params, "array %s: done", cli_word(cli, 0));
}

static const struct cli_command group_command = {
	.name = "spare-group",
	.help = "Shows or sets with which arrays an array shares its spares.",
	.about = "A spare of one array of a group is a spare of all; it moves to the one that "
		 "lacks a\n"
		 "member. The node remembers it.",
	.args = group_args,
	.options = group_options,
	.run = run_group,
};

static const struct cli_arg speed_args[] = {
	{"ARRAY", "name or UUID of the array", CLI_ARRAYS},
	{"MIN", "KiB/s of each member at least, also where users of the array notice it; 0: 1024",
		.is_optional = true},
	{"MAX", "KiB/s at most; 0: no limit", .is_optional = true},
	{0},
};

static enum cli_exit show_speed(struct cli *cli)
{
	json_t *detail, *sync;
	enum cli_exit rc = md_get_detail(cli, cli_word(cli, 0), &detail);

	sync = json_object_get(detail, "sync");
	if (rc == CLI_OK && cli->is_json) {
		cli_print_json(sync);
	} else if (rc == CLI_OK) {
		cli_print("%" PRIu64 " KiB/s at least, also where users of the array notice it (0: "
			  "1024), %" PRIu64 " KiB/s at most (0: no limit)",
			get_u64(sync, "speed_min"), get_u64(sync, "speed_max"));
	}
	json_decref(detail);
	return rc;
}

static enum cli_exit run_speed(struct cli *cli)
{
	uint64_t min, max;

	if (cli->nr_words == 1) {
		return show_speed(cli);
	}
	if (cli->nr_words == 2) {
		return cli_usage(cli, "MIN and MAX go together");
	}
	if (cli_parse_u64(cli, "MIN", cli_word(cli, 1), 0, 1ull << 40, &min) != CLI_OK ||
		cli_parse_u64(cli, "MAX", cli_word(cli, 2), 0, 1ull << 40, &max) != CLI_OK) {
		return CLI_USAGE;
	}
	return cli_do(cli, "bdev_raid_set_options",
		json_pack("{s:s, s:I, s:I}", "name", cli_word(cli, 0), "speed_min", (json_int_t)min,
			"speed_max", (json_int_t)max),
		"array %s is synchronised at %" PRIu64 " to %" PRIu64 " KiB/s", cli_word(cli, 0),
		min, max);
}

static const struct cli_command speed_command = {
	.name = "speed",
	.help = "Shows or sets how fast an array is resynced, rebuilt and checked.",
	.args = speed_args,
	.run = run_speed,
};

static const struct cli_command *const members[] = {&create_command, &assemble_command,
	&run_command, &stop_command, &cli_md_detail, &cli_md_examine, &cli_md_stat, &cli_md_monitor,
	&add_command, &spare_command, &re_add_command, &remove_command, &fail_command,
	&replace_command, &mostly_command, &zero_command, &scrub_command, &readonly_command,
	&readwrite_command, &speed_command, &group_command, NULL};

const struct cli_command cli_md = {
	.name = "md",
	.help = "Makes, shows and changes RAID arrays, which are those of Linux MD on disk.",
	.members = members,
};
