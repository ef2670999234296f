/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target for programs: what JSON-RPC answers (in SPDK's form) and what the configuration file
 * would say. Control reactor only.
 */
#include <ctype.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

static json_t *hex(const uint8_t *bytes, size_t len)
{
	char text[33];

	for (size_t i = 0; i < len; i++) {
		snprintf(text + 2 * i, 3, "%02X", bytes[i]);
	}
	return json_string(text);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != 0) {
			return false;
		}
	}
	return true;
}

static json_t *trtype_name(const struct xnvmf_port *port)
{
	char name[16] = "";

	for (size_t i = 0; port->transport->name[i] != '\0' && i < sizeof(name) - 1; i++) {
		name[i] = (char)toupper((unsigned char)port->transport->name[i]);
	}
	return json_string(name);
}

static const char *adrfam_name(const char *address)
{
	return strchr(address, ':') != NULL ? "IPv6" : "IPv4";
}

static json_t *listen_address(const struct xnvmf_port *port)
{
	return json_pack("{s:o, s:s, s:s, s:s}", "trtype", trtype_name(port), "adrfam",
		adrfam_name(port->address), "traddr", port->address, "trsvcid", port->service);
}

/* ---- namespaces ---- */

static json_t *ns_info(const struct xnvmf_ns *ns)
{
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *info;

	xu_uuid_format(&ns->uuid, uuid);
	info = json_pack("{s:i, s:s, s:s, s:o, s:s}", "nsid", (int)ns->nsid, "bdev_name",
		ns->desc->dev->name, "name", ns->desc->dev->name, "nguid",
		hex(ns->nguid, sizeof(ns->nguid)), "uuid", uuid);
	if (!is_zero(ns->eui64, sizeof(ns->eui64))) {
		json_object_set_new(info, "eui64", hex(ns->eui64, sizeof(ns->eui64)));
	}
	return info;
}

static json_t *ns_config(const struct xnvmf_ns *ns)
{
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *config;

	xu_uuid_format(&ns->uuid, uuid);
	config = json_pack("{s:i, s:s, s:s, s:o}", "nsid", (int)ns->nsid, "device",
		ns->desc->dev->name, "uuid", uuid, "nguid", hex(ns->nguid, sizeof(ns->nguid)));
	if (!is_zero(ns->eui64, sizeof(ns->eui64))) {
		json_object_set_new(config, "eui64", hex(ns->eui64, sizeof(ns->eui64)));
	}
	if (ns->is_read_only && !ns->desc->dev->is_read_only) {
		json_object_set_new(config, "read_only", json_true());
	}
	return config;
}

static json_t *namespaces(
	const struct xnvmf_subsystem *subsystem, json_t *(*describe)(const struct xnvmf_ns *ns))
{
	json_t *list = json_array();

	for (uint32_t nsid = 1; nsid <= subsystem->max_namespaces; nsid++) {
		const struct xnvmf_ns *ns = subsystem->ns[nsid - 1];

		if (ns != NULL && ns->state != XNVMF_NS_REMOVING && !ns->must_remove) {
			json_array_append_new(list, describe(ns));
		}
	}
	return list;
}

/* ---- subsystems ---- */

static json_t *hosts(const struct xnvmf_subsystem *subsystem, bool as_objects)
{
	json_t *list = json_array();
	const struct xu_list *node;

	xu_list_for_each (node, &subsystem->hosts) {
		const char *nqn = xu_list_entry(node, struct xnvmf_host, link)->nqn;

		json_array_append_new(
			list, as_objects ? json_pack("{s:s}", "nqn", nqn) : json_string(nqn));
	}
	return list;
}

/* The discovery subsystem listens wherever another one does. */
static json_t *discovery_addresses(const struct xnvmf_target *target)
{
	json_t *list = json_array();
	const struct xu_list *node;

	xu_list_for_each (node, &target->ports) {
		const struct xnvmf_port *port = xu_list_entry(node, struct xnvmf_port, link);

		if (port->listener != NULL) {
			json_array_append_new(list, listen_address(port));
		}
	}
	return list;
}

