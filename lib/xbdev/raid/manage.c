/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands to a running array. A command is one object that travels: checked on the control
 * reactor, where a device that is to become a member is opened and claimed; carried out on the
 * array's owner; answered on the control reactor when the superblocks say what it has changed.
 *
 *   control reactor ──▶ owner: act() ──▶ (channel, superblock of a new member) ──▶ superblocks ──▶
 *   control reactor: done()
 *
 * A device that becomes a member must be blank, or have been a member of this array before: nothing
 * of anybody else's is overwritten. What it held is of no use here and is recovered anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/behind.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/raid.h"
#include "lib/xbdev/raid/sync.h"

struct command {
	struct xbdev_md_array *array;
	struct xbdev_md_command what;
	char device[XBDEV_NAME_SIZE], new_device[XBDEV_NAME_SIZE];
	struct xbdev_md_member *member; /* one that is to be added */
	struct xbdev_desc *hold;        /* keeps the array meanwhile */
	struct xbdev_md_hold no_behind; /* MOSTLY, NOT_MOSTLY */
	struct xu_error err;
	struct xr_msg msg;
	struct xbdev_md_waiter waiter;
	struct xbdev_io io;
	struct iovec iov;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;
};

/* ---- the end ---- */

static void on_answer(struct xr_msg *msg)
{
	struct command *command = xu_container_of(msg, struct command, msg);

	if (command->what.kind == XBDEV_MD_COMMAND_READ_WRITE && command->err.code == 0) {
		command->array->dev.is_read_only = false;
	}
	if (command->what.kind == XBDEV_MD_COMMAND_SPARE_GROUP) {
		xbdev__md_keep_set_group(command->array, command->device);
	}
	if (command->what.kind == XBDEV_MD_COMMAND_PRIORITY && command->err.code == 0) {
		xbdev__md_keep_set_priority(command->array, command->what.priority);
	}
	if (command->what.kind == XBDEV_MD_COMMAND_ADD && command->err.code == 0) {
		xbdev__md_keep_look_around(command->array);
	}
	xbdev_desc_close(command->hold);
	command->done(command->arg, command->err.code != 0 ? &command->err : NULL);
	free(command);
}

static void answer(struct command *command)
{
	if (command->member != NULL && command->err.code != 0) {
		xbdev__md_member_release(command->member);
	}
	xbdev__md_behind_unhold(&command->no_behind);
	command->msg.fn = on_answer;
	xr_msg_send(xbdev_ctx_control(command->array->dev.ctx), &command->msg);
}

static struct xbdev_md_member *find_member(const struct xbdev_md_array *array, const char *name)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL && strcmp(array->members[i]->name, name) == 0) {
			return array->members[i];
		}
	}
	return NULL;
}

/* A device that was to become a member and did not take its superblock is none. It may have been
 * removed since, by another command. */
static void check_taken(struct command *command)
{
	bool is_replace = command->what.kind == XBDEV_MD_COMMAND_REPLACE;
	const char *name = is_replace ? command->new_device : command->device;
	struct xbdev_md_member *member = find_member(command->array, name);

	if (command->member != NULL && member == command->member &&
		member->state == XBDEV_MD_MEMBER_FAULTY) {
		xu_error_set(&command->err, -EIO,
			"array '%s': '%s' failed when its superblock was written, so it is no "
			"member; see the log, and take another device",
			command->array->dev.name, name);
		return;
	}
	command->member = NULL;
}

static void on_recorded(struct xbdev_md_waiter *waiter, int status)
{
	struct command *command = xu_container_of(waiter, struct command, waiter);

	check_taken(command);
	if (status != 0) {
		xu_error_set_errno(&command->err, status, "array '%s': writing its superblocks",
			command->array->dev.name);
		command->member = NULL;
	}
	answer(command);
}

/* Answers when the superblocks have what has been changed. */
static void record(struct command *command)
{
	command->waiter.seq = xbdev__md_meta_update(command->array);
	command->waiter.fn = on_recorded;
	xbdev__md_meta_wait(command->array, &command->waiter);
}

