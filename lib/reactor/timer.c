/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers in an intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): exact deadlines,
 * the next one in constant time (the reactor sleeps until then), no memory of its own. Each node
 * knows the pointer that points at it (prev_next), so it can leave from anywhere.
 */
#include "lib/reactor/timer.h"

static struct xr_timer *meld(struct xr_timer *a, struct xr_timer *b)
{
	struct xr_timer *parent = a, *child = b;

	if (b->deadline_ns < a->deadline_ns) {
		parent = b;
		child = a;
	}
	child->next = parent->child;
	if (child->next != NULL) {
		child->next->prev_next = &child->next;
	}
	parent->child = child;
	child->prev_next = &parent->child;
	parent->next = NULL;
	return parent;
}

/* Melds a list of siblings in pairs, left to right, then the pairs right to left. */
static struct xr_timer *meld_siblings(struct xr_timer *first)
{
	struct xr_timer *pairs = NULL, *root = NULL, *next;

	while (first != NULL) {
		struct xr_timer *a = first, *b = first->next;

		first = b != NULL ? b->next : NULL;
		a->next = NULL;
		if (b != NULL) {
			b->next = NULL;
			a = meld(a, b);
		}
		a->next = pairs;
		pairs = a;
	}
	while (pairs != NULL) {
		next = pairs->next;
		pairs->next = NULL;
		root = root == NULL ? pairs : meld(root, pairs);
		pairs = next;
	}
	return root;
}

static void set_root(struct xr_timer_heap *heap, struct xr_timer *root)
{
	heap->root = root;
	if (root != NULL) {
		root->prev_next = &heap->root;
	}
}

void xr__timer_insert(struct xr_timer_heap *heap, struct xr_timer *timer)
{
	timer->child = NULL;
	timer->next = NULL;
	set_root(heap, heap->root == NULL ? timer : meld(heap->root, timer));
}

void xr__timer_remove(struct xr_timer_heap *heap, struct xr_timer *timer)
{
	struct xr_timer *orphans = meld_siblings(timer->child);

	if (heap->root == timer) {
		set_root(heap, orphans);
	} else {
		*timer->prev_next = timer->next;
		if (timer->next != NULL) {
			timer->next->prev_next = timer->prev_next;
		}
		if (orphans != NULL) {
			set_root(heap, meld(heap->root, orphans));
		}
	}
	timer->child = NULL;
	timer->next = NULL;
	timer->prev_next = NULL;
}

struct xr_timer *xr__timer_take_due(struct xr_timer_heap *heap, uint64_t now_ns)
{
	struct xr_timer *timer = heap->root;

	if (timer == NULL || timer->deadline_ns > now_ns) {
		return NULL;
	}
	xr__timer_remove(heap, timer);
	return timer;
}
