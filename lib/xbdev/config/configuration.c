/* SPDX-License-Identifier: BSD-3-Clause */
/* From a text to the last job. What fails before the first job has changed nothing. */
#include "lib/xbdev/config/configuration.h"

#include <errno.h>
#include <string.h>

#include "lib/xbdev/config/replace.h"

static const struct xbdev_section *const *sections_of(const struct xbdev_configuration *config)
{
	return config->sections != NULL ? config->sections : xbdev_sections;
}

void xbdev_configuration_fini(struct xbdev_configuration *config)
{
	xbdev_origins_fini(&config->origins);
}

static void finish(struct xbdev_carry *carry, const struct xu_error *err)
{
	xbdev_plan_fini(&carry->plan);
	xbdev_document_free(carry->doc);
	carry->done(carry, err);
}

static void on_applied(void *arg, const struct xu_error *err)
{
	struct xbdev_carry *carry = arg;
	struct xu_error copy = *err; /* its place is the carry's, which may be gone soon */

	if (xbdev_apply_is_over(&carry->apply)) {
		xbdev_origins_fini(&carry->config->origins);
		carry->config->origins = carry->plan.origins;
		carry->plan.origins = (struct xbdev_origins){0};
	}
	finish(carry, &copy);
}

void xbdev_configuration_carry_out(struct xbdev_configuration *config, struct xbdev_carry *carry,
	struct xbdev_ctx *ctx, enum xbdev_config_mode mode, const struct xbdev_text *text,
	void (*done)(struct xbdev_carry *carry, const struct xu_error *err))
{
	char path[XBDEV_TEXT_PATH_SIZE];
	struct xu_error err = {0};
	int rc;

	*carry = (struct xbdev_carry){.config = config, .text = text, .done = done};
	rc = xbdev_document_new(sections_of(config), text->root, &carry->doc, path, &err);
	if (rc == 0) {
		rc = xbdev_document_can(carry->doc, path, &err);
	}
	if (rc == 0) {
		rc = xbdev_plan_make(
			&carry->plan, ctx, mode, carry->doc, &config->origins, path, &err);
	}
	if (rc == 0) {
		xbdev_apply_start(&carry->apply, ctx, &carry->plan, text, on_applied, carry);
		return;
	}
	xbdev_text_fail(text, path, &err);
	finish(carry, &err);
}

int xbdev_configuration_dump(const struct xbdev_configuration *config, struct xbdev_ctx *ctx,
	char **ret_text, struct xu_error *err)
{
	struct xbdev_document *doc;
	json_t *root;
	int rc = xbdev_document_now(sections_of(config), ctx, &doc, err);

	if (rc != 0) {
		return rc;
	}
	root = xbdev_document_json(doc);
	*ret_text = root != NULL ? xbdev_config_dump(root) : NULL;
	json_decref(root);
	xbdev_document_free(doc);
	return *ret_text != NULL ? 0
				 : xu_error_set_errno(err, -ENOMEM, "writing the configuration");
}
