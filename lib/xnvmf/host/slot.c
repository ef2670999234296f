/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots: the part of a controller that each reactor has, and the messages between it and the
 * control reactor.
 *
 *   slot (its reactor)                          phase (control reactor)
 *   WAITING  --want-->                          NONE
 *            <--start--                         STARTING
 *   STARTING, LIVE --started-->                 LIVE
 *   or FORWARD --started-->                     FORWARD
 *   (queue lost) --lost-->                      -> the controller resets: stop to all
 *            <--stop--                          STOPPING
 *   STOPPING, WAITING --stopped-->              NONE
 *
 * A slot without a queue of its own, because the target granted fewer, forwards to one that has.
 * The target's refusal of a queue beyond the first has the same effect.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/host/private.h"

#define GRACE_MAX_NS (10 * XU_NS_PER_S) /* for an Abort to have its effect */

/* ---- on the slot's reactor ---- */

static void tell_lost(struct host_slot *slot, const struct xu_error *err, bool is_refused)
{
	slot->lost_err = *err;
	slot->is_refused = is_refused;
	xr_msg_send(slot->ctrl->reactor, &slot->lost_msg);
}

static void stopped(struct host_slot *slot)
{
	slot->state = HOST_SLOT_WAITING;
	slot->via = NULL;
	slot->doubts = NULL;
	slot->nr_doubts = 0;
	host_io_settle(slot);
	xr_msg_send(slot->ctrl->reactor, &slot->stopped_msg);
}

static void on_queue_live(struct host_queue *queue, uint32_t dw0)
{
	struct host_slot *slot = xu_container_of(queue, struct host_slot, queue);

	(void)dw0;
	if (slot->state == HOST_SLOT_STARTING) {
		slot->state = HOST_SLOT_LIVE;
		xr_msg_send(slot->ctrl->reactor, &slot->started_msg);
		host_io_pump(slot);
	}
}

static void on_queue_lost(struct host_queue *queue)
{
	struct host_slot *slot = xu_container_of(queue, struct host_slot, queue);

	tell_lost(slot, &queue->err, queue->connect_status != 0);
}

static void on_queue_gone(struct host_queue *queue)
{
	stopped(xu_container_of(queue, struct host_slot, queue));
}

/* Asks the control reactor for an Abort; one at a time, the others run into the grace time. */
static void on_queue_overdue(struct host_queue *queue, struct host_req *req)
{
	struct host_slot *slot = xu_container_of(queue, struct host_slot, queue);

	atomic_fetch_add(&slot->stats.nr_overdue, 1);
	if (!atomic_exchange(&slot->is_abort_asked, true)) {
		slot->abort_cid = req->cmd.cid;
		xr_msg_send(slot->ctrl->reactor, &slot->abort_msg);
	}
}

static const struct host_queue_ops slot_queue_ops = {
	.live = on_queue_live,
	.lost = on_queue_lost,
	.gone = on_queue_gone,
	.overdue = on_queue_overdue,
};

static void open_queue(struct host_slot *slot)
{
	struct xu_error err = {0};

	free(slot->lost); /* of one that was refused */
	slot->lost = calloc(slot->start_opts.entries, sizeof(*slot->lost));
	slot->nr_lost = 0;
	if (slot->lost == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making an I/O queue");
		tell_lost(slot, &err, false);
		return;
	}
	slot->state = HOST_SLOT_STARTING;
	if (host_queue_open(&slot->queue, &slot->start_opts) != 0) {
		tell_lost(slot, &slot->queue.err, false);
	}
}

static void on_start(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, start_msg);

	slot->fail_errno = 0;
	slot->has_vwc = slot->start_has_vwc;
	slot->doubts = slot->start_doubts;
	slot->nr_doubts = slot->start_nr_doubts;
	slot->doubt_until_ns = slot->start_doubt_until_ns;
	if (slot->start_via == NULL) {
		open_queue(slot);
		return;
	}
	slot->via = slot->start_via;
	slot->state = HOST_SLOT_FORWARD;
	xr_msg_send(slot->ctrl->reactor, &slot->started_msg);
	host_io_pump(slot);
}

