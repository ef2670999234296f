/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery service: whose log is shown, reading it in pieces, telling hosts of changes, its
 * own listeners, and who is connected. A change is told to the persistent discovery controllers
 * whose counter it moves, a tenth of a second after the first of a burst; what is told goes into
 * each connection's queue, so a host that does not read holds up nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

#define CHANGE_DELAY_NS (100 * XU_NS_PER_MS)
#define ENTRY_BYTES     ((uint32_t)sizeof(struct nvme_discovery_entry))

/* ---- whose log ---- */

static void set_name(struct xnvmf_subsystem *discovery, const struct xnvmf_discovery_opts *opts)
{
	if (opts->nqn != NULL) {
		strcpy(discovery->nqn, opts->nqn);
	}
	if (opts->serial != NULL) {
		strcpy(discovery->serial, opts->serial);
	}
}

int xnvmf_target_set_discovery(
	struct xnvmf_target *target, const struct xnvmf_discovery_opts *opts, struct xu_error *err)
{
	struct xnvmf_subsystem *discovery = target->discovery;
	int rc;

	if (discovery == NULL || target->is_stopping) {
		return xu_error_set(err, -ESHUTDOWN, "the target is stopping");
	}
	if (target->nr_qpairs != 0) {
		return xu_error_set(err, -EBUSY,
			"the discovery service cannot be set while hosts are connected; set it "
			"before the target listens");
	}
	if (opts->nqn != NULL) {
		rc = xnvmf_nqn_check(opts->nqn, err);
		if (rc != 0) {
			return rc;
		}
		if (xnvmf_subsystem_find(target, opts->nqn) != NULL) {
			return xu_error_set(err, -EEXIST,
				"'%s' is the name of a subsystem and cannot be that of the "
				"discovery service too",
				opts->nqn);
		}
	}
	if (opts->serial != NULL && strlen(opts->serial) >= sizeof(discovery->serial)) {
		return xu_error_set(err, -EINVAL, "serial number '%s' is longer than %zu",
			opts->serial, sizeof(discovery->serial) - 1);
	}
	set_name(discovery, opts);
	target->discovery_ops = opts->ops;
	target->discovery_arg = opts->arg;
	target->is_central = opts->is_central;
	return 0;
}

/* ---- reading the log ---- */

const struct xnvmf_discovery_log_ops *xnvmf__discovery_log(
	const struct xnvmf_target *target, enum xnvmf_log which)
{
	return which == XNVMF_LOG_HOSTS ? target->discovery_ops->hosts
					: &target->discovery_ops->log;
}

uint32_t xnvmf__discovery_events(const struct xnvmf_target *target)
{
	return NVME_OAES_DISCOVERY | (target->discovery_ops->hosts != NULL ? NVME_OAES_HOSTS : 0);
}

static struct xnvmf_discovery_asker asker_of(const struct xnvmf_ctrl *ctrl, enum xnvmf_log which)
{
	return (struct xnvmf_discovery_asker){.hostnqn = ctrl->hostnqn,
		.hostid = ctrl->hostid,
		.address = ctrl->sight.address,
		.own_address = ctrl->sight.own_address,
		.own_port = ctrl->sight.own_port,
		.is_controller = ctrl->sight.is_controller,
		.options = ctrl->sight.logs[which].options};
}

/* Whether a host is connected stands in the log of hosts. */
static void tell_readers_of_hosts(struct xnvmf_target *target)
{
	if (target->nr_hosts_readers != 0) {
		xnvmf_target_discovery_changed(target);
	}
}

void xnvmf__discovery_connected(struct xnvmf_ctrl *ctrl, uint8_t cattr)
{
	struct xnvmf_qpair *qpair = ctrl->admin;

	ctrl->sight.is_controller = (cattr & NVME_CATTR_DISCOVERY) != 0;
	qpair->transport->address(qpair, false, ctrl->sight.own_address, &ctrl->sight.own_port);
	qpair->transport->address(qpair, true, ctrl->sight.address, &ctrl->sight.port);
	tell_readers_of_hosts(qpair->target);
}

static void unpin(struct xnvmf_ctrl *ctrl, enum xnvmf_log which)
{
	struct xnvmf_target *target = ctrl->subsystem->target;
	struct xnvmf_ctrl_log *log = &ctrl->sight.logs[which];

	if (log->view != NULL) {
		xnvmf__discovery_log(target, which)->unpin(target->discovery_arg, log->view);
		log->view = NULL;
	}
}

