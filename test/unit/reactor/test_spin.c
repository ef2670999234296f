/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spinning and sleeping. First on a platform made for it, whose clock advances by what is done and
 * whose events come when the test says, so that every figure is exact; then on the real one, where
 * an idle reactor must cost nothing.
 */
#include "test/unit/reactor/test.h"

#define TICK_NS  50u /* that a look at the clock takes */
#define LOOK_NS  10u /* that a look for events takes */
#define SPIN_MAX 20000u

/* ---- the made platform ---- */

static struct {
	uint64_t now_ns;
	uint64_t event_ns;  /* when the next event comes; UINT64_MAX: never */
	uint64_t asleep_ns; /* time slept */
	uint32_t nr_events; /* that were taken */
	uint32_t nr_sleeps;
	uint64_t wake_ns;   /* that waking up takes */
	uint64_t worker_ns; /* not 0: the event comes so long after we have gone to sleep */
} made;

static uint64_t made_now(const struct xu_clock *clock)
{
	made.now_ns += TICK_NS;
	return made.now_ns;
}

static void made_entropy(const struct xr_platform *platform, void *buf, size_t len_bytes)
{
	memset(buf, 1, len_bytes);
}

static bool made_has_events(void *ring)
{
	made.now_ns += LOOK_NS;
	return made.now_ns >= made.event_ns;
}

static uint32_t made_run(void *ring, uint64_t timeout_ns)
{
	if (timeout_ns != 0 && made.worker_ns != 0) {
		made.event_ns = made.now_ns + made.worker_ns;
	}
	if (timeout_ns != 0 && made.now_ns < made.event_ns) {
		uint64_t until_ns = timeout_ns < made.event_ns - made.now_ns
					    ? made.now_ns + timeout_ns
					    : made.event_ns;

		assert_int_not_equal(until_ns, UINT64_MAX);
		made.asleep_ns += until_ns - made.now_ns;
		made.now_ns = until_ns + made.wake_ns;
		made.nr_sleeps++;
	}
	if (made.now_ns < made.event_ns) {
		return 0;
	}
	made.event_ns = UINT64_MAX;
	made.nr_events++;
	return 1;
}

static void made_nothing(void *ring)
{
}

static int made_ring_new(const struct xr_platform *platform, struct xr_reactor *reactor,
	uint32_t entries, const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err)
{
	static const struct xr_ring_ops ops = {
		.run = made_run,
		.has_events = made_has_events,
		.wake = made_nothing,
		.free = made_nothing,
	};

	*ret_ops = &ops;
	*ret_ring = NULL;
	return 0;
}

static const struct xu_clock made_clock = {.now_ns = made_now, .wall_ns = made_now};
static const struct xr_platform made_platform = {
	.name = "made",
	.clock = &made_clock,
	.entropy = made_entropy,
	.ring_new = made_ring_new,
};

static struct xr_reactor *made_reactor(uint64_t spin_max_ns)
{
	const struct xr_reactor_opts opts = {
		.platform = &made_platform, .cpu = -1, .spin_max_ns = spin_max_ns};

	memset(&made, 0, sizeof(made));
	made.now_ns = 1000;
	made.event_ns = UINT64_MAX;
	return test_reactor_with(&opts);
}

/* `count` events, each `gap_ns` after the one before was taken. */
static void run_events(struct xr_reactor *reactor, uint32_t count, uint64_t gap_ns)
{
	uint32_t end = made.nr_events + count;

	while (made.nr_events < end) {
		if (made.event_ns == UINT64_MAX) {
			made.event_ns = made.now_ns + gap_ns;
		}
		xr_reactor_poll(reactor, XU_NS_PER_S);
	}
}

static struct xr_reactor_stats stats_of(struct xr_reactor *reactor)
{
	struct xr_reactor_stats stats;

	xr_reactor_stats_get(reactor, &stats);
	return stats;
}

static void test_spin_only_when_asked(void **state)
{
	struct xr_reactor *reactor = made_reactor(0);
	struct xr_reactor_stats stats;

	run_events(reactor, 200, 1000);
	stats = stats_of(reactor);
	assert_int_equal(stats.nr_spins, 0);
	assert_int_equal(stats.spin_ns, 0);
	assert_int_equal(stats.spin_limit_ns, 0);
	assert_int_equal(stats.nr_sleeps, 200);
	assert_int_equal(made.nr_sleeps, 200);
	xr_reactor_free(reactor);
}

static void test_spin_while_events_come_fast(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_reactor_stats before, after;

	assert_int_equal(stats_of(reactor).spin_limit_ns, 0); /* nothing is known yet */
	run_events(reactor, 100, 3000);                       /* it learns */
	before = stats_of(reactor);
	assert_in_range(before.spin_limit_ns, 3000, SPIN_MAX);
	run_events(reactor, 100, 3000);
	after = stats_of(reactor);
	assert_int_equal(after.nr_sleeps, before.nr_sleeps); /* not one more */
	assert_int_equal(after.nr_spins - before.nr_spins, 100);
	assert_int_equal(after.nr_spin_hits - before.nr_spin_hits, 100);
	assert_in_range(after.spin_ns - before.spin_ns, 100 * 2000, 100 * 4000);
	xr_reactor_free(reactor);
}

