/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reactor's side of the client queues. A link is two rings. The client fills the submission
 * ring and rings the bell: a message, sent only when the reactor has not promised yet to look
 * (is_rung). The reactor takes a share of entries, gives each an api_io of the link's pool and
 * starts it; a longer ring is taken up again in the next round, after the other links had their
 * turn. Each end of an I/O fills a completion; they are handed over together at the end of the
 * round, with a wake-up only for a client that sleeps.
 *
 * The pool and the completion ring are as large as the queue is deep, and the client counts what it
 * has out, so neither can run out.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/util/clock.h"
#include "lib/xbdev/api/private.h"

#define SHARE 64u /* entries of one link in a round */

/* ---- an I/O ---- */

static void on_io_done(struct xbdev_io *io, int status)
{
	struct api_io *aio = xu_container_of(io, struct api_io, io);

	xu_list_del(&aio->link);
	api_port_io_done(aio->port);
	aio->done(aio, status);
}

int api_io_start(struct api_shard *shard, int fd, uint32_t generation, struct api_io *io)
{
	struct api_port *port = &shard->ports[fd];
	int rc;

	if (port->generation != generation) {
		return -EBADF;
	}
	if (port->refusal != 0) {
		return port->refusal;
	}
	if (io->io.len == 0 && io->io.op != XBDEV_OP_FLUSH) {
		return API_NOTHING_TO_DO; /* the same for every kind of call */
	}
	io->io.ch = port->ch;
	io->io.cb = on_io_done;
	io->port = port;
	rc = xbdev_io_submit(&io->io);
	if (rc == 0) {
		port->nr_inflight++;
		xu_list_add_tail(&port->ios, &io->link);
	}
	return rc;
}

/* ---- completions ---- */

/* An orphan goes when nothing comes back to it any more: no I/O, no flush, no bell. */
static void free_orphan(struct api_link *link)
{
	if (link->nr_inflight == 0 && !link->is_flush_queued &&
		!atomic_load_explicit(&link->is_rung, memory_order_relaxed)) {
		xu_list_del(&link->node);
		api_link_free(link);
	}
}

/* It may come before the client has gone to sleep: in the round that the client sleeps in. */
static void on_nudge(struct xr_msg *msg)
{
	struct api_shard *shard = xu_container_of(msg, struct api_shard, nudge);

	atomic_exchange(&shard->is_nudging, false);
	xr_reactor_stay_awake(api_lib.shards[0].reactor);
}

/* One message is enough: when it is under way already, it has not been looked at, so the client
 * will look at what it waits for after it. */
void api_nudge(struct api_shard *shard)
{
	if (shard == &api_lib.shards[0]) {
		xr_reactor_stay_awake(shard->reactor);
	} else if (!atomic_exchange(&shard->is_nudging, true)) {
		shard->nudge.fn = on_nudge;
		xr_msg_send(api_lib.shards[0].reactor, &shard->nudge);
	}
}

static void wake_client(struct api_shard *shard, struct api_queue *queue)
{
	uint32_t how = API_AWAKE;
	int event_fd;

	/* The completions are in the ring before the sleeper's words are read; the sleeper writes
	 * its words before it looks at the ring. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&queue->is_sleeping, memory_order_relaxed) != API_AWAKE) {
		how = atomic_exchange(&queue->is_sleeping, API_AWAKE);
	}
	if (how == API_SLEEPS) {
		api_futex_wake(&queue->is_sleeping);
	} else if (how == API_DRIVES) {
		api_nudge(shard);
	}
	if (atomic_load_explicit(&queue->is_armed, memory_order_relaxed) &&
		atomic_exchange(&queue->is_armed, false)) {
		uint64_t one = 1;

		event_fd = atomic_load(&queue->event_fd);
		if (write(event_fd, &one, sizeof(one)) != sizeof(one)) {
			/* Full: it is readable already. */
		}
	}
}

void api_link_commit(struct api_link *link)
{
	xu_spsc_commit(&link->cq, link->nr_done);
	link->nr_done = 0;
}

static void on_flush(struct xr_msg *msg)
{
	struct api_link *link = xu_container_of(msg, struct api_link, flush);

	link->is_flush_queued = false;
	api_link_commit(link);
	if (link->is_orphan) {
		free_orphan(link);
	} else {
		wake_client(link->shard, link->queue);
	}
}

