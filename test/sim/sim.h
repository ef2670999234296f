/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulator: a world of hosts in one thread, each a struct xr_platform with disks that lose
 * power and a network that loses connections. Every reactor made on such a platform is polled by
 * sim_run() in seeded random order; virtual time stands still while anything can be done and then
 * jumps to the next deadline. The same seed and the same calls give the same run, which
 * sim_trace_hash() shows. See README.md for how a test is built on it.
 *
 * One thread calls everything here, and from outside of reactors' callbacks (but for what only
 * looks, and sim_random()). Mistakes in using it and a lack of memory end the program.
 */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/reactor/platform.h"
#include "lib/util/random.h"

#define SIM_MAX_MACHINES 64u

struct sim;
struct sim_host;

/* ---- the world ---- */

struct sim *sim_new(uint64_t seed);
/* All reactors on its hosts must have been freed (asserted); NULL is fine. */
void sim_free(struct sim *sim);

/*
 * Runs until is_done(arg), asked between any two rounds of reactors, but at most `max_ns` of
 * virtual time. Returns 0 when done; -ETIMEDOUT when the time is over; -EDEADLK when nothing can
 * ever happen any more; -ELOOP when the reactors stay busy without letting time pass. Without
 * is_done, 0 means that all is quiet.
 */
int sim_run(struct sim *sim, bool (*is_done)(void *arg), void *arg, uint64_t max_ns);
/* Lets `ns` of virtual time pass. 0 or -ELOOP. */
int sim_run_for(struct sim *sim, uint64_t ns);

/* Runs fn(arg) on a reactor of this world, and the world until it has run. A dead or paused host's
 * reactor does not run (asserted). */
struct xr_reactor;
void sim_call(struct sim *sim, struct xr_reactor *reactor, void (*fn)(void *arg), void *arg);

/* Virtual time since sim_new(). A host's own clock is something else, see below. */
uint64_t sim_now_ns(const struct sim *sim);
uint64_t sim_seed(const struct sim *sim);

/* Random numbers for the test itself, from the seed but apart from those of the world. */
struct xu_random *sim_random(struct sim *sim);

/* Of all that has happened so far: operations, results, data, messages on the network, time. With
 * SIM_TRACE in the environment each event is printed to stderr too. */
uint64_t sim_trace_hash(const struct sim *sim);

/* ---- hosts ---- */

/* A machine that runs. `address` is numeric IPv4 or IPv6; it may be NULL: 10.0.0.N. */
struct sim_host *sim_host_new(struct sim *sim, const char *name, const char *address);
const char *sim_host_name(const struct sim_host *host);
const char *sim_host_address(const struct sim_host *host);

/* What xbdev_ctx_new() and xr_reactor_new() want. Monotonic clocks of hosts differ; wall clocks
 * agree but for the skew. Work (xr_work_submit) runs on the reactor, some time later. */
const struct xr_platform *sim_host_platform(struct sim_host *host);
/* The first host's; without any, one is made. */
const struct xr_platform *sim_platform(struct sim *sim);

void sim_host_set_wall_skew(struct sim_host *host, int64_t skew_ns);

/* A paused host runs nothing, but its disks go on, and its network takes what arrives (SIGSTOP, a
 * long page fault, a live migration). */
void sim_host_pause(struct sim_host *host, bool is_paused);

/* Descriptors that are open, for tests that look for leaks. */
uint32_t sim_host_nr_open(const struct sim_host *host);

/*
 * Ends a host. Its code runs no further, whatever it was doing. After a power failure its disks
 * hold a post-crash image each (struct sim_crash, NULL: everything random) and its peers hear
 * nothing any more. After a kill (SIGKILL) the disks keep all that has completed, what was in
 * flight happened or not, and the kernel closes its connections.
 */
struct sim_crash;
void sim_host_power_fail(struct sim_host *host, const struct sim_crash *crash);
void sim_host_kill(struct sim_host *host);

/* A new host with the name, address and disks of one that has ended. */
struct sim_host *sim_host_reboot(struct sim_host *dead);

/*
 * Lets the objects of a dead host be freed: its reactors are polled again, but every operation
 * fails with -EIO and reaches nothing. To be called before the test closes devices and frees the
 * context that lived there.
 */
void sim_host_bury(struct sim_host *dead);

#endif
