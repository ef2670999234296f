/* SPDX-License-Identifier: BSD-3-Clause */
/* In the place of the etcd backend where there is no gRPC: says so. */
#include <errno.h>

#include "lib/util/error.h"
#include "lib/xregistry/etcd/etcd.h"

static int none_open(
	const char *where, struct xu_logger *log, void **ret_backend, struct xu_error *err)
{
	return xu_error_set(err, -ENOTSUP,
		"this program was built without gRPC, which etcd is reached through");
}

const struct xreg_backend_ops xreg_etcd = {.name = "etcd", .open = none_open};

bool xreg_etcd_is_there(void)
{
	return false;
}
