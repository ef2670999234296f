/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's side of a queue: it fills submission rings, counts what is out, reaps completion
 * rings and runs callbacks. A queue has one link to each reactor that it has used. Who uses it is
 * the caller's affair: a thread's own queue needs no lock, a named one has its own.
 *
 * Waiting: spin while that pays, then announce the sleep, look once more, and sleep on a futex. The
 * thread that drives the first reactor sleeps in it and is woken by a message. With an eventfd the
 * queue is armed at the end of a poll that found nothing, in the same order.
 *
 * A link lives in one round of the library (its epoch). Its completions outlive that: the next
 * submission puts it on the list of old ones, from which it is reaped and then freed.
 *
 * I/O in libaio's manner is kept back in an array until it is to start: a request that is submitted
 * meanwhile starts only itself.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define REAP_BATCH 32u

/* ---- life ---- */

int api_queue_new(uint32_t depth, uint32_t flags, struct api_queue **ret_queue)
{
	struct api_queue *queue = aligned_alloc(XU_CACHE_LINE, sizeof(*queue));

	if (queue == NULL) {
		return -ENOMEM;
	}
	memset(queue, 0, sizeof(*queue));
	queue->depth = depth;
	queue->flags = flags;
	queue->events = calloc(depth, sizeof(*queue->events));
	if (queue->events == NULL) {
		free(queue);
		return -ENOMEM;
	}
	atomic_init(&queue->event_fd, -1);
	atomic_init(&queue->nr_refs, 1);
	*ret_queue = queue;
	return 0;
}

void api_queue_ref(struct api_queue *queue)
{
	atomic_fetch_add(&queue->nr_refs, 1);
}

void api_queue_unref(struct api_queue *queue)
{
	int event_fd;

	if (atomic_fetch_sub(&queue->nr_refs, 1) != 1) {
		return;
	}
	event_fd = atomic_load(&queue->event_fd);
	if (event_fd >= 0) {
		close(event_fd);
	}
	free(queue->kept);
	free(queue->events);
	free(queue);
}

bool api_link_is_current(const struct api_link *link)
{
	return link->epoch == atomic_load(&api_lib.epoch);
}

static void free_first_old(struct api_queue *queue)
{
	struct api_link *link = queue->old_first;

	queue->old_first = link->next_old;
	api_link_free(link);
}

void api_queue_free(struct api_queue *queue)
{
	while (queue->old_first != NULL) {
		free_first_old(queue);
	}
	for (uint32_t i = 0; i < XBDEV_MAX_REACTORS; i++) {
		struct api_link *link = queue->links[i];

		if (link == NULL) {
			continue;
		}
		queue->links[i] = NULL;
		if (api_link_is_current(link)) {
			api_link_drop(link);
		} else {
			api_link_free(link);
		}
	}
	api_queue_unref(queue);
}

/* ---- submitting ---- */

static void make_old(struct api_queue *queue, uint32_t shard)
{
	struct api_link **end = &queue->old_first, *link = queue->links[shard];

	while (*end != NULL) {
		end = &(*end)->next_old;
	}
	link->next_old = NULL;
	*end = link;
	queue->links[shard] = NULL;
}

static int get_link(struct api_queue *queue, struct api_thread *thread, uint32_t shard,
	struct api_link **ret_link)
{
	struct api_link *link = queue->links[shard];
	int rc;

	if (link != NULL && !api_link_is_current(link)) {
		/* Not freed here: a callback of its last completion may be what submits. */
		make_old(queue, shard);
		link = NULL;
	}
	if (link == NULL) {
		rc = api_link_new(queue, shard, &link);
		if (rc != 0) {
			return rc;
		}
		link->is_direct = thread->is_owner && shard == 0 && thread->queue == queue;
		queue->links[shard] = link;
	}
	*ret_link = link;
	return 0;
}

