/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller's state machine, on the control reactor.
 *
 *   NEW --> CONNECTING --all up--> LIVE
 *               |   ^                |
 *        failed |   | delay over     | a connection broke, a command or Keep Alive was not answered
 *               v   |                v
 *   RESETTING <-----+------------ RESETTING     every queue is ended, and waited for
 *       |           |
 *       +------> BACKOFF                        100 ms doubling to 10 s, with jitter
 *
 *   any of these --removed, or lost for too long--> DELETING --> DEAD
 *
 * While it is not LIVE, I/Os wait in their slots, until fast_io_fail_timeout_s tells them to fail
 * and ctrl_loss_timeout_s takes the device away. The first attempt is different: when it fails,
 * making the device has failed. DELETING first fails what waits and ends the I/O queues, then shuts
 * the controller down in good order where it still can be asked, then ends the admin queue.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/host/private.h"

#define CONNECT_NS  (60 * XU_NS_PER_S) /* all of it: its parts have shorter limits */
#define SHUTDOWN_NS (2 * XU_NS_PER_S)
#define STABLE_NS   (10 * XU_NS_PER_S) /* LIVE for so long: the delay begins anew */
#define CQT_UNKNOWN 10000u             /* ms, when the target tells none */

#define TO(state) (1u << HOST_CTRL_##state)

static const uint32_t transitions[HOST_CTRL_NR_STATES] = {
	[HOST_CTRL_NEW] = TO(CONNECTING),
	[HOST_CTRL_CONNECTING] = TO(LIVE) | TO(RESETTING) | TO(DELETING),
	[HOST_CTRL_LIVE] = TO(RESETTING) | TO(DELETING),
	[HOST_CTRL_RESETTING] = TO(BACKOFF) | TO(DELETING) | TO(DEAD),
	[HOST_CTRL_BACKOFF] = TO(CONNECTING) | TO(DELETING),
	[HOST_CTRL_DELETING] = TO(DEAD),
	[HOST_CTRL_DEAD] = 0,
};

const char *host_ctrl_state_name(enum host_ctrl_state state)
{
	static const char *const names[HOST_CTRL_NR_STATES] = {
		[HOST_CTRL_NEW] = "new",
		[HOST_CTRL_CONNECTING] = "connecting",
		[HOST_CTRL_LIVE] = "live",
		[HOST_CTRL_RESETTING] = "resetting",
		[HOST_CTRL_BACKOFF] = "backoff",
		[HOST_CTRL_DELETING] = "deleting",
		[HOST_CTRL_DEAD] = "dead",
	};

	return names[state];
}

static void set_state(struct host_ctrl *ctrl, enum host_ctrl_state state)
{
	assert(transitions[ctrl->state] & (1u << state));
	xu_debug(ctrl->log, "%s: %s, was %s", ctrl->dev.name, host_ctrl_state_name(state),
		host_ctrl_state_name(ctrl->state));
	ctrl->state = state;
}

static void connect_now(struct host_ctrl *ctrl);

/* ---- connecting ---- */

static void fail(struct host_ctrl *ctrl, int code, const char *why)
{
	struct xu_error err = {0};

	xu_error_set(&err, code, "%s", why);
	host_ctrl_reset(ctrl, &err);
}

static bool all_slots_are_up(const struct host_ctrl *ctrl)
{
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		enum host_slot_phase phase = ctrl->slots[i].phase;

		if (ctrl->slots[i].is_known && phase != HOST_PHASE_LIVE &&
			phase != HOST_PHASE_FORWARD) {
			return false;
		}
	}
	return true;
}

static void go_live(struct host_ctrl *ctrl)
{
	set_state(ctrl, HOST_CTRL_LIVE);
	xr_timer_stop(ctrl->reactor, &ctrl->timer);
	xr_timer_stop(ctrl->reactor, &ctrl->loss_timer);
	xr_timer_stop(ctrl->reactor, &ctrl->fast_fail_timer);
	ctrl->live_since_ns = xr_now_ns(ctrl->reactor);
	ctrl->nr_attempts = 0;
	ctrl->err = (struct xu_error){0};
	xu_info(ctrl->log, "%s: connected to %s at %s port %u as controller %u, %u I/O queues",
		ctrl->dev.name, ctrl->peer.subnqn, ctrl->peer.address, ctrl->port,
		ctrl->info.cntlid, ctrl->info.nr_queues);
	host_alive_start(ctrl);
	if (!ctrl->is_registered) {
		host_driver_ready(ctrl);
	} else {
		xbdev_device_set_size(&ctrl->dev, ctrl->info.nr_blocks);
	}
}

