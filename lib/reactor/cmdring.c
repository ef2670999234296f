/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands for drivers in the kernel: a second io_uring of the reactor, with entries of 128 bytes
 * and completions of 32, because NVMe passthrough has no room in those of the main ring.
 *
 * What a round has produced is submitted just before the main ring is run (xr_msg_before_submit).
 * Completions are looked for where the reactor polls or spins, and for its sleep the main ring
 * polls this one's descriptor; so a reactor sleeps in one place only, and one without commands in
 * flight has nothing armed. The poll looks when it is armed, so nothing is lost between the last
 * look and that. This ring does not defer task work: one that does wakes nobody who polls it
 * (Linux 6.18).
 *
 * A command that finds the submission queue full waits in a backlog, so submit() never fails. The
 * ring lives as long as its reactor and is freed after the main ring, which may still poll it.
 */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/reactor/hint.h"
#include "lib/reactor/reactor.h"
#include "lib/reactor/uring.h"

#define RING_ENTRIES 256u
#define REAP_BATCH   64u

struct cmd_ring {
	struct io_uring ring;
	struct xr_hint hint;
	struct xr_reactor *reactor;
	struct xr_cmd *backlog_first, **backlog_end;
	struct xr_op poll; /* on the main ring, while commands are in flight */
	struct xr_msg flush;
	bool is_flush_queued;
	uint32_t nr_inflight; /* given to io_uring and not reaped */
};

/* ---- submission ---- */

static void queue_flush(struct cmd_ring *r)
{
	if (!r->is_flush_queued) {
		r->is_flush_queued = true;
		xr_msg_before_submit(r->reactor, &r->flush);
	}
}

static void prep(struct cmd_ring *r, struct io_uring_sqe *sqe, struct xr_cmd *cmd)
{
	memset(sqe, 0, offsetof(struct io_uring_sqe, cmd) + XR_CMD_BYTES);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = cmd->fd;
	sqe->cmd_op = cmd->cmd_op;
	io_uring_sqe_set_data(sqe, cmd);
	cmd->fill(cmd, sqe->cmd);
	r->nr_inflight++;
}

static void cmd_ring_submit(void *ring, struct xr_cmd *cmd)
{
	struct cmd_ring *r = ring;
	struct io_uring_sqe *sqe = NULL;

	if (r->backlog_first == NULL) {
		sqe = io_uring_get_sqe(&r->ring);
		if (sqe == NULL) {
			io_uring_submit(&r->ring);
			sqe = io_uring_get_sqe(&r->ring);
		}
	}
	if (sqe != NULL) {
		prep(r, sqe, cmd);
	} else {
		cmd->next_cmd = NULL;
		*r->backlog_end = cmd;
		r->backlog_end = &cmd->next_cmd;
	}
	queue_flush(r);
}

/* What has waited for room in the submission queue. */
static void submit_backlog(struct cmd_ring *r)
{
	struct io_uring_sqe *sqe;

	while (r->backlog_first != NULL && (sqe = io_uring_get_sqe(&r->ring)) != NULL) {
		struct xr_cmd *cmd = r->backlog_first;

		r->backlog_first = cmd->next_cmd;
		if (r->backlog_first == NULL) {
			r->backlog_end = &r->backlog_first;
		}
		prep(r, sqe, cmd);
	}
}

/* ---- completion ---- */

static bool cmd_ring_has_events(void *ring)
{
	struct cmd_ring *r = ring;

	return xr__hint_has_events(&r->hint, &r->ring);
}

/* Calls back what has completed, at most what was there at the start, so that callbacks which
 * submit again cannot keep the loop. */
static uint32_t reap(struct cmd_ring *r)
{
	struct io_uring_cqe *cqes[REAP_BATCH];
	struct {
		struct xr_cmd *cmd;
		int32_t result;
		uint64_t extra;
	} done[REAP_BATCH];
	uint32_t left = io_uring_cq_ready(&r->ring), count = 0;

	while (left != 0) {
		uint32_t want = left < REAP_BATCH ? left : REAP_BATCH;
		uint32_t got = io_uring_peek_batch_cqe(&r->ring, cqes, want);

		for (uint32_t i = 0; i < got; i++) {
			done[i].cmd = io_uring_cqe_get_data(cqes[i]);
			done[i].result = cqes[i]->res;
			done[i].extra = cqes[i]->big_cqe[0];
		}
		io_uring_cq_advance(&r->ring, got);
		r->nr_inflight -= got;
		for (uint32_t i = 0; i < got; i++) {
			done[i].cmd->is_pending = false;
			done[i].cmd->cb(done[i].cmd, done[i].result, done[i].extra);
		}
		count += got;
		left -= got;
		if (got == 0) {
			break;
		}
	}
	return count;
}

static uint32_t cmd_ring_run(void *ring)
{
	struct cmd_ring *r = ring;

	xr__hint_get_events(&r->hint, &r->ring);
	return reap(r);
}

/* Has the main ring wake up for what is out. */
static void arm_poll(struct cmd_ring *r)
{
	if (r->nr_inflight != 0 && !r->poll.is_pending) {
		xr_op_submit(r->reactor, &r->poll);
	}
}

static void on_flush(struct xr_msg *msg)
{
	struct cmd_ring *r = xu_container_of(msg, struct cmd_ring, flush);

	r->is_flush_queued = false;
	submit_backlog(r);
	io_uring_submit(&r->ring);
	if (io_uring_sq_ready(&r->ring) != 0 || r->backlog_first != NULL) {
		queue_flush(r); /* the kernel takes no more now */
	}
	arm_poll(r);
}

/* Should the poll fail, the reactor turns without sleeping while commands are out. */
static void on_poll(struct xr_op *op, int32_t result)
{
	struct cmd_ring *r = xu_container_of(op, struct cmd_ring, poll);

	(void)result;
	cmd_ring_run(r);
	arm_poll(r);
}

/* ---- life ---- */

static int cmd_ring_create(struct xr_reactor *reactor, void **ret_ring)
{
	const char *mask = getenv("XSAN_URING_MASK");
	struct cmd_ring *r;
	int rc;

	if (mask != NULL && strstr(mask, "cmd") != NULL) {
		return -EOPNOTSUPP;
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return -ENOMEM;
	}
	rc = xr__uring_setup(
		&r->ring, RING_ENTRIES, IORING_SETUP_SQE128 | IORING_SETUP_CQE32, false);
	if (rc != 0) {
		free(r);
		return rc == -EINVAL ? -EOPNOTSUPP : rc;
	}
	r->reactor = reactor;
	r->backlog_end = &r->backlog_first;
	r->flush.fn = on_flush;
	r->poll = (struct xr_op){
		.cb = on_poll,
		.opcode = XR_OP_POLL,
		.fd = r->ring.ring_fd,
		.poll_events = POLLIN,
	};
	*ret_ring = r;
	return 0;
}

static void cmd_ring_free(void *ring)
{
	struct cmd_ring *r = ring;

	assert(r->nr_inflight == 0 && r->backlog_first == NULL);
	io_uring_queue_exit(&r->ring);
	free(r);
}

const struct xr_cmd_ring_ops xr__cmd_ring_ops = {
	.create = cmd_ring_create,
	.submit = cmd_ring_submit,
	.run = cmd_ring_run,
	.has_events = cmd_ring_has_events,
	.free = cmd_ring_free,
};
