/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a rebuild makes room, in virtual time: a reactor serves the requests of a closed loop and the
 * turns of a rebuild's steps, members answer after a while. The speed must settle where the p99 of
 * requests is no more than twice that without a rebuild; it must not fall below the least one, must
 * be high where nobody minds, and must be of the present load.
 */
#include "lib/util/random.h"
#include "lib/xbdev/raid/pulse.h"
#include "test/unit/xbdev/harness.h"

#define US        XU_NS_PER_US
#define MS        XU_NS_PER_MS
#define STEP      128u /* sectors */
#define NR_TURNS  3u   /* of the reactor, for a step: its reads are sent, it is computed, written */
#define MAX_STEPS 16u
#define NR_LAST   20000u
#define NR_DRAINS 65536u
#define DRAIN_NS  (500 * MS) /* after a step */

struct kind {
	const char *name;
	uint32_t depth;
	uint64_t service_ns; /* of the reactor for a request */
	uint64_t member_ns;  /* that a member takes, and up to half as long again */
	uint64_t turn_ns;    /* of the reactor for a turn of a step */
	uint64_t least_kib;  /* that the rebuild must reach without being noticed */
	uint64_t drain_ns;   /* that members take, later, for what a step has left in a cache */
};

struct request {
	uint64_t start_ns, ready_ns, mark;
};

struct step {
	uint32_t nr_turns; /* that are left; 0: there is none */
	uint64_t ready_ns;
};

struct model {
	struct kind kind;
	struct xbdev_md_pulse pulse;
	struct xbdev_md_pulse_limits limits;
	struct xu_random random;
	uint64_t now_ns, ask_ns;
	struct request requests[64];
	struct step steps[MAX_STEPS];
	uint64_t drains[NR_DRAINS]; /* when they are due */
	uint64_t nr_drains, nr_drained, drained_ns;
	uint64_t nr_sectors, nr_submitted;
	uint64_t took_ns[NR_LAST];
	uint64_t nr_took;
};

/* For how long members are busy with what steps have left behind. */
static uint64_t drain_ns(struct model *m)
{
	while (m->nr_drained < m->nr_drains && m->drains[m->nr_drained % NR_DRAINS] <= m->now_ns) {
		uint64_t start_ns = m->drains[m->nr_drained++ % NR_DRAINS];

		m->drained_ns =
			(start_ns > m->drained_ns ? start_ns : m->drained_ns) + m->kind.drain_ns;
	}
	return m->drained_ns > m->now_ns ? m->drained_ns - m->now_ns : 0;
}

static uint64_t member_ns(struct model *m)
{
	return m->kind.member_ns == 0
		       ? 0
		       : m->kind.member_ns + drain_ns(m) +
				 xu_random_below(&m->random, (uint32_t)m->kind.member_ns / 2);
}

static void submit(struct model *m, struct request *request)
{
	request->start_ns = m->now_ns;
	request->mark = xbdev__md_pulse_mark(&m->pulse);
	m->now_ns +=
		m->kind.service_ns / 2 + xu_random_below(&m->random, (uint32_t)m->kind.service_ns);
	request->ready_ns = m->now_ns + member_ns(m);
}

/* Ends those that members have done, and sends the next ones. */
static void serve(struct model *m)
{
	uint64_t now_ns = m->now_ns;

	for (uint32_t i = 0; i < m->kind.depth; i++) {
		struct request *request = &m->requests[i];

		if (request->ready_ns <= now_ns) {
			uint64_t took_ns = m->now_ns - request->start_ns;

			if (request->start_ns != 0) {
				m->took_ns[m->nr_took++ % NR_LAST] = took_ns;
				if (xbdev__md_pulse_is_sample(&m->pulse, m->nr_submitted++)) {
					xbdev__md_pulse_record(&m->pulse, took_ns, request->mark);
				}
			}
			submit(m, request);
		}
	}
}

static void take_turns(struct model *m)
{
	uint64_t now_ns = m->now_ns;

	for (uint32_t i = 0; i < MAX_STEPS; i++) {
		struct step *step = &m->steps[i];

		if (step->nr_turns == 0 || step->ready_ns > now_ns) {
			continue;
		}
		m->now_ns += m->kind.turn_ns;
		step->ready_ns = m->now_ns + member_ns(m);
		if (--step->nr_turns == 0) {
			m->nr_sectors += STEP;
			m->drains[m->nr_drains++ % NR_DRAINS] = m->now_ns + DRAIN_NS;
			xbdev__md_pulse_end(&m->pulse);
			m->ask_ns = m->now_ns;
		}
	}
}

