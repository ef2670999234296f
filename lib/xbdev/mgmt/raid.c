/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods for RAID arrays: SPDK's names and parameters where SPDK has the method, bdev_raid_… of
 * ours beyond. They act on the arrays that run, at once, and wait for the answer of lib/xbdev/raid;
 * the array's superblocks remember what they do, and raid_keep.c has the configuration remember
 * which devices an array has.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/mgmt/mgmt.h"
#include "lib/xbdev/mgmt/raid_json.h"
#include "lib/xbdev/raid/geometry.h"

#define NAMES_MAX 96u

/* ---- for all ---- */

static struct xbdev_device *find_array(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const char *name)
{
	struct xbdev_device *dev = xbdev_device_find(mgmt->ctx, name);

	if (dev == NULL || !xbdev__md_is_array(dev)) {
		xrpc_error(req, dev == NULL ? -ENODEV : -EINVAL,
			dev == NULL ? "there is no array '%.128s'; bdev_raid_get_bdevs lists them"
				    : "device '%.128s' is no RAID array",
			name);
		return NULL;
	}
	return dev;
}

/* One command, whose success changes which devices the array has, or does not. */
struct managing {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	char name[XBDEV_NAME_SIZE];
	bool has_members;
};

/* err is NULL when it is done. */
static void on_managed(void *arg, const struct xu_error *err)
{
	struct managing *managing = arg;
	struct xbdev_device *array = xbdev_device_find(managing->mgmt->ctx, managing->name);

	if (err != NULL && err->code != 0) {
		xrpc_fail(managing->req, err, NULL);
	} else if (managing->has_members && array != NULL && xbdev__md_is_array(array)) {
		xbdev__mgmt_raid_keep(managing->mgmt, managing->req, array, false);
	} else {
		xrpc_true(managing->req);
	}
	free(managing);
}

/* Does one command and answers. Devices may be named by UUID. */
static void manage(struct xrpc_request *req, struct xbdev_mgmt *mgmt, const char *name,
	struct xbdev_md_command command)
{
	struct xbdev_device *array = find_array(mgmt, req, name), *dev;
	struct managing *managing;

	if (array == NULL) {
		return;
	}
	managing = calloc(1, sizeof(*managing));
	if (managing == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	managing->req = req;
	managing->mgmt = mgmt;
	memcpy(managing->name, array->name, sizeof(managing->name));
	managing->has_members = command.kind == XBDEV_MD_COMMAND_ADD ||
				command.kind == XBDEV_MD_COMMAND_REMOVE ||
				command.kind == XBDEV_MD_COMMAND_REPLACE;
	dev = command.device != NULL ? xbdev_device_find(mgmt->ctx, command.device) : NULL;
	command.device = dev != NULL ? dev->name : command.device;
	dev = command.new_device != NULL ? xbdev_device_find(mgmt->ctx, command.new_device) : NULL;
	command.new_device = dev != NULL ? dev->name : command.new_device;
	xbdev__md_manage(array, &command, on_managed, managing);
}

/* The names in a list; false: the request has been answered. */
static bool read_names(struct xrpc_request *req, const char *key, json_t *list,
	const char *names[NAMES_MAX], uint32_t *nr)
{
	json_t *value;
	size_t i;

	if (list != NULL && (!json_is_array(list) || json_array_size(list) > NAMES_MAX - *nr)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"%s: a list of 1 to 32 names of devices is needed here", key);
		return false;
	}
	json_array_foreach (list, i, value) {
		if (!json_is_string(value) || json_string_length(value) == 0) {
			xrpc_error(req, XRPC_INVALID_PARAMS,
				"%s[%zu]: the name or UUID of a device is needed here", key, i);
			return false;
		}
		names[(*nr)++] = json_string_value(value);
	}
	return true;
}

