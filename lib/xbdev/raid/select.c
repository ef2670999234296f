/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which devices make the array. The main flow: all must be of one array and of a kind that is
 * assembled here; the member with the most events is the freshest, and its table of roles is the
 * truth; each other device is judged by its events and by both tables; whoever is left has its
 * role; with `force` the newest of the others come in until there are enough; then the array is
 * complete, degraded, or refused.
 *
 * A device that is left out is no error, as long as there are enough without it. Two devices that
 * claim the same place with the same age are: nobody can tell which of them is the member.
 */
#include "lib/xbdev/raid/select.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"

#define F_ANY_PPL (XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS)
#define NOBODY    (-1)

struct selecting {
	struct xbdev_md_candidate *candidates;
	uint32_t count;
	struct xbdev_md_selection result;
	struct xu_error *err;
};

__attribute__((format(printf, 3, 4))) static void judge(
	struct xbdev_md_candidate *c, enum xbdev_md_verdict verdict, const char *fmt, ...)
{
	va_list args;

	c->verdict = verdict;
	va_start(args, fmt);
	vsnprintf(c->reason, sizeof(c->reason), fmt, args);
	va_end(args);
}

static bool is_recovering(const struct xbdev_md_super *super)
{
	return xbdev__md_super_has(super, XBDEV_MD_F_RECOVERY_OFFSET);
}

static bool is_replacement(const struct xbdev_md_super *super)
{
	return xbdev__md_super_has(super, XBDEV_MD_F_REPLACEMENT);
}

/* Has a place in the array, by its own table. */
static bool is_active(const struct xbdev_md_super *super)
{
	return xbdev__md_super_role(super) < super->raid_disks;
}

/* ---- one array, of a kind that is assembled here ---- */

static int refuse(struct selecting *sel, const struct xbdev_md_candidate *c, const char *what)
{
	return xu_error_set(sel->err, -EINVAL, "%s %s", c->name, what);
}

static int check_same(struct selecting *sel, const struct xbdev_md_candidate *c)
{
	const struct xbdev_md_super *first = sel->candidates[0].super, *other = c->super;
	char uuid[36];

	if (!xu_uuid_is_equal(&first->set_uuid, &other->set_uuid)) {
		xbdev__md_uuid_format(&other->set_uuid, uuid);
		return xu_error_set(sel->err, -EINVAL,
			"%s is a member of another array, %s; give the members of one array only",
			c->name, uuid);
	}
	if (first->ctime != other->ctime || first->level != other->level ||
		first->layout != other->layout || first->size != other->size ||
		first->chunksize != other->chunksize || first->raid_disks != other->raid_disks) {
		return xu_error_set(sel->err, -EINVAL,
			"the superblock of %s does not agree with that of %s (creation time, "
			"level, layout, size, chunk or number of members); leave out the one that "
			"is not up to date",
			c->name, sel->candidates[0].name);
	}
	return 0;
}

static int check_kind(struct selecting *sel, const struct xbdev_md_candidate *c)
{
	const struct xbdev_md_super *super = c->super;

	if (xbdev__md_super_has(
		    super, XBDEV_MD_F_RESHAPE | XBDEV_MD_F_RESHAPE_BACK | XBDEV_MD_F_NEW_OFFSET)) {
		return refuse(sel, c, "is in the middle of a reshape; let Linux finish that first");
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_CLUSTERED)) {
		return refuse(sel, c, "belongs to a clustered array, which only Linux can run");
	}
	if (xbdev__md_super_has(super, XBDEV_MD_F_JOURNAL) ||
		xbdev__md_super_role(super) == XBDEV_MD_ROLE_JOURNAL) {
		return refuse(sel, c,
			"belongs to an array with a journal device; let Linux remove the journal "
			"(mdadm --grow --consistency-policy=resync) first");
	}
	if (xbdev__md_super_has(super, F_ANY_PPL) && super->level != 5) {
		return refuse(sel, c,
			"has a partial parity log, but is not of raid5: its superblock is damaged");
	}
	return 0;
}

