/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An array as a configuration describes it. One member after the other is looked at:
 *
 *	look at superblocks ─ some are of this array ─▶ assemble those
 *	                    └ none has one ─ look whether all are blank ─▶ create
 *
 * Anything else is refused by the name of the device that does not fit. What is looked at is not
 * claimed yet; creation and assembly look again at what they need for themselves.
 */
#include "lib/xbdev/raid/bring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/raid/blank.h"
#include "lib/xbdev/raid/build.h"
#include "lib/xbdev/raid/examine.h"

#define NAMES_MAX (2 * XBDEV_MD_MAX_DISKS)

enum finding {
	FOUND_ARRAY,   /* a superblock */
	FOUND_NOTHING, /* no superblock */
	FOUND_DAMAGE,  /* one that cannot be read */
	FOUND_NOBODY,  /* no such device */
	FOUND_MISSING, /* and none is named */
};

struct place {
	char name[XBDEV_NAME_SIZE];
	enum finding finding;
	struct xbdev_md_super super; /* FOUND_ARRAY */
	struct xu_error err;         /* FOUND_DAMAGE */
};

struct bring {
	struct xbdev_ctx *ctx;
	struct xbdev_md_bring_opts opts;
	char name[XBDEV_NAME_SIZE];
	char group[XBDEV_MD_GROUP_BYTES];
	bool is_new;
	xbdev_md_brought_fn done;
	void *arg;
	uint32_t nr_places, next;
	struct place places[];
};

static void end(struct bring *bring, struct xbdev_device *dev, const struct xu_error *err)
{
	bring->done(bring->arg, dev, bring->is_new, err);
	free(bring);
}

static void fail(struct bring *bring, struct xu_error *err)
{
	xu_error_prefix(err, "array '%s'", bring->name);
	end(bring, NULL, err);
}

/* The first with this finding; NULL: there is none. */
static const struct place *first_with(const struct bring *bring, enum finding finding)
{
	for (uint32_t i = 0; i < bring->nr_places; i++) {
		if (bring->places[i].finding == finding) {
			return &bring->places[i];
		}
	}
	return NULL;
}

static bool is_mine(const struct bring *bring, const struct place *place)
{
	const struct xu_uuid *uuid = &bring->opts.like.uuid;

	return place->finding == FOUND_ARRAY &&
	       (xu_uuid_is_null(uuid) || xu_uuid_is_equal(uuid, &place->super.set_uuid));
}

static int refuse_owner(const struct place *place, const char *why, struct xu_error *err)
{
	char text[36];

	xbdev__md_uuid_format(&place->super.set_uuid, text);
	return xu_error_set(err, -EEXIST, "'%s' belongs to array '%s' (%s) already, %s",
		place->name, place->super.set_name, text, why);
}

static void on_device(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	end(arg, dev, err);
}

/* ---- assembling ---- */

static const char *reason_of(const struct place *place)
{
	switch (place->finding) {
	case FOUND_ARRAY:
		return "it is of another array";
	case FOUND_NOTHING:
		return "it has no RAID superblock";
	case FOUND_DAMAGE:
		return place->err.text;
	default:
		return "there is no such device";
	}
}

/* Nobody has said which array is meant, so every device of the list must say the same. */
static int check_unsaid(const struct bring *bring, struct xu_error *err)
{
	for (uint32_t i = 0; i < bring->nr_places; i++) {
		const struct place *place = &bring->places[i];

		if (place->finding == FOUND_NOTHING || place->finding == FOUND_DAMAGE) {
			return xu_error_set(err, -EINVAL,
				"'%s' does not belong to the array that others of its members "
				"carry: %s; take it out of the list, or give the array's UUID to "
				"have it left out",
				place->name, reason_of(place));
		}
	}
	return 0;
}

/* What the members say of chunk and layout must be what was said here, if anything was. */
static int check_like(
	const struct bring *bring, const struct xbdev_md_super *super, struct xu_error *err)
{
	const struct xbdev_md_create_opts *like = &bring->opts.like;
	uint64_t chunk_bytes = (uint64_t)super->chunksize * XBDEV_MD_SECTOR;

	if (like->chunk_bytes != 0 && chunk_bytes != 0 && like->chunk_bytes != chunk_bytes) {
		return xu_error_set(err, -EINVAL,
			"its chunks are to have %llu bytes, but its members say %llu",
			(unsigned long long)like->chunk_bytes, (unsigned long long)chunk_bytes);
	}
	if (like->layout != XBDEV_MD_LAYOUT_DEFAULT && like->layout != super->layout) {
		return xu_error_set(err, -EINVAL,
			"its layout is to be MD's number %u, but its members say %u", like->layout,
			super->layout);
	}
	return 0;
}