/* "raid5", "5"; SPDK's "concat". False: the request has been answered. */
static bool read_level(struct xrpc_request *req, const char *text, int32_t *ret_level)
{
	static const int32_t levels[] = {-1, 0, 1, 4, 5, 6, 10};
	const char *number = strncasecmp(text, "raid", 4) == 0 ? text + 4 : text;
	char buf[24];

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		const char *name = xbdev__md_level_name(levels[i], buf);

		if (strcasecmp(text, name) == 0 ||
			(levels[i] >= 0 && strcmp(number, name + strlen("raid")) == 0) ||
			(levels[i] < 0 && strcasecmp(text, "concat") == 0)) {
			*ret_level = levels[i];
			return true;
		}
	}
	xrpc_error(req, XRPC_INVALID_PARAMS,
		"raid_level: \"%.32s\" is not accepted; it takes one of: linear, raid0, raid1, "
		"raid4, raid5, raid6, raid10",
		text);
	return false;
}

struct making {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
};

static void on_searched(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct making making = *(struct making *)arg;

	free(arg);
	if (dev == NULL) {
		xrpc_fail(making.req, err, NULL);
	} else {
		xbdev__mgmt_raid_keep(making.mgmt, making.req, dev, true);
	}
}

static void on_made(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	xbdev__lvol_made(((struct making *)arg)->mgmt->ctx, dev, err, on_searched, arg);
}

/* What on_made() needs, when the name is free; NULL: the request has been answered. */
static struct making *making_new(
	struct xrpc_request *req, struct xbdev_mgmt *mgmt, const char *name)
{
	struct making *making;

	if (xbdev_device_find(mgmt->ctx, name) != NULL) {
		xrpc_error(req, -EEXIST,
			"there is a device named '%s' already; choose another name", name);
		return NULL;
	}
	making = malloc(sizeof(*making));
	if (making == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return NULL;
	}
	*making = (struct making){req, mgmt};
	return making;
}

/* ---- bdev_raid_create ---- */

struct create_opts {
	const char *name;
	const char *raid_level;
	json_t *base_bdevs;
	uint32_t strip_size_kb;
	bool superblock;
	struct xu_uuid uuid;
	const char *layout;
	json_t *spares;
	bool assume_clean;
	bool force;
	const char *set_name;
	uint32_t stripe_cache_size;
	uint32_t bitmap_chunk_kb;
	uint32_t policy; /* index of policies */
	uint32_t write_behind;
	json_t *write_mostly;
};

static const char *const policies[] = {
	[XBDEV_MD_POLICY_RESYNC] = "resync",
	[XBDEV_MD_POLICY_PPL] = "ppl",
	[XBDEV_MD_POLICY_JOURNAL] = "journal",
	[XBDEV_MD_POLICY_JOURNAL + 1] = NULL,
};

static const struct create_opts create_defaults = {.superblock = true};

