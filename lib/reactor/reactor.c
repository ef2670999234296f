/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop. A round runs the inbox, deferred work, timers and pollers, then gives what they asked
 * of the kernel to it and takes completions, in one system call where that call may also sleep.
 *
 * Sleeping and waking. Before it sleeps, the reactor sets is_sleeping and looks at the inbox once
 * more; a sender pushes first and looks at is_sleeping second (both sequentially consistent), so
 * one of them sees the other. Only the sender that clears the flag pays for a system call; while
 * the reactor is awake a message costs one compare-and-swap.
 *
 * Spinning. The time from running out of work to the next event is averaged. Only while that
 * average is below spin_max_ns (about what a wake-up costs) does the reactor spin, for at most
 * twice the average; slower devices are waited for asleep. An idle reactor does nothing at all. A
 * sleep that a message ends counts up to its sending: the wake-up itself is what spinning saves.
 *
 * What is waited for may need the very CPU that spins: the kernel ends direct writes in a worker of
 * the CPU that took the interrupt, and a client may run on ours. Such an event comes as soon as the
 * reactor sleeps, so the average is short and every spin is in vain. So after two vain spins in a
 * row the reactor sleeps without one, ever more often until a spin finds something.
 *
 * Two reactors that talk over a socket would put each other to sleep for ever: each waits for the
 * other's wake-up, and then for its own. So while waits are no longer than a few wake-ups the
 * reactor tries now and then what a spin would find, ever more seldom while that finds nothing.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/reactor/platform.h"
#include "lib/reactor/reactor.h"
#include "lib/reactor/timer.h"
#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define RING_ENTRIES_DEFAULT 256u
#define BUF_LIMIT_DEFAULT    (64ull << 20)
#define GAP_WEIGHT_SHIFT     3u       /* each gap counts 1/8 in the average */
#define GAP_CAP_NS           1000000u /* a longer one counts as this */
#define TRY_RANGE            4u       /* a spin is tried for waits up to this times spin_max_ns */
#define SPIN_WAIT_MAX        1024u    /* waits between two spins, when they find nothing */
#define SPIN_BATCH           4u       /* looks between two readings of the clock */

struct xr_reactor {
	const struct xr_platform *platform;
	const struct xr_ring_ops *ring_ops;
	void *ring;
	void *cmd_ring; /* NULL: nobody has asked for it yet */
	struct xu_logger *log;
	struct xr_timer_heap timers;
	struct xu_list pollers;
	struct xu_list *poller_next; /* where the walk over the pollers goes on */
	struct xr_msg *deferred_first, **deferred_end;
	struct xr_msg *flush_first, **flush_end; /* before the next submission */
	uint64_t now_ns;
	bool has_ticks;    /* time passes by the cycle counter between two readings of the clock */
	uint64_t clock_ns; /* the last of these, */
	uint64_t clock_ticks; /* the counter at that moment, */
	uint64_t ticks_max;   /* and how far to trust it */
	uint64_t read_ns;     /* the last time that was told */
	uint64_t spin_max_ns;
	uint64_t gap_average_ns;
	uint32_t nr_until_spin, spin_wait; /* waits until the next spin, and after one in vain */
	uint64_t idle_since_ns;            /* 0: not idle */
	uint64_t ended_ns; /* when the last round ended, if this one follows at once; else 0 */
	struct xr_reactor_stats stats;
	struct xu_random random;
	struct xu_bufpool buffers;
	uint32_t index;
	int cpu;

	bool stays_awake; /* this round does not sleep */

	pid_t owner_tid; /* of the first thread that ran it; 0: none yet */

	/* The thread, when there is one. */
	pthread_t thread;
	bool has_thread;
	bool must_stop;
	struct xr_msg stop_msg;

	/* What other threads touch. */
	struct xr_slots *slots; /* NULL: none */
	struct xu_mpsc inbox;
	_Alignas(XU_CACHE_LINE) _Atomic bool is_sleeping;
	_Atomic uint64_t woken_ns; /* when a sender last woke it */
};

