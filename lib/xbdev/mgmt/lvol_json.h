/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/mgmt: what the methods for stores and for volumes share. */
#ifndef XBDEV_MGMT_LVOL_JSON_H
#define XBDEV_MGMT_LVOL_JSON_H

#include <jansson.h>

#include "lib/xbdev/lvol/stores.h"

struct xbdev_mgmt;
struct xrpc_request;

/* Stores and volumes as JSON: SPDK's members first, then ours. Each returns a new object. */
json_t *xbdev__mgmt_lvs_json(const struct xbdev_lvol_store *store);
json_t *xbdev__mgmt_lvol_json(struct xbdev_lvol *volume);
/* The same of a volume of the store that is being made. */
json_t *xbdev__mgmt_making_json(
	const struct xbdev_lvol_store *store, const struct xbdev_lvol_op *making);

/* The store that has the UUID or the name, one of which is given (a null UUID and NULL are not);
 * NULL: the request has been answered. */
struct xbdev_lvol_store *xbdev__mgmt_lvs_find(struct xbdev_mgmt *mgmt, struct xrpc_request *req,
	const struct xu_uuid *uuid, const char *name);
/* The volume that is called so, also one that is no device; NULL: the same. */
struct xbdev_lvol *xbdev__mgmt_lvol_find(
	struct xbdev_mgmt *mgmt, struct xrpc_request *req, const char *name);

#endif
