/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners and ports. A port is an address that is listened on; a listener is a subsystem's use of
 * one. A port stays while a listener or a connection uses it, but accepts only while a listener
 * does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/xnvmf/target/private.h"

const struct xnvmf_transport_ops *const xnvmf__transports[] = {
	&xnvmf__transport_tcp,
	NULL,
};

const struct xnvmf_transport_ops *xnvmf__transport_find(const char *name)
{
	for (size_t i = 0; xnvmf__transports[i] != NULL; i++) {
		if (strcasecmp(xnvmf__transports[i]->name, name) == 0) {
			return xnvmf__transports[i];
		}
	}
	return NULL;
}

/* ---- ports ---- */

static struct xnvmf_port *find_port(
	struct xnvmf_target *target, const char *address, const char *service)
{
	struct xu_list *node;

	xu_list_for_each (node, &target->ports) {
		struct xnvmf_port *port = xu_list_entry(node, struct xnvmf_port, link);

		if (strcmp(port->address, address) == 0 && strcmp(port->service, service) == 0 &&
			port->listener != NULL) {
			return port;
		}
	}
	return NULL;
}

static bool has_listener(const struct xnvmf_port *port)
{
	const struct xnvmf_subsystem *discovery = port->target->discovery;
	struct xnvmf_subsystem *subsystem = NULL;

	if (discovery != NULL && xnvmf__subsystem_listener(discovery, port) != NULL) {
		return true;
	}
	while ((subsystem = xnvmf_subsystem_next(port->target, subsystem)) != NULL) {
		if (xnvmf__subsystem_listener(subsystem, port) != NULL) {
			return true;
		}
	}
	return false;
}

void xnvmf__port_put(struct xnvmf_port *port)
{
	if (port->listener != NULL && !has_listener(port)) {
		xu_info(port->target->log, "no longer listening on %s port %s", port->address,
			port->service);
		port->transport->unlisten(port);
		port->listener = NULL;
	}
	if (--port->nr_users == 0) {
		xu_list_del(&port->link);
		free(port);
	}
}

static int make_port(struct xnvmf_target *target, const struct xnvmf_transport_ops *transport,
	const struct xnvmf_listener_opts *opts, struct xnvmf_port **ret_port, struct xu_error *err)
{
	struct xnvmf_port *port = calloc(1, sizeof(*port));
	int rc;

	if (port == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "listening on %s", opts->traddr);
	}
	port->target = target;
	port->transport = transport;
	port->port_id = ++target->next_port_id;
	strcpy(port->address, opts->traddr);
	strcpy(port->service, opts->trsvcid);
	rc = transport->listen(port, err);
	if (rc != 0) {
		free(port);
		return rc;
	}
	xu_list_add_tail(&target->ports, &port->link);
	xu_info(target->log, "listening on %s port %s (%s)", port->address, port->service,
		transport->name);
	*ret_port = port;
	return 0;
}

/* ---- listeners ---- */

struct xnvmf_listener *xnvmf__subsystem_listener(
	const struct xnvmf_subsystem *subsystem, const struct xnvmf_port *port)
{
	struct xu_list *node;

	xu_list_for_each (node, &subsystem->listeners) {
		struct xnvmf_listener *listener = xu_list_entry(node, struct xnvmf_listener, link);

		if (listener->port == port) {
			return listener;
		}
	}
	return NULL;
}

static int check_address(const char *what, const char *address, struct xu_error *err)
{
	struct sockaddr_storage addr;

	if (strlen(address) >= XR_ADDRESS_SIZE || xr_address_parse(address, 0, &addr) < 0) {
		return xu_error_set(err, -EINVAL,
			"%s '%s' is not a numeric IPv4 or IPv6 address; names are not looked up",
			what, address);
	}
	return 0;
}

static int check_opts(const struct xnvmf_listener_opts *opts, struct xu_error *err)
{
	char *end;
	unsigned long number = strtoul(opts->trsvcid, &end, 10);
	int rc;

	if (*end != '\0' || end == opts->trsvcid || number > 65535 || strlen(opts->trsvcid) > 5) {
		return xu_error_set(
			err, -EINVAL, "trsvcid '%s' is not a port, 1 to 65535", opts->trsvcid);
	}
	rc = check_address("traddr", opts->traddr, err);
	if (rc == 0 && opts->advertise != NULL) {
		rc = check_address("advertise", opts->advertise, err);
		if (rc == 0 && xr_address_is_wildcard(opts->advertise)) {
			rc = xu_error_set(err, -EINVAL,
				"advertise '%s' means every address; hosts need one to connect to",
				opts->advertise);
		}
	}
	return rc;
}

int xnvmf_listener_add(struct xnvmf_subsystem *subsystem, const struct xnvmf_listener_opts *opts,
	struct xu_error *err)
{
	struct xnvmf_target *target = subsystem->target;
	const struct xnvmf_transport_ops *transport = xnvmf__transport_find(opts->trtype);
	struct xnvmf_listener *listener;
	struct xnvmf_port *port;
	int rc;

	if (transport == NULL) {
		return xu_error_set(
			err, -EINVAL, "transport '%s' is not known; there is tcp", opts->trtype);
	}
	if (subsystem->is_removing) {
		return xu_error_set(err, -ENODEV, "%s is being removed", subsystem->nqn);
	}
	rc = check_opts(opts, err);
	if (rc != 0) {
		return rc;
	}
	port = find_port(target, opts->traddr, opts->trsvcid);
	if (port != NULL && xnvmf__subsystem_listener(subsystem, port) != NULL) {
		return xu_error_set(err, -EEXIST, "%s listens on %s port %s already",
			subsystem->nqn, opts->traddr, opts->trsvcid);
	}
	listener = calloc(1, sizeof(*listener));
	if (listener == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "adding a listener");
	}
	if (port == NULL) {
		rc = make_port(target, transport, opts, &port, err);
		if (rc != 0) {
			free(listener);
			return rc;
		}
	}
	listener->port = port;
	port->nr_users++;
	if (opts->advertise != NULL) {
		strcpy(listener->advertise, opts->advertise);
	}
	xu_list_add_tail(&subsystem->listeners, &listener->link);
	xnvmf_target_discovery_changed(target);
	return 0;
}

void xnvmf__listener_free(struct xnvmf_listener *listener)
{
	struct xnvmf_port *port = listener->port;

	xu_list_del(&listener->link);
	free(listener);
	xnvmf__port_put(port);
}

int xnvmf_listener_remove(struct xnvmf_subsystem *subsystem, const char *traddr,
	const char *trsvcid, struct xu_error *err)
{
	struct xnvmf_port *port = find_port(subsystem->target, traddr, trsvcid);
	struct xnvmf_listener *listener =
		port != NULL ? xnvmf__subsystem_listener(subsystem, port) : NULL;
	struct xu_list *node, *next;

	if (listener == NULL) {
		return xu_error_set(err, -ENOENT, "%s does not listen on %s port %s",
			subsystem->nqn, traddr, trsvcid);
	}
	xu_list_for_each_safe (node, next, &subsystem->ctrls) {
		xnvmf__ctrl_leave_port(xu_list_entry(node, struct xnvmf_ctrl, link), port);
	}
	xnvmf__listener_free(listener);
	xnvmf_target_discovery_changed(subsystem->target);
	return 0;
}
