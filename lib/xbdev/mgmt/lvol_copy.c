/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bdev_lvol_start_shallow_copy and bdev_lvol_check_shallow_copy: SPDK's parameters and results. A
 * copy goes on by itself and is asked for by a number. What is refused before it begins is the
 * answer of the first already; what happens later is told by the second.
 *
 * The last copies that are over are remembered, so that more than one may ask. A copy that is under
 * way when its owner goes is on its own, and frees itself at its end.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/mgmt/lvol_json.h"
#include "lib/xbdev/mgmt/mgmt.h"

#define NR_KEPT 64u /* that are over */

struct copy {
	struct xu_list link;
	struct xbdev_mgmt_copies *copies; /* NULL: nobody asks any more */
	struct xbdev_mgmt *mgmt;
	uint64_t id;
	char uuid[XU_UUID_TEXT_SIZE]; /* of what is copied */
	uint64_t nr_clusters;         /* to be copied */
	uint64_t nr_copied;           /* when somebody has asked last */
	struct xrpc_request *req;     /* that has started it, until it is answered */
	struct xr_msg msg;            /* is under way until then */
	bool is_over;
	struct xu_error err;
};

struct xbdev_mgmt_copies {
	struct xu_list list; /* the oldest first */
	uint64_t last_id;
};

static void forget(struct copy *copy)
{
	xu_list_del(&copy->link);
	free(copy);
}

/* Of those that are over; those under way are as many as there are volumes at most. */
static void forget_oldest(struct xbdev_mgmt_copies *copies)
{
	struct xu_list *node, *next;
	size_t nr = 0;

	xu_list_for_each (node, &copies->list) {
		nr += xu_list_entry(node, struct copy, link)->is_over;
	}
	xu_list_for_each_safe (node, next, &copies->list) {
		struct copy *copy = xu_list_entry(node, struct copy, link);

		if (nr > NR_KEPT && copy->is_over && copy->req == NULL) {
			forget(copy);
			nr--;
		}
	}
}

void xbdev_mgmt_copies_free(struct xbdev_mgmt_copies *copies)
{
	struct xu_list *node;

	while (copies != NULL && (node = xu_list_pop(&copies->list)) != NULL) {
		struct copy *copy = xu_list_entry(node, struct copy, link);

		copy->copies = NULL;
		if (copy->is_over) {
			free(copy);
		}
	}
	free(copies);
}

/* ---- bdev_lvol_start_shallow_copy ---- */

struct start_opts {
	const char *source;
	const char *target;
};

static const struct xu_param start_params[] = {
	{"src_lvol_name", XU_PARAM_STRING, offsetof(struct start_opts, source), .is_required = true,
		.help = "the snapshot, or another read-only volume: STORE/NAME or UUID"},
	{"dst_bdev_name", XU_PARAM_STRING, offsetof(struct start_opts, target), .is_required = true,
		.help = "name or UUID of the device that its clusters are copied to, to the same "
			"places; as large as it at least, and not in use"},
	{0},
};

static void on_copied(void *arg, const struct xu_error *err)
{
	struct copy *copy = arg;

	copy->is_over = true;
	copy->err = *err;
	if (copy->copies != NULL) {
		forget_oldest(copy->copies);
	} else {
		free(copy);
	}
}

/* What is refused has been refused by now: its end was sent before this message. */
static void on_begun(struct xr_msg *msg)
{
	struct copy *copy = xu_container_of(msg, struct copy, msg);
	struct xrpc_request *req = copy->req;

	copy->req = NULL;
	if (!copy->is_over || copy->err.code == 0) {
		xrpc_result(req, json_pack("{s:I}", "operation_id", (json_int_t)copy->id));
	} else {
		xrpc_fail(req, &copy->err, NULL);
		forget(copy);
	}
}

/* NULL: out of memory. */
static struct copy *copy_new(struct xbdev_mgmt *mgmt)
{
	struct copy *copy = calloc(1, sizeof(*copy));