/* They are few bytes, which a library that is loaded late finds too; and every I/O reads them. */
static _Thread_local struct xr_reactor *current __attribute__((tls_model("initial-exec")));
static _Thread_local pid_t own_tid __attribute__((tls_model("initial-exec")));

/*
 * The time. The clock costs several times what the counter does, and a round reads it up to three
 * times, so it is asked once a millisecond and the counter in between. Time never goes back, also
 * when the counter was ahead.
 */
static uint64_t read_clock(struct xr_reactor *r)
{
	uint64_t ticks, now_ns;

	if (!r->has_ticks) {
		return xu_clock_now_ns(r->platform->clock);
	}
	ticks = xu_ticks();
	if (ticks - r->clock_ticks < r->ticks_max) {
		now_ns = r->clock_ns + xu_ticks_to_ns(ticks - r->clock_ticks);
	} else {
		now_ns = xu_clock_now_ns(r->platform->clock);
		r->clock_ns = now_ns;
		r->clock_ticks = xu_ticks();
	}
	r->read_ns = now_ns > r->read_ns ? now_ns : r->read_ns;
	return r->read_ns;
}

struct xr_reactor *xr_reactor_current(void)
{
	return current;
}

uint64_t xr_now_ns(const struct xr_reactor *reactor)
{
	return reactor->now_ns;
}

uint32_t xr_reactor_index(const struct xr_reactor *reactor)
{
	return reactor->index;
}

const struct xr_platform *xr_reactor_platform(const struct xr_reactor *reactor)
{
	return reactor->platform;
}

struct xu_logger *xr_reactor_log(const struct xr_reactor *reactor)
{
	return reactor->log;
}

struct xu_random *xr_reactor_random(struct xr_reactor *reactor)
{
	return &reactor->random;
}

struct xu_bufpool *xr_reactor_buffers(struct xr_reactor *reactor)
{
	return &reactor->buffers;
}

static uint64_t spin_limit_ns(const struct xr_reactor *r)
{
	uint64_t limit = 2 * r->gap_average_ns;

	if (r->gap_average_ns > r->spin_max_ns) {
		return 0;
	}
	return limit < r->spin_max_ns ? limit : r->spin_max_ns;
}

/* How long to spin now, 0 for not at all. */
static uint64_t choose_spin_ns(struct xr_reactor *r)
{
	uint64_t limit_ns = spin_limit_ns(r);

	if (limit_ns == 0) {
		limit_ns = r->gap_average_ns <= TRY_RANGE * r->spin_max_ns ? r->spin_max_ns : 0;
	}
	if (limit_ns != 0 && r->nr_until_spin != 0) {
		r->nr_until_spin--;
		return 0;
	}
	return limit_ns;
}

static void note_spin(struct xr_reactor *r, bool found)
{
	if (found) {
		r->spin_wait = 0; /* and again at once, also after the next one in vain */
		return;
	}
	r->nr_until_spin = r->spin_wait;
	r->spin_wait = r->spin_wait == 0                  ? 1
		       : r->spin_wait < SPIN_WAIT_MAX / 2 ? 2 * r->spin_wait
							  : SPIN_WAIT_MAX;
}

void xr_reactor_stats_get(const struct xr_reactor *reactor, struct xr_reactor_stats *ret_stats)
{
	*ret_stats = reactor->stats;
	ret_stats->spin_limit_ns = spin_limit_ns(reactor);
	if (reactor->ring_ops->nr_direct != NULL) {
		ret_stats->nr_direct = reactor->ring_ops->nr_direct(reactor->ring);
	}
}

/* ---- messages and deferred work ---- */

/* After a message has been put where the reactor looks. */
static void wake(struct xr_reactor *reactor)
{
	if (atomic_load_explicit(&reactor->is_sleeping, memory_order_seq_cst) &&
		atomic_exchange_explicit(&reactor->is_sleeping, false, memory_order_seq_cst)) {
		atomic_store_explicit(&reactor->woken_ns, xu_clock_now_ns(reactor->platform->clock),
			memory_order_relaxed);
		reactor->ring_ops->wake(reactor->ring);
	}
}

