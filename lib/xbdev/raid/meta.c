/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata of an array while it runs: its superblocks and bad block logs.
 *
 * States are numbered. Whoever changes the array asks for a new number (`wanted`); a round writes
 * the newest one to every member that serves. What it is to say is put together when it begins;
 * then members are flushed, so that no "clean", no cleared bit and no log that has forgotten a
 * block comes before the data; then bad block logs and the bitmap are written, then the
 * superblocks, durably (FUA) and each when the one before is done. When all have it, `written`
 * moves on and who waited for it goes on. What is asked for during a round waits for the next one,
 * so a hundred writers that find the array clean cost two rounds. A member that cannot be written
 * is failed, which is a new state again; the round counts only when nobody failed in it. Power that
 * goes within a round leaves members whose event counts differ by one: assembly takes both kinds,
 * and the newest one's word counts.
 *
 * A member's part of the array's log is prepared with the logs of its first round: before any
 * superblock says that it serves.
 *
 * Bits of the bitmap have numbers of their own: a round that only they need leaves the superblocks
 * alone.
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
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/log.h"

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
		/* Without it, it has everything and is about to take over. */
		if (member->recovery_saved != XBDEV_MD_NEVER) {
			super->feature_map |= XBDEV_MD_F_RECOVERY_OFFSET;
			super->recovery_offset = member->recovery_saved;
		}
		if (member->is_replacement) {
			super->feature_map |= XBDEV_MD_F_REPLACEMENT;
		}
		if (member->is_by_bitmap) {
			super->feature_map |= XBDEV_MD_F_RECOVERY_BITMAP;
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

/* Of an array that is being written to, 0: all parity may be wrong. With a PPL it is not, below
 * where a resync has come to; and where none is under way the log says what 0 leaves open. */
static uint64_t resync_offset(const struct xbdev_md_array *array)
{
	uint64_t offset = array->super.resync_offset;

	bool has_mark = array->log != NULL && array->log->kind->needs_mark;

	return !array->is_active || (has_mark && offset != XBDEV_MD_CLEAN) ? offset : 0;
}

static void fill_super(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;
	struct xbdev_md_super *super = &member->super;

	super->events = array->super.events;
	super->utime = wall_ns(array) / XU_NS_PER_S;
	super->resync_offset = resync_offset(array);
	super->size = array->super.size;
	super->raid_disks = array->super.raid_disks;
	fill_features(member, super);
	member->next_known = member->state == XBDEV_MD_MEMBER_IN_SYNC      ? XBDEV_MD_NEVER
			     : member->state == XBDEV_MD_MEMBER_RECOVERING ? member->recovery_saved
									   : 0;
	fill_roles(array, super);
	xbdev__md_super_format(super, member->meta_buf);
}

static void prepare(struct xbdev_md_member *member)
{
	member->is_in_round = true;
	member->is_log_due = member->bad != NULL && member->bad->is_changed;
	if (member->array->meta.has_supers) {
		fill_super(member);
	}
	if (member->is_log_due) {
		xbdev__md_bad_blocks_format(
			member->bad, (char *)member->meta_buf + XBDEV_MD_SUPER_BYTES);
	}
}

/* ---- a round ---- */

/* Calls those in line whose number has been reached; all of them on an error. */
static void wake(struct xu_list *waiters, uint64_t seq, int status)
{
	struct xu_list ready, *node, *next;

	/* Who is told may ask again: only those that are here now are looked at. */
	xu_list_init(&ready);
	xu_list_for_each_safe (node, next, waiters) {
		struct xbdev_md_waiter *waiter = xu_list_entry(node, struct xbdev_md_waiter, link);

		if (status != 0 || waiter->seq <= seq) {
			xu_list_del(node);
			xu_list_add_tail(&ready, node);
		}
	}
	while ((node = xu_list_pop(&ready)) != NULL) {
		struct xbdev_md_waiter *waiter = xu_list_entry(node, struct xbdev_md_waiter, link);

		waiter->fn(waiter, status);
	}
}

static bool has_more(const struct xbdev_md_meta *meta)
{
	return meta->wanted > meta->written || meta->bits_wanted > meta->bits_written;
}

static void note_known(struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member != NULL && member->is_in_round) {
			member->recovery_known = member->next_known;
		}
	}
}

