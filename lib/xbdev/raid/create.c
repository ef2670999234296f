/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creation: superblocks as mdadm writes them onto members that belong to nobody. Every member is
 * looked at before the first is written; one that carries a superblock is refused unless it is
 * forced. Bad block logs (empty) and superblocks are written durably before the array starts; power
 * that goes meanwhile leaves some members with a superblock, which assembly then misses the others
 * of, and no array that anybody has been told of.
 *
 * Unless the caller says that the members agree, the array begins as one that must be resynced;
 * with a PPL, as one whose last member is recovered from the others.
 */
#include <errno.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/util/crc32c.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/build.h"
#include "lib/xbdev/raid/journal_format.h"
#include "lib/xbdev/raid/log.h"
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
		return !build->assume_clean && nr_missing == 0 &&
		       build->policy != XBDEV_MD_POLICY_PPL;
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
	super->feature_map = build->level == 0           ? XBDEV_MD_F_RAID0_LAYOUT
			     : space->bitmap_offset != 0 ? XBDEV_MD_F_BITMAP
			     : space->ppl_offset != 0    ? XBDEV_MD_F_PPL
							 : 0;
	super->bitmap_offset = space->bitmap_offset;
	super->ppl_offset = space->ppl_offset;
	super->ppl_size = space->ppl_size;
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

/* With a PPL the last member begins as one that is recovered, as mdadm makes it, and not with a
 * resync: the log tells what a crash interrupts, but nothing of parity that never agreed. */
static bool is_last_recovered(const struct xbdev_md_build *build)
{
	for (uint32_t i = 0; i < build->raid_disks; i++) {
		if (build->array->members[i] == NULL) {
			return false;
		}
	}
	return build->policy == XBDEV_MD_POLICY_PPL && !build->assume_clean;
}

static void fill_member(struct xbdev_md_build *build, struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = build->array;

	member->super = array->super;
	member->super.dev_number = member->slot;
	member->super.data_size = member->dev_sectors - array->super.data_offset;
	member->super.device_uuid = xu_uuid_random(xr_reactor_random(array->reactor));
	member->recovery_offset = XBDEV_MD_NEVER;
	if ((build->write_mostly >> member->slot & 1) != 0) {
		member->super.devflags |= XBDEV_MD_DEV_WRITE_MOSTLY;
	}
	if (member->slot < build->raid_disks) {
		member->role = member->slot;
		member->state = XBDEV_MD_MEMBER_IN_SYNC;
		array->roles[member->role] = member;
	}
	if (member->slot + 1 == build->raid_disks && is_last_recovered(build)) {
		member->state = XBDEV_MD_MEMBER_RECOVERING;
		member->recovery_offset = member->recovery_saved = 0;
		member->super.feature_map |= XBDEV_MD_F_RECOVERY_OFFSET;
	}
}

static struct xbdev_md_shape shape_of(const struct xbdev_md_build *build)
{
	const struct xbdev_md_array *array = build->array;
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
	return shape;
}

/* Whether the array could run, before anything is written. */
static int check_shape(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	const struct xbdev_md_shape shape = shape_of(build);
	uint32_t roles = 0;
	int rc = xbdev__md_geometry_init(&array->geo, &shape, &build->err);

	if (rc != 0) {
		return xu_error_prefix(&build->err, "array '%s'", array->dev.name);
	}
	for (uint32_t i = 0; i < build->raid_disks; i++) {
		roles |= array->members[i] != NULL ? 1u << i : 0;
	}
	if (!xbdev__md_is_enough(&array->geo, roles)) {
		return xu_error_set(&build->err, -EINVAL,
			"array '%s': %d of %u members are there, which is not enough to hold its "
			"data",
			array->dev.name, __builtin_popcount(roles), build->raid_disks);
	}
	return 0;
}

static void on_written(struct xbdev_md_build *build)
{
	const struct xbdev_md_shape shape = shape_of(build);

	xbdev__md_build_finish(build, &shape);
}

static void on_logs_written(struct xbdev_md_build *build)
{
	for (uint32_t i = 0; i < build->array->nr_members; i++) {
		struct xbdev_md_member *member = build->array->members[i];

		if (member != NULL) {
			xbdev__md_super_format(&member->super, member->meta_buf);
			member->super_crc = xu_crc32c(member->meta_buf, XBDEV_MD_SUPER_BYTES);
			xbdev__md_build_write(build, member, XBDEV_MD_SUPER_OFFSET,
				member->meta_buf, XBDEV_MD_SUPER_BYTES);
		}
	}
	xbdev__md_build_wait(build, on_written);
}

static int make_bitmap(struct xbdev_md_build *build, const struct xbdev_md_space *space)
{
	const struct xbdev_md_geometry *geo = &build->array->geo;

	build->bits_bytes = (size_t)space->bitmap_sectors * XBDEV_MD_SECTOR;
	build->bits = xu_buf_alloc(build->bits_bytes);
	if (build->bits == NULL) {
		return xu_error_set_errno(
			&build->err, -ENOMEM, "array '%s'", build->array->dev.name);
	}
	xbdev__md_bitmap_make(build->bits, build->bits_bytes, &build->array->super,
		build->level == 10 ? geo->array_size : space->size, space->bitmap_chunk_bytes,
		build->write_behind);
	return 0;
}

