/* SPDX-License-Identifier: BSD-3-Clause */
/* Alerts: how the rules stand, who was told, silences, tests. */
#include <string.h>

#include "lib/xregistry/alert/alert.h"
#include "lib/xregistry/rest/private.h"

#define MINUTES_MAX (365u * 24u * 60u)

/* False: this registry has no alerts, and the call has been answered. */
static bool has_alerts(const struct xreg_rest *rest, struct xrpc_http_call *call)
{
	if (rest->opts.alerts == NULL) {
		xrpc_http_problem(call, 501, NULL, "this registry has no alerts");
	}
	return rest->opts.alerts != NULL;
}

static void answer(const struct xreg_rest *rest, struct xrpc_http_call *call, int rc,
	const struct xu_error *err)
{
	if (rc == 0) {
		xrpc_http_answer(call, 200, xreg_alerts_json(rest->opts.alerts));
	} else {
		xrpc_http_problem(call, rest_status_of(rc), NULL, "%s", err->text);
	}
}

void rest_alerts_get(struct xrpc_http_call *call, void *arg)
{
	if (has_alerts(arg, call)) {
		answer(arg, call, 0, NULL);
	}
}

void rest_alert_test(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xu_error err;

	if (has_alerts(rest, call)) {
		answer(rest, call,
			xreg_alerts_test(rest->opts.alerts, xrpc_http_segment(call, 0), &err),
			&err);
	}
}

struct silence_opts {
	uint32_t minutes;
	const char *comment;
};

static const struct xu_param silence_params[] = {
	{.name = "duration_minutes",
		.type = XU_PARAM_U32,
		.offset = offsetof(struct silence_opts, minutes),
		.min = 1,
		.max = MINUTES_MAX,
		.is_required = true,
		.help = "how long nobody is told"},
	{.name = "comment",
		.type = XU_PARAM_STRING,
		.offset = offsetof(struct silence_opts, comment),
		.help = "why"},
	{0},
};

void rest_alert_silence(struct xrpc_http_call *call, void *arg)
{
	struct silence_opts opts = {.comment = ""};
	const struct xreg_rest *rest = arg;
	char path[XU_PARAM_PATH_SIZE] = "";
	struct xu_error err;
	json_t *body;

	if (!has_alerts(rest, call)) {
		return;
	}
	body = xrpc_http_json(call);
	if (body == NULL) {
		return;
	}
	if (xu_params_parse(silence_params, &opts, body, path, &err) != 0) {
		xrpc_http_problem(call, 422, path[0] != '\0' ? path : NULL, "%s", err.text);
	} else {
		answer(rest, call,
			xreg_alerts_silence(rest->opts.alerts, xrpc_http_segment(call, 0),
				rest_unix_ms() + opts.minutes * 60000ull, opts.comment, &err),
			&err);
	}
	json_decref(body);
}

void rest_alert_unsilence(struct xrpc_http_call *call, void *arg)
{
	const struct xreg_rest *rest = arg;
	struct xu_error err;

	if (has_alerts(rest, call)) {
		answer(rest, call,
			xreg_alerts_silence(
				rest->opts.alerts, xrpc_http_segment(call, 0), 0, "", &err),
			&err);
	}
}
