/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an array does to itself: resync after a crash, recovery of members, check and repair.
 *
 * The range is walked by a few slots at a time, each on 64 KiB of every member (parity: a stripe,
 * under its lock; mirrors: a window closed to writes), in the order of sync_walk.c. `done` is below
 * what any slot still works on. Progress is made durable now and then: members are flushed, then
 * the superblocks say how far it is, so a crash repeats some of the work and never believes in more
 * than there is.
 *
 *   kick() ──▶ RECOVER, RESYNC ──▶ finish(): members in sync, or the array clean ──▶ kick()
 *   scrub() ─▶ CHECK, REPAIR ──▶ finish(): the count of what did not agree
 *   stop(), a target that fails, a scrub when a member can be recovered
 *            ──▶ the slots end, progress is saved
 *
 * Speed: while nobody else uses the array it runs as fast as the members do, or up to
 * sync_speed_max; as soon as somebody does, it keeps to what those who use it hardly notice
 * (pulse.h), but not below sync_speed_min.
 */
#include "lib/xbdev/raid/sync.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/raid/bitmap.h"

#define SAVE_EVERY_NS (300 * XU_NS_PER_S)
#define SAVE_PARTS    16u
#define PACE_NS       (100 * XU_NS_PER_MS) /* in which the speed is kept */

static void launch(struct xbdev_md_sync *sync);

static struct xu_logger *log_of(const struct xbdev_md_array *array)
{
	return xbdev_ctx_log(array->dev.ctx);
}

const char *xbdev__md_sync_name(enum xbdev_md_sync_kind kind)
{
	static const char *const names[] = {
		[XBDEV_MD_SYNC_IDLE] = "idle",
		[XBDEV_MD_SYNC_RESYNC] = "resync",
		[XBDEV_MD_SYNC_RECOVER] = "recovery",
		[XBDEV_MD_SYNC_CHECK] = "check",
		[XBDEV_MD_SYNC_REPAIR] = "repair",
	};

	return names[kind];
}

/* ---- progress on disk ---- */

/* The members have what they were given: the state may say so. */
static void note_saved(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;

	if (sync->kind == XBDEV_MD_SYNC_RESYNC && !sync->is_incomplete) {
		array->super.resync_offset = sync->saving;
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL &&
			xbdev__md_sync_is_target(sync, array->members[i])) {
			array->members[i]->recovery_saved = sync->saving;
		}
	}
}

static void conclude_when_known(struct xbdev_md_sync *sync);

static void on_saved(struct xbdev_md_sync *sync)
{
	note_saved(sync);
	sync->is_saving = false;
	if (sync->is_ending) {
		conclude_when_known(sync);
	} else {
		xbdev__md_meta_update(sync->array);
	}
}

static void on_flushed(struct xbdev_md_child *child, int status)
{
	struct xbdev_md_sync *sync = child->arg;
	struct xbdev_md_member *member = child->member;

	if (status != 0) {
		sync->has_failed |= !xbdev__md_member_fail(member, "could not be flushed", status);
	}
	if (--sync->nr_flushes == 0) {
		bool is_ending = sync->is_ending;

		on_saved(sync);
		if (!is_ending) {
			launch(sync); /* its end may have come meanwhile */
		}
	}
}

/* Flushes what may hold back what has been written, then notes how far it is. */
static void save(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;

	sync->is_saving = true;
	sync->saving = sync->done;
	sync->saved_ns = xr_now_ns(array->reactor);
	sync->nr_flushes = 1;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];
		struct xbdev_md_child *child;

		if (member == NULL || member->state == XBDEV_MD_MEMBER_SPARE ||
			!xbdev__md_member_is_writable(member) ||
			!member->ch->dev->has_write_cache) {
			continue;
		}
		child = &member->flush;
		child->done = on_flushed;
		child->arg = sync;
		child->io.op = XBDEV_OP_FLUSH;
		child->io.flags = 0;
		child->io.nr_iov = 0;
		child->io.len = 0;
		sync->nr_flushes++;
		xbdev__md_child_send(child, member, 0);
	}
	sync->last_saved = sync->saving;
	if (--sync->nr_flushes == 0) {
		on_saved(sync);
	}
}

/* ---- the end ---- */

static bool is_whole(const struct xbdev_md_sync *sync)
{
	return sync->done >= sync->end && !sync->has_failed && !sync->is_incomplete;
}

