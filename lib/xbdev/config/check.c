/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking device entries. The driver's table of parameters does most of it; what is said here
 * holds for every driver. Nothing is made, opened or looked up outside of the document.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util/error.h"
#include "lib/util/size.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/config/devices.h"
#include "lib/xbdev/config/section.h"

/* The names of all drivers, for sentences. */
static void driver_names(char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; xbdev_drivers[i] != NULL && len < size; i++) {
		len += (size_t)snprintf(text + len, size - len, "%s\"%s\"", i == 0 ? "" : ", ",
			xbdev_drivers[i]->name);
	}
}

static const struct xbdev_driver *driver_of(const json_t *entry)
{
	const char *name = json_string_value(json_object_get(entry, "driver"));

	return name != NULL ? xbdev_driver_find(name) : NULL;
}

static int check_driver(json_t *entry, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	json_t *name = json_object_get(entry, "driver");
	char names[256];

	driver_names(names, sizeof(names));
	if (name == NULL) {
		return xu_error_set(err, -EINVAL, "'driver' is missing: one of %s", names);
	}
	snprintf(path, XU_PARAM_PATH_SIZE, "driver");
	if (!json_is_string(name)) {
		return xu_error_set(
			err, -EINVAL, "driver: a text is needed here, one of %s", names);
	}
	if (xbdev_driver_find_or_load(json_string_value(name), err) == NULL) {
		/* A module that is there and does not work says why. */
		return err != NULL && err->code != -ENOENT
			       ? xu_error_set(err, -EINVAL, "driver: %s", err->text)
			       : xu_error_set(err, -EINVAL,
					 "driver: \"%.64s\" is not accepted; it takes one of: %s",
					 json_string_value(name), names);
	}
	return 0;
}

/* The driver's parameters, read into memory that is thrown away again. */
static int check_params(json_t *entry, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	const struct xbdev_driver *driver = driver_of(entry);
	json_t *params = xbdev_config_copy(entry);
	void *opts = malloc(driver->opts_bytes);
	int rc;

	if (params == NULL || opts == NULL) {
		rc = xu_error_set_errno(err, -ENOMEM, "checking a device");
	} else {
		json_object_del(params, "driver");
		memcpy(opts, driver->defaults, driver->opts_bytes);
		rc = xu_params_parse(driver->params, opts, params, path, err);
		if (rc == 0 && driver->check != NULL) {
			rc = driver->check(opts, path, err);
		}
	}
	free(opts);
	json_decref(params);
	return rc;
}

static int check_name(json_t *entry, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	const char *name = json_string_value(json_object_get(entry, "name"));
	struct xu_uuid uuid;
	int rc = xbdev_section_check_name(name, false, err);

	/* Who asks for it in another spelling would mean another device. */
	if (rc == 0 && xu_uuid_parse(name, &uuid) == 0) {
		rc = xu_error_set(err, -EINVAL,
			"'%s' is a UUID; give it as \"uuid\", and another word as the name", name);
	}
	if (rc == 0) {
		return 0;
	}
	snprintf(path, XU_PARAM_PATH_SIZE, "name");
	xu_error_prefix(err, "name");
	return -EINVAL;
}

/* The bytes of a size parameter that has been checked. */
static uint64_t size_of(const json_t *value)
{
	uint64_t bytes = 0;

	if (json_is_string(value)) {
		xu_size_parse(json_string_value(value), &bytes);
		return bytes;
	}
	return (uint64_t)json_integer_value(value);
}

static int check_sizes(json_t *entry, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	json_t *block = json_object_get(entry, "block_size"),
	       *size = json_object_get(entry, "size"),
	       *count = json_object_get(entry, "num_blocks");
	uint64_t block_size = block != NULL ? size_of(block) : 512;

	if (block_size != 512 && block_size != 4096) {
		snprintf(path, XU_PARAM_PATH_SIZE, "block_size");
		return xu_error_set(err, -EINVAL,
			"block_size: %llu is not accepted; it takes 512 or 4096",
			(unsigned long long)block_size);
	}
	if (size != NULL && size_of(size) % block_size != 0) {
		snprintf(path, XU_PARAM_PATH_SIZE, "size");
		return xu_error_set(err, -EINVAL,
			"size: %llu bytes is not accepted; it takes a multiple of the block size "
			"%llu",
			(unsigned long long)size_of(size), (unsigned long long)block_size);
	}
	if (size != NULL && count != NULL && size_of(size) != size_of(count) * block_size) {
		snprintf(path, XU_PARAM_PATH_SIZE, "num_blocks");
		return xu_error_set(err, -EINVAL,
			"num_blocks: %llu blocks of %llu bytes are %llu bytes, but size is %llu; "
			"give one of the two",
			(unsigned long long)size_of(count), (unsigned long long)block_size,
			(unsigned long long)(size_of(count) * block_size),
			(unsigned long long)size_of(size));
	}
	return 0;
}

