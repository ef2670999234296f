/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver "raid": what an entry of a configuration says of an array, checked and handed to
 * bring.c; and its list of members, changed while it runs by commands one after the other. An array
 * that runs already with the entry's name and UUID is the entry's: so one that was made by a call
 * is remembered in the way in which it will be started again.
 */
#include "lib/xbdev/raid/driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/geometry.h"

#define NAMES_MAX (2 * XBDEV_MD_MAX_DISKS)

struct raid_opts {
	const char *name;
	struct xu_uuid uuid;
	uint32_t level; /* index of level_names */
	json_t *members;
	uint32_t raid_disks;
	uint64_t chunk_size;
	const char *layout;
	uint64_t bitmap_chunk;
	uint32_t policy; /* index of policy_names */
	bool assume_clean;
	uint32_t stripe_cache_size;
	uint32_t write_behind;
	json_t *write_mostly;
	const char *spare_group;
	uint32_t priority;
	bool create;
};

static const char *const level_names[] = {
	"auto", "linear", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10", NULL};

static const char *const policy_names[] = {
	[XBDEV_MD_POLICY_RESYNC] = "resync",
	[XBDEV_MD_POLICY_PPL] = "ppl",
	[XBDEV_MD_POLICY_JOURNAL] = "journal",
	[XBDEV_MD_POLICY_JOURNAL + 1] = NULL,
};

static const struct {
	int32_t level;
	uint32_t nr_members_min;
} levels[] = {{XBDEV_MD_LEVEL_ANY, 1}, {-1, 1}, {0, 1}, {1, 1}, {4, 2}, {5, 2}, {6, 4}, {10, 2}};

static const struct raid_opts raid_defaults = {
	.create = true, .priority = XBDEV_REBUILD_PRIORITY_DEFAULT};

static const struct xu_param raid_params[] = {
	{"name", XU_PARAM_STRING, offsetof(struct raid_opts, name), .is_required = true,
		.help = "name of the array"},
	{"uuid", XU_PARAM_UUID, offsetof(struct raid_opts, uuid),
		.help = "identity on the members (default: that of the members, or a new one)"},
	{"level", XU_PARAM_ENUM, offsetof(struct raid_opts, level), .choices = level_names,
		.help = "auto, linear, raid0, raid1, raid4, raid5, raid6 or raid10 (default auto: "
			"what the members say)"},
	{"members", XU_PARAM_JSON, offsetof(struct raid_opts, members), .is_required = true,
		.help = "list of the names or UUIDs of its members, by role, and spares; missing: "
			"of "
			"a member that there is not yet"},
	{"raid_disks", XU_PARAM_U32, offsetof(struct raid_opts, raid_disks), .min = 1,
		.max = XBDEV_MD_MAX_DISKS,
		.help = "members when it is made: the first of the list, others are spares "
			"(default: all)"},
	{"chunk_size", XU_PARAM_SIZE, offsetof(struct raid_opts, chunk_size), .min = 4096,
		.max = 64u << 20,
		.help = "bytes of a chunk, a power of two (default: what the members say, or "
			"512 KiB)"},
	{"layout", XU_PARAM_STRING, offsetof(struct raid_opts, layout),
		.help = "mdadm's name of it, such as left-symmetric or far=2 (default: what the "
			"members say, or the level's)"},
	{"bitmap_chunk", XU_PARAM_SIZE, offsetof(struct raid_opts, bitmap_chunk), .min = 4096,
		.max = 1u << 30,
		.help = "when it is made: bytes of a bit of the write-intent bitmap, a power of "
			"two (default: no bitmap)"},
	{"consistency_policy", XU_PARAM_ENUM, offsetof(struct raid_opts, policy),
		.choices = policy_names,
		.help = "when it is made: resync, ppl (raid5) or journal (raid4, raid6) (default "
			"resync)"},
	{"assume_clean", XU_PARAM_BOOL, offsetof(struct raid_opts, assume_clean),
		.help = "when it is made: the members agree already, no resync (default false)"},
	{"stripe_cache_size", XU_PARAM_U32, offsetof(struct raid_opts, stripe_cache_size),
		.min = 16, .max = 32768,
		.help = "stripes of raid4, raid5, raid6 worked on at a time (default 256)"},
	{"write_behind", XU_PARAM_U32, offsetof(struct raid_opts, write_behind),
		.max = XBDEV_MD_MAX_BEHIND,
		.help = "when it is made, raid1 with a bitmap: so many writes may be acknowledged "
			"before write-mostly members have them (default 0)"},
	{"write_mostly", XU_PARAM_JSON, offsetof(struct raid_opts, write_mostly),
		.help = "when it is made, raid1: list of those of its members that are read only "
			"when no other can be"},
	{"spare_group", XU_PARAM_STRING, offsetof(struct raid_opts, spare_group),
		.help = "arrays of the same group share their spares (default: none)"},
	{"priority", XU_PARAM_U32, offsetof(struct raid_opts, priority),
		.max = XBDEV_REBUILD_PRIORITIES - 1,
		.help = "of its rebuilds where not all may run at a time, the higher the sooner "
			"(default 4)"},
	{"create", XU_PARAM_BOOL, offsetof(struct raid_opts, create),
		.help = "whether it may be made on blank members; a node that has made it notes "
			"false (default true)"},
	{0},
};

/* ---- checking ---- */

static int check_members(
	const struct raid_opts *opts, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	size_t nr = json_array_size(opts->members), nr_missing = 0, i;
	uint32_t raid_disks = opts->raid_disks != 0 ? opts->raid_disks : (uint32_t)nr;
	json_t *member;

	snprintf(path, XU_PARAM_PATH_SIZE, "members");
	if (!json_is_array(opts->members) || nr < 1 || nr > NAMES_MAX) {
		return xu_error_set(err, -EINVAL,
			"members: a list [ … ] of 1 to %u names or UUIDs of devices is needed here",
			NAMES_MAX);
	}
	json_array_foreach (opts->members, i, member) {
		if (!json_is_string(member) || json_string_length(member) == 0) {
			snprintf(path, XU_PARAM_PATH_SIZE, "members[%zu]", i);
			return xu_error_set(err, -EINVAL,
				"members[%zu]: the name or UUID of a device is needed here", i);
		}
		if (strcmp(json_string_value(member), XBDEV_MD_MISSING) == 0 &&
			(i >= raid_disks || ++nr_missing == nr)) {
			snprintf(path, XU_PARAM_PATH_SIZE, "members[%zu]", i);
			return xu_error_set(err, -EINVAL,
				"members[%zu]: a spare cannot be missing, nor can all members", i);
		}
	}
	if (raid_disks < levels[opts->level].nr_members_min || raid_disks > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL, "members: there are %u; %s takes %u to %u",
			raid_disks, level_names[opts->level], levels[opts->level].nr_members_min,
			XBDEV_MD_MAX_DISKS);
	}
	return 0;
}

