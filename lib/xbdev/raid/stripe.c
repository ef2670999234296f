/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stripes: the objects, their lines, and how requests are cut for them, see stripe.h.
 *
 * A read of a member that can be read goes to it at once, past all stripes; only what must be
 * recovered becomes an entry of its stripe. A write becomes one entry in every stripe that it
 * touches. A stripe starts in the reactor's next round, so that writes which are submitted together
 * find each other in its line.
 */
#include "lib/xbdev/raid/stripe.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/xbdev/raid/log.h"

static void retry_failed(struct xbdev_md_array *array);

/* ---- geometry ---- */

static uint64_t row_sectors(const struct xbdev_md_array *array)
{
	return (uint64_t)array->geo.chunk * array->geo.nr_data;
}

struct xbdev_md_span xbdev__md_entry_span(const struct xbdev_md_stripe *stripe,
	const struct xbdev_md_entry *entry, uint32_t index, uint64_t *ret_skip)
{
	uint64_t start = stripe->array_sector + (uint64_t)index * stripe->array->geo.chunk;
	uint64_t begin = start + stripe->limit.lo, end = start + stripe->limit.hi;
	uint64_t lo = entry->sector > begin ? entry->sector : begin;
	uint64_t hi = entry->sector + entry->count < end ? entry->sector + entry->count : end;

	if (lo >= hi) {
		return (struct xbdev_md_span){0, 0};
	}
	*ret_skip = lo * XBDEV_MD_SECTOR - xbdev__md_io_of(entry->req)->offset;
	return (struct xbdev_md_span){(uint32_t)(lo - start), (uint32_t)(hi - start)};
}

/* ---- the line of a stripe ---- */

/* Do two writes of one stripe touch the same sector? The order between them is nobody's promise,
 * but one of them must win in data and parity alike. */
static bool overlap(const struct xbdev_md_entry *a, const struct xbdev_md_entry *b)
{
	return a->sector < b->sector + b->count && b->sector < a->sector + a->count;
}

static bool fits(const struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry)
{
	struct xu_list *node;

	if (entry->kind != stripe->kind || entry->kind == XBDEV_MD_STRIPE_SYNC) {
		return false;
	}
	if (entry->kind == XBDEV_MD_STRIPE_READ) {
		return true;
	}
	xu_list_for_each (node, &stripe->running) {
		if (overlap(xu_list_entry(node, struct xbdev_md_entry, link), entry)) {
			return false;
		}
	}
	return true;
}

/* Moves the first in line, and all that can be done with it, to `running`. */
static void choose(struct xbdev_md_stripe *stripe)
{
	struct xu_list *node = xu_list_pop(&stripe->waiting), *next;
	struct xbdev_md_entry *first = xu_list_entry(node, struct xbdev_md_entry, link);
	bool is_logged = stripe->array->log != NULL && first->kind == XBDEV_MD_STRIPE_WRITE;
	uint64_t covers[XBDEV_MD_MAX_DISKS][2];

	xu_list_add_tail(&stripe->running, node);
	stripe->kind = first->kind;
	if (is_logged) {
		memset(covers, 0, sizeof(covers));
		xbdev__md_log_choose(stripe, first, covers);
	}
	xu_list_for_each_safe (node, next, &stripe->waiting) {
		const struct xbdev_md_entry *entry =
			xu_list_entry(node, struct xbdev_md_entry, link);

		if (fits(stripe, entry) &&
			(!is_logged || xbdev__md_log_joins(stripe, entry, covers))) {
			xu_list_del(node);
			xu_list_add_tail(&stripe->running, node);
		}
	}
}

static void start(struct xbdev_md_stripe *stripe)
{
	stripe->is_running = true;
	stripe->limit = (struct xbdev_md_span){0, stripe->array->stripes->sectors};
	choose(stripe);
	xbdev__md_stripe_run(stripe);
}

static void on_start(struct xr_msg *msg)
{
	struct xbdev_md_stripe *stripe = xu_container_of(msg, struct xbdev_md_stripe, start_msg);

	stripe->is_start_sent = false;
	if (!stripe->is_running) {
		start(stripe);
	}
}

