/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to lib/xbdev/api: how the public calls reach the reactors. See README.md for the picture.
 *
 *   struct api_lib     the one library of the process; the mutex guards starting and ending it
 *   struct api_thread  what an application thread has; its own
 *   struct api_shard   what a reactor has; its own: the ports of all descriptors, the links to it
 *   struct api_file    an open descriptor; the control reactor's, its ports the reactors'
 *   struct api_queue   a queue's client side; its thread's (a named one's: whoever holds its lock)
 *   struct api_link    two rings between a queue and a reactor; each end has its own side
 */
#ifndef XBDEV_API_PRIVATE_H
#define XBDEV_API_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <xbdev/xbdev.h>

#include "lib/util/clock.h"
#include "lib/util/error.h"
#include "lib/util/ring.h"
#include "lib/xbdev/core/device.h"

#define API_MAX_FILES      4096u
#define API_MAX_COUNT      (1u << 30)
#define API_MAX_IOV        1024
#define API_DEPTH_DEFAULT  256u
#define API_DEPTH_MAX      65536u
#define API_QUEUES_MAX     4096u
#define API_QUEUES_DEFAULT 256u

#define API_CLOSE_WAIT_NS (5ull * 1000000000ull)
#define API_FINI_WAIT_NS  (10ull * 1000000000ull)

/* ---- waiting for another thread: wait.c ---- */

struct api_thread;

/* One thread waits, once, for another's api_event_set(); may live on the waiter's stack. */
struct api_event {
	_Atomic uint32_t state;
};

void api_event_init(struct api_event *event);
/* On a reactor; the event may be gone when it returns. */
void api_event_set(struct api_event *event);
bool api_event_is_set(struct api_event *event);
/* Waits until it is set, spinning first when what is waited for takes about `service_us`. The owner
 * of the first reactor polls it meanwhile. */
void api_event_wait(struct api_event *event, struct api_thread *thread, uint32_t service_us);

/* The parts of which it is made. False: `deadline_ns` of CLOCK_MONOTONIC has passed. */
bool api_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns);
void api_futex_wake(_Atomic uint32_t *word);
uint64_t api_now_ns(void);

/* A lock that its user may take again, and that can be waited for until a time. Zeroed: free. */
struct api_lock {
	_Atomic uint32_t state;
	_Atomic(const struct api_thread *) user;
	uint32_t depth;
};

bool api_lock_try(struct api_lock *lock, const struct api_thread *thread);
/* False: the deadline has passed. */
bool api_lock_until(struct api_lock *lock, const struct api_thread *thread, uint64_t deadline_ns);
void api_unlock(struct api_lock *lock);

/* How long to spin before sleeping when what is waited for takes about `service_us`. */
uint64_t api_spin_ns(uint32_t service_us);
static inline void api_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* ---- threads ---- */

struct api_thread {
	_Atomic bool is_inside; /* a call that uses the library's memory */
	bool is_in_callback;
	bool is_owner;       /* drives the first reactor (embedded mode) */
	struct xu_list link; /* the library's mutex */
	struct api_queue *queue;
	uint32_t queue_setting;   /* api_lib.queue_setting when it was made */
	uint32_t sync_service_us; /* that the last synchronous I/O took on its reactor */
	uint32_t home;            /* reactor that this thread uses where it does not matter, */
	uint32_t home_epoch;      /* in this round of the library */
	bool has_home;
	int8_t slots[XBDEV_MAX_REACTORS]; /* of synchronous calls; API_NO_SLOT, or its number */
	struct xu_error last;
};
#define API_NO_SLOT (-1)

/* This thread's; NULL: out of memory. */
struct api_thread *api_thread(void);

/* Writes the thread's last error and returns `code` (-errno). */
int api_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int api_fail_with(const struct xu_error *err);

/*
 * Every call that reaches a reactor is between these two. -ESHUTDOWN: the library does not run;
 * -EDEADLK: `may_wait` and this is a callback, or a reactor's thread.
 */
int api_enter(struct api_thread **ret_thread, bool may_wait);
void api_leave(struct api_thread *thread);

/* ---- the library ---- */

struct api_port {
	struct xbdev_channel *ch; /* NULL: none any more */
	struct api_file *file;    /* while there is a channel */
	uint32_t generation;      /* 0: never used */
	uint32_t nr_inflight;
	int refusal;        /* -errno for new I/O; 0: it is taken */
	struct xu_list ios; /* struct api_io::link, in flight */
	struct xr_msg put_msg;
};

