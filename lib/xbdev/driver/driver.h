/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers: what makes devices. A driver is one file and one entry in the table of table.c; its
 * parameters are described by a table too, so configuration, RPC and command line need no code of
 * their own for it.
 */
#ifndef XBDEV_DRIVER_H
#define XBDEV_DRIVER_H

#include "lib/util/error.h"
#include "lib/util/param.h"
#include "lib/xbdev/core/device.h"

/* Runs on the control reactor; dev is NULL when err says why. */
typedef void (*xbdev_created_fn)(void *arg, struct xbdev_device *dev, const struct xu_error *err);

struct xbdev_driver {
	const char *name;
	const char *alias; /* another name for it, or NULL */
	const char *help;  /* one sentence */
	const struct xu_param *params;
	size_t opts_bytes;
	const void *defaults; /* opts_bytes */
	/* Its devices lie on the media of others, the list "members" of its parameters, and are
	 * found there with their UUID. Documents describe them in a section of their own. */
	bool is_on_media;
	/* Optional: what the table cannot say of the parameters; as xu_params_parse(). */
	int (*check)(const void *opts, char path[XU_PARAM_PATH_SIZE], struct xu_error *err);
	/* Makes a device; borrows opts during the call only. Calls `done` once, maybe before it
	 * returns. On the control reactor. */
	void (*create)(struct xbdev_ctx *ctx, const void *opts, xbdev_created_fn done, void *arg);
};

#define XBDEV_MAX_DRIVERS 64u

/* All drivers, ends with NULL. */
extern const struct xbdev_driver *xbdev_drivers[XBDEV_MAX_DRIVERS + 1];

/* Adds a driver of another library to the table, for good; the same one again is fine. While no
 * context runs, or on its control reactor. -EEXIST: its name is taken; -ENOSPC. */
int xbdev_driver_add(const struct xbdev_driver *driver);

/*
 * By name or alias. One that is not in the table is looked for among the modules (xbdev/module.h),
 * loaded and added. NULL when there is none; _or_load() says why not: -ENOENT when there is no such
 * module either.
 */
const struct xbdev_driver *xbdev_driver_find(const char *name);
const struct xbdev_driver *xbdev_driver_find_or_load(const char *name, struct xu_error *err);

/*
 * Makes a device from JSON parameters (without the "driver" member). Calls `done` once, maybe
 * before it returns; a parameter error gives its path in `path`.
 */
void xbdev_device_create(struct xbdev_ctx *ctx, const struct xbdev_driver *driver, json_t *params,
	char path[XU_PARAM_PATH_SIZE], xbdev_created_fn done, void *arg);

extern const struct xbdev_driver xbdev__driver_null;
extern const struct xbdev_driver xbdev__driver_malloc;
extern const struct xbdev_driver xbdev__driver_file;
extern const struct xbdev_driver xbdev__driver_error;
extern const struct xbdev_driver xbdev__driver_delay;
extern const struct xbdev_driver xbdev__driver_nvme;
extern const struct xbdev_driver xbdev__driver_raid; /* lib/xbdev/raid */

#define XBDEV__QUEUE_DEPTH 1024u

/* Copies a name parameter into the device; too long ones are cut so that registration refuses
 * them. */
void xbdev__set_name(struct xbdev_device *dev, const char *name);
/* A new object with the members that every device's configuration has: driver, name, uuid. */
json_t *xbdev__config_common(const struct xbdev_device *dev);

#endif