static void start_soon(struct xbdev_md_stripe *stripe)
{
	if (!stripe->is_running && !stripe->is_start_sent) {
		stripe->is_start_sent = true;
		stripe->start_msg.fn = on_start;
		xr_msg_defer(stripe->array->reactor, &stripe->start_msg);
	}
}

/* ---- stripes ---- */

static struct xu_list *bucket_of(struct xbdev_md_stripes *stripes, uint64_t key)
{
	return &stripes->buckets[(key * 0x9e3779b97f4a7c15ull) >> 55];
}

static void set_columns(struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	uint64_t row = stripe->sector / geo->chunk;

	stripe->array_sector = row * row_sectors(stripe->array) + stripe->sector % geo->chunk;
	xbdev__md_row(geo, row, &stripe->row);
	for (uint32_t i = 0; i < geo->raid_disks; i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		column->stripe = stripe;
		column->index = i;
		column->role = i < geo->nr_data    ? stripe->row.data[i]
			       : i == geo->nr_data ? stripe->row.p
						   : stripe->row.q;
	}
}

/* The object of a stripe; NULL: all are in use. */
static struct xbdev_md_stripe *stripe_get(struct xbdev_md_array *array, uint64_t key)
{
	struct xbdev_md_stripes *stripes = array->stripes;
	struct xu_list *bucket = bucket_of(stripes, key), *node;
	struct xbdev_md_stripe *stripe;

	xu_list_for_each (node, bucket) {
		stripe = xu_list_entry(node, struct xbdev_md_stripe, hash_link);
		if (stripe->key == key) {
			return stripe;
		}
	}
	stripe = xu_pool_get(&stripes->pool);
	if (stripe == NULL) {
		return NULL;
	}
	stripe->array = array;
	stripe->key = key;
	stripe->sector = key * stripes->sectors;
	stripe->is_running = false;
	stripe->is_start_sent = false;
	xu_list_init(&stripe->waiting);
	xu_list_init(&stripe->running);
	xu_list_init(&stripe->hungry_link);
	xu_list_init(&stripe->log_link);
	stripe->lane = NULL;
	xu_list_add_tail(bucket, &stripe->hash_link);
	set_columns(stripe);
	return stripe;
}

static void wake_waiters(struct xbdev_md_array *array)
{
	if (!xu_list_is_empty(&array->stripes->failed)) {
		retry_failed(array);
	} else {
		xbdev__md_wake(&array->stripes->starved);
	}
}

static void stripe_put(struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_array *array = stripe->array;
	struct xu_list *node;

	xu_list_del(&stripe->hash_link);
	xu_pool_put(&array->stripes->pool, stripe);
	node = xu_list_pop(&array->stripes->blocked);
	if (node != NULL) {
		struct xbdev_md_entry *entry = xu_list_entry(node, struct xbdev_md_entry, link);

		xbdev__md_stripe_sync(array, entry, entry->sector);
	} else {
		wake_waiters(array);
	}
}

/* ---- entries ---- */

static void entry_done(struct xbdev_md_array *array, struct xbdev_md_entry *entry, int status,
	uint64_t mismatch_sectors)
{
	struct xbdev_md_req *req = entry->req;

	if (entry->kind == XBDEV_MD_STRIPE_SYNC) {
		entry->synced(entry->arg, status, mismatch_sectors);
		return;
	}
	status = status != 0 ? status : entry->status;
	xu_pool_put(&array->stripes->entries, entry);
	xbdev__md_req_put(req, status);
}

/* One that was done in part is first in line again with the rest. */
static void take_rest(struct xbdev_md_stripe *stripe, int status)
{
	struct xbdev_md_entry *first =
		xu_list_entry(stripe->running.next, struct xbdev_md_entry, link);

	if (stripe->kind == XBDEV_MD_STRIPE_WRITE && first->rest > 0 && status == 0) {
		xu_list_del(&first->link);
		first->sector += first->count;
		first->count = first->rest;
		first->rest = 0;
		xu_list_add_head(&stripe->waiting, &first->link);
	}
}

