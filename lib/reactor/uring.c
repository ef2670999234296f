/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One io_uring per reactor. It is made disabled and enabled by the first thread that runs it, so
 * that the kernel knows its only submitter (single-issuer, deferred task work: completions are
 * made when we ask, not by interrupting us). Older kernels fall back step by step.
 *
 * user_data is the operation; small numbers mark our own entries: the wake-up event, the alarm and
 * cancellations. An operation that finds the submission queue full waits in a backlog, so submit()
 * never fails; the kernel keeps completions that do not fit its queue. A cancellation that finds it
 * full waits too, and what is cancelled in the backlog never gets to the kernel.
 *
 * Operations are given to the kernel together, once a round: that is one system call for many. But
 * a disk completes in bursts too, and one that has just finished all it had would stand still until
 * the round has called back and prepared the last of the next burst. So a transfer beside others
 * goes at once, and the disk works on it while the others are made. One that is alone waits for the
 * end of the round, where the same call gives it to the kernel and waits for it.
 *
 * While the reactor is awake, direct.c receives and sends without the ring. What the kernel's own
 * workers lose of files is done by rescue.c.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/reactor/direct.h"
#include "lib/reactor/hint.h"
#include "lib/reactor/reactor.h"
#include "lib/reactor/rescue.h"
#include "lib/reactor/uring.h"
#include "lib/util/error.h"
#include "lib/util/log.h"

#define TAG_CANCEL  0u
#define TAG_WAKE    1u
#define TAG_ALARM   2u
#define REAP_BATCH  64u
#define LOOK_ROUNDS 65536u /* of a reactor that is awake, between two looks at what is late */

/* Sleeps that may be longer than this end by an alarm that stays armed from one to the next: a
 * timer for each costs more than a microsecond. Shorter ones end when they say. */
#define ALARM_NS XU_NS_PER_MS

/* In xr_op.is_pending: on the list of cancelled or of to_cancel. */
#define PENDING_CANCEL 2u

struct op_list {
	struct xr_op *first, **end;
};

struct uring {
	struct io_uring ring;
	struct xr_reactor *reactor;
	struct op_list backlog;   /* for the kernel, when it takes more */
	struct op_list cancelled; /* from the backlog: to be called back */
	struct op_list to_cancel; /* the kernel's, when it takes more */
	struct xr_direct direct;
	struct xr_hint hint;
	struct xr_rescue rescue;
	uint64_t wake_value;
	int wake_fd;
	struct __kernel_timespec alarm_ts;
	uint64_t alarm_ns;     /* when the alarm goes off; 0: it is not armed */
	uint32_t nr_transfers; /* submitted and not called back */
	uint32_t nr_rounds;    /* awake */
	bool is_enabled;
	bool is_wake_armed;
	bool has_poll_first;
};

/* ---- lists ---- */

