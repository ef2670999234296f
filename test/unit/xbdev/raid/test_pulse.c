/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a rebuild makes room: requests of a model array take longer the faster it is rebuilt, and the
 * speed must settle where their p99 is no more than twice the idle one; then what it is told of an
 * array that nobody uses.
 */
#include "lib/util/random.h"
#include "lib/xbdev/raid/pulse.h"
#include "test/unit/xbdev/harness.h"

#define US      XU_NS_PER_US
#define STEP    128u /* sectors */
#define NR_LAST 20000u

/* An array whose requests take 80 to 120 us; one that comes during a step of the rebuild waits for
 * the rest of it. */
struct model {
	struct xbdev_md_pulse pulse;
	struct xu_random random;
	uint64_t now_ns, ask_ns, step_ns, step_end_ns;
	uint64_t nr_sectors, nr_steps;
	uint64_t took_ns[NR_LAST];
	uint32_t nr_took;
};

static void one_request(struct model *m)
{
	uint64_t took_ns = 80 * US + xu_random_below(&m->random, 40 * US);
	bool was_quiet = m->pulse.is_resting;

	if (m->step_end_ns > m->now_ns) {
		took_ns += m->step_end_ns - m->now_ns;
	}
	m->took_ns[m->nr_took++ % NR_LAST] = took_ns;
	xbdev__md_pulse_record(&m->pulse, took_ns, was_quiet);
}

/* A request each 50 us or so, and a rebuild that does what it may. */
static void live(struct model *m, uint64_t ns, bool is_rebuilt)
{
	uint64_t end_ns = m->now_ns + ns;

	while (m->now_ns < end_ns) {
		uint64_t wait_ns;

		m->now_ns += 25 * US + xu_random_below(&m->random, 50 * US);
		one_request(m);
		while (is_rebuilt && m->now_ns >= m->ask_ns && m->now_ns >= m->step_end_ns) {
			wait_ns = xbdev__md_pulse_ask(&m->pulse, m->now_ns, STEP);
			m->ask_ns = m->now_ns + wait_ns;
			if (wait_ns == 0) {
				m->step_end_ns = m->now_ns + m->step_ns;
				m->nr_sectors += STEP;
				m->nr_steps++;
			}
		}
	}
}

static int compare(const void *a, const void *b)
{
	return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : 1;
}

static uint64_t p99_ns(const struct model *m)
{
	static uint64_t sorted[NR_LAST];

	assert_true(m->nr_took >= NR_LAST);
	memcpy(sorted, m->took_ns, sizeof(sorted));
	qsort(sorted, NR_LAST, sizeof(sorted[0]), compare);
	return sorted[NR_LAST * 99 / 100];
}

static void model_init(struct model *m, uint64_t step_us)
{
	memset(m, 0, sizeof(*m));
	xu_random_seed(&m->random, 1);
	xbdev__md_pulse_init(&m->pulse);
	m->step_ns = step_us * US;
	m->now_ns = XU_NS_PER_S;
}

static void test_pulse_keeps_the_p99_below_twice_the_idle_one(void **state)
{
	static const uint64_t steps_us[] = {20, 200, 500, 5000};

	for (uint32_t i = 0; i < ARRAY_SIZE(steps_us); i++) {
		static struct model m;
		uint64_t idle_ns, beside_ns;

		model_init(&m, steps_us[i]);
		live(&m, 2 * XU_NS_PER_S, false);
		idle_ns = p99_ns(&m);
		live(&m, 20 * XU_NS_PER_S, true);
		beside_ns = p99_ns(&m);
		printf("steps of %llu us: p99 %llu us idle, %llu us beside a rebuild of %llu "
		       "KiB/s\n",
			(unsigned long long)steps_us[i], (unsigned long long)(idle_ns / US),
			(unsigned long long)(beside_ns / US),
			(unsigned long long)(m.nr_sectors / 2 / 20));
		assert_true(idle_ns < 120 * US);
		/* A step that takes 5 ms is more than one in a hundred at MD's least speed. */
		if (steps_us[i] < 5000) {
			assert_true(beside_ns <= 2 * idle_ns);
		}
		/* The least speed is kept, whatever it costs. */
		assert_true(m.nr_sectors / 2 / 20 >= 1000);
	}
}

/* What does not disturb gets fast; the load that comes then slows it down again. */
static void test_pulse_is_fast_where_nobody_minds(void **state)
{
	static struct model m;
	uint64_t before;

	model_init(&m, 0);
	live(&m, XU_NS_PER_S, false);
	live(&m, 20 * XU_NS_PER_S, true);
	assert_true(m.pulse.speed_kib > 200 * 1024);
	before = m.pulse.speed_kib;
	m.step_ns = 500 * US;
	live(&m, 5 * XU_NS_PER_S, true);
	assert_true(m.pulse.speed_kib < before / 4);
}

/* Without any idle time before, the rebuild rests until it knows. */
static void test_pulse_learns_what_idle_is(void **state)
{
	static struct model m;

	model_init(&m, 200);
	live(&m, 9 * XU_NS_PER_MS, true);
	assert_int_equal(m.nr_steps, 0);
	live(&m, XU_NS_PER_S, true);
	assert_true(m.nr_steps > 0);
	assert_in_range(xbdev__md_pulse_p99_ns(&m.pulse), 100 * US, 150 * US);
	/* Nobody came: it does not wait for ever. */
	model_init(&m, 200);
	assert_true(xbdev__md_pulse_ask(&m.pulse, XU_NS_PER_S, STEP) > 0);
	assert_true(xbdev__md_pulse_ask(&m.pulse, 2 * XU_NS_PER_S, STEP) > 0);
	assert_int_equal(xbdev__md_pulse_ask(&m.pulse, 3 * XU_NS_PER_S, STEP), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pulse_keeps_the_p99_below_twice_the_idle_one),
		cmocka_unit_test(test_pulse_is_fast_where_nobody_minds),
		cmocka_unit_test(test_pulse_learns_what_idle_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
