/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store between its device and its volumes' devices.
 *
 *   attach   control reactor   open and claim the device
 *            owner             channel, load; or make it, when the device is blank
 *            control reactor   take its name, which no other store may have
 *            owner             recover
 *            control reactor   register the volumes, tell the caller
 *   detach   control reactor   stop what is being done; remove the volumes' devices, which go when
 *                              nobody uses them
 *            owner             unload: masks, then the super block that says "clean"; or erase it
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
#include "lib/xbdev/lvol/stores_private.h"

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
		struct xbdev_lvol_shown shown;

		xbdev__lvol_look(volume, &shown);
		xbdev__lvol_show(volume, &shown);
	}
	return 0;
}

static void register_volumes(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		const struct xu_error *reason = volume->shown.reason != NULL
							? volume->shown.reason
							: xbdev__lvol_esnap_missing(volume);
		struct xu_error err;

		if (xbdev__lvol_register(volume, &err) != 0) {
			reason = &err;
		}
		if (reason != NULL) {
			xu_warn(xbdev_ctx_log(store->ctx), "store %s: volume %s is not served: %s",
				store->name, volume->shown.name, reason->text);
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
	xu_list_del(&store->link);
	if (store->desc != NULL) {
		xbdev_desc_close(store->desc);
	}
	free(store->opts);
	free(store);
	if (attached != NULL) {
		attached(arg, NULL, &err);
	} else if (detached != NULL) {
		detached(arg, err.code != 0 ? &err : NULL);
	}
}

static void close_here(struct xbdev_lvol_store *store);

static void on_close(struct xr_msg *msg)
{
	close_here(xu_container_of(msg, struct xbdev_lvol_store, msg));
}

/* On the owner: gives back what it has. */
static void close_here(struct xbdev_lvol_store *store)
{
	if (store->space.is_sent) { /* a message of its own is under way, and comes first */
		store->msg.fn = on_close;
		xr_msg_defer(store->reactor, &store->msg);
		return;
	}
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

void xbdev__lvol_store_serve(struct xbdev_lvol_store *store)
{
	void (*attached)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err) =
		store->attached;
	const struct xu_error none = {0};

	store->attached = NULL;
	store->is_serving = true;
	if (!store->is_ending && !store->is_unwanted) {
		register_volumes(store);
	}
	attached(store->arg, store, NULL);
	xbdev__lvol_reap(store, NULL, NULL, &none);
	if ((store->is_base_gone || store->is_ending || store->is_unwanted) &&
		!store->is_detaching) {
		xbdev__lvol_detach(store, NULL, NULL);
	}
}

static void on_register(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);

	xbdev__lvol_esnaps_gather(store);
	if (store->nr_opening == 0) {
		xbdev__lvol_store_serve(store);
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

static void on_named(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);

	if (store->err.code != 0) {
		close_here(store);
	} else if (store->is_read_only) {
		on_recovered(store, NULL);
	} else {
		xbdev__lvs_recover(store->lvs, on_recovered, store);
	}
}

/* Before anything is written: which store it is, and whether there is another of its name. */
static void on_name(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);

	(void)xbdev__lvol_store_enlist(store, store->lvs->name, &store->lvs->uuid, &store->err);
	store->msg.fn = on_named;
	xr_msg_send(store->reactor, &store->msg);
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
	store->cluster_size = lvs->super.cluster_size;
	store->block_size = lvs->block_size;
	store->total_clusters = xbdev__lvs_data_clusters(lvs);
	store->nr_md_clusters = lvs->super.nr_md_clusters;
	lvs->owner = store;
	xbdev__lvol_store_publish(store);
	rc = xbdev__lvol_io_init(store);
	if (rc == 0) {
		rc = xbdev__lvs_write_init(lvs);
	}
	if (rc != 0) {
		xu_error_set_errno(&no_memory, rc, "store '%s'", lvs->name);
		fail_here(store, &no_memory);
		return;
	}
	store->msg.fn = on_name;
	xr_msg_send(xbdev_ctx_control(store->ctx), &store->msg);
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
	if (store->opts != NULL) {
		xbdev__lvs_create(store->ch, store->desc->dev->name, store->opts, on_loaded, store);
	} else {
		xbdev__lvs_load(store->ch, store->desc->dev->name, on_loaded, store);
	}
}