static int check_shape(struct selecting *sel)
{
	const struct xbdev_md_super *super = sel->candidates[0].super;
	uint32_t near = super->layout & 0xff, far = super->layout >> 8 & 0xff;
	char buf[24];

	if (super->level < -1 || super->level == 2 || super->level == 3 ||
		(super->level > 6 && super->level != 10)) {
		return xu_error_set(sel->err, -EINVAL,
			"the array is of %s; linear, raid0, 1, 4, 5, 6 and 10 are assembled",
			xbdev__md_level_name(super->level, buf));
	}
	if (super->raid_disks == 0 || super->raid_disks > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(sel->err, -EINVAL,
			"the array has %" PRIu32 " members; 1 to %u can be assembled",
			super->raid_disks, XBDEV_MD_MAX_DISKS);
	}
	if (super->level == 10 && (near * far == 0 || near * far > super->raid_disks)) {
		return xu_error_set(sel->err, -EINVAL,
			"the array is a raid10 with the layout %#" PRIx32 " on %" PRIu32
			" members, which there cannot be",
			super->layout, super->raid_disks);
	}
	return 0;
}

static int check_all(struct selecting *sel)
{
	int rc = sel->count == 0 ? xu_error_set(sel->err, -ENODEV, "no devices were given") : 0;

	for (uint32_t i = 0; i < sel->count && rc == 0; i++) {
		rc = check_same(sel, &sel->candidates[i]);
		if (rc == 0) {
			rc = check_kind(sel, &sel->candidates[i]);
		}
	}
	return rc != 0 ? rc : check_shape(sel);
}

/* ---- each device by itself ---- */

/* The first of those with the most events that have a role; NOBODY: none. */
static int32_t find_newest(const struct selecting *sel, bool is_in_sync)
{
	int32_t newest = NOBODY;

	for (uint32_t i = 0; i < sel->count; i++) {
		const struct xbdev_md_super *super = sel->candidates[i].super;

		if (is_active(super) && !(is_in_sync && is_recovering(super)) &&
			(newest == NOBODY ||
				super->events > sel->candidates[newest].super->events)) {
			newest = (int32_t)i;
		}
	}
	return newest;
}

/*
 * Spares never set the standard. Nor does one that is being recovered if another is as new, or one
 * event behind it: the power may have gone while the members were told of its place, and those who
 * had not heard of it would all seem to have gone on without it.
 */
static int find_freshest(struct selecting *sel)
{
	int32_t freshest = find_newest(sel, false), in_sync = find_newest(sel, true);

	if (in_sync != NOBODY &&
		sel->candidates[freshest].super->events - sel->candidates[in_sync].super->events <=
			1) {
		freshest = in_sync;
	}
	if (freshest == NOBODY) {
		for (uint32_t i = 0; i < sel->count; i++) {
			judge(&sel->candidates[i], XBDEV_MD_SPARE, "has no role in the array");
		}
		return xu_error_set(sel->err, -ENODEV,
			"none of the devices has a role in the array: there are spares only; give "
			"the members");
	}
	sel->result.freshest = (uint32_t)freshest;
	return 0;
}

static bool counts_as_active(const struct xbdev_md_super *super, uint32_t role)
{
	for (uint32_t i = 0; i < super->max_dev; i++) {
		if (super->dev_roles[i] == role) {
			return true;
		}
	}
	return false;
}

static void judge_without_role(struct selecting *sel, struct xbdev_md_candidate *c)
{
	const struct xbdev_md_candidate *freshest = &sel->candidates[sel->result.freshest];
	uint16_t role = xbdev__md_super_role(c->super);

	if (role != XBDEV_MD_ROLE_SPARE) {
		judge(c, XBDEV_MD_LEFT_OUT, "its superblock calls it %s (%04x)",
			role == XBDEV_MD_ROLE_FAULTY ? "faulty" : "a member that there is not",
			role);
	} else if (c->super->events > freshest->super->events) {
		judge(c, XBDEV_MD_LEFT_OUT,
			"a spare with %" PRIu64 " events, more than the newest member's %" PRIu64,
			c->super->events, freshest->super->events);
	} else {
		/* However old: there is nothing on it. */
		judge(c, XBDEV_MD_SPARE, "a spare");
	}
}

