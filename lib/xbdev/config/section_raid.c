/* SPDX-License-Identifier: BSD-3-Clause */
/* The section "raid_devices": arrays over devices, of the levels and by the names of Linux MD. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/param.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/section.h"

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
	uint32_t strip_size_kb;
	struct xu_uuid uuid;
};

static const struct xu_param raid_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct raid_opts, name), .is_required = true,
		.help = "name of the array"},
	{"base_bdevs", XU_PARAM_JSON, offsetof(struct raid_opts, base_bdevs), .is_required = true,
		.help = "list of the names or UUIDs of its members"},
	{"strip_size_kb", XU_PARAM_U32, offsetof(struct raid_opts, strip_size_kb), .min = 4,
		.max = 1u << 20, .help = "chunk size, KiB"},
	{"uuid", XU_PARAM_UUID, offsetof(struct raid_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static const struct raid_opts raid_defaults;

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

static int check_members(
	json_t *members, int level, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	size_t min = levels[level].nr_members_min, i;
	json_t *member;

	snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.base_bdevs");
	if (!json_is_array(members)) {
		return xu_error_set(
			err, -EINVAL, "a list [ … ] of names or UUIDs of devices is needed here");
	}
	if (json_array_size(members) < min) {
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

/* All members are copied: the names in the list may be changed. */
static json_t *one_form(const char *method, json_t *params)
{
	json_t *canonical = xbdev_config_canonical_params(raid_params, &raid_defaults, params);
	json_t *members = xbdev_config_copy(json_object_get(params, "base_bdevs"));

	if (json_object_set_new(canonical, "base_bdevs", members) !=
		0) { /* fails without one too */
		json_decref(canonical);
		return NULL;
	}
	return json_pack("{s:s, s:o}", "method", method, "params", canonical);
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
	rc = check_members(opts.base_bdevs, level, path, err);
	if (rc == 0) {
		rc = xbdev_item_set(item, opts.name, one_form(method, params), err);
	}
	for (size_t i = 0; i < json_array_size(opts.base_bdevs) && rc == 0; i++) {
		rc = xbdev_item_use(item, "base_bdevs", (ssize_t)i, XBDEV_SPACE_DEVICE, true, err);
	}
	return rc;
}

const struct xbdev_section xbdev__section_raid = {
	.key = "raid_devices",
	.one = "RAID array",
	.is_call = true,
	.space = XBDEV_SPACE_DEVICE,
	.missing = "this version has no RAID",
	.check = raid_check,
};
