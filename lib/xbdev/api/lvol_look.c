/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known of stores and volumes, in the public structures. They are filled on the control
 * reactor while their owner waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/xbdev/api/lvol.h"
#include "lib/xbdev/lvol/stores.h"

/* Copies a text as far as there is room. */
#define COPY(to, from) snprintf(to, sizeof(to), "%.*s", (int)sizeof(to) - 1, from)

struct look_call {
	struct api_call call;
	const char *name; /* NULL: all */
	xbdev_lvs_info_t *stores;
	xbdev_lvol_info_t *volumes;
	int max;
	const char *other; /* a second volume */
	xbdev_lvol_usage_t *usage;
	xbdev_lvol_extent_t *extents;
};

static int run(struct look_call *look, void (*fn)(struct api_call *call))
{
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, &look->call, fn);
		api_leave(thread);
	}
	return rc;
}

static int check_size(const char *function, size_t size, size_t expected)
{
	return size == expected
		       ? 0
		       : api_fail(-EINVAL, "%s: size is not that of this version", function);
}

/* ---- stores ---- */

static void fill_store(const struct xbdev_lvol_store *store, xbdev_lvs_info_t *to)
{
	struct xbdev_lvol_settings settings;
	struct xbdev_lvol_store_info info;

	xbdev__lvol_store_info(store, &info);
	xbdev__lvol_store_settings(store, &settings);
	*to = (xbdev_lvs_info_t){
		.size = sizeof(*to),
		.cluster_size = info.cluster_size,
		.total_clusters = info.total_clusters,
		.free_clusters = info.free_clusters,
		.promised_clusters = info.promised_clusters,
		.block_size = info.block_size,
		.num_volumes = info.nr_volumes,
		.is_read_only = info.read_only_reason != NULL,
		.space_wait_ms = settings.space_wait_ms,
		.low_percent = settings.percents[0],
		.high_percent = settings.percents[1],
	};
	COPY(to->name, info.name);
	xu_uuid_format(&info.uuid, to->uuid);
	COPY(to->bdev_name, info.device);
	if (info.read_only_reason != NULL) {
		COPY(to->read_only_reason, info.read_only_reason);
	}
}

static void on_lvs_info(struct api_call *call)
{
	struct look_call *look = xu_container_of(call, struct look_call, call);
	struct xbdev_lvol_store *store = api_lvs_find(call, look->name);

	if (store != NULL) {
		fill_store(store, look->stores);
		api_call_done(call, 0);
	}
}

int xbdev_lvs_info(const char *lvs_name, xbdev_lvs_info_t *info)
{
	struct look_call look = {.name = lvs_name, .stores = info};
	int rc;

	if (lvs_name == NULL || info == NULL) {
		return api_fail(-EINVAL, "xbdev_lvs_info: an argument is NULL");
	}
	rc = check_size("xbdev_lvs_info", info->size, sizeof(*info));
	return rc == 0 ? run(&look, on_lvs_info) : rc;
}

static void on_lvs_list(struct api_call *call)
{
	struct look_call *look = xu_container_of(call, struct look_call, call);
	struct xbdev_lvol_store *store = NULL;
	int count = 0;

	while ((store = xbdev__lvol_store_next(api_lib.ctx, store)) != NULL) {
		if (count < look->max) {
			fill_store(store, &look->stores[count]);
		}
		count++;
	}
	api_call_done(call, count);
}

int xbdev_lvs_list(xbdev_lvs_info_t *ret_infos, int max)
{
	struct look_call look = {.stores = ret_infos, .max = ret_infos != NULL ? max : 0};
	int rc = look.max > 0 ? check_size("xbdev_lvs_list", ret_infos->size, sizeof(*ret_infos))
			      : 0;

	return rc == 0 ? run(&look, on_lvs_list) : rc;
}

/* ---- volumes ---- */

static void fill_info(const struct xbdev_lvol_info *from, xbdev_lvol_info_t *to)
{
	struct xbdev_lvol_info info = *from;

	*to = (xbdev_lvol_info_t){
		.size = sizeof(*to),
		.size_bytes = info.size,
		.cluster_size = info.cluster_size,
		.num_clusters = info.cluster_size != 0 ? info.size / info.cluster_size : 0,
		.num_allocated = info.nr_allocated,
		.num_clones = info.nr_clones,
		.is_thin = info.is_thin,
		.is_read_only = info.is_read_only,
		.is_hidden = info.is_hidden,
		.progress = info.busy != NULL ? (float)info.busy_permille / 10 : 100,
	};
	COPY(to->name, info.name);
	COPY(to->lvs_name, info.store);
	xu_uuid_format(&info.uuid, to->uuid);
	if (info.parent != NULL) {
		COPY(to->parent, info.parent);
	}
	if (info.esnap != NULL) {
		COPY(to->esnap, info.esnap_device != NULL ? info.esnap_device : info.esnap);
	}
	if (info.busy != NULL) {
		COPY(to->busy, info.busy);
	}
	if (info.reason != NULL) {
		COPY(to->reason, info.reason);
	}
}

static void fill_volume(const struct xbdev_lvol *volume, xbdev_lvol_info_t *to)
{
	struct xbdev_lvol_info info;

	xbdev__lvol_info(volume, &info);
	fill_info(&info, to);
}

