/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O commands (NVM Command Set). Everything that can be wrong with a command is found before a
 * byte of its data is asked for. Each command counts in its namespace's group entry while the
 * device has it, so a namespace goes only when its last command has ended.
 */
#include <errno.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

/* Write Zeroes and Verify limits told in Identify (CNS 06h) as powers of two of 4 KiB. */
#define WZ_MAX_BYTES (1ull << (16 + 12))

static uint64_t slba_of(const struct nvme_cmd *cmd)
{
	return (uint64_t)cmd->cdw11 << 32 | cmd->cdw10;
}

static uint64_t nr_blocks_of(const struct nvme_cmd *cmd)
{
	return (uint64_t)(cmd->cdw12 & 0xffffu) + 1;
}

static struct xnvmf_group_ns *find_ns(const struct xnvmf_qpair *qpair, uint32_t nsid)
{
	struct xnvmf_group_ns *ns;

	if (nsid - 1 >= qpair->subsystem->max_namespaces) {
		return NULL;
	}
	ns = &qpair->group->ns[nsid - 1];
	return ns->ch == NULL || ns->is_removing ? NULL : ns;
}

static uint16_t check_range(const struct xnvmf_group_ns *ns, uint64_t slba, uint64_t nlb)
{
	uint64_t nsze = atomic_load_explicit(&ns->ch->dev->nr_blocks, memory_order_relaxed);

	return slba > nsze || nlb > nsze - slba ? NVME_SC_LBA_RANGE : 0;
}

static uint16_t check_transfer(const struct xnvmf_req *req, const struct xnvmf_group_ns *ns)
{
	uint64_t nlb = nr_blocks_of(&req->cmd);
	uint64_t len = nlb << ns->block_shift;
	uint16_t status;

	if (len > req->qpair->target->opts.max_io_size) {
		return NVME_SC_INVALID_FIELD;
	}
	status = check_range(ns, slba_of(&req->cmd), nlb);
	if (status != 0) {
		return status;
	}
	return req->data_len != len ? NVME_SC_SGL_LENGTH : 0;
}

static bool is_read_only(const struct xnvmf_req *req, const struct xnvmf_group_ns *ns)
{
	return ns->is_read_only ||
	       atomic_load_explicit(&req->qpair->subsystem->is_read_only, memory_order_relaxed);
}

static uint16_t check_command(const struct xnvmf_req *req, const struct xnvmf_group_ns *ns)
{
	const struct nvme_cmd *cmd = &req->cmd;
	uint64_t nlb = nr_blocks_of(cmd);
	uint64_t max_io = req->qpair->target->opts.max_io_size;

	switch ((enum nvme_io_opcode)cmd->opc) {
	case NVME_IO_READ:
	case NVME_IO_COMPARE:
		return check_transfer(req, ns);
	case NVME_IO_WRITE:
		return is_read_only(req, ns) ? NVME_SC_WRITE_PROTECTED : check_transfer(req, ns);
	case NVME_IO_WRITE_ZEROES:
		if (is_read_only(req, ns)) {
			return NVME_SC_WRITE_PROTECTED;
		}
		return nlb << ns->block_shift > WZ_MAX_BYTES ? NVME_SC_INVALID_FIELD
							     : check_range(ns, slba_of(cmd), nlb);
	case NVME_IO_VERIFY:
		return nlb << ns->block_shift > max_io ? NVME_SC_INVALID_FIELD
						       : check_range(ns, slba_of(cmd), nlb);
	case NVME_IO_DSM:
		if (is_read_only(req, ns) && (cmd->cdw11 & NVME_DSM_AD)) {
			return NVME_SC_WRITE_PROTECTED;
		}
		/* The host may send more than the ranges take: Linux always sends 4096 bytes. */
		return req->data_len < ((cmd->cdw10 & 0xffu) + 1) * sizeof(struct nvme_dsm_range)
			       ? NVME_SC_SGL_LENGTH
			       : 0;
	default:
		return 0;
	}
}

