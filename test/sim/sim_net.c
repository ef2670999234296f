/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections: two directions of segments on their way, each with what has arrived and was not
 * read. Only the first segment of a direction has an event, so the order of bytes is kept. A
 * segment that cannot pass is tried again, later each time, as TCP does; data that arrives where
 * nobody takes it any more is answered by a reset.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "test/sim/sim_net_private.h"

#define BUFFER_BYTES_DEFAULT (64u << 10)
#define RETRY_MIN_NS         (200 * XU_NS_PER_MS)
#define RETRY_MAX_NS         (120 * XU_NS_PER_S)
#define MAX_RETRIES          15u

enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RESET };

struct segment {
	struct xu_list link;
	uint64_t arrival_ns;
	enum segment_kind kind;
	uint32_t len;
	char data[];
};

/* ---- paths ---- */

void sim_net_set(struct sim *sim, const struct sim_net_opts *opts)
{
	sim->net = *opts;
	if (sim->net.latency_max_ns == 0) {
		sim->net.latency_min_ns = 10 * XU_NS_PER_US;
		sim->net.latency_max_ns = 300 * XU_NS_PER_US;
	}
	if (sim->net.buffer_bytes == 0) {
		sim->net.buffer_bytes = BUFFER_BYTES_DEFAULT;
	}
}

uint64_t sim__net_latency_ns(struct sim *sim)
{
	return sim__between(sim, sim->net.latency_min_ns, sim->net.latency_max_ns);
}

void sim_net_block(
	struct sim *sim, const struct sim_host *from, const struct sim_host *to, bool is_blocked)
{
	uint64_t bit = 1ull << to->machine;

	if (is_blocked) {
		sim->blocked[from->machine] |= bit;
	} else {
		sim->blocked[from->machine] &= ~bit;
	}
}

void sim_net_partition(
	struct sim *sim, const struct sim_host *a, const struct sim_host *b, bool is_blocked)
{
	sim_net_block(sim, a, b, is_blocked);
	sim_net_block(sim, b, a, is_blocked);
}

bool sim__net_is_blocked(
	const struct sim *sim, const struct sim_host *from, const struct sim_host *to)
{
	return from->machine != to->machine &&
	       (sim->blocked[from->machine] & (1ull << to->machine)) != 0;
}

/* ---- directions ---- */

static uint32_t side_of(const struct sim_direction *direction)
{
	return (uint32_t)(direction - direction->conn->directions);
}

static void schedule(struct sim_direction *direction)
{
	struct xu_list *node = xu_list_first(&direction->segments);

	if (node != NULL && !sim__event_is_queued(&direction->event)) {
		sim__event_at(direction->conn->sim, &direction->event,
			xu_list_entry(node, struct segment, link)->arrival_ns);
	}
}

static void drop_inflight(struct sim_direction *direction)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&direction->segments)) != NULL) {
		free(xu_list_entry(node, struct segment, link));
	}
	direction->inflight_bytes = 0;
	direction->nr_retries = 0;
	direction->last_arrival_ns = 0;
	sim__event_del(direction->conn->sim, &direction->event);
}

static void append(
	struct sim_direction *direction, enum segment_kind kind, const void *buf, uint32_t len)
{
	struct segment *segment = sim__alloc(sizeof(*segment) + len);
	struct sim *sim = direction->conn->sim;
	uint64_t arrival_ns = sim->now_ns + sim__net_latency_ns(sim);

	if (arrival_ns < direction->last_arrival_ns) {
		arrival_ns = direction->last_arrival_ns;
	}
	direction->last_arrival_ns = arrival_ns;
	segment->arrival_ns = arrival_ns;
	segment->kind = kind;
	segment->len = len;
	if (len != 0) {
		memcpy(segment->data, buf, len);
	}
	direction->inflight_bytes += len;
	xu_list_add_tail(&direction->segments, &segment->link);
	schedule(direction);
}

