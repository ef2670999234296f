/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system's clocks, and the rate of the cycle counter. On x86 the counter is measured against
 * CLOCK_MONOTONIC_RAW over some 10 ms at the first use; on arm64 the CPU tells its rate.
 * Conversions multiply by a 32.32 fixed-point factor in 128 bits. Nothing here fails: the clocks it
 * reads exist in every Linux.
 */
#include "lib/util/clock.h"

#include <pthread.h>
#include <time.h>

#define FACTOR_SHIFT 32

__extension__ typedef unsigned __int128 u128;

struct rate {
	uint64_t hz;
	uint64_t ns_per_tick; /* fixed point */
	uint64_t ticks_per_ns;
};

/* The rate belongs to the machine, so it is the same for everybody and written once. */
static struct rate rate;
static pthread_once_t rate_once = PTHREAD_ONCE_INIT;

static uint64_t read_clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * XU_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t system_now_ns(const struct xu_clock *clock)
{
	(void)clock;
	return read_clock_ns(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ns(const struct xu_clock *clock)
{
	(void)clock;
	return read_clock_ns(CLOCK_REALTIME);
}

const struct xu_clock *xu_clock_system(void)
{
	static const struct xu_clock clock = {
		.now_ns = system_now_ns,
		.wall_ns = system_wall_ns,
	};

	return &clock;
}

#if defined(__x86_64__)

#define CALIBRATION_NS    (10 * XU_NS_PER_MS)
#define CALIBRATION_TRIES 16

struct sample {
	uint64_t ns;
	uint64_t ticks;
};

/* Reads both clocks as close together as they come in a few tries; a preempted try is the wide one
 * and loses. */
static struct sample take_sample(void)
{
	struct sample best = {0};
	uint64_t best_width_ns = UINT64_MAX;
	int i;

	for (i = 0; i < CALIBRATION_TRIES; i++) {
		uint64_t before_ns = read_clock_ns(CLOCK_MONOTONIC_RAW);
		uint64_t ticks = xu_ticks();
		uint64_t width_ns = read_clock_ns(CLOCK_MONOTONIC_RAW) - before_ns;

		if (width_ns < best_width_ns) {
			best_width_ns = width_ns;
			best.ns = before_ns + width_ns / 2;
			best.ticks = ticks;
		}
	}
	return best;
}

static uint64_t measure_hz(void)
{
	const struct timespec pause = {.tv_nsec = CALIBRATION_NS};
	struct sample first = take_sample(), last;

	do {
		nanosleep(&pause, NULL); /* a signal may end it early */
		last = take_sample();
	} while (last.ns - first.ns < CALIBRATION_NS);
	return (uint64_t)((u128)(last.ticks - first.ticks) * XU_NS_PER_S / (last.ns - first.ns));
}

#else

static uint64_t measure_hz(void)
{
	uint64_t hz;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	return hz;
}

#endif

static void set_rate(void)
{
	rate.hz = measure_hz();
	rate.ns_per_tick = (uint64_t)(((u128)XU_NS_PER_S << FACTOR_SHIFT) / rate.hz);
	rate.ticks_per_ns = (uint64_t)(((u128)rate.hz << FACTOR_SHIFT) / XU_NS_PER_S);
}

uint64_t xu_ticks_hz(void)
{
	pthread_once(&rate_once, set_rate);
	return rate.hz;
}

uint64_t xu_ticks_to_ns(uint64_t ticks)
{
	pthread_once(&rate_once, set_rate);
	return (uint64_t)(((u128)ticks * rate.ns_per_tick) >> FACTOR_SHIFT);
}

uint64_t xu_ticks_from_ns(uint64_t ns)
{
	pthread_once(&rate_once, set_rate);
	return (uint64_t)(((u128)ns * rate.ticks_per_ns) >> FACTOR_SHIFT);
}
