/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Targets as JSON: what a registration says (spec/registry.md 4.1.1, with the members of 2.1 that
 * its example leaves out), and whole records as they are stored. What comes from our own disk is
 * checked like what comes from strangers (target_check.c).
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/desired.h"
#include "lib/xregistry/target.h"

/* The sections of a registration, as they are found. */
struct sections {
	const char *node_id;
	json_t *info, *storage, *caps, *config, *metadata;
	uint32_t ttl_s;
};

static const struct xu_param section_params[] = {
	{"node_id", XU_PARAM_STRING, offsetof(struct sections, node_id), .is_required = true,
		.help = "the node that serves the target"},
	{"target_info", XU_PARAM_JSON, offsetof(struct sections, info), .is_required = true,
		.help = "an object with nqn, transport, address and port"},
	{"storage", XU_PARAM_JSON, offsetof(struct sections, storage),
		.help = "what is behind the target"},
	{"performance_caps", XU_PARAM_JSON, offsetof(struct sections, caps),
		.help = "what it can do at most"},
	{"config", XU_PARAM_JSON, offsetof(struct sections, config),
		.help = "how it is to be treated"},
	{"metadata", XU_PARAM_JSON, offsetof(struct sections, metadata),
		.help = "texts by name, such as location"},
	{"ttl_seconds", XU_PARAM_U32, offsetof(struct sections, ttl_s), .max = XREG_TTL_S_MAX,
		.help = "offline without a report for so long (default 0: never)"},
	{0},
};

static const char *const securities[] = {"none", "tls", "ipsec", NULL};

static const struct xu_param info_params[] = {
	{"nqn", XU_PARAM_STRING, offsetof(struct xreg_spec, nqn), .is_required = true,
		.help = "NVMe qualified name of the subsystem"},
	{"transport", XU_PARAM_ENUM, offsetof(struct xreg_spec, transport),
		.choices = xreg_transport_names, .help = "tcp, rdma or fc (default tcp)"},
	{"address", XU_PARAM_STRING, offsetof(struct xreg_spec, address), .is_required = true,
		.help = "numeric address that hosts connect to"},
	{"port", XU_PARAM_U32, offsetof(struct xreg_spec, port), .max = UINT16_MAX,
		.help = "port, 1 to 65535; none for fc"},
	{"interface", XU_PARAM_STRING, offsetof(struct xreg_spec, interface),
		.help = "network interface of the node"},
	{"namespace_capacity", XU_PARAM_U64, offsetof(struct xreg_spec, capacity_bytes),
		.help = "bytes"},
	{"security_type", XU_PARAM_ENUM, offsetof(struct xreg_spec, security),
		.choices = securities, .help = "none, tls or ipsec (default none)"},
	{0},
};

static const struct xu_param storage_params[] = {
	{"device_path", XU_PARAM_STRING, offsetof(struct xreg_spec, device_path),
		.help = "device on the node"},
	{"block_size", XU_PARAM_U32, offsetof(struct xreg_spec, block_size),
		.max = XREG_BLOCK_SIZE_MAX, .help = "bytes"},
	{"namespace_id", XU_PARAM_U32, offsetof(struct xreg_spec, namespace_id),
		.help = "0: all of the subsystem's"},
	{"readonly", XU_PARAM_BOOL, offsetof(struct xreg_spec, is_read_only),
		.help = "true or false (default false)"},
	{0},
};

static const struct xu_param caps_params[] = {
	{"max_iops", XU_PARAM_U64, offsetof(struct xreg_spec, max_iops), .help = "I/Os a second"},
	{"max_bandwidth_mbps", XU_PARAM_U64, offsetof(struct xreg_spec, max_bandwidth_mbps),
		.help = "megabytes a second"},
	{"avg_latency_us", XU_PARAM_U32, offsetof(struct xreg_spec, avg_latency_us),
		.help = "microseconds"},
	{"max_queue_depth", XU_PARAM_U32, offsetof(struct xreg_spec, queue_depth),
		.help = "commands in a queue"},
	{"max_connections", XU_PARAM_U32, offsetof(struct xreg_spec, max_connections),
		.help = "hosts at a time (default 0: not known)"},
	{0},
};