/* ---- members by name ---- */

static struct xbdev_md_member *need_member(struct command *command, const char *name)
{
	struct xbdev_md_member *member = find_member(command->array, name);

	if (member == NULL) {
		xu_error_set(&command->err, -ENOENT, "array '%s' has no member '%s'",
			command->array->dev.name, name);
	}
	return member;
}

/* ---- adding ---- */

static bool is_number_used(const struct xbdev_md_array *array, uint32_t number)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL && array->members[i]->super.dev_number == number) {
			return true;
		}
	}
	return false;
}

static uint32_t free_number(const struct xbdev_md_array *array)
{
	for (uint32_t number = 0; number < array->super.max_dev; number++) {
		if (!is_number_used(array, number)) {
			return number;
		}
	}
	return UINT32_MAX;
}

static uint32_t free_slot(struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < XBDEV_MD_MAX_MEMBERS; i++) {
		if (array->members[i] == NULL) {
			array->nr_members = i + 1 > array->nr_members ? i + 1 : array->nr_members;
			return i;
		}
	}
	return UINT32_MAX;
}

/* Any member of the array: what they have in common is taken from it. */
static const struct xbdev_md_member *sample(const struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL) {
			return array->members[i];
		}
	}
	return NULL;
}

/* The role that a device had when it failed, or one of the same name; UINT32_MAX: none. */
static uint32_t find_lost(const struct xbdev_md_member *member)
{
	const struct xbdev_md_array *array = member->array;

	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		const struct xbdev_md_lost *lost = &array->lost[role];

		if (!xu_uuid_is_null(&lost->uuid) &&
			(xu_uuid_is_equal(&lost->uuid, &member->super.device_uuid) ||
				strcmp(lost->name, member->name) == 0)) {
			return role;
		}
	}
	return UINT32_MAX;
}

static void count_lost(struct xbdev_md_array *array)
{
	bool has_lost = false;

	for (uint32_t role = 0; role < array->geo.raid_disks; role++) {
		has_lost |=
			!xu_uuid_is_null(&array->lost[role].uuid) && !array->lost[role].is_removed;
	}
	atomic_store(&array->has_lost, has_lost);
}

/* One that had a role gets it back when it is free or a spare stands in. */
static void note_return(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;
	uint32_t role = find_lost(member);

	if (role != UINT32_MAX) {
		member->is_returning = array->roles[role] != NULL;
		member->home = role;
		array->lost[role] = (struct xbdev_md_lost){0};
		count_lost(array);
	}
}

/* Has it failed or gone by itself? */
static bool may_return(const struct xbdev_md_member *member)
{
	uint32_t role = find_lost(member);

	return role != UINT32_MAX && !member->array->lost[role].is_removed &&
	       xu_uuid_is_equal(&member->array->lost[role].uuid, &member->super.device_uuid);
}

static int fill_super(struct command *command)
{
	struct xbdev_md_array *array = command->array;
	struct xbdev_md_member *member = command->member;
	uint64_t data_offset = sample(array)->super.data_offset;
	struct xu_uuid own = member->super.device_uuid;
	bool was_member = xu_uuid_is_equal(&member->super.set_uuid, &array->super.set_uuid);
	uint32_t number = free_number(array), slot = free_slot(array);

	if (number == UINT32_MAX || slot == UINT32_MAX) {
		return xu_error_set(&command->err, -ENOSPC,
			"array '%s' has as many members and spares as it can; remove one first",
			array->dev.name);
	}
	if (member->dev_sectors < data_offset + array->geo.member_size) {
		return xu_error_set(&command->err, -ENOSPC,
			"'%s' is too small for array '%s': it has %llu sectors, %llu are needed",
			member->name, array->dev.name, (unsigned long long)member->dev_sectors,
			(unsigned long long)(data_offset + array->geo.member_size));
	}
	if (member->desc->dev->limits.block_size > array->dev.limits.block_size) {
		return xu_error_set(&command->err, -EINVAL,
			"'%s' has blocks of %u bytes, array '%s' of %u", member->name,
			member->desc->dev->limits.block_size, array->dev.name,
			array->dev.limits.block_size);
	}
	member->super = sample(array)->super;
	member->super.dev_number = number;
	member->super.data_size = member->dev_sectors - data_offset;
	member->super.device_uuid =
		was_member ? own : xu_uuid_random(xr_reactor_random(array->reactor));
	member->super.devflags = command->what.is_mostly ? XBDEV_MD_DEV_WRITE_MOSTLY : 0;
	member->super.cnt_corrected_read = 0;
	member->state = XBDEV_MD_MEMBER_SPARE;
	if (member->super.bblog_offset != 0) {
		member->bad = calloc(1, sizeof(*member->bad));
		if (member->bad == NULL) {
			return xu_error_set_errno(
				&command->err, -ENOMEM, "array '%s'", array->dev.name);
		}
		member->bad->shift = member->super.bblog_shift;
	}
	member->slot = slot;
	array->members[slot] = member;
	note_return(member);
	return 0;
}