int xbdev_config_check_device(json_t *entry, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	int rc;

	path[0] = '\0';
	if (!json_is_object(entry)) {
		return xu_error_set(err, -EINVAL, "a device is an object { … }");
	}
	rc = check_driver(entry, path, err);
	if (rc == 0) {
		rc = check_params(entry, path, err);
	}
	if (rc == 0) {
		rc = check_name(entry, path, err);
	}
	return rc == 0 ? check_sizes(entry, path, err) : rc;
}

/* ---- lists ---- */

/* A UUID in its one form; any other text as it is. */
static const char *normal(const char *text, char uuid_text[XU_UUID_TEXT_SIZE])
{
	struct xu_uuid uuid;

	if (xu_uuid_parse(text, &uuid) != 0) {
		return text;
	}
	xu_uuid_format(&uuid, uuid_text);
	return uuid_text;
}

json_t *xbdev_config_lookup(json_t *names, const char *name_or_uuid)
{
	char uuid[XU_UUID_TEXT_SIZE];
	json_t *found = json_object_get(names, name_or_uuid);

	return found != NULL ? found : json_object_get(names, normal(name_or_uuid, uuid));
}

int xbdev_config_add_name(json_t *names, const char *name_or_uuid, size_t index)
{
	char uuid[XU_UUID_TEXT_SIZE];

	return json_object_set_new(
		names, normal(name_or_uuid, uuid), json_integer((json_int_t)index));
}

/* Adds one name of an entry; *ret_other is who has it already, -1: nobody. */
static int add_name(json_t *names, const char *name, size_t index, ssize_t *ret_other)
{
	json_t *other = xbdev_config_lookup(names, name);

	*ret_other = other != NULL ? (ssize_t)json_integer_value(other) : -1;
	return other != NULL ? 0 : xbdev_config_add_name(names, name, index);
}

static const char *const name_keys[] = {"name", "uuid"};

json_t *xbdev_config_names(json_t *list)
{
	json_t *names = json_object(), *entry;
	ssize_t other;
	size_t i;
	int rc = names == NULL ? -1 : 0;

	json_array_foreach (list, i, entry) {
		for (size_t k = 0; k < 2 && rc == 0; k++) {
			const char *name = json_string_value(json_object_get(entry, name_keys[k]));

			rc = name != NULL ? add_name(names, name, i, &other) : 0;
		}
	}
	if (rc != 0) {
		json_decref(names);
		return NULL;
	}
	return names;
}

/* Every name and UUID is used once; fills `names`. */
static int check_unique(
	json_t *list, json_t *names, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	json_t *entry;
	ssize_t other;
	size_t i;

	json_array_foreach (list, i, entry) {
		for (size_t k = 0; k < 2; k++) {
			const char *name = json_string_value(json_object_get(entry, name_keys[k]));

			if (name != NULL && add_name(names, name, i, &other) != 0) {
				return xu_error_set_errno(err, -ENOMEM, "checking devices");
			}
			if (name != NULL && other >= 0) {
				snprintf(path, XU_PARAM_PATH_SIZE, "[%zu].%s", i, name_keys[k]);
				return xu_error_set(err, -EINVAL,
					"%s: devices[%zd] is called '%s' already; each device "
					"needs "
					"a name and a UUID of its own",
					name_keys[k], other, name);
			}
		}
	}
	return 0;
}

/* The index of one of the entry's bases in the list; -1: it is not there. */
static ssize_t base_index(json_t *list, json_t *names, size_t index, size_t nth)
{
	const char *base = xbdev_config_base_at(json_array_get(list, index), nth);
	json_t *found = base != NULL ? xbdev_config_lookup(names, base) : NULL;

	return found != NULL ? (ssize_t)json_integer_value(found) : -1;
}

/* Where a base is named: the path, and the short one that sentences begin with. */
static void base_path(
	json_t *list, size_t index, size_t nth, char path[XU_PARAM_PATH_SIZE], const char **ret_key)
{
	int len = snprintf(path, XU_PARAM_PATH_SIZE, "[%zu].", index);

	xbdev_config_base_key(
		json_array_get(list, index), nth, path + len, XU_PARAM_PATH_SIZE - (size_t)len);
	*ret_key = path + len;
}