static void members_in_sync(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member == NULL || !xbdev__md_sync_is_target(sync, member)) {
			continue;
		}
		member->state = XBDEV_MD_MEMBER_IN_SYNC;
		member->recovery_offset = member->recovery_saved = XBDEV_MD_NEVER;
		member->early = (struct xbdev_md_regions){0};
		member->is_by_bitmap = false;
		xbdev__md_note(array, "in-sync", member, "member %s is in sync as number %u",
			member->name, member->role);
		xbdev__md_member_promote(member);
	}
	xbdev__md_count_degraded(array);
}

static void conclude(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;
	bool is_due = is_whole(sync) || sync->is_yielding || !xbdev__md_sync_has_target(sync);

	xr_timer_stop(array->reactor, &sync->timer);
	array->mismatch_sectors = sync->mismatch_sectors;
	xbdev__md_note(array, is_whole(sync) ? "sync-done" : "sync-ended", NULL,
		"%s %s at %llu of %llu sectors, %llu did not agree",
		xbdev__md_sync_name(sync->kind), is_whole(sync) ? "is done" : "ended",
		(unsigned long long)sync->done, (unsigned long long)sync->end,
		(unsigned long long)sync->mismatch_sectors);
	if (is_whole(sync)) {
		if (sync->kind == XBDEV_MD_SYNC_RESYNC) {
			array->in_sync_below = XBDEV_MD_NEVER;
			array->super.resync_offset = XBDEV_MD_CLEAN;
			array->early = (struct xbdev_md_regions){0};
		}
		members_in_sync(sync);
	}
	xbdev__md_sync_forget_targets(sync);
	xbdev__md_turn_end(array);
	xbdev__md_pulse_relax(&array->pulse);
	array->sync = NULL;
	xbdev__md_meta_update(array);
	if (is_due) {
		xbdev__md_sync_kick(array);
	}
	xu_buf_free(sync->memory, sync->memory_bytes);
	free(sync);
}

static void on_known(struct xbdev_md_waiter *waiter, int status)
{
	struct xbdev_md_sync *sync = xu_container_of(waiter, struct xbdev_md_sync, waiter);

	sync->has_failed |= status != 0;
	conclude(sync);
}

/* Who takes over must have everything by its own word first: power may fail when some superblocks
 * say that the other one is out and its own does not say that it is complete, and then there is
 * nobody for the role. */
static void conclude_when_known(struct xbdev_md_sync *sync)
{
	const struct xbdev_md_array *array = sync->array;
	bool is_replacing = false;

	for (uint32_t i = 0; i < array->geo.raid_disks && is_whole(sync); i++) {
		struct xbdev_md_member *member = array->replacements[i];

		if (member != NULL && xbdev__md_sync_is_target(sync, member)) {
			member->recovery_saved = XBDEV_MD_NEVER;
			is_replacing = true;
		}
	}
	if (!is_replacing) {
		conclude(sync);
		return;
	}
	sync->waiter.seq = xbdev__md_meta_update(sync->array);
	sync->waiter.fn = on_known;
	xbdev__md_meta_wait(sync->array, &sync->waiter);
}

static void end(struct xbdev_md_sync *sync)
{
	if (!sync->is_ending && sync->nr_busy == 0 && !sync->is_saving) {
		sync->is_ending = true;
		save(sync);
	}
}

/* ---- slots ---- */

static void update_done(struct xbdev_md_sync *sync)
{
	uint64_t done = sync->next;

	if (sync->has_failed) {
		return; /* at the place that failed, or before it */
	}
	for (uint32_t i = 0; i < XBDEV_MD_SYNC_SLOTS; i++) {
		if (sync->slots[i].is_busy && sync->slots[i].sector < done) {
			done = sync->slots[i].sector;
		}
	}
	sync->done = done;
	if (sync->kind == XBDEV_MD_SYNC_RESYNC && !sync->is_incomplete) {
		sync->array->in_sync_below = done;
	}
	for (uint32_t i = 0; i < sync->array->nr_members; i++) {
		struct xbdev_md_member *member = sync->array->members[i];

		if (member != NULL && xbdev__md_sync_is_target(sync, member)) {
			member->recovery_offset = done;
		}
	}
}

/* ---- what is lost ---- */

/* What no member can give is lost on those that are being recovered: they say so of these blocks
 * and are taken in with the rest. False: one has no log for it, or no room in it. */
