/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods for stores of logical volumes: SPDK's names and parameters where SPDK has the method,
 * bdev_lvol_…_lvstore of ours beyond. A store is on its device, and is found there by itself, so
 * nothing of it has to be remembered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/lvol_json.h"
#include "lib/xbdev/mgmt/mgmt.h"

struct xbdev_lvol_store *xbdev__mgmt_lvs_find(struct xbdev_mgmt *mgmt, struct xrpc_request *req,
	const struct xu_uuid *uuid, const char *name)
{
	bool has_uuid = !xu_uuid_is_null(uuid);
	char text[XU_UUID_TEXT_SIZE];
	struct xbdev_lvol_store *store;

	if (has_uuid == (name != NULL)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"which store? Either its UUID or its name is needed");
		return NULL;
	}
	if (has_uuid) {
		xu_uuid_format(uuid, text);
		name = text;
	}
	store = xbdev__lvol_store_find(mgmt->ctx, name);
	if (store == NULL) {
		xrpc_error(req, -ENODEV,
			"there is no store '%.128s'; bdev_lvol_get_lvstores lists them", name);
	}
	return store;
}

/* ---- bdev_lvol_create_lvstore ---- */

struct create_opts {
	const char *bdev_name;
	const char *lvs_name;
	uint64_t cluster_sz;
	uint32_t clear_method;
	uint32_t md_ratio;
	uint32_t md_page_size;
	struct xu_uuid uuid;
};

static const char *const clear_methods[] = {
	[XBDEV_LVS_CLEAR_DEVICE_UNMAP] = "unmap",
	[XBDEV_LVS_CLEAR_DEVICE_ZEROES] = "write_zeroes",
	[XBDEV_LVS_CLEAR_DEVICE_NONE] = "none",
	[XBDEV_LVS_CLEAR_DEVICE_NONE + 1] = NULL,
};

