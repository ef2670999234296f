/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an array does with an I/O before and after its level's part: the driver's operations, the
 * pool of children, the order of writes and metadata, and windows.
 *
 *   READ    -> level->run -> children -> ended
 *   WRITE, WRITE_ZEROES, DISCARD
 *           -> the superblocks say "active" (else it waits in meta.c)
 *           -> no window covers it (else it waits in the window)
 *           -> mirrors: no write in flight overlaps it (else it waits for its end)
 *           -> raid1: what write-mostly members get later is put aside (behind.c)
 *           -> level->run -> children
 *           -> if a member failed meanwhile: the superblocks say so -> ended
 *   FLUSH   -> a child to every member that is written to -> ended
 *
 * The order keeps the promise of MD: no data changes before the disks say that the array may be out
 * of sync, and no write that a member missed is acknowledged before the other members say that this
 * one is stale. Power that goes in between leaves an array that is resynced, or a member that is
 * left out; it never leaves one that is believed wrongly.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/xbdev/raid/behind.h"
#include "lib/xbdev/raid/bitmap.h"

static struct xbdev_md_req *req_of_line(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_md_req, waiter.link);
}

static void run(struct xbdev_md_req *req);

/* ---- children ---- */

int xbdev__md_requests_init(struct xbdev_md_array *array)
{
	xu_list_init(&array->starved);
	xu_list_init(&array->writes);
	xu_list_init(&array->windows);
	xu_list_init(&array->overlapping);
	xu_list_init(&array->behind.list);
	xu_list_init(&array->behind.holds);
	xu_list_init(&array->behind.readers);
	xu_list_init(&array->behind.failed);
	return xu_pool_init(&array->children, XBDEV_MD_NR_CHILDREN, sizeof(struct xbdev_md_child));
}

void xbdev__md_requests_fini(struct xbdev_md_array *array)
{
	assert(array->nr_reqs == 0);
	xbdev__md_behind_fini(array);
	xu_pool_fini(&array->children);
}

void xbdev__md_starve(struct xu_list *line, struct xbdev_md_req *req)
{
	if (!xu_list_is_linked(&req->waiter.link)) {
		xu_list_add_tail(line, &req->waiter.link);
	}
}

void xbdev__md_wake(struct xu_list *line)
{
	struct xu_list *node;

	while ((node = xu_list_pop(line)) != NULL) {
		run(req_of_line(node));
		/* The request may be gone; but if it is the last in line, it waits again. */
		if (line->prev == node) {
			break;
		}
	}
}

struct xbdev_md_child *xbdev__md_child_get(struct xbdev_md_array *array, struct xbdev_md_req *req)
{
	struct xbdev_md_child *child = xu_pool_get(&array->children);

	if (child == NULL) {
		if (req != NULL) {
			xbdev__md_starve(&array->starved, req);
		}
		return NULL;
	}
	child->req = req;
	child->tried = 0;
	child->at = child->count = 0;
	child->is_narrowed = child->is_lossy = false;
	child->io.flags = 0;
	return child;
}

void xbdev__md_child_put(struct xbdev_md_array *array, struct xbdev_md_child *child)
{
	child->req = NULL;
	xu_pool_put(&array->children, child);
	if (!xu_list_is_empty(&array->starved)) {
		xbdev__md_wake(&array->starved);
	}
}

static void on_child_done(struct xbdev_io *io, int status)
{
	struct xbdev_md_child *child = io->cb_arg;
	struct xbdev_md_member *member = child->member;

	member->nr_children--;
	child->done(child, status);
	if (member->state == XBDEV_MD_MEMBER_SPARE && xbdev__md_member_is_free(member)) {
		xbdev__md_sync_kick(member->array);
	}
}

static void on_child_refused(struct xr_msg *msg)
{
	struct xbdev_io *io = xu_container_of(msg, struct xbdev_io, msg);

	on_child_done(io, io->status);
}

void xbdev__md_child_send(
	struct xbdev_md_child *child, struct xbdev_md_member *member, uint64_t member_sector)
{
	struct xbdev_io *io = &child->io;
	int rc;

	child->member = member;
	member->nr_children++;
	io->ch = member->ch;
	io->cb = on_child_done;
	io->cb_arg = child;
	io->offset = (member->super.data_offset + member_sector) * XBDEV_MD_SECTOR;
	rc = member->ch == NULL ? -ENODEV : xbdev_io_submit(io);
	if (rc != 0) {
		io->status = rc;
		io->msg.fn = on_child_refused;
		xr_msg_defer(member->array->reactor, &io->msg);
	}
}

/* ---- the end of a request ---- */

static void admit_write(struct xbdev_md_req *req);

