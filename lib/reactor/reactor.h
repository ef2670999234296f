/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reactor: one thread that owns everything it touches. It runs, in this order and never
 * concurrently: messages from other threads (inbox), deferred work of its own, timers, pollers, and
 * completions of operations given to the kernel. A reactor is driven by a thread of its own
 * (xr_reactor_start) or by the application's (embedded mode: xr_reactor_poll).
 *
 * Every call below is for the reactor's own thread unless it says "any thread". Objects that are
 * passed in (operations, messages, timers, pollers) belong to the caller and must live until they
 * have run or have been stopped; the reactor allocates nothing once it runs.
 */
#ifndef XR_REACTOR_H
#define XR_REACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/util/buf.h"
#include "lib/util/list.h"
#include "lib/util/random.h"
#include "lib/util/ring.h"

struct xr_platform;
struct xr_reactor;
struct xu_error;
struct xu_logger;

/* ---- messages ---- */

/* A call to be made on a reactor's thread. */
struct xr_msg {
	struct xu_mpsc_node node;
	void (*fn)(struct xr_msg *msg);
};

/* Runs msg->fn on `reactor`; messages of one sender to one reactor keep their order. Any thread. */
void xr_msg_send(struct xr_reactor *reactor, struct xr_msg *msg);

/* Runs msg->fn on this reactor in its next round, after the caller has returned. */
void xr_msg_defer(struct xr_reactor *reactor, struct xr_msg *msg);

/* Runs msg->fn on this reactor just before it next gives operations to the kernel: the place to
 * send together what a round has produced. What the function itself asks for here, or defers, runs
 * in the next round, which follows at once. */
void xr_msg_before_submit(struct xr_reactor *reactor, struct xr_msg *msg);

/* ---- slots ---- */

#define XR_SLOTS_MAX 16u

/*
 * Places from which few callers send again and again, each waiting for its answer: the reactor
 * looks at the messages where they lie, so none of them takes the inbox's cache line from core to
 * core. What a message is part of should be one cache line. The owner sets `msgs`.
 */
struct xr_slots {
	_Alignas(XU_CACHE_LINE) _Atomic uint32_t taken; /* a bit each */
	struct xr_msg *msgs[XR_SLOTS_MAX];
};

/* The reactor looks at these from now on. Before it runs; they live as long as it does. */
void xr_reactor_set_slots(struct xr_reactor *reactor, struct xr_slots *slots);
/* Takes a slot, -1 when there is none; gives it back when nothing is in it. Any thread. */
int xr_slot_take(struct xr_slots *slots);
void xr_slot_give(struct xr_slots *slots, int slot);
/* Runs msg->fn, `msg` being that of the sender's own slot, on `reactor`. The slot may be used again
 * once it has run. Nothing is said of the order beside messages in the inbox. Any thread. */
void xr_slot_send(struct xr_reactor *reactor, struct xr_msg *msg);

/* ---- operations for the kernel ---- */

enum xr_opcode {
	XR_OP_READ,      /* fd, iov, nr_iov, offset */
	XR_OP_WRITE,     /* the same, XR_OP_DSYNC in flags for RWF_DSYNC */
	XR_OP_FSYNC,     /* fd, XR_OP_DATASYNC in flags */
	XR_OP_FALLOCATE, /* fd, mode, offset, len */
	XR_OP_RECV,      /* fd, iov, nr_iov: at least one byte; 0 is the end of the stream */
	XR_OP_SEND,      /* fd, iov, nr_iov: sends all of it, or fails and the stream is broken */
	XR_OP_ACCEPT,    /* fd; the result is the new descriptor */
	XR_OP_CONNECT,   /* fd, addr, addr_len */
	XR_OP_POLL,      /* fd, poll_events; the result is the events that came */
};

#define XR_OP_DSYNC    0x01u
#define XR_OP_DATASYNC 0x02u

/*
 * One operation. The caller fills it and submits it; `cb` runs exactly once, later, with the
 * result: a count or descriptor >= 0, or -errno. Short transfers of files are reported as such.
 */
