/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of a context's stores, and what is done with a store as a whole. A store is in the list
 * from the moment that its name is known to be nobody else's; it is shown when its volumes have
 * been registered, and until it is given up.
 *
 *   rename   control reactor   the volumes' devices and the store have the new name
 *            owner             the name in the store's own blob, durably
 *            control reactor   tells the caller; after an error all have the old name again
 *   destroy  as detach, with the super block erased behind the unload
 */
#include "lib/xbdev/lvol/stores.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/log.h"
#include "lib/xbdev/lvol/stores_private.h"

#define SMALL_CLUSTER (16u << 10) /* below it the metadata ratio is lower by default */

/* ---- the list ---- */

static void stores_free(struct xbdev_ctx_part *part)
{
	struct xbdev_lvol_stores *stores = xu_container_of(part, struct xbdev_lvol_stores, part);

	xbdev__lvol_find_fini(stores);
	free(stores);
}

static struct xbdev_lvol_stores *stores_of(struct xbdev_ctx *ctx)
{
	struct xbdev_ctx_part *part = xbdev_ctx_find_part(ctx, stores_free);

	return part != NULL ? xu_container_of(part, struct xbdev_lvol_stores, part) : NULL;
}

struct xbdev_lvol_stores *xbdev__lvol_stores(struct xbdev_ctx *ctx)
{
	struct xbdev_lvol_stores *stores = stores_of(ctx);

	if (stores != NULL) {
		return stores;
	}
	stores = calloc(1, sizeof(*stores));
	if (stores != NULL) {
		stores->ctx = ctx;
		stores->part.free = stores_free;
		xu_list_init(&stores->stores);
		xu_list_init(&stores->looks);
		xu_list_init(&stores->waits);
		xu_list_init(&stores->refused);
		xbdev__lvol_esnaps_init(stores);
		xbdev_ctx_add_part(ctx, &stores->part);
	}
	return stores;
}

int xbdev__lvol_stores_init(struct xbdev_ctx *ctx)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(ctx);

	if (stores == NULL) {
		return -ENOMEM;
	}
	xbdev__lvol_find_init(stores);
	return 0;
}

static struct xbdev_lvol_store *store_of(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_lvol_store, link);
}

static struct xbdev_lvol_store *find_name(const struct xbdev_lvol_stores *stores, const char *name)
{
	struct xu_list *node;

	xu_list_for_each (node, &stores->stores) {
		if (strcmp(store_of(node)->name, name) == 0) {
			return store_of(node);
		}
	}
	return NULL;
}

static int name_taken(const struct xbdev_lvol_store *other, const char *name, struct xu_error *err)
{
	return xu_error_set(err, -EEXIST,
		"there is a store named '%s' already%s%s; detach or rename that one first", name,
		other->desc != NULL ? ", on " : "",
		other->desc != NULL ? other->desc->dev->name : "");
}

int xbdev__lvol_store_enlist(struct xbdev_lvol_store *store, const char *name,
	const struct xu_uuid *uuid, struct xu_error *err)
{
	struct xbdev_lvol_stores *stores = xbdev__lvol_stores(store->ctx);
	const struct xbdev_lvol_store *other;
	struct xu_list *node;

	if (stores == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "store '%s'", name);
	}
	snprintf(store->claim_text, sizeof(store->claim_text),
		"the store of logical volumes '%s', which can be detached", name);
	if (xu_list_is_linked(&store->link)) {
		return 0; /* it is new, and has had its name from the beginning */
	}
	other = find_name(stores, name);
	if (other != NULL) {
		return name_taken(other, name, err);
	}
	xu_list_for_each (node, &stores->stores) {
		other = store_of(node);
		if (xu_uuid_is_equal(&other->uuid, uuid)) {
			return xu_error_set(err, -EEXIST,
				"it is store '%s' once more, which is attached already: one of the "
				"two devices is a copy of the other, or lies on it",
				other->name);
		}
	}
	snprintf(store->name, sizeof(store->name), "%s", name);
	store->uuid = *uuid;
	xu_list_add_tail(&stores->stores, &store->link);
	return 0;
}

static bool is_shown(const struct xbdev_lvol_store *store)
{
	return store->is_serving && !store->is_detaching;
}

struct xbdev_lvol_store *xbdev__lvol_store_next(
	struct xbdev_ctx *ctx, struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_stores *stores = stores_of(ctx);
	struct xu_list *node;

	if (stores == NULL) {
		return NULL;
	}
	node = store == NULL ? stores->stores.next : store->link.next;
	while (node != &stores->stores && !is_shown(store_of(node))) {
		node = node->next;
	}
	return node != &stores->stores ? store_of(node) : NULL;
}

