/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets without the ring, for a reactor that is awake. An answer that is a few microseconds away
 * costs more through io_uring than by a call of our own: its receive arms a poll, is woken by task
 * work and needs a second call to run that, and a send needs an entry and a completion. So a send
 * goes at once, as far as the socket has room for it, and a receive is kept here and tried: once a
 * round, and in every look while the reactor spins.
 *
 * An operation has one owner. A receive is ours until it has ended, was cancelled, or was handed
 * over to the kernel, which then keeps it to its end; a send is the kernel's from the moment that
 * the socket had no room for all of it. What has ended is called back by the next run of the ring.
 *
 * Receives are handed over when the reactor goes to sleep, and when they were tried too often: that
 * peer is slow, or the reactor is busy with other things. After one of the latter kind the next
 * receives go to the kernel at once, ever more of them while trying finds nothing. Few are kept at
 * a time, so a round and a look stay cheap.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/reactor/direct.h"
#include "lib/reactor/reactor.h"

#define MAX_ROUNDS    8u
#define MAX_LOOKS     256u
#define TRY_WAIT_MAX  64u
#define MAX_SEND      8192u           /* larger ones together are a stream, which is the ring's */
#define RESERVED_DONE XR_DIRECT_RECVS /* places that receives always find */

/* ---- what has ended ---- */

static void add_done(struct xr_direct *direct, struct xr_op *op, int32_t result)
{
	assert(direct->nr_done < XR_DIRECT_DONE);
	direct->done[direct->nr_done++] = (struct xr_direct_done){op, result};
	direct->count++;
}

bool xr__direct_has_ended(const struct xr_direct *direct, const struct xr_op *op)
{
	for (uint32_t i = 0; i < direct->nr_done; i++) {
		if (direct->done[i].op == op) {
			return true;
		}
	}
	return false;
}

uint32_t xr__direct_take(struct xr_direct *direct, struct xr_direct_done ret_done[XR_DIRECT_DONE])
{
	uint32_t count = direct->nr_done;

	memcpy(ret_done, direct->done, count * sizeof(*ret_done));
	direct->nr_done = 0;
	return count;
}

/* ---- receiving ---- */

bool xr__direct_recv(struct xr_direct *direct, struct xr_op *op)
{
	if (direct->is_off || direct->nr_recvs == XR_DIRECT_RECVS) {
		return false;
	}
	if (direct->nr_until_try != 0) {
		direct->nr_until_try--;
		return false;
	}
	direct->recvs[direct->nr_recvs].op = op;
	direct->recvs[direct->nr_recvs].nr_looks = 0;
	direct->recvs[direct->nr_recvs++].nr_rounds = 0;
	return true;
}

/* Keeps their order: the one that has waited longest is looked at first. */
static struct xr_op *take_out(struct xr_direct *direct, uint32_t i)
{
	struct xr_op *op = direct->recvs[i].op;

	if (direct->recvs[i].nr_rounds != 0 || direct->recvs[i].nr_looks != 0) {
		op->is_drained = true; /* there was nothing a moment ago */
	}
	direct->nr_recvs--;
	memmove(&direct->recvs[i], &direct->recvs[i + 1],
		(direct->nr_recvs - i) * sizeof(direct->recvs[0]));
	return op;
}

static uint64_t op_len(const struct xr_op *op)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < op->nr_iov; i++) {
		len += op->iov[i].iov_len;
	}
	return len;
}

static ssize_t receive(struct xr_op *op)
{
	if (op->nr_iov == 1) {
		return recv(op->fd, op->iov[0].iov_base, op->iov[0].iov_len, MSG_DONTWAIT);
	}
	memset(op->msg, 0, sizeof(*op->msg));
	op->msg->msg_iov = (struct iovec *)op->iov;
	op->msg->msg_iovlen = op->nr_iov;
	return recvmsg(op->fd, op->msg, MSG_DONTWAIT);
}

/* Tries the receive at place `i`; true when it has ended and is out. */
static bool try_recv(struct xr_direct *direct, uint32_t i)
{
	struct xr_op *op = direct->recvs[i].op;
	ssize_t got = receive(op);

	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		return false;
	}
	take_out(direct, i);
	op->is_drained = got >= 0 && (uint64_t)got < op_len(op);
	direct->try_wait = 0;
	add_done(direct, op, got >= 0 ? (int32_t)got : -errno);
	return true;
}

