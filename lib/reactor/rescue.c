/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What io_uring cannot do without waiting it leaves to worker threads of the kernel's, and these
 * can be missing. Where no thread can be made (a limit on processes), what waited for one comes
 * back as cancelled. And Linux 6.18 was seen, on a machine with ten times as much to do as it
 * could, to have no worker left at all with seventeen operations waiting, and to make none for the
 * next ones either: they would have waited for ever.
 *
 * So an operation on a file that comes back cancelled, without its owner having asked for that, is
 * done by a thread of the platform's pool instead. And when one has been with the kernel for ten to
 * twenty seconds, and no kernel worker of the process is at work, as one is for a disk that is slow
 * or hangs, the kernel is asked to cancel what it has not begun. What a disk works on cannot be
 * cancelled, and what has been done in part may be done again. From then on this ring leaves
 * nothing to the kernel's workers: what they always do goes to the pool, and what they do sometimes
 * is tried without waiting (RWF_NOWAIT) first. Of a file that is cached in part that gives a part;
 * the whole is done by the pool then. The pool's threads are few, so a disk that hangs holds up the
 * others then: this is for going on at all.
 *
 * No operation has a time of its own: they are counted in two generations, and every ten seconds
 * the older one must have ended.
 *
 * All of it is the reactor's thread's but work(). An operation is its owner's memory until `done`.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/reactor/rescue.h"
#include "lib/util/log.h"

#define CANCEL_ALL (1u << 0)
#define CANCEL_OP  (1u << 5) /* Linux 6.6; those before answer -EINVAL */

struct saved {
	struct xr_work work;
	struct xr_rescue *rescue;
	struct xr_op *op;
	int32_t result;
};

/* ---- on a thread of the pool ---- */

static ssize_t do_op(const struct xr_op *op)
{
	const int flags = (op->flags & XR_OP_DSYNC) ? RWF_DSYNC : 0;

	switch ((enum xr_opcode)op->opcode) {
	case XR_OP_READ:
		return preadv2(op->fd, op->iov, (int)op->nr_iov, (off_t)op->offset, 0);
	case XR_OP_WRITE:
		return pwritev2(op->fd, op->iov, (int)op->nr_iov, (off_t)op->offset, flags);
	case XR_OP_FSYNC:
		return (op->flags & XR_OP_DATASYNC) ? fdatasync(op->fd) : fsync(op->fd);
	default:
		return fallocate(op->fd, op->mode, (off_t)op->offset, (off_t)op->len);
	}
}

static void work(struct xr_work *work)
{
	struct saved *saved = xu_container_of(work, struct saved, work);
	ssize_t rc;

	do {
		rc = do_op(saved->op);
	} while (rc < 0 && errno == EINTR);
	saved->result = rc < 0 ? -errno : (int32_t)rc;
}

/* ---- on the reactor's ---- */

static void on_done(struct xr_work *work)
{
	struct saved *saved = xu_container_of(work, struct saved, work);

	saved->rescue->done(saved->rescue->arg, saved->op, saved->result);
	free(saved);
}

static bool save(struct xr_rescue *rescue, struct xr_op *op)
{
	struct saved *saved = malloc(sizeof(*saved));

	if (saved == NULL) {
		return false;
	}
	saved->rescue = rescue;
	saved->op = op;
	saved->work = (struct xr_work){.work = work, .done = on_done};
	xr_work_submit(rescue->reactor, &saved->work);
	return true;
}

bool xr__rescue_takes(struct xr_rescue *rescue, struct xr_op *op)
{
	return rescue->has_lost && (op->opcode == XR_OP_FSYNC || op->opcode == XR_OP_FALLOCATE) &&
	       save(rescue, op);
}

void xr__rescue_given(struct xr_rescue *rescue, struct io_uring_sqe *sqe, struct xr_op *op)
{
	op->is_drained = rescue->generation;
	rescue->nr_files[rescue->generation]++;
	if (rescue->has_lost && xr__is_transfer(op)) {
		sqe->rw_flags |= RWF_NOWAIT;
	}
}

/* Whether it would have had to wait, so that nothing or a part was done. */
static bool has_waited(const struct xr_op *op, int32_t result)
{
	if (result < 0) {
		return result == -EAGAIN || result == -EOPNOTSUPP;
	}
	return xr__is_transfer(op) && (uint64_t)result < xr__op_len(op);
}

bool xr__rescue_back(struct xr_rescue *rescue, struct xr_op *op, int32_t result)
{
	const bool is_lost = result == -ECANCELED || result == -EINTR;

	rescue->nr_files[op->is_drained]--;
	if (is_lost && op->is_pending != XR_PENDING_ASKED && !rescue->has_lost) {
		rescue->has_lost = true;
		xu_warn(xr_reactor_log(rescue->reactor),
			"the kernel has no worker threads for this io_uring: what has to wait for "
			"a file is done by threads of this process from now on");
	}
	return op->is_pending != XR_PENDING_ASKED &&
	       (is_lost || (rescue->has_lost && has_waited(op, result))) && save(rescue, op);
}

/* Whether a thread is one of the kernel's workers and not idle, by its line in /proc: its number,
 * its name in brackets, its state. */
static bool is_busy_worker(const char *path)
{
	char line[64] = "", state = 'S';
	FILE *file = fopen(path, "re");
	const char *name;

	if (file == NULL) {
		return errno == EMFILE || errno == ENFILE; /* it may be */
	}
	if (fgets(line, sizeof(line), file) == NULL) {
		line[0] = '\0';
	}
	fclose(file);
	name = strstr(line, "(iou-wrk-");
	return name != NULL && sscanf(name, "(iou-wrk-%*d) %c", &state) == 1 && state != 'S';
}

static bool has_busy_worker(void)
{
	bool is_busy = false;
	glob_t found;

	if (glob("/proc/self/task/*/stat", GLOB_NOSORT, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc && !is_busy; i++) {
			is_busy = is_busy_worker(found.gl_pathv[i]);
		}
		globfree(&found);
	}
	return is_busy;
}

bool xr__rescue_is_late(struct xr_rescue *rescue, uint64_t now_ns)
{
	if (now_ns - rescue->turned_ns < XR_RESCUE_LATE_NS) {
		return false;
	}
	if (rescue->nr_files[!rescue->generation] == 0) {
		rescue->generation = !rescue->generation;
		rescue->turned_ns = now_ns;
		return false;
	}
	if (has_busy_worker()) {
		rescue->turned_ns = now_ns - XR_RESCUE_LATE_NS + XR_RESCUE_LOOK_NS;
		return false;
	}
	rescue->turned_ns = now_ns;
	return true;
}

void xr__rescue_prep_cancel(struct io_uring_sqe *sqe, uint32_t index)
{
	static const uint8_t opcodes[XR_RESCUE_CANCELS] = {IORING_OP_READ, IORING_OP_READV,
		IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE};

	io_uring_prep_rw(IORING_OP_ASYNC_CANCEL, sqe, -1, NULL, opcodes[index], 0);
	sqe->cancel_flags = CANCEL_ALL | CANCEL_OP;
}