static json_t *listen_addresses(const struct xnvmf_subsystem *subsystem)
{
	json_t *list;
	const struct xu_list *node;

	if (subsystem->is_discovery) {
		return discovery_addresses(subsystem->target);
	}
	list = json_array();
	xu_list_for_each (node, &subsystem->listeners) {
		json_array_append_new(list,
			listen_address(xu_list_entry(node, struct xnvmf_listener, link)->port));
	}
	return list;
}

static json_t *subsystem_info(const struct xnvmf_subsystem *subsystem)
{
	json_t *info = json_pack("{s:s, s:s, s:o, s:b, s:o}", "nqn", subsystem->nqn, "subtype",
		subsystem->is_discovery ? "Discovery" : "NVMe", "listen_addresses",
		listen_addresses(subsystem), "allow_any_host", subsystem->allow_any_host, "hosts",
		hosts(subsystem, true));

	if (!subsystem->is_discovery) {
		json_object_set_new(info, "serial_number", json_string(subsystem->serial));
		json_object_set_new(info, "model_number", json_string(subsystem->model));
		json_object_set_new(
			info, "max_namespaces", json_integer(subsystem->max_namespaces));
		json_object_set_new(info, "min_cntlid", json_integer(1));
		json_object_set_new(info, "max_cntlid", json_integer(0xffef));
		json_object_set_new(info, "namespaces", namespaces(subsystem, ns_info));
		if (subsystem->policy != NULL) {
			json_object_set_new(info, "policy", xnvmf_subsystem_policy_json(subsystem));
		}
	}
	return info;
}

json_t *xnvmf_target_subsystems_json(struct xnvmf_target *target)
{
	struct xnvmf_subsystem *subsystem = NULL;
	json_t *list = json_array();

	if (target->discovery != NULL) {
		json_array_append_new(list, subsystem_info(target->discovery));
	}
	while ((subsystem = xnvmf_subsystem_next(target, subsystem)) != NULL) {
		json_array_append_new(list, subsystem_info(subsystem));
	}
	return list;
}

static json_t *listener_config(const struct xnvmf_listener *listener)
{
	json_t *config = json_pack("{s:s, s:s, s:s}", "trtype", listener->port->transport->name,
		"traddr", listener->port->address, "trsvcid", listener->port->service);

	if (listener->advertise[0] != '\0') {
		json_object_set_new(config, "advertise", json_string(listener->advertise));
	}
	return config;
}

json_t *xnvmf_target_config_json(struct xnvmf_target *target)
{
	struct xnvmf_subsystem *subsystem = NULL;
	json_t *list = json_array();

	while ((subsystem = xnvmf_subsystem_next(target, subsystem)) != NULL) {
		json_t *listeners = json_array();
		struct xu_list *node;

		if (subsystem->is_removing) {
			json_decref(listeners);
			continue;
		}
		xu_list_for_each (node, &subsystem->listeners) {
			json_array_append_new(listeners,
				listener_config(xu_list_entry(node, struct xnvmf_listener, link)));
		}
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:b, s:i, s:o, s:o, s:o}", "nqn", subsystem->nqn,
				"serial_number", subsystem->serial, "model_number",
				subsystem->model, "allow_any_host", subsystem->allow_any_host,
				"max_namespaces", (int)subsystem->max_namespaces, "hosts",
				hosts(subsystem, false), "namespaces",
				namespaces(subsystem, ns_config), "listeners", listeners));
	}
	return list;
}

/* ---- connections ---- */