static const struct xu_param create_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct create_opts, name), .is_required = true,
		.help = "name of the array"},
	{"raid_level", XU_PARAM_STRING, offsetof(struct create_opts, raid_level),
		.is_required = true,
		.help = "linear (or concat), raid0, raid1, raid4, raid5, raid6 or raid10; the "
			"number alone will do"},
	{"base_bdevs", XU_PARAM_JSON, offsetof(struct create_opts, base_bdevs), .is_required = true,
		.help = "list of the names of its members, by role; \"missing\" where there is "
			"none yet"},
	{"strip_size_kb", XU_PARAM_U32, offsetof(struct create_opts, strip_size_kb), .max = 65536,
		.help = "chunk in KiB, a power of two from 4 (default 0: 512)"},
	{"superblock", XU_PARAM_BOOL, offsetof(struct create_opts, superblock),
		.help = "arrays always have superblocks on their members; false is refused "
			"(default true)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct create_opts, uuid),
		.help = "identity (default: a new one)"},
	{"layout", XU_PARAM_STRING, offsetof(struct create_opts, layout),
		.help = "mdadm's name of it, such as left-symmetric or far=2 (default: the "
			"level's)"},
	{"spares", XU_PARAM_JSON, offsetof(struct create_opts, spares),
		.help = "list of the names of its spares"},
	{"assume_clean", XU_PARAM_BOOL, offsetof(struct create_opts, assume_clean),
		.help = "the members agree already, no resync (default false)"},
	{"force", XU_PARAM_BOOL, offsetof(struct create_opts, force),
		.help = "also over members that carry a superblock (default false)"},
	{"set_name", XU_PARAM_STRING, offsetof(struct create_opts, set_name),
		.help = "the name that mdadm shows, up to 31 bytes (default: the array's)"},
	{"stripe_cache_size", XU_PARAM_U32, offsetof(struct create_opts, stripe_cache_size),
		.max = 32768,
		.help = "stripes of raid4, raid5, raid6 worked on at a time, 16 or more (default "
			"0: 256)"},
	{"bitmap_chunk_kb", XU_PARAM_U32, offsetof(struct create_opts, bitmap_chunk_kb),
		.max = 1u << 20,
		.help = "KiB of a bit of the write-intent bitmap, a power of two from 4 (default "
			"0: no bitmap)"},
	{"consistency_policy", XU_PARAM_ENUM, offsetof(struct create_opts, policy),
		.choices = policies,
		.help = "what makes copies or parity agree after a crash: resync, ppl (raid5) or "
			"journal (raid4, raid6) (default resync)"},
	{"write_behind", XU_PARAM_U32, offsetof(struct create_opts, write_behind),
		.max = XBDEV_MD_MAX_BEHIND,
		.help = "raid1 with a bitmap: so many writes may be acknowledged before "
			"write-mostly members have them (default 0: none)"},
	{"write_mostly", XU_PARAM_JSON, offsetof(struct create_opts, write_mostly),
		.help = "raid1: list of those of its devices that are read only when no other can "
			"be (default: none)"},
	{0},
};

/* False: the request has been answered. */
static bool read_create(struct xrpc_request *req, const struct create_opts *opts,
	struct xbdev_md_create_opts *create, const char *names[NAMES_MAX])
{
	const char *mostly[NAMES_MAX];
	struct xu_error err = {0};
	uint32_t nr = 0, nr_mostly = 0;

	if (!opts->superblock) {
		xrpc_error(req, -EOPNOTSUPP,
			"superblock: arrays without superblocks are not made here; leave it out");
		return false;
	}
	if (!read_level(req, opts->raid_level, &create->level) ||
		!read_names(req, "base_bdevs", opts->base_bdevs, names, &nr)) {
		return false;
	}
	create->nr_members = nr;
	if (!read_names(req, "spares", opts->spares, names, &nr)) {
		return false;
	}
	create->nr_spares = nr - create->nr_members;
	if (!read_names(req, "write_mostly", opts->write_mostly, mostly, &nr_mostly)) {
		return false;
	}
	if (xbdev__md_find_mostly(
		    opts->name, names, nr, mostly, nr_mostly, &create->write_mostly, &err) != 0) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "write_mostly: %s", err.text);
		return false;
	}
	create->layout = XBDEV_MD_LAYOUT_DEFAULT;
	if (opts->layout != NULL &&
		xbdev__md_layout_parse(create->level, opts->layout, &create->layout, &err) != 0) {
		xrpc_fail(req, &err, NULL);
		return false;
	}
	if (opts->stripe_cache_size != 0 &&
		(opts->stripe_cache_size < 16 || create->level < 4 || create->level > 6)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"stripe_cache_size: 16 to 32768, and of raid4, raid5 and raid6 only");
		return false;
	}
	if (opts->bitmap_chunk_kb != 0 &&
		(opts->bitmap_chunk_kb < 4 ||
			(opts->bitmap_chunk_kb & (opts->bitmap_chunk_kb - 1)) != 0)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"bitmap_chunk_kb: %u is not accepted; it takes a power of two from 4",
			opts->bitmap_chunk_kb);
		return false;
	}
	if (opts->set_name != NULL && strlen(opts->set_name) > XBDEV_MD_NAME_BYTES - 1) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "set_name: it may have 31 bytes");
		return false;
	}
	return true;
}

