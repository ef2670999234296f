/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time. Code that decides anything by time asks a struct xu_clock, so a simulator can run it in
 * virtual time; only latency figures are taken from the CPU's cycle counter.
 */
#ifndef XU_CLOCK_H
#define XU_CLOCK_H

#include <stdint.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define XU_NS_PER_US 1000ull
#define XU_NS_PER_MS 1000000ull
#define XU_NS_PER_S  1000000000ull

struct xu_clock {
	/* Monotonic time in nanoseconds. */
	uint64_t (*now_ns)(const struct xu_clock *clock);
	/* Nanoseconds since 1970-01-01 UTC. */
	uint64_t (*wall_ns)(const struct xu_clock *clock);
};

/* The system's clocks (CLOCK_MONOTONIC, CLOCK_REALTIME). Static; any thread. */
const struct xu_clock *xu_clock_system(void);

static inline uint64_t xu_clock_now_ns(const struct xu_clock *clock)
{
	return clock->now_ns(clock);
}

/* A cheap monotonic tick for latency figures: the invariant TSC or the ARM virtual counter. */
static inline uint64_t xu_ticks(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
#error "no cycle counter known for this architecture"
#endif
}

/* Ticks per second; calibrated once, at the first call (about 10 ms on x86). Any thread. */
uint64_t xu_ticks_hz(void);

/* Converts a difference of ticks to nanoseconds by a fixed-point factor. */
uint64_t xu_ticks_to_ns(uint64_t ticks);
uint64_t xu_ticks_from_ns(uint64_t ns);

#endif
