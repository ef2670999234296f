/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that volumes stand on outside of their store; see esnap.h for their course.
 *
 * One descriptor for a context has the claim of a device (struct xbdev_lvol_hold), as volumes of
 * several stores may stand on it; each store has a channel of its own on its reactor. A device that
 * goes takes the devices of the volumes on it with it; when the last of them has gone, and the last
 * operation that read from it, the channel is given back and the device is free. When it comes back
 * so do they. The other volumes of the store do not notice.
 *
 * A volume whose device is missing is no device and says why. It can be deleted, renamed, cloned
 * all the same, which takes metadata only.
 *
 * The size is what the device had when it was opened; what lies beyond reads as zeroes.
 */
#include "lib/xbdev/lvol/esnap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/lvol/attach.h"
#include "lib/xbdev/lvol/stores_private.h"

/* How often a device is asked for again that somebody has open for writing: nothing tells of the
 * end of that. */
#define RETRY_NS (500 * XU_NS_PER_MS)

struct xbdev_lvol_hold {
	struct xu_list link; /* in stores->holds */
	struct xbdev_desc *desc;
	uint32_t nr_users;
};

static struct xbdev_lvol_esnap *esnap_of_link(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_lvol_esnap, link);
}

/* The one of this name; those that are on their way out do not count. */
static struct xbdev_lvol_esnap *find(const struct xbdev_lvol_store *store, const char *id)
{
	struct xu_list *node;

	xu_list_for_each (node, &store->esnaps) {
		struct xbdev_lvol_esnap *esnap = esnap_of_link(node);

		if (!esnap->is_leaving && strcmp(esnap->id, id) == 0) {
			return esnap;
		}
	}
	return NULL;
}

/* What the chain of a volume ends on outside; "": it does not. */
static const char *id_of(const struct xbdev_lvol *volume)
{
	if (volume->store->nr_external == 0) {
		return "";
	}
	while (volume->shown.parent != NULL) {
		volume = volume->shown.parent;
	}
	return volume->shown.esnap;
}

struct xbdev_lvol_esnap *xbdev__lvol_esnap_of(const struct xbdev_lvol *volume)
{
	const char *id = id_of(volume);

	return *id != '\0' ? find(volume->store, id) : NULL;
}

const struct xbdev_device *xbdev__lvol_esnap_device(const struct xbdev_lvol *volume)
{
	const struct xbdev_lvol_esnap *esnap = xbdev__lvol_esnap_of(volume);

	return esnap != NULL && esnap->hold != NULL ? esnap->hold->desc->dev : NULL;
}

const struct xu_error *xbdev__lvol_esnap_missing(const struct xbdev_lvol *volume)
{
	static const struct xu_error unknown = {
		-ENODEV, "the device outside of the store that it stands on is not there"};
	const struct xu_error *why = &unknown;
	const char *id = id_of(volume);
	struct xu_list *node;

	if (*id == '\0') {
		return NULL;
	}
	xu_list_for_each (node, &volume->store->esnaps) {
		const struct xbdev_lvol_esnap *esnap = esnap_of_link(node);

		if (strcmp(esnap->id, id) != 0) {
			continue;
		}
		if (esnap->is_ready && !esnap->is_going && !esnap->is_leaving) {
			return NULL;
		}
		why = &esnap->why;
	}
	return why;
}

/* ---- claims ---- */

static void on_hold_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg);

bool xbdev__lvol_is_esnap(const struct xbdev_device *dev)
{
	return dev->claim != NULL && dev->claim->event_cb == on_hold_event;
}

static struct xbdev_lvol_hold *hold_new(
	struct xbdev_lvol_stores *stores, const char *device, struct xu_error *err)
{
	struct xbdev_lvol_hold *hold = calloc(1, sizeof(*hold));