static bool mark_lost(struct xbdev_md_sync *sync, uint64_t sector, uint64_t count)
{
	struct xbdev_md_array *array = sync->array;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member != NULL && xbdev__md_sync_is_target(sync, member) &&
			!xbdev__md_member_add_bad(member, sector, count)) {
			return false;
		}
	}
	return true;
}

/* Tells of the blocks that a slot has lost one after the other. */
static void tell_lost(struct xbdev_md_slot *slot)
{
	struct xbdev_md_array *array = slot->array;
	bool is_by_array = array->geo.level == 10 && slot->sync->kind != XBDEV_MD_SYNC_RECOVER;

	if (slot->nr_lost > 0) {
		xbdev__md_note(array, "blocks-lost", NULL,
			"%s: no member can give %llu sectors from %llu of %s; they read as "
			"errors until they are written",
			xbdev__md_sync_name(slot->sync->kind), (unsigned long long)slot->nr_lost,
			(unsigned long long)slot->lost, is_by_array ? "the array" : "each member");
		xbdev__md_meta_update(array);
	}
	slot->nr_lost = 0;
}

void xbdev__md_slot_lost(struct xbdev_md_slot *slot, uint64_t sector, uint64_t count, bool is_noted)
{
	struct xbdev_md_sync *sync = slot->sync;

	if (sync == NULL) {
		return;
	}
	if (slot->nr_lost > 0 && slot->lost + slot->nr_lost != sector) {
		tell_lost(slot);
	}
	slot->lost = slot->nr_lost == 0 ? sector : slot->lost;
	slot->nr_lost += count;
	if (sync->kind == XBDEV_MD_SYNC_RECOVER) {
		sync->has_failed |= sync->array->is_broken || !mark_lost(sync, sector, count);
	} else if (sync->kind == XBDEV_MD_SYNC_RESYNC) {
		sync->is_incomplete |= !is_noted;
	}
}

/* ---- the end of a slot ---- */

static void note_failure(struct xbdev_md_slot *slot, int status)
{
	struct xbdev_md_sync *sync = slot->sync;

	xu_err(log_of(sync->array), "array %s: %s at sector %llu: %s", sync->array->dev.name,
		xbdev__md_sync_name(sync->kind), (unsigned long long)slot->sector,
		strerror(-status));
	if (status == -EIO) {
		xbdev__md_slot_lost(slot, slot->sector, slot->count, false);
	} else {
		sync->has_failed |= sync->kind == XBDEV_MD_SYNC_RECOVER;
		sync->is_incomplete |= sync->kind == XBDEV_MD_SYNC_RESYNC;
	}
}

void xbdev__md_slot_done(struct xbdev_md_slot *slot, int status, uint64_t mismatch_sectors)
{
	struct xbdev_md_sync *sync = slot->sync;

	if (sync == NULL) {
		struct xbdev_md_array *array = slot->array;

		array->nr_repairs--;
		xu_buf_free(slot->buf, slot->buf_bytes);
		free(slot);
		xbdev__md_sync_kick(array); /* a spare may be free now */
		return;
	}
	sync->nr_busy--;
	xbdev__md_pulse_end(&sync->array->pulse);
	sync->mismatch_sectors += mismatch_sectors;
	if (status != 0) {
		note_failure(slot, status);
	}
	tell_lost(slot);
	slot->is_busy = false;
	xbdev__md_walk_note(sync, slot->sector);
	update_done(sync);
	launch(sync);
}

static void on_stripe_lost(void *arg, uint64_t sector, uint64_t count, bool is_noted)
{
	xbdev__md_slot_lost(arg, sector, count, is_noted);
}

static void on_stripe_synced(void *arg, int status, uint64_t mismatch_sectors)
{
	xbdev__md_slot_done(arg, status, mismatch_sectors);
}

static void start_slot(struct xbdev_md_slot *slot)
{
	struct xbdev_md_sync *sync = slot->sync;
	struct xbdev_md_array *array = sync->array;

	slot->is_busy = true;
	slot->sector = xbdev__md_walk_take(sync, &slot->count);
	sync->nr_busy++;
	xbdev__md_pulse_begin(&array->pulse);
	if (array->stripes == NULL) {
		xbdev__md_mirror_sync(slot);
		return;
	}
	slot->entry.is_check = sync->kind == XBDEV_MD_SYNC_CHECK;
	slot->entry.synced = on_stripe_synced;
	slot->entry.lost = on_stripe_lost;
	slot->entry.arg = slot;
	xbdev__md_stripe_sync(array, &slot->entry, slot->sector);
}

