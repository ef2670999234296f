/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the registry's records and the messages of registry.proto. */
#ifndef LIB_XREGISTRY_GRPC_CONVERT_H
#define LIB_XREGISTRY_GRPC_CONVERT_H

#include <stdbool.h>

#include "lib/xregistry/store.h"
#include "proto/registry.pb-c.h"

struct xreg_health_config;
struct xreg_health_event;
struct xreg_live_state;
struct xreg_metrics;
struct xu_error;

/* Shorter names for the types that protobuf-c makes of the package. */
typedef Xdevice__Nvmeof__Registry__TargetInfo pb_target_info;
typedef Xdevice__Nvmeof__Registry__TargetInfo__MetadataEntry pb_target_info_metadata_entry;
typedef Xdevice__Nvmeof__Registry__TargetDetails pb_target_details;
typedef Xdevice__Nvmeof__Registry__PerformanceCaps pb_performance_caps;
typedef Xdevice__Nvmeof__Registry__HealthMetrics pb_health_metrics;
typedef Xdevice__Nvmeof__Registry__Target pb_target;
typedef Xdevice__Nvmeof__Registry__TargetStatus pb_target_status;
typedef Xdevice__Nvmeof__Registry__TransportType pb_transport_type;
typedef Xdevice__Nvmeof__Registry__SecurityType pb_security_type;
typedef Xdevice__Nvmeof__Registry__TargetSource pb_target_source;
typedef Xdevice__Nvmeof__Registry__RegisterTargetRequest pb_register_target_request;
typedef Xdevice__Nvmeof__Registry__RegisterTargetResponse pb_register_target_response;
typedef Xdevice__Nvmeof__Registry__StatusChange pb_status_change;
typedef Xdevice__Nvmeof__Registry__UpdateTargetRequest pb_update_target_request;
typedef Xdevice__Nvmeof__Registry__UpdateTargetResponse pb_update_target_response;
typedef Xdevice__Nvmeof__Registry__UnregisterTargetRequest pb_unregister_target_request;
typedef Xdevice__Nvmeof__Registry__UnregisterTargetResponse pb_unregister_target_response;
typedef Xdevice__Nvmeof__Registry__GetTargetRequest pb_get_target_request;
typedef Xdevice__Nvmeof__Registry__GetTargetResponse pb_get_target_response;
typedef Xdevice__Nvmeof__Registry__ListTargetsRequest pb_list_targets_request;
typedef Xdevice__Nvmeof__Registry__ListTargetsResponse pb_list_targets_response;
typedef Xdevice__Nvmeof__Registry__SelectTargetsRequest pb_select_targets_request;
typedef Xdevice__Nvmeof__Registry__SelectTargetsResponse pb_select_targets_response;
typedef Xdevice__Nvmeof__Registry__SelectedTarget pb_selected_target;
typedef Xdevice__Nvmeof__Registry__RejectedTarget pb_rejected_target;
typedef Xdevice__Nvmeof__Registry__SelectionPolicy pb_selection_policy;
typedef Xdevice__Nvmeof__Registry__SelectionStatus pb_selection_status;
typedef Xdevice__Nvmeof__Registry__HealthReportRequest pb_health_report_request;
typedef Xdevice__Nvmeof__Registry__HealthReportResponse pb_health_report_response;
typedef Xdevice__Nvmeof__Registry__HealthStatusRequest pb_health_status_request;
typedef Xdevice__Nvmeof__Registry__HealthStatusResponse pb_health_status_response;
typedef Xdevice__Nvmeof__Registry__HealthAssessment pb_health_assessment;
typedef Xdevice__Nvmeof__Registry__TargetFailure pb_target_failure;
typedef Xdevice__Nvmeof__Registry__FailureType pb_failure_type;
typedef Xdevice__Nvmeof__Registry__Severity pb_severity;
typedef Xdevice__Nvmeof__Registry__EventSubscriptionRequest pb_event_subscription_request;
typedef Xdevice__Nvmeof__Registry__TargetEvent pb_target_event;
typedef Xdevice__Nvmeof__Registry__TargetEventType pb_target_event_type;
typedef Xdevice__Nvmeof__Registry__HealthEvent pb_health_event;
typedef Xdevice__Nvmeof__Registry__HealthEventType pb_health_event_type;
typedef Xdevice__Nvmeof__Registry__HealthPlace pb_health_place;
typedef Xdevice__Nvmeof__Registry__HealthSubscription pb_health_subscription;

/* The initial value of a message, and a value of an enumeration. */
#define PB_INIT(NAME)  XDEVICE__NVMEOF__REGISTRY__##NAME##__INIT
#define PB_VALUE(NAME) XDEVICE__NVMEOF__REGISTRY__##NAME

/* A text of ours in a message, which only reads it. */
static inline char *xreg__pb_text(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* ---- reading ---- */

/* Reads and checks what is said of a target; either may be NULL. `ret_parsed` borrows from both.
 * -EINVAL with a sentence. */
int xreg__pb_read_spec(const pb_target_info *info, const pb_target_details *details,
	struct xreg_parsed *ret_parsed, struct xu_error *err);

/* -EINVAL with a sentence. */
int xreg__pb_read_report(const pb_health_report_request *request, struct xreg_metrics *ret_metrics,
	struct xu_error *err);

/* ---- writing ---- */

/*
 * A target as a message, which borrows from the record: hold it for as long. With `health`, also
 * how it is doing now. free() it; NULL: no memory.
 */
pb_target *xreg__pb_target(
	const struct xreg_target *target, const struct xreg_health_config *health);

/* A report as a message; `score` is of the registry. */
void xreg__pb_metrics(
	const struct xreg_live_state *live, uint32_t score, pb_health_metrics *ret_metrics);

/* What the health monitor has told as a message, which borrows from it. */
void xreg__pb_health_event(const struct xreg_health_event *event, pb_health_event *ret_event);

/* ---- filters ---- */

/* What targets are to be; "" and 0 ask for nothing. Borrows from the request. */
struct xreg__pb_filter {
	const char *node_id, *nqn, *address, *location, *tag;
	size_t nr_states, nr_transports;
	const pb_target_status *states;
	const pb_transport_type *transports;
};

bool xreg__pb_matches(const struct xreg__pb_filter *filter, const struct xreg_target *target);

#endif
