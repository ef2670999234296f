/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The section "base_devices": devices of the driver table. A method is a driver's name or alias;
 * the parameters are the driver's, by its own names or by those of the document, which one table
 * translates. A method that documents may use but for which there is no driver in this version (its
 * module is not installed) is checked by a table of its own and refused later, when all else is
 * known to be right.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/config/base.h"
#include "lib/xbdev/config/devices.h"

#define MAX_SPELLINGS 3

/* ---- methods ---- */

struct method {
	const char *name;
	/* The document's name of a parameter, and the driver's, which may know both. */
	struct {
		const char *document, *driver;
	} spellings[MAX_SPELLINGS];
	/* What its entries need, whether there is a driver or not. */
	const struct xu_param *params;
	/* The driver takes the second instead of the first. */
	const char *needed, *instead;
};

struct missing_opts {
	const char *name;
	const char *text[2];
	uint32_t port;
	struct xu_uuid uuid;
};

#define NAME_AND_UUID                                                                              \
	{"name", XU_PARAM_STRING, offsetof(struct missing_opts, name), .is_required = true,        \
		.help = "name of the device"},                                                     \
	{                                                                                          \
		"uuid", XU_PARAM_UUID, offsetof(struct missing_opts, uuid),                        \
			.help = "identity (default: a new one)"                                    \
	}

static const struct xu_param nvme_params[] = {
	NAME_AND_UUID,
	{"pci_addr", XU_PARAM_STRING, offsetof(struct missing_opts, text[0]), .is_required = true,
		.help = "PCI address of the controller, such as \"0000:01:00.0\""},
	{0},
};

static const struct xu_param nvmf_params[] = {
	NAME_AND_UUID,
	{"addr", XU_PARAM_STRING, offsetof(struct missing_opts, text[0]), .is_required = true,
		.help = "address of the target"},
	{"port", XU_PARAM_U32, offsetof(struct missing_opts, port), .min = 1, .max = 65535,
		.help = "port of the target"},
	{"nqn", XU_PARAM_STRING, offsetof(struct missing_opts, text[1]), .is_required = true,
		.help = "NQN of the subsystem"},
	{0},
};

static const struct xu_param rbd_params[] = {
	NAME_AND_UUID,
	{"pool_name", XU_PARAM_STRING, offsetof(struct missing_opts, text[0]), .is_required = true,
		.help = "the Ceph pool"},
	{"image_name", XU_PARAM_STRING, offsetof(struct missing_opts, text[1]), .is_required = true,
		.help = "the image in the pool"},
	{0},
};

static const struct method methods[] = {
	{.name = "nvme", .params = nvme_params, .needed = "pci_addr", .instead = "device"},
	{"nvmf", {{"addr", "traddr"}, {"port", "trsvcid"}, {"nqn", "subnqn"}}, nvmf_params, NULL,
		NULL},
	{.name = "rbd", .params = rbd_params},
	{.name = "aio"},
};

static const struct method *find_method(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, name) == 0) {
			return &methods[i];
		}
	}
	return NULL;
}

/* How documents call a driver. */
static const char *method_of(const struct xbdev_driver *driver)
{
	return driver->alias != NULL && find_method(driver->alias) != NULL ? driver->alias
									   : driver->name;
}

/* All that a document may say, or only what this version has. */
static void method_names(char *text, size_t size, bool with_missing)
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; xbdev_drivers[i] != NULL && len < size; i++) {
		const struct xbdev_driver *driver = xbdev_drivers[i];

		if (driver->is_on_media) {
			continue; /* of another section */
		}
		len += (size_t)snprintf(
			text + len, size - len, "%s\"%s\"", len == 0 ? "" : ", ", driver->name);
		if (driver->alias != NULL && len < size) {
			len += (size_t)snprintf(text + len, size - len, ", \"%s\"", driver->alias);
		}
	}
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]) && len < size; i++) {
		if (with_missing && xbdev_driver_find(methods[i].name) == NULL) {
			len += (size_t)snprintf(
				text + len, size - len, ", \"%s\"", methods[i].name);
		}
	}
}

/* ---- the driver's form ---- */

static const struct xu_param *find_param(const struct xbdev_driver *driver, const char *name)
{
	for (const struct xu_param *param = driver->params; param->name != NULL; param++) {
		if (strcmp(param->name, name) == 0) {
			return param;
		}
	}
	return NULL;
}

/* Two names of one parameter. */
static bool is_alias(const struct xu_param *a, const struct xu_param *b)
{
	return a != NULL && b != NULL && a->offset == b->offset && a->type == b->type;
}

