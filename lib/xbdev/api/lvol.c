/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logical volumes: stores and what is in them, made, changed, ended. Each call is a call on the
 * control reactor that finds the store or the volume, hands its arguments to lib/xbdev/lvol and
 * waits for the answer. What cannot be is refused here, before anything is touched.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib/util/uuid.h"
#include "lib/xbdev/api/lvol.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"

#define MIB_MAX (INT64_MAX >> 20)

/* ---- arguments ---- */

static int check_name(const char *what, const char *name)
{
	struct xu_error err = {0};

	if (xbdev__volume_check_name(name, &err) == 0) {
		return 0;
	}
	return api_fail(err.code, "%s \"%.64s\": %s", what, name, err.text);
}

static int parse_uuid(const char *name, const char *text, struct xu_uuid *ret_uuid)
{
	if (text == NULL || (xu_uuid_parse(text, ret_uuid) == 0 && !xu_uuid_is_null(ret_uuid))) {
		return 0;
	}
	return api_fail(-EINVAL, "'%.64s': \"%.64s\" is no UUID", name, text);
}

static int check_clear(const char *name, int clear)
{
	if (clear >= XBDEV_LVOL_CLEAR_DEFAULT && clear <= XBDEV_LVOL_CLEAR_ZEROES) {
		return 0;
	}
	return api_fail(-EINVAL, "'%.64s': clear %d is none of XBDEV_LVOL_CLEAR_...", name, clear);
}

static int check_options(const char *function, const void *options, size_t size, size_t expected)
{
	if (options != NULL && size == expected) {
		return 0;
	}
	return api_fail(-EINVAL, "%s: %s", function,
		options == NULL ? "the options are NULL" : "size is not that of this version");
}

static int check_given(const char *function, const void *one, const void *two)
{
	return one != NULL && two != NULL ? 0
					  : api_fail(-EINVAL, "%s: an argument is NULL", function);
}

/* ---- calls ---- */

/* One of a store or a volume that is there; `start` is told which. */
struct lvol_call {
	struct api_call call;
	const char *name;
	const char *other; /* a new name, another volume, a device */
	bool is_read_only;
	uint32_t wait_ms, low_percent, high_percent;
	uint64_t size_bytes;
	struct xu_uuid uuid; /* null: none was given */
	void (*start_store)(struct lvol_call *lvol, struct xbdev_lvol_store *store);
	void (*start)(struct lvol_call *lvol, struct xbdev_lvol *volume);
	/* Of the ones that need nothing but the volume. */
	void (*op)(struct xbdev_lvol *volume, xbdev_lvol_done_fn done, void *arg);
	struct xbdev_lvs_create_opts store_opts;
	struct xbdev_lvol_create_opts opts;
};

static int run(struct lvol_call *lvol, void (*fn)(struct api_call *call))
{
	struct api_thread *thread;
	int rc = api_enter(&thread, true);

	if (rc == 0) {
		rc = api_call_run(thread, &lvol->call, fn);
		api_leave(thread);
	}
	return rc;
}

static void on_done(void *arg, const struct xu_error *err)
{
	struct lvol_call *lvol = arg;
	int rc = err != NULL ? err->code : 0;

	if (rc != 0) {
		lvol->call.err = *err;
	}
	api_call_done(&lvol->call, rc);
}

static void fail(struct lvol_call *lvol, int code, const char *fmt, const char *name)
	__attribute__((format(printf, 3, 0)));

static void fail(struct lvol_call *lvol, int code, const char *fmt, const char *name)
{
	xu_error_set(&lvol->call.err, code, fmt, name);
	api_call_done(&lvol->call, code);
}

/* ---- what is there ---- */

struct xbdev_lvol_store *api_lvs_find(struct api_call *call, const char *name)
{
	struct xbdev_lvol_store *store = xbdev__lvol_store_find(api_lib.ctx, name);

	if (store == NULL) {
		xu_error_set(&call->err, -ENODEV,
			"there is no store of logical volumes named '%.128s'", name);
		api_call_done(call, -ENODEV);
	}
	return store;
}

