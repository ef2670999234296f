/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev_get_bdevs, and the methods that make, change and delete devices. Those with a driver in
 * their name are SPDK's; each turns its parameters into an entry as the configuration has it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/lvol/op.h"
#include "lib/xbdev/mgmt/mgmt.h"

#define MIB (1ull << 20)

/* ---- for all ---- */

struct xbdev_device *xbdev_mgmt_find(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const char *name)
{
	struct xbdev_device *dev = xbdev_device_find(mgmt->ctx, name);

	if (dev == NULL) {
		xrpc_error(req, -ENODEV, "there is no device '%.128s'; bdev_get_bdevs lists them",
			name);
	}
	return dev;
}

void xbdev_mgmt_answer(void *arg, const struct xu_error *err)
{
	struct xrpc_request *req = arg;

	if (err->code != 0) {
		xrpc_fail(req, err, NULL);
	} else {
		xrpc_true(req);
	}
}

struct creation {
	struct xrpc_request *req;
	json_t *result;
};

static void on_created(void *arg, const struct xu_error *err)
{
	struct creation *creation = arg;

	if (err->code != 0) {
		json_decref(creation->result);
		xrpc_fail(creation->req, err, NULL);
	} else {
		xrpc_result(creation->req, creation->result);
	}
	free(creation);
}

void xbdev_mgmt_create(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, json_t *entry, json_t *result)
{
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err = {0};
	struct creation *creation;

	if (xbdev_config_check_device(entry, path, &err) != 0) {
		xrpc_fail(req, &err, NULL);
		json_decref(entry);
		json_decref(result);
		return;
	}
	creation = malloc(sizeof(*creation));
	if (creation == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		json_decref(entry);
		json_decref(result);
		return;
	}
	creation->req = req;
	creation->result = result != NULL ? result : json_incref(json_object_get(entry, "name"));
	mgmt->create(mgmt, entry, on_created, creation);
}

/* ---- listing ---- */

static const char *const io_types_no[] = {"reset", "nvme_admin", "nvme_io", "zcopy",
	"compare_and_write", "abort", "seek_hole", "seek_data", "copy", "nvme_iov_md"};

static json_t *io_types_json(const struct xbdev_device *dev)
{
	bool can_write = !dev->is_read_only;
	bool can_unmap = can_write && (dev->ops_mask & (1u << XBDEV_OP_DISCARD));
	json_t *types = json_pack("{s:b, s:b, s:b, s:b, s:b, s:b}", "read", 1, "write", can_write,
		"unmap", can_unmap, "flush", 1, "write_zeroes", can_write, "compare", 1);

	for (size_t i = 0; i < sizeof(io_types_no) / sizeof(io_types_no[0]); i++) {
		json_object_set_new(types, io_types_no[i], json_false());
	}
	return types;
}

static json_t *device_json(const struct xbdev_device *dev)
{
	json_t *info = dev->ops->info != NULL ? dev->ops->info(dev) : json_object();
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *object;

	xu_uuid_format(&dev->uuid, uuid);
	object = json_pack("{s:s, s:[s], s:s, s:I, s:I, s:s, s:b, s:b, s:o, s:{s:o}}", "name",
		dev->name, "aliases", uuid, "product_name", dev->product, "block_size",
		(json_int_t)dev->limits.block_size, "num_blocks",
		(json_int_t)atomic_load(&dev->nr_blocks), "uuid", uuid, "claimed",
		dev->claim != NULL, "zoned", 0, "supported_io_types", io_types_json(dev),
		"driver_specific", dev->driver, info);
	if (dev->claim != NULL) {
		json_object_set_new(object, "claim_type",
			json_string(xbdev__lvol_is_esnap(dev) ? "read_many_write_none"
							      : "exclusive_write"));
		json_object_set_new(object, "claimed_by", json_string(dev->claim_by));
	}
	json_object_set_new(object, "numa_id", json_integer(dev->numa_node));
	json_object_set_new(object, "driver", json_string(dev->driver));
	json_object_set_new(object, "size", json_integer((json_int_t)xbdev_device_size_bytes(dev)));
	json_object_set_new(object, "read_only", json_boolean(dev->is_read_only));
	json_object_set_new(object, "write_cache", json_boolean(dev->has_write_cache));
	json_object_set_new(object, "rotational", json_boolean(dev->is_rotational));
	json_object_set_new(
		object, "reactor", json_integer((json_int_t)xr_reactor_index(dev->owner)));
	return object;
}

struct get_opts {
	const char *name;
	uint32_t timeout;
};