static void store(struct sim_direction *direction, const char *data, uint32_t len)
{
	uint32_t size = direction->conn->buffer_bytes;

	assert(direction->arrived_bytes + len <= size);
	for (uint32_t done = 0; done < len;) {
		uint32_t at = (direction->first + direction->arrived_bytes) % size;
		uint32_t part = len - done < size - at ? len - done : size - at;

		memcpy(direction->arrived + at, data + done, part);
		direction->arrived_bytes += part;
		done += part;
	}
}

/* What cannot pass now is tried again, later and later, and not for ever. */
static void try_again(struct sim_direction *direction)
{
	struct sim_conn *conn = direction->conn;
	struct sim_socket *sender = conn->ends[side_of(direction)].socket;
	uint64_t delay_ns = RETRY_MIN_NS
			    << (direction->nr_retries < 12 ? direction->nr_retries : 12);

	if (direction->nr_retries++ == MAX_RETRIES) {
		drop_inflight(direction);
		direction->is_ended = true;
		if (sender != NULL) {
			sim__socket_reset(sender, ETIMEDOUT);
		}
		return;
	}
	sim__event_in(
		conn->sim, &direction->event, delay_ns < RETRY_MAX_NS ? delay_ns : RETRY_MAX_NS);
}

/* The other side answers with a reset, if the way back is open. */
static void bounce(struct sim_direction *direction)
{
	struct sim_conn *conn = direction->conn;
	uint32_t from = side_of(direction);

	if (sim__net_is_blocked(conn->sim, conn->ends[!from].host, conn->ends[from].host)) {
		try_again(direction);
		return;
	}
	drop_inflight(direction);
	direction->is_ended = true;
	sim__conn_reset_peer(conn, !from);
}

static void deliver(struct sim_direction *direction, struct segment *segment)
{
	struct sim_conn *conn = direction->conn;
	struct sim_socket *receiver = conn->ends[!side_of(direction)].socket;
	enum segment_kind kind = segment->kind;

	sim__trace(conn->sim, "arrive", conn->id, side_of(direction),
		(uint64_t)kind << 32 | segment->len, sim__hash(segment->data, segment->len));
	xu_list_del(&segment->link);
	direction->inflight_bytes -= segment->len;
	direction->nr_retries = 0;
	if (kind == SEGMENT_DATA) {
		store(direction, segment->data, segment->len);
	}
	direction->has_fin |= kind == SEGMENT_FIN;
	free(segment);
	schedule(direction);
	if (receiver == NULL) {
		return;
	}
	if (kind == SEGMENT_RESET) {
		sim__socket_reset(receiver, ECONNRESET);
	} else {
		sim__socket_ready(receiver);
	}
}

static void on_arrival(struct sim_event *event)
{
	struct sim_direction *direction = xu_container_of(event, struct sim_direction, event);
	struct sim_conn *conn = direction->conn;
	const struct sim_end *to = &conn->ends[!side_of(direction)];
	const struct sim_end *from = &conn->ends[side_of(direction)];
	struct segment *segment =
		xu_list_entry(xu_list_first(&direction->segments), struct segment, link);
	bool is_lost = sim__net_is_blocked(conn->sim, from->host, to->host) ||
		       (to->is_mute && sim__host_at(conn->sim, to->host->address) == NULL);

	if (is_lost && segment->kind == SEGMENT_RESET) {
		drop_inflight(direction); /* a reset is sent once */
	} else if (is_lost) {
		try_again(direction);
	} else if (segment->kind != SEGMENT_RESET &&
		   (to->is_mute ||
			   (segment->kind == SEGMENT_DATA &&
				   (to->socket == NULL || !sim__socket_takes_data(to->socket))))) {
		bounce(direction);
	} else {
		deliver(direction, segment);
	}
}

/* ---- what sockets do ---- */

uint32_t sim__conn_room(const struct sim_conn *conn, uint32_t side)
{
	const struct sim_direction *direction = &conn->directions[side];
	uint32_t used = direction->inflight_bytes + direction->arrived_bytes;

	return direction->is_ended ? 0 : conn->buffer_bytes - used;
}

void sim__conn_send(struct sim_conn *conn, uint32_t side, const void *buf, uint32_t len)
{
	assert(len != 0 && len <= sim__conn_room(conn, side));
	append(&conn->directions[side], SEGMENT_DATA, buf, len);
}

