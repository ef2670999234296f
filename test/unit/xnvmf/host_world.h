/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the host share: in one simulated world a node with our target, and a machine
 * whose context has the host's devices. Calls run the world until they have done their work; what
 * cannot fail in a test that is right is asserted.
 */
#ifndef TEST_HOST_WORLD_H
#define TEST_HOST_WORLD_H

#include "lib/xnvmf/host/host.h"
#include "lib/xnvmf/target/target.h"
#include "test/sim/sim_bdev.h"
#include "test/sim/sim_net.h"
#include "test/unit/xbdev/model.h"

#define WORLD_NQN     "nqn.2026-11.io.xsan:world"
#define WORLD_HOSTNQN "nqn.2014-08.org.nvmexpress:uuid:7d6a11d3-98c5-4d1c-a4a1-2f0d7a4d9f10"

struct host_world {
	struct sim *sim;
	struct sim_host *node, *machine;
	struct xbdev_ctx *node_ctx, *ctx;
	struct xnvmf_target *target;
	struct xnvmf_subsystem *subsystem;
	struct xnvmf_target_opts target_opts;
	const char *driver, *device; /* of namespace 1: how it is made, 'single quotes' */
	struct xu_logger *log;
	bool is_stopped;
	uint32_t nr_calls; /* of the callback that counts */
	bool is_removed;   /* the device that was last opened by world_watch() */
	bool is_resized;
};

/* A world with a machine of `nr_reactors`, and no node yet. */
void world_start(struct host_world *w, uint64_t seed, uint32_t nr_reactors);
/* The node, by w->target_opts, w->driver and w->device: namespace 1 on a device named "disk". */
void world_start_node(struct host_world *w);
void world_stop_node(struct host_world *w);
/* Removes what devices the machine has; stops the node if there is one. */
void world_stop(struct host_world *w);

/* Runs fn(w) on the node's control reactor. */
void world_on_node(struct host_world *w, void (*fn)(struct host_world *w));
void world_run_for(struct host_world *w, uint64_t ns);
/* Runs the world until `is_done`, at most `seconds`; false when it is not. */
bool world_run_until(struct host_world *w, bool (*is_done)(struct host_world *w), uint32_t seconds);

/* The device "r" for the node's namespace; `more` are further parameters, "" or ", 'a': 1". */
struct xbdev_device *world_try_attach(struct host_world *w, const char *more, struct xu_error *err);
struct xbdev_device *world_attach(struct host_world *w, const char *more);
/* Opens a device for reading; its events are noted in the world. */
struct xbdev_desc *world_watch(struct host_world *w, const char *name);
void world_unwatch(struct host_world *w, struct xbdev_desc *desc);

/* A number or text of the device's info(). */
int64_t world_info(struct host_world *w, const char *key);
bool world_state_is(struct host_world *w, const char *state);
/* Lets up to `seconds` pass until the state is, or is not, this one; false when that does not come.
 */
bool world_wait_state(struct host_world *w, const char *state, bool is_wanted, uint32_t seconds);

/* Reads the discovery log from the node; returns what there was, which world_discovery_free()
 * frees.
 */
struct world_discovery {
	struct xnvmf_host_entry *entries;
	size_t nr_entries;
	uint64_t genctr;
	struct xu_error err;
	bool is_done;
};
void world_discover(struct host_world *w, const struct xnvmf_host_discover_opts *opts,
	struct world_discovery *ret_discovery);
void world_discovery_free(struct world_discovery *discovery);

/* Asks for the removal of a device; its end comes later. */
void world_remove(struct host_world *w, struct xbdev_device *dev);

/* One I/O, begun and not waited for; `io` must stay until world_io_finish(). */
struct world_io {
	struct xbdev_io io;
	struct iovec iov;
	bool is_done;
	int status;
};
void world_io_start(struct sim_bdev *bdev, struct world_io *io, uint8_t op, uint64_t offset,
	void *buf, uint64_t len);
/* Its status. */
int world_io_finish(struct host_world *w, struct world_io *io);

/* Random I/O with a model on some reactors at once, each in its part of the device. */
struct world_load {
	uint32_t nr_models;
	struct sim_bdev bdevs[8];
	struct model *models[8];
};
void world_load_start(struct host_world *w, struct world_load *load, uint32_t nr_models,
	uint32_t nr_ios, bool may_be_removed);
bool world_load_is_done(const struct world_load *load);
/* Waits for its end, then reads all of it again unless the device may be gone. */
void world_load_finish(struct host_world *w, struct world_load *load);

#endif
