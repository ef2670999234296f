/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How targets are doing: what their nodes report, and what is made of it.
 */
#include "lib/util/error.h"
#include "lib/xregistry/grpc/private.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/store.h"

/* An answer and what it is made of. */
struct whole {
	pb_health_status_response response;
	pb_health_metrics metrics;
	pb_health_assessment assessment;
	pb_target_failure failures[XREG_NR_FAILURES], *failure_list[XREG_NR_FAILURES];
};

void xreg__grpc_report_health(
	struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_health_report_request *request = (const void *)message;
	struct xreg_grpc *grpc = arg;
	pb_health_report_response response = PB_INIT(HEALTH_REPORT_RESPONSE);
	const struct xreg_target *target;
	struct xreg_live_state live;
	struct xreg_health_config config;
	struct xreg_health health;
	struct xreg_metrics metrics;
	struct xreg_view *view;
	struct xu_error err = {0};

	if (xreg__pb_read_report(request, &metrics, &err) != 0) {
		xreg__grpc_fail(call, &err);
		return;
	}
	target = xreg__grpc_find(grpc, call, request->target_id, &view);
	if (target == NULL) {
		return;
	}
	xreg_live_report(target, &metrics, xreg__grpc_now_ms(grpc));
	xreg_store_hear(grpc->opts.store, target->spec.node_id, xreg__grpc_now_ms(grpc));
	xreg_live_get(target, &live);
	xreg__grpc_health_config(grpc, &config);
	xreg_health_score(target, &live, &config, &health);
	response.health_score = health.score;
	response.status = (pb_target_status)target->status.state;
	xrpc_grpc_answer(call, &response.base);
	xreg_view_unref(view);
}

/* The failures that it has or has had. */
static void write_failures(const struct xreg_live_state *live, struct whole *whole)
{
	for (uint32_t type = 0; type < XREG_NR_FAILURES; type++) {
		const struct xreg_failure *failure = &live->failures[type];
		pb_target_failure message = PB_INIT(TARGET_FAILURE);
		size_t at = whole->response.n_failures;

		if (failure->detected_ms == 0) {
			continue;
		}
		message.type = (pb_failure_type)type;
		message.severity = (pb_severity)failure->severity;
		message.description = xreg__pb_text(failure->description);
		message.detected_at_ms = (int64_t)failure->detected_ms;
		message.last_seen_ms = (int64_t)failure->last_ms;
		message.occurrence_count = failure->occurrence_count;
		message.active = failure->is_active;
		message.auto_recovery_attempted = failure->auto_recovery_attempted;
		whole->failures[at] = message;
		whole->failure_list[at] = &whole->failures[at];
		whole->response.n_failures++;
	}
	whole->response.failures = whole->failure_list;
}

static void write_assessment(const struct xreg_health *health, pb_health_assessment *assessment)
{
	assessment->health_score = health->score;
	assessment->availability = health->availability;
	assessment->performance = health->performance;
	assessment->reliability = health->reliability;
	assessment->resource_usage = health->resource_usage;
	assessment->latency_score = health->latency_score;
	assessment->iops_score = health->iops_score;
	assessment->bandwidth_score = health->bandwidth_score;
}

static void write_live(const struct xreg_live_state *live, pb_health_status_response *response)
{
	response->last_seen_ms = (int64_t)live->last_seen_ms;
	response->check_count = live->nr_checks;
	response->failed_check_count = live->nr_failed_checks;
	response->check_problem = xreg__pb_text(live->probe.problem);
	response->held_down_until_ms = (int64_t)live->held_down_until_ms;
	response->cpu_usage = live->metrics.cpu_usage;
	response->memory_usage = live->metrics.memory_usage;
	response->io_count = live->metrics.io_count;
	response->error_count = live->metrics.error_count;
	response->uptime_seconds = live->metrics.uptime_s;
	response->advised_queue_depth = live->advice.queue_depth;
	response->advised_io_bytes = live->advice.max_io_bytes;
}

void xreg__grpc_get_health(struct xrpc_grpc_call *call, const ProtobufCMessage *message, void *arg)
{
	const pb_health_status_request *request = (const void *)message;
	struct xreg_grpc *grpc = arg;
	struct whole whole = {.response = PB_INIT(HEALTH_STATUS_RESPONSE),
		.metrics = PB_INIT(HEALTH_METRICS),
		.assessment = PB_INIT(HEALTH_ASSESSMENT)};
	struct xreg_live_state live;
	struct xreg_health_config config;
	struct xreg_health health;
	struct xreg_view *view;
	const struct xreg_target *target = xreg__grpc_find(grpc, call, request->target_id, &view);

	if (target == NULL) {
		return;
	}
	xreg_live_get(target, &live);
	xreg__grpc_health_config(grpc, &config);
	xreg_health_score(target, &live, &config, &health);
	whole.response.target_id = request->target_id;
	whole.response.status = (pb_target_status)target->status.state;
	whole.response.status_reason = xreg__pb_text(target->status.reason);
	if (live.has_metrics) {
		xreg__pb_metrics(&live, health.score, &whole.metrics);
		whole.response.metrics = &whole.metrics;
	}
	write_assessment(&health, &whole.assessment);
	whole.response.assessment = &whole.assessment;
	write_live(&live, &whole.response);
	write_failures(&live, &whole);
	xrpc_grpc_answer(call, &whole.response.base);
	xreg_view_unref(view);
}
