/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controllers: properties, keep-alive, asynchronous events. A controller lives on the control
 * reactor with its admin queue. It is made by an admin Connect and dies with its admin connection,
 * by keep-alive expiry, by losing the right to be there, or with its subsystem; then its queues are
 * ended wherever they live, and the last one to go frees it.
 *
 * An I/O connection that breaks takes the association with it, unless the host can do without
 * (Base 3.3.2.4). One that the host closes in good order does not: a Linux host that disconnects
 * closes its I/O connections first and then still wants to shut down by the admin queue.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

#define CAP_TO_500MS     30u /* 15 s for CC.EN to take effect */
#define NOT_ENABLED_NS   (120 * XU_NS_PER_S)
#define KEEP_ALIVE_SLACK XU_NS_PER_S /* a paused reactor must not expire a healthy host */

/* ---- keep-alive ---- */

static void on_keep_alive_timer(struct xr_timer *timer)
{
	struct xnvmf_ctrl *ctrl = xu_container_of(timer, struct xnvmf_ctrl, keep_alive);
	struct xr_reactor *reactor = xnvmf__control(ctrl->subsystem->target);
	uint64_t limit_ns = ctrl->kato_ms * XU_NS_PER_MS;
	uint64_t quiet_ns = xr_now_ns(reactor) - ctrl->last_alive_ns;

	if (quiet_ns < limit_ns) {
		ctrl->is_overdue = false;
		xr_timer_start(reactor, &ctrl->keep_alive, limit_ns - quiet_ns);
		return;
	}
	if (!ctrl->is_overdue) {
		/* After a pause of ours its commands are still in the socket: read them first. */
		ctrl->is_overdue = true;
		xr_timer_start(reactor, &ctrl->keep_alive, KEEP_ALIVE_SLACK);
		return;
	}
	ctrl->csts |= NVME_CSTS_CFS;
	xnvmf__ctrl_kill(ctrl, "keep-alive expired");
}

void xnvmf__ctrl_keep_alive(struct xnvmf_ctrl *ctrl)
{
	ctrl->last_alive_ns = xr_now_ns(xnvmf__control(ctrl->subsystem->target));
	ctrl->is_overdue = false; /* a second pause has its slack again */
}

/* The timer runs while the controller is ready; a discovery controller without one ends when it
 * has been quiet for as long as one that is never enabled. */
static void arm_timers(struct xnvmf_ctrl *ctrl)
{
	struct xr_reactor *reactor = xnvmf__control(ctrl->subsystem->target);
	bool is_ready = xnvmf__ctrl_is_ready(ctrl) && NVME_CC_SHN(ctrl->cc) == 0;

	xnvmf__room_touch(ctrl);
	xnvmf__ctrl_keep_alive(ctrl);
	xr_timer_stop(reactor, &ctrl->keep_alive);
	xr_timer_stop(reactor, &ctrl->idle);
	if (is_ready && ctrl->kato_ms != 0) {
		xr_timer_start(reactor, &ctrl->keep_alive, ctrl->kato_ms * XU_NS_PER_MS);
	} else if (!is_ready || ctrl->subsystem->is_discovery) {
		xr_timer_start(reactor, &ctrl->idle, NOT_ENABLED_NS);
	}
}

static void on_idle_timer(struct xr_timer *timer)
{
	struct xnvmf_ctrl *ctrl = xu_container_of(timer, struct xnvmf_ctrl, idle);
	struct xr_reactor *reactor = xnvmf__control(ctrl->subsystem->target);
	uint64_t quiet_ns = xr_now_ns(reactor) - ctrl->last_alive_ns;

	if (quiet_ns < NOT_ENABLED_NS) {
		xr_timer_start(reactor, &ctrl->idle, NOT_ENABLED_NS - quiet_ns);
		return;
	}
	xnvmf__ctrl_kill(ctrl, "not enabled, or idle, for two minutes");
}

