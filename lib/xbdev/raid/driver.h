/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev: arrays as entries of a configuration, { "driver": "raid", "name": "md0",
 * "level": "raid5", "members": ["a", "b", "c"], … }. On the control reactor.
 */
#ifndef XBDEV_RAID_DRIVER_H
#define XBDEV_RAID_DRIVER_H

#include <jansson.h>

#include "lib/xbdev/raid/bring.h"

/* As the driver's create(), of a checked entry, in one of the modes. */
void xbdev__md_bring_entry(struct xbdev_ctx *ctx, const json_t *entry,
	enum xbdev_md_bring_mode mode, xbdev_md_brought_fn done, void *arg);

/*
 * Makes a running array what the entry says. Devices of its members' list (names or UUIDs) that are
 * new become spares, which are used at once when one is needed, others are taken out; a name of no
 * device is left alone. Who is write-mostly changes where the entry says it; spare group and
 * priority are the default where it does not. The first that cannot be done is the error, -EBUSY
 * for a member that serves. `done` borrows the error and runs once, later or at once.
 */
void xbdev__md_set_entry(struct xbdev_device *dev, const json_t *entry,
	void (*done)(void *arg, const struct xu_error *err), void *arg);

/* Whether the device is one of the array's, of whatever state. */
bool xbdev__md_has_member(const struct xbdev_device *array, const struct xbdev_device *base);

#endif
