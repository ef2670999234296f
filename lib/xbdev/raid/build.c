/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How an array comes into being, see build.h:
 *
 *   control reactor   open and claim the members
 *   owner             channels, superblocks -> judge() -> bad block logs, level
 *   control reactor   register the device, tell the caller; then the owner begins what is due
 *
 * Nothing is written before judge() has agreed to all members. What fails takes the way back:
 * channels are put on the owner, descriptors closed on the control reactor, and the caller is told
 * the first reason.
 */
#include "lib/xbdev/raid/build.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/crc32c.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/behind.h"
#include "lib/xbdev/raid/bitmap.h"
#include "lib/xbdev/raid/log.h"

/* ---- the way back ---- */

static void on_taken_apart(struct xbdev_md_array *array, void *arg)
{
	struct xbdev_md_build *build = arg;
	struct xu_error err = build->err;
	xbdev_created_fn done = build->done;
	void *done_arg = build->arg;

	free(array);
	xu_buf_free(build->bits, build->bits_bytes);
	xbdev__md_ppl_replay_free(build);
	xbdev__md_journal_replay_free(build);
	free(build);
	done(done_arg, NULL, &err);
}

void xbdev__md_build_fail(struct xbdev_md_build *build)
{
	assert(build->err.code != 0);
	xbdev__md_array_close(build->array, on_taken_apart, build);
}

/* ---- I/O on members ---- */

static void unpend(struct xbdev_md_build *build)
{
	if (--build->nr_pending > 0) {
		return;
	}
	if (build->err.code != 0) {
		xbdev__md_build_fail(build);
	} else {
		build->then(build);
	}
}

struct member_io {
	struct xbdev_io io;
	struct iovec iov;
	struct xbdev_md_build *build;
	struct xbdev_md_member *member;
};

static void on_member_io(struct xbdev_io *io, int status)
{
	struct member_io *mio = xu_container_of(io, struct member_io, io);
	struct xbdev_md_build *build = mio->build;

	if (status != 0 && build->err.code == 0 && !build->is_lenient) {
		xu_error_set_errno(&build->err, status, "array '%s': %s %llu bytes at %llu of '%s'",
			build->array->dev.name, io->op == XBDEV_OP_READ ? "reading" : "writing",
			(unsigned long long)io->len, (unsigned long long)io->offset,
			mio->member->name);
	}
	free(mio);
	unpend(build);
}

static void member_io(struct xbdev_md_build *build, struct xbdev_md_member *member, uint8_t op,
	uint64_t sector, void *bytes, size_t count)
{
	struct member_io *mio = calloc(1, sizeof(*mio));
	int rc = -ENOMEM;

	build->nr_pending++;
	if (mio != NULL) {
		mio->build = build;
		mio->member = member;
		mio->iov = (struct iovec){bytes, count};
		mio->io.ch = member->ch;
		mio->io.cb = on_member_io;
		mio->io.iov = &mio->iov;
		mio->io.nr_iov = 1;
		mio->io.op = op;
		mio->io.flags = op == XBDEV_OP_WRITE ? XBDEV_IO_FUA : 0;
		mio->io.offset = sector * XBDEV_MD_SECTOR;
		mio->io.len = count;
		rc = xbdev_io_submit(&mio->io);
	}
	if (rc != 0) {
		if (build->err.code == 0) {
			xu_error_set_errno(&build->err, rc, "array '%s': using '%s'",
				build->array->dev.name, member->name);
		}
		free(mio);
		build->nr_pending--;
	}
}

void xbdev__md_build_write(struct xbdev_md_build *build, struct xbdev_md_member *member,
	uint64_t sector, void *bytes, size_t count)
{
	member_io(build, member, XBDEV_OP_WRITE, sector, bytes, count);
}

void xbdev__md_build_read(struct xbdev_md_build *build, struct xbdev_md_member *member,
	uint64_t sector, void *bytes, size_t count)
{
	member_io(build, member, XBDEV_OP_READ, sector, bytes, count);
}

