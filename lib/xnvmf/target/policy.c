/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What counts for a subsystem in place of its own configuration, as long as it is set: a registry's
 * word. It is copied before anything of it holds, so it holds as a whole or not at all. Control
 * reactor, but for the flag that I/O looks at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xnvmf/target/private.h"

struct policy {
	struct xnvmf_policy values; /* whose hosts are these: */
	char hosts[][XNVMF_NQN_MAX + 1];
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int copy_policy(const struct xnvmf_subsystem *subsystem, const struct xnvmf_policy *values,
	struct policy **ret_policy, struct xu_error *err)
{
	uint32_t depth_max = subsystem->target->opts.max_queue_depth;
	struct policy *policy;
	int rc = 0;

	if (values->queue_depth != 0 &&
		(values->queue_depth < 2 || values->queue_depth > depth_max)) {
		return xu_error_set(err, -EINVAL,
			"queue_depth: %u is not possible here, 2 to %u are (max_queue_depth of the "
			"transport)",
			values->queue_depth, depth_max);
	}
	if (values->nr_hosts > XNVMF_MAX_HOSTS) {
		return xu_error_set(err, -ENOSPC, "%u hosts are not possible, at most %u are",
			values->nr_hosts, XNVMF_MAX_HOSTS);
	}
	for (uint32_t i = 0; rc == 0 && i < values->nr_hosts; i++) {
		rc = xnvmf_nqn_check(values->hosts[i], err);
	}
	if (rc != 0) {
		return rc;
	}
	policy = calloc(1, sizeof(*policy) + values->nr_hosts * sizeof(policy->hosts[0]));
	if (policy == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "setting the policy of %s", subsystem->nqn);
	}
	policy->values = *values;
	policy->values.hosts = NULL;
	for (uint32_t i = 0; i < values->nr_hosts; i++) {
		strcpy(policy->hosts[i], values->hosts[i]);
	}
	qsort(policy->hosts, values->nr_hosts, sizeof(policy->hosts[0]), compare_names);
	*ret_policy = policy;
	return 0;
}

/* Every host looks again at every namespace. */
static void tell_hosts(struct xnvmf_subsystem *subsystem)
{
	struct xu_list *node, *next;

	for (uint32_t nsid = 1; nsid <= subsystem->max_namespaces; nsid++) {
		if (xnvmf__ns_active(subsystem, nsid) == NULL) {
			continue;
		}
		xu_list_for_each_safe (node, next, &subsystem->ctrls) {
			xnvmf__ctrl_ns_changed(xu_list_entry(node, struct xnvmf_ctrl, link), nsid);
		}
	}
}

int xnvmf_subsystem_set_policy(
	struct xnvmf_subsystem *subsystem, const struct xnvmf_policy *values, struct xu_error *err)
{
	bool is_read_only = values != NULL && values->is_read_only;
	struct policy *policy = NULL;
	int rc = values != NULL ? copy_policy(subsystem, values, &policy, err) : 0;

	if (rc != 0) {
		return rc;
	}
	free(subsystem->policy);
	subsystem->policy = policy;
	if (is_read_only != atomic_load(&subsystem->is_read_only)) {
		atomic_store(&subsystem->is_read_only, is_read_only);
		tell_hosts(subsystem);
	}
	xnvmf__subsystem_enforce_hosts(subsystem);
	xu_info(subsystem->target->log, "%s: %s", subsystem->nqn,
		policy != NULL ? "a policy holds in place of its own configuration"
			       : "its own configuration holds, there is no policy any more");
	return 0;
}

/* ---- what holds ---- */

bool xnvmf__policy_hosts(
	const struct xnvmf_subsystem *subsystem, const char *host_nqn, bool *ret_allows)
{
	const struct policy *policy = subsystem->policy;

	if (policy == NULL || !policy->values.has_hosts) {
		return false;
	}
	*ret_allows = policy->values.allow_any_host ||
		      bsearch(host_nqn, policy->hosts, policy->values.nr_hosts,
			      sizeof(policy->hosts[0]), compare_names) != NULL;
	return true;
}

uint32_t xnvmf__policy_queue_depth(const struct xnvmf_subsystem *subsystem)
{
	const struct policy *policy = subsystem->policy;

	return policy != NULL && policy->values.queue_depth != 0
		       ? policy->values.queue_depth
		       : subsystem->target->opts.max_queue_depth;
}

bool xnvmf__policy_is_full(const struct xnvmf_subsystem *subsystem)
{
	const struct policy *policy = subsystem->policy;
	const struct xu_list *node;
	uint32_t count = 0;

	if (policy == NULL || policy->values.max_controllers == 0) {
		return false;
	}
	xu_list_for_each (node, &subsystem->ctrls) {
		count += !xu_list_entry(node, struct xnvmf_ctrl, link)->is_dead;
	}
	return count >= policy->values.max_controllers;
}

/* Of all namespaces, by their own configuration. */
static bool are_read_only(const struct xnvmf_subsystem *subsystem)
{
	bool has_any = false;

	for (uint32_t nsid = 1; nsid <= subsystem->max_namespaces; nsid++) {
		const struct xnvmf_ns *ns = xnvmf__ns_active(subsystem, nsid);

		if (ns != NULL && !ns->is_read_only) {
			return false;
		}
		has_any |= ns != NULL;
	}
	return has_any;
}

static json_t *own_hosts(const struct xnvmf_subsystem *subsystem)
{
	json_t *list = json_array();
	const struct xu_list *node;

	xu_list_for_each (node, &subsystem->hosts) {
		json_array_append_new(
			list, json_string(xu_list_entry(node, struct xnvmf_host, link)->nqn));
	}
	return list;
}

json_t *xnvmf_subsystem_policy_json(const struct xnvmf_subsystem *subsystem)
{
	const struct policy *policy = subsystem->policy;
	bool has_hosts = policy != NULL && policy->values.has_hosts;
	json_t *hosts = has_hosts ? json_array() : own_hosts(subsystem);

	for (uint32_t i = 0; has_hosts && i < policy->values.nr_hosts; i++) {
		json_array_append_new(hosts, json_string(policy->hosts[i]));
	}
	return json_pack("{s:b, s:I, s:I, s:b, s:o, s:b}", "is_set", (int)(policy != NULL),
		"queue_depth", (json_int_t)xnvmf__policy_queue_depth(subsystem), "max_connections",
		(json_int_t)(policy != NULL ? policy->values.max_controllers : 0), "allow_any_host",
		(int)(has_hosts ? policy->values.allow_any_host : subsystem->allow_any_host),
		"hosts", hosts, "read_only",
		(int)(atomic_load(&subsystem->is_read_only) || are_read_only(subsystem)));
}