static void on_stop(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, stop_msg);

	slot->state = HOST_SLOT_STOPPING;
	slot->fail_errno = atomic_load(&slot->ctrl->policy_errno);
	if (host_queue_is_open(&slot->queue)) {
		host_queue_close(&slot->queue);
	} else {
		stopped(slot);
	}
}

void host_slot_want(struct host_slot *slot)
{
	if (!slot->is_wanted) {
		slot->is_wanted = true;
		slot->fail_errno = atomic_load(&slot->ctrl->policy_errno);
		xr_msg_send(slot->ctrl->reactor, &slot->want_msg);
	}
}

void host_slot_add_doubt(struct host_slot *slot, uint64_t id, uint64_t start, uint64_t end)
{
	slot->lost[slot->nr_lost++] = (struct host_doubt){.start = start, .end = end, .id = id};
}

/* ---- on the control reactor ---- */

static uint32_t nr_own_queues(const struct host_ctrl *ctrl)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		const struct host_slot *slot = &ctrl->slots[i];

		count += (slot->phase == HOST_PHASE_STARTING || slot->phase == HOST_PHASE_LIVE) &&
			 slot->start_via == NULL;
	}
	return count;
}

/* The lowest queue identifier that no slot uses; there is one as long as queues are left. */
static uint16_t free_qid(const struct host_ctrl *ctrl)
{
	for (uint16_t qid = 1;; qid++) {
		bool is_used = false;

		for (uint32_t i = 0; i < ctrl->nr_slots && !is_used; i++) {
			const struct host_slot *slot = &ctrl->slots[i];

			is_used = slot->phase != HOST_PHASE_NONE && slot->start_via == NULL &&
				  slot->start_opts.qid == qid;
		}
		if (!is_used) {
			return qid;
		}
	}
}

/* A slot with a queue of its own, chosen so that forwarding spreads; NULL: there is none. */
static struct host_slot *choose_via(const struct host_ctrl *ctrl, const struct host_slot *for_slot)
{
	uint32_t nr_own = nr_own_queues(ctrl), skip;

	if (nr_own == 0) {
		return NULL;
	}
	skip = for_slot->index % nr_own;
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		struct host_slot *slot = &ctrl->slots[i];

		if ((slot->phase == HOST_PHASE_STARTING || slot->phase == HOST_PHASE_LIVE) &&
			slot->start_via == NULL && skip-- == 0) {
			return slot;
		}
	}
	return NULL;
}

static void set_opts(struct host_slot *slot)
{
	const struct host_ctrl *ctrl = slot->ctrl;
	uint64_t grace_ns = ctrl->io_timeout_ns < GRACE_MAX_NS ? ctrl->io_timeout_ns : GRACE_MAX_NS;

	slot->start_opts = (struct host_queue_opts){
		.peer = &ctrl->peer,
		.qid = free_qid(ctrl),
		.cntlid = ctrl->info.cntlid,
		.entries = ctrl->queue_size < ctrl->info.max_entries ? ctrl->queue_size
								     : ctrl->info.max_entries,
		.icd_bytes = ctrl->info.icd_bytes,
		.timeout_ns = ctrl->io_timeout_ns,
		.grace_ns = grace_ns,
	};
	if (slot->start_opts.entries < 2) {
		slot->start_opts.entries = 2;
	}
}

static void start(struct host_slot *slot)
{
	struct host_ctrl *ctrl = slot->ctrl;

	slot->start_via = NULL;
	if (slot->must_forward || nr_own_queues(ctrl) >= ctrl->info.nr_queues) {
		slot->start_via = choose_via(ctrl, slot);
	}
	if (slot->start_via == NULL) {
		set_opts(slot);
	}
	slot->must_forward = false;
	slot->start_has_vwc = ctrl->info.has_vwc;
	slot->start_doubts = ctrl->doubts;
	slot->start_nr_doubts = ctrl->nr_doubts;
	slot->start_doubt_until_ns = ctrl->doubt_until_ns;
	slot->phase = HOST_PHASE_STARTING;
	xr_msg_send(slot->reactor, &slot->start_msg);
}

