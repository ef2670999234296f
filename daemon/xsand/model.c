/* SPDX-License-Identifier: BSD-3-Clause */
/* The model to and from the form of the configuration file, and its few changes; see model.h. */
#include "daemon/xsand/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/config_lvol.h"
#include "lib/reactor/address.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/devices.h"

static const struct config_subsystem subsystem_defaults = {
	.max_namespaces = CONFIG_MAX_NAMESPACES_DEFAULT};
static const struct config_ns ns_defaults;
static const struct config_listener listener_defaults;

json_t *model_new(void)
{
	return json_pack("{s:{}, s:{}, s:{}, s:{}, s:{s:{}, s:{}}}", "log", "devices",
		"lvol_stores", "lvol_volumes", "nvmf", "transport", "subsystems");
}

json_t *model_devices(const json_t *model)
{
	return json_object_get(model, "devices");
}

json_t *model_subsystems(const json_t *model)
{
	return json_object_get(json_object_get(model, "nvmf"), "subsystems");
}

json_t *model_subsystem(const json_t *model, const char *nqn)
{
	return json_object_get(model_subsystems(model), nqn);
}

json_t *model_find_device(const json_t *model, const char *name_or_uuid)
{
	json_t *entry = json_object_get(model_devices(model), name_or_uuid);
	const char *name;

	if (entry != NULL) {
		return entry;
	}
	json_object_foreach (model_devices(model), name, entry) {
		if (xbdev_config_is_called(entry, name_or_uuid)) {
			return entry;
		}
	}
	return NULL;
}

bool model_is_volume_name(const char *name)
{
	const char *slash = strchr(name, '/');

	return slash != NULL && slash != name && slash[1] != '\0' && strchr(slash + 1, '/') == NULL;
}

uint32_t model_max_namespaces(const json_t *subsystem)
{
	const json_t *max = json_object_get(subsystem, "max_namespaces");

	return max != NULL ? (uint32_t)json_integer_value(max) : CONFIG_MAX_NAMESPACES_DEFAULT;
}

/* ---- from the configuration ---- */

void model_ns_key(uint32_t nsid, char key[MODEL_KEY_SIZE])
{
	snprintf(key, MODEL_KEY_SIZE, "%u", nsid);
}

void model_listener_key(const json_t *listener, char key[MODEL_KEY_SIZE])
{
	snprintf(key, MODEL_KEY_SIZE, "%s %s %s",
		json_string_value(json_object_get(listener, "trtype")),
		json_string_value(json_object_get(listener, "traddr")),
		json_string_value(json_object_get(listener, "trsvcid")));
}

json_t *model_ns_new(json_t *object)
{
	return xbdev_config_canonical_params(config_ns_params, &ns_defaults, object);
}

/* An address in its shortest form; the same text when it is none. */
static json_t *canonical_address(const char *text)
{
	struct sockaddr_storage addr;
	char name[XR_ADDRESS_SIZE];
	uint16_t port;

	if (xr_address_parse(text, 0, &addr) < 0 || xr_address_format(&addr, name, &port) != 0) {
		return json_string(text);
	}
	return json_string(name);
}

json_t *model_listener_new(json_t *object)
{
	json_t *listener =
		xbdev_config_canonical_params(config_listener_params, &listener_defaults, object);
	const char *port = json_string_value(json_object_get(listener, "trsvcid"));
	const char *advertise = json_string_value(json_object_get(listener, "advertise"));
	const char *address = json_string_value(json_object_get(listener, "traddr"));
	int rc = listener == NULL ? -1 : 0;

	if (rc == 0 && json_object_get(listener, "trtype") == NULL) {
		rc |= json_object_set_new(listener, "trtype", json_string("tcp"));
	}
	if (rc == 0) {
		rc |= json_object_set_new(listener, "traddr", canonical_address(address));
		rc |= json_object_set_new(
			listener, "trsvcid", json_sprintf("%d", port != NULL ? atoi(port) : 4420));
	}
	if (rc == 0 && advertise != NULL) {
		rc |= json_object_set_new(listener, "advertise", canonical_address(advertise));
	}
	if (rc != 0) {
		json_decref(listener);
		return NULL;
	}
	return listener;
}

/* The lists of a subsystem become objects. */
static int add_lists(json_t *subsystem, json_t *object)
{
	json_t *hosts = json_object(), *namespaces = json_object(), *listeners = json_object();
	char key[MODEL_KEY_SIZE];
	json_t *value;
	size_t i;
	int rc = 0;

	json_array_foreach (json_object_get(object, "hosts"), i, value) {
		rc |= json_object_set_new(hosts, json_string_value(value), json_true());
	}
	json_array_foreach (json_object_get(object, "namespaces"), i, value) {
		model_ns_key((uint32_t)json_integer_value(json_object_get(value, "nsid")), key);
		rc |= json_object_set_new(namespaces, key, model_ns_new(value));
	}
	json_array_foreach (json_object_get(object, "listeners"), i, value) {
		json_t *listener = model_listener_new(value);

		model_listener_key(listener, key);
		rc |= json_object_set_new(listeners, key, listener);
	}
	rc |= json_object_set_new(subsystem, "hosts", hosts);
	rc |= json_object_set_new(subsystem, "namespaces", namespaces);
	return rc | json_object_set_new(subsystem, "listeners", listeners);
}

