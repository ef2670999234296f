/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two lock-free ways from thread to thread.
 *
 * struct xu_spsc: a bounded ring of fixed-size entries, one producer and one consumer. Each side
 * owns a cache line and keeps a cached copy of the other side's index, so a batch costs one shared
 * load at most and one shared store.
 *
 * struct xu_mpsc: an intrusive queue, many producers, one consumer that takes everything at once.
 * It needs no memory of its own and never fails: the bound is that of the messages, which their
 * owners embed. The producers push on a stack (one CAS); the consumer takes the whole stack with
 * one exchange and turns it round, so order per producer is kept and ABA cannot arise.
 */
#ifndef XU_RING_H
#define XU_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XU_CACHE_LINE 64

struct xu_spsc {
	_Alignas(XU_CACHE_LINE) _Atomic uint32_t head; /* next entry to produce */
	uint32_t cached_tail;
	_Alignas(XU_CACHE_LINE) _Atomic uint32_t tail; /* next entry to consume */
	uint32_t cached_head;
	_Alignas(XU_CACHE_LINE) uint32_t mask;
	uint32_t entry_bytes;
	unsigned char *entries;
};

/* Makes a ring of `count` (a power of two, 2 … 2^30) entries of `entry_bytes`; -EINVAL, -ENOMEM. */
int xu_spsc_init(struct xu_spsc *ring, uint32_t count, uint32_t entry_bytes);
void xu_spsc_fini(struct xu_spsc *ring);

/* Producer: how many entries may be filled now, at most `want`. */
uint32_t xu_spsc_reserve(struct xu_spsc *ring, uint32_t want);
/* Producer: the i-th reserved entry (0 … reserved-1). */
static inline void *xu_spsc_slot(struct xu_spsc *ring, uint32_t i)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	return ring->entries + (size_t)((head + i) & ring->mask) * ring->entry_bytes;
}
/* Producer: hands the first `count` reserved entries to the consumer. */
void xu_spsc_commit(struct xu_spsc *ring, uint32_t count);

/* Consumer: how many entries can be read now, at most `want`. */
uint32_t xu_spsc_peek(struct xu_spsc *ring, uint32_t want);
/* Consumer: the i-th readable entry. */
static inline void *xu_spsc_entry(struct xu_spsc *ring, uint32_t i)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	return ring->entries + (size_t)((tail + i) & ring->mask) * ring->entry_bytes;
}
/* Consumer: gives the first `count` readable entries back to the producer. */
void xu_spsc_release(struct xu_spsc *ring, uint32_t count);

struct xu_mpsc_node {
	struct xu_mpsc_node *next;
};

struct xu_mpsc {
	_Alignas(XU_CACHE_LINE) _Atomic(struct xu_mpsc_node *) top;
};

static inline void xu_mpsc_init(struct xu_mpsc *queue)
{
	atomic_init(&queue->top, NULL);
}

/* Any thread. The node belongs to the queue until the consumer has taken it. */
static inline void xu_mpsc_push(struct xu_mpsc *queue, struct xu_mpsc_node *node)
{
	/* Most often it is empty. To look first would bring the line here twice: to be read, then
	 * to be written. */
	struct xu_mpsc_node *top = NULL;

	do {
		node->next = top;
	} while (!atomic_compare_exchange_weak_explicit(
		&queue->top, &top, node, memory_order_seq_cst, memory_order_relaxed));
}

static inline bool xu_mpsc_is_empty(struct xu_mpsc *queue)
{
	return atomic_load_explicit(&queue->top, memory_order_seq_cst) == NULL;
}

/* Consumer: takes all, oldest first, linked by `next`; NULL when there is none. */
static inline struct xu_mpsc_node *xu_mpsc_take_all(struct xu_mpsc *queue)
{
	struct xu_mpsc_node *node, *next, *oldest = NULL;

	if (atomic_load_explicit(&queue->top, memory_order_relaxed) == NULL) {
		return NULL;
	}
	node = atomic_exchange_explicit(&queue->top, NULL, memory_order_acquire);
	while (node != NULL) {
		next = node->next;
		node->next = oldest;
		oldest = node;
		node = next;
	}
	return oldest;
}

#endif
