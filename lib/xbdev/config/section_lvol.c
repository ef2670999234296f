/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sections of logical volumes: stores, volumes, snapshots and clones. What is in a store is
 * called STORE/NAME, a device like any other; a store is no device and has names of its own kind.
 * Here is the form of their entries; volume_plan.c, store_job.c, volume_job.c and volume_save.c do
 * the rest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/param.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"

#define NAME_MAX_CHARS XBDEV_VOLUME_NAME_MAX
#define MIB            (UINT64_C(1) << 20)

/* One struct for the four tables: no member is read but those that a table names. */
struct lvol_opts {
	const char *name;
	const char *on;                     /* base_bdev, lvs_name, source_vol, source_snap */
	const char *source_bdev, *lvs_name; /* of a clone of a device */
	uint64_t cluster_size;
	uint32_t space_wait_ms, low_percent, high_percent; /* UNSAID: nothing is said of it */
	uint64_t size_mb, size;
	bool thin_provision;
	bool read_only;
	struct xu_uuid uuid;
};

#define UNSAID UINT32_MAX

static const struct lvol_opts defaults = {
	.space_wait_ms = UNSAID, .low_percent = UNSAID, .high_percent = UNSAID};

#define NAME_PARAM(text)                                                                           \
	{                                                                                          \
		"name", XU_PARAM_STRING, offsetof(struct lvol_opts, name), .is_required = true,    \
									   .help = text            \
	}
#define ON_PARAM(key, text)                                                                        \
	{                                                                                          \
		key, XU_PARAM_STRING, offsetof(struct lvol_opts, on), .is_required = true,         \
								      .help = text                 \
	}
#define UUID_PARAM                                                                                 \
	{                                                                                          \
		"uuid", XU_PARAM_UUID, offsetof(struct lvol_opts, uuid),                           \
			.help = "identity (default: a new one)"                                    \
	}

static const struct xu_param store_params[] = {
	NAME_PARAM("name of the store"),
	ON_PARAM("base_bdev", "name or UUID of the device that it is on"),
	{"cluster_size", XU_PARAM_SIZE, offsetof(struct lvol_opts, cluster_size), .min = 4096,
		.max = UINT32_MAX, .help = "unit of allocation, bytes (default \"4MiB\")"},
	{"space_wait_ms", XU_PARAM_U32, offsetof(struct lvol_opts, space_wait_ms),
		.max = XBDEV_LVOL_SPACE_WAIT_MAX_MS,
		.help = "how long a write waits for free clusters (default: as it is, 0 at first)"},
	{"low_percent", XU_PARAM_U32, offsetof(struct lvol_opts, low_percent), .max = 100,
		.help = "percentage of used clusters that is told, with high_percent (default: as "
			"it is, 80 at first)"},
	{"high_percent", XU_PARAM_U32, offsetof(struct lvol_opts, high_percent), .max = 100,
		.help = "the second one (default: as it is, 95 at first)"},
	UUID_PARAM,
	{0},
};

static const struct xu_param volume_params[] = {
	NAME_PARAM("name of the volume, in its store"),
	ON_PARAM("lvs_name", "name of the store"),
	{"size_mb", XU_PARAM_U64, offsetof(struct lvol_opts, size_mb), .min = 1, .max = 1ull << 42,
		.help = "size, MiB"},
	{"size", XU_PARAM_SIZE, offsetof(struct lvol_opts, size), .min = 1, .max = 1ull << 62,
		.help = "size, bytes, in place of size_mb"},
	{"thin_provision", XU_PARAM_BOOL, offsetof(struct lvol_opts, thin_provision),
		.help = "takes space when it is written (default false)"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct lvol_opts, read_only),
		.help = "it cannot be written, for good (default false)"},
	UUID_PARAM,
	{0},
};

static const struct xu_param snapshot_params[] = {
	NAME_PARAM("name of the snapshot, in the store of its volume"),
	ON_PARAM("source_vol", "the volume, as STORE/NAME"),
	UUID_PARAM,
	{0},
};

#define SOURCE_HELP "the snapshot, as STORE/NAME"

static const struct xu_param clone_params[] = {
	NAME_PARAM("name of the clone, in the store of its snapshot"),
	{"source_snap", XU_PARAM_STRING, offsetof(struct lvol_opts, on), .help = SOURCE_HELP},
	{"source_bdev", XU_PARAM_STRING, offsetof(struct lvol_opts, source_bdev),
		.help = "name or UUID of a device outside of the store, in place of source_snap"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct lvol_opts, lvs_name),
		.help = "name of the store, with source_bdev"},
	UUID_PARAM,
	{0},
};

int xbdev__volume_check_name(const char *name, struct xu_error *err)
{
	if (*name == '\0' || strlen(name) > NAME_MAX_CHARS) {
		return xu_error_set(err, -EINVAL, "it has %zu characters; it takes 1 to %u",
			strlen(name), NAME_MAX_CHARS);
	}
	return xbdev_section_check_name(name, true, err);
}

