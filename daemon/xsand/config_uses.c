/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a namespace has to itself: its device, which exists and has no other user, and each of its
 * identifiers. A UUID, NGUID or EUI64 names one namespace in the world: hosts take two namespaces
 * with the same one for two ways to the same data, or ignore one of them. One device cannot be two
 * namespaces either, so there is no case in which two may share.
 *
 * A namespace without a UUID has its device's, and one without an NGUID the bytes of its UUID. A
 * device that is not made yet may have none; the target looks again when it is. A logical volume is
 * found on its device, so of one that is named here nothing else is known.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/xsand/config_check.h"
#include "daemon/xsand/model.h"
#include "lib/xbdev/config/devices.h"

#define HEX_SIZE 33u /* of 16 bytes, with the NUL */

/* Devices by name and UUID, and who uses what: "devices[1]" or "namespace 2 of nqn…". */
struct uses {
	json_t *devices;
	json_t *names;
	json_t *users; /* of devices, by index as a text, and of volumes, by name */
	json_t *ids;   /* users of identifiers, by kind and value */
};

/* One namespace. */
struct ns_use {
	struct check *c;
	const char *path;
	json_t *ns;
	json_t *user; /* how it is called when somebody else wants what it has */
};

/* ---- devices ---- */

static ssize_t find_device(const struct uses *uses, const char *name_or_uuid)
{
	json_t *index = xbdev_config_lookup(uses->names, name_or_uuid);

	return index != NULL ? (ssize_t)json_integer_value(index) : -1;
}

#define KEY_SIZE 24u

static void key_of(ssize_t index, char key[KEY_SIZE])
{
	snprintf(key, KEY_SIZE, "%zd", index);
}

static void note_user(struct uses *uses, ssize_t index, json_t *user)
{
	char key[KEY_SIZE];

	key_of(index, key);
	json_object_set(uses->users, key, user);
}

/* Sets the index of the namespace's device; -1: it is a volume, which may be there or not. */
static int use_device(struct uses *uses, const struct ns_use *use, ssize_t *ret_index)
{
	const char *name = json_string_value(json_object_get(use->ns, "device"));
	ssize_t index = find_device(uses, name);
	char inner[CONFIG_PATH_SIZE], number[KEY_SIZE];
	const char *key = index >= 0 ? number : name, *user;

	check_path(inner, "%s.device", use->path);
	if (index < 0 && !model_is_volume_name(name)) {
		return check_fail(use->c, inner,
			"there is no device '%.64s'; name one of the list \"devices\", or a "
			"logical "
			"volume as STORE/VOLUME",
			name);
	}
	key_of(index, number);
	user = json_string_value(json_object_get(uses->users, key));
	if (user != NULL) {
		return check_fail(use->c, inner,
			"'%.64s' is used by %.200s already; a device has one user", name, user);
	}
	json_object_set(uses->users, key, use->user);
	*ret_index = index;
	return 0;
}

/* Notes which devices are bases of others. */
static void note_bases(struct uses *uses)
{
	json_t *entry;
	size_t i;

	json_array_foreach (uses->devices, i, entry) {
		json_t *user = json_sprintf("devices[%zu]", i);

		for (size_t nth = 0; nth < xbdev_config_nr_bases(entry); nth++) {
			ssize_t below = find_device(uses, xbdev_config_base_at(entry, nth));

			if (below >= 0) {
				note_user(uses, below, user);
			}
		}
		json_decref(user);
	}
}

/* Notes what stores of logical volumes are on. */
static void note_stores(struct uses *uses, json_t *stores)
{
	json_t *entry;
	size_t i;

	json_array_foreach (stores, i, entry) {
		const char *base = json_string_value(json_object_get(entry, "base_bdev"));
		ssize_t index = find_device(uses, base);
		json_t *user = json_sprintf("lvol_stores[%zu]", i);

		if (index >= 0) {
			note_user(uses, index, user);
		} else {
			json_object_set(uses->users, base, user);
		}
		json_decref(user);
	}
}

/* ---- identifiers ---- */

/* Notes that the namespace has this identifier; `member` is where it comes from. */
static int use_id(struct uses *uses, const struct ns_use *use, const char *member, const char *kind,
	const char *value)
{
	char key[64], inner[CONFIG_PATH_SIZE];
	const char *user;

	snprintf(key, sizeof(key), "%s %s", kind, value);
	user = json_string_value(json_object_get(uses->ids, key));
	if (user == NULL) {
		return json_object_set(uses->ids, key, use->user) == 0
			       ? 0
			       : xu_error_set_errno(use->c->err, -ENOMEM, "checking namespaces");
	}
	check_path(inner, "%s.%s", use->path, member);
	return check_fail(use->c, inner,
		"the %s is that of %.200s already; an identifier names one namespace", key, user);
}

