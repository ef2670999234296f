/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assembly: an array from what its members' superblocks say. Which of them serve, and whether they
 * are enough, is decided in select.c; here the decision becomes the states of members. Nothing is
 * written but what the replay of a log makes good (build.c): the disks change with the first write,
 * or with the recovery that follows.
 */
#include <errno.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/raid/build.h"

/* ---- what is not served ---- */

static int check_servable(const struct xbdev_md_build *build, const struct xbdev_md_super *super,
	const struct xbdev_md_selection *selection, struct xu_error *err)
{
	const char *name = build->array->dev.name;

	/* The log would have to be replayed first, which is to write. */
	if (selection->has_ppl && build->array->is_read_only && !selection->is_clean &&
		selection->nr_missing > 0) {
		return xu_error_set(err, -EUCLEAN,
			"array '%s' was not stopped cleanly and misses a member; what that holds "
			"is known when the partial parity log has been replayed: assemble the "
			"array for writing",
			name);
	}
	if (selection->has_ppl && super->level != 5) {
		return xu_error_set(err, -EINVAL,
			"array '%s' says that it has a partial parity log, which only a raid5 can "
			"have",
			name);
	}
	if (super->raid_disks > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EOPNOTSUPP,
			"array '%s' has %u members, at most %u are "
			"served",
			name, super->raid_disks, XBDEV_MD_MAX_DISKS);
	}
	return 0;
}

static int check_wish(const struct xbdev_md_build *build, const struct xbdev_md_super *super,
	struct xu_error *err)
{
	char wanted[24], found[24], text[36];

	if (build->level != XBDEV_MD_LEVEL_ANY && build->level != super->level) {
		return xu_error_set(err, -EINVAL,
			"array '%s' is to be %s, but its members are of a %s array",
			build->array->dev.name, xbdev__md_level_name(build->level, wanted),
			xbdev__md_level_name(super->level, found));
	}
	if (!xu_uuid_is_null(&build->uuid) && !xu_uuid_is_equal(&build->uuid, &super->set_uuid)) {
		xbdev__md_uuid_format(&super->set_uuid, text);
		return xu_error_set(err, -EINVAL,
			"array '%s': the members are of another array, %s", build->array->dev.name,
			text);
	}
	return 0;
}

/* ---- from verdicts to states ---- */

static void take(struct xbdev_md_build *build, struct xbdev_md_member *member,
	const struct xbdev_md_candidate *candidate)
{
	struct xbdev_md_array *array = build->array;

	member->role = candidate->role;
	member->recovery_offset = XBDEV_MD_NEVER;
	switch (candidate->verdict) {
	case XBDEV_MD_IN_SYNC:
		member->state = XBDEV_MD_MEMBER_IN_SYNC;
		array->roles[member->role] = member;
		break;
	case XBDEV_MD_REPLACING:
		member->is_replacement = true;
		/* fall through */
	case XBDEV_MD_RECOVERING:
		member->state = XBDEV_MD_MEMBER_RECOVERING;
		member->is_by_bitmap =
			xbdev__md_super_has(&member->super, XBDEV_MD_F_RECOVERY_BITMAP);
		/* Without the bit it is complete, and only its taking over is due. */
		member->recovery_offset =
			xbdev__md_super_has(&member->super, XBDEV_MD_F_RECOVERY_OFFSET)
				? member->super.recovery_offset
				: member->super.size;
		member->recovery_saved = member->recovery_offset;
		if (member->is_replacement) {
			array->replacements[member->role] = member;
		} else {
			array->roles[member->role] = member;
		}
		break;
	case XBDEV_MD_SPARE:
		member->state = XBDEV_MD_MEMBER_SPARE;
		break;
	case XBDEV_MD_STALE:
	case XBDEV_MD_LEFT_OUT:
		xu_warn(xbdev_ctx_log(build->ctx), "array %s: member %s is left out: %s",
			array->dev.name, member->name, candidate->reason);
		xbdev__md_member_release(member);
		break;
	}
}

static void set_common(struct xbdev_md_array *array, const struct xbdev_md_super *super)
{
	array->super = *super;
	array->in_sync_below =
		super->resync_offset == XBDEV_MD_CLEAN ? XBDEV_MD_NEVER : super->resync_offset;
}

/* A member that was brought back by force, or a spare that had been removed, may have a number that
 * was given away meanwhile. Who serves keeps its own: the tables on other members, which may miss
 * the next update, know it by that. */
static void renumber(struct xbdev_md_array *array)
{
	bool is_used[XBDEV_MD_MAX_DEV_ROLES] = {false};
	uint32_t next = 0;

	for (uint32_t i = 0; i < 2 * array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i % array->nr_members];
		bool is_spare_pass = i >= array->nr_members;

		if (member == NULL || (member->state == XBDEV_MD_MEMBER_SPARE) != is_spare_pass) {
			continue;
		}
		if (member->super.dev_number >= XBDEV_MD_MAX_DEV_ROLES ||
			is_used[member->super.dev_number]) {
			while (is_used[next]) {
				next++;
			}
			member->super.dev_number = next;
		}
		is_used[member->super.dev_number] = true;
	}
}

