/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One piece of a mirror (raid1, raid10) made good: closed to writes by a window, its copies are
 * read and compared with the first good one, and those that differ or cannot be read are written. A
 * recovery reads one copy and writes its target.
 *
 * Where no member can give all of a piece it is halved, and so on: only a block that no member can
 * give is lost. A copy that could not be read and takes the write counts as corrected.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/xbdev/raid/sync.h"

#define NO_CHILD_NS XU_NS_PER_MS

/* ---- the end ---- */

/* The members of its copies may go now, if they are to. */
static void drop_copies(struct xbdev_md_slot *slot)
{
	for (uint32_t i = 0; i < slot->nr_copies; i++) {
		slot->copies[i].member->nr_users--;
	}
	slot->nr_copies = 0;
}

static void finish(struct xbdev_md_slot *slot, int status)
{
	drop_copies(slot);
	xbdev__md_window_close(slot->array, &slot->window);
	xbdev__md_slot_done(slot, status, slot->mismatch_sectors);
}

static void begin_part(struct xbdev_md_slot *slot);

/* A part is dealt with: the next one, or the end. */
static void end_part(struct xbdev_md_slot *slot, int status)
{
	uint64_t left;

	slot->at += slot->len;
	left = slot->count - slot->at;
	if (status != 0 || left == 0) {
		finish(slot, status);
		return;
	}
	drop_copies(slot);
	slot->len = slot->len * 2 < left ? slot->len * 2 : left;
	begin_part(slot);
}

/* Nobody can give this part as a whole. */
static void fail_part(struct xbdev_md_slot *slot)
{
	uint64_t block = slot->array->dev.limits.block_size / XBDEV_MD_SECTOR;

	if (slot->len > block) {
		drop_copies(slot);
		slot->len = (slot->len / 2 + block - 1) / block * block;
		begin_part(slot);
		return;
	}
	xbdev__md_slot_lost(slot, slot->sector + slot->at, slot->len, false);
	end_part(slot, 0);
}

/* ---- I/O ---- */

static void on_no_child(struct xr_timer *timer)
{
	struct xbdev_md_slot *slot = xu_container_of(timer, struct xbdev_md_slot, timer);

	slot->pump(slot);
}

/* Calls `pump`, which gives out I/Os for as long as there are children and drops the slot's own
 * count when it has given out all; else it is called again. */
static void start(struct xbdev_md_slot *slot, void (*pump)(struct xbdev_md_slot *slot))
{
	slot->nr_pending = 1;
	slot->pump = pump;
	pump(slot);
}

static void pump_later(struct xbdev_md_slot *slot)
{
	slot->timer.fn = on_no_child;
	xr_timer_start(slot->array->reactor, &slot->timer, NO_CHILD_NS);
}

static struct xbdev_md_child *prepare(struct xbdev_md_slot *slot, struct xbdev_md_slot_copy *copy,
	uint8_t op, void (*done)(struct xbdev_md_child *child, int status))
{
	struct xbdev_md_child *child = xbdev__md_child_get(slot->array, NULL);

	if (child != NULL) {
		child->done = done;
		child->arg = slot;
		child->sector = (uint64_t)(copy - slot->copies);
		child->iov[0] = (struct iovec){copy->buf, slot->len * XBDEV_MD_SECTOR};
		child->io.op = op;
		child->io.iov = child->iov;
		child->io.nr_iov = 1;
		child->io.len = child->iov[0].iov_len;
	}
	return child;
}

/* ---- writing ---- */

static void on_written(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_slot *slot = child->arg;
	struct xbdev_md_slot_copy *copy = &slot->copies[child->sector];
	struct xbdev_md_member *member = child->member;
	bool is_lossy;

	if (status != 0 && xbdev__md_narrow(child, status)) {
		return;
	}
	is_lossy = child->is_lossy;
	if (status == 0) {
		xbdev__md_member_clear_bad(member, &child->io);
	}
	xbdev__md_child_put(slot->array, child);
	if (status != 0) {
		if (!xbdev__md_member_fail(member, "does not take a write", status)) {
			slot->status = status;
		}
	} else if (copy->has_failed && !is_lossy) {
		member->super.cnt_corrected_read += (uint32_t)slot->len;
	}
	if (--slot->nr_pending == 0) {
		end_part(slot, slot->status);
	}
}

static void pump_writes(struct xbdev_md_slot *slot)
{
	for (uint32_t i = 0; i < slot->nr_copies; i++) {
		struct xbdev_md_slot_copy *copy = &slot->copies[i];
		struct xbdev_md_child *child;

		if (!copy->is_written || !xbdev__md_member_is_writable(copy->member)) {
			continue;
		}
		copy->buf = slot->content;
		child = prepare(slot, copy, XBDEV_OP_WRITE, on_written);
		if (child == NULL) {
			pump_later(slot);
			return;
		}
		copy->is_written = false;
		slot->nr_pending++;
		xbdev__md_child_send(child, copy->member, copy->sector);
	}
	if (--slot->nr_pending == 0) {
		end_part(slot, slot->status);
	}
}