/* Whether this is how a volume that is no device, or not at this moment, would be called. */
static bool is_called(const struct xbdev_lvol *volume, const char *name)
{
	struct xbdev_lvol_info info;
	struct xu_uuid uuid;
	size_t len;

	xbdev__lvol_info(volume, &info);
	len = strlen(info.store);
	if (info.is_hidden) {
		return false;
	}
	return (strncmp(name, info.store, len) == 0 && name[len] == '/' &&
		       strcmp(name + len + 1, info.name) == 0) ||
	       (xu_uuid_parse(name, &uuid) == 0 && xu_uuid_is_equal(&uuid, &info.uuid));
}

static struct xbdev_lvol *find_volume(const char *name)
{
	struct xbdev_lvol *volume = xbdev__lvol_find(api_lib.ctx, name);
	struct xbdev_lvol_store *store = NULL;

	while (volume == NULL && (store = xbdev__lvol_store_next(api_lib.ctx, store)) != NULL) {
		do {
			volume = xbdev__lvol_next(store, volume);
		} while (volume != NULL && !is_called(volume, name));
	}
	return volume;
}

struct xbdev_lvol *api_lvol_find(struct api_call *call, const char *name)
{
	struct xbdev_lvol *volume = find_volume(name);
	bool is_other = volume == NULL && xbdev_device_find(api_lib.ctx, name) != NULL;

	if (volume == NULL) {
		xu_error_set(&call->err, is_other ? -EINVAL : -ENODEV,
			is_other ? "device '%.256s' is no logical volume"
				 : "there is no logical volume '%.256s'; it is named STORE/VOLUME",
			name);
		api_call_done(call, call->err.code);
	}
	return volume;
}

static void on_store(struct api_call *call)
{
	struct lvol_call *lvol = xu_container_of(call, struct lvol_call, call);
	struct xbdev_lvol_store *store = api_lvs_find(call, lvol->name);

	if (store != NULL) {
		lvol->start_store(lvol, store);
	}
}

static void on_volume(struct api_call *call)
{
	struct lvol_call *lvol = xu_container_of(call, struct lvol_call, call);
	struct xbdev_lvol *volume = api_lvol_find(call, lvol->name);

	if (volume != NULL) {
		lvol->start(lvol, volume);
	}
}

static int run_store(const char *function, struct lvol_call *lvol)
{
	int rc = check_given(function, lvol->name, lvol->name);

	return rc == 0 ? run(lvol, on_store) : rc;
}

static int run_volume(const char *function, struct lvol_call *lvol)
{
	int rc = check_given(function, lvol->name, lvol->name);

	return rc == 0 ? run(lvol, on_volume) : rc;
}

/* ---- making stores ---- */

static void on_lvs_create(struct api_call *call)
{
	struct lvol_call *lvol = xu_container_of(call, struct lvol_call, call);

	xbdev__lvol_store_create(api_lib.ctx, lvol->other, &lvol->store_opts, on_done, lvol);
}

static int fill_store(struct xbdev_lvs_create_opts *opts, const char *lvs_name,
	const xbdev_lvs_create_options_t *options)
{
	static const enum xbdev_lvs_clear clears[] = {
		[XBDEV_LVOL_CLEAR_DEFAULT] = XBDEV_LVS_CLEAR_DEVICE_UNMAP,
		[XBDEV_LVOL_CLEAR_NONE] = XBDEV_LVS_CLEAR_DEVICE_NONE,
		[XBDEV_LVOL_CLEAR_UNMAP] = XBDEV_LVS_CLEAR_DEVICE_UNMAP,
		[XBDEV_LVOL_CLEAR_ZEROES] = XBDEV_LVS_CLEAR_DEVICE_ZEROES,
	};
	int rc = check_name("the store", lvs_name);

	if (rc == 0 && (options->cluster_size % 4096 != 0 || options->cluster_size > UINT32_MAX)) {
		rc = api_fail(-EINVAL,
			"store '%s': clusters of %llu bytes; a multiple of 4096 below 4 GiB is "
			"possible, 0 means 4 MiB",
			lvs_name, (unsigned long long)options->cluster_size);
	}
	if (rc == 0) {
		rc = check_clear(lvs_name, options->clear);
	}
	if (rc == 0) {
		rc = parse_uuid(lvs_name, options->uuid, &opts->uuid);
	}
	if (rc != 0) {
		return rc;
	}
	opts->name = lvs_name;
	opts->cluster_size = (uint32_t)options->cluster_size;
	opts->md_ratio = options->md_ratio != 0 ? options->md_ratio
						: xbdev__volume_md_ratio(options->cluster_size);
	opts->clear = clears[options->clear];
	return 0;
}

