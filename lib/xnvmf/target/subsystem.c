/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subsystems and who may use them. Removal ends every controller, takes the namespaces and
 * listeners away, and frees the subsystem when the last of them is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/crc32c.h"
#include "lib/xnvmf/target/private.h"

#define DEFAULT_NAMESPACES 32u

/* ---- names ---- */

static int check_text(const char *what, const char *text, size_t max, struct xu_error *err)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] > '~') {
			return xu_error_set(
				err, -EINVAL, "%s '%s' is not printable ASCII", what, text);
		}
	}
	if (len == 0 || len > max) {
		return xu_error_set(err, -EINVAL,
			"%s '%s' has %zu characters, 1 to %zu are possible", what, text, len, max);
	}
	return 0;
}

/* ---- making ---- */

static void free_subsystem(struct xnvmf_subsystem *subsystem)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&subsystem->hosts)) != NULL) {
		free(xu_list_entry(node, struct xnvmf_host, link));
	}
	if (subsystem->groups != NULL) {
		for (uint32_t i = 0; i < xbdev_ctx_nr_reactors(subsystem->target->ctx); i++) {
			free(subsystem->groups[i].ns);
		}
	}
	free(subsystem->policy);
	free(subsystem->groups);
	free(subsystem->ns);
	free(subsystem);
}

static int alloc_namespaces(struct xnvmf_subsystem *subsystem)
{
	uint32_t nr_reactors = xbdev_ctx_nr_reactors(subsystem->target->ctx);

	subsystem->ns = calloc(subsystem->max_namespaces + 1, sizeof(struct xnvmf_ns *));
	subsystem->groups = calloc(nr_reactors, sizeof(*subsystem->groups));
	if (subsystem->ns == NULL || subsystem->groups == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < nr_reactors; i++) {
		subsystem->groups[i].ns =
			calloc(subsystem->max_namespaces + 1, sizeof(struct xnvmf_group_ns));
		if (subsystem->groups[i].ns == NULL) {
			return -ENOMEM;
		}
	}
	return 0;
}

int xnvmf__subsystem_new(struct xnvmf_target *target, const struct xnvmf_subsystem_opts *opts,
	bool is_discovery, struct xnvmf_subsystem **ret_subsystem, struct xu_error *err)
{
	struct xnvmf_subsystem *subsystem = calloc(1, sizeof(*subsystem));

	if (subsystem == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making subsystem %s", opts->nqn);
	}
	subsystem->target = target;
	subsystem->is_discovery = is_discovery;
	subsystem->allow_any_host = opts->allow_any_host;
	subsystem->max_namespaces = opts->max_namespaces;
	strcpy(subsystem->nqn, opts->nqn);
	strcpy(subsystem->model, opts->model_number != NULL ? opts->model_number : "XSAN");
	if (opts->serial_number != NULL) {
		strcpy(subsystem->serial, opts->serial_number);
	} else {
		/* The same for the same name, so it survives a restart. */
		snprintf(subsystem->serial, sizeof(subsystem->serial), "XSAN%08X%08X",
			xu_crc32c(opts->nqn, strlen(opts->nqn)),
			xu_crc32c_update(0, opts->nqn, strlen(opts->nqn)));
	}
	xu_list_init(&subsystem->hosts);
	xu_list_init(&subsystem->listeners);
	xu_list_init(&subsystem->ctrls);
	xu_list_init(&subsystem->link);
	if (alloc_namespaces(subsystem) != 0) {
		free_subsystem(subsystem);
		return xu_error_set_errno(err, -ENOMEM, "making subsystem %s", opts->nqn);
	}
	*ret_subsystem = subsystem;
	return 0;
}

int xnvmf_subsystem_add(struct xnvmf_target *target, const struct xnvmf_subsystem_opts *opts,
	struct xnvmf_subsystem **ret_subsystem, struct xu_error *err)
{
	struct xnvmf_subsystem_opts full = *opts;
	struct xnvmf_subsystem *subsystem;
	int rc = xnvmf_nqn_check(opts->nqn, err);

