/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings: the way of operations from a reactor to descriptors and back, and work that may block.
 *
 * As with io_uring, an operation is seen by the "kernel" only when the ring is run: a descriptor
 * closed before that fails it with -EBADF (or meets whatever has taken the number since), one
 * closed later stays alive until the operation has ended. Cancellations follow the operations
 * submitted before them. Completions wait in the ring and are called back in the order in which
 * they came, sometimes not all in one round.
 *
 * As the Linux platform does (direct.c), a SEND may go with its submission already, and a RECV may
 * be kept back until the reactor sleeps; whether it is so is random.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "test/sim/sim_private.h"

#define WORK_MIN_NS XU_NS_PER_US
#define WORK_MAX_NS (200 * XU_NS_PER_US)

/* ---- buffers ---- */

uint64_t sim__op_len(const struct xr_op *op)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < op->nr_iov; i++) {
		len += op->iov[i].iov_len;
	}
	return len;
}

/* Copies between `flat` and the operation's buffers from byte `skip` on. */
static void copy(const struct xr_op *op, uint64_t skip, char *flat, uint64_t len, bool is_scatter)
{
	for (uint32_t i = 0; i < op->nr_iov && len != 0; i++) {
		uint64_t size = op->iov[i].iov_len, part;
		char *base = op->iov[i].iov_base;

		if (skip >= size) {
			skip -= size;
			continue;
		}
		part = size - skip < len ? size - skip : len;
		if (is_scatter) {
			memcpy(base + skip, flat, part);
		} else {
			memcpy(flat, base + skip, part);
		}
		flat += part;
		len -= part;
		skip = 0;
	}
	assert(len == 0);
}

void sim__op_scatter(const struct xr_op *op, uint64_t skip, const void *buf, uint64_t len)
{
	copy(op, skip, (char *)buf, len, true);
}

void sim__op_gather(const struct xr_op *op, uint64_t skip, void *buf, uint64_t len)
{
	copy(op, skip, buf, len, false);
}

/* ---- operations ---- */

static struct sim_op *sop_of(const struct xr_op *op)
{
	return (struct sim_op *)(void *)op->next_op;
}

static void start(struct sim_op *sop);

static void ring_submit(void *ptr, struct xr_op *op)
{
	struct sim_ring *ring = ptr;
	struct sim_op *sop = sim__alloc(sizeof(*sop));

	sop->op = op;
	sop->ring = ring;
	sop->id = ++ring->host->sim->nr_ops_made;
	op->next_op = (struct xr_op *)(void *)sop;
	xu_list_init(&sop->link);
	xu_list_init(&sop->cancel_link);
	xu_list_add_tail(&ring->submitted, &sop->link);
	ring->nr_pending++;
	if (op->opcode == XR_OP_SEND && !sim__host_has_ended(ring->host) &&
		sim__one_in(ring->host->sim, 2)) {
		start(sop);
	}
}

static void ring_cancel(void *ptr, struct xr_op *op)
{
	struct sim_ring *ring = ptr;
	struct sim_op *sop = sop_of(op);

	if (!xu_list_is_linked(&sop->cancel_link)) {
		xu_list_add_tail(&ring->cancels, &sop->cancel_link);
	}
}

void sim__op_complete(struct sim_op *sop, int32_t result)
{
	struct sim_ring *ring = sop->ring;
	struct sim_object *object = sop->object;

	assert(!sop->is_completed);
	sim__event_del(ring->host->sim, &sop->event);
	sop->is_completed = true;
	sop->result = result;
	sop->object = NULL;
	xu_list_del(&sop->link);
	xu_list_add_tail(&ring->completed, &sop->link);
	ring->nr_completed++;
	if (object != NULL) {
		sim__object_put(object);
	}
}

static void start(struct sim_op *sop)
{
	struct sim_host *host = sop->ring->host;
	struct sim_object *object = sim__fd_object(host, sop->op->fd);

	xu_list_del(&sop->link);
	sim__trace(host->sim, "submit", sop->ring->index, sop->id,
		(uint64_t)sop->op->opcode << 32 | (uint32_t)sop->op->fd, 0);
	if (sim__host_has_ended(host)) {
		sim__op_complete(sop, -EIO);
	} else if (object == NULL) {
		sim__op_complete(sop, -EBADF);
	} else {
		object->refs++;
		sop->object = object;
		object->ops->start(object, sop);
	}
}

