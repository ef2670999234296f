/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking a document: first each entry for itself, by its section, then all of them together
 * (references.c). The first error ends it.
 */
#include "lib/xbdev/config/document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- paths ---- */

void xbdev_item_path(
	const struct xbdev_item *item, const char *member, char path[XBDEV_TEXT_PATH_SIZE])
{
	bool is_param = item->section->is_call && member != NULL && strcmp(member, "method") != 0;

	snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s[%zu]%s%s%s", item->section->key, item->index,
		is_param ? ".params" : "", member != NULL ? "." : "", member != NULL ? member : "");
}

void xbdev_use_path(
	const struct xbdev_item *item, const struct xbdev_use *use, char path[XBDEV_TEXT_PATH_SIZE])
{
	char member[64];

	if (use->index >= 0) {
		snprintf(member, sizeof(member), "%s[%zd]", use->key, use->index);
	} else {
		snprintf(member, sizeof(member), "%s", use->key);
	}
	xbdev_item_path(item, member, path);
}

/* ---- shape ---- */

/* A value nested too deeply; the library's own recursions go as deep as the document does. */
static bool is_too_deep(const json_t *value, uint32_t depth)
{
	const char *key;
	json_t *inner;
	size_t i;

	if (depth > XBDEV_DOCUMENT_MAX_NESTING) {
		return true;
	}
	json_object_foreach ((json_t *)value, key, inner) {
		if (is_too_deep(inner, depth + 1)) {
			return true;
		}
	}
	json_array_foreach (value, i, inner) {
		if (is_too_deep(inner, depth + 1)) {
			return true;
		}
	}
	return false;
}

static int check_root(const struct xbdev_section *const *sections, json_t *root, size_t max_items,
	size_t *ret_count, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	char names[256] = "";
	const char *key;
	json_t *list;
	size_t count = 0, i;

	for (i = 0; sections[i] != NULL; i++) {
		size_t len = strlen(names);

		snprintf(names + len, sizeof(names) - len, "%s%s", i == 0 ? "" : ", ",
			sections[i]->key);
	}
	if (!json_is_object(root)) {
		return xu_error_set(
			err, -EINVAL, "a document is an object { … } with lists of: %s", names);
	}
	json_object_foreach (root, key, list) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s", key);
		for (i = 0; sections[i] != NULL && strcmp(sections[i]->key, key) != 0; i++) {
		}
		if (is_too_deep(list, 1)) {
			return xu_error_set(err, -EINVAL,
				"there are more than %u values in each other here",
				XBDEV_DOCUMENT_MAX_NESTING);
		}
		if (key[0] == '_') {
			continue;
		}
		if (sections[i] == NULL) {
			return xu_error_set(err, -EINVAL, "'%.64s' is not known here; accepted: %s",
				key, names);
		}
		if (!json_is_array(list)) {
			return xu_error_set(err, -EINVAL, "a list [ … ] of entries is needed here");
		}
		count += json_array_size(list);
		if (count > max_items) {
			return xu_error_set(err, -EINVAL,
				"with this list there are %zu entries; a document takes %zu", count,
				max_items);
		}
	}
	path[0] = '\0';
	*ret_count = count;
	return 0;
}

static int check_entry(struct xbdev_item *item, json_t *entry, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	char inner[XBDEV_TEXT_PATH_SIZE] = "";
	const char *name;
	int rc;

	if (!json_is_object(entry)) {
		xbdev_item_path(item, NULL, path);
		return xu_error_set(err, -EINVAL, "an entry is an object { … }");
	}
	rc = item->section->check(entry, item, inner, err);
	if (rc == 0 && item->nr_uses > XBDEV_DOCUMENT_MAX_USES) {
		rc = xu_error_set(err, -EINVAL, "it uses %zu others; it takes %u", item->nr_uses,
			XBDEV_DOCUMENT_MAX_USES);
	}
	if (rc != 0) {
		name = strrchr(inner, '.');
		xbdev_text_strip_name(err, name != NULL ? name + 1 : inner);
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s[%zu]%s%.300s", item->section->key,
			item->index, inner[0] != '\0' ? "." : "", inner);
	}
	return rc;
}

static int check_entries(struct xbdev_document *doc, json_t *root, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	json_t *entry;
	size_t index;

	for (size_t s = 0; doc->sections[s] != NULL; s++) {
		json_t *list = json_object_get(root, doc->sections[s]->key);

		json_array_foreach (list, index, entry) {
			struct xbdev_item *item = &doc->items[doc->nr_items++];
			int rc;

			item->section = doc->sections[s];
			item->index = index;
			rc = check_entry(item, entry, path, err);
			if (rc != 0) {
				return rc;
			}
		}
	}
	return 0;
}

