/* SPDX-License-Identifier: BSD-3-Clause */
/* Identify, in every form that hosts ask for (Base 5.1.13, NVM Command Set 4.1.5). */
#include <string.h>

#include "lib/xnvmf/target/private.h"

#define ONCS_COMPARE      (1u << 0)
#define ONCS_DSM          (1u << 2)
#define ONCS_WRITE_ZEROES (1u << 3)
#define ONCS_VERIFY       (1u << 7)
#define SGLS_VALUE        0x00300001u /* offset in capsule, transport SGL */
#define KAS_100MS         10u
#define CQT_MS            10000u /* what a disk may take for its last write, as hosts expect it */
#define WZSL_4K           16u    /* 2^16 pages: as io.c checks */

static void put_text(char *field, size_t size, const char *text)
{
	size_t len = strnlen(text, size);

	memset(field, ' ', size);
	memcpy(field, text, len);
}

static uint8_t log2_of(uint64_t n)
{
	return (uint8_t)(63 - __builtin_clzll(n));
}

static void fill_common(struct nvme_id_ctrl *id, const struct xnvmf_ctrl *ctrl)
{
	const struct xnvmf_subsystem *subsystem = ctrl->subsystem;
	const struct xnvmf_target_opts *opts = &subsystem->target->opts;

	put_text(id->sn, sizeof(id->sn), subsystem->serial);
	put_text(id->mn, sizeof(id->mn), subsystem->model);
	put_text(id->fr, sizeof(id->fr), XSAN_VERSION);
	id->rab = 6;
	id->mdts = (uint8_t)(log2_of(opts->max_io_size) - 12);
	id->cntlid = ctrl->cntlid;
	id->ver = XNVMF_VERSION;
	id->ctratt = 1; /* 128-bit host identifiers */
	id->acl = XNVMF_ABORTS - 1;
	id->aerl = XNVMF_AERL - 1;
	id->frmw = 3;  /* slot 1, read-only */
	id->lpa = 0x6; /* effects log, offsets */
	id->elpe = XNVMF_ERROR_ENTRIES - 1;
	id->kas = KAS_100MS;
	id->cqt = CQT_MS;
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->maxcmd = (uint16_t)ctrl->queue_depth;
	id->sgls = SGLS_VALUE;
	strcpy(id->subnqn, subsystem->nqn);
	id->iorcsz = 1;
	id->msdbd = 1;
}

static void identify_ctrl(struct xnvmf_req *req)
{
	const struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	const struct xnvmf_subsystem *subsystem = ctrl->subsystem;
	struct nvme_id_ctrl *id = req->buf;

	fill_common(id, ctrl);
	if (subsystem->is_discovery) {
		id->cntrltype = 2;
		/* Of a node DCTYPE stays 0, "not reported": hosts register (DIM) with what says
		 * more. */
		id->dctype = subsystem->target->is_central ? NVME_DCTYPE_CENTRAL : 0;
		id->oaes = xnvmf__discovery_events(subsystem->target);
		id->ioccsz = 4;
		return;
	}
	id->cmic = 0x3; /* several ports, several controllers */
	id->cntrltype = 1;
	id->oaes = NVME_OAES_NS_ATTR;
	id->nn = subsystem->max_namespaces;
	id->mnan = subsystem->max_namespaces;
	id->oncs = ONCS_COMPARE | ONCS_DSM | ONCS_WRITE_ZEROES | ONCS_VERIFY;
	/* A host asks once, and a namespace with a cache may come later; where there is none Flush
	 * costs next to nothing. It takes NSID FFFFFFFFh. */
	id->vwc = 0x7;
	id->ioccsz = 4 + subsystem->target->opts.in_capsule_data_size / 16;
	id->ofcs = 1; /* Disconnect */
}

static void fill_ns(struct nvme_id_ns *id, const struct xnvmf_ns *ns)
{
	const struct xbdev_device *dev = ns->desc->dev;
	const struct xbdev_limits *limits = &dev->limits;
	uint64_t bytes = xbdev_device_size_bytes(dev);

	id->nsze = bytes / limits->block_size;
	id->ncap = id->nsze;
	id->nuse = id->nsze;
	id->nsfeat = 1u << 4; /* NPWG … NOWS */
	id->nmic = 1;
	id->dlfeat = 0x9; /* deallocated blocks read as zeroes; DEAC */
	id->nvmcap[0] = bytes;
	/* 0-based counts of blocks. Writes are whole blocks, so no granularity but 4 KiB is told.
	 */
	id->npwg = (uint16_t)(4096 / limits->block_size - 1);
	id->npwa = id->npwg;
	id->npdg = (uint16_t)(limits->discard_granularity > limits->block_size
				      ? limits->discard_granularity / limits->block_size - 1
				      : 0);
	id->npda = id->npdg;
	id->nows = (uint16_t)(limits->optimal_io > limits->block_size
				      ? limits->optimal_io / limits->block_size - 1
				      : 0);
	id->nsattr = ns->is_read_only || ns->subsystem->is_read_only;
	memcpy(id->nguid, ns->nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->eui64, sizeof(id->eui64));
	id->lbaf[0].lbads = log2_of(limits->block_size);
}

