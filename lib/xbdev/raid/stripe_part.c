/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stripes in parts. Blocks go bad one by one, and on different members in different places: what
 * cannot be done with all of a stripe (stripe_op.c) may be possible with most of its blocks.
 *
 *   give_up()     the present part is halved; of a single block it is known that it is lost, which
 *                 fails the entries that want it and nothing else
 *   part_done()   goes on behind it, with a part of twice the size
 */
#include <errno.h>

#include "lib/xbdev/raid/log.h"

static void next_part(struct xbdev_md_stripe *stripe);

static uint32_t block_sectors(const struct xbdev_md_stripe *stripe)
{
	return stripe->array->dev.limits.block_size / XBDEV_MD_SECTOR;
}

/* Is anything missing because of its blocks and not because of its member? */
static bool has_bad_blocks(const struct xbdev_md_stripe *stripe)
{
	for (uint32_t i = 0; i < stripe->array->geo.raid_disks; i++) {
		const struct xbdev_md_column *column = &stripe->columns[i];

		if (!xbdev__md_column_is_readable(column) &&
			xbdev__md_member_is_readable(stripe->array->roles[column->role],
				stripe->sector + stripe->span.lo,
				stripe->sector + stripe->span.hi)) {
			return true;
		}
	}
	return false;
}

static void fail_entries(struct xbdev_md_stripe *stripe, const struct xbdev_md_column *column)
{
	struct xu_list *node;

	xu_list_for_each (node, &stripe->running) {
		struct xbdev_md_entry *entry = xu_list_entry(node, struct xbdev_md_entry, link);
		uint64_t skip;
		struct xbdev_md_span span =
			xbdev__md_entry_span(stripe, entry, column->index, &skip);

		if (span.lo != span.hi) {
			entry->status = -EIO;
		}
	}
}

/* A resync makes the parity agree with what there is. What is lost must not come out of it later:
 * the blocks that cannot be read, and the parity, are known as bad until they are written. False:
 * not all of them can be noted. */
static bool poison(struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	uint64_t sector = stripe->sector + stripe->span.lo;
	uint32_t count = stripe->span.hi - stripe->span.lo;

	for (uint32_t i = 0; i < geo->raid_disks; i++) {
		const struct xbdev_md_column *column = &stripe->columns[i];

		if ((i >= geo->nr_data || !xbdev__md_column_is_readable(column)) &&
			!xbdev__md_member_add_bad(
				stripe->array->roles[column->role], sector, count)) {
			return false;
		}
	}
	return true;
}

/* This part is lost to who wants it. Readers of what can be read have it nevertheless. */
static void lose(struct xbdev_md_stripe *stripe)
{
	bool is_read = stripe->kind == XBDEV_MD_STRIPE_READ, is_wanted = false;
	struct xbdev_md_entry *entry =
		xu_list_entry(stripe->running.next, struct xbdev_md_entry, link);

	if (stripe->kind == XBDEV_MD_STRIPE_SYNC) {
		entry->lost(entry->arg, stripe->sector + stripe->span.lo,
			stripe->span.hi - stripe->span.lo, !stripe->is_check && poison(stripe));
		next_part(stripe);
		return;
	}
	for (uint32_t i = 0; i < stripe->array->geo.nr_data; i++) {
		struct xbdev_md_column *column = &stripe->columns[i];

		if (!column->is_touched) {
			continue;
		}
		if (is_read && xbdev__md_column_is_readable(column)) {
			is_wanted = true;
			continue;
		}
		fail_entries(stripe, column);
		column->is_touched = false;
	}
	if (is_wanted) {
		xbdev__md_stripe_plan(stripe);
	} else {
		next_part(stripe);
	}
}

/* The present part cannot be done: half of it may. */
void xbdev__md_stripe_give_up(struct xbdev_md_stripe *stripe)
{
	uint32_t block = block_sectors(stripe), len = stripe->span.hi - stripe->span.lo;

	if (!has_bad_blocks(stripe)) {
		xbdev__md_stripe_finish(stripe, -EIO);
		return;
	}
	if (len <= block) {
		stripe->part = block;
		lose(stripe);
		return;
	}
	stripe->part = (len / 2 + block - 1) / block * block;
	stripe->limit.lo = stripe->span.lo;
	stripe->limit.hi = stripe->span.lo + stripe->part;
	xbdev__md_stripe_collect(stripe);
	xbdev__md_stripe_plan(stripe);
}

/* What has been done in parts goes on with the next one, or ends. */
static void next_part(struct xbdev_md_stripe *stripe)
{
	uint32_t end = stripe->whole.hi;

	do {
		stripe->limit.lo = stripe->limit.hi;
		stripe->limit.hi = end - stripe->limit.lo < stripe->part
					   ? end
					   : stripe->limit.lo + stripe->part;
		xbdev__md_stripe_collect(stripe);
	} while (stripe->span.lo >= stripe->span.hi && stripe->limit.lo < end);
	if (stripe->limit.lo >= end || stripe->status != 0) {
		xbdev__md_stripe_finish(stripe, 0);
		return;
	}
	xbdev__md_stripe_plan(stripe);
}

/* Is a block of a column where it would be read from later? */
static bool is_there(const struct xbdev_md_column *column, uint32_t at, uint32_t count)
{
	const struct xbdev_md_stripe *stripe = column->stripe;
	const struct xbdev_md_member *member = stripe->array->roles[column->role];

	return xbdev__md_member_is_readable(
		       member, stripe->sector + at, stripe->sector + at + count) &&
	       !xbdev__md_member_has_bad(member, stripe->sector + at, count);
}

/* A block of which more was refused than the parity makes up for counts as not written. */
static void check_losses(struct xbdev_md_stripe *stripe)
{
	const struct xbdev_md_geometry *geo = &stripe->array->geo;
	uint32_t block = block_sectors(stripe);

	for (uint32_t at = stripe->span.lo; at < stripe->span.hi; at += block) {
		uint32_t nr_missing = 0;

		for (uint32_t i = 0; i < geo->raid_disks; i++) {
			nr_missing += !is_there(&stripe->columns[i], at, block);
		}
		for (uint32_t i = 0; i < geo->nr_data && nr_missing > geo->nr_parity; i++) {
			if (stripe->columns[i].is_touched) {
				fail_entries(stripe, &stripe->columns[i]);
			}
		}
	}
}

void xbdev__md_stripe_part_done(struct xbdev_md_stripe *stripe)
{
	xbdev__md_log_leave(stripe);
	if (stripe->is_lossy && stripe->kind == XBDEV_MD_STRIPE_WRITE) {
		check_losses(stripe);
	}
	if (stripe->part == 0) {
		xbdev__md_stripe_finish(stripe, 0);
		return;
	}
	stripe->part *= 2;
	next_part(stripe);
}
