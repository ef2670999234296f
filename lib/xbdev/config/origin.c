/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of what a configuration has made. All that can fail is done before a plan begins. */
#include "lib/xbdev/config/origin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/config/devices.h"

int xbdev_origins_init(struct xbdev_origins *origins, size_t size)
{
	*origins = (struct xbdev_origins){.size = size};
	origins->all = calloc(size + 1, sizeof(*origins->all));
	for (size_t s = 0; s < XBDEV_NR_SPACES; s++) {
		origins->names[s] = json_object();
	}
	return origins->all != NULL && origins->names[XBDEV_SPACE_DEVICE] != NULL &&
			       origins->names[XBDEV_SPACE_STORE] != NULL
		       ? 0
		       : -ENOMEM;
}

void xbdev_origins_fini(struct xbdev_origins *origins)
{
	for (size_t i = 0; i < origins->count; i++) {
		free(origins->all[i].name);
		json_decref(origins->all[i].entry);
		json_decref(origins->all[i].chosen);
	}
	for (size_t s = 0; s < XBDEV_NR_SPACES; s++) {
		json_decref(origins->names[s]);
	}
	free(origins->all);
	*origins = (struct xbdev_origins){0};
}

static void set_uuid(struct xbdev_origin *origin, const char *uuid)
{
	origin->uuid[0] = '\0';
	if (uuid != NULL && strlen(uuid) < sizeof(origin->uuid)) {
		memcpy(origin->uuid, uuid, strlen(uuid) + 1);
	}
}

int xbdev_origins_add(
	struct xbdev_origins *origins, const struct xbdev_origin *origin, const char *uuid)
{
	struct xbdev_origin *added = &origins->all[origins->count];
	char *name = strdup(origin->name);

	if (name == NULL || xbdev_config_add_name(origins->names[origin->section->space], name,
				    origins->count) != 0) {
		free(name);
		return -ENOMEM;
	}
	*added = *origin;
	added->name = name;
	json_incref(added->entry);
	json_incref(added->chosen);
	set_uuid(added, uuid);
	origins->count++;
	return 0;
}

const struct xbdev_origin *xbdev_origins_find(
	const struct xbdev_origins *origins, const struct xbdev_item *now)
{
	json_t *index = xbdev_config_lookup(origins->names[now->section->space], now->name);
	const char *uuid = json_string_value(json_object_get(xbdev_item_members(now), "uuid"));
	const struct xbdev_origin *origin;

	if (index == NULL) {
		return NULL;
	}
	origin = &origins->all[json_integer_value(index)];
	return xbdev_section_is_kin(origin->section, now->section) &&
			       strcmp(origin->uuid, uuid != NULL ? uuid : "") == 0
		       ? origin
		       : NULL;
}

void xbdev_origins_settle(struct xbdev_origins *origins)
{
	for (size_t i = 0; i < origins->count; i++) {
		struct xbdev_origin *origin = &origins->all[i];

		if (origin->made_by != NULL) {
			set_uuid(origin,
				json_string_value(json_object_get(
					xbdev_section_members(origin->section, origin->made_by->to),
					"uuid")));
			origin->made_by = NULL;
		}
	}
}
