/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store between its device and its volumes' devices.
 *
 *   attach   control reactor   open and claim the device
 *            owner             channel, load, recover
 *            control reactor   register the volumes, tell the caller
 *   detach   control reactor   stop what is being done; remove the volumes' devices, which go when
 *                              nobody uses them
 *            owner             unload: masks, then the super block that says "clean"
 *            control reactor   close the device, tell the caller
 *
 * The owner is the reactor that the device below lives on. Nothing is written when the store is
 * only looked at (is_read_only), when the device cannot be written, or when it says that it holds
 * more than can be read. A device that goes takes its store with it: nothing can be written then,
 * and the next load recovers.
 */
#include "lib/xbdev/lvol/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/lvol/load.h"
#include "lib/xbdev/lvol/op_private.h"

/* ---- volumes ---- */

/* On the owner: one for each blob that is one. */
static int make_volumes(struct xbdev_lvol_store *store)
{
	for (uint32_t i = 0; i < store->lvs->nr_blobs; i++) {
		struct xbdev_lvs_blob *blob = store->lvs->blobs[i];
		struct xbdev_lvol *volume;

		if (!xbdev__lvs_blob_is_volume(blob)) {
			continue;
		}
		volume = xbdev__lvol_new(store, blob);
		if (volume == NULL) {
			return -ENOMEM;
		}
		xu_list_add_tail(&store->volumes, &volume->link);
	}
	for (struct xu_list *node = store->volumes.next; node != &store->volumes;
		node = node->next) {
		struct xbdev_lvol *volume = xu_list_entry(node, struct xbdev_lvol, link);

		xbdev__lvol_look(volume, &volume->shown);
	}
	return 0;
}

static void register_volumes(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		const struct xu_error *reason = volume->shown.reason;
		struct xu_error err;

		if (xbdev__lvol_register(volume, &err) != 0) {
			reason = &err;
		}
		if (reason != NULL) {
			xu_warn(xbdev_ctx_log(store->ctx), "store %s: volume %s is not served: %s",
				store->lvs->name, volume->shown.name, reason->text);
		}
	}
}

/* ---- the way back ---- */

static void on_closed(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);
	struct xu_error err = store->err;
	void (*attached)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err) =
		store->attached;
	void (*detached)(void *arg, const struct xu_error *err) = store->detached;
	void *arg = store->arg;

	xbdev__lvol_free_all(store);
	if (store->desc != NULL) {
		xbdev_desc_close(store->desc);
	}
	free(store);
	if (attached != NULL) {
		attached(arg, NULL, &err);
	} else if (detached != NULL) {
		detached(arg, err.code != 0 ? &err : NULL);
	}
}

/* On the owner: gives back what it has. */
static void close_here(struct xbdev_lvol_store *store)
{
	if (store->children.memory != NULL) {
		xbdev__lvol_io_fini(store);
	}
	if (store->lvs != NULL) {
		xbdev__lvs_write_fini(store->lvs);
		xbdev__lvs_free(store->lvs);
		store->lvs = NULL;
	}
	if (store->ch != NULL) {
		xbdev_channel_put(store->ch);
	}
	store->msg.fn = on_closed;
	xr_msg_send(xbdev_ctx_control(store->ctx), &store->msg);
}

static void fail_here(struct xbdev_lvol_store *store, const struct xu_error *err)
{
	store->err = *err;
	close_here(store);
}

/* ---- attaching ---- */

static void on_register(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);
	void (*attached)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err) =
		store->attached;
	const struct xu_error none = {0};

	store->attached = NULL;
	store->is_serving = true;
	register_volumes(store);
	attached(store->arg, store, NULL);
	xbdev__lvol_reap(store, NULL, NULL, &none);
	if (store->is_base_gone) {
		xbdev__lvol_detach(store, NULL, NULL);
	}
}

static void on_recovered(void *arg, const struct xu_error *err)
{
	struct xbdev_lvol_store *store = arg;
	struct xu_error no_memory;

	if (err != NULL && err->code != 0) {
		fail_here(store, err);
		return;
	}
	if (make_volumes(store) != 0) {
		xu_error_set_errno(&no_memory, -ENOMEM, "store '%s'", store->lvs->name);
		fail_here(store, &no_memory);
		return;
	}
	store->msg.fn = on_register;
	xr_msg_send(xbdev_ctx_control(store->ctx), &store->msg);
}