/* ---- pace ---- */

static void on_pace(struct xr_timer *timer)
{
	launch(xu_container_of(timer, struct xbdev_md_sync, timer));
}

static void note_speed(struct xbdev_md_sync *sync, uint64_t now_ns)
{
	if (now_ns - sync->pace_ns >= PACE_NS) {
		sync->speed_kib = (sync->walked - sync->pace_walked) * XU_NS_PER_S / 2 /
				  (now_ns - sync->pace_ns);
		sync->pace_ns = now_ns;
		sync->pace_walked = sync->walked;
		sync->nr_submitted_seen = sync->array->nr_submitted;
	}
}

/* For how long nothing more is to begin; 0: it may. */
static uint64_t wait_ns(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;
	uint64_t now_ns = xr_now_ns(array->reactor), allowed;
	bool is_used = array->nr_reqs > 0 || array->nr_submitted != sync->nr_submitted_seen;

	note_speed(sync, now_ns);
	if (is_used) {
		const struct xbdev_md_pulse_limits limits = {
			.min_kib = array->sync_speed_min,
			.max_kib = array->sync_speed_max,
		};

		return xbdev__md_pulse_ask(&array->pulse, now_ns,
			xbdev__md_sync_step(
				sync, sync->early_end != 0 ? sync->early_next : sync->next),
			&limits);
	}
	xbdev__md_pulse_relax(&array->pulse);
	if (array->sync_speed_max == 0) {
		return 0;
	}
	/* KiB/s over the pace, in sectors; at least one step. */
	allowed = array->sync_speed_max * 2 * PACE_NS / XU_NS_PER_S;
	return sync->walked - sync->pace_walked > allowed ? PACE_NS / 4 : 0;
}

static void launch(struct xbdev_md_sync *sync)
{
	uint64_t now_ns = xr_now_ns(sync->array->reactor), delay_ns;

	if (sync->is_stopping || sync->has_failed || sync->array->is_broken ||
		!xbdev__md_sync_has_target(sync) || sync->next >= sync->end) {
		end(sync);
		return;
	}
	if (!sync->is_saving && (sync->done - sync->last_saved > sync->end / SAVE_PARTS ||
					now_ns - sync->saved_ns > SAVE_EVERY_NS)) {
		save(sync);
	}
	for (uint32_t i = 0; i < XBDEV_MD_SYNC_SLOTS; i++) {
		if (sync->slots[i].is_busy) {
			continue;
		}
		if (!xbdev__md_walk_seek(sync)) {
			break;
		}
		delay_ns = wait_ns(sync);
		if (delay_ns > 0) {
			xr_timer_start(sync->array->reactor, &sync->timer, delay_ns);
			return;
		}
		start_slot(&sync->slots[i]);
	}
	if (sync->nr_busy == 0 && sync->next >= sync->end) {
		update_done(sync);
		end(sync);
	}
}

/* ---- beginning ---- */

static struct xbdev_md_sync *sync_new(struct xbdev_md_array *array, enum xbdev_md_sync_kind kind)
{
	struct xbdev_md_sync *sync = calloc(1, sizeof(*sync));

	if (sync == NULL) {
		return NULL;
	}
	sync->array = array;
	sync->kind = kind;
	sync->timer.fn = on_pace;
	sync->pace_ns = sync->saved_ns = xr_now_ns(array->reactor);
	sync->nr_submitted_seen = array->nr_submitted;
	for (uint32_t i = 0; i < XBDEV_MD_SYNC_SLOTS; i++) {
		sync->slots[i].sync = sync;
		sync->slots[i].array = array;
	}
	if (array->stripes == NULL) {
		size_t each = (size_t)XBDEV_MD_SYNC_SECTORS * XBDEV_MD_SECTOR *
			      xbdev__md_nr_copies(array);

		sync->memory_bytes = each * XBDEV_MD_SYNC_SLOTS;
		sync->memory = xu_buf_alloc(sync->memory_bytes);
		if (sync->memory == NULL) {
			free(sync);
			return NULL;
		}
		for (uint32_t i = 0; i < XBDEV_MD_SYNC_SLOTS; i++) {
			sync->slots[i].buf = (char *)sync->memory + i * each;
		}
	}
	return sync;
}

