/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the registry's gRPC: between its life and its methods. */
#ifndef LIB_XREGISTRY_GRPC_PRIVATE_H
#define LIB_XREGISTRY_GRPC_PRIVATE_H

#include "lib/xregistry/grpc/convert.h"
#include "lib/xregistry/grpc/grpc.h"
#include "lib/xregistry/health.h"

struct xreg__events;

struct xreg_grpc {
	struct xreg_grpc_opts opts;
	struct xreg__events *events;
	struct xrpc_grpc *server;
};

static inline uint64_t xreg__grpc_now_ms(const struct xreg_grpc *grpc)
{
	return grpc->opts.now_ms(grpc->opts.now_arg);
}

/* ---- grpc.c ---- */

/* How targets are judged now. */
void xreg__grpc_health_config(const struct xreg_grpc *grpc, struct xreg_health_config *ret_config);

/* Ends a call with an error: what xu_error says; that there is no memory. */
void xreg__grpc_fail(struct xrpc_grpc_call *call, const struct xu_error *err);
void xreg__grpc_fail_memory(struct xrpc_grpc_call *call);

/* A target of the current view, which is to be given back. NULL: there is none, and the call has
 * failed. */
const struct xreg_target *xreg__grpc_find(struct xreg_grpc *grpc, struct xrpc_grpc_call *call,
	const char *id, struct xreg_view **ret_view);

/* ---- methods; `arg` is the struct xreg_grpc ---- */

typedef void xreg__grpc_method(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg);

xreg__grpc_method xreg__grpc_register_target, xreg__grpc_update_target,
	xreg__grpc_unregister_target; /* change.c */
xreg__grpc_method xreg__grpc_get_target, xreg__grpc_list_targets,
	xreg__grpc_select_targets;                                 /* query.c, select.c */
xreg__grpc_method xreg__grpc_report_health, xreg__grpc_get_health; /* health.c */

#endif
