/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The section "raid_devices": arrays over devices, of the levels and by the names of Linux MD. An
 * entry is one of the driver "raid" in the document's words; array_plan.c and array_job.c do the
 * rest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/param.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/array.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/raid/geometry.h"
#include "lib/xbdev/raid/raid.h"

static const struct {
	const char *name;
	size_t nr_members_min;
} levels[] = {
	{"linear", 1},
	{"raid0", 1},
	{"raid1", 1},
	{"raid4", 2},
	{"raid5", 2},
	{"raid6", 4},
	{"raid10", 2},
};

struct raid_opts {
	const char *name;
	json_t *base_bdevs;
	uint32_t raid_disks;
	uint32_t strip_size_kb;
	uint32_t bitmap_chunk_kb;
	const char *layout;
	const char *consistency_policy;
	bool assume_clean;
	uint32_t stripe_cache_size;
	uint32_t write_behind;
	json_t *write_mostly;
	const char *spare_group;
	uint32_t priority;
	struct xu_uuid uuid;
};

static const struct xu_param raid_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct raid_opts, name), .is_required = true,
		.help = "name of the array"},
	{"base_bdevs", XU_PARAM_JSON, offsetof(struct raid_opts, base_bdevs), .is_required = true,
		.help = "list of the names or UUIDs of its members by role, missing where there is "
			"none yet, and spares after them"},
	{"raid_disks", XU_PARAM_U32, offsetof(struct raid_opts, raid_disks), .min = 1,
		.max = XBDEV_MD_MAX_DISKS,
		.help = "how many of the list are members when it is made (default: all)"},
	{"strip_size_kb", XU_PARAM_U32, offsetof(struct raid_opts, strip_size_kb), .min = 4,
		.max = 65536, .help = "chunk size, KiB, a power of two"},
	{"bitmap_chunk_kb", XU_PARAM_U32, offsetof(struct raid_opts, bitmap_chunk_kb), .min = 4,
		.max = 1u << 20,
		.help = "of a write-intent bitmap, KiB, a power of two (default: no bitmap)"},
	{"layout", XU_PARAM_STRING, offsetof(struct raid_opts, layout),
		.help = "mdadm's name of it (default: the level's)"},
	{"consistency_policy", XU_PARAM_STRING, offsetof(struct raid_opts, consistency_policy),
		.help = "when it is made: resync, ppl or journal (default resync)"},
	{"assume_clean", XU_PARAM_BOOL, offsetof(struct raid_opts, assume_clean),
		.help = "when it is made: its members agree already (default false)"},
	{"stripe_cache_size", XU_PARAM_U32, offsetof(struct raid_opts, stripe_cache_size),
		.min = 16, .max = 32768, .help = "of raid4, raid5, raid6 (default 256)"},
	{"write_behind", XU_PARAM_U32, offsetof(struct raid_opts, write_behind),
		.max = XBDEV_MD_MAX_BEHIND,
		.help = "when it is made, raid1 with a bitmap: writes that write-mostly members "
			"may be behind with (default 0)"},
	{"write_mostly", XU_PARAM_JSON, offsetof(struct raid_opts, write_mostly),
		.help = "raid1: list of those of its members that are read only when no other can "
			"be"},
	{"spare_group", XU_PARAM_STRING, offsetof(struct raid_opts, spare_group),
		.help = "arrays of the same group share their spares (default: none)"},
	{"priority", XU_PARAM_U32, offsetof(struct raid_opts, priority),
		.max = XBDEV_REBUILD_PRIORITIES - 1,
		.help = "of its rebuilds where not all may run at a time (default 4)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct raid_opts, uuid),
		.help = "identity (default: that on the members, or a new one)"},
	{0},
};

static const struct raid_opts raid_defaults = {.priority = XBDEV_REBUILD_PRIORITY_DEFAULT};