int xbdev_lvs_create_with(
	const char *bdev_name, const char *lvs_name, const xbdev_lvs_create_options_t *options)
{
	struct lvol_call lvol = {.other = bdev_name};
	int rc = check_given("xbdev_lvs_create_with", bdev_name, lvs_name);

	if (rc == 0) {
		rc = check_options("xbdev_lvs_create_with", options,
			options != NULL ? options->size : 0, sizeof(*options));
	}
	if (rc == 0) {
		rc = fill_store(&lvol.store_opts, lvs_name, options);
	}
	return rc == 0 ? run(&lvol, on_lvs_create) : rc;
}

int xbdev_lvs_create(const char *bdev_name, const char *lvs_name, uint64_t cluster_size)
{
	const xbdev_lvs_create_options_t options = {
		.size = sizeof(options), .cluster_size = cluster_size};

	return xbdev_lvs_create_with(bdev_name, lvs_name, &options);
}

/* ---- stores that are there ---- */

static void start_lvs_destroy(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	xbdev__lvol_store_destroy(store, on_done, lvol);
}

int xbdev_lvs_destroy(const char *lvs_name)
{
	struct lvol_call lvol = {.name = lvs_name, .start_store = start_lvs_destroy};

	return run_store("xbdev_lvs_destroy", &lvol);
}

static void start_lvs_rename(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	xbdev__lvol_store_rename(store, lvol->other, on_done, lvol);
}

int xbdev_lvs_rename(const char *lvs_name, const char *new_name)
{
	struct lvol_call lvol = {
		.name = lvs_name, .other = new_name, .start_store = start_lvs_rename};
	int rc = check_given("xbdev_lvs_rename", lvs_name, new_name);

	if (rc == 0) {
		rc = check_name("the store's new name", new_name);
	}
	return rc == 0 ? run(&lvol, on_store) : rc;
}

static void start_lvs_grow(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	xbdev__lvol_store_grow(store, on_done, lvol);
}

int xbdev_lvs_grow(const char *lvs_name)
{
	struct lvol_call lvol = {.name = lvs_name, .start_store = start_lvs_grow};

	return run_store("xbdev_lvs_grow", &lvol);
}

static void start_space_wait(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_settings settings;

	xbdev__lvol_store_settings(store, &settings);
	settings.space_wait_ms = lvol->wait_ms;
	xbdev__lvol_store_set(store, &settings, on_done, lvol);
}

int xbdev_lvs_set_space_wait(const char *lvs_name, uint32_t wait_ms)
{
	struct lvol_call lvol = {
		.name = lvs_name, .wait_ms = wait_ms, .start_store = start_space_wait};

	return run_store("xbdev_lvs_set_space_wait", &lvol);
}

static void start_thresholds(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_settings settings;

	xbdev__lvol_store_settings(store, &settings);
	settings.percents[0] = lvol->low_percent;
	settings.percents[1] = lvol->high_percent;
	xbdev__lvol_store_set(store, &settings, on_done, lvol);
}

int xbdev_lvs_set_thresholds(const char *lvs_name, uint32_t low_percent, uint32_t high_percent)
{
	struct lvol_call lvol = {.name = lvs_name,
		.low_percent = low_percent,
		.high_percent = high_percent,
		.start_store = start_thresholds};

	return run_store("xbdev_lvs_set_thresholds", &lvol);
}

static void on_attached(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	on_done(arg, store == NULL ? err : NULL);
}

