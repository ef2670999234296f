/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices that a tool works on, as its command line names them:
 *
 *   NAME                        a device of the configuration, by name or UUID
 *   malloc:512MiB null:1TiB     a device that is made for this run; the first word behind the colon
 *   file:PATH                   is what the driver needs, others follow as ,PARAMETER=VALUE
 *   PATH                        beginning with / or ./ or ../: the same as file:PATH
 *   {"driver": ...}             an entry as in a configuration; the name may be left out
 *
 * Errors have been said when a function returns false.
 */
#ifndef TOOL_DEVICE_H
#define TOOL_DEVICE_H

#include <stdbool.h>

#include <xbdev/base.h>

/* Makes the devices of a configuration file: one of libxbdev's, or a node's. */
bool tool_config_load(const char *path);

/* Makes the device that `text` describes unless it exists, opens it with XBDEV_OPEN_… flags and
 * writes descriptor and information. */
bool tool_device_open(const char *text, int flags, int *ret_fd, xbdev_info_t *ret_info);

/* Whether `text` can only be a device: one that exists, or DRIVER:…, or an entry. */
bool tool_device_is_named(const char *text);

#endif