static int check_power(
	const char *key, uint64_t value, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	if ((value & (value - 1)) == 0) {
		return 0;
	}
	snprintf(path, XU_PARAM_PATH_SIZE, "%s", key);
	return xu_error_set(err, -EINVAL, "%s: %llu is not accepted; it takes a power of two", key,
		(unsigned long long)value);
}

static int check_layout(
	const struct raid_opts *opts, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	uint32_t layout;

	if (opts->layout == NULL) {
		return 0;
	}
	snprintf(path, XU_PARAM_PATH_SIZE, "layout");
	if (levels[opts->level].level == XBDEV_MD_LEVEL_ANY) {
		return xu_error_set(err, -EINVAL, "layout: it goes with a level");
	}
	if (xbdev__md_layout_parse(levels[opts->level].level, opts->layout, &layout, err) != 0) {
		err->code = -EINVAL;
		return xu_error_prefix(err, "layout");
	}
	return 0;
}

/* The members that are named; `bits` is one for each of the list. */
static int find_mostly(const struct raid_opts *opts, uint64_t *ret_bits, struct xu_error *err)
{
	const char *names[NAMES_MAX], *mostly[NAMES_MAX];
	uint32_t nr = 0, nr_mostly = 0;
	json_t *value;
	size_t i;

	if (opts->write_mostly != NULL &&
		(!json_is_array(opts->write_mostly) ||
			json_array_size(opts->write_mostly) > NAMES_MAX)) {
		return xu_error_set(err, -EINVAL,
			"write_mostly: a list [ … ] of up to %u members is needed here", NAMES_MAX);
	}
	json_array_foreach (opts->members, i, value) {
		names[nr++] = json_string_value(value);
	}
	json_array_foreach (opts->write_mostly, i, value) {
		if (!json_is_string(value)) {
			return xu_error_set(err, -EINVAL,
				"write_mostly[%zu]: the name of a member is needed here", i);
		}
		mostly[nr_mostly++] = json_string_value(value);
	}
	return xbdev__md_find_mostly(opts->name, names, nr, mostly, nr_mostly, ret_bits, err);
}

