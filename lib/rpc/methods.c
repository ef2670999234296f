/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every service can be asked: which methods it has, with their parameters from the tables that
 * check them, and its version in the form that SPDK's clients read.
 */
#include <stdio.h>

#include "lib/rpc/jsonrpc.h"

struct methods_opts {
	bool current;
	bool include_aliases;
	bool details;
};

static const struct xu_param methods_params[] = {
	{"current", XU_PARAM_BOOL, offsetof(struct methods_opts, current),
		.help = "accepted for SPDK's clients; all methods are callable at any time"},
	{"include_aliases", XU_PARAM_BOOL, offsetof(struct methods_opts, include_aliases),
		.help = "accepted for SPDK's clients; there are no aliases"},
	{"details", XU_PARAM_BOOL, offsetof(struct methods_opts, details),
		.help = "objects with the method's help and parameters in place of names"},
	{0},
};

struct listing {
	json_t *list;
	bool details;
};

static json_t *param_json(const struct xu_param *param)
{
	static const char *const types[] = {
		[XU_PARAM_STRING] = "string",
		[XU_PARAM_BOOL] = "boolean",
		[XU_PARAM_U32] = "number",
		[XU_PARAM_U64] = "number",
		[XU_PARAM_SIZE] = "size",
		[XU_PARAM_REAL] = "number",
		[XU_PARAM_ENUM] = "string",
		[XU_PARAM_UUID] = "uuid",
		[XU_PARAM_JSON] = "any",
		[XU_PARAM_OFF] = "any",
	};

	return json_pack("{s:s, s:s, s:b, s:s}", "name", param->name, "type", types[param->type],
		"required", param->is_required, "help", param->help);
}

static void list_method(void *arg, const struct xrpc_method *method)
{
	struct listing *listing = arg;
	json_t *params;

	if (!listing->details) {
		json_array_append_new(listing->list, json_string(method->name));
		return;
	}
	params = json_array();
	for (const struct xu_param *p = method->params; p != NULL && p->name != NULL; p++) {
		json_array_append_new(params, param_json(p));
	}
	json_array_append_new(listing->list, json_pack("{s:s, s:s, s:o}", "name", method->name,
						     "help", method->help, "params", params));
}

static void get_methods(struct xrpc_request *req, void *arg, const void *opts_ptr)
{
	const struct methods_opts *opts = opts_ptr;
	struct listing listing = {.list = json_array(), .details = opts->details};

	xrpc_service_each(arg, list_method, &listing);
	xrpc_result(req, listing.list);
}

static void get_version(struct xrpc_request *req, void *arg, const void *opts)
{
	int major = 0, minor = 0, patch = 0;

	sscanf(XSAN_VERSION, "%d.%d.%d", &major, &minor, &patch);
	xrpc_result(req,
		json_pack("{s:s, s:{s:i, s:i, s:i, s:s}}", "version", "XSAN " XSAN_VERSION,
			"fields", "major", major, "minor", minor, "patch", patch, "suffix", ""));
}

const struct xrpc_method xrpc_service_methods[] = {
	{"rpc_get_methods", "Lists the methods.", methods_params, sizeof(struct methods_opts),
		.fn = get_methods},
	{"spdk_get_version", "Tells the version, in the form of SPDK's answer.", .fn = get_version},
	{0},
};