static void assemble(struct bring *bring)
{
	const char *names[NAMES_MAX];
	struct xbdev_md_assemble_opts opts = {
		.name = bring->name,
		.level = bring->opts.like.level,
		.members = names,
		.uuid = bring->opts.like.uuid,
		.run = true,
		.nr_stripes = bring->opts.like.nr_stripes,
		.spare_group = bring->group,
		.priority = bring->opts.like.priority,
	};
	const struct xbdev_md_super *super = NULL;
	struct xu_error err = {0};
	int rc = xu_uuid_is_null(&opts.uuid) ? check_unsaid(bring, &err) : 0;

	for (uint32_t i = 0; i < bring->nr_places && rc == 0; i++) {
		const struct place *place = &bring->places[i];

		if (is_mine(bring, place)) {
			names[opts.nr_members++] = place->name;
			super = super == NULL ? &place->super : super;
		} else if (place->finding != FOUND_MISSING) {
			xu_warn(xbdev_ctx_log(bring->ctx), "array %s: member %s is left out: %s",
				bring->name, place->name, reason_of(place));
		}
	}
	if (rc == 0) {
		rc = check_like(bring, super, &err);
	}
	if (rc != 0) {
		fail(bring, &err);
		return;
	}
	xbdev__md_assemble(bring->ctx, &opts, on_device, bring);
}

/* ---- creating ---- */

static void create(struct bring *bring)
{
	struct xbdev_md_create_opts opts = bring->opts.like;
	uint32_t raid_disks =
		bring->opts.raid_disks != 0 ? bring->opts.raid_disks : bring->nr_places;
	const char *names[NAMES_MAX];
	uint32_t nr = 0;

	for (; nr < bring->nr_places; nr++) {
		names[nr] = bring->places[nr].name;
	}
	for (; nr < raid_disks; nr++) {
		names[nr] = XBDEV_MD_MISSING;
	}
	opts.name = bring->name;
	opts.spare_group = bring->group;
	opts.members = names;
	opts.nr_members = raid_disks;
	opts.nr_spares = nr - raid_disks;
	opts.force = false;
	bring->is_new = true;
	xbdev__md_create(bring->ctx, &opts, on_device, bring);
}

static void look_whether_blank(struct bring *bring);

static void on_looked_blank(void *arg, const struct xu_error *err)
{
	struct bring *bring = arg;
	struct xu_error copy = *err;

	if (err->code != 0) {
		fail(bring, &copy);
		return;
	}
	look_whether_blank(bring);
}

static void look_whether_blank(struct bring *bring)
{
	const struct place *place;

	if (bring->next == bring->nr_places) {
		create(bring);
		return;
	}
	place = &bring->places[bring->next++];
	if (place->finding == FOUND_MISSING) {
		look_whether_blank(bring);
		return;
	}
	xbdev__md_look_blank(bring->ctx, place->name, on_looked_blank, bring);
}

static bool is_memory(const struct xbdev_device *dev)
{
	struct xbdev_device *base = NULL;

	if (!xbdev__md_is_array(dev)) {
		return strcmp(dev->driver, "malloc") == 0;
	}
	while ((base = xbdev_device_next(dev->ctx, base)) != NULL) {
		if (base->claim != NULL &&
			xbdev__md_is_member_desc(base->claim, xbdev__md_array_of(dev)) &&
			!is_memory(base)) {
			return false;
		}
	}
	return true;
}

/* Whether all that is on the members goes with the process. */
static bool is_of_memory(const struct bring *bring)
{
	for (uint32_t i = 0; i < bring->nr_places; i++) {
		const struct xbdev_device *dev =
			xbdev_device_find(bring->ctx, bring->places[i].name);

		if (bring->places[i].finding != FOUND_MISSING && (dev == NULL || !is_memory(dev))) {
			return false;
		}
	}
	return true;
}