/* The one name by which a parameter goes here, of those that the driver knows: the document's, else
 * the first. `name` itself when the driver does not know it. */
static const char *one_name(const struct xbdev_driver *driver, const char *name)
{
	const struct method *method = find_method(method_of(driver));
	const struct xu_param *param = find_param(driver, name), *first = driver->params;

	for (size_t i = 0; method != NULL && i < MAX_SPELLINGS; i++) {
		const char *document = method->spellings[i].document;

		if (document == NULL) {
			break;
		}
		if (param == NULL && strcmp(document, name) == 0) {
			param = find_param(driver, method->spellings[i].driver);
		}
		if (is_alias(find_param(driver, document), param)) {
			return document;
		}
	}
	while (param != NULL && !is_alias(first, param)) {
		first++;
	}
	return param != NULL ? first->name : name;
}

/* What the document calls a parameter that goes by that one name here. */
static const char *spelling_of(const struct xbdev_driver *driver, const char *name)
{
	const struct method *method = find_method(method_of(driver));

	for (size_t i = 0; method != NULL && i < MAX_SPELLINGS; i++) {
		const char *document = method->spellings[i].document;

		if (document != NULL && find_param(driver, document) == NULL &&
			strcmp(one_name(driver, document), name) == 0) {
			return document;
		}
	}
	return name;
}

const char *xbdev__base_spelling(const json_t *flat, const char *name)
{
	return spelling_of(
		xbdev_driver_find(json_string_value(json_object_get(flat, "driver"))), name);
}

/* Copies the parameters under their one names, or under the document's. -EEXIST: two are the same,
 * `path` says which; -ENOMEM. */
static int translate_all(const struct xbdev_driver *driver, const json_t *params, bool to_document,
	json_t *to, char path[XBDEV_TEXT_PATH_SIZE])
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)params, key, value) {
		const char *name = one_name(driver, key);

		if (to_document) {
			name = spelling_of(driver, name);
		}
		if (key[0] == '_') {
			continue;
		}
		if (json_object_get(to, name) != NULL) {
			snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.%s", key);
			return -EEXIST;
		}
		if (json_object_set(to, name, value) != 0) {
			return -ENOMEM;
		}
	}
	return 0;
}

static json_t *make_flat(const struct xbdev_driver *driver, const json_t *params,
	char path[XBDEV_TEXT_PATH_SIZE], int *ret_rc)
{
	json_t *flat = json_object();
	int rc = flat == NULL ? -ENOMEM : translate_all(driver, params, false, flat, path);

	/* Last, so that the order of the parameters' errors is that of the document. */
	if (rc == 0 && json_object_set_new(flat, "driver", json_string(driver->name)) != 0) {
		rc = -ENOMEM;
	}
	*ret_rc = rc;
	if (rc != 0) {
		json_decref(flat);
		return NULL;
	}
	return flat;
}

json_t *xbdev__base_flat(const json_t *entry)
{
	const struct xbdev_driver *driver =
		xbdev_driver_find(json_string_value(json_object_get(entry, "method")));
	char path[XBDEV_TEXT_PATH_SIZE];
	int rc;

	return make_flat(driver, json_object_get(entry, "params"), path, &rc);
}

json_t *xbdev__base_entry(const json_t *flat)
{
	const struct xbdev_driver *driver =
		xbdev_driver_find(json_string_value(json_object_get(flat, "driver")));
	char path[XBDEV_TEXT_PATH_SIZE];
	json_t *entry = json_pack("{s:s, s:{}}", "method", method_of(driver), "params");
	json_t *params = json_object_get(entry, "params");

	if (entry == NULL || translate_all(driver, flat, true, params, path) != 0 ||
		json_object_del(params, "driver") != 0) {
		json_decref(entry);
		return NULL;
	}
	return entry;
}

/* ---- checking ---- */

static int out_of_memory(struct xu_error *err)
{
	return xu_error_set_errno(err, -ENOMEM, "checking a document");
}

/* What is outside of the library and for one device only. */
static const struct {
	const char *key, *part;
} resources[] = {
	{"filename", NULL},
	{"pci_addr", "nsid"},
	{"device", "nsid"},
};

