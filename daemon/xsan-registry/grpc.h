/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's gRPC server as the configuration says; grpc_none.c in builds without gRPC. */
#ifndef XSAN_REGISTRY_GRPC_H
#define XSAN_REGISTRY_GRPC_H

#include <stdint.h>

struct config;
struct grpc_part;
struct xreg_balancer;
struct xreg_drains;
struct xreg_health_log;
struct xreg_monitor;
struct xreg_store;
struct xrpc_access;
struct xrpc_pem;
struct xu_error;
struct xu_logger;

struct grpc_part_opts {
	const struct config *config;
	struct xreg_store *store;
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	struct xreg_monitor *monitor; /* which knows how targets are judged */
	struct xreg_health_log *health_log;
	struct xrpc_access *access;
	struct xu_logger *log, *audit_log;
};

/* *ret_part is NULL where there is no gRPC and the configuration does not ask for it. */
int grpc_part_start(
	const struct grpc_part_opts *opts, struct grpc_part **ret_part, struct xu_error *err);
/* Another certificate, from the next connection on; 0 also where there is no gRPC. -EINVAL. */
int grpc_part_set_pem(struct grpc_part *part, const struct xrpc_pem *pem, struct xu_error *err);
/* See lib/xregistry/grpc/grpc.h for what comes between these. NULL is fine. */
void grpc_part_quiesce(struct grpc_part *part);
void grpc_part_stop(struct grpc_part *part);
uint16_t grpc_part_port(const struct grpc_part *part);

#endif
