/* SPDX-License-Identifier: BSD-3-Clause */
/* A request that edits what is wanted and is answered when that is done and saved; and what the
 * methods share. */
#ifndef XSAND_RPC_EDIT_H
#define XSAND_RPC_EDIT_H

#include <jansson.h>

#include "daemon/xsand/node.h"
#include "lib/rpc/jsonrpc.h"

struct check;

struct rpc_edit {
	struct node *node;
	struct xrpc_request *req;
	const void *opts; /* the request's */
	json_t *result;   /* set by fn; NULL: true */
	int (*fn)(struct rpc_edit *edit, json_t *model, struct xu_error *err);
};

void rpc_edit_start(struct node *node, struct xrpc_request *req, const void *opts,
	int (*fn)(struct rpc_edit *edit, json_t *model, struct xu_error *err));

/* The parameter of SPDK's clients that names the target, in the struct of a method. */
#define RPC_PARAM_TGT(type)                                                                        \
	{                                                                                          \
		"tgt_name", XU_PARAM_STRING, offsetof(type, tgt_name),                             \
			.help = "accepted for SPDK's clients; there is one target"                 \
	}

int rpc_no_memory(struct xu_error *err);
/* Answers with an error when something was asked for that is not there; returns is_asked. */
bool rpc_refuse(struct xrpc_request *req, bool is_asked, const char *sentence);
/* Puts the culprit's name in front of what a check says; returns `rc`, the check's result. */
int rpc_name_culprit(const struct check *c, int rc);

#endif
