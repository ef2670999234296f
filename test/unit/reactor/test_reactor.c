/* SPDX-License-Identifier: BSD-3-Clause */
/* One reactor by itself: what runs in a round and in which order, timers, pollers, waiting in
 * embedded mode, and a thread of its own. */
#include "test/unit/reactor/test.h"

#include "lib/util/error.h"

/* A log of what has run, one letter each. */
static char ran[64];

static void note(char what)
{
	size_t len = strlen(ran);

	assert_true(len + 1 < sizeof(ran));
	ran[len] = what;
	ran[len + 1] = '\0';
}

struct note_msg {
	struct xr_msg msg;
	char what;
	struct xr_reactor *reactor; /* where to go on, NULL: nowhere */
	struct note_msg *next;
};

static void on_note(struct xr_msg *msg)
{
	struct note_msg *n = xu_container_of(msg, struct note_msg, msg);

	note(n->what);
	if (n->reactor != NULL) {
		xr_msg_defer(n->reactor, &n->next->msg);
	}
}

static void on_note_timer(struct xr_timer *timer)
{
	note('t');
}

static uint64_t on_note_poller(struct xr_poller *poller)
{
	note('p');
	return XR_IDLE;
}

/* ---- what it is ---- */

static struct xr_reactor *seen_current;

static void see_current(struct xr_msg *msg)
{
	seen_current = xr_reactor_current();
}

static void test_reactor_knows_itself(void **state)
{
	const struct xr_reactor_opts opts = {.index = 7, .cpu = -1};
	struct xr_reactor *reactor = test_reactor_with(&opts), *other = test_reactor();
	struct xr_msg msg = {.fn = see_current};

	assert_int_equal(xr_reactor_index(reactor), 7);
	assert_ptr_equal(xr_reactor_platform(reactor), xr_platform_linux());
	assert_null(xr_reactor_log(reactor));
	assert_null(xr_reactor_current());
	xr_msg_send(reactor, &msg);
	xr_reactor_poll(reactor, 0);
	assert_ptr_equal(seen_current, reactor);
	assert_null(xr_reactor_current());
	assert_int_not_equal(
		xu_random_u64(xr_reactor_random(reactor)), xu_random_u64(xr_reactor_random(other)));
	assert_int_equal(xr_reactor_buffers(reactor)->limit_bytes, 64u << 20);
	xr_reactor_free(reactor);
	xr_reactor_free(other);
	xr_reactor_free(NULL);
}

static void test_reactor_refuses_an_impossible_ring(void **state)
{
	const struct xr_reactor_opts opts = {.cpu = -1, .ring_entries = 1u << 30};
	struct xr_reactor *reactor = NULL;
	struct xu_error err = {0};

	assert_int_equal(xr_reactor_new(&opts, &reactor, &err), -EINVAL);
	assert_null(reactor);
	assert_non_null(strstr(err.text, "1073741824 entries"));
}

/* ---- rounds ---- */

static void test_round_order(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct note_msg sent[2] = {
		{.msg.fn = on_note, .what = '1'}, {.msg.fn = on_note, .what = '2'}};
	struct note_msg deferred = {.msg.fn = on_note, .what = 'd'};
	struct xr_timer timer = {.fn = on_note_timer};
	struct xr_poller poller = {.fn = on_note_poller};

	ran[0] = '\0';
	xr_poller_add(reactor, &poller);
	xr_timer_start(reactor, &timer, 0);
	xr_msg_defer(reactor, &deferred.msg);
	xr_msg_send(reactor, &sent[0].msg);
	xr_msg_send(reactor, &sent[1].msg);
	test_sleep_ms(1);
	assert_int_equal(xr_reactor_poll(reactor, 0), 4);
	assert_string_equal(ran, "12dtp");
	xr_poller_del(reactor, &poller);
	xr_reactor_free(reactor);
}

static void test_deferred_runs_in_the_next_round(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct note_msg second = {.msg.fn = on_note, .what = 'b'};
	struct note_msg first = {
		.msg.fn = on_note, .what = 'a', .reactor = reactor, .next = &second};

	ran[0] = '\0';
	xr_msg_defer(reactor, &first.msg);
	assert_int_equal(xr_reactor_poll(reactor, 0), 1);
	assert_string_equal(ran, "a");
	assert_int_equal(xr_reactor_poll(reactor, PATIENCE_NS), 1); /* does not wait first */
	assert_string_equal(ran, "ab");
	assert_int_equal(xr_reactor_poll(reactor, 0), 0);
	xr_reactor_free(reactor);
}