void xnvmf__ctrl_set_kato(struct xnvmf_ctrl *ctrl, uint32_t kato_ms)
{
	/* Rounded up to the granularity that Identify tells (KAS, 1 s). */
	uint64_t rounded = ((uint64_t)kato_ms + 999) / 1000 * 1000;

	ctrl->kato_ms = rounded > UINT32_MAX ? UINT32_MAX / 1000 * 1000 : (uint32_t)rounded;
	arm_timers(ctrl);
}

/* ---- properties ---- */

uint64_t xnvmf__ctrl_cap(const struct xnvmf_ctrl *ctrl)
{
	uint64_t mqes = ctrl->queue_depth - 1u;

	return mqes | 1ull << 16 /* CQR */ | (uint64_t)CAP_TO_500MS << 24 | 1ull << 37 /* NVM */;
}

static void end_io_queues(struct xnvmf_ctrl *ctrl)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &ctrl->io_qpairs) {
		xnvmf__qpair_disconnect(xu_list_entry(node, struct xnvmf_qpair, control_link));
	}
}

static void enable(struct xnvmf_ctrl *ctrl, uint32_t cc)
{
	bool is_io = !ctrl->subsystem->is_discovery;

	/* A discovery controller has no I/O queues, so their entry sizes mean nothing there. */
	if ((is_io && (NVME_CC_IOSQES(cc) != 6 || NVME_CC_IOCQES(cc) != 4)) ||
		NVME_CC_MPS(cc) != 0 || NVME_CC_AMS(cc) != 0 || NVME_CC_CSS(cc) != 0) {
		ctrl->csts |= NVME_CSTS_CFS;
		xu_warn(ctrl->subsystem->target->log,
			"%s: controller %u was enabled with CC %08x, which it cannot do",
			ctrl->subsystem->nqn, ctrl->cntlid, cc);
		return;
	}
	ctrl->csts = NVME_CSTS_RDY;
}

/* Controller reset: the admin queue stays for the next enable. RDY is 1 until nothing of the I/O
 * queues is with a device any more, or a write of theirs might land on newer data. */
static void reset(struct xnvmf_ctrl *ctrl)
{
	ctrl->is_resetting = ctrl->nr_io_qpairs != 0;
	ctrl->csts = ctrl->is_resetting ? NVME_CSTS_RDY : 0;
	ctrl->shutdown.is_asked = false;
	xnvmf__ctrl_drop_aers(ctrl); /* forgotten in silence (Base 5.1.2) */
	ctrl->nr_queues = ctrl->subsystem->target->opts.max_queues;
	end_io_queues(ctrl);
}

/* The last I/O queue is gone. */
static void reset_end(struct xnvmf_ctrl *ctrl)
{
	uint32_t shst = ctrl->csts & NVME_CSTS_SHST_MASK; /* of a shutdown asked for meanwhile */

	ctrl->is_resetting = false;
	ctrl->csts = 0;
	if (ctrl->cc & NVME_CC_EN) {
		enable(ctrl, ctrl->cc); /* by a host that has not waited */
	}
	ctrl->csts |= shst;
	arm_timers(ctrl);
}

bool xnvmf__ctrl_is_ready(const struct xnvmf_ctrl *ctrl)
{
	return (ctrl->csts & NVME_CSTS_RDY) != 0 && !ctrl->is_resetting;
}

void xnvmf__ctrl_set_cc(struct xnvmf_ctrl *ctrl, uint32_t cc)
{
	uint32_t old = ctrl->cc;

	ctrl->cc = cc;
	if (!(old & NVME_CC_EN) && (cc & NVME_CC_EN)) {
		if (ctrl->is_resetting) {
			ctrl->csts = 0;
		} else {
			enable(ctrl, cc);
		}
	} else if ((old & NVME_CC_EN) && !(cc & NVME_CC_EN)) {
		reset(ctrl);
	}
	if (NVME_CC_SHN(cc) != 0 && NVME_CC_SHN(old) == 0) {
		end_io_queues(ctrl);
		xnvmf__shutdown_start(ctrl);
	}
	arm_timers(ctrl);
}

/* ---- errors ---- */