/* What the driver says in other words. */
static const struct {
	const char *key, *flat;
	json_int_t unit; /* of numbers */
} words[] = {
	{"name", "name", 1},
	{"uuid", "uuid", 1},
	{"base_bdevs", "members", 1},
	{"raid_disks", "raid_disks", 1},
	{"strip_size_kb", "chunk_size", 1024},
	{"bitmap_chunk_kb", "bitmap_chunk", 1024},
	{"layout", "layout", 1},
	{"consistency_policy", "consistency_policy", 1},
	{"assume_clean", "assume_clean", 1},
	{"stripe_cache_size", "stripe_cache_size", 1},
	{"write_behind", "write_behind", 1},
	{"write_mostly", "write_mostly", 1},
	{"spare_group", "spare_group", 1},
	{"priority", "priority", 1},
};

#define NR_WORDS (sizeof(words) / sizeof(words[0]))

/* ---- the driver's form ---- */

static int translate(json_t *to, const char *key, json_t *value, json_int_t num, json_int_t den)
{
	if (value == NULL) {
		return 0;
	}
	return json_is_integer(value) ? json_object_set_new(to, key,
						json_integer(json_integer_value(value) * num / den))
				      : json_object_set(to, key, value);
}

json_t *xbdev__array_flat(const json_t *entry)
{
	json_t *params = json_object_get(entry, "params");
	json_t *flat = json_pack(
		"{s:s, s:O}", "driver", "raid", "level", json_object_get(entry, "method"));
	int rc = flat == NULL ? -1 : 0;

	for (size_t i = 0; i < NR_WORDS && rc == 0; i++) {
		rc = translate(flat, words[i].flat, json_object_get(params, words[i].key),
			words[i].unit, 1);
	}
	if (rc != 0) {
		json_decref(flat);
		return NULL;
	}
	return flat;
}

json_t *xbdev__array_entry(const json_t *flat)
{
	json_t *entry =
		json_pack("{s:O, s:{}}", "method", json_object_get(flat, "level"), "params");
	json_t *params = json_object_get(entry, "params");
	int rc = entry == NULL ? -1 : 0;

	for (size_t i = 0; i < NR_WORDS && rc == 0; i++) {
		rc = translate(params, words[i].key, json_object_get(flat, words[i].flat), 1,
			words[i].unit);
	}
	if (rc != 0) {
		json_decref(entry);
		return NULL;
	}
	return entry;
}

/* ---- checking ---- */

/* The index of the level; negative: it is none. */
static int check_level(const char *name, struct xu_error *err)
{
	char names[128] = "";

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		size_t len = strlen(names);

		if (strcmp(levels[i].name, name) == 0) {
			return (int)i;
		}
		snprintf(names + len, sizeof(names) - len, "%s\"%s\"", i == 0 ? "" : ", ",
			levels[i].name);
	}
	return xu_error_set(
		err, -EINVAL, "\"%.64s\" is not accepted; it takes one of: %s", name, names);
}

static int check_members(const struct raid_opts *opts, int level, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	json_t *members = opts->base_bdevs, *member;
	size_t min = levels[level].nr_members_min, i;

	snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.base_bdevs");
	if (!json_is_array(members)) {
		return xu_error_set(
			err, -EINVAL, "a list [ … ] of names or UUIDs of devices is needed here");
	}
	if (json_array_size(members) < 1 ||
		(json_array_size(members) < min && opts->raid_disks == 0)) {
		return xu_error_set(err, -EINVAL, "there are %zu; %s takes %zu or more",
			json_array_size(members), levels[level].name, min);
	}
	json_array_foreach (members, i, member) {
		if (!json_is_string(member) || json_string_length(member) == 0) {
			snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.base_bdevs[%zu]", i);
			return xu_error_set(
				err, -EINVAL, "the name or UUID of a device is needed here");
		}
	}
	return 0;
}

/* All members are copied: the names in the lists may be changed. */
static json_t *one_form(const char *method, json_t *params)
{
	static const char *const lists[] = {"base_bdevs", "write_mostly"};
	json_t *canonical = xbdev_config_canonical_params(raid_params, &raid_defaults, params);

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		json_t *list = json_object_get(params, lists[i]);

		if (list != NULL &&
			json_object_set_new(canonical, lists[i], xbdev_config_copy(list)) != 0) {
			json_decref(canonical);
			return NULL;
		}
	}
	return json_pack("{s:s, s:o}", "method", method, "params", canonical);
}

