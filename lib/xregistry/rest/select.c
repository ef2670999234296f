/* SPDX-License-Identifier: BSD-3-Clause */
/* GET /targets/select: which targets are best for what is wanted, and why. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"

#define LIST_MAX 64u /* names in one parameter */

static const char *const known[] = {"min_iops", "min_bandwidth_mbps", "max_latency_us",
	"min_capacity_bytes", "transport", "node_id", "tags", "preferred_location", "location",
	"exclude", "writable", "count", "spread", "policy", "hash_key", "health_weight",
	"performance_weight", "reliability_weight", "location_weight", "explain", NULL};

/* Cuts "a,b,c" (the list's own) into its names. */
struct names {
	char *text;
	const char *names[LIST_MAX];
	uint32_t count;
};

static bool read_names(struct xrpc_http_call *call, const char *name, struct names *names)
{
	const char *text = xrpc_http_query(call, name);
	char *rest, *part;

	if (text == NULL || text[0] == '\0') {
		return true;
	}
	names->text = strdup(text);
	for (part = names->text != NULL ? strtok_r(names->text, ",", &rest) : NULL; part != NULL;
		part = strtok_r(NULL, ",", &rest)) {
		if (names->count == LIST_MAX) {
			xrpc_http_problem(
				call, 400, name, "%s takes at most %u names", name, LIST_MAX);
			return false;
		}
		names->names[names->count++] = part;
	}
	return true;
}

static bool read_weight(struct xrpc_http_call *call, const char *name, double *ret_weight)
{
	const char *text = xrpc_http_query(call, name);
	char *end;
	double value;

	if (text == NULL) {
		return true;
	}
	value = strtod(text, &end);
	if (end == text || *end != '\0' || !(value >= 0 && value <= 1000)) {
		xrpc_http_problem(
			call, 400, name, "%s is a number from 0 to 1000, not '%.64s'", name, text);
		return false;
	}
	*ret_weight = value;
	return true;
}

static bool read_choice(struct xrpc_http_call *call, struct xreg_criteria *criteria)
{
	const char *transport = xrpc_http_query(call, "transport");
	const char *policy = xrpc_http_query(call, "policy");
	uint32_t i = 0;

	if (transport != NULL) {
		while (xreg_transport_names[i] != NULL &&
			strcmp(xreg_transport_names[i], transport) != 0) {
			i++;
		}
		if (xreg_transport_names[i] == NULL) {
			xrpc_http_problem(call, 400, "transport",
				"transport is tcp, rdma or fc, not '%.32s'", transport);
			return false;
		}
		criteria->transport = i;
	}
	if (policy != NULL && xreg_policy_parse(policy, &criteria->policy) != 0) {
		xrpc_http_problem(call, 400, "policy",
			"policy is score, round_robin, least_connections, least_load, weighted or "
			"hash, not '%.32s'",
			policy);
		return false;
	}
	return true;
}

static bool read_numbers(struct xrpc_http_call *call, struct xreg_criteria *criteria)
{
	uint64_t latency_us = 0, count = criteria->target_count;

	if (!rest_query_number(call, "min_iops", 0, UINT64_MAX, &criteria->min_iops) ||
		!rest_query_number(
			call, "min_bandwidth_mbps", 0, UINT64_MAX, &criteria->min_bandwidth_mbps) ||
		!rest_query_number(
			call, "min_capacity_bytes", 0, UINT64_MAX, &criteria->min_capacity_bytes) ||
		!rest_query_number(call, "max_latency_us", 0, UINT32_MAX, &latency_us) ||
		!rest_query_number(call, "count", 1, XREG_SELECT_MAX, &count) ||
		!rest_query_bool(call, "spread", &criteria->spread_over_nodes) ||
		!rest_query_bool(call, "writable", &criteria->is_writable)) {
		return false;
	}
	criteria->max_latency_us = (uint32_t)latency_us;
	criteria->target_count = (uint32_t)count;
	return read_weight(call, "health_weight", &criteria->health_weight) &&
	       read_weight(call, "performance_weight", &criteria->performance_weight) &&
	       read_weight(call, "reliability_weight", &criteria->reliability_weight) &&
	       read_weight(call, "location_weight", &criteria->location_weight);
}