/* Makes the item of a canonical entry of devices.h, which it takes. */
static int fill_item(struct xbdev_item *item, json_t *flat, struct xu_error *err)
{
	json_t *entry = flat != NULL ? xbdev__base_entry(flat) : NULL;
	const char *name = json_string_value(json_object_get(flat, "name"));
	int rc = xbdev_item_set(item, name, entry, err);

	if (rc == 0 && xbdev_config_base(flat) != NULL) {
		rc = xbdev_item_use(item, "base", -1, XBDEV_SPACE_DEVICE, true, err);
	}
	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		if (json_is_string(json_object_get(flat, resources[i].key))) {
			item->resource_key = resources[i].key;
			item->resource_part = resources[i].part;
		}
	}
	item->is_resource_shared = json_is_true(json_object_get(flat, "read_only"));
	json_decref(flat);
	return rc;
}

/* The key in the document of a parameter that goes by that one name here. */
static const char *key_of(const struct xbdev_driver *driver, const json_t *params, const char *name)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)params, key, value) {
		if (strcmp(one_name(driver, key), name) == 0) {
			return key;
		}
	}
	return name;
}

/* What an entry must have is known here for the drivers that take it under several names, or one
 * of two, and so cannot say of either that it is required. */
static int check_needs(const struct xbdev_driver *driver, const json_t *flat,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const struct method *method = find_method(method_of(driver));
	const struct xu_param *param = method != NULL ? method->params : NULL;
	bool has_instead = method != NULL && method->instead != NULL &&
			   json_object_get(flat, method->instead) != NULL;

	if (has_instead && json_object_get(flat, method->needed) != NULL) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.%s", method->instead);
		return xu_error_set(
			err, -EINVAL, "it takes this or '%s', one of the two", method->needed);
	}
	for (; param != NULL && param->name != NULL; param++) {
		if (!param->is_required || json_object_get(flat, param->name) != NULL ||
			(has_instead && strcmp(param->name, method->needed) == 0)) {
			continue;
		}
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params");
		return xu_error_set(err, -EINVAL, "'%s' is missing: %s", param->name, param->help);
	}
	return 0;
}

static int check_by_driver(const struct xbdev_driver *driver, json_t *params,
	struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	char inner[XU_PARAM_PATH_SIZE];
	json_t *flat;
	int rc;

	if (json_object_get(params, "driver") != NULL) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params.driver");
		return xu_error_set(err, -EINVAL,
			"'driver' is not known here; the driver is what 'method' says");
	}
	flat = make_flat(driver, params, path, &rc);
	if (flat == NULL) {
		return rc == -EEXIST ? xu_error_set(err, -EINVAL,
					       "the same is said twice, under another name; one "
					       "of the two is accepted")
				     : out_of_memory(err);
	}
	rc = xbdev_config_check_device(flat, inner, err);
	if (rc != 0) {
		/* The sentence goes behind the path, in which the document's name may be. */
		xbdev_text_strip_name(err, inner);
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params%s%s", inner[0] != '\0' ? "." : "",
			key_of(driver, params, inner));
	} else {
		rc = check_needs(driver, flat, path, err);
	}
	if (rc == 0) {
		rc = fill_item(item, xbdev_config_canonical(flat), err);
	}
	json_decref(flat);
	return rc;
}

/* The members that the table knows; what else a driver would take is not known without it. */
static json_t *known_params(const struct xu_param *param, const json_t *params)
{
	json_t *known = json_object(), *value;
	int rc = known == NULL ? -1 : 0;

	for (; param->name != NULL && rc == 0; param++) {
		value = json_object_get(params, param->name);
		rc = value != NULL ? json_object_set(known, param->name, value) : 0;
	}
	if (rc != 0) {
		json_decref(known);
		return NULL;
	}
	return known;
}

/* An entry of a method without a driver. */
static int check_by_method(const struct method *method, json_t *params, struct xbdev_item *item,
	char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	struct missing_opts opts = {0};
	const struct missing_opts defaults = {0};
	json_t *known = known_params(method->params, params);
	char inner[XU_PARAM_PATH_SIZE];
	int rc;

	if (known == NULL) {
		return out_of_memory(err);
	}
	rc = xu_params_parse(method->params, &opts, known, inner, err);
	if (rc == 0) {
		snprintf(inner, sizeof(inner), "name");
		rc = xbdev_section_check_name(opts.name, false, err);
	}
	if (rc != 0) {
		snprintf(path, XBDEV_TEXT_PATH_SIZE, "params%s%s", inner[0] != '\0' ? "." : "",
			inner);
	} else {
		rc = xbdev_item_set(item, opts.name,
			json_pack("{s:s, s:o}", "method", method->name, "params",
				xbdev_config_canonical_params(method->params, &defaults, known)),
			err);
	}
	json_decref(known);
	return rc;
}

