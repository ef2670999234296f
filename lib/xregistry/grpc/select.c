/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Choosing targets: the request as criteria, the selection as an answer.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/util/error.h"
#include "lib/xregistry/grpc/private.h"
#include "lib/xregistry/select.h"
#include "lib/xregistry/store.h"

#define NR_REJECTED_TOLD 100u

_Static_assert((int)XREG_ROUND_ROBIN == (int)PB_VALUE(SELECTION_POLICY__POLICY_ROUND_ROBIN), "");
_Static_assert(
	(int)XREG_LEAST_CONNECTIONS == (int)PB_VALUE(SELECTION_POLICY__POLICY_LEAST_CONNECTIONS),
	"");
_Static_assert((int)XREG_LEAST_LOAD == (int)PB_VALUE(SELECTION_POLICY__POLICY_LEAST_LOAD), "");
_Static_assert((int)XREG_WEIGHTED == (int)PB_VALUE(SELECTION_POLICY__POLICY_WEIGHTED), "");
_Static_assert((int)XREG_HASH == (int)PB_VALUE(SELECTION_POLICY__POLICY_HASH), "");
_Static_assert((int)XREG_SCORE == (int)PB_VALUE(SELECTION_POLICY__POLICY_SCORE), "");
_Static_assert(
	(int)XREG_SELECTION_NO_SUITABLE == (int)PB_VALUE(SELECTION_STATUS__SELECTION_NO_SUITABLE),
	"");

/* Borrows from the request. */
static void read_criteria(
	const pb_select_targets_request *request, struct xreg_criteria *ret_criteria)
{
	xreg_criteria_default(ret_criteria);
	ret_criteria->min_iops = request->min_iops;
	ret_criteria->min_bandwidth_mbps = request->min_bandwidth_mbps;
	ret_criteria->max_latency_us = request->max_latency_us;
	ret_criteria->min_capacity_bytes = request->min_capacity_bytes;
	if (request->has_transport_case != 0) {
		ret_criteria->transport = (uint32_t)request->transport;
	}
	ret_criteria->node_id = request->node_id;
	ret_criteria->tags = (const char *const *)request->tags;
	ret_criteria->nr_tags = (uint32_t)request->n_tags;
	ret_criteria->preferred_location = request->preferred_location;
	ret_criteria->location_prefix = request->location;
	ret_criteria->exclude_ids = (const char *const *)request->exclude_target_ids;
	ret_criteria->nr_exclude_ids = (uint32_t)request->n_exclude_target_ids;
	ret_criteria->is_writable = request->writable;
	if (request->weights != NULL) {
		ret_criteria->health_weight = request->weights->health;
		ret_criteria->performance_weight = request->weights->performance;
		ret_criteria->reliability_weight = request->weights->reliability;
		ret_criteria->location_weight = request->weights->location;
	}
	if (request->target_count != 0) {
		ret_criteria->target_count = request->target_count;
	}
	ret_criteria->spread_over_nodes = request->spread_over_nodes;
	ret_criteria->policy = (enum xreg_policy)request->policy;
	ret_criteria->hash_key = request->hash_key[0] != '\0' ? request->hash_key : NULL;
}

/* An answer and what it is made of. */
struct whole {
	pb_select_targets_response response;
	pb_selected_target *chosen, **chosen_list;
	pb_rejected_target *rejected, **rejected_list;
};

static void free_whole(struct whole *whole)
{
	for (size_t i = 0; i < whole->response.n_targets; i++) {
		free(whole->chosen[i].target);
	}
	free(whole->chosen);
	free(whole->chosen_list);
	free(whole->rejected);
	free(whole->rejected_list);
}

/* -ENOMEM: what there is so far is to be freed all the same. */
static bool write_chosen(struct whole *whole, const struct xreg_selection *selection,
	const struct xreg_health_config *health)
{
	whole->chosen = calloc(selection->nr_chosen + 1, sizeof(*whole->chosen));
	whole->chosen_list = calloc(selection->nr_chosen + 1, sizeof(*whole->chosen_list));
	if (whole->chosen == NULL || whole->chosen_list == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < selection->nr_chosen; i++) {
		const struct xreg_chosen *chosen = &selection->chosen[i];
		pb_selected_target message = PB_INIT(SELECTED_TARGET);

		message.target = xreg__pb_target(chosen->target, health);
		if (message.target == NULL) {
			return false;
		}
		message.priority = chosen->priority;
		message.total_score = chosen->total;
		message.health_score = chosen->health;
		message.performance_score = chosen->performance;
		message.reliability_score = chosen->reliability;
		message.location_score = chosen->location;
		message.reason = xreg__pb_text(chosen->reason);
		whole->chosen[i] = message;
		whole->chosen_list[i] = &whole->chosen[i];
		whole->response.n_targets++;
	}
	whole->response.targets = whole->chosen_list;
	return true;
}

static bool write_rejected(struct whole *whole, const struct xreg_selection *selection)
{
	uint32_t count = selection->nr_rejected < NR_REJECTED_TOLD ? selection->nr_rejected
								   : NR_REJECTED_TOLD;

	whole->rejected = calloc(count + 1, sizeof(*whole->rejected));
	whole->rejected_list = calloc(count + 1, sizeof(*whole->rejected_list));
	if (whole->rejected == NULL || whole->rejected_list == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < count; i++) {
		pb_rejected_target message = PB_INIT(REJECTED_TARGET);

		message.target_id = xreg__pb_text(selection->rejected[i].target->origin.id);
		message.reason = xreg__pb_text(xreg_reject_text(selection->rejected[i].reason));
		whole->rejected[i] = message;
		whole->rejected_list[i] = &whole->rejected[i];
	}
	whole->response.n_rejected = count;
	whole->response.rejected = whole->rejected_list;
	return true;
}

static void answer(const struct xreg_health_config *health, struct xrpc_grpc_call *call,
	bool must_explain, const struct xreg_selection *selection)
{
	struct whole whole = {.response = PB_INIT(SELECT_TARGETS_RESPONSE)};

	whole.response.status = (pb_selection_status)selection->status;
	whole.response.policy = (pb_selection_policy)selection->policy;
	whole.response.candidate_count = selection->nr_candidates;
	whole.response.rejected_count = selection->nr_rejected;
	whole.response.revision = xreg_view_revision(selection->view);
	if (!write_chosen(&whole, selection, health) ||
		(must_explain && !write_rejected(&whole, selection))) {
		xreg__grpc_fail_memory(call);
	} else {
		xrpc_grpc_answer(call, &whole.response.base);
	}
	free_whole(&whole);
}

void xreg__grpc_select_targets(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_select_targets_request *request = (const void *)message;
	struct xreg_grpc *grpc = arg;
	struct xreg_view *view = xreg_store_view(grpc->opts.store);
	struct xreg_selection selection = {0};
	struct xreg_health_config health;
	struct xreg_criteria criteria;
	int rc;

	read_criteria(request, &criteria);
	xreg__grpc_health_config(grpc, &health);
	rc = xreg_select(
		grpc->opts.balancer, view, &criteria, &health, xreg__grpc_now_ms(grpc), &selection);
	if (rc == 0) {
		answer(&health, call, request->explain, &selection);
	} else if (rc == -EINVAL) {
		xrpc_grpc_fail(call, XRPC_GRPC_INVALID_ARGUMENT,
			"these criteria cannot be: a weight or the count is out of its range, the "
			"policy or the transport is not known, or the policy HASH has no key");
	} else {
		xreg__grpc_fail_memory(call);
	}
	xreg_selection_free(&selection);
	xreg_view_unref(view);
}