/* Everything about the controller is known: now its I/O queues. */
static void on_initialized(void *arg, const struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	struct xu_error why = *err;

	if (why.code == 0 && ctrl->fresh.nr_blocks == 0) {
		xu_error_set(&why, -ENODEV, "subsystem %s has no namespace %u for this host",
			ctrl->peer.subnqn, ctrl->fresh.nsid);
	}
	if (why.code == 0 && ctrl->is_registered) {
		host_init_compare(ctrl, &why);
	}
	if (why.code != 0) {
		host_ctrl_reset(ctrl, &why);
		return;
	}
	ctrl->info = ctrl->fresh;
	ctrl->nsid_wanted = ctrl->info.nsid;
	atomic_store(&ctrl->policy_errno, 0);
	host_slots_start(ctrl);
	if (ctrl->state == HOST_CTRL_CONNECTING) {
		host_ctrl_check(ctrl);
	}
}

static void on_admin_live(struct host_queue *queue, uint32_t dw0)
{
	struct host_ctrl *ctrl = xu_container_of(queue, struct host_ctrl, admin);

	if (ctrl->state != HOST_CTRL_CONNECTING) {
		return;
	}
	ctrl->fresh = (struct host_info){
		.enable.reactor = ctrl->reactor, .cntlid = (uint16_t)(dw0 & 0xffffu)};
	if (dw0 >> 16 & 0x6u) {
		fail(ctrl, -EACCES,
			"the target wants authentication, which this host does not do yet");
		return;
	}
	host_steps_start(&ctrl->steps, queue, host_init_parts, ctrl, on_initialized);
}

static void on_admin_lost(struct host_queue *queue)
{
	struct host_ctrl *ctrl = xu_container_of(queue, struct host_ctrl, admin);

	/* "Flow control off" is a wish; a target that refuses it by name is asked without. */
	if ((queue->connect_status | NVME_DNR) == NVME_SC_CONNECT_PARAM &&
		queue->connect_dw0 == NVME_IPO_CMD(cattr) && !ctrl->peer.keeps_sqflow) {
		ctrl->peer.keeps_sqflow = true;
		ctrl->must_try_again = true;
	}
	host_ctrl_reset(ctrl, &queue->err);
	host_queue_close(queue);
}

static void on_admin_gone(struct host_queue *queue)
{
	host_ctrl_check(xu_container_of(queue, struct host_ctrl, admin));
}

static const struct host_queue_ops admin_ops = {
	.live = on_admin_live,
	.lost = on_admin_lost,
	.gone = on_admin_gone,
};

static void on_connect_timer(struct xr_timer *timer)
{
	fail(xu_container_of(timer, struct host_ctrl, timer), -ETIMEDOUT,
		"connecting took too long");
}

static void connect_now(struct host_ctrl *ctrl)
{
	const struct host_queue_opts opts = {
		.peer = &ctrl->peer,
		.cntlid = 0xffff,
		.entries = HOST_ADMIN_ENTRIES,
		.kato_ms = ctrl->kato_ms,
		.timeout_ns = HOST_ADMIN_NS,
	};

	set_state(ctrl, HOST_CTRL_CONNECTING);
	ctrl->nr_attempts++;
	ctrl->is_shut_down = false;
	ctrl->timer.fn = on_connect_timer;
	xr_timer_start(ctrl->reactor, &ctrl->timer, CONNECT_NS);
	if (host_queue_open(&ctrl->admin, &opts) != 0) {
		host_ctrl_reset(ctrl, &ctrl->admin.err);
	}
}

/* ---- losing it ---- */

static void on_loss_timer(struct xr_timer *timer)
{
	struct host_ctrl *ctrl = xu_container_of(timer, struct host_ctrl, loss_timer);
	char why[640];

	snprintf(why, sizeof(why), "its controller was lost for %lld s: %s",
		(long long)ctrl->loss_s, ctrl->err.text);
	host_driver_remove(ctrl, why);
}

static void on_fast_fail_timer(struct xr_timer *timer)
{
	struct host_ctrl *ctrl = xu_container_of(timer, struct host_ctrl, fast_fail_timer);

	xu_warn(ctrl->log, "%s: still not connected; its I/O fails from now on", ctrl->dev.name);
	host_slots_set_policy(ctrl, -EIO);
}

