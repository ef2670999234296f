/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the control reactor does for arrays by itself: spares that several arrays share, and devices
 * that come back.
 *
 *   an array lacks a spare ─▶ its group's other arrays are looked at ─▶ one that has a spare and
 *                             lacks nothing gives it away: removed there, added here
 *   a device appears       ─▶ an array that has lost a member reads its superblock; the one that it
 *                             has lost is added again
 *
 * Arrays share spares when they are of the same spare group, as with mdadm: every spare of one is a
 * spare of all. A transfer holds the array that it is for, and ends by itself in about a second; at
 * most one runs for an array. If the array does not take the device after all, it goes back.
 *
 * The device keeps the superblock that makes it a spare of the array that it comes from until it is
 * overwritten by the one that makes it a spare here: whenever a crash comes, it is the one or the
 * other, and never a blank disk that nobody remembers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/array.h"
#include "lib/xbdev/raid/examine.h"
#include "lib/xbdev/raid/raid.h"

#define TRY_AGAIN_NS (5 * XU_NS_PER_MS)
#define MAX_TRIES    200u /* until a device has been given back by its array */

struct xbdev_md_keep {
	struct xbdev_md_array *array;
	struct xbdev_graph_listener listener;
	char group[XBDEV_MD_GROUP_BYTES];
	uint32_t priority;
	bool is_moving; /* a spare to it */
};

/* A spare on its way from one array to another. */
struct move {
	struct xbdev_ctx *ctx;
	struct xbdev_md_array *array; /* that wants it; held */
	struct xbdev_desc *hold;
	uint64_t sectors;            /* that it must have for data */
	char donor[XBDEV_NAME_SIZE]; /* the array that has it, and its UUID */
	struct xu_uuid donor_uuid;
	char spare[XBDEV_NAME_SIZE];
	struct xr_timer timer;
	uint32_t nr_tries;
	bool is_going_back;
};

/* ---- moving a spare ---- */

static void end(struct move *move)
{
	move->array->keep->is_moving = false;
	xbdev_desc_close(move->hold);
	free(move);
}

static void add_to(struct move *move, const char *name);

static void try_again(struct xr_timer *timer)
{
	struct move *move = xu_container_of(timer, struct move, timer);

	add_to(move, move->is_going_back ? move->donor : move->array->dev.name);
}

static void on_added(void *arg, const struct xu_error *err)
{
	struct move *move = arg;
	struct xu_logger *log = xbdev_ctx_log(move->ctx);

	/* Its array gives it back a moment after it has said so. */
	if (err != NULL && err->code == -EBUSY && ++move->nr_tries < MAX_TRIES) {
		move->timer.fn = try_again;
		xr_timer_start(xbdev_ctx_control(move->ctx), &move->timer, TRY_AGAIN_NS);
		return;
	}
	if (err == NULL && !move->is_going_back) {
		xbdev__md_note(move->array, "spare-moved", NULL, "spare %s of array %s is here now",
			move->spare, move->donor);
	} else if (err != NULL) {
		xu_err(log, "spare %s of array %s could not be added to array %s: %s", move->spare,
			move->donor, move->is_going_back ? move->donor : move->array->dev.name,
			err->text);
	}
	if (err != NULL && !move->is_going_back) {
		move->is_going_back = true;
		move->nr_tries = 0;
		add_to(move, move->donor);
	} else {
		end(move);
	}
}

static void add_to(struct move *move, const char *name)
{
	struct xbdev_device *dev = xbdev_device_find(move->ctx, name);
	const struct xbdev_md_command add = {
		.kind = XBDEV_MD_COMMAND_ADD, .device = move->spare, .from = move->donor_uuid};

	if (dev == NULL || !xbdev__md_is_array(dev)) {
		end(move);
		return;
	}
	xbdev__md_manage(dev, &add, on_added, move);
}

static void ask_next(struct move *move, struct xbdev_device *from);

static void on_removed(void *arg, const struct xu_error *err)
{
	struct move *move = arg;

	if (err != NULL) {
		/* Somebody else took it. */
		ask_next(move, xbdev_device_find(move->ctx, move->donor));
		return;
	}
	add_to(move, move->array->dev.name);
}

