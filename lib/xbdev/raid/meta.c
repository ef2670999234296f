/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata of an array while it runs: its superblocks and bad block logs.
 *
 * States are numbered. Whoever changes the array asks for a new number (`wanted`); a round writes
 * the newest one to every member that serves, bad block logs first, durably (FUA). When all have
 * it, `written` moves on and who waited for it goes on. What is asked for during a round waits for
 * the next one, so a hundred writers that find the array clean cost two rounds. A member that
 * cannot be written is failed, which is a new state again; the round counts only when nobody failed
 * in it. Power that goes within a round leaves members whose event counts differ by one: assembly
 * takes both kinds, and the newest one's word counts.
 *
 * raid0 and linear have nothing to say after their creation: nothing here is called for them.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/array.h"

#define SAFE_DELAY_NS (200 * XU_NS_PER_MS)

static void start_round(struct xbdev_md_array *array);

/* ---- what a superblock says ---- */

static void fill_roles(const struct xbdev_md_array *array, struct xbdev_md_super *super)
{
	super->max_dev = array->super.max_dev;
	for (uint32_t i = 0; i < super->max_dev; i++) {
		super->dev_roles[i] = XBDEV_MD_ROLE_SPARE;
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (member == NULL || member->super.dev_number >= super->max_dev) {
			continue;
		}
		super->dev_roles[member->super.dev_number] =
			member->state == XBDEV_MD_MEMBER_FAULTY  ? XBDEV_MD_ROLE_FAULTY
			: member->state == XBDEV_MD_MEMBER_SPARE ? XBDEV_MD_ROLE_SPARE
								 : (uint16_t)member->role;
	}
}

static void fill_features(const struct xbdev_md_member *member, struct xbdev_md_super *super)
{
	const uint32_t common = XBDEV_MD_F_BITMAP | XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS |
				XBDEV_MD_F_RAID0_LAYOUT;

	super->feature_map = member->array->super.feature_map & common;
	super->recovery_offset = 0;
	if (member->state == XBDEV_MD_MEMBER_RECOVERING) {
		super->feature_map |= XBDEV_MD_F_RECOVERY_OFFSET;
		super->recovery_offset = member->recovery_saved;
		if (member->is_replacement) {
			super->feature_map |= XBDEV_MD_F_REPLACEMENT;
		}
	}
	if (member->bad != NULL && member->bad->count > 0) {
		super->feature_map |= XBDEV_MD_F_BAD_BLOCKS;
	}
}

static uint64_t wall_ns(const struct xbdev_md_array *array)
{
	const struct xu_clock *clock = xr_reactor_platform(array->reactor)->clock;

	return clock->wall_ns(clock);
}

static void fill_super(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;
	struct xbdev_md_super *super = &member->super;

	super->events = array->super.events;
	super->utime = wall_ns(array) / XU_NS_PER_S;
	super->resync_offset = array->is_active ? 0 : array->super.resync_offset;
	super->size = array->super.size;
	super->raid_disks = array->super.raid_disks;
	fill_features(member, super);
	fill_roles(array, super);
	xbdev__md_super_format(super, member->meta_buf);
}

/* ---- a round ---- */

static void wake(struct xbdev_md_array *array, int status)
{
	struct xu_list ready, *node, *next;

	/* Who is told may ask again: only those that are here now are looked at. */
	xu_list_init(&ready);
	xu_list_for_each_safe (node, next, &array->meta.waiters) {
		struct xbdev_md_waiter *waiter = xu_list_entry(node, struct xbdev_md_waiter, link);

		if (status != 0 || waiter->seq <= array->meta.written) {
			xu_list_del(node);
			xu_list_add_tail(&ready, node);
		}
	}
	while ((node = xu_list_pop(&ready)) != NULL) {
		struct xbdev_md_waiter *waiter = xu_list_entry(node, struct xbdev_md_waiter, link);

		waiter->fn(waiter, status);
	}
}

static void end_round(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;

	meta->is_writing = false;
	if (array->is_broken) {
		meta->written = meta->wanted;
		wake(array, -EIO);
		return;
	}
	if (!meta->has_failed) {
		meta->written = meta->writing;
	}
	if (meta->wanted > meta->written) {
		start_round(array);
	}
	wake(array, 0);
}

static void on_written(struct xbdev_io *io, int status);

