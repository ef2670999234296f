/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The world's time: a heap of events, the rounds of all reactors, and the trace of both.
 *
 * sim_run() repeats: run the events that are due; give every reactor of a living host one round, in
 * random order; when a whole pass did nothing and every reactor sleeps, jump to the earliest event
 * or reactor's deadline. A world that stays busy at one instant for MAX_BUSY_PASSES is stuck in a
 * loop, and a world with nothing to wait for is dead; both are told to the caller.
 */
#include "test/sim/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "test/sim/sim_private.h"

#define MAX_BUSY_PASSES 1000000u

/* ---- memory and hashes ---- */

void *sim__alloc(size_t size)
{
	void *memory = calloc(1, size);

	if (memory == NULL) {
		fprintf(stderr, "sim: no memory for %zu bytes\n", size);
		abort();
	}
	return memory;
}

uint64_t sim__mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

/* Whole words by themselves: a copy whose length is known is a load, the other one is a call, which
 * an address sanitizer makes a long one. */
uint64_t sim__hash(const void *buf, size_t len)
{
	const unsigned char *in = buf;
	uint64_t hash = len, word;

	for (; len >= sizeof(word); in += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, in, sizeof(word));
		hash = sim__mix(hash, word);
	}
	if (len > 0) {
		word = 0;
		memcpy(&word, in, len);
		hash = sim__mix(hash, word);
	}
	return hash;
}

void sim__trace(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t hash = sim__mix(sim->trace_hash, sim->now_ns);

	hash = sim__mix(hash, sim__hash(what, strlen(what)));
	hash = sim__mix(hash, a);
	hash = sim__mix(hash, b);
	hash = sim__mix(hash, c);
	sim->trace_hash = sim__mix(hash, d);
	if (sim->is_traced) {
		fprintf(stderr, "sim %14llu %-12s %llu %llu %llu %llx\n",
			(unsigned long long)sim->now_ns, what, (unsigned long long)a,
			(unsigned long long)b, (unsigned long long)c, (unsigned long long)d);
	}
}

uint64_t sim_trace_hash(const struct sim *sim)
{
	return sim->trace_hash;
}

/* ---- random choices ---- */

uint64_t sim__between(struct sim *sim, uint64_t min, uint64_t max)
{
	return max <= min ? min : min + xu_random_below(&sim->random, max - min + 1);
}

bool sim__one_in(struct sim *sim, uint32_t n)
{
	return n != 0 && xu_random_below(&sim->random, n) == 0;
}

struct xu_random *sim_random(struct sim *sim)
{
	return &sim->test_random;
}

/* ---- events ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->order < b->order;
}

static void place(struct sim *sim, uint32_t index, struct sim_event *event)
{
	sim->heap[index] = event;
	event->index = index;
}

static void sift_up(struct sim *sim, uint32_t index)
{
	struct sim_event *event = sim->heap[index];

	while (index > 1 && is_before(event, sim->heap[index / 2])) {
		place(sim, index, sim->heap[index / 2]);
		index /= 2;
	}
	place(sim, index, event);
}

static void sift_down(struct sim *sim, uint32_t index)
{
	struct sim_event *event = sim->heap[index];

	for (;;) {
		uint32_t child = index * 2;

		if (child > sim->nr_events) {
			break;
		}
		if (child < sim->nr_events && is_before(sim->heap[child + 1], sim->heap[child])) {
			child++;
		}
		if (!is_before(sim->heap[child], event)) {
			break;
		}
		place(sim, index, sim->heap[child]);
		index = child;
	}
	place(sim, index, event);
}

void sim__event_at(struct sim *sim, struct sim_event *event, uint64_t time_ns)
{
	assert(!sim__event_is_queued(event));
	if (sim->nr_events + 2 > sim->heap_size) {
		sim->heap_size = sim->heap_size * 2 + 64;
		sim->heap = realloc(sim->heap, sim->heap_size * sizeof(struct sim_event *));
		if (sim->heap == NULL) {
			abort();
		}
	}
	event->time_ns = time_ns < sim->now_ns ? sim->now_ns : time_ns;
	event->order = xu_random_u64(&sim->random);
	place(sim, ++sim->nr_events, event);
	sift_up(sim, event->index);
}

void sim__event_in(struct sim *sim, struct sim_event *event, uint64_t delay_ns)
{
	sim__event_at(sim, event, sim->now_ns + delay_ns);
}

void sim__event_del(struct sim *sim, struct sim_event *event)
{
	uint32_t index = event->index;
	struct sim_event *last;

	if (index == 0) {
		return;
	}
	event->index = 0;
	last = sim->heap[sim->nr_events--];
	if (last != event) {
		place(sim, index, last);
		sift_up(sim, index);
		sift_down(sim, last->index);
	}
}

static bool fire_due(struct sim *sim)
{
	bool has_fired = false;

	while (sim->nr_events != 0 && sim->heap[1]->time_ns <= sim->now_ns) {
		struct sim_event *event = sim->heap[1];

		sim__event_del(sim, event);
		event->fn(event);
		has_fired = true;
	}
	return has_fired;
}

/* ---- rounds ---- */

/* Puts the rings of living hosts in a new random order and returns how many they are. */
static uint32_t shuffle(struct sim *sim)
{
	struct xu_list *node;
	uint32_t count = 0;

	if (sim->order_size < sim->nr_rings) {
		free(sim->order);
		sim->order = sim__alloc(sim->nr_rings * sizeof(struct sim_ring *));
		sim->order_size = sim->nr_rings;
	}
	xu_list_for_each (node, &sim->rings) {
		struct sim_ring *ring = xu_list_entry(node, struct sim_ring, link);
		uint32_t at;

		if (ring->host->state == SIM_HOST_PAUSED || ring->host->state == SIM_HOST_DEAD) {
			continue;
		}
		at = (uint32_t)xu_random_below(&sim->random, ++count);
		sim->order[count - 1] = sim->order[at];
		sim->order[at] = ring;
	}
	return count;
}