/* Who uses the device `index`; -1: nobody. */
static ssize_t user_of(json_t *users, ssize_t index)
{
	char key[24];
	json_t *user;

	snprintf(key, sizeof(key), "%zd", index);
	user = json_object_get(users, key);
	return user != NULL ? (ssize_t)json_integer_value(user) : -1;
}

/* The base exists, and nothing before this one has it. */
static int check_base(json_t *list, json_t *names, json_t *users, size_t index, size_t nth,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	const char *base = xbdev_config_base_at(json_array_get(list, index), nth), *where;
	ssize_t below = base_index(list, names, index, nth), user;
	char key[24];

	base_path(list, index, nth, path, &where);
	if (below < 0) {
		return xu_error_set(err, -EINVAL,
			"%s: there is no device '%s'; name one of the devices of this list", where,
			base);
	}
	user = user_of(users, below);
	if (user >= 0) {
		return xu_error_set(err, -EINVAL,
			"%s: '%s' is the base of devices[%zd] already; a device has one user",
			where, base, user);
	}
	snprintf(key, sizeof(key), "%zd", below);
	if (json_object_set_new(users, key, json_integer((json_int_t)index)) != 0) {
		return xu_error_set_errno(err, -ENOMEM, "checking devices");
	}
	return 0;
}

/* Which of its bases the device `below` is. */
static size_t nth_base(json_t *list, json_t *names, size_t index, ssize_t below)
{
	size_t nth = 0, nr_bases = xbdev_config_nr_bases(json_array_get(list, index));

	while (nth + 1 < nr_bases && base_index(list, names, index, nth) != below) {
		nth++;
	}
	return nth;
}

/* The device of a way up that has no end: one of the circle in which it ends. */
static int refuse_depth(json_t *list, json_t *names, json_t *users, ssize_t top,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	ssize_t below = top, above = user_of(users, top);
	const char *where;
	size_t nth;

	for (uint32_t i = 0; i < XBDEV_CONFIG_MAX_DEPTH && above >= 0 && above != top; i++) {
		below = above;
		above = user_of(users, above);
	}
	if (above == top) {
		nth = nth_base(list, names, (size_t)top, below);
		base_path(list, (size_t)top, nth, path, &where);
		return xu_error_set(err, -EINVAL, "%s: '%s' stands on this device itself", where,
			xbdev_config_base_at(json_array_get(list, (size_t)top), nth));
	}
	base_path(list, (size_t)top, 0, path, &where);
	return xu_error_set(err, -EINVAL, "%s: more than %u devices stand on each other", where,
		XBDEV_CONFIG_MAX_DEPTH);
}

/* The way up from each base ends, and not too far away: a device has one user, so it is a line. */
static int check_depth(json_t *list, json_t *names, json_t *users, size_t index,
	char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	ssize_t above = user_of(users, (ssize_t)index), top = (ssize_t)index;

	for (uint32_t steps = 1; above >= 0; steps++) {
		if ((size_t)above == index) {
			return refuse_depth(list, names, users, above, path, err);
		}
		top = above;
		if (steps == XBDEV_CONFIG_MAX_DEPTH) {
			return refuse_depth(list, names, users, top, path, err);
		}
		above = user_of(users, above);
	}
	return 0;
}

/* What the entries, each of which is good, mean together. */
static int check_together(json_t *list, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	json_t *names = json_object(), *users = json_object();
	int rc = check_unique(list, names, path, err);

	for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
		size_t nr_bases = xbdev_config_nr_bases(json_array_get(list, i));

		for (size_t nth = 0; nth < nr_bases && rc == 0; nth++) {
			rc = check_base(list, names, users, i, nth, path, err);
		}
	}
	for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
		rc = check_depth(list, names, users, i, path, err);
	}
	json_decref(names);
	json_decref(users);
	return rc;
}

int xbdev_config_check_devices(json_t *list, char path[XU_PARAM_PATH_SIZE], struct xu_error *err)
{
	char inner[XU_PARAM_PATH_SIZE];
	size_t i;
	json_t *entry;
	int rc;

	path[0] = '\0';
	if (!json_is_array(list)) {
		return xu_error_set(err, -EINVAL, "a list [ … ] of devices is needed here");
	}
	json_array_foreach (list, i, entry) {
		rc = xbdev_config_check_device(entry, inner, err);
		if (rc != 0) {
			snprintf(path, XU_PARAM_PATH_SIZE, "[%zu]%s%.200s", i,
				inner[0] != '\0' ? "." : "", inner);
			return rc;
		}
	}
	return check_together(list, path, err);
}