static void on_lvs_load(struct api_call *call)
{
	struct lvol_call *lvol = xu_container_of(call, struct lvol_call, call);

	xbdev__lvol_attach(api_lib.ctx, lvol->name, lvol->is_read_only, on_attached, lvol);
}

int xbdev_lvs_load(const char *bdev_name, bool is_read_only)
{
	struct lvol_call lvol = {.name = bdev_name, .is_read_only = is_read_only};
	int rc = check_given("xbdev_lvs_load", bdev_name, bdev_name);

	return rc == 0 ? run(&lvol, on_lvs_load) : rc;
}

static void start_lvs_unload(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	const struct xbdev_device *used = xbdev__store_in_use(api_lib.ctx, store);

	if (used != NULL) {
		fail(lvol, -EBUSY, "volume '%s' is in use; close it first", used->name);
	} else {
		xbdev__lvol_detach(store, on_done, lvol);
	}
}

int xbdev_lvs_unload(const char *lvs_name)
{
	struct lvol_call lvol = {.name = lvs_name, .start_store = start_lvs_unload};

	return run_store("xbdev_lvs_unload", &lvol);
}

/* ---- making volumes ---- */

static void start_lvol_create(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	xbdev__lvol_create(store, &lvol->opts, on_done, lvol);
}

int xbdev_lvol_create_with(
	const char *lvs_name, const char *lvol_name, const xbdev_lvol_create_options_t *options)
{
	struct lvol_call lvol = {.name = lvs_name, .start_store = start_lvol_create};
	int rc = check_given("xbdev_lvol_create_with", lvs_name, lvol_name);

	if (rc == 0) {
		rc = check_options("xbdev_lvol_create_with", options,
			options != NULL ? options->size : 0, sizeof(*options));
	}
	if (rc == 0) {
		rc = check_name("the volume", lvol_name);
	}
	if (rc == 0 && (options->size_bytes == 0 || options->size_bytes > INT64_MAX)) {
		rc = api_fail(-EINVAL, "volume '%s': %llu bytes are no size of a volume", lvol_name,
			(unsigned long long)options->size_bytes);
	}
	if (rc == 0) {
		rc = check_clear(lvol_name, options->clear);
	}
	if (rc == 0) {
		rc = parse_uuid(lvol_name, options->uuid, &lvol.opts.uuid);
	}
	if (rc != 0) {
		return rc;
	}
	lvol.opts.name = lvol_name;
	lvol.opts.size = options->size_bytes;
	lvol.opts.is_thin = options->thin_provision;
	lvol.opts.clear = (uint64_t)options->clear;
	return run(&lvol, on_store);
}

static int check_mib(const char *name, uint64_t size_mb)
{
	return size_mb != 0 && size_mb <= MIB_MAX
		       ? 0
		       : api_fail(-EINVAL, "volume '%s': %llu MiB are no size of a volume",
				 name != NULL ? name : "", (unsigned long long)size_mb);
}

int xbdev_lvol_create(
	const char *lvs_name, const char *lvol_name, uint64_t size_mb, bool thin_provision)
{
	const xbdev_lvol_create_options_t options = {
		.size = sizeof(options),
		.size_bytes = size_mb << 20,
		.thin_provision = thin_provision,
	};
	int rc = check_mib(lvol_name, size_mb);

	return rc == 0 ? xbdev_lvol_create_with(lvs_name, lvol_name, &options) : rc;
}

/* ---- volumes that are there ---- */

static void start_op(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	lvol->op(volume, on_done, lvol);
}

int xbdev_lvol_destroy(const char *lvol_name)
{
	struct lvol_call lvol = {.name = lvol_name, .start = start_op, .op = xbdev__lvol_delete};

	return run_volume("xbdev_lvol_destroy", &lvol);
}

int xbdev_lvol_set_read_only(const char *lvol_name)
{
	struct lvol_call lvol = {
		.name = lvol_name, .start = start_op, .op = xbdev__lvol_set_read_only};

	return run_volume("xbdev_lvol_set_read_only", &lvol);
}

