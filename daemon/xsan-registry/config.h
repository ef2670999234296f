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
#include "lib/xregistry/ddc.h"
#include "lib/xregistry/discovery.h"
#include "lib/xregistry/health.h"
#include "lib/xregistry/multicast_net.h"
#include "lib/xregistry/pull.h"
#include "lib/xregistry/select.h"

struct xbdev_text;
struct xreg_backend_ops;
struct xu_error;

#define CONFIG_TOKENS_MAX       64u
#define CONFIG_CERTIFICATES_MAX 256u
#define CONFIG_NOTES_MAX        8u

struct config {
	struct xbdev_text *text; /* NULL: there is no file */
	json_t *root;            /* what texts below point into */
	/* What each member of each section says, given or by default, as "section.member"; secrets
	 * that are in files are in it as what the files say. */
	json_t *effective;

	const char *data_dir;
	struct xrpc_http_opts http;                        /* but its access and certificate, … */
	const char *cert_path, *key_path, *client_ca_path; /* … the certificate in files; NULL: none
							    */
	struct xrpc_access_opts access;                    /* … and who may do what */
	struct xrpc_token tokens[CONFIG_TOKENS_MAX];
	char *token_texts[CONFIG_TOKENS_MAX]; /* of files and the environment */
	struct xrpc_certificate certificates[CONFIG_CERTIFICATES_MAX];
	struct xu_log_opts log;
	const char *audit_path; /* NULL: none */

	const struct xreg_backend_ops *backend;
	char *connection; /* of the backend */
	uint32_t nr_targets_max, nr_events_kept;

	struct xreg_health_config health;
	struct xreg_balancer_opts balancer;

	/* Alerts. */
	/* NULL: none */
	const char *rules_path, *smtp_url, *smtp_from, *smtp_user, *smtp_ca_path, *slack_url;
	char *smtp_password;
	uint32_t alert_interval_ms;

	uint32_t find_interval_s, find_timeout_s;
	json_t *static_targets; /* NULL: none */
	bool finds_mdns;
	bool has_multicast; /* targets are looked for by multicast */
	struct xreg_mcast_opts multicast;
	char *multicast_key; /* NULL: none */
	bool has_dhcp;       /* by DHCP */
	const char *dhcp_interface;
	uint8_t dhcp_option;

	/* Other discovery controllers. */
	struct xreg_ddc *controllers;
	uint32_t nr_controllers, pull_entries_max, pull_forget_s;
	bool follows_referrals;
	uint32_t referral_depth_max, referrals_max;

	bool has_grpc, is_grpc_asked; /* asked for by name */
	uint16_t grpc_port;

	bool has_central; /* the discovery controller */
	const char *central_address, *central_advertise, *central_nqn;
	uint16_t central_port;
	uint32_t central_connections_max;
	bool takes_kick_starts;
	struct xreg_referral referrals[XREG_REFERRALS_MAX];
	uint32_t nr_referrals;
	bool publishes_mdns, is_publish_said; /* not said: as others reach it or not */

	const char *notes[CONFIG_NOTES_MAX]; /* what is set and has no effect; ends with NULL */
};

/* Reads and checks a file (NULL: defaults). `data_dir` (may be NULL) comes before what it says.
 * -errno with a sentence. */
int config_read(
	const char *path, const char *data_dir, struct config **ret_config, struct xu_error *err);
void config_free(struct config *config); /* NULL is fine */

/* What of it is for reading discovery controllers. */
struct xreg_pull_limits config_pull_limits(const struct config *config);

/* A complete file to begin with. */
extern const char config_default_text[];

#endif