struct config_section {
	bool has_auto_discovery;
	uint32_t discovery_interval_s;
	json_t *weight, *tags;
};

static const struct xu_param config_params[] = {
	{"auto_discovery", XU_PARAM_BOOL, offsetof(struct config_section, has_auto_discovery),
		.help = "true or false (default true)"},
	{"discovery_interval", XU_PARAM_U32, offsetof(struct config_section, discovery_interval_s),
		.min = 1, .max = XREG_INTERVAL_S_MAX,
		.help = "seconds (default: as often as the registry does)"},
	{"weight", XU_PARAM_JSON, offsetof(struct config_section, weight),
		.help = "a number from 0 to 1000 (default 1)"},
	{"tags", XU_PARAM_JSON, offsetof(struct config_section, tags), .help = "an array of texts"},
	{0},
};

/* ---- parts ---- */

static int prefix_path(char path[XU_PARAM_PATH_SIZE], const char *section)
{
	char rest[XU_PARAM_PATH_SIZE];

	snprintf(rest, sizeof(rest), "%s", path);
	snprintf(path, XU_PARAM_PATH_SIZE, "%s%s%.200s", section, rest[0] != '\0' ? "." : "", rest);
	return -EINVAL;
}

static int parse_section(const struct xu_param *params, const char *name, void *opts,
	json_t *object, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	if (object == NULL || xu_params_parse(params, opts, object, path, err) == 0) {
		return 0;
	}
	return prefix_path(path, name);
}

static int parse_metadata(json_t *object, struct xreg_parsed *parsed, struct xu_error *err)
{
	const char *key;
	json_t *value;

	if (object == NULL) {
		return 0;
	}
	if (!json_is_object(object) || json_object_size(object) > XREG_METADATA_MAX) {
		return xu_error_set(err, -EINVAL,
			"metadata: an object with at most %u texts is needed", XREG_METADATA_MAX);
	}
	json_object_foreach (object, key, value) {
		const char *text = json_string_value(value);

		if (text == NULL || strlen(text) != json_string_length(value)) {
			return xu_error_set(err, -EINVAL, "metadata: '%.64s' is no text", key);
		}
		parsed->metadata[parsed->spec.nr_metadata++] = (struct xreg_pair){key, text};
	}
	return 0;
}

static int parse_tags(json_t *array, struct xreg_parsed *parsed, struct xu_error *err)
{
	json_t *value;
	size_t i;

	if (array == NULL) {
		return 0;
	}
	if (!json_is_array(array) || json_array_size(array) > XREG_TAGS_MAX) {
		return xu_error_set(err, -EINVAL, "tags: an array of at most %u texts is needed",
			XREG_TAGS_MAX);
	}
	json_array_foreach (array, i, value) {
		const char *text = json_string_value(value);

		if (text == NULL || strlen(text) != json_string_length(value)) {
			return xu_error_set(err, -EINVAL, "tags: element %zu is no text", i);
		}
		parsed->tags[parsed->spec.nr_tags++] = text;
	}
	return 0;
}

static int parse_config(json_t *object, struct xreg_parsed *parsed, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err)
{
	struct config_section config = {.has_auto_discovery = parsed->spec.has_auto_discovery,
		.discovery_interval_s = parsed->spec.discovery_interval_s};
	int rc = parse_section(config_params, "config", &config, object, path, err);

	if (rc != 0) {
		return rc;
	}
	parsed->spec.has_auto_discovery = config.has_auto_discovery;
	parsed->spec.discovery_interval_s = config.discovery_interval_s;
	if (config.weight != NULL) {
		/* What is no number is out of range, like the number that it is read as. */
		parsed->spec.weight =
			json_is_number(config.weight) ? json_number_value(config.weight) : -1;
	}
	rc = parse_tags(config.tags, parsed, err);
	if (rc != 0) {
		snprintf(path, XU_PARAM_PATH_SIZE, "config.tags");
	}
	return rc;
}

int xreg_spec_parse(json_t *body, struct xreg_parsed *ret_parsed, char path[XU_PARAM_PATH_SIZE],
	struct xu_error *err)
{
	struct xreg_spec *spec = &ret_parsed->spec;
	struct sections sections = {0};
	int rc;