int xbdev_lvol_inflate(const char *lvol_name)
{
	struct lvol_call lvol = {.name = lvol_name, .start = start_op, .op = xbdev__lvol_inflate};

	return run_volume("xbdev_lvol_inflate", &lvol);
}

int xbdev_lvol_decouple(const char *lvol_name)
{
	struct lvol_call lvol = {.name = lvol_name, .start = start_op, .op = xbdev__lvol_decouple};

	return run_volume("xbdev_lvol_decouple", &lvol);
}

static void start_resize(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	xbdev__lvol_resize(volume, lvol->size_bytes, on_done, lvol);
}

int xbdev_lvol_resize(const char *lvol_name, uint64_t new_size_mb)
{
	struct lvol_call lvol = {
		.name = lvol_name, .size_bytes = new_size_mb << 20, .start = start_resize};
	int rc = check_mib(lvol_name, new_size_mb);

	return rc == 0 ? run_volume("xbdev_lvol_resize", &lvol) : rc;
}

static void start_rename(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	xbdev__lvol_rename(volume, lvol->other, on_done, lvol);
}

static void start_snapshot(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	xbdev__lvol_snapshot(volume, lvol->other, &lvol->uuid, on_done, lvol);
}

static void start_clone(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	xbdev__lvol_clone(volume, lvol->other, &lvol->uuid, on_done, lvol);
}

/* Something that takes a volume and a new name in its store. */
static int run_named(const char *function, const char *what, const char *name, const char *other,
	const char *uuid, void (*start)(struct lvol_call *lvol, struct xbdev_lvol *volume))
{
	struct lvol_call lvol = {.name = name, .other = other, .start = start};
	int rc = check_given(function, name, other);

	if (rc == 0) {
		rc = check_name(what, other);
	}
	if (rc == 0) {
		rc = parse_uuid(other, uuid, &lvol.uuid);
	}
	return rc == 0 ? run(&lvol, on_volume) : rc;
}

int xbdev_lvol_rename(const char *lvol_name, const char *new_name)
{
	return run_named("xbdev_lvol_rename", "the volume's new name", lvol_name, new_name, NULL,
		start_rename);
}

int xbdev_snapshot_create(const char *lvol_name, const char *snapshot_name)
{
	return run_named("xbdev_snapshot_create", "the snapshot", lvol_name, snapshot_name, NULL,
		start_snapshot);
}

int xbdev_snapshot_create_with(const char *lvol_name, const char *snapshot_name,
	const xbdev_snapshot_create_options_t *options)
{
	int rc = check_options("xbdev_snapshot_create_with", options,
		options != NULL ? options->size : 0, sizeof(*options));

	return rc == 0 ? run_named("xbdev_snapshot_create_with", "the snapshot", lvol_name,
				 snapshot_name, options->uuid, start_snapshot)
		       : rc;
}

int xbdev_clone_create(const char *snapshot_name, const char *clone_name)
{
	return run_named(
		"xbdev_clone_create", "the clone", snapshot_name, clone_name, NULL, start_clone);
}

int xbdev_clone_create_with(const char *snapshot_name, const char *clone_name,
	const xbdev_clone_create_options_t *options)
{
	int rc = check_options("xbdev_clone_create_with", options,
		options != NULL ? options->size : 0, sizeof(*options));

	return rc == 0 ? run_named("xbdev_clone_create_with", "the clone", snapshot_name,
				 clone_name, options->uuid, start_clone)
		       : rc;
}

static void start_clone_external(struct lvol_call *lvol, struct xbdev_lvol_store *store)
{
	xbdev__lvol_clone_external(store, lvol->other, lvol->opts.name, NULL, on_done, lvol);
}

int xbdev_clone_create_external(const char *bdev_name, const char *lvs_name, const char *clone_name)
{
	struct lvol_call lvol = {.name = lvs_name,
		.other = bdev_name,
		.opts.name = clone_name,
		.start_store = start_clone_external};
	int rc = check_given("xbdev_clone_create_external", bdev_name, clone_name);

	if (rc == 0) {
		rc = check_name("the clone", clone_name);
	}
	return rc == 0 ? run_store("xbdev_clone_create_external", &lvol) : rc;
}

