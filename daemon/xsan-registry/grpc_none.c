/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without gRPC: who asks for it by name is told so. */
#include <errno.h>
#include <stddef.h>

#include "daemon/xsan-registry/config.h"
#include "daemon/xsan-registry/grpc.h"
#include "lib/util/error.h"

int grpc_part_start(
	const struct grpc_part_opts *opts, struct grpc_part **ret_part, struct xu_error *err)
{
	*ret_part = NULL;
	if (!opts->config->is_grpc_asked) {
		return 0;
	}
	return xu_error_set(err, -ENOSYS,
		"service.grpc_port: this xsan-registry was built without gRPC; leave it out, or "
		"build "
		"with libgrpc and protobuf-c");
}

int grpc_part_set_pem(struct grpc_part *part, const struct xrpc_pem *pem, struct xu_error *err)
{
	return 0;
}

void grpc_part_quiesce(struct grpc_part *part)
{
}

void grpc_part_stop(struct grpc_part *part)
{
}

uint16_t grpc_part_port(const struct grpc_part *part)
{
	return 0;
}