	if (rc == 0 && opts->serial_number != NULL) {
		rc = check_text("serial number", opts->serial_number, 20, err);
	}
	if (rc == 0 && opts->model_number != NULL) {
		rc = check_text("model number", opts->model_number, 40, err);
	}
	if (rc != 0) {
		return rc;
	}
	if (strcmp(opts->nqn, XNVMF_DISCOVERY_NQN) == 0 ||
		(target->discovery != NULL && strcmp(opts->nqn, target->discovery->nqn) == 0) ||
		xnvmf_subsystem_find(target, opts->nqn) != NULL) {
		return xu_error_set(err, -EEXIST, "there is a subsystem %s already", opts->nqn);
	}
	if (full.max_namespaces == 0) {
		full.max_namespaces = DEFAULT_NAMESPACES;
	}
	if (full.max_namespaces > XNVMF_NSID_MAX) {
		return xu_error_set(err, -EINVAL,
			"max_namespaces %u is not possible, at most %u are", full.max_namespaces,
			XNVMF_NSID_MAX);
	}
	if (target->is_stopping) {
		return xu_error_set(err, -ESHUTDOWN, "the node is stopping");
	}
	rc = xnvmf__subsystem_new(target, &full, false, &subsystem, err);
	if (rc != 0) {
		return rc;
	}
	xu_list_add_tail(&target->subsystems, &subsystem->link);
	xu_info(target->log, "%s: added, serial number %s", subsystem->nqn, subsystem->serial);
	if (ret_subsystem != NULL) {
		*ret_subsystem = subsystem;
	}
	return 0;
}

struct xnvmf_subsystem *xnvmf_subsystem_next(
	struct xnvmf_target *target, struct xnvmf_subsystem *subsystem)
{
	struct xu_list *next = subsystem == NULL ? target->subsystems.next : subsystem->link.next;

	return next == &target->subsystems ? NULL
					   : xu_list_entry(next, struct xnvmf_subsystem, link);
}

struct xnvmf_subsystem *xnvmf_subsystem_find(struct xnvmf_target *target, const char *nqn)
{
	struct xnvmf_subsystem *subsystem = NULL;

	while ((subsystem = xnvmf_subsystem_next(target, subsystem)) != NULL) {
		if (strcmp(subsystem->nqn, nqn) == 0) {
			return subsystem;
		}
	}
	return NULL;
}

const char *xnvmf_subsystem_nqn(const struct xnvmf_subsystem *subsystem)
{
	return subsystem->nqn;
}

/* ---- removing ---- */

void xnvmf__subsystem_check(struct xnvmf_subsystem *subsystem)
{
	struct xnvmf_target *target = subsystem->target;
	void (*cb)(void *arg) = subsystem->removed_cb;
	void *arg = subsystem->removed_arg;

	if (!subsystem->is_removing || subsystem->is_check_sent ||
		!xu_list_is_empty(&subsystem->ctrls)) {
		return;
	}
	for (uint32_t i = 0; i < subsystem->max_namespaces; i++) {
		if (subsystem->ns[i] != NULL) {
			return;
		}
	}
	xu_info(target->log, "%s: removed", subsystem->nqn);
	xu_list_del(&subsystem->link);
	if (subsystem == target->discovery) {
		target->discovery = NULL;
	}
	free_subsystem(subsystem);
	if (cb != NULL) {
		cb(arg);
	}
	xnvmf__target_check(target);
}

/* The check runs later, so that a subsystem with nothing in it is not freed under its caller. */
static void on_check(struct xr_msg *msg)
{
	struct xnvmf_subsystem *subsystem = xu_container_of(msg, struct xnvmf_subsystem, check_msg);

	subsystem->is_check_sent = false;
	xnvmf__subsystem_check(subsystem);
}