static void put_beside(struct command *command, struct xbdev_md_member *member);

/*
 * A member that was away, and of which the bitmap still knows what it missed, gets only that. Its
 * own superblock says which role it had and when it left; a number that is taken meanwhile is not
 * given back.
 */
static bool take_back(struct command *command)
{
	struct xbdev_md_array *array = command->array;
	struct xbdev_md_member *member = command->member;
	uint32_t role = xbdev__md_super_role(&member->super), slot;

	if (command->what.kind == XBDEV_MD_COMMAND_REPLACE || array->bitmap == NULL ||
		array->is_broken || role >= array->geo.raid_disks || array->roles[role] != NULL ||
		xbdev__md_super_has(&member->super, XBDEV_MD_F_RECOVERY_OFFSET) ||
		member->super.events < array->bitmap->header.events_cleared ||
		member->super.data_size < array->geo.member_size ||
		member->super.bitmap_offset != array->super.bitmap_offset ||
		is_number_used(array, member->super.dev_number)) {
		return false;
	}
	slot = free_slot(array);
	if (slot == UINT32_MAX) {
		return false;
	}
	if (member->super.bblog_offset != 0) {
		member->bad = calloc(1, sizeof(*member->bad));
		if (member->bad == NULL) {
			return false;
		}
		member->bad->shift = member->super.bblog_shift;
	}
	if (command->what.is_mostly) {
		member->super.devflags |= XBDEV_MD_DEV_WRITE_MOSTLY;
	}
	member->slot = slot;
	array->members[slot] = member;
	array->roles[role] = member;
	member->role = role;
	xbdev__md_member_start_over(member);
	member->is_by_bitmap = true;
	note_return(member);
	member->is_returning = false;
	return true;
}

/* A spare of the array that has let it go, and is what it says of itself. */
static bool is_let_go(const struct command *command, const struct xbdev_md_super *super)
{
	return !xu_uuid_is_null(&command->what.from) &&
	       xu_uuid_is_equal(&command->what.from, &super->set_uuid) &&
	       super->dev_number < super->max_dev &&
	       super->dev_roles[super->dev_number] == XBDEV_MD_ROLE_SPARE;
}