void xbdev__md_build_wait(struct xbdev_md_build *build, void (*then)(struct xbdev_md_build *build))
{
	build->nr_pending++;
	build->then = then;
	unpend(build);
}

/* ---- the last steps ---- */

static void on_begin(struct xr_msg *msg)
{
	xbdev__md_array_begin(xu_container_of(msg, struct xbdev_md_array, begin_msg));
}

static void on_register(struct xr_msg *msg)
{
	struct xbdev_md_build *build = xu_container_of(msg, struct xbdev_md_build, msg);
	struct xbdev_md_array *array = build->array;
	xbdev_created_fn done = build->done;
	void *arg = build->arg;

	if (xbdev_device_register(build->ctx, &array->dev, &build->err) != 0) {
		xbdev__md_array_close(array, on_taken_apart, build);
		return;
	}
	xbdev__md_keep_start(array, build->group);
	xu_buf_free(build->bits, build->bits_bytes);
	free(build);
	array->begin_msg.fn = on_begin;
	xr_msg_send(array->reactor, &array->begin_msg);
	done(arg, &array->dev, NULL);
}

static void set_limits(struct xbdev_md_array *array)
{
	struct xbdev_device *dev = &array->dev;
	struct xbdev_limits *limits = &dev->limits;

	*limits = (struct xbdev_limits){
		.block_size = 512,
		.buf_align = 1,
		.max_transfer = 4u << 20,
		.max_iov = XBDEV_MD_MAX_IOV,
		.max_zeroes = 1u << 30,
		.discard_granularity = 512,
		.queue_depth = XBDEV_MD_NR_CHILDREN,
	};
	dev->numa_node = -1;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		const struct xbdev_device *base;

		if (array->members[i] == NULL) {
			continue;
		}
		base = array->members[i]->ch->dev;
		if (base->limits.block_size > limits->block_size) {
			limits->block_size = base->limits.block_size;
		}
		if (base->limits.buf_align > limits->buf_align) {
			limits->buf_align = base->limits.buf_align;
		}
		if (base->limits.discard_granularity > limits->discard_granularity) {
			limits->discard_granularity = base->limits.discard_granularity;
		}
		dev->has_write_cache |= base->has_write_cache;
		dev->is_rotational |= base->is_rotational;
		dev->is_remote |= base->is_remote;
	}
	dev->ops_mask = 1u << XBDEV_OP_READ | 1u << XBDEV_OP_WRITE | 1u << XBDEV_OP_FLUSH;
	dev->has_fua = true;
	dev->is_read_only = array->is_read_only;
	atomic_store(&dev->nr_blocks, array->geo.array_size * XBDEV_MD_SECTOR / limits->block_size);
	array->level->limits(array);
}

static bool has_ppl(const struct xbdev_md_array *array)
{
	return xbdev__md_super_has(&array->super, XBDEV_MD_F_PPL | XBDEV_MD_F_MULTIPLE_PPLS);
}

static bool has_bad_blocks(const struct xbdev_md_array *array)
{
	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		if (array->roles[i] != NULL && array->roles[i]->bad != NULL &&
			array->roles[i]->bad->count > 0) {
			return true;
		}
	}
	return false;
}

/* May a write that was cut short be on a member, and not on who is to replace it? A resync copies
 * that, and so does the replay of a log; but a PPL is on the parity's member, and knows nothing of
 * rows whose parity was not written. What was read from the member would be another thing once the
 * other one has its place. */
static bool may_differ(
	const struct xbdev_md_build *build, const struct xbdev_md_member *replacement)
{
	const struct xbdev_md_array *array = build->array;

	/* One event behind, it may have an offset that was taken back. */
	if (build->force || replacement->super.events != array->super.events) {
		return true;
	}
	return has_ppl(array) && replacement->super.resync_offset != XBDEV_MD_CLEAN &&
	       (array->nr_degraded > 0 || has_bad_blocks(array));
}