/* What is handed over before a submission may be what an application's thread waits for. */
static void test_round_that_hands_something_over_does_not_sleep(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct note_msg flush = {.msg.fn = on_note, .what = 'f'};

	ran[0] = '\0';
	assert_int_equal(xr_reactor_poll(reactor, 0), 0);
	xr_msg_before_submit(reactor, &flush.msg);
	alarm(60);
	assert_int_equal(xr_reactor_poll(reactor, XR_IDLE), 1);
	alarm(0);
	assert_string_equal(ran, "f");
	xr_reactor_free(reactor);
}

static void test_deferred_again_and_again_keeps_no_round(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct note_msg self = {.msg.fn = on_note, .what = 'x', .reactor = reactor};

	self.next = &self;
	ran[0] = '\0';
	xr_msg_defer(reactor, &self.msg);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(xr_reactor_poll(reactor, 0), 1);
	}
	assert_string_equal(ran, "xxxxx");
	self.reactor = NULL;
	xr_reactor_poll(reactor, 0);
	xr_reactor_free(reactor);
}

static void test_poll_waits_as_long_as_told(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct xr_reactor_stats stats;
	uint64_t start_ns;

	assert_int_equal(xr_reactor_poll(reactor, 0), 0);
	xr_reactor_stats_get(reactor, &stats);
	assert_int_equal(stats.nr_sleeps, 0);
	start_ns = test_now_ns();
	assert_int_equal(xr_reactor_poll(reactor, 50 * XU_NS_PER_MS), 0);
	assert_in_range(test_now_ns() - start_ns, 49 * XU_NS_PER_MS, PATIENCE_NS);
	xr_reactor_stats_get(reactor, &stats);
	assert_int_equal(stats.nr_sleeps, 1);
	xr_reactor_free(reactor);
}

static void on_awaited(struct xr_msg *msg)
{
	xr_reactor_stay_awake(xr_reactor_current());
}

/* Who waits sleeps in a round that does other things, and not in the one that has what it is for.
 */
static void test_wait_sleeps_until_told(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct note_msg other = {.msg.fn = on_note, .what = 'o'};
	struct xr_msg awaited = {.fn = on_awaited};
	uint64_t start_ns = test_now_ns();

	ran[0] = '\0';
	xr_msg_defer(reactor, &other.msg);
	assert_int_equal(xr_reactor_wait(reactor, 20 * XU_NS_PER_MS), 1);
	assert_in_range(test_now_ns() - start_ns, 19 * XU_NS_PER_MS, PATIENCE_NS);
	assert_string_equal(ran, "o");

	xr_msg_defer(reactor, &awaited);
	assert_int_equal(xr_reactor_wait(reactor, XR_IDLE), 1);

	/* That was for its own round. */
	start_ns = test_now_ns();
	assert_int_equal(xr_reactor_wait(reactor, 20 * XU_NS_PER_MS), 0);
	assert_in_range(test_now_ns() - start_ns, 19 * XU_NS_PER_MS, PATIENCE_NS);
	xr_reactor_free(reactor);
}

/* ---- timers ---- */

struct clocked {
	struct xr_timer timer;
	uint64_t ran_ns;
	struct xr_reactor *reactor;
	struct xr_timer *victim;
	uint64_t again_ns;
	uint32_t count;
};

static void on_clocked(struct xr_timer *timer)
{
	struct clocked *clocked = xu_container_of(timer, struct clocked, timer);

	assert_false(xr_timer_is_running(timer));
	clocked->ran_ns = test_now_ns();
	clocked->count++;
	if (clocked->victim != NULL) {
		xr_timer_stop(clocked->reactor, clocked->victim);
	}
	if (clocked->again_ns != 0) {
		xr_timer_start(clocked->reactor, timer, clocked->again_ns);
	}
}

static void poll_until_ran(struct xr_reactor *reactor, const struct clocked *clocked)
{
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	while (clocked->count == 0) {
		xr_reactor_poll(reactor, PATIENCE_NS);
		assert_true(test_now_ns() < end_ns);
	}
}

