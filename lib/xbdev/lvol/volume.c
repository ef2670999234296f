/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Volumes between their two threads. The blob and all I/O are the owner's; names, the tree as
 * people see it and the device are the control reactor's, which looks at a copy (`shown`) that the
 * owner makes whenever something has changed and that comes with the message that says so. So the
 * one never waits for the other, and both may be the same thread.
 *
 * Every blob that is a volume has one, from loading or making to its end: also those that are no
 * device, as they are damaged, hidden, or just being deleted.
 */
#include "lib/xbdev/lvol/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/lvol/op_private.h"

/* ---- the owner's side ---- */

struct xbdev_lvol *xbdev__lvol_new(struct xbdev_lvol_store *store, struct xbdev_lvs_blob *blob)
{
	struct xbdev_lvol *volume = calloc(1, sizeof(*volume));

	/* When it is on disk it is to become a device, whatever memory there is then. */
	if (volume != NULL && xbdev_device_prepare(store->ctx, &volume->dev) != 0) {
		free(volume);
		volume = NULL;
	}
	if (volume != NULL) {
		volume->store = store;
		volume->blob = blob;
		xu_list_init(&volume->link);
		xu_list_init(&volume->changes);
		xu_list_init(&volume->exclusives);
		xu_list_init(&volume->held);
		blob->volume = volume;
		xbdev__lvol_count(volume);
	}
	return volume;
}

void xbdev__lvol_free(struct xbdev_lvol *volume)
{
	if (volume != NULL) {
		xbdev__lvs_map_fini(&volume->places);
		xbdev_device_unprepare(&volume->dev);
		free(volume);
	}
}

/* Whether everything of the store that the volume's content consists of is at hand. */
static bool is_servable(const struct xbdev_lvs_blob *blob)
{
	for (; blob != NULL && blob->store->has_failed; blob = blob->parent) {
		if (blob->reason != NULL) {
			return false;
		}
	}
	return true;
}

void xbdev__lvol_look(const struct xbdev_lvol *volume, struct xbdev_lvol_shown *ret)
{
	const struct xbdev_lvs_blob *blob = volume->blob;
	const struct xbdev_lvs_xattr *origin =
		xbdev__lvs_xattr_get(blob, false, XBDEV_LVOL_A_ORIGIN);

	*ret = (struct xbdev_lvol_shown){
		.uuid = blob->uuid,
		.parent = blob->parent != NULL ? blob->parent->volume : NULL,
		.nr_clusters = blob->map.nr_clusters,
		.is_thin = xbdev__lvs_blob_is_thin(blob),
		.is_read_only = xbdev__lvs_blob_is_read_only(blob),
		.is_hidden = xbdev__lvs_xattr_get(blob, false, XBDEV_LVOL_A_HIDDEN) != NULL,
		.is_servable = is_servable(blob),
		.is_locked = blob->is_locked || volume->store->lvs->read_only_reason.code != 0,
		.reason = blob->reason,
	};
	memcpy(ret->name, blob->name, sizeof(ret->name));
	if (origin != NULL) {
		(void)xu_uuid_parse(xbdev__lvs_xattr_value(origin), &ret->origin);
	}
	if (blob->esnap != NULL) {
		snprintf(ret->esnap, sizeof(ret->esnap), "%s", xbdev__lvs_xattr_value(blob->esnap));
	}
}

/* ---- as a device ---- */

static void volume_destroy(struct xbdev_device *dev)
{
	struct xbdev_lvol *volume = xbdev__lvol_of(dev);

	volume->is_registered = false;
	volume->store->nr_registered--;
	xbdev__lvol_esnap_unfollow(volume);
	/* It may stand on something else, or on nothing, by now. */
	xbdev__lvol_esnaps_serve(volume->store);
	xbdev__lvol_store_settle(volume->store);
}

