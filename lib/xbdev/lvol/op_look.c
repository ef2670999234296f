/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the maps of volumes tell: how much one takes of its own, and where two differ. The owner
 * goes through the clusters a piece at a time, so that I/O is not held up; the volumes are held
 * meanwhile. What is written meanwhile may be in the answer or not. Nothing is read from the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/lvol/op_private.h"

#define PIECE (1u << 16) /* clusters before others have their turn */

struct look {
	void (*usage_fn)(
		void *arg, const struct xbdev_lvol_usage *usage, const struct xu_error *err);
	void (*diff_fn)(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
		const struct xu_error *err);
	void *arg;
	struct xbdev_lvol_usage usage;
	struct xbdev_lvol_extent *extents;
	uint32_t nr_extents, room;
};

static void on_done(void *arg, const struct xu_error *err)
{
	struct look *look = arg;
	bool is_good = err->code == 0;
	/* An empty list is a list. */
	static const struct xbdev_lvol_extent none;

	if (look->usage_fn != NULL) {
		look->usage_fn(look->arg, is_good ? &look->usage : NULL, is_good ? NULL : err);
	} else {
		look->diff_fn(look->arg,
			!is_good                ? NULL
			: look->extents != NULL ? look->extents
						: &none,
			is_good ? look->nr_extents : 0, is_good ? NULL : err);
	}
	free(look->extents);
	free(look);
}

/* NULL: out of memory. */
static struct xbdev_lvol_op *look_new(struct xbdev_lvol_store *store, const struct look *what)
{
	struct look *look = malloc(sizeof(*look));
	struct xbdev_lvol_op *op;

	if (look == NULL) {
		return NULL;
	}
	*look = *what;
	op = xbdev__lvol_op_new_look(store, NULL, look);
	if (op == NULL) {
		free(look);
		return NULL;
	}
	op->done = on_done;
	op->own = look;
	return op;
}

static void go_on(struct xbdev_lvol_op *op, void (*fn)(struct xr_msg *msg))
{
	op->msg.fn = fn;
	xr_msg_defer(op->store->reactor, &op->msg);
}

/* ---- how much it takes ---- */

/* Whether a volume that stands on this one reads this cluster from it. */
static bool is_read_above(const struct xbdev_lvs_blob *blob, uint32_t index)
{
	const struct xu_list *node;

	xu_list_for_each (node, &blob->children) {
		const struct xbdev_lvs_blob *child =
			xu_list_entry(node, struct xbdev_lvs_blob, sibling);

		if (index < child->map.nr_clusters && xbdev__lvs_map_get(&child->map, index) == 0) {
			return true;
		}
	}
	return false;
}

static void count_cluster(
	struct look *look, const struct xbdev_lvs_blob *blob, uint32_t index, uint64_t size)
{
	const struct xbdev_lvs_blob *esnap;
	uint32_t cluster;
	const struct xbdev_lvs_blob *owner = xbdev__lvs_blob_find(blob, index, &cluster, &esnap);

	if (owner == blob && !is_read_above(blob, index)) {
		look->usage.exclusive += size;
	} else if (owner != NULL) {
		look->usage.shared += size;
	}
}

static void on_usage(struct xr_msg *msg)
{
	struct xbdev_lvol_op *op = xu_container_of(msg, struct xbdev_lvol_op, msg);
	const struct xbdev_lvs_blob *blob = op->held->blob;

	for (uint32_t i = 0; i < PIECE && op->at < blob->map.nr_clusters; i++, op->at++) {
		count_cluster(op->own, blob, op->at, xbdev__lvol_cluster_size(op->held));
	}
	if (op->at < blob->map.nr_clusters) {
		go_on(op, on_usage);
	} else {
		xbdev__lvol_op_end(op);
	}
}

static void usage_begin(struct xbdev_lvol_op *op)
{
	on_usage(&op->msg);
}

void xbdev__lvol_usage(struct xbdev_lvol *volume,
	void (*fn)(void *arg, const struct xbdev_lvol_usage *usage, const struct xu_error *err),
	void *arg)
{
	const struct look what = {.usage_fn = fn, .arg = arg};
	struct xbdev_lvol_op *op = look_new(volume->store, &what);
	struct xu_error err;

	if (op == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "looking at '%s'", volume->shown.name);
		fn(arg, NULL, &err);
		return;
	}
	xbdev__lvol_op_hold(op, volume);
	xbdev__lvol_op_start(op, usage_begin);
}

