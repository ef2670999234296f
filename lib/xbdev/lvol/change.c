/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of which clusters a volume has, made by its I/O.
 *
 * A write to clusters that the volume does not have:
 *   1. clusters are taken, in memory only
 *   2. the parts of the first and the last that the write does not cover get what the volume has
 *      there: copied from the volume below, else zeroed
 *   3. the write's own data
 *   4. the map, in memory, and its pages on disk (write.c, which flushes 2 and 3 first)
 *   5. the write is acknowledged
 * Power that goes before 4 is on disk leaves the map as it was, and the clusters are free at the
 * next load: the block reads as before the write. From 4 on it has all of 1 to 3. Data comes before
 * the map, so no reader ever sees what a cluster held for somebody else.
 *
 * A fill (inflating and decoupling volumes) is a write of clusters none of which it covers.
 *
 * A discard of whole clusters that no volume below has data for, with the volume for itself:
 *   1. the map, in memory and on disk
 *   2. the clusters are discarded below, and free
 * Before 1 is on disk nobody else can have got them; power that goes leaves the one or the other.
 *
 * A change keeps other writes off its clusters until it has ended. Reads see the new place from 4
 * on and the old one before. What fails before 4 gives its clusters back and is the write's error.
 * When 4 fails the write has failed, but its clusters stay in the map: the disk may list them, and
 * the next commit writes them again.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/lvol/volume.h"

#define RETRY_NS XU_NS_PER_MS

static uint32_t first_of(const struct xbdev_lvol_req *req)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);

	return (uint32_t)(io->offset / xbdev__lvol_cluster_size(req->volume));
}

static uint32_t last_of(const struct xbdev_lvol_req *req)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);

	return (uint32_t)((io->offset + io->len - 1) / xbdev__lvol_cluster_size(req->volume));
}

static bool has_below(const struct xbdev_lvol *volume, uint32_t index)
{
	return xbdev__lvol_below(volume->blob, index, NULL);
}

bool xbdev__lvol_parent_has(const struct xbdev_lvs_blob *blob, uint32_t index)
{
	const struct xbdev_lvs_blob *parent = blob->parent;

	if (parent == NULL) {
		return xbdev__lvol_below(blob, index, NULL); /* from outside, or nothing */
	}
	/* Beyond its end it hides what it stands on. */
	return index < parent->map.nr_clusters ? xbdev__lvs_map_get(&parent->map, index) != 0
					       : xbdev__lvol_below(parent, index, NULL);
}

static bool needs_cluster(const struct xbdev_lvol_req *req, uint32_t index)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);

	if (req->fill == XBDEV_LVOL_FILL_PARENT &&
		!xbdev__lvol_parent_has(req->volume->blob, index)) {
		return false;
	}
	return xbdev__lvs_map_get(&req->volume->blob->map, index) == 0 &&
	       (io->op == XBDEV_OP_WRITE || has_below(req->volume, index));
}

bool xbdev__lvol_needs_change(const struct xbdev_lvol_req *req)
{
	uint32_t last = last_of(req);

	for (uint32_t index = first_of(req); index <= last; index++) {
		if (needs_cluster(req, index)) {
			return true;
		}
	}
	return false;
}

struct xbdev_lvol_change *xbdev__lvol_change_over(const struct xbdev_lvol_req *req)
{
	uint32_t first = first_of(req), last = last_of(req);
	struct xu_list *node;

	xu_list_for_each (node, &req->volume->changes) {
		struct xbdev_lvol_change *change =
			xu_list_entry(node, struct xbdev_lvol_change, link);

		if (first < change->first + change->count && change->first <= last) {
			return change;
		}
	}
	return NULL;
}

/* ---- its life ---- */

static struct xbdev_lvol_change *change_new(struct xbdev_lvol_req *req)
{
	struct xbdev_lvol_change *change = xu_pool_get(&req->volume->store->changes);

	if (change == NULL) {
		return NULL;
	}
	change->volume = req->volume;
	change->req = req;
	change->first = first_of(req);
	change->count = last_of(req) - change->first + 1;
	assert(change->count <= XBDEV_LVOL_MAX_CHANGE);
	memset(change->clusters, 0, change->count * sizeof(change->clusters[0]));
	change->nr_edges = change->edge = 0;
	xu_list_init(&change->behind);
	xu_list_add_tail(&req->volume->changes, &change->link);
	req->change = change;
	return change;
}

