/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods for logical volumes and their snapshots: SPDK's names and parameters where SPDK has the
 * method, bdev_lvol_… of ours beyond. A volume is named "store/volume" or by its UUID, also one
 * that is no device, as it is damaged. A call is answered when what it asks for is done, also one
 * that takes long: bdev_lvol_get_lvols tells meanwhile how far it is, and bdev_lvol_cancel stops
 * it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/lvol_json.h"
#include "lib/xbdev/mgmt/mgmt.h"

#define MIB (1ull << 20)

/* ---- for all ---- */

/* The volume of this name in a store, hidden ones left out; NULL: there is none. */
static struct xbdev_lvol *find_in(struct xbdev_lvol_store *store, const char *name)
{
	struct xbdev_lvol *volume = NULL;
	struct xbdev_lvol_info info;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		xbdev__lvol_info(volume, &info);
		if (!info.is_hidden && strcmp(info.name, name) == 0) {
			return volume;
		}
	}
	return NULL;
}

static struct xbdev_lvol *find_uuid(struct xbdev_ctx *ctx, const struct xu_uuid *uuid)
{
	struct xbdev_lvol_store *store = NULL;
	struct xbdev_lvol *volume = NULL;
	struct xbdev_lvol_info info;

	while ((store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
			xbdev__lvol_info(volume, &info);
			if (!info.is_hidden && xu_uuid_is_equal(&info.uuid, uuid)) {
				return volume;
			}
		}
	}
	return NULL;
}

/* Those that are no device too. */
static struct xbdev_lvol *find_any(struct xbdev_ctx *ctx, const char *name)
{
	const char *slash = strchr(name, '/');
	char store_name[XBDEV_LVS_NAME_BYTES];
	struct xbdev_lvol_store *store;
	struct xu_uuid uuid;

	if (xu_uuid_parse(name, &uuid) == 0) {
		return find_uuid(ctx, &uuid);
	}
	if (slash == NULL || (size_t)(slash - name) >= sizeof(store_name)) {
		return NULL;
	}
	snprintf(store_name, sizeof(store_name), "%.*s", (int)(slash - name), name);
	store = xbdev__lvol_store_find(ctx, store_name);
	return store != NULL ? find_in(store, slash + 1) : NULL;
}

struct xbdev_lvol *xbdev__mgmt_lvol_find(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const char *name)
{
	struct xbdev_lvol *volume = xbdev__lvol_find(mgmt->ctx, name);

	if (volume == NULL) {
		volume = find_any(mgmt->ctx, name);
	}
	if (volume == NULL && xbdev_device_find(mgmt->ctx, name) != NULL) {
		xrpc_error(req, -EINVAL, "device '%.128s' is no logical volume", name);
	} else if (volume == NULL) {
		xrpc_error(req, -ENODEV,
			"there is no volume '%.128s'; bdev_lvol_get_lvols lists them, by "
			"STORE/NAME",
			name);
	}
	return volume;
}

/* A volume that is being made, whose UUID is the answer. */
struct making {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	char store[XU_UUID_TEXT_SIZE];
	char name[XBDEV_LVS_NAME_BYTES];
};

static void on_made(void *arg, const struct xu_error *err)
{
	struct making making = *(struct making *)arg;
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(making.mgmt->ctx, making.store);
	struct xbdev_lvol *volume = store != NULL ? find_in(store, making.name) : NULL;
	struct xbdev_lvol_info info;
	char uuid[XU_UUID_TEXT_SIZE];

	free(arg);
	if (err->code != 0) {
		xrpc_fail(making.req, err, NULL);
	} else if (volume == NULL) {
		xrpc_error(making.req, -ENODEV, "'%s' has been made and its store has gone",
			making.name);
	} else {
		xbdev__lvol_info(volume, &info);
		xu_uuid_format(&info.uuid, uuid);
		xrpc_result(making.req, json_string(uuid));
	}
}