/* ---- the whole ---- */

/* What there is now is not judged by what is accepted in a document. */
static int new_document(const struct xbdev_section *const *sections, json_t *root, bool is_now,
	struct xbdev_document **ret_doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	struct xbdev_document *doc;
	size_t count;
	int rc;

	path[0] = '\0';
	rc = check_root(
		sections, root, is_now ? SIZE_MAX : XBDEV_DOCUMENT_MAX_ITEMS, &count, path, err);
	if (rc != 0) {
		return rc;
	}
	doc = calloc(1, sizeof(*doc));
	if (doc != NULL) {
		doc->sections = sections;
		doc->is_now = is_now;
		doc->items = calloc(count + 1, sizeof(*doc->items));
		for (size_t s = 0; s < XBDEV_NR_SPACES; s++) {
			doc->names[s] = json_object();
		}
	}
	if (doc == NULL || doc->items == NULL || doc->names[XBDEV_SPACE_DEVICE] == NULL ||
		doc->names[XBDEV_SPACE_STORE] == NULL) {
		xbdev_document_free(doc);
		return xu_error_set_errno(err, -ENOMEM, "checking a document");
	}
	rc = check_entries(doc, root, path, err);
	if (rc == 0) {
		rc = xbdev__document_link(doc, path, err);
	}
	if (rc != 0) {
		xbdev_document_free(doc);
		return rc;
	}
	*ret_doc = doc;
	return 0;
}

int xbdev_document_new(const struct xbdev_section *const *sections, json_t *root,
	struct xbdev_document **ret_doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	return new_document(sections, root, false, ret_doc, path, err);
}

void xbdev_document_free(struct xbdev_document *doc)
{
	if (doc == NULL) {
		return;
	}
	for (size_t i = 0; i < doc->nr_items; i++) {
		free(doc->items[i].name);
		free(doc->items[i].uses);
		json_decref(doc->items[i].entry);
	}
	for (size_t s = 0; s < XBDEV_NR_SPACES; s++) {
		json_decref(doc->names[s]);
	}
	free(doc->items);
	free(doc);
}

int xbdev_document_can(
	const struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	for (size_t i = 0; i < doc->nr_items; i++) {
		const struct xbdev_item *item = &doc->items[i];
		char inner[XBDEV_TEXT_PATH_SIZE] = "";
		int rc = 0;

		if (item->section->can != NULL) {
			rc = item->section->can(item, inner, err);
		}
		if (rc != 0) {
			snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s[%zu]%s%.300s", item->section->key,
				item->index, inner[0] != '\0' ? "." : "", inner);
			return rc;
		}
	}
	return 0;
}

json_t *xbdev_document_json(const struct xbdev_document *doc)
{
	json_t *root = json_object(), *list;
	int rc = root == NULL ? -1 : 0;

	for (size_t i = 0; i < doc->nr_items && rc == 0; i++) {
		const struct xbdev_item *item = &doc->items[i];

		list = json_object_get(root, item->section->key);
		if (list == NULL) {
			list = json_array();
			rc = json_object_set_new(root, item->section->key, list);
		}
		rc |= json_array_append(list, item->entry);
	}
	if (rc != 0) {
		json_decref(root);
		return NULL;
	}
	return root;
}

int xbdev_document_now(const struct xbdev_section *const *sections, struct xbdev_ctx *ctx,
	struct xbdev_document **ret_doc, struct xu_error *err)
{
	char path[XBDEV_TEXT_PATH_SIZE];
	json_t *root = json_object();
	int rc = root == NULL ? -ENOMEM : 0;

	for (size_t s = 0; sections[s] != NULL && rc == 0; s++) {
		json_t *list = json_array();

		if (json_object_set_new(root, sections[s]->key, list) != 0) {
			rc = -ENOMEM;
		} else if (sections[s]->save != NULL) {
			rc = sections[s]->save(ctx, list, err);
		}
	}
	if (rc == -ENOMEM) {
		xu_error_set_errno(err, rc, "describing the devices");
	} else if (rc == 0) {
		rc = new_document(sections, root, true, ret_doc, path, err);
		if (rc != 0) {
			xu_error_prefix(err, "describing the devices that there are: %s", path);
		}
	}
	json_decref(root);
	return rc;
}