struct xr_op {
	void (*cb)(struct xr_op *op, int32_t result);
	uint8_t opcode;
	uint8_t flags;
	uint8_t is_pending; /* set while the reactor owns the operation */
	uint8_t is_drained; /* the platform's: the last RECV left nothing in the socket; of a file,
			       its generation */
	int32_t fd;
	union {
		struct {
			const struct iovec *iov;
			uint32_t nr_iov;
		};
		struct {
			const struct sockaddr *addr;
			uint32_t addr_len;
		};
		struct {
			uint64_t len;
			int32_t mode;
		};
		uint32_t poll_events;
	};
	uint64_t offset;
	struct msghdr *msg;    /* RECV and SEND with more than one iov: scratch of the caller */
	struct xr_op *next_op; /* the platform's while pending */
};

/* Hands the operation over; never fails and never calls back before it has returned. */
void xr_op_submit(struct xr_reactor *reactor, struct xr_op *op);

/* Asks for the end of a pending operation; its callback comes all the same, with the result it
 * had or -ECANCELED. An operation that is not pending is left alone. */
void xr_op_cancel(struct xr_reactor *reactor, struct xr_op *op);

/* ---- commands for a driver in the kernel ---- */

#define XR_CMD_BYTES 80u

/*
 * A command that the kernel's driver of `fd` defines (io_uring's URING_CMD: NVMe passthrough). The
 * caller sets all but the last two members. `fill` writes the command into XR_CMD_BYTES of zeroes
 * when there is room for it; `cb` runs exactly once, later, with the driver's own status (>= 0) or
 * -errno, and its second result. What the kernel has of these cannot be cancelled.
 */
struct xr_cmd {
	void (*fill)(struct xr_cmd *cmd, void *payload);
	void (*cb)(struct xr_cmd *cmd, int32_t result, uint64_t extra);
	int32_t fd;
	uint32_t cmd_op;
	bool is_pending; /* set while the reactor owns the command */
	struct xr_cmd *next_cmd;
};

/* Makes the reactor able to take commands; before the first of them. -EOPNOTSUPP: this kernel or
 * platform cannot. */
int xr_cmd_prepare(struct xr_reactor *reactor);

/* Hands the command over; never fails and never calls back before it has returned. */
void xr_cmd_submit(struct xr_reactor *reactor, struct xr_cmd *cmd);

/* ---- timers ---- */

struct xr_timer {
	void (*fn)(struct xr_timer *timer);
	uint64_t deadline_ns;                       /* on the reactor's clock */
	struct xr_timer *child, *next, **prev_next; /* pairing heap; prev_next is NULL when idle */
};

/* Runs timer->fn once, `delay_ns` from now. A running timer is set anew. */
void xr_timer_start(struct xr_reactor *reactor, struct xr_timer *timer, uint64_t delay_ns);
/* Stops a timer; one that does not run is left alone. */
void xr_timer_stop(struct xr_reactor *reactor, struct xr_timer *timer);
static inline bool xr_timer_is_running(const struct xr_timer *timer)
{
	return timer->prev_next != NULL;
}

/* ---- pollers ---- */

#define XR_IDLE UINT64_MAX
#define XR_BUSY 0u

/* Called in every round. `fn` returns XR_BUSY when it did something (or must be asked again at
 * once), XR_IDLE, or the clock time in ns at which it wants to be asked again. */
struct xr_poller {
	uint64_t (*fn)(struct xr_poller *poller);
	struct xu_list link;
};

void xr_poller_add(struct xr_reactor *reactor, struct xr_poller *poller);
void xr_poller_del(struct xr_reactor *reactor, struct xr_poller *poller);

/* ---- work that can only block ---- */

/* `work` runs on a thread of the platform's bounded pool, then `done` on the reactor. In a
 * simulator both run on the reactor. */