static void begin_steps(struct model *m)
{
	for (uint32_t i = 0; i < MAX_STEPS && m->now_ns >= m->ask_ns; i++) {
		uint64_t wait_ns;

		if (m->steps[i].nr_turns > 0) {
			continue;
		}
		wait_ns = xbdev__md_pulse_ask(&m->pulse, m->now_ns, STEP, &m->limits);
		if (wait_ns > 0) {
			m->ask_ns = m->now_ns + wait_ns;
			return;
		}
		m->steps[i] = (struct step){NR_TURNS, m->now_ns};
		xbdev__md_pulse_begin(&m->pulse);
	}
}

/* When something happens next. */
static uint64_t next_ns(const struct model *m, bool is_rebuilt)
{
	uint64_t next_ns = is_rebuilt && m->ask_ns > m->now_ns ? m->ask_ns : UINT64_MAX;

	for (uint32_t i = 0; i < m->kind.depth; i++) {
		next_ns = m->requests[i].ready_ns < next_ns ? m->requests[i].ready_ns : next_ns;
	}
	for (uint32_t i = 0; i < MAX_STEPS; i++) {
		if (m->steps[i].nr_turns > 0 && m->steps[i].ready_ns < next_ns) {
			next_ns = m->steps[i].ready_ns;
		}
	}
	return next_ns;
}

static void live(struct model *m, uint64_t ns, bool is_rebuilt)
{
	uint64_t end_ns = m->now_ns + ns, next;

	while (m->now_ns < end_ns) {
		next = next_ns(m, is_rebuilt);
		m->now_ns = next > m->now_ns ? next : m->now_ns;
		serve(m);
		take_turns(m);
		if (is_rebuilt) {
			begin_steps(m);
		}
	}
}

/* KiB/s of each member over so long. */
static uint64_t rebuild(struct model *m, uint64_t ns)
{
	uint64_t before = m->nr_sectors;

	m->ask_ns = m->now_ns;
	live(m, ns, true);
	return (m->nr_sectors - before) * (XU_NS_PER_S / 1000) / 2 / (ns / 1000);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t p99_ns(const struct model *m)
{
	static uint64_t sorted[NR_LAST];

	assert_true(m->nr_took >= NR_LAST);
	memcpy(sorted, m->took_ns, sizeof(sorted));
	qsort(sorted, NR_LAST, sizeof(sorted[0]), compare);
	return sorted[NR_LAST * 99 / 100];
}

static void model_init(struct model *m, const struct kind *kind)
{
	memset(m, 0, sizeof(*m));
	xu_random_seed(&m->random, 1);
	xbdev__md_pulse_init(&m->pulse);
	m->kind = *kind;
	m->now_ns = XU_NS_PER_S;
}

static const struct kind kinds[] = {
	{"memory, depth 1", 1, 700, 0, 8 * US, 20 << 10},
	{"memory, depth 16", 16, 500, 0, 8 * US, 8 << 10},
	{"memory, depth 16, short turns", 16, 500, 0, 3 * US, 200 << 10},
	{"100 us, depth 1", 1, 2 * US, 100 * US, 20 * US, 50 << 10},
	{"100 us, depth 16", 16, 2 * US, 100 * US, 20 * US, 50 << 10},
	{"100 us, depth 16, slow turns", 16, 2 * US, 100 * US, 200 * US, 1000},
	{"5 ms, depth 16", 16, 2 * US, 5 * MS, 20 * US, 20 << 10},
	{"100 us, depth 16, a cache", 16, 2 * US, 100 * US, 10 * US, 50 << 10, 60 * US},
};

static void test_pulse_keeps_the_p99_below_twice_the_idle_one(void **state)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		static struct model m;
		uint64_t idle_ns, beside_ns, kib, ns;

		model_init(&m, &kinds[i]);
		ns = XU_NS_PER_S + 2 * NR_LAST * m.kind.member_ns / m.kind.depth;
		live(&m, ns, false);
		idle_ns = p99_ns(&m);
		rebuild(&m, 5 * XU_NS_PER_S);
		kib = rebuild(&m, ns);
		beside_ns = p99_ns(&m);
		printf("%s: p99 %llu ns idle, %llu ns beside a rebuild of %llu KiB/s\n",
			m.kind.name, (unsigned long long)idle_ns, (unsigned long long)beside_ns,
			(unsigned long long)kib);
		assert_true(beside_ns <= 2 * idle_ns);
		assert_true(kib >= m.kind.least_kib);
	}
}