static void list_init(struct op_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_add(struct op_list *list, struct xr_op *op)
{
	op->next_op = NULL;
	*list->end = op;
	list->end = &op->next_op;
}

static struct xr_op *list_pop(struct op_list *list)
{
	struct xr_op *op = list->first;

	if (op != NULL) {
		list->first = op->next_op;
		if (list->first == NULL) {
			list->end = &list->first;
		}
	}
	return op;
}

/* False when the operation is not on the list. */
static bool list_del(struct op_list *list, struct xr_op *op)
{
	struct xr_op **place = &list->first;

	while (*place != NULL && *place != op) {
		place = &(*place)->next_op;
	}
	if (*place == NULL) {
		return false;
	}
	*place = op->next_op;
	if (*place == NULL) {
		list->end = place;
	}
	return true;
}

/* ---- submission ---- */

static void prep_rw(struct io_uring_sqe *sqe, const struct xr_op *op)
{
	bool is_read = op->opcode == XR_OP_READ;

	if (op->nr_iov == 1) {
		io_uring_prep_rw(is_read ? IORING_OP_READ : IORING_OP_WRITE, sqe, op->fd,
			op->iov[0].iov_base, (unsigned)op->iov[0].iov_len, op->offset);
	} else {
		io_uring_prep_rw(is_read ? IORING_OP_READV : IORING_OP_WRITEV, sqe, op->fd, op->iov,
			op->nr_iov, op->offset);
	}
	if (op->flags & XR_OP_DSYNC) {
		sqe->rw_flags = RWF_DSYNC;
	}
}

static void prep_socket(struct uring *u, struct io_uring_sqe *sqe, struct xr_op *op)
{
	bool is_recv = op->opcode == XR_OP_RECV;
	struct xr_direct_rest *rest = is_recv ? NULL : xr__direct_rest(&u->direct, op);

	if (rest != NULL) {
		io_uring_prep_rw(IORING_OP_SENDMSG, sqe, op->fd, &rest->msg, 1, 0);
	} else if (op->nr_iov == 1) {
		io_uring_prep_rw(is_recv ? IORING_OP_RECV : IORING_OP_SEND, sqe, op->fd,
			op->iov[0].iov_base, (unsigned)op->iov[0].iov_len, 0);
	} else {
		memset(op->msg, 0, sizeof(*op->msg));
		op->msg->msg_iov = (struct iovec *)op->iov;
		op->msg->msg_iovlen = op->nr_iov;
		io_uring_prep_rw(is_recv ? IORING_OP_RECVMSG : IORING_OP_SENDMSG, sqe, op->fd,
			op->msg, 1, 0);
	}
	sqe->msg_flags = is_recv ? 0 : MSG_NOSIGNAL | MSG_WAITALL;
	/* When the last one has left nothing, trying at once would be in vain: wait first. */
	if (is_recv && op->is_drained && u->has_poll_first) {
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	}
}

static void prep(struct uring *u, struct io_uring_sqe *sqe, struct xr_op *op)
{
	switch ((enum xr_opcode)op->opcode) {
	case XR_OP_READ:
	case XR_OP_WRITE:
		prep_rw(sqe, op);
		break;
	case XR_OP_FSYNC:
		io_uring_prep_fsync(
			sqe, op->fd, (op->flags & XR_OP_DATASYNC) ? IORING_FSYNC_DATASYNC : 0);
		break;
	case XR_OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, op->mode, (off_t)op->offset, (off_t)op->len);
		break;
	case XR_OP_RECV:
	case XR_OP_SEND:
		prep_socket(u, sqe, op);
		break;
	case XR_OP_ACCEPT:
		io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
		break;
	case XR_OP_CONNECT:
		io_uring_prep_connect(sqe, op->fd, op->addr, (socklen_t)op->addr_len);
		break;
	case XR_OP_POLL:
		io_uring_prep_poll_add(sqe, op->fd, op->poll_events);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
	if (xr__is_file_op(op)) {
		xr__rescue_given(&u->rescue, sqe, op);
	}
}

/* A submission entry, flushing the queue once when it is full; NULL when the kernel takes none
 * now. Before the ring is enabled nothing can be flushed. */
static struct io_uring_sqe *get_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe == NULL && u->is_enabled) {
		io_uring_submit(&u->ring);
		sqe = io_uring_get_sqe(&u->ring);
	}
	return sqe;
}

/* Gives it to the kernel, now or when that takes more. */
static void enqueue(struct uring *u, struct xr_op *op)
{
	struct io_uring_sqe *sqe = u->backlog.first == NULL ? get_sqe(u) : NULL;

	if (sqe != NULL) {
		prep(u, sqe, op);
	} else {
		list_add(&u->backlog, op);
	}
}

static void uring_submit(void *ring, struct xr_op *op)
{
	struct uring *u = ring;

	if ((op->opcode == XR_OP_RECV && xr__direct_recv(&u->direct, op)) ||
		(op->opcode == XR_OP_SEND && xr__direct_send(&u->direct, op))) {
		return;
	}
	u->nr_transfers += xr__is_transfer(op);
	if (xr__rescue_takes(&u->rescue, op)) {
		return;
	}
	enqueue(u, op);
	if (xr__is_transfer(op) && u->nr_transfers > 1 && u->is_enabled &&
		u->backlog.first == NULL) {
		io_uring_submit(&u->ring);
	}
}

static bool send_cancel(struct uring *u, struct xr_op *op)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	if (sqe != NULL) {
		io_uring_prep_cancel(sqe, op, 0);
		sqe->user_data = TAG_CANCEL;
	}
	return sqe != NULL;
}

/* What has waited for room in the submission queue. */
static void submit_backlog(struct uring *u)
{
	struct io_uring_sqe *sqe;

	while (u->to_cancel.first != NULL && send_cancel(u, u->to_cancel.first)) {
		list_pop(&u->to_cancel)->is_pending = XR_PENDING_ASKED;
	}
	while (u->backlog.first != NULL && (sqe = get_sqe(u)) != NULL) {
		prep(u, sqe, list_pop(&u->backlog));
	}
}

