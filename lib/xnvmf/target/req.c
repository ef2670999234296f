/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way of a command:
 *
 *   capsule -> xnvmf__req_start: direction and length from opcode and SGL; early errors
 *           -> buffer (buffer.c; maybe waiting in line for one) -> transport fetches the host's
 * data
 *           -> xnvmf__req_execute: fabrics, admin or I/O
 *           -> xnvmf__req_complete -> transport sends data and completion -> xnvmf__req_free
 *
 * A request always comes back: whatever fails, it is completed with a status, and a connection that
 * ends waits for the requests that the device still has. A buffer is zeroed before a command that
 * may fill only a part of it, so nobody sees another's data.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

uint16_t xnvmf__status_of_errno(int error, bool is_write)
{
	switch (-error) {
	case 0:
		return NVME_SC_SUCCESS;
	case EBADE:
		return NVME_SC_COMPARE_FAILURE;
	case ENOSPC:
		return NVME_SC_CAPACITY;
	case EROFS:
		return NVME_SC_WRITE_PROTECTED;
	case ENODEV:
		return NVME_SC_INVALID_NS;
	case EINVAL:
		return NVME_SC_LBA_RANGE; /* the device shrank under the command */
	case EIO:
	case EILSEQ:
		return is_write ? NVME_SC_WRITE_FAULT : NVME_SC_READ_ERROR;
	default:
		return NVME_SC_INTERNAL;
	}
}

/* Bits 1:0 of an opcode, or of a Fabrics command type, tell the direction (Base 3.3.3.1). */
static enum xnvmf_data_dir direction_of(const struct nvme_cmd *cmd)
{
	uint8_t code = cmd->opc == NVME_FABRICS ? NVME_CMD_FCTYPE(cmd) : cmd->opc;

	switch (code & 0x3u) {
	case 1:
		return XNVMF_DATA_FROM_HOST;
	case 2:
		return XNVMF_DATA_TO_HOST;
	default:
		return XNVMF_DATA_NONE;
	}
}

/* Checks the one SGL descriptor; sets dir and data_len. */
static uint16_t parse_sgl(struct xnvmf_req *req)
{
	const struct nvme_sgl *sgl = &req->cmd.sgl;
	enum xnvmf_data_dir dir = direction_of(&req->cmd);
	/* Strangers have Connect to send, and no more of our memory than that takes. */
	bool is_new = req->qpair->state == XNVMF_QPAIR_NEW;
	uint32_t max = is_new ? (uint32_t)sizeof(struct nvme_connect_data)
			      : req->qpair->target->opts.max_io_size;

	if ((req->cmd.flags & NVME_PSDT_MASK) != NVME_PSDT_SGL && req->cmd.opc != NVME_FABRICS) {
		return NVME_SC_INVALID_FIELD; /* there are no PRPs over fabrics */
	}
	if (sgl->type == NVME_SGL_DATA_OFFSET) {
		if (sgl->addr != 0) {
			return NVME_SC_SGL_OFFSET;
		}
		if (sgl->len != req->icd_len || dir == XNVMF_DATA_TO_HOST) {
			return NVME_SC_SGL_LENGTH;
		}
	} else if (sgl->type == NVME_SGL_TRANSPORT_DATA) {
		if (req->icd_len != 0) {
			return NVME_SC_SGL_LENGTH;
		}
	} else if (sgl->type != 0 || sgl->len != 0) {
		return NVME_SC_SGL_TYPE;
	}
	if (dir == XNVMF_DATA_NONE || sgl->len == 0) {
		return 0; /* a length on a command without data means nothing */
	}
	if (sgl->len > max) {
		return is_new ? NVME_SC_SGL_LENGTH : NVME_SC_INVALID_FIELD;
	}
	if ((sgl->len & 3u) != 0) {
		return NVME_SC_SGL_LENGTH;
	}
	req->dir = dir;
	req->data_len = sgl->len;
	return 0;
}

/* What a command fails with before a byte of its data is asked for, the opcode first; 0: nothing.
 */
static uint16_t check(struct xnvmf_req *req)
{
	const struct xnvmf_qpair *qpair = req->qpair;
	bool is_fabrics = req->cmd.opc == NVME_FABRICS;
	uint16_t status;

	if (req->has_bad_data) {
		return NVME_SC_TRANSPORT_TRANSIENT;
	}
	if (!is_fabrics && qpair->state == XNVMF_QPAIR_NEW) {
		return NVME_SC_SEQUENCE;
	}
	if (!is_fabrics && !(qpair->qid == 0 ? xnvmf__admin_exists(req) : xnvmf__io_exists(req))) {
		return NVME_SC_INVALID_OPCODE;
	}
	status = parse_sgl(req);
	if (status == 0 && qpair->qid != 0 && !is_fabrics) {
		status = xnvmf__io_check(req);
	}
	return status;
}

void xnvmf__req_have_buffer(struct xnvmf_req *req)
{
	if (req->dir == XNVMF_DATA_FROM_HOST) {
		req->qpair->transport->fetch(req);
	} else {
		xnvmf__req_execute(req);
	}
}

void xnvmf__req_start(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;
	struct xnvmf_group *group = xnvmf__group_of(qpair);
	uint16_t status;

	if (!qpair->is_sqflow_off && qpair->sq_size != 0) {
		qpair->sq_head = (uint16_t)((qpair->sq_head + 1u) % qpair->sq_size);
	}
	req->cpl = (struct nvme_cpl){.cid = req->cmd.cid};
	req->dir = XNVMF_DATA_NONE;
	req->data_len = 0;
	req->is_pool_buf = false;
	req->is_waiting = false;
	req->group_ns = NULL;
	req->step = 0;
	req->status = 0;
	atomic_fetch_add_explicit(&group->nr_commands, 1, memory_order_relaxed);
	status = check(req);
	if (status != 0) {
		xnvmf__req_complete(req, status);
		return;
	}
	if (req->data_len == 0 || (req->icd_len != 0 && req->dir == XNVMF_DATA_FROM_HOST)) {
		xnvmf__req_execute(req);
	} else {
		xnvmf__buffer_get(req);
	}
}

void xnvmf__req_execute(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;

	if (req->cmd.opc == NVME_FABRICS) {
		xnvmf__fabrics_execute(req);
	} else if (qpair->qid == 0) {
		xnvmf__admin_execute(req);
	} else {
		xnvmf__io_execute(req);
	}
}

void xnvmf__req_complete(struct xnvmf_req *req, uint16_t status)
{
	struct xnvmf_qpair *qpair = req->qpair;

	req->cpl.status = status;
	if (req->cpl.sqhd != UINT16_MAX) { /* a Connect that turned flow control off said so */
		req->cpl.sqhd = qpair->is_sqflow_off ? 0 : qpair->sq_head;
	}
	req->cpl.sqid = qpair->qid;
	if (status != 0 && qpair->state == XNVMF_QPAIR_LIVE) {
		xnvmf__log_error(req);
	}
	qpair->transport->respond(req);
}

void xnvmf__req_free(struct xnvmf_req *req)
{
	assert(!req->is_waiting && req->group_ns == NULL);
	xnvmf__buffer_put(req);
	if (req->qpair->state != XNVMF_QPAIR_ENDING) {
		xnvmf__buffers_serve(req->qpair); /* its I/O may have put some back */
	}
}
