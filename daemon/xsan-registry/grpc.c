/* SPDX-License-Identifier: BSD-3-Clause */
/* The gRPC server listens at REST's address with REST's certificate and tokens. */
#include "daemon/xsan-registry/grpc.h"

#include "daemon/xsan-registry/config.h"
#include "lib/xregistry/grpc/grpc.h"
#include "lib/xregistry/monitor.h"

#define GRACE_MS 2000u

static void judge(void *arg, struct xreg_health_config *ret_config)
{
	xreg_monitor_config(arg, ret_config);
}

int grpc_part_start(
	const struct grpc_part_opts *opts, struct grpc_part **ret_part, struct xu_error *err)
{
	const struct config *config = opts->config;
	const struct xreg_grpc_opts grpc = {.store = opts->store,
		.drains = opts->drains,
		.balancer = opts->balancer,
		.health = judge,
		.health_arg = opts->monitor,
		.health_log = opts->health_log,
		.access = opts->access,
		.audit_log = opts->audit_log,
		.server = {.address = config->http.address,
			.port = config->grpc_port,
			.cert_path = config->cert_path,
			.key_path = config->key_path,
			.client_ca_path = config->client_ca_path,
			.is_open = config->http.is_open,
			.log = opts->log}};
	struct xreg_grpc *started = NULL;
	int rc = config->has_grpc ? xreg_grpc_start(&grpc, &started, err) : 0;

	*ret_part = (struct grpc_part *)started;
	return rc;
}

int grpc_part_set_pem(struct grpc_part *part, const struct xrpc_pem *pem, struct xu_error *err)
{
	return part != NULL ? xreg_grpc_set_pem((struct xreg_grpc *)part, pem, err) : 0;
}

void grpc_part_quiesce(struct grpc_part *part)
{
	if (part != NULL) {
		xreg_grpc_quiesce((struct xreg_grpc *)part);
	}
}

void grpc_part_stop(struct grpc_part *part)
{
	xreg_grpc_stop((struct xreg_grpc *)part, GRACE_MS);
}

uint16_t grpc_part_port(const struct grpc_part *part)
{
	return part != NULL ? xreg_grpc_port((const struct xreg_grpc *)part) : 0;
}
