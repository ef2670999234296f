/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry's configuration (spec/registry.md 7.1): the document's file, with its names, and
 * what we add. Without a file everything has a default that is fit for one machine. An error says
 * where: `FILE:LINE:COLUMN: section.key: sentence with what is accepted`.
 */
#ifndef XSAN_REGISTRY_CONFIG_H
#define XSAN_REGISTRY_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/rpc/http.h"
#include "lib/util/log.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/select.h"

struct xbdev_text;
struct xreg_backend_ops;
struct xu_error;

#define CONFIG_TOKENS_MAX 64u
#define CONFIG_NOTES_MAX  8u

struct config {
	struct xbdev_text *text; /* NULL: there is no file */
	json_t *root;            /* what texts below point into */

	const char *data_dir;
	struct xrpc_http_opts http;
	struct xrpc_http_token tokens[CONFIG_TOKENS_MAX];
	char *token_texts[CONFIG_TOKENS_MAX]; /* of files and the environment */
	struct xu_log_opts log;
	const char *audit_path; /* NULL: none */

	const struct xreg_backend_ops *backend;
	char *connection; /* of the backend */
	uint32_t nr_targets_max, nr_events_kept;

	struct xreg_health_config health;
	struct xreg_balancer_opts balancer;

	/* Alerts. */
	const char *rules_path, *smtp_url, *smtp_from, *smtp_user, *slack_url; /* NULL: none */
	char *smtp_password;
	uint32_t alert_interval_ms;

	uint32_t find_interval_s, find_timeout_s;
	json_t *static_targets; /* NULL: none */

	bool has_grpc, is_grpc_asked; /* asked for by name */
	uint16_t grpc_port;

	bool has_central; /* the discovery controller */
	const char *central_address, *central_advertise, *central_nqn;
	uint16_t central_port;
	uint32_t central_connections_max;

	const char *notes[CONFIG_NOTES_MAX]; /* what is set and has no effect; ends with NULL */
};

/* Reads and checks a file (NULL: defaults). `data_dir` (may be NULL) comes before what it says.
 * -errno with a sentence. */
int config_read(
	const char *path, const char *data_dir, struct config **ret_config, struct xu_error *err);
void config_free(struct config *config); /* NULL is fine */

/* A complete file to begin with. */
extern const char config_default_text[];

#endif