void xr_msg_send(struct xr_reactor *reactor, struct xr_msg *msg)
{
	xu_mpsc_push(&reactor->inbox, &msg->node);
	wake(reactor);
}

/* The node is the first member, so a list of messages is linked through it. */
_Static_assert(offsetof(struct xr_msg, node) == 0, "xr_msg.node");

void xr_msg_defer(struct xr_reactor *reactor, struct xr_msg *msg)
{
	msg->node.next = NULL;
	*reactor->deferred_end = msg;
	reactor->deferred_end = (struct xr_msg **)(void *)&msg->node.next;
}

void xr_msg_before_submit(struct xr_reactor *reactor, struct xr_msg *msg)
{
	msg->node.next = NULL;
	*reactor->flush_end = msg;
	reactor->flush_end = (struct xr_msg **)(void *)&msg->node.next;
}

static struct xr_msg *next_msg(struct xr_msg *msg)
{
	return (struct xr_msg *)(void *)msg->node.next;
}

/* Runs a list of messages; each may be freed or sent again by its own function. */
static uint32_t run_messages(struct xr_msg *msg)
{
	uint32_t count = 0;

	while (msg != NULL) {
		struct xr_msg *next = next_msg(msg);

		msg->fn(msg);
		msg = next;
		count++;
	}
	return count;
}

static uint32_t run_inbox(struct xr_reactor *r)
{
	struct xu_mpsc_node *node = xu_mpsc_take_all(&r->inbox);
	uint32_t count;

	if (node == NULL) {
		return 0;
	}
	count = run_messages(xu_container_of(node, struct xr_msg, node));
	r->stats.nr_messages += count;
	return count;
}

/* ---- slots ---- */

/* The message of a slot is linked to itself while it waits to be run, else to nothing. */

void xr_reactor_set_slots(struct xr_reactor *reactor, struct xr_slots *slots)
{
	atomic_init(&slots->taken, 0);
	for (uint32_t i = 0; i < XR_SLOTS_MAX; i++) {
		slots->msgs[i]->node.next = NULL;
	}
	reactor->slots = slots;
}

int xr_slot_take(struct xr_slots *slots)
{
	uint32_t taken = atomic_load_explicit(&slots->taken, memory_order_relaxed);
	uint32_t free_bit;

	do {
		free_bit = ~taken & (taken + 1) & ((1ull << XR_SLOTS_MAX) - 1);
		if (free_bit == 0) {
			return -1;
		}
	} while (!atomic_compare_exchange_weak(&slots->taken, &taken, taken | free_bit));
	return __builtin_ctz(free_bit);
}

void xr_slot_give(struct xr_slots *slots, int slot)
{
	atomic_fetch_and(&slots->taken, ~(1u << slot));
}

void xr_slot_send(struct xr_reactor *reactor, struct xr_msg *msg)
{
	__atomic_store_n(&msg->node.next, &msg->node, __ATOMIC_SEQ_CST);
	wake(reactor);
}

/* The first message in a slot, of those whose bits are in *left; takes the bits up to it. */
static struct xr_msg *find_in_slots(struct xr_reactor *r, uint32_t *left)
{
	while (*left != 0) {
		struct xr_msg *msg = r->slots->msgs[__builtin_ctz(*left)];

		*left &= *left - 1;
		if (__atomic_load_n(&msg->node.next, __ATOMIC_SEQ_CST) != NULL) {
			return msg;
		}
	}
	return NULL;
}

static uint32_t slots_taken(struct xr_reactor *r)
{
	return r->slots != NULL ? atomic_load(&r->slots->taken) : 0;
}

static uint32_t run_slots(struct xr_reactor *r)
{
	uint32_t left = slots_taken(r), count = 0;
	struct xr_msg *msg;

	while ((msg = find_in_slots(r, &left)) != NULL) {
		__atomic_store_n(&msg->node.next, NULL, __ATOMIC_RELAXED);
		msg->fn(msg);
		count++;
	}
	r->stats.nr_messages += count;
	return count;
}