/* Its superblock, if it has one, has been read. */
static void on_super_read(struct xbdev_io *io, int status)
{
	struct command *command = xu_container_of(io, struct command, io);
	struct xbdev_md_array *array = command->array;
	struct xbdev_md_member *member = command->member;

	if (status == 0) {
		status = xbdev__md_super_parse(
			member->meta_buf, member->dev_sectors, &member->super, NULL);
	} else {
		xu_error_set_errno(&command->err, status, "reading '%s'", member->name);
	}
	if (status != 0 && status != -ENOENT && command->err.code == 0) {
		xu_error_set(&command->err, -EEXIST,
			"'%s' carries a superblock that is damaged; erase it first if nothing on "
			"it is wanted",
			member->name);
	}
	if (status == 0 && !xu_uuid_is_equal(&member->super.set_uuid, &array->super.set_uuid) &&
		!is_let_go(command, &member->super)) {
		xu_error_set(&command->err, -EEXIST,
			"'%s' belongs to another array, '%s'; erase its superblock first",
			member->name, member->super.set_name);
	}
	if (member->is_gone) {
		xu_error_set(&command->err, -ENODEV, "'%s' has been removed", member->name);
	}
	if (command->err.code == 0 && command->what.kind == XBDEV_MD_COMMAND_RETURN &&
		(status != 0 || !may_return(member))) {
		xu_error_set(&command->err, -ENOENT, "array '%s' has not lost '%s'",
			array->dev.name, member->name);
	}
	if (command->err.code == 0 && status == 0 &&
		xu_uuid_is_equal(&member->super.set_uuid, &array->super.set_uuid) &&
		take_back(command)) {
		xbdev__md_sync_kick(array);
		record(command);
		return;
	}
	if (command->err.code == 0 && !array->is_broken) {
		fill_super(command);
	} else if (command->err.code == 0) {
		xu_error_set(&command->err, -EIO, "array '%s' is broken", array->dev.name);
	}
	if (command->err.code != 0) {
		answer(command);
		return;
	}
	if (command->what.kind == XBDEV_MD_COMMAND_REPLACE) {
		put_beside(command, member);
		return;
	}
	xbdev__md_note(array, "added", member, "%s is a spare now", member->name);
	xbdev__md_sync_kick(array);
	record(command);
}

static void attach(struct command *command)
{
	struct xbdev_md_member *member = command->member;
	int rc = xbdev_channel_get(member->desc, command->array->reactor, &member->ch);

	if (rc == 0) {
		command->iov = (struct iovec){member->meta_buf, XBDEV_MD_SUPER_BYTES};
		command->io.ch = member->ch;
		command->io.cb = on_super_read;
		command->io.iov = &command->iov;
		command->io.nr_iov = 1;
		command->io.op = XBDEV_OP_READ;
		command->io.offset = XBDEV_MD_SUPER_OFFSET * XBDEV_MD_SECTOR;
		command->io.len = XBDEV_MD_SUPER_BYTES;
		rc = xbdev_io_submit(&command->io);
	}
	if (rc != 0) {
		xu_error_set_errno(&command->err, rc, "array '%s': using '%s'",
			command->array->dev.name, member->name);
		answer(command);
	}
}

/* ---- replacing ---- */

/* The old one serves on; the new one gets what it has. */
static void put_beside(struct command *command, struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = command->array;
	struct xbdev_md_member *old = find_member(array, command->device);

	if (old != NULL && old->state == XBDEV_MD_MEMBER_IN_SYNC &&
		array->replacements[old->role] == NULL && member->state == XBDEV_MD_MEMBER_SPARE) {
		member->is_returning = false;
		xbdev__md_put_beside(member, old);
	}
	xbdev__md_sync_kick(array);
	record(command);
}

static void act_replace(struct command *command)
{
	struct xbdev_md_array *array = command->array;
	struct xbdev_md_member *old = find_member(array, command->device);
	struct xbdev_md_member *next = find_member(array, command->new_device);

	if (old == NULL && next == NULL) {
		need_member(command, command->device);
		answer(command);
	} else if (old != NULL && old->state == XBDEV_MD_MEMBER_IN_SYNC &&
		   array->replacements[old->role] != NULL &&
		   array->replacements[old->role] != next) {
		xu_error_set(&command->err, -EBUSY,
			"array '%s': '%s' is being replaced by '%s' already", array->dev.name,
			old->name, array->replacements[old->role]->name);
		answer(command);
	} else if (next != NULL && next->state == XBDEV_MD_MEMBER_FAULTY) {
		xu_error_set(&command->err, -EBUSY,
			"array '%s': '%s' has failed; remove it, and name another", array->dev.name,
			next->name);
		answer(command);
	} else if (next == NULL && command->member == NULL) {
		xu_error_set(&command->err, -EAGAIN,
			"array '%s': '%s' was just being removed from it; try again",
			array->dev.name, command->new_device);
		answer(command);
	} else if (old != NULL && next != NULL && next->state != XBDEV_MD_MEMBER_SPARE &&
		   (next == old || old->state == XBDEV_MD_MEMBER_SPARE ||
			   next->role != old->role)) {
		xu_error_set(&command->err, -EBUSY,
			"array '%s': '%s' serves as member %u and cannot take the place of '%s'",
			array->dev.name, next->name, next->role, old->name);
		answer(command);
	} else if (next != NULL && next->state == XBDEV_MD_MEMBER_SPARE &&
		   !xbdev__md_member_is_free(next)) {
		xu_error_set(&command->err, -EAGAIN,
			"array '%s': '%s' has yet to end what it was given as member %u; try again",
			array->dev.name, next->name, next->role);
		answer(command);
	} else if (next != NULL) {
		/* A spare, or one that has been taken for this member already. */
		put_beside(command, next);
	} else {
		attach(command);
	}
}

