/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Get Log Page (Base 5.1.12). Every page but the discovery log is made whole in memory and the part
 * that was asked for is copied; what lies beyond its end is zeroes. Reading with RAE cleared lets
 * the page's event be reported again.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

/* Commands supported and effects: no side effect that a host must wait for. */
#define CSUPP 1u
#define LBCC  2u /* changes the content of blocks */

static uint64_t log_offset(const struct nvme_cmd *cmd)
{
	return (uint64_t)cmd->cdw13 << 32 | cmd->cdw12;
}

static void finish(struct xnvmf_req *req)
{
	if ((req->cmd.cdw10 & NVME_LOG_RAE) == 0) {
		xnvmf__aer_log_read(req->qpair->ctrl, (uint8_t)req->cmd.cdw10);
	}
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

/* Answers with the part of `page` that the command asks for. */
static void answer(struct xnvmf_req *req, const void *page, size_t page_bytes)
{
	uint64_t offset = log_offset(&req->cmd);
	size_t part;

	if (offset > page_bytes) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	part = page_bytes - offset < req->data_len ? page_bytes - offset : req->data_len;
	memcpy(req->buf, (const char *)page + offset, part);
	memset((char *)req->buf + part, 0, req->data_len - part);
	finish(req);
}

static void log_supported(struct xnvmf_req *req)
{
	static const uint8_t io_pages[] = {NVME_LOG_SUPPORTED, NVME_LOG_ERROR, NVME_LOG_SMART,
		NVME_LOG_FIRMWARE, NVME_LOG_CHANGED_NS, NVME_LOG_EFFECTS};
	static const uint8_t discovery_pages[] = {
		NVME_LOG_SUPPORTED, NVME_LOG_EFFECTS, NVME_LOG_DISCOVERY};
	bool is_discovery = req->qpair->subsystem->is_discovery;
	const uint8_t *pages = is_discovery ? discovery_pages : io_pages;
	size_t nr = is_discovery ? sizeof(discovery_pages) : sizeof(io_pages);
	const struct xnvmf_discovery_log_ops *hosts =
		xnvmf__discovery_log(req->qpair->target, XNVMF_LOG_HOSTS);
	uint32_t page[256] = {0};

	for (size_t i = 0; i < nr; i++) {
		page[pages[i]] = 1;
	}
	if (is_discovery) {
		page[NVME_LOG_DISCOVERY] |= req->qpair->target->discovery_ops->log.options << 16;
		if (hosts != NULL) {
			page[NVME_LOG_HOST_DISCOVERY] = 1 | hosts->options << 16;
		}
	}
	answer(req, page, sizeof(page));
}

static void log_error(struct xnvmf_req *req)
{
	const struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	struct nvme_error_entry page[XNVMF_ERROR_ENTRIES] = {0};

	for (uint64_t i = 0; i < XNVMF_ERROR_ENTRIES && i < ctrl->error_count; i++) {
		page[i] = ctrl->errors[(ctrl->error_count - 1 - i) % XNVMF_ERROR_ENTRIES];
	}
	answer(req, page, sizeof(page));
}

/* The SMART log counts what every reactor did, so a message visits them all first. */
struct smart_visit {
	struct xbdev_hop hop;
	struct xnvmf_req *req;
	struct xnvmf_io_counters sum;
};

static void smart_on_reactor(struct xbdev_hop *hop, struct xr_reactor *reactor)
{
	struct smart_visit *visit = xu_container_of(hop, struct smart_visit, hop);
	const struct xnvmf_io_counters *counters =
		&visit->req->qpair->subsystem->groups[xr_reactor_index(reactor)].counters;

	visit->sum.reads += counters->reads;
	visit->sum.writes += counters->writes;
	visit->sum.bytes_read += counters->bytes_read;
	visit->sum.bytes_written += counters->bytes_written;
	visit->sum.errors += counters->errors;
}

/* Thousands of 512 bytes, rounded up. */
static uint64_t data_units(uint64_t bytes)
{
	return (bytes + 511999) / 512000;
}

static void smart_visited(struct xbdev_hop *hop)
{
	struct smart_visit *visit = xu_container_of(hop, struct smart_visit, hop);
	struct xnvmf_req *req = visit->req;
	const struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	uint64_t up_ns = xr_now_ns(req->qpair->reactor) - ctrl->start_ns;
	struct nvme_smart_log page = {
		.temperature = 300,
		.avail_spare = 100,
		.spare_thresh = 10,
		.data_units_read = {data_units(visit->sum.bytes_read)},
		.data_units_written = {data_units(visit->sum.bytes_written)},
		.host_reads = {visit->sum.reads},
		.host_writes = {visit->sum.writes},
		.power_cycles = {1},
		.power_on_hours = {up_ns / (3600 * XU_NS_PER_S)},
		.media_errors = {visit->sum.errors},
		.num_err_log_entries = {ctrl->error_count},
	};

	free(visit);
	answer(req, &page, sizeof(page));
}

static void log_smart(struct xnvmf_req *req)
{
	struct smart_visit *visit;

	if (req->cmd.nsid != 0 && req->cmd.nsid != NVME_NSID_ALL) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD); /* LPA bit 0 is clear */
		return;
	}
	visit = calloc(1, sizeof(*visit));
	if (visit == NULL) {
		xnvmf__req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	visit->req = req;
	visit->hop.fn = smart_on_reactor;
	visit->hop.done = smart_visited;
	xbdev_hop_start(&visit->hop, req->qpair->target->ctx);
}

