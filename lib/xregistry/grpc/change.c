/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes: handed to the store and answered on its writer's thread, when they are durable. A client
 * that has gone by then, or whose deadline has passed, does not learn of it: the change is made all
 * the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/drain.h"
#include "lib/xregistry/grpc/private.h"
#include "lib/xregistry/store.h"

#define MINUTES_MAX (366u * 24 * 60)

/* A change on its way through the store. It needs nothing of the service's any more: the store may
 * answer after that has stopped. */
struct pending {
	struct xreg_change change;
	struct xrpc_grpc_call *call;
	struct xreg_parsed parsed; /* borrows from the call's request */
	void (*answer)(struct pending *pending);
};

static void on_done(struct xreg_change *change)
{
	struct pending *pending = change->arg;

	if (change->rc == 0) {
		pending->answer(pending);
	} else {
		xreg__grpc_fail(pending->call, &change->err);
	}
	xreg_target_unref(change->result);
	free(pending);
}

/* NULL: no memory, and the call has failed. */
static struct pending *new_pending(struct xrpc_grpc_call *call, enum xreg_change_op op,
	void (*answer)(struct pending *pending))
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (pending == NULL) {
		xreg__grpc_fail_memory(call);
		return NULL;
	}
	pending->call = call;
	pending->answer = answer;
	pending->change = (struct xreg_change){.op = op,
		.spec = &pending->parsed.spec,
		.status = {.reason = ""},
		.done = on_done,
		.arg = pending};
	return pending;
}

/* Hands it to the store, unless reading the request went wrong. */
static void submit(struct xreg_grpc *grpc, struct pending *pending, const struct xu_error *err)
{
	if (err->code != 0) {
		xreg__grpc_fail(pending->call, err);
		free(pending);
	} else if (xrpc_grpc_is_cancelled(pending->call)) {
		xrpc_grpc_fail(pending->call, XRPC_GRPC_CANCELLED, "cancelled");
		free(pending);
	} else {
		xreg_store_submit(grpc->opts.store, &pending->change);
	}
}

static void answer_register(struct pending *pending)
{
	const struct xreg_target *target = pending->change.result;
	pb_register_target_response response = PB_INIT(REGISTER_TARGET_RESPONSE);
	bool is_new = target->origin.created_revision == target->origin.revision;

	response.target_id = xreg__pb_text(target->origin.id);
	response.status = xreg__pb_text(is_new ? "registered" : "updated");
	response.registered_at_ms = (int64_t)target->origin.registered_ms;
	response.revision = pending->change.revision;
	xrpc_grpc_answer(pending->call, &response.base);
}

void xreg__grpc_register_target(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_register_target_request *request = (const void *)message;
	struct pending *pending = new_pending(call, XREG_REGISTER, answer_register);
	struct xu_error err = {0};

	if (pending == NULL) {
		return;
	}
	xreg__pb_read_spec(request->target_info, request->details, &pending->parsed, &err);
	pending->change.status.state = XREG_AVAILABLE;
	pending->change.source = XREG_REGISTERED;
	pending->change.may_update = request->update_existing;
	submit(arg, pending, &err);
}

static void answer_update(struct pending *pending)
{
	pb_update_target_response response = PB_INIT(UPDATE_TARGET_RESPONSE);

	response.target = xreg__pb_target(pending->change.result, NULL);
	if (response.target == NULL) {
		xreg__grpc_fail_memory(pending->call);
		return;
	}
	xrpc_grpc_answer(pending->call, &response.base);
	free(response.target);
}

static int read_status(struct xreg_grpc *grpc, const pb_status_change *from,
	struct xreg_status *status, struct xu_error *err)
{
	*status = (struct xreg_status){.state = (uint32_t)from->status, .reason = from->reason};
	if (from->estimated_duration_minutes > MINUTES_MAX) {
		return xu_error_set(err, -EINVAL,
			"estimated_duration_minutes: %u is too long, at most %u are accepted",
			from->estimated_duration_minutes, MINUTES_MAX);
	}
	if (from->estimated_duration_minutes != 0) {
		status->until_ms = xreg__grpc_now_ms(grpc) +
				   from->estimated_duration_minutes * UINT64_C(60000);
	}
	return xreg_status_check(status, err);
}

void xreg__grpc_update_target(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_update_target_request *request = (const void *)message;
	struct pending *pending = new_pending(call, XREG_UPDATE, answer_update);
	struct xu_error err = {0};

	if (pending == NULL) {
		return;
	}
	pending->change.id = request->target_id;
	pending->change.if_revision = request->if_revision;
	switch (request->change_case) {
	case PB_VALUE(UPDATE_TARGET_REQUEST__CHANGE_SPECIFICATION):
		xreg__pb_read_spec(request->specification->target_info,
			request->specification->details, &pending->parsed, &err);
		break;
	case PB_VALUE(UPDATE_TARGET_REQUEST__CHANGE_STATUS):
		pending->change.op = XREG_SET_STATUS;
		read_status(arg, request->status, &pending->change.status, &err);
		break;
	default:
		xu_error_set(&err, -EINVAL,
			"nothing is to be changed: give a specification or a status");
	}
	submit(arg, pending, &err);
}

/* ---- unregistering ---- */

/* On a thread of the registry's, when the connections have gone or were given up. */
static void on_drained(void *arg, const struct xreg_drained *drained)
{
	struct xrpc_grpc_call *call = arg;
	pb_unregister_target_response response = PB_INIT(UNREGISTER_TARGET_RESPONSE);

	if (drained->rc != 0) {
		xreg__grpc_fail(call, drained->err);
		return;
	}
	response.status = xreg__pb_text("unregistered");
	response.drained_connections = drained->nr_drained;
	response.remaining_connections = drained->nr_left;
	response.unregistered_at_ms = (int64_t)drained->at_ms;
	xrpc_grpc_answer(call, &response.base);
}

void xreg__grpc_unregister_target(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_unregister_target_request *request = (const void *)message;
	struct xreg_grpc *grpc = arg;
	const struct xreg_drain_opts opts = {.id = request->target_id,
		.if_revision = request->if_revision,
		.force = request->force,
		.timeout_s = request->drain_timeout_seconds != 0 ? request->drain_timeout_seconds
								 : XREG_DRAIN_TIMEOUT_S};

	if (strlen(request->target_id) >= XREG_ID_SIZE) {
		xrpc_grpc_fail(call, XRPC_GRPC_NOT_FOUND, "there is no target '%.63s…'",
			request->target_id);
	} else if (opts.timeout_s > XREG_DRAIN_TIMEOUT_MAX_S) {
		xrpc_grpc_fail(call, XRPC_GRPC_INVALID_ARGUMENT,
			"drain_timeout_seconds: %u is too long, at most %u are accepted",
			opts.timeout_s, XREG_DRAIN_TIMEOUT_MAX_S);
	} else if (xreg_drain_start(grpc->opts.drains, &opts, on_drained, call) != 0) {
		xreg__grpc_fail_memory(call);
	}
}
