/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/mgmt: arrays and superblocks as JSON. Each returns a new object. */
#ifndef XBDEV_MGMT_RAID_JSON_H
#define XBDEV_MGMT_RAID_JSON_H

#include <jansson.h>

#include "lib/xbdev/raid/examine.h"
#include "lib/xbdev/raid/raid.h"

/* As SPDK's bdev_raid_get_bdevs has it. */
json_t *xbdev__mgmt_raid_bdev(const char *name, const struct xbdev_md_info *info);
json_t *xbdev__mgmt_raid_detail(const char *name, const struct xbdev_md_info *info);
json_t *xbdev__mgmt_raid_examined(const char *name, const struct xbdev_md_examined *examined);

#endif