static bool overlaps(const struct xbdev_md_req *req, const struct xbdev_md_window *window)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);

	return io->offset < window->end * XBDEV_MD_SECTOR &&
	       window->start * XBDEV_MD_SECTOR < io->offset + io->len;
}

void xbdev__md_leave_windows(struct xbdev_md_array *array, uint64_t offset, uint64_t len)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &array->windows) {
		struct xbdev_md_window *window = xu_list_entry(node, struct xbdev_md_window, link);

		if (window->nr_before > 0 && offset < window->end * XBDEV_MD_SECTOR &&
			window->start * XBDEV_MD_SECTOR < offset + len &&
			--window->nr_before == 0) {
			window->ready(window);
		}
	}
}

#define ZONE_SHIFT 16u /* 64 KiB; far zones share a counter */

/* Counts a write where it is; whether others are in the same zones. */
static bool count_zones(struct xbdev_md_req *req, int32_t by)
{
	const struct xbdev_io *io = xbdev__md_io_of(req);
	uint64_t first = io->offset >> ZONE_SHIFT, last = (io->offset + io->len - 1) >> ZONE_SHIFT;
	bool has_others = false;

	last = last - first < XBDEV_MD_NR_ZONES ? last : first + XBDEV_MD_NR_ZONES - 1;
	for (uint64_t zone = first; zone <= last; zone++) {
		uint32_t *nr = &req->array->nr_writes_at[zone % XBDEV_MD_NR_ZONES];

		has_others |= *nr > 0;
		*nr += (uint32_t)by;
	}
	return has_others;
}

void xbdev__md_readmit(struct xbdev_md_array *array)
{
	struct xu_list line, *node;

	if (xu_list_is_empty(&array->overlapping)) {
		return;
	}
	xu_list_init(&line);
	xu_list_splice_tail(&line, &array->overlapping);
	while ((node = xu_list_pop(&line)) != NULL) {
		admit_write(req_of_line(node));
	}
}

static void untrack(struct xbdev_md_array *array, struct xbdev_md_req *req)
{
	if (req->is_tracked) {
		req->is_tracked = false;
		xu_list_del(&req->link);
		count_zones(req, -1);
		if (!xu_list_is_empty(&array->windows)) {
			const struct xbdev_io *io = xbdev__md_io_of(req);

			xbdev__md_leave_windows(array, io->offset, io->len);
		}
		xbdev__md_readmit(array);
	}
}

static uint64_t fresh_ns(const struct xbdev_md_array *array)
{
	const struct xu_clock *clock = xr_reactor_platform(array->reactor)->clock;

	return clock->now_ns(clock);
}

static void time_it(struct xbdev_md_req *req)
{
	struct xbdev_md_array *array = req->array;

	req->is_timed = array->level->has_redundancy &&
			xbdev__md_pulse_is_sample(&array->pulse, array->nr_submitted);
	if (req->is_timed) {
		req->pulse_mark = xbdev__md_pulse_mark(&array->pulse);
		req->start_ns = fresh_ns(array);
	}
}

static void end(struct xbdev_md_req *req)
{
	struct xbdev_md_array *array = req->array;
	bool is_write = req->is_write;

	if (req->is_timed) {
		xbdev__md_pulse_record(
			&array->pulse, fresh_ns(array) - req->start_ns, req->pulse_mark);
	}
	array->nr_reqs--;
	if (is_write) {
		array->nr_writes--;
	}
	if (req->is_counted) {
		const struct xbdev_io *io = xbdev__md_io_of(req);

		xbdev__md_bitmap_end(
			array, io->offset / XBDEV_MD_SECTOR, io->len / XBDEV_MD_SECTOR);
	}
	if (req->is_in_submit) {
		xbdev_io_complete_later(xbdev__md_io_of(req), req->status);
	} else {
		xbdev_io_complete(xbdev__md_io_of(req), req->status);
	}
	if (is_write && array->nr_writes == 0) {
		xbdev__md_meta_end_writes(array);
	}
}

/* The superblocks know of the failure that this write met. */
static void on_failure_recorded(struct xbdev_md_waiter *waiter, int status)
{
	struct xbdev_md_req *req = xu_container_of(waiter, struct xbdev_md_req, waiter);

	if (status != 0 && req->status == 0) {
		req->status = status;
	}
	end(req);
}

/* What every copy has refused has not been written. */
static bool has_all(const struct xbdev_md_req *req)
{
	const struct xbdev_io *io = xbdev_io_of_driver(req);

	return xbdev__md_has_all(
		req->array, io->offset / XBDEV_MD_SECTOR, io->len / XBDEV_MD_SECTOR);
}