	if (hold == NULL) {
		xu_error_set_errno(err, -ENOMEM, "using '%s'", device);
		return NULL;
	}
	if (xbdev_desc_open(stores->ctx, device, false, on_hold_event, stores, &hold->desc, err) !=
		0) {
		free(hold);
		return NULL;
	}
	if (xbdev_desc_claim(hold->desc, "clones of it (external snapshot)", err) != 0) {
		xbdev_desc_close(hold->desc);
		free(hold);
		return NULL;
	}
	xu_list_add_tail(&stores->holds, &hold->link);
	return hold;
}

static struct xbdev_lvol_hold *hold_get(
	struct xbdev_lvol_stores *stores, const struct xbdev_device *dev, struct xu_error *err)
{
	struct xbdev_lvol_hold *hold = NULL;
	struct xu_list *node;

	xu_list_for_each (node, &stores->holds) {
		hold = xu_list_entry(node, struct xbdev_lvol_hold, link);
		if (hold->desc->dev == dev) {
			break;
		}
		hold = NULL;
	}
	if (hold == NULL) {
		hold = hold_new(stores, dev->name, err);
	} else if (atomic_load(&dev->state) != XBDEV_DEVICE_READY || dev->is_doomed) {
		xu_error_set(err, -ENODEV, "device '%s' is being removed", dev->name);
		return NULL;
	}
	if (hold != NULL) {
		hold->nr_users++;
	}
	return hold;
}

static void hold_put(struct xbdev_lvol_hold *hold)
{
	if (--hold->nr_users == 0) {
		xu_list_del(&hold->link);
		xbdev_desc_close(hold->desc);
		free(hold);
	}
}

/* ---- leaving ---- */

static struct xbdev_lvol_store *store_of_link(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_lvol_store, link);
}

static bool is_anybody_waiting(const struct xbdev_lvol_stores *stores)
{
	struct xu_list *at, *node;

	xu_list_for_each (at, &stores->stores) {
		xu_list_for_each (node, &store_of_link(at)->esnaps) {
			if (esnap_of_link(node)->hold == NULL) {
				return true;
			}
		}
	}
	return false;
}

static bool is_named(const struct xbdev_lvol_esnap *esnap)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(esnap->store, volume)) != NULL) {
		if (strcmp(volume->shown.esnap, esnap->id) == 0) {
			return true;
		}
	}
	return false;
}

static bool is_wanted(const struct xbdev_lvol_esnap *esnap)
{
	return esnap->nr_users > 0 ||
	       (!esnap->is_going && !esnap->store->is_detaching && is_named(esnap));
}

static void drop(struct xbdev_lvol_esnap *esnap)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(esnap->store->ctx);

	xu_list_del(&esnap->link);
	free(esnap);
	if (!is_anybody_waiting(stores)) {
		xr_timer_stop(xbdev_ctx_control(stores->ctx), &stores->retry);
	}
}

static void list_named(struct xbdev_lvol_store *store);
static void retry_later(struct xbdev_lvol_stores *stores);

static void on_left(struct xr_msg *msg)
{
	struct xbdev_lvol_esnap *esnap = xu_container_of(msg, struct xbdev_lvol_esnap, msg);
	struct xbdev_lvol_store *store = esnap->store;
	bool has_failed = esnap->has_failed;
	struct xu_list awaiting, *node;

	xu_list_init(&awaiting);
	xu_list_splice_tail(&awaiting, &esnap->awaiting);
	hold_put(esnap->hold);
	drop(esnap);
	list_named(store);
	if (has_failed && is_anybody_waiting(xbdev__lvol_stores(store->ctx))) {
		retry_later(xbdev__lvol_stores(store->ctx));
	} else {
		xbdev__lvol_esnaps_gather(store);
	}
	while ((node = xu_list_pop(&awaiting)) != NULL) {
		xbdev__lvol_op_conclude(xu_list_entry(node, struct xbdev_lvol_op, link));
	}
	xbdev__lvol_store_settle(store);
}

static void on_leave(struct xr_msg *msg)
{
	struct xbdev_lvol_esnap *esnap = xu_container_of(msg, struct xbdev_lvol_esnap, msg);

	if (esnap->ch != NULL) {
		xu_list_del(&esnap->here);
		esnap->store->epoch++;
		xbdev_channel_put(esnap->ch);
	}
	esnap->msg.fn = on_left;
	xr_msg_send(xbdev_ctx_control(esnap->store->ctx), &esnap->msg);
}