	if (copy != NULL && mgmt->copies == NULL) {
		mgmt->copies = calloc(1, sizeof(*mgmt->copies));
		if (mgmt->copies != NULL) {
			xu_list_init(&mgmt->copies->list);
		}
	}
	if (copy == NULL || mgmt->copies == NULL) {
		free(copy);
		return NULL;
	}
	copy->mgmt = mgmt;
	copy->copies = mgmt->copies;
	copy->id = ++mgmt->copies->last_id;
	xu_list_add_tail(&mgmt->copies->list, &copy->link);
	return copy;
}

static void start_copy(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct start_opts *opts = opts_ptr;
	struct xbdev_mgmt *mgmt = arg;
	struct xbdev_lvol *volume = xbdev__mgmt_lvol_find(mgmt, req, opts->source);
	struct xbdev_lvol_info info;
	struct copy *copy;

	if (volume == NULL || xbdev_mgmt_find(mgmt, req, opts->target) == NULL) {
		return;
	}
	copy = copy_new(mgmt);
	if (copy == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	xbdev__lvol_info(volume, &info);
	xu_uuid_format(&info.uuid, copy->uuid);
	copy->nr_clusters = info.nr_allocated;
	copy->req = req;
	xbdev__lvol_shallow_copy(volume, opts->target, on_copied, copy);
	copy->msg.fn = on_begun;
	xr_msg_send(xbdev_ctx_control(mgmt->ctx), &copy->msg);
}

/* ---- bdev_lvol_check_shallow_copy ---- */

struct check_opts {
	uint64_t id;
};

static const struct xu_param check_params[] = {
	{"operation_id", XU_PARAM_U64, offsetof(struct check_opts, id), .is_required = true,
		.help = "what bdev_lvol_start_shallow_copy has answered"},
	{0},
};

static struct copy *find_copy(const struct xbdev_mgmt *mgmt, uint64_t id)
{
	struct xu_list *node;

	if (mgmt->copies == NULL) {
		return NULL;
	}
	xu_list_for_each (node, &mgmt->copies->list) {
		struct copy *copy = xu_list_entry(node, struct copy, link);

		if (copy->id == id) {
			return copy;
		}
	}
	return NULL;
}

static uint64_t look_at(struct copy *copy)
{
	struct xbdev_lvol *volume = xbdev__lvol_find(copy->mgmt->ctx, copy->uuid);
	struct xbdev_lvol_info info;

	if (copy->is_over && copy->err.code == 0) {
		copy->nr_copied = copy->nr_clusters;
	} else if (!copy->is_over && volume != NULL) {
		xbdev__lvol_info(volume, &info);
		copy->nr_copied = info.nr_copied;
	}
	return copy->nr_copied;
}

static void check_copy(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct check_opts *opts = opts_ptr;
	struct copy *copy = find_copy(arg, opts->id);
	json_t *object;

	if (copy == NULL) {
		xrpc_error(req, -ENOENT,
			"no copy has the number %llu, or it has been over for long",
			(unsigned long long)opts->id);
		return;
	}
	object = json_pack("{s:s, s:I, s:I}", "state",
		!copy->is_over        ? "in progress"
		: copy->err.code == 0 ? "complete"
				      : "error",
		"copied_clusters", (json_int_t)look_at(copy), "total_clusters",
		(json_int_t)copy->nr_clusters);
	if (copy->err.code != 0) {
		json_object_set_new(object, "error", json_string(copy->err.text));
	}
	xrpc_result(req, object);
}

const struct xrpc_method xbdev_mgmt_lvol_copy_methods[] = {
	{"bdev_lvol_start_shallow_copy",
		"Begins to copy what a read-only volume has itself to a device.", start_params,
		sizeof(struct start_opts), .fn = start_copy},
	{"bdev_lvol_check_shallow_copy", "Tells how far such a copy is.", check_params,
		sizeof(struct check_opts), .fn = check_copy},
	{0},
};