static void to_shape(const struct xbdev_md_build *build, struct xbdev_md_shape *ret_shape)
{
	const struct xbdev_md_super *super = &build->array->super;

	*ret_shape = (struct xbdev_md_shape){
		.level = super->level,
		.layout = super->layout,
		.has_raid0_layout = xbdev__md_super_has(super, XBDEV_MD_F_RAID0_LAYOUT),
		.raid_disks = super->raid_disks,
		.chunk = super->chunksize,
		.size = super->size,
	};
	for (uint32_t i = 0; i < super->raid_disks; i++) {
		if (build->array->roles[i] != NULL) {
			ret_shape->data_sizes[i] = build->array->roles[i]->super.data_size;
		}
	}
}

/* ---- the judgement ---- */

/* Only members that carry a superblock are candidates; one that does not is an error. */
static int collect(struct xbdev_md_build *build, struct xbdev_md_candidate *candidates,
	struct xbdev_md_member **members, uint32_t *ret_nr)
{
	struct xbdev_md_array *array = build->array;
	uint32_t nr = 0;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member == NULL) {
			continue;
		}
		if (!build->is_found[i]) {
			return xu_error_set(&build->err, -EINVAL,
				"'%s' has no RAID superblock, it is no member of any array",
				member->name);
		}
		members[nr] = member;
		candidates[nr++] =
			(struct xbdev_md_candidate){.name = member->name, .super = &member->super};
	}
	*ret_nr = nr;
	return nr > 0 ? 0 : xu_error_set(&build->err, -EINVAL, "no members are named");
}

/* A dirty array that lacks a member may still have a journal: that is looked for later. */
static int select_members(struct xbdev_md_build *build, struct xbdev_md_candidate *candidates,
	uint32_t nr, struct xbdev_md_selection *ret_selection)
{
	struct xbdev_md_select_opts opts = {.force = build->force, .run = build->run};
	int rc = xbdev__md_select(candidates, nr, &opts, ret_selection, &build->err);
	int32_t level = candidates[0].super->level;

	if (rc == -EUCLEAN && !build->array->is_sealed && (level == 4 || level == 6)) {
		build->trial_err = build->err;
		xu_error_prefix(&build->trial_err, "array '%s'", build->array->dev.name);
		build->is_on_trial = true;
		opts.has_log = true;
		build->err = (struct xu_error){0};
		rc = xbdev__md_select(candidates, nr, &opts, ret_selection, &build->err);
	}
	return rc;
}

static int judge_members(struct xbdev_md_build *build)
{
	struct xbdev_md_candidate candidates[XBDEV_MD_MAX_MEMBERS];
	struct xbdev_md_member *members[XBDEV_MD_MAX_MEMBERS];
	struct xbdev_md_selection selection;
	const struct xbdev_md_super *super;
	uint32_t nr;
	int rc = collect(build, candidates, members, &nr);

	if (rc == 0) {
		rc = select_members(build, candidates, nr, &selection);
	}
	if (rc != 0) {
		return xu_error_prefix(&build->err, "array '%s'", build->array->dev.name);
	}
	super = candidates[selection.freshest].super;
	rc = check_wish(build, super, &build->err);
	if (rc == 0) {
		rc = check_servable(build, super, &selection, &build->err);
	}
	if (rc != 0) {
		return rc;
	}
	build->is_mixed = selection.is_mixed;
	set_common(build->array, super);
	if (selection.is_clean) {
		build->array->super.resync_offset = XBDEV_MD_CLEAN;
		build->array->in_sync_below = XBDEV_MD_NEVER;
	}
	for (uint32_t i = 0; i < nr; i++) {
		take(build, members[i], &candidates[i]);
	}
	renumber(build->array);
	return 0;
}

static void judge(struct xbdev_md_build *build)
{
	struct xbdev_md_shape shape;

	if (judge_members(build) != 0) {
		xbdev__md_build_fail(build);
		return;
	}
	to_shape(build, &shape);
	xbdev__md_build_finish(build, &shape);
}

void xbdev__md_assemble(struct xbdev_ctx *ctx, const struct xbdev_md_assemble_opts *opts,
	xbdev_created_fn done, void *arg)
{
	struct xbdev_md_build *build;

	if (opts->nr_members > XBDEV_MD_MAX_MEMBERS) {
		struct xu_error err;

		xu_error_set(&err, -EINVAL, "array '%s': %u members are too many, at most %u",
			opts->name, opts->nr_members, XBDEV_MD_MAX_MEMBERS);
		done(arg, NULL, &err);
		return;
	}
	build = xbdev__md_build_new(ctx, opts->name, done, arg);
	if (build == NULL) {
		return;
	}
	build->judge = judge;
	build->level = opts->level;
	build->uuid = opts->uuid;
	build->force = opts->force;
	build->run = opts->run;
	build->array->is_read_only = opts->read_only;
	build->array->is_sealed = opts->read_only;
	build->array->nr_stripes = opts->nr_stripes;
	xbdev__md_build_set(build, opts->spare_group, opts->priority);
	xbdev__md_build_start(build, opts->members, opts->nr_members);
}