static void settle(struct xbdev_lvol_esnap *esnap)
{
	if (esnap->is_opening || esnap->is_leaving || is_wanted(esnap)) {
		return;
	}
	if (esnap->hold == NULL) {
		drop(esnap);
		return;
	}
	esnap->is_leaving = true;
	esnap->msg.fn = on_leave;
	xr_msg_send(esnap->store->reactor, &esnap->msg);
}

void xbdev__lvol_esnaps_settle(struct xbdev_lvol_store *store)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &store->esnaps) {
		settle(esnap_of_link(node));
	}
}

/* ---- the device goes ---- */

/* The volumes on it are no devices any more; they come back when it does. */
static void take_away(struct xbdev_lvol_esnap *esnap)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(esnap->store, volume)) != NULL) {
		if (volume->is_registered && volume->esnap == esnap) {
			xbdev__lvol_set_waiting(volume, true);
			volume->may_have_store = xbdev__lvol_is_base(&volume->dev);
			/* -EBUSY: it is going already. */
			xbdev_device_remove(&volume->dev, NULL, NULL);
		}
	}
}

static void go(struct xbdev_lvol_esnap *esnap, bool is_removed, const char *what)
{
	const char *name = esnap->hold->desc->dev->name;

	if (!esnap->is_going) {
		esnap->is_going = true;
		xu_error_set(&esnap->why, -ENODEV, "the device '%s' (%s) that it stands on has %s",
			name, esnap->id, what);
	}
	if (is_removed && !esnap->is_removed) {
		esnap->is_removed = true;
		xu_warn(xbdev_ctx_log(esnap->store->ctx),
			"store %s: device %s has %s, and the volumes on it go", esnap->store->name,
			name, what);
		take_away(esnap);
	}
	settle(esnap);
}

/* One that becomes smaller is another device: the volumes on it go, and come back with that size.
 * One that becomes larger has its size when it is opened anew. */
static void check_size(struct xbdev_lvol_esnap *esnap)
{
	if (xbdev_device_size_bytes(esnap->hold->desc->dev) < esnap->size) {
		go(esnap, true, "become smaller");
	}
}

/* XBDEV_EVENT_END is for everything that there is: volumes go by themselves. */
static void on_hold_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct xbdev_lvol_stores *stores = arg;
	struct xu_list *at, *node, *next;

	xu_list_for_each (at, &stores->stores) {
		xu_list_for_each_safe (node, next, &store_of_link(at)->esnaps) {
			struct xbdev_lvol_esnap *esnap = esnap_of_link(node);

			if (esnap->hold == NULL || esnap->hold->desc != desc) {
				continue;
			}
			if (event == XBDEV_EVENT_RESIZE) {
				check_size(esnap);
			} else {
				go(esnap, event == XBDEV_EVENT_REMOVE, "been removed");
			}
		}
	}
}

/* ---- opening ---- */

void xbdev__lvol_esnaps_serve(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;
	struct xu_error err;

	while (store->is_serving && !store->is_detaching && !store->is_ending &&
		store->nr_waiting > 0 && (volume = xbdev__lvol_next(store, volume)) != NULL) {
		if (!volume->is_waiting || volume->op != NULL || volume->is_registered ||
			xbdev__lvol_esnap_missing(volume) != NULL) {
			continue;
		}
		xbdev__lvol_set_waiting(volume, false);
		if (xbdev__lvol_register(volume, &err) != 0) {
			xu_warn(xbdev_ctx_log(store->ctx), "store %s: volume %s is not served: %s",
				store->name, volume->shown.name, err.text);
		}
	}
}