/* Lets those behind it begin. The request is the caller's to end. */
static void change_free(struct xbdev_lvol_change *change)
{
	struct xbdev_lvol_store *store = change->volume->store;
	struct xu_list line, *node;

	change->req->change = NULL;
	xu_list_del(&change->link);
	xu_list_init(&line);
	xu_list_splice_tail(&line, &change->behind);
	xu_pool_put(&store->changes, change);
	while ((node = xu_list_pop(&line)) != NULL) {
		xbdev__lvol_admit(xu_list_entry(node, struct xbdev_lvol_req, link));
	}
	if (!xu_list_is_empty(&store->starved)) {
		xbdev__lvol_wake(store);
	}
}

static void finish(struct xbdev_lvol_change *change, int status)
{
	struct xbdev_lvol_req *req = change->req;

	change_free(change);
	xbdev__lvol_finish(req, status);
}

static void try_later(struct xbdev_lvol_change *change, void (*fn)(struct xr_timer *timer))
{
	change->retry.fn = fn;
	xr_timer_start(change->volume->store->reactor, &change->retry, RETRY_NS);
}

/* Nothing of it is on disk, and nothing is under way to its clusters. */
static void undo(struct xbdev_lvol_change *change, int status)
{
	for (uint32_t i = 0; i < change->count; i++) {
		if (change->clusters[i] != 0) {
			xbdev__lvs_cluster_free(change->volume->store->lvs, change->clusters[i]);
		}
	}
	finish(change, status);
}

/* ---- taking clusters ---- */

static void add_edge(struct xbdev_lvol_change *change, uint64_t at, uint64_t end)
{
	if (at < end) {
		change->edges[change->nr_edges++] =
			(struct xbdev_lvol_edge){.at = at, .len = end - at};
	}
}

/* The next cluster of a fill: all of it is an edge. */
static void next_filled(struct xbdev_lvol_change *change)
{
	uint64_t size = xbdev__lvol_cluster_size(change->volume), at;
	uint32_t i = change->filled;

	while (i < change->count && change->clusters[i] == 0) {
		i++;
	}
	change->filled = i + 1;
	change->edge = change->nr_edges = 0;
	if (i < change->count) {
		at = (change->first + i) * size;
		add_edge(change, at, at + size);
	}
}

/* What of the first and the last cluster is not the request's. */
static void find_edges(struct xbdev_lvol_change *change)
{
	const struct xbdev_io *io = xbdev_io_of_driver(change->req);
	uint64_t size = xbdev__lvol_cluster_size(change->volume);

	if (change->req->fill != XBDEV_LVOL_NO_FILL) {
		change->filled = 0;
		next_filled(change);
		return;
	}
	if (change->clusters[0] != 0) {
		add_edge(change, change->first * size, io->offset);
	}
	if (change->clusters[change->count - 1] != 0) {
		add_edge(change, io->offset + io->len, (change->first + change->count) * size);
	}
}

/* Clusters that the request would take. */
static uint32_t count_needed(const struct xbdev_lvol_req *req)
{
	uint32_t last = last_of(req), nr = 0;

	for (uint32_t index = first_of(req); index <= last; index++) {
		nr += needs_cluster(req, index);
	}
	return nr;
}

bool xbdev__lvol_change_begin(struct xbdev_lvol_req *req)
{
	struct xbdev_lvs *lvs = req->volume->store->lvs;
	struct xbdev_lvol_change *change;

	/* None is taken unless all are there: who waits keeps nothing from others. */
	if (lvs->read_only_reason.code == 0 && xbdev__lvs_free_clusters(lvs) < count_needed(req)) {
		if (!xbdev__lvol_space_wait(req)) {
			xbdev__lvol_end(req, -ENOSPC);
		}
		return true;
	}
	change = change_new(req);
	if (change == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < change->count; i++) {
		if (!needs_cluster(req, change->first + i)) {
			continue;
		}
		change->clusters[i] = xbdev__lvs_cluster_take(lvs);
		if (change->clusters[i] == 0) {
			undo(change, lvs->read_only_reason.code != 0 ? -EROFS : -ENOSPC);
			return true;
		}
	}
	find_edges(change);
	xbdev__lvol_change_go_on(change);
	return true;
}

