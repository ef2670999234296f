/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to test/sim: events, hosts, descriptors, and operations on their way. */
#ifndef TEST_SIM_PRIVATE_H
#define TEST_SIM_PRIVATE_H

#include <stdlib.h>

#include "lib/reactor/reactor.h"
#include "test/sim/sim.h"
#include "test/sim/sim_disk.h"
#include "test/sim/sim_net.h"

/* Something that happens at a time; in the heap while `index` is not 0. */
struct sim_event {
	uint64_t time_ns;
	uint64_t order; /* among those of one time: random */
	uint32_t index;
	void (*fn)(struct sim_event *event);
};

struct sim {
	uint64_t seed;
	uint64_t now_ns;
	uint64_t trace_hash;
	bool is_traced;
	bool is_running;              /* in sim_run(), which is not to be called from within */
	struct xu_random random;      /* the world's */
	struct xu_random test_random; /* the test's */
	struct sim_event **heap;      /* from index 1 */
	uint32_t nr_events, heap_size;
	struct xu_list hosts;
	struct xu_list rings;
	struct sim_ring **order; /* a round's order of rings */
	uint32_t nr_rings, order_size;
	uint32_t rings_version; /* changes when a ring is made or freed */
	uint32_t nr_machines;
	uint32_t nr_rings_made;
	uint64_t nr_ops_made;
	uint64_t nr_conns_made;
	uint64_t blocked[SIM_MAX_MACHINES]; /* [from]: bits of those it cannot reach */
	struct sim_net_opts net;
	struct xu_list conns;
};

enum sim_host_state { SIM_HOST_UP, SIM_HOST_PAUSED, SIM_HOST_DEAD, SIM_HOST_BURIED };

struct sim_host {
	struct xr_platform platform;
	struct xu_clock clock;
	struct sim *sim;
	struct xu_list link;
	char name[64];
	char address[XR_ADDRESS_SIZE];
	uint32_t machine;
	enum sim_host_state state;
	uint64_t clock_offset_ns;
	int64_t wall_skew_ns;
	struct xu_random entropy;
	struct xu_list disks;
	struct xu_list sockets;
	struct xu_list works;   /* struct sim_work, waiting for their time */
	struct xu_list orphans; /* operations whose host has ended */
	struct sim_object **fds;
	uint32_t nr_fds, nr_open;
	uint16_t next_port;
};

/* What a descriptor stands for; it lives as long as a descriptor or an operation holds it. */
struct sim_object {
	const struct sim_object_ops *ops;
	struct sim_host *host;
	uint32_t refs;
};

struct sim_op;
struct sim_object_ops {
	bool is_socket;
	/* Begins the operation; it ends by sim__op_complete(). */
	void (*start)(struct sim_object *object, struct sim_op *sop);
	/* Ends it with -ECANCELED if that can still be. */
	void (*cancel)(struct sim_object *object, struct sim_op *sop);
	void (*release)(struct sim_object *object);
};

struct sim_ring {
	struct sim_host *host;
	struct xr_reactor *reactor;
	uint32_t index; /* among all of the world, for the trace */
	uint64_t wake_ns;
	struct xu_list link;
	struct xu_list submitted; /* not given to the kernel yet */
	struct xu_list completed; /* not called back yet */
	struct xu_list cancels;   /* asked for and not done yet, by cancel_link */
	uint32_t nr_pending, nr_completed;
};

/* An operation that a ring has. */
struct sim_op {
	struct xr_op *op;
	struct sim_ring *ring;
	struct sim_object *object;
	uint64_t id;
	int32_t result;
	bool is_completed;
	struct xu_list link; /* in the ring, in its object, or among the orphans */
	struct xu_list cancel_link;

	/* The object's. */
	struct sim_event event;
	struct sim_log_entry *entry;
	uint64_t done_bytes; /* disk: to be read; socket: sent so far */
	uint64_t complete_ns;
	bool is_flipped;
};