json_t *model_subsystem_new(json_t *object)
{
	json_t *subsystem =
		xbdev_config_canonical_params(config_subsystem_params, &subsystem_defaults, object);
	bool allow = json_is_true(json_object_get(object, "allow_any_host"));

	if (subsystem == NULL ||
		json_object_set_new(subsystem, "allow_any_host", json_boolean(allow)) != 0 ||
		add_lists(subsystem, object) != 0) {
		json_decref(subsystem);
		return NULL;
	}
	json_object_del(subsystem, "nqn");
	return subsystem;
}

static int add_devices(json_t *model, json_t *list)
{
	json_t *entry;
	size_t i;
	int rc = 0;

	json_array_foreach (list, i, entry) {
		rc |= json_object_set_new(model_devices(model),
			json_string_value(json_object_get(entry, "name")),
			xbdev_config_canonical(entry));
	}
	return rc;
}

static int add_lvols(json_t *model, const char *list, json_t *entries)
{
	char key[MODEL_KEY_SIZE];
	json_t *entry;
	size_t i;
	int rc = 0;

	json_array_foreach (entries, i, entry) {
		json_t *canonical = config_lvol_canonical(list, entry, key);

		rc |= canonical == NULL
			      ? -1
			      : json_object_set_new(json_object_get(model, list), key, canonical);
	}
	return rc;
}

static int add_nvmf(json_t *model, json_t *nvmf)
{
	json_t *transport = json_object_get(nvmf, "transport"), *object;
	struct config_transport defaults;
	size_t i;
	int rc = 0;

	if (transport != NULL) {
		config_transport_default(&defaults);
		rc |= json_object_set_new(json_object_get(model, "nvmf"), "transport",
			xbdev_config_canonical_params(
				config_transport_params, &defaults, transport));
	}
	json_array_foreach (json_object_get(nvmf, "subsystems"), i, object) {
		rc |= json_object_set_new(model_subsystems(model),
			json_string_value(json_object_get(object, "nqn")),
			model_subsystem_new(object));
	}
	return rc;
}

json_t *model_from_config(json_t *root)
{
	json_t *level = json_object_get(json_object_get(root, "log"), "level");
	json_t *model = model_new();
	enum xu_log_level parsed = XU_LOG_INFO;
	int rc = model == NULL ? -1 : 0;

	if (level != NULL) {
		xu_log_level_parse(json_string_value(level), &parsed);
	}
	if (rc == 0) { /* the default too, so that a reload goes back to it */
		rc |= json_object_set_new(json_object_get(model, "log"), "level",
			json_string(xu_log_level_name(parsed)));
	}
	if (rc == 0) {
		rc |= add_devices(model, json_object_get(root, "devices"));
		rc |= add_lvols(model, "lvol_stores", json_object_get(root, "lvol_stores"));
		rc |= add_lvols(model, "lvol_volumes", json_object_get(root, "lvol_volumes"));
		rc |= add_nvmf(model, json_object_get(root, "nvmf"));
	}
	if (rc != 0) {
		json_decref(model);
		return NULL;
	}
	return model;
}

/* ---- to the configuration ---- */