static int check_behind(const struct raid_opts *opts, int32_t level, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err)
{
	bool is_mirror = level == 1 || level == XBDEV_MD_LEVEL_ANY;
	uint64_t bits;

	snprintf(path, XU_PARAM_PATH_SIZE, "write_behind");
	if (opts->write_behind != 0 && (!is_mirror || (opts->bitmap_chunk == 0 && opts->create))) {
		return xu_error_set(err, -EINVAL,
			"write_behind: it is of a raid1 with a write-intent bitmap (bitmap_chunk)");
	}
	snprintf(path, XU_PARAM_PATH_SIZE, "write_mostly");
	if (json_array_size(opts->write_mostly) != 0 && !is_mirror) {
		return xu_error_set(err, -EINVAL, "write_mostly: members of a raid1 can be that");
	}
	return find_mostly(opts, &bits, err);
}

static int raid_check(const void *opts_ptr, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	const struct raid_opts *opts = opts_ptr;
	int32_t level = levels[opts->level].level;
	int rc = check_members(opts, path, err);

	if (rc == 0) {
		rc = check_power("chunk_size", opts->chunk_size, path, err);
	}
	if (rc == 0) {
		rc = check_power("bitmap_chunk", opts->bitmap_chunk, path, err);
	}
	if (rc == 0) {
		rc = check_layout(opts, path, err);
	}
	if (rc == 0) {
		rc = check_behind(opts, level, path, err);
	}
	if (rc == 0 && opts->spare_group != NULL &&
		strlen(opts->spare_group) >= XBDEV_MD_GROUP_BYTES) {
		snprintf(path, XU_PARAM_PATH_SIZE, "spare_group");
		rc = xu_error_set(err, -EINVAL, "spare_group: it has up to %u bytes",
			XBDEV_MD_GROUP_BYTES - 1);
	}
	if (rc == 0 && opts->stripe_cache_size != 0 && level != XBDEV_MD_LEVEL_ANY &&
		(level < 4 || level > 6)) {
		snprintf(path, XU_PARAM_PATH_SIZE, "stripe_cache_size");
		rc = xu_error_set(err, -EINVAL,
			"stripe_cache_size: %s has none; raid4, raid5 and raid6 have",
			level_names[opts->level]);
	}
	return rc;
}

/* ---- making ---- */

static void bring(struct xbdev_ctx *ctx, const struct raid_opts *opts,
	enum xbdev_md_bring_mode mode, xbdev_md_brought_fn done, void *arg)
{
	const char *names[NAMES_MAX];
	struct xbdev_md_bring_opts to = {
		.like =
			{
				.name = opts->name,
				.level = levels[opts->level].level,
				.layout = XBDEV_MD_LAYOUT_DEFAULT,
				.chunk_bytes = opts->chunk_size,
				.members = names,
				.bitmap_chunk_bytes = (uint32_t)opts->bitmap_chunk,
				.policy = (enum xbdev_md_policy)opts->policy,
				.assume_clean = opts->assume_clean,
				.uuid = opts->uuid,
				.nr_stripes = opts->stripe_cache_size,
				.write_behind = opts->write_behind,
				.spare_group = opts->spare_group,
				.priority = opts->priority + 1,
			},
		.raid_disks = opts->raid_disks,
		.mode = mode,
		.is_old = !opts->create,
	};
	json_t *member;
	size_t i;

