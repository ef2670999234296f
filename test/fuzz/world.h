/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node that fuzz_nvmetcp talks to: a context on the fuzzers' network, devices, a target with
 * two subsystems, and the changes that an operator makes while hosts are connected. Everything runs
 * in rounds: each polls every reactor once.
 */
#ifndef TEST_FUZZ_WORLD_H
#define TEST_FUZZ_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/reactor/reactor.h"
#include "test/fuzz/net.h"
#include "test/fuzz/record.h"

struct xbdev_ctx;
struct xnvmf_target;
struct xu_logger;

#define WORLD_PORT       4420u
#define WORLD_NQN        "nqn.2026-11.io.xsan:fuzz"
#define WORLD_NQN_CLOSED "nqn.2026-11.io.xsan:closed" /* for WORLD_HOST_NQN only */
#define WORLD_HOST_NQN   "nqn.2014-08.org.nvmexpress:uuid:5b2f0ae5-6d0a-4f66-9a35-b4ef2f2a5a11"
#define WORLD_MAX_MANAGE 32u

struct world_manage {
	struct xr_msg msg;
	struct world *world;
	enum manage_action action;
	uint8_t arg;
};

struct world {
	struct net *net;
	struct xbdev_ctx *ctx;
	struct xnvmf_target *target;
	struct xu_logger *log; /* NULL unless verbose */
	uint32_t nr_reactors;
	bool is_stopping, is_stopped;
	struct world_manage manage[WORLD_MAX_MANAGE];
	uint32_t nr_manage;
};

struct world_opts {
	struct net_opts net;
	uint32_t nr_reactors;
	bool has_few_buffers;
	bool has_no_icd;
};

/* Once per process. */
void world_prepare(void);
/* Of a namespace as world_init() makes it. */
uint32_t world_block_bytes(uint32_t nsid);
void world_init(struct world *world, const struct world_opts *opts);
/* The connections must have been closed by their hosts. Stops the target if it is not stopped, and
 * frees everything; what does not end is a finding. */
void world_fini(struct world *world);

/* Runs one round, with `ns` of time passing before it. */
void world_round(struct world *world, uint64_t ns);
/* Runs rounds of a millisecond until is_done(); false when it is not done after `nr_rounds`. */
bool world_run_until(struct world *world, bool (*is_done)(struct world *world), uint32_t nr_rounds);
/* True when the target has no connection. */
bool world_is_quiet(struct world *world);
bool world_is_stopped(struct world *world);

/* Sends a change to the control reactor; at most WORLD_MAX_MANAGE are heard. */
void world_manage(struct world *world, enum manage_action action, uint8_t arg);

#endif
