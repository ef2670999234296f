/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all operations on volumes have in common; see op_private.h for their course.
 *
 * An operation belongs to control until it is started, then to the owner until it ends, then to
 * control. Metadata writes that fail are tried again a few times, as the marks are still there.
 * When they fail for good, nobody knows what the disk has: the store is read-only from then on,
 * reads go on as the model says, and the next load finds the one state or the other.
 *
 * A store that is being given up takes no new operations, stops those that can be stopped, and
 * waits for all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/lvol/op_private.h"
#include "lib/xbdev/lvol/stores.h"

#define MAX_TRIES   4u
#define TRY_WAIT_NS (20 * XU_NS_PER_MS)

/* Cleared at a time: progress is seen, and a cancel heard, this often. */
#define CLEAR_BYTES (64ull << 20)

/* ---- control: may it be done? ---- */

static const char *name_of(const struct xbdev_lvol *volume)
{
	return volume->shown.name;
}

static void check(struct xbdev_lvol_op *op, const struct xbdev_lvol *volume, bool is_alone)
{
	if (op->err.code != 0 || volume == NULL) {
		return;
	}
	if (volume->op != NULL) {
		xu_error_set(&op->err, -EBUSY,
			"volume '%s' is being %s; try again when that is over", name_of(volume),
			volume->op->what);
	} else if (is_alone && volume->nr_holds > 0) {
		xu_error_set(&op->err, -EBUSY,
			"volume '%s' is needed by another operation; try again when that is over",
			name_of(volume));
	}
}

static struct xbdev_lvol_op *op_new(
	struct xbdev_lvol_store *store, const char *what, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = calloc(1, sizeof(*op));
	struct xu_error err;

	if (op == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "a change of store '%s'", store->name);
		if (done != NULL) {
			done(arg, &err);
		}
		return NULL;
	}
	op->store = store;
	op->what = what;
	op->done = done;
	op->arg = arg;
	xu_list_add_tail(&store->ops, &op->link);
	if (store->is_detaching) {
		xu_error_set(&op->err, -ENODEV, "store '%s' is being given up", store->name);
	}
	return op;
}

struct xbdev_lvol_op *xbdev__lvol_op_new_look(
	struct xbdev_lvol_store *store, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = op_new(store, "looked at", done, arg);

	if (op != NULL) {
		op->is_look = true;
	}
	return op;
}

struct xbdev_lvol_op *xbdev__lvol_op_new(struct xbdev_lvol_store *store, struct xbdev_lvol *volume,
	const char *what, xbdev_lvol_done_fn done, void *arg)
{
	struct xbdev_lvol_op *op = op_new(store, what, done, arg);

	if (op == NULL) {
		return NULL;
	}
	if (op->err.code == 0 && store->is_read_only) {
		xu_error_set(&op->err, -EROFS,
			"store '%s' is only looked at, or its device '%s' is "
			"read-only",
			store->name, store->lvs->device);
	}
	check(op, volume, true);
	if (op->err.code == 0 && volume != NULL) {
		op->volume = volume;
		volume->op = op;
		xbdev__lvol_esnap_keep(op);
	}
	return op;
}

void xbdev__lvol_op_hold_alone(struct xbdev_lvol_op *op, struct xbdev_lvol *volume)
{
	check(op, volume, true);
	if (op->err.code == 0) {
		op->other = volume;
		volume->op = op;
	}
}

void xbdev__lvol_op_hold(struct xbdev_lvol_op *op, struct xbdev_lvol *volume)
{
	check(op, volume, false);
	if (op->err.code == 0) {
		*(op->held == NULL ? &op->held : &op->held_too) = volume;
		volume->nr_holds++;
	}
}

void xbdev__lvol_op_set_name(struct xbdev_lvol_op *op, const char *name, const struct xu_uuid *uuid)
{
	char full[2 * XBDEV_LVS_NAME_BYTES + 1];

	if (op->err.code != 0 || xbdev__lvs_check_name(name, &op->err) != 0) {
		return;
	}
	memcpy(op->name, name, strlen(name) + 1);
	snprintf(full, sizeof(full), "%s/%s", op->store->name, name);
	if (xbdev_device_check_name(full, &op->err) != 0) {
		return;
	}
	if (xbdev_device_find(op->store->ctx, full) != NULL) {
		xu_error_set(
			&op->err, -EEXIST, "there is a '%s' already; choose another name", full);
		return;
	}
	if (uuid != NULL && !xu_uuid_is_null(uuid)) {
		char text[XU_UUID_TEXT_SIZE];

		op->uuid = *uuid;
		xu_uuid_format(uuid, text);
		if (xbdev_device_find(op->store->ctx, text) != NULL) {
			xu_error_set(&op->err, -EEXIST,
				"there is a device with the UUID %s already", text);
		}
	} else {
		op->uuid = xu_uuid_random(xr_reactor_random(xbdev_ctx_control(op->store->ctx)));
	}
}

