/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a resync or recovery walks over, and for which members.
 *
 *   parity levels    member sectors, in stripes; all members that recover at once
 *   raid1            member sectors (they are the array's)
 *   raid10           recovery: the sectors of one member; else array sectors, not past a chunk
 *
 * Mirrors recover one member after the other. While copies or parity are not known to agree, a
 * replacement waits: what it has already may differ from what the member beside it has, and the
 * resync writes it anew.
 */
#include <assert.h>

#include "lib/xbdev/raid/sync.h"

bool xbdev__md_sync_is_target(
	const struct xbdev_md_sync *sync, const struct xbdev_md_member *member)
{
	return sync->kind == XBDEV_MD_SYNC_RECOVER && member->is_sync_target &&
	       member->state == XBDEV_MD_MEMBER_RECOVERING;
}

bool xbdev__md_sync_has_target(const struct xbdev_md_sync *sync)
{
	const struct xbdev_md_array *array = sync->array;

	for (uint32_t i = 0; i < array->nr_members && sync->kind == XBDEV_MD_SYNC_RECOVER; i++) {
		if (array->members[i] != NULL &&
			xbdev__md_sync_is_target(sync, array->members[i])) {
			return true;
		}
	}
	return sync->kind != XBDEV_MD_SYNC_RECOVER;
}

/* May it be recovered now? */
static bool is_due(const struct xbdev_md_member *member)
{
	return member != NULL && member->state == XBDEV_MD_MEMBER_RECOVERING &&
	       (!member->is_replacement || member->array->in_sync_below == XBDEV_MD_NEVER);
}

bool xbdev__md_has_recovering(const struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (is_due(array->members[i])) {
			return true;
		}
	}
	return false;
}

/* Where the recovery starts: at the lowest place that is not good yet. Parity levels do all members
 * that are at that place. */
static void choose_targets(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;
	uint64_t start = XBDEV_MD_NEVER;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (is_due(member) && member->recovery_offset < start) {
			start = member->recovery_offset;
		}
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (!is_due(member) || member->recovery_offset != start ||
			(array->stripes == NULL && sync->target != NULL)) {
			continue;
		}
		member->is_sync_target = true;
		if (sync->target == NULL) {
			sync->target = member;
			member->nr_users++;
		}
	}
	sync->start = start;
}

void xbdev__md_sync_forget_targets(struct xbdev_md_sync *sync)
{
	struct xbdev_md_array *array = sync->array;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL) {
			array->members[i]->is_sync_target = false;
		}
	}
	if (sync->target != NULL) {
		sync->target->nr_users--;
		sync->target = NULL;
	}
}

void xbdev__md_sync_range(struct xbdev_md_sync *sync)
{
	const struct xbdev_md_array *array = sync->array;
	bool is_array_wide = array->geo.level == 10 && sync->kind != XBDEV_MD_SYNC_RECOVER;

	sync->end = is_array_wide ? array->geo.array_size : array->geo.member_size;
	if (sync->kind == XBDEV_MD_SYNC_RECOVER) {
		choose_targets(sync);
	} else if (sync->kind == XBDEV_MD_SYNC_RESYNC) {
		sync->start = array->in_sync_below;
	}
	if (array->stripes != NULL) {
		sync->end -= sync->end % array->geo.chunk;
		sync->start -= sync->start % array->stripes->sectors;
	}
	if (sync->start > sync->end) {
		sync->start = sync->end;
	}
}

bool xbdev__md_sync_can_skip(const struct xbdev_md_sync *sync)
{
	const struct xbdev_md_array *array = sync->array;

	if (sync->kind != XBDEV_MD_SYNC_RECOVER || array->geo.level == 10) {
		/* raid10's bits count array sectors, its recovery walks a member's. */
		return sync->kind == XBDEV_MD_SYNC_RESYNC;
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_md_member *member = array->members[i];

		if (member != NULL && xbdev__md_sync_is_target(sync, member) &&
			!member->is_by_bitmap) {
			return false;
		}
	}
	return true;
}

uint64_t xbdev__md_sync_step(const struct xbdev_md_sync *sync, uint64_t sector)
{
	const struct xbdev_md_array *array = sync->array;
	uint64_t count = array->stripes != NULL ? array->stripes->sectors : XBDEV_MD_SYNC_SECTORS;

	if (array->geo.level == 10) {
		uint64_t in_chunk = array->geo.chunk - sector % array->geo.chunk;

		count = in_chunk < count ? in_chunk : count;
	}
	return count < sync->end - sector ? count : sync->end - sector;
}