/* The end of an I/O whose queue has gone. */
static void forget(void *cookie, uint32_t kind, int result)
{
	switch ((enum api_kind)kind) {
	case API_KIND_REQUEST:
		api_request_forget(cookie, result);
		break;
	case API_KIND_BATCH:
		api_batch_forget(cookie, result);
		break;
	case API_KIND_AIO:
		break;
	}
}

/* What its client will not reap any more. */
static void forget_completed(struct api_link *link)
{
	uint32_t count;

	api_link_commit(link);
	count = xu_spsc_peek(&link->cq, UINT32_MAX);
	for (uint32_t i = 0; i < count; i++) {
		const struct api_cqe *cqe = xu_spsc_entry(&link->cq, i);

		forget(cqe->cookie, cqe->kind, cqe->result);
	}
	xu_spsc_release(&link->cq, count);
}

static void complete(
	struct api_link *link, void *cookie, uint32_t kind, int result, uint16_t service_us)
{
	struct api_cqe *cqe;
	uint32_t room;

	if (link->is_orphan) {
		forget(cookie, kind, result);
		return;
	}
	room = xu_spsc_reserve(&link->cq, link->nr_done + 1);
	assert(room > link->nr_done);
	(void)room;
	cqe = xu_spsc_slot(&link->cq, link->nr_done++);
	cqe->cookie = cookie;
	cqe->kind = (uint16_t)kind;
	cqe->service_us = service_us;
	cqe->result = result;
	if (!link->is_flush_queued) {
		link->is_flush_queued = true;
		link->flush.fn = on_flush;
		xr_msg_before_submit(link->shard->reactor, &link->flush);
	}
}

static void on_ring_io_done(struct api_io *aio, int status)
{
	struct api_link *link = aio->ring;
	bool has_data = aio->io.op == XBDEV_OP_READ || aio->io.op == XBDEV_OP_WRITE;

	xr_timer_stop(link->shard->reactor, &aio->timer);
	if (status == -ECANCELED && aio->has_timed_out) {
		status = -ETIMEDOUT;
	}
	xu_pool_put(&link->ios, aio);
	link->nr_inflight--;
	complete(link, aio->cookie, aio->kind, status == 0 && has_data ? (int)aio->io.len : status,
		api_service_us(&aio->io));
	if (link->is_orphan) {
		free_orphan(link);
	}
}

/* ---- submissions ---- */

static void on_timeout(struct xr_timer *timer)
{
	struct api_io *aio = xu_container_of(timer, struct api_io, timer);

	aio->has_timed_out = true;
	xbdev_io_cancel(&aio->io);
}

void api_link_start(struct api_link *link, const struct api_sqe *sqe)
{
	struct api_io *aio = xu_pool_get(&link->ios);
	struct xbdev_io *io = &aio->io;
	int rc;

	io->op = sqe->op;
	io->flags = sqe->flags;
	io->offset = sqe->offset;
	io->len = sqe->len;
	if (sqe->nr_iov != 0) {
		io->iov = sqe->buf;
		io->nr_iov = sqe->nr_iov;
	} else {
		aio->iov.iov_base = sqe->buf;
		aio->iov.iov_len = sqe->len;
		io->iov = &aio->iov;
		io->nr_iov = 1;
	}
	aio->done = on_ring_io_done;
	aio->ring = link;
	aio->cookie = sqe->cookie;
	aio->kind = sqe->kind;
	aio->has_timed_out = false;
	rc = api_io_start(link->shard, sqe->fd, sqe->generation, aio);
	if (rc != 0) {
		xu_pool_put(&link->ios, aio);
		complete(link, sqe->cookie, sqe->kind, rc < 0 ? rc : 0, 0);
		return;
	}
	link->nr_inflight++;
	if (sqe->timeout_us != 0) {
		aio->timer.fn = on_timeout;
		xr_timer_start(link->shard->reactor, &aio->timer,
			sqe->timeout_us < UINT64_MAX / XU_NS_PER_US ? sqe->timeout_us * XU_NS_PER_US
								    : UINT64_MAX);
	}
}

/* Returns whether the ring had more than `share`. */
static bool take(struct api_link *link, uint32_t share)
{
	uint32_t count = xu_spsc_peek(&link->sq, share);

	for (uint32_t i = 0; i < count; i++) {
		if (i + 1 < count) {
			__builtin_prefetch(xu_spsc_entry(&link->sq, i + 1));
		}
		api_link_start(link, xu_spsc_entry(&link->sq, i));
	}
	xu_spsc_release(&link->sq, count);
	return count == share;
}

