/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What we ask a new controller, in order, and what of its answers we do not accept: Identify, the
 * number of queues, events, and the namespace. The answers are gathered in ctrl->fresh and looked
 * at as a whole when all are there; what a target says is checked before anything is computed from
 * it.
 */
#include <errno.h>
#include <string.h>

#include "lib/xnvmf/host/private.h"

#define PAGE_BYTES      4096u
#define WZ_MAX_BLOCKS   65536u
#define HOST_BEHAVIOR   512u
#define VS_1_1          0x00010100u
#define VS_1_3          0x00010300u
#define MAX_ACTIVE_NSID 0xfffffffdu

/* ---- the controller ---- */

static void identify(struct host_ctrl *ctrl, struct host_call *call, uint32_t nsid, uint8_t cns)
{
	memset(ctrl->page, 0, PAGE_BYTES);
	call->cmd.opc = NVME_ADMIN_IDENTIFY;
	call->cmd.nsid = nsid;
	call->cmd.cdw10 = cns;
	call->buf = ctrl->page;
	call->len = PAGE_BYTES;
	call->dir = HOST_DIR_IN;
}

static bool build_identify_ctrl(void *arg, struct host_call *call)
{
	identify(arg, call, 0, NVME_CNS_CTRL);
	return true;
}

/* Copies a field of text, which ends at its size, at a NUL or at the blanks behind it. */
static void take_text(char *to, const char *field, size_t size)
{
	size_t len = strnlen(field, size);

	while (len != 0 && field[len - 1] == ' ') {
		len--;
	}
	for (size_t i = 0; i < len; i++) {
		to[i] = field[i] >= ' ' && field[i] <= '~' ? field[i] : '?';
	}
	to[len] = '\0';
}

static int check_ctrl(
	const struct host_info *info, const struct nvme_id_ctrl *id, struct xu_error *err)
{
	if (id->cntlid != info->cntlid) {
		return xu_error_set(err, -EPROTO,
			"Identify is of controller %u, but Connect gave us controller %u",
			id->cntlid, info->cntlid);
	}
	if (id->cntrltype != 0 && id->cntrltype != NVME_CNTRLTYPE_IO) {
		return xu_error_set(err, -EPROTONOSUPPORT,
			"this is a controller of type %u and not one for I/O; give the NQN of a "
			"subsystem "
			"with namespaces",
			id->cntrltype);
	}
	if (id->ioccsz < 4 || id->iorcsz < 1 || id->icdoff != 0 || (id->sgls & 0x3u) == 0) {
		return xu_error_set(err, -EPROTO,
			"the controller cannot do I/O over fabrics (IOCCSZ %u, IORCSZ %u, ICDOFF "
			"%u, "
			"SGLS %08x)",
			id->ioccsz, id->iorcsz, id->icdoff, id->sgls);
	}
	if (id->kas == 0) {
		return xu_error_set(err, -EPROTO, "the controller has no keep-alive (KAS is 0)");
	}
	return 0;
}

static uint32_t max_transfer(const struct host_info *info, uint8_t mdts)
{
	uint32_t shift = 12 + NVME_CAP_MPSMIN(info->enable.cap) + mdts;

	return mdts == 0 || shift >= 20 ? HOST_MAX_TRANSFER : 1u << shift;
}