/* What on_made() needs; NULL: the request has been answered. */
static struct making *making_new(struct xrpc_request *req, struct xbdev_mgmt *mgmt,
	const struct xbdev_lvol_store *store, const char *name)
{
	struct making *making = calloc(1, sizeof(*making));
	struct xbdev_lvol_store_info info;

	if (making == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return NULL;
	}
	xbdev__lvol_store_info(store, &info);
	making->req = req;
	making->mgmt = mgmt;
	xu_uuid_format(&info.uuid, making->store);
	snprintf(making->name, sizeof(making->name), "%s", name);
	return making;
}

/* ---- bdev_lvol_create ---- */

struct create_opts {
	const char *lvol_name;
	struct xu_uuid uuid;
	const char *lvs_name;
	uint64_t size;
	uint64_t size_in_mib;
	bool thin_provision;
	uint32_t clear_method;
	struct xu_uuid lvol_uuid;
};

static const char *const clear_methods[] = {
	[XBDEV_LVS_CLEAR_DEFAULT] = "default",
	[XBDEV_LVS_CLEAR_NONE] = "none",
	[XBDEV_LVS_CLEAR_UNMAP] = "unmap",
	[XBDEV_LVS_CLEAR_ZEROES] = "write_zeroes",
	[XBDEV_LVS_CLEAR_ZEROES + 1] = NULL,
};

static const struct xu_param create_params[] = {
	{"lvol_name", XU_PARAM_STRING, offsetof(struct create_opts, lvol_name), .is_required = true,
		.help = "name of the volume in its store, 1 to 63 bytes"},
	{"uuid", XU_PARAM_UUID, offsetof(struct create_opts, uuid), .help = "UUID of the store"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct create_opts, lvs_name),
		.help = "name of the store; this or the UUID"},
	{"size_in_mib", XU_PARAM_U64, offsetof(struct create_opts, size_in_mib), .max = 1ull << 42,
		.help = "size in MiB, rounded up to clusters"},
	{"size", XU_PARAM_SIZE, offsetof(struct create_opts, size), .max = 1ull << 62,
		.help = "the same in bytes, or text such as \"2GiB\"; one of the two is needed"},
	{"thin_provision", XU_PARAM_BOOL, offsetof(struct create_opts, thin_provision),
		.help = "clusters are taken when they are written (default false: all at once)"},
	{"clear_method", XU_PARAM_ENUM, offsetof(struct create_opts, clear_method),
		.choices = clear_methods,
		.help = "what is done with clusters that are given back: unmap, write_zeroes or "
			"none (default default: unmap)"},
	{"lvol_uuid", XU_PARAM_UUID, offsetof(struct create_opts, lvol_uuid),
		.help = "identity of the volume (default: a new one)"},
	{0},
};

/* The size of two ways to say it; false: the request has been answered. */
static bool read_size(
	struct xrpc_request *req, uint64_t size, uint64_t size_in_mib, uint64_t *ret_size)
{
	if ((size == 0) == (size_in_mib == 0)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"how large? Either size_in_mib or size is needed, and more than 0");
		return false;
	}
	*ret_size = size != 0 ? size : size_in_mib * MIB;
	return true;
}

static void lvol_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct create_opts *opts = opts_ptr;
	struct xbdev_lvol_create_opts create = {
		.name = opts->lvol_name,
		.uuid = opts->lvol_uuid,
		.is_thin = opts->thin_provision,
		.clear = opts->clear_method,
	};
	struct xbdev_lvol_store *store;
	struct making *making;

	if (!read_size(req, opts->size, opts->size_in_mib, &create.size)) {
		return;
	}
	store = xbdev__mgmt_lvs_find(arg, req, &opts->uuid, opts->lvs_name);
	making = store != NULL ? making_new(req, arg, store, opts->lvol_name) : NULL;
	if (making != NULL) {
		xbdev__lvol_create(store, &create, on_made, making);
	}
}

/* ---- snapshots and clones ---- */

struct pair_opts {
	const char *from;
	const char *to;
	struct xu_uuid uuid;
};

#define PARAM_NEW_UUID                                                                             \
	{                                                                                          \
		"uuid", XU_PARAM_UUID, offsetof(struct pair_opts, uuid),                           \
			.help = "identity of the new one (default: a new one)"                     \
	}