static void on_bell(struct xr_msg *msg)
{
	struct api_link *link = xu_container_of(msg, struct api_link, bell);

	if (take(link, SHARE)) {
		xr_msg_defer(link->shard->reactor, msg);
		return;
	}
	/* The promise ends before the last look, so an entry after it rings again. The client has
	 * a fence between its entry and its look at the promise; this is the other one. */
	atomic_store_explicit(&link->is_rung, false, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	if (xu_spsc_peek(&link->sq, 1) != 0 && !atomic_exchange(&link->is_rung, true)) {
		xr_msg_defer(link->shard->reactor, msg);
	} else if (link->is_orphan) {
		free_orphan(link);
	}
}

void api_link_ring(struct api_link *link)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&link->is_rung, memory_order_relaxed) &&
		!atomic_exchange(&link->is_rung, true)) {
		xr_msg_send(link->shard->reactor, &link->bell);
	}
}

void api_link_cancel(struct api_link *link, const void *cookie)
{
	while (take(link, SHARE)) {
		/* It may not have been looked at yet. */
	}
	for (uint32_t i = 0; i < link->ios.count; i++) {
		struct api_io *aio = xu_pool_object(&link->ios, i);

		/* An event's argument may be anything, also this. */
		if (xu_list_is_linked(&aio->link) && aio->cookie == cookie &&
			aio->kind == API_KIND_REQUEST) {
			xbdev_io_cancel(&aio->io);
			return;
		}
	}
}

/* ---- life ---- */

static void on_attach(struct xr_msg *msg)
{
	struct api_link *link = xu_container_of(msg, struct api_link, attach);

	xu_list_add_tail(&link->shard->links, &link->node);
}

static uint32_t round_up(uint32_t count)
{
	return count < 2 ? 2 : 1u << (32 - __builtin_clz(count - 1));
}

int api_link_new(struct api_queue *queue, uint32_t shard, struct api_link **ret_link)
{
	struct api_link *link = aligned_alloc(XU_CACHE_LINE, sizeof(*link));
	uint32_t entries = round_up(queue->depth);

	if (link == NULL) {
		return -ENOMEM;
	}
	memset(link, 0, sizeof(*link));
	if (xu_spsc_init(&link->sq, entries, sizeof(struct api_sqe)) != 0 ||
		xu_spsc_init(&link->cq, entries, sizeof(struct api_cqe)) != 0 ||
		xu_pool_init(&link->ios, queue->depth, sizeof(struct api_io)) != 0) {
		xu_spsc_fini(&link->sq);
		xu_spsc_fini(&link->cq);
		free(link);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < queue->depth; i++) {
		struct api_io *aio = xu_pool_object(&link->ios, i);

		xu_list_init(&aio->link);
	}
	link->queue = queue;
	api_queue_ref(queue);
	link->shard = &api_lib.shards[shard];
	link->epoch = atomic_load(&api_lib.epoch);
	link->bell.fn = on_bell;
	xu_list_init(&link->node);
	link->attach.fn = on_attach;
	xr_msg_send(link->shard->reactor, &link->attach);
	*ret_link = link;
	return 0;
}

void api_link_free(struct api_link *link)
{
	forget_completed(link);
	xu_pool_fini(&link->ios);
	xu_spsc_fini(&link->sq);
	xu_spsc_fini(&link->cq);
	api_queue_unref(link->queue);
	free(link);
}

static void on_detach(struct xr_msg *msg)
{
	struct api_link *link = xu_container_of(msg, struct api_link, detach);

	while (take(link, SHARE)) {
		/* What was submitted is done, though nobody hears of it. */
	}
	link->is_orphan = true;
	forget_completed(link);
	free_orphan(link);
}

void api_link_drop(struct api_link *link)
{
	link->detach.fn = on_detach;
	xr_msg_send(link->shard->reactor, &link->detach);
}

void api_links_detach(struct api_shard *shard)
{
	struct xu_list *node;

	while ((node = xu_list_first(&shard->links)) != NULL) {
		struct api_link *link = xu_list_entry(node, struct api_link, node);

		while (take(link, SHARE)) {
			/* Descriptors are gone: each ends with -EBADF. */
		}
		xu_list_del(&link->node);
		if (link->is_orphan) {
			free_orphan(link);
		}
	}
}
