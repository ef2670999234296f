/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One entry is planned and carried out as one of a document of libxbdev is (lib/xbdev/config): what
 * is there is compared, and changed where nothing is lost by that; what is not is made, once. What
 * was there and is no more is not made anew: its place may have been lost, and an empty volume in
 * place of one with data would hide that.
 */
#include "daemon/xsand/lvol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/config_lvol.h"
#include "lib/util/error.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/apply.h"
#include "lib/xbdev/config/volume.h"
#include "lib/xbdev/lvol/stores.h"

struct making {
	struct xbdev_ctx *ctx;
	const struct xbdev_section *section;
	char *name;
	json_t *entry; /* the caller's */
	json_t *words, *older;
	struct xbdev_job job;
	struct xbdev_plan plan; /* of this job */
	struct xbdev_apply apply;
	void (*done)(void *arg, const struct xu_error *err);
	void *arg;
};

static bool is_store(const struct making *making)
{
	return making->section == &xbdev__section_lvol_stores;
}

/* The UUID of what has this name now; false: there is none. */
static bool find(const struct making *making, struct xu_uuid *ret_uuid)
{
	const struct xbdev_lvol_store *store;
	const struct xbdev_lvol *volume;
	struct xbdev_lvol_store_info store_info;
	struct xbdev_lvol_info info;

	if (is_store(making)) {
		store = xbdev__lvol_store_find(making->ctx, making->name);
		if (store != NULL) {
			xbdev__lvol_store_info(store, &store_info);
			*ret_uuid = store_info.uuid;
		}
		return store != NULL;
	}
	volume = xbdev__lvol_find(making->ctx, making->name);
	if (volume != NULL) {
		xbdev__lvol_info(volume, &info);
		*ret_uuid = info.uuid;
	}
	return volume != NULL;
}

static void end(struct making *making, const struct xu_error *err)
{
	void (*done)(void *arg, const struct xu_error *err) = making->done;
	struct xu_error copy = *err;
	char text[XU_UUID_TEXT_SIZE];
	void *arg = making->arg;
	struct xu_uuid uuid;

	if (copy.code == 0 && find(making, &uuid)) {
		xu_uuid_format(&uuid, text);
		if (config_lvol_pin(making->entry, text) != 0) {
			xu_error_set_errno(&copy, -ENOMEM, "remembering '%s'", making->name);
		}
	}
	if (making->job.section != NULL && making->section->forget != NULL) {
		making->section->forget(&making->job);
	}
	json_decref(making->job.to);
	json_decref(making->words);
	json_decref(making->older);
	free(making->name);
	free(making);
	done(arg, &copy);
}

static void on_applied(void *arg, const struct xu_error *err)
{
	end(arg, err);
}

/* What is to be done; the answer is in the planning, the error too. */
static int plan(struct making *making, struct xbdev_planning *planning)
{
	struct xbdev_item wanted = {
		.section = making->section, .name = making->name, .entry = making->words};
	struct xu_uuid uuid;

	planning->wanted = &wanted;
	planning->now = find(making, &uuid) ? &wanted : NULL;
	planning->was = making->older;
	return making->section->plan(planning);
}

static void run(struct making *making, enum xbdev_config_mode mode)
{
	struct xu_error err = {0};
	struct xbdev_planning planning = {.ctx = making->ctx, .mode = mode, .err = &err};
	int rc = plan(making, &planning);

	if (rc == 0 && planning.action == XBDEV_ACTION_REMAKE) {
		rc = xu_error_set(&err, -EEXIST,
			"another device holds a store '%s'; detach or "
			"rename that one first",
			making->name);
	}
	if (rc != 0 || planning.action == XBDEV_ACTION_NONE) {
		json_decref(planning.to);
		end(making, &err);
		return;
	}
	making->job = (struct xbdev_job){
		.ctx = making->ctx,
		.section = making->section,
		.mode = mode,
		.action = planning.action,
		.name = making->name,
		.to = planning.to,
		.path = "",
	};
	making->plan = (struct xbdev_plan){.jobs = &making->job, .nr_jobs = 1};
	xbdev_apply_start(&making->apply, making->ctx, &making->plan, NULL, on_applied, making);
}

/* What has been carried out: the whole entry, or an older one. */
static json_t *older_words(const json_t *entry, const json_t *older)
{
	if (json_is_true(json_object_get(entry, "applied"))) {
		return config_lvol_words(entry);
	}
	return older != NULL ? config_lvol_words(older) : NULL;
}

void lvol_make(struct xbdev_ctx *ctx, const char *list, const char *name, json_t *entry,
	const json_t *older, void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	bool may_be_made = !json_is_false(json_object_get(entry, "create"));
	struct making *making = calloc(1, sizeof(*making));
	struct xu_uuid uuid;
	struct xu_error err;

	if (making != NULL) {
		making->ctx = ctx;
		making->section = config_lvol_section(list);
		making->name = strdup(name);
		making->entry = entry;
		making->words = config_lvol_words(entry);
		making->older = older_words(entry, older);
		making->done = done;
		making->arg = arg;
	}
	if (making == NULL || making->name == NULL || making->words == NULL) {
		if (making != NULL) {
			free(making->name);
			json_decref(making->words);
			json_decref(making->older);
		}
		free(making);
		xu_error_set_errno(&err, -ENOMEM, "making '%s'", name);
		done(arg, &err);
		return;
	}
	/* What may not be made can only be loaded, but what is there can be changed. */
	run(making, may_be_made || find(making, &uuid) ? XBDEV_CONFIG_APPLY : XBDEV_CONFIG_LOAD);
}
