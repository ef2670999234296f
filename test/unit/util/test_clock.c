/* SPDX-License-Identifier: BSD-3-Clause */
/* The system's clocks, and the cycle counter against CLOCK_MONOTONIC_RAW. */
#include "lib/util/clock.h"
#include "test/unit/util/test.h"

#include <time.h>

static uint64_t raw_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return (uint64_t)now.tv_sec * XU_NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

static void test_clock_system_now_is_monotonic(void **state)
{
	const struct xu_clock *clock = xu_clock_system();
	struct timespec before, after;
	uint64_t last_ns, now_ns;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &before);
	last_ns = xu_clock_now_ns(clock);
	assert_true(last_ns >= (uint64_t)before.tv_sec * XU_NS_PER_S + (uint64_t)before.tv_nsec);
	for (i = 0; i < 100000; i++) {
		now_ns = xu_clock_now_ns(clock);
		assert_true(now_ns >= last_ns);
		last_ns = now_ns;
	}
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(last_ns <= (uint64_t)after.tv_sec * XU_NS_PER_S + (uint64_t)after.tv_nsec);
}

static void test_clock_system_now_sees_a_sleep(void **state)
{
	const struct xu_clock *clock = xu_clock_system();
	uint64_t start_ns = xu_clock_now_ns(clock);

	sleep_ms(5);
	assert_true(xu_clock_now_ns(clock) - start_ns >= 5 * XU_NS_PER_MS);
}

static void test_clock_system_wall_is_the_date(void **state)
{
	const struct xu_clock *clock = xu_clock_system();
	uint64_t before_s = (uint64_t)time(NULL);
	uint64_t wall_s;

	sleep_ms(10); /* time() may lag behind by a tick */
	wall_s = clock->wall_ns(clock) / XU_NS_PER_S;
	sleep_ms(10);
	assert_in_range(wall_s, before_s, (uint64_t)time(NULL));
}

struct virtual_clock {
	struct xu_clock clock;
	uint64_t now_ns;
};

static uint64_t virtual_now_ns(const struct xu_clock *clock)
{
	return ((const struct virtual_clock *)clock)->now_ns;
}

static void test_clock_now_asks_the_given_clock(void **state)
{
	struct virtual_clock virtual = {.clock = {.now_ns = virtual_now_ns}, .now_ns = 77};

	assert_int_equal(xu_clock_now_ns(&virtual.clock), 77);
	virtual.now_ns = 78;
	assert_int_equal(xu_clock_now_ns(&virtual.clock), 78);
}

/* Measured again and longer. On a busy machine the process may be stopped between the two clocks,
 * so one good try of some is asked for. */
static void test_clock_ticks_hz_agrees_with_the_raw_clock(void **state)
{
	uint64_t hz = xu_ticks_hz();
	double ratio = 0;
	int try;

	for (try = 0; try < 10; try++) {
		uint64_t start_ns = raw_ns();
		uint64_t start_ticks = xu_ticks();

		sleep_ms(100);
		ratio = (double)(xu_ticks() - start_ticks) * 1e9 / (double)hz /
			(double)(raw_ns() - start_ns);
		if (ratio > 0.999 && ratio < 1.001) {
			return;
		}
	}
	fail_msg("ticks at %llu Hz run %f times as fast as the clock", (unsigned long long)hz,
		ratio);
}

static void test_clock_ticks_hz_is_constant(void **state)
{
	assert_int_equal(xu_ticks_hz(), xu_ticks_hz());
}

static void assert_near(uint64_t value, uint64_t expected)
{
	uint64_t slack = expected / 100000000 + 2;

	assert_in_range(value, expected - (expected < slack ? expected : slack), expected + slack);
}

static void test_clock_ticks_to_ns_scales(void **state)
{
	uint64_t hz = xu_ticks_hz();

	assert_int_equal(xu_ticks_to_ns(0), 0);
	assert_near(xu_ticks_to_ns(hz), XU_NS_PER_S);
	assert_near(xu_ticks_to_ns(hz / 1000), XU_NS_PER_MS);
	/* a year: 64 bits do not hold the product on the way */
	assert_near(xu_ticks_to_ns(hz * 31536000), XU_NS_PER_S * 31536000);
}

static void test_clock_ticks_from_ns_is_the_inverse(void **state)
{
	uint64_t ns;

	assert_int_equal(xu_ticks_from_ns(0), 0);
	assert_near(xu_ticks_from_ns(XU_NS_PER_S), xu_ticks_hz());
	for (ns = 1000; ns < (uint64_t)1 << 60; ns *= 3) {
		uint64_t back_ns = xu_ticks_to_ns(xu_ticks_from_ns(ns));
		uint64_t tick_ns = XU_NS_PER_S / xu_ticks_hz() + 1;

		assert_in_range(back_ns, ns - ns / 100000000 - tick_ns - 2, ns + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_system_now_is_monotonic),
		cmocka_unit_test(test_clock_system_now_sees_a_sleep),
		cmocka_unit_test(test_clock_system_wall_is_the_date),
		cmocka_unit_test(test_clock_now_asks_the_given_clock),
		cmocka_unit_test(test_clock_ticks_hz_agrees_with_the_raw_clock),
		cmocka_unit_test(test_clock_ticks_hz_is_constant),
		cmocka_unit_test(test_clock_ticks_to_ns_scales),
		cmocka_unit_test(test_clock_ticks_from_ns_is_the_inverse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