static void doubt_replacements(const struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;

	for (uint32_t i = 0; i < array->geo.raid_disks; i++) {
		struct xbdev_md_member *replacement = array->replacements[i];

		if (replacement != NULL && may_differ(build, replacement)) {
			xbdev__md_member_start_over(replacement);
		}
	}
}

static void send_register(struct xbdev_md_build *build)
{
	build->msg.fn = on_register;
	xr_msg_send(xbdev_ctx_control(build->ctx), &build->msg);
}

static void set_up(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	int rc;

	if (build->is_mixed) {
		/* Also after a log: it knows nothing of what a stale member missed. */
		array->super.resync_offset = 0;
		array->in_sync_below = 0;
		array->is_parity_sure = false;
	}
	doubt_replacements(build);
	set_limits(array);
	xbdev__md_heat_init(&array->heat, array->geo.array_size * XBDEV_MD_SECTOR);
	rc = xbdev__md_requests_init(array);
	if (rc == 0 && build->bits != NULL) {
		rc = xbdev__md_bitmap_start(array, build->bits, build->bits_bytes, &build->err);
	}
	if (rc == 0) {
		rc = xbdev__md_behind_init(array);
	}
	if (rc == 0 && array->level->init != NULL) {
		rc = array->level->init(array, &build->err);
	}
	if (rc == 0 && has_ppl(array) && !array->is_sealed) {
		rc = xbdev__md_ppl_init(array, &build->err);
	} else if (rc == 0 && array->has_journal && !array->is_sealed) {
		rc = xbdev__md_journal_init(array, &build->err);
		if (rc == -ENOSPC && !build->is_new) {
			/* A member that others have put in its place. */
			xu_warn(xbdev_ctx_log(build->ctx), "%s: it runs without", build->err.text);
			array->has_journal = false;
			build->err = (struct xu_error){0};
			rc = 0;
		}
	}
	if (rc != 0) {
		if (build->err.code == 0) {
			xu_error_set_errno(
				&build->err, rc, "setting up array '%s'", array->dev.name);
		}
		xbdev__md_build_fail(build);
		return;
	}
	xbdev__md_note_made(array);
	xbdev__md_show(array);
	xbdev__md_journal_sync_wholes(build, send_register);
}

/* One that has just been made has it, or has not. */
static bool may_have_journal(const struct xbdev_md_build *build)
{
	const struct xbdev_md_array *array = build->array;

	return (array->geo.level == 4 || array->geo.level == 6) && !build->is_new;
}

static void on_logs_read(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;

	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member != NULL && xbdev__md_super_has(&member->super, XBDEV_MD_F_BAD_BLOCKS) &&
			member->bad != NULL &&
			xbdev__md_bad_blocks_parse((char *)member->meta_buf + XBDEV_MD_SUPER_BYTES,
				member->super.bblog_shift, member->bad, &build->err) != 0) {
			xu_error_prefix(&build->err, "array '%s': bad block log of '%s'",
				array->dev.name, member->name);
			xbdev__md_build_fail(build);
			return;
		}
	}
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL && array->members[i]->is_gone) {
			xu_error_set(&build->err, -ENODEV, "array '%s': '%s' has been removed",
				array->dev.name, array->members[i]->name);
			xbdev__md_build_fail(build);
			return;
		}
	}
	build->after_replay = set_up;
	if (has_ppl(array) && !array->is_sealed && array->super.resync_offset != XBDEV_MD_CLEAN) {
		xbdev__md_ppl_replay(build);
	} else if (may_have_journal(build)) {
		xbdev__md_journal_replay(build);
	} else {
		set_up(build);
	}
}

/* The bitmap of a member that is in sync counts; one that has just been made is at hand. */
static void read_bitmap(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;

	for (uint32_t i = 0; i < array->geo.raid_disks && build->bits == NULL; i++) {
		struct xbdev_md_member *member = array->roles[i];

		if (member == NULL || member->state != XBDEV_MD_MEMBER_IN_SYNC ||
			!xbdev__md_super_has(&member->super, XBDEV_MD_F_BITMAP)) {
			continue;
		}
		build->bits_bytes = xbdev__md_bitmap_bytes(&member->super, member->dev_sectors);
		build->bits = xu_buf_alloc(build->bits_bytes);
		if (build->bits == NULL) {
			xu_error_set_errno(&build->err, -ENOMEM, "array '%s'", array->dev.name);
			return;
		}
		xbdev__md_build_read(build, member,
			xbdev__md_super_place(member->super.bitmap_offset), build->bits,
			build->bits_bytes);
	}
}