static const struct xu_param snapshot_params[] = {
	{"lvol_name", XU_PARAM_STRING, offsetof(struct pair_opts, from), .is_required = true,
		.help = "the volume: STORE/NAME or UUID"},
	{"snapshot_name", XU_PARAM_STRING, offsetof(struct pair_opts, to), .is_required = true,
		.help = "name of the snapshot in the same store"},
	PARAM_NEW_UUID,
	{0},
};

static const struct xu_param clone_params[] = {
	{"snapshot_name", XU_PARAM_STRING, offsetof(struct pair_opts, from), .is_required = true,
		.help = "the snapshot, or another read-only volume: STORE/NAME or UUID"},
	{"clone_name", XU_PARAM_STRING, offsetof(struct pair_opts, to), .is_required = true,
		.help = "name of the clone in the same store"},
	PARAM_NEW_UUID,
	{0},
};

/* xbdev__lvol_snapshot() or xbdev__lvol_clone(). */
typedef void (*derive_fn)(struct xbdev_lvol *volume, const char *name, const struct xu_uuid *uuid,
	xbdev_lvol_done_fn done, void *arg);

static void derive(struct xrpc_request *req, struct xbdev_mgmt *mgmt, const struct pair_opts *opts,
	derive_fn fn)
{
	struct xbdev_lvol *volume = xbdev__mgmt_lvol_find(mgmt, req, opts->from);
	struct making *making =
		volume != NULL ? making_new(req, mgmt, xbdev__lvol_store_of(volume), opts->to)
			       : NULL;

	if (making != NULL) {
		fn(volume, opts->to, xu_uuid_is_null(&opts->uuid) ? NULL : &opts->uuid, on_made,
			making);
	}
}

static void lvol_snapshot(struct xrpc_request *req, void *arg, const void *opts)
{
	derive(req, arg, opts, xbdev__lvol_snapshot);
}

static void lvol_clone(struct xrpc_request *req, void *arg, const void *opts)
{
	derive(req, arg, opts, xbdev__lvol_clone);
}

/* ---- bdev_lvol_clone_bdev ---- */

struct clone_bdev_opts {
	const char *bdev;
	const char *lvs_name;
	const char *clone_name;
	struct xu_uuid uuid;
};

static const struct xu_param clone_bdev_params[] = {
	{"bdev", XU_PARAM_STRING, offsetof(struct clone_bdev_opts, bdev), .is_required = true,
		.help = "name or UUID of the device, which is not in the store"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct clone_bdev_opts, lvs_name),
		.is_required = true, .help = "name of the store"},
	{"clone_name", XU_PARAM_STRING, offsetof(struct clone_bdev_opts, clone_name),
		.is_required = true, .help = "name of the clone in the store"},
	{"uuid", XU_PARAM_UUID, offsetof(struct clone_bdev_opts, uuid),
		.help = "identity of the new one (default: a new one)"},
	{0},
};

static void lvol_clone_bdev(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct clone_bdev_opts *opts = opts_ptr;
	const struct xu_uuid none = {0};
	struct xbdev_lvol_store *store = xbdev__mgmt_lvs_find(arg, req, &none, opts->lvs_name);
	struct making *making =
		store != NULL ? making_new(req, arg, store, opts->clone_name) : NULL;

	if (making != NULL) {
		xbdev__lvol_clone_external(store, opts->bdev, opts->clone_name,
			xu_uuid_is_null(&opts->uuid) ? NULL : &opts->uuid, on_made, making);
	}
}

/* ---- of one volume ---- */

struct name_opts {
	const char *name;
	const char *new_name;
	uint64_t size;
	uint64_t size_in_mib;
};

static const struct xu_param name_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "the volume: STORE/NAME or UUID"},
	{0},
};

static const struct xu_param rename_params[] = {
	{"old_name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "the volume: STORE/NAME or UUID"},
	{"new_name", XU_PARAM_STRING, offsetof(struct name_opts, new_name), .is_required = true,
		.help = "the name that it gets in its store, without the store's"},
	{0},
};

static const struct xu_param resize_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "the volume: STORE/NAME or UUID"},
	{"size_in_mib", XU_PARAM_U64, offsetof(struct name_opts, size_in_mib), .max = 1ull << 42,
		.help = "new size in MiB, rounded up to clusters"},
	{"size", XU_PARAM_SIZE, offsetof(struct name_opts, size), .max = 1ull << 62,
		.help = "the same in bytes, or text such as \"2GiB\"; one of the two is needed"},
	{0},
};