static int done_identify_ctrl(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	struct host_info *info = &ctrl->fresh;
	const struct nvme_id_ctrl *id = call->buf;
	uint64_t icd_bytes = ((uint64_t)id->ioccsz - 4) * 16;
	int rc = check_ctrl(info, id, err);

	if (rc != 0) {
		return rc;
	}
	take_text(info->model, id->mn, sizeof(id->mn));
	take_text(info->serial, id->sn, sizeof(id->sn));
	take_text(info->firmware, id->fr, sizeof(id->fr));
	info->max_transfer = max_transfer(info, id->mdts);
	info->max_entries = NVME_CAP_MQES(info->enable.cap) + 1;
	if (id->maxcmd != 0 && id->maxcmd < info->max_entries) {
		info->max_entries = id->maxcmd;
	}
	info->icd_bytes = icd_bytes < HOST_MAX_TRANSFER ? (uint32_t)icd_bytes : HOST_MAX_TRANSFER;
	info->oaes = id->oaes;
	info->oncs = id->oncs;
	for (uint32_t i = 0; i < 3; i++) {
		info->crdt[i] = id->crdt[i] < HOST_MAX_CRDT ? id->crdt[i] : HOST_MAX_CRDT;
	}
	info->cqt = id->cqt;
	info->has_tbkas = (id->ctratt & NVME_CTRATT_TBKAS) != 0;
	info->has_vwc = (id->vwc & NVME_VWC_PRESENT) != 0;
	info->max_zeroes = info->max_transfer; /* unless WZSL says more */
	return HOST_NEXT;
}

/* ---- features ---- */

static void set_feature(struct host_call *call, uint8_t feature, uint32_t value)
{
	call->cmd.opc = NVME_ADMIN_SET_FEATURES;
	call->cmd.cdw10 = feature;
	call->cmd.cdw11 = value;
}

static int ignore(void *arg, const struct host_call *call, struct xu_error *err)
{
	(void)arg;
	(void)call;
	(void)err;
	return HOST_NEXT;
}

/* Tells that we honour its retry delays (ACRE), where it has any. */
static bool build_host_behavior(void *arg, struct host_call *call)
{
	struct host_ctrl *ctrl = arg;
	const uint16_t *crdt = ctrl->fresh.crdt;

	if ((crdt[0] | crdt[1] | crdt[2]) == 0) {
		return false;
	}
	memset(ctrl->page, 0, HOST_BEHAVIOR);
	*(uint8_t *)ctrl->page = 1;
	set_feature(call, NVME_FEAT_HOST_BEHAVIOR, 0);
	call->buf = ctrl->page;
	call->len = HOST_BEHAVIOR;
	call->dir = HOST_DIR_OUT;
	return true;
}

static int refused_host_behavior(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;

	(void)call;
	(void)err;
	memset(ctrl->fresh.crdt, 0, sizeof(ctrl->fresh.crdt)); /* then they mean nothing */
	return HOST_NEXT;
}

static bool build_nr_queues(void *arg, struct host_call *call)
{
	const struct host_ctrl *ctrl = arg;

	set_feature(call, NVME_FEAT_NR_QUEUES,
		(ctrl->nr_io_queues - 1) | (ctrl->nr_io_queues - 1) << 16);
	return true;
}

static int done_nr_queues(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	uint32_t nr_sq = (call->dw0 & 0xffffu) + 1, nr_cq = (call->dw0 >> 16) + 1;
	uint32_t granted = nr_sq < nr_cq ? nr_sq : nr_cq;

	(void)err;
	ctrl->fresh.nr_queues = granted < ctrl->nr_io_queues ? granted : ctrl->nr_io_queues;
	return HOST_NEXT;
}

static bool build_events(void *arg, struct host_call *call)
{
	struct host_ctrl *ctrl = arg;

	set_feature(call, NVME_FEAT_ASYNC_EVENTS, NVME_OAES_NS_ATTR);
	return (ctrl->fresh.oaes & NVME_OAES_NS_ATTR) != 0;
}

/* ---- the namespace ---- */

static bool build_active_list(void *arg, struct host_call *call)
{
	struct host_ctrl *ctrl = arg;

	ctrl->fresh.nsid = ctrl->nsid_wanted != 0 ? ctrl->nsid_wanted : 1;
	if (ctrl->nsid_wanted != 0 || ctrl->fresh.enable.vs < VS_1_1) {
		return false;
	}
	identify(ctrl, call, 0, NVME_CNS_ACTIVE_NS);
	return true;
}