static void uring_cancel(void *ring, struct xr_op *op)
{
	struct uring *u = ring;

	if (op->is_pending == PENDING_CANCEL || xr__direct_has_ended(&u->direct, op)) {
		return;
	}
	if (xr__direct_cancel(&u->direct, op) || list_del(&u->backlog, op)) {
		list_add(&u->cancelled, op);
		op->is_pending = PENDING_CANCEL;
	} else if (send_cancel(u, op)) {
		op->is_pending = XR_PENDING_ASKED;
	} else if (op->is_pending != XR_PENDING_ASKED) {
		list_add(&u->to_cancel, op);
		op->is_pending = PENDING_CANCEL;
	}
}

/* ---- completion ---- */

static void arm_wake(struct uring *u)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	if (sqe != NULL) {
		io_uring_prep_read(sqe, u->wake_fd, &u->wake_value, sizeof(u->wake_value), 0);
		sqe->user_data = TAG_WAKE;
		u->is_wake_armed = true;
	}
}

static bool uring_has_events(void *ring)
{
	struct uring *u = ring;

	return u->cancelled.first != NULL || xr__hint_has_events(&u->hint, &u->ring) ||
	       xr__direct_look(&u->direct);
}

/* The kernel tells how much it has sent when it cannot send the rest; the stream is broken then. */
static int32_t send_result(const struct xr_op *op, int32_t result)
{
	return result >= 0 && (uint64_t)result < xr__op_len(op) ? -ECONNRESET : result;
}

static void call_back(struct uring *u, struct xr_op *op, int32_t result)
{
	if (op->opcode == XR_OP_SEND) {
		struct xr_direct_rest *rest = xr__direct_rest(&u->direct, op);

		if (rest != NULL) {
			result += result >= 0 ? (int32_t)rest->sent : 0;
			xr__direct_rest_free(&u->direct, rest);
		}
		result = send_result(op, result);
	}
	if (op->is_pending == PENDING_CANCEL) {
		list_del(&u->to_cancel, op); /* it has ended before it could be cancelled */
	}
	op->is_pending = 0;
	u->nr_transfers -= xr__is_transfer(op);
	op->cb(op, result);
}

/* Calls back those that were cancelled before the call. */
static uint32_t end_cancelled(struct uring *u)
{
	struct op_list list = u->cancelled;
	uint32_t count = 0;

	list_init(&u->cancelled);
	while (list.first != NULL) {
		call_back(u, list_pop(&list), -ECANCELED);
		count++;
	}
	return count;
}

/* Calls back what has ended without the kernel's ring. */
static uint32_t end_direct(struct uring *u)
{
	struct xr_direct_done done[XR_DIRECT_DONE];
	uint32_t count = xr__direct_take(&u->direct, done);

	for (uint32_t i = 0; i < count; i++) {
		call_back(u, done[i].op, done[i].result);
	}
	return count;
}

/* Calls back what has completed, at most what was there at the start, so that callbacks which
 * submit again cannot keep the loop. */
static uint32_t reap(struct uring *u)
{
	struct io_uring_cqe *cqes[REAP_BATCH];
	struct {
		struct xr_op *op;
		int32_t result;
	} done[REAP_BATCH];
	uint32_t left = io_uring_cq_ready(&u->ring), count = 0;

	while (left != 0) {
		uint32_t want = left < REAP_BATCH ? left : REAP_BATCH, nr_done = 0;
		uint32_t got = io_uring_peek_batch_cqe(&u->ring, cqes, want);

		for (uint32_t i = 0; i < got; i++) {
			if (cqes[i]->user_data == TAG_WAKE) {
				u->is_wake_armed = false;
			} else if (cqes[i]->user_data == TAG_ALARM) {
				u->alarm_ns = 0;
			} else if (cqes[i]->user_data != TAG_CANCEL) {
				done[nr_done].op = io_uring_cqe_get_data(cqes[i]);
				if (!xr__is_file_op(done[nr_done].op)) {
					done[nr_done].op->is_drained =
						(cqes[i]->flags & IORING_CQE_F_SOCK_NONEMPTY) == 0;
				}
				done[nr_done++].result = cqes[i]->res;
			}
		}
		io_uring_cq_advance(&u->ring, got);
		for (uint32_t i = 0; i < nr_done; i++) {
			if (!xr__is_file_op(done[i].op) ||
				!xr__rescue_back(&u->rescue, done[i].op, done[i].result)) {
				call_back(u, done[i].op, done[i].result);
			}
		}
		count += nr_done;
		left -= got;
		if (got == 0) {
			break;
		}
	}
	return count;
}