/* An array of the values of an object, or of its keys. */
static json_t *list_of(json_t *object, bool of_keys)
{
	json_t *list = json_array(), *value;
	const char *key;
	int rc = list == NULL ? -1 : 0;

	json_object_foreach (object, key, value) {
		rc |= of_keys ? json_array_append_new(list, json_string(key))
			      : json_array_append(list, value);
	}
	if (rc != 0) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *subsystem_to_config(const char *nqn, json_t *subsystem)
{
	json_t *object = json_pack("{s:s}", "nqn", nqn);
	int rc = json_object_update(object, subsystem);

	rc |= json_object_set_new(
		object, "hosts", list_of(json_object_get(subsystem, "hosts"), true));
	rc |= json_object_set_new(
		object, "namespaces", list_of(json_object_get(subsystem, "namespaces"), false));
	rc |= json_object_set_new(
		object, "listeners", list_of(json_object_get(subsystem, "listeners"), false));
	if (rc != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* NULL: there are none, or no memory. */
static json_t *lvols_of(const json_t *model, const char *list)
{
	json_t *entries = json_object_get(model, list);

	return json_object_size(entries) > 0 ? list_of(entries, false) : NULL;
}

json_t *model_to_config(const json_t *model)
{
	json_t *transport = json_object_get(json_object_get(model, "nvmf"), "transport");
	json_t *subsystems = json_array(), *subsystem, *root;
	const char *nqn;
	int rc = 0;

	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		rc |= json_array_append_new(subsystems, subsystem_to_config(nqn, subsystem));
	}
	root = json_pack("{s:O, s:o, s:o*, s:o*, s:{s:O, s:o}}", "log",
		json_object_get(model, "log"), "devices", list_of(model_devices(model), false),
		"lvol_stores", lvols_of(model, "lvol_stores"), "lvol_volumes",
		lvols_of(model, "lvol_volumes"), "nvmf", "transport", transport, "subsystems",
		subsystems);
	if (rc != 0) {
		json_decref(root);
		return NULL;
	}
	return root;
}

int model_check(const json_t *model, struct xu_error *err)
{
	json_t *root = model_to_config(model);
	char path[CONFIG_PATH_SIZE];
	int rc;

	if (root == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "checking the configuration");
	}
	rc = config_check(root, NULL, path, err);
	if (rc != 0 && path[0] != '\0') {
		xu_error_prefix(err, "%s", path);
	}
	json_decref(root);
	return rc;
}

/* ---- changes ---- */

static void remove_namespaces_on(json_t *model, const json_t *entry)
{
	json_t *subsystem, *namespaces, *ns;
	const char *nqn, *nsid;
	void *tmp;

	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		namespaces = json_object_get(subsystem, "namespaces");
		json_object_foreach_safe (namespaces, tmp, nsid, ns) {
			if (xbdev_config_is_called(
				    entry, json_string_value(json_object_get(ns, "device")))) {
				json_object_del(namespaces, nsid);
			}
		}
	}
}

json_t *model_find_above(const json_t *model, const json_t *entry)
{
	json_t *other;
	const char *name;

	json_object_foreach (model_devices(model), name, other) {
		if (xbdev_config_stands_on(other, entry)) {
			return other;
		}
	}
	return NULL;
}

bool model_find_user(const json_t *model, const json_t *entry, char *text, size_t size)
{
	const json_t *above = model_find_above(model, entry);
	json_t *subsystem, *ns;
	const char *nqn, *nsid;

	if (above != NULL) {
		snprintf(text, size, "device '%s'",
			json_string_value(json_object_get(above, "name")));
		return true;
	}
	json_object_foreach (model_subsystems(model), nqn, subsystem) {
		json_object_foreach (json_object_get(subsystem, "namespaces"), nsid, ns) {
			if (xbdev_config_is_called(
				    entry, json_string_value(json_object_get(ns, "device")))) {
				snprintf(text, size, "namespace %s of %s", nsid, nqn);
				return true;
			}
		}
	}
	return false;
}

int model_remove_device(json_t *model, const char *name_or_uuid)
{
	json_t *entry = model_find_device(model, name_or_uuid), *above;

	if (entry == NULL) {
		return -ENOENT;
	}
	/* A device has one user, so this goes up a line, not a tree. */
	while ((above = model_find_above(model, entry)) != NULL) {
		int rc = model_remove_device(
			model, json_string_value(json_object_get(above, "name")));

		if (rc != 0) {
			return rc;
		}
	}
	remove_namespaces_on(model, entry);
	json_object_del(model_devices(model), json_string_value(json_object_get(entry, "name")));
	return 0;
}

static void drop_from(json_t *list, const json_t *name)
{
	for (size_t i = json_array_size(list); i-- > 0;) {
		if (json_equal(json_array_get(list, i), name)) {
			json_array_remove(list, i);
		}
	}
}

int model_drop_member(json_t *entry, size_t nth)
{
	json_t *members = json_object_get(entry, "members");
	json_int_t count = (json_int_t)json_array_size(members);
	json_t *gone = json_string(xbdev_config_base_at(entry, nth));

	if (gone == NULL ||
		(json_object_get(entry, "raid_disks") == NULL &&
			json_object_set_new(entry, "raid_disks", json_integer(count)) != 0)) {
		json_decref(gone);
		return -ENOMEM;
	}
	drop_from(members, gone);
	drop_from(json_object_get(entry, "write_mostly"), gone);
	json_decref(gone);
	return 0;
}

int model_make_uuids(json_t *model, void (*random)(void *arg, char text[37]), void *arg)
{
	char text[XU_UUID_TEXT_SIZE];
	const char *name;
	json_t *entry;

	json_object_foreach (model_devices(model), name, entry) {
		if (json_object_get(entry, "uuid") != NULL || !xbdev_config_has_uuid(entry)) {
			continue;
		}
		random(arg, text);
		if (json_object_set_new(entry, "uuid", json_string(text)) != 0) {
			return -ENOMEM;
		}
	}
	return 0;
}