static bool has_messages(struct xr_reactor *r)
{
	uint32_t left = slots_taken(r);

	return !xu_mpsc_is_empty(&r->inbox) || find_in_slots(r, &left) != NULL;
}

/* ---- deferred work ---- */

static uint32_t run_deferred(struct xr_reactor *r)
{
	struct xr_msg *first = r->deferred_first;

	r->deferred_first = NULL;
	r->deferred_end = &r->deferred_first;
	return run_messages(first);
}

static uint32_t run_flushes(struct xr_reactor *r)
{
	struct xr_msg *first = r->flush_first;

	r->flush_first = NULL;
	r->flush_end = &r->flush_first;
	return run_messages(first);
}

/* ---- operations ---- */

void xr_op_submit(struct xr_reactor *reactor, struct xr_op *op)
{
	assert(!op->is_pending);
	op->is_pending = 1;
	reactor->stats.nr_ops++;
	reactor->ring_ops->submit(reactor->ring, op);
}

void xr_op_cancel(struct xr_reactor *reactor, struct xr_op *op)
{
	if (op->is_pending) {
		reactor->ring_ops->cancel(reactor->ring, op);
	}
}

int xr_cmd_prepare(struct xr_reactor *reactor)
{
	const struct xr_cmd_ring_ops *ops = reactor->platform->cmd_ring;

	if (reactor->cmd_ring != NULL) {
		return 0;
	}
	return ops != NULL ? ops->create(reactor, &reactor->cmd_ring) : -EOPNOTSUPP;
}

void xr_cmd_submit(struct xr_reactor *reactor, struct xr_cmd *cmd)
{
	assert(!cmd->is_pending);
	cmd->is_pending = true;
	reactor->stats.nr_ops++;
	reactor->platform->cmd_ring->submit(reactor->cmd_ring, cmd);
}

/* ---- timers and pollers ---- */

void xr_timer_start(struct xr_reactor *reactor, struct xr_timer *timer, uint64_t delay_ns)
{
	uint64_t now_ns = read_clock(reactor);

	xr_timer_stop(reactor, timer);
	/* Never due in the round that starts it, so a timer of 0 ns cannot keep the loop. */
	delay_ns = delay_ns == 0 ? 1 : delay_ns;
	timer->deadline_ns = delay_ns < UINT64_MAX - now_ns ? now_ns + delay_ns : UINT64_MAX;
	xr__timer_insert(&reactor->timers, timer);
}

void xr_timer_stop(struct xr_reactor *reactor, struct xr_timer *timer)
{
	if (xr_timer_is_running(timer)) {
		xr__timer_remove(&reactor->timers, timer);
	}
}

static uint32_t run_timers(struct xr_reactor *r)
{
	struct xr_timer *timer;
	uint32_t count = 0;

	while ((timer = xr__timer_take_due(&r->timers, r->now_ns)) != NULL) {
		timer->fn(timer);
		count++;
	}
	return count;
}

void xr_poller_add(struct xr_reactor *reactor, struct xr_poller *poller)
{
	xu_list_add_tail(&reactor->pollers, &poller->link);
}

void xr_poller_del(struct xr_reactor *reactor, struct xr_poller *poller)
{
	if (reactor->poller_next == &poller->link) {
		reactor->poller_next = poller->link.next;
	}
	xu_list_del(&poller->link);
}

/* Asks every poller; lowers *deadline_ns to the earliest time that one wants to be asked again. */
static uint32_t run_pollers(struct xr_reactor *r, uint64_t *deadline_ns)
{
	uint32_t count = 0;

	for (r->poller_next = r->pollers.next; r->poller_next != &r->pollers;) {
		struct xr_poller *poller = xu_list_entry(r->poller_next, struct xr_poller, link);
		uint64_t when_ns;

		r->poller_next = r->poller_next->next;
		when_ns = poller->fn(poller);
		if (when_ns == XR_BUSY) {
			count++;
		} else if (when_ns < *deadline_ns) {
			*deadline_ns = when_ns;
		}
	}
	return count;
}