static bool counts(const struct xbdev_md_member *member)
{
	return member != NULL && member->state != XBDEV_MD_MEMBER_FAULTY && member->ch != NULL;
}

static void write_part(
	struct xbdev_md_member *member, void *bytes, size_t count, int32_t sectors_from_super)
{
	struct xbdev_io *io = &member->meta_io;
	int rc;

	member->meta_iov = (struct iovec){bytes, count};
	io->ch = member->ch;
	io->cb = on_written;
	io->cb_arg = member;
	io->iov = &member->meta_iov;
	io->nr_iov = 1;
	io->op = XBDEV_OP_WRITE;
	io->flags = XBDEV_IO_FUA;
	io->offset =
		(uint64_t)((int64_t)XBDEV_MD_SUPER_OFFSET + sectors_from_super) * XBDEV_MD_SECTOR;
	io->len = count;
	member->nr_meta++;
	member->array->meta.nr_pending++;
	rc = xbdev_io_submit(io);
	if (rc != 0) {
		on_written(io, rc);
	}
}

static void write_supers(struct xbdev_md_array *array)
{
	array->meta.is_logs = false;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (counts(array->members[i])) {
			fill_super(array->members[i]);
			write_part(array->members[i], array->members[i]->meta_buf,
				XBDEV_MD_SUPER_BYTES, 0);
		}
	}
}

static void write_logs(struct xbdev_md_array *array)
{
	array->meta.is_logs = true;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (counts(member) && member->bad != NULL && member->bad->is_changed) {
			void *log = (char *)member->meta_buf + XBDEV_MD_SUPER_BYTES;

			xbdev__md_bad_blocks_format(member->bad, log);
			write_part(
				member, log, XBDEV_MD_BAD_BLOCKS_BYTES, member->super.bblog_offset);
		}
	}
}

/* One of the pending writes, or the round's own count, has ended. */
static void step(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;

	if (--meta->nr_pending > 0) {
		return;
	}
	if (meta->is_logs) {
		meta->nr_pending = 1;
		write_supers(array);
		step(array);
		return;
	}
	end_round(array);
}

static void on_written(struct xbdev_io *io, int status)
{
	struct xbdev_md_member *member = io->cb_arg;
	struct xbdev_md_array *array = member->array;

	member->nr_meta--;
	if (status != 0 && member->state != XBDEV_MD_MEMBER_FAULTY) {
		array->meta.has_failed = true;
		if (!xbdev__md_member_fail(member, "does not take its metadata", status)) {
			array->is_broken = true;
		}
	}
	step(array);
}

static void start_round(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;

	meta->is_writing = true;
	meta->has_failed = false;
	meta->writing = meta->wanted;
	array->super.events++;
	meta->nr_pending = 1;
	write_logs(array);
	step(array);
}

/* ---- for the rest ---- */

void xbdev__md_meta_init(struct xbdev_md_array *array)
{
	xu_list_init(&array->meta.waiters);
}

uint64_t xbdev__md_meta_update(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;

	meta->wanted++;
	if (!meta->is_writing && !array->is_broken) {
		start_round(array);
	}
	return meta->wanted;
}

void xbdev__md_meta_wait(struct xbdev_md_array *array, struct xbdev_md_waiter *waiter)
{
	if (array->is_broken || waiter->seq <= array->meta.written) {
		waiter->fn(waiter, array->is_broken ? -EIO : 0);
		return;
	}
	xu_list_add_tail(&array->meta.waiters, &waiter->link);
}

/* ---- clean and active ---- */

static void mark_clean(struct xr_timer *timer)
{
	struct xbdev_md_array *array = xu_container_of(timer, struct xbdev_md_array, safe_timer);

	if (array->is_active && array->nr_writes == 0) {
		array->is_active = false;
		xbdev__md_meta_update(array);
	}
}

bool xbdev__md_meta_begin_write(struct xbdev_md_array *array)
{
	if (!array->is_active) {
		xr_timer_stop(array->reactor, &array->safe_timer);
		array->is_active = true;
		array->active_seq = xbdev__md_meta_update(array);
	}
	return array->active_seq <= array->meta.written;
}

void xbdev__md_meta_end_writes(struct xbdev_md_array *array)
{
	if (array->is_active && array->level->has_redundancy) {
		array->safe_timer.fn = mark_clean;
		xr_timer_start(
			array->reactor, &array->safe_timer, array->is_safe_now ? 0 : SAFE_DELAY_NS);
	}
}
