/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way of a stripe through a log: what can make the stripe whole again is durable before any of
 * it is changed, and stays until all of the change is durable too.
 *
 *   stripes wait in their lane
 *     ──▶ LOGGING    as many as fit make a unit, which is written durably (FUA)
 *     ──▶ SERVING    data and parity of its stripes are written; each is acknowledged then
 *     ──▶ FLUSHING   members with a write cache are flushed
 *     ──▶ IDLE       and the next unit may take the place of this one; if a member has failed, when
 *                    the superblocks say so
 *
 * While a lane is not idle others come and wait, so the busier it is the more of them share a unit.
 * A flush serves all lanes that want one.
 *
 * A stripe is acknowledged before the flush: until that, what was written may be lost in parts, but
 * the unit is still there. A unit that could not be written fails the member that was to have it.
 * Where that leaves too few, the stripes fail unwritten; else they wait until the superblocks know,
 * and are logged again: after a crash before that the member would be believed, without the unit.
 */
#include "lib/xbdev/raid/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"

static void start(struct xbdev_md_lane *lane);

/* ---- flushing ---- */

static void flush_next(struct xbdev_md_log *log);

static void end_flush(struct xbdev_md_log *log)
{
	struct xu_list ended, *node;

	if (--log->nr_flushes > 0) {
		return;
	}
	xu_list_init(&ended);
	xu_list_splice_tail(&ended, &log->flushing);
	while ((node = xu_list_pop(&ended)) != NULL) {
		struct xbdev_md_lane *lane = xu_list_entry(node, struct xbdev_md_lane, flush_link);

		lane->state = XBDEV_MD_LANE_IDLE;
		start(lane);
	}
	flush_next(log);
}

static void on_flushed(struct xbdev_md_child *child, int status)
{
	if (status != 0) {
		xbdev__md_member_fail(child->member, "could not be flushed", status);
	}
	end_flush(child->arg);
}

static void flush_next(struct xbdev_md_log *log)
{
	struct xbdev_md_array *array = log->array;

	if (log->nr_flushes > 0 || xu_list_is_empty(&log->to_flush)) {
		return;
	}
	xu_list_splice_tail(&log->flushing, &log->to_flush);
	log->nr_flushes = 1;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];
		struct xbdev_md_child *child = &log->flushes[i];

		if (member == NULL || member->state == XBDEV_MD_MEMBER_SPARE ||
			!xbdev__md_member_is_writable(member) || member->ch == NULL ||
			!member->ch->dev->has_write_cache) {
			continue;
		}
		child->done = on_flushed;
		child->arg = log;
		child->io.op = XBDEV_OP_FLUSH;
		child->io.flags = 0;
		child->io.nr_iov = 0;
		child->io.len = 0;
		log->nr_flushes++;
		xbdev__md_child_send(child, member, 0);
	}
	end_flush(log);
}

/* ---- a unit ---- */

/* A stripe of the unit has been written. */
static void put(struct xbdev_md_lane *lane)
{
	struct xbdev_md_log *log = lane->log;

	if (--lane->nr_pending == 0) {
		lane->state = XBDEV_MD_LANE_FLUSHING;
		xu_list_add_tail(&log->to_flush, &lane->flush_link);
		flush_next(log);
	}
}

/* Lets the stripes of the unit be written; on an error they end with it. */
static void serve(struct xbdev_md_lane *lane, int status)
{
	struct xu_list unit, *node;

	xu_list_init(&unit);
	xu_list_splice_tail(&unit, &lane->unit);
	lane->state = XBDEV_MD_LANE_SERVING;
	lane->nr_pending = 1;
	xu_list_for_each (node, &unit) {
		lane->nr_pending++;
	}
	while ((node = xu_list_pop(&unit)) != NULL) {
		xbdev__md_stripe_write(
			xu_list_entry(node, struct xbdev_md_stripe, log_link), status);
	}
	put(lane);
}

/* Not everybody who was to have the unit has it and still serves: its stripes, of which nothing has
 * been written, are first in line again. */
static void log_again(struct xbdev_md_lane *lane)
{
	xu_list_splice_tail(&lane->unit, &lane->waiting);
	xu_list_splice_tail(&lane->waiting, &lane->unit);
	lane->state = XBDEV_MD_LANE_IDLE;
	start(lane);
}

