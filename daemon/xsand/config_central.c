/* SPDX-License-Identifier: BSD-3-Clause */
/* Checking what a registry has set, and putting the targets of a subsystem together. */
#include "daemon/xsand/config_central.h"

#include <errno.h>
#include <string.h>

#include "lib/util/error.h"

#define QUEUE_DEPTH_MAX 65536u
#define CONNECTIONS_MAX 65535u

struct central {
	uint32_t queue_depth, max_connections;
	json_t *access;
};

static const struct xu_param central_params[] = {
	{"queue_depth", XU_PARAM_U32, offsetof(struct central, queue_depth), .min = 2,
		.max = QUEUE_DEPTH_MAX, .help = "entries of an I/O queue"},
	{"max_connections", XU_PARAM_U32, offsetof(struct central, max_connections), .min = 1,
		.max = CONNECTIONS_MAX, .help = "hosts that are connected at a time"},
	{"access", XU_PARAM_JSON, offsetof(struct central, access),
		.help = "an object with any_host, hosts and read_only"},
	{0},
};

struct central_access {
	bool any_host, is_read_only;
	json_t *hosts;
};

static const struct xu_param access_params[] = {
	{"any_host", XU_PARAM_BOOL, offsetof(struct central_access, any_host),
		.help = "any host may connect"},
	{"hosts", XU_PARAM_JSON, offsetof(struct central_access, hosts),
		.help = "list of the NQNs of hosts that may connect"},
	{"read_only", XU_PARAM_BOOL, offsetof(struct central_access, is_read_only),
		.help = "writes are refused"},
	{0},
};

static int check_access(struct check *c, const char *path, json_t *object)
{
	struct central_access access = {0};
	char inner[CONFIG_PATH_SIZE];
	json_t *host;
	size_t i;
	int rc = check_params(c, path, access_params, &access, object);

	if (rc == 0 && access.hosts != NULL && !json_is_array(access.hosts)) {
		check_path(inner, "%s.hosts", path);
		return check_fail(c, inner, "a list [ … ] of host NQNs is needed here");
	}
	json_array_foreach (access.hosts, i, host) {
		check_path(inner, "%s.hosts[%zu]", path, i);
		if (rc == 0 && !json_is_string(host)) {
			rc = check_fail(c, inner, "a text with the NQN of a host is needed here");
		}
		if (rc == 0) {
			rc = check_nqn(c, inner, json_string_value(host));
		}
	}
	return rc;
}

int check_central(struct check *c, const char *path, json_t *object)
{
	char inner[CONFIG_PATH_SIZE];
	json_t *merged, *value;
	const char *key;
	int rc = 0;

	if (object == NULL) {
		return 0;
	}
	if (!json_is_object(object)) {
		return check_fail(c, path, "an object { … } of targets is needed here");
	}
	json_object_foreach (object, key, value) {
		struct central central = {0};

		rc = check_params(c, path, central_params, &central, value);
		if (rc == 0 && central.access != NULL) {
			check_path(inner, "%s.access", path);
			rc = check_access(c, inner, central.access);
		}
		if (rc != 0) {
			return rc;
		}
	}
	rc = central_merge(object, &merged, c->err);
	if (rc == -EINVAL) {
		check_path(c->path, "%s", path);
	}
	if (rc == 0) {
		json_decref(merged);
	}
	return rc;
}

int central_merge(const json_t *central, json_t **ret_merged, struct xu_error *err)
{
	static const struct {
		const char *section, *name;
	} members[] = {{NULL, "queue_depth"}, {NULL, "max_connections"}, {"access", "any_host"},
		{"access", "hosts"}, {"access", "read_only"}};
	json_t *merged = json_object(), *config, *value, *before;
	const char *key;
	int rc = merged == NULL ? -1 : 0;

	json_object_foreach ((json_t *)(uintptr_t)central, key, config) {
		for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
			value = json_object_get(
				members[i].section != NULL
					? json_object_get(config, members[i].section)
					: config,
				members[i].name);
			before = json_object_get(merged, members[i].name);
			if (value == NULL) {
				continue;
			}
			if (before != NULL && !json_equal(before, value)) {
				json_decref(merged);
				return xu_error_set(err, -EINVAL,
					"%s%s%s: different values are desired of listeners of one "
					"subsystem, %s and another, which share it",
					members[i].section != NULL ? members[i].section : "",
					members[i].section != NULL ? "." : "", members[i].name,
					key);
			}
			rc |= json_object_set(merged, members[i].name, value);
		}
	}
	if (rc != 0) {
		json_decref(merged);
		return xu_error_set_errno(err, -ENOMEM, "reading what a registry has set");
	}
	*ret_merged = merged;
	return 0;
}
