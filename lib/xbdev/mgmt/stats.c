/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev_get_iostat, bdev_reset_iostat, bdev_get_histogram. The numbers of a device come from all
 * reactors, so devices are asked one after the other, by name, for one may be gone when its turn
 * comes. SPDK's fields count in ticks; here a tick is a nanosecond, and tick_rate says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/base64.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/xbdev/core/device.h"
#include "lib/xbdev/mgmt/mgmt.h"

/* ---- one device ---- */

static json_t *latency_json(const struct xu_hist *hist)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "count",
		(json_int_t)hist->count, "mean_ns", (json_int_t)xu_hist_mean_ns(hist), "min_ns",
		(json_int_t)(hist->count != 0 ? hist->min_ns : 0), "p50_ns",
		(json_int_t)xu_hist_percentile_ns(hist, 50), "p90_ns",
		(json_int_t)xu_hist_percentile_ns(hist, 90), "p99_ns",
		(json_int_t)xu_hist_percentile_ns(hist, 99), "p99_9_ns",
		(json_int_t)xu_hist_percentile_ns(hist, 99.9), "max_ns", (json_int_t)hist->max_ns);
}

/* SPDK's six fields of one kind of operation. */
static void set_op(json_t *object, const struct xbdev_stats *stats, enum xbdev_op op,
	const char *bytes_key, const char *name)
{
	const struct xbdev_op_stats *s = &stats->ops[op];
	const struct {
		const char *format;
		uint64_t value;
	} fields[] = {
		{"num_%s_ops", s->latency.count},
		{"%s_latency_ticks", s->latency.sum_ns},
		{"max_%s_latency_ticks", s->latency.max_ns},
		{"min_%s_latency_ticks", s->latency.count != 0 ? s->latency.min_ns : 0},
	};

	json_object_set_new(object, bytes_key, json_integer((json_int_t)s->bytes));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		json_t *key = json_sprintf(fields[i].format, name);

		json_object_set_new(
			object, json_string_value(key), json_integer((json_int_t)fields[i].value));
		json_decref(key);
	}
}

static json_t *stats_json(const struct xbdev_device *dev, const struct xbdev_stats *stats)
{
	json_t *object = json_pack("{s:s}", "name", dev->name);
	json_t *latency = json_object(), *errors = json_object();
	uint64_t nr_errors = 0;

	set_op(object, stats, XBDEV_OP_READ, "bytes_read", "read");
	set_op(object, stats, XBDEV_OP_WRITE, "bytes_written", "write");
	set_op(object, stats, XBDEV_OP_DISCARD, "bytes_unmapped", "unmap");
	for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
		const char *name = xbdev_op_name(op);

		json_object_set_new(latency, name, latency_json(&stats->ops[op].latency));
		json_object_set_new(errors, name, json_integer((json_int_t)stats->ops[op].errors));
		nr_errors += stats->ops[op].errors;
	}
	json_object_set_new(errors, "all", json_integer((json_int_t)nr_errors));
	json_object_set_new(object, "io_error", errors);
	json_object_set_new(object, "latency", latency);
	json_object_set_new(object, "queue_depth", json_integer(stats->queue_depth));
	json_object_set_new(object, "queue_depth_max", json_integer(stats->queue_depth_max));
	json_object_set_new(object, "num_waited", json_integer((json_int_t)stats->nr_waited));
	json_object_set_new(object, "num_bounced", json_integer((json_int_t)stats->nr_bounced));
	json_object_set_new(object, "num_split", json_integer((json_int_t)stats->nr_split));
	return object;
}

/* ---- one device after the other ---- */

struct walk {
	struct xbdev_mgmt *mgmt;
	struct xrpc_request *req;
	json_t *names;
	size_t next;
	json_t *bdevs; /* NULL: nothing is to be shown */
	bool reset;
	struct xbdev_device *dev; /* the one that is asked */
};

static void walk_next(struct walk *walk);

static void walk_end(struct walk *walk)
{
	struct xrpc_request *req = walk->req;
	json_t *bdevs = walk->bdevs;

	json_decref(walk->names);
	free(walk);
	if (bdevs == NULL) {
		xrpc_true(req);
		return;
	}
	xrpc_result(req, json_pack("{s:I, s:I, s:o}", "tick_rate", (json_int_t)XU_NS_PER_S, "ticks",
				 (json_int_t)xu_clock_now_ns(xu_clock_system()), "bdevs", bdevs));
}

static void on_stats(void *arg, const struct xbdev_stats *stats)
{
	struct walk *walk = arg;

	if (stats != NULL && walk->bdevs != NULL) {
		json_array_append_new(walk->bdevs, stats_json(walk->dev, stats));
	}
	walk_next(walk);
}

static void walk_next(struct walk *walk)
{
	while (walk->next < json_array_size(walk->names)) {
		json_t *name = json_array_get(walk->names, walk->next++);

		walk->dev = xbdev_device_find(walk->mgmt->ctx, json_string_value(name));
		if (walk->dev != NULL) {
			xbdev_device_stats(walk->dev, walk->reset, on_stats, walk);
			return;
		}
	}
	walk_end(walk);
}

struct iostat_opts {
	const char *name;
	json_t *names;
	uint32_t mode;
};

/* The names of the devices that are asked for, which are there; NULL: the request has been
 * answered. */