static void stop(struct host_slot *slot)
{
	if (slot->phase != HOST_PHASE_NONE && slot->phase != HOST_PHASE_STOPPING) {
		slot->phase = HOST_PHASE_STOPPING;
		xr_msg_send(slot->reactor, &slot->stop_msg);
	}
}

void host_slots_start(struct host_ctrl *ctrl)
{
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		if (ctrl->slots[i].is_known && ctrl->slots[i].phase == HOST_PHASE_NONE) {
			start(&ctrl->slots[i]);
		}
	}
}

void host_slots_stop(struct host_ctrl *ctrl)
{
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		ctrl->slots[i].must_forward = false;
		stop(&ctrl->slots[i]);
	}
}

static bool is_connected(const struct host_ctrl *ctrl)
{
	return ctrl->state == HOST_CTRL_LIVE ||
	       (ctrl->state == HOST_CTRL_CONNECTING && ctrl->steps.parts == NULL);
}

static void on_want(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, want_msg);

	slot->is_known = true;
	if (is_connected(slot->ctrl) && slot->ctrl->admin.state == HOST_QUEUE_LIVE) {
		start(slot);
	}
}

static void on_started(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, started_msg);

	if (slot->phase == HOST_PHASE_STARTING) {
		slot->phase = slot->start_via != NULL ? HOST_PHASE_FORWARD : HOST_PHASE_LIVE;
		host_ctrl_check(slot->ctrl);
	}
}

static void on_lost(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, lost_msg);
	struct host_ctrl *ctrl = slot->ctrl;

	/* Refused, while others are there: it can do without. */
	if (slot->phase == HOST_PHASE_STARTING && slot->is_refused && is_connected(ctrl) &&
		nr_own_queues(ctrl) > 1) {
		xu_warn(ctrl->log, "%s: %s; reactor %u uses another one's queue", ctrl->dev.name,
			slot->lost_err.text, slot->index);
		stop(slot);
		slot->must_forward = true;
		return;
	}
	if (slot->phase == HOST_PHASE_STARTING || slot->phase == HOST_PHASE_LIVE) {
		host_ctrl_reset(ctrl, &slot->lost_err);
	}
}

static void on_stopped(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, stopped_msg);

	slot->phase = HOST_PHASE_NONE;
	if (slot->must_forward && is_connected(slot->ctrl)) {
		start(slot);
		return;
	}
	host_ctrl_check(slot->ctrl);
}

/* ---- Abort ---- */

static void on_abort_done(struct host_req *req, uint16_t status)
{
	struct host_slot *slot = req->arg;

	(void)status; /* when it has done nothing, the grace time of the command says so */
	atomic_store(&slot->is_abort_asked, false);
}

static void on_abort(struct xr_msg *msg)
{
	struct host_slot *slot = xu_container_of(msg, struct host_slot, abort_msg);
	struct host_ctrl *ctrl = slot->ctrl;
	struct host_req *req = ctrl->state == HOST_CTRL_LIVE && slot->phase == HOST_PHASE_LIVE
				       ? host_req_get(&ctrl->admin)
				       : NULL;

	if (req == NULL) {
		atomic_store(&slot->is_abort_asked, false);
		return;
	}
	xu_warn(ctrl->log,
		"%s: a command on queue %u takes longer than %llu ms; asking for its end",
		ctrl->dev.name, slot->start_opts.qid,
		(unsigned long long)(ctrl->io_timeout_ns / XU_NS_PER_MS));
	req->cmd = (struct nvme_cmd){
		.opc = NVME_ADMIN_ABORT,
		.cid = req->cmd.cid,
		.cdw10 = slot->start_opts.qid | (uint32_t)slot->abort_cid << 16,
	};
	req->done = on_abort_done;
	req->arg = slot;
	host_req_start(req);
}

/* ---- the policy ---- */

static void follow_policy(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct host_ctrl *ctrl = xu_container_of(hop, struct host_ctrl, policy_hop);
	struct host_slot *slot = &ctrl->slots[xr_reactor_index(reactor)];

	slot->fail_errno = atomic_load(&ctrl->policy_errno);
	host_io_settle(slot);
}

