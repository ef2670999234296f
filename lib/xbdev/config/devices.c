/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device entries: their canonical form, and devices made and changed by them. What a driver can
 * change on a running device is said here (the size, where the driver has resize(), the latencies
 * of a delay device; of an array its members, who of them is write-mostly, spare group and
 * priority); everything else needs the device to be made again.
 */
#include "lib/xbdev/config/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/util/error.h"
#include "lib/util/size.h"
#include "lib/util/uuid.h"
#include "lib/xbdev/driver/delay.h"
#include "lib/xbdev/lvol/stores.h"
#include "lib/xbdev/raid/driver.h"

static const struct xbdev_driver *driver_of(const json_t *entry)
{
	return xbdev_driver_find(json_string_value(json_object_get(entry, "driver")));
}

static const char *text_of(const json_t *entry, const char *key)
{
	return json_string_value(json_object_get(entry, key));
}

/* ---- form ---- */

json_t *xbdev_config_copy(const json_t *value)
{
	json_t *copy = json_deep_copy(value);

	if (!json_equal(copy, value)) {
		json_decref(copy);
		return NULL;
	}
	return copy;
}

/* The value of one parameter in its one form: a new reference. */
static json_t *canonical_value(const struct xu_param *param, json_t *value)
{
	char text[XU_UUID_TEXT_SIZE];
	struct xu_uuid uuid;
	uint64_t bytes;

	if (param->type == XU_PARAM_SIZE && json_is_string(value) &&
		xu_size_parse(json_string_value(value), &bytes) == 0) {
		return json_integer((json_int_t)bytes);
	}
	if (param->type == XU_PARAM_UUID && xu_uuid_parse(json_string_value(value), &uuid) == 0) {
		xu_uuid_format(&uuid, text);
		return json_string(text);
	}
	for (size_t i = 0; param->type == XU_PARAM_ENUM && param->choices[i] != NULL; i++) {
		if (strcasecmp(param->choices[i], json_string_value(value)) == 0) {
			return json_string(param->choices[i]);
		}
	}
	return json_incref(value);
}

/* Whether a value in its one form says what would hold without it. */
static bool is_default(const struct xu_param *param, const void *defaults, const json_t *value)
{
	const char *at = (const char *)defaults + param->offset;

	switch (param->type) {
	case XU_PARAM_BOOL:
		return *(const bool *)at == json_is_true(value);
	case XU_PARAM_U32:
		return *(const uint32_t *)(const void *)at == (uint64_t)json_integer_value(value);
	case XU_PARAM_U64:
	case XU_PARAM_SIZE:
		return *(const uint64_t *)(const void *)at == (uint64_t)json_integer_value(value);
	default:
		return false;
	}
}

json_t *xbdev_config_canonical_params(
	const struct xu_param *params, const void *defaults, json_t *object)
{
	json_t *canonical = json_object();
	int rc = canonical == NULL ? -1 : 0;

	for (const struct xu_param *param = params; param->name != NULL; param++) {
		json_t *value = json_object_get(object, param->name);

		if (value != NULL) {
			value = canonical_value(param, value);
			if (value != NULL && is_default(param, defaults, value)) {
				json_decref(value);
			} else {
				rc |= json_object_set_new(canonical, param->name, value);
			}
		}
	}
	if (rc != 0) {
		json_decref(canonical);
		return NULL;
	}
	return canonical;
}

/* A number of blocks becomes a size in bytes, so that there is one way to say it. */
static int fold_num_blocks(json_t *entry)
{
	json_t *count = json_object_get(entry, "num_blocks");
	json_t *block = json_object_get(entry, "block_size");
	json_int_t block_size = block != NULL ? json_integer_value(block) : 512;
	int rc;

	if (count == NULL) {
		return 0;
	}
	rc = json_object_set_new(
		entry, "size", json_integer(json_integer_value(count) * block_size));
	return rc | json_object_del(entry, "num_blocks");
}

