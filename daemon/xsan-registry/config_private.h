/* SPDX-License-Identifier: BSD-3-Clause */
/* The reading of the registry's configuration, whose sections are in files of their own. */
#ifndef XSAN_REGISTRY_CONFIG_PRIVATE_H
#define XSAN_REGISTRY_CONFIG_PRIVATE_H

#include "daemon/xsan-registry/config.h"
#include "lib/util/param.h"
#include "lib/xbdev/config/text.h"

#define CONFIG_SECRET_MAX 256u

struct config_check {
	struct config *config;
	struct xu_error *err;
	char path[XBDEV_TEXT_PATH_SIZE]; /* of what is wrong */
	uint32_t nr_notes;
};

/* ---- config.c ---- */

/* Says what is wrong, "section.member"; returns `rc`. */
int config_fail(struct config_check *c, const char *path, int rc);
/* Keeps for the log what has no effect; `text` stays. */
void config_note(struct config_check *c, const char *text);
/* Reads an object (NULL: all by default) by a table, at `path`; what it says then is remembered,
 * but of the entries of lists. */
int config_section(struct config_check *c, const char *path, const struct xu_param *params,
	void *opts, json_t *object);
/* The first line of a file, up to CONFIG_SECRET_MAX characters; for the caller to free. */
int config_read_secret(const char *path, char **ret_text, struct xu_error *err);

/* ---- config_discovery.c ---- */

/* Whether it is a list of up to `max` discovery controllers. */
int config_check_list(struct config_check *c, const char *path, json_t *list, uint32_t max);
/* One of them. A referral says whether connections there may stay (default true); NULL for one that
 * is read, which says nothing of it. */
int config_check_place(struct config_check *c, const char *list, size_t index, json_t *object,
	struct xreg_ddc *ret_ddc, bool *ret_is_persistent);

/* ---- sections; `object` is NULL where there is none ---- */

int config_check_service(struct config_check *c, json_t *object, const char *data_dir);
int config_check_discovery(struct config_check *c, json_t *object);
int config_check_central(struct config_check *c, json_t *object);
int config_check_health(struct config_check *c, json_t *health, json_t *failover);
int config_check_balancer(struct config_check *c, json_t *object);
int config_check_alerts(struct config_check *c, json_t *object);
int config_check_integration(struct config_check *c, json_t *object);
int config_check_security(struct config_check *c, json_t *object);
int config_check_logging(struct config_check *c, json_t *object);
int config_check_persistence(struct config_check *c, json_t *object);

#endif