/* A spare that the array can give away; NULL: none, or it needs it itself. */
static const struct xbdev_md_disk *find_spare(const struct xbdev_md_info *info, uint64_t sectors)
{
	const struct xbdev_md_disk *spare = NULL;

	for (uint32_t i = 0; i < info->nr_disks; i++) {
		const struct xbdev_md_disk *disk = &info->disks[i];

		if (disk->state == XBDEV_MD_DISK_IS_MISSING) {
			return NULL;
		}
		if (disk->state == XBDEV_MD_DISK_IS_SPARE && disk->size_sectors >= sectors) {
			spare = disk;
		}
	}
	return spare;
}

static void on_donor_looked(void *arg, const struct xbdev_md_info *info)
{
	struct move *move = arg;
	struct xbdev_device *dev = xbdev_device_find(move->ctx, move->donor);
	const struct xbdev_md_disk *spare =
		info != NULL && dev != NULL ? find_spare(info, move->sectors) : NULL;
	struct xbdev_md_command remove = {.kind = XBDEV_MD_COMMAND_REMOVE, .device = move->spare};

	if (spare == NULL) {
		ask_next(move, dev);
		return;
	}
	memcpy(move->spare, spare->name, sizeof(move->spare));
	xbdev__md_manage(dev, &remove, on_removed, move);
}

/* Asks the next array of the group, behind `from`. */
static void ask_next(struct move *move, struct xbdev_device *from)
{
	const char *group = move->array->keep->group;
	struct xbdev_device *dev = from;

	while ((dev = xbdev_device_next(move->ctx, dev)) != NULL) {
		if (dev != &move->array->dev && xbdev__md_is_array(dev) && *group != '\0' &&
			strcmp(xbdev__md_keep_group(xbdev__md_array_of(dev)), group) == 0) {
			memcpy(move->donor, dev->name, sizeof(move->donor));
			move->donor_uuid = dev->uuid;
			xbdev__md_info_get(dev, on_donor_looked, move);
			return;
		}
	}
	end(move);
}

static void on_looked(void *arg, const struct xbdev_md_info *info)
{
	struct move *move = arg;
	bool is_missing = false, has_spare = false;

	for (uint32_t i = 0; info != NULL && i < info->nr_disks; i++) {
		is_missing |= info->disks[i].state == XBDEV_MD_DISK_IS_MISSING;
		has_spare |= info->disks[i].state == XBDEV_MD_DISK_IS_SPARE &&
			     info->disks[i].size_sectors >= info->member_sectors;
	}
	if (!is_missing || has_spare || info->state == XBDEV_MD_ARRAY_BROKEN ||
		info->is_read_only) {
		end(move);
		return;
	}
	move->sectors = info->member_sectors;
	ask_next(move, NULL);
}

/* Does it need a spare of its group? */
static void consider(struct xbdev_md_array *array)
{
	struct xbdev_md_keep *keep = array->keep;
	struct move *move;

	if (keep == NULL || *keep->group == '\0' || keep->is_moving) {
		return;
	}
	move = calloc(1, sizeof(*move));
	if (move == NULL || xbdev_desc_open(array->dev.ctx, array->dev.name, false, NULL, NULL,
				    &move->hold, NULL) != 0) {
		free(move);
		return;
	}
	keep->is_moving = true;
	move->ctx = array->dev.ctx;
	move->array = array;
	xbdev__md_info_get(&array->dev, on_looked, move);
}

static void on_want(struct xr_msg *msg)
{
	struct xbdev_md_array *array = xu_container_of(msg, struct xbdev_md_array, want_msg);

	atomic_store(&array->is_want_sent, false);
	consider(array);
}

void xbdev__md_keep_want(struct xbdev_md_array *array)
{
	if (!array->is_retiring && !array->is_broken &&
		!atomic_exchange(&array->is_want_sent, true)) {
		array->want_msg.fn = on_want;
		xr_msg_send(xbdev_ctx_control(array->dev.ctx), &array->want_msg);
	}
}

/* ---- groups ---- */

const char *xbdev__md_keep_group(const struct xbdev_md_array *array)
{
	return array->keep != NULL ? array->keep->group : "";
}

void xbdev__md_keep_look_around(struct xbdev_md_array *array)
{
	const char *group = xbdev__md_keep_group(array);
	struct xbdev_device *dev = NULL;

	while (*group != '\0' && (dev = xbdev_device_next(array->dev.ctx, dev)) != NULL) {
		if (xbdev__md_is_array(dev) &&
			strcmp(xbdev__md_keep_group(xbdev__md_array_of(dev)), group) == 0) {
			consider(xbdev__md_array_of(dev));
		}
	}
}