static uint16_t check_nsid(const struct xnvmf_subsystem *subsystem, uint32_t nsid)
{
	return nsid == 0 || nsid > subsystem->max_namespaces ? NVME_SC_INVALID_NS : 0;
}

static uint16_t identify_ns(struct xnvmf_req *req)
{
	const struct xnvmf_subsystem *subsystem = req->qpair->subsystem;
	const struct xnvmf_ns *ns = xnvmf__ns_active(subsystem, req->cmd.nsid);
	uint16_t status = check_nsid(subsystem, req->cmd.nsid);

	if (status == 0 && ns != NULL) {
		fill_ns(req->buf, ns); /* an inactive one is all zeroes */
	}
	return status;
}

static uint16_t identify_active_ns(struct xnvmf_req *req)
{
	const struct xnvmf_subsystem *subsystem = req->qpair->subsystem;
	uint32_t *list = req->buf, count = 0;

	if (req->cmd.nsid >= 0xfffffffeu) {
		return NVME_SC_INVALID_NS;
	}
	for (uint32_t nsid = req->cmd.nsid + 1; nsid <= subsystem->max_namespaces; nsid++) {
		if (count < NVME_IDENTIFY_BYTES / 4 && xnvmf__ns_active(subsystem, nsid) != NULL) {
			list[count++] = nsid;
		}
	}
	return 0;
}

static uint8_t *put_descriptor(uint8_t *at, uint8_t type, const void *value, uint8_t len)
{
	at[0] = type;
	at[1] = len;
	memcpy(at + 4, value, len);
	return at + 4 + len;
}

static uint16_t identify_descriptors(struct xnvmf_req *req)
{
	static const uint8_t none[8];
	const struct xnvmf_ns *ns = xnvmf__ns_active(req->qpair->subsystem, req->cmd.nsid);
	uint8_t *at = req->buf;

	if (ns == NULL) {
		return NVME_SC_INVALID_NS;
	}
	if (memcmp(ns->eui64, none, sizeof(none)) != 0) {
		at = put_descriptor(at, 1, ns->eui64, sizeof(ns->eui64));
	}
	at = put_descriptor(at, 2, ns->nguid, sizeof(ns->nguid));
	put_descriptor(at, 3, ns->uuid.bytes, sizeof(ns->uuid.bytes));
	return 0;
}

/* I/O command set specific: zeroes but for the limits that io.c checks. */
static uint16_t identify_csi_ctrl(struct xnvmf_req *req)
{
	uint8_t *id = req->buf;

	id[0] = (uint8_t)(log2_of(req->qpair->target->opts.max_io_size) - 12); /* VSL */
	id[1] = WZSL_4K;
	return 0;
}

static uint16_t identify_csi_ns(struct xnvmf_req *req)
{
	return check_nsid(req->qpair->subsystem, req->cmd.nsid);
}

static uint16_t identify_independent_ns(struct xnvmf_req *req)
{
	const struct xnvmf_ns *ns = xnvmf__ns_active(req->qpair->subsystem, req->cmd.nsid);
	uint16_t status = check_nsid(req->qpair->subsystem, req->cmd.nsid);
	uint8_t *id = req->buf;

	if (status == 0 && ns != NULL) {
		id[1] = 1; /* NMIC: shared */
		id[8] = ns->is_read_only || ns->subsystem->is_read_only;
		id[14] = 1; /* NSTAT: ready */
	}
	return status;
}

void xnvmf__identify(struct xnvmf_req *req)
{
	uint8_t cns = (uint8_t)req->cmd.cdw10, csi = (uint8_t)(req->cmd.cdw11 >> 24);
	uint16_t status;

	if (req->data_len != NVME_IDENTIFY_BYTES) {
		xnvmf__req_complete(req, NVME_SC_SGL_LENGTH);
		return;
	}
	memset(req->buf, 0, NVME_IDENTIFY_BYTES);
	if (req->qpair->subsystem->is_discovery && cns != NVME_CNS_CTRL) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	if ((cns == NVME_CNS_CSI_NS || cns == NVME_CNS_CSI_CTRL || cns == NVME_CNS_CSI_ACTIVE_NS) &&
		csi != 0) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	switch ((enum nvme_cns)cns) {
	case NVME_CNS_NS:
		status = identify_ns(req);
		break;
	case NVME_CNS_CTRL:
		identify_ctrl(req);
		status = 0;
		break;
	case NVME_CNS_ACTIVE_NS:
	case NVME_CNS_CSI_ACTIVE_NS:
		status = identify_active_ns(req);
		break;
	case NVME_CNS_NS_DESCS:
		status = identify_descriptors(req);
		break;
	case NVME_CNS_CSI_NS:
		status = identify_csi_ns(req);
		break;
	case NVME_CNS_CSI_CTRL:
		status = identify_csi_ctrl(req);
		break;
	case NVME_CNS_INDEPENDENT_NS:
		status = identify_independent_ns(req);
		break;
	default:
		status = NVME_SC_INVALID_FIELD;
		break;
	}
	xnvmf__req_complete(req, status);
}