static bool is_kept(struct sim_op *sop)
{
	return sop->op->opcode == XR_OP_RECV && !xu_list_is_linked(&sop->cancel_link) &&
	       sim__one_in(sop->ring->host->sim, 2);
}

/* Gives the kernel what has been asked for since the last time, receives perhaps later. */
static void enter(struct sim_ring *ring, bool is_awake)
{
	struct xu_list *node, *next;

	xu_list_for_each_safe (node, next, &ring->submitted) {
		struct sim_op *sop = xu_list_entry(node, struct sim_op, link);

		if (!is_awake || !is_kept(sop)) {
			start(sop);
		}
	}
	while ((node = xu_list_pop(&ring->cancels)) != NULL) {
		struct sim_op *sop = xu_list_entry(node, struct sim_op, cancel_link);

		if (!sop->is_completed && sop->object != NULL) {
			sop->object->ops->cancel(sop->object, sop);
		}
	}
}

static uint32_t reap(struct sim_ring *ring)
{
	struct sim *sim = ring->host->sim;
	uint32_t count = 0, want = ring->nr_completed;

	if (want > 1 && sim__one_in(sim, 4)) {
		want = (uint32_t)sim__between(sim, 1, want);
	}
	while (count < want && ring->host->state != SIM_HOST_DEAD) {
		struct sim_op *sop =
			xu_list_entry(xu_list_pop(&ring->completed), struct sim_op, link);
		struct xr_op *op = sop->op;
		int32_t result = sop->result;

		sim__trace(sim, "complete", ring->index, sop->id, (uint32_t)result, 0);
		xu_list_del(&sop->cancel_link);
		free(sop);
		ring->nr_completed--;
		ring->nr_pending--;
		count++;
		op->is_pending = 0;
		op->next_op = NULL;
		op->cb(op, result);
	}
	return count;
}

static uint32_t ring_run(void *ptr, uint64_t timeout_ns)
{
	struct sim_ring *ring = ptr;
	uint64_t now_ns = ring->host->sim->now_ns;
	uint32_t count;

	if (ring->host->state == SIM_HOST_DEAD) {
		return 0;
	}
	enter(ring, timeout_ns == 0);
	count = reap(ring);
	if (count != 0 || timeout_ns == 0) {
		ring->wake_ns = now_ns;
	} else {
		ring->wake_ns = timeout_ns < UINT64_MAX - now_ns ? now_ns + timeout_ns : UINT64_MAX;
	}
	return count;
}

static bool ring_has_events(void *ptr)
{
	struct sim_ring *ring = ptr;

	return ring->nr_completed != 0;
}

/* sim_run() asks every reactor again before time passes, so there is nobody to wake. */
static void ring_wake(void *ptr)
{
	(void)ptr;
}

static void ring_free(void *ptr)
{
	struct sim_ring *ring = ptr;
	struct sim *sim = ring->host->sim;

	assert(ring->nr_pending == 0); /* reactor.h: no operation may be pending */
	xu_list_del(&ring->link);
	sim->nr_rings--;
	sim->rings_version++;
	free(ring);
}

static const struct xr_ring_ops ring_ops = {
	.submit = ring_submit,
	.cancel = ring_cancel,
	.run = ring_run,
	.has_events = ring_has_events,
	.wake = ring_wake,
	.free = ring_free,
};

int sim__ring_new(const struct xr_platform *platform, struct xr_reactor *reactor, uint32_t entries,
	const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err)
{
	struct sim_host *host = sim__host_of(platform);
	struct sim *sim = host->sim;
	struct sim_ring *ring = sim__alloc(sizeof(*ring));

	(void)entries; /* a full queue is the Linux platform's affair */
	(void)err;
	ring->host = host;
	ring->reactor = reactor;
	ring->index = sim->nr_rings_made++;
	xu_list_init(&ring->submitted);
	xu_list_init(&ring->completed);
	xu_list_init(&ring->cancels);
	xu_list_add_tail(&sim->rings, &ring->link);
	sim->nr_rings++;
	sim->rings_version++;
	*ret_ops = &ring_ops;
	*ret_ring = ring;
	return 0;
}

