/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel tells of its devices coming, changing and going: one socket per context, opened
 * for the first who wants to know and kept as long as the context. Everything here is for the
 * control reactor.
 */
#ifndef XBDEV_CORE_UEVENT_H
#define XBDEV_CORE_UEVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/util/list.h"

struct xbdev_ctx;
struct xu_error;

/* One event; texts are valid during the call and "" when the kernel did not tell. */
struct xbdev_uevent {
	const char *action;    /* "add", "remove", "change"... */
	const char *subsystem; /* "block", "nvme"... */
	const char *devname;   /* below /dev */
	const char *devpath;   /* below /sys */
	uint64_t diskseq;      /* of a disk: a number that no other disk gets before a reboot; 0 */
	bool is_resize;
	bool are_lost; /* events have been lost, and this is none: look for yourself */
};

struct xbdev_uevent_watch {
	/* Must not delete another watch. */
	void (*fn)(struct xbdev_uevent_watch *watch, const struct xbdev_uevent *event);
	struct xu_list link;
};

/* Calls watch->fn for every event from now on. -EOPNOTSUPP on a platform without any, or what the
 * kernel says. */
int xbdev_uevent_watch_add(
	struct xbdev_ctx *ctx, struct xbdev_uevent_watch *watch, struct xu_error *err);
/* One that was not added is left alone (zeroed). */
void xbdev_uevent_watch_del(struct xbdev_uevent_watch *watch);

#endif