static const struct xu_param get_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct get_opts, name),
		.help = "name or UUID of one device (default: all)"},
	{"timeout", XU_PARAM_U32, offsetof(struct get_opts, timeout),
		.help = "accepted for SPDK's clients; nothing is waited for"},
	{0},
};

static void get_bdevs(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct get_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = NULL;
	json_t *list = json_array();

	if (opts->name != NULL) {
		dev = xbdev_mgmt_find(mgmt, req, opts->name);
		if (dev == NULL) {
			json_decref(list);
			return;
		}
		json_array_append_new(list, device_json(dev));
	} else {
		while ((dev = xbdev_device_next(mgmt->ctx, dev)) != NULL) {
			json_array_append_new(list, device_json(dev));
		}
	}
	xrpc_result(req, list);
}

/* ---- by driver-independent methods ---- */

static void bdev_create(struct xrpc_request *req, void *arg, const void *opts)
{
	json_t *params = xrpc_request_params(req);

	(void)opts;
	xbdev_mgmt_create(
		arg, req, params != NULL ? xbdev_config_copy(params) : json_object(), NULL);
}

struct name_opts {
	const char *name;
};

static const struct xu_param name_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct name_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{0},
};

static void bdev_delete(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;

	mgmt->remove(mgmt, opts->name, xbdev_mgmt_answer, req);
}

/* A delete method that carries a driver in its name refuses devices of others. */
static void delete_of(
	struct xrpc_request *req, struct xbdev_mgmt *mgmt, const char *name, const char *driver)
{
	struct xbdev_device *dev = xbdev_device_find(mgmt->ctx, name);

	if (dev != NULL && strcmp(dev->driver, driver) != 0) {
		xrpc_error(req, -EINVAL,
			"device '%s' is of driver %s, not %s; bdev_delete takes any", dev->name,
			dev->driver, driver);
		return;
	}
	mgmt->remove(mgmt, name, xbdev_mgmt_answer, req);
}

#define DELETE_OF(function, driver)                                                                \
	static void function(struct xrpc_request *req, void *arg, const void *opts_ptr)            \
	{                                                                                          \
		const struct name_opts *opts = opts_ptr;                                           \
                                                                                                   \
		delete_of(req, arg, opts->name, driver);                                           \
	}

DELETE_OF(malloc_delete, "malloc")
DELETE_OF(null_delete, "null")
DELETE_OF(file_delete, "file")
DELETE_OF(error_delete, "error")
DELETE_OF(delay_delete, "delay")

struct resize_opts {
	const char *name;
	uint64_t size;
	uint64_t new_size;
};

static const struct xu_param resize_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct resize_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{"size", XU_PARAM_SIZE, offsetof(struct resize_opts, size), .is_required = true, .min = 512,
		.max = 1ull << 62, .help = "new size in bytes, or text such as \"2GiB\""},
	{0},
};

static void resize(struct xrpc_request *req, struct xbdev_mgmt *mgmt, const char *name,
	const char *driver, uint64_t size)
{
	struct xbdev_device *dev = xbdev_mgmt_find(mgmt, req, name);

	if (dev == NULL) {
		return;
	}
	if (driver != NULL && strcmp(dev->driver, driver) != 0) {
		xrpc_error(req, -EINVAL,
			"device '%s' is of driver %s, not %s; bdev_resize takes any", dev->name,
			dev->driver, driver);
		return;
	}
	mgmt->change(mgmt, dev->name, json_pack("{s:I}", "size", (json_int_t)size),
		xbdev_mgmt_answer, req);
}

static void bdev_resize(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct resize_opts *opts = opts_ptr;

	resize(req, arg, opts->name, NULL, opts->size);
}

static void file_resize(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct resize_opts *opts = opts_ptr;

	resize(req, arg, opts->name, "file", opts->size);
}

static const struct xu_param null_resize_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct resize_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{"new_size", XU_PARAM_U64, offsetof(struct resize_opts, new_size), .is_required = true,
		.min = 1, .max = 1ull << 42, .help = "new size in MiB"},
	{0},
};

static void null_resize(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct resize_opts *opts = opts_ptr;

	resize(req, arg, opts->name, "null", opts->new_size * MIB);
}

static void aio_rescan(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct name_opts *opts = opts_ptr;
	struct xbdev_device *dev = xbdev_mgmt_find(arg, req, opts->name);

	if (dev == NULL) {
		return;
	}
	if (strcmp(dev->driver, "file") != 0) {
		xrpc_error(req, -EINVAL, "device '%s' is of driver %s, not file", dev->name,
			dev->driver);
		return;
	}
	dev->ops->resize(dev, 0, xbdev_mgmt_answer, req);
}