void xr_work_submit(struct xr_reactor *reactor, struct xr_work *work)
{
	work->reactor = reactor;
	reactor->platform->work_submit(reactor->platform, work);
}

/* ---- waiting ---- */

static void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool has_work(struct xr_reactor *r)
{
	return has_messages(r) || r->ring_ops->has_events(r->ring) ||
	       (r->cmd_ring != NULL && r->platform->cmd_ring->has_events(r->cmd_ring));
}

/* Submits, and calls back what has completed on either ring. */
static uint32_t run_rings(struct xr_reactor *r)
{
	uint32_t count = r->ring_ops->run(r->ring, 0);

	return r->cmd_ring != NULL ? count + r->platform->cmd_ring->run(r->cmd_ring) : count;
}

/* Looks for work without sleeping, for `limit_ns` from `start_ns` or until the deadline; true when
 * there is some. */
static bool spin(struct xr_reactor *r, uint64_t start_ns, uint64_t limit_ns, uint64_t deadline_ns)
{
	uint64_t end_ns = start_ns + limit_ns, now_ns = start_ns;
	bool found = false;

	if (deadline_ns < end_ns) {
		end_ns = deadline_ns;
	}
	r->stats.nr_spins++;
	while (now_ns < end_ns) {
		for (uint32_t i = 0; i < SPIN_BATCH && !found; i++) {
			cpu_relax();
			found = has_work(r);
		}
		if (found) {
			break; /* the last reading will do: who has come waits for us now */
		}
		now_ns = read_clock(r);
	}
	r->ended_ns = now_ns;
	r->stats.spin_ns += now_ns - start_ns;
	r->stats.nr_spin_hits += found;
	return found;
}

/* Submits and sleeps until something completes, a message comes or the deadline passes. */
static uint32_t sleep_until(struct xr_reactor *r, uint64_t deadline_ns)
{
	uint64_t timeout_ns = UINT64_MAX;
	uint32_t count;

	if (deadline_ns != UINT64_MAX) {
		uint64_t now_ns = read_clock(r);

		timeout_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	}
	atomic_store_explicit(&r->is_sleeping, true, memory_order_seq_cst);
	if (has_messages(r)) {
		timeout_ns = 0;
	}
	r->stats.nr_sleeps += timeout_ns != 0;
	count = r->ring_ops->run(r->ring, timeout_ns);
	if (!atomic_exchange_explicit(&r->is_sleeping, false, memory_order_relaxed)) {
		r->stats.nr_wakeups += timeout_ns != 0;
	}
	return count;
}

/* Learns how long the wait was that an event has just ended. */
static void note_gap(struct xr_reactor *r, uint64_t now_ns)
{
	uint64_t woken_ns = atomic_load_explicit(&r->woken_ns, memory_order_relaxed);
	uint64_t gap_ns;

	if (woken_ns > r->idle_since_ns && woken_ns < now_ns) {
		now_ns = woken_ns;
	}
	gap_ns = now_ns - r->idle_since_ns;
	if (gap_ns > GAP_CAP_NS) {
		gap_ns = GAP_CAP_NS;
	}
	r->gap_average_ns += (gap_ns >> GAP_WEIGHT_SHIFT) - (r->gap_average_ns >> GAP_WEIGHT_SHIFT);
	r->idle_since_ns = 0;
}

/* Waits for an event or the deadline, spinning first where that pays; `now_ns` is the time. Leaves
 * the time at the end in ended_ns. */
static uint32_t wait_for_events(struct xr_reactor *r, uint64_t now_ns, uint64_t deadline_ns)
{
	uint64_t limit_ns = choose_spin_ns(r);
	uint32_t count;
	bool found;

	if (r->idle_since_ns == 0) {
		r->idle_since_ns = now_ns;
	}
	if (limit_ns != 0) {
		r->ended_ns = now_ns;
		count = run_rings(r);
		if (count != 0) {
			return count;
		}
		found = spin(r, now_ns, limit_ns, deadline_ns);
		if (found || deadline_ns > now_ns + limit_ns) {
			note_spin(r, found); /* one that a timer ends says nothing */
		}
		if (found) {
			/* A message goes first; the rings are run at the end of its round. */
			count = has_messages(r) ? 0 : run_rings(r);
			if (count == 0 && !has_messages(r)) {
				r->ended_ns = read_clock(r); /* it was nothing: time goes on */
			}
			return count;
		}
	}
	count = sleep_until(r, deadline_ns);
	r->ended_ns = read_clock(r);
	return count;
}

