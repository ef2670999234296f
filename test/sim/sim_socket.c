/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets: operations that wait for the connection, and the connection's life.
 *
 *   NEW --connect--> CONNECTING --> CONNECTED        NEW --tcp_listen--> LISTENING
 *
 * A RECV gets any number of the bytes that are there; a SEND goes into the connection in pieces as
 * there is room. Which of several waiting operations is served is random, as it is in the kernel:
 * who has two SENDs on one socket gets them mixed. Errors are told once; afterwards RECV gives 0
 * and SEND -EPIPE. A socket is released when its descriptor is closed and no operation is left:
 * with unread data by a reset, else by the end of the stream.
 *
 * A connection request without an answer is repeated after 1, 2, 4 … seconds and fails with
 * -ETIMEDOUT after the sixth.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/reactor/address.h"
#include "lib/util/error.h"
#include "test/sim/sim_net_private.h"

#define LAST_PORT     60999u
#define FIRST_PORT    32768u
#define MAX_SYN_TRIES 6u

enum socket_state { SOCKET_NEW, SOCKET_CONNECTING, SOCKET_CONNECTED, SOCKET_LISTENING };

struct name {
	char address[XR_ADDRESS_SIZE];
	uint16_t port;
};

struct sim_socket {
	struct sim_object base;
	struct xu_list link;
	enum socket_state state;
	struct name local, peer;
	struct sim_conn *conn;
	uint32_t side;
	int error; /* errno to be told once */
	bool is_reset;
	bool is_shut;
	struct xu_list recvs, sends, accepts, polls, connects; /* at most one connect */

	/* While connecting. */
	struct sim_event event;
	uint32_t nr_tries;

	/* Listening: what nobody has accepted yet. */
	struct xu_list queue, queue_link;
	uint32_t nr_queued, backlog;
};

static const struct sim_object_ops socket_ops;

static struct sim_socket *socket_of(struct sim_object *object)
{
	return xu_container_of(object, struct sim_socket, base);
}

static struct sim_socket *socket_new(struct sim_host *host)
{
	struct sim_socket *socket = sim__alloc(sizeof(*socket));

	sim__object_init(&socket->base, host, &socket_ops);
	xu_list_init(&socket->recvs);
	xu_list_init(&socket->sends);
	xu_list_init(&socket->accepts);
	xu_list_init(&socket->polls);
	xu_list_init(&socket->connects);
	xu_list_init(&socket->queue);
	xu_list_init(&socket->queue_link);
	xu_list_add_tail(&host->sockets, &socket->link);
	return socket;
}

/* ---- serving what waits ---- */

/* One of the operations that wait, at random. */
static struct sim_op *pick(struct sim *sim, const struct xu_list *list)
{
	struct xu_list *node;
	uint32_t count = 0;

	xu_list_for_each (node, list) {
		count++;
	}
	count = (uint32_t)xu_random_below(&sim->random, count);
	for (node = list->next; count-- != 0; node = node->next) {
	}
	return xu_list_entry(node, struct sim_op, link);
}

static int take_error(struct sim_socket *socket)
{
	int error = socket->error;

	socket->error = 0;
	return error;
}

static uint32_t available(const struct sim_socket *socket)
{
	return socket->conn != NULL ? sim__conn_available(socket->conn, socket->side) : 0;
}

static bool is_at_end(const struct sim_socket *socket)
{
	return socket->is_reset || socket->is_shut || socket->conn == NULL ||
	       sim__conn_has_fin(socket->conn, socket->side);
}

/* How many of `most` bytes go at a time: anything. */
static uint32_t draw_part(struct sim *sim, uint64_t most)
{
	uint64_t kind = sim__between(sim, 0, 3);

	if (kind >= 2) {
		return (uint32_t)most;
	}
	return (uint32_t)sim__between(sim, 1, kind == 0 && most > 16 ? 16 : most);
}

static void recv_some(struct sim_socket *socket, struct sim_op *sop)
{
	uint64_t most = sim__op_len(sop->op);
	uint32_t len = available(socket);
	char *data;

	if (len < most) {
		most = len;
	}
	len = most != 0 ? draw_part(socket->base.host->sim, most) : 0;
	data = sim__alloc((size_t)len + 1);
	sim__conn_take(socket->conn, socket->side, data, len);
	sim__op_scatter(sop->op, 0, data, len);
	free(data);
	sim__op_complete(sop, (int32_t)len);
}