static void start_loss_timers(struct host_ctrl *ctrl)
{
	ctrl->lost_ns = xr_now_ns(ctrl->reactor);
	ctrl->loss_timer.fn = on_loss_timer;
	ctrl->fast_fail_timer.fn = on_fast_fail_timer;
	if (ctrl->loss_s >= 0) {
		xr_timer_start(
			ctrl->reactor, &ctrl->loss_timer, (uint64_t)ctrl->loss_s * XU_NS_PER_S);
	}
	if (ctrl->fast_fail_ns != 0) {
		xr_timer_start(ctrl->reactor, &ctrl->fast_fail_timer, ctrl->fast_fail_ns);
	}
}

void host_ctrl_reset(struct host_ctrl *ctrl, const struct xu_error *err)
{
	bool was_live = ctrl->state == HOST_CTRL_LIVE;

	if (!was_live && ctrl->state != HOST_CTRL_CONNECTING) {
		return;
	}
	if (was_live || ctrl->err.code != err->code || strcmp(ctrl->err.text, err->text) != 0) {
		xu_warn(ctrl->log, "%s: %s at %s port %u: %s%s", ctrl->dev.name, ctrl->peer.subnqn,
			ctrl->peer.address, ctrl->port, err->text,
			ctrl->is_registered ? "; connecting again" : "");
	}
	ctrl->err = *err;
	ctrl->nr_resets += was_live;
	set_state(ctrl, HOST_CTRL_RESETTING);
	xr_timer_stop(ctrl->reactor, &ctrl->timer);
	host_alive_stop(ctrl);
	if (was_live) {
		if (xr_now_ns(ctrl->reactor) - ctrl->live_since_ns >= STABLE_NS) {
			ctrl->delay_ns = 0;
		}
		start_loss_timers(ctrl);
	}
	host_slots_stop(ctrl);
	host_queue_close(&ctrl->admin);
	host_ctrl_check(ctrl);
}

/* ---- trying again ---- */

static void on_backoff_timer(struct xr_timer *timer)
{
	connect_now(xu_container_of(timer, struct host_ctrl, timer));
}

/* Doubles, and spreads by a quarter either way, so that many hosts do not come back at once. */
static uint64_t next_delay(struct host_ctrl *ctrl)
{
	uint64_t quarter;

	if (ctrl->must_try_again) {
		ctrl->must_try_again = false;
		return 1;
	}
	ctrl->delay_ns = ctrl->delay_ns == 0 ? ctrl->delay_min_ns : 2 * ctrl->delay_ns;
	if (ctrl->delay_ns > ctrl->delay_max_ns) {
		ctrl->delay_ns = ctrl->delay_max_ns;
	}
	quarter = ctrl->delay_ns / 4;
	return ctrl->delay_ns - quarter +
	       xu_random_below(xr_reactor_random(ctrl->reactor), 2 * quarter + 1);
}

static uint64_t quiesce_ns(const struct host_ctrl *ctrl)
{
	const struct host_info *info = &ctrl->info;
	uint64_t ms;

	if (ctrl->quiesce_ms >= 0) {
		return (uint64_t)ctrl->quiesce_ms * XU_NS_PER_MS;
	}
	ms = (uint64_t)ctrl->kato_ms * (info->has_tbkas ? 3 : 2);
	return (ms + (info->cqt != 0 ? info->cqt : CQT_UNKNOWN)) * XU_NS_PER_MS;
}

static void after_reset(struct host_ctrl *ctrl)
{
	host_slots_gather_doubts(ctrl, quiesce_ns(ctrl));
	if (!ctrl->is_registered && !ctrl->must_try_again) {
		set_state(ctrl, HOST_CTRL_DEAD);
		host_driver_failed(ctrl);
		return;
	}
	set_state(ctrl, HOST_CTRL_BACKOFF);
	ctrl->timer.fn = on_backoff_timer;
	xr_timer_start(ctrl->reactor, &ctrl->timer, next_delay(ctrl));
}

/* ---- the end ---- */

static void on_shutdown_timer(struct xr_timer *timer)
{
	struct host_ctrl *ctrl = xu_container_of(timer, struct host_ctrl, timer);

	ctrl->is_shut_down = true;
	host_ctrl_check(ctrl);
}

static void on_shut_down(struct host_req *req, uint16_t status)
{
	struct host_ctrl *ctrl = req->arg;

	(void)status;
	ctrl->is_shut_down = true;
	host_ctrl_check(ctrl);
}