/* ---- SPDK's create methods ---- */

#define ONLY_FALSE "only false is possible: "
#define ONLY_0     "only 0 is possible: "

/* What SPDK's clients say of metadata, which no device of ours has; some of it always. */
#define PARAMS_METADATA                                                                            \
	{"md_size", XU_PARAM_OFF, .help = ONLY_0 "there is no metadata here"},                     \
		{"dif_type", XU_PARAM_OFF, .help = ONLY_0 "there is no metadata here"},            \
		{"dif_is_head_of_md", XU_PARAM_OFF,                                                \
			.help = ONLY_FALSE "there is no metadata here"},                           \
	{                                                                                          \
		"dif_pi_format", XU_PARAM_OFF, .help = ONLY_0 "there is no metadata here"          \
	}

struct blocks_opts {
	const char *name;
	uint64_t num_blocks;
	uint32_t block_size;
	uint32_t physical_block_size;
	struct xu_uuid uuid;
	json_t *numa_id;
};

static const struct xu_param malloc_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct blocks_opts, name),
		.help = "name of the device (default: Malloc0 and so on)"},
	{"num_blocks", XU_PARAM_U64, offsetof(struct blocks_opts, num_blocks), .is_required = true,
		.min = 1, .max = 1ull << 34, .help = "size in blocks"},
	{"block_size", XU_PARAM_U32, offsetof(struct blocks_opts, block_size), .is_required = true,
		.min = 512, .max = 4096, .help = "512 or 4096"},
	{"uuid", XU_PARAM_UUID, offsetof(struct blocks_opts, uuid),
		.help = "identity (default: a new one)"},
	PARAMS_METADATA,
	{"md_interleave", XU_PARAM_OFF, .help = ONLY_FALSE "there is no metadata here"},
	{"physical_block_size", XU_PARAM_U32, offsetof(struct blocks_opts, physical_block_size),
		.max = 4096, .help = "only block_size is possible (default 0: that)"},
	{"optimal_io_boundary", XU_PARAM_OFF,
		.help = ONLY_0 "I/O to memory is not split at boundaries"},
	{"numa_id", XU_PARAM_JSON, offsetof(struct blocks_opts, numa_id),
		.help = "only -1 is possible: memory is taken from any node"},
	{0},
};

static const struct xu_param null_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct blocks_opts, name), .is_required = true,
		.help = "name of the device"},
	{"num_blocks", XU_PARAM_U64, offsetof(struct blocks_opts, num_blocks), .is_required = true,
		.min = 1, .max = 1ull << 50, .help = "size in blocks"},
	{"block_size", XU_PARAM_U32, offsetof(struct blocks_opts, block_size), .is_required = true,
		.min = 512, .max = 4096, .help = "512 or 4096"},
	{"uuid", XU_PARAM_UUID, offsetof(struct blocks_opts, uuid),
		.help = "identity (default: a new one)"},
	PARAMS_METADATA,
	{"physical_block_size", XU_PARAM_U32, offsetof(struct blocks_opts, physical_block_size),
		.max = 4096, .help = "only block_size is possible (default 0: that)"},
	{0},
};

static void set_uuid(json_t *entry, const struct xu_uuid *uuid)
{
	char text[XU_UUID_TEXT_SIZE];

	if (!xu_uuid_is_null(uuid)) {
		xu_uuid_format(uuid, text);
		json_object_set_new(entry, "uuid", json_string(text));
	}
}

static void create_blocks(struct xrpc_request *req, struct xbdev_mgmt *mgmt, const char *driver,
	const char *name, const struct blocks_opts *opts)
{
	json_t *entry;

	if (opts->physical_block_size != 0 && opts->physical_block_size != opts->block_size) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"physical_block_size: %u is not accepted; only block_size is possible",
			opts->physical_block_size);
		return;
	}
	entry = json_pack("{s:s, s:s, s:I, s:I}", "driver", driver, "name", name, "num_blocks",
		(json_int_t)opts->num_blocks, "block_size", (json_int_t)opts->block_size);
	set_uuid(entry, &opts->uuid);
	xbdev_mgmt_create(mgmt, req, entry, NULL);
}

