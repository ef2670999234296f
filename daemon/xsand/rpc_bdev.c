/* SPDX-License-Identifier: BSD-3-Clause */
/* How the device methods of lib/xbdev/mgmt change this node: as edits of what is wanted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/change.h"
#include "daemon/xsand/model.h"
#include "daemon/xsand/node.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xnvmf/target/target.h"

struct device_edit {
	char *name;
	json_t *value; /* the entry, or the members that change */
	xbdev_mgmt_done_fn done;
	void *arg;
};

static struct node *node_of(struct xbdev_mgmt *mgmt)
{
	return xu_container_of(mgmt, struct node, mgmt);
}

static void on_edited(void *arg, const struct xu_error *err)
{
	struct device_edit *edit = arg;

	edit->done(edit->arg, err);
	free(edit->name);
	json_decref(edit->value);
	free(edit);
}

/* Begins an edit; takes the value. */
static void edit_start(struct xbdev_mgmt *mgmt,
	int (*fn)(void *arg, json_t *model, struct xu_error *err), const char *name, json_t *value,
	xbdev_mgmt_done_fn done, void *arg)
{
	struct device_edit *edit = calloc(1, sizeof(*edit));
	struct xu_error err;

	if (edit != NULL) {
		edit->name = strdup(name);
	}
	if (edit == NULL || edit->name == NULL || fn == NULL) {
		free(edit);
		json_decref(value);
		xu_error_set_errno(&err, -ENOMEM, "changing device '%s'", name);
		done(arg, &err);
		return;
	}
	edit->value = value;
	edit->done = done;
	edit->arg = arg;
	change_edit(node_of(mgmt), fn, on_edited, edit);
}

/* The entry of the device; the sentence when there is none. */
static json_t *find_entry(const struct device_edit *edit, const json_t *model, struct xu_error *err)
{
	json_t *entry = model_find_device(model, edit->name);

	if (entry == NULL) {
		xu_error_set(err, -ENODEV, "there is no device '%.128s'; bdev_get_bdevs lists them",
			edit->name);
	}
	return entry;
}

/* ---- create ---- */

/* The rest is checked with the whole model, but would be told of a place in a document that the
 * caller has not written. */
static int check_others(const struct device_edit *edit, const json_t *model, struct xu_error *err)
{
	const char *uuid = json_string_value(json_object_get(edit->value, "uuid"));
	json_t *same = uuid != NULL ? model_find_device(model, uuid) : NULL;
	char user[XNVMF_NQN_MAX + XBDEV_NAME_SIZE], key[32];

	for (size_t nth = 0; nth < xbdev_config_nr_bases(edit->value); nth++) {
		const char *base = xbdev_config_base_at(edit->value, nth);
		json_t *below = model_find_device(model, base);

		if (below == NULL) {
			return xu_error_set(
				err, -ENODEV, "there is no device '%s' to stand on", base);
		}
		if (model_find_user(model, below, user, sizeof(user))) {
			xbdev_config_base_key(edit->value, nth, key, sizeof(key));
			return xu_error_set(err, -EINVAL,
				"%s: '%.64s' is used by %.300s already; a device has one user", key,
				base, user);
		}
	}
	if (same != NULL) {
		return xu_error_set(err, -EINVAL,
			"uuid: device '%.64s' has it already; each device needs one of its own",
			json_string_value(json_object_get(same, "name")));
	}
	return 0;
}

static int edit_create(void *arg, json_t *model, struct xu_error *err)
{
	struct device_edit *edit = arg;

	if (json_object_get(model_devices(model), edit->name) != NULL) {
		return xu_error_set(err, -EEXIST,
			"there is a device named '%s' already; choose another name", edit->name);
	}
	if (check_others(edit, model, err) != 0) {
		return err->code;
	}
	if (json_object_set(model_devices(model), edit->name, edit->value) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "adding device '%s'", edit->name);
	}
	return 0;
}

static void mgmt_create(struct xbdev_mgmt *mgmt, json_t *entry, xbdev_mgmt_done_fn done, void *arg)
{
	json_t *canonical = xbdev_config_canonical(entry);

	edit_start(mgmt, canonical != NULL ? edit_create : NULL,
		json_string_value(json_object_get(entry, "name")), canonical, done, arg);
	json_decref(entry);
}

