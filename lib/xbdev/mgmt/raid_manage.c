/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods that change RAID arrays which run: their members, and what they do. Commands of
 * lib/xbdev/raid, one or a few after the other; the array's superblocks remember what those do, and
 * raid_keep.c has the configuration remember what is not on them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/mgmt.h"
#include "lib/xbdev/mgmt/raid_json.h"

/* ---- one command ---- */

/* One command, whose success changes what is remembered of the array's devices, or does not. */
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
	struct xbdev_device *array = xbdev__mgmt_raid_find(mgmt, req, name), *dev;
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
				command.kind == XBDEV_MD_COMMAND_REPLACE ||
				command.kind == XBDEV_MD_COMMAND_MOSTLY ||
				command.kind == XBDEV_MD_COMMAND_NOT_MOSTLY;
	dev = command.device != NULL ? xbdev_device_find(mgmt->ctx, command.device) : NULL;
	command.device = dev != NULL ? dev->name : command.device;
	dev = command.new_device != NULL ? xbdev_device_find(mgmt->ctx, command.new_device) : NULL;
	command.new_device = dev != NULL ? dev->name : command.new_device;
	xbdev__md_manage(array, &command, on_managed, managing);
}

/* ---- members ---- */

struct name_opts {
	const char *name;
};

static const struct xu_param base_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{0},
};

struct member_opts {
	const char *raid_bdev;
	const char *base_bdev;
	const char *new_bdev;
	bool write_mostly;
};

static const struct xu_param add_params[] = {
	{"base_bdev", XU_PARAM_STRING, offsetof(struct member_opts, base_bdev), .is_required = true,
		.help = "the device: blank, or an old member of the array"},
	{"raid_bdev", XU_PARAM_STRING, offsetof(struct member_opts, raid_bdev), .is_required = true,
		.help = "the array"},
	{"write_mostly", XU_PARAM_BOOL, offsetof(struct member_opts, write_mostly),
		.help = "of a raid1: it is read only when no other can be, and may be behind with "
			"what is written (default false)"},
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
		(struct xbdev_md_command){.kind = XBDEV_MD_COMMAND_ADD,
			.device = opts->base_bdev,
			.is_mostly = opts->write_mostly});
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

struct mostly_opts {
	const char *raid_bdev;
	const char *base_bdev;
	bool write_mostly;
};

static const struct xu_param mostly_params[] = {
	{"raid_bdev", XU_PARAM_STRING, offsetof(struct mostly_opts, raid_bdev), .is_required = true,
		.help = "the array, a raid1"},
	{"base_bdev", XU_PARAM_STRING, offsetof(struct mostly_opts, base_bdev), .is_required = true,
		.help = "the member or spare"},
	{"write_mostly", XU_PARAM_BOOL, offsetof(struct mostly_opts, write_mostly),
		.is_required = true,
		.help = "whether it is read only when no other can be, and may be behind with what "
			"is written"},
	{0},
};

static void raid_set_member(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct mostly_opts *opts = opts_ptr;

	manage(req, arg, opts->raid_bdev,
		(struct xbdev_md_command){.kind = opts->write_mostly ? XBDEV_MD_COMMAND_MOSTLY
								     : XBDEV_MD_COMMAND_NOT_MOSTLY,
			.device = opts->base_bdev});
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
		.help = "KiB/s of each member that they take at least, also where those who use "
			"the array notice it, 0: 1024; goes with speed_max"},
	{"speed_max", XU_PARAM_U64, offsetof(struct set_opts, speed_max), .max = 1ull << 40,
		.help = "KiB/s that they take at most, 0: no limit; goes with speed_min"},
	{"spare_group", XU_PARAM_STRING, offsetof(struct set_opts, spare_group),
		.help = "arrays of the same group share their spares; none: of no group "
			"(default unchanged)"},
	{"priority", XU_PARAM_U32, offsetof(struct set_opts, priority),
		.max = XBDEV_REBUILD_PRIORITIES - 1,
		.help = "of its rebuilds where not all may run at a time, 0 to 7, the higher the "
			"sooner (default unchanged)"},
	{"process_window_size_kb", XU_PARAM_OFF,
		.help = "only 0 is possible: SPDK's, of all arrays; windows are not set here"},
	{"process_max_bandwidth_mb_sec", XU_PARAM_OFF,
		.help = "only 0 is possible: SPDK's, of all arrays; speed_max is that of an array"},
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
	dev = xbdev__mgmt_raid_find(setting->mgmt, setting->req, setting->name);
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

const struct xrpc_method xbdev_mgmt_raid_manage_methods[] = {
	{"bdev_raid_add_base_bdev", "Adds a spare, which is used at once if one is needed.",
		add_params, sizeof(struct member_opts), .fn = raid_add},
	{"bdev_raid_remove_base_bdev", "Takes a device out of the array that has it.", base_params,
		sizeof(struct name_opts), .fn = raid_remove},
	{"bdev_raid_fail", "Takes a member out of service.", fail_params,
		sizeof(struct member_opts), .fn = raid_fail},
	{"bdev_raid_replace", "Has a device take the place of a member.", replace_params,
		sizeof(struct member_opts), .fn = raid_replace},
	{"bdev_raid_set_member", "Has a member of a raid1 be write-mostly, or not.", mostly_params,
		sizeof(struct mostly_opts), .fn = raid_set_member},
	{"bdev_raid_check", "Begins to compare copies or parity.", check_params,
		sizeof(struct check_opts), .fn = raid_check},
	{"bdev_raid_set_options", "Access, rebuild, its speed and priority, spare group.",
		set_params, sizeof(struct set_opts), .defaults = &set_defaults,
		.fn = raid_set_options},
	{0},
};