/* ---- what the request does not cover ---- */

static void on_retry(struct xr_timer *timer)
{
	xbdev__lvol_change_go_on(xu_container_of(timer, struct xbdev_lvol_change, retry));
}

/* Byte below where the change has a byte of the volume. */
static uint64_t place_of_edge(const struct xbdev_lvol_change *change)
{
	uint64_t at = change->edges[change->edge].at,
		 size = xbdev__lvol_cluster_size(change->volume);

	return xbdev__lvs_cluster_at(
		       change->volume->store->lvs, change->clusters[at / size - change->first]) +
	       at % size;
}

/* So much of the edge is done. */
static void advance(struct xbdev_lvol_change *change, uint64_t len)
{
	struct xbdev_lvol_edge *edge = &change->edges[change->edge];

	edge->at += len;
	edge->len -= len;
	if (edge->len == 0) {
		change->edge++;
		if (change->req->fill != XBDEV_LVOL_NO_FILL) {
			next_filled(change);
		}
	}
	xbdev__lvol_change_go_on(change);
}

static void on_zeroed(struct xbdev_lvol_child *child, int status)
{
	struct xbdev_lvol_change *change = child->arg;

	xbdev__lvol_child_put(child);
	if (status != 0) {
		undo(change, status);
		return;
	}
	advance(change, change->edges[change->edge].len);
}

static void put_copy(struct xbdev_lvol_change *change)
{
	xu_bufpool_put(xr_reactor_buffers(change->volume->store->reactor), change->copy.iov_base,
		change->copy.iov_len);
}

static void on_copy_written(struct xbdev_lvol_child *child, int status)
{
	struct xbdev_lvol_change *change = child->arg;

	xbdev__lvol_child_put(child);
	put_copy(change);
	if (status != 0) {
		undo(change, status);
		return;
	}
	advance(change, change->copy.iov_len);
}

static void on_copy_read(struct xbdev_lvol_child *child, int status)
{
	struct xbdev_lvol_change *change = child->arg;

	if (status != 0) {
		xbdev__lvol_child_put(child);
		put_copy(change);
		undo(change, status);
		return;
	}
	child->iov[0] = change->copy;
	child->io.ch = child->store->ch;
	child->io.op = XBDEV_OP_WRITE;
	child->io.len = change->copy.iov_len;
	xbdev__lvol_child_send(child, place_of_edge(change), on_copy_written, change);
}

static void copy(struct xbdev_lvol_change *change, struct xbdev_lvol_child *child,
	const struct xbdev_lvol_source *from)
{
	struct xbdev_lvol_store *store = change->volume->store;
	uint64_t left = change->edges[change->edge].len;
	size_t len = left < XBDEV_LVOL_COPY_BYTES ? left : XBDEV_LVOL_COPY_BYTES;
	size_t len_there = from->end - from->at < len ? from->end - from->at : len;

	change->copy = (struct iovec){xu_bufpool_get(xr_reactor_buffers(store->reactor), len), len};
	if (change->copy.iov_base == NULL) {
		xbdev__lvol_child_put(child);
		try_later(change, on_retry);
		return;
	}
	memset((char *)change->copy.iov_base + len_there, 0, len - len_there);
	child->iov[0] = (struct iovec){change->copy.iov_base, len_there};
	child->io.nr_iov = 1;
	child->io.ch = from->ch;
	child->io.op = XBDEV_OP_READ;
	child->io.len = len_there;
	xbdev__lvol_child_send(child, from->at, on_copy_read, change);
}

void xbdev__lvol_change_go_on(struct xbdev_lvol_change *change)
{
	uint64_t at, size = xbdev__lvol_cluster_size(change->volume);
	struct xbdev_lvol_source from;
	struct xbdev_lvol_child *child;

	if (xbdev__lvol_change_is_ready(change)) {
		xbdev__lvol_run(change->req);
		return;
	}
	at = change->edges[change->edge].at;
	child = xbdev__lvol_child_get(change->volume->store);
	if (child == NULL) {
		xbdev__lvol_starve(change->req);
		return;
	}
	if (xbdev__lvol_below(change->volume->blob, (uint32_t)(at / size), &from) &&
		from.end - from.at > at % size) {
		from.at += at % size;
		copy(change, child, &from);
		return;
	}
	child->io.op = XBDEV_OP_WRITE_ZEROES;
	child->io.len = change->edges[change->edge].len;
	xbdev__lvol_child_send(child, place_of_edge(change), on_zeroed, change);
}

