/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages between threads: none lost, each sender's in order, and nobody who sleeps is left
 * asleep. Run under the thread sanitizer too. */
#include "test/unit/reactor/test.h"

/* ---- many to one ---- */

#define NR_SENDERS  4u
#define NR_MESSAGES 20000u

struct numbered {
	struct xr_msg msg;
	struct sender *sender;
	uint32_t number;
};

struct sender {
	pthread_t thread;
	struct xr_reactor *to;
	uint32_t nr_received; /* the reactor's */
	bool is_pausing;
	struct numbered messages[NR_MESSAGES];
};

static uint32_t nr_received_in_all; /* the reactor's */
static _Atomic bool is_all_received;

static void on_numbered(struct xr_msg *msg)
{
	struct numbered *numbered = xu_container_of(msg, struct numbered, msg);

	assert_int_equal(numbered->number, numbered->sender->nr_received);
	numbered->sender->nr_received++;
	if (++nr_received_in_all == NR_SENDERS * NR_MESSAGES) {
		atomic_store(&is_all_received, true);
	}
}

static void *sender_main(void *arg)
{
	struct sender *sender = arg;

	for (uint32_t i = 0; i < NR_MESSAGES; i++) {
		sender->messages[i] =
			(struct numbered){.msg.fn = on_numbered, .sender = sender, .number = i};
		xr_msg_send(sender->to, &sender->messages[i].msg);
		if (sender->is_pausing && i % 400 == 0) {
			test_sleep_ms(1); /* let it fall asleep */
		}
	}
	return NULL;
}

static void send_from_all(bool is_pausing)
{
	static struct sender senders[NR_SENDERS];
	struct xr_reactor *reactor = test_reactor();
	struct xr_reactor_stats stats;

	nr_received_in_all = 0;
	atomic_store(&is_all_received, false);
	assert_int_equal(xr_reactor_start(reactor, NULL), 0);
	for (uint32_t i = 0; i < NR_SENDERS; i++) {
		senders[i].to = reactor;
		senders[i].nr_received = 0;
		senders[i].is_pausing = is_pausing;
		assert_int_equal(
			pthread_create(&senders[i].thread, NULL, sender_main, &senders[i]), 0);
	}
	for (uint32_t i = 0; i < NR_SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
	}
	test_wait_for(&is_all_received);
	xr_reactor_stop(reactor);
	xr_reactor_stats_get(reactor, &stats);
	assert_int_equal(stats.nr_messages, NR_SENDERS * NR_MESSAGES + 1); /* and the stop */
	assert_true(stats.nr_wakeups <= stats.nr_sleeps);
	xr_reactor_free(reactor);
}

static void test_messages_of_many_threads(void **state)
{
	send_from_all(false);
}

static void test_messages_to_a_reactor_that_falls_asleep(void **state)
{
	send_from_all(true);
}

/* ---- back and forth ---- */

struct ball {
	struct xr_msg msg;
	struct xr_reactor *players[2];
	uint32_t nr_left;
	uint32_t nr_wrong;
	_Atomic bool is_done;
};

static void on_ball(struct xr_msg *msg)
{
	struct ball *ball = xu_container_of(msg, struct ball, msg);

	ball->nr_wrong += xr_reactor_current() != ball->players[ball->nr_left % 2];
	if (ball->nr_left-- == 0) {
		atomic_store(&ball->is_done, true);
		return;
	}
	xr_msg_send(ball->players[ball->nr_left % 2], msg);
}

static void play(uint64_t spin_max_ns, uint32_t nr_balls)
{
	const struct xr_reactor_opts opts = {.cpu = -1, .spin_max_ns = spin_max_ns};
	struct xr_reactor *players[2] = {test_reactor_with(&opts), test_reactor_with(&opts)};
	struct ball balls[8];

	assert_int_equal(xr_reactor_start(players[0], NULL), 0);
	assert_int_equal(xr_reactor_start(players[1], NULL), 0);
	for (uint32_t i = 0; i < nr_balls; i++) {
		balls[i] = (struct ball){
			.msg.fn = on_ball, .players = {players[0], players[1]}, .nr_left = 4000};
		xr_msg_send(players[0], &balls[i].msg);
	}
	for (uint32_t i = 0; i < nr_balls; i++) {
		test_wait_for(&balls[i].is_done);
		assert_int_equal(balls[i].nr_wrong, 0);
	}
	xr_reactor_stop(players[0]);
	xr_reactor_stop(players[1]);
	xr_reactor_free(players[0]);
	xr_reactor_free(players[1]);
}

