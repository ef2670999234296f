/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Get and Set Features (Base 5.1.25). Nothing is saveable. The plain features are values that are
 * kept and given back; the others act. Which exist on which kind of controller is in one table.
 */
#include <string.h>

#include "lib/xnvmf/target/private.h"

#define DULBE (1u << 16) /* an error for reads of deallocated blocks, which we do not have */

struct feature {
	uint8_t fid;
	bool is_discovery; /* exists on discovery controllers too */
	bool is_settable;
	bool is_plain; /* kept in ctrl->features */
	uint32_t data_bytes;
};

static const struct feature features[] = {
	{NVME_FEAT_ARBITRATION, false, true, true, 0},
	{NVME_FEAT_POWER, false, true, true, 0},
	{NVME_FEAT_TEMPERATURE, false, true, true, 0},
	{NVME_FEAT_ERROR_RECOVERY, false, true, true, 0},
	{NVME_FEAT_WRITE_CACHE, false, true, false, 0},
	{NVME_FEAT_NR_QUEUES, false, true, false, 0},
	{NVME_FEAT_WRITE_ATOMICITY, false, true, true, 0},
	{NVME_FEAT_ASYNC_EVENTS, true, true, false, 0},
	{NVME_FEAT_KEEP_ALIVE, true, true, false, 0},
	{NVME_FEAT_HOST_ID, false, false, false, 16},
};

static const struct feature *find(const struct xnvmf_req *req)
{
	uint8_t fid = (uint8_t)req->cmd.cdw10;

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (features[i].fid == fid &&
			(features[i].is_discovery || !req->qpair->subsystem->is_discovery)) {
			return &features[i];
		}
	}
	return NULL;
}

static uint32_t granted_queues(const struct xnvmf_ctrl *ctrl)
{
	return (ctrl->nr_queues - 1) | (ctrl->nr_queues - 1) << 16;
}

static uint32_t value_of(const struct xnvmf_ctrl *ctrl, uint8_t fid)
{
	switch (fid) {
	case NVME_FEAT_WRITE_CACHE:
		return 1;
	case NVME_FEAT_NR_QUEUES:
		return granted_queues(ctrl);
	case NVME_FEAT_ASYNC_EVENTS:
		return ctrl->aec;
	case NVME_FEAT_KEEP_ALIVE:
		return ctrl->kato_ms;
	default:
		return ctrl->features[fid];
	}
}

void xnvmf__get_features(struct xnvmf_req *req)
{
	const struct feature *feature = find(req);
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;

	/* SEL is ignored: Save and Select are not among the optional commands (ONCS bit 4). */
	if (feature == NULL) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	if (feature->fid == NVME_FEAT_HOST_ID) {
		if ((req->cmd.cdw11 & 1u) == 0) { /* fabrics has 128-bit identifiers only */
			xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
			return;
		}
		if (req->data_len < feature->data_bytes) {
			xnvmf__req_complete(req, NVME_SC_SGL_LENGTH);
			return;
		}
		memset(req->buf, 0, req->data_len);
		memcpy(req->buf, ctrl->hostid, feature->data_bytes);
		xnvmf__req_complete(req, NVME_SC_SUCCESS);
		return;
	}
	if (req->data_len != 0) {
		memset(req->buf, 0, req->data_len); /* asked for data that the feature has not */
	}
	req->cpl.dw0 = value_of(ctrl, feature->fid);
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

static uint16_t set_nr_queues(struct xnvmf_req *req)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	uint32_t nsq = req->cmd.cdw11 & 0xffffu, ncq = req->cmd.cdw11 >> 16;
	uint32_t want = (nsq < ncq ? nsq : ncq) + 1;
	uint32_t max = req->qpair->target->opts.max_queues;

	if (nsq == 0xffffu || ncq == 0xffffu) {
		return NVME_SC_INVALID_FIELD;
	}
	if (ctrl->nr_io_qpairs != 0) {
		return NVME_SC_SEQUENCE;
	}
	ctrl->nr_queues = want < max ? want : max;
	req->cpl.dw0 = granted_queues(ctrl);
	return 0;
}

static uint16_t set_async_events(struct xnvmf_req *req)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	uint32_t known =
		0xffu | /* SMART warnings, which never come */
		(ctrl->subsystem->is_discovery ? xnvmf__discovery_events(ctrl->subsystem->target)
					       : NVME_OAES_NS_ATTR);

	if (req->cmd.cdw11 & ~known) {
		return NVME_SC_INVALID_FIELD;
	}
	ctrl->aec = req->cmd.cdw11;
	return 0;
}

static uint16_t set_value(struct xnvmf_req *req, const struct feature *feature)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;

	switch (feature->fid) {
	case NVME_FEAT_WRITE_CACHE:
		/* It cannot be turned off: what is below it decides. */
		return (req->cmd.cdw11 & 1u) ? 0 : NVME_SC_INVALID_FIELD;
	case NVME_FEAT_NR_QUEUES:
		return set_nr_queues(req);
	case NVME_FEAT_ASYNC_EVENTS:
		return set_async_events(req);
	case NVME_FEAT_KEEP_ALIVE:
		if (req->cmd.cdw11 == 0 && !ctrl->subsystem->is_discovery) {
			return NVME_SC_KATO_INVALID;
		}
		xnvmf__ctrl_set_kato(ctrl, req->cmd.cdw11);
		return 0;
	case NVME_FEAT_POWER:
		/* There is power state 0 and no other. */
		if ((req->cmd.cdw11 & 0x1fu) != 0) {
			return NVME_SC_INVALID_FIELD;
		}
		break;
	case NVME_FEAT_ERROR_RECOVERY:
		if (req->cmd.cdw11 & DULBE) {
			return NVME_SC_INVALID_FIELD;
		}
		break;
	default:
		break;
	}
	ctrl->features[feature->fid] = req->cmd.cdw11;
	return 0;
}

void xnvmf__set_features(struct xnvmf_req *req)
{
	const struct feature *feature = find(req);
	uint32_t nsid = req->cmd.nsid;
	uint16_t status;

	if (feature == NULL) {
		status = NVME_SC_INVALID_FIELD;
	} else if (req->cmd.cdw10 & (1u << 31)) {
		status = NVME_SC_FEATURE_NOT_SAVEABLE;
	} else if (!feature->is_settable) {
		status = NVME_SC_SEQUENCE; /* the host identifier is set by Connect */
	} else if (nsid != 0 && nsid != NVME_NSID_ALL) {
		status = NVME_SC_FEATURE_NOT_NS;
	} else {
		status = set_value(req, feature);
	}
	xnvmf__req_complete(req, status);
}