static void raid_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct create_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	const char *names[NAMES_MAX];
	struct xbdev_md_create_opts create = {
		.name = opts->name,
		.chunk_bytes = (uint64_t)opts->strip_size_kb << 10,
		.members = names,
		.assume_clean = opts->assume_clean,
		.force = opts->force,
		.uuid = opts->uuid,
		.set_name = opts->set_name,
		.nr_stripes = opts->stripe_cache_size,
		.bitmap_chunk_bytes = opts->bitmap_chunk_kb * 1024,
		.policy = (enum xbdev_md_policy)opts->policy,
		.write_behind = opts->write_behind,
	};
	struct making *making;

	if (!read_create(req, opts, &create, names)) {
		return;
	}
	making = making_new(req, mgmt, opts->name);
	if (making != NULL) {
		xbdev__md_create(mgmt->ctx, &create, on_made, making);
	}
}

/* ---- bdev_raid_assemble ---- */

struct assemble_opts {
	const char *name;
	json_t *base_bdevs;
	const char *raid_level;
	struct xu_uuid uuid;
	bool run;
	bool force;
	bool read_only;
};

static const struct xu_param assemble_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct assemble_opts, name), .is_required = true,
		.help = "name of the array"},
	{"base_bdevs", XU_PARAM_JSON, offsetof(struct assemble_opts, base_bdevs),
		.is_required = true, .help = "list of the names of its members and spares"},
	{"raid_level", XU_PARAM_STRING, offsetof(struct assemble_opts, raid_level),
		.help = "what the members must say (default: anything)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct assemble_opts, uuid),
		.help = "what the members must say (default: anything)"},
	{"run", XU_PARAM_BOOL, offsetof(struct assemble_opts, run),
		.help = "also when a member that served is missing (default false)"},
	{"force", XU_PARAM_BOOL, offsetof(struct assemble_opts, force),
		.help = "also with members that are out of date, or dirty and degraded: what was "
			"written last may be lost (default false)"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct assemble_opts, read_only),
		.help = "write nothing to the members (default false)"},
	{0},
};

static void raid_assemble(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct assemble_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	const char *names[NAMES_MAX];
	struct xbdev_md_assemble_opts assemble = {
		.name = opts->name,
		.level = XBDEV_MD_LEVEL_ANY,
		.members = names,
		.uuid = opts->uuid,
		.run = opts->run,
		.force = opts->force,
		.read_only = opts->read_only,
	};
	struct making *making;

	if ((opts->raid_level != NULL && !read_level(req, opts->raid_level, &assemble.level)) ||
		!read_names(req, "base_bdevs", opts->base_bdevs, names, &assemble.nr_members)) {
		return;
	}
	making = making_new(req, mgmt, opts->name);
	if (making != NULL) {
		xbdev__md_assemble(mgmt->ctx, &assemble, on_made, making);
	}
}

/* ---- bdev_raid_delete ---- */

struct name_opts {
	const char *name;
};

static const struct xu_param name_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name or UUID of the array"},
	{0},
};

static const struct xu_param base_name_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{0},
};

static void on_removed(void *arg)
{
	xrpc_true(arg);
}

static void raid_delete(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = find_array(mgmt, req, opts->name);

	if (dev == NULL) {
		return;
	}
	if (dev->claim != NULL) {
		xrpc_error(req, -EBUSY, "array '%s' is in use by %s; remove that first", dev->name,
			dev->claim_by);
	} else if (mgmt->remove != NULL) {
		mgmt->remove(mgmt, dev->name, xbdev_mgmt_answer, req);
	} else if (xbdev_device_remove(dev, on_removed, req) != 0) {
		xrpc_error(req, -EBUSY, "array '%s' is being removed already", dev->name);
	}
}

/* ---- looking ---- */

