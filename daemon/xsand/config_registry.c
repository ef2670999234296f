/* SPDX-License-Identifier: BSD-3-Clause */
/* Checking the "registry" part. What it says of targets is checked by the registry itself, too. */
#include "daemon/xsand/config_registry.h"

#include <errno.h>
#include <string.h>

#include "daemon/xsand/config_check.h"
#include "lib/reactor/address.h"
#include "lib/xregistry/multicast_net.h"

#define MEMBERS_MAX 32u /* of metadata, and tags */

/* enum xreg_agent_leave */
static const char *const leaves[] = {"maintenance", "unregister", "nothing", NULL};

static const struct xu_param registry_params[] = {
	{"url", XU_PARAM_STRING, offsetof(struct config_registry, url),
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
	{"enable_multicast", XU_PARAM_BOOL, offsetof(struct config_registry, has_multicast),
		.help = "whether a registry that asks by multicast is answered (default false)"},
	{"multicast_group", XU_PARAM_STRING, offsetof(struct config_registry, multicast.group),
		.help = "the group in which it asks (default \"239.255.43.21\")"},
	{"multicast_port", XU_PARAM_U32, offsetof(struct config_registry, multicast.port), .min = 1,
		.max = UINT16_MAX, .help = "the port (default 4791)"},
	{"multicast_interface", XU_PARAM_STRING,
		offsetof(struct config_registry, multicast.interface),
		.help = "interface on which it asks (default: all but loopback)"},
	{"multicast_key_file", XU_PARAM_STRING,
		offsetof(struct config_registry, multicast.key_path),
		.help = "file with the key that the registry has, too"},
	{"multicast_key_env", XU_PARAM_STRING,
		offsetof(struct config_registry, multicast.key_variable),
		.help = "variable of the environment with it"},
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

/* All but the key, which is read at the start, like the token: here it is only there or not. */
/* One, or several with commas between. */
static int check_urls(struct check *c, const char *urls)
{
	for (const char *at = urls;; at++) {
		size_t len = strcspn(at, ",");

		if (strncmp(at, "http://", 7) != 0 && strncmp(at, "https://", 8) != 0) {
			return check_fail(c, "registry.url",
				"'%.*s' does not begin with http:// or https://",
				(int)(len < 128 ? len : 128), at);
		}
		at += len;
		if (*at == '\0') {
			return 0;
		}
	}
}

static int check_multicast(struct check *c, const struct config_registry *registry)
{
	const bool has_key =
		registry->multicast.key_path != NULL || registry->multicast.key_variable != NULL;
	const struct xreg_mcast_opts opts = {.group = registry->multicast.group,
		.port = (uint16_t)registry->multicast.port,
		.interface = registry->multicast.interface,
		.key = has_key ? "that is read later" : NULL};
	char path[CONFIG_PATH_SIZE];
	const char *member;

	if (registry->multicast.key_path != NULL && registry->multicast.key_variable != NULL) {
		return check_fail(c, "registry.multicast_key_env",
			"multicast_key_file is given too, and one key is enough");
	}
	if (xreg_mcast_check(&opts, &member, c->err) != 0) {
		memcpy(c->path, check_path(path, "registry.%s", member), sizeof(path));
		return -EINVAL;
	}
	return 0;
}

int check_registry(struct check *c, json_t *object, struct config_registry *ret_registry)
{
	struct config_registry registry = {.interval_s = 10,
		.multicast = {.group = XREG_MCAST_GROUP, .port = XREG_MCAST_PORT}};
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
	if (registry.url == NULL && !registry.has_multicast) {
		return check_fail(c, "registry",
			"'url' is missing: where the registry is, such as "
			"\"http://192.0.2.1:8080\"; "
			"or "
			"enable_multicast, with which a registry finds the node");
	}
	rc = registry.url != NULL ? check_urls(c, registry.url) : 0;
	if (rc != 0) {
		return rc;
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
	if (registry.has_multicast) {
		rc = check_multicast(c, &registry);
	}
	if (rc == 0 && registry.metadata != NULL) {
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