/* ---- the other commands ---- */

static void act_remove(struct command *command)
{
	struct xbdev_md_member *member = need_member(command, command->device);

	if (member != NULL && member->state != XBDEV_MD_MEMBER_SPARE &&
		member->state != XBDEV_MD_MEMBER_FAULTY) {
		xu_error_set(&command->err, -EBUSY,
			"array '%s': '%s' serves as member %u; set it faulty or replace it first",
			command->array->dev.name, member->name, member->role);
	}
	if (command->err.code != 0) {
		answer(command);
		return;
	}
	if (find_lost(member) != UINT32_MAX) {
		command->array->lost[find_lost(member)].is_removed = true;
		count_lost(command->array);
	}
	xbdev__md_note(command->array, "removed", member, "%s is a member no more", member->name);
	xbdev__md_member_release(member);
	record(command);
}

static void act_fail(struct command *command)
{
	struct xbdev_md_member *member = need_member(command, command->device);

	if (member != NULL && member->state != XBDEV_MD_MEMBER_FAULTY &&
		!xbdev__md_member_can_go(member)) {
		xu_error_set(&command->err, -EBUSY,
			"array '%s': there is no other member for what '%s' holds",
			command->array->dev.name, member->name);
	}
	if (command->err.code != 0) {
		answer(command);
		return;
	}
	xbdev__md_member_fail(member, "has been set faulty", -EIO);
	record(command);
}

static void on_mostly_recorded(struct xbdev_md_waiter *waiter, int status)
{
	struct command *command = xu_container_of(waiter, struct command, waiter);
	const struct xbdev_md_member *member = need_member(command, command->device);

	if (status != 0 || (member != NULL && member->state == XBDEV_MD_MEMBER_FAULTY)) {
		xu_error_set_errno(&command->err, status != 0 ? status : -EIO,
			"array '%s': writing the superblock of '%s'", command->array->dev.name,
			command->device);
	}
	answer(command);
}

/* Nothing is behind, and nothing will be until the superblock says whom it may be. */
static void on_none_behind(struct xbdev_md_hold *hold)
{
	struct command *command = xu_container_of(hold, struct command, no_behind);
	struct xbdev_md_member *member = need_member(command, command->device);

	if (member == NULL) {
		answer(command);
		return;
	}
	if (command->what.kind == XBDEV_MD_COMMAND_MOSTLY) {
		member->super.devflags |= XBDEV_MD_DEV_WRITE_MOSTLY;
	} else {
		member->super.devflags &= (uint8_t)~XBDEV_MD_DEV_WRITE_MOSTLY;
	}
	command->waiter.seq = xbdev__md_meta_update(command->array);
	command->waiter.fn = on_mostly_recorded;
	xbdev__md_meta_wait(command->array, &command->waiter);
}