enum category { CATEGORY_ALL, CATEGORY_ONLINE, CATEGORY_CONFIGURING, CATEGORY_OFFLINE };

static const char *const categories[] = {"all", "online", "configuring", "offline", NULL};

struct get_opts {
	uint32_t category;
};

static const struct xu_param get_params[] = {
	{"category", XU_PARAM_ENUM, offsetof(struct get_opts, category), .choices = categories,
		.help = "those to list: all, online, offline; none is ever configuring (default "
			"all)"},
	{0},
};

/* Looks at one array after the other. */
struct listing {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	uint32_t category;
	json_t *list;
	char name[XBDEV_NAME_SIZE]; /* of the one that is looked at */
	json_t *names;              /* of those to look at */
	size_t next;
};

static void list_next(struct listing *listing);

static void on_listed(void *arg, const struct xbdev_md_info *info)
{
	struct listing *listing = arg;

	if (info != NULL) {
		bool is_online = info->state != XBDEV_MD_ARRAY_BROKEN;

		if (listing->category == CATEGORY_ALL ||
			(listing->category == CATEGORY_ONLINE && is_online) ||
			(listing->category == CATEGORY_OFFLINE && !is_online)) {
			json_array_append_new(
				listing->list, xbdev__mgmt_raid_bdev(listing->name, info));
		}
	}
	list_next(listing);
}

static void list_next(struct listing *listing)
{
	while (listing->next < json_array_size(listing->names)) {
		const char *name =
			json_string_value(json_array_get(listing->names, listing->next++));
		struct xbdev_device *dev = xbdev_device_find(listing->mgmt->ctx, name);

		if (dev != NULL && xbdev__md_is_array(dev)) {
			memcpy(listing->name, dev->name, sizeof(listing->name));
			xbdev__md_info_get(dev, on_listed, listing);
			return;
		}
	}
	xrpc_result(listing->req, listing->list);
	json_decref(listing->names);
	free(listing);
}

