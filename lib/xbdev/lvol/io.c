/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a volume does with an I/O.
 *
 *   READ, WRITE within one cluster that lies below: the I/O itself goes on to the device below
 *   READ    each run of clusters that lie one behind the other below is one child; what no volume
 *           of the chain has is zeroes, without I/O
 *   WRITE, WRITE_ZEROES, DISCARD
 *           where the volume has its own clusters: children; else first a change (change.c) that
 *           takes clusters, or gives them back; I/Os of the same clusters wait behind it
 *   FLUSH   one child: whatever was acknowledged is below, its metadata too
 *
 * A volume that somebody wants for himself (snapshot, discard, removal of clusters) holds what is
 * new until what is in flight has ended and he has given it back.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/xbdev/lvol/volume.h"

/* Where a cluster lies. */
struct place {
	uint32_t cluster;                   /* 0: not in the store, or it is not to be touched */
	const struct xbdev_lvs_blob *esnap; /* on the device of this one; NULL: it does not */
};

/* What becomes of the bytes from one place of a volume on. */
struct piece {
	struct xbdev_channel *ch; /* of the device below; NULL: they lie nowhere */
	uint64_t at;              /* byte of it */
	uint64_t len;             /* bytes that all have it so */
	bool is_missing;          /* the device is not there */
};

static bool is_change(const struct xbdev_io *io)
{
	return io->op == XBDEV_OP_WRITE || io->op == XBDEV_OP_WRITE_ZEROES ||
	       io->op == XBDEV_OP_DISCARD;
}

/* ---- lines ---- */

static struct xbdev_lvol_req *req_of_line(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_lvol_req, link);
}

void xbdev__lvol_starve(struct xbdev_lvol_req *req)
{
	xu_list_add_tail(&req->volume->store->starved, &req->link);
}

/* Goes on with a request that was starved: of children, or of room for a change. */
static void go_on(struct xbdev_lvol_req *req);

void xbdev__lvol_wake(struct xbdev_lvol_store *store)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&store->starved)) != NULL) {
		go_on(req_of_line(node));
		if (store->starved.prev == node) {
			break; /* it has to wait on */
		}
	}
}

/* ---- what is below a volume ---- */

bool xbdev__lvol_below(
	const struct xbdev_lvs_blob *blob, uint32_t index, struct xbdev_lvol_source *ret)
{
	const struct xbdev_lvol_store *store = blob->store->owner;
	const struct xbdev_lvs_blob *esnap = blob->esnap != NULL ? blob : NULL;
	uint32_t cluster;

	if (blob->parent == NULL && esnap == NULL) {
		return false;
	}
	if (esnap != NULL || xbdev__lvs_blob_find(blob->parent, index, &cluster, &esnap) == NULL) {
		return esnap != NULL && xbdev__lvol_esnap_source(esnap, index, ret);
	}
	if (ret != NULL) {
		*ret = (struct xbdev_lvol_source){.ch = store->ch,
			.at = xbdev__lvs_cluster_at(blob->store, cluster),
			.end = UINT64_MAX};
	}
	return true;
}

uint32_t xbdev__lvol_below_end(const struct xbdev_lvs_blob *blob)
{
	const struct xbdev_lvol_esnap *esnap = xbdev__lvol_esnap_here(blob);
	uint64_t size = blob->store->super.cluster_size;

	if (esnap != NULL) {
		uint64_t end = (esnap->size + size - 1) / size;

		return end < UINT32_MAX ? (uint32_t)end : UINT32_MAX;
	}
	return blob->parent != NULL ? blob->parent->map.nr_clusters : 0;
}

/* ---- children ---- */

int xbdev__lvol_io_init(struct xbdev_lvol_store *store)
{
	uint32_t size = store->lvs->super.cluster_size;
	int rc;

	xu_list_init(&store->starved);
	store->cluster_shift = (size & (size - 1)) == 0 ? (uint32_t)__builtin_ctz(size) : 0;
	xbdev__lvol_space_init(store);
	rc = xu_pool_init(
		&store->children, XBDEV_LVOL_NR_CHILDREN, sizeof(struct xbdev_lvol_child));
	if (rc != 0) {
		return rc;
	}
	rc = xu_pool_init(&store->changes, XBDEV_LVOL_NR_CHANGES, sizeof(struct xbdev_lvol_change));
	if (rc != 0) {
		xu_pool_fini(&store->children);
	}
	return rc;
}