int xnvmf_subsystem_remove(struct xnvmf_subsystem *subsystem, void (*cb)(void *arg), void *arg)
{
	struct xu_list *node, *next;

	if (subsystem->is_removing) {
		return -EBUSY;
	}
	subsystem->removed_cb = cb;
	subsystem->removed_arg = arg;
	xu_list_for_each_safe (node, next, &subsystem->ctrls) {
		xnvmf__ctrl_kill(xu_list_entry(node, struct xnvmf_ctrl, link),
			"the subsystem is being removed");
	}
	for (uint32_t i = 0; i < subsystem->max_namespaces; i++) {
		if (subsystem->ns[i] != NULL) {
			xnvmf_ns_remove(subsystem, i + 1, NULL, NULL, NULL);
		}
	}
	xu_list_for_each_safe (node, next, &subsystem->listeners) {
		xnvmf__listener_free(xu_list_entry(node, struct xnvmf_listener, link));
	}
	subsystem->is_removing = true;
	subsystem->is_check_sent = true;
	subsystem->check_msg.fn = on_check;
	xr_msg_send(xnvmf__control(subsystem->target), &subsystem->check_msg);
	xnvmf_target_discovery_changed(subsystem->target);
	return 0;
}

/* ---- hosts ---- */

static struct xnvmf_host *find_host(const struct xnvmf_subsystem *subsystem, const char *nqn)
{
	struct xu_list *node;

	xu_list_for_each (node, &subsystem->hosts) {
		struct xnvmf_host *host = xu_list_entry(node, struct xnvmf_host, link);

		if (strcmp(host->nqn, nqn) == 0) {
			return host;
		}
	}
	return NULL;
}

bool xnvmf__subsystem_allows(const struct xnvmf_subsystem *subsystem, const char *host_nqn)
{
	bool allows;

	return xnvmf__policy_hosts(subsystem, host_nqn, &allows)
		       ? allows
		       : subsystem->allow_any_host || find_host(subsystem, host_nqn) != NULL;
}

void xnvmf__subsystem_enforce_hosts(struct xnvmf_subsystem *subsystem)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &subsystem->ctrls) {
		struct xnvmf_ctrl *ctrl = xu_list_entry(node, struct xnvmf_ctrl, link);

		if (!xnvmf__subsystem_allows(subsystem, ctrl->hostnqn)) {
			xnvmf__ctrl_kill(ctrl, "its host is not allowed any more");
		}
	}
	xnvmf_target_discovery_changed(subsystem->target);
}

int xnvmf_subsystem_add_host(
	struct xnvmf_subsystem *subsystem, const char *host_nqn, struct xu_error *err)
{
	struct xnvmf_host *host;
	struct xu_list *node;
	uint32_t count = 0;
	int rc = xnvmf_nqn_check(host_nqn, err);

	if (rc != 0) {
		return rc;
	}
	if (find_host(subsystem, host_nqn) != NULL) {
		return xu_error_set(err, -EEXIST, "host %s is allowed already", host_nqn);
	}
	xu_list_for_each (node, &subsystem->hosts) {
		count++;
	}
	if (count == XNVMF_MAX_HOSTS) {
		return xu_error_set(err, -ENOSPC, "%s has %u allowed hosts, which is the limit",
			subsystem->nqn, XNVMF_MAX_HOSTS);
	}
	host = calloc(1, sizeof(*host));
	if (host == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "allowing host %s", host_nqn);
	}
	strcpy(host->nqn, host_nqn);
	xu_list_add_tail(&subsystem->hosts, &host->link);
	xnvmf_target_discovery_changed(subsystem->target);
	return 0;
}

int xnvmf_subsystem_remove_host(
	struct xnvmf_subsystem *subsystem, const char *host_nqn, struct xu_error *err)
{
	struct xnvmf_host *host = find_host(subsystem, host_nqn);

	if (host == NULL) {
		return xu_error_set(err, -ENOENT, "host %s is not among the allowed ones of %s",
			host_nqn, subsystem->nqn);
	}
	xu_list_del(&host->link);
	free(host);
	xnvmf__subsystem_enforce_hosts(subsystem);
	return 0;
}

void xnvmf_subsystem_allow_any_host(struct xnvmf_subsystem *subsystem, bool allow)
{
	subsystem->allow_any_host = allow;
	xnvmf__subsystem_enforce_hosts(subsystem);
}

void xnvmf_subsystem_set_draining(struct xnvmf_subsystem *subsystem, bool is_draining)
{
	if (subsystem->is_draining == is_draining) {
		return;
	}
	subsystem->is_draining = is_draining;
	xu_info(subsystem->target->log, "%s: %s", subsystem->nqn,
		is_draining ? "takes no new hosts, it is being drained" : "takes hosts again");
}