	json_array_foreach (opts->members, i, member) {
		names[to.like.nr_members++] = json_string_value(member);
	}
	find_mostly(opts, &to.like.write_mostly, NULL);
	if (opts->layout != NULL) {
		xbdev__md_layout_parse(to.like.level, opts->layout, &to.like.layout, NULL);
	}
	xbdev__md_bring(ctx, &to, done, arg);
}

struct creation {
	xbdev_created_fn done;
	void *arg;
};

static void on_brought(void *arg, struct xbdev_device *dev, bool is_new, const struct xu_error *err)
{
	struct creation creation = *(struct creation *)arg;
	const struct xu_error fine = {0};

	free(arg);
	creation.done(creation.arg, dev, err != NULL ? err : &fine);
}

static void raid_create(
	struct xbdev_ctx *ctx, const void *opts_ptr, xbdev_created_fn done, void *arg)
{
	const struct raid_opts *opts = opts_ptr;
	struct xbdev_device *dev = xbdev_device_find(ctx, opts->name);
	struct creation *creation;
	struct xu_error err = {0};

	if (dev != NULL && xbdev__md_is_array(dev) && xu_uuid_is_equal(&dev->uuid, &opts->uuid)) {
		done(arg, dev, &err);
		return;
	}
	if (dev != NULL) {
		xu_error_set(&err, -EEXIST,
			"there is a device named '%s' already; choose another name", opts->name);
		done(arg, NULL, &err);
		return;
	}
	creation = malloc(sizeof(*creation));
	if (creation == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "array '%s'", opts->name);
		done(arg, NULL, &err);
		return;
	}
	*creation = (struct creation){done, arg};
	bring(ctx, opts, XBDEV_MD_BRING, on_brought, creation);
}

void xbdev__md_bring_entry(struct xbdev_ctx *ctx, const json_t *entry,
	enum xbdev_md_bring_mode mode, xbdev_md_brought_fn done, void *arg)
{
	json_t *params = json_copy((json_t *)entry);
	struct raid_opts opts = raid_defaults;
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err = {0};
	int rc = 0;

	/* A copy may lack members when there is no memory. */
	if (!json_equal(params, entry)) {
		rc = xu_error_set_errno(&err, -ENOMEM, "making an array");
	} else {
		json_object_del(params, "driver");
		rc = xu_params_parse(raid_params, &opts, params, path, &err);
	}
	if (rc == 0) {
		bring(ctx, &opts, mode, done, arg);
	} else {
		done(arg, NULL, false, &err);
	}
	json_decref(params);
}

const struct xbdev_driver xbdev__driver_raid = {
	.name = "raid",
	.alias = "md",
	.help = "An array of other devices, on disk as Linux MD's.",
	.params = raid_params,
	.opts_bytes = sizeof(struct raid_opts),
	.defaults = &raid_defaults,
	.is_on_media = true,
	.check = raid_check,
	.create = raid_create,
};

/* ---- changing ---- */

bool xbdev__md_has_member(const struct xbdev_device *array, const struct xbdev_device *base)
{
	return base->claim != NULL &&
	       xbdev__md_is_member_desc(base->claim, xbdev__md_array_of(array));
}

struct step {
	enum xbdev_md_command_kind kind;
	char name[XBDEV_NAME_SIZE];
	uint32_t priority;
};

/* Commands, one after the other: new members, old ones, then the rest. */
struct change {
	struct xbdev_ctx *ctx;
	char name[XBDEV_NAME_SIZE];
	uint32_t next, nr, size;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;
	struct step steps[];
};

static void end_change(struct change *change, const struct xu_error *err)
{
	const struct xu_error fine = {0};

	change->done(change->arg, err != NULL ? err : &fine);
	free(change);
}

static void do_next(struct change *change);

static void on_done(void *arg, const struct xu_error *err)
{
	struct change *change = arg;

	if (err != NULL && err->code != 0) {
		end_change(change, err);
	} else {
		do_next(change);
	}
}

