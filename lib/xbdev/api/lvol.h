/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/api: what the files about logical volumes share. On the control reactor. */
#ifndef XBDEV_API_LVOL_H
#define XBDEV_API_LVOL_H

#include "lib/xbdev/api/private.h"

struct xbdev_lvol;
struct xbdev_lvol_store;

/* The store or volume of this name or UUID; NULL: the call has been ended. */
struct xbdev_lvol_store *api_lvs_find(struct api_call *call, const char *name);
struct xbdev_lvol *api_lvol_find(struct api_call *call, const char *name);

/* Asks everything that is being done with volumes to stop. When the library ends. */
void api_lvol_cancel_all(void);

#endif