static json_t *choose(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const struct iostat_opts *opts)
{
	json_t *list = opts->names != NULL ? json_incref(opts->names) : json_array(), *value;
	struct xbdev_device *dev = NULL;
	size_t i;

	if (opts->name != NULL && opts->names == NULL) {
		json_array_append_new(list, json_string(opts->name));
	}
	while (opts->name == NULL && opts->names == NULL &&
		(dev = xbdev_device_next(mgmt->ctx, dev)) != NULL) {
		json_array_append_new(list, json_string(dev->name));
	}
	if (!json_is_array(list) || (opts->name != NULL && opts->names != NULL)) {
		xrpc_error(req, XRPC_INVALID_PARAMS,
			"names: a list of names of devices is needed here, and no 'name'");
		json_decref(list);
		return NULL;
	}
	json_array_foreach (list, i, value) {
		if (!json_is_string(value)) {
			xrpc_error(req, XRPC_INVALID_PARAMS,
				"names[%zu]: the name or UUID of a device is needed here", i);
		} else if (xbdev_mgmt_find(mgmt, req, json_string_value(value)) != NULL) {
			continue;
		}
		json_decref(list);
		return NULL;
	}
	return list;
}

static void walk_start(struct xbdev_mgmt *mgmt, struct xrpc_request *req,
	const struct iostat_opts *opts, bool show)
{
	struct walk *walk;
	json_t *names = choose(mgmt, req, opts);

	if (names == NULL) {
		return;
	}
	walk = calloc(1, sizeof(*walk));
	if (walk == NULL) {
		json_decref(names);
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	walk->mgmt = mgmt;
	walk->req = req;
	walk->reset = opts->mode == 1;
	walk->names = names;
	walk->bdevs = show ? json_array() : NULL;
	walk_next(walk);
}

/* ---- methods ---- */

static const char *const reset_modes[] = {"none", "all", NULL};

static const struct xu_param iostat_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct iostat_opts, name),
		.help = "name or UUID of one device (default: all)"},
	{"names", XU_PARAM_JSON, offsetof(struct iostat_opts, names),
		.help = "list of the names of several"},
	{"per_channel", XU_PARAM_OFF,
		.help = "only false is possible: the reactors' numbers are added up"},
	{"reset_mode", XU_PARAM_ENUM, offsetof(struct iostat_opts, mode), .choices = reset_modes,
		.help = "\"all\" sets the statistics to zero afterwards (default \"none\")"},
	{0},
};

static const struct xu_param reset_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct iostat_opts, name),
		.help = "name or UUID of one device (default: all)"},
	{"mode", XU_PARAM_ENUM, offsetof(struct iostat_opts, mode), .choices = reset_modes,
		.help = "\"all\" (the default), or \"none\" to do nothing"},
	{0},
};

static const struct iostat_opts reset_defaults = {.mode = 1};

static void get_iostat(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct iostat_opts *opts = opts_ptr;

	walk_start(arg, req, opts, true);
}

static void reset_iostat(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct iostat_opts *opts = opts_ptr;

	walk_start(arg, req, opts, false);
}

/* ---- histograms ---- */

/*
 * SPDK's layout is the one of struct xu_hist with another number of sub-buckets, which its clients
 * read from bucket_shift: 64 - shift + 1 ranges of 2^shift counters, each a little-endian 64-bit
 * number, in base64.
 */
#define SPDK_RANGES   (64u - XU_HIST_SUB_BITS + 1)
#define SPDK_COUNTERS (SPDK_RANGES << XU_HIST_SUB_BITS)

static void on_histogram(void *arg, const struct xbdev_stats *stats)
{
	struct xrpc_request *req = arg;
	uint8_t *bytes = stats != NULL ? calloc(SPDK_COUNTERS, 8) : NULL;
	char *text;

	if (bytes == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	for (size_t i = 0; i < XU_HIST_BUCKETS; i++) {
		uint64_t count = 0;

		for (uint32_t op = 0; op < XBDEV_NR_OPS; op++) {
			count += stats->ops[op].latency.buckets[i];
		}
		for (size_t k = 0; k < 8; k++) {
			bytes[8 * i + k] = (uint8_t)(count >> (8 * k));
		}
	}
	text = xu_base64_encode(bytes, (size_t)SPDK_COUNTERS * 8);
	free(bytes);
	xrpc_result(req,
		json_pack("{s:s, s:I, s:I}", "histogram", text, "tsc_rate", (json_int_t)XU_NS_PER_S,
			"bucket_shift", (json_int_t)XU_HIST_SUB_BITS));
	free(text);
}

static const struct xu_param histogram_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct iostat_opts, name), .is_required = true,
		.help = "name or UUID of the device"},
	{0},
};

static void get_histogram(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct iostat_opts *opts = opts_ptr;
	struct xbdev_device *dev = xbdev_mgmt_find(arg, req, opts->name);

	if (dev != NULL) {
		xbdev_device_stats(dev, false, on_histogram, req);
	}
}

const struct xrpc_method xbdev_mgmt_stats_methods[] = {
	{"bdev_get_iostat", "Shows the I/O statistics of devices.", iostat_params,
		sizeof(struct iostat_opts), .fn = get_iostat},
	{"bdev_reset_iostat", "Sets the I/O statistics of devices to zero.", reset_params,
		sizeof(struct iostat_opts), &reset_defaults, .fn = reset_iostat},
	{"bdev_get_histogram", "Gives the latencies of a device as a histogram.", histogram_params,
		sizeof(struct iostat_opts), .fn = get_histogram},
	{0},
};