static void malloc_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct blocks_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	char name[32];
	uint32_t number = 0;

	if (opts->numa_id != NULL && json_integer_value(opts->numa_id) != -1) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"numa_id: only -1 is possible; memory is taken from any node");
		return;
	}
	if (opts->name != NULL) {
		create_blocks(req, mgmt, "malloc", opts->name, opts);
		return;
	}
	do {
		snprintf(name, sizeof(name), "Malloc%u", number++);
	} while (xbdev_device_find(mgmt->ctx, name) != NULL);
	create_blocks(req, mgmt, "malloc", name, opts);
}

static void null_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct blocks_opts *opts = opts_ptr;

	create_blocks(req, arg, "null", opts->name, opts);
}

struct aio_opts {
	const char *name;
	const char *filename;
	uint32_t block_size;
	bool readonly;
	bool fallocate;
	uint64_t size;
	struct xu_uuid uuid;
};

static const struct xu_param aio_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct aio_opts, name), .is_required = true,
		.help = "name of the device"},
	{"filename", XU_PARAM_STRING, offsetof(struct aio_opts, filename), .is_required = true,
		.help = "path of a regular file or a block device"},
	{"block_size", XU_PARAM_U32, offsetof(struct aio_opts, block_size), .max = 4096,
		.help = "512 or 4096 (default 0: the smallest for direct I/O)"},
	{"readonly", XU_PARAM_BOOL, offsetof(struct aio_opts, readonly),
		.help = "refuse writes (default false)"},
	{"fallocate", XU_PARAM_BOOL, offsetof(struct aio_opts, fallocate),
		.help = "accepted for SPDK's clients; unmap always punches holes where it can"},
	{"nowait", XU_PARAM_OFF, .help = ONLY_FALSE "I/O is queued by io_uring"},
	{"size", XU_PARAM_SIZE, offsetof(struct aio_opts, size), .max = 1ull << 62,
		.help = "make the file if it is missing and grow it to this size"},
	{"uuid", XU_PARAM_UUID, offsetof(struct aio_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static void aio_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct aio_opts *opts = opts_ptr;
	json_t *entry = json_pack("{s:s, s:s, s:s, s:b}", "driver", "file", "name", opts->name,
		"filename", opts->filename, "read_only", opts->readonly);

	if (opts->block_size != 0) {
		json_object_set_new(entry, "block_size", json_integer(opts->block_size));
	}
	if (opts->size != 0) {
		json_object_set_new(entry, "size", json_integer((json_int_t)opts->size));
	}
	set_uuid(entry, &opts->uuid);
	xbdev_mgmt_create(arg, req, entry, NULL);
}

const struct xrpc_method xbdev_mgmt_methods[] = {
	{"bdev_get_bdevs", "Lists devices.", get_params, sizeof(struct get_opts), .fn = get_bdevs},
	{"bdev_create", "Makes a device of any driver; the parameters are a configuration's entry.",
		.is_raw = true, .fn = bdev_create},
	{"bdev_delete", "Removes a device, and its namespaces and the devices that stand on it.",
		name_params, sizeof(struct name_opts), .fn = bdev_delete},
	{"bdev_resize", "Changes the size of a device.", resize_params, sizeof(struct resize_opts),
		.fn = bdev_resize},
	{"bdev_malloc_create", "Makes a device in memory.", malloc_params,
		sizeof(struct blocks_opts), .fn = malloc_create},
	{"bdev_malloc_delete", "Removes a malloc device.", name_params, sizeof(struct name_opts),
		.fn = malloc_delete},
	{"bdev_null_create", "Makes a device that keeps nothing.", null_params,
		sizeof(struct blocks_opts), .fn = null_create},
	{"bdev_null_delete", "Removes a null device.", name_params, sizeof(struct name_opts),
		.fn = null_delete},
	{"bdev_null_resize", "Changes the size of a null device.", null_resize_params,
		sizeof(struct resize_opts), .fn = null_resize},
	{"bdev_aio_create", "Makes a device on a file or a block device.", aio_params,
		sizeof(struct aio_opts), .fn = aio_create},
	{"bdev_aio_delete", "Removes a file device; the file stays.", name_params,
		sizeof(struct name_opts), .fn = file_delete},
	{"bdev_aio_rescan", "Takes over what the size of the file has become.", name_params,
		sizeof(struct name_opts), .fn = aio_rescan},
	{"bdev_file_resize", "Grows a file device and its file.", resize_params,
		sizeof(struct resize_opts), .fn = file_resize},
	{"bdev_error_delete", "Removes an error device.", name_params, sizeof(struct name_opts),
		.fn = error_delete},
	{"bdev_delay_delete", "Removes a delay device.", name_params, sizeof(struct name_opts),
		.fn = delay_delete},
	{0},
};