/* Both tables must have the two in their places: its own the freshest, and the freshest's it. */
static void judge_by_tables(struct selecting *sel, struct xbdev_md_candidate *c)
{
	const struct xbdev_md_candidate *freshest = &sel->candidates[sel->result.freshest];
	const struct xbdev_md_super *truth = freshest->super;
	uint32_t dev_number = c->super->dev_number;
	uint16_t role = dev_number < truth->max_dev ? truth->dev_roles[dev_number]
						    : (uint16_t)XBDEV_MD_ROLE_SPARE;

	if (role != c->role) {
		judge(c, XBDEV_MD_LEFT_OUT, "%.60s counts it as %s", freshest->name,
			role == XBDEV_MD_ROLE_FAULTY  ? "failed"
			: role == XBDEV_MD_ROLE_SPARE ? "removed"
						      : "something else");
	} else if (!counts_as_active(c->super, xbdev__md_super_role(truth))) {
		judge(c, XBDEV_MD_LEFT_OUT,
			"it counts %.60s as failed: the two went on without each other",
			freshest->name);
	}
}

/* One that is being recovered and has heard of it first. Where nobody else has, there is nothing on
 * it that counts. */
static void judge_ahead(struct selecting *sel, struct xbdev_md_candidate *c)
{
	judge(c, XBDEV_MD_RECOVERING, "%s", "");
	judge_by_tables(sel, c);
	if (c->verdict == XBDEV_MD_LEFT_OUT) {
		judge(c, XBDEV_MD_SPARE, "a spare that was just taking a place");
	}
}

static void judge_alone(struct selecting *sel, uint32_t index)
{
	struct xbdev_md_candidate *c = &sel->candidates[index];
	uint64_t newest = sel->candidates[sel->result.freshest].super->events;

	c->role = 0;
	if (!is_active(c->super)) {
		judge_without_role(sel, c);
		return;
	}
	c->role = xbdev__md_super_role(c->super);
	if (c->super->events > newest) {
		judge_ahead(sel, c);
		return;
	}
	if (newest - c->super->events > 1) {
		judge(c, XBDEV_MD_STALE, "it has %" PRIu64 " events, the newest member %" PRIu64,
			c->super->events, newest);
		return;
	}
	judge(c, is_recovering(c->super) ? XBDEV_MD_RECOVERING : XBDEV_MD_IN_SYNC, "%s", "");
	if (index != sel->result.freshest) {
		judge_by_tables(sel, c);
	}
}

/* ---- who has which place ---- */

static bool is_taken(const struct xbdev_md_candidate *c)
{
	return c->verdict == XBDEV_MD_IN_SYNC || c->verdict == XBDEV_MD_RECOVERING ||
	       c->verdict == XBDEV_MD_REPLACING;
}

static int refuse_equal(struct selecting *sel, const struct xbdev_md_candidate *a,
	const struct xbdev_md_candidate *b)
{
	return xu_error_set(sel->err, -EINVAL,
		"%s and %s both have role %" PRIu32 " and %" PRIu64
		" events: one is a copy of the other; leave out the copy",
		a->name, b->name, b->role, b->super->events);
}

/* Puts a device in a place of the array; of two, the one with more events has it. */
static int take_place(struct selecting *sel, int32_t *place, uint32_t index)
{
	struct xbdev_md_candidate *c = &sel->candidates[index], *other;

	if (*place == NOBODY) {
		*place = (int32_t)index;
		return 0;
	}
	other = &sel->candidates[*place];
	if (other->super->events == c->super->events) {
		return refuse_equal(sel, other, c);
	}
	if (other->super->events < c->super->events) {
		*place = (int32_t)index;
		c = other;
		other = &sel->candidates[index];
	}
	judge(c, XBDEV_MD_STALE, "%.60s has the same role and more events", other->name);
	return 0;
}