void xbdev__lvol_io_fini(struct xbdev_lvol_store *store)
{
	xbdev__lvol_space_fini(store);
	xu_pool_fini(&store->children);
	xu_pool_fini(&store->changes);
}

struct xbdev_lvol_child *xbdev__lvol_child_get(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_child *child = xu_pool_get(&store->children);

	if (child != NULL) {
		child->store = store;
		child->io.ch = store->ch;
		child->io.flags = 0;
		child->io.nr_iov = 0;
	}
	return child;
}

void xbdev__lvol_child_put(struct xbdev_lvol_child *child)
{
	struct xbdev_lvol_store *store = child->store;

	xu_pool_put(&store->children, child);
	if (!xu_list_is_empty(&store->starved)) {
		xbdev__lvol_wake(store);
	}
}

static void on_child_done(struct xbdev_io *io, int status)
{
	struct xbdev_lvol_child *child = io->cb_arg;

	child->done(child, status);
}

static void on_child_refused(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, msg);

	on_child_done(io, io->status);
}

void xbdev__lvol_child_send(struct xbdev_lvol_child *child, uint64_t at,
	void (*done)(struct xbdev_lvol_child *child, int status), void *arg)
{
	struct xbdev_io *io = &child->io;
	int rc;

	child->done = done;
	child->arg = arg;
	io->cb = on_child_done;
	io->cb_arg = child;
	io->iov = child->iov;
	io->offset = at;
	rc = xbdev_io_submit(io);
	if (rc != 0) {
		io->status = rc;
		io->msg.fn = on_child_refused;
		xr_msg_defer(child->store->reactor, &io->msg);
	}
}

static void zero(const struct xbdev_io *io, uint64_t skip, uint64_t len)
{
	for (uint32_t i = 0; i < io->nr_iov && len > 0; i++) {
		const struct iovec *iov = &io->iov[i];
		uint64_t take;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		take = iov->iov_len - skip < len ? iov->iov_len - skip : len;
		memset((char *)iov->iov_base + skip, 0, take);
		len -= take;
		skip = 0;
	}
}

/* ---- the end of a request ---- */

static void give_to_next(struct xbdev_lvol *volume);

void xbdev__lvol_uncount(struct xbdev_lvol *volume)
{
	volume->nr_reqs--;
	if (volume->nr_reqs == 0 && !xu_list_is_empty(&volume->exclusives)) {
		give_to_next(volume);
	}
}

void xbdev__lvol_complete(struct xbdev_lvol_req *req, int status)
{
	if (req->fill != XBDEV_LVOL_NO_FILL) {
		struct xbdev_io *io = xbdev__lvol_io_of(req);

		io->status = status;
		xr_msg_defer(req->volume->store->reactor, &io->msg);
	} else if (req->is_in_submit) {
		xbdev_io_complete_later(xbdev__lvol_io_of(req), status);
	} else {
		xbdev_io_complete(xbdev__lvol_io_of(req), status);
	}
}

void xbdev__lvol_end(struct xbdev_lvol_req *req, int status)
{
	struct xbdev_lvol *volume = req->volume;

	xbdev__lvol_complete(req, status);
	xbdev__lvol_uncount(volume);
}

void xbdev__lvol_finish(struct xbdev_lvol_req *req, int status)
{
	if (status == 0 && !req->is_freeing && xbdev__lvol_io_of(req)->op == XBDEV_OP_DISCARD) {
		req->is_freeing = true;
		go_on(req);
	} else {
		xbdev__lvol_end(req, status);
	}
}