static void do_next(struct change *change)
{
	struct xbdev_device *dev = xbdev_device_find(change->ctx, change->name);
	const struct step *step = &change->steps[change->next];
	struct xbdev_md_command command;
	struct xu_error err = {0};

	if (change->next == change->nr) {
		end_change(change, NULL);
		return;
	}
	if (dev == NULL || !xbdev__md_is_array(dev)) {
		xu_error_set(&err, -ENODEV, "array '%s' has been stopped meanwhile", change->name);
		end_change(change, &err);
		return;
	}
	command = (struct xbdev_md_command){
		.kind = step->kind, .device = step->name, .priority = step->priority};
	change->next++;
	xbdev__md_manage(dev, &command, on_done, change);
}

static bool is_in_list(const json_t *list, const struct xbdev_device *base)
{
	json_t *value;
	size_t i;

	json_array_foreach ((json_t *)list, i, value) {
		if (xbdev_device_find(base->ctx, json_string_value(value)) == base) {
			return true;
		}
	}
	return false;
}

static void add_step(struct change *change, enum xbdev_md_command_kind kind, const char *name)
{
	if (change->nr < change->size) {
		struct step *step = &change->steps[change->nr++];

		step->kind = kind;
		snprintf(step->name, sizeof(step->name), "%s", name);
	}
}

static void plan_members(struct change *change, const struct xbdev_device *dev, const json_t *list)
{
	struct xbdev_device *base;
	json_t *member;
	size_t i;

	json_array_foreach ((json_t *)list, i, member) {
		base = xbdev_device_find(dev->ctx, json_string_value(member));
		if (base != NULL && !xbdev__md_has_member(dev, base)) {
			add_step(change, XBDEV_MD_COMMAND_ADD, base->name);
		}
	}
	base = NULL;
	while ((base = xbdev_device_next(dev->ctx, base)) != NULL) {
		if (xbdev__md_has_member(dev, base) && !is_in_list(list, base)) {
			add_step(change, XBDEV_MD_COMMAND_REMOVE, base->name);
		}
	}
}

/* Of the members that it is to have. */
static void plan_mostly(struct change *change, const struct xbdev_device *dev, const json_t *list,
	const json_t *mostly)
{
	struct xbdev_device *base = NULL;

	while ((base = xbdev_device_next(dev->ctx, base)) != NULL) {
		const struct xbdev_md_member *member =
			xbdev__md_member_at(base, xbdev__md_array_of(dev));
		bool is_wanted = is_in_list(mostly, base);
		bool is_mostly = member != NULL &&
				 (atomic_load(&member->shown) & XBDEV_MD_SHOWN_MOSTLY) != 0;

		if (is_in_list(list, base) && is_wanted != is_mostly) {
			add_step(change,
				is_wanted ? XBDEV_MD_COMMAND_MOSTLY : XBDEV_MD_COMMAND_NOT_MOSTLY,
				base->name);
		}
	}
}

void xbdev__md_set_entry(struct xbdev_device *dev, const json_t *entry,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	const struct xbdev_md_array *array = xbdev__md_array_of(dev);
	const json_t *members = json_object_get(entry, "members");
	const json_t *mostly = json_object_get(entry, "write_mostly");
	const json_t *priority = json_object_get(entry, "priority");
	const char *group = json_string_value(json_object_get(entry, "spare_group"));
	size_t size = 2 * (json_array_size(members) + XBDEV_MD_MAX_DISKS_INFO) + 2;
	struct change *change = calloc(1, sizeof(*change) + size * sizeof(change->steps[0]));
	struct xu_error err = {0};

	if (change == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "changing array '%s'", dev->name);
		done(arg, &err);
		return;
	}
	change->ctx = dev->ctx;
	memcpy(change->name, dev->name, sizeof(change->name));
	change->done = done;
	change->arg = arg;
	change->size = (uint32_t)size;
	plan_members(change, dev, members);
	if (mostly != NULL && array->geo.level == 1) {
		plan_mostly(change, dev, members, mostly);
	}
	if (array->level->has_redundancy) {
		add_step(change, XBDEV_MD_COMMAND_SPARE_GROUP, group != NULL ? group : "");
		add_step(change, XBDEV_MD_COMMAND_PRIORITY, "");
		change->steps[change->nr - 1].priority =
			json_is_integer(priority) ? (uint32_t)json_integer_value(priority)
						  : XBDEV_REBUILD_PRIORITY_DEFAULT;
	}
	do_next(change);
}