/* Fills the next entry of a link to the shard. */
static int fill(struct api_queue *queue, struct api_thread *thread, uint32_t shard,
	const struct api_sqe *sqe, struct api_link **ret_link)
{
	struct api_link *link;
	uint32_t room;
	int rc = get_link(queue, thread, shard, &link);

	if (rc != 0) {
		return rc;
	}
	room = xu_spsc_reserve(&link->sq, link->nr_staged + 1);
	assert(room > link->nr_staged);
	(void)room;
	*(struct api_sqe *)xu_spsc_slot(&link->sq, link->nr_staged++) = *sqe;
	queue->nr_staged++;
	*ret_link = link;
	return 0;
}

int api_queue_stage(struct api_queue *queue, struct api_thread *thread, struct api_sqe *sqe,
	struct api_link **ret_link)
{
	uint32_t shard;
	int rc;

	if (queue->nr_out >= queue->depth) {
		return -EAGAIN;
	}
	rc = api_fd_find(sqe->fd, thread, &sqe->generation, &shard);
	if (rc == 0) {
		rc = fill(queue, thread, shard, sqe, ret_link);
	}
	if (rc == 0) {
		queue->nr_out++;
	}
	return rc;
}

/* The thread that drives the reactor starts its I/O itself. */
static void start_directly(struct api_link *link)
{
	uint32_t count = xu_spsc_peek(&link->sq, UINT32_MAX);

	for (uint32_t i = 0; i < count; i++) {
		api_link_start(link, xu_spsc_entry(&link->sq, i));
	}
	xu_spsc_release(&link->sq, count);
}

void api_queue_ring(struct api_queue *queue)
{
	for (uint32_t i = 0; i < api_lib.nr_reactors && queue->nr_staged != 0; i++) {
		struct api_link *link = queue->links[i];

		if (link == NULL || link->nr_staged == 0) {
			continue;
		}
		xu_spsc_commit(&link->sq, link->nr_staged);
		queue->nr_staged -= link->nr_staged;
		link->nr_staged = 0;
		if (link->is_direct) {
			start_directly(link);
		} else {
			api_link_ring(link);
		}
	}
}

/* ---- I/O that is kept back ---- */

static void add_event(struct api_queue *queue, void *cb_arg, int result)
{
	struct xbdev_aio_event *event;

	/* Events that nobody takes count as in flight, so there is room for this one. */
	event = &queue->events[(queue->first_event + queue->nr_events++) % queue->depth];
	event->cb_arg = cb_arg;
	event->result = result;
}

int api_queue_keep(struct api_queue *queue, struct api_thread *thread, struct api_sqe *sqe)
{
	uint32_t shard;
	int rc;

	if (queue->nr_out >= queue->depth) {
		return -EAGAIN;
	}
	rc = api_fd_find(sqe->fd, thread, &sqe->generation, &shard);
	if (rc != 0) {
		return rc;
	}
	if (queue->kept == NULL) {
		queue->kept = calloc(queue->depth, sizeof(*queue->kept));
		if (queue->kept == NULL) {
			return -ENOMEM;
		}
	}
	queue->kept[queue->nr_kept++] = *sqe;
	queue->nr_out++;
	return 0;
}

uint32_t api_queue_start_kept(struct api_queue *queue, struct api_thread *thread)
{
	uint32_t count = queue->nr_kept, generation, shard;
	struct api_link *link;

	for (uint32_t i = 0; i < count; i++) {
		const struct api_sqe *sqe = &queue->kept[i];
		int rc = api_fd_find(sqe->fd, thread, &generation, &shard);

		if (rc == 0) {
			rc = generation == sqe->generation ? fill(queue, thread, shard, sqe, &link)
							   : -EBADF; /* closed meanwhile */
		}
		if (rc != 0) {
			add_event(queue, sqe->cookie, rc);
		}
	}
	queue->nr_kept = 0;
	api_queue_ring(queue);
	return count;
}

