/* SPDX-License-Identifier: BSD-3-Clause */
/* A request that edits what is wanted and is answered when that is done and saved. */
#ifndef XSAND_RPC_EDIT_H
#define XSAND_RPC_EDIT_H

#include <jansson.h>

#include "daemon/xsand/node.h"
#include "lib/rpc/jsonrpc.h"

struct rpc_edit {
	struct node *node;
	struct xrpc_request *req;
	const void *opts; /* the request's */
	json_t *result;   /* set by fn; NULL: true */
	int (*fn)(struct rpc_edit *edit, json_t *model, struct xu_error *err);
};

void rpc_edit_start(struct node *node, struct xrpc_request *req, const void *opts,
	int (*fn)(struct rpc_edit *edit, json_t *model, struct xu_error *err));

#endif