static void end_logging(struct xbdev_md_lane *lane)
{
	if (--lane->nr_pending > 0) {
		return;
	}
	if (lane->is_incomplete) {
		log_again(lane);
	} else {
		serve(lane, lane->log->array->is_broken ? -EIO : 0);
	}
}

static bool serves(const struct xbdev_md_member *member)
{
	const struct xbdev_md_array *array = member->array;

	return array->roles[member->role] == member || array->replacements[member->role] == member;
}

static void on_logged(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_lane *lane = child->arg;
	struct xbdev_md_member *member = child->member;

	if (status != 0) {
		xbdev__md_member_fail(member, "does not take its log", status);
	}
	lane->is_incomplete |= status != 0 || !serves(member);
	end_logging(lane);
}

static void write_unit(struct xbdev_md_lane *lane)
{
	struct xbdev_md_member *members[XBDEV_MD_LOG_COPIES];
	uint64_t sectors[XBDEV_MD_LOG_COPIES];
	uint32_t nr = lane->log->kind->seal(lane, members, sectors);

	lane->state = XBDEV_MD_LANE_LOGGING;
	lane->is_incomplete = false;
	lane->nr_pending = nr + 1;
	for (uint32_t i = 0; i < nr; i++) {
		struct xbdev_md_child *child = &lane->copies[i];

		child->req = NULL;
		child->arg = lane;
		child->done = on_logged;
		child->iov[0] = (struct iovec){lane->buf, lane->used};
		child->io.op = XBDEV_OP_WRITE;
		child->io.flags = XBDEV_IO_FUA;
		child->io.iov = child->iov;
		child->io.nr_iov = 1;
		child->io.len = lane->used;
		/* Not in the data: the sum is a sector of the device again. */
		xbdev__md_child_send(child, members[i], sectors[i] - members[i]->super.data_offset);
	}
	end_logging(lane);
}

static void on_recorded(struct xbdev_md_waiter *waiter, int status)
{
	struct xbdev_md_lane *lane = xu_container_of(waiter, struct xbdev_md_lane, waiter);

	lane->is_recording = false;
	start(lane);
}

/* A member has failed, and the disks do not know: after a crash it would be believed, with what its
 * cache has lost of the last unit's stripes and without what it misses of the next one's. */
static bool must_wait(struct xbdev_md_lane *lane)
{
	struct xbdev_md_array *array = lane->log->array;

	if (array->fail_seq <= array->meta.written) {
		return false;
	}
	if (!lane->is_recording) {
		lane->is_recording = true;
		lane->waiter.seq = array->fail_seq;
		lane->waiter.fn = on_recorded;
		xbdev__md_meta_wait(array, &lane->waiter);
	}
	return true;
}

static void start(struct xbdev_md_lane *lane)
{
	const struct xbdev_md_log_kind *kind = lane->log->kind;
	struct xu_list *node, *next;

	if (lane->state != XBDEV_MD_LANE_IDLE || xu_list_is_empty(&lane->waiting)) {
		return;
	}
	if (lane->log->array->is_broken) {
		xu_list_splice_tail(&lane->unit, &lane->waiting);
		serve(lane, -EIO);
		return;
	}
	if (!kind->is_ready(lane) || must_wait(lane)) {
		return;
	}
	lane->used = 0;
	xu_list_for_each_safe (node, next, &lane->waiting) {
		if (!kind->add(lane, xu_list_entry(node, struct xbdev_md_stripe, log_link))) {
			break;
		}
		xu_list_del(node);
		xu_list_add_tail(&lane->unit, node);
	}
	assert(!xu_list_is_empty(&lane->unit));
	write_unit(lane);
}

static void on_start(struct xr_msg *msg)
{
	struct xbdev_md_lane *lane = xu_container_of(msg, struct xbdev_md_lane, start_msg);

	lane->is_start_sent = false;
	start(lane);
}

void xbdev__md_log_leave(struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_lane *lane = stripe->lane;

	if (lane != NULL) {
		stripe->lane = NULL;
		put(lane);
	}
}

/* ---- stripes ---- */

