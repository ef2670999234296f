/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the section "base_devices": its entries in the form of devices.h, and its jobs. */
#ifndef XBDEV_CONFIG_BASE_H
#define XBDEV_CONFIG_BASE_H

#include "lib/xbdev/config/section.h"

struct xbdev_device;

/* A checked entry of the document as an entry of devices.h: "driver" and the driver's parameters by
 * their own names. A new object; NULL: out of memory. */
json_t *xbdev__base_flat(const json_t *entry);
/* The other way round, for a canonical one. */
json_t *xbdev__base_entry(const json_t *flat);

/* How documents call a parameter of a driver. */
const char *xbdev__base_spelling(const json_t *flat, const char *name);

/* Whether the entry is one of a file that is made or made larger when it says so by its size. */
static inline bool xbdev__base_makes_files(const json_t *flat)
{
	return json_object_get(flat, "filename") != NULL && json_object_get(flat, "size") != NULL;
}

/* How many have the device open and may use it: by a claim, or by a channel. Drivers keep
 * descriptors of their own devices without either. */
uint32_t xbdev__base_nr_openers(const struct xbdev_device *dev);
/* Those but for the clones that stand on it in stores: they go with it, and are asked themselves.
 */
uint32_t xbdev__base_nr_others(const struct xbdev_device *dev);

/* For the table: base_plan.c, base_job.c. */
int xbdev__base_plan(struct xbdev_planning *planning);
void xbdev__base_apply(struct xbdev_job *job);
void xbdev__base_undo(struct xbdev_job *job);
int xbdev__base_prepare(struct xbdev_job *job);
void xbdev__base_forget(struct xbdev_job *job);

#endif