static void on_base_event(struct xbdev_desc *desc, enum xbdev_event event, void *arg)
{
	struct xbdev_lvol_store *store = arg;

	if (event == XBDEV_EVENT_RESIZE) {
		return; /* the store keeps its size until it is told to grow */
	}
	store->is_base_gone |= event == XBDEV_EVENT_REMOVE;
	store->is_ending |= event == XBDEV_EVENT_END;
	if (store->is_serving && !store->is_detaching) {
		xbdev__lvol_detach(store, NULL, NULL);
	} /* else it is seen to when it has been attached */
}

bool xbdev__lvol_is_base(const struct xbdev_device *dev)
{
	return dev->claim != NULL && dev->claim->event_cb == on_base_event;
}

/* On the control reactor: it ends before the owner has heard of it. */
static void fail_early(struct xbdev_lvol_store *store)
{
	store->msg.fn = on_closed;
	xr_msg_send(xbdev_ctx_control(store->ctx), &store->msg);
}

static void go_to_owner(struct xbdev_lvol_store *store)
{
	const struct xbdev_device *dev = store->desc->dev;

	store->reactor = dev->is_multi_reactor ? xbdev_ctx_next_owner(store->ctx, dev->numa_node)
					       : dev->owner;
	store->msg.fn = on_owner;
	xr_msg_send(store->reactor, &store->msg);
}

static int open_base(struct xbdev_lvol_store *store, const char *device)
{
	int rc = xbdev_desc_open(store->ctx, device, !store->is_read_only, on_base_event, store,
		&store->desc, &store->err);

	snprintf(store->claim_text, sizeof(store->claim_text), "a store of logical volumes");
	return rc == 0 ? xbdev_desc_claim(store->desc, store->claim_text, &store->err) : rc;
}

static struct xbdev_lvol_store *store_new(struct xbdev_ctx *ctx,
	void (*done)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err),
	void *arg)
{
	struct xbdev_lvol_store *store = calloc(1, sizeof(*store));

	if (store != NULL) {
		store->ctx = ctx;
		store->attached = done;
		store->arg = arg;
		xu_list_init(&store->volumes);
		xu_list_init(&store->ops);
		xu_list_init(&store->esnaps);
		xu_list_init(&store->here);
		store->epoch = 1;
		xu_list_init(&store->link);
	}
	return store;
}

void xbdev__lvol_attach(struct xbdev_ctx *ctx, const char *device, bool is_read_only,
	void (*done)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err),
	void *arg)
{
	const struct xbdev_device *dev = xbdev_device_find(ctx, device);
	struct xbdev_lvol_store *store = store_new(ctx, done, arg);
	struct xu_error err;

	if (store == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "the store on '%s'", device);
		done(arg, NULL, &err);
		return;
	}
	store->is_read_only = is_read_only || (dev != NULL && dev->is_read_only);
	if (open_base(store, device) == 0) {
		go_to_owner(store);
	} else {
		fail_early(store);
	}
}

/* ---- making ---- */

static void on_blank(void *arg, const struct xu_error *err)
{
	struct xbdev_lvol_store *store = arg;

	if (err->code != 0 || store->is_base_gone || store->is_ending) {
		store->err = *err;
		if (err->code == 0) {
			xu_error_set(&store->err, -ENODEV, "the device '%s' is going",
				store->desc->dev->name);
		}
		fail_early(store);
	} else {
		go_to_owner(store);
	}
}

