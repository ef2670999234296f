/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of an array and of its members around the I/O.
 *
 *   begin()    after registration: what is due begins
 *   retire()   the device has been removed and nobody uses it: the resync stops, the disks say
 *              "clean" (unless the array is broken or to be resynced), members are given back
 *   lose()     a member's device is removed: its channel is put when its last I/O is back
 *
 * A member is taken apart in two steps: its channel on the owner, its descriptor and memory on the
 * control reactor. Nothing here waits without a bound but for I/O that a member's device holds.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/buf.h"
#include "lib/util/clock.h"
#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/raid/bitmap.h"

#define LOOK_AGAIN_NS XU_NS_PER_MS

/* ---- members ---- */

static void member_free(struct xbdev_md_member *member)
{
	xu_buf_free(member->meta_buf, XBDEV_MD_META_BYTES);
	free(member->bad);
	free(member);
}

static void on_member_close(struct xr_msg *msg)
{
	struct xbdev_md_member *member = xu_container_of(msg, struct xbdev_md_member, msg);

	if (atomic_load(&member->is_gone_pending)) {
		xr_msg_defer(xbdev_ctx_control(member->array->dev.ctx), msg);
		return;
	}
	xbdev_desc_close(member->desc);
	member_free(member);
}

static void look_whether_idle(struct xr_timer *timer)
{
	struct xbdev_md_member *member =
		xu_container_of(timer, struct xbdev_md_member, leave_timer);
	struct xbdev_md_array *array = member->array;

	if (member->nr_children > 0 || member->nr_meta > 0 || member->nr_users > 0) {
		xr_timer_start(array->reactor, timer, LOOK_AGAIN_NS);
		return;
	}
	array->nr_leaving--;
	if (member->ch != NULL) {
		xbdev_channel_put(member->ch);
		member->ch = NULL;
	}
	member->msg.fn = on_member_close;
	xr_msg_send(xbdev_ctx_control(array->dev.ctx), &member->msg);
}

void xbdev__md_member_release(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;

	if (member->is_leaving) {
		return;
	}
	member->is_leaving = true;
	array->nr_leaving++;
	if (member->slot != UINT32_MAX) {
		array->members[member->slot] = NULL;
	}
	member->leave_timer.fn = look_whether_idle;
	xr_timer_start(array->reactor, &member->leave_timer, 0);
}

/* The device of a member is going: it serves no more, and is given back. */
static void lose(struct xbdev_md_member *member)
{
	struct xbdev_md_array *array = member->array;

	if (!array->is_retiring &&
		(!array->level->has_redundancy ||
			!xbdev__md_member_fail(member, "has been removed", -ENODEV))) {
		array->is_broken = true;
		xbdev__md_note(array, "stopped", member,
			"%s has been removed, and the array cannot be without it", member->name);
	}
	if (member->state != XBDEV_MD_MEMBER_SPARE && array->roles[member->role] == member) {
		array->roles[member->role] = NULL;
		xbdev__md_count_degraded(array);
	}
	xbdev__md_member_release(member);
}

/* On the owner. */
static void on_member_gone(struct xr_msg *msg)
{
	struct xbdev_md_member *member = xu_container_of(msg, struct xbdev_md_member, gone_msg);
	struct xbdev_md_array *array = member->array;
	bool is_leaving = member->is_leaving;

	/* One that is leaving may be freed from here on. */
	atomic_store(&member->is_gone_pending, false);
	if (is_leaving) {
		return;
	}
	if (member->slot == UINT32_MAX || !array->is_running) {
		member->is_gone = true; /* build.c, manage.c or begin() sees to it */
		return;
	}
	lose(member);
}

static void on_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct xbdev_md_member *member = arg;

	if (event == XBDEV_EVENT_REMOVE && !member->is_told) {
		member->is_told = true;
		atomic_store(&member->is_gone_pending, true);
		member->gone_msg.fn = on_member_gone;
		xr_msg_send(member->array->reactor, &member->gone_msg);
	}
}

bool xbdev__md_is_member_desc(const struct xbdev_desc *desc, const struct xbdev_md_array *array)
{
	return desc->event_cb == on_event &&
	       ((const struct xbdev_md_member *)desc->event_arg)->array == array;
}

const struct xbdev_md_member *xbdev__md_member_at(
	const struct xbdev_device *base, const struct xbdev_md_array *array)
{
	return base->claim != NULL && xbdev__md_is_member_desc(base->claim, array)
		       ? base->claim->event_arg
		       : NULL;
}

int xbdev__md_member_open(struct xbdev_md_array *array, const char *name, bool is_writable,
	struct xbdev_md_member **ret_member, struct xu_error *err)
{
	struct xbdev_md_member *member = calloc(1, sizeof(*member));
	int rc;

