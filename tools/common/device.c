/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a text on the command line to an open device. What describes a device becomes the JSON entry
 * that a configuration would have, so it is checked and explained by the library.
 */
#include "common/device.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <xbdev/config.h>

#include "common/number.h"
#include "common/tool.h"

#define DRIVER_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"

/* What the word behind "DRIVER:" is. Of a driver that is not here, all parameters are named. */
static const struct {
	const char *driver;
	const char *param;
} first_params[] = {
	{"file", "filename"},
	{"aio", "filename"},
	{"malloc", "size"},
	{"null", "size"},
	{"delay", "base"},
	{"error", "base"},
};

/* ---- a configuration ---- */

static bool make_entry(const json_t *entry)
{
	char *text = json_dumps(entry, JSON_COMPACT | JSON_ENCODE_ANY);
	int rc = text != NULL ? xbdev_config_device(text) : -ENOMEM;

	free(text);
	return rc == 0;
}

/* The list of a node's configuration. */
static bool make_all(const char *path, const json_t *list)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry) {
		if (!make_entry(entry)) {
			tool_say("%s: device %zu: %s", path, i, xbdev_last_error());
			return false;
		}
	}
	return true;
}

bool tool_config_load(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	const json_t *list = json_is_array(root) ? root : json_object_get(root, "devices");
	bool is_made = false;

	if (root == NULL) {
		if (error.line < 0) {
			tool_say("%s", error.text); /* it names the file */
		} else {
			tool_say("%s:%d:%d: %s", path, error.line, error.column, error.text);
		}
		return false;
	}
	if (json_is_array(list)) {
		is_made = make_all(path, list);
	} else if (xbdev_parse_config(path) == 0) {
		is_made = true;
	} else {
		tool_say("%s", xbdev_last_error());
	}
	json_decref(root);
	return is_made;
}

/* ---- which one it is ---- */

/* Looks for a device of that name or UUID. */
static bool find(const char *text)
{
	int count = xbdev_list(NULL, 0);
	xbdev_info_t *infos = count > 0 ? calloc((size_t)count, sizeof(*infos)) : NULL;
	bool is_found = false;

	if (infos != NULL) {
		int now = xbdev_list(infos, count);

		for (int i = 0; i < count && i < now && !is_found; i++) {
			is_found = strcmp(infos[i].name, text) == 0 ||
				   strcasecmp(infos[i].uuid, text) == 0;
		}
	}
	free(infos);
	return is_found;
}

/* The length of DRIVER in "DRIVER:…", or 0. */
static size_t driver_len(const char *text)
{
	size_t len = strspn(text, DRIVER_CHARS);

	return text[len] == ':' ? len : 0;
}

static bool is_path(const char *text)
{
	return text[0] == '/' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0;
}

bool tool_device_is_named(const char *text)
{
	return text[0] == '{' || driver_len(text) != 0 || find(text);
}

/* ---- entries ---- */

/* A value without quotes: what JSON takes as a number or a truth is one, all else is text. */
static json_t *value_of(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	if (json_is_number(value) || json_is_boolean(value)) {
		return value;
	}
	json_decref(value);
	return json_string(text);
}

/* Adds "PARAMETER=VALUE", or the word behind the colon. */
static bool add_word(json_t *entry, const char *driver, char *word, bool is_first)
{
	char *equals = strchr(word, '=');
	const char *param = NULL;

	for (size_t i = 0; is_first && i < sizeof(first_params) / sizeof(first_params[0]); i++) {
		if (strcmp(first_params[i].driver, driver) == 0) {
			param = first_params[i].param;
		}
	}
	if (param != NULL) {
		/* A path or a size is text whatever it looks like. */
		return json_object_set_new(entry, param, json_string(word)) == 0;
	}
	if (equals == NULL || equals == word) {
		tool_say("'%s' of device '%s:...' is no PARAMETER=VALUE", word, driver);
		return false;
	}
	*equals = '\0';
	return json_object_set_new(entry, word, value_of(equals + 1)) == 0;
}

/* The entry of "DRIVER:WORD,PARAMETER=VALUE,…"; NULL: it was said why. */
static json_t *entry_of_words(const char *text)
{
	char *copy = strdup(text), *rest = copy, *driver, *word;
	json_t *entry = json_object();
	bool is_good = copy != NULL && entry != NULL, is_first = true;

	driver = is_good ? strsep(&rest, ":") : NULL;
	is_good = is_good && json_object_set_new(entry, "driver", json_string(driver)) == 0;
	while (is_good && rest != NULL) {
		word = strsep(&rest, ",");
		is_good = add_word(entry, driver, word, is_first);
		is_first = false;
	}
	free(copy);
	if (!is_good) {
		json_decref(entry);
		entry = NULL;
	}
	return entry;
}

static json_t *entry_of_path(const char *path)
{
	json_t *entry = json_pack("{s:s, s:s}", "driver", "file", "filename", path);

	if (entry == NULL) {
		tool_say("'%s': out of memory, or no UTF-8", path);
	}
	return entry;
}

static json_t *entry_of_json(const char *text)
{
	json_error_t error;
	json_t *entry = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (entry == NULL) {
		tool_say("device '%s': column %d: %s", text, error.column, error.text);
	}
	return entry;
}

/* Gives the entry a name that is free: the driver's and a number. */
static bool add_name(json_t *entry)
{
	const char *driver = json_string_value(json_object_get(entry, "driver"));
	char name[64];
	int number = 0;

	if (json_object_get(entry, "name") != NULL) {
		return true;
	}
	do {
		snprintf(name, sizeof(name), "%.40s%d", driver != NULL ? driver : "device",
			number++);
	} while (find(name));
	return json_object_set_new(entry, "name", json_string(name)) == 0;
}

static bool make(const char *text, json_t *entry, char *ret_name, size_t size)
{
	if (!add_name(entry) || !make_entry(entry)) {
		tool_say("device '%s': %s", text, xbdev_last_error());
		return false;
	}
	snprintf(ret_name, size, "%s", json_string_value(json_object_get(entry, "name")));
	return true;
}

/* Makes the device that a text describes and writes its name. */
static bool make_described(const char *text, char *ret_name, size_t size)
{
	json_t *entry = is_path(text)    ? entry_of_path(text)
			: text[0] == '{' ? entry_of_json(text)
					 : entry_of_words(text);
	bool is_made = entry != NULL && make(text, entry, ret_name, size);

	json_decref(entry);
	return is_made;
}

bool tool_device_open(const char *text, int flags, int *ret_fd, xbdev_info_t *ret_info)
{
	char made[sizeof(ret_info->name)];
	const char *name = text;
	int fd;

	if (!find(text) && (is_path(text) || tool_device_is_named(text))) {
		if (!make_described(text, made, sizeof(made))) {
			return false;
		}
		name = made;
	}
	fd = xbdev_open_with(name, flags);
	if (fd < 0 || xbdev_get_info(fd, ret_info) != 0) {
		tool_say("opening '%s': %s", text, xbdev_last_error());
		return false;
	}
	*ret_fd = fd;
	return true;
}
