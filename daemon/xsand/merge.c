/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The merge walks the three models together. Devices, namespaces and listeners are taken whole;
 * above them it goes member by member. Afterwards the parts from two hands may not fit together (a
 * run-time namespace on a device that the operator has deleted), which is put right in favour of
 * the file, with a note for each thing that goes.
 */
#include "daemon/xsand/merge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "daemon/xsand/config_lvol.h"
#include "daemon/xsand/model.h"
#include "lib/util/error.h"
#include "lib/xbdev/config/devices.h"

#define PLACE_SIZE 512u

struct merge {
	const json_t *file;
	json_t *notes;
	bool is_out_of_memory;
};

static void note(struct merge *m, json_t *text)
{
	if (json_array_append_new(m->notes, text) != 0) {
		m->is_out_of_memory = true;
	}
}

/* ---- one value ---- */

static bool is_lvol(const char *parent)
{
	return strcmp(parent, "lvol_stores") == 0 || strcmp(parent, "lvol_volumes") == 0;
}

/* Objects whose members are not merged: those found by name in these. */
static bool is_whole(const char *parent)
{
	return strcmp(parent, "devices") == 0 || strcmp(parent, "namespaces") == 0 ||
	       strcmp(parent, "listeners") == 0 || is_lvol(parent);
}

static json_t *copy_of(struct merge *m, const json_t *value)
{
	json_t *copy = xbdev_config_copy(value);

	m->is_out_of_memory |= copy == NULL;
	return copy;
}

/* What the operator wrote, with the identity that it had. */
static json_t *take_file(struct merge *m, const json_t *file, const json_t *current, bool is_device)
{
	json_t *copy = copy_of(m, file);

	if (copy != NULL && is_device && current != NULL && xbdev_config_keep(copy, current) != 0) {
		m->is_out_of_memory = true;
	}
	return copy;
}

/* Equal, when what only `current` has of an identity is left aside. */
static bool is_same(struct merge *m, const json_t *file, const json_t *current, bool is_device)
{
	json_t *copy;
	bool result;

	if (model_equal(file, current)) {
		return true;
	}
	if (!is_device || file == NULL || current == NULL) {
		return false;
	}
	copy = take_file(m, file, current, true);
	result = model_equal(copy, current);
	json_decref(copy);
	return result;
}

/* The same of a store or volume, which only the file has words for: the run time changes no entry,
 * but what is on the disk. */
static json_t *take_lvol(struct merge *m, const json_t *file, const json_t *current)
{
	json_t *copy = file != NULL ? copy_of(m, file) : NULL;

	if (copy != NULL && current != NULL && config_lvol_keep(copy, current) != 0) {
		m->is_out_of_memory = true;
	}
	return copy;
}

static json_t *merge_value(struct merge *m, const char *place, const char *parent, json_t *base,
	json_t *file, json_t *current);

/* Member by member: those of the file first, then what only the run time has. */
static json_t *merge_members(struct merge *m, const char *place, const char *name, json_t *base,
	json_t *file, json_t *current)
{
	json_t *const sides[] = {file, current};
	json_t *object = json_object(), *value;
	char inner[PLACE_SIZE];
	const char *key;

	m->is_out_of_memory |= object == NULL;
	for (size_t i = 0; i < 2; i++) {
		json_object_foreach (sides[i], key, value) {
			json_t *merged;

			if (i == 1 && json_object_get(file, key) != NULL) {
				continue;
			}
			snprintf(inner, sizeof(inner), "%s%s%s", place, place[0] != '\0' ? " " : "",
				key);
			merged = merge_value(m, inner, name, json_object_get(base, key),
				json_object_get(file, key), json_object_get(current, key));
			if (merged != NULL && json_object_set_new(object, key, merged) != 0) {
				m->is_out_of_memory = true;
			}
		}
	}
	return object;
}

/* The merged value as a new reference; NULL: it is not to be. */
static json_t *merge_value(struct merge *m, const char *place, const char *parent, json_t *base,
	json_t *file, json_t *current)
{
	bool is_device = strcmp(parent, "devices") == 0;
	const char *name = strrchr(place, ' ');

	name = name != NULL ? name + 1 : place;
	if (json_is_object(file) && json_is_object(current) && !is_whole(parent)) {
		return merge_members(m, place, name, base, file, current);
	}
	if (model_equal(file, base)) {
		return current != NULL ? copy_of(m, current) : NULL;
	}
	if (is_lvol(parent)) {
		return take_lvol(m, file, current);
	}
	if (!is_same(m, base, current, is_device) && !is_same(m, file, current, is_device)) {
		note(m, json_sprintf("%s: the configuration file has been edited; its word "
				     "replaces the change made at run time",
				place));
	}
	return file != NULL ? take_file(m, file, current, is_device) : NULL;
}

/* ---- making it fit ---- */

static bool is_in_file(const struct merge *m, const char *nqn, const char *nsid)
{
	json_t *subsystem = model_subsystem(m->file, nqn);

	return json_object_get(json_object_get(subsystem, "namespaces"), nsid) != NULL;
}

/* Brings a device of the file back that was deleted at run time, for something in the file needs
 * it.
 */
static bool restore_device(struct merge *m, json_t *model, const char *name_or_uuid)
{
	json_t *entry = model_find_device(m->file, name_or_uuid);
	const char *name = json_string_value(json_object_get(entry, "name"));

	if (entry == NULL || json_object_get(model_devices(model), name) != NULL) {
		return false;
	}
	m->is_out_of_memory |=
		json_object_set_new(model_devices(model), name, copy_of(m, entry)) != 0;
	note(m, json_sprintf("devices %s: it was deleted at run time and is back, because the "
			     "edited configuration file uses it",
			name));
	return true;
}