static void act_mostly(struct command *command)
{
	struct xbdev_md_member *member = need_member(command, command->device);
	bool is_wanted = command->what.kind == XBDEV_MD_COMMAND_MOSTLY;

	if (member != NULL && member->state == XBDEV_MD_MEMBER_FAULTY) {
		xu_error_set(&command->err, -EBUSY, "array '%s': '%s' has failed",
			command->array->dev.name, member->name);
	}
	if (command->err.code != 0 ||
		is_wanted == ((member->super.devflags & XBDEV_MD_DEV_WRITE_MOSTLY) != 0)) {
		answer(command);
		return;
	}
	xbdev__md_behind_hold(command->array, &command->no_behind, on_none_behind);
}

static void act_scrub(struct command *command)
{
	bool is_check = command->what.kind == XBDEV_MD_COMMAND_CHECK;
	int rc = xbdev__md_sync_scrub(
		command->array, is_check ? XBDEV_MD_SYNC_CHECK : XBDEV_MD_SYNC_REPAIR);

	if (rc != 0) {
		xu_error_set_errno(&command->err, rc, "array '%s' cannot be %s now",
			command->array->dev.name, is_check ? "checked" : "repaired");
	}
	answer(command);
}

static void act_writable(struct command *command)
{
	struct xbdev_md_array *array = command->array;
	bool is_read_only = command->what.kind == XBDEV_MD_COMMAND_READ_ONLY;

	if (!is_read_only && !sample(array)->desc->is_writable) {
		xu_error_set(&command->err, -EROFS,
			"array '%s' was assembled read-only, so its members are open for reading "
			"only; "
			"stop it and assemble it again",
			array->dev.name);
		answer(command);
		return;
	}
	array->is_read_only = is_read_only;
	if (array->is_read_only) {
		xbdev__md_sync_stop(array);
	} else {
		xbdev__md_sync_kick(array);
	}
	xbdev__md_note(array, array->is_read_only ? "read-only" : "read-write", NULL,
		"the array is %s now", array->is_read_only ? "read-only" : "writable");
	answer(command);
}

static void act_sync(struct command *command)
{
	struct xbdev_md_array *array = command->array;

	array->is_frozen = command->what.kind == XBDEV_MD_COMMAND_SYNC_STOP;
	if (array->is_frozen) {
		xbdev__md_sync_stop(array);
	} else {
		xbdev__md_sync_kick(array);
	}
	answer(command);
}

static void act_priority(struct command *command)
{
	command->array->priority = command->what.priority;
	answer(command);
}

/* What is set is the control reactor's, when the answer is there. */
static void act_nothing(struct command *command)
{
	answer(command);
}

static void act_speed(struct command *command)
{
	command->array->sync_speed_min = command->what.speed_min_kib;
	command->array->sync_speed_max = command->what.speed_max_kib;
	answer(command);
}

static void (*const acts[])(struct command *command) = {
	[XBDEV_MD_COMMAND_ADD] = attach,
	[XBDEV_MD_COMMAND_REMOVE] = act_remove,
	[XBDEV_MD_COMMAND_FAIL] = act_fail,
	[XBDEV_MD_COMMAND_REPLACE] = act_replace,
	[XBDEV_MD_COMMAND_READ_ONLY] = act_writable,
	[XBDEV_MD_COMMAND_READ_WRITE] = act_writable,
	[XBDEV_MD_COMMAND_SYNC_STOP] = act_sync,
	[XBDEV_MD_COMMAND_SYNC_START] = act_sync,
	[XBDEV_MD_COMMAND_SPEED] = act_speed,
	[XBDEV_MD_COMMAND_RETURN] = attach,
	[XBDEV_MD_COMMAND_PRIORITY] = act_priority,
	[XBDEV_MD_COMMAND_SPARE_GROUP] = act_nothing,
	[XBDEV_MD_COMMAND_MOSTLY] = act_mostly,
	[XBDEV_MD_COMMAND_NOT_MOSTLY] = act_mostly,
	[XBDEV_MD_COMMAND_CHECK] = act_scrub,
	[XBDEV_MD_COMMAND_REPAIR] = act_scrub,
};

/* ---- the beginning ---- */

static void on_act(struct xr_msg *msg)
{
	struct command *command = xu_container_of(msg, struct command, msg);

	acts[command->what.kind](command);
}

