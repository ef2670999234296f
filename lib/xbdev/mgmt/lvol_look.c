/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods that look into the maps of volumes: how much space each takes, and where two differ. They
 * go beyond SPDK's. Several volumes are looked at one after the other; one that goes meanwhile is
 * left out, and one that cannot be looked at now says why.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xbdev/mgmt/lvol_json.h"
#include "lib/xbdev/mgmt/mgmt.h"

/* ---- bdev_lvol_get_usage ---- */

struct usage_opts {
	const char *name;
	struct xu_uuid lvs_uuid;
	const char *lvs_name;
};

static const struct xu_param usage_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct usage_opts, name),
		.help = "one volume: STORE/NAME or UUID (default: all)"},
	{"lvs_uuid", XU_PARAM_UUID, offsetof(struct usage_opts, lvs_uuid),
		.help = "UUID of the store whose volumes are looked at"},
	{"lvs_name", XU_PARAM_STRING, offsetof(struct usage_opts, lvs_name),
		.help = "the same by its name"},
	{0},
};

/* What is to be looked at: names may change meanwhile, so stores and volumes have their UUIDs. */
struct place {
	struct xu_uuid store, volume;
};

struct usage {
	struct xrpc_request *req;
	struct xbdev_mgmt *mgmt;
	json_t *list; /* the answer */
	struct place *places;
	size_t nr_places, at;
};

static void look_at_next(struct usage *usage);

/* Hidden ones too: they take space. */
static struct xbdev_lvol *find_at(struct xbdev_ctx *ctx, const struct place *place)
{
	char text[XU_UUID_TEXT_SIZE];
	struct xbdev_lvol_store *store;
	struct xbdev_lvol *volume = NULL;
	struct xbdev_lvol_info info;

	xu_uuid_format(&place->store, text);
	store = xbdev__lvol_store_find(ctx, text);
	while (store != NULL && (volume = xbdev__lvol_next(store, volume)) != NULL) {
		xbdev__lvol_info(volume, &info);
		if (xu_uuid_is_equal(&info.uuid, &place->volume)) {
			return volume;
		}
	}
	return NULL;
}

static json_t *usage_json(struct xbdev_lvol *volume)
{
	struct xbdev_lvol_info info;
	char uuid[XU_UUID_TEXT_SIZE];

	xbdev__lvol_info(volume, &info);
	xu_uuid_format(&info.uuid, uuid);
	return json_pack("{s:o, s:s, s:I}", "alias", json_sprintf("%s/%s", info.store, info.name),
		"uuid", uuid, "size", (json_int_t)info.size);
}

static void on_usage(void *arg, const struct xbdev_lvol_usage *result, const struct xu_error *err)
{
	struct usage *usage = arg;
	struct xbdev_lvol *volume = find_at(usage->mgmt->ctx, &usage->places[usage->at++]);
	json_t *object = volume != NULL ? usage_json(volume) : NULL;

	if (object != NULL && result != NULL) {
		json_object_update_new(object,
			json_pack("{s:I, s:I}", "exclusive_bytes", (json_int_t)result->exclusive,
				"shared_bytes", (json_int_t)result->shared));
	} else if (object != NULL) {
		json_object_set_new(object, "reason", json_string(err->text));
	}
	if (object != NULL) {
		json_array_append_new(usage->list, object);
	}
	look_at_next(usage);
}

static void look_at_next(struct usage *usage)
{
	struct xbdev_lvol *volume = NULL;

	while (usage->at < usage->nr_places &&
		(volume = find_at(usage->mgmt->ctx, &usage->places[usage->at])) == NULL) {
		usage->at++;
	}
	if (volume != NULL) {
		xbdev__lvol_usage(volume, on_usage, usage);
		return;
	}
	xrpc_result(usage->req, usage->list);
	free(usage->places);
	free(usage);
}

static int add_place(struct usage *usage, struct xbdev_lvol *volume)
{
	struct place *places =
		realloc(usage->places, (usage->nr_places + 1) * sizeof(usage->places[0]));
	struct xbdev_lvol_store_info store;
	struct xbdev_lvol_info info;

	if (places == NULL) {
		return -ENOMEM;
	}
	usage->places = places;
	xbdev__lvol_store_info(xbdev__lvol_store_of(volume), &store);
	xbdev__lvol_info(volume, &info);
	places[usage->nr_places++] = (struct place){store.uuid, info.uuid};
	return 0;
}

static int add_store(struct usage *usage, struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;
	int rc = 0;

	while (rc == 0 && (volume = xbdev__lvol_next(store, volume)) != NULL) {
		rc = add_place(usage, volume);
	}
	return rc;
}