/* ---- completing ---- */

static void deliver(struct api_queue *queue, const struct api_cqe *cqe)
{
	switch ((enum api_kind)cqe->kind) {
	case API_KIND_REQUEST:
		queue->nr_out--;
		api_request_complete(cqe->cookie, cqe->result);
		break;
	case API_KIND_AIO:
		add_event(queue, cqe->cookie, cqe->result);
		break;
	case API_KIND_BATCH:
		queue->nr_out--;
		api_batch_complete(queue, cqe->cookie, cqe->result);
		break;
	}
}

/* Takes completions of one link out of its ring before any callback runs: a callback may submit.
 * No more than there are now, so that callbacks which submit cannot keep the loop. */
static uint32_t reap_link(struct api_queue *queue, struct api_link *link, uint32_t max)
{
	struct api_cqe cqes[REAP_BATCH];
	uint32_t left, total;

	if (link->is_direct) {
		api_link_commit(link); /* now, and not before the next round's submission */
	}
	left = total = xu_spsc_peek(&link->cq, max);
	while (left != 0) {
		uint32_t count = left < REAP_BATCH ? left : REAP_BATCH;

		for (uint32_t i = 0; i < count; i++) {
			cqes[i] = *(struct api_cqe *)xu_spsc_entry(&link->cq, i);
		}
		xu_spsc_release(&link->cq, count);
		queue->service_us = cqes[count - 1].service_us;
		for (uint32_t i = 0; i < count; i++) {
			deliver(queue, &cqes[i]);
		}
		if (queue->nr_staged != 0) {
			api_queue_ring(queue);
		}
		left -= count;
	}
	return total;
}

static uint32_t reap(struct api_queue *queue, struct api_thread *thread, uint32_t max)
{
	uint32_t total = 0;

	thread->is_in_callback = true;
	queue->is_reaping = true;
	while (queue->old_first != NULL && total < max) {
		total += reap_link(queue, queue->old_first, max - total);
		if (xu_spsc_peek(&queue->old_first->cq, 1) == 0) {
			free_first_old(queue);
		}
	}
	for (uint32_t i = 0; i < XBDEV_MAX_REACTORS && total < max; i++) {
		struct api_link *link = queue->links[(queue->next_link + i) % XBDEV_MAX_REACTORS];

		if (link != NULL) {
			total += reap_link(queue, link, max - total);
		}
	}
	queue->next_link++;
	queue->is_reaping = false;
	thread->is_in_callback = false;
	return total;
}

static bool has_completions(struct api_queue *queue)
{
	for (struct api_link *link = queue->old_first; link != NULL; link = link->next_old) {
		if (xu_spsc_peek(&link->cq, 1) != 0) {
			return true;
		}
	}
	for (uint32_t i = 0; i < XBDEV_MAX_REACTORS; i++) {
		if (queue->links[i] != NULL && xu_spsc_peek(&queue->links[i]->cq, 1) != 0) {
			return true;
		}
	}
	return false;
}

static bool spin(struct api_queue *queue, uint64_t end_ns)
{
	do {
		for (uint32_t i = 0; i < 16; i++) {
			if (has_completions(queue)) {
				return true;
			}
			api_relax();
		}
	} while (api_now_ns() < end_ns);
	return false;
}