/* A member that was opened is given back on the owner. */
static void on_refused(struct xr_msg *msg)
{
	answer(xu_container_of(msg, struct command, msg));
}

/* What the array has promised to who stands on it, its new member must keep. */
static int check_abilities(struct command *command)
{
	const struct xbdev_device *dev = &command->array->dev, *base = command->member->desc->dev;

	if (base->has_write_cache && !dev->has_write_cache) {
		return xu_error_set(&command->err, -EINVAL,
			"'%s' has a write cache and array '%s' was started without one, so nobody "
			"would flush it; stop the array and start it with '%s' in it",
			base->name, dev->name, base->name);
	}
	if ((dev->ops_mask & (1u << XBDEV_OP_DISCARD)) != 0 &&
		(base->ops_mask & (1u << XBDEV_OP_DISCARD)) == 0) {
		return xu_error_set(&command->err, -EINVAL,
			"'%s' cannot discard, and array '%s' was started as one that can",
			base->name, dev->name);
	}
	return 0;
}

/* Opens the device that is to be added, unless it is a member already. */
static int open_new(struct command *command)
{
	struct xbdev_md_array *array = command->array;
	bool is_replace = command->what.kind == XBDEV_MD_COMMAND_REPLACE;
	const char *name = is_replace ? command->new_device : command->device;
	const struct xbdev_device *dev;

	if (command->what.kind != XBDEV_MD_COMMAND_ADD &&
		command->what.kind != XBDEV_MD_COMMAND_RETURN && !is_replace) {
		return 0;
	}
	if (!array->level->has_redundancy) {
		return xu_error_set(&command->err, -EINVAL,
			"array '%s' has no redundancy, so it takes no spares", array->dev.name);
	}
	dev = xbdev_device_find(array->dev.ctx, name);
	if (is_replace && dev != NULL && dev->claim != NULL &&
		xbdev__md_is_member_desc(dev->claim, array)) {
		return 0;
	}
	if (xbdev__md_member_open(array, name, true, &command->member, &command->err) != 0) {
		return command->err.code;
	}
	return check_abilities(command);
}

/* What changes an array that is read-only, other than making it writable, would have to write its
 * superblocks. */
static int check_writable(
	const struct xbdev_md_command *what, const struct xbdev_device *dev, struct xu_error *err)
{
	if (!dev->is_read_only || what->kind == XBDEV_MD_COMMAND_READ_ONLY ||
		what->kind == XBDEV_MD_COMMAND_READ_WRITE || what->kind == XBDEV_MD_COMMAND_SPEED ||
		what->kind == XBDEV_MD_COMMAND_PRIORITY ||
		what->kind == XBDEV_MD_COMMAND_SPARE_GROUP) {
		return 0;
	}
	return xu_error_set(
		err, -EROFS, "array '%s' is read-only; make it writable first", dev->name);
}

static int check_name(
	const struct xbdev_md_command *what, const struct xbdev_device *dev, struct xu_error *err)
{
	return what->device != NULL && *what->device != '\0'
		       ? 0
		       : xu_error_set(err, -EINVAL, "array '%s': name a device", dev->name);
}

