/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Abort (Base 2.0, 5.1). A command can be taken back while it waits here: an event request, a
 * command in line for a buffer, a write whose data has not come. What a device has, or what is
 * being sent, goes on: bit 0 of DW0 then says "not aborted". The aborted command is completed
 * first.
 *
 * Queues live on other reactors, so the Abort goes there as a message and is answered when that is
 * back. As many as Identify allows (ACL) may be under way at a time.
 */
#include "lib/xnvmf/target/private.h"

static void answer(struct xnvmf_req *req, bool is_done)
{
	req->cpl.dw0 = is_done ? 0 : 1;
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

static void on_answered(struct xr_msg *msg)
{
	struct xnvmf_abort *abort = xu_container_of(msg, struct xnvmf_abort, msg);
	struct xnvmf_qpair *qpair = abort->qpair;
	struct xnvmf_req *req = abort->req;

	abort->req = NULL;
	answer(req, abort->is_done);
	qpair->nr_aborts--;
	xnvmf__qpair_free_if_done(qpair);
}

static void on_arrived(struct xr_msg *msg)
{
	struct xnvmf_abort *abort = xu_container_of(msg, struct xnvmf_abort, msg);
	struct xnvmf_qpair *qpair = abort->qpair;

	abort->is_done = qpair->transport->abort(qpair, abort->cid);
	abort->msg.fn = on_answered;
	xr_msg_send(xnvmf__control(qpair->target), &abort->msg);
}

/* The I/O queue, when it is there and has commands. */
static struct xnvmf_qpair *find_queue(const struct xnvmf_ctrl *ctrl, uint16_t qid)
{
	const struct xu_list *node;

	xu_list_for_each (node, &ctrl->io_qpairs) {
		struct xnvmf_qpair *qpair = xu_list_entry(node, struct xnvmf_qpair, control_link);

		if (qpair->qid == qid) {
			return qpair->is_moving || qpair->is_gone ? NULL : qpair;
		}
	}
	return NULL;
}

static void send_abort(struct xnvmf_req *req, struct xnvmf_qpair *qpair, uint16_t cid)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;

	for (uint32_t i = 0; i < XNVMF_ABORTS; i++) {
		struct xnvmf_abort *abort = &ctrl->aborts[i];

		if (abort->req == NULL) {
			abort->req = req;
			abort->qpair = qpair;
			abort->cid = cid;
			abort->msg.fn = on_arrived;
			qpair->nr_aborts++;
			xr_msg_send(qpair->home, &abort->msg);
			return;
		}
	}
	xnvmf__req_complete(req, NVME_SC_ABORT_LIMIT);
}

void xnvmf__abort(struct xnvmf_req *req)
{
	uint16_t sqid = (uint16_t)req->cmd.cdw10, cid = (uint16_t)(req->cmd.cdw10 >> 16);
	struct xnvmf_qpair *admin = req->qpair, *qpair;

	if (sqid == 0) {
		answer(req,
			xnvmf__aer_abort(admin->ctrl, cid) || admin->transport->abort(admin, cid));
		return;
	}
	qpair = find_queue(admin->ctrl, sqid);
	if (qpair == NULL) {
		answer(req, false);
	} else if (qpair->home == admin->reactor) {
		answer(req, qpair->transport->abort(qpair, cid));
	} else {
		send_abort(req, qpair, cid);
	}
}