/* A replacement without what it replaces is the member itself. */
static void settle_replacement(struct selecting *sel, uint32_t role)
{
	int32_t *member = &sel->result.members[role];
	int32_t *replacement = &sel->result.replacements[role];
	struct xbdev_md_candidate *c;

	if (*replacement == NOBODY) {
		return;
	}
	c = &sel->candidates[*replacement];
	if (*member == NOBODY) {
		*member = *replacement;
		*replacement = NOBODY;
	} else if (sel->candidates[*member].verdict == XBDEV_MD_IN_SYNC) {
		c->verdict = XBDEV_MD_REPLACING;
	} else {
		judge(c, XBDEV_MD_LEFT_OUT, "what it replaces is not in sync itself");
		*replacement = NOBODY;
	}
}

static int take_places(struct selecting *sel)
{
	struct xbdev_md_selection *result = &sel->result;
	int rc = 0;

	for (uint32_t role = 0; role < XBDEV_MD_MAX_DISKS; role++) {
		result->members[role] = NOBODY;
		result->replacements[role] = NOBODY;
	}
	for (uint32_t i = 0; i < sel->count && rc == 0; i++) {
		struct xbdev_md_candidate *c = &sel->candidates[i];

		if (is_taken(c)) {
			rc = take_place(sel,
				is_replacement(c->super) ? &result->replacements[c->role]
							 : &result->members[c->role],
				i);
		}
	}
	for (uint32_t role = 0; role < XBDEV_MD_MAX_DISKS && rc == 0; role++) {
		settle_replacement(sel, role);
	}
	return rc;
}

/* ---- are they enough? ---- */

static uint32_t all_roles(uint32_t raid_disks)
{
	return raid_disks >= 32 ? UINT32_MAX : (1u << raid_disks) - 1;
}

/* raid10: of each group of neighbours that hold copies of the same chunk, one at least. */
static bool has_every_copy(const struct xbdev_md_geometry *geo, uint32_t roles)
{
	uint32_t copies = geo->near * geo->far, first = 0;

	for (uint32_t steps = 0; steps < geo->raid_disks; steps++) {
		bool has_one = false;

		for (uint32_t i = 0; i < copies; i++) {
			has_one |= (roles >> (first + i) % geo->raid_disks & 1) != 0;
		}
		if (!has_one) {
			return false;
		}
		first = (first + geo->near) % geo->raid_disks;
		if (first == 0) {
			break;
		}
	}
	return true;
}

bool xbdev__md_is_enough(const struct xbdev_md_geometry *geo, uint32_t roles_in_sync)
{
	uint32_t roles = roles_in_sync & all_roles(geo->raid_disks);
	uint32_t nr_missing = geo->raid_disks - (uint32_t)__builtin_popcount(roles);

	switch (geo->level) {
	case 1:
		return roles != 0;
	case 4:
	case 5:
		return nr_missing <= 1;
	case 6:
		return nr_missing <= 2;
	case 10:
		return has_every_copy(geo, roles);
	default:
		return nr_missing == 0;
	}
}

static uint32_t roles_in_sync(const struct selecting *sel)
{
	uint32_t roles = 0;

	for (uint32_t role = 0; role < XBDEV_MD_MAX_DISKS; role++) {
		int32_t index = sel->result.members[role];

		if (index != NOBODY && sel->candidates[index].verdict == XBDEV_MD_IN_SYNC) {
			roles |= 1u << role;
		}
	}
	return roles;
}

