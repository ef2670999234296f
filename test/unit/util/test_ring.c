/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring and the inbox: alone at every edge, then with real threads and sequence numbers. */
#include "lib/util/ring.h"
#include "test/unit/util/fail.h"
#include "test/unit/util/test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

static void test_spsc_init_refuses_bad_shapes(void **state)
{
	static const uint32_t counts[] = {0, 1, 3, 6, 1000, (1u << 30) + 1, 1u << 31, UINT32_MAX};
	struct xu_spsc ring;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		assert_int_equal(xu_spsc_init(&ring, counts[i], 8), -EINVAL);
	}
	assert_int_equal(xu_spsc_init(&ring, 4, 0), -EINVAL);
}

static void test_spsc_init_survives_no_memory(void **state)
{
	struct xu_spsc ring;

	fail_arm(1);
	assert_int_equal(xu_spsc_init(&ring, 4, 8), -ENOMEM);
	assert_true(fail_disarm());
}

static void test_spsc_entries_begin_on_a_cache_line(void **state)
{
	struct xu_spsc ring;

	assert_int_equal(xu_spsc_init(&ring, 2, 3), 0);
	assert_int_equal((uintptr_t)ring.entries % XU_CACHE_LINE, 0);
	assert_int_equal((char *)xu_spsc_slot(&ring, 1) - (char *)xu_spsc_slot(&ring, 0), 3);
	assert_ptr_equal(xu_spsc_slot(&ring, 2), xu_spsc_slot(&ring, 0));
	xu_spsc_fini(&ring);
}

static void test_spsc_full_and_empty(void **state)
{
	struct xu_spsc ring;
	uint32_t i;

	assert_int_equal(xu_spsc_init(&ring, 8, sizeof(uint32_t)), 0);
	assert_int_equal(xu_spsc_peek(&ring, 1), 0);
	assert_int_equal(xu_spsc_reserve(&ring, 0), 0);
	assert_int_equal(xu_spsc_reserve(&ring, 3), 3);
	assert_int_equal(xu_spsc_reserve(&ring, 100), 8);
	for (i = 0; i < 8; i++) {
		*(uint32_t *)xu_spsc_slot(&ring, i) = 100 + i;
	}
	assert_int_equal(xu_spsc_peek(&ring, 100), 0); /* nothing is seen before the commit */
	xu_spsc_commit(&ring, 5);
	assert_int_equal(xu_spsc_peek(&ring, 100), 5);
	assert_int_equal(xu_spsc_reserve(&ring, 100), 3);
	xu_spsc_commit(&ring, 3);
	assert_int_equal(xu_spsc_reserve(&ring, 1), 0);
	assert_int_equal(xu_spsc_peek(&ring, 7), 7);
	assert_int_equal(xu_spsc_peek(&ring, 100), 8);
	for (i = 0; i < 8; i++) {
		assert_int_equal(*(uint32_t *)xu_spsc_entry(&ring, i), 100 + i);
	}
	xu_spsc_release(&ring, 2);
	assert_int_equal(*(uint32_t *)xu_spsc_entry(&ring, 0), 102);
	assert_int_equal(xu_spsc_reserve(&ring, 100), 2);
	xu_spsc_release(&ring, 6);
	assert_int_equal(xu_spsc_peek(&ring, 100), 0);
	assert_int_equal(xu_spsc_reserve(&ring, 100), 8);
	xu_spsc_fini(&ring);
}

/* Uneven batches through the wrap of the ring and, because the indices start just below it, through
 * the wrap of 32 bits. */
static void test_spsc_wraps_around(void **state)
{
	struct xu_spsc ring;
	uint32_t written = 0, read = 0, got, i;

	assert_int_equal(xu_spsc_init(&ring, 16, sizeof(uint32_t)), 0);
	atomic_store(&ring.head, UINT32_MAX - 50);
	atomic_store(&ring.tail, UINT32_MAX - 50);
	ring.cached_head = UINT32_MAX - 50;
	ring.cached_tail = UINT32_MAX - 50;
	while (read < 10000) {
		got = xu_spsc_reserve(&ring, 1 + written % 7);
		for (i = 0; i < got; i++) {
			*(uint32_t *)xu_spsc_slot(&ring, i) = written++;
		}
		xu_spsc_commit(&ring, got);
		got = xu_spsc_peek(&ring, 1 + read % 5);
		for (i = 0; i < got; i++) {
			assert_int_equal(*(uint32_t *)xu_spsc_entry(&ring, i), read++);
		}
		xu_spsc_release(&ring, got);
		assert_true(written - read <= 16);
	}
	xu_spsc_fini(&ring);
}

static void commit_too_many(void *arg)
{
	xu_spsc_commit(arg, 9);
}

static void release_too_many(void *arg)
{
	xu_spsc_release(arg, 1);
}

static void test_spsc_overrun_is_a_mistake(void **state)
{
	struct xu_spsc ring;

	assert_int_equal(xu_spsc_init(&ring, 8, 8), 0);
	assert_true(test_aborts(commit_too_many, &ring));
	assert_true(test_aborts(release_too_many, &ring));
	xu_spsc_fini(&ring);
}

#define SPSC_ENTRIES 1000000u

struct spsc_entry {
	uint64_t sequence;
	uint64_t check;
};

static uint64_t check_of(uint64_t sequence)
{
	return (sequence + 1) * 0x9e3779b97f4a7c15ull;
}