bool xnvmf__io_exists(const struct xnvmf_req *req)
{
	switch ((enum nvme_io_opcode)req->cmd.opc) {
	case NVME_IO_FLUSH:
	case NVME_IO_WRITE:
	case NVME_IO_READ:
	case NVME_IO_COMPARE:
	case NVME_IO_WRITE_ZEROES:
	case NVME_IO_DSM:
	case NVME_IO_VERIFY:
		return true;
	}
	return false;
}

uint16_t xnvmf__io_check(struct xnvmf_req *req)
{
	const struct nvme_cmd *cmd = &req->cmd;
	struct xnvmf_qpair *qpair = req->qpair;
	struct xnvmf_group_ns *ns;
	uint16_t status;

	if (NVME_CMD_FUSE(cmd) != 0) {
		return NVME_SC_INVALID_FIELD;
	}
	if (cmd->opc == NVME_IO_FLUSH && cmd->nsid == NVME_NSID_ALL) {
		return 0;
	}
	ns = find_ns(qpair, cmd->nsid);
	if (ns == NULL) {
		return NVME_SC_INVALID_NS;
	}
	req->ns_id = ns->id;
	status = check_command(req, ns);
	if (status == 0 && cmd->opc == NVME_IO_VERIFY) {
		/* It reads and sends nothing, into a buffer like any other's. */
		req->data_len = (uint32_t)(nr_blocks_of(cmd) << ns->block_shift);
	}
	return status;
}

/* ---- running ---- */

static bool is_write(const struct xnvmf_req *req)
{
	return req->cmd.opc != NVME_IO_READ && req->cmd.opc != NVME_IO_COMPARE &&
	       req->cmd.opc != NVME_IO_VERIFY;
}

static void leave_ns(struct xnvmf_req *req)
{
	struct xnvmf_group_ns *ns = req->group_ns;

	req->group_ns = NULL;
	xnvmf__group_ns_leave(ns);
}

static void finish(struct xnvmf_req *req, int error)
{
	struct xnvmf_io_counters *counters = &req->qpair->group->counters;

	counters->errors += error != 0;
	if (req->cmd.opc == NVME_IO_READ) {
		counters->reads++;
		counters->bytes_read += req->data_len;
	} else if (req->cmd.opc == NVME_IO_WRITE) {
		counters->writes++;
		counters->bytes_written += req->data_len;
	}
	if (req->group_ns != NULL) {
		leave_ns(req);
	}
	xnvmf__req_complete(req, xnvmf__status_of_errno(error, is_write(req)));
}

static void on_io_done(struct xbdev_io *io, int error)
{
	finish(xu_container_of(io, struct xnvmf_req, io), error);
}

static void enter_ns(struct xnvmf_req *req, struct xnvmf_group_ns *ns)
{
	req->group_ns = ns;
	ns->nr_inflight++;
}

/* Submits the request's one I/O on its namespace. */
static void submit(struct xnvmf_req *req, uint8_t op, uint64_t offset, uint64_t len, uint8_t flags,
	void (*done)(struct xbdev_io *io, int error))
{
	struct xbdev_io *io = &req->io;
	int rc;

	io->ch = req->group_ns->ch;
	io->cb = done;
	io->op = op;
	io->flags = flags;
	io->offset = offset;
	io->len = len;
	req->iov.iov_base = req->buf;
	req->iov.iov_len = len;
	io->iov = &req->iov;
	io->nr_iov = op == XBDEV_OP_READ || op == XBDEV_OP_WRITE || op == XBDEV_OP_COMPARE;
	rc = xbdev_io_submit(io);
	if (rc != 0) {
		done(io, rc);
	}
}

/* Deallocates one range after another; ranges out of bounds were refused as a whole. */
static void on_range_done(struct xbdev_io *io, int error);

static void next_range(struct xnvmf_req *req)
{
	const struct nvme_dsm_range *ranges = req->buf;
	uint32_t nr = (req->cmd.cdw10 & 0xffu) + 1;
	uint32_t shift = req->group_ns->block_shift;

	while (req->step < nr && ranges[req->step].nlb == 0) {
		req->step++;
	}
	if (req->step == nr) {
		finish(req, 0);
		return;
	}
	submit(req, XBDEV_OP_DISCARD, ranges[req->step].slba << shift,
		(uint64_t)ranges[req->step].nlb << shift, 0, on_range_done);
}

