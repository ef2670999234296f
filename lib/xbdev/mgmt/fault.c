/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults made on purpose: devices of the drivers "error" and "delay". Injected errors are for the
 * moment and not remembered; latencies are part of the device's configuration.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/driver/delay.h"
#include "lib/xbdev/driver/error.h"
#include "lib/xbdev/mgmt/mgmt.h"

/* ---- error devices ---- */

struct error_opts {
	const char *base_name;
	const char *name;
	struct xu_uuid uuid;
};

static const struct xu_param error_params[] = {
	{"base_name", XU_PARAM_STRING, offsetof(struct error_opts, base_name), .is_required = true,
		.help = "name of the device below"},
	{"name", XU_PARAM_STRING, offsetof(struct error_opts, name),
		.help = "name of the new device (default: EE_ and the base's name)"},
	{"uuid", XU_PARAM_UUID, offsetof(struct error_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

/* The entry of a filter, with a UUID when one is given. */
static json_t *filter_entry(
	const char *driver, json_t *name, const char *base, const struct xu_uuid *uuid)
{
	json_t *entry = json_pack("{s:s, s:o, s:s}", "driver", driver, "name", name, "base", base);
	char text[XU_UUID_TEXT_SIZE];

	if (!xu_uuid_is_null(uuid)) {
		xu_uuid_format(uuid, text);
		json_object_set_new(entry, "uuid", json_string(text));
	}
	return entry;
}

static void error_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct error_opts *opts = opts_ptr;
	json_t *name = opts->name != NULL ? json_string(opts->name)
					  : json_sprintf("EE_%s", opts->base_name);

	xbdev_mgmt_create(
		arg, req, filter_entry("error", name, opts->base_name, &opts->uuid), json_true());
}

static const char *const io_types[] = {
	"clear", "all", "read", "write", "unmap", "flush", "write_zeroes", "compare", NULL};
static const char *const error_types[] = {"failure", "pending", "corrupt_data", "nomem", NULL};

enum { IO_CLEAR = 0 };
enum { ERROR_FAILURE, ERROR_PENDING, ERROR_CORRUPT_DATA, ERROR_NOMEM };

static const uint32_t io_type_masks[] = {0, 0, 1u << XBDEV_OP_READ, 1u << XBDEV_OP_WRITE,
	1u << XBDEV_OP_DISCARD, 1u << XBDEV_OP_FLUSH, 1u << XBDEV_OP_WRITE_ZEROES,
	1u << XBDEV_OP_COMPARE};

struct inject_opts {
	const char *name;
	uint32_t io_type;
	uint32_t error_type;
	uint32_t num;
	uint32_t queue_depth;
	uint64_t corrupt_offset;
	uint32_t corrupt_value;
	uint64_t offset, length, skip;
	uint32_t probability_ppm;
};

static const struct inject_opts inject_defaults = {.error_type = UINT32_MAX, .num = 1};

static const struct xu_param inject_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct inject_opts, name), .is_required = true,
		.help = "name or UUID of the error device"},
	{"io_type", XU_PARAM_ENUM, offsetof(struct inject_opts, io_type), .is_required = true,
		.choices = io_types,
		.help = "operation that is hit; \"clear\" takes all injected errors away"},
	{"error_type", XU_PARAM_ENUM, offsetof(struct inject_opts, error_type),
		.choices = error_types, .help = "what becomes of it; needed but with \"clear\""},
	{"num", XU_PARAM_U32, offsetof(struct inject_opts, num), .min = 1,
		.help = "how many operations are hit (default 1)"},
	{"queue_depth", XU_PARAM_U32, offsetof(struct inject_opts, queue_depth),
		.help = "only while so many others are in flight (default 0)"},
	{"corrupt_offset", XU_PARAM_U64, offsetof(struct inject_opts, corrupt_offset),
		.help = "byte of the transfer that is corrupted (default 0)"},
	{"corrupt_value", XU_PARAM_U32, offsetof(struct inject_opts, corrupt_value), .min = 1,
		.max = 255, .help = "bits of it that are flipped (default 255)"},
	{"offset", XU_PARAM_SIZE, offsetof(struct inject_opts, offset), .max = 1ull << 62,
		.help = "only operations that touch the range from this byte"},
	{"length", XU_PARAM_SIZE, offsetof(struct inject_opts, length), .max = 1ull << 62,
		.help = "of so many bytes (default 0: anywhere)"},
	{"skip", XU_PARAM_U64, offsetof(struct inject_opts, skip),
		.help = "so many operations are let through first (default 0)"},
	{"probability_ppm", XU_PARAM_U32, offsetof(struct inject_opts, probability_ppm),
		.max = 1000000, .help = "chance of each in a million (default 0: all are hit)"},
	{0},
};

static void on_injected(void *arg)
{
	xrpc_true(arg);
}

static void inject_error(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	static const enum xbdev_error_kind kinds[] = {
		XBDEV_ERROR_FAIL, XBDEV_ERROR_HANG, XBDEV_ERROR_CORRUPT, XBDEV_ERROR_FAIL};
	const struct inject_opts *opts = opts_ptr;
	struct xbdev_device *dev = xbdev_mgmt_find(arg, req, opts->name);
	struct xbdev_error_rule rule;
	struct xu_error err = {0};

	if (dev == NULL) {
		return;
	}
	if (opts->io_type == IO_CLEAR) {
		if (xbdev_error_clear(dev, on_injected, req, &err) != 0) {
			xrpc_fail(req, &err, NULL);
		}
		return;
	}
	if (opts->error_type == UINT32_MAX) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"'error_type' is missing: failure, pending, corrupt_data or nomem");
		return;
	}
	rule = (struct xbdev_error_rule){
		.kind = kinds[opts->error_type],
		.ops_mask = io_type_masks[opts->io_type],
		.offset = opts->offset,
		.len = opts->length,
		.skip = opts->skip,
		.count = opts->num,
		.probability_ppm = opts->probability_ppm,
		.queue_depth = opts->queue_depth,
		.error = opts->error_type == ERROR_NOMEM ? -ENOMEM : 0,
		.corrupt_offset = opts->corrupt_offset,
		.corrupt_mask = (uint8_t)opts->corrupt_value,
	};
	if (xbdev_error_inject(dev, &rule, on_injected, req, &err) != 0) {
		xrpc_fail(req, &err, NULL);
	}
}

