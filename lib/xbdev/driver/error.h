/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors made on purpose, on devices of the driver "error". A rule says which I/Os it hits and what
 * becomes of them. Rules are tried in the order in which they were injected; the first that hits
 * takes the I/O, and rules after it do not count it. A rule that has hit `count` times is gone.
 *
 * The I/Os are those that reach the driver: a COMPARE comes as a READ, and what the core makes for
 * a device that cannot do something itself comes as made (a FUA write as a WRITE and a FLUSH,
 * zeroes as a WRITE, a large transfer in pieces).
 *
 * The calls are for the control reactor; -EINVAL when the device is not of this driver.
 */
#ifndef XBDEV_DRIVER_ERROR_H
#define XBDEV_DRIVER_ERROR_H

#include <stdint.h>

struct xbdev_device;
struct xu_error;

#define XBDEV_ERROR_MAX_RULES 64u

enum xbdev_error_kind {
	XBDEV_ERROR_FAIL,    /* ends with an error and does not reach the base */
	XBDEV_ERROR_HANG,    /* held until xbdev_error_clear(), which lets it go on, or removal */
	XBDEV_ERROR_CORRUPT, /* flips bits of what is read, or of what is written on its way to the
				base; the writer's buffer stays as it is */
	XBDEV_ERROR_NR_KINDS
};

struct xbdev_error_rule {
	enum xbdev_error_kind kind;
	uint32_t ops_mask; /* bits 1 << XBDEV_OP_…; 0: all. CORRUPT: reads and writes among them */
	uint64_t offset;   /* bytes of the device; only I/Os that touch the range are hit, */
	uint64_t len;      /* and no FLUSH. 0: anywhere */
	uint64_t skip;     /* so many are let through first: N - 1 to hit the Nth */
	uint64_t count;    /* so many are hit; 0: without end */
	uint32_t probability_ppm; /* each is hit with this chance in a million; 0: for sure */
	uint32_t queue_depth;     /* only while so many others of its channel are at the base */
	int error;                /* FAIL: -errno; 0: -EIO */
	uint64_t corrupt_offset;  /* CORRUPT: which byte of the part of the I/O in the range (modulo
				     its length) */
	uint8_t corrupt_mask;     /* CORRUPT: the bits to flip; 0: all */
};

/*
 * Adds a rule, a copy is kept. `done` (may be NULL) runs on the control reactor once it is active;
 * every I/O submitted after that is subject to it. -ENOSPC at XBDEV_ERROR_MAX_RULES, -EINVAL,
 * -ENODEV when the device is being removed, -ENOMEM: then `done` never runs.
 */
int xbdev_error_inject(struct xbdev_device *dev, const struct xbdev_error_rule *rule,
	void (*done)(void *arg), void *arg, struct xu_error *err);

/* Drops all rules and lets the I/Os that hang go on to the base; otherwise as inject. */
int xbdev_error_clear(
	struct xbdev_device *dev, void (*done)(void *arg), void *arg, struct xu_error *err);

/* How many I/Os have been hit since the device was made, by kind. */
int xbdev_error_counts(const struct xbdev_device *dev, uint64_t ret_counts[XBDEV_ERROR_NR_KINDS]);

#endif