static void serve_recvs(struct sim_socket *socket)
{
	while (!xu_list_is_empty(&socket->recvs)) {
		struct sim_op *sop = pick(socket->base.host->sim, &socket->recvs);

		if (available(socket) != 0) {
			recv_some(socket, sop);
		} else if (socket->error != 0) {
			sim__op_complete(sop, -take_error(socket));
		} else if (is_at_end(socket)) {
			sim__op_complete(sop, 0);
		} else {
			return;
		}
	}
}

/* Returns false when there is no room. */
static bool send_some(struct sim_socket *socket, struct sim_op *sop)
{
	uint64_t len = sim__op_len(sop->op), left = len - sop->done_bytes;
	uint32_t room = sim__conn_room(socket->conn, socket->side), part;
	char *data;

	if (left != 0 && room == 0) {
		return false;
	}
	if (left != 0) {
		part = draw_part(socket->base.host->sim, left < room ? left : room);
		data = sim__alloc(part);
		sim__op_gather(sop->op, sop->done_bytes, data, part);
		sim__conn_send(socket->conn, socket->side, data, part);
		free(data);
		sop->done_bytes += part;
		left -= part;
	}
	if (left == 0) {
		sim__op_complete(sop, (int32_t)len);
	}
	return true;
}

static void serve_sends(struct sim_socket *socket)
{
	while (!xu_list_is_empty(&socket->sends)) {
		struct sim_op *sop = pick(socket->base.host->sim, &socket->sends);

		if (socket->error != 0) {
			sim__op_complete(sop, -take_error(socket));
		} else if (socket->is_reset || socket->is_shut || socket->conn == NULL) {
			sim__op_complete(sop, -EPIPE);
		} else if (!send_some(socket, sop)) {
			return;
		}
	}
}

static uint32_t poll_mask(const struct sim_socket *socket)
{
	uint32_t mask = 0;

	if (socket->state == SOCKET_LISTENING) {
		return socket->nr_queued != 0 ? POLLIN : 0;
	}
	if (socket->state != SOCKET_CONNECTED) {
		return socket->state == SOCKET_NEW ? POLLOUT | POLLHUP : 0;
	}
	if (available(socket) != 0 || is_at_end(socket) || socket->error != 0) {
		mask |= POLLIN;
	}
	if (is_at_end(socket)) {
		mask |= POLLRDHUP;
	}
	if (socket->is_reset || socket->is_shut ||
		sim__conn_room(socket->conn, socket->side) != 0) {
		mask |= POLLOUT;
	}
	return mask | (socket->error != 0 ? POLLERR : 0) | (socket->is_reset ? POLLHUP : 0);
}

static void serve_polls(struct sim_socket *socket)
{
	struct xu_list *node, *next;
	uint32_t mask = poll_mask(socket);

	xu_list_for_each_safe (node, next, &socket->polls) {
		struct sim_op *sop = xu_list_entry(node, struct sim_op, link);
		uint32_t events = mask & (sop->op->poll_events | POLLERR | POLLHUP);

		if (events != 0) {
			sim__op_complete(sop, (int32_t)events);
		}
	}
}

static void serve_accepts(struct sim_socket *socket)
{
	while (!xu_list_is_empty(&socket->accepts) && socket->nr_queued != 0) {
		struct sim_socket *accepted =
			xu_list_entry(xu_list_pop(&socket->queue), struct sim_socket, queue_link);

		socket->nr_queued--;
		sim__op_complete(pick(socket->base.host->sim, &socket->accepts),
			sim__fd_new(socket->base.host, &accepted->base));
	}
}

/* Something has changed. The socket stays while it is served, even when its last user goes. */
void sim__socket_ready(struct sim_socket *socket)
{
	socket->base.refs++;
	if (socket->state == SOCKET_LISTENING) {
		serve_accepts(socket);
	} else if (socket->state == SOCKET_CONNECTED) {
		if (sim__one_in(socket->base.host->sim, 2)) {
			serve_recvs(socket);
			serve_sends(socket);
		} else {
			serve_sends(socket);
			serve_recvs(socket);
		}
	}
	serve_polls(socket);
	sim__object_put(&socket->base);
}

void sim__socket_reset(struct sim_socket *socket, int error)
{
	if (!socket->is_reset) {
		socket->error = error;
		socket->is_reset = true;
		sim__socket_ready(socket);
	}
}

bool sim__socket_takes_data(const struct sim_socket *socket)
{
	return !socket->is_reset && !socket->is_shut;
}

/* ---- names ---- */

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* True when a listener on `bound` gets what is sent to `address`. */
static bool covers(const char *bound, const char *address)
{
	bool is_same_family = (strchr(bound, ':') != NULL) == (strchr(address, ':') != NULL);

	return strcmp(bound, address) == 0 || (is_same_family && xr_address_is_wildcard(bound));
}

