/* SPDX-License-Identifier: BSD-3-Clause */
/* Zones: who sees what in the discovery log. Changes are durable before their answer, and take the
 * time of that: they are rare, and made by people. */
#include <errno.h>
#include <string.h>

#include "lib/xregistry/rest/private.h"
#include "lib/xregistry/zone.h"

/* False: this registry has no zones, and the call has been answered. */
static bool has_zones(const struct xreg_rest *rest, struct xrpc_http_call *call)
{
	if (rest->opts.zones == NULL) {
		xrpc_http_problem(call, 501, NULL, "this registry has no zones");
	}
	return rest->opts.zones != NULL;
}

static void answer_zones(const struct xreg_rest *rest, struct xrpc_http_call *call)
{
	rest_add_etag(call, xreg_zones_revision(rest->opts.zones));
	xrpc_http_answer(call, 200, xreg_zones_json(rest->opts.zones));
}

/* How a change went. */
static void answer_change(const struct xreg_rest *rest, struct xrpc_http_call *call, int rc,
	const struct xu_error *err)
{
	if (rc == 0) {
		answer_zones(rest, call);
	} else {
		xrpc_http_problem(
			call, rc == -EBUSY ? 409 : rest_status_of(rc), NULL, "%s", err->text);
	}
}

void rest_zones_get(struct xrpc_http_call *call, void *arg)
{
	if (has_zones(arg, call)) {
		answer_zones(arg, call);
	}
}

void rest_zones_patch(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xu_error err;
	uint64_t revision;
	const char *policy;
	json_t *body;
	int rc;

	if (!has_zones(rest, call) || !rest_if_match(call, &revision)) {
		return;
	}
	body = xrpc_http_json(call);
	if (body == NULL) {
		return;
	}
	policy = json_string_value(json_object_get(body, "default_policy"));
	if (policy == NULL || json_object_size(body) != 1) {
		xrpc_http_problem(call, 422, "default_policy",
			"the body has default_policy (\"allow\" or \"deny\"), and nothing else");
	} else {
		rc = xreg_zones_set_policy(rest->opts.zones, policy, revision, &err);
		answer_change(rest, call, rc, &err);
	}
	json_decref(body);
}

void rest_zone_group_get(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	json_t *group;

	if (!has_zones(rest, call)) {
		return;
	}
	group = xreg_zones_group(rest->opts.zones, xrpc_http_segment(call, 0));
	if (group == NULL) {
		xrpc_http_problem(call, 404, NULL, "there is no zone group '%.63s'",
			xrpc_http_segment(call, 0));
		return;
	}
	rest_add_etag(call, xreg_zones_revision(rest->opts.zones));
	xrpc_http_answer(call, 200, group);
}

void rest_zone_group_put(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xu_error err;
	uint64_t revision;
	json_t *body;
	int rc;

	if (!has_zones(rest, call) || !rest_if_match(call, &revision)) {
		return;
	}
	body = xrpc_http_json(call);
	if (body != NULL) {
		rc = xreg_zones_put_group(
			rest->opts.zones, xrpc_http_segment(call, 0), body, revision, &err);
		answer_change(rest, call, rc, &err);
		json_decref(body);
	}
}

void rest_zone_group_delete(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xu_error err;
	uint64_t revision;

	if (has_zones(rest, call) && rest_if_match(call, &revision)) {
		answer_change(rest, call,
			xreg_zones_delete_group(
				rest->opts.zones, xrpc_http_segment(call, 0), revision, &err),
			&err);
	}
}

static void activate(struct xrpc_http_call *call, const struct xreg_rest *rest, bool is_active)
{
	struct xu_error err;
	uint64_t revision;

	if (has_zones(rest, call) && rest_if_match(call, &revision)) {
		answer_change(rest, call,
			xreg_zones_activate(rest->opts.zones, xrpc_http_segment(call, 0), is_active,
				revision, &err),
			&err);
	}
}

void rest_zone_group_activate(struct xrpc_http_call *call, void *arg)
{
	activate(call, arg, true);
}

void rest_zone_group_deactivate(struct xrpc_http_call *call, void *arg)
{
	activate(call, arg, false);
}