/* ---- the map ---- */

static void on_committed(struct xbdev_lvs_waiter *waiter, int status)
{
	finish(xu_container_of(waiter, struct xbdev_lvol_change, waiter), status);
}

/* Marks the leaves of the clusters that change; one that is made gets its page. */
static int touch(struct xbdev_lvol_change *change)
{
	struct xbdev_lvs_blob *blob = change->volume->blob;
	uint32_t first = change->first / XBDEV_LVS_LEAF_CLUSTERS;
	uint32_t last = (change->first + change->count - 1) / XBDEV_LVS_LEAF_CLUSTERS;

	for (uint32_t slot = first; slot <= last; slot++) {
		struct xbdev_lvs_leaf *leaf = xbdev__lvs_map_leaf(&blob->map, slot);
		struct xu_error err;
		int rc;

		if (leaf == NULL) {
			return -ENOMEM;
		}
		leaf->count = (uint16_t)xbdev__lvs_slot_count(blob->map.nr_clusters, slot);
		rc = xbdev__lvs_leaf_touch(blob, slot, &err);
		if (rc != 0) {
			xu_warn(xbdev_ctx_log(change->volume->store->ctx), "%s", err.text);
			return rc;
		}
	}
	return 0;
}

/* Enters the clusters into the map; an error: none of them is. */
static int enter(struct xbdev_lvol_change *change)
{
	int rc = touch(change);

	for (uint32_t i = 0; i < change->count && rc == 0; i++) {
		if (change->clusters[i] != 0) {
			xbdev__lvs_map_set(
				&change->volume->blob->map, change->first + i, change->clusters[i]);
		}
	}
	xbdev__lvol_count(change->volume);
	return rc;
}

void xbdev__lvol_change_data_done(struct xbdev_lvol_req *req)
{
	struct xbdev_lvol_change *change = req->change;
	int rc = req->status != 0 ? req->status : enter(change);

	if (rc != 0) {
		undo(change, rc);
		return;
	}
	change->waiter.fn = on_committed;
	xbdev__lvs_commit(change->volume->store->lvs, &change->waiter);
}

/* ---- giving clusters back ---- */

bool xbdev__lvol_is_freed(const struct xbdev_lvol_req *req, uint32_t index)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);
	const struct xbdev_lvol *volume = req->volume;
	uint64_t size = xbdev__lvol_cluster_size(volume), at = index * size;

	return io->op == XBDEV_OP_DISCARD && !volume->is_filling && io->offset <= at &&
	       at + size <= io->offset + io->len && xbdev__lvs_blob_is_thin(volume->blob) &&
	       xbdev__lvs_map_get(&volume->blob->map, index) != 0 && !has_below(volume, index);
}

uint32_t xbdev__lvol_nr_freed(const struct xbdev_lvol_req *req)
{
	uint32_t last = last_of(req), nr = 0;

	for (uint32_t index = first_of(req); index <= last; index++) {
		nr += xbdev__lvol_is_freed(req, index);
	}
	return nr;
}

/* What was to be given back may have to stay now, and has not been zeroed. */
static bool begins_anew(const struct xbdev_lvol_req *req)
{
	return xbdev__lvol_needs_change(req) || xbdev__lvol_nr_freed(req) != req->nr_freed;
}

static void begin_anew(struct xbdev_lvol_req *req)
{
	req->is_freeing = false;
	req->next = 0;
	req->nr_pending = 1;
	xbdev__lvol_admit(req);
}

static void free_done(struct xbdev_lvol_change *change, int status)
{
	struct xbdev_lvol_req *req = change->req;

	xbdev__lvol_exclusive_give(change->volume, &change->exclusive);
	change_free(change);
	xbdev__lvol_complete(req, status);
}

static void discard_next(struct xbdev_lvol_change *change);