static int may_create(const struct bring *bring, struct xu_error *err)
{
	const struct place *place;

	place = first_with(bring, FOUND_ARRAY);
	if (place != NULL) {
		return refuse_owner(
			place, "which is not the one that is meant; it is not written over", err);
	}
	place = first_with(bring, FOUND_DAMAGE);
	if (place != NULL) {
		*err = place->err;
		return err->code;
	}
	if (bring->opts.mode == XBDEV_MD_BRING_ASSEMBLE) {
		return xu_error_set(err, -ENOENT,
			"none of its members has a RAID superblock, and it is not to be made");
	}
	place = first_with(bring, FOUND_NOBODY);
	if (place != NULL) {
		return xu_error_set(
			err, -ENODEV, "there is no device '%s' to make it on", place->name);
	}
	if (bring->opts.is_old && !is_of_memory(bring)) {
		return xu_error_set(err, -ENOENT,
			"it was there before, and none of its members has a RAID superblock now; "
			"it is not made anew over what may be missing: look for its disks, or "
			"delete it and make another");
	}
	return bring->opts.like.level != XBDEV_MD_LEVEL_ANY
		       ? 0
		       : xu_error_set(err, -EINVAL,
				 "none of its members has a RAID superblock, and to make it its "
				 "level is needed");
}

/* ---- looking ---- */

static void decide(struct bring *bring)
{
	const struct place *mine = NULL;
	struct xu_error err = {0};

	for (uint32_t i = 0; i < bring->nr_places && mine == NULL; i++) {
		mine = is_mine(bring, &bring->places[i]) ? &bring->places[i] : NULL;
	}
	if (mine != NULL && bring->opts.mode != XBDEV_MD_BRING_CREATE) {
		assemble(bring);
		return;
	}
	if (mine != NULL) {
		refuse_owner(mine, "and this call makes new ones only", &err);
	} else {
		may_create(bring, &err);
	}
	if (err.code != 0) {
		fail(bring, &err);
		return;
	}
	bring->next = 0;
	look_whether_blank(bring);
}

static void look_at_next(struct bring *bring);

static void on_examined(
	void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err)
{
	struct bring *bring = arg;
	struct place *place = &bring->places[bring->next++];

	if (examined != NULL) {
		place->finding = FOUND_ARRAY;
		place->super = examined->super;
	} else {
		place->finding = err->code == -ENOENT   ? FOUND_NOTHING
				 : err->code == -ENODEV ? FOUND_NOBODY
							: FOUND_DAMAGE;
		place->err = *err;
	}
	look_at_next(bring);
}

static void look_at_next(struct bring *bring)
{
	struct place *place = &bring->places[bring->next];
	struct xbdev_device *dev;

	if (bring->next == bring->nr_places) {
		decide(bring);
		return;
	}
	if (strcmp(place->name, XBDEV_MD_MISSING) == 0) {
		place->finding = FOUND_MISSING;
		bring->next++;
		look_at_next(bring);
		return;
	}
	dev = xbdev_device_find(bring->ctx, place->name);
	if (dev != NULL) { /* its UUID may have stood for it */
		memcpy(place->name, dev->name, sizeof(place->name));
	}
	xbdev__md_examine(bring->ctx, place->name, on_examined, bring);
}

static int check_opts(const struct xbdev_md_bring_opts *opts, struct xu_error *err)
{
	if (opts->like.nr_members < 1 || opts->like.nr_members > NAMES_MAX ||
		opts->raid_disks > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL,
			"array '%s': %u members and spares; 1 to %u members and as many spares are "
			"possible",
			opts->like.name, opts->like.nr_members, XBDEV_MD_MAX_DISKS);
	}
	return 0;
}

void xbdev__md_bring(struct xbdev_ctx *ctx, const struct xbdev_md_bring_opts *opts,
	xbdev_md_brought_fn done, void *arg)
{
	struct bring *bring;
	struct xu_error err = {0};

	if (check_opts(opts, &err) != 0) {
		done(arg, NULL, false, &err);
		return;
	}
	bring = calloc(1, sizeof(*bring) + opts->like.nr_members * sizeof(bring->places[0]));
	if (bring == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "array '%s'", opts->like.name);
		done(arg, NULL, false, &err);
		return;
	}
	bring->ctx = ctx;
	bring->opts = *opts;
	bring->done = done;
	bring->arg = arg;
	bring->nr_places = opts->like.nr_members;
	memcpy(bring->name, opts->like.name, strnlen(opts->like.name, XBDEV_NAME_SIZE - 1));
	for (uint32_t i = 0; i < bring->nr_places; i++) {
		const char *name = opts->like.members[i];

		memcpy(bring->places[i].name, name, strnlen(name, XBDEV_NAME_SIZE - 1));
	}
	/* Nothing of the caller's is kept. */
	bring->opts.like.name = NULL;
	bring->opts.like.members = NULL;
	bring->opts.like.set_name = NULL;
	if (opts->like.spare_group != NULL) {
		snprintf(bring->group, sizeof(bring->group), "%s", opts->like.spare_group);
	}
	bring->opts.like.spare_group = NULL;
	look_at_next(bring);
}