json_t *xnvmf_subsystem_controllers_json(struct xnvmf_subsystem *subsystem)
{
	json_t *list = json_array();
	struct xu_list *node;

	xu_list_for_each (node, &subsystem->ctrls) {
		const struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);
		struct xu_uuid hostid;
		char text[XU_UUID_TEXT_SIZE];

		memcpy(hostid.bytes, ctrl->hostid, sizeof(hostid.bytes));
		xu_uuid_format(&hostid, text);
		json_array_append_new(
			list, json_pack("{s:i, s:s, s:s, s:i, s:i, s:b}", "cntlid", ctrl->cntlid,
				      "hostnqn", ctrl->hostnqn, "hostid", text, "num_io_qpairs",
				      (int)ctrl->nr_io_qpairs, "kato_ms", (int)ctrl->kato_ms,
				      "ready", xnvmf__ctrl_is_ready(ctrl)));
	}
	return list;
}

static json_t *qpair_info(struct xnvmf_qpair *qpair, const struct xnvmf_ctrl *ctrl)
{
	char address[XR_ADDRESS_SIZE] = "";
	uint16_t number = 0;
	char service[8];

	qpair->transport->address(qpair, true, address, &number);
	snprintf(service, sizeof(service), "%u", number);
	return json_pack("{s:i, s:i, s:s, s:i, s:o, s:{s:o, s:s, s:s, s:s}}", "cntlid",
		ctrl->cntlid, "qid", qpair->qid, "state",
		qpair->is_disconnect_asked ? "deactivating" : "enabled", "reactor",
		(int)xr_reactor_index(qpair->home), "listen_address", listen_address(qpair->port),
		"peer_address", "trtype", trtype_name(qpair->port), "adrfam", adrfam_name(address),
		"traddr", address, "trsvcid", service);
}

json_t *xnvmf_subsystem_qpairs_json(struct xnvmf_subsystem *subsystem)
{
	json_t *list = json_array();
	struct xu_list *node, *inner;

	xu_list_for_each (node, &subsystem->ctrls) {
		struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);

		if (ctrl->admin != NULL) {
			json_array_append_new(list, qpair_info(ctrl->admin, ctrl));
		}
		xu_list_for_each (inner, &ctrl->io_qpairs) {
			json_array_append_new(list,
				qpair_info(xu_list_entry(inner, struct xnvmf_qpair, control_link),
					ctrl));
		}
	}
	return list;
}

json_t *xnvmf_subsystem_listeners_json(struct xnvmf_subsystem *subsystem)
{
	json_t *list = json_array(), *address;
	struct xu_list *node;
	size_t i;

	if (subsystem->is_discovery) {
		json_t *addresses = discovery_addresses(subsystem->target);

		json_array_foreach (addresses, i, address) {
			json_array_append_new(list, json_pack("{s:O}", "address", address));
		}
		json_decref(addresses);
		return list; /* its own listeners are among them */
	}
	xu_list_for_each (node, &subsystem->listeners) {
		const struct xnvmf_listener *listener =
			xu_list_entry(node, struct xnvmf_listener, link);
		json_t *info = json_pack("{s:o}", "address", listen_address(listener->port));

		if (listener->advertise[0] != '\0') {
			json_object_set_new(info, "advertise", json_string(listener->advertise));
		}
		json_array_append_new(list, info);
	}
	return list;
}

json_t *xnvmf_target_stats_json(struct xnvmf_target *target)
{
	json_t *groups = json_array();

	for (uint32_t i = 0; i < xbdev_ctx_nr_reactors(target->ctx); i++) {
		const struct xnvmf_group *group = &target->groups[i];

		json_array_append_new(
			groups, json_pack("{s:i, s:i, s:I}", "reactor", (int)i, "io_qpairs",
					(int)group->nr_qpairs, "commands",
					(json_int_t)atomic_load_explicit(
						&group->nr_commands, memory_order_relaxed)));
	}
	return json_pack("{s:i, s:I, s:I, s:I, s:o}", "connections", (int)target->nr_qpairs,
		"connections_total", (json_int_t)target->nr_connections, "refused_total",
		(json_int_t)target->nr_refused, "dropped_total",
		(json_int_t)target->nr_dropped_total, "poll_groups", groups);
}
