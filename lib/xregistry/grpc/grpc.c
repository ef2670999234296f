/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's service: its methods, who may call which, its start and end. What only reads is
 * answered at once from the current view; what changes something, when it is durable (change.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "lib/rpc/http.h"
#include "lib/rpc/private.h"
#include "lib/util/error.h"
#include "lib/xregistry/grpc/events.h"
#include "lib/xregistry/grpc/private.h"
#include "lib/xregistry/store.h"

#define NR_SUBSCRIBERS_MAX 1024

static uint64_t system_now_ms(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- for the methods ---- */

void xreg__grpc_fail(struct xrpc_grpc_call *call, const struct xu_error *err)
{
	xrpc_grpc_fail(call, xrpc_grpc_code_of(err->code), "%s", err->text);
}

void xreg__grpc_fail_memory(struct xrpc_grpc_call *call)
{
	xrpc_grpc_fail(call, XRPC_GRPC_RESOURCE_EXHAUSTED, "the registry has no memory for this");
}

const struct xreg_target *xreg__grpc_find(struct xreg_grpc *grpc, struct xrpc_grpc_call *call,
	const char *id, struct xreg_view **ret_view)
{
	struct xreg_view *view = xreg_store_view(grpc->opts.store);
	const struct xreg_target *target = xreg_view_get(view, id);

	if (target == NULL) {
		xreg_view_unref(view);
		xrpc_grpc_fail(call, XRPC_GRPC_NOT_FOUND, "there is no target '%.63s'", id);
		return NULL;
	}
	*ret_view = view;
	return target;
}

static void subscribe(struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	struct xreg_grpc *grpc = arg;

	xreg__events_subscribe(grpc->events, call, (const void *)message);
}

/* ---- the methods ---- */

#define SERVICE       "/xdevice.nvmeof.registry.NVMeOFTargetRegistry/"
#define REQUEST(name) &xdevice__nvmeof__registry__##name##_request__descriptor

/* Roles are those of REST. */
static const struct xrpc_grpc_method methods[] = {
	{SERVICE "RegisterTarget", REQUEST(register_target), XRPC_ROLE_REGISTER,
		.fn = xreg__grpc_register_target},
	{SERVICE "UpdateTarget", REQUEST(update_target), XRPC_ROLE_OPERATE,
		.fn = xreg__grpc_update_target},
	{SERVICE "UnregisterTarget", REQUEST(unregister_target), XRPC_ROLE_OPERATE,
		.fn = xreg__grpc_unregister_target},
	{SERVICE "GetTarget", REQUEST(get_target), XRPC_ROLE_READ, .fn = xreg__grpc_get_target},
	{SERVICE "ListTargets", REQUEST(list_targets), XRPC_ROLE_READ,
		.fn = xreg__grpc_list_targets},
	{SERVICE "SelectOptimalTargets", REQUEST(select_targets), XRPC_ROLE_READ,
		.fn = xreg__grpc_select_targets},
	{SERVICE "ReportHealth", REQUEST(health_report), XRPC_ROLE_REGISTER,
		.fn = xreg__grpc_report_health},
	{SERVICE "GetHealthStatus", REQUEST(health_status), XRPC_ROLE_READ,
		.fn = xreg__grpc_get_health},
	{SERVICE "SubscribeEvents", REQUEST(event_subscription), XRPC_ROLE_READ,
		.is_streaming = true, .fn = subscribe},
	{0},
};

static uint32_t role_of(void *arg, const char *token, size_t len)
{
	const struct xreg_grpc_opts *opts = &((const struct xreg_grpc *)arg)->opts;

	for (uint32_t i = 0; i < opts->nr_tokens; i++) {
		if (xrpc__token_is_same(opts->tokens[i].token, token, len)) {
			return opts->tokens[i].role;
		}
	}
	return XRPC_ROLE_NONE;
}

/* ---- life ---- */

int xreg_grpc_start(
	const struct xreg_grpc_opts *opts, struct xreg_grpc **ret_grpc, struct xu_error *err)
{
	struct xreg_grpc *grpc = calloc(1, sizeof(*grpc));
	int rc;

	if (grpc == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "starting the registry's gRPC");
	}
	grpc->opts = *opts;
	if (opts->now_ms == NULL) {
		grpc->opts.now_ms = system_now_ms;
	}
	xreg_health_config_default(&grpc->health);
	if (opts->health != NULL) {
		grpc->health = *opts->health;
	}
	grpc->opts.server.methods = methods;
	grpc->opts.server.arg = grpc;
	grpc->opts.server.role_of = opts->nr_tokens != 0 ? role_of : NULL;
	rc = xreg__events_start(opts->store,
		opts->nr_subscribers_max != 0 ? opts->nr_subscribers_max : NR_SUBSCRIBERS_MAX,
		&grpc->events, err);
	if (rc == 0) {
		rc = xrpc_grpc_start(&grpc->opts.server, &grpc->server, err);
	}
	if (rc != 0) {
		xreg_grpc_stop(grpc, 0);
		return rc;
	}
	*ret_grpc = grpc;
	return 0;
}

void xreg_grpc_quiesce(struct xreg_grpc *grpc)
{
	if (grpc->server != NULL) {
		xrpc_grpc_quiesce(grpc->server);
	}
	/* Subscriptions do not end by themselves. */
	if (grpc->events != NULL) {
		xreg__events_stop(grpc->events);
	}
}

void xreg_grpc_stop(struct xreg_grpc *grpc, uint32_t grace_ms)
{
	if (grpc == NULL) {
		return;
	}
	xreg_grpc_quiesce(grpc);
	xrpc_grpc_stop(grpc->server, grace_ms);
	if (grpc->events != NULL) {
		xreg__events_free(grpc->events);
	}
	free(grpc);
}

uint16_t xreg_grpc_port(const struct xreg_grpc *grpc)
{
	return xrpc_grpc_port(grpc->server);
}

void xreg_grpc_stats(struct xreg_grpc *grpc, struct xrpc_grpc_stats *ret_stats)
{
	xrpc_grpc_stats(grpc->server, ret_stats);
}
