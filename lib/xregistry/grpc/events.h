/* SPDX-License-Identifier: BSD-3-Clause */
/* Subscriptions to the registry's events, all of them on one thread. */
#ifndef LIB_XREGISTRY_GRPC_EVENTS_H
#define LIB_XREGISTRY_GRPC_EVENTS_H

#include <stdint.h>

#include "lib/rpc/grpc.h"
#include "lib/xregistry/grpc/convert.h"

struct xreg__events;
struct xreg_health_log;

/* `health_log` may be NULL: who asks for health is refused then. -ENOMEM, -EAGAIN. */
int xreg__events_start(struct xreg_store *store, struct xreg_health_log *health_log,
	uint32_t nr_max, struct xreg__events **ret_events, struct xu_error *err);

/* Takes the call; on a thread of the server. */
void xreg__events_subscribe(struct xreg__events *events, struct xrpc_grpc_call *call,
	const pb_event_subscription_request *request);

/* Ends all subscriptions, and those that still come; then, when the server has stopped, frees. */
void xreg__events_stop(struct xreg__events *events);
void xreg__events_free(struct xreg__events *events);

#endif