/* The names of what stands on a volume. */
static json_t *clones_of(const struct xbdev_lvol *volume)
{
	struct xbdev_lvol *other = NULL;
	json_t *list = json_array();

	while ((other = xbdev__lvol_next(volume->store, other)) != NULL) {
		if (other->shown.parent == volume) {
			json_array_append_new(list, json_string(other->shown.name));
		}
	}
	return list;
}

/* As SPDK's bdev_get_bdevs has it. */
static json_t *volume_info(const struct xbdev_device *dev)
{
	const struct xbdev_lvol *volume = xbdev__lvol_of(dev);
	struct xbdev_lvol_info info;
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *object;

	xbdev__lvol_info(volume, &info);
	xu_uuid_format(&volume->store->lvs->uuid, uuid);
	object = json_pack("{s:s, s:s, s:b, s:I, s:b, s:b, s:s*, s:b, s:s*}", "lvol_store_uuid",
		uuid, "base_bdev", volume->store->desc->dev->name, "thin_provision",
		(int)info.is_thin, "num_allocated_clusters", (json_int_t)info.nr_allocated,
		"snapshot", (int)(info.nr_clones > 0), "clone",
		(int)(info.parent != NULL || info.esnap != NULL), "base_snapshot", info.parent,
		"esnap_clone", (int)(info.esnap != NULL), "external_snapshot_name",
		info.esnap_device != NULL ? info.esnap_device : info.esnap);
	if (info.nr_clones > 0) {
		json_object_set_new(object, "clones", clones_of(volume));
	}
	return object;
}

static const struct xbdev_device_ops volume_ops = {
	.submit = xbdev__lvol_submit,
	.passed = xbdev__lvol_passed,
	.channel_abort = xbdev__lvol_space_abort,
	.cancel = xbdev__lvol_space_cancel,
	.destroy = volume_destroy,
	.info = volume_info,
};

int xbdev__lvol_register(struct xbdev_lvol *volume, struct xu_error *err)
{
	const struct xbdev_lvol_store *store = volume->store;
	const struct xbdev_lvol_shown *shown = &volume->shown;
	char name[2 * XBDEV_LVS_NAME_BYTES + 1];
	int rc;

	if (!shown->is_servable || shown->is_hidden || volume->is_registered) {
		return 0;
	}
	xbdev__lvol_set_waiting(volume, xbdev__lvol_esnap_missing(volume) != NULL);
	if (volume->is_waiting) {
		return 0;
	}
	snprintf(name, sizeof(name), "%s/%s", store->name, shown->name);
	/* It may have been one before. */
	volume->dev = (struct xbdev_device){.channels = volume->dev.channels,
		.stats_home = volume->dev.stats_home,
		.is_prepared = true};
	xbdev__set_name(&volume->dev, name);
	volume->dev.driver = "lvol";
	volume->dev.product = "logical volume";
	volume->dev.ops = &volume_ops;
	volume->dev.uuid = shown->uuid;
	volume->dev.is_read_only = store->is_read_only || shown->is_locked || shown->is_read_only ||
				   xbdev__lvol_nr_children(volume) > 0;
	xbdev__lvol_io_setup(volume, store->desc->dev);
	rc = xbdev_device_register(store->ctx, &volume->dev, err);
	if (rc == 0) {
		volume->is_registered = true;
		volume->store->nr_registered++;
		xbdev__lvol_esnap_follow(volume);
	}
	return rc;
}

void xbdev__lvol_free_all(struct xbdev_lvol_store *store)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&store->volumes)) != NULL) {
		xbdev__lvol_free(xu_list_entry(node, struct xbdev_lvol, link));
	}
}

/* What is shown of it counts, or counts no more. */
static void count_shown(
	struct xbdev_lvol_store *store, const struct xbdev_lvol_shown *shown, int by)
{
	store->nr_hidden += (uint32_t)(shown->is_hidden ? by : 0);
	store->nr_external += (uint32_t)(shown->esnap[0] != '\0' ? by : 0);
}