/* ---- reading ---- */

static bool is_recovery(const struct xbdev_md_slot *slot)
{
	return slot->sync != NULL && slot->sync->kind == XBDEV_MD_SYNC_RECOVER;
}

static bool is_look_only(const struct xbdev_md_slot *slot)
{
	return slot->sync != NULL && slot->sync->kind == XBDEV_MD_SYNC_CHECK;
}

static bool try_another(struct xbdev_md_slot *slot);

/* A copy could not be read here, and copies are not known to agree: which of them is believed is
 * decided block by block, as it is by who reads. */
static bool is_too_coarse(const struct xbdev_md_slot *slot)
{
	const struct xbdev_md_array *array = slot->array;
	bool has_failed = false;

	for (uint32_t i = 0; i < slot->nr_copies; i++) {
		has_failed |= slot->copies[i].has_failed;
	}
	return has_failed && !xbdev__md_is_agreed(array, slot->window.start, slot->window.end) &&
	       slot->len > array->dev.limits.block_size / XBDEV_MD_SECTOR;
}

static void compare(struct xbdev_md_slot *slot)
{
	slot->content = NULL;
	if (!is_recovery(slot) && is_too_coarse(slot)) {
		fail_part(slot);
		return;
	}
	for (uint32_t i = 0; i < slot->nr_copies; i++) {
		struct xbdev_md_slot_copy *copy = &slot->copies[i];

		if (copy->is_read && !copy->has_failed && slot->content == NULL) {
			slot->content = copy->buf;
		} else if (copy->is_read && !copy->has_failed &&
			   memcmp(copy->buf, slot->content, slot->len * XBDEV_MD_SECTOR) != 0) {
			slot->mismatch_sectors += slot->len;
			copy->is_written = !is_look_only(slot);
		}
		copy->is_written |= copy->has_failed;
	}
	if (slot->content != NULL) {
		start(slot, pump_writes);
	} else if (!try_another(slot)) {
		fail_part(slot);
	}
}

static void on_read(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_slot *slot = child->arg;

	slot->copies[child->sector].has_failed = status != 0;
	xbdev__md_child_put(slot->array, child);
	if (--slot->nr_pending == 0) {
		compare(slot);
	}
}

static void pump_reads(struct xbdev_md_slot *slot)
{
	for (uint32_t i = 0; i < slot->nr_copies; i++) {
		struct xbdev_md_slot_copy *copy = &slot->copies[i];
		struct xbdev_md_child *child;

		if (copy->is_read || copy->is_written) {
			continue;
		}
		child = prepare(slot, copy, XBDEV_OP_READ, on_read);
		if (child == NULL) {
			pump_later(slot);
			return;
		}
		copy->is_read = true;
		slot->nr_pending++;
		xbdev__md_child_send(child, copy->member, copy->sector);
	}
	if (--slot->nr_pending == 0) {
		compare(slot);
	}
}

/* ---- the plan ---- */

static void add_copy(struct xbdev_md_slot *slot, struct xbdev_md_member *member, uint64_t sector,
	bool is_written)
{
	uint32_t i = slot->nr_copies++;

	member->nr_users++;
	slot->copies[i] = (struct xbdev_md_slot_copy){
		.member = member,
		.sector = sector,
		.buf = slot->buf + (size_t)i * XBDEV_MD_SYNC_SECTORS * XBDEV_MD_SECTOR,
		.is_written = is_written,
	};
}