static void fill_making(const struct xbdev_lvol_op *making, xbdev_lvol_info_t *to)
{
	struct xbdev_lvol_info info;

	xbdev__lvol_making_info(making, &info);
	fill_info(&info, to);
}

static void on_lvol_info(struct api_call *call)
{
	struct look_call *look = xu_container_of(call, struct look_call, call);
	const struct xbdev_lvol_op *making = xbdev__lvol_making_find(api_lib.ctx, look->name);
	const struct xbdev_lvol *volume = making == NULL ? api_lvol_find(call, look->name) : NULL;

	if (making != NULL) {
		fill_making(making, look->volumes);
		api_call_done(call, 0);
	} else if (volume != NULL) {
		fill_volume(volume, look->volumes);
		api_call_done(call, 0);
	}
}

int xbdev_lvol_info(const char *lvol_name, xbdev_lvol_info_t *info)
{
	struct look_call look = {.name = lvol_name, .volumes = info};
	int rc;

	if (lvol_name == NULL || info == NULL) {
		return api_fail(-EINVAL, "xbdev_lvol_info: an argument is NULL");
	}
	rc = check_size("xbdev_lvol_info", info->size, sizeof(*info));
	return rc == 0 ? run(&look, on_lvol_info) : rc;
}

/* Those of one store, behind the `count` that have been told already. */
static int list_volumes(struct look_call *look, struct xbdev_lvol_store *store, int count)
{
	struct xbdev_lvol_op *making = NULL;
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		if (count < look->max) {
			fill_volume(volume, &look->volumes[count]);
		}
		count++;
	}
	while ((making = xbdev__lvol_making_next(store, making)) != NULL) {
		if (count < look->max) {
			fill_making(making, &look->volumes[count]);
		}
		count++;
	}
	return count;
}

static void on_lvol_list(struct api_call *call)
{
	struct look_call *look = xu_container_of(call, struct look_call, call);
	struct xbdev_lvol_store *store = NULL;
	int count = 0;

	if (look->name != NULL) {
		store = api_lvs_find(call, look->name);
		if (store != NULL) {
			api_call_done(call, list_volumes(look, store, 0));
		}
		return;
	}
	while ((store = xbdev__lvol_store_next(api_lib.ctx, store)) != NULL) {
		count = list_volumes(look, store, count);
	}
	api_call_done(call, count);
}

int xbdev_lvol_list(const char *lvs_name, xbdev_lvol_info_t *ret_infos, int max)
{
	struct look_call look = {
		.name = lvs_name, .volumes = ret_infos, .max = ret_infos != NULL ? max : 0};
	int rc = look.max > 0 ? check_size("xbdev_lvol_list", ret_infos->size, sizeof(*ret_infos))
			      : 0;

	return rc == 0 ? run(&look, on_lvol_list) : rc;
}

/* ---- what the store's owner is asked for ---- */

static void on_used(void *arg, const struct xbdev_lvol_usage *usage, const struct xu_error *err)
{
	struct look_call *look = arg;

	if (usage == NULL) {
		look->call.err = *err;
		api_call_done(&look->call, err->code);
		return;
	}
	look->usage->exclusive_bytes = usage->exclusive;
	look->usage->shared_bytes = usage->shared;
	api_call_done(&look->call, 0);
}

static void on_lvol_usage(struct api_call *call)
{
	struct look_call *look = xu_container_of(call, struct look_call, call);
	struct xbdev_lvol *volume = api_lvol_find(call, look->name);

	if (volume != NULL) {
		xbdev__lvol_usage(volume, on_used, look);
	}
}

int xbdev_lvol_usage(const char *lvol_name, xbdev_lvol_usage_t *usage)
{
	struct look_call look = {.name = lvol_name, .usage = usage};
	int rc;

	if (lvol_name == NULL || usage == NULL) {
		return api_fail(-EINVAL, "xbdev_lvol_usage: an argument is NULL");
	}
	rc = check_size("xbdev_lvol_usage", usage->size, sizeof(*usage));
	return rc == 0 ? run(&look, on_lvol_usage) : rc;
}

static void on_compared(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
	const struct xu_error *err)
{
	struct look_call *look = arg;

	if (err != NULL && err->code != 0) {
		look->call.err = *err;
		api_call_done(&look->call, err->code);
		return;
	}
	for (uint32_t i = 0; i < nr_extents && i < (uint32_t)look->max; i++) {
		look->extents[i] = (xbdev_lvol_extent_t){extents[i].offset, extents[i].len};
	}
	api_call_done(&look->call, (int)nr_extents);
}

static void on_lvol_diff(struct api_call *call)
{
	struct look_call *look = xu_container_of(call, struct look_call, call);
	struct xbdev_lvol *volume = api_lvol_find(call, look->name), *other;

	if (volume != NULL) {
		other = api_lvol_find(call, look->other);
		if (other != NULL) {
			xbdev__lvol_diff(volume, other, on_compared, look);
		}
	}
}

int xbdev_snapshot_diff(
	const char *one_name, const char *other_name, xbdev_lvol_extent_t *ret_extents, int max)
{
	struct look_call look = {.name = one_name,
		.other = other_name,
		.extents = ret_extents,
		.max = ret_extents != NULL && max > 0 ? max : 0};

	if (one_name == NULL || other_name == NULL) {
		return api_fail(-EINVAL, "xbdev_snapshot_diff: an argument is NULL");
	}
	return run(&look, on_lvol_diff);
}