void xbdev__md_build_finish(struct xbdev_md_build *build, const struct xbdev_md_shape *shape)
{
	struct xbdev_md_array *array = build->array;

	if (xbdev__md_geometry_init(&array->geo, shape, &build->err) != 0) {
		xu_error_prefix(&build->err, "array '%s'", array->dev.name);
		xbdev__md_build_fail(build);
		return;
	}
	array->level = xbdev__md_level_find(shape->level);
	if (array->level == NULL) {
		char name[24];

		xu_error_set(&build->err, -EOPNOTSUPP, "array '%s': %s arrays are not served yet",
			array->dev.name, xbdev__md_level_name(shape->level, name));
		xbdev__md_build_fail(build);
		return;
	}
	array->dev.uuid = array->super.set_uuid;
	xbdev__md_count_degraded(array);
	for (uint32_t i = 0; i < array->nr_members; i++) {
		struct xbdev_md_member *member = array->members[i];

		if (member == NULL || member->super.bblog_offset == 0 || build->err.code != 0) {
			continue;
		}
		member->bad = calloc(1, sizeof(*member->bad));
		if (member->bad == NULL) {
			xu_error_set_errno(&build->err, -ENOMEM, "array '%s'", array->dev.name);
			break;
		}
		member->bad->shift = member->super.bblog_shift;
		if (!xbdev__md_super_has(&member->super, XBDEV_MD_F_BAD_BLOCKS)) {
			continue; /* empty, whatever lies there */
		}
		xbdev__md_build_read(build, member,
			xbdev__md_super_place(member->super.bblog_offset),
			(char *)member->meta_buf + XBDEV_MD_SUPER_BYTES, XBDEV_MD_BAD_BLOCKS_BYTES);
	}
	if (build->err.code == 0) {
		read_bitmap(build);
	}
	xbdev__md_build_wait(build, on_logs_read);
}

/* ---- the first steps ---- */

static void on_supers_read(struct xbdev_md_build *build)
{
	for (uint32_t i = 0; i < build->array->nr_members; i++) {
		struct xbdev_md_member *member = build->array->members[i];
		int rc;

		if (member == NULL) {
			continue;
		}
		rc = xbdev__md_super_parse(
			member->meta_buf, member->dev_sectors, &member->super, &build->err);
		build->is_found[i] = rc == 0;
		member->super_crc = xu_crc32c(member->meta_buf, XBDEV_MD_SUPER_BYTES);
		if (rc != 0 && rc != -ENOENT) {
			xu_error_prefix(&build->err, "member '%s'", member->name);
			xbdev__md_build_fail(build);
			return;
		}
		build->err = (struct xu_error){0};
	}
	build->judge(build);
}

static void on_owner(struct xr_msg *msg)
{
	struct xbdev_md_build *build = xu_container_of(msg, struct xbdev_md_build, msg);
	struct xbdev_md_array *array = build->array;

	for (uint32_t i = 0; i < array->nr_members && build->err.code == 0; i++) {
		struct xbdev_md_member *member = array->members[i];
		int rc;

		if (member == NULL) {
			continue;
		}
		rc = xbdev_channel_get(member->desc, array->reactor, &member->ch);
		if (rc != 0) {
			xu_error_set_errno(&build->err, rc, "array '%s': using '%s'",
				array->dev.name, member->name);
		}
	}
	for (uint32_t i = 0; i < array->nr_members && build->err.code == 0; i++) {
		if (array->members[i] != NULL) {
			xbdev__md_build_read(build, array->members[i], XBDEV_MD_SUPER_OFFSET,
				array->members[i]->meta_buf, XBDEV_MD_SUPER_BYTES);
		}
	}
	xbdev__md_build_wait(build, on_supers_read);
}