/* What becomes of a device without one of its bases; true: something has changed. */
static bool fit_base(struct merge *m, json_t *model, const char *name, json_t *entry, size_t nth)
{
	const char *base = xbdev_config_base_at(entry, nth);

	if (model_find_device(model, base) != NULL) {
		return false;
	}
	if (json_object_get(model_devices(m->file), name) != NULL &&
		restore_device(m, model, base)) {
		return true;
	}
	if (xbdev_config_is_array(entry) && xbdev_config_nr_bases(entry) > 1) {
		note(m, json_sprintf("devices %s: it goes on without its member %s, which is gone "
				     "from the configuration file",
				name, base));
		m->is_out_of_memory |= model_drop_member(entry, nth) != 0;
		return true;
	}
	note(m, json_sprintf("devices %s: dropped, because its base %s is gone from "
			     "the configuration file",
			name, base));
	json_object_del(model_devices(model), name);
	return true;
}

/* Devices whose base is not there; a base that comes back may need one itself. */
static void fit_bases(struct merge *m, json_t *model)
{
	json_t *devices = model_devices(model), *entry;
	bool is_changed = true;
	const char *name;
	void *tmp;

	while (is_changed) {
		is_changed = false;
		json_object_foreach_safe (devices, tmp, name, entry) {
			for (size_t nth = 0; !is_changed && nth < xbdev_config_nr_bases(entry);
				nth++) {
				is_changed = fit_base(m, model, name, entry, nth);
			}
			if (is_changed) {
				break; /* the entry may be gone */
			}
		}
	}
}

/* Calls `fn` for every namespace; it may delete that one. */
static void each_namespace(struct merge *m, json_t *model,
	void (*fn)(struct merge *m, json_t *model, const char *nqn, json_t *namespaces,
		const char *nsid, json_t *ns))
{
	json_t *subsystem, *namespaces, *ns;
	const char *nqn, *nsid;
	void *tmp;

	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		namespaces = json_object_get(subsystem, "namespaces");
		json_object_foreach_safe (namespaces, tmp, nsid, ns) {
			fn(m, model, nqn, namespaces, nsid, ns);
		}
	}
}

static void drop_namespace(
	struct merge *m, const char *nqn, json_t *namespaces, const char *nsid, const char *why)
{
	note(m, json_sprintf("nvmf subsystems %s namespaces %s: made at run time and dropped, "
			     "because %s",
			nqn, nsid, why));
	json_object_del(namespaces, nsid);
}

static void fit_device(struct merge *m, json_t *model, const char *nqn, json_t *namespaces,
	const char *nsid, json_t *ns)
{
	const char *device = json_string_value(json_object_get(ns, "device"));

	if (model_find_device(model, device) == NULL && !model_is_volume_name(device) &&
		!(is_in_file(m, nqn, nsid) && restore_device(m, model, device))) {
		drop_namespace(
			m, nqn, namespaces, nsid, "its device is gone from the configuration file");
	}
}

/* Whether the device, which has this entry, or is a volume and has none, is called so. */
static bool is_called(const json_t *entry, const char *device, const char *name)
{
	return entry != NULL ? xbdev_config_is_called(entry, name) : strcmp(device, name) == 0;
}

/* Whether something of the file uses the device. */
static bool is_used_by_file(const struct merge *m, const json_t *model, const char *device,
	const char *but_nqn, const char *but_nsid)
{
	const json_t *entry = model_find_device(model, device);
	json_t *subsystem, *ns;
	const char *nqn, *nsid;

	if (entry != NULL && model_find_above(model, entry) != NULL) {
		return true;
	}
	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		json_object_foreach (json_object_get(subsystem, "namespaces"), nsid, ns) {
			if ((strcmp(nqn, but_nqn) != 0 || strcmp(nsid, but_nsid) != 0) &&
				is_in_file(m, nqn, nsid) &&
				is_called(entry, device,
					json_string_value(json_object_get(ns, "device")))) {
				return true;
			}
		}
	}
	return false;
}

static void fit_user(struct merge *m, json_t *model, const char *nqn, json_t *namespaces,
	const char *nsid, json_t *ns)
{
	const char *device = json_string_value(json_object_get(ns, "device"));

	if (!is_in_file(m, nqn, nsid) && is_used_by_file(m, model, device, nqn, nsid)) {
		drop_namespace(m, nqn, namespaces, nsid,
			"the edited configuration file uses its device elsewhere");
	}
}

int merge_models(const json_t *base, const json_t *file, const json_t *current, json_t **ret_model,
	json_t *notes, struct xu_error *err)
{
	struct merge m = {.file = file, .notes = notes};
	json_t *model = merge_value(&m, "", "", (json_t *)base, (json_t *)file, (json_t *)current);
	int rc;

	if (model != NULL) {
		fit_bases(&m, model);
		each_namespace(&m, model, fit_device);
		fit_bases(&m, model);
		each_namespace(&m, model, fit_user);
	}
	if (model == NULL || m.is_out_of_memory) {
		rc = xu_error_set_errno(err, -ENOMEM, "reading the configuration");
	} else {
		rc = model_check(model, err);
		if (rc == -EINVAL) {
			xu_error_prefix(err, "the configuration file and the changes made at run "
					     "time contradict each other");
		}
	}
	if (rc != 0) {
		json_decref(model);
		return rc;
	}
	*ret_model = model;
	return 0;
}
