/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversion. Numbers of enumerations are the same on both sides, which is asserted here; what a
 * stranger sends beyond them is refused by the checks that JSON has too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/grpc/convert.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/live.h"
#include "lib/xregistry/monitor.h"

#define SAME(ours, theirs)                                                                         \
	_Static_assert((int)(ours) == (int)XDEVICE__NVMEOF__REGISTRY__##theirs, #theirs)

SAME(XREG_UNKNOWN, TARGET_STATUS__UNKNOWN);
SAME(XREG_AVAILABLE, TARGET_STATUS__AVAILABLE);
SAME(XREG_BUSY, TARGET_STATUS__BUSY);
SAME(XREG_MAINTENANCE, TARGET_STATUS__MAINTENANCE);
SAME(XREG_FAILED, TARGET_STATUS__FAILED);
SAME(XREG_OFFLINE, TARGET_STATUS__OFFLINE);
SAME(XREG_DEGRADED, TARGET_STATUS__DEGRADED);
SAME(XREG_TCP, TRANSPORT_TYPE__TCP);
SAME(XREG_RDMA, TRANSPORT_TYPE__RDMA);
SAME(XREG_FC, TRANSPORT_TYPE__FC);
SAME(XREG_SECURITY_NONE, SECURITY_TYPE__NONE);
SAME(XREG_SECURITY_TLS, SECURITY_TYPE__TLS);
SAME(XREG_SECURITY_IPSEC, SECURITY_TYPE__IPSEC);
SAME(XREG_REGISTERED, TARGET_SOURCE__SOURCE_REGISTERED);
SAME(XREG_STATIC, TARGET_SOURCE__SOURCE_STATIC);
SAME(XREG_MDNS, TARGET_SOURCE__SOURCE_MDNS);
SAME(XREG_MULTICAST, TARGET_SOURCE__SOURCE_MULTICAST);
SAME(XREG_DHCP, TARGET_SOURCE__SOURCE_DHCP);
SAME(XREG_DIM, TARGET_SOURCE__SOURCE_DIM);
SAME(XREG_PULLED, TARGET_SOURCE__SOURCE_PULLED);
SAME(XREG_FAILURE_NETWORK_TIMEOUT, FAILURE_TYPE__FAILURE_NETWORK_TIMEOUT);
SAME(XREG_FAILURE_UNKNOWN, FAILURE_TYPE__FAILURE_UNKNOWN);
SAME(XREG_SEVERITY_CRITICAL, SEVERITY__SEVERITY_CRITICAL);
SAME(XREG_HEALTH_FAILURE, HEALTH_EVENT_TYPE__HEALTH_FAILURE);
SAME(XREG_HEALTH_CLEARED, HEALTH_EVENT_TYPE__HEALTH_CLEARED);
SAME(XREG_HEALTH_STEP, HEALTH_EVENT_TYPE__HEALTH_RECOVERY_STEP);
SAME(XREG_HEALTH_STATE, HEALTH_EVENT_TYPE__HEALTH_STATE_CHANGED);
SAME(XREG_HEALTH_FLAPPING, HEALTH_EVENT_TYPE__HEALTH_FLAPPING);
SAME(XREG_HEALTH_SCORE, HEALTH_EVENT_TYPE__HEALTH_CHANGED);
SAME(XREG_HEALTH_CONNECTIONS, HEALTH_EVENT_TYPE__HEALTH_CONNECTION_CHANGED);
SAME(XREG_HEALTH_BLIND, HEALTH_EVENT_TYPE__HEALTH_BLIND);
SAME(XREG_HEALTH_SIGHTED, HEALTH_EVENT_TYPE__HEALTH_SIGHTED);

/* ---- reading ---- */

static int read_info(const pb_target_info *info, struct xreg_parsed *parsed, struct xu_error *err)
{
	struct xreg_spec *spec = &parsed->spec;

	if (info->target_id[0] != '\0') {
		return xu_error_set(err, -EINVAL,
			"target_info.target_id: the registry gives ids; leave it empty");
	}
	if (info->n_metadata > XREG_METADATA_MAX) {
		return xu_error_set(
			err, -EINVAL, "metadata: at most %u texts are accepted", XREG_METADATA_MAX);
	}
	spec->node_id = info->node_id;
	spec->nqn = info->nqn;
	spec->transport = (uint32_t)info->transport;
	spec->address = info->address;
	spec->port = info->port;
	spec->capacity_bytes = info->namespace_capacity;
	spec->security = (uint32_t)info->security_type;
	if (info->performance_caps != NULL) {
		spec->max_iops = info->performance_caps->max_iops;
		spec->max_bandwidth_mbps = info->performance_caps->max_bandwidth_mbps;
		spec->avg_latency_us = info->performance_caps->avg_latency_us;
		spec->queue_depth = info->performance_caps->max_queue_depth;
	}
	for (size_t i = 0; i < info->n_metadata; i++) {
		parsed->metadata[i] =
			(struct xreg_pair){info->metadata[i]->key, info->metadata[i]->value};
	}
	spec->nr_metadata = (uint32_t)info->n_metadata;
	return 0;
}

static int read_details(
	const pb_target_details *details, struct xreg_parsed *parsed, struct xu_error *err)
{
	struct xreg_spec *spec = &parsed->spec;

	if (details->n_tags > XREG_TAGS_MAX) {
		return xu_error_set(
			err, -EINVAL, "tags: at most %u texts are accepted", XREG_TAGS_MAX);
	}
	spec->interface = details->interface;
	spec->device_path = details->device_path;
	spec->block_size = details->block_size;
	spec->namespace_id = details->namespace_id;
	spec->is_read_only = details->readonly;
	spec->max_connections = details->max_connections;
	spec->ttl_s = details->ttl_seconds;
	if (details->has_auto_discovery_case != 0) {
		spec->has_auto_discovery = details->auto_discovery;
	}
	if (details->discovery_interval_seconds != 0) {
		spec->discovery_interval_s = details->discovery_interval_seconds;
	}
	if (details->has_weight_case != 0) {
		spec->weight = details->weight;
	}
	for (size_t i = 0; i < details->n_tags; i++) {
		parsed->tags[i] = details->tags[i];
	}
	spec->nr_tags = (uint32_t)details->n_tags;
	return 0;
}

int xreg__pb_read_spec(const pb_target_info *info, const pb_target_details *details,
	struct xreg_parsed *ret_parsed, struct xu_error *err)
{
	char path[XU_PARAM_PATH_SIZE];
	int rc;

	xreg_parsed_init(ret_parsed);
	if (info == NULL) {
		return xu_error_set(err, -EINVAL, "target_info is missing");
	}
	rc = read_info(info, ret_parsed, err);
	if (rc == 0 && details != NULL) {
		rc = read_details(details, ret_parsed, err);
	}
	return rc == 0 ? xreg_parsed_check(ret_parsed, path, err) : rc;
}

int xreg__pb_read_report(const pb_health_report_request *request, struct xreg_metrics *ret_metrics,
	struct xu_error *err)
{
	const pb_health_metrics *metrics = request->metrics;

	if (metrics == NULL) {
		return xu_error_set(err, -EINVAL, "metrics is missing");
	}
	*ret_metrics = (struct xreg_metrics){.current_iops = metrics->current_iops,
		.current_bandwidth_mbps = metrics->current_bandwidth_mbps,
		.current_latency_us = metrics->current_latency_us,
		.load_percentage = metrics->load_percentage,
		.error_rate = metrics->error_rate,
		.cpu_usage = request->cpu_usage,
		.memory_usage = request->memory_usage,
		.active_connections = metrics->active_connections,
		.io_count = request->io_count,
		.error_count = request->error_count,
		.uptime_s = request->uptime_seconds};
	return xreg_metrics_check(ret_metrics, err);
}

/* ---- writing ---- */

/* A target and all that it is made of: one block. */
struct whole {
	pb_target target; /* first: it is what is freed */
	pb_target_info info;
	pb_target_details details;
	pb_performance_caps caps;
	pb_health_metrics health;
	pb_target_info_metadata_entry *pairs[XREG_METADATA_MAX];
	char *tags[XREG_TAGS_MAX];
	pb_target_info_metadata_entry metadata[];
};

static void write_info(struct whole *whole, const struct xreg_target *target)
{
	const struct xreg_spec *spec = &target->spec;
	pb_target_info *info = &whole->info;

	info->target_id = xreg__pb_text(target->origin.id);
	info->node_id = xreg__pb_text(spec->node_id);
	info->nqn = xreg__pb_text(spec->nqn);
	info->transport = (pb_transport_type)spec->transport;
	info->address = xreg__pb_text(spec->address);
	info->port = spec->port;
	info->namespace_capacity = spec->capacity_bytes;
	info->security_type = (pb_security_type)spec->security;
	whole->caps.max_iops = spec->max_iops;
	whole->caps.max_bandwidth_mbps = spec->max_bandwidth_mbps;
	whole->caps.avg_latency_us = spec->avg_latency_us;
	whole->caps.max_queue_depth = spec->queue_depth;
	info->performance_caps = &whole->caps;
	for (uint32_t i = 0; i < spec->nr_metadata; i++) {
		pb_target_info_metadata_entry entry = PB_INIT(TARGET_INFO__METADATA_ENTRY);

		entry.key = xreg__pb_text(spec->metadata[i].key);
		entry.value = xreg__pb_text(spec->metadata[i].value);
		whole->metadata[i] = entry;
		whole->pairs[i] = &whole->metadata[i];
	}
	info->n_metadata = spec->nr_metadata;
	info->metadata = whole->pairs;
}

static void write_details(struct whole *whole, const struct xreg_spec *spec)
{
	pb_target_details *details = &whole->details;

	details->interface = xreg__pb_text(spec->interface);
	details->device_path = xreg__pb_text(spec->device_path);
	details->block_size = spec->block_size;
	details->namespace_id = spec->namespace_id;
	details->readonly = spec->is_read_only;
	details->max_connections = spec->max_connections;
	details->has_auto_discovery_case =
		XDEVICE__NVMEOF__REGISTRY__TARGET_DETAILS__HAS_AUTO_DISCOVERY_AUTO_DISCOVERY;
	details->auto_discovery = spec->has_auto_discovery;
	details->discovery_interval_seconds = spec->discovery_interval_s;
	details->has_weight_case = XDEVICE__NVMEOF__REGISTRY__TARGET_DETAILS__HAS_WEIGHT_WEIGHT;
	details->weight = spec->weight;
	for (uint32_t i = 0; i < spec->nr_tags; i++) {
		whole->tags[i] = xreg__pb_text(spec->tags[i]);
	}
	details->n_tags = spec->nr_tags;
	details->tags = whole->tags;
	details->ttl_seconds = spec->ttl_s;
}

void xreg__pb_metrics(
	const struct xreg_live_state *live, uint32_t score, pb_health_metrics *ret_metrics)
{
	const struct xreg_metrics *metrics = &live->metrics;

	ret_metrics->health_score = score;
	ret_metrics->load_percentage = metrics->load_percentage;
	ret_metrics->current_iops = metrics->current_iops;
	ret_metrics->current_bandwidth_mbps = metrics->current_bandwidth_mbps;
	ret_metrics->current_latency_us = metrics->current_latency_us;
	ret_metrics->error_rate = metrics->error_rate;
	ret_metrics->active_connections = metrics->active_connections;
	ret_metrics->last_updated = (int64_t)(live->reported_ms / 1000);
}

static void write_health(struct whole *whole, const struct xreg_target *target,
	const struct xreg_health_config *config)
{
	struct xreg_live_state live;
	struct xreg_health health;

	xreg_live_get(target, &live);
	whole->target.last_seen_ms = (int64_t)live.last_seen_ms;
	if (live.has_metrics) {
		xreg_health_score(target, &live, config, &health);
		xreg__pb_metrics(&live, health.score, &whole->health);
		whole->target.health = &whole->health;
	}
}

pb_target *xreg__pb_target(
	const struct xreg_target *target, const struct xreg_health_config *health)
{
	struct whole *whole =
		malloc(sizeof(*whole) + target->spec.nr_metadata * sizeof(whole->metadata[0]));

	if (whole == NULL) {
		return NULL;
	}
	whole->target = (pb_target)PB_INIT(TARGET);
	whole->info = (pb_target_info)PB_INIT(TARGET_INFO);
	whole->details = (pb_target_details)PB_INIT(TARGET_DETAILS);
	whole->caps = (pb_performance_caps)PB_INIT(PERFORMANCE_CAPS);
	whole->health = (pb_health_metrics)PB_INIT(HEALTH_METRICS);
	write_info(whole, target);
	write_details(whole, &target->spec);
	whole->target.info = &whole->info;
	whole->target.details = &whole->details;
	whole->target.status = (pb_target_status)target->status.state;
	whole->target.status_reason = xreg__pb_text(target->status.reason);
	whole->target.status_until_ms = (int64_t)target->status.until_ms;
	whole->target.source = (pb_target_source)target->origin.source;
	whole->target.revision = target->origin.revision;
	whole->target.created_revision = target->origin.created_revision;
	whole->target.registered_at_ms = (int64_t)target->origin.registered_ms;
	whole->target.updated_at_ms = (int64_t)target->origin.updated_ms;
	if (health != NULL) {
		write_health(whole, target, health);
	}
	return &whole->target;
}

void xreg__pb_health_event(const struct xreg_health_event *event, pb_health_event *ret_event)
{
	*ret_event = (pb_health_event)PB_INIT(HEALTH_EVENT);
	ret_event->type = (pb_health_event_type)event->kind;
	ret_event->text = xreg__pb_text(event->text);
	if (event->target != NULL) {
		ret_event->node_id = xreg__pb_text(event->target->spec.node_id);
		ret_event->nqn = xreg__pb_text(event->target->spec.nqn);
	}
	ret_event->failure = (pb_failure_type)event->failure;
	ret_event->severity = (pb_severity)event->severity;
	ret_event->attempt = event->attempt;
	ret_event->good = event->is_good;
	ret_event->refused = event->rc != 0;
	ret_event->old_health_score = event->score_before;
	ret_event->health_score = event->score;
	ret_event->old_connections = event->connections_before;
	ret_event->connections = event->connections;
}

/* ---- filters ---- */

static bool is_any(const char *wanted, const char *text)
{
	return wanted[0] == '\0' || strcmp(wanted, text) == 0;
}

static bool has_tag(const struct xreg_spec *spec, const char *tag)
{
	for (uint32_t i = 0; i < spec->nr_tags; i++) {
		if (strcmp(spec->tags[i], tag) == 0) {
			return true;
		}
	}
	return tag[0] == '\0';
}

static bool is_one_of_states(const struct xreg__pb_filter *filter, uint32_t state)
{
	for (size_t i = 0; i < filter->nr_states; i++) {
		if ((uint32_t)filter->states[i] == state) {
			return true;
		}
	}
	return filter->nr_states == 0;
}

static bool is_one_of_transports(const struct xreg__pb_filter *filter, uint32_t transport)
{
	for (size_t i = 0; i < filter->nr_transports; i++) {
		if ((uint32_t)filter->transports[i] == transport) {
			return true;
		}
	}
	return filter->nr_transports == 0;
}

bool xreg__pb_matches(const struct xreg__pb_filter *filter, const struct xreg_target *target)
{
	const struct xreg_spec *spec = &target->spec;

	return is_any(filter->node_id, spec->node_id) && is_any(filter->nqn, spec->nqn) &&
	       is_any(filter->address, spec->address) &&
	       strncmp(target->location, filter->location, strlen(filter->location)) == 0 &&
	       has_tag(spec, filter->tag) && is_one_of_states(filter, target->status.state) &&
	       is_one_of_transports(filter, spec->transport);
}