static void choose_owner(struct xbdev_md_build *build)
{
	struct xbdev_md_array *array = build->array;
	int32_t numa_node = -1;

	for (uint32_t i = 0; i < array->nr_members && array->reactor == NULL; i++) {
		const struct xbdev_device *base;

		if (array->members[i] == NULL) {
			continue;
		}
		base = array->members[i]->desc->dev;
		numa_node = numa_node < 0 ? base->numa_node : numa_node;
		if (!base->is_multi_reactor) {
			array->reactor = base->owner;
		}
	}
	if (array->reactor == NULL) {
		array->reactor = xbdev_ctx_next_owner(build->ctx, numa_node);
	}
	array->dev.owner = array->reactor;
}

int xbdev__md_build_set(struct xbdev_md_build *build, const char *group, uint32_t priority_and_1)
{
	group = group != NULL ? group : "";
	if (strlen(group) >= sizeof(build->group) || priority_and_1 > XBDEV_REBUILD_PRIORITIES) {
		return xu_error_set(&build->err, -EINVAL,
			"array '%s': the name of a spare group has up to %u bytes, and priorities "
			"go from 0 to %u",
			build->array->dev.name, XBDEV_MD_GROUP_BYTES - 1,
			XBDEV_REBUILD_PRIORITIES - 1);
	}
	memcpy(build->group, group, strlen(group));
	if (priority_and_1 != 0) {
		build->array->priority = priority_and_1 - 1;
	}
	return 0;
}

void xbdev__md_build_start(
	struct xbdev_md_build *build, const char *const *names, uint32_t nr_names)
{
	struct xbdev_md_array *array = build->array;

	assert(nr_names <= XBDEV_MD_MAX_MEMBERS);
	/* Not only at registration: then the members would have been written already. */
	if (xbdev_device_check_name(array->dev.name, &build->err) == 0 &&
		xbdev_device_find(build->ctx, array->dev.name) != NULL) {
		xu_error_set(&build->err, -EEXIST,
			"there is a device named '%s' already; choose another name",
			array->dev.name);
	}
	for (uint32_t i = 0; i < nr_names && build->err.code == 0; i++) {
		array->nr_members = i + 1;
		if (strcmp(names[i], XBDEV_MD_MISSING) == 0) {
			continue;
		}
		if (xbdev__md_member_open(array, names[i], !array->is_read_only, &array->members[i],
			    &build->err) != 0) {
			xu_error_prefix(&build->err, "array '%s'", array->dev.name);
			break;
		}
		array->members[i]->slot = i;
	}
	choose_owner(build);
	if (build->err.code != 0) {
		xbdev__md_build_fail(build);
		return;
	}
	build->msg.fn = on_owner;
	xr_msg_send(array->reactor, &build->msg);
}

struct xbdev_md_build *xbdev__md_build_new(
	struct xbdev_ctx *ctx, const char *name, xbdev_created_fn done, void *arg)
{
	struct xbdev_md_build *build = calloc(1, sizeof(*build));
	struct xbdev_md_array *array = calloc(1, sizeof(*array));

	if (build == NULL || array == NULL) {
		struct xu_error err;

		xu_error_set_errno(&err, -ENOMEM, "array '%s'", name);
		free(build);
		free(array);
		done(arg, NULL, &err);
		return NULL;
	}
	xbdev__set_name(&array->dev, name);
	array->dev.driver = "raid";
	array->dev.product = "RAID array";
	array->dev.ops = &xbdev__md_device_ops;
	array->dev.ctx = ctx;
	array->in_sync_below = XBDEV_MD_NEVER;
	xbdev__md_pulse_init(&array->pulse);
	array->priority = XBDEV_REBUILD_PRIORITY_DEFAULT;
	xbdev__md_meta_init(array);
	build->array = array;
	build->ctx = ctx;
	build->done = done;
	build->arg = arg;
	return build;
}