/* Hexadecimal digits of an object in lower case; false: it has none. */
static bool get_hex(json_t *object, const char *member, char hex[HEX_SIZE])
{
	const char *text = json_string_value(json_object_get(object, member));
	size_t i = 0;

	while (text != NULL && text[i] != '\0' && i < HEX_SIZE - 1) {
		hex[i] = (char)tolower((unsigned char)text[i]);
		i++;
	}
	hex[i] = '\0';
	return i != 0;
}

static bool get_uuid(json_t *object, struct xu_uuid *ret_uuid)
{
	const char *text = json_string_value(json_object_get(object, "uuid"));

	return text != NULL && xu_uuid_parse(text, ret_uuid) == 0 && !xu_uuid_is_null(ret_uuid);
}

/* The identifiers of a namespace on the device `entry`, as the target will make them. */
static int use_ids(struct uses *uses, const struct ns_use *use, json_t *entry)
{
	char text[XU_UUID_TEXT_SIZE], hex[HEX_SIZE];
	const char *member = "uuid";
	struct xu_uuid uuid;
	bool has_uuid = get_uuid(use->ns, &uuid);
	int rc = 0;

	if (!has_uuid) {
		member = "device";
		has_uuid = get_uuid(entry, &uuid);
	}
	if (has_uuid) {
		xu_uuid_format(&uuid, text);
		rc = use_id(uses, use, member, "UUID", text);
	}
	if (rc == 0 && get_hex(use->ns, "nguid", hex)) {
		rc = use_id(uses, use, "nguid", "NGUID", hex);
	} else if (rc == 0 && has_uuid) {
		for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
			snprintf(hex + 2 * i, 3, "%02x", uuid.bytes[i]);
		}
		rc = use_id(uses, use, member, "NGUID", hex);
	}
	if (rc == 0 && get_hex(use->ns, "eui64", hex)) {
		rc = use_id(uses, use, "eui64", "EUI64", hex);
	}
	return rc;
}

/* ---- namespaces ---- */

static int use_ns(struct check *c, struct uses *uses, const char *path, json_t *ns, const char *nqn)
{
	struct ns_use use = {.c = c, .path = path, .ns = ns};
	ssize_t index = -1;
	int rc;

	use.user = json_sprintf(
		"namespace %d of %s", (int)json_integer_value(json_object_get(ns, "nsid")), nqn);
	rc = use_device(uses, &use, &index);
	if (rc == 0) {
		rc = use_ids(uses, &use,
			index >= 0 ? json_array_get(uses->devices, (size_t)index) : NULL);
	}
	json_decref(use.user);
	return rc;
}

static int use_all(struct check *c, struct uses *uses, json_t *subsystems)
{
	char path[CONFIG_PATH_SIZE];
	json_t *subsystem, *ns;
	size_t i, k;
	int rc = 0;

	json_array_foreach (subsystems, i, subsystem) {
		const char *nqn = json_string_value(json_object_get(subsystem, "nqn"));

		json_array_foreach (json_object_get(subsystem, "namespaces"), k, ns) {
			check_path(path, "nvmf.subsystems[%zu].namespaces[%zu]", i, k);
			if (rc == 0) {
				rc = use_ns(c, uses, path, ns, nqn);
			}
		}
	}
	return rc;
}

static int uses_init(struct check *c, struct uses *uses, json_t *devices, json_t *stores)
{
	*uses = (struct uses){
		.devices = devices,
		.names = xbdev_config_names(devices),
		.users = json_object(),
		.ids = json_object(),
	};
	if (uses->names == NULL || uses->users == NULL || uses->ids == NULL) {
		return xu_error_set_errno(c->err, -ENOMEM, "checking namespaces");
	}
	note_bases(uses);
	note_stores(uses, stores);
	return 0;
}

static void uses_fini(struct uses *uses)
{
	json_decref(uses->names);
	json_decref(uses->users);
	json_decref(uses->ids);
}

int check_uses(struct check *c, json_t *subsystems, json_t *devices, json_t *stores)
{
	struct uses uses;
	int rc = uses_init(c, &uses, devices, stores);

	if (rc == 0) {
		rc = use_all(c, &uses, subsystems);
	}
	uses_fini(&uses);
	return rc;
}

int check_new_ns(struct check *c, const char *path, json_t *root, json_t *ns, const char *nqn)
{
	json_t *subsystems = json_object_get(json_object_get(root, "nvmf"), "subsystems");
	struct uses uses;
	int rc = uses_init(
		c, &uses, json_object_get(root, "devices"), json_object_get(root, "lvol_stores"));

	if (rc == 0) {
		rc = use_all(c, &uses, subsystems);
	}
	if (rc == 0) {
		rc = use_ns(c, &uses, path, ns, nqn);
	}
	uses_fini(&uses);
	return rc;
}
