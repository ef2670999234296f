/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block devices in the simulator, for tests: contexts on simulated hosts, devices made from JSON,
 * and I/O that runs the world until it has completed. Everything is called from outside of any
 * reactor and does its work on the right one.
 */
#ifndef TEST_SIM_BDEV_H
#define TEST_SIM_BDEV_H

#include "lib/xbdev/core/device.h"
#include "test/sim/sim.h"

struct xu_error;
struct xu_logger;

/* A context on a host. `log` may be NULL. */
struct xbdev_ctx *sim_ctx_new(struct sim_host *host, uint32_t nr_reactors, struct xu_logger *log);
/* Removes all devices, the newest first, and frees the context. Its openers must have closed; the
 * host must be alive or buried. NULL is fine. */
void sim_ctx_free(struct sim *sim, struct xbdev_ctx *ctx);

/* Makes a device; `json` is the object with its parameters, single quotes allowed for double ones.
 * NULL with a sentence in err. */
struct xbdev_device *sim_bdev_create(struct sim *sim, struct xbdev_ctx *ctx, const char *driver,
	const char *json, struct xu_error *err);
/* Waits until it is gone. Its openers must close when they are told. */
void sim_bdev_remove(struct sim *sim, struct xbdev_device *dev);

/* An open device with a channel on one reactor. */
struct sim_bdev {
	struct sim *sim;
	struct xbdev_desc *desc;
	struct xbdev_channel *ch;
};

/* For reading and writing, on reactor `index`. 0 or -errno. */
int sim_bdev_open(struct sim *sim, struct xbdev_ctx *ctx, const char *name, uint32_t index,
	struct sim_bdev *ret_bdev, struct xu_error *err);
void sim_bdev_close(struct sim_bdev *bdev);

/* One I/O (enum xbdev_op), from its submission to its completion. Its status; -ETIMEDOUT after an
 * hour of virtual time, with the I/O still in flight. */
int sim_bdev_io(
	struct sim_bdev *bdev, uint8_t op, uint8_t flags, uint64_t offset, void *buf, uint64_t len);

#endif