static void raid_get_bdevs(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct get_opts *opts = opts_ptr;
	struct listing *listing = calloc(1, sizeof(*listing));
	struct xbdev_device *dev = NULL;

	if (listing == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	listing->req = req;
	listing->mgmt = arg;
	listing->category = opts->category;
	listing->list = json_array();
	listing->names = json_array();
	while ((dev = xbdev_device_next(listing->mgmt->ctx, dev)) != NULL) {
		if (xbdev__md_is_array(dev)) {
			json_array_append_new(listing->names, json_string(dev->name));
		}
	}
	list_next(listing);
}

struct looking {
	struct xrpc_request *req;
	char name[XBDEV_NAME_SIZE];
};

static struct looking *looking_new(struct xrpc_request *req, const char *name)
{
	struct looking *looking = calloc(1, sizeof(*looking));

	if (looking == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return NULL;
	}
	looking->req = req;
	snprintf(looking->name, sizeof(looking->name), "%s", name);
	return looking;
}

static void on_detail(void *arg, const struct xbdev_md_info *info)
{
	struct looking *looking = arg;

	xrpc_result(
		looking->req, info != NULL ? xbdev__mgmt_raid_detail(looking->name, info) : NULL);
	free(looking);
}

static void raid_get_detail(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_device *dev = find_array(arg, req, opts->name);
	struct looking *looking = dev != NULL ? looking_new(req, dev->name) : NULL;

	if (looking != NULL) {
		xbdev__md_info_get(dev, on_detail, looking);
	}
}

static void on_examined(
	void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err)
{
	struct looking *looking = arg;

	if (examined == NULL) {
		xrpc_fail(looking->req, err, NULL);
	} else {
		xrpc_result(looking->req, xbdev__mgmt_raid_examined(looking->name, examined));
	}
	free(looking);
}

static void raid_examine(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = xbdev_mgmt_find(mgmt, req, opts->name);
	struct looking *looking = dev != NULL ? looking_new(req, dev->name) : NULL;

	if (looking != NULL) {
		xbdev__md_examine(mgmt->ctx, looking->name, on_examined, looking);
	}
}

static void raid_zero_superblock(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;

	xbdev__md_erase(mgmt->ctx, opts->name, xbdev_mgmt_answer, req);
}

/* ---- members ---- */

struct member_opts {
	const char *raid_bdev;
	const char *base_bdev;
	const char *new_bdev;
};

static const struct xu_param add_params[] = {
	{"base_bdev", XU_PARAM_STRING, offsetof(struct member_opts, base_bdev), .is_required = true,
		.help = "the device: blank, or an old member of the array"},
	{"raid_bdev", XU_PARAM_STRING, offsetof(struct member_opts, raid_bdev), .is_required = true,
		.help = "the array"},
	{0},
};

static const struct xu_param fail_params[] = {
	{"raid_bdev", XU_PARAM_STRING, offsetof(struct member_opts, raid_bdev), .is_required = true,
		.help = "the array"},
	{"base_bdev", XU_PARAM_STRING, offsetof(struct member_opts, base_bdev), .is_required = true,
		.help = "the member"},
	{0},
};

static const struct xu_param replace_params[] = {
	{"raid_bdev", XU_PARAM_STRING, offsetof(struct member_opts, raid_bdev), .is_required = true,
		.help = "the array"},
	{"base_bdev", XU_PARAM_STRING, offsetof(struct member_opts, base_bdev), .is_required = true,
		.help = "the member that is to go; it serves until the new one has its content"},
	{"new_bdev", XU_PARAM_STRING, offsetof(struct member_opts, new_bdev), .is_required = true,
		.help = "a spare of the array, or a device that may become one"},
	{0},
};

static void raid_add(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct member_opts *opts = opts_ptr;

	manage(req, arg, opts->raid_bdev,
		(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_ADD, .device = opts->base_bdev});
}

static void raid_fail(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct member_opts *opts = opts_ptr;

	manage(req, arg, opts->raid_bdev,
		(struct xbdev_md_command){
			.kind = XBDEV_MD_COMMAND_FAIL, .device = opts->base_bdev});
}

static void raid_replace(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct member_opts *opts = opts_ptr;

	manage(req, arg, opts->raid_bdev,
		(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_REPLACE,
			.device = opts->base_bdev,
			.new_device = opts->new_bdev});
}

/* A member that serves is set faulty first; a spare need not be, and is refused by nobody. */
struct removing {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	char array[XBDEV_NAME_SIZE], member[XBDEV_NAME_SIZE];
};

static void on_failed(void *arg, const struct xu_error *err)
{
	struct removing *removing = arg;

	if (err != NULL) {
		xrpc_fail(removing->req, err, NULL);
	} else {
		manage(removing->req, removing->mgmt, removing->array,
			(struct xbdev_md_command){
				.kind = XBDEV_MD_COMMAND_REMOVE, .device = removing->member});
	}
	free(removing);
}

static void raid_remove(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = xbdev_mgmt_find(mgmt, req, opts->name), *array;
	struct removing *removing;
	struct xbdev_md_command command = {.kind = XBDEV_MD_COMMAND_FAIL};

	if (dev == NULL) {
		return;
	}
	array = xbdev__md_array_that_has(dev);
	removing = array != NULL ? calloc(1, sizeof(*removing)) : NULL;
	if (removing == NULL) {
		xrpc_error(req, array == NULL ? -EINVAL : XRPC_INTERNAL_ERROR,
			array == NULL ? "device '%s' is a member of no array"
				      : "removing '%s': out of memory",
			dev->name);
		return;
	}
	removing->req = req;
	removing->mgmt = mgmt;
	memcpy(removing->array, array->name, sizeof(removing->array));
	memcpy(removing->member, dev->name, sizeof(removing->member));
	command.device = removing->member;
	xbdev__md_manage(array, &command, on_failed, removing);
}

/* ---- the array as a whole ---- */

struct check_opts {
	const char *name;
	bool repair;
};

static const struct xu_param check_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct check_opts, name), .is_required = true,
		.help = "name or UUID of the array"},
	{"repair", XU_PARAM_BOOL, offsetof(struct check_opts, repair),
		.help = "make what differs agree (default false: count it)"},
	{0},
};