static void finish(struct xbdev_md_req *req)
{
	struct xbdev_md_array *array = req->array;

	if (req->is_lossy && array->stripes == NULL && req->status == 0 && !has_all(req)) {
		req->status = -EIO;
	}
	untrack(array, req);
	if (xbdev__md_io_of(req)->op != XBDEV_OP_READ && array->fail_seq > array->meta.written) {
		req->waiter.seq = array->fail_seq;
		req->waiter.fn = on_failure_recorded;
		xbdev__md_meta_wait(array, &req->waiter);
		return;
	}
	end(req);
}

void xbdev__md_req_put(struct xbdev_md_req *req, int status)
{
	if (status != 0 && req->status == 0) {
		req->status = status;
	}
	assert(req->nr_pending > 0);
	if (--req->nr_pending == 0 && (req->behind == NULL || xbdev__md_behind_let_go(req))) {
		finish(req);
	}
}

void xbdev__md_req_behind_done(struct xbdev_md_req *req, int status, bool is_waited)
{
	req->behind = NULL;
	if (status != 0 && req->status == 0) {
		req->status = status;
	}
	if (is_waited) {
		finish(req);
	}
}

/* ---- the beginning of a write ---- */

/* The window in the way of the write, or NULL. */
static struct xbdev_md_window *window_over(struct xbdev_md_req *req)
{
	struct xu_list *node;

	xu_list_for_each (node, &req->array->windows) {
		struct xbdev_md_window *window = xu_list_entry(node, struct xbdev_md_window, link);

		if (overlaps(req, window)) {
			return window;
		}
	}
	return NULL;
}

/* Parity levels have the lines of their stripes for this, other levels have one copy. */
static bool is_overlapping(struct xbdev_md_req *req)
{
	const struct xbdev_md_array *array = req->array;
	const struct xbdev_io *io = xbdev__md_io_of(req), *other;
	struct xu_list *node;

	if (!array->level->has_redundancy || array->stripes != NULL || !count_zones(req, 0)) {
		return false;
	}
	xu_list_for_each (node, &array->writes) {
		other = xbdev__md_io_of(xu_list_entry(node, struct xbdev_md_req, link));
		if (io->offset < other->offset + other->len &&
			other->offset < io->offset + io->len) {
			return true;
		}
	}
	return false;
}

static void on_active(struct xbdev_md_waiter *waiter, int status)
{
	struct xbdev_md_req *req = xu_container_of(waiter, struct xbdev_md_req, waiter);

	if (status != 0) {
		xbdev__md_req_put(req, status);
		return;
	}
	admit_write(req);
}

/* Is the write in the bitmap, on disk? */
static bool is_marked(struct xbdev_md_req *req)
{
	const struct xbdev_io *io = xbdev__md_io_of(req);
	uint64_t sector = io->offset / XBDEV_MD_SECTOR, count = io->len / XBDEV_MD_SECTOR;

	if (!req->is_counted) {
		req->is_counted = true;
		xbdev__md_bitmap_begin(req->array, sector, count);
	}
	return xbdev__md_bitmap_is_on_disk(req->array, sector, count);
}

/* What write-mostly members have yet to get is not overtaken. */
static bool is_behind_or_alone(struct xbdev_md_req *req)
{
	const struct xbdev_io *io = xbdev__md_io_of(req);

	return xbdev__md_behind_take(req) || !xbdev__md_behind_has(req->array, io->offset, io->len);
}

static void admit_write(struct xbdev_md_req *req)
{
	struct xbdev_md_array *array = req->array;
	struct xbdev_md_window *window;

	if (array->level->has_redundancy && !xbdev__md_meta_begin_write(array)) {
		req->waiter.seq = array->active_seq;
		req->waiter.fn = on_active;
		xbdev__md_meta_wait(array, &req->waiter);
		return;
	}
	if (array->bitmap != NULL && !is_marked(req)) {
		xbdev__md_meta_update_bits(array, false);
		req->waiter.fn = on_active;
		xbdev__md_meta_wait_bits(array, &req->waiter);
		return;
	}
	window = window_over(req);
	if (window != NULL) {
		xu_list_add_tail(&window->waiting, &req->waiter.link);
		return;
	}
	if (is_overlapping(req)) {
		xu_list_add_tail(&array->overlapping, &req->waiter.link);
		return;
	}
	if (xbdev__md_behind_max(array) > 0 && !is_behind_or_alone(req)) {
		xu_list_add_tail(&array->overlapping, &req->waiter.link);
		return;
	}
	req->is_tracked = true;
	xu_list_add_tail(&array->writes, &req->link);
	count_zones(req, 1);
	run(req);
}

/* ---- windows ---- */