void xnvmf__discovery_gone(struct xnvmf_ctrl *ctrl)
{
	struct xnvmf_target *target = ctrl->subsystem->target;

	target->nr_hosts_readers -= ctrl->sight.logs[XNVMF_LOG_HOSTS].view != NULL;
	unpin(ctrl, XNVMF_LOG_TARGETS);
	unpin(ctrl, XNVMF_LOG_HOSTS);
	if (ctrl->subsystem->is_discovery) {
		tell_readers_of_hosts(target);
	}
}

int xnvmf__discovery_pin(struct xnvmf_ctrl *ctrl, enum xnvmf_log which, uint32_t options)
{
	struct xnvmf_target *target = ctrl->subsystem->target;
	const struct xnvmf_discovery_log_ops *ops = xnvmf__discovery_log(target, which);
	struct xnvmf_ctrl_log *log = &ctrl->sight.logs[which];
	struct xnvmf_discovery_asker asker;
	void *view;

	log->options = options & ops->options;
	asker = asker_of(ctrl, which);
	view = ops->pin(target->discovery_arg, &asker);
	if (view == NULL) {
		return -ENOMEM;
	}
	target->nr_hosts_readers += which == XNVMF_LOG_HOSTS && log->view == NULL;
	unpin(ctrl, which);
	log->view = view;
	ops->describe(view, &log->info);
	log->told_genctr = log->info.genctr;
	log->is_pending = false; /* it sees now what it was to be told of */
	return 0;
}

uint64_t xnvmf__discovery_log_bytes(const struct xnvmf_ctrl *ctrl, enum xnvmf_log which)
{
	const struct xnvmf_discovery_info *info = &ctrl->sight.logs[which].info;

	return sizeof(struct nvme_discovery_header) +
	       (uint64_t)info->nr_entries * info->entry_bytes;
}

static size_t read_header(const struct xnvmf_ctrl *ctrl, enum xnvmf_log which, uint64_t offset,
	uint8_t *buf, size_t len)
{
	const struct xnvmf_discovery_info *info = &ctrl->sight.logs[which].info;
	struct nvme_discovery_header header = {
		.genctr = info->genctr, .numrec = info->nr_entries, .dlpf = (uint8_t)info->options};
	size_t part = sizeof(header) - offset < len ? sizeof(header) - offset : len;

	if (which == XNVMF_LOG_HOSTS || (info->options & XNVMF_DISCOVERY_EXTENDED)) {
		header.tdlpl = (uint32_t)xnvmf__discovery_log_bytes(ctrl, which);
	}
	memcpy(buf, (const uint8_t *)&header + offset, part);
	return part;
}

/* A part of one entry. */
static size_t read_part(const struct xnvmf_ctrl *ctrl, enum xnvmf_log which, uint32_t index,
	uint32_t from, uint8_t *buf, size_t len)
{
	const struct xnvmf_ctrl_log *log = &ctrl->sight.logs[which];
	uint8_t entry[XNVMF_DISCOVERY_ENTRY_MAX];
	uint32_t part = log->info.entry_bytes - from;

	if (part > len) {
		part = (uint32_t)len;
	}
	xnvmf__discovery_log(ctrl->subsystem->target, which)->render(log->view, index, 1, entry);
	memcpy(buf, entry + from, part);
	return part;
}

void xnvmf__discovery_read(
	struct xnvmf_ctrl *ctrl, enum xnvmf_log which, uint64_t offset, uint8_t *buf, size_t len)
{
	const struct xnvmf_discovery_log_ops *ops =
		xnvmf__discovery_log(ctrl->subsystem->target, which);
	const struct xnvmf_ctrl_log *log = &ctrl->sight.logs[which];
	uint32_t bytes = log->info.entry_bytes, index, from, count;
	uint64_t total = xnvmf__discovery_log_bytes(ctrl, which);
	size_t done = 0, part;

	if (offset < sizeof(struct nvme_discovery_header)) {
		done = read_header(ctrl, which, offset, buf, len);
	}
	while (done < len && offset + done < total) {
		uint64_t at = offset + done - sizeof(struct nvme_discovery_header);

		index = (uint32_t)(at / bytes);
		from = (uint32_t)(at % bytes);
		count = (uint32_t)((len - done) / bytes);
		if (count > log->info.nr_entries - index) {
			count = log->info.nr_entries - index;
		}
		if (from != 0 || count == 0) {
			part = read_part(ctrl, which, index, from, buf + done, len - done);
		} else {
			ops->render(log->view, index, count, buf + done);
			part = (size_t)count * bytes;
		}
		done += part;
	}
	memset(buf + done, 0, len - done);
}

