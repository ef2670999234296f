/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The context: the reactors, and what hangs off them. There is no other global state; ten contexts
 * may live in one process. Reactor 0 is the control reactor: it owns the device graph.
 */
#ifndef XBDEV_CORE_CONTEXT_H
#define XBDEV_CORE_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/reactor/reactor.h"

#define XBDEV_MAX_REACTORS 64u

struct xbdev_ctx;
struct xu_error;
struct xu_logger;

struct xbdev_ctx_opts {
	const struct xr_platform *platform; /* NULL: Linux */
	struct xu_logger *log;              /* borrowed; NULL: silent */
	uint32_t nr_reactors;               /* 0: 1 */
	const int *cpus;                    /* nr_reactors CPUs to pin to; NULL: do not pin */
	uint64_t spin_max_ns;
	size_t buf_limit_bytes; /* per reactor; 0: default */
};

/* Makes the context with its reactors, none running. */
int xbdev_ctx_new(
	const struct xbdev_ctx_opts *opts, struct xbdev_ctx **ret_ctx, struct xu_error *err);

/* Starts a thread for every reactor from number `first` on: 0 for all, 1 when the caller's own
 * thread polls the control reactor. */
int xbdev_ctx_start(struct xbdev_ctx *ctx, uint32_t first, struct xu_error *err);
/* Stops those threads. */
void xbdev_ctx_stop(struct xbdev_ctx *ctx);
/* Frees the context; no device may be left (asserted) and no thread running. NULL is fine. */
void xbdev_ctx_free(struct xbdev_ctx *ctx);

uint32_t xbdev_ctx_nr_reactors(const struct xbdev_ctx *ctx);
struct xr_reactor *xbdev_ctx_reactor(const struct xbdev_ctx *ctx, uint32_t index);
static inline struct xr_reactor *xbdev_ctx_control(const struct xbdev_ctx *ctx)
{
	return xbdev_ctx_reactor(ctx, 0);
}
struct xu_logger *xbdev_ctx_log(const struct xbdev_ctx *ctx);
const struct xr_platform *xbdev_ctx_platform(const struct xbdev_ctx *ctx);

/* The reactor that a new stack of devices is to live on: each in turn, those of the NUMA node first
 * (-1: any). On the control reactor. */
struct xr_reactor *xbdev_ctx_next_owner(struct xbdev_ctx *ctx, int32_t numa_node);

/*
 * How many rebuilds of arrays may run at a time in this context, and who waits for a turn; kept by
 * lib/xbdev/raid/turn.c on any reactor. Priorities go from 0 to the highest.
 */
#define XBDEV_REBUILD_PRIORITIES       8u
#define XBDEV_REBUILD_PRIORITY_DEFAULT 4u

struct xbdev_rebuilds {
	_Atomic uint32_t max; /* 0: no limit */
	_Atomic uint32_t nr_running;
	_Atomic uint32_t nr_waiting[XBDEV_REBUILD_PRIORITIES];
};

struct xbdev_rebuilds *xbdev_ctx_rebuilds(struct xbdev_ctx *ctx);

/* What a layer above keeps for a context, one of each kind: found by its function, which runs when
 * the reactors have gone. Adding and finding are for the control reactor, or before it runs. */
struct xbdev_ctx_part {
	void (*free)(struct xbdev_ctx_part *part);
	struct xu_list link;
};

void xbdev_ctx_add_part(struct xbdev_ctx *ctx, struct xbdev_ctx_part *part);
/* NULL: there is none. */
struct xbdev_ctx_part *xbdev_ctx_find_part(
	const struct xbdev_ctx *ctx, void (*free)(struct xbdev_ctx_part *part));

/*
 * Told of every change of the device graph, on the control reactor: a device has been added, is
 * about to be freed after its removal, or has another size. Listeners are told in the order in
 * which they came. `fn` may take its own listener away, no other.
 */
enum xbdev_graph_event { XBDEV_GRAPH_ADDED, XBDEV_GRAPH_REMOVED, XBDEV_GRAPH_RESIZED };
struct xbdev_device;
struct xbdev_graph_listener {
	void (*fn)(struct xbdev_graph_listener *listener, enum xbdev_graph_event event,
		struct xbdev_device *dev);
	struct xu_list link;
};

/* On the control reactor, or before it runs. The listener is the caller's and stays until it is
 * taken away again; one that is not there is left alone (its link must be initialised). */
void xbdev_ctx_add_listener(struct xbdev_ctx *ctx, struct xbdev_graph_listener *listener);
void xbdev_ctx_del_listener(struct xbdev_graph_listener *listener);

/*
 * One message that visits every reactor in turn and then comes home: `fn` runs on each reactor,
 * `done` on the control reactor. It needs no memory but its own and so cannot fail.
 */
struct xbdev_hop {
	struct xr_msg msg;
	struct xbdev_ctx *ctx;
	uint32_t next;
	void (*fn)(struct xbdev_hop *hop, struct xr_reactor *reactor);
	void (*done)(struct xbdev_hop *hop);
};

void xbdev_hop_start(struct xbdev_hop *hop, struct xbdev_ctx *ctx);

#endif