/* What does not disturb gets fast; when it begins to, it slows down again. */
static void test_pulse_is_fast_where_nobody_minds(void **state)
{
	static const struct kind kind = {"", 4, US, 100 * US, 0, 0};
	static struct model m;
	uint64_t kib;

	model_init(&m, &kind);
	live(&m, XU_NS_PER_S, false);
	rebuild(&m, XU_NS_PER_S);
	kib = rebuild(&m, XU_NS_PER_S);
	assert_true(kib > 1000 << 10);
	m.kind.turn_ns = 200 * US;
	rebuild(&m, 3 * XU_NS_PER_S);
	assert_true(rebuild(&m, XU_NS_PER_S) < 100 << 10);
}

/* The last load may have been another one: large writes, and then small reads with a rebuild. */
static void test_pulse_forgets_the_load_before(void **state)
{
	static const struct kind large = {"", 16, 500 * US, 0, 0, 0};
	static struct model m;
	uint64_t idle_ns;

	model_init(&m, &large);
	live(&m, 5 * XU_NS_PER_S, false);
	m.kind = kinds[0];
	live(&m, 100 * MS, false);
	idle_ns = p99_ns(&m);
	rebuild(&m, 100 * MS);
	assert_in_range(xbdev__md_pulse_p99_ns(&m.pulse), idle_ns / 2, idle_ns * 3 / 2);
	rebuild(&m, 5 * XU_NS_PER_S);
	assert_true(p99_ns(&m) <= 2 * idle_ns);
}

/* Until it knows what idle is it keeps to the least speed; and it does not wait for ever. */
static void test_pulse_learns_what_idle_is(void **state)
{
	static struct model m;
	const struct xbdev_md_pulse_limits none = {0};

	model_init(&m, &kinds[3]);
	assert_true(rebuild(&m, 15 * MS) * 15 <= 64 * 1000);
	assert_true(rebuild(&m, XU_NS_PER_S) > 4096);
	assert_in_range(xbdev__md_pulse_p99_ns(&m.pulse), 100 * US, 300 * US);
	/* Nobody comes, but one request that does not end. */
	model_init(&m, &kinds[3]);
	for (uint64_t ns = 0; ns < 2 * XU_NS_PER_S;) {
		uint64_t wait_ns = xbdev__md_pulse_ask(&m.pulse, XU_NS_PER_S + ns, STEP, &none);

		assert_true(wait_ns <= 100 * MS);
		m.nr_sectors += wait_ns == 0 ? STEP : 0;
		ns += wait_ns;
	}
	assert_true(m.nr_sectors / 2 / 2 >= 1024);
}

/* Whatever it costs, and also while it rests; and where it would not disturb. */
static void test_pulse_keeps_its_limits(void **state)
{
	static const struct kind kind = {"", 4, US, 100 * US, 300 * US, 0};
	static struct model m;
	uint64_t kib;

	model_init(&m, &kind);
	m.limits.min_kib = 50 << 10;
	kib = rebuild(&m, 3 * XU_NS_PER_S);
	assert_in_range(kib, 49 << 10, 52 << 10);
	m.limits = (struct xbdev_md_pulse_limits){.max_kib = 5000};
	rebuild(&m, XU_NS_PER_S);
	m.kind.turn_ns = 0;
	kib = rebuild(&m, 5 * XU_NS_PER_S);
	assert_in_range(kib, 4000, 5100);
}

/* When nobody uses the array that is no idle time: whoever comes then is learnt anew. */
static void test_pulse_learns_anew_after_a_pause(void **state)
{
	static struct model m;
	uint64_t before_ns;

	model_init(&m, &kinds[0]);
	rebuild(&m, XU_NS_PER_S);
	before_ns = xbdev__md_pulse_p99_ns(&m.pulse);
	xbdev__md_pulse_relax(&m.pulse);
	m.kind = kinds[3];
	rebuild(&m, 500 * MS);
	assert_true(xbdev__md_pulse_p99_ns(&m.pulse) > 20 * before_ns);
	assert_true(rebuild(&m, XU_NS_PER_S) > 20 << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pulse_keeps_the_p99_below_twice_the_idle_one),
		cmocka_unit_test(test_pulse_is_fast_where_nobody_minds),
		cmocka_unit_test(test_pulse_forgets_the_load_before),
		cmocka_unit_test(test_pulse_learns_what_idle_is),
		cmocka_unit_test(test_pulse_keeps_its_limits),
		cmocka_unit_test(test_pulse_learns_anew_after_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
