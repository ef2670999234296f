/* SPDX-License-Identifier: BSD-3-Clause */
/* Checking the "registry" part. What it says of targets is checked by the registry itself, too. */
#include "daemon/xsand/config_registry.h"

#include <string.h>

#include "daemon/xsand/config_check.h"
#include "lib/reactor/address.h"

#define MEMBERS_MAX 32u /* of metadata, and tags */

/* enum xreg_agent_leave */
static const char *const leaves[] = {"maintenance", "unregister", "nothing", NULL};

static const struct xu_param registry_params[] = {
	{"url", XU_PARAM_STRING, offsetof(struct config_registry, url), .is_required = true,
		.help = "where the registry is, such as \"http://192.0.2.1:8080\""},
	{"node_id", XU_PARAM_STRING, offsetof(struct config_registry, node_id),
		.help = "the node's name there (default: the machine's)"},
	{"address", XU_PARAM_STRING, offsetof(struct config_registry, address),
		.help = "address at which hosts reach listeners on all addresses"},
	{"token_file", XU_PARAM_STRING, offsetof(struct config_registry, token_path),
		.help = "file with the token to show"},
	{"ca_file", XU_PARAM_STRING, offsetof(struct config_registry, ca_path),
		.help = "who may have signed the registry's certificate (default: the system's)"},
	{"cert_file", XU_PARAM_STRING, offsetof(struct config_registry, cert_path),
		.help = "certificate to show"},
	{"key_file", XU_PARAM_STRING, offsetof(struct config_registry, key_path),
		.help = "its key"},
	{"interval_s", XU_PARAM_U32, offsetof(struct config_registry, interval_s), .min = 1,
		.max = 3600, .help = "seconds between two reports (default 10)"},
	{"on_stop", XU_PARAM_ENUM, offsetof(struct config_registry, leave), .choices = leaves,
		.help = "what becomes of the node's targets when it stops (default maintenance)"},
	{"metadata", XU_PARAM_JSON, offsetof(struct config_registry, metadata),
		.help = "texts by name that each target has there, such as location"},
	{"tags", XU_PARAM_JSON, offsetof(struct config_registry, tags),
		.help = "list of texts that each target has there"},
	{0},
};

static int check_metadata(struct check *c, json_t *metadata)
{
	const char *key;
	json_t *value;

	if (!json_is_object(metadata) || json_object_size(metadata) > MEMBERS_MAX) {
		return check_fail(c, "registry.metadata",
			"an object { … } of at most %u texts is needed here", MEMBERS_MAX);
	}
	json_object_foreach (metadata, key, value) {
		if (!json_is_string(value)) {
			return check_fail(c, "registry.metadata", "'%.64s' is no text", key);
		}
	}
	return 0;
}

static int check_tags(struct check *c, json_t *tags)
{
	json_t *tag;
	size_t i;

	if (!json_is_array(tags) || json_array_size(tags) > MEMBERS_MAX) {
		return check_fail(c, "registry.tags",
			"a list [ … ] of at most %u texts is needed here", MEMBERS_MAX);
	}
	json_array_foreach (tags, i, tag) {
		if (!json_is_string(tag)) {
			return check_fail(c, "registry.tags", "a tag is a text");
		}
	}
	return 0;
}

int check_registry(struct check *c, json_t *object, struct config_registry *ret_registry)
{
	struct config_registry registry = {.interval_s = 10};
	struct sockaddr_storage addr;
	int rc;

	if (object == NULL) {
		*ret_registry = (struct config_registry){0};
		return 0;
	}
	rc = check_params(c, "registry", registry_params, &registry, object);
	if (rc != 0) {
		return rc;
	}
	if (strncmp(registry.url, "http://", 7) != 0 && strncmp(registry.url, "https://", 8) != 0) {
		return check_fail(c, "registry.url",
			"'%.128s' does not begin with http:// or https://", registry.url);
	}
	if (registry.address != NULL && (xr_address_parse(registry.address, 0, &addr) < 0 ||
						xr_address_is_wildcard(registry.address))) {
		return check_fail(c, "registry.address",
			"'%.64s' is no numeric address of one machine", registry.address);
	}
	if ((registry.cert_path == NULL) != (registry.key_path == NULL)) {
		return check_fail(
			c, "registry", "cert_file and key_file are given together or not at all");
	}
	if (registry.metadata != NULL) {
		rc = check_metadata(c, registry.metadata);
	}
	if (rc == 0 && registry.tags != NULL) {
		rc = check_tags(c, registry.tags);
	}
	if (rc == 0) {
		*ret_registry = registry;
	}
	return rc;
}