static void add_error(struct xnvmf_ctrl *ctrl, const struct nvme_error_entry *entry)
{
	struct nvme_error_entry *place = &ctrl->errors[ctrl->error_count % XNVMF_ERROR_ENTRIES];

	*place = *entry;
	place->error_count = ++ctrl->error_count;
}

static void on_error_msg(struct xr_msg *msg)
{
	struct xnvmf_qpair *qpair = xu_container_of(msg, struct xnvmf_qpair, error_msg);

	add_error(qpair->ctrl, &qpair->error);
	atomic_store(&qpair->is_error_sent, false);
}

/* A queue has one entry under way at a time; of a burst of errors the first is enough. */
void xnvmf__log_error(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;
	struct nvme_error_entry entry = {
		.sqid = qpair->qid,
		.cid = req->cmd.cid,
		.status = req->cpl.status,
		.parm_error_location = UINT16_MAX,
		.lba = qpair->qid != 0 ? (uint64_t)req->cmd.cdw11 << 32 | req->cmd.cdw10 : 0,
		.nsid = req->cmd.opc == NVME_FABRICS ? 0 : req->cmd.nsid,
		.trtype = qpair->transport->trtype,
	};

	if (qpair->reactor == xnvmf__control(qpair->target)) {
		add_error(qpair->ctrl, &entry);
	} else if (!atomic_exchange(&qpair->is_error_sent, true)) {
		qpair->error = entry;
		qpair->error_msg.fn = on_error_msg;
		xr_msg_send(xnvmf__control(qpair->target), &qpair->error_msg);
	}
}

/* ---- asynchronous events ---- */

static void complete_aer(struct xnvmf_ctrl *ctrl, uint32_t dw0)
{
	struct xnvmf_req *req = ctrl->aers[--ctrl->nr_aers];

	req->cpl.dw0 = dw0;
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

/* Tells what is to be told; one report of a kind until its log has been read. */
static void report_events(struct xnvmf_ctrl *ctrl)
{
	if (ctrl->nr_aers != 0 && ctrl->is_ns_attr_pending && !ctrl->is_ns_attr_masked) {
		ctrl->is_ns_attr_pending = false;
		ctrl->is_ns_attr_masked = true;
		complete_aer(ctrl, NVME_AEN_NS_ATTR);
	}
	for (uint32_t i = 0; i < XNVMF_NR_LOGS; i++) {
		struct xnvmf_ctrl_log *log = &ctrl->sight.logs[i];

		if (ctrl->nr_aers != 0 && log->is_pending && !log->is_masked) {
			log->is_pending = false;
			log->is_masked = true;
			complete_aer(
				ctrl, i == XNVMF_LOG_HOSTS ? NVME_AEN_HOSTS : NVME_AEN_DISCOVERY);
		}
	}
}

void xnvmf__aer(struct xnvmf_req *req)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;

	if (ctrl->nr_aers == XNVMF_AERL) {
		xnvmf__req_complete(req, NVME_SC_AER_LIMIT);
		return;
	}
	ctrl->aers[ctrl->nr_aers++] = req;
	report_events(ctrl);
}

void xnvmf__aer_log_read(struct xnvmf_ctrl *ctrl, uint8_t lid)
{
	if (lid == NVME_LOG_CHANGED_NS) {
		ctrl->is_ns_attr_masked = false;
	} else if (lid == NVME_LOG_DISCOVERY) {
		ctrl->sight.logs[XNVMF_LOG_TARGETS].is_masked = false;
	} else if (lid == NVME_LOG_HOST_DISCOVERY) {
		ctrl->sight.logs[XNVMF_LOG_HOSTS].is_masked = false;
	}
	report_events(ctrl);
}

bool xnvmf__aer_abort(struct xnvmf_ctrl *ctrl, uint16_t cid)
{
	for (uint32_t i = 0; i < ctrl->nr_aers; i++) {
		struct xnvmf_req *req = ctrl->aers[i];

		if (req->cmd.cid == cid) {
			ctrl->aers[i] = ctrl->aers[--ctrl->nr_aers];
			xnvmf__req_complete(req, NVME_SC_ABORTED);
			return true;
		}
	}
	return false;
}