static struct sim_socket *find_listener(struct sim_host *host, const char *address, uint16_t port)
{
	struct xu_list *node;

	xu_list_for_each (node, &host->sockets) {
		struct sim_socket *socket = xu_list_entry(node, struct sim_socket, link);

		if (socket->state == SOCKET_LISTENING && socket->local.port == port &&
			(covers(socket->local.address, address) ||
				covers(address, socket->local.address))) {
			return socket;
		}
	}
	return NULL;
}

static bool is_port_free(struct sim_host *host, uint16_t port)
{
	struct xu_list *node;

	xu_list_for_each (node, &host->sockets) {
		if (xu_list_entry(node, struct sim_socket, link)->local.port == port) {
			return false;
		}
	}
	return true;
}

static uint16_t next_port(struct sim_host *host)
{
	do {
		if (host->next_port++ == LAST_PORT) {
			host->next_port = FIRST_PORT;
		}
	} while (!is_port_free(host, host->next_port));
	return host->next_port;
}

/* ---- connecting ---- */

static void finish_connect(struct sim_socket *socket, int32_t result)
{
	struct xu_list *node = xu_list_first(&socket->connects);

	sim__event_del(socket->base.host->sim, &socket->event);
	socket->state = result == 0 ? SOCKET_CONNECTED : SOCKET_NEW;
	if (node == NULL) {
		return;
	}
	socket->base.refs++;
	sim__op_complete(xu_list_entry(node, struct sim_op, link), result);
	sim__socket_ready(socket); /* data may have come already */
	sim__object_put(&socket->base);
}

static void on_established(struct sim_event *event)
{
	finish_connect(xu_container_of(event, struct sim_socket, event), 0);
}

static void on_refused(struct sim_event *event)
{
	finish_connect(xu_container_of(event, struct sim_socket, event), -ECONNREFUSED);
}

static void answer(struct sim_socket *socket, void (*fn)(struct sim_event *event))
{
	struct sim *sim = socket->base.host->sim;

	socket->event.fn = fn;
	sim__event_in(sim, &socket->event, sim__net_latency_ns(sim));
}

static void enqueue(struct sim_socket *listener, struct sim_socket *client)
{
	struct sim_host *host = listener->base.host;
	struct sim_socket *server = socket_new(host);

	server->state = SOCKET_CONNECTED;
	server->local = client->peer;
	server->peer = client->local;
	server->conn = sim__conn_new(client, client->base.host, server, host);
	server->side = 1;
	client->conn = server->conn;
	client->side = 0;
	sim__trace(host->sim, "connect", server->conn->id, client->base.host->machine,
		host->machine, client->peer.port);
	xu_list_add_tail(&listener->queue, &server->queue_link);
	listener->nr_queued++;
	sim__socket_ready(listener);
}

static void on_request(struct sim_event *event)
{
	struct sim_socket *socket = xu_container_of(event, struct sim_socket, event);
	struct sim_host *host = socket->base.host, *target;
	struct sim_socket *listener = NULL;

	target = is_loopback(socket->peer.address) ? host
						   : sim__host_at(host->sim, socket->peer.address);
	if (target != NULL && !sim__net_is_blocked(host->sim, host, target) &&
		!sim__net_is_blocked(host->sim, target, host)) {
		listener = find_listener(target, socket->peer.address, socket->peer.port);
		if (listener == NULL) {
			answer(socket, on_refused);
			return;
		}
		if (listener->nr_queued <= listener->backlog) {
			answer(socket, on_established);
			enqueue(listener, socket);
			return;
		}
	}
	if (socket->nr_tries++ == MAX_SYN_TRIES) {
		finish_connect(socket, -ETIMEDOUT);
		return;
	}
	sim__event_in(host->sim, event, XU_NS_PER_S << (socket->nr_tries - 1));
}

static void start_connect(struct sim_socket *socket, struct sim_op *sop)
{
	struct sockaddr_storage addr = {0};
	int rc = 0;

	if (socket->state != SOCKET_NEW || socket->is_shut || socket->is_reset) {
		rc = socket->state == SOCKET_CONNECTING ? -EALREADY : -EISCONN;
	} else if (sop->op->addr_len > sizeof(addr)) {
		rc = -EINVAL;
	} else {
		memcpy(&addr, sop->op->addr, sop->op->addr_len);
		rc = xr_address_format(&addr, socket->peer.address, &socket->peer.port);
	}
	if (rc != 0) {
		sim__op_complete(sop, rc);
		return;
	}
	strcpy(socket->local.address, is_loopback(socket->peer.address)
					      ? socket->peer.address
					      : socket->base.host->address);
	socket->local.port = next_port(socket->base.host);
	socket->state = SOCKET_CONNECTING;
	socket->nr_tries = 0;
	xu_list_add_tail(&socket->connects, &sop->link);
	answer(socket, on_request);
}