static void on_loaded(void *arg, struct xbdev_lvs *lvs, const struct xu_error *err)
{
	struct xbdev_lvol_store *store = arg;
	struct xu_error no_memory;
	int rc;

	if (lvs == NULL) {
		fail_here(store, err);
		return;
	}
	store->lvs = lvs;
	rc = xbdev__lvol_io_init(store);
	if (rc == 0) {
		rc = xbdev__lvs_write_init(lvs);
	}
	if (rc != 0) {
		xu_error_set_errno(&no_memory, rc, "store '%s'", lvs->name);
		fail_here(store, &no_memory);
		return;
	}
	if (store->is_read_only) {
		on_recovered(store, NULL);
	} else {
		xbdev__lvs_recover(lvs, on_recovered, store);
	}
}

static void on_owner(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);
	int rc = xbdev_channel_get(store->desc, store->reactor, &store->ch);
	struct xu_error err;

	if (rc != 0) {
		xu_error_set_errno(&err, rc, "using '%s'", store->desc->dev->name);
		fail_here(store, &err);
		return;
	}
	xbdev__lvs_load(store->ch, store->desc->dev->name, on_loaded, store);
}

static void on_base_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct xbdev_lvol_store *store = arg;

	if (event == XBDEV_EVENT_RESIZE) {
		return; /* the store keeps its size until it is told to grow */
	}
	store->is_base_gone |= event == XBDEV_EVENT_REMOVE;
	if (store->is_serving) {
		xbdev__lvol_detach(store, NULL, NULL);
	} else {
		store->is_base_gone = true; /* seen to when it has been attached */
	}
}

void xbdev__lvol_attach(struct xbdev_ctx *ctx, const char *device, bool is_read_only,
	void (*done)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err),
	void *arg)
{
	const struct xbdev_device *dev = xbdev_device_find(ctx, device);
	struct xbdev_lvol_store *store = calloc(1, sizeof(*store));
	struct xu_error err;
	int rc;

	if (store == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "the store on '%s'", device);
		done(arg, NULL, &err);
		return;
	}
	store->ctx = ctx;
	store->attached = done;
	store->arg = arg;
	store->is_read_only = is_read_only || (dev != NULL && dev->is_read_only);
	xu_list_init(&store->volumes);
	xu_list_init(&store->ops);
	rc = xbdev_desc_open(
		ctx, device, !store->is_read_only, on_base_event, store, &store->desc, &store->err);
	if (rc == 0) {
		rc = xbdev_desc_claim(store->desc, "a store of logical volumes", &store->err);
	}
	if (rc != 0) {
		store->msg.fn = on_closed;
		xr_msg_send(xbdev_ctx_control(ctx), &store->msg);
		return;
	}
	dev = store->desc->dev;
	store->reactor =
		dev->is_multi_reactor ? xbdev_ctx_next_owner(ctx, dev->numa_node) : dev->owner;
	store->msg.fn = on_owner;
	xr_msg_send(store->reactor, &store->msg);
}

/* ---- detaching ---- */

static void on_unloaded(void *arg, const struct xu_error *err)
{
	struct xbdev_lvol_store *store = arg;

	if (err != NULL && err->code != 0) {
		store->err = *err;
		xu_warn(xbdev_ctx_log(store->ctx), "store %s stays unclean: %s", store->lvs->name,
			err->text);
	}
	close_here(store);
}

static void on_unload(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);

	if (store->is_read_only || store->is_base_gone) {
		on_unloaded(store, NULL);
	} else {
		xbdev__lvs_unload(store->lvs, on_unloaded, store);
	}
}

static void remove_volumes(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		if (volume->is_registered) { /* -EBUSY: it is going already */
			xbdev_device_remove(&volume->dev, NULL, NULL);
		}
	}
}

void xbdev__lvol_store_settle(struct xbdev_lvol_store *store)
{
	if (store->is_detaching && !store->is_unloading && store->nr_registered == 0 &&
		xu_list_is_empty(&store->ops)) {
		store->is_unloading = true;
		store->msg.fn = on_unload;
		xr_msg_send(store->reactor, &store->msg);
	}
}

void xbdev__lvol_detach(struct xbdev_lvol_store *store,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct xbdev_lvol *volume = NULL;

	if (store->is_detaching) {
		struct xu_error err;

		xu_error_set(
			&err, -EBUSY, "store '%s' is being given up already", store->lvs->name);
		if (done != NULL) {
			done(arg, &err);
		}
		return;
	}
	store->is_detaching = true;
	store->detached = done;
	store->arg = arg;
	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		if (volume->op != NULL && volume->op->can_be_cancelled) {
			atomic_store(&volume->op->is_cancelled, true);
		}
	}
	remove_volumes(store);
	xbdev__lvol_store_settle(store);
}
