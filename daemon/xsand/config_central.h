/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a registry has set of a subsystem ("registry" of a subsystem, written by the node itself):
 * for each of the subsystem's targets there, by its address and port, the part of the desired
 * configuration that a node carries out. The targets are one subsystem here, so they may not
 * differ.
 */
#ifndef XSAND_CONFIG_CENTRAL_H
#define XSAND_CONFIG_CENTRAL_H

#include <jansson.h>

#include "daemon/xsand/config_check.h"

int check_central(struct check *c, const char *path, json_t *object);

/*
 * All of them together, in a flat form: what is set of queue_depth, max_connections, any_host,
 * hosts and read_only. -EINVAL with a sentence that names the member and a target that wants
 * something else than the others; -ENOMEM.
 */
int central_merge(const json_t *central, json_t **ret_merged, struct xu_error *err);

#endif