static void on_opened(struct xr_msg *msg)
{
	struct xbdev_lvol_esnap *esnap = xu_container_of(msg, struct xbdev_lvol_esnap, msg);
	struct xbdev_lvol_store *store = esnap->store;
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(store->ctx);

	esnap->is_opening = false;
	esnap->is_ready = esnap->ch != NULL;
	store->nr_opening--;
	stores->nr_opening--;
	if (!esnap->is_ready) {
		esnap->has_failed = esnap->is_going = true;
		xu_error_set_errno(&esnap->why, esnap->status,
			"using the device '%s' that it stands on", esnap->hold->desc->dev->name);
	}
	if (!store->is_serving && store->nr_opening == 0) {
		xbdev__lvol_store_serve(store);
	} else {
		xbdev__lvol_esnaps_serve(store);
	}
	xbdev__lvol_store_settle(store);
	xbdev__lvol_find_tell(stores);
}

static void on_open(struct xr_msg *msg)
{
	struct xbdev_lvol_esnap *esnap = xu_container_of(msg, struct xbdev_lvol_esnap, msg);
	struct xbdev_lvol_store *store = esnap->store;

	esnap->status = xbdev_channel_get(esnap->hold->desc, store->reactor, &esnap->ch);
	if (esnap->status == 0) {
		xu_list_add_tail(&store->here, &esnap->here);
		store->epoch++;
	} else {
		esnap->ch = NULL;
	}
	esnap->msg.fn = on_opened;
	xr_msg_send(xbdev_ctx_control(store->ctx), &esnap->msg);
}

int xbdev__lvol_esnap_check_blocks(
	const struct xbdev_lvol_store *store, const struct xbdev_device *dev, struct xu_error *err)
{
	if (store->block_size % dev->limits.block_size == 0) {
		return 0;
	}
	return xu_error_set(err, -EINVAL,
		"device '%s' has blocks of %u bytes, the volumes of store '%s' have %u: nothing "
		"can "
		"stand on it there",
		dev->name, dev->limits.block_size, store->name, store->block_size);
}

/* Begins to use a device that is there; the owner hears of it before all that is sent later. */
static int open_it(
	struct xbdev_lvol_esnap *esnap, const struct xbdev_device *dev, struct xu_error *err)
{
	struct xbdev_lvol_store *store = esnap->store;
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(store->ctx);
	int rc = xbdev__lvol_esnap_check_blocks(store, dev, err);

	if (rc != 0) {
		return rc;
	}
	esnap->hold = hold_get(stores, dev, err);
	if (esnap->hold == NULL) {
		return err->code;
	}
	esnap->size = xbdev_device_size_bytes(dev);
	esnap->is_opening = true;
	store->nr_opening++;
	stores->nr_opening++;
	esnap->msg.fn = on_open;
	xr_msg_send(store->reactor, &esnap->msg);
	return 0;
}

static struct xbdev_lvol_esnap *esnap_new(struct xbdev_lvol_store *store, const char *id)
{
	struct xbdev_lvol_esnap *esnap = calloc(1, sizeof(*esnap));

	if (esnap != NULL) {
		esnap->store = store;
		xu_list_init(&esnap->awaiting);
		snprintf(esnap->id, sizeof(esnap->id), "%s", id);
		xu_error_set(&esnap->why, -ENODEV,
			"the device '%s' outside of the store that it stands on is not there", id);
		xu_list_add_tail(&store->esnaps, &esnap->link);
	}
	return esnap;
}

struct xbdev_lvol_esnap *xbdev__lvol_esnap_open(struct xbdev_lvol_store *store, const char *id,
	const struct xbdev_device *dev, struct xu_error *err)
{
	struct xbdev_lvol_esnap *esnap = find(store, id);

	if (esnap == NULL) {
		esnap = esnap_new(store, id);
	}
	if (esnap == NULL) {
		xu_error_set_errno(err, -ENOMEM, "using '%s'", dev->name);
		return NULL;
	}
	if (esnap->is_going) {
		*err = esnap->why;
		return NULL;
	}
	return esnap->hold != NULL || open_it(esnap, dev, err) == 0 ? esnap : NULL;
}