void xnvmf__ctrl_ns_changed(struct xnvmf_ctrl *ctrl, uint32_t nsid)
{
	ctrl->changed_ns[(nsid - 1) / 32] |= 1u << ((nsid - 1) % 32);
	if (ctrl->aec & NVME_OAES_NS_ATTR) {
		ctrl->is_ns_attr_pending = true;
		report_events(ctrl);
	}
}

void xnvmf__ctrl_discovery_changed(struct xnvmf_ctrl *ctrl, enum xnvmf_log which)
{
	if (ctrl->aec & (which == XNVMF_LOG_HOSTS ? NVME_OAES_HOSTS : NVME_OAES_DISCOVERY)) {
		ctrl->sight.logs[which].is_pending = true;
		report_events(ctrl);
	}
}

/* ---- life ---- */

struct xnvmf_ctrl *xnvmf__ctrl_find(struct xnvmf_subsystem *subsystem, uint16_t cntlid)
{
	struct xu_list *node;

	xu_list_for_each (node, &subsystem->ctrls) {
		struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);

		if (ctrl->cntlid == cntlid) {
			return ctrl;
		}
	}
	return NULL;
}

/* The next identifier that is not in use, 1 … FFEFh, in turn so that none comes back soon. */
static uint16_t new_cntlid(struct xnvmf_subsystem *subsystem)
{
	do {
		subsystem->next_cntlid =
			subsystem->next_cntlid >= 0xffefu ? 1 : subsystem->next_cntlid + 1u;
	} while (xnvmf__ctrl_find(subsystem, subsystem->next_cntlid) != NULL);
	return subsystem->next_cntlid;
}

/* The host's entry, with one more controller. NULL: out of memory. */
static struct xnvmf_initiator *get_initiator(struct xnvmf_target *target, const char *nqn)
{
	uint32_t nr_reactors = xbdev_ctx_nr_reactors(target->ctx);
	struct xnvmf_initiator *initiator;
	struct xu_list *node;

	xu_list_for_each (node, &target->initiators) {
		initiator = xu_list_entry(node, struct xnvmf_initiator, link);
		if (strcmp(initiator->nqn, nqn) == 0) {
			initiator->nr_ctrls++;
			return initiator;
		}
	}
	initiator = aligned_alloc(
		XU_CACHE_LINE, sizeof(*initiator) + nr_reactors * sizeof(struct xnvmf_share));
	if (initiator == NULL) {
		return NULL;
	}
	strcpy(initiator->nqn, nqn);
	initiator->nr_ctrls = 1;
	xnvmf__share_init(&initiator->admin);
	for (uint32_t i = 0; i < nr_reactors; i++) {
		xnvmf__share_init(&initiator->shares[i]);
	}
	xu_list_add_tail(&target->initiators, &initiator->link);
	return initiator;
}

static void put_initiator(struct xnvmf_initiator *initiator)
{
	if (--initiator->nr_ctrls == 0) {
		xu_list_del(&initiator->link);
		free(initiator);
	}
}

struct xnvmf_ctrl *xnvmf__ctrl_new(struct xnvmf_subsystem *subsystem,
	const struct nvme_connect_data *data, uint32_t kato_ms, struct xnvmf_qpair *admin)
{
	struct xnvmf_ctrl *ctrl = calloc(1, sizeof(*ctrl));

	if (ctrl == NULL) {
		return NULL;
	}
	ctrl->initiator = get_initiator(subsystem->target, data->hostnqn);
	if (ctrl->initiator == NULL) {
		free(ctrl);
		return NULL;
	}
	ctrl->subsystem = subsystem;
	ctrl->cntlid = new_cntlid(subsystem);
	memcpy(ctrl->hostid, data->hostid, sizeof(ctrl->hostid));
	strcpy(ctrl->hostnqn, data->hostnqn);
	ctrl->admin = admin;
	ctrl->nr_queues = subsystem->target->opts.max_queues;
	ctrl->queue_depth = xnvmf__policy_queue_depth(subsystem);
	ctrl->keep_alive.fn = on_keep_alive_timer;
	ctrl->idle.fn = on_idle_timer;
	ctrl->start_ns = xr_now_ns(admin->reactor);
	/* A persistent discovery connection wants events from the start (Base 5.1.2). */
	ctrl->aec = subsystem->is_discovery && kato_ms != 0
			    ? xnvmf__discovery_events(subsystem->target)
			    : 0;
	xu_list_init(&ctrl->io_qpairs);
	xu_list_init(&ctrl->idle_link);
	xu_list_add_tail(&subsystem->ctrls, &ctrl->link);
	xnvmf__ctrl_set_kato(ctrl, kato_ms);
	return ctrl;
}