static const struct xu_param parent_params[] = {
	{"lvol_name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "the volume, a thin one: STORE/NAME or UUID"},
	{"parent_name", XU_PARAM_STRING, offsetof(struct name_opts, new_name), .is_required = true,
		.help = "the snapshot that it is to stand on, of the same size and store: "
			"STORE/NAME or UUID"},
	{0},
};

static const struct xu_param parent_bdev_params[] = {
	{"lvol_name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "the volume, a thin one: STORE/NAME or UUID"},
	{"parent_name", XU_PARAM_STRING, offsetof(struct name_opts, new_name), .is_required = true,
		.help = "name or UUID of the device that it is to stand on, which is not in its "
			"store"},
	{0},
};

/* A change that needs nothing but the volume. */
static void change(struct xrpc_request *req, struct xbdev_mgmt *mgmt, const struct name_opts *opts,
	void (*fn)(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg))
{
	struct xbdev_lvol *volume = xbdev__mgmt_lvol_find(mgmt, req, opts->name);

	if (volume != NULL) {
		fn(volume, xbdev_mgmt_answer, req);
	}
}

static void lvol_delete(struct xrpc_request *req, void *arg, const void *opts)
{
	change(req, arg, opts, xbdev__lvol_delete);
}

static void lvol_set_read_only(struct xrpc_request *req, void *arg, const void *opts)
{
	change(req, arg, opts, xbdev__lvol_set_read_only);
}

static void lvol_restore(struct xrpc_request *req, void *arg, const void *opts)
{
	change(req, arg, opts, xbdev__lvol_restore);
}

static void lvol_inflate(struct xrpc_request *req, void *arg, const void *opts)
{
	change(req, arg, opts, xbdev__lvol_inflate);
}

static void lvol_decouple(struct xrpc_request *req, void *arg, const void *opts)
{
	change(req, arg, opts, xbdev__lvol_decouple);
}

static void lvol_resize(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_lvol *volume;
	uint64_t size;

	if (!read_size(req, opts->size, opts->size_in_mib, &size)) {
		return;
	}
	volume = xbdev__mgmt_lvol_find(arg, req, opts->name);
	if (volume != NULL) {
		xbdev__lvol_resize(volume, size, xbdev_mgmt_answer, req);
	}
}

static void lvol_rename(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_lvol *volume = xbdev__mgmt_lvol_find(arg, req, opts->name);

	if (volume != NULL) {
		xbdev__lvol_rename(volume, opts->new_name, xbdev_mgmt_answer, req);
	}
}

static void lvol_set_parent(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_lvol *volume = xbdev__mgmt_lvol_find(arg, req, opts->name);
	struct xbdev_lvol *parent =
		volume != NULL ? xbdev__mgmt_lvol_find(arg, req, opts->new_name) : NULL;

	if (parent != NULL) {
		xbdev__lvol_set_parent(volume, parent, xbdev_mgmt_answer, req);
	}
}

static void lvol_set_parent_bdev(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_lvol *volume = xbdev__mgmt_lvol_find(arg, req, opts->name);

	if (volume != NULL) {
		xbdev__lvol_set_parent_external(volume, opts->new_name, xbdev_mgmt_answer, req);
	}
}

static void lvol_cancel(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	const struct xbdev_mgmt *mgmt = arg;
	struct xbdev_lvol_op *making = xbdev__lvol_making_find(mgmt->ctx, opts->name);
	struct xbdev_lvol *volume;
	struct xu_error err = {0};
	int rc;

	if (making != NULL) {
		xbdev__lvol_making_cancel(making);
		xrpc_true(req);
		return;
	}
	volume = xbdev__mgmt_lvol_find(arg, req, opts->name);
	if (volume == NULL) {
		return;
	}
	rc = xbdev__lvol_cancel(volume, &err);
	if (rc != 0 && rc != -ENOENT) {
		xrpc_fail(req, &err, NULL);
	} else {
		xrpc_result(req, json_boolean(rc == 0));
	}
}

/* ---- looking ---- */

struct get_opts {
	struct xu_uuid lvs_uuid;
	const char *lvs_name;
};

static const struct xu_param get_params[] = {
	{"lvs_uuid", XU_PARAM_UUID, offsetof(struct get_opts, lvs_uuid),
		.help = "UUID of the store whose volumes are listed (default: all stores)"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct get_opts, lvs_name),
		.help = "the same by its name"},
	{0},
};

static void list_store(struct xbdev_lvol_store *store, json_t *list)
{
	struct xbdev_lvol_op *making = NULL;
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		json_array_append_new(list, xbdev__mgmt_lvol_json(volume));
	}
	while ((making = xbdev__lvol_making_next(store, making)) != NULL) {
		json_array_append_new(list, xbdev__mgmt_making_json(store, making));
	}
}

