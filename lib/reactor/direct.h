/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to lib/reactor: receiving and sending on sockets by calls of our own. */
#ifndef XR_DIRECT_H
#define XR_DIRECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct xr_op;

#define XR_DIRECT_RECVS    4u  /* that are kept at a time */
#define XR_DIRECT_DONE     64u /* that have ended and wait to be called back */
#define XR_DIRECT_RESTS    4u  /* sends of which the socket has taken a part */
#define XR_DIRECT_REST_IOV 8u

/* What is left of a send. */
struct xr_direct_rest {
	struct xr_op *op; /* NULL: free */
	uint32_t sent;
	struct msghdr msg;
	struct iovec iov[XR_DIRECT_REST_IOV];
};

struct xr_direct_done {
	struct xr_op *op;
	int32_t result;
};

struct xr_direct {
	struct {
		struct xr_op *op;
		uint32_t nr_looks, nr_rounds; /* in vain */
	} recvs[XR_DIRECT_RECVS];
	uint32_t nr_recvs;
	uint32_t next; /* to be looked at */
	struct xr_direct_done done[XR_DIRECT_DONE];
	uint32_t nr_done;
	struct xr_direct_rest rests[XR_DIRECT_RESTS];
	uint32_t nr_rests;
	uint32_t nr_until_try,
		try_wait; /* receives until the next is kept, and after one in vain */
	uint64_t count;   /* operations done */
	bool is_off;
};

/* Keeps a receive, to be tried later; false: it is the kernel's. */
bool xr__direct_recv(struct xr_direct *direct, struct xr_op *op);
/* Sends at once. True: it has ended, in whatever way. False: it is the kernel's, as a whole or what
 * xr__direct_rest() tells. */
bool xr__direct_send(struct xr_direct *direct, struct xr_op *op);

/* A look of a reactor that spins: tries one receive. True when something has ended. */
bool xr__direct_look(struct xr_direct *direct);
/* Once a round: tries all receives. */
void xr__direct_try(struct xr_direct *direct);

/* Takes out a receive that the kernel shall have: any with `all` set (the reactor goes to sleep),
 * else one that was tried too often. NULL: none. */
struct xr_op *xr__direct_hand_over(struct xr_direct *direct, bool all);
/* Takes out the receive; false when it is not one of ours. */
bool xr__direct_cancel(struct xr_direct *direct, const struct xr_op *op);
/* Has the operation ended, and waits to be called back? */
bool xr__direct_has_ended(const struct xr_direct *direct, const struct xr_op *op);
/* Moves what has ended to `ret_done`; returns how many. */
uint32_t xr__direct_take(struct xr_direct *direct, struct xr_direct_done ret_done[XR_DIRECT_DONE]);

/* What is left of this send; NULL: all of it. */
struct xr_direct_rest *xr__direct_rest(struct xr_direct *direct, const struct xr_op *op);
/* The kernel is done with it. */
void xr__direct_rest_free(struct xr_direct *direct, struct xr_direct_rest *rest);

#endif