struct api_shard {
	struct xr_reactor *reactor;
	struct api_port *ports; /* API_MAX_FILES */
	struct xu_list links;   /* struct api_link::node */
	struct xr_msg nudge;    /* wakes the thread that drives the first reactor */
	_Atomic bool is_nudging;
	struct xr_slots slots; /* the messages of sync_calls, for callers that come often */
	struct api_sync_call *sync_calls;
	/* Written with every call, in a line that callers do not read. */
	_Alignas(XU_CACHE_LINE) struct xu_pool sync_ios; /* struct api_io, of synchronous calls */
};

struct api_lib {
	pthread_mutex_t mutex;
	uint32_t nr_inits;
	bool is_ending; /* a thread is in xbdev_fini(), and has let go of the mutex meanwhile */
	pthread_cond_t has_ended; /* or has given up */
	struct xu_list threads;
	_Atomic uint32_t queue_setting; /* changes with the two below */
	_Atomic uint32_t queue_depth;   /* of threads' queues */
	_Atomic uint32_t nr_queues_max;
	_Atomic uint32_t nr_queues;

	_Atomic bool is_up;
	_Atomic uint32_t epoch; /* changes with every end */
	bool is_embedded;
	struct xbdev_ctx *ctx;
	struct xbdev_graph_listener listener;
	struct xu_logger *log;
	uint32_t nr_reactors;
	uint64_t spin_max_ns; /* of waiting threads */
	struct api_shard shards[XBDEV_MAX_REACTORS];

	/* What a client may know of a descriptor: 0: not open; else API_FD_WORD(). */
	_Atomic uint64_t fds[API_MAX_FILES];
	/* The control reactor's from here on. */
	struct api_file *files[API_MAX_FILES];
	uint32_t nr_files;
	uint32_t next_generation;
	struct api_call *ending; /* xbdev_fini()'s, while it waits for files or devices */
	struct xr_timer ending_timer;
	uint64_t ending_deadline_ns;
	_Atomic uint32_t next_home;
};

extern struct api_lib api_lib;

/* The reactor that is best for a descriptor, or API_ANY_REACTOR, and its generation. */
#define API_ANY_REACTOR        0xffffu
#define API_FD_WORD(gen, home) ((uint64_t)(gen) << 32 | ((home) + 1))
#define API_FD_GENERATION(w)   ((uint32_t)((w) >> 32))
#define API_FD_HOME(w)         ((uint32_t)(w)-1)

/* Looks a descriptor up for an I/O: its generation and the shard to use. -EBADF. Any thread. */
static inline int api_fd_find(
	int fd, const struct api_thread *thread, uint32_t *ret_generation, uint32_t *ret_shard)
{
	uint64_t word;

	if (fd < 0 || (uint32_t)fd >= API_MAX_FILES) {
		return -EBADF;
	}
	word = atomic_load_explicit(&api_lib.fds[fd], memory_order_acquire);
	if (word == 0) {
		return -EBADF;
	}
	*ret_generation = API_FD_GENERATION(word);
	*ret_shard = thread->is_owner                       ? 0
		     : API_FD_HOME(word) == API_ANY_REACTOR ? thread->home
							    : API_FD_HOME(word);
	return 0;
}

/* ---- calls on the control reactor: call.c ---- */

/*
 * A control operation, on the stack of its caller: `fn` runs on the control reactor and ends, there
 * and then or later, with api_call_done(). What takes long bounds itself with a timer there.
 */
struct api_call {
	struct xr_msg msg;
	void (*fn)(struct api_call *call);
	struct api_event event;
	int rc;
	struct xu_error err;
};

/* Runs it and returns its result; a negative one has become the thread's last error. */
int api_call_run(
	struct api_thread *thread, struct api_call *call, void (*fn)(struct api_call *call));
/* `rc` negative: call->err may have a sentence. The call is gone when this returns. */
void api_call_done(struct api_call *call, int rc);

/* Ends api_lib.ending with success. On the control reactor. */
void api_ending_done(void);

/* ---- devices: config.c ---- */

/* Removes a device and ends the call when it has gone, after 10 s at the latest. */
void api_device_remove(struct api_call *call, const char *name);

/* ---- configuration documents: json.c ---- */

/* Forgets what documents have made. When the library ends. */
void api_json_forget(void);

/* ---- arrays: md.c, md_monitor.c ---- */

/* The array of this name; NULL: the call has been ended. On the control reactor. */
struct xbdev_device *api_md_find(struct api_call *call, const char *name);
/* The document's number of a level of MD's; -1: it has none. */
int api_md_level(int32_t md_level);
/* Forgets what has been stopped, and who watches. When the library ends. */
void api_md_forget(void);
void api_md_monitor_forget(void);

/* ---- descriptors: file.c ---- */