	xreg_parsed_init(ret_parsed);
	rc = xu_params_parse(section_params, &sections, body, path, err);
	if (rc != 0) {
		return rc;
	}
	spec->node_id = sections.node_id;
	spec->ttl_s = sections.ttl_s;
	rc = parse_section(info_params, "target_info", spec, sections.info, path, err);
	if (rc == 0) {
		rc = parse_section(storage_params, "storage", spec, sections.storage, path, err);
	}
	if (rc == 0) {
		rc = parse_section(caps_params, "performance_caps", spec, sections.caps, path, err);
	}
	if (rc == 0) {
		rc = parse_config(sections.config, ret_parsed, path, err);
	}
	if (rc == 0 && parse_metadata(sections.metadata, ret_parsed, err) != 0) {
		snprintf(path, XU_PARAM_PATH_SIZE, "metadata");
		return -EINVAL;
	}
	return rc == 0 ? xreg_parsed_check(ret_parsed, path, err) : rc;
}

/* ---- writing ---- */

/* Sets a member; counts what failed. */
static void put(json_t *object, const char *name, json_t *value, int *failed)
{
	*failed += json_object_set_new(object, name, value) != 0;
}

static void put_text(json_t *object, const char *name, const char *text, int *failed)
{
	if (text[0] != '\0') {
		put(object, name, json_string(text), failed);
	}
}

static void put_number(json_t *object, const char *name, uint64_t number, int *failed)
{
	if (number != 0) {
		put(object, name, json_integer((json_int_t)number), failed);
	}
}

static json_t *info_to_json(const struct xreg_spec *spec, int *failed)
{
	json_t *info = json_object();

	put_text(info, "nqn", spec->nqn, failed);
	put_text(info, "transport", xreg_transport_names[spec->transport], failed);
	put_text(info, "address", spec->address, failed);
	put_number(info, "port", spec->port, failed);
	put_text(info, "interface", spec->interface, failed);
	put_number(info, "namespace_capacity", spec->capacity_bytes, failed);
	put_text(info, "security_type", securities[spec->security], failed);
	return info;
}

static json_t *storage_to_json(const struct xreg_spec *spec, int *failed)
{
	json_t *storage = json_object();

	put_text(storage, "device_path", spec->device_path, failed);
	put_number(storage, "block_size", spec->block_size, failed);
	put_number(storage, "namespace_id", spec->namespace_id, failed);
	put(storage, "readonly", json_boolean(spec->is_read_only), failed);
	return storage;
}

static json_t *caps_to_json(const struct xreg_spec *spec, int *failed)
{
	json_t *caps = json_object();

	put_number(caps, "max_iops", spec->max_iops, failed);
	put_number(caps, "max_bandwidth_mbps", spec->max_bandwidth_mbps, failed);
	put_number(caps, "avg_latency_us", spec->avg_latency_us, failed);
	put_number(caps, "max_queue_depth", spec->queue_depth, failed);
	put_number(caps, "max_connections", spec->max_connections, failed);
	return caps;
}

static json_t *config_to_json(const struct xreg_spec *spec, int *failed)
{
	json_t *config = json_object(), *tags = json_array();

	put(config, "auto_discovery", json_boolean(spec->has_auto_discovery), failed);
	if (spec->discovery_interval_s != 0) {
		put_number(config, "discovery_interval", spec->discovery_interval_s, failed);
	}
	put(config, "weight", json_real(spec->weight), failed);
	for (uint32_t i = 0; i < spec->nr_tags; i++) {
		*failed += json_array_append_new(tags, json_string(spec->tags[i])) != 0;
	}
	put(config, "tags", tags, failed);
	return config;
}