void xbdev__md_keep_set_group(struct xbdev_md_array *array, const char *group)
{
	if (array->keep != NULL) {
		group = strcmp(group, XBDEV_MD_NO_GROUP) == 0 ? "" : group;
		snprintf(array->keep->group, sizeof(array->keep->group), "%s", group);
		xbdev__md_keep_look_around(array);
	}
}

void xbdev__md_keep_set_priority(struct xbdev_md_array *array, uint32_t priority)
{
	if (array->keep != NULL) {
		array->keep->priority = priority;
	}
}

uint32_t xbdev__md_keep_priority(const struct xbdev_md_array *array)
{
	return array->keep != NULL ? array->keep->priority : XBDEV_REBUILD_PRIORITY_DEFAULT;
}

/* ---- devices that come back ---- */

struct arrival {
	struct xbdev_md_array *array; /* held */
	struct xbdev_desc *hold;
	char name[XBDEV_NAME_SIZE];
	struct xr_msg msg;
};

static void arrival_end(struct arrival *arrival)
{
	xbdev_desc_close(arrival->hold);
	free(arrival);
}

static void on_returned(void *arg, const struct xu_error *err)
{
	struct arrival *arrival = arg;

	if (err == NULL) {
		xu_info(xbdev_ctx_log(arrival->array->dev.ctx), "array %s: %s is back",
			arrival->array->dev.name, arrival->name);
	}
	arrival_end(arrival);
}

static void on_examined(
	void *arg, const struct xbdev_md_examined *examined, const struct xu_error *err)
{
	struct arrival *arrival = arg;
	struct xbdev_md_array *array = arrival->array;
	const struct xbdev_md_command back = {
		.kind = XBDEV_MD_COMMAND_RETURN, .device = arrival->name};

	if (examined == NULL || examined->by[0] != '\0' ||
		!xu_uuid_is_equal(&examined->super.set_uuid, &array->super.set_uuid)) {
		arrival_end(arrival);
		return;
	}
	/* Whether it is one that the array has lost, the owner knows. */
	xbdev__md_manage(&array->dev, &back, on_returned, arrival);
}

static void on_arrived(struct xr_msg *msg)
{
	struct arrival *arrival = xu_container_of(msg, struct arrival, msg);

	xbdev__md_examine(arrival->array->dev.ctx, arrival->name, on_examined, arrival);
}

static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	struct xbdev_md_keep *keep = xu_container_of(listener, struct xbdev_md_keep, listener);
	struct xbdev_md_array *array = keep->array;
	struct arrival *arrival;

	if (event != XBDEV_GRAPH_ADDED || dev == &array->dev || array->is_sealed ||
		!atomic_load(&array->has_lost)) {
		return;
	}
	arrival = calloc(1, sizeof(*arrival));
	if (arrival == NULL || xbdev_desc_open(array->dev.ctx, array->dev.name, false, NULL, NULL,
				       &arrival->hold, NULL) != 0) {
		free(arrival);
		return;
	}
	arrival->array = array;
	memcpy(arrival->name, dev->name, sizeof(arrival->name));
	/* Whoever makes the device is not done with it yet. */
	arrival->msg.fn = on_arrived;
	xr_msg_defer(xbdev_ctx_control(array->dev.ctx), &arrival->msg);
}

/* ---- life ---- */

void xbdev__md_keep_start(struct xbdev_md_array *array, const char *group)
{
	struct xbdev_md_keep *keep = array->level->has_redundancy ? calloc(1, sizeof(*keep)) : NULL;

	if (keep == NULL) {
		return;
	}
	keep->array = array;
	keep->listener.fn = on_graph;
	keep->priority = array->priority;
	array->keep = keep;
	xbdev_ctx_add_listener(array->dev.ctx, &keep->listener);
	xbdev__md_keep_set_group(array, group);
}

void xbdev__md_keep_stop(struct xbdev_md_array *array)
{
	if (array->keep != NULL) {
		xbdev_ctx_del_listener(&array->keep->listener);
		free(array->keep);
		array->keep = NULL;
	}
}