/* ---- operations ---- */

static void socket_start(struct sim_object *object, struct sim_op *sop)
{
	struct sim_socket *socket = socket_of(object);
	bool is_connected = socket->state == SOCKET_CONNECTED;

	switch ((enum xr_opcode)sop->op->opcode) {
	case XR_OP_RECV:
	case XR_OP_SEND:
		if (!is_connected && !socket->is_reset) {
			sim__op_complete(sop, sop->op->opcode == XR_OP_RECV ? -ENOTCONN : -EPIPE);
			return;
		}
		xu_list_add_tail(sop->op->opcode == XR_OP_RECV ? &socket->recvs : &socket->sends,
			&sop->link);
		break;
	case XR_OP_ACCEPT:
		if (socket->state != SOCKET_LISTENING) {
			sim__op_complete(sop, -EINVAL);
			return;
		}
		xu_list_add_tail(&socket->accepts, &sop->link);
		break;
	case XR_OP_CONNECT:
		start_connect(socket, sop);
		return;
	case XR_OP_POLL:
		xu_list_add_tail(&socket->polls, &sop->link);
		break;
	default:
		sim__op_complete(sop, sop->op->opcode == XR_OP_FALLOCATE ? -ENODEV : -EINVAL);
		return;
	}
	sim__socket_ready(socket);
}

static void drop_conn(struct sim_socket *socket, bool is_reset)
{
	struct sim_conn *conn = socket->conn;

	if (conn == NULL) {
		return;
	}
	socket->conn = NULL;
	if (is_reset) {
		sim__conn_reset_peer(conn, socket->side);
	} else if (!socket->is_reset) {
		sim__conn_fin(conn, socket->side);
	}
	sim__conn_leave(conn, socket->side, false);
}

static void socket_cancel(struct sim_object *object, struct sim_op *sop)
{
	struct sim_socket *socket = socket_of(object);

	if (sop->op->opcode == XR_OP_CONNECT) {
		sim__event_del(socket->base.host->sim, &socket->event);
		drop_conn(socket, true);
		socket->state = SOCKET_NEW;
	}
	sim__op_complete(sop, -ECANCELED);
}

/* ---- ends ---- */

static void drop_queue(struct sim_socket *socket)
{
	struct xu_list *node;

	while ((node = xu_list_pop(&socket->queue)) != NULL) {
		struct sim_socket *waiting = xu_list_entry(node, struct sim_socket, queue_link);

		drop_conn(waiting, true);
		sim__object_put(&waiting->base);
	}
	socket->nr_queued = 0;
}

static void socket_release(struct sim_object *object)
{
	struct sim_socket *socket = socket_of(object);

	sim__event_del(object->host->sim, &socket->event);
	drop_queue(socket);
	drop_conn(socket, available(socket) != 0);
	xu_list_del(&socket->queue_link);
	xu_list_del(&socket->link);
	free(socket);
}

static const struct sim_object_ops socket_ops = {
	.is_socket = true,
	.start = socket_start,
	.cancel = socket_cancel,
	.release = socket_release,
};

static void orphan_all(struct xu_list *list)
{
	struct xu_list *node;

	while ((node = xu_list_first(list)) != NULL) {
		sim__op_orphan(xu_list_entry(node, struct sim_op, link));
	}
}

/* Leaves of a socket only what its descriptor holds. */
static void end_socket(struct sim_socket *socket, bool is_mute)
{
	struct sim_conn *conn = socket->conn;

	orphan_all(&socket->recvs);
	orphan_all(&socket->sends);
	orphan_all(&socket->accepts);
	orphan_all(&socket->polls);
	orphan_all(&socket->connects);
	sim__event_del(socket->base.host->sim, &socket->event);
	socket->state = SOCKET_NEW;
	if (!is_mute) {
		drop_conn(socket, available(socket) != 0);
	} else if (conn != NULL) {
		socket->conn = NULL;
		sim__conn_leave(conn, socket->side, true);
	}
}