int xbdev_snapshot_restore(const char *snapshot_name)
{
	struct lvol_call lvol = {
		.name = snapshot_name, .start = start_op, .op = xbdev__lvol_restore};

	return run_volume("xbdev_snapshot_restore", &lvol);
}

static void start_snapshot_destroy(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	struct xbdev_lvol_info info;

	xbdev__lvol_info(volume, &info);
	if (!info.is_read_only) {
		fail(lvol, -EINVAL,
			"volume '%.256s' is no snapshot, it can be written; xbdev_lvol_destroy() "
			"ends volumes",
			lvol->name);
	} else {
		xbdev__lvol_delete(volume, on_done, lvol);
	}
}

int xbdev_snapshot_destroy(const char *snapshot_name)
{
	struct lvol_call lvol = {.name = snapshot_name, .start = start_snapshot_destroy};

	return run_volume("xbdev_snapshot_destroy", &lvol);
}

static void start_set_parent(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	struct xbdev_lvol *snapshot = api_lvol_find(&lvol->call, lvol->other);

	if (snapshot != NULL) {
		xbdev__lvol_set_parent(volume, snapshot, on_done, lvol);
	}
}

int xbdev_lvol_set_parent(const char *lvol_name, const char *snapshot_name)
{
	struct lvol_call lvol = {
		.name = lvol_name, .other = snapshot_name, .start = start_set_parent};
	int rc = check_given("xbdev_lvol_set_parent", lvol_name, snapshot_name);

	return rc == 0 ? run(&lvol, on_volume) : rc;
}

static void start_set_parent_external(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	xbdev__lvol_set_parent_external(volume, lvol->other, on_done, lvol);
}

int xbdev_lvol_set_parent_external(const char *lvol_name, const char *bdev_name)
{
	struct lvol_call lvol = {
		.name = lvol_name, .other = bdev_name, .start = start_set_parent_external};
	int rc = check_given("xbdev_lvol_set_parent_external", lvol_name, bdev_name);

	return rc == 0 ? run(&lvol, on_volume) : rc;
}

static void start_shallow_copy(struct lvol_call *lvol, struct xbdev_lvol *volume)
{
	xbdev__lvol_shallow_copy(volume, lvol->other, on_done, lvol);
}

int xbdev_snapshot_shallow_copy(const char *snapshot_name, const char *bdev_name)
{
	struct lvol_call lvol = {
		.name = snapshot_name, .other = bdev_name, .start = start_shallow_copy};
	int rc = check_given("xbdev_snapshot_shallow_copy", snapshot_name, bdev_name);

	return rc == 0 ? run(&lvol, on_volume) : rc;
}

static void on_cancel(struct api_call *call)
{
	const struct lvol_call *lvol = xu_container_of(call, struct lvol_call, call);
	struct xbdev_lvol_op *making = xbdev__lvol_making_find(api_lib.ctx, lvol->name);
	struct xbdev_lvol *volume = making == NULL ? api_lvol_find(call, lvol->name) : NULL;

	if (making != NULL) {
		xbdev__lvol_making_cancel(making);
		api_call_done(call, 0);
	} else if (volume != NULL) {
		api_call_done(call, xbdev__lvol_cancel(volume, &call->err));
	}
}

int xbdev_lvol_cancel(const char *lvol_name)
{
	struct lvol_call lvol = {.name = lvol_name};
	int rc = check_given("xbdev_lvol_cancel", lvol_name, lvol_name);

	return rc == 0 ? run(&lvol, on_cancel) : rc;
}

void api_lvol_cancel_all(void)
{
	struct xbdev_lvol_store *store = NULL;
	struct xbdev_lvol_op *making = NULL;
	struct xbdev_lvol *volume = NULL;

	while ((store = xbdev__lvol_store_next(api_lib.ctx, store)) != NULL) {
		while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
			xbdev__lvol_cancel(volume, NULL); /* -ENOENT: nothing is being done */
		}
		while ((making = xbdev__lvol_making_next(store, making)) != NULL) {
			xbdev__lvol_making_cancel(making);
		}
	}
}