/* Both sleep after every throw: a wake-up that got lost would end the game. */
static void test_messages_wake_a_sleeper_every_time(void **state)
{
	play(0, 1);
	play(0, 8);
}

static void test_messages_reach_one_that_spins(void **state)
{
	play(XR_SPIN_MAX_NS_DEFAULT, 1);
	play(XR_SPIN_MAX_NS_DEFAULT, 8);
}

/* ---- embedded ---- */

struct late {
	struct xr_msg msg;
	struct xr_reactor *to;
	_Atomic bool is_done;
};

static void on_late(struct xr_msg *msg)
{
	atomic_store(&xu_container_of(msg, struct late, msg)->is_done, true);
}

static void *send_late(void *arg)
{
	struct late *late = arg;

	test_sleep_ms(30);
	xr_msg_send(late->to, &late->msg);
	return NULL;
}

static void test_message_wakes_an_embedded_poll(void **state)
{
	struct late late = {.msg.fn = on_late, .to = test_reactor()};
	uint64_t start_ns = test_now_ns();
	struct xr_reactor_stats stats;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, send_late, &late), 0);
	while (!atomic_load(&late.is_done)) {
		xr_reactor_poll(late.to, XR_IDLE);
	}
	assert_true(test_now_ns() - start_ns >= 29 * XU_NS_PER_MS);
	pthread_join(thread, NULL);
	xr_reactor_stats_get(late.to, &stats);
	assert_true(stats.nr_wakeups <= 1);
	assert_int_equal(stats.nr_messages, 1);
	xr_reactor_free(late.to);
}

/* ---- wake-ups are counted ---- */

struct report {
	struct xr_msg msg;
	struct xr_reactor *to;
	struct xr_reactor_stats stats;
	_Atomic bool is_done;
};

static void on_report(struct xr_msg *msg)
{
	struct report *report = xu_container_of(msg, struct report, msg);

	xr_reactor_stats_get(report->to, &report->stats);
	atomic_store(&report->is_done, true);
}

static void test_wakeups_are_counted(void **state)
{
	struct report report = {.msg.fn = on_report, .to = test_reactor()};
	uint64_t end_ns = test_now_ns() + PATIENCE_NS, nr_sent = 0;

	assert_int_equal(xr_reactor_start(report.to, NULL), 0);
	do {
		test_sleep_ms(2); /* it sleeps, as a rule */
		atomic_store(&report.is_done, false);
		xr_msg_send(report.to, &report.msg);
		nr_sent++;
		test_wait_for(&report.is_done);
		assert_true(report.stats.nr_wakeups <= nr_sent);
		assert_true(report.stats.nr_wakeups <= report.stats.nr_sleeps);
		assert_true(test_now_ns() < end_ns);
	} while (report.stats.nr_wakeups < 10);
	xr_reactor_stop(report.to);
	xr_reactor_free(report.to);
}

/* ---- a message may be freed or sent again by its own function ---- */

struct heir {
	struct xr_msg msg;
	struct xr_reactor *to;
	uint32_t nr_left;
	_Atomic bool *is_done;
};

static void on_heir(struct xr_msg *msg)
{
	struct heir *heir = xu_container_of(msg, struct heir, msg), *next;

	if (heir->nr_left == 0) {
		atomic_store(heir->is_done, true);
	} else {
		next = malloc(sizeof(*next));
		assert_non_null(next);
		*next = *heir;
		next->nr_left--;
		xr_msg_send(heir->to, &next->msg);
	}
	free(heir);
}

static void test_message_frees_itself(void **state)
{
	struct xr_reactor *reactor = test_reactor();
	struct heir *heir = malloc(sizeof(*heir));
	_Atomic bool is_done = false;

	assert_non_null(heir);
	*heir = (struct heir){
		.msg.fn = on_heir, .to = reactor, .nr_left = 1000, .is_done = &is_done};
	assert_int_equal(xr_reactor_start(reactor, NULL), 0);
	xr_msg_send(reactor, &heir->msg);
	test_wait_for(&is_done);
	xr_reactor_stop(reactor);
	xr_reactor_free(reactor);
}