void xbdev__md_stripe_done(struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_array *array = stripe->array;
	int status = stripe->status;
	uint64_t mismatch_sectors = stripe->mismatch_sectors;
	struct xu_list ended, *node;

	take_rest(stripe, status);
	xu_list_init(&ended);
	xu_list_splice_tail(&ended, &stripe->running);
	stripe->is_running = false;
	if (!xu_list_is_empty(&stripe->waiting)) {
		start_soon(stripe);
	} else if (!stripe->is_start_sent) {
		stripe_put(stripe);
	}
	while ((node = xu_list_pop(&ended)) != NULL) {
		entry_done(array, xu_list_entry(node, struct xbdev_md_entry, link), status,
			mismatch_sectors);
	}
	/* Who was called when the stripe was put may have waited for one of these entries, and this
	 * may have been the last stripe that ends. */
	wake_waiters(array);
}

/* Puts what a request wants of one stripe in its line. False: no stripe or entry is free. */
static bool enter(struct xbdev_md_req *req, uint64_t key, const struct xbdev_md_entry *want)
{
	struct xbdev_md_array *array = req->array;
	struct xbdev_md_entry *entry = xu_pool_get(&array->stripes->entries);
	struct xbdev_md_stripe *stripe = entry != NULL ? stripe_get(array, key) : NULL;

	if (stripe == NULL) {
		if (entry != NULL) {
			xu_pool_put(&array->stripes->entries, entry);
		}
		return false;
	}
	*entry = *want;
	entry->req = req;
	req->nr_pending++;
	xu_list_add_tail(&stripe->waiting, &entry->link);
	start_soon(stripe);
	return true;
}

void xbdev__md_stripe_sync(
	struct xbdev_md_array *array, struct xbdev_md_entry *entry, uint64_t member_sector)
{
	struct xbdev_md_stripe *stripe = stripe_get(array, member_sector / array->stripes->sectors);

	entry->kind = XBDEV_MD_STRIPE_SYNC;
	entry->req = NULL;
	entry->sector = member_sector;
	if (stripe == NULL) {
		xu_list_add_tail(&array->stripes->blocked, &entry->link);
		return;
	}
	xu_list_add_tail(&stripe->waiting, &entry->link);
	start_soon(stripe);
}

/* ---- reads ---- */

static bool recover_read(struct xbdev_md_req *req, uint64_t sector, uint32_t count,
	uint64_t member_sector, uint32_t bad_role, bool is_gone)
{
	const struct xbdev_md_entry want = {
		.kind = XBDEV_MD_STRIPE_READ,
		.sector = sector,
		.count = count,
		.bad_role = bad_role,
		.is_gone = is_gone,
	};

	return enter(req, member_sector / req->array->stripes->sectors, &want);
}

/* Enters what a child could not read into stripes; false where there is no place for the next part:
 * then the child waits in stripes->failed with the rest. */
static bool recover_rest(struct xbdev_md_child *child)
{
	struct xbdev_md_array *array = child->req->array;
	uint32_t sectors = array->stripes->sectors;

	while (child->count > 0) {
		uint64_t len = sectors - child->member_sector % sectors;

		len = len < child->count ? len : child->count;
		if (!recover_read(child->req, child->sector, (uint32_t)len, child->member_sector,
			    child->tried, child->is_gone)) {
			xu_list_add_tail(&array->stripes->failed, &child->link);
			return false;
		}
		child->sector += len;
		child->member_sector += len;
		child->count -= len;
	}
	return true;
}

static void on_read(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_req *req = child->req;

	if (status != 0 && !xbdev__md_io_of(req)->is_cancelled) {
		/* While it waits for a stripe its member may be given back. */
		child->tried = child->member->role;
		child->is_gone = status == -ENODEV;
		child->count = child->io.len / XBDEV_MD_SECTOR;
		if (!recover_rest(child)) {
			return;
		}
		status = 0;
	}
	xbdev__md_child_put(req->array, child);
	xbdev__md_req_put(req, status);
}