/* The time comes from the cycle counter, which is compared with the clock now and then: it may
 * differ from the clock by some nanoseconds. */
#define APART_NS (10 * XU_NS_PER_US)

/* The alarm of a sleep that something ended stays armed: it ends no later one before its time, and
 * keeps none from ending in time. How late a timer may be depends on the machine; that it wakes a
 * reactor which would sleep much longer does not. */
static void test_poll_after_a_sleep_that_was_cut_short(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	const struct xu_clock *clock = xu_clock_system();
	struct xr_timer timer = {.fn = on_note_timer};
	uint64_t start_ns, passed_ns;

	for (uint32_t i = 0; i < 5; i++) {
		uint64_t cut_ns = (2 + i) * XU_NS_PER_MS;

		ran[0] = '\0';
		start_ns = xu_clock_now_ns(clock);
		xr_timer_start(reactor, &timer, 30 * XU_NS_PER_MS); /* arms it */
		xr_reactor_poll(reactor, cut_ns);
		passed_ns = xu_clock_now_ns(clock) - start_ns;
		assert_true(passed_ns + XU_NS_PER_MS >= cut_ns);
		/* Others may have had the processor until the timer was due. */
		assert_true(ran[0] == '\0' || passed_ns >= 30 * XU_NS_PER_MS);
		xr_timer_stop(reactor, &timer);
		start_ns = xu_clock_now_ns(clock);
		xr_reactor_poll(reactor, 60 * XU_NS_PER_MS);
		assert_true(xu_clock_now_ns(clock) - start_ns >= 59 * XU_NS_PER_MS);
		ran[0] = '\0';
		start_ns = xu_clock_now_ns(clock);
		xr_timer_start(reactor, &timer, 3 * XU_NS_PER_MS);
		while (ran[0] == '\0') {
			xr_reactor_poll(reactor, PATIENCE_NS);
		}
		assert_true(xu_clock_now_ns(clock) - start_ns < PATIENCE_NS / 2);
	}
	xr_reactor_free(reactor);
}