static void *produce(void *arg)
{
	struct xu_spsc *ring = arg;
	uint64_t sequence = 0;
	uint32_t got, i;

	while (sequence < SPSC_ENTRIES) {
		got = xu_spsc_reserve(ring, 1 + (uint32_t)(sequence % 13));
		for (i = 0; i < got; i++) {
			struct spsc_entry *entry = xu_spsc_slot(ring, i);

			entry->sequence = sequence;
			entry->check = check_of(sequence);
			sequence++;
		}
		xu_spsc_commit(ring, got);
		if (got == 0) {
			sched_yield();
		}
	}
	return NULL;
}

static void test_spsc_carries_a_million_entries_between_threads(void **state)
{
	_Alignas(XU_CACHE_LINE) struct xu_spsc ring;
	uint64_t sequence = 0, nr_wrong = 0;
	pthread_t thread;
	uint32_t got, i;

	assert_int_equal(xu_spsc_init(&ring, 64, sizeof(struct spsc_entry)), 0);
	assert_int_equal(pthread_create(&thread, NULL, produce, &ring), 0);
	/* The producer may run over the end by one batch, less than 13. */
	while (sequence < SPSC_ENTRIES) {
		got = xu_spsc_peek(&ring, 17);
		for (i = 0; i < got; i++) {
			const struct spsc_entry *entry = xu_spsc_entry(&ring, i);

			nr_wrong += entry->sequence != sequence;
			nr_wrong += entry->check != check_of(sequence);
			sequence++;
		}
		xu_spsc_release(&ring, got);
		if (got == 0) {
			sched_yield();
		}
	}
	pthread_join(thread, NULL);
	assert_int_equal(nr_wrong, 0);
	sequence += xu_spsc_peek(&ring, 64);
	assert_in_range(sequence, SPSC_ENTRIES, SPSC_ENTRIES + 12);
	xu_spsc_fini(&ring);
}

struct message {
	struct xu_mpsc_node node; /* first, so that a node is its message */
	uint32_t producer;
	uint32_t sequence;
};

static void test_mpsc_take_all_gives_the_oldest_first(void **state)
{
	struct message messages[4];
	struct xu_mpsc queue;
	struct xu_mpsc_node *node;
	uint32_t i;

	xu_mpsc_init(&queue);
	assert_true(xu_mpsc_is_empty(&queue));
	assert_null(xu_mpsc_take_all(&queue));
	for (i = 0; i < 3; i++) {
		xu_mpsc_push(&queue, &messages[i].node);
		assert_false(xu_mpsc_is_empty(&queue));
	}
	node = xu_mpsc_take_all(&queue);
	assert_true(xu_mpsc_is_empty(&queue));
	for (i = 0; i < 3; i++) {
		assert_ptr_equal(node, &messages[i].node);
		node = node->next;
	}
	assert_null(node);
	xu_mpsc_push(&queue, &messages[3].node);
	node = xu_mpsc_take_all(&queue);
	assert_ptr_equal(node, &messages[3].node);
	assert_null(node->next);
}

#define MPSC_PRODUCERS 4u
#define MPSC_MESSAGES  100000u

struct mpsc_producer {
	struct xu_mpsc *queue;
	struct message *messages;
	pthread_t thread;
};

static void *push_all(void *arg)
{
	struct mpsc_producer *producer = arg;
	uint32_t i;

	for (i = 0; i < MPSC_MESSAGES; i++) {
		xu_mpsc_push(producer->queue, &producer->messages[i].node);
	}
	return NULL;
}

static void test_mpsc_keeps_the_order_of_each_producer(void **state)
{
	struct mpsc_producer producers[MPSC_PRODUCERS];
	_Alignas(XU_CACHE_LINE) struct xu_mpsc queue;
	uint32_t next[MPSC_PRODUCERS] = {0};
	uint32_t left = MPSC_PRODUCERS * MPSC_MESSAGES, nr_wrong = 0, i, k;

	xu_mpsc_init(&queue);
	for (i = 0; i < MPSC_PRODUCERS; i++) {
		producers[i].queue = &queue;
		producers[i].messages = calloc(MPSC_MESSAGES, sizeof(struct message));
		assert_non_null(producers[i].messages);
		for (k = 0; k < MPSC_MESSAGES; k++) {
			producers[i].messages[k].producer = i;
			producers[i].messages[k].sequence = k;
		}
	}
	for (i = 0; i < MPSC_PRODUCERS; i++) {
		assert_int_equal(
			pthread_create(&producers[i].thread, NULL, push_all, &producers[i]), 0);
	}
	while (left > 0) {
		struct xu_mpsc_node *node = xu_mpsc_take_all(&queue);

		if (node == NULL) {
			sched_yield();
		}
		for (; node != NULL; node = node->next) {
			const struct message *message = (const struct message *)node;

			nr_wrong += message->sequence != next[message->producer]++;
			left--;
		}
	}
	for (i = 0; i < MPSC_PRODUCERS; i++) {
		pthread_join(producers[i].thread, NULL);
		assert_int_equal(next[i], MPSC_MESSAGES);
		free(producers[i].messages);
	}
	assert_int_equal(nr_wrong, 0);
	assert_true(xu_mpsc_is_empty(&queue));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spsc_init_refuses_bad_shapes),
		cmocka_unit_test(test_spsc_init_survives_no_memory),
		cmocka_unit_test(test_spsc_entries_begin_on_a_cache_line),
		cmocka_unit_test(test_spsc_full_and_empty),
		cmocka_unit_test(test_spsc_wraps_around),
		cmocka_unit_test(test_spsc_overrun_is_a_mistake),
		cmocka_unit_test(test_spsc_carries_a_million_entries_between_threads),
		cmocka_unit_test(test_mpsc_take_all_gives_the_oldest_first),
		cmocka_unit_test(test_mpsc_keeps_the_order_of_each_producer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