static void on_discarded(struct xbdev_lvol_child *child, int status)
{
	struct xbdev_lvol_change *change = child->arg;

	/* Whether the device below did it or not: the clusters are zeroed where that matters, when
	 * they are used again. */
	(void)status;
	xbdev__lvol_child_put(child);
	while (change->edge < change->nr_edges) {
		xbdev__lvs_cluster_free(
			change->volume->store->lvs, change->clusters[change->edge++]);
	}
	discard_next(change);
}

static void on_discard_retry(struct xr_timer *timer)
{
	discard_next(xu_container_of(timer, struct xbdev_lvol_change, retry));
}

/* Discards and then frees the next run of clusters: those from `edge` up to `nr_edges`. */
static void discard_next(struct xbdev_lvol_change *change)
{
	struct xbdev_lvol_store *store = change->volume->store;
	const uint32_t *clusters = change->clusters;
	struct xbdev_lvol_child *child;
	uint32_t begin = change->edge, end;

	while (begin < change->count && clusters[begin] == 0) {
		begin++;
	}
	if (begin == change->count) {
		free_done(change, 0);
		return;
	}
	child = xbdev__lvol_child_get(store);
	if (child == NULL) {
		try_later(change, on_discard_retry);
		return;
	}
	end = begin + 1;
	while (end < change->count && clusters[end] == clusters[end - 1] + 1) {
		end++;
	}
	change->edge = begin;
	change->nr_edges = end;
	child->io.op = XBDEV_OP_DISCARD;
	child->io.len = (uint64_t)(end - begin) * xbdev__lvol_cluster_size(change->volume);
	xbdev__lvol_child_send(
		child, xbdev__lvs_cluster_at(store->lvs, clusters[begin]), on_discarded, change);
}

static void on_freed(struct xbdev_lvs_waiter *waiter, int status)
{
	struct xbdev_lvol_change *change =
		xu_container_of(waiter, struct xbdev_lvol_change, waiter);

	if (status == 0) {
		discard_next(change);
		return;
	}
	/* The disk may have the one or the other. As nothing was discarded, both are right: the
	 * marks are still there, and the next commit writes that the clusters are the volume's. */
	for (uint32_t i = 0; i < change->count; i++) {
		if (change->clusters[i] != 0) {
			xbdev__lvs_map_set(
				&change->volume->blob->map, change->first + i, change->clusters[i]);
		}
	}
	xbdev__lvol_count(change->volume);
	free_done(change, status);
}

/* Nothing is in flight: what is freed now was not taken by a snapshot meanwhile, nor is it kept as
 * the volume is being filled, or it begins anew. */
static void on_exclusive(struct xbdev_lvol_exclusive *exclusive)
{
	struct xbdev_lvol_change *change =
		xu_container_of(exclusive, struct xbdev_lvol_change, exclusive);
	struct xbdev_lvol_req *req = change->req;
	struct xbdev_lvol *volume = change->volume;
	int rc;

	if (begins_anew(req)) {
		xbdev__lvol_exclusive_give(volume, exclusive);
		change_free(change);
		begin_anew(req);
		return;
	}
	rc = touch(change);
	if (rc != 0) {
		free_done(change, rc);
		return;
	}
	for (uint32_t i = 0; i < change->count; i++) {
		if (xbdev__lvol_is_freed(req, change->first + i)) {
			change->clusters[i] =
				xbdev__lvs_map_set(&volume->blob->map, change->first + i, 0);
		}
	}
	xbdev__lvol_count(volume);
	change->waiter.fn = on_freed;
	xbdev__lvs_commit(volume->store->lvs, &change->waiter);
}

bool xbdev__lvol_free_begin(struct xbdev_lvol_req *req)
{
	struct xbdev_lvol *volume = req->volume;
	struct xbdev_lvol_change *change;

	if (begins_anew(req)) {
		xbdev__lvol_uncount(volume);
		begin_anew(req);
		return true;
	}
	if (req->nr_freed == 0) {
		xbdev__lvol_end(req, 0);
		return true;
	}
	change = change_new(req);
	if (change == NULL) {
		return false;
	}
	change->exclusive.fn = on_exclusive;
	xbdev__lvol_uncount(volume);
	xbdev__lvol_exclusive_take(volume, &change->exclusive);
	return true;
}
