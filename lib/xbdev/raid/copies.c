/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The levels whose blocks lie on members as they are, once or in copies: linear, raid0, raid1,
 * raid10. A request is cut into pieces that lie together on each member (xbdev__md_copies()); a
 * read takes one copy of a piece, a write goes to all.
 *
 * Reads prefer the copy that the member's last read ended at, then the member with the least to do;
 * one that is write-mostly only when there is no other, and then only when no write to these blocks
 * is behind (behind.c). Where the copies are not known to agree (a resync has not been there yet)
 * the first copy is always taken, so that a block reads the same twice; one that is write-mostly is
 * the last there too, for it may lack what others were acknowledged to have. A copy that cannot be
 * read is replaced by another within the request, and where none can be read as a whole, block by
 * block.
 *
 * Blocks that a member refuses become known as bad, or cost the member its place (narrow.c); the
 * request succeeds when one copy in sync has each of its blocks, and is acknowledged when the disks
 * know of the failure (request.c).
 */
#include <assert.h>
#include <errno.h>

#include "lib/xbdev/raid/behind.h"

/* ---- reading ---- */

static uint64_t cost_of(const struct xbdev_md_member *member, uint64_t sector)
{
	uint64_t cost = (uint64_t)member->nr_children * 2;

	if (member->next_sector != sector) {
		cost += 1;
	}
	return cost;
}

/* How many of the sectors at a place can be read from its member: 0 where it has none or they are
 * known to be bad; then *bad_len is how many. */
static uint64_t readable(
	const struct xbdev_md_member *member, uint64_t sector, uint64_t len, uint64_t *bad_len)
{
	uint64_t bad, count;

	if (!xbdev__md_member_is_readable(member, sector, sector + len)) {
		return 0;
	}
	if (member->bad == NULL || member->bad->count == 0 ||
		!xbdev__md_bad_blocks_find(
			member->bad, member->super.data_offset + sector, len, &bad, &count)) {
		return len;
	}
	bad -= member->super.data_offset;
	if (bad == sector) {
		*bad_len = count < *bad_len ? count : *bad_len;
	}
	return bad - sector;
}