static int start_new(struct xbdev_lvol_store *store, const char *device,
	const struct xbdev_lvs_create_opts *opts)
{
	int rc = xbdev__lvs_check_name(opts->name, &store->err);

	if (rc != 0) {
		return rc;
	}
	store->opts = malloc(sizeof(*store->opts));
	if (store->opts == NULL) {
		return xu_error_set_errno(&store->err, -ENOMEM, "making store '%s'", opts->name);
	}
	*store->opts = *opts;
	if (xu_uuid_is_null(&opts->uuid)) {
		store->opts->uuid =
			xu_uuid_random(xr_reactor_random(xbdev_ctx_control(store->ctx)));
	}
	rc = xbdev__lvol_store_enlist(store, opts->name, &store->opts->uuid, &store->err);
	store->opts->name = store->name;
	return rc == 0 ? open_base(store, device) : rc;
}

void xbdev__lvol_attach_new(struct xbdev_ctx *ctx, const char *device,
	const struct xbdev_lvs_create_opts *opts,
	void (*done)(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err),
	void *arg)
{
	struct xbdev_lvol_store *store = store_new(ctx, done, arg);
	struct xu_error err;

	if (store == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making store '%s'", opts->name);
		done(arg, NULL, &err);
	} else if (start_new(store, device, opts) == 0) {
		xbdev__lvol_look_blank(ctx, device, on_blank, store);
	} else {
		fail_early(store);
	}
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

static void on_erased(void *arg, const struct xu_error *err)
{
	struct xbdev_lvol_store *store = arg;

	store->err = *err;
	close_here(store);
}

/* Nothing writes any more. Whether it could be unloaded does not matter. */
static void on_dropped(void *arg, const struct xu_error *err)
{
	struct xbdev_lvol_store *store = arg;

	(void)err;
	xbdev__lvs_erase_super(store->ch, store->desc->dev->name, on_erased, store);
}

static void on_unload(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, msg);

	if (store->is_read_only || store->is_base_gone) {
		on_unloaded(store, NULL);
	} else if (store->is_dropping) {
		xbdev__lvs_unload(store->lvs, on_dropped, store);
	} else {
		xbdev__lvs_unload(store->lvs, on_unloaded, store);
	}
}

/* A volume that carries a store goes when that has been detached. When all devices go, volumes do
 * so by themselves, each when nobody stands on it any more. */
static void take_away(struct xbdev_lvol_store *store, struct xbdev_device *dev)
{
	bool has_store = dev->claim != NULL && dev->claim->event_cb == on_base_event;
	struct xbdev_lvol_store *above = has_store ? dev->claim->event_arg : NULL;

	if (store->is_ending) {
		return;
	}
	if (above == NULL || store->is_base_gone) {
		/* -EBUSY: it is going already. */
		xbdev_device_remove(dev, NULL, NULL);
		return;
	}
	dev->is_doomed = true;
	if (!above->is_serving) {
		above->is_unwanted = true;
	} else if (!above->is_detaching) {
		xbdev__lvol_detach(above, NULL, NULL);
	}
}

static void remove_volumes(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		if (volume->is_registered) {
			take_away(store, &volume->dev);
		}
	}
}

void xbdev__lvol_store_settle(struct xbdev_lvol_store *store)
{
	xbdev__lvol_esnaps_settle(store);
	if (store->is_detaching && !store->is_unloading && !store->is_changing &&
		store->nr_registered == 0 && xu_list_is_empty(&store->ops) &&
		xu_list_is_empty(&store->esnaps)) {
		store->is_unloading = true;
		store->msg.fn = on_unload;
		xr_msg_send(store->reactor, &store->msg);
	}
}

void xbdev__lvol_detach(struct xbdev_lvol_store *store,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	struct xu_list *node;

	if (store->is_detaching) {
		struct xu_error err;

		xu_error_set(&err, -EBUSY, "store '%s' is being given up already", store->name);
		if (done != NULL) {
			done(arg, &err);
		}
		return;
	}
	store->is_detaching = true;
	store->detached = done;
	store->arg = arg;
	xu_list_for_each (node, &store->ops) {
		struct xbdev_lvol_op *op = xu_list_entry(node, struct xbdev_lvol_op, link);

		if (op->can_be_cancelled) {
			atomic_store(&op->is_cancelled, true);
		}
	}
	remove_volumes(store);
	xbdev__lvol_store_settle(store);
}