enum pass { PASS_DONE, PASS_BUSY, PASS_IDLE };

static enum pass poll_all(struct sim *sim, bool (*is_done)(void *arg), void *arg)
{
	uint32_t version = sim->rings_version, count = shuffle(sim);
	bool is_busy = false;

	for (uint32_t i = 0; i < count; i++) {
		struct sim_ring *ring = sim->order[i];

		if (is_done != NULL && is_done(arg)) {
			return PASS_DONE;
		}
		if (sim->rings_version != version) {
			return PASS_BUSY; /* the order holds rings that are gone */
		}
		if (ring->host->state == SIM_HOST_DEAD) {
			continue; /* it ended in this pass */
		}
		is_busy |= xr_reactor_poll(ring->reactor, XR_IDLE) != 0;
	}
	if (is_done != NULL && is_done(arg)) {
		return PASS_DONE;
	}
	return is_busy || sim->rings_version != version ? PASS_BUSY : PASS_IDLE;
}

/* The earliest thing to come; UINT64_MAX when there is none. */
static uint64_t next_time_ns(struct sim *sim)
{
	uint64_t time_ns = sim->nr_events != 0 ? sim->heap[1]->time_ns : UINT64_MAX;
	struct xu_list *node;

	xu_list_for_each (node, &sim->rings) {
		struct sim_ring *ring = xu_list_entry(node, struct sim_ring, link);

		if (ring->host->state != SIM_HOST_PAUSED && ring->host->state != SIM_HOST_DEAD &&
			ring->wake_ns < time_ns) {
			time_ns = ring->wake_ns;
		}
	}
	return time_ns;
}

static int do_run(struct sim *sim, bool (*is_done)(void *arg), void *arg, uint64_t end_ns)
{
	uint32_t nr_passes = 0;

	for (;;) {
		bool has_fired = fire_due(sim);
		enum pass pass = poll_all(sim, is_done, arg);
		uint64_t time_ns;

		if (pass == PASS_DONE) {
			return 0;
		}
		time_ns = next_time_ns(sim);
		if (has_fired || pass == PASS_BUSY || time_ns <= sim->now_ns) {
			if (++nr_passes == MAX_BUSY_PASSES) {
				return -ELOOP;
			}
			continue;
		}
		nr_passes = 0;
		if (time_ns == UINT64_MAX) {
			return -EDEADLK; /* nothing is waited for, so no time passes */
		}
		if (time_ns > end_ns) {
			sim->now_ns = end_ns;
			return -ETIMEDOUT;
		}
		sim->now_ns = time_ns;
	}
}

static int run_until(struct sim *sim, bool (*is_done)(void *arg), void *arg, uint64_t end_ns)
{
	int rc;

	assert(!sim->is_running);
	sim->is_running = true;
	rc = do_run(sim, is_done, arg, end_ns);
	sim->is_running = false;
	return rc;
}

static uint64_t end_of(const struct sim *sim, uint64_t max_ns)
{
	return max_ns < UINT64_MAX - sim->now_ns ? sim->now_ns + max_ns : UINT64_MAX;
}

int sim_run(struct sim *sim, bool (*is_done)(void *arg), void *arg, uint64_t max_ns)
{
	int rc = run_until(sim, is_done, arg, end_of(sim, max_ns));

	return rc == -EDEADLK && is_done == NULL ? 0 : rc;
}

int sim_run_for(struct sim *sim, uint64_t ns)
{
	uint64_t end_ns = end_of(sim, ns);
	int rc = run_until(sim, NULL, NULL, end_ns);

	if (rc == -ELOOP) {
		return rc;
	}
	sim->now_ns = end_ns;
	return 0;
}

struct call {
	struct xr_msg msg;
	void (*fn)(void *arg);
	void *arg;
	bool is_done;
};

static void on_call(struct xr_msg *msg)
{
	struct call *call = xu_container_of(msg, struct call, msg);

	call->fn(call->arg);
	call->is_done = true;
}

static bool is_called(void *arg)
{
	return ((struct call *)arg)->is_done;
}

void sim_call(struct sim *sim, struct xr_reactor *reactor, void (*fn)(void *arg), void *arg)
{
	struct call call = {.msg.fn = on_call, .fn = fn, .arg = arg};

	xr_msg_send(reactor, &call.msg);
	sim_run(sim, is_called, &call, 0);
	assert(call.is_done);
}

/* ---- life ---- */

uint64_t sim_now_ns(const struct sim *sim)
{
	return sim->now_ns;
}

uint64_t sim_seed(const struct sim *sim)
{
	return sim->seed;
}

struct sim *sim_new(uint64_t seed)
{
	struct sim *sim = sim__alloc(sizeof(*sim));

	sim->seed = seed;
	sim->is_traced = getenv("SIM_TRACE") != NULL;
	xu_random_seed(&sim->random, seed);
	xu_random_seed(&sim->test_random, ~seed);
	xu_list_init(&sim->hosts);
	xu_list_init(&sim->rings);
	xu_list_init(&sim->conns);
	sim_net_set(sim, &(struct sim_net_opts){0});
	return sim;
}

void sim_free(struct sim *sim)
{
	struct xu_list *node;

	if (sim == NULL) {
		return;
	}
	assert(xu_list_is_empty(&sim->rings));
	while ((node = xu_list_first(&sim->hosts)) != NULL) {
		sim__host_free(xu_list_entry(node, struct sim_host, link));
	}
	sim__net_fini(sim);
	free(sim->order);
	free(sim->heap);
	free(sim);
}