static bool is_write_mostly(const struct xbdev_md_member *member)
{
	return (member->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0;
}

/* Of the copies that are write-mostly, or of those that are not. */
static struct xbdev_md_choice choose(struct xbdev_md_array *array, uint64_t sector, uint64_t len,
	uint32_t tried, bool is_exact, bool is_mostly)
{
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	struct xbdev_md_choice best = {0};
	uint64_t run, bad_len = len;
	uint32_t nr = xbdev__md_copies(&array->geo, sector, places, &run);
	bool is_fixed;

	len = run < len ? run : len;
	is_fixed = !xbdev__md_is_agreed(array, sector, sector + len);
	for (uint32_t i = 0; i < nr; i++) {
		struct xbdev_md_member *member = array->roles[places[i].role];
		struct xbdev_md_choice choice = {member, places[i].sector, 0, 0};

		if (member == NULL || (tried & (1u << places[i].role)) != 0 ||
			is_write_mostly(member) != is_mostly) {
			continue;
		}
		choice.len = readable(member, places[i].sector, len, &bad_len);
		choice.cost = cost_of(member, places[i].sector);
		if (choice.len == 0 || (is_exact && choice.len < len)) {
			continue;
		}
		if (best.member == NULL || (!is_fixed && choice.cost < best.cost)) {
			best = choice;
		}
	}
	/* Where a copy is bad, another one is read only as far as it is. */
	if (best.member != NULL && bad_len < best.len && !is_exact) {
		best.len = bad_len;
	}
	return best;
}

static bool has_behind(const struct xbdev_md_array *array, uint64_t sector, uint64_t len)
{
	return xbdev__md_behind_has(array, sector * XBDEV_MD_SECTOR, len * XBDEV_MD_SECTOR);
}

struct xbdev_md_choice xbdev__md_choose(
	struct xbdev_md_array *array, uint64_t sector, uint64_t len, uint32_t tried, bool is_exact)
{
	struct xbdev_md_choice best = choose(array, sector, len, tried, is_exact, false);

	if (best.member == NULL && !has_behind(array, sector, len)) {
		best = choose(array, sector, len, tried, is_exact, true);
	}
	return best;
}

bool xbdev__md_has_all(struct xbdev_md_array *array, uint64_t sector, uint64_t count)
{
	while (count > 0) {
		struct xbdev_md_choice choice = choose(array, sector, count, 0, false, false);

		if (choice.member == NULL) {
			choice = choose(array, sector, count, 0, false, true);
		}

		if (choice.member == NULL) {
			return false;
		}
		sector += choice.len;
		count -= choice.len;
	}
	return true;
}

static void send_read(struct xbdev_md_child *child, const struct xbdev_md_choice *choice)
{
	choice->member->next_sector = choice->sector + choice->len;
	xbdev__md_child_send(child, choice->member, choice->sector);
}

/* Reads up to `len` sectors of the piece from child->at on, from a copy that has not been tried:
 * fewer where no copy has all of them. False: not even one block of them can be had. */
static bool read_part(struct xbdev_md_child *child, uint64_t len)
{
	struct xbdev_md_req *req = child->req;
	struct xbdev_md_array *array = req->array;
	const struct xbdev_io *io = xbdev__md_io_of(req);
	uint64_t sector = child->sector + child->at, block;

	block = array->dev.limits.block_size / XBDEV_MD_SECTOR;
	for (;;) {
		struct xbdev_md_choice choice =
			xbdev__md_choose(array, sector, len, child->tried, true);

		/* Copies that may differ are believed block by block, as by a resync. */
		bool is_fine = child->tried == 0 || len <= block ||
			       xbdev__md_is_agreed(array, sector, sector + len);

		if (choice.member != NULL && choice.len == len && is_fine) {
			child->io.len = len * XBDEV_MD_SECTOR;
			xbdev__md_slice(io, sector * XBDEV_MD_SECTOR - io->offset, child->io.len,
				child->iov, &child->io.nr_iov);
			send_read(child, &choice);
			return true;
		}
		if (len <= block) {
			return false;
		}
		/* Copies may be bad in different places. */
		len = (len / 2 + block - 1) / block * block;
		child->tried = 0;
	}
}

/* Another copy, then by parts. True: it has been sent. */
static bool try_again(struct xbdev_md_child *child)
{
	uint64_t len = child->io.len / XBDEV_MD_SECTOR;

	if (child->count == 0) {
		child->count = len;
	}
	child->tried |= 1u << child->member->role;
	return read_part(child, len);
}

static bool read_on(struct xbdev_md_child *child)
{
	uint64_t len = child->io.len / XBDEV_MD_SECTOR * 2;

	child->at += len / 2;
	child->tried = 0;
	return read_part(child, len < child->count - child->at ? len : child->count - child->at);
}

/* A copy that is left has a write behind, and can be read when that has ended. */
static bool wait_for_behind(struct xbdev_md_child *child)
{
	struct xbdev_md_array *array = child->req->array;

	if (!has_behind(array, child->sector + child->at, child->io.len / XBDEV_MD_SECTOR)) {
		return false;
	}
	xu_list_add_tail(&array->behind.failed, &child->link);
	return true;
}

void xbdev__md_copies_wake(struct xbdev_md_array *array)
{
	struct xu_list line, *node;

	xu_list_init(&line);
	xu_list_splice_tail(&line, &array->behind.failed);
	while ((node = xu_list_pop(&line)) != NULL) {
		struct xbdev_md_child *child = xu_list_entry(node, struct xbdev_md_child, link);
		struct xbdev_md_req *req = child->req;

		if (wait_for_behind(child) ||
			(!xbdev__md_io_of(req)->is_cancelled && try_again(child))) {
			continue;
		}
		xbdev__md_child_put(array, child);
		xbdev__md_req_put(req, -EIO);
	}
}

static void on_read(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_req *req = child->req;
	struct xbdev_md_array *array = req->array;
	struct xbdev_io *io = xbdev__md_io_of(req);

	if (status != 0 && !io->is_cancelled && array->level->has_redundancy &&
		wait_for_behind(child)) {
		return;
	}

	if (status != 0 && !io->is_cancelled && array->level->has_redundancy && try_again(child)) {
		return;
	}
	if (status == 0 && child->count != 0) {
		if (child->at + child->io.len / XBDEV_MD_SECTOR < child->count) {
			if (!io->is_cancelled && read_on(child)) {
				return;
			}
			status = -EIO;
		} else {
			xbdev__md_repair(array, child->sector, child->count);
		}
	}
	xbdev__md_child_put(array, child);
	xbdev__md_req_put(req, status);
}

/* False: no child is free; the request is called again. */
static bool read_piece(struct xbdev_md_req *req, struct xbdev_io *io)
{
	struct xbdev_md_array *array = req->array;
	uint64_t sector = (io->offset + req->next) / XBDEV_MD_SECTOR;
	struct xbdev_md_choice choice =
		xbdev__md_choose(array, sector, (io->len - req->next) / XBDEV_MD_SECTOR, 0, false);
	struct xbdev_md_child *child;

	if (choice.member == NULL &&
		has_behind(array, sector, (io->len - req->next) / XBDEV_MD_SECTOR)) {
		xbdev__md_starve(&array->behind.readers, req);
		return false;
	}
	if (choice.member == NULL) {
		req->status = -EIO;
		req->next = io->len;
		return true;
	}
	child = xbdev__md_child_get(array, req);
	if (child == NULL) {
		return false;
	}
	child->done = on_read;
	child->sector = sector;
	child->io.op = XBDEV_OP_READ;
	child->io.len = choice.len * XBDEV_MD_SECTOR;
	child->io.iov = child->iov;
	xbdev__md_slice(io, req->next, child->io.len, child->iov, &child->io.nr_iov);
	req->next += child->io.len;
	req->nr_pending++;
	send_read(child, &choice);
	return true;
}

/* ---- writing ---- */

static void on_write(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_req *req = child->req;
	struct xbdev_md_array *array = req->array;
	struct xbdev_md_member *member = child->member;

	if (status != 0 && array->level->has_redundancy && xbdev__md_narrow(child, status)) {
		return;
	}
	req->is_lossy |= child->is_lossy;
	if (status == 0) {
		xbdev__md_member_clear_bad(member, &child->io);
		req->good_roles |= array->roles[member->role] == member ? 1u << member->role : 0;
	} else if (status != 0 && array->level->has_redundancy &&
		   xbdev__md_member_fail(member, "does not take a write", status)) {
		status = 0;
	}
	xbdev__md_child_put(array, child);
	xbdev__md_req_put(req, status);
}

/* Sends what remains of the copies of one piece, each place's member and its replacement. */
static bool write_copies(struct xbdev_md_req *req, const struct xbdev_io *io,
	const struct xbdev_md_place *places, uint32_t nr_places, uint64_t len_bytes)
{
	struct xbdev_md_array *array = req->array;

	for (; req->copy < nr_places * 2; req->copy++) {
		const struct xbdev_md_place *place = &places[req->copy / 2];
		struct xbdev_md_member *member = req->copy % 2 == 0
							 ? array->roles[place->role]
							 : array->replacements[place->role];
		struct xbdev_md_child *child;

		if (!xbdev__md_member_is_writable(member) ||
			(req->is_behind && is_write_mostly(member))) {
			continue;
		}
		child = xbdev__md_child_get(array, req);
		if (child == NULL) {
			return false;
		}
		child->done = on_write;
		child->io.op = io->op;
		child->io.flags = io->flags;
		child->io.len = len_bytes;
		child->io.iov = child->iov;
		child->io.nr_iov = 0;
		if (io->op == XBDEV_OP_WRITE) {
			xbdev__md_slice(io, req->next, len_bytes, child->iov, &child->io.nr_iov);
		}
		req->nr_pending++;
		xbdev__md_child_send(child, member, place->sector);
	}
	return true;
}

/* A piece of which no copy in sync is left cannot be written. */
static bool has_copy(const struct xbdev_md_array *array, const struct xbdev_md_place *places,
	uint32_t nr_places, uint64_t len)
{
	for (uint32_t i = 0; i < nr_places; i++) {
		if (xbdev__md_member_is_readable(array->roles[places[i].role], places[i].sector,
			    places[i].sector + len)) {
			return true;
		}
	}
	return false;
}

static bool write_piece(struct xbdev_md_req *req, struct xbdev_io *io)
{
	struct xbdev_md_array *array = req->array;
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	uint64_t sector = (io->offset + req->next) / XBDEV_MD_SECTOR;
	uint64_t len = (io->len - req->next) / XBDEV_MD_SECTOR, run;
	uint32_t nr = xbdev__md_copies(&array->geo, sector, places, &run);

	len = run < len ? run : len;
	if (!has_copy(array, places, nr, len)) {
		req->status = -EIO;
		req->next = io->len;
		return true;
	}
	if (!write_copies(req, io, places, nr, len * XBDEV_MD_SECTOR)) {
		return false;
	}
	req->copy = 0;
	req->next += len * XBDEV_MD_SECTOR;
	return true;
}

static void run(struct xbdev_md_req *req, struct xbdev_io *io)
{
	bool is_read = io->op == XBDEV_OP_READ;

	while (req->next < io->len) {
		if (is_read ? !read_piece(req, io) : !write_piece(req, io)) {
			return;
		}
	}
	xbdev__md_req_put(req, 0);
}

/* ---- limits ---- */

static void limits(struct xbdev_md_array *array)
{
	struct xbdev_device *dev = &array->dev;

	dev->ops_mask |= 1u << XBDEV_OP_WRITE_ZEROES;
	dev->limits.optimal_io = array->geo.level == 0 || array->geo.level == 10
					 ? array->geo.chunk * XBDEV_MD_SECTOR
					 : 0;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (member != NULL && !(member->ch->dev->ops_mask & (1u << XBDEV_OP_DISCARD))) {
			return;
		}
	}
	dev->ops_mask |= 1u << XBDEV_OP_DISCARD;
}

const struct xbdev_md_level xbdev__md_linear = {.level = -1, .limits = limits, .run = run};
const struct xbdev_md_level xbdev__md_raid0 = {.level = 0, .limits = limits, .run = run};
const struct xbdev_md_level xbdev__md_raid1 = {
	.level = 1, .has_redundancy = true, .limits = limits, .run = run};
const struct xbdev_md_level xbdev__md_raid10 = {
	.level = 10, .has_redundancy = true, .limits = limits, .run = run};