static void on_range_done(struct xbdev_io *io, int error)
{
	struct xnvmf_req *req = xu_container_of(io, struct xnvmf_req, io);

	/* Deallocation is advice: a device without it has taken note. */
	if (error != 0 && error != -EOPNOTSUPP) {
		finish(req, error);
		return;
	}
	req->step++;
	next_range(req);
}

static void execute_dsm(struct xnvmf_req *req)
{
	const struct nvme_dsm_range *ranges = req->buf;
	uint32_t nr = (req->cmd.cdw10 & 0xffu) + 1;

	for (uint32_t i = 0; i < nr; i++) {
		if (check_range(req->group_ns, ranges[i].slba, ranges[i].nlb) != 0) {
			leave_ns(req);
			xnvmf__req_complete(req, NVME_SC_LBA_RANGE);
			return;
		}
	}
	if ((req->cmd.cdw11 & NVME_DSM_AD) == 0) {
		finish(req, 0);
		return;
	}
	next_range(req);
}

/* Flush of all namespaces, one after another; step is the next NSID - 1. */
static void flush_next(struct xnvmf_req *req);

static void on_flush_done(struct xbdev_io *io, int error)
{
	struct xnvmf_req *req = xu_container_of(io, struct xnvmf_req, io);

	if (error != 0 && error != -ENODEV && req->status == 0) {
		req->status = xnvmf__status_of_errno(error, true);
	}
	leave_ns(req);
	flush_next(req);
}

static void flush_next(struct xnvmf_req *req)
{
	while (req->step < req->qpair->subsystem->max_namespaces) {
		struct xnvmf_group_ns *ns = find_ns(req->qpair, ++req->step);

		if (ns != NULL) {
			enter_ns(req, ns);
			submit(req, XBDEV_OP_FLUSH, 0, 0, 0, on_flush_done);
			return;
		}
	}
	xnvmf__req_complete(req, req->status);
}

void xnvmf__io_execute(struct xnvmf_req *req)
{
	const struct nvme_cmd *cmd = &req->cmd;
	struct xnvmf_group_ns *ns;
	uint64_t offset, len;
	uint8_t fua = (cmd->cdw12 & NVME_RW_FUA) ? XBDEV_IO_FUA : 0;

	if (cmd->opc == NVME_IO_FLUSH && cmd->nsid == NVME_NSID_ALL) {
		flush_next(req);
		return;
	}
	ns = find_ns(req->qpair, cmd->nsid);
	if (ns == NULL || ns->id != req->ns_id) { /* it went while the data came */
		xnvmf__req_complete(req, NVME_SC_INVALID_NS);
		return;
	}
	enter_ns(req, ns);
	offset = slba_of(cmd) << ns->block_shift;
	len = nr_blocks_of(cmd) << ns->block_shift;
	switch ((enum nvme_io_opcode)cmd->opc) {
	case NVME_IO_READ:
		submit(req, XBDEV_OP_READ, offset, len, 0, on_io_done);
		break;
	case NVME_IO_WRITE:
		submit(req, XBDEV_OP_WRITE, offset, len, fua, on_io_done);
		break;
	case NVME_IO_COMPARE:
		submit(req, XBDEV_OP_COMPARE, offset, len, 0, on_io_done);
		break;
	case NVME_IO_FLUSH:
		submit(req, XBDEV_OP_FLUSH, 0, 0, 0, on_io_done);
		break;
	case NVME_IO_WRITE_ZEROES:
		submit(req, XBDEV_OP_WRITE_ZEROES, offset, len,
			fua | ((cmd->cdw12 & NVME_WZ_DEAC) ? XBDEV_IO_MAY_UNMAP : 0), on_io_done);
		break;
	case NVME_IO_DSM:
		execute_dsm(req);
		break;
	case NVME_IO_VERIFY:
		submit(req, XBDEV_OP_READ, offset, len, 0, on_io_done);
		break;
	}
}