static void get_lvols(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct get_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_lvol_store *store = NULL;
	json_t *list;

	if (!xu_uuid_is_null(&opts->lvs_uuid) || opts->lvs_name != NULL) {
		store = xbdev__mgmt_lvs_find(mgmt, req, &opts->lvs_uuid, opts->lvs_name);
		if (store != NULL) {
			list = json_array();
			list_store(store, list);
			xrpc_result(req, list);
		}
		return;
	}
	list = json_array();
	while ((store = xbdev__lvol_store_next(mgmt->ctx, store)) != NULL) {
		list_store(store, list);
	}
	xrpc_result(req, list);
}

const struct xrpc_method xbdev_mgmt_lvol_methods[] = {
	{"bdev_lvol_create", "Makes a volume in a store.", create_params,
		sizeof(struct create_opts), .fn = lvol_create},
	{"bdev_lvol_snapshot", "Takes a snapshot of a volume, which may be in use.",
		snapshot_params, sizeof(struct pair_opts), .fn = lvol_snapshot},
	{"bdev_lvol_clone", "Makes a thin volume on a snapshot.", clone_params,
		sizeof(struct pair_opts), .fn = lvol_clone},
	{"bdev_lvol_clone_bdev", "Makes a thin volume on a device outside of its store.",
		clone_bdev_params, sizeof(struct clone_bdev_opts), .fn = lvol_clone_bdev},
	{"bdev_lvol_delete", "Deletes a volume or snapshot that nobody uses.", name_params,
		sizeof(struct name_opts), .fn = lvol_delete},
	{"bdev_lvol_rename", "Gives a volume that nobody uses another name in its store.",
		rename_params, sizeof(struct name_opts), .fn = lvol_rename},
	{"bdev_lvol_resize", "Makes a volume larger or smaller, which may be in use.",
		resize_params, sizeof(struct name_opts), .fn = lvol_resize},
	{"bdev_lvol_inflate", "Makes all clusters of a volume its own, under I/O.", name_params,
		sizeof(struct name_opts), .fn = lvol_inflate},
	{"bdev_lvol_decouple_parent", "Makes what a volume has of its parent its own, under I/O.",
		name_params, sizeof(struct name_opts), .fn = lvol_decouple},
	{"bdev_lvol_set_read_only", "Lets nobody write to a volume any more.", name_params,
		sizeof(struct name_opts), .fn = lvol_set_read_only},
	{"bdev_lvol_set_parent", "Lets a thin volume stand on another snapshot.", parent_params,
		sizeof(struct name_opts), .fn = lvol_set_parent},
	{"bdev_lvol_set_parent_bdev", "Lets a thin volume stand on a device outside of its store.",
		parent_bdev_params, sizeof(struct name_opts), .fn = lvol_set_parent_bdev},
	{"bdev_lvol_restore", "Gives a volume that nobody uses the content of a snapshot again.",
		name_params, sizeof(struct name_opts), .fn = lvol_restore},
	{"bdev_lvol_cancel", "Asks what is being done with a volume to stop.", name_params,
		sizeof(struct name_opts), .fn = lvol_cancel},
	{"bdev_lvol_get_lvols", "Lists volumes and snapshots.", get_params, sizeof(struct get_opts),
		.fn = get_lvols},
	{0},
};
