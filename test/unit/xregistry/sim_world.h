/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A world for the health monitor with a clock of its own: time passes only as far as the test
 * allows, and at once. Its machines are at 10.0.x.y; what each does is chosen. The monitor's thread
 * is a real one.
 */
#ifndef TEST_UNIT_XREGISTRY_SIM_WORLD_H
#define TEST_UNIT_XREGISTRY_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/xregistry/monitor.h"
#include "lib/xregistry/world.h"

enum sim_behaviour {
	SIM_ANSWERS,    /* an NVMe/TCP target */
	SIM_REFUSES,    /* the machine is there, the port is not */
	SIM_BLACK_HOLE, /* nothing ever comes */
	SIM_SILENT,     /* a connection, and then nothing */
	SIM_GARBAGE,
	SIM_CLOSES,
	SIM_FORBIDS, /* Connect: the host is not allowed */
	SIM_WANTS_AUTH,
	SIM_IS_FULL,   /* Connect: no controller left */
	SIM_IS_BROKEN, /* CSTS.CFS */
	SIM_OTHER_NAME,
	SIM_NO_ROOM, /* no descriptor on our own machine */
};

struct sim_machine {
	enum sim_behaviour behaviour;
	bool is_here;            /* its address is the registry's own */
	uint64_t delay_us;       /* of each answer */
	uint32_t nr_connections; /* ever */
	uint32_t not_ready;      /* how often CSTS says so yet */
};

struct sim_world;

struct sim_world *sim_world_new(uint32_t nr_machines);
void sim_world_free(struct sim_world *sim);
const struct xreg_world *sim_world_ops(struct sim_world *sim);
/* Between two calls of sim_world_run() only. */
struct sim_machine *sim_machine(struct sim_world *sim, uint32_t index);
void sim_address(uint32_t index, char address[32]);
/* For a store too. */
uint64_t sim_unix_ms(void *sim);
uint64_t sim_now_us(void *sim);

/* Sets the machine's clock; what counts seconds goes on as it did. */
void sim_set_clock(struct sim_world *sim, int64_t by_s);

/* Lets time pass; returns when the monitor has nothing left to do before its end and the store has
 * answered. NULL: there is no monitor that could do anything. */
void sim_world_run(struct sim_world *sim, struct xreg_monitor *monitor, uint64_t us);
/* Lets everything pass from now on, so that the monitor can be stopped. */
void sim_world_release(struct sim_world *sim);

/* The most connections that were open at a time, and that were opened within one second. */
uint32_t sim_world_most_open(struct sim_world *sim);
uint32_t sim_world_most_opened(struct sim_world *sim);

#endif