static void test_no_spin_for_slow_events(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_reactor_stats stats;

	run_events(reactor, 100, 100000);
	stats = stats_of(reactor);
	assert_int_equal(stats.nr_spins, 0);
	assert_int_equal(stats.nr_sleeps, 100);
	xr_reactor_free(reactor);
}

/* Waits of a few wake-ups may be nothing else: it tries, and ever more seldom when it was wrong. */
static void test_spin_tries_become_rare(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_reactor_stats before, after;

	run_events(reactor, 200, 50000);
	before = stats_of(reactor);
	assert_in_range(before.nr_spins, 1, 8);
	run_events(reactor, 20000, 50000);
	after = stats_of(reactor);
	assert_in_range(after.nr_spins - before.nr_spins, 10, 30);
	assert_int_equal(after.nr_spin_hits, 0);
	assert_int_equal(after.spin_limit_ns, 0);
	xr_reactor_free(reactor);
}

/* A peer that answers in 5 us, but sleeps when we do: each wait of ours is its wake-up and our own.
 * Once we spin, neither sleeps any more. */
static void test_spin_wakes_a_sleeping_pair(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	uint32_t nr_sleeps;
	bool has_slept = true;

	made.wake_ns = 13000;
	for (uint32_t i = 0; i < 100; i++) {
		nr_sleeps = made.nr_sleeps;
		run_events(reactor, 1, 5000 + (has_slept ? made.wake_ns : 0));
		has_slept = made.nr_sleeps != nr_sleeps;
	}
	assert_in_range(stats_of(reactor).spin_limit_ns, 5000, SPIN_MAX);
	nr_sleeps = made.nr_sleeps;
	run_events(reactor, 100, 5000);
	assert_int_equal(made.nr_sleeps, nr_sleeps);
	xr_reactor_free(reactor);
}

/* Fast events, then slow ones: after a few vain spins, each no longer than allowed, it gives up. */
static void test_spin_is_bounded_and_given_up(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_reactor_stats before, after;
	uint64_t nr_spins;

	run_events(reactor, 200, 4000);
	before = stats_of(reactor);
	run_events(reactor, 100, 500000);
	after = stats_of(reactor);
	nr_spins = after.nr_spins - before.nr_spins;
	assert_in_range(nr_spins, 1, 5);
	assert_int_equal(after.nr_spin_hits, before.nr_spin_hits);
	/* A spin may be over by one batch of looks. */
	assert_in_range(after.spin_ns - before.spin_ns, nr_spins * 1000,
		nr_spins * (SPIN_MAX + 16 * LOOK_NS + 2 * TICK_NS));
	assert_int_equal(after.spin_limit_ns, 0);
	assert_true(after.nr_sleeps - before.nr_sleeps >= 100);
	xr_reactor_free(reactor);
}

/* Events that need our CPU, like the end of a direct write: each comes as soon as the reactor
 * sleeps, so it seems near, and no spin finds it. It learns to sleep at once; and to spin, when
 * they come by themselves again. */
static void test_spin_that_keeps_events_away(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_reactor_stats before, after;

	run_events(reactor, 200, 4000);
	before = stats_of(reactor);
	made.worker_ns = 2000;
	run_events(reactor, 2000, UINT32_MAX);
	after = stats_of(reactor);
	assert_int_equal(after.nr_sleeps - before.nr_sleeps, 2000);
	assert_int_equal(after.nr_spin_hits, before.nr_spin_hits);
	assert_in_range(after.nr_spins - before.nr_spins, 2, 14);

	made.worker_ns = 0;
	run_events(reactor, 2000, 4000);
	before = stats_of(reactor);
	run_events(reactor, 100, 4000);
	after = stats_of(reactor);
	assert_int_equal(after.nr_sleeps, before.nr_sleeps);
	assert_int_equal(after.nr_spin_hits - before.nr_spin_hits, 100);
	xr_reactor_free(reactor);
}

/* One in vain among many that find something changes nothing. */
static void test_spin_goes_on_after_one_in_vain(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_reactor_stats before, after;

	run_events(reactor, 200, 3000);
	before = stats_of(reactor);
	for (uint32_t i = 0; i < 20; i++) {
		run_events(reactor, 1, 15000);
		run_events(reactor, 19, 3000);
	}
	after = stats_of(reactor);
	assert_int_equal(after.nr_spins - before.nr_spins, 400);
	assert_int_equal(after.nr_spin_hits - before.nr_spin_hits, 380);
	assert_int_equal(after.nr_sleeps - before.nr_sleeps, 20);
	xr_reactor_free(reactor);
}

static void on_timer(struct xr_timer *timer)
{
}

