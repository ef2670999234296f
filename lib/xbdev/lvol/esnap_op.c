/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What operations and I/O do with devices outside of the store (esnap.h). An operation that lets a
 * volume stand on one has it opened on its way; the owner hears of the channel before it hears of
 * the operation. One that takes the last volume away from a device is concluded when that is free
 * for others. What must not stand on what is found out here, before anything is changed.
 */
#include <errno.h>
#include <string.h>

#include "lib/xbdev/lvol/op_private.h"

#define MAX_DEPTH 32u /* of devices on each other that are looked through */

/* ---- what lies on what ---- */

static bool config_names(
	const struct xbdev_device *dev, const struct xbdev_device *other, uint32_t depth);

static bool lies_on(
	const struct xbdev_device *dev, const struct xbdev_device *other, uint32_t depth)
{
	const struct xbdev_device *below;
	const struct xbdev_lvol *volume;

	if (dev == other || depth == 0) {
		return true; /* so deep that nobody knows */
	}
	volume = xbdev__lvol_find(dev->ctx, dev->name);
	if (volume == NULL) {
		return config_names(dev, other, depth - 1);
	}
	below = xbdev__lvol_esnap_device(volume);
	if (below != NULL && lies_on(below, other, depth - 1)) {
		return true;
	}
	if (lies_on(volume->store->desc->dev, other, depth - 1)) {
		return true;
	}
	for (volume = volume->shown.parent; volume != NULL; volume = volume->shown.parent) {
		if (volume->is_registered && &volume->dev == other) {
			return true;
		}
	}
	return false;
}

/* The devices below are what the device's own configuration says. */
static bool config_names(
	const struct xbdev_device *dev, const struct xbdev_device *other, uint32_t depth)
{
	json_t *config = dev->ops->config != NULL ? dev->ops->config(dev) : NULL, *member;
	const char *base = json_string_value(json_object_get(config, "base"));
	const struct xbdev_device *below = base != NULL ? xbdev_device_find(dev->ctx, base) : NULL;
	bool does = below != NULL && lies_on(below, other, depth);
	size_t i;

	json_array_foreach (json_object_get(config, "members"), i, member) {
		const char *name = json_string_value(member);

		below = name != NULL ? xbdev_device_find(dev->ctx, name) : NULL;
		does = does || (below != NULL && lies_on(below, other, depth));
	}
	json_decref(config);
	return does;
}

bool xbdev__lvol_lies_on(const struct xbdev_device *dev, const struct xbdev_device *other)
{
	return lies_on(dev, other, MAX_DEPTH);
}

/* ---- operations ---- */

static int check_device(
	const struct xbdev_lvol_op *op, const struct xbdev_device *dev, struct xu_error *err)
{
	const struct xbdev_lvol_store *store = op->store;
	uint64_t size = xbdev_device_size_bytes(dev), cluster = store->cluster_size;
	const struct xbdev_lvol *volume = xbdev__lvol_find(store->ctx, dev->name);

	if (volume != NULL && volume->store == store) {
		return xu_error_set(err, -EINVAL,
			"'%s' is a volume of store '%s' itself: take a snapshot of it and make a "
			"clone of that",
			dev->name, store->name);
	}
	if (op->volume != NULL && op->volume->is_registered &&
		xbdev__lvol_lies_on(dev, &op->volume->dev)) {
		return xu_error_set(err, -EINVAL, "device '%s' lies on '%s' itself", dev->name,
			op->volume->dev.name);
	}
	if (size % cluster != 0) {
		return xu_error_set(err, -EINVAL,
			"device '%s' has %llu bytes, which are no whole clusters of %llu bytes; a "
			"store with smaller ones, or a larger device, can do it",
			dev->name, (unsigned long long)size, (unsigned long long)cluster);
	}
	return xbdev__lvol_esnap_check_blocks(store, dev, err);
}