bool xbdev__md_log_stripe(struct xbdev_md_stripe *stripe)
{
	struct xbdev_md_array *array = stripe->array;
	struct xbdev_md_log *log = array->log;
	struct xbdev_md_lane *lane;

	if (log->is_off || !log->is_trusted) {
		return false;
	}
	lane = log->kind->lane_of(stripe);
	stripe->lane = lane;
	xu_list_add_tail(&lane->waiting, &stripe->log_link);
	/* In the next round of the reactor: those that are about to come share the unit. */
	if (lane->state == XBDEV_MD_LANE_IDLE && !lane->is_start_sent) {
		lane->is_start_sent = true;
		lane->start_msg.fn = on_start;
		xr_msg_defer(array->reactor, &lane->start_msg);
	}
	return true;
}

void xbdev__md_log_kick(struct xbdev_md_array *array)
{
	for (uint32_t i = 0; array->log != NULL && i < array->log->nr_lanes; i++) {
		start(&array->log->lanes[i]);
	}
}

/* ---- what is done at once ---- */

static void cover(const struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry,
	uint64_t (*covers)[2])
{
	for (uint32_t i = 0; i < stripe->array->geo.nr_data; i++) {
		uint64_t skip;
		struct xbdev_md_span span = xbdev__md_entry_span(stripe, entry, i, &skip);

		for (uint32_t s = span.lo; s < span.hi; s++) {
			covers[i][s / 64] |= 1ull << (s % 64);
		}
	}
}

static bool is_any_covered(const struct xbdev_md_stripe *stripe, uint64_t (*covers)[2])
{
	for (uint32_t i = 0; i < stripe->array->geo.nr_data; i++) {
		if ((covers[i][0] | covers[i][1]) != 0) {
			return true;
		}
	}
	return false;
}

void xbdev__md_log_choose(
	struct xbdev_md_stripe *stripe, struct xbdev_md_entry *entry, uint64_t (*covers)[2])
{
	uint32_t count = stripe->array->log->kind->limit(stripe, entry);

	entry->rest = entry->count - count;
	entry->count = count;
	cover(stripe, entry, covers);
	assert(is_any_covered(stripe, covers));
}

bool xbdev__md_log_joins(const struct xbdev_md_stripe *stripe, const struct xbdev_md_entry *entry,
	uint64_t (*covers)[2])
{
	uint64_t all[XBDEV_MD_MAX_DISKS][2];

	memcpy(all, covers, stripe->array->geo.nr_data * sizeof(all[0]));
	cover(stripe, entry, all);
	if (!stripe->array->log->kind->is_one(stripe, all)) {
		return false;
	}
	memcpy(covers, all, stripe->array->geo.nr_data * sizeof(all[0]));
	return true;
}

/* ---- the log ---- */

void xbdev__md_log_free(struct xbdev_md_array *array)
{
	struct xbdev_md_log *log = array->log;

	if (log == NULL) {
		return;
	}
	for (uint32_t i = 0; i < log->nr_lanes; i++) {
		xu_buf_free(log->lanes[i].buf, log->unit_bytes);
		free(log->lanes[i].header);
	}
	xu_buf_free(log->memory, log->memory_bytes);
	free(log);
	array->log = NULL;
}

int xbdev__md_log_new(struct xbdev_md_array *array, const struct xbdev_md_log_kind *kind,
	size_t unit_bytes, size_t header_bytes, struct xu_error *err)
{
	uint32_t nr_lanes = array->geo.raid_disks;
	struct xbdev_md_log *log = calloc(1, sizeof(*log) + nr_lanes * sizeof(log->lanes[0]));
	bool is_short = log == NULL;

	if (log != NULL) {
		log->array = array;
		log->kind = kind;
		log->unit_bytes = unit_bytes;
		log->nr_lanes = nr_lanes;
		xu_list_init(&log->to_flush);
		xu_list_init(&log->flushing);
		array->log = log;
	}
	for (uint32_t i = 0; log != NULL && i < nr_lanes; i++) {
		struct xbdev_md_lane *lane = &log->lanes[i];

		lane->log = log;
		lane->index = i;
		xu_list_init(&lane->waiting);
		xu_list_init(&lane->unit);
		xu_list_init(&lane->flush_link);
		lane->buf = xu_buf_alloc(unit_bytes);
		lane->header = calloc(1, header_bytes);
		is_short |= lane->buf == NULL || lane->header == NULL;
	}
	if (is_short) {
		xbdev__md_log_free(array);
		return xu_error_set_errno(
			err, -ENOMEM, "array '%s': its %s", array->dev.name, kind->name);
	}
	return 0;
}