static const struct xu_param create_params[] = {
	{"bdev_name", XU_PARAM_STRING, offsetof(struct create_opts, bdev_name), .is_required = true,
		.help = "name or UUID of the device, which is blank"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct create_opts, lvs_name), .is_required = true,
		.help = "name of the store, 1 to 63 bytes"},
	{"cluster_sz", XU_PARAM_SIZE, offsetof(struct create_opts, cluster_sz), .max = UINT32_MAX,
		.help = "bytes of a cluster, or text such as \"1MiB\" (default 0: 4 MiB)"},
	{"clear_method", XU_PARAM_ENUM, offsetof(struct create_opts, clear_method),
		.choices = clear_methods,
		.help = "what is done with the device behind the metadata: unmap, write_zeroes or "
			"none (default unmap)"},
	{"num_md_pages_per_cluster_ratio", XU_PARAM_U32, offsetof(struct create_opts, md_ratio),
		.help = "pages of metadata for 100 clusters (default 0: 100, fewer with clusters "
			"below 16 KiB)"},
	{"md_page_size", XU_PARAM_U32, offsetof(struct create_opts, md_page_size),
		.help = "bytes of a page of metadata (default 0: 4096)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct create_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

/* A store that is being made. */
struct making {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	char name[XBDEV_LVS_NAME_BYTES];
};

static void on_made(void *arg, const struct xu_error *err)
{
	struct making making = *(struct making *)arg;
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(making.mgmt->ctx, making.name);
	struct xbdev_lvol_store_info info;
	char uuid[XU_UUID_TEXT_SIZE];

	free(arg);
	if (err->code != 0) {
		xrpc_fail(making.req, err, NULL);
	} else if (store == NULL) {
		xrpc_error(making.req, -ENODEV, "store '%s' has been made and its device has gone",
			making.name);
	} else {
		xbdev__lvol_store_info(store, &info);
		xu_uuid_format(&info.uuid, uuid);
		xrpc_result(making.req, json_string(uuid));
	}
}

static void create_lvstore(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct create_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_lvs_create_opts create = {
		.name = opts->lvs_name,
		.uuid = opts->uuid,
		.cluster_size = (uint32_t)opts->cluster_sz,
		.md_ratio = opts->md_ratio,
		.page_size = opts->md_page_size,
		.clear = (enum xbdev_lvs_clear)opts->clear_method,
	};
	struct xbdev_device *dev = xbdev_mgmt_find(mgmt, req, opts->bdev_name);
	struct making *making;

	if (dev == NULL) { /* answered, and the options are gone */
		return;
	}
	making = malloc(sizeof(*making));
	if (making == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	making->req = req;
	making->mgmt = mgmt;
	snprintf(making->name, sizeof(making->name), "%s", opts->lvs_name);
	xbdev__lvol_store_create(mgmt->ctx, dev->name, &create, on_made, making);
}

/* ---- of one store ---- */

struct store_opts {
	struct xu_uuid uuid;
	const char *lvs_name;
	const char *old_name;
	const char *new_name;
};

#define PARAMS_STORE                                                                               \
	{"uuid", XU_PARAM_UUID, offsetof(struct store_opts, uuid), .help = "UUID of the store"},   \
	{                                                                                          \
		"lvs_name", XU_PARAM_STRING, offsetof(struct store_opts, lvs_name),                \
			.help = "name of the store; this or the UUID"                              \
	}

static const struct xu_param store_params[] = {PARAMS_STORE, {0}};

static const struct xu_param rename_params[] = {
	{"old_name", XU_PARAM_STRING, offsetof(struct store_opts, old_name), .is_required = true,
		.help = "name of the store"},
	{"new_name", XU_PARAM_STRING, offsetof(struct store_opts, new_name), .is_required = true,
		.help = "the name that it gets, 1 to 63 bytes"},
	{0},
};

struct set_opts {
	struct xu_uuid uuid;
	const char *lvs_name;
	uint32_t space_wait_ms;
	uint32_t low_percent, high_percent;
};

static const struct set_opts set_defaults = {
	.space_wait_ms = UINT32_MAX, .low_percent = UINT32_MAX, .high_percent = UINT32_MAX};

static const struct xu_param set_params[] = {
	{"uuid", XU_PARAM_UUID, offsetof(struct set_opts, uuid), .help = "UUID of the store"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct set_opts, lvs_name),
		.help = "name of the store; this or the UUID"},
	{"space_wait_ms", XU_PARAM_U32, offsetof(struct set_opts, space_wait_ms),
		.max = XBDEV_LVOL_SPACE_WAIT_MAX_MS,
		.help = "how long a write waits for free clusters before it fails; 0: it fails at "
			"once, as at first"},
	{"low_percent", XU_PARAM_U32, offsetof(struct set_opts, low_percent), .max = 100,
		.help = "percentage of used clusters at which lvs_threshold is told, 80 at first; "
			"goes with high_percent"},
	{"high_percent", XU_PARAM_U32, offsetof(struct set_opts, high_percent), .max = 100,
		.help = "the second one, 95 at first; 0 and 0: none"},
	{0},
};

static void delete_lvstore(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct store_opts *opts = opts_ptr;
	struct xbdev_lvol_store *store =
		xbdev__mgmt_lvs_find(arg, req, &opts->uuid, opts->lvs_name);

	if (store != NULL) {
		xbdev__lvol_store_destroy(store, xbdev_mgmt_answer, req);
	}
}

static void grow_lvstore(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct store_opts *opts = opts_ptr;
	struct xbdev_lvol_store *store =
		xbdev__mgmt_lvs_find(arg, req, &opts->uuid, opts->lvs_name);

	if (store != NULL) {
		xbdev__lvol_store_grow(store, xbdev_mgmt_answer, req);
	}
}

static void set_options(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct set_opts *opts = opts_ptr;
	bool has_low = opts->low_percent != UINT32_MAX, has_high = opts->high_percent != UINT32_MAX;
	bool has_wait = opts->space_wait_ms != UINT32_MAX;
	struct xbdev_lvol_settings settings;
	struct xbdev_lvol_store *store;

	if (has_low != has_high || (!has_low && !has_wait)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"what is to be set? space_wait_ms, or low_percent and high_percent, which "
			"go together");
		return;
	}
	store = xbdev__mgmt_lvs_find(arg, req, &opts->uuid, opts->lvs_name);
	if (store == NULL) {
		return;
	}
	xbdev__lvol_store_settings(store, &settings);
	if (has_low) {
		settings.percents[0] = opts->low_percent;
		settings.percents[1] = opts->high_percent;
	}
	if (has_wait) {
		settings.space_wait_ms = opts->space_wait_ms;
	}
	xbdev__lvol_store_set(store, &settings, xbdev_mgmt_answer, req);
}

static void rename_lvstore(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct store_opts *opts = opts_ptr;
	struct xbdev_lvol_store *store =
		xbdev__mgmt_lvs_find(arg, req, &opts->uuid, opts->old_name);

	if (store != NULL) {
		xbdev__lvol_store_rename(store, opts->new_name, xbdev_mgmt_answer, req);
	}
}

