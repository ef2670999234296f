/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to test/sim: connections, between the network and the sockets. */
#ifndef TEST_SIM_NET_PRIVATE_H
#define TEST_SIM_NET_PRIVATE_H

#include "test/sim/sim_private.h"

struct sim_socket;

/* From one end of a connection to the other. */
struct sim_direction {
	struct sim_conn *conn;
	struct sim_event event;  /* the arrival of the first segment */
	struct xu_list segments; /* in flight */
	uint64_t last_arrival_ns;
	uint32_t inflight_bytes;
	uint32_t nr_retries;
	bool is_ended; /* a FIN or a reset was sent: nothing follows */
	/* What has arrived and was not read: a ring of conn->buffer_bytes. */
	char *arrived;
	uint32_t first, arrived_bytes;
	bool has_fin;
};

struct sim_end {
	struct sim_socket *socket; /* NULL: closed, or mute */
	struct sim_host *host;
	bool is_mute; /* its host lost power: no answer from there */
};

struct sim_conn {
	struct sim *sim;
	struct xu_list link;
	uint64_t id;
	uint32_t buffer_bytes;
	struct sim_end ends[2];
	struct sim_direction directions[2]; /* [i]: from end i */
};

/* sim_net.c. `side` is the caller's end. */
struct sim_conn *sim__conn_new(struct sim_socket *client, struct sim_host *client_host,
	struct sim_socket *server, struct sim_host *server_host);
uint32_t sim__conn_room(const struct sim_conn *conn, uint32_t side);
void sim__conn_send(struct sim_conn *conn, uint32_t side, const void *buf, uint32_t len);
void sim__conn_fin(struct sim_conn *conn, uint32_t side);
void sim__conn_reset_peer(struct sim_conn *conn, uint32_t side);
static inline uint32_t sim__conn_available(const struct sim_conn *conn, uint32_t side)
{
	return conn->directions[!side].arrived_bytes;
}
static inline bool sim__conn_has_fin(const struct sim_conn *conn, uint32_t side)
{
	return conn->directions[!side].has_fin;
}
void sim__conn_take(struct sim_conn *conn, uint32_t side, void *buf, uint32_t len);
/* The socket is no more; frees the connection when that was the last. */
void sim__conn_leave(struct sim_conn *conn, uint32_t side, bool is_mute);
bool sim__net_is_blocked(
	const struct sim *sim, const struct sim_host *from, const struct sim_host *to);
uint64_t sim__net_latency_ns(struct sim *sim);

/* sim_socket.c: what has come over the connection. */
void sim__socket_ready(struct sim_socket *socket);
void sim__socket_reset(struct sim_socket *socket, int error);
bool sim__socket_takes_data(const struct sim_socket *socket);

#endif
