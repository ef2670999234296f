/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays and whoever keeps the configuration: what the methods of raid.c have done at once is told
 * there as an entry of the driver "raid", or as another list of members and of those that are
 * write-mostly, spare group and priority, so that it is there again after a restart. Both find
 * everything done already and are the same as if they had come first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/mgmt.h"
#include "lib/xbdev/mgmt/raid_json.h"

struct keeping {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	char name[XBDEV_NAME_SIZE];
	struct xu_error err;
};

static void on_stopped(void *arg)
{
	struct keeping *keeping = arg;

	xrpc_fail(keeping->req, &keeping->err, NULL);
	free(keeping);
}

/* Where it was not wanted at all it still runs. */
static void on_withdrawn(void *arg, const struct xu_error *err)
{
	struct keeping *keeping = arg;
	struct xbdev_device *dev = xbdev_device_find(keeping->mgmt->ctx, keeping->name);

	(void)err;
	if (dev == NULL || xbdev_device_remove(dev, on_stopped, keeping) != 0) {
		on_stopped(keeping);
	}
}

/* An array that would be forgotten does not run. */
static void on_added(void *arg, const struct xu_error *err)
{
	struct keeping *keeping = arg;

	if (err->code == 0) {
		xrpc_true(keeping->req);
		free(keeping);
		return;
	}
	keeping->err = *err;
	xu_error_prefix(&keeping->err,
		"array '%s' is on its members and has been stopped again (bdev_raid_assemble "
		"starts it), because it cannot be remembered",
		keeping->name);
	keeping->mgmt->remove(keeping->mgmt, keeping->name, on_withdrawn, keeping);
}

static void on_changed(void *arg, const struct xu_error *err)
{
	struct keeping *keeping = arg;

	if (err->code == 0) {
		xrpc_true(keeping->req);
	} else {
		keeping->err = *err;
		xu_error_prefix(&keeping->err,
			"it is done, but the members of array '%s' cannot be remembered",
			keeping->name);
		xrpc_fail(keeping->req, &keeping->err, NULL);
	}
	free(keeping);
}

void xbdev__mgmt_raid_keep(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, struct xbdev_device *dev, bool is_new)
{
	struct keeping *keeping = calloc(1, sizeof(*keeping));
	json_t *entry = dev->ops->config(dev), *part = json_object();

	/* Nobody keeps a configuration: then it is done. */
	if (mgmt->create == NULL || mgmt->change == NULL || mgmt->remove == NULL) {
		xrpc_true(req);
		free(keeping);
		json_decref(entry);
		json_decref(part);
		return;
	}
	if (keeping == NULL || entry == NULL ||
		json_object_set_new(entry, "create", json_false()) != 0 ||
		json_object_set(part, "members", json_object_get(entry, "members")) != 0) {
		xrpc_error(req, XRPC_INTERNAL_ERROR,
			"it is done, but array '%s' cannot be remembered: out of memory",
			dev->name);
		free(keeping);
		json_decref(entry);
		json_decref(part);
		return;
	}
	keeping->req = req;
	keeping->mgmt = mgmt;
	memcpy(keeping->name, dev->name, sizeof(keeping->name));
	if (is_new) {
		json_decref(part);
		mgmt->create(mgmt, entry, on_added, keeping);
		return;
	}
	/* Fewer or more devices than members: the number would be guessed from the list. */
	if (json_object_get(entry, "raid_disks") != NULL) {
		json_object_set(part, "raid_disks", json_object_get(entry, "raid_disks"));
	}
	/* Named always: what is left out would stay as it was remembered. */
	if (strcmp(json_string_value(json_object_get(entry, "level")), "raid1") == 0) {
		json_object_set_new(part, "write_mostly", json_array());
	}
	json_object_set_new(part, "spare_group", json_string(XBDEV_MD_NO_GROUP));
	json_object_set_new(part, "priority", json_integer(XBDEV_REBUILD_PRIORITY_DEFAULT));
	json_object_update_existing(part, entry);
	json_decref(entry);
	mgmt->change(mgmt, keeping->name, part, on_changed, keeping);
}
