/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creation: superblocks as mdadm writes them onto members that belong to nobody. Every member is
 * looked at before the first is written; one that carries a superblock is refused unless it is
 * forced. Bad block logs (empty) and superblocks are written durably before the array starts; power
 * that goes meanwhile leaves some members with a superblock, which assembly then misses the others
 * of, and no array that anybody has been told of.
 *
 * Unless the caller says that the members agree, the array begins as one that must be resynced.
 */
#include <errno.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/xbdev/raid/build.h"
#include "lib/xbdev/raid/space.h"

#define CHUNK_DEFAULT (512u << 10)
#define MAX_DEV       128u

static int check_free(struct xbdev_md_build *build)
{
	for (uint32_t i = 0; i < build->array->nr_members && !build->force; i++) {
		const struct xbdev_md_member *member = build->array->members[i];
		char text[36];

		if (member != NULL && build->is_found[i]) {
			xbdev__md_uuid_format(&member->super.set_uuid, text);
			return xu_error_set(&build->err, -EEXIST,
				"array '%s': '%s' belongs to array '%s' (%s) already; assemble "
				"that, or force the creation to overwrite it",
				build->array->dev.name, member->name, member->super.set_name, text);
		}
	}
	return 0;
}

/* Members that are missing are thought to be as large as the smallest. */
static void collect_sizes(const struct xbdev_md_array *array, uint64_t *sizes)
{
	uint64_t smallest = UINT64_MAX;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL && array->members[i]->dev_sectors < smallest) {
			smallest = array->members[i]->dev_sectors;
		}
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		sizes[i] = array->members[i] != NULL ? array->members[i]->dev_sectors : smallest;
	}
}

/* A parity array that misses as many members as it can has nothing to be made consistent with. */
static bool needs_resync(const struct xbdev_md_build *build, uint32_t nr_missing)
{
	switch (build->level) {
	case 1:
	case 10:
		return !build->assume_clean;
	case 4:
	case 5:
		return !build->assume_clean && nr_missing == 0;
	case 6:
		return !build->assume_clean && nr_missing < 2;
	default:
		return false;
	}
}

static void set_common(struct xbdev_md_build *build, const struct xbdev_md_space *space)
{
	struct xbdev_md_array *array = build->array;
	struct xbdev_md_super *super = &array->super;
	const struct xu_clock *clock = xr_reactor_platform(array->reactor)->clock;
	uint32_t nr_missing = 0;

	for (uint32_t i = 0; i < build->raid_disks; i++) {
		nr_missing += array->members[i] == NULL;
	}
	super->feature_map = build->level == 0 ? XBDEV_MD_F_RAID0_LAYOUT : 0;
	super->set_uuid = build->uuid;
	super->ctime = clock->wall_ns(clock) / XU_NS_PER_S;
	super->utime = super->ctime;
	super->level = build->level;
	super->layout = build->layout;
	super->size = space->size;
	super->chunksize = build->level == 1 ? 0 : build->chunk;
	super->raid_disks = build->raid_disks;
	super->data_offset = space->data_offset;
	super->bblog_offset = space->bblog_offset;
	super->bblog_size = space->bblog_size;
	super->max_dev = MAX_DEV;
	super->resync_offset = needs_resync(build, nr_missing) ? 0 : XBDEV_MD_CLEAN;
	array->in_sync_below = needs_resync(build, nr_missing) ? 0 : XBDEV_MD_NEVER;
	for (uint32_t i = 0; i < MAX_DEV; i++) {
		super->dev_roles[i] = i < build->raid_disks && array->members[i] != NULL
					      ? (uint16_t)i
					      : XBDEV_MD_ROLE_SPARE;
	}
}

static void fill_member(struct xbdev_md_build *build, struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = build->array;

	member->super = array->super;
	member->super.dev_number = member->slot;
	member->super.data_size = member->dev_sectors - array->super.data_offset;
	member->super.device_uuid = xu_uuid_random(xr_reactor_random(array->reactor));
	member->recovery_offset = XBDEV_MD_NEVER;
	if (member->slot < build->raid_disks) {
		member->role = member->slot;
		member->state = XBDEV_MD_MEMBER_IN_SYNC;
		array->roles[member->role] = member;
	}
}

