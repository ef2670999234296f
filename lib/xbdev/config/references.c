/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the entries of a document are to each other. First the names; then what the entries use,
 * where references become pointers and a UUID becomes the name of what it belongs to; last the
 * levels, which fail when something stands on itself.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/document.h"

/* ---- names ---- */

static struct xbdev_item *item_of(const struct xbdev_document *doc, const json_t *index)
{
	return index != NULL ? &doc->items[json_integer_value(index)] : NULL;
}

struct xbdev_item *xbdev_document_find(
	const struct xbdev_document *doc, enum xbdev_space space, const char *name_or_uuid)
{
	return item_of(doc, xbdev_config_lookup(doc->names[space], name_or_uuid));
}

/* One name or UUID of the item, which nothing else may have. */
static int add_name(struct xbdev_document *doc, struct xbdev_item *item, const char *member,
	const char *name, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	json_t *names = doc->names[item->section->space];
	const struct xbdev_item *other = item_of(doc, xbdev_config_lookup(names, name));

	if (other == NULL) {
		return xbdev_config_add_name(names, name, (size_t)(item - doc->items)) == 0
			       ? 0
			       : xu_error_set_errno(err, -ENOMEM, "checking a document");
	}
	xbdev_item_path(item, member, path);
	return xu_error_set(err, -EINVAL,
		"\"%.128s\" is not accepted: %s[%zu] is called so already; it takes one of its own",
		name, other->section->key, other->index);
}