/* Ports of a shard, at its start and end. -ENOMEM. */
int api_ports_init(struct api_shard *shard);
void api_ports_fini(struct api_shard *shard);
/* Closes all; ends api_lib.ending when none is left. On the control reactor. */
void api_files_close_all(void);
/* An I/O of the port has ended. On its reactor. */
void api_port_io_done(struct api_port *port);

/* ---- the reactor's side of an I/O: serve.c ---- */

/* An I/O of a descriptor, on its reactor. */
struct api_io {
	struct xbdev_io io;
	struct iovec iov;
	struct api_port *port;
	struct xu_list link; /* among the port's */
	void (*done)(struct api_io *io, int status);
	/* For an I/O of a link. */
	struct api_link *ring;
	void *cookie;
	uint32_t kind;
	bool has_timed_out;
	struct xr_timer timer;
};

/* Starts io->io (op, flags, offset, len, iov set) on a descriptor; `done` runs once, later. Or
 * -errno, or API_NOTHING_TO_DO for no bytes: never. On the shard's reactor. */
#define API_NOTHING_TO_DO 1
int api_io_start(struct api_shard *shard, int fd, uint32_t generation, struct api_io *io);

/* How long an I/O took that has come back, at most UINT16_MAX. */
static inline uint16_t api_service_us(const struct xbdev_io *io)
{
	/* A shift for a division: what counts is whether it is a few us or many. */
	uint64_t us = xu_ticks_to_ns(io->ticks) >> 10;

	return us < UINT16_MAX ? (uint16_t)us : UINT16_MAX;
}

/* ---- synchronous I/O: sync.c ---- */

/* What a shard needs for it, before its reactor runs and after it has ended. -ENOMEM. */
int api_sync_init(struct api_shard *shard);
void api_sync_fini(struct api_shard *shard);
/* For a thread that has not been in this round of the library, and for one that ends. */
void api_sync_forget_slots(struct api_thread *thread);
void api_sync_give_slots(struct api_thread *thread);

/* ---- queues ---- */

/* What a client submits; one cache line. */
struct api_sqe {
	void *cookie;
	void *buf; /* or the iov when nr_iov != 0 */
	uint64_t len;
	uint64_t offset;
	uint64_t timeout_us; /* 0: none */
	uint32_t generation;
	int32_t fd;
	uint32_t nr_iov;
	uint8_t op;
	uint8_t flags;
	uint8_t kind; /* enum api_kind */
};
_Static_assert(sizeof(struct api_sqe) <= XU_CACHE_LINE, "one cache line");

struct api_cqe {
	void *cookie;
	int32_t result;
	uint16_t kind;
	uint16_t service_us; /* that it took on the reactor */
};

enum api_kind {
	API_KIND_REQUEST, /* cookie: struct api_request */
	API_KIND_AIO,     /* cookie: the cb_arg */
	API_KIND_BATCH,   /* cookie: struct batch_io */
};

struct api_link {
	struct xu_spsc sq;
	struct xu_spsc cq;
	struct api_queue *queue;
	struct api_shard *shard;
	uint32_t epoch;
	struct api_link *next_old; /* the client's */
	bool is_direct;            /* this thread drives the reactor: no ring on the way there */
	uint32_t nr_staged;        /* the client's: reserved and filled, not committed */
	_Atomic bool is_rung;      /* the reactor will look at the ring */
	struct xr_msg bell;

	/* The reactor's. */
	_Alignas(XU_CACHE_LINE) struct xu_list node;
	struct xu_pool ios; /* struct api_io */
	uint32_t nr_inflight;
	uint32_t nr_done; /* completions filled, not committed */
	bool is_flush_queued;
	bool is_orphan; /* its queue has gone */
	struct xr_msg flush;
	struct xr_msg attach;
	struct xr_msg detach;
};

/* How a client waits for completions. */
enum api_sleep {
	API_AWAKE,
	API_SLEEPS, /* on the queue's futex */
	API_DRIVES, /* in the first reactor, which it drives */
};

struct api_queue {
	uint32_t depth;
	uint32_t nr_out;    /* kept, staged or submitted, and not reaped */
	uint32_t nr_staged; /* of them: in a ring, not committed; only within a call */
	uint32_t nr_kept;   /* of them: not in a ring yet */
	uint32_t flags;
	uint32_t service_us; /* of what was reaped last */
	struct api_link *links[XBDEV_MAX_REACTORS];
	struct api_link *old_first;     /* of ended rounds of the library */
	struct api_sqe *kept;           /* depth entries, made when needed */
	uint32_t next_link;             /* where reaping begins, for fairness */
	struct xbdev_aio_event *events; /* ring of depth: completed, not taken */
	uint32_t first_event, nr_events;
	int first_error; /* of batches, since the last wait */
	bool is_reaping; /* what callbacks submit is started together afterwards */
	_Alignas(XU_CACHE_LINE) _Atomic uint32_t is_sleeping; /* enum api_sleep; futex */
	_Atomic int event_fd;                                 /* -1: none */
	_Atomic bool is_armed;                                /* event_fd wants to be written */
	_Atomic uint32_t nr_refs; /* the client's and each link's: a reactor may just wake it */
};