static void end_round(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;
	int status = array->is_broken ? -EIO : 0;

	meta->is_writing = false;
	if (array->bitmap != NULL) {
		xbdev__md_bitmap_taken(array);
	}
	if (array->is_broken) {
		meta->written = meta->wanted;
		meta->bits_written = meta->bits_wanted;
	} else {
		meta->bits_written = meta->bits_writing;
		if (!meta->has_failed && meta->has_supers) {
			meta->written = meta->writing;
			note_known(array);
			if (array->log != NULL) {
				array->log->is_trusted = array->log->will_be_trusted;
			}
		}
		if (has_more(meta)) {
			start_round(array);
		}
	}
	if (array->log != NULL) {
		xbdev__md_log_kick(array);
	}
	wake(&meta->bits_waiters, meta->bits_written, status);
	wake(&meta->waiters, meta->written, status);
}

static bool counts(const struct xbdev_md_member *member)
{
	return member != NULL && member->state != XBDEV_MD_MEMBER_FAULTY && member->ch != NULL;
}

/* One that has come meanwhile is not what the others are told of. */
static bool is_in_round(const struct xbdev_md_member *member)
{
	return counts(member) && member->is_in_round;
}

static void on_done(struct xbdev_io *io, int status);

static void submit(struct xbdev_md_member *member, struct xbdev_md_meta_io *mio, uint8_t op,
	uint64_t sector, void *bytes, size_t count)
{
	struct xbdev_io *io = &mio->io;
	int rc;

	mio->iov = (struct iovec){bytes, count};
	mio->member = member;
	io->ch = member->ch;
	io->cb = on_done;
	io->iov = &mio->iov;
	io->nr_iov = op == XBDEV_OP_WRITE ? 1 : 0;
	io->op = op;
	io->flags = op == XBDEV_OP_WRITE ? XBDEV_IO_FUA : 0;
	io->offset = sector * XBDEV_MD_SECTOR;
	io->len = count;
	member->nr_meta++;
	member->array->meta.nr_pending++;
	rc = xbdev_io_submit(io);
	if (rc != 0) {
		on_done(io, rc);
	}
}

/* What the members were given must be there before anything says that it is. */
static void flush_members(struct xbdev_md_array *array)
{
	bool is_wanted = array->meta.is_flush_wanted;

	array->meta.is_flush_wanted = false;
	for (uint32_t i = 0; i < array->nr_members && is_wanted; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (is_in_round(member) && member->state != XBDEV_MD_MEMBER_SPARE &&
			member->ch->dev->has_write_cache) {
			submit(member, &member->meta_io, XBDEV_OP_FLUSH, 0, NULL, 0);
		}
	}
}

static void write_logs(struct xbdev_md_array *array)
{
	const struct xbdev_md_meta *meta = &array->meta;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];
		uint64_t sector;
		size_t count;
		void *log = is_in_round(member) && array->log != NULL
				    ? array->log->kind->meta(member, &count, &sector)
				    : NULL;

		if (log != NULL) {
			submit(member, &member->log_io, XBDEV_OP_WRITE, sector, log, count);
		}
		if (is_in_round(member) && member->is_log_due) {
			submit(member, &member->meta_io, XBDEV_OP_WRITE,
				xbdev__md_super_place(member->super.bblog_offset),
				(char *)member->meta_buf + XBDEV_MD_SUPER_BYTES,
				XBDEV_MD_BAD_BLOCKS_BYTES);
		}
		if (is_in_round(member) && meta->bits != NULL) {
			submit(member, &member->bits_io, XBDEV_OP_WRITE,
				xbdev__md_super_place(member->super.bitmap_offset) +
					meta->bits_offset / XBDEV_MD_SECTOR,
				meta->bits, meta->bits_count);
		}
	}
}