struct xbdev_lvol_store *xbdev__lvol_store_find(struct xbdev_ctx *ctx, const char *name_or_uuid)
{
	struct xbdev_lvol_store *store = NULL;
	struct xu_uuid uuid;

	while ((store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		if (strcmp(store->name, name_or_uuid) == 0) {
			return store;
		}
	}
	if (xu_uuid_parse(name_or_uuid, &uuid) != 0) {
		return NULL;
	}
	while ((store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		if (xu_uuid_is_equal(&store->uuid, &uuid)) {
			return store;
		}
	}
	return NULL;
}

/* ---- what there is to know ---- */

/* Clusters that a volume has when it is full; once nobody can write to it, it does not get more. */
static uint64_t promised(const struct xbdev_lvol *volume)
{
	bool is_writable =
		volume->is_registered ? !volume->dev.is_read_only : !volume->shown.is_read_only;

	return is_writable ? volume->shown.nr_clusters
			   : atomic_load_explicit(&volume->nr_allocated, memory_order_relaxed);
}

void xbdev__lvol_store_info(const struct xbdev_lvol_store *store, struct xbdev_lvol_store_info *ret)
{
	uint64_t nr_used =
		atomic_load_explicit(&store->lvs->clusters.nr_set, memory_order_relaxed) -
		store->nr_md_clusters;
	struct xbdev_lvol *volume = NULL;

	*ret = (struct xbdev_lvol_store_info){
		.name = store->name,
		.uuid = store->uuid,
		.device = store->desc->dev->name,
		.cluster_size = store->cluster_size,
		.total_clusters = store->total_clusters,
		/* The owner may have grown already. */
		.free_clusters =
			nr_used < store->total_clusters ? store->total_clusters - nr_used : 0,
		.block_size = store->block_size,
		.read_only_reason = atomic_load(&store->read_only_text),
	};
	if (ret->read_only_reason == NULL && store->is_read_only) {
		ret->read_only_reason = "its device can only be read";
	}
	while ((volume = xbdev__lvol_next((struct xbdev_lvol_store *)store, volume)) != NULL) {
		ret->promised_clusters += promised(volume);
		ret->nr_volumes += !volume->shown.is_hidden;
	}
}

/* ---- operations ---- */

/* The end of what is done with a store. */
struct task {
	xbdev_lvol_done_fn done;
	void *arg;
	struct xbdev_lvol_store *store;
	struct xbdev_lvs_waiter waiter;
	struct xr_msg msg;
	struct xu_error err;
	char name[XBDEV_LVS_NAME_BYTES]; /* old, at the end */
	uint64_t total_clusters;
};

static void end(struct task *task)
{
	task->done(task->arg, &task->err);
	free(task);
}

static void on_end(struct xr_msg *msg)
{
	end(xu_container_of(msg, struct task, msg));
}

/* Ends it later, with task->err. */
static void end_later(struct xbdev_ctx *ctx, struct task *task)
{
	task->msg.fn = on_end;
	xr_msg_defer(xbdev_ctx_control(ctx), &task->msg);
}

static struct task *task_new(
	struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg, const char *what)
{
	struct task *task = calloc(1, sizeof(*task));
	struct xu_error err;

	if (task == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "%s", what);
		done(arg, &err);
		return NULL;
	}
	task->store = store;
	task->done = done;
	task->arg = arg;
	return task;
}

int xbdev__lvol_store_check_changeable(const struct xbdev_lvol_store *store, struct xu_error *err)
{
	const char *why = atomic_load(&store->read_only_text);

	if (!is_shown(store)) {
		return xu_error_set(err, -ENODEV, "store '%s' is being given up", store->name);
	}
	if (store->is_changing) {
		return xu_error_set(err, -EBUSY,
			"store '%s' is being changed; wait for the end of that", store->name);
	}
	if (why != NULL || store->is_read_only) {
		return xu_error_set(err, -EROFS, "store '%s' cannot be changed: %s", store->name,
			why != NULL ? why : "its device can only be read");
	}
	return 0;
}

static int check_unused(struct xbdev_lvol_store *store, struct xu_error *err)
{
	struct xbdev_lvol *volume = NULL;

	if (!xu_list_is_empty(&store->ops)) {
		return xu_error_set(err, -EBUSY,
			"something is being done with volumes of store '%s'; try again when that "
			"is over",
			store->name);
	}
	while ((volume = xbdev__lvol_next(store, volume)) != NULL) {
		const struct xbdev_device *dev = &volume->dev;

		if (volume->is_registered && !xu_list_is_empty(&dev->descs)) {
			return xu_error_set(err, -EBUSY,
				"volume '%s' is in use%s%s; close it first", dev->name,
				dev->claim != NULL ? " by " : "",
				dev->claim != NULL ? dev->claim_by : "");
		}
	}
	return 0;
}

/* ---- create, destroy ---- */

static void on_created(void *arg, struct xbdev_lvol_store *store, const struct xu_error *err)
{
	struct task *task = arg;

	if (store == NULL) {
		task->err = *err;
	} else {
		xu_info(xbdev_ctx_log(store->ctx),
			"store %s: made on %s, %llu clusters of %llu bytes", store->name,
			store->desc->dev->name, (unsigned long long)store->total_clusters,
			(unsigned long long)store->cluster_size);
		xbdev__lvol_forget_refused(store->ctx, store->desc->dev->name);
	}
	end(task);
}

/* With SPDK's ratio the metadata of small clusters would be as large as the device. A page tells of
 * 512 clusters, so that a fraction suffices: a sixteenth of the device. */
static uint32_t ratio_for(uint32_t cluster_size)
{
	return cluster_size != 0 && cluster_size < SMALL_CLUSTER
		       ? (uint32_t)((uint64_t)cluster_size * 100 / 16 / XBDEV_LVS_PAGE_BYTES)
		       : XBDEV_LVS_MD_RATIO_DEFAULT;
}

void xbdev__lvol_store_create(struct xbdev_ctx *ctx, const char *device,
	const struct xbdev_lvs_create_opts *opts, xbdev_lvol_done_fn done, void *arg)
{
	struct task *task = task_new(NULL, done, arg, "making a store of logical volumes");
	struct xbdev_lvs_create_opts with_ratio = *opts;

	if (with_ratio.md_ratio == 0) {
		with_ratio.md_ratio = ratio_for(opts->cluster_size);
	}
	if (task != NULL) {
		xbdev__lvol_attach_new(ctx, device, &with_ratio, on_created, task);
	}
}

static void on_destroyed(void *arg, const struct xu_error *err)
{
	struct task *task = arg;

	if (err != NULL && err->code != 0) {
		task->err = *err;
		xu_error_prefix(&task->err, "the store may still be there");
	}
	end(task);
}

void xbdev__lvol_store_destroy(struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg)
{
	struct task *task = task_new(store, done, arg, "destroying a store");

	if (task == NULL) {
		return;
	}
	if (xbdev__lvol_store_check_changeable(store, &task->err) != 0 ||
		check_unused(store, &task->err) != 0) {
		end_later(store->ctx, task);
		return;
	}
	xu_info(xbdev_ctx_log(store->ctx), "store %s: destroyed, on %s", store->name,
		store->desc->dev->name);
	store->is_dropping = true;
	xbdev__lvol_detach(store, on_destroyed, task);
}

/* ---- rename ---- */

/* Gives all volumes' devices the new first part; those before `until` only, when it is not NULL. */
static int rename_devices(struct xbdev_lvol_store *store, const char *to,
	const struct xbdev_lvol *until, struct xbdev_lvol **ret_failed, struct xu_error *err)
{
	char name[2 * XBDEV_LVS_NAME_BYTES + 1];
	struct xbdev_lvol *volume = NULL;

	while ((volume = xbdev__lvol_next(store, volume)) != NULL && volume != until) {
		int rc = 0;

		snprintf(name, sizeof(name), "%s/%s", to, volume->shown.name);
		if (volume->is_registered) {
			rc = xbdev_device_rename(&volume->dev, name, err);
		}
		if (rc != 0) {
			*ret_failed = volume;
			return rc;
		}
	}
	return 0;
}

static int take_name(struct xbdev_lvol_store *store, const char *name, struct xu_error *err)
{
	struct xbdev_lvol *failed, *undone;
	struct xu_error ignored;
	int rc = rename_devices(store, name, NULL, &failed, err);

	if (rc != 0) {
		(void)rename_devices(store, store->name, failed, &undone, &ignored);
		return rc;
	}
	snprintf(store->name, sizeof(store->name), "%s", name);
	snprintf(store->claim_text, sizeof(store->claim_text),
		"the store of logical volumes '%s', which can be detached", name);
	return 0;
}

static void on_renamed(struct xr_msg *msg)
{
	struct task *task = xu_container_of(msg, struct task, msg);
	struct xbdev_lvol_store *store = task->store;
	struct xu_error err;

	/* Who has opened one meanwhile keeps the name that it has had since. */
	if (task->err.code != 0 && take_name(store, task->name, &err) != 0) {
		xu_warn(xbdev_ctx_log(store->ctx),
			"store %s: called so until it is attached again: %s", store->name,
			err.text);
	}
	store->is_changing = false;
	xbdev__lvol_store_settle(store);
	end(task);
}

/* On the owner. */
static int set_name(struct xbdev_lvs *lvs, const char *name, struct xu_error *err)
{
	int rc = xbdev__lvs_blob_set_name(lvs->super_blob, name);

	if (rc != 0) {
		return xu_error_set_errno(err, rc, "renaming store '%s'", lvs->name);
	}
	rc = xbdev__lvs_blob_derive(lvs->super_blob, err);
	return rc == 0 ? xbdev__lvs_blob_touch(lvs->super_blob, err) : rc;
}

static void go_home(struct task *task)
{
	task->msg.fn = on_renamed;
	xr_msg_send(xbdev_ctx_control(task->store->ctx), &task->msg);
}

static void on_name_written(struct xbdev_lvs_waiter *waiter, int status)
{
	struct task *task = xu_container_of(waiter, struct task, waiter);
	struct xbdev_lvs *lvs = task->store->lvs;
	struct xu_error ignored;

	if (status != 0) {
		xu_error_set_errno(&task->err, status, "renaming store '%s'", task->name);
		/* The next commit writes the old one, wherever this one got to. */
		(void)set_name(lvs, task->name, &ignored);
	}
	memcpy(lvs->name, lvs->super_blob->name, sizeof(lvs->name));
	go_home(task);
}

static void on_rename(struct xr_msg *msg)
{
	struct task *task = xu_container_of(msg, struct task, msg);
	struct xbdev_lvs *lvs = task->store->lvs;
	char old[XBDEV_LVS_NAME_BYTES];
	struct xu_error ignored;

	memcpy(old, lvs->name, sizeof(old));
	if (set_name(lvs, task->name, &task->err) != 0) {
		(void)set_name(lvs, old, &ignored);
		memcpy(task->name, old, sizeof(old));
		go_home(task);
		return;
	}
	memcpy(task->name, old, sizeof(old));
	task->waiter.fn = on_name_written;
	xbdev__lvs_commit(lvs, &task->waiter);
}

static int check_rename(struct xbdev_lvol_store *store, const char *name, struct xu_error *err)
{
	const struct xbdev_lvol_store *other = find_name(stores_of(store->ctx), name);
	int rc = xbdev__lvol_store_check_changeable(store, err);

	if (rc == 0) {
		rc = xbdev__lvs_check_name(name, err);
	}
	if (rc == 0 && other != NULL) {
		rc = name_taken(other, name, err);
	}
	return rc == 0 ? check_unused(store, err) : rc;
}

void xbdev__lvol_store_rename(
	struct xbdev_lvol_store *store, const char *name, xbdev_lvol_done_fn done, void *arg)
{
	struct task *task = task_new(store, done, arg, "renaming a store");

