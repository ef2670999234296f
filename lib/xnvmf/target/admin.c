/* SPDX-License-Identifier: BSD-3-Clause */
/* Admin commands: which exist, when they are legal, and the small ones. */
#include <string.h>

#include "lib/xnvmf/target/private.h"

static void keep_alive(struct xnvmf_req *req)
{
	xnvmf__ctrl_keep_alive(req->qpair->ctrl);
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

struct admin_command {
	void (*execute)(struct xnvmf_req *req);
	bool is_io;        /* on I/O controllers */
	bool is_discovery; /* on discovery controllers */
};

static const struct admin_command commands[256] = {
	[NVME_ADMIN_GET_LOG_PAGE] = {xnvmf__get_log_page, true, true},
	[NVME_ADMIN_IDENTIFY] = {xnvmf__identify, true, true},
	[NVME_ADMIN_ABORT] = {xnvmf__abort, true, true},
	[NVME_ADMIN_SET_FEATURES] = {xnvmf__set_features, true, true},
	[NVME_ADMIN_GET_FEATURES] = {xnvmf__get_features, true, true},
	[NVME_ADMIN_ASYNC_EVENT] = {xnvmf__aer, true, true},
	[NVME_ADMIN_KEEP_ALIVE] = {keep_alive, true, true},
	[NVME_ADMIN_DISCOVERY_INFO] = {xnvmf__dim, false, true},
};

bool xnvmf__admin_exists(const struct xnvmf_req *req)
{
	const struct admin_command *command = &commands[req->cmd.opc];

	if (req->cmd.opc == NVME_ADMIN_DISCOVERY_INFO &&
		req->qpair->target->discovery_ops->dim == NULL) {
		return false;
	}
	return req->qpair->subsystem->is_discovery ? command->is_discovery : command->is_io;
}

void xnvmf__admin_execute(struct xnvmf_req *req)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;

	if (ctrl->subsystem->is_discovery) {
		xnvmf__ctrl_keep_alive(ctrl); /* "idle" counts any command there */
	}
	xnvmf__room_touch(ctrl);
	if (NVME_CMD_FUSE(&req->cmd) != 0) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
	} else if (!xnvmf__ctrl_is_ready(ctrl)) {
		xnvmf__req_complete(req, NVME_SC_SEQUENCE);
	} else {
		commands[req->cmd.opc].execute(req);
	}
}