static void log_firmware(struct xnvmf_req *req)
{
	uint8_t page[512] = {1}; /* AFI: slot 1 */

	memset(page + 8, ' ', 8);
	memcpy(page + 8, XSAN_VERSION, strlen(XSAN_VERSION) < 8 ? strlen(XSAN_VERSION) : 8);
	answer(req, page, sizeof(page));
}

static void log_changed_ns(struct xnvmf_req *req)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	uint32_t page[1024] = {0}, count = 0;

	for (uint32_t nsid = 1; nsid <= XNVMF_NSID_MAX; nsid++) {
		if (ctrl->changed_ns[(nsid - 1) / 32] & (1u << ((nsid - 1) % 32))) {
			page[count++] = nsid;
		}
	}
	if ((req->cmd.cdw10 & (1u << 15)) == 0) {
		memset(ctrl->changed_ns, 0, sizeof(ctrl->changed_ns));
	}
	answer(req, page, sizeof(page));
}

static void log_effects(struct xnvmf_req *req)
{
	static const uint8_t admin[] = {NVME_ADMIN_GET_LOG_PAGE, NVME_ADMIN_IDENTIFY,
		NVME_ADMIN_ABORT, NVME_ADMIN_SET_FEATURES, NVME_ADMIN_GET_FEATURES,
		NVME_ADMIN_ASYNC_EVENT, NVME_ADMIN_KEEP_ALIVE, NVME_FABRICS};
	static const uint8_t io[] = {NVME_IO_FLUSH, NVME_IO_WRITE, NVME_IO_READ, NVME_IO_COMPARE,
		NVME_IO_WRITE_ZEROES, NVME_IO_DSM, NVME_IO_VERIFY};
	uint32_t page[1024] = {0};

	for (size_t i = 0; i < sizeof(admin); i++) {
		page[admin[i]] = CSUPP;
	}
	if (req->qpair->subsystem->is_discovery && req->qpair->target->discovery_ops->dim != NULL) {
		page[NVME_ADMIN_DISCOVERY_INFO] = CSUPP;
	}
	for (size_t i = 0; i < sizeof(io) && !req->qpair->subsystem->is_discovery; i++) {
		page[256 + io[i]] = CSUPP;
		if (io[i] == NVME_IO_WRITE || io[i] == NVME_IO_WRITE_ZEROES ||
			io[i] == NVME_IO_DSM) {
			page[256 + io[i]] |= LBCC;
		}
	}
	answer(req, page, sizeof(page));
}

static void log_discovery(struct xnvmf_req *req, enum xnvmf_log which)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	uint64_t offset = log_offset(&req->cmd);
	uint32_t options = req->cmd.cdw10 >> 8 & 0x7fu;

	if (xnvmf__discovery_log(req->qpair->target, which) == NULL) {
		xnvmf__req_complete(req, NVME_SC_INVALID_LOG_PAGE);
		return;
	}
	/* A reader that goes on reads the log as it was when it began. */
	if ((offset == 0 || ctrl->sight.logs[which].view == NULL) &&
		xnvmf__discovery_pin(ctrl, which, options) != 0) {
		xnvmf__req_complete(req, NVME_SC_INTERNAL);
		return;
	}
	if (offset > xnvmf__discovery_log_bytes(ctrl, which)) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	xnvmf__discovery_read(ctrl, which, offset, req->buf, req->data_len);
	finish(req);
}

void xnvmf__get_log_page(struct xnvmf_req *req)
{
	const struct nvme_cmd *cmd = &req->cmd;
	bool is_discovery = req->qpair->subsystem->is_discovery;
	uint64_t len = (((uint64_t)(cmd->cdw11 & 0xffffu) << 16 | cmd->cdw10 >> 16) + 1) * 4;

	if (len > req->qpair->target->opts.max_io_size || (log_offset(cmd) & 3u) != 0 ||
		(cmd->cdw14 & (1u << 23)) != 0) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	if (len != req->data_len) {
		xnvmf__req_complete(req, NVME_SC_SGL_LENGTH);
		return;
	}
	if (is_discovery) {
		switch (cmd->cdw10 & 0xffu) {
		case NVME_LOG_SUPPORTED:
			log_supported(req);
			return;
		case NVME_LOG_EFFECTS:
			log_effects(req);
			return;
		case NVME_LOG_DISCOVERY:
			log_discovery(req, XNVMF_LOG_TARGETS);
			return;
		case NVME_LOG_HOST_DISCOVERY:
			log_discovery(req, XNVMF_LOG_HOSTS);
			return;
		}
		xnvmf__req_complete(req, NVME_SC_INVALID_LOG_PAGE);
		return;
	}
	switch (cmd->cdw10 & 0xffu) {
	case NVME_LOG_SUPPORTED:
		log_supported(req);
		break;
	case NVME_LOG_ERROR:
		log_error(req);
		break;
	case NVME_LOG_SMART:
		log_smart(req);
		break;
	case NVME_LOG_FIRMWARE:
		log_firmware(req);
		break;
	case NVME_LOG_CHANGED_NS:
		log_changed_ns(req);
		break;
	case NVME_LOG_EFFECTS:
		log_effects(req);
		break;
	default:
		xnvmf__req_complete(req, NVME_SC_INVALID_LOG_PAGE);
		break;
	}
}