/* liburing 2.3 declares io_uring_enable_rings() but its shared library does not have it. */
static void enable(struct uring *u)
{
	syscall(__NR_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static void on_rescued(void *arg, struct xr_op *op, int32_t result)
{
	call_back(arg, op, result);
}

/* Asks for what the kernel has of files and has not begun, when none of that moves. */
static void look_at_files(struct uring *u)
{
	struct io_uring_sqe *sqe;

	if (!xr__rescue_is_late(&u->rescue, xu_clock_now_ns(xu_clock_system()))) {
		return;
	}
	for (uint32_t i = 0; i < XR_RESCUE_CANCELS && (sqe = get_sqe(u)) != NULL; i++) {
		xr__rescue_prep_cancel(sqe, i);
		sqe->user_data = TAG_CANCEL;
	}
}

static void hand_over(struct uring *u, bool all)
{
	struct xr_op *op;

	while ((op = xr__direct_hand_over(&u->direct, all)) != NULL) {
		enqueue(u, op);
	}
}

/* Whether the alarm ends a sleep until then, or one before it; arms it if it is not. */
static bool has_alarm(struct uring *u, uint64_t now_ns, uint64_t end_ns)
{
	struct io_uring_sqe *sqe;

	if (end_ns - now_ns <= ALARM_NS || u->alarm_ns != 0) {
		return end_ns - now_ns > ALARM_NS && u->alarm_ns <= end_ns;
	}
	sqe = io_uring_get_sqe(&u->ring);
	if (sqe == NULL) {
		return false;
	}
	u->alarm_ts =
		(struct __kernel_timespec){.tv_sec = (int64_t)((end_ns - now_ns) / XU_NS_PER_S),
			.tv_nsec = (long long)((end_ns - now_ns) % XU_NS_PER_S)};
	io_uring_prep_timeout(sqe, &u->alarm_ts, 0, 0);
	sqe->user_data = TAG_ALARM;
	u->alarm_ns = end_ns;
	return true;
}

/* When a sleep must end, so that what is late is seen; an alarm that comes anyway will do. */
static uint64_t end_for_files(const struct uring *u, uint64_t now_ns, uint64_t end_ns)
{
	uint64_t look_ns = now_ns + XR_RESCUE_LOOK_NS;

	if (u->alarm_ns > look_ns && u->alarm_ns <= now_ns + XR_RESCUE_LATE_NS) {
		look_ns = u->alarm_ns;
	}
	return end_ns > look_ns || end_ns < now_ns ? look_ns : end_ns;
}

/* Until something completes, at most so long. */
static uint32_t sleep_for(struct uring *u, uint64_t timeout_ns)
{
	uint64_t now_ns = xu_clock_now_ns(xu_clock_system()), end_ns = now_ns + timeout_ns;
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	uint32_t count;

	if (xr__rescue_has_files(&u->rescue)) {
		end_ns = end_for_files(u, now_ns, end_ns);
	}
	if (end_ns < now_ns) { /* for ever */
		io_uring_submit_and_wait(&u->ring, 1);
		return reap(u);
	}
	while (has_alarm(u, now_ns, end_ns)) {
		io_uring_submit_and_wait(&u->ring, 1);
		count = reap(u);
		now_ns = xu_clock_now_ns(xu_clock_system());
		/* An alarm of an earlier sleep ends none of this. */
		if (count != 0 || !u->is_wake_armed || u->alarm_ns != 0 || now_ns >= end_ns) {
			return count;
		}
	}
	ts.tv_sec = (int64_t)((end_ns - now_ns) / XU_NS_PER_S);
	ts.tv_nsec = (long long)((end_ns - now_ns) % XU_NS_PER_S);
	io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
	return reap(u);
}

static uint32_t uring_run(void *ring, uint64_t timeout_ns)
{
	struct uring *u = ring;
	bool is_awake;

	if (!u->is_enabled) {
		enable(u);
		u->is_enabled = true;
	}
	submit_backlog(u);
	if (timeout_ns == 0) {
		xr__direct_try(&u->direct);
	}
	is_awake = timeout_ns == 0 || u->cancelled.first != NULL || u->direct.nr_done != 0 ||
		   io_uring_cq_ready(&u->ring) != 0;
	hand_over(u, !is_awake);
	if (xr__rescue_has_files(&u->rescue) && (!is_awake || ++u->nr_rounds % LOOK_ROUNDS == 0)) {
		look_at_files(u);
	}
	if (is_awake) {
		if (io_uring_sq_ready(&u->ring) != 0) {
			io_uring_submit_and_get_events(&u->ring);
			xr__hint_note(&u->hint, &u->ring);
		} else {
			xr__hint_get_events(&u->hint, &u->ring);
		}
		return end_cancelled(u) + end_direct(u) + reap(u);
	}
	if (!u->is_wake_armed) {
		arm_wake(u);
	}
	if (!u->is_wake_armed && timeout_ns > XU_NS_PER_MS) {
		timeout_ns = XU_NS_PER_MS; /* nobody can wake us: look again soon */
	}
	return sleep_for(u, timeout_ns);
}

static void uring_wake(void *ring)
{
	struct uring *u = ring;
	uint64_t one = 1;
	ssize_t rc = write(u->wake_fd, &one, sizeof(one));

	/* It can fail only when the counter is at its end, and then a wake-up is due anyway. */
	(void)rc;
}

static void uring_free(void *ring)
{
	struct uring *u = ring;

	xr__workers_settle();
	io_uring_queue_exit(&u->ring);
	close(u->wake_fd);
	free(u);
}

static uint64_t uring_nr_direct(const void *ring)
{
	const struct uring *u = ring;

	return u->direct.count;
}

static const struct xr_ring_ops uring_ops = {
	.submit = uring_submit,
	.cancel = uring_cancel,
	.run = uring_run,
	.has_events = uring_has_events,
	.wake = uring_wake,
	.free = uring_free,
	.nr_direct = uring_nr_direct,
};

/* From what we want to what every kernel has. */
int xr__uring_setup(struct io_uring *ring, uint32_t entries, uint32_t flags, bool may_defer)
{
	static const struct {
		const char *name;
		uint32_t flags;
	} steps[] = {
		{"defer-taskrun", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
					  IORING_SETUP_TASKRUN_FLAG},
		{"single-issuer", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
					  IORING_SETUP_TASKRUN_FLAG},
		{"coop-taskrun", IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
		{"plain", 0},
	};
	const char *mask = getenv("XSAN_URING_MASK");
	int rc = -EINVAL;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if ((mask != NULL && strstr(mask, steps[i].name) != NULL) ||
			(!may_defer && (steps[i].flags & IORING_SETUP_DEFER_TASKRUN))) {
			continue;
		}
		rc = io_uring_queue_init(entries, ring, steps[i].flags | flags);
		if (rc != -EINVAL) {
			break;
		}
	}
	return rc;
}

int xr__uring_new(const struct xr_platform *platform, struct xr_reactor *reactor, uint32_t entries,
	const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	const char *mask = getenv("XSAN_URING_MASK");
	int rc;

	(void)platform;
	if (u == NULL) {
		return xu_error_set_errno(err, -ENOMEM, "making an io_uring");
	}
	u->reactor = reactor;
	u->rescue = (struct xr_rescue){.reactor = reactor, .done = on_rescued, .arg = u};
	u->direct.is_off = mask != NULL && strstr(mask, "direct") != NULL;
	list_init(&u->backlog);
	list_init(&u->cancelled);
	list_init(&u->to_cancel);
	u->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (u->wake_fd < 0) {
		rc = -errno;
		free(u);
		return xu_error_set_errno(err, rc, "making an eventfd");
	}
	rc = xr__uring_setup(&u->ring, entries, IORING_SETUP_R_DISABLED, true);
	if (rc != 0) {
		close(u->wake_fd);
		free(u);
		return xu_error_set_errno(err, rc,
			"making an io_uring of %u entries (is io_uring allowed here? see "
			"/proc/sys/kernel/io_uring_disabled)",
			entries);
	}
	/* Linux 5.19 has it, single-issuer is 6.0. */
	u->has_poll_first = (u->ring.flags & IORING_SETUP_SINGLE_ISSUER) != 0;
	*ret_ops = &uring_ops;
	*ret_ring = u;
	return 0;
}