static int done_active_list(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	const uint32_t *list = call->buf;

	if (list[0] == 0 || list[0] > MAX_ACTIVE_NSID) {
		return xu_error_set(err, -ENODEV,
			"subsystem %s has no namespace that this host may use", ctrl->peer.subnqn);
	}
	ctrl->fresh.nsid = list[0];
	return HOST_NEXT;
}

static bool build_identify_ns(void *arg, struct host_call *call)
{
	struct host_ctrl *ctrl = arg;

	identify(ctrl, call, ctrl->fresh.nsid, NVME_CNS_NS);
	return true;
}

static const struct nvme_lbaf *format_of(const struct nvme_id_ns *id)
{
	uint32_t index = id->flbas & 0xfu;

	if (id->nlbaf >= 16) {
		index |= (id->flbas >> 5 & 0x3u) << 4;
	}
	return &id->lbaf[index];
}

static int done_identify_ns(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	struct host_info *info = &ctrl->fresh;
	const struct nvme_id_ns *id = call->buf;
	const struct nvme_lbaf *format = format_of(id);

	info->nr_blocks = 0;
	if (id->nsze == 0 || id->ncap == 0) {
		return HOST_NEXT; /* it is not there: the caller knows what that means */
	}
	if ((format->lbads != 9 && format->lbads != 12) || format->ms != 0) {
		return xu_error_set(err, -EPROTONOSUPPORT,
			"namespace %u has blocks of 2^%u bytes and %u bytes of metadata; 512 or "
			"4096 "
			"without metadata are possible",
			info->nsid, format->lbads, format->ms);
	}
	if (id->nsze > (uint64_t)INT64_MAX >> format->lbads) {
		return xu_error_set(err, -EPROTO, "namespace %u claims %llu blocks", info->nsid,
			(unsigned long long)id->nsze);
	}
	info->nr_blocks = id->nsze;
	info->block_size = 1u << format->lbads;
	info->is_read_only = (id->nsattr & NVME_NSATTR_PROTECTED) != 0;
	info->has_deac = NVME_DLFEAT_READS(id->dlfeat) == NVME_DLFEAT_ZEROES &&
			 (id->dlfeat & NVME_DLFEAT_DEAC) != 0;
	memcpy(info->nguid, id->nguid, sizeof(info->nguid));
	memcpy(info->eui64, id->eui64, sizeof(info->eui64));
	memcpy(info->uuid.bytes, id->nguid, sizeof(info->uuid.bytes)); /* unless it has another */
	info->optimal_io = 0;
	info->discard_granularity = info->block_size;
	if (id->nsfeat & (1u << 4)) {
		info->optimal_io = id->nows != 0 ? (id->nows + 1u) * info->block_size : 0;
		info->discard_granularity = (id->npdg + 1u) * info->block_size;
	}
	return HOST_NEXT;
}

static int refused_identify_ns(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	char text[HOST_STATUS_TEXT];

	ctrl->fresh.nr_blocks = 0;
	if ((call->status | NVME_DNR) == NVME_SC_INVALID_NS) {
		return HOST_NEXT;
	}
	return xu_error_set(err, -EIO,
		"Identify of namespace %u: the target answers with status %s", ctrl->fresh.nsid,
		host_status_text(call->status, text));
}

static bool build_descriptors(void *arg, struct host_call *call)
{
	struct host_ctrl *ctrl = arg;

	identify(ctrl, call, ctrl->fresh.nsid, NVME_CNS_NS_DESCS);
	return ctrl->fresh.nr_blocks != 0 && ctrl->fresh.enable.vs >= VS_1_3;
}

static int done_descriptors(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	const uint8_t *page = call->buf;

	(void)err;
	for (uint32_t at = 0; at + 4 <= PAGE_BYTES && page[at] != 0; at += 4u + page[at + 1]) {
		uint32_t len = page[at + 1];

		if (page[at] == NVME_NIDT_UUID && len == sizeof(ctrl->fresh.uuid.bytes) &&
			at + 4 + len <= PAGE_BYTES) {
			memcpy(ctrl->fresh.uuid.bytes, page + at + 4, len);
		}
	}
	return HOST_NEXT;
}

