/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fabrics commands: Connect, Property Get and Set, Disconnect (Base 6). Connect decides everything
 * about a queue on the control reactor: who may, which controller, which reactor.
 */
#include <string.h>

#include "lib/xnvmf/target/private.h"

/* ---- Connect ---- */

static void reject(struct xnvmf_req *req, uint16_t status, uint32_t where)
{
	struct xnvmf_target *target = req->qpair->target;

	target->nr_refused++;
	req->cpl.dw0 = where;
	xnvmf__req_complete(req, status);
}

/* Terminated, and printable ASCII like every NQN configured here: it goes to logs and JSON. */
static bool is_nqn(const char *nqn)
{
	size_t len = strnlen(nqn, NVME_NQN_FIELD);

	for (size_t i = 0; i < len; i++) {
		if (nqn[i] <= ' ' || nqn[i] > '~') {
			return false;
		}
	}
	return len != 0 && len <= XNVMF_NQN_MAX;
}

/* The reactor for an I/O queue: that of the subsystem's devices when they all have one owner,
 * else the one with the fewest queues. */
static struct xr_reactor *choose_reactor(struct xnvmf_subsystem *subsystem)
{
	struct xnvmf_target *target = subsystem->target;
	struct xr_reactor *owner = NULL;
	uint32_t best = 0;

	for (uint32_t i = 0; i < subsystem->max_namespaces; i++) {
		const struct xnvmf_ns *ns = subsystem->ns[i];

		if (ns == NULL) {
			continue;
		}
		if (ns->desc->dev->is_multi_reactor ||
			(owner != NULL && owner != ns->desc->dev->owner)) {
			owner = NULL;
			break;
		}
		owner = ns->desc->dev->owner;
	}
	if (owner != NULL) {
		return owner;
	}
	for (uint32_t i = 1; i < xbdev_ctx_nr_reactors(target->ctx); i++) {
		if (target->groups[i].nr_qpairs < target->groups[best].nr_qpairs) {
			best = i;
		}
	}
	return target->groups[best].reactor;
}

static void succeed(struct xnvmf_req *req, struct xnvmf_ctrl *ctrl)
{
	const struct nvme_connect_cmd *cmd = (const struct nvme_connect_cmd *)&req->cmd;
	struct xnvmf_qpair *qpair = req->qpair;

	/* It belongs to those without Connect, and to this reactor. */
	xnvmf__buffer_put(req);
	qpair->qid = cmd->qid;
	qpair->share = qpair->qid == 0 ? &ctrl->initiator->admin
				       : &ctrl->initiator->shares[xr_reactor_index(qpair->reactor)];
	qpair->sq_size = (uint16_t)(cmd->sqsize + 1u);
	qpair->sq_head = 1u % qpair->sq_size;
	qpair->is_sqflow_off = (cmd->cattr & NVME_CATTR_DISABLE_SQFLOW) != 0;
	qpair->ctrl = ctrl;
	qpair->subsystem = ctrl->subsystem;
	qpair->state = XNVMF_QPAIR_LIVE;
	req->cpl.dw0 = ctrl->cntlid;
	if (qpair->is_sqflow_off) {
		req->cpl.sqhd = UINT16_MAX;
	}
	xr_timer_stop(qpair->reactor, &qpair->connect_timer);
	xu_list_del(&qpair->unconnected_link);
}

/* Whether an association of this host is ending: a write of it may still be with the device, and
 * must not land after those of the next one. */
static bool is_host_ending(
	const struct xnvmf_subsystem *subsystem, const struct nvme_connect_data *data)
{
	const struct xu_list *node;

	xu_list_for_each (node, &subsystem->ctrls) {
		const struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);

		if (ctrl->is_dead && strcmp(ctrl->hostnqn, data->hostnqn) == 0 &&
			memcmp(ctrl->hostid, data->hostid, sizeof(data->hostid)) == 0) {
			return true;
		}
	}
	return false;
}

