/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/driver: drivers that are loaded when they are first asked for. */
#ifndef XBDEV_DRIVER_MODULE_H
#define XBDEV_DRIVER_MODULE_H

struct xbdev_driver;
struct xbdev_module;
struct xu_error;

/*
 * Loads the module of driver `name` and makes a driver of it, which stays. NULL: there is no such
 * module (err->code -ENOENT), or it cannot be used (err says why).
 */
const struct xbdev_driver *xbdev__module_load(const char *name, struct xu_error *err);

/* Makes a driver of a module that is there already. -EINVAL, -ENOMEM, or what its load() says. */
int xbdev__module_wrap(const struct xbdev_module *module, const struct xbdev_driver **ret_driver,
	struct xu_error *err);

#endif