/* ---- remove ---- */

static int edit_remove(void *arg, json_t *model, struct xu_error *err)
{
	struct device_edit *edit = arg;
	json_t *entry = find_entry(edit, model, err);
	json_t *above = entry != NULL ? model_find_above(model, entry) : NULL;

	if (entry == NULL) {
		return err->code;
	}
	/* An array may be able to go on without it, and would have to be told first. */
	if (above != NULL && xbdev_config_is_array(above)) {
		return xu_error_set(err, -EBUSY,
			"device '%.128s' is a member of array '%.128s'; take it out of that first "
			"(bdev_raid_remove_base_bdev), or delete the array",
			edit->name, json_string_value(json_object_get(above, "name")));
	}
	return model_remove_device(model, edit->name);
}

/* The store of volumes that a device has; NULL: none. */
static const char *store_on(struct xbdev_ctx *ctx, const struct xbdev_device *dev)
{
	struct xbdev_lvol_store *store = NULL;
	struct xbdev_lvol_store_info info;

	while (dev != NULL && (store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		xbdev__lvol_store_info(store, &info);
		if (strcmp(info.device, dev->name) == 0) {
			return info.name;
		}
	}
	return NULL;
}

/* Volumes are no entries, and who takes away what a store is on would take away all of them. */
static int check_remove(struct xbdev_mgmt *mgmt, const char *name, struct xu_error *err)
{
	const struct xbdev_device *dev = xbdev_device_find(mgmt->ctx, name);
	const char *store = store_on(mgmt->ctx, dev);

	if (xbdev__lvol_find(mgmt->ctx, name) != NULL) {
		return xu_error_set(err, -EINVAL,
			"'%.200s' is a logical volume; bdev_lvol_delete deletes it", dev->name);
	}
	if (store != NULL) {
		return xu_error_set(err, -EBUSY,
			"device '%.128s' has the store of logical volumes '%s'; detach that first "
			"(bdev_lvol_detach_lvstore)",
			dev->name, store);
	}
	return 0;
}

static void mgmt_remove(
	struct xbdev_mgmt *mgmt, const char *name, xbdev_mgmt_done_fn done, void *arg)
{
	struct xu_error err;

	if (check_remove(mgmt, name, &err) != 0) {
		done(arg, &err);
		return;
	}
	edit_start(mgmt, edit_remove, name, NULL, done, arg);
}

/* ---- change ---- */

static int edit_change(void *arg, json_t *model, struct xu_error *err)
{
	struct device_edit *edit = arg;
	json_t *entry = find_entry(edit, model, err), *changed, *canonical = NULL;
	char path[XU_PARAM_PATH_SIZE];
	int rc;

	if (entry == NULL) {
		return err->code;
	}
	changed = xbdev_config_copy(entry);
	rc = json_object_update(changed, edit->value) == 0
		     ? xbdev_config_check_device(changed, path, err)
		     : xu_error_set_errno(err, -ENOMEM, "changing device '%s'", edit->name);
	if (rc == 0) {
		canonical = xbdev_config_canonical(changed);
		rc = json_object_clear(entry) | json_object_update(entry, canonical);
		rc = rc == 0 ? 0
			     : xu_error_set_errno(err, -ENOMEM, "changing device '%s'", edit->name);
	}
	json_decref(changed);
	json_decref(canonical);
	return rc;
}

static void mgmt_change(struct xbdev_mgmt *mgmt, const char *name, json_t *members,
	xbdev_mgmt_done_fn done, void *arg)
{
	struct xu_error err;

	if (xbdev__lvol_find(mgmt->ctx, name) != NULL) {
		json_decref(members);
		xu_error_set(&err, -EINVAL,
			"'%.200s' is a logical volume; the methods bdev_lvol_... change it", name);
		done(arg, &err);
		return;
	}
	edit_start(mgmt, members != NULL ? edit_change : NULL, name, members, done, arg);
}

void node_mgmt_init(struct node *node)
{
	node->mgmt = (struct xbdev_mgmt){
		.ctx = node->ctx,
		.create = mgmt_create,
		.remove = mgmt_remove,
		.change = mgmt_change,
	};
}