static void on_written(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	struct xbdev_md_shape shape = {
		.level = build->level,
		.layout = build->layout,
		.has_raid0_layout = true,
		.raid_disks = build->raid_disks,
		.chunk = array->super.chunksize,
		.size = array->super.size,
	};

	for (uint32_t i = 0; i < build->raid_disks; i++) {
		if (array->members[i] != NULL) {
			shape.data_sizes[i] = array->members[i]->super.data_size;
		}
	}
	xbdev__md_build_finish(build, &shape);
}

static void on_logs_written(struct xbdev_md_build *build)
{
	for (uint32_t i = 0; i < build->array->nr_members; i++) {
		struct xbdev_md_member *member = build->array->members[i];

		if (member != NULL) {
			xbdev__md_super_format(&member->super, member->meta_buf);
			xbdev__md_build_write(build, member, XBDEV_MD_SUPER_OFFSET,
				member->meta_buf, XBDEV_MD_SUPER_BYTES);
		}
	}
	xbdev__md_build_wait(build, on_written);
}

static void judge(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	const struct xbdev_md_space_opts opts = {
		.level = build->level, .chunk = build->level == 1 ? 0 : build->chunk};
	uint64_t sizes[XBDEV_MD_MAX_MEMBERS];
	struct xbdev_md_space space;
	int rc = check_free(build);

	if (rc == 0) {
		collect_sizes(array, sizes);
		rc = xbdev__md_space_plan(&opts, sizes, array->nr_members, build->raid_disks,
			build->layout, &space, &build->err);
	}
	if (rc != 0) {
		xbdev__md_build_fail(build);
		return;
	}
	set_common(build, &space);
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];
		void *log;

		if (member == NULL) {
			continue;
		}
		fill_member(build, member);
		log = (char *)member->meta_buf + XBDEV_MD_SUPER_BYTES;
		memset(log, 0xff, XBDEV_MD_BAD_BLOCKS_BYTES);
		if (member->super.bblog_offset != 0) {
			xbdev__md_build_write(build, member,
				(uint64_t)((int64_t)XBDEV_MD_SUPER_OFFSET +
					   member->super.bblog_offset),
				log, XBDEV_MD_BAD_BLOCKS_BYTES);
		}
	}
	xbdev__md_build_wait(build, on_logs_written);
}

static int check_opts(const struct xbdev_md_create_opts *opts, struct xu_error *err)
{
	uint64_t chunk_bytes = opts->chunk_bytes;

	if (opts->nr_members < 1 || opts->nr_members > XBDEV_MD_MAX_DISKS ||
		opts->nr_spares > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL,
			"array '%s': %u members and %u spares; 1 to %u members and at most %u "
			"spares are possible",
			opts->name, opts->nr_members, opts->nr_spares, XBDEV_MD_MAX_DISKS,
			XBDEV_MD_MAX_DISKS);
	}
	if (chunk_bytes != 0 && (chunk_bytes < 4096 || chunk_bytes > (64u << 20) ||
					(chunk_bytes & (chunk_bytes - 1)) != 0)) {
		return xu_error_set(err, -EINVAL,
			"array '%s': a chunk of %llu bytes; a power of two from 4096 to 64 MiB "
			"is possible",
			opts->name, (unsigned long long)chunk_bytes);
	}
	return 0;
}

void xbdev_md_create(struct xbdev_ctx *ctx, const struct xbdev_md_create_opts *opts,
	xbdev_created_fn done, void *arg)
{
	struct xbdev_md_build *build;
	struct xu_error err = {0};

	if (check_opts(opts, &err) != 0) {
		done(arg, NULL, &err);
		return;
	}
	build = xbdev__md_build_new(ctx, opts->name, done, arg);
	if (build == NULL) {
		return;
	}
	build->judge = judge;
	build->level = opts->level;
	build->layout = opts->layout == XBDEV_MD_LAYOUT_DEFAULT
				? xbdev__md_layout_default(opts->level)
				: opts->layout;
	build->chunk = (uint32_t)((opts->chunk_bytes != 0 ? opts->chunk_bytes : CHUNK_DEFAULT) /
				  XBDEV_MD_SECTOR);
	build->raid_disks = opts->nr_members;
	build->assume_clean = opts->assume_clean;
	build->force = opts->force;
	build->uuid = xu_uuid_is_null(&opts->uuid)
			      ? xu_uuid_random(xr_reactor_random(xbdev_ctx_control(ctx)))
			      : opts->uuid;
	strncpy(build->array->super.set_name, opts->set_name != NULL ? opts->set_name : opts->name,
		XBDEV_MD_NAME_BYTES - 1);
	xbdev__md_build_start(build, opts->members, opts->nr_members + opts->nr_spares);
}
