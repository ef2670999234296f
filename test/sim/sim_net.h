/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network between simulated hosts: TCP as its users see it. Bytes arrive in order, some time
 * later, cut into pieces anywhere; buffers are bounded; a connection ends with the end of its
 * stream or with a reset. A path that is blocked delays what is on it: TCP tries again for a
 * quarter of an hour and then gives up with -ETIMEDOUT. 127.0.0.1 and ::1 are the host itself.
 *
 * Simplified: no congestion, no keep-alive, no acknowledgements of their own, so a path blocked
 * in one direction stops only what goes in that direction (and new connections).
 */
#ifndef TEST_SIM_NET_H
#define TEST_SIM_NET_H

#include <stdbool.h>
#include <stdint.h>

struct sim;
struct sim_host;

struct sim_net_opts {
	uint64_t latency_min_ns; /* both 0: 10 us … 300 us */
	uint64_t latency_max_ns;
	uint32_t buffer_bytes; /* in flight and unread, per direction; 0: 64 KiB */
};

/* For connections made from now on; the latency for all. */
void sim_net_set(struct sim *sim, const struct sim_net_opts *opts);

/* Nothing gets from one host to the other any more, or again. A rebooted host is the same one. */
void sim_net_block(
	struct sim *sim, const struct sim_host *from, const struct sim_host *to, bool is_blocked);
/* The same, in both directions. */
void sim_net_partition(
	struct sim *sim, const struct sim_host *a, const struct sim_host *b, bool is_blocked);

/* Sends a reset to both ends of all connections between two hosts; NULL: any host. Returns how
 * many. A reset is lost on a path that is blocked. */
uint32_t sim_net_cut(struct sim *sim, const struct sim_host *a, const struct sim_host *b);

/* Connections that have not been closed on both sides. */
uint32_t sim_net_nr_connections(const struct sim *sim);

#endif
