/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/reactor: operations on files whose kernel workers are gone. See rescue.c. */
#ifndef XR_RESCUE_H
#define XR_RESCUE_H

#include <liburing.h>

#include "lib/reactor/reactor.h"
#include "lib/util/clock.h"

#define XR_RESCUE_LOOK_NS (1000 * XU_NS_PER_MS) /* a reactor that sleeps looks as often, */
#define XR_RESCUE_LATE_NS (10 * XU_NS_PER_S)    /* or as often when an alarm comes anyway */

/* In xr_op.is_pending: its owner has had the kernel asked to cancel it. */
#define XR_PENDING_ASKED 3u

struct xr_rescue {
	struct xr_reactor *reactor;
	void (*done)(void *arg, struct xr_op *op, int32_t result);
	void *arg;
	/* Operations on files that the kernel has, by generation (xr_op.is_drained); those of the
	 * other one were given to it before `turned_ns`. */
	uint32_t nr_files[2];
	uint8_t generation;
	bool has_lost; /* its workers are not to be used any more */
	uint64_t turned_ns;
};

static inline bool xr__rescue_has_files(const struct xr_rescue *rescue)
{
	return rescue->nr_files[0] + rescue->nr_files[1] != 0;
}

/* Bytes of a transfer. */
static inline uint64_t xr__op_len(const struct xr_op *op)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < op->nr_iov; i++) {
		len += op->iov[i].iov_len;
	}
	return len;
}

static inline bool xr__is_transfer(const struct xr_op *op)
{
	return op->opcode <= XR_OP_WRITE;
}

static inline bool xr__is_file_op(const struct xr_op *op)
{
	return op->opcode <= XR_OP_FALLOCATE;
}

/* Whether a thread of ours does it; `done` comes later then. */
bool xr__rescue_takes(struct xr_rescue *rescue, struct xr_op *op);
/* The operation on a file is being given to the kernel with this entry. */
void xr__rescue_given(struct xr_rescue *rescue, struct io_uring_sqe *sqe, struct xr_op *op);
/* It is back with this result; true: not for its owner, and `done` comes later. */
bool xr__rescue_back(struct xr_rescue *rescue, struct xr_op *op, int32_t result);
/* True: something is there for long, so the kernel is to be asked for what it has not begun, with
 * all XR_RESCUE_CANCELS entries of xr__rescue_prep_cancel(). */
bool xr__rescue_is_late(struct xr_rescue *rescue, uint64_t now_ns);

#define XR_RESCUE_CANCELS 6u
void xr__rescue_prep_cancel(struct io_uring_sqe *sqe, uint32_t index);

#endif
