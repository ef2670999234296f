/* SPDX-License-Identifier: BSD-3-Clause */
/* From a request to an edit and back to an answer. */
#include "daemon/xsand/rpc_edit.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/xsand/change.h"
#include "daemon/xsand/config_check.h"

static int on_edit(void *arg, json_t *model, struct xu_error *err)
{
	struct rpc_edit *edit = arg;

	return edit->fn(edit, model, err);
}

static void on_done(void *arg, const struct xu_error *err)
{
	struct rpc_edit *edit = arg;
	struct xrpc_request *req = edit->req;
	json_t *result = edit->result;

	free(edit);
	if (err->code != 0) {
		json_decref(result);
		xrpc_fail(req, err, NULL);
	} else if (result != NULL) {
		xrpc_result(req, result);
	} else {
		xrpc_true(req);
	}
}

void rpc_edit_start(struct node *node, struct xrpc_request *req, const void *opts,
	int (*fn)(struct rpc_edit *edit, json_t *model, struct xu_error *err))
{
	struct rpc_edit *edit = calloc(1, sizeof(*edit));

	if (edit == NULL) {
		xrpc_error(req, XRPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	*edit = (struct rpc_edit){.node = node, .req = req, .opts = opts, .fn = fn};
	change_edit(node, on_edit, on_done, edit);
}

int rpc_no_memory(struct xu_error *err)
{
	return xu_error_set_errno(err, -ENOMEM, "changing a subsystem");
}

bool rpc_refuse(struct xrpc_request *req, bool is_asked, const char *sentence)
{
	if (is_asked) {
		xrpc_error(req, XRPC_INVALID_PARAMS, "%s", sentence);
	}
	return is_asked;
}

int rpc_name_culprit(const struct check *c, int rc)
{
	return rc == -EINVAL ? xu_error_prefix(c->err, "%s", c->path + (c->path[0] == '.')) : rc;
}