/* ---- the round ---- */

/* The kernel takes operations from the ring's first thread only; another one would wait for ever.
 */
static void check_owner(struct xr_reactor *r)
{
	if (own_tid == 0) {
		own_tid = gettid();
	}
	if (r->owner_tid == 0) {
		r->owner_tid = own_tid;
	}
	assert(r->owner_tid == own_tid);
}

/*
 * One round; sleeps at most until `timeout_ns` from now and only when nothing is left to do. With
 * `may_sleep_busy` a round that did something may sleep too (a thread of our own comes back by
 * itself; an application's wants to see what was done first, unless it says what it waits for).
 */
static uint32_t run_round(struct xr_reactor *r, uint64_t timeout_ns, bool may_sleep_busy)
{
	struct xr_reactor *outer = current;
	uint64_t deadline_ns = UINT64_MAX, start_ns, now_ns;
	uint32_t count, nr_busy_pollers, nr_events;

	assert(outer != r); /* from a callback: what this round has taken would wait for ever */
	check_owner(r);
	current = r;
	r->now_ns = start_ns = r->ended_ns != 0 ? r->ended_ns : read_clock(r);
	r->ended_ns = 0;
	r->stays_awake = false;
	count = run_inbox(r) + run_slots(r);
	count += run_deferred(r);
	/* Pollers last: what they say about sleeping must not be outdated by a timer. */
	count += run_timers(r);
	nr_busy_pollers = run_pollers(r, &deadline_ns);
	count += nr_busy_pollers;
	count += run_flushes(r);

	if (timeout_ns != 0 && nr_busy_pollers == 0 && (count == 0 || may_sleep_busy) &&
		!r->must_stop && !r->stays_awake && r->deferred_first == NULL &&
		r->flush_first == NULL && !has_messages(r)) {
		if (timeout_ns < UINT64_MAX - start_ns && start_ns + timeout_ns < deadline_ns) {
			deadline_ns = start_ns + timeout_ns;
		}
		if (r->timers.root != NULL && r->timers.root->deadline_ns < deadline_ns) {
			deadline_ns = r->timers.root->deadline_ns;
		}
		now_ns = start_ns;
		if (count != 0) {
			now_ns = read_clock(r);
			r->stats.busy_ns += now_ns - start_ns;
			r->idle_since_ns = 0;
		}
		nr_events = wait_for_events(r, now_ns, deadline_ns);
		if (nr_events != 0 || has_messages(r)) {
			note_gap(r, r->ended_ns);
		}
	} else {
		nr_events = run_rings(r);
		if (count + nr_events != 0) {
			r->idle_since_ns = 0;
			r->ended_ns = read_clock(r);
			r->stats.busy_ns += r->ended_ns - start_ns;
		}
	}
	count += nr_events;
	r->stats.nr_rounds++;
	r->stats.nr_busy_rounds += count != 0;
	current = outer;
	return count;
}

uint32_t xr_reactor_poll(struct xr_reactor *reactor, uint64_t timeout_ns)
{
	reactor->ended_ns = 0; /* the application had the thread in between */
	return run_round(reactor, timeout_ns, false);
}

uint32_t xr_reactor_wait(struct xr_reactor *reactor, uint64_t timeout_ns)
{
	reactor->ended_ns = 0;
	return run_round(reactor, timeout_ns, true);
}

void xr_reactor_stay_awake(struct xr_reactor *reactor)
{
	reactor->stays_awake = true;
}

/* ---- life ---- */