struct xr_work {
	void (*work)(struct xr_work *work);
	void (*done)(struct xr_work *work);
	struct xr_reactor *reactor;
	struct xr_msg msg;
	struct xu_list link;
};

void xr_work_submit(struct xr_reactor *reactor, struct xr_work *work);

/* ---- the reactor itself ---- */

struct xr_reactor_opts {
	const struct xr_platform *platform; /* NULL: xr_platform_linux() */
	struct xu_logger *log;
	uint32_t index;         /* its number in the context, from 0 */
	int cpu;                /* pin the thread to this CPU; -1: do not pin */
	uint32_t ring_entries;  /* submission queue entries; 0: 256 */
	uint64_t spin_max_ns;   /* longest spin before sleeping; 0: never spin */
	size_t buf_limit_bytes; /* bound of the buffer pool; 0: 64 MiB */
};

#define XR_SPIN_MAX_NS_DEFAULT 25000ull

struct xr_reactor_stats {
	uint64_t nr_rounds;
	uint64_t nr_busy_rounds;
	uint64_t nr_sleeps;
	uint64_t nr_wakeups;    /* sleeps ended by another thread's message */
	uint64_t nr_spins;      /* times it began to spin */
	uint64_t nr_spin_hits;  /* spins that ended in work */
	uint64_t spin_ns;       /* time spent spinning */
	uint64_t spin_limit_ns; /* the spin it would do now */
	uint64_t busy_ns;       /* time in rounds that did something */
	uint64_t nr_ops;        /* operations given to the kernel */
	uint64_t nr_direct;     /* of these, on sockets by a call of their own */
	uint64_t nr_messages;
};

/* Makes a reactor; it does not run yet. Any thread. -errno with a sentence. */
int xr_reactor_new(
	const struct xr_reactor_opts *opts, struct xr_reactor **ret_reactor, struct xu_error *err);
/* Frees a reactor that is not running (not started, or stopped); no operation may be pending and
 * no timer running. Any thread. NULL is fine. */
void xr_reactor_free(struct xr_reactor *reactor);

/* Starts a thread that runs the reactor until xr_reactor_stop(). Once only: -EINVAL for a reactor
 * that has run before, in whatever thread. Any thread. */
int xr_reactor_start(struct xr_reactor *reactor, struct xu_error *err);
/* Ends and joins the thread; any thread but the reactor's own. */
void xr_reactor_stop(struct xr_reactor *reactor);

/*
 * Embedded mode: one round. Waits up to `timeout_ns` for something to do (0: not at all,
 * XR_IDLE: until something comes), spinning first as the options say. Returns the number of
 * things done. Always the same thread: the first that polls owns the reactor. Never from a callback
 * of the same reactor. Both are asserted.
 */
uint32_t xr_reactor_poll(struct xr_reactor *reactor, uint64_t timeout_ns);
/*
 * The same for a thread that waits for something of its own: a round that did other things sleeps
 * too, in the system call that submits them, unless what is waited for has said
 * xr_reactor_stay_awake() in it.
 */
uint32_t xr_reactor_wait(struct xr_reactor *reactor, uint64_t timeout_ns);
/* From a callback of the reactor: the round that is under way does not sleep. */
void xr_reactor_stay_awake(struct xr_reactor *reactor);

/* The reactor that runs in this thread, NULL outside of one. Any thread. */
struct xr_reactor *xr_reactor_current(void);

/* Monotonic nanoseconds, read once per round. */
uint64_t xr_now_ns(const struct xr_reactor *reactor);

uint32_t xr_reactor_index(const struct xr_reactor *reactor);
const struct xr_platform *xr_reactor_platform(const struct xr_reactor *reactor);
struct xu_logger *xr_reactor_log(const struct xr_reactor *reactor);
struct xu_random *xr_reactor_random(struct xr_reactor *reactor);
struct xu_bufpool *xr_reactor_buffers(struct xr_reactor *reactor);
void xr_reactor_stats_get(const struct xr_reactor *reactor, struct xr_reactor_stats *ret_stats);

#endif