/* ---- slots ---- */

#define NR_CALLERS 24u /* more than there are slots */
#define NR_CALLS   2000u

struct slot_line {
	_Alignas(XU_CACHE_LINE) struct xr_msg msg;
	uint32_t question; /* of one caller after the other */
	_Atomic uint32_t answer;
};

static struct slot_line slot_lines[XR_SLOTS_MAX];
static struct xr_slots slots;

static void on_question(struct xr_msg *msg)
{
	struct slot_line *line = xu_container_of(msg, struct slot_line, msg);

	atomic_store_explicit(&line->answer, line->question, memory_order_release);
}

/* Takes a slot for some calls, then lets others have it. */
static void *call_through_slots(void *arg)
{
	struct xr_reactor *reactor = arg;
	uint64_t end_ns = test_now_ns() + PATIENCE_NS;

	for (uint32_t i = 1; i <= NR_CALLS;) {
		int slot = xr_slot_take(&slots);

		if (slot < 0) {
			assert_true(test_now_ns() < end_ns);
			test_sleep_ms(1);
			continue;
		}
		for (uint32_t last = i + 100; i < last; i++) {
			struct slot_line *line = &slot_lines[slot];

			atomic_store(&line->answer, 0);
			line->question = i;
			xr_slot_send(reactor, &line->msg);
			while (atomic_load_explicit(&line->answer, memory_order_acquire) != i) {
				sched_yield();
			}
		}
		xr_slot_give(&slots, slot);
	}
	return NULL;
}

static void call_from_all(uint64_t spin_max_ns)
{
	const struct xr_reactor_opts opts = {.cpu = -1, .spin_max_ns = spin_max_ns};
	struct xr_reactor *reactor = test_reactor_with(&opts);
	pthread_t threads[NR_CALLERS];
	struct xr_reactor_stats stats;

	for (uint32_t i = 0; i < XR_SLOTS_MAX; i++) {
		slot_lines[i].msg.fn = on_question;
		slots.msgs[i] = &slot_lines[i].msg;
	}
	xr_reactor_set_slots(reactor, &slots);
	assert_int_equal(xr_reactor_start(reactor, NULL), 0);
	for (uint32_t i = 0; i < NR_CALLERS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, call_through_slots, reactor), 0);
	}
	for (uint32_t i = 0; i < NR_CALLERS; i++) {
		pthread_join(threads[i], NULL);
	}
	xr_reactor_stop(reactor);
	xr_reactor_stats_get(reactor, &stats);
	assert_int_equal(stats.nr_messages, NR_CALLERS * NR_CALLS + 1); /* and the stop */
	assert_true(stats.nr_wakeups <= stats.nr_sleeps);
	assert_int_equal(atomic_load(&slots.taken), 0);
	xr_reactor_free(reactor);
}

/* None is lost, whether the reactor spins or falls asleep after each. */
static void test_slots_of_many_threads(void **state)
{
	call_from_all(0);
	call_from_all(XR_SPIN_MAX_NS_DEFAULT);
}

static void test_slots_are_bounded_and_come_back(void **state)
{
	struct xr_slots own = {.taken = 0};

	for (int i = 0; i < (int)XR_SLOTS_MAX; i++) {
		assert_int_equal(xr_slot_take(&own), i);
	}
	assert_int_equal(xr_slot_take(&own), -1);
	xr_slot_give(&own, 3);
	xr_slot_give(&own, 11);
	assert_int_equal(xr_slot_take(&own), 3);
	assert_int_equal(xr_slot_take(&own), 11);
	assert_int_equal(xr_slot_take(&own), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_of_many_threads),
		cmocka_unit_test(test_messages_to_a_reactor_that_falls_asleep),
		cmocka_unit_test(test_messages_wake_a_sleeper_every_time),
		cmocka_unit_test(test_messages_reach_one_that_spins),
		cmocka_unit_test(test_message_wakes_an_embedded_poll),
		cmocka_unit_test(test_wakeups_are_counted),
		cmocka_unit_test(test_message_frees_itself),
		cmocka_unit_test(test_slots_of_many_threads),
		cmocka_unit_test(test_slots_are_bounded_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