int xr_reactor_new(
	const struct xr_reactor_opts *opts, struct xr_reactor **ret_reactor, struct xu_error *err)
{
	struct xr_reactor *r = aligned_alloc(XU_CACHE_LINE, sizeof(*r));
	uint64_t seed;
	int rc;

	if (r == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making reactor %u", opts->index);
	}
	memset(r, 0, sizeof(*r));
	r->platform = opts->platform != NULL ? opts->platform : xr_platform_linux();
	r->log = opts->log;
	r->index = opts->index;
	r->cpu = opts->cpu;
	/* A simulated clock stands still while one spins. */
	r->spin_max_ns = r->platform->is_simulated ? 0 : opts->spin_max_ns;
	r->gap_average_ns = GAP_CAP_NS;
	r->spin_wait = 1;
	r->deferred_end = &r->deferred_first;
	r->flush_end = &r->flush_first;
	r->has_ticks = r->platform->clock == xu_clock_system();
	r->ticks_max = xu_ticks_from_ns(XU_NS_PER_MS);
	r->now_ns = read_clock(r);
	xu_list_init(&r->pollers);
	xu_mpsc_init(&r->inbox);
	r->platform->entropy(r->platform, &seed, sizeof(seed));
	xu_random_seed(&r->random, seed);
	xu_bufpool_init(&r->buffers,
		opts->buf_limit_bytes != 0 ? opts->buf_limit_bytes : BUF_LIMIT_DEFAULT);
	rc = r->platform->ring_new(r->platform, r,
		opts->ring_entries != 0 ? opts->ring_entries : RING_ENTRIES_DEFAULT, &r->ring_ops,
		&r->ring, err);
	if (rc != 0) {
		xu_bufpool_fini(&r->buffers);
		free(r);
		return rc;
	}
	*ret_reactor = r;
	return 0;
}

void xr_reactor_free(struct xr_reactor *reactor)
{
	if (reactor == NULL) {
		return;
	}
	assert(!reactor->has_thread);
	assert(reactor->timers.root == NULL);
	reactor->ring_ops->free(reactor->ring);
	if (reactor->cmd_ring != NULL) {
		reactor->platform->cmd_ring->free(reactor->cmd_ring);
	}
	xu_bufpool_fini(&reactor->buffers);
	free(reactor);
}

static void pin(struct xr_reactor *r)
{
	cpu_set_t set;

	if (r->cpu < 0) {
		return;
	}
	CPU_ZERO(&set);
	CPU_SET((unsigned)r->cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
		xu_warn(r->log, "reactor %u cannot be pinned to CPU %d; it runs unpinned", r->index,
			r->cpu);
	}
}

static void *thread_main(void *arg)
{
	struct xr_reactor *r = arg;

	pin(r);
	while (!r->must_stop) {
		run_round(r, XR_IDLE, true);
	}
	return NULL;
}

static void on_stop(struct xr_msg *msg)
{
	xu_container_of(msg, struct xr_reactor, stop_msg)->must_stop = true;
}

int xr_reactor_start(struct xr_reactor *reactor, struct xu_error *err)
{
	char name[16];
	int rc;

	if (reactor->has_thread || reactor->owner_tid != 0) {
		return xu_error_set(err, -EINVAL,
			"reactor %u has run or runs in a thread that it cannot leave; make a new "
			"one",
			reactor->index);
	}
	rc = pthread_create(&reactor->thread, NULL, thread_main, reactor);
	if (rc != 0) {
		return xu_error_set_errno(err, -rc, "starting reactor %u", reactor->index);
	}
	reactor->has_thread = true;
	snprintf(name, sizeof(name), "reactor-%u", reactor->index);
	pthread_setname_np(reactor->thread, name);
	return 0;
}

void xr_reactor_stop(struct xr_reactor *reactor)
{
	if (!reactor->has_thread) {
		return;
	}
	assert(current != reactor);
	reactor->stop_msg.fn = on_stop;
	xr_msg_send(reactor, &reactor->stop_msg);
	pthread_join(reactor->thread, NULL);
	reactor->has_thread = false;
}