static void raid_check(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct check_opts *opts = opts_ptr;

	manage(req, arg, opts->name,
		(struct xbdev_md_command){
			.kind = opts->repair ? XBDEV_MD_COMMAND_REPAIR : XBDEV_MD_COMMAND_CHECK});
}

static const char *const accesses[] = {"unchanged", "read-only", "read-write", NULL};
static const char *const rebuilds[] = {"unchanged", "stop", "start", NULL};

struct set_opts {
	const char *name;
	uint32_t access;
	uint32_t rebuild;
	uint64_t speed_min, speed_max;
	const char *spare_group;
	uint32_t priority;
};

static const struct set_opts set_defaults = {
	.speed_min = UINT64_MAX, .speed_max = UINT64_MAX, .priority = UINT32_MAX};

static const struct xu_param set_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct set_opts, name), .is_required = true,
		.help = "name or UUID of the array"},
	{"access", XU_PARAM_ENUM, offsetof(struct set_opts, access), .choices = accesses,
		.help = "read-only or read-write (default unchanged)"},
	{"rebuild", XU_PARAM_ENUM, offsetof(struct set_opts, rebuild), .choices = rebuilds,
		.help = "stop or start resync and recovery (default unchanged)"},
	{"speed_min", XU_PARAM_U64, offsetof(struct set_opts, speed_min), .max = 1ull << 40,
		.help = "KiB/s of each member that they take at most while the array is used, 0: "
			"what those who use it hardly notice, 1024 at least; goes with speed_max"},
	{"speed_max", XU_PARAM_U64, offsetof(struct set_opts, speed_max), .max = 1ull << 40,
		.help = "KiB/s while it is not used, 0: no limit; goes with speed_min"},
	{"spare_group", XU_PARAM_STRING, offsetof(struct set_opts, spare_group),
		.help = "arrays of the same group share their spares; none: of no group "
			"(default unchanged)"},
	{"priority", XU_PARAM_U32, offsetof(struct set_opts, priority),
		.max = XBDEV_REBUILD_PRIORITIES - 1,
		.help = "of its rebuilds where not all may run at a time, 0 to 7, the higher the "
			"sooner (default unchanged)"},
	{0},
};

/* The commands that are asked for, one after the other; the first that fails is the answer. */
struct setting {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	char name[XBDEV_NAME_SIZE];
	struct xbdev_md_command commands[5];
	uint32_t nr_commands, next;
	bool is_kept; /* the configuration is to know of it */
	char group[XBDEV_MD_GROUP_BYTES];
};

static void on_set(void *arg, const struct xu_error *err)
{
	struct setting *setting = arg;
	struct xbdev_device *dev;

	if (err != NULL) {
		xrpc_fail(setting->req, err, NULL);
		free(setting);
		return;
	}
	if (setting->next == setting->nr_commands && !setting->is_kept) {
		xrpc_true(setting->req);
		free(setting);
		return;
	}
	dev = find_array(setting->mgmt, setting->req, setting->name);
	if (dev == NULL) {
		free(setting);
		return;
	}
	if (setting->next == setting->nr_commands) {
		xbdev__mgmt_raid_keep(setting->mgmt, setting->req, dev, false);
		free(setting);
		return;
	}
	xbdev__md_manage(dev, &setting->commands[setting->next++], on_set, setting);
}