void xbdev__lvol_op_check_writable(struct xbdev_lvol_op *op)
{
	const struct xbdev_lvol_shown *shown;

	if (op->err.code != 0) {
		return;
	}
	shown = &op->volume->shown;
	if (shown->is_read_only || shown->is_locked || xbdev__lvol_nr_children(op->volume) > 0) {
		xu_error_set(&op->err, -EROFS,
			"volume '%s' is read-only, or others stand on it; make a clone of it",
			shown->name);
	} else if (op->volume->is_registered && xbdev__lvol_is_esnap(&op->volume->dev)) {
		xu_error_set(&op->err, -EBUSY,
			"volumes of another store stand on '%s': their content would change",
			shown->name);
	} else {
		(void)xbdev__lvol_check_servable(op->volume, &op->err);
	}
}

/* ---- control: there and back ---- */

static void on_begin(struct xr_msg *msg)
{
	struct xbdev_lvol_op *op = xu_container_of(msg, struct xbdev_lvol_op, msg);

	op->begin(op);
}

static void let_go(struct xbdev_lvol_op *op)
{
	if (op->volume != NULL) {
		op->volume->op = NULL;
	}
	if (op->other != NULL) {
		op->other->op = NULL;
	}
	if (op->held != NULL) {
		op->held->nr_holds--;
	}
	if (op->held_too != NULL) {
		op->held_too->nr_holds--;
	}
	if (op->gone != NULL) {
		xbdev__lvol_show(op->gone, &(struct xbdev_lvol_shown){0});
		xbdev__lvol_set_waiting(op->gone, false);
		xu_list_del(&op->gone->link);
		xbdev__lvol_free(op->gone);
	}
	xbdev__lvol_esnap_let_go(op);
	xu_list_del(&op->link);
}

static void tell(struct xbdev_lvol_op *op)
{
	if (op->done != NULL) {
		op->done(op->arg, &op->result);
	}
}

static void on_ended(struct xr_msg *msg)
{
	struct xbdev_lvol_op *op = xu_container_of(msg, struct xbdev_lvol_op, msg);
	struct xbdev_lvol_store *store = op->store;

	for (uint32_t i = 0; i < op->nr_news; i++) {
		struct xbdev_lvol *volume = op->news[i].volume;

		xbdev__lvol_show(volume, &op->news[i].shown);
		if (!xu_list_is_linked(&volume->link)) {
			xu_list_add_tail(&store->volumes, &volume->link);
		}
		xbdev__lvol_esnap_follow(volume);
	}
	if (op->finish != NULL) {
		op->finish(op);
	}
	if (!op->is_reaping) {
		op->result = op->err;
	}
	let_go(op);
	xbdev__lvol_esnaps_gather(store);
	xbdev__lvol_esnaps_serve(store);
	if (op->is_reaping && op->err.code != 0) {
		xu_warn(xbdev_ctx_log(store->ctx), "store %s: %s", store->name, op->err.text);
	}
	xbdev__lvol_esnaps_settle(store);
	/* Who hears that nothing stands on a device any more finds it free. */
	if (!xbdev__lvol_esnap_await(op)) {
		xbdev__lvol_op_conclude(op);
	}
}

void xbdev__lvol_op_conclude(struct xbdev_lvol_op *op)
{
	struct xbdev_lvol_store *store = op->store;

	/* What can go now goes before the caller hears: what he does next must not meet it. */
	if (op->is_look || (op->is_reaping && op->err.code != 0) ||
		!xbdev__lvol_reap(store, op->done, op->arg, &op->result)) {
		tell(op);
	}
	xbdev__lvs_numbers_fini(&op->clusters);
	xbdev__lvs_numbers_fini(&op->indexes);
	xbdev__lvs_numbers_fini(&op->pages);
	free(op->fillers);
	free(op);
	xbdev__lvol_store_settle(store);
}

static void go_home(struct xbdev_lvol_op *op)
{
	op->msg.fn = on_ended;
	xr_msg_send(xbdev_ctx_control(op->store->ctx), &op->msg);
}

static void go_there(struct xbdev_lvol_op *op)
{
	op->msg.fn = on_begin;
	xr_msg_send(op->store->reactor, &op->msg);
}

