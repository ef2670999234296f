/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/xbdev/raid: whether a device holds anything that somebody may miss. */
#ifndef XBDEV_RAID_BLANK_H
#define XBDEV_RAID_BLANK_H

struct xbdev_ctx;
struct xu_error;

/*
 * Looks at both ends of a device (name or UUID), where tables of partitions, file systems, volume
 * managers, ciphers and arrays have their labels: 128 KiB of each must be zeroes. `cb` runs once,
 * later or at once, with an error whose code is 0 when they are; -EEXIST: they are not; -ENODEV, or
 * what reading gave. Nothing is claimed. On the control reactor.
 */
void xbdev__md_look_blank(struct xbdev_ctx *ctx, const char *name,
	void (*cb)(void *arg, const struct xu_error *err), void *arg);

#endif