json_t *xbdev_config_canonical(json_t *entry)
{
	const struct xbdev_driver *driver = driver_of(entry);
	json_t *params = xbdev_config_canonical_params(driver->params, driver->defaults, entry);
	json_t *object = json_pack("{s:s}", "driver", driver->name);
	int rc = json_object_update(object, params) | fold_num_blocks(object);

	json_decref(params);
	if (rc != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

const char *xbdev_config_base(const json_t *entry)
{
	return text_of(entry, "base");
}

static bool is_missing(const json_t *member)
{
	const char *name = json_string_value(member);

	return name == NULL || strcmp(name, XBDEV_MD_MISSING) == 0;
}

/* The place in the list of the member that is the nth but for those that are missing; the list's
 * size: there are fewer. */
static size_t place_of(const json_t *entry, size_t nth)
{
	const json_t *members = json_object_get(entry, "members");
	size_t i;

	for (i = 0; i < json_array_size(members); i++) {
		if (!is_missing(json_array_get(members, i)) && nth-- == 0) {
			break;
		}
	}
	return i;
}

size_t xbdev_config_nr_bases(const json_t *entry)
{
	const json_t *members = json_object_get(entry, "members"), *member;
	size_t nr = 0, i;

	if (xbdev_config_base(entry) != NULL) {
		return 1;
	}
	json_array_foreach ((json_t *)members, i, member) {
		nr += !is_missing(member);
	}
	return nr;
}

const char *xbdev_config_base_at(const json_t *entry, size_t nth)
{
	const char *base = xbdev_config_base(entry);

	if (base != NULL) {
		return nth == 0 ? base : NULL;
	}
	return json_string_value(
		json_array_get(json_object_get(entry, "members"), place_of(entry, nth)));
}

void xbdev_config_base_key(const json_t *entry, size_t nth, char *text, size_t size)
{
	if (xbdev_config_base(entry) != NULL) {
		snprintf(text, size, "base");
	} else {
		snprintf(text, size, "members[%zu]", place_of(entry, nth));
	}
}

bool xbdev_config_stands_on(const json_t *entry, const json_t *below)
{
	size_t nr_bases = xbdev_config_nr_bases(entry);

	for (size_t i = 0; i < nr_bases; i++) {
		if (xbdev_config_is_called(below, xbdev_config_base_at(entry, i))) {
			return true;
		}
	}
	return false;
}

bool xbdev_config_is_array(const json_t *entry)
{
	return driver_of(entry)->is_on_media;
}

bool xbdev_config_is_called(const json_t *entry, const char *name_or_uuid)
{
	const char *name = text_of(entry, "name"), *text = text_of(entry, "uuid");
	struct xu_uuid mine, wanted;

	if (name != NULL && strcmp(name, name_or_uuid) == 0) {
		return true;
	}
	return text != NULL && xu_uuid_parse(text, &mine) == 0 &&
	       xu_uuid_parse(name_or_uuid, &wanted) == 0 && xu_uuid_is_equal(&mine, &wanted);
}

/* ---- identity ---- */

static const struct xu_param *find_param(const json_t *entry, const char *name)
{
	for (const struct xu_param *param = driver_of(entry)->params; param->name != NULL;
		param++) {
		if (strcmp(param->name, name) == 0) {
			return param;
		}
	}
	return NULL;
}

bool xbdev_config_has_uuid(const json_t *entry)
{
	return find_param(entry, "uuid") != NULL && !driver_of(entry)->is_on_media;
}

/* Whether the driver chooses the block size when none is given. */
static bool chooses_block_size(const json_t *entry)
{
	const struct xu_param *param = find_param(entry, "block_size");
	const char *defaults = driver_of(entry)->defaults;

	return param != NULL && *(const uint32_t *)(const void *)(defaults + param->offset) == 0;
}

int xbdev_config_pin(json_t *entry, const struct xbdev_device *dev)
{
	char text[XU_UUID_TEXT_SIZE];
	int rc = 0;

	if (find_param(entry, "uuid") != NULL) {
		xu_uuid_format(&dev->uuid, text);
		rc |= json_object_set_new(entry, "uuid", json_string(text));
	}
	if (xbdev_config_is_array(entry)) {
		rc |= json_object_set_new(entry, "create", json_false());
	}
	if (chooses_block_size(entry)) {
		rc |= json_object_set_new(
			entry, "block_size", json_integer(dev->limits.block_size));
	}
	return rc == 0 ? 0 : -ENOMEM;
}

static int keep(json_t *entry, const json_t *older, const char *key)
{
	json_t *value = json_object_get(older, key);

	if (value == NULL || json_object_get(entry, key) != NULL) {
		return 0;
	}
	return json_object_set(entry, key, value) == 0 ? 0 : -ENOMEM;
}

/* Whether the entry names a disk that is not the older one's; that has an identity of its own. */
static bool is_another_disk(const json_t *entry, const json_t *older)
{
	static const char *const keys[] = {"pci_addr", "device", "nsid"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *value = json_object_get(entry, keys[i]);

		if (value != NULL && !json_equal(value, json_object_get(older, keys[i]))) {
			return true;
		}
	}
	return false;
}

/* Whether none of its members was the older one's: the identity is on them. */
static bool is_another_array(const json_t *entry, const json_t *older)
{
	for (size_t i = 0; i < xbdev_config_nr_bases(entry); i++) {
		for (size_t j = 0; j < xbdev_config_nr_bases(older); j++) {
			if (strcmp(xbdev_config_base_at(entry, i),
				    xbdev_config_base_at(older, j)) == 0) {
				return false;
			}
		}
	}
	return xbdev_config_is_array(entry);
}

int xbdev_config_keep(json_t *entry, const json_t *older)
{
	int rc;

	if (driver_of(entry) != driver_of(older) || is_another_disk(entry, older) ||
		is_another_array(entry, older)) {
		return 0;
	}
	rc = keep(entry, older, "uuid");
	if (rc == 0 && xbdev_config_is_array(entry)) {
		rc = keep(entry, older, "create");
	}
	if (rc == 0 && chooses_block_size(entry) &&
		json_equal(
			json_object_get(entry, "filename"), json_object_get(older, "filename"))) {
		rc = keep(entry, older, "block_size");
	}
	return rc;
}

/* ---- making ---- */

struct creation {
	struct xbdev_ctx *ctx;
	xbdev_created_fn done;
	void *arg;
};

static void on_created(void *arg, struct xbdev_device *dev, const struct xu_error *err)
{
	struct creation creation = *(struct creation *)arg;

	free(arg);
	xbdev__lvol_made(creation.ctx, dev, err, creation.done, creation.arg);
}

void xbdev_config_create(struct xbdev_ctx *ctx, json_t *entry, xbdev_created_fn done, void *arg)
{
	struct creation *creation = malloc(sizeof(*creation));
	json_t *params = xbdev_config_copy(entry);
	char path[XU_PARAM_PATH_SIZE];
	struct xu_error err = {0};

	if (params == NULL || creation == NULL) {
		json_decref(params);
		free(creation);
		xu_error_set_errno(&err, -ENOMEM, "making a device");
		done(arg, NULL, &err);
		return;
	}
	*creation = (struct creation){.ctx = ctx, .done = done, .arg = arg};
	json_object_del(params, "driver");
	xbdev_device_create(ctx, driver_of(entry), params, path, on_created, creation);
	json_decref(params);
}

/* ---- changing ---- */

static const struct {
	const char *key;
	size_t offset; /* in struct xbdev_delay_latency */
} latencies[] = {
	{"avg_read_latency_us", offsetof(struct xbdev_delay_latency, avg_read_us)},
	{"p99_read_latency_us", offsetof(struct xbdev_delay_latency, p99_read_us)},
	{"avg_write_latency_us", offsetof(struct xbdev_delay_latency, avg_write_us)},
	{"p99_write_latency_us", offsetof(struct xbdev_delay_latency, p99_write_us)},
};

#define NR_LATENCIES (sizeof(latencies) / sizeof(latencies[0]))

static bool is_changeable(const struct xbdev_device *dev, const json_t *entry, const char *key)
{
	if (xbdev_config_is_array(entry)) {
		return strcmp(key, "members") == 0 || strcmp(key, "raid_disks") == 0 ||
		       strcmp(key, "create") == 0 || strcmp(key, "assume_clean") == 0 ||
		       strcmp(key, "consistency_policy") == 0 || strcmp(key, "spare_group") == 0 ||
		       strcmp(key, "priority") == 0 || strcmp(key, "bitmap_chunk") == 0 ||
		       strcmp(key, "write_behind") == 0 || strcmp(key, "write_mostly") == 0;
	}
	if (strcmp(key, "size") == 0) {
		return dev == NULL || dev->ops->resize != NULL;
	}
	for (size_t i = 0; i < NR_LATENCIES; i++) {
		if (strcmp(key, latencies[i].key) == 0) {
			return strcmp(text_of(entry, "driver"), "delay") == 0;
		}
	}
	return false;
}

const char *xbdev_config_fixed(const struct xbdev_device *dev, const json_t *from, const json_t *to)
{
	const json_t *const sides[] = {to, from};
	const char *key;
	json_t *value;

	for (size_t i = 0; i < 2; i++) {
		json_object_foreach ((json_t *)sides[i], key, value) {
			if (!json_equal(json_object_get(from, key), json_object_get(to, key)) &&
				!is_changeable(dev, to, key)) {
				return key;
			}
		}
	}
	return NULL;
}

void xbdev_config_change(struct xbdev_device *dev, const json_t *to,
	void (*done)(void *arg, const struct xu_error *err), void *arg)
{
	json_t *size = json_object_get(to, "size");
	struct xbdev_delay_latency latency = {0};
	struct xu_error err = {0};

	if (xbdev__md_is_array(dev)) {
		xbdev__md_set_entry(dev, to, done, arg);
		return;
	}
	if (strcmp(dev->driver, "delay") == 0) {
		for (size_t i = 0; i < NR_LATENCIES; i++) {
			json_t *value = json_object_get(to, latencies[i].key);

			*(uint64_t *)(void *)((char *)&latency + latencies[i].offset) =
				(uint64_t)json_integer_value(value);
		}
		xbdev_delay_set(dev, &latency, &err);
	}
	if (err.code == 0 && size != NULL &&
		(uint64_t)json_integer_value(size) != xbdev_device_size_bytes(dev)) {
		dev->ops->resize(dev, (uint64_t)json_integer_value(size), done, arg);
		return;
	}
	done(arg, &err);
}