static bool is_enough(const struct selecting *sel)
{
	const struct xbdev_md_super *super = sel->candidates[sel->result.freshest].super;
	struct xbdev_md_geometry geo = {
		.level = super->level,
		.raid_disks = super->raid_disks,
		.near = super->layout & 0xff,
		.far = super->layout >> 8 & 0xff,
	};

	return xbdev__md_is_enough(&geo, roles_in_sync(sel));
}

/* Parity that may be wrong says nothing about the data of a missing member. */
static bool needs_parity(const struct selecting *sel)
{
	const struct xbdev_md_super *super = sel->candidates[sel->result.freshest].super;
	uint32_t missing = all_roles(super->raid_disks) & ~roles_in_sync(sel);

	if (super->level < 4 || super->level > 6 || missing == 0) {
		return false;
	}
	return super->level != 4 || missing != 1u << (super->raid_disks - 1);
}

/* ---- force ---- */

/* Left out, but with data that was once right. */
static bool may_be_forced(const struct selecting *sel, const struct xbdev_md_candidate *c)
{
	int32_t holder;

	if ((c->verdict != XBDEV_MD_STALE && c->verdict != XBDEV_MD_LEFT_OUT) ||
		!is_active(c->super) || is_recovering(c->super)) {
		return false;
	}
	holder = sel->result.members[c->role];
	return holder == NOBODY || sel->candidates[holder].verdict != XBDEV_MD_IN_SYNC;
}

/* Takes all of the newest age among those that may be. false: there is none. */
static bool force_newest(struct selecting *sel)
{
	uint64_t newest = sel->candidates[sel->result.freshest].super->events, best = 0;
	bool has_one = false;

	for (uint32_t i = 0; i < sel->count; i++) {
		const struct xbdev_md_candidate *c = &sel->candidates[i];

		if (may_be_forced(sel, c)) {
			best = !has_one || c->super->events > best ? c->super->events : best;
			has_one = true;
		}
	}
	for (uint32_t i = 0; i < sel->count && has_one; i++) {
		struct xbdev_md_candidate *c = &sel->candidates[i];

		if (may_be_forced(sel, c) && c->super->events == best) {
			/* Who has the place now is not in sync, and gives way. */
			int32_t holder = sel->result.members[c->role];

			if (holder != NOBODY) {
				judge(&sel->candidates[holder], XBDEV_MD_LEFT_OUT,
					"%.60s is used by force", c->name);
			}
			judge(c, XBDEV_MD_IN_SYNC, "by force, at %" PRIu64 " of %" PRIu64 " events",
				best, newest);
		}
	}
	return has_one;
}

static bool has_recovering(const struct selecting *sel)
{
	for (uint32_t role = 0; role < XBDEV_MD_MAX_DISKS; role++) {
		int32_t index = sel->result.members[role];

		if (index != NOBODY && sel->candidates[index].verdict == XBDEV_MD_RECOVERING) {
			return true;
		}
	}
	return false;
}

/* Is there more than what the level needs to have each block once? A member that is being recovered
 * has some of it. */
static bool has_more_than_enough(const struct selecting *sel)
{
	const struct xbdev_md_super *super = sel->candidates[sel->result.freshest].super;
	uint32_t nr_spare = super->level == 6 ? 2 : 1, nr = super->raid_disks - nr_spare;

	return (uint32_t)__builtin_popcount(roles_in_sync(sel)) > nr || has_recovering(sel);
}

static int force(struct selecting *sel)
{
	struct xbdev_md_super *truth = sel->candidates[sel->result.freshest].super;
	int rc = 0;

	/* Each round takes one device in at least. */
	for (uint32_t i = 0; i < sel->count && rc == 0 && !is_enough(sel); i++) {
		if (!force_newest(sel)) {
			break;
		}
		rc = take_places(sel);
	}
	for (uint32_t i = 0; i < sel->count && rc == 0 && is_enough(sel); i++) {
		struct xbdev_md_candidate *c = &sel->candidates[i];

		if (is_taken(c) && truth->events - c->super->events > 1) {
			c->super->events = truth->events;
		}
		/* Another copy of what it holds may be at hand, and newer: one of them has to go.
		 */
		if (is_taken(c) && truth->level == 10) {
			c->super->resync_offset = 0;
		}
	}
	sel->result.is_mixed = rc == 0 && truth->level >= 4 && truth->level <= 6 &&
			       is_enough(sel) && has_more_than_enough(sel);
	return rc;
}