static void try_open(struct xbdev_lvol_esnap *esnap)
{
	struct xbdev_ctx *ctx = esnap->store->ctx;
	const struct xbdev_device *dev = xbdev_device_find(ctx, esnap->id);
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);
	struct xu_error err;

	if (dev == NULL || atomic_load(&dev->state) != XBDEV_DEVICE_READY ||
		open_it(esnap, dev, &err) == 0) {
		return;
	}
	if (strcmp(esnap->why.text, err.text) != 0) {
		esnap->why = err;
		xu_warn(xbdev_ctx_log(ctx), "store %s: volumes that stand on %s wait: %s",
			esnap->store->name, esnap->id, err.text);
	}
	if (err.code == -EBUSY) {
		retry_later(stores);
	}
}

/* Each device that a volume names is in the list. */
static void list_named(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;

	while (!store->is_detaching && store->nr_external > 0 &&
		(volume = xbdev__lvol_next(store, volume)) != NULL) {
		if (volume->shown.esnap[0] != '\0' && find(store, volume->shown.esnap) == NULL) {
			/* NULL: it is asked for again with the next device. */
			(void)esnap_new(store, volume->shown.esnap);
		}
	}
}

void xbdev__lvol_esnaps_gather(struct xbdev_lvol_store *store)
{
	struct xu_list *node;

	list_named(store);
	if (store->is_detaching) {
		return;
	}
	xu_list_for_each (node, &store->esnaps) {
		if (esnap_of_link(node)->hold == NULL) {
			try_open(esnap_of_link(node));
		}
	}
}

/* ---- devices that appear ---- */

static void scan(struct xbdev_lvol_stores *stores)
{
	struct xu_list *node;

	xu_list_for_each (node, &stores->stores) {
		if (store_of_link(node)->is_serving) {
			xbdev__lvol_esnaps_gather(store_of_link(node));
		}
	}
}

static void on_retry(struct xr_timer *timer)
{
	scan(xu_container_of(timer, struct xbdev_lvol_stores, retry));
}

static void retry_later(struct xbdev_lvol_stores *stores)
{
	stores->retry.fn = on_retry;
	xr_timer_start(xbdev_ctx_control(stores->ctx), &stores->retry, RETRY_NS);
}

static void on_scan(struct xr_msg *msg)
{
	struct xbdev_lvol_stores *stores = xu_container_of(msg, struct xbdev_lvol_stores, scan_msg);

	stores->is_scan_sent = false;
	scan(stores);
	xbdev__lvol_find_tell(stores);
}

/* Whoever makes the device is not done with it yet: later. */
static void on_graph(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
	struct xbdev_device *dev)
{
	struct xbdev_lvol_stores *stores =
		xu_container_of(listener, struct xbdev_lvol_stores, esnap_listener);

	(void)dev;
	if (event == XBDEV_GRAPH_ADDED && !stores->is_scan_sent && is_anybody_waiting(stores)) {
		stores->is_scan_sent = true;
		stores->scan_msg.fn = on_scan;
		xr_msg_defer(xbdev_ctx_control(stores->ctx), &stores->scan_msg);
	}
}

void xbdev__lvol_esnaps_init(struct xbdev_lvol_stores *stores)
{
	xu_list_init(&stores->holds);
	stores->esnap_listener.fn = on_graph;
	xbdev_ctx_add_listener(stores->ctx, &stores->esnap_listener);
}

/* ---- users ---- */

void xbdev__lvol_esnap_follow(struct xbdev_lvol *volume)
{
	struct xbdev_lvol_esnap *esnap =
		volume->is_registered ? xbdev__lvol_esnap_of(volume) : NULL;

	if (esnap == volume->esnap) {
		return;
	}
	xbdev__lvol_esnap_unfollow(volume);
	volume->esnap = esnap;
	if (esnap != NULL) {
		esnap->nr_users++;
		if (esnap->is_removed) {
			take_away(esnap);
		}
	}
}

void xbdev__lvol_esnap_unfollow(struct xbdev_lvol *volume)
{
	if (volume->esnap != NULL) {
		volume->esnap->nr_users--;
		volume->esnap = NULL;
	}
}