	if (task == NULL) {
		return;
	}
	if (check_rename(store, name, &task->err) != 0 || take_name(store, name, &task->err) != 0) {
		end_later(store->ctx, task);
		return;
	}
	store->is_changing = true;
	snprintf(task->name, sizeof(task->name), "%s", name);
	task->msg.fn = on_rename;
	xr_msg_send(store->reactor, &task->msg);
}

/* ---- grow ---- */

static void on_grown(struct xr_msg *msg)
{
	struct task *task = xu_container_of(msg, struct task, msg);
	struct xbdev_lvol_store *store = task->store;

	if (task->err.code == 0) {
		store->total_clusters = task->total_clusters;
		xu_info(xbdev_ctx_log(store->ctx), "store %s: grown to %llu clusters", store->name,
			(unsigned long long)store->total_clusters);
	}
	store->is_changing = false;
	xbdev__lvol_store_settle(store);
	end(task);
}

static void on_grown_there(void *arg, const struct xu_error *err)
{
	struct task *task = arg;

	task->err = *err;
	task->total_clusters = xbdev__lvs_data_clusters(task->store->lvs);
	task->msg.fn = on_grown;
	xr_msg_send(xbdev_ctx_control(task->store->ctx), &task->msg);
}

static void on_grow(struct xr_msg *msg)
{
	struct task *task = xu_container_of(msg, struct task, msg);

	xbdev__lvs_grow(task->store->lvs, on_grown_there, task);
}

void xbdev__lvol_store_grow(struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg)
{
	struct task *task = task_new(store, done, arg, "growing a store");

	if (task == NULL) {
		return;
	}
	if (xbdev__lvol_store_check_changeable(store, &task->err) != 0) {
		end_later(store->ctx, task);
		return;
	}
	store->is_changing = true;
	task->msg.fn = on_grow;
	xr_msg_send(store->reactor, &task->msg);
}