/* Tells the target that we leave; it has little time to take note. */
static void shut_down(struct host_ctrl *ctrl)
{
	struct host_req *req = host_req_get(&ctrl->admin);

	if (req == NULL) {
		ctrl->is_shut_down = true;
		return;
	}
	ctrl->is_shutting_down = true;
	req->cmd = (struct nvme_cmd){
		.opc = NVME_FABRICS,
		.cid = req->cmd.cid,
		.nsid = NVME_FCTYPE_PROPERTY_SET,
		.cdw11 = NVME_PROP_CC,
		.cdw12 = NVME_CC_ENTRY_SIZES | NVME_CAP_MPSMIN(ctrl->info.enable.cap) << 7 |
			 ((NVME_CAP_CSS(ctrl->info.enable.cap) & NVME_CAP_CSS_IOCS)
					 ? NVME_CC_CSS_IOCS
					 : 0) |
			 NVME_CC_SHN_NORMAL | NVME_CC_EN,
	};
	req->done = on_shut_down;
	req->arg = ctrl;
	host_req_start(req);
	ctrl->timer.fn = on_shutdown_timer;
	xr_timer_start(ctrl->reactor, &ctrl->timer, SHUTDOWN_NS);
}

static void after_delete(struct host_ctrl *ctrl)
{
	struct xbdev_desc *keeper = ctrl->keeper;

	if (!ctrl->is_shut_down && ctrl->admin.state == HOST_QUEUE_LIVE) {
		if (!ctrl->is_shutting_down) {
			shut_down(ctrl);
		}
		if (!ctrl->is_shut_down) {
			return;
		}
	}
	if (host_queue_is_open(&ctrl->admin)) {
		host_queue_close(&ctrl->admin);
		return; /* on_admin_gone() comes back here */
	}
	xr_timer_stop(ctrl->reactor, &ctrl->timer);
	set_state(ctrl, HOST_CTRL_DEAD);
	ctrl->keeper = NULL;
	if (keeper != NULL) {
		xbdev_desc_close(keeper); /* the device is freed when nobody else has it open */
	} else if (!ctrl->is_in_graph) {
		host_driver_failed(ctrl);
	}
}

void host_ctrl_check(struct host_ctrl *ctrl)
{
	if (ctrl->state == HOST_CTRL_CONNECTING && ctrl->admin.state == HOST_QUEUE_LIVE &&
		ctrl->steps.parts == NULL && all_slots_are_up(ctrl)) {
		go_live(ctrl);
		return;
	}
	if (ctrl->state != HOST_CTRL_RESETTING && ctrl->state != HOST_CTRL_DELETING) {
		return;
	}
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		if (ctrl->slots[i].phase != HOST_PHASE_NONE) {
			return;
		}
	}
	if (ctrl->state == HOST_CTRL_DELETING) {
		if (!ctrl->is_hopping) {
			after_delete(ctrl);
		}
	} else if (!host_queue_is_open(&ctrl->admin)) {
		after_reset(ctrl);
	}
}

void host_ctrl_delete(struct host_ctrl *ctrl)
{
	enum host_ctrl_state was = ctrl->state;

	if (was == HOST_CTRL_DELETING || was == HOST_CTRL_DEAD) {
		return;
	}
	set_state(ctrl, HOST_CTRL_DELETING);
	ctrl->is_shutting_down = false;
	ctrl->is_shut_down = was != HOST_CTRL_LIVE;
	xr_timer_stop(ctrl->reactor, &ctrl->timer);
	xr_timer_stop(ctrl->reactor, &ctrl->loss_timer);
	xr_timer_stop(ctrl->reactor, &ctrl->fast_fail_timer);
	host_alive_stop(ctrl);
	host_slots_set_policy(ctrl, -ENODEV);
	host_slots_stop(ctrl);
	host_ctrl_check(ctrl);
}

void host_ctrl_start(struct host_ctrl *ctrl)
{
	host_queue_init(&ctrl->admin, ctrl->reactor, &admin_ops, ctrl->dev.name);
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		host_slot_init(&ctrl->slots[i], ctrl, i);
	}
	connect_now(ctrl);
}

void host_ctrl_free(struct host_ctrl *ctrl)
{
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		free(ctrl->slots[i].lost);
	}
	free(ctrl->doubt_memory);
	free(ctrl->slots);
	free(ctrl->page);
	free(ctrl);
}