/* Says how the client sleeps; false: there is something already. */
static bool announce_sleep(struct api_queue *queue, enum api_sleep how)
{
	atomic_store_explicit(&queue->is_sleeping, how, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	return !has_completions(queue);
}

static void sleep_until(struct api_queue *queue, uint64_t deadline_ns)
{
	if (announce_sleep(queue, API_SLEEPS)) {
		api_futex_wait(&queue->is_sleeping, API_SLEEPS, deadline_ns);
	}
	atomic_store_explicit(&queue->is_sleeping, API_AWAKE, memory_order_relaxed);
}

/* The thread that drives the first reactor does that meanwhile. */
static void drive_until(struct api_queue *queue, uint64_t now_ns, uint64_t deadline_ns)
{
	if (announce_sleep(queue, API_DRIVES)) {
		xr_reactor_wait(api_lib.shards[0].reactor, deadline_ns == UINT64_MAX ? XR_IDLE
							   : deadline_ns > now_ns
								   ? deadline_ns - now_ns
								   : 0);
	}
	atomic_store_explicit(&queue->is_sleeping, API_AWAKE, memory_order_relaxed);
}

/* Waits until there is a completion or the deadline has passed. */
static void wait(struct api_queue *queue, struct api_thread *thread, uint64_t deadline_ns)
{
	uint64_t start_ns = api_now_ns(), spin_end_ns;

	if (thread->is_owner) {
		drive_until(queue, start_ns, deadline_ns);
		return;
	}
	spin_end_ns = queue->flags & XBDEV_QUEUE_POLLING
			      ? UINT64_MAX
			      : start_ns + api_spin_ns(queue->service_us);
	if (spin_end_ns > deadline_ns) {
		spin_end_ns = deadline_ns;
	}
	if (spin_end_ns <= start_ns || !spin(queue, spin_end_ns)) {
		sleep_until(queue, deadline_ns);
	}
}

/* Says that the eventfd is to be written, and looks once more. */
static bool arm(struct api_queue *queue)
{
	uint64_t count;

	if (read(atomic_load(&queue->event_fd), &count, sizeof(count)) < 0) {
		/* It was not readable. */
	}
	atomic_store_explicit(&queue->is_armed, true, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	if (has_completions(queue)) {
		atomic_store(&queue->is_armed, false);
		return false;
	}
	return true;
}

static uint32_t nr_in_flight(const struct api_queue *queue)
{
	return queue->nr_out - queue->nr_events - queue->nr_kept;
}

uint32_t api_queue_poll(
	struct api_queue *queue, struct api_thread *thread, uint32_t max, uint64_t deadline_ns)
{
	bool may_wait = max != 0 && nr_in_flight(queue) != 0 && deadline_ns != 0 &&
			api_now_ns() < deadline_ns;
	uint32_t count;

	/* Who may wait drives the reactor with that: what is submitted goes with the same system
	 * call. But who finds something at once has driven nothing yet. */
	if (thread->is_owner && !may_wait) {
		xr_reactor_poll(api_lib.shards[0].reactor, 0);
	}
	count = reap(queue, thread, max);
	if (thread->is_owner && may_wait && count != 0) {
		xr_reactor_poll(api_lib.shards[0].reactor, 0);
	}
	while (count == 0 && may_wait && nr_in_flight(queue) != 0) {
		wait(queue, thread, deadline_ns);
		count = reap(queue, thread, max);
		may_wait = api_now_ns() < deadline_ns;
	}
	if (count == 0 && max != 0 &&
		atomic_load_explicit(&queue->event_fd, memory_order_relaxed) >= 0 && !arm(queue)) {
		return api_queue_poll(queue, thread, max, 0);
	}
	return count;
}

void api_queue_move_eventfd(struct api_queue *from, struct api_queue *to)
{
	int event_fd = atomic_exchange(&from->event_fd, -1);

	/* Nothing is in flight at the old one. Whoever polls the descriptor may be asleep, and
	 * will not poll the new queue before it is readable. */
	atomic_store(&to->event_fd, event_fd);
	atomic_store(&to->is_armed, event_fd >= 0);
}

int api_queue_eventfd(struct api_queue *queue)
{
	int event_fd = atomic_load(&queue->event_fd);

	if (event_fd < 0) {
		event_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
		if (event_fd < 0) {
			return -errno;
		}
		/* Readable at once: the first poll takes what there is and arms it. */
		atomic_store(&queue->event_fd, event_fd);
	}
	return event_fd;
}
