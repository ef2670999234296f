/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry's gRPC server as the configuration says; grpc_none.c in builds without gRPC. */
#ifndef XSAN_REGISTRY_GRPC_H
#define XSAN_REGISTRY_GRPC_H

#include <stdint.h>

struct config;
struct grpc_part;
struct xreg_balancer;
struct xreg_drains;
struct xreg_store;
struct xu_error;
struct xu_logger;

struct grpc_part_opts {
	const struct config *config;
	struct xreg_store *store;
	struct xreg_drains *drains;
	struct xreg_balancer *balancer;
	struct xu_logger *log;
};

/* *ret_part is NULL where there is no gRPC and the configuration does not ask for it. */
int grpc_part_start(
	const struct grpc_part_opts *opts, struct grpc_part **ret_part, struct xu_error *err);
/* See lib/xregistry/grpc/grpc.h for what comes between these. NULL is fine. */
void grpc_part_quiesce(struct grpc_part *part);
void grpc_part_stop(struct grpc_part *part);
uint16_t grpc_part_port(const struct grpc_part *part);

#endif
