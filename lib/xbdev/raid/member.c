/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The members of a running array: who serves in which role, and what happens when one fails.
 *
 *   SPARE ──▶ RECOVERING ──▶ IN_SYNC ──▶ FAULTY      (a failure leads to FAULTY from everywhere)
 *
 * A member is failed at once in memory; the other members' superblocks follow, and no write that it
 * missed is acknowledged before they have (array->fail_seq). The last member that holds some data
 * is never failed: a mirror passes the error on, a parity array stops (is_broken) and leaves its
 * superblocks as they are, so that an administrator can still decide which members to believe.
 */
#include <errno.h>
#include <string.h>

#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/array.h"

static uint32_t roles_in_sync(const struct xbdev_md_array *array)
{
	uint32_t roles = 0;

	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		if (array->roles[i] != NULL && array->roles[i]->state == XBDEV_MD_MEMBER_IN_SYNC) {
			roles |= 1u << i;
		}
	}
	return roles;
}

void xbdev__md_count_degraded(struct xbdev_md_array *array)
{
	array->nr_degraded =
		array->geo.raid_disks - (uint32_t)__builtin_popcount(roles_in_sync(array));
}

static bool is_mirror(const struct xbdev_md_array *array)
{
	return array->geo.level == 1 || array->geo.level == 10;
}

bool xbdev__md_member_can_go(const struct xbdev_md_member *member)
{
	const struct xbdev_md_array *array = member->array;

	return member->state == XBDEV_MD_MEMBER_SPARE || array->roles[member->role] != member ||
	       member->state != XBDEV_MD_MEMBER_IN_SYNC ||
	       xbdev__md_is_enough(&array->geo, roles_in_sync(array) & ~(1u << member->role));
}

void xbdev__md_member_start_over(struct xbdev_md_member *member)
{
	member->state = XBDEV_MD_MEMBER_RECOVERING;
	member->recovery_offset = member->recovery_saved = 0;
	member->early = (struct xbdev_md_regions){0};
	member->is_log_ready = false; /* it may hold what was logged for another role */
}

void xbdev__md_member_clear_bad(struct xbdev_md_member *member, const struct xbdev_io *io)
{
	uint64_t sector = io->offset / XBDEV_MD_SECTOR, count = io->len / XBDEV_MD_SECTOR;
	uint64_t bad, bad_count;

	if (io->op != XBDEV_OP_DISCARD && member->bad != NULL && member->bad->count > 0 &&
		xbdev__md_bad_blocks_find(member->bad, sector, count, &bad, &bad_count) &&
		xbdev__md_bad_blocks_remove(member->bad, sector, count) == 0) {
		xbdev__md_meta_update(member->array);
	}
}

bool xbdev__md_member_add_bad(struct xbdev_md_member *member, uint64_t sector, uint64_t count)
{
	return !xbdev__md_member_is_writable(member) ||
	       (member->bad != NULL && xbdev__md_bad_blocks_add(member->bad,
					       member->super.data_offset + sector, count) == 0);
}

bool xbdev__md_member_has_bad(const struct xbdev_md_member *member, uint64_t sector, uint64_t count)
{
	uint64_t bad, bad_count;

	return member->bad != NULL && member->bad->count > 0 &&
	       xbdev__md_bad_blocks_find(
		       member->bad, member->super.data_offset + sector, count, &bad, &bad_count);
}

static void note_lost(const struct xbdev_md_member *member)
{
	struct xbdev_md_lost *lost = &member->array->lost[member->role];

	*lost = (struct xbdev_md_lost){.uuid = member->super.device_uuid};
	memcpy(lost->name, member->name, sizeof(lost->name));
	atomic_store(&member->array->has_lost, true);
}

/* The member's role falls to its replacement, which is then one that is being recovered. */
static void vacate(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;

	if (array->replacements[member->role] == member) {
		array->replacements[member->role] = NULL;
	} else if (array->roles[member->role] == member) {
		note_lost(member);
		array->roles[member->role] = array->replacements[member->role];
		array->replacements[member->role] = NULL;
		if (array->roles[member->role] != NULL) {
			array->roles[member->role]->is_replacement = false;
		}
	}
}

bool xbdev__md_member_fail(struct xbdev_md_member *member, const char *why, int error)
{
	struct xbdev_md_array *array = member->array;

	if (member->state == XBDEV_MD_MEMBER_FAULTY) {
		return true;
	}
	if (!xbdev__md_member_can_go(member)) {
		array->is_broken |= !is_mirror(array);
		xbdev__md_note(array, is_mirror(array) ? "error" : "stopped", member,
			"member %s %s (%s), and there is no other for its data%s", member->name,
			why, strerror(-error), is_mirror(array) ? "" : ": the array has stopped");
		return false;
	}
	if (member->state != XBDEV_MD_MEMBER_SPARE) {
		vacate(member);
	}
	member->state = XBDEV_MD_MEMBER_FAULTY;
	xbdev__md_count_degraded(array);
	xbdev__md_note(array, "failed", member,
		"member %s %s (%s) and is out; %u of %u members serve", member->name, why,
		strerror(-error), array->geo.raid_disks - array->nr_degraded,
		array->geo.raid_disks);
	array->fail_seq = xbdev__md_meta_update(array);
	xbdev__md_sync_kick(array);
	return true;
}