/* ---- where two differ ---- */

/* Where a cluster is read from; two that are equal read the same. */
struct origin {
	uint32_t cluster; /* 0: none */
	const struct xbdev_lvs_xattr *esnap;
};

static struct origin origin_of(const struct xbdev_lvs_blob *blob, uint32_t index)
{
	const struct xbdev_lvs_blob *esnap;
	struct origin origin = {0};

	xbdev__lvs_blob_find(blob, index, &origin.cluster, &esnap);
	origin.esnap = esnap != NULL ? esnap->esnap : NULL;
	return origin;
}

static bool is_equal(const struct origin *a, const struct origin *b)
{
	if (a->cluster != b->cluster || (a->esnap == NULL) != (b->esnap == NULL)) {
		return false;
	}
	return a->esnap == b->esnap ||
	       (a->esnap->value_len == b->esnap->value_len &&
		       memcmp(xbdev__lvs_xattr_value(a->esnap), xbdev__lvs_xattr_value(b->esnap),
			       a->esnap->value_len) == 0);
}

static int add_extent(struct look *look, uint64_t offset, uint64_t len)
{
	struct xbdev_lvol_extent *last =
		look->nr_extents > 0 ? &look->extents[look->nr_extents - 1] : NULL;

	if (last != NULL && last->offset + last->len == offset) {
		last->len += len;
		return 0;
	}
	if (look->nr_extents == look->room) {
		uint32_t room = look->room != 0 ? look->room * 2 : 64;
		struct xbdev_lvol_extent *extents =
			realloc(look->extents, room * sizeof(extents[0]));

		if (extents == NULL) {
			return -ENOMEM;
		}
		look->extents = extents;
		look->room = room;
	}
	look->extents[look->nr_extents++] = (struct xbdev_lvol_extent){offset, len};
	return 0;
}

static void on_diff(struct xr_msg *msg)
{
	struct xbdev_lvol_op *op = xu_container_of(msg, struct xbdev_lvol_op, msg);
	const struct xbdev_lvs_blob *a = op->held->blob, *b = op->held_too->blob;
	uint32_t end =
		a->map.nr_clusters > b->map.nr_clusters ? a->map.nr_clusters : b->map.nr_clusters;
	uint64_t size = xbdev__lvol_cluster_size(op->held);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < PIECE && op->at < end; i++, op->at++) {
		struct origin of_a = origin_of(a, op->at), of_b = origin_of(b, op->at);

		if (!is_equal(&of_a, &of_b)) {
			rc = add_extent(op->own, op->at * size, size);
		}
	}
	if (rc != 0) {
		xu_error_set_errno(&op->err, rc, "comparing '%s' and '%s'", a->name, b->name);
	}
	if (rc == 0 && op->at < end) {
		go_on(op, on_diff);
	} else {
		xbdev__lvol_op_end(op);
	}
}

static void diff_begin(struct xbdev_lvol_op *op)
{
	on_diff(&op->msg);
}

void xbdev__lvol_diff(struct xbdev_lvol *a, struct xbdev_lvol *b,
	void (*fn)(void *arg, const struct xbdev_lvol_extent *extents, uint32_t nr_extents,
		const struct xu_error *err),
	void *arg)
{
	const struct look what = {.diff_fn = fn, .arg = arg};
	struct xbdev_lvol_op *op = look_new(a->store, &what);
	struct xu_error err;

	if (op == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "looking at '%s'", a->shown.name);
		fn(arg, NULL, 0, &err);
		return;
	}
	if (op->err.code == 0 && a->store != b->store) {
		xu_error_set(&op->err, -EINVAL,
			"'%s' and '%s' are of two stores; only those of one can be compared",
			a->shown.name, b->shown.name);
	}
	xbdev__lvol_op_hold(op, a);
	xbdev__lvol_op_hold(op, b);
	xbdev__lvol_op_start(op, diff_begin);
}