static void judge(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	const bool has_journal = build->policy == XBDEV_MD_POLICY_JOURNAL;
	const struct xbdev_md_space_opts opts = {.level = build->level,
		.chunk = build->level == 1 ? 0 : build->chunk,
		.bitmap_chunk_bytes = build->bitmap_chunk_bytes,
		.has_ppl = build->policy == XBDEV_MD_POLICY_PPL,
		.journal_sectors = has_journal
					   ? xbdev__md_journal_sectors(build->raid_disks,
						     xbdev__md_journal_slot_sectors(build->chunk))
					   : 0};
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
	build->is_new = true;
	array->has_journal = has_journal;
	set_common(build, &space);
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL) {
			fill_member(build, array->members[i]);
		}
	}
	if (check_shape(build) != 0 ||
		(space.bitmap_offset != 0 && make_bitmap(build, &space) != 0)) {
		xbdev__md_build_fail(build);
		return;
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];
		void *log;

		if (member == NULL) {
			continue;
		}
		if (build->bits != NULL) {
			xbdev__md_build_write(build, member,
				xbdev__md_super_place(space.bitmap_offset), build->bits,
				build->bits_bytes);
		}
		log = (char *)member->meta_buf + XBDEV_MD_SUPER_BYTES;
		memset(log, 0xff, XBDEV_MD_BAD_BLOCKS_BYTES);
		if (member->super.bblog_offset != 0) {
			xbdev__md_build_write(build, member,
				xbdev__md_super_place(member->super.bblog_offset), log,
				XBDEV_MD_BAD_BLOCKS_BYTES);
		}
	}
	xbdev__md_build_wait(build, on_logs_written);
}

static int check_opts(const struct xbdev_md_create_opts *opts, struct xu_error *err)
{
	uint64_t chunk_bytes = opts->chunk_bytes;
	uint32_t nr_missing = 0;

	if (opts->nr_members < 1 || opts->nr_members > XBDEV_MD_MAX_DISKS ||
		opts->nr_spares > XBDEV_MD_MAX_DISKS) {
		return xu_error_set(err, -EINVAL,
			"array '%s': %u members and %u spares; 1 to %u members and at most %u "
			"spares are possible",
			opts->name, opts->nr_members, opts->nr_spares, XBDEV_MD_MAX_DISKS,
			XBDEV_MD_MAX_DISKS);
	}
	for (uint32_t i = 0; i < opts->nr_members; i++) {
		nr_missing += strcmp(opts->members[i], XBDEV_MD_MISSING) == 0;
	}
	if (opts->policy == XBDEV_MD_POLICY_JOURNAL && opts->level != 4 && opts->level != 6) {
		return xu_error_set(err, -EINVAL,
			"array '%s': a journal is for raid4 and raid6; a raid5 has a partial "
			"parity log instead, and other levels need none",
			opts->name);
	}
	if ((opts->write_behind != 0 || opts->write_mostly != 0) && opts->level != 1) {
		return xu_error_set(err, -EINVAL,
			"array '%s': write-mostly members, and writes behind, are raid1's",
			opts->name);
	}
	if (opts->write_behind > XBDEV_MD_MAX_BEHIND ||
		(opts->write_behind != 0 && opts->bitmap_chunk_bytes == 0)) {
		return xu_error_set(err, -EINVAL,
			opts->write_behind > XBDEV_MD_MAX_BEHIND
				? "array '%s': %u writes behind; at most %u are possible"
				: "array '%s': %u writes behind need a write-intent bitmap, which "
				  "says after a crash what is missing; up to %u are possible then",
			opts->name, opts->write_behind, XBDEV_MD_MAX_BEHIND);
	}
	if (nr_missing == opts->nr_members) {
		return xu_error_set(
			err, -EINVAL, "array '%s': all of its members are missing", opts->name);
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

int xbdev__md_find_mostly(const char *array, const char *const *members, uint32_t nr_members,
	const char *const *mostly, uint32_t nr_mostly, uint64_t *ret_bits, struct xu_error *err)
{
	*ret_bits = 0;
	for (uint32_t i = 0; i < nr_mostly; i++) {
		uint32_t n = 0;

		while (n < nr_members && strcmp(members[n], mostly[i]) != 0) {
			n++;
		}
		if (n == nr_members) {
			return xu_error_set(err, -EINVAL,
				"array '%s': '%s' is to be write-mostly and is none of its members "
				"and spares",
				array, mostly[i]);
		}
		*ret_bits |= 1ull << n;
	}
	return 0;
}

/* A UUID names one device; afterwards the members would have been written. */
static int check_uuid(
	struct xbdev_ctx *ctx, const struct xbdev_md_create_opts *opts, struct xu_error *err)
{
	char text[XU_UUID_TEXT_SIZE];

	xu_uuid_format(&opts->uuid, text);
	if (xu_uuid_is_null(&opts->uuid) || xbdev_device_find(ctx, text) == NULL) {
		return 0;
	}
	return xu_error_set(err, -EEXIST, "array '%s': device '%s' has the UUID %s already",
		opts->name, xbdev_device_find(ctx, text)->name, text);
}

void xbdev__md_create(struct xbdev_ctx *ctx, const struct xbdev_md_create_opts *opts,
	xbdev_created_fn done, void *arg)
{
	struct xbdev_md_build *build;
	struct xu_error err = {0};

	if (check_opts(opts, &err) != 0 || check_uuid(ctx, opts, &err) != 0) {
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
	build->bitmap_chunk_bytes = opts->bitmap_chunk_bytes;
	build->policy = opts->policy;
	build->force = opts->force;
	build->write_behind = opts->write_behind;
	build->write_mostly = opts->write_mostly;
	build->array->nr_stripes = opts->nr_stripes;
	build->uuid = xu_uuid_is_null(&opts->uuid)
			      ? xu_uuid_random(xr_reactor_random(xbdev_ctx_control(ctx)))
			      : opts->uuid;
	strncpy(build->array->super.set_name, opts->set_name != NULL ? opts->set_name : opts->name,
		XBDEV_MD_NAME_BYTES - 1);
	xbdev__md_build_set(build, opts->spare_group, opts->priority);
	xbdev__md_build_start(build, opts->members, opts->nr_members + opts->nr_spares);
}
