/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room for connections. The table has max_connections places, and nobody may keep one for nothing:
 * a connection without Connect has connect_timeout_ms, a controller that is not enabled and a
 * discovery controller without keep-alive have two quiet minutes (ctrl.c). When the table is full
 * nevertheless, a new connection takes the place of
 *
 *   1. the discovery controller, or the one that is not enabled, that has been quiet for longest
 *   2. the oldest connection without Connect
 *
 * provided that it has been quiet for two seconds, which a host in the middle of its work is not.
 * Enabled I/O controllers are never dropped: then the new connection is refused. The place is free
 * a moment later than it is given away, so for that moment there are more connections than places.
 */
#include "lib/xnvmf/target/private.h"

#define QUIET_NS    (2 * XU_NS_PER_S)
#define LOG_EACH_NS (10 * XU_NS_PER_S)

bool xnvmf__log_allowed(
	struct xnvmf_target *target, struct xnvmf_log_limit *limit, uint64_t *ret_silent)
{
	uint64_t now_ns = xr_now_ns(xnvmf__control(target));

	if (now_ns < limit->next_ns) {
		limit->nr_silent++;
		return false;
	}
	*ret_silent = limit->nr_silent;
	limit->nr_silent = 0;
	limit->next_ns = now_ns + LOG_EACH_NS;
	return true;
}

void xnvmf__room_touch(struct xnvmf_ctrl *ctrl)
{
	struct xnvmf_target *target = ctrl->subsystem->target;
	bool is_ready = xnvmf__ctrl_is_ready(ctrl);

	xu_list_del(&ctrl->idle_link);
	if (!ctrl->is_dead && (ctrl->subsystem->is_discovery || !is_ready)) {
		ctrl->idle_since_ns = xr_now_ns(xnvmf__control(target));
		xu_list_add_tail(&target->idle_ctrls, &ctrl->idle_link);
	}
}

static bool is_quiet(const struct xnvmf_target *target, uint64_t since_ns)
{
	return xr_now_ns(xnvmf__control(target)) - since_ns >= QUIET_NS;
}

static void note_dropped(struct xnvmf_qpair *qpair)
{
	qpair->is_dropped = true;
	qpair->target->nr_dropped++;
	qpair->target->nr_dropped_total++;
}

bool xnvmf__room_drop_one(struct xnvmf_target *target)
{
	struct xu_list *node = xu_list_first(&target->idle_ctrls);
	struct xnvmf_qpair *qpair;
	struct xnvmf_ctrl *ctrl;

	if (node != NULL) {
		ctrl = xu_list_entry(node, struct xnvmf_ctrl, idle_link);
		if (is_quiet(target, ctrl->idle_since_ns)) {
			note_dropped(ctrl->admin);
			xnvmf__ctrl_kill(ctrl, "it is quiet, and another connection needs room");
			return true;
		}
	}
	node = xu_list_first(&target->unconnected);
	if (node != NULL) {
		qpair = xu_list_entry(node, struct xnvmf_qpair, unconnected_link);
		if (is_quiet(target, qpair->accepted_ns)) {
			note_dropped(qpair);
			xnvmf__qpair_disconnect(qpair);
			return true;
		}
	}
	return false;
}

bool xnvmf__room_for_one(struct xnvmf_target *target)
{
	uint64_t nr_silent;

	if (target->nr_qpairs - target->nr_dropped < target->opts.max_connections ||
		xnvmf__room_drop_one(target)) {
		return true;
	}
	target->nr_refused++;
	if (xnvmf__log_allowed(target, &target->full_limit, &nr_silent)) {
		xu_warn(target->log,
			"a connection was refused: %u of at most %u are open and in use (%llu more "
			"were refused since the last such line)",
			target->nr_qpairs, target->opts.max_connections,
			(unsigned long long)nr_silent);
	}
	return false;
}
