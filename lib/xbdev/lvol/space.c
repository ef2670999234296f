/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens when clusters run out. On the store's owner.
 *
 * An I/O that needs more clusters than are free fails at once, or waits in line until there are
 * enough, for so long as the store's setting says. It has taken nothing and counts as not begun, so
 * it keeps neither other I/O from anything nor somebody who wants the volume for himself. The line
 * is as long as the queues of those who write; the longest that wait are tried first, and those
 * that need less than another may pass it.
 *
 * Used space that reaches a threshold is told once, by a note and in the log, and again when it has
 * been below by two percent.
 */
#include <errno.h>
#include <string.h>

#include "lib/reactor/platform.h"
#include "lib/util/clock.h"
#include "lib/util/log.h"
#include "lib/xbdev/core/note.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/lvol/volume.h"

#define NR_THRESHOLDS 2u
#define BACK_PERCENT  2u /* below a threshold, until it is told again */

static uint64_t now_ns(const struct xbdev_lvol_store *store)
{
	return xu_clock_now_ns(xbdev_ctx_platform(store->ctx)->clock);
}

static struct xbdev_lvol_req *req_of(struct xu_list *node)
{
	return xu_list_entry(node, struct xbdev_lvol_req, link);
}

/* ---- thresholds ---- */

static uint64_t nr_used(const struct xbdev_lvs *lvs)
{
	return xbdev__lvs_data_clusters(lvs) - xbdev__lvs_free_clusters(lvs);
}

/* Whether so much is used that the threshold has been reached; one that was is left later. */
static bool is_reached(const struct xbdev_lvol_store *store, uint32_t index)
{
	uint64_t total = xbdev__lvs_data_clusters(store->lvs);
	uint32_t percent =
		atomic_load_explicit(&store->space.percents[index], memory_order_relaxed);

	if (percent == 0 || total == 0) {
		return false;
	}
	if (index < store->space.nr_reached && percent > BACK_PERCENT) {
		percent -= BACK_PERCENT;
	}
	return nr_used(store->lvs) * 100 >= total * percent;
}

/* What would be used if all volumes were full. */
static uint64_t nr_promised(const struct xbdev_lvs *lvs)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < lvs->nr_blobs; i++) {
		const struct xbdev_lvs_blob *blob = lvs->blobs[i];
		bool is_writable = xbdev__lvs_blob_is_volume(blob) &&
				   !xbdev__lvs_blob_is_read_only(blob) &&
				   !xbdev__lvs_blob_is_snapshot(blob);

		nr += is_writable ? blob->map.nr_clusters : blob->map.nr_allocated;
	}
	return nr;
}

static void tell(struct xbdev_lvol_store *store, uint32_t percent)
{
	unsigned long long used = nr_used(store->lvs), total = xbdev__lvs_data_clusters(store->lvs),
			   promised = nr_promised(store->lvs);

	xu_warn(xbdev_ctx_log(store->ctx),
		"store %s: %u percent of its clusters are used, %llu of %llu; %llu are promised",
		store->lvs->name, percent, used, total, promised);
	xbdev_ctx_note(store->ctx, store->lvs->name, "lvs_threshold", store->lvs->device,
		"%u percent of the store are used: %llu of %llu clusters, %llu promised", percent,
		used, total, promised);
}

static void look_at_thresholds(struct xbdev_lvol_store *store)
{
	uint32_t nr_before = store->space.nr_reached, nr = 0;

	while (nr < NR_THRESHOLDS && is_reached(store, nr)) {
		nr++;
	}
	store->space.nr_reached = nr;
	if (nr > nr_before) {
		tell(store,
			atomic_load_explicit(&store->space.percents[nr - 1], memory_order_relaxed));
	}
}

/* ---- the line ---- */

static void restart_timer(struct xbdev_lvol_store *store);

/* Not within its submission, and in flight for nobody. */
static void end_waiting(struct xbdev_lvol_req *req, int status)
{
	xu_list_del(&req->link);
	xbdev_io_complete_later(xbdev__lvol_io_of(req), status);
}

static void on_timer(struct xr_timer *timer)
{
	struct xbdev_lvol_store *store =
		xu_container_of(timer, struct xbdev_lvol_store, space.timer);
	uint64_t now = now_ns(store);
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &store->space.line) {
		if (req_of(node)->until_ns <= now) {
			end_waiting(req_of(node), -ENOSPC);
		}
	}
	restart_timer(store);
}

static void restart_timer(struct xbdev_lvol_store *store)
{
	uint64_t first = UINT64_MAX, now = now_ns(store);
	struct xu_list *node;

	xr_timer_stop(store->reactor, &store->space.timer);
	xu_list_for_each (node, &store->space.line) {
		if (req_of(node)->until_ns < first) {
			first = req_of(node)->until_ns;
		}
	}
	if (first != UINT64_MAX) {
		store->space.timer.fn = on_timer;
		xr_timer_start(store->reactor, &store->space.timer, first > now ? first - now : 0);
	}
}