/* False: there is no memory for it. */
static bool begin(struct xbdev_md_array *array, enum xbdev_md_sync_kind kind)
{
	struct xbdev_md_sync *sync = sync_new(array, kind);

	if (sync == NULL) {
		xu_err(log_of(array), "array %s: no memory for its %s", array->dev.name,
			xbdev__md_sync_name(kind));
		return false;
	}
	xbdev__md_sync_range(sync);
	sync->is_by_bitmap = array->bitmap != NULL && xbdev__md_sync_can_skip(sync);
	sync->next = sync->done = sync->last_saved = sync->start;
	xbdev__md_walk_init(sync);
	array->sync = sync;
	xbdev__md_note(array, "sync-begun", NULL, "%s begins at %llu of %llu sectors",
		xbdev__md_sync_name(kind), (unsigned long long)sync->start,
		(unsigned long long)sync->end);
	launch(sync);
	return true;
}

static void begin_in_turn(struct xbdev_md_array *array, enum xbdev_md_sync_kind kind)
{
	if (!xbdev__md_turn_take(array)) {
		return;
	}
	/* A short one may have ended already. */
	if (!begin(array, kind)) {
		xbdev__md_turn_put_off(array);
	}
}

static bool can_begin(const struct xbdev_md_array *array)
{
	return array->is_running && !array->is_retiring && !array->is_read_only &&
	       !array->is_broken && !array->is_frozen && array->level->has_redundancy &&
	       array->sync == NULL;
}

/* A check or repair does not keep a member waiting. It ends with the slots that run; whoever ends
 * one, or the pace, looks at it. */
static void yield_to_recovery(struct xbdev_md_array *array)
{
	struct xbdev_md_sync *sync = array->sync;

	if (sync != NULL && !sync->is_stopping && !array->is_frozen && !array->is_read_only &&
		(sync->kind == XBDEV_MD_SYNC_CHECK || sync->kind == XBDEV_MD_SYNC_REPAIR) &&
		(xbdev__md_has_recovering(array) || xbdev__md_has_use_for_spare(array))) {
		sync->is_stopping = sync->is_yielding = true;
	}
}

void xbdev__md_sync_kick(struct xbdev_md_array *array)
{
	bool is_dirty = array->in_sync_below != XBDEV_MD_NEVER;

	if (!can_begin(array)) {
		yield_to_recovery(array);
		return;
	}
	if (!(array->geo.level == 10 && is_dirty)) {
		xbdev__md_take_spares(array);
	}
	if (xbdev__md_has_recovering(array) && !(array->geo.level == 10 && is_dirty)) {
		begin_in_turn(array, XBDEV_MD_SYNC_RECOVER);
	} else if (is_dirty) {
		begin_in_turn(array, XBDEV_MD_SYNC_RESYNC);
	}
}

int xbdev__md_sync_scrub(struct xbdev_md_array *array, enum xbdev_md_sync_kind kind)
{
	if (!array->level->has_redundancy) {
		return -EINVAL;
	}
	if (array->is_read_only) {
		return -EROFS;
	}
	if (!can_begin(array)) {
		return -EBUSY;
	}
	return begin(array, kind) ? 0 : -ENOMEM;
}

void xbdev__md_sync_stop(struct xbdev_md_array *array)
{
	if (array->sync != NULL) {
		array->sync->is_stopping = true;
		launch(array->sync);
	}
}

/* What is done beyond `done`. */
static uint64_t early_sectors(const struct xbdev_md_sync *sync)
{
	const struct xbdev_md_regions *early = sync->kind == XBDEV_MD_SYNC_RESYNC
						       ? &sync->array->early
					       : sync->target != NULL ? &sync->target->early
								      : NULL;

	return early == NULL ? 0 : xbdev__md_regions_sum(early, sync->done, sync->end);
}

bool xbdev__md_sync_progress(const struct xbdev_md_array *array, enum xbdev_md_sync_kind *ret_kind,
	uint64_t *ret_done, uint64_t *ret_total, uint64_t *ret_speed_kib)
{
	const struct xbdev_md_sync *sync = array->sync;

	if (sync == NULL) {
		return false;
	}
	*ret_kind = sync->kind;
	*ret_done = sync->done + early_sectors(sync);
	*ret_total = sync->end;
	*ret_speed_kib = sync->speed_kib;
	return true;
}