void xbdev__lvol_op_start(struct xbdev_lvol_op *op, void (*begin)(struct xbdev_lvol_op *op))
{
	op->begin = begin;
	if (op->err.code != 0) {
		op->finish = NULL;
		go_home(op);
	} else {
		go_there(op);
	}
}

static void on_unregistered(void *arg)
{
	go_there(arg);
}

void xbdev__lvol_op_start_alone(struct xbdev_lvol_op *op, void (*begin)(struct xbdev_lvol_op *op))
{
	struct xbdev_lvol *volume = op->volume;

	if (op->err.code == 0 && volume->is_registered) {
		if (!xu_list_is_empty(&volume->dev.descs)) {
			xu_error_set(&op->err, -EBUSY, "volume '%s' is in use%s%s; close it first",
				volume->dev.name, volume->dev.claim != NULL ? " by " : "",
				volume->dev.claim != NULL ? volume->dev.claim_by : "");
		} else if (xbdev_device_remove(&volume->dev, on_unregistered, op) == 0) {
			op->begin = begin;
			return;
		} else {
			xu_error_set(
				&op->err, -EBUSY, "volume '%s' is being removed", volume->dev.name);
		}
	}
	xbdev__lvol_op_start(op, begin);
}

void xbdev__lvol_op_register(struct xbdev_lvol_op *op, struct xbdev_lvol *volume)
{
	struct xu_error err;

	if (op->store->is_detaching || xbdev__lvol_register(volume, &err) == 0) {
		return;
	}
	xu_warn(xbdev_ctx_log(op->store->ctx), "store %s: volume %s is not served: %s",
		op->store->name, name_of(volume), err.text);
	if (op->err.code == 0) {
		op->err = err;
	}
}

int xbdev__lvol_cancel(struct xbdev_lvol *volume, struct xu_error *err)
{
	if (volume->op == NULL || !volume->op->can_be_cancelled) {
		return xu_error_set(err, -ENOENT,
			"nothing is being done with '%s' that can be stopped", name_of(volume));
	}
	atomic_store_explicit(&volume->op->is_cancelled, true, memory_order_relaxed);
	return 0;
}

/* ---- control: what is being made ---- */

struct xbdev_lvol_op *xbdev__lvol_making_next(
	struct xbdev_lvol_store *store, struct xbdev_lvol_op *making)
{
	struct xu_list *node = making == NULL ? store->ops.next : making->link.next;

	for (; node != &store->ops; node = node->next) {
		struct xbdev_lvol_op *op = xu_list_entry(node, struct xbdev_lvol_op, link);

		if (op->is_making) {
			return op;
		}
	}
	return NULL;
}

static bool is_called(const struct xbdev_lvol_op *making, const char *name_or_uuid)
{
	size_t len = strlen(making->store->name);
	struct xu_uuid uuid;

	return (strncmp(name_or_uuid, making->store->name, len) == 0 && name_or_uuid[len] == '/' &&
		       strcmp(name_or_uuid + len + 1, making->name) == 0) ||
	       (xu_uuid_parse(name_or_uuid, &uuid) == 0 && xu_uuid_is_equal(&uuid, &making->uuid));
}

struct xbdev_lvol_op *xbdev__lvol_making_find(struct xbdev_ctx *ctx, const char *name_or_uuid)
{
	struct xbdev_lvol_store *store = NULL;
	struct xbdev_lvol_op *making = NULL;

	while ((store = xbdev__lvol_store_next(ctx, store)) != NULL) {
		while ((making = xbdev__lvol_making_next(store, making)) != NULL) {
			if (is_called(making, name_or_uuid)) {
				return making;
			}
		}
	}
	return NULL;
}

void xbdev__lvol_making_info(const struct xbdev_lvol_op *making, struct xbdev_lvol_info *ret)
{
	const struct xbdev_lvol_store *store = making->store;

	*ret = (struct xbdev_lvol_info){
		.name = making->name,
		.store = store->name,
		.uuid = making->uuid,
		.size = making->nr_clusters * store->cluster_size,
		.cluster_size = store->cluster_size,
		.is_thin = making->is_thin,
		.busy = making->what,
		.busy_permille = atomic_load_explicit(&making->permille, memory_order_relaxed),
	};
}

void xbdev__lvol_making_cancel(struct xbdev_lvol_op *making)
{
	atomic_store_explicit(&making->is_cancelled, true, memory_order_relaxed);
}

/* ---- owner ---- */

int xbdev__lvol_op_fail(struct xbdev_lvol_op *op, int code, const char *sentence)
{
	if (op->err.code == 0) {
		xu_error_set(&op->err, code, "%s", sentence);
	}
	return op->err.code;
}

static void on_commit_retry(struct xr_timer *timer);