void xnvmf__ctrl_drop_aers(struct xnvmf_ctrl *ctrl)
{
	while (ctrl->nr_aers != 0) {
		struct xnvmf_req *req = ctrl->aers[--ctrl->nr_aers];

		req->qpair->transport->drop(req);
	}
}

void xnvmf__ctrl_kill(struct xnvmf_ctrl *ctrl, const char *why)
{
	if (ctrl->is_dead) {
		return;
	}
	ctrl->is_dead = true;
	xu_list_del(&ctrl->idle_link);
	xu_info(ctrl->subsystem->target->log, "%s: controller %u of %s ends: %s",
		ctrl->subsystem->nqn, ctrl->cntlid, ctrl->hostnqn, why);
	end_io_queues(ctrl);
	if (ctrl->admin != NULL) {
		xnvmf__qpair_disconnect(ctrl->admin);
	}
}

void xnvmf__ctrl_leave_port(struct xnvmf_ctrl *ctrl, const struct xnvmf_port *port)
{
	struct xu_list *node, *next;

	if (ctrl->admin != NULL && ctrl->admin->port == port) {
		xnvmf__ctrl_kill(ctrl, "its listener is being removed");
		return;
	}
	xu_list_for_each_safe (node, next, &ctrl->io_qpairs) {
		struct xnvmf_qpair *qpair = xu_list_entry(node, struct xnvmf_qpair, control_link);

		if (qpair->port != port) {
			continue;
		}
		if (!ctrl->has_queue_deletion) {
			xnvmf__ctrl_kill(ctrl, "the listener of an I/O queue is being removed");
			return;
		}
		xnvmf__qpair_disconnect(qpair);
	}
}

void xnvmf__ctrl_free_if_done(struct xnvmf_ctrl *ctrl)
{
	struct xnvmf_subsystem *subsystem = ctrl->subsystem;
	struct xr_reactor *reactor = xnvmf__control(subsystem->target);

	if (ctrl->admin != NULL || ctrl->nr_io_qpairs != 0 || ctrl->shutdown.is_flushing) {
		return;
	}
	xr_timer_stop(reactor, &ctrl->keep_alive);
	xr_timer_stop(reactor, &ctrl->idle);
	xu_list_del(&ctrl->link);
	put_initiator(ctrl->initiator);
	xnvmf__discovery_gone(ctrl);
	free(ctrl);
	xnvmf__connect_held(subsystem->target);
	xnvmf__subsystem_check(subsystem);
}

void xnvmf__ctrl_qpair_gone(struct xnvmf_ctrl *ctrl, struct xnvmf_qpair *qpair)
{
	if (qpair == ctrl->admin) {
		ctrl->admin = NULL;
		xnvmf__ctrl_kill(ctrl, "its admin connection is gone");
	} else {
		ctrl->nr_io_qpairs--;
		if (qpair->is_lost && !ctrl->has_queue_deletion) {
			xnvmf__ctrl_kill(ctrl, "an I/O connection broke");
		}
		if (ctrl->is_resetting && ctrl->nr_io_qpairs == 0 && !ctrl->is_dead) {
			reset_end(ctrl);
		}
	}
	if (ctrl->shutdown.is_asked && ctrl->nr_io_qpairs == 0) {
		xnvmf__shutdown_continue(ctrl);
	} else {
		xnvmf__ctrl_free_if_done(ctrl);
	}
}
