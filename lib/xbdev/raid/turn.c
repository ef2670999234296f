/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Turns: a node lets only so many arrays rebuild at a time, those of a higher priority first. An
 * array that may not begin yet is counted as waiting and asks again in a moment; nobody with a
 * lower priority is let in before it. One that rebuilds already is never stopped for another.
 */
#include <stdatomic.h>

#include "lib/util/clock.h"
#include "lib/xbdev/core/context.h"
#include "lib/xbdev/raid/array.h"

#define ASK_AGAIN_NS (20 * XU_NS_PER_MS)
#define NO_MEMORY_NS XU_NS_PER_S

static void stop_waiting(struct xbdev_md_array *array)
{
	if (array->is_waiting) {
		array->is_waiting = false;
		xr_timer_stop(array->reactor, &array->turn_timer);
		atomic_fetch_sub(
			&xbdev_ctx_rebuilds(array->dev.ctx)->nr_waiting[array->waiting_as], 1);
	}
}

static bool is_behind_others(const struct xbdev_md_array *array)
{
	struct xbdev_rebuilds *rebuilds = xbdev_ctx_rebuilds(array->dev.ctx);

	for (uint32_t i = array->priority + 1; i < XBDEV_REBUILD_PRIORITIES; i++) {
		if (atomic_load(&rebuilds->nr_waiting[i]) > 0) {
			return true;
		}
	}
	return false;
}

static bool has_place(struct xbdev_rebuilds *rebuilds)
{
	uint32_t nr = atomic_load(&rebuilds->nr_running), max = atomic_load(&rebuilds->max);

	while (max == 0 || nr < max) {
		if (atomic_compare_exchange_weak(&rebuilds->nr_running, &nr, nr + 1)) {
			return true;
		}
	}
	return false;
}

static void on_turn_timer(struct xr_timer *timer)
{
	struct xbdev_md_array *array = xu_container_of(timer, struct xbdev_md_array, turn_timer);

	/* It may have nothing to do any more, or another priority. */
	stop_waiting(array);
	xbdev__md_sync_kick(array);
}

static void begin_waiting(struct xbdev_md_array *array, uint64_t delay_ns)
{
	if (!array->is_waiting) {
		array->is_waiting = true;
		array->waiting_as = array->priority;
		atomic_fetch_add(
			&xbdev_ctx_rebuilds(array->dev.ctx)->nr_waiting[array->waiting_as], 1);
		array->turn_timer.fn = on_turn_timer;
		xr_timer_start(array->reactor, &array->turn_timer, delay_ns);
	}
}

bool xbdev__md_turn_take(struct xbdev_md_array *array)
{
	struct xbdev_rebuilds *rebuilds = xbdev_ctx_rebuilds(array->dev.ctx);

	if (!is_behind_others(array) && has_place(rebuilds)) {
		stop_waiting(array);
		array->has_turn = true;
		return true;
	}
	begin_waiting(array, ASK_AGAIN_NS);
	return false;
}

void xbdev__md_turn_put_off(struct xbdev_md_array *array)
{
	xbdev__md_turn_end(array);
	begin_waiting(array, NO_MEMORY_NS);
}

void xbdev__md_turn_give_up(struct xbdev_md_array *array)
{
	stop_waiting(array);
}

void xbdev__md_turn_end(struct xbdev_md_array *array)
{
	stop_waiting(array);
	if (array->has_turn) {
		array->has_turn = false;
		atomic_fetch_sub(&xbdev_ctx_rebuilds(array->dev.ctx)->nr_running, 1);
	}
}