static void write_supers(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;

	if (meta->has_failed && meta->has_supers) {
		/* They do not say so. Nobody has been told their number: the next round has it. */
		array->super.events--;
		meta->has_supers = false;
	}
	for (uint32_t i = 0; i < array->nr_members && meta->has_supers; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (is_in_round(member)) {
			member->super_crc = member->next_super_crc;
			submit(member, &member->meta_io, XBDEV_OP_WRITE, XBDEV_MD_SUPER_OFFSET,
				member->meta_buf, XBDEV_MD_SUPER_BYTES);
		}
	}
}

/* One after the other, each when all of the one before is done. */
static void (*const parts[])(struct xbdev_md_array *array) = {
	flush_members,
	write_logs,
	write_supers,
};

/* One of the pending I/Os, or the part's own count, has ended. */
static void step(struct xbdev_md_array *array)
{
	struct xbdev_md_meta *meta = &array->meta;

	while (--meta->nr_pending == 0) {
		if (meta->part == sizeof(parts) / sizeof(parts[0])) {
			end_round(array);
			return;
		}
		meta->nr_pending = 1;
		parts[meta->part++](array);
	}
}

static void on_done(struct xbdev_io *io, int status)
{
	struct xbdev_md_member *member = xu_container_of(io, struct xbdev_md_meta_io, io)->member;
	struct xbdev_md_array *array = member->array;

	member->nr_meta--;
	if (io == &member->log_io.io && status == 0) {
		member->is_log_ready = true;
	}
	if (status != 0 && member->state != XBDEV_MD_MEMBER_FAULTY) {
		array->meta.has_failed = array->meta.is_flush_wanted = true;
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
	meta->has_supers = meta->wanted > meta->written;
	meta->writing = meta->wanted;
	meta->bits_writing = meta->bits_wanted;
	meta->part = 0;
	array->super.events += meta->has_supers;
	if (array->log != NULL) {
		array->log->will_be_trusted =
			!array->log->kind->needs_mark || array->super.resync_offset != 0;
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL) {
			array->members[i]->is_in_round = false;
		}
		if (counts(array->members[i])) {
			prepare(array->members[i]);
		}
	}
	if (array->bitmap == NULL ||
		!xbdev__md_bitmap_take(array, meta->has_supers ? array->super.events : 0,
			&meta->bits, &meta->bits_offset, &meta->bits_count)) {
		meta->bits = NULL;
	}
	meta->nr_pending = 1;
	step(array);
}

/* ---- for the rest ---- */

void xbdev__md_meta_init(struct xbdev_md_array *array)
{
	xu_list_init(&array->meta.waiters);
	xu_list_init(&array->meta.bits_waiters);
}

static void begin(struct xbdev_md_array *array, bool is_flush_wanted)
{
	struct xbdev_md_meta *meta = &array->meta;

	meta->is_flush_wanted |= is_flush_wanted;
	if (array->is_sealed) {
		meta->written = meta->wanted;
		meta->bits_written = meta->bits_wanted;
	} else if (!meta->is_writing && !array->is_broken) {
		start_round(array);
	}
}

uint64_t xbdev__md_meta_update(struct xbdev_md_array *array)
{
	xbdev__md_show(array);
	array->meta.wanted++;
	begin(array, true);
	return array->meta.wanted;
}

void xbdev__md_meta_update_bits(struct xbdev_md_array *array, bool has_cleared)
{
	array->meta.bits_wanted++;
	/* A bit that is set promises nothing about data. */
	begin(array, has_cleared);
}

void xbdev__md_meta_wait_bits(struct xbdev_md_array *array, struct xbdev_md_waiter *waiter)
{
	waiter->seq = array->meta.bits_wanted;
	if (array->is_broken || waiter->seq <= array->meta.bits_written) {
		waiter->fn(waiter, array->is_broken ? -EIO : 0);
		return;
	}
	xu_list_add_tail(&array->meta.bits_waiters, &waiter->link);
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
		/* No data has changed since the disks said "clean": nothing to flush. */
		array->active_seq = ++array->meta.wanted;
		begin(array, false);
	}
	return array->active_seq <= array->meta.written;
}

void xbdev__md_meta_end_writes(struct xbdev_md_array *array)
{
	if (array->is_active && array->level->has_redundancy) {
		array->safe_timer.fn = mark_clean;
		xr_timer_start(array->reactor, &array->safe_timer, SAFE_DELAY_NS);
	}
}