bool xr__direct_look(struct xr_direct *direct)
{
	if (direct->nr_recvs != 0 && direct->nr_done == 0) {
		direct->next = direct->next + 1 < direct->nr_recvs ? direct->next + 1 : 0;
		if (!try_recv(direct, direct->next)) {
			direct->recvs[direct->next].nr_looks++;
		}
	}
	return direct->nr_done != 0;
}

void xr__direct_try(struct xr_direct *direct)
{
	for (uint32_t i = 0; i < direct->nr_recvs;) {
		if (!try_recv(direct, i)) {
			direct->recvs[i++].nr_rounds++;
		}
	}
}

struct xr_op *xr__direct_hand_over(struct xr_direct *direct, bool all)
{
	for (uint32_t i = 0; i < direct->nr_recvs; i++) {
		if (direct->recvs[i].nr_rounds >= MAX_ROUNDS) {
			uint32_t wait = 2 * direct->try_wait + 1;

			direct->try_wait = wait < TRY_WAIT_MAX ? wait : TRY_WAIT_MAX;
			direct->nr_until_try = direct->try_wait;
			return take_out(direct, i);
		}
		if (all || direct->recvs[i].nr_looks >= MAX_LOOKS) {
			return take_out(direct, i);
		}
	}
	return NULL;
}

bool xr__direct_cancel(struct xr_direct *direct, const struct xr_op *op)
{
	for (uint32_t i = 0; i < direct->nr_recvs; i++) {
		if (direct->recvs[i].op == op) {
			take_out(direct, i);
			return true;
		}
	}
	return false;
}

/* ---- sending ---- */

/* Keeps what is left for the kernel, after `sent` bytes. */
static void keep_rest(struct xr_direct *direct, struct xr_op *op, uint32_t sent)
{
	struct xr_direct_rest *rest = direct->rests;
	uint64_t skip = sent;
	uint32_t nr_iov = 0;

	while (rest->op != NULL) {
		rest++;
	}
	for (uint32_t i = 0; i < op->nr_iov; i++) {
		size_t len = op->iov[i].iov_len, past = skip < len ? skip : len;

		skip -= past;
		if (past != len) {
			rest->iov[nr_iov++] =
				(struct iovec){(char *)op->iov[i].iov_base + past, len - past};
		}
	}
	rest->op = op;
	rest->sent = sent;
	rest->msg = (struct msghdr){.msg_iov = rest->iov, .msg_iovlen = nr_iov};
	direct->nr_rests++;
}

struct xr_direct_rest *xr__direct_rest(struct xr_direct *direct, const struct xr_op *op)
{
	for (uint32_t i = 0; direct->nr_rests != 0 && i < XR_DIRECT_RESTS; i++) {
		if (direct->rests[i].op == op) {
			return &direct->rests[i];
		}
	}
	return NULL;
}

void xr__direct_rest_free(struct xr_direct *direct, struct xr_direct_rest *rest)
{
	rest->op = NULL;
	direct->nr_rests--;
}

bool xr__direct_send(struct xr_direct *direct, struct xr_op *op)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)op->iov, .msg_iovlen = op->nr_iov};
	uint64_t len = op_len(op);
	ssize_t sent;

	if (direct->is_off || op->nr_iov > XR_DIRECT_REST_IOV || len > MAX_SEND ||
		direct->nr_rests == XR_DIRECT_RESTS ||
		direct->nr_done >= XR_DIRECT_DONE - RESERVED_DONE) {
		return false;
	}
	sent = op->nr_iov == 1 ? send(op->fd, op->iov[0].iov_base, len, MSG_DONTWAIT | MSG_NOSIGNAL)
			       : sendmsg(op->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
		return false;
	}
	if (sent >= 0 && (uint64_t)sent < len) {
		keep_rest(direct, op, (uint32_t)sent);
		return false;
	}
	add_done(direct, op, sent < 0 ? -errno : (int32_t)sent);
	return true;
}