static void raid_set_options(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct set_opts *opts = opts_ptr;
	bool has_min = opts->speed_min != UINT64_MAX, has_max = opts->speed_max != UINT64_MAX;
	struct setting *setting;

	if (opts->spare_group != NULL && strlen(opts->spare_group) >= XBDEV_MD_GROUP_BYTES) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "spare_group: it has up to 31 bytes");
		return;
	}
	if (has_min != has_max) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "speed_min and speed_max go together");
		return;
	}
	setting = calloc(1, sizeof(*setting));
	if (setting == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	setting->req = req;
	setting->mgmt = arg;
	snprintf(setting->name, sizeof(setting->name), "%s", opts->name);
	if (opts->access != 0) {
		setting->commands[setting->nr_commands++].kind =
			opts->access == 1 ? XBDEV_MD_COMMAND_READ_ONLY
					  : XBDEV_MD_COMMAND_READ_WRITE;
	}
	if (has_min) {
		setting->commands[setting->nr_commands++] =
			(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_SPEED,
				.speed_min_kib = opts->speed_min,
				.speed_max_kib = opts->speed_max};
	}
	if (opts->rebuild != 0) {
		setting->commands[setting->nr_commands++].kind =
			opts->rebuild == 1 ? XBDEV_MD_COMMAND_SYNC_STOP
					   : XBDEV_MD_COMMAND_SYNC_START;
	}
	if (opts->spare_group != NULL) {
		snprintf(setting->group, sizeof(setting->group), "%s", opts->spare_group);
		setting->commands[setting->nr_commands++] = (struct xbdev_md_command){
			.kind = XBDEV_MD_COMMAND_SPARE_GROUP, .device = setting->group};
	}
	if (opts->priority != UINT32_MAX) {
		setting->commands[setting->nr_commands++] = (struct xbdev_md_command){
			.kind = XBDEV_MD_COMMAND_PRIORITY, .priority = opts->priority};
	}
	setting->is_kept = opts->spare_group != NULL || opts->priority != UINT32_MAX;
	if (setting->nr_commands == 0) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"nothing is to be changed; name access, rebuild, the speeds, spare_group "
			"or priority");
		free(setting);
		return;
	}
	on_set(setting, NULL);
}

const struct xrpc_method xbdev_mgmt_raid_methods[] = {
	{"bdev_raid_create", "Makes an array on devices that belong to nobody.", create_params,
		sizeof(struct create_opts), .defaults = &create_defaults, .fn = raid_create},
	{"bdev_raid_assemble", "Starts an array from what its members say.", assemble_params,
		sizeof(struct assemble_opts), .fn = raid_assemble},
	{"bdev_raid_delete", "Stops an array; its members keep it.", name_params,
		sizeof(struct name_opts), .fn = raid_delete},
	{"bdev_raid_get_bdevs", "Lists arrays.", get_params, sizeof(struct get_opts),
		.fn = raid_get_bdevs},
	{"bdev_raid_get_detail", "Everything about one array.", name_params,
		sizeof(struct name_opts), .fn = raid_get_detail},
	{"bdev_raid_examine", "What the superblock of one device says.", base_name_params,
		sizeof(struct name_opts), .fn = raid_examine},
	{"bdev_raid_zero_superblock", "Erases the superblock of a device that is not in use.",
		base_name_params, sizeof(struct name_opts), .fn = raid_zero_superblock},
	{"bdev_raid_add_base_bdev", "Adds a spare, which is used at once if one is needed.",
		add_params, sizeof(struct member_opts), .fn = raid_add},
	{"bdev_raid_remove_base_bdev", "Takes a device out of the array that has it.",
		base_name_params, sizeof(struct name_opts), .fn = raid_remove},
	{"bdev_raid_fail", "Takes a member out of service.", fail_params,
		sizeof(struct member_opts), .fn = raid_fail},
	{"bdev_raid_replace", "Has a device take the place of a member.", replace_params,
		sizeof(struct member_opts), .fn = raid_replace},
	{"bdev_raid_check", "Begins to compare copies or parity.", check_params,
		sizeof(struct check_opts), .fn = raid_check},
	{"bdev_raid_set_options", "Access, rebuild, its speed and priority, spare group.",
		set_params, sizeof(struct set_opts), .defaults = &set_defaults,
		.fn = raid_set_options},
	{0},
};