static int check(
	const struct xbdev_md_command *what, const struct xbdev_device *dev, struct xu_error *err)
{
	const char *device = what->device != NULL ? what->device : "";
	bool is_writing =
		what->kind == XBDEV_MD_COMMAND_ADD || what->kind == XBDEV_MD_COMMAND_RETURN ||
		what->kind == XBDEV_MD_COMMAND_REPLACE || what->kind == XBDEV_MD_COMMAND_READ_WRITE;

	if (is_writing && xbdev__md_array_of(dev)->is_sealed) {
		return xu_error_set(err, -EROFS,
			"array '%s' has been assembled read-only and its members are open for "
			"reading only; stop it and assemble it for writing",
			dev->name);
	}
	if ((what->kind == XBDEV_MD_COMMAND_MOSTLY || what->kind == XBDEV_MD_COMMAND_NOT_MOSTLY ||
		    what->is_mostly) &&
		xbdev__md_array_of(dev)->geo.level != 1) {
		return xu_error_set(
			err, -EINVAL, "array '%s': write-mostly members are raid1's", dev->name);
	}
	switch (what->kind) {
	case XBDEV_MD_COMMAND_MOSTLY:
	case XBDEV_MD_COMMAND_NOT_MOSTLY:
		return check_name(what, dev, err);
	case XBDEV_MD_COMMAND_REPLACE:
		if (what->new_device == NULL || *what->new_device == '\0') {
			return xu_error_set(err, -EINVAL,
				"array '%s': name the device that is to replace '%s'", dev->name,
				device);
		}
		/* fall through */
	case XBDEV_MD_COMMAND_ADD:
	case XBDEV_MD_COMMAND_RETURN:
	case XBDEV_MD_COMMAND_REMOVE:
	case XBDEV_MD_COMMAND_FAIL:
		return check_name(what, dev, err);
	case XBDEV_MD_COMMAND_PRIORITY:
		return what->priority < XBDEV_REBUILD_PRIORITIES
			       ? 0
			       : xu_error_set(err, -EINVAL,
					 "array '%s': there is no priority %u; they go from 0 to "
					 "%u",
					 dev->name, what->priority, XBDEV_REBUILD_PRIORITIES - 1);
	case XBDEV_MD_COMMAND_SPARE_GROUP:
		return strlen(device) < XBDEV_MD_GROUP_BYTES
			       ? 0
			       : xu_error_set(err, -EINVAL,
					 "array '%s': the name of a spare group has up to %u bytes",
					 dev->name, XBDEV_MD_GROUP_BYTES - 1);
	case XBDEV_MD_COMMAND_READ_ONLY:
		return dev->nr_writers == 0
			       ? 0
			       : xu_error_set(err, -EBUSY,
					 "array '%s' is open for writing; close it first",
					 dev->name);
	case XBDEV_MD_COMMAND_SPEED:
		return what->speed_max_kib == 0 || what->speed_min_kib <= what->speed_max_kib
			       ? 0
			       : xu_error_set(err, -EINVAL,
					 "array '%s': the least speed, %llu KiB/s, is above the "
					 "greatest, %llu",
					 dev->name, (unsigned long long)what->speed_min_kib,
					 (unsigned long long)what->speed_max_kib);
	default:
		return 0;
	}
}

void xbdev__md_manage(struct xbdev_device *dev, const struct xbdev_md_command *what,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct command *command = calloc(1, sizeof(*command));
	struct xu_error err = {0};
	int rc = command == NULL ? xu_error_set_errno(&err, -ENOMEM, "array '%s'", dev->name)
		 : !xbdev__md_is_array(dev)
			 ? xu_error_set(&err, -EINVAL, "device '%s' is no RAID array", dev->name)
			 : check(what, dev, &err);

	if (rc == 0) {
		rc = check_writable(what, dev, &err);
	}
	if (rc == 0) {
		rc = xbdev_desc_open(dev->ctx, dev->name, false, NULL, NULL, &command->hold, &err);
	}
	if (rc != 0) {
		free(command);
		done(arg, &err);
		return;
	}
	command->array = xbdev__md_array_of(dev);
	command->what = *what;
	strncpy(command->device, what->device != NULL ? what->device : "",
		sizeof(command->device) - 1);
	strncpy(command->new_device, what->new_device != NULL ? what->new_device : "",
		sizeof(command->new_device) - 1);
	command->done = done;
	command->arg = arg;
	if (open_new(command) != 0) {
		if (command->member != NULL) {
			command->msg.fn = on_refused;
			xr_msg_send(command->array->reactor, &command->msg);
		} else {
			on_answer(&command->msg);
		}
		return;
	}
	if (what->kind == XBDEV_MD_COMMAND_READ_ONLY) {
		dev->is_read_only = true;
	}
	command->msg.fn = on_act;
	xr_msg_send(command->array->reactor, &command->msg);
}
