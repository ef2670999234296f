/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the section "raid_devices": its entries as the driver "raid" has them, and its jobs.
 */
#ifndef XBDEV_CONFIG_ARRAY_H
#define XBDEV_CONFIG_ARRAY_H

#include "lib/xbdev/config/section.h"

/* A checked entry of the document as an entry of devices.h, and the other way round. A new object;
 * NULL: out of memory. */
json_t *xbdev__array_flat(const json_t *entry);
json_t *xbdev__array_entry(const json_t *flat);

/* For the table: array_plan.c, array_job.c. */
int xbdev__array_plan(struct xbdev_planning *planning);
void xbdev__array_apply(struct xbdev_job *job);
void xbdev__array_undo(struct xbdev_job *job);
void xbdev__array_forget(struct xbdev_job *job);

#endif