void xbdev__lvol_req_put(struct xbdev_lvol_req *req, int status)
{
	if (status != 0 && req->status == 0) {
		req->status = status;
	}
	if (--req->nr_pending > 0) {
		return;
	}
	if (req->change != NULL) {
		xbdev__lvol_change_data_done(req);
	} else {
		xbdev__lvol_finish(req, req->status);
	}
}

static void on_data_done(struct xbdev_lvol_child *child, int status)
{
	struct xbdev_lvol_req *req = child->arg;

	/* The request first: what is starved begins behind it. */
	xbdev__lvol_req_put(req, status);
	xbdev__lvol_child_put(child);
}

/* ---- giving it to the device below ---- */

static struct place place_of(const struct xbdev_lvol_req *req, uint32_t index)
{
	struct xbdev_lvol *volume = req->volume;
	struct place place = {.cluster = xbdev__lvs_map_get(&volume->blob->map, index)};

	if (!is_change(xbdev_io_of_driver(req))) {
		if (place.cluster == 0 &&
			(volume->blob->parent != NULL || volume->blob->esnap != NULL)) {
			place.cluster = xbdev__lvol_place_below(volume, index, &place.esnap);
		}
	} else if (req->change != NULL && req->change->clusters[index - req->change->first] != 0) {
		place.cluster = req->change->clusters[index - req->change->first];
	} else if (xbdev__lvol_is_freed(req, index)) {
		place.cluster = 0;
	}
	return place;
}

/* Of a run of clusters that are on a device outside: their bytes have the same places there. */
static struct piece piece_outside(const struct xbdev_lvs_blob *blob, uint64_t at, uint64_t len)
{
	const struct xbdev_lvol_esnap *esnap = xbdev__lvol_esnap_here(blob);

	if (esnap == NULL) {
		return (struct piece){.is_missing = true};
	}
	if (at >= esnap->size) {
		return (struct piece){.len = len};
	}
	return (struct piece){
		.ch = esnap->ch, .at = at, .len = esnap->size - at < len ? esnap->size - at : len};
}

static struct piece piece_at(const struct xbdev_lvol_req *req, uint64_t at, uint64_t len)
{
	const struct xbdev_lvol_store *store = req->volume->store;
	uint32_t size = xbdev__lvol_cluster_size(req->volume), index = (uint32_t)(at / size);
	struct place first = place_of(req, index), next, place;
	uint64_t within = at % size, got = size - within;

	for (next = first; got < len; got += size) {
		next.cluster += next.cluster != 0;
		place = place_of(req, ++index);
		if (place.cluster != next.cluster || place.esnap != next.esnap) {
			break;
		}
	}
	got = got < len ? got : len;
	if (first.esnap != NULL) {
		return piece_outside(first.esnap, at, got);
	}
	return (struct piece){
		.ch = first.cluster != 0 ? store->ch : NULL,
		.at = xbdev__lvs_cluster_at(store->lvs, first.cluster) + within,
		.len = got,
	};
}

/* Gives out a part that lies somewhere; false: there is no child for it. */
static bool send_piece(struct xbdev_lvol_req *req, const struct piece *piece)
{
	const struct xbdev_io *io = xbdev__lvol_io_of(req);
	struct xbdev_lvol_child *child = xbdev__lvol_child_get(req->volume->store);

	if (child == NULL) {
		return false;
	}
	child->io.ch = piece->ch;
	child->io.op = io->op == XBDEV_OP_DISCARD ? XBDEV_OP_WRITE_ZEROES : io->op;
	child->io.flags = io->flags;
	child->io.len = piece->len;
	if (io->nr_iov > 0) {
		child->io.len = xbdev_iov_slice(io->iov, io->nr_iov, req->next, piece->len,
			child->iov, XBDEV_LVOL_MAX_IOV, &child->io.nr_iov);
	}
	req->next += child->io.len;
	req->nr_pending++;
	xbdev__lvol_child_send(child, piece->at, on_data_done, req);
	return true;
}