static void force_clean(struct selecting *sel)
{
	sel->result.is_clean = true;
	for (uint32_t i = 0; i < sel->count; i++) {
		if (is_taken(&sel->candidates[i])) {
			sel->candidates[i].super->resync_offset = XBDEV_MD_CLEAN;
		}
	}
}

/* ---- the result ---- */

/* "; B was left out: it has …", for the first that was. */
static const char *left_out(const struct selecting *sel, char *buf, size_t size)
{
	buf[0] = '\0';
	for (uint32_t i = 0; i < sel->count && buf[0] == '\0'; i++) {
		const struct xbdev_md_candidate *c = &sel->candidates[i];

		if (c->verdict == XBDEV_MD_STALE || c->verdict == XBDEV_MD_LEFT_OUT) {
			snprintf(buf, size, "; %.60s was left out: %s", c->name, c->reason);
		}
	}
	return buf;
}

/*
 * Is who has the role, as the newest table says, at hand as one who knows nothing of it? A spare
 * that was being told of its place when power failed has what nobody reads. One event behind, at
 * most, it cannot have been removed since, and its number given to another. One that served in the
 * role, was out and came back as a spare, perhaps by another number, may not know of either, two
 * events: its old number does not count as failed any more, and who took the role instead would not
 * be in sync yet.
 */
static bool is_being_taken(const struct selecting *sel, uint32_t role)
{
	const struct xbdev_md_super *truth = sel->candidates[sel->result.freshest].super;

	for (uint32_t i = 0; i < sel->count; i++) {
		const struct xbdev_md_candidate *c = &sel->candidates[i];
		uint32_t number = c->super->dev_number;
		uint16_t now =
			number < truth->max_dev ? truth->dev_roles[number] : XBDEV_MD_ROLE_FAULTY;

		if (c->verdict == XBDEV_MD_SPARE && now == role &&
			c->super->events + 1 >= truth->events) {
			return true;
		}
		if (c->verdict == XBDEV_MD_STALE && c->role == role &&
			now != XBDEV_MD_ROLE_FAULTY && c->super->events + 2 >= truth->events) {
			return true;
		}
	}
	return false;
}

static void sum_up(struct selecting *sel)
{
	struct xbdev_md_selection *result = &sel->result;
	const struct xbdev_md_super *truth = sel->candidates[result->freshest].super;

	result->nr_in_sync = (uint32_t)__builtin_popcount(roles_in_sync(sel));
	result->nr_missing = truth->raid_disks - result->nr_in_sync;
	result->is_clean = truth->resync_offset == XBDEV_MD_CLEAN;
	result->has_ppl = xbdev__md_super_has(truth, F_ANY_PPL);
	result->is_complete = true;
	for (uint32_t role = 0; role < truth->raid_disks; role++) {
		if (result->members[role] == NOBODY && counts_as_active(truth, role) &&
			!is_being_taken(sel, role)) {
			result->is_complete = false;
		}
	}
}

/* raid0 over unequal members: where the second zone has several, an old Linux and a newer one put
 * the chunks differently, and only the superblock can say which it was. */
