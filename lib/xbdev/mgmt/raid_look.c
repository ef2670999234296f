/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods that tell of RAID arrays and of superblocks, and erase those. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/mgmt.h"
#include "lib/xbdev/mgmt/raid_json.h"

struct name_opts {
	const char *name;
};

static const struct xu_param array_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name or UUID of the array"},
	{0},
};

static const struct xu_param base_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{0},
};

/* ---- arrays ---- */

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
	struct xbdev_device *dev = xbdev__mgmt_raid_find(arg, req, opts->name);
	struct looking *looking = dev != NULL ? looking_new(req, dev->name) : NULL;

	if (looking != NULL) {
		xbdev__md_info_get(dev, on_detail, looking);
	}
}

/* ---- superblocks ---- */

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

const struct xrpc_method xbdev_mgmt_raid_look_methods[] = {
	{"bdev_raid_get_bdevs", "Lists arrays.", get_params, sizeof(struct get_opts),
		.fn = raid_get_bdevs},
	{"bdev_raid_get_detail", "Everything about one array.", array_params,
		sizeof(struct name_opts), .fn = raid_get_detail},
	{"bdev_raid_examine", "What the superblock of one device says.", base_params,
		sizeof(struct name_opts), .fn = raid_examine},
	{"bdev_raid_zero_superblock", "Erases the superblock of a device that is not in use.",
		base_params, sizeof(struct name_opts), .fn = raid_zero_superblock},
	{0},
};