static bool is_write_mostly(const struct xbdev_md_member *member)
{
	return (member->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0;
}

/* All copies that can be read, in MD's order, but write-mostly ones last, as for who reads; one
 * with blocks that are known to be bad is not believed and gets what the others have. So do
 * replacements: what a crash has left on them may differ from all others, and where their recovery
 * has been it does not come again. */
static void plan_compare(struct xbdev_md_slot *slot, uint64_t array_sector)
{
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	uint64_t run;
	uint32_t nr = xbdev__md_copies(&slot->array->geo, array_sector, places, &run);

	for (uint32_t n = 0; n < 2 * nr; n++) {
		uint32_t i = n % nr;
		struct xbdev_md_member *member = slot->array->roles[places[i].role];

		if (xbdev__md_member_is_readable(
			    member, places[i].sector, places[i].sector + slot->len) &&
			is_write_mostly(member) == (n >= nr)) {
			add_copy(slot, member, places[i].sector,
				xbdev__md_member_has_bad(member, places[i].sector, slot->len));
		}
	}
	for (uint32_t i = 0; i < nr && !is_look_only(slot); i++) {
		struct xbdev_md_member *twin = slot->array->replacements[places[i].role];

		if (xbdev__md_member_is_writable(twin)) {
			add_copy(slot, twin, places[i].sector, true);
		}
	}
}

/* The copy to read, but for those that have been tried, and the target. */
static bool plan_recovery(struct xbdev_md_slot *slot)
{
	struct xbdev_md_member *target = slot->sync->target;
	uint32_t own = target->is_replacement ? 0 : 1u << target->role;
	struct xbdev_md_choice choice = xbdev__md_choose(
		slot->array, slot->window.start + slot->at, slot->len, slot->tried | own, true);

	drop_copies(slot);
	if (choice.member == NULL || choice.len < slot->len) {
		return false;
	}
	slot->tried |= 1u << choice.member->role;
	add_copy(slot, choice.member, choice.sector, false);
	add_copy(slot, target, slot->sector + slot->at, true);
	return true;
}

static bool try_another(struct xbdev_md_slot *slot)
{
	if (!is_recovery(slot) || !plan_recovery(slot)) {
		return false;
	}
	start(slot, pump_reads);
	return true;
}

static bool has_source(const struct xbdev_md_slot *slot)
{
	for (uint32_t i = 0; i < slot->nr_copies; i++) {
		if (!slot->copies[i].is_written) {
			return true;
		}
	}
	return false;
}

static void on_no_source(struct xr_timer *timer)
{
	fail_part(xu_container_of(timer, struct xbdev_md_slot, timer));
}

/* Shortens the part until each copy is bad as a whole or not at all: whoever reads goes by blocks
 * too, and both must believe the same copy. */
static void cut_at_bad(struct xbdev_md_slot *slot, uint64_t array_sector)
{
	struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
	uint64_t run;
	uint32_t nr = xbdev__md_copies(&slot->array->geo, array_sector, places, &run);

	for (uint32_t i = 0; i < nr; i++) {
		const struct xbdev_md_member *member = slot->array->roles[places[i].role];
		uint64_t bad, bad_count, at = places[i].sector;

		if (member == NULL || member->bad == NULL || member->bad->count == 0) {
			continue;
		}
		at += member->super.data_offset;
		if (xbdev__md_bad_blocks_find(member->bad, at, slot->len, &bad, &bad_count)) {
			slot->len = bad > at ? bad - at : bad_count;
		}
	}
}

static void begin_part(struct xbdev_md_slot *slot)
{
	slot->tried = 0;
	if (is_recovery(slot)) {
		plan_recovery(slot);
	} else {
		cut_at_bad(slot, slot->window.start + slot->at);
		plan_compare(slot, slot->window.start + slot->at);
	}
	if (has_source(slot)) {
		start(slot, pump_reads);
	} else {
		/* Later: whoever starts slots goes on with the next one. */
		slot->timer.fn = on_no_source;
		xr_timer_start(slot->array->reactor, &slot->timer, 0);
	}
}

static void on_window(struct xbdev_md_window *window)
{
	begin_part(xu_container_of(window, struct xbdev_md_slot, window));
}

/* The array sector of the slot's place; XBDEV_MD_NEVER: nothing of the array lies there. */
static uint64_t array_sector(const struct xbdev_md_slot *slot)
{
	const struct xbdev_md_array *array = slot->array;

	if (array->geo.level == 10 && is_recovery(slot)) {
		return xbdev__md_raid10_sector(&array->geo, slot->sync->target->role, slot->sector);
	}
	return slot->sector;
}

static void on_nothing_there(struct xr_timer *timer)
{
	xbdev__md_slot_done(xu_container_of(timer, struct xbdev_md_slot, timer), 0, 0);
}

void xbdev__md_mirror_sync(struct xbdev_md_slot *slot)
{
	uint64_t sector = array_sector(slot);

	slot->nr_copies = 0;
	slot->at = 0;
	slot->len = slot->count;
	slot->status = 0;
	slot->mismatch_sectors = 0;
	if (sector == XBDEV_MD_NEVER || sector >= slot->array->geo.array_size) {
		slot->timer.fn = on_nothing_there;
		xr_timer_start(slot->array->reactor, &slot->timer, 0);
		return;
	}
	slot->window.start = sector;
	slot->window.end = sector + slot->count;
	slot->window.ready = on_window;
	xbdev__md_window_open(slot->array, &slot->window);
}

/* ---- a repair by itself ---- */

#define MAX_REPAIRS 8u

void xbdev__md_repair(struct xbdev_md_array *array, uint64_t sector, uint64_t count)
{
	while (count > 0 && array->nr_repairs < MAX_REPAIRS && !array->is_read_only &&
		!array->is_retiring) {
		uint64_t len = XBDEV_MD_SYNC_SECTORS, run = count;
		struct xbdev_md_place places[XBDEV_MD_MAX_DISKS];
		struct xbdev_md_slot *slot = calloc(1, sizeof(*slot));

		if (slot == NULL) {
			return;
		}
		xbdev__md_copies(&array->geo, sector, places, &run);
		len = run < len ? run : len;
		len = count < len ? count : len;
		slot->buf_bytes = (size_t)XBDEV_MD_SYNC_SECTORS * XBDEV_MD_SECTOR *
				  xbdev__md_nr_copies(array);
		slot->buf = xu_buf_alloc(slot->buf_bytes);
		if (slot->buf == NULL) {
			free(slot);
			return;
		}
		slot->array = array;
		slot->sector = sector;
		slot->count = len;
		array->nr_repairs++;
		xbdev__md_mirror_sync(slot);
		sector += len;
		count -= len;
	}
}