static void end_sockets(struct sim_host *host, bool is_mute)
{
	struct sim_socket **all;
	struct xu_list *node;
	uint32_t count = 0, i = 0;

	xu_list_for_each (node, &host->sockets) {
		count++;
	}
	all = sim__alloc((count + 1) * sizeof(struct sim_socket *));
	xu_list_for_each (node, &host->sockets) {
		all[i] = xu_list_entry(node, struct sim_socket, link);
		all[i++]->base.refs++; /* some end with their last operation */
	}
	for (i = 0; i < count; i++) {
		end_socket(all[i], is_mute);
	}
	for (i = 0; i < count; i++) {
		sim__object_put(&all[i]->base);
	}
	free(all);
}

void sim__sockets_mute(struct sim_host *host)
{
	end_sockets(host, true);
}

void sim__sockets_close(struct sim_host *host)
{
	end_sockets(host, false);
}

/* ---- the platform's calls ---- */

static struct sim_socket *find(const struct xr_platform *platform, int fd)
{
	struct sim_object *object = sim__fd_object(sim__host_of(platform), fd);

	return object != NULL && object->ops->is_socket ? socket_of(object) : NULL;
}

int sim__tcp_socket(const struct xr_platform *platform, const char *address)
{
	struct sim_host *host = sim__host_of(platform);
	struct sockaddr_storage addr;
	int rc = xr_address_parse(address, 0, &addr);

	if (rc < 0 || sim__host_has_ended(host)) {
		return rc < 0 ? rc : -EIO;
	}
	return sim__fd_new(host, &socket_new(host)->base);
}

static int listen_name(
	struct sim_host *host, const struct xr_listen_opts *opts, struct name *ret_name)
{
	struct sockaddr_storage addr;
	int rc = xr_address_parse(opts->address, opts->port, &addr);

	if (rc < 0) {
		return rc;
	}
	rc = xr_address_format(&addr, ret_name->address, &ret_name->port);
	if (rc != 0) {
		return rc;
	}
	if (!is_loopback(ret_name->address) && !xr_address_is_wildcard(ret_name->address) &&
		strcmp(ret_name->address, host->address) != 0) {
		return -EADDRNOTAVAIL;
	}
	if (ret_name->port == 0) {
		ret_name->port = next_port(host);
	} else if (find_listener(host, ret_name->address, ret_name->port) != NULL) {
		return -EADDRINUSE;
	}
	return 0;
}

int sim__tcp_listen(
	const struct xr_platform *platform, const struct xr_listen_opts *opts, struct xu_error *err)
{
	struct sim_host *host = sim__host_of(platform);
	struct sim_socket *socket;
	struct name name;
	int rc = sim__host_has_ended(host) ? -EIO : listen_name(host, opts, &name);

	if (rc != 0) {
		return xu_error_set_errno(
			err, rc, "listening on %s port %u", opts->address, opts->port);
	}
	socket = socket_new(host);
	socket->state = SOCKET_LISTENING;
	socket->local = name;
	socket->backlog = opts->backlog;
	return sim__fd_new(host, &socket->base);
}

int sim__sock_name(const struct xr_platform *platform, int fd, bool is_peer,
	char address[XR_ADDRESS_SIZE], uint16_t *ret_port)
{
	struct sim_socket *socket = find(platform, fd);
	const struct name *name;

	if (socket == NULL) {
		return sim__fd_object(sim__host_of(platform), fd) != NULL ? -ENOTSOCK : -EBADF;
	}
	if (is_peer && (socket->state != SOCKET_CONNECTED || socket->is_reset)) {
		return -ENOTCONN;
	}
	name = is_peer ? &socket->peer : &socket->local;
	strcpy(address, name->address);
	*ret_port = name->port;
	return 0;
}

void sim__sock_tune(const struct xr_platform *platform, int fd)
{
	(void)platform;
	(void)fd;
}

void sim__sock_shutdown(const struct xr_platform *platform, int fd)
{
	struct sim_socket *socket = find(platform, fd);

	if (socket == NULL || socket->is_shut || socket->state == SOCKET_NEW) {
		return;
	}
	sim__trace(
		socket->base.host->sim, "shutdown", socket->base.host->machine, (uint64_t)fd, 0, 0);
	if (socket->state == SOCKET_CONNECTING) {
		drop_conn(socket, true);
		finish_connect(socket, -ECONNRESET);
		return;
	}
	if (socket->state == SOCKET_LISTENING) {
		socket->state = SOCKET_NEW;
		drop_queue(socket);
		while (!xu_list_is_empty(&socket->accepts)) {
			sim__op_complete(
				xu_list_entry(socket->accepts.next, struct sim_op, link), -EINVAL);
		}
		return;
	}
	socket->is_shut = true;
	if (!socket->is_reset) {
		sim__conn_fin(socket->conn, socket->side);
	}
	sim__socket_ready(socket);
}