static int check_power(
	const char *key, uint32_t value, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	if ((value & (value - 1)) == 0) {
		return 0;
	}
	snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.%s", key);
	return xu_error_set(err, -EINVAL, "%u is not accepted; it takes a power of two", value);
}

/* What the driver says of it, in the document's words. */
static int check_by_driver(
	const json_t *entry, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	char inner[XU_PARAM_PATH_SIZE];
	json_t *flat = xbdev__array_flat(entry);
	int rc = flat != NULL ? xbdev_config_check_device(flat, inner, err)
			      : xu_error_set_errno(err, -ENOMEM, "checking a document");

	for (size_t i = 0; i < NR_WORDS && rc == -EINVAL; i++) {
		size_t len = strlen(words[i].flat);

		if (strncmp(inner, words[i].flat, len) == 0 &&
			(inner[len] == '\0' || inner[len] == '[')) {
			xbdev_text_strip_name(err, inner);
			snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.%s%.64s", words[i].key,
				inner + len);
			break;
		}
	}
	json_decref(flat);
	return rc;
}

static int raid_check(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	struct raid_opts opts = raid_defaults;
	char inner[XU_PARAM_PATH_SIZE];
	const char *method;
	json_t *params;
	int rc = xbdev_section_check_call(entry, &method, &params, path, err), level;

	if (rc != 0) {
		return rc;
	}
	level = check_level(method, err);
	if (level < 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "method");
		return level;
	}
	rc = xu_params_parse(raid_params, &opts, params, inner, err);
	if (rc == 0) {
		snprintf(inner, sizeof(inner), "name");
		rc = xbdev_section_check_name(opts.name, false, err);
	}
	if (rc != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params%s%s", inner[0] != '\0' ? "." : "",
			inner);
		return rc;
	}
	rc = check_members(&opts, level, path, err);
	if (rc == 0) {
		rc = check_power("strip_size_kb", opts.strip_size_kb, path, err);
	}
	if (rc == 0) {
		rc = check_power("bitmap_chunk_kb", opts.bitmap_chunk_kb, path, err);
	}
	if (rc == 0) {
		rc = check_by_driver(entry, path, err);
	}
	if (rc == 0) {
		rc = xbdev_item_set(item, opts.name, one_form(method, params), err);
	}
	for (size_t i = 0; i < json_array_size(opts.base_bdevs) && rc == 0; i++) {
		const char *name = json_string_value(json_array_get(opts.base_bdevs, i));

		if (strcmp(name, XBDEV_MD_MISSING) != 0) {
			rc = xbdev_item_use(
				item, "base_bdevs", (ssize_t)i, XBDEV_SPACE_DEVICE, true, err);
		}
	}
	return rc;
}

/* ---- what there is ---- */

static int describe(const struct xbdev_device *dev, json_t **ret_entry, struct xu_error *err)
{
	json_t *flat = dev->ops->config(dev);

	*ret_entry = flat != NULL ? xbdev__array_entry(flat) : NULL;
	json_decref(flat);
	return *ret_entry != NULL
		       ? 0
		       : xu_error_set_errno(err, -ENOMEM, "describing array '%s'", dev->name);
}

static int raid_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	struct xbdev_device *dev = NULL;
	json_t *entry = NULL;
	int rc = 0;

	while (rc == 0 && (dev = xbdev_device_next(ctx, dev)) != NULL) {
		if (!xbdev__md_is_array(dev) || atomic_load(&dev->state) != XBDEV_DEVICE_READY) {
			continue;
		}
		rc = describe(dev, &entry, err);
		if (rc == 0 && json_array_append_new(list, entry) != 0) {
			rc = xu_error_set_errno(err, -ENOMEM, "describing the arrays");
		}
	}
	return rc;
}

const struct xbdev_section xbdev__section_raid = {
	.key = "raid_devices",
	.one = "RAID array",
	.is_call = true,
	.space = XBDEV_SPACE_DEVICE,
	.check = raid_check,
	.plan = xbdev__array_plan,
	.apply = xbdev__array_apply,
	.undo = xbdev__array_undo,
	.forget = xbdev__array_forget,
	.save = raid_save,
};
