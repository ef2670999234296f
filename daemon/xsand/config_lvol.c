/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores of logical volumes and volumes in a configuration: the entries of libxbdev's documents
 * (lib/xbdev/config), with two members of the node's own. Both are noted when it has been made or
 * found:
 *
 *	create   false: it is never made again, for it was there; then something is missing
 *	applied  true: what the entry says has been carried out; an edit of the file has it no more
 */
#include "daemon/xsand/config_lvol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/model.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/document.h"

#define NR_OWN 2u
static const char *const own_members[NR_OWN] = {"create", "applied"};

static const struct xbdev_section *const sections[] = {
	&xbdev__section_lvol_stores, &xbdev__section_lvol_volumes, NULL};

const struct xbdev_section *config_lvol_section(const char *list)
{
	for (size_t i = 0; sections[i] != NULL; i++) {
		if (strcmp(sections[i]->key, list) == 0) {
			return sections[i];
		}
	}
	return NULL;
}

json_t *config_lvol_words(const json_t *entry)
{
	json_t *words = xbdev_config_copy(entry);

	for (size_t i = 0; words != NULL && i < NR_OWN; i++) {
		json_object_del(words, own_members[i]);
	}
	return words;
}

/* ---- one entry ---- */

static void item_fini(struct xbdev_item *item)
{
	free(item->name);
	free(item->uses);
	json_decref(item->entry);
}

json_t *config_lvol_canonical(const char *list, const json_t *entry, char key[MODEL_KEY_SIZE])
{
	json_t *words = config_lvol_words(entry), *canonical = NULL;
	struct xbdev_item item = {0};
	char path[XBDEV_TEXT_PATH_SIZE];
	struct xu_error err;
	int rc = words != NULL ? config_lvol_section(list)->check(words, &item, path, &err) : -1;

	if (rc == 0) {
		canonical = json_incref(item.entry);
		snprintf(key, MODEL_KEY_SIZE, "%s", item.name);
		for (size_t i = 0; i < NR_OWN; i++) {
			json_t *value = json_object_get(entry, own_members[i]);

			rc |= value != NULL ? json_object_set(canonical, own_members[i], value) : 0;
		}
	}
	item_fini(&item);
	json_decref(words);
	if (rc != 0) {
		json_decref(canonical);
		return NULL;
	}
	return canonical;
}

int config_lvol_pin(json_t *entry, const char *uuid)
{
	return json_object_set_new(entry, "uuid", json_string(uuid)) |
	       json_object_set_new(entry, "create", json_false()) |
	       json_object_set_new(entry, "applied", json_true());
}

int config_lvol_keep(json_t *entry, const json_t *older)
{
	static const char *const kept[] = {"uuid", "create"};
	int rc = 0;

	for (size_t i = 0; i < 2; i++) {
		json_t *value = json_object_get(older, kept[i]);

		if (value != NULL && json_object_get(entry, kept[i]) == NULL) {
			rc |= json_object_set(entry, kept[i], value);
		}
	}
	return rc == 0 ? 0 : -ENOMEM;
}

/* ---- checking ---- */

/* The lists without what is ours. */
static int add_words(struct check *c, json_t *root, const char *key, json_t *list)
{
	json_t *copy = json_array(), *entry;
	char path[CONFIG_PATH_SIZE];
	int rc = copy == NULL ? -ENOMEM : 0;
	size_t i;

	if (!json_is_array(list)) {
		json_decref(copy);
		return check_fail(c, key, "a list [ … ] is needed here");
	}
	json_array_foreach (list, i, entry) {
		for (size_t m = 0; rc == 0 && json_is_object(entry) && m < NR_OWN; m++) {
			const json_t *value = json_object_get(entry, own_members[m]);

			if (value != NULL && !json_is_boolean(value)) {
				check_path(path, "%s[%zu].%s", key, i, own_members[m]);
				rc = check_fail(c, path, "true or false is needed here");
			}
		}
		if (rc == 0) {
			rc = json_array_append_new(copy, json_is_object(entry)
								 ? config_lvol_words(entry)
								 : json_incref(entry)) == 0
				     ? 0
				     : -ENOMEM;
		}
	}
	if (rc == 0 && json_object_set(root, key, copy) != 0) {
		rc = -ENOMEM;
	}
	json_decref(copy);
	return rc;
}

/* What the store is on: a device of the list that nothing else stands on, or a volume. */
static int check_base(struct check *c, const struct xbdev_item *store, json_t *devices)
{
	const char *base = json_string_value(json_object_get(store->entry, "base_bdev"));
	json_t *entry, *found = NULL;
	char path[CONFIG_PATH_SIZE];
	size_t i;

	check_path(path, "lvol_stores[%zu].base_bdev", store->index);
	json_array_foreach (devices, i, entry) {
		if (xbdev_config_is_called(entry, base)) {
			found = entry;
		}
	}
	if (found == NULL && !model_is_volume_name(base)) {
		return check_fail(c, path,
			"there is no device '%.64s'; name one of the list \"devices\", or a "
			"logical volume as STORE/VOLUME",
			base);
	}
	json_array_foreach (devices, i, entry) {
		if (found != NULL && xbdev_config_stands_on(entry, found)) {
			return check_fail(c, path,
				"'%.64s' is used by devices[%zu] already; a device has one user",
				base, i);
		}
	}
	return 0;
}

static int check_bases(struct check *c, const struct xbdev_document *doc, json_t *devices)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < doc->nr_items; i++) {
		if (doc->items[i].section == &xbdev__section_lvol_stores) {
			rc = check_base(c, &doc->items[i], devices);
		}
	}
	return rc;
}

int check_lvol(struct check *c, json_t *stores, json_t *volumes, json_t *devices)
{
	json_t *root = json_object();
	struct xbdev_document *doc;
	int rc = root == NULL ? -ENOMEM : 0;

	if (rc == 0 && stores != NULL) {
		rc = add_words(c, root, "lvol_stores", stores);
	}
	if (rc == 0 && volumes != NULL) {
		rc = add_words(c, root, "lvol_volumes", volumes);
	}
	if (rc == 0) {
		const char *name;

		rc = xbdev_document_new(sections, root, &doc, c->path, c->err);
		if (rc == -EBUSY) {
			rc = c->err->code = -EINVAL; /* used twice */
		}
		name = rc != 0 ? strrchr(c->path, '.') : NULL;
		if (name != NULL) {
			xbdev_text_strip_name(c->err, name + 1);
		}
		if (rc == 0) {
			rc = check_bases(c, doc, devices);
			xbdev_document_free(doc);
		}
	}
	json_decref(root);
	return rc == -ENOMEM ? xu_error_set_errno(c->err, rc, "checking the configuration") : rc;
}
