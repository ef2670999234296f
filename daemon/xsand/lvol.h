/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores and volumes that the configuration names. */
#ifndef XSAND_LVOL_H
#define XSAND_LVOL_H

#include <jansson.h>

struct xbdev_ctx;
struct xu_error;

/*
 * Makes the store or volume of an entry of the list `list` ("lvol_stores", "lvol_volumes"), or
 * finds it and compares and changes it; nothing that holds something is written over, and nothing
 * is lost. `older` (may be NULL) is the entry that has been carried out before. When it is done the
 * entry, which is borrowed until `done`, says so (config_lvol_pin()). `done` comes once, later or
 * at once. On the control reactor.
 */
void lvol_make(struct xbdev_ctx *ctx, const char *list, const char *name, json_t *entry,
	const json_t *older, void (*done)(void *arg, const struct xu_error *err), void *arg);

#endif