static json_t *finished(json_t *object, int failed)
{
	if (failed != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *xreg_spec_to_json(const struct xreg_spec *spec)
{
	json_t *object = json_object(), *metadata = json_object();
	int failed = 0;

	for (uint32_t i = 0; i < spec->nr_metadata; i++) {
		put(metadata, spec->metadata[i].key, json_string(spec->metadata[i].value), &failed);
	}
	put_text(object, "node_id", spec->node_id, &failed);
	put(object, "target_info", info_to_json(spec, &failed), &failed);
	put(object, "storage", storage_to_json(spec, &failed), &failed);
	put(object, "performance_caps", caps_to_json(spec, &failed), &failed);
	put(object, "config", config_to_json(spec, &failed), &failed);
	put(object, "metadata", metadata, &failed);
	put_number(object, "ttl_seconds", spec->ttl_s, &failed);
	return finished(object, failed);
}

/* ---- records ---- */

struct record {
	const char *id, *reason;
	uint32_t source, state;
	uint64_t created_revision, revision, registered_ms, updated_ms, until_ms;
	json_t *spec, *desired;
};

static const struct xu_param record_params[] = {
	{"id", XU_PARAM_STRING, offsetof(struct record, id), .is_required = true, .help = "its id"},
	{"source", XU_PARAM_U32, offsetof(struct record, source), .max = XREG_PULLED,
		.help = "how it was found"},
	{"state", XU_PARAM_U32, offsetof(struct record, state), .max = XREG_DEGRADED,
		.help = "its state"},
	{"reason", XU_PARAM_STRING, offsetof(struct record, reason), .help = "why it is in it"},
	{"until_ms", XU_PARAM_U64, offsetof(struct record, until_ms), .help = "until when"},
	{"created_revision", XU_PARAM_U64, offsetof(struct record, created_revision),
		.help = "of its registration"},
	{"revision", XU_PARAM_U64, offsetof(struct record, revision), .help = "of its last change"},
	{"registered_ms", XU_PARAM_U64, offsetof(struct record, registered_ms), .help = "when"},
	{"updated_ms", XU_PARAM_U64, offsetof(struct record, updated_ms), .help = "when"},
	{"spec", XU_PARAM_JSON, offsetof(struct record, spec), .is_required = true,
		.help = "what was registered"},
	{"desired", XU_PARAM_JSON, offsetof(struct record, desired),
		.help = "what is wanted of it"},
	{0},
};

json_t *xreg_target_to_json(const struct xreg_target *target)
{
	json_t *object = json_object();
	int failed = 0;

	put_text(object, "id", target->origin.id, &failed);
	put_number(object, "source", target->origin.source, &failed);
	put_number(object, "state", target->status.state, &failed);
	put_text(object, "reason", target->status.reason, &failed);
	put_number(object, "until_ms", target->status.until_ms, &failed);
	put_number(object, "created_revision", target->origin.created_revision, &failed);
	put_number(object, "revision", target->origin.revision, &failed);
	put_number(object, "registered_ms", target->origin.registered_ms, &failed);
	put_number(object, "updated_ms", target->origin.updated_ms, &failed);
	put(object, "spec", xreg_spec_to_json(&target->spec), &failed);
	if (target->origin.desired != NULL) {
		put(object, "desired", xreg_desired_to_json(target->origin.desired), &failed);
	}
	return finished(object, failed);
}

int xreg_target_from_json(json_t *object, struct xreg_target **ret_target, struct xu_error *err)
{
	struct record record = {.reason = ""};
	struct xreg_desired *desired = NULL;
	struct xreg_parsed parsed;
	char path[XU_PARAM_PATH_SIZE];
	int rc = xu_params_parse(record_params, &record, object, path, err);

	if (rc == 0 && strlen(record.id) >= XREG_ID_SIZE) {
		rc = xu_error_set(err, -EINVAL, "id: '%.64s…' is too long", record.id);
	}
	if (rc == 0) {
		rc = xreg_spec_parse(record.spec, &parsed, path, err);
	}
	if (rc == 0 && record.desired != NULL) {
		rc = xreg_desired_from_json(record.desired, &desired, err);
	}
	if (rc != 0) {
		return xu_error_prefix(
			err, "record of target '%.64s'", record.id != NULL ? record.id : "?");
	}
	*ret_target = xreg_target_new(&(struct xreg_origin){.id = record.id,
					      .source = record.source,
					      .created_revision = record.created_revision,
					      .revision = record.revision,
					      .registered_ms = record.registered_ms,
					      .updated_ms = record.updated_ms,
					      .desired = desired},
		&(struct xreg_status){.state = record.state,
			.reason = record.reason,
			.until_ms = record.until_ms},
		&parsed.spec);
	xreg_desired_unref(desired);
	return *ret_target != NULL ? 0 : xu_error_set_errno(err, -ENOMEM, "loading a target");
}