static void test_timer_never_early(void **state)
{
	static const uint64_t delays_ns[] = {0, 1, 1000, 3 * XU_NS_PER_MS, 20 * XU_NS_PER_MS};
	struct xr_reactor *reactor = test_reactor();
	struct clocked clocked[ARRAY_SIZE(delays_ns)];
	uint64_t start_ns = test_now_ns();

	for (size_t i = 0; i < ARRAY_SIZE(delays_ns); i++) {
		clocked[i] = (struct clocked){.timer.fn = on_clocked};
		xr_timer_start(reactor, &clocked[i].timer, delays_ns[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(delays_ns); i++) {
		poll_until_ran(reactor, &clocked[i]);
		assert_true(clocked[i].ran_ns - start_ns + APART_NS >= delays_ns[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(delays_ns); i++) {
		assert_int_equal(clocked[i].count, 1);
		assert_true(i == 0 || clocked[i].ran_ns >= clocked[i - 1].ran_ns);
	}
	xr_reactor_free(reactor);
}

static void test_timer_of_no_time_keeps_no_round(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct clocked clocked = {.timer.fn = on_clocked, .reactor = reactor, .again_ns = 1};

	xr_timer_start(reactor, &clocked.timer, 0);
	for (uint32_t i = 1; i <= 5; i++) {
		test_sleep_ms(1);
		xr_reactor_poll(reactor, 0);
		assert_int_equal(clocked.count, i);
	}
	xr_timer_stop(reactor, &clocked.timer);
	xr_reactor_free(reactor);
}

static void test_timer_set_anew_and_stopped(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct clocked moved = {.timer.fn = on_clocked}, stopped = {.timer.fn = on_clocked};
	uint64_t start_ns = test_now_ns();

	xr_timer_stop(reactor, &stopped.timer); /* not running: left alone */
	xr_timer_start(reactor, &stopped.timer, XU_NS_PER_MS);
	xr_timer_start(reactor, &moved.timer, XU_NS_PER_MS);
	xr_timer_start(reactor, &moved.timer, 20 * XU_NS_PER_MS);
	xr_timer_stop(reactor, &stopped.timer);
	assert_true(xr_timer_is_running(&moved.timer));
	assert_false(xr_timer_is_running(&stopped.timer));
	poll_until_ran(reactor, &moved);
	assert_int_equal(stopped.count, 0);
	assert_int_equal(moved.count, 1);
	assert_true(moved.ran_ns - start_ns + APART_NS >= 20 * XU_NS_PER_MS);
	xr_reactor_free(reactor);
}

/* Of two timers that are due, the first stops the second: it does not run. */
static void test_timer_stopped_by_another(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct clocked second = {.timer.fn = on_clocked};
	struct clocked first = {
		.timer.fn = on_clocked, .reactor = reactor, .victim = &second.timer};

	xr_timer_start(reactor, &first.timer, 1000);
	xr_timer_start(reactor, &second.timer, 2000);
	test_sleep_ms(1);
	assert_int_equal(xr_reactor_poll(reactor, 0), 1);
	assert_int_equal(first.count, 1);
	assert_int_equal(second.count, 0);
	xr_reactor_free(reactor);
}

static void test_timer_delay_beyond_the_end_of_time(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct clocked clocked = {.timer.fn = on_clocked};

	xr_timer_start(reactor, &clocked.timer, UINT64_MAX - 1);
	for (int i = 0; i < 5; i++) {
		xr_reactor_poll(reactor, XU_NS_PER_MS);
	}
	assert_int_equal(clocked.count, 0);
	assert_true(xr_timer_is_running(&clocked.timer));
	xr_timer_stop(reactor, &clocked.timer);
	xr_reactor_free(reactor);
}

static void test_now_stands_still_within_a_round(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	uint64_t before_ns = test_now_ns();

	xr_reactor_poll(reactor, 0);
	assert_in_range(xr_now_ns(reactor), before_ns - APART_NS, test_now_ns() + APART_NS);
	before_ns = xr_now_ns(reactor);
	test_sleep_ms(1);
	assert_int_equal(xr_now_ns(reactor), before_ns);
	xr_reactor_poll(reactor, 0);
	assert_true(xr_now_ns(reactor) - before_ns >= XU_NS_PER_MS - APART_NS);
	xr_reactor_free(reactor);
}

/* ---- pollers ---- */

struct counted {
	struct xr_poller poller;
	struct xr_reactor *reactor;
	uint32_t count;
	uint64_t answer_ns; /* what it returns */
	struct counted *add, *del;
};

static uint64_t on_counted(struct xr_poller *poller)
{
	struct counted *counted = xu_container_of(poller, struct counted, poller);

	counted->count++;
	if (counted->add != NULL) {
		xr_poller_add(counted->reactor, &counted->add->poller);
		counted->add = NULL;
	}
	if (counted->del != NULL) {
		xr_poller_del(counted->reactor, &counted->del->poller);
		counted->del = NULL;
	}
	return counted->answer_ns;
}

static void counted_init(struct counted *counted, struct xr_reactor *reactor, uint64_t answer_ns)
{
	*counted = (struct counted){
		.poller.fn = on_counted, .reactor = reactor, .answer_ns = answer_ns};
	xu_list_init(&counted->poller.link);
}

static void test_busy_poller_keeps_the_reactor_awake(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct counted busy;
	uint64_t start_ns = test_now_ns();

	counted_init(&busy, reactor, XR_BUSY);
	xr_poller_add(reactor, &busy.poller);
	for (uint32_t i = 1; i <= 100; i++) {
		assert_int_equal(xr_reactor_poll(reactor, PATIENCE_NS), 1);
		assert_int_equal(busy.count, i);
	}
	assert_true(test_now_ns() - start_ns < PATIENCE_NS);
	xr_poller_del(reactor, &busy.poller);
	xr_reactor_free(reactor);
}

static void test_poller_is_asked_at_its_deadline(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct counted counted;
	uint64_t start_ns = test_now_ns();

	counted_init(&counted, reactor, start_ns + 30 * XU_NS_PER_MS);
	xr_poller_add(reactor, &counted.poller);
	xr_reactor_poll(reactor, PATIENCE_NS);
	assert_in_range(test_now_ns() - start_ns, 30 * XU_NS_PER_MS, PATIENCE_NS / 2);
	xr_poller_del(reactor, &counted.poller);
	xr_reactor_free(reactor);
}

/* Pollers that come and go while they are asked. */
static void test_pollers_added_and_removed_within_a_round(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct counted first, second, third, late;

	counted_init(&first, reactor, XR_IDLE);
	counted_init(&second, reactor, XR_IDLE);
	counted_init(&third, reactor, XR_IDLE);
	counted_init(&late, reactor, XR_IDLE);
	xr_poller_add(reactor, &first.poller);
	xr_poller_add(reactor, &second.poller);
	xr_poller_add(reactor, &third.poller);
	first.del = &second; /* the next one */
	first.add = &late;
	third.del = &third; /* itself */
	xr_reactor_poll(reactor, 0);
	assert_int_equal(first.count, 1);
	assert_int_equal(second.count, 0);
	assert_int_equal(third.count, 1);
	xr_reactor_poll(reactor, 0);
	assert_int_equal(first.count, 2);
	assert_int_equal(second.count + third.count, 1);
	assert_in_range(late.count, 1, 2);
	late.del = &first; /* one that was asked already */
	xr_reactor_poll(reactor, 0);
	xr_reactor_poll(reactor, 0);
	assert_int_equal(first.count, 3);
	xr_poller_del(reactor, &late.poller);
	xr_reactor_free(reactor);
}

/* ---- a thread of its own ---- */

struct relay {
	struct xr_poller poller;
	struct xr_timer timer;
	struct xr_msg msg;
	struct xr_reactor *reactor;
	bool has_work;
	_Atomic bool is_done;
};

static uint64_t on_relay_poller(struct xr_poller *poller)
{
	struct relay *relay = xu_container_of(poller, struct relay, poller);

	if (!relay->has_work) {
		return XR_IDLE;
	}
	relay->has_work = false;
	atomic_store(&relay->is_done, true);
	return XR_BUSY;
}

static void on_relay_timer(struct xr_timer *timer)
{
	xu_container_of(timer, struct relay, timer)->has_work = true;
}

static void on_relay_start(struct xr_msg *msg)
{
	struct relay *relay = xu_container_of(msg, struct relay, msg);

	xr_poller_add(relay->reactor, &relay->poller);
	xr_timer_start(relay->reactor, &relay->timer, XU_NS_PER_MS);
}

/* The timer leaves work for the poller, which said before that it was idle: the reactor must ask
 * it again before it sleeps. */
static void test_poller_hears_of_a_timer(void **state)
{
	struct relay relay = {.poller.fn = on_relay_poller,
		.timer.fn = on_relay_timer,
		.msg.fn = on_relay_start,
		.reactor = test_reactor()};

	assert_int_equal(xr_reactor_start(relay.reactor, NULL), 0);
	xr_msg_send(relay.reactor, &relay.msg);
	test_wait_for(&relay.is_done);
	xr_reactor_stop(relay.reactor);
	xr_poller_del(relay.reactor, &relay.poller);
	xr_reactor_free(relay.reactor);
}

struct visit {
	struct xr_msg msg;
	pthread_t thread;
	char name[16];
	_Atomic bool is_done;
};

static void on_visit(struct xr_msg *msg)
{
	struct visit *visit = xu_container_of(msg, struct visit, msg);

	visit->thread = pthread_self();
	pthread_getname_np(visit->thread, visit->name, sizeof(visit->name));
	atomic_store(&visit->is_done, true);
}

static void test_thread_runs_and_stops(void **state)
{
	for (int i = 0; i < 20; i++) {
		const struct xr_reactor_opts opts = {.index = 3, .cpu = i % 2 == 0 ? 0 : -1};
		struct xr_reactor *reactor = test_reactor_with(&opts);
		struct visit visit = {.msg.fn = on_visit};

		xr_reactor_stop(reactor);         /* not started: nothing to do */
		xr_msg_send(reactor, &visit.msg); /* before there is anybody to run it */
		assert_int_equal(xr_reactor_start(reactor, NULL), 0);
		test_wait_for(&visit.is_done);
		assert_false(pthread_equal(visit.thread, pthread_self()));
		xr_reactor_stop(reactor);
		xr_reactor_stop(reactor);
		xr_reactor_free(reactor);
	}
}

/* A ring does not survive a fork, so what is to abort makes its own reactor. */
static void poll_from_another_thread(void *arg)
{
	struct xr_reactor *reactor = test_reactor();

	xr_reactor_start(reactor, NULL);
	test_sleep_ms(20); /* it has run */
	xr_reactor_stop(reactor);
	xr_reactor_poll(reactor, 0);
}

/* The kernel has tied the ring to its first thread, so a second one would wait for ever. */
static void test_second_thread_is_a_mistake(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct visit visit = {.msg.fn = on_visit};
	struct xu_error err = {0};

	assert_true(test_aborts(poll_from_another_thread, NULL));
	assert_int_equal(xr_reactor_start(reactor, NULL), 0);
	xr_msg_send(reactor, &visit.msg);
	test_wait_for(&visit.is_done);
	xr_reactor_stop(reactor);
	assert_int_equal(xr_reactor_start(reactor, &err), -EINVAL);
	assert_non_null(strstr(err.text, "make a new one"));
	xr_reactor_free(reactor);
}

static struct xr_reactor *polled_again;

static void poll_again(struct xr_msg *msg)
{
	xr_reactor_poll(polled_again, 0);
}

static void poll_from_a_callback(void *arg)
{
	struct xr_msg msg = {.fn = poll_again};

	polled_again = test_reactor();
	xr_msg_send(polled_again, &msg);
	xr_reactor_poll(polled_again, 0);
}

/* Another reactor may be polled from a callback, and afterwards all is as before. */
static void test_poll_within_a_poll(void **state)
{
	struct xr_reactor *outer = test_reactor();
	struct xr_msg inner_msg = {.fn = see_current}, outer_msg = {.fn = poll_again};

	assert_true(test_aborts(poll_from_a_callback, NULL));
	polled_again = test_reactor();
	seen_current = NULL;
	xr_msg_send(polled_again, &inner_msg);
	xr_msg_send(outer, &outer_msg);
	xr_reactor_poll(outer, 0);
	assert_ptr_equal(seen_current, polled_again);
	assert_null(xr_reactor_current());
	xr_reactor_free(polled_again);
	xr_reactor_free(outer);
}

static void free_with_a_timer(void *arg)
{
	struct xr_reactor *reactor = test_reactor();
	struct xr_timer timer = {.fn = on_note_timer};

	xr_timer_start(reactor, &timer, XU_NS_PER_S);
	xr_reactor_free(reactor);
}

static void free_that_runs(void *arg)
{
	struct xr_reactor *reactor = test_reactor();

	xr_reactor_start(reactor, NULL);
	xr_reactor_free(reactor);
}

static void test_free_in_use_is_a_mistake(void **state)
{
	assert_true(test_aborts(free_with_a_timer, NULL));
	assert_true(test_aborts(free_that_runs, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reactor_knows_itself),
		cmocka_unit_test(test_reactor_refuses_an_impossible_ring),
		cmocka_unit_test(test_round_order),
		cmocka_unit_test(test_deferred_runs_in_the_next_round),
		cmocka_unit_test(test_round_that_hands_something_over_does_not_sleep),
		cmocka_unit_test(test_deferred_again_and_again_keeps_no_round),
		cmocka_unit_test(test_poll_waits_as_long_as_told),
		cmocka_unit_test(test_wait_sleeps_until_told),
		cmocka_unit_test(test_poll_after_a_sleep_that_was_cut_short),
		cmocka_unit_test(test_timer_never_early),
		cmocka_unit_test(test_timer_of_no_time_keeps_no_round),
		cmocka_unit_test(test_timer_set_anew_and_stopped),
		cmocka_unit_test(test_timer_stopped_by_another),
		cmocka_unit_test(test_timer_delay_beyond_the_end_of_time),
		cmocka_unit_test(test_now_stands_still_within_a_round),
		cmocka_unit_test(test_busy_poller_keeps_the_reactor_awake),
		cmocka_unit_test(test_poller_is_asked_at_its_deadline),
		cmocka_unit_test(test_pollers_added_and_removed_within_a_round),
		cmocka_unit_test(test_poller_hears_of_a_timer),
		cmocka_unit_test(test_thread_runs_and_stops),
		cmocka_unit_test(test_second_thread_is_a_mistake),
		cmocka_unit_test(test_poll_within_a_poll),
		cmocka_unit_test(test_free_in_use_is_a_mistake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