/* A stripe is free. */
static void retry_failed(struct xbdev_md_array *array)
{
	struct xu_list *node = xu_list_pop(&array->stripes->failed);
	struct xbdev_md_child *child;

	if (node == NULL) {
		return;
	}
	child = xu_list_entry(node, struct xbdev_md_child, link);
	if (recover_rest(child)) {
		struct xbdev_md_req *req = child->req;

		xbdev__md_child_put(array, child);
		xbdev__md_req_put(req, 0);
	}
}

static bool read_piece(struct xbdev_md_req *req, struct xbdev_io *io)
{
	struct xbdev_md_array *array = req->array;
	const struct xbdev_md_geometry *geo = &array->geo;
	uint64_t sector = (io->offset + req->next) / XBDEV_MD_SECTOR;
	uint64_t left = (io->len - req->next) / XBDEV_MD_SECTOR;
	uint64_t row = sector / row_sectors(array), in_row = sector % row_sectors(array);
	uint64_t in_chunk = in_row & (geo->chunk - 1);
	uint64_t member_sector = row * geo->chunk + in_chunk;
	uint64_t len = geo->chunk - in_chunk;
	struct xbdev_md_member *member;
	struct xbdev_md_child *child;
	struct xbdev_md_row who;

	xbdev__md_row(geo, row, &who);
	member = array->roles[who.data[in_row >> geo->chunk_shift]];
	len = len < left ? len : left;
	if (!xbdev__md_member_is_readable(member, member_sector, member_sector + len) ||
		xbdev__md_member_has_bad(member, member_sector, len)) {
		uint64_t in_stripe =
			array->stripes->sectors - member_sector % array->stripes->sectors;

		len = len < in_stripe ? len : in_stripe;
		if (!recover_read(req, sector, (uint32_t)len, member_sector, UINT32_MAX, false)) {
			xbdev__md_starve(&array->stripes->starved, req);
			return false;
		}
		req->next += len * XBDEV_MD_SECTOR;
		return true;
	}
	child = xbdev__md_child_get(array, req);
	if (child == NULL) {
		return false;
	}
	child->done = on_read;
	child->sector = sector;
	child->member_sector = member_sector;
	child->io.op = XBDEV_OP_READ;
	child->io.len = len * XBDEV_MD_SECTOR;
	child->io.iov = child->iov;
	xbdev__md_slice(io, req->next, child->io.len, child->iov, &child->io.nr_iov);
	req->next += child->io.len;
	req->nr_pending++;
	xbdev__md_child_send(child, member, member_sector);
	return true;
}

/* ---- writes ---- */

/* The stripes of one row that a request touches: `count` of them from `first` on, going round. */
struct reach {
	uint32_t first;
	uint32_t count;
};

static struct reach reach_of(const struct xbdev_md_array *array, uint64_t from, uint64_t to)
{
	uint32_t sectors = array->stripes->sectors, chunk = array->geo.chunk;
	uint32_t per_chunk = chunk / sectors;
	uint32_t first = (uint32_t)(from % chunk) / sectors;
	uint32_t last = (uint32_t)((to - 1) % chunk) / sectors;
	uint32_t count = last + 1 - first;

	if (to - from >= chunk) {
		return (struct reach){0, per_chunk};
	}
	if (from / chunk != (to - 1) / chunk) {
		count += per_chunk;
	}
	return (struct reach){first, count < per_chunk ? count : per_chunk};
}

/* Enters the write into all stripes that it touches: req->next counts rows, req->copy the stripes
 * of the row. False: it is called again. */