/* STORE/NAME; *ret_store_len is the length of the first part. */
static int check_full_name(const char *name, size_t *ret_store_len, struct xu_error *err)
{
	const char *slash = strchr(name, '/');

	if (slash == NULL || slash == name || slash[1] == '\0' || strchr(slash + 1, '/') != NULL) {
		return xu_error_set(err, -EINVAL,
			"\"%.128s\" is not accepted; it takes the names of a store and of what is "
			"in it, as in \"lvs0/vol0\"",
			name);
	}
	*ret_store_len = (size_t)(slash - name);
	return xbdev_section_check_name(name, false, err);
}

/* Reads the entry and checks its name, which all four have alike. */
static int check_common(const struct xu_param *params, json_t *entry, struct lvol_opts *opts,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	char inner[XU_PARAM_PATH_SIZE];
	int rc;

	*opts = defaults;
	rc = xu_params_parse(params, opts, entry, inner, err);
	if (rc == 0) {
		snprintf(inner, sizeof(inner), "name");
		rc = xbdev__volume_check_name(opts->name, err);
	}
	snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s", rc != 0 ? inner : "");
	return rc;
}

/* Names the item STORE/NAME, or NAME when there is no store, and adds what it uses. */
static int fill_item(struct xbdev_item *item, const struct xu_param *params, json_t *entry,
	const char *store, size_t store_len, struct xu_error *err)
{
	const char *name = json_string_value(json_object_get(entry, "name"));
	char full[2 * NAME_MAX_CHARS + 2];

	snprintf(full, sizeof(full), "%.*s%s%s", (int)store_len, store, store_len != 0 ? "/" : "",
		name);
	return xbdev_item_set(
		item, full, xbdev_config_canonical_params(params, &defaults, entry), err);
}

static int check_thresholds(
	const struct lvol_opts *opts, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const struct xbdev_lvol_settings settings = {
		.percents = {opts->low_percent, opts->high_percent}};

	if (opts->low_percent == UNSAID && opts->high_percent == UNSAID) {
		return 0;
	}
	snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s",
		opts->low_percent != UNSAID ? "low_percent" : "high_percent");
	if (opts->low_percent == UNSAID || opts->high_percent == UNSAID) {
		return xu_error_set(
			err, -EINVAL, "low_percent and high_percent go together; give both");
	}
	return xbdev__lvol_settings_check(&settings, err);
}

static int store_check(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	struct lvol_opts opts;
	int rc = check_common(store_params, entry, &opts, path, err);

	if (rc == 0 && opts.cluster_size % 4096 != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "cluster_size");
		rc = xu_error_set(err, -EINVAL,
			"%llu is not accepted; it takes a multiple of 4096 bytes",
			(unsigned long long)opts.cluster_size);
	}
	if (rc == 0) {
		rc = check_thresholds(&opts, path, err);
	}
	if (rc == 0) {
		rc = fill_item(item, store_params, entry, "", 0, err);
	}
	return rc == 0 ? xbdev_item_use(item, "base_bdev", -1, XBDEV_SPACE_DEVICE, true, err) : rc;
}

static int check_size(
	const struct lvol_opts *opts, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	if ((opts->size_mb != 0) != (opts->size != 0)) {
		return 0;
	}
	snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s", opts->size != 0 ? "size" : "");
	return xu_error_set(err, -EINVAL, "%s",
		opts->size != 0 ? "size_mb says it already; give one of the two"
				: "'size_mb' is missing: size, MiB");
}

/* One size in one way: MiB where it is whole ones. */
static int fold_size(json_t *entry)
{
	uint64_t size = xbdev__volume_size(entry);

	if (size % MIB != 0) {
		return 0;
	}
	json_object_del(entry, "size");
	return json_object_set_new(entry, "size_mb", json_integer((json_int_t)(size / MIB)));
}

uint64_t xbdev__volume_size(const json_t *entry)
{
	const json_t *size = json_object_get(entry, "size");

	return size != NULL ? (uint64_t)json_integer_value(size)
			    : (uint64_t)json_integer_value(json_object_get(entry, "size_mb")) * MIB;
}

static int volume_check(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	struct lvol_opts opts;
	int rc = check_common(volume_params, entry, &opts, path, err);

	if (rc == 0) {
		rc = check_size(&opts, path, err);
	}
	if (rc != 0) {
		return rc;
	}
	rc = xbdev__volume_check_name(opts.on, err);
	if (rc != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "lvs_name");
		return rc;
	}
	rc = fill_item(item, volume_params, entry, opts.on, strlen(opts.on), err);
	if (rc == 0 && fold_size(item->entry) != 0) {
		rc = xu_error_set_errno(err, -ENOMEM, "checking a document");
	}
	return rc == 0 ? xbdev_item_use(item, "lvs_name", -1, XBDEV_SPACE_STORE, false, err) : rc;
}

