/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/mgmt: what the methods for arrays share. */
#ifndef XBDEV_MGMT_RAID_JSON_H
#define XBDEV_MGMT_RAID_JSON_H

#include <jansson.h>

#include "lib/xbdev/raid/examine.h"
#include "lib/xbdev/raid/raid.h"

struct xbdev_mgmt;
struct xrpc_request;

/* The array of a method; NULL: the request has been answered. */
struct xbdev_device *xbdev__mgmt_raid_find(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const char *name);

/* Has the owner of the configuration remember the array, which is new, or its members; then answers
 * with true, or says that it is not remembered. */
void xbdev__mgmt_raid_keep(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, struct xbdev_device *dev, bool is_new);

/* Arrays and superblocks as JSON. Each returns a new object. */

/* As SPDK's bdev_raid_get_bdevs has it. */
json_t *xbdev__mgmt_raid_bdev(const char *name, const struct xbdev_md_info *info);
json_t *xbdev__mgmt_raid_detail(const char *name, const struct xbdev_md_info *info);
json_t *xbdev__mgmt_raid_examined(const char *name, const struct xbdev_md_examined *examined);

#endif