void xbdev__md_window_open(struct xbdev_md_array *array, struct xbdev_md_window *window)
{
	struct xu_list *node;

	xu_list_init(&window->waiting);
	window->nr_before = xbdev__md_behind_count(array, window->start * XBDEV_MD_SECTOR,
		(window->end - window->start) * XBDEV_MD_SECTOR);
	xu_list_for_each (node, &array->writes) {
		window->nr_before +=
			overlaps(xu_list_entry(node, struct xbdev_md_req, link), window);
	}
	xu_list_add_tail(&array->windows, &window->link);
	if (window->nr_before == 0) {
		window->ready(window);
	}
}

void xbdev__md_window_close(struct xbdev_md_array *array, struct xbdev_md_window *window)
{
	struct xu_list *node;

	xu_list_del(&window->link);
	while ((node = xu_list_pop(&window->waiting)) != NULL) {
		admit_write(req_of_line(node));
	}
}

/* ---- flush ---- */

static void on_flushed(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_req *req = child->req;
	struct xbdev_md_member *member = child->member;
	struct xbdev_md_array *array = member->array;

	xbdev__md_child_put(array, child);
	if (status != 0 && array->level->has_redundancy &&
		member->state != XBDEV_MD_MEMBER_FAULTY &&
		xbdev__md_member_fail(member, "could not be flushed", status)) {
		status = 0;
	} else if (status != 0 && member->state == XBDEV_MD_MEMBER_FAULTY) {
		status = 0;
	}
	xbdev__md_req_put(req, status);
}

/* Goes on from member req->copy; every member that is written to, spares left out. */
static void run_flush(struct xbdev_md_req *req)
{
	struct xbdev_md_array *array = req->array;

	while (req->copy < array->nr_members) {
		struct xbdev_md_member *member = array->members[req->copy];
		struct xbdev_md_child *child;

		if (member == NULL || member->state == XBDEV_MD_MEMBER_SPARE ||
			!xbdev__md_member_is_writable(member) ||
			!member->ch->dev->has_write_cache) {
			req->copy++;
			continue;
		}
		child = xbdev__md_child_get(array, req);
		if (child == NULL) {
			return;
		}
		req->copy++;
		req->nr_pending++;
		child->done = on_flushed;
		child->io.op = XBDEV_OP_FLUSH;
		child->io.iov = NULL;
		child->io.nr_iov = 0;
		child->io.len = 0;
		xbdev__md_child_send(child, member, 0);
	}
	xbdev__md_req_put(req, 0);
}

/* ---- the driver's operations ---- */

static void run(struct xbdev_md_req *req)
{
	struct xbdev_io *io = xbdev__md_io_of(req);

	if (io->op == XBDEV_OP_FLUSH) {
		run_flush(req);
	} else {
		req->array->level->run(req, io);
	}
}

static void md_submit(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_md_array *array = xbdev__md_array_of(ch->dev);
	struct xbdev_md_req *req = xbdev__md_req_of(io);

	req->array = array;
	req->next = 0;
	req->copy = 0;
	req->nr_pending = 1;
	req->status = 0;
	req->is_write = io->op != XBDEV_OP_READ && io->op != XBDEV_OP_FLUSH;
	req->is_tracked = false;
	req->is_counted = false;
	req->is_in_submit = true;
	req->is_lossy = false;
	req->is_behind = false;
	req->good_roles = 0;
	req->behind = NULL;
	xu_list_init(&req->link);
	xu_list_init(&req->waiter.link);
	array->nr_reqs++;
	array->nr_submitted++;
	if (io->op <= XBDEV_OP_WRITE && array->level->has_redundancy) {
		xbdev__md_heat_touch(&array->heat, io->offset, io->len, xr_now_ns(array->reactor));
	}
	time_it(req);
	if (!req->is_write) {
		run(req);
	} else {
		array->nr_writes++;
		if (array->is_read_only || array->is_broken) {
			xbdev__md_req_put(req, array->is_broken ? -EIO : -EROFS);
		} else {
			admit_write(req);
		}
	}
	req->is_in_submit = false;
}

/* A read that a member holds is let go. A write is not: its copies or its parity would differ. */
static void md_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_md_array *array = xbdev__md_array_of(ch->dev);
	struct xbdev_md_req *req = xbdev__md_req_of(io);

	if (io->op != XBDEV_OP_READ) {
		return;
	}
	for (uint32_t i = 0; i < array->children.count; i++) {
		struct xbdev_md_child *child = xu_pool_object(&array->children, i);

		if (child->req == req) {
			xbdev_io_cancel(&child->io);
		}
	}
}

const struct xbdev_device_ops xbdev__md_device_ops = {
	.submit = md_submit,
	.cancel = md_cancel,
	.retire = xbdev__md_retire,
	.destroy = xbdev__md_destroy,
	.config = xbdev__md_config,
	.info = xbdev__md_info,
};