void xbdev__lvol_set_waiting(struct xbdev_lvol *volume, bool is_waiting)
{
	volume->store->nr_waiting += (uint32_t)(is_waiting - volume->is_waiting);
	volume->is_waiting = is_waiting;
}

void xbdev__lvol_show(struct xbdev_lvol *volume, const struct xbdev_lvol_shown *shown)
{
	if (volume->shown.parent != NULL) {
		volume->shown.parent->nr_children--;
	}
	count_shown(volume->store, &volume->shown, -1);
	volume->shown = *shown;
	count_shown(volume->store, shown, 1);
	if (shown->parent != NULL) {
		shown->parent->nr_children++;
	}
}

int xbdev__lvol_check_servable(const struct xbdev_lvol *volume, struct xu_error *err)
{
	const struct xu_error *missing = xbdev__lvol_esnap_missing(volume);

	if (!volume->shown.is_servable) {
		return xu_error_set(err, -ENODEV,
			"what volume '%s' stands on is damaged or not there; it is needed",
			volume->shown.name);
	}
	return missing == NULL
		       ? 0
		       : xu_error_set(err, -ENODEV, "volume '%s' cannot be read: %s; it is needed",
				 volume->shown.name, missing->text);
}

/* ---- for people ---- */

struct xbdev_lvol *xbdev__lvol_next(struct xbdev_lvol_store *store, struct xbdev_lvol *volume)
{
	struct xu_list *next = volume == NULL ? store->volumes.next : volume->link.next;

	return next == &store->volumes ? NULL : xu_list_entry(next, struct xbdev_lvol, link);
}

struct xbdev_lvol *xbdev__lvol_find(struct xbdev_ctx *ctx, const char *name_or_uuid)
{
	struct xbdev_device *dev = xbdev_device_find(ctx, name_or_uuid);

	return dev != NULL && dev->ops == &volume_ops ? xbdev__lvol_of(dev) : NULL;
}

struct xbdev_device *xbdev__lvol_device(struct xbdev_lvol *volume)
{
	return volume->is_registered ? &volume->dev : NULL;
}

struct xbdev_lvol_store *xbdev__lvol_store_of(const struct xbdev_lvol *volume)
{
	return volume->store;
}

void xbdev__lvol_info(const struct xbdev_lvol *volume, struct xbdev_lvol_info *ret)
{
	const struct xbdev_lvol_shown *shown = &volume->shown;
	const struct xbdev_lvs *lvs = volume->store->lvs;
	uint32_t nr_clones = xbdev__lvol_nr_children(volume);
	const struct xu_error *reason =
		shown->reason != NULL ? shown->reason : xbdev__lvol_esnap_missing(volume);

	*ret = (struct xbdev_lvol_info){
		.name = shown->name,
		.store = volume->store->name,
		.uuid = shown->uuid,
		.size = (uint64_t)shown->nr_clusters * lvs->super.cluster_size,
		.cluster_size = lvs->super.cluster_size,
		.nr_allocated = atomic_load_explicit(&volume->nr_allocated, memory_order_relaxed),
		.is_thin = shown->is_thin,
		.is_read_only = shown->is_read_only || nr_clones > 0,
		.is_hidden = shown->is_hidden,
		.nr_clones = nr_clones,
		.parent = shown->parent != NULL ? shown->parent->shown.name : NULL,
		.esnap = shown->esnap[0] != '\0' ? shown->esnap : NULL,
		.reason = reason != NULL ? reason->text : NULL,
	};
	if (ret->esnap != NULL) {
		const struct xbdev_device *dev = xbdev__lvol_esnap_device(volume);

		ret->esnap_device = dev != NULL ? dev->name : NULL;
	}
	if (volume->op != NULL) {
		ret->busy = volume->op->what;
		ret->busy_permille =
			atomic_load_explicit(&volume->op->permille, memory_order_relaxed);
		ret->nr_copied = atomic_load_explicit(&volume->op->nr_copied, memory_order_relaxed);
	}
}