void xbdev__lvol_esnap_take(struct xbdev_lvol_op *op, const char *device)
{
	const struct xbdev_device *dev = xbdev_device_find(op->store->ctx, device);
	struct xbdev_lvol_esnap *esnap;
	char id[XU_UUID_TEXT_SIZE];

	if (op->err.code == 0 && dev == NULL) {
		xu_error_set(&op->err, -ENODEV, "there is no device named '%s'", device);
	}
	if (op->err.code != 0 || check_device(op, dev, &op->err) != 0) {
		return;
	}
	xu_uuid_format(&dev->uuid, id);
	esnap = xbdev__lvol_esnap_open(op->store, id, dev, &op->err);
	if (esnap != NULL) {
		op->esnap = esnap;
		esnap->nr_users++;
		xbdev__lvol_op_set_size(op, esnap->size);
	}
}

void xbdev__lvol_esnap_keep(struct xbdev_lvol_op *op)
{
	struct xbdev_lvol_esnap *esnap =
		op->volume != NULL ? xbdev__lvol_esnap_of(op->volume) : NULL;

	if (esnap != NULL && esnap->hold != NULL) {
		op->old_esnap = esnap;
		esnap->nr_users++;
	}
}

void xbdev__lvol_esnap_let_go(struct xbdev_lvol_op *op)
{
	if (op->esnap != NULL) {
		op->esnap->nr_users--;
	}
	if (op->old_esnap != NULL) {
		op->old_esnap->nr_users--;
	}
}

bool xbdev__lvol_esnap_await(struct xbdev_lvol_op *op)
{
	struct xbdev_lvol_esnap *esnap =
		op->old_esnap != NULL && op->old_esnap->is_leaving ? op->old_esnap : op->esnap;

	if (esnap == NULL || !esnap->is_leaving) {
		return false;
	}
	xu_list_add_tail(&esnap->awaiting, &op->link);
	return true;
}

/* ---- owner ---- */

struct xbdev_lvol_esnap *xbdev__lvol_esnap_here(const struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvol_store *store = blob->store->owner;
	struct xbdev_lvol *volume = blob->volume;
	struct xbdev_lvol_esnap *found = NULL;
	struct xu_list *node;

	if (blob->esnap == NULL || volume == NULL) {
		return NULL;
	}
	if (volume->here_epoch == store->epoch) {
		return volume->here;
	}
	xu_list_for_each (node, &store->here) {
		struct xbdev_lvol_esnap *esnap = xu_list_entry(node, struct xbdev_lvol_esnap, here);

		if (strcmp(esnap->id, xbdev__lvs_xattr_value(blob->esnap)) == 0) {
			found = esnap;
		}
	}
	volume->here = found;
	volume->here_epoch = store->epoch;
	return found;
}

bool xbdev__lvol_esnap_source(
	const struct xbdev_lvs_blob *blob, uint32_t index, struct xbdev_lvol_source *ret)
{
	const struct xbdev_lvol_esnap *esnap = xbdev__lvol_esnap_here(blob);
	uint64_t at = (uint64_t)index * blob->store->super.cluster_size;

	if (esnap == NULL || at >= esnap->size) {
		return false;
	}
	if (ret != NULL) {
		*ret = (struct xbdev_lvol_source){.ch = esnap->ch, .at = at, .end = esnap->size};
	}
	return true;
}

int xbdev__lvol_esnap_set(
	struct xbdev_lvol_op *op, struct xbdev_lvs_blob *blob, const struct xbdev_lvol_esnap *esnap)
{
	int rc = esnap->ch != NULL ? xbdev__lvs_blob_touch(blob, &op->err) : esnap->status;

	if (rc == 0) {
		rc = xbdev__lvs_xattr_set(blob, true, XBDEV_LVS_A_ESNAP,
			sizeof(XBDEV_LVS_A_ESNAP) - 1, esnap->id,
			(uint16_t)(strlen(esnap->id) + 1));
	}
	if (rc != 0) {
		if (op->err.code == 0) {
			xu_error_set_errno(&op->err, rc, "letting '%s' stand on device %s",
				blob->name, esnap->id);
		}
		return rc;
	}
	xbdev__lvs_xattr_remove(blob, true, XBDEV_LVS_A_PARENT);
	blob->invalid_flags |= XBDEV_LVS_F_ESNAP | XBDEV_LVS_F_THIN;
	(void)xbdev__lvs_blob_derive(blob, &op->err);
	xbdev__lvs_blob_link(blob, NULL);
	return 0;
}