static int check_raid0_layout(struct selecting *sel)
{
	const struct xbdev_md_super *truth = sel->candidates[sel->result.freshest].super;
	bool is_known = xbdev__md_super_has(truth, XBDEV_MD_F_RAID0_LAYOUT) &&
			(truth->layout == XBDEV_MD_RAID0_ORIGINAL ||
				truth->layout == XBDEV_MD_RAID0_ALTERNATE);
	uint64_t chunks[XBDEV_MD_MAX_DISKS], least = UINT64_MAX;
	uint32_t nr_behind = 0;

	if (truth->level != 0 || truth->chunksize == 0 || is_known) {
		return 0;
	}
	for (uint32_t role = 0; role < truth->raid_disks; role++) {
		int32_t index = sel->result.members[role];

		chunks[role] = sel->candidates[index].super->data_size / truth->chunksize;
		least = chunks[role] < least ? chunks[role] : least;
	}
	for (uint32_t role = 0; role < truth->raid_disks; role++) {
		nr_behind += chunks[role] > least;
	}
	if (nr_behind > 1) {
		return xu_error_set(sel->err, -EINVAL,
			"the array is a raid0 of unequal members without a recorded layout, so it "
			"is not known where its data lies; let Linux assemble it with mdadm "
			"--update=layout-original or --update=layout-alternate first");
	}
	return 0;
}

static int refuse_not_enough(struct selecting *sel, const char *level, const char *out)
{
	return xu_error_set(sel->err, -ENODEV,
		"%" PRIu32 " of the %" PRIu32
		" members of this %s are in sync and at hand, which is not enough%s; give the "
		"others, or force it to use members that are not up to date",
		sel->result.nr_in_sync, sel->result.nr_in_sync + sel->result.nr_missing, level,
		out);
}

static int refuse_dirty(struct selecting *sel, const char *level, const char *out)
{
	return xu_error_set(sel->err, -EUCLEAN,
		"this %s was not stopped cleanly and %" PRIu32
		" of its members is missing or not in sync, so that its parity cannot be "
		"trusted%s; give the missing member, or force the start and lose what was being "
		"written",
		level, sel->result.nr_missing, out);
}

static int refuse_incomplete(struct selecting *sel, const char *level, const char *out)
{
	return xu_error_set(sel->err, -EAGAIN,
		"%" PRIu32 " of the %" PRIu32
		" members of this %s are in sync and at hand, but more were when it ran last%s; "
		"give the others, or run it degraded",
		sel->result.nr_in_sync, sel->result.nr_in_sync + sel->result.nr_missing, level,
		out);
}

static int check_enough(struct selecting *sel, const struct xbdev_md_select_opts *opts)
{
	const struct xbdev_md_super *truth = sel->candidates[sel->result.freshest].super;
	char level_buf[24], out_buf[256];
	const char *level = xbdev__md_level_name(truth->level, level_buf);
	const char *out = left_out(sel, out_buf, sizeof(out_buf));

	if (!is_enough(sel)) {
		return refuse_not_enough(sel, level, out);
	}
	/* With a log, all parity can be trusted; unless a resync was under way. */
	if (needs_parity(sel) && !sel->result.is_clean &&
		(!sel->result.has_ppl || truth->resync_offset != 0) && !opts->has_log) {
		if (!opts->force) {
			return refuse_dirty(sel, level, out);
		}
		force_clean(sel);
	}
	if (!sel->result.is_complete && !opts->run) {
		return refuse_incomplete(sel, level, out);
	}
	return check_raid0_layout(sel);
}

int xbdev__md_select(struct xbdev_md_candidate *candidates, uint32_t nr_candidates,
	const struct xbdev_md_select_opts *opts, struct xbdev_md_selection *ret_selection,
	struct xu_error *err)
{
	struct selecting sel = {.candidates = candidates, .count = nr_candidates, .err = err};
	int rc = check_all(&sel);

	if (rc == 0) {
		rc = find_freshest(&sel);
	}
	if (rc != 0) {
		return rc;
	}
	for (uint32_t i = 0; i < nr_candidates; i++) {
		judge_alone(&sel, i);
	}
	rc = take_places(&sel);
	if (rc == 0 && opts->force && !is_enough(&sel)) {
		rc = force(&sel);
	}
	if (rc == 0) {
		sum_up(&sel);
		rc = check_enough(&sel, opts);
	}
	if (rc == 0) {
		*ret_selection = sel.result;
	}
	return rc;
}
