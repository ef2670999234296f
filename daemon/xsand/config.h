/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file: read, checked as a whole before anything is touched, and given as
 * settings (what only a start reads) and a model (what can change while the node runs, see
 * model.h). An error says where: `FILE:LINE:COLUMN: path.to[3].value: sentence with what is
 * accepted`.
 */
#ifndef XSAND_CONFIG_H
#define XSAND_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/xsand/config_registry.h"
#include "lib/util/log.h"
#include "lib/xbdev/config/text.h"
#include "lib/xbdev/core/context.h"

struct xu_error;

#define CONFIG_PATH_SIZE XBDEV_TEXT_PATH_SIZE

struct config_settings {
	struct xu_log_opts log;
	uint32_t nr_reactors;
	int cpus[XBDEV_MAX_REACTORS];
	bool has_cpus;
	uint64_t spin_max_ns;
	uint64_t buffer_bytes;
	const char *socket;
	const char *state_dir;
	uint32_t stop_timeout_s;
	struct config_registry registry;
};

struct config {
	struct xbdev_text *text;
	json_t *root;                    /* the text's */
	struct config_settings settings; /* its texts point into root */
	json_t *model;                   /* model.h */
};

/* Reads and checks a file. -errno with a sentence that begins with the place. */
int config_read(const char *path, struct config **ret_config, struct xu_error *err);
/* The same with a text that is there already, called `name` in errors. */
int config_parse(const char *name, const char *text, size_t len, struct config **ret_config,
	struct xu_error *err);
void config_free(struct config *config); /* NULL is fine */

/* Checks a document without a file; on failure `path` is the culprit's. `settings` may be NULL. */
int config_check(json_t *root, struct config_settings *settings, char path[CONFIG_PATH_SIZE],
	struct xu_error *err);

/* The settings in which two configurations differ, as an array of their paths: what takes a restart
 * to change. NULL: out of memory. */
json_t *config_settings_diff(const struct config *from, const struct config *to);

/* A complete file to begin with. */
extern const char config_default_text[];

#endif