static void on_committed(struct xbdev_lvs_waiter *waiter, int status)
{
	struct xbdev_lvol_op *op = xu_container_of(waiter, struct xbdev_lvol_op, waiter);
	struct xbdev_lvs *lvs = op->store->lvs;

	if (status != 0 && status != -ENODEV && ++op->nr_tries < MAX_TRIES) {
		op->timer.fn = on_commit_retry;
		xr_timer_start(op->store->reactor, &op->timer, TRY_WAIT_NS);
		return;
	}
	if (status != 0) {
		if (op->err.code == 0) {
			xu_error_set_errno(&op->err, status,
				"writing metadata of store '%s' on '%s'; it is read-only until it "
				"is "
				"loaded again",
				lvs->name, lvs->device);
		}
		if (lvs->read_only_reason.code == 0) {
			xu_error_set_errno(&lvs->read_only_reason, status,
				"its metadata could not be written");
			xbdev__lvol_store_publish(op->store);
			xu_err(xbdev_ctx_log(op->store->ctx), "%s", op->err.text);
		}
	}
	op->next(op, status);
}

static void commit(struct xbdev_lvol_op *op)
{
	op->waiter.fn = on_committed;
	xbdev__lvs_commit(op->store->lvs, &op->waiter);
}

static void on_commit_retry(struct xr_timer *timer)
{
	commit(xu_container_of(timer, struct xbdev_lvol_op, timer));
}

void xbdev__lvol_op_commit(
	struct xbdev_lvol_op *op, void (*next)(struct xbdev_lvol_op *op, int status))
{
	op->next = next;
	op->nr_tries = 0;
	op->store->epoch++; /* the model has just changed */
	commit(op);
}

static void on_exclusive(struct xbdev_lvol_exclusive *exclusive)
{
	struct xbdev_lvol_op *op = xu_container_of(exclusive, struct xbdev_lvol_op, exclusive);

	op->next(op, 0);
}

void xbdev__lvol_op_take(struct xbdev_lvol_op *op, struct xbdev_lvol *volume,
	void (*next)(struct xbdev_lvol_op *op, int status))
{
	op->next = next;
	op->is_exclusive = true;
	op->exclusive.fn = on_exclusive;
	xbdev__lvol_exclusive_take(volume, &op->exclusive);
}

void xbdev__lvol_op_give(struct xbdev_lvol_op *op, struct xbdev_lvol *volume)
{
	if (op->is_exclusive) {
		op->is_exclusive = false;
		xbdev__lvol_exclusive_give(volume, &op->exclusive);
	}
}

/* ---- owner: clearing ---- */

static void clear_next(struct xbdev_lvol_op *op);

static void on_clear_retry(struct xr_timer *timer)
{
	struct xbdev_lvol_op *op = xu_container_of(timer, struct xbdev_lvol_op, timer);

	clear_next(op);
}

static void on_cleared(struct xbdev_lvol_child *child, int status)
{
	struct xbdev_lvol_op *op = child->arg;

	xbdev__lvol_child_put(child);
	if (op->clear != XBDEV_LVS_CLEAR_ZEROES) {
		status = 0; /* a wish; who takes these clusters again zeroes them */
	}
	if (status == 0 && atomic_load_explicit(&op->is_cancelled, memory_order_relaxed)) {
		status = -ECANCELED;
	}
	if (status != 0) {
		op->next(op, status);
	} else {
		clear_next(op);
	}
}

/* The next run of neighbours. */
static void clear_next(struct xbdev_lvol_op *op)
{
	const uint32_t *clusters = op->clusters.items;
	uint32_t size = op->store->lvs->super.cluster_size, begin = op->cleared, end = begin + 1;
	struct xbdev_lvol_child *child;

	if (begin == op->clusters.count) {
		op->next(op, 0);
		return;
	}
	child = xbdev__lvol_child_get(op->store);
	if (child == NULL) {
		op->timer.fn = on_clear_retry;
		xr_timer_start(op->store->reactor, &op->timer, XU_NS_PER_MS);
		return;
	}
	while (end < op->clusters.count && clusters[end] == clusters[end - 1] + 1 &&
		(uint64_t)(end - begin) * size < CLEAR_BYTES) {
		end++;
	}
	op->cleared = end;
	atomic_store_explicit(&op->permille, (uint32_t)((uint64_t)end * 1000 / op->clusters.count),
		memory_order_relaxed);
	child->io.op =
		op->clear == XBDEV_LVS_CLEAR_ZEROES ? XBDEV_OP_WRITE_ZEROES : XBDEV_OP_DISCARD;
	child->io.len = (uint64_t)(end - begin) * size;
	xbdev__lvol_child_send(
		child, xbdev__lvs_cluster_at(op->store->lvs, clusters[begin]), on_cleared, op);
}