/* ---- changes ---- */

static void tell(struct xnvmf_ctrl *ctrl, enum xnvmf_log which)
{
	struct xnvmf_target *target = ctrl->subsystem->target;
	struct xnvmf_discovery_asker asker = asker_of(ctrl, which);
	struct xnvmf_ctrl_log *log = &ctrl->sight.logs[which];
	uint64_t genctr =
		xnvmf__discovery_log(target, which)->genctr(target->discovery_arg, &asker);

	if (genctr != 0 && genctr != log->told_genctr) {
		log->told_genctr = genctr;
		xnvmf__ctrl_discovery_changed(ctrl, which);
	}
}

static void on_change_timer(struct xr_timer *timer)
{
	struct xnvmf_target *target = xu_container_of(timer, struct xnvmf_target, change_timer);
	struct xu_list *node, *next;

	if (target->discovery == NULL) {
		return;
	}
	xu_list_for_each_safe (node, next, &target->discovery->ctrls) {
		struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);

		if (!ctrl->is_dead) {
			tell(ctrl, XNVMF_LOG_TARGETS);
		}
		if (!ctrl->is_dead && ctrl->sight.logs[XNVMF_LOG_HOSTS].view != NULL) {
			tell(ctrl, XNVMF_LOG_HOSTS);
		}
	}
}

void xnvmf_target_discovery_changed(struct xnvmf_target *target)
{
	target->change_timer.fn = on_change_timer;
	if (!target->is_stopping && !xr_timer_is_running(&target->change_timer)) {
		xr_timer_start(xnvmf__control(target), &target->change_timer, CHANGE_DELAY_NS);
	}
}

void xnvmf__discovery_fini(struct xnvmf_target *target)
{
	xr_timer_stop(xnvmf__control(target), &target->change_timer);
	xnvmf__discovery_node_fini(target);
}

/* ---- listeners ---- */

int xnvmf_discovery_listen(
	struct xnvmf_target *target, const struct xnvmf_listener_opts *opts, struct xu_error *err)
{
	if (target->discovery == NULL) {
		return xu_error_set(err, -ESHUTDOWN, "the target is stopping");
	}
	return xnvmf_listener_add(target->discovery, opts, err);
}

int xnvmf_discovery_unlisten(
	struct xnvmf_target *target, const char *traddr, const char *trsvcid, struct xu_error *err)
{
	if (target->discovery == NULL) {
		return xu_error_set(err, -ESHUTDOWN, "the target is stopping");
	}
	return xnvmf_listener_remove(target->discovery, traddr, trsvcid, err);
}

uint32_t xnvmf_discovery_own_entries(struct xnvmf_target *target, const char *own_address,
	struct nvme_discovery_entry *entries, uint32_t max)
{
	struct xu_list *node;
	uint32_t count = 0;

	if (target->discovery == NULL) {
		return 0;
	}
	xu_list_for_each (node, &target->discovery->listeners) {
		if (count < max) {
			xnvmf__discovery_fill_entry(&entries[count++],
				xu_list_entry(node, struct xnvmf_listener, link),
				target->discovery->nqn, NVME_SUBTYPE_CURRENT_DISCOVERY,
				own_address);
		}
	}
	return count;
}

/* ---- who is connected ---- */

void xnvmf_discovery_each_host(struct xnvmf_target *target,
	bool (*fn)(void *arg, const struct xnvmf_discovery_host *host), void *arg)
{
	uint64_t now_ns = xr_now_ns(xnvmf__control(target));
	struct xu_list *node;

	if (target->discovery == NULL) {
		return;
	}
	xu_list_for_each (node, &target->discovery->ctrls) {
		const struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);
		const struct xnvmf_discovery_host host = {.hostnqn = ctrl->hostnqn,
			.hostid = ctrl->hostid,
			.address = ctrl->sight.address,
			.port = ctrl->sight.port,
			.own_address = ctrl->sight.own_address,
			.cntlid = ctrl->cntlid,
			.is_persistent = ctrl->kato_ms != 0,
			.is_controller = ctrl->sight.is_controller,
			.age_ms = (now_ns - ctrl->start_ns) / XU_NS_PER_MS};

		if (!ctrl->is_dead && !fn(arg, &host)) {
			return;
		}
	}
}
