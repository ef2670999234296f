/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for another thread: a futex word, and a spin before the sleep where that is the shorter
 * way. A sleep and its wake-up cost some 10 to 50 us of latency and two system calls, so what takes
 * less is spun for.
 *
 * How long something takes is told by the reactor: the time that it had the I/O. The time that the
 * caller waited says too much: it holds the reactor's waking up, which happens because the caller
 * had been asleep, and two threads that judge by it put each other to sleep for ever.
 *
 * A single CPU never spins: nobody else could run meanwhile.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define SPIN_BATCH    64u
#define FIRST_LOOK_NS 100u /* no answer takes less */

enum {
	EVENT_PENDING,
	EVENT_AWAITED, /* on the futex */
	EVENT_DRIVEN,  /* in the first reactor, which the waiter drives */
	EVENT_SET,
};
enum { LOCK_FREE, LOCK_TAKEN, LOCK_AWAITED };

uint64_t api_now_ns(void)
{
	return xu_clock_now_ns(xu_clock_system());
}

uint64_t api_deadline_ns(uint64_t timeout_us)
{
	uint64_t now_ns = api_now_ns();

	return timeout_us > (UINT64_MAX - now_ns) / XU_NS_PER_US
		       ? UINT64_MAX
		       : now_ns + timeout_us * XU_NS_PER_US;
}

bool api_is_past(uint64_t deadline_ns)
{
	return deadline_ns != UINT64_MAX && api_now_ns() >= deadline_ns;
}

bool api_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
	struct timespec ts, *timeout = NULL;

	if (deadline_ns != UINT64_MAX) {
		ts.tv_sec = (time_t)(deadline_ns / XU_NS_PER_S);
		ts.tv_nsec = (long)(deadline_ns % XU_NS_PER_S);
		timeout = &ts;
	}
	/* The bit set variant takes an absolute time of CLOCK_MONOTONIC. */
	return syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value, timeout,
		       NULL, FUTEX_BITSET_MATCH_ANY) == 0 ||
	       errno != ETIMEDOUT;
}

void api_futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

uint64_t api_spin_ns(uint32_t service_us)
{
	return service_us * XU_NS_PER_US < api_lib.spin_max_ns ? api_lib.spin_max_ns : 0;
}

void api_event_init(struct api_event *event)
{
	atomic_init(&event->state, EVENT_PENDING);
}

void api_event_set(struct api_event *event)
{
	/* Once it is set the waiter may leave and its stack be used anew; a wake-up of an address
	 * where nobody waits does nothing. */
	switch (atomic_exchange_explicit(&event->state, EVENT_SET, memory_order_acq_rel)) {
	case EVENT_AWAITED:
		api_futex_wake(&event->state);
		break;
	case EVENT_DRIVEN:
		api_nudge(&api_lib.shards[xr_reactor_index(xr_reactor_current())]);
		break;
	default:
		break;
	}
}

bool api_event_is_set(struct api_event *event)
{
	return atomic_load_explicit(&event->state, memory_order_acquire) == EVENT_SET;
}

static void event_sleep(struct api_event *event)
{
	uint32_t pending = EVENT_PENDING;

	atomic_compare_exchange_strong(&event->state, &pending, EVENT_AWAITED);
	while (!api_event_is_set(event)) {
		api_futex_wait(&event->state, EVENT_AWAITED, UINT64_MAX);
	}
}

static bool event_spin(struct api_event *event, uint64_t limit_ns)
{
	uint64_t start_ticks = xu_ticks(), limit_ticks = xu_ticks_from_ns(limit_ns);
	uint64_t first_ticks = xu_ticks_from_ns(FIRST_LOOK_NS);

	/* What is waited for is asked in the cache line of the event: a look that comes too early
	 * to find an answer takes it away from the core that is about to read and to write it. */
	do {
		api_relax();
	} while (xu_ticks() - start_ticks < first_ticks);
	do {
		for (uint32_t i = 0; i < SPIN_BATCH; i++) {
			if (api_event_is_set(event)) {
				return true;
			}
			api_relax();
		}
	} while (xu_ticks() - start_ticks < limit_ticks);
	return false;
}

void api_event_wait(struct api_event *event, struct api_thread *thread, uint32_t service_us)
{
	uint64_t spin_ns;

	if (thread->is_owner) {
		uint32_t pending = EVENT_PENDING;

		atomic_compare_exchange_strong(&event->state, &pending, EVENT_DRIVEN);
		while (!api_event_is_set(event)) {
			xr_reactor_wait(api_lib.shards[0].reactor, XR_IDLE);
		}
		return;
	}
	spin_ns = api_spin_ns(service_us);
	if (spin_ns == 0 || !event_spin(event, spin_ns)) {
		event_sleep(event);
	}
}

/* ---- a lock ---- */

/* Ulrich Drepper, "Futexes Are Tricky" (2011), section 5: who has waited takes it as awaited, since
 * there may be others. */

static bool note_user(struct api_lock *lock, const struct api_thread *thread)
{
	atomic_store_explicit(&lock->user, thread, memory_order_relaxed);
	lock->depth = 1;
	return true;
}

bool api_lock_try(struct api_lock *lock, const struct api_thread *thread)
{
	uint32_t state = LOCK_FREE;

	/* Only this thread can have written itself. */
	if (atomic_load_explicit(&lock->user, memory_order_relaxed) == thread) {
		lock->depth++;
		return true;
	}
	return atomic_compare_exchange_strong_explicit(&lock->state, &state, LOCK_TAKEN,
		       memory_order_acquire, memory_order_relaxed) &&
	       note_user(lock, thread);
}

bool api_lock_until(struct api_lock *lock, const struct api_thread *thread, uint64_t deadline_ns)
{
	if (api_lock_try(lock, thread)) {
		return true;
	}
	while (atomic_exchange_explicit(&lock->state, LOCK_AWAITED, memory_order_acquire) !=
		LOCK_FREE) {
		if (!api_futex_wait(&lock->state, LOCK_AWAITED, deadline_ns) &&
			atomic_load(&lock->state) != LOCK_FREE) {
			return false;
		}
	}
	return note_user(lock, thread);
}

void api_unlock(struct api_lock *lock)
{
	if (--lock->depth != 0) {
		return;
	}
	atomic_store_explicit(&lock->user, NULL, memory_order_relaxed);
	if (atomic_exchange_explicit(&lock->state, LOCK_FREE, memory_order_release) ==
		LOCK_AWAITED) {
		api_futex_wake(&lock->state);
	}
}
