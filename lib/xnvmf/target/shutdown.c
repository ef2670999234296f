/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shutdown of a controller (CC.SHN; Base 2.0, 3.6.1). The host takes "complete" for leave to forget
 * its data, so it is told only when all that was acknowledged to it is durable:
 *
 *   CC.SHN set -> I/O queues end; what their devices have comes back
 *              -> every namespace is flushed, one after another, through the control reactor's
 *                 channels (a flush covers the writes of all channels)
 *              -> CSTS.SHST is "complete", or, when a flush failed, CSTS.CFS is set and it is not
 *
 * A controller stays until its flushes are back. A reset in the middle lets them run and forgets
 * them; a shutdown asked for after that flushes again from the start, for it covers newer writes.
 */
#include <errno.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

static void finish(struct xnvmf_ctrl *ctrl)
{
	ctrl->shutdown.is_flushing = false;
	if (ctrl->shutdown.is_asked) { /* again */
		xnvmf__shutdown_continue(ctrl);
		return;
	}
	if (NVME_CC_SHN(ctrl->cc) != 0) {
		if (ctrl->shutdown.has_failed) {
			ctrl->csts |= NVME_CSTS_CFS;
		} else {
			ctrl->csts = (ctrl->csts & ~NVME_CSTS_SHST_MASK) | NVME_CSTS_SHST_DONE;
		}
	}
	xnvmf__ctrl_free_if_done(ctrl);
}

/* The next namespace that is there; NULL: that was the last. */
static struct xnvmf_group_ns *next_ns(struct xnvmf_ctrl *ctrl)
{
	struct xnvmf_group_subsystem *group = &ctrl->subsystem->groups[0];

	while (ctrl->shutdown.nsid < ctrl->subsystem->max_namespaces) {
		struct xnvmf_group_ns *ns = &group->ns[ctrl->shutdown.nsid++];

		if (ns->ch != NULL && !ns->is_removing) {
			return ns;
		}
	}
	return NULL;
}

static void note_result(struct xnvmf_ctrl *ctrl, int error)
{
	/* What is being removed takes its data with it, flushed or not. */
	if (error != 0 && error != -ENODEV) {
		ctrl->shutdown.has_failed = true;
		xu_err(ctrl->subsystem->target->log,
			"%s: controller %u of %s shuts down, but namespace %u could not be "
			"flushed: %s; its host is not told that the shutdown is complete",
			ctrl->subsystem->nqn, ctrl->cntlid, ctrl->hostnqn, ctrl->shutdown.nsid,
			strerror(-error));
	}
}

static void on_flushed(struct xbdev_io *io, int error);

static void flush_next(struct xnvmf_ctrl *ctrl)
{
	struct xbdev_io *io = &ctrl->shutdown.io;
	struct xnvmf_group_ns *ns;
	int rc;

	while ((ns = next_ns(ctrl)) != NULL) {
		*io = (struct xbdev_io){.ch = ns->ch, .cb = on_flushed, .op = XBDEV_OP_FLUSH};
		rc = xbdev_io_submit(io);
		if (rc == 0) {
			ctrl->shutdown.ns = ns;
			ns->nr_inflight++;
			return;
		}
		note_result(ctrl, rc);
	}
	finish(ctrl);
}

static void on_flushed(struct xbdev_io *io, int error)
{
	struct xnvmf_ctrl *ctrl = xu_container_of(io, struct xnvmf_ctrl, shutdown.io);

	note_result(ctrl, error);
	xnvmf__group_ns_leave(ctrl->shutdown.ns);
	flush_next(ctrl);
}

void xnvmf__shutdown_continue(struct xnvmf_ctrl *ctrl)
{
	if (!ctrl->shutdown.is_asked || ctrl->shutdown.is_flushing || ctrl->nr_io_qpairs != 0) {
		return;
	}
	ctrl->shutdown.is_asked = false;
	ctrl->shutdown.is_flushing = true;
	ctrl->shutdown.has_failed = false;
	ctrl->shutdown.nsid = 0;
	flush_next(ctrl);
}

void xnvmf__shutdown_start(struct xnvmf_ctrl *ctrl)
{
	ctrl->csts = (ctrl->csts & ~NVME_CSTS_SHST_MASK) | NVME_CSTS_SHST_PROCESSING;
	ctrl->shutdown.is_asked = true;
	xnvmf__shutdown_continue(ctrl);
}