static bool enter_write(struct xbdev_md_req *req, const struct xbdev_io *io)
{
	struct xbdev_md_array *array = req->array;
	const struct xbdev_md_geometry *geo = &array->geo;
	uint64_t row_len = row_sectors(array), per_chunk = geo->chunk / array->stripes->sectors;
	uint64_t start = io->offset / XBDEV_MD_SECTOR, end = start + io->len / XBDEV_MD_SECTOR;
	const struct xbdev_md_entry want = {
		.kind = XBDEV_MD_STRIPE_WRITE,
		.sector = start,
		.count = (uint32_t)(end - start),
	};

	for (; (start / row_len + req->next) * row_len < end; req->next++) {
		uint64_t row = start / row_len + req->next;
		uint64_t from = start > row * row_len ? start - row * row_len : 0;
		uint64_t to = end < (row + 1) * row_len ? end - row * row_len : row_len;
		struct reach reach = reach_of(array, from, to);

		for (; req->copy < reach.count; req->copy++) {
			uint64_t k = (reach.first + req->copy) % per_chunk;

			if (!enter(req, row * per_chunk + k, &want)) {
				xbdev__md_starve(&array->stripes->starved, req);
				return false;
			}
		}
		req->copy = 0;
	}
	return true;
}

static void run(struct xbdev_md_req *req, struct xbdev_io *io)
{
	if (io->op != XBDEV_OP_READ) {
		if (!enter_write(req, io)) {
			return;
		}
	} else {
		while (req->next < io->len) {
			if (!read_piece(req, io)) {
				return;
			}
		}
	}
	xbdev__md_req_put(req, 0);
}

/* ---- the level ---- */

static int init(struct xbdev_md_array *array, struct xu_error *err)
{
	struct xbdev_md_stripes *stripes = calloc(1, sizeof(*stripes));
	int rc = -ENOMEM;

	if (stripes != NULL) {
		rc = xu_pool_init(&stripes->pool,
			array->nr_stripes != 0 ? array->nr_stripes : XBDEV_MD_NR_STRIPES,
			sizeof(struct xbdev_md_stripe) +
				array->geo.raid_disks * sizeof(struct xbdev_md_column));
	}
	if (rc == 0) {
		rc = xu_pool_init(
			&stripes->entries, XBDEV_MD_NR_ENTRIES, sizeof(struct xbdev_md_entry));
	}
	if (rc != 0) {
		if (stripes != NULL && stripes->pool.memory != NULL) {
			xu_pool_fini(&stripes->pool);
		}
		free(stripes);
		return xu_error_set_errno(err, rc, "array '%s': stripes", array->dev.name);
	}
	stripes->array = array;
	stripes->sectors = array->geo.chunk < XBDEV_MD_STRIPE_SECTORS ? array->geo.chunk
								      : XBDEV_MD_STRIPE_SECTORS;
	for (uint32_t i = 0; i < XBDEV_MD_STRIPE_BUCKETS; i++) {
		xu_list_init(&stripes->buckets[i]);
	}
	xu_list_init(&stripes->hungry);
	xu_list_init(&stripes->blocked);
	xu_list_init(&stripes->failed);
	xu_list_init(&stripes->starved);
	/* Linux may have stopped in the middle of one of our stripes; none is good in part. */
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member != NULL && member->state == XBDEV_MD_MEMBER_RECOVERING) {
			member->recovery_offset -= member->recovery_offset % stripes->sectors;
		}
	}
	array->stripes = stripes;
	return 0;
}

static void fini(struct xbdev_md_array *array)
{
	struct xbdev_md_stripes *stripes = array->stripes;

	xbdev__md_log_free(array);
	if (stripes != NULL) {
		xr_timer_stop(array->reactor, &stripes->hungry_timer);
		xu_pool_fini(&stripes->entries);
		xu_pool_fini(&stripes->pool);
		free(stripes);
		array->stripes = NULL;
	}
}

static void limits(struct xbdev_md_array *array)
{
	array->dev.limits.optimal_io = (uint32_t)row_sectors(array) * XBDEV_MD_SECTOR;
}

#define PARITY_LEVEL(number)                                                                       \
	{                                                                                          \
		.level = (number), .has_redundancy = true, .init = init, .fini = fini,             \
		.limits = limits, .run = run                                                       \
	}

const struct xbdev_md_level xbdev__md_raid4 = PARITY_LEVEL(4);
const struct xbdev_md_level xbdev__md_raid5 = PARITY_LEVEL(5);
const struct xbdev_md_level xbdev__md_raid6 = PARITY_LEVEL(6);