/* sim.c */
void *sim__alloc(size_t size); /* zeroed; never NULL */
uint64_t sim__mix(uint64_t hash, uint64_t value);
uint64_t sim__hash(const void *buf, size_t len);
void sim__trace(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
void sim__event_at(struct sim *sim, struct sim_event *event, uint64_t time_ns);
void sim__event_in(struct sim *sim, struct sim_event *event, uint64_t delay_ns);
void sim__event_del(struct sim *sim, struct sim_event *event);
static inline bool sim__event_is_queued(const struct sim_event *event)
{
	return event->index != 0;
}
/* A number between min and max, both included. */
uint64_t sim__between(struct sim *sim, uint64_t min, uint64_t max);
/* True once in `n` times; never for 0. */
bool sim__one_in(struct sim *sim, uint32_t n);

/* sim_host.c */
static inline struct sim_host *sim__host_of(const struct xr_platform *platform)
{
	return xu_container_of(platform, struct sim_host, platform);
}
int sim__fd_new(struct sim_host *host, struct sim_object *object); /* takes the reference */
struct sim_object *sim__fd_object(struct sim_host *host, int fd);  /* NULL: not open */
void sim__object_init(
	struct sim_object *object, struct sim_host *host, const struct sim_object_ops *ops);
void sim__object_put(struct sim_object *object);
bool sim__host_has_ended(const struct sim_host *host);
void sim__host_free(struct sim_host *host);
/* The living host of a machine with this address; NULL when there is none. */
struct sim_host *sim__host_at(struct sim *sim, const char *address);

/* sim_ring.c */
int sim__ring_new(const struct xr_platform *platform, struct xr_reactor *reactor, uint32_t entries,
	const struct xr_ring_ops **ret_ops, void **ret_ring, struct xu_error *err);
void sim__op_complete(struct sim_op *sop, int32_t result);
/* The host has ended: takes an operation from its object, or all that the rings hold; they end when
 * it is buried. */
void sim__op_orphan(struct sim_op *sop);
void sim__rings_orphan(struct sim_host *host);
void sim__rings_bury(struct sim_host *host);
void sim__work_submit(const struct xr_platform *platform, struct xr_work *work);
void sim__works_freeze(struct sim_host *host);
void sim__works_bury(struct sim_host *host);
void sim__works_free(struct sim_host *host);
uint64_t sim__op_len(const struct xr_op *op);
void sim__op_scatter(const struct xr_op *op, uint64_t skip, const void *buf, uint64_t len);
void sim__op_gather(const struct xr_op *op, uint64_t skip, void *buf, uint64_t len);

/* sim_file.c */
int sim__file_open(const struct xr_platform *platform, const char *path,
	const struct xr_file_opts *opts, struct xr_file_info *ret_info, struct xu_error *err);
int sim__file_info(const struct xr_platform *platform, int fd, struct xr_file_info *ret_info);
int sim__file_sync(const struct xr_platform *platform, int fd);
int sim__file_resize(const struct xr_platform *platform, int fd, uint64_t size_bytes);
bool sim__file_can(const struct xr_platform *platform, int fd, int fallocate_mode);
int sim__file_discard(
	const struct xr_platform *platform, int fd, uint64_t offset, uint64_t len, bool is_zero);

/* sim_disk.c */
void sim__disk_free(struct sim_disk *disk);
void sim__disk_move(struct sim_disk *disk, struct sim_host *host);
/* The process that used it has been killed: what is in flight happens or not. */
void sim__disk_settle(struct sim_disk *disk);

/* sim_net.c */
void sim__net_fini(struct sim *sim);

/* sim_socket.c: the host has ended, with or without its kernel. */
void sim__sockets_mute(struct sim_host *host);
void sim__sockets_close(struct sim_host *host);
int sim__tcp_listen(const struct xr_platform *platform, const struct xr_listen_opts *opts,
	struct xu_error *err);
int sim__tcp_socket(const struct xr_platform *platform, const char *address);
int sim__sock_name(const struct xr_platform *platform, int fd, bool is_peer,
	char address[XR_ADDRESS_SIZE], uint16_t *ret_port);
void sim__sock_tune(const struct xr_platform *platform, int fd);
void sim__sock_shutdown(const struct xr_platform *platform, int fd);

#endif
