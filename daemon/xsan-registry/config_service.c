/* SPDX-License-Identifier: BSD-3-Clause */
/* The sections of the process itself: service, logging, persistence. */
#include "daemon/xsan-registry/config_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/xregistry/backend.h"
#include "lib/xregistry/consul/consul.h"
#include "lib/xregistry/etcd/etcd.h"

/* ---- service ---- */

struct service {
	const char *address, *data_dir;
	uint32_t port, grpc_port, nr_threads, nr_connections, nr_targets, nr_events;
	bool has_grpc;
};

static const struct xu_param service_params[] = {
	{"listen_address", XU_PARAM_STRING, offsetof(struct service, address)},
	{"listen_port", XU_PARAM_U32, offsetof(struct service, port), .max = UINT16_MAX},
	{"grpc_enabled", XU_PARAM_BOOL, offsetof(struct service, has_grpc)},
	{"grpc_port", XU_PARAM_U32, offsetof(struct service, grpc_port), .max = UINT16_MAX},
	{"data_directory", XU_PARAM_STRING, offsetof(struct service, data_dir)},
	{"threads", XU_PARAM_U32, offsetof(struct service, nr_threads), .min = 1, .max = 64},
	{"max_connections", XU_PARAM_U32, offsetof(struct service, nr_connections), .min = 16,
		.max = 65536},
	{"max_targets", XU_PARAM_U32, offsetof(struct service, nr_targets), .min = 1,
		.max = 1000000},
	{"events_kept", XU_PARAM_U32, offsetof(struct service, nr_events), .min = 1,
		.max = 1000000},
	{0},
};

int config_check_service(struct config_check *c, json_t *object, const char *data_dir)
{
	struct service service = {.address = "127.0.0.1",
		.port = 8080,
		.grpc_port = 8081,
		.has_grpc = true,
		.data_dir = "./var/registry",
		.nr_threads = 2,
		.nr_connections = 4096};
	int rc = config_section(c, "service", service_params, &service, object);

	c->config->data_dir = data_dir != NULL ? data_dir : service.data_dir;
	c->config->has_grpc = service.has_grpc;
	c->config->is_grpc_asked = service.has_grpc && json_object_get(object, "grpc_port") != NULL;
	c->config->grpc_port = (uint16_t)service.grpc_port;
	c->config->nr_targets_max = service.nr_targets;
	c->config->nr_events_kept = service.nr_events;
	c->config->http.address = service.address;
	c->config->http.port = (uint16_t)service.port;
	c->config->http.nr_threads = service.nr_threads;
	c->config->http.nr_connections_max = service.nr_connections;
	return rc;
}

/* ---- logging ---- */