void xbdev__lvol_run(struct xbdev_lvol_req *req)
{
	const struct xbdev_io *io = xbdev__lvol_io_of(req);

	if (io->op == XBDEV_OP_DISCARD && req->next == 0) {
		req->nr_freed = xbdev__lvol_nr_freed(req);
	}
	while (req->next < io->len) {
		struct piece piece = piece_at(req, io->offset + req->next, io->len - req->next);

		if (piece.is_missing) {
			xbdev__lvol_req_put(req, -ENODEV);
			return;
		}
		if (piece.ch != NULL) {
			if (!send_piece(req, &piece)) {
				xbdev__lvol_starve(req);
				return;
			}
			continue;
		}
		if (io->op == XBDEV_OP_READ) {
			zero(io, req->next, piece.len);
		}
		req->next += piece.len;
	}
	xbdev__lvol_req_put(req, 0);
}

static void flush(struct xbdev_lvol_req *req)
{
	struct xbdev_lvol_child *child = xbdev__lvol_child_get(req->volume->store);

	if (child == NULL) {
		xbdev__lvol_starve(req);
		return;
	}
	child->io.op = XBDEV_OP_FLUSH;
	child->io.len = 0;
	xbdev__lvol_child_send(child, 0, on_data_done, req);
}

/* ---- the beginning ---- */

static void go_on(struct xbdev_lvol_req *req)
{
	const struct xbdev_io *io = xbdev__lvol_io_of(req);
	bool has_begun = true;

	if (io->op == XBDEV_OP_FLUSH) {
		flush(req);
	} else if (req->change != NULL && !xbdev__lvol_change_is_ready(req->change)) {
		xbdev__lvol_change_go_on(req->change);
	} else if (req->is_freeing) {
		has_begun = xbdev__lvol_free_begin(req);
	} else if (is_change(io) && req->change == NULL &&
		   (req->next == 0 || req->fill != XBDEV_LVOL_NO_FILL) &&
		   xbdev__lvol_needs_change(req)) {
		has_begun = xbdev__lvol_change_begin(req);
	} else {
		xbdev__lvol_run(req);
	}
	if (!has_begun) {
		xbdev__lvol_starve(req);
	}
}

/* It was on its way when the volume got smaller. */
static bool is_beyond(const struct xbdev_lvol_req *req)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);

	return io->offset + io->len > xbdev__lvs_blob_size(req->volume->blob);
}

void xbdev__lvol_admit(struct xbdev_lvol_req *req)
{
	struct xbdev_lvol *volume = req->volume;
	struct xbdev_lvol_change *change = NULL;

	if (!xu_list_is_empty(&volume->exclusives)) {
		xu_list_add_tail(&volume->held, &req->link);
		return;
	}
	if (is_beyond(req)) {
		xbdev__lvol_complete(req, -EINVAL);
		return;
	}
	if (is_change(xbdev__lvol_io_of(req)) && !xu_list_is_empty(&volume->changes)) {
		change = xbdev__lvol_change_over(req);
	}
	if (change != NULL) {
		xu_list_add_tail(&change->behind, &req->link);
		return;
	}
	volume->nr_reqs++;
	go_on(req);
}

/* The cluster below that has all of a READ or WRITE; 0: it is not as easy as that. */
static uint32_t only_cluster(struct xbdev_lvol *volume, const struct xbdev_io *io)
{
	const struct xbdev_lvs_blob *blob = volume->blob, *esnap;
	uint32_t shift = volume->store->cluster_shift, cluster;
	uint64_t index = io->offset >> shift;

	if (shift == 0 || io->op > XBDEV_OP_WRITE || (io->offset + io->len - 1) >> shift != index ||
		index >= blob->map.nr_clusters || !xu_list_is_empty(&volume->exclusives) ||
		(io->op == XBDEV_OP_WRITE && !xu_list_is_empty(&volume->changes))) {
		return 0;
	}
	cluster = xbdev__lvs_map_get(&blob->map, (uint32_t)index);
	if (cluster == 0 && io->op == XBDEV_OP_READ && blob->parent != NULL) {
		cluster = xbdev__lvol_place_below(volume, (uint32_t)index, &esnap);
	}
	return cluster;
}