static void get_lvstores(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct store_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_lvol_store *store = NULL;
	json_t *list;

	if (!xu_uuid_is_null(&opts->uuid) || opts->lvs_name != NULL) {
		store = xbdev__mgmt_lvs_find(mgmt, req, &opts->uuid, opts->lvs_name);
		if (store != NULL) {
			xrpc_result(req, json_pack("[o]", xbdev__mgmt_lvs_json(store)));
		}
		return;
	}
	list = json_array();
	while ((store = xbdev__lvol_store_next(mgmt->ctx, store)) != NULL) {
		json_array_append_new(list, xbdev__mgmt_lvs_json(store));
	}
	xrpc_result(req, list);
}

/* ---- attaching and detaching ---- */

/* Detaching gives NULL when all is well. */
static void on_detached(void *arg, const struct xu_error *err)
{
	const struct xu_error none = {0};

	xbdev_mgmt_answer(arg, err != NULL ? err : &none);
}

static void detach_lvstore(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct store_opts *opts = opts_ptr;
	struct xbdev_lvol_store *store =
		xbdev__mgmt_lvs_find(arg, req, &opts->uuid, opts->lvs_name);
	struct xbdev_lvol *volume = NULL;

	if (store == NULL) {
		return;
	}
	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		const struct xbdev_device *dev = xbdev__lvol_device(volume);

		if (dev != NULL && !xu_list_is_empty(&dev->descs)) {
			xrpc_error(req, -EBUSY, "volume '%s' is in use%s%s; remove that first",
				dev->name, dev->claim != NULL ? " by " : "",
				dev->claim != NULL ? dev->claim_by : "");
			return;
		}
	}
	xbdev__lvol_detach(store, on_detached, req);
}

struct examine_opts {
	const char *name;
};

static const struct xu_param examine_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct examine_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{0},
};

static void examine(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct examine_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = xbdev_mgmt_find(mgmt, req, opts->name);

	if (dev != NULL) {
		xbdev__lvol_examine(mgmt->ctx, dev->name, xbdev_mgmt_answer, req);
	}
}

static void on_all_examined(void *arg)
{
	xrpc_true(arg);
}

static void wait_for_examine(struct xrpc_request *req, void *arg, const void *opts)
{
	struct xbdev_mgmt *mgmt = arg;

	(void)opts;
	xbdev__lvol_examined(mgmt->ctx, NULL, on_all_examined, req);
}

static void get_refused(struct xrpc_request *req, void *arg, const void *opts)
{
	struct xbdev_mgmt *mgmt = arg;
	const struct xbdev_lvol_refused *refused = NULL;
	json_t *list = json_array();

	(void)opts;
	while ((refused = xbdev__lvol_refused_next(mgmt->ctx, refused)) != NULL) {
		json_array_append_new(list, json_pack("{s:s, s:s}", "base_bdev", refused->device,
						    "reason", refused->why.text));
	}
	xrpc_result(req, list);
}

const struct xrpc_method xbdev_mgmt_lvs_methods[] = {
	{"bdev_lvol_create_lvstore", "Makes a store of logical volumes on a blank device.",
		create_params, sizeof(struct create_opts), .fn = create_lvstore},
	{"bdev_lvol_delete_lvstore", "Destroys a store and all its volumes, none of them in use.",
		store_params, sizeof(struct store_opts), .fn = delete_lvstore},
	{"bdev_lvol_rename_lvstore", "Gives a store another name; none of its volumes is in use.",
		rename_params, sizeof(struct store_opts), .fn = rename_lvstore},
	{"bdev_lvol_grow_lvstore", "Lets a store take what its device has grown by.", store_params,
		sizeof(struct store_opts), .fn = grow_lvstore},
	{"bdev_lvol_set_lvstore_options", "Waiting for space, and when to tell that it is scarce.",
		set_params, sizeof(struct set_opts), .defaults = &set_defaults, .fn = set_options},
	{"bdev_lvol_get_lvstores", "Lists stores.", store_params, sizeof(struct store_opts),
		.fn = get_lvstores},
	{"bdev_lvol_detach_lvstore", "Gives up a store, which stays on its device.", store_params,
		sizeof(struct store_opts), .fn = detach_lvstore},
	{"bdev_lvol_get_refused_lvstores", "Lists devices whose store could not be attached.",
		.fn = get_refused},
	{"bdev_examine", "Looks for a store on a device and attaches it.", examine_params,
		sizeof(struct examine_opts), .fn = examine},
	{"bdev_wait_for_examine", "Waits until all devices have been searched for stores.",
		.fn = wait_for_examine},
	{0},
};
