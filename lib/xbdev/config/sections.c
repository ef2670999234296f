/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of sections, and what they share in checking and describing their entries. */
#include "lib/xbdev/config/section.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/param.h"
#include "lib/xbdev/core/device.h"

const struct xbdev_section *const xbdev_sections[] = {
	&xbdev__section_base,
	&xbdev__section_raid,
	&xbdev__section_lvol_stores,
	&xbdev__section_lvol_volumes,
	&xbdev__section_snapshots,
	&xbdev__section_clones,
	NULL,
};

int xbdev_item_set(struct xbdev_item *item, const char *name, json_t *entry, struct xu_error *err)
{
	item->entry = entry;
	item->name = name != NULL ? strdup(name) : NULL;
	return entry != NULL && item->name != NULL
		       ? 0
		       : xu_error_set_errno(err, -ENOMEM, "checking a document");
}

int xbdev_item_use(struct xbdev_item *item, const char *key, ssize_t index, enum xbdev_space space,
	bool is_exclusive, struct xu_error *err)
{
	struct xbdev_use *uses;

	if ((item->nr_uses & (item->nr_uses + 1)) == 0) { /* full: 0, 1, 3, 7 … */
		uses = realloc(item->uses, (2 * item->nr_uses + 1) * sizeof(*uses));
		if (uses == NULL) {
			return xu_error_set_errno(err, -ENOMEM, "checking a document");
		}
		item->uses = uses;
	}
	item->uses[item->nr_uses++] = (struct xbdev_use){
		.key = key, .index = index, .space = space, .is_exclusive = is_exclusive};
	return 0;
}

json_t *xbdev_section_members(const struct xbdev_section *section, const json_t *entry)
{
	return section->is_call ? json_object_get(entry, "params") : (json_t *)entry;
}

json_t *xbdev_item_members(const struct xbdev_item *item)
{
	return xbdev_section_members(item->section, item->entry);
}

const char *xbdev_use_name(const struct xbdev_item *item, const struct xbdev_use *use)
{
	json_t *value = json_object_get(xbdev_item_members(item), use->key);

	return json_string_value(
		use->index >= 0 ? json_array_get(value, (size_t)use->index) : value);
}

struct call {
	const char *method;
	json_t *params;
};

static const struct xu_param call_params[] = {
	{"method", XU_PARAM_STRING, offsetof(struct call, method), .is_required = true,
		.help = "the kind of device"},
	{"params", XU_PARAM_JSON, offsetof(struct call, params), .is_required = true,
		.help = "an object { … } with its parameters"},
	{0},
};

int xbdev_section_check_call(json_t *entry, const char **ret_method, json_t **ret_params,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	char inner[XU_PARAM_PATH_SIZE];
	struct call call = {0};
	int rc = xu_params_parse(call_params, &call, entry, inner, err);

	if (rc != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "%s", inner);
		return rc;
	}
	if (!json_is_object(call.params)) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params");
		return xu_error_set(err, -EINVAL, "an object { … } is needed here");
	}
	*ret_method = call.method;
	*ret_params = call.params;
	return 0;
}

int xbdev_section_check_name(const char *name, bool is_part, struct xu_error *err)
{
	if (strlen(name) >= XBDEV_NAME_SIZE) {
		return xu_error_set(err, -EINVAL, "it has %zu characters; it takes 1 to %u",
			strlen(name), XBDEV_NAME_SIZE - 1);
	}
	for (const char *c = name; *c != '\0'; c++) {
		if (*c <= ' ' || *c > '~') {
			return xu_error_set(err, -EINVAL,
				"byte %td is a space, a control character or not ASCII; it takes "
				"printable ASCII",
				c - name + 1);
		}
		if (is_part && *c == '/') {
			return xu_error_set(err, -EINVAL,
				"\"%.64s\" is not accepted; it takes a name without '/', which "
				"stands between a store and what is in it",
				name);
		}
	}
	return 0;
}