/* ---- delay devices ---- */

struct delay_opts {
	const char *base_bdev_name;
	const char *name;
	struct xu_uuid uuid;
	uint64_t latency[4];
};

static const char *const latency_keys[] = {"avg_read_latency_us", "p99_read_latency_us",
	"avg_write_latency_us", "p99_write_latency_us"};

static const struct xu_param delay_params[] = {
	{"base_bdev_name", XU_PARAM_STRING, offsetof(struct delay_opts, base_bdev_name),
		.is_required = true, .help = "name of the device below"},
	{"name", XU_PARAM_STRING, offsetof(struct delay_opts, name), .is_required = true,
		.help = "name of the new device"},
	{"avg_read_latency", XU_PARAM_U64, offsetof(struct delay_opts, latency[0]),
		.is_required = true, .max = XBDEV_DELAY_MAX_US,
		.help = "added to reads, microseconds"},
	{"p99_read_latency", XU_PARAM_U64, offsetof(struct delay_opts, latency[1]),
		.is_required = true, .max = XBDEV_DELAY_MAX_US,
		.help = "added to one of 100 reads instead, microseconds; 0: no difference"},
	{"avg_write_latency", XU_PARAM_U64, offsetof(struct delay_opts, latency[2]),
		.is_required = true, .max = XBDEV_DELAY_MAX_US,
		.help = "added to all other operations, microseconds"},
	{"p99_write_latency", XU_PARAM_U64, offsetof(struct delay_opts, latency[3]),
		.is_required = true, .max = XBDEV_DELAY_MAX_US,
		.help = "added to one of 100 of them instead, microseconds; 0: no difference"},
	{"uuid", XU_PARAM_UUID, offsetof(struct delay_opts, uuid),
		.help = "identity (default: a new one)"},
	{0},
};

static void delay_create(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct delay_opts *opts = opts_ptr;
	json_t *entry =
		filter_entry("delay", json_string(opts->name), opts->base_bdev_name, &opts->uuid);

	for (size_t i = 0; i < 4; i++) {
		json_object_set_new(
			entry, latency_keys[i], json_integer((json_int_t)opts->latency[i]));
	}
	xbdev_mgmt_create(arg, req, entry, NULL);
}

static const char *const latency_types[] = {"avg_read", "p99_read", "avg_write", "p99_write", NULL};

struct latency_opts {
	const char *delay_bdev_name;
	uint32_t latency_type;
	uint64_t latency_us;
};

static const struct xu_param latency_params[] = {
	{"delay_bdev_name", XU_PARAM_STRING, offsetof(struct latency_opts, delay_bdev_name),
		.is_required = true, .help = "name or UUID of the delay device"},
	{"latency_type", XU_PARAM_ENUM, offsetof(struct latency_opts, latency_type),
		.is_required = true, .choices = latency_types, .help = "which one"},
	{"latency_us", XU_PARAM_U64, offsetof(struct latency_opts, latency_us), .is_required = true,
		.max = XBDEV_DELAY_MAX_US, .help = "microseconds"},
	{0},
};

/*
 * SPDK's clients set the four one by one, the usual one before its p99; so a p99 that would fall
 * below the usual one is lifted along.
 */
static void update_latency(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct latency_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_device *dev = xbdev_mgmt_find(mgmt, req, opts->delay_bdev_name);
	struct xbdev_delay_latency now;
	uint64_t p99_us;
	json_t *members;

	if (dev == NULL) {
		return;
	}
	if (xbdev_delay_get(dev, &now) != 0) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "device '%s' is of driver %s, not delay",
			dev->name, dev->driver);
		return;
	}
	p99_us = opts->latency_type < 2 ? now.p99_read_us : now.p99_write_us;
	members =
		json_pack("{s:I}", latency_keys[opts->latency_type], (json_int_t)opts->latency_us);
	if (opts->latency_type % 2 == 0 && p99_us != 0 && p99_us < opts->latency_us) {
		json_object_set_new(members, latency_keys[opts->latency_type + 1],
			json_integer((json_int_t)opts->latency_us));
	}
	mgmt->change(mgmt, dev->name, members, xbdev_mgmt_answer, req);
}

const struct xrpc_method xbdev_mgmt_fault_methods[] = {
	{"bdev_error_create", "Makes a device that passes I/O on and can inject errors.",
		error_params, sizeof(struct error_opts), .fn = error_create},
	{"bdev_error_inject_error", "Injects errors into an error device, or clears them.",
		inject_params, sizeof(struct inject_opts), &inject_defaults, .fn = inject_error},
	{"bdev_delay_create", "Makes a device that passes I/O on and is slow.", delay_params,
		sizeof(struct delay_opts), .fn = delay_create},
	{"bdev_delay_update_latency", "Changes one of the latencies of a delay device.",
		latency_params, sizeof(struct latency_opts), .fn = update_latency},
	{0},
};
