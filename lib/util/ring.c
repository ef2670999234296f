/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The single-producer single-consumer ring. The indices run freely and wrap at 2^32; an entry's
 * place is index & mask. The producer writes entries, then publishes `head` with release; the
 * consumer sees them by an acquire load, and gives them back the same way through `tail`. Each side
 * looks at the other's index only when its cached copy does not satisfy it.
 */
#include "lib/util/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX (1u << 30)

int xu_spsc_init(struct xu_spsc *ring, uint32_t count, uint32_t entry_bytes)
{
	size_t size;

	if (count < 2 || count > COUNT_MAX || (count & (count - 1)) != 0 || entry_bytes == 0) {
		return -EINVAL;
	}
	size = (size_t)count * entry_bytes; /* below 2^62 */
	size = (size + XU_CACHE_LINE - 1) & ~(size_t)(XU_CACHE_LINE - 1);
	ring->entries = aligned_alloc(XU_CACHE_LINE, size);
	if (ring->entries == NULL) {
		return -ENOMEM;
	}
	memset(ring->entries, 0, size);
	atomic_init(&ring->head, 0);
	atomic_init(&ring->tail, 0);
	ring->cached_head = 0;
	ring->cached_tail = 0;
	ring->mask = count - 1;
	ring->entry_bytes = entry_bytes;
	return 0;
}

void xu_spsc_fini(struct xu_spsc *ring)
{
	free(ring->entries);
	ring->entries = NULL;
}

uint32_t xu_spsc_reserve(struct xu_spsc *ring, uint32_t want)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint32_t free_entries = ring->mask + 1 - (head - ring->cached_tail);

	if (free_entries < want) {
		ring->cached_tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
		free_entries = ring->mask + 1 - (head - ring->cached_tail);
	}
	return free_entries < want ? free_entries : want;
}

void xu_spsc_commit(struct xu_spsc *ring, uint32_t count)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	assert(count <= ring->mask + 1 - (head - ring->cached_tail));
	atomic_store_explicit(&ring->head, head + count, memory_order_release);
}

uint32_t xu_spsc_peek(struct xu_spsc *ring, uint32_t want)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint32_t ready = ring->cached_head - tail;

	if (ready < want) {
		ring->cached_head = atomic_load_explicit(&ring->head, memory_order_acquire);
		ready = ring->cached_head - tail;
	}
	return ready < want ? ready : want;
}

void xu_spsc_release(struct xu_spsc *ring, uint32_t count)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	assert(count <= ring->cached_head - tail);
	atomic_store_explicit(&ring->tail, tail + count, memory_order_release);
}