/* It does not spin past the next timer. */
static void test_spin_ends_at_a_deadline(void **state)
{
	struct xr_reactor *reactor = made_reactor(SPIN_MAX);
	struct xr_timer timer = {.fn = on_timer};
	uint64_t start_ns;

	run_events(reactor, 200, 8000);
	start_ns = made.now_ns;
	xr_timer_start(reactor, &timer, 2000);
	while (xr_timer_is_running(&timer)) {
		xr_reactor_poll(reactor, XU_NS_PER_S);
	}
	assert_in_range(made.now_ns - start_ns, 2000, 3000);
	xr_reactor_free(reactor);
}

/* ---- the real one ---- */

struct report {
	struct xr_msg msg;
	struct xr_reactor *reactor;
	struct xr_reactor_stats stats;
	uint64_t cpu_ns; /* of its thread */
	_Atomic bool is_done;
};

static void on_report(struct xr_msg *msg)
{
	struct report *report = xu_container_of(msg, struct report, msg);

	xr_reactor_stats_get(report->reactor, &report->stats);
	report->cpu_ns = test_cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	atomic_store(&report->is_done, true);
}

static struct report ask(struct xr_reactor *reactor)
{
	struct report report = {.msg.fn = on_report, .reactor = reactor};

	xr_msg_send(reactor, &report.msg);
	test_wait_for(&report.is_done);
	return report;
}

struct beat {
	struct xr_timer timer;
	struct xr_msg msg;
	struct xr_reactor *reactor;
	_Atomic uint32_t count;
	_Atomic bool must_stop, has_stopped;
};

static void on_beat(struct xr_timer *timer)
{
	struct beat *beat = xu_container_of(timer, struct beat, timer);

	atomic_fetch_add(&beat->count, 1);
	if (atomic_load(&beat->must_stop)) {
		atomic_store(&beat->has_stopped, true);
		return;
	}
	xr_timer_start(beat->reactor, timer, 10 * XU_NS_PER_MS);
}

static void on_beat_start(struct xr_msg *msg)
{
	struct beat *beat = xu_container_of(msg, struct beat, msg);

	on_beat(&beat->timer);
}

/* With the default spin, whether nothing at all happens or a timer beats a hundred times a second,
 * the thread sleeps and its CPU time stays near nothing. */
static void idle_for_a_while(bool has_timer, uint64_t cpu_ns_max)
{
	const struct xr_reactor_opts opts = {.cpu = -1, .spin_max_ns = XR_SPIN_MAX_NS_DEFAULT};
	struct xr_reactor *reactor = test_reactor_with(&opts);
	struct beat beat = {.timer.fn = on_beat, .msg.fn = on_beat_start, .reactor = reactor};
	struct report before, after;
	uint64_t start_ns = test_now_ns(), end_ns = start_ns + PATIENCE_NS, nr_beats_max;

	assert_int_equal(xr_reactor_start(reactor, NULL), 0);
	if (has_timer) {
		xr_msg_send(reactor, &beat.msg);
	}
	before = ask(reactor);
	test_sleep_ms(500);
	after = ask(reactor);
	/* Others may have had the processor all the while. */
	while (after.stats.nr_sleeps == before.stats.nr_sleeps ||
		(has_timer && atomic_load(&beat.count) < 2)) {
		assert_true(test_now_ns() < end_ns);
		after = ask(reactor);
	}
	assert_in_range(after.cpu_ns - before.cpu_ns, 0, cpu_ns_max);
	/* By their number: the time of one is also that of others that have the processor. */
	assert_in_range(
		(after.stats.nr_spins - before.stats.nr_spins) * opts.spin_max_ns, 0, cpu_ns_max);
	if (has_timer) {
		nr_beats_max = (test_now_ns() - start_ns) / (10 * XU_NS_PER_MS) + 2;
		assert_in_range(atomic_load(&beat.count), 2, nr_beats_max);
		assert_in_range(
			after.stats.nr_sleeps - before.stats.nr_sleeps, 1, 2 * nr_beats_max + 10);
		atomic_store(&beat.must_stop, true);
		test_wait_for(&beat.has_stopped);
	} else {
		assert_true(after.stats.nr_rounds - before.stats.nr_rounds < 10);
	}
	xr_reactor_stop(reactor);
	xr_reactor_free(reactor);
}

static void test_idle_reactor_costs_nothing(void **state)
{
	idle_for_a_while(false, 5 * XU_NS_PER_MS); /* 1 % */
}

static void test_idle_reactor_with_a_timer_costs_hardly_more(void **state)
{
	idle_for_a_while(true, 25 * XU_NS_PER_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spin_only_when_asked),
		cmocka_unit_test(test_spin_while_events_come_fast),
		cmocka_unit_test(test_no_spin_for_slow_events),
		cmocka_unit_test(test_spin_tries_become_rare),
		cmocka_unit_test(test_spin_wakes_a_sleeping_pair),
		cmocka_unit_test(test_spin_is_bounded_and_given_up),
		cmocka_unit_test(test_spin_that_keeps_events_away),
		cmocka_unit_test(test_spin_goes_on_after_one_in_vain),
		cmocka_unit_test(test_spin_ends_at_a_deadline),
		cmocka_unit_test(test_idle_reactor_costs_nothing),
		cmocka_unit_test(test_idle_reactor_with_a_timer_costs_hardly_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