int api_queue_new(uint32_t depth, uint32_t flags, struct api_queue **ret_queue);
/* Frees it; what is in flight is forgotten by the client and finished by the reactors. */
void api_queue_free(struct api_queue *queue);
void api_queue_ref(struct api_queue *queue);
void api_queue_unref(struct api_queue *queue);
/* The calling thread's, made when needed. Inside api_enter(). */
int api_thread_queue(struct api_thread *thread, struct api_queue **ret_queue);
/* For the end of a thread. */
void api_thread_queue_free(struct api_thread *thread);

/* Fills one entry of the link to the descriptor's reactor (*ret_link) and counts it;
 * api_queue_ring() starts what is filled. -EAGAIN, -EBADF, -EINVAL, -ENOMEM. Inside api_enter(). */
int api_queue_stage(struct api_queue *queue, struct api_thread *thread, struct api_sqe *sqe,
	struct api_link **ret_link);
/* Starts what is staged. */
void api_queue_ring(struct api_queue *queue);
/* Keeps an entry of API_KIND_AIO back and counts it. -EAGAIN, -EBADF, -ENOMEM. Inside api_enter().
 */
int api_queue_keep(struct api_queue *queue, struct api_thread *thread, struct api_sqe *sqe);
/* Starts what is kept; what cannot start becomes an event with the reason. Returns how many. */
uint32_t api_queue_start_kept(struct api_queue *queue, struct api_thread *thread);
/* Completes up to `max` of what is there, waiting until `deadline_ns` for the first. Callbacks that
 * submit anew may have more there at once, so who calls it again and again looks at the time. */
uint32_t api_queue_poll(
	struct api_queue *queue, struct api_thread *thread, uint32_t max, uint64_t deadline_ns);
int api_queue_eventfd(struct api_queue *queue);
/* To the idle queue's successor. */
void api_queue_move_eventfd(struct api_queue *from, struct api_queue *to);
/* The end of `timeout_us` from now; UINT64_MAX never. */
uint64_t api_deadline_ns(uint64_t timeout_us);
bool api_is_past(uint64_t deadline_ns);

/* What a completion of each kind does; in the client's thread. */
void api_request_complete(void *cookie, int result);
void api_batch_complete(struct api_queue *queue, void *cookie, int result);
/* The same when the queue has gone and nobody is told: then they can be freed. Any thread. */
void api_request_forget(void *cookie, int result);
void api_batch_forget(void *cookie, int result);
/* Checks op_type, flags and range of a request and writes range and buffers to the entry. -EINVAL.
 */
int api_request_fill(const xbdev_request_t *req, struct api_sqe *sqe);
/* Submits; the generation is that of its descriptor. */
int api_request_submit_to(struct api_queue *queue, struct api_thread *thread, xbdev_request_t *req,
	uint32_t *ret_generation);
/* Of a request on the queue, which errors call `name`: xbdev_request_wait() and _cancel(). */
#define API_CANCEL_WAIT_US 1000000u
int api_request_wait_on(struct api_queue *queue, const char *name, struct api_thread *thread,
	xbdev_request_t *req, uint64_t deadline_ns);
int api_request_cancel_on(struct api_queue *queue, const char *name, struct api_thread *thread,
	xbdev_request_t *req, uint64_t deadline_ns);

/* The reactor's side: serve.c. */

/* Has the thread that drives the first reactor, and waits in it, look at what it waits for. On this
 * shard's reactor. */
void api_nudge(struct api_shard *shard);
int api_link_new(struct api_queue *queue, uint32_t shard, struct api_link **ret_link);
void api_link_ring(struct api_link *link);
/* Hands over what has completed. The reactor's thread. */
void api_link_commit(struct api_link *link);
void api_link_start(struct api_link *link, const struct api_sqe *sqe);
/* The client lets go of a link: any thread, inside api_enter() or holding the library's mutex. */
void api_link_drop(struct api_link *link);
void api_link_free(struct api_link *link);
/* Whether its round of the library lasts. Inside api_enter() or holding the library's mutex. */
bool api_link_is_current(const struct api_link *link);
/* On the shard's reactor, when the library ends: no I/O is left. */
void api_links_detach(struct api_shard *shard);
/* Ends the I/O of a request early; on the link's reactor. */
void api_link_cancel(struct api_link *link, const void *cookie);

#endif
