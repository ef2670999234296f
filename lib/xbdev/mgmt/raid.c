/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods that make, assemble and stop RAID arrays: SPDK's names and parameters where SPDK has the
 * method, bdev_raid_… of ours beyond. They act at once and wait for the answer of lib/xbdev/raid;
 * raid_keep.c then has the configuration remember the array.
 */
#include <errno.h>
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

struct xbdev_device *xbdev__mgmt_raid_find(
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
	const char *spare_group;
	uint32_t priority;
};

static const char *const policies[] = {
	[XBDEV_MD_POLICY_RESYNC] = "resync",
	[XBDEV_MD_POLICY_PPL] = "ppl",
	[XBDEV_MD_POLICY_JOURNAL] = "journal",
	[XBDEV_MD_POLICY_JOURNAL + 1] = NULL,
};

static const struct create_opts create_defaults = {
	.superblock = true, .priority = XBDEV_REBUILD_PRIORITY_DEFAULT};

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
	{"spare_group", XU_PARAM_STRING, offsetof(struct create_opts, spare_group),
		.help = "arrays of the same group share their spares (default: none)"},
	{"priority", XU_PARAM_U32, offsetof(struct create_opts, priority),
		.max = XBDEV_REBUILD_PRIORITIES - 1,
		.help = "of its rebuilds where not all may run at a time, 0 to 7 (default 4)"},
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
			"superblock: false is not accepted, for arrays without superblocks are not "
			"made here; leave it out, or say true (-s of SPDK's client)");
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
		.spare_group = opts->spare_group,
		.priority = opts->priority + 1,
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
	uint32_t stripe_cache_size;
	const char *spare_group;
	uint32_t priority;
};

static const struct assemble_opts assemble_defaults = {.priority = XBDEV_REBUILD_PRIORITY_DEFAULT};

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
	{"stripe_cache_size", XU_PARAM_U32, offsetof(struct assemble_opts, stripe_cache_size),
		.max = 32768,
		.help = "stripes of raid4, raid5, raid6 worked on at a time, 16 or more (default "
			"0: 256)"},
	{"spare_group", XU_PARAM_STRING, offsetof(struct assemble_opts, spare_group),
		.help = "arrays of the same group share their spares (default: none)"},
	{"priority", XU_PARAM_U32, offsetof(struct assemble_opts, priority),
		.max = XBDEV_REBUILD_PRIORITIES - 1,
		.help = "of its rebuilds where not all may run at a time, 0 to 7 (default 4)"},
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
		.nr_stripes = opts->stripe_cache_size,
		.spare_group = opts->spare_group,
		.priority = opts->priority + 1,
	};
	struct making *making;

	if (opts->stripe_cache_size != 0 && opts->stripe_cache_size < 16) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"stripe_cache_size: %u is not accepted; it takes 16 to 32768",
			opts->stripe_cache_size);
		return;
	}
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

static void on_removed(void *arg)
{
	xrpc_true(arg);
}

static void raid_delete(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = xbdev__mgmt_raid_find(mgmt, req, opts->name);

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

const struct xrpc_method xbdev_mgmt_raid_methods[] = {
	{"bdev_raid_create", "Makes an array on devices that belong to nobody.", create_params,
		sizeof(struct create_opts), .defaults = &create_defaults, .fn = raid_create},
	{"bdev_raid_assemble", "Starts an array from what its members say.", assemble_params,
		sizeof(struct assemble_opts), .defaults = &assemble_defaults, .fn = raid_assemble},
	{"bdev_raid_delete", "Stops an array; its members keep it.", name_params,
		sizeof(struct name_opts), .fn = raid_delete},
	{0},
};
