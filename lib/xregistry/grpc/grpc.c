/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's service: its methods, who may call which, its start and end. What only reads is
 * answered at once from the current view; what changes something, when it is durable (change.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/reactor/address.h"
#include "lib/rpc/access.h"
#include "lib/util/error.h"
#include "lib/util/log.h"
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

void xreg__grpc_health_config(const struct xreg_grpc *grpc, struct xreg_health_config *ret_config)
{
	if (grpc->opts.health != NULL) {
		grpc->opts.health(grpc->opts.health_arg, ret_config);
	} else {
		xreg_health_config_default(ret_config);
	}
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
	{SERVICE "RegisterTarget", REQUEST(register_target), XRPC_ROLE_REGISTER, .is_audited = true,
		.fn = xreg__grpc_register_target},
	{SERVICE "UpdateTarget", REQUEST(update_target), XRPC_ROLE_OPERATE, .is_audited = true,
		.fn = xreg__grpc_update_target},
	{SERVICE "UnregisterTarget", REQUEST(unregister_target), XRPC_ROLE_OPERATE,
		.is_audited = true, .fn = xreg__grpc_unregister_target},
	{SERVICE "GetTarget", REQUEST(get_target), XRPC_ROLE_READ, .fn = xreg__grpc_get_target},
	{SERVICE "ListTargets", REQUEST(list_targets), XRPC_ROLE_READ,
		.fn = xreg__grpc_list_targets},
	{SERVICE "SelectOptimalTargets", REQUEST(select_targets), XRPC_ROLE_READ,
		.fn = xreg__grpc_select_targets},
	{SERVICE "ReportHealth", REQUEST(health_report), XRPC_ROLE_REGISTER, .is_audited = true,
		.fn = xreg__grpc_report_health},
	{SERVICE "GetHealthStatus", REQUEST(health_status), XRPC_ROLE_READ,
		.fn = xreg__grpc_get_health},
	{SERVICE "SubscribeEvents", REQUEST(event_subscription), XRPC_ROLE_READ,
		.is_streaming = true, .fn = subscribe},
	{0},
};

/* The token counts when it is right, the certificate when there is none that is; as at REST. */
static int role_of(void *arg, const struct xrpc_grpc_peer *peer, char ret_who[XRPC_GRPC_WHO_SIZE])
{
	struct xrpc_access *access = ((const struct xreg_grpc *)arg)->opts.access;
	struct xrpc_caller caller = {.role = XRPC_ROLE_NONE};
	int rc = -EACCES;

	if (!xrpc_access_may_call(access, peer->from)) {
		return -EBUSY;
	}
	if (xrpc_access_is_open(access)) {
		snprintf(ret_who, XRPC_GRPC_WHO_SIZE, "anybody");
		return XRPC_ROLE_ADMIN;
	}
	if (peer->token_len != 0) {
		rc = xrpc_access_by_token(
			access, peer->from, peer->token, peer->token_len, &caller);
	}
	if (rc == -EACCES && peer->certificate != NULL) {
		rc = xrpc_access_by_certificate(
			access, peer->certificate, peer->certificate_len, true, &caller);
	}
	snprintf(ret_who, XRPC_GRPC_WHO_SIZE, "%s", caller.name);
	return rc == -EBUSY ? rc : (int)caller.role;
}

static void audit(void *arg, const struct xrpc_grpc_audit *what)
{
	const struct xreg_grpc *grpc = arg;

	xu_info(grpc->opts.audit_log, "gRPC %s by %s from %s: code %d",
		what->method + sizeof(SERVICE) - 1, what->who, what->from, (int)what->code);
}

/* As REST judges where a server may listen. */
static int check_exposure(const struct xreg_grpc_opts *opts, struct xu_error *err)
{
	struct sockaddr_storage addr;
	int rc;

	if (opts->server.is_open || opts->access == NULL ||
		xr_address_parse(opts->server.address, 0, &addr) < 0) {
		return 0; /* or the server judges it */
	}
	rc = xrpc_access_check_exposure(opts->server.address, opts->server.cert_path != NULL,
		!xrpc_access_is_open(opts->access), err);
	return rc == 0 ? 0 : xu_error_prefix(err, "gRPC");
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
	grpc->opts.server.methods = methods;
	grpc->opts.server.arg = grpc;
	grpc->opts.server.role_of = opts->access != NULL ? role_of : NULL;
	grpc->opts.server.audit = opts->audit_log != NULL ? audit : NULL;
	rc = check_exposure(opts, err);
	if (rc == 0) {
		rc = xreg__events_start(opts->store, opts->health_log,
			opts->nr_subscribers_max != 0 ? opts->nr_subscribers_max
						      : NR_SUBSCRIBERS_MAX,
			&grpc->events, err);
	}
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

int xreg_grpc_set_pem(struct xreg_grpc *grpc, const struct xrpc_pem *pem, struct xu_error *err)
{
	return xrpc_grpc_set_pem(grpc->server, pem, err);
}

uint16_t xreg_grpc_port(const struct xreg_grpc *grpc)
{
	return xrpc_grpc_port(grpc->server);
}

void xreg_grpc_stats(struct xreg_grpc *grpc, struct xrpc_grpc_stats *ret_stats)
{
	xrpc_grpc_stats(grpc->server, ret_stats);
}
