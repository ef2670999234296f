/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/lvol: a new store on a device, and the end of one.
 */
#ifndef XBDEV_LVOL_CREATE_H
#define XBDEV_LVOL_CREATE_H

#include "lib/xbdev/lvol/store.h"

enum xbdev_lvs_clear {
	XBDEV_LVS_CLEAR_DEVICE_UNMAP, /* discards what is behind the metadata, where it can be */
	XBDEV_LVS_CLEAR_DEVICE_ZEROES,
	XBDEV_LVS_CLEAR_DEVICE_NONE,
};

struct xbdev_lvs_create_opts {
	const char *name;
	struct xu_uuid uuid;
	uint32_t cluster_size; /* bytes; 0: 4 MiB */
	uint32_t md_ratio;     /* md pages per 100 clusters; 0: 100 */
	uint32_t page_size;    /* 0: 4096 */
	enum xbdev_lvs_clear clear;
};

/*
 * Makes an empty store over whatever the device holds, on the channel's reactor, where `done` runs
 * once, later: with the store, as after xbdev__lvs_load() (unclean until it is unloaded), or NULL
 * and a sentence. Until the last write there is no store on the device. Borrows opts during the
 * call, channel and device name as long as the store lives.
 */
void xbdev__lvs_create(struct xbdev_channel *ch, const char *device,
	const struct xbdev_lvs_create_opts *opts,
	void (*done)(void *arg, struct xbdev_lvs *store, const struct xu_error *err), void *arg);

/* Overwrites the super block with zeroes, durably: there is no store any more; then 128 KiB of both
 * ends of the device, so that it is blank. On the channel's reactor, where `done` runs once, later.
 */
void xbdev__lvs_erase_super(struct xbdev_channel *ch, const char *device,
	void (*done)(void *arg, const struct xu_error *err), void *arg);

#endif