/* ---- the end of a host ---- */

/* Takes an operation of the dead from wherever it is. */
static void orphan(struct sim_host *host, struct sim_op *sop)
{
	struct sim_object *object = sop->object;

	sim__event_del(host->sim, &sop->event);
	sop->object = NULL;
	xu_list_del(&sop->link);
	xu_list_del(&sop->cancel_link);
	xu_list_add_tail(&host->orphans, &sop->link);
	if (object != NULL) {
		sim__object_put(object);
	}
}

void sim__op_orphan(struct sim_op *sop)
{
	orphan(sop->ring->host, sop);
}

void sim__rings_orphan(struct sim_host *host)
{
	struct xu_list *node, *op;

	xu_list_for_each (node, &host->sim->rings) {
		struct sim_ring *ring = xu_list_entry(node, struct sim_ring, link);

		if (ring->host != host) {
			continue;
		}
		while ((op = xu_list_first(&ring->submitted)) != NULL ||
			(op = xu_list_first(&ring->completed)) != NULL) {
			orphan(host, xu_list_entry(op, struct sim_op, link));
		}
		ring->nr_completed = 0;
	}
}

void sim__rings_bury(struct sim_host *host)
{
	struct xu_list *node;

	while ((node = xu_list_first(&host->orphans)) != NULL) {
		struct sim_op *sop = xu_list_entry(node, struct sim_op, link);

		sop->is_completed = false;
		sim__op_complete(sop, -EIO);
	}
}

/* ---- work that may block ---- */

struct sim_work {
	struct sim_event event;
	struct sim_host *host;
	struct xr_work *work;
	struct xu_list link;
};

static void on_done(struct xr_msg *msg)
{
	struct xr_work *work = xu_container_of(msg, struct xr_work, msg);

	work->done(work);
}

static void on_work(struct xr_msg *msg)
{
	struct xr_work *work = xu_container_of(msg, struct xr_work, msg);

	work->work(work);
	work->msg.fn = on_done;
	xr_msg_send(work->reactor, &work->msg);
}

static void on_work_due(struct sim_event *event)
{
	struct sim_work *sw = xu_container_of(event, struct sim_work, event);
	struct xr_work *work = sw->work;

	xu_list_del(&sw->link);
	free(sw);
	work->msg.fn = on_work;
	xr_msg_send(work->reactor, &work->msg);
}

void sim__work_submit(const struct xr_platform *platform, struct xr_work *work)
{
	struct sim_host *host = sim__host_of(platform);
	struct sim_work *sw = sim__alloc(sizeof(*sw));
	uint64_t delay_ns = sim__between(host->sim, WORK_MIN_NS, WORK_MAX_NS);

	sw->event.fn = on_work_due;
	sw->host = host;
	sw->work = work;
	xu_list_add_tail(&host->works, &sw->link);
	sim__trace(host->sim, "work", host->machine, delay_ns, 0, 0);
	if (host->state != SIM_HOST_DEAD) {
		sim__event_in(host->sim, &sw->event, delay_ns);
	}
}

void sim__works_freeze(struct sim_host *host)
{
	struct xu_list *node;

	xu_list_for_each (node, &host->works) {
		sim__event_del(host->sim, &xu_list_entry(node, struct sim_work, link)->event);
	}
}

void sim__works_bury(struct sim_host *host)
{
	struct xu_list *node;

	xu_list_for_each (node, &host->works) {
		sim__event_in(host->sim, &xu_list_entry(node, struct sim_work, link)->event, 0);
	}
}

void sim__works_free(struct sim_host *host)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&host->works)) != NULL) {
		struct sim_work *sw = xu_list_entry(node, struct sim_work, link);

		sim__event_del(host->sim, &sw->event);
		free(sw);
	}
}
