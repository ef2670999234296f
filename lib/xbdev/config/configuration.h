/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration of a context: what documents have made in it, and the carrying out of the next
 * one, from its text to its last job. On the control reactor; one at a time.
 */
#ifndef XBDEV_CONFIG_CONFIGURATION_H
#define XBDEV_CONFIG_CONFIGURATION_H

#include "lib/xbdev/config/apply.h"
#include "lib/xbdev/config/document.h"
#include "lib/xbdev/config/origin.h"
#include "lib/xbdev/config/plan.h"

struct xbdev_configuration {
	const struct xbdev_section *const *sections; /* NULL: xbdev_sections */
	struct xbdev_origins origins;
};

/* One that zeroes begin; frees what is remembered, so that it is new again. */
void xbdev_configuration_fini(struct xbdev_configuration *config);

/* A document that is carried out; the caller's until it is done. */
struct xbdev_carry {
	struct xbdev_configuration *config;
	const struct xbdev_text *text;
	struct xbdev_document *doc;
	struct xbdev_plan plan;
	struct xbdev_apply apply;
	void (*done)(struct xbdev_carry *carry, const struct xu_error *err);
};

/*
 * Checks the document, plans and applies it. `text` is borrowed until `done`, which comes once,
 * maybe before this returns, with an error that says the place (see document.h, plan.h, apply.h).
 */
void xbdev_configuration_carry_out(struct xbdev_configuration *config, struct xbdev_carry *carry,
	struct xbdev_ctx *ctx, enum xbdev_config_mode mode, const struct xbdev_text *text,
	void (*done)(struct xbdev_carry *carry, const struct xu_error *err));

/* A document of what there is now, in new memory. */
int xbdev_configuration_dump(const struct xbdev_configuration *config, struct xbdev_ctx *ctx,
	char **ret_text, struct xu_error *err);

#endif