static const char *const log_levels[] = {"fatal", "error", "warn", "info", "debug", "trace", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

struct logging {
	uint32_t level, format, max_mb, keep;
	const char *file, *audit;
	bool is_rotated;
};

static const struct xu_param logging_params[] = {
	{"log_level", XU_PARAM_ENUM, offsetof(struct logging, level), .choices = log_levels},
	{"log_file", XU_PARAM_STRING, offsetof(struct logging, file)},
	{"log_format", XU_PARAM_ENUM, offsetof(struct logging, format), .choices = log_formats},
	{"log_rotation_enabled", XU_PARAM_BOOL, offsetof(struct logging, is_rotated)},
	{"max_log_file_size_mb", XU_PARAM_U32, offsetof(struct logging, max_mb), .min = 1,
		.max = 1048576},
	{"log_files_kept", XU_PARAM_U32, offsetof(struct logging, keep), .max = 1000},
	{"audit_log_file", XU_PARAM_STRING, offsetof(struct logging, audit)},
	{0},
};

int config_check_logging(struct config_check *c, json_t *object)
{
	struct logging logging = {
		.level = XU_LOG_INFO, .max_mb = 100, .keep = 4, .is_rotated = true};
	int rc = config_section(c, "logging", logging_params, &logging, object);

	c->config->log = (struct xu_log_opts){
		.level = (enum xu_log_level)logging.level,
		.target = logging.file != NULL ? XU_LOG_TO_FILE : XU_LOG_TO_STDERR,
		.format = (enum xu_log_format)logging.format,
		.path = logging.file,
		.rotate_bytes = logging.is_rotated ? (uint64_t)logging.max_mb << 20 : 0,
		.rotate_keep = logging.keep,
		.ident = "xsan-registry",
	};
	c->config->audit_path = logging.audit;
	return rc;
}

/* ---- persistence ---- */

static const char *const backends[] = {"sqlite", "etcd", "consul", NULL};

struct persistence {
	bool is_enabled;
	uint32_t backend, interval_s;
	const char *connection;
};

static const struct xu_param persistence_params[] = {
	{"persistence_enabled", XU_PARAM_BOOL, offsetof(struct persistence, is_enabled)},
	{"persistence_backend", XU_PARAM_ENUM, offsetof(struct persistence, backend),
		.choices = backends},
	{"connection_string", XU_PARAM_STRING, offsetof(struct persistence, connection)},
	{"sync_interval_sec", XU_PARAM_U32, offsetof(struct persistence, interval_s), .min = 1,
		.max = 86400},
	{0},
};

static int keep_connection(struct config_check *c, const char *text)
{
	c->config->connection = text != NULL ? strdup(text) : NULL;
	if (text == NULL &&
		asprintf(&c->config->connection, "%s/targets.db", c->config->data_dir) < 0) {
		c->config->connection = NULL;
	}
	return c->config->connection != NULL
		       ? 0
		       : xu_error_set_errno(c->err, -ENOMEM, "reading the configuration");
}

static int check_etcd(struct config_check *c, const char *text)
{
	struct xreg_etcd_where where;
	int rc;

	if (!xreg_etcd_is_there()) {
		return config_fail(c, "persistence.persistence_backend",
			xu_error_set(c->err, -ENOTSUP,
				"this program was built without gRPC, which etcd is reached "
				"through"));
	}
	if (text == NULL) {
		return config_fail(c, "persistence.connection_string",
			xu_error_set(c->err, -EINVAL,
				"etcd's endpoints are needed here, such as "
				"\"http://127.0.0.1:2379\""));
	}
	rc = xreg_etcd_where_parse(text, &where, c->err);
	if (rc != 0) {
		return config_fail(c, "persistence.connection_string", rc);
	}
	xreg_etcd_where_free(&where);
	return 0;
}

static int check_consul(struct config_check *c, const char *text)
{
	struct xreg_consul_where where;
	int rc;

	if (text == NULL) {
		return config_fail(c, "persistence.connection_string",
			xu_error_set(c->err, -EINVAL,
				"Consul's address is needed here, such as "
				"\"http://127.0.0.1:8500\""));
	}
	rc = xreg_consul_where_parse(text, &where, c->err);
	if (rc != 0) {
		return config_fail(c, "persistence.connection_string", rc);
	}
	xreg_consul_where_free(&where);
	return 0;
}

static int choose_backend(struct config_check *c, const struct persistence *persistence)
{
	int rc = 0;

	switch (persistence->backend) {
	case 0:
		c->config->backend = &xreg_sqlite;
		break;
	case 1:
		c->config->backend = &xreg_etcd;
		rc = check_etcd(c, persistence->connection);
		break;
	default:
		c->config->backend = &xreg_consul;
		rc = check_consul(c, persistence->connection);
		break;
	}
	return rc == 0 ? keep_connection(c, persistence->connection) : rc;
}

int config_check_persistence(struct config_check *c, json_t *object)
{
	struct persistence persistence = {.is_enabled = true, .interval_s = 60};
	int rc = config_section(c, "persistence", persistence_params, &persistence, object);

	if (rc != 0) {
		return rc;
	}
	if (!persistence.is_enabled) {
		return config_fail(c, "persistence.persistence_enabled",
			xu_error_set(c->err, -EINVAL,
				"false is not accepted: a registry that forgets its targets would "
				"show "
				"hosts an empty log after a restart, and they would disconnect"));
	}
	return choose_backend(c, &persistence);
}