static bool build_csi_ctrl(void *arg, struct host_call *call)
{
	identify(arg, call, 0, NVME_CNS_CSI_CTRL);
	return true;
}

/* How much Write Zeroes may do at a time; without a limit told, no more than a transfer. */
static int done_csi_ctrl(void *arg, const struct host_call *call, struct xu_error *err)
{
	struct host_ctrl *ctrl = arg;
	const struct nvme_id_ctrl_nvm *id = call->buf;
	uint32_t shift = 12 + NVME_CAP_MPSMIN(ctrl->fresh.enable.cap) + id->wzsl;

	(void)err;
	if (id->wzsl != 0) {
		ctrl->fresh.max_zeroes = shift >= 30 ? HOST_MAX_RANGE : 1ull << shift;
	}
	return HOST_NEXT;
}

static const struct host_step init_steps[] = {
	{"Identify Controller", build_identify_ctrl, done_identify_ctrl, NULL},
	{"setting the host behaviour", build_host_behavior, NULL, refused_host_behavior},
	{"asking for queues", build_nr_queues, done_nr_queues, NULL},
	{"asking for events", build_events, NULL, ignore},
	{"reading the list of namespaces", build_active_list, done_active_list, NULL},
	{"Identify Namespace", build_identify_ns, done_identify_ns, refused_identify_ns},
	{"reading the namespace's identifiers", build_descriptors, done_descriptors, ignore},
	{"reading limits", build_csi_ctrl, done_csi_ctrl, ignore},
	{0},
};

const struct host_part host_init_parts[] = {
	{host_enable_steps, offsetof(struct host_ctrl, fresh.enable)},
	{init_steps, 0},
	{0},
};

/* ---- again, after an event ---- */

/* Reading the list of what has changed lets the target tell the next change. */
static bool build_changed_list(void *arg, struct host_call *call)
{
	struct host_ctrl *ctrl = arg;

	call->cmd.opc = NVME_ADMIN_GET_LOG_PAGE;
	call->cmd.nsid = NVME_NSID_ALL;
	call->cmd.cdw10 = NVME_LOG_CHANGED_NS | (PAGE_BYTES / 4 - 1) << 16;
	call->buf = ctrl->page;
	call->len = PAGE_BYTES;
	call->dir = HOST_DIR_IN;
	return true;
}

static const struct host_step rescan_steps[] = {
	{"reading the list of changed namespaces", build_changed_list, NULL, ignore},
	{"Identify Namespace", build_identify_ns, done_identify_ns, refused_identify_ns},
	{"reading the namespace's identifiers", build_descriptors, done_descriptors, ignore},
	{0},
};

const struct host_part host_rescan_parts[] = {
	{rescan_steps, 0},
	{0},
};

int host_init_compare(const struct host_ctrl *ctrl, struct xu_error *err)
{
	const struct host_info *old = &ctrl->info, *fresh = &ctrl->fresh;

	if (memcmp(old->nguid, fresh->nguid, sizeof(old->nguid)) != 0 ||
		memcmp(old->eui64, fresh->eui64, sizeof(old->eui64)) != 0 ||
		!xu_uuid_is_equal(&old->uuid, &fresh->uuid)) {
		return xu_error_set(err, -ESTALE,
			"namespace %u is another volume now: its identifiers have changed",
			fresh->nsid);
	}
	if (fresh->block_size != old->block_size) {
		return xu_error_set(err, -ESTALE,
			"namespace %u has blocks of %u bytes now, and had %u", fresh->nsid,
			fresh->block_size, old->block_size);
	}
	if (fresh->max_transfer < ctrl->dev.limits.max_transfer) {
		return xu_error_set(err, -ESTALE,
			"the controller takes %u bytes at a time now, and took %u",
			fresh->max_transfer, ctrl->dev.limits.max_transfer);
	}
	return 0;
}