static int add_all(struct usage *usage)
{
	struct xbdev_lvol_store *store = NULL;
	int rc = 0;

	while (rc == 0 && (store = xbdev__lvol_store_next(usage->mgmt->ctx, store)) != NULL) {
		rc = add_store(usage, store);
	}
	return rc;
}

static void get_usage(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct usage_opts *opts = opts_ptr;
	bool has_name = opts->name != NULL;
	bool has_store = !xu_uuid_is_null(&opts->lvs_uuid) || opts->lvs_name != NULL;
	struct xbdev_lvol_store *store = NULL;
	struct xbdev_lvol *volume = NULL;
	struct usage *usage;
	int rc;

	if (has_name && has_store) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "of one volume, or of a store's? Not both");
		return;
	}
	if (has_name) {
		volume = xbdev__mgmt_lvol_find(arg, req, opts->name);
	} else if (has_store) {
		store = xbdev__mgmt_lvs_find(arg, req, &opts->lvs_uuid, opts->lvs_name);
	}
	if ((has_name && volume == NULL) || (has_store && store == NULL)) {
		return; /* answered, and the options are gone */
	}
	usage = calloc(1, sizeof(*usage));
	if (usage == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	usage->req = req;
	usage->mgmt = arg;
	rc = volume != NULL  ? add_place(usage, volume)
	     : store != NULL ? add_store(usage, store)
			     : add_all(usage);
	if (rc != 0) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		free(usage->places);
		free(usage);
		return;
	}
	usage->list = json_array();
	look_at_next(usage);
}

/* ---- bdev_lvol_diff ---- */

#define MAX_EXTENTS 100000u /* of one answer */

struct diff_opts {
	const char *name;
	const char *other_name;
	uint64_t offset;
	uint32_t max;
};

static const struct diff_opts diff_defaults = {.max = 10000};

static const struct xu_param diff_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct diff_opts, name), .is_required = true,
		.help = "one volume or snapshot: STORE/NAME or UUID"},
	{"other_name", XU_PARAM_STRING, offsetof(struct diff_opts, other_name), .is_required = true,
		.help = "the other one, of the same store"},
	{"offset", XU_PARAM_U64, offsetof(struct diff_opts, offset), .max = INT64_MAX,
		.help = "extents that begin before this byte are left out (default 0)"},
	{"max", XU_PARAM_U32, offsetof(struct diff_opts, max), .min = 1, .max = MAX_EXTENTS,
		.help = "so many extents are listed at most (default 10000)"},
	{0},
};

struct diff {
	struct xrpc_request *req;
	uint64_t cluster_size, offset;
	uint32_t max;
};

static void on_diff(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
	const struct xu_error *err)
{
	struct diff diff = *(struct diff *)arg;
	uint64_t bytes = 0;
	json_t *list;

	free(arg);
	if (extents == NULL) {
		xrpc_fail(diff.req, err, NULL);
		return;
	}
	list = json_array();
	for (uint32_t i = 0; i < nr_extents; i++) {
		bytes += extents[i].len;
		if (extents[i].offset >= diff.offset && json_array_size(list) < diff.max) {
			json_array_append_new(list,
				json_pack("{s:I, s:I}", "offset", (json_int_t)extents[i].offset,
					"length", (json_int_t)extents[i].len));
		}
	}
	xrpc_result(diff.req,
		json_pack("{s:I, s:I, s:I, s:o}", "cluster_size", (json_int_t)diff.cluster_size,
			"num_extents", (json_int_t)nr_extents, "bytes", (json_int_t)bytes,
			"extents", list));
}

static void diff(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct diff_opts *opts = opts_ptr;
	struct xbdev_lvol *one = xbdev__mgmt_lvol_find(arg, req, opts->name);
	struct xbdev_lvol *other =
		one != NULL ? xbdev__mgmt_lvol_find(arg, req, opts->other_name) : NULL;
	struct xbdev_lvol_info info;
	struct diff *diff;

	if (other == NULL) {
		return;
	}
	diff = malloc(sizeof(*diff));
	if (diff == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	xbdev__lvol_info(one, &info);
	*diff = (struct diff){req, info.cluster_size, opts->offset, opts->max};
	xbdev__lvol_diff(one, other, on_diff, diff);
}

const struct xrpc_method xbdev_mgmt_lvol_look_methods[] = {
	{"bdev_lvol_get_usage", "Tells how much space volumes take.", usage_params,
		sizeof(struct usage_opts), .fn = get_usage},
	{"bdev_lvol_diff", "Lists where two volumes or snapshots of a store may differ.",
		diff_params, sizeof(struct diff_opts), .defaults = &diff_defaults, .fn = diff},
	{0},
};
