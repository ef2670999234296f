/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry over gRPC (spec/registry.md 4.2): the service of proto/xdevice/nvmeof/registry.proto
 * on a store. Built where there is gRPC (meson -Dgrpc).
 */
#ifndef LIB_XREGISTRY_GRPC_H
#define LIB_XREGISTRY_GRPC_H

#include <stdint.h>

#include "lib/rpc/grpc.h"

struct xreg_balancer;
struct xreg_drains;
struct xreg_grpc;
struct xreg_health_config;
struct xreg_health_log;
struct xreg_store;
struct xrpc_access;
struct xu_logger;

struct xreg_grpc_opts {
	struct xreg_store *store; /* borrowed until xreg_grpc_stop(), as the next two */
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	/* How targets are judged now; NULL: by the defaults. */
	void (*health)(void *arg, struct xreg_health_config *ret_config);
	void *health_arg;
	struct xreg_health_log *health_log; /* for subscriptions; borrowed. NULL: nothing is told */
	struct xrpc_access *access;  /* who may do what, as REST's; borrowed. NULL: everybody all */
	struct xu_logger *audit_log; /* who has changed what; NULL: silent */
	/* Where it listens, TLS, limits, log; methods and tokens are filled in. */
	struct xrpc_grpc_opts server;
	uint32_t nr_subscribers_max;   /* 0: 1024; one more is answered with RESOURCE_EXHAUSTED */
	uint64_t (*now_ms)(void *arg); /* Unix time; NULL: the system's */
	void *now_arg;
};

/* As xrpc_grpc_start(). */
int xreg_grpc_start(
	const struct xreg_grpc_opts *opts, struct xreg_grpc **ret_grpc, struct xu_error *err);

/* Takes no more calls and ends subscriptions. Then let waiting end (xreg_waits_end()) and draining
 * (xreg_drains_free()), which answers the calls that are left, and */
void xreg_grpc_quiesce(struct xreg_grpc *grpc);
/*
 * end what is still there after the grace and free; returns within a few seconds more. A change
 * that the store has not answered by then is still the store's: close it only afterwards. NULL is
 * fine.
 */
void xreg_grpc_stop(struct xreg_grpc *grpc, uint32_t grace_ms);

/* As xrpc_grpc_set_pem(). */
int xreg_grpc_set_pem(struct xreg_grpc *grpc, const struct xrpc_pem *pem, struct xu_error *err);

uint16_t xreg_grpc_port(const struct xreg_grpc *grpc);
void xreg_grpc_stats(struct xreg_grpc *grpc, struct xrpc_grpc_stats *ret_stats);

#endif
