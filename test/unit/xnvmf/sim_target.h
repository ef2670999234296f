/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One storage node in the simulator, and hosts for it: what the tests of rare moments start from.
 * The node has two file devices "a" (on /a) and "b" (on /b), and one subsystem whose namespace 1 is
 * "a". All hosts are processes of one client machine. What must work for a test to mean anything is
 * asserted in here, with cmocka.
 */
#ifndef TEST_SIM_TARGET_H
#define TEST_SIM_TARGET_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "lib/xnvmf/target/target.h"
#include "test/sim/sim_bdev.h"
#include "test/sim/sim_disk.h"
#include "test/sim/sim_net.h"
#include "test/unit/xnvmf/wire_host.h"

#define SIM_TARGET_NQN        "nqn.2026-11.io.xsan:one"
#define SIM_TARGET_DISK_BYTES (32u << 20)
#define SIM_TARGET_QUEUES     8u

struct sim_target_opts {
	uint64_t seed;
	uint32_t nr_reactors;                   /* 0: 1 */
	size_t buf_limit_bytes;                 /* per reactor; 0: the default */
	const struct sim_disk_opts *disk;       /* of /a; NULL: the default */
	const struct xnvmf_target_opts *target; /* NULL: the default */
};

struct sim_target {
	struct sim *sim;
	struct sim_host *node, *client;
	struct xr_reactor *reactor; /* the client's */
	struct sim_disk *disk_a, *disk_b;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xnvmf_subsystem *subsystem;
	bool is_stopping, is_stopped;
	uint32_t nr_open_at_stop; /* descriptors of the node when it said that it had stopped */
};

void sim_target_start(struct sim_target *t, const struct sim_target_opts *opts);
/* Stops the target, if that has not begun yet, and takes everything down; asserts that nothing is
 * left of it. */
void sim_target_stop(struct sim_target *t);
/* Begins to stop the target: t->is_stopped when it has. */
void sim_target_begin_stop(struct sim_target *t);

/* Runs fn(arg) on the control reactor. */
void sim_target_call(struct sim_target *t, void (*fn)(void *arg), void *arg);
/* Runs the world until *flag; asserts that this happens within `ns`. */
void sim_target_wait(struct sim_target *t, const bool *flag, uint64_t ns);
/* Runs the world for `ns`. */
void sim_target_run(struct sim_target *t, uint64_t ns);
/* Lets reactors have `count` rounds in all, about, in the world's order; at most 5 ms pass. */
void sim_target_step(struct sim_target *t, uint32_t count);
/* Bytes of a reactor's data buffers that are in use. */
uint64_t sim_target_used_buffers(const struct sim_target *t, uint32_t reactor);

/* A host with an association. */
struct sim_initiator {
	struct sim_target *t;
	struct wire_connect_opts opts; /* of its Connects */
	struct wire_conn admin, io[SIM_TARGET_QUEUES];
	uint32_t nr_io;
	uint16_t cntlid;
};

/* A connection without a Connect. */
void sim_target_open(struct sim_target *t, struct wire_conn *conn);
/* Connects the queues and enables the controller. `host` tells hosts apart. */
void sim_initiator_attach(
	struct sim_initiator *in, struct sim_target *t, uint8_t host, uint32_t nr_io);
/* Closes what is open. */
void sim_initiator_detach(struct sim_initiator *in);
struct wire_result sim_initiator_keep_alive(struct sim_initiator *in);
/* Asserts that a write and a read of it work, on queue `index` (from 0), at an LBA of its own. */
void sim_initiator_check(struct sim_initiator *in, uint32_t index);

/* A step that must succeed. */
#define assert_ok(result)                                                                          \
	do {                                                                                       \
		struct wire_result ok_result = (result);                                           \
		assert_int_equal(ok_result.error, 0);                                              \
		assert_int_equal(ok_result.status, 0);                                             \
	} while (0)

#endif