void sim__conn_fin(struct sim_conn *conn, uint32_t side)
{
	if (!conn->directions[side].is_ended) {
		append(&conn->directions[side], SEGMENT_FIN, NULL, 0);
		conn->directions[side].is_ended = true;
	}
}

void sim__conn_reset_peer(struct sim_conn *conn, uint32_t side)
{
	struct sim_direction *direction = &conn->directions[side];

	/* What was sent before is lost, or comes in time. */
	if (sim__one_in(conn->sim, 2)) {
		drop_inflight(direction);
	}
	append(direction, SEGMENT_RESET, NULL, 0);
	direction->is_ended = true;
}

void sim__conn_take(struct sim_conn *conn, uint32_t side, void *buf, uint32_t len)
{
	struct sim_direction *direction = &conn->directions[!side];
	char *out = buf;

	assert(len <= direction->arrived_bytes);
	while (len != 0) {
		uint32_t left = conn->buffer_bytes - direction->first;
		uint32_t part = len < left ? len : left;

		memcpy(out, direction->arrived + direction->first, part);
		direction->first = (direction->first + part) % conn->buffer_bytes;
		direction->arrived_bytes -= part;
		out += part;
		len -= part;
	}
	if (conn->ends[!side].socket != NULL) {
		sim__socket_ready(conn->ends[!side].socket); /* it has room again */
	}
}

/* ---- life ---- */

struct sim_conn *sim__conn_new(struct sim_socket *client, struct sim_host *client_host,
	struct sim_socket *server, struct sim_host *server_host)
{
	struct sim_conn *conn = sim__alloc(sizeof(*conn));

	conn->sim = client_host->sim;
	conn->id = conn->sim->nr_conns_made++;
	conn->buffer_bytes = conn->sim->net.buffer_bytes;
	conn->ends[0] = (struct sim_end){.socket = client, .host = client_host};
	conn->ends[1] = (struct sim_end){.socket = server, .host = server_host};
	for (uint32_t i = 0; i < 2; i++) {
		struct sim_direction *direction = &conn->directions[i];

		direction->conn = conn;
		direction->event.fn = on_arrival;
		direction->arrived = sim__alloc(conn->buffer_bytes);
		xu_list_init(&direction->segments);
	}
	xu_list_add_tail(&conn->sim->conns, &conn->link);
	return conn;
}

void sim__conn_leave(struct sim_conn *conn, uint32_t side, bool is_mute)
{
	conn->ends[side].socket = NULL;
	conn->ends[side].is_mute = is_mute;
	if (is_mute) {
		drop_inflight(&conn->directions[side]);
		conn->directions[side].is_ended = true;
	}
	if (conn->ends[!side].socket != NULL) {
		return;
	}
	for (uint32_t i = 0; i < 2; i++) {
		drop_inflight(&conn->directions[i]);
		free(conn->directions[i].arrived);
	}
	xu_list_del(&conn->link);
	free(conn);
}

static bool is_between(
	const struct sim_conn *conn, const struct sim_host *a, const struct sim_host *b)
{
	for (uint32_t i = 0; i < 2; i++) {
		if ((a == NULL || conn->ends[i].host == a) &&
			(b == NULL || conn->ends[!i].host == b)) {
			return true;
		}
	}
	return false;
}

uint32_t sim_net_cut(struct sim *sim, const struct sim_host *a, const struct sim_host *b)
{
	struct xu_list *node;
	uint32_t count = 0;

	xu_list_for_each (node, &sim->conns) {
		struct sim_conn *conn = xu_list_entry(node, struct sim_conn, link);

		if (!is_between(conn, a, b)) {
			continue;
		}
		count++;
		for (uint32_t i = 0; i < 2; i++) {
			sim__conn_reset_peer(conn, i);
		}
	}
	return count;
}

uint32_t sim_net_nr_connections(const struct sim *sim)
{
	struct xu_list *node;
	uint32_t count = 0;

	xu_list_for_each (node, &sim->conns) {
		count++;
	}
	return count;
}

void sim__net_fini(struct sim *sim)
{
	assert(xu_list_is_empty(&sim->conns));
	(void)sim;
}