/* Each is tried once: those for which there is still too little are at the end of the line again,
 * in the order that they have had. */
static void admit(struct xbdev_lvol_store *store)
{
	struct xu_list line, *node;

	xu_list_init(&line);
	xu_list_splice_tail(&line, &store->space.line);
	while (xbdev__lvs_free_clusters(store->lvs) > 0 && (node = xu_list_pop(&line)) != NULL) {
		xbdev__lvol_admit(req_of(node));
	}
	while ((node = xu_list_pop(&line)) != NULL) {
		xu_list_add_tail(&store->space.line, node);
	}
	restart_timer(store);
}

static void on_changed(struct xr_msg *msg)
{
	struct xbdev_lvol_store *store = xu_container_of(msg, struct xbdev_lvol_store, space.msg);

	store->space.is_sent = false;
	look_at_thresholds(store);
	if (!xu_list_is_empty(&store->space.line)) {
		admit(store);
	}
}

/* Amid a change of the model: looks at it later. */
static void space_changed(struct xbdev_lvs *lvs)
{
	struct xbdev_lvol_store *store = lvs->owner;
	bool is_due = !xu_list_is_empty(&store->space.line);

	for (uint32_t i = 0; i < NR_THRESHOLDS && !is_due; i++) {
		is_due = is_reached(store, i) != (i < store->space.nr_reached);
	}
	if (is_due && !store->space.is_sent) {
		store->space.is_sent = true;
		store->space.msg.fn = on_changed;
		xr_msg_defer(store->reactor, &store->space.msg);
	}
}

bool xbdev__lvol_space_wait(struct xbdev_lvol_req *req)
{
	struct xbdev_lvol_store *store = req->volume->store;
	struct xbdev_io *io = xbdev__lvol_io_of(req);
	uint32_t wait_ms = atomic_load_explicit(&store->space.wait_ms, memory_order_relaxed);
	uint64_t now = now_ns(store);

	if (req->fill != XBDEV_LVOL_NO_FILL) {
		return false; /* an operation's, which tells its caller */
	}
	if (!req->is_hungry && wait_ms > 0) {
		req->is_hungry = true;
		req->until_ns = now + wait_ms * XU_NS_PER_MS;
	}
	if (!req->is_hungry || req->until_ns <= now || io->is_cancelled ||
		atomic_load(&req->volume->dev.state) != XBDEV_DEVICE_READY) {
		return false;
	}
	xu_list_add_tail(&store->space.line, &req->link);
	xbdev__lvol_uncount(req->volume);
	restart_timer(store);
	return true;
}

static bool is_in_line(const struct xbdev_lvol_store *store, const struct xbdev_lvol_req *req)
{
	struct xu_list *node;

	xu_list_for_each (node, &store->space.line) {
		if (req_of(node) == req) {
			return true;
		}
	}
	return false;
}

void xbdev__lvol_space_cancel(struct xbdev_channel *ch, struct xbdev_io *io)
{
	struct xbdev_lvol_store *store = xbdev__lvol_of(ch->dev)->store;
	struct xbdev_lvol_req *req = xbdev__lvol_req_of(io);

	if (is_in_line(store, req)) {
		end_waiting(req, -ECANCELED);
		restart_timer(store);
	}
}

void xbdev__lvol_space_abort(struct xbdev_channel *ch)
{
	struct xbdev_lvol_store *store = xbdev__lvol_of(ch->dev)->store;
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &store->space.line) {
		if (req_of(node)->volume == xbdev__lvol_of(ch->dev)) {
			end_waiting(req_of(node), -ENODEV);
		}
	}
	restart_timer(store);
}

/* ---- life ---- */

void xbdev__lvol_space_set(
	struct xbdev_lvol_store *store, const struct xbdev_lvol_settings *settings)
{
	atomic_store_explicit(&store->space.wait_ms, settings->space_wait_ms, memory_order_relaxed);
	for (uint32_t i = 0; i < NR_THRESHOLDS; i++) {
		atomic_store_explicit(
			&store->space.percents[i], settings->percents[i], memory_order_relaxed);
	}
}

void xbdev__lvol_space_init(struct xbdev_lvol_store *store)
{
	struct xbdev_lvol_settings settings;

	xu_list_init(&store->space.line);
	xbdev__lvol_settings_load(store->lvs->super_blob, &settings);
	xbdev__lvol_space_set(store, &settings);
	store->lvs->space_changed = space_changed;
	/* What was so before is no news. */
	while (store->space.nr_reached < NR_THRESHOLDS &&
		is_reached(store, store->space.nr_reached)) {
		store->space.nr_reached++;
	}
}

void xbdev__lvol_space_fini(struct xbdev_lvol_store *store)
{
	xr_timer_stop(store->reactor, &store->space.timer);
	store->lvs->space_changed = NULL;
}