static void policy_followed(struct xbdev_hop *hop)
{
	struct host_ctrl *ctrl = xu_container_of(hop, struct host_ctrl, policy_hop);

	if (ctrl->must_hop_again) {
		ctrl->must_hop_again = false;
		xbdev_hop_start(&ctrl->policy_hop, ctrl->ctx);
		return;
	}
	ctrl->is_hopping = false;
	host_ctrl_check(ctrl);
}

void host_slots_set_policy(struct host_ctrl *ctrl, int policy_errno)
{
	atomic_store(&ctrl->policy_errno, policy_errno);
	if (ctrl->is_hopping) {
		ctrl->must_hop_again = true;
		return;
	}
	ctrl->is_hopping = true;
	ctrl->policy_hop.fn = follow_policy;
	ctrl->policy_hop.done = policy_followed;
	xbdev_hop_start(&ctrl->policy_hop, ctrl->ctx);
}

/* ---- writes in doubt ---- */

/* Without memory for the list, everything is in doubt. */
static void doubt_everything(struct host_ctrl *ctrl, uint64_t deadline_ns)
{
	ctrl->all_in_doubt = (struct host_doubt){.end = UINT64_MAX, .deadline_ns = deadline_ns};
	free(ctrl->doubt_memory);
	ctrl->doubt_memory = NULL;
	ctrl->doubts = &ctrl->all_in_doubt;
	ctrl->nr_doubts = 1;
}

static void drop_lost(struct host_ctrl *ctrl)
{
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		free(ctrl->slots[i].lost);
		ctrl->slots[i].lost = NULL;
		ctrl->slots[i].nr_lost = 0;
	}
}

void host_slots_gather_doubts(struct host_ctrl *ctrl, uint64_t quiesce_ns)
{
	uint64_t now_ns = xr_now_ns(ctrl->reactor), deadline_ns = now_ns + quiesce_ns;
	uint32_t count = ctrl->doubt_until_ns > now_ns ? ctrl->nr_doubts : 0, nr = 0, nr_lost = 0;
	struct host_doubt *doubts;

	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		nr_lost += ctrl->slots[i].nr_lost;
	}
	if (nr_lost == 0 || quiesce_ns == 0) {
		drop_lost(ctrl);
		ctrl->nr_doubts = count;
		return;
	}
	ctrl->doubt_until_ns =
		deadline_ns > ctrl->doubt_until_ns ? deadline_ns : ctrl->doubt_until_ns;
	doubts = calloc((size_t)count + nr_lost, sizeof(*doubts));
	if (doubts == NULL) {
		drop_lost(ctrl);
		doubt_everything(ctrl, ctrl->doubt_until_ns);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (ctrl->doubts[i].deadline_ns > now_ns) {
			doubts[nr++] = ctrl->doubts[i];
		}
	}
	for (uint32_t i = 0; i < ctrl->nr_slots; i++) {
		for (uint32_t j = 0; j < ctrl->slots[i].nr_lost; j++) {
			doubts[nr] = ctrl->slots[i].lost[j];
			doubts[nr++].deadline_ns = deadline_ns;
		}
	}
	drop_lost(ctrl);
	free(ctrl->doubt_memory);
	ctrl->doubt_memory = doubts;
	ctrl->doubts = doubts;
	ctrl->nr_doubts = nr;
}

/* ---- life ---- */

void host_slot_init(struct host_slot *slot, struct host_ctrl *ctrl, uint32_t index)
{
	slot->ctrl = ctrl;
	slot->index = index;
	slot->reactor = xbdev_ctx_reactor(ctrl->ctx, index);
	host_queue_init(&slot->queue, slot->reactor, &slot_queue_ops, ctrl->dev.name);
	xu_list_init(&slot->line);
	xu_list_init(&slot->retry);
	slot->retry_timer.fn = host_io_on_retry_timer;
	slot->want_msg.fn = on_want;
	slot->start_msg.fn = on_start;
	slot->started_msg.fn = on_started;
	slot->stop_msg.fn = on_stop;
	slot->stopped_msg.fn = on_stopped;
	slot->lost_msg.fn = on_lost;
	slot->abort_msg.fn = on_abort;
}