/* Hands the I/O on as it is; it is in flight here too, which is counted. */
static bool pass(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_lvol *volume = xbdev__lvol_of(ch->dev);
	const struct xbdev_lvol_store *store = volume->store;
	uint32_t cluster = only_cluster(volume, io);
	uint64_t within = io->offset & ((1ull << store->cluster_shift) - 1);

	if (cluster == 0 || !xbdev_io_pass(ch, io, store->ch,
				    ((uint64_t)cluster << store->cluster_shift) + within)) {
		return false;
	}
	volume->nr_reqs++;
	return true;
}

void xbdev__lvol_passed(struct xbdev_channel *ch)
{
	xbdev__lvol_uncount(xbdev__lvol_of(ch->dev));
}

void xbdev__lvol_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_lvol_req *req = xbdev__lvol_req_of(io);

	if (pass(ch, io)) {
		return;
	}
	*req = (struct xbdev_lvol_req){
		.volume = xbdev__lvol_of(ch->dev), .nr_pending = 1, .is_in_submit = true};
	xu_list_init(&req->link);
	xbdev__lvol_admit(req);
	req->is_in_submit = false;
}

/* ---- alone ---- */

/* The first of those who want the volume gets it. */
static void give_to_next(struct xbdev_lvol *volume)
{
	struct xu_list *node = xu_list_first(&volume->exclusives);
	struct xbdev_lvol_exclusive *exclusive =
		xu_list_entry(node, struct xbdev_lvol_exclusive, link);

	if (!volume->is_exclusive) {
		volume->is_exclusive = true;
		exclusive->fn(exclusive);
	}
}

void xbdev__lvol_exclusive_take(struct xbdev_lvol *volume, struct xbdev_lvol_exclusive *exclusive)
{
	xu_list_add_tail(&volume->exclusives, &exclusive->link);
	if (volume->nr_reqs == 0) {
		give_to_next(volume);
	}
}

void xbdev__lvol_exclusive_give(struct xbdev_lvol *volume, struct xbdev_lvol_exclusive *exclusive)
{
	struct xu_list line, *node;

	assert(volume->is_exclusive && xu_list_first(&volume->exclusives) == &exclusive->link);
	xu_list_del(&exclusive->link);
	volume->is_exclusive = false;
	if (!xu_list_is_empty(&volume->exclusives)) {
		give_to_next(volume);
		return;
	}
	xu_list_init(&line);
	xu_list_splice_tail(&line, &volume->held);
	while ((node = xu_list_pop(&line)) != NULL) {
		xbdev__lvol_admit(req_of_line(node));
	}
}

void xbdev__lvol_io_setup(struct xbdev_lvol *volume, const struct xbdev_device *below)
{
	const struct xbdev_lvs *lvs = volume->store->lvs;
	struct xbdev_device *dev = &volume->dev;
	uint32_t transfer = below->limits.max_transfer;

	dev->limits = below->limits;
	dev->limits.block_size = lvs->block_size;
	dev->limits.max_transfer =
		transfer < XBDEV_LVOL_MAX_BYTES ? transfer : XBDEV_LVOL_MAX_BYTES;
	dev->limits.max_iov = below->limits.max_iov < XBDEV_LVOL_MAX_IOV ? below->limits.max_iov
									 : XBDEV_LVOL_MAX_IOV;
	dev->limits.max_zeroes = (uint64_t)(XBDEV_LVOL_MAX_CHANGE - 2) * lvs->super.cluster_size;
	dev->limits.discard_granularity = lvs->super.cluster_size;
	dev->ops_mask = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH |
			1u << XBDEV_OP_WRITE_ZEROES | 1u << XBDEV_OP_DISCARD;
	dev->has_fua = below->has_fua;
	dev->has_write_cache = below->has_write_cache;
	dev->is_rotational = below->is_rotational;
	dev->is_remote = below->is_remote;
	dev->numa_node = below->numa_node;
	dev->owner = volume->store->reactor;
	atomic_store(&dev->nr_blocks,
		(uint64_t)volume->shown.nr_clusters * lvs->super.cluster_size / lvs->block_size);
}