static int check_names(
	struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	for (size_t i = 0; i < doc->nr_items; i++) {
		struct xbdev_item *item = &doc->items[i];
		const char *uuid =
			json_string_value(json_object_get(xbdev_item_members(item), "uuid"));
		int rc = add_name(doc, item, "name", item->name, path, err);

		if (rc == 0 && uuid != NULL) {
			rc = add_name(doc, item, "uuid", uuid, path, err);
		}
		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- uses ---- */

/* The provider's name takes the place of the UUID by which it may have been named. */
static int set_name(struct xbdev_item *item, const struct xbdev_use *use, const char *name)
{
	json_t *members = xbdev_item_members(item), *text;

	if (strcmp(xbdev_use_name(item, use), name) == 0) {
		return 0;
	}
	text = json_string(name);
	return use->index >= 0 ? json_array_set_new(json_object_get(members, use->key),
					 (size_t)use->index, text)
			       : json_object_set_new(members, use->key, text);
}

static int used_twice(const struct xbdev_item *item, const struct xbdev_use *use,
	const struct xbdev_item *user, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	xbdev_use_path(item, use, path);
	return xu_error_set(err, -EBUSY,
		"\"%.128s\" is not accepted: %s[%zu] '%.128s' uses it already; it takes one that "
		"nothing else uses",
		xbdev_use_name(item, use), user->section->key, user->index, user->name);
}

/* The item of the document that is meant, of whatever kind. */
static struct xbdev_item *find_provider(
	const struct xbdev_document *doc, const struct xbdev_use *use, const char *name)
{
	struct xbdev_item *provider = xbdev_document_find(doc, use->space, name);

	/* The name of a store is a part of others' names, so its UUID does not stand for it. */
	return provider != NULL && use->space == XBDEV_SPACE_STORE &&
			       strcmp(provider->name, name) != 0
		       ? NULL
		       : provider;
}

static int check_kind(const struct xbdev_item *item, const struct xbdev_use *use,
	const struct xbdev_item *provider, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const char *key = provider->section->key;

	if (use->kinds[0] == NULL || strcmp(use->kinds[0], key) == 0 ||
		(use->kinds[1] != NULL && strcmp(use->kinds[1], key) == 0)) {
		return 0;
	}
	xbdev_use_path(item, use, path);
	return xu_error_set(err, -EINVAL,
		"\"%.128s\" is not accepted: it is a %s; it takes one of: %s%s%s",
		xbdev_use_name(item, use), provider->section->one, use->kinds[0],
		use->kinds[1] != NULL ? ", " : "", use->kinds[1] != NULL ? use->kinds[1] : "");
}

/* `outside` has the users of what is not in the document. */
static int check_use(struct xbdev_document *doc, struct xbdev_item *item, struct xbdev_use *use,
	json_t *outside, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const char *name = xbdev_use_name(item, use);
	struct xbdev_item *provider = find_provider(doc, use, name), *user = NULL;
	int rc = provider != NULL ? check_kind(item, use, provider, path, err) : 0;

	if (rc != 0) {
		return rc;
	}
	use->provider = provider;
	if (use->is_exclusive) {
		user = provider != NULL ? provider->user
					: item_of(doc, xbdev_config_lookup(outside, name));
	}
	if (user != NULL) {
		return used_twice(item, use, user, path, err);
	}
	if (provider != NULL) {
		provider->user = use->is_exclusive ? item : provider->user;
		rc = set_name(item, use, provider->name);
	} else if (use->is_exclusive) {
		rc = xbdev_config_add_name(outside, name, (size_t)(item - doc->items));
	}
	return rc == 0 ? 0 : xu_error_set_errno(err, -ENOMEM, "checking a document");
}

static int check_resource(struct xbdev_document *doc, struct xbdev_item *item, json_t *resources,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	json_t *members = xbdev_item_members(item);
	const char *resource = json_string_value(json_object_get(members, item->resource_key));
	char key[PATH_MAX + 32];
	const struct xbdev_item *other;

	snprintf(key, sizeof(key), "%lld %s",
		json_integer_value(json_object_get(members, item->resource_part)), resource);
	other = item_of(doc, json_object_get(resources, key));
	if (other == NULL) {
		return json_object_set_new(
			       resources, key, json_integer((json_int_t)(item - doc->items))) == 0
			       ? 0
			       : xu_error_set_errno(err, -ENOMEM, "checking a document");
	}
	if (other->is_resource_shared && item->is_resource_shared) {
		return 0;
	}
	xbdev_item_path(item, item->resource_key, path);
	return xu_error_set(err, -EBUSY,
		"\"%.200s\" is not accepted: %s[%zu] '%.128s' uses it already; it takes one that "
		"nothing else uses, unless all are read_only",
		resource, other->section->key, other->index, other->name);
}

static int check_uses(
	struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	json_t *outside[XBDEV_NR_SPACES] = {json_object(), json_object()};
	json_t *resources = json_object();
	int rc = 0;

	for (size_t i = 0; i < doc->nr_items && rc == 0; i++) {
		struct xbdev_item *item = &doc->items[i];

		for (size_t u = 0; u < item->nr_uses && rc == 0; u++) {
			struct xbdev_use *use = &item->uses[u];

			rc = check_use(doc, item, use, outside[use->space], path, err);
		}
		if (rc == 0 && item->resource_key != NULL && !doc->is_now) {
			rc = check_resource(doc, item, resources, path, err);
		}
	}
	for (size_t s = 0; s < XBDEV_NR_SPACES; s++) {
		json_decref(outside[s]);
	}
	json_decref(resources);
	return rc;
}

/* ---- levels ---- */

#define LEVEL_UNKNOWN UINT32_MAX

/* The level of an item whose providers' are known; LEVEL_UNKNOWN: one is not. */
static uint32_t level_of(const struct xbdev_item *item)
{
	uint32_t level = 0;

	for (size_t u = 0; u < item->nr_uses; u++) {
		const struct xbdev_item *provider = item->uses[u].provider;

		if (provider != NULL && provider->level == LEVEL_UNKNOWN) {
			return LEVEL_UNKNOWN;
		}
		if (provider != NULL && provider->level >= level) {
			level = provider->level + 1;
		}
	}
	return level;
}

/* The first use whose provider has this level or none. */
static const struct xbdev_use *use_of_level(const struct xbdev_item *item, uint32_t level)
{
	const struct xbdev_use *use = item->uses;

	while (use->provider == NULL || use->provider->level < level) {
		use++;
	}
	return use;
}

/* The item stands on the highest level that there may be. */
static int too_high(const struct xbdev_item *item, uint32_t nr_levels,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const struct xbdev_use *use = use_of_level(item, nr_levels - 1);

	xbdev_use_path(item, use, path);
	return xu_error_set(err, -EINVAL,
		"\"%.128s\" is not accepted: more than %u would stand on each other",
		xbdev_use_name(item, use), XBDEV_CONFIG_MAX_DEPTH);
}

/* Going down from the item leads into a circle, at the latest after as many steps as there are
 * items. */
static int in_circle(const struct xbdev_item *item, size_t nr_items,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const struct xbdev_use *use;

	for (size_t i = 0; i < nr_items; i++) {
		item = use_of_level(item, LEVEL_UNKNOWN)->provider;
	}
	use = use_of_level(item, LEVEL_UNKNOWN);
	xbdev_use_path(item, use, path);
	return xu_error_set(err, -EINVAL,
		"\"%.128s\" is not accepted: '%.128s' would stand on itself; it takes something "
		"that does not need it",
		xbdev_use_name(item, use), item->name);
}

/* One level in each round, so the rounds are bounded as the levels are. */
static int find_levels(
	struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	size_t nr_left = doc->nr_items, nr_found = 1;

	for (size_t i = 0; i < doc->nr_items; i++) {
		doc->items[i].level = LEVEL_UNKNOWN;
	}
	while (nr_left != 0 && nr_found != 0 && doc->nr_levels < XBDEV_CONFIG_MAX_DEPTH) {
		nr_found = 0;
		for (size_t i = 0; i < doc->nr_items; i++) {
			struct xbdev_item *item = &doc->items[i];

			if (item->level == LEVEL_UNKNOWN && level_of(item) == doc->nr_levels) {
				item->level = doc->nr_levels;
				nr_found++;
			}
		}
		nr_left -= nr_found;
		doc->nr_levels += nr_found != 0;
	}
	for (size_t i = 0; i < doc->nr_items && nr_left != 0; i++) {
		if (doc->items[i].level == LEVEL_UNKNOWN) {
			return nr_found == 0 ? in_circle(&doc->items[i], doc->nr_items, path, err)
					     : too_high(&doc->items[i], doc->nr_levels, path, err);
		}
	}
	return 0;
}

int xbdev__document_link(
	struct xbdev_document *doc, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	int rc = check_names(doc, path, err);

	if (rc == 0) {
		rc = check_uses(doc, path, err);
	}
	return rc == 0 ? find_levels(doc, path, err) : rc;
}