static void connect_admin(struct xnvmf_req *req, struct xnvmf_subsystem *subsystem)
{
	const struct nvme_connect_cmd *cmd = (const struct nvme_connect_cmd *)&req->cmd;
	const struct nvme_connect_data *data = req->buf;
	struct xnvmf_qpair *qpair = req->qpair;
	struct xnvmf_ctrl *ctrl;
	uint64_t nr_silent;

	/* FFFFh asks for any controller, FFFEh for any static one: ours are dynamic. */
	if (data->cntlid != 0xffffu) {
		reject(req, NVME_SC_CONNECT_PARAM, NVME_IPO_DATA(cntlid));
		return;
	}
	if (cmd->sqsize == 0 || cmd->sqsize >= XNVMF_ADMIN_DEPTH) {
		reject(req, NVME_SC_CONNECT_PARAM, NVME_IPO_CMD(sqsize));
		return;
	}
	if (subsystem->is_draining) {
		reject(req, NVME_SC_CONNECT_BUSY, 0);
		return;
	}
	if (xnvmf__policy_is_full(subsystem)) {
		if (xnvmf__log_allowed(qpair->target, &qpair->target->policy_limit, &nr_silent)) {
			xu_warn(qpair->target->log,
				"%s: host %s was refused, as many are connected as may be (%llu "
				"more refusals since the last such line)",
				subsystem->nqn, data->hostnqn, (unsigned long long)nr_silent);
		}
		reject(req, NVME_SC_CONNECT_BUSY, 0);
		return;
	}
	if (is_host_ending(subsystem, data)) {
		qpair->held_req = req;
		xu_list_add_tail(&qpair->target->held_connects, &req->link);
		return;
	}
	if (qpair->transport->set_depth(qpair, cmd->sqsize + 1u, true) != 0) {
		reject(req, NVME_SC_CONNECT_BUSY, 0);
		return;
	}
	ctrl = xnvmf__ctrl_new(subsystem, data, cmd->kato, qpair);
	if (ctrl == NULL) {
		reject(req, NVME_SC_CONNECT_BUSY, 0);
		return;
	}
	ctrl->has_queue_deletion = (cmd->cattr & NVME_CATTR_QUEUE_DELETION) != 0;
	if (subsystem->is_discovery) {
		xnvmf__discovery_connected(ctrl, cmd->cattr);
	}
	qpair->group = &subsystem->groups[0];
	succeed(req, ctrl);
	xu_info(qpair->target->log, "%s: controller %u for %s on connection %llu", subsystem->nqn,
		ctrl->cntlid, ctrl->hostnqn, (unsigned long long)qpair->id);
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

/* What keeps an I/O queue from being made; 0 when nothing does. */
static uint16_t check_io_connect(
	struct xnvmf_req *req, const struct xnvmf_ctrl *ctrl, uint32_t *ret_where)
{
	static const uint8_t no_hostid[16];
	const struct nvme_connect_cmd *cmd = (const struct nvme_connect_cmd *)&req->cmd;
	const struct nvme_connect_data *data = req->buf;
	const struct xu_list *node;

	*ret_where = NVME_IPO_DATA(cntlid);
	if (ctrl == NULL || ctrl->is_dead) {
		return NVME_SC_CONNECT_PARAM;
	}
	*ret_where = NVME_IPO_DATA(hostnqn);
	if (strcmp(data->hostnqn, ctrl->hostnqn) != 0) {
		return NVME_SC_CONNECT_PARAM;
	}
	*ret_where = NVME_IPO_DATA(hostid);
	if (memcmp(data->hostid, no_hostid, sizeof(no_hostid)) != 0 &&
		memcmp(data->hostid, ctrl->hostid, sizeof(no_hostid)) != 0) {
		return NVME_SC_CONNECT_PARAM;
	}
	*ret_where = NVME_IPO_CMD(qid);
	if (ctrl->subsystem->is_discovery || !xnvmf__ctrl_is_ready(ctrl) ||
		NVME_CC_SHN(ctrl->cc) != 0 || cmd->qid > ctrl->nr_queues) {
		return NVME_SC_CONNECT_PARAM;
	}
	*ret_where = NVME_IPO_CMD(sqsize);
	if (cmd->sqsize == 0 || cmd->sqsize >= ctrl->queue_depth) {
		return NVME_SC_CONNECT_PARAM;
	}
	*ret_where = 0;
	xu_list_for_each (node, &ctrl->io_qpairs) {
		if (xu_list_entry(node, struct xnvmf_qpair, control_link)->qid == cmd->qid) {
			return NVME_SC_SEQUENCE;
		}
	}
	return 0;
}

static void connect_io(struct xnvmf_req *req, struct xnvmf_subsystem *subsystem)
{
	const struct nvme_connect_cmd *cmd = (const struct nvme_connect_cmd *)&req->cmd;
	const struct nvme_connect_data *data = req->buf;
	struct xnvmf_ctrl *ctrl = xnvmf__ctrl_find(subsystem, data->cntlid);
	struct xnvmf_qpair *qpair = req->qpair;
	struct xr_reactor *home;
	uint32_t where;
	uint16_t status = check_io_connect(req, ctrl, &where);

	if (status != 0) {
		reject(req, status, where);
		return;
	}
	if (qpair->transport->set_depth(qpair, cmd->sqsize + 1u, false) != 0) {
		reject(req, NVME_SC_CONNECT_BUSY, 0);
		return;
	}
	succeed(req, ctrl);
	xu_list_del(&qpair->control_link);
	xu_list_add_tail(&ctrl->io_qpairs, &qpair->control_link);
	ctrl->nr_io_qpairs++;
	home = choose_reactor(subsystem);
	qpair->target->groups[xr_reactor_index(home)].nr_qpairs++;
	if (home == qpair->reactor) {
		qpair->group = &subsystem->groups[xr_reactor_index(home)];
		xnvmf__req_complete(req, NVME_SC_SUCCESS);
		return;
	}
	qpair->connect_req = req;
	xnvmf__qpair_move(qpair, home);
}

/* The discovery service has the well-known name, and may have one of its own. */
static struct xnvmf_subsystem *find_subsystem(struct xnvmf_target *target, const char *nqn)
{
	struct xnvmf_subsystem *discovery = target->discovery;

	if (discovery != NULL &&
		(strcmp(nqn, XNVMF_DISCOVERY_NQN) == 0 || strcmp(nqn, discovery->nqn) == 0)) {
		return discovery;
	}
	return xnvmf_subsystem_find(target, nqn);
}

void xnvmf__connect(struct xnvmf_req *req)
{
	const struct nvme_connect_cmd *cmd = (const struct nvme_connect_cmd *)&req->cmd;
	const struct nvme_connect_data *data = req->buf;
	struct xnvmf_qpair *qpair = req->qpair;
	struct xnvmf_target *target = qpair->target;
	struct xnvmf_subsystem *subsystem;
	uint64_t nr_silent;

	if (req->data_len != sizeof(*data)) {
		reject(req, NVME_SC_SGL_LENGTH, 0);
		return;
	}
	if (cmd->recfmt != 0) {
		reject(req, NVME_SC_CONNECT_FORMAT, NVME_IPO_CMD(recfmt));
		return;
	}
	if (!is_nqn(data->subnqn)) {
		reject(req, NVME_SC_CONNECT_PARAM, NVME_IPO_DATA(subnqn));
		return;
	}
	if (!is_nqn(data->hostnqn)) {
		reject(req, NVME_SC_CONNECT_PARAM, NVME_IPO_DATA(hostnqn));
		return;
	}
	subsystem = find_subsystem(target, data->subnqn);
	if (subsystem == NULL || subsystem->is_removing ||
		(!subsystem->is_discovery &&
			xnvmf__subsystem_listener(subsystem, qpair->port) == NULL)) {
		reject(req, NVME_SC_CONNECT_PARAM, NVME_IPO_DATA(subnqn));
		return;
	}
	/* A queue that is being ended must not move: the message that ends it is on its way. */
	if (target->is_stopping || qpair->is_disconnect_asked) {
		reject(req, NVME_SC_CONNECT_BUSY, 0);
		return;
	}
	if (!xnvmf__subsystem_allows(subsystem, data->hostnqn)) {
		if (xnvmf__log_allowed(target, &target->host_limit, &nr_silent)) {
			xu_warn(target->log,
				"%s: host %s is not allowed and was refused (%llu more refusals "
				"since the last such line)",
				subsystem->nqn, data->hostnqn, (unsigned long long)nr_silent);
		}
		reject(req, NVME_SC_CONNECT_HOST, NVME_IPO_DATA(hostnqn));
		return;
	}
	if (cmd->qid == 0) {
		connect_admin(req, subsystem);
	} else {
		connect_io(req, subsystem);
	}
}

void xnvmf__connect_held(struct xnvmf_target *target)
{
	struct xu_list held, *node;

	xu_list_init(&held);
	xu_list_splice_tail(&held, &target->held_connects);
	while ((node = xu_list_pop(&held)) != NULL) {
		struct xnvmf_req *req = xu_list_entry(node, struct xnvmf_req, link);

		req->qpair->held_req = NULL;
		xnvmf__connect(req);
	}
}

/* ---- properties ---- */

static void property_get(struct xnvmf_req *req)
{
	struct xnvmf_ctrl *ctrl = req->qpair->ctrl;
	uint32_t attrib = req->cmd.cdw10 & 0x7u, offset = req->cmd.cdw11;
	uint64_t value;

	switch (offset) {
	case NVME_PROP_CAP:
		value = xnvmf__ctrl_cap(ctrl);
		break;
	case NVME_PROP_VS:
		value = XNVMF_VERSION;
		break;
	case NVME_PROP_CC:
		value = ctrl->cc;
		break;
	case NVME_PROP_CSTS:
		value = ctrl->csts;
		break;
	default:
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	if (attrib != (offset == NVME_PROP_CAP ? 1u : 0u)) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	req->cpl.dw0 = (uint32_t)value;
	req->cpl.dw1 = (uint32_t)(value >> 32);
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

static void property_set(struct xnvmf_req *req)
{
	uint32_t attrib = req->cmd.cdw10 & 0x7u;

	if (req->cmd.cdw11 != NVME_PROP_CC || attrib != 0) {
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		return;
	}
	xnvmf__ctrl_set_cc(req->qpair->ctrl, req->cmd.cdw12);
	xnvmf__req_complete(req, NVME_SC_SUCCESS);
}

/* ---- Disconnect ---- */

/* The queue's other commands are answered first; the host then closes the connection. */
static void disconnect(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;

	if (qpair->qid == 0) {
		xnvmf__req_complete(req, NVME_SC_QUEUE_TYPE);
	} else if ((req->cmd.cdw10 & 0xffffu) != 0) {
		xnvmf__req_complete(req, NVME_SC_CONNECT_FORMAT);
	} else if (qpair->disconnect_req != NULL) {
		xnvmf__req_complete(req, NVME_SC_SEQUENCE);
	} else {
		qpair->disconnect_req = req;
		xnvmf__qpair_request_done(qpair);
	}
}

/* ---- dispatch ---- */

void xnvmf__fabrics_execute(struct xnvmf_req *req)
{
	struct xnvmf_qpair *qpair = req->qpair;
	uint8_t fctype = NVME_CMD_FCTYPE(&req->cmd);

	if (qpair->state == XNVMF_QPAIR_NEW) {
		if (fctype == NVME_FCTYPE_CONNECT) {
			xnvmf__connect(req);
		} else {
			xnvmf__req_complete(req, NVME_SC_SEQUENCE);
		}
		return;
	}
	if (qpair->qid == 0 && qpair->ctrl != NULL) {
		xnvmf__room_touch(qpair->ctrl);
	}
	switch ((enum nvme_fctype)fctype) {
	case NVME_FCTYPE_CONNECT:
		xnvmf__req_complete(req, NVME_SC_SEQUENCE);
		break;
	case NVME_FCTYPE_PROPERTY_GET:
	case NVME_FCTYPE_PROPERTY_SET:
		if (qpair->qid != 0) {
			xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		} else if (fctype == NVME_FCTYPE_PROPERTY_GET) {
			property_get(req);
		} else {
			property_set(req);
		}
		break;
	case NVME_FCTYPE_DISCONNECT:
		disconnect(req);
		break;
	default:
		xnvmf__req_complete(req, NVME_SC_INVALID_FIELD);
		break;
	}
}