static int base_check(json_t *entry, struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE],
	struct xu_error *err)
{
	const struct xbdev_driver *driver;
	const struct method *method;
	struct xu_error module = {0};
	const char *name;
	char names[256];
	json_t *params;
	int rc = xbdev_section_check_call(entry, &name, &params, path, err);

	if (rc != 0) {
		return rc;
	}
	driver = xbdev_driver_find_or_load(name, &module);
	method = find_method(name);
	if (driver != NULL && !driver->is_on_media) {
		return check_by_driver(driver, params, item, path, err);
	}
	if (method != NULL && method->params != NULL) {
		return check_by_method(method, params, item, path, err);
	}
	snprintf(path, XBDEV_TEXT_PATH_SIZE, "method");
	if (driver == NULL &&
		module.code != -ENOENT) { /* it is there, does not work, and says why */
		return xu_error_set(err, -EINVAL, "%s", module.text);
	}
	method_names(names, sizeof(names), true);
	return xu_error_set(
		err, -EINVAL, "\"%.64s\" is not accepted; it takes one of: %s", name, names);
}

static int base_can(
	const struct xbdev_item *item, char path[XBDEV_TEXT_PATH_SIZE], struct xu_error *err)
{
	const char *name = json_string_value(json_object_get(item->entry, "method"));
	char names[256];

	if (xbdev_driver_find(name) != NULL) {
		return 0;
	}
	snprintf(path, XBDEV_TEXT_PATH_SIZE, "method");
	method_names(names, sizeof(names), false);
	return xu_error_set(err, -EOPNOTSUPP,
		"'%.128s' cannot be made: this version has no driver \"%s\"; it has: %s",
		item->name, name, names);
}

/* ---- what there is ---- */

/* The entry that would make the device again. A driver that runs out of memory leaves members out
 * without a word, so it is asked twice. */
static int describe(const struct xbdev_device *dev, json_t **ret_entry, struct xu_error *err)
{
	json_t *flat, *again, *canonical = NULL;

	if (dev->ops->config == NULL) {
		return xu_error_set(err, -EOPNOTSUPP,
			"device '%s' cannot be described: its driver \"%s\" does not do that",
			dev->name, dev->driver);
	}
	flat = dev->ops->config(dev);
	again = dev->ops->config(dev);
	if (json_equal(flat, again) && json_object_get(flat, "name") != NULL &&
		json_object_get(flat, "driver") != NULL) {
		canonical = xbdev_config_canonical(flat);
	}
	*ret_entry = canonical != NULL ? xbdev__base_entry(canonical) : NULL;
	json_decref(flat);
	json_decref(again);
	json_decref(canonical);
	return *ret_entry != NULL
		       ? 0
		       : xu_error_set_errno(err, -ENOMEM, "describing device '%s'", dev->name);
}

/* Whether it is one of the table's, without asking for a module of that name. */
static bool is_base_device(const struct xbdev_device *dev)
{
	size_t i = 0;

	while (xbdev_drivers[i] != NULL && strcmp(xbdev_drivers[i]->name, dev->driver) != 0) {
		i++;
	}
	return xbdev_drivers[i] != NULL && !xbdev_drivers[i]->is_on_media;
}

static int base_save(struct xbdev_ctx *ctx, json_t *list, struct xu_error *err)
{
	struct xbdev_device *dev = NULL;
	json_t *entry = NULL;
	int rc = 0;

	while (rc == 0 && (dev = xbdev_device_next(ctx, dev)) != NULL) {
		/* Others belong to other sections; what is going is not there any more. */
		if (!is_base_device(dev) || atomic_load(&dev->state) != XBDEV_DEVICE_READY) {
			continue;
		}
		rc = describe(dev, &entry, err);
		if (rc == 0 && json_array_append_new(list, entry) != 0) {
			rc = xu_error_set_errno(err, -ENOMEM, "describing the devices");
		}
	}
	return rc;
}

const struct xbdev_section xbdev__section_base = {
	.key = "base_devices",
	.one = "device",
	.is_call = true,
	.space = XBDEV_SPACE_DEVICE,
	.check = base_check,
	.can = base_can,
	.plan = xbdev__base_plan,
	.apply = xbdev__base_apply,
	.undo = xbdev__base_undo,
	.prepare = xbdev__base_prepare,
	.forget = xbdev__base_forget,
	.save = base_save,
};