uint32_t xbdev__md_nr_copies(const struct xbdev_md_array *array)
{
	return array->geo.level == 10 ? array->geo.near * array->geo.far : array->geo.raid_disks;
}

/* ---- members ---- */

static bool is_large_enough(
	const struct xbdev_md_array *array, const struct xbdev_md_member *member)
{
	return member->super.data_size >= array->geo.member_size;
}

static struct xbdev_md_member *find_spare(const struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member != NULL && xbdev__md_member_is_free(member) &&
			is_large_enough(array, member)) {
			return member;
		}
	}
	return NULL;
}

bool xbdev__md_has_use_for_spare(const struct xbdev_md_array *array)
{
	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		if (array->roles[role] == NULL) {
			return find_spare(array) != NULL;
		}
	}
	return false;
}

void xbdev__md_put_beside(struct xbdev_md_member *member, struct xbdev_md_member *old)
{
	struct xbdev_md_array *array = member->array;

	member->role = old->role;
	xbdev__md_member_start_over(member);
	member->is_replacement = true;
	array->replacements[old->role] = member;
}

static bool can_be_replaced(const struct xbdev_md_array *array, uint32_t role)
{
	return array->roles[role] != NULL && array->replacements[role] == NULL &&
	       array->roles[role]->state == XBDEV_MD_MEMBER_IN_SYNC;
}

/* Who has come back gets its place again from the spare that stands in for it. */
static void bring_home(struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member == NULL || !xbdev__md_member_is_free(member) || !member->is_returning ||
			!is_large_enough(array, member) || !can_be_replaced(array, member->home)) {
			continue;
		}
		xbdev__md_note(array, "returning", member,
			"%s is back and gets its place as member %u again from %s, which is a "
			"spare then",
			member->name, member->home, array->roles[member->home]->name);
		xbdev__md_put_beside(member, array->roles[member->home]);
		xbdev__md_meta_update(array);
	}
}

/* As Linux does: who has refused blocks serves until a spare has what it has. */
static void replace_worn(struct xbdev_md_array *array)
{
	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		struct xbdev_md_member *spare;

		if (!can_be_replaced(array, role) || !array->roles[role]->is_worn) {
			continue;
		}
		spare = find_spare(array);
		if (spare == NULL) {
			return;
		}
		array->roles[role]->is_worn = false;
		xbdev__md_note(array, "spare-taken", spare,
			"spare %s is to replace %s, which has refused blocks", spare->name,
			array->roles[role]->name);
		xbdev__md_put_beside(spare, array->roles[role]);
		xbdev__md_meta_update(array);
	}
}

void xbdev__md_take_spares(struct xbdev_md_array *array)
{
	bool is_wanting = false;

	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		struct xbdev_md_member *spare =
			array->roles[role] == NULL ? find_spare(array) : NULL;

		if (spare == NULL) {
			is_wanting |= array->roles[role] == NULL;
			continue;
		}
		xbdev__md_member_start_over(spare);
		spare->is_returning = false;
		spare->role = role;
		array->roles[role] = spare;
		xbdev__md_note(array, "spare-taken", spare, "spare %s takes the place of member %u",
			spare->name, role);
		xbdev__md_meta_update(array);
	}
	if (is_wanting) {
		xbdev__md_keep_want(array);
		return;
	}
	bring_home(array);
	replace_worn(array);
}

void xbdev__md_member_promote(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;
	struct xbdev_md_member *old = array->roles[member->role];

	if (!member->is_replacement) {
		return;
	}
	member->is_replacement = false;
	array->replacements[member->role] = NULL;
	array->roles[member->role] = member;
	if (old != NULL) {
		/* A spare, but not free before its last I/O has come back. */
		old->state = member->is_returning ? XBDEV_MD_MEMBER_SPARE : XBDEV_MD_MEMBER_FAULTY;
		member->is_returning = false;
		/* It misses the writes from now on, as one that has failed does. */
		array->fail_seq = xbdev__md_meta_update(array);
		xbdev__md_note(array, "replaced", old, "member %s has been replaced by %s",
			old->name, member->name);
	}
}