/* Snapshots and clones: in the store of what they are made of, which is of one of two kinds. */
static int check_derived(const struct xu_param *params, const char *key, const char *kind,
	const char *other_kind, json_t *entry, struct xbdev_item *item,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	struct lvol_opts opts;
	size_t store_len = 0;
	int rc = check_common(params, entry, &opts, path, err);

	if (rc != 0) {
		return rc;
	}
	rc = check_full_name(opts.on, &store_len, err);
	if (rc == 0 && store_len > NAME_MAX_CHARS) {
		rc = xu_error_set(err, -EINVAL, "its store has %zu characters; it takes 1 to %u",
			store_len, NAME_MAX_CHARS);
	}
	if (rc != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s", key);
		return rc;
	}
	rc = fill_item(item, params, entry, opts.on, store_len, err);
	if (rc == 0) {
		rc = xbdev_item_use(item, key, -1, XBDEV_SPACE_DEVICE, false, err);
	}
	if (rc == 0) {
		item->uses[0].kinds[0] = kind;
		item->uses[0].kinds[1] = other_kind;
	}
	return rc;
}

static int snapshot_check(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	return check_derived(
		snapshot_params, "source_vol", "lvol_volumes", "clones", entry, item, path, err);
}

/* Of a device: the store is said, as the device has none. */
static int check_external(const struct lvol_opts *opts, json_t *entry, struct xbdev_item *item,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	int rc;

	if (opts->on != NULL) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "source_bdev");
		return xu_error_set(err, -EINVAL,
			"source_snap says what it is of already; give one of the two");
	}
	if (opts->lvs_name == NULL) {
		return xu_error_set(
			err, -EINVAL, "'lvs_name' is missing: name of the store, with source_bdev");
	}
	rc = xbdev__volume_check_name(opts->lvs_name, err);
	if (rc != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "lvs_name");
		return rc;
	}
	rc = fill_item(item, clone_params, entry, opts->lvs_name, strlen(opts->lvs_name), err);
	if (rc == 0) {
		rc = xbdev_item_use(item, "lvs_name", -1, XBDEV_SPACE_STORE, false, err);
	}
	return rc == 0 ? xbdev_item_use(item, "source_bdev", -1, XBDEV_SPACE_DEVICE, false, err)
		       : rc;
}

static int clone_check(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	struct lvol_opts opts;
	int rc = check_common(clone_params, entry, &opts, path, err);

	if (rc != 0) {
		return rc;
	}
	if (opts.source_bdev != NULL) {
		return check_external(&opts, entry, item, path, err);
	}
	if (opts.on == NULL) {
		return xu_error_set(err, -EINVAL, "'source_snap' is missing: %s", SOURCE_HELP);
	}
	if (opts.lvs_name != NULL) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "lvs_name");
		return xu_error_set(err, -EINVAL,
			"source_snap says the store already; it goes with source_bdev");
	}
	return check_derived(
		clone_params, "source_snap", "snapshots", NULL, entry, item, path, err);
}

const struct xbdev_section xbdev__section_lvol_stores = {
	.key = "lvol_stores",
	.one = "store",
	.space = XBDEV_SPACE_STORE,
	.is_found = true,
	.check = store_check,
	.plan = xbdev__store_plan,
	.apply = xbdev__store_apply,
	.undo = xbdev__store_undo,
	.forget = xbdev__store_forget,
	.save = xbdev__store_save,
};

/* What is a clone after one restart may be a volume of which others are clones after the next: the
 * disk says who stands on what, not who was first. */
static const char volume_kin[] = "logical volumes";

const struct xbdev_section xbdev__section_lvol_volumes = {
	.key = "lvol_volumes",
	.one = "volume",
	.space = XBDEV_SPACE_DEVICE,
	.kin = volume_kin,
	.is_found = true,
	.check = volume_check,
	.plan = xbdev__volume_plan,
	.apply = xbdev__volume_apply,
	.undo = xbdev__volume_undo,
	.forget = xbdev__volume_forget,
	.save = xbdev__volume_save,
};

const struct xbdev_section xbdev__section_snapshots = {
	.key = "snapshots",
	.one = "snapshot",
	.space = XBDEV_SPACE_DEVICE,
	.kin = volume_kin,
	.is_found = true,
	.check = snapshot_check,
	.plan = xbdev__volume_plan,
	.apply = xbdev__volume_apply,
	.undo = xbdev__volume_undo,
	.forget = xbdev__volume_forget,
	.save = xbdev__snapshot_save,
};

const struct xbdev_section xbdev__section_clones = {
	.key = "clones",
	.one = "clone",
	.space = XBDEV_SPACE_DEVICE,
	.kin = volume_kin,
	.is_found = true,
	.check = clone_check,
	.plan = xbdev__volume_plan,
	.apply = xbdev__volume_apply,
	.undo = xbdev__volume_undo,
	.forget = xbdev__volume_forget,
	.save = xbdev__clone_save,
};