void xbdev__lvol_op_clear(
	struct xbdev_lvol_op *op, uint64_t how, void (*next)(struct xbdev_lvol_op *op, int status))
{
	op->next = next;
	op->clear = how;
	op->cleared = how == XBDEV_LVS_CLEAR_NONE ? op->clusters.count : 0;
	clear_next(op);
}

void xbdev__lvol_op_free_clusters(struct xbdev_lvol_op *op)
{
	op->store->epoch++;
	for (uint32_t i = 0; i < op->clusters.count; i++) {
		xbdev__lvs_cluster_free(op->store->lvs, op->clusters.items[i]);
	}
	op->clusters.count = 0;
}

int xbdev__lvol_op_list(struct xbdev_lvol_op *op, const struct xbdev_lvs_map *map)
{
	for (uint32_t i = xbdev__lvs_map_next(map, 0); i < map->nr_clusters;
		i = xbdev__lvs_map_next(map, i + 1)) {
		if (xbdev__lvs_numbers_add(&op->clusters, xbdev__lvs_map_get(map, i)) != 0) {
			return xu_error_set_errno(&op->err, -ENOMEM, "listing clusters");
		}
	}
	return 0;
}

/* ---- owner: blobs ---- */

struct xbdev_lvs_blob *xbdev__lvol_op_make_blob(struct xbdev_lvol_op *op, uint32_t nr_clusters)
{
	struct xbdev_lvs *lvs = op->store->lvs;
	struct xbdev_lvs_blob *blob;
	uint32_t root;
	int rc;

	if (xbdev__lvs_blob_by_name(lvs, op->name) != NULL) {
		xu_error_set(&op->err, -EEXIST, "store '%s' has a volume '%s' already", lvs->name,
			op->name);
		return NULL;
	}
	if (lvs->read_only_reason.code != 0) {
		xu_error_set(&op->err, -EROFS, "the store '%s' cannot be changed: %s", lvs->name,
			lvs->read_only_reason.text);
		return NULL;
	}
	root = xbdev__lvs_page_take(lvs);
	if (root == XBDEV_LVS_NO_PAGE) {
		xbdev__lvs_no_pages(lvs, &op->err);
		return NULL;
	}
	blob = xbdev__lvs_blob_new(lvs, root);
	if (blob == NULL) {
		xbdev__lvs_bits_clear(&lvs->pages, root);
		xu_error_set_errno(&op->err, -ENOMEM, "volume '%s'", op->name);
		return NULL;
	}
	op->made = blob;
	blob->invalid_flags = XBDEV_LVS_F_THIN;
	rc = xbdev__lvs_blob_set_name(blob, op->name);
	if (rc == 0) {
		rc = xbdev__lvs_blob_set_uuid(blob, &op->uuid);
	}
	if (rc == 0) {
		rc = xbdev__lvs_map_reserve(&blob->map, nr_clusters);
	}
	if (rc == 0 && xbdev__lvol_new(op->store, blob) == NULL) {
		rc = -ENOMEM;
	}
	if (rc != 0) {
		xu_error_set_errno(&op->err, rc, "volume '%s'", op->name);
		xbdev__lvol_op_unmake(op);
		return NULL;
	}
	blob->map.nr_clusters = nr_clusters;
	rc = xbdev__lvs_blob_derive(blob, &op->err);
	if (rc != 0) {
		xbdev__lvol_op_unmake(op);
		return NULL;
	}
	return blob;
}

void xbdev__lvol_op_unmake(struct xbdev_lvol_op *op)
{
	struct xbdev_lvs_blob *blob = op->made;

	xbdev__lvs_bits_clear(&op->store->lvs->pages, blob->root);
	xbdev__lvol_free(blob->volume);
	xbdev__lvs_blob_free(blob);
	op->made = NULL;
}

void xbdev__lvol_op_news(struct xbdev_lvol_op *op, struct xbdev_lvol *volume)
{
	if (volume != NULL) {
		xbdev__lvol_count(volume);
		op->news[op->nr_news].volume = volume;
		xbdev__lvol_look(volume, &op->news[op->nr_news].shown);
		op->nr_news++;
	}
}

void xbdev__lvol_op_end(struct xbdev_lvol_op *op)
{
	for (uint32_t i = 0; i < op->pages.count; i++) {
		xbdev__lvs_bits_clear(&op->store->lvs->pages, op->pages.items[i]);
	}
	op->pages.count = 0;
	xbdev__lvs_map_fini(&op->old_map);
	go_home(op);
}