	if (member == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "member '%s'", name);
	}
	member->array = array;
	member->slot = UINT32_MAX;
	member->recovery_offset = XBDEV_MD_NEVER;
	member->meta_buf = xu_buf_alloc(XBDEV_MD_META_BYTES);
	rc = member->meta_buf == NULL ? xu_error_set_errno(err, -ENOMEM, "member '%s'", name)
				      : xbdev_desc_open(array->dev.ctx, name, is_writable, on_event,
						member, &member->desc, err);
	if (rc == 0) {
		rc = xbdev_desc_claim(member->desc, "a RAID array", err);
	}
	if (rc != 0) {
		if (member->desc != NULL) {
			xbdev_desc_close(member->desc);
		}
		member_free(member);
		return rc;
	}
	memcpy(member->name, member->desc->dev->name, sizeof(member->name));
	member->dev_sectors = xbdev_device_size_bytes(member->desc->dev) / XBDEV_MD_SECTOR;
	*ret_member = member;
	return 0;
}

/* ---- closing ---- */

static void on_closed(struct xr_msg *msg)
{
	struct xbdev_md_array *array = xu_container_of(msg, struct xbdev_md_array, msg);

	array->closed(array, array->closed_arg);
}

static void look_whether_closed(struct xr_timer *timer)
{
	struct xbdev_md_array *array = xu_container_of(timer, struct xbdev_md_array, life_timer);

	if (array->nr_leaving > 0) {
		xr_timer_start(array->reactor, timer, LOOK_AGAIN_NS);
		return;
	}
	if (array->level != NULL && array->level->fini != NULL) {
		array->level->fini(array);
	}
	xbdev__md_bitmap_free(array);
	xbdev__md_requests_fini(array);
	/* Sent after the members' messages, so it arrives after them. */
	array->msg.fn = on_closed;
	xr_msg_send(xbdev_ctx_control(array->dev.ctx), &array->msg);
}

static void on_close(struct xr_msg *msg)
{
	struct xbdev_md_array *array = xu_container_of(msg, struct xbdev_md_array, msg);

	xr_timer_stop(array->reactor, &array->safe_timer);
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL) {
			xbdev__md_member_release(array->members[i]);
		}
	}
	array->life_timer.fn = look_whether_closed;
	xr_timer_start(array->reactor, &array->life_timer, 0);
}

void xbdev__md_array_close(struct xbdev_md_array *array,
	void (*closed)(struct xbdev_md_array *array, void *arg), void *arg)
{
	array->closed = closed;
	array->closed_arg = arg;
	array->msg.fn = on_close;
	xr_msg_send(array->reactor, &array->msg);
}

/* ---- retiring ---- */

static void on_retired(struct xbdev_md_array *array, void *arg)
{
	xbdev_device_retired(&array->dev);
}

/* Calm: nothing is being written any more, and the disks say what is to be said. */
static bool is_at_rest(const struct xbdev_md_array *array)
{
	return array->nr_reqs == 0 && array->nr_writes == 0 && array->sync == NULL &&
	       array->nr_repairs == 0 && !array->meta.is_writing &&
	       (array->is_broken || (array->meta.written == array->meta.wanted &&
					    array->meta.bits_written == array->meta.bits_wanted));
}

/* The last word on the disks: clean, and no bit of the bitmap left. */
static void settle(struct xbdev_md_array *array)
{
	array->is_settled = true;
	if (array->bitmap != NULL && !array->is_read_only) {
		xbdev__md_bitmap_settle(array);
		xbdev__md_meta_update_bits(array, true);
	}
	if (array->is_active) {
		array->is_active = false;
		xbdev__md_meta_update(array);
	}
}

static void look_whether_at_rest(struct xr_timer *timer)
{
	struct xbdev_md_array *array = xu_container_of(timer, struct xbdev_md_array, life_timer);

	if (is_at_rest(array) && !array->is_settled && !array->is_broken) {
		settle(array);
	}
	if (!is_at_rest(array)) {
		xr_timer_start(array->reactor, timer, LOOK_AGAIN_NS);
		return;
	}
	xbdev__md_array_close(array, on_retired, NULL);
}

static void on_retire(struct xr_msg *msg)
{
	struct xbdev_md_array *array = xu_container_of(msg, struct xbdev_md_array, msg);

	array->is_retiring = true;
	xbdev__md_turn_give_up(array);
	xbdev__md_sync_stop(array);
	xr_timer_stop(array->reactor, &array->safe_timer);
	array->life_timer.fn = look_whether_at_rest;
	xr_timer_start(array->reactor, &array->life_timer, 0);
}

void xbdev__md_retire(struct xbdev_device *dev)
{
	struct xbdev_md_array *array = xbdev__md_array_of(dev);

	array->msg.fn = on_retire;
	xr_msg_send(array->reactor, &array->msg);
}

void xbdev__md_destroy(struct xbdev_device *dev)
{
	xbdev__md_keep_stop(xbdev__md_array_of(dev));
	free(xbdev__md_array_of(dev));
}

/* ---- the beginning ---- */

void xbdev__md_array_begin(struct xbdev_md_array *array)
{
	array->is_running = true;
	for (uint32_t i = 0; i < array->nr_members; i++) {
		if (array->members[i] != NULL && array->members[i]->is_gone) {
			lose(array->members[i]);
		}
	}
	if (array->log != NULL) {
		/* What the log held has been seen to; it begins anew, and the disks say so. */
		xbdev__md_meta_update(array);
	}
	xbdev__md_bitmap_watch(array);
	xbdev__md_sync_kick(array);
}
