/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of drivers, and the making of a device from JSON through it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xbdev/driver/driver.h"
#include "lib/xbdev/driver/module.h"

const struct xbdev_driver *xbdev_drivers[XBDEV_MAX_DRIVERS + 1] = {
	&xbdev__driver_null,
	&xbdev__driver_malloc,
	&xbdev__driver_file,
	&xbdev__driver_error,
	&xbdev__driver_delay,
	&xbdev__driver_nvme,
	&xbdev__driver_raid,
	NULL,
};

static const struct xbdev_driver *find_loaded(const char *name)
{
	for (size_t i = 0; xbdev_drivers[i] != NULL; i++) {
		const struct xbdev_driver *driver = xbdev_drivers[i];

		if (strcmp(driver->name, name) == 0 ||
			(driver->alias != NULL && strcmp(driver->alias, name) == 0)) {
			return driver;
		}
	}
	return NULL;
}

const struct xbdev_driver *xbdev_driver_find_or_load(const char *name, struct xu_error *err)
{
	const struct xbdev_driver *driver = find_loaded(name);

	if (driver == NULL) {
		driver = xbdev__module_load(name, err);
		if (driver != NULL && xbdev_driver_add(driver) != 0) {
			driver = NULL;
			xu_error_set(
				err, -ENOSPC, "there are %u drivers already", XBDEV_MAX_DRIVERS);
		}
	}
	return driver;
}

const struct xbdev_driver *xbdev_driver_find(const char *name)
{
	return xbdev_driver_find_or_load(name, NULL);
}

int xbdev_driver_add(const struct xbdev_driver *driver)
{
	const struct xbdev_driver *other = find_loaded(driver->name);
	size_t count = 0;

	if (other == NULL && driver->alias != NULL) {
		other = find_loaded(driver->alias);
	}
	if (other != NULL) {
		return other == driver ? 0 : -EEXIST;
	}
	while (xbdev_drivers[count] != NULL) {
		count++;
	}
	if (count == XBDEV_MAX_DRIVERS) {
		return -ENOSPC;
	}
	xbdev_drivers[count] = driver;
	return 0;
}

void xbdev_device_create(struct xbdev_ctx *ctx, const struct xbdev_driver *driver, json_t *params,
	char path[XU_PARAM_PATH_SIZE], xbdev_created_fn done, void *arg)
{
	void *opts = malloc(driver->opts_bytes);
	struct xu_error err = {0};
	int rc;

	if (opts == NULL) {
		xu_error_set_errno(&err, -ENOMEM, "making a %s device", driver->name);
		done(arg, NULL, &err);
		return;
	}
	memcpy(opts, driver->defaults, driver->opts_bytes);
	rc = xu_params_parse(driver->params, opts, params, path, &err);
	if (rc == 0 && driver->check != NULL) {
		rc = driver->check(opts, path, &err);
	}
	if (rc == 0) {
		driver->create(ctx, opts, done, arg);
	} else {
		done(arg, NULL, &err);
	}
	free(opts);
}

void xbdev__set_name(struct xbdev_device *dev, const char *name)
{
	size_t len = strnlen(name, XBDEV_NAME_SIZE);

	memcpy(dev->name, name, len);
}

json_t *xbdev__config_common(const struct xbdev_device *dev)
{
	char uuid[XU_UUID_TEXT_SIZE];

	xu_uuid_format(&dev->uuid, uuid);
	return json_pack("{s:s, s:s, s:s}", "driver", dev->driver, "name", dev->name, "uuid", uuid);
}