static json_t *chosen_json(const struct xreg_rest *rest, const struct xreg_chosen *chosen)
{
	json_t *line = rest_target_line(rest, chosen->target);
	json_t *why = json_pack("{s:i, s:f, s:{s:f, s:f, s:f, s:f}, s:s}", "priority",
		(int)chosen->priority, "score", chosen->total, "scores", "health", chosen->health,
		"performance", chosen->performance, "reliability", chosen->reliability, "location",
		chosen->location, "reason", chosen->reason);

	if (line == NULL || why == NULL || json_object_update(line, why) != 0) {
		json_decref(line);
		line = NULL;
	}
	json_decref(why);
	return line;
}

static void answer(const struct xreg_rest *rest, struct xrpc_http_call *call,
	const struct xreg_selection *selection, bool is_explained)
{
	json_t *targets = json_array(), *rejected = json_array(), *body;

	for (uint32_t i = 0; i < selection->nr_chosen; i++) {
		json_array_append_new(targets, chosen_json(rest, &selection->chosen[i]));
	}
	for (uint32_t i = 0; is_explained && i < selection->nr_rejected; i++) {
		json_array_append_new(
			rejected, json_pack("{s:s, s:s}", "target_id",
					  selection->rejected[i].target->origin.id, "reason",
					  xreg_reject_text(selection->rejected[i].reason)));
	}
	body = json_pack("{s:s, s:s, s:o, s:i, s:i, s:i}", "status",
		xreg_selection_status_name(selection->status), "policy",
		xreg_policy_name(selection->policy), "targets", targets, "total_count",
		(int)selection->nr_chosen, "candidate_count", (int)selection->nr_candidates,
		"rejected_count", (int)selection->nr_rejected);
	if (body != NULL && is_explained) {
		json_object_set(body, "rejected", rejected);
	}
	json_decref(rejected);
	xrpc_http_answer(call, 200, body);
}

static void choose(struct xreg_rest *rest, struct xrpc_http_call *call,
	const struct xreg_criteria *criteria, bool is_explained)
{
	struct xreg_view *view = xreg_store_view(rest->opts.store);
	struct xreg_selection selection = {0};
	struct xreg_health_config health;
	int rc;

	rest_health_config(rest, &health);
	rc = xreg_select(rest->opts.balancer, view, criteria, &health, rest_unix_ms(), &selection);
	if (rc == 0) {
		rest_add_index(call, xreg_view_revision(view));
		answer(rest, call, &selection, is_explained);
		xreg_selection_free(&selection);
	} else if (rc == -EINVAL) {
		xrpc_http_problem(call, 422, criteria->policy == XREG_HASH ? "hash_key" : NULL,
			"what is asked for cannot be: the policy 'hash' needs a hash_key, and not "
			"all weights may be 0");
	} else {
		xrpc_http_problem(call, 500, NULL, "no memory");
	}
	xreg_view_unref(view);
}

void rest_targets_select(struct xrpc_http_call *call, void *arg)
{
	struct names tags = {0}, excluded = {0};
	struct xreg_criteria criteria;
	bool is_explained = false;

	xreg_criteria_default(&criteria);
	criteria.target_count = 10;
	if (rest_query_check(call, known) && read_numbers(call, &criteria) &&
		read_choice(call, &criteria) && read_names(call, "tags", &tags) &&
		read_names(call, "exclude", &excluded) &&
		rest_query_bool(call, "explain", &is_explained)) {
		criteria.node_id = xrpc_http_query(call, "node_id");
		criteria.preferred_location = xrpc_http_query(call, "preferred_location");
		criteria.location_prefix = xrpc_http_query(call, "location");
		criteria.hash_key = xrpc_http_query(call, "hash_key");
		criteria.tags = tags.names;
		criteria.nr_tags = tags.count;
		criteria.exclude_ids = excluded.names;
		criteria.nr_exclude_ids = excluded.count;
		choose(arg, call, &criteria, is_explained);
	}
	free(tags.text);
	free(excluded.text);
}
